"""What a recipe recorded, and whether newly measured figures agree with it. Imports neither Keras nor NumPy.

A recipe's `[result]` holds, for each figure of the test part, one number for each seed: `test_accuracy = [0.9261]`.
"""

import math
import statistics
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from zoo.errors import invalid
from zoo.recipes import list_recipes, recipe_row
from zoo.speed import PACKAGES
from zoo.tasks import figure

HIGHER, LOWER = ("accuracy", "exact_match"), ("loss", "mae", "rmse", "perplexity")
ERRORS = 2.0  # standard errors on either side, about 95% of a normal distribution
STAND_IN = 0.02  # relative standard error, over the seeds, of a figure whose spread over examples nobody recorded
CLOSE = 1e-4  # relative difference of losses that the order of additions alone makes on another machine


@dataclass(frozen=True)
class Interval:
    """What a recorded figure allows: the mean of its seeds, their lowest and highest, and bounds with the margin."""

    mean: float
    lowest: float
    highest: float
    lower: float
    upper: float


def counts_answers(name):
    """Says whether a figure is a share of right answers."""
    return name.endswith(HIGHER)


def interval(name, values, examples):
    """Returns the `Interval` in which another training of the same recipe has to come out.

    It holds every recorded value, and the mean give or take two standard errors, sqrt(s^2 + e^2). `s` is the standard
    deviation over the recorded seeds: rounding on another machine lets a training drift away as another seed does, so
    seeds tell how far. `e` is the binomial standard error of an accuracy p on n examples, sqrt(p (1 - p) / n): what n
    examples cannot tell apart is no difference, and a record of one seed, or of three that happen to agree, has
    nothing else. A loss or an absolute error has no such formula without its spread over the examples, which is not
    recorded: e is then 2% of the mean over the number of seeds, a convention and no statistic, which counts where one
    seed is recorded and fades where several say more.

    Args:
        name: of the figure, such as "accuracy".
        values: one for each recorded seed.
        examples: in the test part.

    Raises:
        InvalidArgument: there are no values, or no examples.
    """
    if not values or examples < 1:
        raise invalid("an interval needs recorded values and examples", (values, examples))
    mean = statistics.fmean(values)
    over_seeds = statistics.stdev(values) if len(values) > 1 else 0.0
    share = min(max(mean, 0.0), 1.0)
    error = math.sqrt(share * (1 - share) / examples) if counts_answers(name) else STAND_IN * abs(mean) / len(values)
    margin = ERRORS * math.hypot(over_seeds, error)
    lowest, highest = min(values), max(values)
    return Interval(mean, lowest, highest, min(lowest, mean - margin), max(highest, mean + margin))


def judged(name, value, allowed):
    """Returns "within", "better" or "worse" of a new value; a figure that has no good side is "worse" on either."""
    if allowed.lower <= value <= allowed.upper:
        return "within"
    good = counts_answers(name) and value > allowed.upper
    return "better" if good or (name.endswith(LOWER) and value < allowed.lower) else "worse"


def matches(name, value, recorded, examples):
    """Says whether a figure of the very same weights is the recorded one.

    Of an accuracy the number of right answers has to be the same. Backends and processors add in another order, which
    moves a logit by some 1e-6 of itself: an answer would change only where the best two are as close as that. Other
    figures may differ by 1e-4 of themselves, and by what the recorded digits leave open.

    Args:
        name: of the figure.
        value: as measured now.
        recorded: what the recipe says.
        examples: that were measured.
    """
    if counts_answers(name):
        return round(value * examples) == round(recorded * examples)
    last = Decimal(repr(float(recorded))).as_tuple().exponent  # the power of ten of the last digit
    return abs(value - recorded) <= CLOSE * abs(recorded) + 0.5 * 10.0**last


@dataclass(frozen=True)
class Compared:
    """One figure beside its record.

    Attributes:
        split: "test" or "validation".
        name: such as "accuracy".
        values: as measured now, one for each seed.
        recorded: what the recipe says, one for each recorded seed, or of shipped weights that of theirs.
        examples: that were measured.
        allowed: the `Interval`, or None for shipped weights, which have to match.
        verdict: "within", "better" or "worse"; of shipped weights "the same" or "different".
    """

    split: str
    name: str
    values: tuple
    recorded: tuple
    examples: int
    allowed: Interval | None
    verdict: str

    @property
    def value(self):
        """The mean of the values."""
        return statistics.fmean(self.values)

    def measured_text(self):
        """Returns what was measured as text; of shipped weights with the right answers that were counted."""
        return self._text(self.values, counted=self.allowed is None)

    def recorded_text(self):
        """Returns what was recorded as text: the mean, and the range over seeds."""
        return self._text(self.recorded, counted=self.allowed is None)

    def _text(self, values, counted):
        if counted and counts_answers(self.name):
            return f"{figure(self.name, values[0])} ({round(values[0] * self.examples):,} of {self.examples:,})"
        if counted:
            return f"{values[0]:.6g}"
        low, high = figure(self.name, min(values)), figure(self.name, max(values))
        return figure(self.name, statistics.fmean(values)) + (f" ({low} to {high})" if low != high else "")

    def allowed_text(self):
        """Returns the bounds as text, or in words how near weights that have to match must be."""
        if self.allowed is None:
            return "exactly that" if counts_answers(self.name) else f"within {CLOSE:.2%} of it"
        return f"{figure(self.name, self.allowed.lower)} to {figure(self.name, self.allowed.upper)}"


def trained(result, metrics):
    """Returns a `Compared` for each recorded figure of the test part.

    Args:
        result: the `[result]` of a recipe.
        metrics: what each run measured on the test part, a list of dicts as `zoo.Run.metrics["test"]`.
    """
    found = []
    for name, recorded in figures_of(result, "test").items():
        examples = metrics[0]["examples"]
        values, allowed = tuple(row[name] for row in metrics), interval(name, recorded, examples)
        verdict = judged(name, statistics.fmean(values), allowed)
        found.append(Compared("test", name, values, tuple(recorded), examples, allowed, verdict))
    return tuple(found)


def evaluated(result, place, metrics, split):
    """Returns a `Compared` for each recorded figure of one split, of weights that have to match.

    Args:
        result: the `[result]` of a recipe.
        place: of the weights' seed among the recorded ones.
        metrics: measured now, as `zoo.evaluate` returns them.
        split: "test" or "validation".
    """
    pairs = [(k, metrics[k], v[place], metrics["examples"]) for k, v in figures_of(result, split).items()]
    if split == "test" and place == 0:
        for (name, what), groups in grouped(result).items():
            rows = metrics[f"by_{what}"]
            pairs += [(f"{what} {g} {name}", rows[g][name], v, rows[g]["examples"]) for g, v in groups.items()]
    found = []
    for name, value, recorded, examples in pairs:
        verdict = "the same" if matches(name, value, recorded, examples) else "different"
        found.append(Compared(split, name, (value,), (recorded,), examples, None, verdict))
    return tuple(found)


def grouped(result):
    """Returns what a `[result]` says of groups of the test part, of the first seed: (figure, what) -> group -> value.

    A table `[result.accuracy_by_task]` holds the accuracy of each task.
    """
    tables = {tuple(k.split("_by_")): v for k, v in result.items() if isinstance(v, dict) and "_by_" in k}
    return {key: table for key, table in tables.items() if len(key) == 2}


def figures_of(result, split):
    """Returns the figures that a `[result]` recorded of a split: name -> one value for each seed."""
    return {k.removeprefix(f"{split}_"): v for k, v in result.items() if k.startswith(f"{split}_")}


def not_compared(result):
    """Returns the names of recorded figures that a training does not measure by itself, such as analogies."""
    lists = [k for k, v in result.items() if isinstance(v, list) and not k.endswith("_by_epoch")]  # those are curves
    return [k for k in lists if not k.startswith(("test_", "validation_"))]


def recorded_recipe(text):
    """Returns the `RecipeRow` of a named recipe, or of a `.toml` file, that recorded what it reached.

    Raises:
        UnknownName: no recipe has this name; the message gives the nearest.
        InvalidArgument: it names no model and data, or nothing was recorded.
    """
    row = recipe_row(text)
    known = ", ".join(r.name for r in list_recipes() if figures_of(r.result, "test"))
    if "model" not in row.settings or "data" not in row.settings:
        works = f"Add it to a model and data with `zoo train`. Recipes with a result: {known}."
        raise invalid(f"recipe {row.name!r} names no model and data, so there is no result to reproduce", works=works)
    if not figures_of(row.result, "test"):
        works = f"`zoo train --recipe {row.name}` trains it. Recipes with a result: {known}."
        raise invalid(f"recipe {row.name!r} has no recorded result", works=works)
    return row


def folder_of(name, out=None):
    """Returns the folder of a recipe's reproductions, which holds one run folder per seed."""
    return Path(out if out is not None else Path("runs") / f"reproduce-{name}").expanduser()


def differences(row, versions):
    """Returns what is here otherwise than where a recipe was recorded, sentences.

    Args:
        row: the `RecipeRow`.
        versions: of here, as `zoo.machine.versions` gives them.
    """
    pairs = (part.strip().partition(" ") for part in row.result.get("versions", "").split(",") if part.strip())
    recorded = {name: version for name, _, version in pairs}
    backend = recorded.pop("backend", "tensorflow" if "tensorflow" in recorded else None)
    found = [
        f"{name} {versions.get(name, 'is not installed')}, recorded with {version}"
        for name, version in recorded.items()
        if versions.get(name) != version and (versions["backend"] == backend or name not in PACKAGES)
    ]
    if backend and versions["backend"] != backend:
        found.insert(0, f"backend {versions['backend']}, recorded on {backend}")
    return found
