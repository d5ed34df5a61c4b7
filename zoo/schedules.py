"""Learning-rate schedules whose durations are written in epochs and bound when `fit` knows how long it runs."""

import keras
from keras import ops

from zoo.errors import invalid


class BoundSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule that learns at the start of `fit` how many steps there will be.

    Subclasses implement `rate(step, total, steps_per_epoch)`. The horizon is one variable, (start, total,
    steps_per_epoch), so binding it again for another `fit` changes no Python value and traces nothing anew.

    The built model binds it. To use a schedule alone, call `bind` before the first step.

    Attributes:
        spans_warmup: whether its steps count from the start of the fit although a warmup comes first.
        restarts: whether it falls in cycles, each of which begins at the peak.
    """

    spans_warmup = False
    restarts = False

    def __init__(self):
        super().__init__()
        self._horizon = None

    @property
    def horizon(self):
        """The variable (first step, number of steps, steps per epoch), in steps; zeros until bound."""
        if self._horizon is None:
            self._horizon = keras.Variable([0.0, 0.0, 0.0], dtype="float32", trainable=False, name="horizon")
        return self._horizon

    @property
    def bound(self):
        """Whether `bind` has been called."""
        return float(ops.convert_to_numpy(self.horizon.value)[1]) > 0

    def bind(self, *, steps_per_epoch, epochs, start=0):
        """Fixes the horizon: `epochs` epochs of `steps_per_epoch` steps, from optimizer step `start` on."""
        if not (steps_per_epoch > 0 and epochs > 0):
            raise invalid("a schedule needs at least one step and one epoch", (steps_per_epoch, epochs))
        self.horizon.assign([float(start), float(steps_per_epoch * epochs), float(steps_per_epoch)])

    def complaints(self, epochs):
        """Returns sentences on what cannot happen within `epochs` epochs, such as a warmup that never ends."""
        return []

    def __call__(self, step):
        start, total, steps_per_epoch = ops.unstack(ops.convert_to_tensor(self.horizon), 3)
        passed = ops.maximum(ops.cast(step, "float32") - start, 0.0)
        return self.rate(passed, total, steps_per_epoch)

    def rate(self, step, total, steps_per_epoch):
        """Returns the learning rate at `step` of `total`; all float32 scalars."""
        raise TypeError(f"{type(self).__name__} must implement `rate`")


def rate_of(inner, step, total, steps_per_epoch):
    """Returns the rate of a constant or a `BoundSchedule`."""
    if isinstance(inner, BoundSchedule):
        return inner.rate(step, total, steps_per_epoch)
    return ops.convert_to_tensor(inner, "float32")


def fraction(step, total):
    """Returns how far `step` is through `total`, within [0, 1]; 0 where nothing is bound."""
    return ops.clip(step / ops.maximum(total, 1.0), 0.0, 1.0)
