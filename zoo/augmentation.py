"""Augmentation for `model.fit(x, y)`: what a recipe declares runs in tf.data, whatever the backend that trains."""

import math
import random

from zoo.errors import MissingDependency, invalid


def augmented(functions, x, y, batch_size, options):
    """Returns `(data, None, None, options)` for `fit`: the training data as an augmented tf.data.Dataset.

    Args:
        functions: `(images, labels, seeds) -> (images, labels)` on TensorFlow batches.
        x, y: arrays, or a batched tf.data.Dataset of (images, labels) and None.
        batch_size: of arrays; None is 32, as in Keras.
        options: other arguments of `fit`; those that only arrays take are used up here.

    Raises:
        MissingDependency: TensorFlow is not installed.
        InvalidArgument: the data is of a kind that cannot be augmented here.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise MissingDependency("augmentation runs in tf.data: pip install tensorflow, or drop the trick.") from error
    import numpy as np

    options = dict(options)
    seed = random.getrandbits(30)  # `keras.utils.set_random_seed` makes this repeatable, as it does Keras's own seeds
    if isinstance(x, tf.data.Dataset):
        data = x
    elif isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
        columns = [x, y] if (weights := options.pop("sample_weight", None)) is None else [x, y, np.asarray(weights)]
        if share := options.pop("validation_split", 0):
            first = math.floor(len(x) * (1 - share))  # as Keras splits: the last examples are held out
            if not 0 < first < len(x):
                raise invalid(f"`validation_split` of {len(x):,} examples leaves one part empty", share)
            options["validation_data"] = tuple(c[first:] for c in columns)
            columns = [c[:first] for c in columns]
        data = tf.data.Dataset.from_tensor_slices(tuple(columns))
        if options.get("shuffle", True):
            data = data.shuffle(len(columns[0]), seed=seed)
        data = data.batch(batch_size or 32)
    else:
        raise invalid("a recipe that augments needs NumPy arrays or a tf.data.Dataset", type(x).__name__)
    if not options.get("steps_per_epoch"):
        steps = int(data.cardinality())
        if steps == tf.data.UNKNOWN_CARDINALITY:
            works = "Pass `steps_per_epoch=`, or apply tf.data.experimental.assert_cardinality."
            raise invalid("augmentation needs to know how many batches an epoch has", works=works)
        if steps != tf.data.INFINITE_CARDINALITY:
            options["steps_per_epoch"] = steps

    def augment(number, batch):
        images, labels, *rest = batch
        for i, function in enumerate(functions):
            seeds = tf.cast(tf.stack([seed + i, number]), "int32")
            images, labels = function(images, labels, seeds)
        return images, labels, *rest

    options["shuffle"] = False  # done; Keras would warn that it cannot
    return data.repeat().enumerate().map(augment).prefetch(2), None, None, options
