"""Deep learning's support vectors: how far a chosen part of the training examples reaches, against a random one."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.averages import put_back, values_of
from zoo.data import load as load_data
from zoo.errors import DataError, invalid
from zoo.files import make_folder, write_atomic, write_picture
from zoo.inference import for_model
from zoo.paired import paired
from zoo.plan import heads_of
from zoo.recipes import recipe as read_recipe
from zoo.scoring import TRICK, ScoreKeeper, check, chosen, kept_scores, scoring_recipe
from zoo.settings import BATCH_SIZE, EPOCHS, seeds_of
from zoo.spec import spec_of
from zoo.training import train

REPORT, PICTURE, HARDNESS = "support_vectors.json", "support_vectors.png", "hardness.npy"
BUDGETS = ("epochs", "steps")


def support_vectors(
    model,
    data,
    *,
    recipe=None,
    score="el2n",
    fractions=(1.0, 0.5, 0.25, 0.1),
    keep="hardest",
    balanced=False,
    score_epochs=2,
    seeds=3,
    epochs=None,
    batch_size=None,
    budget="epochs",
    out=None,
    quiet=False,
    data_options=None,
    **arguments,
):
    """Scores every training example, then trains on the chosen parts and on random parts of the same sizes.

    The hardness is the mean over the seeds of short trainings. Every training is a run in a folder inside `out`;
    called again after it was stopped, the study goes on where it was.

    Args:
        model: a model's name, or a zoo model whose weights every training starts from; it has them afterwards too.
        data: as for `zoo.train`.
        recipe: as for `zoo.train`; by default "plain".
        score: "el2n", "margin" or "forgetting"; see `zoo.scoring.hardness`.
        fractions: of the training examples, each above 0 and at most 1.
        keep: "hardest", "easiest", or "moderate", those nearest to the median hardness.
        balanced: whether each class keeps its share, in the chosen and in the random parts.
        score_epochs: of each short training.
        seeds: how many, 0, 1, ..., or which, each for one scoring and one training of every part.
        epochs, batch_size: of the trainings; by default the recipe's, else 20 and 32.
        budget: "epochs": every part is trained for so many, so that a small part takes less time; "steps": for as
            many steps as the whole takes.
        out: folder; by default `runs/<model>.<data>.support_vectors`.
        quiet: whether to print nothing.
        data_options: options of the data set.
        **arguments: of the builder, for a model given by name.

    Returns:
        A `Study`.

    Raises:
        InvalidArgument: something cannot work; nothing has been trained yet.
        DataError: the data has no class numbers.
    """
    chosen_recipe = read_recipe(recipe or "plain")
    fractions = tuple(sorted({float(f) for f in fractions}, reverse=True))
    check("support_vectors", score=score, keep=keep, epochs=score_epochs, fractions=fractions or (0,))
    if any(t.name == TRICK for t in chosen_recipe.tricks):
        raise invalid(f"the recipe has the trick {TRICK} already", str(chosen_recipe), "Leave it out here.")
    if budget not in BUDGETS:
        raise invalid("`budget` must be 'epochs' or 'steps'", budget)
    seeds = seeds_of(seeds)
    name, dataset = _read(model, data, data_options)
    out = make_folder(out if out is not None else Path("runs") / f"{name}.{dataset.name}.support_vectors")
    setting = chosen_recipe.setting
    options = {"batch_size": setting("batch_size", batch_size, BATCH_SIZE), "quiet": quiet, **arguments}
    runs = _Runs(model, out, options)
    keeper = (lambda: ScoreKeeper(dataset.train, options["batch_size"]),)
    found = []
    for seed in seeds:
        more = {"epochs": score_epochs, "keep": "last", "callbacks": keeper}
        run = runs(f"scoring-seed{seed}", dataset, scoring_recipe(chosen_recipe), seed, **more)
        found.append(kept_scores(run.folder, score_epochs, score))
    hardness = np.mean(found, axis=0)
    write_atomic(out / HARDNESS, lambda file: np.save(file, hardness))
    whole_epochs, rows = setting("epochs", epochs, EPOCHS), []
    for fraction in fractions:
        longer = whole_epochs if budget == "epochs" else max(1, round(whole_epochs / fraction))
        if fraction == 1:
            whole_runs = [runs(f"whole-seed{s}", dataset, chosen_recipe, s, epochs=longer) for s in seeds]
            rows.append(_row(1.0, len(hardness), whole_runs, whole_runs))
            continue
        kept = chosen(hardness, dataset.train.labels, fraction, keep, balanced)
        ours, theirs = [], []
        for seed in seeds:
            luck = np.random.default_rng([seed, 1]).random(len(hardness))
            drawn = chosen(luck, dataset.train.labels, fraction, balanced=balanced)
            for made, part, indices in ((ours, keep, kept), (theirs, "random", drawn)):
                some = dataset.but(train=dataset.train.subset(indices))
                folder = f"{part}-{fraction:g}-seed{seed}"
                made.append(runs(folder, some, chosen_recipe, seed, epochs=longer))
        rows.append(_row(fraction, len(kept), ours, theirs))
    report = {
        "model": name,
        "data": dataset.name,
        "recipe": str(chosen_recipe),
        "score": score,
        "score_epochs": score_epochs,
        "keep": keep,
        "balanced": balanced,
        "budget": budget,
        "epochs": whole_epochs,
        "seeds": list(seeds),
        "test_examples": len(dataset.test),
        "rows": rows,
    }
    for row in rows:
        row |= _difference(row, len(dataset.test)) if row["fraction"] < 1 else {}
    study = Study(report, hardness, dataset.train.labels, out)
    study.save()
    return study


def _read(model, data, data_options):
    """Returns `(name, data set)` as the model takes it, having checked that there are classes to score by."""
    dataset = load_data(data, **(data_options or {}))
    name = model
    if not isinstance(model, str):
        spec = spec_of(model)
        name, dataset = spec.name, for_model(dataset, spec)
        heads = heads_of(model)
        if len(heads) != 1 or heads[0].kind not in ("softmax", "sigmoid"):
            raise invalid(f"support_vectors finds no single head of classes in model {name!r}", [h.name for h in heads])
    labels = dataset.train.labels
    if not isinstance(dataset.labels, tuple) or isinstance(labels, dict) or labels.ndim != 1:
        works = "Margins and error vectors are those of a classifier."
        raise invalid(f"{dataset.name} has no class number for each example", dataset.task, works, DataError)
    return name, dataset


class _Runs:
    """Trains from the same start again and again, each time in a folder of its own; what was stopped goes on."""

    def __init__(self, model, folder, options):
        self.model, self.folder, self.options = model, folder, options
        self.start = [] if isinstance(model, str) else values_of(model.variables)

    def __call__(self, name, dataset, recipe, seed, **more):
        folder = self.folder / name
        resume = (folder / "run.json").exists()
        try:
            options = {**self.options, **more}
            return train(self.model, dataset, recipe=recipe, seed=seed, out=folder, resume=resume, **options)
        finally:
            put_back(self.start)


def _row(fraction, examples, ours, theirs):
    figures = [[run.metrics["test"]["accuracy"] for run in runs] for runs in (ours, theirs)]
    means = [float(np.mean(values)) for values in figures]
    return {
        "fraction": fraction,
        "examples": examples,
        "accuracy": figures[0],
        "random_accuracy": figures[1],
        "mean": means[0],
        "random_mean": means[1],
        "seconds": float(np.mean([run.record["seconds"] for run in ours])),
    }


def _difference(row, examples):
    """Returns the paired difference from the random part and its confidence interval, None where one seed has none."""
    found = paired(row["accuracy"], row["random_accuracy"], resolution=1 / examples)
    ends = [None if np.isnan(v) else float(v) for v in (found.low, found.high)]
    return {"difference": found.mean, "low": ends[0], "high": ends[1]}


@dataclass(frozen=True)
class Study:
    """What `zoo.support_vectors` found.

    Attributes:
        report: a dict that JSON takes: the settings, and in `rows`, for each fraction, `examples`, the test
            `accuracy` of each seed and the `mean`, the same of random parts, mean `seconds` of a training, and the
            paired `difference` with the ends of its 95% confidence interval, `low` and `high`.
        hardness: of each training example, float64 (n,): the higher the harder.
        labels: the class numbers of the training examples, (n,).
        folder: where every run, the report and the picture are.
    """

    report: dict
    hardness: np.ndarray
    labels: np.ndarray
    folder: Path

    def indices(self, fraction):
        """Returns the training examples that a fraction keeps, ascending."""
        return chosen(self.hardness, self.labels, fraction, self.report["keep"], self.report["balanced"])

    def save(self):
        """Writes the report and the picture."""
        write_atomic(self.folder / REPORT, json.dumps(self.report, indent=1, ensure_ascii=False) + "\n")
        self.draw(self.folder / PICTURE)

    def draw(self, path):
        """Draws test accuracy against the kept fraction, and how hard the examples are; writes a PNG."""
        from matplotlib.figure import Figure

        report, rows = self.report, self.report["rows"]
        figure = Figure(figsize=(9.6, 3.8), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        shown = (
            ("accuracy", "mean", f"the {report['keep']} by {report['score']}", "C0"),
            ("random_accuracy", "random_mean", "a random part", "C1"),
        )
        fractions = [row["fraction"] for row in rows]
        for key, mean, label, colour in shown:
            left.plot(fractions, [row[mean] for row in rows], color=colour, marker="o", label=label)
            ends = [[f(row[key]) for row in rows] for f in (min, max)]
            left.fill_between(fractions, *ends, color=colour, alpha=0.2, lw=0)
        left.set_xscale("log")
        left.set_xticks(fractions, [f"{f:.0%}" if f * 100 % 1 < 1e-9 else f"{f:.1%}" for f in fractions])
        left.minorticks_off()
        left.set(xlabel="kept part of the training examples", ylabel="test accuracy")
        left.set_title(f"{len(report['seeds'])} seeds: mean, lowest to highest", fontsize=11)
        left.legend(frameon=False, fontsize=9)
        right.hist(self.hardness, bins=50, color="C0")
        right.set(xlabel=f"hardness by {report['score']}", ylabel="training examples", yscale="log")
        for place, fraction in enumerate(fractions):
            if fraction < 1 and report["keep"] == "hardest" and not report["balanced"]:
                edge, height = self.hardness[self.indices(fraction)].min(), 0.98 - 0.07 * place
                right.axvline(edge, color="0.4", lw=0.8, ls="--")
                words = f" kept: {fraction:.0%}"
                right.text(edge, height, words, transform=right.get_xaxis_transform(), va="top", fontsize=8)
        for axis in (left, right):
            axis.grid(alpha=0.25)
            for side in ("top", "right"):
                axis.spines[side].set_visible(False)
        figure.suptitle(f"{report['model']} on {report['data']}, {report['recipe']}", fontsize=12)
        return write_picture(path, figure)


def table_of(report):
    """Returns the rows of a report's table, texts: fraction, examples, chosen, random, difference, its interval."""
    found = []
    for row in report["rows"]:
        cells = [f"{row['fraction']:.4g}", f"{row['examples']:,}", f"{row['mean']:.2%}", f"{row['random_mean']:.2%}"]
        between = "" if row.get("low") is None else f"{100 * row['low']:+.2f} to {100 * row['high']:+.2f}"
        cells += [f"{100 * row['difference']:+.2f}" if "difference" in row else "", between]
        found.append((*cells, f"{row['seconds']:.1f}"))
    return found
