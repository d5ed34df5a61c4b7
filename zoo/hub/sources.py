"""What a model can be loaded from besides a store: the folder of a run."""

import json
from pathlib import Path

from zoo.errors import IntegrityError, invalid
from zoo.files import disk
from zoo.hub import manifest
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
