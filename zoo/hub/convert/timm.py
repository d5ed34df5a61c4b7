"""timm checkpoints (PyTorch) into our vision transformers and residual networks.

torchvision's residual networks have the same tensor names and fit too. Only names and shapes are read here, no file
and no PyTorch: `tensors` may come from a safetensors file.
"""

import re

from zoo.errors import invalid
from zoo.hub.convert.filling import fill, translated
from zoo.spec import spec_of

VARIABLES = {
    "kernel": ".weight",
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
WHOLE = {"class_token/kernel": "cls_token", "position_embedding/kernel": "pos_embed"}


def name_map(model):
    """Returns a dict, path of each weight of a zoo vit or resnet -> name of its tensor in timm.

    Raises:
        InvalidArgument: the model holds a weight that timm's does not have.
    """
    paths = [w.path for w in model.weights]
    rules = VIT if "patch_embedding/kernel" in paths else RESNET
    rules = [(re.compile(pattern), name) for pattern, name in rules.items()]
    return {path: WHOLE.get(path) or translated(path, rules, VARIABLES) for path in paths}


def load(model, tensors):
    """Fills a zoo vit or resnet (flavour "torch") with a timm state dict.

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
    return fill(model, "timm", name_map(model), kept, keras_axes)


def keras_axes(tensor):
    """Returns a PyTorch weight in Keras's order: a convolution as (H, W, in, out), a dense layer as (in, out)."""
    if tensor.ndim == 4:
        return tensor.transpose(2, 3, 1, 0)
    return tensor.T if tensor.ndim == 2 else tensor
