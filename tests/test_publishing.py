"""Pushing to the Hugging Face Hub and to folders: what is sent is said before, sent once, and refused in time.

The Hub is the loopback server, driven by the unmodified client.
"""

import hashlib
import json
import re
import signal
import subprocess
import sys
import time

import numpy as np
import probe
import pytest
from hub_repos import card_problems
from huggingface_hub import ModelCard

import zoo
from zoo.cli import main
from zoo.errors import IntegrityError, InvalidArgument, StoreError, UnknownName
from zoo.factory import build_plain
from zoo.files import json_bytes
from zoo.hub.changes import Changes
from zoo.weights import save_weights

WRITES = "POST|PUT|DELETE"


@pytest.fixture(autouse=True, scope="module")
def _probe():
    probe.add()
    yield
    probe.remove()


def made(seed=0, labels=("cat", "dog", "cow"), name="probe_small", **arguments):
    model = build_plain(name, arguments)
    for number, weight in enumerate(model.weights):
        random = np.random.default_rng(seed * 100 + number)
        weight.assign(random.uniform(0.5, 1.5, weight.shape).astype("float32"))
    model.zoo_spec = model.zoo_spec.but(labels=labels)
    return model


def run_folder(folder, seed=0, curves=b"\x89PNG not really", parent=None, **changes):
    """Writes what a training leaves behind, as far as a push looks at it."""
    folder.mkdir(parents=True, exist_ok=True)
    model = made(seed)
    spec = model.zoo_spec.but(recipe="warmup(epochs=2.0)", parent=parent)
    save_weights(model, folder / "best.safetensors")
    (folder / "config.json").write_bytes(json_bytes(spec.to_json()))
    if curves:
        (folder / "curves.png").write_bytes(curves)
    record = {
        "data": {"name": "probes", "fingerprint": "sha256:0123", "sizes": {"test": 60}},
        "seed": 7,
        "status": "finished",
        "metrics": {"test": {"accuracy": 0.918273, "loss": 0.25, "examples": 60}},
    }
    (folder / "run.json").write_text(json.dumps({**record, **changes}), "utf-8")
    return folder


def states(changes):
    return {f.name: f.state for f in changes.files}


def writes(hub_server):
    """Returns the requests that change a Hub; some POSTs only ask."""
    asking = r"/(preupload|paths-info|validate-yaml)(/|$|\?)"
    return [s for s in hub_server.log if re.fullmatch(WRITES, s.method) and not re.search(asking, s.path)]


# To the Hugging Face Hub


def test_a_push_is_one_commit_and_the_same_again_is_none(hub_server, tmp_path):
    run = run_folder(tmp_path / "run")
    pushed = zoo.push(run, "hf://me/probe", license="apache-2.0", message="first", quiet=True)
    assert pushed.created
    assert pushed.ref == str(pushed) == f"hf://me/probe@{pushed.id}"
    assert pushed.url == f"{hub_server.url}/me/probe/tree/{pushed.id}"
    assert pushed.path is None
    newest, initial = hub_server.commits("me/probe")
    assert (newest.id, newest.parent, newest.title) == (pushed.id, initial.id, "first")
    files = hub_server.files("me/probe")
    assert set(files) == {"config.json", "model.safetensors", "README.md", "run.json", "curves.png"}
    assert files["model.safetensors"] == (run / "best.safetensors").read_bytes()
    listed = json.loads(files["config.json"])["files"]
    assert {n: e["sha256"] for n, e in listed.items()} == {
        n: hashlib.sha256(b).hexdigest() for n, b in files.items() if n != "config.json"
    }
    hub_server.log.clear()
    again = zoo.push(run, "hf://me/probe", license="apache-2.0", message="second", quiet=True)
    assert (again.id, again.created) == (pushed.id, False)
    assert writes(hub_server) == []
    loaded = zoo.load("hf://me/probe")
    assert loaded.zoo_spec.labels == ("cat", "dog", "cow")
    assert all(np.array_equal(a, b) for a, b in zip(loaded.get_weights(), made().get_weights(), strict=True))


def test_the_card_on_the_hub_is_valid_and_names_the_hub(hub_server, tmp_path):
    zoo.push(run_folder(tmp_path / "run"), "hf://me/probe", license="cc-by-4.0", quiet=True)
    text = hub_server.files("me/probe")["README.md"].decode()
    _, errors, warnings = card_problems(text)
    assert (errors, warnings) == ([], [])
    card = ModelCard(text)
    assert card.data.license == "cc-by-4.0"
    assert [(r.metric_type, r.metric_value) for r in card.data.eval_results] == [("accuracy", 0.918273)]
    assert 'zoo.load("hf://me/probe")' in card.text


def test_only_changed_files_are_sent_and_what_goes_is_said(hub_server, tmp_path):
    run = run_folder(tmp_path / "run")
    first = zoo.push(run, "hf://me/probe", license="mit", dry_run=True)
    assert set(states(first).values()) == {"new"}
    assert first.base is None
    zoo.push(run, "hf://me/probe", license="mit", quiet=True)
    same = zoo.push(run, "hf://me/probe", license="mit", dry_run=True)
    assert same.nothing
    assert same.upload == 0
    assert str(same).endswith("5 same; nothing to upload")

    (run / "curves.png").unlink()
    changed = zoo.push(run, "hf://me/probe", license="apache-2.0", dry_run=True)
    wanted = {"README.md": "changed", "config.json": "changed", "curves.png": "removed"}
    assert states(changed) == wanted | {"model.safetensors": "same", "run.json": "same"}
    assert changed.upload == sum(f.size for f in changed.files if f.state == "changed")
    assert str(changed).split("\n")[0] == "hf://me/probe"
    assert re.search(r"\n  removed  curves.png +15 B\n", str(changed))
    hub_server.log.clear()
    pushed = zoo.push(run, "hf://me/probe", license="apache-2.0", quiet=True)
    assert pushed.created
    assert set(hub_server.files("me/probe")) == {"config.json", "model.safetensors", "README.md", "run.json"}
    assert hub_server.seen("/storage/", "PUT") == []  # the weights were there
    assert len([s for s in writes(hub_server) if "/commit/" in s.path]) == 1


def test_a_dry_run_changes_nothing(hub_server, tmp_path):
    run = run_folder(tmp_path / "run")
    found = zoo.push(run, "hf://me/probe", license="mit", private=True, tag="v1", revision="dev", dry_run=True)
    assert isinstance(found, Changes)
    assert found.target == "hf://me/probe@dev"
    assert found.upload == sum(f.size for f in found.files)
    assert hub_server.repos.find("me/probe") is None
    assert writes(hub_server) == []
    found = zoo.push(run, "me/probe", tag="v1", dry_run=True)
    assert found.target == "me/probe"
    assert not (tmp_path / "zoo-hub").exists()


def test_branch_tag_and_visibility(hub_server, tmp_path):
    run = run_folder(tmp_path / "run")
    first = zoo.push(run, "hf://me/probe", license="mit", private=True, tag="v1", quiet=True)
    assert hub_server.repos.find("me/probe").private
    second = zoo.push(made(1), "hf://me/probe", license="mit", revision="dev", quiet=True)
    assert second.id != first.id
    repo = hub_server.repos.find("me/probe")
    assert repo.branches["main"] == repo.tags["v1"] == first.id
    assert repo.branches["dev"] == second.id
    assert states(zoo.push(made(1), "hf://me/probe", license="mit", revision="dev", dry_run=True)) == {
        "README.md": "same", "config.json": "same", "model.safetensors": "same",
    }  # fmt: skip
    with pytest.raises(InvalidArgument, match=r"has a tag of this name already"):
        zoo.push(made(2), "hf://me/probe", license="mit", tag="v1", quiet=True)
    with pytest.raises(InvalidArgument, match="exists and is private"):
        zoo.push(made(2), "hf://me/probe", license="mit", private=False, quiet=True)
    assert repo.branches["main"] == first.id


# Refused in time


class Untouched:
    """Something to push that must not be looked at: it is no model, so looking would raise another error."""


def test_what_cannot_be_is_refused_before_any_work(hub_server, monkeypatch):
    commit = "a" * 40
    for target, options, expected in (
        ("hf://me/probe", {}, "needs a licence, and nobody chose one.*apache-2.0, mit.*may bind"),
        ("hf://me/probe", {"license": "apache2"}, "Did you mean 'apache-2.0'"),
        ("hf://me/probe", {"license": "other"}, "needs the name and the text"),
        (f"hf://me/probe@{commit}", {"license": "mit"}, f"Leave out '@{commit}'; a branch is named by revision="),
        ("me/probe@dev", {"license": "mit"}, "Leave out '@dev'; a branch is named by revision="),
        (
            "me/probe",
            {"private": True},
            "`private` is for the Hugging Face Hub.*Leave it out, or push to hf://me/probe",
        ),
        ("me/probe", {"revision": "dev"}, "`revision` is for the Hugging Face Hub"),
        ("me/probe", {"tag": "a b"}, "not a legal name of a tag"),
        ("hf://me/probe", {"license": "mit", "tag": "a b"}, "`tag` is not a legal name of a tag"),
        ("hf://me/probe", {"license": "mit", "tag": "0123456"}, "`tag` is not a legal name of a tag"),
        ("hf://me/probe", {"license": "mit", "revision": "a..b"}, "`revision` is not a legal name of a branch"),
        ("hf://me/probe", {"license": "mit", "private": "yes"}, "`private` must be True, False or None"),
        ("me/probe", {"format": "timm"}, "timm loads from the Hugging Face Hub"),
        ("hf://me/probe", {"license": "mit", "format": "tim"}, "no format to push in named 'tim'. Did you mean 'timm'"),
        ("https://example.com/me/probe", {}, "hf://"),
    ):
        with pytest.raises(InvalidArgument, match=expected):
            zoo.push(Untouched(), target, **options)
    assert writes(hub_server) == []
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(StoreError, match="HF_HUB_OFFLINE is set"):
        zoo.push(Untouched(), "hf://me/probe", license="mit")


def test_nobody_logged_in_is_refused_before_any_work(hub_server, monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(StoreError, match=r"nobody is logged in.*HF_TOKEN.*hf auth login.*Nothing was pushed"):
        zoo.push(Untouched(), "hf://me/probe", license="mit")
    assert hub_server.log == []


@pytest.mark.parametrize("token", ["read_token", "other_token"])
def test_a_token_that_may_not_write_leaves_nothing(hub_server, monkeypatch, token):
    monkeypatch.setenv("HF_TOKEN", getattr(hub_server, token))
    with pytest.raises(StoreError) as caught:
        zoo.push(made(), "hf://me/probe", license="mit", quiet=True)
    assert getattr(hub_server, token) not in str(caught.value)
    assert "write" in str(caught.value) or "may" in str(caught.value)
    assert hub_server.repos.find("me/probe") is None


def test_damaged_weights_and_borrowed_names_are_not_published(hub_server, tmp_path):
    run = run_folder(tmp_path / "run")
    flipped = bytearray((run / "best.safetensors").read_bytes())
    flipped[-5] ^= 4
    (run / "best.safetensors").write_bytes(flipped)
    for target in ("hf://me/probe", "me/probe"):
        with pytest.raises(IntegrityError, match="its data has SHA-256"):
            zoo.push(run, target, license="mit", quiet=True)
        for name in ("model.safetensors", "run.json", "README.md", "config.json"):
            with pytest.raises(InvalidArgument, match="that of a file zoo writes"):
                zoo.push(made(), target, license="mit", assets={name: b"{}"}, quiet=True)
    assert hub_server.repos.find("me/probe") is None
    assert not (tmp_path / "zoo-hub" / "me" / "probe" / "refs" / "main").exists()


def test_a_bare_name_goes_where_zoo_hub_says(hub_server, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("ZOO_HUB")
    found = zoo.push(made(), "me/probe")  # no account, no network
    assert found.path.is_relative_to(tmp_path / "home" / ".zoo" / "hub")
    assert found.url is None
    assert hub_server.log == []
    monkeypatch.setenv("ZOO_HUB", "hf://")
    with pytest.raises(InvalidArgument, match="needs a licence"):
        zoo.push(made(), "me/probe")
    assert zoo.push(made(), "me/probe", license="mit", quiet=True).ref.startswith("hf://me/probe@")


def test_the_licence_of_the_parent_is_named(hub_server, tmp_path):
    parent = zoo.push(made(), "hf://me/parent", license="cc-by-nc-4.0", quiet=True)
    with pytest.raises(InvalidArgument, match=rf"made from {parent.ref}, whose licence is 'cc-by-nc-4.0' and may bind"):
        zoo.push(zoo.load("hf://me/parent"), "hf://me/child")  # a model that was loaded
    run = run_folder(tmp_path / "run", parent={"ref": parent.ref, "sha256": "0" * 64})
    with pytest.raises(InvalidArgument, match=rf"made from {parent.ref}, whose licence is 'cc-by-nc-4.0'"):
        zoo.push(run, "hf://me/child")  # a run that was fine-tuned from it, and its card is in the cache
    with pytest.warns(UserWarning, match="You chose the licence 'mit'. It was made from .*'cc-by-nc-4.0' and may bind"):
        zoo.push(run, "hf://me/other", license="mit", quiet=True)
    zoo.push(run, "hf://me/child", license="cc-by-nc-4.0", quiet=True)
    card = ModelCard(hub_server.files("me/child")["README.md"].decode())
    assert card.data.base_model == "me/parent"
    recorded = {"ref": "hf://me/gone@" + "a" * 40, "license": "cc-by-sa-4.0"}
    with pytest.raises(InvalidArgument, match=r"made from hf://me/gone@a+, whose licence is 'cc-by-sa-4.0'"):
        zoo.push(run_folder(tmp_path / "tuned", parent=recorded), "hf://me/child")  # as `zoo.finetune` records it
    elsewhere = run_folder(tmp_path / "other", parent={"ref": "hf://me/gone@" + "a" * 40})
    with pytest.raises(InvalidArgument, match="The licence of the data and of the weights that training started from"):
        zoo.push(elsewhere, "hf://me/child")


# What is shown


def test_the_changes_are_shown_where_somebody_watches(hub_server, tmp_path, monkeypatch, capsys):
    run = run_folder(tmp_path / "run")
    zoo.push(run, "me/probe", dry_run=True)
    assert capsys.readouterr().out == ""  # no terminal
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    zoo.push(run, "me/probe", assets={"LICENSE.md": b"[bold]x[/bold]"}, quiet=True)
    assert capsys.readouterr().out == ""
    zoo.push(run, "me/probe", license="mit", assets={"LICENSE.md": b"[bold]y[/bold]"})
    shown = capsys.readouterr().out
    assert re.search(r"changed +README.md +[\d,.]+ k?B\n", shown)
    assert "same     model.safetensors" in shown
    assert re.search(r"3 changed, 3 same; [\d,.]+ k?B to upload\n", shown)


def test_the_command(hub_server, tmp_path, capsys):
    run = str(run_folder(tmp_path / "run"))
    assert main(["push", run, "hf://me/probe"]) == 2
    assert "Error: a model on the Hugging Face Hub needs a licence" in capsys.readouterr().err
    assert main(["push", run, "hf://me/probe", "--license", "mit", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"model.safetensors +[\d,.]+ k?B +new\n", shown)
    assert "would be sent to hf://me/probe, which would be made; a dry run, so nothing was" in shown
    assert main(["push", run, "hf://me/probe", "--license", "mit", "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["base"] is None
    assert found["upload"] == sum(f["size"] for f in found["files"])
    assert hub_server.repos.find("me/probe") is None
    words = ["--license", "mit", "--private", "--tag", "v1", "-m", "from the shell"]
    words += [f"--labels={label}" for label in "xyz"]
    assert main(["push", run, "hf://me/probe", *words, "--json"]) == 0
    pushed = json.loads(capsys.readouterr().out)
    assert pushed["created"]
    assert pushed["url"].startswith(hub_server.url)
    assert pushed["path"] is None
    repo = hub_server.repos.find("me/probe")
    assert repo.private
    assert repo.tags == {"v1": pushed["id"]}
    assert hub_server.commits("me/probe")[0].title == "from the shell"
    assert json.loads(hub_server.files("me/probe")["config.json"])["labels"] == ["x", "y", "z"]
    own = ["--license-name", "acme-1", "--license-link", "https://example.com/acme"]
    assert main(["push", run, "me/probe", *own]) == 0
    assert "folder" in capsys.readouterr().out
    assert main(["push", run, "me/probe", "--license", "mit", *own]) == 2
    assert "either an identifier or one of your own" in capsys.readouterr().err
    assert hub_server.token not in json.dumps([pushed, found])


# Interrupted


INTERRUPTED = """
import sys
from zoo.cli import main
sys.exit(main(["push", sys.argv[1], "hf://me/probe", "--license", "mit"]))
"""


def test_ctrl_c_in_the_middle_leaves_nothing_and_says_how_to_go_on(hub_server, tmp_path):
    run = zoo.train("vit", "digits", epochs=1, patch_size=4, embed_dim=16, depth=1, num_heads=2,
                    out=tmp_path / "run", quiet=True).folder  # fmt: skip
    hub_server.fault("slow", path="/storage/", method="PUT", seconds=90)
    started = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(run)],
        env=hub_server.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not hub_server.seen("/storage/", "PUT") and time.monotonic() < deadline and started.poll() is None:
            time.sleep(0.05)
        assert hub_server.seen("/storage/", "PUT"), started.communicate()[1]
        started.send_signal(signal.SIGINT)
        out, err = started.communicate(timeout=60)
    finally:
        started.kill()
    assert started.returncode == 130
    assert "holds what it held before, or the whole new revision" in err
    assert "Run the same command again" in err
    assert "Traceback" not in err
    assert "pushed" not in out
    assert [c.title for c in hub_server.commits("me/probe")] == ["initial commit"]
    assert zoo.push(run, "hf://me/probe", license="mit", quiet=True).created
    assert zoo.load("hf://me/probe").zoo_spec.name == "vit_tiny"
    assert hub_server.token not in out + err


# In timm's format


FOR_TIMM = {
    "resnet18": {"image_shape": (64, 64, 3)},
    "resnet50": {"image_shape": (64, 64, 3)},
    "vit_tiny": {"image_shape": (32, 32, 3), "patch_size": 8, "depth": 2},
    "vit_small": {"image_shape": (64, 64, 3)},
}
WITH_TIMM = """
import json, sys, types
sys.modules["torchvision._meta_registrations"] = types.ModuleType("x")
import numpy, timm, torch
for name, images in numpy.load(sys.argv[1]).items():
    model = timm.create_model(f"hf_hub:me/{name}", pretrained=True).eval()
    with torch.no_grad():
        logits = model(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    read = timm.data.resolve_model_data_config(model)
    print(json.dumps([logits.tolist(), read, model.pretrained_cfg["label_names"]]))
"""


def with_random_weights(name, arguments):
    """Returns a model whose logits are of ordinary size: kernels drawn by their fan-in."""
    model = made(3, name=name, num_classes=3, **arguments)
    for number, weight in enumerate(model.weights):
        shape = tuple(weight.shape)
        if len(shape) > 1 and weight.path.endswith("kernel"):
            values = np.random.default_rng(number).standard_normal(shape) / np.sqrt(np.prod(shape[:-1]))
            weight.assign(values.astype("float32"))
    declared = {"kind": "image", "image_shape": list(arguments["image_shape"]), "scale": 1 / 16, "maximum": 16.0,
                "mean": [0.5, 0.4, 0.3], "std": [0.25, 0.2, 0.1], "resize": "bicubic", "crop": 0.9}  # fmt: skip
    model.zoo_spec = model.zoo_spec.but(preprocessing=declared)
    return model


@pytest.mark.torch
@pytest.mark.peers
def test_what_we_push_for_timm_loads_in_timm(hub_server, tmp_path):
    images, ours = {}, {}
    for name, arguments in FOR_TIMM.items():
        model = with_random_weights(name, arguments)
        pushed = zoo.push(model, f"hf://me/{name}", license="apache-2.0", format="timm", quiet=True)
        images[name] = np.random.default_rng(0).normal(size=(2, *arguments["image_shape"])).astype("float32")
        ours[name] = model.predict(images[name], verbose=0)
        files = hub_server.files(f"me/{name}")
        assert set(files) == {"README.md", "config.json", "model.safetensors"}
        card = ModelCard(files["README.md"].decode())
        assert card.data.library_name == "timm"
        assert "pixels of 0 to 255, multiplied by 0.003922" in card.text  # timm's way to say 0 to 16, by 1 / 16
        assert f'timm.create_model("hf_hub:me/{name}", pretrained=True)' in card.text
        if name in ("resnet18", "vit_tiny"):
            back = zoo.load(f"hf://me/{name}")  # as the foreign checkpoint it now is
            assert np.allclose(back.predict(images[name], verbose=0), ours[name], atol=1e-6)
            assert back.zoo_spec.labels == ("cat", "dog", "cow")
            assert back.zoo_spec.parent["ref"] == pushed.ref
            assert zoo.push(model, f"hf://me/{name}", license="apache-2.0", format="timm").created is False
    np.savez(tmp_path / "images.npz", **images)
    done = subprocess.run(
        [sys.executable, "-c", WITH_TIMM, str(tmp_path / "images.npz")],
        env=hub_server.environment(HF_HOME=tmp_path / "timm-home"),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for name, line in zip(images, done.stdout.splitlines(), strict=True):
        logits, read, labels = json.loads(line)
        assert np.abs(ours[name] - logits).max() < 1e-4, name
        assert np.abs(ours[name][0] - ours[name][1]).max() > 1e-2, name  # the images do tell
        assert read["mean"] == pytest.approx([0.5, 0.4, 0.3])
        assert read["std"] == pytest.approx([0.25, 0.2, 0.1])
        assert (read["interpolation"], read["crop_pct"]) == ("bicubic", pytest.approx(0.9))
        assert read["input_size"] == [3, *FOR_TIMM[name]["image_shape"][:2]]
        assert labels == ["cat", "dog", "cow"]


def test_what_timm_does_not_have_is_refused(hub_server):
    with pytest.raises(InvalidArgument, match=r"only some models can be pushed in timm's format.*resnet, vit"):
        zoo.push(made(), "hf://me/probe", license="mit", format="timm")
    assert hub_server.repos.find("me/probe") is None


def test_a_format_is_named_when_it_is_misspelt():
    with pytest.raises(UnknownName, match="Did you mean 'timm'"):
        zoo.push(Untouched(), "me/probe", format="timn")
