"""Flooding: the training loss is kept from falling below a level.

Paper: Ishida et al., 2020, https://arxiv.org/abs/2002.08709, equation 5
Use when: training loss goes to zero long before training ends.
Start with: a level between 0.01 and 0.1, chosen on validation data; far more where many labels are wrong.
Formula: L' = |L - level| + level
Composes with: every loss and every adversarial objective; it acts on their sum.
Conflicts with: nothing here. Set the level against the loss that is in use: a focal loss is smaller.
"""

from dataclasses import dataclass

from keras import ops

from zoo.errors import invalid
from zoo.registry import trick


def flood(loss, level):
    """Returns |loss - level| + level: the loss above the level, its mirror image below."""
    return ops.abs(loss - level) + level


@trick("flooding", stage="objective")
@dataclass(frozen=True)
class Flooding:
    """See the card above. `level`: the loss, in its own unit, below which training ascends."""

    level: float = 0.05

    def __post_init__(self):
        if self.level <= 0:
            raise invalid("flooding: `level` must be positive", self.level)

    def apply(self, plan):
        return plan.but(bound=lambda loss: flood(loss, self.level))

    def explain(self, plan):
        return (
            f"while a batch's training loss is below {self.level:g} its gradient is turned round, so the loss hovers "
            f"there; validation loss is reported as it is"
        )
