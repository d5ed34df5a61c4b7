"""Iterated fast gradient sign method on inputs: adversarial training with several small steps.

Paper: Kurakin et al., 2016, https://arxiv.org/abs/1607.02533, section 2.2
Use when: fgsm leaves a model open to attacks of several steps, and pgd is too dear or its random start unwanted.
Start with: epsilon=0.1 for inputs in [0, 1], steps=5, which then go to the ball's corner in equal parts.
Formula: x_0 = x; x_i = clip(x_(i-1) + step_size sign(dL/dx_(i-1)), x - epsilon, x + epsilon)
    L' = alpha L(x, y) + (1 - alpha) L(x_steps, y)
Composes with: every loss and schedule, flooding, and fgm on other inputs.
Conflicts with: fgsm, pgd, free_lb and ant, which take the place of the plain loss too.
Departures: clean and attacked batches weigh equally by default, as for fgsm; the paper attacks finished models.
Cost: steps + 1 plain steps at most; the first gradient is that of the plain pass.
"""

from dataclasses import dataclass

from zoo.attacks import Attack, Attacked, check_attack, replacing_plain, training_inputs
from zoo.registry import trick


@trick("ifgsm", stage="objective")
@dataclass(frozen=True)
class Ifgsm:
    """See the card above.

    `steps`: of the attack on each batch. `epsilon`: largest change of any input value, in the unit of the model's
    input. `step_size`: change of each value in one step; None is epsilon / steps. `alpha`: share of the plain loss; the
    adversarial loss has the rest. `low`, `high`: limits that the changed input is clipped to, or None.
    """

    steps: int = 5
    epsilon: float = 0.1
    step_size: float | None = None
    alpha: float = 0.5
    low: float | None = None
    high: float | None = None

    def __post_init__(self):
        check_attack("ifgsm", self.epsilon, self.alpha, self.low, self.high, self.steps, self.step_size)

    @property
    def _size(self):
        return self.epsilon / self.steps if self.step_size is None else self.step_size

    def apply(self, plan):
        training_inputs(plan, "ifgsm")
        attack = Attack(self.epsilon, self.steps, self._size, False, self.low, self.high)
        return replacing_plain(plan, "ifgsm", Attacked("ifgsm", attack, self.alpha))

    def explain(self, plan):
        names = ", ".join(f"{i.name!r} {tuple(i.shape[1:])}" for i in training_inputs(plan, "ifgsm"))
        return (
            f"trains on {self.alpha:.0%} plain loss and {1 - self.alpha:.0%} loss on inputs {names} moved by at most "
            f"{self.epsilon:g} in every value, in {self.steps} steps of {self._size:g} up the gradient's sign; about "
            f"{self.steps * 0.7 + 1.3:.1f} times the time of a plain step"
        )
