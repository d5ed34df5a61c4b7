"""What the loopback Hub answers: one method for each route of the Hub's API, of git LFS, and of the object storage."""

import base64
import hashlib
import json
import re
import secrets
from urllib.parse import parse_qs, quote

from hub_repos import File, Refused, card_problems, git_blob_id, listing, upload_mode
from hub_wire import Answer, Wire, route


class Handler(Wire):
    """The routes, and who may use them."""

    # Who asks, and what he may.

    def _user(self):
        """Returns the user of the token; None without one."""
        token = self._token()
        if token is not None and token not in self.hub.tokens:
            raise Refused(401, "Invalid credentials in Authorization header")
        return self.hub.tokens.get(token)

    def _owns(self, user, name):
        return bool(user) and name.split("/")[0] in (user["name"], *user["orgs"])

    def _writer(self, name):
        """Returns the user if he may write to a repository or namespace."""
        user = self._user()
        if user is None:
            raise Refused(401, "Invalid username or password.")
        if not self._owns(user, name):
            raise Refused(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")
        if user["role"] != "write":
            raise Refused(403, "Forbidden: you must use a write token to upload to a repository.")
        return user

    def _repo(self, name, write=False):
        """Returns the repository that a request means; a missing one looks like one that he may not see."""
        user, repo = self._user(), self.hub.repos.find(name)
        new = None if repo else self.hub.repos.new_name(name)
        if new:
            raise Refused(307, "Moved", headers={"Location": self.path.replace(name, new, 1)})
        may_see = repo and (not repo.private or self._owns(user, name) or (user and user["name"] in repo.readers))
        if not may_see:
            if user is None:
                raise Refused(401, "Invalid username or password.", "RepoNotFound")
            raise Refused(404, "Repository not found", "RepoNotFound")
        if write:
            self._writer(name)
        return repo

    # Users and repositories.

    @route("GET", "/api/whoami-v2")
    def whoami(self):
        user = self._user()
        if user is None:
            raise Refused(401, "Invalid username or password.")
        role = {"displayName": "tests", "role": user["role"]}
        orgs = [{"type": "org", "name": name, "roleInOrg": "write"} for name in user["orgs"]]
        auth = {"type": "access_token", "accessToken": role}
        return {"type": "user", "id": user["name"], "name": user["name"], "orgs": orgs, "auth": auth}

    @route("POST", "/api/repos/create")
    def create(self):
        asked, user = self._json(), self._user()
        name = f"{asked.get('organization') or (user or {}).get('name')}/{asked['name']}"
        user = self._writer(name)
        if self.hub.repos.find(name):
            raise Refused(409, "You already created this model repo", url=f"{self.hub.url}/{name}")
        if asked.get("type", "model") != "model" or not re.fullmatch(r"[\w.-]{1,96}", asked["name"]):
            raise Refused(400, "Invalid repo name or type")
        private = asked.get("private") or asked.get("visibility") == "private"
        self.hub.repos.create(name, user["name"], bool(private))
        return {"url": f"{self.hub.url}/{name}", "name": name, "id": git_blob_id(name.encode())[:24]}

    @route("DELETE", "/api/repos/delete")
    def delete(self):
        asked = self._json()
        name = f"{asked.get('organization') or self._user()['name']}/{asked['name']}"
        self._repo(name, write=True)
        self.hub.delete_repo(name)
        return Answer(b"OK", headers={"Content-Type": "text/plain"})

    @route("POST", "/api/repos/move")
    def move(self):
        asked = self._json()
        self._repo(asked["fromRepo"], write=True)
        self._writer(asked["toRepo"])
        if self.hub.repos.find(asked["toRepo"]):
            raise Refused(409, "There is already a repo of this name")
        self.hub.rename_repo(asked["fromRepo"], asked["toRepo"])
        return Answer(b"OK", headers={"Content-Type": "text/plain"})

    @route("POST", "/api/validate-yaml")
    def validate_yaml(self):
        _, errors, warnings = card_problems(self._json()["content"])
        rows = {"errors": [{"message": m} for m in errors], "warnings": [{"message": m} for m in warnings]}
        return Answer(rows, 400 if errors else 200)

    @route("GET", "/api/models")
    def models(self):
        user, wanted, author = self._user(), self.query.get("search", "").lower(), self.query.get("author")
        found = [r for n, r in sorted(self.hub.repos.repos.items()) if wanted in n.lower()]
        found = [r for r in found if author in (None, r.name.split("/")[0])]
        return self._page([self._summary(r) for r in found if not r.private or self._owns(user, r.name)])

    def _summary(self, repo):
        return {"id": repo.name, "modelId": repo.name, "private": repo.private, "tags": [], "downloads": 0, "likes": 0}

    @route("GET", "/api/models/{repo}(/revision/{rev})?")
    def info(self, repo, rev):
        repo = self._repo(repo)
        commit = repo.resolve(rev or "main")
        card = commit.files.get("README.md")
        metadata = card_problems(self.hub.repos.content(card).decode("utf-8", "replace"))[0] if card else {}
        files = [self._sibling(path, file) for path, file in commit.files.items()]
        dates = {"lastModified": commit.date, "createdAt": repo.history()[-1].date}
        tags = metadata.get("tags") if isinstance(metadata.get("tags"), list) else []
        known = {k: metadata[k] for k in ("library_name", "pipeline_tag", "model-index") if k in metadata}
        gates = {"gated": repo.gated, "disabled": False, "author": repo.name.split("/")[0], "cardData": metadata}
        return {**self._summary(repo), **dates, **known, **gates, "sha": commit.id, "tags": tags, "siblings": files}

    def _sibling(self, path, file):
        found = {"rfilename": path}
        if self.query.get("blobs", "").lower() in ("1", "true"):
            found |= {"size": file.size, "blobId": file.blob_id}
            if file.sha256:
                found["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": len(file.pointer)}
        return found

    @route("PUT", "/api/models/{repo}/settings")
    def settings(self, repo):
        asked, repo = self._json(), self._repo(repo, write=True)
        repo.private = asked.get("visibility", "private" if repo.private else "public") == "private"
        repo.gated = asked.get("gated", repo.gated)
        return {"private": repo.private, "gated": repo.gated}

    @route("GET", "/api/models/{repo}/auth-check(?P<write>/write)?")
    def auth_check(self, repo, write):
        self._check_gate(self._repo(repo, write=bool(write)))
        return {}

    # Branches, tags, history.

    @route("GET", "/api/models/{repo}/refs")
    def refs(self, repo):
        repo = self._repo(repo)
        kinds = {"branches": ("heads", repo.branches), "tags": ("tags", repo.tags)}
        rows = {
            kind: [{"name": n, "ref": f"refs/{folder}/{n}", "targetCommit": c} for n, c in sorted(refs.items())]
            for kind, (folder, refs) in kinds.items()
        }
        return {**rows, "converts": [], "pullRequests": []}

    @route("GET", "/api/models/{repo}/commits/{rev}")
    def history(self, repo, rev):
        rows = self._repo(repo).history(rev)
        who = [{"user": c.user} for c in rows]
        return self._page(
            [
                {"id": c.id, "title": c.title, "message": c.message, "authors": [w], "date": c.date}
                for c, w in zip(rows, who, strict=True)
            ]
        )

    @route("POST DELETE", "/api/models/{repo}/branch/{rev}")
    def branch(self, repo, rev):
        repo = self._repo(repo, write=True)
        start = None if self.command == "DELETE" else self._json().get("startingPoint", "main")
        return self._reference(repo, repo.branches, rev, start)

    @route("POST DELETE", "/api/models/{repo}/tag/{rev}")
    def tag(self, repo, rev):
        repo = self._repo(repo, write=True)
        if self.command == "DELETE":
            return self._reference(repo, repo.tags, rev, None)
        return self._reference(repo, repo.tags, self._json()["tag"], rev)

    def _reference(self, repo, refs, name, start):
        if start is None:
            if name not in refs:
                raise Refused(404, f"Reference doesn't exist: {name}", "RevisionNotFound")
            if name == "main":
                raise Refused(403, "The main branch cannot be deleted")
            del refs[name]
        else:
            if name in refs:
                raise Refused(409, f"Reference already exists: {name}")
            refs[name] = repo.resolve(start).id
        return Answer(b"", headers={"Content-Type": "text/plain"})

    # Listing files.

    @route("GET", "/api/models/{repo}/tree/{rev}(/{path})?")
    def tree(self, repo, rev, path):
        repo = self._repo(repo)
        commit = repo.resolve(rev)
        rows = listing(commit.files, path or "", self.query.get("recursive", "").lower() in ("1", "true"))
        if path and not rows:
            raise Refused(404, f"{path} does not exist on {rev!r}", "EntryNotFound", {"X-Repo-Commit": commit.id})
        return self._page(rows)

    @route("POST", "/api/models/{repo}/paths-info/{rev}")
    def paths_info(self, repo, rev):
        files = self._repo(repo).resolve(rev).files
        wanted = parse_qs(self.body.decode()).get("paths", [])
        rows = {r["path"]: r for r in listing(files, recursive=True)}
        return [rows[path] for path in wanted if path in rows]

    # Sending files: ask how, put large ones into the storage, then commit.

    @route("POST", "/api/models/{repo}/preupload/{rev}")
    def preupload(self, repo, rev):
        repo = self._repo(repo, write=True)
        if rev not in repo.branches:
            raise Refused(404, f"Invalid rev id: {rev}", "RevisionNotFound")
        files, rows = repo.resolve(rev).files, []
        for asked in self._json()["files"]:
            mode = upload_mode(asked["path"], asked["size"], base64.b64decode(asked["sample"]))
            old = files.get(asked["path"])
            found = {"path": asked["path"], "uploadMode": mode, "shouldIgnore": False}
            rows.append({**found, "oid": old.etag} if old else found)
        return {"files": rows, "commitOid": repo.branches[rev]}

    @route("POST", "/{repo}[.]git/info/lfs/objects/batch")
    def batch(self, repo):
        self._repo(repo, write=True)
        asked, rows = self._json(), []
        parts = self.hub.part_size if "multipart" in asked.get("transfers", []) else None
        for entry in asked["objects"]:
            oid, size = entry["oid"], entry["size"]
            found = {"oid": oid, "size": size}
            if oid not in self.hub.repos.objects:
                upload = {"href": f"{self.hub.storage_url}/storage/{oid}?signature={secrets.token_hex(8)}"}
                if parts and size > parts:
                    urls = {
                        f"{i + 1:05}": f"{self.hub.storage_url}/storage/{oid}/{i + 1}" for i in range(-(-size // parts))
                    }
                    href = f"{self.hub.url}/{repo}.git/info/lfs/objects/complete?oid={oid}"
                    upload = {"href": href, "header": {"chunk_size": str(parts), **urls}}
                verify = {"href": f"{self.hub.url}/{repo}.git/info/lfs/objects/verify"}
                found["actions"] = {"upload": upload, "verify": verify}
            rows.append(found)
        return {"transfer": "multipart" if parts else "basic", "objects": rows}

    @route("PUT", r"/storage/(?P<oid>\w{64})(/(?P<part>\d+))?", where="storage")
    def store(self, oid, part):
        self._no_token()
        if part:
            self.hub.repos.objects[oid, int(part)] = self.body
        elif hashlib.sha256(self.body).hexdigest() != oid:
            raise Refused(400, "XAmzContentSHA256Mismatch")
        else:
            self.hub.repos.objects[oid] = self.body
        return Answer(b"", headers={"ETag": f'"{hashlib.md5(self.body).hexdigest()}"'})

    @route("POST", "/{repo}[.]git/info/lfs/objects/complete")
    def complete(self, repo):
        asked, objects = self._json(), self.hub.repos.objects
        parts = [objects.pop((asked["oid"], row["partNumber"]), b"") for row in asked["parts"]]
        if hashlib.sha256(b"".join(parts)).hexdigest() != asked["oid"]:
            raise Refused(400, "The parts do not have the announced SHA-256")
        objects[asked["oid"]] = b"".join(parts)
        return {}

    @route("POST", "/{repo}[.]git/info/lfs/objects/verify")
    def verify(self, repo):
        self._repo(repo, write=True)
        asked = self._json()
        if len(self.hub.repos.objects.get(asked["oid"], b"")) != asked["size"]:
            raise Refused(422, "The uploaded object is not there, or of another size")
        return {}

    @route("POST", "/api/models/{repo}/commit/{rev}")
    def commit(self, repo, rev):
        repo, user = self._repo(repo, write=True), self._user()
        if self.query.get("create_pr") == "1":
            raise Refused(403, "Discussions are disabled for this repo")
        if rev not in repo.branches:
            raise Refused(404, f"Invalid rev id: {rev}", "RevisionNotFound")
        rows = [json.loads(line) for line in self.body.splitlines() if line.strip()]
        head, changes = rows[0]["value"], {}
        if head.get("parentCommit") not in (None, repo.branches[rev]):
            raise Refused(412, "A commit has happened since. Please refresh and try again.")
        files = repo.resolve(rev).files
        for entry in rows[1:]:
            changes |= self._change(entry["key"], entry["value"], files)
        made = self.hub.repos.commit(repo, rev, changes, head["summary"], head["description"], user["name"])
        where = f"{self.hub.url}/{repo.name}/commit/{made.id}"
        return {"success": True, "commitOid": made.id, "commitUrl": where, "hookOutput": ""}

    def _change(self, key, value, files):
        """Returns dict, path -> `File` or None, of one line of a commit."""
        path = value["path"]
        if key == "file":
            content = base64.b64decode(value["content"])
            return {path: File(len(content), content)}
        if key == "lfsFile":
            stored = self.hub.repos.objects.get(value["oid"])
            if stored is None:
                raise Refused(400, f"Your push was rejected because an LFS pointer pointed to a missing file: {path}")
            return {path: File(len(stored), sha256=value["oid"])}
        gone = [p for p in files if p == path or (key == "deletedFolder" and p.startswith(f"{path.rstrip('/')}/"))]
        if key not in ("deletedFile", "deletedFolder") or not gone:
            raise Refused(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
        return dict.fromkeys(gone)

    # Fetching files.

    def _check_gate(self, repo):
        user = self._user()
        if repo.gated and not self._owns(user, repo.name) and not (user and user["name"] in repo.readers):
            wrong = f"Access to model {repo.name} is restricted"
            if user is None:
                raise Refused(
                    401, f"{wrong}. You must have access to it and be authenticated. Please log in.", "GatedRepo"
                )
            raise Refused(403, f"{wrong} and you are not in the authorized list.", "GatedRepo")

    @route("GET HEAD", "/api/resolve-cache/models/{repo}/{rev}/{path}")
    @route("GET HEAD", "/{repo}/resolve/{rev}/{path}")
    def resolve(self, repo, rev, path):
        repo = self._repo(repo)
        self._check_gate(repo)
        commit = repo.resolve(rev)
        file, headers = commit.files.get(path), {"X-Repo-Commit": commit.id, "Accept-Ranges": "bytes"}
        if file is None:
            raise Refused(404, "Entry not found", "EntryNotFound", headers)
        headers["ETag"] = f'"{file.etag}"'
        if file.sha256 is None and self.hub.cached and not self.path.startswith("/api/"):
            where = f"/api/resolve-cache/models/{repo.name}/{commit.id}/{quote(path)}"
            return Answer(b"Temporary Redirect", 307, {**headers, "Location": where})
        if file.sha256 is None:
            content = self.hub.repos.damaged.get(file.blob_id, file.content)
            return self._ranged(content, {**headers, "Content-Type": "text/plain; charset=utf-8"})
        name = quote(path.split("/")[-1])
        where = f"{self.hub.storage_url}/storage/{file.sha256}?name={name}&signature={secrets.token_hex(8)}"
        linked = {"X-Linked-Size": file.size, "X-Linked-ETag": f'"{file.sha256}"', "Location": where}
        return Answer(f"Found. Redirecting to {where}".encode(), 302, {**headers, **linked})

    @route("GET HEAD", r"/storage/(?P<oid>\w{64})", where="storage")
    def fetch(self, oid):
        self._no_token()
        if oid not in self.hub.repos.objects:
            raise Refused(404, "NoSuchKey")
        name = self.query.get("name", oid)
        headers = {"ETag": f'"{oid[:32]}"', "Accept-Ranges": "bytes"}
        headers["Content-Disposition"] = f"inline; filename*=UTF-8''{name}; filename=\"{name}\";"
        return self._ranged(self.hub.repos.objects[oid], headers)

    def _no_token(self):
        """Refuses a token, as storage with signed addresses does; nobody but the Hub may ever see one."""
        if self.headers.get("Authorization"):
            raise Refused(400, "Only one auth mechanism allowed")

    def _ranged(self, content, headers):
        """Returns the part of some content that a Range header asks for."""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if not wanted:
            return Answer(content, 200, headers)
        first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
        if first >= len(content):
            raise Refused(416, "Range Not Satisfiable", None, {"Content-Range": f"bytes */{len(content)}"})
        return Answer(
            content[first : last + 1], 206, {**headers, "Content-Range": f"bytes {first}-{last}/{len(content)}"}
        )
