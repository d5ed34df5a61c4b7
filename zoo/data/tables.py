"""Tables: how rows of named columns become numbers for a model, declared as JSON with the columns' statistics.

    {"kind": "table", "columns": [column, ...], "outputs": null | {name: {"form": ..., "columns": [names]}}}

A column is a dict with its `name`, its `type` and the statistics of the training part:

    {"type": "number", "mean": m, "std": s, "missing": value}     (x - mean) / std
    {"type": "quantile", "boundaries": [...], "missing": value}   share of the boundaries that are <= x, in [0, 1]
    {"type": "bucket", "boundaries": [...], "missing": value}     id: how many boundaries are <= x
    {"type": "category", "values": [...], "missing": word}        id: 1 + place in `values`; 0 is any other word
    {"type": "hashed", "buckets": n, "missing": word}             id: hash of the word, 0 to n - 1
    {"type": "crossed", "of": [names], "buckets": n}              id: hash of what those columns hold together

A column reads the raw column of its name, or the one that its `from` names, so that one may be read in several ways.
A number or word that is missing (None, or an empty string) is read as the column's `missing`; where that is null, it
is refused. NaN and infinity are always refused. Columns of a row that the declaration lacks are ignored.

Each output is an array. Its form "matrix" is float32 (n, width), numbers as they are and ids as one-hot vectors, in
the order of its columns; "indices" is int32 (n, number of columns), where each column's ids follow those of the
column before it, so that one embedding table serves all. Without outputs, the result is the matrix of all columns.

Why not `keras.utils.FeatureSpace`, which does the same: it needs TensorFlow on every backend (600 MB of memory and
some seconds before the first prediction), what it learnt is not in its config, and it lets NaN through. Numbers,
buckets and categories are encoded exactly as it does; hashes differ, as they are BLAKE2 here, the same everywhere.
"""

import hashlib
import math
from collections import Counter

import numpy as np

from zoo.data.columns import NUMERIC, TYPES, check, check_count, outputs_of, size_of
from zoo.errors import DataError, unknown, worded

# Declaring


def declare(columns, types, outputs=None):
    """Returns the declaration of a table, with the statistics of its columns.

    Args:
        columns: dict, column name -> sequence of n raw values, of the training part only.
        types: dict, column name -> what to do with it: "number", "category", {"type": "quantile", "quantiles": q},
            {"type": "bucket", "boundaries": [...]} or {"type": "bucket", "buckets": n} (equally full ones),
            {"type": "hashed", "buckets": n}, or {"type": "crossed", "of": [...], "buckets": n} under a new name. Each
            but the crossed may give `missing`; it is the mean or the median of numbers and "" of words by default.
        outputs: as in the declaration.

    Returns:
        A JSON dict. Categories stand in the order of their frequency, equally frequent ones by alphabet.

    Raises:
        InvalidArgument: a type or one of its settings does not exist or cannot be, or an output names no column.
        DataError: a column is not there, or its values cannot be read.
    """
    declared = []
    for name, asked in types.items():
        asked = dict(asked) if isinstance(asked, dict) else {"type": asked}
        kind = asked.get("type")
        if kind not in TYPES:
            raise unknown(f"type of column {name!r}", kind, TYPES)
        source = asked.get("from") or name
        if kind != "crossed" and source not in columns:
            raise DataError(worded(f"the table has no column {source!r}", name=source, known=list(columns)))
        declared.append({"name": name, **_with_statistics(name, kind, asked, columns.get(source))})
    found = {"kind": "table", "columns": declared, "outputs": outputs}
    check(found)
    return found


def _with_statistics(name, kind, asked, values):
    if kind in NUMERIC:
        x = _numbers({"name": name, "missing": math.inf}, values)  # infinity marks those that are missing, here only
        x = x[np.isfinite(x)]
        if not len(x):
            raise DataError(worded(f"column {name!r} holds no number"))
        if kind == "number":
            mean = float(x.mean())
            # A column that is constant in training stays as it is, rather than explode on the first other value.
            return {"missing": mean, **asked, "mean": mean, "std": float(x.std()) or 1.0}
        asked.setdefault("missing", float(np.median(x)))
        count = asked.pop("quantiles" if kind == "quantile" else "buckets", 10)
        if "boundaries" not in asked:
            check_count(f"column {name!r}: the number of quantiles or buckets", count, 2)
            asked["boundaries"] = np.quantile(x, np.arange(1, count) / count).tolist()
            if kind == "bucket":
                asked["boundaries"] = sorted(set(asked["boundaries"]))
        return {**asked, "boundaries": [float(b) for b in asked["boundaries"]]}
    if kind == "category" and "values" not in asked:
        asked.setdefault("missing", "")
        counts = Counter(_words({"name": name, **asked}, values))
        asked["values"] = sorted(counts, key=lambda word: (-counts[word], word))
    elif kind == "hashed":
        asked.setdefault("missing", "")
    return asked


def sizes(declared):
    """Returns output name -> (number of columns, sum of their sizes); the one matrix without a name is ""."""
    found = {column["name"]: column for column in declared["columns"]}
    outputs = outputs_of(declared.get("outputs"), found)
    return {k: (len(o["columns"]), sum(size_of(found[c]) for c in o["columns"])) for k, o in outputs.items()}


# Encoding


def encode(declared, raw, assets=None):
    """Turns rows into arrays for the model.

    Args:
        declared: the declaration.
        raw: one row, a dict of column name -> number or string (a number may be a string, as in a CSV file); or a list
            of rows.
        assets: not used; tables declare everything.

    Returns:
        float32 (n, width); or dict, output name -> float32 (n, width) or int32 (n, number of columns).

    Raises:
        DataError: a row lacks a column, holds NaN, or a value cannot be read; the message gives the row and column.
        InvalidArgument: the declaration is impossible.
    """
    check(declared)
    rows = [raw] if isinstance(raw, dict) else list(raw)
    if not rows:
        raise DataError(worded("there is no row to read", received=raw))
    columns = {_source(column): [] for column in declared["columns"] if column["type"] != "crossed"}
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            works = "A row is a dict, column name -> value."
            raise DataError(worded(f"row {i} is not a row of a table", received=type(row).__name__, works=works))
        for name, values in columns.items():
            if name not in row:
                given = [k for k in row if k not in columns]
                works = None if given else "None stands for a value that is not known."
                raise DataError(worded(f"row {i} has no column {name!r}", name=name, known=given, works=works))
            values.append(row[name])
    return encode_columns(declared, columns)


def encode_columns(declared, columns):
    """As `encode`, of a checked declaration and whole columns: dict, column name -> sequence of n values."""
    found = {column["name"]: column for column in declared["columns"]}
    read, ids = {}, {}  # what columns hold, as numbers or words; and their ids or numbers
    for name, column in found.items():
        if column["type"] != "crossed":
            read[name] = (_numbers if column["type"] in NUMERIC else _words)(column, columns[_source(column)])
            ids[name] = _encoded(column, read[name])
    for name, column in found.items():
        if column["type"] == "crossed":
            parts = [ids[p].tolist() if found[p]["type"] == "bucket" else read[p] for p in column["of"]]
            ids[name] = _hashed(zip(*parts, strict=True), column["buckets"])
    outputs = outputs_of(declared.get("outputs"), found)
    arrays = {k: _array(o["form"], [(found[c], ids[c]) for c in o["columns"]]) for k, o in outputs.items()}
    return arrays if declared.get("outputs") is not None else arrays[""]


def _source(column):
    return column.get("from") or column["name"]


def _refused(column, row, why, value):
    works = "Write None for a value that is not known." if column.get("missing") is not None else None
    return DataError(worded(f"row {row}: column {_source(column)!r} {why}", received=value, works=works))


def _numbers(column, values):
    """Returns raw values as float64 (n,)."""
    found = np.empty(len(values))
    for i, value in enumerate(values):
        if value is None or (isinstance(value, str) and not value.strip()):
            value = column["missing"]
            if value is None:
                raise _refused(column, i, "is missing", values[i])
            found[i] = value
            continue
        try:
            found[i] = number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise _refused(column, i, "is not a number", value) from None
        if not math.isfinite(number):
            raise _refused(column, i, "is NaN or infinite", value)
    return found


def _words(column, values):
    """Returns raw values as a list of n strings, without white space around them."""
    found = []
    for i, value in enumerate(values):
        if not isinstance(value, str):
            if isinstance(value, (float, np.floating)):
                raise _refused(column, i, "is NaN" if value != value else "must be a word, not a fraction", value)
            if value is not None and not isinstance(value, (int, np.integer)):
                raise _refused(column, i, "is not a word", value)
            value = "" if value is None else str(value)
        value = value.strip() or column["missing"]
        if value is None:
            raise _refused(column, i, "is missing", values[i])
        found.append(value)
    return found


def _encoded(column, x):
    kind = column["type"]
    if kind == "number":
        x = (x - column["mean"]) / column["std"]
        huge = np.flatnonzero(np.abs(x) > np.finfo(np.float32).max)
        if len(huge):
            raise DataError(worded(f"row {huge[0]}: column {_source(column)!r} is too large"))
        return x
    if kind == "quantile":
        return np.searchsorted(column["boundaries"], x, side="right") / len(column["boundaries"])
    if kind == "bucket":
        return np.searchsorted(column["boundaries"], x, side="right")
    if kind == "category":
        places = {word: i for i, word in enumerate(column["values"], start=1)}
        return np.array([places.get(word, 0) for word in x], np.int64)
    return _hashed(((word,) for word in x), column["buckets"])


def _hashed(keys, buckets):
    """Returns the bucket of each tuple of words and whole numbers; the same on every machine and in every release."""
    known, found = {}, []
    for key in keys:
        if key not in known:
            spelt = "".join(f"{len(str(part))}:{part}" for part in key)  # lengths keep ("ab", "c") from ("a", "bc")
            digest = hashlib.blake2b(spelt.encode("utf-8", "surrogatepass"), digest_size=8).digest()
            known[key] = int.from_bytes(digest, "little") % buckets
        found.append(known[key])
    return np.array(found, np.int64)


def _array(form, columns):
    rows, start = len(columns[0][1]), 0
    if form == "indices":
        x = np.empty((rows, len(columns)), np.int32)
    else:
        x = np.zeros((rows, sum(size_of(column) for column, _ in columns)), np.float32)
    for place, (column, values) in enumerate(columns):
        if form == "indices":
            x[:, place] = start + values
        elif column["type"] in ("number", "quantile"):
            x[:, start] = values
        else:
            x[np.arange(rows), start + values] = 1
        start += size_of(column)
    return x
