"""Network in Network: 1 x 1 convolutions inside the net, averages of class maps at its end.

Paper: Lin et al., 2013, https://arxiv.org/abs/1312.4400, sections 3 and 4.1
Shapes: image (B, H, W, C), float32 -> logits (B, num_classes)
Departures: class maps stay linear, so that their averages are logits; weights start from He's distribution instead of
    hand-tuned ones; `norm` and activations other than ReLU came after the paper.
"""

import keras
from keras import layers

from zoo.errors import invalid
from zoo.layers.ends import full_precision, image_at_least, image_input, positive, rate
from zoo.layers.norms import activated, norm_layer
from zoo.registry import register

VARIANTS = {"nin": {"widths": ((192, 160, 96), (192, 192, 192), (192, 192))}}  # the last block adds the class maps


def conv(x, filters, kernel_size, *, norm, activation, name):
    """A convolution, normalised where asked (it then needs no bias of its own), and its activation."""
    x = layers.Conv2D(
        filters,
        kernel_size,
        padding="same",
        use_bias=norm is None,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = norm_layer(x, norm, name=f"{name}_norm")
    return activated(x, activation, name=f"{name}_{activation}")


@register("nin", task="image_classification", variants=VARIANTS)
def nin(
    *,
    widths: tuple,
    kernel_sizes: tuple = (5, 5, 3),
    image_shape: tuple = (32, 32, 3),
    num_classes: int = 10,
    norm: str | None = None,
    activation: str = "relu",
    drop_rate: float = 0.5,
    include_top: bool = True,
):
    """Builds a Network in Network; 966,986 parameters for ten classes of CIFAR's images.

    Args:
        widths: filters of each mlpconv block: of its k x k convolution, then of the 1 x 1 convolutions on top.
        kernel_sizes: k of each block; between blocks, max pooling halves height and width.
        image_shape: (H, W, C).
        num_classes: outputs; 1 is a binary classifier.
        norm: "batch", "group" or "layer" after every hidden convolution, or None as in the paper.
        activation: "relu", "gelu" or "silu".
        drop_rate: dropout between blocks.
        include_top: whether the class maps and their averages, the logits, follow; False ends in the averages of the
            last block, layer "pool" (B, F).

    Returns:
        `keras.Model`, image (B, H, W, C) -> logits (B, num_classes).

    Raises:
        InvalidArgument: a size is not positive, a block lacks its widths or its kernel size, the image is smaller
            than the pooling between blocks needs, or a word is not one of those above.
    """
    if not widths or not all(isinstance(block, tuple) and block for block in widths):
        raise invalid("`widths` needs the filters of each block", widths, "For two blocks: ((32, 16), (32, 32)).")
    if len(kernel_sizes) != len(widths):
        works = f"For example {(*(5,) * (len(widths) - 1), 3)}."
        raise invalid(f"`kernel_sizes` needs one size for each of the {len(widths)} blocks", kernel_sizes, works)
    positive(**{f"widths[{i}][{j}]": n for i, block in enumerate(widths) for j, n in enumerate(block)})
    positive(num_classes=num_classes, **{f"kernel_sizes[{i}]": n for i, n in enumerate(kernel_sizes)})
    rate(drop_rate=drop_rate)
    image = x = image_input(image_shape)
    image_at_least(2 ** (len(widths) - 1), image_shape)
    for i, (filters, kernel_size) in enumerate(zip(widths, kernel_sizes, strict=True), start=1):
        if i > 1:
            x = layers.MaxPooling2D(3, 2, "same", name=f"block{i - 1}_pool")(x)  # (B, H/2, W/2, F)
            x = layers.Dropout(drop_rate, name=f"block{i - 1}_drop")(x)
        for j, width in enumerate(filters, start=1):  # the first sees k x k pixels, those above it one
            size = kernel_size if j == 1 else 1
            x = conv(x, width, size, norm=norm, activation=activation, name=f"block{i}_{j}")
    if not include_top:
        return keras.Model(image, layers.GlobalAveragePooling2D(name="pool")(x), name="nin")
    x = layers.Conv2D(num_classes, 1, dtype=full_precision(), name="class_maps")(x)
    logits = layers.GlobalAveragePooling2D(dtype=full_precision(), name="logits")(x)
    return keras.Model(image, logits, name="nin")
