"""Snapshots: the weights that a model had in the course of one training, each a model of its own.

In a run folder they are `snapshots/1`, `snapshots/2`, ..., each a flat repository, `config.json` and its files, that
`zoo.load` and `zoo.ensemble` read as any other.
"""

from pathlib import Path

import keras

from zoo.adapters import merged_weights
from zoo.compiled import plain
from zoo.errors import invalid
from zoo.files import disk, make_folder, sha256_of, write_atomic
from zoo.hub import manifest
from zoo.spec import spec_of
from zoo.weights import save_weights

FOLDER = "snapshots"


def write_snapshot(model, run_folder, number):
    """Writes the weights that a model has now as snapshot `number` of a run. Returns the snapshot's folder.

    Args:
        model: a model of zoo's; its labels and preprocessing go along.
        run_folder: where the run is; side files of the preprocessing, such as vocabularies, are copied from there.
        number: counted from 1; a snapshot of that number is replaced.

    Raises:
        StoreError: the disk does not allow it.
    """
    spec, folder = spec_of(model), make_folder(Path(run_folder) / FOLDER / str(number))
    made = plain(model)
    with merged_weights(model):
        files = [save_weights(made, folder / manifest.WEIGHTS)]
    for name in manifest.asset_names(spec):
        with disk(Path(run_folder) / name, "read"):
            content = (Path(run_folder) / name).read_bytes()
        files.append(write_atomic(folder / name, content))
    listed = {path.name: (path.stat().st_size, sha256_of(path)) for path in map(Path, files)}
    write_atomic(folder / manifest.CONFIG, manifest.Manifest(spec, made.count_params(), listed).to_bytes())
    return folder


def snapshots_of(run):
    """Returns the folders of a run's snapshots, in order.

    Args:
        run: a `zoo.Run`, or the folder of one.
    """
    folder = Path(getattr(run, "folder", run)) / FOLDER
    return sorted((path for path in folder.glob("*") if path.name.isdigit()), key=lambda path: int(path.name))


def snapshot_models(model):
    """Returns the snapshots that a plain `fit` with the trick kept in `model.snapshots`, each a `keras.Model`.

    Raises:
        InvalidArgument: the model keeps none.
    """
    kept = getattr(model, "snapshots", None)
    if not kept:
        raise invalid("this model keeps no snapshots", works="Fit it with a recipe that has the trick snapshot.")
    models = []
    for weights in kept:
        models.append(keras.models.clone_model(plain(model)))
        models[-1].set_weights(weights)
        models[-1].zoo_spec = spec_of(model)
    return models
