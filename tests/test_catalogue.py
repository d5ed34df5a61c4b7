"""Weights by name: what registries say, which of them counts, and that a name always gives the bytes of its pin."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import zoo
from zoo import catalogue, entries, hub, indexing, registries, registry
from zoo.cache import cache_folder
from zoo.errors import Conflict, IntegrityError, InvalidArgument, StoreError, UnknownName
from zoo.hub import convert
from zoo.shipping import shipped_entries

ROOT = Path(__file__).parent.parent
ENTRY = {"model": "resnet50", "task": "image_classification", "ref": "hf://team/resnet"}
PIN = {"revision": "a" * 40, "sha256": "1" * 64}


def write(path, weights, **more):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"format": 1, "weights": weights} | more), "utf-8")
    return path


# What zoo ships


def test_the_built_in_entries_are_those_of_weights_toml_and_of_the_hub_in_the_package():
    """`make registry` renews them."""
    shipped, described = registry.index()["weights"], indexing.described_weights()
    inside = shipped_entries()
    assert {n: e for n, e in shipped.items() if n in inside} == inside
    shipped = {n: e for n, e in shipped.items() if n not in inside}
    assert {n: {k: v for k, v in e.items() if k != "parameters"} for n, e in shipped.items()} == described
    assert len(described) >= 30


def test_each_built_in_entry_fits_its_model():
    for row in zoo.list_weights():
        model = zoo.info(row.model)
        assert not set(row.arguments) - set(model.arguments)
        assert row.task == model.task
        assert row.pinned == row.ref.startswith("zoo://"), "a pin needs its bytes checked, and those are in the package"
        assert bool(row.metrics) == bool(row.source), f"{row.name}: a figure needs its source, and only then has one"
        changed = {k: v for k, v in row.arguments.items() if model.arguments[k] != v}
        if not changed.keys() - {"flavour", "num_classes", "epsilon"} and row.arguments.get("flavour") != "keras":
            assert row.parameters == model.parameters


def test_counts_of_built_in_entries_are_those_of_the_networks():
    for name in ("resnet18.a1_in1k", "vit_tiny_patch16_384.augreg_in21k_ft_in1k"):
        row = zoo.info(name)
        assert zoo.build(row.model, **row.arguments).count_params() == row.parameters


@pytest.mark.torch
def test_timm_agrees_with_its_built_in_entries(monkeypatch):
    """timm's own configurations say the same of repository, licence and image size, and its networks of the count."""
    import types

    monkeypatch.setitem(sys.modules, "torchvision._meta_registrations", types.ModuleType("none"))
    timm = pytest.importorskip("timm")
    for row in [row for row in zoo.list_weights() if row.format == "timm"]:
        cfg = timm.models.get_pretrained_cfg(row.name)
        assert row.ref == f"hf://{cfg.hf_hub_id}"
        assert row.license == cfg.license
        assert row.dataset.endswith(f", {cfg.input_size[1]} x {cfg.input_size[2]} pixels")
        assert row.arguments["num_classes"] == cfg.num_classes
        assert list(row.arguments.get("image_shape", (*cfg.input_size[1:], 3))) == [*cfg.input_size[1:], 3]
        config = {"architecture": row.name.partition(".")[0], "pretrained_cfg": cfg.to_dict()}
        model, arguments = convert.converter("timm").builder_of(config)
        assert model == row.model
        assert arguments.items() <= row.arguments.items()
    net = timm.create_model("inception_v3", pretrained=False, aux_logits=False)
    floats = sum(v.numel() for k, v in net.state_dict().items() if not k.endswith("num_batches_tracked"))
    assert zoo.info("inception_v3.tv_in1k").parameters == floats


@pytest.mark.peers
def test_keras_hub_agrees_with_its_built_in_entries():
    from keras_hub.models import ResNetBackbone, ViTBackbone, XceptionBackbone

    presets = {**ResNetBackbone.presets, **ViTBackbone.presets, **XceptionBackbone.presets}
    rows = [row for row in zoo.list_weights() if row.format == "keras_hub"]
    assert rows
    for row in rows:
        preset = row.ref.removeprefix("hf://keras/")
        width = {"resnet18": 512, "vit_base": 768, "vit_large": 1024}.get(row.model, 2048)
        counted = presets[preset]["metadata"]["params"] + 1000 * width + 1000  # without and with the classifier
        if "_v2_" not in preset:  # of which it gives the counts of version 1
            assert row.parameters == counted


# Files that others write: the code and the schema refuse the same


def violations(value, schema, root):
    """The keywords of a JSON schema that a value breaks; knows the keywords that ours has, and fails on others."""
    if "$ref" in schema:
        return violations(value, root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root)
    kinds = {"object": dict, "string": str, "integer": int, "number": (int, float), "null": type(None)}
    known = {
        "$schema",
        "title",
        "description",
        "$defs",
        "type",
        "const",
        "required",
        "properties",
        "pattern",
        "minimum",
    }
    assert not set(schema) - known - {"additionalProperties", "propertyNames"}, schema
    broken = []
    if "type" in schema:
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if isinstance(value, bool) or not any(isinstance(value, kinds[t]) for t in types):
            return ["type"]
    if "const" in schema and value != schema["const"]:
        broken.append("const")
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        broken.append("pattern")
    if isinstance(value, int) and value < schema.get("minimum", value):
        broken.append("minimum")
    if isinstance(value, dict):
        broken += [f"required {k}" for k in schema.get("required", ()) if k not in value]
        for key, inner in value.items():
            broken += violations(key, schema.get("propertyNames", {}), root)
            beside = schema.get("additionalProperties", {})
            if key in schema.get("properties", {}):
                broken += violations(inner, schema["properties"][key], root)
            elif beside is False:
                broken.append(f"additional {key}")
            else:
                broken += violations(inner, beside, root)
    return broken


@pytest.fixture(scope="module")
def schema():
    return json.loads((ROOT / "registry.schema.json").read_text("utf-8"))


def test_the_shipped_registry_fits_the_schema(schema):
    assert violations(registry.index(), schema, schema) == []
    for name, entry in registry.index()["weights"].items():
        assert entries.checked_entry(name, entry, "it") is entry


def test_code_and_schema_know_the_same_fields_and_patterns(schema):
    fields = schema["$defs"]["entry"]["properties"]
    assert fields.keys() == entries.FIELDS.keys()
    assert {f for f, s in fields.items() if "null" in s["type"]} == entries._NULLABLE
    patterns = {"model": entries.MODEL, "ref": entries.REF, "sha256": entries.SHA256, "summary": entries.TEXT}
    assert {f: fields[f]["pattern"] for f in patterns} == {f: f"^({p.pattern})$" for f, p in patterns.items()}


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("resnet50", {}, "not variant.tag. Received: 'resnet50'"),
        ("resnet50.a b", {}, "not variant.tag"),
        ("resnet50.mine", {"ref": None}, "'ref' of 'resnet50.mine' in .* is wrong. Received: None"),
        ("resnet50.mine", {"ref": "hf://team/resnet@main"}, "a repository without a revision"),
        ("resnet50.mine", {"ref": "../up"}, "'ref'"),
        ("resnet50.mine", {"revision": "main"}, "40 hexadecimal digits of a commit"),
        ("resnet50.mine", {"revision": "A" * 40}, "'revision'"),
        ("resnet50.mine", {"sha256": "1" * 63}, "64 hexadecimal digits"),
        ("resnet50.mine", {"parameters": -1}, "a count"),
        ("resnet50.mine", {"parameters": True}, "a count"),
        ("resnet50.mine", {"parameters": "25M"}, "a count"),
        ("resnet50.mine", {"metrics": {"accuracy": "80%"}}, "name of a figure -> number"),
        ("resnet50.mine", {"metrics": [0.8]}, "'metrics'"),
        ("resnet50.mine", {"arguments": {"num classes": 3}}, "argument of the model's builder"),
        ("resnet50.mine", {"summary": "\x1b[2Jgone"}, "a text of one line"),
        ("resnet50.mine", {"license": ""}, "a licence"),
        ("resnet50.mine", {"licence": "mit"}, "Did you mean 'license'?"),
    ],
)
def test_a_damaged_entry_is_refused_by_code_and_schema(tmp_path, schema, name, changes, message):
    path = write(tmp_path / "r.json", {name: ENTRY | changes})
    with pytest.raises((InvalidArgument, UnknownName), match=message):
        registries.read(path)
    assert violations(json.loads(path.read_text()), schema, schema)
    assert violations({"format": 1, "weights": {"resnet50.mine": ENTRY}}, schema, schema) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "is not valid JSON"),
        (b"[]", "is not a registry of weights"),
        (b'{"format": 1}', "is not a registry of weights"),
        (b'{"format": 2, "weights": {}}', "a format this zoo cannot read. Received: 2"),
        (b'{"format": 1, "weights": {}, "models": {}}', "holds more than weights"),
        (b"[" * 100_000, "is not valid JSON"),
        (b'{"format": 1, "weights": {"a.b": {"model": "vit"}}}', "has no 'task'"),
        (b"\xff\xfe", "is not valid JSON"),
    ],
)
def test_a_damaged_registry_is_refused_and_named(tmp_path, monkeypatch, content, message):
    path = tmp_path / "theirs" / "registry.json"
    path.parent.mkdir()
    path.write_bytes(content)
    monkeypatch.setenv("ZOO_REGISTRY", f"{path.parent};{tmp_path / 'own.json'}")
    with pytest.raises(InvalidArgument, match=f"{re.escape(str(path))} .*{message}|{message}"):
        zoo.list_weights()
    assert zoo.info("resnet50").parameters, "models do not depend on somebody's registry of weights"


def test_a_registry_that_is_listed_and_missing_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_REGISTRY", str(tmp_path / "nowhere"))
    with pytest.raises(StoreError, match=r"nowhere. There is no such file"):
        zoo.list_weights()


# Searching


def test_weights_are_searched_by_pattern_words_and_limits():
    names = zoo.list_weights("resnet50.*").names
    assert "resnet50.a1_in1k" in names
    assert all(n.startswith("resnet50.") for n in names)
    assert zoo.list_weights("*_384.*").names == [n for n in zoo.list_weights().names if "_384." in n]
    assert zoo.list_weights("resnet[13]?.a1_in1k").names == ["resnet18.a1_in1k", "resnet34.a1_in1k"]
    found = zoo.list_weights(text="ResNet strikes", license="Apache-2.0", max_parameters=26_000_000, min_accuracy=0.79)
    assert found
    for row in found:
        assert "strikes back" in row.summary
        assert row.parameters <= 26_000_000
        assert row.metrics["accuracy"] >= 0.79
    assert {row.license for row in zoo.list_weights(license="cc-by-nc-4.0")} == {"cc-by-nc-4.0"}
    assert len(zoo.list_weights(text="google")) == 5
    assert zoo.list_weights(text="no such words") == []
    assert all(row.metrics for row in zoo.list_weights(dataset="imagenet-1k"))
    with pytest.raises(UnknownName, match="Did you mean 'image_classification'"):
        zoo.list_weights(task="image_clasification")
    with pytest.raises(InvalidArgument, match=r"Received: 80. Write 0.8 for 80%"):
        zoo.list_weights(min_accuracy=80)


def test_every_search_finds_what_looking_at_each_row_finds():
    """The columns and literal shortcuts change nothing but the time."""
    rows = list(zoo.list_weights())
    for word in ("vit", "in21k", "apache", "keras", "timm", "384", "classification"):
        said = [
            (row.name, row.model, row.task, row.dataset, row.license, row.format, row.ref, row.summary) for row in rows
        ]
        wanted = [
            row.name for row, all_said in zip(rows, said, strict=True) if word in "\n".join(map(str, all_said)).lower()
        ]
        assert zoo.list_weights(text=word).names == wanted
    from fnmatch import fnmatchcase

    for pattern in ("*", "vit*", "*keras*", "vit_?as*16*", "[rv]*in1k", "resnet18.a1_in1k", "", "*.tv?_in1k"):
        assert zoo.list_weights(pattern).names == [r.name for r in rows if fnmatchcase(r.name, pattern)]


def test_rows_are_a_sequence_and_made_one_by_one():
    rows = zoo.list_weights("resnet18.*")
    assert rows[0].name == rows.names[0]
    assert rows[-1] == list(rows)[-1]
    assert [r.name for r in rows[:2]] == rows.names[:2]
    assert rows == list(rows)
    assert "resnet18" in repr(rows)
    with pytest.raises(IndexError):
        rows[len(rows)]


def test_a_misspelt_name_is_found_quickly_among_very_many(tmp_path, monkeypatch):
    monkeypatch.setenv(
        "ZOO_REGISTRY", str(write(tmp_path / "own.json", {f"vit_tiny.n{i}": ENTRY for i in range(20_000)}))
    )
    with pytest.raises(UnknownName, match=r"Did you mean 'resnet50.a1_in1k'"):
        catalogue.find_weights("resnet50.a1_inlk")


def test_looking_for_weights_imports_neither_keras_nor_the_client():
    code = (
        "import sys, zoo\nfrom zoo.cli import main\n"
        "zoo.list_weights('vit*', text='google'); zoo.info('resnet50.a1_in1k')\n"
        "for words in ('list --weights resnet50', 'info resnet50.a1_in1k', 'registry search vit', 'weights'):\n"
        "    assert main(words.split()) == 0\n"
        "heavy = ('keras', 'tensorflow', 'numpy', 'rich', 'huggingface_hub', 'urllib.request')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# Several registries, one over the other


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """A function that writes the registries of two teams, a folder and a file, and the user's own."""

    def given(first=None, second=None, own=None):
        places = []
        if first is not None:
            places.append(str(write(tmp_path / "team" / "registry.json", first).parent))
        if second is not None:
            places.append(str(write(tmp_path / "second.json", second)))
        if own is not None:
            write(tmp_path / "mine.json", own)
        monkeypatch.setenv("ZOO_REGISTRY", " ; ".join([*places, str(tmp_path / "mine.json")]))

    return given


def test_a_later_registry_adds_and_pins(theirs):
    theirs(
        {"resnet50.flowers": ENTRY | {"license": "mit", "metrics": {"accuracy": 0.9}}},
        {"resnet50.flowers": ENTRY | PIN, "resnet50.a1_in1k": ENTRY | PIN | {"ref": "hf://timm/resnet50.a1_in1k"}},
    )
    row = zoo.info("resnet50.flowers")
    assert (row.license, row.metrics, row.reference) == ("mit", {"accuracy": 0.9}, f"hf://team/resnet@{'a' * 40}")
    row = zoo.info("resnet50.a1_in1k")
    assert (row.sha256, row.format, row.metrics["accuracy"]) == ("1" * 64, "timm", 0.80382)
    assert zoo.info("resnet50.a2_in1k").revision is None


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ({}, {"ref": "hf://other/resnet"}, "repositories"),
        (PIN, {"revision": "b" * 40, "sha256": "2" * 64}, "hashes"),
        ({"revision": "a" * 40}, {"revision": "b" * 40}, "revisions"),
    ],
)
def test_two_registries_that_mean_other_bytes_by_a_name_are_refused(theirs, before, after, word):
    theirs({"resnet50.flowers": ENTRY | before}, {"resnet50.flowers": ENTRY | after})
    with pytest.raises(Conflict, match=f"team/registry.json and .*second.json give different {word}") as caught:
        hub.resolve_weights(None, "resnet50.flowers")
    assert "--replace" in str(caught.value)
    assert "resnet50.flowers" in zoo.list_weights().names, "a list is not stopped by it"
    theirs(
        {"resnet50.flowers": ENTRY | before}, {"resnet50.flowers": ENTRY | after}, {"resnet50.flowers": ENTRY | after}
    )
    row = catalogue.find_weights("resnet50.flowers")
    assert {k: getattr(row, k) for k in after} == after, "the user's own entry decides"


def test_pins_of_another_repository_do_not_mix(theirs):
    theirs({"resnet50.flowers": ENTRY | PIN}, own={"resnet50.flowers": ENTRY | {"ref": "me/flowers"}})
    row = catalogue.find_weights("resnet50.flowers")
    assert (row.ref, row.revision, row.sha256) == ("me/flowers", None, None)


def test_the_same_bytes_in_another_commit_are_no_clash(theirs):
    theirs({"resnet50.flowers": ENTRY | PIN}, {"resnet50.flowers": ENTRY | PIN | {"revision": "b" * 40}})
    assert catalogue.find_weights("resnet50.flowers").revision == "b" * 40


def test_registries_are_read_again_only_when_they_change(theirs, tmp_path):
    theirs({"resnet50.flowers": ENTRY})
    assert catalogue.catalogue() is catalogue.catalogue()
    write(tmp_path / "team" / "registry.json", {"resnet50.trees": ENTRY})
    assert "resnet50.trees" in zoo.list_weights().names
    assert "resnet50.flowers" not in zoo.list_weights().names


# A team's registry on the Hub


def test_a_registry_on_the_hub_is_read_once_a_day_and_without_network(hub_server, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_REGISTRY", f"hf://team/models;{tmp_path / 'own.json'}")
    hub_server.add_repo(
        "team/models", {"registry.json": json.dumps({"format": 1, "weights": {"resnet50.flowers": ENTRY}})}
    )
    assert zoo.info("resnet50.flowers").ref == "hf://team/resnet"
    asked = len(hub_server.log)
    assert zoo.info("resnet50.flowers").ref == "hf://team/resnet"
    assert len(hub_server.log) == asked
    hub_server.delete_repo("team/models")
    monkeypatch.setattr(registries, "KEPT_SECONDS", -1)
    with pytest.warns(UserWarning, match="using an earlier copy of hf://team/models"):
        assert zoo.info("resnet50.flowers").ref == "hf://team/resnet"


@pytest.mark.parametrize("content", [b"{", b'{"format": 1, "weights": {"x": {}}}', None])
def test_what_is_no_registry_on_the_hub_is_not_kept(hub_server, monkeypatch, content):
    monkeypatch.setenv("ZOO_REGISTRY", "hf://team/models")
    hub_server.add_repo("team/models", {"registry.json": content} if content else {"README.md": b"nothing"})
    with pytest.raises((InvalidArgument, UnknownName, StoreError, IntegrityError), match="team/models"):
        zoo.list_weights()
    assert not [p for p in cache_folder("registries").rglob("*") if p.is_file()]
