"""KerasHub presets of its ResNet, ResNetV2, Xception and ViT into ours.

A preset is a folder: `config.json` says the backbone, `model.weights.h5` holds its weights, `task.json` and
`task.weights.h5` the classifier on it, `image_converter.json` or `preprocessor.json` how images are prepared. Nothing
of KerasHub is needed. Source: https://keras.io/keras_hub/guides/upload.

In the weight files a layer is known by its class and its place among those of the class; in a Functional model that is
by depth, so the shortcut of a block comes before its last convolution, which is as deep. Newer files say the layers'
names too, and those are compared.
"""

import re
from pathlib import Path

import numpy as np

from zoo.errors import invalid
from zoo.hub.convert import hdf5, keras_applications
from zoo.hub.convert.filling import fill, translated
from zoo.hub.convert.foreign import Foreign, license_in, read_json, whole
from zoo.hub.convert.preset_images import channels_of, converter_in, preprocessing_of, size_of
from zoo.hub.convert.preset_networks import NETWORKS, PARTS
from zoo.registry import find_model
from zoo.spec import spec_of

VERSION = 1
BACKBONE, HEAD = "model.weights.h5", "task.weights.h5"
DESCRIPTIONS = ("task.json", "preprocessor.json", "image_converter.json")
FAMILIES = {"ResNetBackbone": "resnet", "XceptionBackbone": "xception", "ViTBackbone": "vit"}
TASKS = ("ResNetImageClassifier", "XceptionImageClassifier", "ViTImageClassifier")
KNOWN = {  # what a backbone's configuration may say; what else it says could change the network
    "resnet": (
        "input_conv_filters",
        "input_conv_kernel_sizes",
        "stackwise_num_filters",
        "stackwise_num_blocks",
        "stackwise_num_strides",
        "block_type",
        "use_pre_activation",
    ),
    "xception": ("stackwise_conv_filters", "stackwise_pooling"),
    "vit": (
        "patch_size",
        "num_layers",
        "num_heads",
        "hidden_dim",
        "mlp_dim",
        "dropout_rate",
        "attention_dropout",
        "layer_norm_epsilon",
        "use_mha_bias",
        "use_mlp_bias",
        "use_class_token",
        "use_patch_bias",
    ),
}
ALWAYS = ("name", "trainable", "dtype", "image_shape", "data_format", "include_rescaling")


# Names: our layer -> theirs

RESNET, RESNET_V2 = keras_applications.resnet_rules(  # stages and blocks count from 0
    lambda m: f"stack{int(m[1]) - 1}_block{int(m[2]) - 1}", "pre_activation"
)
VIT = {
    r"patch_embedding": lambda m: "patch_embedding",
    r"class_token": lambda m: "class_token",
    r"position_embedding": lambda m: "position_embedding",
    r"block(\d+)_norm(\d)": lambda m: f"transformer_block_{m[1]}/ln_{m[2]}",
    r"block(\d+)_attention_qkv": lambda m: f"transformer_block_{m[1]}/qkv",
    r"block(\d+)_attention_projection": lambda m: f"transformer_block_{m[1]}/attention_output",
    r"block(\d+)_mlp_(\d)": lambda m: f"transformer_block_{m[1]}/dense_{m[2]}",
    r"norm": lambda m: "ln",
    r"logits": lambda m: "predictions",
}


def _xception_rules(arguments):
    """The rules for an Xception, whose blocks count through all flows from 2; the last two convolutions are a block."""
    first = {"entry": 2, "middle": 2 + len(arguments["entry_filters"])}
    first["exit"] = first["middle"] + arguments["middle_blocks"]

    def block(m):
        name = f"block{first[m[1]] + int(m[2]) - 1}"
        return f"{name}_residual" if m[3] == "shortcut" else f"{name}_sepconv{m[3]}"

    last = f"block{first['exit'] + 1}"
    return {
        r"stem(\d)_conv": lambda m: f"block1_conv{m[1]}",
        r"stem(\d)_norm": lambda m: f"block1_conv{m[1]}_bn",
        r"exit(2|3)_norm": lambda m: f"{last}_sepconv{int(m[1]) - 1}_bn",
        r"exit(2|3)_conv": lambda m: f"{last}_sepconv{int(m[1]) - 1}",
        r"(entry|middle|exit)(\d+)_(\w+)_norm": lambda m: f"{block(m)}_bn",
        r"(entry|middle|exit)(\d+)_(shortcut)_conv": lambda m: f"{block(m)}_conv",
        r"(entry|middle|exit)(\d+)_(\d)_conv": block,
        r"logits": lambda m: "predictions",
    }


def name_map(model):
    """Returns a dict, path of each weight of a model that zoo built -> name of the tensor, as `read` names them.

    Raises:
        InvalidArgument: the model's family is not one of KerasHub's here, or holds a weight that theirs does not.
    """
    arguments, family = spec_of(model).arguments, find_model(spec_of(model).name).family
    if family not in FAMILIES.values():
        raise invalid("KerasHub's names are not known for this family", family, f"They are for {[*FAMILIES.values()]}.")
    if family == "resnet":
        rules = RESNET_V2 if arguments["version"] == 2 else RESNET
    else:
        rules = VIT if family == "vit" else _xception_rules(arguments)
    return {w.path: translated(w.path, rules, keras_applications.VARIABLES) for w in model.weights}


def load(model, tensors):
    """Fills a zoo resnet (flavour "torch", of version 2 "kerashub"), xception (flavour "keras") or vit.

    Args:
        model: `keras.Model` that zoo built, with the arguments that `read` gives.
        tensors: dict, name -> array, as `read` gives them.

    Returns:
        The model.

    Raises:
        InvalidArgument: a tensor is missing, left over or of another shape.
    """
    if find_model(spec_of(model).name).family == "vit":
        tensors = _joined(tensors)
    return fill(model, "KerasHub", name_map(model), tensors, lambda tensor: tensor)


def _joined(tensors):
    """Returns a ViT's tensors as ours lie: heads side by side, then queries, keys and values; positions (1, T, D)."""
    found = dict(tensors)
    for name in tensors:
        match = re.fullmatch(r"(transformer_block_\d+)/query/(kernel|bias)", name)
        if match:
            names = [f"{match[1]}/{part}/{match[2]}" for part in ("query", "key", "value")]
            if all(part in found for part in names):
                parts = [found.pop(part) for part in names]
                parts = [p.reshape(*p.shape[:-2], p.shape[-2] * p.shape[-1]) for p in parts]
                found[f"{match[1]}/qkv/{match[2]}"] = np.concatenate(parts, axis=-1)
        elif name.endswith("/attention_output/kernel") and found[name].ndim == 3:
            found[name] = found[name].reshape(-1, found[name].shape[-1])
        elif name == "position_embedding/kernel":
            found[name] = found[name][np.newaxis]
    return found


# Files


def recognise(names, config):
    """Says whether a repository is a preset of KerasHub or of KerasNLP, as it was called."""
    said = (config.get("registered_name"), config.get("module"))
    return any(str(text).startswith(("keras_hub", "keras_nlp")) for text in said)


def wanted(names, config):
    """Returns the files that a preset's conversion needs.

    Raises:
        InvalidArgument: it is of a network that zoo does not have, or has no weights that zoo reads; with the reason.
    """
    _family(config)
    if BACKBONE not in names:
        cut = [name for name in names if name.startswith("model.weights")]
        wrong = "the weights are cut into several files, and zoo reads one" if cut else f"there is no {BACKBONE}"
        raise invalid(wrong, sorted(cut or names)[:12], "Save the preset with one weight file.")
    head = [HEAD] if {"task.json", HEAD} <= set(names) else []
    return (BACKBONE, *head, *(name for name in DESCRIPTIONS if name in names))


def _family(config):
    """Returns our family, and the backbone's own configuration, of a `config.json`."""
    kind = str(config.get("class_name"))
    if kind not in FAMILIES:
        works = f"zoo converts {', '.join(FAMILIES)}."
        raise invalid("zoo has no builder for this backbone of KerasHub", kind[:80], works)
    own, family = config.get("config"), FAMILIES[kind]
    if not isinstance(own, dict):
        raise invalid("config.json of a preset should hold the backbone's configuration", own)
    if odd := sorted(set(own) - {*KNOWN[family], *ALWAYS}):
        raise invalid(f"{kind} is configured by what zoo does not know", odd, "A newer zoo may.")
    if own.get("data_format") not in (None, "channels_last"):
        raise invalid("zoo's networks have their channels last", own["data_format"])
    if own.get("include_rescaling"):  # before October 2024
        raise invalid("this backbone normalises images itself, as KerasHub's later ones do not", "include_rescaling")
    return family, own


def read(folder, config):
    """Returns the `Foreign` of a preset's folder.

    Raises:
        InvalidArgument: our builder cannot express the network, or a file says what no such preset does.
        IntegrityError: a file is damaged or holds something else than plain numbers.
    """
    folder = Path(folder)
    family, own = _family(config)
    name, arguments, layers = NETWORKS[family](own)
    notes, task = [], _task(folder, family, arguments)
    converter = converter_in(folder)
    size = size_of(own, converter)
    arguments |= {"image_shape": (*size, channels_of(own)), "include_top": task is not None}
    tensors = _tensors(folder / BACKBONE, layers)
    if task is not None:
        arguments["num_classes"] = whole(task, "num_classes", most=1 << 20)
        tensors |= _tensors(folder / HEAD, {"layers/dense": ("predictions", PARTS["dense"])})
        if task.get("activation"):
            notes.append(f"Left out: the {str(task['activation'])[:40]} at the end, as zoo's models give logits.")
        notes.append("A preset says no class names.")
    else:
        notes.append("Only the backbone; the model ends in its pooled features.")
    preprocessing, said = preprocessing_of(converter, arguments["image_shape"])
    return Foreign(
        name,
        arguments,
        tensors,
        folder / BACKBONE,
        preprocessing=preprocessing,
        license=license_in(folder),
        notes=(*notes, *said),
    )


def _tensors(path, layers):
    """Returns the tensors of a weight file by "layer/variable"; those of unknown places keep their paths.

    Args:
        path: of the file.
        layers: dict, path of a layer's group -> `(its name, names of its variables in order)`.
    """
    found = {}
    with hdf5.opened(path) as stored:
        for place in stored.shapes:
            group, _, number = place.rpartition("/vars/")
            name, variables = layers.get(group, (None, ()))
            known = number.isdecimal() and int(number) < len(variables)
            if known and (title := stored.titles.get(group, name).rpartition("/")[2]) != _title(name):
                raise invalid(f"{group} in {path.name} should be layer {_title(name)!r}", title[:80])
            found[f"{name}/{variables[int(number)]}" if known else place] = stored.array(place)
    return found


def _title(name):
    """Returns what KerasHub calls a layer that bears one of our composed names."""
    return TITLES.get(name.rpartition("/")[2], name.rpartition("/")[2])


TITLES = {"class_token": "vit_patching_and_embedding"}


def _task(folder, family, arguments):
    """Returns the configuration of the classifier on a backbone, or None where there is no classifier."""
    if not ((folder / "task.json").is_file() and (folder / HEAD).is_file()):
        return None
    found = read_json(folder / "task.json")
    task, kind = found.get("config"), str(found.get("class_name"))
    if kind not in TASKS or not isinstance(task, dict):
        raise invalid("zoo converts image classifiers of KerasHub", kind[:80], f"{', '.join(TASKS)}.")
    pool = arguments.get("pool")
    pooling = task.get("pooling", "token" if family == "vit" else "avg")
    if pooling != {"token": "token", "mean": "gap", None: "avg"}[pool]:
        what = "pools patches and class token together" if family == "vit" else "takes maxima of the features"
        raise invalid(f"this classifier {what}, which zoo's {family} does not", pooling)
    if task.get("intermediate_dim") is not None:
        raise invalid("zoo's vit has no dense layer before its logits", task["intermediate_dim"])
    return task
