"""Registries of weights: the built-in one, a team's, the user's own; each is JSON, and only ever read as such.

Later ones lie over earlier ones: what is built in, then what the environment variable `ZOO_REGISTRY` lists, separated
by ";", then the user's own.

/srv/models/registry.json     a file
/srv/models                   a folder with a registry.json in it
hf://team/models[@revision]   a repository of the Hugging Face Hub with a registry.json; read again once a day

A file in the last place of the list is the user's own, which records are written to; otherwise that is
~/.zoo/registry.json, which need not exist.
"""

import contextlib
import os
import re
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

from zoo.entries import MAX_BYTES, REVISION, checked_entries, checked_entry
from zoo.errors import Conflict, ZooError, invalid
from zoo.files import disk, json_bytes, locked, make_folder, open_regular, temporary_beside, write_atomic
from zoo.registry import FORMAT, index

FILE = "registry.json"
PINS = ("ref", "revision", "sha256")  # fields that say which bytes an entry means
BUILT_IN, OWN = "built in", "own"  # how `zoo registry diff` names them
KEPT_SECONDS = 24 * 3600  # that a copy of a registry on the Hub is used for without asking
RETRY_SECONDS = 600  # before the Hub is asked again after it did not answer


@dataclass(frozen=True, eq=False)
class Layer:
    """One registry: its label for messages, its entries by name, and whether it is the user's own."""

    label: str
    entries: dict
    own: bool = False


_layers = {}  # key of a registry -> (what tells that it changed, its Layer)


def _remembered(key, state, make):
    """Returns the layer of a registry, made anew only where it has changed."""
    known = _layers.get(key)
    if known is None or known[0] != state:
        _layers[key] = known = state, make()
    return known[1]


def listed():
    """Returns what `ZOO_REGISTRY` lists, as texts, without the user's own file."""
    places = _listed()
    return places[:-1] if places and _is_file(places[-1]) else places


def _listed():
    return [place.strip() for place in os.environ.get("ZOO_REGISTRY", "").split(";") if place.strip()]


def _is_file(place):
    return "://" not in place and place.endswith(".json") and not Path(place).expanduser().is_dir()


def own_path():
    """Returns the path of the user's own registry, which need not exist."""
    places = _listed()
    return Path(places[-1] if places and _is_file(places[-1]) else f"~/.zoo/{FILE}").expanduser()


def layers(built_in):
    """Returns the `Layer` of every registry, from the one that counts least to the user's own.

    Args:
        built_in: the entries that come with zoo.

    Raises:
        InvalidArgument, UnknownName: a file is not a registry.
        StoreError: one that is listed cannot be read.
    """
    first = _layers.get(BUILT_IN)
    if first is None or first[0] is not built_in:
        _layers[BUILT_IN] = first = built_in, Layer("zoo's registry", built_in)
    own = _read_file(own_path(), own=True) if own_path().is_file() else None
    return [first[1], *map(read, listed()), *filter(None, [own])]


def read(place):
    """Returns the `Layer` of one registry, given as in `ZOO_REGISTRY`, or "built in", or "own".

    Raises:
        As `layers`.
    """
    if place == BUILT_IN:
        return Layer("zoo's registry", index()["weights"])
    if place == OWN:
        return _read_file(own_path(), own=True) if own_path().is_file() else Layer(str(own_path()), {}, own=True)
    if "://" in str(place):
        return _read_hub(str(place))
    path = Path(place).expanduser()
    return _read_file(path / FILE if path.is_dir() else path)


def _read_file(path, own=False, label=None):
    label = label or str(path)
    with disk(path, "read"), open_regular(path) as file:
        about = os.fstat(file.fileno())
        if about.st_size > MAX_BYTES:
            raise invalid(f"{label} is too large for a registry", f"{about.st_size:,} bytes", f"At most {MAX_BYTES:,}.")

        def made():
            return Layer(label, checked_entries(file.read(), label), own)

        return _remembered((str(path), own, label), (about.st_ino, about.st_size, about.st_mtime_ns), made)


# A registry on the Hub


def _read_hub(place):
    """Returns the layer of a registry on the Hub: of its copy here, or of a new one once that is a day old."""
    from zoo.cache import cache_folder  # imports the HTTP client, which names of models do not need

    revision = place.partition("@")[2]
    copy = cache_folder("registries", re.sub(r"[^A-Za-z0-9.-]+", "--", place) + ".json")
    age = time.time() - copy.stat().st_mtime if copy.is_file() else None
    if age is None or (age > KEPT_SECONDS and not REVISION.fullmatch(revision)):
        try:
            _bring(place, copy)
        except ZooError as error:
            if age is None:
                raise
            warnings.warn(f"using an earlier copy of {place}: {error}", stacklevel=2)
            later = time.time() - KEPT_SECONDS + RETRY_SECONDS  # not at every command
            with contextlib.suppress(OSError):
                os.utime(copy, (later, later))
    return _read_file(copy, label=place)


def _bring(place, copy):
    """Copies the registry of a repository to the cache once it has proved to be one."""
    from zoo.hub.refs import parse

    reference = parse(place)
    commit = reference.store.resolve(reference.repo, reference.revision)
    stage = temporary_beside(make_folder(copy.parent) / copy.name)
    try:
        size, _ = reference.store.fetch(reference.repo, commit, FILE, stage, MAX_BYTES)
        if size > MAX_BYTES:
            raise invalid(f"{place} is too large for a registry", works=f"At most {MAX_BYTES:,} bytes.")
        with disk(stage, "read"):
            content = stage.read_bytes()
        checked_entries(content, place)
        write_atomic(copy, content)
    finally:
        stage.unlink(missing_ok=True)


# The user's own


def write_own(name, entry, *, replace=False, pins=False):
    """Writes one entry into the user's own registry, whole or not at all.

    Args:
        name: variant.tag.
        entry: dict of fields, see `zoo.entries`.
        replace: whether an entry of other content may be there.
        pins: whether it only pins what is there already and is not pinned.

    Returns:
        `Path` of the registry.

    Raises:
        Conflict: there is another entry of this name, or it is pinned otherwise.
        StoreError: the registry cannot be written; it is as before.
    """
    path = own_path()
    checked_entry(name, entry, path)
    make_folder(path.parent)
    with locked(path.with_name(f".{path.name}.lock")):
        entries = dict(_read_file(path, own=True).entries) if path.is_file() else {}
        before = entries.get(name, entry)
        compared = PINS if pins else sorted(before.keys() | entry.keys())
        other = [f for f in compared if before.get(f) != entry.get(f) and not (pins and before.get(f) is None)]
        if other and not replace:
            raise Conflict(
                f"{path} has another entry named {name!r}, of other {', '.join(other)}. Remove it there, or replace it "
                f"with `zoo registry add {name} REF --replace`."
            )
        entries[name] = before | entry if pins else entry
        write_atomic(path, json_bytes({"format": FORMAT, "weights": entries}))
    return path


def difference(before, after):
    """Returns what changed from one registry to another.

    Args:
        before, after: entries, dict by name.

    Returns:
        Dict with the sorted names "added" and "removed", and "changed": name -> field -> (before, after).
    """
    changed = {}
    for name in sorted(before.keys() & after.keys()):
        fields = sorted(before[name].keys() | after[name].keys())
        pairs = {field: (before[name].get(field), after[name].get(field)) for field in fields}
        changed[name] = {field: pair for field, pair in pairs.items() if pair[0] != pair[1]}
    return {
        "added": sorted(after.keys() - before.keys()),
        "removed": sorted(before.keys() - after.keys()),
        "changed": {name: fields for name, fields in changed.items() if fields},
    }
