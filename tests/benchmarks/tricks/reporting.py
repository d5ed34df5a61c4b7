"""What the scripts here share: a small network, a choice of examples, and a table over seeds."""

import statistics

import keras
import numpy as np
from keras import layers

from zoo.spec import Spec, attach


def small_net(image_shape, num_classes, filters=(8, 16), units=32):
    """Returns a CNN of strided convolutions and one hidden layer, image (B, H, W, C) -> logits (B, num_classes)."""
    image = x = keras.Input(image_shape, name="image")
    for i, count in enumerate(filters, start=1):
        x = layers.Conv2D(count, 3, strides=2, padding="same", activation="relu", name=f"conv{i}")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(units, activation="relu", name="hidden")(x)
    model = keras.Model(image, layers.Dense(num_classes, name="logits")(x), name="small_net")
    return attach(model, Spec("small_net", {}, "image_classification"))


def chosen(labels, counts, seed):
    """Returns the indices of `counts[c]` random examples of each class c, in random order."""
    rng = np.random.default_rng(seed)
    rows = [rng.choice(np.flatnonzero(labels == c), count, replace=False) for c, count in enumerate(counts)]
    return rng.permutation(np.concatenate(rows))


def table(results, first="plain"):
    """Prints the mean and standard deviation over seeds, and the paired difference to the first recipe.

    Args:
        results: recipe -> one dict per seed, figure -> value.
        first: the recipe that others are compared with.
    """
    figures = list(results[first][0])
    width = max(map(len, results)) + 2
    print(f"{'recipe':{width}}" + "".join(f"{name:>38}" for name in figures))
    for recipe, rows in results.items():
        cells = []
        for name in figures:
            values = [row[name] for row in rows]
            text = f"{statistics.mean(values):.4f} +- {spread(values):.4f}"
            if recipe != first and name != "seconds":
                gains = [row[name] - plain[name] for row, plain in zip(rows, results[first], strict=True)]
                text += f" ({statistics.mean(gains):+.4f} +- {spread(gains):.4f})"
            cells.append(f"{text:>38}")
        print(f"{recipe:{width}}" + "".join(cells), flush=True)


def spread(values):
    """Returns the standard deviation, 0 of a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0
