"""Weight clipping: no weight grows beyond a limit.

Paper: Arjovsky et al., 2017, https://arxiv.org/abs/1701.07875, algorithm 1
Use when: a Wasserstein GAN's critic needs a bounded slope and a gradient penalty is too dear; or weights of another
    model must stay within a range, as for fixed-point hardware.
Start with: limit=0.01, the paper's, on a critic; 1 or more elsewhere.
Formula: w <- min(max(w, -limit), limit) after each step
Composes with: every optimizer, loss and schedule; averages are taken of clipped weights.
Conflicts with: gradient_penalty on a critic, which bounds its slope too.
Departures: on a model without a critic every trainable weight is clipped, biases and normalisation included.
"""

from dataclasses import dataclass

from keras import ops

from zoo.adversarial import Alternating
from zoo.errors import invalid
from zoo.registry import trick
from zoo.spec import spec_of


def clipping(optimizer, limit):
    """Makes an optimizer clip every weight that it updates, after each update and before averages; returns it.

    Args:
        optimizer: a `keras.optimizers.Optimizer`, changed in place.
        limit: bound on the size of each weight.
    """
    update = optimizer._backend_update_step

    def update_step(grads, trainable_variables, learning_rate):
        update(grads, trainable_variables, learning_rate)
        for variable in trainable_variables:
            variable.assign(ops.clip(variable, -limit, limit))

    optimizer.__dict__["_backend_update_step"] = update_step  # past Keras's own attribute tracking
    return optimizer


@trick("clip_weights", stage="objective")
@dataclass(frozen=True)
class ClipWeights:
    """See the card above. `limit`: bound on the size of each weight."""

    limit: float = 0.01

    def __post_init__(self):
        if self.limit <= 0:
            raise invalid("clip_weights: `limit` must be positive", self.limit)

    def apply(self, plan):
        if _critic(plan) and spec_of(plan.model).arguments.get("penalty"):
            works = "Drop the term, or build the model with penalty=0.0 and clip=0.01."
            raise invalid("clip_weights: the critic's slope is bounded by a gradient penalty already", works=works)

        def wrapped(optimizer, model):
            if isinstance(optimizer, Alternating):
                optimizer.clip = self.limit
                return optimizer
            return clipping(optimizer, self.limit)

        return plan.adding("optimizer_wrappers", wrapped)

    def explain(self, plan):
        whose = "of the critic" if _critic(plan) else "that is trained"
        return f"after each step every weight {whose} is put back within {-self.limit:g} and {self.limit:g}"


def _critic(plan):
    return any(head.kind == "critic" for head in plan.heads)
