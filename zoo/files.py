"""Files that are either whole or absent: atomic writes, hashes while copying, locks, and worded disk errors."""

import contextlib
import errno
import hashlib
import io
import json
import os
import secrets
import shutil
import stat
import time
from pathlib import Path

from zoo.errors import StoreError, invalid

CHUNK = 1 << 20  # bytes per read while hashing or copying
_TEMPORARY = ".zoo-tmp"  # ends the name of everything unfinished
_REASONS = {
    errno.ENOSPC: "No space left on the device. Free some space and run the same command again.",
    errno.EDQUOT: "Your disk quota is used up. Free some space and run the same command again.",
    errno.EFBIG: "The file would be larger than the limit here (`ulimit -f`). Raise the limit or write elsewhere.",
    errno.EROFS: "The file system is read-only. Remount it writable, or give a folder elsewhere.",
    errno.EACCES: "Permission denied. Make the folder writable for you, or give another.",
    errno.EPERM: "Permission denied. Make the folder writable for you, or give another.",
    errno.ENOENT: "A folder on the way there is missing. Check the path.",
    errno.ENOTDIR: "A file stands where a folder is needed. Check the path.",
    errno.EISDIR: "A folder stands where a file is needed. Check the path.",
    errno.ENAMETOOLONG: "The name is too long. Give a shorter one.",
    errno.EIO: "The disk reported an error. Check the disk, then run the same command again.",
}


def store_error(error, path, action="write", kept="What was there before is unchanged."):
    """Returns the `StoreError` that words an `OSError`: what failed, why, what is left, how to go on.

    Args:
        error: the `OSError`.
        path: what could not be written or read.
        action: "write" or "read", as in "could not write".
        kept: one sentence on what is left after the failure; empty to leave it out.
    """
    fallback = (error.strerror or str(error)).rstrip(".") + "."
    reason = _REASONS.get(error.errno, fallback)
    if action == "read" and error.errno == errno.ENOENT:
        reason = "There is no such file. Check the path."
    worded = StoreError(f"could not {action} {path}. {reason}" + (f" {kept}" if kept else ""))
    worded.errno = error.errno
    return worded


@contextlib.contextmanager
def disk(path, action="write", kept="What was there before is unchanged."):
    """Words every `OSError` of its block as a `StoreError` about `path`; zoo's own errors pass through."""
    try:
        yield
    except StoreError:
        raise
    except OSError as error:
        kept = kept if action == "write" else ""
        raise store_error(error, path, action, kept) from error


def make_folder(path):
    """Creates a folder and its parents where missing. Returns its `Path`.

    Raises:
        StoreError: it cannot be created.
    """
    with disk(path, kept=""):
        Path(path).mkdir(parents=True, exist_ok=True)
    return Path(path)


def _sync_folder(path):
    """Makes a rename in this folder survive a power cut, where the system can."""
    with contextlib.suppress(OSError):  # some network file systems cannot; the rename itself is still atomic
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def temporary_beside(path):
    """Returns an unused hidden path in the folder of `path`, recognised by `remove_temporary`."""
    path = Path(path)
    return path.with_name(f".{path.name[:160]}.{os.getpid()}-{secrets.token_hex(4)}{_TEMPORARY}")


def is_temporary(path):
    """Says whether a path is what a writer has begun, or has left when it was killed."""
    return path.name.startswith(".") and path.name.endswith(_TEMPORARY)


def remove_temporary(folder):
    """Removes what killed writers left in a folder. Call it only while holding that folder's lock."""
    with contextlib.suppress(OSError):
        for path in Path(folder).glob(f".*{_TEMPORARY}"):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def write_atomic(path, content):
    """Writes a file so that at any moment its old or its new content is there, never a part of it.

    Args:
        path: the file; its folder must exist.
        content: `bytes`, a `str` (written as UTF-8), or a function that takes the open binary file and writes to it.

    Returns:
        `Path` of the file.

    Raises:
        StoreError: the disk is full, read-only or not writable; the old file is intact and nothing is left beside it.
    """
    path = Path(path)
    temporary = temporary_beside(path)
    with disk(path):
        try:
            with open(temporary, "xb") as file:
                if callable(content):
                    content(file)
                else:
                    file.write(content.encode("utf-8") if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)
    return path


def write_picture(path, figure, dpi=130):
    """Writes a matplotlib figure as a PNG, whole or not at all. Returns its path."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=dpi, metadata={"Software": None})
    return write_atomic(Path(path), picture.getvalue())


@contextlib.contextmanager
def staged_file(path):
    """Gives a path to write to, for code that wants a name; when the block ends well, it takes the place of `path`.

    What the block leaves beside it is removed, and the file gets the permissions that files get here.

    Raises:
        StoreError: as `write_atomic`.
    """
    path = Path(path)
    stage = temporary_beside(path)
    try:
        with disk(path):
            stage.mkdir()
            yield stage / "file"
            with open(stage / "file", "rb+") as file:
                os.fsync(file.fileno())
            os.chmod(stage / "file", stage.stat().st_mode & 0o666)
            os.replace(stage / "file", path)
            _sync_folder(path.parent)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def write_json(path, value):
    """Writes `value` as indented UTF-8 JSON, atomically. Returns the `Path`."""
    return write_atomic(path, json_bytes(value))


def json_bytes(value):
    """Returns `value` as JSON bytes: the same value gives the same bytes, and only standard JSON comes out.

    Raises:
        InvalidArgument: a value is not JSON: NaN, an infinity, or an object of another type.
    """
    try:
        text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False, sort_keys=True)
        return (text + "\n").encode("utf-8")
    except (TypeError, ValueError) as error:
        raise invalid(f"cannot be stored as JSON ({error})", value) from error


def strict_json(data):
    """Returns what the bytes of a JSON file hold that a stranger wrote.

    Raises:
        ValueError, RecursionError: they are not standard JSON in UTF-8, name something twice, or nest too deep.
    """
    return json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)


def _unique(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _no_constant(name):
    raise ValueError(f"{name} is not standard JSON")


def sha256_of(path):
    """Returns the SHA-256 of a file as 64 hex digits, reading it in pieces.

    Raises:
        StoreError: it cannot be read.
    """
    with disk(path, "read"), open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_regular(path):
    """Opens a file for reading in binary, refusing symbolic links, devices, pipes and folders.

    Raises:
        OSError: it cannot be opened, or is not a regular file (`errno.ELOOP` for a link, `errno.EINVAL` otherwise).
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    if Path(path).is_symlink():
        raise OSError(errno.ELOOP, "it is a symbolic link", str(path))
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return os.fdopen(descriptor, "rb")


def copy_hashed(source, destination, limit=None):
    """Copies a regular file in pieces while hashing it, and flushes it to the disk.

    Args:
        source: path of a regular file; a symbolic link is refused.
        destination: path of the copy; must not exist.
        limit: stop after this many bytes plus one, so that a file longer than announced is noticed, not stored.

    Returns:
        `(size, sha256)` of what was written.

    Raises:
        OSError: `source` cannot be read.
        StoreError: `destination` cannot be written; what was written of it is removed.
    """
    digest, size = hashlib.sha256(), 0
    with open_regular(source) as incoming:
        try:
            with disk(destination, kept="Nothing else was changed."), open(destination, "xb") as outgoing:
                while piece := incoming.read(CHUNK if limit is None else min(CHUNK, limit + 1 - size)):
                    digest.update(piece)
                    outgoing.write(piece)
                    size += len(piece)
                outgoing.flush()
                os.fsync(outgoing.fileno())
        except BaseException:
            with contextlib.suppress(OSError):
                Path(destination).unlink()
            raise
    return size, digest.hexdigest()


@contextlib.contextmanager
def staged_folder(target):
    """Gives an empty folder beside `target` to fill; when the block ends well, it takes the place of `target`.

    A reader sees the old folder, none, or the whole new one, never a part. When the block fails, what was filled is
    removed and `target` is as before.

    Raises:
        StoreError: the disk does not allow it.
    """
    target = Path(target)
    stage = temporary_beside(target)
    try:
        with disk(target):
            stage.mkdir()
            yield stage
            _sync_folder(stage)
            replace_folder(stage, target)
    except BaseException:
        shutil.rmtree(stage, ignore_errors=True)
        raise


def replace_folder(new, target):
    """Renames folder `new` to `target`; an old `target` is moved aside first and removed afterwards.

    Raises:
        StoreError: the disk does not allow it; the old `target` is then in its place.
    """
    new, target = Path(new), Path(target)
    aside = temporary_beside(target)
    with disk(target):
        if not target.exists():
            os.replace(new, target)
        else:
            os.replace(target, aside)
            try:
                os.replace(new, target)
            except BaseException:
                os.replace(aside, target)
                raise
            shutil.rmtree(aside, ignore_errors=True)
        _sync_folder(target.parent)


@contextlib.contextmanager
def locked(path, wait_seconds=600.0):
    """Holds a lock file, so that one process at a time runs the block; the system frees it when a process is killed.

    Args:
        path: the lock file, created where missing and left in place.
        wait_seconds: how long to wait for another holder.

    Raises:
        StoreError: the file cannot be written, or another process holds it for longer.
    """
    with disk(path, kept="Nothing was changed."):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        deadline = time.monotonic() + wait_seconds
        while not _try_lock(descriptor, path):
            if time.monotonic() > deadline:
                raise StoreError(
                    f"another process has held {path} for more than {wait_seconds:.0f} s. Nothing was changed. "
                    "Wait for it to end, or end it, and run the same command again."
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)  # closing frees the lock


def _try_lock(descriptor, path):
    with disk(path, kept="Nothing was changed."):
        try:
            if os.name == "nt":
                import msvcrt

                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
    return True


def check_writable(folder):
    """Raises before any long work if files cannot be created in `folder` or, where it is missing, in its parent.

    Raises:
        StoreError: with the reason.
    """
    place = Path(folder)
    while not place.exists() and place.parent != place:
        place = place.parent
    probe = temporary_beside(place / "probe")
    with disk(folder, kept="Nothing was changed."):
        if not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(place))
        try:
            probe.write_bytes(b"")
        finally:
            with contextlib.suppress(OSError):
                probe.unlink()
