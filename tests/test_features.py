"""Features of every backbone: pooled, by stage, of a named layer; as layers of other models."""

import functools
import math

import keras
import numpy as np
import pytest
from cases import CASES
from test_golden import predict

import zoo
from zoo.errors import InvalidArgument, UnknownName
from zoo.factory import build, build_empty
from zoo.registry import find_model, list_models

IMAGES = [c for c in CASES if find_model(c.name).task == "image_classification"]
NO_FEATURES = ("skipgram", "cbow")  # their layers read ids and give what the loss needs
BACKBONES = [
    c
    for c in IMAGES
    if "include_top" in find_model(c.name).arguments and not c.arguments.get("aux")  # a second head
]


@functools.cache
def built(case_id):
    keras.utils.set_random_seed(1)
    case = next(c for c in CASES if str(c) == case_id)
    return build(case.name, **case.arguments)


def images(case, size=3):
    return np.random.default_rng(0).standard_normal((size, *case.input_shape)).astype("float32")


def values(model):
    return {w.path: keras.ops.convert_to_numpy(w) for w in model.weights}


def numbers(outputs):
    return {name: keras.ops.convert_to_numpy(x) for name, x in outputs.items()}


def test_every_image_model_but_the_linear_one_has_include_top():
    rows = list_models(task="image_classification")
    assert {row.family for row in rows if "include_top" not in row.arguments} == {"softmax"}


@pytest.mark.parametrize("case", BACKBONES, ids=str)
def test_a_backbone_is_the_model_without_its_head(case):
    whole = built(str(case))
    backbone = build_empty(case.name, **case.arguments | {"include_top": False})
    assert len(backbone.output_shape) == 2
    assert "logits" not in {layer.name for layer in backbone.layers}
    shared = values(whole)
    assert values(backbone).keys() <= shared.keys()
    for weight in backbone.weights:
        weight.assign(shared[weight.path])
    x = images(case)
    found = predict(backbone, x)
    assert np.isfinite(found).all()
    features = zoo.features(whole)(keras.ops.convert_to_tensor(x), training=False)
    np.testing.assert_allclose(found, numbers(features)["pool"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", [c for c in CASES if not c.id and c.name not in NO_FEATURES], ids=str)
def test_features_share_the_weights_of_the_model(case):
    model = built(str(case))
    features = zoo.features(model)
    assert features.output
    theirs = {w.path: w for w in model.weights}
    assert all(theirs[w.path] is w for w in features.weights)
    assert set(features.output) == set(zoo.features(model).output)


@pytest.mark.parametrize("case", [c for c in CASES if c.name in NO_FEATURES], ids=str)
def test_word_vectors_have_no_features(case):
    with pytest.raises(InvalidArgument, match="neither stages nor features"):
        zoo.features(built(str(case)))


def test_resnet_stages_are_those_of_the_paper():
    model = build_empty("resnet50")
    features = zoo.features(model)
    shapes = {name: tuple(x.shape[1:]) for name, x in features.output.items()}
    assert shapes == {  # table 1
        "stage1": (56, 56, 256),
        "stage2": (28, 28, 512),
        "stage3": (14, 14, 1024),
        "stage4": (7, 7, 2048),
        "pool": (2048,),
    }
    assert features.output["stage2"] is model.get_layer("stage2_block4_relu").output


def test_the_logits_follow_from_the_pooled_features():
    case = next(c for c in CASES if c.name == "lstm")
    model = built(str(case))
    tokens = np.array([[3, 4, 5, 0, 0, 0, 0], [7, 1, 2, 9, 8, 4, 0]], "int32")
    pooled = numbers(zoo.features(model)(tokens, training=False))["pool"]
    weights = values(model)
    np.testing.assert_allclose(
        pooled @ weights["logits/kernel"] + weights["logits/bias"], predict(model, tokens), rtol=1e-5, atol=1e-6
    )


def test_one_layer_by_name_and_a_typo():
    case = next(c for c in CASES if c.name == "vit_tiny")
    model, x = built(str(case)), images(next(c for c in CASES if c.name == "vit_tiny"))
    norm = zoo.features(model, "norm")
    assert norm.output_shape == (None, 5, 8)
    both = zoo.features(model, ["block1", "norm"])
    np.testing.assert_array_equal(numbers(both(x, training=False))["norm"], predict(norm, x))
    with pytest.raises(UnknownName, match=r"no layer of model 'vit' named 'blok2'\. Did you mean 'block2'"):
        zoo.features(model, "blok2")
    with pytest.raises(InvalidArgument, match="has no graph of layers"):
        zoo.features(keras.Sequential())


def test_features_work_as_a_layer_and_shared_layers_count_once():
    case = next(c for c in CASES if str(c) == "resnet20")
    backbone = zoo.features(built(str(case)), "pool")
    left, right = keras.Input(case.input_shape, name="left"), keras.Input(case.input_shape, name="right")
    joined = keras.layers.Concatenate()([backbone(left), backbone(right)])
    model = keras.Model({"left": left, "right": right}, keras.layers.Dense(2, name="logits")(joined))
    width = backbone.output_shape[-1]
    assert model.count_params() == backbone.count_params() + 2 * (2 * width + 1)
    found = zoo.features(model)  # whose features are what both give
    x = images(case)
    pooled = numbers(found({"left": x, "right": x[::-1]}, training=False))["pool"]
    expected = predict(backbone, x)
    np.testing.assert_allclose(pooled, np.concatenate([expected, expected[::-1]], axis=1), rtol=1e-5, atol=1e-6)
    assert found.count_params() == backbone.count_params()
    assert sum(math.prod(w.shape) for w in model.weights) == model.count_params()
