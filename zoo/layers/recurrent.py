"""The text classifier that recurrent families share: embedding, recurrent layers, pooling, logits."""

import keras
from keras import layers, ops

from zoo.layers.ends import choice, counted, logits_layer, positive, rate, token_input


def both_ways(recurrent, units, sequences, x, mask, *, name):
    """One layer that reads forwards and one that reads backwards, joined: (B, T, 2U) for `sequences`, else (B, 2U).

    `keras.layers.Bidirectional` would do the same, but gives its weights other paths when it is loaded from a file.
    """
    forwards = recurrent(units, return_sequences=sequences, name=f"{name}_forwards")(x, mask=mask)
    backwards = recurrent(units, return_sequences=sequences, go_backwards=True, name=f"{name}_backwards")(x, mask=mask)
    if sequences:
        backwards = ops.flip(backwards, axis=1)
    return layers.Concatenate(name=name)([forwards, backwards])


def recurrent_classifier(
    recurrent,
    *,
    name,
    vocab_size,
    sequence_length,
    embed_dim,
    units,
    num_layers,
    bidirectional,
    pool,
    drop_rate,
    num_classes,
):
    """Builds a text classifier around one kind of recurrent layer.

    Padding (id 0, at the end of a row) is masked: it changes neither the state nor the average over time.

    Args:
        recurrent: layer class, such as `keras.layers.LSTM`.
        name: of the model; also the prefix of the recurrent layers' names.
        vocab_size: number of token ids, those of padding and of the unknown word included.
        sequence_length: tokens of a row, T.
        embed_dim: width of a token's vector.
        units: width of the recurrent state, in each direction.
        num_layers: recurrent layers, one on top of another.
        bidirectional: whether each layer also reads the row backwards.
        pool: "mean" averages the top layer's outputs over the words, "last" takes its final state.
        drop_rate: dropout of the embedded words and of the pooled features.
        num_classes: outputs; 1 is a binary classifier.

    Returns:
        `keras.Model`, tokens int32 (B, T) -> logits (B, num_classes).

    Raises:
        InvalidArgument: a size is not positive, a rate is outside [0, 1), or `pool` is unknown.
    """
    positive(vocab_size=vocab_size, embed_dim=embed_dim, units=units, num_layers=num_layers)
    rate(drop_rate=drop_rate)
    choice(("mean", "last"), pool=pool)
    tokens = token_input(sequence_length)
    words = ops.not_equal(tokens, 0)  # (B, T), handed on by name, as a flip in time would lose it
    x = layers.Embedding(vocab_size, embed_dim, mask_zero=True, name="embedding")(tokens)  # (B, T, E)
    x = layers.Dropout(drop_rate, name="embedding_drop")(x)
    for i in range(1, num_layers + 1):
        sequences = pool == "mean" or i < num_layers  # (B, T, U), or the final state (B, U)
        if bidirectional:
            x = both_ways(recurrent, units, sequences, x, words, name=f"{name}{i}")
        else:
            x = recurrent(units, return_sequences=sequences, name=f"{name}{i}")(x, mask=words)
    if pool == "mean":
        x = layers.GlobalAveragePooling1D(name="pool")(x, mask=counted(words))
    x = layers.Dropout(drop_rate, name="drop")(x)
    return keras.Model(tokens, logits_layer(num_classes)(x), name=name)
