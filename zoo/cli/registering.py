"""Published weights on the screen, and `zoo registry`: adding, checking, searching and comparing entries.

Nothing here imports Keras.
"""

import json
import re
from typing import Annotated

import typer

from zoo.cli import options, screen
from zoo.cli.screen import Column

app = typer.Typer(help="Add, check, search and compare published weights.", rich_markup_mode=None)
_PLAIN = re.compile(r"[^*?\[]*")


# Lists


def listed(pattern, task, as_json, **wanted):
    """Prints the published weights that match a pattern; the plain name of a model gives all of its weights."""
    from zoo.catalogue import list_weights

    found = list_weights(pattern, task=task, **wanted)
    if not found and _PLAIN.fullmatch(pattern):
        found = _of_model(pattern, task, wanted)
    weights_table(found, as_json)


def _of_model(name, task, wanted):
    """Returns the rows of a model, a family, or of names that begin with `name` and a point.

    Raises:
        UnknownName: there are none; with the nearest.
    """
    from zoo.catalogue import Rows, catalogue, list_weights, near
    from zoo.errors import unknown
    from zoo.registry import list_models

    models = {name, *(row.name for row in list_models() if row.family == name)}
    every = catalogue()
    kept = set(list_weights(task=task, **wanted).names)
    here = [n for n, entry in every.entries.items() if entry["model"] in models or n.startswith(f"{name}.")]
    if not here:
        raise unknown("weights", name, {*near(name, every.entries), *(e["model"] for e in every.entries.values())})
    return Rows(every, [n for n in here if n in kept])


def weights_table(rows, as_json=False):
    """Prints rows of weights as a table, or as JSON."""
    if as_json:
        from zoo.cli.show import as_values

        screen.as_json([as_values(row) for row in rows])
        return
    columns = [Column("name", fold=True), Column("params", right=True), Column("top-1", right=True)]
    columns += [Column("on"), Column("licence"), Column("pin")]
    cells = [
        (
            *(row.name, screen.count(row.parameters), _accuracy(row)),
            *(_data(row), row.license or "-", "yes" if row.pinned else "-"),
        )
        for row in rows
    ]
    if not screen.in_terminal():
        columns += [Column("reference")]
        cells = [(*cell, row.reference) for cell, row in zip(cells, rows, strict=True)]
    note = "top-1: as published, on that data. pin: - where the first pull will record it. zoo info NAME says more."
    screen.table(columns, cells, note=note)


def _data(row):
    """Returns what a row was measured on; in a terminal, where room is short, without its details."""
    text = row.dataset or "-"
    return re.split(r",| \(| validation", text)[0] if screen.in_terminal() else text


def _accuracy(row):
    accuracy = row.metrics.get("accuracy")
    return "-" if accuracy is None else f"{accuracy:.1%}"


# One entry


def page(row):
    """Prints everything about one entry."""
    from zoo import registries
    from zoo.catalogue import catalogue
    from zoo.cli import show
    from zoo.tasks import figures

    whence = catalogue().whence(row.name)
    show.page(
        row.name,
        f"weights of {row.model} for {row.task}",
        row.summary,
        [
            ("reference", row.ref),
            ("revision", row.revision or f"not pinned yet: the first pull records it in {registries.own_path()}"),
            ("SHA-256", row.sha256),
            ("licence", row.license or "not stated: ask its publisher before you use it"),
            ("parameters", None if row.parameters is None else f"{row.parameters:,}"),
            ("arguments", ", ".join(f"{k}={_written(v)}" for k, v in row.arguments.items()) or None),
            ("format", row.format if row.format == "zoo" else f"{row.format}, converted on pull"),
            ("registry", whence),
            ("use it", f'zoo.build("{row.model}", weights="{row.name}")'),
        ],
    )
    if row.metrics:
        screen.line()
        screen.line(f"published{': ' + row.dataset if row.dataset else ''}", style="bold")
        screen.fields([*figures(row.metrics), ("source", row.source or "not stated")], indent=2)


def _written(value):
    return "x".join(map(str, value)) if isinstance(value, list) else repr(value)


# Commands


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", help="variant.tag, such as resnet50.flowers.")],
    ref: Annotated[str, typer.Argument(metavar="REF", help="owner/name[@revision], hf://owner/name, or a folder.")],
    license: Annotated[str | None, typer.Option(help="Of the weights.", show_default="their card's")] = None,
    summary: Annotated[str | None, typer.Option(help="One line.")] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="NAME=NUMBER", help="A published figure; repeatable.", show_default=False),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="What the figures were measured on.")] = None,
    source: Annotated[str | None, typer.Option(help="Where the figures stand.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Replace your entry of this name.")] = False,
    as_json: options.AsJson = False,
):
    """Pull, verify and pin weights under a name of your own."""
    from zoo.cli import names, show
    from zoo.hub import pinning

    about = {"license": license, "summary": summary, "dataset": dataset, "source": source, "replace": replace}
    row, path = pinning.add(name, ref, metrics=names.settings("--metric", metric), **about)
    if as_json:
        screen.as_json(show.as_values(row, registry=str(path)))
        return
    screen.line(f"added {row.name}")
    pins = ("ref", row.reference), ("SHA-256", row.sha256), ("licence", row.license or "not stated")
    screen.fields([*pins, ("registry", path)])


@app.command()
def verify(
    pattern: options.Pattern = "*",
    pull: Annotated[bool, typer.Option("--pull", help="Fetch what is not in the cache, too.")] = False,
    as_json: options.AsJson = False,
):
    """Check that entries agree and that the bytes are what they say."""
    from zoo.cli import show
    from zoo.hub import pinning

    found = list(pinning.verify(pattern, pull=pull))
    wrong = [verdict for verdict in found if verdict.state == "wrong"]
    if as_json:
        screen.as_json([show.as_values(verdict) for verdict in found])
    else:
        told = [verdict for verdict in found if verdict.state in ("verified", "pinned", "wrong")]
        for verdict in told:
            screen.line(f"{verdict.state}: {verdict.name}" + (f": {verdict.detail}" if verdict.detail else ""))
        states = [verdict.state for verdict in found]
        counts = [f"{states.count(state)} {state}" for state in dict.fromkeys(states)]
        entries = "1 entry" if len(found) == 1 else f"{len(found)} entries"
        screen.line(f"{entries}: {', '.join(counts)}" if found else f"no entry matches {pattern!r}")
    if wrong:
        raise typer.Exit(2)


@app.command()
def search(
    text: Annotated[list[str] | None, typer.Argument(help="Words, all of them.", show_default=False)] = None,
    task: Annotated[str | None, typer.Option(help="Only for this task.")] = None,
    license: Annotated[str | None, typer.Option(help="Only under this licence, such as apache-2.0.")] = None,
    max_params: Annotated[
        str | None, typer.Option("--max-params", metavar="N", help="At most so many weights: 25M.", show_default=False)
    ] = None,
    min_accuracy: Annotated[
        float | None, typer.Option("--min-accuracy", metavar="X", help="From 0 to 1.", show_default=False)
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Measured on this.")] = None,
    as_json: options.AsJson = False,
):
    """Search published weights; of each data set the most accurate come first."""
    from zoo.catalogue import list_weights

    wanted = {"max_parameters": _number(max_params), "min_accuracy": min_accuracy}
    found = list_weights(text=" ".join(text or ()), task=task, license=license, dataset=dataset, **wanted)
    order = {name: place for place, name in enumerate(dict.fromkeys(row.dataset for row in found))}
    ranked = sorted(found, key=lambda row: (order[row.dataset], -row.metrics.get("accuracy", -1.0)))
    if not ranked and not as_json:
        screen.line("nothing published matches that")
        return
    weights_table(ranked, as_json)


def _number(text):
    """Returns the number in "25M", "2.5e7" or "25000000"; None stays None."""
    from zoo.errors import invalid

    if text is None:
        return None
    letter = {"k": 1e3, "m": 1e6, "g": 1e9, "b": 1e9}.get(text[-1:].lower())
    try:
        return int(float(text[:-1] if letter else text) * (letter or 1))
    except (ValueError, OverflowError):
        raise invalid("--max-params takes a number of weights", text, "For example 25M.") from None


@app.command()
def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="A file, folder, hf://owner/name, 'built in' or 'own'.")],
    after: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    as_json: options.AsJson = False,
):
    """Show which weights one registry adds, removes or changes."""
    from zoo import registries

    found = registries.difference(*(registries.read(place).entries for place in (before, after)))
    if as_json:
        screen.as_json(found)
        return
    for sign, part in (("+", "added"), ("-", "removed")):
        for name in found[part]:
            screen.line(f"{sign} {name}")
    for name, fields in found["changed"].items():
        screen.line(f"~ {name}")
        screen.fields([(field, f"{_short(old)} -> {_short(new)}") for field, (old, new) in fields.items()], indent=4)
    counts = ", ".join(f"{len(found[part])} {part}" for part in ("added", "removed", "changed"))
    screen.line(counts if any(found.values()) else "no difference")


def _short(value):
    text = "nothing" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
