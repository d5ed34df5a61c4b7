"""Trains residual networks of 20 and 50 layers on part of MNIST with `skip(on=True)` and `skip(on=False)`.

    python tests/benchmarks/tricks/skip_depth.py                       # needs MNIST, see zoo/data/sets/mnist.py
    python tests/benchmarks/tricks/skip_depth.py --depths 20 50 74 --seeds 0 1 2 --epochs 6

After He et al., 2015, https://arxiv.org/abs/1512.03385, section 4.2: 6n + 2 layers with batch normalisation, the
shortcuts without parameters, the same recipe for all.
"""

import argparse
import time

import zoo
from zoo import data

zoo.build  # noqa: B018 - imports Keras without its backend's start-up notices

import keras  # noqa: E402
import numpy as np  # noqa: E402


def trained(depth, skip, arrays, test, *, rate, seed, epochs, filters):
    """Returns (training loss of the last epoch, test accuracy, seconds) of one new network."""
    keras.utils.set_random_seed(seed)
    shape, blocks = arrays[0].shape[1:], ((depth - 2) // 6,) * 3
    recipe = f"skip(on={skip})+cosine+sgd(learning_rate={rate}, momentum=0.9)"
    model = zoo.build("resnet20", recipe=recipe, blocks=blocks, filters=filters, image_shape=shape)
    began = time.perf_counter()
    loss = model.fit(*arrays, batch_size=50, epochs=epochs, verbose=0).history["loss"][-1]
    seconds = time.perf_counter() - began
    return loss, np.mean(model.predict(test[0], batch_size=500, verbose=0).argmax(-1) == test[1]), seconds


def main():
    """Prints a row for each depth, setting and seed, then means with their spread over seeds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--depths", type=int, nargs="+", default=[20, 50])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--examples", type=int, default=3000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--filters", type=int, default=4)
    parser.add_argument("--rate", type=float, default=0.05)
    options = parser.parse_args()
    mnist = data.load("mnist")
    arrays, test = (split.batch(np.arange(n)) for split, n in ((mnist.train, options.examples), (mnist.test, 5000)))
    rows = {}
    for depth in options.depths:
        for skip in (True, False):
            for seed in options.seeds:
                settings = {"rate": options.rate, "epochs": options.epochs, "filters": options.filters}
                loss, accuracy, seconds = trained(depth, skip, arrays, test, seed=seed, **settings)
                rows.setdefault((depth, skip), []).append((loss, accuracy, seconds))
                shown = f"loss {loss:.3f}, test {accuracy:.2%}; {seconds:.0f} s"
                print(f"{depth} layers, skip(on={skip}), seed {seed}: {shown}", flush=True)
    print(f"{options.examples:,} examples, {options.epochs} epochs, seeds {options.seeds}, {keras.backend.backend()}")
    print(f"{'layers':>6} {'skip':<6}{'loss':>8}{'test':>10}{'+-':>8}{'seconds':>9}")
    for (depth, skip), found in rows.items():
        loss, accuracy, seconds = np.mean(found, axis=0)
        spread = np.std([a for _, a, _ in found], ddof=1) if len(found) > 1 else 0.0
        print(f"{depth:>6} {skip!s:<6}{loss:>8.3f}{accuracy:>10.2%}{spread:>8.2%}{seconds:>9.0f}")


if __name__ == "__main__":
    main()
