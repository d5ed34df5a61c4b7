"""Mixing two examples of a batch into one: images by the trick's own rule, targets and weights by each one's share."""

from zoo.augmentation import MIXES, image_input
from zoo.errors import invalid

KINDS = ("softmax", "sigmoid")
CLASHES = {  # of every trick that mixes labels
    "label_smoothing": "mixed labels are smoothed labels already, and with both they are softer than either asks for "
    "(Carratino et al., 2020, https://arxiv.org/abs/2006.06049)",
    "focal": "focal loss knows one right class, and on mixed labels its minimum is not at the mixed probabilities (Li "
    "et al., 2020, https://arxiv.org/abs/2006.04388)",
}


def mixing(plan, name, mix):
    """Returns a plan whose training batches are mixed.

    Several ways of mixing share the batches: each batch is mixed in one of them, drawn with equal odds, as timm does.
    One after the other would put four examples into one.

    Args:
        plan: a `Plan`.
        name: of the trick.
        mix: function `(images, seeds) -> (images, shares, partners)` on a TensorFlow batch; example i of the result
            is made of example i by `shares[i]`, float32 (B,), and of example `partners[i]`, int32 (B,), by the rest.

    Raises:
        InvalidArgument: the model has no single image input, or a head whose targets cannot be mixed.
    """
    image_input(plan, name)
    plan.head_for(name, KINDS)
    others = [f"{h.name}: {h.kind}" for h in plan.heads if h.kind not in KINDS]
    if others:
        works = "Mixed examples have mixed classes; drop the term."
        raise invalid(f"{name} finds no classes in some heads of model {plan.name!r}", others, works)
    before = next((f for f in plan.augment if isinstance(f, Mixing)), None)
    made = Mixing(plan.heads, (*(before.ways if before else ()), mix))
    return plan.but(augment=(*(f for f in plan.augment if f is not before), made))


class Mixing:
    """An augment function that mixes each batch in one of several ways. See `mixing`."""

    order = MIXES

    def __init__(self, heads, ways):
        self.heads, self.ways = heads, ways

    def __call__(self, images, y, seeds, weights=None):
        import tensorflow as tf

        draw, seeds = tf.unstack(tf.random.experimental.stateless_split(seeds, 2))
        if len(self.ways) == 1:
            images, shares, partners = self.ways[0](images, seeds)
        else:
            branches = [lambda way=way: way(images, seeds) for way in self.ways]
            chosen = tf.random.stateless_uniform((), draw, 0, len(self.ways), "int32")
            shape = images.shape
            images, shares, partners = tf.switch_case(chosen, branches)
            images = tf.ensure_shape(images, shape)
        targets, kept = {}, {}
        for head in self.heads:
            soft = soft_targets(y[head.name] if isinstance(y, dict) else y, head.units)
            of_head = weights.get(head.name) if isinstance(weights, dict) else weights
            targets[head.name], kept[head.name] = mixed(soft, of_head, shares, partners)
        first = self.heads[0].name
        return (
            images,
            targets if isinstance(y, dict) else targets[first],
            {k: kept[k] for k in weights} if isinstance(weights, dict) else kept[first],
        )


def soft_targets(labels, units):
    """Returns labels as float32 targets (B, units): one-hot of class numbers, 0 or 1 for one unit, others as given."""
    import tensorflow as tf

    if units == 1 or (len(labels.shape) == 2 and labels.shape[-1] == units):
        return tf.reshape(tf.cast(labels, "float32"), (-1, units))
    return tf.one_hot(tf.cast(tf.reshape(labels, (-1,)), "int32"), units)


def mixed(targets, weights, shares, partners):
    """Returns the targets and weights of mixed examples.

    With weights w, the targets are those whose cross-entropy, times the new weight, is the sum of the two examples'
    weighted losses: W = s w_i + (1 - s) w_j and t = (s w_i t_i + (1 - s) w_j t_j) / W.

    Args:
        targets: float32 (B, C).
        weights: (B,) or (B, 1) numbers, or None for equal ones.
        shares, partners: (B,), see `mixing`.
    """
    import tensorflow as tf

    theirs = tf.gather(targets, partners)
    if weights is None:
        return targets * shares[:, None] + theirs * (1.0 - shares)[:, None], None
    weights = tf.reshape(tf.cast(weights, "float32"), (-1,))
    own, other = shares * weights, (1.0 - shares) * tf.gather(weights, partners)
    total = own + other
    part = tf.where(total > 0, own / tf.where(total > 0, total, 1.0), shares)  # of no weight at all: any target will do
    return targets * part[:, None] + theirs * (1.0 - part)[:, None], total


def beta(seeds, alpha, count):
    """Returns `count` float32 draws of a Beta(alpha, alpha) distribution, in [0, 1], never NaN.

    The quotient of two Gamma(alpha) draws, taken in logarithms: where alpha is small, both would underflow to 0.
    """
    import tensorflow as tf

    def log_gamma_draws(seed):  # Gamma(a) is Gamma(a + 1) times U^(1/a) (Marsaglia and Tsang, 2000, section 6)
        larger, power = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        uniform = 1.0 - tf.random.stateless_uniform((count,), power)  # in (0, 1]
        return tf.math.log(tf.random.stateless_gamma((count,), larger, alpha + 1.0)) + tf.math.log(uniform) / alpha

    one, two = map(log_gamma_draws, tf.unstack(tf.random.experimental.stateless_split(seeds, 2)))
    return tf.sigmoid(one - two)


def partners_of(seeds, count):
    """Returns the numbers 0 to `count` - 1 in random order, int32."""
    import tensorflow as tf

    return tf.argsort(tf.random.stateless_uniform((count,), seeds), stable=True)
