"""timm checkpoints (PyTorch) into our vision transformers, residual networks, Xception and Inception-v3.

torchvision's residual networks and Inception-v3 have the same tensor names and fit too. Only names and shapes are
read here, no file and no PyTorch: `tensors` may come from a safetensors file.
"""

import numpy as np

from zoo.errors import invalid
from zoo.hub.convert.filling import fill, translated
from zoo.registry import find_model
from zoo.spec import spec_of

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
    kept = {name: value for name, value in tensors.items() if not name.endswith("num_batches_tracked")}
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
