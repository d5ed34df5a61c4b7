"""Decoupled weight decay for whatever optimizer is there.

Paper: Loshchilov and Hutter, 2017, https://arxiv.org/abs/1711.05101, algorithm 2
Use when: training accuracy runs far ahead of validation accuracy and weights grow.
Start with: 0.01 to 0.05 with Adam and its kin; with sgd its own, which is an L2 penalty and has another scale.
Formula: w = w - rate weight_decay w, before each step of the optimizer
Composes with: every optimizer and schedule, which scales the decay too; layer_decay, whose factors do as well.
Conflicts with: the weight decay that an optimizer is given itself; adamw and muon have one by default.
Departures: the decay is scaled by the learning rate, as in Keras and PyTorch; the paper has a schedule of its own.
"""

from dataclasses import dataclass

from zoo.errors import Conflict, invalid
from zoo.plan import count
from zoo.registry import trick


@trick("weight_decay", stage="optimizer")
@dataclass(frozen=True)
class WeightDecay:
    """See the card above. `rate`: share of the learning rate, above 0. `all`: biases and normalisation decay too."""

    rate: float = 0.01
    all: bool = False

    def __post_init__(self):
        if self.rate <= 0:
            raise invalid("weight_decay: `rate` must be positive", self.rate)

    def apply(self, plan):
        made = getattr(plan.optimizer, "make", plan.optimizer)  # of two players the make of both
        own = dict(plan.optimizer_options).get("weight_decay") or getattr(made, "coupled_decay", 0.0)
        if own:
            raise Conflict(
                f"{made.trick} and weight_decay both set the weight decay, {made.trick} to {own:g}. Keep one of them: "
                f"write {made.trick}(weight_decay={self.rate:g}) alone."
            )
        return plan.adding("optimizer_options", ("weight_decay", self.rate)).but(decay_exempt=not self.all)

    def explain(self, plan):
        weights = plan.trained
        decaying = [v for v in weights if self.all or len(v.shape) > 1]
        spared = "" if self.all else f"; {len(weights) - len(decaying)} biases and normalisations are spared"
        return (
            f"{count(decaying):,} weights shrink by a share of "
            f"{self.rate * plan.learning_rate:.3g} in a step at the peak rate{spared}"
        )
