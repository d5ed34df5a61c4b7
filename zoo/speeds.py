"""What came of timing a model on several backends: rates, ratios within rounds, the winner, and the table [speed]."""

import dataclasses
import json
import math
import os
import shlex
import statistics
from dataclasses import dataclass

from zoo.errors import ZooError
from zoo.speed import device, installed


@dataclass(frozen=True)
class Arm:
    """One way to train; `options` are the words that `zoo train` needs for it."""

    backend: str
    batch_size: int | None = None
    xla: bool = False
    steps_per_execution: int = 1

    @property
    def options(self):
        """The words that `zoo train` takes for it, batch size apart."""
        return ["--jit", "--no-deterministic"] if self.xla else []

    def request(self):
        """Returns what the worker is asked for."""
        switches = {"jit": True, "deterministic": False} if self.xla else {"jit": None, "deterministic": True}
        return {"batch_size": self.batch_size, "steps_per_execution": self.steps_per_execution, **switches}

    def __str__(self):
        words = [self.backend, *(["with XLA"] if self.xla else [])]
        words += [f"batches of {self.batch_size}"] if self.batch_size else []
        words += [f"{self.steps_per_execution} steps an execution"] if self.steps_per_execution > 1 else []
        return ", ".join(words)


@dataclass(frozen=True)
class Timed:
    """What came of one arm.

    Attributes:
        arm: the `Arm`, its batch size filled in.
        rates: examples per second, one for each round; empty where it failed.
        median, low_quartile, high_quartile: of these; NaN where it failed.
        ratio: geometric mean over the rounds of its rate divided by the default's in the same round.
        low, high: the ratio's 95% interval, Student's on the logarithms.
        error: why it failed, or None.
    """

    arm: Arm
    rates: tuple = ()
    median: float = math.nan
    low_quartile: float = math.nan
    high_quartile: float = math.nan
    ratio: float = math.nan
    low: float = math.nan
    high: float = math.nan
    error: str | None = None


@dataclass(frozen=True)
class Speeds:
    """How fast a model trains here, one way and another.

    Attributes:
        model, data, recipe: that were measured; data is None for random batches.
        rows: a `Timed` for each way, in the order of their ratios, failures last.
        default: the `Timed` of what would be used without a choice, or the first that works.
        batch_size: of the default.
        notes: what else there is to say, sentences.
        command: the words of `zoo train` that the winner's line begins with.
    """

    model: str
    data: str | None
    recipe: str
    rows: tuple
    default: Timed
    batch_size: int
    notes: tuple
    command: tuple

    @property
    def winner(self):
        """The fastest of the rows that are faster than the default beyond the noise, or else the default."""
        return next((row for row in self.rows if row.low > 1), self.default)

    @property
    def sentence(self):
        """The answer in one line."""
        best, winner = self.rows[0], self.winner
        if winner is not self.default:
            return f"{winner.arm} is the fastest here: {_times(winner)} the default, {self.default.arm}"
        near = f" ({best.arm}: {_times(best)}, within the noise)" if best is not self.default else ""
        return f"{winner.arm} is the fastest here, as it is by default{near}"

    @property
    def line(self):
        """The command that trains the fastest way."""
        arm = self.winner.arm
        words = [*self.command, *(["--batch-size", str(arm.batch_size)] if arm.batch_size != self.batch_size else [])]
        return f"KERAS_BACKEND={arm.backend} {shlex.join([*words, *arm.options])}"

    def speed_table(self):
        """Returns the table `[speed]` that a recipe file may carry, see `zoo.speed`, a dict.

        It is about trainings that repeat exactly and leave the recipe's result alone: plain steps in its own batches.
        """
        from zoo.machine import processor
        from zoo.workers import cores

        plain = self._like(xla=False)
        best = next((row for row in plain.values() if row.low > 1), self.default)
        others = [row for row in plain.values() if row is not best]
        against = self.default if best is not self.default or not others else others[0]
        ratio = timed(best.arm, best.rates, against.rates)
        threads = os.environ.get("OMP_NUM_THREADS")
        limited = f", {threads} thread{'s' * (threads != '1')}" if threads else ""
        return {
            "backend": best.arm.backend,
            "against": against.arm.backend,
            "ratio": round(ratio.ratio, 2),
            "low": round(ratio.low, 2),
            "high": round(ratio.high, 2),
            "examples_per_second": {name: float(f"{row.median:.3g}") for name, row in plain.items()},
            **self._jit(plain),
            "device": device(),
            "hardware": f"{cores()} core{'s' * (cores() != 1)} of {processor()}{limited}",
            "versions": ", ".join(f"{name} {version}" for name, version in installed().items()),
            "command": shlex.join(["zoo", "doctor", *self.command[2:]]),
        }

    def _like(self, **changes):
        """Returns the rows that differ from the default by the backend and `changes` alone: backend -> `Timed`."""
        like = dataclasses.replace(self.default.arm, **changes)
        rows = (row for row in self.rows if not row.error)
        return {r.arm.backend: r for r in rows if r.arm == dataclasses.replace(like, backend=r.arm.backend)}

    def _jit(self, plain):
        """Returns whether XLA makes TensorFlow faster, {"jit": bool}; nothing where the noise hides it."""
        compiled = self._like(xla=True)
        if "tensorflow" not in compiled or "tensorflow" not in plain:
            return {}
        found = timed(compiled["tensorflow"].arm, compiled["tensorflow"].rates, plain["tensorflow"].rates)
        return {} if found.low <= 1 <= found.high else {"jit": found.low > 1}

    def toml(self):
        """Returns `speed_table` as a recipe file has it."""

        def written(value):
            if isinstance(value, dict):
                return "{ " + ", ".join(f"{k} = {written(v)}" for k, v in value.items()) + " }"
            return json.dumps(value)

        return "\n".join(["[speed]", *(f"{name} = {written(value)}" for name, value in self.speed_table().items())])

    def to_json(self):
        """Returns everything as a dict that `json.dumps` takes."""
        made = {k: getattr(self, k) for k in ("model", "data", "recipe", "batch_size", "notes", "sentence", "line")}
        rows = [_finite(dataclasses.asdict(row)) for row in self.rows]
        return {**made, "winner": dataclasses.asdict(self.winner.arm), "rows": rows, "speed": self.speed_table()}


def _finite(row):
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}


def _times(row):
    return f"{row.ratio:.2f} times ({row.low:.2f} to {row.high:.2f})"


def judged(found, notes, opening, command):
    """Returns the `Speeds` of what was measured.

    Raises:
        ZooError: nothing was.
    """
    model, data, recipe = (opening[name] for name in ("model", "data", "recipe"))
    whole = {arm: tuple(rates) for arm, (_, rates, error) in found.items() if not error}
    if not whole:
        said = {str(arm): error for arm, (_, _, error) in found.items()}
        alike = set(said.values())
        why = alike.pop() if len(alike) == 1 else "; ".join(f"{arm}: {error}" for arm, error in said.items())
        raise ZooError(f"No backend could train {model}. {why}")
    base = next(iter(whole))
    if base != next(iter(found)):
        notes.append(f"Ratios are of {base}, as {next(iter(found))} failed.")
    rows = []
    for arm, (size, _, error) in found.items():
        full = dataclasses.replace(arm, batch_size=size)
        rows.append(Timed(full, error=error) if error else timed(full, whole[arm], whole[base]))
    default = rows[list(found).index(base)]
    rows.sort(key=lambda row: -row.ratio if not row.error else math.inf)
    random = data is None or any(note.startswith("Random batches") for note in notes)
    kept = None if random else data
    return Speeds(model, kept, recipe, tuple(rows), default, default.arm.batch_size, tuple(notes), tuple(command))


def timed(arm, rates, base):
    """Returns the `Timed` of an arm.

    Args:
        arm: the `Arm`.
        rates, base: its examples per second and those of what it is compared with, one for each round, two at least.
    """
    from zoo.paired import paired

    low, median, high = statistics.quantiles(rates, n=4, method="inclusive")
    logs = paired([math.log(rate) for rate in rates], [math.log(rate) for rate in base])
    return Timed(arm, rates, median, low, high, *map(math.exp, (logs.mean, logs.low, logs.high)))
