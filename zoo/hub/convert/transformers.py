"""transformers checkpoints (PyTorch) of ViTForImageClassification into our vision transformers.

A repository holds `model.safetensors`, a `config.json` with the sizes and class names, and a
`preprocessor_config.json`: https://huggingface.co/docs/transformers/model_doc/vit. PyTorch is not needed.
"""

import re
from pathlib import Path

import numpy as np

from zoo.data.preprocessing import image_declaration
from zoo.errors import invalid
from zoo.hub.convert.filling import fill, translated
from zoo.hub.convert.foreign import (
    MAX_BLOCKS,
    MAX_SIDE,
    WEIGHTS,
    Foreign,
    distinct,
    license_in,
    license_of,
    numbers,
    read_json,
    safe_weights,
    whole,
)
from zoo.hub.convert.timm import VARIABLES, keras_axes
from zoo.spec import spec_of

VERSION = 1
FILES = (".safetensors",)
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
    """Returns tensors by the names of transformers 5; those of a bare ViTModel get the "vit." they lack.

    Raises:
        InvalidArgument: two tensors are the same one by different names.
    """

    def new(match):
        return f"vit.layers.{match[1]}.{RENAMED.get(match[2], match[2])}.{match[3]}"

    def whole_name(name):
        return name if name.startswith(("vit.", "classifier.")) else f"vit.{name}"

    found = {name: OLD_NAME.sub(new, whole_name(name)) for name in tensors}
    twice = [name for name, new_name in found.items() if new_name != name and new_name in tensors]
    if len(set(found.values())) != len(found):
        raise invalid("the checkpoint has a tensor twice, by different names", twice[:4] or sorted(found)[:4])
    return {found[name]: tensor for name, tensor in tensors.items()}


def joined(tensors):
    """Returns tensors with queries, keys and values side by side, (3 D, D) or (3 D,), under the name "qkv_proj"."""
    found = dict(tensors)
    for name in tensors:
        parts = [name.replace(".q_proj.", f".{part}_proj.") for part in "qkv"]
        both = name.replace(".q_proj.", ".qkv_proj.")
        if ".q_proj." in name and both not in found and all(part in found for part in parts):
            found[both] = np.concatenate([found.pop(part) for part in parts])
    return found


# Repositories

HEADS = ("ViTForImageClassification", "ViTModel")
PREPROCESSOR = "preprocessor_config.json"
ACTIVATIONS = {"gelu": "gelu", "relu": "relu", "silu": "silu", "swish": "silu"}
WIDTHS = {192: "vit_tiny", 384: "vit_small", 768: "vit_base", 1024: "vit_large"}  # whose name a network gets
RESAMPLING = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}  # the numbers that Pillow gave them
POOLER = re.compile(r"(vit\.)?pooler\.dense\.(weight|bias)")
DEFAULTS = {  # of ViTConfig, for what a configuration does not say
    **{"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    **{"image_size": 224, "patch_size": 16, "num_channels": 3, "layer_norm_eps": 1e-12, "hidden_act": "gelu"},
}


def recognise(names, config):
    """Says whether a repository is of transformers: its configuration names a type of model there."""
    return isinstance(config.get("model_type"), str)


def wanted(names, config):
    """Returns the files to fetch. Raises `InvalidArgument` for a model that zoo does not build."""
    _check_kind(config)
    return tuple(name for name in (safe_weights(names), PREPROCESSOR) if name in names)


def read(folder, config):
    """Returns a repository in a folder as a `Foreign`.

    The pooler of a bare ViTModel, a dense layer for pretraining that zoo has no place for, is left out and named.

    Raises:
        InvalidArgument: the network is one that zoo does not build, or the tensors are not of the sizes that the
            configuration gives.
        IntegrityError: a file is damaged.
    """
    from zoo.weights import header, load_state

    _check_kind(config)
    weights = Path(folder) / WEIGHTS
    shapes = {k: shape for k, (_, shape) in header(weights).items()}
    name, arguments = _network(config, named(shapes))
    tensors, notes = load_state(weights)[0], ()
    dropped = [k for k in tensors if POOLER.fullmatch(k)]
    if dropped:
        tensors = {k: v for k, v in tensors.items() if k not in dropped}
        notes = (f"Left out: {', '.join(dropped)}, a layer after the class token that only pretraining used.",)
    top = arguments.get("include_top", True)
    side = arguments["image_shape"]
    return Foreign(
        name=name,
        arguments=arguments,
        tensors=tensors,
        weights=weights,
        labels=_labels(config) if top else None,
        preprocessing=_preprocessing(Path(folder) / PREPROCESSOR, side),
        license=license_of(config.get("license")) or license_in(folder),
        options={"layer_norm_eps": arguments["epsilon"]},
        notes=notes,
    )


def owns(path):
    """Says whether a weight file holds transformers' tensors, by their names."""
    from zoo.weights import header

    return any("embeddings.patch_embeddings." in name for name in header(path))


def read_file(path, name, arguments):
    """Returns a file of transformers' tensors as a `Foreign`, for the builder and arguments that the user gave."""
    from zoo.weights import load_state

    if name is None:
        wrong = "a file of transformers' tensors does not say how many heads its attention has"
        works = 'Put its config.json beside it, or give the builder, as in name="vit_base", num_classes=10.'
        raise invalid(wrong, Path(path).name, works)
    arguments = {"epsilon": 1e-12, **arguments}
    options = {"layer_norm_eps": arguments["epsilon"]}
    return Foreign(name, arguments, load_state(path)[0], Path(path), options=options)


def _check_kind(config):
    kind, classes = config["model_type"], config.get("architectures")
    built = "Built here: the model type 'vit', as ViTForImageClassification or ViTModel."
    if kind != "vit":
        raise invalid("zoo does not build this type of model of transformers", kind, built)
    if not isinstance(classes, list) or len(classes) != 1 or classes[0] not in HEADS:
        raise invalid("zoo does not build this class of transformers", classes, built)
    problem = config.get("problem_type")
    if problem not in (None, "single_label_classification"):
        raise invalid("zoo converts classifiers that choose one class", problem, built)


def _network(config, shapes):
    """Returns `(variant, arguments)` of our builder; shapes: name in transformers 5 -> shape."""
    config = DEFAULTS | config
    config |= {key: _side(config[key]) for key in ("image_size", "patch_size")}
    width, depth, heads, hidden, patch, channels, image = (
        whole(config, key, most=1 << 20)
        for key in (
            *("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"),
            *("patch_size", "num_channels", "image_size"),
        )
    )
    epsilon, activation = config["layer_norm_eps"], config["hidden_act"]
    blocks = len({k.split(".")[2] for k in shapes if k.startswith("vit.layers.")})
    if not 0 < image <= MAX_SIDE or depth != blocks or depth > MAX_BLOCKS or not width or not patch:
        found = {"num_hidden_layers": depth, "image_size": image, "hidden_size": width, "patch_size": patch}
        raise invalid(f"the configuration's sizes cannot be those of a checkpoint of {blocks} blocks", found)
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        works = f"Known: {', '.join(ACTIVATIONS)}."
        raise invalid("zoo's vision transformers do not have this activation", activation, works)
    if type(epsilon) not in (int, float) or not 0 < epsilon < 1:
        raise invalid("the configuration has an impossible 'layer_norm_eps'", epsilon)
    arguments = {
        "embed_dim": width,
        "depth": depth,
        "num_heads": heads,
        "mlp_ratio": hidden / width,
        "patch_size": patch,
        "image_shape": (image, image, channels),
        "epsilon": float(epsilon),
        "activation": ACTIVATIONS[activation],
        "qkv_bias": "vit.layers.0.attention.q_proj.bias" in shapes,
    }
    if config["architectures"] == ["ViTModel"] and "classifier.weight" not in shapes:
        arguments["include_top"] = False
    else:
        labels = config.get("id2label")
        arguments["num_classes"] = len(labels) if isinstance(labels, dict) else whole(config, "num_labels", 2)
    return WIDTHS.get(width, "vit_base"), arguments


def _side(value):
    """Returns the one number that a square's two sides are."""
    return value[0] if isinstance(value, list) and len(value) == 2 and value[0] == value[1] else value


def _labels(config):
    """Returns the class names of a configuration, or None where it only numbers them."""
    rows = config.get("id2label")
    if not isinstance(rows, dict) or any(str(i) not in rows for i in range(len(rows))):
        return None
    labels = [rows[str(i)] for i in range(len(rows))]
    if all(label == f"LABEL_{i}" for i, label in enumerate(labels)):
        return None
    return distinct(labels)


def _preprocessing(path, image_shape):
    """Returns the image declaration of a preprocessor's configuration, None where the file is missing."""
    if not path.is_file():
        return None
    found = read_json(path)
    kind = found.get("image_processor_type") or found.get("feature_extractor_type") or "ViTImageProcessor"
    if kind not in ("ViTImageProcessor", "ViTImageProcessorFast", "ViTFeatureExtractor"):
        raise invalid("zoo does not have this preprocessing of transformers", kind, "It has ViTImageProcessor's.")
    channels, resized = image_shape[-1], found.get("do_resize", True)
    size = found.get("size", 224)
    size = [size.get("height"), size.get("width")] if isinstance(size, dict) else [size, size]
    if (resized and size != list(image_shape[:2])) or found.get("do_center_crop"):
        wrong = "the preprocessing resizes images to another size than the model takes, or crops them"
        raise invalid(wrong, {k: found.get(k) for k in ("size", "do_center_crop")}, f"The model takes {image_shape}.")
    scale = found.get("rescale_factor", 1 / 255) if found.get("do_rescale", True) else 1.0
    resample = 2 if found.get("resample") is None else found["resample"]
    if type(resample) is not int or resample not in RESAMPLING:
        raise invalid("the preprocessing has an unknown 'resample'", resample, f"Known: {RESAMPLING}.")
    half, normal = [0.5] * channels, found.get("do_normalize", True)
    return image_declaration(
        image_shape,
        scale=numbers({"rescale_factor": [scale]}, "rescale_factor", 1)[0],
        mean=numbers(found, "image_mean", channels, half) if normal else None,
        std=numbers(found, "image_std", channels, half) if normal else None,
        resize=RESAMPLING[resample] if resized else None,
    )
