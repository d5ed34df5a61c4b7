"""Trains a small convnet on MNIST with three rare digits, plainly, with `class_balance` and with `focal`.

    python tests/benchmarks/tricks/imbalanced_mnist.py                 # needs MNIST, see zoo/data/sets/mnist.py
    python tests/benchmarks/tricks/imbalanced_mnist.py --rare 20 --frequent 2000 --seeds 0 1 2 --epochs 6

The digits 3, 5 and 8 have one hundredth of the others' training examples. The test part is MNIST's own, balanced: the
recall of the rare digits, that of the others, and the accuracy on all.
"""

import argparse
import time

import zoo
from zoo import data

zoo.build  # noqa: B018 - imports Keras without its backend's start-up notices

import keras  # noqa: E402
import numpy as np  # noqa: E402
from reporting import chosen, small_net, table  # noqa: E402

RARE = (3, 5, 8)
RECIPES = (
    "plain",
    "class_balance",
    "class_balance(beta=0.999)",
    "class_balance(by='resampling')",
    "focal",
    "focal+class_balance",
)


def measured(recipe, train, test, *, seed, epochs):
    """Returns the figures of one new network."""
    keras.utils.set_random_seed(seed)
    model = zoo.recipe(f"{recipe}+adam(learning_rate=0.001)").compile(small_net((28, 28, 1), 10))
    began = time.perf_counter()
    model.fit(*train, batch_size=64, epochs=epochs, verbose=0)
    seconds = time.perf_counter() - began
    x, y = test
    right = model.predict(x, batch_size=1000, verbose=0).argmax(axis=1) == y
    rare = np.isin(y, RARE)
    return {
        "recall of rare": np.mean([right[y == c].mean() for c in RARE]),
        "recall of others": right[~rare].mean(),
        "accuracy": right.mean(),
        "seconds": seconds,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipes", nargs="*", default=RECIPES)
    parser.add_argument("--rare", type=int, default=20)
    parser.add_argument("--frequent", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=6)
    options = parser.parse_args()
    mnist = data.load("mnist")
    print(f"mnist {mnist.fingerprint}, {options}")
    test, labels = mnist.test.arrays(), mnist.train.labels
    counts = [options.rare if c in RARE else options.frequent for c in range(10)]
    results = {recipe: [] for recipe in options.recipes}
    for seed in options.seeds:
        train = mnist.train.subset(chosen(labels, counts, seed)).arrays()
        for recipe in options.recipes:
            results[recipe].append(measured(recipe, train, test, seed=seed, epochs=options.epochs))
    table(results, options.recipes[0])


if __name__ == "__main__":
    main()
