"""Class balance: rare classes weigh more in the loss, or are drawn more often.

Paper: Cui et al., 2019, https://arxiv.org/abs/1901.05555, equations 3 and 4 (beta); Buda et al., 2017,
    https://arxiv.org/abs/1710.05381 (weights against resampling)
Use when: some classes are rare in training and count as much as the others in use. It buys recall of rare classes with
    precision; where frequent classes should stay preferred, leave it out.
Start with: by="weights"; beta=0.999 to 0.9999 where the rarest class is very rare; by="resampling" where a batch would
    seldom hold a rare class.
Formula: w_c = n / (K n_c), or with beta (1 - beta) / (1 - beta^n_c) times the constant that makes the mean weight 1
Composes with: every loss, augmentation and schedule; mixup and cutmix, which blend the two examples' weights too.
Conflicts with: `class_weight=` of fit; data of which classes cannot be counted before training (a tf.data.Dataset).
Departures: weights have mean 1 over the examples, so that the learning rate keeps its meaning; the paper's have mean 1
    over the classes.
"""

from dataclasses import dataclass

from zoo.balancing import RESAMPLING, WEIGHTS, Balance
from zoo.errors import invalid, unknown
from zoo.registry import trick

KINDS = ("softmax", "sigmoid")


@trick("class_balance", stage="data")
@dataclass(frozen=True)
class ClassBalance:
    """See the card above.

    `by`: "weights" or "resampling". `beta`: None for inverse frequency, or in (0, 1) for the effective number of
    examples. `head`: the name of the output whose classes are balanced, where a model has several.
    """

    by: str = WEIGHTS
    beta: float | None = None
    head: str | None = None

    def __post_init__(self):
        if self.by not in (WEIGHTS, RESAMPLING):
            raise invalid(f"class_balance: `by` must be {WEIGHTS!r} or {RESAMPLING!r}", self.by)
        if self.beta is not None and not 0 < self.beta < 1:
            raise invalid("class_balance: `beta` must be between 0 and 1", self.beta, "Near 1 is inverse frequency.")

    def apply(self, plan):
        head = self._head(plan)
        name = head.name if len(plan.heads) > 1 else None
        return plan.but(balance=Balance(name, max(head.units, 2), self.by, self.beta))

    def _head(self, plan):
        heads = {h.name: h for h in plan.head_for("class_balance", KINDS)}
        if self.head is not None and self.head not in heads:
            raise unknown("head with classes", self.head, heads)
        if self.head is None and len(heads) > 1:
            works = f"Say which: class_balance(head={next(iter(heads))!r})."
            raise invalid(f"class_balance finds no single head with classes in model {plan.name!r}", [*heads], works)
        head = heads[self.head or next(iter(heads))]
        if len(plan.model.outputs[plan.heads.index(head)].shape) > 2:
            raise invalid(f"class_balance finds no one class per example in model {plan.name!r}", works="Drop it.")
        return head

    def explain(self, plan):
        head = self._head(plan)
        classes = max(head.units, 2)
        if self.by == RESAMPLING:
            what = "each epoch draws as many examples as there are, "
            how = "as many of each class" if self.beta is None else "more of rare classes"
            return f"{what}{how} of the {classes} of head {head.name!r}"
        if self.beta is None:
            return (
                f"an example of class c weighs n / ({classes} n_c) in the loss of head {head.name!r}: one of a class "
                f"half as frequent weighs double"
            )
        small, large = (1 - self.beta**count for count in (10, 1000))
        return (
            f"an example weighs the inverse of 1 - {self.beta:g}^n_c in the loss of head {head.name!r} ({classes} "
            f"classes): one of a class of 10 weighs {large / small:.3g} times one of a class of 1,000"
        )
