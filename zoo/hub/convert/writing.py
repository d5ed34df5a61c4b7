"""A foreign checkpoint that was read becomes a revision as `zoo.push` writes it."""

import hashlib
import json
from pathlib import Path

import numpy as np

from zoo.errors import IntegrityError
from zoo.files import sha256_of, write_atomic
from zoo.hub import manifest
from zoo.hub.card import escaped
from zoo.hub.convert.filling import outlined
from zoo.hub.convert.foreign import card_head
from zoo.spec import spec_of


def write_revision(module, foreign, stage, *, source, sha256=None):
    """Writes `config.json`, `model.safetensors` and `README.md` of a `Foreign`. Returns the `Manifest`.

    Args, Raises:
        As `zoo.hub.convert.converted`.
    """
    from zoo.weights import save_state

    stage, tensors = Path(stage), len(foreign.tensors)
    sha256 = sha256 or sha256_of(foreign.weights)
    with outlined(foreign.name, foreign.arguments) as model:
        module.load(model, foreign.tensors, **foreign.options)
        values, spec = model.zoo_values, spec_of(model)
    foreign.tensors = {}
    for path in values:  # one after the other, so that there are never two copies of all
        values[path] = np.ascontiguousarray(values[path])
    labels = manifest.check_labels(foreign.labels, spec.arguments.get("num_classes"))
    if spec.heads and labels:
        labels = dict.fromkeys(spec.heads, labels)
    format = module.__name__.rpartition(".")[2]
    parent = {"ref": source, "sha256": sha256, "format": format}
    spec = spec.but(labels=labels, preprocessing=foreign.preprocessing, parent=parent)
    parameters = sum(value.size for value in values.values())
    weights = save_state(stage / manifest.WEIGHTS, values)
    text = _card(spec, foreign, format, source, parameters, tensors).encode("utf-8")
    write_atomic(stage / manifest.CARD, text)
    files = {
        manifest.WEIGHTS: (weights.stat().st_size, sha256_of(weights)),
        manifest.CARD: (len(text), hashlib.sha256(text).hexdigest()),
    }
    config = manifest.Manifest(spec, parameters, files).to_bytes()
    try:
        found = manifest.parse(config, source)
    except IntegrityError as error:  # what a stranger's configuration put into it
        raise IntegrityError(f"{source} cannot become a revision of zoo: {error}") from error
    write_atomic(stage / manifest.CONFIG, config)
    return found


def _card(spec, foreign, format, source, parameters, tensors):
    """The card: where the weights come from, under which licence, and what became of them."""
    repo = source.removeprefix("hf://").partition("@")[0] if source.startswith("hf://") else None
    lines = ["---", "library_name: keras"]
    lines += [f"license: {foreign.license}"] if foreign.license else []
    if foreign.license == "other":  # a licence of its own, which the card has to say where to read
        head = card_head(foreign.weights.parent)
        keys = [key for key in ("license_name", "license_link") if isinstance(head.get(key), str)]
        lines += [f"{key}: {json.dumps(head[key])}" for key in keys]
    lines += [f"base_model: {json.dumps(repo)}"] if repo else []
    lines += ["tags:", '- "keras"', '- "zoo"', f"- {json.dumps(spec.name)}", "---", ""]
    lines += [
        f"# {escaped(Path(repo or source).name)}, converted",
        "",
        f"The weights of {escaped(source)}, converted from the format of {format} into the builder `{spec.name}` of "
        f"zoo. Nothing was trained: {tensors:,} tensors became {parameters:,} numbers, each tensor used once.",
        "",
        f"- Licence of the weights: {foreign.license or 'the source names none; ask its authors before using them'}",
        f"- Labels: {len(foreign.labels):,}, in `config.json`" if foreign.labels else "- Labels: the source names none",
        "- Preprocessing: "
        + (f"`{json.dumps(spec.preprocessing, sort_keys=True)}`" if spec.preprocessing else "the source names none"),
        *(f"- {escaped(note)}" for note in foreign.notes),
        "",
    ]
    return "\n".join(lines)
