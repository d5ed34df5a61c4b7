"""A small convnet for images, of depthwise separable convolutions after the first.

Paper: Chollet, 2016, https://arxiv.org/abs/1610.02357, section 2 (the convolution)
Shapes: image (B, H, W, C), float32 -> logits (B, num_classes)
Departures: the network is the plain stack of Chollet, 2017, section 7.3.2, with its pairs of convolutions and max
    pooling between them; batch normalisation after each convolution and `shortcut` are additions.
"""

import keras
from keras import layers

from zoo.errors import invalid
from zoo.layers.ends import choice, image_at_least, image_input, logits_layer, positive, rate
from zoo.layers.norms import activated, norm_layer
from zoo.layers.separable import separable_conv
from zoo.registry import register

VARIANTS = {"separable": {}}


@register("separable", task="image_classification", variants=VARIANTS)
def separable(
    *,
    filters: tuple = (32, 64, 128),
    image_shape: tuple = (32, 32, 3),
    num_classes: int = 10,
    norm: str | None = "batch",
    activation: str = "relu",
    drop_rate: float = 0.2,
    shortcut: str | None = None,
    separable: bool = True,
    include_top: bool = True,
):
    """Builds a depthwise separable convnet; 37,674 trainable weights by default.

    Args:
        filters: of each pair of 3 x 3 convolutions; max pooling halves height and width between two pairs.
        image_shape: (H, W, C).
        num_classes: outputs; 1 is a binary classifier.
        norm: after each convolution "batch", "group", "layer" or None.
        activation: "relu", "gelu" or "silu".
        drop_rate: dropout of the pooled features.
        shortcut: "projection" adds a 1 x 1 convolution of a pair's input to its output; None does not.
        separable: False makes all convolutions ordinary ones.
        include_top: whether logits follow; False ends in the pooled features, layer "pool" (B, F).

    Returns:
        `keras.Model`, image (B, H, W, C) -> logits (B, num_classes).

    Raises:
        InvalidArgument: a size is not positive, a rate is outside [0, 1), the image is smaller than the pooling
            needs, or a word is not one of those above.
    """
    if not filters:
        raise invalid("`filters` needs at least one number", filters, "Such as (32, 64).")
    positive(num_classes=num_classes, **{f"filters[{i}]": n for i, n in enumerate(filters)})
    rate(drop_rate=drop_rate)
    choice(("projection", None), shortcut=shortcut)
    image = x = image_input(image_shape)
    image_at_least(2 ** (len(filters) - 1), image_shape)
    bias = {"use_bias": norm is None}
    for block, width in enumerate(filters, start=1):
        kept = x
        for i in (1, 2):
            name = f"block{block}_{i}"
            if separable and (block, i) != (1, 1):  # the image's few channels have little to keep apart
                x = separable_conv(x, width, 3, name=f"{name}_conv", **bias)
            else:
                kernel = {"padding": "same", "kernel_initializer": "he_uniform"}
                x = layers.Conv2D(width, 3, name=f"{name}_conv", **kernel, **bias)(x)
            x = norm_layer(x, norm, name=f"{name}_norm", momentum=0.9)
            x = activated(x, activation, name=f"{name}_{activation}")  # (B, H, W, width)
        if shortcut:
            kept = layers.Conv2D(width, 1, name=f"block{block}_shortcut")(kept)
            x = layers.Add(name=f"block{block}_add")([kept, x])
        if block < len(filters):
            x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if not include_top:
        return keras.Model(image, x, name="separable")
    x = layers.Dropout(drop_rate, name="drop")(x)
    return keras.Model(image, logits_layer(num_classes)(x), name="separable")
