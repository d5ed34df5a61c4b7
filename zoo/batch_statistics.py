"""Batch-norm statistics of given weights: those that averaged weights need, which no training step has collected.

Source: Izmailov et al., 2018, https://arxiv.org/abs/1803.05407, section 3.2
"""

import math

import keras
import numpy as np

from zoo.averages import put_in
from zoo.builder_switches import layers_of
from zoo.errors import invalid
from zoo.objectives import called_as, running

TINY = 8  # examples of a batch below which statistics are warned of


def batch_norms(model):
    """Returns the batch-norm layers of a model, nested ones too, in its order."""
    return layers_of(model, keras.layers.BatchNormalization)


def tiny_batches(model, batch_size, still=()):
    """Returns sentences on a batch size that is too small for the batch normalisation of a model: one, or none.

    Args:
        model: a `keras.Model`.
        batch_size: examples of a batch, or None where that is not known.
        still: layers whose statistics are not those of the batch.
    """
    taught = [layer for layer in batch_norms(model) if layer.trainable and layer not in still]
    if not taught or batch_size is None or batch_size >= TINY:
        return []
    return [
        f"batch normalisation with batches of {batch_size}: the statistics of so few examples are noisy; on ImageNet 2 "
        f"images a worker gave 34.7% error against 23.6% with 32 (Wu and He, 2018, table 2). Write group_norm, or take "
        f"batches of at least {TINY}"
    ]


def update_batch_norm(model, x, batch_size=32):
    """Gives every batch-norm layer of a model the statistics that it has over some data, with the weights as they are.

    Call it after weights were averaged or loaded from an average. Each layer gets the mean over the batches of their
    means and variances, weighted by their sizes; other layers, dropout among them, run as in inference, so that the
    result depends on nothing but weights and data. A batch-norm layer that does not train keeps its statistics.

    Args:
        model: a built `keras.Model`.
        x: inputs, an array (n, ...), or a dict or list of them; or a `tf.data.Dataset` or PyDataset of batches.
        batch_size: of arrays.

    Raises:
        InvalidArgument: `x` can be read only once, or is empty.
    """
    batches = examples_of(x, batch_size)
    if batches is None:
        raise invalid("batch-norm statistics are not taken from data that can be read only once", type(x).__name__)
    put_in(Statistics(model).over(batches()))


def examples_of(x, batch_size=None, steps=None, held_out=0.0):
    """Returns a function that gives the inputs of an epoch batch by batch, or None for data read only once.

    Args:
        x: as for `keras.Model.fit`; batches of datasets are tuples that begin with the inputs.
        batch_size: of arrays; None is 32, as in Keras.
        steps: batches in an epoch of a dataset; None reads it to its end.
        held_out: share at the end of arrays that is left out, as by `validation_split`.
    """
    if isinstance(x, keras.utils.PyDataset):
        return lambda: (_inputs(x[i]) for i in range(steps or x.num_batches or 0))
    if hasattr(x, "take") and hasattr(x, "cardinality"):  # a tf.data.Dataset, without importing TensorFlow
        return lambda: (_inputs(item) for item in (x if steps is None else x.take(steps)))
    leaves = keras.tree.flatten(x)
    if not leaves or not all(len(getattr(leaf, "shape", ())) for leaf in leaves):
        return None
    size, count = batch_size or 32, math.floor(len(leaves[0]) * (1 - held_out))

    def part(start):
        return keras.tree.map_structure(lambda leaf: leaf[start : min(start + size, count)], x)

    return lambda: (part(start) for start in range(0, count, size))


def _inputs(item):
    return item[0] if isinstance(item, tuple) else item


class Statistics:
    """Computes the batch-norm statistics of a model over data; compiled once, whatever weights it has later.

    Args:
        model: a built `keras.Model`.
        kept: layers that keep the statistics they have.
    """

    def __init__(self, model, kept=()):
        self.layers = [n for n in batch_norms(model) if n.trainable and n not in kept]
        self._moments = _BatchMoments(model, self.layers) if self.layers else None

    def over(self, batches):
        """Returns pairs (statistic variable, value) of all layers, float32; an empty list without such layers.

        Args:
            batches: iterable of inputs.

        Raises:
            InvalidArgument: there is no batch.
        """
        if self._moments is None:
            return []
        total, rows = None, 0
        for batch in batches:
            x = keras.tree.map_structure(lambda leaf: np.asarray(keras.ops.convert_to_numpy(leaf)), batch)
            size = len(keras.tree.flatten(x)[0])
            found = [size * np.asarray(v, np.float64) for v in self._moments.predict_on_batch(x)]
            total = found if total is None else [a + b for a, b in zip(total, found, strict=True)]
            rows += size
        if not rows:
            raise invalid("batch-norm statistics need at least one batch of data")
        variables = [v for layer in self.layers for v in (layer.moving_mean, layer.moving_variance)]
        return [(v, (t / rows).reshape(v.shape).astype("float32")) for v, t in zip(variables, total, strict=True)]


class _BatchMoments(keras.Model):
    """Gives the mean and the variance that each batch-norm layer finds in a batch; the model's state stays as it is."""

    def __init__(self, model, norms):
        super().__init__(name="batch_moments")
        self.model = model
        self.norms = norms

    def call(self, x):
        mapping = [(v, v.value) for v in self.model.variables]
        as_in_training = {n: running(n.call, training=True) for n in self.norms}
        momenta = [n.momentum for n in self.norms]
        try:
            for norm in self.norms:
                norm.momentum = 0.0  # so that the statistics become those of this batch
            with called_as(as_in_training), keras.StatelessScope(mapping, initialize_variables=False) as scope:
                self.model(x, training=False)
                return [
                    keras.ops.reshape(scope.get_current_value(v), (-1,))
                    for n in self.norms
                    for v in (n.moving_mean, n.moving_variance)
                ]
        finally:
            for norm, momentum in zip(self.norms, momenta, strict=True):
                norm.momentum = momentum
