"""Training a head on features that were computed once: each example runs through the rest of the model a single time.

Paper: Alain and Bengio, 2016, https://arxiv.org/abs/1610.01644, section 3.2
"""

from dataclasses import dataclass

import keras
import numpy as np

from zoo.compiled import ZooModel
from zoo.data.base import TreeSplit
from zoo.errors import invalid
from zoo.measuring import outputs_of
from zoo.progress import console, say
from zoo.recipes import Recipe
from zoo.spec import attach, spec_of

TRICK = "features_once"
KINDS = ("softmax", "sigmoid", "regression")


def head_input(model, heads):
    """Returns the symbolic features (B, F) that all outputs of a model are made of.

    Args:
        model: a Functional `keras.Model`.
        heads: its `zoo.plan.Head`s.

    Raises:
        InvalidArgument: the outputs are not those of dense layers on the same features, or nothing is below them.
    """
    made = [x._keras_history for x in model.outputs]
    dense = all(type(m.operation) is keras.layers.Dense for m in made) and all(h.kind in KINDS for h in heads)
    read = [m.operation._inbound_nodes[m.node_index].input_tensors[0] for m in made] if dense else []
    given = {id(x) for x in model.inputs}
    if len({id(x) for x in read}) != 1 or len(read[0].shape) != 2 or id(read[0]) in given:
        found = [f"{m.operation.name}: {type(m.operation).__name__}" for m in made]
        wrong = f"{TRICK} finds no dense head on features in model {model.name!r}"
        raise invalid(wrong, found, "Write freeze_backbone, which runs the whole model in each epoch.")
    return read[0]


@dataclass(frozen=True)
class HeadOnly:
    """What is trained in place of the whole model: the `cached` of a `Plan`.

    Attributes:
        features: as `head_input` gives them.
    """

    features: object

    def of(self, model, dataset, recipe, settings, *, quiet):
        """Returns `(head, data)` of a run that is about to start, to be trained in place of a model and its data.

        Args:
            model: the run's compiled `ZooModel`, whose weights the head shares.
            dataset, recipe, settings: the run's.
            quiet: whether to print nothing.

        Returns:
            head: a compiled `ZooModel`, features (B, F) -> the outputs of the model; `zoo_whole` is the model.
            data: the data set with features for inputs, of the same fingerprint.
        """
        given = keras.Input(self.features.shape[1:], dtype="float32", name="features")
        layers = [x._keras_history.operation for x in model.outputs]
        made = {name: layer(given) for name, layer in zip(model.output_names, layers, strict=True)}
        made = made if isinstance(model.output, dict) else list(made.values())
        head = attach(keras.Model(given, made, name=model.name), spec_of(model).but(recipe=None))
        left_out = (TRICK, "freeze_backbone")
        rest = Recipe(tuple(t for t in recipe.tricks if t.name not in left_out), recipe.settings)
        head = ZooModel.of(head, rest, **({} if settings["jit"] is None else {"jit_compile": settings["jit"]}))
        head.zoo_spec = head.zoo_spec.but(recipe=recipe.exact)
        head.__dict__["zoo_whole"] = model  # past Keras's own tracking
        encoder = keras.Model(model.input, self.features, name=f"{model.name}_features")
        screen, total = console(quiet), sum(map(len, dataset.splits.values()))
        say(screen, f"computing the {self.features.shape[-1]:,} features of each of {total:,} examples, once")
        splits = {name: _features(encoder, split, settings["batch_size"]) for name, split in dataset.splits.items()}
        changed = dataset.but(**splits)
        changed.__dict__["fingerprint"] = dataset.fingerprint  # it is the same data
        return head, changed


def _features(encoder, split, batch_size):
    """Returns the split with features for inputs."""
    parts = []
    for start in range(0, len(split), batch_size):
        x, _ = split.batch(np.arange(start, min(start + batch_size, len(split))))
        parts.append(next(iter(outputs_of(encoder, x).values())).astype("float32"))
    made = TreeSplit(np.concatenate(parts), split.labels)
    made.groups = split.groups  # by which results are told; the examples and their order are the same
    return made
