"""A name and arguments become a model; with weights it is filled, with a recipe it is compiled."""

import inspect
import types
import typing

from zoo.errors import invalid, unknown
from zoo.registry import builder_of, find_model
from zoo.spec import Spec, attach, jsonable


def _accepts(annotation, value):
    """Says whether a value fits a builder argument's annotation (int, float, bool, str, tuple, X | None)."""
    if annotation is inspect.Parameter.empty:
        return True
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        return any(_accepts(option, value) for option in typing.get_args(annotation))
    if annotation is type(None):
        return value is None
    if annotation in (int, float) and isinstance(value, bool):
        return False
    if annotation is float:
        return isinstance(value, (int, float))
    origin = typing.get_origin(annotation) or annotation
    if origin is tuple:
        return isinstance(value, tuple)
    return isinstance(value, origin) if isinstance(origin, type) else True


def _tupled(value):
    return tuple(_tupled(v) for v in value) if isinstance(value, (list, tuple)) else value


def resolve(name, arguments):
    """Returns `(Builder, variant, arguments)` with every argument filled in and checked.

    Raises:
        UnknownName: the model, or an argument, is not known; the message gives the nearest.
        InvalidArgument: a value has the wrong type.
    """
    builder, variant = builder_of(name)
    parameters = inspect.signature(builder.function).parameters
    for argument in arguments:
        if argument not in parameters:
            raise unknown(f"argument of model {variant!r}", argument, parameters)
    complete = {p.name: p.default for p in parameters.values()} | builder.variants[variant]
    complete |= {k: _tupled(v) for k, v in arguments.items()}
    hints = typing.get_type_hints(builder.function)
    for argument, value in complete.items():
        annotation = hints.get(argument, inspect.Parameter.empty)
        if not _accepts(annotation, value):
            wanted = getattr(annotation, "__name__", str(annotation)) if not typing.get_args(annotation) else str(annotation)
            raise invalid(f"model {variant!r}: `{argument}` must be {wanted}", value)
    return builder, variant, complete


def build_plain(name, arguments):
    """Returns the uncompiled `keras.Model` of a name and its arguments, its `Spec` attached."""
    builder, variant, complete = resolve(name, arguments)
    model = builder.function(**complete)
    return attach(model, Spec(name=variant, arguments=jsonable(complete), task=builder.task))
