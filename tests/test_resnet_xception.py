"""Residual networks and Xception against other people's, and what their switches do."""

import json
import math

import keras
import numpy as np
import pytest
from test_golden import golden_tensor, predict, torch_name

from zoo.errors import InvalidArgument
from zoo.factory import build, build_empty
from zoo.hub.convert import keras_applications, timm

TINY = {"blocks": (1, 2), "image_shape": (8, 8, 3), "filters": 4, "num_classes": 3}
TINY_XCEPTION = {
    "stem_filters": (4, 6),
    "entry_filters": (8,),
    "middle_blocks": 2,
    "exit_filters": (8, 8, 8),
    "image_shape": (8, 8, 3),
    "num_classes": 3,
}


def trainable(model):
    return sum(math.prod(w.shape) for w in model.trainable_variables)


@pytest.mark.parametrize(
    ("name", "application", "size"),
    [("resnet50v2", "ResNet50V2", 64), ("xception", "Xception", 75)],
)
def test_equals_keras_applications(name, application, size):
    """With random weights everywhere, batch-norm statistics and convolution biases included."""
    theirs = getattr(keras.applications, application)(
        weights=None, input_shape=(size, size, 3), classes=10, classifier_activation="linear"
    )
    for weight in theirs.weights:
        weight.assign(golden_tensor(torch_name(weight.path), tuple(weight.shape)))
    model = build_empty(name, flavour="keras", image_shape=(size, size, 3), num_classes=10)
    assert trainable(model) == trainable(theirs)
    keras_applications.load(model, theirs)
    images = np.random.default_rng(0).standard_normal((2, size, size, 3)).astype("float32")
    wanted = predict(theirs, images)
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(predict(model, images), wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.data
def test_xception_equals_timm(zoo_golden):
    golden = json.loads((zoo_golden / "legacy_xception.json").read_text("utf-8"))
    model = build_empty("xception", flavour="torch", num_classes=10)
    assert trainable(model) == golden["parameters"]
    timm.load(model, {n: golden_tensor(n, shape) for n, shape in golden["tensors"].items()})
    shape, seed = golden["input"]["shape_nchw"], golden["input"]["seed"]
    images = np.random.default_rng(seed).standard_normal(shape).astype("float32").transpose(0, 2, 3, 1)
    worst = np.abs(predict(model, images) - np.array(golden["logits"])).max()
    print(f"legacy_xception: {worst:.2e}, float32_error {golden['float32_error']:.2e}")
    assert worst <= 50 * golden["float32_error"]


@pytest.mark.parametrize("flavour", ["torch", "keras"])
def test_pre_activation_keeps_the_shortcut_untouched(flavour):
    """He et al. 2016, equation 5: with branches that give zero, the stream passes every block unchanged."""
    model = build("resnet20v2", **TINY | {"blocks": (3,), "flavour": flavour})
    for layer in model.layers:
        if layer.name.endswith("_2_conv"):
            layer.kernel.assign(np.zeros(layer.kernel.shape, "float32"))
    first, last = (model.get_layer(f"stage1_block{i}_add").output for i in (1, 3))
    inside = keras.Model(model.inputs, [first, last])
    images = np.random.default_rng(0).standard_normal((2, 8, 8, 3)).astype("float32")
    first, last = map(keras.ops.convert_to_numpy, inside(keras.ops.convert_to_tensor(images)))
    assert np.abs(first).max() > 0.1
    np.testing.assert_array_equal(first, last)


@pytest.mark.parametrize(("name", "tiny"), [("resnet20", TINY), ("resnet20v2", TINY), ("xception", TINY_XCEPTION)])
def test_switches(name, tiny):
    model = build_empty(name, **tiny)
    assert any(isinstance(layer, keras.layers.Add) for layer in model.layers)
    plain = build_empty(name, **tiny, shortcut=None)
    assert not any(isinstance(layer, keras.layers.Add) for layer in plain.layers)
    bare = build_empty(name, **tiny, norm=None)
    assert not any("norm" in w.path for w in bare.weights)
    convolutions = [layer for layer in bare.layers if layer.name.endswith("_conv")]
    assert convolutions
    assert all(layer.use_bias for layer in convolutions)
    ordinary, separable = (trainable(build_empty(name, **tiny, separable=s)) for s in (False, True))
    assert separable < ordinary
    features = build_empty(name, **tiny, include_top=False)
    assert features.layers[-1].name == "pool"
    assert trainable(features) == trainable(model) - 3 * (features.output_shape[-1] + 1)
    assert build_empty(name, **tiny, activation="gelu", norm="group").count_params() < model.count_params()


@pytest.mark.parametrize(("name", "tiny"), [("resnet20v2", TINY), ("xception", TINY_XCEPTION)])
def test_drop_path_skips_whole_branches_and_grows(name, tiny):
    blocks = {"blocks": (3,)} if name == "resnet20v2" else {"middle_blocks": 3}
    model = build(name, **tiny | blocks, drop_path_rate=0.5)
    layers = [layer for layer in model.layers if layer.name.endswith("_drop_path")]
    assert [layer.rate for layer in layers] == [0.25, 0.5]
    inside = keras.Model(model.inputs, [layers[-1].input, layers[-1].output])
    images = keras.ops.convert_to_tensor(np.random.default_rng(0).standard_normal((64, 8, 8, 3)).astype("float32"))
    before, after = map(keras.ops.convert_to_numpy, inside(images, training=True))
    dropped = ~np.any(after, axis=(1, 2, 3))
    assert 16 < dropped.sum() < 48
    np.testing.assert_allclose(after[~dropped], before[~dropped] / 0.5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnet50", {"image_shape": (31, 64, 3)}, r"at least 32 x 32.*smallest that works: \(32, 64, 3\)"),
        ("resnet20", {"version": 3}, "`version` must be one of 1, 2"),
        ("resnet20", {"norm": "instance"}, "`norm` must be one of 'batch'"),
        ("resnet20", {"shortcut": None, "drop_path_rate": 0.1}, "nothing remains where `drop_path_rate` drops"),
        ("resnet20", {"drop_path_rate": 1.0}, "`drop_path_rate` must be at least 0 and below 1"),
        ("xception", {"image_shape": (16, 16, 3)}, "at least 32 x 32"),
        ("xception", {"flavour": "tf"}, "`flavour` must be one of 'torch', 'keras'"),
        ("xception", {"exit_filters": (8, 8)}, "`exit_filters` needs 3 numbers"),
        ("xception", {"entry_filters": ()}, "`entry_filters` needs a number"),
        ("xception", {"middle_blocks": -1}, "`middle_blocks` must be"),
        ("xception", {"shortcut": "pad"}, "`shortcut` must be one of 'projection', None"),
        ("xception", {"activation": "swish"}, "`activation` must be one of"),
    ],
)
def test_wrong_arguments(name, arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        build(name, **arguments)
