"""Tasks beyond one classification head: several inputs and outputs, numbers, sequences, one against noise, critics."""

import json

import keras
import numpy as np
import pytest
from keras import layers, ops
from nets import forget

from zoo import data, tasks
from zoo.data.base import Dataset, Split, TreeSplit
from zoo.data.feed import feed
from zoo.data.preprocessing import check, encode
from zoo.errors import DataError, InvalidArgument, UnknownName
from zoo.factory import build
from zoo.inference import Classes, Number, evaluate, predict
from zoo.losses import CandidateLoss, CrossEntropy, MeanScore
from zoo.measuring import ResetStates, log_probabilities, measure
from zoo.plan import heads_of
from zoo.recurrent_state import carrying, reset_states
from zoo.registry import register
from zoo.spec import Spec, attach
from zoo.training import train

HEADS = {"age": {"kind": "regression", "weight": 0.25}, "income": {"kind": "softmax"}, "sex": {"kind": "sigmoid"}}
TEXT = {"kind": "tokens", "sequence_length": 4, "vocab_size": 9}
PICTURE = {"kind": "image", "image_shape": [2, 2, 1], "scale": 1.0, "maximum": None}


def people(*, vocab_size: int = 9, sequence_length: int = 4, num_groups: int = 3):
    """Builds two inputs and three outputs."""
    words = keras.Input((sequence_length,), dtype="int32", name="words")
    picture = keras.Input((2, 2, 1), name="picture")
    x = layers.GlobalAveragePooling1D(name="pool")(layers.Embedding(vocab_size, 8, name="embedding")(words))
    x = layers.Concatenate(name="joined")([x, layers.Flatten(name="pixels")(picture)])
    x = layers.Dense(16, "relu", name="trunk")(x)
    outputs = {name: layers.Dense(n, name=name)(x) for name, n in (("age", 1), ("income", num_groups), ("sex", 1))}
    return keras.Model({"words": words, "picture": picture}, outputs, name="test_people")


@pytest.fixture(scope="module", autouse=True)
def _registered():
    """Registers the model while these tests run, as other tests count the models that there are."""
    register("test_people", task="attribute_prediction", variants={"test_people": {}}, heads=HEADS)(people)
    yield
    forget(lambda builder: builder.family == "test_people")


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    splits = {}
    for part, n in (("train", 60), ("validation", 20), ("test", 23)):
        words = rng.integers(1, 9, (n, 4)).astype("int32")
        picture = rng.random((n, 2, 2, 1), "float32")
        age = (words.mean(axis=1, keepdims=True) - 4.5).astype("float32")
        y = {"age": age, "income": words[:, 0] % 3, "sex": (picture.mean(axis=(1, 2, 3)) > 0.5).astype("int32")}
        splits[part] = TreeSplit({"words": words, "picture": picture}, y, declared=PICTURE)
    return Dataset(
        name="people",
        task="attribute_prediction",
        labels={
            "age": {"mean": 40.0, "std": 10.0, "unit": "years"},
            "income": ("low", "mid", "high"),
            "sex": ("f", "m"),
        },
        preprocessing={"kind": "inputs", "inputs": {"words": TEXT, "picture": PICTURE}},
        **splits,
        source="made here",
        arguments_given={"vocab_size": 9, "sequence_length": 4, "num_groups": 3},
    )


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("people") / "run"
    return train("test_people", dataset, epochs=12, out=folder, quiet=True, recipe="adam(learning_rate=0.02)")


def test_a_run_measures_every_head(run, dataset):
    model = run.model()
    x, y = dataset.test.arrays()
    found = {k: np.asarray(v, np.float64) for k, v in model.predict(x, verbose=0).items()}
    mse = np.mean((found["age"] - y["age"]) ** 2)
    log_p = {h: log_probabilities(found[h])[np.arange(23), y[h]] for h in ("income", "sex")}
    wanted = 0.25 * mse - log_p["income"].mean() - log_p["sex"].mean()
    measured = run.metrics["test"]
    assert measured["loss"] == pytest.approx(wanted, rel=1e-5)
    assert measured["age_mae"] == pytest.approx(10 * np.mean(np.abs(found["age"] - y["age"])), rel=1e-5)
    assert measured["age_rmse"] == pytest.approx(10 * np.sqrt(mse), rel=1e-5)
    assert measured["income_accuracy"] == np.mean(found["income"].argmax(axis=1) == y["income"])
    assert measured["sex_accuracy"] == np.mean((found["sex"][:, 0] > 0) == y["sex"])
    assert measured["examples"] == 23
    assert run.history[-1]["val_loss"] < run.history[0]["val_loss"]
    best = min(run.history, key=lambda row: row["val_loss"])
    assert run.record["best_epoch"] == best["epoch"]
    assert run.metrics["validation"]["loss"] == pytest.approx(best["val_loss"], rel=1e-4)
    assert (run.folder / "curves.png").stat().st_size > 1000


def test_its_predictions_are_in_words_and_units(run, dataset):
    x, _ = dataset.test.arrays()
    raw = [{"words": x["words"][i], "picture": x["picture"][i]} for i in range(3)]
    found = predict(run, raw)
    outputs = run.model().predict({k: v[:3] for k, v in x.items()}, verbose=0)
    for i, prediction in enumerate(found):
        assert isinstance(prediction.outputs["age"], Number)
        assert prediction.outputs["age"].value == pytest.approx(40 + 10 * outputs["age"][i, 0], rel=1e-5)
        assert prediction.outputs["age"].unit == "years"
        assert prediction.outputs["income"].label == ("low", "mid", "high")[outputs["income"][i].argmax()]
        assert sum(p for _, p in prediction.outputs["sex"].top) == pytest.approx(1)
        assert "years" in str(prediction)
    with pytest.raises(AttributeError, match="age, income, sex"):
        _ = found[0].label
    with pytest.raises(DataError, match="lacks the input 'picture'"):
        predict(run, {"words": x["words"][0]})
    with pytest.raises(UnknownName, match="Did you mean 'words'"):
        predict(run, {**raw[0], "wordz": 1})


def test_it_travels(run, dataset, tmp_path):
    import zoo

    revision = zoo.push(run, "me/people", license="apache-2.0")
    model = zoo.load(revision.ref)
    assert model.zoo_spec.heads["age"] == {"kind": "regression", "weight": 0.25}
    assert model.zoo_spec.labels == dataset.labels
    again = evaluate(model, dataset)
    assert again == run.metrics["test"]
    card = (zoo.pull(revision.ref) / "README.md").read_text()
    assert "a number in years" in card
    assert "low, mid, high" in card
    config = json.loads((zoo.pull(revision.ref) / "config.json").read_text())
    assert config["preprocessing"]["inputs"]["words"]["kind"] == "tokens"


def test_a_resumed_run_is_the_same(run, dataset, tmp_path):
    kwargs = {"epochs": 12, "quiet": True, "recipe": "adam(learning_rate=0.02)"}
    folder = tmp_path / "run"
    from zoo import session

    keep = session.Session.keep

    def stopped(self, epoch, logs, seconds):
        keep(self, epoch, logs, seconds)
        if epoch == 4:
            raise KeyboardInterrupt

    session.Session.keep = stopped
    try:
        with pytest.raises(KeyboardInterrupt):
            train("test_people", dataset, out=folder, **kwargs)
    finally:
        session.Session.keep = keep
    again = train("test_people", dataset, out=folder, resume=True, **kwargs)
    assert [r["val_loss"] for r in again.history] == [r["val_loss"] for r in run.history]
    assert again.metrics == run.metrics


def test_the_plan_weighs_its_heads(dataset):
    model = build("test_people", recipe="label_smoothing+adam")
    assert [(h.name, h.kind, h.weight) for h in model.plan.heads] == [
        ("age", "regression", 0.25),
        ("income", "softmax", 1.0),
        ("sex", "sigmoid", 1.0),
    ]
    assert "0.25 times 1-way squared error on 'age'" in model.recipe.explain(build("test_people"))
    x, y = dataset.test.arrays()
    logs = model.evaluate(x, y, return_dict=True, verbose=0)
    outputs = model.predict(x, verbose=0)
    income = CrossEntropy(0.1)(y["income"], outputs["income"])
    assert logs["age_loss"] == pytest.approx(float(np.mean((outputs["age"] - y["age"]) ** 2)), rel=1e-4)
    assert logs["income_loss"] == pytest.approx(float(income), rel=1e-4)
    assert logs["loss"] == pytest.approx(0.25 * logs["age_loss"] + logs["income_loss"] + logs["sex_loss"], rel=1e-4)


def test_saved_and_loaded_it_keeps_names_and_weights(dataset, tmp_path):
    model = build("test_people", recipe="plain")
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    assert again.zoo_spec == model.zoo_spec
    assert heads_of(again) == heads_of(model)
    x, _ = dataset.test.arrays()
    for name, values in model.predict(x, verbose=0).items():
        np.testing.assert_array_equal(again.predict(x, verbose=0)[name], values)


# Losses


def test_candidate_loss_is_the_formula():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5, 4)).astype("float32") * 3
    sigmoid = 1 / (1 + np.exp(-logits.astype("float64")))
    wanted = -np.log(sigmoid[:, 0]) - np.log(1 - sigmoid[:, 1:]).sum(axis=1)
    loss = CandidateLoss(reduction=None)(np.zeros(5), logits)
    np.testing.assert_allclose(ops.convert_to_numpy(loss), wanted, rtol=1e-5)
    assert float(MeanScore()(np.zeros((5, 1)), logits[:, :1])) == pytest.approx(float(logits[:, 0].mean()), rel=1e-5)


def test_cross_entropy_of_sequences_is_that_of_their_steps():
    rng = np.random.default_rng(0)
    logits, y = rng.normal(size=(3, 4, 5)).astype("float32"), rng.integers(0, 5, (3, 4))
    flat = -log_probabilities(logits.astype("float64").reshape(12, 5))[np.arange(12), y.reshape(-1)]
    for amount in (0.0, 0.2):
        steps = CrossEntropy(amount, reduction=None)(y, logits)
        wanted = (1 - amount) * flat
        wanted -= amount * log_probabilities(logits.astype("float64").reshape(12, 5)).mean(axis=1)
        np.testing.assert_allclose(ops.convert_to_numpy(steps).reshape(-1), wanted, rtol=1e-5)


# Sequences that run on from batch to batch


class Running(Split):
    """Ids 0, 1, 2, ... as rows of two, each asked to predict itself; training keeps their order."""

    ordered = True

    def __init__(self, n, rows_per_batch=None):
        super().__init__(np.arange(2 * n).reshape(n, 2) % 7)

    def inputs(self, indices):
        return self.labels[indices]

    def subset(self, indices):
        return self

    def digest(self, update):
        update(b"running")

    def read_as(self, declared):
        return self


def stateful_model():
    tokens = keras.Input(batch_shape=(2, 2), dtype="int32", name="tokens")
    x = layers.LSTM(4, stateful=True, return_sequences=True, use_cudnn=False, name="lstm")(
        layers.Embedding(7, 3, name="words")(tokens)
    )
    model = carrying(keras.Model(tokens, layers.Dense(7, name="logits")(x), name="running"))
    return attach(model, Spec("running", {"batch_size": 2}, "text_generation"))


def test_measuring_starts_from_zero_state_and_counts_steps():
    model = stateful_model()
    split = Running(6)
    first, second = measure(model, split, 2), measure(model, split, 2)
    assert first == second
    assert first["examples"] == 12
    assert first["perplexity"] == pytest.approx(np.exp(first["loss"]))
    reset_states(model)
    logits = np.concatenate([model.predict_on_batch(split.batch(np.arange(i, i + 2))[0]) for i in (0, 2, 4)])
    log_p = log_probabilities(logits.astype("float64")).reshape(12, 7)
    assert first["loss"] == pytest.approx(-log_p[np.arange(12), split.labels.reshape(-1)].mean(), rel=1e-5)


def test_an_ordered_split_is_fed_in_order_and_a_drawing_one_draws_each_epoch():
    rows = [np.asarray(y) for _, y in feed(Running(4), 2, seed=3, epochs=2)]
    np.testing.assert_array_equal(np.concatenate(rows), np.tile(np.arange(8).reshape(4, 2) % 7, (2, 1)))

    class Drawing(TreeSplit):
        def at_epoch(self, seed, epoch):
            return TreeSplit(self._x + 10 * epoch + seed, self._y)

    found = [
        np.asarray(x) for x, _ in feed(Drawing(np.zeros((2, 1), "float32"), np.zeros(2, int)), 2, seed=5, epochs=3)
    ]
    assert [float(x[0, 0]) for x in found] == [5, 15, 25]
    assert float(np.asarray(next(iter(feed(Drawing(np.zeros((2, 1), "float32"), np.zeros(2, int)), 2)))[0])[0, 0]) == 0


def test_every_epoch_starts_from_zero_state():
    model = stateful_model()
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.optimizer.learning_rate = 0.0
    x, y = Running(6).batch(np.arange(6))
    history = model.fit(x, y, batch_size=2, shuffle=False, epochs=2, callbacks=[ResetStates()], verbose=0)
    assert history.history["loss"][0] == pytest.approx(history.history["loss"][1], rel=1e-6)
    carried = model.fit(x, y, batch_size=2, shuffle=False, epochs=1, verbose=0).history["loss"][0]
    assert carried != pytest.approx(history.history["loss"][0], rel=1e-6)


# Names and declarations


def test_every_registered_name_has_a_task():
    from zoo.registry import list_models

    assert {row.task for row in list_models()} <= set(tasks.TASKS)
    assert {row.task for row in data.names()} <= set(tasks.TASKS)


@pytest.mark.parametrize(
    ("heads", "message"),
    [
        ({"a": {"kind": "softmaxx"}}, "Did you mean 'softmax'"),
        ({"a": "softmax"}, "must be a table"),
        ({"a": {"kind": "softmax", "weight": "1"}}, "weight of head 'a' must be a number"),
        ({"a": {"weight": 1.0}}, "must be a table"),
    ],
)
def test_wrong_heads(heads, message):
    with pytest.raises(InvalidArgument, match=message):
        tasks.checked_heads(heads)


@pytest.mark.parametrize(
    "declared",
    [
        {"kind": "inputs"},
        {"kind": "inputs", "inputs": {}},
        {"kind": "inputs", "inputs": {"a": {"kind": "inputs", "inputs": {"b": TEXT}}}},
        {"kind": "inputs", "inputs": {"a": {"kind": "imag"}}},
        {"kind": ["image"]},
    ],
)
def test_wrong_declarations(declared):
    with pytest.raises(InvalidArgument):
        check(declared)


def test_inputs_are_encoded_one_by_one():
    declared = {"kind": "inputs", "inputs": {"a": TEXT, "b": PICTURE}}
    x = encode(declared, {"a": [1, 2, 3, 0], "b": np.ones((2, 2, 1), "float32")})
    assert x["a"].tolist() == [[1, 2, 3, 0]]
    assert x["b"].shape == (1, 2, 2, 1)


def test_splits_must_agree():
    with pytest.raises(DataError, match="differ in length"):
        TreeSplit({"a": np.zeros((3, 1))}, np.zeros(4, int))


def test_fingerprints_tell_targets_apart(dataset):
    changed = dict(dataset.train.labels, age=dataset.train.labels["age"] + 1)
    other = dataset.but(train=TreeSplit(dataset.train._x, changed, declared=PICTURE))
    assert other.fingerprint != dataset.fingerprint
    assert dataset.but().fingerprint == dataset.fingerprint


def test_classes_and_numbers_as_text():
    assert str(Classes((("cat", 0.9), ("dog", 0.1)))) == "cat (90.0%)"
    assert str(Number(12.3456, "years")) == "12.35 years"
    assert str(Number(np.array([[1.0, 2.0]]), "m")) == "1x2 numbers, 1 to 2 m"


def test_a_watched_layer_keeps_the_call_it_was_given():
    from zoo.objectives import called_as

    layer = layers.Dense(2)
    layer.call = given = lambda x: x
    with called_as({layer: lambda x: 2 * x}):
        assert layer.call(3) == 6
    assert layer.call is given
