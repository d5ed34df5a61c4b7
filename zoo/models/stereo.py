"""Depth from two cameras: both pictures go through one shared backbone, and a head compares what it found where.

Paper: Chollet, 2017, https://www.manning.com/books/deep-learning-with-python, section 7.1.6 (models as layers)
Shapes: left (B, H, W, C) and right (B, H, W, C), float32 -> depth (B, 1)
Departures: where the backbone pools its features over the picture, the head takes them before that and keeps their
    places, as the shift between the pictures is what tells the depth.
"""

import inspect

import keras
from keras import layers

from zoo.errors import invalid
from zoo.layers.ends import image_input, logits_layer, positive, rate
from zoo.layers.norms import activated
from zoo.registry import builder_of, register

VARIANTS = {"stereo": {}}
DEPTH = {"depth": {"kind": "regression"}}


def shared_backbone(name, image_shape):
    """Returns a backbone of the zoo as one layer, picture -> features (B, h, w, F), or (B, F) where it has no maps.

    Raises:
        InvalidArgument: the model of this name does not turn a picture into features.
    """
    from zoo.factory import build_plain

    builder, variant = builder_of(name)
    if builder.task != "image_classification" or "include_top" not in inspect.signature(builder.function).parameters:
        works = 'A family that has `include_top` works, such as "xception_small" or "resnet20".'
        raise invalid(f"`backbone` {name!r} cannot be used without its head", builder.task, works)
    backbone = build_plain(variant, {"image_shape": image_shape, "include_top": False})
    last = backbone.layers[-1]
    features = last.input if isinstance(last, layers.GlobalAveragePooling2D) else backbone.output
    return keras.Model(backbone.inputs, features, name="camera")


@register("stereo", task="depth_estimation", variants=VARIANTS, heads=DEPTH)
def stereo(
    *,
    backbone: str = "xception_small",
    image_shape: tuple = (32, 32, 3),
    filters: int = 32,
    units: int = 64,
    activation: str = "relu",
    drop_rate: float = 0.0,
):
    """Builds a network that tells a depth from a pair of pictures.

    Args:
        backbone: name of an image classifier of the zoo, whose features both pictures share: one set of weights.
        image_shape: (height, width, channels) of each picture.
        filters: channels into which the joined features are mixed at each place.
        units: width of the layer that compares the places.
        activation: of the head, "relu", "gelu" or "silu".
        drop_rate: dropout before the depth.

    Returns:
        `keras.Model`, {"left": (B, H, W, C), "right": (B, H, W, C)} -> depth (B, 1).

    Raises:
        UnknownName: the zoo has no such backbone.
        InvalidArgument: the backbone cannot be used so, a size is not positive, or a rate is outside [0, 1).
    """
    positive(filters=filters, units=units)
    rate(drop_rate=drop_rate)
    left, right = (image_input(image_shape, name=side) for side in ("left", "right"))
    camera = shared_backbone(backbone, image_shape)
    x = layers.Concatenate(name="joined")([camera(left), camera(right)])
    if len(x.shape) == 4:
        x = activated(layers.Conv2D(filters, 1, name="mixed")(x), activation, name=f"mixed_{activation}")
        x = layers.Flatten(name="places")(x)  # (B, h * w * filters)
    x = activated(layers.Dense(units, name="compared")(x), activation, name=f"compared_{activation}")
    x = layers.Dropout(drop_rate, name="drop")(x)
    depth = logits_layer(1, name="depth")(x)
    return keras.Model({"left": left, "right": right}, depth, name="stereo")
