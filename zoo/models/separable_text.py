"""Depthwise separable convolutions over word vectors: a text classifier with few weights.

Paper: Chollet, 2016, https://arxiv.org/abs/1610.02357, section 2 (the convolution)
Shapes: tokens (B, T), int32, 0 is padding at the end of the row -> logits (B, num_classes)
Departures: the network is the stack of SeparableConv1D layers of Chollet, 2017, section 7.3.2, over words instead of
    pixels. Padding takes no part: neither in a window nor in a maximum.
"""

import keras
from keras import layers, ops

from zoo.errors import invalid
from zoo.layers.ends import choice, logits_layer, positive, rate, token_input
from zoo.models.conv1d import LOWEST, convolved, pooled, where
from zoo.registry import register

VARIANTS = {"separable_text": {}}


@register("separable_text", task="text_classification", variants=VARIANTS)
def separable_text(
    *,
    vocab_size: int = 10000,
    sequence_length: int = 500,
    embed_dim: int = 64,
    filters: tuple = (64, 128),
    kernel_size: int = 3,
    pool_size: int = 3,
    norm: str | None = None,
    activation: str = "relu",
    separable: bool = True,
    drop_rate: float = 0.2,
    num_classes: int = 1,
):
    """Builds a depthwise separable 1D convnet for texts; 674,241 weights by default, 640,000 of them word vectors.

    Args:
        vocab_size: number of token ids, those of padding and of the unknown word included.
        sequence_length: tokens of a row, T.
        embed_dim: width of a token's vector.
        filters: of each pair of convolutions, with max pooling between two pairs.
        kernel_size: width of a convolution, in tokens.
        pool_size: positions that max pooling joins.
        norm: after each convolution "batch", "layer" or None.
        activation: "relu", "gelu" or "silu".
        separable: False makes the convolutions ordinary ones.
        drop_rate: dropout of the word vectors and of the pooled features.
        num_classes: outputs; 1 is a binary classifier.

    Returns:
        `keras.Model`, tokens int32 (B, T) -> logits (B, num_classes).

    Raises:
        InvalidArgument: a size is not positive, a rate is outside [0, 1), or a word is not one of those above.
    """
    if not filters:
        raise invalid("`filters` needs at least one number", filters, "Such as (64, 128).")
    positive(vocab_size=vocab_size, embed_dim=embed_dim, kernel_size=kernel_size, pool_size=pool_size)
    positive(**{f"filters[{i}]": n for i, n in enumerate(filters)})
    rate(drop_rate=drop_rate)
    choice(("batch", "layer", None), norm=norm)  # a group's statistics would count the padding
    tokens = token_input(sequence_length)
    words = ops.not_equal(tokens, 0)  # (B, T)
    x = layers.Embedding(vocab_size, embed_dim, name="embedding")(tokens)  # (B, T, E)
    x = layers.Dropout(drop_rate, name="embedding_drop")(x)
    for block, width in enumerate(filters, start=1):
        if block > 1:
            x, words = pooled(x, words, pool_size, name=f"block{block - 1}_pool")  # (B, T / pool_size, width)
        for i in (1, 2):
            x = convolved(x, words, width, kernel_size, norm, activation, separable, name=f"block{block}_{i}")
    x = layers.GlobalMaxPooling1D(name="pool")(where(words, x, LOWEST))
    x = layers.Dropout(drop_rate, name="drop")(x)
    return keras.Model(tokens, logits_layer(num_classes)(x), name="separable_text")
