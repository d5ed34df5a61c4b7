"""Question answering with two inputs: one LSTM reads the text, one the question, and their states choose the answer.

Paper: Chollet, 2017, https://www.manning.com/books/deep-learning-with-python, section 7.1.2
Shapes: story (B, S) and question (B, Q), int32, 0 is padding at the end of a row -> logits (B, num_classes)
Departures: padding is masked, which the book leaves out, and the softmax over the answers is left to the loss.
"""

import keras
from keras import layers

from zoo.layers.ends import logits_layer, positive, rate, token_input
from zoo.registry import register

VARIANTS = {"qa": {}}


def encoded(sequence_length, vocab_size, embed_dim, units, drop_rate, *, name):
    """Returns an input of token ids (B, T) and its LSTM's state after the last word, (B, units)."""
    tokens = token_input(sequence_length, name=name)
    x = layers.Embedding(vocab_size, embed_dim, mask_zero=True, name=f"{name}_embedding")(tokens)  # (B, T, E)
    x = layers.Dropout(drop_rate, name=f"{name}_drop")(x)
    return tokens, layers.LSTM(units, name=f"{name}_lstm")(x)


@register("qa", task="question_answering", variants=VARIANTS)
def qa(
    *,
    vocab_size: int = 10000,
    question_vocab_size: int | None = None,
    story_length: int = 128,
    question_length: int = 16,
    story_embed_dim: int = 64,
    story_units: int = 32,
    question_embed_dim: int = 32,
    question_units: int = 16,
    hidden_units: int | None = None,
    drop_rate: float = 0.0,
    num_classes: int = 500,
):
    """Builds the two-input question answering model of the book.

    Args:
        vocab_size: number of token ids of the story, those of padding and of the unknown word included.
        question_vocab_size: the same of the question, which has an embedding of its own; `vocab_size` by default.
        story_length, question_length: tokens of a row, S and Q.
        story_embed_dim, story_units: widths of the story's word vectors and of its LSTM.
        question_embed_dim, question_units: the same of the question.
        hidden_units: width of a ReLU layer before the answers. The book has none: its answers are a sum of what the
            story and what the question speak for, so that neither can ask anything of the other.
        drop_rate: dropout of the word vectors.
        num_classes: answers to choose from.

    Returns:
        `keras.Model`, {"story": (B, S), "question": (B, Q)} -> logits (B, num_classes).

    Raises:
        InvalidArgument: a size is not positive, or a rate is outside [0, 1).
    """
    question_vocab_size = vocab_size if question_vocab_size is None else question_vocab_size
    positive(vocab_size=vocab_size, question_vocab_size=question_vocab_size)
    positive(story_length=story_length, question_length=question_length)
    positive(story_embed_dim=story_embed_dim, story_units=story_units)
    positive(question_embed_dim=question_embed_dim, question_units=question_units)
    rate(drop_rate=drop_rate)
    story, told = encoded(story_length, vocab_size, story_embed_dim, story_units, drop_rate, name="story")
    question, asked = encoded(
        question_length, question_vocab_size, question_embed_dim, question_units, drop_rate, name="question"
    )
    x = layers.Concatenate(name="told_and_asked")([told, asked])  # (B, story_units + question_units)
    if hidden_units is not None:
        positive(hidden_units=hidden_units)
        x = layers.Dense(hidden_units, "relu", name="hidden")(x)
    return keras.Model({"story": story, "question": question}, logits_layer(num_classes)(x), name="qa")
