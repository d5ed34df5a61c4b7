"""Keras learns the names of zoo's classes once both are imported, in either order, so `load_model` finds them.

Nothing is imported for it: a class comes when a saved file asks for it, by the module that `registry.json` names.
"""

import functools
import importlib
import importlib.util
import sys


class _Later:
    """Stands in Keras's registry for a class whose module is not imported yet."""

    def __init__(self, module, name):
        self.module = module
        self.name = name

    def from_config(self, config, **options):
        return getattr(importlib.import_module(self.module), self.name).from_config(config, **options)


def _announce():
    import keras

    from zoo.registry import index

    known = keras.saving.get_custom_objects()
    for registered, module in index().get("objects", {}).items():
        known.setdefault(registered, _Later(module, registered.partition(">")[2]))


class _WhenKerasComes:
    """A finder that finds nothing itself: it lets Keras be imported as usual, and then announces the classes."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "keras":
            return None
        sys.meta_path.remove(cls)
        spec = importlib.util.find_spec(name)
        if spec is None:
            sys.meta_path.insert(0, cls)
            return None
        execute = spec.loader.exec_module

        @functools.wraps(execute)
        def exec_module(module):
            execute(module)
            _announce()

        spec.loader.exec_module = exec_module
        return spec


def announce():
    """Announces zoo's classes to Keras, now or when it is imported."""
    if "keras" in sys.modules:
        _announce()
    elif _WhenKerasComes not in sys.meta_path:
        sys.meta_path.insert(0, _WhenKerasComes)
