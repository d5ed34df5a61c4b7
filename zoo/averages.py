"""The averaged weights that a recipe keeps beside the raw ones, in its optimizer (ema) or in a callback (swa)."""

import contextlib

import keras


def averaging_optimizer(model):
    """Returns the model's optimizer if it averages weights and has begun to, else None."""
    optimizer = getattr(model, "optimizer", None)  # a model that is not compiled has none
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    return optimizer if getattr(optimizer, "use_ema", False) and optimizer.built else None


def averages_of(model):
    """Returns pairs (variable, its value among the averaged weights), a list; empty where nothing is averaged yet.

    A callback that averages stands in the model's `zoo_average` while it does, and has such a `pairs()`.
    """
    kept = getattr(model, "zoo_average", None)
    if kept is not None:
        return kept.pairs()
    optimizer = averaging_optimizer(model)
    if optimizer is None:
        return []
    averages = map(keras.ops.convert_to_numpy, optimizer._model_variables_moving_average)
    return list(zip(optimizer._trainable_variables, averages, strict=True))


def swap_in(model):
    """Puts the averages into the model. Returns the raw weights, pairs of variable and NumPy array, for `put_back`.

    `keras.callbacks.SwapEMAWeights` swaps by adding and subtracting on TensorFlow, which rounds; this is exact.
    """
    return put_in(averages_of(model))


def values_of(variables):
    """Returns pairs of variables and copies of their values, NumPy arrays, for `put_back`."""
    return [(variable, keras.ops.convert_to_numpy(variable).copy()) for variable in variables]


def put_in(pairs):
    """Gives variables other values. Returns pairs of those variables and copies of the values that they had."""
    before = values_of(variable for variable, _ in pairs)
    for variable, value in pairs:
        variable.assign(value)
    return before


def put_back(before):
    """Puts values back, bit for bit; `before` is what `put_in` or `values_of` returned."""
    for variable, value in before:
        variable.assign(value)


def own_buffers(model):
    """Gives each average a buffer of its own. On JAX it shares that of its weight when `fit` ends, and whatever runs
    the model next, `evaluate` or another `fit`, deletes the buffer it was given.
    """
    optimizer = averaging_optimizer(model) if keras.backend.backend() == "jax" else None
    for average in optimizer._model_variables_moving_average if optimizer else ():
        average.assign(keras.ops.convert_to_numpy(average).copy())


@contextlib.contextmanager
def averaged_weights(model):
    """Within this block the model has its averaged weights, where it keeps any."""
    raw = swap_in(model)
    try:
        yield
    finally:
        put_back(raw)


class ValidateAverage(keras.callbacks.Callback):
    """Validates with the averaged weights, and puts the raw ones back exactly."""

    def on_test_begin(self, logs=None):
        self._raw = swap_in(self.model)

    def on_test_end(self, logs=None):
        put_back(self._raw)
        self._raw = None
