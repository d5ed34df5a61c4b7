"""Skip-gram word vectors: a word predicts each of its neighbours.

Paper: Mikolov et al., 2013, https://arxiv.org/abs/1310.4546, sections 2 and 2.2
Shapes: word (B, 1), int32; candidates (B, 1 + K), int32, a true neighbour, then K noise words; with loss="nce" also
    offset (B, 1 + K), float32, log(K q) of each candidate under the noise q -> logits (B, 1 + K)
Departures: with negative sampling a noise word is never the true word (`zoo.data.word_pairs` draws again), where
    word2vec leaves such a draw out. With loss="nce" (Gutmann and Hyvarinen, 2010, in the form of Mnih and Teh, 2012)
    each output word has a bias, and every context's normaliser is fixed at 1.
"""

import keras

from zoo.layers.candidates import candidate_logits, check_word2vec, word_embedding
from zoo.registry import register

VARIANTS = {"skipgram": {}}


@register("skipgram", task="word_embedding", variants=VARIANTS, heads={"logits": {"kind": "candidates"}})
def skipgram(
    *,
    vocab_size: int = 20000,
    embed_dim: int = 100,
    window: int = 5,
    negatives: int = 5,
    loss: str = "negative_sampling",
):
    """Builds a skip-gram model.

    Args:
        vocab_size: number of word ids, that of padding included.
        embed_dim: width of a word's vector, E.
        window: farthest neighbour, in words; it shapes the data, not the model, and is kept as a record.
        negatives: noise words of each pair, K.
        loss: "negative_sampling" or "nce"; both are trained by telling the first candidate from the others.

    Returns:
        `keras.Model` whose layers "words" and "contexts" hold the input and output vectors (vocab_size, E).

    Raises:
        InvalidArgument: a size is not positive or `loss` is unknown.
    """
    check_word2vec(vocab_size, embed_dim, window, negatives, loss)
    word = keras.Input((1,), dtype="int32", name="word")
    vector = word_embedding(vocab_size, embed_dim)(word)  # (B, 1, E)
    inputs, logits = candidate_logits(
        vector,
        vocab_size=vocab_size,
        embed_dim=embed_dim,
        negatives=negatives,
        loss=loss,
    )
    return keras.Model({"word": word, **inputs}, logits, name="skipgram")
