"""Ensembles: the pooled opinion of different classifiers, what it gains, and how differently its members err."""

import itertools
import json
import warnings
from pathlib import Path

import numpy as np

from zoo import pooling
from zoo.data import load as load_data
from zoo.data.base import Dataset
from zoo.errors import DataError, invalid
from zoo.files import make_folder, write_atomic, write_picture
from zoo.inference import Classes, Prediction
from zoo.members import Data, members_of

REPORT, PICTURE = "ensemble.json", "ensemble.png"
ONLY_SEED = (
    "{names} differ only in their seed: their errors are more alike than those of members that differ in architecture, "
    "recipe or data, and pooling them gains less (Gontijo-Lopes et al., 2021, https://arxiv.org/abs/2110.12899)."
)


def ensemble(members, data, *, weights="uniform", data_options=None, batch_size=256, seed=0, out=None):
    """Pools the class probabilities of different classifiers on the same data.

    Args:
        members: two or more of: a reference, a `Run` or run folder, a `keras.Model`, a folder of snapshots inside a
            run folder, a fitted scikit-learn classifier, and the names "random_forest" and "gradient_boosting",
            which are fitted here on the flattened training inputs (of texts: on counts of words).
        data: a data set's name, a path, or a `zoo.data.base.Dataset`; each network reads it with its own
            preprocessing.
        weights: "uniform"; "validation", the weights on the simplex whose mixture has the least cross-entropy on the
            validation split (`zoo.pooling.likeliest_weights`); "greedy", forward selection with replacement there
            (`zoo.pooling.greedy_weights`); or one number for each member.
        data_options: options of the data set.
        batch_size: examples at a time.
        seed: of the scikit-learn models that are fitted here.
        out: folder for the report (`ensemble.json`) and the picture (`ensemble.png`); None writes nothing.

    Returns:
        An `Ensemble`.

    Raises:
        InvalidArgument: fewer than two members, or one that is no classifier with one output.
        DataError: the data has no classes, or a member's classes, order or inputs are not those of the data.
    """
    if isinstance(members, (str, Path)) or not hasattr(members, "__len__"):
        raise invalid("an ensemble needs a list of members", members, "Write [first, second].")
    options = dict(data_options or {})
    dataset = load_data(data, **options)
    if not isinstance(dataset.labels, tuple) or any(split.labels.ndim != 1 for split in dataset.splits.values()):
        works = "Ensembles pool class probabilities; numbers and running text have none."
        raise invalid(f"{dataset.name} has no classes to vote on", dataset.task, works, DataError)
    source = dataset if isinstance(data, Dataset) else data
    found = members_of(members, Data(source, options, dataset), batch_size=batch_size, seed=seed)
    if len(found) < 2:
        raise invalid("an ensemble needs at least two members", [m.name for m in found])
    made = Ensemble(found, dataset, weights)
    for line in made.report()["warnings"]:
        warnings.warn(line, stacklevel=2)
    if out is not None:
        made.save(out)
    return made


class Ensemble:
    """Classifiers whose probabilities are averaged. Made by `zoo.ensemble`.

    Attributes:
        members: list of `zoo.members.Member`.
        weights: float64 (M,), not negative, with sum 1.
        labels: the class names, in the order of the columns.
    """

    def __init__(self, members, dataset, weights="uniform"):
        self.members, self.labels, self._dataset = members, dataset.labels, dataset
        self._probabilities = {
            part: np.stack([m.of_split(part) for m in members]) for part in ("validation", "test")
        }  # (M, n, C)
        self.how = weights if isinstance(weights, str) else "given"
        self.weights = pooling.weights_by(weights, self._probabilities["validation"], dataset.validation.labels)

    def __repr__(self):
        return f"<Ensemble of {', '.join(m.name for m in self.members)} on {self._dataset.name}>"

    def predict_proba(self, inputs):
        """Returns the pooled probabilities of raw inputs, float64 (n, C).

        Args:
            inputs: raw inputs as `zoo.predict` takes them: paths, arrays of raw pixels, strings, dicts.
        """
        rows = [m.of_inputs(inputs) for m, w in zip(self.members, self.weights, strict=True) if w > 0]
        return pooling.pooled(np.stack(rows), self.weights[self.weights > 0])

    def predict(self, inputs, *, top=3):
        """Returns a `zoo.inference.Prediction` for each raw input, as `zoo.predict` does.

        Args:
            inputs: one raw input or a list of them, see `predict_proba`.
            top: how many classes each lists.
        """
        items = [inputs] if isinstance(inputs, (str, Path, dict)) else list(inputs)
        found = []
        for number, row in enumerate(self.predict_proba(items)):
            order = np.argsort(-row, kind="stable")[:top]
            answer = Classes(tuple((self.labels[i], float(row[i])) for i in order))
            shown = str(items[number]) if isinstance(items[number], (str, Path)) else f"input {number}"
            found.append(Prediction(shown, {"class": answer}))
        return found

    def report(self):
        """Returns what the members, the ensemble and their differences amount to, as a dict that JSON takes.

        `members`: for each `name`, `kind`, `weight`, and `validation` and `test` with `accuracy`, `loss`
        (cross-entropy) and `ece` (expected calibration error, 15 bins). `ensemble`: the two splits' figures.
        `gain`: on the test split, of the accuracy and the loss over the best member (by test accuracy, so that the
        comparison flatters the member) and over the members' mean; how many of its wrong answers the ensemble
        `corrected` and how many right ones it `broke`. `diversity`: on the test split `disagreement` and
        `error_correlation` of each two members, and their means. `warnings`: sentences.
        """
        splits = {part: getattr(self._dataset, part).labels for part in ("validation", "test")}
        rows = [
            {"name": m.name, "kind": m.kind, "weight": float(w)}
            | {part: pooling.figures_of(self._probabilities[part][i], y) for part, y in splits.items()}
            for i, (m, w) in enumerate(zip(self.members, self.weights, strict=True))
        ]
        whole = {part: pooling.pooled(self._probabilities[part], self.weights) for part in splits}
        figures = {part: pooling.figures_of(whole[part], y) for part, y in splits.items()}
        apart = pooling.disagreement(self._probabilities["test"])
        alike = pooling.error_correlation(self._probabilities["test"], splits["test"])
        return {
            "data": self._dataset.name,
            "weights": self.how,
            "examples": {part: len(y) for part, y in splits.items()},
            "members": rows,
            "ensemble": figures,
            "gain": self._gain(rows, figures["test"], whole["test"], splits["test"]),
            "diversity": {
                "disagreement": apart.tolist(),
                "error_correlation": [[None if np.isnan(v) else float(v) for v in row] for row in alike],
                "mean_disagreement": _number(pooling.mean_of_pairs(apart)),
                "mean_error_correlation": _number(pooling.mean_of_pairs(alike)),
            },
            "warnings": self._complaints(),
        }

    def _gain(self, rows, own, probabilities, labels):
        best = max(range(len(rows)), key=lambda i: (rows[i]["test"]["accuracy"], -rows[i]["test"]["loss"]))
        mean = {k: float(np.mean([r["test"][k] for r in rows])) for k in ("accuracy", "loss")}
        right = probabilities.argmax(axis=1) == labels
        theirs = self._probabilities["test"][best].argmax(axis=1) == labels
        return {
            "best_member": rows[best]["name"],
            "accuracy_over_best": own["accuracy"] - rows[best]["test"]["accuracy"],
            "loss_over_best": own["loss"] - rows[best]["test"]["loss"],
            "accuracy_over_mean": own["accuracy"] - mean["accuracy"],
            "loss_over_mean": own["loss"] - mean["loss"],
            "corrected": int((right & ~theirs).sum()),
            "broke": int((~right & theirs).sum()),
        }

    def _complaints(self):
        """Returns a sentence for each group of members that differ in nothing but their seed."""
        groups = {}
        for member in self.members:
            if member.alike is not None:
                groups.setdefault(member.alike, []).append(member.name)
        named = [_listed(names) for names in groups.values() if len(names) > 1]
        return [ONLY_SEED.format(names=names) for names in named]

    def save(self, folder):
        """Writes the report and the picture into a folder, made where it is missing. Returns its `Path`."""
        folder = make_folder(folder)
        write_atomic(folder / REPORT, json.dumps(self.report(), indent=1, ensure_ascii=False) + "\n")
        self.draw(folder / PICTURE)
        return folder

    def draw(self, path):
        """Draws how often each two members disagree and how far their errors go together; writes a PNG."""
        from matplotlib.figure import Figure

        report = self.report()
        names = [row["name"] for row in report["members"]]
        side = 1.6 + 0.75 * len(names)
        figure = Figure(figsize=(2 * side + 1.2, side), layout="constrained")
        axes = figure.subplots(1, 2)
        shown = (
            ("disagreement", "share of test examples named differently", "Blues", "{:.1%}", (0, None)),
            ("error_correlation", "correlation of errors", "RdBu_r", "{:.2f}", (-1, 1)),
        )
        for axis, (key, title, colours, text, limits) in zip(axes, shown, strict=True):
            values = np.array(report["diversity"][key], float)  # None becomes NaN
            image = axis.imshow(values, cmap=colours, vmin=limits[0], vmax=limits[1])
            for i, j in itertools.product(range(len(names)), repeat=2):
                written = "-" if np.isnan(values[i, j]) else text.format(values[i, j])
                red, green, blue, _ = image.cmap(image.norm(values[i, j]))
                dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
                axis.text(j, i, written, ha="center", va="center", fontsize=9, color="white" if dark else "black")
            axis.set_xticks(range(len(names)), names, rotation=30, ha="right")
            axis.set_yticks(range(len(names)), names)
            axis.set_title(title, fontsize=11)
        own, gain = report["ensemble"]["test"], report["gain"]
        figure.suptitle(
            f"{report['data']}: ensemble {own['accuracy']:.2%}, best member {gain['best_member']} "
            f"{own['accuracy'] - gain['accuracy_over_best']:.2%}",
            fontsize=12,
        )
        return write_picture(path, figure)


def table_of(report):
    """Returns the rows of a report's table, texts: name, weight, validation loss, test accuracy, test loss, ECE."""
    rows = [(r["name"], f"{r['weight']:.3f}", r) for r in report["members"]]
    rows.append(("ensemble", "", report["ensemble"]))
    found = []
    for name, weight, row in rows:
        test = row["test"]
        figures = f"{test['accuracy']:.2%}", f"{test['loss']:.4f}", f"{test['ece']:.4f}"
        found.append((name, weight, f"{row['validation']['loss']:.4f}", *figures))
    return found


def summary_of(report):
    """Returns sentences on what pooling gains and how different the members are."""
    gain, diversity = report["gain"], report["diversity"]
    correlation = diversity["mean_error_correlation"]
    return [
        f"gain over {gain['best_member']}, the best member: accuracy {gain['accuracy_over_best']:+.2%}, loss "
        f"{gain['loss_over_best']:+.4f}; {gain['corrected']} errors corrected, {gain['broke']} made",
        f"gain over the members' mean: accuracy {gain['accuracy_over_mean']:+.2%}, loss {gain['loss_over_mean']:+.4f}",
        f"diversity: two members disagree on {diversity['mean_disagreement']:.2%} of the examples; their errors "
        + ("have no correlation to speak of" if correlation is None else f"correlate by {correlation:.2f}"),
    ]


def _listed(names):
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _number(value):
    return None if np.isnan(value) else value
