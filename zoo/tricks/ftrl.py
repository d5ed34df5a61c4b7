"""Follow the regularised leader: sparse linear models.

Paper: McMahan et al., 2013, https://doi.org/10.1145/2487575.2488200, algorithm 1
Use when: a wide linear model has many rare features and should end with exact zeros (l1_regularization_strength).
Start with: learning_rate=0.05 to 0.1; the defaults are Keras's.
Formula: z = z + g - ((n + g^2)^-p - n^-p) / rate w, n = n + g^2, with p the learning_rate_power,
    w = -(z - clip(z, -l1, l1)) / (n^-p / rate + 2 l2 + beta / rate)
Composes with: clip_norm, weight_decay, accumulate, lookahead, layer_decay; schedules, though its steps shrink anyway.
Conflicts with: every other optimizer; gradual_unfreeze and freeze_bn(affine=True), because it makes weights out of
    sums over all steps.
Departures: the sums do not know the first weights, as in Keras, so these fade in the first steps.
"""

from dataclasses import dataclass

import keras

from zoo.optimizers import KerasOptimizer
from zoo.registry import trick


@trick("ftrl", stage="optimizer")
@dataclass(frozen=True)
class Ftrl(KerasOptimizer):
    """See the card above.

    `learning_rate`: alpha of the paper. `learning_rate_power`: 0 or less; -0.5 is the paper's root.
    `initial_accumulator_value`: of the sum of squares. `l1_regularization_strength`, `l2_regularization_strength`:
    of the penalties. `l2_shrinkage_regularization_strength`: of a penalty on the gradient alone. `beta`: of the
    paper. `weight_decay`: decoupled, as a share of the learning rate, on matrices alone; 0 for none.
    """

    learning_rate: float = 1e-3
    learning_rate_power: float = -0.5
    initial_accumulator_value: float = 0.1
    l1_regularization_strength: float = 0.0
    l2_regularization_strength: float = 0.0
    l2_shrinkage_regularization_strength: float = 0.0
    beta: float = 0.0
    weight_decay: float = 0.0

    makes = keras.optimizers.Ftrl
    slots = 2
