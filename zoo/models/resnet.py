"""Residual networks: those of the CIFAR section (20 to 110 layers) and those for ImageNet (18 to 152).

Paper: He et al., 2015, https://arxiv.org/abs/1512.03385, table 1 and section 4.2
Shapes: image (B, H, W, C), float32 -> logits (B, num_classes)
Departures: flavour "torch" (timm, torchvision) strides in a bottleneck's 3 x 3 convolution, which Goyal et al. 2017
    found better; "keras" (keras.applications) strides in its first 1 x 1 convolution, as the paper does.
"""

import functools

import keras
from keras import layers, ops

from zoo.errors import invalid
from zoo.layers.ends import choice, image_input, logits_layer, positive
from zoo.registry import register

IMAGENET = {"filters": 64, "stem": "7x7", "shortcut": "projection", "image_shape": (224, 224, 3), "num_classes": 1000}
VARIANTS = {  # residual blocks of each stage
    "resnet20": {"blocks": (3, 3, 3)},
    "resnet32": {"blocks": (5, 5, 5)},
    "resnet44": {"blocks": (7, 7, 7)},
    "resnet56": {"blocks": (9, 9, 9)},
    "resnet110": {"blocks": (18, 18, 18)},
    "resnet18": dict(blocks=(2, 2, 2, 2), **IMAGENET),
    "resnet34": dict(blocks=(3, 4, 6, 3), **IMAGENET),
    "resnet50": dict(blocks=(3, 4, 6, 3), bottleneck=True, **IMAGENET),
    "resnet101": dict(blocks=(3, 4, 23, 3), bottleneck=True, **IMAGENET),
    "resnet152": dict(blocks=(3, 8, 36, 3), bottleneck=True, **IMAGENET),
}
FLAVOURS = {  # batch norm, as the weights that each flavour loads were trained with
    "torch": {"epsilon": 1e-5, "momentum": 0.9},
    "keras": {"epsilon": 1.001e-5, "momentum": 0.99},
}


def conv_norm(x, filters, kernel_size, stride=1, *, epsilon, momentum, name):
    """A convolution without bias, padded alike on all sides, and batch normalisation."""
    padding = "same"
    if stride > 1 and kernel_size > 1:  # here "same" would pad more at the bottom and right than at the top and left
        x = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
        padding = "valid"
    x = layers.Conv2D(
        filters, kernel_size, stride, padding, use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv"
    )(x)
    return layers.BatchNormalization(epsilon=epsilon, momentum=momentum, name=f"{name}_norm")(x)


def shortcut_pad(x, filters, stride, *, name):
    """Option A: every `stride`-th pixel, with zeros for the new channels; no parameters."""
    if stride > 1:
        x = layers.MaxPooling2D(1, stride, name=f"{name}_subsample")(x)
    return ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, filters - x.shape[-1])))


def residual_block(x, filters, stride, conv, *, bottleneck, shortcut, flavour, name):
    """Adds convolutions to their input: two of 3 x 3; in a bottleneck 1 x 1, 3 x 3 and a 1 x 1 four times as wide."""
    out = 4 * filters if bottleneck else filters
    kept = x
    if stride > 1 or x.shape[-1] != out:
        if shortcut == "projection":
            kept = conv(x, out, 1, stride, name=f"{name}_shortcut")
        else:
            kept = shortcut_pad(x, out, stride, name=f"{name}_shortcut")
    if bottleneck:
        first, second = (stride, 1) if flavour == "keras" else (1, stride)
        steps = ((filters, 1, first), (filters, 3, second), (out, 1, 1))
    else:
        steps = ((filters, 3, stride), (filters, 3, 1))
    for i, (width, kernel_size, step) in enumerate(steps, start=1):
        x = conv(x, width, kernel_size, step, name=f"{name}_{i}")
        if i < len(steps):
            x = layers.ReLU(name=f"{name}_{i}_relu")(x)
    x = layers.Add(name=f"{name}_add")([kept, x])
    return layers.ReLU(name=f"{name}_relu")(x)


@register("resnet", task="image_classification", variants=VARIANTS)
def resnet(
    *,
    blocks: tuple,
    filters: int = 16,
    bottleneck: bool = False,
    stem: str = "3x3",
    shortcut: str = "pad",
    flavour: str = "torch",
    image_shape: tuple = (32, 32, 3),
    num_classes: int = 10,
):
    """Builds a residual network.

    Args:
        blocks: residual blocks of each stage; a stage halves height and width and doubles the filters.
        filters: of the first stage.
        bottleneck: blocks of three convolutions that end four times as wide, instead of two.
        stem: "3x3" keeps the resolution; "7x7" with its max pooling divides it by four.
        shortcut: where a block changes the shape, "pad" subsamples and adds zero channels (the paper's option A),
            "projection" is a 1 x 1 convolution (option B).
        flavour: "torch" or "keras", whose weights the network can hold: see the module's departures.
        image_shape: (H, W, C).
        num_classes: outputs; 1 is a binary classifier.

    Returns:
        `keras.Model`, image (B, H, W, C) -> logits (B, num_classes).

    Raises:
        InvalidArgument: a size is not positive, or a word is not one of those above.
    """
    if not blocks:
        raise invalid("`blocks` needs at least one stage", blocks)
    positive(filters=filters, **{f"blocks[{i}]": count for i, count in enumerate(blocks)})
    choice(("3x3", "7x7"), stem=stem)
    choice(("pad", "projection"), shortcut=shortcut)
    choice(FLAVOURS, flavour=flavour)
    conv = functools.partial(conv_norm, **FLAVOURS[flavour])
    image = x = image_input(image_shape)
    if stem == "3x3":
        x = conv(x, filters, 3, name="stem")
        x = layers.ReLU(name="stem_relu")(x)
    else:
        x = conv(x, filters, 7, 2, name="stem")
        x = layers.ReLU(name="stem_relu")(x)
        x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)  # zeros cannot win: the pixels are not negative
        x = layers.MaxPooling2D(3, 2, name="stem_pool")(x)  # (B, H/4, W/4, filters)
    for stage, count in enumerate(blocks):
        for block in range(count):
            x = residual_block(
                x,
                filters * 2**stage,
                2 if stage and not block else 1,
                conv,
                bottleneck=bottleneck,
                shortcut=shortcut,
                flavour=flavour,
                name=f"stage{stage + 1}_block{block + 1}",
            )
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, logits_layer(num_classes, kernel_initializer="he_normal")(x), name="resnet")
