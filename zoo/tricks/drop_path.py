"""Stochastic depth: whole residual branches are left out at random in training.

Paper: Huang et al., 2016, https://arxiv.org/abs/1603.09382, section 3
Use when: a deep residual network or transformer overfits, or a very deep one is slow to learn.
Start with: 0.1 in small networks and transformers, 0.2 to 0.5 as they grow deeper.
Formula: y = x + b f(x) / (1 - p_l) with b = 0 at probability p_l for each image, p_l = rate (l - 1) / (L - 1) for
    branch l of L; in inference y = x + f(x)
Composes with: dropout, which drops single units; everything else.
Conflicts with: skip(on=False), which leaves no path around a branch; a `drop_path_rate` given to the builder that says
    something else.
Departures: each image draws for itself, and training divides by 1 - p_l, where the paper draws once for a mini-batch
    and multiplies by 1 - p_l in inference; the first branch is always kept, the paper's survives at 1 - rate / L.
"""

from dataclasses import dataclass

import keras

from zoo.builder_switches import Switch, layers_of
from zoo.errors import invalid
from zoo.registry import trick


@trick("drop_path", stage="builder")
@dataclass(frozen=True)
class DropPath(Switch):
    """See the card above. `rate`: share of images that skip the last branch in a training step, in [0, 1)."""

    rate: float = 0.1
    argument = "drop_path_rate"

    def __post_init__(self):
        if not 0 <= self.rate < 1:
            raise invalid("drop_path: `rate` must be in [0, 1)", self.rate, "Such as 0.1.")

    @property
    def value(self):
        return self.rate

    def apply(self, plan):
        if self.rate and not rates_of(plan.model):
            return plan.adding("cautions", "drop_path: this model has a single branch, and the first is always kept")
        return plan

    def explain(self, plan):
        rates = rates_of(plan.model)
        if not rates:
            return "drops no branch"
        branches = f"{len(rates)} {'branch is' if len(rates) == 1 else 'branches are'} skipped"
        rising = f"rises from {rates[0]:.1%} at the first of them to " if rates[0] != rates[-1] else "is "
        return (
            f"{branches} by a share of the images that {rising}{rates[-1]:.1%}; on average an image skips "
            f"{sum(rates):.2g} in a training step"
        )


def rates_of(model):
    """Returns the rates at which a model's branches are dropped, first to last; those that never are, left out."""
    drops = layers_of(model, keras.layers.Dropout)
    return [layer.rate for layer in drops if layer.noise_shape is not None and layer.rate]
