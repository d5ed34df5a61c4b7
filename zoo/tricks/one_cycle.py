"""One cycle of the learning rate: up, down, and far down at the end.

Paper: Smith, 2018, https://arxiv.org/abs/1803.09820, section 4.1
Use when: few epochs are all there is; a high rate in the middle trains fast and regularises (super-convergence).
Start with: a peak rate of about a tenth of where `zoo find-lr` sees the loss diverge; start=0.1, the paper's.
Formula: with T steps, u = rise T - 1 and d = 2 rise T - 2, straight lines through the points
    (0, start peak), (u, peak), (d, start peak), (T - 1, final peak)
Composes with: warmup, though the rise makes it needless; every optimizer.
Conflicts with: cosine, cyclic, step, polynomial, lr_finder, which replace the same decay.
Departures: the momentum is not cycled against the rate. A Keras optimizer's momentum is a Python number that a compiled
    step holds as a constant; where it changes, every step would be compiled anew.
"""

import math
from dataclasses import dataclass

import keras
from keras import ops

from zoo.errors import invalid
from zoo.registry import trick
from zoo.schedules import BoundSchedule

SHAPES = ("linear", "cosine")


@keras.saving.register_keras_serializable("zoo")
class OneCycle(BoundSchedule):
    """Rises from `start * peak` to `peak`, falls back, and then to `final * peak`, which the last step has.

    Source: Smith, 2018, section 4.1; the ends of the three parts are those of `torch.optim.lr_scheduler.OneCycleLR`
    with `three_phase=True`.

    Args:
        peak: highest learning rate.
        rise: share of the steps in which it rises, as it is of those in which it falls back.
        start: first rate as a share of the peak.
        final: last rate as a share of the peak.
        shape: "linear" or "cosine", the way from one of these rates to the next.
    """

    def __init__(self, peak, rise=0.45, start=0.1, final=1e-3, shape="linear"):
        super().__init__()
        self.peak = peak
        self.rise = rise
        self.start = start
        self.final = final
        self.shape = shape

    def rate(self, step, total, steps_per_epoch):
        top, back, last = self.rise * total - 1.0, 2.0 * self.rise * total - 2.0, total - 1.0
        low = self.peak * self.start
        up = self._between(low, self.peak, step, 0.0, top)
        down = self._between(self.peak, low, step, top, back)
        away = self._between(low, self.peak * self.final, step, back, last)
        return ops.where(step <= top, up, ops.where(step <= back, down, away))

    def _between(self, first, last, step, begin, end):
        through = ops.clip((step - begin) / ops.maximum(end - begin, 1e-6), 0.0, 1.0)
        if self.shape == "cosine":
            through = 0.5 * (1.0 - ops.cos(math.pi * through))
        return first + (last - first) * through

    def get_config(self):
        return {n: getattr(self, n) for n in ("peak", "rise", "start", "final", "shape")}


@trick("one_cycle", stage="schedule")
@dataclass(frozen=True)
class OneCycleTrick:
    """See the card above.

    `rise`: share of the fit in which the rate rises, and again of that in which it falls back, in (0, 0.5]; the rest is
    the last, long fall. `start`, `final`: first and last rate as shares of the peak; `shape`: "linear" or "cosine".
    """

    rise: float = 0.45
    start: float = 0.1
    final: float = 1e-3
    shape: str = "linear"

    def __post_init__(self):
        if not 0 < self.rise <= 0.5:
            raise invalid("one_cycle: `rise` must be in (0, 0.5]", self.rise)
        if not 0 < self.start <= 1:
            raise invalid("one_cycle: `start` must be in (0, 1]", self.start)
        if not 0 <= self.final <= self.start:
            raise invalid(f"one_cycle: `final` must be from 0 to `start`, {self.start:g}", self.final)
        if self.shape not in SHAPES:
            raise invalid("one_cycle: `shape` must be 'linear' or 'cosine'", self.shape)

    def apply(self, plan):
        return plan.but(decay=lambda peak: OneCycle(peak, self.rise, self.start, self.final, self.shape))

    def explain(self, plan):
        peak = plan.learning_rate
        return (
            f"the learning rate rises from {peak * self.start:.3g} to {peak:g} over the first {self.rise:.0%} of a "
            f"fit, falls back over the next {self.rise:.0%}, and ends at {peak * self.final:.3g} ({self.shape})"
        )
