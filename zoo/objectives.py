"""Second passes through a model inside a training step: losses on changed inputs or activations, and their gradients.

An extra pass runs in a `keras.StatelessScope` that maps every variable to its current value, so whatever state it
would update (batch-norm statistics, dropout seeds) is left as the plain pass left it. It uses the compiled loss alone:
regularisers are already in the plain loss.
"""

import contextlib

import keras
from keras import ops

from zoo.errors import invalid, unknown


@contextlib.contextmanager
def _no_updates(model):
    mapping = [(v, v.value) for v in model.variables]
    with keras.StatelessScope(state_mapping=mapping, initialize_variables=False):
        yield


def loss_on(model, x, y, sample_weight):
    """Returns the compiled loss of a training pass on other inputs, a scalar; updates no state."""
    with _no_updates(model):
        return model._compile_loss(y, model(x, training=True), sample_weight)


def gradient_of(function, values):
    """Returns the gradients of a scalar function of a list of float tensors, as constants.

    The one place that differs by backend, because Keras has no gradient of its own.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        values = [tf.stop_gradient(v) for v in values]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            loss = function(values)
        gradients = tape.gradient(loss, values)
    elif backend == "jax":
        import jax

        gradients = jax.grad(lambda leaves: function(leaves))([jax.lax.stop_gradient(v) for v in values])
    else:
        import torch

        values = [v.detach().requires_grad_(True) for v in values]
        gradients = torch.autograd.grad(function(values), values)
    return [ops.stop_gradient(g) for g in gradients]


def embeddings(plan, trick, name=None):
    """Returns the embedding layers that a trick acts on: the one named, or all of the model.

    Raises:
        UnknownName: no layer has that name.
        InvalidArgument: the model has no embedding, the layer is none, or it is used more than once.
    """
    layers = {layer.name: layer for layer in plan.model.layers}
    if name is not None and name not in layers:
        raise unknown(f"layer of model {plan.name!r}", name, layers)
    found = [layers[name]] if name else [x for x in layers.values() if isinstance(x, keras.layers.Embedding)]
    if not found:
        works = "For inputs that are numbers write fgsm instead."
        raise invalid(f"{trick} finds no embedding in model {plan.name!r}", type(plan.model).__name__, works)
    for layer in found:
        if not isinstance(layer, keras.layers.Embedding):
            raise invalid(f"{trick}: layer {layer.name!r} is not an embedding", type(layer).__name__)
        if len(layer._inbound_nodes) != 1:
            raise invalid(f"{trick}: embedding {layer.name!r} is used more than once", len(layer._inbound_nodes))
    return tuple(found)


@contextlib.contextmanager
def _outputs_replaced(layers, values):
    """Makes layers give these tensors instead of what they compute, while the block is traced."""
    for layer, value in zip(layers, values, strict=True):
        layer.__dict__["call"] = lambda *args, _value=value, **kwargs: _value
    try:
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("call", None)


def loss_with_outputs(model, layers, values, x, y, sample_weight):
    """Returns the compiled loss of a training pass in which `layers` output `values`; updates no state."""
    with _outputs_replaced(layers, values):
        return loss_on(model, x, y, sample_weight)


def output_gradient(model, layers, x, y, sample_weight):
    """Returns (outputs of `layers`, gradients of the loss by them), two lists of tensors; the outputs are live."""
    leaves = [x[i.name] for i in model.inputs] if isinstance(x, dict) else keras.tree.flatten(x)
    values = keras.tree.flatten(keras.Model(model.inputs, [layer.output for layer in layers])(leaves))
    gradients = gradient_of(lambda v: loss_with_outputs(model, layers, v, x, y, sample_weight), values)
    return values, gradients
