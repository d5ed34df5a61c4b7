"""What is shown while many runs train: in a terminal one bar for all and one for each that is under way, elsewhere a
line for each that is done.
"""

import contextlib
import threading

from zoo.progress import say
from zoo.runs import METRICS

_SECONDS = 0.5  # between two looks into the run folders


class Watch:
    """Shows the progress of runs; a context manager.

    Args:
        console: `rich.console.Console`.
        total: runs there are.
        done: of them, done before.
        epochs: of each run.
    """

    def __init__(self, console, total, done, epochs):
        self.console, self.total, self.done, self.epochs = console, total, done, epochs
        self._bars, self._rows, self._over = None, {}, threading.Event()

    def __enter__(self):
        if self.console.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[of]}"),
            )
            self._bars = Progress(*columns, TimeElapsedColumn(), console=self.console, transient=True)
            self._all = self._bars.add_task("all runs", total=self.total, completed=self.done, of="runs")
            self._bars.start()
            self._watcher = threading.Thread(target=self._look, daemon=True)
            self._watcher.start()
        return self

    def __exit__(self, *_):
        if self._bars:
            self._over.set()
            self._watcher.join()
            self._bars.stop()

    def started(self, name, folder):
        """Shows a run that began; from any thread."""
        if self._bars:
            self._rows[name] = self._bars.add_task(name, total=self.epochs, of="epochs"), folder / METRICS

    def finished(self, name, words):
        """Shows what a run came to."""
        self.done += 1
        if self._bars:
            row, _ = self._rows.pop(name)
            self._bars.remove_task(row)
            self._bars.update(self._all, completed=self.done)
        say(self.console, f"{self.done:>{len(str(self.total))}}/{self.total}  {name}: {words}")

    def _look(self):
        while not self._over.wait(_SECONDS):
            for row, path in list(self._rows.values()):
                with contextlib.suppress(OSError, KeyError):  # not there yet, or just done
                    self._bars.update(row, completed=path.read_bytes().count(b"\n") - 1)  # below the heading
