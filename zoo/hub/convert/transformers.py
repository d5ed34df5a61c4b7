"""transformers checkpoints (PyTorch) of ViTForImageClassification into our vision transformers.

Only names and shapes are read here, no file and no PyTorch: `tensors` may come from a safetensors file.
"""

import re

import numpy as np

from zoo.errors import invalid
from zoo.hub.convert.filling import fill, translated
from zoo.hub.convert.timm import VARIABLES, keras_axes
from zoo.spec import spec_of

VIT = {  # our layer -> their module; blocks count from 1 here, from 0 there
    r"patch_embedding": lambda m: "vit.embeddings.patch_embeddings.projection",
    r"block(\d+)_norm1": lambda m: f"vit.layers.{int(m[1]) - 1}.layernorm_before",
    r"block(\d+)_norm2": lambda m: f"vit.layers.{int(m[1]) - 1}.layernorm_after",
    r"block(\d+)_attention_qkv": lambda m: f"vit.layers.{int(m[1]) - 1}.attention.qkv_proj",
    r"block(\d+)_attention_projection": lambda m: f"vit.layers.{int(m[1]) - 1}.attention.o_proj",
    r"block(\d+)_mlp_(\d)": lambda m: f"vit.layers.{int(m[1]) - 1}.mlp.fc{m[2]}",
    r"norm": lambda m: "vit.layernorm",
    r"logits": lambda m: "classifier",
}
WHOLE = {
    "class_token/kernel": "vit.embeddings.cls_token",
    "position_embedding/kernel": "vit.embeddings.position_embeddings",
}
OLD_NAME = re.compile(r"vit\.encoder\.layer\.(\d+)\.(.+)\.(weight|bias)")
RENAMED = {  # modules of a block, as transformers 4 and most published checkpoints name them -> as transformers 5 does
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}


def name_map(model):
    """Returns a dict, path of each weight of a zoo vit -> name of its tensor in transformers 5.

    Theirs holds queries, keys and values apart; `joined` lays them side by side under the name "qkv_proj".

    Raises:
        InvalidArgument: the model holds a weight that transformers' does not have.
    """
    return {w.path: WHOLE.get(w.path) or translated(w.path, VIT, VARIABLES) for w in model.weights}


def load(model, tensors, *, layer_norm_eps=1e-12):
    """Fills a zoo vit with a transformers state dict.

    Args:
        model: `keras.Model` that zoo built, of the checkpoint's variant, image size and number of classes, with
            `epsilon=1e-12`.
        tensors: dict, name -> array in PyTorch's order of axes, as transformers 4 or 5 names them.
        layer_norm_eps: of the checkpoint's `config.json`; the model's `epsilon` has to be this.

    Returns:
        The model.

    Raises:
        InvalidArgument: a tensor is missing, left over or of another shape, or the model's epsilon is another.
    """
    epsilon = spec_of(model).arguments.get("epsilon")
    if epsilon != layer_norm_eps:
        works = f"Build it with epsilon={layer_norm_eps}."
        raise invalid("transformers' weights would give other outputs with this `epsilon`", epsilon, works)
    return fill(model, "transformers", name_map(model), joined(named(tensors)), keras_axes)


def named(tensors):
    """Returns tensors by the names of transformers 5."""

    def new(match):
        return f"vit.layers.{match[1]}.{RENAMED.get(match[2], match[2])}.{match[3]}"

    return {OLD_NAME.sub(new, name): tensor for name, tensor in tensors.items()}


def joined(tensors):
    """Returns tensors with queries, keys and values side by side, (3 D, D) or (3 D,), under the name "qkv_proj"."""
    found = dict(tensors)
    for name in tensors:
        parts = [name.replace(".q_proj.", f".{part}_proj.") for part in "qkv"]
        if ".q_proj." in name and all(part in found for part in parts):
            found[name.replace(".q_proj.", ".qkv_proj.")] = np.concatenate([found.pop(part) for part in parts])
    return found
