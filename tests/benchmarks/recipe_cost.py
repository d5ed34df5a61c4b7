"""Measures what each trick costs: the time of a recipe's `fit` against stock Keras Adam and loss on the same net.

    python tests/benchmarks/recipe_cost.py                # every trick
    python tests/benchmarks/recipe_cost.py fgm ema        # some
    python tests/benchmarks/recipe_cost.py --jit --rounds 50 fgm

Each round times every contestant in turn, so that whatever else the machine does meets all of them alike; the ratio of
a trick is the median over rounds of its time to the stock model's in the same round. The processor's time, which other
programs disturb less, stands beside it. A trick that sets the optimizer is compared with the same optimizer of Keras.
Most tricks run a small CNN on 1,797 images of 8 x 8, as the digits are; text tricks an LSTM on 100 tokens out of 20,000
words.
"""

import argparse
import statistics
import time

import zoo

zoo.build  # noqa: B018 - imports Keras without its backend's start-up notices

import keras  # noqa: E402
import numpy as np  # noqa: E402
from keras import layers  # noqa: E402

from zoo.spec import Spec, attach  # noqa: E402

IMAGE_RECIPES = (
    "plain",
    "focal",
    "label_smoothing",
    "flooding",
    "warmup(epochs=1)",
    "cosine",
    "cyclic(epochs=1)",
    "warmup(epochs=1)+cosine",
    "focal+label_smoothing+warmup(epochs=1)+cosine",
    "radam",
    "sgd(weight_decay=1e-4)",
    "adam(weight_decay=0.01)",
    "ema",
    "flip_crop(pad=1)",
    "fgsm",
    "ifgsm(steps=5)",
    "pgd(steps=3)",
    "pgd(steps=7)",
    "sam",
    "gradient_penalty",
    "ant",
    "clip_weights(limit=1.0)",
)
# Tricks that set the optimizer are compared with Keras's own, and not with Adam.
OPTIMIZERS = {
    "adamw": lambda: keras.optimizers.AdamW(),
    "lion": lambda: keras.optimizers.Lion(),
    "muon": lambda: keras.optimizers.Muon(),
    "clip_norm": lambda: keras.optimizers.Adam(global_clipnorm=1.0),
    "weight_decay": lambda: keras.optimizers.Adam(weight_decay=0.01),
    "accumulate": lambda: keras.optimizers.Adam(gradient_accumulation_steps=4),
    "lookahead": lambda: keras.optimizers.Adam(),
    "layer_decay": lambda: keras.optimizers.Adam(),
}
IMAGE_RECIPES += tuple(OPTIMIZERS)
IMAGE_RECIPES += ("one_cycle", "step", "polynomial", "snapshot(cycles=1)", "early_stopping(metric='loss')")
IMAGE_RECIPES += ("gradual_unfreeze", "freeze_bn", "swa")
TEXT_RECIPES = ("plain", "fgm", "free_lb(steps=3)")
NOISE = "stock"  # the stock model against itself: what a ratio of nothing looks like here


def image_net():
    """Returns a CNN, image (B, 8, 8, 1) -> logits (B, 10), and its data."""
    image = x = keras.Input((8, 8, 1), name="image")
    for i, filters in enumerate((32, 64, 64), start=1):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{i}")(x)
        x = layers.BatchNormalization(name=f"norm{i}")(x)
        x = layers.Activation("relu", name=f"relu{i}")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, layers.Dense(10, name="logits")(x), name="cnn")
    rng = np.random.default_rng(0)
    data = rng.random((1797, 8, 8, 1), "float32"), rng.integers(0, 10, 1797).astype("int32")
    return attach(model, Spec("cnn", {}, "image_classification")), data, 32


def text_net():
    """Returns an LSTM, tokens (B, 100) -> logits (B, 1), and its data."""
    tokens = keras.Input((100,), dtype="int32", name="tokens")
    x = layers.Embedding(20_000, 128, mask_zero=True, name="embedding")(tokens)
    x = layers.LSTM(64, name="lstm")(x)
    model = keras.Model(tokens, layers.Dense(1, name="logits")(x), name="text")
    rng = np.random.default_rng(0)
    data = rng.integers(1, 20_000, (640, 100)).astype("int32"), rng.integers(0, 2, 640).astype("int32")
    return attach(model, Spec("text", {}, "text_classification")), data, 64


def stock(net, optimizer=None, **options):
    """Returns the net compiled as a Keras user would, with Adam where no optimizer is given."""
    model = keras.Model(net.inputs, net.outputs, name=net.name)
    binary = net.output_shape[-1] == 1
    loss = keras.losses.BinaryCrossentropy if binary else keras.losses.SparseCategoricalCrossentropy
    accuracy = keras.metrics.BinaryAccuracy(threshold=0.0) if binary else "accuracy"
    model.compile(optimizer or keras.optimizers.Adam(1e-3), loss(from_logits=True), metrics=[accuracy], **options)
    return model


def measure(make, recipes, rounds, epochs, **options):
    """Prints each recipe's median ratio to stock Keras, of time with its quartiles, and of the processor's time."""
    contestants = {"stock Keras": stock(make()[0], **options), NOISE: stock(make()[0], **options)}
    for text in recipes:
        if text in OPTIMIZERS:
            contestants[f"Keras for {text}"] = stock(make()[0], OPTIMIZERS[text](), **options)
        contestants[text] = zoo.recipe(text).compile(make()[0], **options)
    (x, y), batch_size = make()[1:]
    for model in contestants.values():  # traced and warm before any clock runs
        model.fit(x, y, batch_size=batch_size, epochs=2, verbose=0)
    wall = {name: [] for name in contestants}
    cpu = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, model in contestants.items():
            start = time.perf_counter(), time.process_time()
            model.fit(x, y, batch_size=batch_size, epochs=epochs, verbose=0)
            wall[name].append(time.perf_counter() - start[0])
            cpu[name].append(time.process_time() - start[1])
    base = statistics.median(wall["stock Keras"])
    print(f"stock Keras on {make()[0].name!r}: {base / epochs * 1000:.0f} ms an epoch of {len(x):,} examples")
    print(f"  {'ratio to it':<48} {'time':>6}   {'quartiles':<17} {'CPU time':>8}")
    for name in [NOISE, *recipes]:
        against = f"Keras for {name}" if name in OPTIMIZERS else "stock Keras"
        low, middle, high = statistics.quantiles(ratios(wall[name], wall[against]), n=4)
        processor = statistics.median(ratios(cpu[name], cpu[against]))
        print(f"  {name:<48} {middle:6.3f}   {low:.3f} to {high:.3f}    {processor:8.3f}", flush=True)


def ratios(times, base):
    """Returns the ratio of each round."""
    return [t / b for t, b in zip(times, base, strict=True)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recipes", nargs="*", help="recipes to measure; by default every trick")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=1, help="epochs of each timed fit")
    parser.add_argument("--jit", action="store_true", help="compile the steps with XLA")
    given = parser.parse_args()
    options = {"jit_compile": True} if given.jit else {}
    print(f"{keras.backend.backend()}, {given.rounds} rounds of {given.epochs} epochs{', XLA' if given.jit else ''}")
    for make, all_of_them in ((image_net, IMAGE_RECIPES), (text_net, TEXT_RECIPES)):
        chosen = all_of_them
        if given.recipes:
            on_text = make is text_net
            chosen = [r for r in given.recipes if ("fgm" in r or "free_lb" in r) == on_text]
        if chosen:
            measure(make, chosen, given.rounds, given.epochs, **options)


if __name__ == "__main__":
    main()
