"""Adam with Nesterov momentum.

Paper: Dozat, 2016, https://openreview.net/forum?id=OM0jvwB8jIp57ZJjtNEZ
Use when: Adam works and should get there in fewer steps.
Start with: learning_rate=0.001, Keras's; the paper tuned it for each problem.
Formula: m, v as in Adam, u_t = b1 (1 - 0.96^t / 2), w = w - rate mhat / (sqrt(vhat) + epsilon),
    mhat = u_(t+1) m / (1 - u_1 ... u_(t+1)) + (1 - u_t) g / (1 - u_1 ... u_t)
Composes with: every schedule, clip_norm, weight_decay, accumulate, lookahead, layer_decay.
Conflicts with: every other optimizer.
"""

from dataclasses import dataclass

import keras

from zoo.optimizers import KerasOptimizer
from zoo.registry import trick


@trick("nadam", stage="optimizer")
@dataclass(frozen=True)
class Nadam(KerasOptimizer):
    """See the card above.

    `learning_rate`: peak rate. `beta_1`, `beta_2`: decay of the moments. `epsilon`: added to the root.
    `weight_decay`: decoupled, as a share of the learning rate, on matrices alone; 0 for none.
    """

    learning_rate: float = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    weight_decay: float = 0.0

    makes = keras.optimizers.Nadam
    slots = 2
