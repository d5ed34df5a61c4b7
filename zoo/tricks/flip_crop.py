"""Random horizontal flips and shifted crops of images.

Paper: He et al., 2015, https://arxiv.org/abs/1512.03385, section 4.2
Use when: images keep their meaning when mirrored and moved: photographs, not digits or letters.
Start with: pad=4 for 32 x 32 images, the paper's.
Formula: image -> crop of the image padded by `pad` zeros, at one of (2 pad + 1)^2 places, mirrored with probability 1/2
Composes with: everything; it runs in tf.data, on training batches only.
Conflicts with: nothing.
"""

from dataclasses import dataclass

from zoo.augmentation import PIXELS, image_input, placed
from zoo.errors import invalid
from zoo.registry import trick


def flip_crop(images, labels, seeds, *, pad, flip):
    """Pads each image by `pad` zeros, takes a crop of the old size anywhere, and mirrors every second one.

    Args:
        images: (B, H, W, C) TensorFlow tensor.
        labels: passed through.
        seeds: int32 (2,); the same seeds give the same crops.
    """
    import tensorflow as tf

    batch, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    rows, columns, mirrored = tf.unstack(tf.random.experimental.stateless_split(seeds, 3))
    top = tf.random.stateless_uniform((batch, 1), rows, 0, 2 * pad + 1, "int32") + tf.range(height)
    left = tf.random.stateless_uniform((batch, 1), columns, 0, 2 * pad + 1, "int32") + tf.range(width)
    if flip:
        turned = tf.random.stateless_uniform((batch, 1), mirrored) < 0.5
        left = tf.where(turned, left[:, ::-1], left)
    padded = tf.pad(images, [(0, 0), (pad, pad), (pad, pad), (0, 0)])
    cropped = tf.gather(tf.gather(padded, top, axis=1, batch_dims=1), left, axis=2, batch_dims=1)
    return tf.ensure_shape(cropped, images.shape), labels


@trick("flip_crop", stage="data")
@dataclass(frozen=True)
class FlipCrop:
    """See the card above. `pad`: largest shift in pixels; `flip`: whether half of the images are mirrored."""

    pad: int = 4
    flip: bool = True

    def __post_init__(self):
        if self.pad < 0 or not (self.pad or self.flip):
            raise invalid("flip_crop: `pad` must be 0 or more, and something must change", (self.pad, self.flip))

    def apply(self, plan):
        image_input(plan, "flip_crop")

        @placed(PIXELS)
        def augment(images, labels, seeds):
            return flip_crop(images, labels, seeds, pad=self.pad, flip=self.flip)

        return plan.adding("augment", augment)

    def explain(self, plan):
        height, width, _ = image_input(plan, "flip_crop")
        places = (2 * self.pad + 1) ** 2 * (2 if self.flip else 1)
        mirrored = ", half of them mirrored" if self.flip else ""
        return f"each {height} x {width} training image moves by up to {self.pad} pixels{mirrored}: {places} versions"
