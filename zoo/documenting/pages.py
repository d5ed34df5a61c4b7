"""The page of each trick, and the index of them, as Markdown made of cards, measured effects and pictures."""

import inspect
import re
import tomllib
from pathlib import Path

from zoo.cards import card_of
from zoo.registry import STAGES, find_trick, list_tricks
from zoo.tasks import figure

DOCS = Path(__file__).parents[2] / "docs" / "tricks"
STAGE_TITLES = {
    "builder": "Builder: how the model is built",
    "data": "Data: what the model is shown",
    "targets": "Targets: what it is asked for",
    "loss": "Loss: what being wrong costs",
    "objective": "Objective: what each step minimises",
    "optimizer": "Optimizer: how a step is taken",
    "schedule": "Schedule: how large steps are, and when",
    "callbacks": "Callbacks: what happens between epochs",
    "after": "After: which weights are kept",
}


def page(row, picture=False):
    """Returns the page of a trick as Markdown.

    Args:
        row: its `zoo.registry.TrickRow`.
        picture: whether `<name>.png` stands beside the page.
    """
    parts = card_of("tricks", row.name)
    lines = [f"# {row.name}", "", f"{row.summary}.", ""]
    lines += [f"Stage: [{row.stage}](README.md#{row.stage}). Write `{row.name}` as a term of a recipe.", ""]
    for heading, text in parts:
        if heading == "formula":
            lines += ["```text", text, "```", ""]
    if picture:
        lines += [f"![{row.name}]({row.name}.png)", ""]
    if row.arguments:
        meanings = meanings_of(row.name)
        lines += ["| argument | default | |", "|---|---|---|"]
        lines += [f"| `{k}` | `{v!r}` | {_cell(meanings.get(k, ''))} |" for k, v in row.arguments.items()]
        lines.append("")
    for heading, text in parts:
        if heading not in ("formula", "paper"):
            lines += [f"**{heading.capitalize()}**: {_sentence(text)}", ""]
    clashes = getattr(find_trick(row.name), "clashes", {})
    if clashes:
        lines += ["Composes, with a warning:", ""]
        lines += [f"- with [{other}]({other}.md): {reason}." for other, reason in sorted(clashes.items())]
        lines.append("")
    for effect in effects_of(row.name):
        lines += measured(effect)
    papers = [text for heading, text in parts if heading == "paper"]
    lines += ["Source:" if len(papers) == 1 else "Sources:", ""]
    lines += [f"- {text}" for text in papers]
    return "\n".join(lines).rstrip() + "\n"


def index(rows):
    """Returns the index of all tricks as Markdown, by stage."""
    lines = [
        "# Tricks",
        "",
        "Terms of a recipe, in the order in which they apply whatever the order they are written in.",
    ]
    for stage in STAGES:
        ours = [row for row in rows if row.stage == stage]
        if ours:
            lines += ["", f'<a id="{stage}"></a>', "", f"## {STAGE_TITLES[stage]}", "", "| trick | |", "|---|---|"]
            lines += [f"| [{row.name}]({row.name}.md) | {row.summary} |" for row in ours]
    return "\n".join(lines) + "\n"


def meanings_of(name):
    """Returns argument name -> what it means, as the docstring of a trick's class says."""
    text = " ".join(inspect.getdoc(find_trick(name)).split()).removeprefix("See the card above.").strip()
    found = {}
    # "`epsilon`: largest change. `low`, `high`: limits, or None." -> one meaning for each name
    marks = list(re.finditer(r"(?:^|(?<=[.;] ))((?:`\w+`(?:, | and )?)+):", text))
    ends = [*(mark.start() for mark in marks[1:]), len(text)]
    for mark, end in zip(marks, ends, strict=False):
        meaning = text[mark.end() : end].strip().rstrip(".;")
        for argument in re.findall(r"\w+", mark[1].replace(" and ", " ")):
            found[argument] = meaning
    return found


def effects_of(name):
    """Returns what was measured of a trick: the parsed files of `docs/effects` that name it."""
    files = sorted((DOCS.parent / "effects").glob("*.toml"))
    found = [tomllib.loads(path.read_text("utf-8")) for path in files]
    return [effect for effect in found if name in effect["tricks"]]


def measured(effect):
    """Returns a measured effect as lines of Markdown."""
    rows = effect["rows"]
    names = [name for name in rows[0] if name != "recipe"]
    lines = [
        "## Measured",
        "",
        effect["summary"],
        "",
        "| recipe | " + " | ".join(n.replace("_", " ") for n in names) + " |",
    ]
    lines.append("|---|" + "--:|" * len(names))
    for row in rows:
        lines.append(f"| `{row['recipe']}` | " + " | ".join(_spread(n, row.get(n)) for n in names) + " |")
    about = f"`{effect['command']}`; data {effect['data']} ({effect['fingerprint']}), seeds {effect['seeds']}, "
    about += f"{effect['seconds']:,.0f} s on {effect['hardware']}; {effect['versions']}."
    return [*lines, "", about, ""]


def _spread(name, values):
    """Returns the mean of a figure over seeds with its range, as text."""
    if values is None:
        return ""
    if isinstance(values, str):
        return values
    values = values if isinstance(values, list) else [values]
    low, high = figure(name, min(values)), figure(name, max(values))
    return figure(name, sum(values) / len(values)) + (f" ({low} to {high})" if low != high else "")


def _cell(text):
    return text.replace("|", "\\|")


def _sentence(text):
    return text if text.endswith((".", ")", ":")) else f"{text}."


def pages(pictures):
    """Returns file name -> text of every page.

    Args:
        pictures: names of the tricks that have a picture.
    """
    rows = list_tricks()
    return {f"{row.name}.md": page(row, row.name in pictures) for row in rows} | {"README.md": index(rows)}
