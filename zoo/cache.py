"""The cache folder, atomic writes, and downloads that are checked before anyone reads them.

The cache is the folder that `ZOO_CACHE` names, else `~/.cache/zoo`. Everything in it can be made again.
"""

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import DataError, IntegrityError, StoreError, worded

CHUNK = 1 << 20  # bytes read at a time
TIMEOUT = 30  # seconds without a byte before a download is given up


@dataclass(frozen=True)
class Remote:
    """A file at its official source, pinned by size (bytes) and by a hash: `sha256`, or `md5` where only that is
    published.
    """

    file: str
    url: str
    size: int
    sha256: str | None = None
    md5: str | None = None

    @property
    def pin(self):
        """The hash as `(algorithm, hex digest)`."""
        return ("sha256", self.sha256) if self.sha256 else ("md5", self.md5)


def folder(*parts):
    """Returns the path of a folder in the cache; nothing is created."""
    root = os.environ.get("ZOO_CACHE")
    return Path(root).expanduser().joinpath(*parts) if root else Path.home().joinpath(".cache", "zoo", *parts)


@contextlib.contextmanager
def replacing(path):
    """Opens a temporary binary file beside `path`; it takes that name when the block ends without an error.

    Until then, and after any failure, what was at `path` stays as it was.

    Raises:
        StoreError: the folder cannot be written, or the disk is full.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner reads
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        if isinstance(error, (StoreError, urllib.error.URLError, TimeoutError)):
            raise
        works = "Free some disk space, or name another folder in ZOO_CACHE."
        raise StoreError(worded(f"cannot write {path} ({error.strerror or error})", works=works)) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def digest(path, algorithm="sha256"):
    """Returns the hex digest of a file, read in chunks."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def matches(path, remote):
    """Says whether a file has the size and the hash that `remote` pins."""
    algorithm, expected = remote.pin
    return path.stat().st_size == remote.size and digest(path, algorithm) == expected


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
    kept = folder("data", remote.file)
    if kept.is_file() and matches(kept, remote):
        return kept
    return download(remote, kept, title)


def download(remote, path, title):
    """Downloads a file to `path`, which appears only when its size and hash are right. Returns the path.

    Raises:
        DataError: the source cannot be reached; the message says how to get the file by hand.
        IntegrityError: what arrived is not the pinned file.
        StoreError: the folder cannot be written.
    """
    algorithm, expected = remote.pin
    hasher, received = hashlib.new(algorithm), 0
    try:
        request = urllib.request.Request(remote.url, headers={"User-Agent": "zoo"})
        with (
            urllib.request.urlopen(request, timeout=TIMEOUT) as response,
            replacing(path) as file,
            _progress(f"{title}: {remote.file}", remote.size) as advance,
        ):
            while chunk := response.read(CHUNK):
                received += len(chunk)
                if received > remote.size:
                    break
                file.write(chunk)
                hasher.update(chunk)
                advance(len(chunk))
            if received != remote.size or hasher.hexdigest() != expected:
                wrong = f"{remote.url} sent something else than {title}"
                shown = f"{received:,} bytes, {algorithm} {hasher.hexdigest()}"
                works = f"Expected {remote.size:,} bytes, {algorithm} {expected}. Nothing was kept."
                raise IntegrityError(worded(wrong, received=shown, works=works))
    except StoreError:
        raise
    except (OSError, ValueError) as error:  # URLError and time-outs are OSErrors; a malformed proxy is a ValueError
        reason = getattr(error, "reason", None) or error
        works = (
            f"Get {remote.file} ({remote.size:,} bytes) from {remote.url} by hand and put it in "
            f"{path.parent}, or in any folder that ZOO_DATA names."
        )
        raise DataError(
            worded(f"{title} is not on this machine and cannot be downloaded ({reason})", works=works)
        ) from (error)
    return path


@contextlib.contextmanager
def _progress(label, total):
    """Gives a function that advances a progress bar by some bytes; silent where nobody watches."""
    if not sys.stderr.isatty():
        yield lambda amount: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda amount: progress.advance(task, amount)


def remember_arrays(key, make):
    """Returns named NumPy arrays, kept in the cache as one `.npy` file each and read back memory-mapped.

    A cache that cannot be written costs time, never the result; a truncated or foreign file is made anew.

    Args:
        key: text that changes whenever what `make` returns would change.
        make: function `() -> dict of arrays`.
    """
    import numpy as np

    root = folder("arrays", hashlib.sha256(key.encode()).hexdigest()[:32])
    try:
        names = (root / "complete").read_text("utf-8").split()
        return {name: np.load(root / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names}
    except (OSError, ValueError, EOFError):
        pass
    arrays = make()
    try:
        shutil.rmtree(root, ignore_errors=True)
        for name, array in arrays.items():
            with replacing(root / f"{name}.npy") as file:
                np.save(file, array, allow_pickle=False)
        with replacing(root / "complete") as file:  # last: its presence says that the others are whole
            file.write("\n".join(arrays).encode())
    except StoreError:
        shutil.rmtree(root, ignore_errors=True)
    return arrays
