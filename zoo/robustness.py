"""How well a finished image classifier withstands attacks: accuracy on the worst images that one finds nearby.

    zoo.evaluate(model, "mnist", attack="pgd(steps=100, restarts=20, epsilon=0.3)", limit=1000)

Sizes are in the unit of pixels, 0 black and 1 white, whatever numbers the model is fed: the attack moves pixels, and
the model's own preprocessing (`zoo.data.preprocessing`) turns them into its input.

Paper: Madry et al., 2017, https://arxiv.org/abs/1706.06083, section 5 (restarts from random points of the ball)
"""

import math
from dataclasses import dataclass, fields

import numpy as np

from zoo.arguments import checked
from zoo.data.declarations import completed
from zoo.errors import DataError, invalid, unknown
from zoo.recipes import terms_of

_ROUNDING = 1e-4  # pixels that preprocessing leaves outside 0 to 1


@dataclass(frozen=True)
class Pgd:
    """Projected gradient descent as `zoo.attacks.pgd` runs it, in the unit of pixels from 0 to 1.

    `epsilon`: largest change of any pixel. `steps`: of each attack. `restarts`: attacks of each image at most.
    `step_size`: of one step; None is 2.5 * epsilon / steps. `random_start`: whether from a random point of the ball.
    """

    epsilon: float
    steps: int = 40
    restarts: int = 1
    step_size: float | None = None
    random_start: bool = True

    def __post_init__(self):
        if not 0 < self.epsilon <= 1:
            works = "It is in the unit of pixels, 0 black and 1 white: 8 of 255 levels are 8 / 255 = 0.0314."
            raise invalid("pgd: `epsilon` must be above 0 and at most 1", self.epsilon, works)
        for name in ("steps", "restarts"):
            if getattr(self, name) < 1:
                raise invalid(f"pgd: `{name}` must be 1 or more", getattr(self, name))
        if self.step_size is not None and self.step_size <= 0:
            raise invalid("pgd: `step_size` must be positive", self.step_size)
        if self.restarts > 1 and not self.random_start:
            works = "Leave out random_start=False, or write restarts=1."
            raise invalid("pgd: without a random start every restart is the same", self.restarts, works)

    def __str__(self):
        given = ((f.name, getattr(self, f.name), f.default) for f in fields(self))
        return f"pgd({', '.join(f'{name}={value!r}' for name, value, default in sorted(given) if value != default)})"

    def most_passes(self, examples):
        """Returns how many gradients of one image the attack takes at most: where every image withstands."""
        return examples * self.steps * self.restarts

    def budget(self, examples):
        """Returns that in words, for before it begins."""
        each = f"{examples:,} examples x {self.steps} steps x {self.restarts} restarts"
        return f"{self}: at most {self.most_passes(examples):,} gradients of one image, {each}"


ATTACKS = {"pgd": Pgd}


def attack_of(text):
    """Returns the attack that a text describes; an attack is returned as it is. Imports no Keras.

    Args:
        text: such as "pgd(steps=100, restarts=20, epsilon=0.3)".

    Raises:
        UnknownName: the attack or an argument is not known; the message gives the nearest.
        InvalidArgument: the text cannot be read, or a value is out of range.
    """
    if isinstance(text, tuple(ATTACKS.values())):
        return text
    example = "Write one such as 'pgd(epsilon=0.1, steps=20, restarts=2)'."
    if not isinstance(text, str) or not text.strip():
        raise invalid("an attack must be a text", text, example)
    found = terms_of(text, "attack", example)
    if len(found) != 1 or found[0][0] < 0:
        raise invalid("one attack at a time", text, example)
    _, name, arguments = found[0]
    if name not in ATTACKS:
        raise unknown("attack", name, ATTACKS)
    return ATTACKS[name](**checked(f"attack {name!r}", ATTACKS[name], arguments))


def check_model(model, attack):
    """Refuses a model whose images have no gradients or whose answer is no single class.

    Raises:
        InvalidArgument: saying what the model takes or gives.
    """
    from zoo.objectives import floating
    from zoo.plan import heads_of

    inputs = [f"{i.name} {tuple(i.shape[1:])}: {i.dtype}" for i in model.inputs]
    if len(model.inputs) != 1 or not floating(model.inputs[0]) or len(model.inputs[0].shape) != 4:
        works = "It takes models of one image; against words, train with fgm and evaluate on other texts."
        raise invalid(f"{attack} moves the pixels of an image, which {model.name} does not take", inputs, works)
    heads = heads_of(model)
    if len(heads) != 1 or not (heads[0].kind == "softmax" or (heads[0].kind, heads[0].units) == ("sigmoid", 1)):
        kinds = [f"{head.name}: {head.kind} of {head.units}" for head in heads]
        works = "It takes models that choose one of several classes."
        raise invalid(f"{attack} misleads to another class, which {model.name} does not choose", kinds, works)


class Pixels:
    """What lies between pixels from 0 to 1 and the input of a model.

    Args:
        declared: the preprocessing declaration, see `zoo.data.preprocessing`.

    Raises:
        InvalidArgument: it is not of images, or says no range of pixels, so that 0 to 1 has no meaning.
    """

    def __init__(self, declared):
        kind = (declared or {}).get("kind")
        if kind != "image":
            raise invalid("an attack in the unit of pixels needs images", kind or "no preprocessing")
        declared = completed(declared)
        if declared["maximum"] is None:
            works = "Use zoo.attacks.pgd, whose epsilon, low and high are in the unit of the model's input."
            raise invalid("the range of these pixels is not declared, so that 0 to 1 means nothing", None, works)
        channels = declared["image_shape"][-1]
        self.factor = declared["scale"] * declared["maximum"]
        self.mean = np.asarray(declared.get("mean") or [0.0] * channels)
        self.std = np.asarray(declared.get("std") or [1.0] * channels)

    @property
    def plain(self):
        """Whether the model is fed pixels from 0 to 1 as they are."""
        return math.isclose(self.factor, 1.0, rel_tol=1e-6) and not self.mean.any() and bool((self.std == 1).all())

    def of(self, x):
        """Returns the pixels that became model inputs `x` (n, H, W, C).

        Raises:
            DataError: they are not in 0 to 1.
        """
        found = x if self.plain else (x * self.std + self.mean) / self.factor
        low, high = float(found.min()), float(found.max())
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            wrong = "these images have pixels outside the range that the model's preprocessing declares"
            raise invalid(wrong, f"{low:.4g} to {high:.4g} of 0 to 1", error=DataError)
        return np.clip(found, 0.0, 1.0).astype("float32")

    def before(self, model):
        """Returns the model as a function of pixels, a `keras.Model` that shares its weights."""
        if self.plain:
            return model
        import keras

        image = keras.Input(model.inputs[0].shape[1:], name="pixels")
        fed = keras.layers.Rescaling((self.factor / self.std).tolist(), (-self.mean / self.std).tolist())(image)
        return keras.Model(image, model(fed), name=model.name)


def robust(model, split, declared, attack, *, batch_size=64, seed=0, quiet=False):
    """Measures accuracy before and under an attack.

    An image counts as withstood where the model is right on it as it is and at the end of every restart; one that is
    answered wrongly anyway is not attacked.

    Args:
        model: a `keras.Model` that chooses one class for one image.
        split: a `zoo.data.base.Split` of class numbers.
        declared: the preprocessing that its inputs have been through.
        attack: a `Pgd`.
        batch_size: images attacked at once.
        seed: of the random starts.
        quiet: whether to print nothing; else a line with the budget, and in a terminal how it goes.

    Returns:
        dict of `accuracy`, `robust_accuracy`, `examples`, and how it was found: `attack`, `seed`, `gradient_passes`
        and `most_gradient_passes` (of one image each), and `largest_change` of any pixel.

    Raises:
        InvalidArgument: model or preprocessing cannot be attacked so.
        DataError: images have several classes each, or pixels outside the declared range.
    """
    from zoo.attacks import pgd, right_answers
    from zoo.progress import console, say

    check_model(model, attack)
    pixels = Pixels(declared)
    x, y = split.arrays()
    if isinstance(y, dict) or np.ndim(y) != 1:
        raise invalid("an attack needs one class number for each image", np.shape(y), error=DataError)
    x, seen = pixels.of(x), pixels.before(model)
    printed = console(quiet)
    say(printed, attack.budget(len(x)))
    right = _right(seen, x, y, batch_size, right_answers)
    places = np.flatnonzero(right)
    change, counted = 0.0, _Counter(attack, len(places), printed)
    if len(places):
        options = {"restarts": attack.restarts, "random_start": attack.random_start}
        options |= {"batch_size": batch_size, "seed": seed, "told": counted}
        with counted:
            sizes = attack.epsilon, attack.steps, attack.step_size
            moved = pgd(seen, x[places], y[places], *sizes, low=0.0, high=1.0, **options)
        change = float(np.abs(moved - x[places]).max())
        right[places] = _right(seen, moved, y[places], batch_size, right_answers)
    return {
        "accuracy": len(places) / len(x),
        "robust_accuracy": float(right.mean()),
        "examples": len(x),
        "attack": str(attack),
        "seed": seed,
        "gradient_passes": counted.passes,
        "most_gradient_passes": attack.most_passes(len(x)),
        "largest_change": change,
    }


def _right(model, x, y, batch_size, right_answers):
    logits = model.predict(x, batch_size=batch_size, verbose=0)
    return right_answers(next(iter(logits.values())) if isinstance(logits, dict) else logits, y)


class _Counter:
    """Counts the gradients that an attack takes, and shows in a terminal how far it is."""

    def __init__(self, attack, examples, console):
        self.attack, self.examples, self.console = attack, examples, console
        self.passes, self._before, self._bar = 0, (1, 0), None

    def __enter__(self):
        if self.console.is_terminal:
            from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

            columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
            self._bar = Progress(*columns, TextColumn("{task.fields[now]}"), console=self.console, transient=True)
            self._bar.start()
            total = self.attack.most_passes(self.examples)
            self._task = self._bar.add_task(f"restart 1/{self.attack.restarts}", total=total, now="")

    def __call__(self, restart, attacked, misled):
        steps, (last, done) = self.attack.steps, self._before
        self.passes += steps * (attacked - (done if restart == last else 0))
        self._before = restart, attacked
        if self._bar:
            standing = self.examples - misled
            left = max(0, standing - attacked) + standing * (self.attack.restarts - restart)
            words = f"restart {restart}/{self.attack.restarts}"
            now = f"{standing:,} of {self.examples:,} withstand"
            self._bar.update(
                self._task, description=words, completed=self.passes, total=self.passes + left * steps, now=now
            )

    def __exit__(self, *_):
        if self._bar:
            self._bar.stop()
