"""Adafactor: adaptive steps that keep a row and a column for each matrix.

Paper: Shazeer and Stern, 2018, https://arxiv.org/abs/1804.04235, algorithm 4
Use when: the optimizer's memory is what limits the size of the model.
Start with: the defaults; learning_rate=0.01, epsilon_2=1e-3, beta_2_decay=-0.8 and clip_threshold=1 are the paper's
    (Keras's rate is 0.001).
Formula: v = r c / mean(r), with r, c the running means of g^2 over rows and columns, u = g / sqrt(v),
    w = w - max(epsilon_2, rms(w)) min(rate, 1 / sqrt(t)) u / max(1, rms(u) / clip_threshold)
Composes with: every schedule, as long as its rate is below 1 / sqrt(t); accumulate, lookahead, layer_decay.
Conflicts with: every other optimizer.
Departures: Keras keeps the product of row and column too, so that its memory is not what the paper says. epsilon_1 is
    1e-16 for the paper's 1e-30: the product of two such is no float32 number, and weights between two units that no
    gradient reaches would become 0 / 0.
"""

import math
from dataclasses import dataclass

import keras

from zoo.optimizers import KerasOptimizer
from zoo.registry import trick


@trick("adafactor", stage="optimizer")
@dataclass(frozen=True)
class Adafactor(KerasOptimizer):
    """See the card above.

    `learning_rate`: peak rate, relative to the size of each weight. `beta_2_decay`: exponent of the running means'
    decay, 0 or less. `epsilon_1`: added to squares. `epsilon_2`: the least size of a weight. `clip_threshold`: the
    largest root mean square of a step. `relative_step`: bound the rate by 1 / sqrt(t). `weight_decay`: decoupled,
    as a share of the learning rate, on matrices alone; 0 for none.
    """

    learning_rate: float = 1e-2
    beta_2_decay: float = -0.8
    epsilon_1: float = 1e-16
    epsilon_2: float = 1e-3
    clip_threshold: float = 1.0
    relative_step: bool = True
    weight_decay: float = 0.0

    makes = keras.optimizers.Adafactor
    slots = 1

    def state(self, plan):
        shapes = [v.shape for v in plan.trained if len(v.shape) > 1]
        rows_and_columns = sum(math.prod(s[:-1]) + math.prod((*s[:-2], s[-1])) for s in shapes)
        return super().state(plan) + rows_and_columns
