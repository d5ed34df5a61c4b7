"""What a classifier's answers say about samples: how sure, how varied, and how far from real examples.

Paper: Salimans et al., 2016, https://arxiv.org/abs/1606.03498, section 4 (the Inception Score)
Paper: Heusel et al., 2017, https://arxiv.org/abs/1706.08500, section 5 (the Frechet Inception Distance)
"""

from dataclasses import dataclass

import numpy as np

from zoo.measuring import log_probabilities

PRESENT = 0.1  # of a class's even share of the samples, from which on it counts as present: 1% of ten classes


class Moments:
    """Mean and covariance of rows that come in parts, in float64 and without keeping the rows."""

    def __init__(self):
        self.count, self.mean, self._squares = 0, 0.0, 0.0

    def add(self, rows):
        """Adds rows (n, F); Chan et al., 1979, so that a large mean costs no digits."""
        rows = np.asarray(rows, np.float64)
        mean = rows.mean(axis=0)
        centred, apart, total = rows - mean, mean - self.mean, self.count + len(rows)
        self._squares = self._squares + centred.T @ centred
        self._squares += np.outer(apart, apart) * (self.count * len(rows) / total)
        self.mean = self.mean + apart * (len(rows) / total)
        self.count = total

    @property
    def covariance(self):
        """(F, F), the sum of squares divided by one less than the rows, as the paper's program does."""
        return self._squares / max(1, self.count - 1)


def frechet_distance(first, second):
    """Returns the squared Frechet distance between two Gaussians with these moments.

    `|m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))`, the d^2 that Heusel et al. report. The trace of the root is the sum
    of the roots of the eigenvalues of C1^(1/2) C2 C1^(1/2), which is symmetric; what rounding makes negative is 0.

    Args:
        first, second: objects with `mean` (F,) and `covariance` (F, F), such as `Moments`.
    """
    values, vectors = np.linalg.eigh(first.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ second.covariance @ root), 0.0)).sum()
    apart = np.square(first.mean - second.mean).sum()
    found = apart + np.trace(first.covariance) + np.trace(second.covariance) - 2.0 * shared
    return max(0.0, float(found))


def entropy(shares):
    """Returns the entropy of shares that sum to 1, in bits; 0 for a single class, log2(C) for C even ones."""
    shares = np.asarray(shares, np.float64)
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum()) + 0.0  # no negative zero


@dataclass(frozen=True)
class Figures:
    """What a classifier says about some images.

    Attributes:
        images: how many.
        confident_share: share of them whose most probable class has at least the threshold's probability.
        classes_present: how many classes have, in confident images, at least a tenth of their even share of all
            images: of ten classes, 1% of the images each.
        shares: of each class, the share of the images for which it is the most probable.
        confident_shares: the same of confident images alone, still as a share of all.
        entropy: of `shares`, in bits.
        inception_score: exp of the mean of KL(p(class | image) || p(class)), from 1 to the number of classes.
        frechet_distance: between the features of the images and those of real ones, squared.
        accuracy: of the answers, None for images without labels.
    """

    images: int
    confident_share: float
    classes_present: int
    shares: tuple
    confident_shares: tuple
    entropy: float
    inception_score: float
    frechet_distance: float
    accuracy: float | None = None


class Tally:
    """Counts a classifier's answers, batch by batch.

    Args:
        threshold: probability from which on an answer is confident.

    Attributes:
        features: the `Moments` of the features seen.
    """

    def __init__(self, threshold):
        self.threshold, self.features = threshold, Moments()
        self._classes, self._confident, self._mass = 0, 0, 0.0
        self._negentropy, self._right, self._count, self._labelled = 0.0, 0, 0, False

    def add(self, logits, features, labels=None):
        """Adds a batch.

        Args:
            logits: (n, C), or (n, 1) of two classes.
            features: (n, F).
            labels: class numbers (n,), where they are known.

        Returns:
            `(class numbers, probabilities)` of the answers, (n,) each.
        """
        log_p = log_probabilities(np.asarray(logits, np.float64))
        p = np.exp(log_p)
        answers, tops = p.argmax(axis=1), p.max(axis=1)
        classes = p.shape[1]
        self._classes = self._classes + np.bincount(answers, minlength=classes)
        self._confident = self._confident + np.bincount(answers[tops >= self.threshold], minlength=classes)
        self._mass = self._mass + p.sum(axis=0)
        self._negentropy += float((p * log_p).sum())
        self._count += len(p)
        if labels is not None:
            self._labelled = True
            self._right += int((answers == np.asarray(labels).reshape(-1)).sum())
        self.features.add(features)
        return answers, tops

    def figures(self, real):
        """Returns the `Figures`.

        Args:
            real: the `Moments` of real images' features.
        """
        shares, confident = self._classes / self._count, self._confident / self._count
        marginal = np.maximum(self._mass / self._count, np.finfo(np.float64).tiny)
        divergence = self._negentropy / self._count - float((marginal * np.log(marginal)).sum())
        return Figures(
            images=self._count,
            confident_share=int(self._confident.sum()) / self._count,
            classes_present=int((confident >= PRESENT / len(confident)).sum()),
            shares=tuple(shares.tolist()),
            confident_shares=tuple(confident.tolist()),
            entropy=entropy(shares),
            inception_score=float(np.exp(max(0.0, divergence))),
            frechet_distance=frechet_distance(self.features, real),
            accuracy=self._right / self._count if self._labelled else None,
        )
