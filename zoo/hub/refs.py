"""References: what a user writes to mean a published model.

owner/name               the newest revision in the hub that ZOO_HUB names; without ZOO_HUB in the folder ~/.zoo/hub,
                         or, to read, on the Hugging Face Hub where that folder has no such repository
owner/name@1f0c9a7       a pinned revision: its 40 digits, or at least the first 7, or a tag
hf://owner/name          the newest revision on the Hugging Face Hub, whatever ZOO_HUB says
hf://owner/name@v1.0     a tag, a branch or a commit there; 40 digits of a commit always mean the same bytes
./folder, ~/x, /x/y      a repository in a folder, wherever it is, or a copied one: config.json and its files
./folder@1f0c9a7         the same, pinned
zoo://softmax.mnist      the weights of this name that come with zoo; read only
keras.applications/X     the ImageNet weights that Keras publishes for its function X, such as ResNet50; read only

ZOO_HUB is a folder, or `hf://` for the Hugging Face Hub.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import invalid
from zoo.hub.hugging_face import PREFIX, HubStore
from zoo.hub.keras_store import KerasStore
from zoo.hub.manifest import CONFIG
from zoo.hub.shipped import PREFIX as SHIPPED
from zoo.hub.shipped import ShippedStore
from zoo.hub.shipped import parts as shipped_parts
from zoo.hub.store import FlatStore, FolderStore

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_HUB_PART = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_HUB_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,190}")
_HOW = "Write owner/name, owner/name@revision, hf://owner/name, or a folder such as ./name."


@dataclass(frozen=True)
class Reference:
    """A repository in a store, and a revision or None for the newest."""

    store: FolderStore | FlatStore | HubStore | KerasStore
    repo: str
    revision: str | None = None

    def __str__(self):
        return self.store.label(self.repo) + (f"@{self.revision}" if self.revision else "")

    def pinned(self, commit):
        """Returns the reference, as text, that will always mean this commit."""
        return f"{self.store.label(self.repo)}@{commit}"


def hub_folder():
    """Returns the folder hub: what `ZOO_HUB` names if that is a folder, or `~/.zoo/hub`. It need not exist yet."""
    named = os.environ.get("ZOO_HUB")
    return Path("~/.zoo/hub" if not named or _is_hub(named) else named).expanduser()


def _is_hub(named):
    """Says whether ZOO_HUB means the Hugging Face Hub."""
    return named.rstrip("/") in ("hf:", "hf")


def looks_like_path(text):
    """Says whether a reference is written as a path, not as owner/name."""
    marked = text in (".", "..", "~") or text.startswith(("./", "../", "/", "~/"))
    return marked or (os.name == "nt" and (text[1:2] == ":" or "\\" in text))


def is_keras_file(text):
    """Says whether a reference is a file that Keras saved; none is ever read from a Hub."""
    return text.endswith(".keras") and not text.startswith(PREFIX)


def parse(text, reading=False):
    """Returns the `Reference` that a text or a path means.

    `owner/name` is a repository in the hub; only where the hub has none of this name and there is such a folder is it
    that folder.

    Args:
        text: the reference.
        reading: whether it is to be read: only then a bare name may be one of the Hugging Face Hub without ZOO_HUB
            saying so, and what is pushed by a bare name never leaves the machine unasked.

    Raises:
        InvalidArgument: it is not a legal reference.
    """
    is_path = isinstance(text, os.PathLike)
    text = os.fspath(text) if is_path else text
    if not isinstance(text, str) or not text.strip() or any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise invalid("a model's reference must be plain text", text, _HOW)
    if not is_path and text.startswith(PREFIX):
        return _on_hub(text)
    if not is_path and text.startswith(SHIPPED):
        return Reference(ShippedStore(), *shipped_parts(text))
    if "://" in text:
        raise invalid("zoo reads and writes hf:// references and folders, no other addresses", text, _instead(text))
    if is_path or looks_like_path(text):
        return _from_path(text)
    name, at, revision = text.partition("@")
    if at and not revision:
        raise invalid("a reference ends with '@' but gives no revision", text, _HOW)
    if name.startswith(KerasStore.prefix):
        if not reading:
            raise invalid("only Keras publishes keras.applications", text, "Choose an owner of your own.")
        return Reference(KerasStore(), name, revision or None)
    parts = name.split("/")
    legal = len(parts) == 2 and all(_PART.fullmatch(p) and ".." not in p and not p.endswith(".") for p in parts)
    named = os.environ.get("ZOO_HUB")
    if legal and named and _is_hub(named):
        return _on_hub(PREFIX + text)
    store = FolderStore(hub_folder())
    if legal and (store.exists(name) or not _is_repository(Path(name))):
        elsewhere = reading and not named and not store.exists(name)
        if elsewhere and _hub_legal(name) and not Path(name).is_dir():  # a folder that is no repository is no model
            return _on_hub(PREFIX + text, beside=store)
        return Reference(store, name, revision or None)
    if _is_repository(Path(name)) and ".." not in Path(name).parts:
        return _from_path(text)
    raise invalid("not a legal reference to a model", text, _HOW)


def _hub_legal(name):
    parts = name.split("/")
    return len(parts) == 2 and all(_HUB_PART.fullmatch(p) and ".." not in p and "--" not in p for p in parts)


def _on_hub(text, beside=None):
    """Returns the `Reference` of `hf://owner/name[@revision]`."""
    name, at, revision = text.removeprefix(PREFIX).partition("@")
    if not _hub_legal(name):
        works = "Write hf://owner/name or hf://owner/name@revision, as in hf://timm/resnet50.a1_in1k."
        raise invalid("not a legal name on the Hugging Face Hub", text, works)
    if at and (not _HUB_REVISION.fullmatch(revision) or ".." in revision or revision.endswith(("/", ".lock"))):
        raise invalid("not a legal revision", text, "Write a branch, a tag or a commit after the '@'.")
    return Reference(HubStore(beside), name, revision or None)


def _instead(text):
    """Returns what to write instead of the address of a page or an API."""
    parts = [part for part in text.partition("://")[2].split("/") if part][1:3]
    if len(parts) == 2 and _hub_legal("/".join(parts)):
        return f"For a model of the Hugging Face Hub write hf://{'/'.join(parts)}."
    return _HOW


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
