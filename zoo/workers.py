"""Trainings in worker processes: each keeps Keras loaded, trains what it is told, and stops in order with its parent.

A worker reads a task (JSON, one a line) from standard input and answers on standard output. A last line `null` lets
it end; when the input ends without it, because the parent was killed or gave up, the worker interrupts its training,
whose run folder stays intact. Nothing is pickled, so a model and data must be given by name or path.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
import warnings
from pathlib import Path

from zoo import errors
from zoo.errors import NonFiniteLoss, ZooError

FINISHED, DIVERGED, FAILED = "finished", "diverged", "failed"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")
_THREADS += ("TF_NUM_INTEROP_THREADS", "NPROC", "PJRT_NPROC")  # the last two are XLA's, and so JAX's
_PATIENCE = 60  # seconds for a worker to write down where it stopped


def train_one(options):
    """Trains once. A loss that becomes NaN or infinite is an answer, not an error.

    Args:
        options: the arguments of `zoo.train`.

    Returns:
        dict: "status" ("finished" or "diverged"), "message", and "warnings", a list of sentences.
    """
    import zoo

    answer = {"status": FINISHED, "message": None}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            zoo.train(**options, quiet=True)
        except NonFiniteLoss as error:
            answer = {"status": DIVERGED, "message": str(error)}
    said = [str(w.message) for w in caught if issubclass(w.category, UserWarning)]
    return answer | {"warnings": list(dict.fromkeys(said))}


def cores():
    """Returns how many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """Some worker processes; a context manager that ends them.

    Args:
        count: how many.
        threads: of each, so that together they are no more than the cores.
    """

    def __init__(self, count, threads):
        import keras

        limits = {name: str(min(threads, _number(os.environ.get(name), threads))) for name in _THREADS}
        self._environment = environment_of(keras.backend.backend()) | limits
        code = "import sys; from zoo.workers import main; sys.exit(main())"
        self._processes = [process_of(code, self._environment) for _ in range(count)]

    def run(self, tasks, done, started=lambda task: None):
        """Runs tasks, each in the first worker that is free.

        Args:
            tasks: list of `(key, options)`, options as for `train_one`.
            done: function `(key, answer)`, called here as the answers come.
            started: function `(key)`, called from a thread when a worker takes the task.

        Raises:
            ZooError: a training failed, or a worker died; tasks that are under way are interrupted.
        """
        waiting, answers = queue.SimpleQueue(), queue.SimpleQueue()
        for task in tasks:
            waiting.put(task)
        for process in self._processes:
            threading.Thread(target=_feed, args=(process, waiting, answers, started), daemon=True).start()
        for _ in tasks:
            key, answer = answers.get()
            if answer["status"] == FAILED:
                kind = getattr(errors, answer["kind"], ZooError)
                raise kind(f"{key}: {answer['message']}")
            done(key, answer)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        for process in self._processes:
            try:
                if kind is None:
                    process.stdin.write(b"null\n")
                process.stdin.close()
            except OSError:  # it is gone
                pass
        for process in self._processes:
            try:
                process.wait(_PATIENCE)
            except (subprocess.TimeoutExpired, KeyboardInterrupt):
                process.kill()
                process.wait()
            process.stdout.close()
            process.said.close()


def environment_of(backend):
    """Returns the environment of a process with a backend and this zoo."""
    path = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")]
    return {**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(filter(None, path))}


def process_of(code, environment):
    """Starts a Python process that is asked and answers; its attribute `said` is the file of all else it prints."""
    said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=said,
        env=environment,
        start_new_session=True,  # Ctrl-C is the parent's: it tells or ends its workers
    )
    process.said = said
    return process


def answers_apart():
    """Returns a file for the answers of this process to its parent; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def _number(text, default):
    return int(text) if text and text.isdigit() and int(text) else default


def _feed(process, waiting, answers, started):
    """Hands tasks to one worker until there are no more, or it dies."""
    while True:
        try:
            key, options = waiting.get_nowait()
        except queue.Empty:
            return
        started(key)
        try:
            process.stdin.write(json.dumps(options).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except (OSError, ValueError):  # the pipe is closed, at one end or the other
            line = b""
        if not line:
            answers.put((key, _death(process)))
            return
        answers.put((key, json.loads(line)))


def _death(process):
    """Returns the answer for a worker that is no more."""
    try:
        ended = f"status {process.wait(_PATIENCE)}"
        process.said.seek(0)
        last = process.said.read()[-2000:].decode(errors="replace").strip()
    except (subprocess.TimeoutExpired, OSError, ValueError):
        ended, last = "no status", ""
    reason = "its memory may have run out" if process.returncode == -signal.SIGKILL else "it says: " + (last or "-")
    message = f"a worker process ended by itself ({ended}); {reason}. The run folders are intact: resume, with fewer "
    return {"status": FAILED, "kind": "ZooError", "message": f"{message}jobs if memory is short."}


# In the worker


def main():
    """Answers tasks until there are no more. Returns the exit status."""
    answers = answers_apart()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
    tasks = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks,), daemon=True).start()
    try:
        from zoo.quiet import import_keras

        import_keras()
        while (options := tasks.get()) is not None:
            try:
                answer = train_one(options)
            except ZooError as error:
                answer = {"status": FAILED, "kind": type(error).__name__, "message": str(error)}
            except Exception:
                answer = {"status": FAILED, "kind": "ZooError", "message": traceback.format_exc()}
            print(json.dumps(answer), file=answers, flush=True)
    except (KeyboardInterrupt, BrokenPipeError):
        return 130
    return 0


def _listen(tasks):
    for line in sys.stdin:
        tasks.put(json.loads(line))
        if line.strip() == "null":
            return
    os.kill(os.getpid(), signal.SIGINT)  # the parent is gone
