"""Classes that are rare and classes that are not: examples weighed or drawn by how frequent their class is."""

import random
from dataclasses import dataclass

import numpy as np

from zoo.augmentation import are_arrays, held_out
from zoo.data.base import TreeSplit
from zoo.errors import DataError, invalid, worded

WEIGHTS, RESAMPLING = "weights", "resampling"


def class_weights(counts, beta=None):
    """Returns one weight per class, float64 (K,), whose mean over the examples is 1.

    Without `beta` a class weighs the inverse of its count, n / (K n_c). With it, the inverse of its effective number
    (1 - beta^n_c) / (1 - beta) (Cui et al., 2019, https://arxiv.org/abs/1901.05555, equation 3), which approaches the
    former as beta goes to 1, and equal weights as it goes to 0.

    >>> class_weights([90, 10]).round(2).tolist()
    [0.56, 5.0]

    Args:
        counts: examples of each class, positive, (K,).
        beta: None, or in [0, 1).
    """
    counts = np.asarray(counts, "float64")
    weights = 1 / counts if beta is None else 1 / -np.expm1(counts * np.log(beta)) if beta else np.ones_like(counts)
    return weights * counts.sum() / (weights * counts).sum()


@dataclass(frozen=True)
class Balance:
    """How training examples are weighed or drawn by the class that they have in one head.

    Attributes:
        head: name of the head, among several; None when the model has one.
        classes: how many there are: the head's units, or 2 of a sigmoid with one unit.
        by: "weights" or "resampling".
        beta: see `class_weights`.
    """

    head: str | None
    classes: int
    by: str
    beta: float | None = None

    def classes_of(self, labels):
        """Returns the class number of each example, int64 (n,).

        Args:
            labels: class numbers (n,) or (n, 1), one-hot rows (n, K), or a dict of such for several heads.

        Raises:
            DataError: they are not one class per example, or a class has none.
        """
        labels = np.asarray(labels[self.head] if isinstance(labels, dict) else labels)
        if labels.ndim == 2 and labels.shape[1] > 1:
            ones = labels.max(axis=1, initial=0)
            if labels.shape[1] != self.classes or (ones != 1).any() or (labels.sum(axis=1) != 1).any():
                works = "Examples with several classes, or with parts of some, have no one weight; drop the term."
                raise DataError(worded("class_balance needs one class per example", received=labels[0], works=works))
            labels = labels.argmax(axis=1)
        elif labels.ndim > 2 or (labels.astype("int64") != labels).any():
            works = "Number the classes 0, 1, 2, ..."
            raise DataError(worded("class_balance needs one class per example", received=labels.shape, works=works))
        return labels.reshape(-1).astype("int64")

    def counts(self, labels):
        """Returns the number of examples of each class, int64 (K,)."""
        numbers = self.classes_of(labels)
        counts = np.bincount(numbers, minlength=self.classes)
        if missing := np.flatnonzero(counts == 0).tolist():
            names = ", ".join(map(str, missing[:8])) + (", ..." if len(missing) > 8 else "")
            works = "Add some, leave the class out of the model, or drop the term."
            wrong = f"class_balance: {len(missing)} of {self.classes} classes have no training example"
            raise DataError(worded(f"{wrong}: {names}", works=works))
        return counts

    def weights(self, labels):
        """Returns the weight of each example, float32 (n,), or a dict of such, in which other heads' weights are 1."""
        by_class = class_weights(self.counts(labels), self.beta)
        ours = by_class[self.classes_of(labels)].astype("float32")
        if not isinstance(labels, dict):
            return ours
        return {name: ours if name == self.head else np.ones_like(ours) for name in labels}

    def order(self, labels, seed, epoch):
        """Returns as many indices as there are examples, int64 (n,), in the random order of one epoch.

        Class c fills its share n_c w_c / n of them, rounded, with w of `class_weights`. All examples of a class are
        drawn equally often, to within one.
        """
        numbers, counts = self.classes_of(labels), self.counts(labels)
        exact = counts * class_weights(counts, self.beta)
        shares = np.floor(exact).astype("int64")
        shares[np.argsort(shares - exact, kind="stable")[: len(numbers) - shares.sum()]] += 1  # largest remainders
        generator = np.random.default_rng([seed, epoch])
        drawn = []
        for number, share in enumerate(shares):
            rows = np.flatnonzero(numbers == number)
            rounds = [generator.permutation(rows) for _ in range(-(-share // len(rows)))]
            drawn.append(np.concatenate([rows[:0], *rounds])[:share])
        return generator.permutation(np.concatenate(drawn))


def balanced(balance, x, y, batch_size, epochs, options):
    """Returns `(x, y, batch_size, options)` for `fit` with training examples weighed or drawn by their class.

    Weights join `options["sample_weight"]`, times those that are there. Resampling makes one stream of batches of all
    epochs. Validation data stays as it is.

    Args:
        balance: a `Balance`.
        x, y: arrays, or dicts of arrays.
        batch_size: None is 32, as in Keras.
        epochs: of `fit`.
        options: the other arguments of `fit`.

    Raises:
        InvalidArgument: the data is of a kind whose classes cannot be counted, or `class_weight` is given too.
        DataError: the labels are not one class per example, or a class has none.
    """
    if not (are_arrays(x) and are_arrays(y)):
        works = "Pass arrays, or train with zoo.train, which knows its labels."
        raise invalid("class_balance counts classes, so it needs NumPy arrays", type(x).__name__, works)
    if options.get("class_weight") is not None:
        raise invalid("class_balance and `class_weight` both weigh the classes", works="Keep one of them.")
    (x, y, *given), options = held_out(x, y, options)
    if balance.by == WEIGHTS:
        weights = balance.weights(y)
        if given:
            weights = _times(weights, given[0])
        return x, y, batch_size, options | {"sample_weight": weights}
    if given:
        raise invalid("class_balance(by='resampling') takes no `sample_weight`", works="Say by='weights'.")
    from zoo.data.feed import feed, steps_per_epoch

    batch_size = batch_size or 32
    split = TreeSplit(x, y)
    start = options.get("initial_epoch", 0)
    seed = random.getrandbits(30)  # `keras.utils.set_random_seed` makes this repeatable
    data = feed(split, batch_size, seed=seed, epochs=epochs, initial_epoch=start, balance=balance)
    steps = steps_per_epoch(split, batch_size)
    return data, None, None, options | {"steps_per_epoch": steps, "shuffle": False}


def _times(ours, theirs):
    if isinstance(ours, dict):
        return {k: v * (theirs[k] if isinstance(theirs, dict) else theirs) for k, v in ours.items()}
    return ours * np.reshape(theirs, -1)
