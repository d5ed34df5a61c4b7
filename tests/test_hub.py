"""Publishing and pulling: what comes back is what was pushed, or it is refused; a kill loses nothing."""

import errno
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import probe
import pytest
from keras import layers

import zoo
from zoo import hub
from zoo.compiled import ZooModel, plain
from zoo.errors import IntegrityError, InvalidArgument, StoreError, UnknownName
from zoo.factory import build_plain
from zoo.files import json_bytes
from zoo.hub import manifest, refs
from zoo.hub.store import FolderStore
from zoo.registry import WeightsRow
from zoo.weights import load_state, save_state, save_weights

IMAGES = np.random.default_rng(0).normal(size=(4, 6, 6, 2)).astype("float32")


@pytest.fixture(autouse=True, scope="module")
def _probe():
    probe.add()
    yield
    probe.remove()


def made(seed=0, name="probe_small", labels=("cat", "dog", "cow"), **arguments):
    model = build_plain(name, arguments)
    for weight in model.weights:
        random = np.random.default_rng(seed * 100 + len(weight.path))
        weight.assign(random.uniform(0.5, 1.5, weight.shape).astype("float32"))
    model.zoo_spec = model.zoo_spec.but(labels=labels, preprocessing={"kind": "image", "scale": 0.5})
    return model


def predictions(model):
    return model.predict(IMAGES, verbose=0)


def leftovers(folder):
    return [p for p in Path(folder).rglob("*") if p.name.endswith(".zoo-tmp")]


def by_hand(folder, content=None, **changes):
    """Writes a flat repository of any files, honest hashes, and a manifest with some fields changed."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {manifest.WEIGHTS: b"weights"} if content is None else content
    listed = {n: {"size": len(b), "sha256": hashlib.sha256(b).hexdigest()} for n, b in content.items()}
    rows = {
        "format": 1,
        "zoo_version": "0.1.0",
        "parameters": 1,
        "name": "probe_small",
        "arguments": {},
        "task": "image_classification",
        "labels": None,
        "preprocessing": None,
        "recipe": None,
        "parent": None,
        "files": listed,
    }
    for name, data in content.items():
        (folder / name).write_bytes(data)
    (folder / "config.json").write_bytes(json_bytes(rows | changes))
    return folder


# The main way


def test_push_pull_load_predicts_bit_for_bit():
    model = made(seed=1)
    revision = zoo.push(model, "me/probe", license="apache-2.0", message="first")
    assert revision.created
    assert revision.ref == f"me/probe@{revision.id}"
    assert {p.name for p in revision.path.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    folder = zoo.pull("me/probe")
    assert all((folder / p.name).read_bytes() == p.read_bytes() for p in revision.path.iterdir())
    again = zoo.load(revision.ref)
    assert np.array_equal(predictions(model), predictions(again))
    assert again.zoo_spec == model.zoo_spec
    assert type(again).__module__.startswith("keras.")
    assert not again.compiled
    assert again.zoo_origin.parent()["ref"] == revision.ref
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert again.zoo_origin.parent()["sha256"] == digest


def test_a_compiled_zoo_model_is_pushed_as_plain_weights():
    model = zoo.build("probe_small", recipe="plain")
    model.fit(IMAGES, np.array([0, 1, 2, 0]), verbose=0)
    again = zoo.load(zoo.push(model, "me/probe").ref)
    assert np.array_equal(predictions(model), predictions(again))
    assert type(again).__module__.startswith("keras.")


def test_the_revision_is_the_hash_of_config_json():
    revision = zoo.push(made(), "me/probe")
    assert hashlib.sha256((revision.path / "config.json").read_bytes()).hexdigest()[:40] == revision.id


def test_the_same_content_makes_no_new_revision_and_a_b_a_goes_back():
    a = zoo.push(made(seed=1), "me/probe")
    again = zoo.push(made(seed=1), "me/probe", message="again")
    assert (again.id, again.created) == (a.id, False)
    store = FolderStore(refs.hub_folder())
    assert len(store.history("me/probe")) == 1
    b = zoo.push(made(seed=2), "me/probe")
    assert b.id != a.id
    assert b.created
    back = zoo.push(made(seed=1), "me/probe")
    assert (back.id, back.created) == (a.id, False)
    assert [e["id"] for e in store.history("me/probe")] == [a.id, b.id, a.id]
    assert [e["parent"] for e in store.history("me/probe")] == [None, a.id, b.id]
    assert zoo.load("me/probe").zoo_origin.ref == a.ref
    assert np.array_equal(predictions(zoo.load(f"me/probe@{b.id[:7]}")), predictions(made(seed=2)))


def test_another_number_of_classes_keeps_the_backbone_and_says_so():
    model = made(seed=1)
    zoo.push(model, "me/probe")
    with pytest.warns(UserWarning, match="Loaded 10 of 12 tensors; logits/kernel, logits/bias of the new head"):
        other = zoo.load("me/probe", num_classes=5)
    assert other.output_shape == (None, 5)
    assert other.zoo_spec.labels is None
    assert other.zoo_spec.arguments["num_classes"] == 5
    assert other.zoo_spec.preprocessing == model.zoo_spec.preprocessing
    kernel = keras.ops.convert_to_numpy(other.get_layer("conv").kernel)
    assert np.array_equal(kernel, keras.ops.convert_to_numpy(model.get_layer("conv").kernel))
    assert np.std(keras.ops.convert_to_numpy(other.get_layer("logits").kernel)) > 0  # initialised, not left at zero


def test_other_arguments_are_passed_on_and_checked():
    zoo.push(made(), "me/probe")
    assert zoo.load("me/probe", drop_rate=0.3).get_layer("drop").rate == 0.3
    with pytest.raises(UnknownName, match="Did you mean 'drop_rate'"):
        zoo.load("me/probe", drop_rat=0.3)
    with pytest.raises(InvalidArgument, match=r"conv/kernel is \(3, 3, 2, 4\) in the model and \(3, 3, 2, 8\)"):
        zoo.load("me/probe", hidden=4)


def test_build_takes_a_reference_and_checks_the_variant():
    model = made(seed=1)
    revision = zoo.push(model, "me/probe")
    assert np.array_equal(predictions(zoo.build("probe", weights=revision.ref)), predictions(model))
    with pytest.raises(InvalidArgument, match=r"those of model 'probe_small', not of 'probe_wide'"):
        zoo.build("probe_wide", weights="me/probe")


def test_build_takes_registered_weights(monkeypatch):
    from zoo import registry

    revision = zoo.push(made(seed=1), "me/probe")
    row = WeightsRow("probe_small.demo", "probe_small", "image_classification", "me/probe", revision.id)
    entry = {k: v for k, v in vars(row).items() if k != "name"}
    monkeypatch.setattr(registry, "index", lambda: {"models": {}, "tricks": {}, "weights": {row.name: entry}})
    zoo.push(made(seed=2), "me/probe")  # the registered revision is pinned
    assert np.array_equal(predictions(zoo.load("probe_small.demo")), predictions(made(seed=1)))
    assert hub.resolve_weights("probe", "probe_small.demo").ref == revision.ref
    with pytest.raises(UnknownName, match=r"no weights named 'probe_small.dmo'. Did you mean 'probe_small.demo'"):
        zoo.load("probe_small.dmo")
    with pytest.raises(InvalidArgument, match="not of 'probe_wide'"):
        hub.resolve_weights("probe_wide", "probe_small.demo")


def test_half_precision_weights_load(tmp_path):
    model = made(seed=1)
    folder = tmp_path / "half"
    folder.mkdir()
    save_weights(model, folder / "model.safetensors", dtype="bfloat16")
    data = (folder / "model.safetensors").read_bytes()
    by_hand(folder, {"model.safetensors": data}, arguments=model.zoo_spec.arguments)
    np.testing.assert_allclose(predictions(zoo.load(folder)), predictions(model), rtol=0.05)


@pytest.mark.parametrize("other", ["tensorflow", "jax", "torch"])
def test_a_model_pushed_here_predicts_the_same_under_another_backend(tmp_path, other):
    if importlib.util.find_spec(other) is None:
        pytest.skip(f"{other} is not installed")
    model = made(seed=1)
    revision = zoo.push(model, "me/probe")
    np.save(tmp_path / "images.npy", IMAGES)
    script = f"""
        import keras, numpy as np, probe, zoo
        probe.add()
        assert keras.backend.backend() == {other!r}
        model = zoo.load({revision.ref!r})
        images = np.load({str(tmp_path / "images.npy")!r})
        np.save({str(tmp_path / "out.npy")!r}, model.predict(images, verbose=0))
        again = zoo.push(model, "me/probe")
        assert again.id == {revision.id!r} and not again.created, "the same weights gave other bytes"
    """
    python = [sys.executable, "-c", textwrap.dedent(script)]
    paths = os.pathsep.join([str(_root()), str(Path(__file__).parent)])
    environment = {**os.environ, "KERAS_BACKEND": other, "PYTHONPATH": paths}
    done = subprocess.run(python, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), predictions(model), rtol=2e-5, atol=2e-5)


def _root():
    return Path(zoo.__file__).parents[1]


# Runs


def run_folder(tmp_path, seed=1):
    folder = tmp_path / "run"
    folder.mkdir()
    model = made(seed=seed)
    spec = model.zoo_spec.but(recipe="warmup(epochs=2)", preprocessing={"kind": "text", "vocabulary": "vocabulary.txt"})
    save_weights(model, folder / "best.safetensors")
    (folder / "config.json").write_bytes(json_bytes(spec.to_json()))
    (folder / "vocabulary.txt").write_text("the\ncat\n", "utf-8")
    (folder / "curves.png").write_bytes(b"\x89PNG not really")
    (folder / "last.safetensors").write_bytes(b"not published")
    record = {
        "command": 'zoo.train("probe_small", "probes")',
        "recipe": "warmup(epochs=2)",
        "data": {"name": "probes", "fingerprint": "sha256:0123", "sizes": {"train": 1200, "test": 60}},
        "seed": 7,
        "versions": {"keras": keras.__version__},
        "hardware": {"processor": "Example 9000", "cores": 2, "devices": []},
        "seconds": 75.0,
        "status": "finished",
        "metrics": {"validation": {"accuracy": 0.9}, "test": {"accuracy": 0.918273, "loss": 0.25, "examples": 60}},
    }
    (folder / "run.json").write_text(json.dumps(record), "utf-8")
    return folder, model, spec, record


def test_a_run_folder_is_pushed_with_its_record_and_assets(tmp_path):
    folder, model, spec, _ = run_folder(tmp_path)
    revision = zoo.push(folder, "me/probe")
    names = {"config.json", "model.safetensors", "README.md", "run.json", "curves.png", "vocabulary.txt"}
    assert {p.name for p in revision.path.iterdir()} == names
    again = zoo.load(revision.ref)
    assert np.array_equal(predictions(again), predictions(model))
    assert again.zoo_spec == spec
    assert again.zoo_origin.assets() == {"vocabulary.txt": b"the\ncat\n"}
    assert (hub.local(revision.ref) / "vocabulary.txt").read_text("utf-8") == "the\ncat\n"
    copy = zoo.push(again, "you/probe")
    assert (copy.path / "vocabulary.txt").is_file()
    compiled = ZooModel.of(again, "plain")
    assert compiled.zoo_origin is again.zoo_origin
    for model, name in ((compiled, "they/compiled"), (plain(compiled), "they/plain")):
        pushed = zoo.push(model, name)
        assert (pushed.path / "vocabulary.txt").read_bytes() == b"the\ncat\n"


def test_a_run_object_and_its_folder_give_the_same_revision(tmp_path):
    folder, _, spec, record = run_folder(tmp_path)
    names = ("run.json", "curves.png", "vocabulary.txt")
    files = {"model.safetensors": folder / "best.safetensors"} | {n: folder / n for n in names}
    run = SimpleNamespace(folder=folder, publishable=lambda: files, spec=spec, record=record)
    assert zoo.push(run, "me/probe").id == zoo.push(str(folder), "me/probe").id


def test_a_run_folder_loads_and_a_damaged_one_does_not(tmp_path):
    folder, model, _, _ = run_folder(tmp_path)
    assert np.array_equal(predictions(zoo.load(folder)), predictions(model))
    path = folder / "best.safetensors"
    flipped = bytearray(path.read_bytes())
    flipped[-5] ^= 4
    path.write_bytes(flipped)
    with pytest.raises(IntegrityError, match="its data has SHA-256"):
        zoo.load(folder)
    path.unlink()
    with pytest.raises(InvalidArgument, match=r"has no best.safetensors yet"):
        zoo.push(folder, "me/probe")


def test_a_missing_asset_is_named(tmp_path):
    folder, _, _, _ = run_folder(tmp_path)
    (folder / "vocabulary.txt").unlink()
    with pytest.raises(InvalidArgument, match=r"needs the file 'vocabulary.txt'.*assets="):
        zoo.push(folder, "me/probe")
    revision = zoo.push(folder, "me/probe", assets={"vocabulary.txt": b"a\n"})
    assert (revision.path / "vocabulary.txt").read_bytes() == b"a\n"


def test_the_card_says_what_was_measured_and_no_more(tmp_path):
    folder, _, _, _ = run_folder(tmp_path)
    text = (zoo.push(folder, "me/probe", license="cc-by-4.0").path / "README.md").read_text("utf-8")
    front = text.split("---")[1]
    assert "library_name: keras" in front
    assert "license: cc-by-4.0" in front
    assert 'pipeline_tag: "image-classification"' in front
    assert '- "probe_small"' in front
    for part in (
        "| split | accuracy | loss | examples |\n|---|---|---|---|\n| validation | 0.9 |  |  |\n",
        "| test | 0.9183 | 0.25 | 60 |",
        "- Data: probes (train 1,200, test 60)",
        "sha256:0123",
        "- Seed: 7",
        f"- Versions: keras {keras.__version__}",
        "- Hardware: processor Example 9000, cores 2",
        "- Duration: 1 min 15 s",
        "- Labels (3): cat, dog, cow",
    ):
        assert part in text
    assert 'zoo.load("me/probe")' in text
    assert "![Learning curves](curves.png)" in text
    assert "warmup(epochs=2)" in text
    bare = (zoo.push(made(), "me/bare").path / "README.md").read_text("utf-8")
    assert "license:" not in bare.split("---")[1]
    assert "Not stated by whoever pushed these weights" in bare
    assert "None were measured" in bare
    assert "accuracy" not in bare
    assert "curves" not in bare


def test_labels_cannot_write_into_the_card():
    labels = ("a](http://x)", "line\nbreak", "---\nlicense: mit")
    text = (zoo.push(made(labels=labels), "me/probe").path / "README.md").read_text("utf-8")
    assert "\nlicense" not in text
    assert "line break" in text
    assert r"a\](http://x), line break, --- license: mit" in text
    assert zoo.load("me/probe").zoo_spec.labels == labels


def test_labels_and_license_are_checked_before_anything_is_written():
    for bad, expected in (
        (["a", "b"], "has 2 names and the model tells 3 classes apart"),
        (["a", "a", "b"], "a name twice"),
        ("abc", "must be a list"),
    ):
        with pytest.raises(InvalidArgument, match=expected):
            zoo.push(made(), "me/probe", labels=bad)
    with pytest.raises(InvalidArgument, match="must be a licence identifier"):
        zoo.push(made(), "me/probe", license="do what\nyou want")
    assert not (refs.hub_folder() / "me").exists()
    assert zoo.load(zoo.push(made(), "me/probe", labels=["x", "y", "z"]).ref).zoo_spec.labels == ("x", "y", "z")


def test_a_model_that_its_builder_does_not_make_is_refused():
    model = made()
    changed = keras.Model(model.input, layers.Dense(9, name="extra")(model.output), name="changed")
    changed.zoo_spec = model.zoo_spec
    with pytest.raises(InvalidArgument, match=r"'changed' is not what builder 'probe_small' makes.*extra/kernel"):
        zoo.push(changed, "me/probe")
    with pytest.raises(InvalidArgument, match="does not say which zoo builder made it"):
        zoo.push(keras.Sequential([keras.Input((2,)), layers.Dense(1)]), "me/probe")
    with pytest.raises(InvalidArgument, match="only a model or a run can be pushed"):
        zoo.push({"a": 1}, "me/probe")


@pytest.mark.parametrize("fitted", [False, True])
@pytest.mark.filterwarnings("error:Skipping variable loading")
def test_a_keras_file_brings_back_the_optimizer_as_it_was(tmp_path, fitted):
    model = zoo.build("probe_small", recipe="plain")
    if fitted:
        model.fit(IMAGES, np.array([0, 1, 2, 0]), verbose=0)
    model.save(tmp_path / "m.keras")
    again = zoo.load(tmp_path / "m.keras")
    assert np.array_equal(predictions(again), predictions(model))
    assert again.optimizer.built is fitted
    mine, theirs = ([keras.ops.convert_to_numpy(v) for v in m.optimizer.variables] for m in (model, again))
    assert all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert np.isfinite(again.fit(IMAGES, np.array([0, 1, 2, 0]), verbose=0).history["loss"]).all()


def test_a_keras_file_loads_in_safe_mode(tmp_path):
    zoo.build("probe_small", recipe="plain").save(tmp_path / "m.keras")
    x = keras.Input((2,))
    keras.Model(x, layers.Lambda(lambda v: v * 2)(x)).save(tmp_path / "code.keras")
    with pytest.raises(IntegrityError, match="holds code, which is not run"):
        zoo.load(tmp_path / "code.keras")
    (tmp_path / "cut.keras").write_bytes((tmp_path / "m.keras").read_bytes()[:500])
    with pytest.raises(IntegrityError, match="could not be read as a Keras model"):
        zoo.load(tmp_path / "cut.keras")
    with pytest.raises(StoreError, match="There is no such file"):
        zoo.load(tmp_path / "none.keras")


# References


def test_references(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    revision = zoo.push(made(seed=1), "./models/probe")
    assert revision.ref == f"{tmp_path}/models/probe@{revision.id}"
    for ref in ("./models/probe", f"./models/probe@{revision.id[:8]}", tmp_path / "models/probe", revision.ref):
        assert zoo.pull(ref).name == revision.id
    assert zoo.pull("models/probe").name == revision.id  # no such name in the hub, and there is the folder
    zoo.push(made(seed=2), "models/probe")
    assert zoo.pull("models/probe").name != revision.id  # now there is: the hub comes first
    shutil.copytree(revision.path, tmp_path / "copy")
    assert zoo.pull("./copy").name == revision.id
    assert zoo.pull(f"./copy@{revision.id}").name == revision.id
    with pytest.raises(IntegrityError, match="holds revision"):
        zoo.pull("./copy@0123456789")
    with pytest.raises(InvalidArgument, match="holds one copied model, and can only be read"):
        zoo.push(made(), "./copy")
    with pytest.raises(InvalidArgument, match="a push makes a new revision"):
        zoo.push(made(), f"me/probe@{revision.id}")


@pytest.mark.parametrize(
    "bad",
    [
        "",
        " ",
        "probe",
        "a/b/c",
        "../x/../y@",
        "me/..",
        "../me/probe\n",
        "me\\probe",
        "me/pro be",
        "me/.probe",
        "me/a..b",
        "me/probe@",
        "-x/y",
        "me/" + "a" * 200,
        "me//probe",
        "@abc",
        "me/probé",
        None,
        3,
        "me/probe\x00",
    ],
)
def test_illegal_references_are_refused(bad):
    with pytest.raises(InvalidArgument):
        zoo.pull(bad)


def test_addresses_of_pages_are_refused_with_what_to_write_instead():
    with pytest.raises(InvalidArgument, match=r"no other addresses.* For a model .* write hf://me/probe"):
        zoo.pull("https://example.org/me/probe")
    with pytest.raises(InvalidArgument, match="Write owner/name"):
        zoo.pull("s3://bucket")


def test_unknown_names_get_the_nearest():
    revision = zoo.push(made(), "me/probe")
    with pytest.raises(UnknownName, match=r"no repository named 'me/prob'. Did you mean 'me/probe'\?"):
        zoo.pull("me/prob")
    near = revision.id[:36] + "zzzz"
    with pytest.raises(UnknownName, match=f"no revision of me/probe named .*Did you mean '{revision.id}'"):
        zoo.pull(f"me/probe@{near}")
    for short in (revision.id[:6], "xyz", "../../main"):
        with pytest.raises(UnknownName, match="at least 7 digits"):
            zoo.pull(f"me/probe@{short}")


# Damage


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-3])


def grow(path):
    path.write_bytes(path.read_bytes() + b"x")


def link(path):
    elsewhere = path.parent.parent / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def pipe(path):
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (flip, "its bytes were changed"),
        (cut, r"model.safetensors of me/probe@\w{12} has [\d,]+ bytes, and config.json announces"),
        (grow, "bytes, and config.json announces"),
        (link, "is a symbolic link, a folder or a device"),
        (pipe, "is a symbolic link, a folder or a device"),
        (Path.unlink, r"model.safetensors is missing from me/probe@"),
    ],
)
def test_damaged_revisions_are_refused_and_nothing_is_kept(damage, expected):
    revision = zoo.push(made(), "me/probe")
    damage(revision.path / "model.safetensors")
    with pytest.raises(IntegrityError, match=expected) as caught:
        zoo.pull("me/probe")
    assert "Nothing was kept" in str(caught.value)
    shelf = Path(os.environ["ZOO_CACHE"]) / "models"
    assert [p.name for p in shelf.iterdir()] == [f".{revision.id}.lock"]
    again = zoo.push(made(), "me/probe")  # and pushing it again repairs it
    assert again.created
    assert again.id == revision.id
    assert zoo.pull("me/probe").name == revision.id


def test_a_changed_config_is_refused_before_it_is_read():
    revision = zoo.push(made(), "me/probe")
    path = revision.path / "config.json"
    path.write_bytes(path.read_bytes().replace(b"cat", b"cow"))
    with pytest.raises(IntegrityError, match=r"config.json of me/probe@\w{12} was changed"):
        zoo.pull("me/probe")


def test_an_extra_file_is_refused_and_a_hidden_one_is_not_copied():
    revision = zoo.push(made(), "me/probe")
    (revision.path / ".DS_Store").write_bytes(b"x")
    assert not (zoo.pull("me/probe") / ".DS_Store").exists()
    shutil.rmtree(os.environ["ZOO_CACHE"])
    (revision.path / "model.py").write_text("import os")
    with pytest.raises(IntegrityError, match=r"holds files that its config.json does not list: model.py"):
        zoo.pull("me/probe")


def test_a_link_in_place_of_a_revision_is_refused(tmp_path):
    revision = zoo.push(made(), "me/probe")
    revision.path.rename(tmp_path / "moved")
    revision.path.symlink_to(tmp_path / "moved")
    with pytest.raises(IntegrityError, match="is not a folder"):
        zoo.pull("me/probe")


@pytest.mark.parametrize("damage", [flip, cut, grow, link, Path.unlink])
def test_a_damaged_cache_is_repaired(damage):
    model = made(seed=1)
    zoo.push(model, "me/probe")
    folder = zoo.pull("me/probe")
    damage(folder / "model.safetensors")
    (folder / "extra").write_bytes(b"")
    assert np.array_equal(predictions(zoo.load("me/probe")), predictions(model))
    assert sorted(os.listdir(folder)) == ["README.md", "config.json", "model.safetensors"]


def names_of(name):
    return {"files": {"model.safetensors": {"size": 7, "sha256": "0" * 64}, name: {"size": 1, "sha256": "0" * 64}}}


HOSTILE = [
    (names_of("../../etc/passwd"), r"names a file '../../etc/passwd', which is refused"),
    (names_of("/etc/passwd"), r"names a file '/etc/passwd', which is refused"),
    (names_of("a/b.txt"), "which is refused"),
    (names_of("a\\b.txt"), "which is refused"),
    (names_of(".hidden"), "which is refused"),
    (names_of(".."), "which is refused"),
    (names_of(""), "which is refused"),
    (names_of("x" * 300), "which is refused"),
    (names_of("a\nb"), "which is refused"),
    (names_of("config.json"), "twice, or itself"),
    (names_of("MODEL.safetensors"), "twice, or itself"),
    (
        {"files": {f"f{i}": {"size": 1, "sha256": "0" * 64} for i in range(300)}},
        "lists 300 files, and 256 is the limit",
    ),
    ({"files": {"model.safetensors": {"size": 2**50, "sha256": "0" * 64}}}, "announces 1,125,899,906,842,624 bytes"),
    ({"files": {"model.safetensors": {"size": -1, "sha256": "0" * 64}}}, "no sound size and sha256"),
    ({"files": {"model.safetensors": {"size": 7, "sha256": "../"}}}, "no sound size and sha256"),
    ({"files": {}}, "does not list 'model.safetensors'"),
    ({"files": []}, "impossible files"),
    ({"format": 2}, "has format '2', and this zoo reads format 1"),
    ({"format": None}, "check that this is a repository"),
    ({"arguments": "rm"}, "impossible arguments"),
    ({"labels": [1]}, "impossible labels"),
    ({"parameters": True}, "impossible parameters"),
    ({"preprocessing": {"vocabulary": "../../etc/passwd"}}, r"names a file '../../etc/passwd', which is refused"),
    ({"preprocessing": {"vocabulary": "words.txt"}}, "does not list 'words.txt', which the model needs"),
]


@pytest.mark.parametrize(("changes", "expected"), HOSTILE, ids=[str(i) for i in range(len(HOSTILE))])
def test_hostile_manifests_are_refused(tmp_path, changes, expected):
    by_hand(tmp_path / "repo", **changes)
    with pytest.raises(IntegrityError, match=re.escape(expected)):
        zoo.pull(tmp_path / "repo")
    assert not [p for p in (Path(os.environ["ZOO_CACHE"]) / "models").iterdir() if p.suffix != ".lock"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"not json", "is not valid JSON"),
        (b"[]", "is not a JSON object"),
        (b'{"format": 1, "format": 1}', "a name occurs twice"),
        (b'{"format": NaN}', "NaN is not standard JSON"),
        (b'{"a":' * 100_000, "is not valid JSON"),
        (b"\xff\xfe", "is not valid JSON"),
        (b" " * (17 << 20), "is larger than 16,777,216 bytes"),
    ],
    ids=range(7),
)
def test_files_that_are_no_manifest_are_refused(tmp_path, content, expected):
    by_hand(tmp_path / "repo")
    (tmp_path / "repo" / "config.json").write_bytes(content)
    with pytest.raises(IntegrityError, match=expected):
        zoo.pull(tmp_path / "repo")


def test_weights_with_an_absurd_header_are_refused_on_load(tmp_path):
    by_hand(tmp_path / "repo", {"model.safetensors": (2**63).to_bytes(8, "little") + b"{}"})
    with pytest.raises(IntegrityError, match=r"is not a sound weight file: header too large"):
        zoo.load(tmp_path / "repo")


def test_weights_of_another_shape_are_refused_on_load(tmp_path):
    save_weights(made(), tmp_path / "w")
    by_hand(tmp_path / "repo", {"model.safetensors": (tmp_path / "w").read_bytes()}, arguments={"hidden": 4})
    with pytest.raises(InvalidArgument, match=r"conv/kernel is \(3, 3, 2, 4\) in the model and \(3, 3, 2, 8\)"):
        zoo.load(tmp_path / "repo")


def test_an_unknown_builder_is_named(tmp_path):
    save_weights(made(), tmp_path / "w")
    data = (tmp_path / "w").read_bytes()
    by_hand(tmp_path / "repo", {"model.safetensors": data}, name="probe_smal")
    with pytest.raises(InvalidArgument, match=r"cannot be built here: no model named 'probe_smal'. Did you mean"):
        zoo.load(tmp_path / "repo")


# Kills, races and disks. These processes publish by hand, without Keras, so that there can be many.

PUBLISH = """
import hashlib, json, os, signal, sys
from pathlib import Path
from zoo.hub.manifest import Manifest, parse, revision_of
from zoo.hub.store import FolderStore
from zoo.hub import pull
from zoo.errors import StoreError
from zoo.spec import Spec

def files_of(text, size=5000):
    files = {"model.safetensors": (text * size).encode(), "README.md": text.encode()}
    listed = {n: (len(b), hashlib.sha256(b).hexdigest()) for n, b in sorted(files.items())}
    config = Manifest(Spec("probe_small", {}, "image_classification"), 1, listed).to_bytes()
    return {"config.json": config, **files}

def id_of(text, size=5000):
    return revision_of(files_of(text, size)["config.json"])

store = FolderStore(os.environ["ZOO_HUB"])
"""


def in_process(script, check=True, **keywords):
    script = PUBLISH + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, cwd=_root(), **keywords
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def test_a_push_killed_before_any_file_operation_leaves_the_old_or_the_new_revision():
    done = in_process("""
        old, new = id_of("a"), id_of("b")
        store.publish("me/probe", files_of("a"))
        point, seen_old, seen_new, finished = 0, 0, 0, False
        while not finished:
            if os.fork() == 0:
                seen = [0]
                def hook(event, arguments):
                    if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir"):
                        if seen[0] == point:
                            os.kill(os.getpid(), signal.SIGKILL)
                        seen[0] += 1
                sys.addaudithook(hook)
                store.publish("me/probe", files_of("b"))
                os._exit(0)
            finished = os.wait()[1] == 0
            main = store.resolve("me/probe")
            assert main in (old, new)
            assert pull("me/probe").name == main and pull(f"me/probe@{old}").name == old
            ids = [e["id"] for e in store.history("me/probe")]
            assert ids == ([old] if main == old else [old, new]), ids
            seen_old, seen_new = seen_old + (main == old), seen_new + (main == new)
            if main == new and not finished:  # published, though killed: the next push finds it there
                assert store.publish("me/probe", files_of("b")) == (new, False)
                break
            point += 1
        assert store.publish("me/probe", files_of("b"))[0] == new
        assert [e["id"] for e in store.history("me/probe")] == [old, new]
        store.publish("me/probe", files_of("a"))
        left = [p for p in Path(os.environ["ZOO_HUB"]).rglob("*.zoo-tmp")]
        assert not left, left
        print(point)
    """)
    assert int(done.stdout) > 10  # that many different moments


def test_a_pull_killed_before_any_file_operation_leaves_nothing_half_visible():
    in_process("""
        import shutil
        commit = id_of("a")
        store.publish("me/probe", files_of("a"))
        cache = Path(os.environ["ZOO_CACHE"])
        point, finished = 0, False
        while not finished:
            shutil.rmtree(cache, ignore_errors=True)
            if os.fork() == 0:
                seen = [0]
                def hook(event, arguments):
                    if event in ("open", "os.rename", "os.remove", "os.mkdir"):
                        if seen[0] == point:
                            os.kill(os.getpid(), signal.SIGKILL)
                        seen[0] += 1
                sys.addaudithook(hook)
                pull("me/probe")
                os._exit(0)
            finished = os.wait()[1] == 0
            visible = [p for p in cache.glob("models/*") if not p.name.startswith(".")]
            assert all(sorted(os.listdir(p)) == ["README.md", "config.json", "model.safetensors"] for p in visible)
            assert pull("me/probe").name == commit
            assert not list(cache.rglob("*.zoo-tmp"))
            point += 1
        assert point > 8, point
        assert not {"keras", "tensorflow", "numpy"} & set(sys.modules)  # pulling needs none of them
    """)


def test_a_push_killed_at_random_times_by_the_system(tmp_path):
    """SIGKILL from outside, while large files are being copied."""
    script = PUBLISH + textwrap.dedent("""
        print("ready", flush=True)
        for i in range(1000):
            store.publish("me/probe", files_of(f"{i:04d}", 1_000_000))
    """)
    store = FolderStore(refs.hub_folder())
    random = np.random.default_rng(0)
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=_root())
        process.stdout.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=float(random.uniform(0.05, 0.4)))
        process.kill()
        process.wait()
        process.stdout.close()
        if store.exists("me/probe"):
            assert zoo.pull("me/probe").name == store.resolve("me/probe") == store.history("me/probe")[-1]["id"]
    zoo.push(made(), "me/probe")
    assert not leftovers(refs.hub_folder())
    for entry in store.history("me/probe"):
        zoo.pull(f"me/probe@{entry['id']}")


def test_concurrent_pushes_and_pulls_corrupt_nothing():
    script = """
        for i in range(8):
            commit, created = store.publish("me/probe", files_of(f"{os.environ['WHO']}-{i}"))
            assert created
            folder = pull("me/probe")
            assert pull(f"me/probe@{commit}").name == commit
    """
    script = PUBLISH + textwrap.dedent(script)
    started = [
        subprocess.Popen(
            [sys.executable, "-c", script], env={**os.environ, "WHO": str(who)}, cwd=_root(), stderr=subprocess.PIPE
        )
        for who in range(4)
    ]
    for process in started:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()
    store = FolderStore(refs.hub_folder())
    entries = store.history("me/probe")
    assert len(entries) == len({e["id"] for e in entries}) == 32
    assert [e["parent"] for e in entries] == [None, *(e["id"] for e in entries[:-1])]
    assert all(zoo.pull(f"me/probe@{e['id']}").name == e["id"] for e in entries)
    assert not leftovers(refs.hub_folder())
    assert not leftovers(os.environ["ZOO_CACHE"])


def test_a_stale_parent_is_refused():
    store = FolderStore(refs.hub_folder())
    first, second = zoo.push(made(seed=1), "me/probe"), zoo.push(made(seed=2), "me/probe")
    files = {p.name: p.read_bytes() for p in first.path.iterdir()}
    with pytest.raises(StoreError, match=f"has moved on to {second.id[:12]} meanwhile"):
        store.publish("me/probe", files, parent=first.id)
    assert store.publish("me/probe", files, parent=second.id) == (first.id, False)


def test_a_held_repository_says_so(tmp_path):
    from zoo.files import locked

    with (
        locked(tmp_path / "lock"),
        pytest.raises(StoreError, match=r"another process has held .* Nothing was changed"),
        locked(tmp_path / "lock", wait_seconds=0.1),
    ):
        pass


def test_a_file_that_changes_while_it_is_pushed_is_noticed(tmp_path, monkeypatch):
    folder, _, _, _ = run_folder(tmp_path)
    publish = FolderStore.publish

    def meddle(self, repo, files, message=None, parent=None):
        flip(folder / "curves.png")
        return publish(self, repo, files, message, parent)

    monkeypatch.setattr(FolderStore, "publish", meddle)
    with pytest.raises(IntegrityError, match=r"curves.png, being pushed, has SHA-256"):
        zoo.push(folder, "me/probe")
    assert not FolderStore(refs.hub_folder()).exists("me/probe")
    assert not leftovers(refs.hub_folder())


UNWRITABLE = """
    before = sorted((str(p), p.read_bytes() if p.is_file() else None) for p in store.root.rglob("*"))
    try:
        {act}
        raise SystemExit("nothing was raised")
    except StoreError as error:
        print(error)
    after = sorted((str(p), p.read_bytes() if p.is_file() else None) for p in store.root.rglob("*"))
    assert [b for b in before if ".lock" not in b[0]] == [a for a in after if ".lock" not in a[0]]
    assert store.resolve("me/probe") == id_of("a") and not list(Path(os.environ["ZOO_CACHE"]).rglob("*.zoo-tmp"))
"""
LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"


def test_a_push_past_the_file_size_limit_leaves_the_old_revision():
    act = 'store.publish("me/probe", files_of("b", 1_000_000))'
    done = in_process(
        'store.publish("me/probe", files_of("a"))\n' + LIMIT + textwrap.dedent(UNWRITABLE).format(act=act)
    )
    assert re.match(r"could not write .*model.safetensors. The file would be larger than the limit", done.stdout)


def test_a_pull_past_the_file_size_limit_keeps_nothing():
    in_process('store.publish("me/probe", files_of("a"))\nstore.publish("me/big", files_of("b", 1_000_000))')
    done = in_process(LIMIT + textwrap.dedent(UNWRITABLE).format(act='pull("me/big")'))
    assert re.match(r"could not write .*model.safetensors. The file would be larger than the limit", done.stdout)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of one megabyte, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("this user may not mount a small file system; the file size limit is tested instead")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_full_disk_leaves_the_old_revision(small_disk, monkeypatch):
    monkeypatch.setenv("ZOO_HUB", str(small_disk / "hub"))
    act = 'store.publish("me/probe", files_of("b", 3_000_000))'
    done = in_process('store.publish("me/probe", files_of("a"))' + textwrap.dedent(UNWRITABLE).format(act=act))
    assert re.match(r"could not write .*model.safetensors. No space left on the device. Free some space", done.stdout)


def test_a_full_cache_keeps_nothing(small_disk, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", str(small_disk / "cache"))
    in_process('store.publish("me/probe", files_of("a"))\nstore.publish("me/big", files_of("b", 3_000_000))')
    done = in_process(textwrap.dedent(UNWRITABLE).format(act='pull("me/big")'))
    assert "No space left on the device" in done.stdout


def test_weights_that_do_not_fit_on_the_disk_leave_the_old_file(small_disk):
    path = save_state(small_disk / "state", {"a": np.zeros(1000)})
    with pytest.raises(StoreError, match=r"could not write .*state. No space left on the device. Free some space"):
        save_state(path, {"a": np.zeros(1_000_000)})
    assert load_state(path)[0]["a"].shape == (1000,)
    assert os.listdir(small_disk) == ["state"]


def test_a_read_only_disk_is_refused_before_the_work(small_disk, monkeypatch):
    monkeypatch.setenv("ZOO_HUB", str(small_disk / "hub"))
    revision = zoo.push(made(), "me/probe")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(StoreError, match=r"could not write .*The file system is read-only.*Nothing was changed"):
        zoo.push(object(), "me/probe")  # refused before the model is looked at
    assert zoo.load("me/probe").zoo_origin.ref == revision.ref  # reading needs no lock there


def test_a_folder_without_permission_is_refused(tmp_path):
    """Without the rights of root, which no permission stops."""
    import tempfile

    with tempfile.TemporaryDirectory() as own:  # tmp_path itself is closed to others
        os.chmod(own, 0o755)
        hub_folder = Path(own) / "hub"
        environment = {**os.environ, "ZOO_HUB": str(hub_folder), "ZOO_CACHE": str(Path(own) / "cache")}
        in_process('store.publish("me/probe", files_of("a"))', env=environment)
        for path in (hub_folder, *hub_folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        drop = "if os.geteuid() == 0: os.setgid(65534); os.setuid(65534)\n"
        act = textwrap.dedent(UNWRITABLE).format(act='store.publish("me/probe", files_of("b"))')
        done = in_process("import zoo.cache\n" + drop + act, env=environment)
        assert re.match(r"could not write .*Permission denied. Make the folder writable for you", done.stdout)
        for path in (hub_folder, *hub_folder.rglob("*")):
            path.chmod(0o755)


def test_store_errors_keep_their_number():
    from zoo.files import store_error

    error = store_error(OSError(errno.ENOSPC, "x"), "/f")
    assert isinstance(error, OSError)
    assert error.errno == errno.ENOSPC
    assert str(error) == (
        "could not write /f. No space left on the device. Free some space and run the same command again. What was "
        "there before is unchanged."
    )
