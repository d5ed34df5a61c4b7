"""Layer-wise learning-rate decay: the further a layer is from the output, the smaller its rate.

Paper: Clark et al., 2020, https://arxiv.org/abs/2003.10555, appendix B
Use when: a pretrained model is fine-tuned; BEiT and MAE use 0.65 to 0.75 for ViT.
Start with: rate=0.75.
Formula: rate(d) = peak rate^(D - 1 - d), with d = 0 ... D - 1 the depth of a layer, D - 1 that of the head
Composes with: every optimizer and schedule; weight decay shrinks with the rate; gradual_unfreeze, whose factors
multiply.
Conflicts with: freeze_backbone, features_once and lora, which freeze what it is about; models of two players.
Departures: Howard and Ruder (2018, https://arxiv.org/abs/1801.06146, section 3.2) were first, with 1 / 2.6.
"""

import math
from dataclasses import dataclass

from zoo.depths import layer_groups, variable_depths
from zoo.errors import invalid
from zoo.registry import trick

LOWEST = 1e-4  # share of the learning rate below which a depth hardly moves


@trick("layer_decay", stage="optimizer")
@dataclass(frozen=True)
class LayerDecay:
    """See the card above. `rate`: factor from one depth to the next towards the input, in (0, 1)."""

    rate: float = 0.75

    def __post_init__(self):
        if not 0 < self.rate < 1:
            raise invalid("layer_decay: `rate` must be between 0 and 1", self.rate)

    def apply(self, plan):
        if hasattr(plan.optimizer, "playing"):
            works = "Drop layer_decay."
            raise invalid(
                f"layer_decay finds no common order of layers in the two players of {plan.name!r}", works=works
            )
        groups = layer_groups(plan.model)
        if len(groups) < 2:
            names = [layer.name for layer in plan.model.layers if layer.weights]
            raise invalid(
                f"layer_decay finds no depth in model {plan.name!r}: one row of weights", names, "Drop layer_decay."
            )
        lowest = self.rate ** (len(groups) - 1)
        if lowest < LOWEST:
            fits = math.ceil(1000 * LOWEST ** (1 / (len(groups) - 1))) / 1000
            plan = plan.adding(
                "cautions",
                f"layer_decay(rate={self.rate:g}) leaves the first of {len(groups)} depths "
                f"{lowest:.1g} of the learning rate, which is next to freezing it; write layer_decay(rate={fits:g})",
            )
        return plan.adding("rate_factors", self.factors)

    def factors(self, model):
        """Returns a dict, path of a trainable variable -> factor of its learning rate."""
        depths, count = variable_depths(model)
        return {path: self.rate ** (count - 1 - depth) for path, depth in depths.items()}

    def explain(self, plan):
        groups = layer_groups(plan.model)
        first = next(layer.name for layer in groups[0] if layer.weights)
        last = next(layer.name for layer in reversed(groups[-1]) if layer.weights)
        lowest = self.rate ** (len(groups) - 1)
        return (
            f"{len(groups)} depths: {first!r} learns at {plan.learning_rate * lowest:.3g}, {lowest:.3g} of the rate, "
            f"each depth after it at 1 / {self.rate:g} of the one before, up to {last!r} at {plan.learning_rate:g}"
        )
