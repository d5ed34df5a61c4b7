"""Schedule-free AdamW: an average of the steps in place of a decay.

Paper: Defazio et al., 2024, https://arxiv.org/abs/2405.15682, algorithm 1
Use when: the length of training is not known beforehand.
Start with: learning_rate=0.0025, Keras's, and a warmup (`warmup_steps`, or the trick).
Formula: z = z - rate g / (sqrt(vhat) + epsilon), x = (1 - 1/t) x + z / t, w = (1 - b1) z + b1 x
Composes with: warmup, clip_norm, weight_decay, accumulate, lookahead, layer_decay.
Conflicts with: every other optimizer; decays, whose place it takes; gradual_unfreeze and freeze_bn(affine=True),
because it averages over all steps.
Departures: validation and the kept weights are w, as in Keras, where the paper takes x; they differ by 1 - b1 of the
way to z. The average is uniform, not weighed by the squared rate, as in Keras, whose step of 3.15 is mended here.
"""

from dataclasses import dataclass

import keras
from keras import ops

from zoo.errors import invalid
from zoo.optimizers import KerasOptimizer
from zoo.registry import trick

REASON = (
    "its average takes the place of a decay, under which the last steps count less (Defazio et al., 2024, section 1)"
)


@keras.saving.register_keras_serializable("zoo")
class ScheduleFree(keras.optimizers.ScheduleFreeAdamW):
    """Keras's, with the step of the paper on every backend.

    Keras 3.15 means to take the old z but reads it after it has moved, on TensorFlow and PyTorch, so that its x is
    wrong from the second step on; on JAX, where an array does not change, it is right.
    """

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable in place."""
        dtype = keras.backend.standardize_dtype(variable.dtype)
        rate, gradient = ops.cast(learning_rate, dtype), ops.cast(gradient, dtype)
        step = ops.cast(self.iterations + 1, dtype)
        if self.warmup_steps:
            rate = rate * ops.minimum(step / self.warmup_steps, 1.0)
        index = self._get_variable_index(variable)
        z, v = self._momentums[index], self._velocities[index]
        average = (variable - (1.0 - self.beta_1) * z) / self.beta_1  # x, which is not kept
        self.assign_add(v, ops.subtract(ops.square(gradient), v) * (1.0 - self.beta_2))
        root = ops.sqrt(v / (1.0 - self.beta_2**step)) + self.epsilon
        self.assign_sub(z, ops.divide(ops.multiply(rate, gradient), root))
        average = average + (z - average) / step
        self.assign(variable, (1.0 - self.beta_1) * z + self.beta_1 * average)


@trick("schedule_free_adamw", stage="optimizer")
@dataclass(frozen=True)
class ScheduleFreeAdamw(KerasOptimizer):
    """See the card above.

    `learning_rate`: peak rate. `beta_1`: how far the weights stand towards the average. `beta_2`: decay of the
    second moment. `epsilon`: added to the root. `warmup_steps`: steps in which the rate rises. `weight_decay`:
    decoupled, as a share of the learning rate, on matrices alone; 0 for none.
    """

    learning_rate: float = 0.0025
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    warmup_steps: int = 0
    weight_decay: float = 0.0

    makes = ScheduleFree
    slots = 2

    clashes = dict.fromkeys(("cosine", "cyclic", "polynomial", "step"), REASON)

    def __post_init__(self):
        super().__post_init__()
        if not self.beta_1:
            raise invalid("schedule_free_adamw: `beta_1` must be above 0", self.beta_1)
