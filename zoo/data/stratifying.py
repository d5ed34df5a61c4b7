"""Holding examples out of a folder: each class in proportion, by content, so that the choice outlasts the folder.

Which part a file goes to depends on its bytes, its class, the shares and the seed; not on its name, its date, the
order that the system lists it in or the machine. A file that is added or taken away moves at most one other file of
its class over each border between two parts. Files of the same bytes never lie in two parts.
"""

import hashlib
import math
import warnings
from collections import Counter

import numpy as np

from zoo.data.image_files import listed
from zoo.errors import DataError, DataWarning, invalid


def parts_by_content(labels, hashes, shares, seed):
    """Chooses the examples of each part.

    Of `g` different files of a class, a part with share s gets s * g, rounded, and at least one; training keeps at
    least one. With two files there is one for the first of the parts and one for training, with one for training only.
    Files that lie in several classes stay in training, where they cannot flatter a score.

    Args:
        labels: integers (n,).
        hashes: of each example's content, n strings.
        shares: part -> share strictly between 0 and 1, of the parts to hold out, their sum below 1.
        seed: of the choice.

    Returns:
        part -> sorted indices; "train" is what no share claims.

    Raises:
        InvalidArgument: a share is impossible.
        DataError: the classes are too small for a part to get any example.
    """
    for part, share in shares.items():
        if not 0 < share < 1:
            raise invalid(f"`{part}_share` must be strictly between 0 and 1", share)
    if sum(shares.values()) >= 1:
        raise invalid("the shares held out leave nothing to train on", shares, "Their sum must be below 1.")
    classes = {}  # label -> hash -> indices
    for i, (label, content) in enumerate(zip(np.asarray(labels).tolist(), hashes, strict=True)):
        classes.setdefault(label, {}).setdefault(content, []).append(i)
    owners = Counter(content for files in classes.values() for content in files)
    chosen = {part: [] for part in shares}
    for files in classes.values():
        order = sorted(
            (c for c in files if owners[c] == 1), key=lambda c: hashlib.sha256(f"{seed} {c}".encode()).digest()
        )
        for part, count in _counts(len(order), len(files), shares).items():
            chosen[part] += [i for content in order[:count] for i in files[content]]
            order = order[count:]
    for part in shares:
        if not chosen[part]:
            wrong = f"cannot hold out that much of {len(labels):,} examples in {len(classes)} classes"
            works = f"A class needs two different pictures for a {part} part beside training, three for all parts."
            raise invalid(wrong, shares[part], works, error=DataError)
    held = np.sort(np.concatenate([np.asarray(rows, int) for rows in chosen.values()])) if shares else []
    rest = np.setdiff1d(np.arange(len(labels)), held)
    return {"train": rest} | {part: np.sort(rows) for part, rows in chosen.items()}


def _counts(movable, total, shares):
    """Returns part -> how many of a class's different files it gets, of which `movable` may leave training."""
    room = min(movable, total - 1)
    counts = {part: max(1, math.floor(total * share + 0.5)) for part, share in shares.items()}
    while sum(counts.values()) > room:
        largest = max(reversed(list(counts)), key=counts.get)  # of equal ones the last gives way
        counts[largest] -= 1
    return counts


def warn_of_small(names, splits):
    """Warns of classes that a part has no example of."""
    lines = []
    for label, name in enumerate(names):
        counts = {part: int((split.labels == label).sum()) for part, split in splits.items()}
        lacking = [part for part, count in counts.items() if not count]
        if lacking:
            total = sum(counts.values())
            lines.append(f"{name}: {total} picture{'s' if total > 1 else ''}, none for {' and '.join(lacking)}")
    if lines:
        wrong = "some classes are too small for every part, so that nothing is measured of them there"
        warnings.warn(DataWarning(f"{wrong}. Three different pictures are enough:{listed(lines)}"), stacklevel=3)


def warn_of_copies(rows):
    """Warns of pictures that are in two classes, or both in training and in a part that measures.

    Args:
        rows: part -> list of (class name, file as shown, SHA-256).
    """
    seen, torn, leaked = {}, [], []
    for part, files in rows.items():
        for name, file, content in files:
            first = seen.setdefault(content, (part, name, file))
            if first[1] != name:
                torn.append(f"{first[2]} = {file}")
            elif first[0] != part:
                leaked.append(f"{first[2]} = {file}")
    if torn:
        wrong = f"{len(torn):,} pictures lie in two classes, byte for byte"
        warnings.warn(DataWarning(f"{wrong}; one of the two must be wrong:{listed(torn)}"), stacklevel=3)
    if leaked:
        wrong = f"{len(leaked):,} pictures lie in two parts, byte for byte"
        warnings.warn(DataWarning(f"{wrong}, so that what is measured there flatters:{listed(leaked)}"), stacklevel=3)
