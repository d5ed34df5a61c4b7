"""Pools shipped classifiers of MNIST with a random forest, and sets the ensemble beside its best member.

    python tests/benchmarks/ensemble_mnist.py                        # about two minutes, nothing is trained but trees
    python tests/benchmarks/ensemble_mnist.py --out runs/ensemble    # with the report and the picture of each

The members are the weights that come with zoo, and scikit-learn's forest with its usual settings. The weights of the
mixture come from the validation split; `docs/effects/ensemble_mnist.toml` records what this printed. With one way to
weigh the members the same figures come from `zoo ensemble MEMBER... random_forest --data mnist --weights validation`.
"""

import argparse
import time
from pathlib import Path

import zoo
from zoo.data import load
from zoo.ensembling import Ensemble, summary_of, table_of

MEMBERS = ("nin.mnist", "highway_conv_thin.mnist", "softmax.mnist", "random_forest")
WAYS = ("validation", "uniform", "greedy")  # the first is what is recorded as the ensemble's; it was chosen beforehand


def show(how, made):
    """Prints an ensemble's report."""
    report = made.report()
    print(f"\nweights {how}")
    print(f"{'member':26}{'weight':>8}{'val acc':>10}{'val loss':>10}{'test acc':>10}{'test loss':>11}{'test ECE':>10}")
    rows = [*report["members"], report["ensemble"]]
    for (name, weight, *rest), row in zip(table_of(report), rows, strict=True):
        print(
            f"{name:26}{weight:>8}{row['validation']['accuracy']:>10.2%}{rest[0]:>10}{rest[1]:>10}{rest[2]:>11}{rest[3]:>10}"
        )
    print("\n".join(summary_of(report)), flush=True)


def main():
    """Pools the members in every way and prints each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, help="folder for reports and pictures")
    parser.add_argument("--seed", type=int, default=0, help="of the forest")
    given = parser.parse_args()
    began = time.perf_counter()
    dataset = load("mnist")
    print(f"data {dataset.fingerprint}")
    made = zoo.ensemble(MEMBERS, "mnist", weights=WAYS[0], seed=given.seed)
    for how in WAYS:
        made = Ensemble(made.members, dataset, how)  # the same members: the forest is fitted once
        show(how, made)
        if given.out:
            made.save(given.out / how)
    print(f"\n{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
