"""Networks of `keras.applications` into ours of flavour "keras"."""

import re

from zoo.errors import invalid
from zoo.hub.convert.filling import fill, translated
from zoo.registry import find_model
from zoo.spec import spec_of

RESNET = {  # our layer -> theirs, where stages count from 2 and a shortcut is convolution 0
    r"stem_conv": lambda m: "conv1_conv",
    r"stem_norm": lambda m: "conv1_bn",
    r"stage(\d+)_block(\d+)_(\d)_conv": lambda m: f"conv{int(m[1]) + 1}_block{m[2]}_{m[3]}_conv",
    r"stage(\d+)_block(\d+)_(\d)_norm": lambda m: f"conv{int(m[1]) + 1}_block{m[2]}_{m[3]}_bn",
    r"stage(\d+)_block(\d+)_shortcut_conv": lambda m: f"conv{int(m[1]) + 1}_block{m[2]}_0_conv",
    r"stage(\d+)_block(\d+)_shortcut_norm": lambda m: f"conv{int(m[1]) + 1}_block{m[2]}_0_bn",
    r"logits": lambda m: "predictions",
}
RESNET_V2 = {  # normalisation i precedes convolution i here; theirs bears the name of the convolution before it
    r"stage(\d+)_block(\d+)_1_norm": lambda m: f"conv{int(m[1]) + 1}_block{m[2]}_preact_bn",
    r"stage(\d+)_block(\d+)_(\d)_norm": lambda m: f"conv{int(m[1]) + 1}_block{m[2]}_{int(m[3]) - 1}_bn",
    r"head_norm": lambda m: "post_bn",
    **{pattern: name for pattern, name in RESNET.items() if not pattern.endswith("_(\\d)_norm")},
}
XCEPTION_BLOCKS = {"entry": 2, "middle": 5, "exit": 13}  # theirs count through all flows


def _xception(m):
    """Their name of a part of one of our blocks, as `_renamed` gives it."""
    block = XCEPTION_BLOCKS[m[1]] + int(m[2]) - 1
    return f"block{block}_shortcut" if m[3] == "shortcut" else f"block{block}_sepconv{m[3]}"


XCEPTION = {
    r"stem(\d)_conv": lambda m: f"block1_conv{m[1]}",
    r"stem(\d)_norm": lambda m: f"block1_conv{m[1]}_bn",
    r"exit(2|3)_norm": lambda m: f"block14_sepconv{int(m[1]) - 1}_bn",
    r"exit(2|3)_(\w+)": lambda m: f"block14_sepconv{int(m[1]) - 1}_{m[2]}",
    r"(entry|middle|exit)(\d)_(\w+)_norm": lambda m: f"{_xception(m)}_bn",
    r"(entry|middle|exit)(\d)_(\w+)_(depthwise|pointwise|conv)": lambda m: f"{_xception(m)}_{m[4]}",
    r"logits": lambda m: "predictions",
}
RULES = {("resnet", 1): RESNET, ("resnet", 2): RESNET_V2, ("xception", 1): XCEPTION}  # by family and version
VARIABLES = {v: f"/{v}" for v in ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")}


def name_map(model):
    """Returns a dict, path of each weight of a model that zoo built -> path of the weight in `keras.applications`.

    Raises:
        InvalidArgument: the model's family is not one of `RULES`, or it holds a weight that theirs does not have.
    """
    family = find_model(spec_of(model).name).family
    version = spec_of(model).arguments.get("version", 1)
    if (family, version) not in RULES:
        known = ", ".join(dict.fromkeys(name for name, _ in RULES))
        raise invalid("keras.applications' names are not known for this family", family, f"They are for {known}.")
    rules = [(re.compile(pattern), name) for pattern, name in RULES[family, version].items()]
    return {w.path: translated(w.path, rules, VARIABLES) for w in model.weights}


def load(model, application):
    """Fills a zoo model (flavour "keras") with the weights of the same network of `keras.applications`.

    Many of their convolutions carry a bias before batch normalisation, ours do not: normalising x + b around the mean
    m is normalising x around m - b, so the bias goes into the moving mean.

    Args:
        model: `keras.Model` that zoo built, of the same depth and number of classes.
        application: the `keras.applications` model, with its top: ResNet50, ResNet50V2, Xception or their kin.

    Returns:
        The model; its outputs are the logits of theirs.

    Raises:
        InvalidArgument: a weight is missing, left over or of another shape, or the model's flavour is not "keras".
    """
    flavour = spec_of(model).arguments.get("flavour")
    if flavour != "keras":
        raise invalid("only a model of flavour 'keras' fits keras.applications", flavour, 'Build with flavour="keras".')
    names = name_map(model)
    tensors = _renamed({w.path: w.numpy() for w in application.weights})
    kept = set(names.values())
    for path in [p for p in tensors if p.endswith("_conv/bias") and p not in kept]:
        mean = path.replace("_conv/bias", "_bn/moving_mean")
        if mean in tensors:
            tensors[mean] = tensors[mean] - tensors.pop(path)
    return fill(model, "keras.applications", names, tensors, lambda tensor: tensor)


def _renamed(tensors):
    """Gives the kernels of separable convolutions, and Xception's nameless shortcuts, names like the others'."""
    blocks, renamed = {}, {}
    for path, tensor in tensors.items():
        layer, _, variable = path.rpartition("/")
        kind = {"conv2d": "shortcut_conv", "batch_normalization": "shortcut_bn"}.get(re.sub(r"_\d+$", "", layer))
        if kind:  # numbered by how many the process has made, so only their order tells
            order = blocks.setdefault(kind, [])
            order += [layer] * (layer not in order)
            layer = f"block{(2, 3, 4, 13)[order.index(layer)]}_{kind}"
        elif variable.endswith("wise_kernel"):
            layer, variable = f"{layer}_{variable.removesuffix('_kernel')}", "kernel"
        renamed[f"{layer}/{variable}"] = tensor
    return renamed
