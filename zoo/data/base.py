"""What a data set is: splits that make model-ready batches, class names, preprocessing and a content fingerprint."""

import abc
import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from zoo.data import checks, preprocessing
from zoo.errors import DataError, invalid, worded

PARTS = ("train", "validation", "test")


class Split(abc.ABC):
    """The examples of one part of a data set: `len(split)`, `.labels`, `.batch(indices)`, `.arrays()`.

    A subclass gives `inputs(indices)`, `subset(indices)` and `digest(update)`.

    Attributes:
        labels: int32 array (n,) of class numbers.
    """

    def __init__(self, labels):
        self.labels = np.asarray(labels, np.int32)
        self.labels.setflags(write=False)

    def __len__(self):
        return len(self.labels)

    def batch(self, indices):
        """Returns `(x, y)` of some examples, ready for the model.

        Args:
            indices: integer array (b,), each 0 to len(self) - 1.

        Returns:
            x: float32 (b, H, W, C) for images, int32 (b, T) for texts; y: int32 (b,). The same on every call.
        """
        indices = np.asarray(indices, np.int64)
        return self.inputs(indices), self.labels[indices]

    def arrays(self):
        """Returns `(x, y)` of every example, in order. Holds the whole split in memory."""
        return self.batch(np.arange(len(self)))

    @cached_property
    def element(self):
        """`(shape, dtype)` of one model input, without the batch axis."""
        x = self.inputs(np.zeros(1, np.int64))
        return x.shape[1:], x.dtype

    @abc.abstractmethod
    def inputs(self, indices):
        """Returns the model inputs of some examples."""

    @abc.abstractmethod
    def subset(self, indices):
        """Returns a split of some examples, in the order given, without copying their inputs."""

    @abc.abstractmethod
    def digest(self, update):
        """Feeds the content of every example, in order, to `update(bytes)`."""

    @abc.abstractmethod
    def read_as(self, declared):
        """Returns the same examples read with another image preprocessing.

        Raises:
            DataError: they cannot be.
        """


class ArraySplit(Split):
    """Examples in one array: raw images, encoded as they are read, or token ids.

    Args:
        x: array (n, ...); may be memory-mapped.
        labels: integers (n,).
        declared: the data set's preprocessing.
        rows: indices into `x` and `labels` of the examples that belong to this split; all by default.
    """

    def __init__(self, x, labels, declared, rows=None):
        self._x, self._all_labels, self._declared = x, np.asarray(labels), declared
        self._rows = np.arange(len(x)) if rows is None else np.asarray(rows, np.int64)
        super().__init__(self._all_labels[self._rows])

    def inputs(self, indices):
        return preprocessing.encode_array(self._declared, self._x[self._rows[indices]])

    def subset(self, indices):
        return ArraySplit(self._x, self._all_labels, self._declared, self._rows[np.asarray(indices, np.int64)])

    def read_as(self, declared):
        shape = tuple(declared["image_shape"])
        if self._x.shape[1:] != shape:
            wrong = f"the images have shape {self._x.shape[1:]} and the model takes {shape}"
            raise DataError(worded(wrong, works="Resize them first, or give a folder of image files."))
        ours, theirs = self._declared["maximum"], declared["maximum"]
        if (ours is None) != (theirs is None):
            works = "Give pixels in the range that the model was trained on."
            wrong = "the range of the pixels is not that of the model"
            raise DataError(worded(wrong, received=(ours, theirs), works=works))
        factor = 1.0 if ours is None else theirs / ours
        return ArraySplit(self._x, self._all_labels, {**declared, "scale": declared["scale"] * factor}, self._rows)

    def digest(self, update):
        update(f"{self._x.dtype.str[1:]} {(len(self), *self._x.shape[1:])}".encode())
        for _, rows in checks.chunks(self._rows):
            for start in range(0, len(rows), 4096):
                part = self._x[rows[start : start + 4096]]
                update(np.ascontiguousarray(part, part.dtype.newbyteorder("<")).data)


@dataclass(frozen=True)
class Dataset:
    """A data set, checked and ready to train on.

    Attributes:
        name: registered name, or the name of the file or folder.
        task: "image_classification" or "text_classification".
        labels: class names in logit order.
        preprocessing: how raw input becomes model input, a JSON dict; see `zoo.data.preprocessing`.
        train, validation, test: a `Split` each.
        source: origin, citation and licence, as text.
        assets: files that preprocessing needs, file name -> bytes (the vocabulary).
    """

    name: str
    task: str
    labels: tuple
    preprocessing: dict
    train: Split
    validation: Split
    test: Split
    source: str
    assets: dict = field(default_factory=dict)

    def __post_init__(self):
        if len(self.labels) < 2:
            raise DataError(worded("a data set needs at least two classes", received=self.labels))
        for part, split in self.splits.items():
            if not len(split):
                works = "Add examples, or hold out another share of the training part."
                raise DataError(worded(f"data set {self.name!r}: the {part} split is empty", works=works))
            checks.in_range(split.labels, len(self.labels), part)

    @property
    def splits(self):
        """The splits by name."""
        return {part: getattr(self, part) for part in PARTS}

    @property
    def arguments(self):
        """The builder arguments that this data set implies, such as `{"image_shape": (8, 8, 1), "num_classes": 10}`."""
        declared = self.preprocessing
        if declared["kind"] == "image":
            return {"image_shape": tuple(declared["image_shape"]), "num_classes": len(self.labels)}
        sizes = {k: declared[k] for k in ("vocab_size", "sequence_length")}
        return {**sizes, "num_classes": len(self.labels)}

    @cached_property
    def fingerprint(self):
        """The hash, "sha256:<hex>", of each split's content, labels and order, class names, preprocessing and assets.

        It is the same on every machine: file names, folders and dates do not enter. The first use reads everything.
        """
        hasher = hashlib.sha256()

        def update(data):
            hasher.update(memoryview(data).nbytes.to_bytes(8, "little"))
            hasher.update(data)

        stated = {"task": self.task, "labels": list(self.labels), "preprocessing": self.preprocessing}
        update(json.dumps(stated, sort_keys=True, ensure_ascii=True).encode())
        for name in sorted(self.assets):
            update(name.encode())
            update(self.assets[name])
        for part, split in self.splits.items():
            update(part.encode())
            update(split.labels.astype("<i4").data)
            split.digest(update)
        return f"sha256:{hasher.hexdigest()}"

    def read_as(self, declared):
        """Returns the same images read with another preprocessing, such as that of a trained model.

        Raises:
            DataError: the data or the preprocessing is not for images, or the two do not fit.
        """
        kinds = (self.preprocessing["kind"], declared["kind"])
        if kinds != ("image", "image"):
            works = "Give texts by name or path, so that they can be read with the model's vocabulary."
            wrong = f"data set {self.name!r} cannot be read as the model reads"
            raise DataError(worded(wrong, received=kinds, works=works))
        splits = {part: split.read_as(declared) for part, split in self.splits.items()}
        return self.but(preprocessing=declared, assets={}, **splits)

    def but(self, **changes):
        """Returns a copy with some fields replaced."""
        return replace(self, **changes)


def held_out(labels, amount, seed=0):
    """Chooses examples to hold out, each class in proportion.

    Args:
        labels: integers (n,).
        amount: how many examples, or a share strictly between 0 and 1.
        seed: of the choice; the same on every machine and NumPy version (the legacy generator's stream is frozen).

    Returns:
        `(rest, held)`, sorted index arrays. Every class keeps at least one example in `rest`; each with two or more
        has one in `held` as far as `amount` reaches.

    Raises:
        InvalidArgument: the amount cannot be held out.
    """
    labels = np.asarray(labels)
    count = round(len(labels) * amount) if isinstance(amount, float) else amount
    present, sizes = np.unique(labels, return_counts=True)
    if not 0 < count <= len(labels) - len(present):
        wrong = f"cannot hold out that much of {len(labels):,} examples in {len(present)} classes"
        works = "Every class must keep a training example, and the part held out must not be empty."
        raise invalid(wrong, amount, works, error=DataError)
    exact = sizes * count / len(labels)
    shares = np.minimum(np.maximum(np.floor(exact), 1), sizes - 1).astype(int)
    for direction in (1, -1):  # largest remainders first, until the shares add up
        while (count - shares.sum()) * direction > 0:
            room = (shares < sizes - 1) if direction > 0 else (shares > 0)
            shares[np.argmax(np.where(room, (exact - shares) * direction, -np.inf))] += direction
    random = np.random.RandomState(seed)
    held = [random.permutation(np.flatnonzero(labels == c))[:share] for c, share in zip(present, shares, strict=True)]
    held = np.sort(np.concatenate(held))
    return np.setdiff1d(np.arange(len(labels)), held, assume_unique=True), held


def completed(splits, validation_share, test_share, seed):
    """Returns train, validation and test, holding out of train what is missing. Shares are of the examples in train.

    Raises:
        InvalidArgument: a share is not strictly between 0 and 1.
        DataError: too few examples to hold out that share.
    """
    shares = {"test": test_share, "validation": validation_share}
    whole, complete, rest = splits["train"], dict(splits), np.arange(len(splits["train"]))
    for part, share in shares.items():
        if part in splits:
            continue
        if not 0 < share < 1:
            raise invalid(f"`{part}_share` must be strictly between 0 and 1", share)
        kept, held = held_out(whole.labels[rest], max(1, round(len(whole) * share)), seed)
        complete[part], rest = whole.subset(rest[held]), rest[kept]
    complete["train"] = whole.subset(rest)
    return {part: complete[part] for part in PARTS}
