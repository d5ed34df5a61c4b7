"""Highway networks: layers that learn how much of their input to carry on unchanged.

Paper: Srivastava et al., 2015, https://arxiv.org/abs/1507.06228, sections 2, 3.1 and 3.2
Paper: Srivastava et al., 2015, https://arxiv.org/abs/1505.00387, section 4 (gate biases of -2 and -4)
Shapes: image (B, H, W, C), float32 -> logits (B, num_classes)
Departures: one dropout rate at all places of the convolutional network, which the authors give 0.2 to 0.5; the kernel
    sizes and pooling of that network are those of the authors' published configuration, as the paper does not say.

A layer computes y = H(x) * T(x) + x * (1 - T(x)): H is the plain layer, T its transform gate, between 0 and 1.
"""

import functools

import keras
from keras import initializers, layers

from zoo.errors import invalid
from zoo.layers.ends import image_at_least, image_input, logits_layer, positive, rate
from zoo.layers.norms import activated, norm_layer
from zoo.registry import register

DENSE = {  # with gates at -2, forty layers more would carry on too little of the input: SGD then diverges
    "highway10": {"depth": 10, "gate_bias": -2.0},
    "highway50": {"depth": 50, "gate_bias": -4.0},
}
CONVOLUTIONAL = {"highway_conv": {"filters": 32}, "highway_conv_thin": {"filters": 16}}  # the paper's 151K and 39K


def dense(units, *, name, bias=0.0, kernel_initializer="he_normal"):
    """Returns a dense layer without activation."""
    return layers.Dense(
        units, kernel_initializer=kernel_initializer, bias_initializer=initializers.Constant(bias), name=name
    )


def convolution(filters, *, name, bias=0.0, kernel_initializer="he_normal", kernel_size=3, padding="same"):
    """Returns a convolution without activation."""
    return layers.Conv2D(
        filters,
        kernel_size,
        padding=padding,
        kernel_initializer=kernel_initializer,
        bias_initializer=initializers.Constant(bias),
        name=name,
    )


def plain_layer(x, layer, *, norm, activation, name):
    """H(x): a layer, a norm where asked, an activation."""
    x = layer(name=name)(x)
    x = norm_layer(x, norm, name=f"{name}_norm")
    return activated(x, activation, name=f"{name}_{activation}")


def highway_layer(x, layer, *, gate_bias, norm, activation, name):
    """H(x) * T(x) + x * (1 - T(x)), written x + T(x) * (H(x) - x), which carries x exactly where T is zero.

    Args:
        x: features that H does not change the shape of.
        layer: function of `name`, `bias` and `kernel_initializer` that returns a new layer of weights.
        gate_bias: where the biases of T start.
        norm: of H, or None.
        activation: of H.
        name: prefix of the layers' names.
    """
    transformed = plain_layer(x, layer, norm=norm, activation=activation, name=f"{name}_transform")
    gate = layer(name=f"{name}_gate", bias=gate_bias, kernel_initializer="glorot_uniform")(x)
    gate = layers.Activation("sigmoid", name=f"{name}_gate_sigmoid")(gate)
    change = layers.Subtract(name=f"{name}_change")([transformed, x])
    change = layers.Multiply(name=f"{name}_gated")([gate, change])
    return layers.Add(name=name)([x, change])


def stacked_layer(gate, gate_bias, **options):
    """Returns the function that stacks one more layer: with a gate, or plain to compare with."""
    if gate:
        return functools.partial(highway_layer, gate_bias=gate_bias, **options)
    return functools.partial(plain_layer, **options)


@register("highway", task="image_classification", variants=DENSE)
def highway(
    *,
    depth: int,
    gate_bias: float,
    units: int = 50,
    gate: bool = True,
    image_shape: tuple = (28, 28, 1),
    num_classes: int = 10,
    norm: str | None = None,
    activation: str = "relu",
    drop_rate: float = 0.0,
    include_top: bool = True,
):
    """Builds a deep dense network of equally wide layers.

    Args:
        depth: dense layers below the softmax; the first is plain, as it changes the width.
        gate_bias: where the transform gates' biases start; the lower, the more of its input a layer carries.
        units: of each layer, F. The paper gives its plain networks 71 for as many parameters as 50 with gates.
        gate: False leaves out the gates and the carried input: the plain network of the same depth.
        image_shape: (H, W, C).
        num_classes: outputs; 1 is a binary classifier.
        norm: "batch", "group" or "layer" inside H, or None as in the paper.
        activation: of H: "relu", "gelu" or "silu".
        drop_rate: dropout before the logits.
        include_top: whether the logits follow; False ends in the last layer's features, layer "pool" (B, F).

    Returns:
        `keras.Model`, image (B, H, W, C) -> logits (B, num_classes).

    Raises:
        InvalidArgument: a size is not positive, or a word is not one of those above.
    """
    positive(depth=depth, units=units)
    rate(drop_rate=drop_rate)
    layer = functools.partial(dense, units)
    stacked = stacked_layer(gate, gate_bias, layer=layer, norm=norm, activation=activation)
    image = image_input(image_shape)
    x = layers.Flatten(name="pixels")(image)  # (B, H * W * C)
    x = plain_layer(x, layer, norm=norm, activation=activation, name="layer1")
    for i in range(2, depth + 1):
        x = stacked(x, name=f"layer{i}")
    return ended(image, x, num_classes, drop_rate, include_top, name="highway")


@register("highway_conv", task="image_classification", variants=CONVOLUTIONAL)
def highway_conv(
    *,
    filters: int,
    stages: tuple = (3, 3, 3),
    gate: bool = True,
    gate_bias: float = -1.0,
    image_shape: tuple = (28, 28, 1),
    num_classes: int = 10,
    norm: str | None = None,
    activation: str = "relu",
    drop_rate: float = 0.3,
    include_top: bool = True,
):
    """Builds a convolutional highway network; 151,690 parameters with 32 filters for MNIST, 38,986 with 16.

    Args:
        filters: of each convolution. The first is plain, 5 x 5 and unpadded; the others are 3 x 3 with gates.
        stages: convolutions of each stage; max pooling halves height and width after each.
        gate: False leaves out the gates and the carried input: the plain network of the same depth.
        gate_bias: where the transform gates' biases start; the lower, the more of its input a layer carries.
        image_shape: (H, W, C).
        num_classes: outputs; 1 is a binary classifier.
        norm: "batch", "group" or "layer" inside H, or None as in the paper.
        activation: of H: "relu", "gelu" or "silu".
        drop_rate: dropout of the image and after each stage.
        include_top: whether the logits follow; False ends in the flat features, layer "pool" (B, F).

    Returns:
        `keras.Model`, image (B, H, W, C) -> logits (B, num_classes).

    Raises:
        InvalidArgument: a size is not positive, the image is smaller than the pooling needs, or a word is not one of
            those above.
    """
    if not stages:
        raise invalid("`stages` needs at least one stage", stages, "The paper's network has (3, 3, 3).")
    positive(filters=filters, **{f"stages[{i}]": count for i, count in enumerate(stages)})
    rate(drop_rate=drop_rate)
    options = {"norm": norm, "activation": activation}
    stacked = stacked_layer(gate, gate_bias, layer=functools.partial(convolution, filters), **options)
    first = functools.partial(convolution, filters, kernel_size=5, padding="valid")
    image = image_input(image_shape)
    image_at_least(5 + 2 ** (len(stages) - 1), image_shape)  # the first convolution takes 4, the last pooling needs 2
    x = layers.Dropout(drop_rate, name="image_drop")(image)
    for stage, count in enumerate(stages, start=1):
        for i in range(1, count + 1):
            name = f"stage{stage}_layer{i}"
            x = plain_layer(x, first, **options, name=name) if stage == i == 1 else stacked(x, name=name)
        window = (2, 2) if stage == len(stages) else (3, 2, "same")
        x = layers.MaxPooling2D(*window, name=f"stage{stage}_pool")(x)  # (B, H/2, W/2, filters)
        x = layers.Dropout(drop_rate, name=f"stage{stage}_drop")(x)
    return ended(image, x, num_classes, 0.0, include_top, name="highway_conv")


def ended(image, x, num_classes, drop_rate, include_top, *, name):
    """Returns the model from `image` to the flat features of `x`, layer "pool", or to logits."""
    x = layers.Flatten(name="pool")(x)  # (B, F)
    if include_top:
        x = layers.Dropout(drop_rate, name="drop")(x)
        x = logits_layer(num_classes)(x)
    return keras.Model(image, x, name=name)
