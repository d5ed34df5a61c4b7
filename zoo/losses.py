"""Classification losses on logits that take class numbers or one-hot targets alike."""

import keras
from keras import ops


def are_class_numbers(labels, logits):
    """Says whether labels are class numbers, (B,) or (B, 1), rather than one-hot or soft targets, (B, C)."""
    return len(labels.shape) < len(logits.shape) or labels.shape[-1] != logits.shape[-1]


def one_hot_targets(labels, logits):
    """Returns targets of the logits' shape (B, C); with one logit the targets are the labels 0 or 1 themselves."""
    units = logits.shape[-1]
    if units == 1 or not are_class_numbers(labels, logits):
        return ops.cast(ops.reshape(labels, (-1, units)), logits.dtype)
    return ops.one_hot(ops.cast(ops.reshape(labels, (-1,)), "int32"), units, dtype=logits.dtype)


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

    Targets are class numbers (B,) or (B, 1), or one-hot or soft targets (B, C).

    Args:
        label_smoothing: share of the target spread over all classes, in [0, 1).
    """

    def __init__(self, label_smoothing=0.0, name="cross_entropy", reduction="sum_over_batch_size", dtype=None):
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        """Returns the loss of each example, shape (B,)."""
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
