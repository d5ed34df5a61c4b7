"""FLOPs against TensorFlow's profiler, and against formulas by hand where it does not count."""

import keras
import pytest
from keras import layers, ops

from zoo.errors import InvalidArgument
from zoo.factory import build_empty
from zoo.flops import count_flops

PRODUCTS = {"Conv2D", "MatMul", "BatchMatMulV2", "DepthwiseConv2dNative", "Conv2DBackpropInput"}
DIGITS = {"image_shape": (8, 8, 1), "patch_size": 2, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 10}


def profiled(model):
    """FLOPs of the products in one forward pass, as TensorFlow's profiler counts them in the graph."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    spec = tf.TensorSpec((1, *model.input_shape[1:]))
    frozen = convert_variables_to_constants_v2(tf.function(model).get_concrete_function(spec))
    profiler = tf.compat.v1.profiler
    options = profiler.ProfileOptionBuilder(profiler.ProfileOptionBuilder.float_operation()).with_empty_output().build()
    found = profiler.profile(frozen.graph, cmd="op", options=options)
    counts = {}
    while found.children:  # a chain, one kind of operation inside another
        found = found.children[0]
        counts[found.name] = found.float_ops
    return sum(n for name, n in counts.items() if name in PRODUCTS)


def functional(shape, *stack):
    x = inputs = keras.Input(shape)
    for layer in stack:
        x = layer(x)
    return keras.Model(inputs, x)


def convolutional():
    block = functional((8, 8, 6), layers.Conv2D(6, 3, padding="same"), layers.ReLU())
    return functional(
        (16, 16, 3),
        layers.Conv2D(8, 3, strides=2, padding="same"),
        layers.Conv2D(6, 3, padding="same", dilation_rate=2),
        block,
        block,
        layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
        layers.BatchNormalization(),
        layers.SeparableConv2D(10, 3, padding="same"),
        layers.GlobalAveragePooling2D(),
        keras.Sequential([layers.Dense(5, activation="relu"), layers.Dense(2)]),
    )


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's profiler reads its own graphs")
@pytest.mark.parametrize(
    "make",
    [
        convolutional,
        lambda: build_empty("softmax"),
        lambda: build_empty("resnet20"),
        lambda: build_empty("resnet50", image_shape=(64, 64, 3)),
        lambda: functional((8, 8, 3), layers.Conv2DTranspose(4, 4, strides=2, padding="same")),
    ],
    ids=["layers", "softmax", "resnet20", "resnet50", "transposed"],
)
def test_against_the_profiler(make):
    model = make()
    assert count_flops(model) == profiled(model) > 0


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's profiler reads its own graphs")
def test_vision_transformer_against_the_profiler():
    """The profiler does not count Einsum, which TensorFlow's attention is made of: two products of T * T * D."""
    model = build_empty("vit_tiny", **DIGITS)
    tokens, einsum = 17, 2 * 2 * 2 * 17 * 17 * 16
    assert tokens == model.get_layer("position_embedding").output.shape[1]
    learned = 2 * 16 * (1 + tokens)  # class token and position embedding: products with one, also by Einsum
    assert count_flops(model) == profiled(model) + einsum + learned


def test_attention_layer_equals_the_same_in_operations():
    x = keras.Input((7, 12))
    layer = keras.Model(x, layers.MultiHeadAttention(3, 4)(x, x))
    parts = [layers.Reshape((7, 3, 4))(layers.Dense(12)(x)) for _ in range(3)]
    y = layers.Reshape((7, 12))(ops.dot_product_attention(*parts))
    fused = keras.Model(x, layers.Dense(12)(y))
    query, key, value = (ops.transpose(p, (0, 2, 1, 3)) for p in parts)
    y = ops.matmul(ops.softmax(ops.einsum("bhtd,bhsd->bhts", query, key)), value)
    y = layers.Reshape((7, 12))(ops.transpose(y, (0, 2, 1, 3)))
    apart = keras.Model(x, layers.Dense(12)(y))
    by_hand = 4 * 2 * 7 * 12 * 12 + 2 * 2 * 7 * 7 * 12
    assert count_flops(layer) == count_flops(fused) == count_flops(apart) == by_hand


@pytest.mark.parametrize(("cell", "gates"), [("SimpleRNN", 1), ("GRU", 3), ("LSTM", 4)])
def test_recurrent_layers(cell, gates):
    recurrent = getattr(layers, cell)
    steps, width, units = 11, 5, 7
    by_hand = steps * gates * 2 * (width * units + units * units)
    assert count_flops(functional((steps, width), recurrent(units))) == by_hand
    both = functional((steps, width), layers.Bidirectional(recurrent(units)))
    assert count_flops(both) == 2 * by_hand


def test_text_classifiers():
    arguments = {"vocab_size": 50, "sequence_length": 9, "embed_dim": 6, "units": 5}
    assert count_flops(build_empty("lstm", **arguments)) == 9 * 4 * 2 * (6 * 5 + 5 * 5) + 2 * 5
    assert count_flops(build_empty("gru", **arguments)) == 9 * 3 * 2 * (6 * 5 + 5 * 5) + 2 * 5


def test_resnet50_has_the_multiply_adds_of_the_paper():
    """He et al., 2015, table 1: 3.8e9 multiply-adds, with the stride where the paper has it."""
    assert count_flops(build_empty("resnet50", flavour="keras")) == pytest.approx(2 * 3.8e9, rel=0.02)


def test_shapes_with_the_batch_axis_folded_in():
    """A reshape that moves the steps into the batch axis must not lose them."""
    x = keras.Input((6, 4))
    folded = ops.reshape(layers.Dense(3)(ops.reshape(x, (-1, 4))), (-1, 6, 3))
    assert count_flops(keras.Model(x, folded)) == 6 * 2 * 4 * 3
    spread = functional((6, 4), layers.TimeDistributed(layers.Dense(3)))
    assert count_flops(spread) == 6 * 2 * 4 * 3


def test_einsum_dense_with_ellipsis():
    model = functional((6, 5, 4), layers.EinsumDense("...x,xy->...y", output_shape=3))
    assert count_flops(model) == 2 * 6 * 5 * 4 * 3


class Unknown(layers.Layer):
    """A layer with a product that nobody told `zoo.flops` about."""

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], 2), name="kernel")

    def call(self, x):
        return ops.matmul(x, self.kernel)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 2)


def test_what_cannot_be_counted_is_refused():
    with pytest.raises(InvalidArgument, match="Unknown"):
        count_flops(functional((4,), Unknown()))
    with pytest.raises(InvalidArgument, match="fixed input shapes"):
        count_flops(functional((None, 4), layers.Dense(2)))
    with pytest.raises(InvalidArgument, match="no graph"):
        count_flops(keras.Sequential())
    x = keras.Input((3, 4))
    with pytest.raises(InvalidArgument, match="Tensordot"):
        count_flops(keras.Model(x, ops.tensordot(x, ops.ones((4, 2)), axes=1)))


def test_counting_leaves_the_model_as_it_was():
    model = build_empty("resnet20", filters=4)
    before = [len(layer._inbound_nodes) for layer in model.layers]
    assert count_flops(model) == count_flops(model)
    assert [len(layer._inbound_nodes) for layer in model.layers] == before
