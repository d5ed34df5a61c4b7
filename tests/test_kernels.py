"""Layers with a faster `call` on TensorFlow: the same numbers, gradients, state and files as the stock layers."""

import keras
import numpy as np
import pytest
from keras import layers

from zoo.layers.kernels import fused_batch_norm, matmul_separable_conv


def pair(layer, faster):
    """The stock layer and the faster one, each in a model, with the same random weights."""
    models = []
    for wrap in (lambda x: x, faster):
        inputs = keras.Input((7, 6, 5))
        copy = wrap(type(layer).from_config(layer.get_config()))
        models.append(keras.Model(inputs, copy(inputs)))
    rng = np.random.default_rng(0)
    for ours, theirs in zip(models[1].weights, models[0].weights, strict=True):
        value = rng.uniform(0.5, 1.5, ours.shape).astype("float32")
        ours.assign(value)
        theirs.assign(value)
    return models


def trained(model, x, y):
    """Weights after three steps and the loss of each."""
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=keras.backend.backend() == "jax")
    losses = model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0).history["loss"]
    return [keras.ops.convert_to_numpy(w) for w in model.weights], losses


NORM = layers.BatchNormalization(epsilon=1e-5, momentum=0.7, name="norm")
CONV = layers.SeparableConv2D(4, 3, 2, "same", name="conv")
BIASED = layers.SeparableConv2D(4, (3, 2), dilation_rate=2, activation="tanh", name="conv")


@pytest.mark.parametrize(
    ("layer", "faster"),
    [(NORM, fused_batch_norm), (CONV, matmul_separable_conv), (BIASED, matmul_separable_conv)],
    ids=["norm", "conv", "dilated"],
)
def test_the_same_numbers_gradients_and_state(layer, faster, tmp_path):
    stock, ours = pair(layer, faster)
    rng = np.random.default_rng(1)
    x = (3 * rng.standard_normal((8, 7, 6, 5)) + 1).astype("float32")
    for training in (False, True):
        outputs = [
            keras.ops.convert_to_numpy(m(keras.ops.convert_to_tensor(x), training=training)) for m in (stock, ours)
        ]
        np.testing.assert_allclose(outputs[1], outputs[0], rtol=1e-4, atol=1e-5)
    y = rng.standard_normal((8, *stock.output_shape[1:])).astype("float32")
    (theirs, their_losses), (mine, my_losses) = trained(stock, x, y), trained(ours, x, y)
    np.testing.assert_allclose(my_losses, their_losses, rtol=1e-4)
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    assert type(ours.layers[1]) is type(layer)
    assert ours.layers[1].get_config() == stock.layers[1].get_config()
    ours.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.predict(x, verbose=0), ours.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


def test_a_frozen_norm_keeps_its_statistics():
    _, model = pair(NORM, fused_batch_norm)
    layer = model.layers[1]
    layer.trainable = False
    before = [keras.ops.convert_to_numpy(w) for w in layer.weights]
    x = keras.ops.convert_to_tensor(np.random.default_rng(1).standard_normal((4, 7, 6, 5)).astype("float32"))
    outputs = keras.ops.convert_to_numpy(model(x, training=True))
    np.testing.assert_array_equal(outputs, keras.ops.convert_to_numpy(model(x, training=False)))
    for was, weight in zip(before, layer.weights, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(weight), was)
