"""What a table declaration may hold; it may come from a download, so everything in it is checked, and its sizes."""

import itertools
import sys

from zoo.errors import invalid, unknown

TYPES = ("number", "quantile", "bucket", "category", "hashed", "crossed")
FORMS = ("matrix", "indices")
NUMERIC = ("number", "quantile", "bucket")
MOST = 1 << 20  # columns, values, buckets or boundaries, and the width of an output


def _finite(value):
    return type(value) in (int, float) and abs(value) <= sys.float_info.max  # neither NaN nor infinite


def _ascending(value, strictly=False):
    if not isinstance(value, (list, tuple)) or not 1 <= len(value) < MOST or not all(map(_finite, value)):
        return False
    return all(a < b or (a == b and not strictly) for a, b in itertools.pairwise(value))


def _distinct_words(value):
    fine = isinstance(value, (list, tuple)) and 1 <= len(value) < MOST and all(isinstance(v, str) for v in value)
    return fine and len(set(value)) == len(value)


def _missing_number(value):
    return value is None or _finite(value)


def _missing_word(value):
    return value is None or isinstance(value, str)


def _buckets(value):
    return type(value) is int and 1 <= value <= MOST


def _names(value):
    return _distinct_words(value) and len(value) >= 2


def _raw_name(value):
    return value is None or isinstance(value, str)


FIELDS = {
    "number": {"mean": _finite, "std": lambda v: _finite(v) and v > 0, "missing": _missing_number},
    "quantile": {"boundaries": _ascending, "missing": _missing_number},
    "bucket": {"boundaries": lambda v: _ascending(v, strictly=True), "missing": _missing_number},
    "category": {"values": _distinct_words, "missing": _missing_word},
    "hashed": {"buckets": _buckets, "missing": _missing_word},
    "crossed": {"of": _names, "buckets": _buckets},
}
FIELDS = {kind: fields if kind == "crossed" else {**fields, "from": _raw_name} for kind, fields in FIELDS.items()}


def check_count(what, value, least):
    """Refuses a value that is not a whole number of at least `least`."""
    if type(value) is not int or not least <= value <= MOST:
        raise invalid(f"{what} must be a whole number of {least} to {MOST:,}", value)


def check(declared):
    """Checks a table declaration, which may come from a download: everything in it, and its sizes.

    Raises:
        InvalidArgument: the first thing that is wrong; the message names the column or the output.
    """
    columns = declared.get("columns") if isinstance(declared, dict) else None
    if not isinstance(columns, (list, tuple)) or not 1 <= len(columns) <= MOST:
        raise invalid("the preprocessing of kind 'table' must list its `columns`", columns)
    found = {}
    for column in columns:
        name, kind = (column.get(k) if isinstance(column, dict) else None for k in ("name", "type"))
        if kind not in TYPES or not isinstance(name, str):
            works = "It needs a `name` and a `type`: " + ", ".join(TYPES) + "."
            raise invalid("a column of the table is not declared", column, works)
        fields = FIELDS[kind]
        for key in set(column) - {"name", "type"} - set(fields):
            raise unknown(f"setting of column {name!r}, which is of type {kind!r},", key, fields)
        for key, fits in fields.items():
            if not fits(column.get(key)):
                raise invalid(f"column {name!r} of type {kind!r} has an impossible {key!r}", column.get(key))
        if name in found:
            raise invalid("a column is declared twice", name)
        found[name] = column
    for column in columns:
        for part in column.get("of", ()):
            if part not in found:
                raise unknown(f"column to cross in {column['name']!r}", part, found)
            if found[part]["type"] in ("number", "quantile", "crossed"):
                works = "Cross categories, hashed words and buckets."
                raise invalid(f"column {column['name']!r} crosses a {found[part]['type']}", part, works)
    _check_outputs(declared.get("outputs"), found)


def _check_outputs(outputs, found):
    if outputs is not None and (not isinstance(outputs, dict) or not outputs):
        raise invalid("the `outputs` of a table are null or a dict of name -> form and columns", outputs)
    for name, output in outputs_of(outputs, found).items():
        form, columns = (output.get(k) if isinstance(output, dict) else None for k in ("form", "columns"))
        if form not in FORMS:
            raise unknown(f"form of output {name!r}", form, FORMS)
        if not _distinct_words(columns):
            raise invalid(f"output {name!r} must list the names of its columns", columns)
        for column in columns:
            if column not in found:
                raise unknown(f"column of output {name!r}", column, found)
            if form == "indices" and found[column]["type"] in ("number", "quantile"):
                works = "Numbers go into an output of form 'matrix'; a bucket has an index."
                raise invalid(f"output {name!r} wants the index of a {found[column]['type']}", column, works)
        width = sum(size_of(found[column]) for column in columns)
        if width > MOST:
            raise invalid(f"output {name!r} would be too wide (at most {MOST:,})", width)


def outputs_of(outputs, found):
    """Returns the outputs of a table; without any, one matrix of all columns under the name ""."""
    return outputs if outputs is not None else {"": {"form": "matrix", "columns": list(found)}}


def size_of(column):
    """Returns how many numbers or ids a declared column has: 1 for a number, the number of its ids for the others."""
    kind = column["type"]
    if kind in ("number", "quantile"):
        return 1
    if kind == "bucket":
        return len(column["boundaries"]) + 1
    return len(column["values"]) + 1 if kind == "category" else column["buckets"]
