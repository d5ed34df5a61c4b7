"""Training speed of our convnets beside the same networks of `keras.applications`, as ratios.

    python tests/benchmarks/training_speed.py xception --rounds 10
    python tests/benchmarks/training_speed.py resnet50 inception_v3 --batch-size 8 --threads 2

Both networks live in one process and take turns, step by step, so that other work on the machine slows both alike; what
is printed is the median over the rounds of the ratio within a round. Ratios of processor time are steadier than those
of wall time on a shared machine, and are what they would be on an idle one where all threads are busy.
`build_time.py` measures building.
"""

import argparse
import statistics
import time

import keras
import numpy as np

APPLICATIONS = {
    "resnet50": "ResNet50",
    "inception_v3": "InceptionV3",
    "xception": "Xception",
    "resnet50v2": "ResNet50V2",
}


def timed(function):
    """Returns the (wall, processor) seconds that a call takes."""
    wall, processor = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - processor


def contestants(name):
    """Returns our network and theirs, both of flavour "keras", without weights to read."""
    from zoo.factory import build

    application = getattr(keras.applications, APPLICATIONS[name])
    return build(name, flavour="keras"), application(weights=None, classifier_activation=None)


def compare(name, batch_size, rounds):
    """Prints the ratios of one network: above 1, ours is faster."""
    models = contestants(name)
    rng = np.random.default_rng(0)
    x = rng.random((batch_size, *models[0].input_shape[1:]), dtype="float32")
    y = rng.integers(1000, size=batch_size)
    for model in models:
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        for _ in range(2):
            model.train_on_batch(x, y)
    steps = [[timed(lambda m=m: m.train_on_batch(x, y)) for m in models] for _ in range(rounds)]
    wall, processor = (statistics.median(theirs[i] / ours[i] for ours, theirs in steps) for i in (0, 1))
    best = [batch_size / min(step[i][0] for step in steps) for i in (0, 1)]
    print(
        f"{name}: trains {wall:.2f} times as fast ({processor:.2f} by processor time; best step {best[0]:.2f} "
        f"against {best[1]:.2f} images/s)",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=["xception"], metavar="NAME")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--threads", type=int, default=0, help="0 leaves the number to the backend")
    given = parser.parse_args()
    if given.threads and keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(given.threads)
    elif given.threads and keras.backend.backend() == "torch":
        import torch

        torch.set_num_threads(given.threads)
    print(f"{keras.backend.backend()}, batches of {given.batch_size}, {given.rounds} rounds")
    for name in given.names:
        compare(name, given.batch_size, given.rounds)


if __name__ == "__main__":
    main()
