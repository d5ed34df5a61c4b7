"""The learning-rate range test: from the loss at ever higher rates, which rate to train with.

Source: Smith, 2015, https://arxiv.org/abs/1506.01186, section 3.3
"""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.errors import invalid
from zoo.files import write_picture
from zoo.registry import LAID_OUT

PICTURE = "lr_finder.png"
_KEEP = 0.9  # share of the running mean of the loss that each step keeps
_TOO_HIGH = 4.0  # times the lowest running mean is divergence
_SETTLED = 10  # steps before divergence is looked for
FEWEST = 20  # steps of a test


class RateSearch:
    """The losses of a range test as they come.

    Attributes:
        rates, losses: of each step so far, lists of floats.
        diverged: whether the last loss was not finite, or the running mean was far above its lowest.
    """

    def __init__(self):
        self.rates, self.losses, self.diverged = [], [], False
        self._mean, self._lowest = 0.0, math.inf

    def add(self, rate, loss):
        """Takes the loss of one step at its learning rate. Returns whether training has diverged."""
        self.rates.append(float(rate))
        self.losses.append(float(loss))
        self._mean = _KEEP * self._mean + (1.0 - _KEEP) * loss
        mean = self._mean / (1.0 - _KEEP ** len(self.losses))  # as Adam corrects for the start at zero
        self._lowest = min(self._lowest, mean)
        far = mean > self._lowest + (_TOO_HIGH - 1.0) * abs(self._lowest)
        self.diverged = not math.isfinite(loss) or (far and len(self.losses) >= _SETTLED)
        return self.diverged


@dataclass(frozen=True)
class RatesFound:
    """What a range test found.

    Attributes:
        rates, losses: of each step, arrays (steps,).
        smoothed: the losses, each the mean of its neighbourhood; NaN at the ends and where a loss is not finite.
        steepest: the rate at which the loss falls fastest over log(rate); it is the suggestion. None where the loss
            never falls by more than its noise.
        lowest: the rate at which the loss is lowest, or None.
        diverged: whether the test ended because the loss diverged.
        picture: path of the picture, or None.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    steepest: float | None
    lowest: float | None
    diverged: bool
    picture: Path | None = None

    @property
    def suggested(self):
        """The learning rate to train with: the steepest; None where the loss never clearly falls."""
        return self.steepest

    def __str__(self):
        tested = f"{len(self.rates)} rates from {self.rates[0]:.2g} to {self.rates[-1]:.2g}"
        ended = ", where the loss diverged" if self.diverged else ""
        if self.steepest is None:
            return f"no learning rate is suggested: over {tested}{ended} the loss never clearly fell"
        return (
            f"suggested learning rate {self.steepest:.2g}: there the loss falls fastest (a tenth of where it is lowest "
            f"is {self.lowest / 10:.2g}); tested {tested}{ended}"
        )


def smooth(rates, losses):
    """Returns `(smoothed, slopes)`: each step's least-squares line of the loss over log(rate) around it.

    The neighbourhood is about a tenth of the steps, at least five; NaN where it is not whole or not finite.

    Args:
        rates: (n,), each the same factor above the one before.
        losses: (n,).
    """
    x, y = np.log(np.asarray(rates, np.float64)), np.asarray(losses, np.float64)
    half = max(2, len(x) // 20)
    middles, slopes = np.full(len(x), np.nan), np.full(len(x), np.nan)
    for i in range(half, len(x) - half):
        near = slice(i - half, i + half + 1)
        offsets = x[near] - x[near].mean()
        middles[i] = y[near].mean()
        slopes[i] = offsets @ y[near] / (offsets @ offsets)
    bad = ~np.isfinite(middles)
    middles[bad] = slopes[bad] = np.nan
    return middles, slopes


def found_rates(search):
    """Returns the `RatesFound` of a finished `RateSearch`; it suggests none where the loss diverged at once."""
    rates, losses = np.array(search.rates), np.array(search.losses)
    smoothed, slopes = smooth(rates, losses)
    steepest = lowest = None
    if np.isfinite(smoothed).any():
        first, low = np.flatnonzero(np.isfinite(smoothed))[0], int(np.nanargmin(smoothed))
        noise = np.nanstd((losses - smoothed)[: max(low, first + 2)])
        if low > first and smoothed[first] - smoothed[low] > noise:
            steepest = float(rates[first + np.argmin(slopes[first : low + 1])])
            lowest = float(rates[low])
    return RatesFound(rates, losses, smoothed, steepest, lowest, search.diverged)


def draw_rates(found, path, *, title):
    """Draws the loss against the learning rate, with what is suggested, and writes a PNG. Returns its path.

    Args:
        found: a `RatesFound`.
        path: the file to write.
        title: above the picture.
    """
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axis = figure.subplots()
    shown = np.isfinite(found.losses)
    axis.plot(found.rates[shown], found.losses[shown], color="C0", alpha=0.3, lw=1.0, label="each step")
    axis.plot(found.rates, found.smoothed, color="C0", lw=2.0, label="smoothed")
    axis.set_xscale("log")
    if found.steepest is not None:
        axis.axvline(found.steepest, color="C3", lw=1.5, label=f"suggested, steepest: {found.steepest:.2g}")
        tenth = f"a tenth of the lowest: {found.lowest / 10:.2g}"
        axis.axvline(found.lowest / 10, color="C1", lw=1.2, ls="--", label=tenth)
    usual = found.smoothed[np.isfinite(found.smoothed)]
    if len(usual):  # a loss that diverges would hide where it fell
        low, first = usual.min(), usual[0]
        margin = 0.15 * max(abs(first - low), 1e-3)
        axis.set_ylim(low - margin, max(first, low) + 3 * margin)
    axis.set_xlabel("learning rate")
    axis.set_ylabel("training loss")
    axis.grid(alpha=0.25)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    axis.legend(frameon=False, fontsize=8, loc="upper left" if found.steepest is None else "best")
    axis.set_title(title, fontsize=11)
    return write_picture(path, figure)


def find_learning_rate(
    model,
    data,
    *,
    recipe=None,
    low=1e-7,
    high=10.0,
    steps=200,
    batch_size=None,
    seed=0,
    out=None,
    data_options=None,
    **arguments,
):
    """Tests learning rates from low to high, one a step, on a model that keeps its weights, and suggests one.

    Args:
        model: a model's name, or a model that `zoo.build` or `zoo.load` returned.
        data: a data set's name, a path, or a `zoo.data.base.Dataset`.
        recipe: whose optimizer, loss and augmentation are used; its schedule, and what acts over epochs, is left out.
            By default the model's own, else "plain".
        low, high: first and last rate.
        steps: how many rates; the data is read again where an epoch is shorter.
        batch_size: by default the named recipe's, else 32.
        seed: of initial weights, order, dropout and augmentation.
        out: path of the picture to draw, a PNG, or None.
        data_options: options of the data set.
        **arguments: of the builder, for a model given by name.

    Returns:
        `RatesFound`; `str()` says what is suggested.

    Raises:
        InvalidArgument: something cannot work; nothing was changed.
    """
    from zoo.settings import policy, settings_of, whole
    from zoo.training import prepared

    if whole("steps", steps) < FEWEST:
        raise invalid(f"`steps` must be at least {FEWEST}", steps)
    chosen = tested_recipe(model, recipe, low, high)
    settings = settings_of(chosen, 1, batch_size, seed, "last", None, None, True)
    with policy(settings):
        compiled, dataset = prepared(model, data, chosen, settings, data_options, arguments)
        found = _tested(compiled, dataset, settings, steps)
    if out is not None:
        title = f"{compiled.zoo_spec.name} on {dataset.name}, {chosen}"
        found = RatesFound(**{**vars(found), "picture": draw_rates(found, out, title=title)})
    return found


def tested_recipe(model, recipe, low, high):
    """Returns the `Recipe` of a range test: the tricks of a recipe that act within a step, and lr_finder."""
    from zoo.recipes import Recipe
    from zoo.recipes import recipe as read

    own = None if isinstance(model, str) else getattr(model, "recipe", None)
    chosen = read(recipe if recipe is not None else own if own is not None else "plain")
    kept = Recipe(tuple(t for t in chosen.tricks if t.stage not in LAID_OUT or t.name == "freeze_bn"))
    made = read(f"{kept.exact}+lr_finder(low={float(low)!r}, high={float(high)!r})")
    return Recipe(made.tricks, chosen.settings)


def _tested(model, dataset, settings, steps):
    from zoo.averages import put_back, values_of
    from zoo.data.feed import feed, plain_errors, steps_per_epoch
    from zoo.measuring import ResetStates

    batch_size = settings["batch_size"]
    training = dataset.train.for_batches(batch_size)
    epochs = math.ceil(steps / steps_per_epoch(training, batch_size))
    order = {"seed": settings["seed"], "epochs": epochs, "augment": model.plan.augment, "balance": model.plan.balance}
    before = values_of(model.variables)
    try:
        with plain_errors():
            batches = feed(training, batch_size, **order)
            options = {"verbose": 0, "shuffle": False, "augment": False, "callbacks": [ResetStates()]}
            model.fit(batches, epochs=1, steps_per_epoch=steps, **options)
    finally:
        put_back(before)  # after an error too
    return model.rates_found
