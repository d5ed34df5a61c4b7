"""What a push would change in a repository, file by file, before anything is sent."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import IntegrityError, UnknownName
from zoo.files import disk, open_regular
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
        branch: or None for the main one.
        files: dict, name -> path or bytes.

    Returns:
        `Changes`.
    """
    base = _base(store, repo, branch)
    there = store.files(repo, base) if base else {}
    hashes = _hashes(store, repo, base) if base else {}
    found = []
    for name, source in files.items():
        bytes = _size(source)
        if name not in there:
            state = "new"
        else:
            same = there[name] == bytes and name in hashes and digest(source, hashes[name][0]) == hashes[name][1]
            state = "same" if same else "changed"
        found.append(Change(name, bytes, state))
    gone = [name for name in there if name not in files and not name.startswith(".")]  # .gitattributes is the Hub's
    found += [Change(name, there[name], "removed") for name in gone]
    label = store.label(repo) + (f"@{branch}" if branch else "")
    return Changes(label, base, tuple(sorted(found, key=lambda f: (STATES.index(f.state), f.name))))


def _base(store, repo, branch):
    for revision in dict.fromkeys((branch, None)):  # a new branch begins where the main one is
        try:
            return store.resolve(repo, revision)
        except UnknownName:
            continue
    return None


def _hashes(store, repo, commit):
    """Returns dict, name -> (kind, digest) of the files of a commit; a folder hub has them in its `config.json`."""
    known = store.hashes(repo, commit)
    if known or not store.content_addressed:
        return known
    with tempfile.TemporaryDirectory(prefix="zoo-push-") as own:
        path = Path(own) / manifest.CONFIG
        try:
            _, sha256 = store.fetch(repo, commit, manifest.CONFIG, path, manifest.MAX_CONFIG_BYTES)
            listed = manifest.parse(path.read_bytes(), store.label(repo)).files
        except IntegrityError:
            return {}  # it is damaged: the push that follows mends it
    return {name: ("sha256", digest) for name, (_, digest) in listed.items()} | {manifest.CONFIG: ("sha256", sha256)}


def _size(source):
    if isinstance(source, bytes):
        return len(source)
    with disk(source, "read"):
        return Path(source).stat().st_size


def digest(source, kind):
    """Returns the hash of a file to publish, hex digits: "sha256", or "git-sha1" as git names its content."""
    running = hashlib.sha256() if kind == "sha256" else hashlib.sha1(b"blob %d\0" % _size(source))
    if isinstance(source, bytes):
        running.update(source)
        return running.hexdigest()
    with disk(source, "read"), open_regular(source) as file:
        while block := file.read(1 << 20):
            running.update(block)
    return running.hexdigest()
