"""FLOPs of a model: floating-point operations of one forward pass of one example, a multiply-add being two.

Counted are the products that dominate a network: convolutions, dense and einsum layers, attention, recurrent
layers, and `keras.ops.matmul`, `einsum` and `dot_product_attention` in a Functional graph. What works element by
element (activations, norms, biases, pooling, look-ups) is not, as papers do not count it either.
"""

import math

import keras
from keras import layers

from zoo.errors import invalid


def count_flops(model):
    """Returns the FLOPs of one forward pass of one example, an `int`.

    Args:
        model: Functional or Sequential `keras.Model`; nested models and layers that are used twice count each time.

    Raises:
        InvalidArgument: the model has no graph or no fixed input shape, or holds a layer with a weight of two or
            more axes whose products this function does not know.
    """
    graph = graph_of(model)
    if graph is None:
        raise invalid(
            f"the FLOPs of model {model.name!r} cannot be counted: it has no graph of layers",
            type(model).__name__,
            "Functional models have one, and Sequential models once they are built.",
        )
    open_shapes = [tuple(x.shape) for x in graph.inputs if None in x.shape[1:]]
    if open_shapes:
        raise invalid("FLOPs need fixed input shapes", open_shapes, "Build the model with a size for every axis.")
    total = 0

    def counted(operation):
        def symbolic(*args, **kwargs):
            nonlocal total
            nested = graph_of(operation)
            if nested is not None:
                return walk(nested, args[0], counted)
            outputs = operation.compute_output_spec(*args, **kwargs)
            total += operation_flops(operation, shapes_of((args, kwargs)), shapes_of(outputs))
            return outputs

        return symbolic

    walk(graph, [keras.KerasTensor((1, *x.shape[1:]), x.dtype) for x in graph.inputs], counted)
    return total


def graph_of(operation):
    """Returns the Functional graph of a model, or None for anything else."""
    if isinstance(operation, keras.Sequential):
        return operation._functional
    return operation if hasattr(operation, "_run_through_graph") else None


def walk(graph, inputs, operation_fn):
    """Runs shapes through a graph. Keras offers no public walk that leaves no trace in the model's layers."""
    return graph._run_through_graph(inputs, operation_fn=operation_fn)


def shapes_of(structure):
    """Returns the shape of every tensor in a structure."""
    return [tuple(x.shape) for x in keras.tree.flatten(structure) if hasattr(x, "shape")]


def operation_flops(operation, inputs, outputs):
    """Returns the FLOPs of one call of a layer or operation, from the shapes of its inputs and outputs."""
    known = LAYERS if isinstance(operation, layers.Layer) else OPERATIONS
    for ancestor in type(operation).__mro__:
        if ancestor.__name__ in known and ancestor.__module__.startswith("keras."):
            return known[ancestor.__name__](operation, inputs, outputs)
    products = any(len(w.shape) > 1 for w in getattr(operation, "weights", ()))
    if products or type(operation).__name__ in UNCOUNTED:
        raise invalid(
            f"the FLOPs of {operation.name!r} cannot be counted",
            type(operation).__name__,
            "zoo.flops knows the layers " + ", ".join(sorted(LAYERS)) + ".",
        )
    return 0


# Formulas: each takes the operation and the shapes of its inputs and outputs, the batch axis being one


def _einsum(equation, operands):
    """A product and a sum for each combination of all indices, those that an ellipsis stands for included."""
    terms, _, _ = equation.replace(" ", "").partition("->")
    terms = terms.split(",")
    if len(terms) != 2:
        raise invalid("only einsum of two operands is counted", equation)
    sizes = {}
    for term, shape in zip(terms, operands, strict=True):
        before, _, after = term.partition("...")
        sizes |= dict(zip(before, shape, strict=False)) | dict(zip(after[::-1], shape[::-1], strict=False))
        if "..." in term:
            sizes |= {(i, "..."): n for i, n in enumerate(shape[len(before) : len(shape) - len(after)])}
    return 2 * math.prod(sizes.values())


def _dense(layer, inputs, outputs):
    return 2 * math.prod(outputs[0]) * layer.kernel.shape[0]


def _einsum_dense(layer, inputs, outputs):
    return _einsum(layer.equation, [inputs[0], tuple(layer.kernel.shape)])


def _conv(layer, inputs, outputs):  # kernel: *size, channels in a group, filters
    return 2 * math.prod(outputs[0]) * math.prod(layer.kernel.shape[:-1])


def _conv_transpose(layer, inputs, outputs):  # kernel: *size, filters, channels
    return 2 * math.prod(inputs[0]) * math.prod(layer.kernel.shape[:-1])


def _depthwise_conv(layer, inputs, outputs):  # kernel: *size, channels, multiplier
    return 2 * math.prod(outputs[0]) * math.prod(layer.kernel.shape[:-2])


def _separable_conv(layer, inputs, outputs):
    pixels = math.prod(outputs[0]) // layer.filters
    return 2 * pixels * (math.prod(layer.depthwise_kernel.shape) + math.prod(layer.pointwise_kernel.shape))


def _recurrent(layer, inputs, outputs):
    steps = inputs[0][1]
    return 2 * steps * (math.prod(layer.cell.kernel.shape) + math.prod(layer.cell.recurrent_kernel.shape))


def _bidirectional(layer, inputs, outputs):
    directions = (layer.forward_layer, layer.backward_layer)
    return sum(operation_flops(direction, inputs, outputs) for direction in directions)


def _time_distributed(layer, inputs, outputs):
    steps = inputs[0][1]
    one_step = [(shape[0], *shape[2:]) for shape in (inputs[0], outputs[0])]
    return steps * operation_flops(layer.layer, one_step[:1], one_step[1:])


def _dot(layer, inputs, outputs):
    axis = layer.axes if isinstance(layer.axes, int) else layer.axes[0]
    return 2 * math.prod(outputs[0]) * inputs[0][axis]


def _multi_head_attention(layer, inputs, outputs):
    query, value, key = (inputs + inputs[-1:])[:3]  # the key is the value where it is not given
    if len(query) != 3:
        raise invalid("attention is counted over one axis", query)
    wide_key, wide_value = layer.num_heads * layer.key_dim, layer.num_heads * layer.value_dim
    projections = query[1] * (query[2] * wide_key + wide_value * outputs[0][2])
    projections += key[1] * key[2] * wide_key + value[1] * value[2] * wide_value
    return 2 * (projections + query[1] * key[1] * (wide_key + wide_value))


def _matmul(operation, inputs, outputs):
    return 2 * math.prod(outputs[0]) * inputs[0][-1]


def _einsum_operation(operation, inputs, outputs):
    return _einsum(operation.subscripts, inputs)


def _dot_product_attention(operation, inputs, outputs):  # (B, T, heads, D) with (B, S, heads, D)
    return 2 * 2 * math.prod(inputs[0]) * inputs[1][1]


def _none(layer, inputs, outputs):
    return 0


LAYERS = {
    "Dense": _dense,
    "EinsumDense": _einsum_dense,
    "BaseConv": _conv,
    "BaseConvTranspose": _conv_transpose,
    "BaseDepthwiseConv": _depthwise_conv,
    "BaseSeparableConv": _separable_conv,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "SimpleRNN": _recurrent,
    "Bidirectional": _bidirectional,
    "TimeDistributed": _time_distributed,
    "MultiHeadAttention": _multi_head_attention,
    "Dot": _dot,
    "Embedding": _none,  # a look-up
    "LayerNormalization": _none,  # the rest works element by element, whatever the axes of its weights
    "Normalization": _none,
    "PReLU": _none,
}
OPERATIONS = {"Matmul": _matmul, "Einsum": _einsum_operation, "DotProductAttention": _dot_product_attention}
UNCOUNTED = {  # products without weights that no zoo model uses: refused, lest they count as nothing
    *("Dot", "Tensordot", "Inner", "Vdot", "Conv", "ConvTranspose", "DepthwiseConv", "SeparableConv"),
    *("Attention", "AdditiveAttention"),
}
