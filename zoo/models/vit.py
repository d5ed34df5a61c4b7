"""Vision transformer.

Paper: Dosovitskiy et al., 2020, https://arxiv.org/abs/2010.11929, section 3.1 and table 1
Paper: Touvron et al., 2020, https://arxiv.org/abs/2012.12877, table 1 (the tiny and small sizes)
Shapes: image (B, H, W, C), float32 -> logits (B, num_classes)
Departures: the head starts at small random values instead of zeros, so that gradients reach every weight at once;
    stochastic depth (`drop_path_rate`) comes from Touvron et al.; `epsilon` is 1e-6 as in timm, and 1e-12 in
    transformers.
"""

import functools
import math

import keras
from keras import initializers, layers, ops

from zoo.errors import invalid
from zoo.layers.ends import choice, image_input, logits_layer, positive, rate
from zoo.layers.norms import activated, norm_layer
from zoo.layers.resizing import resized_grid, resized_patches
from zoo.registry import register

VARIANTS = {
    "vit_tiny": {"embed_dim": 192, "depth": 12, "num_heads": 3},
    "vit_small": {"embed_dim": 384, "depth": 12, "num_heads": 6},
    "vit_base": {"embed_dim": 768, "depth": 12, "num_heads": 12},
    "vit_large": {"embed_dim": 1024, "depth": 24, "num_heads": 16},
}


def small():
    """Returns the initializer of position embeddings and of the head."""
    return initializers.TruncatedNormal(stddev=0.02)


def learned(ones, length, embed_dim, initializer, *, name):
    """Learned vectors (length, embed_dim) for each row of `ones` (rows, 1).

    A product with one is the weight itself: stock layers alone, so the model reloads where zoo is not installed.
    """
    return layers.EinsumDense(
        "bi,ild->bld", output_shape=(length, embed_dim), kernel_initializer=initializer, name=name
    )(ones)


def attention(x, num_heads, qkv_bias, *, name):
    """Multi-head self-attention; one product makes queries, keys and values."""
    _, length, embed_dim = x.shape
    limit = math.sqrt(3 / embed_dim)  # Glorot's for each of the three square matrices that lie side by side
    glorot = initializers.RandomUniform(-limit, limit)
    x = layers.Dense(3 * embed_dim, use_bias=qkv_bias, kernel_initializer=glorot, name=f"{name}_qkv")(x)
    x = layers.Reshape((length, 3, num_heads, embed_dim // num_heads), name=f"{name}_heads")(x)
    query, key, value = ops.unstack(x, axis=2)  # (B, T, heads, D/heads)
    x = ops.dot_product_attention(query, key, value)
    x = layers.Reshape((length, embed_dim), name=f"{name}_join")(x)
    return layers.Dense(embed_dim, name=f"{name}_projection")(x)


def mlp(x, hidden_dim, activation, drop_rate, *, name):
    """Two dense layers with an activation between them."""
    embed_dim = x.shape[-1]
    x = layers.Dense(hidden_dim, name=f"{name}_1")(x)
    x = activated(x, activation, name=f"{name}_activation")
    x = layers.Dropout(drop_rate, name=f"{name}_drop")(x)
    return layers.Dense(embed_dim, name=f"{name}_2")(x)


def residual(x, branch, shortcut, drop_rate, drop_path_rate, *, name):
    """Adds a branch, dropping single values and, for a share of the images, the whole branch."""
    branch = layers.Dropout(drop_rate, name=f"{name}_drop")(branch)
    if not shortcut:
        return branch
    branch = layers.Dropout(drop_path_rate, noise_shape=(None, 1, 1), name=f"{name}_drop_path")(branch)
    return layers.Add(name=f"{name}_add")([x, branch])


def adapted(before, after):
    """Returns how weights of other arguments become those of these: positions of another grid, other patches."""
    old, new = (tuple(n // a["patch_size"] for n in a["image_shape"][:2]) for a in (before, after))
    changes = {}
    if old != new:
        changes["position_embedding/kernel"] = functools.partial(resized_grid, old=old, new=new)
    if before["patch_size"] != after["patch_size"]:
        changes["patch_embedding/kernel"] = functools.partial(resized_patches, size=after["patch_size"])
    return changes


def fitted(arguments):
    """Returns a patch size for images that the given one does not divide: the largest that does and leaves 4 x 4."""
    height, width, _ = arguments["image_shape"]
    patch_size = arguments["patch_size"]
    if height % patch_size == 0 and width % patch_size == 0:
        return {}
    sizes = range(1, min(height, width) // 4 + 1)
    return {"patch_size": max((s for s in sizes if height % s == 0 and width % s == 0), default=patch_size)}


@register("vit", task="image_classification", variants=VARIANTS, adapted=adapted, fitted=fitted)
def vit(
    *,
    embed_dim: int,
    depth: int,
    num_heads: int,
    patch_size: int = 16,
    image_shape: tuple = (224, 224, 3),
    num_classes: int = 1000,
    mlp_ratio: float = 4.0,
    pool: str = "token",
    norm: str | None = "layer",
    epsilon: float = 1e-6,
    activation: str = "gelu",
    qkv_bias: bool = True,
    shortcut: bool = True,
    drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    include_top: bool = True,
):
    """Builds a vision transformer.

    Weights of another `image_shape` or `patch_size` load with their position embeddings and patch filters resized.

    Args:
        embed_dim: width of a token, D; a multiple of `num_heads`.
        depth: transformer blocks.
        num_heads: attention heads of a block.
        patch_size: side of a square patch, in pixels; divides height and width.
        image_shape: (H, W, C).
        num_classes: outputs; 1 is a binary classifier.
        mlp_ratio: hidden width of a block's MLP, in units of `embed_dim`.
        pool: "token" reads the class token; "mean" has none and averages the patches.
        norm: before each branch and the head: "layer", as in the paper, "batch", "group" or None.
        epsilon: added to the variance by every normalisation.
        activation: of the MLPs: "gelu" (the exact one, as in the paper), "relu" or "silu".
        qkv_bias: whether queries, keys and values have a bias.
        shortcut: whether each branch is added to its input; without, there is no path around a block to drop.
        drop_rate: dropout of the embedded patches, of each MLP and of each branch.
        drop_path_rate: share of the images whose last block is skipped in training; it grows linearly with depth.
        include_top: whether the logits follow; False ends in the features of `pool`.

    Returns:
        `keras.Model`, image (B, H, W, C) -> logits (B, num_classes), or features (B, embed_dim).

    Raises:
        InvalidArgument: the patches do not tile the image, the heads do not divide the width, or a value is out of
            its range.
    """
    positive(embed_dim=embed_dim, depth=depth, num_heads=num_heads, patch_size=patch_size)
    rate(drop_rate=drop_rate, drop_path_rate=drop_path_rate)
    choice(("token", "mean"), pool=pool)
    if epsilon <= 0:
        raise invalid("`epsilon` must be positive", epsilon, "timm has 1e-6, transformers 1e-12.")
    if drop_path_rate and not shortcut:
        raise invalid(
            "`drop_path_rate` drops branches beside a shortcut", drop_path_rate, "Leave it 0, or shortcut=True."
        )
    hidden_dim = round(embed_dim * mlp_ratio)
    if hidden_dim < 1:
        raise invalid("`mlp_ratio` must be positive", mlp_ratio)
    if embed_dim % num_heads:
        raise invalid("`embed_dim` must be a multiple of `num_heads`", (embed_dim, num_heads))
    image = image_input(image_shape)
    height, width, _ = image_shape
    if height % patch_size or width % patch_size:
        raise invalid(
            f"`patch_size={patch_size}` does not divide the image's height and width",
            image_shape,
            f"A patch size that does: {max(n for n in range(1, patch_size) if not (height % n or width % n))}.",
        )
    length = height // patch_size * (width // patch_size)

    # Patches to tokens
    x = layers.Conv2D(embed_dim, patch_size, patch_size, name="patch_embedding")(image)
    x = layers.Reshape((length, embed_dim), name="patches")(x)  # (B, T, D)
    ones = ops.ones_like(x[:, 0, :1])  # (B, 1)
    if pool == "token":
        x = layers.Concatenate(1, name="tokens")([learned(ones, 1, embed_dim, "zeros", name="class_token"), x])
    position = learned(ones, x.shape[1], embed_dim, small(), name="position_embedding")
    x = layers.Add(name="positioned")([x, position])
    x = layers.Dropout(drop_rate, name="embedding_drop")(x)

    # Transformer blocks
    normed = functools.partial(norm_layer, norm=norm, epsilon=epsilon)
    for i in range(1, depth + 1):
        path_rate = drop_path_rate * (i - 1) / max(depth - 1, 1)
        added = functools.partial(residual, shortcut=shortcut, drop_rate=drop_rate, drop_path_rate=path_rate)
        y = normed(x, name=f"block{i}_norm1")
        y = attention(y, num_heads, qkv_bias, name=f"block{i}_attention")
        x = added(x, y, name=f"block{i}_attention")
        y = normed(x, name=f"block{i}_norm2")
        y = mlp(y, hidden_dim, activation, drop_rate, name=f"block{i}_mlp")
        x = added(x, y, name=f"block{i}_mlp_out")

    # Tokens to features to logits
    x = normed(x, name="norm")
    if pool == "mean":
        x = layers.GlobalAveragePooling1D(name="pool")(x)
    else:
        x = layers.Reshape((embed_dim,), name="pool")(x[:, 0])
    if include_top:
        x = logits_layer(num_classes, kernel_initializer=small())(x)
    return keras.Model(image, x, name="vit")
