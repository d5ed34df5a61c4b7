"""What is pushed, and what a model can be loaded from besides a store: the folder of a run."""

import contextlib
import json
import re
from pathlib import Path

from zoo.cache import cache_folder
from zoo.errors import IntegrityError, InvalidArgument, StoreError, invalid
from zoo.files import disk
from zoo.hub import manifest
from zoo.hub.convert.foreign import license_in
from zoo.spec import Spec

BEST = "best.safetensors"
_SIDE_FILES = (manifest.RUN, "curves.png")


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

    The licence is read from the card of the parent where that lies in the cache; nothing is fetched.
    """
    parent, folders = _parent_of(model_or_run)
    if not isinstance(parent, str):
        return None, None
    commit = parent.rpartition("@")[2]
    shelf = cache_folder() / "models"
    if re.fullmatch(r"[0-9a-f]{40}", commit) and shelf.is_dir():
        folders += sorted(p for p in shelf.iterdir() if commit in p.name and not p.name.startswith("."))
    for folder in folders:
        with contextlib.suppress(StoreError):
            if found := license_in(folder):
                return parent, found
    return parent, None


def _parent_of(model_or_run):
    """Returns the reference that a model or run started from, and the folders here that may hold its card."""
    origin = getattr(model_or_run, "zoo_origin", None)
    if origin is not None:  # of `zoo.load`: pushed again, its weights are another's
        return origin.ref, [origin.folder]
    with contextlib.suppress(InvalidArgument, IntegrityError, StoreError):
        folder = getattr(model_or_run, "folder", model_or_run)
        spec = getattr(model_or_run, "zoo_spec", None)
        if spec is None and isinstance(folder, (str, Path)):
            spec = run_spec(Path(folder).expanduser())
        return (getattr(spec, "parent", None) or {}).get("ref"), []
    return None, []
