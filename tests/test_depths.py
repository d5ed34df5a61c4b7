"""The depth of each layer, which layer-wise learning rates and gradual unfreezing go by."""

import keras
import pytest
from keras import layers

import zoo
from zoo.depths import layer_groups, variable_depths

VIT = {"image_shape": (8, 8, 1), "patch_size": 4, "depth": 2, "embed_dim": 8, "num_heads": 2}


def weighty(model):
    """Returns the names of the layers with weights, group by group."""
    return [[layer.name for layer in group if layer.weights] for group in layer_groups(model)]


def test_a_vit_is_its_stem_its_blocks_and_its_head():
    groups = weighty(zoo.build("vit", **VIT))
    assert len(groups) == 4
    assert set(groups[0]) == {"patch_embedding", "class_token", "position_embedding"}
    for i in (1, 2):
        assert {name.partition("_")[0] for name in groups[i]} == {f"block{i}"}
    assert groups[3][-1] == "logits"
    assert not any(name.startswith("block") for name in groups[3])  # a last norm stands with the head


def test_a_resnet_is_its_stem_its_units_and_its_head():
    groups = weighty(zoo.build("resnet20"))
    units = [f"stage{s}_block{b}" for s in (1, 2, 3) for b in (1, 2, 3)]
    for group, start in zip(groups, ("stem", *units, "logits"), strict=True):
        assert [name for name in group if name.startswith(start)] == group != []


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("lstm", [["embedding"], ["lstm1"], ["logits"]]),
        ("siamese", [["embedding"], ["lstm"], ["logits"]]),  # called twice
        ("gru_lm", [["embedding"], ["gru_lm1"], ["gru_lm2"], ["logits"]]),
        ("softmax", [["logits"]]),
    ],
)
def test_plain_nets(name, wanted):
    assert weighty(zoo.build(name)) == wanted


def test_what_stands_side_by_side_shares_a_depth():
    assert set(weighty(zoo.build("multihead_tabular"))[-1]) == {"age", "gender", "income"}
    wide_deep = weighty(zoo.build("wide_deep"))
    assert wide_deep[:4] == [["embedding"], ["deep1"], ["deep2"], ["deep3"]]
    assert set(wide_deep[4]) == {"wide_weights", "deep_logits"}


def test_nets_with_names_that_keras_chose_go_layer_by_layer():
    given = keras.Input((8, 8, 3))
    stack = [layers.Conv2D(4, 3), layers.BatchNormalization(), layers.Conv2D(4, 3), layers.Flatten(), layers.Dense(3)]
    model = keras.Sequential([given, *stack])
    groups = layer_groups(model)
    assert [[layer for layer in group if layer.weights] for group in groups] == [stack[:2], [stack[2]], [stack[4]]]
    outer = keras.Input((8, 8, 3))
    head = layers.Dense(2)
    groups = layer_groups(keras.Model(outer, head(model(outer))))  # a nested backbone is opened
    wanted = [stack[:2], [stack[2]], [stack[4]], [head]]
    assert [[layer for layer in group if layer.weights] for group in groups] == wanted


@pytest.mark.parametrize("name", ["vit", "resnet20", "inception_v3", "stereo", "price", "qa", "wgan", "skipgram"])
def test_every_layer_has_one_depth_and_every_depth_weights(name):
    model = zoo.build(name)
    groups = layer_groups(model)
    found = [layer for group in groups for layer in group]
    assert len(found) == len({id(layer) for layer in found})
    assert all(any(layer.weights for layer in group) for group in groups)
    depths, count = variable_depths(model)
    assert set(depths) == {v.path for v in model.trainable_variables}
    assert set(depths.values()) == set(range(count))
