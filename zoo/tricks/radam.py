"""Rectified Adam: Adam whose adaptive step waits until its variance is known.

Paper: Liu et al., 2019, https://arxiv.org/abs/1908.03265, algorithm 2
Use when: Adam is unstable in its first steps and the length of a warmup is not known.
Start with: Adam's own learning rate.
Formula: m, v as in Adam; w = w - rate mhat while rho_t <= 5, then w = w - rate r_t mhat / (sqrt(vhat) + epsilon),
    rho_t = rho - 2 t b2^t / (1 - b2^t), rho = 2 / (1 - b2) - 1,
    r_t = sqrt((rho_t - 4) (rho_t - 2) rho / ((rho - 4) (rho - 2) rho_t))
Composes with: every schedule, warmup included, though it needs it less than Adam; clip_norm, weight_decay, accumulate,
lookahead, layer_decay.
Conflicts with: every other optimizer.
Departures: the bound of 5 is PyTorch's; the paper has 4. `weight_decay` is decoupled.
"""

import dataclasses
import math
from dataclasses import dataclass

import keras
from keras import ops

from zoo.errors import invalid
from zoo.optimizers import check_options, decaying, with_optimizer
from zoo.registry import trick


def average_length(step, beta_2):
    """Returns rho_t, the length of the moving average after `step` steps: the paper's section 3.3.

    rho_t = rho_inf - 2 t b^t / (1 - b^t) is a small difference of large numbers, 5 out of 20,000 where beta_2 is
    0.9999, and wrong by half a step in float32. With a = -log(b) and x = a t the fraction is 2/a times x / (e^x - 1);
    where x is small that is a series, 1 - x / 2 + x^2 / 12 - ..., whose first two terms are taken out here.
    """
    a = -math.log(beta_2)
    x = a * step
    longest = 2.0 / (1.0 - beta_2) - 1.0
    rest = x**2 / 12.0 - x**4 / 720.0 + x**6 / 30240.0 - x**8 / 1209600.0
    early = (longest - 2.0 / a) + step - 2.0 / a * rest
    return ops.where(x < 1.0, early, longest - 2.0 * step / ops.expm1(ops.maximum(x, 1.0)))


@keras.saving.register_keras_serializable("zoo")
class RAdam(keras.optimizers.Optimizer):
    """Rectified Adam.

    While the approximated length rho_t of the moving average is at most 5 (PyTorch's bound; the paper has 4), the
    step is momentum alone; after that the adaptive step is scaled by the rectification r_t.

    Args:
        learning_rate: a number or a schedule.
        beta_1, beta_2: decay of the two moments, in [0, 1) and (0, 1).
        epsilon: added to the square root of the second moment.
    """

    def __init__(self, learning_rate=1e-3, beta_1=0.9, beta_2=0.999, epsilon=1e-8, name="radam", **kwargs):
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def build(self, var_list):
        if self.built:
            return
        super().build(var_list)
        self._momentums, self._velocities = self.add_optimizer_variables(var_list, ["momentum", "velocity"])

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable in place."""
        dtype = keras.backend.standardize_dtype(variable.dtype)
        wide = "float64" if dtype == "float64" else "float32"
        learning_rate, gradient = ops.cast(learning_rate, dtype), ops.cast(gradient, dtype)
        index = self._get_variable_index(variable)
        m, v = self._momentums[index], self._velocities[index]
        step = ops.cast(self.iterations + 1, wide)
        power_1, power_2 = self.beta_1**step, self.beta_2**step
        longest = 2.0 / (1.0 - self.beta_2) - 1.0  # rho_inf
        length = average_length(step, self.beta_2)  # rho_t

        self.assign_add(m, ops.subtract(gradient, m) * (1.0 - self.beta_1))
        self.assign_add(v, ops.subtract(ops.square(gradient), v) * (1.0 - self.beta_2))
        # Where rho_t is small the root's argument may be negative; it is not used there.
        known = length > 5.0
        safe = ops.where(known, length, 6.0)
        rectified = ops.sqrt(
            (safe - 4.0) * (safe - 2.0) * longest / ((longest - 4.0) * (longest - 2.0) * safe) * (1.0 - power_2)
        )
        adaptive = ops.cast(rectified, dtype) / (ops.sqrt(v) + self.epsilon)
        scale = ops.where(known, adaptive, ops.ones_like(adaptive))
        self.assign_sub(variable, learning_rate * m / ops.cast(1.0 - power_1, dtype) * scale)

    def get_config(self):
        return super().get_config() | {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}


@trick("radam", stage="optimizer")
@dataclass(frozen=True)
class Radam:
    """See the card above.

    `learning_rate`: peak rate, None for the plan's. `beta_1`, `beta_2`: decay of the moments. `epsilon`: added to the
    root. `weight_decay`: decoupled, as a share of the learning rate, on matrices alone; 0 for none.
    """

    learning_rate: float | None = None
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self):
        check_options("radam", dataclasses.asdict(self))
        if not self.beta_2:
            raise invalid("radam: `beta_2` must be above 0", self.beta_2)

    def apply(self, plan):
        def make(learning_rate, **options):
            return RAdam(learning_rate, self.beta_1, self.beta_2, self.epsilon, **options)

        make.__name__, make.trick = "RAdam", "radam"
        return with_optimizer(decaying(plan, self.weight_decay), make, self.learning_rate)

    def explain(self, plan):
        longest = 2 / (1 - self.beta_2) - 1

        def length(step):
            return longest - 2 * step * self.beta_2**step / (1 - self.beta_2**step)

        first = next((s for s in range(1, 10_000) if length(s) > 5), None)
        waits = "adaptive steps never start" if first is None else f"steps 1 to {first - 1} use momentum alone"
        return f"replaces Adam; peak learning rate {plan.learning_rate:g}; {waits}, then the rectified adaptive step"
