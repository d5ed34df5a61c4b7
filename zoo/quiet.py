"""Importing Keras, and TensorFlow whenever something asks for it, without their start-up notices."""

import contextlib
import functools
import importlib.util
import logging
import os
import sys
import tempfile


@contextlib.contextmanager
def _stderr_held_back():
    """Keeps what the block writes to standard error, C++ code included, and shows it only if the block fails."""
    try:
        sys.stderr.flush()
        saved = os.dup(2)
    except (OSError, ValueError, AttributeError):  # no usable standard error, as in some notebooks
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(saved, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


class _HushTensorFlow:
    """A finder that finds TensorFlow as usual, and holds standard error back while it is executed."""

    _looking = False

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "tensorflow" or cls._looking:
            return None
        cls._looking = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            cls._looking = False
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        @functools.wraps(execute)
        def exec_module(module):
            with _stderr_held_back():
                execute(module)

        spec.loader.exec_module = exec_module
        return spec


def import_keras():
    """Imports Keras if nobody has.

    TensorFlow announces CPU features and missing GPUs on standard error when it is imported, whatever
    TF_CPP_MIN_LOG_LEVEL says, because it does so before it reads its settings. With other backends it comes later,
    with the first data pipeline; its import is hushed then.
    """
    if "tensorflow" not in sys.modules and _HushTensorFlow not in sys.meta_path:
        sys.meta_path.insert(0, _HushTensorFlow)
    if "keras" not in sys.modules:
        with _stderr_held_back():
            import keras  # noqa: F401


@contextlib.contextmanager
def no_retracing_notice():
    """Within this block TensorFlow keeps its advice on tracing, which new models and smaller last batches need."""

    def other(record):
        return "triggered tf.function retracing" not in record.getMessage()

    logger = logging.getLogger("tensorflow")
    logger.addFilter(other)
    try:
        yield
    finally:
        logger.removeFilter(other)
