"""The picture of a model: its blocks from the inputs at the top to the outputs at the bottom, equal ones drawn once.

Placing: Sugiyama et al., 1981, https://doi.org/10.1109/TSMC.1981.4308636 (ranks, order by barycentres, coordinates).
"""

import itertools
import textwrap
from pathlib import Path

from zoo.blocks import blocks_of
from zoo.errors import invalid
from zoo.files import staged_file

FORMATS = ("png", "svg", "pdf")
WIDTH, GAP, RISE, LINE = 3.0, 0.35, 0.32, 0.17  # inches: of a box, between boxes, between ranks, of a line of text
FILL = {"input": "#dbe9f6", "weights": "#ffffff", "plain": "#f2f2f2", "output": "#e0f0de"}
EDGE = "#5a6470"


def plot(model, path=None):
    """Draws the blocks of a model with their layers, output shapes and parameters.

    Args:
        model: a Functional `keras.Model`, or the name of one, which is drawn at its default size.
        path: of the picture, whose ending says the format (.png, .svg, .pdf); by default the model's name and .png.

    Returns:
        `Path` of the picture.

    Raises:
        InvalidArgument: the ending is not one of these, or the model has no graph.
        UnknownName: no model has this name.
        StoreError: the picture cannot be written.
    """
    if isinstance(model, str):
        from zoo.factory import build_empty

        model = build_empty(model)
    name = getattr(getattr(model, "zoo_spec", None), "name", model.name)
    path = Path(path if path is not None else f"{name}.png")
    kind = path.suffix[1:].lower()
    if kind not in FORMATS:
        works = f"Write {path.with_suffix('.png')}."
        raise invalid("a picture's name must end in .png, .svg or .pdf", str(path), works)
    blocks = blocks_of(model)
    boxes = [_text(block) for block in blocks]
    figure = _figure(blocks, boxes, f"{name}: {model.count_params():,} parameters")
    with staged_file(path) as place:
        figure.savefig(place, format=kind, dpi=130)
    return path


def _text(block):
    """Returns (heading, lines) of a block's box."""
    heading = f"{block.name}  \N{MULTIPLICATION SIGN}{block.times}" if block.times > 1 else block.name
    lines = textwrap.wrap(block.summary, 46)
    facts = [] if block.shape is None else ["\N{MULTIPLICATION SIGN}".join(map(str, block.shape)) or "1"]
    if block.parameters:
        facts.append(f"{block.parameters:,} parameters" + (" each" if block.times > 1 else ""))
    if block.calls > 1:
        facts.append(f"shared by {block.calls}")
    return heading, [*lines, ", ".join(facts)]


# Placing. A node is a block's index, or for an edge across ranks (source, target, rank): room to pass through.


def ranks_of(blocks):
    """Returns the rank of each block: as low as its readers allow, so that inputs stand by those."""
    rank = [0] * len(blocks)
    for i in reversed(range(len(blocks))):  # a block stands after all that it reads
        for j in blocks[i].inputs:
            rank[j] = min(rank[j], rank[i] - 1)
    return [r - min(rank, default=0) for r in rank]


def placed(blocks):
    """Returns `(rows, x, edges)`: the nodes of each rank in order, the centre of each, and the nodes of each edge."""
    rank = ranks_of(blocks)
    rows = [[] for _ in range(max(rank, default=0) + 1)]
    for i, r in enumerate(rank):
        rows[r].append(i)
    edges, above, below = [], {}, {}
    for i, block in enumerate(blocks):
        for j in block.inputs:
            passed = [(j, i, r) for r in range(rank[j] + 1, rank[i])]
            for node in passed:
                rows[node[2]].append(node)
            edges.append([j, *passed, i])
            for a, b in itertools.pairwise(edges[-1]):
                below.setdefault(a, []).append(b)
                above.setdefault(b, []).append(a)
    x = {node: float(place) for row in rows for place, node in enumerate(row)}
    sweeps = [(rows[::-1], below), (rows, above)] * 8  # the last goes down, so that chains stand straight
    for part, near in sweeps:  # order each row by the means of its neighbours
        for row in part:
            row.sort(key=lambda node: _mean([x[n] for n in near.get(node, [node])]))
            x.update({node: place - (len(row) - 1) / 2 for place, node in enumerate(row)})
    for part, near in sweeps:
        for row in part:
            _spread(row, [_mean([x[n] for n in near.get(node, [node])]) for node in row], x)
    left = min((x[n] - _room(n) / 2 for row in rows for n in row), default=0)
    return rows, {node: value - left for node, value in x.items()}, edges


def _mean(values):
    return sum(values) / len(values)


def _room(node):
    return WIDTH if isinstance(node, int) else 0.3


def _spread(row, wanted, x):
    """Moves the nodes of a row as near to where they are wanted as their order and width allow."""
    clusters = []  # (first index, number, sum of wanted lefts relative to the cluster)
    offset = [0.0]
    for a, b in itertools.pairwise(row):
        offset.append(offset[-1] + (_room(a) + _room(b)) / 2 + GAP)
    for i in range(len(row)):
        clusters.append([i, 1, wanted[i] - offset[i]])
        while len(clusters) > 1 and clusters[-2][2] / clusters[-2][1] > clusters[-1][2] / clusters[-1][1]:
            _, count, total = clusters.pop()
            clusters[-1][1] += count
            clusters[-1][2] += total
    for first, count, total in clusters:
        for i in range(first, first + count):
            x[row[i]] = total / count + offset[i]


# Drawing


def _figure(blocks, boxes, title):
    from matplotlib.figure import Figure

    rows, x, edges = placed(blocks)
    heights = [LINE * (1.25 + len(lines)) + 0.12 for _, lines in boxes]
    top, y = 0.55, {}
    for row in rows:
        tallest = max([heights[n] for n in row if isinstance(n, int)], default=0)
        for node in row:
            y[node] = top, tallest
        top += tallest + RISE
    size = max(x[n] + _room(n) / 2 for n in x) + 0.2, top - RISE + 0.2
    figure = Figure(figsize=size)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-0.2, size[0]), ylim=(size[1], 0))
    axes.axis("off")
    axes.text(size[0] / 2 - 0.1, 0.28, title, ha="center", va="center", fontsize=10, weight="bold")
    for nodes in edges:
        _arrow(axes, nodes, x, y, heights)
    read = {j for block in blocks for j in block.inputs}
    for i, (block, box) in enumerate(zip(blocks, boxes, strict=True)):
        kind = "input" if block.layers == (("Input", 1),) else "weights" if block.parameters else "plain"
        fill = FILL[kind if i in read else "output"]
        _box(axes, x[i], y[i][0] + (y[i][1] - heights[i]) / 2, heights[i], box, fill, block.times > 1)
    return figure


def _box(axes, x, top, height, box, fill, repeated):
    from matplotlib.patches import FancyBboxPatch

    heading, lines = box
    for shift in (0.08, 0.04, 0) if repeated else (0,):  # a stack of cards
        place = x - WIDTH / 2 + shift, top + shift
        style = "round,pad=0,rounding_size=0.06"
        axes.add_patch(FancyBboxPatch(place, WIDTH, height, style, fc=fill, ec=EDGE, lw=0.8, zorder=3))
    axes.text(x, top + LINE, heading, ha="center", va="center", fontsize=9, weight="bold", zorder=4)
    for i, line in enumerate(lines):
        last = i == len(lines) - 1
        colour = "#222222" if last else "#666666"
        axes.text(x, top + LINE * (2.15 + i), line, ha="center", va="center", fontsize=7.5, color=colour, zorder=4)


def _arrow(axes, nodes, x, y, heights):
    """Draws an edge from the bottom of its first node, through the room kept for it, to the top of its last."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path as Curve

    def span(node):  # top and bottom
        top, tallest = y[node]
        own = heights[node] if isinstance(node, int) else tallest
        return top + (tallest - own) / 2, top + (tallest + own) / 2

    points = [(x[nodes[0]], span(nodes[0])[1])]
    for node in nodes[1:-1]:
        points += [(x[node], y[node][0]), (x[node], y[node][0] + y[node][1])]
    points.append((x[nodes[-1]], span(nodes[-1])[0]))
    path, codes = [points[0]], [Curve.MOVETO]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        middle = (y0 + y1) / 2
        path += [(x0, middle), (x1, middle), (x1, y1)]
        codes += [Curve.CURVE4] * 3
    arrow = FancyArrowPatch(path=Curve(path, codes), arrowstyle="-|>", mutation_scale=8, lw=0.9, color=EDGE, zorder=2)
    axes.add_patch(arrow)
