"""What the commands that train, predict and fetch print. Nothing here imports Keras or NumPy."""

from zoo.cli import screen
from zoo.cli.screen import Column
from zoo.cli.show import page
from zoo.errors import invalid
from zoo.hub import manifest
from zoo.runs import Run
from zoo.spec import jsonable
from zoo.tasks import figures, sentence


def run(folder, as_json):
    """Prints what a run folder records."""
    found = Run(folder)
    record = found.record
    if as_json:
        screen.as_json({"kind": "run", "folder": str(folder), **record})
        return
    metrics = [
        (split, f"{sentence(values, found.spec.task)}, {values['examples']:,} examples")
        for split, values in found.metrics.items()
    ]
    epochs = f"{len(found.history)} of {record['epochs']}, best {record['best_epoch']}"
    page(
        str(folder),
        f"run, {found.status}",
        None,
        [
            ("model", f"{record['model']['name']}, {record['parameters']:,} weights"),
            ("recipe", record["recipe"]),
            ("data", record["data"]["name"]),
            ("fingerprint", record["data"]["fingerprint"]),
            ("epochs", epochs),
            *metrics,
            ("seed", record["seed"]),
            ("seconds", record["seconds"]),
            ("started", record["started"]),
            ("versions", ", ".join(f"{k} {v}" for k, v in record["versions"].items())),
            ("command", record["command"]),
        ],
    )


def evaluated(found, split, data):
    """Prints what `zoo.evaluate` measured, and a table for each grouping of the examples."""
    groups = {name: rows for name, rows in found.items() if isinstance(rows, dict)}
    metrics = {name: value for name, value in found.items() if name not in groups}
    screen.line(f"{split} {sentence(metrics)}, on {found['examples']:,} examples of {data}")
    for name, rows in groups.items():
        said = {group: [*figures(row), ("examples", f"{row['examples']:,}")] for group, row in rows.items()}
        titles = [title for title, _ in next(iter(said.values()))]
        screen.line()
        columns = Column(name.removeprefix("by_")), *(Column(title, right=True) for title in titles)
        screen.table(columns, [(group, *(text for _, text in row)) for group, row in said.items()])


def _prediction(found):
    """Returns a prediction as JSON: of one output its own fields, of several a table by output."""
    outputs = {name: jsonable(_fields(answer)) for name, answer in found.outputs.items()}
    return {"input": found.input} | (next(iter(outputs.values())) if len(outputs) == 1 else {"outputs": outputs})


def _fields(answer):
    if hasattr(answer, "top"):
        return {"label": answer.label, "probability": answer.probability, "top": answer.top}
    value = answer.value.tolist() if hasattr(answer.value, "tolist") else answer.value
    return {"value": value, "unit": answer.unit}


def predictions(found, as_json):
    """Prints `zoo.inference.Prediction`s, one per line."""
    if as_json:
        screen.as_json([_prediction(p) for p in found])
        return
    if any(len(p.outputs) > 1 or not hasattr(next(iter(p.outputs.values())), "top") for p in found):
        heads = list(found[0].outputs)
        columns = (Column("input", fold=True), *(Column(name, style="bold") for name in heads))
        screen.table(columns, [(p.input, *(str(p.outputs[name]) for name in heads)) for p in found])
        return
    columns = (
        Column("input", fold=True),
        Column("label", style="bold"),
        Column("probability", right=True),
        Column("then", fold=True),
    )
    rows = [
        (p.input, p.label, f"{p.probability:.1%}", ", ".join(f"{label} {share:.1%}" for label, share in p.top[1:]))
        for p in found
    ]
    if all(not row[3] for row in rows):
        columns, rows = columns[:3], [row[:3] for row in rows]
    screen.table(columns, rows)


def pulled(checkpoint, as_json):
    """Prints where a verified checkpoint lies and which files were compared with their SHA-256."""
    if checkpoint.weights.name != manifest.WEIGHTS:
        raise invalid(f"{checkpoint.ref} is a run, and here already", works="Push it (zoo push) to pull it elsewhere.")
    config = checkpoint.folder / manifest.CONFIG
    found = manifest.parse(config.read_bytes(), str(checkpoint.folder))
    if as_json:
        files = {name: {"size": size, "sha256": sha256} for name, (size, sha256) in found.files.items()}
        screen.as_json({"ref": checkpoint.ref, "folder": str(checkpoint.folder), "verified": files})
        return
    screen.fields(
        [
            ("ref", checkpoint.ref),
            ("folder", checkpoint.folder),
            ("model", f"{found.spec.name}, {found.parameters:,} weights, for {found.spec.task}"),
            ("verified", f"{len(found.files)} files, each against its size and SHA-256 in {manifest.CONFIG}"),
        ]
    )
    screen.line()
    columns = Column("file"), Column("bytes", right=True), Column("sha256", style="dim")
    screen.table(columns, [(name, f"{size:,}", sha256[:16]) for name, (size, sha256) in found.files.items()])
