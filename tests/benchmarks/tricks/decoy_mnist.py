"""Trains on MNIST with a decoy that betrays the digit, with and without `prior`, and tests where the decoy lies.

    python tests/benchmarks/tricks/decoy_mnist.py                     # needs MNIST, see zoo/data/sets/mnist.py
    python tests/benchmarks/tricks/decoy_mnist.py --weights 0 1 10 100 --seeds 0 1 2

After Ross et al., 2017, https://arxiv.org/abs/1703.03717, section 4.2: a patch of 4 x 4 pixels in a random corner,
whose grey is a function of the digit in training and random in testing. The mask marks the four corners. The first row
is training without the decoy.
"""

import argparse
import time

import zoo
from zoo import data

zoo.build  # noqa: B018 - imports Keras without its backend's start-up notices

import keras  # noqa: E402
import numpy as np  # noqa: E402
from robust_mnist import accuracy, network  # noqa: E402

PATCH = 4
MASK = np.zeros((28, 28), int)
for rows in (slice(None, PATCH), slice(-PATCH, None)):
    MASK[rows, :PATCH] = MASK[rows, -PATCH:] = 1


def with_decoy(x, digits, seed):
    """Returns images with a patch in a random corner whose grey is 1 - digit / 10."""
    x, corners = x.copy(), np.random.default_rng(seed).integers(0, 2, (len(x), 2))
    for image, digit, (down, right) in zip(x, digits, corners, strict=True):
        rows, columns = (slice(-PATCH, None) if far else slice(None, PATCH) for far in (down, right))
        image[rows, columns] = 1 - digit / 10
    return x


def trained(recipe, x, y, options, seed):
    """Returns a new network trained with a recipe."""
    keras.utils.set_random_seed(seed)
    net = network()
    model = zoo.recipe(f"adam(learning_rate=0.001)+{recipe}").compile(net)
    model.fit(x, y, batch_size=100, epochs=options.epochs, verbose=0)
    return net


def main():
    """Prints accuracy on training images and on test images whose decoy is random, for each weight and seed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", type=float, nargs="+", default=[0.0, 1.0, 10.0, 100.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--limit", type=int, default=10_000, help="training images")
    options = parser.parse_args()
    mnist = data.load("mnist")
    (x, y), (x_test, y_test) = mnist.train.arrays(), mnist.test.arrays()
    x, y, x_test = (
        np.asarray(x, "float32")[: options.limit],
        np.asarray(y)[: options.limit],
        np.asarray(x_test, "float32"),
    )
    decoyed = with_decoy(x, y, 1)
    lying = with_decoy(x_test, np.random.default_rng(2).integers(0, 10, len(x_test)), 3)
    written = str(MASK.tolist()).replace("[", "(").replace("]", ")").replace(" ", "")
    print(f"{keras.backend.backend()}, {len(x):,} training images, {options.epochs} epochs")
    runs = [("plain, no decoy", "plain", x)]
    for weight in options.weights:
        recipe = f"prior(mask={written}, weight={weight})" if weight else "plain"
        runs.append((f"prior of weight {weight:g}" if weight else "plain", recipe, decoyed))
    for name, recipe, images in runs:
        for seed in options.seeds:
            began = time.perf_counter()
            net = trained(recipe, images, y, options, seed)
            seconds = time.perf_counter() - began
            print(
                f"{name}, seed {seed}: training {accuracy(net, images, y):.2%}, test with a random decoy "
                f"{accuracy(net, lying, y_test):.2%}; {seconds:,.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
