"""zoo against a Hub where everything goes wrong: corruption is caught, retries end, nothing is lost, no token shows.

The loopback Hub of `hub_server`, the unmodified client, and the faults of `hub_faults`.
"""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hub_server import HubServer
from huggingface_hub.utils import close_session

import zoo
from zoo.cli import main
from zoo.errors import IntegrityError, StoreError, UnknownName, ZooError
from zoo.hub.hugging_face import HubStore
from zoo.hub.manifest import Manifest
from zoo.spec import Spec

REPO, REF = "me/net", "hf://me/net"
WEIGHTS = np.random.default_rng(0).bytes(400_000)
FOREVER = 10**6
LISTING, FILE, STORAGE, COMMIT = "/api/models/me/net(/revision|[?]|$)", "/resolve/", "/storage/", "/commit/"


def revision_files(weights=WEIGHTS, **others):
    """Returns the files of a revision that zoo accepts: dict, name -> bytes."""
    files = {"model.safetensors": weights, "README.md": b"# Net\n" * 100, **others}
    listed = {name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in files.items()}
    spec = Spec(name="softmax", arguments={}, task="image_classification")
    return {"config.json": Manifest(spec, 100_000, listed).to_bytes(), **files}


FILES = revision_files()


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    """Makes pauses a hundred times shorter, and what a broken transfer keeps finer than 10 MiB."""
    real = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: real(min(seconds / 100, 0.02)))
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 14)


@pytest.fixture
def hub(hub_server):
    """The server, with one sound revision of `REPO`."""
    hub_server.add_repo(REPO, FILES)
    return hub_server


def pulled(ref=REF):
    """Returns the content of what a pull brought: dict, name -> bytes."""
    return {path.name: path.read_bytes() for path in zoo.pull(ref).iterdir()}


def visible(folder):
    """Returns the files of revisions that a reader of the cache would find, not what is hidden as unfinished."""
    shelf = folder / "zoo-cache" / "models"
    found = [p for p in shelf.rglob("*") if p.is_file()] if shelf.is_dir() else []
    return [p for p in found if not any(part.startswith(".") for part in p.relative_to(shelf).parts)]


def everything(error):
    """Returns all that Python would print of an error."""
    return "".join(traceback.format_exception(error))


def requests(hub):
    return len(hub.log)


# What comes here


def test_without_faults_each_file_is_fetched_once(hub, tmp_path):
    assert pulled() == FILES
    assert len(hub.seen(STORAGE, "GET")) == 1
    before = requests(hub)
    assert pulled(f"{REF}@{hub.commits(REPO)[0].id}") == FILES
    assert requests(hub) == before  # a pinned revision that is here needs no network
    assert not [seen for seen in hub.log if seen.where == "storage" and seen.user]


def test_small_files_behind_a_redirect(hub):
    hub.cached = True
    assert pulled() == FILES
    assert hub.seen("/api/resolve-cache/")


@pytest.mark.parametrize("name", sorted(FILES))
@pytest.mark.parametrize("at_rest", [False, True])
def test_corruption_is_always_caught_and_nothing_is_kept(hub, tmp_path, name, at_rest):
    path = STORAGE if name == "model.safetensors" else f"{FILE}.*{name}"
    if at_rest:
        hub.corrupt(REPO, name)
    else:
        hub.fault("corrupted", path, method="GET")
    with pytest.raises(IntegrityError, match="Nothing") as error:
        zoo.pull(REF)
    assert name in str(error.value)
    assert not visible(tmp_path)
    assert not [p for p in (tmp_path / "zoo-cache").rglob(f"*{name}*") if p.is_file()]
    if at_rest:
        with pytest.raises(IntegrityError):
            zoo.pull(REF)
    else:
        assert pulled() == FILES


def test_a_bad_part_of_an_earlier_transfer_is_thrown_away(hub, tmp_path):
    hub.fault("corrupted", STORAGE, method="GET")
    hub.fault("drop", STORAGE, method="GET")
    with pytest.raises(IntegrityError):
        zoo.pull(REF)
    assert pulled() == FILES


@pytest.mark.parametrize("kind", ["drop", "reset"])
@pytest.mark.parametrize("times", [1, 3])
def test_a_broken_transfer_goes_on_where_it_was(hub, kind, times):
    hub.fault(kind, STORAGE, method="GET", times=times)
    assert pulled() == FILES
    transfers = hub.seen(STORAGE, "GET")
    assert len(transfers) == times + 1
    assert all(seen.range for seen in transfers[1:])
    assert sum(seen.sent for seen in transfers) < len(WEIGHTS) + times * (1 << 14) + 1


def test_a_pull_that_was_given_up_goes_on_later(hub, tmp_path):
    hub.fault("drop", STORAGE, method="GET")
    silence = hub.fault("silent", STORAGE, method="GET", times=FOREVER)
    with pytest.raises(StoreError, match="goes on where"):
        zoo.pull(REF)
    assert not visible(tmp_path)
    silence.times = 0
    before = len(hub.log)
    assert pulled() == FILES
    (last,) = [seen for seen in hub.log[before:] if seen.where == "storage"]
    assert last.range == f"bytes={len(WEIGHTS) // 2 // (1 << 14) * (1 << 14)}-"


@pytest.mark.parametrize("kind", ["drop", "reset", "silent", "truncated"])
@pytest.mark.parametrize("path", [LISTING, FILE, STORAGE])
def test_retries_end(hub, tmp_path, kind, path):
    hub.fault(kind, path, times=FOREVER, at=0)
    with pytest.raises(StoreError, match=r"me/net") as error:
        zoo.pull(REF)
    assert requests(hub) < 80
    assert hub.token not in everything(error.value)
    assert not visible(tmp_path)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
@pytest.mark.parametrize("path", [LISTING, FILE, STORAGE])
def test_a_server_error_is_tried_again_and_the_tries_end(hub, path, status):
    fault = hub.fault("status", path, status=status)
    assert pulled() == FILES
    assert fault.times == 0
    commit = hub.add_commit(REPO, revision_files(WEIGHTS[::-1]))
    hub.repos.find(REPO).tags["v2"] = commit
    fault.times = FOREVER
    with pytest.raises(StoreError, match=str(status)):
        zoo.pull(f"{REF}@v2")
    assert requests(hub) < 80


def test_too_many_requests(hub):
    hub.fault("status", STORAGE, method="GET", status=429, retry_after=0, times=2)
    assert pulled() == FILES
    hub.fault("status", "", status=429, retry_after=77, message="Rate limited", times=FOREVER)
    with pytest.raises(StoreError, match="77 s") as error:
        zoo.pull(REF)
    assert "429" in str(error.value)
    assert requests(hub) < 80


def test_answers_that_are_too_short_or_too_long(hub, tmp_path):
    hub.fault("truncated", STORAGE, method="GET", times=2)
    assert pulled() == FILES
    commit = hub.add_commit(REPO, revision_files(WEIGHTS[::-1]))
    sha256 = hub.repos.find(REPO).resolve(commit).files["model.safetensors"].sha256
    hub.repos.objects[sha256] += b"more"
    with pytest.raises(ZooError, match=r"model\.safetensors"):
        zoo.pull(REF)
    assert not [path for path in visible(tmp_path) if commit in str(path)]


def test_silence_is_not_waited_for_without_end(hub, monkeypatch):
    for name in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT"):
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", 0.2)
    hub.fault("slow", LISTING, seconds=0.6)
    hub.fault("slow", STORAGE, seconds=0.6)
    assert pulled() == FILES
    hub.repos.find(REPO).tags["v2"] = hub.add_commit(REPO, revision_files(WEIGHTS[::-1]))
    hub.fault("slow", LISTING, seconds=0.6, times=FOREVER)
    with pytest.raises(StoreError, match="too long"):
        zoo.pull(f"{REF}@v2")


# What happens meanwhile


def test_a_repository_that_is_renamed_meanwhile_is_still_pulled(hub):
    hub.fault("before", FILE, action=lambda: hub.rename_repo(REPO, "me/renamed"))
    assert pulled() == FILES


def test_a_renamed_repository_is_pulled_and_the_new_name_told(hub):
    hub.rename_repo(REPO, "me/renamed")
    with pytest.warns(UserWarning, match="me/renamed"):
        assert pulled() == FILES


@pytest.mark.parametrize("path", [FILE, STORAGE])
def test_a_repository_that_is_deleted_meanwhile(hub, tmp_path, path):
    hub.fault("before", FILE, skip=1, action=lambda: hub.delete_repo(REPO))
    with pytest.raises(ZooError, match="me/net") as error:
        zoo.pull(REF)
    assert "no repository" in str(error.value)
    assert not visible(tmp_path)


def test_a_push_that_changes_main_meanwhile_changes_nothing_here(hub):
    hub.fault("before", FILE, action=lambda: hub.add_commit(REPO, revision_files(b"newer")))
    assert pulled() == FILES
    assert pulled()["model.safetensors"] == b"newer"


# Who may


def closed(hub, how):
    """Makes the repository one that the test's user cannot have; returns the tokens that may not show."""
    if how == "missing":
        hub.delete_repo(REPO)
    elif how == "wrong token":
        hub.revoke(hub.token)
    elif how == "no token":
        os.environ.pop("HF_TOKEN")  # monkeypatch puts it back
        hub.repos.find(REPO).private = True
    else:
        os.environ["HF_TOKEN"] = hub.other_token
        hub.repos.find(REPO).private = how == "private"
        hub.repos.find(REPO).gated = how == "gated" and "manual"


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("missing", UnknownName, ["no repository", "Check the name"]),
        ("private", UnknownName, ["no repository", "may not see"]),
        ("no token", UnknownName, ["no repository", "private", "HF_TOKEN"]),
        ("gated", StoreError, ["gated", "/me/net", "HF_TOKEN"]),
        ("wrong token", StoreError, ["refused the token", "HF_TOKEN"]),
    ],
)
def test_each_refusal_says_what_to_do(hub, tmp_path, monkeypatch, how, kind, words):
    monkeypatch.setenv("HF_TOKEN", hub.token)
    closed(hub, how)
    with pytest.raises(kind) as error:
        zoo.pull(REF)
    assert [word for word in words if word not in str(error.value)] == []
    assert not [t for t in (hub.token, hub.other_token) if t in everything(error.value)]
    assert not visible(tmp_path)


def test_a_revision_that_does_not_exist(hub):
    hub.repos.find(REPO).tags["v1"] = hub.commits(REPO)[0].id
    with pytest.raises(UnknownName, match="v1"):
        zoo.pull(f"{REF}@v2")
    assert pulled(f"{REF}@v1") == FILES
    assert pulled(f"{REF}@{hub.commits(REPO)[0].id[:9]}") == FILES


@pytest.mark.parametrize("token", ["read_token", "other_token"])
def test_a_push_that_is_not_allowed(hub, monkeypatch, token):
    monkeypatch.setenv("HF_TOKEN", getattr(hub, token))
    before = hub.commits(REPO)
    with pytest.raises(StoreError, match="may not change") as error:
        HubStore().publish(REPO, revision_files(b"new"))
    assert getattr(hub, token) not in everything(error.value)
    assert hub.commits(REPO) == before


# What is sent there


NEW = revision_files(np.random.default_rng(1).bytes(300_000))


def published(**options):
    return HubStore().publish(REPO, NEW, "New weights", **options)


def assert_one_commit(hub, commit):
    newest, before, *_ = hub.commits(REPO)
    assert (newest.id, newest.title, before.title) == (commit, "New weights", "Add a model")
    assert hub.files(REPO) == NEW


@pytest.mark.parametrize("kind", ["lost", "silent", "reset", "drop"])
def test_a_lost_answer_after_a_commit_is_recognised(hub, kind):
    hub.fault(kind, COMMIT)
    commit, created = published()
    assert created
    assert_one_commit(hub, commit)
    assert published() == (commit, False)


@pytest.mark.parametrize("kind", ["lost", "silent", "reset", "drop"])
@pytest.mark.parametrize("path", ["/preupload/", "/objects/batch", "/objects/verify", "/validate-yaml", LISTING])
def test_a_push_survives_one_broken_answer(hub, kind, path):
    hub.fault(kind, path)
    commit, _ = published()
    assert_one_commit(hub, commit)


@pytest.mark.parametrize("kind", ["silent", "reset", "drop", "corrupted"])
def test_a_broken_upload_is_sent_again_or_refused_and_nothing_is_half_there(hub, kind):
    hub.fault(kind, STORAGE, method="PUT")
    try:
        commit, _ = published()
    except StoreError:
        assert hub.files(REPO) == FILES
        commit, _ = published()
    assert_one_commit(hub, commit)


def test_uploads_that_never_arrive_end_in_a_sentence(hub):
    hub.fault("silent", STORAGE, method="PUT", times=FOREVER)
    with pytest.raises(StoreError, match=r"nothing was changed.*me/net broke off") as error:
        published()
    assert hub.files(REPO) == FILES
    assert hub.token not in everything(error.value)
    assert requests(hub) < 120


@pytest.mark.parametrize("path", ["/preupload/", "/objects/batch", STORAGE, COMMIT])
def test_a_push_to_a_hub_that_falls_silent_ends(hub, monkeypatch, path):
    monkeypatch.setattr("zoo.hub.hugging_face.PATIENCE", 0.2)
    close_session()
    fault = hub.fault("slow", path, seconds=0.6, times=FOREVER)
    try:
        if path in (COMMIT, STORAGE):  # what was sent arrived, although the answer is late
            assert published() == (hub.commits(REPO)[0].id, True)
        else:
            with pytest.raises(StoreError, match=r"nothing was changed.*took too long"):
                published()
            assert hub.files(REPO) == FILES
        fault.times = 0
        commit, _ = published()
    finally:
        close_session()
    assert_one_commit(hub, commit)


def test_of_two_pushes_at_once_one_wins_and_the_other_is_told(hub):
    contents = [revision_files(np.random.default_rng(seed).bytes(50_000)) for seed in (2, 3)]
    barrier = threading.Barrier(2)
    hub.fault("before", COMMIT, action=barrier.wait, times=2)
    with ThreadPoolExecutor(2) as pool:
        pushes = [pool.submit(HubStore().publish, REPO, files, "Mine") for files in contents]
        errors = [push.exception() for push in pushes]
    (won,) = [index for index, error in enumerate(errors) if error is None]
    assert "moved on" in str(errors[1 - won])
    assert hub.files(REPO) == contents[won]
    assert [c.title for c in hub.commits(REPO)] == ["Mine", "Add a model", "initial commit"]


def test_a_push_refuses_to_overwrite_what_somebody_else_pushed(hub):
    hub.fault("before", COMMIT, action=lambda: hub.add_commit(REPO, {"theirs.txt": "theirs"}, "Theirs"))
    with pytest.raises(StoreError, match=r"moved on.*[Pp]ush again"):
        published()
    assert [c.title for c in hub.commits(REPO)] == ["Theirs", "Add a model", "initial commit"]
    published()
    assert hub.files(REPO) == {**NEW, "theirs.txt": b"theirs"}


def test_a_lost_answer_with_somebody_else_at_once_after_it(hub):
    hub.fault("lost", COMMIT)
    landed = []

    def theirs():
        if len(hub.commits(REPO)) > 2 and not landed:
            landed.append(hub.commits(REPO)[0].id)
            hub.add_commit(REPO, {"theirs.txt": "theirs"}, "Theirs")

    hub.fault("before", LISTING, action=theirs, times=FOREVER)
    assert published() == (landed[0], True)
    assert [c.title for c in hub.commits(REPO)] == ["Theirs", "New weights", "Add a model", "initial commit"]


def test_a_repository_that_is_deleted_or_renamed_while_it_is_pushed_to(hub):
    hub.fault("before", COMMIT, action=lambda: hub.rename_repo(REPO, "me/renamed"))
    published()
    assert hub.files("me/renamed") == NEW
    hub.rename_repo("me/renamed", REPO)
    hub.fault("before", COMMIT, action=lambda: hub.delete_repo(REPO))
    with pytest.raises(ZooError, match="no repository"):
        HubStore().publish(REPO, FILES)


def test_with_xet_switched_on_a_hub_without_it_still_serves_and_says_why_it_takes_nothing(hub, monkeypatch):
    big = revision_files(np.random.default_rng(5).bytes(1_500_000))
    hub.add_commit(REPO, big)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", False)
    assert pulled() == big
    with pytest.raises(StoreError, match="HF_HUB_DISABLE_XET=1") as error:
        published()
    assert hub.token not in everything(error.value)
    assert hub.files(REPO) == big


def test_a_new_private_repository(hub_server):
    hub_server.fault("lost", "/api/repos/create")
    commit, created = published(private=True, tag="v1")
    repo = hub_server.repos.find(REPO)
    assert (repo.private, repo.tags) == (True, {"v1": commit})
    assert [c.title for c in hub_server.commits(REPO)] == ["New weights", "initial commit"]
    assert created


# Kills, and several processes at once

PULL = f"""
import sys, zoo
print(zoo.pull({REF!r}))
assert "keras" not in sys.modules, "a pull needs no Keras"
"""


def in_a_child(work):
    """Runs a function in a forked process, which has everything imported already; returns its process id."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def killed(hub, work, path, seconds):
    """Starts a process and kills it some time after its first request to a path. Says whether it was still at work."""
    before = len(hub.seen(path))
    child = in_a_child(work)
    deadline = time.monotonic() + 30
    while len(hub.seen(path)) == before and time.monotonic() < deadline:
        time.sleep(0.1)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)
    running = os.waitpid(child, os.WNOHANG) == (0, 0)
    if running:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return running


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
def test_a_killed_pull_leaves_nothing_half_visible(hub, tmp_path):
    crawl = hub.fault("crawling", STORAGE, method="GET", seconds=0.02, pieces=20, times=FOREVER)
    moments = random.Random(0)
    at_work = 0
    for _ in range(12):
        at_work += killed(hub, lambda: zoo.pull(REF), LISTING, moments.uniform(0, 0.5))
        assert visible(tmp_path) == [] or pulled() == FILES
        if visible(tmp_path):
            shutil.rmtree(tmp_path / "zoo-cache")
    assert at_work > 3
    crawl.times = 0
    assert pulled() == FILES
    assert not [p for p in (tmp_path / "zoo-cache").rglob("*") if p.name.endswith((".zoo-tmp", ".part", ".incoming"))]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a forked process")
def test_a_killed_push_leaves_nothing_half_visible(hub):
    hub.fault("slow", "/preupload/|/batch|/verify|/commit/|/storage/", seconds=0.04, times=FOREVER)
    moments = random.Random(0)
    at_work = 0
    for _ in range(12):
        if hub.files(REPO) != FILES:
            hub.delete_repo(REPO)
            hub.add_repo(REPO, FILES)
        at_work += killed(hub, published, LISTING, moments.uniform(0, 0.4))
        assert hub.files(REPO) in (FILES, NEW)
    assert at_work > 3
    hub.faults.rows.clear()
    commit, _ = published()
    assert_one_commit(hub, commit)


def test_two_processes_pull_the_same_model_and_fetch_its_weights_once(hub):
    hub.fault("crawling", STORAGE, method="GET", seconds=0.05, pieces=20, times=FOREVER)
    run = {"env": hub.environment(), "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen([sys.executable, "-c", PULL], **run) for _ in range(2)]
    (one, first), (two, second) = (process.communicate(timeout=120) for process in processes)
    assert [process.returncode for process in processes] == [0, 0], first + second
    assert one == two
    assert len(hub.seen(STORAGE, "GET")) == 1
    assert pulled() == FILES


# All of it together


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_in_whatever_order_nothing_is_lost(hub, tmp_path, seed):
    chance = random.Random(seed)
    kinds = ["drop", "reset", "silent", "lost", "truncated", "corrupted", "status"]
    paths = [LISTING, FILE, STORAGE, COMMIT, "/preupload/", "/objects/", "/commits/"]
    for _ in range(8):
        fault = {"kind": chance.choice(kinds), "path": chance.choice(paths), "times": chance.choice([1, 2, 9])}
        hub.fault(**fault, at=chance.random(), skip=chance.randrange(3), status=chance.choice([429, 500, 503, 403]))
    for call in [lambda: zoo.pull(REF), published] * 3:
        with contextlib.suppress(ZooError), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
        assert hub.files(REPO) in (FILES, NEW)
        assert len(hub.commits(REPO)) <= 3
        for folder in {path.parent for path in visible(tmp_path)}:
            assert {path.name: path.read_bytes() for path in folder.iterdir()} in (FILES, NEW)
    assert [seen for seen in hub.log if seen.fault]
    hub.faults.rows.clear()
    assert_one_commit(hub, published()[0])
    assert pulled() == NEW


# The command line


@pytest.mark.parametrize("how", ["missing", "no token", "gated", "wrong token", "silent", "corrupted"])
def test_the_command_says_it_in_a_sentence(hub, monkeypatch, capsys, how):
    monkeypatch.setenv("HF_TOKEN", hub.token)
    if how in ("silent", "corrupted"):
        hub.fault(how, FILE if how == "silent" else STORAGE, times=FOREVER)
    else:
        closed(hub, how)
    assert main(["pull", REF]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "me/net" in err.replace("\n", "")
    assert "Traceback" not in err
    assert not [t for t in (hub.token, hub.other_token) if t in err]
    with pytest.raises(ZooError) as error:
        main(["--debug", "pull", REF])
    assert not [t for t in (hub.token, hub.other_token) if t in everything(error.value)]


# Without a network


def test_offline_works_from_the_cache_and_says_so(hub, monkeypatch):
    pinned = hub.commits(REPO)[0].id
    folder = zoo.pull(REF)
    before = requests(hub)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.warns(UserWarning, match=f"OFFLINE.*using {REF}@{pinned}, pulled on"):
        assert zoo.pull(REF) == folder
    assert zoo.pull(f"{REF}@{pinned}") == folder
    with pytest.raises(StoreError, match=r"me/other.*HF_HUB_OFFLINE"):
        zoo.pull("hf://me/other")
    assert requests(hub) == before


def test_without_a_network_what_was_pulled_is_used(hub_server, monkeypatch):
    other = HubServer()
    other.add_repo(REPO, FILES)
    monkeypatch.setenv("HF_ENDPOINT", other.url)
    monkeypatch.setenv("HF_TOKEN", other.token)
    folder = zoo.pull(REF)
    other.close()
    close_session()  # with its open connections
    with pytest.warns(UserWarning, match=f"does not answer: using {REF}@{other.commits(REPO)[0].id}, pulled on"):
        assert zoo.pull(REF) == folder
    with pytest.raises(StoreError, match=r"me/never.*HF_ENDPOINT") as error:
        zoo.pull("hf://me/never")
    assert other.token not in everything(error.value)


def test_a_proxy_is_honoured(hub, monkeypatch):
    for name, value in {"HTTP_PROXY": hub.url, "http_proxy": hub.url, "NO_PROXY": "", "no_proxy": ""}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    close_session()
    try:
        assert pulled() == FILES
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        close_session()
        with pytest.raises(StoreError, match="proxy"):
            zoo.pull("hf://me/other")
    finally:
        close_session()
    assert set(hub.proxied) == {"hub.invalid", hub.storage_url.removeprefix("http://")}


def test_the_stored_login_is_used(hub):
    hub.repos.find(REPO).private = True
    hub.home.mkdir()
    (hub.home / "token").write_text(hub.token)
    process = subprocess.run(
        [sys.executable, "-c", PULL], env=hub.environment(HF_TOKEN=None), capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    assert hub.token not in process.stdout + process.stderr


# Foreign repositories


def test_foreign_weights_are_compared_with_the_hubs_hash_before_they_are_parsed(hub, tmp_path):
    config = {"architecture": "resnet18", "num_classes": 3, "pretrained_cfg": {"input_size": [3, 64, 64]}}
    hub.add_repo("timm/resnet18.t", {"config.json": json.dumps(config), "model.safetensors": WEIGHTS})
    for name in ("config.json", "model.safetensors"):
        hub.fault("corrupted", STORAGE if "model" in name else f"{FILE}.*config", method="GET")
        with pytest.raises(IntegrityError, match=f"{name}.*changed on the way"):
            zoo.pull("hf://timm/resnet18.t")
    with pytest.raises(ZooError) as error:  # and what arrives whole is no safetensors file
        zoo.pull("hf://timm/resnet18.t")
    assert "changed on the way" not in str(error.value)
    assert not visible(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pkl", "model.keras", "modeling.py"])
def test_pickles_and_code_are_never_fetched(hub, tmp_path, name):
    hub.add_repo("some/body", {"config.json": "{}", name: b"cos\nsystem\n(S'true'\ntR."})
    with pytest.raises(ZooError, match=r"some/body"):
        zoo.pull("hf://some/body")
    assert not hub.seen(f"{FILE}.*{name}|{STORAGE}", "GET")
    assert not visible(tmp_path)


# The token


def test_no_token_is_ever_shown_or_kept(hub, tmp_path, caplog, capfd, monkeypatch):
    caplog.set_level("DEBUG")
    shown = []
    faults = [("reset", STORAGE), ("silent", LISTING), ("corrupted", STORAGE), ("lost", COMMIT), ("drop", FILE)]
    for kind, path in faults:
        fault = hub.fault(kind, path, times=FOREVER)
        for call in (lambda: zoo.pull(REF), published):
            try:
                shown.append(str(call()))
            except ZooError as error:
                shown.append(everything(error) + repr(error))
        fault.times = 0
    shown.append(caplog.text)
    hub.fault("status", "", status=400, message=f"your token is {hub.token}", times=FOREVER)
    with pytest.raises(StoreError) as error:
        zoo.pull("hf://me/other")
    shown += [everything(error.value), repr(HubStore()), repr(vars(HubStore())), *capfd.readouterr()]
    assert not [text for text in shown if hub.token in text]
    kept = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    kept |= {path: content for name in hub.repos.repos for path, content in hub.files(name).items()}
    assert kept
    assert [path for path, content in kept.items() if hub.token.encode() in content] == []


@pytest.mark.slow
def test_the_live_check_passes_here(hub_server, tmp_path):
    script = os.path.join(os.path.dirname(__file__), "hub_live.py")
    environment = hub_server.environment(HOME=tmp_path)
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing is left on the Hub" in done.stdout
    assert hub_server.token not in done.stdout + done.stderr
    assert not hub_server.repos.repos
