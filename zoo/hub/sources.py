"""What is pushed, and what a model can be loaded from besides a store: the folder of a run."""

import contextlib
import json
import math
import re
from pathlib import Path

from zoo.cache import cache_folder
from zoo.errors import IntegrityError, InvalidArgument, StoreError, invalid
from zoo.files import disk
from zoo.hub import manifest
from zoo.hub.convert.foreign import license_in, license_of
from zoo.spec import Spec, spec_of

BEST = "best.safetensors"
CURVES = "curves.png"
_SIDE_FILES = (manifest.RUN, CURVES)


def is_run_folder(path):
    """Says whether a folder is that of a run: it has a `run.json`, and no revision's weights."""
    path = Path(path)
    return (path / manifest.RUN).is_file() and not (path / manifest.WEIGHTS).exists()


def run_spec(folder):
    """Returns the `Spec` of a run folder.

    Raises:
        InvalidArgument: training ended before its first checkpoint.
        IntegrityError: its `config.json` is damaged.
    """
    folder = Path(folder)
    if not (folder / BEST).is_file() or not (folder / manifest.CONFIG).is_file():
        raise invalid(f"run {folder} has no {BEST} yet", works="Let it train to the end of its first epoch.")
    try:
        with disk(folder / manifest.CONFIG, "read"):
            return Spec.from_json(json.loads((folder / manifest.CONFIG).read_bytes()))
    except (ValueError, TypeError, AttributeError) as error:
        raise IntegrityError(
            f"{folder / manifest.CONFIG} does not describe a model ({error}). Restore it, or train again."
        ) from error


def run_files(folder):
    """Returns `(spec, files)` of a run folder; files: published name -> path."""
    folder, spec = Path(folder), run_spec(folder)
    files = {manifest.WEIGHTS: folder / BEST}
    for name in (*_SIDE_FILES, *manifest.asset_names(spec)):
        manifest.check_file_name(name, folder / manifest.CONFIG)
        if (folder / name).is_file():
            files[name] = folder / name
    return spec, files


def parent_license(model_or_run):
    """Returns `(reference, licence or None)` of the weights that a model or run started from, `(None, None)` of others.

    The licence is what the training recorded or what the parent's card says, where that lies in the cache; nothing is
    fetched.
    """
    parent, recorded, folders = _parent_of(model_or_run)
    if not isinstance(parent, str):
        return None, None
    commit = parent.rpartition("@")[2]
    shelf = cache_folder() / "models"
    if re.fullmatch(r"[0-9a-f]{40}", commit) and shelf.is_dir():
        folders += sorted(p for p in shelf.iterdir() if commit in p.name and not p.name.startswith("."))
    for folder in folders if recorded is None else ():
        with contextlib.suppress(StoreError):
            recorded = recorded or license_in(folder)
    return parent, license_of(recorded)


def _parent_of(model_or_run):
    """Returns `(reference, recorded licence or None, folders that may hold its card)` of what this began with."""
    origin = getattr(model_or_run, "zoo_origin", None)
    if getattr(origin, "folder", None) and not is_run_folder(origin.folder):  # of `zoo.load`: its weights are another's
        return origin.ref, None, [origin.folder]
    with contextlib.suppress(InvalidArgument, IntegrityError, StoreError):
        folder = getattr(model_or_run, "folder", model_or_run)
        spec = getattr(model_or_run, "zoo_spec", None)
        if spec is None and isinstance(folder, (str, Path)):
            spec = run_spec(Path(folder).expanduser())
        parent = getattr(spec, "parent", None) or {}
        return parent.get("ref"), parent.get("license"), []
    return None, None, []


# What is pushed


def gather(model_or_run, own, assets):
    """Returns `(spec, files)` of what is pushed; files: name -> path or bytes. `own` is an empty folder to write in."""
    if hasattr(model_or_run, "publishable"):
        files = dict(model_or_run.publishable())
        spec = model_or_run.spec
    elif isinstance(model_or_run, (str, Path)):
        folder = Path(model_or_run).expanduser()
        if not is_run_folder(folder):
            raise invalid("only a model or the folder of a run can be pushed", str(folder), _PUSHABLE)
        spec, files = run_files(folder)
    elif getattr(model_or_run, "outputs", None):
        spec, files = spec_of(model_or_run), {manifest.WEIGHTS: own / manifest.WEIGHTS}
        _save(model_or_run, spec, files[manifest.WEIGHTS])
        origin = getattr(model_or_run, "zoo_origin", None)
        files |= {name: origin.folder / name for name in manifest.asset_names(spec) if origin}
    else:
        raise invalid("only a model or a run can be pushed", type(model_or_run).__name__, _PUSHABLE)
    for name in assets:
        manifest.check_file_name(name, "`assets`")
        if name in _OWN:
            raise invalid("`assets` are side files, and this name is that of a file zoo writes", name, "Rename it.")
    return spec, {**files, **assets}


_OWN = (manifest.CONFIG, manifest.WEIGHTS, manifest.CARD, manifest.RUN)
_PUSHABLE = "Pass a model from `zoo.build` or `zoo.load`, a `zoo.Run`, or the folder that `zoo.train` wrote."


def _save(model, spec, path):
    """Saves a model's weights once they are known to fit what its builder makes, so that they can be loaded again."""
    from zoo.compiled import plain
    from zoo.factory import build_empty
    from zoo.weights import save_weights

    model = plain(model)
    mine = {w.path: tuple(w.shape) for w in model.weights}
    built = {w.path: tuple(w.shape) for w in build_empty(spec.name, **spec.arguments).weights}
    if mine != built:
        odd = sorted(name for name in {*mine, *built} if mine.get(name) != built.get(name))
        raise invalid(
            f"model {model.name!r} is not what builder {spec.name!r} makes with its arguments: {', '.join(odd[:6])} "
            f"differ{'s' if len(odd) == 1 else ''}",
            works="It could not be loaded again. Change the model through arguments of `zoo.build`, or register a "
            "builder of your own with `zoo.register`.",
        )
    save_weights(model, path)


def counted(spec, weights):
    """Returns `(number of weights, number of outputs or None)`, once the weight file is known to be whole.

    Raises:
        IntegrityError: it is damaged; what was published so would be refused by every pull.
    """
    from zoo.weights import verify

    outputs = None if spec.heads else spec.arguments.get("num_classes")
    return sum(math.prod(shape) for _, shape in verify(weights).values()), outputs


def check_assets(spec, files):
    """Raises unless the files that the preprocessing names are among those to publish."""
    for name in manifest.asset_names(spec):
        if name not in files:
            raise invalid(
                f"the preprocessing of model {spec.name!r} needs the file {name!r}, and it is not there",
                works=f"Pass assets={{{name!r}: path}}.",
            )


def record_in(files):
    """Returns the parsed `run.json` among files to publish, or None.

    Raises:
        IntegrityError: it is damaged.
    """
    if manifest.RUN not in files:
        return None
    source = files[manifest.RUN]
    try:
        with disk(source, "read"):
            record = json.loads(source if isinstance(source, bytes) else Path(source).read_bytes())
    except ValueError as error:
        raise IntegrityError(
            f"{source} is not valid JSON ({error}). Nothing was pushed. Train again, or push the model alone."
        ) from error
    return record if isinstance(record, dict) else None
