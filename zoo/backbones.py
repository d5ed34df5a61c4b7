"""What a model computes on the way to its outputs: pooled features, the output of each stage, or of one layer.

A stage is what the names of layers begin with, a word and a number: `stage2_block1_add` is of `stage2`, `block3_norm`
of `block3`, `lstm1` of `lstm1`. Its output is that of its last layer.
"""

import re

import keras

from zoo.errors import invalid, unknown
from zoo.flops import graph_of
from zoo.weights import head_layers

POOL = "pool"
_STAGE = re.compile(r"([a-z]+\d+)(?=_|$)")


def features(model, layer=None):
    """Returns a model that gives the features of another, with which it shares its layers and weights.

    Args:
        model: a Functional `keras.Model`, or a reference, run or run folder as for `zoo.load`.
        layer: name of a layer or stage whose output is wanted; a list of names gives a dict; None gives all stages
            and the pooled features.

    Returns:
        `keras.Model` with the inputs of `model`. Its output is that of the layer named, or a dict: name of a stage ->
        its output, and "pool" -> the pooled features (B, F), which are what the logits are made of. A language model
        has features for each position (B, T, F); several heads that read different features have "pool_<output>" each.

    Raises:
        UnknownName: no layer or stage has this name; the message gives the nearest.
        InvalidArgument: the model has no graph of layers.
    """
    from zoo.inference import loaded

    model = loaded(model)
    graph = graph_of(model)
    if graph is None:
        works = "Functional models have one, and Sequential models once they are built."
        raise invalid(f"model {model.name!r} has no graph of layers", type(model).__name__, works)
    nodes = _nodes(graph)
    stages, pooled = stages_of(nodes), _pooled(model, graph, nodes)
    if layer is None:
        if not stages and not pooled:
            raise invalid(f"model {model.name!r} has neither stages nor features before its outputs", sorted(nodes))
        return keras.Model(graph.input, stages | pooled, name=f"{model.name}_features")
    known = {name: node.outputs[0] for name, node in nodes.items()} | stages | pooled
    for name in [layer] if isinstance(layer, str) else layer:
        if name not in known:
            raise unknown(f"layer of model {model.name!r}", name, known)
    outputs = known[layer] if isinstance(layer, str) else {name: known[name] for name in layer}
    return keras.Model(graph.input, outputs, name=f"{model.name}_features")


def _nodes(graph):
    """Returns dict, name of a layer with one output -> its last call in the graph, in the order of computation."""
    ordered = [node for depth in sorted(graph._nodes_by_depth, reverse=True) for node in graph._nodes_by_depth[depth]]
    return {
        node.operation.name: node
        for node in ordered
        if isinstance(node.operation, keras.layers.Layer) and len(node.outputs) == 1 and not node.is_input
    }


def stages_of(nodes):
    """Returns dict, name of a stage -> output of its last layer, in the order of computation."""
    found = {}
    for name, node in nodes.items():
        match = _STAGE.match(name)
        if match:
            found[match[1]] = node.outputs[0]
    return found


def _pooled(model, graph, nodes):
    """Returns dict, "pool" -> the features that the heads read, or "pool_<layer>" where these differ."""
    spec = getattr(model, "zoo_spec", None)
    if spec is not None and spec.arguments.get("include_top") is False:
        return {POOL: graph.outputs[0]}
    if POOL in nodes and len(nodes[POOL].outputs[0].shape) == 2:
        return {POOL: nodes[POOL].outputs[0]}
    read = {head.name: nodes[head.name].input_tensors[0] for head in head_layers(graph)}
    read = {name: x for name, x in read.items() if "int" not in x.dtype}  # ids are no features
    if len({id(x) for x in read.values()}) == 1:
        return {POOL: _averaged(next(iter(read.values())), POOL)}
    return {f"{POOL}_{name}": _averaged(x, f"{POOL}_{name}") for name, x in read.items()}


def _averaged(x, name):
    """Returns maps (B, H, W, C) averaged over the picture, anything else as it is."""
    return keras.layers.GlobalAveragePooling2D(name=f"average_{name}")(x) if len(x.shape) == 4 else x
