"""Fine-tuning from the head downward: each group of layers thaws some epochs after the one above it.

Paper: Howard and Ruder, 2018, https://arxiv.org/abs/1801.06146, section 3.3
Use when: a pretrained model gets a new head on few data, and training all of it at once would spoil what it knows.
Start with: epochs_per_group=1, the paper's; groups=4 or so for a deep model.
Formula: group g of G, counted from the input as 0, trains from epoch (G - 1 - g) epochs_per_group on
Composes with: everything; freeze_bn keeps the batch-norm statistics of frozen layers, which else follow the new data.
Conflicts with: freeze_backbone, features_once and lora, which freeze what it thaws.
Departures: gradients of frozen weights are computed and reach the optimizer's moments, as nothing is compiled anew when
    a group thaws; the weights themselves do not move.
"""

from dataclasses import dataclass

import keras

from zoo.depths import layer_groups, variable_depths
from zoo.errors import invalid
from zoo.registry import trick


def groups_of(model, groups=None):
    """Returns a dict, path of a trainable variable -> its group, and the number of groups; 0 is the input's side.

    Args:
        model: a Functional `keras.Model`.
        groups: into how many groups of about equally many depths the depths are joined; None leaves them.
    """
    depths, count = variable_depths(model)
    joined = groups or count
    return {path: depth * joined // count for path, depth in depths.items()}, joined


class Thaw(keras.callbacks.Callback):
    """Sets the rate factors of the groups at the start of each epoch.

    Args:
        factors: one scalar `keras.Variable` for each group, the input's side first.
        epochs_per_group: epochs from one group's thaw to the next.
    """

    def __init__(self, factors, epochs_per_group):
        super().__init__()
        self.factors, self.epochs_per_group = factors, epochs_per_group

    def on_epoch_begin(self, epoch, logs=None):
        frozen = len(self.factors) - 1 - epoch // self.epochs_per_group
        for group, factor in enumerate(self.factors):
            factor.assign(0.0 if group < frozen else 1.0)


@trick("gradual_unfreeze", stage="callbacks")
@dataclass(frozen=True)
class GradualUnfreeze:
    """See the card above.

    `epochs_per_group`: epochs from one group's thaw to the next; `groups`: how many groups of layers, None for one for
    each depth of the model.
    """

    epochs_per_group: int = 1
    groups: int | None = None

    def __post_init__(self):
        if self.epochs_per_group < 1:
            raise invalid("gradual_unfreeze: `epochs_per_group` must be at least 1", self.epochs_per_group)
        if self.groups is not None and self.groups < 2:
            raise invalid("gradual_unfreeze: `groups` must be at least 2, or None", self.groups)

    def apply(self, plan):
        _, count = groups_of(plan.model)
        if count < 2:
            raise invalid(f"gradual_unfreeze finds no layers below the head in model {plan.name!r}", count)
        if self.groups is not None and self.groups > count:
            raise invalid(f"gradual_unfreeze: model {plan.name!r} has only {count} groups of layers", self.groups)
        of, count = groups_of(plan.model, self.groups)
        # All 1 outside a `fit`, which alone knows epochs. The optimizer tracks them; every backend sees them change.
        factors = [keras.Variable(1.0, trainable=False, name=f"thaw{i}") for i in range(count)]

        def complaints(batch_size, steps_per_epoch, epochs):
            last = (count - 1) * self.epochs_per_group + 1
            if last <= epochs:
                return []
            return [f"gradual_unfreeze trains the whole model from epoch {last} on, and this fit has epochs={epochs}"]

        def thawing(model):
            return {path: factors[group] for path, group in of.items()}

        thawing.trick = "gradual_unfreeze"  # for messages
        plan = plan.adding("rate_factors", thawing)
        return plan.adding("callbacks", lambda: Thaw(factors, self.epochs_per_group)).adding("at_fit", complaints)

    def explain(self, plan):
        of, count = groups_of(plan.model, self.groups)
        names = [[] for _ in range(count)]
        for layer in (layer for group in layer_groups(plan.model) for layer in group if layer.trainable_variables):
            names[of[layer.trainable_variables[0].path]].append(layer.name)
        whole = [(found, (count - 1 - i) * self.epochs_per_group + 1) for i, found in enumerate(names) if found]
        first, *middle, last = reversed(whole)
        return (
            f"{count} groups of layers train from the head down: {_span(first[0])} at once, {'..., ' if middle else ''}"
            f"{_span(last[0])} from epoch {last[1]} on"
        )


def _span(names):
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"
