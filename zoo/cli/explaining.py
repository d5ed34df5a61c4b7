"""`zoo recipes explain`: what a recipe does, from the cards alone, or in numbers for one model."""

import re

import zoo
from zoo.cards import card_of
from zoo.cli import names, screen
from zoo.errors import invalid
from zoo.recipes import PLAIN, find_recipe, outline
from zoo.registry import STAGES, list_tricks

_SHOWN = ("formula", "use when", "start with", "composes with", "conflicts with", "cost", "backends")  # of a card


def explain(expression, model, option, as_json):
    """Prints each trick of a recipe in the order in which they apply.

    Args:
        expression: such as "focal+warmup".
        model: name of a model for which numbers are given; without one Keras is not imported.
        option: words `name=value`, arguments of the model.
        as_json: whether to print JSON; without a model only.
    """
    arguments = names.settings("--set", option)
    if model is None and arguments:
        raise invalid("--set gives arguments of a model", option[0], "Pass --model too.")
    rows = {row.name: row for row in list_tricks()}
    found = _unfolded(expression, rows)
    if as_json and model is not None:
        raise invalid("--json and --model exclude each other", works="Leave one out.")
    if model is None:
        return _from_cards(expression, found, rows, as_json)
    names.model(model, arguments)
    return _for_model(expression, model, arguments)


def _unfolded(text, rows):
    """Returns trick name -> arguments given, in the order of application; named recipes are opened."""
    bundled, written, removed = {}, {}, set()
    for sign, name, given in outline(text)[0]:
        if sign < 0:
            removed.add(name)
        elif name in rows:
            written[name] = given
        else:
            bundled |= _unfolded(find_recipe(name).tricks, rows)
    found = {name: given for name, given in {**bundled, **written}.items() if name not in removed}
    return dict(sorted(found.items(), key=lambda pair: (STAGES.index(rows[pair[0]].stage), pair[0])))


def _from_cards(expression, found, rows, as_json):
    parts = []
    for name, given in found.items():
        row, card = rows[name], dict(reversed(card_of("tricks", name)))  # of two papers the first
        parts.append(
            {
                "name": name,
                "stage": row.stage,
                "summary": row.summary,
                "arguments": {**row.arguments, **given},
                "given": sorted(given),
                "paper": str(row.paper) if row.paper else None,
                "clashes": row.clashes,
            }
            | {heading: card.get(heading) for heading in _SHOWN}
        )
    cautions = _cautions(parts)
    if as_json:
        screen.as_json({"kind": "explanation", "recipe": expression, "tricks": parts, "cautions": cautions})
        return
    stages = " -> ".join(dict.fromkeys(p["stage"] for p in parts))
    screen.fields([("recipe", "+".join(found) or PLAIN), ("order", stages or "nothing is changed")])
    for part in parts:
        given = set(part["given"])
        words = (f"{k}={v!r}" + ("" if k in given else " (default)") for k, v in part["arguments"].items())
        screen.line()
        screen.line(part["name"], style="bold")
        facts = [("does", part["summary"]), ("stage", part["stage"]), ("with", ", ".join(words) or None)]
        screen.fields([*facts, ("paper", part["paper"]), *((key, part[key]) for key in _SHOWN)], indent=2)
    _print_cautions(cautions)
    if screen.in_terminal():
        screen.line("\n--model NAME says in numbers what this does to a model.", style="dim")


def _cautions(parts):
    """Returns a sentence for each two tricks of a recipe of which a card says that they do not go well together."""
    said, names_of = [], [part["name"] for part in parts]
    for part in parts:
        for other, reason in part["clashes"].items():
            if other in names_of:
                said.append(f"{part['name']} with {other}: {reason}.")
        conflicts = part["conflicts with"] or ""
        if conflicts.lower().startswith("nothing"):
            continue
        others = [other for other in names_of if other != part["name"] and other not in part["clashes"]]
        known = [other for other in others if re.search(rf"\b{other}\b", conflicts)]
        said += [f"{part['name']} conflicts with {other}: {conflicts}" for other in known]
    return said


def _print_cautions(cautions):
    if cautions:
        screen.line()
        screen.line("cautions", style="bold")
        for line in cautions:
            screen.line(f"  {line}")


def _for_model(expression, model, arguments):
    import warnings

    from zoo.quiet import import_keras

    import_keras()
    from zoo.factory import build_empty, resolve

    chosen = zoo.recipe(expression)
    builder, variant, _ = resolve(model, arguments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # `explain` says them
        built = build_empty(variant, **chosen.builder_arguments(builder, variant, arguments))
        said = chosen.explain(built)
    stages = " -> ".join(dict.fromkeys(t.stage for t in chosen.tricks))
    screen.line(f"order: {stages or 'nothing is changed'}\n")
    screen.line(said)
