"""Binary cross-entropy on every class of a softmax head, which still chooses one class when it predicts.

Paper: Wightman et al., 2021, https://arxiv.org/abs/2110.00476
Use when: labels name one of several things in an image, or mixup and cutmix put two there.
Start with: mixup or cutmix beside it, classifier_bias_prior(prior=1/C) with many classes C.
Formula: L = sum over classes of -t_c log s(z_c) - (1 - t_c) log(1 - s(z_c)), s(z) = 1 / (1 + exp(-z))
Composes with: label_smoothing (spread over the classes, as for the softmax), mixup, cutmix, classifier_bias_prior.
Conflicts with: every other loss; sigmoid_head, whose loss this already is.
Departures: the sum is not divided by the number of classes, so that gradients are as large as the softmax's; the
    paper's code averages, and its optimizer, LAMB, does not see the difference.
"""

import math
from dataclasses import dataclass

from zoo.arguments import fits
from zoo.errors import invalid
from zoo.losses import SigmoidCrossEntropy
from zoo.registry import trick


@trick("sigmoid_ce", stage="loss")
@dataclass(frozen=True)
class SigmoidCE:
    """See the card above.

    `threshold`: None keeps soft targets as they are (Beyer et al., 2020); a number in [0, 1) makes every class whose
    target is above it a full yes, as Wightman et al. do with the two classes of a mixed image.
    """

    threshold: float | None = None

    def __post_init__(self):
        if self.threshold is not None and not (fits(float, self.threshold) and 0 <= self.threshold < 1):
            raise invalid("sigmoid_ce: `threshold` must be in [0, 1), or None", self.threshold, "Such as 0.2.")

    def apply(self, plan):
        if "sigmoid_head" in plan.tricks:
            raise invalid("sigmoid_ce is the loss that sigmoid_head brings already", works="Drop sigmoid_ce.")
        plan.head_for("sigmoid_ce", ("softmax",))
        return plan.but(loss=self.loss)

    def loss(self, head, label_smoothing):
        """Returns the loss of one head; that of a sigmoid head is what it would have been without this trick."""
        if head.kind == "sigmoid":
            return SigmoidCrossEntropy(label_smoothing)
        return SigmoidCrossEntropy(label_smoothing, spread="classes", threshold=self.threshold)

    def explain(self, plan):
        heads = plan.head_for("sigmoid_ce", ("softmax",))
        each = ", ".join(f"{h.name!r} ({h.units * math.log(2):.3g} where every logit is 0)" for h in heads)
        return f"adds up a yes/no cross-entropy for each class of {each}; predictions stay those of a softmax"
