"""Stochastic gradient descent with momentum.

Paper: Sutskever et al., 2013, https://proceedings.mlr.press/v28/sutskever13.html, section 2
Use when: convolutional networks are trained for long with a decaying rate.
Start with: learning_rate=0.1, momentum=0.9, weight_decay=1e-4 (He et al., 2015, for CIFAR-10 in batches of 128).
Formula: g = g + weight_decay w, m = momentum m - rate g, w = w + m; with nesterov w = w + momentum m - rate g
Composes with: every schedule, clip_norm, accumulate, lookahead, layer_decay.
Conflicts with: every other optimizer; weight_decay, where its own is not 0.
Departures: Keras keeps the rate inside the momentum; without a schedule that is the paper's.
"""

from dataclasses import dataclass

import keras

from zoo.errors import invalid
from zoo.optimizers import check_rates, with_optimizer
from zoo.registry import trick


@trick("sgd", stage="optimizer")
@dataclass(frozen=True)
class Sgd:
    """See the card above.

    `learning_rate`: peak rate; `momentum`: in [0, 1); `nesterov`: look ahead; `weight_decay`: coefficient of an L2
    penalty on all weights but biases and normalisation, added to the gradient as in the paper, or 0.
    """

    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self):
        check_rates("sgd", learning_rate=self.learning_rate, momentum=self.momentum)
        if self.weight_decay < 0:
            raise invalid("sgd: `weight_decay` must be 0 or more", self.weight_decay)

    def apply(self, plan):
        def make(learning_rate, **options):
            return CoupledSGD(learning_rate, self.momentum, self.nesterov, coupled_decay=self.weight_decay, **options)

        make.__name__, make.trick, make.coupled_decay = "SGD", "sgd", self.weight_decay
        return with_optimizer(plan, make, self.learning_rate)

    def explain(self, plan):
        decay = f"; every matrix is pulled to zero by {self.weight_decay:g} of its value" if self.weight_decay else ""
        horizon = 1 / (1 - self.momentum)
        return (
            f"replaces Adam; peak learning rate {plan.learning_rate:g}, averaging about {horizon:.3g} gradients{decay}"
        )


@keras.saving.register_keras_serializable("zoo")
class CoupledSGD(keras.optimizers.SGD):
    """Keras's SGD with the weight decay of the papers: an L2 term in the gradient, so momentum carries it too.

    Keras's own `weight_decay` is decoupled (Loshchilov and Hutter, 2017) and has another scale.

    Args:
        coupled_decay: coefficient; applies to variables of two or more dimensions.
    """

    def __init__(self, learning_rate=0.1, momentum=0.9, nesterov=False, coupled_decay=0.0, name="sgd", **kwargs):
        super().__init__(learning_rate, momentum, nesterov, name=name, **kwargs)
        self.coupled_decay = coupled_decay

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable in place."""
        if self.coupled_decay and len(variable.shape) > 1:
            gradient = keras.ops.add(gradient, self.coupled_decay * keras.ops.cast(variable, gradient.dtype))
        super().update_step(gradient, variable, learning_rate)

    def get_config(self):
        return super().get_config() | {"coupled_decay": self.coupled_decay}
