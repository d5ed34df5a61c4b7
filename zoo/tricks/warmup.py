"""Linear learning-rate warmup.

Paper: Goyal et al., 2017, https://arxiv.org/abs/1706.02677, section 2.2
Use when: batches are large, or attention is trained from scratch.
Start with: the paper's five epochs; a fraction of an epoch is allowed.
Formula: rate(s) = (s + 1) / W times the first rate, at step s of W warmup steps; then what it wraps, over the rest
Composes with: every decay, because it wraps whatever schedule is there; the decay spans the remaining steps,
    but for step, whose milestones count from the start.
Conflicts with: nothing.
"""

from dataclasses import dataclass

import keras
from keras import ops

from zoo.errors import invalid
from zoo.registry import trick
from zoo.schedules import BoundSchedule, rate_of


@keras.saving.register_keras_serializable("zoo")
class LinearWarmup(BoundSchedule):
    """Rises linearly to the first rate of `inner` over `epochs`, then follows `inner` over the remaining steps.

    An `inner` that `spans_warmup` is followed at its own step, counted from the start, and only scaled in the rise.

    Step s of W warmup steps has the rate (s + 1) / W times that of `inner` at its start.

    Args:
        inner: a learning rate, or a `BoundSchedule`.
        epochs: length of the rise.
    """

    def __init__(self, inner, epochs):
        super().__init__()
        self.inner = inner
        self.epochs = epochs

    def rate(self, step, total, steps_per_epoch):
        rising = ops.maximum(self.epochs * steps_per_epoch, 1.0)
        passed, left = ops.maximum(step - rising, 0.0), ops.maximum(total - rising, 1.0)
        if isinstance(self.inner, BoundSchedule) and self.inner.spans_warmup:
            passed, left = step, total
        return rate_of(self.inner, passed, left, steps_per_epoch) * ops.minimum((step + 1.0) / rising, 1.0)

    def complaints(self, epochs):
        if self.epochs > epochs:
            return [
                f"warmup(epochs={self.epochs:g}) is longer than this fit, epochs={epochs}: the peak rate is not reached"
            ]
        inner = self.inner if isinstance(self.inner, BoundSchedule) else None
        return inner.complaints(epochs if inner.spans_warmup else epochs - self.epochs) if inner else []

    def get_config(self):
        return {"inner": keras.saving.serialize_keras_object(self.inner), "epochs": self.epochs}

    @classmethod
    def from_config(cls, config):
        return cls(keras.saving.deserialize_keras_object(config["inner"]), config["epochs"])


@trick("warmup", stage="schedule")
@dataclass(frozen=True)
class Warmup:
    """See the card above. `epochs`: length of the rise, in epochs."""

    epochs: float = 5.0

    def __post_init__(self):
        if self.epochs <= 0:
            raise invalid("warmup: `epochs` must be positive", self.epochs)

    def apply(self, plan):
        return plan.adding("wrappers", lambda inner: LinearWarmup(inner, self.epochs))

    def explain(self, plan):
        return (
            f"the learning rate rises in equal steps to {plan.learning_rate:g} over the first {self.epochs:g} epochs "
            f"of a fit; after one of them it has reached {plan.learning_rate * min(1 / self.epochs, 1):.3g}"
        )
