"""A Hugging Face Hub on the loopback interface, for the unmodified client and zoo; in memory, without Xet.

Written from the Hub's public API (https://huggingface.co/docs/hub/api) as huggingface_hub 2.4 uses it, and from git
LFS's (https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md). As on the Hub, the content of large files lives
elsewhere: a second port plays the object storage, so that redirects, signed addresses and the rule that a token is
never sent there are real. `hub_routes` answers, `hub_repos` keeps, `hub_faults` lists what can go wrong on request.

    def test_it(hub_server):  # the fixture points HF_ENDPOINT, HF_TOKEN, HF_HOME, ... to it
        hub_server.add_repo("timm/net.a1", files={"config.json": b"{}", "model.safetensors": weights})
        hub_server.fault("reset", path="/storage/")
        ...
        assert len(hub_server.seen("/storage/", "GET")) == 2

The user "me" has the tokens `token` (may write to me/ and team/) and `read_token`; `other_token` is somebody else's.
"""

import os
import re
import secrets
import threading

from hub_faults import Faults, flipped
from hub_repos import ATTRIBUTES, Repos
from hub_routes import Handler
from hub_wire import Server


class HubServer:
    """The server and, for tests, the ways to fill it, look at it and break it."""

    def __init__(self):
        self._servers = [self._listen("hub"), self._listen("storage")]
        self.url, self.storage_url = (f"http://127.0.0.1:{s.server_address[1]}" for s in self._servers)
        self.reset()

    def _listen(self, where):
        server = Server(("127.0.0.1", 0), Handler)
        server.hub, server.where = self, where
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return server

    def close(self):
        for server in self._servers:
            server.shutdown()
            server.server_close()

    def reset(self):
        """Forgets everything: a new Hub on the same address, with new tokens."""
        self.lock, self.repos, self.log, self.faults = threading.RLock(), Repos(), [], Faults()
        self.token, self.read_token, self.other_token = (f"hf_{secrets.token_hex(17)}" for _ in range(3))
        me = {"name": "me", "orgs": ["team"]}
        self.tokens = {
            self.token: {**me, "role": "write"},
            self.read_token: {**me, "role": "read"},
            self.other_token: {"name": "stranger", "orgs": [], "role": "write"},
        }
        self.home = None  # HF_HOME of `environment`
        self.cached = False  # whether small files are served from another path, as the Hub does by now
        self.proxied = []  # the hosts that were asked for through this server as a proxy
        self.page_size = 1000  # rows of a listing in one answer
        self.part_size = None  # bytes of one part of an upload; None: every upload in one piece

    def environment(self, **changes):
        """Returns the environment for a subprocess; a value of None removes a variable."""
        found = {**os.environ, **self.settings(), **changes}
        return {name: str(value) for name, value in found.items() if value is not None}

    def settings(self):
        """Returns the variables that point the client to this server."""
        found = {
            "HF_ENDPOINT": self.url,
            "HF_TOKEN": self.token,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "NO_PROXY": "127.0.0.1",
        }
        return found | ({"HF_HOME": str(self.home)} if self.home else {})

    def add_repo(self, name, files=None, private=False, gated=False, title="Add a model"):
        """Creates a repository with one commit of files: dict, path -> bytes or text. Returns the commit's id."""
        with self.lock:
            repo = self.repos.create(name, name.split("/")[0], private, gated)
            return self.add_commit(name, files, title) if files else repo.branches["main"]

    def add_commit(self, name, files, title="Change a model", branch="main"):
        """Commits files (None deletes one), as another user of the repository would. Returns the commit's id."""
        with self.lock:
            repo = self.repos.find(name)
            raw = {path: c.encode() if isinstance(c, str) else c for path, c in files.items()}
            changes = {path: c if c is None else self.repos.stored(path, c) for path, c in raw.items()}
            return self.repos.commit(repo, branch, changes, title).id

    def delete_repo(self, name):
        with self.lock:
            del self.repos.repos[name]

    def rename_repo(self, old, new):
        with self.lock:
            self.repos.move(old, new)

    def commits(self, name, revision="main"):
        """Returns the `Commit`s of a repository, newest first; the last is the Hub's own "initial commit"."""
        return self.repos.find(name).history(revision)

    def files(self, name, revision="main"):
        """Returns dict, path -> bytes, of a revision, without the file that the Hub itself put there."""
        found = self.repos.find(name).resolve(revision).files
        return {path: self.repos.content(file) for path, file in found.items() if path != ATTRIBUTES}

    def corrupt(self, name, path, revision="main"):
        """Damages the stored bytes of a file for good; what the Hub says of them stays."""
        repo = self.repos.find(name)
        file = repo.resolve(revision).files[path]
        if file.sha256:
            self.repos.objects[file.sha256] = flipped(self.repos.objects[file.sha256])
        else:
            self.repos.damaged[file.blob_id] = flipped(file.content)

    def revoke(self, token):
        """Makes a token invalid, as its owner does on the Hub's settings page."""
        del self.tokens[token]

    def fault(self, kind, path="", **options):
        """Switches a fault on for the next `times` requests whose path matches; see `hub_faults`."""
        return self.faults.add(kind, path, **options)

    def seen(self, path="", method=None):
        """Returns the requests so far whose path matches."""
        return [s for s in self.log if re.search(path, s.path) and method in (None, s.method)]
