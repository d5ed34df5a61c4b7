"""Weights of a model's heads in the training loss: given, or learned from how uncertain each head is.

Paper: Kendall et al., 2018, https://arxiv.org/abs/1705.07115, equations 7 and 10 (learned=True)
Use when: one head's loss drowns another's, as losses of different units do.
Start with: learned=True; or weights that make the heads' losses about equal after the first epoch.
Formula: fixed: L = sum over heads of w_h L_h
    learned: L = sum over heads of f_h exp(-s_h) L_h + s_h / 2, with s_h = log sigma_h^2 trained like a weight of the
    model, f_h = 1/2 for a number (squared error) and 1 for classes (cross-entropy)
Composes with: every loss, objective, schedule and optimizer.
Conflicts with: nothing.
Departures: s_h starts where the loss is weighed by the given weights (by default the model's own), not at 0.
Cost: one number a head.
"""

import math
from dataclasses import dataclass

import keras
from keras import ops

from zoo.arguments import fits
from zoo.errors import invalid, unknown
from zoo.registry import trick

KINDS = ("softmax", "sigmoid", "regression")


class Uncertainty(keras.layers.Layer):
    """Holds the logarithm of each head's variance.

    Args:
        factors: head name -> f_h, what its loss is multiplied by besides exp(-s_h).
        weights: head name -> the weight that its loss has at the start.
    """

    def __init__(self, factors, weights):
        super().__init__(name="uncertainty")
        self.heads = {name: (place, factor) for place, (name, factor) in enumerate(factors.items())}
        start = [-math.log(weights[name] / factor) for name, factor in factors.items()]
        self.log_variances = self.add_weight(
            shape=(len(start),),
            initializer=lambda shape, dtype=None: ops.convert_to_tensor(start, dtype),
            name="log_variances",
        )
        self.built = True

    def weighed(self, name, loss):
        """Returns f exp(-s) loss + s / 2 for the mean loss of one head, a scalar."""
        place, factor = self.heads[name]
        log_variance = ops.cast(self.log_variances[place], loss.dtype)
        return factor * ops.exp(-log_variance) * loss + 0.5 * log_variance


class UncertainLoss(keras.losses.Loss):
    """The loss of one head, weighed by its learned uncertainty."""

    def __init__(self, inner, uncertainty, head):
        super().__init__(name=inner.name)
        self._inner, self._uncertainty, self._head = inner, uncertainty, head

    def __call__(self, y_true, y_pred, sample_weight=None):
        return self._uncertainty.weighed(self._head, self._inner(y_true, y_pred, sample_weight))

    def call(self, y_true, y_pred):
        return self._inner.call(y_true, y_pred)


@trick("loss_weights", stage="loss")
@dataclass(frozen=True)
class LossWeights:
    """See the card above.

    `weights`: a weight for each head named in it, such as {"age": 0.5}; the others keep the model's own. `learned`:
    whether they are trained, from these at the start.
    """

    weights: dict | None = None
    learned: bool = False

    def __post_init__(self):
        if not self.weights and not self.learned:
            works = "Write loss_weights(weights={'age': 0.5}), or loss_weights(learned=True)."
            raise invalid("loss_weights: give `weights`, or learned=True", self.weights, works)
        for name, weight in (self.weights or {}).items():
            fine = isinstance(name, str) and fits(float, weight) and weight >= 0
            if not fine or (self.learned and not weight):
                least = "positive" if self.learned else "0 or more"
                raise invalid(f"loss_weights: `weights` must name heads with numbers that are {least}", self.weights)
        if self.weights is not None:  # one way to write them, so that equal recipes read the same
            object.__setattr__(self, "weights", {k: float(v) for k, v in sorted(self.weights.items())})

    def apply(self, plan):
        heads = self._heads(plan)
        chosen = self._chosen(heads)
        if not self.learned:
            return plan.but(loss_weights=chosen)
        factors = {head.name: 0.5 if head.kind == "regression" else 1.0 for head in heads}
        for head in heads:
            if not chosen[head.name] > 0:
                works = f"Give it a positive one: weights={{{head.name!r}: 1.0}}."
                raise invalid(f"loss_weights: head {head.name!r} has no weight to start from", chosen, works)
        uncertainty = Uncertainty(factors, chosen)

        def wrap(head, loss):
            return UncertainLoss(loss, uncertainty, head.name) if head.name in factors else loss

        plan = plan.but(loss_weights=dict.fromkeys(factors, 1.0))
        return plan.adding("loss_wrappers", wrap).adding("extras", uncertainty)

    def _heads(self, plan):
        heads = [head for head in plan.heads if head.kind in KINDS]
        if len(heads) < 2:
            has = [f"{head.name}: {head.kind}" for head in plan.heads]
            raise invalid(f"loss_weights finds no second head in model {plan.name!r}", has, "Drop loss_weights.")
        for name in self.weights or {}:
            if name not in {head.name for head in heads}:
                raise unknown(f"head of model {plan.name!r}", name, [head.name for head in heads])
        return heads

    def _chosen(self, heads):
        weights = {head.name: (self.weights or {}).get(head.name, head.weight) for head in heads}
        if not any(weights.values()):
            raise invalid("loss_weights: not every weight can be 0", weights)
        return weights

    def explain(self, plan):
        # The plan says already what this trick made of it, and the model's own weights are no more in its heads.
        from zoo.plan import start

        own = self._heads(start(plan.model, plan.task))
        shown = ", ".join(f"{name!r} {weight:g}" for name, weight in self._chosen(own).items())
        if not self.learned:
            return f"weighs the losses of the heads: {shown}"
        return f"learns the weights of the heads' losses, one log variance each, starting from {shown}"
