"""IMDB as running text for language models: film reviews one after another.

Training and validation text are reviews of the official training part, test text those of its test part; of a review
that occurs several times one is kept, for testing where it is among the test reviews. Files as for
`zoo.data.sets.imdb`.
"""

from zoo.data.catalog import dataset
from zoo.data.sets.imdb import SOURCE, locate_reviews, read_reviews
from zoo.errors import DataError, invalid, worded

LEAST = 1000  # training tokens


@dataset("imdb_text", task="text_generation")
def imdb_text(*, tokens: int = 1_000_000, vocab_size: int = 10000, sequence_length: int = 35, like: dict | None = None):
    """Running text of film reviews, for language models.

    Args:
        tokens: words and marks of the training text; validation and test have a tenth of it each.
        vocab_size: ids in use: 1 is an unknown word, 2 the end of a review, the rest the most frequent training words.
        sequence_length: tokens of a window.
        like: `declared` and `assets` of a trained model, used instead of these two; see `zoo.data.load_like`.
    """
    from zoo.data import streams

    streams.check_stream_options(vocab_size, sequence_length)
    if tokens < LEAST:
        raise invalid(f"`tokens` must be at least {LEAST:,}", tokens)
    given = streams.of_language_model(like)
    declared = given.get("declared") or streams.stream_declaration(sequence_length, vocab_size, strip="<br />")
    reviews = read_reviews(locate_reviews())
    test = _shuffled(text for _, text in reviews["test"])
    rest = iter(_shuffled({text for _, text in reviews["train"]}.difference(test)))
    words = {  # whole reviews, except that each part ends in the middle of one
        "validation": _taken(rest, tokens // 10, declared),
        "train": _taken(rest, tokens, declared),
        "test": _taken(iter(test), tokens // 10, declared),
    }
    sizes = {"vocab_size": vocab_size, "sequence_length": sequence_length}
    return streams.stream_dataset("imdb_text", words, **sizes, source=SOURCE, strip="<br />", **given)


def _shuffled(texts):
    """Returns different texts in one fixed order that mixes the labels."""
    import numpy as np

    texts = sorted(set(texts))
    return [texts[i] for i in np.random.RandomState(0).permutation(len(texts))]


def _taken(texts, count, declared):
    """Returns the first `count` tokens of an iterator over texts, each text followed by its end."""
    from zoo.data.preprocessing import tokens
    from zoo.data.streams import END

    words = []
    for text in texts:
        words += [*tokens(text, declared), END]
        if len(words) >= count:
            return words[:count]
    wrong = f"IMDB has not that much text: {len(words):,} tokens are left for this part"
    raise DataError(worded(wrong, received=count, works="Ask for fewer `tokens`."))
