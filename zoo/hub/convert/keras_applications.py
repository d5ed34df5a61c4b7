"""Networks of `keras.applications` into ours of flavour "keras"."""

import re

import keras

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
    r"exit(2|3)_conv": lambda m: f"block14_sepconv{int(m[1]) - 1}",
    r"(entry|middle|exit)(\d)_(\w+)_norm": lambda m: f"{_xception(m)}_bn",
    r"(entry|middle|exit)(\d)_(shortcut)_conv": lambda m: f"{_xception(m)}_conv",
    r"(entry|middle|exit)(\d)_(\d)_conv": _xception,
    r"logits": lambda m: "predictions",
}
INCEPTION_V3 = {  # their layers have our names, once `_renamed` has given them any
    r"(\w+)_conv": lambda m: f"{m[1]}_conv",
    r"(\w+)_norm": lambda m: f"{m[1]}_bn",
    r"logits": lambda m: "predictions",
}
INCEPTION_BLOCKS = {  # the branches of each block, in the order in which theirs makes them
    "stem": ("1", "2", "3", "4", "5"),
    "a": ("1x1", "5x5_1", "5x5_2", "3x3dbl_1", "3x3dbl_2", "3x3dbl_3", "pool"),
    "reduction_a": ("3x3", "3x3dbl_1", "3x3dbl_2", "3x3dbl_3"),
    "b": ("1x1", "7x7_1", "7x7_2", "7x7_3", *(f"7x7dbl_{i}" for i in range(1, 6)), "pool"),
    "reduction_b": ("3x3_1", "3x3_2", "7x7x3_1", "7x7x3_2", "7x7x3_3", "7x7x3_4"),
    "c": ("1x1", "3x3_1", "3x3_2a", "3x3_2b", "3x3dbl_1", "3x3dbl_2", "3x3dbl_3a", "3x3dbl_3b", "pool"),
}
INCEPTION_ORDER = ("stem", "a1", "a2", "a3", "reduction_a", "b1", "b2", "b3", "b4", "reduction_b", "c1", "c2")
NAMELESS = {  # names for the layers that theirs only numbers, in the order of the numbers
    "xception": tuple(f"block{block}_shortcut" for block in (2, 3, 4, 13)),
    "inception_v3": tuple(
        f"{block}_{branch}" for block in INCEPTION_ORDER for branch in INCEPTION_BLOCKS[block.rstrip("0123456789")]
    ),
}
RULES = {  # by family and version
    ("resnet", 1): RESNET,
    ("resnet", 2): RESNET_V2,
    ("xception", 1): XCEPTION,
    ("inception_v3", 1): INCEPTION_V3,
}
VARIABLES = (
    "kernel",
    "depthwise_kernel",
    "pointwise_kernel",
    "bias",
    "gamma",
    "beta",
    "moving_mean",
    "moving_variance",
)
VARIABLES = {v: f"/{v}" for v in VARIABLES}


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
    return {w.path: translated(w.path, RULES[family, version], VARIABLES) for w in model.weights}


def load(model, application):
    """Fills a zoo model (flavour "keras") with the weights of the same network of `keras.applications`.

    Many of their convolutions carry a bias before batch normalisation, ours do not: normalising x + b around the mean
    m is normalising x around m - b, so the bias goes into the moving mean.

    Args:
        model: `keras.Model` that zoo built, of the same depth and number of classes.
        application: the `keras.applications` model, with its top: ResNet50, ResNet50V2, Xception, InceptionV3 or
            their kin.

    Returns:
        The model; its outputs are the logits of theirs.

    Raises:
        InvalidArgument: a weight is missing, left over or of another shape, or the model's flavour is not "keras".
    """
    flavour = spec_of(model).arguments.get("flavour")
    if flavour != "keras":
        raise invalid("only a model of flavour 'keras' fits keras.applications", flavour, 'Build with flavour="keras".')
    names = name_map(model)
    nameless = NAMELESS.get(find_model(spec_of(model).name).family, ())
    tensors = _renamed({w.path: keras.ops.convert_to_numpy(w) for w in application.weights}, nameless)
    kept = set(names.values())
    for path in [p for p in tensors if p.endswith("_conv/bias") and p not in kept]:
        mean = path.replace("_conv/bias", "_bn/moving_mean")
        if mean in tensors:
            tensors[mean] = tensors[mean] - tensors.pop(path)
    return fill(model, "keras.applications", names, tensors, lambda tensor: tensor)


def _renamed(tensors, nameless):
    """Gives layers that are only numbered names like the others'.

    The numbers count what the process has made, so only their order tells which layer it is.

    Raises:
        InvalidArgument: there are more or fewer such layers than `nameless` has names.
    """
    places = {}
    for kind in ("conv2d", "batch_normalization"):
        found = {layer for path in tensors if re.fullmatch(rf"{kind}(_\d+)?", layer := path.rpartition("/")[0])}
        if len(found) not in (0, len(nameless)):
            works = "Give the network that the model was built after, whole and unchanged."
            raise invalid(f"{len(nameless)} layers named {kind!r} and a number were expected", len(found), works)
        ordered = sorted(found, key=lambda layer: int(layer.removeprefix(kind).lstrip("_") or 0))
        ending = "conv" if kind == "conv2d" else "bn"
        places |= {layer: f"{name}_{ending}" for layer, name in zip(ordered, nameless, strict=False)}
    renamed = {}
    for path, tensor in tensors.items():
        layer, _, variable = path.rpartition("/")
        renamed[f"{places.get(layer, layer)}/{variable}"] = tensor
    return renamed
