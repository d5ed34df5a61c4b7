"""A tiny image classifier with two equal-shaped layers, batch norm and dropout; tests of the hub register it."""

import keras
from keras import layers

from zoo import registry


def probe(*, image_shape: tuple = (6, 6, 2), num_classes: int = 3, hidden: int = 8, drop_rate: float = 0.1):
    """Builds the classifier, image (B, H, W, C) -> logits (B, num_classes)."""
    image = x = keras.Input(image_shape, name="image")
    x = layers.Conv2D(hidden, 3, name="conv")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dense(hidden, activation="relu", name="first")(x)
    x = layers.Dense(hidden, activation="relu", name="second")(x)
    x = layers.Dropout(drop_rate, name="drop")(x)
    return keras.Model(image, layers.Dense(num_classes, name="logits")(x), name="probe")


def add():
    """Registers it; only while it is needed, because other tests go through every registered model."""
    variants = {"probe_small": {}, "probe_wide": {"hidden": 16}}
    registry.register("probe", task="image_classification", variants=variants)(probe)


def remove():
    """Takes it out of the registry."""
    del registry._builders["probe"]
    for name in ("probe", "probe_small", "probe_wide"):
        del registry._variants[name]
