"""The loopback Hub, driven by the unmodified client: what it answers, and what the client makes of each fault."""

import hashlib
import os
import subprocess
import sys

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

WEIGHTS = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


@pytest.fixture
def api(hub_server):
    return HfApi(endpoint=hub_server.url, token=hub_server.token)


@pytest.fixture
def net(hub_server):
    """A repository with a small file, a weight file and a folder."""
    files = {"config.json": "{}", "model.safetensors": WEIGHTS, "more/notes.txt": "notes"}
    hub_server.add_repo("timm/net.a1", files)
    return "timm/net.a1"


def add(**files):
    names = {name.replace("__", "."): content for name, content in files.items()}
    return [CommitOperationAdd(name, content) for name, content in names.items()]


def fetched(api, repo, name, folder, **options):
    path = api.hf_hub_download(repo, name, cache_dir=folder, **options)
    with open(path, "rb") as file:
        return file.read()


def status_of(error):
    return error.value.response.status_code


def test_a_push_is_one_commit_and_comes_back(api, hub_server, tmp_path):
    assert api.whoami()["name"] == "me"
    assert str(api.create_repo("me/net", private=True, exist_ok=True)).endswith("/me/net")
    api.create_repo("me/net", private=True, exist_ok=True)
    head = api.model_info("me/net").sha
    card = b"---\nlicense: mit\nlibrary_name: keras\ntags:\n- zoo\n---\n# Net\n"
    operations = add(config__json=b"{}", model__safetensors=WEIGHTS, README__md=card)
    made = api.create_commit("me/net", operations, commit_message="First", parent_commit=head)

    newest, initial = hub_server.commits("me/net")
    assert (newest.id, newest.parent, newest.title, newest.user) == (made.oid, initial.id, "First", "me")
    assert hub_server.files("me/net") == {"README.md": card, "config.json": b"{}", "model.safetensors": WEIGHTS}
    info = api.model_info("me/net", files_metadata=True)
    assert (info.sha, info.private, info.card_data.license, info.library_name) == (made.oid, True, "mit", "keras")
    siblings = {s.rfilename: s for s in info.siblings}
    assert set(siblings) == {".gitattributes", "README.md", "config.json", "model.safetensors"}
    assert (siblings["model.safetensors"].lfs.sha256, siblings["model.safetensors"].size) == (SHA256, len(WEIGHTS))
    blob = subprocess.run(["git", "hash-object", "--stdin"], input=b"{}", capture_output=True, check=False)
    if blob.returncode == 0:
        assert siblings["config.json"].blob_id == blob.stdout.decode().strip()
    assert fetched(api, "me/net", "model.safetensors", tmp_path) == WEIGHTS
    assert fetched(api, "me/net", "config.json", tmp_path) == b"{}"
    assert not [s for s in hub_server.log if s.where == "storage" and s.user]


def test_the_same_push_again_commits_nothing_and_sends_nothing(api, hub_server):
    api.create_repo("me/net")
    files = {"config__json": b"{}", "model__safetensors": WEIGHTS}
    first = api.create_commit("me/net", add(**files), commit_message="First").oid
    hub_server.log.clear()
    assert api.create_commit("me/net", add(**files), commit_message="Again").oid == first
    assert not hub_server.seen("/storage/|/commit/")


def test_an_upload_in_parts(api, hub_server):
    hub_server.part_size = 300_000
    api.create_repo("me/net")
    api.create_commit("me/net", add(model__safetensors=WEIGHTS), commit_message="In parts")
    assert len(hub_server.seen("/storage/", "PUT")) == 4
    assert hub_server.files("me/net") == {"model.safetensors": WEIGHTS}


def test_listings(api, hub_server, net):
    hub_server.page_size = 2
    files = {f.path: f for f in api.list_repo_tree(net, recursive=True)}
    assert set(files) == {".gitattributes", "config.json", "model.safetensors", "more", "more/notes.txt"}
    assert files["model.safetensors"].lfs.sha256 == SHA256
    assert [f.path for f in api.list_repo_tree(net, "more")] == ["more/notes.txt"]
    assert [f.path for f in api.get_paths_info(net, ["config.json", "nothing"])] == ["config.json"]
    hub_server.add_commit(net, {"config.json": '{"a": 1}'}, "Change it")
    assert [c.title for c in api.list_repo_commits(net)] == ["Change it", "Add a model", "initial commit"]
    assert [m.id for m in api.list_models(search="net.a")] == [net]


def test_branches_tags_deletion_and_files_that_go(api, hub_server):
    api.create_repo("me/net")
    first = api.create_commit("me/net", add(a__txt=b"a", b__txt=b"b"), commit_message="First").oid
    api.create_tag("me/net", tag="v1", revision=first)
    api.create_branch("me/net", branch="trial")
    gone = [CommitOperationDelete("a.txt")]
    second = api.create_commit("me/net", gone, commit_message="Less", revision="trial").oid
    refs = api.list_repo_refs("me/net")
    assert {b.name: b.target_commit for b in refs.branches} == {"main": first, "trial": second}
    assert {t.name: t.target_commit for t in refs.tags} == {"v1": first}
    assert hub_server.files("me/net", "trial") == {"b.txt": b"b"}
    assert api.model_info("me/net", revision="v1").sha == first
    with pytest.raises(HfHubHTTPError) as error:
        api.create_tag("me/net", tag="v1")
    assert status_of(error) == 409
    api.delete_tag("me/net", tag="v1")
    api.delete_branch("me/net", branch="trial")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("me/net", revision="v1")
    with pytest.raises(RevisionNotFoundError):
        api.model_info("me/net", revision=first[:8])
    api.delete_repo("me/net")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("me/net")


def test_a_renamed_repository_redirects(api, hub_server, tmp_path):
    hub_server.add_repo("me/old", {"config.json": "{}", "model.safetensors": WEIGHTS})
    api.move_repo("me/old", "me/new")
    assert api.model_info("me/old").id == "me/new"
    assert fetched(api, "me/old", "model.safetensors", tmp_path) == WEIGHTS
    api.create_commit("me/old", add(a__txt=b"a"), commit_message="Through the old name")
    assert "a.txt" in hub_server.files("me/new")


def test_small_files_behind_a_redirect(api, hub_server, net, tmp_path):
    hub_server.cached = True
    assert fetched(api, net, "config.json", tmp_path) == b"{}"
    assert [s.status for s in hub_server.seen("config.json")] == [307, 200, 200]  # the client remembers where it led


def test_a_snapshot(api, hub_server, net, tmp_path):
    folder = api.snapshot_download(net, cache_dir=tmp_path, allow_patterns=["*.json", "*.safetensors"])
    assert sorted(os.listdir(folder)) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("token", [None, "read", "other", "wrong"])
def test_who_may_do_what(hub_server, net, tmp_path, token):
    hub_server.add_repo("me/secret", {"config.json": "{}"}, private=True)
    hub_server.add_repo("big/gated", {"config.json": "{}"}, gated=True)
    tokens = {None: False, "read": hub_server.read_token, "other": hub_server.other_token, "wrong": "hf_wrong"}
    api = HfApi(endpoint=hub_server.url, token=tokens[token])
    if token == "wrong":
        for call in (api.whoami, lambda: api.model_info(net)):
            with pytest.raises(HfHubHTTPError) as error:
                call()
            assert status_of(error) == 401
            assert not isinstance(error.value, RepositoryNotFoundError)
        return
    assert fetched(api, net, "config.json", tmp_path) == b"{}"
    if token == "read":
        assert fetched(api, "me/secret", "config.json", tmp_path) == b"{}"
        with pytest.raises(HfHubHTTPError, match="write token"):
            api.create_repo("me/new")
    else:
        with pytest.raises(RepositoryNotFoundError) as error:
            api.model_info("me/secret")
        assert status_of(error) == (404 if token else 401)
    assert api.model_info("big/gated").gated == "auto"
    with pytest.raises(GatedRepoError) as error:
        fetched(api, "big/gated", "config.json", tmp_path)
    assert status_of(error) == (403 if token else 401)
    with pytest.raises(HfHubHTTPError) as error:
        api.create_commit(net, add(a__txt=b"a"), commit_message="Not mine")
    assert status_of(error) == (403 if token else 401)


def test_what_is_not_there(api, net, tmp_path):
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("timm/nothing")
    with pytest.raises(RevisionNotFoundError):
        api.model_info(net, revision="v9")
    with pytest.raises(EntryNotFoundError):
        fetched(api, net, "nothing.txt", tmp_path)
    with pytest.raises(RevisionNotFoundError):
        api.create_commit("me/" + api.create_repo("me/net").repo_name, add(a=b"a"), commit_message="a", revision="new")


def test_what_a_commit_refuses(api, hub_server):
    api.create_repo("me/net")
    head = api.model_info("me/net").sha
    hub_server.fault("before", "/commit/", action=lambda: hub_server.add_commit("me/net", {"b.txt": "b"}, "Meanwhile"))
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as error:
        api.create_commit("me/net", add(a__txt=b"a"), commit_message="Late", parent_commit=head)
    assert status_of(error) == 412
    with pytest.raises(HfHubHTTPError) as error:
        api.create_commit("me/net", add(a__txt=b"a"), commit_message="A request", create_pr=True)
    assert status_of(error) == 403
    for card in ("---\nlicense: nobodys-1.0\n---\n", "---\nlicense: [\n---\n", "---\nmodel-index: 3\n---\n"):
        with pytest.raises(ValueError, match=r"Invalid metadata in README\.md"):
            api.create_commit("me/net", add(README__md=card.encode()), commit_message="A card")
    assert [c.title for c in hub_server.commits("me/net")] == ["Meanwhile", "initial commit"]


# What the client makes of each fault.


def test_a_clean_close_half_way_is_resumed(api, hub_server, net, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 65536)  # 10 MiB, of which nothing less counts
    hub_server.fault("drop", "/storage/", method="GET")
    assert fetched(api, net, "model.safetensors", tmp_path) == WEIGHTS
    first, second = hub_server.seen("/storage/", "GET")
    assert (first.range, first.sent, second.range) == (None, len(WEIGHTS) // 2, f"bytes={len(WEIGHTS) // 2}-")
    assert (second.status, second.sent) == (206, len(WEIGHTS) // 2)


def test_a_reset_half_way_is_an_error(api, hub_server, net, tmp_path):
    hub_server.fault("reset", "/storage/", method="GET")
    with pytest.raises(httpx2.ReadError, match="reset"):
        fetched(api, net, "model.safetensors", tmp_path)


def test_a_short_answer_is_an_error_and_a_corrupted_one_is_not(api, hub_server, net, tmp_path):
    hub_server.fault("truncated", "/storage/", method="GET")
    with pytest.raises(OSError, match="Consistency check failed"):
        fetched(api, net, "model.safetensors", tmp_path / "a")
    hub_server.fault("corrupted", "/storage/", method="GET")
    found = fetched(api, net, "model.safetensors", tmp_path / "b")
    assert len(found) == len(WEIGHTS)
    assert found != WEIGHTS
    hub_server.corrupt(net, "config.json")
    assert len(fetched(api, net, "config.json", tmp_path / "c")) == 2
    assert hub_server.files(net)["config.json"] == b"{}"


def test_statuses(api, hub_server, net):
    hub_server.fault("status", "/tree/", status=429, retry_after=0)
    assert api.list_repo_files(net)
    assert [s.status for s in hub_server.seen("/tree/")] == [429, 200]
    for status, code in ((500, None), (503, None), (404, "RepoNotFound"), (403, "GatedRepo")):
        hub_server.fault("status", "/api/models/", status=status, code=code)
        with pytest.raises(HfHubHTTPError) as error:
            api.model_info(net)
        assert status_of(error) == status
    with pytest.raises(ValueError, match="no fault 'earthquake'"):
        hub_server.fault("earthquake")


def test_a_lost_answer_leaves_a_commit_behind(api, hub_server):
    api.create_repo("me/net")
    hub_server.fault("lost", "/commit/")
    with pytest.raises(httpx2.RemoteProtocolError):
        api.create_commit("me/net", add(a__txt=b"a"), commit_message="Lost")
    assert hub_server.commits("me/net")[0].title == "Lost"


@pytest.mark.parametrize("kind", ["silent", "drop", "reset", "corrupted"])
def test_a_broken_upload_leaves_nothing(api, hub_server, kind):
    api.create_repo("me/net")
    hub_server.fault(kind, "/storage/", method="PUT", times=9 if kind == "corrupted" else 1)
    operations = add(model__safetensors=WEIGHTS)
    if kind == "corrupted":
        with pytest.raises(RuntimeError) as error:
            api.create_commit("me/net", operations, commit_message="Broken")
        assert isinstance(error.value.__cause__, BadRequestError)
        assert len(hub_server.commits("me/net")) == 1
    else:  # the client sends it again
        api.create_commit("me/net", operations, commit_message="Mended")
        assert hub_server.files("me/net") == {"model.safetensors": WEIGHTS}


def test_meanwhile(api, hub_server, net, tmp_path):
    hub_server.fault("before", "/resolve/", action=lambda: hub_server.rename_repo(net, "timm/net.b1"))
    assert fetched(api, net, "config.json", tmp_path) == b"{}"
    hub_server.fault("before", "/resolve/", action=lambda: hub_server.delete_repo("timm/net.b1"))
    with pytest.raises(RepositoryNotFoundError):
        fetched(api, net, "model.safetensors", tmp_path)
    hub_server.fault("before", "/api/repos", action=lambda: hub_server.revoke(hub_server.token))
    with pytest.raises(HfHubHTTPError, match="Invalid credentials"):
        api.create_repo("me/new")


def test_slowly(api, hub_server, net, tmp_path):
    hub_server.fault("slow", "/api/models/", seconds=0.05)
    hub_server.fault("crawling", "/storage/", seconds=0.01)
    assert api.model_info(net).id == net
    assert fetched(api, net, "model.safetensors", tmp_path) == WEIGHTS


def test_a_subprocess_finds_it(hub_server, net):
    code = f"import huggingface_hub as h; print(h.whoami()['name'], h.model_info({net!r}).sha)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=hub_server.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.split() == ["me", hub_server.commits(net)[0].id]
