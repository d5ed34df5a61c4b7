"""GridMask: squares on a regular grid are cut out of training images.

Paper: Chen et al., 2020, https://arxiv.org/abs/2001.04086, section 3
Use when: photographs are recognised by one small part; a single cut-out box covers either too much or nothing.
Start with: keep=0.6, units of 0.4 to 1 of the shorter side and probability=0.7, near the paper's for ImageNet.
Formula: x' = x M, M = 0 where (i + di) mod d < r and (j + dj) mod d < r, r = d - round(keep d)
Composes with: every augmentation; it comes after flip_crop and randaugment and before mixup and cutmix.
Conflicts with: nothing; random_erasing does the same work once more.
Departures: the probability is constant, where the paper raises it from 0 over the epochs; the grid is not turned.
"""

from dataclasses import dataclass

from zoo.augmentation import COVERS, image_input, placed
from zoo.errors import invalid
from zoo.registry import trick


def grid(seeds, count, height, width, *, keep, smallest, largest):
    """Returns masks, bool (count, height, width), true where a pixel is kept.

    Args:
        seeds: int32 (2,).
        keep: share of a unit's side that is kept.
        smallest, largest: limits of a unit's side, in pixels; each mask draws its own, and where its grid starts.
    """
    import tensorflow as tf

    sides, rows, columns = tf.unstack(tf.random.experimental.stateless_split(seeds, 3))
    unit = tf.random.stateless_uniform((count, 1), sides, smallest, largest + 1, "int32")
    hole = unit - tf.cast(tf.round(keep * tf.cast(unit, "float32")), "int32")

    def covered(seed, length):
        start = tf.cast(tf.random.stateless_uniform((count, 1), seed) * tf.cast(unit, "float32"), "int32")
        return (tf.range(length) + start) % unit < hole  # (count, length)

    return ~(covered(rows, height)[:, :, None] & covered(columns, width)[:, None, :])


@trick("gridmask", stage="data")
@dataclass(frozen=True)
class Gridmask:
    """See the card above.

    `keep`: share of each unit's side that is kept, in (0, 1). `smallest`, `largest`: limits of a unit's side, as
    shares of the image's shorter side. `probability`: share of the images that are masked, in (0, 1].
    """

    keep: float = 0.6
    smallest: float = 0.4
    largest: float = 1.0
    probability: float = 0.7

    def __post_init__(self):
        if not 0 < self.keep < 1:
            raise invalid("gridmask: `keep` must be between 0 and 1", self.keep)
        if not 0 < self.smallest <= self.largest <= 1:
            wrong = "gridmask: units run from `smallest` to `largest`, in (0, 1]"
            raise invalid(wrong, (self.smallest, self.largest))
        if not 0 < self.probability <= 1:
            raise invalid("gridmask: `probability` must be in (0, 1]", self.probability)

    def apply(self, plan):
        smallest, largest, _ = self._units(plan)

        @placed(COVERS)
        def augment(images, y, seeds):
            import tensorflow as tf

            masks, chance = tf.unstack(tf.random.experimental.stateless_split(seeds, 2))
            count, height, width = tf.shape(images)[0], *images.shape[1:3]
            kept = grid(masks, count, height, width, keep=self.keep, smallest=smallest, largest=largest)
            kept |= (tf.random.stateless_uniform((count,), chance) >= self.probability)[:, None, None]
            return tf.where(kept[..., None], images, tf.zeros((), images.dtype)), y

        return plan.adding("augment", augment)

    def _units(self, plan):
        """Returns the limits of a unit's side in pixels, and the image's shorter side."""
        side = min(image_input(plan, "gridmask")[:2])
        smallest, largest = (max(2, round(share * side)) for share in (self.smallest, self.largest))
        if largest - round(self.keep * largest) < 1:
            works = "Keep less, or let `largest` be more."
            raise invalid(f"gridmask cuts nothing out of {side} pixels", (self.keep, self.largest), works)
        return smallest, largest, side

    def explain(self, plan):
        smallest, largest, side = self._units(plan)
        return (
            f"{self.probability:.0%} of the training images lose squares of {1 - self.keep:.0%} of the side of a "
            f"grid's units, {smallest} to {largest} pixels of {side}: about {(1 - self.keep) ** 2:.0%} of their pixels "
            f"become 0"
        )
