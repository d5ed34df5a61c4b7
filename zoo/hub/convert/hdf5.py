"""Reading the HDF5 files that Keras writes, as plain arrays of numbers and nothing else.

Two layouts. The old one, of `keras.applications`: a group for each layer, attributes `layer_names` and `weight_names`
giving the order, which alone says what is what (old files have names of their own). The new one, `.weights.h5`: a
path made of the layer's class and place, `layers/conv2d_3/vars/0`. Formats: https://keras.io/guides/serialization_and_saving.

HDF5 can refer to other files, run filters from plug-ins, hold Python objects as references, and promise terabytes in a
few bytes. All of that is refused before any array is read.
"""

import contextlib
import re
from pathlib import Path

import numpy as np

from zoo.errors import IntegrityError, MissingDependency, StoreError, invalid
from zoo.files import disk, open_regular

MAX_OBJECTS = 100_000  # groups and data sets in a file
MAX_DEPTH = 32
MAX_BYTES = 1 << 36  # of all arrays together
MAX_RATIO = 1100  # of compression; deflate reaches 1032
KINDS = {"Conv2D": "conv2d", "BatchNormalization": "batch_normalization", "Dense": "dense"}
KINDS |= {"SeparableConv2D": "separable_conv2d", "DepthwiseConv2D": "depthwise_conv2d"}
_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32"}  # those that every HDF5 library brings
_STATE = re.compile(r"(.+/)?seed_generator\w*/vars/\d+|optimizer/vars/\d+")  # of random numbers and training
_AGAIN = "Nothing was converted. Get the file again from whoever published it."


class Stored:
    """An opened file whose every array was found harmless.

    Attributes:
        name: of the file, for messages.
        shapes: dict, path of an array -> its shape.
        layers: in the old layout, (layer name, paths of its arrays in order) of those that have any; else None.
        titles: dict, path of a layer's group -> the layer's name, where the new layout says it.
    """

    def __init__(self, name, found, layers, titles):
        self.name, self._found, self.layers, self.titles = name, found, layers, titles
        self.shapes = {path: tuple(dataset.shape) for path, dataset in found.items()}

    def array(self, path):
        """Returns one array, float32.

        Raises:
            IntegrityError: it cannot be read.
        """
        try:
            return np.asarray(self._found[path][()], np.float32)
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise _damaged(self.name, f"{path} cannot be read ({error})") from error


def _damaged(name, what):
    return IntegrityError(f"{name} is not a sound weight file of Keras: {what}. {_AGAIN}")


@contextlib.contextmanager
def opened(path):
    """Gives the `Stored` of a file.

    Raises:
        IntegrityError: it is damaged or no HDF5 file, or holds something else than plain numbers: links to elsewhere,
            objects, filters that need plug-ins, sizes that its bytes cannot hold.
        MissingDependency: h5py is not installed.
        StoreError: it cannot be read.
    """
    path, h5py = Path(path), _library()
    with disk(path, "read"), open_regular(path.resolve()) as raw, contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(h5py.File(raw, "r"))
            root, found, titles = _root(h5py, file), {}, {}
            _walk(h5py, root, "", found, titles, set(), path.name)
            layers = _layers(h5py, root, found, path.name) if _has(root, "layer_names") else None
        except (StoreError, IntegrityError):
            raise
        except (OSError, RuntimeError, ValueError, TypeError, KeyError, RecursionError) as error:
            what = f"it was cut off or changed, or is a file of another kind ({error})"
            raise _damaged(path.name, what) from error
        total = sum(dataset.size * dataset.dtype.itemsize for dataset in found.values())
        if total > MAX_BYTES:
            raise _damaged(path.name, f"it announces {total:,} bytes; {MAX_BYTES:,} is the limit")
        yield Stored(path.name, found, layers, titles)


def _root(h5py, file):
    """Returns the group of the weights: that of a whole saved model has others beside it."""
    whole = not _has(file, "layer_names") and isinstance(file.get("model_weights", getlink=True), h5py.HardLink)
    return file["model_weights"] if whole else file


def _library():
    try:
        import h5py
    except ImportError as error:
        raise MissingDependency("reading .h5 files needs h5py: pip install h5py") from error
    return h5py


def _walk(h5py, group, prefix, found, titles, seen, name):
    """Collects the data sets below a group, each checked, by path."""
    if prefix.count("/") > MAX_DEPTH:
        raise _damaged(name, f"its groups lie more than {MAX_DEPTH} deep")
    for key in group:
        path = f"{prefix}{key}"
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise _damaged(name, f"{path} is a link to somewhere else, which is not followed")
        child = group[key]
        address = h5py.h5o.get_info(child.id).addr
        if address in seen:
            raise _damaged(name, f"{path} is in it twice")
        seen.add(address)
        if len(seen) > MAX_OBJECTS:
            raise _damaged(name, f"it holds more than {MAX_OBJECTS:,} groups and arrays")
        if isinstance(child, h5py.Group):
            if isinstance(title := child.attrs.get("name") if key == "vars" else None, str):
                titles[prefix.rstrip("/")] = title
            _walk(h5py, child, f"{path}/", found, titles, seen, name)
        elif not isinstance(child, h5py.Dataset):
            raise _damaged(name, f"{path} is neither a group nor an array")
        elif not _STATE.fullmatch(path):
            _check(child, path, name)
            found[path] = child


def _check(dataset, path, name):
    """Raises unless a data set is an array of floating-point numbers that lies in this file in full."""
    dtype, plan = dataset.dtype, dataset.id.get_create_plist()
    if dtype.kind != "f" or dtype.itemsize not in (2, 4, 8):
        raise _damaged(name, f"{path} is of type {dtype}, not of 16, 32 or 64 bit floating-point numbers")
    if dataset.shape is None or dataset.is_virtual or plan.get_external_count():
        raise _damaged(name, f"the numbers of {path} lie in another file or nowhere")
    filters = [plan.get_filter(i)[0] for i in range(plan.get_nfilters())]
    if unknown := [code for code in filters if code not in _FILTERS]:
        raise _damaged(name, f"{path} is packed by filter {unknown[0]}, which may need a plug-in")
    size, stored = dataset.size * dtype.itemsize, dataset.id.get_storage_size()
    if size > (stored * MAX_RATIO if filters else stored):
        raise _damaged(name, f"{path} announces {size:,} bytes and {stored:,} are there")


def _has(group, name):
    return name in group.attrs or f"{name}0" in group.attrs


def _names(h5py, group, name, where):
    """Returns the list of text in an attribute, which is cut into several where it is long."""
    keys, found = [name] if name in group.attrs else [], []
    while name not in keys and f"{name}{len(keys)}" in group.attrs:
        keys.append(f"{name}{len(keys)}")
    for key in keys:
        kind = group.attrs.get_id(key).dtype
        values = np.asarray(group.attrs[key]).reshape(-1)
        if len(values) and kind.kind != "S" and h5py.check_string_dtype(kind) is None:
            raise _damaged(where, f"attribute {key} is not text")
        found += [value.decode("utf-8") if isinstance(value, bytes) else str(value) for value in values]
    return found


def _layers(h5py, root, found, name):
    """Returns the layers of a file of the old layout that have arrays, in order, and the paths of those."""
    layers, used = [], set()
    for layer in _names(h5py, root, "layer_names", name):
        group = root.get(layer)
        if not isinstance(group, h5py.Group):
            raise _damaged(name, f"it names a layer {layer[:80]!r} and has none")
        paths = [f"{layer}/{weight}" for weight in _names(h5py, group, "weight_names", name)]
        for path in paths:
            if path not in found or path in used:
                raise _damaged(name, f"it names an array {path[:120]!r} and has none, or names it twice")
            used.add(path)
        layers += [(layer, paths)] * bool(paths)
    return layers


def places(stored, layers):
    """Says where the weights of layers are stored, as Keras itself would look for them.

    Args:
        stored: `Stored`.
        layers: of a Functional model in its order, all of them.

    Returns:
        dict, path of a weight -> path of its array; with several layouts that hold more arrays than the layers need,
        the rest is in none.

    Raises:
        InvalidArgument: the file holds other layers; with the first that differs.
    """
    if stored.layers is not None:
        return _in_order(stored, [layer for layer in layers if layer.weights])
    found, counts = {}, {}
    top = "_layer_checkpoint_dependencies" if any(p.startswith("_layer_check") for p in stored.shapes) else "layers"
    for layer in layers:
        kind = KINDS.get(type(layer).__name__)
        if kind is None:
            continue
        number = counts[kind] = counts.get(kind, -1) + 1
        path = f"{top}/{kind}{f'_{number}' if number else ''}"
        for i, weight in enumerate(_weights(layer)):
            _same_shape(stored, f"{path}/vars/{i}", weight, found)
    return found


def _weights(layer):
    """Returns the weights of a layer in the order in which Keras stores them."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def _in_order(stored, layers):
    found = {}
    if len(stored.layers) != len(layers):
        wrong = f"{stored.name} holds {len(stored.layers)} layers with weights, and {len(layers)} are needed"
        raise invalid(wrong, works="Name the network that was saved.")
    for layer, (name, paths) in zip(layers, stored.layers, strict=True):
        weights = _weights(layer)
        if len(paths) != len(weights):
            raise invalid(f"layer {name!r} of {stored.name} has {len(paths)} arrays, and {len(weights)} are needed")
        for path, weight in zip(paths, weights, strict=True):
            _same_shape(stored, path, weight, found)
    return found


def _same_shape(stored, path, weight, found):
    shape = stored.shapes.get(path)
    if shape != tuple(weight.shape):
        raise invalid(f"{path} in {stored.name} should be {weight.path} of shape {tuple(weight.shape)}", shape)
    found[weight.path] = path


def left_over(stored, used):
    """Raises unless every array of a file was used.

    Raises:
        InvalidArgument: some are left over; they are named.
    """
    rest = sorted(set(stored.shapes) - set(used))
    if rest:
        more = f" and {len(rest) - 8} more" if len(rest) > 8 else ""
        raise invalid(f"{stored.name} holds arrays that have no place: {', '.join(rest[:8])}{more}")
