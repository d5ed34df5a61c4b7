"""The output side that skip-gram and continuous bag of words share: one true word scored against sampled noise."""

import math

import keras
from keras import layers

from zoo.layers.ends import choice, full_precision, positive

LOSSES = ("negative_sampling", "nce")


def check_word2vec(vocab_size, embed_dim, window, negatives, loss):
    """Refuses arguments of a word2vec model that cannot work.

    Raises:
        InvalidArgument: a size is not a positive whole number, or `loss` is unknown.
    """
    positive(vocab_size=vocab_size, embed_dim=embed_dim, window=window, negatives=negatives)
    choice(LOSSES, loss=loss)


def word_embedding(vocab_size, embed_dim):
    """Returns the layer "words" of input vectors, uniform in +-1 / (2 embed_dim) at the start, as in word2vec."""
    start = keras.initializers.RandomUniform(-0.5 / embed_dim, 0.5 / embed_dim)
    return layers.Embedding(vocab_size, embed_dim, embeddings_initializer=start, name="words")


def candidate_logits(vector, *, vocab_size, embed_dim, negatives, loss):
    """Scores candidate words against a vector by their output vectors, which start at zero, as in word2vec.

    Args:
        vector: (B, 1, E).
        vocab_size: number of word ids, V.
        embed_dim: width of a vector, E.
        negatives: noise words beside the true one, K.
        loss: "negative_sampling" scores by the dot product u . v alone; "nce" by u . v + b - log(K q), with a bias b
            of the candidate, which starts at -log V (a model that is normalised at the start), and log(K q) from the
            input "offset".

    Returns:
        `(inputs, logits)`: the further inputs by name, "candidates" int32 (B, 1 + K) and for "nce" "offset" float32
        (B, 1 + K); and the logits (B, 1 + K), which are of full precision under mixed precision.
    """
    candidates = keras.Input((1 + negatives,), dtype="int32", name="candidates")
    contexts = layers.Embedding(vocab_size, embed_dim, embeddings_initializer="zeros", name="contexts")(candidates)
    scores = layers.Dot(axes=2, dtype=full_precision(), name="products")([vector, contexts])  # (B, 1, 1 + K)

    def row(name):  # (B, 1 + K)
        return layers.Reshape((1 + negatives,), dtype=full_precision(), name=name)

    if loss == "negative_sampling":
        return {"candidates": candidates}, row("logits")(scores)
    offset = keras.Input((1 + negatives,), dtype="float32", name="offset")
    start = keras.initializers.Constant(-math.log(vocab_size))
    biases = layers.Embedding(
        vocab_size, 1, embeddings_initializer=start, dtype=full_precision(), name="context_biases"
    )
    scores = [row("scores")(scores), row("biases")(biases(candidates))]
    scores = layers.Add(dtype=full_precision(), name="log_probabilities")(scores)
    logits = layers.Subtract(dtype=full_precision(), name="logits")([scores, offset])
    return {"candidates": candidates, "offset": offset}, logits
