"""What a training shows: a live bar in a terminal, one line an epoch elsewhere, nothing when asked to be quiet."""

import keras


class Progress(keras.callbacks.Callback):
    """Shows epochs and steps through rich.

    Args:
        total_epochs: of the whole run.
        steps: per epoch.
        console: `rich.console.Console`.
    """

    def __init__(self, total_epochs, steps, console):
        super().__init__()
        self.total_epochs = total_epochs
        self.steps = steps
        self.console = console
        self._bar = None

    def on_train_begin(self, logs=None):
        if self.console.is_terminal:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, TextColumn("{task.fields[now]}"), console=self.console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=self.steps, now="")

    def on_epoch_begin(self, epoch, logs=None):
        if self._bar:
            self._bar.reset(self._task, description=f"epoch {epoch + 1}/{self.total_epochs}", now="")

    def on_train_batch_end(self, batch, logs=None):
        if self._bar:
            now = _worded(logs) if batch % 10 == 0 else self._bar.tasks[self._task].fields["now"]
            self._bar.update(self._task, completed=batch + 1, now=now)

    def on_epoch_end(self, epoch, logs=None):
        width = len(str(self.total_epochs))
        say(self.console, f"epoch {epoch + 1:>{width}}/{self.total_epochs}  {_worded(logs)}")

    def close(self):
        """Removes the bar; also after an error, so that the terminal is left in order."""
        if self._bar:
            self._bar.stop()
            self._bar = None


def _worded(logs):
    figures = [n for n in logs or {} if not n.startswith("val_") and not n.endswith("_loss") and n != "loss"]
    names = [f"{part}{n}" for part in ("", "val_") for n in ("loss", *figures)]
    return "  ".join(f"{n} {float(logs[n]):.4f}" for n in names if n in (logs or {}))


def console(quiet=False):
    """Returns the console that zoo prints to."""
    from rich.console import Console

    return Console(quiet=quiet, emoji=False, highlight=False)


def say(console, text, strong="", rest=""):
    """Prints a line as it is, `strong` in bold: not wrapped, so that it can be copied and searched."""
    from rich.text import Text

    console.print(Text.assemble(text, (strong, "bold"), rest), soft_wrap=True)
