"""Rows of texts with a label in `.csv` and `.tsv` files, checked, their labels numbered."""

import csv
import gzip
import zlib
from pathlib import Path

import numpy as np

from zoo.data import checks
from zoo.errors import DataError, invalid, worded

MAX_FIELD = 1 << 24  # characters of one field of a table
MISSING = ("", "nan", "na", "null", "none", "n/a")


def load_rows(path, validation, test, **columns):
    """Reads the tables of a data set of labelled texts.

    Args:
        path: of the training part, or of all.
        validation, test: paths of further parts, or None.
        **columns: column of each text and of the label, which comes last, by the name of the option that chooses it:
            a name in the header; or a number from 0, for files without header.

    Returns:
        `(name, names, texts, y)`: what the data set may be called, after the file; the class names, whole numbers
        sorted as numbers and before words; dict, part -> list of rows, each a tuple of its texts; dict, part -> array
        (n,) of class numbers.

    Raises:
        DataError: a table cannot be read (see `read_rows`), there are too many classes or only one, or a part holds a
            class that the training part lacks.
    """
    paths = {"train": Path(path)}
    paths |= {part: Path(p).expanduser() for part, p in (("validation", validation), ("test", test)) if p is not None}
    rows = {part: read_rows(p, columns) for part, p in paths.items()}
    labels = {part: [label for *_, label in found] for part, found in rows.items()}
    file = paths["train"].name
    names = sorted(set(labels["train"]), key=_in_order)
    if len(names) > max(2, len(labels["train"]) // 2):
        works = "A class needs several examples. Is this the right column?"
        counts = f"{len(names):,} different labels in {len(labels['train']):,} rows"
        raise DataError(worded(f"column {columns['label']!r} of {file} has {counts}", works=works))
    y = {part: numbered(found, names, paths[part].name) for part, found in labels.items()}
    checks.classes(y["train"], names)
    name = file
    for ending in (".gz", ".csv", ".tsv"):
        name = name.removesuffix(ending)
    texts = {part: [tuple(content) for *content, _ in found] for part, found in rows.items()}
    return name, tuple(names), texts, y


def _in_order(label):
    return (0, int(label), label) if label.removeprefix("-").isdecimal() else (1, 0, label)


def numbered(values, names, where):
    """Returns the class numbers of class names, an array (n,).

    Args:
        values: names of the rows' classes.
        names: of all classes, in order.
        where: what holds the rows, for messages.

    Raises:
        DataError: a class is not among `names`.
    """
    numbers = {name: i for i, name in enumerate(names)}
    for i, value in enumerate(values):
        if value not in numbers:
            works = "Every class needs training examples."
            raise DataError(
                worded(f"{where} holds a class that train lacks, first at index {i}", received=value, works=works)
            )
    return np.array([numbers[v] for v in values])


def read_rows(path, columns):
    """Returns the fields of every row of a UTF-8 table, in the order of `columns`; the last, the label, is stripped.

    Args:
        path: of a `.csv` or `.tsv` file, also `.gz`.
        columns: dict, option -> column, as `load_rows` takes them.

    Raises:
        DataError: a column or field is missing, a row is ragged, a byte is not UTF-8, ...; the message gives the line.
        InvalidArgument: some columns are names and some numbers.
    """
    wanted = tuple(columns.values())
    by_number = {isinstance(column, int) for column in wanted}
    if len(by_number) > 1:
        works = "Names for a file with a header, numbers from 0 for a file without."
        every = "both" if len(wanted) == 2 else "all"
        wrong = f"{_listed(f'`{option}`' for option in columns)} must {every} be column names or {every} be numbers"
        raise invalid(wrong, wanted, works)
    if not path.is_file():
        raise DataError(worded("no such file", received=str(path)))
    tabs = ".tsv" in path.suffixes
    counter, rows, missing = [0], [], []
    csv.field_size_limit(MAX_FIELD)
    style = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if tabs else {"strict": True}
    try:
        reader = csv.reader(_lines(path, counter), **style)
        header = None if True in by_number else next(reader, None)
        at = None
        for row in reader:
            if not row:
                continue
            if at is None:
                at = wanted if header is None else _places(path, header, columns)
                width = len(row) if header is None else len(header)
                if header is None and not all(0 <= i < width for i in at):
                    raise DataError(worded(f"{path.name} has columns 0 to {width - 1}", received=at))
            if len(row) != width:
                works = "Quote fields that hold commas or line breaks." if not tabs else "Replace tabs within a field."
                wrong = f"{path.name}, line {counter[0]}: {len(row)} fields where there should be {width}"
                raise DataError(worded(wrong, works=works))
            *texts, label = (row[i] for i in at)
            label = label.strip()
            lacks_text = not all(text.strip() for text in texts)
            if lacks_text or label.lower() in MISSING:
                missing.append((counter[0], "text" if lacks_text else "label"))
            rows.append((*texts, label))
    except (csv.Error, OSError, EOFError, zlib.error) as error:
        raise DataError(worded(f"{path.name}, line {counter[0]}: the file cannot be read ({error})")) from error
    if missing:
        line, what = missing[0]
        wrong = f"{path.name}: {len(missing):,} rows lack text or label, the first ({what}) at line {line}"
        raise DataError(worded(wrong, works="Remove or complete these rows."))
    if not rows:
        raise DataError(worded(f"{path.name} holds no rows", works="It needs a header and one row per example."))
    return rows


def _lines(path, counter):
    """Yields the lines of a file as text, counting them in `counter[0]`."""
    opener = gzip.open if path.name.endswith(".gz") else open
    with opener(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            counter[0] = number
            try:
                decoded = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                works = "Save the file as UTF-8."
                shown = line[max(0, error.start - 10) : error.end + 10]
                raise DataError(
                    worded(f"{path.name}, line {number}: not UTF-8", received=shown, works=works)
                ) from error
            yield decoded


def _places(path, header, columns):
    """Returns the numbers of the columns that the header names."""
    names = [h.strip() for h in header]
    for column in columns.values():
        if column not in names:
            options = _listed(f"{option}=..." for option in columns)
            works = f"Columns: {', '.join(names)}; choose with {options}, by number if there is no header."
            raise DataError(worded(f"{path.name} has no column {column!r}", name=column, known=names, works=works))
    return tuple(names.index(column) for column in columns.values())


def _listed(words):
    *others, last = words
    return f"{', '.join(others)} and {last}"
