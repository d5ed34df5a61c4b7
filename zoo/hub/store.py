"""Where published models are kept: a small interface, and a folder that implements it.

A folder hub is
    <hub>/<owner>/<name>/revisions/<id>/config.json, model.safetensors, README.md, ...
    <hub>/<owner>/<name>/refs/main       the id that `owner/name` means now
    <hub>/<owner>/<name>/refs/tags/<tag> the id that `owner/name@tag` always means
    <hub>/<owner>/<name>/history.jsonl   one line for each time `main` moved
An id is made of the content (see `zoo.hub.manifest`), so equal content has one id, and a revision never changes. The
replacement of `refs/main` is the moment of publication: before it nobody sees the new revision, after it everybody.
"""

import contextlib
import errno
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from zoo.errors import IntegrityError, StoreError, invalid, unknown
from zoo.files import (
    copy_hashed,
    disk,
    locked,
    make_folder,
    open_regular,
    remove_temporary,
    sha256_of,
    staged_folder,
    store_error,
    write_atomic,
)
from zoo.hub import manifest

_ID = re.compile(r"[0-9a-f]{40}")
_PREFIX = re.compile(r"[0-9a-f]{7,40}")
_TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


class Store(Protocol):
    """What push and pull need of a place that keeps models.

    `content_addressed` says that a commit id is `manifest.revision_of` its `config.json`. `label(repo)` is how a user
    writes the repository.
    """

    content_addressed: bool

    def label(self, repo):
        """Returns the reference of a repository without a revision, as a user writes it."""

    def key(self, repo):
        """Returns what begins the name of every revision of a repository in the cache; empty if ids alone tell."""

    def resolve(self, repo, revision=None):
        """Returns the commit id that a revision (an id, the beginning of one, a tag, "main" or None) means."""

    def files(self, repo, commit):
        """Returns dict, name -> size in bytes, of the files of a commit."""

    def hashes(self, repo, commit):
        """Returns dict, name -> `("sha256" or "git-sha1", hex digits)`, as far as the store itself knows them."""

    def fetch(self, repo, commit, name, destination, limit):
        """Copies one file to a path, at most `limit` + 1 bytes. Returns `(size, sha256)` of what came."""

    def publish(self, repo, files, message=None, parent=None, *, private=None, branch=None, tag=None):
        """Makes one commit of files: dict, name -> path or bytes. Returns `(commit id, whether it is new)`."""

    def history(self, repo):
        """Returns the list of dicts (id, parent, message, created), one for each time `main` moved, oldest first."""


class FolderStore:
    """A folder hub.

    Args:
        root: the hub's folder; created by the first push.
        prefix: what a user writes before a repository's name, when `root` is not the default hub.
    """

    content_addressed = True
    quiet = False

    def __init__(self, root, prefix=""):
        self.root = Path(root)
        self.prefix = prefix

    def label(self, repo):
        return f"{self.prefix}{repo}"

    def key(self, repo):
        return ""

    def hashes(self, repo, commit):
        return {}

    def repos(self):
        """Returns the sorted names of all published repositories; "owner/name" in a hub, "name" in a plain folder."""
        levels = "*" if self.prefix else "*/*"
        return sorted(
            path.parents[1].relative_to(self.root).as_posix() for path in self.root.glob(f"{levels}/refs/main")
        )

    def place(self, repo):
        """Returns the folder of a repository, which need not exist."""
        return self.root / repo

    def exists(self, repo):
        """Says whether anything was published under this name."""
        return (self.place(repo) / "refs" / "main").is_file()

    def _main(self, repo, name="main"):
        """Returns the id that `main`, or another name, means, or None before the first publication."""
        path = self.place(repo) / "refs" / name
        try:
            with open_regular(path) as file:
                found = file.read(64).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise store_error(error, path, "read") from error
        if not _ID.fullmatch(found):
            raise IntegrityError(
                f"{path} does not hold a revision. Received: {found!r}. Write the id of one of the folders in "
                f"{self.place(repo) / 'revisions'} into it."
            )
        return found

    def _revisions(self, repo):
        folder = self.place(repo) / "revisions"
        with disk(folder, "read"):
            return {p.name for p in folder.iterdir() if _ID.fullmatch(p.name)} if folder.is_dir() else set()

    def resolve(self, repo, revision=None):
        if not self.exists(repo):
            elsewhere = "" if self.prefix else f" On the Hugging Face Hub it would be hf://{repo}."
            works = f"The hub is {self.root}.{elsewhere}"
            raise unknown("repository", self.label(repo), map(self.label, self.repos()), works=works)
        if revision in (None, "main"):
            return self._main(repo)
        if _TAG.fullmatch(revision) and (self.place(repo) / "refs" / "tags" / revision).is_file():
            return self._main(repo, f"tags/{revision}")
        known = self._revisions(repo)
        matching = [k for k in known if k.startswith(revision)] if _PREFIX.fullmatch(revision) else []
        if len(matching) > 1:
            raise invalid(f"several revisions of {self.label(repo)} begin so", revision, "Write more digits.")
        if not matching:
            ids = list(dict.fromkeys(entry["id"] for entry in self.history(repo)))[-12:]
            works = "Write at least 7 digits of one that exists."
            raise unknown(f"revision of {self.label(repo)}", revision, ids, works=works)
        return matching[0]

    def _folder(self, repo, commit):
        folder = self.place(repo) / "revisions" / commit
        if folder.is_symlink() or not folder.is_dir():
            raise IntegrityError(
                f"revision {commit[:12]} of {self.label(repo)} is not a folder in {folder.parent}: it was removed or "
                "replaced by a link. Pull another revision, or push it again."
            )
        return folder

    def files(self, repo, commit):
        found = {}
        folder = self._folder(repo, commit)
        with disk(folder, "read"):
            for path in folder.iterdir():
                if path.name.startswith("."):
                    continue  # a file manager's or git's own; never copied
                if path.is_symlink() or not path.is_file():
                    raise self._irregular(repo, commit, path.name)
                found[path.name] = path.stat().st_size
        return dict(sorted(found.items()))

    def _irregular(self, repo, commit, name):
        return IntegrityError(
            f"{name!r} in {self.label(repo)}@{commit[:12]} is a symbolic link, a folder or a device, and only plain "
            "files are read. Nothing was kept. Copy the real file to its place, or push the model again."
        )

    def fetch(self, repo, commit, name, destination, limit):
        path = self._folder(repo, commit) / name
        try:
            return copy_hashed(path, destination, limit)
        except StoreError:
            raise  # of the destination
        except FileNotFoundError:
            raise IntegrityError(
                f"{name} is missing from {self.label(repo)}@{commit[:12]}. Nothing was kept. Pull another revision, "
                "or push the model again."
            ) from None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EINVAL):
                raise self._irregular(repo, commit, name) from error
            raise store_error(error, path, "read") from error

    def publish(self, repo, files, message=None, parent=None, *, private=None, branch=None, tag=None):
        """Publishes one revision; a kill at any moment leaves the old one or the new one, whole.

        Args:
            repo: "owner/name".
            files: dict, name -> path or bytes; `config.json` must list the others.
            message: one line on what changed.
            parent: the id that `main` must still mean; None takes whatever it means.
            private, branch: only the Hugging Face Hub has these; refused here.
            tag: a name that means this revision from now on.

        Returns:
            `(id, created)`; `created` is False when a revision with the same content was there already.

        Raises:
            StoreError: `main` has moved on from `parent`, another process holds the repository, or the disk does not
                allow it; the published revisions are as before.
            IntegrityError: a file is not what `config.json` says; it changed meanwhile.
        """
        self.check_asked(repo, private, branch, tag)
        place = self.place(repo)
        config = files[manifest.CONFIG]
        commit = manifest.revision_of(config)
        listed = manifest.parse(config, self.label(repo)).files
        revisions, refs = make_folder(place / "revisions"), make_folder(place / "refs")
        with locked(place / ".lock"):
            for folder in (place, revisions, refs):
                remove_temporary(folder)  # of writers that were killed
            current = self._main(repo)
            if parent is not None and parent != current:
                raise StoreError(
                    f"{self.label(repo)} has moved on to {current and current[:12]} meanwhile. Nothing was changed. "
                    "Pull it, look at what is new, and push again."
                )
            tagged = self._main(repo, f"tags/{tag}") if tag else None
            if tagged not in (None, commit):
                raise invalid(
                    f"{self.label(repo)} has a tag of this name already, of revision {tagged[:12]}",
                    tag,
                    "Nothing was pushed. Tags do not move: choose another.",
                )
            created = not self._holds(revisions / commit, config, listed)
            if created:
                with staged_folder(revisions / commit) as stage:
                    for name in (manifest.CONFIG, *listed):
                        self._copy(files[name], stage / name, name, listed.get(name))
            if current != commit:
                self._move_main(repo, current, commit, message)
            if tag and tagged is None:
                write_atomic(make_folder(refs / "tags") / tag, commit + "\n")
        return commit, created

    def check_asked(self, repo, private, branch, tag):
        """Refuses options of a push that a folder cannot do."""
        for name, value in (("private", private), ("revision", branch if branch != "main" else None)):
            if value is not None:
                raise invalid(
                    f"`{name}` is for the Hugging Face Hub, and {self.label(repo)} is in a folder",
                    value,
                    f"Leave it out, or push to hf://{repo}.",
                )
        if tag is not None and (not isinstance(tag, str) or not _TAG.fullmatch(tag) or _PREFIX.fullmatch(tag)):
            raise invalid("not a legal name of a tag", tag, "Write letters, digits, '.', '_' and '-', as in v1.0.")

    def _copy(self, source, destination, name, expected):
        if isinstance(source, bytes):
            write_atomic(destination, source)
            return
        try:
            size, sha256 = copy_hashed(source, destination)
        except StoreError:
            raise
        except OSError as error:
            raise store_error(error, source, "read") from error
        manifest.check_copy(name, size, sha256, expected, f"{source}, being pushed,")

    def _holds(self, folder, config, listed):
        """Says whether a revision's folder has exactly these bytes; a damaged one is written anew."""
        names = {p.name for p in folder.iterdir()} if folder.is_dir() and not folder.is_symlink() else set()
        if names != {manifest.CONFIG, *listed} or any((folder / name).is_symlink() for name in names):
            return False
        sizes_agree = all((folder / name).stat().st_size == size for name, (size, _) in listed.items())
        return (
            sizes_agree
            and (folder / manifest.CONFIG).read_bytes() == config
            and all(sha256_of(folder / name) == sha256 for name, (_, sha256) in listed.items())
        )

    def _move_main(self, repo, current, commit, message):
        place = self.place(repo)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        entry = {"id": commit, "parent": current, "message": message, "created": created}
        entries = [*self.history(repo), entry] if current else [entry]
        lines = "".join(json.dumps(e, ensure_ascii=False, sort_keys=True) + "\n" for e in entries)
        write_atomic(place / "history.jsonl", lines)
        write_atomic(place / "refs" / "main", commit + "\n")

    def history(self, repo):
        current = self._main(repo)
        path = self.place(repo) / "history.jsonl"
        try:
            lines = path.read_text("utf-8").splitlines()
        except FileNotFoundError:
            lines = []
        except OSError as error:
            raise store_error(error, path, "read") from error
        entries = []
        for line in lines:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                entries.append({key: entry.get(key) for key in ("id", "parent", "message", "created")})
        # The line is written before `main` moves: one for a move that never came is not history.
        while entries and entries[-1]["id"] != current:
            entries.pop()
        return entries or ([{"id": current, "parent": None, "message": None, "created": None}] if current else [])


class FlatStore(FolderStore):
    """A folder that holds `config.json` and the files themselves: a copy of one revision, to read only."""

    def label(self, repo):
        return str(self.root)

    def exists(self, repo):
        return (self.root / manifest.CONFIG).is_file()

    def resolve(self, repo, revision=None):
        path = self.root / manifest.CONFIG
        try:
            with open_regular(path) as file:
                commit = manifest.revision_of(file.read(manifest.MAX_CONFIG_BYTES + 1))
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EINVAL):
                raise self._irregular(repo, "copy", manifest.CONFIG) from error
            raise store_error(error, path, "read") from error
        if revision in (None, "main") or (_PREFIX.fullmatch(revision) and commit.startswith(revision)):
            return commit
        raise IntegrityError(
            f"{self.root} holds revision {commit}, not {revision}: either its {manifest.CONFIG} was changed or it is "
            "another revision. Nothing was kept. Copy the folder again."
        )

    def _folder(self, repo, commit):
        return self.root

    def publish(self, repo, files, message=None, parent=None, *, private=None, branch=None, tag=None):
        raise invalid(
            f"{self.root} holds one copied model, and can only be read",
            works="Push to owner/name, or to a new folder.",
        )

    def history(self, repo):
        return [{"id": self.resolve(repo), "parent": None, "message": None, "created": None}]
