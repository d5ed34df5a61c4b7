"""What pictures share: axes, the digits of scikit-learn, and small networks to train on them in a second."""

import functools
import warnings

import keras
import numpy as np
from keras import layers

from zoo import recipes
from zoo.errors import RecipeWarning
from zoo.spec import Spec, attach

WORDS, LENGTH = 60, 12  # vocabulary and length of the texts below


def tidy(axes, x, y):
    """Labels axes and takes the box off."""
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def legend(axes, **options):
    """Adds a small legend where there is more than one line."""
    if len(axes.get_legend_handles_labels()[1]) > 1:
        axes.legend(fontsize=7, frameon=False, **options)


@functools.cache
def digits(count=1000):
    """Returns the first digits of scikit-learn: float32 (count, 8, 8, 1) within 0 and 1, and int32 (count,)."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.images[:count, :, :, None] / 16).astype("float32"), found.target[:count].astype("int32")


def texts(count):
    """Returns texts of two kinds, int32 (count, 12) and (count,): each kind has favourites among sixty words."""
    random = np.random.RandomState(0)
    kind = (np.arange(count) % 2).astype("int32")
    favourites = np.where(random.rand(count, LENGTH) < 0.35, 10 * kind[:, None], 20)
    return (favourites + random.randint(1, 11, (count, LENGTH))).astype("int32") % WORDS + 1, kind


def digit_net(units=32, norm=False):
    """Returns a network of one hidden layer, image (B, 8, 8, 1) -> logits (B, 10)."""
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Flatten(name="pixels")(image)
    x = layers.Dense(units, name="hidden")(x)
    x = layers.BatchNormalization(name="norm", momentum=0.9)(x) if norm else x
    x = layers.ReLU(name="relu")(x)
    model = keras.Model(image, layers.Dense(10, name="logits")(x), name="digit_net")
    return attach(model, Spec("digit_net", {}, "image_classification"))


def text_net():
    """Returns a network that averages words, tokens (B, 12) -> logits (B, 2)."""
    tokens = keras.Input((LENGTH,), dtype="int32", name="tokens")
    x = layers.Embedding(WORDS + 1, 8, name="embedding")(tokens)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    x = layers.Dense(16, activation="relu", name="hidden")(x)
    model = keras.Model(tokens, layers.Dense(2, name="logits")(x), name="text_net")
    return attach(model, Spec("text_net", {"vocab_size": WORDS + 1}, "text_classification"))


def fitted(make, recipe, x, y, *, epochs, each=None, batch_size=64, each_batch=None, **options):
    """Trains a network by a recipe, the same way every time, and returns it.

    Args:
        make: function that builds it.
        recipe: text.
        x, y: arrays.
        epochs: of the fit.
        each, each_batch: functions of the model, called at the start and after each epoch, or batch.
        batch_size, options: of `fit`.
    """
    keras.utils.set_random_seed(0)
    model = recipes.recipe(recipe).compile(make())
    for call in filter(None, (each, each_batch)):
        call(model)
    hooks = {"on_epoch_end": each, "on_train_batch_end": each_batch}
    calls = {name: (lambda *_, _call=call, **__: _call(model)) for name, call in hooks.items() if call}
    callbacks = [keras.callbacks.LambdaCallback(**calls)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecipeWarning)  # of batches that are small on purpose
        model.fit(x, y, epochs=epochs, batch_size=batch_size, callbacks=callbacks, verbose=0, **options)
    return model


def weights_of(model, end="kernel"):
    """Returns every trained weight whose path ends so as one array."""
    found = [v for v in model.trainable_variables if v.path.endswith(end)]
    return np.concatenate([keras.ops.convert_to_numpy(v).ravel() for v in found])
