"""Adagrad: rare features keep large steps.

Paper: Duchi et al., 2011, https://jmlr.org/papers/v12/duchi11a.html, figure 1
Use when: features are sparse, as in wide linear models and embeddings.
Start with: learning_rate=0.01; the default is Keras's 0.001.
Formula: a = a + g^2, w = w - rate g / sqrt(a + epsilon)
Composes with: clip_norm, weight_decay, accumulate, lookahead, layer_decay; schedules, though its steps shrink already.
Conflicts with: every other optimizer.
Departures: the sum of squares starts at 0.1 and epsilon stands inside the root, as in Keras.
"""

from dataclasses import dataclass

import keras

from zoo.optimizers import KerasOptimizer
from zoo.registry import trick


@trick("adagrad", stage="optimizer")
@dataclass(frozen=True)
class Adagrad(KerasOptimizer):
    """See the card above.

    `learning_rate`: peak rate. `initial_accumulator_value`: of the sum of squares. `epsilon`: added under the root.
    `weight_decay`: decoupled, as a share of the learning rate, on matrices alone; 0 for none.
    """

    learning_rate: float = 1e-3
    initial_accumulator_value: float = 0.1
    epsilon: float = 1e-7
    weight_decay: float = 0.0

    makes = keras.optimizers.Adagrad
    slots = 1
