"""Small networks and data that tests of recipes and tricks share; built in milliseconds, without the registry."""

import keras
import numpy as np
from keras import layers

from zoo import registry
from zoo.spec import Spec, attach


def image_net(num_classes=3, *, drop_rate=0.1, image_shape=(6, 6, 2), norm=True):
    """Returns a small CNN with batch norm and dropout, image (B, H, W, C) -> logits."""
    image = x = keras.Input(image_shape, name="image")
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(x)
    if norm:
        x = layers.BatchNormalization(name="norm")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(drop_rate, name="drop")(x)
    model = keras.Model(image, layers.Dense(num_classes, name="logits")(x), name="image_net")
    return attach(model, Spec("image_net", {"drop_rate": drop_rate}, "image_classification"))


def text_net(num_classes=1, *, vocab_size=20, sequence_length=6, lstm=False, drop_rate=0.1):
    """Returns a small text classifier that masks padding, tokens (B, T) -> logits."""
    tokens = keras.Input((sequence_length,), dtype="int32", name="tokens")
    x = layers.Embedding(vocab_size, 4, mask_zero=True, name="embedding")(tokens)
    x = layers.LSTM(4, name="lstm")(x) if lstm else layers.GlobalAveragePooling1D(name="pool")(x)
    x = layers.Dropout(drop_rate, name="drop")(x)
    model = keras.Model(tokens, layers.Dense(num_classes, name="logits")(x), name="text_net")
    return attach(model, Spec("text_net", {}, "text_classification"))


def linear_net(num_inputs=4, num_classes=1, **dense):
    """Returns one linear layer, features (B, F) -> logits (B, C)."""
    features = keras.Input((num_inputs,), name="features")
    logits = layers.Dense(num_classes, name="logits", **dense)(features)
    model = keras.Model(features, logits, name="linear_net")
    return attach(model, Spec("linear_net", {}, "image_classification"))


def images(n=24, num_classes=3, image_shape=(6, 6, 2), seed=0):
    """Returns float32 images in [0, 1] and class numbers."""
    rng = np.random.default_rng(seed)
    return rng.random((n, *image_shape), "float32"), rng.integers(0, num_classes, n).astype("int32")


def texts(n=24, num_classes=2, vocab_size=20, sequence_length=6, seed=0):
    """Returns int32 token ids, padded with zeros at the end, and class numbers."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, vocab_size, (n, sequence_length)).astype("int32")
    lengths = rng.integers(2, sequence_length + 1, n)
    tokens[np.arange(sequence_length) >= lengths[:, None]] = 0
    return tokens, rng.integers(0, num_classes, n).astype("int32")


def numpy_weights(model):
    """Returns copies of a model's weights."""
    return [np.array(w) for w in model.get_weights()]


def forget(unwanted):
    """Takes builders that tests registered out of the registry again.

    Args:
        unwanted: function of a `zoo.registry.Builder` that says which.
    """
    for builder in [b for b in registry.builders() if unwanted(b)]:
        del registry._builders[builder.family]
        for name in {builder.family, *builder.variants}:
            del registry._variants[name]
