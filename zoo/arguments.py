"""Checks of named arguments against annotations: one place for builders, tricks and data options."""

import inspect
import math
import types
import typing

from zoo.errors import invalid, unknown


def tupled(value):
    """Returns `value` with lists as tuples, as JSON and TOML cannot write tuples."""
    return tuple(tupled(v) for v in value) if isinstance(value, (list, tuple)) else value


def fits(annotation, value):
    """Says whether a value fits an annotation (int, float, bool, str, tuple, `X | None`); no annotation fits all."""
    if annotation is inspect.Parameter.empty:
        return True
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return any(fits(option, value) for option in typing.get_args(annotation))
    if annotation is type(None):
        return value is None
    if annotation in (int, float) and isinstance(value, bool):
        return False
    if annotation is float:
        return isinstance(value, (int, float)) and math.isfinite(value)
    origin = typing.get_origin(annotation) or annotation
    return isinstance(value, origin) if isinstance(origin, type) else True


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
        if not fits(annotation, value):
            wanted = str(annotation) if typing.get_args(annotation) else annotation.__name__
            raise invalid(f"{owner}: `{argument}` must be {wanted}", value)
        if annotation is float:
            complete[argument] = float(value)
    return complete
