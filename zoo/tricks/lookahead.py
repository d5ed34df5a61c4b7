"""Lookahead: slow weights that step towards the fast ones now and then.

Paper: Zhang et al., 2019, https://arxiv.org/abs/1907.08610, algorithm 1
Use when: an optimizer is noisy or sensitive to its learning rate; with radam it is known as Ranger.
Start with: steps=5, alpha=0.5, the paper's for CIFAR-10 and ImageNet.
Formula: after every `steps` steps of the optimizer slow = slow + alpha (fast - slow), fast = slow
Composes with: every optimizer and schedule, clip_norm, weight_decay, accumulate (whose steps it counts), layer_decay,
and ema, which averages after the slow step. Of two players it takes the steps of both.
Conflicts with: nothing.
Departures: a cycle starts from the weights as they are, so that weights set between two fits are kept.
Cost: one more copy of the weights.
"""

from dataclasses import dataclass

import keras
from keras import ops

from zoo.errors import invalid
from zoo.plan import count
from zoo.registry import trick


@keras.saving.register_keras_serializable("zoo")
class LookaheadOptimizer(keras.optimizers.Optimizer):
    """Steps an inner optimizer, and every `steps`-th time takes the weights a share of the way that they went.

    The inner optimizer clips, decays, accumulates and follows its schedule as it does alone; where it was told to
    average weights, this one does that in its place, after the slow step.

    Args:
        inner: a `keras.optimizers.Optimizer` that was not built yet.
        steps: fast steps for a slow one.
        alpha: share of the way that the slow step goes.

    Raises:
        InvalidArgument: a value is out of range, or the inner optimizer writes its averages over the weights.
    """

    def __init__(self, inner, steps=5, alpha=0.5, name="lookahead"):
        check(steps, alpha)
        if inner.use_ema and inner.ema_overwrite_frequency:
            raise invalid("lookahead: `ema_overwrite_frequency` must be None", inner.ema_overwrite_frequency)
        rate = inner._learning_rate
        constant = isinstance(rate, keras.Variable)
        super().__init__(
            float(ops.convert_to_numpy(rate.value)) if constant else rate,
            name=name,
            use_ema=inner.use_ema,
            ema_momentum=inner.ema_momentum,
        )
        self.inner, self.steps, self.alpha = inner, steps, alpha
        inner.use_ema = False
        self._constant = constant

    def build(self, variables):
        """Makes the slow weights, and the state of the inner optimizer."""
        if self.built:
            return
        super().build(variables)
        self.slow = self.add_optimizer_variables(variables, "slow")
        self.inner.build(variables)

    @property
    def variables(self):
        """The state of this optimizer, then of the inner one."""
        return [*self._variables, *self.inner.variables]

    @property
    def iterations(self):
        """How many times the inner optimizer has stepped, of which accumulation takes several calls each."""
        several = self.inner.gradient_accumulation_steps
        return ops.floor_divide(self._iterations, several) if several else self._iterations

    def set_weights(self, weights):
        """Sets every variable of the two."""
        for variable, value in zip(self.variables, weights, strict=True):
            variable.assign(value)

    def scale_loss(self, loss):
        """Scales as the inner optimizer does, which takes the scale out of the gradients again."""
        return self.inner.scale_loss(loss)

    def exclude_from_weight_decay(self, var_list=None, var_names=None):
        """Spares variables of the inner optimizer's decay."""
        self.inner.exclude_from_weight_decay(var_list, var_names)

    def _backend_apply_gradients(self, grads, trainable_variables):
        """Does one step; `Optimizer.apply` has checked its arguments and counts the step afterwards."""
        period = self.steps * (self.inner.gradient_accumulation_steps or 1)  # in calls of this function
        weights = self._trainable_variables
        if self._constant:
            self.inner._learning_rate.assign(self.learning_rate)  # which a callback may have set
        self._assign_if(ops.equal(self._iterations % period, 0), self.slow, lambda: [w.value for w in weights])
        self.inner.apply(grads, trainable_variables)
        self._assign_if(ops.equal((self._iterations + 1) % period, 0), weights, self._between)
        if self.use_ema:
            self._update_model_variables_moving_average(weights)

    def _between(self):
        """Returns the weights `alpha` of the way from the slow ones to the fast ones."""
        pairs = zip(self.slow, self._trainable_variables, strict=True)
        return [slow + ops.cast(self.alpha, slow.dtype) * (fast - slow) for slow, fast in pairs]

    @staticmethod
    def _assign_if(turn, variables, values):
        """Assigns what `values` returns where it is the turn; on JAX a branch must have no side effects."""
        if keras.backend.backend() == "jax":
            found = ops.cond(turn, values, lambda: [v.value for v in variables])
            for variable, value in zip(variables, found, strict=True):
                variable.assign(value)
            return

        def assign():
            for variable, value in zip(variables, values(), strict=True):
                variable.assign(value)

        ops.cond(turn, assign, lambda: None)

    def get_config(self):
        return {
            "inner": keras.saving.serialize_keras_object(self.inner),
            "steps": self.steps,
            "alpha": self.alpha,
            "name": self.name,
            "use_ema": self.use_ema,
            "ema_momentum": self.ema_momentum,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        inner = keras.saving.deserialize_keras_object(config["inner"], custom_objects=custom_objects)
        inner.use_ema, inner.ema_momentum = config["use_ema"], config["ema_momentum"]
        return cls(inner, config["steps"], config["alpha"], config["name"])


def check(steps, alpha):
    """Refuses numbers out of range."""
    if steps < 1:
        raise invalid("lookahead: `steps` must be at least 1", steps)
    if not 0 < alpha <= 1:
        raise invalid("lookahead: `alpha` must be above 0 and at most 1", alpha)


@trick("lookahead", stage="optimizer")
@dataclass(frozen=True)
class Lookahead:
    """See the card above. `steps`: of the optimizer for one slow step. `alpha`: share of the way it goes, in (0, 1]."""

    steps: int = 5
    alpha: float = 0.5

    def __post_init__(self):
        check(self.steps, self.alpha)

    def apply(self, plan):
        several = dict(plan.optimizer_options).get("gradient_accumulation_steps", 1)

        def too_few(batch_size, steps_per_epoch, epochs):
            if steps_per_epoch is None or steps_per_epoch * epochs // several >= self.steps:
                return []
            done = steps_per_epoch * epochs // several
            return [f"lookahead(steps={self.steps}): this fit has {done} steps, so that the slow weights never move"]

        wrapped = plan.adding("at_fit", too_few)
        return wrapped.adding(
            "optimizer_wrappers", lambda made, model: LookaheadOptimizer(made, self.steps, self.alpha)
        )

    def explain(self, plan):
        numbers = count(plan.trained)
        return (
            f"after every {self.steps} steps the weights go back {1 - self.alpha:.0%} of the way that they went; "
            f"{numbers:,} slow weights are kept"
        )
