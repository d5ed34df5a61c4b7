"""Exponential moving average of the weights.

Paper: Polyak and Juditsky, 1992, https://doi.org/10.1137/0330046
Use when: the last steps are noisy: high learning rates, small batches.
Start with: momentum 0.99 for short runs, 0.9999 for hundreds of epochs.
Composes with: everything. Validation and the kept weights use the average; training goes on from the raw weights.
Conflicts with: nothing.
"""

from dataclasses import dataclass

import keras

from zoo.errors import invalid
from zoo.registry import trick


class ValidateAverage(keras.callbacks.Callback):
    """Validates with the averaged weights and puts the raw ones back exactly.

    `keras.callbacks.SwapEMAWeights` does not: on TensorFlow it swaps by adding and subtracting, which rounds, and on
    JAX weights and averages may end up sharing a buffer, which the next `fit` cannot donate twice.
    """

    def __init__(self):
        super().__init__()
        self._raw = None

    def _pairs(self):
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        return list(zip(optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True))

    def on_train_begin(self, logs=None):
        if self.model.optimizer.built:
            for _, average in self._pairs():
                average.assign(keras.ops.convert_to_numpy(average))  # a buffer of its own

    def on_test_begin(self, logs=None):
        pairs = self._pairs()
        self._raw = [keras.ops.convert_to_numpy(raw).copy() for raw, _ in pairs]
        for raw, average in pairs:
            raw.assign(keras.ops.convert_to_numpy(average))

    def on_test_end(self, logs=None):
        for (raw, _), kept in zip(self._pairs(), self._raw, strict=True):
            raw.assign(kept)
        self._raw = None


@trick("ema", stage="after")
@dataclass(frozen=True)
class Ema:
    """See the card above. `momentum`: share of the average that is kept at each step, in (0, 1)."""

    momentum: float = 0.99

    def __post_init__(self):
        if not 0 < self.momentum < 1:
            raise invalid("ema: `momentum` must be between 0 and 1", self.momentum)

    def apply(self, plan):
        # The Keras optimizer keeps the average, and writes it over the weights when training ends.
        return plan.but(ema=self.momentum).adding("callbacks", ValidateAverage)

    def explain(self, plan):
        steps = 1 / (1 - self.momentum)
        return (
            f"validation and the final weights use an average over about the last {steps:,.0f} steps "
            f"({plan.model.count_params():,} weights are kept twice)"
        )
