"""The plain convnets that robustness is measured on: some convolutions, one dense layer.

Paper: Madry et al., 2017, https://arxiv.org/abs/1706.06083, section 5 (the network for MNIST, that of a tutorial)
Paper: Wong et al., 2020, https://arxiv.org/abs/2001.03994, appendix (the small one, with strides for pooling)
Shapes: image (B, H, W, C), float32 -> logits (B, num_classes)
Departures: weights start from Glorot's distribution; padding is Keras's "same" also with strides; `norm`, activations
    other than ReLU and dropout are additions.
"""

import keras
from keras import layers

from zoo.errors import invalid
from zoo.layers.ends import choice, image_at_least, image_input, logits_layer, positive, rate
from zoo.layers.norms import activated, norm_layer
from zoo.registry import register

VARIANTS = {
    "convnet": {"filters": (32, 64), "kernel_size": 5, "downsample": "pool", "units": 1024},
    "convnet_small": {"filters": (16, 32), "kernel_size": 4, "downsample": "stride", "units": 100},
}


@register("convnet", task="image_classification", variants=VARIANTS)
def convnet(
    *,
    filters: tuple,
    kernel_size: int,
    downsample: str,
    units: int,
    image_shape: tuple = (28, 28, 1),
    num_classes: int = 10,
    norm: str | None = None,
    activation: str = "relu",
    drop_rate: float = 0.0,
    include_top: bool = True,
):
    """Builds a plain convnet; 3,274,634 parameters by default, 166,406 the small one.

    Args:
        filters: of each convolution; each halves height and width, rounded up.
        kernel_size: of each convolution.
        downsample: how they halve: "pool" takes maxima of 2 x 2, "stride" convolves at every second pixel.
        units: of the dense layer below the logits.
        image_shape: (H, W, C).
        num_classes: outputs; 1 is a binary classifier.
        norm: "batch", "group" or "layer" after every convolution, or None as in the papers.
        activation: "relu", "gelu" or "silu".
        drop_rate: dropout before the logits.
        include_top: whether the logits follow; False ends in the dense layer's features, layer "pool" (B, units).

    Returns:
        `keras.Model`, image (B, H, W, C) -> logits (B, num_classes).

    Raises:
        InvalidArgument: a size is not positive, a rate is outside [0, 1), the image is smaller than the halving
            needs, or a word is not one of those above.
    """
    if not filters:
        raise invalid("`filters` needs at least one number", filters, "Such as (32, 64).")
    positive(kernel_size=kernel_size, units=units, **{f"filters[{i}]": n for i, n in enumerate(filters)})
    rate(drop_rate=drop_rate)
    choice(("pool", "stride"), downsample=downsample)
    image = x = image_input(image_shape)
    image_at_least(2 ** (len(filters) - 1), image_shape)
    strides = 2 if downsample == "stride" else 1
    for i, width in enumerate(filters, start=1):
        options = {"padding": "same", "use_bias": norm is None, "name": f"conv{i}"}
        x = layers.Conv2D(width, kernel_size, strides, **options)(x)
        x = norm_layer(x, norm, name=f"conv{i}_norm")
        x = activated(x, activation, name=f"conv{i}_{activation}")
        if downsample == "pool":
            x = layers.MaxPooling2D(2, padding="same", name=f"conv{i}_pool")(x)  # (B, H/2, W/2, width)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(units, name="dense")(x)
    x = activated(x, activation, name="pool")  # (B, units)
    if not include_top:
        return keras.Model(image, x, name="convnet")
    x = layers.Dropout(drop_rate, name="drop")(x)
    return keras.Model(image, logits_layer(num_classes)(x), name="convnet")
