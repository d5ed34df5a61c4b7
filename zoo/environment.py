"""What zoo runs on: versions, backends that start and what they see, memory, folders and settings. No Keras here."""

import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from zoo.cache import cache_folder, working
from zoo.speed import chosen_backend, current_backend, installed, keras_json

SETTINGS = ("KERAS_BACKEND", "ZOO_DATA", "ZOO_HUB", "ZOO_CACHE", "ZOO_REGISTRY", "HF_HOME", "HF_ENDPOINT")
SETTINGS += ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_XET", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
PATIENCE = 180  # seconds that a backend may take to start

_PROBE = """
import json
from zoo.machine import hardware
from zoo.workers import answers_apart
answers = answers_apart()
print(json.dumps({"devices": hardware()["devices"]}), file=answers)
"""


@dataclass(frozen=True)
class Backend:
    """A backend: its version, or None where it is not installed; its accelerators; why it does not start, or None."""

    name: str
    version: str | None
    devices: tuple = ()
    error: str | None = None


@dataclass(frozen=True)
class Environment:
    """What `zoo.doctor()` found.

    Attributes:
        zoo, python, keras: versions.
        system, processor: in words.
        cores: that this process may use.
        memory_gib, free_gib: of the machine, the latter what is available now; None where it is not known.
        backends: a `Backend` each.
        backend, chosen_by: the backend that is used, and what chose it.
        settings: environment variables that zoo or its libraries obey, as far as they are set. No token is read.
        folders: (what for, path, "writable", "can be made" or what is wrong) each.
        offline: whether requests to the Hugging Face Hub are forbidden.
        problems: sentences on what will not work.
    """

    zoo: str
    python: str
    keras: str | None
    system: str
    processor: str
    cores: int
    memory_gib: float | None
    free_gib: float | None
    backends: tuple
    backend: str
    chosen_by: str
    settings: dict
    folders: tuple
    offline: bool
    problems: tuple

    def to_json(self):
        """Returns everything as a dict that `json.dumps` takes."""
        return dataclasses.asdict(self)


def environment(quiet=False):
    """Returns the `Environment`; every installed backend is started once, in a process of its own.

    Args:
        quiet: whether to show no progress.
    """
    import zoo
    from zoo.hub.hugging_face import HubStore
    from zoo.machine import available_gib, memory_gib, processor
    from zoo.workers import cores

    with working("Starting each backend ...", quiet):
        backends = _backends()
    settings = {name: _shown(os.environ[name]) for name in SETTINGS if os.environ.get(name)}
    folders = _folders()
    return Environment(
        zoo=zoo.__version__,
        python=platform.python_version(),
        keras=_version("keras"),
        system=f"{platform.system()} {platform.machine()}",
        processor=processor(),
        cores=cores(),
        memory_gib=memory_gib(),
        free_gib=available_gib(),
        backends=backends,
        backend=current_backend(),
        chosen_by=_chosen_by(),
        settings=settings,
        folders=folders,
        offline=HubStore().offline,
        problems=_problems(backends, folders),
    )


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _backends():
    versions = installed()
    with ThreadPoolExecutor() as pool:
        started = dict(zip(versions, pool.map(_started, versions), strict=True))
    missing = [name for name in ("tensorflow", "torch", "jax") if name not in versions]
    return tuple(Backend(name, versions[name], *started[name]) for name in versions) + tuple(
        Backend(name, None) for name in missing
    )


def _started(backend):
    """Returns `(accelerators, error)` of a backend that is imported in a process of its own."""
    from zoo.workers import environment_of

    options = {"capture_output": True, "text": True, "errors": "replace", "timeout": PATIENCE}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-c", _PROBE],
            env=environment_of(backend),
            stdin=subprocess.DEVNULL,
            **options,
        )
        return tuple(json.loads(done.stdout)["devices"]), None
    except subprocess.TimeoutExpired:
        return (), f"it did not start within {PATIENCE} seconds"
    except ValueError:
        said = done.stderr.strip().splitlines()
        return (), f"{said[-1][:300] if said else 'it says nothing'} (status {done.returncode})"


def _chosen_by():
    if os.environ.get("KERAS_BACKEND"):
        return "KERAS_BACKEND"
    return str(keras_json()) if chosen_backend() else "nobody: Keras's own"


def _shown(value):
    """Returns a setting without what may be a password in an address."""
    before, at, after = value.rpartition("@")
    return f"{before.partition('//')[0]}//...@{after}" if at and "//" in before else value


def _folders():
    from zoo.hub.refs import hub_folder

    rows = [("cache", cache_folder()), ("models", hub_folder())]
    if os.environ.get("ZOO_DATA"):
        rows.append(("data (ZOO_DATA)", Path(os.environ["ZOO_DATA"]).expanduser()))
    return tuple((what, str(path), _state(path, what.startswith("data"))) for what, path in rows)


def _state(path, only_read):
    if path.is_dir():
        if only_read:
            return "readable" if os.access(path, os.R_OK | os.X_OK) else "cannot be read"
        return "writable" if os.access(path, os.W_OK | os.X_OK) else "cannot be written"
    if path.exists():
        return "is no folder"
    if only_read:
        return "does not exist"
    above = next(parent for parent in path.absolute().parents if parent.exists())
    return "not there yet, can be made" if os.access(above, os.W_OK | os.X_OK) else "cannot be made"


def _problems(backends, folders):
    bad = ("cannot be read", "cannot be written", "cannot be made", "is no folder", "does not exist")
    found = [f"The folder for {what} {state}: {path}." for what, path, state in folders if state in bad]
    found += [f"{b.name} {b.version} does not start: {b.error}." for b in backends if b.error]
    if not any(b.version and not b.error for b in backends):
        found.append("No backend works: pip install tensorflow, torch or jax.")
    known = {b.name: b for b in backends}
    used = known.get(current_backend())
    if used is None or used.version is None:
        found.append(f"The backend {current_backend()}, chosen by {_chosen_by()}, is not installed.")
    return tuple(found)
