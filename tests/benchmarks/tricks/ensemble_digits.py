"""Pools softmax regression, a vision transformer, a residual network and a random forest on scikit-learn's digits.

    python tests/benchmarks/tricks/ensemble_digits.py --folder runs/ensemble_digits      # about three minutes

Trains each network with three seeds, then prints, with each of the three ways to weigh, the members, the ensemble and
their diversity; beside it an ensemble of three transformers that differ only in their seed, which says what diversity
of architecture adds. Runs that are there already are not trained again.
"""

import argparse
import warnings
from pathlib import Path

import zoo
from zoo.ensembling import summary_of, table_of

NETWORKS = {  # model, arguments, options of the training
    "softmax": ("softmax", {}, {"recipe": "adam(learning_rate=0.01)", "epochs": 30}),
    "resnet": ("resnet20", {}, {"recipe": "adam(learning_rate=0.003)+cosine", "epochs": 8}),
    "vit": (
        "vit_tiny",
        {"patch_size": 2, "embed_dim": 64, "depth": 4, "num_heads": 4},
        {"recipe": "focal+warmup", "epochs": 20},
    ),
}
SEEDS = (0, 1, 2)


def trained(folder):
    """Returns the runs, (name, seed) -> `zoo.Run`."""
    found = {}
    for name, (model, arguments, options) in NETWORKS.items():
        for seed in SEEDS:
            out = folder / f"{name}-{seed}"
            resume = (out / "run.json").exists()
            options = {**options, "seed": seed, "out": out, "resume": resume, "quiet": True}
            found[name, seed] = zoo.train(model, "digits", **options, **arguments)
            print(f"{out.name}: test accuracy {found[name, seed].metrics['test']['accuracy']:.2%}", flush=True)
    return found


def show(title, made):
    """Prints an ensemble's report."""
    report = made.report()
    print(f"\n{title}")
    print(f"{'member':18}{'weight':>8}{'val loss':>10}{'test acc':>10}{'test loss':>11}{'test ECE':>10}")
    for name, weight, *rest in table_of(report):
        print(f"{name:18}{weight:>8}{rest[0]:>10}{rest[1]:>10}{rest[2]:>11}{rest[3]:>10}")
    print("\n".join(summary_of(report)))


def main():
    """Trains what is missing and prints every ensemble."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/ensemble_digits"))
    folder = parser.parse_args().folder
    runs = trained(folder)
    different = [runs["softmax", 0], runs["resnet", 0], runs["vit", 0], "random_forest"]
    for weights in ("uniform", "validation", "greedy"):
        made = zoo.ensemble(different, "digits", weights=weights, out=folder / f"different-{weights}")
        show(f"different members, weights {weights}", made)
    warnings.simplefilter("ignore")  # that they differ only in their seed
    for name in NETWORKS:
        made = zoo.ensemble([runs[name, seed] for seed in SEEDS], "digits", out=folder / f"{name}-seeds")
        show(f"three seeds of {name}, weights uniform", made)


if __name__ == "__main__":
    main()
