"""Network in Network, highway networks, plain convnets: their formulas against NumPy, their counts against papers."""

import keras
import numpy as np
import pytest
from cases import CONVNET, HIGHWAY, HIGHWAY_CONV, NIN

from zoo.errors import InvalidArgument
from zoo.factory import build, build_empty


def predict(model, x):
    return keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(x), training=False))


def weight(model, path):
    return keras.ops.convert_to_numpy(next(w for w in model.weights if w.path == path))


def randomise(model, seed=0):
    """Gives every weight a random value, biases included, which start at zero."""
    rng = np.random.default_rng(seed)
    for w in model.weights:
        w.assign(rng.standard_normal(w.shape).astype("float32") / np.sqrt(max(1, np.prod(w.shape[:-1]))))


def images(shape, size=3):
    return np.random.default_rng(7).standard_normal((size, *shape)).astype("float32")


def convolved(x, kernel, bias):
    """Cross-correlation, zero-padded to the same size, of (B, H, W, C) with (k, k, C, F), k odd."""
    reach = kernel.shape[0] // 2
    padded = np.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)))
    height, width = x.shape[1:3]
    total = np.zeros((*x.shape[:3], kernel.shape[-1]))
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            total += padded[:, i : i + height, j : j + width] @ kernel[i, j]
    return total + bias


def pooled(x):
    """Maxima of 3 x 3 windows at every second pixel of an even-sized image, windows cut off at its end."""
    height, width = x.shape[1:3]
    rows = [[x[:, i : i + 3, j : j + 3].max((1, 2)) for j in range(0, width, 2)] for i in range(0, height, 2)]
    return np.array(rows).transpose(2, 0, 1, 3)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


# Network in Network


def test_nin_is_convolutions_with_dense_layers_at_each_pixel():
    model = build_empty("nin", **NIN | {"kernel_sizes": (5, 3, 3)})
    randomise(model)
    given = images((8, 8, 3))
    x = given.astype("float64")
    for block, count in ((1, 2), (2, 2), (3, 1)):
        x = x if block == 1 else pooled(x)
        for i in range(1, count + 1):
            kernel, bias = (weight(model, f"block{block}_{i}_conv/{name}") for name in ("kernel", "bias"))
            x = convolved(x, kernel, bias) if i == 1 else x @ kernel[0, 0] + bias  # dense, the same at each pixel
            x = np.maximum(x, 0)
    maps = x @ weight(model, "class_maps/kernel")[0, 0] + weight(model, "class_maps/bias")
    assert maps.shape == (3, 2, 2, 3)
    np.testing.assert_allclose(predict(model, given), maps.mean((1, 2)), rtol=1e-4, atol=1e-5)


def test_nin_has_the_papers_shapes():
    model = build_empty("nin")
    shapes = [model.get_layer(name).output.shape[1:] for name in ("block1_3_conv", "block2_3_conv", "class_maps")]
    assert shapes == [(32, 32, 96), (16, 16, 192), (8, 8, 10)]


def test_norms_replace_the_biases():
    model = build_empty("nin", **NIN | {"norm": "batch"})
    paths = [w.path for w in model.weights]
    assert "block1_1_norm/beta" in paths
    assert "block1_1_conv/bias" not in paths


@pytest.mark.parametrize(
    ("name", "arguments", "width"), [("nin", NIN, 6), ("highway", HIGHWAY, 8), ("highway_conv", HIGHWAY_CONV, 4)]
)
def test_without_top_ends_in_features(name, arguments, width):
    model = build_empty(name, **arguments | {"include_top": False})
    assert model.layers[-1].name == "pool"
    assert model.output_shape == (None, width)


# Highway networks


@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_a_highway_layer_is_the_papers_formula(activation):
    model = build_empty("highway10", **HIGHWAY | {"activation": activation})
    randomise(model)
    x, y = (
        keras.ops.convert_to_numpy(t)
        for t in keras.Model(model.input, [model.get_layer(n).output for n in ("layer2", "layer3")])(
            keras.ops.convert_to_tensor(images((4, 4, 2)))
        )
    )
    h = x @ weight(model, "layer3_transform/kernel") + weight(model, "layer3_transform/bias")
    h = np.maximum(h, 0) if activation == "relu" else h * sigmoid(h)
    t = sigmoid(x @ weight(model, "layer3_gate/kernel") + weight(model, "layer3_gate/bias"))
    assert np.abs(h - x).max() > 0.1
    np.testing.assert_allclose(y, h * t + x * (1 - t), rtol=1e-4, atol=1e-6)


def test_a_convolutional_highway_layer_is_the_papers_formula():
    model = build_empty("highway_conv", **HIGHWAY_CONV)
    randomise(model)
    inside = keras.Model(
        model.input, [model.get_layer(f"stage1_layer{i}{e}").output for i, e in ((1, "_relu"), (2, ""))]
    )
    x, y = (keras.ops.convert_to_numpy(t) for t in inside(keras.ops.convert_to_tensor(images((10, 10, 1)))))
    assert x.shape == (3, 6, 6, 4)  # the first convolution is not padded
    h, t = (
        convolved(x, *(weight(model, f"stage1_layer2_{part}/{v}") for v in ("kernel", "bias")))
        for part in ("transform", "gate")
    )
    h, t = np.maximum(h, 0), sigmoid(t)
    np.testing.assert_allclose(y, h * t + x * (1 - t), rtol=1e-4, atol=1e-5)


def first_and_last(gate_bias, depth=20):
    """What enters the first gated layer of a new network, and what leaves the last."""
    keras.utils.set_random_seed(3)
    model = build("highway50", **HIGHWAY | {"depth": depth, "gate_bias": gate_bias})
    inside = keras.Model(model.input, [model.get_layer(n).output for n in ("layer1_relu", f"layer{depth}")])
    return (keras.ops.convert_to_numpy(t) for t in inside(keras.ops.convert_to_tensor(images((4, 4, 2)))))


def test_new_highways_carry_their_input():
    """The lower the gates' bias, the closer 19 layers are to the identity; where the gates are shut they are it."""
    distances = []
    for gate_bias in (-2.0, -4.0, -8.0):
        x, y = first_and_last(gate_bias)
        distances.append(np.linalg.norm(y - x) / np.linalg.norm(x))
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.05
    x, y = first_and_last(-1000.0)
    np.testing.assert_array_equal(x, y)
    assert np.abs(x).max() > 0.1


def test_gates_start_at_their_bias_and_plain_networks_have_none():
    gated, plain = (build("highway10", **HIGHWAY | {"gate": gate}) for gate in (True, False))
    np.testing.assert_array_equal(weight(gated, "layer2_gate/bias"), np.full(8, -2.0))
    np.testing.assert_array_equal(weight(gated, "layer2_transform/bias"), np.zeros(8))
    assert not any("gate" in w.path for w in plain.weights)
    assert sum(len(w.shape) == 2 for w in plain.weights) == HIGHWAY["depth"] + 1
    wide = build_empty("highway50", gate=False, units=71)  # the paper's plain network of about as many parameters
    assert wide.count_params() == pytest.approx(build_empty("highway50").count_params(), rel=0.07)


def test_wrong_sizes():
    with pytest.raises(
        InvalidArgument, match=r"at least 4 x 4 pixels.*\(3, 32, 3\).*smallest that works: \(4, 32, 3\)"
    ):
        build("nin", image_shape=(3, 32, 3))
    with pytest.raises(InvalidArgument, match=r"at least 9 x 9 pixels.*smallest that works: \(9, 9, 1\)"):
        build("highway_conv", image_shape=(8, 8, 1))
    assert build_empty("nin", image_shape=(4, 32, 3)).output_shape == (None, 10)
    assert build_empty("highway_conv", image_shape=(9, 9, 1)).output_shape == (None, 10)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("nin", {"num_classes": 0}, "`num_classes` must be a whole number of at least 1. Received: 0"),
        ("nin", {"widths": ()}, r"`widths` needs the filters of each block.*For two blocks"),
        ("nin", {"widths": (8, 8, 8)}, "`widths` needs the filters of each block"),
        ("nin", {"widths": ((8, 0), (8,), (8,))}, r"`widths\[0\]\[1\]` must be a whole number of at least 1"),
        (
            "nin",
            {"kernel_sizes": (5, 3)},
            r"one size for each of the 3 blocks. Received: \(5, 3\). For example \(5, 5, 3\)",
        ),
        ("nin", {"norm": "instance"}, "`norm` must be one of 'batch', 'group', 'layer', None"),
        ("nin", {"activation": "tanh"}, "`activation` must be one of 'relu', 'gelu', 'silu'"),
        ("nin", {"drop_rate": 1.0}, "`drop_rate` must be at least 0 and below 1"),
        ("highway", {"depth": 0}, "`depth` must be a whole number of at least 1. Received: 0"),
        ("highway", {"num_classes": 0}, "`num_classes` must be"),
        ("highway", {"norm": "weight"}, "`norm` must be one of"),
        ("highway", {"activation": "tanh"}, "`activation` must be one of"),
        ("highway_conv", {"stages": ()}, r"`stages` needs at least one stage.*\(3, 3, 3\)"),
        ("highway_conv", {"stages": (3, 0)}, r"`stages\[1\]` must be"),
    ],
)
def test_wrong_arguments(name, arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        build(name, **arguments)


# The plain convnet


def halved(x):
    """Maxima of 2 x 2 windows, those at an odd end cut off."""
    height, width = x.shape[1:3]
    rows = [[x[:, i : i + 2, j : j + 2].max((1, 2)) for j in range(0, width, 2)] for i in range(0, height, 2)]
    return np.array(rows).transpose(2, 0, 1, 3)


@pytest.mark.parametrize("downsample", ["pool", "stride"])
def test_a_plain_convnet_is_convolutions_that_halve_and_two_dense_layers(downsample):
    model = build_empty("convnet", **CONVNET | {"kernel_size": 3, "downsample": downsample})
    randomise(model)
    given = x = images((9, 8, 2))
    for i in (1, 2):
        x = np.maximum(convolved(x, weight(model, f"conv{i}/kernel"), weight(model, f"conv{i}/bias")), 0)
        # Strides: "same" pads an even side by one pixel at its end only, so that the windows begin one pixel later.
        first = [1 - side % 2 for side in x.shape[1:3]]
        x = halved(x) if downsample == "pool" else x[:, first[0] :: 2, first[1] :: 2]
    x = np.maximum(x.reshape(3, -1) @ weight(model, "dense/kernel") + weight(model, "dense/bias"), 0)
    features = keras.Model(model.inputs, model.get_layer("pool").output)
    np.testing.assert_allclose(predict(features, given), x, rtol=1e-4, atol=1e-5)
    logits = x @ weight(model, "logits/kernel") + weight(model, "logits/bias")
    np.testing.assert_allclose(predict(model, given), logits, rtol=1e-4, atol=1e-5)
    assert build_empty("convnet", **CONVNET, include_top=False).output_shape == (None, 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": ()}, "`filters` needs at least one number"),
        ({"filters": (4, 0)}, r"`filters\[1\]` must be"),
        ({"downsample": "average"}, "`downsample` must be one of 'pool', 'stride'"),
        ({"units": 0}, "`units` must be"),
        ({"filters": (4,) * 5}, r"smallest that works: \(16, 16, 2\)"),
    ],
)
def test_a_plain_convnet_refuses_what_cannot_work(arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        build("convnet", **CONVNET | arguments)
