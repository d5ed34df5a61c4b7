"""What a data set is: splits that make model-ready batches, class names, preprocessing and a content fingerprint."""

import abc
import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from zoo.data import checks, declarations, preprocessing
from zoo.errors import DataError, invalid, worded
from zoo.spec import jsonable

PARTS = ("train", "validation", "test")


class Split(abc.ABC):
    """The examples of one part of a data set: `len(split)`, `.labels`, `.batch(indices)`, `.arrays()`.

    A subclass gives `inputs(indices)`, `subset(indices)`, `digest(update)` and `read_as(declared)`.

    Args:
        labels: array (n, ...) of targets, or dict, output name -> such an array. Whole numbers become int32, others
            float32.

    Attributes:
        labels: the same; class numbers are int32 (n,).
        ordered: whether training keeps the order of the examples, which then follow one another.
        groups: None, or what the examples are of, which results are told by: dict, such as {"task": array (n,)}.
    """

    ordered = False
    groups = None

    def __init__(self, labels):
        self.labels = _targets(labels)

    def __len__(self):
        return len(next(iter(self.labels.values())) if isinstance(self.labels, dict) else self.labels)

    def batch(self, indices):
        """Returns `(x, y)` of some examples, ready for the model.

        Args:
            indices: integer array (b,), each 0 to len(self) - 1.

        Returns:
            x: float32 (b, H, W, C) for images, int32 (b, T) for texts, a dict of arrays for several inputs; y: int32
            (b,), or as `labels`. The same on every call.
        """
        indices = np.asarray(indices, np.int64)
        return self.inputs(indices), self.targets(indices)

    def targets(self, indices):
        """Returns the targets of some examples."""
        return taken(self.labels, indices)

    def at_epoch(self, seed, epoch):
        """Returns the split, of the same length, that one epoch of training uses; a split that draws, draws anew."""
        return self

    def for_batches(self, batch_size):
        """Returns the split laid out for batches of one size; only text that runs on from batch to batch differs."""
        return self

    def arrays(self):
        """Returns `(x, y)` of every example, in order. Holds the whole split in memory."""
        return self.batch(np.arange(len(self)))

    @cached_property
    def element(self):
        """The `(x, y)` of no example: arrays of the right shapes and types with an empty batch axis."""
        x, y = self.batch(np.zeros(1, np.int64))
        return taken(x, slice(0)), taken(y, slice(0))

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
        resized = self._x.shape[1:] != shape
        if resized and declared.get("resize") is None:
            wrong = f"the images have shape {self._x.shape[1:]} and the model takes {shape}"
            works = 'Pass the data option resize="bilinear" (--data-option resize=bilinear), or resize them first.'
            raise DataError(worded(wrong, works=works))
        declared = declarations.completed(declared)
        ours, theirs = declarations.completed(self._declared)["maximum"], declared["maximum"]
        if (ours is None) != (theirs is None):
            works = "Give pixels in the range that the model was trained on."
            wrong = "the range of the pixels is not that of the model"
            raise DataError(worded(wrong, received=(ours, theirs), works=works))
        if resized:
            if ours is None or self._x.shape[-1] not in (1, 3, 4):
                works = "Give grey or coloured pixels of a declared range, or resize them first."
                wrong = "these images cannot be resized to what the model takes"
                raise DataError(
                    worded(wrong, received=f"shape {self._x.shape[1:]}, pixels of 0 to {ours}", works=works)
                )
            from zoo.data.resizing import ResizedSplit

            return ResizedSplit(self._x, self._all_labels, ours, declared, self._rows)
        factor = 1.0 if ours is None else theirs / ours
        return ArraySplit(self._x, self._all_labels, {**declared, "scale": declared["scale"] * factor}, self._rows)

    def digest(self, update):
        digest_rows("", self._x, self._rows, update)


class TreeSplit(Split):
    """Examples whose inputs or targets have several parts, model-ready, in memory.

    Args:
        x: array (n, ...), or dict, input name -> such an array; may be memory-mapped.
        y: array (n, ...), or dict, output name -> such an array.
        rows: indices of the examples that belong to this split; all by default.
        declared: the data set's preprocessing, which the inputs have been through.
    """

    def __init__(self, x, y, rows=None, declared=None):
        self._x, self._y, self._declared = x, y, declared
        sizes = {len(part) for tree in (x, y) for part in (tree.values() if isinstance(tree, dict) else (tree,))}
        if len(sizes) != 1:
            raise DataError(worded("the inputs and targets differ in length", received=sorted(sizes)))
        self._rows = np.arange(sizes.pop()) if rows is None else np.asarray(rows, np.int64)
        super().__init__(taken(y, self._rows))

    def inputs(self, indices):
        return taken(self._x, self._rows[indices])

    def subset(self, indices):
        return TreeSplit(self._x, self._y, self._rows[np.asarray(indices, np.int64)], self._declared)

    def read_as(self, declared):
        if declared != self._declared:
            works = "Give the raw data by name or path, so that it can be read with the model's preprocessing."
            raise DataError(worded("this data cannot be read as the model reads", works=works))
        return self

    def digest(self, update):
        for name, part in sorted(self._x.items()) if isinstance(self._x, dict) else [("", self._x)]:
            digest_rows(name, part, self._rows, update)


class RetargetedSplit(Split):
    """The examples of another split with other targets: array (n, ...), or dict, output name -> such an array."""

    def __init__(self, split, labels):
        self._split, self.ordered, self.groups = split, split.ordered, split.groups
        super().__init__(labels)

    def inputs(self, indices):
        return self._split.inputs(indices)

    def subset(self, indices):
        return RetargetedSplit(self._split.subset(indices), taken(self.labels, np.asarray(indices, np.int64)))

    def digest(self, update):
        self._split.digest(update)

    def read_as(self, declared):
        return RetargetedSplit(self._split.read_as(declared), self.labels)


def taken(tree, rows):
    """Returns some rows of an array, or of each array of a dict."""
    return {k: v[rows] for k, v in tree.items()} if isinstance(tree, dict) else tree[rows]


def digest_rows(name, array, rows, update):
    """Feeds some rows of an array, with their type and shape, to `update(bytes)`; the same on every machine."""
    update(f"{name} {array.dtype.str[1:]} {(len(rows), *array.shape[1:])}".strip().encode())
    for start in range(0, len(rows), 4096):
        part = array[rows[start : start + 4096]]
        update(np.ascontiguousarray(part, part.dtype.newbyteorder("<")).data)


def _targets(labels):
    if isinstance(labels, dict):
        return {name: _targets(part) for name, part in labels.items()}
    labels = np.asarray(labels)
    labels = labels.astype(np.float32 if labels.dtype.kind == "f" else np.int32, copy=False)
    labels.setflags(write=False)
    return labels


@dataclass(frozen=True)
class Dataset:
    """A data set, checked and ready to train on.

    Attributes:
        name: registered name, or the name of the file or folder.
        task: one of `zoo.tasks.TASKS`.
        labels: class names in logit order; None where outputs have no classes; for several outputs, or for numbers,
            output name -> class names or {"mean", "std", "unit"}, which turn a standardised number back.
        preprocessing: how raw input becomes model input, a JSON dict; see `zoo.data.preprocessing`.
        train, validation, test: a `Split` each.
        source: origin, citation and licence, as text.
        assets: files that preprocessing needs, file name -> bytes (the vocabulary).
        arguments_given: builder arguments that the data implies, where the preprocessing does not say them.
    """

    name: str
    task: str
    labels: tuple | dict | None
    preprocessing: dict
    train: Split
    validation: Split
    test: Split
    source: str
    assets: dict = field(default_factory=dict)
    arguments_given: dict | None = None

    def __post_init__(self):
        classes = self.labels if isinstance(self.labels, dict) else {None: self.labels}
        classes = {head: names for head, names in classes.items() if isinstance(names, tuple)}
        for names in classes.values():
            if len(names) < 2:
                raise DataError(worded("a data set needs at least two classes", received=names))
        for part, split in self.splits.items():
            if not len(split):
                works = "Add examples, or hold out another share of the training part."
                raise DataError(worded(f"data set {self.name!r}: the {part} split is empty", works=works))
            for head, names in classes.items():
                numbers = split.labels if head is None or not isinstance(split.labels, dict) else split.labels[head]
                if numbers.shape[1:] == (len(names),):
                    checks.shares(numbers, part)
                else:
                    checks.in_range(numbers, len(names), part)

    @property
    def splits(self):
        """The splits by name."""
        return {part: getattr(self, part) for part in PARTS}

    def standardised_as(self, labels):
        """Returns the data set with its numbers standardised as `labels` say, those of a model trained on other data.

        Classes, and numbers of another name or unit, stay as they are.
        """
        found = self
        for head, new in labels.items() if isinstance(labels, dict) else ():
            old = self.labels.get(head) if isinstance(self.labels, dict) else None
            if isinstance(old, dict) and isinstance(new, dict) and old != new and old.get("unit") == new.get("unit"):
                found = found._moved(head, old, new)
        return found

    def _moved(self, head, old, new):
        """Returns the data set with the numbers of one output standardised by the mean and std of `new`."""

        def targets(labels):
            if isinstance(labels, dict):
                return {**labels, head: targets(labels[head])}
            return (labels * old["std"] + (old["mean"] - new["mean"])) / new["std"]

        parts = {part: RetargetedSplit(split, targets(split.labels)) for part, split in self.splits.items()}
        return self.but(labels={**self.labels, head: new}, **parts)

    @property
    def arguments(self):
        """The builder arguments that this data set implies, such as `{"image_shape": (8, 8, 1), "num_classes": 10}`."""
        declared = self.preprocessing
        if self.arguments_given is not None:
            return dict(self.arguments_given)
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

        stated = {"task": self.task, "labels": jsonable(self.labels), "preprocessing": self.preprocessing}
        update(json.dumps(stated, sort_keys=True, ensure_ascii=True).encode())
        for name in sorted(self.assets):
            update(name.encode())
            update(self.assets[name])
        for part, split in self.splits.items():
            update(part.encode())
            if isinstance(split.labels, dict):
                for head, rows in sorted(split.labels.items()):
                    digest_rows(head, rows, np.arange(len(rows)), update)
            else:
                update(np.ascontiguousarray(split.labels, "<i4" if split.labels.dtype.kind == "i" else "<f4").data)
            split.digest(update)
        return f"sha256:{hasher.hexdigest()}"

    def read_as(self, declared):
        """Returns the same images read with another preprocessing, such as that of a trained model.

        Raises:
            DataError: the data or the preprocessing is not for images, or the two do not fit.
        """
        kinds = (self.preprocessing["kind"], declared["kind"])
        if self.preprocessing == declared:
            return self
        if kinds != ("image", "image"):
            works = "Give texts by name or path, so that they can be read with the model's vocabulary."
            wrong = f"data set {self.name!r} cannot be read as the model reads"
            raise DataError(worded(wrong, received=kinds, works=works))
        splits = {part: split.read_as(declared) for part, split in self.splits.items()}
        return self.but(preprocessing=declared, assets={}, **splits)

    def shared_by(self, heads):
        """Returns the same data with its one target for each of several outputs, such as auxiliary heads."""
        splits = {part: RetargetedSplit(s, dict.fromkeys(heads, s.labels)) for part, s in self.splits.items()}
        labels = dict.fromkeys(heads, self.labels)
        return self.but(labels=labels, arguments_given=self.arguments, **splits)

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


def kept(split, share, seed=0):
    """Returns a split of some of the examples, drawn once: of classes each in proportion, of other targets at random.

    Args:
        split: `Split`.
        share: of the examples, above 0 and at most 1.
        seed: of the choice; the same on every machine and NumPy version.

    Raises:
        DataError: the share is impossible, leaves a class without an example, or the examples follow one another.
    """
    works = "Give a share above 0 and at most 1, such as 0.1."
    if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share <= 1:
        raise invalid("`train_share` must be the share of the training examples to keep", share, works, error=DataError)
    if split.ordered:
        wrong = "`train_share` cannot leave out examples that follow one another, as running text does"
        raise invalid(wrong, share, "Give a shorter text.", error=DataError)
    count = round(len(split) * share)
    if count == len(split):
        return split
    classes = not isinstance(split.labels, dict) and split.labels.ndim == 1 and split.labels.dtype.kind == "i"
    if not count or (classes and count < len(np.unique(split.labels))):
        raise invalid(
            f"`train_share` leaves {count:,} of {len(split):,} training examples", share, works, error=DataError
        )
    if classes:
        return split.subset(held_out(split.labels, len(split) - count, seed)[0])
    return split.subset(np.sort(np.random.RandomState(seed).permutation(len(split))[:count]))


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
