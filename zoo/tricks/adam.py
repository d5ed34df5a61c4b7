"""Adam, to set its learning rate or betas; without an optimizer trick a recipe uses Adam at 0.001.

Paper: Kingma and Ba, 2014, https://arxiv.org/abs/1412.6980, algorithm 1
Use when: nothing else is known to be better.
Start with: learning_rate=0.001, the paper's.
Composes with: every schedule.
Conflicts with: every other optimizer.
"""

from dataclasses import dataclass

import keras

from zoo.errors import invalid
from zoo.optimizers import check_rates, with_optimizer
from zoo.registry import trick


@trick("adam", stage="optimizer")
@dataclass(frozen=True)
class Adam:
    """See the card above.

    `learning_rate`: peak rate; `beta_1`, `beta_2`: decay of the moments; `weight_decay`: decoupled (AdamW, Loshchilov
    and Hutter, 2017), as a share of the learning rate, not on biases and normalisation; 0 for none.
    """

    learning_rate: float = 1e-3
    beta_1: float = 0.9
    beta_2: float = 0.999
    weight_decay: float = 0.0

    def __post_init__(self):
        check_rates("adam", learning_rate=self.learning_rate, beta_1=self.beta_1, beta_2=self.beta_2)
        if self.weight_decay < 0:
            raise invalid("adam: `weight_decay` must be 0 or more", self.weight_decay)

    def apply(self, plan):
        vectors = [v for v in plan.model.trainable_variables if len(v.shape) < 2]

        def make(learning_rate, **options):
            made = keras.optimizers.Adam(
                learning_rate, self.beta_1, self.beta_2, weight_decay=self.weight_decay or None, **options
            )
            if self.weight_decay:
                made.exclude_from_weight_decay(var_list=vectors)
            return made

        make.__name__ = "AdamW" if self.weight_decay else "Adam"
        return with_optimizer(plan, make, self.learning_rate)

    def explain(self, plan):
        decay = f", weight decay {self.weight_decay:g} times the rate" if self.weight_decay else ""
        return f"Adam at a peak learning rate of {plan.learning_rate:g} (betas {self.beta_1:g}, {self.beta_2:g}){decay}"
