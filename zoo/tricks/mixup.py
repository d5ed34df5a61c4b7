"""Mixup: each training image is a blend of two, and so is its label.

Paper: Zhang et al., 2017, https://arxiv.org/abs/1710.09412, section 2
Use when: a classifier of images remembers its training set, or some labels are wrong.
Start with: alpha=0.2, within the paper's range for ImageNet; 1 for CIFAR-10. It asks for more epochs than plain
    training.
Formula: x = s x_i + (1 - s) x_j, t = s t_i + (1 - s) t_j, s drawn from Beta(alpha, alpha)
Composes with: cutmix (each batch gets one or the other, with equal odds), every augmentation, class_balance (the
    weights of the two examples are blended too, so that the loss is the sum of their weighted losses).
Conflicts with: label_smoothing and focal, which train but warn; models that read words, tables or several inputs.
Departures: s is drawn for each example, where the paper's code draws one for a batch. keras.layers.MixUp takes no seed
    that changes from batch to batch, so a resumed run could not repeat its batches with it.
"""

from dataclasses import dataclass

from zoo.errors import invalid
from zoo.mixing import CLASHES, beta, mixing, partners_of
from zoo.registry import trick


def mixup(images, seeds, *, alpha):
    """Blends each image with another of the batch.

    Args:
        images: (B, H, W, C) TensorFlow tensor.
        seeds: int32 (2,); the same seeds give the same blends.
        alpha: of the Beta distribution; the larger, the nearer to halves.

    Returns:
        `(images, shares, partners)`: the share of each own image, float32 (B,), and who gave the rest, int32 (B,).
    """
    import tensorflow as tf

    drawn, order = tf.unstack(tf.random.experimental.stateless_split(seeds, 2))
    shares, partners = beta(drawn, alpha, tf.shape(images)[0]), partners_of(order, tf.shape(images)[0])
    images, own = tf.cast(images, "float32"), shares[:, None, None, None]
    return own * images + (1 - own) * tf.gather(images, partners), shares, partners


@trick("mixup", stage="data")
@dataclass(frozen=True)
class Mixup:
    """See the card above. `alpha`: of the Beta distribution that the shares are drawn from, positive."""

    alpha: float = 0.2

    clashes = CLASHES

    def __post_init__(self):
        if not 0 < self.alpha < float("inf"):
            raise invalid("mixup: `alpha` must be positive", self.alpha, "The paper's for ImageNet is 0.2.")

    def apply(self, plan):
        return mixing(plan, "mixup", lambda images, seeds: mixup(images, seeds, alpha=self.alpha))

    def explain(self, plan):
        spread = (0.25 / (2 * self.alpha + 1)) ** 0.5  # the standard deviation of Beta(a, a)
        return (
            f"each training image is s of itself and 1 - s of another, its label too; s has mean 0.5 and standard "
            f"deviation {spread:.2f}, from Beta({self.alpha:g}, {self.alpha:g})"
        )
