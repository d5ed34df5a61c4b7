"""The order of every batch is fixed by seed and epoch number, whatever feeds it and wherever training starts."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import zoo.data
from zoo.data import feed as feeding
from zoo.data.base import ArraySplit
from zoo.data.feed import feed, plain_errors, steps_per_epoch
from zoo.errors import DataError, InvalidArgument, MissingDependency


@pytest.fixture
def split():
    """23 one-pixel images, each holding its own index, labelled by it."""
    declared = {"kind": "image", "image_shape": [1, 1, 1], "scale": 1.0}
    return ArraySplit(np.arange(23, dtype=np.uint8).reshape(-1, 1, 1, 1), np.arange(23), declared)


@pytest.fixture(params=["tf.data", "PyDataset"])
def engine(request, monkeypatch):
    if request.param == "PyDataset":
        monkeypatch.setattr(feeding, "_has_tensorflow", lambda: False)
    return request.param


def seen(data):
    return [np.asarray(y).tolist() for _, y in data]


def test_each_epoch_has_its_own_known_order(split, engine):
    batches = seen(feed(split, 5, seed=7, epochs=3))
    for epoch in range(3):
        order = np.random.default_rng([7, epoch]).permutation(23).tolist()
        assert np.concatenate(batches[epoch * 5 : epoch * 5 + 5]).tolist() == order
    assert [len(b) for b in batches] == [5, 5, 5, 5, 3] * 3


def test_inputs_go_with_their_labels(split, engine):
    for x, y in feed(split, 5, seed=1):
        assert np.asarray(x).dtype == np.float32
        np.testing.assert_array_equal(np.asarray(x)[:, 0, 0, 0], np.asarray(y))


def test_a_later_start_gives_the_same_batches(split, engine):
    assert seen(feed(split, 4, seed=3, epochs=5, initial_epoch=2)) == seen(feed(split, 4, seed=3, epochs=5))[12:]


def test_without_seed_in_order(split, engine):
    assert seen(feed(split, 10)) == [list(range(10)), list(range(10, 20)), [20, 21, 22]]


def test_remainder_can_be_dropped(split, engine):
    assert [len(b) for b in seen(feed(split, 10, seed=0, epochs=2, drop_remainder=True))] == [10] * 4
    assert steps_per_epoch(split, 10, drop_remainder=True) == 2
    assert steps_per_epoch(split, 10) == 3


def test_static_shapes(split):
    pytest.importorskip("tensorflow")
    assert feed(split, 10).element_spec[0].shape.as_list() == [None, 1, 1, 1]
    assert feed(split, 10, drop_remainder=True).element_spec[0].shape.as_list() == [10, 1, 1, 1]
    assert feed(split, 23).element_spec[1].shape.as_list() == [23]


def test_augmentation_is_exact_on_resume(split):
    tf = pytest.importorskip("tensorflow")

    def noise(images, labels, seeds):
        return images + tf.random.stateless_uniform(tf.shape(images), seeds), labels

    def run(**options):
        return [np.asarray(x) for x, _ in feed(split, 5, seed=2, augment=(noise, noise), **options)]

    whole, later = run(epochs=4), run(epochs=4, initial_epoch=2)
    for a, b in zip(whole[10:], later, strict=True):
        np.testing.assert_array_equal(a, b)
    labels = np.concatenate(seen(feed(split, 5, seed=2, epochs=4)))
    added = np.concatenate(whole)[:, 0, 0, 0] - labels
    assert len(np.unique(added.round(5))) > 85  # two draws, each from a seed of its own, for 92 images
    assert added.max() > 1.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "`batch_size` must be a positive whole number. Received: 0"),
        ({"batch_size": 24, "drop_remainder": True}, "not one full batch"),
        ({"batch_size": 4, "epochs": 2, "initial_epoch": 2}, r"Received: \(2, 2\)"),
        ({"batch_size": 4, "seed": -1}, "`seed` must be a whole number that is not negative"),
        ({"batch_size": 4, "augment": (print,)}, "augmentation needs a seed"),
    ],
)
def test_bad_arguments(split, options, message):
    with pytest.raises(InvalidArgument, match=message):
        feed(split, **options)


def test_augmentation_without_tensorflow(split, monkeypatch):
    monkeypatch.setattr(feeding, "_has_tensorflow", lambda: False)
    with pytest.raises(MissingDependency, match="needs TensorFlow"):
        feed(split, 4, seed=0, augment=(print,))


def fitted(data, **options):
    """Returns the running mean of the loss at each step of a model that never changes: a trace of the batches."""
    import keras

    image = keras.Input((1, 1, 1))
    output = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(keras.layers.Flatten()(image))
    model = keras.Model(image, output)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    losses = []
    record = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(float(logs["loss"])))
    model.fit(data, verbose=0, callbacks=[record], **options)
    return losses


def traced(seed, epochs, n=23, batch_size=5):
    """Returns what `fitted` must return for images 0 to n - 1 with target 0: the mean of their squares."""
    losses = []
    for epoch in epochs:
        squares = np.random.default_rng([seed, epoch]).permutation(n).astype(float) ** 2
        losses += [squares[: i + batch_size].mean() for i in range(0, n, batch_size)]
    return losses


@pytest.fixture
def zeros():
    """The images of `split`, all labelled 0."""
    pixels = np.arange(23, dtype=np.uint8).reshape(-1, 1, 1, 1)
    return ArraySplit(pixels, np.zeros(23), {"kind": "image", "scale": 1.0})


def test_fit_sees_these_batches_in_this_order(zeros, engine):
    import keras

    if engine == "PyDataset" and keras.backend.backend() == "tensorflow":
        pytest.skip("the TensorFlow backend always has TensorFlow")
    steps = steps_per_epoch(zeros, 5)
    whole = fitted(feed(zeros, 5, seed=4, epochs=4), epochs=4, steps_per_epoch=steps, shuffle=False)
    np.testing.assert_allclose(whole, traced(4, range(4)), rtol=1e-5)
    later = {"epochs": 4, "initial_epoch": 2}
    resumed = fitted(feed(zeros, 5, seed=4, **later), steps_per_epoch=steps, shuffle=False, **later)
    np.testing.assert_allclose(resumed, traced(4, range(2, 4)), rtol=1e-5)


def test_evaluation_in_every_epoch(zeros, engine):
    data = feed(zeros, 5, seed=4, epochs=3)
    losses = fitted(data, epochs=3, steps_per_epoch=5, shuffle=False, validation_data=feed(zeros, 5))
    np.testing.assert_allclose(losses, traced(4, range(3)), rtol=1e-5)


def test_keras_must_not_shuffle_the_batches_again(zeros, monkeypatch):
    monkeypatch.setattr(feeding, "_has_tensorflow", lambda: False)
    data = feed(zeros, 1, seed=4)
    data[0], data[1], data[0]
    with pytest.raises(InvalidArgument, match=r"batch 5 was asked for after batch 0. .*shuffle=False"):
        data[5]


def test_an_error_inside_a_batch_comes_out_as_itself(tmp_path):
    pytest.importorskip("tensorflow")
    from PIL import Image

    for i in range(12):
        folder = tmp_path / "pictures" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), i).save(folder / f"{i}.png")
    data = zoo.data.load(tmp_path / "pictures")
    everything = [feed(split, 4) for split in data.splits.values()]
    gone = Path(data.train.paths[1])  # the first was read to know the shape
    gone.unlink()
    with pytest.raises(DataError, match=rf"image '{gone.name}' cannot be read \(it is not there\)"), plain_errors():
        list(map(seen, everything))


MEMORY = """
import resource, sys
import numpy as np
import zoo.data
from zoo.data.feed import feed

data = zoo.data.load(sys.argv[1])
for _ in feed(data.train, 64, seed=0):
    pass
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in feed(data.train, 64, seed=0, epochs=3):
    pass
print(len(data.train), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units elsewhere")
def test_memory_stays_flat_for_a_folder(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(3000):
        folder = tmp_path / "pictures" / "ab"[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (96, 96, 3), np.uint8)).save(folder / f"{i}.jpg")
    command = [sys.executable, "-c", MEMORY, str(tmp_path / "pictures")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ}).stdout
    count, grown = map(int, printed.split())
    # Held in memory, the training part would be 2,100 x 96 x 96 x 3 float32 = 221 MiB.
    assert count == 2100
    assert grown < 100_000, f"{grown} KiB more after three epochs"  # the images together have 226,000
