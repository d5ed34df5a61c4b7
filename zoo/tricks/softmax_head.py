"""One category: the classes of a head exclude each other.

Paper: Bridle, 1990, https://doi.org/10.1007/978-3-642-76153-9_28
Use when: each example belongs to exactly one class, and the model's head asks yes/no questions.
Start with: as it is; a softmax is what the zoo's classifiers of three or more classes have already.
Formula: p_c = exp(z_c) / sum over k of exp(z_k); L = -log p_c of the true class c
Composes with: focal, label_smoothing, sigmoid_ce, every data, objective, optimizer and schedule trick.
Conflicts with: sigmoid_head; `num_classes=1` given to the builder.
"""

from dataclasses import dataclass

from zoo.builder_switches import several_classes
from zoo.registry import trick


@trick("softmax_head", stage="builder")
@dataclass(frozen=True)
class SoftmaxHead:
    """See the card above. A model that is built with one unit, for yes or no, is built with two."""

    def builder_arguments(self, name, arguments):
        """Returns the builder arguments that this trick sets: two units instead of one."""
        return {"num_classes": 2} if arguments.get("num_classes") == 1 else {}

    def apply(self, plan):
        several_classes(self.name, plan)
        return plan.but(head_kind="softmax")

    def explain(self, plan):
        heads = several_classes(self.name, plan)
        return "; ".join(f"{h.name!r} chooses one of {h.units} classes, whose probabilities add up to 1" for h in heads)
