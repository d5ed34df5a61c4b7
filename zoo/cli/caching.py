"""`zoo cache`: what was downloaded and is kept."""

from datetime import datetime
from typing import Annotated

import typer

from zoo.cli import options, screen
from zoo.cli.groups import Commands
from zoo.cli.screen import Column
from zoo.errors import Conflict, IntegrityError

app = typer.Typer(cls=Commands, pretty_exceptions_enable=False, rich_markup_mode=None)


@app.callback(invoke_without_command=True)
def start(context: typer.Context):
    """List, verify and remove what was downloaded."""
    if context.invoked_subcommand is None:
        print(context.get_help().rstrip())


@app.command("ls")
def ls(as_json: options.AsJson = False):
    """List what the cache holds, the least recently used first."""
    from zoo.cache import cache_folder
    from zoo.hub.keeping import entries

    found = entries()
    if as_json:
        screen.as_json({"folder": str(cache_folder()), "entries": [_row(e) for e in found]})
        return
    _table(found)
    total = screen.size(sum(e.size for e in found))
    count = "1 entry" if len(found) == 1 else f"{len(found)} entries"
    screen.line(f"{count}, {total}, in {cache_folder()}" if found else f"{cache_folder()} holds nothing")


@app.command()
def verify(as_json: options.AsJson = False):
    """Hash every file of every model in the cache again. Status 2 if one is damaged."""
    from zoo.hub.keeping import DAMAGED, WHOLE, entries

    found = [e for e in entries(thorough=True) if e.kind == "model"]
    bad = [e for e in found if e.state == DAMAGED]
    if as_json:
        screen.as_json([_row(e) for e in found])
    else:
        _table([e for e in found if e.state != WHOLE])
        screen.line(f"{sum(e.state == WHOLE for e in found)} models are whole, byte for byte; {len(bad)} damaged")
    if bad:
        raise IntegrityError(
            f"damaged: {', '.join(e.name for e in bad)}. `zoo cache prune` removes it, and the next pull fetches it "
            "again."
        )


@app.command()
def prune(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="REF",
            help="Models to remove: a reference, or one without its revision for all of them.",
            show_default=False,
        ),
    ] = None,
    older_than: Annotated[
        float | None, typer.Option("--older-than", metavar="DAYS", min=0, help="Also what was not used for so long.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove everything.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: options.AsJson = False,
):
    """Remove damaged models and what broken pulls left; with options or references also whole models."""
    from zoo.hub import keeping

    if names and (everything or older_than is not None):
        raise Conflict("references exclude --all and --older-than. Give either.")
    removed, kept = keeping.prune(tuple(names or ()), older_than=older_than, everything=everything, dry_run=dry_run)
    freed = sum(e.size for e in removed)
    if as_json:
        rows = {"removed": [_row(e) for e in removed], "in_use": [_row(e) for e in kept]}
        screen.as_json({"dry_run": dry_run, "bytes": freed, **rows})
        return
    _table(removed)
    does = "would be freed" if dry_run else "freed"
    screen.line(f"{freed:,} bytes {does}" if removed else "nothing to remove")
    for entry in kept:
        screen.line(f"{entry.name} is in use by another process, and stays")


def _row(entry):
    return {
        "name": entry.name,
        "kind": entry.kind,
        "state": entry.state,
        "bytes": entry.size,
        "used": _when(entry.used),
        "path": str(entry.path),
    }


def _when(seconds):
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def _table(found):
    if not found:
        return
    columns = Column("name", fold=True), Column("size", right=True), Column("last used"), Column("state")
    rows = [(e.name, screen.size(e.size), _when(e.used)[:16].replace("T", " "), _word(e)) for e in found]
    screen.table(columns, rows)


def _word(entry):
    return entry.state if entry.kind == "model" else entry.kind
