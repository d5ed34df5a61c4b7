"""Adversarial noise training: a small generator of noise trained against the classifier.

Paper: Rusak et al., 2020, https://arxiv.org/abs/2001.06057, section 3.3 and equation 3
Use when: the model must withstand noise and other corruptions that training images do not show.
Start with: epsilon=0.3 for inputs in [0, 1], low=0, high=1; more where plain noise of that size already does no harm.
Formula: min over w of max over v of mean of L(w, clip(x + epsilon sqrt(n) d / ||d||)), d = z + N_v(z)
    z standard normal; N: 1 x 1 convolutions of 20, 20, 20 and C filters, ReLU between; n numbers in an image
Composes with: every loss, optimizer and schedule, which the generator trains with as well, in the opposite direction.
Conflicts with: fgsm, ifgsm, pgd and free_lb, which take the place of the plain loss too.
Departures: one step trains both, by a gradient that changes its sign before the generator, where the paper takes
    alternate steps. `epsilon` is the root mean square of the noise, the paper's length over sqrt(n). A snapshot of the
    generator is kept each epoch. Batch norm's averages see the clean batch alone.
Cost: about 1.5 times the time of a plain step.
"""

import itertools
from dataclasses import dataclass

import keras
from keras import layers, ops

from zoo.attacks import LEARNING, in_place_of_plain, replacing_plain
from zoo.errors import invalid
from zoo.objectives import floating
from zoo.registry import trick

FILTERS = 20


@keras.saving.register_keras_serializable("zoo")
class NoiseGenerator(layers.Layer):
    """Maps noise (B, ..., C) to noise of the same shape, each pixel by itself, and keeps snapshots of its weights.

    Args:
        channels: C.
        snapshots: how many of the last snapshots are kept.
    """

    def __init__(self, channels, snapshots, name="noise_generator", dtype="float32"):
        super().__init__(name=name, dtype=dtype)
        self.channels, self.snapshots = channels, snapshots

    def build(self, input_shape=None):
        sizes = (self.channels, FILTERS, FILTERS, FILTERS, self.channels)
        small = keras.initializers.RandomNormal(stddev=0.01)  # the paper's: it begins as nearly plain Gaussian noise
        for i, (given, made) in enumerate(itertools.pairwise(sizes), start=1):
            self.add_weight(shape=(given, made), initializer=small, name=f"kernel{i}")
            self.add_weight(shape=(made,), initializer="zeros", name=f"bias{i}")
        self.current = list(self.trainable_variables)
        self.kept = [
            self.add_weight(
                shape=(self.snapshots, *v.shape), initializer="zeros", trainable=False, name=f"kept_{v.name}"
            )
            for v in self.current
        ]
        self.count = self.add_weight(shape=(), initializer="zeros", dtype="int32", trainable=False, name="count")
        self.built = True

    def call(self, noise, weights=None):
        """Returns noise plus what the convolutions make of it, with other weights where they are given."""
        weights = [v.value for v in self.current] if weights is None else weights
        x = noise
        for i in range(0, len(weights), 2):
            x = ops.matmul(x if i == 0 else ops.relu(x), weights[i]) + weights[i + 1]
        return noise + x

    def keep(self):
        """Stores the weights of now as a snapshot, in the place of the oldest when there is no room."""
        place = int(ops.convert_to_numpy(self.count)) % self.snapshots
        for kept, current in zip(self.kept, self.current, strict=True):
            values = ops.convert_to_numpy(kept).copy()
            values[place] = ops.convert_to_numpy(current)
            kept.assign(values)
        self.count.assign(self.count + 1)

    def drawn(self, draws, replay):
        """Returns the weights of now with the gradient turned round, or with probability `replay` those of a snapshot.

        Args:
            draws: two numbers in [0, 1), for whether and which.
            replay: a share; nothing is replayed while there is no snapshot.
        """
        there = ops.minimum(self.count.value, self.snapshots)
        place = ops.minimum(ops.cast(draws[1] * ops.cast(there, "float32"), "int32"), self.snapshots - 1)
        again = ops.logical_and(draws[0] < replay, there > 0)
        pairs = zip(self.current, self.kept, strict=True)
        return [ops.where(again, ops.take(kept.value, place, axis=0), reverse(v.value)) for v, kept in pairs]


def reverse(x):
    """Returns `x` itself with the gradient -1, so that what trains the classifier down trains the generator up."""
    return 2.0 * ops.stop_gradient(x) - x


def of_size(noise, epsilon):
    """Returns noise (B, ...) scaled so that the root mean square of each example's is epsilon."""
    axes = tuple(range(1, len(noise.shape)))
    square = ops.mean(ops.square(noise), axis=axes, keepdims=True)
    return epsilon * noise / ops.sqrt(ops.maximum(square, 1e-12))


class KeepGenerator(keras.callbacks.Callback):
    """Stores a snapshot of the generator after each epoch."""

    def __init__(self, generator):
        super().__init__()
        self.generator = generator

    def on_epoch_end(self, epoch, logs=None):
        self.generator.keep()


class AgainstNoise:
    """The objective of the trick below.

    Attributes:
        seeds: where noise, the noisy examples and replays are drawn from; the compiled model tracks it, so that a
            resumed training draws on.
    """

    def __init__(self, generator, epsilon, share, replay, low, high):
        self.generator, self.epsilon, self.share, self.replay = generator, epsilon, share, replay
        self.low, self.high = low, high
        self.seeds = keras.random.SeedGenerator()

    def __call__(self, step, loss):
        """Returns the loss with part of the batch under noise on a `zoo.objectives.Step`, for the plain one."""
        _, values, _ = step.float_inputs()
        if not values:
            raise invalid("ant needs inputs of a floating type", works="Pass x.astype('float32').")
        (x,) = values
        draws = keras.random.uniform((2,), seed=self.seeds)
        noise = keras.random.normal(ops.shape(x), seed=self.seeds)
        noise = of_size(self.generator(noise, weights=self.generator.drawn(draws, self.replay)), self.epsilon)
        noisy = self.clipped(ops.cast(x, "float32") + noise)
        # The first of the batch, which is in random order: as many of each batch, and no draw for each example.
        place = ops.reshape(ops.arange(ops.shape(x)[0]), (-1, *(1,) * (len(x.shape) - 1)))
        first = ops.cast(place, "float32") < self.share * ops.cast(ops.shape(x)[0], "float32")
        mixed = ops.where(first, noisy, ops.cast(x, "float32"))
        return in_place_of_plain(step, loss, 1.0, step.loss_on(step.with_floats([ops.cast(mixed, x.dtype)])))

    def clipped(self, x):
        """Returns images within the limits."""
        if self.low is not None:
            x = ops.maximum(x, self.low)
        return x if self.high is None else ops.minimum(x, self.high)


@trick("ant", stage="objective")
@dataclass(frozen=True)
class Ant:
    """See the card above.

    `epsilon`: root mean square of the noise on an image, in the unit of the input. `share`: of each batch that is under
    noise; the rest is clean. `replay`: share of the batches whose noise an earlier snapshot of the generator makes.
    `snapshots`: how many are kept, one an epoch. `low`, `high`: limits that the noisy input is clipped to, or None.
    """

    epsilon: float = 0.3
    share: float = 0.5
    replay: float = 0.5
    snapshots: int = 10
    low: float | None = None
    high: float | None = None

    def __post_init__(self):
        if self.epsilon <= 0:
            raise invalid("ant: `epsilon` must be positive", self.epsilon)
        if not 0 < self.share <= 1:
            raise invalid("ant: `share` must be in (0, 1]", self.share)
        if not 0 <= self.replay < 1:
            raise invalid("ant: `replay` must be in [0, 1)", self.replay)
        if self.snapshots < 1:
            raise invalid("ant: `snapshots` must be 1 or more", self.snapshots)
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise invalid("ant: `low` must be below `high`", (self.low, self.high))

    def apply(self, plan):
        plan.head_for("ant", LEARNING)
        generator = NoiseGenerator(_input(plan).shape[-1], self.snapshots)
        generator.build()
        objective = AgainstNoise(generator, self.epsilon, self.share, self.replay, self.low, self.high)
        changed = replacing_plain(plan, "ant", objective).adding("extras", generator)
        return changed.adding("callbacks", lambda: KeepGenerator(generator))

    def explain(self, plan):
        given = _input(plan)
        channels = given.shape[-1]
        size = 2 * channels * FILTERS + 2 * FILTERS**2 + 3 * FILTERS + channels
        return (
            f"puts noise of root mean square {self.epsilon:g} on {self.share:.0%} of each batch of {given.name!r} "
            f"{tuple(given.shape[1:])}; a generator of {size:,} weights makes it and is trained to raise the loss, and "
            f"in {self.replay:.0%} of the batches one of its last {self.snapshots} snapshots stands in for it"
        )


def _input(plan):
    """Returns the one image input of a model: pixels of known channels."""
    found = [i for i in plan.model.inputs if floating(i) and len(i.shape) > 2 and i.shape[-1] is not None]
    if len(found) != 1 or len(plan.model.inputs) != 1:
        has = [f"{i.name} {tuple(i.shape)}: {i.dtype}" for i in plan.model.inputs]
        raise invalid(f"ant finds no image input in model {plan.name!r}", has, "Drop ant.")
    return found[0]
