"""The last layer's first bias says how rare each class is.

Paper: Lin et al., 2017, https://arxiv.org/abs/1708.02002, section 4.1
Use when: a head asks a yes/no question for each of many classes, almost all answered by no; or classes are unbalanced.
Start with: prior=0.01 (the paper's), or 1 / C for C classes of which one is right.
Formula: b = -log((1 - prior) / prior), so that every sigmoid starts at the prior; for a softmax b_c = log prior_c
Composes with: sigmoid_head, sigmoid_ce and focal, which it keeps from diverging in the first steps; everything else.
Conflicts with: nothing.
Departures: the paper sets one prior for all classes of a sigmoid head. A softmax does not change when all its biases
    move alike, so it needs a list with the share of each class, and then starts at those shares.
"""

import math
import warnings
from dataclasses import dataclass

import keras

from zoo.arguments import fits
from zoo.errors import RecipeWarning, invalid
from zoo.registry import trick

_CONSTANTS_PASS = (  # what hands on a constant that was added to its input
    keras.layers.Add,
    keras.layers.GlobalAveragePooling1D,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.Identity,
    keras.layers.Reshape,
    keras.layers.Flatten,
)


@trick("classifier_bias_prior", stage="builder")
@dataclass(frozen=True)
class ClassifierBiasPrior:
    """See the card above.

    It acts where zoo builds the model (`zoo.build(name, recipe=...)`, `zoo.train(name, ...)`); weights that are loaded
    keep the bias they have.

    `prior`: probability of a yes before anything is learned, in (0, 1); or a list with one for each class.
    """

    prior: float | tuple = 0.01

    def __post_init__(self):
        for share in self.prior if isinstance(self.prior, tuple) else [self.prior]:
            if not (fits(float, share) and 0 < share < 1):
                works = "Such as 0.01, or the share of each class."
                raise invalid("classifier_bias_prior: `prior` must be between 0 and 1", self.prior, works)
        if self.prior == ():
            raise invalid("classifier_bias_prior: `prior` needs one share for each class", self.prior)

    def builder_arguments(self, name, arguments):
        """Returns the builder arguments that this trick sets: none."""
        return {}

    def initialise(self, model, plan):
        """Sets the biases of a model that was built just now."""
        for head in self.heads(plan):
            bias_of(model, head).assign(self.bias(head))

    def apply(self, plan):
        for head in self.heads(plan):
            bias_of(plan.model, head)
        return plan.adding("before_fit", self.check)

    def heads(self, plan):
        """Returns the heads whose bias is set, with their final kind.

        Raises:
            InvalidArgument: there are none, or the list of priors has another length.
        """
        turned = next((kind for kind in ("sigmoid", "softmax") if f"{kind}_head" in plan.tricks), plan.head_kind)
        heads = plan.but(head_kind=turned).settled().heads  # as that trick, which acts after this one, leaves them
        alone = "sigmoid_ce" not in plan.tricks and not isinstance(self.prior, tuple)
        wanted = ("sigmoid",) if alone else ("softmax", "sigmoid")
        found = [h for h in heads if h.kind in wanted and (not isinstance(self.prior, tuple) or h.units == self.count)]
        if not found:
            has = [f"{h.name}: {h.kind} of {h.units}" for h in heads]
            size = f" of {self.count}" if isinstance(self.prior, tuple) else ""
            works = "A softmax takes a list with the share of each class: prior=[0.9, 0.1]."
            wrong = f"classifier_bias_prior finds no {' or '.join(wanted)} head{size} in model {plan.name!r}"
            raise invalid(wrong, has, works)
        return found

    @property
    def count(self):
        """How many priors are given: 1, or one for each class."""
        return len(self.prior) if isinstance(self.prior, tuple) else 1

    def bias(self, head):
        """Returns the first bias of a head, a list of `head.units` numbers."""
        shares = self.prior if isinstance(self.prior, tuple) else [self.prior] * head.units
        if head.kind == "softmax" and isinstance(self.prior, tuple):
            return [math.log(p / sum(shares)) for p in shares]
        return [-math.log((1 - p) / p) for p in shares]

    def check(self, model):
        """Warns when training starts without the prior, because zoo did not build the model with it."""
        plan = model.plan
        untouched = [h.name for h in self.heads(plan) if not keras.ops.convert_to_numpy(bias_of(model, h)).any()]
        if untouched and any(self.bias(h) != [0.0] * h.units for h in self.heads(plan)):
            warnings.warn(
                f"classifier_bias_prior: the bias of {', '.join(map(repr, untouched))} is zero. The trick acts where "
                f"zoo builds the model: zoo.build({model.zoo_spec.name!r}, recipe=...)",
                RecipeWarning,
                stacklevel=2,
            )

    def explain(self, plan):
        lines = []
        for head in self.heads(plan):
            bias, shares = self.bias(head), self.prior if isinstance(self.prior, tuple) else (self.prior,)
            lines.append(f"the bias of {head.name!r} begins at {span(bias)}, its probabilities at {span(shares)}")
        return "; ".join(lines)


def span(numbers):
    """Returns numbers in words: "0.1", or "0.1 to 0.9"."""
    ends = sorted({f"{min(numbers):.3g}", f"{max(numbers):.3g}"}, key=float)
    return " to ".join(ends)


def bias_of(model, head):
    """Returns the variable that is added to a head's logits, shape (units,).

    Raises:
        InvalidArgument: the head has no bias.
    """
    output = dict(zip(model.output_names, model.outputs, strict=True))[head.name]
    stack = [output._keras_history]
    while stack:
        history = stack.pop()
        bias = getattr(history.operation, "bias", None)
        if bias is not None and tuple(bias.shape) == (head.units,):
            return bias
        if isinstance(history.operation, _CONSTANTS_PASS):
            node = history.operation._inbound_nodes[history.node_index]
            stack += [tensor._keras_history for tensor in node.input_tensors]
    works = "Drop classifier_bias_prior."
    raise invalid(f"classifier_bias_prior finds no bias on head {head.name!r} of model {model.name!r}", works=works)
