"""The leaderboard's pictures as SVG text: figure against cost, learning curves, intervals of an ablation's effects.

Drawn for a width of 360, a phone's, so that words stay legible there. Colours come from the page's style by class.
"""

import math
from html import escape
from pathlib import PurePath

from zoo.recorded import counts_answers
from zoo.tasks import figure

_WIDTH, _HEIGHT = 360, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 12, 14, 40
_LETTER, _LINE = 6.6, 13  # width and height of a letter of a point's name
_MOST_POINTS = 300  # of a curve that are drawn


def _at(number):
    return f"{number:.1f}".removesuffix(".0")


def ticks(low, high, wanted=4):
    """Returns round numbers from `low` to `high`, ascending, about `wanted` of them."""
    span = high - low
    if not span > 0:
        return [low]
    step = 10.0 ** math.floor(math.log10(span / wanted))
    step *= next((s for s in (1, 2, 5, 10) if span / (step * s) <= wanted), 10)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{n * step:.12g}") for n in range(first, last + 1)]


def log_ticks(low, high):
    """Returns round numbers on a logarithmic axis: powers of ten, with 2 and 5 where those are few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 2, 5), tuple(range(1, 10))):
        found = [float(f"{s * 10.0**d:.12g}") for d in decades for s in steps if low <= s * 10.0**d <= high]
        if len(found) >= 2:
            break
    found = [int(n) if n == int(n) else n for n in found]
    return found[:: math.ceil(len(found) / 5) or 1]


def _limits(values):
    low, high = min(values), max(values)
    margin = 0.12 * (high - low) or 0.1 * abs(high) or 1.0
    return low - margin, high + margin


def _short(row, rows):
    """Returns what a point is called: the model, its recipe where several share it, or the end of a run's folder."""
    several = sum(other.recorded and other.model == row.model for other in rows) > 1
    text = row.name if several else row.model
    if not row.recorded:
        text = f"{row.model}, {PurePath(row.folders[0]).name}"
    return text if len(text) <= 26 else f"{text[:25]}…"


def cost_plot(rows, cost, unit, shown, title):
    """Returns the picture of one data set's figures against a cost, on a logarithmic axis; better is up.

    Args:
        rows: `Standing`s of one group whose `cost` is known and positive.
        cost: name of the attribute.
        unit: what its axis says.
        shown: function of a cost that returns it as text.
        title: what the picture is, for who does not see it.
    """
    values, costs = [row.value for row in rows], [getattr(row, cost) for row in rows]
    low, high = _limits(values)
    if rows[0].higher_is_better and max(values) <= 1:
        high = min(high, 1.0) if max(values) < 1 else high
    ratio = max(costs) / min(costs)
    margin = max(ratio**0.12, 1.5, math.sqrt(10 / ratio))  # one decade at least, so that its marks are round numbers
    cheap, dear = min(costs) / margin, max(costs) * margin
    up = 1 if rows[0].higher_is_better else -1

    def x_of(number):
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * math.log(number / cheap) / math.log(dear / cheap)

    def y_of(number):
        share = (number - low) / (high - low)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (share if up > 0 else 1 - share)

    parts = []
    for tick in ticks(low, high):
        y = _at(y_of(tick))
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        text = f"{100 * tick:.4g}%" if rows[0].higher_is_better else f"{tick:.4g}"
        parts.append(f'<text x="{_LEFT - 6}" y="{y}" dy="4" text-anchor="end">{text}</text>')
    floor = _HEIGHT - _BOTTOM
    parts.append(f'<line class="axis" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{floor}" y2="{floor}"/>')
    for tick in log_ticks(cheap, dear):
        x = _at(x_of(tick))
        parts.append(f'<line class="axis" x1="{x}" x2="{x}" y1="{floor}" y2="{floor + 4}"/>')
        parts.append(f'<text x="{x}" y="{floor + 16}" text-anchor="middle">{escape(shown(tick))}</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{_at(middle)}" y="{_HEIGHT - 6}" text-anchor="middle">{escape(unit)}</text>')
    parts.append(_front(rows, cost, x_of, y_of, up))
    taken = [(x_of(c) - 6, y_of(v) - 6, x_of(c) + 6, y_of(v) + 6) for c, v in zip(costs, values, strict=True)]
    for row in sorted(rows, key=lambda row: (getattr(row, cost), row.name)):
        words = _short(row, rows), f"{unit} {shown(getattr(row, cost))}"
        parts.append(_point(row, *words, x_of(getattr(row, cost)), y_of(row.value), taken))
    return _svg(parts, title)


def _front(rows, cost, x_of, y_of, up):
    """Returns the steps along the rows that no cheaper one equals."""
    best, corners = None, []
    for row in sorted(rows, key=lambda row: (getattr(row, cost), -up * row.value)):
        if best is None or up * row.value > up * best:
            x = x_of(getattr(row, cost))
            corners += [(x, y_of(best))] if best is not None else []
            corners.append((x, y_of(row.value)))
            best = row.value
    if len(corners) < 2:
        return ""
    return f'<polyline class="front" points="{" ".join(f"{_at(x)},{_at(y)}" for x, y in corners)}"/>'


def _point(row, name, cost, x, y, taken):
    """Returns one point with its name where there is room; `taken` are the boxes of what is drawn already."""
    width = _LETTER * len(name)
    places = [(x + 9, y + 4, "start"), (x - 9, y + 4, "end"), (x, y - 10, "middle"), (x, y + 19, "middle")]
    places += [(x + 9, y + 4 + dy, "start") for dy in (-_LINE, _LINE, -2 * _LINE, 2 * _LINE)]
    places += [(x - 9, y + 4 + dy, "end") for dy in (-_LINE, _LINE, -2 * _LINE, 2 * _LINE)]
    chosen = None
    for px, py, anchor in places:
        left = px - {"start": 0, "middle": width / 2, "end": width}[anchor]
        box = (left, py - 11, left + width, py + 3)
        inside = box[0] >= _LEFT and box[2] <= _WIDTH + 4 and box[1] >= 0 and box[3] <= _HEIGHT - _BOTTOM
        if inside and not any(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken):
            chosen = px, py, anchor
            taken.append(box)
            break
    words = f"{name}: {row.metric.replace('_', ' ')} {row.result()}, {cost}"
    mark = f'<circle class="mark" cx="{_at(x)}" cy="{_at(y)}" r="5.5"/>'
    if not row.recorded:
        corners = ((x - 7, y), (x, y - 7), (x + 7, y), (x, y + 7))
        mark = f'<polygon class="mark" points="{" ".join(f"{_at(a)},{_at(b)}" for a, b in corners)}"/>'
    text = ""
    if chosen:  # where there is no room for it, the point is still said on focus, hover and touch
        px, py, anchor = chosen
        text = f'<text class="name" x="{_at(px)}" y="{_at(py)}" text-anchor="{anchor}">{escape(name)}</text>'
    kind = "point" if row.recorded else "point own"
    return (
        f'<g class="{kind}" tabindex="0" role="img" aria-label="{escape(words)}"><title>{escape(words)}</title>'
        f'<circle class="touch" cx="{_at(x)}" cy="{_at(y)}" r="14"/>{mark}{text}</g>'
    )


def _svg(parts, title, height=_HEIGHT):
    return f'<svg viewBox="0 0 {_WIDTH} {height}" role="group" aria-label="{escape(title)}">{"".join(parts)}</svg>'


def curves(histories, name, title):
    """Returns the picture of one figure by epoch, a colour for each history; None where none recorded it.

    Args:
        histories: (label, rows by epoch) each.
        name: the figure, such as "accuracy"; its validation is drawn in full, its training faint.
        title: what the picture is, for who does not see it.
    """
    lines = []
    for number, (_, rows) in enumerate(histories):
        every = max(1, math.ceil(len(rows) / _MOST_POINTS))
        kept = [row for i, row in enumerate(rows) if i % every == 0 or i == len(rows) - 1]
        validation = [(row["epoch"], row[f"val_{name}"]) for row in kept if f"val_{name}" in row]
        training = [(row["epoch"], row[name]) for row in kept if name in row]
        if validation:
            lines.append((number, "curve", validation))
        if training:
            lines.append((number, "curve faint" if validation else "curve", training))
    if not lines:
        return None
    values = [v for _, _, points in lines for _, v in points]
    epochs = [e for _, _, points in lines for e, _ in points]
    low, high = _limits(values)
    first, last = min(epochs), max(max(epochs), min(epochs) + 1)
    height = 190
    share = counts_answers(name)

    def place(epoch, value):
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * (epoch - first) / (last - first)
        return x, height - _BOTTOM - (height - _TOP - _BOTTOM) * (value - low) / (high - low)

    parts = []
    for tick in ticks(low, high):
        y = _at(place(first, tick)[1])
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}"/>')
        text = f"{100 * tick:.4g}%" if share else f"{tick:.4g}"
        parts.append(f'<text x="{_LEFT - 6}" y="{y}" dy="4" text-anchor="end">{text}</text>')
    for tick in ticks(first, last, 6):
        if tick == int(tick):
            x = _at(place(tick, low)[0])
            parts.append(f'<text x="{x}" y="{height - _BOTTOM + 15}" text-anchor="middle">{int(tick)}</text>')
    words = f"{name.replace('_', ' ')} by epoch"
    parts.append(f'<text x="{(_LEFT + _WIDTH) / 2}" y="{height - 6}" text-anchor="middle">{escape(words)}</text>')
    for number, kind, points in lines:
        made = " ".join(f"{_at(x)},{_at(y)}" for x, y in (place(*p) for p in points))
        parts.append(f'<polyline class="{kind} s{number % 6}" points="{made}"/>')
        if len(points) == 1:
            x, y = place(*points[0])
            parts.append(f'<circle class="{kind} s{number % 6}" cx="{_at(x)}" cy="{_at(y)}" r="3"/>')
    ends = [points[-1][1] for _, kind, points in lines if kind == "curve"]
    said = f"{title}; at the end {', '.join(figure(name, end) for end in ends[:6])}"
    return _svg(parts, said, height)


def interval(effect, reach, sign, kind):
    """Returns the picture of one effect of an ablation: its interval, mean and seeds; right of the middle it helps.

    Args:
        effect: `zoo.paired.Difference`.
        reach: the difference at either edge, positive.
        sign: 1 where more is better, else -1.
        kind: class that colours it.
    """
    width, height = 224, 28

    def x_of(number):
        return width / 2 + min(max(sign * number / reach, -1), 1) * (width / 2 - 6)

    parts = [f'<line class="axis" x1="{width / 2}" x2="{width / 2}" y1="0" y2="{height}"/>']
    if not math.isnan(effect.low):
        parts.append(
            f'<line class="{kind}" stroke-width="2.5" x1="{_at(x_of(effect.low))}" x2="{_at(x_of(effect.high))}" '
            f'y1="14" y2="14"/>'
        )
    parts += [f'<circle class="{kind}" opacity="0.5" cx="{_at(x_of(d))}" cy="22" r="2"/>' for d in effect.each[:50]]
    parts.append(f'<circle class="{kind}" cx="{_at(x_of(effect.mean))}" cy="14" r="4.5"/>')
    return f'<svg viewBox="0 0 {width} {height}" aria-hidden="true">{"".join(parts)}</svg>'
