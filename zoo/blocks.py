"""A model as the blocks it is made of: what `zoo info` tabulates, `zoo plot` draws and `zoo.features` reads from.

Blocks follow from the names of layers: `stage2_block1_2_conv` belongs to the block `stage2_block1`, `block3_mlp_1` to
`block3`, `stem_norm` to `stem`. Layers without weights join the block that feeds them.
"""

import itertools
import math
import re
from collections import Counter
from dataclasses import dataclass, replace

import keras

from zoo.errors import InvalidArgument
from zoo.flops import OPERATIONS, graph_of, operation_flops, shapes_of, walk

NUMBERED = re.compile(r"(stage\d+_block\d+|[a-z]+\d+)(?=_|$)")
VIEWS = {"Reshape", "Flatten", "Permute", "Dropout", "GetItem", "Unstack", "Identity", "InputLayer"}  # no new memory
STANDING = ("pool", "features")  # layers of these names stay blocks of their own
SHORT = {  # long names of layers
    "BatchNormalization": "BatchNorm",
    "LayerNormalization": "LayerNorm",
    "GroupNormalization": "GroupNorm",
    "GlobalAveragePooling1D": "GlobalAvgPool1D",
    "GlobalAveragePooling2D": "GlobalAvgPool2D",
    "GlobalMaxPooling1D": "GlobalMaxPool1D",
    "AveragePooling2D": "AvgPool2D",
    "MaxPooling1D": "MaxPool1D",
    "MaxPooling2D": "MaxPool2D",
    "ZeroPadding1D": "Pad1D",
    "ZeroPadding2D": "Pad2D",
    "Concatenate": "Concat",
    "DotProductAttention": "Attention",
}


@dataclass(frozen=True)
class Block:
    """One block, or several equal ones in a row.

    Attributes:
        name: such as "stage2_block1"; of several "stage2_block2-4".
        times: how many equal blocks follow one another.
        layers: kinds of its layers with their number, such as (("Conv2D", 3), ("Add", 1)); reshapes and dropout are
            left out.
        shape: of its output for one example; None where it has no single one.
        parameters: weights, trainable or not, of one of them; a shared layer counts where it is first called.
        flops: of one of them, for one example, see `zoo.flops`; None where they cannot be counted.
        values: numbers that the outputs of its layers hold for one example, all `times` together; those of layers
            that only rearrange or drop (reshapes, dropout) are not counted. Training keeps about this many for the
            backward pass.
        inputs: indices of the blocks that it reads, in the list that holds it.
        calls: how often its layers are called, where they are shared; else 1.
    """

    name: str
    times: int
    layers: tuple
    shape: tuple | None
    parameters: int
    flops: int | None
    values: int
    inputs: tuple = ()
    calls: int = 1

    @property
    def summary(self):
        """Its layers as text: "3 Conv2D, 3 BatchNorm, Add"."""
        return ", ".join(f"{n} {kind}" if n > 1 else kind for kind, n in self.layers)


@dataclass
class Call:
    """One call of a layer or operation in the graph; `inputs` are the indices of the calls that it reads."""

    operation: object
    inputs: list
    shapes: list
    flops: int | None
    values: int
    mask: bool

    @property
    def is_layer(self):
        return isinstance(self.operation, keras.layers.Layer)

    @property
    def is_input(self):
        return isinstance(self.operation, keras.layers.InputLayer)

    @property
    def kind(self):
        kind = type(self.operation).__name__
        return SHORT.get(kind, "Model" if graph_of(self.operation) is not None else kind)


def calls_of(model):
    """Returns the `Call`s of a Functional model in an order in which they can be computed, its inputs first."""
    graph, found, producer, alive = graph_of(model), [], {}, []

    def record(operation, args, kwargs, outputs, flops, values):
        tensors = [x for x in keras.tree.flatten(outputs) if hasattr(x, "shape")]
        read = [producer[id(x)] for x in keras.tree.flatten((args, kwargs)) if id(x) in producer]
        mask = bool(tensors) and all(x.dtype == "bool" for x in tensors)
        shapes = [tuple(x.shape[1:]) for x in tensors]
        found.append(Call(operation, sorted(set(read)), shapes, flops, values, mask))
        producer.update({id(x): len(found) - 1 for x in tensors})
        alive.extend(tensors)  # so that no other tensor gets the same id

    def counted(operation):
        def symbolic(*args, **kwargs):
            if graph_of(operation) is not None:
                inside = calls_of(operation)
                parts = [c.flops for c in inside]
                flops = None if None in parts else sum(parts)
                outputs = operation.compute_output_spec(*args, **kwargs)
                record(operation, args, kwargs, outputs, flops, sum(c.values for c in inside))
                return outputs
            outputs = operation.compute_output_spec(*args, **kwargs)
            try:
                flops = operation_flops(operation, shapes_of((args, kwargs)), shapes_of(outputs))
            except InvalidArgument:
                flops = None
            view = type(operation).__name__ in VIEWS
            values = 0 if view else sum(map(math.prod, shapes_of(outputs)))
            record(operation, args, kwargs, outputs, flops, values)
            return outputs

        return symbolic

    inputs = [keras.KerasTensor((1, *x.shape[1:]), x.dtype) for x in graph.inputs]
    for tensor, symbol in zip(graph.inputs, inputs, strict=True):
        record(tensor._keras_history.operation, (), {}, symbol, 0, 0)
    walk(graph, inputs, counted)
    return found


def block_of(name):
    """Returns the name of the block that a layer's name puts it into."""
    match = NUMBERED.match(name)
    return match[1] if match else name.partition("_")[0]


class Grouping:
    """Puts calls into groups one after another, such that the groups never read each other in a circle."""

    def __init__(self, calls):
        self.calls, self.members, self.before, self.of = calls, [], [], {}
        self.named = {}  # name of a block -> its latest group
        self.weighty = {block_of(c.operation.name) for c in calls if c.is_layer and c.operation.weights}
        for index, call in enumerate(calls):
            group = self._group(call)
            if group is None:
                group = len(self.members)
                self.members.append([])
                self.before.append(set())
            if call.is_layer and not call.is_input:
                self.named[block_of(call.operation.name)] = group
            self._join(index, group)

    def _group(self, call):
        """Returns the group that a call joins, or None for one of its own."""
        if call.is_input:
            return None
        read = {self.of[i] for i in call.inputs}
        if call.is_layer:
            group = self.named.get(block_of(call.operation.name))
            if group is not None and not any(group in self.before[r] for r in read):
                return group
            standing = "Global" in call.kind or call.operation.name in STANDING or graph_of(call.operation) is not None
            if standing or block_of(call.operation.name) in self.weighty or NUMBERED.match(call.operation.name):
                return None
        last = [r for r in read if read - {r} <= self.before[r]]  # the one that all others lead to
        if not last or (call.is_layer and self.calls[self.members[last[0]][0]].is_input):
            return None
        sources = [self.calls[i].operation for i in call.inputs if self.of[i] == last[0]]
        shared = len(sources) > len({id(operation) for operation in sources})  # it joins what one layer gave twice
        return None if shared else last[0]

    def _join(self, index, group):
        self.members[group].append(index)
        self.of[index] = group
        read = {self.of[i] for i in self.calls[index].inputs} - {group}
        new = read.union(*(self.before[r] for r in read)) - self.before[group]
        for other in range(len(self.members)):
            if other == group or group in self.before[other]:
                self.before[other] |= new

    def inputs(self, group):
        """Returns the groups that a group reads; masks apart, as every text layer reads those."""
        indices = {i for m in self.members[group] for i in self.calls[m].inputs if not self.calls[i].mask}
        return {self.of[i] for i in indices} - {group}


def blocks_of(model, *, collapsed=True):
    """Returns the blocks of a model, a list of `Block` in which each stands after those it reads.

    Args:
        model: Functional or Sequential `keras.Model`.
        collapsed: whether equal blocks that follow one another become one row, its `times` their number.
    """
    calls = calls_of(model)
    grouping = Grouping(calls)
    order, seen = [], set()
    readers = {g: set() for g in range(len(grouping.members))}
    for group in readers:
        for read in grouping.inputs(group):
            readers[read].add(group)

    def visit(group):  # depth first, so that each of several towers stays together
        if group not in seen:
            seen.add(group)
            for read in sorted(grouping.inputs(group)):
                visit(read)
            order.append(group)

    for group in sorted(readers, key=lambda g: bool(readers[g])):
        visit(group)
    place = {group: i for i, group in enumerate(order)}
    counted, found = set(), []
    for group in order:
        members = [calls[i] for i in grouping.members[group]]
        inputs = tuple(sorted(place[g] for g in grouping.inputs(group)))
        found.append(_block(members, inputs, counted))
    return _collapsed(found) if collapsed else found


def _block(members, inputs, counted):
    """Returns the `Block` of the calls of one group; `counted` are the weights that earlier blocks have."""
    layers = [c for c in members if c.is_layer]
    told = [c for c in members if c.is_layer or type(c.operation).__name__ in OPERATIONS] if layers else members
    once = list({id(c.operation): c for c in told}.values())  # a shared layer is one
    kinds = Counter(c.kind for c in once if type(c.operation).__name__ not in VIEWS) or Counter([told[-1].kind])
    variables = {id(w): w for c in layers for w in c.operation.weights}
    parameters = sum(math.prod(w.shape) for key, w in variables.items() if key not in counted)
    counted.update(variables)
    flops = [c.flops for c in members]
    repeats = Counter(id(c.operation) for c in layers)
    shown = (layers or members)[-1]
    return Block(
        name=_name(layers or members),
        times=1,
        layers=(("Input", 1),) if shown.is_input else tuple(kinds.items()),
        shape=shown.shapes[0] if len(set(shown.shapes)) == 1 else None,
        parameters=parameters,
        flops=None if None in flops else sum(flops),
        values=sum(c.values for c in members),
        inputs=inputs,
        calls=max(repeats.values(), default=1),
    )


def _name(members):
    """Returns the name of a block: what the names of its layers begin with, or that of its first layer."""
    if not members[0].is_layer:  # Keras numbers the names of operations, by what was built before
        return members[0].kind.lower()
    names = list(dict.fromkeys(c.operation.name for c in members))
    first = block_of(names[0])
    alike = [name.split("_") for name in names if block_of(name) == first]
    if len(alike) == 1 or NUMBERED.fullmatch(first):
        return first if NUMBERED.fullmatch(first) else names[0]
    shared = itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*alike, strict=False))
    return "_".join(parts[0] for parts in shared)


def _collapsed(blocks):
    """Joins equal blocks that follow one another."""
    found, place = [], {}
    for i, block in enumerate(blocks):
        block = replace(block, inputs=tuple(sorted({place[j] for j in block.inputs})))
        previous = found[-1] if found else None
        if previous is not None and _alike(previous, block) and block.inputs == (len(found) - 1,):
            number = re.search(r"\d+$", block.name)[0]
            first = re.match(r".*?\d+(?=-\d+$|$)", previous.name)[0]
            values = previous.values + block.values
            found[-1] = replace(previous, name=f"{first}-{number}", times=previous.times + 1, values=values)
        else:
            found.append(block)
        place[i] = len(found) - 1
    return found


def _alike(previous, block):
    same = ("layers", "shape", "parameters", "flops", "calls")
    stem = re.sub(r"\d+$", "", block.name)
    if stem == block.name or re.sub(r"\d+(-\d+)?$", "", previous.name) != stem:
        return False
    return all(getattr(previous, key) == getattr(block, key) for key in same)


def rows_of(blocks):
    """Returns blocks as JSON rows, for the index."""
    return [
        {
            "name": block.name,
            "times": block.times,
            "layers": block.summary,
            "shape": None if block.shape is None else list(block.shape),
            "parameters": block.parameters,
            "flops": block.flops,
        }
        for block in blocks
    ]
