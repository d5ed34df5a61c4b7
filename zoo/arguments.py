"""Checks of named arguments against annotations: one place for builders, tricks and data options."""

import inspect
import sys
import types
import typing

from zoo.errors import invalid, unknown


def tupled(value):
    """Returns `value` with lists as tuples, as JSON and TOML cannot write tuples."""
    return tuple(tupled(v) for v in value) if isinstance(value, (list, tuple)) else value


def _options(annotation):
    """Returns what an annotation admits, one type each: (float, None) for `float | None`."""
    union = isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union
    return typing.get_args(annotation) if union else (annotation,)


def fits(annotation, value):
    """Says whether a value fits an annotation (int, float, bool, str, tuple, `X | None`); no annotation fits all."""
    return any(_fits_one(option, value) for option in _options(annotation))


def _fits_one(option, value):
    if option is type(None):
        return value is None
    if option in (int, float) and isinstance(value, bool):
        return False
    if option is float:
        return isinstance(value, (int, float)) and abs(value) <= sys.float_info.max  # neither NaN nor infinite
    kind = typing.get_origin(option) or option
    return kind is inspect.Parameter.empty or not isinstance(kind, type) or isinstance(value, kind)


def _worded(option):
    if option is type(None):
        return "None"
    return "a finite number" if option is float else getattr(option, "__name__", str(option))


def checked(owner, callable_or_class, given, defaults=None):
    """Returns every argument of a callable with its value, defaults filled in and types checked.

    Args:
        owner: who takes the arguments, for messages: "model 'vit_tiny'".
        callable_or_class: a function or class whose arguments are all named.
        given: dict of the arguments that were given.
        defaults: dict that overrides the signature's defaults.

    Raises:
        UnknownName: an argument does not exist; the message gives the nearest.
        InvalidArgument: a value does not fit its annotation, or one without a default is missing.
    """
    parameters = inspect.signature(callable_or_class).parameters
    for argument in given:
        if argument not in parameters:
            raise unknown(f"argument of {owner}", argument, parameters)
    function = callable_or_class.__init__ if inspect.isclass(callable_or_class) else callable_or_class
    hints = typing.get_type_hints(function)
    complete = {p.name: p.default for p in parameters.values()} | (defaults or {})
    complete |= {k: tupled(v) for k, v in given.items()}
    for argument, value in complete.items():
        if value is inspect.Parameter.empty:
            raise invalid(f"{owner} needs `{argument}`", works=f"Write {argument}=...")
        annotation = hints.get(argument, inspect.Parameter.empty)
        options = _options(annotation)
        if not fits(annotation, value):
            raise invalid(f"{owner}: `{argument}` must be {' or '.join(map(_worded, options))}", value)
        if type(value) is int and float in options and int not in options:
            complete[argument] = float(value)  # one way to write a number, so that equal recipes read the same
    return complete
