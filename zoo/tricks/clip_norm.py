"""Gradients no longer than a given norm.

Paper: Pascanu et al., 2012, https://arxiv.org/abs/1211.5063, algorithm 1
Use when: recurrent nets or transformers have steps at which the loss jumps.
Start with: norm=1 over all weights together.
Formula: g = g min(1, norm / ||g||), the norm over all gradients together, or each variable's own
Composes with: every optimizer, loss and objective; it comes after accumulate has averaged, before weight decay.
Conflicts with: nothing. Where two players train against each other each has its own norm.
"""

from dataclasses import dataclass

from zoo.errors import invalid, unknown
from zoo.registry import trick

OPTIONS = {"global": "global_clipnorm", "variable": "clipnorm"}  # what Keras calls the two


@trick("clip_norm", stage="optimizer")
@dataclass(frozen=True)
class ClipNorm:
    """See the card above. `norm`: the longest gradient, above 0. `by`: "global", all weights, or "variable", each."""

    norm: float = 1.0
    by: str = "global"

    def __post_init__(self):
        if self.norm <= 0:
            raise invalid("clip_norm: `norm` must be positive", self.norm)
        if self.by not in OPTIONS:
            raise unknown("way to clip by", self.by, OPTIONS, works='clip_norm takes by="global" or by="variable".')

    def apply(self, plan):
        return plan.adding("optimizer_options", (OPTIONS[self.by], self.norm))

    def explain(self, plan):
        count = len(plan.trained)
        whose = f"the {count} gradients together are" if self.by == "global" else f"each of the {count} gradients is"
        return f"{whose} shortened to a norm of {self.norm:g} where longer"
