"""What commands print: folded and coloured in a terminal; elsewhere one line per row, to be searched and cut.

rich is imported only for a terminal.
"""

import contextlib
import json
import re
import sys
from dataclasses import dataclass

_COMMANDS = {
    "list_models": "zoo list",
    "list_recipes": "zoo recipes",
    "list_tricks": "zoo tricks",
    "list_weights": "zoo weights",
    "data.names": "zoo datasets",
}
_CALL = re.compile(
    rf"zoo\.(?P<name>{'|'.join(map(re.escape, _COMMANDS))})"
    r"\((?:(?P<q>['\"])(?P<pattern>[^'\"]*)(?P=q))?(?:task='(?P<task>\w+)')?\)"
)


@dataclass(frozen=True)
class Column:
    """One column of a table: numbers go `right`, long texts `fold`, the rest keeps its width."""

    title: str
    right: bool = False
    fold: bool = False
    style: str | None = None


def in_terminal(stream=None):
    """Says whether a stream, by default standard output, is a terminal."""
    stream = stream or sys.stdout
    return bool(getattr(stream, "isatty", lambda: False)())


def _console(**options):
    from rich.console import Console

    return Console(highlight=False, markup=False, emoji=False, **options)


def table(columns, rows, *, note=None):
    """Prints a table.

    Args:
        columns: `Column` each.
        rows: one text per column each.
        note: a remark below it, for people at a terminal.
    """
    rows = [[str(cell) for cell in row] for row in rows]
    if not in_terminal():
        return _plain_table(columns, rows)
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_edge=False)
    for number, column in enumerate(columns):
        style = column.style or ("cyan" if number == 0 else None)
        justify = "right" if column.right else "left"
        made.add_column(column.title, justify=justify, style=style, no_wrap=not column.fold, overflow="fold")
    for row in rows:
        made.add_row(*row)
    console = _console()
    console.print(made)
    if note:
        console.print(note, style="dim")


def _plain_table(columns, rows):
    shown = [[c.title for c in columns], *rows]
    shown = [[" ".join(cell.split()) for cell in row] for row in shown]
    widths = [max(len(row[i]) for row in shown) for i in range(len(columns))]
    for row in shown:
        cells = (cell.rjust(w) if c.right else cell.ljust(w) for cell, w, c in zip(row, widths, columns, strict=True))
        print("  ".join(cells).rstrip())


def fields(pairs, *, indent=0):
    """Prints "name  value" lines; a value of None is left out.

    Args:
        pairs: (name, value) each.
        indent: columns to the left.
    """
    pairs = [(name, str(value)) for name, value in pairs if value is not None]
    if not pairs:
        return
    width = max(len(name) for name, _ in pairs)
    if not in_terminal():
        for name, value in pairs:
            print(f"{'':{indent}}{name:{width}}  {' '.join(value.split())}".rstrip())
        return
    from rich.padding import Padding
    from rich.table import Table

    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="cyan", no_wrap=True)
    grid.add_column(overflow="fold")
    for pair in pairs:
        grid.add_row(*pair)
    _console().print(Padding(grid, (0, 0, 0, indent)))


def line(text="", *, style=None):
    """Prints a line; a terminal folds it between words."""
    if in_terminal():
        _console().print(text, style=style)
    else:
        print(text)


def as_json(value):
    """Prints a value as JSON."""
    print(json.dumps(value, indent=1, ensure_ascii=False))


def as_commands(text):
    """Returns a message of the API with the calls it refers to written as commands."""

    def command(call):
        words = [_COMMANDS[call["name"]], f"'{call['pattern']}'" if call["pattern"] else None]
        words += [f"--task {call['task']}"] if call["task"] else []
        return " ".join(filter(None, words))

    return _CALL.sub(command, text)


def error(text):
    """Prints `Error: text` on standard error."""
    _labelled("Error", text, "bold red")


def warning(message, category, *_, **__):
    """Prints a warning on standard error, without the place in the code; for `warnings.showwarning`."""
    if issubclass(category, UserWarning):
        _labelled("Warning", str(message), "bold yellow")


def _labelled(label, text, style):
    sys.stdout.flush()
    if in_terminal(sys.stderr):
        from rich.text import Text

        _console(stderr=True).print(Text.assemble((f"{label}:", style), " ", text))
    else:
        print(f"{label}: {text}", file=sys.stderr)


def count(number):
    """Returns a number in three digits, from 10,000 on with a letter: 7,850, 25.6M."""
    if number is None:
        return "-"
    if number < 10_000:
        return f"{number:,}"
    rounded = float(f"{number:.3g}")
    size, letter = next((s, x) for s, x in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")) if rounded >= s)
    return f"{rounded / size:.10g}{letter}"


def size(bytes):
    """Returns a number of bytes in three digits: 512 B, 22.9 MB; a kB has 1,000 of them."""
    if bytes < 1000:
        return f"{bytes} B"
    rounded = float(f"{bytes:.3g}")
    unit, letter = next((u, x) for u, x in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")) if rounded >= u)
    return f"{rounded / unit:.10g} {letter}"


def shape(sizes):
    """Returns sizes as text, 224x224x3; of several inputs by name."""
    if isinstance(sizes, dict):
        return ", ".join(f"{name} {shape(part)}" for name, part in sizes.items())
    return "-" if sizes is None else "x".join(map(str, sizes)) or "1"


@contextlib.contextmanager
def ctrl_c_explained():
    """Prints the notes of a Ctrl-C in its block, which say how to go on; typer hands only its own Abort further."""
    try:
        yield
    except KeyboardInterrupt as stop:
        for note in getattr(stop, "__notes__", ()):
            print(note, file=sys.stderr)
        raise
