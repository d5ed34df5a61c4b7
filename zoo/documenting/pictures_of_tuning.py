"""Pictures of tricks for fine-tuning: a network that has learned the digits 0 to 4 is tuned to tell 5 to 9 apart."""

import functools

import keras
import numpy as np
from keras import layers, ops

from zoo import recipes
from zoo.documenting.drawing import digits, fitted, legend, tidy
from zoo.spec import Spec, attach

LAYERS = ("hidden1", "hidden2", "hidden3", "logits")
RATE = "adam(learning_rate=0.005)"


def _net():
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Flatten(name="pixels")(image)
    for name in LAYERS[:-1]:
        x = layers.Dense(24, activation="relu", name=name)(x)
    model = keras.Model(image, layers.Dense(5, name="logits")(x), name="digit_net")
    return attach(model, Spec("digit_net", {}, "image_classification"))


@functools.cache
def _task(first):
    """Returns the images and classes of five digits."""
    x, y = digits(1500)
    ours = (y >= first) & (y < first + 5)
    return x[ours], y[ours] - first


@functools.cache
def _pretrained():
    """Returns the weights of a network that tells 0 to 4 apart."""
    return fitted(_net, "adam(learning_rate=0.01)", *_task(0), epochs=20).get_weights()


def _tuned(recipe):
    """Returns the kernels of each layer before and after tuning by a recipe, name -> pair of arrays."""

    def started():
        model = _net()
        model.set_weights(_pretrained())
        return model

    before = {name: ops.convert_to_numpy(started().get_layer(name).kernel) for name in LAYERS}
    after = fitted(started, f"{recipe}+{RATE}" if recipe else RATE, *_task(5), epochs=10)
    return {name: (before[name], ops.convert_to_numpy(after.get_layer(name).kernel)) for name in LAYERS}


def moved(figure):
    """How far the weights of each layer move, with everything training and with the head alone."""
    axes = figure.subplots()
    for place, recipe in enumerate(("", "freeze_backbone")):
        pairs = _tuned(recipe).values()
        far = [np.linalg.norm(after - before) / np.linalg.norm(before) for before, after in pairs]
        axes.bar(np.arange(len(LAYERS)) + 0.38 * place, far, 0.36, label=recipe or "without")
    axes.set(xticks=np.arange(len(LAYERS)) + 0.19, xticklabels=LAYERS)
    tidy(axes, "layer, from the image to the head", "change over length")
    legend(axes)


def ranks(figure):
    """The singular values of what tuning adds to the weights of one layer."""
    axes = figure.subplots()
    for recipe in ("", "lora(rank=4)", "lora(rank=2)"):
        before, after = _tuned(recipe)["hidden2"]
        values = np.linalg.svd(after - before, compute_uv=False)
        axes.plot(range(1, len(values) + 1), np.where(values > 1e-5, values, 0), marker=".", label=recipe or "without")
    tidy(axes, "which of 24", "singular value of the change")
    legend(axes)


def features(figure):
    """What the head is trained on: the features of digits that the network has never learned, in two dimensions."""
    from matplotlib.cm import tab10

    axes = figure.subplots()
    model, (x, y) = _net(), _task(5)
    model.set_weights(_pretrained())
    found = recipes.recipe("features_once").plan(model).cached.features
    found = ops.convert_to_numpy(keras.Model(model.input, found)(x))
    found = found - found.mean(0)
    _, _, directions = np.linalg.svd(found, full_matrices=False)
    for label in range(5):
        axes.plot(*(found[y == label] @ directions[:2].T).T, ".", markersize=3, color=tab10(label), label=label + 5)
    tidy(axes, "first principal component", "second")
    legend(axes, markerscale=3)


DRAWERS = {"freeze_backbone": moved, "lora": ranks, "features_once": features}
