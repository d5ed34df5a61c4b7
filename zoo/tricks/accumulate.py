"""Gradients averaged over several batches before each step of the optimizer.

Paper: Ott et al., 2018, https://arxiv.org/abs/1806.00187
Use when: the batch that a paper asks for does not fit into memory.
Start with: steps = the paper's batch size / yours.
Formula: g = (g_1 + ... + g_steps) / steps, one step of the optimizer for `steps` batches
Composes with: every optimizer and schedule. Schedules count batches, as in Keras, so that warmup(epochs=5) lasts five
epochs all the same; each step takes the rate of the last of its batches.
Conflicts with: models of two players, who take turns by the batch. A batch norm still sees one batch at a time.
Cost: one more copy of the weights.
"""

from dataclasses import dataclass

from zoo.errors import invalid
from zoo.plan import count
from zoo.registry import trick


@trick("accumulate", stage="optimizer")
@dataclass(frozen=True)
class Accumulate:
    """See the card above. `steps`: batches for one step of the optimizer, 2 or more."""

    steps: int = 4

    def __post_init__(self):
        if self.steps < 2:
            raise invalid("accumulate: `steps` must be at least 2", self.steps)

    def apply(self, plan):
        if hasattr(plan.optimizer, "playing"):
            works = "Give a larger batch_size instead."
            raise invalid(
                f"accumulate finds no single optimizer in model {plan.name!r}: two players take turns", works=works
            )

        def too_few(batch_size, steps_per_epoch, epochs):
            if steps_per_epoch is None or steps_per_epoch * epochs >= self.steps:
                return []
            done = steps_per_epoch * epochs
            return [f"accumulate(steps={self.steps}): this fit has {done} batches, so that the weights never move"]

        return plan.adding("optimizer_options", ("gradient_accumulation_steps", self.steps)).adding("at_fit", too_few)

    def explain(self, plan):
        numbers = count(plan.trained)
        return f"{self.steps} batches make one step of the optimizer; {numbers:,} sums of gradients are kept"
