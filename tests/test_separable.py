"""Depthwise separable convnets: what the convolution computes, and what the switches do."""

import keras
import numpy as np
import pytest

from zoo.errors import InvalidArgument
from zoo.factory import build, build_empty
from zoo.layers.separable import separable_conv

SMALL = {"filters": (4, 6), "image_shape": (8, 8, 3), "num_classes": 3}
TEXT = {"vocab_size": 40, "sequence_length": 7, "embed_dim": 6, "filters": (6, 8), "drop_rate": 0.0}


def numpy(x):
    return keras.ops.convert_to_numpy(x)


@pytest.mark.parametrize("stride", [1, 2])
def test_against_numpy(stride):
    """Each channel by itself with its own 3 x 3 weights, then a weighted sum of the channels at each pixel."""
    inputs = keras.Input((7, 7, 3))
    model = keras.Model(inputs, separable_conv(inputs, 4, 3, stride, padding="valid", name="conv"))
    depthwise, pointwise = (numpy(w) for w in model.weights)
    x = np.random.default_rng(0).standard_normal((2, 7, 7, 3)).astype("float32")
    size = (7 - 3) // stride + 1
    wanted = np.zeros((2, size, size, 4), "float32")
    for i in range(size):
        for j in range(size):
            window = x[:, i * stride : i * stride + 3, j * stride : j * stride + 3]
            wanted[:, i, j] = (window * depthwise[..., 0]).sum(axis=(1, 2)) @ pointwise[0, 0]
    np.testing.assert_allclose(numpy(model(keras.ops.convert_to_tensor(x))), wanted, rtol=1e-4, atol=1e-5)


def test_hundreds_of_channels_start_as_large_as_few():
    spread = {}
    for channels in (4, 256):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((8, 8, channels))
        model = keras.Model(inputs, separable_conv(inputs, channels, 3, name="conv"))
        x = np.maximum(np.random.default_rng(0).standard_normal((4, 8, 8, channels)), 0).astype("float32")
        spread[channels] = numpy(model(keras.ops.convert_to_tensor(x))).std()
    assert 0.3 < spread[256] / spread[4] < 3


def test_switches():
    small, ordinary = (build_empty("separable", **SMALL, separable=s) for s in (True, False))
    assert small.count_params() < ordinary.count_params()
    features = build_empty("separable", **SMALL, include_top=False)
    assert features.output_shape == (None, 6)
    assert features.layers[-1].name == "pool"
    with_shortcut = build_empty("separable", **SMALL, shortcut="projection")
    assert sum(isinstance(layer, keras.layers.Add) for layer in with_shortcut.layers) == 2


def test_padding_changes_nothing():
    short = build("separable_text", **TEXT)
    long = build_empty("separable_text", **TEXT | {"sequence_length": 12})
    for source, target in zip(short.weights, long.weights, strict=True):
        target.assign(source)
    tokens = np.random.default_rng(0).integers(1, 40, (4, 7)).astype("int32")
    tokens[1, 4:] = tokens[2, 1:] = 0
    longer = np.pad(tokens, ((0, 0), (0, 5)))
    found, wanted = (
        numpy(m(keras.ops.convert_to_tensor(t), training=False)) for m, t in ((long, longer), (short, tokens))
    )
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("separable", {"filters": ()}, "`filters` needs at least one number"),
        ("separable", {"filters": (8, 0)}, r"`filters\[1\]` must be a whole number of at least 1"),
        ("separable", {"image_shape": (3, 8, 3)}, r"smallest that works: \(4, 8, 3\)"),
        ("separable", {"shortcut": "pad"}, "`shortcut` must be one of 'projection', None"),
        ("separable", {"norm": "instance"}, "`norm` must be one of"),
        ("separable_text", {"norm": "group"}, "`norm` must be one of 'batch', 'layer', None"),
        ("separable_text", {"pool_size": 0}, "`pool_size` must be"),
        ("separable_text", {"drop_rate": -0.1}, "`drop_rate` must be"),
    ],
)
def test_wrong_arguments(name, arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        build(name, **arguments)
