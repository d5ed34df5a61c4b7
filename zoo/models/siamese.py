"""Siamese LSTM: one encoder reads both sentences, and what compares them cannot tell which came first.

Paper: Mueller and Thyagarajan, 2016, https://doi.org/10.1609/aaai.v30i1.10350, section "The Model"
Shapes: first (B, T) and second (B, T), int32, 0 is padding at the end of a row -> logits (B, num_classes)
Departures: the default compares by |a - b| and a * b (Tai et al., 2015, section 4.2), which can weigh each unit;
    `similarity="manhattan"` takes the logarithm of the paper's exp(-||a - b||_1), -||a - b||_1, as the one feature of
    the logit, which learns its slope and offset.
"""

import keras
from keras import layers, ops

from zoo.layers.ends import choice, counted, logits_layer, positive, rate, token_input
from zoo.registry import register

VARIANTS = {"siamese": {}}


def in_order(first, second):
    """Returns two rows of ids (B, T), the lexicographically smaller one of each pair first.

    What follows is symmetric anyway, but only in exact arithmetic: a compiler may round the two branches differently.
    """
    sign = ops.sign(first - second)
    differs = ops.absolute(sign)
    is_first_difference = ops.cast(ops.equal(ops.cumsum(differs, axis=1), 1), sign.dtype) * differs
    swap = ops.greater(ops.sum(sign * is_first_difference, axis=1, keepdims=True), 0)  # (B, 1)
    return ops.where(swap, second, first), ops.where(swap, first, second)


@register("siamese", task="text_pair_classification", variants=VARIANTS)
def siamese(
    *,
    vocab_size: int = 20000,
    sequence_length: int = 64,
    embed_dim: int = 64,
    units: int = 64,
    pool: str = "last",
    similarity: str = "features",
    drop_rate: float = 0.2,
    num_classes: int = 1,
):
    """Builds a classifier of pairs of sentences, symmetric by construction: f(a, b) equals f(b, a), bit for bit.

    Args:
        vocab_size: number of token ids, those of padding and of the unknown word included.
        sequence_length: tokens of a row, T.
        embed_dim: width of a token's vector.
        units: width of the LSTM, and so of a sentence's vector.
        pool: "last" takes the LSTM's final state as the sentence's vector, "mean" averages its outputs.
        similarity: "features" hands |a - b| and a * b to the head, "manhattan" the one number -||a - b||_1.
        drop_rate: dropout of the embedded words and of the features.
        num_classes: outputs; 1 says yes or no.

    Returns:
        `keras.Model`, {"first": (B, T), "second": (B, T)} -> logits (B, num_classes).

    Raises:
        InvalidArgument: a size is not positive, a rate is outside [0, 1), or a word is not one of those above.
    """
    positive(vocab_size=vocab_size, embed_dim=embed_dim, units=units)
    rate(drop_rate=drop_rate)
    choice(("last", "mean"), pool=pool)
    choice(("features", "manhattan"), similarity=similarity)
    embedding = layers.Embedding(vocab_size, embed_dim, mask_zero=True, name="embedding")
    drop = layers.Dropout(drop_rate, name="embedding_drop")
    lstm = layers.LSTM(units, return_sequences=pool == "mean", name="lstm")
    average = layers.GlobalAveragePooling1D(name="pool") if pool == "mean" else None

    def encode(tokens):
        """The shared encoder, (B, T) -> (B, U)."""
        words = ops.not_equal(tokens, 0)  # (B, T)
        x = lstm(drop(embedding(tokens)), mask=words)
        return average(x, mask=counted(words)) if average else x

    first = token_input(sequence_length, name="first")
    second = token_input(sequence_length, name="second")
    a, b = map(encode, in_order(first, second))
    apart = ops.absolute(a - b)  # (B, U)
    if similarity == "manhattan":
        x = -ops.sum(apart, axis=-1, keepdims=True)  # (B, 1), 0 for equal vectors
        head = logits_layer(num_classes, kernel_initializer="ones")  # whose sign a bad draw would get wrong
    else:
        x = layers.Concatenate(name="compared")([apart, a * b])  # (B, 2U)
        x = layers.Dropout(drop_rate, name="drop")(x)
        head = logits_layer(num_classes)
    return keras.Model({"first": first, "second": second}, head(x), name="siamese")
