"""A folder of images as a data set: one folder per class, decoded batch by batch so that memory stays flat."""

import concurrent.futures
import functools
import os
import unicodedata
from collections import Counter
from pathlib import Path

import numpy as np

from zoo.data import base, image_files, preprocessing
from zoo.data.stratifying import parts_by_content, warn_of_copies, warn_of_small
from zoo.errors import DataError, invalid, nearest, worded

PART_NAMES = {"train": "train", "validation": "validation", "valid": "validation", "val": "validation", "test": "test"}
KEPT = (
    256 << 20
)  # bytes of decoded pictures that stay in memory: decoding a phone's photograph takes longer than a step


class Pixels:
    """The pixels of image files as one preprocessing takes them, the first `KEPT` bytes of them decoded once only."""

    def __init__(self, declared):
        self.declared, self._kept, self._room = declared, {}, KEPT

    def of(self, paths):
        """Returns the raw pixels of some files, (n, H, W, C); those not kept are decoded on every core."""
        missing = [path for path in dict.fromkeys(paths) if path not in self._kept]
        found = {}
        if missing:
            with concurrent.futures.ThreadPoolExecutor(min(len(missing), os.cpu_count())) as pool:
                read = functools.partial(preprocessing.file_pixels, self.declared)
                found = dict(zip(missing, pool.map(read, missing), strict=True))
        for path, pixels in found.items():
            if pixels.nbytes <= self._room and path not in self._kept:
                self._room -= pixels.nbytes
                self._kept[path] = pixels
        return np.stack([found[path] if path in found else self._kept[path] for path in paths])


class FileSplit(base.Split):
    """Images in files, decoded as they are read.

    Args:
        paths: of the image files.
        labels: integers (n,).
        pixels: `Pixels`, which splits of the same preprocessing share.
    """

    def __init__(self, paths, labels, pixels):
        super().__init__(labels)
        self.paths, self._pixels = np.asarray(paths, object), pixels

    def inputs(self, indices):
        return preprocessing.encode_array(self._pixels.declared, self._pixels.of(list(self.paths[indices])))

    def subset(self, indices):
        indices = np.asarray(indices, np.int64)
        return FileSplit(self.paths[indices], self.labels[indices], self._pixels)

    def read_as(self, declared):
        return FileSplit(self.paths, self.labels, Pixels(declared))

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
    resize: str | None = None,
    validation_share: float = 0.1,
    test_share: float = 0.2,
    seed: int = 0,
    skip_bad: bool = False,
    like: dict | None = None,
):
    """Loads a folder of images, `<class>/*` or `train/<class>/*` with optional `validation/` and `test/` beside.

    A class is a folder's name; classes are sorted. Parts that have no folder are held out, each class in proportion;
    which file goes where is decided by its content, see `zoo.data.stratifying`. Every file is decoded once before
    anything else happens.

    Args:
        path: the folder.
        image_size: (height, width) that every image is resized to; None demands that all have one size.
        channels: 1 for grey or 3 for colours; None takes grey only if every image is grey.
        resize: Pillow's filter: "nearest", "bilinear" (with `image_size`, by default), "bicubic" or "lanczos".
        validation_share, test_share: shares of the different images of each class that are held out where there is no
            such folder; each class with three of them has one in every part.
        seed: of the choice.
        skip_bad: whether images that cannot be read are left out with a warning, instead of refused.
        like: `declared`, the preprocessing of a trained model, which then decides; see `zoo.data.load_like`.

    Raises:
        DataError: no images, one class only, mixed sizes, images that cannot be read (all of them are named), or a
            class that the training part lacks.
    """
    path = Path(path)
    _check_options(image_size, channels, resize)
    found, others = _scan(path)
    title = f"folder {path.resolve().name!r}"
    files = [(part, name, file) for part in base.PARTS for name, file in found[part]]
    good, looks, bad = image_files.usable([file for _, _, file in files], path, title, skip_bad)
    seen = dict(zip(good, looks, strict=True))
    found = {part: [(name, file) for name, file in rows if file in seen] for part, rows in found.items()}
    names = _classes(path, found)
    declared = _declared(path, seen, image_size, channels, resize, (like or {}).get("declared"))
    pixels = Pixels(declared)
    splits = {
        part: FileSplit([file for _, file in rows], [names.index(name) for name, _ in rows], pixels)
        for part, rows in found.items()
        if rows
    }
    hashes = {part: [seen[file].sha256 for _, file in rows] for part, rows in found.items()}
    shares = {p: s for p, s in (("test", test_share), ("validation", validation_share)) if p not in splits}
    rows = parts_by_content(splits["train"].labels, hashes["train"], shares, seed)
    splits |= {part: splits["train"].subset(indices) for part, indices in rows.items()}
    splits = {part: splits[part] for part in base.PARTS}
    warn_of_small(names, splits)
    warn_of_copies({p: [(n, image_files.shown(f, path), seen[f].sha256) for n, f in r] for p, r in found.items()})
    return base.Dataset(
        name=path.resolve().name,
        task="image_classification",
        labels=tuple(names),
        preprocessing=declared,
        **splits,
        source=_source(path, len(good), others, bad),
    )


def _source(path, count, others, bad):
    """Returns what a run records of a folder: how many images, what was left out, and why."""
    said = [f"Folder {path.resolve().name!r} with {count:,} images"]
    if others:
        kinds = Counter(Path(file).suffix.lower() or "no ending" for file in others)
        counted = ", ".join(f"{n:,} {kind}" for kind, n in sorted(kinds.items()))
        said.append(f"{len(others):,} file{'s' if len(others) > 1 else ''} of other kinds left out ({counted})")
    if bad:
        more = f"; and {len(bad) - image_files.SHOWN:,} more" if len(bad) > image_files.SHOWN else ""
        named = "; ".join(bad[: image_files.SHOWN]) + more
        said.append(f"{len(bad):,} image{'s' if len(bad) > 1 else ''} that cannot be read left out ({named})")
    return ", ".join(said) + "."


def _classes(path, found):
    """Returns the sorted names of the classes that the training part has, checked against the other parts."""
    names = sorted({name for name, _ in found["train"]})
    if len(names) < 2:
        works = "A classifier needs at least two folders of images: one per class."
        raise DataError(worded(f"folder {str(path)!r} holds one class only", received=names, works=works))
    for part in ("validation", "test"):
        strange = sorted({name for name, _ in found[part]} - set(names))
        if strange:
            close = nearest(strange[0], names)
            works = f"Did you mean {close!r}?" if close else "Every class needs training images."
            raise DataError(worded(f"class {strange[0]!r} is in the {part} part but not in train", works=works))
    return names


def _check_options(image_size, channels, resize):
    if image_size is not None and not (
        len(image_size) == 2 and all(type(n) is int and 1 <= n <= 10000 for n in image_size)
    ):
        raise invalid("`image_size` must be (height, width) in pixels", image_size, "For example (64, 64).")
    if channels not in (None, 1, 3):
        raise invalid("`channels` must be 1 (grey), 3 (colours) or None (as the images are)", channels)
    if resize not in (None, *preprocessing.RESIZES):
        raise invalid("`resize` is not a filter of Pillow", resize, "Known: " + ", ".join(preprocessing.RESIZES) + ".")


def _subfolders(path):
    names = (p.name for p in path.iterdir() if p.is_dir())
    return sorted(n for n in names if not n.startswith(".") and n not in image_files.LITTER_FOLDERS)


def _scan(path):
    """Returns `(part -> [(class, file)], other files)`, sorted the same way on every system."""
    found, others = {part: [] for part in base.PARTS}, []
    try:
        inside = _subfolders(path)
        parts = {path / name: PART_NAMES[name] for name in inside} if inside and set(inside) <= set(PART_NAMES) else {}
        for root, part in (parts or {path: "train"}).items():
            others += [p for p in root.iterdir() if p.is_file() and not image_files.is_litter(p.name)]
            for name in _subfolders(root):
                images, left = image_files.images_below(root / name)
                others += left
                if not images:
                    works = image_files.endings_known()
                    raise DataError(worded(f"class folder {str(root / name)!r} holds no image", works=works))
                # a Mac writes the letters of a name apart from their accents
                found[part] += [(unicodedata.normalize("NFC", name), file) for file in images]
    except OSError as error:
        raise DataError(worded(f"folder {str(path)!r} cannot be read ({error.strerror})")) from error
    if not found["train"]:
        loose = image_files.images_below(path)[0]
        works = "Put the images of each class in a folder of its own: cats/1.png, dogs/1.png."
        if parts:
            works = f"Found {', '.join(inside)}, but the folder train/<class>/ has no image."
        elif loose:
            works = f"Found {Path(loose[0]).name!r} outside any class. {works}"
        raise DataError(worded(f"folder {str(path)!r} holds no folder of images", works=works))
    return found, others


def _declared(path, seen, image_size, channels, resize, model):
    """Returns the image declaration to read every file with: a model's own, or one that fits the files.

    Args:
        path: of the folder.
        seen: file -> `Look`.
        image_size, channels, resize: as given.
        model: the declaration of a trained model, or None.
    """
    if model is not None:
        height, width, depth = model["image_shape"]
        for name, given, own in (("image_size", image_size, (height, width)), ("channels", channels, depth)):
            if given not in (None, own):
                raise invalid(f"the model decides `{name}`, which is {own}", given, "Leave it out.", error=DataError)
        if resize is not None:
            return {**model, "resize": resize}
        for file, look in seen.items():
            if not model.get("resize") and look.size != (height, width):
                wrong = f"image {image_files.shown(file, path)!r} is {_shown(look.size)}"
                wrong += f", the model takes {_shown((height, width))}, and its preprocessing resizes nothing"
                works = "Pass resize='bilinear' (--data-option resize=bilinear) to resize every image."
                raise DataError(worded(wrong, works=works))
        return model
    first = next(iter(seen))
    for file, look in seen.items():
        if image_size is None and look.size != seen[first].size:
            a, b = (f"{image_files.shown(f, path)!r} is {_shown(seen[f].size)}" for f in (first, file))
            example = seen[first].size if max(seen[first].size) <= 512 else (224, 224)
            works = f"Pass image_size=(height, width) to resize every image, for example image_size={example}."
            raise DataError(worded(f"images have different sizes: {a}, {b}", works=works))
    grey = all(look.grey for look in seen.values())
    shape = (*(image_size or seen[first].size), channels or (1 if grey else 3))
    return preprocessing.image_declaration(shape, resize=None if image_size is None else resize or "bilinear")


def _shown(size):
    return f"{size[0]} x {size[1]}"
