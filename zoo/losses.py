"""Losses of every kind of head: classification on logits, one against noise, and a critic's plain score."""

import keras
from keras import ops


def are_class_numbers(labels, logits):
    """Says whether labels are class numbers, (B,), (B, 1) or (B, T), rather than targets of the logits' shape."""
    return len(labels.shape) < len(logits.shape) or labels.shape[-1] != logits.shape[-1]


def one_hot_targets(labels, logits):
    """Returns targets of the logits' shape, (B, C) or (B, T, C); with one logit they are the labels 0 or 1."""
    units = logits.shape[-1]
    rows = (-1, *logits.shape[1:-1])
    if units == 1 or not are_class_numbers(labels, logits):
        return ops.cast(ops.reshape(labels, (*rows, units)), logits.dtype)
    return ops.one_hot(ops.cast(ops.reshape(labels, rows), "int32"), units, dtype=logits.dtype)


def smoothed(targets, label_smoothing):
    """Returns targets with a share spread evenly over the classes (over yes and no when there is one column).

    Source: Szegedy et al., 2015, https://arxiv.org/abs/1512.00567, section 7.
    """
    if not label_smoothing:
        return targets
    classes = targets.shape[-1] if targets.shape[-1] > 1 else 2
    return targets * (1.0 - label_smoothing) + label_smoothing / classes


@keras.saving.register_keras_serializable("zoo")
class CrossEntropy(keras.losses.Loss):
    """Cross-entropy on logits: softmax over the last axis, or sigmoid where it has one column.

    Targets are class numbers (B,) or (B, 1), or one-hot or soft targets (B, C); for logits (B, T, C) of a sequence,
    class numbers (B, T) or targets (B, T, C).

    Args:
        label_smoothing: share of the target spread over all classes, in [0, 1).
    """

    def __init__(self, label_smoothing=0.0, name="cross_entropy", reduction="sum_over_batch_size", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        """Returns the loss of each example, shape (B,), or of each step of a sequence, (B, T)."""
        logits = ops.convert_to_tensor(y_pred)
        if not self.label_smoothing and logits.shape[-1] > 1 and are_class_numbers(y_true, logits):
            # The usual case without a one-hot copy of the targets.
            return ops.sparse_categorical_crossentropy(ops.cast(y_true, "int32"), logits, from_logits=True)
        targets = smoothed(one_hot_targets(y_true, logits), self.label_smoothing)
        if logits.shape[-1] == 1:
            return ops.mean(ops.binary_crossentropy(targets, logits, from_logits=True), axis=-1)
        return ops.categorical_crossentropy(targets, logits, from_logits=True)

    def get_config(self):
        return super().get_config() | {"label_smoothing": self.label_smoothing}


@keras.saving.register_keras_serializable("zoo")
class CandidateLoss(keras.losses.Loss):
    """One true candidate told from noise: -log s(l_0) - sum over k of log s(-l_k), with s the logistic function.

    Source: Mikolov et al., 2013, https://arxiv.org/abs/1310.4546, equation 4, its sign changed. On logits from which
    log(K q) was taken, with q the noise's probability, it is noise-contrastive estimation (Gutmann, 2010).
    """

    def __init__(self, name="candidates", reduction="sum_over_batch_size", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true, y_pred):
        """Returns the loss of each example, shape (B,), of logits (B, 1 + K); the targets play no part."""
        logits = ops.convert_to_tensor(y_pred)
        return -ops.log_sigmoid(logits[:, 0]) - ops.sum(ops.log_sigmoid(-logits[:, 1:]), axis=-1)


@keras.saving.register_keras_serializable("zoo")
class MeanScore(keras.losses.Loss):
    """The mean of a critic's scores, whatever the targets; the head's weight says which way it is driven.

    Source: Arjovsky et al., 2017, https://arxiv.org/abs/1701.07875, equation 3.
    """

    def __init__(self, name="score", reduction="sum_over_batch_size", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def call(self, y_true, y_pred):
        """Returns the scores of each example, shape (B,), of an output (B, 1)."""
        return ops.reshape(ops.convert_to_tensor(y_pred), (-1,))
