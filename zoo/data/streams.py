"""Running text for language models: one long stream of token ids, read as windows that go on from batch to batch.

The preprocessing of such text is a text declaration (see `zoo.data.preprocessing`) with one more entry, "end": the
vocabulary's word that stands after each text. No text can contain it, as it is no token of its pattern.
"""

import numpy as np

from zoo.data import base, preprocessing
from zoo.data.files import check_text_options
from zoo.errors import DataError, invalid, worded

END = "[END]"


def layout(stream, length, batch_size=1):
    """Cuts a stream into windows, so that row b of batch k + 1 goes on where row b of batch k ends.

    The stream is divided into `batch_size` parts of the same number of whole windows; what remains at its end is left
    out. Windows come in the order in which batches take them: window number k * batch_size + b is row b of batch k.

    Args:
        stream: integers (n,).
        length: tokens of a window, T.
        batch_size: number of parts that are read side by side, B.

    Returns:
        `(x, y)`, each int32 (windows, T); y holds the token after each of x.

    Raises:
        DataError: the stream is too short for one batch.
    """
    stream = np.asarray(stream, np.int32)
    batches = (len(stream) - 1) // (batch_size * length)
    if batches < 1:
        works = "Use a smaller batch, shorter windows or more text."
        raise DataError(
            worded(f"{len(stream):,} tokens are too few for a batch of {batch_size} windows of {length}", works=works)
        )
    used = batch_size * batches * length
    parts = (stream[start : start + used].reshape(batch_size, batches, length) for start in (0, 1))
    return tuple(part.swapaxes(0, 1).reshape(-1, length) for part in parts)


class StreamSplit(base.TreeSplit):
    """A stream as windows of T tokens, whose targets are the tokens one further on.

    Args:
        stream: integers (n,).
        declared: the data set's preprocessing; its `sequence_length` is T.
        batch_size: number of parts of the stream that are read side by side.
    """

    ordered = True

    def __init__(self, stream, declared, batch_size=1):
        self.stream = stream
        super().__init__(*layout(stream, declared["sequence_length"], batch_size), declared=declared)

    def for_batches(self, batch_size):
        return StreamSplit(self.stream, self._declared, batch_size)


def stream_dataset(name, words, *, vocab_size, sequence_length, source, declared=None, assets=None, strip=None):
    """Makes a language-modelling data set of words.

    Args:
        name: of the data set.
        words: "train", "validation", "test" -> list of words; "[END]" stands after each text.
        vocab_size: ids in use: 0 is not used, 1 an unknown word, 2 the end of a text, the rest the most frequent
            training words.
        sequence_length: tokens of a window.
        source: origin, citation and licence, as text.
        declared, assets: of a trained model, used instead of a vocabulary of its own.
        strip: what `text_declaration` takes out of a text.

    Raises:
        DataError: a part is too short for a window, or a given declaration is not that of a language model.
    """
    if declared is None:
        vocabulary = build_vocabulary(words["train"], vocab_size)
        declared = stream_declaration(sequence_length, len(vocabulary), strip=strip)
        assets = {preprocessing.VOCABULARY: preprocessing.vocabulary_asset(vocabulary)}
    find = preprocessing.word_ids(declared, assets).get
    streams = {part: np.array([find(w, preprocessing.UNKNOWN) for w in words[part]], np.int32) for part in base.PARTS}
    splits = {part: StreamSplit(stream, declared) for part, stream in streams.items()}
    sizes = {key: declared[key] for key in ("vocab_size", "sequence_length")}
    return base.Dataset(
        name, "text_generation", None, declared, **splits, source=source, assets=dict(assets), arguments_given=sizes
    )


def stream_declaration(sequence_length, vocab_size, *, strip=None):
    """Returns the declaration of running text, split into words, numbers and marks."""
    declared = preprocessing.text_declaration(sequence_length, vocab_size, keep="last", strip=strip)
    return declared | {"token_pattern": preprocessing.WORDS_AND_MARKS, "end": END}


def build_vocabulary(words, vocab_size):
    """Returns the vocabulary of a list of words, the end of a text being id 2."""
    vocabulary = preprocessing.build_vocabulary([[w for w in words if w != END]], vocab_size - 1)
    reserved = len(preprocessing.RESERVED)
    return (*vocabulary[:reserved], END, *vocabulary[reserved:])


def check_stream_options(vocab_size, sequence_length):
    """Checks the options that every data set of running text takes."""
    check_text_options(vocab_size, sequence_length, "last")
    if vocab_size < 4:
        raise invalid("`vocab_size` must be at least 4: unused, unknown, end and a word", vocab_size)


def of_language_model(like):
    """Returns `declared` and `assets` of a trained model as keyword arguments; none where nothing is given.

    Raises:
        DataError: the model does not read running text.
    """
    if not like:
        return {}
    if "end" not in like["declared"]:
        works = "Give a model for text_generation."
        raise DataError(worded("this model reads single texts, and this data is running text", works=works))
    return {"declared": like["declared"], "assets": like["assets"]}
