"""Gradient penalty: the loss must not be steep in the input.

Paper: Drucker and LeCun, 1992, https://doi.org/10.1109/72.165600 (double backpropagation)
Paper: Ross and Doshi-Velez, 2018, https://arxiv.org/abs/1711.09404, equation 4 (as a defence, and readable gradients)
Paper: Gulrajani et al., 2017, https://arxiv.org/abs/1704.00028, equation 3 (for the critic of a Wasserstein GAN)
Use when: small changes of the input move the output too far, and an attack in training is too dear; or a GAN's critic
    is to be bounded otherwise than by clipping.
Start with: weight=1 on inputs in [0, 1], then powers of ten by validation; 10 on a critic, as the paper.
Formula: L' = L + weight * mean over examples of ||dL_i/dx_i||^2
    on a critic f: L' = L + weight * mean of (||df/dx|| - 1)^2, x between real and made images
Composes with: every loss, schedule, attack and flooding; the penalty is that of the clean inputs.
Conflicts with: clip_weights on a critic, which bounds its slope too.
Departures: where no input is of floating type, x is the embedded input. Batch norm mixes examples, whose slopes then
    count together.
Cost: about three plain steps: the penalty's own gradient goes back through a second pass twice.
"""

from dataclasses import dataclass

from keras import ops

from zoo.adversarial import CRITIC, GENERATOR, GradientPenalty
from zoo.attacks import LEARNING, gradient_scale
from zoo.errors import Conflict, invalid
from zoo.objectives import differentiable_gradients, embeddings, floating
from zoo.registry import trick
from zoo.spec import spec_of


def squared_slopes(gradients, scale=1.0):
    """Returns the mean over examples of ||dL_i/dx_i||^2 from the gradients of a mean loss.

    Args:
        gradients: list of tensors (B, ...), the gradients of the mean over B examples by their inputs.
        scale: factor that the gradients carry.
    """
    gradients = [ops.cast(g, "float32") / scale for g in gradients]
    # B^2 for the squares of gradients that the mean made B times smaller, over B for the mean of the penalty.
    return ops.cast(ops.shape(gradients[0])[0], "float32") * sum(ops.sum(ops.square(g)) for g in gradients)


@trick("gradient_penalty", stage="objective")
@dataclass(frozen=True)
class LossGradientPenalty:
    """See the card above. `weight`: of the penalty beside the loss."""

    weight: float = 1.0

    def __post_init__(self):
        if self.weight <= 0:
            raise invalid("gradient_penalty: `weight` must be positive", self.weight)

    def apply(self, plan):
        if _critic(plan):
            return self._of_the_critic(plan)
        plan.head_for("gradient_penalty", LEARNING)
        watched = _embedded(plan)

        def objective(step, loss):
            scale = gradient_scale(step.model)
            if watched:
                values, at = step.outputs(watched), lambda v: step.loss_with_outputs(watched, v)
            else:
                _, values, at = step.float_inputs()
                values = [ops.stop_gradient(v) for v in values]
            if not values:
                raise invalid("gradient_penalty needs inputs of a floating type", works="Pass x.astype('float32').")
            slopes = differentiable_gradients(lambda v: scale * at(v), values)
            return loss + self.weight * ops.cast(squared_slopes(slopes, scale), loss.dtype)

        return plan.adding("objective", objective).adding("watched", *watched)

    def _of_the_critic(self, plan):
        arguments = spec_of(plan.model).arguments
        if arguments.get("penalty"):
            works = f"Drop the term, or build the model with penalty={self.weight!r}."
            raise invalid("gradient_penalty: the model has a gradient penalty already", arguments["penalty"], works)
        if arguments.get("critic_norm") == "batch":
            works = "Build it with critic_norm=None."
            raise invalid(
                "gradient_penalty is for each image by itself, which batch norm in the critic is not", works=works
            )
        nested = {layer.name: layer for layer in plan.model.layers if layer.name in (CRITIC, GENERATOR)}
        penalty = GradientPenalty(nested[GENERATOR], nested[CRITIC], self.weight)
        if "clip_weights" in plan.tricks:
            raise Conflict(
                "clip_weights and gradient_penalty both set the bound on the critic's slope. Keep one of them: write "
                "`-gradient_penalty` or `-clip_weights`, or leave one out."
            )
        changed = plan.adding("objective", penalty).adding("watched", nested[GENERATOR])
        return changed.adding("optimizer_wrappers", _unclipped)

    def explain(self, plan):
        if _critic(plan):
            return (
                f"adds {self.weight:g} times the squared difference from 1 of the critic's slope between real and made "
                f"images, in place of clipping its weights"
            )
        names = [f"embeddings {layer.name!r}" for layer in _embedded(plan)] or [
            f"input {i.name!r} {tuple(i.shape[1:])}" for i in plan.model.inputs if floating(i)
        ]
        return (
            f"adds {self.weight:g} times the mean squared length of the loss's gradient by {', '.join(names)}; about "
            f"three times the time of a plain step"
        )


def _critic(plan):
    return any(head.kind == "critic" for head in plan.heads)


def _embedded(plan):
    """Returns the embeddings whose outputs stand for the inputs of a model that takes whole numbers alone."""
    if any(floating(i) for i in plan.model.inputs):
        return ()
    return embeddings(plan, "gradient_penalty")


def _unclipped(optimizer, model):
    optimizer.clip = None
    return optimizer
