"""Cards: the docstring of a model's or trick's file, read in parts without importing the file."""

import ast
import re
from pathlib import Path

from zoo.registry import index

_HEADING = re.compile(r"([A-Z][a-z]+(?: [a-z]+)?): ?(.*)")


def card_of(package, name):
    """Returns the parts of a card as (heading in lower case, text) pairs; empty where no file of zoo's has it.

    Args:
        package: "models" or "tricks".
        name: of a variant or a trick that the index knows, or of a trick's own file.
    """
    entry = index()[package].get(name)
    path = Path(__file__).parent / package / f"{entry['module'] if entry else name}.py"
    return parts_of(ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "") if path.is_file() else []


def parts_of(docstring):
    """Returns the parts of a card's text after its first line as (heading in lower case, text) pairs.

    A line that goes on is joined to the one before, but in a formula, whose lines are kept.
    """
    parts = []
    for line in docstring.splitlines()[1:]:
        found = _HEADING.fullmatch(line)
        if found:
            parts.append([found[1].lower(), found[2]])
        elif parts and line.strip():
            joint = "\n" if parts[-1][0] == "formula" else " "
            parts[-1][1] += f"{joint}{line.strip()}"
    return [(heading, text.strip()) for heading, text in parts]
