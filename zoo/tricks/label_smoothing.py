"""Label smoothing.

Paper: Szegedy et al., 2015, https://arxiv.org/abs/1512.00567, section 7
Use when: a classifier is over-confident, or some labels are wrong.
Start with: the paper's 0.1.
Formula: a target t becomes (1 - amount) t + amount / C for each of C classes; for a sigmoid, which answers yes or no,
    C = 2
Composes with: focal and sigmoid_ce, which then work on the smoothed targets; sigmoid_head.
Conflicts with: nothing here; its pull toward doubt is stronger on top of mixed labels.
"""

from dataclasses import dataclass

from zoo.errors import invalid
from zoo.registry import trick


@trick("label_smoothing", stage="targets")
@dataclass(frozen=True)
class LabelSmoothing:
    """See the card above. `amount`: share of the target that is spread over all classes, in (0, 1)."""

    amount: float = 0.1

    def __post_init__(self):
        if not 0 < self.amount < 1:
            raise invalid("label_smoothing: `amount` must be between 0 and 1", self.amount)

    def apply(self, plan):
        plan.head_for("label_smoothing", ("softmax", "sigmoid"))
        return plan.but(label_smoothing=self.amount)

    def explain(self, plan):
        lines = []
        for head in plan.head_for("label_smoothing", ("softmax", "sigmoid")):
            classes = 2 if head.kind == "sigmoid" else head.units
            off = self.amount / classes
            if classes < head.units:
                yes = f"each yes of {head.name!r} is asked for {1 - off:.3g} instead of 1"
                lines.append(f"{yes}, each no for {off:.3g} instead of 0")
                continue
            lines.append(
                f"the right class of {head.name!r} is asked for {1 - self.amount + off:.3g} instead of 1, each of the "
                f"other {classes - 1} for {off:.3g} instead of 0"
            )
        return "; ".join(lines)
