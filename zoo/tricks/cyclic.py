"""Cosine learning-rate decay with warm restarts.

Paper: Loshchilov and Hutter, 2016, https://arxiv.org/abs/1608.03983, section 3
Use when: the right length of training is not known, or each minimum becomes a member of an ensemble.
Start with: cycles of 10 epochs, doubled each time (the paper's T_0 = 10, T_mult = 2).
Formula: rate(s) = peak (final + (1 - final) (1 + cos(pi s_i / T_i)) / 2) at step s_i of cycle i, T_(i+1) = growth T_i
Composes with: warmup; snapshot, which saves the weights at the end of each cycle.
Conflicts with: cosine, one_cycle, step, polynomial, lr_finder, which replace the same decay.
"""

import math
from dataclasses import dataclass

import keras
from keras import ops

from zoo.errors import invalid
from zoo.registry import trick
from zoo.schedules import BoundSchedule


@keras.saving.register_keras_serializable("zoo")
class CyclicCosine(BoundSchedule):
    """Falls from `peak` to `final * peak` along half a cosine, and starts again.

    Args:
        peak: learning rate at each restart.
        epochs: length of the first cycle.
        growth: how much longer each cycle is than the one before, at least 1.
        final: last rate of a cycle as a share of the peak.
    """

    restarts = True

    def __init__(self, peak, epochs, growth=2.0, final=0.0):
        super().__init__()
        self.peak = peak
        self.epochs = epochs
        self.growth = growth
        self.final = final

    def rate(self, step, total, steps_per_epoch):
        first = ops.maximum(self.epochs * steps_per_epoch, 1.0)
        step = step * (1.0 + 3e-7)  # rounding must not leave the step that starts a cycle in the cycle before
        if self.growth == 1.0:
            start, length = first * ops.floor(step / first), first
        else:
            # Cycle k starts after first * (growth**k - 1) / (growth - 1) steps. The logarithm may be one too high.
            cycles = ops.log(step / first * (self.growth - 1.0) + 1.0) / math.log(self.growth)
            cycle = ops.floor(cycles + 1e-3)
            cycle = ops.where(step < self._start(first, cycle), cycle - 1.0, cycle)
            start, length = self._start(first, cycle), first * self.growth**cycle
        through = ops.clip((step - start) / length, 0.0, 1.0)
        falling = 0.5 * (1.0 + ops.cos(math.pi * through))
        return self.peak * (self.final + (1.0 - self.final) * falling)

    def complaints(self, epochs):
        if self.epochs <= epochs:
            return []
        return [f"cyclic(epochs={self.epochs:g}) is longer than this fit, epochs={epochs:g}: it ends within a cycle"]

    def _start(self, first, cycle):
        return first * (self.growth**cycle - 1.0) / (self.growth - 1.0)

    def get_config(self):
        return {"peak": self.peak, "epochs": self.epochs, "growth": self.growth, "final": self.final}


@trick("cyclic", stage="schedule")
@dataclass(frozen=True)
class Cyclic:
    """See the card above.

    `epochs`: length of the first cycle; `growth`: length of a cycle against the one before; `final`: last rate of a
    cycle as a share of the peak, in [0, 1).
    """

    epochs: float = 10.0
    growth: float = 2.0
    final: float = 0.0

    def __post_init__(self):
        if self.epochs <= 0:
            raise invalid("cyclic: `epochs` must be positive", self.epochs)
        if self.growth < 1:
            raise invalid("cyclic: `growth` must be at least 1", self.growth)
        if not 0 <= self.final < 1:
            raise invalid("cyclic: `final` must be in [0, 1)", self.final)

    def apply(self, plan):
        return plan.but(decay=lambda peak: CyclicCosine(peak, self.epochs, self.growth, self.final))

    def explain(self, plan):
        ends, length = [], self.epochs
        for _ in range(3):
            ends.append((ends[-1] if ends else 0.0) + length)
            length *= self.growth
        shown = ", ".join(f"{e:g}" for e in ends)
        peak = plan.learning_rate
        return f"the learning rate falls from {peak:g} to {peak * self.final:g} and restarts after epochs {shown}, ..."
