"""Importing Keras without its backend's start-up notices."""

import contextlib
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


def import_keras():
    """Imports Keras if nobody has. TensorFlow announces CPU features and missing GPUs on standard error, whatever
    TF_CPP_MIN_LOG_LEVEL says, because it does so before it reads its settings.
    """
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
