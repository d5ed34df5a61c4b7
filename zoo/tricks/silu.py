"""The sigmoid-weighted linear unit, also called swish, in place of a model's own activation.

Paper: Elfwing et al., 2017, https://arxiv.org/abs/1702.03118
Use when: deep convolutional networks; Ramachandran et al., 2017, https://arxiv.org/abs/1710.05941 found it by search.
Start with: as it is.
Formula: f(x) = x s(x), s(x) = 1 / (1 + exp(-x))
Composes with: everything.
Conflicts with: relu and gelu.
Cost: an exponential for each unit, where relu compares two numbers.
"""

from dataclasses import dataclass

from zoo.builder_switches import Switch
from zoo.registry import trick


@trick("silu", stage="builder")
@dataclass(frozen=True)
class Silu(Switch):
    """See the card above."""

    argument = "activation"
    value = "silu"

    def explain(self, plan):
        return "f(x) = x / (1 + exp(-x)): f(-1) = -0.269, f(1) = 0.731; smooth, lowest at -0.278"
