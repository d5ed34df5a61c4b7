"""What a Hub keeps, without the network: repositories with commits, branches and tags, and the content of files.

Small text files are git blobs; weights, other binary files and everything large are kept by their SHA-256 (git LFS),
and git only has a pointer to them: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md. Everything is in memory.
"""

import fnmatch
import hashlib
import itertools
import posixpath
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

# A new repository of the Hub has one commit with this file.
ATTRIBUTES = ".gitattributes"
LFS_PATTERNS = [f"*.{end}" for end in ("safetensors", "bin", "h5", "keras", "npz", "onnx", "pkl", "pt", "pth", "zip")]
LARGE = 10 << 20  # bytes from which a text file goes to LFS as well
_START = datetime(2026, 1, 1, tzinfo=UTC)  # each commit is a second younger than the one before
_POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {}\n"


class Refused(Exception):
    """An answer other than success.

    Args:
        status: of HTTP.
        message: shown to the user.
        code: what the Hub puts into X-Error-Code, or None.
        headers: dict of others.
        body: dict of further fields of the JSON answer.
    """

    def __init__(self, status, message, code=None, headers=None, **body):
        super().__init__(message)
        self.status, self.message, self.code, self.headers, self.body = status, message, code, headers or {}, body


def git_blob_id(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class File:
    """One file of a commit: its `content` in git, or the `sha256` of what the object storage holds."""

    size: int
    content: bytes | None = None
    sha256: str | None = None

    @property
    def pointer(self):
        return _POINTER.format(self.sha256, self.size).encode()

    @property
    def blob_id(self):
        return git_blob_id(self.pointer if self.sha256 else self.content)

    @property
    def etag(self):
        return self.sha256 or self.blob_id


@dataclass(frozen=True)
class Commit:
    """A snapshot of all files: dict, path -> `File`."""

    id: str
    parent: str | None
    title: str
    message: str
    user: str
    date: str
    files: dict


@dataclass
class Repo:
    """A model repository.

    `readers` are the users that may see it although it is private or gated, beside those who may write.
    """

    name: str
    private: bool = False
    gated: str | bool = False
    commits: dict = field(default_factory=dict)
    branches: dict = field(default_factory=dict)
    tags: dict = field(default_factory=dict)
    readers: set = field(default_factory=set)

    def resolve(self, revision):
        """Returns the `Commit` of a branch, a tag, or a whole id; the Hub knows no abbreviated ids."""
        commit = self.branches.get(revision) or self.tags.get(revision) or revision
        if commit not in self.commits:
            raise Refused(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return self.commits[commit]

    def history(self, revision="main"):
        """Returns the commits up to a revision, newest first."""
        found, commit = [], self.resolve(revision)
        while commit:
            found.append(commit)
            commit = self.commits.get(commit.parent)
        return found


class Repos:
    """All repositories, and the object storage that they share: `objects`, dict of SHA-256 -> bytes."""

    def __init__(self):
        self.repos, self.moved, self.objects = {}, {}, {}
        self.damaged = {}  # blob id -> what is served in its place
        self._clock = itertools.count()

    def create(self, name, user, private=False, gated=False):
        """Creates a repository with the one commit that the Hub makes."""
        repo = self.repos[name] = Repo(name, private, "auto" if gated is True else gated)
        self.moved.pop(name, None)  # a new repository takes the name from the one that moved away
        lines = "".join(f"{pattern} filter=lfs diff=lfs merge=lfs -text\n" for pattern in LFS_PATTERNS).encode()
        self.commit(repo, "main", {ATTRIBUTES: File(len(lines), lines)}, "initial commit", user=user, first=True)
        return repo

    def find(self, name):
        """Returns a `Repo`, or None; follows no renaming."""
        return self.repos.get(name)

    def new_name(self, name):
        """Returns what a repository is called now if it was renamed, else None."""
        seen = {name}
        while name in self.moved and self.moved[name] not in seen:
            name = self.moved[name]
            seen.add(name)
        return name if len(seen) > 1 and name in self.repos else None

    def move(self, old, new):
        repo = self.repos.pop(old)
        repo.name = new
        self.repos[new] = repo
        self.moved.pop(new, None)
        self.moved[old] = new

    def stored(self, path, content, attributes=LFS_PATTERNS):
        """Returns the `File` of some bytes, which go to the object storage where the Hub would put them there."""
        if upload_mode(path, len(content), content[:512], attributes) == "regular":
            return File(len(content), content)
        sha256 = hashlib.sha256(content).hexdigest()
        self.objects[sha256] = content
        return File(len(content), sha256=sha256)

    def content(self, file):
        return self.objects[file.sha256] if file.sha256 else file.content

    def commit(self, repo, branch, changes, title, message="", user="somebody", first=False):
        """Adds one commit to a branch: `changes` is a dict, path -> `File`, or None to delete it."""
        parent = None if first else repo.resolve(repo.branches[branch])
        files = {**(parent.files if parent else {}), **changes}
        files = {path: file for path, file in sorted(files.items()) if file is not None}
        second = next(self._clock)
        date = (_START + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        tree = [(path, file.blob_id) for path, file in files.items()]
        text = [repo.name, branch, parent and parent.id, title, message, date, tree]
        commit_id = hashlib.sha1(repr(text).encode()).hexdigest()
        commit = Commit(commit_id, parent and parent.id, title, message, user, date, files)
        repo.commits[commit_id] = commit
        repo.branches[branch] = commit_id
        return commit


def upload_mode(path, size, sample, attributes=LFS_PATTERNS):
    """Returns how the Hub wants a file: "regular" in git, or "lfs" when its name, size or bytes say so."""
    named = any(fnmatch.fnmatch(posixpath.basename(path), pattern) for pattern in attributes)
    return "lfs" if size and (named or size > LARGE or b"\0" in sample) else "regular"


def listing(files, folder="", recursive=False):
    """Returns the rows of a tree: every file below a folder, or those in it and its folders."""
    rows, prefix = {}, f"{folder.strip('/')}/" if folder.strip("/") else ""
    for path, file in files.items():
        if not path.startswith(prefix):
            continue
        inside = path[len(prefix) :].split("/")
        for depth in range(1, len(inside)):
            name = prefix + "/".join(inside[:depth])
            if recursive or depth == 1:
                rows[name] = {"type": "directory", "path": name, "oid": git_blob_id(name.encode()), "size": 0}
        if recursive or len(inside) == 1:
            rows[path] = row(path, file)
    return [rows[name] for name in sorted(rows)]


def row(path, file):
    """Returns what a tree says of one file."""
    found = {"type": "file", "path": path, "oid": file.blob_id, "size": file.size}
    if file.sha256:
        found["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": len(file.pointer)}
    return found


LICENSES = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause
bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-
by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0 cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-
by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0 cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 eupl-1.1 eupl-1.2
agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl lgpl-2.1 lgpl-3.0 isc lppl-1.3c ms-pl mpl-2.0 odc-by odbl openrail++ osl-3.0
postgresql ofl-1.1 ncsa unlicense zlib pddl unknown other
"""


def card_problems(text):
    """Returns `(metadata, errors, warnings)` of a model card, as far as the Hub's documented rules go.

    See https://huggingface.co/docs/hub/repositories-licenses and https://huggingface.co/docs/hub/model-cards.
    """
    import yaml  # the client needs it as well

    parts = text.split("---\n", 2)
    if parts[0] or len(parts) < 3:
        return {}, [], ["empty or missing yaml metadata in repo card"]
    try:
        found = yaml.safe_load(parts[1]) or {}
    except yaml.YAMLError as error:
        return {}, [f"YAML: {error}"], []
    if not isinstance(found, dict):
        return {}, ["the metadata must be a mapping"], []
    errors = []
    licenses = found.get("license", [])
    for license in licenses if isinstance(licenses, list) else [licenses]:
        if license not in LICENSES.split():
            errors.append(f'"license" must be one of the known identifiers, not {license!r}')
    for name in ("tags", "datasets", "metrics"):
        rows = found.get(name, [])
        if not isinstance(rows, (list, str)) or not all(isinstance(row, str) for row in rows):
            errors.append(f'"{name}" must be text or a list of text')
    for name in ("pipeline_tag", "library_name"):
        if not isinstance(found.get(name, ""), str):
            errors.append(f'"{name}" must be text')
    errors += _index_errors(found.get("model-index", []))
    return found, errors, [] if found else ["empty or missing yaml metadata in repo card"]


def _index_errors(index):
    """Returns what is wrong with `model-index`: each result needs its task, data set and metrics."""
    if not isinstance(index, list):
        return ['"model-index" must be an array']
    errors = []
    for i, model in enumerate(index):
        if not isinstance(model, dict) or not isinstance(model.get("name"), str):
            errors.append(f'"model-index[{i}].name" is required')
            continue
        for j, result in enumerate(model.get("results") or []):
            where = f"model-index[{i}].results[{j}]"
            needed = [("task", "type"), ("dataset", "type"), ("dataset", "name")]
            errors += [f'"{where}.{a}.{b}" is required' for a, b in needed if not (result.get(a) or {}).get(b)]
            metrics = result.get("metrics") or []
            sound = all(isinstance(m, dict) and m.get("type") and "value" in m for m in metrics)
            if not metrics or not sound:
                errors.append(f'"{where}.metrics" needs a type and a value of each')
    return errors
