"""Ablations: statistics against SciPy and by simulation, arms, paired and resumable runs, reports, commands."""

import contextlib
import json
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy import stats

import zoo
from zoo import ablation_work, registry
from zoo.ablation_results import Ablation
from zoo.ablation_work import Pair
from zoo.arms import arms_of
from zoo.cli import main
from zoo.data.base import Dataset, Split
from zoo.errors import IntegrityError, InvalidArgument, UnknownName, ZooError, invalid
from zoo.paired import binomial_error, holm, paired, verdict
from zoo.recipes import find_recipe
from zoo.runs import Run
from zoo.weights import load_state
from zoo.workers import Workers

USELESS, HARMFUL = "ema(momentum=1e-06)", "sgd(learning_rate=1e-07)"
RECIPE = f"{USELESS}+{HARMFUL}"
QUICK = {"epochs": 2, "batch_size": 16}
ZOO = [sys.executable, "-c", "import sys; from zoo.cli import main; sys.exit(main(sys.argv[1:]))"]


def quick(out, recipe=RECIPE, data="digits", **options):
    return zoo.ablate("softmax", recipe, data, out=out, quiet=True, **{"seeds": 1, "jobs": 1, **QUICK, **options})


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Path of a file of 120 + 40 + 40 of the digits, which train in no time."""
    digits = zoo.data.load("digits")
    parts = {}
    for name, n in (("train", 120), ("validation", 40), ("test", 40)):
        x, y = digits.splits[name].batch(np.arange(n))
        parts |= {f"x_{name}": x, f"y_{name}": y}
    path = tmp_path_factory.mktemp("data") / "small.npz"
    np.savez(path, **parts)
    return path


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """A finished ablation over three seeds that no test may change."""
    return quick(tmp_path_factory.mktemp("ablations") / "whole", seeds=3)


@pytest.fixture
def needy(monkeypatch):
    """Registers a trick that works with warmup only."""

    @dataclass(frozen=True)
    class Needy:
        """A trick that needs warmup."""

        name, stage = "needy", "callbacks"

        def apply(self, plan):
            if not plan.wrappers:
                raise invalid("needy needs warmup", works="Add it.")
            return plan

        def explain(self, plan):
            return "does nothing"

    monkeypatch.setitem(registry._tricks, "needy", Needy)


# Statistics


@pytest.mark.parametrize("n", [2, 3, 10])
def test_paired_differences_are_scipys(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(0.9, 0.02, n), rng.normal(0.88, 0.02, n)
    expected, mine = stats.ttest_rel(a, b), paired(a, b)
    interval = expected.confidence_interval(0.95)
    np.testing.assert_allclose(mine.each, a - b, rtol=1e-12)
    np.testing.assert_allclose(
        (mine.mean, mine.std, mine.p, mine.low, mine.high),
        (np.mean(a - b), np.std(a - b, ddof=1), expected.pvalue, interval.low, interval.high),
        rtol=1e-9,
    )


def test_an_interval_by_hand():
    found = paired([3, 5, 7], [2, 3, 4])  # differences 1, 2, 3; Student's t of 2 degrees of freedom is 4.30265
    assert found.mean == 2
    assert found.std == pytest.approx(1)
    assert (found.low, found.high) == pytest.approx((2 - 4.30265 / math.sqrt(3), 2 + 4.30265 / math.sqrt(3)), rel=1e-5)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_intervals_hold_the_truth_as_often_as_they_say(seeds):
    rng, times, truth = np.random.default_rng(0), 4000, 0.4
    shared = rng.normal(0, 2, (times, seeds))  # what a seed does to both arms alike
    a, b = shared + truth + rng.normal(0, 1, shared.shape), shared + rng.normal(0, 1, shared.shape)
    made = [paired(*pair) for pair in zip(a, b, strict=True)]
    held = np.mean([d.low <= truth <= d.high for d in made])
    assert abs(held - 0.95) < 3.5 * math.sqrt(0.95 * 0.05 / times)


def test_useless_tricks_pass_by_luck_no_more_often_than_promised():
    rng, times = np.random.default_rng(1), 1500
    wrong = single = 0
    for _ in range(times):
        full, without = rng.normal(0, 1, 3), rng.normal(0, 1, (4, 3))  # all four are compared with the same arm
        made = [paired(full, other) for other in without]
        said = [verdict(d, p) for d, p in zip(made, holm([d.p for d in made]), strict=True)]
        wrong += any(word in ("helps", "hurts") for word in said)
        single += any(word != "within noise" for word in said)
    assert wrong / times < 0.05 + 3 * math.sqrt(0.05 * 0.95 / times)
    assert single / times > 0.08  # what reading four uncorrected intervals would have come to


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.02, math.nan]) == pytest.approx([0.9, 0.04, math.nan], nan_ok=True)
    assert holm([0.7, 0.8]) == [1.0, 1.0]


def test_verdicts():
    clear, near = paired([2.0, 2.1, 1.9], [1, 1, 1]), paired([2.0, 1.7, 1.5], [1, 1, 1])
    assert near.p < 0.05 < 2 * near.p
    assert verdict(clear, 2 * clear.p) == "helps"
    assert verdict(clear, 2 * clear.p, higher_is_better=False) == "hurts"
    assert verdict(near, near.p) == "helps"
    assert verdict(near, 2 * near.p) == "unclear"
    assert verdict(paired([1, 2, 3], [3, 2, 1]), 0.9) == "within noise"
    assert verdict(paired([1], [0]), math.nan) == "too few seeds"
    assert verdict(paired([1, 1], [1, 1]), 1.0) == "within noise"


def test_rounded_figures_that_agree_are_no_proof():
    one = 1 / 360
    assert verdict(paired([0.5 + one] * 3, [0.5] * 3), 0.0) == "helps"  # of a figure that is exact
    rounded = paired([0.5 + one] * 3, [0.5] * 3, resolution=one)
    assert verdict(rounded, rounded.p) == "within noise"
    rng = np.random.default_rng(0)  # and what the rounding of two figures does to a difference is what is assumed
    a, b = rng.uniform(0, 1, (2, 100_000))
    assert np.std(np.round(a, 1) - np.round(b, 1) - (a - b)) == pytest.approx(0.1 / math.sqrt(6), rel=0.01)


def test_the_noise_of_a_test_set():
    right = np.random.default_rng(0).binomial(359, 0.96, 20_000) / 359
    assert binomial_error(0.96, 359) == pytest.approx(right.std(), rel=0.02)


def test_pairs_that_are_none():
    with pytest.raises(InvalidArgument, match="as many with the change as without"):
        paired([1, 2], [1])


# Arms


def pairs(expression, mode="both"):
    arms, comparisons = arms_of(zoo.recipe(expression), mode)
    return {a.name: str(a.recipe) for a in arms}, [(c.trick, c.kind, c.arm, c.without) for c in comparisons]


def test_the_arms_of_three_tricks():
    arms, comparisons = pairs("focal+warmup+radam")
    assert arms == {
        "full": "focal+radam+warmup",
        "plain": "plain",
        "without-focal": "radam+warmup",
        "without-radam": "focal+warmup",
        "without-warmup": "focal+radam",
        "only-focal": "focal",
        "only-radam": "radam",
        "only-warmup": "warmup",
    }
    assert ("radam", "left out", "full", "without-radam") in comparisons
    assert ("radam", "added", "only-radam", "plain") in comparisons
    assert comparisons[-1] == ("all of them", "whole recipe", "full", "plain")
    assert len(comparisons) == 7


def test_arms_that_are_the_same_are_there_once():
    arms, comparisons = pairs("focal+warmup")
    assert list(arms) == ["full", "plain", "only-warmup", "only-focal"]
    assert ("focal", "left out", "full", "only-warmup") in comparisons
    assert pairs("focal") == ({"full": "focal", "plain": "plain"}, [("focal", "left out", "full", "plain")])


def test_modes():
    assert {name.partition("-")[0] for name in pairs("focal+warmup+ema", "leave_one_out")[0]} == {
        "full",
        "plain",
        "without",
    }
    assert {name.partition("-")[0] for name in pairs("focal+warmup+ema", "add_one_in")[0]} == {"full", "plain", "only"}


# What an ablation finds


def test_a_harmful_trick_hurts_and_a_useless_one_is_within_noise(found):
    said = {(e.comparison.trick, e.comparison.kind): e.verdict for e in found.effects}
    assert said[("sgd", "left out")] == said[("sgd", "added")] == said[("all of them", "whole recipe")] == "hurts"
    assert said[("ema", "left out")] == said[("ema", "added")] == "within noise"
    assert found.metric == "accuracy"
    assert found.higher_is_better
    assert found.examples == 359
    assert found["plain"].mean > 0.5 > found["full"].mean
    assert found.best.name in ("plain", "only-ema")
    assert found.test_error == pytest.approx(binomial_error(np.median([r.mean for r in found.rows]), 359), rel=0.3)


def test_rows_are_what_the_runs_measured(found):
    for row in found.rows:
        runs = [Run(found.folder / row.name / f"seed{seed}") for seed in (0, 1, 2)]
        accuracy = [run.metrics["test"]["accuracy"] for run in runs]
        assert list(row.values.values()) == accuracy
        assert (row.mean, row.std) == pytest.approx((np.mean(accuracy), np.std(accuracy, ddof=1)))
        assert (row.low, row.high) == (min(accuracy), max(accuracy))
        seconds = [epoch["seconds"] for run in runs for epoch in run.history[1:]]
        assert row.seconds == pytest.approx(np.median(seconds))
        assert zoo.recipe(row.recipe).exact == runs[0].record["recipe_exact"]
    assert found["plain"].ratio == 1.0
    effect = next(e for e in found.effects if (e.comparison.trick, e.comparison.kind) == ("ema", "added"))
    expected = [found["only-ema"].values[s] - found["plain"].values[s] for s in (0, 1, 2)]
    assert effect.difference.each == pytest.approx(expected)
    assert effect.ratio == pytest.approx(found["only-ema"].seconds / found["plain"].seconds)


def test_equal_seeds_start_from_equal_weights(found):
    def initial(arm, seed):
        _, metadata = load_state(found.folder / arm / f"seed{seed}" / "last.safetensors")
        return json.loads(metadata["state"])["identity"]["initial_weights"]

    assert len({initial(row.name, 0) for row in found.rows}) == 1
    assert initial("plain", 0) != initial("plain", 1)


def test_a_run_of_an_arm_is_an_ordinary_run(found, tmp_path):
    run = zoo.train("softmax", "digits", recipe=USELESS, seed=1, out=tmp_path / "run", quiet=True, **QUICK)
    mine = found.folder / "only-ema" / "seed1"
    assert (mine / "best.safetensors").read_bytes() == (run.folder / "best.safetensors").read_bytes()
    assert Run(mine).record["command"] == run.record["command"]


# Reports


def test_reports(found):
    text = found.table()
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"sgd +-\d+\.\d\d +-\d+\.\d\d to -\d+\.\d\d +hurts", text)
    assert "within noise" in text
    assert "359 test examples" in text
    page = (found.folder / "ablation.md").read_text()
    assert page == found.to_markdown()
    assert found.record["data"]["fingerprint"] in page
    assert found.record["versions"]["keras"] in page
    assert f"    {found.record['command']}\n" in page
    assert (found.folder / "ablation.png").read_bytes().startswith(b"\x89PNG")


def test_times_of_a_busy_machine_are_not_trusted(found):
    runs = {arm["name"]: {"0": {**found.record["runs"]["plain"]["0"]}} for arm in found.record["arms"]}
    for seconds, said in (([9.0] + [1.0] * 20, False), ([9.0] + [1.0, 1.0, 4.0] * 7, True)):
        made = Ablation(
            found.folder, {**found.record, "runs": {a: {"0": {**r["0"], "seconds": seconds}} for a, r in runs.items()}}
        )
        assert ("took up to 4.0 times as long" in " ".join(made.table().split())) == said


def test_the_record_reads_back(found):
    again = Ablation(found.folder)
    assert again.table() == found.table()
    assert again.rows == found.rows
    record = json.loads((found.folder / "ablation.json").read_text())
    assert record["status"] == "finished"
    assert [row["name"] for row in record["rows"]] == [row.name for row in found.rows]
    assert {effect["verdict"] for effect in record["effects"]} == {"hurts", "within noise"}


def test_an_arm_that_is_not_there(found):
    with pytest.raises(UnknownName, match=r"no arm named 'only-emma'\. Did you mean 'only-ema'"):
        found["only-emma"]


def test_one_seed_is_too_few(small, tmp_path):
    made = quick(tmp_path / "one", "warmup(epochs=3)", small)
    assert made["full"].cautions
    assert not made["plain"].cautions
    assert f"Caution (full): {made['full'].cautions[0]}" in " ".join(made.to_markdown().split())
    assert [e.verdict for e in made.effects] == ["too few seeds"]
    assert "One seed cannot tell a difference from noise" in made.table()
    assert (made.folder / "ablation.png").is_file()


class Numbers(Split):
    """Three features and one number to be estimated."""

    def __init__(self, n):
        self.x = np.random.default_rng(n).normal(size=(n, 3)).astype("float32")
        super().__init__(self.x.sum(axis=1, keepdims=True))

    def inputs(self, indices):
        return self.x[indices]

    def subset(self, indices):
        raise NotImplementedError

    def digest(self, update):
        update(self.x.tobytes())

    def read_as(self, declared):
        return self


def test_less_is_better_where_the_figure_is_an_error(tmp_path):
    @zoo.register("line", task="price_estimation", variants={"line": {}}, heads={"price": {"kind": "regression"}})
    def line():
        features = keras.Input((3,), name="features")
        return keras.Model(features, keras.layers.Dense(1, name="price")(features), name="line")

    labels = {"price": {"mean": 0.0, "std": 2.0, "unit": "yuan"}}
    parts = map(Numbers, (64, 32, 33))
    data = Dataset("prices", "price_estimation", labels, {"kind": "table"}, *parts, source="drawn", arguments_given={})
    with pytest.raises(InvalidArgument, match="other processes cannot be given model 'line' and data in memory"):
        zoo.ablate("line", HARMFUL, data, jobs=2)
    made = zoo.ablate("line", HARMFUL, data, out=tmp_path / "run", seeds=2, epochs=30, batch_size=8, quiet=True)
    assert made.metric == "mae"
    assert not made.higher_is_better
    assert made.test_error is None
    assert made.best.name == "plain"
    assert made["plain"].values[0] < made["full"].values[0]
    assert made.effects[0].difference.mean == pytest.approx(made["full"].mean - made["plain"].mean)
    assert made.effects[0].difference.mean > 0
    assert "less is better" in made.table()
    assert "hurts" in made.table() or "within noise" in made.table()
    assert made.record["command"] is None  # for data that has no name


# Arms that fail


def test_an_arm_that_cannot_work_is_said_and_the_rest_runs(needy, small, tmp_path):
    made = quick(tmp_path / "needy", "needy+warmup(epochs=1)", small)
    assert made["only-needy"].impossible == "needy needs warmup. Add it."
    assert made["only-warmup"].impossible is None
    assert made["full"].values
    assert made["plain"].values
    said = {(e.comparison.trick, e.comparison.kind): e.verdict for e in made.effects}
    assert said == {
        ("needy", "left out"): "too few seeds",
        ("warmup", "left out"): "not possible",
        ("needy", "added"): "not possible",
        ("warmup", "added"): "too few seeds",
        ("all of them", "whole recipe"): "too few seeds",
    }
    assert "only-needy is not possible: needy needs warmup. Add it." in " ".join(made.table().split())
    assert not (made.folder / "only-needy").exists()


def test_a_recipe_that_cannot_work_at_all_is_an_error(needy, small, tmp_path):
    with pytest.raises(InvalidArgument, match="needy needs warmup"):
        quick(tmp_path / "none", "needy+focal", small)
    assert not (tmp_path / "none").exists()


def test_a_run_that_diverges_is_a_result(small, tmp_path):
    made = quick(tmp_path / "far", "sgd(learning_rate=1e37)+ema(momentum=0.5)", small, seeds=2)
    assert made["only-sgd"].diverged == (0, 1)
    assert not made["only-sgd"].values
    said = {(e.comparison.trick, e.comparison.kind): e.verdict for e in made.effects}
    assert said[("sgd", "added")] == "diverges with it"
    assert said[("ema", "left out")] == "diverges"
    assert said[("ema", "added")] in ("within noise", "helps", "hurts")
    assert "2 of 2 diverged" in made.table()
    before = stamps(made.folder)
    again = quick(made.folder, "sgd(learning_rate=1e37)+ema(momentum=0.5)", small, seeds=2, resume=True)
    assert stamps(made.folder) == before  # it diverged once and is not asked again
    assert again.table() == made.table()


# Going on


def stamps(folder):
    return {p: p.stat().st_mtime_ns for p in sorted(Path(folder).rglob("*.safetensors"))}


def test_going_on_repeats_nothing_and_takes_more_seeds(small, tmp_path):
    out = tmp_path / "more"
    first = quick(out, "warmup(epochs=1)", small)
    before = stamps(out)
    assert len(before) == 4
    born = out / "plain" / "seed1"  # what a run leaves that is killed at its birth is no obstacle
    born.mkdir()
    (born / "config.json").write_text("{}")
    again = quick(out, "warmup(epochs=1)", small, seeds=2, resume=True)
    after = stamps(out)
    assert {p: after[p] for p in before} == before
    assert len(after) == 8
    assert list(again["full"].values) == list(again["plain"].values) == [0, 1]
    assert again["full"].values[0] == first["full"].values[0]


def test_ctrl_c_leaves_all_intact_and_says_how_to_go_on(small, tmp_path, monkeypatch, capsys):
    train, calls = ablation_work.train_one, []

    def interrupted(options):
        calls.append(options)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return train(options)

    monkeypatch.setattr(ablation_work, "train_one", interrupted)
    out = tmp_path / "stopped"
    with pytest.raises(KeyboardInterrupt):
        zoo.ablate("softmax", "warmup(epochs=1)", str(small), seeds=1, jobs=1, out=out, **QUICK)
    said = capsys.readouterr().out
    command = re.search(r"Continue with: (zoo ablate .*)", said).group(1)
    assert "Stopped after 1 of 2 runs" in said
    assert command.endswith("--resume")
    assert json.loads((out / "ablation.json").read_text())["status"] == "interrupted"
    before = stamps(out)
    monkeypatch.setattr(ablation_work, "train_one", train)
    assert main([*shlex.split(command)[1:], "--quiet", "--jobs", "1"]) == 0
    assert before
    assert {p: t for p, t in stamps(out).items() if p in before} == before
    assert Ablation(out).record["status"] == "finished"


def test_a_named_recipe_brings_its_settings(tmp_path, monkeypatch):
    asked = []

    def stop(options):
        asked.append(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(ablation_work, "train_one", stop)
    with pytest.raises(KeyboardInterrupt):
        zoo.ablate(recipe="vit_digits-warmup", seeds=1, epochs=2, jobs=1, out=tmp_path / "named", quiet=True)
    row = find_recipe("vit_digits")
    expected = {**row.settings["arguments"], "model": "vit_tiny", "data": "digits", "epochs": 2, "batch_size": 32}
    assert {k: asked[0][k] for k in expected} == expected
    assert asked[0]["recipe"] == "focal"
    command = json.loads((tmp_path / "named" / "ablation.json").read_text())["command"]
    assert "zoo ablate vit_tiny --recipe focal --data digits" in command
    assert "--set embed_dim=64" in command


def test_another_question_in_the_same_folder_is_refused(found):
    with pytest.raises(InvalidArgument, match="already holds an ablation"):
        quick(found.folder, seeds=3)
    with pytest.raises(InvalidArgument, match="asked something else: epochs: 2 there, 3 here"):
        quick(found.folder, seeds=3, resume=True, epochs=3)
    with pytest.raises(InvalidArgument, match="asked something else: recipe: "):
        quick(found.folder, USELESS, seeds=3, resume=True)


def test_a_damaged_record_is_said(small, tmp_path):
    (tmp_path / "ablation.json").write_text('{"format": 1, "question": ')
    with pytest.raises(IntegrityError, match="is damaged"):
        quick(tmp_path, "warmup", small, resume=True)


# Worker processes


@pytest.mark.slow
def test_killed_parallel_runs_end_as_serial_ones(small, tmp_path):
    serial = quick(tmp_path / "serial", "warmup(epochs=2)+ema", str(small), epochs=30)
    out = tmp_path / "parallel"
    words = ["ablate", "softmax", "--recipe", "warmup(epochs=2)+ema", "--data", str(small), "--seeds", "1"]
    words += ["--epochs", "30", "--batch-size", "16", "--jobs", "2", "--out", str(out), "--quiet"]
    process = subprocess.Popen([*ZOO, *words])
    rows = out / "full" / "seed0" / "metrics.csv"
    wait_for(lambda: rows.is_file() and rows.read_text().count("\n") > 3)
    workers = children(process.pid)
    process.kill()
    process.wait()
    assert len(workers) == 2
    wait_for(lambda: not any(alive(pid) for pid in workers))  # they stop with their parent
    done = [p.parent.name for p in out.glob("*/seed0/run.json") if Run(p.parent).status == "finished"]
    assert len(done) < 4
    assert main([*words, "--resume"]) == 0
    for row in serial.rows:
        mine, other = (f / row.name / "seed0" / "best.safetensors" for f in (serial.folder, out))
        assert mine.read_bytes() == other.read_bytes()
    assert [row.values for row in Ablation(out).rows] == [row.values for row in serial.rows]


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def children(pid):
    """Returns the processes that a process started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_worker_that_dies_is_said():
    def kill(key):
        os.kill(workers._processes[0].pid, signal.SIGKILL)

    message = r"full, seed 0: a worker process ended by itself .* its memory may have run out"
    with Workers(1, 1) as workers, pytest.raises(ZooError, match=message):
        workers.run([(Pair("full", 0), {})], None, started=kill)


# Wrong input, before any work


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "focl"}, "Did you mean 'focal'"),
        ({"recipe": "plain"}, "a plain recipe has nothing to take out"),
        ({"recipe": None}, "a plain recipe has nothing to take out"),
        ({"recipe": "cosine+cyclic"}, "cosine and cyclic both set the decay"),
        ({"model": "sofmax"}, "Did you mean 'softmax'"),
        ({"data": "digtis"}, "Did you mean 'digits'"),
        ({"data": None}, "an ablation needs data"),
        ({"seeds": 0}, "`seeds` must be a positive number of seeds"),
        ({"seeds": [1, 1]}, "a list of different ones"),
        ({"seeds": [-1]}, "each of `seeds` must be a whole number"),
        ({"jobs": 0}, "`jobs` must be a positive whole number"),
        ({"mode": "leave_one_in"}, "Did you mean 'leave_one_out'"),
        ({"epochs": 0}, "`epochs` must be a positive whole number"),
        ({"num_clases": 3}, "Did you mean 'num_classes'"),
        ({"resume": True}, "there is no ablation to resume"),
    ],
)
def test_wrong_input(change, message, tmp_path):
    given = {"model": "softmax", "recipe": "warmup", "data": "digits", "out": tmp_path / "new", "quiet": True, **change}
    with pytest.raises(InvalidArgument, match=message):
        zoo.ablate(**given)
    assert not (tmp_path / "new").exists()


def test_folders_and_objects_that_cannot_be(tmp_path, needy):
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(InvalidArgument, match="exists and holds no ablation"):
        quick(tmp_path)
    with pytest.raises(InvalidArgument, match="builds its model anew"):
        zoo.ablate(zoo.build("softmax"), RECIPE, "digits")
    with pytest.raises(InvalidArgument, match="other processes cannot be given trick 'needy' and data in memory"):
        zoo.ablate("softmax", "needy+warmup", zoo.data.load("digits"), jobs=2)


# Commands


def test_the_command_prints_json(small, tmp_path, capsys):
    words = ["ablate", "softmax", "-r", "warmup(epochs=1)", "-d", str(small), "-s", "1", "-e", "1", "-j", "1"]
    assert main([*words, "--out", str(tmp_path / "new"), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["folder"] == str(tmp_path / "new")
    assert shown["metric"] == "accuracy"
    assert [row["name"] for row in shown["rows"]] == ["full", "plain"]


RUN = """
import sys
from zoo.cli import main
status = main(sys.argv[1:])
late = sorted({"keras", "tensorflow", "jax", "torch"} & set(sys.modules))
print("heavy imports:", *late, file=sys.stderr) if late else None
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["ablate", "softmax"], 2, "an ablation needs a recipe"),
        (["ablate", "softmax", "--recipe", "focl"], 2, "Did you mean 'focal'"),
        (["ablate", "softmax", "--recipe", "focal"], 2, "`zoo ablate` needs a model and data"),
        (["ablate", "sofmax", "--recipe", "focal", "--data", "digits"], 2, "Did you mean 'softmax'"),
        (["ablate", "softmax", "--recipe", "focal", "--data", "digits", "--seeds", "0"], 2, "--seeds"),
        (["recipes", "explain", "focal(gama=2)"], 2, "Did you mean 'gamma'"),
        (["recipes", "explain"], 2, "explains one recipe"),
        (["recipes", "vit*", "focal"], 2, "Write `zoo recipes explain focal`"),
        (["recipes", "explain", "focal", "--set", "depth=2"], 2, "Pass --model too"),
        (["recipes", "explain", "focal+warmup"], 0, "order   loss -> schedule"),
        (["recipes", "vit*"], 0, "vit_digits"),
    ],
)
def test_commands_that_only_look_import_no_keras(words, status, message):
    done = subprocess.run([sys.executable, "-c", RUN, *words], capture_output=True, text=True, timeout=60)
    assert (done.returncode, "heavy imports" in done.stderr) == (status, False), done.stderr
    assert message in done.stdout + done.stderr


def test_explaining_opens_named_recipes_and_says_what_clashes(capsys):
    assert main(["recipes", "explain", "vit_digits-warmup+label_smoothing(amount=0.2)", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert [(t["name"], t["stage"]) for t in shown["tricks"]] == [("label_smoothing", "targets"), ("focal", "loss")]
    assert shown["tricks"][0]["arguments"] == {"amount": 0.2}
    assert "Szegedy" in shown["tricks"][0]["paper"]
    assert main(["recipes", "explain", "mixup+label_smoothing", "--json"]) == 0
    clash = zoo.info("mixup").clashes["label_smoothing"]
    assert json.loads(capsys.readouterr().out)["cautions"] == [f"mixup with label_smoothing: {clash}."]
    assert main(["recipes", "explain", "cosine+cyclic", "--json"]) == 0
    assert any("cosine" in line and "cyclic" in line for line in json.loads(capsys.readouterr().out)["cautions"])


def test_explaining_for_a_model_gives_numbers(capsys):
    assert main(["recipes", "explain", "focal+warmup", "--model", "softmax", "--set", "num_classes=7"]) == 0
    shown = capsys.readouterr().out
    assert "(7 classes)" in shown
    assert "order: loss -> schedule" in shown
