"""LAMB: Adam whose step is as long as the weights of each layer.

Paper: You et al., 2019, https://arxiv.org/abs/1904.00962, algorithm 2
Use when: batches are very large, thousands of examples.
Start with: learning_rate=0.001, Keras's; the paper scales it with the root of the batch size (table 4).
Formula: u = mhat / (sqrt(vhat) + epsilon), w = w - rate ||w|| / ||u|| u, norms over each variable
Composes with: warmup above all; every other schedule, clip_norm, weight_decay, accumulate, lookahead, layer_decay.
Conflicts with: every other optimizer.
Departures: weight decay stands outside the ratio of norms, as in Keras; the paper has it inside.
"""

from dataclasses import dataclass

import keras

from zoo.optimizers import KerasOptimizer
from zoo.registry import trick


@trick("lamb", stage="optimizer")
@dataclass(frozen=True)
class Lamb(KerasOptimizer):
    """See the card above.

    `learning_rate`: peak rate. `beta_1`, `beta_2`: decay of the moments. `epsilon`: added to the root.
    `weight_decay`: decoupled, as a share of the learning rate, on matrices alone; 0 for none.
    """

    learning_rate: float = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    weight_decay: float = 0.0

    makes = keras.optimizers.Lamb
    slots = 2
