"""Arrays in memory, `.npz` files of arrays, and `.csv`/`.tsv` files of texts with labels, as data sets."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from zoo.data import base, checks, labelled, preprocessing
from zoo.errors import DataError, invalid, nearest, unknown, worded

# Arrays


def from_arrays(
    x_train,
    y_train,
    *,
    x_validation=None,
    y_validation=None,
    x_test=None,
    y_test=None,
    task: str = "image_classification",
    labels: tuple | None = None,
    name: str = "arrays",
    maximum: int | float | None = None,
    validation_share: float = 0.1,
    test_share: float = 0.2,
    seed: int = 0,
    vocab_size: int = 20000,
    sequence_length: int = 256,
    keep: str = "first",
):
    """Makes a data set from arrays in memory, checked.

    Args:
        x_train: images (n, H, W) or (n, H, W, C); or a list of n strings; or token ids (n, T), 0 padding at the end.
        y_train: integers 0, 1, 2, ... of shape (n,).
        x_validation, y_validation, x_test, y_test: the same; parts not given are held out, stratified.
        task: "image_classification" or "text_classification".
        labels: class names in the order of the integers; "0", "1", ... by default.
        name: of the data set.
        maximum: pixel value that stands for white. By default 255 for integers, 1 for booleans and for floats within
            0 to 1; other floats are fed as they are, and such a model reads no image files.
        validation_share, test_share: shares of all examples that are held out.
        seed: of the choice.
        vocab_size, sequence_length, keep: of strings; see `zoo.data.preprocessing`.

    Raises:
        DataError: wrong shapes or types, NaN, labels out of range, fewer than two classes, lengths that differ.
    """
    x, y = {"train": x_train}, {"train": y_train}
    for part, part_x, part_y in (("validation", x_validation, y_validation), ("test", x_test, y_test)):
        if (part_x is None) != (part_y is None):
            absent = "x" if part_x is None else "y"
            raise DataError(
                worded(f"{absent}_{part} is missing", works=f"Give both x_{part} and y_{part}, or neither.")
            )
        if part_x is not None:
            x[part], y[part] = part_x, part_y
    y = {part: checks.integers(rows, part) for part, rows in y.items()}
    for part in x:
        checks.same_length(x[part], y[part], part)
    names = checks.classes(y["train"], labels)
    for part in ("validation", "test"):
        if part in y:
            checks.in_range(y[part], len(names), part)
    source = f"{name}: {sum(map(len, y.values())):,} examples given by the user."
    shares = (validation_share, test_share, seed)
    if task == "image_classification":
        return _images(name, names, x, y, maximum, shares, source)
    if task == "text_classification":
        if isinstance(x["train"], np.ndarray) and x["train"].dtype.kind in "ui":
            return _token_ids(name, names, x, y, shares, source)
        texts = {part: list(rows) for part, rows in x.items()}
        return _texts(name, names, texts, y, shares, (vocab_size, sequence_length, keep), source)
    raise unknown("task", task, ("image_classification", "text_classification"))


def _images(name, names, x, y, maximum, shares, source):
    x = {part: checks.images(rows, part) for part, rows in x.items()}
    shapes = {part: rows.shape[1:] for part, rows in x.items()}
    if len(set(shapes.values())) > 1:
        raise DataError(worded("the splits hold images of different shapes", received=shapes))
    kinds = {part: rows.dtype.kind for part, rows in x.items()}
    if len({k in "f" for k in kinds.values()}) > 1:
        received = {part: str(rows.dtype) for part, rows in x.items()}
        raise DataError(worded("some splits hold floats and some integers", received=received))
    ranges = [checks.value_range(rows) for rows in x.values()]
    low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
    if kinds["train"] == "f":
        if maximum is None and low >= 0 and high <= 1:
            maximum = 1.0
    else:
        if maximum is None:
            maximum = 1.0 if kinds["train"] == "b" else 255.0
        if low < 0 or high > maximum:
            works = "Pass maximum=... (the value that stands for white), or floats that are ready for the model."
            wrong = f"integer pixels must be 0 to {maximum:g}, but these are {low} to {high}"
            raise DataError(worded(wrong, works=works))
        if high < 256:
            x = {part: rows.astype(np.uint8, copy=False) for part, rows in x.items()}
    if maximum is not None and maximum <= 0:
        raise invalid("`maximum` must be positive", maximum)
    declared = preprocessing.image_declaration(shapes["train"], maximum=None if maximum is None else float(maximum))
    splits = {part: base.ArraySplit(x[part], y[part], declared) for part in x}
    splits = base.completed(splits, *shares)
    return base.Dataset(name, "image_classification", names, declared, **splits, source=source)


def _token_ids(name, names, x, y, shares, source):
    length = x["train"].shape[-1]
    x = {part: preprocessing.token_array(rows, part, length if part != "train" else None) for part, rows in x.items()}
    vocab_size = 1 + max(int(rows.max()) for rows in x.values())
    declared = {"kind": "tokens", "sequence_length": int(length), "vocab_size": vocab_size}
    splits = {part: base.ArraySplit(x[part], y[part], declared) for part in x}
    splits = base.completed(splits, *shares)
    return base.Dataset(name, "text_classification", names, declared, **splits, source=source)


def check_text_options(vocab_size, sequence_length, keep):
    """Checks the options that every text data set takes."""
    if not 3 <= vocab_size <= 10_000_000:
        raise invalid("`vocab_size` must be 3 to 10,000,000: padding, unknown and at least one word", vocab_size)
    if not 1 <= sequence_length <= 100_000:
        raise invalid("`sequence_length` must be 1 to 100,000 words", sequence_length)
    if keep not in ("first", "last"):
        raise invalid("`keep` must be 'first' or 'last'", keep)


def _texts(name, names, texts, y, shares, options, source, like=None):
    """Makes a data set of strings; the vocabulary is counted on what remains of the training part, or a model's."""
    vocab_size, sequence_length, keep = options
    check_text_options(vocab_size, sequence_length, keep)
    for part, rows in texts.items():
        for i, text in enumerate(rows):
            if not isinstance(text, str):
                works = "Texts are strings; numbers and NaN are not."
                raise DataError(worded(f"{part} text {i} is not a string", received=text, works=works))
    declared = like["declared"] if like else preprocessing.text_declaration(sequence_length, vocab_size, keep=keep)
    words = {part: [preprocessing.tokens(text, declared) for text in rows] for part, rows in texts.items()}
    places = {part: base.ArraySplit(np.arange(len(y[part])), y[part], {"kind": "rows"}) for part in y}
    taken = {}
    for part, split in base.completed(places, *shares).items():
        origin = part if part in words else "train"
        taken[part] = [words[origin][i] for i in split.inputs(np.arange(len(split)))], split.labels
    if like:
        assets = like["assets"]
        ids = preprocessing.word_ids(declared, assets)
    else:
        vocabulary = preprocessing.build_vocabulary(taken["train"][0], vocab_size)
        if len(vocabulary) == len(preprocessing.RESERVED):
            raise DataError(worded("the training texts hold no word", works="Words are letters and digits."))
        declared = preprocessing.text_declaration(sequence_length, len(vocabulary), keep=keep)
        assets = {preprocessing.VOCABULARY: preprocessing.vocabulary_asset(vocabulary)}
        ids = {word: i for i, word in enumerate(vocabulary)}
    splits = {
        part: base.ArraySplit(preprocessing.encode_texts(declared, rows, ids), labels, declared)
        for part, (rows, labels) in taken.items()
    }
    return base.Dataset(name, "text_classification", names, declared, **splits, source=source, assets=assets)


# .npz


def read_npz(path):
    """Returns the arrays of an `.npz` file. Pickled objects are refused.

    Raises:
        DataError: it is damaged, or holds objects.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it is a single array")
            return {key: archive[key] for key in archive.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        works = "Arrays of Python objects are refused: they could run code." if "pickle" in str(error) else None
        reason = "it holds Python objects" if "pickle" in str(error) else error
        raise DataError(worded(f"{path} cannot be read ({reason})", works=works)) from error


def load_npz(
    path,
    *,
    task: str = "image_classification",
    labels: tuple | None = None,
    maximum: int | float | None = None,
    validation_share: float = 0.1,
    test_share: float = 0.2,
    seed: int = 0,
):
    """Loads an `.npz` file with x_train and y_train (or x and y), and optionally x_validation, y_validation, x_test,
    y_test.

    Args:
        path: the file.
        task, labels, maximum, validation_share, test_share, seed: as in `from_arrays`. Labels that are strings are
            class names already.

    Raises:
        DataError: it is damaged, lacks an array, or its content fails a check; the message says which.
    """
    path = Path(path)
    found = read_npz(path)
    if "x_train" not in found and "x" in found:
        found |= {"x_train": found["x"], **({"y_train": found["y"]} if "y" in found else {})}
    for key in ("x_train", "y_train"):
        if key not in found:
            works = f"It needs x_train and y_train, or x and y. It holds: {', '.join(found) or 'nothing'}."
            raise DataError(worded(f"{path.name} lacks {key}", works=works))
    known = ("x_train", "y_train", "x_validation", "y_validation", "x_test", "y_test")
    arrays = {key: found[key] for key in known if key in found}
    for key in found:
        if key not in (*known, "x", "y") and nearest(key, known):
            raise DataError(worded(f"{path.name} holds an unknown array {key!r}", name=key, known=known))
    kinds = {arrays[key].dtype.kind for key in arrays if key.startswith("y_")}
    if kinds == {"U"}:
        if labels is None:
            labels = tuple(str(n) for n in np.unique(arrays["y_train"]))
        for key in [k for k in arrays if k.startswith("y_")]:
            arrays[key] = labelled.numbered(arrays[key].tolist(), labels, f"{path.name}: {key}")
    if task == "text_classification" and arrays["x_train"].dtype.kind == "U":
        arrays |= {key: arrays[key].tolist() for key in arrays if key.startswith("x_")}
    shares = {"validation_share": validation_share, "test_share": test_share, "seed": seed}
    name = path.name.removesuffix(".npz")
    return from_arrays(**arrays, task=task, labels=labels, name=name, maximum=maximum, **shares)


# .csv and .tsv


def load_table(
    path,
    *,
    text: str | int = "text",
    label: str | int = "label",
    validation: str | None = None,
    test: str | None = None,
    validation_share: float = 0.1,
    test_share: float = 0.2,
    seed: int = 0,
    vocab_size: int = 20000,
    sequence_length: int = 256,
    keep: str = "first",
    like: dict | None = None,
):
    """Loads a UTF-8 table of texts and labels: `.csv` or `.tsv`, also `.gz`.

    Args:
        path: the file, of training examples or of all.
        text, label: names of the columns in the header; or both their numbers from 0, for a file without header.
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
    name, names, texts, y = labelled.load_rows(path, validation, test, text=text, label=label)
    source = f"Table {Path(path).name!r}: {sum(map(len, y.values())):,} texts."
    texts = {part: [content for (content,) in rows] for part, rows in texts.items()}
    shares = (validation_share, test_share, seed)
    return _texts(name, names, texts, y, shares, (vocab_size, sequence_length, keep), source, like)
