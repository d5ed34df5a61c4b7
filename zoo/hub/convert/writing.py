"""A foreign checkpoint that was read becomes a revision as `zoo.push` writes it."""

import hashlib
import json
import math
from pathlib import Path

from zoo.errors import IntegrityError
from zoo.files import sha256_of, write_atomic
from zoo.hub import manifest
from zoo.hub.card import escaped
from zoo.spec import spec_of


def filled(module, foreign):
    """Returns the plain model of a `Foreign`, filled by its converter; its tensors are let go.

    Raises:
        InvalidArgument: the builder refuses the arguments, or a tensor is missing, left over or of another shape.
    """
    from zoo.factory import build_empty

    model = build_empty(foreign.name, **foreign.arguments)
    module.load(model, foreign.tensors, **foreign.options)
    foreign.tensors = {}
    model.zoo_spec = spec_of(model).but(labels=foreign.labels, preprocessing=foreign.preprocessing)
    return model


def write_revision(module, foreign, stage, *, source, sha256=None):
    """Writes `config.json`, `model.safetensors` and `README.md` of a `Foreign`. Returns the `Manifest`.

    Args, Raises:
        As `zoo.hub.convert.converted`.
    """
    from zoo.weights import header, save_weights

    stage, tensors = Path(stage), len(foreign.tensors)
    sha256 = sha256 or sha256_of(foreign.weights)
    model = filled(module, foreign)
    spec = spec_of(model).but(parent={"ref": source, "sha256": sha256})
    weights = save_weights(model, stage / manifest.WEIGHTS)
    parameters = sum(math.prod(shape) for _, shape in header(weights).values())
    labels = manifest.check_labels(spec.labels, None if spec.heads else spec.arguments.get("num_classes"))
    spec = spec.but(labels=labels)
    format = module.__name__.rpartition(".")[2]
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
    lines += [f"base_model: {json.dumps(repo)}"] if repo else []
    lines += ["tags:", '- "keras"', '- "zoo"', f"- {json.dumps(spec.name)}", "---", ""]
    lines += [
        f"# {escaped(Path(repo or source).name)}, converted",
        "",
        f"The weights of {escaped(source)}, converted from the format of {format} into the builder `{spec.name}` of "
        f"zoo. Nothing was trained: {tensors:,} tensors became {parameters:,} numbers, each tensor used once.",
        "",
        f"- Licence of the weights: {foreign.license or 'the source names none; ask its authors before using them'}",
        f"- Labels: {len(spec.labels):,}, in `config.json`" if spec.labels else "- Labels: the source names none",
        "- Preprocessing: "
        + (f"`{json.dumps(spec.preprocessing, sort_keys=True)}`" if spec.preprocessing else "the source names none"),
        *(f"- {escaped(note)}" for note in foreign.notes),
        "",
    ]
    return "\n".join(lines)
