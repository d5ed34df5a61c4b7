"""`zoo.convert`: a foreign checkpoint, here or on the Hub, becomes a plain model and a revision in the cache."""

import contextlib
import dataclasses
import os
import shutil
import tempfile
from pathlib import Path

from zoo.cache import cache_folder
from zoo.errors import invalid
from zoo.files import disk, locked, make_folder, replace_folder, temporary_beside
from zoo.hub import convert as formats_of
from zoo.hub import manifest
from zoo.hub.convert.foreign import MAX_SMALL_BYTES, WEIGHTS, limit, read_config
from zoo.hub.convert.writing import write_revision
from zoo.hub.refs import looks_like_path


def convert(path_or_ref, format=None, *, out=None, name=None, license=None, **arguments):
    """Makes a model of a checkpoint of timm, transformers, `keras.applications` or KerasHub.

    Args:
        path_or_ref: a folder with what such a repository holds, a weight file, or a reference such as
            "hf://timm/resnet50.a1_in1k", which is pulled.
        format: as `zoo.hub.convert.formats()` lists them; None finds out.
        out: where to publish the converted model, as the `target` of `zoo.push`; None publishes nothing.
        name: our builder, such as "resnet50", for a weight file without a `config.json` beside it.
        license: of the weights, for `out`, where the checkpoint names none.
        **arguments: of that builder, such as `num_classes=10`.

    Returns:
        An uncompiled plain `keras.Model` as `zoo.load` gives it: labels and preprocessing in `zoo_spec`, source,
        files and licence in `zoo_origin`.

    Raises:
        UnknownName: no such format, builder or argument.
        InvalidArgument: the format is not recognised, zoo has no such network, or tensors are missing, left over or of
            another shape; each is named.
        IntegrityError: a file is damaged.
        StoreError: the disk does not allow it.
    """
    from zoo.hub import load, push

    if format is not None:
        formats_of.converter(format)
    local = isinstance(path_or_ref, os.PathLike) or looks_like_path(str(path_or_ref)) or os.path.exists(path_or_ref)
    if local:
        path = Path(path_or_ref).expanduser()
        folder = _converted_here(path, format, name, arguments)
        model = load(folder)
        model.zoo_origin = dataclasses.replace(model.zoo_origin, ref=str(path.absolute()))
    else:
        if name is not None or arguments:
            works = "Change them afterwards: zoo.load(ref, num_classes=7)."
            raise invalid("a repository says itself which builder and arguments it needs", name or arguments, works)
        model = load(path_or_ref)
        found = (model.zoo_spec.parent or {}).get("format")
        if format not in (None, found):
            raise invalid(f"{path_or_ref} is not of this format but of {found or 'zoo itself'}", format)
    if out is not None:
        push(model, out, license=license or model.zoo_origin.license)
    return model


def notes_of(model):
    """Returns what the card of a converted model says was left out or is unusual, as a list of sentences."""
    card = model.zoo_origin.folder / manifest.CARD
    lines = card.read_text("utf-8").splitlines() if card.is_file() else []
    return [
        line.removeprefix("- ").replace("\\", "")
        for line in lines
        if line.startswith(("- Left out: ", "- Two outputs: "))
    ]


def _converted_here(path, format, name, arguments):
    """Returns the folder in the cache that a local folder or file became."""
    if not path.exists():
        raise invalid("there is no such file or folder", str(path), "Give a folder, a file, or a reference.")
    shelf = make_folder(cache_folder() / "models")
    stage = temporary_beside(shelf / "converted")
    try:
        with disk(stage):
            stage.mkdir()
        found = _convert(path, format, name, arguments, stage)
        commit = manifest.revision_of((stage / manifest.CONFIG).read_bytes())
        assert found.files.keys() == {manifest.WEIGHTS, manifest.CARD}
        with locked(shelf / f".{commit}.lock"):
            replace_folder(stage, shelf / commit)
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return shelf / commit


def _convert(path, format, name, arguments, stage):
    """Converts a local folder or file into an empty folder. Returns the `Manifest`."""
    if path.is_dir():
        if name is not None or arguments:
            raise invalid("a folder's config.json says which builder and arguments it needs", name or arguments)
        return _convert_folder(path, format, stage, path.name)
    beside = read_config(path.parent) if path.suffix == ".safetensors" and name is None else {}
    if path.suffix == ".safetensors" and formats_of.recognise([path.name], beside):
        with _as_folder(path) as folder:
            return _convert_folder(folder, format, stage, path.name)
    module = formats_of.converter(format) if format else _module_for(path)
    if not path.name.endswith(getattr(module, "FILES", ())):
        works = "Pickled files can run code when they are read, and are refused."
        raise invalid("this format has no such files", path.name, works)
    return write_revision(module, module.read_file(path, name, arguments), stage, source=path.name)


def _convert_folder(folder, format, stage, source):
    config = read_config(folder)
    with disk(folder, "read"):
        sizes = {p.name: p.stat().st_size for p in folder.iterdir() if p.is_file()}
    if type(config.get("format")) is int:
        raise invalid("this folder holds a model of zoo already", str(folder), f"Use zoo.load({str(folder)!r}).")
    found = formats_of.recognise(sorted(sizes), config)
    if found is None or format not in (None, found):
        known = f"Known: {', '.join(formats_of.formats())}."
        wrong = f"{source!r} is not a checkpoint of {format or 'any known format'}"
        raise invalid(wrong, sorted(sizes)[:12], f"It is of the format {found!r}." if found else known)
    for name in formats_of.wanted(sorted(sizes), config):
        if sizes[name] > limit(name):
            raise invalid(f"{name!r} has {sizes[name]:,} bytes; {limit(name):,} is the limit")
    return formats_of.converted(found, folder, stage, source=source)


@contextlib.contextmanager
def _as_folder(path):
    """Gives a folder in which a weight file of any name, and what lies beside it, has the names of a repository."""
    with tempfile.TemporaryDirectory(prefix="zoo-convert-") as folder:
        folder = Path(folder)
        for file in path.parent.iterdir():
            if file.suffix in (".json", ".md") and file.is_file() and file.stat().st_size <= MAX_SMALL_BYTES:
                shutil.copyfile(file, folder / file.name)
        try:
            (folder / WEIGHTS).symlink_to(path.absolute())
        except OSError:  # a system that does not let everybody make links
            shutil.copyfile(path, folder / WEIGHTS)
        yield folder


def _module_for(path):
    """Returns the converter that reads a weight file, by the names of its tensors where several could."""
    modules = [m for m in formats_of.formats().values() if path.name.endswith(getattr(m, "FILES", ()))]
    if not modules:
        works = "Weight files end with .safetensors or .h5; pickled ones can run code when they are read."
        raise invalid("no converter reads such a file", path.name, works)
    claimed = [m for m in modules if getattr(m, "owns", lambda path: False)(path)]
    return (claimed or modules)[0]
