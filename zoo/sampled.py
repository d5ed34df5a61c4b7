"""One class against sampled noise in place of a softmax over many: the loss that nce and negative_sampling share."""

import math

import keras
from keras import ops

from zoo.errors import invalid
from zoo.losses import CrossEntropy, are_class_numbers, one_hot_targets, smoothed, standard_loss

NOISES = ("log_uniform", "uniform")


def log_probability(ids, classes, noise):
    """Returns log q(k) of class numbers under the noise, of the shape of `ids`.

    "uniform": q = 1 / V. "log_uniform": q(k) = log((k + 2) / (k + 1)) / log(V + 1), which falls off with the class
    number as frequencies do in a vocabulary that is sorted by them.
    """
    k = ops.cast(ids, "float32")
    if noise == "uniform":
        return ops.zeros_like(k) - math.log(classes)
    return ops.log(ops.log1p(1.0 / (k + 1.0))) - math.log(math.log(classes + 1))


class NoiseClasses(keras.layers.Layer):
    """Draws noise classes; its seed is saved and restored with the model that it is tracked by.

    Args:
        classes: number of classes, V.
        samples: how many are drawn, K, with replacement.
        noise: "log_uniform" or "uniform".
    """

    def __init__(self, classes, samples, noise):
        super().__init__(name="noise_classes")
        self.classes, self.samples, self.noise = classes, samples, noise
        self.seeds = keras.random.SeedGenerator()
        self.in_training = True  # set by the model before each loss
        self.built = True

    def draw(self):
        """Returns class numbers int32 (K,)."""
        u = keras.random.uniform((self.samples,), dtype="float32", seed=self.seeds)
        if self.noise == "uniform":
            k = ops.floor(u * self.classes)
        else:  # the inverse of the distribution's sum, log(k + 2) / log(V + 1)
            k = ops.floor(ops.exp(u * math.log(self.classes + 1))) - 1.0
        return ops.cast(ops.clip(k, 0, self.classes - 1), "int32")


def sampled_loss(targets, logits, noise_ids, *, nce, noise="log_uniform"):
    """Returns the loss of telling each example's class from noise classes, shape (...).

    With s(c) the score of class c, it is -log sigma(s(y)) - sum over k of log sigma(-s(k)). For NCE
    s(c) = z_c - log V - log(K q_c), so that z_c - log V tends to log p_c; for negative sampling s(c) = z_c, and a
    noise class that is the example's own counts for nothing.

    Args:
        targets: class numbers (...), or shares of classes (..., V), for which the first term is their mean.
        logits: z, (..., V).
        noise_ids: class numbers int (K,).
        nce: whether scores are those of noise-contrastive estimation.
        noise: which distribution `noise_ids` are from.
    """
    classes, samples = logits.shape[-1], noise_ids.shape[0]
    noise_ids = ops.cast(noise_ids, "int32")

    def correction(ids):  # in float32, also where logits are of half precision
        return log_probability(ids, classes, noise) + math.log(classes * samples)

    hard = are_class_numbers(targets, logits)
    if hard:
        targets = ops.cast(ops.reshape(targets, (-1, *logits.shape[1:-1])), "int32")  # (B, 1) is (B,) too
        own = ops.squeeze(ops.take_along_axis(logits, targets[..., None], axis=-1), axis=-1)
        own = own - correction(targets) if nce else own
        positive = ops.log_sigmoid(own)  # (...)
    else:
        scores = logits - correction(ops.arange(classes)) if nce else logits
        positive = ops.sum(ops.cast(targets, logits.dtype) * ops.log_sigmoid(scores), axis=-1)
    against = ops.take(logits, noise_ids, axis=-1)  # (..., K)
    if nce:
        return -positive - ops.sum(ops.log_sigmoid(-(against - correction(noise_ids))), axis=-1)
    if hard:
        other = ops.cast(targets[..., None] != noise_ids, logits.dtype)
    else:
        other = 1.0 - ops.take(ops.cast(targets, logits.dtype), noise_ids, axis=-1)
    return -positive - ops.sum(other * ops.log_sigmoid(-against), axis=-1)


class SampledLoss(keras.losses.Loss):
    """`sampled_loss` in training steps; plain cross-entropy in validation, which is then comparable and repeatable.

    Args:
        draws: `NoiseClasses`, tracked by the model.
        nce: see `sampled_loss`.
        label_smoothing: share of the target spread over all classes, in [0, 1).
    """

    def __init__(self, draws, *, nce, label_smoothing=0.0):
        super().__init__(name="nce" if nce else "negative_sampling")
        self._draws, self._nce = draws, nce
        self._whole = CrossEntropy(label_smoothing)
        self.label_smoothing = label_smoothing

    def call(self, y_true, y_pred):
        """Returns the loss of each example, shape (B,), or of each step of a sequence, (B, T)."""
        logits = ops.convert_to_tensor(y_pred)
        if not self._draws.in_training:
            return self._whole.call(y_true, logits)
        if self.label_smoothing:
            y_true = smoothed(one_hot_targets(y_true, logits), self.label_smoothing)
        return sampled_loss(y_true, logits, self._draws.draw(), nce=self._nce, noise=self._draws.noise)


# What the two tricks share


def check(name, samples, noise):
    """Refuses arguments of such a trick that cannot work."""
    if samples < 1:
        raise invalid(f"{name}: `samples` must be 1 or more", samples)
    if noise not in NOISES:
        raise invalid(f"{name}: `noise` must be one of {', '.join(map(repr, NOISES))}", noise)


def heads_with(name, plan, samples):
    """Returns the softmax heads that have more classes than are drawn.

    Raises:
        InvalidArgument: there is none.
    """
    if any(head.kind == "candidates" for head in plan.heads):
        works = f"Build it with loss={name!r}, and say with `negatives` how many noise words."
        wrong = f"{name} finds no softmax head in model {plan.name!r}, which tells one word from noise already"
        raise invalid(wrong, works=works)
    if "sigmoid_head" in plan.tricks:
        wrong = f"{name} tells one class from noise, and sigmoid_head asks about each class on its own"
        raise invalid(wrong, works=f"Drop {name} or sigmoid_head.")
    found = [head for head in plan.head_for(name, ("softmax",)) if head.units > samples]
    if not found:
        has = [f"{head.name}: {head.units} classes" for head in plan.heads]
        works = f"Drop {name}: it is for thousands of classes, as in a language model."
        raise invalid(f"{name} finds no softmax head with more than {samples} classes", has, works)
    return found


def applied(name, plan, samples, noise, *, nce):
    """Returns the plan with the sampled loss for every head that it fits."""
    draws = {head.name: NoiseClasses(head.units, samples, noise) for head in heads_with(name, plan, samples)}

    def loss(head, label_smoothing):
        if head.name in draws:
            return SampledLoss(draws[head.name], nce=nce, label_smoothing=label_smoothing)
        return standard_loss(head, label_smoothing)

    return plan.but(loss=loss).adding("extras", *draws.values())


def explained(name, plan, samples, noise):
    """Returns what such a trick does to a model, in words and numbers."""
    heads = heads_with(name, plan, samples)
    shares = []
    for head in heads:
        often = -math.expm1(samples * math.log1p(-_first(head.units, noise)))
        shares.append(
            f"{head.name!r} tells a class from {samples} of {head.units:,} (class 0 is drawn in {often:.1%} of steps)"
        )
    return f"{'; '.join(shares)}, drawn anew in each step ({noise}); validation uses the whole softmax"


def _first(classes, noise):
    return 1 / classes if noise == "uniform" else math.log(2) / math.log(classes + 1)
