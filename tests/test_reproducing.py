"""Recorded results: the interval that they allow, training them again, and the weights that come with zoo."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import zoo
from zoo import recorded
from zoo.cli import main
from zoo.data import load
from zoo.errors import DataError, IntegrityError, InvalidArgument, UnknownName
from zoo.hub.shipped import FOLDER, ShippedStore
from zoo.reproducing import shipped_recipes
from zoo.shipping import MOST_BYTES, ship
from zoo.weights import header

ROOT = Path(zoo.__file__).parent.parent
SHIPPED = {row.name: row for row in shipped_recipes()}

TINY = """
summary = "Softmax regression on the digits"
model = "softmax"
data = "digits"
tricks = "adam(learning_rate=0.01)"
epochs = 2
batch_size = 64
seeds = [0, 1]
hardware = "this test"

[result]
data = "digits"
fingerprint = "{fingerprint}"
test_accuracy = {accuracy}
{more}
"""


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture
def tiny(tmp_path, digits):
    """Writes a recipe with a result of some accuracies, and returns its path."""

    def write(accuracy, more="", fingerprint=digits.fingerprint):
        path = tmp_path / "tiny.toml"
        path.write_text(TINY.format(fingerprint=fingerprint, accuracy=accuracy, more=more), "utf-8")
        return str(path)

    return write


# The rule


@pytest.mark.parametrize("values", [[0.9261, 0.9256, 0.9261], [0.5], [1.0, 1.0], [0.97, 0.95]])
@pytest.mark.parametrize("examples", [1, 359, 10_000])
def test_the_interval_of_an_accuracy_is_that_of_numpy(values, examples):
    found = recorded.interval("accuracy", values, examples)
    p = np.mean(values)
    over_seeds = np.var(values, ddof=1) if len(values) > 1 else 0.0
    margin = 2 * np.sqrt(over_seeds + p * (1 - p) / examples)
    np.testing.assert_allclose(
        [found.lower, found.upper], [min(p - margin, *values, 9), max(p + margin, *values, 0)], rtol=1e-12
    )
    assert (found.mean, found.lowest, found.highest) == (pytest.approx(p), min(values), max(values))


def test_the_binomial_part_of_the_margin_holds_what_chance_does_to_a_test_set():
    """Of one model's answers on 20,000 test sets of 359, drawn anew, some 95% come out in the interval of the truth."""
    found = recorded.interval("accuracy", [0.9], 359)
    drawn = np.random.default_rng(0).binomial(359, 0.9, 20_000) / 359
    assert 0.94 < np.mean((drawn >= found.lower) & (drawn <= found.upper)) < 0.97


def test_the_interval_of_a_loss_and_the_good_side_of_each_figure():
    found = recorded.interval("age_mae", [8.0, 8.2], 10)
    margin = 2 * np.sqrt(np.var([8.0, 8.2], ddof=1) + (0.01 * 8.1) ** 2)
    np.testing.assert_allclose([found.lower, found.upper], [8.1 - margin, 8.1 + margin])
    alone = recorded.interval("loss", [0.5], 10)
    np.testing.assert_allclose([alone.lower, alone.upper], [0.48, 0.52])
    sides = {name: [recorded.judged(name, v, found) for v in (7.0, 8.1, 9.0)] for name in ("age_mae", "accuracy", "x")}
    assert sides == {
        "age_mae": ["better", "within", "worse"],
        "accuracy": ["worse", "within", "better"],
        "x": ["worse", "within", "worse"],
    }
    with pytest.raises(InvalidArgument, match="needs recorded values"):
        recorded.interval("accuracy", [], 10)


def test_weights_match_by_the_count_of_right_answers_and_losses_to_a_ten_thousandth():
    assert recorded.matches("accuracy", 5625 / 6512, 0.86379, 6512)
    assert not recorded.matches("accuracy", 5624 / 6512, 0.86379, 6512)
    assert recorded.matches("mae", 8.32851, 8.32844, 6512)
    assert not recorded.matches("mae", 8.3295, 8.32844, 6512)
    assert recorded.matches("loss", 0.02964, 0.0296, 6512), "four digits leave that open"
    assert recorded.matches("loss", 3.00001e-05, 3e-05, 100)
    assert not recorded.matches("loss", 0.4, 3e-05, 100)


def test_differences_from_the_record_are_named():
    row = SHIPPED["nin_mnist"]
    said = row.result["versions"].split(", ")
    same = dict(part.split(" ") for part in said) | {"backend": "tensorflow"}
    assert recorded.differences(row, same) == []
    other = {k: v for k, v in same.items() if k != "numpy"} | {"keras": "3.99", "backend": "jax"}
    assert [text.split(" ")[0] for text in recorded.differences(row, other)] == ["backend", "keras", "numpy"]
    del other["tensorflow"]  # of a backend that is not in use, nobody asks the version
    assert [text.split(" ")[0] for text in recorded.differences(row, other)] == ["backend", "keras", "numpy"]


def test_learning_curves_are_no_figures_to_compare():
    curves = {"val_accuracy_by_epoch": [0.9], "accuracy_by_epoch": [0.9], "test_accuracy": [0.9]}
    assert recorded.not_compared(curves | {"robust_accuracy": [0.8]}) == ["robust_accuracy"]


# Training again


def test_a_recipe_is_trained_again_compared_and_resumed(tiny, tmp_path, capsys):
    first = zoo.reproduce(tiny([0.9, 0.9]), out=tmp_path / "a", quiet=True)
    assert first.seeds == (0, 1)
    reached = [zoo.Run(place).metrics["test"]["accuracy"] for place in first.places]
    assert first.figures[0].values == tuple(reached)
    assert capsys.readouterr().out == ""

    run = Path(first.places[0])
    sha256 = hashlib.sha256((run / "best.safetensors").read_bytes()).hexdigest()
    again = zoo.reproduce(tiny(reached, f'sha256 = "{sha256}"'), out=tmp_path / "b", quiet=True)
    assert (again.verdict, again.ok) == ("reproduced", True)
    assert again.figures[0].values == tuple(reached), "the same machine repeats exactly"
    assert again.notes == ("The weights of seed 0 are the recorded ones, bit for bit.",)

    shutil.rmtree(again.places[1])  # as if it had been stopped there
    epochs = (Path(again.places[0]) / "metrics.csv").read_bytes()
    resumed = zoo.reproduce(tiny(reached), out=tmp_path / "b", quiet=True)
    assert resumed.figures == again.figures
    assert (Path(again.places[0]) / "metrics.csv").read_bytes() == epochs, "the finished seed was not trained again"
    with pytest.raises(InvalidArgument, match="already holds a run"):
        zoo.reproduce(tiny(reached), out=tmp_path / "b", resume=False, quiet=True)


def test_the_command_says_what_came_of_it(tiny, tmp_path, capsys):
    out = ["--out", str(tmp_path / "c"), "--seed", "0"]
    assert main(["reproduce", tiny([1.0, 1.0]), *out, "--quiet"]) == 1
    assert capsys.readouterr().out == ""
    assert main(["reproduce", tiny([1.0, 1.0]), *out]) == 1
    shown = capsys.readouterr().out
    assert re.search(r"tiny: not reproduced: test accuracy \d\d\.\d\d% against 100\.00%\n", shown)
    assert "worse" in shown
    assert main(["reproduce", tiny([0.1, 0.1]), *out, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["seeds"]) == ("better", [0])
    assert found["figures"][0]["verdict"] == "better"


TUNED = """
summary = "Softmax regression of MNIST, tuned on half of the digits"
model = "softmax"
start = "zoo://softmax.mnist"
data = "digits"
data_options = { resize = "bilinear", train_share = 0.5 }
tricks = "adam(learning_rate=0.01)"
epochs = 2
batch_size = 64
seeds = [0]
"""


def test_a_recipe_that_starts_from_pretrained_weights_is_tuned_and_reproduced(tmp_path, capsys):
    path = tmp_path / "tuned.toml"
    path.write_text(TUNED, "utf-8")
    for command in ("train", "ablate", "doctor"):
        assert main([command, "--recipe", str(path)]) == 2
        assert "this recipe fine-tunes a pretrained model. Received: 'zoo://softmax.mnist'" in capsys.readouterr().err
    assert main(["finetune", "--recipe", str(path), "--out", str(tmp_path / "a"), "--quiet"]) == 0
    run = zoo.Run(tmp_path / "a")
    assert run.spec.parent["ref"].startswith("zoo://softmax.mnist")
    assert run.spec.arguments["image_shape"] == [28, 28, 1]
    assert run.record["data"]["sizes"]["train"] == 629

    result = f"""
[result]
data = "digits"
fingerprint = "{run.record["data"]["fingerprint"]}"
test_accuracy = [{run.metrics["test"]["accuracy"]}]
sha256 = "{hashlib.sha256((run.folder / "best.safetensors").read_bytes()).hexdigest()}"
"""
    path.write_text(TUNED + result, "utf-8")
    found = zoo.reproduce(path, out=tmp_path / "b", quiet=True)
    assert found.verdict == "reproduced"
    assert found.notes == ("The weights of seed 0 are the recorded ones, bit for bit.",)
    assert zoo.Run(found.places[0]).spec.parent == run.spec.parent
    path.write_text(TUNED + result.replace("sha256:", "sha256:0"), "utf-8")
    with pytest.raises(DataError, match="not what recipe 'tuned' was recorded on"):
        zoo.reproduce(path, out=tmp_path / "c", quiet=True)
    assert main(["finetune", "--recipe", "finetune_head"]) == 2
    assert "`zoo finetune` needs a pretrained model and data" in capsys.readouterr().err
    assert main(["info", "resnet20_mnist_llrd"]) == 0
    assert "zoo finetune --recipe resnet20_mnist_llrd\n" in capsys.readouterr().out


def test_other_data_is_refused_before_any_training(tiny, tmp_path):
    path = tiny([0.9, 0.9], fingerprint="sha256:" + "0" * 64)
    with pytest.raises(DataError, match=r"not what recipe 'tiny' was recorded on.*--other-data"):
        zoo.reproduce(path, out=tmp_path / "d", quiet=True)
    assert not (tmp_path / "d").exists()
    found = zoo.reproduce(path, out=tmp_path / "d", seeds=[0], other_data=True, quiet=True)
    assert found.notes[0].startswith("The data is another than the recorded")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: zoo.reproduce("softmax_mnits"), UnknownName, "Did you mean 'softmax_mnist'"),
        (lambda: zoo.reproduce("linear_probe"), InvalidArgument, "names no model and data"),
        (lambda: zoo.reproduce("vit_digits", check=True, seeds=[1]), InvalidArgument, "trains nothing"),
        (lambda: zoo.reproduce("stereo_shapes", check=True), InvalidArgument, "no weights of recipe 'stereo_shapes'"),
        (lambda: zoo.reproduce("vit_digits", seeds=[0, 0]), InvalidArgument, "different ones"),
    ],
)
def test_what_cannot_be_reproduced_is_refused_in_words(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_recipe_without_a_result_is_refused_in_words(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('model = "softmax"\ndata = "digits"\n', "utf-8")
    with pytest.raises(InvalidArgument, match=r"'mine' has no recorded result.*softmax_mnist"):
        zoo.reproduce(path)


def test_names_are_refused_without_keras(capsys):
    code = "import sys; from zoo.cli import main; main(sys.argv[1:]); print('keras' in sys.modules)"
    for words, message in (
        (["softmax_mnits"], "Did you mean"),
        ([], "needs a recipe"),
        (["linear_probe"], "no model"),
        (["--check", "--seed", "0"], "trains nothing"),
    ):
        done = subprocess.run([sys.executable, "-c", code, "reproduce", *words], capture_output=True, text=True)
        assert message in done.stderr
        assert done.stdout.strip() == "False"


# The weights that come with zoo


def _marked(name):
    return pytest.param(name, marks=() if SHIPPED[name].settings["data"] == "digits" else pytest.mark.data)


@pytest.mark.parametrize("name", map(_marked, SHIPPED))
@pytest.mark.usefixtures("warm_cache")
def test_shipped_weights_give_the_recorded_figures(name, request):
    if SHIPPED[name].settings["data"] != "digits":
        request.getfixturevalue("zoo_data")
    found = zoo.reproduce(name, check=True)
    assert found.ok, found.sentence
    assert {row.verdict for row in found.figures} == {"the same"}
    assert {row.split for row in found.figures} == {"test", "validation"}


def test_the_check_of_a_recipe_notices_other_figures(tmp_path, capsys):
    text = (ROOT / "recipes" / "vit_digits.toml").read_text("utf-8")
    path = tmp_path / "vit_digits.toml"
    path.write_text(text.replace("0.9693593314763231", str(347 / 359)), "utf-8")
    assert main(["reproduce", str(path), "--check"]) == 1
    shown = capsys.readouterr().out
    assert "not reproduced: test accuracy 96.94% (348 of 359) against 96.66% (347 of 359)" in shown


def test_all_shipped_weights_are_listed_pinned_small_and_of_a_recipe():
    store = ShippedStore()
    assert store.repos() == sorted(row.result["weights"] for row in SHIPPED.values())
    assert sum(p.stat().st_size for p in FOLDER.rglob("*") if p.is_file()) <= MOST_BYTES
    assert not list(FOLDER.rglob(".*"))
    for row in SHIPPED.values():
        found = zoo.info(row.result["weights"])
        assert found.ref == f"zoo://{found.name}"
        assert found.revision == store.resolve(found.name)
        folder = FOLDER / found.name / "revisions" / found.revision
        assert {"README.md", "run.json", "config.json", "model.safetensors"} <= {p.name for p in folder.iterdir()}
        assert {p.name for p in folder.parent.iterdir()} == {found.revision}
        assert re.fullmatch("[0-9a-f]{64}", row.result["sha256"])


def test_a_name_gives_the_shipped_weights_offline():
    model = zoo.build("softmax", weights="softmax.mnist")
    assert model.count_params() == 7850
    assert model.zoo_origin.ref == f"zoo://softmax.mnist@{zoo.info('softmax.mnist').revision}"
    stored = header(FOLDER / "softmax.mnist" / "revisions" / zoo.info("softmax.mnist").revision / "model.safetensors")
    assert {dtype for dtype, _ in stored.values()} == {"float16"}
    assert {str(w.dtype) for w in model.weights} == {"float32"}
    assert zoo.load("zoo://softmax.mnist").zoo_spec == model.zoo_spec


def test_the_hub_in_the_package_is_read_only_and_verified(tmp_path, monkeypatch):
    with pytest.raises(InvalidArgument, match="can only be read"):
        zoo.push(zoo.build("softmax"), "zoo://softmax.mine")
    with pytest.raises(UnknownName, match=r"Did you mean 'softmax\.mnist'"):
        zoo.pull("zoo://softmax.mnits")
    for text in ("zoo://", "zoo://../x.y", "zoo://a/b.c", "zoo://softmax.mnist@", "zoo://softmax.mnist@../x"):
        with pytest.raises(InvalidArgument, match="not a legal name"):
            zoo.pull(text)
    copy = tmp_path / "_hub"
    shutil.copytree(FOLDER, copy)
    monkeypatch.setattr("zoo.hub.shipped.FOLDER", copy)
    weights = copy / "softmax.mnist" / "revisions" / zoo.info("softmax.mnist").revision / "model.safetensors"
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(damaged)
    with pytest.raises(IntegrityError, match="bytes were changed"):
        zoo.load("softmax.mnist")


def test_shipping_halves_what_stays_the_same_and_enters_it(tmp_path, monkeypatch):
    """Into a copy of the hub and of the registry, so that the package stays as it is."""
    shutil.copytree(FOLDER, tmp_path / "_hub")
    index = tmp_path / "registry.json"
    shutil.copy(ROOT / "registry.json", index)
    before = json.loads(index.read_text("utf-8"))
    monkeypatch.setattr("zoo.hub.shipped.FOLDER", tmp_path / "_hub")
    monkeypatch.setattr("zoo.registry.data_file", lambda name: index if name == "registry.json" else ROOT / name)
    run = zoo.train("softmax", "digits", epochs=2, out=tmp_path / "run", quiet=True)
    made = ship(run.folder, "softmax.digits")
    after = json.loads(index.read_text("utf-8"))
    added = after["weights"].pop("softmax.digits")
    assert after == before
    halved = zoo.load(run.folder)
    halved.set_weights([w.astype("float16").astype("float32") for w in halved.get_weights()])
    same = all(
        zoo.evaluate(halved, "digits", split=split)["accuracy"] == run.metrics[split]["accuracy"]
        for split in ("test", "validation")
    )
    assert made["dtype"] == ("float16" if same else "float32")
    assert added["metrics"] == {"accuracy": round(run.metrics["test"]["accuracy"], 5)}
    assert zoo.evaluate(added["ref"], "digits")["accuracy"] == run.metrics["test"]["accuracy"]
    with pytest.raises(InvalidArgument, match="a name that begins so"):
        ship(run.folder, "vit_tiny.mine")
    monkeypatch.setattr("zoo.shipping.MOST_BYTES", 1000)
    with pytest.raises(InvalidArgument, match="too many bytes"):
        ship(run.folder, "softmax.large")
    assert not (tmp_path / "_hub" / "softmax.large").exists()


@pytest.mark.parametrize("other_data", [False, True])
def test_the_command_that_goes_on_asks_what_was_asked(other_data):
    from zoo.reproducing import _how_to_go_on

    with pytest.raises(KeyboardInterrupt) as stopped, _how_to_go_on("vit_digits", [0, 2], "my runs", other_data):
        raise KeyboardInterrupt
    (note,) = stopped.value.__notes__
    said = "zoo reproduce vit_digits --seed 0 --seed 2 --out 'my runs'" + " --other-data" * other_data
    assert note.endswith(f"Continue with: {said}")
