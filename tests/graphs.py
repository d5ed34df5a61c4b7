"""What TensorFlow makes of a training step: the graphs it runs, after its optimizer."""

import contextlib

WRITES = ("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp")


@contextlib.contextmanager
def collected():
    """Within this block, lists in what it gives the optimized graph of every function that TensorFlow runs first."""
    from tensorflow.python.eager import context

    found, eager = [], context.context()
    eager.ensure_initialized()
    eager.enable_graph_collection()
    try:
        yield found
        found.extend(f.post_optimization_graph for f in eager.export_run_metadata().function_graphs)
    finally:
        eager.disable_graph_collection()


def unordered(graph):
    """Returns `(read, write)` pairs of names, of one variable, that the graph may run in either order."""
    nodes = {node.name: node for node in graph.node}
    before = {}
    for node in graph.node:
        if node.op in ("ReadVariableOp", *WRITES):
            before[node.name] = _ancestors(node.name, nodes)
    return [
        (read, write)
        for write in before
        for read in before
        if nodes[write].op in WRITES
        and nodes[read].op == "ReadVariableOp"
        and nodes[read].input[0] == nodes[write].input[0]
        and read not in before[write]
        and write not in before[read]
    ]


def _ancestors(name, nodes):
    found, left = set(), [name]
    while left:
        for text in nodes[left.pop()].input:
            source = text.removeprefix("^").partition(":")[0]
            if source in nodes and source not in found:
                found.add(source)
                left.append(source)
    return found
