"""The cache folder, and downloads that are checked before anyone reads them.

The cache is the folder that `ZOO_CACHE` names, else `~/.cache/zoo`. Everything in it can be made again.
"""

import contextlib
import contextvars
import functools
import hashlib
import http.client
import os
import shutil
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import DataError, IntegrityError, StoreError, worded
from zoo.files import make_folder, sha256_of, write_atomic

CHUNK = 1 << 20  # bytes read at a time
TIMEOUT = 30  # seconds without a byte before a download is given up
_may_download = contextvars.ContextVar("may_download", default=True)


@dataclass(frozen=True)
class Remote:
    """A file at its official source, pinned by size (bytes) and SHA-256 (hex)."""

    file: str
    url: str
    size: int
    sha256: str


def cache_folder(*parts):
    """Returns the path of a folder in the cache; nothing is created."""
    root = os.environ.get("ZOO_CACHE")
    return Path(root).expanduser().joinpath(*parts) if root else Path.home().joinpath(".cache", "zoo", *parts)


def locate(names, remote, title):
    """Returns the path of a data file: in the folder `ZOO_DATA`, in the cache, or newly downloaded into the cache.

    Args:
        names: file names that will do, in order of preference.
        remote: `Remote` to download when there is none.
        title: what the file holds, for messages: "MNIST".

    Raises:
        DataError: it is nowhere and cannot be downloaded; the message says how to get it by hand.
    """
    given = os.environ.get("ZOO_DATA")
    if given:
        root = Path(given).expanduser()
        if not root.is_dir():
            works = "Make it, or unset ZOO_DATA."
            raise DataError(worded("ZOO_DATA names a folder that does not exist", received=given, works=works))
        for name in names:
            if (root / name).is_file():
                return root / name
    kept = cache_folder("data", remote.file)
    if kept.is_file() and kept.stat().st_size == remote.size and sha256_of(kept) == remote.sha256:
        return kept
    if not _may_download.get():
        raise DataError(f"{title} is not on this machine, and is not downloaded for this.")
    return download(remote, kept, title)


@contextlib.contextmanager
def nothing_downloaded():
    """Within this block `locate` finds what is here, and does not download what is not."""
    before = _may_download.set(False)
    try:
        yield
    finally:
        _may_download.reset(before)


def download(remote, path, title):
    """Downloads a file to `path`, which appears only when its size and hash are right. Returns the path.

    Raises:
        DataError: the source cannot be reached; the message says how to get the file by hand.
        IntegrityError: what arrived is not the pinned file.
        StoreError: the folder cannot be written.
    """

    def receive(file):
        hasher, received = hashlib.sha256(), 0
        bar = progress(f"{title}: {remote.file}", remote.size)
        with contextlib.closing(_opened(remote, path, title)) as response, bar as advance:
            while chunk := _next_chunk(response, remote, path, title):
                received += len(chunk)
                if received > remote.size:
                    break
                file.write(chunk)
                hasher.update(chunk)
                advance(len(chunk))
        if received < remote.size:
            broken = f"the transfer broke off after {received:,} bytes"
            raise _unreachable(remote, path, title, broken)
        if received > remote.size or hasher.hexdigest() != remote.sha256:
            wrong = f"{remote.url} sent something else than {title}"
            shown = f"sha256 {hasher.hexdigest()}" if received == remote.size else f"over {remote.size:,} bytes"
            works = f"Expected {remote.size:,} bytes, sha256 {remote.sha256}. Nothing was kept."
            raise IntegrityError(worded(wrong, received=shown, works=works))

    make_folder(path.parent)
    return write_atomic(path, receive)


def _opened(remote, path, title):
    request = urllib.request.Request(remote.url, headers={"User-Agent": "zoo"})
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    except (OSError, ValueError, http.client.HTTPException) as error:  # a malformed proxy setting is a ValueError
        raise _unreachable(remote, path, title, getattr(error, "reason", None) or error) from error


def _next_chunk(response, remote, path, title):
    try:
        return response.read(CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(remote, path, title, getattr(error, "reason", None) or error) from error


def _unreachable(remote, path, title, reason):
    works = (
        f"Get {remote.file} ({remote.size:,} bytes) from {remote.url} by hand and put it in "
        f"{path.parent}, or in any folder that ZOO_DATA names."
    )
    return DataError(worded(f"{title} is not on this machine and cannot be downloaded ({reason})", works=works))


@contextlib.contextmanager
def progress(title, total, quiet=False, *, of_bytes=True):
    """Gives a function that advances a bar of `total` bytes, or things, by some; silent where nobody watches."""
    if quiet or not sys.stderr.isatty():
        yield lambda amount: None
        return
    from rich import progress as bars
    from rich.console import Console

    columns = bars.TextColumn("{task.description}"), bars.BarColumn()
    columns += (bars.DownloadColumn(), bars.TransferSpeedColumn()) if of_bytes else (bars.MofNCompleteColumn(),)
    with bars.Progress(*columns, bars.TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda amount: bar.advance(task, amount)


@contextlib.contextmanager
def working(title, quiet=False):
    """Shows that something without measurable steps goes on; silent where nobody watches."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(title):
        yield


def remember_arrays(key, make):
    """Returns named NumPy arrays, kept in the cache as one `.npy` file each and read back memory-mapped.

    A cache that cannot be written costs time, never the result; a truncated file is made anew.

    Args:
        key: text that changes whenever what `make` returns would change.
        make: function `() -> dict of arrays`.
    """
    import numpy as np

    root = cache_folder("arrays", hashlib.sha256(key.encode()).hexdigest()[:32])
    try:
        names = (root / "complete").read_text("utf-8").split()
        return {name: np.load(root / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names}
    except (OSError, ValueError, EOFError):
        pass
    arrays = make()
    try:
        shutil.rmtree(root, ignore_errors=True)
        make_folder(root)
        for name, array in arrays.items():
            write_atomic(root / f"{name}.npy", functools.partial(np.save, arr=array, allow_pickle=False))
        write_atomic(root / "complete", "\n".join(arrays))  # last: its presence says that the others are whole
    except StoreError:
        shutil.rmtree(root, ignore_errors=True)
    return arrays
