"""Weights as safetensors files, keyed by the path of each variable, checked in full before anything is assigned.

The format: https://github.com/huggingface/safetensors#format. It is written here, and not by the library of that
name, so that one tensor at a time is in memory while the whole is hashed; `tests/test_weights.py` reads each with the
other. A file from here carries the SHA-256 of its data in its metadata, which every reading checks.
"""

import contextlib
import hashlib
import json
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.errors import IntegrityError, invalid, nearest
from zoo.files import CHUNK, disk, write_atomic

MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors library
_CODES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
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
_BY_DTYPE = {dtype: code for code, dtype in _CODES.items()}
_ITEM_BYTES = {code: 1 if code == "BOOL" or code.startswith("F8") else int(code.strip("BFIU")) // 8 for code in _CODES}
_AGAIN = "Get the file again: pull the model once more, or save it anew."


@dataclass(frozen=True)
class LoadReport:
    """What `load_weights` did, tensor by tensor.

    Attributes:
        loaded: names whose values now come from the file.
        not_loaded: names in the model that keep their values, because the file has none that fit.
        unused: names in the file that the model has no place for.
    """

    loaded: tuple
    not_loaded: tuple = ()
    unused: tuple = ()

    def describe(self):
        """Returns one sentence about what was loaded and what was not."""
        total = len(self.loaded) + len(self.not_loaded)
        if not self.not_loaded and not self.unused:
            return f"Loaded all {total} tensors."
        parts = [f"Loaded {len(self.loaded)} of {total} tensors"]
        if self.not_loaded:
            parts.append(f"{_listed(self.not_loaded)} of the new head keep their initial values")
        if self.unused:
            parts.append(f"{_listed(self.unused)} of the old head were left out")
        return "; ".join(parts) + "."


def _listed(names, limit=8):
    shown = ", ".join(map(str, list(names)[:limit]))
    return shown + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _numpy_dtype(code):
    name = _CODES[code]
    if name.startswith(("bfloat", "float8")):
        import ml_dtypes  # comes with Keras; only these types need it

        return np.dtype(getattr(ml_dtypes, name))
    return np.dtype(name)


def _code_of(dtype, name):
    try:
        return _BY_DTYPE[str(dtype)]
    except KeyError:
        raise invalid(f"tensor {name!r} has a type that weight files cannot hold", str(dtype)) from None


# Reading


def _damaged(path, what):
    return IntegrityError(f"{path} is not a sound weight file: {what}. Nothing was loaded. {_AGAIN}")


def _no_duplicates(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _natural(value):
    return type(value) is int and value >= 0


def _read_header(file, path):
    """Returns `(tensors, metadata, data start)` of an open file; tensors: name -> (code, shape, begin, end)."""
    size = os.fstat(file.fileno()).st_size
    prefix = file.read(8)
    if len(prefix) < 8:
        raise _damaged(path, f"it is {size} bytes long, too short for a header, so it was probably cut off")
    (length,) = struct.unpack("<Q", prefix)
    if length > MAX_HEADER_BYTES:
        raise _damaged(path, f"it announces a header of {length:,} bytes, and {MAX_HEADER_BYTES:,} is the limit")
    if length > size - 8:
        raise _damaged(path, f"it announces a header of {length:,} bytes and holds {size - 8:,}: it was cut off")
    try:
        rows = json.loads(file.read(length).decode("utf-8"), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its header is not valid JSON ({error})") from error
    if not isinstance(rows, dict):
        raise _damaged(path, "its header is not a JSON object")
    metadata = rows.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _damaged(path, "the metadata in its header is not text")
    tensors = {name: _checked_entry(path, name, entry) for name, entry in rows.items()}
    position = 0
    for name, (_, _, begin, end) in sorted(tensors.items(), key=lambda item: item[1][2:]):
        if begin != position:
            what = "overlaps the one before" if begin < position else "leaves a gap before it"
            raise _damaged(path, f"the data of tensor {name!r} {what}")
        position = end
    held = size - 8 - length
    if held != position:
        what = "it was cut off" if held < position else "something was appended"
        raise _damaged(path, f"its header announces {position:,} bytes of data and it holds {held:,}: {what}")
    return tensors, metadata, 8 + length


def _checked_entry(path, name, entry):
    """Returns `(code, shape, begin, end)` of one header entry."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _damaged(path, f"the header entry of tensor {name!r} has other fields than dtype, shape, data_offsets")
    code, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or code not in _CODES:
        raise _damaged(path, f"tensor {name!r} has the unknown type {code!r}")
    if not isinstance(shape, list) or len(shape) > 32 or not all(map(_natural, shape)):
        raise _damaged(path, f"tensor {name!r} has the impossible shape {str(shape)[:80]}")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_natural, offsets)):
        raise _damaged(path, f"tensor {name!r} has impossible offsets {str(offsets)[:80]}")
    begin, end = offsets
    needed = math.prod(shape) * _ITEM_BYTES[code]
    if end - begin != needed:
        raise _damaged(path, f"tensor {name!r} needs {needed:,} bytes and its offsets span {end - begin:,}")
    return code, tuple(shape), begin, end


@contextlib.contextmanager
def _opened(path):
    with disk(path, "read"), open(path, "rb") as file:
        yield file, *_read_header(file, path)


def header(path):
    """Reads the header of a safetensors file, and nothing else, and checks that the file can hold what it announces.

    Args:
        path: the file.

    Returns:
        dict, tensor name -> `(dtype, shape)`, such as `("float32", (64, 10))`.

    Raises:
        IntegrityError: the file is cut off, its header is too long or not valid, an unknown type is named, or the data
            overlaps, has gaps or the wrong length.
        StoreError: the file cannot be read.
    """
    with _opened(path) as (_, tensors, _, _):
        return {name: (_CODES[code], shape) for name, (code, shape, _, _) in tensors.items()}


def _read_tensor(file, start, entry, path, name):
    """Returns one tensor as an array of its own: JAX keeps the array it is given, so it must not be a mapped file."""
    code, shape, begin, end = entry
    raw = np.empty(end - begin, np.uint8)
    file.seek(start + begin)
    if file.readinto(raw.data) != raw.size:
        raise _damaged(path, f"it ended inside tensor {name!r}")
    if code == "BOOL" and raw.size and raw.max() > 1:
        raise _damaged(path, f"tensor {name!r} is of type BOOL and holds other values than 0 and 1")
    return raw.view(_numpy_dtype(code)).reshape(shape)


def _verify_data(file, start, metadata, path):
    """Compares the data with the SHA-256 that the file's own metadata gives, where it gives one."""
    expected = metadata.get("data_sha256")
    if expected is None:
        return
    digest = hashlib.sha256()
    file.seek(start)
    while piece := file.read(CHUNK):
        digest.update(piece)
    if digest.hexdigest() != expected:
        raise _damaged(path, f"its data has SHA-256 {digest.hexdigest()[:16]}..., and {expected[:16]}... was written")


# Writing


def _bytes_of(array):
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _write(path, shapes, metadata, value_of):
    """Writes a safetensors file, one tensor in memory at a time.

    `shapes` maps name -> (code, shape); `value_of(name)` gives the array. The same content gives the same bytes.
    """
    if "__metadata__" in shapes:
        raise invalid("a tensor cannot be named '__metadata__'", works="Give it another name.")
    order = sorted(shapes, key=lambda name: (-_ITEM_BYTES[shapes[name][0]], name))  # wide types first keeps alignment
    rows = {"__metadata__": {**dict(sorted(metadata.items())), "data_sha256": "0" * 64}}
    position = 0
    for name in order:
        code, shape = shapes[name]
        end = position + math.prod(shape) * _ITEM_BYTES[code]
        rows[name] = {"dtype": code, "shape": list(shape), "data_offsets": [position, end]}
        position = end

    def head():
        text = json.dumps(rows, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
        text += b" " * (-len(text) % 8)  # the data starts at a multiple of eight
        return struct.pack("<Q", len(text)) + text

    def writer(file):
        digest = hashlib.sha256()
        file.write(head())
        for name in order:
            data = _bytes_of(value_of(name))
            digest.update(data)
            file.write(data)
        rows["__metadata__"]["data_sha256"] = digest.hexdigest()
        file.seek(0)
        file.write(head())

    return write_atomic(path, writer)


def save_state(path, tensors, metadata=None):
    """Writes arrays and text to a safetensors file, atomically.

    Args:
        path: the file to write; its folder must exist.
        tensors: dict, name -> `numpy.ndarray`.
        metadata: dict, str -> str; `data_sha256` is added.

    Returns:
        `Path` of the file.

    Raises:
        InvalidArgument: an array has a type that the format does not have, or the metadata is not text.
        StoreError: the disk does not allow it; the old file is intact.
    """
    metadata = metadata or {}
    if not all(isinstance(k, str) and isinstance(v, str) for k, v in metadata.items()):
        raise invalid("the metadata of a weight file must be text, str -> str", metadata)
    arrays = {name: np.asarray(array) for name, array in tensors.items()}
    shapes = {name: (_code_of(array.dtype, name), array.shape) for name, array in arrays.items()}
    return _write(path, shapes, {"format": "zoo", **metadata}, arrays.__getitem__)


def load_state(path):
    """Returns `(tensors, metadata)` of a safetensors file, such as `save_state` writes.

    Raises:
        IntegrityError: the file is damaged.
        StoreError: it cannot be read.
    """
    with _opened(path) as (file, tensors, metadata, start):
        _verify_data(file, start, metadata, path)
        arrays = {name: _read_tensor(file, start, entry, path, name) for name, entry in tensors.items()}
    return arrays, {k: v for k, v in metadata.items() if k not in ("data_sha256", "format")}


# Models


def _variables(model):
    """Returns the variables of a model by path, refusing a path that two of them share."""
    found = {}
    for variable in model.weights:
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
    variables = _variables(model)
    shapes = {}
    for name, variable in variables.items():
        own = _dtype_name(variable)
        shapes[name] = (_code_of(dtype if dtype and _is_float(own) else own, name), tuple(variable.shape))

    def value_of(name):
        array = np.asarray(ops.convert_to_numpy(variables[name]))
        wanted = _numpy_dtype(shapes[name][0])
        if array.dtype == wanted:
            return array
        with np.errstate(over="ignore"):
            cast = array.astype(wanted)
        if not np.isfinite(cast.astype("float32")).all() and np.isfinite(array.astype("float32")).all():
            raise invalid(f"weights {name!r} do not fit into {dtype}", works="Store them as bfloat16 or float32.")
        return cast

    return _write(path, shapes, {"format": "zoo"}, value_of)


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


def load_weights(model, path, *, ignore_head=False, verify=True):
    """Fills a model with the weights of a safetensors file; either all that is asked for fits, or nothing changes.

    Args:
        model: a built `keras.Model`.
        path: the file, keyed by variable path as `save_weights` writes it.
        ignore_head: with a new head (another number of classes, say), let the weights of the layers that make the
            outputs be absent from the file or have another shape there; they then keep their values.
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
    free, prefixes = set(), ()
    if ignore_head:
        heads = head_layers(model)
        free = {weight.path for layer in heads for weight in layer.weights}
        prefixes = tuple(f"{layer.path}/" for layer in heads)
    with _opened(Path(path)) as (file, tensors, metadata, start):
        loaded, not_loaded, wrong = [], [], []
        for name, variable in variables.items():
            problem = _mismatch(name, variable, tensors)
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
        if verify:
            _verify_data(file, start, metadata, path)
        for name in sorted(loaded, key=lambda n: tensors[n][2]):  # in the order of the file
            value, variable = _read_tensor(file, start, tensors[name], path, name), variables[name]
            wanted = _numpy_dtype(_BY_DTYPE[_dtype_name(variable)])
            variable.assign(value if value.dtype == wanted else value.astype(wanted))
    return LoadReport(tuple(loaded), tuple(not_loaded), tuple(unused))


def _mismatch(name, variable, tensors):
    """Returns what is wrong with the file's tensor for one variable, or None."""
    shape = tuple(variable.shape)
    if name not in tensors:
        close = nearest(name, tensors)
        return f"{name} {shape} is missing from the file" + (f" (it has {close})" if close else "")
    code, found, _, _ = tensors[name]
    if found != shape:
        return f"{name} is {shape} in the model and {found} in the file"
    mine, theirs = _dtype_name(variable), _CODES[code]
    if mine != theirs and not (_is_float(mine) and _is_float(theirs)):
        return f"{name} is of type {mine} in the model and {theirs} in the file"
    return None


def _left_over(name, tensors, variables):
    close = nearest(name, variables)
    has = f" (it has {close})" if close else ""
    return f"{name} {tensors[name][1]} in the file has no place in the model{has}"
