"""The 1D convolutional text classifier against its formula; padding takes no part in it."""

import keras
import numpy as np
import pytest

from zoo.errors import InvalidArgument
from zoo.factory import build, build_empty
from zoo.models.conv1d import pooled

SIZES = {"vocab_size": 20, "embed_dim": 4, "filters": 3, "kernel_sizes": (3, 4), "pool_size": 3, "num_classes": 2}
KINDS = pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"norm": "batch", "activation": "gelu", "pool_size": 4},
        {"norm": "layer", "separable": True},
        {"stacked": False, "activation": "silu"},
        {"kernel_sizes": (2, 5, 3), "pool_size": 1, "norm": "batch"},
    ],
    ids=["plain", "batch", "layer", "beside", "three"],
)


def outputs(model, tokens, training=False):
    return keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(tokens), training=training))


def texts(length, seed=0):
    """Five texts of 1 to 9 words, in rows of `length`."""
    rng = np.random.default_rng(seed)
    rows = np.zeros((5, length), "int32")
    for row, words in zip(rows, (9, 1, 4, 7, 2), strict=True):
        row[:words] = rng.integers(1, 20, words)
    return rows


def drawn(model, seed=0):
    """Random values for every weight, statistics included."""
    rng = np.random.default_rng(seed)
    values = {w.path: rng.uniform(0.2, 1.5, w.shape) if "variance" in w.path else rng.normal(0, 0.6, w.shape)
              for w in model.weights}  # fmt: skip
    for weight in model.weights:
        weight.assign(values[weight.path])
    return values


@KINDS
@pytest.mark.parametrize("length", [10, 11, 12, 17])
def test_padding_at_the_end_changes_nothing(arguments, length):
    short, long = (build("conv1d", sequence_length=n, **SIZES | arguments) for n in (9, length))
    drawn(short), drawn(long)
    np.testing.assert_allclose(outputs(long, texts(length)), outputs(short, texts(9)), rtol=1e-5, atol=1e-6)


def test_padding_changes_no_statistics_either():
    """What batch normalisation learns in training is of the words alone."""
    learnt = []
    for length in (9, 14):
        model = build("conv1d", sequence_length=length, **SIZES | {"norm": "batch"})
        drawn(model)
        model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        model.fit(texts(length), np.array([0, 1, 0, 1, 0]), batch_size=5, epochs=2, shuffle=False, verbose=0)
        learnt.append({w.path: keras.ops.convert_to_numpy(w) for w in model.weights})
    for path, values in learnt[0].items():
        np.testing.assert_allclose(learnt[1][path], values, rtol=1e-4, atol=1e-5, err_msg=path)


def convolution(x, kernel, bias):
    """A convolution that sees zeros beyond both ends, (T, C) -> (T, F), window by window."""
    size = len(kernel)
    left = (size - 1) // 2
    x = np.pad(x, ((left, size - 1 - left), (0, 0)))
    return np.array([np.tensordot(x[t : t + size], kernel, axes=2) for t in range(len(x) - size + 1)]) + bias


@pytest.mark.parametrize("stacked", [True, False])
def test_it_is_convolutions_and_maxima(stacked):
    model = build("conv1d", sequence_length=12, **SIZES | {"stacked": stacked})
    w = drawn(model)

    def layer(name, x):
        return np.maximum(convolution(x, w[f"{name}/kernel"], w[f"{name}/bias"]), 0)

    wanted = []
    for row in texts(12):
        x = w["embedding/embeddings"][row[row > 0]]
        y = layer("conv1", x)
        if stacked:
            y = np.array([y[t : t + 3].max(axis=0) for t in range(0, len(y), 3)])
            features = layer("conv2", y).max(axis=0)
        else:
            features = np.concatenate([y.max(axis=0), layer("conv2", x).max(axis=0)])
        wanted.append(features @ w["logits/kernel"] + w["logits/bias"])
    np.testing.assert_allclose(outputs(model, texts(12)), wanted, rtol=1e-4, atol=1e-5)


def test_pooling_leaves_the_last_words_in():
    """Seven positions in threes are three: the last window holds one word."""
    x = -np.arange(1.0, 15.0).reshape(1, 7, 2).astype("float32")  # negative, so that a zero of padding would win
    inputs, words = keras.Input((7, 2)), keras.Input((7,), dtype="bool")
    found = keras.Model([inputs, words], list(pooled(inputs, words, 3, name="pool")))([x, np.array([[True] * 7])])
    values, present = (keras.ops.convert_to_numpy(part) for part in found)
    assert values.tolist() == [[[-1, -2], [-7, -8], [-13, -14]]]
    assert present.tolist() == [[True, True, True]]


def test_published_sizes():
    assert build_empty("conv1d").count_params() == 1_315_937  # Chollet's summary of the model on IMDB
    kim = 10_000 * 300 + (3 + 4 + 5) * 300 * 100 + 3 * 100 + 3 * 100 + 1
    assert build_empty("conv1d_kim").count_params() == kim


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel_sizes": ()}, "`kernel_sizes` needs at least one width"),
        ({"kernel_sizes": (3, 0)}, r"`kernel_sizes\[1\]` must be a whole number of at least 1"),
        ({"norm": "group"}, "`norm` must be one of 'batch', 'layer', None"),
        ({"activation": "tanh"}, "`activation` must be one of 'relu', 'gelu', 'silu'"),
        ({"pool_size": 0}, "`pool_size` must be"),
        ({"drop_rate": 1.0}, "`drop_rate` must be at least 0 and below 1"),
        ({"sequence_length": 0}, "`sequence_length` must be"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        build("conv1d", **arguments)
