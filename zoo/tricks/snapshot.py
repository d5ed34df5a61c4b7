"""An ensemble for the price of one training: the weights at the end of each cosine cycle.

Paper: Huang et al., 2017, https://arxiv.org/abs/1704.00109, section 3, equation 2
Use when: several models would help and there is time to train one.
Start with: cycles=5, the paper's, a peak rate that is high enough to leave a minimum, and cycles of some 40 epochs.
Formula: rate(step) = peak / 2 (cos(pi mod(step, T / M) / (T / M)) + 1), with T steps and M cycles
Composes with: cyclic, whose cycles it then takes; warmup. `zoo.ensemble` takes the members, the folders
    `snapshots/1`, `snapshots/2`, ... of the run; after a plain `fit` they are in `model.snapshots`.
Conflicts with: cosine, one_cycle, step, polynomial, lr_finder, which replace the same decay.
Departures: a cycle has T / M steps, not rounded up. Members have the raw weights, beside ema and swa too.
"""

import math
import warnings
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from zoo.adapters import merged_weights
from zoo.compiled import plain
from zoo.errors import RecipeWarning, invalid
from zoo.registry import trick
from zoo.schedules import BoundSchedule
from zoo.snapshots import FOLDER, write_snapshot


@keras.saving.register_keras_serializable("zoo")
class EqualCycles(BoundSchedule):
    """Falls from `peak` to zero along half a cosine, `cycles` times in a fit.

    Args:
        peak: learning rate at the start of each cycle.
        cycles: in the whole fit, of equal lengths.
    """

    restarts = True

    def __init__(self, peak, cycles=5):
        super().__init__()
        self.peak = peak
        self.cycles = cycles

    def rate(self, step, total, steps_per_epoch):
        cycles = step * (1.0 + 3e-7) * self.cycles / ops.maximum(total, 1.0)  # rounding must not delay a restart
        return self.peak * 0.5 * (1.0 + ops.cos(math.pi * (cycles - ops.floor(cycles))))

    def complaints(self, epochs):
        if self.cycles <= epochs:
            return []
        return [f"snapshot(cycles={self.cycles}) has cycles of less than an epoch in this fit, epochs={epochs:g}"]

    def get_config(self):
        return {"peak": self.peak, "cycles": self.cycles}


def cycle_ends(schedule, steps):
    """Returns how many steps of a fit are done at the end of each cycle: before the rate leaps up again.

    Args:
        schedule: a bound `BoundSchedule`.
        steps: of the fit.
    """
    start = int(ops.convert_to_numpy(schedule.horizon)[0])
    rates = np.asarray(ops.convert_to_numpy(schedule(ops.arange(start, start + steps + 1, dtype="int32"))))
    rates = np.broadcast_to(rates, (steps + 1,))
    falling = np.concatenate([[False], rates[1:-1] <= rates[:-2]])  # a warmup rises, and no cycle ends in it
    return [int(s) for s in np.flatnonzero(falling & (rates[1:] > rates[:-1])) + 1]


class SaveCycleEnds(keras.callbacks.Callback):
    """Saves the weights at the end of each cycle: in the run folder, or in `model.snapshots` where there is none.

    A snapshot in memory is a list of arrays, as `model.get_weights()` gives them.
    """

    folder, say = None, None  # set by `zoo.train`

    def on_train_begin(self, logs=None):
        self._ends = None
        if self.folder is None:
            self.model.__dict__["snapshots"] = []  # past Keras's own attribute tracking
        if self.model.steps_per_execution != 1:
            raise invalid(
                "snapshot: steps_per_execution must be 1, as a cycle may end at any step",
                self.model.steps_per_execution,
            )

    def on_epoch_begin(self, epoch, logs=None):
        steps = self.params["steps"]
        if self._ends is None:  # the schedule is bound by now
            self._ends = cycle_ends(self.model.schedule, self.params["epochs"] * steps)
            if not self._ends:
                warnings.warn("snapshot saves nothing: no cycle ends within this fit", RecipeWarning, stacklevel=2)
        self._before = epoch * steps

    def on_train_batch_end(self, batch, logs=None):
        done = self._before + batch + 1
        if done not in self._ends:
            return
        if keras.backend.backend() == "jax":
            self.model.jax_state_sync()  # the weights are in the loop's hands
        if self.folder is None:
            with merged_weights(self.model):
                self.model.snapshots.append([np.array(w) for w in plain(self.model).get_weights()])
            return
        number = self._ends.index(done) + 1
        write_snapshot(self.model, self.folder, number)
        self.say(f"snapshot {number} of {len(self._ends)} in {self.folder / FOLDER / str(number)}")


@trick("snapshot", stage="after")
@dataclass(frozen=True)
class Snapshot:
    """See the card above. `cycles`: in the fit; None for those of cyclic, or 5 in a recipe without cyclic."""

    cycles: int | None = None

    def __post_init__(self):
        if self.cycles is not None and self.cycles < 1:
            raise invalid("snapshot: `cycles` must be at least 1", self.cycles)

    def apply(self, plan):
        if not self._theirs(plan):
            plan = plan.but(decay=lambda peak: EqualCycles(peak, self.cycles or 5))
        return plan.adding("callbacks", SaveCycleEnds)

    def _theirs(self, plan):
        """Whether the recipe has cycles of its own, which nothing here replaces."""
        return self.cycles is None and plan.decay is not None and getattr(plan.decay(1.0), "restarts", False)

    def explain(self, plan):
        if plan.decay is not None and not isinstance(plan.decay(1.0), EqualCycles):
            return "the weights at the end of each cycle are saved, as members of an ensemble"
        count = self.cycles or 5
        return (
            f"the learning rate falls from {plan.learning_rate:g} to 0 along a cosine {count} times, each over "
            f"{1 / count:.0%} of a fit; the weights at the end of each are saved, as members of an ensemble"
        )
