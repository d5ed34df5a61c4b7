"""The state that stateful recurrent layers carry from batch to batch: found, forgotten, handed to another batch size.

Keras keeps such state in variables that it counts neither as weights nor as variables of the model. On TensorFlow and
PyTorch they are updated all the same; a compiled step on JAX gives back only what the model says it has. A model that
carries state is therefore wrapped in `Carrying`, or names it in its `variables` itself.
"""

import keras

from zoo.errors import invalid
from zoo.factory import build_empty
from zoo.spec import attach, spec_of


def stateful_layers(model):
    """Returns the recurrent layers of a model that carry state, those of models used as layers included."""
    found = []
    for layer in getattr(model, "layers", ()):
        found += [layer] if getattr(layer, "stateful", False) else stateful_layers(layer)
    return found


def states_of(model):
    """Returns the variables that hold a model's recurrent state, each (batch, units); none for most models."""
    return [state for layer in stateful_layers(model) for state in keras.tree.flatten(layer.states or ())]


def reset_states(model):
    """Sets the recurrent state of a model to zero, as at the start of a text. Other models are left as they are."""
    for state in states_of(model):
        state.assign(keras.ops.zeros(state.shape, state.dtype))


@keras.saving.register_keras_serializable("zoo")
class Carrying(keras.Model):
    """A Functional model whose recurrent state is among its `variables`, so that compiled steps on JAX carry it."""

    @property
    def variables(self):
        return [*super().variables, *states_of(self)]


def carrying(model):
    """Returns the model in a form that carries its state on every backend; a model without any, as it is."""
    return Carrying(model.input, model.output, name=model.name) if states_of(model) else model


def twin(model, *, batch_size, sequence_length=None):
    """Builds a language model again for other batches, with a copy of its weights and a state of its own.

    Args:
        model: a model that zoo built, whose builder takes `batch_size` and `sequence_length`.
        batch_size: rows of every batch, whose state then carries over; None for any number of independent rows.
        sequence_length: tokens of a row; by default the model's.

    Raises:
        InvalidArgument: the model's builder takes no `batch_size`.
    """
    spec = spec_of(model)
    if "batch_size" not in spec.arguments:
        works = "Language models do: zoo.list_models(task='text_generation')."
        raise invalid(f"{spec.name} does not carry state from batch to batch", works=works)
    changed = {"batch_size": batch_size, "sequence_length": sequence_length or spec.arguments["sequence_length"]}
    made = build_empty(spec.name, **spec.arguments | changed)
    weights = {weight.path: weight for weight in model.weights}
    for weight in made.weights:
        weight.assign(keras.ops.convert_to_numpy(weights[weight.path]).copy())  # JAX gives away what it trains
    return attach(made, spec_of(made).but(labels=spec.labels, preprocessing=spec.preprocessing))
