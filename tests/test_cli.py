"""The command line: what it prints, how it ends, and what it does not import."""

import json
import os
import re
import shlex
import subprocess
import sys

import pytest

import zoo
from zoo.cli import main, names, screen
from zoo.data import names as dataset_rows
from zoo.errors import Conflict, InvalidArgument
from zoo.recipes import list_recipes

RUN = """
import sys
from zoo.cli import main
status = main(sys.argv[1:])
late = sorted({"keras", "tensorflow", "jax", "torch", "numpy", "h5py"} & set(sys.modules))
print("heavy imports:", *late, file=sys.stderr) if late else None
sys.exit(status)
"""

LOOKING = [
    "",
    "--help",
    "--version",
    "list",
    "list resnet*",
    "list vit --task image_classification",
    "list --json",
    "info vit",
    "info vit_small --json",
    "info focal",
    "info digits",
    "info vit_digits",
    "info focal+warmup(epochs=2)",
    "info vit_digits-warmup --json",
    "recipes",
    "tricks --stage loss",
    "datasets",
    "weights",
    "train --help",
    "leaderboard",
    "leaderboard --markdown",
]

WRONG = {
    "lst": "no command named 'lst'. Did you mean 'list'? See zoo --help.",
    "trian vit digits": "Did you mean 'train'?",
    "registry verfy": "no command of `zoo registry` named 'verfy'. Did you mean 'verify'? See zoo registry --help.",
    "cache lst": "no command of `zoo cache` named 'lst'. Did you mean 'ls'? See zoo cache --help.",
    "list vitt": "no model named 'vitt'. Did you mean 'vit_tiny'?",
    "list --task image_clasification": "no task named 'image_clasification'. Did you mean 'image_classification'?",
    "tricks focl": "no trick named 'focl'. Did you mean 'focal'?",
    "tricks --stage los": "no stage named 'los'. Did you mean 'loss'?",
    "recipes vit_digit": "Did you mean 'vit_digits'?",
    "datasets mnits": "no data set named 'mnits'. Did you mean 'mnist'?",
    "info resnett50": "Did you mean 'resnet50'?",
    "info digtis": "Did you mean 'digits'?",
    "info focl+warmup": "no trick or recipe named 'focl'. Did you mean 'focal'? See zoo tricks.",
    "info focal(gama=2)": "no argument of trick 'focal' named 'gama'. Did you mean 'gamma'?",
    "info focal --model vitt": "no model named 'vitt'. Did you mean 'vit'?",
    "info focal --set depth=2": "--set gives arguments of a model",
    "train vitt digits": "no model named 'vitt'. Did you mean 'vit'? See zoo list 'vit*'.",
    "train vit digtis": "no data set named 'digtis'. Did you mean 'digits'? See zoo datasets.",
    "train vit digits --recipe focl": "no trick or recipe named 'focl'. Did you mean 'focal'? See zoo tricks.",
    "train vit digits --recipe focal(gama=2)": "Did you mean 'gamma'?",
    "train vit digits --recipe focal+": "cannot read the recipe",
    "train vit digits --set num_clases=3": "no argument of model 'vit_tiny' named 'num_clases'. Did you mean",
    "train vit digits --set depth": "--set takes name=value. Received: 'depth'.",
    "train vit digits --data-option shuffle=1": "no argument of data set 'digits' named 'shuffle'",
    "train vit digits --epohcs 3": "no option of `zoo train` named '--epohcs'. Did you mean '--epochs'?",
    "train vit digits --epochs 0": "--epochs",
    "train vit digits --keep bst": "'bst' is not one of 'best', 'last'. See zoo train --help.",
    "train vit digits --weights no/such": "no repository named 'no/such'",
    "train": "`zoo train` needs a model and data.",
    "train vit": "`zoo train` needs data.",
    "train --recipe focal": "`zoo train` needs a model and data.",
    "train --recipe vit_digits+softmax_mnist": "the recipes disagree on `model`",
    "evaluate no/such digits": "no repository named 'no/such'",
    "evaluate no/such digits --split tets": "'tets' is not one of",
    "predict no/such a.png": "no repository named 'no/such'",
    "finetune no/such digits": "no repository named 'no/such'",
    "push nowhere me/model": "only a model or the folder of a run can be pushed",
    "pull no/such": "no repository named 'no/such'",
    "pull https://example.org/x": "zoo reads and writes hf:// references and folders, no other addresses",
}


def zoo_process(arguments, **environment):
    words = shlex.split(arguments) if isinstance(arguments, str) else arguments
    environment = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-c", RUN, *words], capture_output=True, text=True, env=environment, timeout=120, check=False
    )


@pytest.mark.parametrize("arguments", LOOKING)
def test_looking_imports_no_keras(arguments):
    done = zoo_process(arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()


@pytest.mark.parametrize("arguments", WRONG)
def test_a_mistake_is_one_line_with_a_way_out(arguments, tmp_path):
    done = zoo_process([*arguments.split(" ")], ZOO_HUB=str(tmp_path / "hub"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1, done.stderr  # so neither a traceback nor "heavy imports"
    assert WRONG[arguments] in done.stderr


def test_import_zoo_is_light():
    code = "import sys, zoo; sys.exit(' '.join({'keras', 'numpy', 'typer', 'rich'} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("words", "status"), [(["--version"], 0), (["lst"], 2)])
def test_python_runs_the_package_as_the_command(words, status):
    done = subprocess.run([sys.executable, "-m", "zoo", *words], capture_output=True, text=True, check=False)
    ours = zoo_process(words)
    assert (done.returncode, done.stdout, done.stderr) == (status, ours.stdout, ours.stderr)


def test_a_pipe_gets_text_without_rich():
    code = RUN.replace('"h5py"', '"h5py", "rich"')
    for words in (["list"], ["info", "vit"], ["lst"]):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
        assert "heavy" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [("--debug list vitt", {}), ("list vitt --debug", {}), ("list vitt", {"ZOO_DEBUG": "1"})],
)
def test_debug_shows_the_traceback(arguments, variables):
    done = zoo_process(arguments, **variables)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "UnknownName: no model named 'vitt'" in done.stderr


# What is printed


def printed(capsys, *arguments):
    assert main([*arguments]) == 0
    return capsys.readouterr().out


def as_json(capsys, *arguments):
    return json.loads(printed(capsys, *arguments, "--json"))


def test_json_has_every_row(capsys):
    assert [row["name"] for row in as_json(capsys, "list")] == [row.name for row in zoo.list_models()]
    assert [row["name"] for row in as_json(capsys, "tricks")] == [row.name for row in zoo.list_tricks()]
    assert [row["name"] for row in as_json(capsys, "recipes")] == [row.name for row in list_recipes()]
    assert [row["name"] for row in as_json(capsys, "datasets")] == [row.name for row in dataset_rows()]
    assert [row["name"] for row in as_json(capsys, "weights")] == [row.name for row in zoo.list_weights()]


def test_json_of_a_model_is_its_row(capsys):
    row, shown = zoo.info("resnet50"), as_json(capsys, "info", "resnet50")
    assert shown["parameters"] == row.parameters
    assert shown["flops"] == row.flops
    assert shown["paper"]["year"] == 2015
    assert shown["arguments"] == row.arguments
    assert "resnet20" in shown["variants"]
    assert "vit_digits" in as_json(capsys, "info", "vit")["recipes"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("vit", "model"), ("focal", "trick"), ("vit_digits", "recipe"), ("imdb", "data set"), ("ema+focal", "expression")],
)
def test_json_says_what_it_is(name, kind, capsys):
    assert as_json(capsys, "info", name)["kind"] == kind


def test_json_of_an_expression_has_what_was_given(capsys):
    terms = as_json(capsys, "info", "vit_digits-warmup+focal(gamma=3)")["terms"]
    assert [(t["sign"], t["name"], t["given"]) for t in terms] == [
        (1, "vit_digits", {}),
        (-1, "warmup", {}),
        (1, "focal", {"gamma": 3}),
    ]


def test_a_family_lists_its_variants(capsys):
    assert [row["name"] for row in as_json(capsys, "list", "vit")] == ["vit_tiny", "vit_small", "vit_base", "vit_large"]


def test_info_shows_the_card_of_a_trick(capsys):
    shown = printed(capsys, "info", "warmup")
    for text in ("trick of the schedule stage", "Goyal et al., 2017", "use when", "composes with", "epochs  5.0"):
        assert text in shown


def test_rows_are_lines_whatever_the_width(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    lines = printed(capsys, "tricks").splitlines()
    assert [line.split()[0] for line in lines[1:]] == [row.name for row in zoo.list_tricks()]
    assert not any("\x1b" in line or line.endswith(" ") for line in lines)


def test_counts_have_three_digits():
    counts = [None, 0, 7_850, 15_680, 271_098, 999_999, 5_717_416, 25_610_152, 8_178_368_512, 1.26e12]
    shown = ["-", "0", "7,850", "15.7k", "271k", "1M", "5.72M", "25.6M", "8.18G", "1.26T"]
    assert [screen.count(n) for n in counts] == shown


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("columns", [80, 140])
@pytest.mark.parametrize("arguments", ["list", "tricks", "recipes", "datasets", "info vit", "info focal+ema", "--help"])
def test_a_terminal_of_any_width_is_kept_to(arguments, columns):
    shown = in_terminal(arguments, columns, NO_COLOR="1")
    assert not re.search(r"\x1b\[(3|4|9|10)\d", shown)  # NO_COLOR: no colour, though bold is allowed
    plain = re.sub(r"\x1b\[[\d;]*m", "", shown)
    assert max(map(len, plain.splitlines())) <= columns
    if arguments == "list":
        assert all(row.name in plain for row in zoo.list_models())
        assert "\x1b[36m" in in_terminal(arguments, columns)


def in_terminal(arguments, columns, **environment):
    import fcntl
    import pty
    import struct
    import termios

    main_end, child_end = pty.openpty()
    fcntl.ioctl(child_end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, *arguments.split()],
        stdout=child_end,
        stderr=child_end,
        stdin=subprocess.DEVNULL,
        env={**kept, "TERM": "xterm-256color", **environment},
    )
    os.close(child_end)
    chunks = []
    try:
        while chunk := os.read(main_end, 65536):
            chunks.append(chunk)
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(main_end)
    assert process.wait(60) == 0
    return b"".join(chunks).decode().replace("\r\n", "\n")


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_a_closed_pipe_is_silent():
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(RUN)} list --json | head -n 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[\n", "")


# Values


def test_values_are_literals_or_text():
    words = ["a=8", "b=0.1", "c=True", "d=None", "e=(8, 8, 1)", "f=8,8", "g=token", "h='x'", "i=", "j=a=b", "k=1e-3"]
    assert names.settings("--set", words) == {
        "a": 8,
        "b": 0.1,
        "c": True,
        "d": None,
        "e": (8, 8, 1),
        "f": (8, 8),
        "g": "token",
        "h": "x",
        "i": "",
        "j": "a=b",
        "k": 1e-3,
    }


def test_values_are_never_evaluated(tmp_path):
    code = f"open({str(tmp_path / 'made')!r}, 'w')"
    assert names.settings("--set", [f"a={code}"]) == {"a": code}
    assert not (tmp_path / "made").exists()
    deep = "(" * 5000
    assert names.settings("--set", [f"a={deep}"]) == {"a": deep}


def test_settings_are_refused_when_malformed():
    with pytest.raises(InvalidArgument, match="--set takes name=value"):
        names.settings("--set", ["depth"])
    with pytest.raises(InvalidArgument, match="--set takes name=value"):
        names.settings("--set", ["=3"])
    with pytest.raises(Conflict, match="--set a is given twice"):
        names.settings("--set", ["a=1", "a=1"])


# A plan without training


def test_dry_run_takes_everything_from_the_recipe(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = printed(capsys, "train", "--recipe", "vit_digits", "--dry-run", "--epochs", "3", "--set", "depth=1")
    assert "model: vit_tiny, " in shown
    assert "embed_dim=64, depth=1, num_heads=4, patch_size=2, image_shape=[8, 8, 1], num_classes=10" in shown
    assert "data: digits, 1,258 train, 180 validation, 359 test examples, 10 classes" in shown
    assert "training: 3 epochs of 40 steps, batches of 32, seed 0, float32" in shown
    assert "recipe: focal+warmup" in shown
    assert not list(tmp_path.iterdir())


def test_dry_run_takes_no_arguments_from_the_recipe_of_another_model(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = printed(capsys, "train", "softmax", "--recipe", "vit_digits-focal-warmup", "--dry-run")
    assert "model: softmax, 650 weights (650 trainable), input image 8x8x1" in shown
    assert "data: digits" in shown


def test_dry_run_checks_what_training_checks(capsys):
    assert main(["train", "softmax", "digits", "--set", "num_classes=3", "--dry-run"]) == 2
    assert "softmax has 3 outputs and digits has 10 classes" in capsys.readouterr().err
    assert main(["train", "softmax", "digits", "--recipe", "fgm", "--dry-run"]) == 2
    assert capsys.readouterr().err.startswith("Error: fgm")


def test_info_says_what_a_recipe_does_to_a_model(capsys):
    small = ["--set", "image_shape=(8, 8, 1)", "--set", "num_classes=10"]
    shown = printed(capsys, "info", "label_smoothing+warmup", "--model", "softmax", *small)
    lines = shown.splitlines()
    assert lines[0].startswith("softmax: 10-way softmax cross-entropy")
    assert [line.partition(":")[0] for line in lines[1:]] == ["label_smoothing", "warmup"]


def test_a_training_prints_no_start_up_notices(tmp_path):
    out = str(tmp_path / "run")
    done = zoo_process(["train", "softmax", "digits", "--epochs", "1", "--recipe", "flip_crop(pad=1)", "--out", out])
    noise = [line for line in done.stderr.splitlines() if not line.startswith("heavy imports:")]
    assert (done.returncode, noise) == (0, [])
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["softmax", "epoch", "test"]
