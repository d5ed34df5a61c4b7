"""Fine-tunes a CIFAR-10 network on a tenth of MNIST, beside the same network from scratch on the same tenth.

    python tests/benchmarks/finetune_mnist.py                          # needs MNIST; every training is a run in --out
    python tests/benchmarks/finetune_mnist.py --share 0.01 --seeds 0   # a hundredth

The ways to tune are recipes, each also a command: zoo finetune --recipe resnet20_mnist_llrd. The digits become 32 x 32
colour pixels, standardised as the photographs were. From scratch there are two ways, the tricks of resnet20_mnist_full
and those of resnet20_cifar10 without mirroring; all ways have the same examples, epochs and batches. Validation chooses
the better of the two, and each run's test part is read once, at its end. Called again, finished runs are used and
stopped ones go on.
"""

import argparse
import statistics
from pathlib import Path

import zoo
from zoo.data import load_like
from zoo.hub import checkpoint
from zoo.paired import paired, verdict
from zoo.runs import RUN

TUNED = ("resnet20_mnist_head", "resnet20_mnist_full", "resnet20_mnist_llrd")
FROM_SCRATCH = {
    "scratch_adamw": "adamw(learning_rate=0.003, weight_decay=0.01)+cosine+warmup(epochs=1)",
    "scratch_sgd": "sgd(learning_rate=0.1, momentum=0.9, weight_decay=0.0001)+cosine+warmup(epochs=1)",
}


def run_of(name, seed, spec, options, given):
    """Returns the finished `Run` of one way and seed."""
    folder = given.out / f"{name}-{seed}"
    settings = {"epochs": given.epochs, "batch_size": given.batch_size, "seed": seed, "out": folder}
    settings |= {"resume": (folder / RUN).is_file()}
    if name in TUNED:
        return zoo.finetune(given.start, "mnist", recipe=name, data_options=options, **settings)
    return zoo.train(
        spec.name, load_like("mnist", spec.preprocessing, **options), recipe=FROM_SCRATCH[name], **settings
    )


def main():
    """Trains what is missing, then prints each way and its difference to the better start from scratch."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--start", default="zoo://resnet20.cifar10", help="what is fine-tuned (default: %(default)s)")
    parser.add_argument("--share", type=float, default=0.1, help="of MNIST's 55,000 training images")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/finetune_mnist"))
    given = parser.parse_args()
    spec, options = checkpoint(given.start).spec, {"resize": "bilinear", "train_share": given.share}
    runs = {
        name: [run_of(name, seed, spec, options, given) for seed in given.seeds] for name in (*FROM_SCRATCH, *TUNED)
    }
    first = runs[TUNED[0]][0].record["data"]
    print(f"\ndata {first['fingerprint']}, {first['sizes']}")
    print(f"{'way':20}{'validation':>12}{'test':>9}{'lowest':>9}{'highest':>9}{'seconds':>9}")
    figures = {}
    for name, found in runs.items():
        tests = figures[name] = [run.metrics["test"]["accuracy"] for run in found]
        validation = statistics.fmean(run.metrics["validation"]["accuracy"] for run in found)
        seconds = statistics.fmean(sum(epoch["seconds"] for epoch in run.history) for run in found)
        row = f"{name:20}{validation:>12.2%}{statistics.fmean(tests):>9.2%}{min(tests):>9.2%}{max(tests):>9.2%}"
        print(f"{row}{seconds:>9.0f}  {tests}")
    scratch = max(
        FROM_SCRATCH, key=lambda name: statistics.fmean(r.metrics["validation"]["accuracy"] for r in runs[name])
    )
    print(f"\nminus {scratch}, the better of the two on validation, points of the test part")
    for name in TUNED:
        found = paired(figures[name], figures[scratch], resolution=1e-4)
        ends = (
            f", 95% {100 * found.low:+.2f} to {100 * found.high:+.2f}, p {found.p:.2g}" if len(given.seeds) > 1 else ""
        )
        print(f"{name:20}{100 * found.mean:+.2f}{ends}: {verdict(found, found.p)}")


if __name__ == "__main__":
    main()
