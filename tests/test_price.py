"""Prices from three inputs: the generated offers, and that every input matters."""

import keras
import numpy as np
import pytest

from zoo import data
from zoo.data.base import TreeSplit
from zoo.data.sets import clothes
from zoo.errors import DataError, InvalidArgument
from zoo.factory import build
from zoo.inference import predict
from zoo.measuring import measure
from zoo.training import train

SMALL = {"metadata_size": 5, "vocab_size": 20, "sequence_length": 6, "image_shape": (8, 8, 3), "embed_dim": 5}
SMALL |= {"filters": (4, 6), "units": 8}


@pytest.fixture(scope="module")
def offers():
    return data.load("clothes", examples=1000)


@pytest.fixture(scope="module")
def run(offers, tmp_path_factory):
    folder = tmp_path_factory.mktemp("price") / "run"
    return train(
        *("price", offers),
        recipe="adam(learning_rate=0.004)+cosine",
        epochs=10,
        batch_size=25,
        out=folder,
        quiet=True,
        filters=(8, 8),
        norm=None,
    )


# The offers


def test_offers_are_the_same_for_a_seed():
    first, prices = clothes.generate(20, seed=3)
    again, same = clothes.generate(20, seed=3)
    other, _ = clothes.generate(20, seed=4)
    assert first["metadata"] == again["metadata"] != other["metadata"]
    assert first["description"] == again["description"]
    np.testing.assert_array_equal(first["picture"], again["picture"])
    np.testing.assert_array_equal(prices, same)


def test_prices_follow_the_formula():
    """What form and description say is read back from the raw offers; what is left shows garment and holes alone."""
    found, prices = clothes.generate(4000, seed=0)
    brand = np.array([clothes.BRANDS[row["brand"]] for row in found["metadata"]])
    condition = np.array([clothes.CONDITIONS[row["condition"]] for row in found["metadata"]])
    texts = [text.lower() for text in found["description"]]
    material = np.array([next(v for k, v in clothes.MATERIALS.items() if f"made of {k}" in t) for t in texts])
    defects = np.array([sum(d in t for d in clothes.DEFECTS) for t in texts])
    assert set(defects) == {0, 1, 2}
    dark = (found["picture"].astype(int).max(axis=-1) < 195).sum(axis=(1, 2))  # cloth; its size tells the garment
    areas = {name: _area(name) for name in clothes.GARMENTS}
    garment = [min(areas, key=lambda name: areas[name] - n if areas[name] >= n else 9999) for n in dark]
    holes = np.array([(areas[g] - n) / 4 for g, n in zip(garment, dark, strict=True)])
    worth = np.array([clothes.GARMENTS[g] for g in garment])
    expected = brand * condition * (worth + material) - 8 * defects - 4 * holes
    error = (prices - np.maximum(expected, 1))[(prices > 1) & (expected > 5)]
    assert abs(error.mean()) < 0.2
    assert error.std() == pytest.approx(clothes.NOISE, abs=0.2)


def _area(garment):
    cloth = np.zeros((40, 40), bool)
    for top, bottom, left, end in clothes._outline(garment):
        cloth[top:bottom, left:end] = True
    return int(cloth.sum())


def test_the_data_set(offers):
    assert [len(split) for split in offers.splits.values()] == [700, 100, 200]
    x, y = offers.train.arrays()
    assert {name: rows.shape[1:] for name, rows in x.items()} == {
        "metadata": (offers.arguments["metadata_size"],),
        "description": (24,),
        "picture": (32, 32, 3),
    }
    assert abs(y.mean()) < 1e-5
    assert y.std() == pytest.approx(1, abs=1e-5)
    with pytest.raises(InvalidArgument, match="`examples` must be 100 to"):
        data.load("clothes", examples=3)


# The model


@pytest.mark.parametrize("name", ["price", "price_lstm"])
def test_every_input_changes_the_output(name):
    keras.utils.set_random_seed(0)
    model, rng = build(name, **SMALL), np.random.default_rng(0)
    x = {"metadata": rng.random((6, 5), "float32"), "description": rng.integers(1, 20, (6, 6)).astype("int32")}
    x["picture"] = rng.random((6, 8, 8, 3), "float32")
    whole = model.predict(x, verbose=0)
    for key, without in (("metadata", 0), ("description", 1), ("picture", 0)):
        changed = model.predict({**x, key: np.full_like(x[key], without)}, verbose=0)
        assert np.abs(changed - whole).min() > 1e-5, key


@pytest.mark.parametrize("name", ["price", "price_lstm"])
def test_padding_changes_nothing(name):
    keras.utils.set_random_seed(0)
    model = build(name, **SMALL)
    longer = build(name, **{**SMALL, "sequence_length": 9})
    for source, target in zip(model.weights, longer.weights, strict=True):
        target.assign(keras.ops.convert_to_numpy(source))
    x = {"metadata": np.ones((1, 5), "float32"), "picture": np.ones((1, 8, 8, 3), "float32")}
    words = np.array([[3, 7, 4, 0, 0, 0]], "int32")
    short = model.predict({**x, "description": words}, verbose=0)
    padded = longer.predict({**x, "description": np.pad(words, ((0, 0), (0, 3)))}, verbose=0)
    np.testing.assert_allclose(padded, short, rtol=1e-5, atol=1e-6)


def test_learns_prices_far_better_than_their_mean(run, offers):
    guess = np.abs(offers.test.labels).mean() * offers.labels["price"]["std"]
    assert run.metrics["test"]["mae"] < 0.5 * guess


def test_every_input_is_needed_after_training(run, offers):
    """Each input in turn is taken from another offer; the recipe `price_clothes` records full training."""
    x, y = offers.test.arrays()
    model, labels = run.model(), offers.labels
    whole = measure(model, TreeSplit(x, y), 64, labels)["mae"]
    order = np.random.default_rng(0).permutation(len(y))
    for key in x:
        mixed = measure(model, TreeSplit({**x, key: x[key][order]}, y), 64, labels)["mae"]
        assert mixed > 1.3 * whole, key


def test_predicts_from_a_raw_offer(run, offers):
    from PIL import Image

    raw, prices = clothes.generate(1, seed=0)  # the first of the test part
    offer = {key: values[0] for key, values in raw.items()}
    drawn = {**offer, "picture": Image.fromarray(offer["picture"])}
    first, second = predict(run, [offer, drawn])
    assert first.value == pytest.approx(second.value, rel=1e-4)
    x, y = offers.test.batch([0])
    scale = offers.labels["price"]
    assert prices[0] == pytest.approx(y[0, 0] * scale["std"] + scale["mean"], rel=1e-4)
    expected = float(run.model().predict(x, verbose=0)[0, 0]) * scale["std"] + scale["mean"]
    assert first.value == pytest.approx(expected, rel=1e-3, abs=1e-3)
    assert first.outputs["price"].unit == "euros"
    with pytest.raises(DataError, match="lacks the input 'picture'"):
        predict(run, {"metadata": offer["metadata"], "description": "A coat."})
    with pytest.raises(DataError, match="no column 'brand'"):
        predict(run, {**offer, "metadata": {"size": "M", "condition": "good"}})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"text": "gru"}, "`text` must be one of 'mean', 'lstm'"),
        ({"image_shape": (32, 32)}, "`image_shape` must be"),
        ({"filters": (8, 0)}, r"`filters\[1\]` must be"),
        ({"metadata_size": 0}, "`metadata_size` must be"),
        ({"drop_rate": -0.1}, "`drop_rate` must be"),
        ({"unit": 3}, "Did you mean 'units'"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        build("price", **{**SMALL, **arguments})
