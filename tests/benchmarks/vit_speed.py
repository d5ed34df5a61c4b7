"""Measures how fast the zoo's ViT-Ti trains beside KerasHub's: the same sizes, batch and optimizer, in one process.

    pip install --target /tmp/keras_hub --no-deps keras-hub kagglehub kagglesdk tensorflow-text regex tokenizers
    PYTHONPATH=/tmp/keras_hub python tests/benchmarks/vit_speed.py
    PYTHONPATH=/tmp/keras_hub python tests/benchmarks/vit_speed.py --batch 16 --rounds 20 --jit

(KerasHub is kept apart because it is no dependency of the zoo.) Each round trains both in turn, so that whatever else
the machine does meets both alike; the ratio is the median over rounds of KerasHub's time to ours in the same round.
The processor's time, which other programs disturb less, stands beside it.
"""

import argparse
import statistics
import time

import zoo

zoo.build  # noqa: B018 - imports Keras without its backend's start-up notices

import keras  # noqa: E402
import numpy as np  # noqa: E402

CLASSES = 1000


def ours(size):
    """Returns the zoo's ViT-Ti of patch 16, image (B, size, size, 3) -> logits (B, 1000)."""
    return zoo.build("vit_tiny", image_shape=(size, size, 3), num_classes=CLASSES)


def kerashubs(size):
    """Returns KerasHub's, of the same depth, width, heads and class token."""
    import keras_hub

    backbone = keras_hub.models.ViTBackbone(
        image_shape=(size, size, 3), patch_size=(16, 16), num_layers=12, num_heads=3, hidden_dim=192, mlp_dim=768
    )
    return keras_hub.models.ViTImageClassifier(backbone=backbone, num_classes=CLASSES, preprocessor=None)


def compiled(model, jit):
    """Compiles a model with AdamW and cross-entropy of its logits."""
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.AdamW(1e-3), loss, jit_compile=jit)
    return model


def seconds(model, x, y, steps):
    """Returns (seconds, processor seconds) of a step of training."""
    wall, used = time.perf_counter(), time.process_time()
    for _ in range(steps):
        model.train_on_batch(x, y)
    return (time.perf_counter() - wall) / steps, (time.process_time() - used) / steps


def middle(values):
    """Returns the median with the quartiles beside it, as text."""
    low, median, high = statistics.quantiles(values, n=4)
    return f"{median:.2f} ({low:.2f} to {high:.2f})"


def main():
    """Prints images per second of both and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224, help="side of the image")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--steps", type=int, default=2, help="of each model in a round")
    parser.add_argument("--jit", action="store_true", help="compile both with XLA")
    chosen = parser.parse_args()

    rng = np.random.default_rng(0)
    x = rng.standard_normal((chosen.batch, chosen.size, chosen.size, 3)).astype("float32")
    y = rng.integers(0, CLASSES, chosen.batch).astype("int32")
    models = {"zoo": ours(chosen.size), "keras_hub": kerashubs(chosen.size)}
    for name, model in models.items():
        compiled(model, chosen.jit)
        seconds(model, x, y, 2)  # tracing
        print(f"{name:10} {model.count_params():,} parameters")
    times = {name: [] for name in models}
    for number in range(chosen.rounds):
        for name in sorted(models, reverse=number % 2):
            times[name].append(seconds(models[name], x, y, chosen.steps))
    print(
        f"{keras.backend.backend()}, batch {chosen.batch}, XLA {'on' if chosen.jit else 'off'}, {chosen.rounds} rounds"
    )
    for kind, unit in ((0, "second"), (1, "processor second")):
        for name in models:
            print(f"{name:10} {middle([chosen.batch / t[kind] for t in times[name]])} images/{unit}")
        ratios = [k[kind] / z[kind] for z, k in zip(times["zoo"], times["keras_hub"], strict=True)]
        print(f"ratio by {unit}s: {middle(ratios)}")


if __name__ == "__main__":
    main()
