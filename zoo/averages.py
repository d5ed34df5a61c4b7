"""The averaged weights that an optimizer keeps beside the raw ones."""

import contextlib

import keras


def averaging_optimizer(model):
    """Returns the model's optimizer if it averages weights and has begun to, else None."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    return optimizer if getattr(optimizer, "use_ema", False) and optimizer.built else None


def swap_in(model):
    """Puts the averages into the model. Returns the raw weights as NumPy arrays, for `put_back`; None without averages.

    `keras.callbacks.SwapEMAWeights` swaps by adding and subtracting on TensorFlow, which rounds; this is exact.
    """
    optimizer = averaging_optimizer(model)
    if optimizer is None:
        return None
    pairs = zip(optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True)
    kept = []
    for raw, average in pairs:
        kept.append(keras.ops.convert_to_numpy(raw).copy())
        raw.assign(keras.ops.convert_to_numpy(average))
    return kept


def put_back(model, kept):
    """Puts raw weights back, bit for bit."""
    if kept is not None:
        for raw, value in zip(averaging_optimizer(model)._trainable_variables, kept, strict=True):
            raw.assign(value)


def own_buffers(model):
    """Gives each average a buffer of its own. On JAX it shares that of its weight when `fit` ends, and whatever runs
    the model next, `evaluate` or another `fit`, deletes the buffer it was given.
    """
    optimizer = averaging_optimizer(model) if keras.backend.backend() == "jax" else None
    for average in optimizer._model_variables_moving_average if optimizer else ():
        average.assign(keras.ops.convert_to_numpy(average).copy())


@contextlib.contextmanager
def averaged_weights(model):
    """Within this block the model has its averaged weights, where its optimizer keeps any."""
    kept = swap_in(model)
    try:
        yield
    finally:
        put_back(model, kept)
