"""Trains a small network with each normalisation, in batches of 2 and of 32.

    python tests/benchmarks/tricks/norm_batch_2.py --network dense      # needs MNIST, see zoo/data/sets/mnist.py
    python tests/benchmarks/tricks/norm_batch_2.py --network resnet     # needs CIFAR-10, see zoo/data/sets/cifar10.py

"dense" is a highway network of ten dense layers, where batch normalisation has one number of each example to go by;
"resnet" is a ResNet of three blocks, where it has the pixels of two images. After Wu and He, 2018,
https://arxiv.org/abs/1803.08494, section 4.1: every batch size sees the same examples equally often, and the learning
rate is proportional to the batch size. Batch normalisation tests with its moving averages.
"""

import argparse
import time
import warnings

import zoo
from zoo import data
from zoo.errors import RecipeWarning

zoo.build  # noqa: B018 - imports Keras without its backend's start-up notices

import keras  # noqa: E402
import numpy as np  # noqa: E402

NETWORKS = {
    "dense": ("mnist", "highway10", {}),
    "resnet": ("cifar10", "resnet20", {"blocks": (1, 1, 1), "filters": 8}),
}
warnings.simplefilter("ignore", RecipeWarning)  # that batches of 2 are tiny


def trained(network, trick, batch_size, arrays, test, *, rate, seed, epochs):
    """Returns (training accuracy of the last epoch, test accuracy, seconds) of one new network."""
    keras.utils.set_random_seed(seed)
    _, name, arguments = NETWORKS[network]
    recipe = f"{trick}+cosine+sgd(learning_rate={rate * batch_size / 32}, momentum=0.9)"
    model = zoo.build(name, recipe=recipe, image_shape=arrays[0].shape[1:], **arguments)
    began = time.perf_counter()
    found = model.fit(*arrays, batch_size=batch_size, epochs=epochs, verbose=0).history["accuracy"][-1]
    seconds = time.perf_counter() - began
    return found, np.mean(model.predict(test[0], batch_size=500, verbose=0).argmax(-1) == test[1]), seconds


def main():
    """Prints a row for each trick, batch size and seed, then means with their spread over seeds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--network", choices=NETWORKS, default="resnet")
    parser.add_argument("--tricks", nargs="+", default=["batch_norm", "group_norm"])
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[2, 32])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--examples", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--rate", type=float, default=0.05, help="learning rate at batches of 32")
    options = parser.parse_args()
    dataset, choice = data.load(NETWORKS[options.network][0]), np.random.RandomState(0)
    arrays = dataset.train.batch(choice.permutation(len(dataset.train))[: options.examples])
    test = dataset.test.batch(choice.permutation(len(dataset.test))[:5000])
    rows = {}
    for batch_size in options.batch_sizes:
        for trick in options.tricks:
            for seed in options.seeds:
                settings = {"rate": options.rate, "epochs": options.epochs, "seed": seed}
                found = trained(options.network, trick, batch_size, arrays, test, **settings)
                fitted, accuracy, seconds = found
                rows.setdefault((batch_size, trick), []).append(found)
                shown = f"training {fitted:.2%}, test {accuracy:.2%}; {seconds:.0f} s"
                print(f"batches of {batch_size}, {trick}, seed {seed}: {shown}", flush=True)
    size = f"{options.network}, {options.examples:,} examples, {options.epochs} epochs"
    print(f"{size}, seeds {options.seeds}, {keras.backend.backend()}")
    print(f"{'batch':>5} {'trick':<12}{'training':>10}{'test':>10}{'+-':>8}{'seconds':>9}")
    for (batch_size, trick), found in rows.items():
        fitted, accuracy, seconds = np.mean(found, axis=0)
        spread = np.std([a for _, a, _ in found], ddof=1) if len(found) > 1 else 0.0
        print(f"{batch_size:>5} {trick:<12}{fitted:>10.2%}{accuracy:>10.2%}{spread:>8.2%}{seconds:>9.0f}")


if __name__ == "__main__":
    main()
