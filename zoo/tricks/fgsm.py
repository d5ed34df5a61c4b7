"""Fast gradient sign method on inputs: adversarial training for images.

Paper: Goodfellow et al., 2014, https://arxiv.org/abs/1412.6572, section 6
Use when: the model must withstand small worst-case changes of its input.
Start with: epsilon=0.1 for inputs in [0, 1] (the paper's 0.25 on MNIST), alpha=0.5 (the paper's).
Composes with: every loss and schedule, and with fgm on embeddings.
Conflicts with: nothing.
Cost: about twice the time of a plain step.
"""

from dataclasses import dataclass

import keras
from keras import ops

from zoo.errors import invalid
from zoo.objectives import floating
from zoo.registry import trick


@trick("fgsm", stage="objective")
@dataclass(frozen=True)
class Fgsm:
    """See the card above.

    `epsilon`: largest change of any input value, in the unit of the model's input. `alpha`: share of the plain loss;
    the adversarial loss has the rest. `low`, `high`: limits that the changed input is clipped to, or None.
    """

    epsilon: float = 0.1
    alpha: float = 0.5
    low: float | None = None
    high: float | None = None

    def __post_init__(self):
        if self.epsilon <= 0:
            raise invalid("fgsm: `epsilon` must be positive", self.epsilon)
        if not 0 <= self.alpha < 1:
            raise invalid("fgsm: `alpha` must be in [0, 1)", self.alpha)
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise invalid("fgsm: `low` must be below `high`", (self.low, self.high))

    def apply(self, plan):
        self._inputs(plan)

        def objective(step, loss):
            leaves = keras.tree.flatten(step.x)
            places = [i for i, leaf in enumerate(leaves) if floating(leaf)]
            if not places:
                types = [keras.backend.standardize_dtype(leaf.dtype) for leaf in leaves]
                raise invalid("fgsm needs inputs of a floating type", types, "Pass x.astype('float32').")

            def at(values):
                changed = list(leaves)
                for i, value in zip(places, values, strict=True):
                    changed[i] = value
                return step.loss_on(keras.tree.pack_sequence_as(step.x, changed))

            start = [leaves[i] for i in places]
            gradients, loss = step.gradients(loss, start, at)
            moved = [self.moved(v, g) for v, g in zip(start, gradients, strict=True)]
            return self.alpha * loss + (1.0 - self.alpha) * at(moved)

        return plan.adding("objective", objective)

    def moved(self, value, gradient):
        """Returns the input moved by epsilon against its gradient's sign, within the limits."""
        found = value + ops.cast(self.epsilon * ops.sign(gradient), value.dtype)
        if self.low is not None:
            found = ops.maximum(found, self.low)
        if self.high is not None:
            found = ops.minimum(found, self.high)
        return found

    def _inputs(self, plan):
        found = [i for i in plan.model.inputs if floating(i)]
        if not found:
            has = [f"{i.name}: {i.dtype}" for i in plan.model.inputs]
            raise invalid(
                f"fgsm finds no input with gradients in model {plan.name!r}", has, "For token ids write fgm instead."
            )
        return found

    def explain(self, plan):
        names = ", ".join(f"{i.name!r} {tuple(i.shape[1:])}" for i in self._inputs(plan))
        return (
            f"trains on {self.alpha:.0%} plain loss and {1 - self.alpha:.0%} loss on inputs {names} moved by "
            f"{self.epsilon:g} in every value, in the direction that hurts most; about twice the time of a plain step"
        )
