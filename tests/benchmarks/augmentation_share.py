"""Measures what augmentation takes of a training step, and how many images a second its pipeline makes by itself.

    python tests/benchmarks/augmentation_share.py                       # every augmentation
    python tests/benchmarks/augmentation_share.py randaugment mixup     # some
    python tests/benchmarks/augmentation_share.py --rounds 9 --batch-size 256

A small CNN trains on images of 32 x 32 x 3. Each round times an epoch of every contestant in turn, the plain feed
included, so that whatever else the machine does meets all alike; the ratio of an augmentation is the median over rounds
of its time to the plain one's in the same round, and its share of the step what that adds. The processor's time, which
other programs disturb less, stands beside it. A pipeline that makes fewer images a second than plain training uses
makes the device wait; one that makes more costs a share only where data and training work on the same cores.
"""

import argparse
import statistics
import time

import zoo

zoo.build  # noqa: B018 - imports Keras without its backend's start-up notices

import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import layers  # noqa: E402

from zoo.data.base import TreeSplit  # noqa: E402
from zoo.data.feed import feed, steps_per_epoch  # noqa: E402
from zoo.spec import Spec, attach  # noqa: E402

RECIPES = (
    "plain",
    "flip_crop",
    "mixup",
    "cutmix",
    "mixup+cutmix",
    "gridmask",
    "random_erasing",
    "randaugment",
    "flip_crop+randaugment+random_erasing+mixup+cutmix",
)


def net():
    """Returns a CNN, image (B, 32, 32, 3) -> logits (B, 10)."""
    image = x = keras.Input((32, 32, 3), name="image")
    for i, filters in enumerate((32, 64, 128), start=1):
        x = layers.Conv2D(filters, 3, strides=1 if i == 1 else 2, padding="same", use_bias=False, name=f"conv{i}")(x)
        x = layers.BatchNormalization(name=f"norm{i}")(x)
        x = layers.Activation("relu", name=f"relu{i}")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, layers.Dense(10, name="logits")(x), name="cnn")
    return attach(model, Spec("cnn", {}, "image_classification"))


def timed(function):
    """Returns the seconds a function takes, by the clock and of the processor."""
    began, worked = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - began, time.process_time() - worked


class Contestant:
    """One recipe, compiled, with its own feed."""

    def __init__(self, recipe, split, batch_size):
        self.model = zoo.recipe(recipe).compile(net())
        self.data = feed(split, batch_size, seed=0, augment=self.model.plan.augment)
        self.steps = steps_per_epoch(split, batch_size)

    def train(self):
        """Trains for one epoch."""
        self.model.fit(self.data, steps_per_epoch=self.steps, shuffle=False, augment=False, verbose=0)

    def make(self):
        """Makes the batches of one epoch, and does nothing with them."""
        for _ in self.data:
            pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recipes", nargs="*", default=RECIPES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--images", type=int, default=4096)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    x = rng.random((options.images, 32, 32, 3), "float32")
    split = TreeSplit(x, rng.integers(0, 10, len(x)).astype("int32"))
    recipes = ["plain", *(r for r in options.recipes if r != "plain")]
    contestants = {recipe: Contestant(recipe, split, options.batch_size) for recipe in recipes}
    for contestant in contestants.values():  # traces
        contestant.train()
    trained, made = ({recipe: [] for recipe in recipes} for _ in range(2))
    for _ in range(options.rounds):
        for recipe, contestant in contestants.items():
            trained[recipe].append(timed(contestant.train))
            made[recipe].append(timed(contestant.make))
    print(f"{keras.backend.backend()}, {options.rounds} rounds of {len(x):,} images, batches of {options.batch_size}")
    columns = f"{'step ratio':>10} {'share':>6} {'training/s':>10} {'pipeline/s':>10}"
    print(f"{'':50} {'by the clock':^39}   {'of the processor':^39}")
    print(f"{'recipe':50} {columns}   {columns}")
    for recipe in recipes:
        cells = []
        for kind in (0, 1):
            pairs = zip(trained[recipe], trained["plain"], strict=True)
            ratio = statistics.median(mine[kind] / plain[kind] for mine, plain in pairs)
            share = max(0.0, 1 - 1 / ratio)
            speeds = [len(x) / statistics.median(row[kind] for row in times[recipe]) for times in (trained, made)]
            cells.append(f"{ratio:10.2f} {share:6.1%} {speeds[0]:10,.0f} {speeds[1]:10,.0f}")
        print(f"{recipe:50} {'   '.join(cells)}")


if __name__ == "__main__":
    main()
