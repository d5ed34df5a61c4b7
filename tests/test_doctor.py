"""`zoo doctor`, the table `[speed]` of recipes, and the backend that `zoo train` takes by it."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import zoo
from zoo import doctoring, speed
from zoo.cli import main
from zoo.errors import DataError, InvalidArgument, MissingDependency, UnknownName, ZooError
from zoo.speeds import Arm, Speeds, Timed, timed

TINY = """
summary = "Softmax regression on the digits"
model = "softmax"
data = "digits"
tricks = "adam(learning_rate=0.01)"
epochs = 1
batch_size = 64

[speed]
backend = "{backend}"
against = "tensorflow"
ratio = 1.5
device = "{device}"
"""


@pytest.fixture
def unchosen(tmp_path, monkeypatch):
    """An environment in which nobody chose a backend."""
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras"


@pytest.fixture
def tiny(tmp_path):
    """Writes a recipe with a table [speed] and returns its path."""

    def write(backend, device=None):
        path = tmp_path / "tiny.toml"
        path.write_text(TINY.format(backend=backend, device=device or speed.device()), "utf-8")
        return str(path)

    return write


def command(*words, code="import sys; from zoo.cli import main; sys.exit(main(sys.argv[1:]))", **environment):
    """Runs the `zoo` command in a process of its own."""
    env = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"} | environment
    env["PYTHONPATH"] = str(Path(zoo.__file__).parents[1])
    return subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, env=env, timeout=300)


# What was chosen


def test_keras_own_file_is_no_choice_and_the_variable_always_is(unchosen, monkeypatch):
    assert speed.chosen_backend() is None
    unchosen.mkdir()
    for text, found in (('{"backend": "tensorflow"}', None), ('{"backend": "jax"}', "jax"), ("[]", None), ("{", None)):
        (unchosen / "keras.json").write_text(text, "utf-8")
        assert speed.chosen_backend() == found
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert speed.chosen_backend() == "tensorflow"


@pytest.fixture
def no_keras(unchosen, monkeypatch):
    """As `unchosen`, and as if Keras were not imported yet; `KERAS_BACKEND` is put back."""
    monkeypatch.setenv("KERAS_BACKEND", "")
    monkeypatch.setattr(speed.sys, "modules", {k: v for k, v in sys.modules.items() if k != "keras"})
    monkeypatch.setattr(speed, "installed", lambda: {"tensorflow": "2", "torch": "2"})


def test_the_recipe_chooses_where_nobody_did(no_keras, tiny, tmp_path, monkeypatch):
    settings = zoo.recipe(tiny("torch")).settings
    said = speed.take_fastest(settings, "softmax")
    assert os.environ["KERAS_BACKEND"] == "torch"
    assert said.startswith("backend: torch. Recipe tiny was measured 1.5 times as fast on torch as on tensorflow;")
    assert speed.take_fastest(settings, "softmax") is None, "now it is chosen"

    monkeypatch.setenv("KERAS_BACKEND", "")
    assert speed.take_fastest(settings, "nin") is None, "another model than the recipe's"
    assert speed.take_fastest(zoo.recipe("focal").settings, "softmax") is None
    missing = speed.take_fastest(zoo.recipe(tiny("jax")).settings, "softmax")
    assert missing.endswith("it is not installed (pip install jax).")
    other = "cpu" if speed.device() == "accelerator" else "accelerator"
    assert speed.take_fastest(zoo.recipe(tiny("torch", other)).settings, "softmax") is None
    assert os.environ["KERAS_BACKEND"] == ""

    run = tmp_path / "run"
    run.mkdir()
    for begun, taken in (("torch", "torch"), ("tensorflow", "")):
        (run / "run.json").write_text(json.dumps({"versions": {"backend": begun}}), "utf-8")
        said = speed.take_fastest(settings, "softmax", run)
        assert os.environ["KERAS_BACKEND"] == taken, "a run that is continued keeps its backend"
        assert (said is not None) == (taken != "")
        monkeypatch.setenv("KERAS_BACKEND", "")


def test_an_imported_keras_is_told_once_and_a_chosen_one_never(unchosen, tiny, monkeypatch):
    here = speed.current_backend()
    other = next(name for name in speed.PACKAGES if name != here)
    monkeypatch.setattr(speed, "_told", set())
    settings = zoo.recipe(tiny(other)).settings
    assert speed.take_fastest(settings, "softmax") is None
    assert "KERAS_BACKEND" not in os.environ
    said = speed.advice(settings, "softmax")
    assert said.endswith(f"To use it, set KERAS_BACKEND={other} before Keras is imported.")
    assert speed.advice(settings, "softmax") is None
    speed._told.clear()
    monkeypatch.setenv("KERAS_BACKEND", here)
    assert speed.advice(settings, "softmax") is None


def test_training_tells_it_in_a_dry_run(unchosen, tiny, tmp_path, monkeypatch):
    other = next(name for name in speed.PACKAGES if name != speed.current_backend())
    monkeypatch.setattr(speed, "_told", set())
    shown = zoo.train("softmax", "digits", recipe=tiny(other), dry_run=True, out=tmp_path / "run")
    assert shown.startswith(f"Recipe tiny was measured 1.5 times as fast on {other}")


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        ('backend = "troch"\nagainst = "jax"\nratio = 1.0', UnknownName, "Did you mean 'torch'"),
        ('backend = "torch"\nagainst = "jax"', InvalidArgument, "no `ratio`"),
        ('backend = "torch"\nagainst = "jax"\nratio = "2"', InvalidArgument, "wrong type"),
        ('backend = "torch"\nagainst = "jax"\nratio = true', InvalidArgument, "wrong type"),
        ('backend = "torch"\nagainst = "jax"\nratios = 2.0', UnknownName, "Did you mean 'ratio'"),
        ('backend = "torch"\nagainst = "jax"\nratio = 2.0\ndevice = "tpu"', UnknownName, "no device"),
    ],
)
def test_a_wrong_table_is_refused(table, error, message, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(f'model = "softmax"\ndata = "digits"\n[speed]\n{table}\n', "utf-8")
    with pytest.raises(error, match=message):
        zoo.recipe(str(path))


@pytest.mark.torch
def test_train_and_reproduce_take_the_backend_of_the_recipe(unchosen, tiny, tmp_path):
    path = tiny("torch")
    out, folder = str(tmp_path / "run"), {"KERAS_HOME": str(unchosen)}
    done = command("train", "--recipe", path, "--out", out, **folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("backend: torch. Recipe tiny was measured")
    assert zoo.Run(out).record["versions"]["backend"] == "torch"


# What was measured


def test_intervals_are_those_of_the_paired_test():
    random = np.random.default_rng(0)
    base = random.uniform(50, 150, 6)
    rates = 1.5 * base * random.normal(1, 0.02, 6)
    found = timed(Arm("jax"), tuple(rates), tuple(base))
    from zoo.paired import paired

    expected = paired(np.log(rates), np.log(base))
    np.testing.assert_allclose(
        np.log([found.ratio, found.low, found.high]), [expected.mean, expected.low, expected.high]
    )
    quartiles = np.percentile(rates, [25, 50, 75])
    np.testing.assert_allclose([found.low_quartile, found.median, found.high_quartile], quartiles)
    assert found.low > 1, "half as fast again within rounds that differ threefold"


def _speeds(*rows):
    return Speeds("nin", "mnist", "plain", rows, rows[-1], 32, (), ("zoo", "train", "nin", "mnist"))


def test_the_answer_names_the_command_and_the_noise():
    default = Timed(Arm("tensorflow", 32), (9, 11), 10, 9, 11, 1.0, 1.0, 1.0)
    faster = Timed(Arm("torch", 32), (18, 22), 20, 18, 22, 2.0, 1.8, 2.2)
    near = Timed(Arm("torch", 32), (12, 9), 10.5, 9, 12, 1.1, 0.9, 1.3)
    found = _speeds(faster, default)
    assert found.line == "KERAS_BACKEND=torch zoo train nin mnist"
    assert "2.00 times (1.80 to 2.20) the default" in found.sentence
    import tomllib

    table = tomllib.loads(found.toml())["speed"]
    assert speed.checked_speed(table, "here")["backend"] == "torch"
    assert table["examples_per_second"] == {"torch": 20.0, "tensorflow": 10.0}
    close = _speeds(near, default)
    table = close.speed_table()
    assert (close.winner, table["backend"], table["against"]) == (default, "tensorflow", "torch")
    assert table["low"] < 1 < table["high"]
    assert "within the noise" in close.sentence
    large = Timed(Arm("torch", 128), (18, 22), 20, 18, 22, 2.0, 1.8, 2.2)
    found = _speeds(large, default)
    assert found.line.endswith("nin mnist --batch-size 128")
    assert found.speed_table()["backend"] == "tensorflow", "a recipe's batch size is part of its result"
    xla = Timed(Arm("tensorflow", 32, xla=True), (18, 22), 20, 18, 22, 2.0, 1.8, 2.2)
    found = _speeds(xla, default)
    assert found.line.endswith("--jit --no-deterministic")
    assert (found.speed_table()["backend"], found.speed_table()["jit"]) == ("tensorflow", True)


class _Pretended:
    """A worker that answers at once; `broken` says which backends fail, and when."""

    broken = {}

    def __init__(self, backend):
        self.backend, self.failed, self.asked = backend, None, []

    def ask(self, request):
        kind = "open" if "model" in request else "turn" if "steps" in request else "arm"
        if self.failed:
            return {"error": self.failed}
        if self.broken.get(self.backend) == kind:
            return {"error": f"{self.backend} fell over"}
        seconds = {"tensorflow": 0.2, "torch": 0.1, "jax": 0.4}[self.backend]
        if kind == "turn":
            return {"seconds": seconds * request["steps"]}
        return {"seconds": seconds, "batch_size": request.get("batch_size") or 64}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.fixture
def pretended(monkeypatch, unchosen):
    monkeypatch.setattr(doctoring, "_Worker", _Pretended)
    monkeypatch.setattr(doctoring, "current_backend", lambda: "tensorflow")
    monkeypatch.setattr(doctoring, "installed", lambda: {"tensorflow": "2", "torch": "2", "jax": "0"})
    monkeypatch.setattr(_Pretended, "broken", {})


@pytest.mark.parametrize("when", ["open", "arm", "turn"])
def test_a_backend_that_fails_is_reported_and_the_others_are_measured(pretended, when, capsys):
    _Pretended.broken["jax"] = when
    found = zoo.doctor("softmax", xla=False, quiet=True)
    assert [row.arm.backend for row in found.rows] == ["torch", "tensorflow", "jax"]
    assert found.rows[-1].error == "jax fell over"
    assert math.isclose(found.rows[0].ratio, 2)
    assert found.winner.arm.backend == "torch"
    json.dumps(found.to_json(), allow_nan=False)
    assert main(["doctor", "softmax", "--no-xla"]) == 0
    shown = capsys.readouterr().out
    assert "jax fell over" in shown
    assert "KERAS_BACKEND=torch zoo train softmax DATA" in shown


def test_where_the_default_or_every_backend_fails(pretended):
    _Pretended.broken["tensorflow"] = "arm"
    found = zoo.doctor("softmax", quiet=True)
    assert found.default.arm.backend == "torch"
    assert found.notes[0].startswith("Ratios are of torch, as tensorflow failed")
    _Pretended.broken |= {"torch": "turn", "jax": "open"}
    with pytest.raises(ZooError, match=r"No backend could train softmax.*torch: torch fell over"):
        zoo.doctor("softmax", quiet=True)


def test_batch_sizes_and_steps_are_tried_besides_the_recipes_own(pretended):
    found = zoo.doctor("softmax", batch_sizes=[64, 128], steps_per_execution=[1, 4], xla=False, quiet=True)
    tried = {(r.arm.backend, r.arm.batch_size, r.arm.steps_per_execution) for r in found.rows}
    both = {(name, size, steps) for name in ("tensorflow", "jax") for size in (64, 128) for steps in (1, 4)}
    assert tried == both | {("torch", 64, 1), ("torch", 128, 1)}
    assert len(found.rows) == len(tried)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: zoo.doctor("sofmax"), UnknownName, "Did you mean 'softmax'"),
        (lambda: zoo.doctor("softmax", clases=3), UnknownName, "num_classes"),
        (lambda: zoo.doctor("softmax", recipe="warmpu"), UnknownName, "Did you mean 'warmup'"),
        (lambda: zoo.doctor(recipe="focal"), InvalidArgument, "names no model"),
        (lambda: zoo.doctor("softmax", backends=["tensroflow"]), UnknownName, "Did you mean 'tensorflow'"),
        (lambda: zoo.doctor("softmax", batch_sizes=[0]), InvalidArgument, "positive whole numbers"),
        (lambda: zoo.doctor("softmax", rounds=1), InvalidArgument, "from 2 on"),
        (lambda: zoo.doctor("softmax", seconds=0), InvalidArgument, "positive number"),
        (lambda: zoo.doctor("softmax", np.zeros(3)), InvalidArgument, "process of its own"),
    ],
)
def test_what_cannot_be_measured_is_refused_at_once(pretended, call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_backend_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(doctoring, "installed", lambda: {"tensorflow": "2"})
    with pytest.raises(MissingDependency, match="pip install torch"):
        zoo.doctor("softmax", backends=["torch"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["softmax", "--batch-sizes", "32;64"], "whole numbers joined by commas"),
        (["--toml"], "measures a model"),
        (["--backend", "jax"], "measures a model"),
        (["softmax", "digitz"], "Did you mean 'digits'"),
    ],
)
def test_the_command_refuses_in_words(words, message, capsys):
    assert main(["doctor", *words]) == 2
    assert message in capsys.readouterr().err


# In processes


def _timing(model, data=None, recipe="plain"):
    """Returns the arm of the worker that trains so, on this backend."""
    from zoo.timing import Arm as Timing
    from zoo.timing import Bench

    wanted = {"model": model, "data": data, "recipe": recipe, "arguments": {}, "data_options": {}}
    switches = {"batch_size": 4, "jit": None, "deterministic": True, "steps_per_execution": 1}
    return Timing(Bench(wanted), switches)


@pytest.mark.parametrize("model", ["softmax", "lstm", "wide_deep", "multihead_tabular", "wgan", "lstm_lm", "skipgram"])
def test_random_batches_fit_every_kind_of_model(model):
    assert _timing(model).run(2) > 0


@pytest.mark.parametrize("recipe", ["early_stopping+snapshot+swa", "lr_finder", "class_balance", "flip_crop+mixup"])
def test_recipes_that_act_between_steps_are_timed_too(recipe, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _timing("softmax", "digits", recipe).warmed_up() > 0
    assert not [path for path in tmp_path.iterdir() if path.name != "zoo-cache"]


def test_data_that_is_not_here_is_not_downloaded(monkeypatch):
    from zoo import cache
    from zoo.timing import Bench

    monkeypatch.delenv("ZOO_DATA", raising=False)
    monkeypatch.setattr(cache, "download", lambda *_: pytest.fail("downloaded"))
    wanted = {"model": "softmax", "data": "mnist", "recipe": "plain", "arguments": {}, "data_options": {}}
    bench = Bench(wanted)
    assert bench.dataset is None
    assert bench.notes[0].startswith("Random batches in place of mnist, which cannot be read: MNIST is not on this")
    with pytest.raises(DataError, match="no such file or folder"):
        Bench(wanted | {"data": "./photos"})


def test_doctor_measures_a_model_on_its_data_and_one_backend(tmp_path):
    words = ["softmax", "digits", "--no-xla", "--rounds", "2", "--seconds", "0.05", "--backend", "tensorflow"]
    done = command("doctor", *words, "--json", KERAS_HOME=str(tmp_path))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["data"], found["batch_size"], found["notes"]) == ("digits", 32, [])
    (row,) = found["rows"]
    assert len(row["rates"]) == 2
    assert all(rate > 0 for rate in row["rates"])
    assert found["line"] == "KERAS_BACKEND=tensorflow zoo train softmax digits"


def test_a_worker_that_dies_says_so(monkeypatch):
    monkeypatch.setattr(doctoring.sys, "executable", "/bin/false")
    with doctoring._Worker("tensorflow") as worker:
        answer = worker.ask({"model": "softmax"})
    assert "ended by itself (status 1)" in answer["error"]


def test_a_worker_that_does_not_answer_is_given_up_and_ended(monkeypatch):
    monkeypatch.setattr(doctoring, "PATIENCE", 0.05)
    with doctoring._Worker("tensorflow") as worker:
        assert "no answer within 0.05 seconds" in worker.ask({"model": "softmax"})["error"]
        assert "no answer" in worker.ask({"arm": 0, "steps": 2})["error"]
    assert worker._process.poll() is not None


def test_the_environment_is_reported_without_secrets(monkeypatch, capsys, tmp_path):
    from zoo import environment

    monkeypatch.setenv("HF_TOKEN", "hf_secretsecretsecret")
    monkeypatch.setenv("HF_ENDPOINT", "https://me:hunter2@mirror.example")
    monkeypatch.setenv("ZOO_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(environment, "_started", lambda name: ((), None if name == "tensorflow" else "no such luck"))
    monkeypatch.setattr(environment, "installed", lambda: {"tensorflow": "2.21", "torch": "2.13"})
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert "secret" not in shown
    assert "hunter2" not in shown
    assert "https://...@mirror.example" in shown
    assert "does not exist" in shown
    assert "HF_HUB_OFFLINE" in shown
    assert "problem: torch 2.13 does not start: no such luck." in shown
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["offline"] is True
    assert [b["name"] for b in found["backends"]] == ["tensorflow", "torch", "jax"]
    assert any("zoo-cache" in path for _, path, _ in found["folders"])


def test_a_backend_is_started_to_see_its_devices():
    from zoo import environment

    devices, error = environment._started(zoo.speed.current_backend())
    assert error is None
    assert isinstance(devices, tuple)
    assert environment._started("nonsense")[1]
