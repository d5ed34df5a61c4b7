"""Cosine learning-rate decay.

Paper: Loshchilov and Hutter, 2016, https://arxiv.org/abs/1608.03983, equation 5 with one cycle
Use when: the number of epochs is known and the last weights are the ones that are kept.
Start with: final=0, the rate falls to zero.
Formula: rate(s) = peak (final + (1 - final) (1 + cos(pi s / S)) / 2) at step s of S
Composes with: warmup.
Conflicts with: cyclic, one_cycle, step, polynomial, lr_finder, which replace the same decay.
"""

from dataclasses import dataclass

import keras
from keras import ops

from zoo.errors import invalid
from zoo.registry import trick
from zoo.schedules import BoundSchedule, fraction


@keras.saving.register_keras_serializable("zoo")
class CosineDecay(BoundSchedule):
    """Falls from `peak` to `final * peak` along half a cosine over the whole fit.

    Args:
        peak: first learning rate.
        final: last rate as a share of the peak.
    """

    def __init__(self, peak, final=0.0):
        super().__init__()
        self.peak = peak
        self.final = final

    def rate(self, step, total, steps_per_epoch):
        falling = 0.5 * (1.0 + ops.cos(3.141592653589793 * fraction(step, total)))
        return self.peak * (self.final + (1.0 - self.final) * falling)

    def get_config(self):
        return {"peak": self.peak, "final": self.final}


@trick("cosine", stage="schedule")
@dataclass(frozen=True)
class Cosine:
    """See the card above. `final`: last learning rate as a share of the peak, in [0, 1)."""

    final: float = 0.0

    def __post_init__(self):
        if not 0 <= self.final < 1:
            raise invalid("cosine: `final` must be in [0, 1)", self.final)

    def apply(self, plan):
        return plan.but(decay=lambda peak: CosineDecay(peak, self.final))

    def explain(self, plan):
        peak, last = plan.learning_rate, plan.learning_rate * self.final
        return (
            f"the learning rate falls from {peak:g} to {last:g} along a cosine; half-way it is {(peak + last) / 2:.3g}"
        )
