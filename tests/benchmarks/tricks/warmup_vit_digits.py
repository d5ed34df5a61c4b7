"""Trains a small ViT on digits by Adam at rising rates, alone, with `warmup` and by `radam`, and measures accuracy.

    python tests/benchmarks/tricks/warmup_vit_digits.py                       # 3 seeds, 12 epochs, offline
    python tests/benchmarks/tricks/warmup_vit_digits.py --rates 0.003 --seeds 0

What warmup and RAdam promise is to survive a rate that is too high for Adam's first steps (Liu et al., 2019,
https://arxiv.org/abs/1908.03265, figures 1 and 5). The first figure is the loss after the first epoch.
"""

import argparse
import time

import zoo
from zoo import data

zoo.build  # noqa: B018 - imports Keras without its backend's start-up notices

import keras  # noqa: E402
from reporting import table  # noqa: E402

VIT = {"image_shape": (8, 8, 1), "patch_size": 2, "embed_dim": 32, "depth": 4, "num_heads": 4}
RECIPES = ("adam", "adam+warmup(epochs=3)", "radam", "radam+warmup(epochs=3)")


def measured(recipe, rate, digits, *, seed, epochs):
    """Returns the figures of one new network."""
    keras.utils.set_random_seed(seed)
    optimizer, *schedule = recipe.split("+")
    text = "+".join([f"{optimizer}(learning_rate={rate})", *schedule])
    model = zoo.recipe(text).compile(zoo.build("vit", **VIT))
    began = time.perf_counter()
    history = model.fit(*digits.train.arrays(), batch_size=32, epochs=epochs, verbose=0)
    seconds = time.perf_counter() - began
    found = model.evaluate(*digits.test.arrays(), verbose=0, return_dict=True)
    return {"first loss": history.history["loss"][0], "accuracy": found["accuracy"], "seconds": seconds}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rates", type=float, nargs="*", default=[1e-3, 3e-3, 1e-2])
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=12)
    options = parser.parse_args()
    digits = data.load("digits")
    print(f"digits {digits.fingerprint}, {options}")
    for rate in options.rates:
        print(f"at a peak rate of {rate:g}")
        results = {
            r: [measured(r, rate, digits, seed=s, epochs=options.epochs) for s in options.seeds] for r in RECIPES
        }
        table(results, RECIPES[0])


if __name__ == "__main__":
    main()
