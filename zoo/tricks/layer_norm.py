"""Layer normalisation in place of a model's own: statistics over the channels of one position.

Paper: Ba et al., 2016, https://arxiv.org/abs/1607.06450, section 3
Use when: texts and other sequences, transformers, or small batches.
Start with: as it is.
Formula: y = gamma (x - m) / sqrt(v + e) + beta, m and v the mean and variance over the channels of one position
Composes with: everything; the same in training and in inference, whatever the batch.
Conflicts with: batch_norm and group_norm.
Departures: in convolutional networks each position is normalised by itself, as in ConvNeXt; the paper normalises
    over all units of a layer.
"""

from dataclasses import dataclass

from zoo.builder_switches import Switch, normalisations
from zoo.registry import trick


@trick("layer_norm", stage="builder")
@dataclass(frozen=True)
class LayerNorm(Switch):
    """See the card above."""

    argument = "norm"
    value = "layer"

    def explain(self, plan):
        return f"normalises each position over its channels: {normalisations(plan)}; the batch plays no part"
