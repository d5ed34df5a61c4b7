"""Inception-v3 against other people's, and what its arguments do."""

import math

import keras
import numpy as np
import pytest
from test_golden import golden_tensor, predict, torch_name

import zoo
from zoo.errors import InvalidArgument
from zoo.factory import build, build_empty
from zoo.hub.convert import keras_applications, timm
from zoo.models import inception_v3

TINY = {"pool_filters": (32,), "factorised_filters": (128,), "wide_blocks": 1, "width": 0.05, "num_classes": 3}
TINY |= {"stem": "3x3", "image_shape": (16, 16, 3)}


def trainable(model):
    return sum(math.prod(w.shape) for w in model.trainable_variables)


def images(size, seed=0):
    return np.random.default_rng(seed).standard_normal((2, size, size, 3)).astype("float32")


def test_equals_keras_applications():
    """With random weights everywhere, batch-norm statistics included."""
    theirs = keras.applications.InceptionV3(
        weights=None, input_shape=(75, 75, 3), classes=10, classifier_activation=None
    )
    for place, weight in enumerate(theirs.weights):  # their paths depend on what was built before
        ending = torch_name(weight.path).rpartition(".")[2]
        weight.assign(golden_tensor(f"{place}.{ending}", tuple(weight.shape)))
    model = build_empty("inception_v3", flavour="keras", image_shape=(75, 75, 3), num_classes=10)
    assert trainable(model) == trainable(theirs)
    keras_applications.load(model, theirs)
    wanted = predict(theirs, images(75))
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(predict(model, images(75)), wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


def test_other_networks_of_keras_applications_are_refused():
    inputs = keras.Input((8, 8, 3))
    theirs = keras.Model(inputs, keras.layers.Conv2D(4, 3)(keras.layers.Conv2D(4, 3)(inputs)))
    with pytest.raises(InvalidArgument, match=r"94 layers named 'conv2d' and a number were expected.*Received: 2"):
        keras_applications.load(build_empty("inception_v3", **TINY, flavour="keras"), theirs)
    with pytest.raises(InvalidArgument, match=r"only a model of flavour 'keras'.*Received: 'torch'"):
        keras_applications.load(build_empty("inception_v3", **TINY), theirs)


def test_torchvisions_tensor_names_with_the_auxiliary_head():
    """27,161,264 parameters is what torchvision publishes; the names of its head come from its source."""
    model = build_empty("inception_v3", aux=True)
    assert trainable(model) == 27_161_264
    names = timm.name_map(model)
    assert len(set(names.values())) == len(names) == len(model.weights)
    head = {name for name in names.values() if name.startswith("AuxLogits.")}
    norm = ("weight", "bias", "running_mean", "running_var")
    wanted = {f"AuxLogits.conv{i}.{rest}" for i in (0, 1) for rest in ("conv.weight", *(f"bn.{n}" for n in norm))}
    assert head == wanted | {"AuxLogits.fc.weight", "AuxLogits.fc.bias"}


@pytest.mark.parametrize("flavour", ["torch", "keras"])
def test_means_at_the_edge(flavour):
    """PyTorch divides by nine everywhere, Keras by the pixels inside the image."""
    inputs = keras.Input((4, 5, 1))
    conv = lambda x, filters, kernel_size, *, name: x  # noqa: E731
    model = keras.Model(inputs, inception_v3.averaged(inputs, 1, conv, flavour=flavour, name="pool"))
    x = np.random.default_rng(0).standard_normal((1, 4, 5, 1)).astype("float32")
    wanted = np.zeros_like(x)
    for i in range(4):
        for j in range(5):
            window = x[0, max(0, i - 1) : i + 2, max(0, j - 1) : j + 2, 0]
            wanted[0, i, j, 0] = window.sum() / (9 if flavour == "torch" else window.size)
    np.testing.assert_allclose(predict(model, x), wanted, rtol=1e-5, atol=1e-6)


def test_grids_and_channels_are_the_papers():
    """Table 1 of the paper, with the padding of the authors' weights: 35, 17 and 8 pixels; 288, 768, 1280 and 2048."""
    model = build_empty("inception_v3", include_top=False)
    shapes = [model.get_layer(name).output.shape[1:] for name in ("stem_pool2", "a3", "b4", "reduction_b", "c2")]
    assert shapes == [(35, 35, 192), (35, 35, 288), (17, 17, 768), (8, 8, 1280), (8, 8, 2048)]
    assert model.layers[-1].name == "pool"
    assert model.output_shape == (None, 2048)


def test_factorised_convolutions_see_a_line_each():
    model = build_empty("inception_v3", **TINY)
    sizes = [model.get_layer(f"b1_7x7dbl_{i}_conv").kernel_size for i in range(1, 6)]
    assert sizes == [(1, 1), (7, 1), (1, 7), (7, 1), (1, 7)]
    side_by_side = [model.get_layer(f"c1_3x3_2{letter}_conv") for letter in "ab"]
    assert [layer.kernel_size for layer in side_by_side] == [(1, 3), (3, 1)]
    assert side_by_side[0].input is side_by_side[1].input


@pytest.mark.parametrize("shape", [(32, 32, 3), (28, 28, 1)])
def test_small_takes_small_images(shape):
    model = build_empty("inception_small", image_shape=shape)
    x = np.random.default_rng(0).standard_normal((2, *shape)).astype("float32")
    assert predict(model, x).shape == (2, 10)
    assert model.get_layer("stem_2_conv").output.shape[1:3] == shape[:2]


def test_switches():
    model = build_empty("inception_v3", **TINY)
    bare = build_empty("inception_v3", **TINY, norm=None, activation="gelu")
    assert not any("norm" in w.path for w in bare.weights)
    assert all(layer.use_bias for layer in bare.layers if layer.name.endswith("_conv"))
    theirs = build_empty("inception_v3", **TINY, flavour="keras")
    assert not any(w.path.endswith("gamma") for w in theirs.weights)
    assert {w.path for w in theirs.weights} < {w.path for w in model.weights}
    assert model.zoo_spec.heads is None
    helped = build_empty("inception_v3", **TINY, aux=True)
    assert helped.zoo_spec.heads["aux_logits"] == {"kind": "softmax", "weight": 0.4}
    assert {w.path for w in model.weights} < {w.path for w in helped.weights}


def test_the_auxiliary_head_trains_on_the_same_targets(tmp_path):
    arguments = TINY | {"pool_filters": (), "image_shape": (8, 8, 1), "num_classes": 10, "aux": True}
    run = zoo.train("inception_small", "digits", epochs=1, out=tmp_path / "run", quiet=True, **arguments)
    row, test = run.history[0], run.metrics["test"]
    wanted = row["logits_loss"] + 0.4 * row["aux_logits_loss"]
    assert row["loss"] == pytest.approx(
        wanted, rel=0.02
    )  # Keras weighs the short last batch in one and not in the other
    assert {"logits_accuracy", "aux_logits_accuracy"} <= set(test)
    again = zoo.evaluate(run, "digits")
    assert again == test
    digit = zoo.predict(run, np.zeros((1, 8, 8, 1), "float32"))[0]
    assert set(digit.outputs) == {"logits", "aux_logits"}


def test_the_smallest_image_leaves_one_pixel():
    for stem, side in inception_v3.SMALLEST.items():
        arguments = TINY | {"stem": stem, "image_shape": (side, side, 3)}
        assert build_empty("inception_v3", **arguments).get_layer("c1").output.shape[1:3] == (1, 1)
        with pytest.raises(InvalidArgument, match=rf"at least {side} x {side}.*works: \({side}, {side + 5}, 3\)"):
            build("inception_v3", **arguments | {"image_shape": (side - 1, side + 5, 3)})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 0}, "`num_classes` must be a whole number of at least 1. Received: 0"),
        ({"stem": "5x5"}, "`stem` must be one of '7x', '3x3'. Received: '5x5'"),
        ({"flavour": "tf"}, "`flavour` must be one of 'torch', 'keras'"),
        ({"norm": "instance"}, "`norm` must be one of 'batch', 'group', 'layer', None"),
        ({"activation": "tanh"}, "`activation` must be one of 'relu', 'gelu', 'silu'"),
        ({"pool_filters": (32, 0)}, r"`pool_filters\[1\]` must be a whole number of at least 1. Received: 0"),
        ({"wide_blocks": -1}, "`wide_blocks` must not be negative. Received: -1. The full net has 2"),
        ({"width": 0}, r"`width` must be positive. Received: 0.0. Half of the filters: width=0.5"),
        ({"drop_rate": 1.0}, "`drop_rate` must be at least 0 and below 1"),
        ({"aux": True, "include_top": False}, "`aux` adds a classifier"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        build("inception_v3", **arguments)
