"""The model card, `README.md`: what a model is and what its run measured, and nothing that was not measured.

Every line follows from the model's `Spec`, from its builder and from the run's record; nothing depends on the clock.
"""

import json
import string

from zoo.data.declarations import completed
from zoo.errors import InvalidArgument, UnknownName
from zoo.hub.limitations import limitations, parent_name
from zoo.hub.manifest import RUN
from zoo.hub.metadata import front_matter, is_number, metadata, numbers
from zoo.hub.wording import code, duration, escaped, figure, scaled
from zoo.registry import find_model, list_tricks
from zoo.tasks import TASKS

_SHOWN_LABELS = 40


def card(
    spec, *, title, reference, parameters, flops=None, license=None, record=None, picture=None, library="keras", uses=()
):
    """Returns the text of a model card; the same content gives the same text.

    Args:
        spec: the model's `Spec`.
        title: heading, such as "owner/name".
        reference: what a user passes to `zoo.load`.
        parameters: the number of weights.
        flops: of one forward pass of one example, or None where they could not be counted.
        license: the weights' `License`, or None when whoever pushes did not state one.
        record: the parsed `run.json`, or None; the only source of results.
        picture: file name of the learning curves, or None.
        library: which library's files these are, "keras" or "timm".
        uses: lines of Python that load the model with that other library.
    """
    row = _row(spec)
    family = row.family if row else None
    fields = metadata(spec, name=title, library=library, family=family, license=license, record=record)
    sections = [
        [f"# {escaped(title)}", "", *_model(spec, row, parameters, flops, library)],
        ["## Recipe", "", *_recipe(spec, record)],
        ["## Results", "", *_results(record, library), *(["", f"![Learning curves]({picture})"] if picture else [])],
        ["## Use", "", *_use(spec, reference, uses)],
        ["## Limitations", "", *(f"- {line}" for line in limitations(spec, record))],
        ["## License", "", _license(license)],
    ]
    lines = front_matter(fields)
    for section in sections:
        lines += ["", *section]
    return "\n".join([*lines, ""])


def _row(spec):
    try:
        return find_model(spec.name)
    except UnknownName:
        return None  # a builder that was registered by a program and is not around now


def _license(license):
    if license is None:
        return "Not stated by whoever pushed these weights; ask before using them."
    if license.name:
        return f"[{escaped(license.name)}]({license.link})."
    if license.id == "unknown":
        return "Unknown, says whoever pushed these weights; ask before using them."
    return f"{license.id}, chosen by whoever pushed these weights."


# The model


def _model(spec, row, parameters, flops, library):
    summary = f"{escaped(row.summary)}. " if row and row.summary else ""
    kind = "A Keras model" if library == "keras" else "The weights, in timm's names, of a model"
    lines = [
        f"{summary}{kind} of the builder {code(spec.name)} of zoo, for {escaped(spec.task.replace('_', ' '))}.",
        "",
    ]
    if row and row.paper:
        lines.append(f"- Paper: {row.paper}")
    lines.append(f"- Weights: {parameters:,} parameters, trainable and fixed, in `model.safetensors`")
    if flops:
        lines.append(f"- FLOPs: {scaled(flops)} for one example, a multiply-add being two")
    lines += _inputs(spec)
    lines.append(f"- Arguments: {code(json.dumps(spec.arguments, ensure_ascii=False, sort_keys=True))}")
    lines += _outputs(spec)
    if spec.parent:
        license = f", licence {escaped(spec.parent['license'])}" if spec.parent.get("license") else ""
        lines.append(f"- Started from: {parent_name(spec)}{license}")
    return lines


def _inputs(spec):
    """Returns a line for each input: what it is and what is done with it, as the preprocessing declares."""
    declared = spec.preprocessing or {}
    inputs = declared.get("inputs") if declared.get("kind") == "inputs" else {None: declared}
    if not isinstance(inputs, dict):
        return []
    heads = ((f"Input {code(name)}" if name else "Input", d) for name, d in inputs.items() if isinstance(d, dict))
    lines = [f"- {head}: {_input(d)}" for head, d in heads if d]
    return lines or ["- Input: no preprocessing is declared; the model is fed arrays as they are"]


def _input(declared):
    if declared.get("kind") == "image":
        shape = " x ".join(map(str, _list(declared.get("image_shape"))))
        declared = completed(declared)
        if declared["maximum"] is None:
            return f"images of {escaped(shape)}, fed as they are"
        steps = [f"pixels of 0 to {_shown(declared['maximum'])}, multiplied by {_shown(declared['scale'])}"]
        if declared.get("mean"):
            steps.append(f"less the mean {_shown(declared['mean'])}, divided by {_shown(declared.get('std'))}")
        if declared.get("resize"):
            cut = f", of which the middle {escaped(declared['crop'])} is cut out" if declared.get("crop") else ""
            steps.append(f"files resized ({escaped(declared['resize'])}){cut}")
        return f"images of {escaped(shape)}: {'; '.join(steps)}"
    if declared.get("kind") in ("text", "tokens"):
        what = "text" if declared["kind"] == "text" else "rows of token ids"
        words = f", vocabulary of {declared['vocab_size']:,}" if is_number(declared.get("vocab_size")) else ""
        return f"{what}, {escaped(declared.get('sequence_length'))} tokens{words}"
    if declared.get("kind") == "passage":
        story, question = (escaped(declared.get(name)) for name in ("story_words", "question_length"))
        return f"a story and a question, of {story} and {question} words"
    columns = [c.get("name") for c in _list(declared.get("columns")) if isinstance(c, dict)]
    if columns:
        more = f" and {len(columns) - _SHOWN_LABELS} more" if len(columns) > _SHOWN_LABELS else ""
        return f"rows of a table: {', '.join(map(escaped, columns[:_SHOWN_LABELS]))}{more}"
    return f"{escaped(declared.get('kind'))}, as `config.json` declares"


def _shown(values):
    return ", ".join(f"{v:.4g}" if is_number(v) else escaped(v) for v in _list(values))


def _list(value):
    """Returns a list as it is and anything else in one: what was pulled may have any type here."""
    return value if isinstance(value, list) else [value] * (value is not None)


def _outputs(spec):
    if isinstance(spec.labels, dict):
        return [f"- Output {code(head)}: {escaped(_meaning(names))}" for head, names in spec.labels.items()]
    if spec.labels:
        shown = ", ".join(map(escaped, spec.labels[:_SHOWN_LABELS]))
        rest = len(spec.labels) - _SHOWN_LABELS
        more = f" and {rest:,} more, in `config.json`" if rest > 0 else ""
        return [f"- Labels ({len(spec.labels)}): {shown}{more}"]
    classifies = spec.task not in TASKS or TASKS[spec.task].metric == "accuracy"
    return ["- Labels: not given"] if classifies else []


def _meaning(names):
    """Returns in words what an output means: its classes, or a number and its unit."""
    if isinstance(names, (list, tuple)):
        return ", ".join(map(str, names[:_SHOWN_LABELS]))
    unit = (names or {}).get("unit")
    return "a number" + (f" in {unit}" if unit else "")


# The recipe


def _recipe(spec, record):
    """Returns the recipe and a line on each of its tricks."""
    if not spec.recipe:
        return ["Not recorded."]
    lines = [code(spec.recipe), "", *_tricks(spec.recipe)]
    if not record:
        lines += ["", "No run was pushed with these weights, so how they were trained with it is not known."]
    return lines


def _tricks(recipe):
    from zoo.recipes import find_recipe, outline

    if recipe == "plain":
        return [f"- {code(recipe)}: {find_recipe(recipe).summary}"]
    try:
        terms, _ = outline(recipe)
    except InvalidArgument:
        return ["A newer or another zoo wrote it; `zoo info` there explains it."]
    rows = {row.name: row for row in list_tricks()}
    known = [rows[name] for _, name, _ in terms if name in rows]
    papers = [f" ({row.paper})" if row.paper else "" for row in known]
    return [f"- {code(r.name)}: {escaped(r.summary)}{paper}" for r, paper in zip(known, papers, strict=True)]


# The results


def _results(record, library):
    """Returns the lines on results; `record` is a run's `run.json`, the only source."""
    if not record:
        return ["None were measured: these weights were pushed without a run."]
    lines = _table(record.get("metrics")) or ["The run has no final results."]
    facts = [f"- {name}: {value}" for name, value in _facts(record) if value]
    kept = [] if library != "keras" else ["", f"All of it, every epoch included, is in `{RUN}`."]
    return [*lines, "", *facts, *kept]


def _table(metrics):
    """Returns the table of measured results: one row per split, one column per metric."""
    rows = numbers(metrics)
    columns = list(dict.fromkeys(name for row in rows.values() for name in row))
    if not rows:
        return []
    lines = [f"| split | {' | '.join(map(escaped, columns))} |", "|---" * (len(columns) + 1) + "|"]
    for split, row in rows.items():
        cells = [figure(row[name]) if name in row else "" for name in columns]
        lines.append(f"| {escaped(split)} | {' | '.join(cells)} |")
    return lines


def _facts(record):
    """Yields `(name, text or None)` of what a run was: data, command, seed, versions, hardware, duration."""
    data = record.get("data") or {}
    sizes = ", ".join(f"{split} {count:,}" for split, count in (data.get("sizes") or {}).items() if is_number(count))
    yield "Data", data.get("name") and escaped(data["name"]) + (f" ({escaped(sizes)})" if sizes else "")
    yield "Data fingerprint", data.get("fingerprint") and code(data["fingerprint"])
    yield "Data source", data.get("source") and escaped(data["source"])
    yield "Command", record.get("command") and code(record["command"])
    for name in ("seed", "epochs", "batch_size", "best_epoch"):
        yield name.replace("_", " ").capitalize(), is_number(record.get(name)) and str(record[name])
    yield "Precision", record.get("precision") and escaped(record["precision"])
    versions = record.get("versions") or {}
    yield "Versions", ", ".join(f"{escaped(k)} {escaped(v)}" for k, v in sorted(versions.items()))
    hardware = record.get("hardware") or {}
    shown = (", ".join(map(str, v)) if isinstance(v, list) else v for v in hardware.values())
    words = [(k.replace("_", " "), v) for k, v in zip(hardware, shown, strict=True) if v]
    words = [f"memory {v} GiB" if k == "memory gib" else f"{k} {v}" for k, v in words]
    yield "Hardware", ", ".join(map(escaped, words))
    yield "Duration", is_number(record.get("seconds")) and duration(record["seconds"])


# How to use it

USES = {  # task -> what to call, and what that is; None: any other task
    None: (
        "print(zoo.predict(model, $raw))",
        "`zoo.predict` takes raw inputs: files, arrays, strings, or dicts of several.",
    ),
    "text_generation": (
        'print(zoo.generate(model, "the", length=50))',
        "`zoo.predict` gives the next words of a text.",
    ),
    "image_generation": (
        "images = zoo.generate(model, count=16, seed=0)",
        "`images` is a uint8 array.",
    ),
    "word_embedding": (
        'print(zoo.nearest(model, "good"))',
        "`zoo.word_vectors(model)` gives them all, `zoo.export_word2vec(model, path)` writes them for other programs.",
    ),
}


def _returns(spec):
    """Returns what calling the model gives."""
    if spec.task == "image_generation":
        return "holds generator and critic"
    if isinstance(spec.labels, dict) or spec.task == "word_embedding":
        return "returns an array of logits or numbers for each output"
    if isinstance(spec.labels, (tuple, list)):
        activation = "sigmoid" if spec.arguments.get("num_classes") == 1 else "softmax"
        return f"returns logits, of which `keras.ops.{activation}` makes probabilities"
    return "returns logits"


def _example(declared):
    """Returns what a raw input looks like in Python."""
    if declared.get("kind") == "image" and completed(declared)["maximum"] is not None:
        return '["picture.png"]'
    return '["some text"]' if declared.get("kind") == "text" else "inputs"


def _use(spec, reference, uses):
    call, explained = USES.get(spec.task, USES[None])
    if spec.preprocessing is None and spec.task not in USES:
        call, explained = "outputs = model.predict(x)", "`x` are arrays as the model is fed them."
    call = string.Template(call).substitute(raw=_example(spec.preprocessing or {}))
    lines = ["```python", "import zoo", "", f'model = zoo.load("{reference}")', call, "```"]
    if uses:
        lines = ["```python", *uses, "```", "", "With zoo:", "", *lines]
    return [
        *lines,
        "",
        f"{explained} `model` is a plain `keras.Model`: `model(x)` takes arrays that are prepared as said above, and "
        f"{_returns(spec)}; `model.fit`, `model.save` and `keras.Model(...)` work as ever.",
        "",
        f"{code(reference)} is whatever was pushed last. To get the same bytes years later, add `@` and the revision "
        "that `zoo pull` prints.",
    ]
