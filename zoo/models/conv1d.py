"""Convolutional text classifier: 1D convolutions over word vectors, then each filter's largest response.

Paper: Kim, 2014, https://arxiv.org/abs/1408.5882, section 2
Shapes: tokens (B, T), int32, 0 is padding at the end of the row -> logits (B, num_classes)
Departures: `conv1d` is the stack of Chollet, 2017, section 6.4.2: two convolutions of width 7, max pooling between
    them. `conv1d_kim` is the paper's, widths 3, 4 and 5 side by side, its word vectors learnt from scratch and no
    limit on the norm of the weights. In both, padding takes no part: neither in a window nor in a maximum.
"""

import keras
from keras import layers, ops

from zoo.errors import invalid
from zoo.layers.ends import choice, logits_layer, positive, rate, token_input
from zoo.layers.norms import activated, norm_layer
from zoo.registry import register

VARIANTS = {
    "conv1d": {},
    "conv1d_kim": {"embed_dim": 300, "filters": 100, "kernel_sizes": (3, 4, 5), "stacked": False, "drop_rate": 0.5},
}
LOWEST = -6e4  # loses every maximum and is finite in 16 bits too


def where(words, x, otherwise):
    """Returns `x` (B, T, C) at the words and a number at the padding; `words` is bool (B, T)."""
    return ops.where(ops.expand_dims(words, -1), x, ops.cast(otherwise, x.dtype))


def convolved(x, words, filters, kernel_size, norm, activation, separable, *, name):
    """Convolution, normalisation and activation, (B, T, C) -> (B, T, filters); 0 stands beyond both ends of a text."""
    convolution = layers.SeparableConv1D if separable else layers.Conv1D
    x = convolution(filters, kernel_size, padding="same", use_bias=norm is None, name=name)(where(words, x, 0))
    if norm == "batch":  # statistics of the words alone
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x, mask=words)
    else:
        x = norm_layer(x, norm, name=f"{name}_norm")
    return activated(x, activation, name=f"{name}_{activation}")


def pooled(x, words, pool_size, *, name):
    """Maxima of `pool_size` positions each, counted from the first: (B, T, C) -> (B, ceil(T / pool_size), C).

    Keras's "same" pooling would centre its windows, which then depended on how much padding a row has.
    """
    short = -x.shape[1] % pool_size
    x, words = ops.pad(x, ((0, 0), (0, short), (0, 0))), ops.pad(words, ((0, 0), (0, short)))
    x = layers.MaxPooling1D(pool_size, name=name)(where(words, x, LOWEST))
    return x, ops.any(ops.reshape(words, (-1, words.shape[1] // pool_size, pool_size)), axis=2)


@register("conv1d", task="text_classification", variants=VARIANTS)
def conv1d(
    *,
    vocab_size: int = 10000,
    sequence_length: int = 500,
    embed_dim: int = 128,
    filters: int = 32,
    kernel_sizes: tuple = (7, 7),
    stacked: bool = True,
    pool_size: int = 5,
    norm: str | None = None,
    activation: str = "relu",
    separable: bool = False,
    drop_rate: float = 0.0,
    num_classes: int = 1,
):
    """Builds a 1D convolutional text classifier.

    Args:
        vocab_size: number of token ids, those of padding and of the unknown word included.
        sequence_length: tokens of a row, T.
        embed_dim: width of a token's vector.
        filters: of each convolution.
        kernel_sizes: widths of the convolutions, in tokens.
        stacked: whether each convolution reads the one before, or all of them the words.
        pool_size: positions that max pooling joins between two stacked convolutions.
        norm: after each convolution, "batch", "layer" or None.
        activation: "relu", "gelu" or "silu".
        separable: whether convolutions are depthwise separable.
        drop_rate: dropout of the pooled features.
        num_classes: outputs; 1 is a binary classifier.

    Returns:
        `keras.Model`, tokens int32 (B, T) -> logits (B, num_classes).

    Raises:
        InvalidArgument: a size is not positive, a rate is outside [0, 1), or a word is not one of those above.
    """
    positive(vocab_size=vocab_size, embed_dim=embed_dim, filters=filters, pool_size=pool_size)
    rate(drop_rate=drop_rate)
    choice(("batch", "layer", None), norm=norm)  # a group's statistics would count the padding
    if not kernel_sizes:
        raise invalid("`kernel_sizes` needs at least one width", kernel_sizes, "Such as (3, 4, 5).")
    for i, kernel_size in enumerate(kernel_sizes):
        positive(**{f"kernel_sizes[{i}]": kernel_size})
    tokens = token_input(sequence_length)
    words = ops.not_equal(tokens, 0)  # (B, T)
    x = layers.Embedding(vocab_size, embed_dim, name="embedding")(tokens)  # (B, T, E)
    found = []
    for i, kernel_size in enumerate(kernel_sizes, start=1):
        if stacked and i > 1:
            x, words = pooled(x, words, pool_size, name=f"pool{i - 1}")
        y = convolved(x, words, filters, kernel_size, norm, activation, separable, name=f"conv{i}")
        x = y if stacked else x
        found.append(y)
    found = found[-1:] if stacked else found
    x = [layers.GlobalMaxPooling1D(name=f"max{i}")(where(words, y, LOWEST)) for i, y in enumerate(found, start=1)]
    x = layers.Concatenate(name="pool")(x) if len(x) > 1 else x[0]  # (B, filters of every width)
    x = layers.Dropout(drop_rate, name="drop")(x)
    return keras.Model(tokens, logits_layer(num_classes)(x), name="conv1d")
