"""What the configuration of a KerasHub backbone says in the arguments of our builders, and where its weights lie.

Each function takes the parsed configuration of a backbone and returns our variant, its arguments, and a dict: path of
a layer's group in the weight file -> `(name of the layer, names of its variables in order)`.
"""

import itertools

from zoo.errors import invalid
from zoo.hub.convert.foreign import whole

NORM = ("gamma", "beta", "moving_mean", "moving_variance")
PARTS = {"conv2d": ("kernel", "bias"), "batch_normalization": NORM, "dense": ("kernel", "bias")}
PARTS |= {"separable_conv2d": ("depthwise_kernel", "pointwise_kernel")}


def _places(kinds):
    """Returns dict, path of a layer's group -> `(name, variables)`: dict, kind -> names in their order."""
    return {
        f"layers/{kind}{f'_{i}' if i else ''}": (name, PARTS[kind])
        for kind, names in kinds.items()
        for i, name in enumerate(names)
    }


def _resnet(own):
    """Returns our variant, arguments, and `_places` of a ResNetBackbone's configuration."""
    filters, blocks = _wholes(own, "stackwise_num_filters"), _wholes(own, "stackwise_num_blocks", 1000)
    strides, stem = _wholes(own, "stackwise_num_strides"), _wholes(own, "input_conv_filters")
    kind, version = str(own.get("block_type")), 2 if own.get("use_pre_activation") else 1
    if kind not in ("basic_block", "bottleneck_block"):
        raise invalid("zoo's resnet has no such blocks: vd blocks average before their shortcuts", kind[:40])
    if (stem, _wholes(own, "input_conv_kernel_sizes")) != ([64], [7]):
        raise invalid("zoo's resnet begins with one 7 x 7 convolution of 64 filters", stem)
    if filters != [64 << i for i in range(len(blocks))] or strides != [1] + [2] * (len(blocks) - 1):
        wrong = "the stages of zoo's resnet double their filters from 64 and, after the first, halve the image"
        raise invalid(wrong, (filters, strides))
    bottleneck = kind == "bottleneck_block"
    named = {(2, 2, 2, 2): "18", (3, 4, 6, 3): "50" if bottleneck else "34", (3, 4, 23, 3): "101", (3, 8, 36, 3): "152"}
    variant = "resnet" + named.get(tuple(blocks), "50" if bottleneck else "18")
    if bottleneck == (variant in ("resnet18", "resnet34")):
        variant = "resnet50" if bottleneck else "resnet18"
    variant += "v2" * (version == 2 and bottleneck)
    arguments = {"blocks": blocks, "bottleneck": bottleneck, "version": version}
    arguments["flavour"] = "kerashub" if version == 2 else "torch"
    convs, norms = ["conv1_conv"], ["conv1_bn"] if version == 1 else []
    count = 3 if bottleneck else 2
    for stack, depth in enumerate(blocks):
        for number in range(depth):
            block = f"stack{stack}_block{number}"
            shortcut = [0] * (number == 0 and (bottleneck or stack > 0))
            order = [*range(1, count), *shortcut, count]
            convs += [f"{block}_{i}_conv" for i in order]
            if version == 1:
                norms += [f"{block}_{i}_bn" for i in order]
            else:
                norms += [f"{block}_pre_activation_bn", *(f"{block}_{i}_bn" for i in range(1, count))]
    norms += ["post_bn"] * (version == 2)
    return variant, arguments, _places({"conv2d": convs, "batch_normalization": norms})


def _xception(own):
    """As `_resnet`, of an XceptionBackbone's."""
    filters, pooling = own.get("stackwise_conv_filters"), own.get("stackwise_pooling")
    rows = filters if isinstance(filters, list) else []
    if len(rows) < 4 or len(rows) > 256 or not all(isinstance(row, list) for row in rows):
        raise invalid("the filters of an Xception are a list for each of at least four blocks", str(filters)[:80])
    rows = [_wholes({"filters": row}, "filters") for row in rows]
    pooled = [bool(p) for p in pooling] if isinstance(pooling, list) else []
    leading = len(list(itertools.takewhile(bool, pooled[1:])))
    entry = leading - (leading == sum(pooled))  # without middle blocks the exit's own follows at once
    middle = len(rows) - entry - 3
    wide = rows[entry][-1]
    flows = [False] + [True] * entry + [False] * middle + [True, False]
    expected = [rows[0], *([row[-1]] * 2 for row in rows[1 : 1 + entry]), *[[wide] * 3] * middle]
    expected += [[wide, rows[-2][-1]], rows[-1]]
    if entry < 1 or middle < 0 or pooled != flows or rows != expected or len(rows[0]) != 2 or len(rows[-1]) != 2:
        raise invalid("zoo's xception has no such blocks", str(filters)[:120])
    arguments = {
        "stem_filters": rows[0],
        "entry_filters": [row[-1] for row in rows[1 : 1 + entry]],
        "middle_blocks": middle,
        "exit_filters": [rows[-2][-1], *rows[-1]],
        "flavour": "keras",
    }
    convs, separable, norms = ["block1_conv1", "block1_conv2"], [], ["block1_conv1_bn", "block1_conv2_bn"]
    width = rows[0][-1]
    for number, row in enumerate(rows[1:], start=2):
        names = [f"block{number}_sepconv{i}" for i in range(1, len(row) + 1)]
        separable += names
        norms += [f"{name}_bn" for name in names]
        if number < len(rows) and row[-1] != width:
            convs.append(f"block{number}_residual_conv")
            norms.append(f"block{number}_residual_bn")
        width = row[-1]
    kinds = {"conv2d": convs, "separable_conv2d": separable, "batch_normalization": norms}
    return "xception", arguments, _places(kinds)


def _vit(own):
    """As `_resnet`, of a ViTBackbone's."""
    dim, depth, heads = (whole(own, key, most=1 << 16) for key in ("hidden_dim", "num_layers", "num_heads"))
    patch = own.get("patch_size")
    patch = _wholes({"patch_size": patch if isinstance(patch, list) else [patch, patch]}, "patch_size")
    if len(set(patch)) != 1:
        raise invalid("zoo's vit has square patches", patch)
    if not all(own.get(key, True) is True for key in ("use_mha_bias", "use_mlp_bias", "use_patch_bias")):
        raise invalid("zoo's vit has a bias in each dense layer, and this one lacks some", "use_..._bias=false")
    epsilon = own.get("layer_norm_epsilon", 1e-6)
    if type(epsilon) is not float or not 0 < epsilon < 1 or not dim or not heads or not 0 < depth <= 1000:
        raise invalid("the checkpoint's configuration is impossible", {"layer_norm_epsilon": epsilon, "depth": depth})
    sizes = {(192, 12, 3): "tiny", (384, 12, 6): "small", (768, 12, 12): "base", (1024, 24, 16): "large"}
    arguments = {
        "embed_dim": dim,
        "depth": depth,
        "num_heads": heads,
        "patch_size": patch[0],
        "mlp_ratio": whole(own, "mlp_dim", most=1 << 20) / dim,
        "epsilon": epsilon,
        "pool": "token" if own.get("use_class_token", True) else "mean",
    }
    embedding = "layers/vi_t_patching_and_embedding"
    found = {
        f"{embedding}/patch_embedding": ("patch_embedding", ("kernel", "bias")),
        f"{embedding}/position_embedding": ("position_embedding", ("kernel",)),
        "layers/vi_t_encoder/layer_norm": ("ln", ("gamma", "beta")),
    }
    found |= {embedding: ("class_token", ("kernel",))} if arguments["pool"] == "token" else {}
    for i in range(depth):
        place = f"layers/vi_t_encoder/encoder_layers/vi_t_encoder_block{f'_{i}' if i else ''}"
        name = f"transformer_block_{i + 1}"
        for number in (1, 2):
            found[f"{place}/layer_norm_{number}"] = (f"{name}/ln_{number}", ("gamma", "beta"))
            found[f"{place}/mlp/dense_{number}"] = (f"{name}/dense_{number}", ("kernel", "bias"))
        for theirs, part in (("query", "query"), ("key", "key"), ("value", "value"), ("output", "attention_output")):
            found[f"{place}/mha/{theirs}_dense"] = (f"{name}/{part}", ("kernel", "bias"))
    return f"vit_{sizes.get((dim, depth, heads), 'tiny')}", arguments, found


def _wholes(own, key, most=1 << 16):
    """Returns a list of whole numbers, each of at least 1, out of a parsed file."""
    values = own.get(key)
    if not isinstance(values, list) or not 0 < len(values) <= 64 or 0 in values:
        raise invalid(f"the checkpoint's configuration has an impossible {key!r}", str(values)[:80])
    return [whole({key: value}, key, most=most) for value in values]


NETWORKS = {"resnet": _resnet, "xception": _xception, "vit": _vit}
