"""Scores of training examples against hand counts, the choice of a part, the trick in `zoo.train`, and the study."""

import json
import shutil

import keras
import numpy as np
import pytest
from nets import forget, image_net, images, numpy_weights

import zoo
from zoo import data, scoring
from zoo.cli import main
from zoo.errors import DataError, InvalidArgument, UnknownName
from zoo.registry import register
from zoo.runs import Run

# Scores


def test_margins_and_error_lengths_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(0, 3, (40, 4)), rng.integers(0, 4, 40)
    lengths, gaps = [], []
    for z, y in zip(logits, labels, strict=True):
        p = np.exp(z) / np.exp(z).sum()
        lengths.append(np.sqrt(sum((p[c] - (c == y)) ** 2 for c in range(4))))
        gaps.append(z[y] - max(z[c] for c in range(4) if c != y))
    np.testing.assert_allclose(scoring.error_lengths(logits, labels), lengths, rtol=1e-10)
    np.testing.assert_allclose(scoring.margins(logits, labels), gaps, rtol=1e-12)


def test_one_logit_is_scored_as_that_of_the_second_of_two_classes():
    z, labels = np.array([[2.0], [-1.0], [0.5], [800.0]]), np.array([1, 1, 0, 0])
    both = np.concatenate([np.zeros_like(z), z], axis=1)
    for score in (scoring.margins, scoring.error_lengths):
        np.testing.assert_allclose(score(z, labels), score(both, labels))
    np.testing.assert_allclose(scoring.margins(z, labels), [2.0, -1.0, -0.5, -800.0])
    np.testing.assert_allclose(scoring.error_lengths(z, labels)[3], np.sqrt(2))


def test_forgetting_counts_falls_from_right_to_wrong():
    margins = np.array(  # of five epochs: always right, forgotten twice, once, never right, learnt late
        [[1, 1, -1, -1, -1], [1, -1, 1, -2, -1], [2, 1, -1, -1, -1], [1, -1, -1, -1, -1], [3, 2, 1, -1, 1]], float
    )
    lengths = np.tile([0.1, 0.5, 0.6, 1.4, 0.9], (5, 1))
    found = scoring.hardness(margins, lengths, "forgetting")
    np.testing.assert_allclose(found, np.array([0, 2, 1, 5, 0]) + np.array([0.1, 0.5, 0.6, 1.4, 0.9]) / 2)
    assert np.argsort(found).tolist() == [0, 4, 2, 1, 3]
    np.testing.assert_allclose(scoring.hardness(margins, lengths, "margin"), [-3, -2, -1, 1, -1])
    np.testing.assert_allclose(scoring.hardness(margins, lengths * [[1], [2], [1], [1], [0]], "el2n"), lengths[0])


def test_the_choice_keeps_the_hardest_the_easiest_or_those_in_the_middle():
    hard = np.array([0.9, 0.1, 0.5, 0.7, 0.2, 0.6])
    labels = np.array([0, 0, 0, 1, 1, 1])
    assert scoring.chosen(hard, labels, 0.5).tolist() == [0, 3, 5]
    assert scoring.chosen(hard, labels, 0.5, "easiest").tolist() == [1, 2, 4]
    assert scoring.chosen(hard, labels, 0.34, "moderate").tolist() == [2, 5]  # the median is 0.55
    assert scoring.chosen(hard, labels, 1.0).tolist() == list(range(6))
    assert scoring.chosen(hard, labels, 0.001).tolist() == [0]
    assert scoring.chosen(np.zeros(6), labels, 0.5).tolist() == [0, 1, 2]  # equals in order


@pytest.mark.parametrize("fraction", [0.03, 0.1, 0.5, 0.77])
def test_a_balanced_choice_keeps_each_class_in_proportion(fraction):
    rng = np.random.default_rng(0)
    labels = rng.choice(4, 500, p=[0.5, 0.3, 0.15, 0.05])
    hard = rng.random(500) + labels  # the last class is the hardest
    kept = scoring.chosen(hard, labels, fraction, balanced=True)
    assert len(kept) == round(500 * fraction) == len(set(kept.tolist()))
    sizes, wanted = np.bincount(labels[kept], minlength=4), np.bincount(labels) * fraction
    assert (np.abs(sizes - wanted) < 1).all()
    for c in range(4):
        inside = np.flatnonzero(labels == c)
        hardest = inside[np.argsort(-hard[inside], kind="stable")[: sizes[c]]]
        assert sorted(hardest) == sorted(kept[labels[kept] == c])
    assert set(labels[scoring.chosen(hard, labels, 0.03)]) == {3}


# In a training


def dataset(n=150):
    """Returns images of three classes told apart by their mean; a fifth of the labels is wrong."""
    x, y = images(n, seed=3)
    wrong = np.random.default_rng(5).random(n) < 0.2
    x += y[:, None, None, None] * 1.5
    return data.from_arrays(x, np.where(wrong, (y + 1) % 3, y))


@pytest.fixture
def scored_net():
    """The name of a registered small network with batch norm and dropout."""

    @register("scored_net", task="image_classification", variants={"scored_net": {}})
    def build(*, num_classes: int = 3, image_shape: tuple = (6, 6, 2)):
        return image_net(num_classes, image_shape=image_shape)

    yield "scored_net"
    forget(lambda builder: builder.family == "scored_net")


RECIPE = "adam(learning_rate=0.02)+support_vectors(epochs=3, fraction=0.4)"


def test_the_scores_are_those_of_the_model_after_each_epoch(scored_net, tmp_path):
    run = zoo.train(scored_net, dataset(), recipe=RECIPE, epochs=2, out=tmp_path / "run", quiet=True)
    part = Run(tmp_path / "run" / "scoring")
    assert part.record["recipe"] == "adam(learning_rate=0.02)"
    assert len(part.history) == 3
    x, y = dataset().train.arrays()
    kept = [np.load(tmp_path / f"run/scoring/scores/{k:04d}.npy") for k in (1, 2, 3)]
    from zoo.weights import load_weights

    model = zoo.build(scored_net)
    load_weights(model, part.folder / "best.safetensors")  # of the last epoch
    logits = np.asarray(keras.ops.convert_to_numpy(model(x, training=False)), "float64")
    np.testing.assert_allclose(kept[2], [scoring.margins(logits, y), scoring.error_lengths(logits, y)], atol=2e-5)
    mean = np.mean([rows[1] for rows in kept], axis=0, dtype="float64")
    wanted = np.sort(np.argsort(-mean, kind="stable")[: round(0.4 * len(y))])
    assert run.record["data"]["sizes"]["train"] == len(wanted)
    alone = zoo.train(
        scored_net,
        dataset().but(train=dataset().train.subset(wanted)),
        recipe="adam(learning_rate=0.02)",
        epochs=2,
        out=tmp_path / "alone",
        quiet=True,
    )
    for ours, theirs in zip(numpy_weights(run.model()), numpy_weights(alone.model()), strict=True):
        np.testing.assert_array_equal(ours, theirs)  # the scoring left no trace
    assert [r["loss"] for r in run.history] == [r["loss"] for r in alone.history]


@pytest.mark.parametrize("stop", ["scoring", "training"])
def test_a_stopped_run_ends_as_one_that_was_not(stop, scored_net, tmp_path, monkeypatch):
    whole = zoo.train(scored_net, dataset(), recipe=RECIPE, epochs=3, out=tmp_path / "whole", quiet=True)

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    options = {"recipe": RECIPE, "epochs": 3, "out": tmp_path / "part", "quiet": True}
    if stop == "training":
        with pytest.raises(KeyboardInterrupt):
            zoo.train(scored_net, dataset(), callbacks=(Stop,), **options)
    else:
        keep = scoring.ScoreKeeper.on_epoch_end

        def stopped(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt
            keep(self, epoch, logs)

        with monkeypatch.context() as patch:
            patch.setattr(scoring.ScoreKeeper, "on_epoch_end", stopped)
            with pytest.raises(KeyboardInterrupt):
                zoo.train(scored_net, dataset(), **options)
        with pytest.raises(InvalidArgument, match="holds the scoring of a run that was stopped"):
            zoo.train(scored_net, dataset(), **options)
    again = zoo.train(scored_net, dataset(), resume=True, **options)
    for ours, theirs in zip(numpy_weights(whole.model()), numpy_weights(again.model()), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert [r["val_loss"] for r in whole.history] == [r["val_loss"] for r in again.history]


def test_finetuning_scores_from_the_pretrained_weights(scored_net, tmp_path):
    first = zoo.train(scored_net, dataset(), epochs=1, out=tmp_path / "first", quiet=True)
    options = {"epochs": 1, "quiet": True}
    run = zoo.finetune(first, dataset(), recipe="support_vectors(epochs=1)", out=tmp_path / "tuned", **options)
    assert run.record["data"]["sizes"]["train"] == round(len(dataset().train) / 2)
    rows = scoring.chosen(scoring.kept_scores(tmp_path / "tuned/scoring", 1, "el2n"), dataset().train.labels, 0.5)
    some = dataset().but(train=dataset().train.subset(rows))
    alone = zoo.finetune(first, some, recipe="plain", out=tmp_path / "alone", **options)
    for ours, theirs in zip(numpy_weights(run.model()), numpy_weights(alone.model()), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_dry_run_says_what_would_be_scored_and_does_not(scored_net, tmp_path):
    said = zoo.train(scored_net, dataset(), recipe=RECIPE, out=tmp_path / "run", dry_run=True)
    assert "scores every training example by EL2N in 3 epochs" in said
    assert "40% of them, the hardest" in said
    assert not (tmp_path / "run").exists()


def test_a_plain_fit_and_bad_arguments_are_refused():
    x, y = images()
    model = zoo.recipe("support_vectors").compile(image_net())
    with pytest.raises(InvalidArgument, match=r"support_vectors needs zoo\.train"):
        model.fit(x, y, verbose=0)
    for text, wanted in (
        ("support_vectors(fraction=0)", "above 0 and at most 1. Received: 0"),
        ("support_vectors(fraction=1.0)", "`fraction` must be below 1"),
        ("support_vectors(epochs=0)", "takes 1 or more epochs. Received: 0"),
        ("support_vectors(score='forgetting', epochs=1)", "takes 2 or more epochs"),
    ):
        with pytest.raises(InvalidArgument, match=wanted):
            zoo.recipe(text)
    with pytest.raises(UnknownName, match="Did you mean 'margin'"):
        zoo.recipe("support_vectors(score='margins')")
    with pytest.raises(UnknownName, match="Did you mean 'hardest'"):
        zoo.recipe("support_vectors(keep='hardst')")


# The study


def study(tmp_path, model="softmax", **options):
    settings = {"fractions": (0.3, 1.0), "seeds": 2, "epochs": 2, "out": tmp_path / "study", "quiet": True}
    return zoo.support_vectors(model, dataset(), **(settings | options))


def test_the_study_trains_on_chosen_and_random_parts_of_equal_size(tmp_path):
    found = study(tmp_path)
    n = len(dataset().train)
    whole, part = found.report["rows"]
    assert [whole["fraction"], part["fraction"]] == [1.0, 0.3]
    assert [whole["examples"], part["examples"]] == [n, round(0.3 * n)]
    runs = {p.name: Run(p) for p in (tmp_path / "study").iterdir() if p.is_dir()}
    assert sorted(runs) == sorted(
        f"{name}-seed{s}" for name in ("scoring", "whole", "hardest-0.3", "random-0.3") for s in (0, 1)
    )
    kept = found.indices(0.3)
    some = dataset().but(train=dataset().train.subset(kept))
    assert {runs[f"hardest-0.3-seed{s}"].record["data"]["fingerprint"] for s in (0, 1)} == {some.fingerprint}
    fingerprints = {runs[f"random-0.3-seed{s}"].record["data"]["fingerprint"] for s in (0, 1)}
    assert len(fingerprints) == 2
    for key, name in (("accuracy", "hardest-0.3"), ("random_accuracy", "random-0.3")):
        assert part[key] == [runs[f"{name}-seed{s}"].metrics["test"]["accuracy"] for s in (0, 1)]
    np.testing.assert_allclose(part["difference"], part["mean"] - part["random_mean"])
    assert part["low"] <= part["difference"] <= part["high"]
    scores = [scoring.kept_scores(tmp_path / f"study/scoring-seed{s}", 2, "el2n") for s in (0, 1)]
    np.testing.assert_allclose(found.hardness, np.mean(scores, axis=0))
    np.testing.assert_array_equal(np.load(tmp_path / "study/hardness.npy"), found.hardness)
    assert json.loads((tmp_path / "study/support_vectors.json").read_text()) == found.report
    assert (tmp_path / "study/support_vectors.png").read_bytes()[:4] == b"\x89PNG"


def test_the_study_goes_on_where_it_was_stopped(tmp_path):
    first = study(tmp_path)
    gone, kept = tmp_path / "study/random-0.3-seed1", tmp_path / "study/whole-seed0/last.safetensors"
    shutil.rmtree(gone)
    before = kept.stat().st_mtime_ns
    second = study(tmp_path)
    rows = [[{k: v for k, v in r.items() if k != "seconds"} for r in s.report["rows"]] for s in (first, second)]
    assert rows[0] == rows[1]
    assert gone.exists()
    assert kept.stat().st_mtime_ns == before  # was not trained again
    with pytest.raises(InvalidArgument, match=r"is not this one: .*epochs"):
        study(tmp_path, epochs=3)


def test_a_model_given_as_such_starts_every_training_from_its_weights_and_has_them_after(tmp_path):
    model = zoo.build("softmax", image_shape=(6, 6, 2), num_classes=3)
    before = numpy_weights(model)
    study(tmp_path, model, seeds=(4,), fractions=(0.5,), budget="steps", keep="moderate", balanced=True)
    for ours, theirs in zip(before, numpy_weights(model), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    runs = [Run(tmp_path / f"study/{name}-0.5-seed4") for name in ("moderate", "random")]
    assert [len(run.history) for run in runs] == [4, 4]  # as many steps as two epochs of the whole
    sizes = np.bincount(dataset().train.labels) / 2
    for run in runs:
        assert run.record["data"]["sizes"]["train"] == round(sizes.sum())


def test_what_cannot_be_studied_is_refused(tmp_path):
    for options, wanted in (
        ({"fractions": (0.5, 1.5)}, "a fraction must be above 0 and at most 1. Received: 1.5"),
        ({"seeds": 0}, "`seeds` must be a positive number"),
        ({"seeds": (1, 1)}, "`seeds` must be"),
        ({"budget": "time"}, "`budget` must be 'epochs' or 'steps'"),
        ({"recipe": "support_vectors"}, "has the trick support_vectors already"),
        ({"score": "loss"}, "no score of support_vectors named 'loss'"),
        ({"model": zoo.build("multihead_tabular")}, "finds no single head|has no class number"),
    ):
        with pytest.raises(InvalidArgument, match=wanted):
            study(tmp_path, **options)
    with pytest.raises(DataError, match="cannot be read"):
        scoring.kept_scores(tmp_path, 2, "el2n")


def test_the_command_prints_a_table_and_goes_on(tmp_path, capsys):
    x, y = images(60)
    np.savez(tmp_path / "three.npz", x_train=x, y_train=y)
    words = ["support-vectors", "softmax", str(tmp_path / "three.npz"), "--fractions", "1,0.5", "--seeds", "1", "-q"]
    words += ["--epochs", "1", "--score", "margin", "--out", str(tmp_path / "study")]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert "hardest" in printed
    assert "margin in 2 epochs, seeds 0" in printed
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][1]["low"] is None
    assert main([*words, "--fractions", "all"]) != 0
    assert "--fractions takes numbers" in capsys.readouterr().err
