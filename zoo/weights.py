"""Weights as safetensors files, keyed by the path of each variable, checked in full before anything is assigned.

The `safetensors` library reads and writes them: https://github.com/huggingface/safetensors. A file from here carries
in its metadata the SHA-256 of all that it holds, which every reading checks.
"""

import contextlib
import dataclasses
import hashlib
import json
import math
import re
import struct
from dataclasses import dataclass
from pathlib import Path

import ml_dtypes  # noqa: F401  makes NumPy know bfloat16, which the library asks of it
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from zoo.errors import IntegrityError, InvalidArgument, invalid, nearest
from zoo.files import disk, staged_file

# The library writes float8 too, and cannot read it into NumPy (0.8.0), so it is left out.
_TYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}
_AGAIN = "Get the file again: pull the model once more, or save it anew."


@dataclass(frozen=True)
class LoadReport:
    """What `load_weights` did, tensor by tensor.

    Attributes:
        loaded: names whose values now come from the file.
        not_loaded: names in the model that keep their values, because the file has none that fit.
        unused: names in the file that the model has no place for.
        adapted: (name, shape in the file, shape in the model) of the loaded that were made to fit, such as resized.
    """

    loaded: tuple
    not_loaded: tuple = ()
    unused: tuple = ()
    adapted: tuple = ()

    def describe(self):
        """Returns one sentence about what was loaded and what was not."""
        total = len(self.loaded) + len(self.not_loaded)
        complete = "all" if not self.not_loaded else f"{len(self.loaded)} of"
        parts = [f"Loaded {complete} {total} tensors"]
        parts += [f"{name} was resized from {old} to {new}" for name, old, new in self.adapted]
        if self.not_loaded:
            parts.append(f"{_listed(self.not_loaded)} of the new head keep their initial values")
        if self.unused:
            parts.append(f"{_listed(self.unused)} of the old head were left out")
        return "; ".join(parts) + "."


def _listed(names, limit=8):
    shown = ", ".join(map(str, list(names)[:limit]))
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")


# Reading


def _damaged(path, what):
    return IntegrityError(f"{path} is not a sound weight file: {what}. Nothing was loaded. {_AGAIN}")


@contextlib.contextmanager
def _opened(path):
    """Gives `(file, tensors)` of a file whose header is sound; tensors: name -> `(dtype, shape)`, in its order."""
    with disk(path, "read"), contextlib.ExitStack() as stack:
        try:
            with open(path, "rb") as raw:  # the library's own error would not say why it cannot be opened
                # A mapped file that is cut off while it is read would end the process, so it is read, not mapped.
                file = stack.enter_context(safe_open(path, framework="numpy", backend="pread"))
                _refuse_doubles(raw)
        except (SafetensorError, ValueError) as error:
            what = str(error).removeprefix("Error while deserializing header: ")
            raise _damaged(path, f"{what}; it was cut off or changed, or is a file of another kind") from error
        tensors = {}
        for name in file.offset_keys():
            part = file.get_slice(name)
            if part.get_dtype() not in _TYPES:
                raise _damaged(path, f"tensor {name!r} has type {part.get_dtype()}, which zoo does not read")
            tensors[name] = _TYPES[part.get_dtype()], tuple(part.get_shape())
        yield file, tensors


def _refuse_doubles(raw):
    """Raises `ValueError` if the header names something twice: the library takes the last, other readers the first."""

    def row(pairs):
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a name occurs twice in its header")
        return dict(pairs)

    (length,) = struct.unpack("<Q", raw.read(8))
    json.loads(raw.read(length), object_pairs_hook=row)


def _tensor(file, tensors, path, name):
    """Returns one tensor as an array in memory of its own, which JAX keeps without a copy."""
    try:
        array = file.get_tensor(name)
    except (SafetensorError, ValueError) as error:  # NumPy has limits of its own for shapes
        raise _damaged(path, f"tensor {name!r} cannot be read ({error})") from error
    if tensors[name][0] == "bool" and array.view(np.uint8).max(initial=0) > 1:
        raise _damaged(path, f"tensor {name!r} is of type BOOL and holds other values than 0 and 1")
    return array


def _verified(file, tensors, path, verify=True, keep=None):
    """Reads every tensor once and returns the metadata; compares with the SHA-256 in the file, if it has one.

    Args:
        file, tensors, path: as `_opened` gives them.
        verify: whether to compare, or only to make sure that all can be read.
        keep: dict that gets the arrays; without it one at a time is in memory.
    """
    metadata, expected = _own_metadata(file, path)
    digest = _digest(metadata) if verify and expected is not None else None
    for name in sorted(tensors):
        array = _tensor(file, tensors, path, name)
        if digest is not None:
            _add(digest, name, array)
        if keep is not None:
            keep[name] = array
    if digest is not None and digest.hexdigest() != expected:
        raise _damaged(path, f"its data has SHA-256 {digest.hexdigest()[:16]}..., and {expected[:16]}... was written")
    return metadata


def _own_metadata(file, path):
    """Returns `(metadata, SHA-256)` of an opened file; the second is None in a file that zoo did not write."""
    metadata = file.metadata() or {}
    if "zoo" not in metadata:
        return metadata, None
    try:
        own = json.loads(metadata["zoo"])
        expected, metadata = str(own["sha256"]), dict(own["metadata"])
        if not _is_text(metadata):
            raise ValueError("it is not text")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, f"its metadata cannot be read ({error})") from error
    return metadata, expected


def _is_text(metadata):
    return all(isinstance(k, str) and isinstance(v, str) for k, v in metadata.items())


def _digest(metadata):
    return hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())


def _add(digest, name, array):
    digest.update(f"{name} {array.dtype} {array.shape}".encode())
    digest.update(array.reshape(-1).view(np.uint8))


def _sha256(arrays, metadata):
    digest = _digest(metadata)
    for name, array in sorted(arrays.items()):
        _add(digest, name, array)
    return digest.hexdigest()


def header(path):
    """Reads the header of a safetensors file, and nothing else, and checks that the file can hold what it announces.

    Args:
        path: the file.

    Returns:
        dict, tensor name -> `(dtype, shape)`, such as `("float32", (64, 10))`.

    Raises:
        IntegrityError: the file is cut off, its header is too long or not valid, an unknown type or a name twice is in
            it, or the data overlaps, has gaps or the wrong length.
        StoreError: the file cannot be read.
    """
    with _opened(path) as (_, tensors):
        return tensors


def verify(path):
    """Reads a whole safetensors file, one tensor in memory at a time, and returns its header, see `header`.

    Raises:
        IntegrityError: the file is damaged.
        StoreError: it cannot be read.
    """
    with _opened(path) as (file, tensors):
        _verified(file, tensors, path)
        return tensors


def load_state(path):
    """Returns `(tensors, metadata)` of a safetensors file, such as `save_state` writes.

    Raises:
        IntegrityError: the file is damaged.
        StoreError: it cannot be read.
    """
    arrays = {}
    with _opened(path) as (file, tensors):
        metadata = _verified(file, tensors, path, keep=arrays)
    return arrays, metadata


# Writing


def save_state(path, tensors, metadata=None):
    """Writes arrays and text to a safetensors file, atomically.

    Args:
        path: the file to write; its folder must exist.
        tensors: dict, name -> `numpy.ndarray`.
        metadata: dict, str -> str.

    Returns:
        `Path` of the file. The same content gives the same bytes.

    Raises:
        InvalidArgument: an array has a type that the format does not have, or the metadata is not text.
        StoreError: the disk does not allow it; the old file is intact.
    """
    metadata = metadata or {}
    if not _is_text(metadata):
        raise invalid("the metadata of a weight file must be text, str -> str", metadata)
    # The library takes the memory of an array as it lies there, strided or not.
    arrays = {name: np.asarray(array, order="C") for name, array in tensors.items()}
    for name, array in arrays.items():
        if str(array.dtype) not in _TYPES.values():
            raise invalid(f"tensor {name!r} has a type that weight files cannot hold", str(array.dtype))
        if name == "__metadata__":
            raise invalid("a tensor cannot be named '__metadata__'", works="Give it another name.")
    # One entry, because the library writes several in an order that changes from call to call.
    own = json.dumps({"metadata": metadata, "sha256": _sha256(arrays, metadata)}, sort_keys=True)
    with staged_file(path) as place:
        try:
            save_file(arrays, place, {"zoo": own})
        except SafetensorError as error:  # only the disk is left to fail; the number is what `staged_file` words
            number = re.search(r"os error (\d+)", str(error))
            raise OSError(int(number[1]) if number else None, str(error)) from error
    return Path(path)


# Models


def _variables(model):
    """Returns the variables of a model by path, refusing a path that two of them share.

    What a recipe keeps beside the model, such as learned weights of its losses, is no part of it.
    """
    found = {}
    beside = {id(weight) for layer in getattr(model, "_extras", ()) for weight in layer.weights}
    for variable in model.weights:
        if id(variable) in beside:
            continue
        if variable.path in found and found[variable.path] is not variable:
            raise invalid(
                f"two weights of model {model.name!r} have the same path {variable.path!r}",
                works="Give every layer a name of its own, nested models too.",
            )
        found[variable.path] = variable
    if not found:
        raise invalid(
            f"model {model.name!r} has no weights", works="Call it on one batch first, so that its layers are built."
        )
    return found


def _is_float(dtype):
    return "float" in dtype


def _dtype_name(variable):
    import keras

    return keras.backend.standardize_dtype(variable.dtype)


def save_weights(model, path, dtype=None):
    """Writes the weights of a model, trainable and fixed ones, to a safetensors file, atomically.

    Batch-norm statistics are among them; random seeds, metrics and optimizer variables are not. The same weights give
    the same bytes, on every backend.

    Args:
        model: a built `keras.Model`; each of its weights needs a path of its own.
        path: the file to write; its folder must exist.
        dtype: "float32", "float16" or "bfloat16" to store floating-point weights in; None keeps theirs.

    Returns:
        `Path` of the file.

    Raises:
        InvalidArgument: two weights share a path, there are none, or a value does not fit into `dtype`.
        StoreError: the disk does not allow it; the old file is intact.
    """
    from keras import ops

    if dtype not in (None, "float64", "float32", "float16", "bfloat16"):
        raise invalid("`dtype` must be 'float32', 'float16', 'bfloat16' or None", dtype)
    arrays = {}
    for name, variable in _variables(model).items():
        array = np.asarray(ops.convert_to_numpy(variable))
        wanted = dtype if dtype and _is_float(_dtype_name(variable)) else _dtype_name(variable)
        with np.errstate(over="ignore"):
            arrays[name] = cast = array.astype(wanted, copy=False)
        if cast is not array and _finite(array) and not _finite(cast):
            raise invalid(f"weights {name!r} do not fit into {dtype}", works="Store them as bfloat16 or float32.")
    return save_state(path, arrays)


def _finite(array):
    return bool(np.isfinite(array).all())


def head_layers(model):
    """Returns the layers that make the outputs of a Functional model: on each way back, the last that has weights."""
    heads, seen = [], set()
    stack = [tensor._keras_history for tensor in model.outputs]
    while stack:
        history = stack.pop()
        if (id(history.operation), history.node_index) in seen:
            continue
        seen.add((id(history.operation), history.node_index))
        if getattr(history.operation, "weights", None):
            heads.append(history.operation)
        else:
            node = history.operation._inbound_nodes[history.node_index]
            stack.extend(tensor._keras_history for tensor in node.input_tensors)
    return list(dict.fromkeys(heads))


def load_weights(model, path, *, ignore_head=False, old_head=(), adapted=None, verify=True):
    """Fills a model with the weights of a safetensors file; either all that is asked for fits, or nothing changes.

    The file is read twice, which costs less than memory for all of it beside the model.

    Args:
        model: a built `keras.Model`.
        path: the file, keyed by variable path as `save_weights` writes it.
        ignore_head: with a new head (another number of classes, say), let the weights of the layers that make the
            outputs be absent from the file or have another shape there; they then keep their values.
        old_head: paths of layers whose weights in the file may be left out, when the model has no head.
        adapted: dict, path of a weight -> function of the file's array that returns the model's, of
            another shape or order.
        verify: compare the data with the SHA-256 in the file first; unneeded where the whole file was just verified.

    Returns:
        `LoadReport`.

    Raises:
        IntegrityError: the file is damaged.
        InvalidArgument: a weight is missing from the file, left over, or has another shape or kind of type; each is
            named, with both shapes.
        StoreError: the file cannot be read.
    """
    variables = _variables(model)
    with _opened(path) as (file, tensors):
        report = _fit(model, variables, tensors, path, ignore_head, old_head, adapted or {})
        _verified(file, tensors, path, verify)
        report, read = _reader(file, tensors, path, variables, report, adapted or {})
        for name in report.loaded:
            variables[name].assign(read(name))
    return report


@contextlib.contextmanager
def first_values(path, *, later=True, verify=True):
    """Lets a model that is built within this block take its first values from a safetensors file.

    No weight ever has another value, which saves the time and the memory of values that are about to be overwritten;
    the file is read tensor by tensor. Gives a function `fill(model, *, ignore_head, old_head, adapted)`, to be called
    once within the block, that takes and returns what `load_weights` does. The values are there when the block ends.

    Args:
        path: the file, keyed by variable path as `save_weights` writes it.
        later: False for a model that is built with values, because of a recurrent state that carries over.
        verify: as in `load_weights`.

    Raises:
        As `load_weights`, some only at the end of the block; the model is then of no use.
    """
    import keras
    from keras.src.backend.common import global_state

    failures, zeros = [], keras.initializers.Zeros()

    def fill(model, *, ignore_head=False, old_head=(), adapted=None):
        variables = _variables(model)
        try:
            report = _fit(model, variables, tensors, path, ignore_head, old_head, adapted or {})
            report, read = _reader(file, tensors, path, variables, report, adapted or {})
        except (InvalidArgument, IntegrityError):
            for variable in variables.values():  # no time for random numbers that nobody will see
                variable._initializer = zeros
            raise
        for name in report.loaded:
            if later:
                variables[name]._initializer = _first_value(read, name, failures)
            else:
                variables[name].assign(read(name))
        # Largest first: a tensor is in memory thrice for a moment, which counts least while there is little else.
        waiting = global_state.get_global_attribute("uninitialized_variables") or []
        waiting.sort(key=lambda variable: -math.prod(variable.shape))
        return report

    with _opened(path) as (file, tensors):
        if verify:
            _verified(file, tensors, path)
        # The scope puts off the first value of every variable until it closes.
        with keras.StatelessScope() if later else contextlib.nullcontext():
            yield fill
        if failures:
            raise failures[0]


def _first_value(read, name, failures):
    """Returns an initializer that reads a tensor. It never fails: Keras would keep variables without values forever."""

    def initializer(shape, dtype=None):
        try:
            return read(name)
        except Exception as error:
            failures.append(error)
            return np.zeros(tuple(shape), dtype)

    return initializer


def _fit(model, variables, tensors, path, ignore_head, old_head, adapted):
    """Returns the `LoadReport` of what will be loaded from a file's tensors, or raises before anything changes."""
    free, prefixes = set(), tuple(f"{layer}/" for layer in old_head)
    if ignore_head:
        heads = head_layers(model)
        free = {weight.path for layer in heads for weight in layer.weights}
        prefixes += tuple(f"{layer.path}/" for layer in heads)
    loaded, not_loaded, wrong = [], [], []
    for name, variable in variables.items():
        problem = _mismatch(name, variable, tensors, any_shape=name in adapted)
        if problem is None:
            loaded.append(name)
        elif name in free:
            not_loaded.append(name)
        else:
            wrong.append(problem)
    unused = [name for name in tensors if name not in variables]
    wrong += [_left_over(name, tensors, variables) for name in unused if not name.startswith(prefixes or ("\0",))]
    if wrong:
        raise invalid(
            f"the weights in {path} are not those of model {model.name!r}: {'; '.join(wrong[:12])}"
            + (f"; and {len(wrong) - 12} more" if len(wrong) > 12 else ""),
            works="Nothing was loaded. Build the model with the name and arguments that the file was saved with.",
        )
    return LoadReport(tuple(loaded), tuple(not_loaded), tuple(unused))


def _reader(file, tensors, path, variables, report, adapted):
    """Returns `(report, read)`: the report with what was made to fit, and a function of a name that gives its array.

    What has to be made to fit is, before anything is assigned.
    """
    made, changed = {}, []
    for name in [name for name in report.loaded if name in adapted]:
        shape = tuple(variables[name].shape)
        try:
            made[name] = adapted[name](_tensor(file, tensors, path, name)).reshape(shape)
        except ValueError as error:
            shapes = f"{tensors[name][1]} to {shape}"
            raise invalid(f"{name} in {path} cannot be resized from {shapes} ({error})") from error
        changed.append((name, tensors[name][1], shape))

    def read(name):
        array = made[name] if name in made else _tensor(file, tensors, path, name)
        return array.astype(_dtype_name(variables[name]), copy=False)

    return dataclasses.replace(report, adapted=tuple(changed)), read


def _mismatch(name, variable, tensors, any_shape=False):
    """Returns what is wrong with the file's tensor for one variable, or None."""
    shape = tuple(variable.shape)
    if name not in tensors:
        close = nearest(name, tensors)
        return f"{name} {shape} is missing from the file" + (f" (it has {close})" if close else "")
    theirs, found = tensors[name]
    if found != shape and not (any_shape and len(found) == len(shape)):
        return f"{name} is {shape} in the model and {found} in the file"
    mine = _dtype_name(variable)
    if mine != theirs and not (_is_float(mine) and _is_float(theirs)):
        return f"{name} is of type {mine} in the model and {theirs} in the file"
    return None


def _left_over(name, tensors, variables):
    close = nearest(name, variables)
    has = f" (it has {close})" if close else ""
    return f"{name} {tensors[name][1]} in the file has no place in the model{has}"
