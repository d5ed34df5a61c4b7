"""What decides how a training goes, checked before any work: budget, seed, precision, determinism."""

import contextlib

import keras

from zoo.errors import invalid, unknown

EPOCHS, BATCH_SIZE = 20, 32  # where neither the caller nor the recipe says
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def settings_of(chosen, epochs, batch_size, seed, keep, mixed_precision, jit, deterministic):
    """Returns the checked settings of a training, those of the recipe where nothing was given."""
    if jit and deterministic and keras.backend.backend() == "tensorflow":
        works = "Pass deterministic=False (--no-deterministic) too, or leave out jit."
        raise invalid("jit=True needs deterministic=False: TensorFlow does not repeat compiled steps", jit, works)
    return {
        "epochs": _positive("epochs", chosen.setting("epochs", epochs, EPOCHS)),
        "batch_size": _positive("batch_size", chosen.setting("batch_size", batch_size, BATCH_SIZE)),
        "seed": whole("seed", seed),
        "keep": _one_of("keep", keep, ("best", "last")),
        "precision": precision_of(mixed_precision),
        "jit": jit,
        "deterministic": bool(deterministic),
    }


def _positive(name, value):
    if type(value) is not int or value < 1:
        raise invalid(f"`{name}` must be a positive whole number", value)
    return value


def whole(name, value):
    """Returns a seed, or another whole number from 0 to 2**32 - 1, or raises `InvalidArgument`."""
    if type(value) is not int or not 0 <= value < 2**32:
        raise invalid(f"`{name}` must be a whole number from 0 to {2**32 - 1}", value)
    return value


def seeds_of(seeds):
    """Returns seeds as a list; a number stands for so many, from 0 on, or raises `InvalidArgument`."""
    count = type(seeds) is int
    found = list(range(seeds)) if count and seeds > 0 else seeds
    if not isinstance(found, (list, tuple, range)) or not found or len(set(found)) < len(found):
        raise invalid("`seeds` must be a positive number of seeds, or a list of different ones", seeds)
    if any(type(s) is not int or not 0 <= s < 2**32 for s in found):
        raise invalid(f"each of `seeds` must be a whole number from 0 to {2**32 - 1}", seeds)
    return list(found)


def _one_of(name, value, known):
    if value not in known:
        raise unknown(f"value of `{name}`", value, known)
    return value


def precision_of(value):
    """Returns Keras's name of a precision: None is "float32", "bfloat16" is "mixed_bfloat16"."""
    if value is None:
        return "float32"
    name = str(value)
    return _one_of("mixed_precision", name if name.startswith("mixed_") else f"mixed_{name}", PRECISIONS[1:])


@contextlib.contextmanager
def policy(settings):
    """Sets precision and determinism for one training, and puts back what was there."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(settings["precision"])
    undo = _be_deterministic() if settings["deterministic"] else None
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
        if undo is not None:
            undo()


def _be_deterministic():
    """Demands repeatable operations of the backend. Returns the function that undoes it, or None."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        from tensorflow.python.framework import config

        if not config.is_op_determinism_enabled():
            config.enable_op_determinism()
            return config.disable_op_determinism
    elif backend == "torch":
        import torch

        if not torch.are_deterministic_algorithms_enabled():
            torch.use_deterministic_algorithms(True, warn_only=True)
            return lambda: torch.use_deterministic_algorithms(False)
    return None
