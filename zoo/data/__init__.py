"""Data sets: a name, a path or arrays in; train, validation and test with labels, preprocessing and fingerprint out.

`load("mnist")`, `load("photos/")` and `load("reviews.csv")` all give a `zoo.data.base.Dataset`, checked before any
training; `from_arrays` does the same for arrays in memory. `zoo.data.feed.feed` turns a split into what `fit` eats.
Importing this module imports neither Keras nor NumPy.
"""

import difflib
import inspect
import os
from pathlib import Path

from zoo.arguments import checked
from zoo.data.catalog import DatasetRow, dataset, find, rows
from zoo.errors import DataError, InvalidArgument, invalid, unknown, worded

__all__ = ["DatasetRow", "dataset", "from_arrays", "load", "load_like", "names"]

TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz")
TEXTS = (".txt", ".txt.gz")
FILES = (".npz", *TABLES, *TEXTS)


def names():
    """Returns the `DatasetRow` (`.name`, `.task`, `.summary`, `.arguments`) of every registered data set."""
    return list(rows().values())


def load(source, *, train_share=None, **options):
    """Loads a data set and checks it.

    Args:
        source: a registered name ("mnist"), or the path of a folder with one folder of images per class, an `.npz`
            file, or a `.csv`/`.tsv` file of texts and labels (also `.gz`), or of pairs of texts where the options
            `first` and `second` name their columns, or a `.txt` file of running text. A path is told from a name by a
            slash, a leading dot or tilde, a known ending, or by being a `pathlib.Path`. A `Dataset` is returned as it
            is.
        train_share: of any data set, the share of its training examples that is kept, each class in proportion; the
            same ones each time. The other parts stay whole, and so does what was learnt from all of the training part,
            a vocabulary or means. None keeps all.
        **options: of the data set, named; see `names()` and the functions in `zoo.data.folders` and `zoo.data.files`.

    Returns:
        A `zoo.data.base.Dataset`.

    Raises:
        UnknownName: no data set or option has this name; the message gives the nearest.
        DataError: the data cannot be read or cannot be what the task needs.
    """
    if train_share is not None:
        from zoo.data.base import kept

        whole = load(source, **options)
        return whole.but(train=kept(whole.train, train_share))
    if not isinstance(source, (str, os.PathLike)):
        from zoo.data.base import Dataset

        if isinstance(source, Dataset) and not options:
            return source
        wrong = "options belong to a name or a path" if isinstance(source, Dataset) else "this is not a data set"
        works = "Give a name, a path, a Dataset without options, or use zoo.data.from_arrays(x, y, task=...)."
        raise invalid(wrong, type(source).__name__, works, error=InvalidArgument)
    function = _function(source, options)
    if "resize" in options and "resize" not in inspect.signature(function).parameters:
        works = "Fine-tune or evaluate a pretrained model, or leave `resize` out."
        raise invalid(f"{str(source)!r} is resized for a pretrained model, which says to what size", works=works)
    if _looks_like_path(source):
        options["path"] = Path(source).expanduser()
    return function(**checked(f"data set {str(source)!r}", function, options))


def load_like(source, declared, assets=None, **options):
    """Loads a data set and reads it as a trained model does, whatever it would choose for itself.

    Args:
        source: as for `load`.
        declared: the model's preprocessing; None leaves the choice to the data set.
        assets: file name -> bytes, the files that the model's preprocessing needs.
        **options: as for `load`; `resize` ("bilinear", ...) also brings images of a named data set to the model's size.

    Returns:
        A `zoo.data.base.Dataset` whose preprocessing is `declared`, but for a `resize` asked for in `options`.

    Raises:
        As `load`, and:
        DataError: the data cannot be read so: it is of another kind or size, or already made into ids.
    """
    kind = declared.get("kind") if declared else None
    if kind not in (None, "tokens") and isinstance(source, (str, os.PathLike)):
        function = _function(source, options)
        folder = function.__name__ == "load_folder"
        if "like" in inspect.signature(function).parameters and folder == (kind == "image"):
            options["like"] = {"declared": declared, "assets": dict(assets or {})}
            if folder:  # whose reader does as the model does, or is told to resize what the model does not
                return load(source, **options)
    if kind == "image" and "resize" in options:
        from zoo.data.images import RESIZES

        if options["resize"] not in RESIZES:
            raise unknown("resize method", options["resize"], RESIZES)
        declared = {**declared, "resize": options.pop("resize")}
    dataset = load(source, **options)
    if not declared or (dataset.preprocessing == declared and dataset.assets == (assets or {})):
        return dataset
    return dataset.read_as(declared)


def from_arrays(x_train, y_train, *, task="image_classification", **options):
    """Makes a data set from arrays in memory; see `zoo.data.files.from_arrays` for every option."""
    from zoo.data import files

    given = {**options, "x_train": x_train, "y_train": y_train, "task": task}
    return files.from_arrays(**checked("zoo.data.from_arrays", files.from_arrays, given))


def _function(source, options):
    """Returns the function that loads a name or reads what is at a path; the options tell what a table holds."""
    return _reader(Path(source).expanduser(), options) if _looks_like_path(source) else find(source)


def _looks_like_path(source):
    if isinstance(source, os.PathLike):
        return True
    separators = {"/", os.sep, os.altsep or "/"}
    return any(s in source for s in separators) or source[:1] in (".", "~") or source.endswith(FILES)


def _reader(path, options):
    """Returns the function that reads what is at a path."""
    if not path.exists():
        raise _missing(path)
    if path.is_dir():
        from zoo.data import folders

        return folders.load_folder
    from zoo.data import files

    if path.name.endswith(".npz"):
        return files.load_npz
    if path.name.endswith(TABLES) and {"first", "second"} & set(options):
        from zoo.data import pairs

        return pairs.load_pairs
    if path.name.endswith(TABLES):
        return files.load_table
    if path.name.endswith(TEXTS):
        from zoo.data import text_files

        return text_files.load_text
    works = "Readable are: a folder of images by class, " + ", ".join(FILES) + "."
    raise DataError(worded("no data set can be read from this kind of file", received=path.name, works=works))


def _missing(path):
    """Returns the error for a path that leads nowhere, with its nearest neighbour."""
    parent = path.parent
    if not parent.is_dir():
        return DataError(worded("no such file or folder", received=str(path), works=f"{parent} does not exist either."))
    close = difflib.get_close_matches(path.name, [p.name for p in parent.iterdir()], n=1)
    works = f"Did you mean {str(parent / close[0])!r}?" if close else None
    return DataError(worded("no such file or folder", received=str(path), works=works))
