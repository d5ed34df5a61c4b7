"""Focal loss: examples that are already right weigh less.

Paper: Lin et al., 2017, https://arxiv.org/abs/1708.02002, equations 4 and 5
Use when: easy or frequent examples dominate the loss.
Start with: gamma=2; alpha=0.25 for a rare positive class (the paper's pair), no alpha where classes are balanced.
Formula: L = -alpha (1 - p)^gamma log p for a yes, -(1 - alpha) p^gamma log(1 - p) for a no, summed over the questions
    of a sigmoid head; for a softmax head L = -alpha_c (1 - p_c)^gamma log p_c of the true class c
Composes with: label_smoothing (it then works on the smoothed targets); classifier_bias_prior, which a sigmoid head of
    many classes needs; every schedule, optimizer and objective.
Conflicts with: every other loss.
Departures: for softmax heads the formula is applied to the true class, as is usual; alpha then scales every class
    alike, or is one weight per class. The sum over questions is divided by the examples; the paper divides it by the
    positives, of which an example with one class has one.
"""

from dataclasses import dataclass

import keras
from keras import ops

from zoo.arguments import fits
from zoo.errors import invalid
from zoo.losses import one_hot_targets, smoothed
from zoo.registry import trick

MANY = 10  # questions of which one is answered by yes; from here on the others outweigh it in the first steps


def focal_loss(targets, logits, gamma=2.0, alpha=None, independent=False):
    """Returns the focal loss of each example, shape (B,): the sum over classes of -alpha t (1 - p)^gamma log p.

    >>> # one example, two classes, p = 0.9 for the right one: 0.1**2 * -log(0.9) = 0.00105

    Args:
        targets: (B, C) one-hot, soft or several-hot; (B, 1) labels 0 or 1 when there is one logit.
        logits: (B, C), or (B, 1) for a sigmoid, whose two classes are yes and no.
        gamma: focusing; 0 is cross-entropy.
        alpha: None; for sigmoids the weight of yes (no gets 1 - alpha), a number or one for each of C questions; for a
            softmax one weight for all classes, or a sequence of C weights.
        independent: whether each column is a yes/no question of its own, with a sigmoid; one column always is.
    """
    if alpha is not None:
        alpha = ops.convert_to_tensor(alpha, logits.dtype)
    if independent or logits.shape[-1] == 1:
        log_yes, log_no = ops.log_sigmoid(logits), ops.log_sigmoid(-logits)
        yes = -targets * ops.exp(gamma * log_no) * log_yes
        no = -(1.0 - targets) * ops.exp(gamma * log_yes) * log_no
        return ops.sum(yes + no if alpha is None else alpha * yes + (1.0 - alpha) * no, axis=-1)
    log_p = ops.log_softmax(logits, axis=-1)
    # Kept off zero, where a power below 1 has no finite slope. The difference is far below float32's precision.
    wrong = ops.maximum(-ops.expm1(log_p), 1e-7)
    losses = -targets * wrong**gamma * log_p
    return ops.sum(losses if alpha is None else losses * alpha, axis=-1)


@keras.saving.register_keras_serializable("zoo")
class FocalLoss(keras.losses.Loss):
    """Focal loss on logits; binary, categorical and sparse targets alike. See `focal_loss` for the arguments."""

    def __init__(
        self,
        gamma=2.0,
        alpha=None,
        label_smoothing=0.0,
        independent=False,
        name="focal",
        reduction="sum_over_batch_size",
    ):
        super().__init__(name=name, reduction=reduction)
        self.gamma = gamma
        self.alpha = alpha
        self.label_smoothing = label_smoothing
        self.independent = independent

    def call(self, y_true, y_pred):
        logits = ops.convert_to_tensor(y_pred)
        independent = self.independent or logits.shape[-1] == 1
        targets = smoothed(one_hot_targets(y_true, logits), self.label_smoothing, independent)
        return focal_loss(targets, logits, self.gamma, self.alpha, independent)

    def get_config(self):
        rows = {"gamma": self.gamma, "alpha": self.alpha, "label_smoothing": self.label_smoothing}
        return super().get_config() | rows | {"independent": self.independent}


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
            weights = self.alpha if isinstance(self.alpha, tuple) else [self.alpha or 0.0]
            if head.kind == "sigmoid" and max(weights) >= 1:
                works = "It weighs yes, and 1 - alpha weighs no: 0.25 is the paper's."
                raise invalid("focal: `alpha` of a sigmoid head must be below 1", self.alpha, works)
            if head.kind == "sigmoid" and head.units >= MANY and "classifier_bias_prior" not in plan.tricks:
                plan = plan.adding("cautions", self.unprepared(head))
        return plan.but(loss=self.loss)

    def loss(self, head, label_smoothing):
        """Returns the loss of one head."""
        return FocalLoss(self.gamma, self.alpha_of(head), label_smoothing, head.kind == "sigmoid")

    def alpha_of(self, head):
        """Returns alpha as one head takes it."""
        if isinstance(self.alpha, tuple):
            return self.alpha[0] if head.units == 1 else list(self.alpha)
        return self.alpha

    def unprepared(self, head):
        """Returns the caution about a head of many questions that starts by answering maybe to each."""
        return (
            f"focal on the {head.units} sigmoids of {head.name!r} without classifier_bias_prior: in the first steps "
            f"the {head.units - 1} wrong classes of each example outweigh the right one, which can make training "
            f"diverge (Lin et al., 2017, 3.3 and 4.1)"
        )

    def explain(self, plan):
        heads = plan.head_for("focal", ("softmax", "sigmoid"))
        names = ", ".join(f"{h.name!r} ({h.units} {'class' if h.units == 1 else 'classes'})" for h in heads)
        shares = ", ".join(f"{(1 - p) ** self.gamma:.1%} at {p:g}" for p in (0.5, 0.9, 0.99))
        weighted = "" if self.alpha is None else f"; alpha {self.alpha} weighs the classes"
        return (
            f"replaces the cross-entropy of {names}: an example keeps this share of its loss by the probability of "
            f"its right class: {shares}{weighted}"
        )
