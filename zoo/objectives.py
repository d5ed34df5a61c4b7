"""Second passes through a model inside a training step: losses on changed inputs or activations, and their gradients.

An extra pass runs in a `keras.StatelessScope` that maps every variable to its current value, so whatever state it
would update (batch-norm statistics, dropout seeds) is left as the plain pass left it. It uses the compiled loss alone:
regularisers are already in the plain loss.
"""

import contextlib

import keras
from keras import ops

from zoo.errors import invalid, unknown

_FLOAT16_SCALE = 1024.0  # keeps small float16 gradients from vanishing; only their direction is used


def floating(tensor):
    """Says whether a tensor, or a symbolic one, has a floating type."""
    return "float" in keras.backend.standardize_dtype(tensor.dtype)


class Recorder:
    """Keeps what layers output in the plain pass of a training step, for the passes that follow it."""

    def __init__(self, layers):
        self.layers = layers
        self.outputs = {}
        self.extra_pass = False

    @contextlib.contextmanager
    def recording(self):
        """Records while the block runs the model; an extra pass leaves the record as it is."""
        if self.extra_pass or not self.layers:
            yield
            return
        self.outputs = {}
        calls = {layer: self._recorded(layer) for layer in self.layers}
        with called_as(calls):
            yield

    def _recorded(self, layer):
        call = layer.call

        def recorded(*args, **kwargs):
            self.outputs[layer.name] = call(*args, **kwargs)
            return self.outputs[layer.name]

        return recorded


@contextlib.contextmanager
def called_as(calls):
    """Runs other functions in place of the `call` of some layers, as long as the block lasts."""
    before = {layer: layer.__dict__.get("call") for layer in calls}
    for layer, function in calls.items():
        layer.__dict__["call"] = function  # past Keras's own attribute tracking
    try:
        yield
    finally:
        for layer, call in before.items():
            layer.__dict__.pop("call")
            if call is not None:  # its own, such as those of `zoo.layers.kernels`
                layer.__dict__["call"] = call


def running(call, *, training):
    """Returns the `call` of a layer with its phase settled: that of training, or that of inference."""
    return lambda *args, **kwargs: call(*args, **(kwargs | {"training": training}))


class Step:
    """One training step as an objective sees it: its batch, the plain loss, and more passes through the model.

    Attributes:
        x, y, sample_weight: the batch.
        plain: the plain training loss, a scalar, regularisers included.
        plain_weight: the share of it that the training loss so far still has; whoever scales that loss multiplies it.
        logits: what the model gave in the plain pass.
    """

    def __init__(self, model, recorder, plain, x, y, sample_weight, logits=None):
        self.model = model
        self.plain = plain
        self.plain_weight = 1.0
        self.x = x
        self.y = y
        self.sample_weight = sample_weight
        self.logits = logits
        self._recorder = recorder
        self._offsets = {}

    def outputs(self, layers):
        """Returns what `layers` gave in the plain pass; the gradient flows through."""
        return [self._recorder.outputs[layer.name] for layer in layers]

    def loss_on(self, x, *, constant_weights=False):
        """Returns the compiled loss of another training pass, on other inputs, a scalar; updates no state.

        With `constant_weights` it has gradients by the inputs alone, which costs less.
        """
        with self._extra_pass(constant_weights=constant_weights):
            return self.model._compile_loss(self.y, self.model(x, training=True), self.sample_weight)

    def logits_on(self, x):
        """Returns the outputs of another training pass, on other inputs; updates no state."""
        with self._extra_pass():
            return self.model(x, training=True)

    def move_weights(self, moves):
        """Takes the plain pass anew at moved weights, where every later pass of this step is then taken too.

        Args:
            moves: pairs (variable, offset); the offsets are constants, and a gradient by a moved weight is one by its
                variable.

        Returns:
            The plain loss there; its regularisers are those of the weights that were not moved.
        """
        self._offsets = {id(variable): offset for variable, offset in moves}
        with self._extra_pass(records=True):
            self.logits = self.model(self.x, training=True)
            loss = self.model._compile_loss(self.y, self.logits, self.sample_weight)
        self.plain = loss + self.penalties()
        return self.plain

    def weight_gradients(self):
        """Returns the gradients of the plain loss by the model's trainable variables, in their order, as constants.

        Those of regularisers are left out. Each is right up to one positive factor for all; zeros for a variable that
        the loss does not depend on.
        """
        variables = self.model.trainable_variables
        backend = keras.backend.backend()
        if backend == "torch":
            import torch

            loss = self.model.optimizer.scale_loss(self.plain - self.penalties())
            found = torch.autograd.grad(loss, [v.value for v in variables], retain_graph=True, allow_unused=True)
            return [_dense_or_zero(g, v) for g, v in zip(found, variables, strict=True)]
        if backend == "tensorflow":
            import tensorflow as tf

            if not tf.executing_eagerly():
                loss = self.model.optimizer.scale_loss(self.plain - self.penalties())
                found = tf.gradients(loss, [v.value for v in variables])
                return [_dense_or_zero(g, v) for g, v in zip(found, variables, strict=True)]
        zeros = [ops.zeros(v.shape, v.dtype) for v in variables]
        scale = _FLOAT16_SCALE if self.model.compute_dtype == "float16" else 1.0
        return gradient_of(lambda offsets: self._loss_moved_by(variables, offsets) * scale, zeros)

    def _loss_moved_by(self, variables, offsets):
        before, self._offsets = self._offsets, {id(v): o for v, o in zip(variables, offsets, strict=True)}
        try:
            return self.loss_on(self.x)
        finally:
            self._offsets = before

    @contextlib.contextmanager
    def _extra_pass(self, *, constant_weights=False, records=False):
        given = ops.stop_gradient if constant_weights else lambda value: value
        mapping = [(v, given(self._moved(v))) for v in self.model.variables]
        self._recorder.extra_pass = not records
        try:
            with keras.StatelessScope(state_mapping=mapping, initialize_variables=False):
                yield
        finally:
            self._recorder.extra_pass = False

    def _moved(self, variable):
        offset = self._offsets.get(id(variable))
        return variable.value if offset is None else variable.value + ops.cast(offset, variable.value.dtype)

    def float_inputs(self):
        """Returns the batch's inputs of a floating type.

        Returns:
            (places, values, at): their positions among the flattened inputs, the tensors, and the function `at(values)`
            that gives the compiled loss of another training pass in which they have other values.
        """
        leaves = keras.tree.flatten(self.x)
        places = [i for i, leaf in enumerate(leaves) if floating(leaf)]
        return places, [leaves[i] for i in places], lambda values: self.loss_on(self.with_floats(values))

    def with_floats(self, values):
        """Returns the batch's inputs with `values` in place of those of a floating type."""
        leaves, left = keras.tree.flatten(self.x), iter(values)
        return keras.tree.pack_sequence_as(self.x, [next(left) if floating(leaf) else leaf for leaf in leaves])

    def penalties(self):
        """Returns what the plain loss holds beside the compiled loss: regularisers and layers' own losses, a scalar."""
        return sum((ops.cast(ops.sum(loss), self.plain.dtype) for loss in self.model.losses), 0.0)

    def loss_with_outputs(self, layers, values):
        """Returns the compiled loss of another training pass, in which `layers` give `values`; updates no state."""
        with called_as({x: lambda *_, _value=v, **__: _value for x, v in zip(layers, values, strict=True)}):
            return self.loss_on(self.x)

    def gradients(self, loss, values, again):
        """Returns the gradients of the plain loss by tensors of the plain pass, and the loss to go on with.

        Args:
            loss: the training loss so far.
            values: list of float tensors that the plain loss was computed from.
            again: function of `values` that computes the plain loss anew, where the backend cannot look back.

        Returns:
            (gradients, loss): the gradients are constants, each right up to one positive factor for all; the loss has
            the value and the gradient of the one given.
        """
        if loss is self.plain and keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            if not tf.executing_eagerly():
                return _gradients_shared(self.model, loss, values)
        if keras.backend.backend() == "torch" and all(v.requires_grad for v in values):
            import torch

            return list(torch.autograd.grad(self.plain * _scale(values), values, retain_graph=True)), loss
        return gradient_of(lambda v: again(v) * _scale(v), values), loss


def _dense_or_zero(gradient, variable):
    if gradient is None:
        return ops.zeros(variable.shape, variable.dtype)
    # TensorFlow's gradient by an embedding may name the rows that it touches; this makes it whole.
    return ops.stop_gradient(ops.convert_to_tensor(gradient))


def _scale(values):
    return _FLOAT16_SCALE if any(keras.backend.standardize_dtype(v.dtype) == "float16" for v in values) else 1.0


def _gradients_shared(model, loss, values):
    """Does `Step.gradients` in a TensorFlow graph with one backward pass.

    The pass that gives the gradients of `values` also gives those of the weights, so the loss that is returned carries
    the latter with it, and Keras's own backward pass does not go through the plain pass again.
    """
    import tensorflow as tf

    weights = [v.value for v in model.trainable_variables]
    scaled = model.optimizer.scale_loss(loss)  # float16 would lose small gradients
    scale = tf.stop_gradient(tf.gradients(scaled, loss)[0])
    found = tf.gradients(scaled, [*values, *weights])
    ours, theirs = found[: len(values)], found[len(values) :]
    reached = [(w, g) for w, g in zip(weights, theirs, strict=True) if g is not None]

    @tf.custom_gradient
    def carried(*_):
        def times(gradient, factor):
            if isinstance(gradient, tf.IndexedSlices):
                return tf.IndexedSlices(gradient.values * factor, gradient.indices, gradient.dense_shape)
            return gradient * factor

        return tf.stop_gradient(loss), lambda above: [times(g, above / scale) for _, g in reached]

    carrying = carried(*[tf.convert_to_tensor(w) for w, _ in reached])
    return [tf.stop_gradient(tf.convert_to_tensor(g)) for g in ours], carrying


def gradient_of(function, values):
    """Returns the gradients of a scalar function of a list of float tensors, as constants."""
    return value_and_gradients(function, values)[1]


def value_and_gradients(function, values):
    """Returns a scalar function of a list of float tensors, and its gradients by them.

    Args:
        function: of a list of tensors -> scalar.
        values: the tensors; no gradient flows through them.

    Returns:
        (value, gradients): the value has gradients by all else that the function depends on; the gradients are
        constants. Differs by backend, because Keras has no gradient of its own.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        values = [tf.stop_gradient(v) for v in values]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            value = function(values)
        found = tape.gradient(value, values, unconnected_gradients="zero")  # as the other backends give
        gradients = [tf.convert_to_tensor(g) for g in found]
    elif backend == "jax":
        import jax

        value, gradients = jax.value_and_grad(function)([jax.lax.stop_gradient(v) for v in values])
    else:
        import torch

        values = [v.detach().requires_grad_(True) for v in values]
        value = function(values)
        zeros = {"allow_unused": True, "materialize_grads": True}
        gradients = torch.autograd.grad(value, values, retain_graph=True, **zeros)
    return value, [ops.stop_gradient(g) for g in gradients]


def differentiable_gradients(function, values):
    """Returns the gradients of a scalar function of a list of float tensors, for losses that are made of them.

    They have gradients of their own, by the values and by all else that the function depends on. Differs by backend,
    because Keras has no gradient of its own.
    """
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(values)
            value = function(values)
        return [tf.convert_to_tensor(g) for g in tape.gradient(value, values)]
    if backend == "jax":
        import jax

        return jax.grad(function)(values)
    import torch

    with torch.enable_grad():
        values = [v if v.requires_grad else v.detach().requires_grad_(True) for v in values]
        return list(torch.autograd.grad(function(values), values, create_graph=True))


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
        raise invalid(f"{trick} finds no embedding in model {plan.name!r}", sorted(layers), works)
    for layer in found:
        if not isinstance(layer, keras.layers.Embedding):
            raise invalid(f"{trick}: layer {layer.name!r} is not an embedding", type(layer).__name__)
        if (uses := len(layer._inbound_nodes)) != 1:
            raise invalid(f"{trick}: embedding {layer.name!r} must be used once", uses)
    return tuple(found)
