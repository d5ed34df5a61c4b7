"""What was pulled and is kept: the cache folder `models`, and beside it, in `known`, what pins each copy of a Hub.

    models/<id>                                     a revision of a folder hub; the id is made of its content
    models/<owner>--<name>--<commit>                one of the Hugging Face Hub that zoo wrote
    models/<owner>--<name>--<commit>--<format>-<n>  one that converter n of a foreign format made
    models/.<...>.incoming                          files of a pull that was killed or broke off, to go on with
    known/<name of the folder without the format>   JSON: the folder, and the hash of its config.json
    known/<owner>--<name>--@<revision>              JSON: the commit that a branch or tag meant, and when

A mirror's names begin with its host. A folder of the Hugging Face Hub without its file in `known`, or that is not what
that file says, is fetched again.
"""

import contextlib
import json
import os
import re
from datetime import UTC, datetime
from urllib.parse import quote

from zoo.cache import cache_folder
from zoo.errors import IntegrityError, StoreError
from zoo.files import make_folder, open_regular, sha256_of, write_json
from zoo.hub import manifest

COMMIT = re.compile(r"[0-9a-f]{40}")
_START = re.compile(r"[0-9a-f]{7,40}")


def models():
    """Returns the folder of the pulled models, which need not exist."""
    return cache_folder("models")


def known():
    """Returns the folder of what is known about them, which need not exist."""
    return cache_folder("known")


def verified(folder, pin, card=None):
    """Returns the `Manifest` of a kept revision, or None where it is absent or not byte for byte as it was pulled.

    Args:
        folder: its `Path`.
        pin: the 40 digits that its `config.json` gives, see `manifest.revision_of`.
        card: `[size, sha256]` of a model card that was edited on the Hub after the push; None where it was not.
    """
    if folder.is_symlink() or not folder.is_dir():
        return None
    try:
        with open_regular(folder / manifest.CONFIG) as file:
            config = file.read(manifest.MAX_CONFIG_BYTES + 1)
        if manifest.revision_of(config) != pin:
            return None
        found = manifest.parse(config, str(folder))
        files = found.files | ({manifest.CARD: tuple(card)} if card else {})
        if {path.name for path in folder.iterdir()} != {manifest.CONFIG, *files}:
            return None
        for name, (size, sha256) in files.items():
            path = folder / name
            if path.is_symlink() or path.stat().st_size != size or sha256_of(path) != sha256:
                return None
    except (OSError, IntegrityError):
        return None
    return found


def used(folder):
    """Records that a kept revision was used now."""
    with contextlib.suppress(OSError):  # a cache that cannot be written serves what it has
        os.utime(folder)


def read_known(name):
    """Returns the dict in a file of `known`, or None where there is none that can be read."""
    try:
        with open_regular(known() / f"{name}.json") as file:
            found = json.loads(file.read(1 << 16))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _write_known(name, value):
    folder = make_folder(known())
    for path in folder.glob(f".{name[:60]}*.zoo-tmp"):  # of a killed writer of this file
        path.unlink(missing_ok=True)
    write_json(folder / f"{name}.json", value)


def record(store, repo, commit, folder, config, card=None, version=None):
    """Records what pins a kept copy of a Hub's commit.

    Args:
        store, repo, commit: where it came from.
        folder: where it is.
        config: the bytes of its `config.json`.
        card: as for `verified`.
        version: of the converter that made it, see `zoo.hub.convert.version`; None for zoo's own.

    Raises:
        StoreError: the cache cannot be written.
    """
    found = {"ref": f"{store.label(repo)}@{commit}", "folder": folder.name, "config": manifest.revision_of(config)}
    _write_known(f"{store.key(repo)}{commit}", found | {"card": card, "version": version})


def record_name(store, repo, commit):
    """Records what a user calls a kept revision of a folder hub, for lists; a cache may be read only."""
    if read_known(commit) is None:
        with contextlib.suppress(StoreError):
            _write_known(commit, {"ref": f"{store.label(repo)}@{commit}", "folder": commit, "config": commit})


def recorded(store, repo, commit):
    """Returns what `record` wrote of a commit, or None."""
    found = read_known(f"{store.key(repo)}{commit}")
    sound = found and isinstance(found.get("folder"), str) and found["folder"].startswith(f"{store.key(repo)}{commit}")
    return found if sound and "/" not in found["folder"] and isinstance(found.get("config"), str) else None


def _named(store, repo, revision):
    return f"{store.key(repo)}@{quote(revision or 'main', safe='')}"


def remember(store, repo, revision, commit):
    """Records the commit that a branch, a tag or the beginning of a commit meant now, for days without network."""
    if not COMMIT.fullmatch(revision or ""):
        with contextlib.suppress(StoreError):
            _write_known(_named(store, repo, revision), {"commit": commit, "seen": _now()})


def remembered(store, repo, revision):
    """Returns `(commit, date)` of what a revision meant when it was last pulled, or None; the date is text."""
    found = read_known(_named(store, repo, revision))
    if found and COMMIT.fullmatch(str(found.get("commit"))) and recorded(store, repo, found["commit"]):
        return found["commit"], str(found.get("seen"))[:10]
    if revision and _START.fullmatch(revision):
        begin = f"{store.key(repo)}{revision}"
        with contextlib.suppress(OSError):
            there = [p for p in known().iterdir() if p.name.startswith(begin) and p.suffix == ".json"]
            if len(there) == 1:
                day = datetime.fromtimestamp(there[0].stat().st_mtime, UTC).date()
                return there[0].stem.removeprefix(store.key(repo)), day.isoformat()
    return None


def _now():
    return datetime.now(UTC).isoformat(timespec="seconds")
