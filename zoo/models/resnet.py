"""Residual networks, original and pre-activation: for small images (20 to 164 layers) and for ImageNet (18 to 152).

Paper: He et al., 2015, https://arxiv.org/abs/1512.03385, table 1 and section 4.2 (version 1)
Paper: He et al., 2016, https://arxiv.org/abs/1603.05027, figure 4e and appendix (version 2, pre-activation)
Shapes: image (B, H, W, C), float32 -> logits (B, num_classes)
Departures: flavour "torch" (timm, torchvision) strides in a bottleneck's 3 x 3 convolution, which Goyal et al. 2017
    found better; "keras" (keras.applications) strides in its first 1 x 1 convolution, as the paper does. In version 2
    "torch" is the paper's network; "keras" instead strides in a stage's last block, has no normalisation between stem
    and first block, and biases where no normalisation follows directly; "kerashub" (KerasHub, timm's resnetv2) only
    lacks that normalisation, so that its first block normalises. `norm`, activations other than ReLU, `separable` and
    stochastic depth (Huang et al. 2016) came after the paper.
"""

import math
from dataclasses import dataclass

import keras
from keras import layers, ops

from zoo.errors import invalid
from zoo.layers.ends import choice, image_at_least, image_input, logits_layer, positive, rate
from zoo.layers.norms import activated, norm_layer
from zoo.layers.separable import separable_conv
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
    "resnet20v2": {"blocks": (3, 3, 3), "version": 2},
    "resnet56v2": {"blocks": (9, 9, 9), "version": 2},
    "resnet110v2": {"blocks": (18, 18, 18), "version": 2},
    "resnet164v2": {"blocks": (18, 18, 18), "version": 2, "bottleneck": True, "shortcut": "projection"},
    "resnet50v2": dict(blocks=(3, 4, 6, 3), bottleneck=True, version=2, **IMAGENET),
    "resnet101v2": dict(blocks=(3, 4, 23, 3), bottleneck=True, version=2, **IMAGENET),
    "resnet152v2": dict(blocks=(3, 8, 36, 3), bottleneck=True, version=2, **IMAGENET),
}
FLAVOURS = {  # batch norm, as the weights that each flavour loads were trained with
    "torch": {"epsilon": 1e-5, "momentum": 0.9},
    "keras": {"epsilon": 1.001e-5, "momentum": 0.99},
    "kerashub": {"epsilon": 1e-5, "momentum": 0.9},
}


@dataclass(frozen=True)
class Style:
    """What the layers of one network have in common; the attributes are arguments of `resnet`."""

    version: int
    bottleneck: bool
    shortcut: str | None
    flavour: str
    norm: str | None
    activation: str
    separable: bool

    def conv(self, x, filters, kernel_size, stride=1, *, normed=True, name):
        """A convolution padded alike on all sides; it has a bias where no normalisation would take the mean away."""
        use_bias = self.norm is None or (self.flavour == "keras" and not normed)
        padding = "same"
        if (
            stride > 1 and kernel_size > 1
        ):  # here "same" would pad more at the bottom and right than at the top and left
            x = layers.ZeroPadding2D(kernel_size // 2, name=f"{name}_pad")(x)
            padding = "valid"
        if self.separable and kernel_size == 3 and name != "stem":
            return separable_conv(x, filters, 3, stride, padding=padding, use_bias=use_bias, name=f"{name}_conv")
        kernel = {"kernel_initializer": "he_uniform", "use_bias": use_bias}
        return layers.Conv2D(filters, kernel_size, stride, padding, name=f"{name}_conv", **kernel)(x)

    def norm_act(self, x, *, name):
        x = self.normed(x, name=name)
        return activated(x, self.activation, name=f"{name}_{self.activation}")

    def normed(self, x, *, name):
        return norm_layer(x, self.norm, name=f"{name}_norm", **FLAVOURS[self.flavour])

    def convolutions(self, filters, stride):
        """Returns (filters, kernel size, stride) of a block's convolutions."""
        if not self.bottleneck:
            return (filters, 3, stride), (filters, 3, 1)
        first, second = (stride, 1) if self.flavour == "keras" and self.version == 1 else (1, stride)
        return (filters, 1, first), (filters, 3, second), (4 * filters, 1, 1)


def shortcut_pad(x, filters, stride, *, name):
    """Option A: every `stride`-th pixel, with zeros for the new channels; no parameters."""
    if stride > 1:
        x = layers.MaxPooling2D(1, stride, name=f"{name}_subsample")(x)
    return ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, filters - x.shape[-1]))) if filters > x.shape[-1] else x


def added(kept, branch, style, drop_path_rate, *, name):
    """The sum of shortcut and branch, whose whole branch is dropped for a share of the images in training."""
    if drop_path_rate:
        branch = layers.Dropout(drop_path_rate, noise_shape=(None, 1, 1, 1), name=f"{name}_drop_path")(branch)
    return layers.Add(name=f"{name}_add")([kept, branch]) if style.shortcut else branch


def block_v1(x, filters, stride, style, drop_path_rate, *, name):
    """Normalises and activates after each convolution, the last time after the sum."""
    steps = style.convolutions(filters, stride)
    out, kept = steps[-1][0], x
    if stride > 1 or x.shape[-1] != out:
        if style.shortcut == "projection":
            kept = style.conv(x, out, 1, stride, name=f"{name}_shortcut")
            kept = style.normed(kept, name=f"{name}_shortcut")
        elif style.shortcut == "pad":
            kept = shortcut_pad(x, out, stride, name=f"{name}_shortcut")
    for i, step in enumerate(steps[:-1], start=1):
        x = style.norm_act(style.conv(x, *step, name=f"{name}_{i}"), name=f"{name}_{i}")
    last = f"{name}_{len(steps)}"
    x = style.normed(style.conv(x, *steps[-1], name=last), name=last)
    x = added(kept, x, style, drop_path_rate, name=name)
    return activated(x, style.activation, name=f"{name}_{style.activation}")


def block_v2(x, filters, stride, style, drop_path_rate, *, preactivate, name):
    """Normalises and activates before each convolution; what the shortcut keeps is never activated on its way.

    A projection starts after the first activation. The network's first block finds its input activated by the stem.
    """
    steps = style.convolutions(filters, stride)
    out, kept = steps[-1][0], x
    if preactivate:
        x = style.norm_act(x, name=f"{name}_1")
    if style.shortcut == "projection" and (kept.shape[-1] != out or (stride > 1 and style.flavour != "keras")):
        kept = style.conv(x, out, 1, stride, normed=False, name=f"{name}_shortcut")
    elif style.shortcut:
        kept = shortcut_pad(kept, out, stride, name=f"{name}_shortcut")
    for i, step in enumerate(steps, start=1):
        if i > 1:
            x = style.norm_act(x, name=f"{name}_{i}")
        x = style.conv(x, *step, normed=i < len(steps), name=f"{name}_{i}")
    return added(kept, x, style, drop_path_rate, name=name)


@register("resnet", task="image_classification", variants=VARIANTS)
def resnet(
    *,
    blocks: tuple,
    filters: int = 16,
    bottleneck: bool = False,
    stem: str = "3x3",
    shortcut: str | None = "pad",
    flavour: str = "torch",
    image_shape: tuple = (32, 32, 3),
    num_classes: int = 10,
    version: int = 1,
    norm: str | None = "batch",
    activation: str = "relu",
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    separable: bool = False,
    include_top: bool = True,
):
    """Builds a residual network.

    Args:
        blocks: residual blocks of each stage; a stage halves height and width and doubles the filters.
        filters: of the first stage.
        bottleneck: blocks of three convolutions that end four times as wide, instead of two.
        stem: "3x3" keeps the resolution; "7x7" with its max pooling divides it by four.
        shortcut: where a block changes the shape, "pad" subsamples and adds zero channels (the paper's option A),
            "projection" is a 1 x 1 convolution (option B). None leaves out the shortcuts of all blocks: a plain net.
        flavour: "torch", "keras" or "kerashub", whose weights the network can hold: see the module's departures.
        image_shape: (H, W, C).
        num_classes: outputs; 1 is a binary classifier.
        version: 1 activates after the sum, 2 before the convolutions.
        norm: "batch", "group" or "layer"; None leaves normalisation out and gives the convolutions biases.
        activation: "relu", "gelu" or "silu".
        drop_rate: dropout of the pooled features.
        drop_path_rate: share of the images that skip the last block's convolutions in training; it grows linearly
            from the first block.
        separable: whether 3 x 3 convolutions, except on the image itself, are depthwise separable.
        include_top: whether logits follow; False ends in the pooled features, layer "pool" (B, F).

    Returns:
        `keras.Model`, image (B, H, W, C) -> logits (B, num_classes).

    Raises:
        InvalidArgument: a size is not positive, a rate is outside [0, 1), the image is smaller than the downsampling,
            a word is not one of those above, or `drop_path_rate` is given where there is no shortcut.
    """
    if not blocks:
        raise invalid("`blocks` needs at least one stage", blocks)
    positive(filters=filters, num_classes=num_classes, **{f"blocks[{i}]": count for i, count in enumerate(blocks)})
    choice(("3x3", "7x7"), stem=stem)
    choice(("pad", "projection", None), shortcut=shortcut)
    choice(FLAVOURS, flavour=flavour)
    choice((1, 2), version=version)
    rate(drop_rate=drop_rate, drop_path_rate=drop_path_rate)
    if drop_path_rate and shortcut is None:
        raise invalid(
            "without shortcuts nothing remains where `drop_path_rate` drops a block", drop_path_rate, "Use 0."
        )
    style = Style(version, bottleneck, shortcut, flavour, norm, activation, separable)
    bare_stem = version == 2 and flavour != "torch"  # its first block normalises and activates
    image = x = image_input(image_shape)
    image_at_least((4 if stem == "7x7" else 1) * 2 ** (len(blocks) - 1), image_shape)

    # Stem
    kernel_size, stride = (3, 1) if stem == "3x3" else (7, 2)
    x = style.conv(x, filters, kernel_size, stride, normed=not bare_stem, name="stem")
    x = x if bare_stem else style.norm_act(x, name="stem")
    if stem == "7x7":
        if bare_stem and flavour == "kerashub":  # without ReLU zeros could win
            x = ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-math.inf)
        else:
            x = layers.ZeroPadding2D(1, name="stem_pool_pad")(x)  # after ReLU they cannot; "keras" lets them win
        x = layers.MaxPooling2D(3, 2, name="stem_pool")(x)  # (B, H/4, W/4, filters)

    # Stages
    total = sum(blocks)
    for stage, count in enumerate(blocks):
        for block in range(count):
            first, last = stage > 0 and block == 0, stage < len(blocks) - 1 and block == count - 1
            size = filters * 2**stage, 2 if (last if version == 2 and flavour == "keras" else first) else 1
            path_rate = drop_path_rate * (sum(blocks[:stage]) + block) / max(total - 1, 1)
            name = f"stage{stage + 1}_block{block + 1}"
            if version == 1:
                x = block_v1(x, *size, style, path_rate, name=name)
            else:
                preactivate = bare_stem or bool(stage or block)
                x = block_v2(x, *size, style, path_rate, preactivate=preactivate, name=name)
    if version == 2:
        x = style.norm_act(x, name="head")

    # Head
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if not include_top:
        return keras.Model(image, x, name="resnet")
    if drop_rate:
        x = layers.Dropout(drop_rate, name="drop")(x)
    return keras.Model(image, logits_layer(num_classes, kernel_initializer="he_uniform")(x), name="resnet")
