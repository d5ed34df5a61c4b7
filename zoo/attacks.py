"""Attacks on a model's inputs: worst-case changes of bounded size, as training objectives and on finished models.

`pgd(model, x, y, epsilon, steps)` attacks a finished model, to measure how well it withstands (`zoo.robustness` does
that in the unit of pixels); the tricks `fgsm`, `ifgsm` and `pgd` run the same steps inside training.

Paper: Goodfellow et al., 2014, https://arxiv.org/abs/1412.6572 (one step, by the gradient's sign)
Paper: Kurakin et al., 2016, https://arxiv.org/abs/1607.02533 (several steps, each clipped back to the ball)
Paper: Madry et al., 2017, https://arxiv.org/abs/1706.06083 (from a random point of the ball)
"""

import dataclasses
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from zoo.errors import Conflict, invalid
from zoo.objectives import floating, gradient_of

LEARNING = ("softmax", "sigmoid", "regression", "candidates")  # kinds of head with targets to be wrong about
_FLOAT16_SCALE = 1024.0  # keeps small float16 gradients from vanishing on their way back to the input


def signs(gradient, dtype):
    """Returns -1, 0 or 1 for each value of a gradient; 0 where it is not a number."""
    return ops.cast(gradient > 0, dtype) - ops.cast(gradient < 0, dtype)


@dataclass(frozen=True)
class Attack:
    """Ascent by the gradient's sign within a ball of the maximum norm.

    Attributes:
        epsilon: radius of the ball: the largest change of any input value, in the unit of the input.
        steps: number of steps.
        step_size: change of each value in one step.
        random_start: whether to start from a uniformly drawn point of the ball, not from the input itself.
        low, high: limits of a valid input, or None.
    """

    epsilon: float
    steps: int = 1
    step_size: float | None = None
    random_start: bool = False
    low: float | None = None
    high: float | None = None

    def scaled(self, share):
        """Returns the attack with a share of the radius and of the step, which may be a scalar tensor."""
        size = self.epsilon if self.step_size is None else self.step_size
        return dataclasses.replace(self, epsilon=share * self.epsilon, step_size=share * size)

    def within(self, value, origin):
        """Returns the point of the ball around `origin` that is nearest to `value`, clipped to the limits."""
        reach = _of_type(self.epsilon, origin)
        found = ops.minimum(ops.maximum(value, origin - reach), origin + reach)
        if self.low is not None:
            found = ops.maximum(found, self.low)
        if self.high is not None:
            found = ops.minimum(found, self.high)
        return found

    def step(self, value, gradient, origin):
        """Returns `value` (B, ...) after one step up the gradient."""
        size = self.epsilon if self.step_size is None else self.step_size
        return self.within(value + _of_type(size, value) * signs(gradient, value.dtype), origin)

    def start(self, origin, seed):
        """Returns the point that the attack on `origin` (B, ...) starts from."""
        if not self.random_start:
            return origin
        noise = keras.random.uniform(ops.shape(origin), -1.0, 1.0, origin.dtype, seed=seed)
        return self.within(origin + _of_type(self.epsilon, origin) * noise, origin)

    def run(self, gradients_at, origins, *, seed=None, first=None):
        """Returns attacked inputs, as constants.

        Args:
            gradients_at: function of a list of tensors (B, ...) -> their loss gradients, each up to a positive factor.
            origins: list of tensors (B, ...).
            seed: `keras.random.SeedGenerator` of random starts.
            first: gradients at the origins where they are known already, which spares a pass.
        """
        values = [self.start(origin, seed) for origin in origins]
        for _ in range(self.steps):
            gradients, first = first or gradients_at(values), None
            values = [self.step(*three) for three in zip(values, gradients, origins, strict=True)]
        return [ops.stop_gradient(value) for value in values]


def _of_type(number, tensor):
    """Returns a number as it is, and a scalar tensor in the type of `tensor`."""
    return number if isinstance(number, float | int) else ops.cast(number, tensor.dtype)


# In training


def in_place_of_plain(step, loss, share, other, carried=None):
    """Returns the training loss with a share of the plain loss replaced by another one on the same targets.

    What other tricks have added to `loss`, and regularisers, stay whole; where one has scaled the plain loss down, the
    other has its weight.

    Args:
        loss: the training loss so far.
        share: of the replaced part, in (0, 1].
        other: the compiled loss of another pass; has no regularisers.
        carried: what `step.gradients` returned for `loss`, where it was called.
    """
    other = other + step.penalties()
    if loss is not step.plain:
        return loss + step.plain_weight * share * (other - step.plain)
    if share == 1.0:  # the pass back through the plain loss is spared
        return other
    return (1.0 - share) * (loss if carried is None else carried) + share * other


class Attacked:
    """The objective that trains on inputs under an `Attack`.

    Args:
        name: of the trick, for messages.
        attack: an `Attack`.
        alpha: share of the plain loss; the attacked inputs have the rest.
        ramp: a `zoo.attack_ramp.Ramp` of the attack's radius, or None.

    Attributes:
        seeds: where random starts are drawn from; the compiled model tracks it, so that a resumed training draws on.
    """

    def __init__(self, name, attack, alpha, ramp=None):
        self.name, self.attack, self.alpha, self.ramp = name, attack, alpha, ramp
        if attack.random_start:
            self.seeds = keras.random.SeedGenerator()

    def __call__(self, step, loss):
        """Returns the loss with the attacked inputs' share on a `zoo.objectives.Step`."""
        places, origins, at = step.float_inputs()
        if not places:
            types = [keras.backend.standardize_dtype(leaf.dtype) for leaf in keras.tree.flatten(step.x)]
            raise invalid(f"{self.name} needs inputs of a floating type", types, "Pass x.astype('float32').")
        first, carried = None, None
        if not self.attack.random_start:
            first, carried = step.gradients(loss, origins, at)
        scale = gradient_scale(step.model)
        attack = self.attack if self.ramp is None else self.attack.scaled(self.ramp.share.value)
        values = attack.run(
            lambda v: gradient_of(lambda w: scale * step.loss_on(step.with_floats(w), constant_weights=True), v),
            origins,
            seed=getattr(self, "seeds", None),
            first=first,
        )
        return in_place_of_plain(step, loss, 1.0 - self.alpha, at(values), carried)


def gradient_scale(model):
    """Returns a factor for losses whose gradient by the input is wanted: above 1 where layers compute in float16."""
    return _FLOAT16_SCALE if model.compute_dtype == "float16" else 1.0


def training_inputs(plan, trick, instead="fgm"):
    """Returns the inputs of a model that have gradients.

    Raises:
        InvalidArgument: there are none, or no head has targets.
    """
    plan.head_for(trick, LEARNING)
    found = [i for i in plan.model.inputs if floating(i)]
    if not found:
        has = [f"{i.name}: {i.dtype}" for i in plan.model.inputs]
        works = f"For token ids write {instead} instead."
        raise invalid(f"{trick} finds no input with gradients in model {plan.name!r}", has, works)
    return found


def replacing_plain(plan, name, objective):
    """Returns the plan with an objective that takes the place of the plain loss, wholly or in part.

    Raises:
        Conflict: there is one already, so that the plain loss would be replaced twice, or another objective leaves the
            plain loss no weight.
    """
    objective.takes_the_place_of_plain = name
    for other in plan.objective:
        if all_of_it := getattr(other, "leaves_no_plain", None):
            raise Conflict(
                f"{name} finds no plain loss to take the place of: {all_of_it} leaves it nothing. "
                f"Give {all_of_it} a weight below 1, or drop one of them."
            )
        if taken := getattr(other, "takes_the_place_of_plain", None):
            raise Conflict(
                f"{taken} and {name} both set the inputs that the loss is taken on. "
                f"Keep one of them: write `-{name}` or `-{taken}`, or leave one out."
            )
    return plan.adding("objective", objective)


def check_attack(trick, epsilon, alpha, low, high, steps=1, step_size=None):
    """Raises InvalidArgument where the arguments of an attack trick cannot work."""
    if epsilon <= 0:
        raise invalid(f"{trick}: `epsilon` must be positive", epsilon)
    if steps < 1:
        raise invalid(f"{trick}: `steps` must be 1 or more", steps)
    if step_size is not None and step_size <= 0:
        raise invalid(f"{trick}: `step_size` must be positive", step_size)
    if not 0 <= alpha < 1:
        raise invalid(f"{trick}: `alpha` must be in [0, 1)", alpha)
    if low is not None and high is not None and low >= high:
        raise invalid(f"{trick}: `low` must be below `high`", (low, high))


def check_restarts(trick, restarts, random_start):
    """Raises InvalidArgument where a number of restarts cannot work."""
    if type(restarts) is not int or restarts < 1:
        raise invalid(f"{trick}: `restarts` must be a whole number, 1 or more", restarts)
    if restarts > 1 and not random_start:
        works = "Pass random_start=True, or restarts=1."
        raise invalid(f"{trick}: without a random start every restart is the same", restarts, works)


# On a finished model


def pgd(
    model,
    x,
    y,
    epsilon,
    steps=40,
    step_size=None,
    *,
    restarts=1,
    random_start=True,
    low=0.0,
    high=1.0,
    loss=None,
    batch_size=500,
    seed=None,
    told=None,
):
    """Returns inputs that projected gradient descent finds to mislead a finished model.

    Its accuracy on them is its robust accuracy, or rather a bound on it from above: a stronger attack finds more. An
    input counts as misleading where the attack ends on it, not where it passes by, as in the literature.

    Args:
        model: a `keras.Model` of one input of floating type whose output is logits (B, classes), or (B, 1).
        x: NumPy array (n, ...).
        y: class numbers (n,), or targets.
        epsilon: largest change of any value.
        steps: steps of the attack; 1 with `random_start=False` and `step_size=epsilon` is FGSM.
        step_size: change of each value in one step; None means 2.5 * epsilon / steps, which can cross the ball.
        restarts: attacks of each input, from other random points, at most: one that is misled is left alone. Of an
            input that withstands them all, the end of highest loss is returned.
        random_start: whether to start from a random point of the ball.
        low, high: limits of a valid input, or None.
        loss: function (targets, logits) -> losses (B,); None means the cross-entropy.
        batch_size: inputs attacked at once.
        seed: of the random points; None draws from Keras's global seed. A number of restarts repeats those that a
            smaller number makes with the same seed and batch size.
        told: function (restart, attacked, misled) called after each batch: how many inputs this restart, counted from
            1, has attacked, and how many are misled by now.

    Returns:
        NumPy array of the shape of `x`, float32.

    Raises:
        InvalidArgument: an argument is out of range.
    """
    from zoo.losses import CrossEntropy

    check_attack("pgd", epsilon, 0.0, low, high, steps, step_size)
    check_restarts("pgd", restarts, random_start)
    if len(x) != len(y) or not len(x):
        raise invalid("pgd needs a target for each input, and one at least", (len(x), len(y)))
    loss = loss or CrossEntropy(reduction=None)
    attack = Attack(epsilon, steps, step_size or 2.5 * epsilon / steps, random_start, low, high)
    seeds = None if seed is None else keras.random.SeedGenerator(seed)
    scale = gradient_scale(model)

    def losses(value, target):
        logits = model(value, training=False)
        return ops.cast(loss(target, logits), "float32"), logits

    def upwards(value, origin, target):
        (gradient,) = gradient_of(lambda v: scale * ops.sum(losses(v[0], target)[0]), [value])
        return attack.step(value, gradient, origin)

    upwards, losses = _compiled(upwards), _compiled(losses)
    x, y = np.asarray(x, "float32"), np.asarray(y)
    found, highest, standing = x.copy(), np.full(len(x), -np.inf), np.ones(len(x), bool)
    for restart in range(1, restarts + 1):
        left = np.flatnonzero(standing)
        for start in range(0, len(left), batch_size):
            rows = left[start : start + batch_size]
            filled = _filled(rows, min(batch_size, len(x)))
            origin, target = ops.convert_to_tensor(x[filled]), ops.convert_to_tensor(y[filled])
            value = attack.start(origin, seeds)
            for _ in range(steps):
                value = upwards(value, origin, target)
            ends = [ops.convert_to_numpy(part)[: len(rows)] for part in (value, *losses(value, target))]
            misled = ~right_answers(ends[2], y[rows])
            higher = misled | ~(ends[1] <= highest[rows])
            found[rows[higher]], highest[rows[higher]] = ends[0][higher], ends[1][higher]
            standing[rows[misled]] = False
            if told:
                told(restart, start + len(rows), int(len(x) - standing.sum()))
    return found


def right_answers(logits, targets):
    """Returns for each row of logits (n, classes), or (n, 1), whether it answers as the target says, a bool array."""
    logits, targets = np.asarray(logits), np.asarray(targets)
    if logits.shape[-1] == 1:
        return (logits[:, 0] > 0) == (targets.reshape(-1) > 0.5)
    wanted = targets.argmax(-1) if targets.shape == logits.shape else targets.reshape(-1)
    return logits.argmax(-1) == wanted


def _filled(rows, size):
    """Returns row numbers repeated up to a batch's size where a backend would compile each size anew."""
    return np.resize(rows, size) if keras.backend.backend() == "jax" else rows


def _compiled(function):
    """Returns a function of tensors compiled by the backend, where it compiles; Keras has no call for that."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(function, reduce_retracing=True)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return function
