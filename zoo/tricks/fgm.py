"""Fast gradient method on embeddings: adversarial training for text.

Paper: Miyato et al., 2016, https://arxiv.org/abs/1605.07725, section 3
Use when: a text classifier overfits.
Start with: epsilon=1 for embeddings of Keras's default scale; the paper's 5 is for embeddings of unit variance.
Composes with: every loss and schedule, and with fgsm on other inputs; the adversarial losses add up.
Conflicts with: nothing.
Departures: embeddings are not normalised to unit variance first.
Cost: about twice the time of a plain step.
"""

from dataclasses import dataclass

from keras import ops

from zoo.errors import invalid
from zoo.objectives import embeddings, loss_with_outputs, output_gradient
from zoo.registry import trick


def l2_step(gradient, epsilon):
    """Returns epsilon * g / ||g||, the norm taken over everything but the first axis; zero where g is zero.

    Args:
        gradient: (B, ...).
        epsilon: length of the step.
    """
    axes = tuple(range(1, len(gradient.shape)))
    largest = ops.max(ops.abs(gradient), axis=axes, keepdims=True)
    scaled = gradient / ops.where(largest > 0, largest, 1.0)  # squares of small gradients would vanish in float32
    norm = ops.sqrt(ops.sum(ops.square(scaled), axis=axes, keepdims=True))
    return epsilon * scaled / ops.where(norm > 0, norm, 1.0)


@trick("fgm", stage="objective")
@dataclass(frozen=True)
class Fgm:
    """See the card above.

    `epsilon`: L2 length of the perturbation of each example's whole embedded input. `layer`: name of the embedding
    layer; None takes every embedding of the model. `weight`: of the adversarial loss beside the plain one.
    """

    epsilon: float = 1.0
    layer: str | None = None
    weight: float = 1.0

    def __post_init__(self):
        if self.epsilon <= 0:
            raise invalid("fgm: `epsilon` must be positive", self.epsilon)
        if self.weight <= 0:
            raise invalid("fgm: `weight` must be positive", self.weight)

    def apply(self, plan):
        found = embeddings(plan, "fgm", self.layer)

        def objective(model, loss, x, y, sample_weight):
            values, gradients = output_gradient(model, found, x, y, sample_weight)
            moved = [v + l2_step(g, self.epsilon) for v, g in zip(values, gradients, strict=True)]
            return loss + self.weight * loss_with_outputs(model, found, moved, x, y, sample_weight)

        return plan.adding("objective", objective)

    def explain(self, plan):
        found = embeddings(plan, "fgm", self.layer)
        names = ", ".join(f"{e.name!r} {tuple(e.output.shape[1:])}" for e in found)
        return (
            f"adds the loss on embeddings {names} moved by {self.epsilon:g} (L2 over the whole example) in the "
            f"direction that hurts most, times {self.weight:g}; about twice the time of a plain step"
        )
