"""Metrics of training that read class numbers and soft targets alike, because augmented targets are soft."""

import keras
from keras import ops

from zoo.losses import are_class_numbers


def right_classes(y_true, y_pred, kind):
    """Returns how right each prediction is, float32 (B,), or (B, T) for the steps of a sequence.

    Args:
        y_true: class numbers (B,), (B, 1) or (B, T), or targets of the logits' shape.
        y_pred: logits (B, C) or (B, T, C).
        kind: of the head. "softmax": 1 where the highest logit is that of the class, or of the highest target.
            "sigmoid": the same for class numbers; of several answers given as targets the share that is right, each
            being yes above a logit of 0 and a target of one half.
    """
    logits = ops.convert_to_tensor(y_pred)
    if logits.shape[-1] > 1:
        if are_class_numbers(y_true, logits):
            wanted = ops.reshape(ops.cast(y_true, "int32"), ops.shape(logits)[:-1])
            return ops.cast(ops.equal(ops.cast(ops.argmax(logits, axis=-1), "int32"), wanted), "float32")
        if kind == "softmax":
            return ops.cast(ops.equal(ops.argmax(logits, axis=-1), ops.argmax(y_true, axis=-1)), "float32")
    targets = ops.reshape(ops.cast(y_true, "float32"), ops.shape(logits))
    return ops.mean(ops.cast(ops.equal(logits > 0, targets > 0.5), "float32"), axis=-1)


@keras.saving.register_keras_serializable("zoo")
class ClassAccuracy(keras.metrics.MeanMetricWrapper):
    """Mean of `right_classes`, which has the arguments."""

    def __init__(self, kind="softmax", name="accuracy", dtype=None):
        super().__init__(right_classes, name=name, dtype=dtype, kind=kind)
        self.kind = kind

    def get_config(self):
        return {"kind": self.kind, "name": self.name, "dtype": self.dtype}
