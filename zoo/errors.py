"""Every error zoo raises, and the one function that words them.

A message says what was wrong, what was received, what would work, and the nearest known name. `zoo` on the
command line prints the message alone; nothing that zoo raises on purpose needs a traceback to be understood.
"""

import difflib
import itertools

_UNSET = object()


class ZooError(Exception):
    """Base of every error that zoo raises on purpose."""


class InvalidArgument(ZooError, ValueError):
    """An argument, setting or file has a value that cannot work."""


class UnknownName(InvalidArgument):
    """No model, variant, trick, recipe, data set, tag or argument has this name."""


class Conflict(InvalidArgument):
    """Two things that were asked for exclude each other."""


class DataError(InvalidArgument):
    """The data cannot be read, or cannot be what the task needs."""


class RecipeWarning(UserWarning):
    """A recipe will run, but tricks in it, or its batch size or duration, are known not to work well."""


class DataWarning(UserWarning):
    """Data will be used, but part of it was left out or may not be what was meant."""


class IntegrityError(ZooError):
    """Stored bytes are not what their manifest, hash or header says."""


class StoreError(ZooError, OSError):
    """A run folder, cache or hub could not be read or written."""


class MissingDependency(ZooError, ImportError):
    """An optional package is needed for what was asked."""


class NonFiniteLoss(ZooError, ArithmeticError):
    """Training produced a loss that is NaN or infinite."""


def nearest(name, known):
    """Returns the known name closest to `name`, or None when nothing is close."""
    known = [str(k) for k in known]
    lowered = {k.lower(): k for k in known}
    wanted = str(name).lower()
    found = difflib.get_close_matches(wanted, lowered, n=8, cutoff=0.6)
    if not found:
        return None

    def closeness(candidate):  # of equally similar names, the one that begins alike for longer
        alike = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(wanted, candidate, strict=False))
        return difflib.SequenceMatcher(None, wanted, candidate).ratio(), len(list(alike))

    return lowered[max(found, key=closeness)]


def worded(wrong, *, received=_UNSET, works=None, name=None, known=(), see=None):
    """Words one error message.

    Args:
        wrong: what was wrong, without a full stop.
        received: the offending value; shown as `Received: ...`.
        works: what would work instead, a sentence.
        name: a misspelt name, looked up in `known`.
        known: the names that exist; a short list is shown when nothing is close.
        see: a call that lists what exists.

    Returns:
        The message, a `str`.
    """
    parts = [f"{wrong}."]
    if name is not None:
        close = nearest(name, known)
        if close:
            parts.append(f"Did you mean {close!r}?")
        elif known and len(known) <= 12:
            parts.append("Known: " + ", ".join(map(str, known)) + ".")
    if received is not _UNSET:
        shown = repr(received)
        parts.append(f"Received: {shown if len(shown) <= 200 else shown[:197] + '...'}.")
    if works:
        parts.append(works)
    if see:
        parts.append(f"See {see}.")
    return " ".join(parts)


def unknown(kind, name, known, *, see=None, works=None):
    """Returns the `UnknownName` for a `kind` ("model", "trick", ...) that has no `name`."""
    return UnknownName(worded(f"no {kind} named {name!r}", name=name, known=sorted(known), see=see, works=works))


def invalid(wrong, received=_UNSET, works=None, error=InvalidArgument):
    """Returns an `InvalidArgument` (or another `error` class) in the common wording."""
    return error(worded(wrong, received=received, works=works))
