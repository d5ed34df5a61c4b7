"""RMSprop: the gradient divided by the root of its running mean square.

Paper: Tieleman and Hinton, 2012, https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf, slide 29
Use when: recurrent nets, critics and other moving targets, where momentum hurts.
Start with: learning_rate=0.001, rho=0.9, Keras's and the lecture's.
Formula: v = rho v + (1 - rho) g^2, w = w - rate g / sqrt(v + epsilon);
    with momentum p = momentum p + rate g / sqrt(v + epsilon), w = w - p
Composes with: every schedule, clip_norm, weight_decay, accumulate, lookahead, layer_decay.
Conflicts with: every other optimizer.
Departures: epsilon stands inside the root, as in Keras; PyTorch has it outside.
"""

from dataclasses import dataclass

import keras

from zoo.optimizers import KerasOptimizer
from zoo.registry import trick


@trick("rmsprop", stage="optimizer")
@dataclass(frozen=True)
class Rmsprop(KerasOptimizer):
    """See the card above.

    `learning_rate`: peak rate. `rho`: decay of the mean square. `momentum`: of the steps. `epsilon`: added under
    the root. `centered`: subtract the squared mean gradient (Graves, 2013). `weight_decay`: decoupled, as a share
    of the learning rate, on matrices alone; 0 for none.
    """

    learning_rate: float = 1e-3
    rho: float = 0.9
    momentum: float = 0.0
    epsilon: float = 1e-7
    centered: bool = False
    weight_decay: float = 0.0

    makes = keras.optimizers.RMSprop
    slots = 1

    def state(self, plan):
        return super().state(plan) * (1 + (self.momentum > 0) + self.centered)
