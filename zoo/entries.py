"""Entries of a registry: what one says of a published checkpoint, and the check of a file that somebody else wrote.

`registry.schema.json` says the same in JSON Schema, for editors and other programs; a test holds the two together.
"""

import gc
import json
import re

from zoo.errors import invalid, unknown
from zoo.registry import FORMAT

REVISION = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")
NAME = re.compile(r"[A-Za-z0-9_]+\.[A-Za-z0-9_.-]+")
MODEL = re.compile(r"[A-Za-z0-9_]+")
TASK = re.compile(r"[a-z0-9_]+")
TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f]*")  # nothing that a terminal would obey
WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_ .+-]*")
REF = re.compile(r"([a-z][a-z0-9+.-]*://)?[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9_.-]+)*|~?/[^\x00-\x1f\x7f-\x9f]+")
MAX_BYTES = 256 << 20  # of a registry: 100,000 entries take some 50 MB


def _number(value):
    return type(value) in (int, float) and value == value and abs(value) != float("inf")


def _count(value):
    return type(value) is int and value >= 0


def _pattern(pattern):
    return lambda value: type(value) is str and pattern.fullmatch(value) is not None


def _metrics(value):
    return type(value) is dict and all(WORD.fullmatch(name) and _number(v) for name, v in value.items())


def _arguments(value):
    return type(value) is dict and all(MODEL.fullmatch(name) for name in value)


FIELDS = {  # of an entry, by name: what its value must be, and the same in words
    "model": (_pattern(MODEL), "the name of a model, such as 'resnet50'"),
    "task": (_pattern(TASK), "a task, such as 'image_classification'"),
    "ref": (_pattern(REF), "a repository without a revision, such as 'hf://owner/name'"),
    "revision": (_pattern(REVISION), "the 40 hexadecimal digits of a commit, or null"),
    "sha256": (_pattern(SHA256), "the 64 hexadecimal digits of a SHA-256, or null"),
    "format": (_pattern(WORD), "the format of the files, such as 'zoo' or 'timm'"),
    "arguments": (_arguments, "argument of the model's builder -> value"),
    "parameters": (_count, "a count, or null"),
    "metrics": (_metrics, "name of a figure -> number"),
    "dataset": (_pattern(TEXT), "a text of one line"),
    "source": (_pattern(TEXT), "a text of one line"),
    "license": (_pattern(WORD), "a licence, such as 'apache-2.0', or null"),
    "summary": (_pattern(TEXT), "a text of one line"),
}
_NULLABLE = {"revision", "sha256", "parameters", "license", "source", "dataset"}
_REQUIRED = ("model", "task", "ref")


def checked_entry(name, entry, where):
    """Returns an entry, checked.

    Args:
        name: variant.tag.
        entry: what the registry holds under it.
        where: the registry, for messages.

    Raises:
        InvalidArgument, UnknownName: it is not an entry; the message names the field and what belongs there.
    """
    if not NAME.fullmatch(name):
        raise invalid(f"{where} has a name of weights that is not variant.tag", name, "Such as 'resnet50.a1_in1k'.")
    if type(entry) is not dict:
        raise invalid(f"{name!r} in {where} must be a JSON object", entry)
    for field in _REQUIRED:
        if field not in entry:
            raise invalid(f"{name!r} in {where} has no {field!r}", sorted(entry), f"It is {FIELDS[field][1]}.")
    for field, value in entry.items():
        fits, words = FIELDS.get(field) or _unknown_field(name, field, where)
        if not (fits(value) or (value is None and field in _NULLABLE)):
            raise invalid(f"{field!r} of {name!r} in {where} is wrong", value, f"It is {words}.")
    return entry


def _unknown_field(name, field, where):
    raise unknown(f"field of {name!r} in {where}", field, FIELDS)


def checked_entries(content, where):
    """Returns the entries of somebody's registry: dict, variant.tag -> entry; nothing in it is executed.

    Args:
        content: the bytes of a `registry.json`.
        where: what it is, for messages.

    Raises:
        InvalidArgument, UnknownName: it is not such a registry.
    """
    works = 'It looks like {"format": 1, "weights": {"resnet50.mine": {...}}}; see registry.schema.json.'
    collects = gc.isenabled()
    gc.disable()  # among a million new objects that all stay, it would look for garbage again and again
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise invalid(f"{where} is not valid JSON ({str(error)[:120]})", works=works) from error
    finally:
        if collects:
            gc.enable()
    if type(found) is not dict or type(found.get("weights")) is not dict:
        raise invalid(f"{where} is not a registry of weights", works=works)
    if found.get("format") != FORMAT:
        raise invalid(f"{where} has a format this zoo cannot read", found.get("format"), f"This zoo reads {FORMAT}.")
    extra = sorted(set(found) - {"$schema", "format", "weights"})
    if extra:
        raise invalid(f"{where} holds more than weights, and only those may be added", extra, works)
    for name, entry in found["weights"].items():
        checked_entry(name, entry, where)
    return found["weights"]
