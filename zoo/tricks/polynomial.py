"""Polynomial learning-rate decay.

Paper: Chen et al., 2016, https://arxiv.org/abs/1606.00915, section 4.1
Use when: a language model is fine-tuned, or segmentation is trained.
Start with: power=1, a straight line, for fine-tuning; power=0.9, the paper's, for segmentation.
Formula: rate(step) = peak (final + (1 - final) (1 - step / T)^power), with T steps
Composes with: warmup.
Conflicts with: cosine, cyclic, one_cycle, step, lr_finder, which replace the same decay.
"""

from dataclasses import dataclass

import keras

from zoo.errors import invalid
from zoo.registry import trick
from zoo.schedules import BoundSchedule, fraction


@keras.saving.register_keras_serializable("zoo")
class PolynomialDecay(BoundSchedule):
    """Falls from `peak` to `final * peak` over the whole fit, with a power of what is left of it.

    Args:
        peak: first learning rate.
        power: of the share of the steps that are left.
        final: last rate as a share of the peak.
    """

    def __init__(self, peak, power=1.0, final=0.0):
        super().__init__()
        self.peak = peak
        self.power = power
        self.final = final

    def rate(self, step, total, steps_per_epoch):
        left = 1.0 - fraction(step, total)
        return self.peak * (self.final + (1.0 - self.final) * left**self.power)

    def get_config(self):
        return {"peak": self.peak, "power": self.power, "final": self.final}


@trick("polynomial", stage="schedule")
@dataclass(frozen=True)
class Polynomial:
    """See the card above. `power`: positive; `final`: last learning rate as a share of the peak, in [0, 1)."""

    power: float = 1.0
    final: float = 0.0

    def __post_init__(self):
        if self.power <= 0:
            raise invalid("polynomial: `power` must be positive", self.power)
        if not 0 <= self.final < 1:
            raise invalid("polynomial: `final` must be in [0, 1)", self.final)

    def apply(self, plan):
        return plan.but(decay=lambda peak: PolynomialDecay(peak, self.power, self.final))

    def explain(self, plan):
        peak, final = plan.learning_rate, self.final
        middle = peak * (final + (1 - final) * 0.5**self.power)
        line = "a straight line" if self.power == 1 else f"power {self.power:g}"
        return f"the learning rate falls from {peak:g} to {peak * final:g} ({line}); half-way it is {middle:.3g}"
