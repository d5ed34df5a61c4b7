"""Softmax regression: one linear layer on the pixels.

Paper: LeCun et al., 1998, https://doi.org/10.1109/5.726791, section III-C (the linear classifier)
Shapes: image (B, H, W, C), float32 -> logits (B, num_classes)
Departures: trained on the cross entropy of a softmax instead of squared errors.
"""

import keras
from keras import layers

from zoo.layers.ends import image_input, logits_layer
from zoo.registry import register

VARIANTS = {"softmax": {}}


@register("softmax", task="image_classification", variants=VARIANTS)
def softmax(*, image_shape: tuple = (28, 28, 1), num_classes: int = 10):
    """Builds a linear classifier; 7,850 parameters for ten classes of 28 x 28 grey images.

    Args:
        image_shape: (H, W, C).
        num_classes: outputs; 1 is logistic regression.

    Returns:
        `keras.Model`, image (B, H, W, C) -> logits (B, num_classes).

    Raises:
        InvalidArgument: `image_shape` or `num_classes` cannot work.
    """
    image = image_input(image_shape)
    x = layers.Flatten(name="pixels")(image)  # (B, H * W * C)
    return keras.Model(image, logits_layer(num_classes)(x), name="softmax")
