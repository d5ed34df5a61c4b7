"""What a training leaves as it is: the weights below the head, and the statistics of its normalisation.

A frozen variable is marked, so that a model which is compiled with another recipe trains it again. The mark is the
variable's alone: layers, what is saved and what is published are those of the model as it was built.
"""

import keras

from zoo.errors import invalid
from zoo.plan import count
from zoo.weights import head_layers

_MARK = "zoo_frozen"
_FROM_THE_HEAD_DOWN = ("gradual_unfreeze", "layer_decay")  # tricks that have nothing to do where only the head trains


def freeze(variables):
    """Takes variables out of training, until `thaw`."""
    for variable in variables:
        if variable.trainable:
            variable.trainable = False
            setattr(variable, _MARK, True)


def thaw(model):
    """Lets every variable of a model train again that `freeze` took out; others stay as they are."""
    for variable in model.variables:
        if getattr(variable, _MARK, False):
            variable.trainable = True
            setattr(variable, _MARK, False)


def graph_layers(model):
    """Returns the layers of a Functional model, nested ones too; not what a recipe keeps beside it."""
    return [inner for layer in model.layers for inner in layer._flatten_layers()]


def below_head(model):
    """Returns the layers with weights that do not make the outputs of a model."""
    heads = {id(layer) for head in head_layers(model) for layer in head._flatten_layers()}  # itself included
    found = [layer for layer in graph_layers(model) if id(layer) not in heads and layer.weights]
    return [layer for layer in found if not isinstance(layer, keras.Model)]


def only_head(plan, trick):
    """Returns the plan with everything below the head frozen, batch-norm statistics included.

    Args:
        plan: a `zoo.plan.Plan`.
        trick: name of the trick that asks, for messages.

    Raises:
        InvalidArgument: there is nothing below the head, or another trick of the recipe is about training it.
    """
    for other in _FROM_THE_HEAD_DOWN:
        if other in plan.tricks:
            wrong = f"{trick} and {other} do not go together: {trick} freezes what {other} is to train"
            raise invalid(wrong, works=f"Write `-{other}` or `-{trick}`, or leave one out.")
    if hasattr(plan.optimizer, "playing"):
        raise invalid(f"{trick} finds no head in the two players of {plan.name!r}", works=f"Drop {trick}.")
    layers = below_head(plan.model)
    variables = {id(v): v for layer in layers for v in layer.weights if v.trainable or getattr(v, _MARK, False)}
    if not variables:
        names = [layer.name for layer in head_layers(plan.model)]
        raise invalid(f"{trick} finds no weights below the head in model {plan.name!r}", names, f"Drop {trick}.")
    norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization)]
    known = {id(v) for v in plan.frozen}
    frozen = [v for v in variables.values() if id(v) not in known]
    still = [layer for layer in norms if layer not in plan.inference_layers]
    return plan.adding("frozen", *frozen).adding("inference_layers", *still)


def said(plan):
    """Returns in words what of a plan's model is frozen and what trains: "12,345 weights stay as they are, ..."."""
    frozen = count(plan.frozen)
    norms = sum(isinstance(layer, keras.layers.BatchNormalization) for layer in plan.inference_layers)
    statistics = f", and so do the statistics of {norms} batch-norm layers" if norms else ""
    return f"{frozen:,} weights stay as they are{statistics}; {count(plan.trained):,} train"
