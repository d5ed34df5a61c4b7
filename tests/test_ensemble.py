"""Ensembles: the pooling mathematics against references, members of every kind, what is refused, and the command."""

import itertools
import json
import tomllib
import warnings
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss as sklearn_log_loss
from sklearn.metrics import matthews_corrcoef

import zoo
from zoo import data, pooling
from zoo.cli import main
from zoo.errors import DataError, InvalidArgument
from zoo.reproducing import shipped_recipes


def members(seed=0, count=4, n=300, classes=3):
    """Returns probabilities (M, n, C) of members of different skill, and class numbers (n,)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    skill = np.linspace(0.3, 2.0, count)[:, None, None]
    logits = skill * np.eye(classes)[labels] + rng.normal(0, 1, (count, n, classes))
    p = np.exp(logits)
    return p / p.sum(axis=-1, keepdims=True), labels


# Mathematics


def test_figures_are_those_of_scikit_learn_and_of_a_hand_count():
    p, labels = members()
    found = pooling.figures_of(p[2], labels)
    assert found["accuracy"] == np.mean(p[2].argmax(1) == labels)
    np.testing.assert_allclose(found["loss"], sklearn_log_loss(labels, p[2]), rtol=1e-12)
    # three bins by hand: confidences 0.4, 0.6 (right), 0.9 (right), 1.0 (wrong)
    rows = np.array([[0.4, 0.35, 0.25], [0.6, 0.4, 0.0], [0.9, 0.05, 0.05], [1.0, 0.0, 0.0]])
    wanted = (abs(0 + 1 - 0.4 - 0.6) + abs(1 + 0 - 0.9 - 1.0)) / 4
    np.testing.assert_allclose(pooling.calibration_error(rows, np.array([1, 0, 0, 2]), bins=3), wanted)
    assert pooling.log_loss(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(-np.log(pooling.FLOOR))


def test_calibration_error_is_that_of_a_loop_over_bins():
    p, labels = members(n=1000)
    confidence, right, total = p[3].max(1), p[3].argmax(1) == labels, 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    np.testing.assert_allclose(pooling.calibration_error(p[3], labels), total, rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_likeliest_weights_are_the_minimum_that_a_general_optimiser_finds(seed):
    p, labels = members(seed)
    weights = pooling.likeliest_weights(p, labels)
    true = p[:, np.arange(len(labels)), labels]
    wanted = minimize(
        lambda w: -np.log(w @ true).mean(),
        np.full(len(p), 1 / len(p)),
        method="SLSQP",
        bounds=[(0, 1)] * len(p),
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
        options={"ftol": 1e-12, "maxiter": 500},
    )
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    assert pooling.log_loss(pooling.pooled(p, weights), labels) <= wanted.fun + 2e-6
    np.testing.assert_allclose(weights, wanted.x, atol=5e-3)


def test_greedy_weights_are_caruanas_selection_round_by_round():
    p, labels = members(5, count=3)
    chosen, kept = [], (np.inf, None)
    for _ in range(12):
        losses = [pooling.log_loss(np.mean([p[i] for i in (*chosen, k)], axis=0), labels) for k in range(len(p))]
        chosen.append(int(np.argmin(losses)))
        if min(losses) < kept[0]:
            kept = min(losses), np.bincount(chosen, minlength=3) / len(chosen)
    np.testing.assert_allclose(pooling.greedy_weights(p, labels, rounds=12), kept[1])
    single = min(pooling.log_loss(row, labels) for row in p)
    assert pooling.log_loss(pooling.pooled(p, pooling.greedy_weights(p, labels)), labels) <= single


def test_diversity_is_that_of_scikit_learn():
    p, labels = members(1)
    apart, alike = pooling.disagreement(p), pooling.error_correlation(p, labels)
    named = p.argmax(2)
    for i, j in itertools.product(range(len(p)), repeat=2):
        assert apart[i, j] == np.mean(named[i] != named[j])
        np.testing.assert_allclose(alike[i, j], matthews_corrcoef(named[i] != labels, named[j] != labels), atol=1e-12)
    faultless = np.stack([np.eye(3)[labels], p[0]])
    assert np.isnan(pooling.error_correlation(faultless, labels)[0, 1])
    assert np.isnan(pooling.mean_of_pairs(pooling.error_correlation(faultless, labels)))


# Members


LABELS = ("cat", "dog", "owl")


def dataset(labels=LABELS, **options):
    """Returns 3 classes of 4x4 images whose brightest quarter tells the class, as raw pixels of 0 to 255."""
    rng = np.random.default_rng(7)
    y = rng.integers(0, 3, 240)
    x = rng.integers(0, 160, (240, 4, 4, 1))
    for i, k in enumerate(y):
        x[i, k] += 60
    return data.from_arrays(x.astype("uint8"), y, labels=labels, **options)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three run folders: two that differ in their seed, and one of another recipe."""
    folder = tmp_path_factory.mktemp("runs")
    made = {}
    for name, recipe, seed in (
        ("a", "adam(learning_rate=0.05)", 0),
        ("b", "adam(learning_rate=0.05)", 1),
        ("c", "sgd", 0),
    ):
        options = {"recipe": recipe, "seed": seed, "epochs": 3, "out": folder / name, "quiet": True}
        made[name] = zoo.train("softmax", dataset(), **options)
    return made


def own_probabilities(run, part="test"):
    """Returns a run's probabilities on a split, computed without `zoo.members`."""
    logits = np.asarray(keras.ops.convert_to_numpy(run.model()(getattr(dataset(), part).arrays()[0])), "float64")
    p = np.exp(logits - logits.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def test_an_ensemble_is_the_weighted_mean_of_what_its_members_say(runs):
    forest = RandomForestClassifier(10, random_state=0)
    x, y = dataset().train.arrays()
    forest.fit(x.reshape(len(x), -1), y)
    made = zoo.ensemble([runs["a"], str(runs["c"].folder), forest], dataset(), weights=[2, 1, 1])
    test = dataset().test
    rows = test.arrays()[0].reshape(len(test), -1)
    wanted = (
        0.5 * own_probabilities(runs["a"]) + 0.25 * own_probabilities(runs["c"]) + 0.25 * forest.predict_proba(rows)
    )
    report = made.report()
    assert report["ensemble"]["test"]["accuracy"] == np.mean(wanted.argmax(1) == test.labels)
    np.testing.assert_allclose(report["ensemble"]["test"]["loss"], pooling.log_loss(wanted, test.labels), rtol=1e-5)
    assert [row["weight"] for row in report["members"]] == [0.5, 0.25, 0.25]
    for row, name in zip(report["members"][:2], "ac", strict=True):
        measured = runs[name].metrics["test"]
        assert row["name"] == name
        assert row["test"]["accuracy"] == pytest.approx(measured["accuracy"])
        assert row["test"]["loss"] == pytest.approx(measured["loss"], rel=1e-5)
    raw = np.asarray(np.round(test.arrays()[0] * 255), "uint8")
    np.testing.assert_allclose(made.predict_proba(raw), wanted, atol=1e-5)
    found = made.predict(list(raw[:3]))
    assert [p.label for p in found] == [LABELS[i] for i in wanted[:3].argmax(1)]
    assert found[0].probability == pytest.approx(wanted[0].max(), abs=1e-5)


def test_gain_and_diversity_count_what_happened(runs):
    made = zoo.ensemble([runs["a"], runs["c"], "random_forest"], dataset(), weights="validation")
    report, labels = made.report(), dataset().test.labels
    best = max(report["members"], key=lambda row: row["test"]["accuracy"])
    gain = report["gain"]
    assert gain["accuracy_over_best"] == report["ensemble"]["test"]["accuracy"] - best["test"]["accuracy"]
    assert gain["corrected"] - gain["broke"] == round(gain["accuracy_over_best"] * len(labels))
    matrix = np.array(report["diversity"]["disagreement"])
    assert matrix.shape == (3, 3)
    assert (np.diag(matrix) == 0).all()
    ours, theirs = own_probabilities(runs["a"]), own_probabilities(runs["c"])
    assert matrix[0, 1] == np.mean(ours.argmax(1) != theirs.argmax(1))
    loss = report["ensemble"]["validation"]["loss"]
    assert loss <= min(row["validation"]["loss"] for row in report["members"]) + 1e-5
    assert json.loads(json.dumps(report)) == report


def test_members_that_differ_only_in_their_seed_are_named(runs):
    with pytest.warns(UserWarning, match=r"a and b differ only in their seed.*2110\.12899"):
        made = zoo.ensemble([runs["a"], runs["c"], runs["b"]], dataset())
    assert len(made.report()["warnings"]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        zoo.ensemble([runs["a"], runs["c"], "random_forest"], dataset())
    with pytest.warns(UserWarning, match=r"random_forest and random_forest \(2\) differ only"):
        zoo.ensemble(["random_forest", "random_forest"], dataset())


def test_each_network_reads_the_data_with_its_own_preprocessing(runs):
    shifted = {**dataset().preprocessing, "mean": [0.5], "std": [0.25]}
    run = zoo.train("softmax", dataset().read_as(shifted), epochs=3, out=runs["a"].folder.parent / "own", quiet=True)
    made = zoo.ensemble([runs["c"], run], dataset())
    assert made.report()["members"][1]["test"]["accuracy"] == pytest.approx(run.metrics["test"]["accuracy"])
    assert made.report()["members"][1]["test"]["loss"] == pytest.approx(run.metrics["test"]["loss"], rel=1e-5)


def test_one_unit_and_two_units_pool_and_class_names_place_the_columns():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 2, 2, 1)).astype("float32")
    y = (x[:, 0, 0, 0] > 0).astype(int)
    two = data.from_arrays(x, y, labels=("no", "yes"))
    model = zoo.build("softmax", image_shape=(2, 2, 1), num_classes=2)
    inputs, labels = two.train.arrays()
    named = LogisticRegression().fit(inputs.reshape(len(labels), -1), np.array(["no", "yes"])[labels])
    image = keras.Input((2, 2, 1))
    one = keras.Model(image, keras.layers.Dense(1)(keras.layers.Flatten()(image)), name="one")
    made = zoo.ensemble([model, one, named], two)
    rows = two.test.arrays()[0]
    yes = 1 / (1 + np.exp(-np.asarray(keras.ops.convert_to_numpy(one(rows)), "float64")[:, 0]))
    np.testing.assert_allclose(made._probabilities["test"][1], np.stack([1 - yes, yes], axis=1), atol=1e-6)
    wanted = named.predict_proba(rows.reshape(len(rows), -1))
    assert named.classes_.tolist() == ["no", "yes"]
    np.testing.assert_allclose(made._probabilities["test"][2], wanted, atol=1e-12)


def test_texts_pool_a_network_with_a_forest_on_counts_of_words(tmp_path):
    rng = np.random.default_rng(0)
    words = {"good": ["fine", "great", "warm"], "bad": ["poor", "dull", "cold"]}
    rows = ["text\tlabel"]
    for i in range(80):
        label = ("good", "bad")[i % 2]
        rows.append(f"the {rng.choice(words[label])} film was {rng.choice(words[label])}\t{label}")
    (tmp_path / "films.tsv").write_text("\n".join(rows))
    path = str(tmp_path / "films.tsv")
    run = zoo.train("lstm", path, epochs=1, out=tmp_path / "run", quiet=True, embed_dim=4, units=4)
    made = zoo.ensemble([run, "random_forest"], path)
    assert made.report()["members"][1]["test"]["accuracy"] == 1.0
    assert [p.label for p in made.predict(["a great and warm film", "dull, cold"])] == ["good", "bad"]
    with pytest.raises(InvalidArgument, match="gradient_boosting does not read counts of words"):
        zoo.ensemble([run, "gradient_boosting"], path)


# What is refused


def test_what_cannot_be_pooled_is_refused_with_words(runs, tmp_path):
    turned = dataset(("dog", "cat", "owl"))
    other = dataset(("red", "green", "blue"))
    forest = RandomForestClassifier()
    wide = RandomForestClassifier(2).fit(np.zeros((4, 3)), [0, 1, 2, 0])
    fourth = RandomForestClassifier(2).fit(np.zeros((4, 16)), [0, 1, 2, 3])
    small = zoo.build("softmax", image_shape=(4, 4, 1), num_classes=5)
    price = zoo.build("multihead_tabular")
    run = runs["a"]
    for sources, where, wanted in (
        ([run], dataset(), "at least two members"),
        ("random_forest", dataset(), "needs a list of members"),
        (
            [run, "random_forest"],
            turned,
            "a has the classes cat, dog, owl, and .* has the same in another order: dog, cat",
        ),
        ([run, "random_forest"], other, "a has the classes cat, dog, owl, and .* has red, green, blue"),
        ([run, small], dataset(), "softmax has 5 outputs and .* has 3 classes"),
        ([run, price], dataset(), "several outputs"),
        ([run, forest], dataset(), "RandomForestClassifier is not fitted"),
        ([run, wide], dataset(), "was fitted on 3 numbers an example. Received: 16"),
        ([run, fourth], dataset(), "knows a class that .* has not. Received: 3"),
        ([run, "gradient_bosting"], dataset(), "Did you mean 'gradient_boosting'"),
        ([run, 3], dataset(), "cannot have this as a member. Received: 'int'"),
    ):
        with pytest.raises(InvalidArgument, match=wanted):
            zoo.ensemble(sources, where)
    for weights, wanted in (("best", "'uniform', 'validation' or 'greedy'"), ([1], "2 numbers"), ([1, -1], "negative")):
        with pytest.raises(InvalidArgument, match=wanted):
            zoo.ensemble([run, "random_forest"], dataset(), weights=weights)
    with pytest.raises(DataError, match="no classes to vote on"):
        zoo.ensemble(["random_forest", "random_forest"], numbers())


def numbers():
    """Returns a data set whose target is a number."""
    from zoo.data.base import Dataset, TreeSplit

    split = TreeSplit(np.zeros((6, 2), "float32"), np.zeros((6, 1), "float32"))
    return Dataset("rooms", "price_estimation", None, {"kind": "table"}, split, split, split, "made up")


# Folders and the command


def test_a_folder_of_snapshots_gives_a_member_for_each(runs):
    from zoo.snapshots import write_snapshot

    model, folder = runs["a"].model(), runs["a"].folder
    for number in (1, 2):
        model.set_weights([w + 0.1 for w in model.get_weights()])
        write_snapshot(model, folder, number)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # they have one seed
        made = zoo.ensemble([folder / "snapshots"], dataset())
        single = zoo.ensemble([str(folder / "snapshots" / "1"), folder / "snapshots" / "2"], dataset())
    assert [m.name for m in made.members] == [m.name for m in single.members] == ["a/1", "a/2"]
    logits = np.asarray(keras.ops.convert_to_numpy(model(dataset().test.arrays()[0])), "float64")
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(made._probabilities["test"][1], p, atol=1e-5)


def test_the_command_prints_tables_or_json_and_writes_report_and_picture(runs, tmp_path, capsys):
    path = tmp_path / "three.npz"
    rng = np.random.default_rng(7)
    y = rng.integers(0, 3, 240)
    np.savez(path, x_train=rng.integers(0, 255, (240, 4, 4, 1)).astype("uint8"), y_train=y)
    zoo.train("softmax", path, epochs=1, out=tmp_path / "one", quiet=True)
    words = ["ensemble", str(tmp_path / "one"), "random_forest", "--data", str(path), "--weights", "greedy"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "random_forest" in printed
    assert "disagreement" in printed
    assert "gain over" in printed
    assert (tmp_path / "out" / "ensemble.png").read_bytes()[:4] == b"\x89PNG"
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((tmp_path / "out" / "ensemble.json").read_text())
    assert main(["ensemble", "random_forst", "random_forest", "--data", str(path)]) != 0
    assert "Did you mean 'random_forest'?" in capsys.readouterr().err


# The recorded one


def test_the_recorded_ensemble_of_mnist_is_above_its_best_member_and_of_the_weights_that_come_with_zoo():
    """`tests/benchmarks/ensemble_mnist.py` prints the record; `zoo reproduce --check` holds the networks to theirs."""
    effects = Path(zoo.__file__).parent.parent / "docs" / "effects"
    record = tomllib.loads((effects / "ensemble_mnist.toml").read_text("utf-8"))
    accuracy = {row["recipe"]: row["test_accuracy"] for row in record["rows"]}
    shipped = {
        r.result["weights"]: r.result for r in shipped_recipes() if r.result["fingerprint"] == record["fingerprint"]
    }
    members = {name: value for name, value in accuracy.items() if not name.startswith("ensemble")}
    assert {"nin.mnist", "highway_conv_thin.mnist", "softmax.mnist", "random_forest"} == members.keys()
    for name in members.keys() - {"random_forest"}:
        assert members[name] == round(shipped[name]["test_accuracy"][0], 4)
    assert accuracy["ensemble, weights validation"] > max(members.values())
