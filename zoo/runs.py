"""A run: the folder that one training leaves behind, and what can be read from it.

run.json            what was run, on what, and what came out
metrics.csv         one row per epoch
curves.png          learning curves
config.json         the model's identity: builder, arguments, labels, preprocessing
best.safetensors    the weights that are kept
last.safetensors    everything needed to go on exactly: weights, optimizer, seeds, history
<assets>            files that preprocessing needs, such as a vocabulary
"""

import csv
import io
import itertools
import json
from pathlib import Path

from zoo.errors import IntegrityError, invalid
from zoo.files import disk, write_atomic, write_picture
from zoo.spec import Spec

RUN, CONFIG, METRICS, CURVES = "run.json", "config.json", "metrics.csv", "curves.png"
BEST, LAST = "best.safetensors", "last.safetensors"
FORMAT = 1


class Run:
    """A finished, interrupted or running training, read from its folder.

    Args:
        folder: the run folder.

    Raises:
        InvalidArgument: the folder holds no run.
        IntegrityError: its `run.json` is damaged.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        path = self.folder / RUN
        if not path.is_file():
            raise invalid(f"{self.folder} is not a run folder: it has no {RUN}")
        with disk(path, "read"):
            text = path.read_text("utf-8")
        try:
            self.record = json.loads(text)
        except ValueError as error:
            raise IntegrityError(f"{path} is not valid JSON ({error}). Train again, or restore the file.") from error
        if not isinstance(self.record, dict) or self.record.get("format") != FORMAT:
            raise IntegrityError(f"{path} is not a run file that this zoo reads (format {FORMAT}).")

    def __repr__(self):
        return f"<Run {self.folder} {self.status}: {self.record['model']['name']} on {self.record['data']['name']}>"

    @property
    def status(self):
        """One of "running", "interrupted", "failed" and "finished"."""
        return self.record["status"]

    @property
    def history(self):
        """One dict per epoch: epoch, loss, accuracy, val_loss, val_accuracy, learning_rate, seconds."""
        return self.record["history"]

    @property
    def metrics(self):
        """The measured results of the kept weights, by split; empty until the run is finished."""
        return self.record.get("metrics", {})

    @property
    def spec(self):
        """The `Spec` of the trained model."""
        return Spec.from_json(self.record["model"])

    @property
    def assets(self):
        """Files that preprocessing needs: name -> bytes."""
        return {name: (self.folder / name).read_bytes() for name in self.record["data"].get("assets", ())}

    def model(self):
        """Returns the trained `keras.Model`, plain, with the kept weights."""
        from zoo.hub import load

        return load(self.folder)

    def publishable(self):
        """Returns what a hub keeps of this run: published name -> path."""
        files = {"model.safetensors": BEST, RUN: RUN, CURVES: CURVES}
        files |= {name: name for name in self.record["data"].get("assets", ())}
        return {name: self.folder / own for name, own in files.items() if (self.folder / own).is_file()}


def unused_folder(name):
    """Returns the first folder in `runs` of a name, with a number where that is taken, that does not exist."""
    base = Path("runs") / name
    numbered = (Path(f"{base}-{n}") for n in itertools.count(2))
    return next(p for p in itertools.chain([base], numbered) if not p.exists())


def write_record(folder, record):
    """Writes `run.json` and `metrics.csv` of a run, each atomically."""
    folder = Path(folder)
    write_atomic(folder / RUN, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    if record["history"]:
        columns = list(dict.fromkeys(name for row in record["history"] for name in row))
        table = io.StringIO()
        writer = csv.DictWriter(table, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(record["history"])
        write_atomic(folder / METRICS, table.getvalue())


def draw_curves(histories, path, *, title):
    """Draws loss, figures such as the accuracy, and learning rate by epoch and writes the picture, a PNG.

    Args:
        histories: dict, label -> rows as in `Run.history`. One history shows training and validation; of several
            each shows its validation, in one colour with its training curve faint.
        path: the file to write.
        title: above the picture.
    """
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = list(dict.fromkeys(n for h in histories.values() for row in h for n in row))
    figures = [n for n in names if n.endswith(("accuracy", "mae", "perplexity", "estimate")) and n[:4] != "val_"]
    shown = [n for n in ("loss", *figures[:4], "learning_rate") if n in names]
    figure = Figure(figsize=(4.2 * len(shown), 3.4), layout="constrained")
    axes = figure.subplots(1, len(shown), squeeze=False)[0]
    for axis, name in zip(axes, shown, strict=True):
        for number, (label, rows) in enumerate(histories.items()):
            colour = f"C{number}"
            epochs = [row["epoch"] for row in rows]
            single = len(histories) == 1
            mark = "o" if len(rows) < 2 else None
            validation = [row.get(f"val_{name}") for row in rows]
            if any(v is not None for v in validation):
                axis.plot(epochs, [row[name] for row in rows], color=colour, alpha=0.35, lw=1.2, marker=mark,
                          label="training" if single else f"{label}, training")  # fmt: skip
                axis.plot(epochs, validation, color=colour, lw=1.8, marker=mark,
                          label="validation" if single else f"{label}, validation")  # fmt: skip
            else:
                axis.plot(epochs, [row[name] for row in rows], color=colour, lw=1.8, marker=mark, label=label)
        own = " (each recipe's own)" if name == "loss" and len(histories) > 1 else ""  # focal loss is not cross-entropy
        own = " (standardised)" if name.endswith("mae") else own  # as the model is trained; results are in the unit
        axis.set_title(name.replace("_", " ") + own, fontsize=11)
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.25)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
        if name != "learning_rate" or len(histories) > 1:
            axis.legend(frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=12)
    return write_picture(path, figure)
