"""Adam with the infinity norm: the step is bounded by the learning rate.

Paper: Kingma and Ba, 2014, https://arxiv.org/abs/1412.6980, algorithm 2
Use when: gradients are sparse or burst, as with embeddings, and Adam is unsteady.
Start with: learning_rate=0.002, the paper's; Keras has 0.001.
Formula: m = b1 m + (1 - b1) g, u = max(b2 u, |g|), w = w - rate / (1 - b1^t) m / (u + epsilon)
Composes with: every schedule, clip_norm, weight_decay, accumulate, lookahead, layer_decay.
Conflicts with: every other optimizer.
Departures: epsilon in the denominator is Keras's; the paper has none.
"""

from dataclasses import dataclass

import keras

from zoo.optimizers import KerasOptimizer
from zoo.registry import trick


@trick("adamax", stage="optimizer")
@dataclass(frozen=True)
class Adamax(KerasOptimizer):
    """See the card above.

    `learning_rate`: peak rate. `beta_1`, `beta_2`: decay of the mean and of the largest gradient. `epsilon`: added
    to the latter. `weight_decay`: decoupled, as a share of the learning rate, on matrices alone; 0 for none.
    """

    learning_rate: float = 2e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    weight_decay: float = 0.0

    makes = keras.optimizers.Adamax
    slots = 2
