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


def smoothed(targets, label_smoothing, independent=False):
    """Returns targets with a share spread evenly over the classes.

    Source: Szegedy et al., 2015, https://arxiv.org/abs/1512.00567, section 7.

    Args:
        targets: (..., C) in [0, 1].
        label_smoothing: the share.
        independent: whether each column is a yes/no question of its own, as a single column always is; the share is
            then spread over its yes and its no.
    """
    if not label_smoothing:
        return targets
    classes = 2 if independent else max(targets.shape[-1], 2)
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
class SigmoidCrossEntropy(keras.losses.Loss):
    """Cross-entropy of C independent yes/no questions, each a sigmoid of its own logit, added up.

    Targets are class numbers (B,) or (B, 1), whose one class is a yes, or (B, C) with any number of yeses.

    They are added up, not averaged, so that an example's gradient by each logit, s(z) - t, is as large as that of a
    softmax, whatever C is: a learning rate that suits one suits the other. Lin et al. (2017, section 4) add up too;
    `keras.losses.BinaryCrossentropy` averages.

    >>> # logits (0, 0), either class: 2 log 2 = 1.386, where a softmax has log 2

    Args:
        label_smoothing: share of the target spread over the yes and the no of each question, in [0, 1); with
            `spread="classes"` over all classes.
        spread: "answers" or "classes".
        threshold: None, or a number in [0, 1): targets above it become 1, others 0, before any smoothing.
    """

    def __init__(
        self,
        label_smoothing=0.0,
        spread="answers",
        threshold=None,
        name="sigmoid_cross_entropy",
        reduction="sum_over_batch_size",
        dtype=None,
    ):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_smoothing = label_smoothing
        self.spread = spread
        self.threshold = threshold

    def call(self, y_true, y_pred):
        """Returns the loss of each example, shape (B,)."""
        logits = ops.convert_to_tensor(y_pred)
        targets = one_hot_targets(y_true, logits)
        if self.threshold is not None:
            targets = ops.cast(targets > self.threshold, logits.dtype)
        targets = smoothed(targets, self.label_smoothing, independent=self.spread == "answers")
        return ops.sum(ops.binary_crossentropy(targets, logits, from_logits=True), axis=-1)

    def get_config(self):
        rows = {"label_smoothing": self.label_smoothing, "spread": self.spread, "threshold": self.threshold}
        return super().get_config() | rows


def standard_loss(head, label_smoothing=0.0):
    """Returns the cross-entropy of a `zoo.plan.Head` of classes, as its kind has it."""
    return (SigmoidCrossEntropy if head.kind == "sigmoid" else CrossEntropy)(label_smoothing)


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
