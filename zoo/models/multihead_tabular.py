"""Age, income group and gender of a person from the other columns of a table: one dense trunk, three heads.

Paper: Chollet, 2017, https://www.manning.com/books/deep-learning-with-python, section 7.1.3
Shapes: features (B, F), float32 -> age (B, 1), standardised; logits income (B, num_groups) and gender (B, 1)
Departures: the trunk is dense, as its input is a table's row (numbers standardised, categories one-hot) and not a
    post; the heads and their loss weights are the book's. Heads emit logits, ages are standardised.
"""

import keras
from keras import layers

from zoo.layers.attributes import HEADS, attribute_heads
from zoo.layers.ends import positive, rate
from zoo.layers.norms import activated, norm_layer
from zoo.registry import register

VARIANTS = {"multihead_tabular": {}}


@register("multihead_tabular", task="attribute_prediction", variants=VARIANTS, heads=HEADS)
def multihead_tabular(
    *,
    num_features: int = 100,
    widths: tuple = (128, 128),
    norm: str | None = None,
    activation: str = "relu",
    drop_rate: float = 0.2,
    num_groups: int = 2,
):
    """Builds the dense trunk with its three heads.

    Args:
        num_features: width of an encoded row, F.
        widths: units of each dense layer of the trunk.
        norm: after each dense layer, "batch", "layer" or None.
        activation: "relu", "gelu" or "silu".
        drop_rate: dropout after each dense layer.
        num_groups: income groups.

    Returns:
        `keras.Model`, features float32 (B, F) -> dict of "age" (B, 1), "income" (B, num_groups), "gender" (B, 1).

    Raises:
        InvalidArgument: a size is not positive, a rate is outside [0, 1), or a name is unknown.
    """
    positive(num_features=num_features, **{f"widths[{i}]": n for i, n in enumerate(widths)})
    rate(drop_rate=drop_rate)
    features = x = keras.Input((num_features,), name="features")
    for i, width in enumerate(widths, start=1):
        x = layers.Dense(width, use_bias=norm is None, name=f"dense{i}")(x)
        x = activated(norm_layer(x, norm, name=f"dense{i}_norm"), activation, name=f"dense{i}_{activation}")
        x = layers.Dropout(drop_rate, name=f"dense{i}_drop")(x)
    return keras.Model(features, attribute_heads(x, num_groups), name="multihead_tabular")
