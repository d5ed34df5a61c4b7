"""What rebuilds a model and reads its outputs, as plain data: nothing in it is ever executed."""

import dataclasses
from dataclasses import dataclass

from zoo.errors import invalid


def jsonable(value):
    """Returns `value` with tuples as lists, as JSON would give it back."""
    if isinstance(value, dict):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(v) for v in value]
    return value


def frozen(labels):
    """Returns labels as JSON gives them with class names as tuples, as data sets hold them."""
    if isinstance(labels, dict):
        return {k: frozen(v) if isinstance(v, list) else v for k, v in labels.items()}
    return tuple(labels)


@dataclass(frozen=True)
class Spec:
    """The identity of a model that zoo built.

    Attributes:
        name: variant name, such as "resnet20".
        arguments: every builder argument with its value, as JSON values (tuples as lists).
        task: such as "image_classification".
        labels: the class names in logit order; None when not known yet, or when there are no classes. Of several
            heads, or of numbers: output name -> class names, or {"mean", "std", "unit"} of a number.
        preprocessing: how raw input becomes model input, as `zoo.data` declares it, or None.
        recipe: the canonical recipe it was compiled with, or None.
        parent: reference and hash of the weights it started from, or None.
        heads: output name -> {"kind", "weight"}, see `zoo.tasks`; None for a classifier, whose kind its width tells.
    """

    name: str
    arguments: dict
    task: str
    labels: tuple | dict | None = None
    preprocessing: dict | None = None
    recipe: str | None = None
    parent: dict | None = None
    heads: dict | None = None

    def to_json(self):
        """Returns the spec as a dict that `json.dumps` takes."""
        return jsonable({f.name: getattr(self, f.name) for f in dataclasses.fields(self)})

    @classmethod
    def from_json(cls, rows):
        """Rebuilds a spec; unknown keys are ignored, so newer files still load."""
        known = {f.name for f in dataclasses.fields(cls)}
        kept = {k: v for k, v in rows.items() if k in known}
        if kept.get("labels") is not None:
            kept["labels"] = frozen(kept["labels"])
        return cls(**kept)

    def but(self, **changes):
        """Returns a copy with some fields replaced."""
        return dataclasses.replace(self, **changes)


def attach(model, spec):
    """Records on a `keras.Model` which builder made it. Returns the model."""
    model.zoo_spec = spec
    return model


def spec_of(model, *, default=None):
    """Returns the `Spec` of a model that zoo built.

    Raises:
        InvalidArgument: the model carries none and no `default` is given.
    """
    spec = getattr(model, "zoo_spec", None) or default
    if spec is None:
        raise invalid(
            f"model {getattr(model, 'name', model)!r} does not say which zoo builder made it",
            works="Build it with `zoo.build(name, ...)`, then load its weights into that model.",
        )
    return spec
