"""The mathematics of pooling classifiers: weights on their probabilities, figures, and how differently they err.

Everything here takes NumPy arrays: probabilities float64 (M, n, C) of M members, or (n, C) of one, and class numbers
int (n,).
"""

import numpy as np

from zoo.errors import invalid

FLOOR = 1e-7  # smallest probability whose logarithm is taken: a forest of 100 trees gives exact zeros
ROUNDS = 100  # of greedy selection: weights are multiples of 1 / rounds or coarser


def pooled(probabilities, weights):
    """Returns the weighted arithmetic mean of the members' probabilities, (n, C)."""
    return np.einsum("m,mnc->nc", np.asarray(weights, np.float64), probabilities)


def log_loss(probabilities, labels):
    """Returns the mean cross-entropy of (n, C), each probability taken as at least `FLOOR`."""
    return float(-np.log(np.maximum(_of_true(probabilities, labels), FLOOR)).mean())


def calibration_error(probabilities, labels, bins=15):
    """Returns the expected calibration error: the mean gap between confidence and accuracy over bins of confidence.

    Source: Guo et al., 2017, https://arxiv.org/abs/1706.04599, equation 3; 15 bins of equal width, as there.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(place, right - confidence, minlength=bins)  # each the bin's size times its gap
    return float(np.abs(gaps).sum() / len(labels))


def figures_of(probabilities, labels):
    """Returns the `accuracy`, `loss` (cross-entropy) and `ece` (expected calibration error) of (n, C)."""
    accuracy = float((probabilities.argmax(axis=1) == labels).mean())
    return {
        "accuracy": accuracy,
        "loss": log_loss(probabilities, labels),
        "ece": calibration_error(probabilities, labels),
    }


# Weights


def likeliest_weights(probabilities, labels, tolerance=1e-6, steps=20_000):
    """Returns the weights on the simplex whose mixture has the least cross-entropy on the given examples.

    The problem is convex; expectation-maximisation for mixture proportions solves it without a step size: each weight
    is multiplied by the mean of its member's probability of the true class over the mixture's (Dempster et al., 1977,
    https://doi.org/10.1111/j.2517-6161.1977.tb01600.x, section 4.3). The greatest of these means, less 1, bounds how
    far the cross-entropy is from the least; the iteration ends when that is below `tolerance`.
    """
    true = np.maximum(np.stack([_of_true(p, labels) for p in probabilities]), FLOOR)  # (M, n)
    weights = np.full(len(true), 1 / len(true))
    for _ in range(steps):
        gains = (true / (weights @ true)).mean(axis=1)
        if gains.max() < 1 + tolerance:
            break
        weights = weights * gains  # sums to 1 again
    weights[weights < 1e-4] = 0.0  # of a member that has no part in the mixture it only tends to zero
    return weights / weights.sum()


def greedy_weights(probabilities, labels, rounds=ROUNDS):
    """Returns the weights of forward selection with replacement: each round adds the member that helps most.

    The mean starts from the best member, is judged by cross-entropy, and the best of all rounds is kept.
    Source: Caruana et al., 2004, https://doi.org/10.1145/1015330.1015432, sections 2 and 2.1.
    """
    true = np.stack([_of_true(p, labels) for p in probabilities])  # (M, n): all that cross-entropy asks
    counts, total, best = np.zeros(len(true), int), np.zeros(true.shape[1]), (np.inf, None)
    for done in range(rounds):
        losses = [-np.log(np.maximum((total + row) / (done + 1), FLOOR)).mean() for row in true]
        chosen = int(np.argmin(losses))
        counts[chosen] += 1
        total += true[chosen]
        if losses[chosen] < best[0] - 1e-12:
            best = losses[chosen], counts / counts.sum()
    return best[1]


def weights_by(how, probabilities, labels):
    """Returns the members' weights, (M,), chosen on validation data.

    Raises:
        InvalidArgument: `how` is neither a way to choose nor one weight, not negative, for each member.
    """
    members = len(probabilities)
    if isinstance(how, str):
        ways = {"validation": likeliest_weights, "greedy": greedy_weights}
        if how == "uniform":
            return np.full(members, 1 / members)
        if how in ways:
            return ways[how](probabilities, labels)
        raise invalid("`weights` must be 'uniform', 'validation' or 'greedy', or one number for each member", how)
    given = np.asarray(how, np.float64)
    if given.shape != (members,) or not np.isfinite(given).all() or (given < 0).any() or not given.sum():
        raise invalid(f"`weights` must be {members} numbers that are not negative and not all zero", how)
    return given / given.sum()


# Diversity


def disagreement(probabilities):
    """Returns the share of examples on which each two members name different classes, (M, M)."""
    named = probabilities.argmax(axis=2)
    return (named[:, None] != named[None]).mean(axis=2)


def error_correlation(probabilities, labels):
    """Returns the correlation of each two members' errors, (M, M); NaN where a member makes none, or only errors.

    An error is 1 and a right answer 0, so this is the phi coefficient: 1 when two members fail on the same examples,
    0 when the failures of one say nothing about those of the other.
    """
    wrong = (probabilities.argmax(axis=2) != labels).astype(np.float64)
    centred = wrong - wrong.mean(axis=1, keepdims=True)
    size = np.sqrt(np.square(centred).sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (centred @ centred.T) / np.outer(size, size)
    return np.where(np.isfinite(found), np.clip(found, -1.0, 1.0), np.nan)


def mean_of_pairs(matrix):
    """Returns the mean over pairs of different members, NaN where there is no pair that has a number."""
    above = matrix[np.triu_indices(len(matrix), 1)]
    above = above[np.isfinite(above)]
    return float(above.mean()) if len(above) else float("nan")


def _of_true(probabilities, labels):
    return probabilities[np.arange(len(labels)), labels]
