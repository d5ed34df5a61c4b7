"""Building puts off first values: they stay the same, and no builder loses what it sets."""

import keras
import numpy as np
import pytest
from cases import HIGHWAY, NIN

import zoo
from zoo import registry
from zoo.factory import build


def values(model):
    return {v.path: keras.ops.convert_to_numpy(v) for v in model.weights}


@pytest.mark.parametrize(("name", "arguments"), [("nin", NIN | {"norm": "batch"}), ("highway10", HIGHWAY)])
def test_first_values_are_those_of_the_builder_alone(name, arguments):
    builder, _ = registry.builder_of(name)
    keras.utils.set_random_seed(4)
    alone = builder.function(**builder.variants[name] | arguments)
    keras.utils.set_random_seed(4)
    built = build(name, **arguments)
    assert values(alone).keys() == values(built).keys()
    for expected, found in zip(alone.variables, built.variables, strict=True):  # the seeds of dropout among them
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (found, expected)))


def test_weights_that_a_users_builder_sets_are_kept(monkeypatch):
    for table in ("_builders", "_variants"):
        monkeypatch.setattr(registry, table, dict(getattr(registry, table)))

    @zoo.register("sevens", task="image_classification", variants={"sevens": {}})
    def sevens(*, num_classes: int = 2):
        image = keras.Input((3,), name="image")
        layer = keras.layers.Dense(num_classes, name="logits")
        logits = layer(image)
        layer.kernel.assign(keras.ops.full((3, num_classes), 7.0))
        return keras.Model(image, logits)

    np.testing.assert_array_equal(values(zoo.build("sevens"))["logits/kernel"], np.full((3, 2), 7.0))
