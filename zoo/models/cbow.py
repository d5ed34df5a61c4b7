"""Continuous bag of words: the mean of a word's neighbours predicts the word.

Paper: Mikolov et al., 2013, https://arxiv.org/abs/1301.3781, section 3.1
Shapes: context (B, 2 * window), int32, 0 where there is no neighbour; candidates (B, 1 + K), int32, the true word,
    then K noise words; with loss="nce" also offset (B, 1 + K), float32, log(K q) of each candidate under the noise q
    -> logits (B, 1 + K)
Departures: trained with negative sampling (https://arxiv.org/abs/1310.4546, section 2.2) or noise-contrastive
    estimation instead of a hierarchical softmax. The gradient of the mean is exact; the original program leaves out
    the division by the number of neighbours.
"""

import keras
from keras import layers, ops

from zoo.layers.candidates import candidate_logits, check_word2vec, word_embedding
from zoo.registry import register

VARIANTS = {"cbow": {}}


@register("cbow", task="word_embedding", variants=VARIANTS, heads={"logits": {"kind": "candidates"}})
def cbow(
    *,
    vocab_size: int = 20000,
    embed_dim: int = 100,
    window: int = 5,
    negatives: int = 5,
    loss: str = "negative_sampling",
):
    """Builds a continuous bag of words; `zoo.models.skipgram.skipgram` describes the arguments.

    Here `window` decides the width of the input "context". A row without any neighbour has the mean zero.

    Returns:
        `keras.Model` whose layers "words" and "contexts" hold the input and output vectors (vocab_size, embed_dim).

    Raises:
        InvalidArgument: a size is not positive or `loss` is unknown.
    """
    check_word2vec(vocab_size, embed_dim, window, negatives, loss)
    context = keras.Input((2 * window,), dtype="int32", name="context")
    vectors = word_embedding(vocab_size, embed_dim)(context)  # (B, 2 * window, E)
    there = ops.expand_dims(ops.cast(ops.not_equal(context, 0), vectors.dtype), -1)  # (B, 2 * window, 1)
    count = ops.maximum(ops.sum(there, axis=1, keepdims=True), 1)
    mean = layers.Identity(name="mean")(ops.sum(vectors * there, axis=1, keepdims=True) / count)  # (B, 1, E)
    inputs, logits = candidate_logits(
        mean,
        vocab_size=vocab_size,
        embed_dim=embed_dim,
        negatives=negatives,
        loss=loss,
    )
    return keras.Model({"context": context, **inputs}, logits, name="cbow")
