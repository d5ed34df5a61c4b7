"""Age, income group and gender of an author from what they wrote: one 1D convnet, three heads.

Paper: Chollet, 2017, https://www.manning.com/books/deep-learning-with-python, section 7.1.3
Shapes: tokens (B, T), int32, 0 is padding at the end of the row -> age (B, 1), standardised; logits income
    (B, num_groups) and gender (B, 1)
Departures: heads emit logits. Ages are standardised by the data set, where the book leaves them in years. The book's
    posts are of any length; here they are cut and padded to T tokens, and padding takes part as a word of its own.
"""

import keras
from keras import layers

from zoo.errors import invalid
from zoo.layers.attributes import HEADS, attribute_heads
from zoo.layers.ends import positive, rate, token_input
from zoo.layers.norms import activated, norm_layer
from zoo.registry import register

VARIANTS = {"multihead": {}}


def shortest(filters, kernel_size, pool_size):
    """Returns the fewest tokens that leave one position after the last convolution."""
    length = 1
    for i, block in enumerate(reversed(filters)):
        length = length * (pool_size if i else 1) + len(block) * (kernel_size - 1)
    return length


@register("multihead", task="attribute_prediction", variants=VARIANTS, heads=HEADS)
def multihead(
    *,
    vocab_size: int = 50000,
    sequence_length: int = 500,
    embed_dim: int = 256,
    filters: tuple = ((128,), (256, 256), (256, 256)),
    kernel_size: int = 5,
    pool_size: int = 5,
    units: int = 128,
    norm: str | None = None,
    activation: str = "relu",
    drop_rate: float = 0.0,
    num_groups: int = 10,
):
    """Builds the text trunk with its three heads; the defaults are the book's.

    Args:
        vocab_size: number of token ids, those of padding and of the unknown word included.
        sequence_length: tokens of a row, T.
        embed_dim: width of a token's vector.
        filters: of the convolutions of each block; max pooling stands between blocks.
        kernel_size: width of a convolution, in tokens; it sees no further than the row ("valid").
        pool_size: positions that max pooling joins.
        units: of the dense layer under the heads.
        norm: after each convolution, "batch", "group", "layer" or None.
        activation: "relu", "gelu" or "silu".
        drop_rate: dropout of the features under the heads.
        num_groups: income groups.

    Returns:
        `keras.Model`, tokens int32 (B, T) -> dict of "age" (B, 1), "income" (B, num_groups), "gender" (B, 1).

    Raises:
        InvalidArgument: a size is not positive, a rate is outside [0, 1), a name is unknown, or the rows are too
            short for the convolutions.
    """
    positive(vocab_size=vocab_size, embed_dim=embed_dim, kernel_size=kernel_size, pool_size=pool_size, units=units)
    rate(drop_rate=drop_rate)
    if not filters or not all(isinstance(block, tuple) and block for block in filters):
        works = "Such as ((128,), (256, 256))."
        raise invalid("`filters` must list the filters of each block's convolutions", filters, works)
    positive(**{f"filters[{i}][{j}]": n for i, block in enumerate(filters) for j, n in enumerate(block)})
    tokens = token_input(sequence_length)
    if sequence_length < (least := shortest(filters, kernel_size, pool_size)):
        works = f"These blocks need at least {least} tokens, or fewer blocks, or a smaller kernel or pool."
        raise invalid("`sequence_length` is too short for the convolutions", sequence_length, works)
    x = layers.Embedding(vocab_size, embed_dim, name="embedding")(tokens)  # (B, T, E)
    for i, block in enumerate(filters, start=1):
        for j, count in enumerate(block, start=1):
            name = f"block{i}_conv{j}"
            x = layers.Conv1D(count, kernel_size, use_bias=norm is None, name=name)(x)  # (B, T - kernel_size + 1, C)
            x = activated(norm_layer(x, norm, name=f"{name}_norm"), activation, name=f"{name}_{activation}")
        if i < len(filters):
            x = layers.MaxPooling1D(pool_size, name=f"block{i}_pool")(x)  # (B, T / pool_size, C)
    x = layers.GlobalMaxPooling1D(name="pool")(x)
    x = activated(layers.Dense(units, name="features")(x), activation, name=f"features_{activation}")
    x = layers.Dropout(drop_rate, name="drop")(x)
    return keras.Model(tokens, attribute_heads(x, num_groups), name="multihead")
