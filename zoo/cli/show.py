"""What the commands that only look print. Nothing here imports Keras or NumPy."""

import dataclasses
import fnmatch
import functools
import re
from pathlib import Path

import zoo
from zoo.cards import card_of
from zoo.catalogue import catalogue, near
from zoo.cli import names, registering, screen
from zoo.cli.screen import Column
from zoo.errors import UnknownName, unknown
from zoo.recipes import list_recipes
from zoo.registry import ModelRow, TrickRow, WeightsRow, list_models, list_tricks
from zoo.spec import jsonable

_FILES = (
    ("folder/", "one folder of images per class: folder/<class>/*, or folder/train/<class>/* with validation/, test/"),
    ("file.npz", "arrays"),
    ("file.csv, file.tsv", "texts and labels (also .gz)"),
)


def as_values(row, **more):
    """Returns a row as JSON values."""
    return jsonable({**more, **dataclasses.asdict(row)})


def _matching(rows, pattern, kind):
    """Returns the rows whose name matches, refusing a plain name that matches none.

    Raises:
        UnknownName: with the nearest.
    """
    found = [row for row in rows if fnmatch.fnmatchcase(row.name, pattern)]
    if not found and not re.search(r"[*?\[]", pattern):
        raise unknown(kind, pattern, {row.name for row in rows})
    return found


def _tricks_written(row):
    return re.sub(r"\s*\+\s*", " + ", row.tricks)


# Lists


def models(pattern, task, as_json):
    """Prints the models whose name matches a pattern, or whose family is that name."""
    every = list_models(task=task)
    found = [row for row in every if row.family == pattern] or _matching(every, pattern, "model")
    if as_json:
        screen.as_json([as_values(row) for row in found])
        return
    columns = (
        Column("name"),
        Column("parameters", right=True),
        Column("FLOPs", right=True),
        Column("input", right=True, fold=True),
        Column("paper", fold=True),
    )
    rows = [
        (
            row.name,
            screen.count(row.parameters),
            screen.count(row.flops),
            screen.shape(row.input_shape),
            f"{row.paper.authors}, {row.paper.year}" if row.paper else "-",
        )
        for row in found
    ]
    note = "FLOPs: one forward pass of one example of this input, a multiply-add being two. zoo info NAME says more."
    screen.table(columns, rows, note=note)


def tricks(pattern, stage, as_json):
    """Prints the tricks whose name matches a pattern, in the order in which they apply."""
    found = _matching(list_tricks(stage=stage), pattern, "trick")
    if as_json:
        screen.as_json([as_values(row) for row in found])
        return
    columns = Column("name"), Column("stage"), Column("what it does", fold=True), Column("paper", fold=True)
    rows = [
        (row.name, row.stage, row.summary, f"{row.paper.authors}, {row.paper.year}" if row.paper else "-")
        for row in found
    ]
    screen.table(columns, rows, note="Join them with +, as in focal(gamma=2)+warmup. zoo info NAME says more.")


def recipes(pattern, task, as_json):
    """Prints the named recipes whose name matches a pattern."""
    found = _matching(list_recipes(task=task), pattern, "recipe")
    if as_json:
        screen.as_json([as_values(row) for row in found])
        return
    columns = Column("name"), Column("model"), Column("data"), Column("tricks", fold=True)
    rows = [
        (row.name, row.settings.get("model", "-"), row.settings.get("data", "-"), _tricks_written(row)) for row in found
    ]
    screen.table(columns, rows, note="zoo info NAME says how to run one, and what came of it.")


def datasets(pattern, task, as_json):
    """Prints the data sets whose name matches a pattern and, for all of them, what else can be one."""
    every = zoo_datasets()
    if task is not None and task not in {row.task for row in every}:
        raise unknown("task", task, {row.task for row in every})
    found = _matching([row for row in every if task in (None, row.task)], pattern, "data set")
    if as_json:
        screen.as_json([as_values(row) for row in found])
        return
    columns = Column("name"), Column("task"), Column("summary", fold=True)
    screen.table(columns, [(row.name, row.task, row.summary) for row in found])
    if screen.in_terminal() and pattern == "*":
        screen.line("\nA path also names data:")
        screen.fields(_FILES, indent=2)


def zoo_datasets():
    """Returns the row of every registered data set."""
    from zoo.data import names as rows

    return rows()


# One thing


def info(name, as_json):
    """Prints everything that is known about a name, or what each term of a recipe expression is.

    Raises:
        UnknownName: nothing has this name; the message gives the nearest.
    """
    if _is_run(name):
        from zoo.cli.results import run

        return run(Path(name).expanduser(), as_json)
    if re.search(r"[+(]|^-|\w-\w", name) or name.endswith(".toml"):
        return _expression(name, as_json)
    try:
        row = zoo.info(name)
    except UnknownName as error:
        data = {row.name: row for row in zoo_datasets()}
        if name in data:
            return _one("data set", _dataset, data[name], as_json)
        rows = (*list_models(), *list_tricks(), *list_recipes(), *data.values())
        known = {r.name for r in rows} | {r.family for r in list_models()} | {*near(name, catalogue().entries)}
        raise unknown("model, trick, recipe, data set or weights", name, known, see="zoo list") from error
    if isinstance(row, ModelRow):
        return _model(row, as_json)
    shown = {TrickRow: ("trick", _trick), WeightsRow: ("weights", registering.page)}
    return _one(*shown.get(type(row), ("recipe", _recipe)), row, as_json)


def _one(kind, printed, row, as_json):
    """Prints a row as JSON, or as a page by the function `printed`."""
    return screen.as_json(as_values(row, kind=kind)) if as_json else printed(row)


def page(name, kind, summary, facts):
    """Prints a heading and (name, value) facts."""
    if not screen.in_terminal():
        screen.fields([("name", name), ("kind", kind), ("summary", summary or None), *facts])
        return
    screen.line(f"{name}: {kind}", style="bold")
    screen.line(f"{summary}.\n" if summary else "")
    screen.fields(facts)


def _section(title, rows):
    """Prints name and value of each of some settings under a title."""
    if rows:
        screen.line()
        screen.line(title, style="bold")
        screen.fields([(name, repr(value)) for name, value in rows.items()], indent=2)


def _papers(card, row):
    """Returns the papers of a card, else that of the row."""
    return [p for p in card if p[0] == "paper"] or [("paper", str(row.paper) if row.paper else None)]


def _model(row, as_json):
    variants = [r.name for r in list_models() if r.family == row.family]
    used_by = [r.name for r in list_recipes() if r.settings.get("model") in (row.name, row.default and row.family)]
    weights = [w for w, entry in catalogue().entries.items() if entry["model"] == row.name]
    if as_json:
        screen.as_json(as_values(row, kind="model", variants=variants, recipes=used_by, weights=weights))
        return
    card = card_of("models", row.name)
    exact = functools.partial("{:,}".format)
    flops = f"{exact(row.flops)} in one forward pass of one example" if row.flops is not None else None
    page(
        row.name,
        f"model for {row.task}",
        row.summary,
        [
            ("parameters", exact(row.parameters) if row.parameters is not None else None),
            ("FLOPs", flops),
            ("memory", _memory(row)),
            ("input", screen.shape(row.input_shape)),
            *_papers(card, row),
            *[part for part in card if part[0] != "paper"],
            ("licence", f"{row.license} (of the code)"),
            ("variants", ", ".join(variants)),
            ("recipes", ", ".join(used_by) or None),
            ("weights", _some(weights, f"zoo list --weights {row.name}")),
        ],
    )
    _blocks(row)
    _section("arguments", row.arguments)


def _memory(row):
    """Returns in words what weights and activations take in float32, or None where nobody counted."""
    if row.activations is None:
        return None
    weights, activations = (screen.size(4 * n) for n in (row.parameters, row.activations))
    return f"{weights} of weights, {activations} of activations for each example in training (float32)"


def _blocks(row):
    """Prints the table of a model's blocks."""
    if not row.blocks:
        return
    columns = (
        Column("block"),
        Column("times", right=True),
        Column("output", right=True),
        Column("parameters", right=True),
        Column("FLOPs", right=True),
        Column("layers", fold=True),
    )
    rows = [
        (
            block["name"],
            block["times"] if block["times"] > 1 else "",
            screen.shape(block["shape"]),
            screen.count(block["parameters"]),
            screen.count(block["flops"]),
            block["layers"],
        )
        for block in row.blocks
    ]
    screen.line()
    screen.line("blocks", style="bold")
    screen.table(columns, rows, note=f"Parameters and FLOPs of one block each. zoo plot {row.name} draws them.")


def _trick(row):
    card = card_of("tricks", row.name)
    page(
        row.name,
        f"trick of the {row.stage} stage",
        row.summary,
        [*_papers(card, row), *[part for part in card if part[0] != "paper"]],
    )
    _section("arguments", row.arguments)


def _some(names, command):
    """Returns the first of many names and the command that lists all of them, or None where there are none."""
    more = f" and {len(names) - 4} more ({command})" if len(names) > 4 else ""
    return ", ".join(names[:4]) + more or None


def _start_of(row):
    """Returns the command that a named recipe is for, as far as it does not say model and data itself."""
    if "model" in row.settings:
        return "zoo finetune" if "start" in row.settings else "zoo train"
    pretrained = row.name.startswith("finetune_") or "features_once" in row.tricks
    return "zoo finetune REF DATA" if pretrained else "zoo train MODEL DATA"


def _recipe(row):
    page(
        row.name,
        f"recipe for {row.task}" if row.task else "recipe",
        row.summary,
        [("tricks", _tricks_written(row)), ("run it", f"{_start_of(row)} --recipe {row.name}")],
    )
    _section("settings", {k: v for k, v in row.settings.items() if k != "speed"})
    _section("speed", row.settings.get("speed"))
    _section("result", row.result)


def _dataset(row):
    page(row.name, f"data set for {row.task}", row.summary, [("train on it", f"zoo train MODEL {row.name}")])
    _section("options", row.arguments)


def _expression(text, as_json):
    """Explains each term of a recipe expression from the index alone."""
    terms, _ = names.recipe(text)
    rows = {row.name: row for row in (*list_recipes(), *list_tricks())}
    if as_json:
        parts = [{"sign": sign, "name": n, "given": given, **as_values(rows[n])} for sign, n, given in terms]
        screen.as_json({"kind": "expression", "expression": text, "terms": parts})
        return
    for number, (sign, name, given) in enumerate(terms):
        row = rows[name]
        if number:
            screen.line()
        if sign < 0:
            screen.line(f"-{name}", style="bold")
            screen.fields([("removes", row.summary)], indent=2)
        elif isinstance(row, TrickRow):
            screen.line(name, style="bold")
            arguments = {**row.arguments, **given}
            said = ", ".join(f"{k}={v!r}" + ("" if k in given else " (default)") for k, v in arguments.items())
            facts = ("does", row.summary), ("stage", row.stage), ("with", said or None), ("paper", row.paper)
            screen.fields(facts, indent=2)
        else:
            screen.line(name, style="bold")
            screen.fields([("recipe", row.summary or None), ("tricks", _tricks_written(row))], indent=2)
    if screen.in_terminal():
        screen.line("\n--model NAME says in numbers what this does to a model.", style="dim")


def _is_run(name):
    from zoo.runs import RUN

    return (Path(name).expanduser() / RUN).is_file()
