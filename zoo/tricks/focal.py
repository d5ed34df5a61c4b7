"""Focal loss: examples that are already right weigh less.

Paper: Lin et al., 2017, https://arxiv.org/abs/1708.02002, equations 4 and 5
Use when: easy or frequent examples dominate the loss.
Start with: gamma=2; alpha=0.25 for a rare positive class (the paper's pair), no alpha where classes are balanced.
Composes with: label_smoothing (it then works on the smoothed targets), every schedule, optimizer and objective.
Conflicts with: every other loss.
Departures: for softmax heads the formula is applied to the true class, as is usual; alpha then scales every class
alike, or is one weight per class.
"""

from dataclasses import dataclass

import keras
from keras import ops

from zoo.arguments import fits
from zoo.errors import invalid
from zoo.losses import one_hot_targets, smoothed
from zoo.registry import trick


def focal_loss(targets, logits, gamma=2.0, alpha=None):
    """Returns the focal loss of each example, shape (B,): the sum over classes of -alpha t (1 - p)^gamma log p.

    >>> # one example, two classes, p = 0.9 for the right one: 0.1**2 * -log(0.9) = 0.00105

    Args:
        targets: (B, C) one-hot or soft; (B, 1) labels 0 or 1 when there is one logit.
        logits: (B, C), or (B, 1) for a sigmoid, whose two classes are yes and no.
        gamma: focusing; 0 is cross-entropy.
        alpha: None; for a sigmoid the weight of the positive class (the negative one gets 1 - alpha); for a softmax
            one weight for all classes, or a sequence of C weights.
    """
    if logits.shape[-1] == 1:
        log_yes, log_no = ops.log_sigmoid(logits), ops.log_sigmoid(-logits)
        yes = -targets * ops.exp(gamma * log_no) * log_yes
        no = -(1.0 - targets) * ops.exp(gamma * log_yes) * log_no
        return ops.sum(yes + no if alpha is None else alpha * yes + (1.0 - alpha) * no, axis=-1)
    log_p = ops.log_softmax(logits, axis=-1)
    # Kept off zero, where a power below 1 has no finite slope. The difference is far below float32's precision.
    wrong = ops.maximum(-ops.expm1(log_p), 1e-7)
    losses = -targets * wrong**gamma * log_p
    if alpha is not None:
        losses = losses * ops.convert_to_tensor(alpha, losses.dtype)
    return ops.sum(losses, axis=-1)


@keras.saving.register_keras_serializable("zoo")
class FocalLoss(keras.losses.Loss):
    """Focal loss on logits; binary, categorical and sparse targets alike. See `focal_loss` for the arguments."""

    def __init__(self, gamma=2.0, alpha=None, label_smoothing=0.0, name="focal", reduction="sum_over_batch_size"):
        super().__init__(name=name, reduction=reduction)
        self.gamma = gamma
        self.alpha = alpha
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        logits = ops.convert_to_tensor(y_pred)
        targets = smoothed(one_hot_targets(y_true, logits), self.label_smoothing)
        return focal_loss(targets, logits, self.gamma, self.alpha)

    def get_config(self):
        rows = {"gamma": self.gamma, "alpha": self.alpha, "label_smoothing": self.label_smoothing}
        return super().get_config() | rows


@trick("focal", stage="loss")
@dataclass(frozen=True)
class Focal:
    """See the card above.

    `gamma`: focusing, 0 or more. `alpha`: None, the weight of the positive class of a sigmoid head, one weight for
    all classes of a softmax head, or a list with one weight per class.
    """

    gamma: float = 2.0
    alpha: float | tuple | None = None

    def __post_init__(self):
        if self.gamma < 0:
            raise invalid("focal: `gamma` must be 0 or more", self.gamma)
        for weight in self.alpha if isinstance(self.alpha, tuple) else [self.alpha]:
            if weight is not None and not (fits(float, weight) and weight > 0):
                raise invalid("focal: `alpha` must be a positive number, or a list of them", self.alpha)

    def apply(self, plan):
        for head in plan.head_for("focal", ("softmax", "sigmoid")):
            if isinstance(self.alpha, tuple) and len(self.alpha) != head.units:
                raise invalid(f"focal: `alpha` needs {head.units} weights for head {head.name!r}", self.alpha)
            if head.kind == "sigmoid" and self.alpha is not None and not (self.alpha_of(head) < 1):
                raise invalid("focal: `alpha` of a sigmoid head must be below 1", self.alpha)
        return plan.but(loss=lambda head, smoothing: FocalLoss(self.gamma, self.alpha_of(head), smoothing))

    def alpha_of(self, head):
        """Returns alpha as one head takes it."""
        if isinstance(self.alpha, tuple):
            return self.alpha[0] if head.kind == "sigmoid" else list(self.alpha)
        return self.alpha

    def explain(self, plan):
        heads = plan.head_for("focal", ("softmax", "sigmoid"))
        names = ", ".join(f"{h.name!r} ({h.units} {'class' if h.units == 1 else 'classes'})" for h in heads)
        shares = ", ".join(f"{(1 - p) ** self.gamma:.1%} at {p:g}" for p in (0.5, 0.9, 0.99))
        weighted = "" if self.alpha is None else f"; alpha {self.alpha} weighs the classes"
        return (
            f"replaces the cross-entropy of {names}: an example keeps this share of its loss by the probability of "
            f"its right class: {shares}{weighted}"
        )
