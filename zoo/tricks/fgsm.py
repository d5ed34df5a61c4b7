"""Fast gradient sign method on inputs: adversarial training for images.

Paper: Goodfellow et al., 2014, https://arxiv.org/abs/1412.6572, section 6
Use when: the model must withstand small worst-case changes of its input.
Start with: epsilon=0.1 for inputs in [0, 1] (the paper's 0.25 on MNIST), alpha=0.5 (the paper's).
Formula: L' = alpha L(x, y) + (1 - alpha) L(x + epsilon sign(dL/dx), y)
Composes with: every loss and schedule, flooding, and fgm on other inputs.
Conflicts with: ifgsm, pgd, free_lb and ant, which take the place of the plain loss too.
Cost: about twice the time of a plain step.
"""

from dataclasses import dataclass

from zoo.attacks import Attack, Attacked, check_attack, replacing_plain, training_inputs
from zoo.registry import trick


@trick("fgsm", stage="objective")
@dataclass(frozen=True)
class Fgsm:
    """See the card above.

    `epsilon`: largest change of any input value, in the unit of the model's input. `alpha`: share of the plain loss;
    the adversarial loss has the rest. `low`, `high`: limits that the changed input is clipped to, or None.
    """

    epsilon: float = 0.1
    alpha: float = 0.5
    low: float | None = None
    high: float | None = None

    def __post_init__(self):
        check_attack("fgsm", self.epsilon, self.alpha, self.low, self.high)

    def apply(self, plan):
        training_inputs(plan, "fgsm")
        return replacing_plain(
            plan, "fgsm", Attacked("fgsm", Attack(self.epsilon, low=self.low, high=self.high), self.alpha)
        )

    def explain(self, plan):
        names = ", ".join(f"{i.name!r} {tuple(i.shape[1:])}" for i in training_inputs(plan, "fgsm"))
        return (
            f"trains on {self.alpha:.0%} plain loss and {1 - self.alpha:.0%} loss on inputs {names} moved by "
            f"{self.epsilon:g} in every value, in the direction that hurts most; about twice the time of a plain step"
        )
