"""The model card, `README.md`: what a model is and what its run measured, and nothing that was not measured.

The front matter follows https://huggingface.co/docs/hub/model-cards.
"""

import json
import re
import string

from zoo.errors import UnknownName, invalid
from zoo.hub.manifest import RUN
from zoo.registry import find_model
from zoo.tasks import TASKS

_LICENSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")
_SHOWN_LABELS = 40
_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>#|~])")


def check_license(license):
    """Returns a licence identifier, such as "apache-2.0" or "cc-by-4.0", or None.

    Raises:
        InvalidArgument: it is not an identifier.
    """
    if license is None or (isinstance(license, str) and _LICENSE.fullmatch(license)):
        return license
    raise invalid(
        "`license` must be a licence identifier",
        license,
        "Write one of https://spdx.org/licenses, such as 'apache-2.0' or 'cc-by-4.0'.",
    )


def escaped(text):
    """Returns text of unknown origin so that Markdown shows it as it is, on one line."""
    printable = "".join(c if c.isprintable() else " " for c in str(text))
    return _MARKDOWN.sub(r"\\\1", printable)


def _code(text):
    return "`" + "".join(c if c.isprintable() and c != "`" else " " for c in str(text)) + "`"


def _front_matter(spec, row, license):
    tags = ["keras", "zoo", *([row.family] if row else []), spec.name]
    lines = ["---", "library_name: keras"]
    lines += [f"license: {license}"] if license else []
    tag = TASKS[spec.task].tag if spec.task in TASKS else None
    lines += [f"pipeline_tag: {json.dumps(tag)}"] if tag else []
    lines.append("tags:")
    lines += [f"- {json.dumps(tag)}" for tag in dict.fromkeys(tags)]
    return [*lines, "---"]


def _row(spec):
    try:
        return find_model(spec.name)
    except UnknownName:
        return None  # a builder that was registered by a program and is not around now


def _model_section(spec, row, parameters):
    summary = f"{escaped(row.summary)}. " if row and row.summary else ""
    lines = [f"{summary}A Keras model of the builder {_code(spec.name)} of zoo, for {spec.task.replace('_', ' ')}.", ""]
    if row and row.paper:
        lines.append(f"- Paper: {row.paper}")
    lines.append(f"- Weights: {parameters:,} parameters, trainable and fixed, in `model.safetensors`")
    lines.append(f"- Arguments: {_code(json.dumps(spec.arguments, ensure_ascii=False, sort_keys=True))}")
    lines.append(f"- Recipe: {_code(spec.recipe)}" if spec.recipe else "- Recipe: not recorded")
    if isinstance(spec.labels, dict):
        for head, names in spec.labels.items():
            lines.append(f"- Output {_code(head)}: {escaped(_meaning(names))}")
    elif spec.labels:
        shown = ", ".join(map(escaped, spec.labels[:_SHOWN_LABELS]))
        rest = len(spec.labels) - _SHOWN_LABELS
        more = f" and {rest:,} more, in `config.json`" if rest > 0 else ""
        lines.append(f"- Labels ({len(spec.labels)}): {shown}{more}")
    elif spec.task not in TASKS or TASKS[spec.task].metric == "accuracy":
        lines.append("- Labels: not given")
    if spec.parent:
        lines.append(f"- Started from: {_code(spec.parent.get('ref') or json.dumps(spec.parent, sort_keys=True))}")
    return lines


def _meaning(names):
    """Returns in words what an output means: its classes, or a number and its unit."""
    if isinstance(names, (list, tuple)):
        return ", ".join(map(str, names[:_SHOWN_LABELS]))
    unit = (names or {}).get("unit")
    return "a number" + (f" in {unit}" if unit else "")


def _number(value):
    return f"{value:.4f}".rstrip("0").rstrip(".") if isinstance(value, float) and abs(value) < 1e4 else str(value)


def _duration(seconds):
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _table(metrics):
    """Returns the table of measured results: one row per split, one column per metric."""
    rows = {k: {m: v for m, v in row.items() if _is_number(v)} for k, row in metrics.items() if isinstance(row, dict)}
    rows = {split: row for split, row in rows.items() if row}
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    if not rows:
        return []
    lines = [f"| split | {' | '.join(map(escaped, columns))} |", "|---" * (len(columns) + 1) + "|"]
    for split, row in rows.items():
        cells = [_number(row[name]) if name in row else "" for name in columns]
        lines.append(f"| {escaped(split)} | {' | '.join(cells)} |")
    return lines


def _results_section(record):
    """Returns the lines on results; `record` is a run's `run.json`, the only source."""
    if not record:
        return ["None were measured: these weights were pushed without a run."]
    lines = _table(record.get("metrics") or {}) or ["The run has no final results."]
    if record.get("status") not in (None, "finished"):
        lines += ["", f"The run is not complete: its status is {_code(record['status'])}."]
    facts = [f"- {name}: {value}" for name, value in _facts(record) if value]
    return [*lines, "", *facts, "", f"All of it, every epoch included, is in `{RUN}`."]


def _facts(record):
    """Yields `(name, text or None)` of what a run was: data, command, seed, versions, hardware, duration."""
    data = record.get("data") or {}
    sizes = ", ".join(f"{split} {count:,}" for split, count in (data.get("sizes") or {}).items() if _is_number(count))
    yield "Data", data.get("name") and escaped(data["name"]) + (f" ({escaped(sizes)})" if sizes else "")
    yield "Data fingerprint", data.get("fingerprint") and _code(data["fingerprint"])
    yield "Data source", data.get("source") and escaped(data["source"])
    yield "Command", record.get("command") and _code(record["command"])
    for name in ("seed", "epochs", "batch_size", "best_epoch"):
        yield name.replace("_", " ").capitalize(), _is_number(record.get(name)) and str(record[name])
    versions = record.get("versions") or {}
    yield "Versions", ", ".join(f"{escaped(k)} {escaped(v)}" for k, v in sorted(versions.items()))
    hardware = record.get("hardware") or {}
    shown = (", ".join(map(str, v)) if isinstance(v, list) else v for v in hardware.values())
    words = zip(hardware, shown, strict=True)
    yield "Hardware", ", ".join(f"{escaped(k.replace('_', ' '))} {escaped(v)}" for k, v in words if v)
    yield "Duration", _is_number(record.get("seconds")) and _duration(record["seconds"])


USES = {  # task -> what to call, and what that is; None: any other task
    None: (
        "print(zoo.predict(model, inputs))",
        "`inputs` are raw: files, arrays, strings, or dicts of several; `model` is a plain `keras.Model` that returns "
        "logits, or numbers.",
    ),
    "text_generation": (
        'print(zoo.generate(model, "the", length=50))',
        "`zoo.predict` gives the next words of a text; `model` is a plain `keras.Model` that returns logits.",
    ),
    "image_generation": (
        "images = zoo.generate(model, count=16, seed=0)",
        "`images` is a uint8 array; `model` is a plain `keras.Model` of generator and critic.",
    ),
    "word_embedding": (
        'print(zoo.nearest(model, "good"))',
        "`zoo.word_vectors(model)` gives them all, `zoo.export_word2vec(model, path)` writes them for other programs.",
    ),
}


def card(spec, *, title, reference, parameters, license=None, record=None, picture=None):
    """Returns the text of a model card; the same content gives the same text.

    Args:
        spec: the model's `Spec`.
        title: heading, such as "owner/name".
        reference: what a user passes to `zoo.load`.
        parameters: the number of weights.
        license: identifier of the weights' licence, or None when whoever pushes did not state one.
        record: the parsed `run.json`, or None; the only source of results.
        picture: file name of the learning curves, or None.
    """
    row = _row(spec)
    stated = f"{license}." if license else "Not stated by whoever pushed these weights; ask before using them."
    call, explained = USES.get(spec.task, USES[None])
    use = string.Template('```python\nimport zoo\nmodel = zoo.load("$ref")\n$call\n```')
    lines = [
        *_front_matter(spec, row, license),
        "",
        f"# {escaped(title)}",
        "",
        *_model_section(spec, row, parameters),
        "",
        "## Results",
        "",
        *_results_section(record),
        *(["", f"![Learning curves]({picture})"] if picture else []),
        "",
        "## Use",
        "",
        use.substitute(ref=reference, call=call),
        "",
        f"{explained} Add `@` and a revision to pin the bytes.",
        "",
        "## License",
        "",
        stated,
        "",
    ]
    return "\n".join(lines)
