"""The Gaussian error linear unit in place of a model's own activation.

Paper: Hendrycks and Gimpel, 2016, https://arxiv.org/abs/1606.08415, section 2
Use when: transformers, and convolutional networks that are not limited by speed.
Start with: as it is.
Formula: f(x) = x P(X <= x) for X standard normal = x (1 + erf(x / sqrt 2)) / 2
Composes with: everything.
Conflicts with: relu and silu.
Cost: an error function for each unit, where relu compares two numbers.
"""

from dataclasses import dataclass

from zoo.builder_switches import Switch
from zoo.registry import trick


@trick("gelu", stage="builder")
@dataclass(frozen=True)
class Gelu(Switch):
    """See the card above."""

    argument = "activation"
    value = "gelu"

    def explain(self, plan):
        return "f(x) = x (1 + erf(x / sqrt 2)) / 2: f(-1) = -0.159, f(1) = 0.841; smooth, lowest at -0.170"
