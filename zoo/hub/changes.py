"""What a push would change in a repository, file by file, before anything is sent."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import IntegrityError
from zoo.files import disk, sha256_of
from zoo.hub import manifest
from zoo.hub.wording import size

STATES = ("new", "changed", "same", "removed")


@dataclass(frozen=True)
class Change:
    """One file of a push: its name, size in bytes (of a removed one, of what goes), and one of `STATES`."""

    name: str
    size: int
    state: str


@dataclass(frozen=True)
class Changes:
    """What a push sends.

    Attributes:
        target: the repository, and the branch where one was asked for, as a user writes it.
        base: the commit that it is compared with, or None where there is none yet.
        files: a `Change` for every file, those to send first.
    """

    target: str
    base: str | None
    files: tuple

    @property
    def upload(self):
        """The bytes to send."""
        return sum(f.size for f in self.files if f.state in ("new", "changed"))

    @property
    def nothing(self):
        """Whether the repository holds exactly this already."""
        return self.base is not None and all(f.state == "same" for f in self.files)

    def lines(self):
        """Yields the lines that tell a person: the target, each file, the sum."""
        yield self.target + ("" if self.base else " (new)")
        width = max(len(f.name) for f in self.files)
        for file in self.files:
            yield f"  {file.state:7}  {file.name:{width}}  {size(file.size):>8}"
        counts = {state: sum(f.state == state for f in self.files) for state in STATES}
        words = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
        yield f"{words}; {'nothing' if self.nothing else size(self.upload)} to upload"

    def __str__(self):
        return "\n".join(self.lines())


def changes(store, repo, branch, files):
    """Compares files with what a repository holds; asks for names, sizes and hashes, never for the files.

    Args:
        store: a `zoo.hub.store.Store`.
        repo: its repository, which need not exist.
        branch: of the Hugging Face Hub, or None for the main one; one that does not exist begins where `main` is.
        files: dict, name -> path or bytes.

    Returns:
        `Changes`.
    """
    compared = _in_folder if store.content_addressed else _on_hub
    base, there, sent, gone = compared(store, repo, branch, files)
    found = [Change(name, _size(source), _state(name, there, sent)) for name, source in files.items()]
    found += [Change(name, there[name], "removed") for name in gone]
    label = store.label(repo) + (f"@{branch}" if branch else "")
    return Changes(label, base, tuple(sorted(found, key=lambda f: (STATES.index(f.state), f.name))))


def _state(name, there, sent):
    return "same" if name not in sent else "changed" if name in there else "new"


def _on_hub(store, repo, branch, files):
    """Returns `(commit, sizes there, names to send, names that go)`, just as the push will find them."""
    base = (store.head(repo, branch) if branch else None) or store.head(repo)
    sent, gone = store.changes(repo, base, files)
    return base, store.files(repo, base) if base else {}, sent, gone


def _in_folder(store, repo, branch, files):
    """Returns the same of a folder hub, whose `config.json` has every hash."""
    if not store.exists(repo):
        return None, {}, list(files), []
    base = store.resolve(repo)
    try:
        listed, there = _listed(store, repo, base), store.files(repo, base)
    except IntegrityError:
        return base, {}, list(files), []  # it is damaged, and written anew as a whole
    sent = [name for name, source in files.items() if listed.get(name) != measured(source)]
    return base, there, sent, [name for name in there if name not in files]


def _listed(store, repo, commit):
    """Returns dict, name -> (size, sha256) of a revision's files, as its `config.json` lists them."""
    with tempfile.TemporaryDirectory(prefix="zoo-push-") as own:
        path = Path(own) / manifest.CONFIG
        config = store.fetch(repo, commit, manifest.CONFIG, path, manifest.MAX_CONFIG_BYTES)
        return {**manifest.parse(path.read_bytes(), store.label(repo)).files, manifest.CONFIG: config}


def _size(source):
    if isinstance(source, bytes):
        return len(source)
    with disk(source, "read"):
        return Path(source).stat().st_size


def measured(source):
    """Returns `(size, sha256)` of a file to publish."""
    if isinstance(source, bytes):
        return len(source), hashlib.sha256(source).hexdigest()
    with disk(source, "read"):
        return _size(source), sha256_of(source)
