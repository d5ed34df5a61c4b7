"""Image files looked at before anyone trains on them: which can be read, which cannot, and why.

Every file is decoded once. What was found is remembered in the cache by path, size and time of change, so that the
next look takes a moment. Pillow raises on most damage, but not on a JPEG whose end is missing or blank, nor on a PNG
whose checksums are wrong; those are looked at here. Bytes altered in the middle of a JPEG still are a picture, to
every decoder, and pass.
"""

import concurrent.futures
import contextlib
import hashlib
import io
import json
import os
import stat
import time
import warnings
from dataclasses import astuple, dataclass
from pathlib import Path

from zoo.cache import cache_folder, progress
from zoo.data.images import UNREADABLE, in_mode, no_image, orientation, upright
from zoo.errors import DataError, DataWarning, StoreError, worded
from zoo.files import make_folder, write_atomic

HEIC_ENDINGS = (".heic", ".heif", ".hif")
ENDINGS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".avif")
ENDINGS += HEIC_ENDINGS
LITTER = {"thumbs.db", "desktop.ini", "icon\r"}  # beside what begins with a dot, as on a Mac
LITTER_FOLDERS = {"__MACOSX", "@eaDir", "lost+found"}
SHOWN = 20  # files that a message names
_VERSION = 1  # of what a look finds; remembered looks of another are made again
_LARGEST = 1 << 30  # bytes


@dataclass(frozen=True)
class Look:
    """What one file is: upright (height, width) in pixels, whether it is grey, SHA-256; or why it cannot be read."""

    size: tuple | None = None
    grey: bool = False
    sha256: str | None = None
    problem: str | None = None


def look(path):
    """Returns the `Look` of one file, decoding it."""
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            return Look(problem="it is not a file")
        if found.st_size > _LARGEST:
            return Look(problem="it is larger than 1 GiB")
        data = Path(path).read_bytes()
    except OSError as error:
        return Look(problem=error.strerror or str(error))
    if not data:
        return Look(problem="it is empty")
    from PIL import Image

    try:
        size, grey = _decoded(data)
    except Image.UnidentifiedImageError:
        return Look(problem=no_image(io.BytesIO(data)))
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        return Look(problem=str(error) or type(error).__name__)
    return Look(size, grey, hashlib.sha256(data).hexdigest())


def _decoded(data):
    """Returns `((height, width), is grey)` of an encoded image, of which every byte has been through the decoder."""
    from PIL import Image

    jpeg, png = data.startswith(b"\xff\xd8\xff"), data.startswith(b"\x89PNG")
    if (jpeg and not _jpeg_ends(data)) or (png and b"IEND\xaeB`\x82" not in data):
        raise OSError("the file is cut off")
    with Image.open(io.BytesIO(data)) as image:
        if image.mode[:1] in "IF":
            raise ValueError("it has more than 8 bits a channel: convert it to 8 bits")
        grey = image.mode in ("1", "L", "LA")
        if jpeg:
            width, height = image.size
            image.draft(None, (width // 8, height // 8))  # reads all of it, but makes an eighth of the pixels
            image.load()
            return ((width, height) if orientation(image) > 4 else (height, width)), grey
        if png:
            with Image.open(io.BytesIO(data)) as again:
                again.verify()  # the checksums
        turned = upright(image)
        if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK"):
            in_mode(turned, "RGB")  # some, such as LAB, have no way there
        return (turned.height, turned.width), grey


def _jpeg_ends(data):
    """Says whether a JPEG has the mark of its end after its pixels; cameras append more, a thumbnail has one before."""
    place = 2
    while data[place : place + 1] == b"\xff":
        kind = data[place + 1 : place + 2]
        if kind == b"\xda":  # the pixels begin, in which this mark cannot occur
            return data.find(b"\xff\xd9", place) > 0
        if kind == b"\xff":  # padding
            place += 1
            continue
        place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return False


def look_at(files, title, root=None):
    """Returns the `Look` of each file, in order; decoded on every core unless remembered.

    Args:
        files: paths.
        title: what they are, for the progress bar in a terminal.
        root: folder that they lie in, under which they are remembered; that of the first by default.
    """
    if not files:
        return []
    files = [os.path.abspath(f) for f in files]
    key = os.path.abspath(root or os.path.dirname(files[0]))
    notes = cache_folder("images", f"{hashlib.sha256(os.fsencode(key)).hexdigest()[:32]}.json")
    known, stamps = _remembered(notes), [_stamp(file) for file in files]
    found = {f: known[f][1] for f, s in zip(files, stamps, strict=True) if s and f in known and known[f][0] == s}
    missing = [f for f in files if f not in found]
    if not missing:
        return [found[f] for f in files]
    bar = progress(f"checking {title}", len(missing), len(missing) < 20, of_bytes=False)
    with warnings.catch_warnings(), bar as advance:
        warnings.simplefilter("ignore")  # of damaged EXIF and large pictures; here, as it holds for every thread
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for file, seen in zip(missing, pool.map(look, missing), strict=True):
                found[file] = seen
                advance(1)
    now = time.time_ns()
    settled = {
        f: [s, astuple(found[f])]
        for f, s in zip(files, stamps, strict=True)
        if s and found[f].problem is None and now - s[1] > 2e9  # a change within the clock's tick would go unseen
    }
    with contextlib.suppress(StoreError):  # a cache that cannot be written costs time only
        make_folder(notes.parent)
        write_atomic(notes, json.dumps({"version": _version(), "files": settled}))
    return [found[f] for f in files]


def _version():
    import PIL

    return [_VERSION, PIL.__version__]


def _stamp(file):
    try:
        found = os.stat(file)
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def _remembered(notes):
    """Returns path -> (stamp, `Look`) of an earlier look; nothing where it cannot be read or is of another version."""
    try:
        kept = json.loads(notes.read_bytes())
        if kept["version"] != _version():
            return {}
        rows = kept["files"].items()
        return {file: (stamp, Look(tuple(size), *rest)) for file, (stamp, (size, *rest)) in rows}
    except (OSError, ValueError, TypeError, LookupError, AttributeError):
        return {}


def is_litter(name):
    """Says whether a file of this name is one that systems leave behind: `.DS_Store`, `._x.jpg`, `Thumbs.db`."""
    return name.startswith(".") or name.lower() in LITTER


def images_below(folder):
    """Returns `(image files, other files)` below a folder, each sorted the same way on every system.

    What begins with a dot and what systems leave behind (Thumbs.db, __MACOSX) is in neither.

    Raises:
        DataError: the folder, or one in it, cannot be read.
    """

    def fail(error):
        raise DataError(worded(f"folder {error.filename!r} cannot be read ({error.strerror})")) from error

    files = []
    for root, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [f for f in folders if not f.startswith(".") and f not in LITTER_FOLDERS]
        files += [os.path.join(root, name) for name in names if not is_litter(name)]
    files.sort(key=lambda f: Path(f).relative_to(folder).parts)
    images = [f for f in files if f.lower().endswith(ENDINGS)]
    return images, [f for f in files if not f.lower().endswith(ENDINGS)]


def usable(files, root, title, skip_bad):
    """Looks at files and returns `(those that can be read, their looks, a line on each other)`.

    Args:
        files: paths.
        root: folder that names in messages are relative to.
        title: what the files are, for messages: "folder 'pets'".
        skip_bad: whether files that cannot be read are left out with a warning.

    Raises:
        DataError: some cannot be read and `skip_bad` is False; the message names up to `SHOWN` of them with reasons.
    """
    looks = look_at(files, title, root)
    lines = [f"{shown(file, root)}: {seen.problem}" for file, seen in zip(files, looks, strict=True) if seen.problem]
    _complain(lines, len(files), title, skip_bad)
    good = [(file, seen) for file, seen in zip(files, looks, strict=True) if not seen.problem]
    return [file for file, _ in good], [seen for _, seen in good], lines


def _complain(lines, total, title, skip_bad):
    """Refuses files that cannot be read, a line each, or warns of them."""
    wrong = f"{len(lines):,} of {total:,} images of {title} cannot be read"
    if lines and not skip_bad:
        works = "Repair or remove them, or pass skip_bad=True (--skip-bad) to leave them out"
        raise DataError(f"{wrong}. {works}:{listed(lines)}")
    if lines:
        warnings.warn(DataWarning(f"{wrong} and are left out:{listed(lines)}"), stacklevel=3)


def listed(lines):
    """Returns lines as the indented end of a message, the first of them and how many more there are."""
    more = [f"and {len(lines) - SHOWN:,} more"] if len(lines) > SHOWN else []
    return "".join(f"\n  {line}" for line in [*lines[:SHOWN], *more])


def shown(file, root=None):
    """Returns a path for a message, relative to `root`, with slashes, and printable whatever its bytes are."""
    name = Path(file).relative_to(root).as_posix() if root is not None else str(file)
    return name.encode("utf-8", "backslashreplace").decode()


def named_images(items, skip_bad):
    """Returns what a model for images is to predict from: folders become the images below them, all are looked at.

    Args:
        items: raw inputs; those that are neither strings nor paths stay as they are.
        skip_bad: whether image files that cannot be read are left out with a warning.

    Raises:
        DataError: as `usable`, or a folder holds no image.
    """
    found, expanded = [], False
    for item in items:
        folder = isinstance(item, (str, Path)) and os.path.isdir(os.path.expanduser(item))
        expanded |= folder
        if folder:
            inside, _ = images_below(os.path.expanduser(item))
            if not inside:
                raise DataError(worded(f"folder {str(item)!r} holds no image", works=endings_known()))
            found += inside
        else:
            found.append(item)
    places = [i for i, item in enumerate(found) if isinstance(item, (str, Path))]
    if len(places) < 2 and not (expanded or skip_bad):
        return found  # reading it says as much
    looks = look_at([os.path.expanduser(found[i]) for i in places], "images")
    bad = {i: seen.problem for i, seen in zip(places, looks, strict=True) if seen.problem}
    _complain([f"{shown(found[i])}: {problem}" for i, problem in bad.items()], len(places), "those given", skip_bad)
    return [item for i, item in enumerate(found) if i not in bad]


def endings_known():
    """Returns a sentence about the file endings that are taken for images."""
    return f"Images end with {', '.join(e for e in ENDINGS if e not in HEIC_ENDINGS)}."
