"""FreeLB: adversarial training of text with several steps on embeddings, each of which trains the weights too.

Paper: Zhu et al., 2019, https://arxiv.org/abs/1909.11764, algorithm 1
Use when: fgm helps a text classifier and there is time for more.
Start with: steps=3 (the paper: 2 to 5), epsilon=1 for embeddings of Keras's default scale.
Formula: L' = (1 / steps) sum over t < steps of L(x + d_t)
    d_(t+1) = projection to ||d|| <= epsilon of d_t + step_size g_t / ||g_t||, g_t = dL(x + d_t)/dd_t
    d_0 uniform in [-epsilon, epsilon] / sqrt(n), n numbers in an example's embedded input
Composes with: every loss and schedule, and fgm, whose loss it stands beside.
Conflicts with: fgsm, ifgsm, pgd and ant, which take the place of the plain loss too.
Departures: all passes draw the same dropout mask as each other, but not that of the plain pass. The random start covers
    padding too, where a mask hides it.
Cost: about 1.7 steps + 0.3 plain steps; the plain pass gives the metrics alone.
"""

import math
from dataclasses import dataclass

import keras
from keras import ops

from zoo.attacks import LEARNING, gradient_scale, in_place_of_plain, replacing_plain
from zoo.errors import invalid
from zoo.objectives import embeddings, value_and_gradients
from zoo.registry import trick
from zoo.tricks.fgm import l2_step


def projected(offset, epsilon):
    """Returns an offset (B, ...) shortened to the length epsilon where it is longer, each example by itself."""
    axes = tuple(range(1, len(offset.shape)))
    length = ops.sqrt(ops.sum(ops.square(offset), axis=axes, keepdims=True))
    return offset * ops.minimum(1.0, epsilon / ops.maximum(length, 1e-12))


class FreeLBObjective:
    """The objective of the trick below.

    Args:
        layers: the embeddings.
        steps, epsilon, step_size: as for the trick.

    Attributes:
        seeds: where random starts are drawn from; the compiled model tracks it, so that a resumed training draws on.
    """

    def __init__(self, layers, steps, epsilon, step_size):
        self.layers, self.steps, self.epsilon, self.step_size = layers, steps, epsilon, step_size
        self.seeds = keras.random.SeedGenerator()

    def __call__(self, step, loss):
        """Returns the loss on moved embeddings, in place of the plain one, on a `zoo.objectives.Step`."""
        values = step.outputs(self.layers)  # (B, T, E) each
        offsets = [self._start(v) for v in values]
        scale, losses = gradient_scale(step.model), []

        def at(offsets):
            moved = [v + ops.cast(o, v.dtype) for v, o in zip(values, offsets, strict=True)]
            return scale * step.loss_with_outputs(self.layers, moved)

        for _ in range(self.steps - 1):
            found, gradients = value_and_gradients(at, offsets)
            losses.append(found)
            steps = [l2_step(g, self.step_size) for g in gradients]
            offsets = [projected(o + s, self.epsilon) for o, s in zip(offsets, steps, strict=True)]
        losses.append(at([ops.stop_gradient(o) for o in offsets]))  # its gradient would lead to no further step
        return in_place_of_plain(step, loss, 1.0, sum(losses) / (self.steps * scale))

    def _start(self, value):
        numbers = ops.cast(math.prod(value.shape[2:]) * ops.shape(value)[1], "float32")
        drawn = keras.random.uniform(ops.shape(value), -self.epsilon, self.epsilon, "float32", seed=self.seeds)
        return drawn / ops.sqrt(numbers)


@trick("free_lb", stage="objective")
@dataclass(frozen=True)
class FreeLB:
    """See the card above.

    `steps`: passes over each batch, with one step up between two. `epsilon`: largest L2 length of the perturbation of
    each example's whole embedded input. `step_size`: L2 length of one step; None is epsilon / steps. `layer`: name of
    the embedding layer; None takes every embedding of the model.
    """

    steps: int = 3
    epsilon: float = 1.0
    step_size: float | None = None
    layer: str | None = None

    def __post_init__(self):
        if self.steps < 1:
            raise invalid("free_lb: `steps` must be 1 or more", self.steps)
        if self.epsilon <= 0:
            raise invalid("free_lb: `epsilon` must be positive", self.epsilon)
        if self.step_size is not None and self.step_size <= 0:
            raise invalid("free_lb: `step_size` must be positive", self.step_size)

    @property
    def _size(self):
        return self.epsilon / self.steps if self.step_size is None else self.step_size

    def apply(self, plan):
        plan.head_for("free_lb", LEARNING)
        found = embeddings(plan, "free_lb", self.layer)
        objective = FreeLBObjective(found, self.steps, self.epsilon, self._size)
        return replacing_plain(plan, "free_lb", objective).adding("watched", *found)

    def explain(self, plan):
        found = embeddings(plan, "free_lb", self.layer)
        names = ", ".join(f"{e.name!r} {tuple(e.output.shape[1:])}" for e in found)
        return (
            f"trains on the mean loss of {self.steps} passes on embeddings {names}, moved at random and then by "
            f"{self._size:g} a pass in the direction that hurts most, within {self.epsilon:g} "
            f"(L2 over the whole example)"
        )
