"""Training, resuming, fine-tuning, evaluating and predicting on real digits, through the API and the command."""

import csv
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import zoo
from zoo.cli import main
from zoo.data import from_arrays, load
from zoo.data.base import ArraySplit
from zoo.errors import (
    Conflict,
    DataError,
    IntegrityError,
    InvalidArgument,
    NonFiniteLoss,
    StoreError,
    UnknownName,
)
from zoo.files import locked
from zoo.runs import Run
from zoo.weights import load_state

BACKEND = keras.backend.backend()
ZOO = [sys.executable, "-c", "import sys; from zoo.cli import main; sys.exit(main(sys.argv[1:]))"]
VIT = {"patch_size": 4, "embed_dim": 8, "depth": 1, "num_heads": 2}
EVERYTHING = "ema(momentum=0.9)+dropout(rate=0.2)+flip_crop(pad=1, flip=False)+warmup(epochs=1.5)"
LONG = ["train", "vit", "digits", "--recipe", EVERYTHING, "--epochs", "8", "--batch-size", "64", "--seed", "5"]
LONG += [word for name, value in VIT.items() for word in ("--set", f"{name}={value}")]


def quick(out, model="softmax", data="digits", **options):
    return zoo.train(model, data, out=out, quiet=True, **{"epochs": 2, "batch_size": 128, **options})


def weights_of(run):
    return (run.folder / "best.safetensors").read_bytes()


def files_in(folder):
    return {path.name for path in Path(folder).iterdir() if path.name != ".lock"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run of softmax on digits that no test may change."""
    return quick(tmp_path_factory.mktemp("runs") / "softmax")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The run that every interrupted one must end as."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert main([*LONG, "--out", str(out), "--quiet"]) == 0
    return Run(out)


# What a run leaves


def test_a_run_folder_holds_the_record_the_weights_and_the_picture(run):
    assert files_in(run.folder) == {
        "run.json",
        "metrics.csv",
        "curves.png",
        "config.json",
        "best.safetensors",
        "last.safetensors",
    }
    assert (run.folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((run.folder / "run.json").read_text())
    assert record == run.record
    assert record["status"] == run.status == "finished"
    assert record["command"] == "zoo train softmax digits --recipe plain --epochs 2 --batch-size 128 --seed 0"
    assert (record["recipe"], record["seed"], record["epochs"]) == ("plain", 0, 2)
    assert record["data"]["fingerprint"] == load("digits").fingerprint
    assert record["data"]["sizes"] == {"train": 1258, "validation": 180, "test": 359}
    assert record["versions"]["keras"] == keras.__version__
    assert record["versions"]["backend"] == BACKEND
    assert record["hardware"]["cores"] >= 1
    assert record["seconds"] == pytest.approx(sum(row["seconds"] for row in record["history"]), abs=0.005)
    assert [row["epoch"] for row in run.history] == [1, 2]
    assert set(run.history[0]) >= {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds"}
    assert run.history[0]["learning_rate"] == pytest.approx(1e-3)
    assert run.metrics["test"]["examples"] == 359
    assert record["model"]["arguments"] == {"image_shape": [8, 8, 1], "num_classes": 10}
    assert record["model"]["labels"] == list("0123456789")


def test_metrics_csv_is_the_history(run):
    with open(run.folder / "metrics.csv", newline="") as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    assert rows == run.history


def test_the_history_is_what_the_weights_measure(run):
    best = run.history[run.record["best_epoch"] - 1]
    assert run.metrics["validation"]["accuracy"] == pytest.approx(best["val_accuracy"], abs=1e-6)
    assert run.metrics["validation"]["loss"] == pytest.approx(best["val_loss"], rel=1e-5)


def test_kept_averages_are_what_validation_measured(uninterrupted):
    best = uninterrupted.history[uninterrupted.record["best_epoch"] - 1]
    assert uninterrupted.metrics["validation"]["accuracy"] == pytest.approx(best["val_accuracy"], abs=1e-6)
    assert uninterrupted.record["recipe"] == str(zoo.recipe(EVERYTHING))
    assert zoo.recipe(uninterrupted.record["recipe_exact"]) == zoo.recipe(EVERYTHING)


def test_the_recorded_command_gives_the_same_weights(tmp_path):
    options = {"recipe": "warmup(epochs=1)+label_smoothing(amount=0.2)", "keep": "last", "seed": 3, "pool": "mean"}
    first = quick(tmp_path / "first", "vit", **options, **VIT)
    words = shlex.split(first.record["command"])
    assert words[:4] == ["zoo", "train", "vit", "digits"]
    assert main([*words[1:], "--out", str(tmp_path / "again"), "--quiet"]) == 0
    again = Run(tmp_path / "again")
    assert again.record["command"] == first.record["command"]
    assert weights_of(again) == weights_of(first)


def test_the_seed_decides_the_weights(run, tmp_path):
    assert weights_of(quick(tmp_path / "same")) == weights_of(run)
    assert weights_of(quick(tmp_path / "other", seed=1)) != weights_of(run)


def test_keep_last_keeps_the_last(tmp_path):
    run = quick(tmp_path / "run", epochs=3, keep="last", recipe="sgd(learning_rate=0.5)")
    assert run.record["best_epoch"] == 3
    state, _ = load_state(run.folder / "last.safetensors")
    kept = {w.path: keras.ops.convert_to_numpy(w) for w in run.model().weights}
    np.testing.assert_array_equal(kept["logits/kernel"], state["model/00000"].reshape(kept["logits/kernel"].shape))


def test_best_is_the_epoch_of_highest_validation_accuracy(tmp_path):
    run = quick(tmp_path / "run", epochs=6, recipe="sgd(learning_rate=2.0)")
    rows = [(row["val_accuracy"], -row["val_loss"]) for row in run.history]
    assert run.record["best_epoch"] == rows.index(max(rows)) + 1
    assert run.metrics["validation"]["accuracy"] == pytest.approx(max(rows)[0], abs=1e-6)


def test_unnamed_runs_get_a_folder_each(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [quick(None, epochs=1).folder.as_posix() for _ in range(2)]
    assert folders == ["runs/softmax.digits", "runs/softmax.digits-2"]


def test_a_built_model_trains_from_its_weights(run, tmp_path):
    again = zoo.train(run.model(), "digits", out=tmp_path / "run", epochs=1, quiet=True)
    assert again.history[0]["loss"] < run.history[0]["loss"]
    assert again.record["command"] is None


# How it prints


def test_quiet_prints_nothing(tmp_path, capfd):
    quick(tmp_path / "run", epochs=1)
    assert capfd.readouterr() == ("", "")


def test_lines_for_a_file_and_names_with_brackets(tmp_path, capfd):
    zoo.train("softmax", "digits", out=tmp_path / "[bold]x", epochs=2)
    lines = capfd.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["softmax", "epoch", "epoch", "test"]
    assert lines[0] == "softmax (650 weights) on digits, plain, 1,258 examples, seed 0"
    assert lines[-1].endswith("[bold]x")


# Options of training


def test_mixed_precision_computes_in_16_bits_and_stores_32(tmp_path):
    run = quick(tmp_path / "run", "vit", mixed_precision="bfloat16", epochs=3, **VIT)
    assert run.record["precision"] == "mixed_bfloat16"
    assert "--mixed-precision bfloat16" in run.record["command"]
    assert keras.config.dtype_policy().name == "float32"
    model = run.model()
    assert {str(w.dtype) for w in model.weights} == {"float32"}
    assert run.metrics["test"]["accuracy"] > 0.2
    tuned = zoo.finetune(run, "digits_parity", mixed_precision="bfloat16", epochs=1, out=tmp_path / "b", quiet=True)
    assert tuned.record["precision"] == "mixed_bfloat16"


def test_mixed_precision_of_a_finished_model_is_refused(run, tmp_path):
    with pytest.raises(InvalidArgument, match="mixed precision is settled when a model is built"):
        zoo.train(run.model(), "digits", mixed_precision="bfloat16", out=tmp_path / "x", quiet=True)
    assert not (tmp_path / "x").exists()


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch compiles steps with a C++ compiler, which may be missing")
def test_jit_compiles(tmp_path):
    run = quick(tmp_path / "run", jit=True, deterministic=False)
    assert run.record["jit"] is True
    assert "--jit --no-deterministic" in run.record["command"]
    plain = quick(tmp_path / "plain", jit=False, deterministic=False)
    assert run.history[-1]["val_loss"] == pytest.approx(plain.history[-1]["val_loss"], rel=1e-3)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow refuses")
def test_jit_beside_determinism_is_refused_and_determinism_is_undone(tmp_path):
    from tensorflow.python.framework.config import is_op_determinism_enabled

    with pytest.raises(InvalidArgument, match=r"jit=True needs deterministic=False.*--no-deterministic"):
        quick(tmp_path / "run", jit=True)
    quick(tmp_path / "plain", epochs=1)
    assert not is_op_determinism_enabled()


def test_tensorboard_writes_event_files(tmp_path):
    pytest.importorskip("tensorboard")
    run = quick(tmp_path / "run", tensorboard=True)
    events = [p for p in (run.folder / "tensorboard").rglob("*") if "tfevents" in p.name]
    assert {p.parent.name for p in events} >= {"train", "validation"}


# Refused before any epoch


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"model": "lstm"}, DataError, "lstm is for text_classification, and digits is for image_classification"),
        (
            {"num_classes": 3},
            DataError,
            "softmax has 3 outputs and digits has 10 classes. Build it with num_classes=10",
        ),
        ({"image_shape": (28, 28, 1)}, DataError, r"image_shape=\[28, 28, 1\] and digits has image_shape=\[8, 8, 1\]"),
        ({"num_clases": 3}, UnknownName, "Did you mean 'num_classes'?"),
        ({"recipe": "fgm"}, InvalidArgument, "fgm"),
        ({"recipe": "sgd+radam"}, Conflict, "radam and sgd"),
        ({"recipe": "dropout"}, InvalidArgument, "dropout"),
        ({"epochs": 0}, InvalidArgument, "`epochs` must be a positive whole number"),
        ({"batch_size": 2.5}, InvalidArgument, "`batch_size` must be a positive whole number"),
        ({"seed": -1}, InvalidArgument, "`seed` must be a whole number"),
        ({"keep": "bst"}, UnknownName, "Did you mean 'best'?"),
        ({"mixed_precision": "bfloat61"}, UnknownName, "Did you mean 'mixed_bfloat16'?"),
        ({"data_options": {"shuffle": 1}}, UnknownName, "no argument of data set 'digits' named 'shuffle'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_work_is_refused_before_a_folder_is_made(options, error, message, tmp_path):
    with pytest.raises(error, match=message):
        quick(tmp_path / "run", **options)
    assert not list(tmp_path.glob("run"))


def test_a_run_is_never_overwritten(run, tmp_path):
    before = {p.name: p.read_bytes() for p in run.folder.iterdir()}
    with pytest.raises(InvalidArgument, match=r"already holds a run.*--resume"):
        quick(run.folder, seed=9)
    assert {p.name: p.read_bytes() for p in run.folder.iterdir()} == before
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidArgument, match="exists and is no run folder"):
        quick(tmp_path)
    with pytest.raises(InvalidArgument, match="exists and is no run folder"):
        quick(tmp_path / "thesis.txt")
    assert files_in(tmp_path) >= {"thesis.txt"}


def test_resume_needs_a_run(tmp_path):
    with pytest.raises(InvalidArgument, match="needs to know which run"):
        quick(None, resume=True)
    with pytest.raises(InvalidArgument, match="there is no run to resume"):
        quick(tmp_path / "none", resume=True)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/sys is a folder in which nobody can write")
def test_a_folder_that_cannot_be_written_is_refused_first(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for out in (Path("/sys/zoo-run"), tmp_path / "file" / "run"):
        with pytest.raises(StoreError, match="could not write"):
            quick(out)
        assert main(["train", "softmax", "digits", "--out", str(out)]) == 2
        assert capsys.readouterr().err.startswith(f"Error: could not write {out}")


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on the size of files")
def test_a_full_disk_ends_training_with_its_name(tmp_path):
    limited = ZOO[2].replace(
        "import sys;", "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (5000,) * 2);"
    )
    words = ["train", "softmax", "digits", "--epochs", "2", "--out", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-c", limited, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: could not write {tmp_path / 'run' / 'last.safetensors'}")
    assert "Traceback" not in done.stderr
    left = files_in(tmp_path / "run")
    assert not any(name.endswith("tmp") for name in left)
    assert main([*words, "--resume", "--quiet"]) == 0  # with room again, it goes on


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    quick(tmp_path / "run", epochs=1)
    with locked(tmp_path / "run" / ".lock"), pytest.raises(StoreError, match="another process"):
        quick(tmp_path / "run", epochs=1, resume=True)


# A loss that is not a number


def test_a_loss_that_is_not_finite_stops_with_step_rate_and_advice(tmp_path):
    with pytest.raises(NonFiniteLoss) as caught:
        quick(tmp_path / "run", "vit", recipe="sgd(learning_rate=1e30)", **VIT)
    for text in ("in step ", "of epoch 1", "learning rate of 1e+30", "warmup"):
        assert text in str(caught.value)
    assert Run(tmp_path / "run").status == "failed"


class Poisoned(ArraySplit):
    """Digits whose inputs turn into NaN after some batches, with an unchanged fingerprint."""

    batches = 0

    def inputs(self, indices):
        self.batches += 1
        found = super().inputs(indices)
        return found * np.float32("nan") if self.batches > 26 else found


def test_the_checkpoint_before_a_failure_is_intact_and_goes_on(tmp_path):
    digits = load("digits")
    x, y = np.round(digits.train.arrays()[0] * 16).astype(np.uint8), digits.train.labels
    clean = digits.but(train=ArraySplit(x, y, digits.preprocessing))
    assert clean.fingerprint == digits.fingerprint
    bad = digits.but(train=Poisoned(x, y, digits.preprocessing))
    with pytest.raises(NonFiniteLoss, match="of epoch 3"):
        quick(tmp_path / "run", data=bad, epochs=4)
    failed = Run(tmp_path / "run")
    assert (failed.status, len(failed.history)) == ("failed", 2)
    assert np.isfinite(failed.model().predict_on_batch(clean.test.arrays()[0])).all()
    resumed = quick(tmp_path / "run", data=clean, epochs=4, resume=True)
    whole = quick(tmp_path / "whole", data=clean, epochs=4)
    assert weights_of(resumed) == weights_of(whole)


# Going on


def same_end(run, whole):
    """Asserts that two runs ended with the same kept weights, training state and history."""
    assert weights_of(run) == weights_of(whole)
    mine, theirs = (load_state(r.folder / "last.safetensors")[0] for r in (run, whole))
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)
    timeless = [[{k: v for k, v in row.items() if k != "seconds"} for row in r.history] for r in (run, whole)]
    assert timeless[0] == timeless[1]
    assert run.metrics == whole.metrics


def started(words):
    return subprocess.Popen(
        [*ZOO, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_a_run_killed_at_random_moments_ends_as_if_it_had_not_been(uninterrupted, tmp_path):
    words = [*LONG, "--out", str(tmp_path / "run")]
    moments = random.Random(time.time_ns())
    for attempt in range(2):
        process = started([*words, "--resume"] if attempt else words)
        for line in process.stdout:
            if line.startswith("epoch"):
                break
        time.sleep(moments.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        if (tmp_path / "run" / "run.json").exists() and Run(tmp_path / "run").status == "finished":
            break
    assert main([*words, "--resume", "--quiet"]) == 0
    same_end(Run(tmp_path / "run"), uninterrupted)


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_ctrl_c_says_how_to_go_on(uninterrupted, tmp_path):
    words = [*LONG, "--out", str(tmp_path / "run")]
    # From outside, the signal of a busy test machine could come after the last epoch.
    code = """if True:
        import os, signal, sys
        import zoo.progress
        from zoo.cli import main
        signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background inherit an ignored one
        say = zoo.progress.say
        def interrupted(console, text, *rest):
            say(console, text, *rest)
            if text.startswith("epoch 2/"):
                os.kill(os.getpid(), signal.SIGINT)
        zoo.progress.say = interrupted
        sys.exit(main(sys.argv[1:]))"""
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert Run(tmp_path / "run").status == "interrupted"
    said = next(line for line in done.stdout.splitlines() if line.startswith("Stopped after"))
    command = shlex.split(said.partition("Continue with: ")[2])
    assert command[0] == "zoo"
    assert command[-1] == "--resume"
    assert main([*command[1:], "--quiet"]) == 0
    same_end(Run(tmp_path / "run"), uninterrupted)


class Stopped(BaseException):
    """What a signal does to a program that does not expect it."""


@pytest.mark.parametrize("writes", range(4))
def test_a_run_stopped_before_its_first_epoch_can_be_started_or_resumed(writes, tmp_path, monkeypatch):
    from zoo import files

    digits = load("digits")
    data = digits.but(assets={"note.txt": b"of the data"})
    left, replace = [writes], os.replace

    def rename(source, target):
        left[0] -= 1
        if left[0] < 0:
            raise Stopped
        return replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", rename)
        with pytest.raises(Stopped):
            quick(tmp_path / "run", data=data, epochs=1)
    (tmp_path / "run" / ".config.json.1-ab.zoo-tmp").write_bytes(b"{")  # as a kill leaves it
    if writes:
        with pytest.raises(InvalidArgument, match="already holds a run"):
            quick(tmp_path / "run", data=data, epochs=1)
    run = quick(tmp_path / "run", data=data, epochs=1, resume=bool(writes))
    assert files_in(run.folder) >= {"run.json", "config.json", "note.txt", "best.safetensors"}
    assert not list(run.folder.glob("*.zoo-tmp"))
    assert run.status == "finished"


def test_a_finished_run_resumes_to_itself(uninterrupted, tmp_path):
    first = quick(tmp_path / "run")
    before, history = weights_of(first), first.history
    again = quick(tmp_path / "run", resume=True)
    assert weights_of(again) == before
    assert again.history == history


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 1}, "seed: 0 there, 1 here"),
        ({"epochs": 5}, "epochs: 2 there, 5 here"),
        ({"batch_size": 32}, "batch_size: 128 there, 32 here"),
        ({"recipe": "warmup"}, "recipe: 'plain' there, 'warmup"),
        ({"keep": "last"}, "keep: 'best' there, 'last' here"),
        ({"data": "digits_parity"}, "data: 'sha256:"),
        ({"model": "vit", **VIT}, "model: "),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_resuming_another_training_is_refused_and_named(change, named, run):
    before = {p.name: p.read_bytes() for p in run.folder.iterdir()}
    with pytest.raises(InvalidArgument, match="is not this one") as caught:
        quick(run.folder, resume=True, **change)
    assert named in str(caught.value)
    assert {p.name: p.read_bytes() for p in run.folder.iterdir()} == before


def test_a_run_goes_on_only_with_the_teacher_and_the_mask_it_began_with(run, tmp_path):
    folder, mask = tmp_path / "teacher", tmp_path / "mask.npy"
    shutil.copytree(run.folder, folder)
    np.save(mask, np.eye(8, dtype="uint8"))
    recipe = f"distill(teacher={str(folder)!r})+prior(mask={str(mask)!r})"
    out = quick(tmp_path / "run", recipe=recipe, epochs=1).folder
    same = quick(out, recipe=recipe, epochs=1, resume=True).record
    assert same["teacher"]["ref"] == str(folder)
    assert same["prior_mask"].startswith("sha256:")
    np.save(mask, 1 - np.eye(8, dtype="uint8"))
    with pytest.raises(InvalidArgument, match=r"is not this one: prior_mask: 'sha256:.* there, 'sha256:.* here"):
        quick(out, recipe=recipe, epochs=1, resume=True)
    np.save(mask, np.eye(8, dtype="uint8"))
    shutil.rmtree(folder)
    quick(folder, seed=7, epochs=1)
    with pytest.raises(InvalidArgument, match=r"is not this one: teacher: "):
        quick(out, recipe=recipe, epochs=1, resume=True)


def test_a_damaged_checkpoint_is_refused(tmp_path):
    run = quick(tmp_path / "run", epochs=1)
    path = run.folder / "last.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(IntegrityError, match=r"last\.safetensors"):
        quick(run.folder, epochs=1, resume=True)
    path.write_bytes(b"")
    with pytest.raises(IntegrityError, match=r"last\.safetensors"):
        quick(run.folder, epochs=1, resume=True)


def test_a_folder_without_a_run_is_not_one(tmp_path):
    with pytest.raises(InvalidArgument, match="is not a run folder"):
        Run(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(IntegrityError, match="not valid JSON"):
        Run(tmp_path)


# Evaluating


def test_evaluation_repeats_the_recorded_metrics(run, uninterrupted, capsys):
    for one in (run, uninterrupted):
        for split in ("validation", "test"):
            assert (
                zoo.evaluate(one.folder, "digits", split=split, batch_size=one.record["batch_size"])
                == one.metrics[split]
            )
    assert zoo.evaluate(run, "digits", split="train")["examples"] == 1258
    batch = ["--batch-size", "128", "--json"]
    assert main(["evaluate", str(run.folder), "digits", *batch]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {k: shown[k] for k in ("loss", "accuracy", "examples")} == run.metrics["test"]
    assert main(["evaluate", str(run.folder), "digits", "--split", "validation"]) == 0
    assert capsys.readouterr().out.startswith("validation accuracy ")


def test_evaluation_on_other_classes_is_refused(run):
    with pytest.raises(DataError, match="softmax has 10 outputs and digits_parity has 2 classes"):
        zoo.evaluate(run, "digits_parity")
    with pytest.raises(UnknownName, match="Did you mean 'test'"):
        zoo.evaluate(run, "digits", split="tset")


# Publishing


def test_a_pushed_run_pulls_back_identical(run, capsys):
    x = load("digits").test.arrays()[0]
    expected = run.model().predict_on_batch(x)
    assert main(["push", str(run.folder), "me/softmax", "--license", "apache-2.0", "--message", "first", "--json"]) == 0
    pushed = json.loads(capsys.readouterr().out)
    assert pushed["created"] is True
    assert main(["push", str(run.folder), "me/softmax", "--license", "apache-2.0"]) == 0
    assert "already there" in capsys.readouterr().out
    assert main(["pull", pushed["ref"], "--json"]) == 0
    pulled = json.loads(capsys.readouterr().out)
    assert pulled["ref"] == pushed["ref"]
    assert set(pulled["verified"]) == {"model.safetensors", "README.md", "run.json", "curves.png"}
    assert main(["pull", "me/softmax"]) == 0
    shown = capsys.readouterr().out
    assert pulled["folder"] in shown
    assert pulled["verified"]["model.safetensors"]["sha256"][:16] in shown
    model = zoo.load(pushed["ref"])
    assert model.zoo_spec.labels == tuple("0123456789")
    np.testing.assert_array_equal(model.predict_on_batch(x), expected)
    np.testing.assert_array_equal(zoo.load("me/softmax").predict_on_batch(x), expected)
    assert zoo.evaluate("me/softmax", "digits", batch_size=128) == run.metrics["test"]


def test_labels_can_be_named_when_pushing(run):
    assert main(["push", str(run.folder), "me/words", *[w for n in range(10) for w in ("--label", f"digit {n}")]]) == 0
    assert zoo.load("me/words").zoo_spec.labels[3] == "digit 3"
    assert main(["push", str(run.folder), "me/words", "--label", "one"]) == 2


def test_a_run_is_shown_by_info(run, capsys):
    assert main(["info", str(run.folder)]) == 0
    shown = capsys.readouterr().out
    for text in ("run, finished", "softmax, 650 weights", run.record["command"], run.record["data"]["fingerprint"]):
        assert text in shown
    assert main(["info", str(run.folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == run.metrics


# Fine-tuning


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """A vision transformer to fine-tune."""
    out = tmp_path_factory.mktemp("runs") / "vit"
    return quick(out, "vit", epochs=6, batch_size=64, recipe="adam(learning_rate=0.01)", **VIT)


def backbone(run):
    return {w.path: keras.ops.convert_to_numpy(w) for w in run.model().weights if "logits" not in w.path}


def test_finetuning_frozen_trains_the_head_alone(parent, tmp_path):
    tuned = zoo.finetune(parent, "digits_parity", freeze=True, epochs=3, out=tmp_path / "run", quiet=True)
    before, after = backbone(parent), backbone(tuned)
    assert before.keys() == after.keys()
    for name, value in before.items():
        np.testing.assert_array_equal(value, after[name], err_msg=name)
    assert tuned.spec.labels == ("even", "odd")
    assert tuned.spec.arguments["num_classes"] == 2
    assert tuned.spec.parent["ref"] == parent.folder.name  # of a path only the name: records are published
    assert tuned.record["command"] is None
    assert len(tuned.spec.parent["sha256"]) == 64
    assert tuned.metrics["test"]["accuracy"] > 0.55


def test_finetuning_changes_everything_and_its_command_repeats_it(parent, tmp_path, capsys):
    pushed = zoo.push(parent, "me/vit")
    tuned = zoo.finetune(pushed.ref, "digits_parity", epochs=2, seed=4, out=tmp_path / "run", quiet=True)
    before, after = backbone(parent), backbone(tuned)
    assert all((before[name] != after[name]).any() for name in before)
    assert tuned.spec.parent["ref"] == pushed.ref
    words = shlex.split(tuned.record["command"])
    assert words[:4] == ["zoo", "finetune", pushed.ref, "digits_parity"]
    assert main([*words[1:], "--out", str(tmp_path / "again"), "--quiet"]) == 0
    assert weights_of(Run(tmp_path / "again")) == weights_of(tuned)
    assert main([*words[1:], "--out", str(tmp_path / "again"), "--resume", "--quiet"]) == 0


def test_finetuning_on_the_same_classes_keeps_the_head(parent, tmp_path):
    tuned = zoo.finetune(parent, "digits", epochs=1, out=tmp_path / "run", quiet=True)
    assert tuned.history[0]["accuracy"] > parent.history[0]["accuracy"]


def test_finetuning_refuses_another_task_or_a_typo(parent, tmp_path):
    (tmp_path / "texts.tsv").write_text("text\tlabel\n" + "good\tyes\nbad\tno\n" * 20)
    with pytest.raises(DataError):
        zoo.finetune(parent, tmp_path / "texts.tsv", out=tmp_path / "run", quiet=True)
    with pytest.raises(InvalidArgument, match="epoch"):
        zoo.finetune(parent, "digits_parity", epoch=1, out=tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


# Predicting


def test_predicting_image_files(run, tmp_path, capsys):
    from PIL import Image

    x = load("digits").test.arrays()[0][:5]
    paths = [tmp_path / f"digit{n}.png" for n in range(5)]
    pixels = np.round(x[..., 0] * 255).astype(np.uint8)  # a file's 255 is the data's maximum
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    x = pixels[..., np.newaxis] / np.float32(255)
    logits = np.asarray(run.model().predict_on_batch(x), np.float64)
    expected = np.exp(logits - logits.max(1, keepdims=True))
    expected /= expected.sum(1, keepdims=True)
    found = zoo.predict(run, paths, top=2)
    assert [p.input for p in found] == [str(path) for path in paths]
    assert [p.label for p in found] == [str(i) for i in expected.argmax(1)]
    np.testing.assert_allclose([p.probability for p in found], expected.max(1), rtol=1e-4)
    assert all(len(p.top) == 2 and p.top[0][1] >= p.top[1][1] for p in found)
    assert main(["predict", str(run.folder), *map(str, paths), "--top", "1", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [row["label"] for row in shown] == [p.label for p in found]
    assert main(["predict", str(run.folder), str(paths[0])]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["input", "label", "probability", "then"]
    assert row.split()[:2] == [str(paths[0]), found[0].label]
    assert len(zoo.predict(run, paths[0], top=99)[0].top) == 10


def test_predicting_what_is_no_image_names_it(run, tmp_path, capsys):
    (tmp_path / "note.png").write_text("not an image")
    for name in ("note.png", "missing.png"):
        assert main(["predict", str(run.folder), str(tmp_path / name)]) == 2
        assert name in capsys.readouterr().err
    with pytest.raises(InvalidArgument, match="`top` must be a positive whole number"):
        zoo.predict(run, tmp_path / "note.png", top=0)


def test_a_text_model_trains_and_predicts_on_a_table(tmp_path, capsys, monkeypatch):
    good = [f"a good and great film number {n}" for n in range(30)]
    bad = [f"a bad and boring film number {n}" for n in range(30)]
    rows = [
        f"{text}\t{label}"
        for pair in zip(good, bad, strict=True)
        for text, label in zip(pair, ("yes", "no"), strict=True)
    ]
    (tmp_path / "reviews.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n")
    words = ["train", "lstm", str(tmp_path / "reviews.tsv"), "--recipe", "adam(learning_rate=0.02)"]
    words += shlex.split("--data-option sequence_length=8 --data-option vocab_size=50 --epochs 8 --batch-size 7")
    words += shlex.split("--set embed_dim=8 --set units=8 --set drop_rate=0.0 --quiet")
    words += ["--out", str(tmp_path / "run")]
    assert main(words) == 0
    run = Run(tmp_path / "run")
    assert "vocabulary.txt" in files_in(run.folder)
    assert run.metrics["test"]["accuracy"] == 1.0
    assert zoo.predict(run, "a great and good film")[0].label == "yes"
    pushed = zoo.push(run, "me/reviews")
    monkeypatch.setattr("sys.stdin", (tmp_path / "stdin").open("w+", encoding="utf-8"))
    sys.stdin.write("boring bad film\n\ngreat good film\n")
    sys.stdin.seek(0)
    assert main(["predict", pushed.ref, "-", "a bad one", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [(row["input"], row["label"]) for row in shown] == [
        ("boring bad film", "no"),
        ("great good film", "yes"),
        ("a bad one", "no"),
    ]
    assert zoo.evaluate(pushed.ref, tmp_path / "reviews.tsv", batch_size=7) == run.metrics["test"]


def test_arrays_train_under_their_own_name(tmp_path):
    digits = load("digits")
    x, y = digits.train.arrays()
    data = from_arrays(np.round(x * 16).astype(np.uint8), y)
    run = quick(tmp_path / "run", data=data, epochs=1)
    assert run.record["command"] is None
    assert run.record["data"]["fingerprint"] == data.fingerprint
