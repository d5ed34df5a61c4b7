"""The word language model that recurrent families share: embedding, recurrent layers, a softmax over words."""

import keras
from keras import layers

from zoo.errors import invalid
from zoo.layers.ends import full_precision, positive, rate, token_input


def language_model(
    recurrent,
    *,
    name,
    vocab_size,
    sequence_length,
    embed_dim,
    units,
    num_layers,
    drop_rate,
    initial_range,
    tie_weights,
    batch_size,
):
    """Builds a model that gives, at each word of a running text, the logits of the next word.

    With a `batch_size` the recurrent layers are stateful: row b of a batch goes on where row b of the batch before
    ended, so that the state reaches over the whole text while gradients stop at the start of a batch (truncated
    back-propagation through time). `zoo.recurrent_state.reset_states` makes it forget. Without, each row starts at
    zero. The state is no weight: both have the same weights, under the same paths.

    Args:
        recurrent: layer class, such as `keras.layers.LSTM`.
        name: of the model; also the prefix of the recurrent layers' names.
        vocab_size: number of token ids, V.
        sequence_length: tokens of a row, T: how far gradients reach back.
        embed_dim: width of a token's vector.
        units: width of the recurrent state.
        num_layers: recurrent layers, one on top of another.
        drop_rate: dropout of what enters the recurrent layers and the softmax; what they hand on in time is whole.
        initial_range: every weight and bias starts uniformly distributed within plus and minus this.
        tie_weights: whether the softmax uses the embedding's matrix (Press and Wolf, 2017), without a bias.
        batch_size: rows of every batch, or None for any number.

    Returns:
        `keras.Model`, tokens int32 (B, T) -> logits (B, T, V), float32 also under mixed precision.

    Raises:
        InvalidArgument: a size is not positive, a rate is outside [0, 1), or tied weights differ in width.
    """
    positive(vocab_size=vocab_size, embed_dim=embed_dim, units=units, num_layers=num_layers)
    rate(drop_rate=drop_rate)
    if not initial_range > 0:
        raise invalid("`initial_range` must be positive", initial_range, "Zaremba et al. use 0.04 to 0.1.")
    if tie_weights and embed_dim != units:
        works = f"Build it with embed_dim={units}, or without tie_weights."
        raise invalid("tied weights need `embed_dim` and `units` of the same size", (embed_dim, units), works)

    def uniform():
        return keras.initializers.RandomUniform(-initial_range, initial_range)

    options = {"unit_forget_bias": False} if recurrent is layers.LSTM else {}  # it would overrule the initialiser
    if batch_size is not None and keras.backend.backend() == "torch":
        options["use_cudnn"] = False  # the fused kernel keeps the state for its gradient, and Keras overwrites it
    tokens = token_input(sequence_length, batch_size=batch_size)
    if tie_weights:
        embedding = layers.ReversibleEmbedding(
            vocab_size, embed_dim, embeddings_initializer=uniform(), reverse_dtype=full_precision(), name="embedding"
        )
    else:
        embedding = layers.Embedding(vocab_size, embed_dim, embeddings_initializer=uniform(), name="embedding")
    x = layers.Dropout(drop_rate, name="embedding_drop")(embedding(tokens))  # (B, T, E)
    for i in range(1, num_layers + 1):
        x = recurrent(
            units,
            return_sequences=True,
            stateful=batch_size is not None,
            kernel_initializer=uniform(),
            recurrent_initializer=uniform(),
            bias_initializer=uniform(),
            name=f"{name}{i}",
            **options,
        )(x)
        x = layers.Dropout(drop_rate, name=f"{name}{i}_drop")(x)  # (B, T, U), drawn anew at each word
    if tie_weights:
        logits = embedding(x, reverse=True)
        logits = layers.Activation("linear", dtype=full_precision(), name="logits")(logits)
    else:
        head = layers.Dense(
            vocab_size, kernel_initializer=uniform(), bias_initializer=uniform(), dtype=full_precision(), name="logits"
        )
        logits = head(x)
    return keras.Model(tokens, logits, name=name)
