"""Sharpness-aware minimisation: each step takes its gradient at the worst weights nearby.

Paper: Foret et al., 2020, https://arxiv.org/abs/2010.01412, equation 2 and algorithm 1
Use when: generalisation matters more than time, above all on small data or noisy labels.
Start with: rho=0.05, the paper's for CIFAR and ImageNet; it tried 0.01 to 0.5.
Formula: e = rho g / ||g||, g = dL/dw; the step is taken with dL/dw at w + e
Composes with: every loss, optimizer and schedule; adversarial tricks act at the moved weights.
Conflicts with: flooding, and accumulate (a warning, see there).
Departures: g leaves out regularisers, as in the paper's equation 1, and weight decay of the optimizer. The loss that is
    shown is the one at the moved weights; batch statistics and dropout masks are drawn for the plain pass alone.
Cost: about twice the time of a plain step.
"""

from dataclasses import dataclass

from keras import ops

from zoo.attacks import LEARNING
from zoo.errors import invalid
from zoo.plan import count
from zoo.registry import trick


def worst_offsets(gradients, rho):
    """Returns rho * g / ||g||, the norm taken over all tensors together.

    Args:
        gradients: list of tensors of any shapes.
        rho: length of the step.

    Returns:
        List of float32 tensors of the same shapes; all zero where the gradients are zero or have overflowed.
    """
    gradients = [ops.cast(g, "float32") for g in gradients]
    largest = ops.max(ops.stack([ops.max(ops.abs(g)) for g in gradients]))
    usable = ops.logical_and(largest > 0, ops.isfinite(largest))
    # Divided by the largest first, because the squares of small gradients would vanish.
    scaled = [ops.where(usable, g / ops.where(usable, largest, 1.0), 0.0) for g in gradients]
    norm = ops.sqrt(sum(ops.sum(ops.square(g)) for g in scaled))
    return [rho * g / ops.where(usable, norm, 1.0) for g in scaled]


@trick("sam", stage="objective")
@dataclass(frozen=True)
class Sam:
    """See the card above. `rho`: L2 distance, over all weights together, to the point whose gradient is taken."""

    rho: float = 0.05
    clashes = {
        "flooding": "below the flood level the gradient at the worst point nearby is turned round, which climbs away "
        "from flat regions as well as from fitted ones; Ishida et al. (2020) and Foret et al. (2020) each fight "
        "overfitting by the training loss and neither defines the sum",
        "accumulate": "each micro-batch gets a worst point of its own, so the sum is that of a smaller batch, which "
        "Foret et al. (2020, section 4.1) call m-sharpness; rho then means something else",
    }

    def __post_init__(self):
        if self.rho <= 0:
            raise invalid("sam: `rho` must be positive", self.rho)

    def apply(self, plan):
        plan.head_for("sam", LEARNING)

        def perturb(step):
            offsets = worst_offsets(step.weight_gradients(), self.rho)
            return list(zip(step.model.trainable_variables, offsets, strict=True))

        return plan.but(perturb=perturb)

    def explain(self, plan):
        numbers = count(plan.trained)
        return (
            f"takes each gradient at weights moved by {self.rho:g} (L2 over all {numbers:,} trainable weights) in the "
            f"direction that hurts the batch most, then steps from where the weights were; about twice the time of a "
            f"plain step"
        )
