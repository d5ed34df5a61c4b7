"""Adadelta: Adagrad over a moving window, in the units of the weights.

Paper: Zeiler, 2012, https://arxiv.org/abs/1212.5701, algorithm 1
Use when: no learning rate is known; it needs none.
Start with: learning_rate=1.0, the paper's; Keras's 0.001 hardly moves.
Formula: a = rho a + (1 - rho) g^2, d = -g sqrt(b + epsilon) / sqrt(a + epsilon),
    b = rho b + (1 - rho) d^2, w = w + rate d
Composes with: every schedule, clip_norm, weight_decay, accumulate, lookahead, layer_decay.
Conflicts with: every other optimizer.
Departures: epsilon is Keras's 1e-7, which makes the first steps tiny; the paper has 1e-6.
"""

from dataclasses import dataclass

import keras

from zoo.optimizers import KerasOptimizer
from zoo.registry import trick


@trick("adadelta", stage="optimizer")
@dataclass(frozen=True)
class Adadelta(KerasOptimizer):
    """See the card above.

    `learning_rate`: factor of the step. `rho`: decay of the two mean squares. `epsilon`: added under the roots.
    `weight_decay`: decoupled, as a share of the learning rate, on matrices alone; 0 for none.
    """

    learning_rate: float = 1.0
    rho: float = 0.95
    epsilon: float = 1e-7
    weight_decay: float = 0.0

    makes = keras.optimizers.Adadelta
    slots = 2
