"""One trunk, three heads: the book's network, a user's posts, and the people of the Adult census."""

import keras
import numpy as np
import pytest
from keras import layers

from zoo import data
from zoo.compiled import ZooModel
from zoo.data.base import TreeSplit
from zoo.errors import DataError, InvalidArgument, UnknownName
from zoo.factory import build, build_empty
from zoo.inference import evaluate, predict
from zoo.measuring import log_probabilities, measure
from zoo.models.multihead import shortest
from zoo.training import train

JIT = keras.backend.backend() == "jax"  # which would otherwise compile each operation by itself


def book(vocab_size, length, groups):
    """The book's network, its heads with their activations as there."""
    posts = keras.Input((length,), dtype="int32")
    x = layers.Embedding(vocab_size, 256)(posts)
    x = layers.Conv1D(128, 5, activation="relu")(x)
    x = layers.MaxPooling1D(5)(x)
    x = layers.Conv1D(256, 5, activation="relu")(x)
    x = layers.Conv1D(256, 5, activation="relu")(x)
    x = layers.MaxPooling1D(5)(x)
    x = layers.Conv1D(256, 5, activation="relu")(x)
    x = layers.Conv1D(256, 5, activation="relu")(x)
    x = layers.GlobalMaxPooling1D()(x)
    x = layers.Dense(128, activation="relu")(x)
    age = layers.Dense(1, name="age")(x)
    income = layers.Dense(groups, activation="softmax", name="income")(x)
    gender = layers.Dense(1, activation="sigmoid", name="gender")(x)
    return keras.Model(posts, [age, income, gender])


def test_is_the_book_s_network():
    theirs, ours = book(300, 280, 10), build_empty("multihead", vocab_size=300, sequence_length=280)
    heads = ("age", "income", "gender")
    for source, target in zip(
        *([x for x in m.layers if x.weights and x.name not in heads] for m in (theirs, ours)), strict=True
    ):
        target.set_weights(source.get_weights())
    for head in heads:
        ours.get_layer(head).set_weights(theirs.get_layer(head).get_weights())
    posts = np.random.default_rng(0).integers(0, 300, (3, 280)).astype("int32")
    age, income, gender = (keras.ops.convert_to_numpy(y) for y in theirs(keras.ops.convert_to_tensor(posts)))
    found = {k: keras.ops.convert_to_numpy(v) for k, v in ours(keras.ops.convert_to_tensor(posts)).items()}
    np.testing.assert_allclose(found["age"], age, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(np.exp(log_probabilities(found["income"])), income, rtol=1e-4)
    np.testing.assert_allclose(1 / (1 + np.exp(-found["gender"])), gender, rtol=1e-4)


def test_default_size():
    convolutions = (5 * 256 * 128 + 128) + (5 * 128 * 256 + 256) + 3 * (5 * 256 * 256 + 256)
    heads = 129 * (1 + 10 + 1)
    assert build_empty("multihead").count_params() == 50_000 * 256 + convolutions + (256 * 128 + 128) + heads


def test_the_book_s_loss_weights():
    keras.utils.set_random_seed(0)
    model = ZooModel.of(build("multihead_tabular", num_features=5, drop_rate=0.0), "plain", jit_compile=JIT)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((40, 5)).astype("float32")
    y = {"age": rng.standard_normal((40, 1)).astype("float32"), "income": rng.integers(0, 2, 40).astype("int32")}
    y["gender"] = rng.integers(0, 2, 40).astype("int32")
    found = {k: np.asarray(v, np.float64) for k, v in model.predict(x, verbose=0).items()}
    age = np.mean((found["age"] - y["age"]) ** 2)
    entropies = [-log_probabilities(found[h])[np.arange(40), y[h]].mean() for h in ("income", "gender")]
    expected = 0.25 * age + 1.0 * entropies[0] + 10.0 * entropies[1]
    assert model.evaluate(x, y, verbose=0, return_dict=True)["loss"] == pytest.approx(expected, rel=1e-5)
    assert measure(model, TreeSplit(x, y), 16)["loss"] == pytest.approx(expected, rel=1e-5)


def test_the_shortest_row():
    """By hand, from the end: 8 for the last two convolutions, 5 times 9 before the pool and 8, 5 times 53 and 4."""
    assert shortest(((128,), (256, 256), (256, 256)), 5, 5) == 5 * (5 * (1 + 8) + 8) + 4 == 269
    for filters, kernel_size, pool_size in ((((2,),), 4, 3), (((2, 2), (2,)), 3, 2), (((2,), (2, 2), (2,)), 2, 3)):
        sizes = {"filters": filters, "kernel_size": kernel_size, "pool_size": pool_size, "vocab_size": 9}
        least = shortest(filters, kernel_size, pool_size)
        before = build_empty("multihead", **sizes, sequence_length=least).get_layer("pool").input
        assert before.shape[1] == 1
        with pytest.raises(InvalidArgument, match=f"need at least {least} tokens"):
            build("multihead", **sizes, sequence_length=least - 1)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("multihead", {"filters": ()}, "`filters` must list the filters of each block"),
        ("multihead", {"filters": (128, 256)}, "`filters` must list the filters of each block"),
        ("multihead", {"filters": ((8, 0),)}, r"`filters\[0\]\[1\]` must be a whole number"),
        ("multihead", {"num_groups": 0}, "`num_groups` must be a whole number"),
        ("multihead", {"pool_size": 0}, "`pool_size` must be"),
        ("multihead", {"drop_rate": 1.5}, "`drop_rate` must be at least 0"),
        ("multihead", {"activation": "tanh"}, "`activation` must be one of"),
        ("multihead_tabular", {"widths": (8, -1)}, r"`widths\[1\]` must be"),
        ("multihead_tabular", {"num_features": 0}, "`num_features` must be"),
        ("multihead_tabular", {"norm": "instance"}, "`norm` must be one of"),
        ("multihead_tabular", {"num_grops": 2}, "Did you mean 'num_groups'"),
    ],
)
def test_wrong_arguments(name, arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        build(name, **arguments)


# Posts of the user's own table

WORDS = {"age": ["homework", "mortgage", "pension"], "income": ["bus", "car", "yacht"], "gender": ["ann", "bob"]}


def write_posts(path, count=400, income=lambda group, i: ("low", "mid", "high")[group]):
    """Writes a table of posts whose words tell everything, amid words that tell nothing."""
    rng = np.random.default_rng(0)
    lines = ["id,text,age,income,gender"]
    for i in range(count):
        age, group, gender = rng.integers(3), rng.integers(3), rng.integers(2)
        words = [WORDS["age"][age], WORDS["income"][group], WORDS["gender"][gender]]
        words += [f"w{n}" for n in rng.integers(0, 15, 5)]
        text = " ".join(rng.permutation(words))
        lines.append(f'{i},"{text}, yes",{20 + 20 * age + rng.integers(5)},{income(group, i)},{"fm"[gender]}')
    path.write_text("\n".join(lines), "utf-8")
    return str(path)


def test_learns_and_predicts_from_a_table_of_posts(tmp_path):
    options = {"path": write_posts(tmp_path / "mine.csv"), "sequence_length": 14}
    sizes = {"embed_dim": 16, "filters": ((32,),), "kernel_size": 1, "units": 32}
    run = train(
        *("multihead", "posts"),
        data_options=options,
        recipe="adam(learning_rate=0.02)",
        epochs=10,
        out=tmp_path / "run",
        quiet=True,
        **sizes,
    )
    test = run.metrics["test"]
    assert test["age_mae"] < 6  # 13 for the mean; the noise alone is 1.2
    assert test["income_accuracy"] > 0.8
    assert test["gender_accuracy"] > 0.8
    measured = evaluate(run, "posts", data_options=options)
    assert measured["loss"] == pytest.approx(test["loss"], rel=1e-4)
    posts = ["w1 w2 homework w3 Ann, by bus", "w4 pension yacht BOB w5 w6"]
    young, old = (p.outputs for p in predict(run, posts))
    assert young["age"].value < 40 < old["age"].value
    assert (young["age"].unit, young["income"].label, old["income"].label) == ("years", "low", "high")
    assert (young["gender"].label, old["gender"].label) == ("f", "m")


def test_a_model_of_one_table_is_evaluated_on_another(tmp_path):
    """Ages are standardised by each table's own; the figures are of years all the same."""
    write_posts(tmp_path / "mine.csv")
    lines = [line.split(",") for line in (tmp_path / "mine.csv").read_text("utf-8").splitlines()[1:]]
    older = [",".join([*row[:-3], str(int(row[-3]) + 7), *row[-2:]]) for row in lines]
    (tmp_path / "older.csv").write_text("\n".join(["id,text,age,income,gender", *older]), "utf-8")
    options = {"path": str(tmp_path / "mine.csv"), "sequence_length": 14}
    sizes = {"embed_dim": 16, "filters": ((32,),), "kernel_size": 1, "units": 32}
    run = train("multihead", "posts", data_options=options, epochs=1, out=tmp_path / "run", quiet=True, **sizes)
    ages = run.spec.labels["age"]
    theirs = data.load("posts", path=str(tmp_path / "older.csv"))
    assert theirs.labels["age"]["mean"] == pytest.approx(ages["mean"] + 7)
    measured = evaluate(run, "posts", data_options={"path": str(tmp_path / "older.csv")})
    mine = data.load_like("posts", run.spec.preprocessing, run.assets, path=str(tmp_path / "mine.csv"))
    x, y = mine.test.arrays()
    age = np.asarray(run.model().predict(x, verbose=0)["age"])
    expected = np.abs(ages["std"] * (age - y["age"]) - 7).mean()
    assert measured["age_mae"] == pytest.approx(expected, rel=1e-4)


def test_posts_with_too_few_incomes(tmp_path):
    path = write_posts(tmp_path / "mine.csv", income=lambda group, i: 1000 * min(group + 1, 2))
    with pytest.raises(DataError, match=r"too few different incomes for 5 groups. income_groups=2 can be"):
        data.load("posts", path=path, income_groups=5)


def test_posts_with_incomes_as_numbers(tmp_path):
    path = write_posts(tmp_path / "mine.csv", income=lambda group, i: 1000 * (group + 1) + i % 900)
    found = data.load("posts", path=path, income_groups=3, sequence_length=12)
    low, middle, high = found.labels["income"]
    assert middle == f"{low.removeprefix('under ')} to {high.removesuffix(' or more')}"
    assert found.arguments["num_groups"] == 3
    y = found.train.arrays()[1]
    assert np.ptp(np.bincount(y["income"])) <= 1
    assert abs(y["age"].mean()) < 1e-5
    assert y["age"].std() == pytest.approx(1, abs=1e-5)
    assert sum(map(len, found.splits.values())) == 400


@pytest.mark.parametrize(
    ("row", "options", "error", "message"),
    [
        ("", {"path": ""}, InvalidArgument, "needs the `path`"),
        ("", {"path": "none.csv"}, DataError, "no such file"),
        ("", {"txt": "text"}, UnknownName, "Did you mean 'text'"),
        ("", {"text": "txt"}, DataError, "no column 'txt'. Did you mean 'text'"),
        ("", {"test_share": 1.0}, InvalidArgument, "`test_share` must be strictly between"),
        ("", {"income_groups": 1}, InvalidArgument, "`income_groups` must be at least 2"),
        ("", {"income_groups": 4}, DataError, "column 'income' of post 0 is not a number"),
        ("", {"gender": "income"}, DataError, "must hold two words"),
        ("900,hello,,low,f", {}, DataError, "line 402: column 'age' is empty"),
        ("900,hello,old,low,f", {}, DataError, "column 'age' of post 400 is not a number"),
        ("900,hello,3,low,f,9", {}, DataError, "line 402: there are more fields"),
        ("900,hello,3,low,x", {}, DataError, "must hold two words"),
    ],
)
def test_wrong_posts(tmp_path, row, options, error, message):
    path = tmp_path / "mine.csv"
    write_posts(path)
    if row:
        path.write_text(f"{path.read_text('utf-8')}\n{row}\n", "utf-8")
    with pytest.raises(error, match=message):
        data.load("posts", **{"path": str(path), **options})


# The Adult census


@pytest.fixture(scope="module")
def people(zoo_data):
    return data.load("adult_people")


@pytest.mark.data
def test_the_people_of_adult(people):
    names = [column.get("from", column["name"]) for column in people.preprocessing["columns"]]
    assert not {"age", "sex", "relationship", "income", "fnlwgt"} & set(names)
    kept = data.load("adult_people", relationship=True)
    assert "relationship" in [column["name"] for column in kept.preprocessing["columns"]]
    assert [len(split) for split in people.splits.values()] == [22_793, 3_256, 6_512]
    shares = [split.labels["income"].mean() for split in people.splits.values()]
    assert max(shares) - min(shares) < 1e-3
    rows = np.concatenate([split._rows for split in people.splits.values()])
    assert sorted(rows.tolist()) == list(range(32_561))
    assert people.labels["age"]["mean"] == pytest.approx(38.58, abs=0.2)  # of all of Adult


@pytest.mark.data
def test_every_head_beats_its_baseline_on_adult(people, tmp_path):
    """Briefly, on a part of the rows; the recipe `multihead_adult` records the full training."""
    run = train(
        *("multihead_tabular", people.but(train=people.train.subset(np.arange(6000)))),
        recipe="adam(learning_rate=0.002)",
        epochs=3,
        batch_size=128,
        out=tmp_path / "run",
        quiet=True,
    )
    test, y = run.metrics["test"], people.test.labels
    assert test["age_mae"] < 0.8 * np.abs(y["age"] - np.median(people.train.labels["age"])).mean() * _years(people)
    for head in ("income", "gender"):
        assert test[f"{head}_accuracy"] > np.bincount(y[head]).max() / len(y[head]) + 0.05
    row = {"workclass": "Private", "education": "Masters", "education_num": 14, "marital_status": "Married-civ-spouse"}
    row |= {"occupation": "Exec-managerial", "race": "White", "native_country": "United-States"}
    row |= {"capital_gain": 20000, "capital_loss": None, "hours_per_week": "50"}
    found = predict(run, row)[0].outputs
    assert found["income"].label == ">50K"
    assert 35 < found["age"].value < 60


def _years(people):
    return people.labels["age"]["std"]
