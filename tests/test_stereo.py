"""Depth from two cameras: the shared backbone, and the generated scenes."""

import keras
import numpy as np
import pytest

from zoo import data
from zoo.data.sets import stereo_shapes
from zoo.errors import InvalidArgument, UnknownName
from zoo.factory import build, build_empty
from zoo.flops import count_flops

TINY = {"image_shape": (8, 8, 3), "filters": 4, "units": 8}


def numpy(x):
    return keras.ops.convert_to_numpy(x)


def pictures(seed=0, count=3):
    shape = (count, 8, 8, 3)
    return keras.ops.convert_to_tensor(np.random.default_rng(seed).standard_normal(shape).astype("float32"))


@pytest.mark.parametrize("backbone", ["separable", "resnet20"])
def test_the_backbone_is_shared_and_counted_once(backbone):
    model = build_empty("stereo", backbone=backbone, **TINY)
    alone = build_empty(backbone, image_shape=(8, 8, 3), include_top=False)
    head = [w for w in model.weights if w.path.partition("/")[0] in ("mixed", "compared", "depth")]
    assert model.count_params() == alone.count_params() + sum(int(np.prod(w.shape)) for w in head)
    assert len({w.path for w in model.weights}) == len(model.weights)
    assert count_flops(model) > 2 * count_flops(alone)  # it works twice all the same


def test_both_pictures_meet_the_same_features():
    model = build("stereo", backbone="separable", **TINY)
    joined = keras.Model(model.inputs, model.get_layer("joined").output)
    a, b = pictures(0), pictures(1)
    there, back = (numpy(joined({"left": x, "right": y}, training=False)) for x, y in ((a, b), (b, a)))
    half = there.shape[-1] // 2
    assert np.abs(there[..., :half] - there[..., half:]).max() > 1e-3
    np.testing.assert_array_equal(there[..., :half], back[..., half:])
    np.testing.assert_array_equal(there[..., half:], back[..., :half])
    depths = [numpy(model({"left": x, "right": y}, training=False)) for x, y in ((a, b), (b, a))]
    assert np.abs(depths[0] - depths[1]).max() > 1e-4  # the order matters: behind the cameras is nothing


def test_a_backbone_without_maps_gives_its_features():
    model = build_empty("stereo", backbone="vit_tiny", image_shape=(16, 16, 3), filters=4, units=8)
    assert model.get_layer("joined").output.shape == (None, 2 * 192)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"backbone": "xception_smal"}, UnknownName, "Did you mean 'xception_small'"),
        ({"backbone": "lstm"}, InvalidArgument, "`backbone` 'lstm' cannot be used without its head.*xception_small"),
        ({"image_shape": (4, 4, 3)}, InvalidArgument, r"smallest that works: \(8, 8, 3\)"),
        ({"image_shape": (32, 32)}, InvalidArgument, "three positive whole numbers"),
        ({"units": 0}, InvalidArgument, "`units` must be a whole number of at least 1"),
        ({"drop_rate": 1.0}, InvalidArgument, "`drop_rate` must be"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        build("stereo", **arguments)


# The scenes


def test_scenes_are_the_same_everywhere_and_differ_by_seed():
    first, again, other = (stereo_shapes.generate(4, seed) for seed in (0, 0, 1))
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.array_equal(a, c)
    np.testing.assert_array_equal(stereo_shapes.generate(6, 0)[0][:4], first[0])


def test_a_shape_is_shifted_by_the_disparity_of_its_depth():
    """A white ellipse on black: the middles of its two pictures are focal length x baseline / depth apart."""
    black, white = np.zeros((8, 8, 3)), np.full((8, 8, 3), 255.0)
    columns = np.arange(stereo_shapes.SIDE)
    for depth in (1.0, 2.5, 4.0):
        scene = [(stereo_shapes.WALL, None, black), (depth, (True, 16.0, 15.5, 6.0, 6.5), white)]
        middles = []
        for side in (0.5, -0.5):
            mass = stereo_shapes._seen(scene, side).sum(axis=(0, 2)).astype(float)
            middles.append((mass * columns).sum() / mass.sum())
        assert middles[0] - middles[1] == pytest.approx(10 / depth, abs=0.05)


def test_the_data_set():
    scenes = data.load("stereo_shapes", examples=100, seed=3)
    assert [len(part) for part in (scenes.train, scenes.validation, scenes.test)] == [70, 10, 20]
    x, y = scenes.train.batch(np.arange(3))
    assert {name: part.shape for name, part in x.items()} == {"left": (3, 32, 32, 3), "right": (3, 32, 32, 3)}
    assert x["left"].dtype == np.float32
    assert 0 <= x["left"].min() < x["left"].max() <= 1
    assert y.shape == (3, 1)
    everything = scenes.train.arrays()[1]
    assert everything.mean() == pytest.approx(0, abs=1e-5)
    assert everything.std() == pytest.approx(1, abs=1e-5)
    scale = scenes.labels["depth"]
    metres = everything * scale["std"] + scale["mean"]
    assert 1 <= metres.min() < metres.max() <= 4
    with pytest.raises(InvalidArgument, match="`examples` must be 100 to 50,000"):
        data.load("stereo_shapes", examples=10)
