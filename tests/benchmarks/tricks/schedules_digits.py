"""Measures what schedules and averages bring: test error on digits over seeds, at equal numbers of steps.

    python tests/benchmarks/tricks/schedules_digits.py              # 3 seeds, 40 and 5 epochs
    python tests/benchmarks/tricks/schedules_digits.py --seeds 5 --epochs 100 --noise 0.0 0.4

A small CNN with batch norm learns from 600 of scikit-learn's digits and is tested on the 1,197 others. Each recipe is
compared with the first of its table by the differences within seeds. `snapshot` is read twice: its last member alone,
and the mean of all its members' probabilities, which took the same number of steps as any other row.
"""

import argparse
import statistics
import time

import zoo

zoo.build  # noqa: B018 - imports Keras without its backend's start-up notices

import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import layers  # noqa: E402
from scipy.stats import t  # noqa: E402
from sklearn.datasets import load_digits  # noqa: E402

from zoo.snapshots import snapshot_models  # noqa: E402
from zoo.spec import Spec, attach  # noqa: E402

SGD = "sgd(learning_rate=0.1)"
LONG = ("", "step", "polynomial", "cosine", "one_cycle", "ema(momentum=0.98)", "swa", "swa(learning_rate=0.05)+cosine")
LONG += ("cosine+ema(momentum=0.98)", "snapshot(cycles=5)", "snapshot(cycles=3)")
SHORT = ("", "cosine", "one_cycle", "warmup(epochs=1)+cosine", "polynomial")


def cnn():
    """Returns a CNN, image (B, 8, 8, 1) -> logits (B, 10)."""
    image = x = keras.Input((8, 8, 1), name="image")
    for i, filters in enumerate((16, 32), start=1):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{i}")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"norm{i}")(x)  # 0.99 would lag behind fits of 95 steps
        x = layers.Activation("relu", name=f"relu{i}")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, layers.Dense(10, name="logits")(x), name="cnn")
    return attach(model, Spec("cnn", {}, "image_classification"))


def error(models, x, y):
    """Returns the percentage of examples that the mean of the models' probabilities gets wrong."""
    probabilities = sum(keras.ops.softmax(m.predict(x, verbose=0)) for m in models)
    return 100 * float(np.mean(np.argmax(keras.ops.convert_to_numpy(probabilities), 1) != y))


def run(recipe, seed, epochs, noise):
    """Returns the test errors of one training: of the model, and of its snapshots together where it has them."""
    digits = load_digits()
    order = np.random.default_rng(seed).permutation(1797)
    x, y = (digits.images / 16).astype("float32")[order, :, :, None], digits.target[order].astype("int32")
    rng = np.random.default_rng([seed, 1])
    wrong = rng.random(600) < noise
    labels = np.where(wrong, rng.integers(0, 10, 600), y[:600]).astype("int32")
    keras.utils.set_random_seed(seed)
    model = zoo.recipe("+".join(filter(None, (recipe, SGD)))).compile(cnn(), jit_compile=False)
    model.fit(x[:600], labels, batch_size=32, epochs=epochs, verbose=0)
    found = {recipe or "constant rate": error([model], x[600:], y[600:])}
    if hasattr(model, "snapshots"):
        members = snapshot_models(model)
        found = {
            f"{recipe}, last": error(members[-1:], x[600:], y[600:]),
            f"{recipe}, all": error(members, x[600:], y[600:]),
        }
    keras.backend.clear_session()
    return found


def table(recipes, seeds, epochs, noise):
    """Prints the mean and spread of each recipe's error, and of its difference to the first of the table."""
    print(f"\n{epochs} epochs, {noise:.0%} wrong labels, {seeds} seeds: test error in % (difference to the first row)")
    first = None
    for recipe in recipes:
        errors = {}
        for seed in range(seeds):
            for name, value in run(recipe, seed, epochs, noise).items():
                errors.setdefault(name, []).append(value)
        for name, values in errors.items():
            first = first or values
            apart = [v - f for v, f in zip(values, first, strict=True)]
            mean, spread = statistics.mean(values), statistics.stdev(values)
            half = t.ppf(0.975, seeds - 1) * statistics.stdev(apart) / seeds**0.5
            print(
                f"  {name:34} {mean:6.2f} ± {spread:4.2f}   {statistics.mean(apart):+6.2f} (95% ± {half:.2f})",
                flush=True,
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--noise", type=float, nargs="*", default=[0.2], help="shares of labels drawn at random")
    given = parser.parse_args()
    start = time.process_time()
    for noise in given.noise:
        table(LONG, given.seeds, given.epochs, noise)
    table(SHORT, given.seeds, max(given.epochs // 8, 1), 0.0)
    print(f"\n{keras.backend.backend()}, {time.process_time() - start:.0f} s of processor time")


if __name__ == "__main__":
    main()
