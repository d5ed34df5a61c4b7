"""Checks of names on the command line that import neither Keras nor NumPy, so that a misspelling answers at once.

They refuse only what the API refuses too, in its words; values are the API's to judge.
"""

import ast
import re

from zoo.errors import Conflict, invalid, unknown


def settings(option, words):
    """Returns the dict of repeated `name=value` words.

    A value is a Python literal (8, 0.1, True, None, "(8, 8, 1)"), anything else is text; it is never evaluated.

    Raises:
        InvalidArgument: a word has no name and "=".
        Conflict: a name is given twice.
    """
    found = {}
    for word in words or ():
        name, equals, value = word.partition("=")
        if not equals or not name.strip().isidentifier():
            raise invalid(f"{option} takes name=value", word, f"For example {option} drop_rate=0.1.")
        if name.strip() in found:
            raise Conflict(f"{option} {name.strip()} is given twice. Give it once.")
        found[name.strip()] = _literal(value)
    return found


def data_settings(words, skip_bad):
    """Returns the dict of repeated `--data-option`s, with what `--skip-bad` stands for; raises as `settings`."""
    return settings("--data-option", words) | ({"skip_bad": True} if skip_bad else {})


def _literal(text):
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text


def model(name, arguments):
    """Returns the `ModelRow` of a model to be built with these arguments.

    Raises:
        UnknownName: the model or an argument is not known; the message gives the nearest.
    """
    from zoo.registry import find_model

    row = find_model(name)
    for argument in arguments:
        if argument not in row.arguments:
            raise unknown(f"argument of model {row.name!r}", argument, row.arguments)
    return row


def data(source, options):
    """Checks the name of a data set and its options; what is written as a path is left to `zoo.data.load`.

    Raises:
        UnknownName: the data set or an option is not known; the message gives the nearest.
        InvalidArgument: an option has the wrong type.
    """
    if re.fullmatch(r"\w+", source):
        from zoo.arguments import checked
        from zoo.data.catalog import OF_ALL, find

        checked(f"data set {source!r}", find(source), {k: v for k, v in options.items() if k not in OF_ALL})


def recipe(text):
    """Returns `(terms, settings)` of a recipe, see `zoo.recipes.outline`; None is the plain one.

    Raises:
        As `zoo.recipe` about names.
    """
    from zoo.recipes import PLAIN, outline

    return outline(text if text is not None else PLAIN)


def reference(ref):
    """Checks that a reference, run folder or name of weights leads to a whole checkpoint, before Keras is imported.

    Returns:
        Its `Checkpoint`; None for a `.keras` file, which only Keras can read.

    Raises:
        As `zoo.load`.
    """
    from zoo.hub import resolve_weights
    from zoo.hub.refs import is_keras_file

    return None if is_keras_file(ref) else resolve_weights(None, ref)
