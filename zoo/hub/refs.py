"""References: what a user writes to mean a published model.

owner/name               the newest revision in the hub, the folder that ZOO_HUB names (by default ~/.zoo/hub)
owner/name@1f0c9a7       a pinned revision: its 40 digits, or at least the first 7
./folder, ~/x, /x/y      a repository in a folder, wherever it is, or a copied one: config.json and its files
./folder@1f0c9a7         the same, pinned
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import invalid
from zoo.hub.manifest import CONFIG
from zoo.hub.store import FlatStore, FolderStore

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_HOW = "Write owner/name, owner/name@revision, or a folder such as ./name."


@dataclass(frozen=True)
class Reference:
    """A repository in a store, and a revision or None for the newest."""

    store: FolderStore
    repo: str
    revision: str | None = None

    def __str__(self):
        return self.store.label(self.repo) + (f"@{self.revision}" if self.revision else "")

    def pinned(self, commit):
        """Returns the reference, as text, that will always mean this commit."""
        return f"{self.store.label(self.repo)}@{commit}"


def hub_folder():
    """Returns the hub's folder: the environment variable `ZOO_HUB`, or `~/.zoo/hub`. It need not exist yet."""
    return Path(os.environ.get("ZOO_HUB") or "~/.zoo/hub").expanduser()


def looks_like_path(text):
    """Says whether a reference is written as a path, not as owner/name."""
    marked = text in (".", "..", "~") or text.startswith(("./", "../", "/", "~/"))
    return marked or (os.name == "nt" and (text[1:2] == ":" or "\\" in text))


def parse(text):
    """Returns the `Reference` that a text or a path means.

    `owner/name` is a repository in the hub; only where the hub has none of this name and there is such a folder is it
    that folder.

    Raises:
        InvalidArgument: it is not a legal reference.
    """
    is_path = isinstance(text, os.PathLike)
    text = os.fspath(text) if is_path else text
    if not isinstance(text, str) or not text.strip() or any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise invalid("a model's reference must be plain text", text, _HOW)
    if "://" in text:
        raise invalid(
            "this version of zoo reads and writes folder hubs, not addresses",
            text,
            "Download the repository with the Hub's own tool and give its folder, or write owner/name for a model in "
            "the folder hub.",
        )
    if is_path or looks_like_path(text):
        return _from_path(text)
    name, at, revision = text.partition("@")
    if at and not revision:
        raise invalid("a reference ends with '@' but gives no revision", text, _HOW)
    parts = name.split("/")
    legal = len(parts) == 2 and all(_PART.fullmatch(p) and ".." not in p and not p.endswith(".") for p in parts)
    store = FolderStore(hub_folder())
    if legal and (store.exists(name) or not _is_repository(Path(name))):
        return Reference(store, name, revision or None)
    if _is_repository(Path(name)) and ".." not in Path(name).parts:
        return _from_path(text)
    raise invalid("not a legal reference to a model", text, _HOW)


def _is_repository(path):
    return (path / "refs" / "main").is_file() or (path / CONFIG).is_file()


def _from_path(text):
    path, revision = Path(text).expanduser(), None
    if not path.exists() and "@" in path.name:
        stem, _, revision = text.rpartition("@")
        path = Path(stem).expanduser()
        if not revision:
            raise invalid("a reference ends with '@' but gives no revision", text, _HOW)
    path = path.absolute() if ".." not in path.parts else path.resolve()
    if not path.name:
        raise invalid("a repository needs a folder of its own", text, _HOW)
    if (path / CONFIG).is_file() and not (path / "refs").is_dir():
        return Reference(FlatStore(path), path.name, revision)
    return Reference(FolderStore(path.parent, prefix=f"{path.parent}{os.sep}"), path.name, revision)
