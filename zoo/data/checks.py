"""What is wrong with images and labels, found before any training. Each error counts, and gives the first place."""

import numpy as np

from zoo.errors import DataError, worded

MAX_CHANNELS = 16
CHUNK = 1 << 24  # elements looked at a time, so that a check of 50,000 images needs little memory


def chunks(array):
    """Yields `(start, rows)` of an array, a bounded number of elements at a time."""
    rows = max(1, CHUNK // max(1, array[:1].size))
    for start in range(0, len(array), rows):
        yield start, array[start : start + rows]


def first_bad(array, is_bad):
    """Returns `(number of examples with a bad element, index of the first)`, or `(0, None)`."""
    count, first = 0, None
    for start, rows in chunks(array):
        bad = is_bad(rows).reshape(len(rows), -1).any(axis=1)
        found = np.flatnonzero(bad)
        if len(found):
            count += len(found)
            first = start + int(found[0]) if first is None else first
    return count, first


def same_length(x, y, part):
    """Checks that there is one label per example."""
    if len(x) != len(y):
        raise DataError(worded(f"the {part} split has {len(x):,} examples but {len(y):,} labels"))


def integers(labels, part):
    """Returns labels as an int64 array of shape (n,).

    Accepts integers, booleans and floats that are whole numbers, with shape (n,) or (n, 1).

    Raises:
        DataError: another shape or type, NaN, or fractions.
    """
    labels = np.asarray(labels)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        works = "Give one integer per example, shape (n,)"
        works += "; for one-hot rows that is y.argmax(axis=-1)." if labels.ndim == 2 else "."
        raise DataError(worded(f"the {part} labels have shape {labels.shape}", works=works))
    if not len(labels):
        raise DataError(worded(f"the {part} split is empty", works="Every split needs at least one example."))
    if labels.dtype.kind in "bui":
        return labels.astype(np.int64)
    if labels.dtype.kind != "f":
        works = "Class numbers must be integers 0, 1, 2, ..."
        raise DataError(worded(f"the {part} labels are of type {labels.dtype}", works=works))
    count, first = first_bad(labels, lambda rows: ~np.isfinite(rows))
    if count:
        value = labels[first]
        raise DataError(
            worded(
                f"{count:,} of the {part} labels are NaN or infinite, the first at index {first}", received=float(value)
            )
        )
    count, first = first_bad(labels, lambda rows: rows != np.floor(rows))
    if count:
        works = "Class numbers must be integers 0, 1, 2, ...; zoo does not train regression on these tasks."
        wrong = f"{count:,} of the {part} labels are not whole numbers, the first at index {first}"
        raise DataError(worded(wrong, received=float(labels[first]), works=works))
    return labels.astype(np.int64)


def in_range(labels, num_classes, part):
    """Checks that integer labels are 0 to `num_classes` - 1."""
    count, first = first_bad(labels, lambda rows: (rows < 0) | (rows >= num_classes))
    if count:
        wrong = f"{count:,} of the {part} labels are out of range, the first at index {first}"
        works = f"There are {num_classes} classes, so labels are 0 to {num_classes - 1}."
        raise DataError(worded(wrong, received=labels[first].tolist(), works=works))


def shares(targets, part):
    """Checks that targets of each class, (n, C), are in [0, 1]."""
    count, first = first_bad(targets, lambda rows: ~((rows >= 0) & (rows <= 1)))  # NaN is not in the range
    if count:
        wrong = f"{count:,} of the {part} targets are outside 0 to 1, the first at index {first}"
        works = "Write 1 for each class that an example belongs to, and 0 for the others."
        raise DataError(worded(wrong, received=targets[first].tolist(), works=works))


def exclusive(targets, part, head):
    """Checks that the targets of a softmax head, (n, C), share out one class: that each row adds up to 1."""
    count, first = first_bad(targets, lambda rows: np.abs(rows.sum(axis=1, dtype=np.float64) - 1) > 1e-3)
    if count:
        wrong = f"{count:,} of the {part} examples belong to several classes or to none, the first at index {first}"
        works = f"Output {head!r} chooses one class; add sigmoid_head to the recipe, which asks for each."
        raise DataError(worded(wrong, received=targets[first].tolist(), works=works))


def classes(train_labels, names=None):
    """Returns the class names in logit order, checked against the labels of the training split.

    Raises:
        DataError: fewer than two classes, a class without training examples (unless `names` vouches for it), or a
            label out of range.
    """
    present = np.unique(train_labels)
    if len(present) < 2:
        shown = names[present[0]] if names and 0 <= present[0] < len(names) else int(present[0])
        works = "A classifier needs at least two classes."
        raise DataError(
            worded(f"all {len(train_labels):,} training examples have one class", received=shown, works=works)
        )
    if names is not None:
        if len(set(names)) < len(names):
            twice = next(n for n in names if list(names).count(n) > 1)
            raise DataError(worded("a class name appears twice", received=twice))
        in_range(train_labels, len(names), "train")
        return tuple(map(str, names))
    num_classes = int(present[-1]) + 1
    in_range(train_labels, num_classes, "train")
    if len(present) < num_classes:
        missing = _first_missing(present)
        wrong = (
            f"labels go up to {num_classes - 1} but only {len(present)} classes occur, and class {missing} never does"
        )
        works = "Number the classes 0, 1, 2, ... without gaps, or name every class with labels=(...)."
        raise DataError(worded(wrong, works=works))
    return tuple(str(i) for i in range(num_classes))


def _first_missing(present):
    gaps = np.flatnonzero(present != np.arange(len(present)))
    return int(gaps[0]) if len(gaps) else len(present)


def images(x, part):
    """Returns images as an array (n, H, W, C) of uint8, another integer type, bool or float32, checked.

    Args:
        x: array of shape (n, H, W) or (n, H, W, C).
        part: name of the split, for messages.

    Raises:
        DataError: another shape or type, NaN or infinity, or an empty split.
    """
    x = np.asarray(x)
    if x.dtype.kind not in "buif":
        works = "Images must be one array of integers or floats; images of mixed size do not make one."
        raise DataError(worded(f"the {part} images are of type {x.dtype}", works=works))
    if x.ndim == 3:
        x = x[..., np.newaxis]
    if x.ndim != 4:
        raise DataError(
            worded(f"the {part} images have shape {x.shape}", works="It must be (n, H, W) or (n, H, W, C).")
        )
    if not len(x):
        raise DataError(worded(f"the {part} split is empty", works="Every split needs at least one example."))
    if 0 in x.shape or x.shape[-1] > MAX_CHANNELS:
        works = f"The last axis counts channels, 1 to {MAX_CHANNELS}; height and width are positive."
        if 1 <= x.shape[1] <= 4 < x.shape[-1]:
            works = "Channels come last here: use np.moveaxis(x, 1, -1)."
        raise DataError(worded(f"the {part} images have shape {x.shape}", works=works))
    if x.dtype.kind == "f":
        finite(x, f"{part} images")
        x = x.astype(np.float32, copy=False)
    return x


def finite(x, what):
    """Checks that floats are neither NaN nor infinite."""
    count, first = first_bad(x, lambda rows: ~np.isfinite(rows))
    if count:
        works = "Remove or repair them; one NaN makes every weight NaN."
        raise DataError(
            worded(f"{count:,} of the {what} hold NaN or infinity, the first at index {first}", works=works)
        )


def value_range(x):
    """Returns `(smallest, largest)` element of an array, as Python numbers."""
    pairs = [(rows.min().item(), rows.max().item()) for _, rows in chunks(x)]
    return min(low for low, _ in pairs), max(high for _, high in pairs)
