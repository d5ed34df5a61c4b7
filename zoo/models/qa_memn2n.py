"""End-to-end memory network: a question looks up a story's sentences several times before it is answered.

Paper: Sukhbaatar et al., 2015, https://arxiv.org/abs/1503.08895, sections 2 and 4.1
Shapes: story (B, N, W), N sentences of W words, and question (B, Q), int32, 0 is padding at the end of a sentence and
    of a story -> logits (B, num_classes)
Departures: sentences of padding get no attention. No random empty memories are added to the stories in training.
"""

import itertools

import keras
from keras import layers, ops

from zoo.errors import invalid
from zoo.layers.ends import choice, full_precision, positive, token_input
from zoo.registry import register

VARIANTS = {"qa_memn2n": {}}
TYINGS = ("adjacent", "layer_wise")
NOWHERE = -1e4  # what exp makes zero of, in 16 bits too


def word_weights(tokens, embed_dim, position_encoding):
    """Returns how much each word adds to its sentence, as two factors whose product and sum is the paper's l.

    The paper weighs unit k of d of word j of J by l_kj = (1 - j/J) - (k/d)(1 - 2j/J), counting from 1, where J is the
    number of words in the sentence. As it is linear in k, two numbers a word are enough: (1 - j/J) and (1 - 2j/J).

    Args:
        tokens: ids (..., W), 0 for padding, whose words weigh nothing.
        embed_dim: d.
        position_encoding: else every word weighs one, a bag of words.

    Returns:
        by_word (..., 2, W) and by_unit (2, d): l_kj = sum over r of by_word[r, j] * by_unit[r, k].
    """
    words = ops.cast(ops.not_equal(tokens, 0), "float32")  # (..., W)
    count = ops.maximum(ops.sum(words, axis=-1, keepdims=True), 1.0)  # J, (..., 1)
    place = ops.cumsum(ops.ones_like(words), axis=-1) / count  # j/J, (..., W)
    units = ops.arange(1, embed_dim + 1, dtype="float32") / embed_dim  # k/d
    first, second = (1 - place, 1 - 2 * place) if position_encoding else (ops.ones_like(place), ops.zeros_like(place))
    return ops.stack([first * words, second * words], axis=-2), ops.stack([ops.ones_like(units), -units])


def sentence_vectors(vectors, weights):
    """Returns the sum of weighted word vectors, (..., W, d) -> (..., d); `weights` as `word_weights` gives them."""
    by_word, by_unit = weights
    both = ops.matmul(ops.cast(by_word, vectors.dtype), vectors)  # (..., 2, d)
    return ops.sum(both * ops.cast(by_unit, vectors.dtype), axis=-2)


def table(size, embed_dim, *, name):
    """Returns a table of vectors, drawn as in section 4.2 of the paper."""
    initializer = keras.initializers.RandomNormal(stddev=0.1)
    return layers.Embedding(size, embed_dim, embeddings_initializer=initializer, name=name)


def tables(sizes, hops, tying, *, name):
    """Returns a list of (input, output) tables, one pair a hop: A and C of the paper, as `tying` shares them."""
    if tying == "layer_wise":
        return [(table(*sizes, name=f"{name}_in"), table(*sizes, name=f"{name}_out"))] * hops
    chain = [table(*sizes, name=f"{name}{i}") for i in range(1, hops + 2)]
    return list(itertools.pairwise(chain))


def attention(state, memory, present, linear):
    """Returns how much a question attends to each sentence, (B, N), from (B, d), (B, N, d) and bool (B, N)."""
    match = ops.squeeze(ops.matmul(memory, ops.expand_dims(state, -1)), axis=-1)
    if linear:
        return ops.where(present, match, ops.zeros_like(match))
    return ops.softmax(ops.where(present, match, ops.cast(NOWHERE, match.dtype)), axis=-1)


@register("qa_memn2n", task="question_answering", variants=VARIANTS)
def qa_memn2n(
    *,
    vocab_size: int = 200,
    story_length: int = 50,
    sentence_length: int = 12,
    question_length: int = 12,
    embed_dim: int = 20,
    hops: int = 3,
    tying: str = "adjacent",
    position_encoding: bool = True,
    temporal_encoding: bool = True,
    linear: bool = False,
    num_classes: int = 20,
):
    """Builds an end-to-end memory network.

    Args:
        vocab_size: number of word ids, the same for stories and questions.
        story_length: sentences of a story, N.
        sentence_length, question_length: words of a row, W and Q.
        embed_dim: width of a memory.
        hops: times that the story is looked up.
        tying: which tables the hops share. "adjacent": what a hop reads out, the next one matches against; the first
            also reads the question, the last also names the answers. "layer_wise": all hops share one pair, and a
            matrix maps the question's state from hop to hop.
        position_encoding: whether a word's weight depends on its place in the sentence.
        temporal_encoding: whether a memory tells how many sentences were told after it.
        linear: whether attention leaves the softmax out. The paper's "linear start" trains so first, then goes on from
            those weights with `linear=False`.
        num_classes: answers to choose from. With adjacent tying they are words: ids 2 to num_classes + 1, in order.

    Returns:
        `keras.Model`, {"story": (B, N, W), "question": (B, Q)} -> logits (B, num_classes).

    Raises:
        InvalidArgument: a size is not positive, the answers do not fit into the vocabulary, or `tying` is unknown.
    """
    positive(vocab_size=vocab_size, story_length=story_length, sentence_length=sentence_length)
    positive(question_length=question_length, embed_dim=embed_dim, hops=hops, num_classes=num_classes)
    choice(TYINGS, tying=tying)
    if tying == "adjacent" and vocab_size < num_classes + 2:
        works = f"Ids 2 to {num_classes + 1} are the answers: at least {num_classes + 2}, or tying='layer_wise'."
        raise invalid("`vocab_size` leaves no room for the answers", vocab_size, works)
    story = keras.Input((story_length, sentence_length), dtype="int32", name="story")
    question = token_input(question_length, name="question")
    present = ops.any(ops.not_equal(story, 0), axis=-1)  # (B, N)
    told = ops.sum(ops.cast(present, "int32"), axis=-1, keepdims=True)  # (B, 1)
    age = ops.maximum(told - 1 - ops.arange(story_length), 0)  # (B, N), 0 for the sentence told last

    words = tables((vocab_size, embed_dim), hops, tying, name="words")
    times = tables((story_length, embed_dim), hops, tying, name="times") if temporal_encoding else [None] * hops
    in_story = word_weights(story, embed_dim, position_encoding)
    in_question = word_weights(question, embed_dim, position_encoding)

    memories = {}  # by their tables: with adjacent tying what one hop reads out is what the next matches against

    def remembered(word_table, time_table):
        """The story as memories, (B, N, d)."""
        if word_table not in memories:
            vectors = sentence_vectors(word_table(story), in_story)
            memories[word_table] = vectors + time_table(age) if time_table else vectors
        return memories[word_table]

    asked = words[0][0] if tying == "adjacent" else table(vocab_size, embed_dim, name="words_question")
    u = sentence_vectors(asked(question), in_question)  # (B, d)
    onward = layers.Dense(embed_dim, use_bias=False, name="onward") if tying == "layer_wise" else None
    for (word_in, word_out), time in zip(words, times, strict=True):
        time_in, time_out = time or (None, None)
        weights = attention(u, remembered(word_in, time_in), present, linear)
        found = ops.squeeze(ops.matmul(ops.expand_dims(weights, 1), remembered(word_out, time_out)), axis=1)
        u = (onward(u) if onward else u) + found  # (B, d)

    if tying == "adjacent":
        answers = ops.zeros_like(question[:, :1]) + ops.arange(2, num_classes + 2, dtype="int32")  # (B, num_classes)
        logits = layers.Dot(axes=(2, 1), dtype=full_precision(), name="logits")([words[-1][1](answers), u])
    else:
        logits = layers.Dense(num_classes, use_bias=False, dtype=full_precision(), name="logits")(u)
    return keras.Model({"story": story, "question": question}, logits, name="qa_memn2n")
