"""Where a vision transformer looks: its attention maps, their rollout, and both as a picture.

Paper: Dosovitskiy et al., 2020, https://arxiv.org/abs/2010.11929, appendix D.7 (maps over the image)
Paper: Abnar and Zuidema, 2020, https://arxiv.org/abs/2005.00928, section 3 (attention rollout)
"""

import re
from pathlib import Path

import keras
import numpy as np

from zoo.errors import invalid
from zoo.files import staged_file
from zoo.flops import graph_of
from zoo.inference import assets_of, loaded
from zoo.spec import spec_of

_HEADS = re.compile(r"(\w+)_attention_heads")


def attention(model, images, *, batch_size=32):
    """Returns how much each token of each block attends to each token.

    The maps are computed from the outputs of the blocks' query-key-value layers, in float32.

    Args:
        model: a zoo vision transformer, or a reference, run or run folder of one.
        images: model input (B, H, W, C), float32, preprocessed as the model wants it.
        batch_size: images at a time.

    Returns:
        dict, block name ("block1", ...) -> float32 array (B, heads, T, T); each row sums to one. With pool="token"
        the first of the T tokens is the class token, the others are the patches, row by row.

    Raises:
        InvalidArgument: the model has no such layers, or the images are not (B, H, W, C) of its input shape.
    """
    model = loaded(model)
    names = _blocks(model)
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[1:] != tuple(model.input_shape[1:]):
        works = f"Give an array (B, {', '.join(map(str, model.input_shape[1:]))}); one image is images[None]."
        raise invalid("`images` must be a batch of the model's input shape", images.shape, works)
    inside = keras.Model(model.inputs, [model.get_layer(name).output for name in names.values()])
    parts = []
    for start in range(0, len(images), batch_size):
        outputs = inside(keras.ops.convert_to_tensor(images[start : start + batch_size]), training=False)
        parts.append([_map(keras.ops.convert_to_numpy(x).astype("float32")) for x in outputs])
    return {block: np.concatenate(maps) for block, *maps in zip(names, *parts, strict=True)}


def _blocks(model):
    """Returns dict, block name -> name of the layer whose output is (B, T, 3, heads, D) queries, keys, values."""
    graph, found = graph_of(model), {}
    for layer in graph.layers if graph is not None else ():
        match = _HEADS.fullmatch(layer.name)
        if match and len(layer.output.shape) == 5 and layer.output.shape[2] == 3:
            found[match[1]] = layer.name
    if not found:
        works = "zoo.list_models('vit*') lists models that have."
        raise invalid(f"model {model.name!r} has no self-attention layers that zoo knows", works=works)
    return found


def _map(heads):
    """Returns the softmax of the scaled products of queries and keys, (B, heads, T, T)."""
    query, key = heads[:, :, 0], heads[:, :, 1]  # (B, T, heads, D)
    scores = np.einsum("bqhd,bkhd->bhqk", query, key, optimize=True) / np.sqrt(np.float32(query.shape[-1]))
    scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return scores / scores.sum(axis=-1, keepdims=True)


def rollout(maps):
    """Returns attention rollout: how much each token at the top draws on each token at the bottom.

    Each block's map, averaged over its heads, is averaged with the identity for the shortcut; their product is taken.

    Args:
        maps: what `attention` returns, or a list of arrays (B, heads, T, T), the first block first.

    Returns:
        float32 array (B, T, T); each row sums to one.
    """
    result = None
    for heads in maps.values() if isinstance(maps, dict) else maps:
        mixed = (heads.mean(axis=1) + np.eye(heads.shape[-1], dtype="float32")) / 2
        result = mixed if result is None else mixed @ result
    return result


def attention_picture(model, image, path):
    """Draws over an image where a vision transformer looks: the rollout of all blocks, and each block's average head.

    Shown is what the class token attends to; without one, what the patches attend to on average.

    Args:
        model: as for `attention`.
        image: raw, as the model's preprocessing reads it (a file's path, an array of pixels), if it declares one; else
            model input (H, W, C).
        path: of the PNG to write.

    Returns:
        `Path` of the picture.

    Raises:
        InvalidArgument: as `attention`.
        DataError: the image cannot be read.
        StoreError: the picture cannot be written.
    """
    model = loaded(model)
    shown, ready = _read(model, image)
    maps = attention(model, ready)
    height, width, patch = *model.input_shape[1:3], spec_of(model).arguments["patch_size"]
    grid = height // patch, width // patch
    panels = {"rollout": rollout(maps)[0]} | {name: heads[0].mean(axis=0) for name, heads in maps.items()}
    return _draw(shown, {name: _on_grid(table, grid) for name, table in panels.items()}, path)


def _read(model, image):
    """Returns `(pixels to show, model input (1, H, W, C))`."""
    declared = getattr(spec_of(model), "preprocessing", None)
    if not declared:
        ready = np.asarray(image, "float32")[None]
        pixels = ready[0] - ready.min()
        return pixels / max(pixels.max(), 1e-6), ready
    from zoo.data.declarations import completed
    from zoo.data.preprocessing import encode

    declared = completed(declared)
    ready = encode(declared, [image], assets_of(model))
    std, mean = declared["std"] or 1.0, declared["mean"] or 0.0
    pixels = (ready[0] * std + mean) / ((declared["maximum"] or 1.0) * declared["scale"])
    return np.clip(pixels[..., ::-1] if declared.get("order") == "bgr" else pixels, 0, 1), ready


def _on_grid(table, grid):
    """Returns how much each patch is attended to, (rows, columns), of a map (T, T)."""
    cells = grid[0] * grid[1]
    row = table[0] if len(table) > cells else table.mean(axis=0)
    return row[-cells:].reshape(grid)


def _draw(pixels, panels, path):
    from matplotlib.figure import Figure

    pixels = pixels[..., 0] if pixels.shape[-1] == 1 else pixels[..., :3]
    rows = -(-(len(panels) + 1) // 7)
    columns = -(-(len(panels) + 1) // rows)
    figure = Figure(figsize=(2.2 * columns, 2.4 * rows), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.axis("off")
    height, width = pixels.shape[:2]
    for axis, (name, weights) in zip(axes, {"image": None, **panels}.items(), strict=False):
        axis.imshow(pixels, cmap="gray", vmin=0, vmax=1, extent=(0, width, height, 0))
        axis.set_title(name, fontsize=9)
        if weights is not None:
            axis.imshow(weights, cmap="inferno", alpha=0.65, extent=(0, width, height, 0), interpolation="bilinear")
    with staged_file(Path(path)) as place:
        figure.savefig(place, format="png", dpi=110)
    return Path(path)
