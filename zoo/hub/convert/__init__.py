"""Checkpoints of other libraries become zoo's: one file in this folder per foreign format, found by listing it.

A converter is a module here with

    VERSION                     a whole number, raised whenever the converter gives other results than before
    recognise(names, config)    whether a repository with these files and this `config.json` has the format;
                                config: the parsed JSON, a dict, {} where there is none. Reads nothing else.
    wanted(names, config)       the files of such a repository that `read` needs; raises `InvalidArgument` with the
                                reason where the format is right and this checkpoint cannot be converted: another
                                architecture, pickled weights alone
    read(folder, config)        the wanted files, in a folder, as a `Foreign` (see `zoo.hub.convert.foreign`)
    load(model, tensors, **options)  fills a zoo model with `Foreign.tensors`, each used exactly once

and, for weight files without a repository around them,

    FILES                       endings of their names, such as (".h5",)
    read_file(path, name, arguments)  such a file as a `Foreign`; name: of the builder, arguments: those given for it,
                                None and {} where the user gave none and the file itself has to tell
    owns(path)                  whether a file with such an ending is of this format, where several formats have it

Nothing of a foreign repository is executed or unpickled: `read` parses JSON, safetensors, and HDF5 through h5py.
"""

import functools
import importlib
import pkgutil

from zoo.errors import unknown

UNSAFE = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".py", ".npz", ".msgpack", ".keras", ".tar")


@functools.cache
def formats():
    """Returns the converters: dict, name of the format -> module, by alphabet."""
    modules = {m.name: importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)}
    return {name: module for name, module in sorted(modules.items()) if hasattr(module, "recognise")}


def converter(format):
    """Returns the module of a format.

    Raises:
        UnknownName: there is none of this name.
    """
    if format not in formats():
        raise unknown("foreign format", format, formats())
    return formats()[format]


def recognise(names, config):
    """Returns the format of a foreign repository, or None.

    Args:
        names: of its files.
        config: its parsed `config.json`, {} or None where it has none.
    """
    config = config if isinstance(config, dict) else {}
    return next((name for name, module in formats().items() if module.recognise(names, config)), None)


def wanted(names, config):
    """Returns the names of the files of a recognised repository that its conversion needs, `config.json` included.

    Each is refused above `zoo.hub.convert.foreign.limit(name)` bytes, and never one that could hold code.

    Raises:
        InvalidArgument: the format is not known, or this checkpoint is one that zoo does not build; with the reason.
    """
    config = config if isinstance(config, dict) else {}
    files = converter(recognise(names, config)).wanted(names, config)
    kept = dict.fromkeys(name for name in ("config.json", *files, "README.md") if name in names)
    assert not any(name.endswith(UNSAFE) for name in kept), kept
    return tuple(kept)


def version(format):
    """Returns a text that changes whenever a format's converter would give other results, for keys of caches."""
    return f"{format}-{converter(format).VERSION}"


def converted(format, folder, stage, *, source, sha256=None):
    """Writes the revision that a foreign checkpoint becomes: `config.json`, `model.safetensors`, `README.md`.

    Args:
        format: as `recognise` gives it.
        folder: with the `wanted` files.
        stage: an empty folder to write to.
        source: what the checkpoint is called, a pinned reference where it has one; the model's `Spec.parent`.
        sha256: of the file of foreign weights where it is known; hashed here otherwise.

    Returns:
        The `zoo.hub.manifest.Manifest` that was written.

    Raises:
        InvalidArgument: this checkpoint is one that zoo does not build, or its tensors do not fit; nothing is left out
            silently, leftovers are named.
        IntegrityError: a file is damaged.
        StoreError: the disk does not allow it.
    """
    from zoo.hub.convert.foreign import read_config
    from zoo.hub.convert.writing import write_revision

    module = converter(format)
    return write_revision(module, module.read(folder, read_config(folder)), stage, source=source, sha256=sha256)
