"""What `zoo leaderboard` prints and writes. Imports Keras only to count the FLOPs of a run's own architecture."""

import os
import re
from pathlib import Path

from zoo.cli import screen
from zoo.cli.screen import Column, count
from zoo.cli.show import as_values
from zoo.errors import invalid
from zoo.files import disk, write_atomic
from zoo.registry import data_file
from zoo.standings import NOTES, duration, groups, leaderboard

_TITLES = ("model", "result", "weights", "FLOPs", "time", "recipe or run")
_RIGHT = (False, True, True, True, True, False)


def board(runs, *, data, task, markdown, html, as_json):
    """Prints the leaderboard, or writes its page.

    Raises:
        Conflict, InvalidArgument: what was asked for cannot be; nothing is written.
        StoreError: the page cannot be written.
    """
    if sum((markdown, as_json, html is not None)) > 1:
        raise invalid("--markdown, --html and --json exclude each other", works="Leave one of them.")
    if html is not None:
        _check_target(html)
    rows = leaderboard(data=data, task=task, runs=runs)
    if as_json:
        screen.as_json([as_values(row, value=row.value, deviation=row.deviation) for row in rows])
    elif markdown:
        from zoo.leaderboard_markdown import table

        print(table(rows))
    elif html is not None:
        from zoo.leaderboard_page import page

        write_atomic(html, page(rows, runs, cards=_cards(html)))
        screen.line(f"{len(rows)} rows in {html}: one file, to be opened in a browser")
    elif screen.in_terminal():
        _terminal(rows)
    else:
        _plain(rows)


def _check_target(html):
    """Refuses a page's path before any work."""
    if html.suffix.lower() not in (".html", ".htm"):
        raise invalid("the page's name must end in .html", str(html), "Write --html leaderboard.html.")
    with disk(html):
        if html.is_dir():
            raise IsADirectoryError(21, "a folder")
        if not html.absolute().parent.is_dir():
            raise FileNotFoundError(2, "no folder")


def _cards(html):
    """Returns the way from the page to the tricks' cards of this checkout, None where zoo is installed without them."""
    cards = data_file("recipes").parent / "docs" / "tricks"
    if not cards.is_dir():
        return None
    try:
        return Path(os.path.relpath(cards, html.resolve().parent)).as_posix()
    except ValueError:  # another drive
        return None


def _cells(row):
    return [row.network, row.result(), count(row.parameters), count(row.flops), duration(row.seconds), row.name]


def _plain(rows):
    """Prints one line per row, to be searched and cut."""
    columns = [Column("data"), Column("task"), Column("figure")]
    columns += [Column(title, right) for title, right in zip(_TITLES, _RIGHT, strict=True)]
    columns += [Column("seeds", right=True), Column("tricks")]
    made = [(row.data, row.task or "-", row.metric, *_cells(row), len(row.values), row.tricks) for row in rows]
    screen.table(columns, made)


def _terminal(rows):
    """Prints the rows under their data sets, columns aligned over all of them, the tricks under each row."""
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, markup=False, emoji=False)
    every = [_TITLES, *map(_cells, rows)]
    widths = [max(len(cells[i]) for cells in every) for i in range(len(_TITLES))]

    def line(cells):
        padded = (c.rjust(w) if r else c.ljust(w) for c, w, r in zip(cells, widths, _RIGHT, strict=True))
        return "  ".join(padded).rstrip()

    console.print(Text(line(_TITLES), style="bold"), soft_wrap=True)
    for (data, task, metric), members in groups(rows).items():
        better = "more" if members[0].higher_is_better else "less"
        said = f"  {task}: {metric}, {better} is better".replace("_", " ")
        console.print()
        console.print(Text.assemble((data, "bold"), (said, "dim")))
        for row in members:
            text = Text(line(_cells(row)))
            text.stylize("cyan", 0, len(row.network))
            console.print(text, soft_wrap=True)
            tricks = Text(re.sub(r"\s*\+\s*", " + ", row.tricks), style="dim")
            for part in tricks.wrap(console, max(console.width - 4, 20)):
                part.rstrip()
                console.print(Text("    ").append_text(part))
        if len(members) > 1 and metric in NOTES:
            console.print(Text(NOTES[metric], style="dim italic"))
    console.print()
    said = "±: standard deviation over the seeds, of an accuracy in points. Time: of one training, on the hardware "
    said += "that zoo info NAME names. FLOPs: one forward pass of one example, a multiply-add being two."
    console.print(Text(said, style="dim"))
