"""Adam with decoupled weight decay.

Paper: Loshchilov and Hutter, 2017, https://arxiv.org/abs/1711.05101, algorithm 2
Use when: transformers are trained, or a model overfits and its weights grow.
Start with: weight_decay=0.05 for a ViT (Dosovitskiy et al., 2020, and timm), 0.01 for fine-tuning text.
Formula: w = w - rate weight_decay w, then a step of Adam
Composes with: every schedule, which scales the decay too; clip_norm, accumulate, lookahead, layer_decay.
Conflicts with: every other optimizer; weight_decay, which says the same.
Departures: defaults are Keras's; the decay is scaled by the learning rate, as in Keras and PyTorch, where the paper has
a schedule of its own for it; biases and normalisation do not decay.
"""

from dataclasses import dataclass

import keras

from zoo.errors import invalid
from zoo.optimizers import KerasOptimizer
from zoo.registry import trick


@trick("adamw", stage="optimizer")
@dataclass(frozen=True)
class AdamW(KerasOptimizer):
    """See the card above.

    `learning_rate`: peak rate. `weight_decay`: as a share of the learning rate, on matrices alone; above 0.
    `beta_1`, `beta_2`: decay of the moments. `epsilon`: added to the root. `amsgrad`: divide by the largest second
    moment so far.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.004
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7
    amsgrad: bool = False

    makes = keras.optimizers.AdamW
    slots = 2

    def __post_init__(self):
        super().__post_init__()
        if not self.weight_decay:
            raise invalid("adamw: `weight_decay` must be positive", self.weight_decay, "Without one write adam.")

    def state(self, plan):
        return super().state(plan) * (3 if self.amsgrad else 2) // 2
