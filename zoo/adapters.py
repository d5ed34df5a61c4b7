"""Adapters: small trained matrices beside frozen dense layers, merged into their weights when training ends.

Paper: Hu et al., 2021, https://arxiv.org/abs/2106.09685, section 4.1
"""

import contextlib

import keras
import numpy as np
from keras import ops

from zoo.averages import put_back, put_in


class LowRank(keras.layers.Layer):
    """The low-rank change of one dense layer: x W becomes x W + (alpha / rank) x A B.

    A `rank` above the width of the layer would add nothing, so that such a layer has its width for rank.

    Args:
        dense: a built `keras.layers.Dense`, whose kernel W (inputs, units) does not change.
        rank, alpha: see above.
    """

    def __init__(self, dense, rank, alpha):
        super().__init__(name=f"lora_{dense.path.replace('/', '_')}")
        self.__dict__["dense"] = dense  # past Keras's own tracking: its weights are the model's
        inputs, units = dense.kernel.shape
        self.factor, rank = alpha / rank, min(rank, inputs, units)
        self.down = self.add_weight(shape=(inputs, rank), initializer="he_uniform", name="down")  # A
        self.up = self.add_weight(shape=(rank, units), initializer="zeros", name="up")  # B: no change at first
        self.built = True

    def adapted(self, inputs, training=None):
        """Returns what the dense layer gives with the change, in place of its own `call`."""
        change = ops.matmul(ops.matmul(inputs, self.down), self.up)
        outputs = ops.add(ops.matmul(inputs, self.dense.kernel), ops.multiply(change, self.factor))
        if self.dense.bias is not None:
            outputs = ops.add(outputs, self.dense.bias)
        return outputs if self.dense.activation is None else self.dense.activation(outputs)

    def merged(self):
        """Returns pairs of variable and value: the kernel with the change in it, and a change of zero."""
        down, up, kernel = (ops.convert_to_numpy(v) for v in (self.down, self.up, self.dense.kernel))
        changed = kernel + self.factor * (down.astype("float64") @ up.astype("float64"))
        return [(self.dense._kernel, changed.astype(kernel.dtype)), (self.up, np.zeros_like(up))]

    def reset(self):
        """Makes the change zero."""
        self.up.assign(ops.zeros(self.up.shape, self.up.dtype))


def adapters_of(model):
    """Returns the adapters of a compiled model; none of any other."""
    plan = getattr(model, "plan", None)
    return () if plan is None else plan.adapters


def merge(model):
    """Puts what the adapters of a model have learned into its own weights, for good.

    Returns:
        What was there before, for `zoo.averages.put_back`.
    """
    return put_in([pair for adapter in adapters_of(model) for pair in adapter.merged()])


@contextlib.contextmanager
def merged_weights(model):
    """Within this block the weights of a model hold what its adapters add to them."""
    before = merge(model)
    try:
        yield
    finally:
        put_back(before)
