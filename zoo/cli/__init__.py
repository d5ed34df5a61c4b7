"""The `zoo` command: a thin skin on the API.

`main` runs it and decides how everything ends: status 0 for success, 2 for anything the user can put right (one
`Error:` block on standard error, no traceback), 130 for Ctrl-C, 141 for a closed pipe. What only reads names answers
without importing Keras; see `zoo.cli.names`.
"""

import os
import sys

BROKEN_PIPE, INTERRUPTED, USER_ERROR = 141, 130, 2


def main(arguments=None):
    """Runs the `zoo` command.

    Args:
        arguments: list of words; by default those of the command line.

    Returns:
        The exit status.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments or os.environ.get("ZOO_DEBUG", "") not in ("", "0")
    try:
        from zoo.cli import screen
        from zoo.errors import ZooError

        try:
            status = _run([a for a in arguments if a != "--debug"], screen)
            sys.stdout.flush()
            return status
        except ZooError as error:
            if debug:
                raise
            screen.error(screen.as_commands(str(error)))
            return USER_ERROR
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        _silence_stdout()
        return BROKEN_PIPE


def _run(arguments, screen):
    """Runs one command; its usage errors are worded as zoo's own."""
    import warnings

    import typer.main
    from typer import Abort
    from typer.exceptions import TyperException

    from zoo.cli.app import app, reworded

    command = typer.main.get_command(app)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = screen.warning
            return command.main(args=arguments, prog_name="zoo", standalone_mode=False) or 0
    except TyperException as error:
        screen.error(reworded(error))
        return USER_ERROR
    except Abort:
        return INTERRUPTED
    except SystemExit as ended:  # what typer and rich make of a closed pipe
        if isinstance(ended.__context__, BrokenPipeError):
            raise BrokenPipeError from ended
        raise


def _silence_stdout():
    """Keeps the interpreter from complaining when it flushes a pipe that nobody reads."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        sys.stdout = None
