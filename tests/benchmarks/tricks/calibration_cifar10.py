"""Trains a small convnet on part of CIFAR-10 with and without `label_smoothing`, and measures calibration.

    python tests/benchmarks/tricks/calibration_cifar10.py              # needs CIFAR-10, see zoo/data/sets/cifar10.py
    python tests/benchmarks/tricks/calibration_cifar10.py --examples 4000 --seeds 0 1 2 --epochs 15

The expected calibration error is that of Guo et al., 2017, https://arxiv.org/abs/1706.04599, equation 3, with 15 bins;
the loss is the cross-entropy with the true classes, whatever was trained on. After Müller et al., 2019,
https://arxiv.org/abs/1906.02629, section 3.
"""

import argparse
import time

import zoo
from zoo import data

zoo.build  # noqa: B018 - imports Keras without its backend's start-up notices

import keras  # noqa: E402
import numpy as np  # noqa: E402
from reporting import chosen, small_net, table  # noqa: E402

RECIPES = ("plain", "label_smoothing(amount=0.05)", "label_smoothing(amount=0.1)", "mixup")


def calibration_error(probabilities, labels, bins=15):
    """Returns the mean distance of confidence and accuracy over bins of confidence, weighed by their examples."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    numbers = np.minimum((confidence * bins).astype(int), bins - 1)
    sums = [np.bincount(numbers, weights=w, minlength=bins) for w in (confidence, right)]
    return np.abs(sums[0] - sums[1]).sum() / len(labels)


def measured(recipe, train, test, *, seed, epochs):
    """Returns the figures of one new network."""
    keras.utils.set_random_seed(seed)
    model = zoo.recipe(f"{recipe}+adam(learning_rate=0.001)").compile(small_net((32, 32, 3), 10, (16, 32, 64), 64))
    began = time.perf_counter()
    model.fit(*train, batch_size=64, epochs=epochs, verbose=0)
    seconds = time.perf_counter() - began
    x, y = test
    logits = model.predict(x, batch_size=1000, verbose=0).astype("float64")
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    return {
        "calibration error": calibration_error(np.exp(log_p), y),
        "loss": -log_p[np.arange(len(y)), y].mean(),
        "accuracy": (log_p.argmax(axis=1) == y).mean(),
        "seconds": seconds,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--recipes", nargs="*", default=RECIPES)
    parser.add_argument("--examples", type=int, default=4000)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=15)
    options = parser.parse_args()
    cifar = data.load("cifar10")
    print(f"cifar10 {cifar.fingerprint}, {options}")
    test = cifar.test.subset(chosen(cifar.test.labels, [500] * 10, 0)).arrays()
    results = {recipe: [] for recipe in options.recipes}
    for seed in options.seeds:
        rows = chosen(cifar.train.labels, [options.examples // 10] * 10, seed)
        train = cifar.train.subset(rows).arrays()
        for recipe in options.recipes:
            results[recipe].append(measured(recipe, train, test, seed=seed, epochs=options.epochs))
    table(results, options.recipes[0])


if __name__ == "__main__":
    main()
