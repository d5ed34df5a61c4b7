"""The Hugging Face Hub as a store: references, what is fetched and what is not, publishing, the cache of it.

The loopback Hub of `hub_server` and the unmodified client; `test_hub_faults` holds what goes wrong on the way.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import textwrap
import time
import zlib
from pathlib import Path

import keras
import numpy as np
import probe
import pytest
from test_hub import made, predictions

import zoo
from zoo.cli import main
from zoo.errors import Conflict, IntegrityError, InvalidArgument, StoreError, UnknownName
from zoo.files import json_bytes
from zoo.hub import answers, convert, keeping, refs
from zoo.hub.hugging_face import HubStore
from zoo.hub.manifest import Manifest
from zoo.hub.store import FolderStore
from zoo.spec import Spec

REPO, REF = "me/net", "hf://me/net"
WEIGHTS = np.random.default_rng(0).bytes(50_000)
CARD = b"---\nlicense: mit\n---\n# Net\n"


@pytest.fixture(autouse=True, scope="module")
def _probe():
    probe.add()
    yield
    probe.remove()


def revision(weights=WEIGHTS, **others):
    """Returns the files of a revision that zoo accepts: dict, name -> bytes."""
    files = {"model.safetensors": weights, "README.md": CARD, **others}
    listed = {name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in files.items()}
    spec = Spec(name="softmax_mnist", arguments={}, task="image_classification")
    return {"config.json": Manifest(spec, 1, listed).to_bytes(), **files}


def content(ref):
    return {path.name: path.read_bytes() for path in zoo.pull(ref).iterdir()}


def cached():
    shelf = Path(os.environ["ZOO_CACHE"]) / "models"
    return sorted(p.name for p in shelf.iterdir() if not p.name.endswith(".lock")) if shelf.is_dir() else []


# References


def test_where_a_name_is_looked_for(tmp_path, monkeypatch):
    """ZOO_HUB names a folder, or the Hub; without it reads look in the default folder first and pushes stay there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    inside = refs.parse("me/net", reading=True)
    assert isinstance(inside.store, FolderStore)
    assert str(inside) == "me/net"
    for named in ("hf://", "hf", "hf:"):
        monkeypatch.setenv("ZOO_HUB", named)
        for reading in (True, False):
            found = refs.parse("me/net@v1.0", reading=reading)
            assert isinstance(found.store, HubStore)
            assert str(found) == "hf://me/net@v1.0"
    monkeypatch.delenv("ZOO_HUB")
    assert isinstance(refs.parse("me/net", reading=True).store, HubStore)
    assert refs.parse("me/net").store.root == tmp_path / ".zoo" / "hub"
    zoo.push(made(), "me/net", license="mit")
    assert isinstance(refs.parse("me/net", reading=True).store, FolderStore)
    assert isinstance(refs.parse("hf://me/net").store, HubStore)


@pytest.mark.parametrize(
    "bad",
    [
        "hf://",
        "hf://net",
        "hf://a/b/c",
        "hf://me/../net",
        "hf://me/a--b",
        "hf://me/.net",
        "hf://me/net.",
        "hf://me/net@",
        "hf://me/net@../x",
        "hf://me/net@a b",
        "hf://me/net@-x",
        "hf://me/net?x=1",
        "hf://me/net#x",
        "hf:///etc/passwd",
        "hf://datasets/me/net",
    ],
)
def test_illegal_references_are_refused(bad):
    with pytest.raises(InvalidArgument, match=r"not a legal (name|revision)"):
        zoo.pull(bad)


def test_a_bare_name_that_is_nowhere_says_where_it_was_looked_for(hub_server, tmp_path, monkeypatch):
    zoo.push(made(), "me/probe", license="mit")
    with pytest.raises(
        UnknownName, match=r"Did you mean 'me/probe'\?.*On the Hugging Face Hub it would be hf://me/prob"
    ):
        zoo.pull("me/prob")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ZOO_HUB")
    zoo.push(made(), "me/probe", license="mit")
    with pytest.raises(
        UnknownName, match=r"Did you mean 'me/probe'\?.*And no repository named 'hf://me/prob' on the Hub"
    ):
        zoo.pull("me/prob")
    hub_server.add_repo("me/prob", revision())
    assert content("me/prob") == revision()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "digits").mkdir(parents=True)
    before = len(hub_server.log)
    with pytest.raises(UnknownName, match=r"The hub is .* On the Hugging Face Hub it would be hf://runs/digits"):
        zoo.pull("runs/digits")
    assert len(hub_server.log) == before


def test_branch_tag_short_and_whole_commits(hub_server):
    first = hub_server.add_repo(REPO, revision())
    second = hub_server.add_commit(REPO, revision(WEIGHTS[::-1]))
    repo = hub_server.repos.find(REPO)
    repo.tags["v1"], repo.branches["refs/pr/1"] = first, first
    for name in ("v1", "refs/pr/1", first[:7], first[:12], first):
        assert content(f"{REF}@{name}") == revision(), name
    assert content(REF) == content(f"{REF}@main") == revision(WEIGHTS[::-1])
    assert zoo.hub.pulling.pulled(REF)[1] == f"{REF}@{second}"
    with pytest.raises(UnknownName, match=r"no revision of hf://me/net named 'v2'.*Known: main, refs/pr/1, v1"):
        zoo.pull(f"{REF}@v2")
    with pytest.raises(UnknownName, match="no revision of hf://me/net named"):
        zoo.pull(f"{REF}@0000000")
    with pytest.raises(UnknownName, match="no such revision"):
        zoo.pull(f"{REF}@{'0' * 40}")


# Round trip


def test_push_pull_load_predicts_bit_for_bit(hub_server):
    model = made(seed=3)
    made_revision = zoo.push(model, REF, license="mit", private=True, tag="v1", message="First")
    assert made_revision.created
    assert re.fullmatch(r"hf://me/net@[0-9a-f]{40}", made_revision.ref)
    assert hub_server.repos.find(REPO).private
    back = zoo.load(made_revision.ref)
    assert np.array_equal(predictions(back), predictions(model))
    assert back.zoo_spec.labels == ("cat", "dog", "cow")
    assert back.zoo_origin.parent() == {"ref": made_revision.ref, "sha256": back.zoo_origin.sha256}
    built = zoo.build("probe_small", weights=f"{REF}@v1")
    assert np.array_equal(predictions(built), predictions(model))
    assert not zoo.push(model, REF, license="mit").created


def test_a_pinned_revision_that_is_here_asks_nobody(hub_server):
    commit = hub_server.add_repo(REPO, revision())
    folder = zoo.pull(f"{REF}@{commit}")
    before = len(hub_server.log)
    assert zoo.pull(f"{REF}@{commit}") == folder
    assert len(hub_server.log) == before


def test_what_the_manifest_does_not_list_is_not_fetched(hub_server):
    files = revision()
    hub_server.add_repo(REPO, {**files, "figure.png": b"\x89PNG", "pytorch_model.bin": b"pickle", "sub/x.txt": b"x"})
    assert content(REF) == files
    assert not hub_server.seen("figure|pytorch_model|sub/")


def test_a_card_that_was_edited_on_the_hub_is_taken_and_another_file_is_not(hub_server):
    hub_server.add_repo(REPO, revision())
    hub_server.add_commit(REPO, {"README.md": CARD + b"More.\n"})
    assert content(REF)["README.md"] == CARD + b"More.\n"
    before = len(hub_server.seen("/resolve/"))
    zoo.pull(REF)
    assert len(hub_server.seen("/resolve/")) == before  # the edited copy is known to be whole
    hub_server.add_commit(REPO, {"model.safetensors": WEIGHTS[::-1]})
    with pytest.raises(IntegrityError, match="its bytes were changed"):
        zoo.pull(REF)
    hub_server.add_commit(REPO, {"model.safetensors": None})
    with pytest.raises(IntegrityError, match=r"model.safetensors is missing from hf://me/net@"):
        zoo.pull(REF)
    assert len(cached()) == 1


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["model.safetensors", "README.md", "config.json"])
def test_a_damaged_copy_is_fetched_again(hub_server, name):
    commit = hub_server.add_repo(REPO, revision())
    flip(zoo.pull(REF) / name)
    assert content(f"{REF}@{commit}") == revision()


def test_a_copy_whose_converter_or_pin_was_lost_is_fetched_again(hub_server):
    hub_server.add_repo(REPO, revision())
    zoo.pull(REF)
    for path in (Path(os.environ["ZOO_CACHE"]) / "known").iterdir():
        path.write_text("[not json")
    assert content(REF) == revision()


def in_process(hub_server, script, **changes):
    """Runs a program whose client reads its settings from the start; returns what it printed."""
    environment = hub_server.environment(**changes)
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_files_of_the_clients_own_cache_are_copied_not_fetched(hub_server):
    """Whoever has a checkpoint through another library has it; the symbolic links of that cache are not handed on."""
    hub_server.add_repo(REPO, revision())
    theirs = in_process(hub_server, f"import huggingface_hub as h; print(h.snapshot_download('{REPO}'))")
    weights = Path(theirs) / "model.safetensors"
    assert weights.is_symlink()
    before = len(hub_server.seen("/storage/"))
    folder = Path(in_process(hub_server, f"import zoo; print(zoo.pull('{REF}'))"))
    assert not any(path.is_symlink() for path in folder.iterdir())
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == revision()
    assert len(hub_server.seen("/storage/")) == before
    flip(weights.resolve())
    flip(folder / "model.safetensors")
    in_process(hub_server, f"import zoo; zoo.pull('{REF}')")
    assert content(REF) == revision()
    assert len(hub_server.seen("/storage/")) == before + 1  # a damaged one there is not believed


def test_the_way_that_xet_files_take_through_the_client(hub_server, tmp_path):
    """Here without Xet, which no loopback server has: the client's own call, its bar, and where the file ends."""
    from zoo.hub import downloading

    commit = hub_server.add_repo(REPO, revision())
    seen, part = [], tmp_path / ".model.safetensors.part"
    downloading._by_xet(HubStore().api(), REPO, commit, "model.safetensors", part, seen.append)
    assert part.read_bytes() == WEIGHTS
    assert sum(seen) == len(WEIGHTS)
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == [part.name]


def test_a_killed_pull_goes_on_where_it_was(hub_server):
    """What came before SIGKILL is in the part, to less than two MiB, and is not sent again."""
    weights = np.random.default_rng(1).bytes(10 << 20)
    hub_server.add_repo(REPO, revision(weights))
    hub_server.fault("crawling", "/storage/", method="GET", seconds=0.3, pieces=20)
    command = [sys.executable, "-c", f"import zoo; zoo.pull('{REF}')"]
    process = subprocess.Popen(command, env=hub_server.environment())
    part = Path(os.environ["ZOO_CACHE"], "models")
    deadline = time.monotonic() + 60
    while sum(p.stat().st_size for p in part.glob(".*.incoming/.*.part")) < 4 << 20:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not [name for name in cached() if not name.startswith(".")]
    before = len(hub_server.log)
    assert content(REF)["model.safetensors"] == weights
    asked = [seen.range for seen in hub_server.log[before:] if seen.where == "storage"]
    assert len(asked) == 1
    assert 4 << 20 <= int(asked[0].removeprefix("bytes=").removesuffix("-")) < 9 << 20
    assert [name for name in cached() if name.startswith(".")] == []


# Publishing


def files_of(**changes):
    return revision() | changes


def test_one_commit_and_none_when_nothing_changed(hub_server):
    store = HubStore()
    commit, created = store.publish(REPO, revision(), "First")
    assert created
    assert [c.title for c in hub_server.commits(REPO)] == ["First", "initial commit"]
    before = len(hub_server.log)
    assert HubStore().publish(REPO, revision()) == (commit, False)
    assert not [s for s in hub_server.log[before:] if s.method != "GET"]
    assert hub_server.files(REPO) == revision()


def test_only_what_changed_is_sent_and_what_was_dropped_goes(hub_server):
    store = HubStore()
    store.publish(REPO, revision(**{"curves.png": b"\x89PNG"}))
    hub_server.add_commit(REPO, {"figure.png": b"their own"})
    before = len(hub_server.log)
    old = store.head(REPO)
    assert store.changes(REPO, old, revision()) == (["config.json"], ["curves.png"])
    commit, created = store.publish(REPO, revision())
    assert created
    assert hub_server.files(REPO) == {**revision(), "figure.png": b"their own"}
    assert not [s for s in hub_server.log[before:] if s.method == "PUT"]
    assert store.history(REPO)[-1]["id"] == commit
    assert store.history(REPO)[-1]["parent"] == old


def test_weights_that_are_there_already_are_not_uploaded_again(hub_server):
    hub_server.add_repo("me/other", revision())  # the same content, elsewhere in the object storage
    HubStore().publish(REPO, revision())
    assert not hub_server.seen("/storage/|/store", "PUT")


def test_a_branch_a_tag_and_a_parent(hub_server):
    store = HubStore()
    first, _ = store.publish(REPO, revision(), tag="v1")
    other = revision(WEIGHTS[::-1])
    second, _ = store.publish(REPO, other, branch="next")
    assert store.head(REPO) == first
    assert content(f"{REF}@v1") == revision()
    assert content(f"{REF}@next") == other
    with pytest.raises(InvalidArgument, match=r"has a tag of this name already, of commit .*Tags do not move"):
        store.publish(REPO, other, tag="v1")
    assert store.publish(REPO, revision(), tag="v1") == (first, False)
    with pytest.raises(StoreError, match=f"has moved on to {first[:12]} meanwhile"):
        store.publish(REPO, other, parent=second)
    assert store.publish(REPO, other, parent=first)[1]
    with pytest.raises(InvalidArgument, match="exists and is public"):
        store.publish(REPO, revision(), private=True)


def test_a_file_that_changes_while_it_is_pushed_is_noticed(hub_server, tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(WEIGHTS[::-1])
    with pytest.raises(IntegrityError, match=r"model.safetensors changed while it was being pushed"):
        HubStore().publish(REPO, revision() | {"model.safetensors": path})
    assert [c.title for c in hub_server.commits(REPO)] == ["initial commit"]


def test_a_folder_hub_has_tags_and_refuses_what_only_the_hub_has(tmp_path):
    store = FolderStore(tmp_path / "hub")
    first, _ = store.publish("me/net", revision(), tag="v1.0")
    second, _ = store.publish("me/net", revision(WEIGHTS[::-1]))
    assert store.resolve("me/net", "v1.0") == first
    assert store.resolve("me/net") == second
    with pytest.raises(InvalidArgument, match="Tags do not move"):
        store.publish("me/net", revision(b"third"), tag="v1.0")
    assert store.resolve("me/net") == second
    for wrong in ({"private": True}, {"branch": "next"}):
        with pytest.raises(InvalidArgument, match=r"is for the Hugging Face Hub.* push to hf://me/net"):
            store.publish("me/net", revision(b"third"), **wrong)
    for tag in ("../x", "a b", "", "0123456"):
        with pytest.raises(InvalidArgument, match="not a legal name of a tag"):
            store.publish("me/net", revision(b"third"), tag=tag)
    assert store.resolve("me/net") == second


# Foreign repositories


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"pytorch_model.bin": b"pickle"}, r"in no foreign format.* pytorch_model.bin can hold code"),
        ({"config.json": b"{}", "model.keras": b"zip"}, r"in no foreign format.* model.keras can hold code"),
        ({}, r"in no foreign format that zoo knows \(.*timm"),
        ({"config.json": b'{"architecture": "gpt9"}', "model.safetensors": WEIGHTS}, "gpt9|in no foreign format"),
    ],
)
def test_repositories_without_anything_to_read_are_refused(hub_server, files, words):
    hub_server.add_repo("they/net", files)
    with pytest.raises(InvalidArgument, match=words):
        zoo.pull("hf://they/net")
    assert cached() == []
    assert not hub_server.seen(r"\.bin|\.keras|/storage/")


def timm_checkpoint(shapes):
    """Returns the bytes of a safetensors file with the values that the golden outputs were made with."""
    from safetensors.numpy import save

    tensors = {}
    for name, shape in shapes.items():
        rng, last = np.random.default_rng(zlib.crc32(name.encode())), name.rpartition(".")[2]
        if last == "bias":
            value = 0.1 * rng.standard_normal(shape)
        elif last == "weight" and len(shape) == 1:
            value = rng.uniform(0.5, 1.5, shape)
        elif last == "weight":
            value = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        else:
            value = 0.02 * rng.standard_normal(shape)
        tensors[name] = value.astype("float32")
    return save(tensors)


@pytest.mark.data
def test_a_checkpoint_of_timm_becomes_ours_once_and_works_offline(hub_server, zoo_golden, monkeypatch):
    golden = json.loads((zoo_golden / "vit_tiny_patch16_224.json").read_text())
    weights = timm_checkpoint(golden["tensors"])
    config = {"architecture": "vit_tiny_patch16_224", "num_classes": 10}
    config["pretrained_cfg"] = {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": [3, 224, 224], "license": "mit"}
    files = {"config.json": json_bytes(config), "model.safetensors": weights, "pytorch_model.bin": b"pickle"}
    commit = hub_server.add_repo("timm/tiny", {**files, "README.md": CARD})
    model = zoo.load("hf://timm/tiny")
    images = np.random.default_rng(golden["input"]["seed"]).standard_normal(golden["input"]["shape_nchw"])
    logits = keras.ops.convert_to_numpy(model(images.astype("float32").transpose(0, 2, 3, 1)))
    assert np.abs(logits - np.array(golden["logits"])).max() < 50 * golden["float32_error"]
    origin = model.zoo_origin
    assert origin.ref == f"hf://timm/tiny@{commit}"
    parent = {"ref": origin.ref, "sha256": hashlib.sha256(weights).hexdigest()}
    assert {key: origin.spec.parent[key] for key in parent} == parent
    assert not hub_server.seen("bin")
    assert cached() == [f"{HubStore().key('timm/tiny')}{commit}--{convert.version('timm')}"]
    stamp = origin.weights.stat().st_mtime_ns
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    before = len(hub_server.log)
    with pytest.warns(UserWarning, match="HF_HUB_OFFLINE is set: using hf://timm/tiny@"):
        again = zoo.load("hf://timm/tiny")
    assert len(hub_server.log) == before
    assert again.zoo_origin.weights.stat().st_mtime_ns == stamp
    monkeypatch.setattr(convert.converter("timm"), "VERSION", convert.converter("timm").VERSION + 1)
    with pytest.warns(UserWarning, match="stays as an earlier zoo converted it"):
        assert zoo.pull(origin.ref) == origin.folder
    monkeypatch.delenv("HF_HUB_OFFLINE")
    zoo.pull("hf://timm/tiny")  # a better converter converts anew
    assert len(cached()) == 2
    assert [e.state for e in keeping.entries(thorough=True) if e.kind == "model"] == ["leftover", "whole"]


# Sentences


def test_limits_are_checked_before_and_while_a_file_comes(hub_server, tmp_path):
    commit = hub_server.add_repo(REPO, revision())
    store = HubStore()
    with pytest.raises(IntegrityError, match=r"has 50,000 bytes, and no more than 49,999 were expected"):
        store.fetch(REPO, commit, "model.safetensors", tmp_path / "file", 49_999)
    assert not hub_server.seen("/storage/")
    with pytest.raises(IntegrityError, match=r"none.txt is missing from hf://me/net@"):
        store.fetch(REPO, commit, "none.txt", tmp_path / "file", 1)
    assert list(tmp_path.glob("*file*")) == []


def test_a_disk_without_room_is_noticed_before_the_transfer(hub_server, monkeypatch):
    hub_server.add_repo(REPO, revision())
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 10_000}))
    with pytest.raises(StoreError, match=r"has 10,000 bytes free and 50,000 are needed.*zoo cache prune"):
        zoo.pull(REF)
    assert not hub_server.seen("/storage/")
    assert cached() == []


@pytest.mark.parametrize("status", [429, 403, 404])
def test_what_came_before_a_refusal_is_kept(hub_server, monkeypatch, status):
    real = time.sleep
    monkeypatch.setattr(time, "sleep", lambda seconds: real(min(seconds / 100, 0.02)))
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 12)
    hub_server.add_repo(REPO, revision())
    hub_server.fault("drop", "/storage/", method="GET")
    refused = hub_server.fault("status", "/storage/", status=status, retry_after=5, times=10**6)
    with pytest.raises((StoreError, UnknownName), match=f"{REF}|429") as error:
        zoo.pull(REF)
    assert status != 429 or "asks to wait 5 s" in str(error.value)
    refused.times = 0
    before = len(hub_server.log)
    assert content(REF) == revision()
    assert [s.range for s in hub_server.log[before:] if s.where == "storage"] == [f"bytes={6 << 12}-"]


def test_what_was_pulled_is_named_where_the_repository_is_gone(hub_server):
    commit = hub_server.add_repo(REPO, revision())
    zoo.pull(REF)
    hub_server.delete_repo(REPO)
    with pytest.raises(UnknownName, match=f"no repository .*What was pulled on .* is still here, as {REF}@{commit}"):
        zoo.pull(REF)
    assert content(f"{REF}@{commit}") == revision()


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("your token hf_abcdefghijklmnop is bad", "your token ... is bad"),
        ("Authorization: Bearer abc.def", "Authorization: ..."),
        ("https://user:secret@proxy:8080 failed", "https...proxy:8080 failed"),
        ("https://cdn/x?X-Signature=abc&y=1 failed", "https://cdn/x... failed"),
        ("several\n  lines", "several lines"),
    ],
)
def test_what_others_say_is_shown_without_secrets(text, kept):
    assert answers.clean(text) == kept


def test_a_certificate_and_a_proxy_are_told_apart():
    import httpx2

    told = str(answers.worded(httpx2.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]"), REF))
    assert "SSL_CERT_FILE" in told
    assert "HTTPS_PROXY" in str(answers.worded(httpx2.ProxyError("407 Proxy Authentication Required"), REF))
    assert "HF_HUB_DOWNLOAD_TIMEOUT" in str(answers.worded(httpx2.ReadTimeout("timed out"), REF))


def test_the_proxy_of_the_environment_is_used(hub_server):
    """The request goes to the proxy, which here is the loopback Hub itself: it sees the whole address asked for."""
    told = in_process(
        hub_server,
        f"""
        import zoo
        try:
            zoo.pull("{REF}")
        except zoo.ZooError as error:
            print(error)
        """,
        HF_ENDPOINT="http://hub.invalid",
        HTTP_PROXY=hub_server.url,
        NO_PROXY="",
    )
    assert REF in told
    assert "Traceback" not in told
    assert hub_server.log


# The cache


def test_zoo_cache_lists_verifies_and_prunes(hub_server, capsys):
    first = hub_server.add_repo(REPO, revision())
    zoo.pull(REF)
    second = hub_server.add_commit(REPO, revision(WEIGHTS[::-1]))
    folder = zoo.pull(REF)
    pushed = zoo.push(made(), "me/probe", license="mit")
    zoo.pull("me/probe")
    long_ago = time.time() - 40 * 86400
    os.utime(zoo.pull(f"{REF}@{first}"), (long_ago, long_ago))
    assert main(["cache", "ls", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["entries"]
    assert [row["name"] for row in rows] == [f"{REF}@{first}", f"{REF}@{second}", pushed.ref]
    assert {row["state"] for row in rows} == {"whole"}
    assert rows[0]["bytes"] == sum(map(len, revision().values()))
    assert main(["cache", "verify"]) == 0
    assert "3 models are whole, byte for byte; 0 damaged" in capsys.readouterr().out
    flip(folder / "model.safetensors")
    assert main(["cache", "verify"]) == 2
    assert f"damaged: {REF}@{second}" in capsys.readouterr().err
    assert main(["cache", "prune", "--dry-run"]) == 0
    assert "50" in capsys.readouterr().out
    assert len(cached()) == 3
    assert main(["cache", "prune"]) == 0
    assert f"{sum(map(len, revision().values())):,} bytes freed" in capsys.readouterr().out
    assert cached() == sorted([f"{HubStore().key(REPO)}{first}", pushed.id])
    assert main(["cache", "prune", "--older-than", "30"]) == 0
    assert cached() == [pushed.id]
    assert main(["cache", "prune", "me/prope"]) == 2
    assert "Did you mean 'me/probe'?" in capsys.readouterr().err
    assert main(["cache", "prune", "me/probe"]) == 0
    assert cached() == []
    assert list((Path(os.environ["ZOO_CACHE"]) / "known").iterdir()) == []
    assert main(["cache", "prune"]) == 0
    assert "nothing to remove" in capsys.readouterr().out
    with pytest.raises(Conflict, match="references exclude"):
        main(["cache", "prune", "me/probe", "--all", "--debug"])


def test_prune_all_takes_data_and_leftovers_but_not_what_is_in_use(hub_server, capsys):
    from zoo.files import locked

    hub_server.add_repo(REPO, revision())
    folder = zoo.pull(REF)
    root = Path(os.environ["ZOO_CACHE"])
    for name in ("arrays/ab/x.npy", "data/mnist.gz", f"models/.{'a' * 40}.1-2.zoo-tmp/x"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"123")
    assert main(["cache", "ls"]) == 0
    shown = capsys.readouterr().out
    assert "leftover" in shown
    assert "decoded data" in shown
    with locked(folder.parent / f".{folder.name}.lock"):
        assert main(["cache", "prune", "--all"]) == 0
    shown = capsys.readouterr().out
    assert f"{REF}@" in shown
    assert "is in use by another process, and stays" in shown
    assert [p.name for p in root.rglob("*") if p.is_file() and p.suffix != ".lock" and p.suffix != ".json"] == [
        path.name for path in folder.iterdir() if path.suffix != ".json"
    ]
    assert content(REF) == revision()


def test_what_is_being_written_is_not_pruned():
    from zoo.files import locked

    models = Path(os.environ["ZOO_CACHE"]) / "models"
    key = f"me--{'0' * 40}--{'1' * 40}"  # a repository may be called like a commit
    (models / f".{key}--timm-1.77-ab12cd34.zoo-tmp").mkdir(parents=True)
    with locked(models / f".{key}.lock"):
        assert [[e.state for e in part] for part in keeping.prune(everything=True)] == [[], ["leftover"]]
    assert [[e.state for e in part] for part in keeping.prune()] == [["leftover"], []]
    assert cached() == []


def test_what_a_conversion_writes_is_not_pruned_before_it_is_old():
    """Its folder's name says no revision yet, so there is no lock to ask."""
    cache = Path(os.environ["ZOO_CACHE"])
    stage, record = cache / "models" / ".converted.1-ab12cd34.zoo-tmp", cache / "known" / ".x.json.1-ab12cd34.zoo-tmp"
    stage.mkdir(parents=True)
    record.parent.mkdir(parents=True)
    for path in (stage / "config.json", record):
        path.write_text("{}")
    assert keeping.prune(everything=True) == ([], [])
    assert (stage / "config.json").is_file()
    assert record.is_file()
    old = time.time() - 2 * keeping.BEING_WRITTEN
    os.utime(stage, (old, old))
    assert keeping.prune() == ([], [])  # a file in it is still growing
    for path in (stage / "config.json", stage, record):
        os.utime(path, (old, old))
    [[entry], kept] = keeping.prune()
    assert (entry.path, kept) == (stage, [])
    assert not stage.exists()
    assert not record.exists()


def test_an_unfinished_pull_is_listed_and_its_part_pruned(hub_server, capsys):
    commit = hub_server.add_repo(REPO, revision())
    hub_server.fault("silent", "/storage/", times=10**6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", lambda seconds: None)
        with pytest.raises(StoreError):
            zoo.pull(REF)
    assert main(["cache", "ls"]) == 0
    assert "unfinished" in capsys.readouterr().out
    assert main(["cache", "prune"]) == 0
    assert cached() == []
    assert commit
