"""Pairs of texts: a model that cannot tell which came first, and the data that it learns from."""

import gzip

import keras
import numpy as np
import pytest

from zoo import data
from zoo.errors import DataError, InvalidArgument, UnknownName
from zoo.factory import build, build_empty
from zoo.inference import evaluate, predict
from zoo.models.siamese import in_order
from zoo.training import train

SIZES = {"vocab_size": 30, "sequence_length": 6, "embed_dim": 5, "units": 8}
HEADS = pytest.mark.parametrize(
    "arguments",
    [{}, {"similarity": "manhattan"}, {"pool": "mean", "num_classes": 3}],
    ids=["features", "manhattan", "mean"],
)


def outputs(model, first, second, training=False):
    x = {"first": keras.ops.convert_to_tensor(first), "second": keras.ops.convert_to_tensor(second)}
    return keras.ops.convert_to_numpy(model(x, training=training))


def rows(seed, count=7):
    rng = np.random.default_rng(seed)
    found = rng.integers(1, 30, (count, 6)).astype("int32")
    for row, length in zip(found, rng.integers(1, 7, count), strict=True):
        row[length:] = 0
    return found


@HEADS
def test_the_order_of_the_pair_changes_no_bit(arguments):
    keras.utils.set_random_seed(0)
    model = build("siamese", **SIZES, **arguments)
    a, b = rows(1, 33), rows(2, 33)
    there, back = outputs(model, a, b), outputs(model, b, a)
    np.testing.assert_array_equal(there, back)
    assert np.ptp(there, axis=0).min() > 0
    model.compile("adam", "mse", jit_compile=keras.backend.backend() == "jax")
    pairs = ({"first": a, "second": b}, {"first": b, "second": a})
    there, back = (model.predict(x, batch_size=8, verbose=0) for x in pairs)  # compiled, in batches
    np.testing.assert_array_equal(there, back)


@HEADS
def test_it_compares_what_one_encoder_made_of_both(arguments):
    """The head by its formula, on vectors that the model's own layers make of each sentence."""
    keras.utils.set_random_seed(0)
    model = build("siamese", **SIZES, **arguments)
    a, b = rows(1), rows(2)

    def encode(tokens):
        vectors = model.get_layer("embedding")(keras.ops.convert_to_tensor(tokens))
        mask = keras.ops.convert_to_tensor(tokens != 0)
        x = keras.ops.convert_to_numpy(model.get_layer("lstm")(vectors, mask=mask)).astype("float64")
        if arguments.get("pool") != "mean":
            return x
        words = (tokens != 0)[..., None]
        return (x * words).sum(axis=1) / words.sum(axis=1)

    left, right = encode(a), encode(b)
    apart = np.abs(left - right)
    if "similarity" in arguments:
        features = np.log(np.exp(-apart.sum(axis=1, keepdims=True)))  # the paper's similarity, its logarithm
    else:
        features = np.concatenate([apart, left * right], axis=1)
    kernel, bias = (keras.ops.convert_to_numpy(w) for w in model.get_layer("logits").weights)
    np.testing.assert_allclose(outputs(model, a, b), features @ kernel + bias, rtol=1e-4, atol=1e-5)


def test_a_pair_is_put_in_order():
    first = np.array([[1, 2, 3], [1, 3, 0], [5, 0, 0], [4, 4, 4], [2, 9, 1]], "int32")
    second = np.array([[1, 2, 4], [1, 2, 9], [4, 9, 9], [4, 4, 4], [2, 9, 0]], "int32")
    tensors = [keras.ops.convert_to_tensor(part) for part in (first, second)]
    small, large = (keras.ops.convert_to_numpy(part).tolist() for part in in_order(*tensors))
    pairs = list(zip(first.tolist(), second.tolist(), strict=True))
    assert small == [min(pair) for pair in pairs]
    assert large == [max(pair) for pair in pairs]


def test_both_sentences_share_every_weight():
    lstm = 4 * 8 * (5 + 8 + 1)
    assert build_empty("siamese", **SIZES).count_params() == 30 * 5 + lstm + 2 * 8 + 1
    assert build_empty("siamese", **SIZES, similarity="manhattan").count_params() == 30 * 5 + lstm + 1 + 1
    model = build("siamese", **SIZES)
    assert [layer.name for layer in model.layers if layer.weights] == ["embedding", "lstm", "logits"]


def test_a_sentence_is_like_itself():
    model = build("siamese", **SIZES, similarity="manhattan")
    a = rows(1)
    same = outputs(model, a, a)
    np.testing.assert_array_equal(same, np.zeros((7, 1)))  # the offset starts at zero
    assert (outputs(model, a, rows(2)) < 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"similarity": "cosine"}, "`similarity` must be one of 'features', 'manhattan'"),
        ({"pool": "max"}, "`pool` must be one of 'last', 'mean'"),
        ({"units": 0}, "`units` must be a whole number of at least 1"),
        ({"drop_rate": -0.1}, "`drop_rate` must be at least 0 and below 1"),
        ({"num_classes": 0}, "`num_classes` must be"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        build("siamese", **arguments)


# Tables of pairs


def table(tmp_path, count=40, name="pairs.tsv"):
    """Pairs of colours that are equal or not."""
    colours = ("red", "green", "blue")
    pairs = [(colours[i % 3], colours[(i + i // 3 % 4) % 3]) for i in range(count)]  # every pair, half of them equal
    lines = ["left\tright\tverdict", *(f"a {a} one\tthe {b} one\t{'yes' if a == b else 'no'}" for a, b in pairs)]
    path = tmp_path / name
    text = "\n".join(lines).encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    return path


@pytest.mark.parametrize("name", ["pairs.tsv", "pairs.tsv.gz"])
def test_a_table_of_pairs(tmp_path, name):
    found = data.load(table(tmp_path, name=name), first="left", second="right", label="verdict", sequence_length=4)
    assert (found.name, found.task, found.labels) == ("pairs", "text_pair_classification", ("no", "yes"))
    assert [len(s) for s in found.splits.values()] == [28, 4, 8]
    assert found.arguments == {"vocab_size": 8, "sequence_length": 4, "num_classes": 2}
    words = found.assets["vocabulary.txt"].decode().split("\n")
    x, y = found.test.arrays()
    for first, second, label in zip(x["first"], x["second"], y, strict=True):
        assert (words[first[0]], words[second[0]], words[first[2]], first[3]) == ("a", "the", "one", 0)
        assert (words[first[1]] == words[second[1]]) == label


def test_a_table_without_header_or_with_parts(tmp_path):
    path = table(tmp_path)
    bare = tmp_path / "bare.tsv"
    bare.write_text(path.read_text().partition("\n")[2])
    named = data.load(path, first="left", second="right", label="verdict")
    assert data.load(bare, first=0, second=1, label=2).fingerprint == named.fingerprint
    parts = data.load(path, first="left", second="right", label="verdict", test=str(path))
    assert [len(s) for s in parts.splits.values()] == [36, 4, 40]


def test_what_is_no_table_of_pairs(tmp_path):
    path = table(tmp_path)
    columns = {"first": "left", "second": "right", "label": "verdict"}
    with pytest.raises(DataError, match=r"no column 'rigth'. Did you mean 'right'"):
        data.load(path, **columns | {"second": "rigth"})
    path.write_text("left\tright\tverdict\n" + "".join(f"a\tb\t{i}\n" for i in range(40)))
    with pytest.raises(DataError, match="40 different labels in 40 rows"):
        data.load(path, **columns)
    path.write_text("left\tright\tverdict\na\tb\tyes\na\tb\n")
    with pytest.raises(DataError, match="line 3: 2 fields where there should be 3"):
        data.load(path, **columns)
    path.write_text("left\tright\tverdict\na\t \tyes\na\tb\tno\nb\tb\tNaN\n")
    with pytest.raises(DataError, match=r"2 rows lack text or label, the first \(text\) at line 2"):
        data.load(path, **columns)
    with pytest.raises(InvalidArgument, match="`first`, `second` and `label` must all be column names or all be num"):
        data.load(path, **columns | {"label": 2})
    with pytest.raises(UnknownName, match=r"no argument of data set .* named 'secnod'"):
        data.load(path, first="left", secnod="right")


def test_ratings_of_pairs_are_sorted_as_numbers(tmp_path):
    path = tmp_path / "alike.tsv"
    path.write_text("first\tsecond\tlabel\n" + "".join(f"a film\tthe film\t{i % 11}\n" for i in range(110)))
    assert data.load(path, first="first").labels == tuple(map(str, range(11)))


def test_trained_and_asked(tmp_path):
    path = table(tmp_path, 200)
    columns = {"first": "left", "second": "right", "label": "verdict"}
    settings = {"epochs": 20, "batch_size": 16, "recipe": "adam(learning_rate=0.02)", "quiet": True}
    run = train(
        "siamese",
        path,
        data_options=columns | {"sequence_length": 3},
        embed_dim=8,
        units=8,
        out=tmp_path / "run",
        **settings,
    )
    assert run.metrics["test"]["accuracy"] == 1
    asked = [{"first": "a red one", "second": f"the {colour} one"} for colour in ("red", "blue")]
    assert [p.label for p in predict(run, asked)] == ["yes", "no"]
    measured = evaluate(run, path, data_options=columns)
    assert measured["accuracy"] == 1
    with pytest.raises(DataError, match="lacks the input 'second'"):
        predict(run, {"first": "a red one"})


# bAbI's sentences


@pytest.mark.data
def test_pairs_of_babi(zoo_data):
    found = data.load("babi_pairs", pairs=3000)
    words = found.assets["vocabulary.txt"].decode().split("\n")
    seen = {}
    for part, split in found.splits.items():
        x, y = split.arrays()
        assert abs(y.mean() - 0.5) < 0.01
        spelt = [[" ".join(words[i] for i in row if i) for row in x[side]] for side in ("first", "second")]
        seen[part] = {*spelt[0], *spelt[1]}
        assert len(set(zip(*spelt, strict=True))) == len(y)
        for a, b, label in zip(*spelt, y, strict=True):
            people = [set(s.split()) & {"mary", "john", "daniel", "sandra"} for s in (a, b)]
            assert (bool(people[0] & people[1]) and a.split()[-1] == b.split()[-1]) == label
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["validation"]
    assert data.load("babi_pairs", pairs=3000).fingerprint == found.fingerprint
    with pytest.raises(InvalidArgument, match="`pairs` must be 100 to 1,000,000"):
        data.load("babi_pairs", pairs=3)
