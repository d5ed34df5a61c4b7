"""How deep each layer of a model stands: what layer-wise learning rates and gradual unfreezing go by.

A depth is a block of `zoo.blocks`: the stem, each numbered block (`block3_...`, `stage2_block1_...`), the head. Where
no block is numbered each layer is a depth of its own, with the normalisation that follows it. Blocks side by side,
such as the heads of a multi-task model or two towers, share a depth, counted from the output.
"""

from zoo.blocks import NUMBERED, Grouping, block_of, calls_of
from zoo.flops import graph_of


def layer_groups(model):
    """Returns the layers of a Functional model in groups by depth, the input's side first.

    Every layer is in one group, and every group has weights. What stands before the first numbered block (patches,
    class token and positions of a ViT) is one stem. A layer without a weight of two or more dimensions (activation,
    pooling, a last normalisation) stands with the layer that reads it. Nested models are opened. A layer that is
    called twice stands where it is first needed.

    >>> [[layer.name for layer in group if layer.weights] for group in layer_groups(zoo.build("lstm"))]
    [['embedding'], ['lstm1'], ['logits']]

    Args:
        model: a Functional or Sequential `keras.Model`.

    Returns:
        A list of lists of `keras.Layer`.
    """
    levels = {}  # depth from the output -> layers
    for layer, level in _levels(model).items():
        levels.setdefault(level, []).append(layer)
    return [levels[level] for level in sorted(levels, reverse=True)]


def variable_depths(model):
    """Returns a dict, path of a trainable variable -> its depth, and the number of depths; 0 is the input's side."""
    groups = layer_groups(model)
    depths = {v.path: i for i, group in enumerate(groups) for layer in group for v in layer.trainable_variables}
    return depths, len(groups)


def _levels(model):
    """Returns a dict, layer -> its depth counted from the output, in the order of the calls."""
    members, readers = _graph(calls_of(model))
    nested = {o: _levels(o) for operations in members.values() for o in operations if graph_of(o) is not None}
    counted = {}  # group -> how many depths lie from its first layer to the output

    def size(operations):
        own = any(has_matrix(o) for o in operations if o not in nested)
        return max([int(own), *(1 + max(nested[o].values()) for o in operations if o in nested)])

    def count(group):
        if group not in counted:
            counted[group] = max((count(r) for r in readers[group]), default=0) + size(members[group])
        return counted[group]

    found = {}
    for group in sorted(members, reverse=True):  # from the output, so that the recursion stays shallow
        count(group)
    for group, operations in members.items():
        last = max(counted[group] - max(size(operations), 1), 0)
        for operation in operations:
            if hasattr(operation, "weights"):  # a layer, and no bare operation of `keras.ops`
                for layer, level in nested.get(operation, {operation: size(operations) - 1}).items():
                    found[layer] = max(found.get(layer, 0), last + max(level, 0))
    return found


def has_matrix(operation):
    """Says whether a layer has a weight of two or more dimensions; an operation of `keras.ops` has none."""
    return any(len(w.shape) > 1 for w in getattr(operation, "weights", ()))


def _graph(calls):
    """Returns two dicts over groups of calls: group -> its operations, and group -> the groups that read it."""
    numbered = {i for i, c in enumerate(calls) if c.is_layer and NUMBERED.match(block_of(c.operation.name))}
    if numbered:
        grouping = Grouping(calls)
        whole = _stem_joined(grouping, {grouping.of[i] for i in numbered})
        of = [whole[grouping.of[i]] for i in range(len(calls))]
    else:
        of = []
        for i, call in enumerate(calls):
            follows = (
                len(call.inputs) == 1 and call.is_layer and call.operation.weights and not has_matrix(call.operation)
            )
            of.append(of[call.inputs[0]] if follows else i)  # a normalisation stands with the layer before it
    members, readers = {}, {group: set() for group in of}
    for i, call in enumerate(calls):
        members.setdefault(of[i], []).append(call.operation)
        for read in call.inputs:
            if of[read] != of[i] and not calls[read].mask:
                readers[of[read]].add(of[i])
    return members, readers


def _stem_joined(grouping, numbered):
    """Returns for each group the one it counts with: neighbours that lead to the numbered blocks are one stem."""
    groups = range(len(grouping.members))
    leads = set().union(*(grouping.before[g] for g in numbered)) - numbered
    stem = {g for g in leads if not grouping.before[g] & numbered}
    whole = list(groups)
    for group in groups:
        for read in grouping.inputs(group):
            if {group, read} <= stem:
                old, new = whole[group], whole[read]
                whole = [new if w == old else w for w in whole]
    return whole
