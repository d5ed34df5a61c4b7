"""Operations on batches of images in tf.data: from 0 (black) to 1 (white), (B, H, W, C) float32, one strength each.

They are those of RandAugment (Cubuk et al., 2019) and follow PIL's `ImageOps` and `ImageEnhance`. keras-cv 0.9.0 has
them too, but draws from generators of its own: seeded, its RandAugment and GridMask did not repeat, none of its
augmenters gave a resumed run the batches of an uninterrupted one, and its RandAugment fails on one channel.
"""

import numpy as np

from zoo.data.declarations import completed
from zoo.errors import invalid

_LUMA = (0.299, 0.587, 0.114)  # of red, green and blue in grey, ITU-R BT.601, as PIL has it


class PixelRange:
    """The numbers that stand for black and white in a model's input.

    They are the arguments `low` and `high` where given; else what the model's preprocessing makes of pixels of 0 and of
    the declared maximum, channel by channel; else 0 and 1.

    Args:
        name: of the trick, for messages.
        model: a `keras.Model`; its preprocessing is read when training starts, which may declare it.
        low, high: a number each, or None.
    """

    def __init__(self, name, model, low=None, high=None):
        self.name, self.model, self.given = name, model, (low, high)

    def limits(self):
        """Returns `(low, high)`, float32 (C,) or () each, low below high."""
        low, high = self.given
        if low is not None:
            return np.float32(low), np.float32(high)
        declared = completed(getattr(getattr(self.model, "zoo_spec", None), "preprocessing", None) or {})
        if declared.get("kind") != "image" or declared["maximum"] is None:
            return np.float32(0), np.float32(1)
        mean, std = declared["mean"], declared["std"]
        ends = np.array([0.0, declared["maximum"] * declared["scale"]])[:, None]
        ends = (ends - np.asarray(0.0 if mean is None else mean)) / np.asarray(1.0 if std is None else std)
        return tuple(np.sort(ends, axis=0).astype("float32"))

    def check(self, images):
        """Raises `InvalidArgument` when pixels leave the range by more than an eighth, as none do by ringing."""
        low, high = self.limits()
        room = (high - low) / 8
        if np.any(images < low - room) or np.any(images > high + room):
            works = f"Say what is black and what is white, such as {self.name}(low=0, high=255)."
            found = f"{np.min(images):g} to {np.max(images):g}"
            wrong = f"{self.name} takes pixels of {np.min(low):g} to {np.max(high):g}, and these are {found}"
            raise invalid(wrong, works=works)

    def within(self, function, images):
        """Returns what `function` makes of the images, brought to 0 to 1 for it and back again."""
        import tensorflow as tf

        low, high = self.limits()
        return function((tf.cast(images, "float32") - low) / (high - low)) * (high - low) + low


def check_limits(name, low, high):
    """Raises `InvalidArgument` unless both limits are None, or both are numbers in order."""
    if (low is None) != (high is None) or (low is not None and not low < high):
        raise invalid(f"{name}: `low` and `high` must be given together, low below high", (low, high))


# Moving pixels: about the image's centre, bilinear, black comes in from outside.


def _warp(images, a, b, c, d, dx=0.0, dy=0.0):
    """Gives output pixel (x, y), counted from the centre, the colour at (a x + b y + dx, c x + d y + dy)."""
    import tensorflow as tf

    centre_x, centre_y = (images.shape[2] - 1) / 2, (images.shape[1] - 1) / 2
    rows = [a, b, dx + centre_x - a * centre_x - b * centre_y, c, d, dy + centre_y - c * centre_x - d * centre_y]
    zero = tf.zeros(tf.shape(images)[0])
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([row + zero for row in rows] + [zero, zero], axis=1),
        output_shape=images.shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
    return tf.ensure_shape(moved, (None, *images.shape[1:]))


def rotate(images, degrees):
    """Turns each image clockwise by some degrees, (B,)."""
    import tensorflow as tf

    angle = degrees * (np.pi / 180)
    cos, sin = tf.cos(angle), tf.sin(angle)
    return _warp(images, cos, sin, -sin, cos)


def shear_x(images, slope):
    """Shifts each row sideways by `slope` pixels for each row of distance from the middle."""
    return _warp(images, 1.0, slope, 0.0, 1.0)


def shear_y(images, slope):
    """Shifts each column up or down by `slope` pixels for each column of distance from the middle."""
    return _warp(images, 1.0, 0.0, slope, 1.0)


def translate_x(images, share):
    """Shifts each image to the right by a share of its width."""
    return _warp(images, 1.0, 0.0, 0.0, 1.0, dx=-share * images.shape[2])


def translate_y(images, share):
    """Shifts each image down by a share of its height."""
    return _warp(images, 1.0, 0.0, 0.0, 1.0, dy=-share * images.shape[1])


# Blending with a duller image: factor 0 gives that image, 1 the original, more than 1 exaggerates.


def _blend(images, dull, factor):
    import tensorflow as tf

    return tf.clip_by_value(dull + (images - dull) * factor[:, None, None, None], 0.0, 1.0)


def grey(images):
    """Returns the luminance of RGB images, or the mean of other channels, (B, H, W, 1)."""
    import tensorflow as tf

    weights = _LUMA if images.shape[-1] == 3 else [1 / images.shape[-1]] * images.shape[-1]
    return tf.reduce_sum(images * tf.constant(weights, images.dtype), axis=-1, keepdims=True)


def brightness(images, factor):
    """Blends with black."""
    return _blend(images, 0.0, factor)


def color(images, factor):
    """Blends with the same image in grey."""
    return _blend(images, grey(images), factor)


def contrast(images, factor):
    """Blends with the image's mean grey."""
    import tensorflow as tf

    return _blend(images, tf.reduce_mean(grey(images), axis=(1, 2), keepdims=True), factor)


def sharpness(images, factor):
    """Blends with the image smoothed by [[1, 1, 1], [1, 5, 1], [1, 1, 1]] / 13, its border unsmoothed."""
    import tensorflow as tf

    height, width = images.shape[1:3]
    if min(height, width) < 3:
        return images
    rows = images[:, :-2] + images[:, 1:-1] + images[:, 2:]
    square = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]  # sums of 3 x 3 pixels
    smooth = tf.pad((square + 4 * images[:, 1:-1, 1:-1]) / 13, ((0, 0), (1, 1), (1, 1), (0, 0)))
    inner = np.zeros((1, height, width, 1), bool)
    inner[:, 1:-1, 1:-1] = True
    smooth = tf.where(inner, smooth, images)
    return _blend(images, smooth, factor)


# Tones


def _levels(images):
    """Returns pixels as whole numbers of 0 to 255."""
    import tensorflow as tf

    return tf.cast(tf.round(tf.clip_by_value(images, 0.0, 1.0) * 255.0), "int32")


def posterize(images, bits):
    """Keeps the first few of each pixel's 8 bits, (B,) whole numbers."""
    import tensorflow as tf

    step = tf.cast(2 ** (8 - tf.cast(tf.round(bits), "int32")), "int32")[:, None, None, None]
    return tf.cast(_levels(images) // step * step, images.dtype) / 255.0


def solarize(images, threshold):
    """Turns pixels of at least the threshold into their negative."""
    import tensorflow as tf

    return tf.where(images >= threshold[:, None, None, None], 1.0 - images, images)


def autocontrast(images, unused=None):
    """Stretches each channel so that its darkest pixel is black and its brightest white; a flat one stays."""
    import tensorflow as tf

    low, high = (f(images, axis=(1, 2), keepdims=True) for f in (tf.reduce_min, tf.reduce_max))
    return tf.where(high > low, (images - low) / tf.where(high > low, high - low, 1.0), images)


def equalize(images, unused=None):
    """Spreads each channel's 256 levels so that each range of levels is about equally frequent, as PIL does."""
    import tensorflow as tf

    levels = tf.transpose(_levels(images), (0, 3, 1, 2))  # (B, C, H, W)
    pixels = images.shape[1] * images.shape[2]
    flat = tf.reshape(levels, (-1, pixels))  # (B C, H W)
    rows = tf.range(tf.shape(flat)[0])
    places = flat + 256 * rows[:, None]
    bins = 256 * tf.size(rows)
    histogram = tf.reshape(tf.math.bincount(tf.reshape(places, (-1,)), minlength=bins, maxlength=bins), (-1, 256))
    last = tf.gather(histogram, tf.reduce_max(flat, axis=1), axis=1, batch_dims=1)  # count of the brightest level
    step = (pixels - last) // 255
    below = tf.cumsum(histogram, axis=1, exclusive=True)
    table = tf.minimum((below + (step // 2)[:, None]) // tf.maximum(step, 1)[:, None], 255)
    table = tf.where(step[:, None] > 0, table, tf.range(256))  # too few pixels to spread
    spread = tf.reshape(tf.gather(tf.reshape(table, (-1,)), places), tf.shape(levels))
    return tf.ensure_shape(tf.cast(tf.transpose(spread, (0, 2, 3, 1)), images.dtype) / 255.0, (None, *images.shape[1:]))
