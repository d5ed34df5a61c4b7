"""Pictures of tricks that change how weights move: each trains a small network with the trick and without."""

import keras
import numpy as np
from keras import layers

from zoo.documenting.drawing import digit_net, digits, fitted, legend, tidy, weights_of
from zoo.spec import Spec, attach


def shrinking(figure):
    """The length of all weights over epochs, by how much they decay."""
    axes = figure.subplots()
    x, y = digits()
    for decay in (None, 0.1, 0.5):
        text, lengths = "adam(learning_rate=0.01)", []
        text += f"+weight_decay(rate={decay})" if decay else ""
        fitted(digit_net, text, x, y, epochs=20, each=lambda m, found=lengths: found.append(_length(m)))
        axes.plot(lengths, label=f"weight_decay(rate={decay})" if decay else "without")
    axes.set_ylim(0)
    tidy(axes, "epoch", "length of all weights")
    legend(axes)


def _length(model):
    return np.linalg.norm(weights_of(model))


def waiting(figure):
    """One weight after each of 24 batches, stepped at every one and at every fourth."""
    axes = figure.subplots()
    x, y = digits(24 * 16)
    for text in ("sgd(learning_rate=0.1)", "accumulate(steps=4)+sgd(learning_rate=0.1)"):
        places = []
        look = lambda m, found=places: found.append(float(weights_of(m, "logits/kernel")[3]))  # noqa: E731
        fitted(digit_net, text, x, y, epochs=1, batch_size=16, shuffle=False, each_batch=look)
        axes.step(range(len(places)), places, where="post", marker=".", markersize=3, label=text)
    tidy(axes, "batch", "one weight")
    legend(axes)


def clipped(figure):
    """How large weights are after training, with a limit of 0.1 and without."""
    axes = figure.subplots()
    x, y = digits()
    bins = np.linspace(-1.21, 1.21, 122)
    for text in ("adam(learning_rate=0.01)", "clip_weights(limit=0.1)+adam(learning_rate=0.01)"):
        model = fitted(digit_net, text, x, y, epochs=10)
        axes.hist(weights_of(model), bins, alpha=0.6, label=text)
    axes.set_yscale("log")
    tidy(axes, "weight", "how many")
    legend(axes, loc="upper left", bbox_to_anchor=(0, 1.2))


def stopped(figure):
    """The validation loss of a fit that goes on, where the trick ends it, and which epoch's weights it keeps."""
    axes = figure.subplots()
    x, y = digits(1500)
    y = np.where(np.arange(1500) % 5 == 0, np.roll(y, 1), y)  # a fifth of the labels wrong, to be learned by heart
    parts = {"x": x[:300], "y": y[:300], "validation_data": (x[300:], y[300:]), "epochs": 40}
    make = lambda: digit_net(128)  # noqa: E731
    whole = fitted(make, "adam(learning_rate=0.005)", **parts).history.history["val_loss"]
    short = fitted(make, "early_stopping(patience=5)+adam(learning_rate=0.005)", **parts).history.history["val_loss"]
    best = int(np.argmin(short))
    axes.plot(range(1, len(whole) + 1), whole, color="grey", linewidth=1, label="without")
    axes.plot(range(1, len(short) + 1), short, label="early_stopping(patience=5)")
    axes.plot(best + 1, short[best], "o", color="C2", label=f"kept: epoch {best + 1}")
    axes.plot(len(short), short[-1], "s", color="C3", label=f"stopped: epoch {len(short)}")
    tidy(axes, "epoch", "validation loss")
    legend(axes)


def frozen_statistics(figure):
    """The moving mean of one channel while a trained network is tuned in batches of four."""
    axes = figure.subplots()
    x, y = digits()
    make = lambda: digit_net(norm=True)  # noqa: E731
    before = fitted(make, "adam(learning_rate=0.01)", x, y, epochs=8).get_weights()
    for text in ("sgd", "freeze_bn+sgd"):
        means = []

        def trained():
            model = make()
            model.set_weights(before)
            return model

        def look(model, found=means):
            found.append(float(keras.ops.convert_to_numpy(model.get_layer("norm").moving_mean)[0]))

        fitted(trained, f"{text}(learning_rate=0.001)", x[:400], y[:400], epochs=1, batch_size=4, each_batch=look)
        axes.plot(means, label="without" if text == "sgd" else "freeze_bn")
    tidy(axes, "batch of four", "moving mean of a channel")
    legend(axes)


def uncertainty(figure):
    """What the losses of two heads are multiplied by while both are learned: the digit, and its ink in pixels."""
    axes = figure.subplots()
    x, y = digits()
    ink = x.sum(axis=(1, 2, 3))[:, None]
    found = {"digit": [], "ink": []}

    def look(model):
        layer = next(e for e in model.plan.extras if e.name == "uncertainty")
        log_variances = keras.ops.convert_to_numpy(layer.log_variances)
        for name, (place, factor) in layer.heads.items():
            found[name].append(factor * np.exp(-log_variances[place]))

    targets = {"digit": y, "ink": ink - ink.mean()}
    fitted(_two_heads, "loss_weights(learned=True)+adam(learning_rate=0.01)", x, targets, epochs=30, each=look)
    kinds = {"digit": "digit, by cross-entropy", "ink": "ink, by squared error"}
    for name, values in found.items():
        axes.plot(values, label=kinds[name])
    axes.set_yscale("log")
    tidy(axes, "epoch", "weight of the head's loss")
    legend(axes)


def _two_heads():
    image = keras.Input((8, 8, 1), name="image")
    x = layers.Flatten(name="pixels")(image)
    x = layers.Dense(32, activation="relu", name="hidden")(x)
    outputs = {"digit": layers.Dense(10, name="digit")(x), "ink": layers.Dense(1, name="ink")(x)}
    heads = {"digit": {"kind": "softmax", "weight": 1.0}, "ink": {"kind": "regression", "weight": 1.0}}
    model = keras.Model(image, outputs, name="two_heads")
    return attach(model, Spec("two_heads", {}, "attribute_prediction", heads=heads))


DRAWERS = {
    "weight_decay": shrinking,
    "accumulate": waiting,
    "clip_weights": clipped,
    "early_stopping": stopped,
    "freeze_bn": frozen_statistics,
    "loss_weights": uncertainty,
}
