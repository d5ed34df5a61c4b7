"""Trains a small convnet on MNIST plainly, with Gaussian noise and with `ant`, and tests each on noisy images.

    python tests/benchmarks/tricks/noise_mnist.py                     # needs MNIST, see zoo/data/sets/mnist.py
    python tests/benchmarks/tricks/noise_mnist.py --epochs 10 --seeds 0 1 2 --size 0.5

After Rusak et al., 2020, https://arxiv.org/abs/2001.06057: half of each training batch is under noise, and the test
images are under Gaussian noise (x + s z) and speckle (x + s x z), z standard normal, clipped to [0, 1]. "gaussian" puts
Gaussian noise of the same root mean square on the same half, as `ant` does with a generator that never learns.
"""

import argparse
import time

import zoo
from zoo import data

zoo.build  # noqa: B018 - imports Keras without its backend's start-up notices

import keras  # noqa: E402
import numpy as np  # noqa: E402
from robust_mnist import network  # noqa: E402

GAUSSIAN, SPECKLE = (0.3, 0.5, 0.7, 0.9), (1.0, 2.0, 3.0)  # standard deviations in testing
NOISE = "ant(epsilon={size}, low=0.0, high=1.0)"


def trained(name, arrays, options, seed):
    """Returns the network trained "plain", with "gaussian" noise or with "ant", and the seconds that took."""
    keras.utils.set_random_seed(seed)
    net, began = network(), time.perf_counter()
    noise = "" if name == "plain" else "+" + NOISE.format(size=options.size)
    model = zoo.recipe(f"adam(learning_rate=0.002)+cosine{noise}").compile(net)
    if name == "gaussian":
        for generator in model.plan.extras:
            generator.trainable = False  # it stays what it begins as, which adds nothing worth mention to the noise
    loss = model.fit(*arrays, batch_size=100, epochs=options.epochs, verbose=0).history["loss"][-1]
    print(f"    {name}, seed {seed}: last training loss {loss:.3f}", flush=True)
    return net, time.perf_counter() - began


def noisy(x, kind, size, seed=7):
    """Returns test images under one of the two kinds of noise, the same for every network."""
    noise = size * np.random.default_rng(seed).standard_normal(x.shape, dtype="float32")
    return np.clip(x + (x * noise if kind == "speckle" else noise), 0.0, 1.0)


def main():
    """Prints accuracy on clean and on noisy test images for each training and seed, and the means over seeds."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trainings", nargs="+", default=["plain", "gaussian", "ant"])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--size", type=float, default=0.5, help="root mean square of the noise in training")
    options = parser.parse_args()
    mnist = data.load("mnist")
    train, (x, y) = mnist.train.arrays(), mnist.test.arrays()
    x, y = np.asarray(x, "float32"), np.asarray(y)
    tests = {"clean": x} | {f"gaussian {s}": noisy(x, "gaussian", s) for s in GAUSSIAN}
    tests |= {f"speckle {s}": noisy(x, "speckle", s) for s in SPECKLE}
    rows = {}
    for name in options.trainings:
        for seed in options.seeds:
            net, seconds = trained(name, train, options, seed)
            found = [np.mean(net.predict(t, batch_size=500, verbose=0).argmax(-1) == y) for t in tests.values()]
            rows.setdefault(name, []).append(found)
            shown = ", ".join(f"{t} {a:.2%}" for t, a in zip(tests, found, strict=True))
            print(f"{name}, seed {seed}: {shown}; {seconds:,.0f} s", flush=True)
    print(f"mean over seeds {options.seeds}, noise of {options.size:g} in training, {keras.backend.backend()}")
    print(f"{'':<14}" + "".join(f"{name:>10}" for name in rows))
    for i, test in enumerate(tests):
        print(f"{test:<14}" + "".join(f"{np.mean([f[i] for f in found]):10.2%}" for found in rows.values()))


if __name__ == "__main__":
    main()
