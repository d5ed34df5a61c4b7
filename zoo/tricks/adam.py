"""Adam, to set its learning rate or betas; without an optimizer trick a recipe uses Adam at 0.001.

Paper: Kingma and Ba, 2014, https://arxiv.org/abs/1412.6980, algorithm 1
Use when: nothing else is known to be better.
Start with: learning_rate=0.001 and betas 0.9 and 0.999, the paper's.
Formula: m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2,
    w = w - rate sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + epsilon)
Composes with: every schedule, clip_norm, weight_decay, accumulate, lookahead, layer_decay.
Conflicts with: every other optimizer.
Departures: epsilon is Keras's 1e-7 and stands outside the bias correction, as in the paper's section 2.1;
`weight_decay` is decoupled (Loshchilov and Hutter, 2017).
"""

from dataclasses import dataclass

import keras

from zoo.optimizers import KerasOptimizer
from zoo.registry import trick


@trick("adam", stage="optimizer")
@dataclass(frozen=True)
class Adam(KerasOptimizer):
    """See the card above.

    `learning_rate`: peak rate. `beta_1`, `beta_2`: decay of the moments. `epsilon`: added to the root. `amsgrad`:
    divide by the largest second moment so far (Reddi et al., 2018). `weight_decay`: decoupled, as a share of the
    learning rate, on matrices alone; 0 for none.
    """

    learning_rate: float = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    amsgrad: bool = False
    weight_decay: float = 0.0

    makes = keras.optimizers.Adam
    slots = 2

    def state(self, plan):
        return super().state(plan) * (3 if self.amsgrad else 2) // 2
