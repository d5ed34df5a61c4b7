"""Trains highway and plain networks of 10 and 50 layers on MNIST: with gates depth does no harm, without it does.

    python tests/benchmarks/highway_depth.py                              # needs MNIST, see zoo/data/sets/mnist.py
    python tests/benchmarks/highway_depth.py --epochs 10 --seeds 0 1 2 --rates 0.1 0.03 0.01

After Srivastava et al., 2015, https://arxiv.org/abs/1507.06228, section 3.1: stochastic gradient descent with momentum
and a learning rate that decays exponentially, He's initial weights, plain layers of 71 units for as many parameters as
50 units with gates, whose biases start at -4. Each network gets every learning rate; the summary takes the best of
each, by training loss. The loss of guessing is ln 10 = 2.303.
"""

import argparse
import statistics
import time

import zoo
from zoo import data

zoo.build  # noqa: B018 - imports Keras without its backend's start-up notices

import keras  # noqa: E402

NETWORKS = {"highway": {"gate": True, "units": 50, "gate_bias": -4.0}, "plain": {"gate": False, "units": 71}}


def trained(depth, arguments, arrays, *, rate, seed, epochs, batch_size):
    """Returns (training loss of the last epoch, test accuracy, seconds) of one new network."""
    keras.utils.set_random_seed(seed)
    (x, y), test = arrays
    model = zoo.build("highway", depth=depth, **arguments)
    steps = -(-len(x) // batch_size)
    schedule = keras.optimizers.schedules.ExponentialDecay(rate, steps, 0.9)
    model.compile(
        keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile=False,
        steps_per_execution=10,
    )
    began = time.perf_counter()
    loss = model.fit(x, y, batch_size=batch_size, epochs=epochs, verbose=0).history["loss"][-1]
    seconds = time.perf_counter() - began
    return loss, model.evaluate(*test, batch_size=1000, verbose=0)[1], seconds


def main():
    """Prints a row for each network, depth, rate and seed, then the best rate of each network."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--depths", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rates", type=float, nargs="+", default=[0.1, 0.03, 0.01])
    parser.add_argument("--batch-size", type=int, default=128)
    options = parser.parse_args()
    mnist = data.load("mnist")
    arrays = mnist.train.arrays(), mnist.test.arrays()
    columns = f"{'network':<10}{'depth':>6}{'rate':>7}{'seed':>6}{'loss':>9}{'accuracy':>10}{'seconds':>9}"
    print(columns, flush=True)
    results = {}
    for depth in options.depths:
        for network, arguments in NETWORKS.items():
            for rate in options.rates:
                for seed in options.seeds:
                    settings = {"rate": rate, "seed": seed, "epochs": options.epochs, "batch_size": options.batch_size}
                    loss, accuracy, seconds = trained(depth, arguments, arrays, **settings)
                    results.setdefault((network, depth), {}).setdefault(rate, []).append((loss, accuracy))
                    row = f"{network:<10}{depth:>6}{rate:>7g}{seed:>6}{loss:>9.4f}{accuracy:>10.2%}{seconds:>9.1f}"
                    print(row, flush=True)
    print(f"\nBest rate of each, mean of {len(options.seeds)} seed(s), {options.epochs} epochs")
    for (network, depth), by_rate in results.items():
        means = {
            rate: [statistics.fmean(column) for column in zip(*rows, strict=True)] for rate, rows in by_rate.items()
        }
        rate, (loss, accuracy) = min(means.items(), key=lambda item: (item[1][0] != item[1][0], item[1][0]))
        print(f"{network:<10}{depth:>6}{rate:>7g}{'':>6}{loss:>9.4f}{accuracy:>10.2%}")


if __name__ == "__main__":
    main()
