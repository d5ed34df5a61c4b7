"""The Hugging Face Hub as a store, through its own client, `huggingface_hub`, which is imported when first needed.

HF_TOKEN or the stored login, HF_ENDPOINT, HF_HOME, HF_HUB_OFFLINE, HF_HUB_DISABLE_XET, time-outs, certificates and
proxies are the client's; HF_ENDPOINT and HF_HUB_OFFLINE are looked at anew at each call. A revision is a git commit,
and so is what a reference is pinned by.
"""

import os
import re
import warnings
from pathlib import Path

from zoo import __version__
from zoo.errors import IntegrityError, StoreError, UnknownName, invalid, unknown
from zoo.files import disk, sha256_of
from zoo.hub import sending
from zoo.hub.answers import NoAnswer, asked
from zoo.hub.downloading import download

PREFIX = "hf://"
PATIENCE = 300.0  # seconds without a byte before a request is given up; reading has shorter ones of the client
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHORT = re.compile(r"[0-9a-f]{7,39}")
_TRUE = ("1", "ON", "YES", "TRUE")


class HubStore:
    """The Hugging Face Hub, or the mirror that HF_ENDPOINT names.

    Args:
        beside: `FolderStore` in which a bare name was looked for before, for messages.
    """

    content_addressed = False
    prefix = PREFIX

    def __init__(self, beside=None):
        self.beside = beside
        self.quiet = False
        self.agent = {"library_name": "zoo", "library_version": __version__}
        self._infos = {}

    @property
    def endpoint(self):
        """The address that HF_ENDPOINT gives, without a final slash; empty for the Hub itself."""
        return (os.environ.get("HF_ENDPOINT") or "").rstrip("/")

    @property
    def offline(self):
        """Whether HF_HUB_OFFLINE forbids every request."""
        return any(os.environ.get(name, "").upper() in _TRUE for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))

    def label(self, repo):
        return f"{PREFIX}{repo}"

    def key(self, repo):
        """Returns what begins the name of each revision of a repository in the cache; a mirror has its own."""
        host = re.sub(r"[^A-Za-z0-9.]+", "-", self.endpoint.partition("://")[2])
        return f"{host and host + '--'}{repo.replace('/', '--')}--"

    def api(self):
        """Returns the client. It finds the token itself, at each request, and waits no longer than `PATIENCE`."""
        from huggingface_hub import HfApi, get_session

        session = get_session()
        if session.timeout.read is None:  # the client's own choice: a push to a Hub that falls silent would never end
            session.timeout = PATIENCE
        return HfApi(endpoint=self.endpoint or None, **self.agent)

    def ask(self, repo, call, doing="read", revision=None, tries=3):
        """Returns what `call(client)` returns; errors are worded."""
        where = self.label(repo) + (f"@{revision}" if revision else "")
        if self.offline:
            raise NoAnswer(f"{where} was not asked for: HF_HUB_OFFLINE is set. Unset it to use the network.")
        return asked(lambda: call(self.api()), where, doing, tries=tries)

    def _info(self, repo, revision=None):
        """Returns the client's `ModelInfo` of a revision, with sizes and hashes of its files."""
        from huggingface_hub import constants

        if (repo, revision) not in self._infos:
            options = {"revision": revision, "files_metadata": True, "timeout": constants.HF_HUB_ETAG_TIMEOUT}
            found = self.ask(repo, lambda api: api.model_info(repo, **options), revision=revision)
            if not _COMMIT.fullmatch(found.sha or ""):
                raise IntegrityError(f"the answer about {self.label(repo)} names no commit. HF_ENDPOINT may be wrong.")
            if found.id and found.id != repo:
                warnings.warn(f"{self.label(repo)} is now called {self.label(found.id)}. Use that name.", stacklevel=6)
            if _COMMIT.fullmatch(revision or "") and found.sha != revision:
                raise IntegrityError(f"{self.label(repo)}@{revision[:12]} was asked for, and {found.sha[:12]} came.")
            self._infos[repo, found.sha] = found
            return found
        return self._infos[repo, revision]

    def resolve(self, repo, revision=None):
        """Returns the commit, 40 digits, that a branch, a tag, a commit or the beginning of one means now.

        Raises:
            UnknownName: there is no such repository or revision.
            NoAnswer: the Hub cannot be asked.
            StoreError: the Hub refuses, see `zoo.hub.answers`.
        """
        if _COMMIT.fullmatch(revision or ""):
            return revision
        try:
            return self._info(repo, revision).sha
        except UnknownName as error:
            if revision and _SHORT.fullmatch(revision):
                return self._lengthened(repo, revision)
            raise self._with_beside(repo, revision, error) from None
        except NoAnswer as error:
            raise self._with_beside(repo, revision, error) from None

    def _lengthened(self, repo, short):
        commits = self.ask(repo, lambda api: [c.commit_id for c in api.list_repo_commits(repo)])
        found = [c for c in commits if c.startswith(short)]
        if len(found) > 1:
            raise invalid(f"several commits of {self.label(repo)} begin so", short, "Write more digits.")
        if not found:
            raise unknown(f"revision of {self.label(repo)}", short, commits[:12])
        return found[0]

    def _with_beside(self, repo, revision, error):
        """Returns the error with the names that exist, or the word that the folder hub has no such name either."""
        if revision and type(error) is UnknownName:
            try:
                refs = self.ask(repo, lambda api: api.list_repo_refs(repo), tries=1)
            except (UnknownName, StoreError):
                return error  # the repository itself is missing
            names = [ref.name for ref in (*refs.branches, *refs.tags)]
            works = "Write a branch, a tag, or at least 7 digits of a commit."
            return unknown(f"revision of {self.label(repo)}", revision, names, works=works)
        if self.beside is None:
            return error
        known = self.beside.repos()
        nearest = unknown(
            "repository", repo, known, works=f"The folder hub is {self.beside.root}; no folder is called so."
        )
        return type(error)(f"{nearest} And {error}")

    def hashes(self, repo, commit):
        found = {}
        for file in self._info(repo, commit).siblings or ():
            found[file.rfilename] = ("sha256", file.lfs.sha256) if file.lfs else ("git-sha1", file.blob_id)
        return found

    def files(self, repo, commit):
        files = self._info(repo, commit).siblings or ()
        sizes = {file.rfilename: file.lfs.size if file.lfs else file.size for file in files}
        odd = [name for name, size in sizes.items() if type(size) is not int or size < 0]
        if odd:
            raise IntegrityError(f"the Hub gives no size for {odd[0]!r} of {self.label(repo)}@{commit[:12]}.")
        return dict(sorted(sizes.items()))

    def fetch(self, repo, commit, name, destination, limit):
        """Brings one file here, compared with the hash that the Hub lists; see `zoo.hub.downloading.download`.

        Returns:
            `(size, sha256)` of it.

        Raises:
            IntegrityError: it is missing, larger than `limit` bytes, or not what the Hub lists.
            NoAnswer, StoreError: as `download`.
        """
        destination = Path(destination)
        known = self.hashes(repo, commit).get(name)
        where = f"{self.label(repo)}@{commit[:12]}"
        if known is None:
            raise IntegrityError(f"{name} is missing from {where}. Nothing was kept. Pull another revision.")
        size = self.files(repo, commit)[name]
        if size > limit:
            raise IntegrityError(
                f"{name} of {where} has {size:,} bytes, and no more than {limit:,} were expected. Nothing was fetched. "
                "Pull another revision, or ask whoever published it."
            )
        if known[0] == "sha256" and not re.fullmatch(r"[0-9a-f]{64}", known[1] or ""):
            raise IntegrityError(f"the Hub gives no sound hash for {name} of {where}.")
        with disk(destination, kept="Nothing else was changed."):
            download(self, repo, commit, name, destination, size, known)
        return size, known[1] if known[0] == "sha256" else sha256_of(destination)

    def read(self, repo, commit, name, limit):
        """Returns the checked content of a small file, `limit` bytes at most; None where there is no such file."""
        import tempfile

        if name not in self.hashes(repo, commit):
            return None
        with disk(tempfile.gettempdir(), kept=""), tempfile.TemporaryDirectory(prefix="zoo-hub-") as folder:
            self.fetch(repo, commit, name, Path(folder) / "file", limit)
            return (Path(folder) / "file").read_bytes()

    def history(self, repo, revision=None):
        """Returns the list of dicts (id, parent, message, created) of the commits of a branch, oldest first."""
        commits = self.ask(repo, lambda api: api.list_repo_commits(repo, revision=revision), revision=revision)[::-1]
        parents = [None, *(c.commit_id for c in commits)]
        return [
            {"id": c.commit_id, "parent": parent, "message": c.title, "created": c.created_at.isoformat()}
            for c, parent in zip(commits, parents, strict=False)
        ]

    def head(self, repo, branch=None):
        """Returns the commit that a branch is at; None where there is no such repository or branch yet."""
        try:
            return self._info(repo, branch).sha
        except UnknownName:
            return None

    def is_private(self, repo, commit):
        """Says whether only some accounts see a repository."""
        return bool(self._info(repo, commit).private)

    def changes(self, repo, commit, files):
        """Returns `(names whose content differs from a commit, names that only the commit's manifest has)`, see
        `zoo.hub.sending.changes`.
        """
        return sending.changes(self, repo, commit, files)

    def publish(self, repo, files, message=None, parent=None, *, private=None, branch=None, tag=None):
        """Makes one commit of the files that changed, see `zoo.hub.sending.publish`."""
        return sending.publish(self, repo, files, message, parent, private=private, branch=branch, tag=tag)
