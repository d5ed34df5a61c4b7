"""How hard each training example is for a model that has just begun to learn, and the choice of a part by that.

Three scores: the margin, the logit of the right class minus the best other; EL2N, the length of the error vector
(Paul et al., 2021, https://arxiv.org/abs/2107.07075, section 2); forgetting events, how often an example that was
right becomes wrong (Toneva et al., 2019, https://arxiv.org/abs/1812.05159, section 3).
"""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from zoo.averages import put_back, values_of
from zoo.compiled import plain
from zoo.errors import DataError, invalid, unknown
from zoo.files import make_folder, write_atomic
from zoo.measuring import log_probabilities, outputs_of
from zoo.recipes import Recipe
from zoo.registry import LAID_OUT

SCORES = ("el2n", "margin", "forgetting")
KEEPS = ("hardest", "easiest", "moderate")
TRICK = "support_vectors"
FOLDER = "scoring"  # of the short training, inside the run's


# The mathematics


def margins(logits, labels):
    """Returns the logit of the right class minus the best other, float64 (n,); a single logit is that of class 1."""
    if logits.shape[-1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=-1)
    rows = np.arange(len(labels))
    others = np.array(logits, np.float64)
    own = others[rows, labels]
    others[rows, labels] = -np.inf
    return own - others.max(axis=-1)


def error_lengths(logits, labels):
    """Returns EL2N, the Euclidean length of probabilities minus the one-hot label, float64 (n,)."""
    p = np.exp(log_probabilities(np.asarray(logits, np.float64)))
    p[np.arange(len(labels)), labels] -= 1
    return np.linalg.norm(p, axis=-1)


def hardness(margins, lengths, score):
    """Returns how hard each example is by a score, float64 (n,): the higher the harder.

    Args:
        margins, lengths: of each example after each epoch, (E, n).
        score: "margin": minus the margin after the last epoch. "el2n": the mean of EL2N over the epochs.
            "forgetting": how often it went from right to wrong between two epochs; of an example that never was right,
            E. Equally often forgotten ones are told apart by EL2N, which adds less than 1 to the count.
    """
    if score == "margin":
        return -np.asarray(margins[-1], np.float64)
    mean = np.mean(lengths, axis=0, dtype=np.float64)
    if score == "el2n":
        return mean
    right = np.asarray(margins) > 0
    events = (right[:-1] & ~right[1:]).sum(axis=0)
    return np.where(right.any(axis=0), events, len(right)) + mean / 2  # at most sqrt(2) / 2


def chosen(hardness, labels, fraction, keep="hardest", balanced=False):
    """Returns the indices of the examples to keep, ascending, int64.

    Args:
        hardness: of each example, (n,).
        labels: class numbers (n,).
        fraction: how many of them, above 0 and at most 1; at least one.
        keep: "hardest", "easiest", or "moderate", those nearest to the median hardness (Xia et al., 2023,
            https://openreview.net/forum?id=7D5EECbOaf9, keep those nearest to the median distance).
        balanced: whether each class keeps its share, by the largest remainders.
    """
    if balanced:
        present, sizes = np.unique(labels, return_counts=True)
        exact = sizes * fraction
        counts = np.floor(exact).astype(int)
        missing = max(1, round(len(labels) * fraction)) - counts.sum()
        counts[np.argsort(counts - exact, kind="stable")[:missing]] += 1
        rows = [np.flatnonzero(labels == c) for c in present]
        parts = [r[_first(hardness[r], keep)[:count]] for r, count in zip(rows, counts, strict=True)]
        return np.sort(np.concatenate(parts))
    return np.sort(_first(hardness, keep)[: max(1, round(len(labels) * fraction))])


def _first(hardness, keep):
    """Returns every index, those to keep first; equals stay in order."""
    by = {"hardest": -hardness, "easiest": hardness, "moderate": np.abs(hardness - np.median(hardness))}[keep]
    return np.argsort(by, kind="stable")


def check(name, *, score, keep, epochs, fractions):
    """Refuses settings of a choice that cannot work.

    Raises:
        UnknownName: the score, or what to keep, is not known.
        InvalidArgument: a number is out of range.
    """
    if score not in SCORES:
        raise unknown(f"score of {name}", score, SCORES)
    if keep not in KEEPS:
        raise unknown(f"choice `keep` of {name}", keep, KEEPS)
    least = 2 if score == "forgetting" else 1
    if epochs < least:
        works = "An example is forgotten between two epochs." if least > 1 else None
        raise invalid(f"{name}: score {score!r} takes {least} or more epochs", epochs, works)
    for fraction in fractions:
        if not 0 < fraction <= 1:
            raise invalid(f"{name}: a fraction must be above 0 and at most 1", fraction)


# Scoring while a model trains


class ScoreKeeper(keras.callbacks.Callback):
    """Writes the margin and EL2N of every training example after each epoch, into the run's folder.

    Args:
        split: the training `Split`, in whose order examples are written; it is not augmented.
        batch_size: examples at a time.
    """

    def __init__(self, split, batch_size):
        super().__init__()
        self.split, self.batch_size = split, batch_size
        self._plain = None

    def on_epoch_end(self, epoch, logs=None):
        self._plain = self._plain or plain(self.model)
        parts = []
        for start in range(0, len(self.split), self.batch_size):
            x, y = self.split.batch(np.arange(start, min(start + self.batch_size, len(self.split))))
            logits = next(iter(outputs_of(self._plain, x).values()))
            parts.append((margins(logits, y), error_lengths(logits, y)))
        rows = np.concatenate(parts, axis=1).astype("<f4")  # (2, n)
        write_atomic(make_folder(self.folder / "scores") / f"{epoch + 1:04d}.npy", lambda f: np.save(f, rows))


def kept_scores(folder, epochs, score):
    """Returns the hardness of every training example, as `ScoreKeeper` wrote it into the folder of a run.

    Raises:
        DataError: a file is missing or is not of this training.
    """
    try:
        files = [Path(folder) / "scores" / f"{epoch:04d}.npy" for epoch in range(1, epochs + 1)]
        rows = np.stack([np.load(file, allow_pickle=False) for file in files])  # (E, 2, n)
    except (OSError, ValueError) as error:
        raise DataError(f"the scores in {folder} cannot be read ({error}). Score again in another folder.") from error
    return hardness(rows[:, 0], rows[:, 1], score)


def scoring_recipe(recipe):
    """Returns what the beginning is trained with: the recipe without this trick and without what shapes the whole."""
    return Recipe(tuple(t for t in recipe.tricks if t.stage not in LAID_OUT and t.name != TRICK))


@dataclass(frozen=True)
class Selection:
    """What part of the training examples is kept, and how it is found: the `subset` of a `Plan`."""

    fraction: float
    score: str
    epochs: int
    keep: str
    balanced: bool

    def of(self, model, dataset, recipe, settings, folder, *, quiet):
        """Scores the training examples of a run that is about to start, in `folder`, and keeps a part of them.

        The model's variables are put back afterwards. A scoring that was stopped goes on.

        Args:
            model: the run's compiled `ZooModel`.
            dataset, recipe, settings: the run's.
            folder: where the scoring goes, a run folder of its own.
            quiet: whether to print nothing.

        Returns:
            The data set with fewer training examples.
        """
        from zoo.training import train

        before = values_of(model.variables)
        train(
            plain(model),
            dataset,
            recipe=scoring_recipe(recipe),
            epochs=self.epochs,
            batch_size=settings["batch_size"],
            seed=settings["seed"],
            out=folder,
            resume=(Path(folder) / "run.json").exists(),
            keep="last",
            mixed_precision=None if settings["precision"] == "float32" else settings["precision"],
            jit=settings["jit"],
            deterministic=settings["deterministic"],
            quiet=quiet,
            callbacks=(lambda: ScoreKeeper(dataset.train, settings["batch_size"]),),
        )
        put_back(before)
        keras.utils.set_random_seed(settings["seed"])  # as if nothing had been drawn
        found = kept_scores(folder, self.epochs, self.score)
        rows = chosen(found, dataset.train.labels, self.fraction, self.keep, self.balanced)
        model.subset_chosen = True
        return dataset.but(train=dataset.train.subset(rows))
