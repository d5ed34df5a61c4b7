"""Wide & Deep: a linear model over crossed features remembers, a deep one over embeddings generalises.

Paper: Cheng et al., 2016, https://arxiv.org/abs/1606.07792, sections 3 and 4.2
Shapes: wide (B, W) int32 and categories (B, C) int32, ids of which each column has its own range; numbers (B, N)
    float32 -> logits (B, num_classes)
Departures: one optimizer trains both towers, where the paper takes FTRL with L1 for the wide one (here an L2 penalty,
    `wide_l2`) and AdaGrad for the deep one. The deep tower may use dropout. Crosses are hashed.
"""

import keras
from keras import layers, ops

from zoo.errors import invalid
from zoo.layers.ends import full_precision, logits_layer, positive, rate
from zoo.layers.norms import activated, norm_layer
from zoo.registry import register

VARIANTS = {"wide_deep": {}}


@register("wide_deep", task="tabular_classification", variants=VARIANTS)
def wide_deep(
    *,
    wide_columns: int = 3,
    wide_size: int = 3000,
    category_columns: int = 8,
    category_size: int = 110,
    number_columns: int = 5,
    embed_dim: int = 32,
    widths: tuple = (1024, 512, 256),
    norm: str | None = None,
    activation: str = "relu",
    drop_rate: float = 0.0,
    wide_l2: float = 0.0,
    num_classes: int = 2,
):
    """Builds a Wide & Deep classifier of table rows; embedding and tower widths are the paper's.

    Args:
        wide_columns: ids of a row that the linear model sees, W: crosses, categories and buckets.
        wide_size: all those ids, over the columns.
        category_columns: ids of a row that are embedded, C.
        category_size: all those ids, over the columns.
        number_columns: numbers of a row, N.
        embed_dim: width of a category's vector.
        widths: units of the deep tower's layers.
        norm: after each of them, "batch", "layer" or None.
        activation: "relu" (the paper's), "gelu" or "silu".
        drop_rate: dropout after each layer of the deep tower.
        wide_l2: weight of the squared wide weights in the loss.
        num_classes: outputs; 1 is a binary classifier.

    Returns:
        `keras.Model`, {"wide": (B, W), "categories": (B, C), "numbers": (B, N)} -> logits (B, num_classes).

    Raises:
        InvalidArgument: a size is not positive, a rate is outside [0, 1), a penalty is negative, or a name is unknown.
    """
    positive(wide_columns=wide_columns, wide_size=wide_size, category_columns=category_columns)
    positive(category_size=category_size, number_columns=number_columns, embed_dim=embed_dim, num_classes=num_classes)
    positive(**{f"widths[{i}]": n for i, n in enumerate(widths)})
    rate(drop_rate=drop_rate)
    if not widths:
        raise invalid("`widths` needs at least one layer", widths, "The paper's are (1024, 512, 256).")
    if wide_l2 < 0:
        raise invalid("`wide_l2` must not be negative", wide_l2)
    inputs = {
        "wide": keras.Input((wide_columns,), dtype="int32", name="wide"),
        "categories": keras.Input((category_columns,), dtype="int32", name="categories"),
        "numbers": keras.Input((number_columns,), name="numbers"),
    }
    # A linear model over one-hot vectors adds up the rows of its weights that the ids name.
    wide = layers.Embedding(
        wide_size,
        num_classes,
        embeddings_initializer="zeros",
        embeddings_regularizer=keras.regularizers.L2(wide_l2) if wide_l2 else None,
        dtype=full_precision(),
        name="wide_weights",
    )(inputs["wide"])  # (B, W, num_classes)
    wide = ops.sum(wide, axis=1)
    x = layers.Embedding(category_size, embed_dim, name="embedding")(inputs["categories"])  # (B, C, E)
    x = layers.Flatten(name="embedded")(x)
    x = layers.Concatenate(name="deep_input")([x, inputs["numbers"]])  # (B, C * E + N)
    for i, width in enumerate(widths, start=1):
        x = layers.Dense(width, use_bias=norm is None, name=f"deep{i}")(x)
        x = activated(norm_layer(x, norm, name=f"deep{i}_norm"), activation, name=f"deep{i}_{activation}")
        x = layers.Dropout(drop_rate, name=f"deep{i}_drop")(x)
    deep = logits_layer(num_classes, name="deep_logits")(x)
    logits = layers.Add(dtype=full_precision(), name="logits")([wide, deep])
    return keras.Model(inputs, logits, name="wide_deep")
