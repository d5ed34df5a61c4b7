"""Which backend trains a model fastest here: each one, in a process of its own, trains a few real steps in turns.

A backend is chosen before Keras is imported, so each needs a process. The turns are interleaved, arm after arm, round
after round, so that whatever else the machine does meets all alike, and arms are compared within rounds.
"""

import contextlib
import json
import os
import queue
import sys
import threading

from zoo import errors
from zoo.errors import InvalidArgument, MissingDependency, invalid, unknown
from zoo.registry import find_model
from zoo.speed import PACKAGES, current_backend, installed
from zoo.speeds import Arm, judged
from zoo.workers import environment_of, process_of

ROUNDS, SECONDS = 5, 2.0
PATIENCE = 900  # seconds that a backend may take to answer: to import, build, read data and compile
MOST_STEPS = 2000  # in one turn, whatever the model


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
        data, data_options: as for `zoo.train`, by default the recipe's. A named data set that is not on this machine,
            or None, is replaced by random batches of the model's shapes, never downloaded.
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
        DataError: the data is a path and cannot be read.
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
    with _showing(len(arms) * (1 + rounds), quiet) as step:
        found, notes = _measured(arms, opening, rounds, seconds, step)
    return judged(found, notes, opening, command)


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
    model, arguments = said.filled("model", model, arguments)
    if model is None:
        raise invalid(f"recipe {recipe!r} names no model", works="Give one: zoo.doctor(model, recipe=...).")
    row = find_model(model)
    for name in arguments:
        if name not in row.arguments:
            raise unknown(f"argument of model {row.name!r}", name, row.arguments)
    data, data_options = said.filled("data", data, data_options)
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
            answer = worker.ask({"arm": number, **arm.request()})
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


class _Worker:
    """A process that times one backend; a context manager that ends it."""

    def __init__(self, backend):
        self.backend, self.failed = backend, None
        environment = environment_of(backend) | {
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",  # the backends share an accelerator while they are compared
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        }
        self._process = process_of("from zoo.timing import main; main()", environment)
        self._answers = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(b"")

    def ask(self, request):
        """Returns the answer to a request, a dict; of a worker that died or does not answer, with an "error"."""
        if self.failed:  # a late answer would be taken for that of another question
            return {"error": self.failed}
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
        self._process.said.seek(0)
        said = self._process.said.read()[-2000:].decode(errors="replace").strip().splitlines()
        self.failed = f"its process ended by itself (status {self._process.wait()}): {said[-1] if said else '-'}"
        return {"error": self.failed}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()  # it has nothing to save
        self._process.wait()
        for pipe in (self._process.stdin, self._process.said):
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
