"""Wasserstein GAN: a generator of images and the critic that tells them from real ones, as one model.

Paper: Arjovsky et al., 2017, https://arxiv.org/abs/1701.07875, algorithm 1 (`wgan`: the critic's weights are clipped)
Paper: Gulrajani et al., 2017, https://arxiv.org/abs/1704.00028, algorithm 1 (`wgan_gp`: a gradient penalty)
Shapes: image (B, H, W, C) in [-1, 1] and noise (B, latent_dim), standard normal -> real (B, 1) and fake (B, 1), the
    critic's scores of the image and of what the generator makes of the noise
Departures: the gradient changes its sign between critic and generator, so that the one loss mean(fake) - mean(real)
    trains both against each other; the generator thus steps on the batch of its critic's last step, not on new noise.
    Networks are the DCGAN of the papers at three stages for 28 x 28 images, in Keras's initial weights; the score has
    no bias, which the loss would cancel.
"""

import keras
from keras import layers, ops

from zoo.errors import invalid
from zoo.layers.ends import choice, full_precision, image_input, positive
from zoo.layers.norms import NORMS, activated, norm_layer
from zoo.registry import register

VARIANTS = {
    "wgan": {"critic_norm": "batch", "clip": 0.01, "penalty": 0.0},
    "wgan_gp": {"critic_norm": None, "clip": None, "penalty": 10.0},
}
HEADS = {"real": {"kind": "critic", "weight": -1.0}, "fake": {"kind": "critic", "weight": 1.0}}
KERNEL = 5


def sizes_of(side, stages):
    """Returns a side of the image and what is left of it after each halving, rounded up: 28, 14, 7, 4."""
    sizes = [side]
    for _ in range(stages):
        sizes.append(-(-sizes[-1] // 2))
    return sizes


def reverse(x, *, name=None):
    """Returns `x` itself, bit for bit, with the gradient -1."""
    return ops.subtract(ops.multiply(2.0, ops.stop_gradient(x)), x)


def generator_of(image_shape, latent_dim, widths, norm):
    """Noise (B, latent_dim) -> image (B, H, W, C) in (-1, 1), by transposed convolutions of stride 2."""
    noise = keras.Input((latent_dim,), name="generator_noise")
    heights, breadths = (sizes_of(side, len(widths))[::-1] for side in image_shape[:2])
    filters = [*widths[::-1], image_shape[2]]
    bias = norm is None  # normalisation brings its own
    x = layers.Dense(heights[0] * breadths[0] * filters[0], use_bias=bias, name="generator_dense")(noise)
    x = layers.Reshape((heights[0], breadths[0], filters[0]), name="generator_grid")(x)
    for i in range(1, len(filters)):
        x = norm_layer(x, norm, name=f"generator_norm{i}", epsilon=1e-5, momentum=0.9)
        x = activated(x, "relu", name=f"generator_relu{i}")
        last = i == len(widths)
        x = layers.Conv2DTranspose(filters[i], KERNEL, 2, "same", use_bias=bias or last, name=f"generator_up{i}")(
            x
        )  # (B, 2h, 2w, filters)
        over = (2 * heights[i - 1] - heights[i], 2 * breadths[i - 1] - breadths[i])
        if any(over):
            x = layers.Cropping2D(((0, over[0]), (0, over[1])), name=f"generator_crop{i}")(x)
    image = layers.Activation("tanh", dtype=full_precision(), name="generator_image")(x)
    return keras.Model(noise, image, name="generator")


def critic_of(image_shape, widths, norm):
    """Image (B, H, W, C) -> score (B, 1), any number, by convolutions of stride 2."""
    image = x = image_input(image_shape, name="critic_image")
    for i, filters in enumerate(widths, start=1):
        normed = norm if i > 1 else None  # the first layer sees the image as it is, as in DCGAN
        x = layers.Conv2D(filters, KERNEL, 2, "same", use_bias=normed is None, name=f"critic_conv{i}")(x)
        x = norm_layer(x, normed, name=f"critic_norm{i}", epsilon=1e-5, momentum=0.9)
        x = layers.LeakyReLU(0.2, name=f"critic_relu{i}")(x)  # (B, ceil(h / 2), ceil(w / 2), filters)
    x = layers.Flatten(name="critic_features")(x)
    score = layers.Dense(1, use_bias=False, dtype=full_precision(), name="critic_score")(x)
    return keras.Model(image, score, name="critic")


@register("wgan", task="image_generation", variants=VARIANTS, heads=HEADS)
def wgan(
    *,
    image_shape: tuple = (28, 28, 1),
    latent_dim: int = 128,
    widths: tuple = (64, 128, 256),
    norm: str | None = "batch",
    critic_norm: str | None,
    critic_steps: int = 5,
    clip: float | None,
    penalty: float,
):
    """Builds the whole game; the nested models "generator" and "critic" are `model.get_layer(...)`.

    The last three arguments change no layer: `zoo.adversarial.game` reads them when the model is compiled.

    Args:
        image_shape: (H, W, C).
        latent_dim: numbers of noise that an image is made from.
        widths: filters of the critic's convolutions, each at half the size of the one before; the generator's are
            the mirror image.
        norm: of the generator.
        critic_norm: of the critic; not "batch" with a penalty, which is for each image by itself.
        critic_steps: steps of the critic for one of the generator.
        clip: bound on the size of each weight of the critic, or None.
        penalty: weight of the gradient penalty, or 0.

    Returns:
        `keras.Model`, {"image", "noise"} -> {"real", "fake"}.

    Raises:
        InvalidArgument: a size is not positive, the image is smaller than the downsampling, or the critic is
            bounded in neither way or in both.
    """
    positive(latent_dim=latent_dim, critic_steps=critic_steps)
    choice(NORMS, norm=norm, critic_norm=critic_norm)
    if not widths:
        raise invalid("`widths` needs at least one stage", widths, "The default has three: (64, 128, 256).")
    positive(**{f"widths[{i}]": width for i, width in enumerate(widths)})
    image = image_input(image_shape)
    if min(image_shape[:2]) < 2 ** len(widths):
        works = f"{len(widths)} stages need {2 ** len(widths)} pixels on each side: take fewer `widths`."
        raise invalid("the image is smaller than the downsampling", image_shape, works)
    _check_bound(clip, penalty, critic_norm)

    noise = keras.Input((latent_dim,), name="noise")
    generator = generator_of(image_shape, latent_dim, widths, norm)
    critic = critic_of(image_shape, widths, critic_norm)
    real = layers.Identity(name="real")(critic(image))
    fake = layers.Identity(name="fake")(critic(reverse(generator(noise))))
    return keras.Model({"image": image, "noise": noise}, {"real": real, "fake": fake}, name="wgan")


def _check_bound(clip, penalty, critic_norm):
    """Refuses a critic whose slope nothing bounds, or two things."""
    if clip is not None and clip <= 0:
        raise invalid("`clip` must be positive, or None", clip, "The paper takes 0.01.")
    if penalty < 0:
        raise invalid("`penalty` must be 0 or more", penalty, "The paper takes 10.")
    if (clip is None) != (penalty > 0):
        works = "Choose one: clip=0.01 with penalty=0.0, or clip=None with penalty=10.0."
        wrong = "the critic's slope must be bounded by `clip` or by `penalty`, and not by both"
        raise invalid(wrong, {"clip": clip, "penalty": penalty}, works)
    if penalty and critic_norm == "batch":
        works = 'Normalise each image by itself: critic_norm="layer", "group" or None.'
        raise invalid("`critic_norm` ties the images of a batch, and `penalty` is for each by itself", "batch", works)
