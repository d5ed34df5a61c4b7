"""Stochastic weight averaging: the mean of the weights at the ends of the last epochs.

Paper: Izmailov et al., 2018, https://arxiv.org/abs/1803.05407, algorithm 1
Use when: training ends at a rate that still moves the weights; the mean lies in a flatter, better place than each.
Start with: start=0.75 and a constant learning_rate of a fifth to a half of the peak from there on (the paper's 0.01 of
    0.05 for VGG, and 0.05 of 0.1 for residual networks).
Formula: w_swa <- (n w_swa + w) / (n + 1) at the end of each epoch from `start` on, with n averaged before
Composes with: every optimizer and schedule; with cyclic and every= the length of its cycles, as in the paper.
Conflicts with: ema, which keeps another average of the same weights; lr_finder, which puts the first weights back.
Departures: batch-norm statistics of the average are taken over the training data without augmentation or dropout, so
    that a resumed run repeats them exactly.
Cost: the weights twice; with batch norm, one forward pass over the training data for each averaged epoch.
"""

import math
import warnings
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from zoo.averages import ValidateAverage, put_back, put_in
from zoo.batch_statistics import Statistics
from zoo.errors import RecipeWarning, invalid
from zoo.registry import trick
from zoo.schedules import BoundSchedule, rate_of


@keras.saving.register_keras_serializable("zoo")
class ConstantFrom(BoundSchedule):
    """Follows `inner` up to a share of the fit, and has a constant rate from there on.

    Args:
        inner: a learning rate, or a `BoundSchedule`.
        start: share of the fit, in [0, 1).
        learning_rate: the constant rate.
    """

    spans_warmup = True

    def __init__(self, inner, start, learning_rate):
        super().__init__()
        self.inner = inner
        self.start = start
        self.learning_rate = learning_rate

    def rate(self, step, total, steps_per_epoch):
        before = step * (1.0 + 3e-7) + 1e-3 < self.start * total
        return ops.where(before, rate_of(self.inner, step, total, steps_per_epoch), self.learning_rate)

    def complaints(self, epochs):
        return self.inner.complaints(epochs) if isinstance(self.inner, BoundSchedule) else []

    def get_config(self):
        inner = keras.saving.serialize_keras_object(self.inner)
        return {"inner": inner, "start": self.start, "learning_rate": self.learning_rate}

    @classmethod
    def from_config(cls, config):
        inner = keras.saving.deserialize_keras_object(config["inner"])
        return cls(inner, config["start"], config["learning_rate"])


def averaged_epochs(start, every, epochs):
    """Returns the epochs, counted from 0, at whose ends the weights join the average."""
    return range(max(math.ceil(start * epochs - 1e-9) - 1, 0), epochs, every)


class AverageEpochs(ValidateAverage):
    """Averages the weights at the ends of the last epochs, validates with the average, and leaves it when `fit` ends.

    Args:
        model: whose trainable weights are averaged.
        start: share of the fit from which on.
        every: epochs from one to the next.
        kept: batch-norm layers that keep their statistics.

    Attributes:
        variables: what a resumed run needs: how many were averaged, and the averages.
        examples: function that gives the inputs of the training data batch by batch, for batch-norm statistics; or
            None. `fit` sets it where nobody has.
    """

    def __init__(self, model, start, every=1, kept=()):
        super().__init__()
        self.start, self.every = start, every
        self.weights = list(model.trainable_variables)
        self.count = keras.Variable(0, dtype="int32", trainable=False, name="count")
        self.means = [keras.Variable(ops.zeros(w.shape, w.dtype), trainable=False) for w in self.weights]
        self.variables = [self.count, *self.means]
        self.examples = None
        self._statistics, self._found, self._taken = Statistics(model, kept), None, True

    def on_train_begin(self, logs=None):
        self._epochs = averaged_epochs(self.start, self.every, self.params["epochs"])
        self.model.zoo_average = self
        if self._statistics.layers and self.examples is None:
            warnings.warn(
                "swa cannot read this training data a second time, so the batch-norm statistics are those of the raw "
                "weights. Call `zoo.batch_statistics.update_batch_norm(model, x)` after `fit`.",
                RecipeWarning,
                stacklevel=2,
            )

    def on_epoch_begin(self, epoch, logs=None):
        self._taken = epoch not in self._epochs

    def on_test_begin(self, logs=None):
        self._take()
        super().on_test_begin(logs)

    def on_epoch_end(self, epoch, logs=None):
        self._take()  # where nothing was validated

    def on_train_end(self, logs=None):
        put_in(self.pairs())
        self.model.zoo_average = None

    def pairs(self):
        """Returns pairs (variable, averaged value), batch-norm statistics among them; empty before the first epoch."""
        if not int(self.count):
            return []
        pairs = list(zip(self.weights, map(ops.convert_to_numpy, self.means), strict=True))
        if self._found is None:
            raw = put_in(pairs)
            self._found = self._statistics.over(self.examples()) if self.examples and self._statistics.layers else []
            put_back(raw)
        return pairs + self._found

    def _take(self):
        if self._taken:
            return
        count = int(self.count)
        for mean, weight in zip(self.means, self.weights, strict=True):
            old, new = (np.asarray(ops.convert_to_numpy(v), np.float64) for v in (mean, weight))
            mean.assign(((count * old + new) / (count + 1)).astype(mean.dtype))
        self.count.assign(count + 1)
        self._taken, self._found = True, None


@trick("swa", stage="after")
@dataclass(frozen=True)
class Swa:
    """See the card above.

    `start`: share of the fit, in [0, 1), from which on the weights are averaged, those at its own end first; `every`:
    epochs from one to the next; `learning_rate`: constant rate from `start` on, None for that of the schedule.
    """

    start: float = 0.75
    every: int = 1
    learning_rate: float | None = None
    clashes = {
        "early_stopping": "a fit that ends early may end before `start`, with nothing averaged; `start` counts the "
        "epochs that were asked for (Izmailov et al., 2018, algorithm 1)"
    }

    def __post_init__(self):
        if not 0 <= self.start < 1:
            raise invalid("swa: `start` must be in [0, 1)", self.start)
        if self.every < 1:
            raise invalid("swa: `every` must be at least 1", self.every)
        if self.learning_rate is not None and self.learning_rate <= 0:
            raise invalid("swa: `learning_rate` must be positive, or None", self.learning_rate)

    def apply(self, plan):
        def make():
            return AverageEpochs(plan.model, self.start, self.every, plan.inference_layers)

        # First of all, so that other callbacks find the average made.
        changed = plan.but(average=("swa", self.start, self.every), callbacks=(make, *plan.callbacks))
        if self.learning_rate is not None:
            rate = self.learning_rate
            changed = changed.adding("wrappers", lambda inner: ConstantFrom(inner, self.start, rate))
        return changed.adding("at_fit", self.complaints)

    def complaints(self, batch_size, steps_per_epoch, epochs):
        """Returns what averages nothing in a fit of so many epochs."""
        if len(averaged_epochs(self.start, self.every, epochs)) > 1:
            return []
        return [f"swa(start={self.start:g}, every={self.every}) averages one epoch of this fit, epochs={epochs}"]

    def explain(self, plan):
        of_20 = len(averaged_epochs(self.start, self.every, 20))
        rate = "" if self.learning_rate is None else f", at a constant rate of {self.learning_rate:g}"
        return (
            f"from {self.start:.0%} of a fit on{rate}, the weights at every {_ordinal(self.every)}epoch's end are "
            f"averaged, {of_20} of 20 epochs, with batch-norm statistics of their own; validation and the final "
            f"weights use the average"
        )


def _ordinal(every):
    return "" if every == 1 else f"{every}th "
