"""Fast gradient method on embeddings: adversarial training for text.

Paper: Miyato et al., 2016, https://arxiv.org/abs/1605.07725, section 3
Use when: a text classifier overfits.
Start with: epsilon=1 for embeddings of Keras's default scale; the paper's 5 is for embeddings of unit variance.
Formula: L(e) + weight L(e + epsilon g / ||g||), g = dL/de, e the embedded words of one example
Composes with: every loss and schedule, and with fgsm on other inputs; the adversarial losses add up.
Conflicts with: nothing.
Departures: embeddings are not normalised to unit variance first.
Cost: about twice the time of a plain step.
"""

from dataclasses import dataclass

from keras import ops

from zoo.errors import invalid
from zoo.objectives import embeddings
from zoo.registry import trick


def l2_step(gradient, epsilon):
    """Returns epsilon * g / ||g||, the norm taken over everything but the first axis.

    Args:
        gradient: (B, ...).
        epsilon: length of the step.

    Returns:
        Tensor of the gradient's shape, float32; zero where the gradient is zero or has overflowed.
    """
    gradient = ops.cast(gradient, "float32")
    axes = tuple(range(1, len(gradient.shape)))
    largest = ops.max(ops.abs(gradient), axis=axes, keepdims=True)
    usable = ops.logical_and(largest > 0, ops.isfinite(largest))
    # Divided by the largest first, because the squares of small gradients would vanish.
    scaled = ops.where(usable, gradient / ops.where(usable, largest, 1.0), 0.0)
    norm = ops.sqrt(ops.sum(ops.square(scaled), axis=axes, keepdims=True))
    return epsilon * scaled / ops.where(usable, norm, 1.0)


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

        def objective(step, loss):
            values = step.outputs(found)  # (B, T, E) each
            gradients, loss = step.gradients(loss, values, lambda v: step.loss_with_outputs(found, v))
            steps = [ops.cast(l2_step(g, self.epsilon), v.dtype) for v, g in zip(values, gradients, strict=True)]
            moved = [v + s for v, s in zip(values, steps, strict=True)]
            return loss + self.weight * step.loss_with_outputs(found, moved)

        return plan.adding("objective", objective).adding("watched", *found)

    def explain(self, plan):
        found = embeddings(plan, "fgm", self.layer)
        names = ", ".join(f"{e.name!r} {tuple(e.output.shape[1:])}" for e in found)
        return (
            f"adds the loss on embeddings {names} moved by {self.epsilon:g} (L2 over the whole example) in the "
            f"direction that hurts most, times {self.weight:g}; about twice the time of a plain step"
        )
