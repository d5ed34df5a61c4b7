"""The leaderboard's rows: what recipes recorded and what finished runs measured, best first on each data set."""

import dataclasses
import json
import math
import statistics
import warnings
from dataclasses import dataclass
from pathlib import Path

from zoo.data import names as datasets
from zoo.errors import IntegrityError, ZooError, invalid, unknown
from zoo.recipes import list_recipes
from zoo.recorded import counts_answers, figures_of
from zoo.registry import find_model, list_models
from zoo.runs import RUN, Run
from zoo.tasks import TASKS, figure

_LONGEST_TEXT, _LONGEST_HISTORY = 2_000, 5_000  # characters and epochs of a stranger's run that are shown
_COUNTED = 200_000_000  # weights of a run's model up to which it is built to count its FLOPs
NOTES = {
    "critic_estimate": "An estimate depends on its critic: of two models it does not say which is better.",
    "loss": "A loss depends on what it is computed over: compare runs of one model and preparation only.",
}


@dataclass(frozen=True)
class Standing:
    """One row of the leaderboard: a recorded recipe, or runs that differ in their seed alone.

    Attributes:
        name: of the recipe, or the folder of the first run and how many more there are.
        recorded: whether it is a recipe of the zoo with its recorded result.
        model, task: what was trained; the task is None where a recipe leaves it open.
        data: name of the data set as people read it.
        dataset: the data set's registered name, None where only `data` is known.
        copy: the name that the data gave themselves, "cifar10_jpeg" of the JPEG copy of `cifar10`; None of a share.
        start: the checkpoint that was fine-tuned, None from nothing.
        fingerprint: of the data as they were prepared.
        metric: the figure of the test split that the row is sorted by.
        values: of that figure, one per seed.
        figures: every measured figure of the test split: name -> values, one per seed.
        parameters: trainable and fixed weights.
        flops: of one forward pass of one example, a multiply-add being two; None where nobody counted.
        seconds: of one training with its validation, the mean over the seeds.
        tricks: the recipe, of a recorded one as its file has it.
        epochs, seeds, hardware, versions, command: how it was made; None or empty where it is not known.
        histories: (label, rows by epoch) of each seed that recorded one.
        folders: of the runs.
    """

    name: str
    recorded: bool
    model: str
    task: str | None
    data: str
    dataset: str | None
    fingerprint: str | None
    metric: str
    values: tuple
    figures: dict
    parameters: int | None = None
    flops: int | None = None
    seconds: float | None = None
    tricks: str = "plain"
    epochs: int | None = None
    seeds: tuple = ()
    hardware: str = ""
    versions: str = ""
    command: str | None = None
    copy: str | None = None
    start: str | None = None
    histories: tuple = ()
    folders: tuple = ()

    @property
    def value(self):
        """Mean of the figure over the seeds."""
        return statistics.fmean(self.values)

    @property
    def deviation(self):
        """Standard deviation over the seeds, None of a single one."""
        return statistics.stdev(self.values) if len(self.values) > 1 else None

    @property
    def higher_is_better(self):
        """Whether more of the figure is better."""
        return counts_answers(self.metric)

    @property
    def network(self):
        """The model's name, and whether it was pretrained."""
        return self.model if self.start is None else f"{self.model}, pretrained"

    @property
    def group(self):
        """What rows must share to be compared: data set, task and figure."""
        return self.data, self.task or "", self.metric

    def result(self):
        """Returns the figure as text, "92.59% ± 0.03" over several seeds."""
        if self.deviation is None:
            return figure(self.metric, self.value)
        width = f"{100 * self.deviation:.2f}" if self.higher_is_better else f"{self.deviation:.2g}"
        return f"{figure(self.metric, self.value)} ± {width}"


def leaderboard(*, data=None, task=None, runs=()):
    """Returns what was measured, grouped by data set, the best of each group first.

    Args:
        data: only this data set: its name as in `zoo datasets`, or as the rows show it.
        task: only this task, such as "image_classification".
        runs: folders of runs to stand beside the recorded results. Runs that differ in their seed alone are one row.
            A folder without a finished run is left out with a warning.

    Returns:
        list of `Standing`.

    Raises:
        InvalidArgument: a folder does not exist.
        UnknownName: nothing was measured on that data set or task; the message gives the nearest.
    """
    rows = [row for row in map(_of_recipe, list_recipes()) if row]
    rows += [_as_recorded(row, rows) for row in _of_runs(runs)]
    if data is not None:
        known = {row.data for row in rows} | {row.dataset for row in rows if row.dataset}
        # A registered name first: several of them may be shown by one.
        rows = [r for r in rows if data == r.dataset] or [r for r in rows if r.data.casefold() == str(data).casefold()]
        if not rows:
            raise unknown("data set with a result", data, known, see="zoo leaderboard")
    if task is not None:
        if task not in {row.task for row in rows}:
            raise unknown("task with a result", task, {row.task for row in rows if row.task} or TASKS)
        rows = [row for row in rows if row.task == task]
    return sorted(rows, key=_place)


def _place(row):
    task = list(TASKS).index(row.task) if row.task in TASKS else len(TASKS)
    worth = -row.value if row.higher_is_better else row.value
    return task, row.data.casefold(), row.data, row.metric, worth, row.name


def groups(rows):
    """Returns rows by `Standing.group`, in their order."""
    found = {}
    for row in rows:
        found.setdefault(row.group, []).append(row)
    return found


def spread(name, values):
    """Returns the mean of one figure over seeds, and its range where it has one, as text."""
    low, high = figure(name, min(values)), figure(name, max(values))
    return figure(name, sum(values) / len(values)) + (f" ({low} to {high})" if low != high else "")


def duration(seconds):
    """Returns seconds in words of three digits at most: "35 s", "18 min", "1.3 h"."""
    if seconds is None:
        return "-"
    if seconds < 99.5:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 99.5 * 60 else f"{seconds / 3600:.3g} h"


def _primary(task, names):
    """Returns the figure that a row is sorted by: the task's own, which a loss is not beside figures of heads, else the
    first that is no loss.
    """
    own = TASKS[task].metric if task in TASKS else "accuracy"
    for name in (own, f"logits_{own}"):  # the second where a classifier has side heads
        if name in names and (name != "loss" or not any(n.endswith(("_accuracy", "_mae")) for n in names)):
            return name
    return next((n for n in names if not n.endswith("loss")), next(iter(names), None))


# Recorded recipes


def _of_recipe(row):
    """Returns the `Standing` of a recipe, None of one without a result."""
    result = row.result
    figures = {k: tuple(v) for k, v in figures_of(result, "test").items() if v}
    metric = _primary(row.task, figures)
    model = row.settings.get("model", result.get("model"))
    if metric is None or model is None:
        return None
    name = result.get("data_name", row.settings.get("data"))
    by_epoch = {k.removesuffix("_by_epoch"): v for k, v in result.items() if k.endswith("_by_epoch")}
    epochs = [{"epoch": n + 1} | {k: v[n] for k, v in by_epoch.items() if n < len(v)} for n in range(_length(by_epoch))]
    return Standing(
        name=row.name,
        recorded=True,
        model=find_model(model).name,
        task=row.task,
        data=result.get("data", row.settings.get("data", "")),
        dataset=row.settings.get("data"),
        fingerprint=result.get("fingerprint"),
        metric=metric,
        values=figures[metric],
        figures=figures,
        parameters=result.get("parameters"),
        flops=result.get("flops"),
        seconds=result.get("seconds"),
        tricks=row.tricks,
        epochs=row.settings.get("epochs"),
        seeds=row.seeds,
        hardware=row.hardware,
        versions=result.get("versions", ""),
        command=result.get("command"),
        copy=None if "train_share" in row.settings.get("data_options", {}) else name,
        start=row.settings.get("start"),
        histories=((row.name, tuple(epochs)),) if epochs else (),
    )


def _length(columns):
    return max(map(len, columns.values()), default=0)


# The user's runs


def _of_runs(folders):
    """Returns the rows of run folders: one for runs that differ in their seed alone."""
    if isinstance(folders, (str, Path)):
        folders = [folders]
    kept = {}
    for folder in {Path(f).expanduser().resolve(): Path(f).expanduser() for f in folders}.values():
        if not folder.exists():
            raise invalid("there is no such run folder", str(folder), "Give folders of runs, such as runs/*.")
        if not (folder / RUN).is_file():
            if not (folder / "ablation.json").is_file():
                warnings.warn(f"{folder} is left out: it holds no run.", stacklevel=3)
            continue
        try:
            run = Run(folder)
            if run.record.get("status") != "finished":
                warnings.warn(f"{folder} is left out: it is not finished.", stacklevel=3)
                continue
            found = _of_run(run)
        except IntegrityError as error:
            warnings.warn(f"{folder} is left out: {error}", stacklevel=3)
            continue
        kept.setdefault(found[0], []).append(found[1])
    return [_joined(rows) for rows in kept.values()]


def _of_run(run):
    """Returns what decided a run but for its seed, and its `Standing`.

    Raises:
        IntegrityError: its record is not what a run writes.
    """
    record = _Record(run.record, run.folder)
    model, task = record.text("model", "name"), record.text("model", "task")
    test = record.get(dict, "metrics", "test")
    figures = {printable(k): (v,) for k, v in test.items() if k != "examples" and _is_number(v)}
    metric = _primary(task, figures)
    if metric is None:
        raise IntegrityError(f"{run.folder / RUN} has no figure of the test split.")
    arguments = record.get(dict, "model", "arguments")
    settings = {k: run.record.get(k) for k in ("epochs", "batch_size", "keep", "precision", "jit", "deterministic")}
    recipe, fingerprint = record.text("recipe_exact"), record.text("data", "fingerprint")
    parent, name = run.record["model"].get("parent"), record.text("data", "name")
    made = [model, arguments, recipe, fingerprint, parent, settings]
    seed, hardware = record.get(int, "seed"), record.get(dict, "hardware")
    parameters = record.get(int, "parameters")
    row = Standing(
        name=printable(str(run.folder)),
        recorded=False,
        model=model,
        task=task,
        data=name,
        dataset=name if name in {known.name for known in datasets()} else None,
        copy=name,
        start=printable(str(parent.get("ref") or "a model in memory")) if isinstance(parent, dict) else None,
        fingerprint=fingerprint,
        metric=metric,
        values=figures[metric],
        figures=figures,
        parameters=parameters,
        flops=_flops(model, arguments, parameters),
        seconds=float(record.get((int, float), "seconds")),
        tricks=record.text("recipe"),
        epochs=record.get(int, "epochs"),
        seeds=(seed,),
        hardware=_machine(hardware),
        versions=printable(", ".join(f"{k} {v}" for k, v in record.get(dict, "versions").items())),
        command=printable(run.record["command"]) if isinstance(run.record.get("command"), str) else None,
        histories=((f"seed {seed}", _epochs(record.get(list, "history"))),),
        folders=(str(run.folder),),
    )
    return json.dumps(made, sort_keys=True), row


def _as_recorded(row, recorded):
    """Returns a run's row, its data named as the recorded results name the same data."""
    alike = [r for r in recorded if row.fingerprint == r.fingerprint] or [r for r in recorded if row.copy == r.copy]
    if len({r.data for r in alike}) != 1:  # unknown, or such as bAbI, of which records name several parts
        return row
    return dataclasses.replace(row, data=alike[0].data, dataset=alike[0].dataset)


def _joined(rows):
    """Returns one row of runs that differ in their seed alone."""
    if len(rows) == 1:
        return rows[0]
    rows = sorted(rows, key=lambda row: (row.seeds, row.name))
    shared = [name for name in rows[0].figures if all(name in row.figures for row in rows)]
    folders = [folder for row in rows for folder in row.folders]
    return dataclasses.replace(
        rows[0],
        name=f"{rows[0].name} and {len(rows) - 1} more",
        values=tuple(v for row in rows for v in row.values),
        figures={name: tuple(v for row in rows for v in row.figures[name]) for name in shared},
        seconds=statistics.fmean(row.seconds for row in rows),
        seeds=tuple(seed for row in rows for seed in row.seeds),
        hardware="; ".join(dict.fromkeys(row.hardware for row in rows)),
        versions="; ".join(dict.fromkeys(row.versions for row in rows)),
        histories=tuple(history for row in rows for history in row.histories),
        folders=tuple(folders),
    )


class _Record:
    """A record that a stranger may have written: every value is checked as it is read."""

    def __init__(self, record, folder):
        self.record, self.folder = record, folder

    def get(self, kind, *path):
        value = self.record
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        number = kind is int or isinstance(kind, tuple)
        if not isinstance(value, kind) or (number and not _is_number(value)):
            raise IntegrityError(f"{self.folder / RUN} is damaged: {'.'.join(path)} is not what a run records.")
        return value

    def text(self, *path):
        return printable(self.get(str, *path))


def printable(text):
    """Returns a stranger's text on one line, without characters that a terminal or a page would act on."""
    text = "".join(c if c.isprintable() else " " for c in text[:_LONGEST_TEXT])
    return " ".join(text.split())


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _epochs(history):
    """Returns the numbers of a history by epoch."""
    rows = [row for row in history if isinstance(row, dict) and _is_number(row.get("epoch"))][:_LONGEST_HISTORY]
    return tuple({printable(k): v for k, v in row.items() if _is_number(v)} for row in rows)


def _machine(hardware):
    """Returns a run's hardware in words."""
    words = [str(hardware.get("processor") or "")]
    words += [f"{hardware['cores']} cores"] if _is_number(hardware.get("cores")) else []
    devices = hardware.get("devices")
    return printable(", ".join(filter(None, [*words, *map(str, devices if isinstance(devices, list) else [])])))


def _flops(model, arguments, parameters):
    """Returns the FLOPs of a run's model, None where it cannot be built here.

    Those of a variant's defaults are in the index; others are counted, which imports Keras and builds the network.
    """
    row = next((row for row in list_models() if row.name == model), None)
    if row is None or parameters > _COUNTED:
        return None
    if {**row.arguments, **arguments} == row.arguments:
        return row.flops
    from zoo.quiet import import_keras

    import_keras()
    from zoo.factory import build_empty
    from zoo.flops import count_flops

    try:
        built = build_empty(model, **arguments)
        return count_flops(built) if built.count_params() == parameters else None
    except (ZooError, ValueError, TypeError):  # of another zoo, or a layer of somebody's own
        return None
