"""RandAugment: each training image goes through a few operations drawn from fourteen, all at one strength.

Paper: Cubuk et al., 2019, https://arxiv.org/abs/1909.13719, section 3; strengths as in torchvision
Use when: photographs are few for the model, and training accuracy runs ahead.
Start with: num_ops=2, magnitude=9; more magnitude for larger models (the paper's figure 1), less for digits.
Formula: num_ops operations drawn anew for each image, each at strength magnitude / 30 of its range
Composes with: flip_crop, gridmask, random_erasing, mixup, cutmix, which come after it.
Conflicts with: nothing; images with a meaning that colours or turns change need another augmentation.
Departures: shears are about the image's centre; grey images have no `color`; an operation that has a direction or
    factor draws its sign for each image.
Cost: about as much as a small convolution on the CPU, beside training; tests/benchmarks/augmentation_share.py measures.
"""

from dataclasses import dataclass

from zoo import pixels
from zoo.augmentation import PIXELS, image_input, placed
from zoo.errors import invalid
from zoo.registry import trick

STRONGEST = 30

# name -> what the operation gets at strength m of 0 to 1 and sign s of 1 or -1
OPERATIONS = {
    "identity": None,
    "shear_x": lambda m, s: 0.3 * m * s,
    "shear_y": lambda m, s: 0.3 * m * s,
    "translate_x": lambda m, s: 150 / 331 * m * s,  # of the width; 331 pixels is where AutoAugment set its 150
    "translate_y": lambda m, s: 150 / 331 * m * s,
    "rotate": lambda m, s: 30.0 * m * s,
    "brightness": lambda m, s: 1 + 0.9 * m * s,
    "color": lambda m, s: 1 + 0.9 * m * s,
    "contrast": lambda m, s: 1 + 0.9 * m * s,
    "sharpness": lambda m, s: 1 + 0.9 * m * s,
    "posterize": lambda m, s: 8 - round(4 * m) + 0 * s,
    "solarize": lambda m, s: (1 - m) * 256 / 255 + 0 * s,  # without strength even white stays
    "autocontrast": lambda m, s: s,
    "equalize": lambda m, s: s,
}


def operations(channels):
    """Returns the names of the operations that change images of so many channels, and "identity"."""
    return [name for name in OPERATIONS if name != "color" or channels == 3]


def randaugment(images, seeds, *, num_ops, magnitude):
    """Applies random operations to each image.

    Args:
        images: (B, H, W, C) TensorFlow float32 tensor of 0 to 1.
        seeds: int32 (2,); the same seeds give the same images.
        num_ops: operations in a row, each drawn anew for each image.
        magnitude: strength, 0 to 30.
    """
    import tensorflow as tf

    names, count = operations(images.shape[-1]), tf.shape(images)[0]
    for seed in tf.unstack(tf.random.experimental.stateless_split(seeds, num_ops)):
        kind, side = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        drawn = tf.random.stateless_uniform((count,), kind, 0, len(names), "int32")
        signs = tf.where(tf.random.stateless_uniform((count,), side) < 0.5, -1.0, 1.0)
        groups, group_signs, rows = (
            tf.dynamic_partition(part, drawn, len(names)) for part in (images, signs, tf.range(count))
        )
        done = [groups[0]] + [
            getattr(pixels, name)(group, OPERATIONS[name](magnitude / STRONGEST, sign))
            for name, group, sign in list(zip(names, groups, group_signs, strict=True))[1:]
        ]
        images = tf.ensure_shape(tf.dynamic_stitch(rows, done), images.shape)
    return images


@trick("randaugment", stage="data")
@dataclass(frozen=True)
class Randaugment:
    """See the card above.

    `num_ops`: operations for each image, 1 or more. `magnitude`: strength, 0 to 30. `low`, `high`: the numbers that
    stand for black and white; by default what the model's preprocessing declares, else 0 and 1.
    """

    num_ops: int = 2
    magnitude: float = 9.0
    low: float | None = None
    high: float | None = None

    def __post_init__(self):
        if self.num_ops < 1:
            raise invalid("randaugment: `num_ops` must be 1 or more", self.num_ops)
        if not 0 <= self.magnitude <= STRONGEST:
            raise invalid(f"randaugment: `magnitude` must be in [0, {STRONGEST}]", self.magnitude)
        pixels.check_limits("randaugment", self.low, self.high)

    def apply(self, plan):
        image_input(plan, "randaugment")
        span = pixels.PixelRange("randaugment", plan.model, self.low, self.high)

        @placed(PIXELS, span.check)
        def augment(images, y, seeds):
            def change(images):
                return randaugment(images, seeds, num_ops=self.num_ops, magnitude=self.magnitude)

            return span.within(change, images), y

        return plan.adding("augment", augment)

    def explain(self, plan):
        height, width, channels = image_input(plan, "randaugment")
        m = self.magnitude / STRONGEST
        return (
            f"each {height} x {width} training image goes through {self.num_ops} of {len(operations(channels))} "
            f"operations; at strength {self.magnitude:g} of {STRONGEST} they turn by up to {30 * m:.3g} degrees, shift "
            f"by {150 / 331 * m * width:.3g} pixels, and change brightness or contrast by {0.9 * m:.0%}"
        )
