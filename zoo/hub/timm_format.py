"""Publishing in timm's format: its tensor names and PyTorch's layouts, and its `config.json`, for timm to load.

`timm.create_model("hf_hub:owner/name", pretrained=True)` reads such a repository, and zoo pulls it as what it then is,
a foreign checkpoint. Source: timm 1.0.31, `timm/models/_hub.py`.
"""

from zoo.data.declarations import completed
from zoo.errors import invalid
from zoo.files import json_bytes, staged_file
from zoo.hub import manifest
from zoo.hub.card import card
from zoo.registry import find_model

FAMILIES = ("resnet", "vit")


def check_family(spec):
    """Refuses a model that timm does not have, before any work.

    Raises:
        InvalidArgument: the family is not one of `FAMILIES`.
    """
    family = find_model(spec.name).family
    if family not in FAMILIES:
        raise invalid("only some models can be pushed in timm's format", family, f"They are {', '.join(FAMILIES)}.")


def timm_files(spec, files, own, texts):
    """Returns the files of a repository that timm loads: name -> path or bytes.

    Args:
        spec: the model's `Spec`, labels included.
        files: those of a revision in zoo's format; weights and picture are used.
        own: a folder to write in.
        texts: named arguments of `zoo.hub.card.card`.

    Raises:
        InvalidArgument: timm has no such model, or none with these arguments.
    """
    from zoo.factory import build_empty
    from zoo.hub.convert.timm import exported
    from zoo.weights import load_weights

    model = build_empty(spec.name, **spec.arguments)
    load_weights(model, files[manifest.WEIGHTS])
    model.zoo_spec = spec
    tensors, config = exported(model, license=texts["license"] and texts["license"].id)
    kept = {name: source for name, source in files.items() if name not in (manifest.WEIGHTS, manifest.RUN)}
    kept |= {manifest.WEIGHTS: _saved(tensors, own / f"timm.{manifest.WEIGHTS}"), manifest.CONFIG: json_bytes(config)}
    repo = texts["title"]
    uses = ("import timm", "", f'model = timm.create_model("hf_hub:{repo}", pretrained=True).eval()')
    text = card(_as_timm_reads(spec), **texts, library="timm", uses=uses)
    return kept | {manifest.CARD: text.encode("utf-8")}


def _as_timm_reads(spec):
    """Returns the spec with pixels of 0 to 255, as timm takes them and zoo does that pulls timm's format."""
    declared = completed(spec.preprocessing or {})
    if not declared.get("maximum"):
        return spec
    scale = declared["scale"] * declared["maximum"] / 255.0
    return spec.but(preprocessing={**declared, "maximum": 255.0, "scale": scale})


def _saved(tensors, path):
    """Writes tensors as PyTorch's libraries do: plain safetensors, whose metadata names the layout."""
    import numpy as np
    from safetensors.numpy import save_file

    with staged_file(path) as stage:
        save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, stage, {"format": "pt"})
    return path
