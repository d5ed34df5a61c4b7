"""Inception-v3: parallel branches of small and factorised convolutions; and a small one from the same blocks.

Paper: Szegedy et al., 2015, https://arxiv.org/abs/1512.00567, table 1, figures 5 to 7 and 10, section 4
Shapes: image (B, H, W, C), float32 -> logits (B, num_classes), with `aux` also aux_logits (B, num_classes)
Departures: filters, unpadded stem and order of the factors as in the authors' published weights, which table 1 only
    outlines. Flavour "torch" (timm, torchvision) scales in its batch norms and averages the zeros around an image into
    its 3 x 3 means; "keras" (keras.applications) does neither.
"""

import functools

import keras
from keras import layers

from zoo.errors import invalid
from zoo.layers.ends import choice, image_at_least, image_input, logits_layer, positive, rate
from zoo.layers.norms import activated, norm_layer
from zoo.registry import register

VARIANTS = {
    "inception_v3": {},
    "inception_small": {
        "stem": "3x3",
        "pool_filters": (32, 64),
        "factorised_filters": (128, 192),
        "wide_blocks": 1,
        "width": 0.25,
        "image_shape": (32, 32, 3),
        "num_classes": 10,
    },
}
SMALLEST = {"7x": 75, "3x3": 7}  # pixels on a side that leave one pixel after the last reduction


def conv_norm(x, filters, kernel_size, stride=1, padding="same", *, width, norm, activation, flavour, name):
    """A convolution, normalised (it then needs no bias of its own), and its activation.

    Args:
        filters: of the full net; `width` times as many here, at least one.
        flavour: "keras" has no scale in batch norms.
    """
    x = layers.Conv2D(
        max(1, round(filters * width)),
        kernel_size,
        stride,
        padding,
        use_bias=norm is None,
        kernel_initializer="he_uniform",
        name=f"{name}_conv",
    )(x)
    if norm == "batch" and flavour == "keras":
        x = layers.BatchNormalization(epsilon=1e-3, momentum=0.99, scale=False, name=f"{name}_norm")(x)
    else:
        x = norm_layer(x, norm, epsilon=1e-3, momentum=0.9, name=f"{name}_norm")
    return activated(x, activation, name=f"{name}_{activation}")


def chain(x, conv, *steps, name):
    """Convolutions on top of each other, numbered from 1; a step is (filters, kernel size, stride, padding)."""
    for i, step in enumerate(steps, start=1):
        x = conv(x, *step, name=f"{name}_{i}")
    return x


def averaged(x, filters, conv, *, flavour, name):
    """The branch of 3 x 3 means and a 1 x 1 convolution; at the image's edge, see the module's departures."""
    padding = "same"  # means of the pixels inside the image
    if flavour == "torch":
        x = layers.ZeroPadding2D(1, name=f"{name}_pad")(x)
        padding = "valid"
    x = layers.AveragePooling2D(3, 1, padding, name=f"{name}_mean")(x)
    return conv(x, filters, 1, name=name)


def block_a(x, pool_filters, conv, mean, *, name):
    """Figure 5: 1 x 1; 5 x 5; 3 x 3 twice, in place of a larger one; means."""
    branches = [
        conv(x, 64, 1, name=f"{name}_1x1"),
        chain(x, conv, (48, 1), (64, 5), name=f"{name}_5x5"),
        chain(x, conv, (64, 1), (96, 3), (96, 3), name=f"{name}_3x3dbl"),
        mean(x, pool_filters, conv, name=f"{name}_pool"),
    ]
    return layers.Concatenate(name=name)(branches)


def reduction_a(x, conv, *, name):
    """Figure 10: halves the grid by convolutions and by pooling side by side."""
    branches = [
        conv(x, 384, 3, 2, "valid", name=f"{name}_3x3"),
        chain(x, conv, (64, 1), (96, 3), (96, 3, 2, "valid"), name=f"{name}_3x3dbl"),
        layers.MaxPooling2D(3, 2, name=f"{name}_pool")(x),
    ]
    return layers.Concatenate(name=name)(branches)


def block_b(x, filters, conv, mean, *, name):
    """Figure 6: 7 x 7 convolutions factorised into 1 x 7 and 7 x 1, once and twice."""
    across, down = (1, 7), (7, 1)
    twice = ((filters, 1), (filters, down), (filters, across), (filters, down), (192, across))
    branches = [
        conv(x, 192, 1, name=f"{name}_1x1"),
        chain(x, conv, (filters, 1), (filters, across), (192, down), name=f"{name}_7x7"),
        chain(x, conv, *twice, name=f"{name}_7x7dbl"),
        mean(x, 192, conv, name=f"{name}_pool"),
    ]
    return layers.Concatenate(name=name)(branches)


def reduction_b(x, conv, *, name):
    """Halves the grid as `reduction_a` does, by a 3 x 3 convolution and by one on top of a factorised 7 x 7."""
    branches = [
        chain(x, conv, (192, 1), (320, 3, 2, "valid"), name=f"{name}_3x3"),
        chain(x, conv, (192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3, 2, "valid"), name=f"{name}_7x7x3"),
        layers.MaxPooling2D(3, 2, name=f"{name}_pool")(x),
    ]
    return layers.Concatenate(name=name)(branches)


def block_c(x, conv, mean, *, name):
    """Figure 7: 1 x 3 and 3 x 1 side by side, which widens the coarsest grid."""
    single = conv(x, 384, 1, name=f"{name}_3x3_1")
    double = chain(x, conv, (448, 1), (384, 3), name=f"{name}_3x3dbl")
    branches = [
        conv(x, 320, 1, name=f"{name}_1x1"),
        conv(single, 384, (1, 3), name=f"{name}_3x3_2a"),
        conv(single, 384, (3, 1), name=f"{name}_3x3_2b"),
        conv(double, 384, (1, 3), name=f"{name}_3x3dbl_3a"),
        conv(double, 384, (3, 1), name=f"{name}_3x3dbl_3b"),
        mean(x, 192, conv, name=f"{name}_pool"),
    ]
    return layers.Concatenate(name=name)(branches)


def aux_head(x, num_classes, conv):
    """Section 4: a classifier on the last 17 x 17 grid, which regularises; windows shrink to fit a smaller grid."""
    size = min(5, *x.shape[1:3])
    x = layers.AveragePooling2D(size, 3, name="aux_mean")(x)
    x = conv(x, 128, 1, name="aux_1")
    x = conv(x, 768, tuple(min(5, side) for side in x.shape[1:3]), 1, "valid", name="aux_2")
    x = layers.GlobalAveragePooling2D(name="aux_pool")(x)
    return logits_layer(num_classes, name="aux_logits")(x)


def heads(arguments):
    """Returns the heads of a net with the auxiliary one, which counts 0.4 in the authors' code; else None."""
    if not arguments["aux"]:
        return None
    kind = "sigmoid" if arguments["num_classes"] == 1 else "softmax"
    return {"logits": {"kind": kind, "weight": 1.0}, "aux_logits": {"kind": kind, "weight": 0.4}}


@register("inception_v3", task="image_classification", variants=VARIANTS, heads=heads)
def inception_v3(
    *,
    stem: str = "7x",
    pool_filters: tuple = (32, 64, 64),
    factorised_filters: tuple = (128, 160, 160, 192),
    wide_blocks: int = 2,
    width: float = 1.0,
    aux: bool = False,
    flavour: str = "torch",
    image_shape: tuple = (299, 299, 3),
    num_classes: int = 1000,
    norm: str | None = "batch",
    activation: str = "relu",
    drop_rate: float = 0.2,
    include_top: bool = True,
):
    """Builds Inception-v3; 23,834,568 trainable parameters at the defaults, 27,161,264 with the auxiliary head.

    Args:
        stem: "7x" divides the resolution by about eight; "3x3", for small images, keeps it.
        pool_filters: of the averaging branch of each block A; () for none.
        factorised_filters: inside the factorised convolutions of each block B; () for none.
        wide_blocks: blocks C; 0 for none.
        width: of every convolution, in units of the full net's.
        aux: whether to add the auxiliary classifier; the outputs are then a dict of "logits" and "aux_logits".
        flavour: "torch" or "keras", whose weights the network can hold: see the module's departures.
        image_shape: (H, W, C).
        num_classes: outputs; 1 is a binary classifier.
        norm: "batch", "group" or "layer" after every convolution, or None.
        activation: "relu", "gelu" or "silu".
        drop_rate: dropout before the logits, 0.2 in the authors' code.
        include_top: whether the logits follow; False ends in the pooled features, layer "pool" (B, F).

    Returns:
        `keras.Model`, image (B, H, W, C) -> logits (B, num_classes).

    Raises:
        InvalidArgument: a size is not positive, the image is smaller than the downsampling, a word is not one of
            those above, or there is an auxiliary head without a top.
    """
    choice(SMALLEST, stem=stem)
    choice(("torch", "keras"), flavour=flavour)
    for name, filters in (("pool_filters", pool_filters), ("factorised_filters", factorised_filters)):
        positive(**{f"{name}[{i}]": count for i, count in enumerate(filters)})
    positive(num_classes=num_classes)
    rate(drop_rate=drop_rate)
    if wide_blocks < 0:
        raise invalid("`wide_blocks` must not be negative", wide_blocks, "The full net has 2.")
    if not width > 0:
        raise invalid("`width` must be positive", width, "Half of the filters: width=0.5.")
    if aux and not include_top:
        raise invalid("`aux` adds a classifier, and `include_top=False` asks for none", (aux, include_top))
    image = x = image_input(image_shape)
    image_at_least(SMALLEST[stem], image_shape)
    conv = functools.partial(conv_norm, width=width, norm=norm, activation=activation, flavour=flavour)
    mean = functools.partial(averaged, flavour=flavour)

    # Stem: 299 x 299 to 35 x 35
    if stem == "3x3":
        x = chain(x, conv, (32, 3), (64, 3), name="stem")
    else:
        x = chain(x, conv, (32, 3, 2, "valid"), (32, 3, 1, "valid"), (64, 3), name="stem")
        x = layers.MaxPooling2D(3, 2, name="stem_pool1")(x)
        x = conv(x, 80, 1, name="stem_4")
        x = conv(x, 192, 3, 1, "valid", name="stem_5")
        x = layers.MaxPooling2D(3, 2, name="stem_pool2")(x)

    # Blocks: 35 x 35, 17 x 17, 8 x 8
    for i, filters in enumerate(pool_filters, start=1):
        x = block_a(x, filters, conv, mean, name=f"a{i}")
    x = reduction_a(x, conv, name="reduction_a")
    for i, filters in enumerate(factorised_filters, start=1):
        x = block_b(x, filters, conv, mean, name=f"b{i}")
    fine = x
    x = reduction_b(x, conv, name="reduction_b")
    for i in range(1, wide_blocks + 1):
        x = block_c(x, conv, mean, name=f"c{i}")

    # Top
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if not include_top:
        return keras.Model(image, x, name="inception_v3")
    x = layers.Dropout(drop_rate, name="drop")(x)
    logits = logits_layer(num_classes)(x)
    if aux:
        logits = {"logits": logits, "aux_logits": aux_head(fine, num_classes, conv)}
    return keras.Model(image, logits, name="inception_v3")
