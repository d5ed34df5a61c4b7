"""Trains a small convnet on MNIST with and without `pgd`, and attacks both: plain training has no robust accuracy.

    python tests/benchmarks/tricks/robust_mnist.py                     # needs MNIST, see zoo/data/sets/mnist.py
    python tests/benchmarks/tricks/robust_mnist.py --epochs 10 --seeds 0 1 2 --limit 10000
    KERAS_BACKEND=jax python tests/benchmarks/tricks/robust_mnist.py --recipes plain "fgsm(epsilon=0.3, alpha=0.0)"

After Madry et al., 2017, https://arxiv.org/abs/1706.06083, section 5: images in [0, 1], epsilon 0.3, the attack on the
finished model PGD of 40 steps of 0.01 from a random start. The network is the one of Wong et al., 2020,
https://arxiv.org/abs/2001.03994, appendix: two convolutions of stride 2 with 16 and 32 filters and 100 units. Adam with
one warm-up epoch and a cosine. The first epoch attacks with a third of epsilon, the second with two thirds, as small
networks otherwise may stay at chance.
"""

import argparse
import time

import zoo
from zoo import data

zoo.build  # noqa: B018 - imports Keras without its backend's start-up notices

import keras  # noqa: E402
import numpy as np  # noqa: E402

from zoo.attacks import pgd  # noqa: E402

EPSILON, STEP = 0.3, 0.01
ATTACKED = "pgd(steps={steps}, epsilon={epsilon:.3g}, low=0.0, high=1.0)"


def phases(text, epochs, steps):
    """Returns (recipe, epochs) pairs that train one after another; "pgd" alone grows its epsilon first."""
    if text != "pgd":
        return [(text, epochs)]
    ramp = [(ATTACKED.format(steps=steps, epsilon=EPSILON * share), 1) for share in (1 / 3, 2 / 3)]
    return [*ramp, (ATTACKED.format(steps=steps, epsilon=EPSILON), epochs - 2)] if epochs > 2 else ramp


def trained(text, arrays, options, seed):
    """Returns the network trained with a recipe, and the seconds that took."""
    keras.utils.set_random_seed(seed)
    net, began = zoo.build("convnet_small"), time.perf_counter()
    for phase, (recipe, epochs) in enumerate(phases(text, options.epochs, options.steps)):
        shape = f"adam(learning_rate={options.rate})" + ("+cosine" if epochs > 1 else "")
        model = zoo.recipe(f"{shape}+{recipe}").compile(net)
        fitted = model.fit(*arrays, batch_size=options.batch_size, epochs=epochs, verbose=0)
        for epoch, loss in enumerate(fitted.history["loss"]):
            print(f"    {recipe}, phase {phase}, epoch {epoch + 1}: loss {loss:.3f}", flush=True)
    return net, time.perf_counter() - began


def right(net, x, y):
    """Returns for each image whether its largest logit is that of its class."""
    return net.predict(x, batch_size=500, verbose=0).argmax(-1) == y


def accuracy(net, x, y):
    """Returns the share of images whose largest logit is that of their class."""
    return float(right(net, x, y).mean())


def main():
    """Prints clean and robust accuracy of each recipe and seed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--recipes", nargs="+", default=["plain", "pgd"])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=7, help="of the attack in training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--attack-steps", type=int, default=40, help="of the attack on the finished model")
    parser.add_argument("--restarts", type=int, default=1, help="of that attack; an image must withstand all of them")
    parser.add_argument("--limit", type=int, default=10_000, help="test images to attack")
    options = parser.parse_args()
    mnist = data.load("mnist")
    train, (x, y) = mnist.train.arrays(), mnist.test.arrays()
    x, y = np.asarray(x, "float32")[: options.limit], np.asarray(y)[: options.limit]
    print(f"{keras.backend.backend()}, {len(train[0]):,} images in [{x.min():g}, {x.max():g}], attacked: {len(x):,}")
    for text in options.recipes:
        for seed in options.seeds:
            net, seconds = trained(text, train, options, seed)
            keras.utils.set_random_seed(seed)
            began, robust, worst = time.perf_counter(), np.ones(len(x), bool), 0.0
            for _ in range(options.restarts):
                moved = pgd(net, x, y, EPSILON, options.attack_steps, STEP)
                worst = max(worst, float(np.abs(moved - x).max()))
                robust &= right(net, moved, y)
            print(
                f"{text}, seed {seed}: clean {accuracy(net, x, y):.2%}, under PGD-{options.attack_steps} from "
                f"{options.restarts} random start(s) at {worst:.3f} {robust.mean():.2%}; trained in {seconds:,.0f} s, "
                f"attacked in {time.perf_counter() - began:.0f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
