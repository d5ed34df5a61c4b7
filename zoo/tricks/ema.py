"""Exponential moving average of the weights.

Paper: Polyak and Juditsky, 1992, https://doi.org/10.1137/0330046
Use when: the last steps are noisy: high learning rates, small batches.
Start with: momentum 0.99 for short runs, 0.9999 for hundreds of epochs.
Formula: a <- momentum a + (1 - momentum) w after each step
Composes with: everything else. Validation and the kept weights use the average; training goes on from the raw weights.
Conflicts with: swa, which keeps another average of the same weights; lr_finder, which puts the first weights back.
"""

from dataclasses import dataclass

from zoo.averages import ValidateAverage
from zoo.errors import invalid
from zoo.registry import trick


@trick("ema", stage="after")
@dataclass(frozen=True)
class Ema:
    """See the card above. `momentum`: share of the average that is kept at each step, in (0, 1)."""

    momentum: float = 0.99

    def __post_init__(self):
        if not 0 < self.momentum < 1:
            raise invalid("ema: `momentum` must be between 0 and 1", self.momentum)

    def apply(self, plan):
        # The Keras optimizer keeps the average, and writes it over the weights when training ends.
        return plan.but(average=("ema", self.momentum)).adding("callbacks", ValidateAverage)

    def explain(self, plan):
        steps = 1 / (1 - self.momentum)
        return (
            f"validation and the final weights use an average over about the last {steps:,.0f} steps "
            f"({plan.model.count_params():,} weights are kept twice)"
        )
