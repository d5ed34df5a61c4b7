"""What runs with equal seeds say about one change: paired differences, their intervals, and verdicts in words.

The same seed gives both runs the same start and order, so the difference within a seed varies less than the runs do.
Intervals are Student's, one at a time; verdicts are corrected for how many changes were asked about (Holm, 1979,
https://www.jstor.org/stable/4615733), so that of many useless tricks one does not pass by luck.
"""

import math
from dataclasses import dataclass

import numpy as np

from zoo.errors import invalid

CONFIDENCE = 0.95
HELPS, HURTS, NOISE, UNCLEAR, TOO_FEW = "helps", "hurts", "within noise", "unclear", "too few seeds"


@dataclass(frozen=True)
class Difference:
    """The difference that a change makes, over seeds.

    Attributes:
        each: one difference per seed, with the change minus without it, in the unit of the figure.
        mean: of these.
        std: their standard deviation (n - 1 in the denominator); NaN of fewer than two.
        low, high: ends of the confidence interval of the mean; NaN of fewer than two.
        p: of the two-sided t test that the mean is zero; NaN of fewer than two.
    """

    each: tuple
    mean: float
    std: float
    low: float
    high: float
    p: float


def paired(with_change, without, *, resolution=0.0, confidence=CONFIDENCE):
    """Returns the `Difference` between runs that were made with the same seeds.

    Args:
        with_change, without: figures (n,), one per seed, in the same order.
        resolution: step in which the figures come: 1/n of the accuracy of n examples. Each is rounded to it, so that
            differences that agree by rounding are not taken for certain: their variance is at least resolution^2 / 6,
            that of two roundings.
        confidence: share of such intervals that hold the true mean difference.

    Raises:
        InvalidArgument: the two differ in length, or are empty.
    """
    with_change, without = np.asarray(with_change, np.float64), np.asarray(without, np.float64)
    if with_change.ndim != 1 or with_change.shape != without.shape or not len(with_change):
        raise invalid("paired runs must be as many with the change as without", (with_change.shape, without.shape))
    each = with_change - without
    n, mean = len(each), float(each.mean())
    if n < 2:
        return Difference(tuple(each.tolist()), mean, math.nan, math.nan, math.nan, math.nan)
    from scipy.special import stdtr, stdtrit

    std = float(each.std(ddof=1))
    error = max(std, resolution / math.sqrt(6)) / math.sqrt(n)
    half = float(stdtrit(n - 1, 0.5 + confidence / 2)) * error
    p = float(mean == 0) if error == 0 else 2 * float(stdtr(n - 1, -abs(mean) / error))
    return Difference(tuple(each.tolist()), mean, std, mean - half, mean + half, p)


def holm(ps):
    """Returns p-values adjusted for how many there are, by Holm's step-down method; NaN stays and does not count."""
    adjusted = list(ps)
    order = sorted((i for i, p in enumerate(ps) if not math.isnan(p)), key=lambda i: ps[i])
    highest = 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(order) - rank) * ps[i]))
        adjusted[i] = highest
    return adjusted


def verdict(difference, adjusted_p, *, higher_is_better=True, confidence=CONFIDENCE):
    """Returns what a difference says, in words.

    "within noise": the interval contains 0. "unclear": it does not, but among so many comparisons one such is no
    surprise (its adjusted p is above 1 - confidence). Otherwise "helps" or "hurts"; of one seed "too few seeds".
    """
    if len(difference.each) < 2:
        return TOO_FEW
    if difference.low <= 0 <= difference.high:
        return NOISE
    if adjusted_p > 1 - confidence:
        return UNCLEAR
    return HELPS if (difference.mean > 0) == higher_is_better else HURTS


def binomial_error(share, examples):
    """Returns the standard error of a share of right answers among so many test examples."""
    return math.sqrt(max(share * (1 - share), 0.0) / examples)
