"""Lion: the sign of a momentum, so every weight moves by the learning rate.

Paper: Chen et al., 2023, https://arxiv.org/abs/2302.06675, algorithm 2
Use when: batches are large and memory is short; it keeps one number per weight.
Start with: learning_rate=1e-4, betas 0.9 and 0.99, the paper's; a third to a tenth of Adam's rate, with three to ten
times its weight decay (section 5).
Formula: w = w - rate (sign(b1 m + (1 - b1) g) + weight_decay w), m = b2 m + (1 - b2) g
Composes with: every schedule, a decay above all, as the steps do not shrink by themselves; accumulate, lookahead.
Conflicts with: every other optimizer.
"""

from dataclasses import dataclass

import keras

from zoo.optimizers import KerasOptimizer
from zoo.registry import trick


@trick("lion", stage="optimizer")
@dataclass(frozen=True)
class Lion(KerasOptimizer):
    """See the card above.

    `learning_rate`: peak rate. `beta_1`: of the momentum that is stepped along. `beta_2`: of the momentum that is
    kept. `weight_decay`: decoupled, as a share of the learning rate, on matrices alone; 0 for none.
    """

    learning_rate: float = 1e-4
    beta_1: float = 0.9
    beta_2: float = 0.99
    weight_decay: float = 0.0

    makes = keras.optimizers.Lion
    slots = 1
