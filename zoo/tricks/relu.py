"""The rectifier in place of a model's own activation.

Paper: Nair and Hinton, 2010, https://icml.cc/Conferences/2010/papers/432.pdf
Use when: speed counts; it is the cheapest activation.
Start with: He initialisation, which the zoo's convolutional networks have.
Formula: f(x) = max(x, 0)
Composes with: everything.
Conflicts with: gelu and silu.
"""

from dataclasses import dataclass

from zoo.builder_switches import Switch
from zoo.registry import trick


@trick("relu", stage="builder")
@dataclass(frozen=True)
class Relu(Switch):
    """See the card above."""

    argument = "activation"
    value = "relu"

    def explain(self, plan):
        return "f(x) = max(x, 0): f(-1) = 0, f(1) = 1; slope 0 below zero, where a unit that never fires stops learning"
