"""Several categories at once: each class of a softmax head becomes a yes/no question of its own.

Paper: Beyer et al., 2020, https://arxiv.org/abs/2006.07159
Use when: an example may belong to several classes, or to none; or its one label is not the only true one.
Start with: classifier_bias_prior where there are more than about ten classes.
Formula: p_c = 1 / (1 + exp(-z_c))
    L = sum over classes of -t_c log p_c - (1 - t_c) log(1 - p_c), averaged over examples
Composes with: focal, label_smoothing (of each yes and no), every data, objective, optimizer and schedule trick.
Conflicts with: softmax_head; sigmoid_ce, which is for a head that keeps its softmax.
Departures: the sum is not divided by the number of classes, as `keras.losses.BinaryCrossentropy` does: the gradient by
    a logit, p_c - t_c, is then that of a softmax head, and its learning rate suits.
"""

import math
from dataclasses import dataclass

from zoo.builder_switches import several_classes
from zoo.registry import trick


@trick("sigmoid_head", stage="builder")
@dataclass(frozen=True)
class SigmoidHead:
    """See the card above. Targets are class numbers (n,), or 0 and 1 for each class (n, C).

    `zoo.predict` then gives each class its own probability; `zoo.evaluate` the share of right answers, and of examples
    that have all of them right, or for class numbers how often the right class is the most probable.
    """

    def builder_arguments(self, name, arguments):
        """Returns the builder arguments that this trick sets: none."""
        return {}

    def apply(self, plan):
        several_classes(self.name, plan)
        return plan.but(head_kind="sigmoid")

    def explain(self, plan):
        heads = several_classes(self.name, plan)
        asked = "; ".join(f"{h.name!r} asks {h.units} yes/no questions and no longer chooses one class" for h in heads)
        units = heads[0].units
        return f"{asked}; with every answer at one half its loss is {units} log 2 = {units * math.log(2):.3g}"
