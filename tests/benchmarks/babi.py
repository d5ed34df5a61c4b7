"""Trains a model on the bAbI tasks, one after another, and tabulates its test accuracy beside the majority answer's.

    python tests/benchmarks/babi.py qa.tsv                                # the book's model on every task
    python tests/benchmarks/babi.py memory.tsv --model qa_memn2n --tasks 1 2 4 5 15 20 --epochs 40
    python tests/benchmarks/babi.py linear.tsv --model qa_memn2n --linear-epochs 10   # the paper's linear start
    python tests/benchmarks/babi.py hidden.tsv --set hidden_units=64

The table grows by a line a task; a task that it holds already is not trained again. A task whose file is missing is
left out. "majority" is the share of the test part's most frequent answer, which no constant answer can beat; "errors"
is by how many standard errors of so many questions the model is better.
"""

import argparse
import ast
import tempfile
import time
from pathlib import Path

import numpy as np

import zoo
from zoo import data
from zoo.errors import DataError

COLUMNS = ("task", "train", "answers", "majority", "validation", "test", "errors", "epochs", "best_epoch", "seconds")


def measured(model, task, options):
    """Trains a model on one task. Returns a row of the table, column -> text."""
    dataset = data.load("babi", task=task)
    by_chance = np.bincount(dataset.test.labels).max() / len(dataset.test)
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        settings = {"batch_size": options.batch_size, "seed": options.seed, "recipe": options.recipe, "quiet": True}
        settings |= {name: ast.literal_eval(value) for name, _, value in (s.partition("=") for s in options.set)}
        if options.linear_epochs:
            linear = {"linear": True, "epochs": options.linear_epochs, "out": f"{folder}/linear"}
            settings["weights"] = str(zoo.train(model, dataset, **settings, **linear).folder)
        run = zoo.train(model, dataset, epochs=options.epochs, out=f"{folder}/run", **settings)
        accuracy = {part: run.metrics[part]["accuracy"] for part in ("validation", "test")}
        best = run.record["best_epoch"]
    error = np.sqrt(by_chance * (1 - by_chance) / len(dataset.test))
    values = (
        *(task, len(dataset.train), len(dataset.labels), f"{by_chance:.3f}"),
        *(f"{accuracy['validation']:.3f}", f"{accuracy['test']:.3f}", f"{(accuracy['test'] - by_chance) / error:.1f}"),
        *(options.epochs, best, round(time.process_time() - started)),
    )
    return dict(zip(COLUMNS, map(str, values), strict=True))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--model", default="qa")
    parser.add_argument("--tasks", type=int, nargs="+", default=list(range(1, 21)))
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--linear-epochs", type=int, default=0)
    parser.add_argument("--batch-size", type=int, default=200)  # divides every part: one shape to compile
    parser.add_argument("--recipe", default="adam(learning_rate=0.005)+cosine")
    parser.add_argument("--set", action="append", default=[], help="an argument of the model, name=value")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not options.table.exists():
        options.table.write_text("\t".join(COLUMNS) + "\n")
    done = {line.split("\t")[0] for line in options.table.read_text().splitlines()[1:]}
    for task in options.tasks:
        if str(task) in done:
            continue
        try:
            row = measured(options.model, task, options)
        except DataError as error:
            print(f"task {task} left out: {error}")
            continue
        with options.table.open("a") as file:
            file.write("\t".join(row.values()) + "\n")
    print(options.table.read_text())


if __name__ == "__main__":
    main()
