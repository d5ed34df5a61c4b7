"""Names: register a model or a trick, look one up, search, suggest. Imports no Keras.

`registry.json` is the index: its `models` and `tricks` are generated from the files under `zoo/models` and
`zoo/tricks` (`python -m zoo.indexing`), its `weights` from `zoo/weights.toml` (see `zoo.catalogue`). It lets a name be
listed, described or refused without importing the file that implements it. What the running program registers itself
(`@zoo.register`, `@zoo.trick`) stands beside the index.
"""

import dataclasses
import fnmatch
import functools
import importlib
import inspect
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from zoo.errors import Conflict, invalid, unknown
from zoo.spec import jsonable
from zoo.tasks import checked_heads

FORMAT = 1
LICENSE = "Apache-2.0"  # of the builders; a checkpoint states its own
STAGES = ("builder", "data", "targets", "loss", "objective", "optimizer", "schedule", "callbacks", "after")
LAID_OUT = ("schedule", "callbacks", "after")  # stages laid out for a whole training, not for its first steps
_PACKAGE = Path(__file__).parent
_PAPER = re.compile(r"^Paper: (?P<authors>.+?), (?P<year>\d{4}), (?P<url>\S+?)(?:, (?P<where>.+?))?\.?$", re.MULTILINE)


@dataclass(frozen=True)
class Paper:
    """Where something was published. `where` is the section or table used."""

    authors: str
    year: int
    url: str
    where: str | None = None

    def __str__(self):
        return f"{self.authors}, {self.year}, {self.url}" + (f", {self.where}" if self.where else "")


@dataclass(frozen=True)
class ModelRow:
    """One variant of a model family.

    Attributes:
        parameters: trainable and fixed weights at the default arguments, or None where nobody counted.
        flops: of one forward pass of one example at `input_shape`; a multiply-add is two (see `zoo.flops`).
        activations: numbers that the outputs of its layers hold for one example, see `zoo.blocks.Block.values`.
        blocks: what it is made of, as rows of `zoo.blocks.rows_of`; None where nobody counted.
        input_shape: of one example, without the batch axis; of several inputs a dict, input name -> shape.
        arguments: every argument `zoo.build` takes for this variant, with its default.
    """

    name: str
    family: str
    task: str
    paper: Paper | None
    summary: str
    arguments: dict
    input_shape: tuple | dict | None = None
    parameters: int | None = None
    flops: int | None = None
    activations: int | None = None
    blocks: list | None = None
    license: str = LICENSE
    default: bool = False

    @property
    def year(self):
        return self.paper.year if self.paper else None


@dataclass(frozen=True)
class TrickRow:
    """One trick: its stage, its arguments with their defaults, its paper, and what it composes badly with, and why."""

    name: str
    stage: str
    summary: str
    paper: Paper | None
    arguments: dict
    clashes: dict = field(default_factory=dict)


@dataclass(frozen=True)
class WeightsRow:
    """One published checkpoint.

    Attributes:
        name: variant.tag, such as "resnet50.a1_in1k".
        model: variant that `zoo.build` builds.
        ref: where it is, a reference without a revision.
        revision: commit that pins its bytes, 40 hexadecimal digits; None where it is not pinned yet.
        arguments: of the builder, those that its weights depend on; a pulled checkpoint has to have them.
        sha256: of the weight file there; of a foreign one, before its conversion.
        format: "zoo", or the foreign format that it is converted from, see `zoo.hub.convert`.
        metrics: figures that were published, name -> number; accuracies from 0 to 1.
        dataset: what they were measured on.
        source: where they were published.
        parameters: trainable and fixed weights.
    """

    name: str
    model: str
    task: str
    ref: str
    revision: str | None = None
    arguments: dict = field(default_factory=dict)
    sha256: str | None = None
    format: str = "zoo"
    metrics: dict = field(default_factory=dict)
    dataset: str | None = None
    source: str | None = None
    license: str | None = None
    summary: str = ""
    parameters: int | None = None

    @property
    def pinned(self):
        """Whether its bytes are known."""
        return self.revision is not None

    @property
    def reference(self):
        """What to pull: the pinned reference, or the newest revision where there is no pin yet."""
        return f"{self.ref}@{self.revision}" if self.pinned else self.ref


@dataclass(frozen=True)
class Builder:
    """A registered model family: the function and the arguments of each variant."""

    family: str
    function: object
    variants: dict
    task: str
    license: str
    module: str
    heads: object = None
    adapted: object = None
    fitted: object = None

    def heads_for(self, arguments):
        """Returns the declared heads of a model built with these arguments: a dict, or None."""
        return checked_heads(self.heads(arguments)) if callable(self.heads) else self.heads


_builders: dict[str, Builder] = {}  # by family
_variants: dict[str, str] = {}  # variant or family -> family
_tricks: dict[str, type] = {}


def parse_paper(docstring):
    """Returns the `Paper` that a module docstring's `Paper:` line names, or None."""
    found = _PAPER.search(inspect.cleandoc(docstring or ""))
    return Paper(**{**found.groupdict(), "year": int(found["year"])}) if found else None


def _summary(docstring):
    return inspect.cleandoc(docstring or "").partition("\n")[0].rstrip(".")


# Registering


def register(family, *, task, variants, license=LICENSE, heads=None, adapted=None, fitted=None):
    """Registers the decorated function as the builder of a model family.

    The function takes named keyword-only arguments, each with a default here or in every variant, and returns an
    uncompiled `keras.Model` whose outputs are logits (or plain values for a regression).

    Args:
        family: family name, lowercase snake case; alone it builds the first variant.
        task: such as "image_classification".
        variants: dict, variant name -> arguments that it fixes as its defaults. Names are global and unique.
        license: licence of the builder's code.
        heads: output name -> {"kind", "weight"}, see `zoo.tasks`; None for a classifier with one output; a function
            of the builder's arguments, by name, where they decide which of these it is.
        adapted: function of two dicts, the arguments of a checkpoint and those of a model that is to load it, that
            returns a dict, path of a weight -> function that makes the model's array of the checkpoint's, such as
            position embeddings of another image size; None where no weight has another shape then.
        fitted: function of a dict, every argument of a model that is to be trained on data which decided some of them,
            that returns those that have to follow where nobody gave them, such as a patch size that divides the images.

    Raises:
        Conflict: the family or a variant name is taken.
        InvalidArgument: the function takes `*args`, `**kwargs` or positional arguments, or a variant sets an
            argument that the function does not have.
    """
    if not callable(heads):
        heads = checked_heads(heads)

    def decorate(function):
        parameters = inspect.signature(function).parameters
        loose = [p.name for p in parameters.values() if p.kind is not p.KEYWORD_ONLY]
        if loose:
            raise invalid(f"builder {family!r} must take keyword-only named arguments", received=loose)
        for variant, fixed in variants.items():
            for argument in fixed:
                if argument not in parameters:
                    raise unknown(f"argument of builder {family!r} (in variant {variant!r})", argument, parameters)
        for name in {family, *variants}:
            owner = _builders.get(_variants.get(name))
            if owner is not None and owner.module != function.__module__:
                raise Conflict(f"a model named {name!r} is already registered, by {owner.module}.")
        _builders[family] = Builder(
            family, function, dict(variants), task, license, function.__module__, heads, adapted, fitted
        )
        _variants.update(dict.fromkeys((family, *variants), family))
        return function

    return decorate


def trick(name, *, stage):
    """Registers the decorated frozen dataclass as a trick.

    Its fields are the trick's arguments, each with a default; `apply(plan)` returns a changed copy of the plan and
    `explain(plan)` says in words and numbers what it does there. Its module's docstring is its card.

    Raises:
        Conflict: the name is taken.
        InvalidArgument: the stage is unknown, or the class is not a frozen dataclass with `apply` and `explain`.
    """
    if stage not in STAGES:
        raise unknown("stage", stage, STAGES)

    def decorate(cls):
        frozen = dataclasses.is_dataclass(cls) and cls.__dataclass_params__.frozen
        if not frozen or not (hasattr(cls, "apply") and hasattr(cls, "explain")):
            raise invalid(f"trick {name!r} must be a frozen dataclass with `apply` and `explain`", received=cls)
        taken = _tricks.get(name)
        if taken is not None and taken.__module__ != cls.__module__:
            raise Conflict(f"a trick named {name!r} is already registered, by {taken.__module__}.")
        cls.name, cls.stage = name, stage
        _tricks[name] = cls
        return cls

    return decorate


def input_shape_of(model):
    """Returns the shape of one example of a model's input, or by name those of several inputs."""
    shapes = {x.name: tuple(x.shape[1:]) for x in model.inputs}
    return shapes if isinstance(model.input, dict) else next(iter(shapes.values()))


# The index


def data_file(name):
    """Returns the path of `registry.json` or `recipes`: in a checkout where they stand, in a wheel inside zoo."""
    root = _PACKAGE.parent
    in_checkout = (root / "pyproject.toml").is_file() and (root / name).exists()
    return root / name if in_checkout else _PACKAGE / "_data" / name


@functools.lru_cache(maxsize=1)
def index():
    """Returns the parsed `registry.json`."""
    path = data_file("registry.json")
    try:
        found = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {"format": FORMAT, "models": {}, "tricks": {}, "weights": {}}
    except ValueError as error:
        raise invalid(f"{path} is not valid JSON ({error})", works="Restore the file from the release.") from error
    if found.get("format") != FORMAT:
        raise invalid(f"{path} has a format this zoo cannot read", found.get("format"), f"This zoo reads {FORMAT}.")
    return found


def _import_unindexed(package, indexed):
    """Imports the modules under a package that the index does not know, so that a new file works at once."""
    known = {entry["module"] for entry in indexed.values()}
    for path in sorted((_PACKAGE / package).glob("*.py")):
        if path.stem not in known and path.stem != "__init__":
            importlib.import_module(f"zoo.{package}.{path.stem}")


def _paper(entry):
    return Paper(**entry["paper"]) if entry.get("paper") else None


def _indexed_row(name, entry):
    shape = entry.get("input_shape")
    rest = {k: v for k, v in entry.items() if k not in ("module", "paper", "input_shape")}
    if isinstance(shape, dict):
        shape = {part: tuple(sizes) for part, sizes in shape.items()}
    elif shape is not None:
        shape = tuple(shape)
    return ModelRow(name=name, paper=_paper(entry), input_shape=shape, **rest)


def _defaults(function, fixed):
    """Returns every argument of a builder with its default in one variant."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: fixed.get(p.name, p.default) for p in parameters}


def builders():
    """Returns every registered `Builder`; those of files that nothing has imported yet are not among them."""
    return list(_builders.values())


def tricks():
    """Returns the class of every registered trick; those of files that nothing has imported yet are not among them."""
    return list(_tricks.values())


def model_row(builder, name):
    """Returns the `ModelRow` of a registered variant, without what only building it can tell."""
    documentation = inspect.getdoc(inspect.getmodule(builder.function)) or ""
    return ModelRow(
        name=name,
        family=builder.family,
        task=builder.task,
        paper=parse_paper(documentation),
        summary=_summary(documentation),
        arguments=jsonable(_defaults(builder.function, builder.variants[name])),
        license=builder.license,
        default=name == next(iter(builder.variants)),
    )


def _models():
    """Returns every known variant's row by name: the index, new files, and what the program registered."""
    indexed = index()["models"]
    _import_unindexed("models", indexed)
    rows = {name: _indexed_row(name, entry) for name, entry in indexed.items()}
    for builder in _builders.values():
        for name in builder.variants:
            rows.setdefault(name, model_row(builder, name))
    return rows


def find_model(name):
    """Returns the `ModelRow` of a variant; a family's name gives its first variant.

    Raises:
        UnknownName: with the nearest name.
    """
    rows = _models()
    if name in rows:
        return rows[name]
    for row in rows.values():
        if row.family == name and row.default:
            return row
    known = {*rows, *(r.family for r in rows.values())}
    raise unknown("model", name, known, see=see("list_models", name, known))


def builder_of(name):
    """Returns `(Builder, variant name)`, importing the file that implements it (and with it Keras)."""
    row = find_model(name)
    if row.family not in _builders:
        importlib.import_module(f"zoo.models.{index()['models'][row.name]['module']}")
    return _builders[row.family], row.name


def find_trick(name):
    """Returns the class of a trick, importing its file.

    Raises:
        UnknownName: with the nearest name.
    """
    if name not in _tricks:
        indexed = index()["tricks"]
        if name in indexed:
            importlib.import_module(f"zoo.tricks.{indexed[name]['module']}")
        else:
            _import_unindexed("tricks", indexed)
    if name not in _tricks:
        raise unknown("trick", name, trick_names(), see="zoo.list_tricks()")
    return _tricks[name]


def trick_names():
    """Returns the names of every trick, without importing any that the index knows."""
    _import_unindexed("tricks", index()["tricks"])
    return {*index()["tricks"], *_tricks}


# Searching


def see(call, name, known):
    """Returns the call that lists the known names which begin as `name` does, as far as any does."""
    starts = (str(name)[:n] for n in range(len(str(name)), 0, -1))
    stem = next((s for s in starts if any(k.startswith(s) for k in known)), "")
    return f'zoo.{call}("{stem}*")' if stem else f"zoo.{call}()"


def search(rows, pattern, *, task=None):
    """Returns the rows whose name matches a glob pattern and whose task is `task`.

    Raises:
        UnknownName: no row has that task at all.
    """
    rows = list(rows)
    if not isinstance(pattern, str):
        raise invalid("the pattern must be a string such as 'resnet*'", pattern)
    if task is not None:
        tasks = {r.task for r in rows}
        if tasks and task not in tasks:
            raise unknown("task", task, tasks)
        rows = [r for r in rows if r.task == task]
    return [r for r in rows if fnmatch.fnmatchcase(r.name, pattern)]


def list_models(pattern="*", *, task=None):
    """Returns the `ModelRow` of every variant that matches a glob pattern, such as "resnet*"."""
    return search(_models().values(), pattern, task=task)


def list_tricks(pattern="*", *, stage=None):
    """Returns the `TrickRow` of every trick that matches a glob pattern, in stage order."""
    if stage is not None and stage not in STAGES:
        raise unknown("stage", stage, STAGES)
    indexed = index()["tricks"]
    _import_unindexed("tricks", indexed)
    rows = {}
    for name, entry in indexed.items():
        rest = {k: v for k, v in entry.items() if k not in ("module", "paper")}
        rows[name] = TrickRow(name=name, paper=_paper(entry), **rest)
    for name, cls in _tricks.items():
        rows.setdefault(name, trick_row(cls))
    found = [r for r in search(rows.values(), pattern) if stage in (None, r.stage)]
    return sorted(found, key=lambda r: (STAGES.index(r.stage), r.name))


def trick_row(cls):
    """Returns the `TrickRow` of a registered trick."""
    documentation = inspect.getdoc(inspect.getmodule(cls)) or ""
    arguments = {f.name: jsonable(f.default) for f in dataclasses.fields(cls)}
    clashes = dict(getattr(cls, "clashes", {}))
    return TrickRow(cls.name, cls.stage, _summary(documentation), parse_paper(documentation), arguments, clashes)


def info(name):
    """Returns the row of a model, trick, recipe or weights, by its name; `zoo.info("vit").paper`, for example.

    Raises:
        UnknownName: nothing has this name; the message gives the nearest.
    """
    from zoo.recipes import list_recipes

    rows = {r.name: r for r in (*list_recipes(), *list_tricks(), *list_models())}
    families = {r.family: r for r in rows.values() if isinstance(r, ModelRow) and r.default}
    if name in rows:
        return rows[name]
    if name in families:
        return families[name]
    from zoo.catalogue import catalogue, find_weights, near

    every = catalogue().entries
    if name in every:
        return find_weights(name)
    known = {*rows, *families, *near(name, every)}
    raise unknown("model, trick, recipe or weights", name, known, see="zoo.list_models()")
