"""A split as what `model.fit` eats: every epoch in an order fixed by seed and epoch number, whichever epoch starts.

    steps = steps_per_epoch(split, 32)
    data = feed(split, 32, seed=0, epochs=9, initial_epoch=4)
    model.fit(data, steps_per_epoch=steps, epochs=9, initial_epoch=4, shuffle=False)

trains on the very batches that epochs 4 to 8 of an uninterrupted run see.
"""

import contextlib
import functools
import importlib.util
import math
import os

import numpy as np

from zoo.augmentation import applied, check_batch
from zoo.data.base import taken
from zoo.errors import MissingDependency, ZooError, invalid, worded

_raised = []  # what failed inside tf.data, which itself passes on only text


def steps_per_epoch(split, batch_size, *, drop_remainder=False):
    """Returns the number of batches in one epoch."""
    if type(batch_size) is not int or batch_size < 1:
        raise invalid("`batch_size` must be a positive whole number", batch_size)
    steps = len(split) // batch_size if drop_remainder else math.ceil(len(split) / batch_size)
    if not steps:
        works = f"The split has {len(split):,} examples: use a smaller batch, or keep the remainder."
        raise invalid("not one full batch", batch_size, works)
    return steps


def feed(split, batch_size, *, seed=None, epochs=1, initial_epoch=0, augment=(), balance=None, drop_remainder=False):
    """Returns the batches of some epochs, one after another, as one pass.

    Call `fit` with `steps_per_epoch=steps_per_epoch(split, batch_size), shuffle=False`. Epoch e is in the order
    `np.random.default_rng([seed, e]).permutation(n)`, or in one that `balance` draws; its last batch holds what
    remains.

    Args:
        split: a `zoo.data.base.Split`.
        batch_size: examples in a batch.
        seed: of the order and of augmentation, not negative; None keeps the split's order.
        epochs, initial_epoch: epochs `initial_epoch` to `epochs` - 1 are given, as in `fit`.
        augment: functions of `zoo.augmentation`, run on each batch inside tf.data; each gets a stateless seed, int32
            (2,), fixed by seed, epoch, batch and place in this tuple.
        balance: a `zoo.balancing.Balance` that weighs or draws the examples by their class, or None.
        drop_remainder: leaves out the last batch of an epoch when it is not full.

    Returns:
        A `tf.data.Dataset` of `(x, y)`, or `(x, y, weights)` where `balance` weighs; without TensorFlow a
        `keras.utils.PyDataset` of the same batches.

    Raises:
        MissingDependency: augmentation is asked for without TensorFlow.
        InvalidArgument: a number is out of range, augmentation or resampling has no seed, or the numbers are not such
            as an augmentation takes.
        DataError: the classes cannot be balanced.
    """
    steps = steps_per_epoch(split, batch_size, drop_remainder=drop_remainder)
    if type(epochs) is not int or type(initial_epoch) is not int or not 0 <= initial_epoch < epochs:
        raise invalid("epochs run from `initial_epoch` to below `epochs`", (initial_epoch, epochs))
    if seed is not None and (type(seed) is not int or seed < 0):
        raise invalid("`seed` must be a whole number that is not negative, or None", seed)
    if augment and seed is None:
        raise invalid("augmentation needs a seed", seed, "Pass seed=0, for example.")
    if balance is not None and seed is None:
        raise invalid("balanced classes need a seed", seed, "Pass seed=0, for example.")
    if balance is not None and split.ordered:
        raise invalid("class_balance finds no single examples in text that runs on", works="Drop the term.")
    batches = _Batches(split, batch_size, seed, steps, len(augment), balance)
    if any(getattr(function, "check", None) for function in augment):
        check_batch(augment, batches[initial_epoch * steps][0])
    if _has_tensorflow():
        full = drop_remainder or len(split) % batch_size == 0
        return _tf_dataset(batches, range(initial_epoch * steps, epochs * steps), tuple(augment), full)
    if augment:
        wrong = "augmentation runs in tf.data, which needs TensorFlow"
        works = "pip install tensorflow, or leave the augmenting tricks out."
        raise MissingDependency(worded(wrong, works=works))
    return _py_dataset(batches, range(initial_epoch * steps, epochs * steps))


@contextlib.contextmanager
def plain_errors():
    """Within this block, a zoo error raised while a batch was made comes out as itself, not as TensorFlow's text."""
    _raised.clear()
    try:
        yield
    except ZooError:
        raise
    except Exception as error:
        if _raised:
            raise _raised[0] from error
        raise


def _has_tensorflow():
    return importlib.util.find_spec("tensorflow") is not None


class _Batches:
    """Batch number k, counted from the first batch of epoch 0."""

    def __init__(self, split, batch_size, seed, steps, num_seeds, balance):
        self.split, self.batch_size, self.seed, self.steps = split, batch_size, seed, steps
        self.num_seeds, self.draw = num_seeds, None
        self.weights = None
        if balance is not None and balance.by == "weights":
            self.weights = balance.weights(split.labels)
        elif balance is not None:
            balance.counts(split.labels)  # raises now, not in the first batch
            self.draw = balance.order
        self._order = functools.lru_cache(maxsize=2)(self._make_order)  # two epochs meet in the prefetch buffer
        self._at_epoch = functools.lru_cache(maxsize=2)(self._make_split)

    def _make_order(self, epoch):
        if self.draw is not None:
            return self.draw(self.split.labels, self.seed, epoch)
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.split))

    def _make_split(self, epoch):
        return self.split if self.seed is None else self.split.at_epoch(self.seed, epoch)

    def __getitem__(self, number):
        epoch, step = divmod(int(number), self.steps)
        start = step * self.batch_size
        end = min(start + self.batch_size, len(self.split))
        in_order = self.seed is None or self.split.ordered  # an order of fifty million examples would take 400 MB
        rows = np.arange(start, end) if in_order else self._order(epoch)[start:end]
        batch = self._at_epoch(epoch).batch(rows)
        return batch if self.weights is None else (*batch, taken(self.weights, rows))

    @functools.cached_property
    def element(self):
        """The batch of no example, which tells shapes and types."""
        element = self.split.element
        return element if self.weights is None else (*element, taken(self.weights, slice(0)))

    def seeds(self, number):
        """Returns the stateless seeds of one batch, int32 (number of augmentations, 2)."""
        epoch, step = divmod(int(number), self.steps)
        made = [np.random.SeedSequence([self.seed, epoch, step, k]).generate_state(2) for k in range(self.num_seeds)]
        return np.array(made, np.uint32).reshape(self.num_seeds, 2).view(np.int32)


def _tf_dataset(batches, numbers, augment, full):
    import tensorflow as tf

    like = batches.element
    empty = _leaves(like)
    size = batches.batch_size if full else None

    def make(number):
        try:
            return (*_leaves(batches[number]), batches.seeds(number))
        except Exception as error:
            _raised.append(error)
            raise

    @tf.autograph.experimental.do_not_convert  # see `zoo.augmentation`
    def batch(number):
        types = [*(tf.as_dtype(leaf.dtype) for leaf in empty), tf.int32]
        *leaves, seeds = tf.numpy_function(make, [number], types, stateful=False)
        for leaf, none in zip(leaves, empty, strict=True):
            leaf.set_shape((size, *none.shape[1:]))
        seeds.set_shape((len(augment), 2))
        x, y, *weights = _packed(like, leaves)
        return applied(augment, x, y, tf.unstack(seeds), *weights)

    dataset = tf.data.Dataset.range(numbers.start, numbers.stop)
    dataset = dataset.map(batch, num_parallel_calls=min(4, os.cpu_count() or 1), deterministic=True)
    options = tf.data.Options()
    options.autotune.enabled = False  # it stalled `fit` for up to 1.3 s
    options.deterministic = True
    return dataset.prefetch(2).with_options(options)


def _leaves(batch):
    """Returns the arrays of `(x, y)` or `(x, y, weights)` in one order, whichever of them are dicts."""
    return [leaf for tree in batch for leaf in (map(tree.get, sorted(tree)) if isinstance(tree, dict) else (tree,))]


def _packed(like, leaves):
    """Undoes `_leaves`: gives the leaves the form of the batch `like`."""
    left = iter(leaves)
    return tuple(dict(zip(sorted(t), left, strict=False)) if isinstance(t, dict) else next(left) for t in like)


def _py_dataset(batches, numbers):
    import keras

    class Batches(keras.utils.PyDataset):
        last = -1

        @property
        def num_batches(self):
            return len(numbers)

        def __getitem__(self, index):
            if index not in (0, self.last + 1):  # a resumed run would not repeat such an order
                works = "Call `fit` with shuffle=False: the order is fixed here, and Keras would shuffle it again."
                raise invalid(f"batch {index} was asked for after batch {self.last}", works=works)
            self.last = index
            return batches[numbers[index]]

    return Batches()
