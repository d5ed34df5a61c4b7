"""What builder-stage tricks share: setting one argument of a builder, and finding what they act on."""

import keras

from zoo.errors import invalid, nearest
from zoo.registry import list_models

_WORD = {  # builder argument -> what it decides, in words
    "norm": "normalisation",
    "activation": "activation",
    "shortcut": "shortcuts",
    "separable": "separable convolutions",
    "drop_path_rate": "branches beside a shortcut",
}


def switched(trick, model, arguments, argument, value):
    """Returns the builder arguments that a trick sets: `{argument: value}`.

    Args:
        trick: its name, for messages.
        model: the model's name, for messages.
        arguments: dict of the model's builder arguments with their values.
        argument: the one that the trick sets.
        value: what it becomes.

    Raises:
        InvalidArgument: the builder has no such argument; the message lists those it has and says what has it.
    """
    if argument not in arguments:
        families = sorted({row.family for row in list_models() if argument in row.arguments})
        close = nearest(argument, arguments)
        hint = f"Its nearest argument is `{close}`. " if close else ""
        works = f"{hint}Models with `{argument}`: {', '.join(families)}."
        raise invalid(f"{trick} finds no {_WORD[argument]} to set in model {model!r}", sorted(arguments), works)
    return {argument: value}


class Switch:
    """Base of the tricks whose whole work is one builder argument; a subclass names it and gives `value`."""

    argument = None
    value = None

    def builder_arguments(self, name, arguments):
        """Returns the builder arguments that this trick sets."""
        return switched(self.name, name, arguments, self.argument, self.value)

    def apply(self, plan):
        return plan


def layers_of(model, *kinds):
    """Returns the layers of these classes in a model, those of models inside it included."""
    return [x for x in model._flatten_layers(include_self=False) if isinstance(x, kinds)]


def normalisations(plan):
    """Returns in words how many layers normalise, and what they train."""
    kinds = (
        keras.layers.BatchNormalization,
        keras.layers.GroupNormalization,
        keras.layers.LayerNormalization,
    )
    found = layers_of(plan.model, *kinds)
    weights = sum(v.shape[0] for layer in found for v in layer.trainable_variables)
    return f"{len(found)} normalisation {'layer' if len(found) == 1 else 'layers'} with {weights:,} trained weights"


def several_classes(trick, plan):
    """Returns the heads that classify whole examples by more than one unit.

    Raises:
        InvalidArgument: there are none.
    """
    found = [h for h in plan.heads if h.kind in ("softmax", "sigmoid") and h.units > 1]
    if not found or plan.task == "text_generation":  # which chooses the one next word at each step
        has = [f"{h.name}: {h.kind} of {h.units}" for h in plan.heads]
        raise invalid(f"{trick} finds no head of several classes in model {plan.name!r}", has, f"Drop {trick}.")
    return found
