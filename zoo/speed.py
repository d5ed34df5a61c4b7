"""Which backend a recipe was measured fastest on, and the choice of it before Keras is imported. Imports no Keras.

A recipe file may hold a table `[speed]`, as `zoo doctor --recipe NAME --toml` prints it:

    [speed]
    backend = "torch"        # the fastest where it was measured, beyond the noise; else what Keras takes by itself
    against = "tensorflow"   # what Keras takes by itself; where that is the fastest, the next
    ratio = 1.8              # of the examples per second of the two; low and high are its 95% interval
    device = "cpu"           # or "accelerator": what was measured on one says nothing about the other
    jit = false              # whether XLA helps TensorFlow, for trainings that need not repeat bit for bit

`zoo train` and `zoo reproduce` take that backend unless the user chose one.
"""

import importlib.util
import json
import os
import sys
from pathlib import Path

from zoo.errors import invalid, unknown

PACKAGES = {"tensorflow": "tensorflow", "torch": "torch", "jax": "jax"}  # backend -> what its installation is named
KERAS_OWN = "tensorflow"  # what Keras takes, and writes into keras.json, where nobody chose
DEVICES = ("cpu", "accelerator")
_FIELDS = {
    "backend": str,
    "against": str,
    "ratio": (int, float),
    "low": (int, float),
    "high": (int, float),
    "examples_per_second": dict,
    "jit": bool,
    "device": str,
    "hardware": str,
    "versions": str,
    "command": str,
}


def checked_speed(table, where):
    """Returns the `[speed]` of a recipe file as it is.

    Raises:
        UnknownName: a field, a backend or a device has no such name.
        InvalidArgument: a field is missing or of the wrong type.
    """
    for name, value in table.items():
        if name not in _FIELDS:
            raise unknown(f"field of [speed] in {where}", name, _FIELDS)
        if not isinstance(value, _FIELDS[name]) or (isinstance(value, bool) and _FIELDS[name] is not bool):
            raise invalid(f"{where}: `{name}` of [speed] has the wrong type", value)
    for name in ("backend", "against", "ratio"):
        if name not in table:
            raise invalid(f"{where}: [speed] has no `{name}`", table, "It needs backend, against and ratio.")
    for name in ("backend", "against"):
        if table[name] not in PACKAGES:
            raise unknown(f"backend in [speed] of {where}", table[name], PACKAGES)
    if table.get("device", "cpu") not in DEVICES:
        raise unknown(f"device in [speed] of {where}", table["device"], DEVICES)
    return table


def installed():
    """Returns the backends that are installed, Keras's own default first: name -> version."""
    from importlib import metadata

    found = {}
    for backend, package in PACKAGES.items():
        if importlib.util.find_spec(package) is not None:
            try:
                found[backend] = metadata.version(package)
            except metadata.PackageNotFoundError:
                found[backend] = "unknown"
    return found


def keras_json():
    """Returns the path of Keras's settings, there or not."""
    home = os.environ.get("KERAS_HOME")
    return (Path(home) if home else Path("~/.keras").expanduser()) / "keras.json"


def chosen_backend():
    """Returns the backend that the user chose, or None.

    It is what `KERAS_BACKEND` says, or `keras.json` where it names another than TensorFlow: Keras writes that file by
    itself, with TensorFlow in it, so "tensorflow" there is no choice of anybody's.
    """
    if os.environ.get("KERAS_BACKEND"):
        return os.environ["KERAS_BACKEND"]
    try:
        said = json.loads(keras_json().read_text("utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):
        return None
    return said if isinstance(said, str) and said != KERAS_OWN else None


def current_backend():
    """Returns the backend that Keras has, or would take if it were imported now."""
    if "keras" in sys.modules:
        return sys.modules["keras"].backend.backend()
    return chosen_backend() or KERAS_OWN


def device():
    """Returns "accelerator" where the machine shows one that it may use, else "cpu"; asks no backend."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    nvidia = hidden not in ("", "-1") and (list(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/dxg").exists())
    return "accelerator" if nvidia or Path("/dev/kfd").exists() or list(Path("/dev").glob("accel*")) else "cpu"


def measured_for(settings, model):
    """Returns `(name of the recipe, its [speed])` for a model, or None.

    Args:
        settings: of `zoo.recipes.Recipe`, or of `zoo.recipes.outline`.
        model: name of the model that will be trained; what was measured of another says nothing about it.
    """
    from zoo.registry import find_model

    models = settings.get("model", {})
    for name, table in settings.get("speed", {}).items():
        same = name in models and find_model(models[name]).name == find_model(model).name
        if same and table.get("device", "cpu") == device():
            return name, table
    return None


def backend_of_run(folder):
    """Returns the backend that the run in a folder was made with, or None."""
    from zoo.runs import RUN

    try:
        said = json.loads((Path(folder) / RUN).read_text("utf-8"))["versions"]["backend"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return said if said in PACKAGES else None


def take_fastest(settings, model, run=None):
    """Chooses the backend of a training, by setting `KERAS_BACKEND`, where the user did not. Keras is not imported.

    A run that is continued keeps its backend, because another would not continue it exactly.

    Args:
        settings, model: as for `measured_for`.
        run: folder of a run that will be continued, or None.

    Returns:
        A sentence for the user, or None where there is nothing to say.
    """
    if chosen_backend() or "keras" in sys.modules:
        return None
    begun = backend_of_run(run) if run is not None else None
    if begun is not None:
        if begun == KERAS_OWN or begun not in installed():
            return None  # what is missing is named by the error that follows
        os.environ["KERAS_BACKEND"] = begun
        return f"backend: {begun}, on which the run in {run} began."
    found = measured_for(settings, model)
    if found is None or found[1]["backend"] == KERAS_OWN:
        return None
    backend = found[1]["backend"]
    if backend not in installed():
        return f"{faster(*found)}; it is not installed (pip install {PACKAGES[backend]})."
    os.environ["KERAS_BACKEND"] = backend
    return f"backend: {backend}. {faster(*found)}; set KERAS_BACKEND to choose yourself."


def faster(name, table):
    """Returns the beginning of a sentence on what was measured."""
    return (
        f"Recipe {name} was measured {table['ratio']:.2g} times as fast on {table['backend']} as on "
        + (table["against"])
    )


def measured_jit(settings, model):
    """Returns whether TensorFlow was measured to be faster with XLA, or None where it is not known or not the backend.

    Args:
        settings, model: as for `measured_for`; an unknown model is none that was measured.
    """
    if current_backend() != "tensorflow" or "speed" not in settings:
        return None
    found = measured_for(settings, model)
    return found[1].get("jit") if found else None


_told = set()


def advice(settings, model):
    """Returns, once for each recipe, a sentence on the backend that would be faster, for a Keras that is imported.

    Nothing is said to users who chose the backend that they have.
    """
    if chosen_backend():
        return None
    found = measured_for(settings, model)
    if found is None or found[1]["backend"] == current_backend() or found[0] in _told:
        return None
    _told.add(found[0])
    return f"{faster(*found)}. To use it, set KERAS_BACKEND={found[1]['backend']} before Keras is imported."
