"""Our networks against other people's, with the same weights in both."""

import json
import math
import zlib

import keras
import numpy as np
import pytest
from safetensors.numpy import save_file

import zoo
from zoo.errors import InvalidArgument
from zoo.factory import build_empty
from zoo.hub.convert import keras_applications, timm


def golden_tensor(name, shape):
    """A tensor by the rules of the golden files: its values follow from its name."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    last = name.rpartition(".")[2]
    if last == "num_batches_tracked":
        return np.zeros(shape, "int64")
    if last == "running_var" or (last == "weight" and len(shape) == 1):
        value = rng.uniform(0.5, 1.5, shape)
    elif last in ("running_mean", "bias"):
        value = 0.1 * rng.standard_normal(shape)
    elif last == "weight":
        value = rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))
    else:
        value = 0.02 * rng.standard_normal(shape)
    return value.astype("float32")


def predict(model, images):
    return keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(images), training=False))


TRANSFORMERS = {
    "model_type": "vit",
    "architectures": ["ViTForImageClassification"],
    "hidden_size": 192,
    "num_attention_heads": 3,
    "intermediate_size": 768,
    "id2label": {str(i): f"class {i}" for i in range(10)},
}


@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "config", "name"),
    [
        ("vit_tiny_patch16_224", {"architecture": "vit_tiny_patch16_224"}, "vit_tiny"),
        ("resnet50", {"architecture": "resnet50"}, "resnet50"),
        ("inception_v3", {"architecture": "inception_v3"}, "inception_v3"),
        ("legacy_xception", {"architecture": "legacy_xception"}, "xception"),
        ("transformers_vit_tiny", TRANSFORMERS, "vit_tiny"),
    ],
    ids=["vit_tiny", "resnet50", "inception_v3", "legacy_xception", "transformers"],
)
def test_converted_logits(zoo_golden, tmp_path, file, config, name):
    """A repository with these tensors, converted as a whole, gives the logits that the other library computed."""
    golden = json.loads((zoo_golden / f"{file}.json").read_text("utf-8"))
    shape, seed = golden["input"]["shape_nchw"], golden["input"]["seed"]
    if "architecture" in config:
        config = config | {"num_classes": 10, "pretrained_cfg": {"input_size": shape[1:], "license": "apache-2.0"}}
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    save_file({n: golden_tensor(n, s) for n, s in golden["tensors"].items()}, tmp_path / "model.safetensors")
    model = zoo.convert(tmp_path)
    assert model.zoo_spec.name == name
    assert sum(math.prod(w.shape) for w in model.trainable_variables) == golden["parameters"]
    images = np.random.default_rng(seed).standard_normal(shape).astype("float32").transpose(0, 2, 3, 1)
    worst = np.abs(predict(model, images) - np.array(golden["logits"])).max()
    print(f"{file}: {worst:.2e}, float32_error {golden['float32_error']:.2e}")
    assert worst <= 50 * golden["float32_error"]


def small_vit():
    arguments = {"image_shape": (8, 8, 1), "patch_size": 4, "embed_dim": 8, "depth": 2, "num_heads": 2}
    return build_empty("vit_tiny", num_classes=3, **arguments)


def timm_tensors(model):
    """Random tensors in timm's names and layouts for every weight of a model."""
    shapes = {w.path: tuple(w.shape) for w in model.weights}
    back = {4: (3, 2, 0, 1), 2: (1, 0)}
    torch = {p: tuple(s[i] for i in back.get(len(s), range(len(s)))) for p, s in shapes.items()}
    return {name: golden_tensor(name, torch[path]) for path, name in timm.name_map(model).items()}


def test_every_tensor_is_used_exactly_once():
    model = small_vit()
    tensors = timm_tensors(model)
    names = list(timm.name_map(model).values())
    assert len(names) == len(set(names)) == len(model.weights)
    timm.load(model, tensors | {"bn.num_batches_tracked": np.zeros(())})
    kernel = model.get_layer("block2_attention_qkv").kernel
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(kernel), tensors["blocks.1.attn.qkv.weight"].T)


def test_tensors_that_do_not_fit_are_named_and_nothing_changes():
    model = small_vit()
    tensors = timm_tensors(model)
    missing = {n: v for n, v in tensors.items() if n != "head.bias"}
    with pytest.raises(InvalidArgument, match=r"missing 'head\.bias'"):
        timm.load(model, missing)
    with pytest.raises(InvalidArgument, match=r"left over 'fc_norm\.weight'"):
        timm.load(model, tensors | {"fc_norm.weight": np.ones(8)})
    with pytest.raises(InvalidArgument, match=r"'head\.bias' has shape \(10,\) where 'logits/bias' is \(3,\)"):
        timm.load(model, tensors | {"head.bias": np.ones(10)})
    assert not any(np.any(keras.ops.convert_to_numpy(w)) for w in model.weights)


def test_a_flavour_that_would_compute_something_else_is_refused():
    arguments = {"image_shape": (32, 32, 3), "filters": 4, "num_classes": 3}
    with pytest.raises(InvalidArgument, match="flavour"):
        timm.load(build_empty("resnet50", flavour="keras", **arguments), {})
    with pytest.raises(InvalidArgument, match="flavour"):
        keras_applications.load(build_empty("resnet50", **arguments), keras.Sequential())


def test_resnet50_equals_keras_applications():
    """With random weights everywhere, batch-norm statistics and convolution biases included."""
    theirs = keras.applications.ResNet50(
        weights=None, input_shape=(64, 64, 3), classes=10, classifier_activation="linear"
    )
    for weight in theirs.weights:
        weight.assign(golden_tensor(torch_name(weight.path), tuple(weight.shape)))
    model = build_empty("resnet50", flavour="keras", image_shape=(64, 64, 3), num_classes=10)
    keras_applications.load(model, theirs)
    images = np.random.default_rng(0).standard_normal((2, 64, 64, 3)).astype("float32")
    wanted = predict(theirs, images)
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(predict(model, images), wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def torch_name(path):
    """A name whose last part tells `golden_tensor` which distribution suits the weight."""
    endings = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
    layer, _, variable = path.rpartition("/")
    return f"{layer}.{endings.get(variable, variable if variable == 'bias' else 'weight')}"
