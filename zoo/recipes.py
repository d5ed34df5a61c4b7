"""A recipe: "focal(gamma=2)+warmup(epochs=5)" becomes tricks, and tricks make a Plan for one model.

Grammar: `term (+ term)*`; a term is the name of a trick or of a named recipe (`recipes/<name>.toml`), a trick
optionally with literal keyword arguments; `-trick` takes one out of a named recipe. Order never matters: tricks
apply stage by stage (`zoo.registry.STAGES`), then by name, and are written in that order.
"""

import ast
import dataclasses
import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path

from zoo.arguments import checked
from zoo.errors import Conflict, InvalidArgument, UnknownName, invalid, unknown
from zoo.registry import STAGES, data_file, find_model, find_trick, list_tricks, search, trick_names
from zoo.spec import Spec, spec_of
from zoo.speed import checked_speed

PLAIN = "plain"
_LONGEST = 4_000  # characters; a deeper expression than that could exhaust the parser's stack
_SETTINGS = {
    "model": str,
    "arguments": dict,
    "data": str,
    "data_options": dict,
    "start": str,  # the checkpoint that is fine-tuned, a reference or variant.tag
    "epochs": int,
    "batch_size": int,
    "speed": dict,  # of a machine, and no part of the result; see `zoo.speed`
}
_OPTIONS = {"model": "arguments", "data": "data_options"}
_DESCRIBED = {"summary": str, "tricks": str, "seeds": list, "hardware": str, "result": dict}
_KINDS = {str: "a text", dict: "a table", int: "a whole number", list: "a list"}


@dataclass(frozen=True)
class RecipeRow:
    """One named recipe: its tricks, and what it was measured with."""

    name: str
    summary: str
    tricks: str
    task: str | None = None
    settings: dict = dataclasses.field(default_factory=dict)
    result: dict = dataclasses.field(default_factory=dict)
    seeds: tuple = ()
    hardware: str = ""


@dataclass(frozen=True)
class Recipe:
    """Tricks in canonical order, and the settings of the named recipe they came from.

    `str()` is the canonical form; `exact` spells out every argument and is what is stored, so that it still means
    the same when a default changes.
    """

    tricks: tuple = ()
    settings: dict = dataclasses.field(default_factory=dict, compare=False)

    def __str__(self):
        return "+".join(_written(t, every=False) for t in self.tricks) or PLAIN

    def __hash__(self):
        return hash(self.exact)

    @property
    def exact(self):
        """The canonical form with every argument of every trick."""
        return "+".join(_written(t, every=True) for t in self.tricks) or PLAIN

    def builder_arguments(self, builder, variant, arguments):
        """Returns builder arguments as the builder-stage tricks change them.

        Raises:
            InvalidArgument: the model has no argument that such a trick sets.
            Conflict: an argument that the caller gave would be overridden.
        """
        changed = dict(arguments)
        if not self._stage("builder"):
            return changed  # building says by itself what is wrong with them
        known = checked(f"model {variant!r}", builder.function, arguments, builder.variants[variant])
        for t, name, value in self._switched(variant, known):
            if name in changed and changed[name] != value:
                raise Conflict(
                    f"{t.name} sets `{name}={value!r}` of {variant}, but `{name}={changed[name]!r}` was given too. "
                    f"Drop one of them."
                )
            changed[name] = value
        return changed

    def _switched(self, variant, known):
        """Returns (trick, argument, value) of each builder argument that the recipe sets."""
        switched = {}
        for t in self._stage("builder"):
            for name, value in t.builder_arguments(variant, known).items():
                if name in switched:
                    first = switched[name][0].name
                    raise Conflict(
                        f"{first} and {t.name} both set `{name}` of {variant}. "
                        f"Keep one of them: write `-{t.name}` or `-{first}`, or leave one out."
                    )
                switched[name] = (t, name, value)
        return list(switched.values())

    def plan(self, model, *, task=None):
        """Returns the `Plan` of this recipe for one `keras.Model`.

        Args:
            model: a Functional model whose outputs are logits.
            task: needed only for a model that zoo did not build.

        Raises:
            Conflict: two tricks set the same thing; both are named.
            InvalidArgument: a trick finds nothing to act on in this model.
        """
        from zoo.plan import start

        plan, setters = start(model, task).but(tricks=tuple(t.name for t in self.tricks)), {}
        built = spec_of(model, default=Spec(plan.name, {}, plan.task))
        for t, name, value in self._switched(built.name, built.arguments):
            if built.arguments[name] != value:
                works = f"Build it with `zoo.build({built.name!r}, recipe=...)`, or with {name}={value!r}."
                raise invalid(f"{t.name} changes how a model is built, and this one is built already", works=works)
        for t in self.tricks:
            changed = t.apply(plan)
            for field in plan.replaced_in(changed):
                if field in setters:
                    raise Conflict(
                        f"{setters[field]} and {t.name} both set the {field.replace('_', ' ')}. "
                        f"Keep one of them: write `-{t.name}` or `-{setters[field]}`, or leave one out."
                    )
                setters[field] = t.name
            plan = changed.settled()
        return plan.adding("cautions", *self.clashes())

    def clashes(self):
        """Returns a sentence, with reason and source, on each two tricks that compose but are known to clash."""
        pairs = ((a, b.name, getattr(a, "clashes", {}).get(b.name)) for a in self.tricks for b in self.tricks)
        return [f"{a.name} with {other}: {reason}" for a, other, reason in pairs if reason]

    def initialise(self, model):
        """Sets the first values of weights that the recipe's tricks choose, on a model that was built just now."""
        acting = [t for t in self.tricks if hasattr(t, "initialise")]
        plan = self.plan(model) if acting else None
        for t in acting:
            t.initialise(model, plan)

    def compile(self, model, *, task=None, **options):
        """Returns a compiled model that shares the weights of `model`; see `plan` for arguments and errors.

        `options` go to `keras.Model.compile`: `jit_compile`, `run_eagerly`, `steps_per_execution`.
        """
        from zoo.compiled import ZooModel

        return ZooModel.of(model, self, task=task, **options)

    def explain(self, model, *, task=None):
        """Returns, in words and numbers, what each term will do to this model; one line per term."""
        plan = self.plan(model, task=task)
        lines = [f"{_written(t, every=False)}: {t.explain(plan)}" for t in self.tricks]
        cautions = [f"caution: {caution}" for caution in plan.cautions]
        return "\n".join([f"{plan.name}: {plan.describe()}", *lines, *cautions])

    def setting(self, name, given=None, default=None):
        """Returns what was given, else what the named recipe says, else the default.

        Raises:
            Conflict: several named recipes say different things and nothing was given.
        """
        if given is not None:
            return given
        said = self.settings.get(name, {})
        values = list(said.values())
        if any(v != values[0] for v in values[1:]):
            each = ", ".join(f"{k} says {v!r}" for k, v in said.items())
            raise Conflict(f"the recipes disagree on `{name}`: {each}. Give `{name}` yourself.")
        return values[0] if values else default

    def filled(self, name, given, options):
        """Returns what was given and its options; else the named recipe's, under those options.

        Args:
            name: "model", whose options are "arguments", or "data", whose options are "data_options".
            given: what was given, or None.
            options: dict of the options that were given.

        Raises:
            As `setting`.
            InvalidArgument: the model is asked for, and the recipe fine-tunes one that is trained.
        """
        if given is not None:
            return given, options
        start = self.setting("start") if name == "model" else None
        if start is not None:
            works = "Write `zoo finetune --recipe NAME`."
            raise invalid("this recipe fine-tunes a pretrained model", start, works)
        return self.setting(name), {**self.setting(_OPTIONS[name], default={}), **options}

    def _stage(self, *stages):
        return [t for t in self.tricks if t.stage in stages]


def check_given(who, works, found):
    """Refuses what neither the caller nor a recipe said.

    Args:
        who: needs it, such as "`zoo train`".
        works: what would work.
        found: what it is, such as "a model" -> its value.

    Raises:
        InvalidArgument: a value is None; the message names each.
    """
    missing = [name for name, value in found.items() if value is None]
    if missing:
        raise invalid(f"{who} needs {' and '.join(missing)}", works=works)


def _written(t, *, every):
    fields = [(f.name, getattr(t, f.name), f.default) for f in dataclasses.fields(t)]
    shown = [f"{name}={value!r}" for name, value, default in sorted(fields) if every or value != default]
    return f"{t.name}({', '.join(shown)})" if shown else t.name


# Parsing


def recipe(text):
    """Returns the `Recipe` that an expression describes; a `Recipe` is returned as it is.

    Args:
        text: such as "focal(gamma=2)+warmup(epochs=5)+radam", "plain", "vit_digits-warmup", or the path of a
            `.toml` file.

    Raises:
        UnknownName: a trick, recipe or argument is not known; the message gives the nearest.
        InvalidArgument: the expression cannot be read, or a value is out of range.
        Conflict: a trick is given twice with different arguments.
    """
    if isinstance(text, Recipe):
        return text
    text = str(text) if isinstance(text, Path) else text
    if not isinstance(text, str) or not text.strip():
        raise invalid("a recipe must be a text such as 'focal(gamma=2)+warmup'", text)
    if text.endswith(".toml"):
        row = _read(Path(text).expanduser())
        made = _assemble(row.tricks, (text,))
        return dataclasses.replace(made, settings=_over(made.settings, row))
    return _assemble(text, ())


def _over(settings, row):
    """Returns settings of the recipes that a recipe stands on, replaced where it says its own."""
    return {**settings, **{key: {row.name: value} for key, value in row.settings.items()}}


def outline(text):
    """Reads an expression and checks its names, importing neither a trick nor Keras.

    Args:
        text: as for `recipe`.

    Returns:
        `(terms, settings)`: (sign, name, arguments) of each term as written, and `Recipe.settings`.

    Raises:
        UnknownName: a trick, recipe or argument is not known; the message gives the nearest.
        InvalidArgument: the expression cannot be read.
    """
    if text.endswith(".toml"):
        row = _read(Path(text).expanduser())
        terms, settings = _outline(row.tricks, (text,))
        return terms, _over(settings, row)
    return _outline(text, ())


def _outline(text, within):
    """Returns what `outline` does, of an expression; `within` names the recipes that it stands in."""
    settings, tricks = {}, {row.name: row for row in list_tricks()}
    terms = [term for term in terms_of(text) if term[1] != PLAIN]
    for _, name, arguments in terms:
        if name in tricks:
            for argument in arguments:
                if argument not in tricks[name].arguments:
                    raise unknown(f"argument of trick {name!r}", argument, tricks[name].arguments)
        else:
            row = _inner(name, within)
            for key, said in _over(_outline(row.tricks, (*within, name))[1], row).items():
                settings.setdefault(key, {}).update(said)
    return terms, settings


def _inner(name, within):
    """Returns the row of a recipe that stands in others, which may not come round to itself."""
    if name in within:
        raise invalid(f"recipe {within[0]!r} contains itself", " -> ".join((*within, name)))
    return find_recipe(name)


def _assemble(text, within):
    """Returns the `Recipe` of an expression; `within` names the recipes that it stands in."""
    terms, tricks = terms_of(text), trick_names()
    explicit, removed = {}, {name for sign, name, _ in terms if sign < 0}
    for sign, name, arguments in terms:
        if sign < 0 and arguments:
            raise invalid(f"`-{name}` removes a trick and takes no arguments", arguments)
        if sign > 0 and name in tricks:
            _keep(explicit, make_trick(name, arguments))
    bundled, settings = {}, {}
    for sign, name, arguments in terms:
        if sign < 0 or name in tricks:
            continue
        row = _inner(name, within)
        if arguments:
            raise invalid(f"{name!r} is a named recipe and takes no arguments", arguments, "Add its tricks instead.")
        if name == PLAIN:
            continue
        inner = _assemble(row.tricks, (*within, name))
        for made in inner.tricks:
            if made.name not in explicit:  # what is written outright overrides what a named recipe brings
                _keep(bundled, made)
        for key, said in _over(inner.settings, row).items():
            settings.setdefault(key, {}).update(said)
    for name in sorted(removed):
        if name in explicit:
            raise Conflict(f"{name} is both added and removed. Write it once.")
        if name not in bundled:
            raise unknown("trick to remove", name, bundled, works="`-trick` takes one out of a named recipe.")
    kept = [t for name, t in {**bundled, **explicit}.items() if name not in removed]
    return Recipe(tuple(sorted(kept, key=lambda t: (STAGES.index(t.stage), t.name))), settings)


def _keep(kept, made):
    other = kept.setdefault(made.name, made)
    if other != made:
        both = f"{_written(other, every=False)} and {_written(made, every=False)}"
        raise Conflict(f"{made.name} is given twice with different arguments: {both}. Keep one of them.")


def terms_of(text, kind="recipe", works="Write terms joined by +, as in 'focal(gamma=2)+warmup'."):
    """Returns (sign, name, arguments) of each term, read with Python's own grammar and never evaluated.

    Args:
        text: such as "focal(gamma=2)+warmup".
        kind, works: what the text is and what one looks like, for messages.

    Raises:
        InvalidArgument: it cannot be read.
    """
    if len(text) > _LONGEST:
        raise invalid(f"a {kind} has at most {_LONGEST} characters", len(text))
    text = text.strip()
    try:
        tree = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        where = f" at column {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
        raise invalid(f"cannot read the {kind}{where}", text, works) from error
    return list(_walk(tree, 1, text))


def _walk(node, sign, text):
    # An explicit stack, because a long sum nests as deep as it has terms.
    stack = [(node, sign)]
    while stack:
        node, sign = stack.pop()
        match node:
            case ast.BinOp(left, ast.Add() | ast.Sub() as operator, right):
                stack += [(right, sign if isinstance(operator, ast.Add) else -sign), (left, sign)]
            case ast.UnaryOp(ast.USub(), operand):
                stack.append((operand, -sign))
            case ast.UnaryOp(ast.UAdd(), operand):
                stack.append((operand, sign))
            case ast.Name(name):
                yield sign, name, {}
            case ast.Call(ast.Name(name), positional, keywords):
                if positional:
                    shown = ast.get_source_segment(text, positional[0])
                    raise invalid(f"{name}: arguments must be named, as in {name}(key=value)", shown)
                arguments = {}
                for keyword in keywords:
                    key, value = _literal(name, keyword, text)
                    if key in arguments:
                        raise invalid(f"{name}: `{key}` is given twice", (arguments[key], value))
                    arguments[key] = value
                yield sign, name, arguments
            case _:
                raise invalid(
                    "cannot read a part of the recipe",
                    ast.get_source_segment(text, node),
                    "A term is a name, or a name with key=value arguments in parentheses.",
                )


def _literal(name, keyword, text):
    if keyword.arg is None:
        raise invalid(f"{name}: `**` is not allowed in a recipe", works="Write key=value.")
    try:
        return keyword.arg, ast.literal_eval(keyword.value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        works = "Write a number, a string in quotes, True, False, None, or a list of those."
        shown = ast.get_source_segment(text, keyword.value)
        raise invalid(f"{name}: the value of `{keyword.arg}` must be a literal", shown, works) from error


def make_trick(name, arguments):
    """Returns the trick of this name with checked arguments.

    Raises:
        UnknownName: the trick or an argument is not known; the message gives the nearest.
        InvalidArgument: a value has the wrong type or is out of range.
    """
    cls = find_trick(name)
    return cls(**checked(f"trick {name!r}", cls, arguments))


# Named recipes


def _read(path):
    name = path.stem
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise invalid(f"recipe file {path} cannot be read ({error})") from error
    allowed = _SETTINGS | _DESCRIBED
    for key, value in found.items():
        if key not in allowed:
            raise unknown(f"key in recipe file {path.name}", key, allowed)
        if not isinstance(value, allowed[key]) or isinstance(value, bool):
            raise invalid(f"recipe file {path.name}: `{key}` must be {_KINDS[allowed[key]]}", value)
    if "speed" in found:
        checked_speed(found["speed"], f"recipe file {path.name}")
    settings = {k: found[k] for k in _SETTINGS if k in found}
    task = None
    if "model" in settings:
        try:
            task = find_model(settings["model"]).task
        except UnknownName as error:
            raise InvalidArgument(f"recipe file {path.name}: {error}") from error
    return RecipeRow(
        name=name,
        summary=found.get("summary", ""),
        tricks=found.get("tricks", PLAIN),
        task=task,
        settings=settings,
        result=found.get("result", {}),
        seeds=tuple(found.get("seeds", ())),
        hardware=found.get("hardware", ""),
    )


@functools.lru_cache(maxsize=1)
def _named():
    found = {path.stem: _read(path) for path in sorted(data_file("recipes").glob("*.toml"))}
    for name in found.keys() & {*trick_names(), PLAIN}:
        raise Conflict(f"recipes/{name}.toml has the name of a trick. Rename the file.")
    return found


def list_recipes(pattern="*", *, task=None):
    """Returns the `RecipeRow` of every named recipe that matches a glob pattern."""
    return search(_named().values(), pattern, task=task)


def recipe_row(text):
    """Returns the `RecipeRow` of one named recipe, or of a `.toml` file.

    Raises:
        UnknownName: no recipe has this name; the message gives the nearest.
        InvalidArgument: the file cannot be read.
    """
    if str(text).endswith(".toml"):
        return _read(Path(text).expanduser())
    if text not in _named():
        raise unknown("recipe", text, _named(), see="zoo.list_recipes()")
    return _named()[text]


def find_recipe(name):
    """Returns the `RecipeRow` of a named recipe.

    Raises:
        UnknownName: no trick or recipe has this name; the message gives the nearest.
    """
    if name == PLAIN:
        return RecipeRow(PLAIN, "The task's standard loss, Adam at 0.001", PLAIN)
    if name not in _named():
        raise unknown("trick or recipe", name, {*trick_names(), *_named(), PLAIN}, see="zoo.list_tricks()")
    return _named()[name]
