"""Group normalisation in place of a model's own: statistics of one example, over groups of channels.

Paper: Wu and He, 2018, https://arxiv.org/abs/1803.08494, section 3
Use when: batches are small, differ between training and inference, or examples must not see each other.
Start with: as it is; groups are as many as divide the channels, at most 32 and at most half of them.
Formula: y = gamma (x - m) / sqrt(v + e) + beta, m and v the mean and variance over positions and a group's channels
Composes with: everything; the same in training and in inference, whatever the batch.
Conflicts with: batch_norm and layer_norm; models of padded texts, whose builder refuses it: a group's statistics would
    count the padding.
"""

from dataclasses import dataclass

from zoo.builder_switches import Switch, normalisations
from zoo.registry import trick


@trick("group_norm", stage="builder")
@dataclass(frozen=True)
class GroupNorm(Switch):
    """See the card above."""

    argument = "norm"
    value = "group"

    def explain(self, plan):
        return f"normalises each example over groups of channels: {normalisations(plan)}; the batch plays no part"
