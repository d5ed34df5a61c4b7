"""How every converter fills a model: each weight from one foreign tensor, and no tensor left over."""

import contextlib
import re

import numpy as np

from zoo.errors import invalid

SHOWN = 8  # names in a message


@contextlib.contextmanager
def outlined(name, arguments):
    """Gives, for the block, the model of a name and its arguments whose weights have shapes but no values nor memory.

    `fill` keeps what it would assign in its `zoo_values`, a dict from path to array. So a configuration that asks for
    an impossibly large network costs nothing until its shapes were compared with those of the tensors.

    Raises:
        UnknownName, InvalidArgument: as `zoo.build`.
    """
    from zoo.factory import build_plain

    with valueless() as scope:
        with scope:
            model = build_plain(name, arguments)
        model.zoo_values = {}
        yield model


@contextlib.contextmanager
def valueless():
    """Gives a scope in which models are built whose weights never get values; they are of use within the block."""
    import keras
    from keras.src.backend.common import global_state

    # Keras notes every such variable, to give all of them values when the next scope closes.
    before = list(global_state.get_global_attribute("uninitialized_variables") or [])
    try:
        yield keras.StatelessScope(initialize_variables=False)
    finally:
        global_state.set_global_attribute("uninitialized_variables", before)


def fill(model, source, names, tensors, arranged):
    """Assigns foreign tensors to all weights of a model; on an error none has changed.

    Args:
        model: `keras.Model`, or one that `outlined` gives.
        source: whose tensors they are, for messages.
        names: dict, path of a weight -> name of its tensor.
        tensors: dict, name -> array.
        arranged: function of a tensor that gives the array in Keras's order of axes.

    Returns:
        The model.

    Raises:
        InvalidArgument: a tensor is missing, left over, or of another shape; the message names it.
    """
    if len(set(names.values())) != len(names):
        raise AssertionError(f"two weights of {model.name} have the same name in {source}")
    missing = [name for name in names.values() if name not in tensors]
    left_over = sorted(set(tensors) - set(names.values()))
    problems = [f"missing {_listed(missing)}"] * bool(missing) + [f"left over {_listed(left_over)}"] * bool(left_over)
    values = {}
    for weight in model.weights:
        name = names[weight.path]
        if name in tensors:
            values[weight.path] = arranged(np.asarray(tensors[name]))
            if values[weight.path].shape != tuple(weight.shape):
                shapes = f"{values[weight.path].shape} where {weight.path!r} is {tuple(weight.shape)}"
                problems.append(f"{name!r} has shape {shapes}")
            elif not _is_float(values[weight.path]):
                problems.append(f"{name!r} is of type {values[weight.path].dtype}, not of floating-point numbers")
    if problems:
        raise invalid(
            f"these {source} tensors do not fit model {model.name!r}: " + "; ".join(problems[:SHOWN]),
            works="Build the variant, image_shape, patch_size and num_classes that the checkpoint was made with.",
        )
    kept = getattr(model, "zoo_values", None)
    for weight in model.weights:
        value = values.pop(weight.path).astype("float32", copy=False)
        if kept is None:
            weight.assign(value)
        else:
            kept[weight.path] = value
    return model


def _is_float(array):
    return array.dtype.kind == "f" or array.dtype.name in ("bfloat16", "float16")


def _listed(names):
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(map(repr, names[:SHOWN])) + more


def translated(path, rules, variables):
    """Returns the foreign name of the weight at `path` ("layer/variable").

    Args:
        path: of a Keras variable.
        rules: dict, pattern that a whole layer name matches -> function of the match; the first that matches counts.
        variables: dict, Keras variable name -> ending of the foreign name, its separator included.

    Raises:
        InvalidArgument: no rule knows the layer.
    """
    layer, _, variable = path.rpartition("/")
    for pattern, name in rules.items():
        match = re.fullmatch(pattern, layer)
        if match:
            return name(match) + variables[variable]
    raise invalid("this model has a weight that the foreign format does not know", path)
