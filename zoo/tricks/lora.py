"""Low-rank adaptation: dense layers learn a change of low rank beside frozen weights, and the head trains.

Paper: Hu et al., 2021, https://arxiv.org/abs/2106.09685, section 4.1
Use when: a large pretrained model is fine-tuned and its gradients and moments would not fit, or data are few.
Start with: rank=8 on every dense layer and a learning rate of 1e-3; the paper adapts the attention alone, which is
    layers="*attention*".
Formula: y = x W + (alpha / rank) x A B, with W (n, m) frozen, A (n, rank) random and B (rank, m) zero at the start
Composes with: every loss, optimizer, schedule and augmentation. When a fit ends, A B is in the weights, so that what is
    saved, pushed or exported is an ordinary model.
Conflicts with: layer_decay and gradual_unfreeze, which are about training what this freezes; models of two players.
Departures: A starts from He's uniform values, as in Keras, where the paper has a Gaussian; batch-norm statistics stay
    too. A second `fit` of the same model starts with B = 0 again, on top of what the first has merged.
"""

import fnmatch
from dataclasses import dataclass

import keras

from zoo.adapters import LowRank
from zoo.errors import invalid
from zoo.freezing import below_head, only_head, said
from zoo.registry import trick


def adapted_layers(model, pattern=None):
    """Returns the dense layers below the head of a model whose names match a glob pattern; None matches all."""
    dense = [layer for layer in below_head(model) if type(layer) is keras.layers.Dense and not layer.kernel_constraint]
    return [layer for layer in dense if pattern is None or fnmatch.fnmatchcase(layer.name, pattern)]


@trick("lora", stage="optimizer")
@dataclass(frozen=True)
class Lora:
    """See the card above.

    `rank`: columns of A and rows of B, at most the layer's width; `alpha`: what the change is multiplied by, over
    `rank`, None for `rank`; `layers`: glob pattern of the names of dense layers, such as "*attention*", None for all
    but the head.
    """

    rank: int = 8
    alpha: float | None = None
    layers: str | None = None

    def __post_init__(self):
        if self.rank < 1:
            raise invalid("lora: `rank` must be at least 1", self.rank)
        if self.alpha is not None and not self.alpha > 0:
            raise invalid("lora: `alpha` must be positive", self.alpha)

    def apply(self, plan):
        found = self._found(plan)
        plan = only_head(plan, "lora")
        adapters = [LowRank(layer, self.rank, self.rank if self.alpha is None else self.alpha) for layer in found]
        return plan.adding("extras", *adapters).adding("adapters", *adapters)

    def _found(self, plan):
        found = adapted_layers(plan.model, self.layers)
        if not found:
            every = [layer.name for layer in adapted_layers(plan.model)]
            if every:
                raise invalid(f"lora finds no such layer in model {plan.name!r}", self.layers, f"It has {every}.")
            wrong = f"lora finds no dense layer below the head in model {plan.name!r}"
            raise invalid(wrong, works="Write freeze_backbone, or fine-tune all of it.")
        return found

    def explain(self, plan):
        weights = sum(v.shape[0] * v.shape[1] for adapter in plan.adapters for v in adapter.weights)
        names = [adapter.dense.name for adapter in plan.adapters]
        span = names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
        few = "1 dense layer" if len(names) == 1 else f"{len(names)} dense layers"
        return f"{few}, {span}, learn a change of rank {self.rank}, {weights:,} weights in all; {said(plan)}"
