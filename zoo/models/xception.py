"""Xception: depthwise separable convolutions with residual connections.

Paper: Chollet, 2016, https://arxiv.org/abs/1610.02357, figure 5
Shapes: image (B, H, W, C), float32 -> logits (B, num_classes)
Departures: flavour "torch" (timm) pads alike on all sides before max pooling, "keras" (keras.applications) as Keras's
    "same" does; `xception_small` keeps the resolution in its stem. `norm`, activations other than ReLU and
    stochastic depth (Huang et al. 2016) are not in the paper.
"""

from dataclasses import dataclass

import keras
from keras import layers, ops

from zoo.errors import invalid
from zoo.layers.ends import choice, image_at_least, image_input, logits_layer, positive, rate
from zoo.layers.norms import activated, norm_layer
from zoo.layers.separable import separable_conv
from zoo.registry import register

VARIANTS = {
    "xception": {},
    "xception_small": {
        "stem_filters": (16, 32),
        "stem_stride": 1,
        "entry_filters": (64, 128),
        "middle_blocks": 3,
        "exit_filters": (192, 256, 384),
        "flavour": "torch",  # whose batch norm settles within the fewer steps of small data
        "image_shape": (32, 32, 3),
        "num_classes": 10,
    },
}
FLAVOURS = {  # batch norm, as the weights that each flavour loads were trained with
    "torch": {"epsilon": 1e-5, "momentum": 0.9},
    "keras": {"epsilon": 1e-3, "momentum": 0.99},
}


@dataclass(frozen=True)
class Style:
    """What the layers of one network have in common; the attributes are arguments of `xception`."""

    shortcut: str | None
    flavour: str
    norm: str | None
    activation: str
    separable: bool

    def conv(self, x, filters, kernel_size, stride=1, *, separable=False, padding="same", name):
        """A convolution, separable or not, and its normalisation, which makes a bias idle."""
        bias = {"use_bias": self.norm is None}
        if separable:
            x = separable_conv(x, filters, kernel_size, stride, padding=padding, name=f"{name}_conv", **bias)
        else:
            initializer = {"kernel_initializer": "he_uniform"}
            x = layers.Conv2D(filters, kernel_size, stride, padding, name=f"{name}_conv", **initializer, **bias)(x)
        return norm_layer(x, self.norm, name=f"{name}_norm", **FLAVOURS[self.flavour])

    def act(self, x, *, name):
        return activated(x, self.activation, name=f"{name}_{self.activation}")

    def pool(self, x, *, name):
        """3 x 3 max pooling that halves height and width, rounding up."""
        if self.flavour == "torch":  # a mirrored border holds no new maximum; at odd sizes "same" pads it alike anyway
            border = [(1, 0) if size % 2 == 0 else (1, 1) for size in x.shape[1:3]]
            x = ops.pad(x, ((0, 0), *border, (0, 0)), mode="reflect")
            return layers.MaxPooling2D(3, 2, name=name)(x)
        return layers.MaxPooling2D(3, 2, "same", name=name)(x)


def block(x, widths, style, *, activate_first=True, pooled=False, drop_path_rate=0.0, name):
    """3 x 3 separable convolutions of these widths, max pooling where `pooled`, and a shortcut around all of it."""
    kept = x
    if style.shortcut and pooled:
        kept = style.conv(x, widths[-1], 1, 2, name=f"{name}_shortcut")
    for i, filters in enumerate(widths, start=1):
        if activate_first or i > 1:
            x = style.act(x, name=f"{name}_{i}")
        x = style.conv(x, filters, 3, separable=style.separable, name=f"{name}_{i}")
    if pooled:
        x = style.pool(x, name=f"{name}_pool")
    if drop_path_rate:
        x = layers.Dropout(drop_path_rate, noise_shape=(None, 1, 1, 1), name=f"{name}_drop_path")(x)
    return layers.Add(name=f"{name}_add")([kept, x]) if style.shortcut else x


@register("xception", task="image_classification", variants=VARIANTS)
def xception(
    *,
    stem_filters: tuple = (32, 64),
    stem_stride: int = 2,
    entry_filters: tuple = (128, 256, 728),
    middle_blocks: int = 8,
    exit_filters: tuple = (1024, 1536, 2048),
    flavour: str = "keras",
    image_shape: tuple = (299, 299, 3),
    num_classes: int = 1000,
    norm: str | None = "batch",
    activation: str = "relu",
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    shortcut: str | None = "projection",
    separable: bool = True,
    include_top: bool = True,
):
    """Builds an Xception.

    Args:
        stem_filters: filters of the two 3 x 3 convolutions on the image.
        stem_stride: of the first one; with 1 both keep the resolution, with 2 neither is padded.
        entry_filters: filters of each block of the entry flow, which halves height and width.
        middle_blocks: blocks of the middle flow, three convolutions as wide as the last of `entry_filters`; may be 0.
        exit_filters: filters that the exit flow's block, which halves height and width, ends with, and those of its two
            last convolutions.
        flavour: "keras" or "torch", whose weights the network can hold: see the module's departures.
        image_shape: (H, W, C).
        num_classes: outputs; 1 is a binary classifier.
        norm: "batch", "group" or "layer"; None leaves normalisation out and gives the convolutions biases.
        activation: "relu", "gelu" or "silu".
        drop_rate: dropout of the pooled features; the paper uses 0.5 on ImageNet.
        drop_path_rate: share of the images that skip the last middle block in training; it grows linearly from the
            first.
        shortcut: "projection" as in the paper, 1 x 1 convolutions where a block changes the shape; None leaves out
            the shortcuts of all blocks.
        separable: False makes the separable convolutions ordinary ones, eight or nine times as large.
        include_top: whether logits follow; False ends in the pooled features, layer "pool" (B, F).

    Returns:
        `keras.Model`, image (B, H, W, C) -> logits (B, num_classes).

    Raises:
        InvalidArgument: a size is not positive, a rate is outside [0, 1), the image is smaller than the downsampling,
            a word is not one of those above, or `drop_path_rate` is given where there is no shortcut.
    """
    for name, widths, count in (("stem", stem_filters, 2), ("entry", entry_filters, None), ("exit", exit_filters, 3)):
        if not widths or (count and len(widths) != count):
            raise invalid(f"`{name}_filters` needs {f'{count} numbers' if count else 'a number'} of filters", widths)
        positive(**{f"{name}_filters[{i}]": filters for i, filters in enumerate(widths)})
    positive(num_classes=num_classes, **({"middle_blocks": middle_blocks} if middle_blocks else {}))
    choice((1, 2), stem_stride=stem_stride)
    choice(FLAVOURS, flavour=flavour)
    choice(("projection", None), shortcut=shortcut)
    rate(drop_rate=drop_rate, drop_path_rate=drop_path_rate)
    if drop_path_rate and shortcut is None:
        wrong = "without shortcuts nothing remains where `drop_path_rate` drops a block"
        raise invalid(wrong, drop_path_rate, "Leave it at 0, or choose a shortcut.")
    style = Style(shortcut, flavour, norm, activation, separable)
    image = x = image_input(image_shape)
    image_at_least(stem_stride * 2 ** (len(entry_filters) + 1), image_shape)

    # Entry flow
    padding = "same" if stem_stride == 1 else "valid"
    for i, filters in enumerate(stem_filters, start=1):
        x = style.conv(x, filters, 3, stem_stride if i == 1 else 1, padding=padding, name=f"stem{i}")
        x = style.act(x, name=f"stem{i}")
    for i, filters in enumerate(entry_filters, start=1):
        x = block(x, (filters, filters), style, activate_first=i > 1, pooled=True, name=f"entry{i}")

    # Middle flow
    for i in range(1, middle_blocks + 1):
        path_rate = drop_path_rate * (i - 1) / max(middle_blocks - 1, 1)
        x = block(x, (entry_filters[-1],) * 3, style, drop_path_rate=path_rate, name=f"middle{i}")

    # Exit flow
    x = block(x, (entry_filters[-1], exit_filters[0]), style, pooled=True, name="exit1")
    for i, filters in enumerate(exit_filters[1:], start=2):
        x = style.conv(x, filters, 3, separable=separable, name=f"exit{i}")
        x = style.act(x, name=f"exit{i}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if not include_top:
        return keras.Model(image, x, name="xception")
    if drop_rate:
        x = layers.Dropout(drop_rate, name="drop")(x)
    return keras.Model(image, logits_layer(num_classes)(x), name="xception")
