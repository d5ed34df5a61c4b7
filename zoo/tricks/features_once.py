"""Linear probing: the features of every example are computed once, and the head alone is trained on them.

Paper: Alain and Bengio, 2016, https://arxiv.org/abs/1610.01644, section 3.2
Use when: it is to be seen quickly what a pretrained model's features are worth, or a processor must do.
Start with: adamw, many epochs in large batches, and the learning rate that freeze_backbone would have.
Formula: z = h W + b, with h the features of an example in inference, the same in every epoch
Composes with: every loss, optimizer and schedule; label_smoothing, class_balance, flooding, sam, early_stopping, ema.
Conflicts with: plain `fit`, which has no data set to compute features of (train with zoo.train or zoo.finetune); what
    changes the examples, such as mixup; what trains below the head, such as lora.
Departures: the probe is the head that the model keeps, so that what comes out is an ordinary model.
Cost: one inference pass over all examples, and their features in memory, 4 bytes a number.
"""

from dataclasses import dataclass

from zoo.errors import invalid
from zoo.freezing import only_head, said
from zoo.registry import find_trick, trick

FITS = ("class_balance", "label_smoothing", "flooding", "sam", "clip_weights")  # of stages that else need the examples
NEEDS = ("layer_decay", "gradual_unfreeze", "lora", "freeze_bn", "snapshot")
STAGES = ("data", "targets", "objective")


def _needs_train(model):
    works = "Write zoo.train(model, data, recipe=...) or zoo.finetune, or freeze_backbone for a `fit` of your own."
    raise invalid("features_once needs zoo.train: a plain `fit` has no data set to compute features of", works=works)


@trick("features_once", stage="optimizer")
@dataclass(frozen=True)
class FeaturesOnce:
    """See the card above."""

    def apply(self, plan):
        from zoo.probing import HeadOnly, head_input

        for other in plan.tricks:
            if other in NEEDS or (other not in FITS and find_trick(other).stage in STAGES):
                wrong = f"features_once and {other} do not go together: {other} works on examples or on layers that "
                works = f"Write `-features_once` and freeze_backbone, or leave {other} out."
                raise invalid(f"{wrong}run only once", works=works)
        features = head_input(plan.model, plan.heads)
        plan = only_head(plan, "features_once")
        return plan.but(cached=HeadOnly(features)).adding("before_fit", _needs_train)

    def explain(self, plan):
        width = plan.cached.features.shape[-1]
        return f"the head is trained on {width:,} features of each example, which are computed once; {said(plan)}"
