"""What the cache holds, whether it is whole, and how to be rid of it; for `zoo cache`."""

import contextlib
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from zoo.cache import cache_folder
from zoo.errors import IntegrityError, StoreError, invalid, unknown
from zoo.files import disk, is_temporary, locked, open_regular, temporary_beside
from zoo.hub import manifest, shelf

WHOLE, DAMAGED, UNFINISHED, LEFTOVER = "whole", "damaged", "unfinished", "leftover"
OTHERS = {"data": "downloaded data", "arrays": "decoded data"}  # folder -> kind
BEING_WRITTEN = 3600  # seconds since what has no lock, such as an unfinished download of data, last grew: it may go on
_KEY = re.compile(r"(?P<key>(?:.*[^0-9a-f])?[0-9a-f]{40})(?:[^0-9a-f].*)?")


@dataclass(frozen=True)
class Entry:
    """Something in the cache.

    Attributes:
        name: the pinned reference of a model, or the path of anything else in the cache.
        kind: "model", or a value of `OTHERS`.
        path: where it is.
        size: in bytes, of all its files.
        used: when it was last used, in seconds since 1970.
        state: `WHOLE`, `DAMAGED`, `UNFINISHED` (a pull that broke off; the next one goes on there), or `LEFTOVER`.
    """

    name: str
    kind: str
    path: Path
    size: int
    used: float
    state: str


def entries(thorough=False):
    """Returns the `Entry`s of the cache, the least recently used first.

    Args:
        thorough: hash every file of a model; otherwise only its files and their sizes are compared.
    """
    found = []
    with disk(cache_folder(), "read"):
        for path in _in(shelf.models()):
            if path.name.endswith(".lock"):
                continue
            state = _state(path, thorough)
            if state == LEFTOVER and not _KEY.fullmatch(path.name) and _young(path):
                continue  # a local file is being converted, and its revision is not known yet
            name = _name(path.name.removesuffix(".incoming").lstrip(".") if path.name[0] == "." else path.name)
            found.append(_entry(str(path.name) if state == LEFTOVER else name, "model", path, state))
        for folder, kind in OTHERS.items():
            for path in _in(cache_folder(folder)):
                state = LEFTOVER if is_temporary(path) else WHOLE
                if state == LEFTOVER and _young(path):
                    continue
                found.append(_entry(f"{folder}/{path.name}", kind, path, state))
    return sorted(found, key=lambda e: (e.used, e.name))


def _in(folder):
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _young(path):
    """Says whether a file, or anything in a folder, was written so lately that its writer may still be at it."""
    try:
        newest = max(p.lstat().st_mtime for p in (path, *path.rglob("*")))
    except FileNotFoundError:  # its writer has just finished
        return True
    return time.time() - newest < BEING_WRITTEN


def _entry(name, kind, path, state):
    files = [path] if path.is_symlink() or not path.is_dir() else [p for p in path.rglob("*") if p.is_file()]
    size = sum(p.lstat().st_size for p in files)
    return Entry(name, kind, path, size, path.lstat().st_mtime, state)


def _name(folder):
    """Returns the reference of a kept revision, or the name of its folder where it is not known."""
    key = _KEY.fullmatch(folder)
    known = key and shelf.read_known(key["key"])
    return known["ref"] if known and isinstance(known.get("ref"), str) else folder


def _state(path, thorough):
    if path.name.startswith("."):
        return UNFINISHED if path.name.endswith(".incoming") else LEFTOVER
    key = _KEY.fullmatch(path.name)
    known = key and shelf.read_known(key["key"])
    pin, card = (known.get("config"), known.get("card")) if known else (path.name, None)
    if known and known.get("folder") != path.name:
        return LEFTOVER  # of an older converter
    if thorough:
        return WHOLE if shelf.verified(path, pin, card) else DAMAGED
    return WHOLE if _sizes_fit(path, pin, card) else DAMAGED


def _sizes_fit(folder, pin, card):
    try:
        with open_regular(folder / manifest.CONFIG) as file:
            config = file.read(manifest.MAX_CONFIG_BYTES + 1)
        files = manifest.parse(config, str(folder)).files | ({manifest.CARD: tuple(card)} if card else {})
        sizes = {p.name: p.lstat().st_size for p in folder.iterdir() if p.is_file() and not p.is_symlink()}
        listed = {manifest.CONFIG: len(config)} | {name: size for name, (size, _) in files.items()}
        return manifest.revision_of(config) == pin and sizes == listed
    except (OSError, IntegrityError):
        return False


def prune(names=(), *, older_than=None, everything=False, dry_run=False):
    """Removes from the cache what is damaged, and what killed or broken pulls left, and what was asked for.

    Args:
        names: references, such as "hf://owner/name" for all its revisions, or names that `entries` gives.
        older_than: also everything that was not used for so many days.
        everything: remove all.
        dry_run: remove nothing.

    Returns:
        `(removed, kept)`: list of `Entry`; kept are those that another process is using right now.

    Raises:
        UnknownName: nothing in the cache has one of the names.
        StoreError: the disk does not allow it.
    """
    if older_than is not None and not 0 <= older_than < 1e6:
        raise invalid("a number of days must be at least 0", older_than)
    found = entries(thorough=True)
    for name in names:
        if not any(_means(name, entry) for entry in found):
            known = {e.name for e in found} | {e.name.partition("@")[0] for e in found}
            raise unknown("entry of the cache", name, known, works="`zoo cache ls` lists what there is.")
    before = time.time() - 86400 * (older_than or 0)
    removed, kept = [], []
    for entry in found:
        asked = everything or any(_means(name, entry) for name in names)
        asked = asked or (older_than is not None and entry.used < before)
        if asked or (not names and entry.state != WHOLE):
            (removed if dry_run or _removed(entry) else kept).append(entry)
    if not dry_run:
        _forget()
    return removed, kept


def _means(name, entry):
    return name in (entry.name, entry.path.name) or entry.name.startswith(f"{name}@")


def _removed(entry):
    """Removes an entry, unless another process holds it. It is gone at once, or there as before."""
    key = _KEY.fullmatch(entry.path.name.lstrip(".").removesuffix(".incoming"))
    lock = shelf.models() / f".{key['key']}.lock" if key and entry.kind == "model" else None
    try:
        with locked(lock, wait_seconds=0) if lock else contextlib.nullcontext(), disk(entry.path):
            if entry.path.is_dir() and not entry.path.is_symlink():
                aside = temporary_beside(entry.path)
                entry.path.rename(aside)
                shutil.rmtree(aside)
            else:
                entry.path.unlink()
    except StoreError as error:
        if error.errno is None:  # the lock is held
            return False
        raise
    return True


def _forget():
    """Removes what is known of revisions that are no longer here."""
    here = {path.name for path in _in(shelf.models()) if not path.name.startswith(".")}
    for path in _in(shelf.known()):
        if path.name.startswith(".") and _young(path):
            continue
        known = shelf.read_known(path.name.removesuffix(".json")) or {}
        gone = known.get("folder") not in here if "@" not in path.name else not _any_of(known.get("commit"), here)
        if gone:
            with contextlib.suppress(OSError):
                path.unlink()


def _any_of(commit, names):
    return isinstance(commit, str) and any(commit in name for name in names)
