"""timm checkpoints (PyTorch) into our vision transformers, residual networks, Xception and Inception-v3.

A repository holds `model.safetensors` and a `config.json` that names the `architecture`, what its arguments were
(`model_args`) and how raw images are read (`pretrained_cfg`): https://huggingface.co/docs/timm/models.
torchvision's residual networks and Inception-v3 have the same tensor names and fit too. PyTorch is not needed.
"""

import re
from pathlib import Path

import numpy as np

from zoo.data.preprocessing import CROP_MODES, RESIZES, image_declaration
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
    safe_weights,
    whole,
)
from zoo.registry import find_model
from zoo.spec import spec_of

VERSION = 1
FILES = (".safetensors",)
VARIABLES = {
    "kernel": ".weight",
    "depthwise_kernel": ".conv1.weight",
    "pointwise_kernel": ".pointwise.weight",
    "gamma": ".weight",
    "bias": ".bias",
    "beta": ".bias",
    "moving_mean": ".running_mean",
    "moving_variance": ".running_var",
}
VIT = {  # our layer -> timm's module; blocks count from 1 here, from 0 there
    r"patch_embedding": lambda m: "patch_embed.proj",
    r"block(\d+)_norm(\d)": lambda m: f"blocks.{int(m[1]) - 1}.norm{m[2]}",
    r"block(\d+)_attention_qkv": lambda m: f"blocks.{int(m[1]) - 1}.attn.qkv",
    r"block(\d+)_attention_projection": lambda m: f"blocks.{int(m[1]) - 1}.attn.proj",
    r"block(\d+)_mlp_(\d)": lambda m: f"blocks.{int(m[1]) - 1}.mlp.fc{m[2]}",
    r"norm": lambda m: "norm",
    r"logits": lambda m: "head",
}
RESNET = {
    r"stem_conv": lambda m: "conv1",
    r"stem_norm": lambda m: "bn1",
    r"stage(\d+)_block(\d+)_(\d)_conv": lambda m: f"layer{m[1]}.{int(m[2]) - 1}.conv{m[3]}",
    r"stage(\d+)_block(\d+)_(\d)_norm": lambda m: f"layer{m[1]}.{int(m[2]) - 1}.bn{m[3]}",
    r"stage(\d+)_block(\d+)_shortcut_conv": lambda m: f"layer{m[1]}.{int(m[2]) - 1}.downsample.0",
    r"stage(\d+)_block(\d+)_shortcut_norm": lambda m: f"layer{m[1]}.{int(m[2]) - 1}.downsample.1",
    r"logits": lambda m: "fc",
}
PARTS = {"conv": "conv", "norm": "bn"}
STEM = ("1a_3x3", "2a_3x3", "2b_3x3", "3b_1x1", "4a_3x3")


def _mixed(stage, block, branch, part):
    """Names, as timm does, a convolution or norm in the block-th module, from 0, of a stage of Inception-v3."""
    branch = "_pool" if branch == "pool" else branch
    return f"Mixed_{stage}{'abcdefgh'[block]}.branch{branch}.{PARTS[part]}"


INCEPTION_V3 = {  # the reductions come first in their stages
    r"stem_(\d)_(conv|norm)": lambda m: f"Conv2d_{STEM[int(m[1]) - 1]}.{PARTS[m[2]]}",
    r"a(\d)_(\w+)_(conv|norm)": lambda m: _mixed(5, int(m[1]), m[2], m[3]),
    r"reduction_a_(\w+)_(conv|norm)": lambda m: _mixed(6, 0, m[1], m[2]),
    r"b(\d)_(\w+)_(conv|norm)": lambda m: _mixed(6, int(m[1]), m[2], m[3]),
    r"reduction_b_(\w+)_(conv|norm)": lambda m: _mixed(7, 0, m[1], m[2]),
    r"c(\d)_(\w+)_(conv|norm)": lambda m: _mixed(7, int(m[1]), m[2], m[3]),
    r"aux_(\d)_(conv|norm)": lambda m: f"AuxLogits.conv{int(m[1]) - 1}.{PARTS[m[2]]}",
    r"aux_logits": lambda m: "AuxLogits.fc",
    r"logits": lambda m: "fc",
}


def _xception(m):
    """Names a part of a block of Xception as timm does, in whose lists of layers activations count."""
    block = {"entry": 0, "middle": 3, "exit": 11}[m[1]] + int(m[2])
    if m[3] == "shortcut":
        return f"block{block}.{'skip' if m[4] == 'conv' else 'skipbn'}"
    place = 3 * int(m[3]) - (3 if block == 1 else 2)  # block 1 begins without an activation
    return f"block{block}.rep.{place + (m[4] == 'norm')}"


XCEPTION = {
    r"stem(\d)_conv": lambda m: f"conv{m[1]}",
    r"stem(\d)_norm": lambda m: f"bn{m[1]}",
    r"exit(2|3)_norm": lambda m: f"bn{int(m[1]) + 1}",
    r"exit(2|3)_conv": lambda m: f"conv{int(m[1]) + 1}",
    r"(entry|middle|exit)(\d)_(\d|shortcut)_(\w+)": _xception,
    r"logits": lambda m: "fc",
}
RULES = {"vit": VIT, "resnet": RESNET, "inception_v3": INCEPTION_V3, "xception": XCEPTION}  # by family
WHOLE = {"class_token/kernel": "cls_token", "position_embedding/kernel": "pos_embed"}


def name_map(model):
    """Returns a dict, path of each weight of a model that zoo built -> name of its tensor in timm.

    Raises:
        InvalidArgument: the model's family is not one of `RULES`, or it holds a weight that timm's does not have.
    """
    family = find_model(spec_of(model).name).family
    if family not in RULES:
        raise invalid("timm's names are not known for this family", family, f"They are for {', '.join(RULES)}.")
    return {w.path: WHOLE.get(w.path) or translated(w.path, RULES[family], VARIABLES) for w in model.weights}


def load(model, tensors):
    """Fills a zoo vit, resnet, xception or inception_v3 (flavour "torch") with a timm state dict.

    Args:
        model: `keras.Model` that zoo built, of the checkpoint's variant, image size and number of classes.
        tensors: dict, name -> array in PyTorch's order of axes. `num_batches_tracked` is ignored.

    Returns:
        The model.

    Raises:
        InvalidArgument: a tensor is missing, left over or of another shape, or the model's flavour is "keras".
    """
    if spec_of(model).arguments.get("flavour", "torch") != "torch":
        raise invalid(
            "timm's weights would give wrong outputs in this flavour of the network",
            spec_of(model).arguments["flavour"],
            'Build it with flavour="torch".',
        )
    kept, _ = _without_counters(tensors)
    names = name_map(model)
    for path, name in names.items():
        if path.endswith("/depthwise_kernel") and name in kept:  # theirs is (channels, 1, H, W)
            kept[name] = np.swapaxes(kept[name], 0, 1)
    return fill(model, "timm", names, kept, keras_axes)


def keras_axes(tensor):
    """Returns a PyTorch weight in Keras's order: a convolution as (H, W, in, out), a dense layer as (in, out)."""
    if tensor.ndim == 4:
        return tensor.transpose(2, 3, 1, 0)
    return tensor.T if tensor.ndim == 2 else tensor


# Repositories

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
XCEPTIONS = ("legacy_xception", "xception")  # its name now and before
VIT_NAME = re.compile(r"(vit|deit)_(tiny|small|base|large)_patch(\d+)_(\d+)")
BUILT = (
    f"Built here: {', '.join(RESNETS)}, vit_{{tiny,small,base,large}}_patch{{8,16,32}}_{{224,384}}, "
    "deit_{tiny,small,base}_patch16_{224,384}, inception_v3 and legacy_xception."
)
OTHER_VIT = "it is another kind of vision transformer, with other tokens, norms, biases or pooling"
OTHER_RESNET = "it is another kind of residual network, with another stem, width or other blocks"
REASONS = {  # what sets an architecture apart from those that zoo builds; the first pattern that is found counts
    r"distilled": "it has a second class token, for distillation",
    r"^deit3_": "its blocks scale their branches",
    r"resne": OTHER_RESNET,
    r"^vit|^eva|^flexivit|^beit|^deit": OTHER_VIT,
    r"^(legacy_)?xception": "it is a later network that shares the name with Xception",
}
IDLE = {  # arguments of timm's builders that change nothing at prediction
    *("in_chans", "num_classes", "global_pool", "img_size", "aux_logits", "weight_init", "zero_init_last", "fix_init"),
    *("drop_rate", "drop_path_rate", "drop_block_rate", "pos_drop_rate", "patch_drop_rate", "proj_drop_rate"),
    *("attn_drop_rate", "dynamic_img_size", "strict_img_size"),
}
SIZES = {"patch_size", "embed_dim", "depth", "num_heads", "mlp_ratio", "qkv_bias"}  # of a ViT, which ours has too
FIRST = {  # the tensor whose second axis is the image's channels, by family
    "vit": "patch_embed.proj.weight",
    "resnet": "conv1.weight",
    "xception": "conv1.weight",
    "inception_v3": "Conv2d_1a_3x3.conv.weight",
}
AUXILIARY = "Two outputs: the auxiliary classifier is the second; zoo.load(..., aux=False) leaves it out."
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # where a configuration gives none


def recognise(names, config):
    """Says whether a repository is timm's: its configuration names an architecture, and no class of transformers."""
    return isinstance(config.get("architecture"), str) and not {"model_type", "module"} & set(config)


def wanted(names, config):
    """Returns the files to fetch. Raises `InvalidArgument` for an architecture that zoo does not build."""
    builder_of(config)
    return (safe_weights(names),)


def read(folder, config):
    """Returns a repository in a folder as a `Foreign`.

    Raises:
        InvalidArgument: the network is one that zoo does not build, or the tensors are not of the sizes that the
            configuration gives.
        IntegrityError: a file is damaged.
    """
    from zoo.weights import header, load_state

    weights = Path(folder) / WEIGHTS
    name, arguments = builder_of(config)
    shapes = {k: shape for k, (_, shape) in header(weights).items()}
    cfg = _cfg(config)
    family = find_model(name).family
    classes = whole({"num_classes": cfg.get("num_classes", 1000)} | config, "num_classes", most=1 << 24)
    arguments["image_shape"] = _image_shape(config, cfg, FIRST[family], shapes)
    arguments |= {"num_classes": classes} if classes else {"include_top": False}
    if family == "inception_v3":
        arguments["aux"] = "AuxLogits.fc.weight" in shapes
    if family == "vit":
        arguments["qkv_bias"] = "blocks.0.attn.qkv.bias" in shapes
        blocks = len({k.split(".")[1] for k in shapes if k.startswith("blocks.")})
        depth = arguments.get("depth", find_model(name).arguments["depth"])
        if depth != blocks or depth > MAX_BLOCKS:
            wrong = f"the checkpoint has {blocks:,} blocks and its configuration gives {depth:,}"
            raise invalid(wrong, works=f"They have to agree, and be {MAX_BLOCKS} at most.")
    labels, notes = _labels(config, cfg, classes)
    tensors, counters = _without_counters(load_state(weights)[0])
    return Foreign(
        name=name,
        arguments=arguments,
        tensors=tensors,
        weights=weights,
        labels=labels,
        preprocessing=_preprocessing(cfg, arguments["image_shape"]),
        license=license_of(cfg.get("license")) or license_of(config.get("license")) or license_in(folder),
        notes=(*notes, *counters, *(AUXILIARY,) * arguments.get("aux", False)),
    )


def _without_counters(tensors):
    """Returns `(tensors, notes)` without batch norm's counters of batches, which nothing reads after training."""
    counters = [name for name in tensors if name.endswith(".num_batches_tracked")]
    notes = (f"Left out: {len(counters)} counters named num_batches_tracked.",) if counters else ()
    return {k: v for k, v in tensors.items() if not k.endswith(".num_batches_tracked")}, notes


def _image_shape(config, cfg, first, shapes):
    """Returns (H, W, C) of a configuration's images, the channels by the first convolution."""
    size = (config.get("model_args") or {}).get("img_size") or (cfg.get("input_size") or (3, 224, 224))[1:]
    size = [size, size] if type(size) is int else size
    if not isinstance(size, (list, tuple)) or len(size) != 2 or not all(type(v) is int and v > 0 for v in size):
        raise invalid("timm's configuration gives an impossible size of images", size)
    if max(size) > MAX_SIDE:
        raise invalid(f"timm's configuration asks for images of more than {MAX_SIDE} pixels a side", size)
    if len(shapes.get(first, ())) != 4:
        wrong = f"this checkpoint of timm's {config['architecture']!r} has no tensor {first!r} of 4 dimensions"
        raise invalid(wrong, works="Its tensors are not those of its architecture.")
    return (*size, shapes[first][1])


def read_file(path, name, arguments):
    """Returns a file of timm's tensors as a `Foreign`, for the builder and arguments that the user gave."""
    from zoo.weights import load_state

    if name is None:
        raise invalid(
            "a file of timm's tensors does not say which network they are of",
            Path(path).name,
            'Put its config.json beside it, or give the builder, as in name="resnet50", num_classes=10.',
        )
    tensors, notes = _without_counters(load_state(path)[0])
    return Foreign(name, dict(arguments), tensors, Path(path), notes=notes)


def builder_of(config):
    """Returns `(variant, arguments)` of our builder for a timm configuration.

    Raises:
        InvalidArgument: zoo has no such network; with what sets it apart, where that is known.
    """
    cfg, architecture = _cfg(config), config["architecture"]
    made_with = config.get("model_args") or {}
    if not isinstance(made_with, dict):
        raise invalid("timm's configuration has impossible `model_args`", made_with)
    pool = made_with.get("global_pool", config.get("global_pool", cfg.get("global_pool")))
    vit = VIT_NAME.fullmatch(architecture)
    if architecture in RESNETS:
        name, arguments, pools = architecture, {"flavour": "torch"}, ("avg",)
    elif architecture in XCEPTIONS:
        name, arguments, pools = "xception", {"flavour": "torch"}, ("avg",)
    elif architecture == "inception_v3":
        name, arguments, pools = "inception_v3", {"flavour": "torch"}, ("avg",)
    elif vit and int(vit[3]) in (8, 16, 32):
        name, arguments, pools = f"vit_{vit[2]}", {"patch_size": int(vit[3])}, ("token",)
        sizes = {k: made_with[k] for k in sorted(SIZES & set(made_with))}
        if any(type(v) not in (int, float, bool) or not 0 <= v <= 1 << 20 for v in sizes.values()):
            raise invalid("timm's configuration gives a vision transformer impossible sizes", sizes)
        arguments |= sizes
    else:
        reason = next((why for pattern, why in REASONS.items() if re.search(pattern, architecture)), None)
        why = f": {reason}" if reason else ""
        raise invalid(f"zoo does not build timm's network {architecture[:80]!r}{why}", works=BUILT)
    if pool not in (None, *pools):
        wrong = f"this {architecture} pools with {str(pool)[:40]!r}, and zoo builds it with {pools[0]!r}"
        works = "It was made with another `global_pool`, which normalises in another place." if vit else BUILT
        raise invalid(wrong, works=works)
    odd = sorted(set(made_with) - IDLE - (SIZES if vit else set()))
    odd = [k for k in odd if made_with[k] not in (None, False, 0)]
    if odd:
        wrong = f"this {architecture} was made with arguments of timm that change the network"
        raise invalid(wrong, {k: made_with[k] for k in odd[:6]}, "Only the network as timm names it can be converted.")
    return name, arguments


def _cfg(config):
    """Returns the part of a configuration that describes weights; old ones have it all on one level."""
    cfg = config.get("pretrained_cfg")
    return cfg if isinstance(cfg, dict) else config


def _labels(config, cfg, classes):
    """Returns `(labels, notes)` of a configuration."""
    names = next((c.get(k) for k in ("label_names", "labels") for c in (config, cfg) if c.get(k)), None)
    if isinstance(names, dict):
        names = [names.get(str(i)) for i in range(classes)] if len(names) == classes else ()
    if names is None:
        return None, ()
    if not isinstance(names, (list, tuple)) or len(names) != classes or not all(isinstance(n, str) for n in names):
        return None, (f"The class names were left out, as they are not one for each of the {classes} classes.",)
    described = config.get("label_descriptions") or cfg.get("label_descriptions")
    described = described if isinstance(described, dict) else {}
    return distinct([described[n] if isinstance(described.get(n), str) else n for n in names]), ()


def _preprocessing(cfg, image_shape):
    """Returns the image declaration that does what timm does at evaluation."""
    channels, mode = image_shape[-1], cfg.get("crop_mode") or "center"
    method = cfg.get("interpolation") or "bicubic"
    crop = numbers({"crop_pct": [cfg.get("crop_pct") or 0.875]}, "crop_pct", 1)[0]
    if method not in RESIZES or mode not in CROP_MODES or not 0.05 <= crop <= 2:
        wrong = "timm's configuration asks for a resizing that zoo does not do"
        raise invalid(wrong, (method, mode, crop), f"Known: {', '.join(RESIZES)}; {', '.join(CROP_MODES)}.")
    grey = {"mean": [sum(MEAN) / 3] * channels, "std": [sum(STD) / 3] * channels} if channels != 3 else {}
    mean, std = (numbers(cfg, key, channels, grey.get(key, usual)) for key, usual in (("mean", MEAN), ("std", STD)))
    return image_declaration(image_shape, mean=mean, std=std, resize=method, crop=crop, crop_mode=mode)


# What timm can load


def exported(model, license=None):
    """Returns `(tensors, config)` of a zoo model as timm loads it, see `zoo.hub.convert.timm_writing.exported`."""
    from zoo.hub.convert import timm_writing

    return timm_writing.exported(model, license)
