"""Learning rate divided at milestones.

Paper: He et al., 2015, https://arxiv.org/abs/1512.03385, section 4.2
Use when: following a paper that divided the rate by ten at set epochs.
Start with: milestones=(0.5, 0.75) and gamma=0.1, the paper's for CIFAR-10 (steps 32,000 and 48,000 of 64,000).
Formula: rate(step) = peak gamma^k, with k the number of milestones reached
Composes with: warmup, from whose beginning the milestones count, as in Goyal et al. (2017).
Conflicts with: cosine, cyclic, one_cycle, polynomial, lr_finder, which replace the same decay.
"""

import itertools
from dataclasses import dataclass

import keras
from keras import ops

from zoo.arguments import fits
from zoo.errors import invalid
from zoo.registry import trick
from zoo.schedules import BoundSchedule


@keras.saving.register_keras_serializable("zoo")
class StepDecay(BoundSchedule):
    """Multiplies the rate by `gamma` at each milestone.

    Args:
        peak: first learning rate.
        milestones: in increasing order; below 1 they are shares of the fit, else epochs.
        gamma: factor at each.
    """

    spans_warmup = True

    def __init__(self, peak, milestones=(0.5, 0.75), gamma=0.1):
        super().__init__()
        self.peak = peak
        self.milestones = tuple(milestones)
        self.gamma = gamma

    def rate(self, step, total, steps_per_epoch):
        step = step * (1.0 + 3e-7) + 1e-3  # rounding must not leave the step of a milestone before it
        reached = sum(ops.cast(step >= m * (total if m < 1 else steps_per_epoch), "float32") for m in self.milestones)
        return self.peak * ops.power(ops.convert_to_tensor(self.gamma, "float32"), reached)

    def complaints(self, epochs):
        late = [m for m in self.milestones if m >= epochs]
        if not late:
            return []
        return [f"step(milestones={self.milestones}): {late[0]:g} is not within this fit, epochs={epochs}"]

    def get_config(self):
        return {"peak": self.peak, "milestones": list(self.milestones), "gamma": self.gamma}


@trick("step", stage="schedule")
@dataclass(frozen=True)
class Step:
    """See the card above.

    `milestones`: increasing; all below 1, shares of the fit, or all at least 1, epochs. `gamma`: factor of the learning
    rate at each, in (0, 1).
    """

    milestones: tuple = (0.5, 0.75)
    gamma: float = 0.1

    def __post_init__(self):
        marks = self.milestones
        rising = all(fits(float, m) and m > 0 for m in marks) and all(a < b for a, b in itertools.pairwise(marks))
        if not marks or not rising:
            raise invalid("step: `milestones` must be positive and increasing, such as (0.5, 0.75) or (30, 60)", marks)
        if marks[0] < 1 <= marks[-1]:
            works = "Write (0.5, 0.75) for half and three quarters of the fit, or (30, 60) for epochs."
            raise invalid("step: `milestones` mix shares of the fit, below 1, with epochs", marks, works)
        if not 0 < self.gamma < 1:
            raise invalid("step: `gamma` must be between 0 and 1", self.gamma)

    def apply(self, plan):
        return plan.but(decay=lambda peak: StepDecay(peak, self.milestones, self.gamma))

    def explain(self, plan):
        rates = [plan.learning_rate * self.gamma ** (k + 1) for k in range(len(self.milestones))]
        share = self.milestones[0] < 1
        when = [f"after {m:.0%} of the fit" if share else f"after epoch {m:g}" for m in self.milestones]
        falls = ", ".join(f"{r:.3g} {w}" for r, w in zip(rates, when, strict=True))
        return f"the learning rate is {plan.learning_rate:g}, then {falls}"
