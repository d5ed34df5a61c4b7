"""Random erasing: a rectangle of some training images is covered with noise.

Paper: Zhong et al., 2017, https://arxiv.org/abs/1708.04896, section 3.2
Use when: objects may be hidden in part, as people in re-identification; cheap on top of other augmentation.
Start with: probability=0.25 with other augmentation, the paper's 0.5 alone; area 2% to a third.
Formula: with the given probability a rectangle of a drawn share of the area and a drawn ratio of sides is overwritten
Composes with: every augmentation; it comes after flip_crop and randaugment and before mixup and cutmix.
Conflicts with: nothing; gridmask does the same work once more.
Departures: the aspect ratio is drawn evenly in its logarithm, so that tall and wide are alike; a side that is too long
    is cut to the image's, where the paper draws again.
"""

import math
from dataclasses import dataclass

from zoo.augmentation import COVERS, image_input, placed
from zoo.errors import invalid
from zoo.pixels import PixelRange, check_limits
from zoo.registry import trick

ASPECT = 0.3  # of the narrowest rectangle, the paper's r1; the widest is its inverse
FILLS = ("noise", "mean")


def rectangles(seeds, count, height, width, *, smallest, largest):
    """Returns masks, bool (count, height, width), true inside one random rectangle each.

    Args:
        seeds: int32 (2,).
        smallest, largest: limits of the area, as shares of the image's.
    """
    import tensorflow as tf

    areas, aspects, rows, columns = tf.unstack(tf.random.experimental.stateless_split(seeds, 4))
    area = tf.random.stateless_uniform((count,), areas, smallest, largest) * float(height * width)
    limit = -math.log(ASPECT)
    aspect = tf.exp(tf.random.stateless_uniform((count,), aspects, -limit, limit))

    def inside(seed, side, length):
        side = tf.clip_by_value(tf.cast(tf.round(side), "int32"), 1, length)
        room = tf.cast(length - side + 1, "float32")
        start = tf.cast(tf.random.stateless_uniform((count,), seed) * room, "int32")
        places = tf.range(length)
        return (places >= start[:, None]) & (places < (start + side)[:, None])

    tall, wide = inside(rows, tf.sqrt(area * aspect), height), inside(columns, tf.sqrt(area / aspect), width)
    return tall[:, :, None] & wide[:, None, :]


@trick("random_erasing", stage="data")
@dataclass(frozen=True)
class RandomErasing:
    """See the card above.

    `probability`: share of the images that lose a rectangle, in (0, 1]. `smallest`, `largest`: limits of its area, as
    shares of the image. `fill`: "noise", each pixel from black to white at random, or "mean", the image's own mean
    colour. `low`, `high`: the numbers that stand for black and white; by default what the model's preprocessing
    declares, else 0 and 1.
    """

    probability: float = 0.25
    smallest: float = 0.02
    largest: float = 0.33
    fill: str = "noise"
    low: float | None = None
    high: float | None = None

    def __post_init__(self):
        if not 0 < self.probability <= 1:
            raise invalid("random_erasing: `probability` must be in (0, 1]", self.probability)
        if not 0 < self.smallest <= self.largest <= 1:
            wrong = "random_erasing: areas run from `smallest` to `largest`, in (0, 1]"
            raise invalid(wrong, (self.smallest, self.largest))
        if self.fill not in FILLS:
            raise invalid(f"random_erasing: `fill` must be one of {', '.join(map(repr, FILLS))}", self.fill)
        check_limits("random_erasing", self.low, self.high)

    def apply(self, plan):
        image_input(plan, "random_erasing")
        span = PixelRange("random_erasing", plan.model, self.low, self.high)

        @placed(COVERS, span.check if self.fill == "noise" else None)
        def augment(images, y, seeds):
            import tensorflow as tf

            places, chance, noise = tf.unstack(tf.random.experimental.stateless_split(seeds, 3))
            count, height, width = tf.shape(images)[0], *images.shape[1:3]
            erased = rectangles(places, count, height, width, smallest=self.smallest, largest=self.largest)
            erased &= (tf.random.stateless_uniform((count,), chance) < self.probability)[:, None, None]
            if self.fill == "mean":
                cover = tf.reduce_mean(images, axis=(1, 2), keepdims=True)
            else:
                low, high = span.limits()
                cover = tf.random.stateless_uniform(tf.shape(images), noise) * (high - low) + low
            return tf.where(erased[..., None], tf.cast(cover, images.dtype), images), y

        return plan.adding("augment", augment)

    def explain(self, plan):
        height, width, _ = image_input(plan, "random_erasing")
        what = "noise" if self.fill == "noise" else "their mean colour"
        return (
            f"{self.probability:.0%} of the {height} x {width} training images lose a rectangle of "
            f"{self.smallest * height * width:.0f} to {self.largest * height * width:.0f} pixels to {what}"
        )
