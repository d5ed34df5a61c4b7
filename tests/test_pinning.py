"""A name of weights gives the bytes that it was pinned to, or none; and `zoo registry`, which keeps the names."""

import hashlib
import itertools
import json
import re
import subprocess
import sys
import warnings

import numpy as np
import probe
import pytest
from safetensors.numpy import save

import zoo
from zoo import entries, hub, registries, registry
from zoo.cache import cache_folder
from zoo.cli import main
from zoo.errors import Conflict, IntegrityError, InvalidArgument
from zoo.factory import build_plain
from zoo.hub import pinning

ENTRY = {"model": "resnet50", "task": "image_classification", "ref": "hf://team/resnet"}
PIN = {"revision": "a" * 40, "sha256": "1" * 64}


def write(path, weights):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"format": 1, "weights": weights}), "utf-8")
    return path


def own():
    return registries.own_path()


def kept():
    """The folders of pulled models that are in the cache."""
    folder = cache_folder("models")
    return [p.name for p in folder.iterdir() if not p.name.endswith(".lock")] if folder.is_dir() else []


# Pinning


@pytest.fixture
def _probes():
    probe.add()
    yield
    probe.remove()


def pushed(seed, repo="me/probe"):
    model = build_plain("probe_small", {})
    for weight in model.weights:
        weight.assign(np.random.default_rng([seed, len(weight.path)]).uniform(0.5, 1.5, weight.shape))
    return zoo.push(model, repo, license="mit")


PROBE = {"model": "probe_small", "task": "image_classification", "ref": "me/probe"}


@pytest.mark.usefixtures("_probes")
def test_the_first_pull_pins_and_says_so_and_later_ones_give_the_same_bytes():
    first = pushed(1)
    write(own(), {"probe_small.demo": PROBE | {"arguments": {"hidden": 8}, "license": "mit"}})
    with pytest.warns(UserWarning, match=f"probe_small.demo was not pinned yet. Now it is, to commit {first.id[:12]}"):
        found = hub.resolve_weights("probe", "probe_small.demo")
    row = zoo.info("probe_small.demo")
    assert (row.revision, row.sha256, row.license) == (first.id, found.sha256, "mit")
    pushed(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert hub.resolve_weights("probe", "probe_small.demo").sha256 == found.sha256


@pytest.mark.usefixtures("_probes")
def test_a_registry_that_cannot_be_written_is_no_reason_to_go_without(monkeypatch, tmp_path):
    pushed(1)
    write(tmp_path / "team" / "registry.json", {"probe_small.demo": PROBE})
    (tmp_path / "file").write_text("where a folder is needed")
    monkeypatch.setenv("ZOO_REGISTRY", f"{tmp_path / 'team'};{tmp_path / 'file' / 'own.json'}")
    with pytest.warns(UserWarning, match=r"is not pinned, and commit \w{12} and SHA-256 \w{12}, which came, could not"):
        assert hub.resolve_weights("probe", "probe_small.demo").spec.name == "probe_small"


@pytest.mark.usefixtures("_probes")
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arguments": {"hidden": 16}}, "it has hidden=8, not 16"),
        ({"arguments": {"num_classes": 3, "depth": 2}}, "depth=None, not 2"),
        ({"parameters": 7}, "parameters, not 7"),
        ({"model": "probe_wide"}, "model 'probe_small', not 'probe_wide'"),
    ],
)
def test_another_architecture_than_the_entry_gives_is_refused_and_not_recorded(changes, message):
    pushed(1)
    write(own(), {"probe_small.demo": PROBE | changes})
    before = own().read_bytes()
    with pytest.raises(IntegrityError, match=message):
        zoo.load("probe_small.demo")
    assert own().read_bytes() == before


@pytest.mark.usefixtures("_probes")
def test_bytes_of_another_hash_are_refused_and_nothing_of_them_is_kept():
    revision = pushed(1)
    write(own(), {"probe_small.demo": PROBE | {"revision": revision.id, "sha256": "1" * 64}})
    with pytest.raises(IntegrityError, match=rf"has the SHA-256 [0-9a-f]{{64}}, and {re.escape(str(own()))} says 1111"):
        zoo.build("probe", weights="probe_small.demo")
    assert not kept()
    zoo.pull("me/probe")  # the repository itself is sound
    with pytest.raises(IntegrityError, match="says 1111"):
        zoo.build("probe", weights="probe_small.demo")
    assert kept() == [revision.id]


def timm_files(seed=0):
    """The files of a repository of timm: a vision transformer of one block, for images of 32 x 32."""
    random, wide = np.random.default_rng(seed), 8
    shapes = {
        "cls_token": (1, 1, wide),
        "pos_embed": (1, 5, wide),
        "patch_embed.proj.weight": (wide, 3, 16, 16),
        "patch_embed.proj.bias": (wide,),
        "blocks.0.attn.qkv.weight": (3 * wide, wide),
        "blocks.0.attn.qkv.bias": (3 * wide,),
        "blocks.0.attn.proj.weight": (wide, wide),
        "blocks.0.attn.proj.bias": (wide,),
        "blocks.0.mlp.fc1.weight": (4 * wide, wide),
        "blocks.0.mlp.fc1.bias": (4 * wide,),
        "blocks.0.mlp.fc2.weight": (wide, 4 * wide),
        "blocks.0.mlp.fc2.bias": (wide,),
        "head.weight": (3, wide),
        "head.bias": (3,),
    }
    shapes |= {
        f"{norm}.{part}": (wide,)
        for norm in ("blocks.0.norm1", "blocks.0.norm2", "norm")
        for part in ("weight", "bias")
    }
    config = {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": 3,
        "model_args": {"img_size": 32, "embed_dim": wide, "depth": 1, "num_heads": 2},
        "pretrained_cfg": {"input_size": [3, 32, 32], "license": "mit"},
    }
    tensors = {name: random.normal(size=shape).astype("float32") for name, shape in shapes.items()}
    return {"config.json": json.dumps(config), "model.safetensors": save(tensors)}


TIMM = {
    "model": "vit_tiny",
    "task": "image_classification",
    "ref": "hf://timm/vit_tiny.demo",
    "format": "timm",
    "arguments": {"patch_size": 16, "image_shape": [32, 32, 3], "num_classes": 3, "embed_dim": 8, "depth": 1},
}


def test_a_foreign_checkpoint_is_pinned_by_its_own_file(hub_server, monkeypatch):
    """From a team's registry on the Hub to a model, and the same again after the repository has moved on."""
    monkeypatch.setenv("ZOO_REGISTRY", f"hf://team/models;{own()}")
    hub_server.add_repo("team/models", {"registry.json": json.dumps({"format": 1, "weights": {"vit_tiny.demo": TIMM}})})
    files = timm_files()
    commit = hub_server.add_repo("timm/vit_tiny.demo", files)
    with pytest.warns(UserWarning, match=f"to commit {commit[:12]}"):
        first = zoo.build("vit_tiny", weights="vit_tiny.demo")
    row = zoo.info("vit_tiny.demo")
    assert (row.revision, row.sha256) == (commit, hashlib.sha256(files["model.safetensors"]).hexdigest())
    hub_server.add_commit("timm/vit_tiny.demo", timm_files(1))
    for name in ("here", "elsewhere"):  # from the cache, and on a machine that has none
        monkeypatch.setenv(
            "ZOO_CACHE", str(cache_folder().parent / name) if name == "elsewhere" else str(cache_folder())
        )
        again = zoo.build("vit_tiny", weights="vit_tiny.demo")
        assert all(np.array_equal(a, b) for a, b in zip(first.get_weights(), again.get_weights(), strict=True))


def test_a_foreign_file_of_another_hash_is_not_even_fetched(hub_server):
    commit = hub_server.add_repo("timm/vit_tiny.demo", timm_files())
    write(own(), {"vit_tiny.demo": TIMM | {"revision": commit, "sha256": "1" * 64}})
    with pytest.raises(IntegrityError, match=r"has the SHA-256 .* says 1111"):
        zoo.load("vit_tiny.demo")
    assert not kept()
    assert not [seen for seen in hub_server.log if "model.safetensors" in seen.path]


# `zoo registry`


@pytest.mark.usefixtures("_probes")
def test_add_pins_and_verify_finds_damage(capsys):
    revision = pushed(1)
    said = [
        "--summary",
        "A probe",
        "--metric",
        "accuracy=0.9",
        "--dataset",
        "digits",
        "--source",
        "https://example.org",
    ]
    assert main(["registry", "add", "probe_small.mine", "me/probe", *said]) == 0
    row = zoo.info("probe_small.mine")
    assert (row.model, row.revision, row.license, row.metrics) == ("probe_small", revision.id, "mit", {"accuracy": 0.9})
    assert row.arguments == {"num_classes": 3}
    assert entries.checked_entries(own().read_bytes(), "own")
    capsys.readouterr()
    assert main(["registry", "verify", "probe*"]) == 0
    assert "verified: probe_small.mine" in capsys.readouterr().out
    weights = cache_folder("models") / revision.id / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert main(["registry", "verify", "probe*"]) == 2
    assert "in the cache is damaged" in capsys.readouterr().out
    assert main(["registry", "verify", "probe*", "--pull"]) == 0
    assert "1 verified" in capsys.readouterr().out
    assert [v.state for v in pinning.verify("resnet18.a1_in1k")] == ["not pinned"]


@pytest.mark.usefixtures("_probes")
def test_add_refuses_another_entry_of_the_name_unless_told(capsys):
    pushed(1)
    pinning.add("probe_small.mine", "me/probe")
    pinning.add("probe_small.mine", "me/probe")  # the same again
    second = pushed(2)
    with pytest.raises(Conflict, match=r"has another entry named 'probe_small.mine'"):
        pinning.add("probe_small.mine", "me/probe")
    row, path = pinning.add("probe_small.mine", "me/probe", replace=True)
    assert row.revision == second.id
    assert path == own()
    with pytest.raises(InvalidArgument, match="begins so"):
        pinning.add("resnet50.mine", "me/probe")
    with pytest.raises(InvalidArgument, match=r"weights are named variant.tag"):
        pinning.add("mine", "me/probe")
    assert main(["registry", "ad", "x.y", "me/probe"]) == 2
    assert "Did you mean 'add'?" in capsys.readouterr().err


def test_entries_written_at_once_are_all_kept():
    code = (
        "import sys\nfrom zoo import registries\n"
        "for i in range(10): registries.write_own(f'vit_tiny.n{sys.argv[1]}_{i}', "
        "{'model': 'vit_tiny', 'task': 'image_classification', 'ref': 'me/x'})"
    )
    running = [subprocess.Popen([sys.executable, "-c", code, str(n)]) for n in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert len(json.loads(own().read_text("utf-8"))["weights"]) == 30
    assert not list(own().parent.glob("*.zoo-tmp"))


def test_diff_and_search_on_the_command_line(tmp_path, capsys):
    before = write(tmp_path / "a.json", {"resnet50.x": ENTRY, "resnet50.y": ENTRY | PIN})
    after = write(tmp_path / "b.json", {"resnet50.y": ENTRY | PIN | {"revision": "b" * 40}, "resnet50.z": ENTRY})
    assert main(["registry", "diff", str(before), str(after)]) == 0
    shown = capsys.readouterr().out
    assert shown.splitlines()[:3] == ["+ resnet50.z", "- resnet50.x", "~ resnet50.y"]
    assert f"{'a' * 40} -> {'b' * 40}" in shown
    assert main(["registry", "diff", str(before), str(before)]) == 0
    assert capsys.readouterr().out == "no difference\n"
    assert main(["registry", "diff", "built in", "own", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["removed"]) == len(registry.index()["weights"])
    words = ["vit", "in21k", "--max-params", "90M", "--min-accuracy", "0.85", "--json"]
    assert main(["registry", "search", *words]) == 0
    found = json.loads(capsys.readouterr().out)
    for _, rows in itertools.groupby(found, key=lambda row: row["dataset"]):  # accuracies on other data do not compare
        figures = [row["metrics"]["accuracy"] for row in rows]
        assert figures == sorted(figures, reverse=True)
    assert len(list(itertools.groupby(row["dataset"] for row in found))) == len({row["dataset"] for row in found}) > 1
    assert {row["model"] for row in found} == {"vit_base"}
    assert main(["registry", "search", "--max-params", "many"]) == 2
    assert "For example 25M" in capsys.readouterr().err


def test_lists_and_pages_say_what_is_known(capsys):
    assert main(["list", "--weights", "resnet50"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split()[:3] == ["resnet50.a1_in1k", "25.6M", "80.4%"] for line in lines)
    assert main(["list", "--weights", "vit"]) == 0
    assert "vit_large_patch16_384.augreg_in21k_ft_in1k" in capsys.readouterr().out
    assert main(["list", "--weights", "resnet5O"]) == 2
    assert "Did you mean 'resnet50'" in capsys.readouterr().err
    assert main(["info", "resnet50.a1_in1k"]) == 0
    page = capsys.readouterr().out
    for words in ("apache-2.0", "not pinned yet", "80.38%", "results-imagenet.csv", 'weights="resnet50.a1_in1k"'):
        assert words in page
    assert main(["info", "resnet50.kerashub_in1k"]) == 0
    assert "not stated: ask its publisher before you use it" in capsys.readouterr().out
