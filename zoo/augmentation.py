"""Augmentation: what a recipe's data stage does to training batches, in tf.data, whatever the backend that trains.

An augment function is `(x, y, seeds) -> (x, y)` on a batch of TensorFlow tensors, with `seeds` a stateless seed, int32
(2,), so that the same seed, epoch and batch give the same result in every run. It is traced as it stands, without
AutoGraph: an `if` on a tensor raises, `tf.where` and `tf.cond` choose. It may carry attributes:

    order: PIXELS, COVERS or MIXES; functions run in that order, whatever their tricks are called. An example is
        moved first, then parts of it are covered, and last two are mixed: a crop after cutmix would cut away part of
        the area that the label stands for.
    check: function of a NumPy batch that raises when the function cannot work on such numbers.

One of order MIXES is called with a fourth argument, the examples' weights or None, and returns `(x, y, weights)`.
"""

import math
import random

import numpy as np

from zoo.errors import MissingDependency, invalid

PIXELS, COVERS, MIXES = range(3)


def placed(order, check=None):
    """Decorates an augment function with its place among others, and with what it asks of the numbers."""

    def decorate(function):
        function.order, function.check = order, check
        return function

    return decorate


def order_of(function):
    """Returns the place of an augment function among others; one that does not say moves pixels."""
    return getattr(function, "order", PIXELS)


def check_batch(functions, x):
    """Lets each function look at a NumPy batch before anything is trained.

    Raises:
        InvalidArgument: one of them cannot work on such numbers.
    """
    for function in functions:
        if getattr(function, "check", None) is not None:
            function.check(x)


def applied(functions, x, y, seeds, weights=None):
    """Returns `(x, y)`, or `(x, y, weights)` where there are weights, after every function has had its turn.

    Args:
        functions: augment functions.
        x, y, weights: a batch of tensors; weights (B,), a dict of such, or None.
        seeds: one int32 (2,) for each function, by its place in `functions`.
    """
    for function, seed in sorted(zip(functions, seeds, strict=True), key=lambda pair: order_of(pair[0])):
        if order_of(function) == MIXES:
            x, y, weights = function(x, y, seed, weights)
        else:
            x, y = function(x, y, seed)
    return (x, y) if weights is None else (x, y, weights)


def image_input(plan, name):
    """Returns the shape (H, W, C) of a model's one image input.

    Raises:
        InvalidArgument: it has none, or other inputs too; trick `name` would not know what to do with them.
    """
    shapes = [tuple(i.shape) for i in plan.model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise invalid(f"{name} finds no image input in model {plan.name!r}", shapes, "Drop the term.")
    return shapes[0][1:]


def augmented(functions, x, y, batch_size, options):
    """Returns `(data, None, None, options)` for `fit`: the training data as an augmented tf.data.Dataset.

    Args:
        functions: augment functions.
        x, y: arrays or dicts of arrays, or a batched tf.data.Dataset of (x, y) or (x, y, weights) and None.
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

    seed = random.getrandbits(30)  # `keras.utils.set_random_seed` makes this repeatable, as it does Keras's own seeds
    if isinstance(x, tf.data.Dataset):
        data, options = x, dict(options)
        for first, *_ in data.take(1) if any(getattr(f, "check", None) for f in functions) else ():
            check_batch(functions, tf.nest.map_structure(np.asarray, first))
    elif are_arrays(x) and are_arrays(y):
        columns, options = held_out(x, y, options)
        check_batch(functions, x)
        data = tf.data.Dataset.from_tensor_slices(tuple(columns))
        if options.get("shuffle", True):
            data = data.shuffle(length(columns), seed=seed)
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

    @tf.autograph.experimental.do_not_convert  # rewriting the operations of randaugment alone would take 2 s
    def augment(number, batch):
        x, y, *weights = batch
        seeds = [tf.cast(tf.stack([seed + i, number]), "int32") for i in range(len(functions))]
        return applied(functions, x, y, seeds, *weights)

    options["shuffle"] = False  # done; Keras would warn that it cannot
    return data.repeat().enumerate().map(augment).prefetch(2), None, None, options


# Arrays as `fit` takes them


def are_arrays(tree):
    """Says whether data is a NumPy array, or a dict of them."""
    parts = tree.values() if isinstance(tree, dict) else [tree]
    return bool(parts) and all(isinstance(part, np.ndarray) for part in parts)


def length(tree):
    """Returns the number of examples in nested arrays."""
    while not hasattr(tree, "shape"):
        tree = next(iter(tree.values() if isinstance(tree, dict) else tree))
    return len(tree)


def held_out(x, y, options):
    """Returns `([x, y] or [x, y, weights], options)` of `fit`, with `validation_split` and weights used up.

    Raises:
        InvalidArgument: the split leaves one part empty.
    """
    options = dict(options)
    columns = [x, y]
    if (weights := options.pop("sample_weight", None)) is not None:
        columns.append(_each(np.asarray, weights))
    if share := options.pop("validation_split", 0):
        first = math.floor(length(x) * (1 - share))  # as Keras splits: the last examples are held out
        if not 0 < first < length(x):
            raise invalid(f"`validation_split` of {length(x):,} examples leaves one part empty", share)
        options["validation_data"] = tuple(_each(lambda part: part[first:], c) for c in columns)
        columns = [_each(lambda part: part[:first], c) for c in columns]
    return columns, options


def _each(function, tree):
    return {k: function(v) for k, v in tree.items()} if isinstance(tree, dict) else function(tree)
