"""Training the head alone: every weight below it stays as it is, and so do the batch-norm statistics.

Paper: Yosinski et al., 2014, https://arxiv.org/abs/1411.1792, section 4 (the transferred layers left frozen)
Use when: a pretrained model gets a new head on few data, or before all of it is fine-tuned (Kumar et al., 2022,
    https://arxiv.org/abs/2202.10054).
Start with: a rate ten times that of fine-tuning the whole model.
Formula: h = f(x) with f as it was, in inference; only W and b of z = h W + b change
Composes with: every loss, optimizer, schedule and augmentation; the optimizer keeps nothing for frozen weights.
Conflicts with: layer_decay and gradual_unfreeze, which are about training what this freezes; models of two players.
Departures: the first or the last layers are frozen in the paper's experiments, here always all but the head.
"""

from dataclasses import dataclass

from zoo.freezing import only_head, said
from zoo.registry import trick


@trick("freeze_backbone", stage="optimizer")
@dataclass(frozen=True)
class FreezeBackbone:
    """See the card above. The head is the last layer with weights on the way to each output."""

    def apply(self, plan):
        return only_head(plan, "freeze_backbone")

    def explain(self, plan):
        return said(plan)
