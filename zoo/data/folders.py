"""A folder of images as a data set: one folder per class, decoded batch by batch so that memory stays flat."""

import os
from pathlib import Path

import numpy as np

from zoo.data import base, preprocessing
from zoo.errors import DataError, invalid, nearest, worded

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
PART_NAMES = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}  # what a whole file ends with


class FileSplit(base.Split):
    """Images in files, decoded as they are read.

    Args:
        paths: of the image files.
        labels: integers (n,).
        declared: the data set's preprocessing.
    """

    def __init__(self, paths, labels, declared):
        super().__init__(labels)
        self.paths, self._declared = np.asarray(paths, object), declared

    def inputs(self, indices):
        return preprocessing.encode(self._declared, list(self.paths[indices]))

    def subset(self, indices):
        indices = np.asarray(indices, np.int64)
        return FileSplit(self.paths[indices], self.labels[indices], self._declared)

    def read_as(self, declared):
        return FileSplit(self.paths, self.labels, declared)

    def digest(self, update):
        for path in self.paths:
            try:
                update(Path(path).read_bytes())
            except OSError as error:
                raise DataError(worded(f"image {path} can no longer be read ({error.strerror})")) from error


def load_folder(
    path,
    *,
    image_size: tuple | None = None,
    channels: int | None = None,
    resize: str = "bilinear",
    validation_share: float = 0.1,
    test_share: float = 0.2,
    seed: int = 0,
):
    """Loads a folder of images, `<class>/*` or `train/<class>/*` with optional `validation/` and `test/` beside.

    A class is a folder's name; classes are sorted. Parts that have no folder are held out, stratified.

    Args:
        path: the folder.
        image_size: (height, width) that every image is resized to; None demands that all have one size.
        channels: 1 for grey or 3 for colours; None takes grey only if every image is grey.
        resize: Pillow's filter for `image_size`: "nearest", "bilinear", "bicubic" or "lanczos".
        validation_share, test_share: shares of all examples that are held out where there is no such folder.
        seed: of the choice.

    Raises:
        DataError: no images, one class only, mixed sizes, an unreadable or cut-off image, or a class that the
            training part lacks; the message names the file or the class.
    """
    path = Path(path)
    _check_options(image_size, channels, resize)
    found, left_out = _scan(path)
    names = sorted({name for name, _ in found["train"]})
    if len(names) < 2:
        works = "A classifier needs at least two folders of images: one per class."
        raise DataError(worded(f"folder {str(path)!r} holds one class only", received=names[0], works=works))
    for part in ("validation", "test"):
        strange = sorted({name for name, _ in found[part]} - set(names))
        if strange:
            close = nearest(strange[0], names)
            works = f"Did you mean {close!r}?" if close else "Every class needs training images."
            raise DataError(worded(f"class {strange[0]!r} is in the {part} part but not in train", works=works))
    files = {part: [file for _, file in rows] for part, rows in found.items()}
    declared = _declared(path, [f for part in base.PARTS for f in files[part]], image_size, channels, resize)
    splits = {
        part: FileSplit(files[part], [names.index(name) for name, _ in found[part]], declared)
        for part in base.PARTS
        if files[part]
    }
    splits = base.completed(splits, validation_share, test_share, seed)
    total = sum(map(len, splits.values()))
    clutter = f", {left_out:,} files of other kinds left out" if left_out else ""
    return base.Dataset(
        name=path.resolve().name,
        task="image_classification",
        labels=tuple(names),
        preprocessing=declared,
        **splits,
        source=f"Folder {path.resolve().name!r} with {total:,} images{clutter}.",
    )


def _check_options(image_size, channels, resize):
    if image_size is not None and not (
        len(image_size) == 2 and all(type(n) is int and 1 <= n <= 10000 for n in image_size)
    ):
        raise invalid("`image_size` must be (height, width) in pixels", image_size, "For example (64, 64).")
    if channels not in (None, 1, 3):
        raise invalid("`channels` must be 1 (grey), 3 (colours) or None (as the images are)", channels)
    if resize not in preprocessing.RESIZES:
        raise invalid("`resize` is not a filter of Pillow", resize, "Known: " + ", ".join(preprocessing.RESIZES) + ".")


def _subfolders(path):
    return sorted(p.name for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _scan(path):
    """Returns `(part -> [(class, file)], number of other files)`, sorted."""
    found, left_out = {part: [] for part in base.PARTS}, 0
    try:
        inside = _subfolders(path)
        parts = {path / name: PART_NAMES[name] for name in inside} if inside and set(inside) <= set(PART_NAMES) else {}
        for root, part in (parts or {path: "train"}).items():
            for name in _subfolders(root):
                images, others = _images(root / name)
                left_out += others
                if not images:
                    works = f"Images end with {', '.join(IMAGE_ENDINGS)}."
                    raise DataError(worded(f"class folder {str(root / name)!r} holds no image", works=works))
                found[part] += [(name, file) for file in images]
    except OSError as error:
        raise DataError(worded(f"folder {str(path)!r} cannot be read ({error.strerror})")) from error
    if not found["train"]:
        loose = _images(path)[0]
        works = "Put the images of each class in a folder of its own: cats/1.png, dogs/1.png."
        if parts:
            works = f"Found {', '.join(inside)}, but the folder train/<class>/ has no image."
        elif loose:
            works = f"Found {Path(loose[0]).name!r} outside any class. {works}"
        raise DataError(worded(f"folder {str(path)!r} holds no folder of images", works=works))
    return found, left_out


def _images(folder):
    """Returns the image files under a folder, sorted the same way on every system, and how many other files."""
    files = []
    for root, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".")]
        files += [os.path.join(root, n) for n in names if not n.startswith(".")]
    images = [f for f in files if f.lower().endswith(IMAGE_ENDINGS)]
    return sorted(images, key=lambda f: Path(f).relative_to(folder).parts), len(files) - len(images)


def _declared(path, files, image_size, channels, resize):
    """Returns the image declaration that fits every file, from the files' headers."""
    first, grey = None, True
    for file in files:
        size, is_grey = _header(file, path)
        grey = grey and is_grey
        if first is None:
            first = size, file
        elif image_size is None and size != first[0]:
            a, b = (str(Path(f).relative_to(path)) for f in (first[1], file))
            wrong = f"images have different sizes: {a!r} is {_shown(first[0])}, {b!r} is {_shown(size)}"
            works = f"Pass image_size=(height, width) to resize every image, for example image_size={first[0]}."
            raise DataError(worded(wrong, works=works))
    shape = (*(image_size or first[0]), channels or (1 if grey else 3))
    return preprocessing.image_declaration(shape, resize=None if image_size is None else resize)


def _shown(size):
    return f"{size[0]} x {size[1]}"


def _header(file, root):
    """Returns `((height, width), is grey)` without decoding the pixels; a file that was cut off raises."""
    from PIL import Image

    try:
        with Image.open(file) as image:
            width, height = image.size
            if image.mode[:1] in "IF":
                works = "Convert it to 8 bits first; cutting the values off would change the picture."
                shown = str(Path(file).relative_to(root))
                raise DataError(
                    worded(f"image {shown!r} has more than 8 bits a channel", received=image.mode, works=works)
                )
            if image.format == "JPEG" and image.getexif().get(0x0112, 1) in (5, 6, 7, 8):  # lies on its side
                width, height = height, width
            end = _ENDS.get(image.format)
            grey = image.mode in ("1", "L", "LA")
        if end is not None:
            with open(file, "rb") as tail:
                tail.seek(max(0, os.path.getsize(file) - 1024))
                if end not in tail.read():  # some cameras append a few bytes
                    raise OSError("the file is cut off")
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        shown = str(Path(file).relative_to(root))
        reason = "it is not an image" if type(error).__name__ == "UnidentifiedImageError" else error
        works = "Remove or replace it."
        raise DataError(worded(f"image {shown!r} cannot be read ({reason})", works=works)) from error
    return (height, width), grey
