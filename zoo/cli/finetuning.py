"""What `zoo finetune` reads and prints. Nothing here imports Keras until the names are known to be right."""

import re

from zoo.cli import names, screen
from zoo.errors import invalid


def image_size(text):
    """Returns the pixels that `--image-size` means, "96" or "96x128" (height x width), or None.

    Raises:
        InvalidArgument: it is neither.
    """
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", text)
    if not found:
        raise invalid("--image-size takes pixels", text, "Write --image-size 96, or 96x128 for height x width.")
    return int(found[1]) if found[2] is None else (int(found[1]), int(found[2]))


def _completed(ref, data, data_options, said):
    """Returns reference, data and its options, filled in from the settings of the named recipes where not given."""
    from zoo.recipes import Recipe, check_given

    recipes = Recipe((), said)
    ref = recipes.setting("start", ref)
    data, data_options = recipes.filled("data", data, data_options)
    works = "Write `zoo finetune REF DATA`, or `zoo finetune --recipe NAME` with a recipe that has both."
    check_given("`zoo finetune`", works, {"a pretrained model": ref, "data": data})
    return ref, data, data_options


def finetune(start, ref, data, *, recipe, size, data_options, dry_run, quiet, **options):
    """Checks the names, fine-tunes, and prints what a dry run would do.

    Args:
        start: function that imports zoo with Keras and returns it.
        size: the text of `--image-size`, or None.
        ref, data, recipe, data_options, dry_run, quiet, **options: of `zoo.finetune`; where ref or data is None, the
            recipe's.
    """
    pixels = image_size(size)
    _, said = names.recipe(recipe)
    ref, data, data_options = _completed(ref, data, data_options, said)
    names.data(data, data_options)
    names.reference(ref)
    named = {"recipe": recipe, "image_size": pixels, "data_options": data_options, "dry_run": dry_run, "quiet": quiet}
    done = start().finetune(ref, data, **named, **options)
    if dry_run:
        screen.line(done)
