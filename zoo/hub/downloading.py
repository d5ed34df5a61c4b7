"""One file of the Hub comes here through the Hub's own client: resumed, bounded, and compared with its hash.

The client checks no content, only sizes, so everything is hashed here. What a killed or broken transfer left lies
beside the destination as `.NAME.part`, and the next one goes on after it.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import time
import warnings
from pathlib import Path

from zoo.cache import progress
from zoo.errors import IntegrityError, StoreError
from zoo.files import CHUNK, disk, sha256_of
from zoo.hub.answers import NoAnswer, asked

ATTEMPTS = 4  # in a row that bring nothing new; the client makes six of its own in each
PAUSE = 1.0  # seconds after the first, doubled after each further one


def part_of(destination):
    """Returns where the unfinished copy of a file lies."""
    return Path(destination).with_name(f".{Path(destination).name}.part")


def git_sha1(path):
    """Returns the hash by which git names a file's content; `path` may be the bytes themselves."""
    content = path if isinstance(path, bytes) else None
    size = len(content) if content is not None else Path(path).stat().st_size
    digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    if content is not None:
        digest.update(content)
        return digest.hexdigest()
    with open(path, "rb") as file:
        while piece := file.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def digest(source, kind):
    """Returns the hash of a file's path or content; kind: "sha256" or "git-sha1", as `HubStore.hashes` gives it."""
    if kind == "git-sha1":
        return git_sha1(source)
    return hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else sha256_of(source)


def download(store, repo, commit, name, destination, size, known):
    """Brings one file of a commit to a path.

    Args:
        store: `HubStore`, for its addresses and its client.
        repo, commit, name: which file.
        destination: path; a whole copy that is there already is kept.
        size: in bytes, as the Hub lists it.
        known: `("sha256" or "git-sha1", hex)` as the Hub lists it.

    Raises:
        NoAnswer: the connection broke off `ATTEMPTS` times without a new byte; the part that came is kept.
        IntegrityError: what came is not what the Hub lists; nothing of it is kept.
        StoreError: the disk has no room for it, or the Hub refuses.
    """
    part = part_of(destination)
    if destination.is_file() and not destination.is_symlink() and _is(destination, size, known):
        return
    destination.unlink(missing_ok=True)
    _copy_from_client(repo, commit, name, part, size, known)
    for fresh in (False, True):
        begun = _length(part)
        if begun > size:
            part.unlink()
            begun = 0
        _check_room(part, size - begun)
        if begun < size or size == 0:
            _transfer(store, repo, commit, name, part, size)
        if _is(part, size, known):
            os.replace(part, destination)
            return
        part.unlink(missing_ok=True)
        if fresh or not begun:
            break  # a part of another time may have been bad; what came in one piece was sent so
    raise IntegrityError(
        f"{name} of {store.label(repo)}@{commit[:12]} was changed on the way: its bytes do not have the hash that the "
        "Hub lists. Nothing of it was kept. Run the same command again; if that does not help, a proxy or a mirror "
        "between here and the Hub alters files."
    )


def _length(path):
    return path.stat().st_size if path.is_file() and not path.is_symlink() else 0


def _is(path, size, known):
    return path.stat().st_size == size and digest(path, known[0]) == known[1]


def _check_room(part, needed):
    """Raises before a long transfer if the disk cannot take it."""
    with disk(part.parent, "read"):
        free = shutil.disk_usage(part.parent).free
    if needed > free:
        full = StoreError(
            f"{part.parent} has {free:,} bytes free and {needed:,} are needed. Nothing was kept. Free some space "
            "(`zoo cache prune` helps), or set ZOO_CACHE to a folder on a larger disk."
        )
        full.errno = errno.ENOSPC
        raise full


def _copy_from_client(repo, commit, name, part, size, known):
    """Takes the file from the client's own cache where another program fetched it, if it is whole there."""
    from huggingface_hub import try_to_load_from_cache

    if _length(part):
        return
    found = try_to_load_from_cache(repo, name, revision=commit)
    with contextlib.suppress(OSError, StoreError):  # it is only a shortcut
        if isinstance(found, str) and _is(Path(found), size, known):
            shutil.copyfile(found, part)  # links there lead to the content, which is copied


def _transfer(store, repo, commit, name, part, size):
    """Fills the part, going on after what it has; begins anew after a broken connection while new bytes come."""
    where = f"{store.label(repo)}@{commit[:12]}"
    with progress(f"{repo}: {name}", size, store.quiet) as advance:
        advance(_length(part))
        left = ATTEMPTS
        while True:
            before = _length(part)
            try:
                asked(lambda: _once(store, repo, commit, name, part, size, advance), where)
                return
            except NoAnswer:
                gained = _length(part) > before
                left = ATTEMPTS if gained else left - 1
                if left == 0 or store.offline:
                    raise
                time.sleep(PAUSE * 2 ** max(0, ATTEMPTS - left - 1))


def _once(store, repo, commit, name, part, size, advance):
    """Makes one transfer with the client, by Xet where the Hub offers it for the file and the client has it on."""
    from huggingface_hub.file_download import get_hf_file_metadata, hf_hub_url, http_get, is_xet_available
    from huggingface_hub.utils import build_hf_headers

    api = store.api()
    url = hf_hub_url(repo, name, revision=commit, endpoint=api.endpoint)
    by_xet = is_xet_available() and size > CHUNK and not _length(part)
    if by_xet and get_hf_file_metadata(url, endpoint=api.endpoint).xet_file_data is not None:
        try:
            asked(lambda: _by_xet(api, repo, commit, name, part, advance), store.label(repo))
            return
        except StoreError as error:
            if error.errno is not None:
                raise  # the disk's
            warnings.warn(f"Xet did not bring {name} ({error}); fetching it the plain way", stacklevel=2)
    # Not compressed, so that a byte of the file is a byte of the answer and a later attempt can go on after it.
    headers = build_hf_headers(**store.agent) | {"Accept-Encoding": "identity"}
    with _Part(part, size) as file, _small_steps():
        bar = _bar(advance)
        http_get(
            url,
            file,
            resume_size=file.tell(),
            headers=headers,
            expected_size=size,
            displayed_filename=name,
            tqdm_class=bar,
        )


@contextlib.contextmanager
def _small_steps():
    """Lets the client hand on what came every MiB: at its 10 MiB a slow line looks dead, and a kill loses as much."""
    from huggingface_hub import constants

    usual = constants.DOWNLOAD_CHUNK_SIZE
    constants.DOWNLOAD_CHUNK_SIZE = min(usual, CHUNK)
    try:
        yield
    finally:
        constants.DOWNLOAD_CHUNK_SIZE = usual


def _by_xet(api, repo, commit, name, part, advance):
    """Fetches a file through the client's Xet storage, which goes on after what it has in chunks of its own."""
    folder = part.with_name(f"{part.name}-xet")
    try:
        found = api.hf_hub_download(repo, name, revision=commit, local_dir=folder, tqdm_class=_bar(advance))
        os.replace(found, part)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Part:
    """The unfinished file, which takes no more bytes than were announced."""

    def __init__(self, path, size):
        with disk(path, kept="Nothing else was changed."):
            self._file = open(path, "ab")  # noqa: SIM115  closed by __exit__
        self._size = size

    def __enter__(self):
        return self

    def __exit__(self, *failed):
        self._file.close()

    def write(self, piece):
        if self._file.tell() + len(piece) > self._size:
            raise IntegrityError(
                f"{Path(self._file.name).name[1:-5]} is longer than the {self._size:,} bytes that the Hub lists. "
                "Nothing of it was kept. Pull another revision, or ask whoever published it."
            )
        return self._file.write(piece)

    def tell(self):
        return self._file.tell()

    def seek(self, position):
        return self._file.seek(position)

    def truncate(self):
        return self._file.truncate()


def _bar(advance):
    """Returns the class by which the client reports progress, made to advance our bar and to draw nothing itself."""
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        def __init__(self, *args, **keywords):
            super().__init__(*args, **{**keywords, "disable": True})

        def update(self, n=1):
            advance(n)

    return Bar
