"""Projected gradient descent on inputs: adversarial training against the strongest first-order attack.

Paper: Madry et al., 2017, https://arxiv.org/abs/1706.06083, equation 2.1 and section 5
Use when: the model must withstand worst-case changes of its input, and training may take steps + 1 times as long.
Start with: for inputs in [0, 1] the paper's MNIST: epsilon=0.3, low=0, high=1; steps=7 (the paper: 40).
    A small network may stay at chance at a large epsilon: ramp=2 or more epochs lead up to it.
Formula: min over w of mean over (x, y) of max over |d|_inf <= epsilon of L(w, x + d, y)
    d <- clip(d + step_size sign(dL/dd), -epsilon, epsilon), steps times, from d uniform in the ball
Composes with: every loss and schedule, flooding, and fgm on other inputs.
Conflicts with: fgsm, ifgsm, free_lb and ant, which take the place of the plain loss too.
Cost: steps + 1.3 plain steps at most; a pass of the attack has no gradient by the weights.
"""

from dataclasses import dataclass

from zoo.attack_ramp import Climb, Ramp
from zoo.attacks import Attack, Attacked, check_attack, replacing_plain, training_inputs
from zoo.errors import invalid
from zoo.registry import trick


@trick("pgd", stage="objective")
@dataclass(frozen=True)
class Pgd:
    """See the card above.

    `steps`: of the attack on each batch. `epsilon`: largest change of any input value, in the unit of the model's
    input. `step_size`: change of each value in one step; None is 2.5 * epsilon / steps. `alpha`: share of the plain
    loss; 0, as in the paper, trains on attacked inputs alone. `random_start`: whether an attack starts from a random
    point of the ball. `low`, `high`: limits that the changed input is clipped to, or None. `ramp`: epochs before the
    whole epsilon; epoch e of them, counted from 1, attacks with e / (ramp + 1) of it and of the step.
    """

    steps: int = 7
    epsilon: float = 0.1
    step_size: float | None = None
    alpha: float = 0.0
    random_start: bool = True
    low: float | None = None
    high: float | None = None
    ramp: int = 0

    def __post_init__(self):
        check_attack("pgd", self.epsilon, self.alpha, self.low, self.high, self.steps, self.step_size)
        if type(self.ramp) is not int or self.ramp < 0:
            raise invalid("pgd: `ramp` must be a whole number of epochs, 0 or more", self.ramp)

    @property
    def _size(self):
        return 2.5 * self.epsilon / self.steps if self.step_size is None else self.step_size

    def apply(self, plan):
        training_inputs(plan, "pgd")
        attack = Attack(self.epsilon, self.steps, self._size, self.random_start, self.low, self.high)
        if not self.ramp:
            return replacing_plain(plan, "pgd", Attacked("pgd", attack, self.alpha))
        ramp = Ramp(self.ramp)
        changed = replacing_plain(plan, "pgd", Attacked("pgd", attack, self.alpha, ramp)).adding("extras", ramp)
        changed = changed.adding("callbacks", lambda: Climb(ramp)).adding("at_fit", ramp.too_long)
        return changed.but(unripe=max(plan.unripe, self.ramp))  # an easier attack leaves the accuracy higher

    def explain(self, plan):
        names = ", ".join(f"{i.name!r} {tuple(i.shape[1:])}" for i in training_inputs(plan, "pgd"))
        kept = f"{self.alpha:.0%} plain loss and {1 - self.alpha:.0%} loss" if self.alpha else "the loss"
        start = "a random point of the ball" if self.random_start else "the input itself"
        ramp = f", and by less in the first {self.ramp} epochs, of which none is kept" if self.ramp else ""
        return (
            f"trains on {kept} on inputs {names} moved by at most {self.epsilon:g} in every value{ramp}: "
            f"{self.steps} steps of {self._size:g} up the gradient's sign, from {start}; about "
            f"{self.steps * 0.7 + 1.2:.1f} times the time of a plain step"
        )
