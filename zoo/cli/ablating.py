"""The command `zoo ablate`: names are checked before Keras is imported, the rest is `zoo.ablate`."""

from zoo.cli import names, screen
from zoo.errors import invalid


def ablate(model, recipe, data, option, data_options, as_json, quiet, **settings):
    """Runs an ablation and prints its tables, or as JSON what `ablation.json` holds."""
    from zoo.recipes import Recipe

    arguments = names.settings("--set", option)
    if recipe is None:
        works = "Pass --recipe, such as --recipe focal+warmup+radam."
        raise invalid("an ablation needs a recipe, whose tricks it leaves out and adds", works=works)
    _, said = names.recipe(recipe)
    asked = Recipe((), said)
    own_model, own_data = model or asked.setting("model"), data or asked.setting("data")
    if own_model is None or own_data is None:
        works = "Write `zoo ablate MODEL --recipe RECIPE --data DATA`, or name a recipe that has both (zoo recipes)."
        raise invalid("`zoo ablate` needs a model and data", works=works)
    names.model(own_model, arguments)
    names.data(own_data, data_options)
    if settings["weights"] is not None:
        names.reference(settings["weights"])
    from zoo.quiet import import_keras

    import_keras()
    import zoo

    found = zoo.ablate(model, recipe, data, data_options=data_options, quiet=quiet or as_json, **settings, **arguments)
    if as_json:
        screen.as_json({"folder": str(found.folder), **found.to_json()})
