"""Depthwise separable convolutions on or off.

Paper: Chollet, 2016, https://arxiv.org/abs/1610.02357, section 2
Use when: a convolutional network must have fewer weights and operations at nearly the same accuracy.
Start with: on, with as many filters as before.
Formula: k x k weights for each of C channels, then C x F that mix them: k k C + C F weights instead of k k C F
Composes with: everything.
Conflicts with: a `separable` given to the builder that says something else.
Cost: fewer operations, but a depthwise convolution uses the device less well: time falls by less than the count.
"""

import math
from dataclasses import dataclass

import keras

from zoo.builder_switches import Switch, layers_of
from zoo.plan import count
from zoo.registry import trick


@trick("separable", stage="builder")
@dataclass(frozen=True)
class Separable(Switch):
    """See the card above. `on`: whether the model's larger convolutions are separable; those on the image stay."""

    on: bool = True
    argument = "separable"

    @property
    def value(self):
        return self.on

    def explain(self, plan):
        found = layers_of(plan.model, keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
        if not found:
            return "all convolutions are ordinary ones"
        have = count(v for x in found for v in (x.depthwise_kernel, x.pointwise_kernel))
        # An ordinary kernel has one depthwise kernel for each filter.
        whole = sum(math.prod(x.depthwise_kernel.shape) * x.pointwise_kernel.shape[-1] for x in found)
        return f"{len(found)} separable convolutions of {have:,} weights; ordinary ones would have {whole:,}"
