"""Trains on the hardest, easiest or middling part of MNIST by a score, against random parts of the same sizes.

    python tests/benchmarks/tricks/support_vectors_mnist.py                  # highway10, hardest by EL2N, 3 seeds
    python tests/benchmarks/tricks/support_vectors_mnist.py --keep easiest --score forgetting --score-epochs 5

The first is `zoo support-vectors highway10 mnist --recipe "adam(learning_rate=0.001)" --epochs 5 --batch-size 128
--budget steps`: every part is trained for as many steps as the whole. It needs MNIST, see zoo/data/sets/mnist.py.
Prints the table, and how the classes share the hardest tenth.
"""

import argparse
from pathlib import Path

import numpy as np

import zoo
from zoo.subsets import table_of

TITLES = ("fraction", "examples", "kept", "random", "difference", "95% interval", "seconds")


def main():
    """Runs the study, or goes on with it, and prints its table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="highway10")
    parser.add_argument("--score", default="el2n")
    parser.add_argument("--keep", default="hardest")
    parser.add_argument("--budget", default="steps")
    parser.add_argument("--score-epochs", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--fractions", type=float, nargs="+", default=[1.0, 0.5, 0.25, 0.1])
    parser.add_argument("--folder", type=Path, default=None)
    options = vars(parser.parse_args())
    name = "-".join(str(options[k]) for k in ("model", "score", "keep", "budget"))
    out = options.pop("folder") or Path("runs/support_vectors_mnist") / name
    study = zoo.support_vectors(
        options.pop("model"),
        "mnist",
        recipe="adam(learning_rate=0.001)",
        batch_size=128,
        out=out,
        quiet=True,
        **options,
    )
    print("".join(f"{title:>20}" for title in TITLES))
    for row in table_of(study.report):
        print("".join(f"{cell:>20}" for cell in row))
    hardest = np.argsort(-study.hardness)[: len(study.hardness) // 10]
    shares = np.bincount(study.labels[hardest], minlength=10) / len(hardest)
    print("classes in the hardest tenth: " + ", ".join(f"{c} {share:.1%}" for c, share in enumerate(shares)))


if __name__ == "__main__":
    main()
