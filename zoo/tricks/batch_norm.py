"""Batch normalisation in place of a model's own: statistics over the batch, channel by channel.

Paper: Ioffe and Szegedy, 2015, https://arxiv.org/abs/1502.03167, algorithms 1 and 2
Use when: convolutional networks train on batches of 16 or more.
Start with: as it is; a learning rate several times that of the network without it.
Formula: y = gamma (x - m) / sqrt(v + e) + beta, m and v the mean and variance of a channel over batch and positions;
    in inference their moving averages
Composes with: every optimizer and schedule; freeze_bn, which holds the averages still while fine-tuning.
Conflicts with: group_norm and layer_norm. Warned about: batches below 8, whose statistics are too noisy (Wu and He,
    2018, https://arxiv.org/abs/1803.08494, table 2), accumulate, and gradient_penalty.
"""

from dataclasses import dataclass

from zoo.batch_statistics import TINY
from zoo.builder_switches import Switch, normalisations
from zoo.registry import trick


@trick("batch_norm", stage="builder")
@dataclass(frozen=True)
class BatchNorm(Switch):
    """See the card above."""

    argument = "norm"
    value = "batch"
    clashes = {
        "accumulate": "gradients of several batches are joined, statistics are still those of a single one (Wu and He, "
        "2018, https://arxiv.org/abs/1803.08494, section 1); group_norm does not mind",
        "gradient_penalty": "the penalty is on each example's own gradient, and the statistics tie the examples of a "
        "batch (Gulrajani et al., 2017, https://arxiv.org/abs/1704.00028, section 4); layer_norm does not",
    }

    def explain(self, plan):
        return f"normalises over the batch: {normalisations(plan)}; needs batches of at least {TINY}"
