"""How long zoo takes to build a network, against the same network of keras.applications.

    python tests/benchmarks/build_time.py                       # resnet50, inception_v3 and xception
    python tests/benchmarks/build_time.py --rounds 9 xception

Each round builds every contestant in turn with new random weights, so that whatever else the machine does meets both
alike; the ratio is the median over rounds of zoo's time to theirs in the same round, and below one zoo is quicker. The
processor's time, which other programs disturb less, stands beside it. A first round, not counted, loads what is loaded
once. `empty` builds with zeros, as zoo does where a checkpoint's weights follow.
"""

import argparse
import gc
import platform
import statistics
import time

import zoo

zoo.build  # noqa: B018 - imports Keras without its backend's start-up notices

import keras  # noqa: E402

from zoo.factory import build_empty  # noqa: E402

THEIRS = {"resnet50": "ResNet50", "inception_v3": "InceptionV3", "xception": "Xception"}


def contestants(name):
    """Returns dict, contestant -> function that builds one network."""
    return {
        "theirs": lambda: getattr(keras.applications, THEIRS[name])(weights=None, classifier_activation=None),
        "zoo": lambda: zoo.build(name, flavour="keras"),
        "empty": lambda: build_empty(name, flavour="keras"),
        "torch": lambda: zoo.build(name, flavour="torch"),
    }


def timed(build):
    """Returns (seconds, seconds of the processor) that one build takes."""
    keras.backend.clear_session()
    gc.collect()
    wall, processor = time.perf_counter(), time.process_time()
    build()
    return time.perf_counter() - wall, time.process_time() - processor


def main():
    """Prints medians in seconds and ratios to keras.applications."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=list(THEIRS), help=", ".join(THEIRS))
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    backend = keras.backend.backend()
    print(f"{platform.machine()}, {backend}, Keras {keras.__version__}, median of {options.rounds}")
    print(f"{'network':<14}{'contestant':<12}{'seconds':>9}{'ratio':>8}{'processor':>11}{'ratio':>8}")
    for name in options.names:
        builders = contestants(name)
        rounds = [{key: timed(build) for key, build in builders.items()} for _ in range(options.rounds + 1)][1:]
        for key in builders:
            row = f"{name:<14}{key:<12}"
            for clock, width in ((0, 9), (1, 11)):
                median = statistics.median(r[key][clock] for r in rounds)
                ratio = statistics.median(r[key][clock] / r["theirs"][clock] for r in rounds)
                row += f"{median:>{width}.2f}{ratio:>8.2f}"
            print(row, flush=True)


if __name__ == "__main__":
    main()
