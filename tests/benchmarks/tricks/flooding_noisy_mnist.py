"""Trains a small convnet on few MNIST digits with partly wrong labels, plainly and with `flooding` at some levels.

    python tests/benchmarks/tricks/flooding_noisy_mnist.py             # needs MNIST, see zoo/data/sets/mnist.py
    python tests/benchmarks/tricks/flooding_noisy_mnist.py --examples 1000 --wrong 0.3 --seeds 0 1 2 --epochs 60

After Ishida et al., 2020, https://arxiv.org/abs/2002.08709, section 4.2: labels are changed at random with probability
`--wrong`, in training and validation alike; the level is chosen by validation accuracy, and so is the epoch, "early
stopping", that accuracy is shown of beside the last one's. The test part has the true labels.
"""

import argparse
import time

import zoo
from zoo import data

zoo.build  # noqa: B018 - imports Keras without its backend's start-up notices

import keras  # noqa: E402
import numpy as np  # noqa: E402
from reporting import chosen, small_net, table  # noqa: E402


class Tested(keras.callbacks.Callback):
    """Keeps each epoch's accuracy on the test part."""

    def __init__(self, test):
        super().__init__()
        self.test, self.accuracies = test, []

    def on_epoch_end(self, epoch, logs=None):
        x, y = self.test
        right = keras.ops.convert_to_numpy(self.model.predict_on_batch(x)).argmax(axis=1) == y
        self.accuracies.append(right.mean())


def with_wrong(labels, share, rng):
    """Returns labels of which a share, drawn at random, is another class."""
    changed = rng.random(len(labels)) < share
    return np.where(changed, (labels + rng.integers(1, 10, len(labels))) % 10, labels).astype("int32")


def measured(recipe, train, validation, test, *, seed, epochs):
    """Returns the figures of one new network."""
    keras.utils.set_random_seed(seed)
    model = zoo.recipe(f"{recipe}+adam(learning_rate=0.001)").compile(small_net((28, 28, 1), 10))
    tested, began = Tested(test), time.perf_counter()
    history = model.fit(*train, 50, epochs, 0, [tested], validation_data=validation).history
    best = int(np.argmax(history["val_accuracy"]))
    return {
        "accuracy of last epoch": tested.accuracies[-1],
        "of chosen epoch": tested.accuracies[best],
        "validation accuracy": history["val_accuracy"][-1],
        "training loss": history["loss"][-1],
        "seconds": time.perf_counter() - began,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--levels", type=float, nargs="*", default=[0.3, 0.6, 0.9, 1.2])
    parser.add_argument("--examples", type=int, default=1000)
    parser.add_argument("--wrong", type=float, default=0.3)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=60)
    options = parser.parse_args()
    mnist = data.load("mnist")
    print(f"mnist {mnist.fingerprint}, {options}")
    x, y = mnist.test.arrays()
    test = x[:2000], y[:2000]
    recipes = ["plain", *(f"flooding(level={level})" for level in options.levels)]
    results = {recipe: [] for recipe in recipes}
    for seed in options.seeds:
        rng, half = np.random.default_rng(seed), options.examples // 2
        rows = chosen(mnist.train.labels, [3 * half // 10] * 10, seed)
        x, y = mnist.train.subset(rows).arrays()
        y = with_wrong(y, options.wrong, rng)
        parts = (x[:-half], y[:-half]), (x[-half:], y[-half:])
        for recipe in recipes:
            results[recipe].append(measured(recipe, *parts, test, seed=seed, epochs=options.epochs))
    table(results)
    chose = [max(recipes, key=lambda r, i=i: results[r][i]["validation accuracy"]) for i in range(len(options.seeds))]
    accuracy = [results[r][i]["accuracy of last epoch"] for i, r in enumerate(chose)]
    print(f"chosen by validation accuracy: {chose}, test accuracy {np.mean(accuracy):.4f}")


if __name__ == "__main__":
    main()
