"""CutMix: a rectangle of each training image comes from another one, and the label by its area.

Paper: Yun et al., 2019, https://arxiv.org/abs/1905.04899, section 3.1
Use when: a classifier of photographs looks at too small a part of an object, or remembers its training set.
Start with: alpha=1, the paper's. It asks for more epochs than plain training.
Formula: x = M x_i + (1 - M) x_j, t = s t_i + (1 - s) t_j, s the share of the pixels that M keeps; the rectangle's
    sides are sqrt(1 - u) of the image's, u from Beta(alpha, alpha), its centre anywhere
Composes with: mixup (each batch gets one or the other, with equal odds), every augmentation, class_balance (the
    weights of the two examples are blended too).
Conflicts with: label_smoothing and focal, which train but warn; models that read words, tables or several inputs.
Departures: a rectangle is drawn for each example, where the paper's code draws one for a batch, and its sides may be
    odd, which matters for small images. keras.layers.CutMix takes no seed that changes from batch to batch; keras-cv's
    gives labels by the area before clipping.
"""

from dataclasses import dataclass

from zoo.errors import invalid
from zoo.mixing import CLASHES, beta, mixing, partners_of
from zoo.registry import trick


def boxes(seeds, alpha, count, height, width):
    """Returns `(top, bottom, left, right)` of random rectangles, int32 (count,) each, clipped to the image."""
    import tensorflow as tf

    size, rows, columns = tf.unstack(tf.random.experimental.stateless_split(seeds, 3))
    side = tf.sqrt(1.0 - beta(size, alpha, count))

    def edges(seed, length):
        cut = tf.cast(tf.round(side * length), "int32")
        first = tf.random.stateless_uniform((count,), seed, 0, length, "int32") - cut // 2
        return tf.maximum(first, 0), tf.minimum(first + cut, length)

    return *edges(rows, height), *edges(columns, width)


def cutmix(images, seeds, *, alpha):
    """Pastes a rectangle of another image of the batch into each image.

    Args:
        images: (B, H, W, C) TensorFlow tensor.
        seeds: int32 (2,); the same seeds give the same rectangles.
        alpha: of the Beta distribution of the share that is kept, before the rectangle is clipped.

    Returns:
        `(images, shares, partners)`: the exact share of pixels each image kept, float32 (B,), and who gave the rest,
        int32 (B,).
    """
    import tensorflow as tf

    drawn, order = tf.unstack(tf.random.experimental.stateless_split(seeds, 2))
    count, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    top, bottom, left, right = boxes(drawn, alpha, count, height, width)
    partners = partners_of(order, count)

    def between(low, high, length):
        places = tf.range(length)
        return (places >= low[:, None]) & (places < high[:, None])

    pasted = between(top, bottom, height)[:, :, None, None] & between(left, right, width)[:, None, :, None]
    area = tf.cast((bottom - top) * (right - left), "float32")
    return tf.where(pasted, tf.gather(images, partners), images), 1.0 - area / (height * width), partners


@trick("cutmix", stage="data")
@dataclass(frozen=True)
class Cutmix:
    """See the card above. `alpha`: of the Beta distribution of the kept share, positive; 1 draws it evenly."""

    alpha: float = 1.0

    clashes = CLASHES

    def __post_init__(self):
        if not 0 < self.alpha < float("inf"):
            raise invalid("cutmix: `alpha` must be positive", self.alpha, "The paper's is 1.")

    def apply(self, plan):
        return mixing(plan, "cutmix", lambda images, seeds: cutmix(images, seeds, alpha=self.alpha))

    def explain(self, plan):
        height, width, _ = plan.model.inputs[0].shape[1:]
        return (
            f"a rectangle of each {height} x {width} training image, up to the whole of it, comes from another; its "
            f"label is that of both by their pixels; the kept share before clipping is Beta({self.alpha:g}, "
            f"{self.alpha:g})"
        )
