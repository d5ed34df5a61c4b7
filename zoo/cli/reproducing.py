"""The command `zoo reproduce`: names are checked before Keras is imported, the rest is `zoo.reproduce`."""

import typer

from zoo.cli import doctoring, screen
from zoo.cli.screen import Column
from zoo.errors import ZooError, invalid


def reproduce(start, recipe, *, check, as_json, quiet, **options):
    """Reproduces a recipe, or checks all shipped weights, and prints it; exit code 1 where it does not hold.

    Args:
        start: function that imports zoo with Keras and returns it.
        recipe: the name of a recipe or a `.toml` file; None, with `check`, stands for all whose weights are shipped.
        check, as_json, quiet, **options: of the command.
    """
    from zoo.recorded import recorded_recipe

    if recipe is None and not check:
        works = "Write `zoo reproduce RECIPE` (zoo recipes), or `zoo reproduce --check` for all shipped weights."
        raise invalid("`zoo reproduce` needs a recipe", works=works)
    if recipe is None and (options["seeds"] or options["out"]):
        raise invalid("--seed and --out are of a training, and --check trains nothing", works="Leave them out.")
    if recipe is not None:
        row = recorded_recipe(recipe)
        if not check:
            said = {name: {row.name: value} for name, value in row.settings.items()}
            doctoring.take_fastest(said, row.settings["model"], _begun(row, options), quiet or as_json)
        zoo = start()
        with screen.ctrl_c_explained():
            found = [zoo.reproduce(recipe, check=check, quiet=quiet or as_json, **options)]
        failures = 0
    else:
        found, failures = _all_checked(start(), options)
    if as_json:
        screen.as_json([row.to_json() for row in found] if recipe is None else found[0].to_json())
    elif not quiet:
        for row in found:
            _show(row)
    if failures or not all(row.ok for row in found):
        raise typer.Exit(1)


def _begun(row, options):
    """Returns the folder of a run that will be continued, or None."""
    from zoo.recorded import folder_of

    begun = folder_of(row.name, options["out"]).glob("seed-*")
    return next(begun, None) if options["resume"] else None


def _all_checked(zoo, options):
    """Returns `(results, how many could not be checked)` of every recipe whose weights are shipped."""
    from zoo.reproducing import shipped_recipes

    found, failures = [], 0
    for row in shipped_recipes():
        try:
            found.append(zoo.reproduce(row.name, check=True, **options))
        except ZooError as error:  # the data of one may be missing; the others are checked all the same
            screen.error(f"{row.name}: {error}")
            failures += 1
    return found, failures


def _show(found):
    screen.line(f"{found.recipe}: {found.sentence}", style="bold")
    columns = (
        Column("figure"),
        Column("measured", right=True),
        Column("recorded", right=True),
        Column("allowed", right=True),
        Column("verdict"),
    )
    rows = [
        (f"{r.split} {r.name}", r.measured_text(), r.recorded_text(), r.allowed_text(), r.verdict)
        for r in found.figures
    ]
    screen.table(columns, rows)
    seeds = ", ".join(map(str, found.seeds))
    screen.fields(
        [
            ("seeds" if found.kind == "training" else "weights of seed", seeds),
            ("recorded on", found.recorded_on),
            ("hardware here", found.hardware),
            ("differs", "; ".join(found.differs) or "nothing in the versions"),
            *(("note", note) for note in found.notes),
            ("run folders" if found.kind == "training" else "weights", ", ".join(found.places)),
        ]
    )
