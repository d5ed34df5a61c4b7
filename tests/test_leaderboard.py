"""The leaderboard: its rows, what the command prints, and the page, which nothing that a stranger wrote may run in."""

import base64
import hashlib
import itertools
import json
import math
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import zoo
from zoo.cli import main
from zoo.data import load as load_data
from zoo.errors import InvalidArgument, UnknownName
from zoo.leaderboard_markdown import table
from zoo.leaderboard_page import page
from zoo.leaderboard_svg import log_ticks, ticks
from zoo.recipes import list_recipes
from zoo.registry import find_model
from zoo.spec import spec_of
from zoo.standings import duration, leaderboard

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>\x1b[31m|`'


def recorded():
    return [row for row in list_recipes() if any(k.startswith("test_") for k in row.result)]


def record(**changes):
    """The record of a finished run, as `zoo.train` writes it."""
    made = {
        "format": 1,
        "status": "finished",
        "command": "zoo train softmax mnist --recipe plain --epochs 2 --batch-size 32 --seed 0",
        "model": {"name": "softmax", "task": "image_classification", "arguments": find_model("softmax").arguments},
        "parameters": 7850,
        "recipe": "focal+warmup(epochs=2)",
        "recipe_exact": "focal(alpha=None, gamma=2.0)+warmup(epochs=2)",
        "data": {"name": "mnist", "fingerprint": "sha256:0", "sizes": {}, "source": "", "assets": []},
        **{"epochs": 2, "batch_size": 32, "seed": 0, "keep": "best", "precision": "float32", "jit": None},
        "versions": {"zoo": "0.1.0", "keras": "3.15.1"},
        "hardware": {"processor": "AMD EPYC", "cores": 2, "devices": ["NVIDIA H200"]},
        "seconds": 12.5,
        "metrics": {"test": {"loss": 0.3, "accuracy": 0.91, "examples": 10000}},
        "history": [
            {"epoch": 1, "loss": 0.6, "accuracy": 0.8, "val_loss": 0.5, "val_accuracy": 0.85, "seconds": 6.0},
            {"epoch": 2, "loss": 0.4, "accuracy": 0.9, "val_loss": 0.35, "val_accuracy": 0.9, "seconds": 6.0},
        ],
    }
    return made | changes


def write(folder, **changes):
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(record(**changes)), "utf-8")
    return folder


class Parsed(HTMLParser):
    """A page's tags with their attributes, checked to be closed in order, and the text of style and script."""

    VOID = {"meta", "input", "br", "img", "link", "wbr"}

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.inside = [], [], {"style": "", "script": ""}
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in self.inside:
            self.inside[self.open[-1]] += data

    def each(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


# Rows


def test_every_recorded_recipe_is_a_row():
    rows = zoo.leaderboard()
    assert {row.name for row in rows} == {row.name for row in recorded()}
    softmax = next(row for row in rows if row.name == "softmax_mnist")
    assert (softmax.model, softmax.dataset, softmax.metric) == ("softmax", "mnist", "accuracy")
    assert (softmax.parameters, softmax.flops) == (28 * 28 * 10 + 10, 2 * 28 * 28 * 10)
    assert softmax.command == "zoo train --recipe softmax_mnist --seed 0"


def test_rows_are_grouped_and_the_best_is_first():
    rows = leaderboard()
    order = [row.group for row in rows]
    assert len(set(order)) == sum(1 for a, b in zip([None, *order], order, strict=False) if a != b)
    for one, other in itertools.pairwise(rows):
        if one.group == other.group:
            assert one.value >= other.value if one.higher_is_better else one.value <= other.value
    less = {row.metric for row in rows if not row.higher_is_better}
    assert {"perplexity", "mae", "loss", "age_mae"} <= less
    assert "accuracy" not in less


def on(*data):
    return [row.name for row in recorded() if row.settings.get("data") in data]


@pytest.mark.parametrize("name", on("clothes", "digits", "stereo_shapes"))
def test_recorded_flops_are_those_of_the_network_on_its_data(name):
    _check_counts(name)


@pytest.mark.data
@pytest.mark.usefixtures("warm_cache")
@pytest.mark.parametrize("name", on("adult", "adult_people", "babi", "mnist"))
def test_recorded_flops_are_those_of_the_network_on_real_data(name, zoo_data):
    _check_counts(name)


@pytest.mark.parametrize("name", on("cifar10", "imdb_words"))
def test_recorded_flops_of_default_arguments_are_those_of_the_index(name):
    """Their data take long to read, and are what the defaults are for."""
    row = next(r for r in recorded() if r.name == name)
    model = find_model(row.settings["model"])
    assert "arguments" not in row.settings
    assert row.result["parameters"] == model.parameters
    assert row.result.get("flops", model.flops) == model.flops


def _check_counts(name):
    from zoo.compiled import plain
    from zoo.flops import count_flops
    from zoo.recipes import recipe
    from zoo.settings import settings_of
    from zoo.training import prepared

    row, chosen = next(r for r in list_recipes() if r.name == name), recipe(name)
    settings = settings_of(chosen, None, None, 0, "best", None, None, True)
    said = row.settings
    if "start" in said:
        classes = len(load_data(said["data"]).labels)
        model = zoo.load(said["start"], num_classes=classes)
        assert spec_of(model).name == said["model"]
    else:
        options, arguments = said.get("data_options"), said.get("arguments")
        model, _ = prepared(said["model"], said["data"], chosen, settings, options, arguments)
    assert plain(model).count_params() == row.result["parameters"]
    assert count_flops(plain(model)) == row.result.get("flops", count_flops(plain(model)))


def test_runs_of_a_training_stand_beside_the_recorded_ones(tmp_path):
    folders = [tmp_path / f"seed{seed}" for seed in range(2)]
    for seed, folder in enumerate(folders):
        zoo.train("softmax", "digits", recipe="warmup(epochs=1)", epochs=2, seed=seed, out=folder, quiet=True)
    rows = [row for row in leaderboard(runs=folders, data="digits") if not row.recorded]
    assert len(rows) == 1, "runs that differ in their seed alone are one row"
    row = rows[0]
    measured = [zoo.Run(folder).metrics["test"]["accuracy"] for folder in folders]
    assert row.values == tuple(measured)
    assert row.value == pytest.approx(sum(measured) / 2)
    assert row.deviation == pytest.approx(abs(measured[0] - measured[1]) / math.sqrt(2))
    assert (row.seeds, row.parameters, row.flops) == ((0, 1), 64 * 10 + 10, 2 * 64 * 10)
    assert row.command == zoo.Run(folders[0]).record["command"]
    assert [len(epochs) for _, epochs in row.histories] == [2, 2]
    assert row.dataset == "digits"


def test_another_budget_is_another_row(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", epochs=3, metrics={"test": {"accuracy": 0.95, "examples": 1}})
    rows = [row for row in leaderboard(runs=[tmp_path / "a", tmp_path / "b"]) if not row.recorded]
    assert [row.value for row in rows] == [0.95, 0.91]
    assert rows[0].data == "MNIST", "shown under the name that the recorded results have for it"
    assert [row.flops for row in rows] == [15680, 15680]


def test_what_is_no_finished_run_is_left_out_with_a_warning(tmp_path):
    write(tmp_path / "stopped", status="interrupted")
    (tmp_path / "empty").mkdir()
    broken = write(tmp_path / "broken")
    (broken / "run.json").write_text("{")
    for name, changes in {
        "no-figure": {"metrics": {"test": {"accuracy": "high"}}},
        "no-name": {"model": {"name": 3}},
        "no-time": {"seconds": None},
        "no-data": {"data": []},
        "nan": {"parameters": math.nan},
    }.items():
        write(tmp_path / name, **changes)
    folders = sorted(tmp_path.iterdir())
    with pytest.warns(UserWarning, match="is left out") as said:
        rows = leaderboard(runs=folders)
    assert all(row.recorded for row in rows)
    assert len(said) == len(folders) == 8


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        ({"data": "mnits"}, UnknownName, "Did you mean 'mnist'"),
        ({"task": "image_clasification"}, UnknownName, "Did you mean 'image_classification'"),
        ({"runs": ["nowhere/at/all"]}, InvalidArgument, "there is no such run folder"),
    ],
)
def test_wrong_arguments_are_refused(asked, error, words):
    with pytest.raises(error, match=words):
        leaderboard(**asked)


def test_runs_stand_beside_the_records_of_the_same_data(tmp_path):
    words = {"name": "cbow", "task": "word_embedding", "arguments": find_model("cbow").arguments}
    tuned = {**record()["model"], "parent": {"ref": "zoo://softmax.mnist@1", "sha256": "0"}}
    write(tmp_path / "jpeg", data=record()["data"] | {"name": "cifar10_jpeg", "fingerprint": "sha256:1"})
    write(tmp_path / "original", data=record()["data"] | {"name": "cifar10", "fingerprint": "sha256:2"})
    write(tmp_path / "words", model=words, data=record()["data"] | {"name": "imdb_words"})
    write(tmp_path / "tuned", model=tuned)
    rows = {Path(row.name).name: row for row in leaderboard(runs=tmp_path.iterdir())}
    assert (rows["jpeg"].data, rows["jpeg"].dataset) == ("CIFAR-10 (JPEG copy)", "cifar10")
    assert (rows["original"].data, rows["original"].dataset) == ("cifar10", "cifar10")  # other pixels
    assert rows["words"].group == rows["cbow_imdb"].group
    assert rows["tuned"].group == rows["softmax_mnist"].group
    assert (rows["tuned"].network, rows["softmax_mnist"].network) == ("softmax, pretrained", "softmax")
    assert {"jpeg", "original", "nin_cifar10"} <= {
        Path(row.name).name for row in leaderboard(data="cifar10", runs=tmp_path.iterdir())
    }


def test_data_and_task_choose_rows():
    assert {row.dataset for row in leaderboard(data="adult")} == {"adult"}
    assert {row.data for row in leaderboard(data="mnist")} == {"MNIST", "MNIST, a tenth of it"}
    assert {row.data for row in leaderboard(data="MNIST")} == {"MNIST"}
    assert leaderboard(data="IMDB as running text") == leaderboard(data="imdb_text")
    assert {row.task for row in leaderboard(task="text_classification")} == {"text_classification"}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "-"), (1.94, "1.9 s"), (35, "35 s"), (99.6, "2 min"), (4762, "79 min"), (9000, "2.5 h")],
)
def test_durations(seconds, words):
    assert duration(seconds) == words


def test_marks_of_axes_are_round():
    assert ticks(0.52, 0.79) == [0.6, 0.7]
    assert ticks(0, 100) == [0, 50, 100] or len(ticks(0, 100)) == 5
    assert log_ticks(500, 2e6) == [1000, 10000, 100000, 1000000]
    assert log_ticks(2.5e7, 1e8) == [5e7, 1e8]


# The page


@pytest.fixture
def strange(tmp_path):
    folder = write(
        tmp_path / "<script>alert(0)<",
        recipe=EVIL,
        recipe_exact=EVIL,
        command=EVIL,
        data={"name": EVIL, "fingerprint": EVIL},
        hardware={"processor": EVIL, "cores": EVIL, "devices": [EVIL]},
        versions={EVIL: EVIL},
        metrics={"test": {"accuracy": 0.5, EVIL: 0.5, "examples": 2}},
        history=[{"epoch": 1, EVIL: 1.0, "loss": 2.0, "val_accuracy": 0.5}, EVIL],
        model={"name": EVIL, "task": EVIL, "arguments": {}},
    )
    return folder


def test_the_page_loads_nothing_and_only_its_own_script_runs():
    text = page(leaderboard())
    parsed = Parsed(text)
    for tag, attributes in parsed.tags:
        assert tag not in {"img", "link", "iframe", "object", "embed", "base", "form"}
        assert not {name for name in attributes if name.startswith("on") or name in ("src", "style", "srcset")}
        if "href" in attributes:
            assert tag == "a"
    assert not re.search(r"url\(|@import|https?:", parsed.inside["style"])
    assert not re.search(r"https?:|fetch|XMLHttpRequest|import\(|eval", parsed.inside["script"])
    policy = next(a["content"] for a in parsed.each("meta") if "http-equiv" in a)
    assert policy.startswith("default-src 'none';")
    for name in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(parsed.inside[name].encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
        assert len(parsed.each(name)) == 1


def test_the_page_has_every_row_and_sorts_by_numbers():
    rows = leaderboard()
    text = page(rows)
    parsed = Parsed(text)
    made = [a for a in parsed.each("tr") if "data-group" in a]
    assert len(made) == len(rows)
    for row in rows:
        assert f"<small>{row.name}</small>" in text
        assert f"zoo reproduce {row.name}<" in text
    keys = [a["data-sort"] for _, a in parsed.tags if "data-sort" in a]
    assert len(keys) == 7 * len(rows)
    assert all(math.isfinite(float(key)) for key in keys if key)
    heads = [a for a in parsed.each("th") if a.get("data-key")]
    assert len(heads) == 7
    targets = {a["id"] for _, a in parsed.tags if "id" in a}
    assert {a["href"][1:] for a in parsed.each("a") if a["href"].startswith("#")} <= targets
    assert len(targets) == sum("id" in a for _, a in parsed.tags), "ids are unique"
    assert len(parsed.each("h1")) == len(parsed.each("caption")) == 1


def test_the_page_is_the_same_each_time_and_small():
    made = [page(leaderboard()) for _ in range(2)]
    assert made[0] == made[1]
    assert len(made[0].encode()) < 8_000 * len(leaderboard())


def test_the_page_draws_costs_and_histories(tmp_path):
    runs = [write(tmp_path / "a"), write(tmp_path / "b", epochs=3)]
    text = page(leaderboard(runs=runs), runs, cards="../docs/tricks")
    parsed = Parsed(text)
    plots = [a for a in parsed.each("figure") if "cost" in a.get("class", "")]
    assert {a["class"] for a in plots} == {"cost flops", "cost parameters", "cost seconds"}
    assert 'aria-label="softmax, a: accuracy 91.00%, weights 7,850"' in text
    assert "accuracy of softmax on MNIST; at the end 90.00%" in text
    without = re.search(r"Not recorded: ([^<]*)\.", text)[1].split(", ")
    assert "softmax_mnist" in without
    assert '<a href="../docs/tricks/focal.md">card</a>' in text
    assert 'id="trick-warmup"' in text


def test_nothing_that_a_run_says_is_markup(strange):
    text = page(leaderboard(runs=[strange]), [strange])
    parsed = Parsed(text)
    assert len(parsed.each("script")) == 1
    assert not parsed.each("img")
    assert "alert" not in parsed.inside["script"]
    assert "&lt;script&gt;alert(1)" in text
    assert "\x1b" not in text
    assert all(not name.startswith("on") for _, attributes in parsed.tags for name in attributes)


def test_an_ablation_is_drawn_and_its_texts_are_escaped(tmp_path):
    folder = tmp_path / "ablation"
    found = zoo.ablate("softmax", "warmup(epochs=1)", "digits", epochs=1, seeds=2, out=folder, quiet=True)
    assert page([], [folder]).count('<td class="forest"><svg') == len(found.effects) > 0
    path = folder / "ablation.json"
    kept = json.loads(path.read_text())
    kept["recipe"] = kept["question"]["model"] = EVIL
    for comparison in kept["comparisons"]:
        comparison["trick"] = EVIL
    path.write_text(json.dumps(kept))
    parsed = Parsed(page([], [folder]))
    assert len(parsed.each("script")) == 1
    assert not parsed.each("img")
    del kept["seeds"]
    path.write_text(json.dumps(kept))
    assert "holds an ablation that cannot be read" in page([], [folder])


# The command


def test_the_terminal_table_fits_in_80_columns():
    pty = pytest.importorskip("pty")
    main_end, child_end = pty.openpty()
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "LINES")}
    command = [sys.executable, "-c", "import sys; from zoo.cli import main; sys.exit(main(['leaderboard']))"]
    child = subprocess.Popen(command, stdout=child_end, env=kept | {"COLUMNS": "80", "TERM": "xterm"})
    os.close(child_end)
    shown = b""
    while True:
        try:
            piece = os.read(main_end, 65536)
        except OSError:  # the other end is closed
            break
        if not piece:
            break
        shown += piece
    os.close(main_end)
    assert child.wait() == 0
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in shown.decode().splitlines()]
    assert max(map(len, lines)) <= 80
    for row in leaderboard():
        assert any(line.startswith(row.model) and line.endswith(row.name) for line in lines)


def test_the_command_prints_rows_as_text_json_and_markdown(capsys):
    assert main(["leaderboard", "--data", "mnist", "--task", "image_classification"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["data", "task", "figure"]
    assert any("92.64% ± 0.05" in line and "softmax_mnist" in line for line in lines)
    assert main(["leaderboard", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in found] == [row.name for row in leaderboard()]
    assert next(r for r in found if r["name"] == "softmax_mnist")["value"] == pytest.approx(0.92637, abs=1e-5)
    assert main(["leaderboard", "--markdown"]) == 0
    assert capsys.readouterr().out.rstrip("\n") == table(leaderboard())


def test_markdown_links_tricks_and_escapes_a_run(strange):
    rows = leaderboard(runs=[strange])
    lines = table(rows).splitlines()
    assert len(lines) == 2 + len(rows)
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert "[focal](docs/tricks/focal.md) + [warmup](docs/tricks/warmup.md)" in table(leaderboard(data="digits"))
    assert not re.search(r"<(?!/)", table(rows))
    assert "\x1b" not in table(rows)


def test_the_command_writes_the_page(tmp_path, capsys):
    target = tmp_path / "board.html"
    run = write(tmp_path / "runs" / "a")
    assert main(["leaderboard", str(run), "--html", str(target)]) == 0
    assert target.read_text("utf-8").startswith("<!doctype html>")
    assert "board.html" in capsys.readouterr().out
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["board.html"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--markdown --json", "exclude each other"),
        ("--html board.txt", "must end in .html"),
        ("--html nowhere/board.html", "could not write nowhere/board.html"),
        ("--data mnits", "Did you mean 'mnist'?"),
        ("nowhere", "there is no such run folder"),
    ],
)
def test_wrong_commands_say_what_works(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["leaderboard", *arguments.split()]) != 0
    assert words in capsys.readouterr().err
    assert not list(tmp_path.glob("*.html"))
