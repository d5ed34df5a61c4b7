"""The text classifier that recurrent families share: embedding, recurrent layers, pooling, logits."""

import keras
from keras import layers

from zoo.layers.ends import choice, logits_layer, positive, rate, token_input


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
    x = layers.Embedding(vocab_size, embed_dim, mask_zero=True, name="embedding")(tokens)  # (B, T, E)
    x = layers.Dropout(drop_rate, name="embedding_drop")(x)
    for i in range(1, num_layers + 1):
        sequences = pool == "mean" or i < num_layers
        layer = recurrent(units, return_sequences=sequences, name=f"{name}{i}")
        if bidirectional:
            layer = layers.Bidirectional(layer, name=f"bidirectional{i}")
        x = layer(x)  # (B, T, U), the last one (B, U) when its final state is wanted; twice U in two directions
    if pool == "mean":
        x = layers.GlobalAveragePooling1D(name="pool")(x)
    x = layers.Dropout(drop_rate, name="drop")(x)
    return keras.Model(tokens, logits_layer(num_classes)(x), name=name)
