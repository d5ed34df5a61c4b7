"""Names of data sets: register one, look one up, list them. Imports neither Keras nor NumPy."""

import importlib
import inspect
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import Conflict, unknown
from zoo.tasks import TASKS

OF_ALL = ("train_share", "resize")  # options of every data set: of `zoo.data.load`, and of images for a trained model


@dataclass(frozen=True)
class DatasetRow:
    """One registered data set: its name, task, a one-line summary and its options with their defaults."""

    name: str
    task: str
    summary: str
    arguments: dict


_functions = {}  # name -> (row, function)


def dataset(name, *, task):
    """Registers the decorated function as the loader of a data set.

    Its named arguments, all annotated and with defaults, are the data set's options; it returns a
    `zoo.data.base.Dataset`. The first line of its docstring is the summary. Heavy imports belong inside it.

    Raises:
        Conflict: the name is taken.
        UnknownName: there is no such task.
    """
    if task not in TASKS:
        raise unknown("task", task, TASKS)

    def decorate(function):
        taken = _functions.get(name)
        if taken is not None and taken[1].__module__ != function.__module__:
            raise Conflict(f"a data set named {name!r} is already registered, by {taken[1].__module__}.")
        summary = (inspect.getdoc(function) or "").partition("\n")[0].rstrip(".")
        arguments = {p.name: p.default for p in inspect.signature(function).parameters.values()}
        _functions[name] = DatasetRow(name, task, summary, arguments), function
        return function

    return decorate


def _import_all():
    """Imports every file of `zoo/data/sets`; they import NumPy only when a data set is loaded."""
    for path in sorted((Path(__file__).parent / "sets").glob("[!_]*.py")):
        importlib.import_module(f"zoo.data.sets.{path.stem}")


def rows():
    """Returns the `DatasetRow` of every registered data set, by name."""
    _import_all()
    return {name: _functions[name][0] for name in sorted(_functions)}


def find(name):
    """Returns the function that loads a data set.

    Raises:
        UnknownName: with the nearest name.
    """
    _import_all()
    if name not in _functions:
        works = f"A file or folder needs its path: './{name}'." if Path(name).exists() else None
        raise unknown("data set", name, _functions, see="zoo.data.names()", works=works)
    return _functions[name][1]
