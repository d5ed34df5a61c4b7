"""Residual connections on or off: each block adds its input to its output, or does not.

Paper: He et al., 2015, https://arxiv.org/abs/1512.03385, section 3
Use when: on in networks of more than about twenty layers; off to measure what the connections are worth.
Start with: on, and a depth of 20 to 56 on small images.
Formula: y = x + f(x) with, y = f(x) without; where shapes differ, y = W x + f(x) with a 1 x 1 convolution W
Composes with: everything; drop_path needs it on.
Conflicts with: drop_path when off; a `shortcut` given to the builder that says something else.
"""

from dataclasses import dataclass

import keras

from zoo.builder_switches import Switch, layers_of, switched
from zoo.registry import trick


@trick("skip", stage="builder")
@dataclass(frozen=True)
class Skip(Switch):
    """See the card above. `on`: whether the connections are there; a kind of shortcut the model has is kept."""

    on: bool = True

    def builder_arguments(self, name, arguments):
        """Returns the builder arguments that this trick sets."""
        now = arguments.get("shortcut")
        if isinstance(now, bool):
            return switched(self.name, name, arguments, "shortcut", self.on)
        return switched(self.name, name, arguments, "shortcut", (now or "projection") if self.on else None)

    def explain(self, plan):
        count = len(layers_of(plan.model, keras.layers.Add))
        if not self.on:
            return "each block hands on its output alone; the gradient reaches the first block through all others"
        return f"{count} sums of a block and its input, through which the gradient reaches the first block unchanged"
