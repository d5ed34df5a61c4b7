"""The two ends of a model, its input and its logits, and the checks of the arguments that shape them."""

import keras
from keras import layers, ops

from zoo.errors import invalid


def positive(**arguments):
    """Refuses an argument that is not a whole number of at least one.

    Raises:
        InvalidArgument: naming the first such argument.
    """
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise invalid(f"`{name}` must be a whole number of at least 1", value)


def rate(**arguments):
    """Refuses an argument that is not a probability below one.

    Raises:
        InvalidArgument: naming the first such argument.
    """
    for name, value in arguments.items():
        if not 0 <= value < 1:
            raise invalid(f"`{name}` must be at least 0 and below 1", value)


def choice(known, **arguments):
    """Refuses an argument that is not one of the `known` words.

    Raises:
        InvalidArgument: naming the first such argument and what it may be.
    """
    for name, value in arguments.items():
        if value not in known:
            raise invalid(f"`{name}` must be one of {', '.join(map(repr, known))}", value)


def full_precision():
    """Returns the dtype of weights, such as "float32", in which heads compute also under mixed precision."""
    return keras.config.dtype_policy().variable_dtype


def image_input(image_shape, name="image"):
    """Returns the input of images: float32 (B, H, W, C).

    Raises:
        InvalidArgument: `image_shape` is not three positive whole numbers.
    """
    if len(image_shape) != 3 or not all(isinstance(n, int) and n > 0 for n in image_shape):
        raise invalid(
            "`image_shape` must be (height, width, channels), three positive whole numbers",
            image_shape,
            "Grey images have one channel: (28, 28, 1).",
        )
    return keras.Input(image_shape, name=name)


def image_at_least(side, image_shape):
    """Refuses an image with a height or width below `side` pixels, which a model's downsampling leaves nothing of.

    Raises:
        InvalidArgument: naming the smallest image that works.
    """
    height, width, channels = image_shape
    if min(height, width) < side:
        raise invalid(
            f"this model's downsampling needs images of at least {side} x {side} pixels",
            image_shape,
            f"The smallest that works: {(max(height, side), max(width, side), channels)}.",
        )


def token_input(sequence_length, *, name="tokens", batch_size=None):
    """Returns the input of token ids: int32 (B, T), 0 for the padding at the end of a row, where rows need any.

    Args:
        sequence_length: tokens of a row, T.
        name: of the input.
        batch_size: B where every batch must have the same size, else None.

    Raises:
        InvalidArgument: a number is not positive and whole.
    """
    positive(sequence_length=sequence_length)
    if batch_size is not None:
        positive(batch_size=batch_size)
    return keras.Input((sequence_length,), batch_size=batch_size, dtype="int32", name=name)


def counted(words):
    """Returns the mask of an average over the words of each row, (B, T) -> (B, T): all steps of a row without a word.

    A row of padding alone would otherwise be an average over nothing, 0 / 0, and one such row makes every weight NaN.
    """
    return ops.logical_or(words, ops.logical_not(ops.any(words, axis=1, keepdims=True)))


def logits_layer(num_classes, *, kernel_initializer="glorot_uniform", name="logits"):
    """Returns a dense head, of logits or of plain numbers; under mixed precision it computes in full precision.

    Args:
        num_classes: outputs; 1 is the logit of a binary (sigmoid) classifier, or the number of a regression.
        kernel_initializer: of the head's kernel; its bias starts at zero.
        name: of the layer, and so of the output.

    Raises:
        InvalidArgument: `num_classes` is not a positive whole number.
    """
    positive(num_classes=num_classes)
    return layers.Dense(num_classes, kernel_initializer=kernel_initializer, dtype=full_precision(), name=name)
