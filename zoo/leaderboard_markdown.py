"""The leaderboard as a Markdown table: in the README, and by `zoo leaderboard --markdown`."""

import html
import re

from zoo.cli.screen import count
from zoo.recipes import outline
from zoo.registry import index
from zoo.standings import duration, spread

_MARKUP = re.compile(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w))")  # an underscore within a word is no markup


def table(rows):
    """Returns rows of `zoo.leaderboard` as a Markdown table; recorded recipes and tricks link to their files."""
    lines = ["| data | model | on the test part | weights | FLOPs | time | seeds | recipe | tricks |"]
    lines += ["|---|---|---|--:|--:|--:|---|---|---|"]
    before = None
    for row in rows:
        data = escaped(row.data) if row.group[:2] != before else ""
        before = row.group[:2]
        figures = {row.metric: row.values} | row.figures
        shown = "; ".join(
            f"{escaped(name.replace('_', ' '))} {spread(name, values)}"
            for name, values in figures.items()
            if name == row.metric or not name.endswith("loss")
        )
        name = f"[{row.name}](recipes/{row.name}.toml)" if row.recorded else escaped(row.name)
        cells = [data, escaped(row.network), shown, count(row.parameters), count(row.flops), duration(row.seconds)]
        cells += [", ".join(map(str, row.seeds)), name, _tricks(row.tricks)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def escaped(text):
    """Returns text that Markdown shows as it is, on one line."""
    return _MARKUP.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _tricks(text):
    """Returns a recipe, each trick with a link to its card and with what is set of it."""
    return " + ".join(
        f"[{escaped(name)}](docs/tricks/{name}.md){escaped(arguments)}"
        if name in index()["tricks"]
        else escaped(name + arguments)
        for name, arguments in terms(text)
    )


def terms(text):
    """Returns (name, arguments as text) of each term of a recipe; text that is no recipe is one name."""
    try:
        found, _ = outline(text)
    except ValueError:
        return [(text, "")]
    if not found or any(sign < 0 for sign, _, _ in found):  # plain, or a named recipe less a trick
        return [(text, "")]
    return [(n, f"({', '.join(f'{k}={v!r}' for k, v in given.items())})" if given else "") for _, n, given in found]
