"""Attacks on finished models: restarts against NumPy, the unit of pixels, and what `zoo evaluate --attack` says."""

import dataclasses
import itertools
import json
import shlex

import keras
import numpy as np
import pytest
from keras import layers, ops
from nets import linear_net, text_net

import zoo
from zoo.attacks import pgd, right_answers
from zoo.cli import main
from zoo.data.base import ArraySplit
from zoo.data.preprocessing import image_declaration
from zoo.errors import DataError, InvalidArgument, UnknownName
from zoo.recipes import list_recipes
from zoo.robustness import Pgd, Pixels, attack_of, check_model, robust
from zoo.spec import Spec, attach

BACKEND = keras.backend.backend()
RNG = np.random.default_rng(0)
KERNEL, BIAS = RNG.normal(size=(12, 3)), RNG.normal(size=3)
X = RNG.random((40, 12)).astype("float32")
EPSILON = 0.05


def linear(kernel=KERNEL, bias=BIAS, shape=(12,)):
    """Returns a softmax classifier without a hidden layer."""
    x = given = keras.Input(shape, name="image")
    if len(shape) > 1:
        x = layers.Flatten(name="flat")(x)
    model = keras.Model(given, layers.Dense(3, name="logits")(x), name="linear")
    model.set_weights([kernel, bias])
    return attach(model, Spec("softmax", {}, "image_classification"))


Y = np.argmax(X @ KERNEL + BIAS, axis=1)
Y[::9] = (Y[::9] + 1) % 3  # which the model gets wrong without an attack


def cross_entropies(x, y):
    """Returns losses, and their gradients by x, in float64."""
    logits = x @ KERNEL + BIAS
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    rows = np.arange(len(y))
    return -log_p[rows, y], (np.exp(log_p) - np.eye(3)[y]) @ KERNEL.T


def by_hand(epsilon, steps, step_size, restarts, seed):
    """Returns what an attack on `linear` ends with: every input by itself, restart after restart."""
    seeds = keras.random.SeedGenerator(seed)
    found, highest, left = X.astype("float64"), np.full(len(X), -np.inf), np.arange(len(X))
    for _ in range(restarts):
        rows = np.resize(left, len(X)) if BACKEND == "jax" else left  # which fills batches up
        noise = ops.convert_to_numpy(keras.random.uniform((len(rows), 12), -1, 1, seed=seeds))[: len(left)]
        origin = X[left].astype("float64")
        value = np.clip(origin + epsilon * noise, 0, 1)
        for _ in range(steps):
            value = value + step_size * np.sign(cross_entropies(value, Y[left])[1])
            value = np.clip(np.clip(value, origin - epsilon, origin + epsilon), 0, 1)
        losses = cross_entropies(value, Y[left])[0]
        misled = np.argmax(value @ KERNEL + BIAS, axis=1) != Y[left]
        for row, end, loss, wrong in zip(left, value, losses, misled, strict=True):
            if wrong or loss > highest[row]:
                found[row], highest[row] = end, loss
        left = left[~misled]
    return found, left


@pytest.mark.parametrize("restarts", [1, 4])
def test_restarts_are_those_of_numpy(restarts):
    wanted, left = by_hand(0.05, 3, 0.01, restarts, seed=5)
    moved = pgd(linear(), X, Y, 0.05, steps=3, step_size=0.01, restarts=restarts, seed=5)
    np.testing.assert_allclose(moved, wanted, atol=2e-6)
    answers = right_answers(moved @ KERNEL + BIAS, Y)
    np.testing.assert_array_equal(np.flatnonzero(answers), left)
    assert 0 < answers.sum() < (np.argmax(X @ KERNEL + BIAS, axis=1) == Y).sum()  # some fall, some withstand


def crooked_net():
    """Returns a classifier of `X` whose loss has many slopes, so that where an attack starts decides where it ends."""
    rng = np.random.default_rng(2)
    features = keras.Input((12,), name="features")
    x = layers.Dense(30, activation="tanh", name="hidden")(features)
    model = keras.Model(features, layers.Dense(3, name="logits")(x), name="crooked")
    kernel = rng.normal(size=(12, 30)) * 2
    model.set_weights([kernel, -kernel.sum(0) / 2, rng.normal(size=(30, 3)), np.zeros(3)])
    return model


def test_a_further_restart_misleads_whom_the_others_did_and_more():
    net, x = crooked_net(), RNG.random((60, 12)).astype("float32")
    y = np.argmax(net.predict(x, verbose=0), axis=1)
    fallen, calls = [], []
    for restarts in (1, 2, 6):
        calls.clear()
        moved = pgd(
            net, x, y, EPSILON, steps=1, step_size=0.01, restarts=restarts, seed=3, told=lambda *c: calls.append(c)
        )
        fallen.append(~right_answers(net.predict(moved, verbose=0), y))
        assert np.abs(moved - x).max() <= EPSILON + 1e-6
        assert moved.min() >= 0
        assert moved.max() <= 1
    for fewer, more in itertools.pairwise(fallen):
        assert (more >= fewer).all()
    assert fallen[0].sum() < fallen[-1].sum() < len(x)  # or nothing was shown
    assert [restart for restart, _, _ in calls] == [1, 2, 3, 4, 5, 6]
    assert calls[0][1] == len(x)
    for (_, _, misled), (_, attacked, _) in itertools.pairwise(calls):
        assert attacked == len(x) - misled  # those who fell are left alone


def test_batches_of_any_size_attack_every_input():
    x, y = X[:11], Y[:11]
    for batch_size in (3, 11, 500):
        moved = pgd(linear(), x, y, 0.1, steps=1, step_size=0.1, random_start=False, batch_size=batch_size)
        np.testing.assert_allclose(moved, np.clip(x + 0.1 * np.sign(cross_entropies(x, y)[1]), 0, 1), atol=1e-6)


def test_one_logit_answers_by_its_sign():
    answers = right_answers(np.array([[2.0], [-1.0], [0.5]]), np.array([1, 1, 0]))
    np.testing.assert_array_equal(answers, [True, False, False])
    net = linear_net(num_inputs=12)
    net.set_weights([KERNEL[:, :1], np.array([-float(np.median(X @ KERNEL[:, 0]))])])
    logits = net.predict(X, verbose=0)
    moved = pgd(net, X, logits[:, 0] > 0, 0.03, steps=2, restarts=2, seed=0)
    closest = np.abs(logits[:, 0]) < 0.02 * np.abs(KERNEL[:, 0]).sum()
    assert not right_answers(net.predict(moved, verbose=0), logits[:, 0] > 0)[closest].all()


# The unit of pixels

SHAPE = (2, 2, 3)
GREY = image_declaration(SHAPE, mean=[0.4, 0.5, 0.6], std=[0.2, 0.3, 0.5])


def test_epsilon_is_of_pixels_whatever_the_model_is_fed():
    """Normalising folds into a linear model's weights: both must fall to the same changes of the same pixels."""
    raw = RNG.integers(0, 256, (40, *SHAPE)).astype("uint8")
    std, mean = np.tile(GREY["std"], 4), np.tile(GREY["mean"], 4)
    fed = linear(KERNEL * std[:, None], BIAS + mean @ KERNEL, SHAPE)
    plain = linear(shape=SHAPE)
    labels = np.argmax((raw / 255.0).reshape(40, -1) @ KERNEL + BIAS, axis=1)
    labels[0] = (labels[0] + 1) % 3
    found = [
        robust(model, ArraySplit(raw, labels, declared), declared, Pgd(0.03, steps=4, restarts=3), quiet=True)
        for model, declared in ((fed, GREY), (plain, image_declaration(SHAPE)))
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-6)
    assert found[0]["accuracy"] == 39 / 40
    assert 0 < found[0]["robust_accuracy"] < found[0]["accuracy"]
    assert found[0]["largest_change"] == pytest.approx(0.03, abs=1e-6)
    assert found[0]["most_gradient_passes"] == 40 * 4 * 3
    assert 39 * 4 < found[0]["gradient_passes"] < 39 * 4 * 3


def test_pixels_come_back_from_what_a_model_is_fed():
    raw = RNG.integers(0, 256, (5, *SHAPE)).astype("uint8")
    split = ArraySplit(raw, np.zeros(5, int), GREY)
    np.testing.assert_allclose(Pixels(GREY).of(split.arrays()[0]), raw / 255, atol=1e-6)
    with pytest.raises(DataError, match="pixels outside the range"):
        Pixels(GREY).of(np.full((1, *SHAPE), 9.0))
    with pytest.raises(InvalidArgument, match="the range of these pixels is not declared"):
        Pixels(image_declaration(SHAPE, maximum=None))
    with pytest.raises(InvalidArgument, match=r"needs images\. Received: 'table'"):
        Pixels({"kind": "table"})


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("pdg(epsilon=0.1)", UnknownName, "no attack named 'pdg'. Did you mean 'pgd'"),
        ("pgd(epsilon=0.1, restart=2)", UnknownName, "'restart'. Did you mean 'restarts'"),
        ("pgd(epsilon=8)", InvalidArgument, r"above 0 and at most 1. Received: 8.0. .* 8 / 255 = 0.0314"),
        ("pgd(steps=3)", InvalidArgument, "needs `epsilon`"),
        ("pgd(epsilon=0.1, steps=0)", InvalidArgument, "`steps` must be 1 or more"),
        ("pgd(epsilon=0.1, restarts=2.5)", InvalidArgument, "`restarts` must be int"),
        ("pgd(epsilon=0.1, restarts=2, random_start=False)", InvalidArgument, "every restart is the same"),
        ("pgd(epsilon=0.1, step_size=-1.0)", InvalidArgument, "`step_size` must be positive"),
        ("pgd(epsilon=0.1)+pgd(epsilon=0.2)", InvalidArgument, "one attack at a time"),
        ("pgd(", InvalidArgument, "cannot read the attack at column"),
        ("", InvalidArgument, "an attack must be a text"),
    ],
)
def test_an_attack_that_cannot_work_is_refused_in_words(text, error, message):
    with pytest.raises(error, match=message):
        attack_of(text)


def test_an_attack_is_written_as_it_is_read():
    text = "pgd(epsilon=0.3, restarts=20, steps=100)"
    assert str(attack_of("pgd(steps=100, restarts=20, epsilon=0.3)")) == text
    assert str(attack_of(text)) == text
    assert attack_of(text).budget(1000).startswith(f"{text}: at most 2,000,000 gradients of one image")


def test_models_without_pixels_or_a_single_answer_are_refused():
    with pytest.raises(InvalidArgument, match=r"moves the pixels of an image, which .* does not take"):
        check_model(text_net(), Pgd(0.1))
    image = keras.Input((4, 4, 1))
    two = keras.Model(image, [layers.Dense(3, name=n)(layers.Flatten()(image)) for n in ("one", "two")], name="two")
    with pytest.raises(InvalidArgument, match="misleads to another class, which two does not choose"):
        check_model(attach(two, Spec("two", {}, "image_classification")), Pgd(0.1))


# The command


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A softmax regression on the digits, two epochs."""
    out = tmp_path_factory.mktemp("robust") / "run"
    return zoo.train("softmax", "digits", recipe="adam(learning_rate=0.01)", epochs=2, out=out, quiet=True)


def test_evaluate_under_an_attack(run, capsys):
    command = ["evaluate", str(run.folder), "digits", "--limit", "60", "--attack"]
    assert main([*command, "pgd(steps=4, restarts=3, epsilon=0.1)"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == (
        "pgd(epsilon=0.1, restarts=3, steps=4): at most 720 gradients of one image, 60 examples x 4 steps x 3 restarts"
    )
    assert main([*command, "pgd(epsilon=0.1, restarts=3, steps=4)", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)  # the budget line would not be JSON
    assert (found["examples"], found["seed"], found["most_gradient_passes"]) == (60, 0, 720)
    assert 0 < found["robust_accuracy"] < found["accuracy"]
    assert found["largest_change"] == pytest.approx(0.1, abs=1e-6)
    figures = f"accuracy {found['accuracy']:.2%}, robust accuracy {found['robust_accuracy']:.2%}"
    assert said[1] == f"test {figures}, on 60 examples of digits"
    assert found["accuracy"] == zoo.evaluate(run, "digits", limit=60)["accuracy"]
    again = zoo.evaluate(run, "digits", limit=60, attack=found["attack"], quiet=True)
    assert again == {k: v for k, v in found.items() if k in again}  # the same seed, the same figures
    assert capsys.readouterr().out == ""


def test_mistakes_are_told_before_keras_is_needed(run, capsys, monkeypatch):
    monkeypatch.setattr("zoo.cli.app._with_keras", lambda: pytest.fail("Keras was asked for"))
    for words, message in (
        (["--attack", "pdg(epsilon=0.1)"], "no attack named 'pdg'"),
        (["--attack", "pgd(epsilon=77)"], "`epsilon` must be above 0 and at most 1"),
        (["--seed", "3"], "--seed is of the random starts of an attack"),
    ):
        assert main(["evaluate", str(run.folder), "digits", *words]) == 2
        assert message in capsys.readouterr().err
    with pytest.raises(InvalidArgument, match="`limit` must be a positive whole number"):
        zoo.evaluate(run, "digits", limit=0)


# What is recorded

ATTACKED = [row for row in list_recipes() if "attacked" in row.result and "weights" in row.result]


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("row", ATTACKED, ids=lambda row: row.name)
def test_shipped_weights_withstand_what_they_are_recorded_to(row, zoo_data):
    """The first restart of the recorded attack: whoever withstands all of them withstands it too."""
    program, command, ref, data, *words = shlex.split(row.result["attacked"])
    given = dict(zip(words[::2], words[1::2], strict=True))
    assert (program, command, ref) == ("zoo", "evaluate", row.result["weights"])
    limit, text = int(given["--limit"]), given["--attack"]
    once = dataclasses.replace(attack_of(text), restarts=1)
    found = zoo.evaluate(ref, data, limit=limit, batch_size=int(given["--batch-size"]), attack=once, quiet=True)
    (recorded,) = row.result["robust_accuracy"]
    assert found["examples"] == row.result["attacked_examples"] == limit
    # Other backends start from other points.
    assert recorded - 0.002 <= found["robust_accuracy"] < recorded + 0.05
    assert found["largest_change"] == pytest.approx(once.epsilon, abs=1e-6)
