"""Normalisations and activations by name, against NumPy."""

import math

import keras
import numpy as np
import pytest

from zoo.errors import InvalidArgument
from zoo.layers.norms import activated, norm_groups, norm_layer

X = np.random.default_rng(0).standard_normal((3, 4, 5, 6)).astype("float32") * 3 + 1


def through(function, x, *, training=False):
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, function(inputs))
    return keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(x), training=training))


def standardised(x, axes, epsilon):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


@pytest.mark.parametrize(("norm", "shape", "axes"), [("group", (3, 4, 5, 3, 2), (1, 2, 4)), ("layer", X.shape, 3)])
def test_group_and_layer_against_numpy(norm, shape, axes):
    wanted = standardised(X.reshape(shape), axes, 0.01).reshape(X.shape)
    found = through(lambda x: norm_layer(x, norm, name="norm", epsilon=0.01), X)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_batch_norm_uses_the_batch_and_remembers_it():
    found = through(lambda x: norm_layer(x, "batch", name="norm", epsilon=0.01), X, training=True)
    np.testing.assert_allclose(found, standardised(X, (0, 1, 2), 0.01), rtol=1e-4, atol=1e-5)
    inputs = keras.Input(X.shape[1:])
    model = keras.Model(inputs, norm_layer(inputs, "batch", name="norm", momentum=0.5))
    model(keras.ops.convert_to_tensor(X), training=True)
    mean = keras.ops.convert_to_numpy(model.get_layer("norm").moving_mean)
    np.testing.assert_allclose(mean, X.mean((0, 1, 2)) / 2, rtol=1e-4)


def test_none_is_no_layer():
    inputs = keras.Input((4,))
    assert norm_layer(inputs, None, name="norm") is inputs


@pytest.mark.parametrize(
    ("channels", "groups"), [(1, 1), (2, 1), (3, 1), (4, 2), (16, 8), (48, 24), (64, 32), (728, 28)]
)
def test_groups(channels, groups):
    assert norm_groups(channels) == groups


def test_activations():
    erf = np.vectorize(math.erf)
    wanted = {"relu": np.maximum(X, 0), "gelu": X * (1 + erf(X / 2**0.5)) / 2, "silu": X / (1 + np.exp(-X))}
    for activation, values in wanted.items():
        found = through(lambda x, a=activation: activated(x, a, name="act"), X)
        np.testing.assert_allclose(found, values, rtol=1e-4, atol=1e-5)


def test_unknown_names():
    inputs = keras.Input((4,))
    with pytest.raises(InvalidArgument, match="`norm` must be one of 'batch', 'group', 'layer', None"):
        norm_layer(inputs, "instance", name="norm")
    with pytest.raises(InvalidArgument, match="`activation` must be one of 'relu', 'gelu', 'silu'"):
        activated(inputs, "swish", name="act")
