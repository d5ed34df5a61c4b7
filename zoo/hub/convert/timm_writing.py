"""Our residual networks and vision transformers as timm writes and loads them: names, layouts, configuration."""

import numpy as np

from zoo.data.declarations import completed
from zoo.data.preprocessing import CROP_MODES
from zoo.errors import invalid
from zoo.hub.convert.timm import RESNETS, name_map
from zoo.registry import find_model
from zoo.spec import spec_of

SAME = {  # what an argument of ours has to be for a network that timm has, by family
    "vit": {"pool": "token", "norm": "layer", "epsilon": 1e-6, "activation": "gelu", "shortcut": True},
    "resnet": {
        **{"flavour": "torch", "stem": "7x7", "shortcut": "projection", "version": 1, "norm": "batch"},
        **{"activation": "relu", "separable": False, "filters": 64},
    },
}
PATCHES = {"vit_tiny": (16,), "vit_small": (16, 32), "vit_base": (16, 32), "vit_large": (16, 32)}  # at 224 and 384


def exported(model, license=None):
    """Returns `(tensors, config)` of a zoo resnet18 to resnet152 or vit as timm writes and loads them.

    Args:
        model: `keras.Model` that zoo built.
        license: identifier of the weights' licence for the configuration, or None.

    Returns:
        dict, name -> array in PyTorch's order of axes, batch norm's counters included; and the content of
        `config.json`. Where a model does not say how raw images are read, neither does the configuration, and timm
        takes its defaults.

    Raises:
        InvalidArgument: timm has no such network; the message says what is different.
    """
    from keras import ops

    spec = spec_of(model)
    architecture, made_with = _architecture(spec)
    names, tensors = name_map(model), {}
    for weight in model.weights:
        name = names[weight.path]
        tensors[name] = np.ascontiguousarray(torch_axes(np.asarray(ops.convert_to_numpy(weight), "float32")))
        if weight.path.endswith("/moving_mean"):
            tensors[name.replace("running_mean", "num_batches_tracked")] = np.zeros((), "int64")
    a, is_vit = spec.arguments, architecture.startswith("vit")
    height, width, channels = a["image_shape"]
    head = {"num_classes": a["num_classes"] if a["include_top"] else 0, "global_pool": "token" if is_vit else "avg"}
    described = {
        "input_size": [channels, height, width],
        "fixed_input_size": is_vit,
        "num_classes": head["num_classes"],
        "first_conv": "patch_embed.proj" if is_vit else "conv1",
        "classifier": "head" if is_vit else "fc",
        "custom_load": False,
        **({} if is_vit else {"pool_size": [-(-height // 32), -(-width // 32)]}),
        **({"license": license} if license else {}),
        **_reading(spec.preprocessing),
    }
    features = a["embed_dim"] if is_vit else 512 * (4 if a["bottleneck"] else 1)
    config = {"architecture": architecture, "num_features": features, **head}
    if spec.labels and not isinstance(spec.labels, dict):
        config["label_names"] = list(spec.labels)
    return tensors, {**config, "model_args": {"in_chans": channels, **head, **made_with}, "pretrained_cfg": described}


def torch_axes(array):
    """Returns a weight of Keras in PyTorch's order of axes: the inverse of `zoo.hub.convert.timm.keras_axes`."""
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    return array.T if array.ndim == 2 else array


def _architecture(spec):
    """Returns `(architecture, model_args)` of the network of timm that a spec's is."""
    a, row = spec.arguments, find_model(spec.name)
    if spec.name not in (*RESNETS, *PATCHES):
        works = f"Those that timm loads: {', '.join((*RESNETS, *PATCHES))}."
        raise invalid("zoo does not write this network's weights for timm", spec.name, works)
    odd = {k: a[k] for k, value in SAME[row.family].items() if a[k] != value}
    fixed = ("blocks", "bottleneck") if row.family == "resnet" else ()
    odd |= {k: a[k] for k in fixed if _listed(a[k]) != _listed(row.arguments[k])}
    if odd:
        wanted = {k: SAME[row.family].get(k, row.arguments.get(k)) for k in odd}
        raise invalid(f"timm has no {spec.name} with these arguments", odd, f"Those of timm's are {wanted}.")
    if row.family == "resnet":
        return spec.name, {}
    changed = {
        k: a[k] for k in ("embed_dim", "depth", "num_heads", "mlp_ratio", "qkv_bias") if a[k] != row.arguments[k]
    }
    patch, (height, width, _) = a["patch_size"], a["image_shape"]
    if not changed and patch in PATCHES[spec.name] and height == width and height in (224, 384):
        return f"{spec.name}_patch{patch}_{height}", {"img_size": [height, width]}
    return f"{spec.name}_patch16_224", {"img_size": [height, width], "patch_size": patch, **changed}


def _listed(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _reading(declared):
    """Returns the part of timm's configuration that says how raw images are read, of an image declaration or None."""
    if not declared:
        return {}
    declared = completed(declared)
    if declared["kind"] != "image" or declared.get("order", "rgb") != "rgb" or declared["maximum"] is None:
        raise invalid("timm has no preprocessing that does what this model's does", declared, "It needs images in RGB.")
    factor = declared["maximum"] * declared["scale"]  # timm's pixels run from 0 to 1
    channels = declared["image_shape"][-1]
    return {
        "mean": [m / factor for m in declared["mean"] or [0.0] * channels],
        "std": [s / factor for s in declared["std"] or [1.0] * channels],
        "interpolation": declared["resize"] or "bilinear",
        "crop_pct": declared["crop"] or 1.0,
        "crop_mode": declared.get("crop_mode", CROP_MODES[0]) if declared["crop"] else "squash",
    }
