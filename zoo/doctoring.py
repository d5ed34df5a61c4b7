"""Which backend trains a model fastest here: each one, in a process of its own, trains a few real steps in turns.

A backend is chosen before Keras is imported, so each needs a process. The turns are interleaved, arm after arm, round
after round, so that whatever else the machine does meets all alike, and arms are compared within rounds.
"""

import contextlib
import dataclasses
import json
import math
import os
import queue
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from zoo import errors
from zoo.errors import InvalidArgument, MissingDependency, ZooError, invalid, unknown
from zoo.registry import find_model
from zoo.speed import PACKAGES, current_backend, device, installed

ROUNDS, SECONDS = 5, 2.0
PATIENCE = 900  # seconds that a backend may take to answer: to import, build, read data and compile
MOST_STEPS = 2000  # in one turn, whatever the model


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
        """The `Timed` with the highest ratio; the default, unless another is faster beyond the noise."""
        best = self.rows[0]
        return best if best.low > 1 else self.default

    @property
    def sentence(self):
        """The answer in one line."""
        best = self.rows[0]
        if self.winner is self.default:
            near = f" ({best.arm}: {_times(best)}, within the noise)" if best is not self.default else ""
            return f"{self.default.arm} is the fastest here, as it is by default{near}"
        return f"{best.arm} is the fastest here: {_times(best)} the default, {self.default.arm}; beyond the noise"

    @property
    def line(self):
        """The command that trains the fastest way."""
        arm = self.winner.arm
        words = [*self.command, *(["--batch-size", str(arm.batch_size)] if arm.batch_size != self.batch_size else [])]
        return f"KERAS_BACKEND={arm.backend} {shlex.join([*words, *arm.options])}"

    def speed_table(self):
        """Returns the table `[speed]` that a recipe file may carry, see `zoo.speed`: of ways that repeat exactly and
        leave the recipe's result alone, the fastest; a dict.
        """
        from zoo.machine import processor
        from zoo.workers import cores

        like = self.default.arm
        same = [r for r in self.rows if not r.error and r.arm == dataclasses.replace(like, backend=r.arm.backend)]
        best = same[0] if same[0].low > 1 else self.default
        threads = os.environ.get("OMP_NUM_THREADS")
        limited = f", {threads} thread{'s' * (threads != '1')}" if threads else ""
        xla = [
            r for r in self.rows if not r.error and r.arm == dataclasses.replace(like, backend="tensorflow", xla=True)
        ]
        plain = [r for r in same if r.arm.backend == "tensorflow"]
        jit = {"jit": xla[0].median > plain[0].median} if xla and plain and _apart(xla[0], plain[0]) else {}
        return jit | {
            "backend": best.arm.backend,
            "against": self.default.arm.backend,
            "ratio": round(best.ratio, 2),
            "low": round(best.low, 2),
            "high": round(best.high, 2),
            "examples_per_second": {r.arm.backend: float(f"{r.median:.3g}") for r in same},
            "device": device(),
            "hardware": f"{cores()} cores of {processor()}{limited}",
            "versions": ", ".join(f"{name} {version}" for name, version in installed().items()),
            "command": shlex.join(["zoo", "doctor", *self.command[2:]]),
        }

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


def _apart(one, other):
    """Says whether two rows differ beyond the noise, by the interval of their ratio."""
    found = _timed(one.arm, one.rates, other.rates)
    return not found.low <= 1 <= found.high


def _finite(row):
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}


def _times(row):
    return f"{row.ratio:.2f} times ({row.low:.2f} to {row.high:.2f})"


def doctor(
    model=None,
    data=None,
    *,
    recipe=None,
    backends=None,
    batch_sizes=None,
    steps_per_execution=None,
    xla=True,
    rounds=ROUNDS,
    seconds=SECONDS,
    data_options=None,
    quiet=False,
    **arguments,
):
    """Says what zoo runs on, or, by measuring, which backend trains a model fastest here.

    Args:
        model: a model's name; by default that of the recipe, and without a recipe nothing is measured.
        data, data_options: as for `zoo.train`, by default the recipe's. Data that is not on this machine, or None, is
            replaced by random batches of the model's shapes, never downloaded.
        recipe: as for `zoo.train`.
        backends: names; by default all that are installed.
        batch_sizes: to try besides the recipe's own (else 32). Another size is another training, not only a faster.
        steps_per_execution: to try, as `keras.Model.compile` takes it; by default 1. PyTorch knows no other.
        xla: whether TensorFlow is tried with XLA too, with which a training does not repeat bit for bit.
        rounds: turns that each gets, 2 at least.
        seconds: that a turn takes, about.
        quiet: whether to show no progress.
        **arguments: of the model's builder.

    Returns:
        `Speeds`; without model and recipe the `zoo.environment.Environment`.

    Raises:
        UnknownName: there is no such model, recipe, data set, argument or backend.
        InvalidArgument: a number is out of range, or the recipe cannot be used with this model and data.
        MissingDependency: a backend is not installed.
        ZooError: no backend could train; the message says why for each.
    """
    if model is None and recipe is None:
        from zoo.environment import environment

        return environment(quiet)
    names, sizes, executed = _backends(backends), _numbers("batch_sizes", batch_sizes), [1]
    executed = _numbers("steps_per_execution", steps_per_execution) or executed
    if type(rounds) is not int or rounds < 2:
        raise invalid("`rounds` must be a whole number from 2 on", rounds)
    if not isinstance(seconds, (int, float)) or not 0 < seconds <= 600:
        raise invalid("`seconds` must be a positive number up to 600", seconds)
    opening, command = _task(model, data, recipe, arguments, data_options or {})
    arms = [
        Arm(name, size, compiled, steps)
        for name in names
        for size in (None, *sizes)
        for steps in executed
        for compiled in ((False, True) if xla and name == "tensorflow" else (False,))
        if steps == 1 or name != "torch"
    ]
    if not arms:
        raise invalid("PyTorch runs one step an execution", steps_per_execution, "Try another backend, or 1.")
    with _showing(len(arms) * (1 + rounds), quiet) as step, tempfile.TemporaryDirectory() as folder:
        found, notes = _measured(arms, opening | {"folder": folder}, rounds, seconds, step)
    return _judged(found, notes, opening, command)


def _backends(given):
    """Returns the names of the backends to measure, the one that would be used first."""
    here = installed()
    if not here:
        raise MissingDependency(f"No backend is installed: pip install {', '.join(PACKAGES.values())}, or one of them.")
    for name in given or ():
        if name not in PACKAGES:
            raise unknown("backend", name, PACKAGES)
        if name not in here:
            raise MissingDependency(f"{name} is not installed: pip install {PACKAGES[name]}.")
    default = current_backend()
    return sorted(dict.fromkeys(given or here), key=lambda name: name != default)


def _numbers(name, values):
    for value in values or ():
        if type(value) is not int or value < 1:
            raise invalid(f"`{name}` are positive whole numbers", value)
    return list(dict.fromkeys(values or ()))


def _task(model, data, recipe, arguments, data_options):
    """Returns what the workers are told, and the words of the command that trains the same."""
    from zoo.recipes import PLAIN, Recipe, outline

    said = Recipe((), outline(recipe)[1] if recipe is not None else {})
    words = ["zoo", "train", *(str(word) for word in (model, data) if word is not None)]
    words += ["DATA"] if model is not None and data is None and said.setting("data") is None else []
    words += ["--recipe", str(recipe)] if recipe is not None else []
    words += [w for name, value in sorted(arguments.items()) for w in ("--set", f"{name}={value!r}")]
    words += [w for name, value in sorted(data_options.items()) for w in ("--data-option", f"{name}={value!r}")]
    if model is None:
        model = said.setting("model")
        arguments = {**said.setting("arguments", default={}), **arguments}
    if model is None:
        raise invalid(f"recipe {recipe!r} names no model", works="Give one: zoo.doctor(model, recipe=...).")
    row = find_model(model)
    for name in arguments:
        if name not in row.arguments:
            raise unknown(f"argument of model {row.name!r}", name, row.arguments)
    if data is None:
        data = said.setting("data")
        data_options = {**said.setting("data_options", default={}), **data_options}
    if data is not None and not isinstance(data, (str, os.PathLike)):
        raise invalid("each backend reads the data in a process of its own", type(data).__name__, "Give name or path.")
    opening = {"model": model, "data": None if data is None else str(data), "recipe": str(recipe or PLAIN)}
    return opening | {"arguments": arguments, "data_options": data_options}, words


def _measured(arms, opening, rounds, seconds, step):
    """Returns `({arm: (batch size, rates, error)}, notes)`."""
    found, notes, ready, own = {arm: [arm.batch_size, [], None] for arm in arms}, [], {}, {}
    with contextlib.ExitStack() as stack:
        workers = {}
        for number, arm in enumerate(arms):
            step(f"{arm}: import, compile, warm up")
            if arm.backend not in workers:
                worker = workers[arm.backend] = stack.enter_context(_Worker(arm.backend))
                opened = worker.ask(opening)
                kind = getattr(errors, opened.get("kind", ""), None)
                if kind is not None and issubclass(kind, InvalidArgument):  # which no other backend would do better
                    raise kind(opened["error"])
                worker.failed = opened.get("error")
                notes += opened.get("notes", [])
            worker = workers[arm.backend]
            if arm.batch_size is not None and arm.batch_size == own.get(arm.backend):  # the recipe's own: measured
                del found[arm]
                continue
            answer = {"error": worker.failed} if worker.failed else worker.ask({"arm": number, **arm.request()})
            if "error" in answer:
                found[arm][2] = answer["error"]
            else:
                found[arm][0] = answer["batch_size"]
                if arm.batch_size is None:
                    own[arm.backend] = answer["batch_size"]
                executions = seconds / answer["seconds"] / arm.steps_per_execution
                ready[arm] = number, arm.steps_per_execution * max(2, min(MOST_STEPS, round(executions)))
        for turn in range(rounds):
            order = list(ready)
            for arm in order[turn % len(order) :] + order[: turn % len(order)] if order else ():
                step(f"round {turn + 1} of {rounds}: {arm}")
                if found[arm][2]:
                    continue
                number, steps = ready[arm]
                answer = workers[arm.backend].ask({"arm": number, "steps": steps})
                if "error" in answer:
                    found[arm][2] = answer["error"]
                else:
                    found[arm][1].append(steps * found[arm][0] / answer["seconds"])
    return found, list(dict.fromkeys(notes))


def _judged(found, notes, opening, command):
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
        rows.append(Timed(full, error=error) if error else _timed(full, whole[arm], whole[base]))
    default = rows[list(found).index(base)]
    rows.sort(key=lambda row: -row.ratio if not row.error else math.inf)
    random = data is None or any(note.startswith("Random batches") for note in notes)
    kept = None if random else data
    return Speeds(model, kept, recipe, tuple(rows), default, default.arm.batch_size, tuple(notes), tuple(command))


def _timed(arm, rates, base):
    low, median, high = statistics.quantiles(rates, n=4, method="inclusive") if len(rates) > 1 else rates * 3
    logs = [math.log(mine / theirs) for mine, theirs in zip(rates, base, strict=True)]
    mean, half = statistics.fmean(logs), _half_interval(logs)
    ratios = math.exp(mean), math.exp(mean - half), math.exp(mean + half)
    return Timed(arm, rates, median, low, high, *ratios)


def _half_interval(values):
    """Returns half the width of the 95% interval of a mean, Student's."""
    from scipy.special import stdtrit

    n = len(values)
    if n < 2:
        return math.inf
    return float(stdtrit(n - 1, 0.975)) * statistics.stdev(values) / math.sqrt(n)


class _Worker:
    """A process that times one backend; a context manager that ends it."""

    def __init__(self, backend):
        self.backend, self.failed = backend, None
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - what libraries print; closed with the worker
        path = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]
        environment = os.environ | {
            "KERAS_BACKEND": backend,
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # the backends share an accelerator while they are compared
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        }
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from zoo.timing import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=environment,
            start_new_session=True,  # Ctrl-C is the parent's: it ends its workers
        )
        self._answers = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(b"")

    def ask(self, request):
        """Returns the answer to a request, a dict; of a worker that died or does not answer, with an "error"."""
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=PATIENCE)
        except OSError:
            line = b""
        except queue.Empty:
            self.failed = f"no answer within {PATIENCE} seconds"
            return {"error": self.failed}
        if line:
            return json.loads(line)
        self._said.seek(0)
        said = self._said.read()[-2000:].decode(errors="replace").strip().splitlines()
        self.failed = f"its process ended by itself (status {self._process.wait()}): {said[-1] if said else '-'}"
        return {"error": self.failed}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()  # it has nothing to save
        self._process.wait()
        for pipe in (self._process.stdin, self._said):
            with contextlib.suppress(OSError):
                pipe.close()


@contextlib.contextmanager
def _showing(total, quiet):
    """Gives a function that shows what is done next; silent where nobody watches."""
    if quiet or not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task, begun = bar.add_task("", total=total), []

        def step(text):
            bar.update(task, description=text, completed=len(begun))
            begun.append(text)

        yield step
