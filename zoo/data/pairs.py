"""Pairs of texts with a label as data sets: tables of two text columns, and pairs that a data set has made."""

from pathlib import Path

import numpy as np

from zoo.data import base, labelled, preprocessing
from zoo.data.files import check_text_options
from zoo.errors import DataError, worded

INPUTS = ("first", "second")


def load_pairs(
    path,
    *,
    first: str | int = "first",
    second: str | int = "second",
    label: str | int = "label",
    validation: str | None = None,
    test: str | None = None,
    validation_share: float = 0.1,
    test_share: float = 0.2,
    seed: int = 0,
    vocab_size: int = 20000,
    sequence_length: int = 64,
    keep: str = "first",
    like: dict | None = None,
):
    """Loads a UTF-8 table of two texts and a label a row: `.csv` or `.tsv`, also `.gz`.

    Args:
        path: the file, of training examples or of all.
        first, second, label: names of the columns in the header; or their numbers from 0, for a file without header.
        validation, test: paths of further tables of the same form; parts not given are held out, stratified.
        validation_share, test_share: shares of all examples that are held out.
        seed: of the choice.
        vocab_size: ids in use: 0 is padding, 1 an unknown word, the rest the most frequent training words.
        sequence_length: words of a text that are kept.
        keep: which words of a longer text are kept, "first" or "last".
        like: `declared` and `assets` of a trained model, used instead of these three; see `zoo.data.load_like`.

    Raises:
        DataError: a column or field is missing, a row is ragged, a byte is not UTF-8, ...; the message gives the line.
    """
    columns = {"first": first, "second": second, "label": label}
    name, names, pairs, y = labelled.load_rows(path, validation, test, **columns)
    places = {part: base.TreeSplit(np.arange(len(rows)), rows) for part, rows in y.items()}
    chosen = {}
    for part, split in base.completed(places, validation_share, test_share, seed).items():
        origin = pairs.get(part, pairs["train"])
        chosen[part] = [origin[i] for i in split.inputs(np.arange(len(split)))], split.labels
    source = f"Table {Path(path).name!r}: {sum(map(len, pairs.values())):,} pairs of texts."
    return pair_dataset(name, names, chosen, (vocab_size, sequence_length, keep), source, like)


def pair_dataset(name, names, parts, options, source, like=None):
    """Makes a data set of pairs of texts, which share one vocabulary, counted on the training part.

    Args:
        name, names, source: of the data set and its classes; where it comes from.
        parts: dict, "train", "validation" and "test" -> (list of (first, second) texts, class numbers).
        options: `(vocab_size, sequence_length, keep)`.
        like: `declared` and `assets` of a trained model, used instead of these.

    Returns:
        A `zoo.data.base.Dataset` with the inputs "first" and "second".

    Raises:
        DataError: the texts hold no words, or the model reads something else than pairs.
    """
    check_text_options(*options)
    vocab_size, sequence_length, keep = options
    if like:
        declared, assets = like["declared"], like["assets"]
        inputs = declared.get("inputs", {})
        if set(inputs) != set(INPUTS) or any(inputs[i]["kind"] != "text" for i in INPUTS):
            raise DataError(worded("the model does not read pairs of texts", received=sorted(inputs)))
    else:
        text = preprocessing.text_declaration(sequence_length, vocab_size, keep=keep)
        counted = [preprocessing.tokens(t, text) for pair in parts["train"][0] for t in pair]
        vocabulary = preprocessing.build_vocabulary(counted, vocab_size)
        if len(vocabulary) == len(preprocessing.RESERVED):
            raise DataError(worded("the training texts hold no word", works="Words are letters and digits."))
        text |= {"vocab_size": len(vocabulary)}
        declared = {"kind": "inputs", "inputs": dict.fromkeys(INPUTS, text)}
        assets = {preprocessing.VOCABULARY: preprocessing.vocabulary_asset(vocabulary)}
    splits = {}
    for part, (pairs, labels) in parts.items():
        rows = [{"first": a, "second": b} for a, b in pairs]
        splits[part] = base.TreeSplit(
            preprocessing.encode(declared, rows, assets), np.asarray(labels), declared=declared
        )
    text = declared["inputs"]["first"]
    given = {key: text[key] for key in ("vocab_size", "sequence_length")} | {"num_classes": len(names)}
    return base.Dataset(
        name,
        "text_pair_classification",
        names,
        declared,
        **splits,
        source=source,
        assets=assets,
        arguments_given=given,
    )
