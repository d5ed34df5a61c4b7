"""Two players in one training: an optimizer that steps them in turn, and the gradient penalty on the critic.

Paper: Arjovsky et al., 2017, https://arxiv.org/abs/1701.07875, algorithm 1 (several critic steps, clipping)
Paper: Gulrajani et al., 2017, https://arxiv.org/abs/1704.00028, algorithm 1 (gradient penalty)
"""

import contextlib
from dataclasses import dataclass

import keras
from keras import ops

from zoo.errors import invalid
from zoo.objectives import differentiable_gradients
from zoo.spec import spec_of

CRITIC, GENERATOR = "critic", "generator"  # names of the nested models; their layers' names begin with them
_TINY = 1e-12  # under the root, whose slope at zero would be infinite


@keras.saving.register_keras_serializable("zoo")
class Alternating(keras.optimizers.Optimizer):
    """Steps the critic at every step and the generator at every `critic_steps`-th, each with its own optimizer.

    A variable belongs to the critic where its path begins with "critic", and else to the generator. Both follow the
    learning rate, or schedule, of this optimizer at its own step; those of the two inner optimizers are overwritten.
    Averages of the weights, where asked for, are kept here, over the steps of both.

    Args:
        critic, generator: two `keras.optimizers.Optimizer`s.
        learning_rate: of both, a number or schedule.
        critic_steps: steps of the critic for one of the generator.
        clip: bound on the size of each weight of the critic after each step, or None.
        use_ema, ema_momentum: as for any Keras optimizer.

    Raises:
        InvalidArgument: the two are one optimizer, or a number is out of range.
    """

    def __init__(
        self,
        critic,
        generator,
        learning_rate=1e-4,
        critic_steps=5,
        clip=None,
        use_ema=False,
        ema_momentum=0.99,
        name="alternating",
    ):
        super().__init__(learning_rate, use_ema=use_ema, ema_momentum=ema_momentum, name=name)
        if critic is generator:
            raise invalid("critic and generator need an optimizer each", type(critic).__name__, "Make two.")
        if type(critic_steps) is not int or critic_steps < 1:
            raise invalid("`critic_steps` must be a whole number of at least 1", critic_steps)
        if clip is not None and clip <= 0:
            raise invalid("`clip` must be positive, or None", clip)
        self.critic, self.generator = critic, generator
        self.critic_steps, self.clip = critic_steps, clip

    def build(self, variables):
        """Makes the state of each inner optimizer for the variables of its player alone.

        Raises:
            InvalidArgument: one of the two has no variables to train.
        """
        if self.built:
            return
        ours, theirs = self._parted(variables, variables)
        for player, found in ((CRITIC, ours), (GENERATOR, theirs)):
            if not found:
                paths = [v.path for v in variables]
                raise invalid(f"the {player} has no trainable weights", paths, f"Name its layers {player}_...")
        super().build(variables)
        self.critic.build(ours)
        self.generator.build(theirs)

    @property
    def variables(self):
        """The state of this optimizer, then of the critic's, then of the generator's."""
        return [*self._variables, *self.critic.variables, *self.generator.variables]

    def set_weights(self, weights):
        """Sets every variable of the three."""
        for variable, value in zip(self.variables, weights, strict=True):
            variable.assign(value)

    @staticmethod
    def _parted(items, variables):
        """Returns what belongs to the variables of the critic, and the rest."""
        pairs = list(zip(items, variables, strict=True))
        ours = [item for item, v in pairs if v.path.startswith(CRITIC)]
        return ours, [item for item, v in pairs if not v.path.startswith(CRITIC)]

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Spares variables of both players, as for any Keras optimizer."""
        for player in (self.critic, self.generator):
            player.exclude_from_weight_decay(var_list, var_names)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        """Does one step; Keras has checked its arguments, and averages the weights and counts the step afterwards."""
        with _after(grads):
            self._step(grads, trainable_variables, learning_rate)

    def _step(self, grads, trainable_variables, learning_rate):
        ours, theirs = self._parted(trainable_variables, trainable_variables)
        our_grads, their_grads = self._parted(grads, trainable_variables)
        for player in (self.critic, self.generator):
            player._learning_rate.assign(learning_rate)
        self.critic.apply(our_grads, ours)
        if self.clip is not None:
            for variable in ours:
                variable.assign(ops.clip(variable, -self.clip, self.clip))
        turn = ops.equal((self._iterations + 1) % self.critic_steps, 0)
        if keras.backend.backend() == "jax":
            self._step_generator_if(turn, their_grads, theirs)
        else:
            ops.cond(turn, lambda: self.generator.apply(their_grads, theirs), lambda: None)

    def _step_generator_if(self, turn, grads, variables):
        """Steps the generator by values alone, as a branch on JAX must have no side effects."""
        state = self.generator.variables
        before = [v.value for v in variables], [v.value for v in state]
        after = ops.cond(turn, lambda: self.generator.stateless_apply(before[1], grads, before[0]), lambda: before)
        for variable, value in zip((*variables, *state), (*after[0], *after[1]), strict=True):
            variable.assign(value)

    def get_config(self):
        whole = super().get_config()
        return {k: whole[k] for k in ("name", "learning_rate", "use_ema", "ema_momentum")} | {
            "critic": keras.saving.serialize_keras_object(self.critic),
            "generator": keras.saving.serialize_keras_object(self.generator),
            "critic_steps": self.critic_steps,
            "clip": self.clip,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        for key in ("critic", "generator", "learning_rate"):
            if isinstance(config[key], dict):
                config[key] = keras.saving.deserialize_keras_object(config[key], custom_objects=custom_objects)
        return cls(**config)


def _after(grads):
    """Within this block operations wait for all gradients.

    The gradient of a critic's mean score by the score is constant, so that the gradient of its last layer does not
    depend on that layer's weights. TensorFlow's graph optimizer then loses the order between reading them, for the
    gradients of the layers before, and writing them: those gradients now and then were of weights already stepped.
    """
    if keras.backend.backend() != "tensorflow":
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.control_dependencies(keras.tree.flatten(grads))


# The penalty


def gradient_penalty(critic, images):
    """Returns `(||d critic / d image|| - 1) ** 2` of each image, shape (B,).

    Args:
        critic: function of images (B, H, W, C) -> scores (B, 1), each of its own image alone.
        images: where the slope is taken; no gradient flows through them.
    """
    (slopes,) = differentiable_gradients(lambda given: ops.sum(critic(given[0])), [ops.stop_gradient(images)])
    squares = ops.sum(ops.square(slopes), axis=tuple(range(1, len(images.shape))))
    return ops.square(ops.sqrt(squares + _TINY) - 1.0)


class GradientPenalty:
    """The objective that adds `weight` times the mean penalty on the critic's slope between real and made images.

    Args:
        generator: the nested model; the plan watches it, so that its images are not made twice.
        critic: the nested model.
        weight: of the penalty.

    Attributes:
        seeds: where each image's place between the two is drawn from; the compiled model tracks it, so that a resumed
            training draws on.
    """

    def __init__(self, generator, critic, weight):
        self.generator, self.critic, self.weight = generator, critic, weight
        self.seeds = keras.random.SeedGenerator()

    def __call__(self, step, loss):
        """Returns the loss with the penalty on a `zoo.objectives.Step`."""
        real = ops.cast(step.x["image"], "float32")
        (made,) = step.outputs([self.generator])
        shape = (ops.shape(real)[0], *(1,) * (len(real.shape) - 1))
        place = keras.random.uniform(shape, seed=self.seeds)
        between = place * real + (1.0 - place) * ops.cast(made, "float32")
        penalty = ops.mean(gradient_penalty(lambda images: self.critic(images, training=True), between))
        return loss + self.weight * ops.cast(penalty, loss.dtype)


# The game


@dataclass(frozen=True)
class Players:
    """Makes an `Alternating` of two optimizers that `make` makes; an optimizer trick replaces `make` alone.

    Options are those of both players (clipping, weight decay), but for averages, which are over the steps of both.

    Attributes:
        make: function `(learning_rate, **options) -> keras.optimizers.Optimizer`, with a `__name__` for people.
        critic_steps, clip: as for `Alternating`.
    """

    make: object
    critic_steps: int
    clip: float | None = None

    def __call__(self, learning_rate, **options):
        averaged = {k: options.pop(k) for k in ("use_ema", "ema_momentum") if k in options}
        critic, generator = self.make(1.0, **options), self.make(1.0, **options)  # at rates that are never used
        return Alternating(critic, generator, learning_rate, self.critic_steps, self.clip, **averaged)

    def playing(self, make):
        """Returns the same game with another optimizer for both players."""
        return Players(make, self.critic_steps, self.clip)

    @property
    def __name__(self):
        clipped = "" if self.clip is None else f", whose weights stay within {self.clip:g}"
        return f"{self.make.__name__} for critic and generator, {self.critic_steps} critic steps to one{clipped}"


def rmsprop(learning_rate, **options):
    """RMSprop as the authors of the Wasserstein GAN ran it: PyTorch's, whose epsilon of 1e-8 is outside the root."""
    return keras.optimizers.RMSprop(learning_rate, rho=0.99, epsilon=1e-16, **options)


def adam(learning_rate, **options):
    """Adam with the betas of Gulrajani et al., algorithm 1."""
    return keras.optimizers.Adam(learning_rate, beta_1=0.0, beta_2=0.9, **options)


rmsprop.__name__, adam.__name__ = "RMSprop", "Adam"


def game(plan):
    """Returns the plan of a model with critic heads, set to train both players as its paper does.

    Args:
        plan: a `zoo.plan.Plan` whose model zoo built, with `critic_steps`, `clip` and `penalty` among its arguments.

    Raises:
        InvalidArgument: the model lacks one of the nested models, or those arguments.
    """
    arguments = spec_of(plan.model).arguments
    nested = {layer.name: layer for layer in plan.model.layers if layer.name in (CRITIC, GENERATOR)}
    missing = [k for k in ("critic_steps", "clip", "penalty") if k not in arguments]
    missing += [name for name in (CRITIC, GENERATOR) if name not in nested]
    if missing:
        works = 'Build one with zoo.build("wgan"), for example.'
        raise invalid(f"model {plan.name!r} has critic heads but lacks what the game needs", missing, works)
    steps, clip, penalty = arguments["critic_steps"], arguments["clip"], arguments["penalty"]
    if not penalty:
        return plan.but(optimizer=Players(rmsprop, steps, clip), learning_rate=5e-5)
    objective = GradientPenalty(nested[GENERATOR], nested[CRITIC], penalty)
    changed = plan.but(optimizer=Players(adam, steps, clip), learning_rate=1e-4)
    return changed.adding("objective", objective).adding("watched", nested[GENERATOR])
