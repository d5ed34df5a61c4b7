"""The arms of an ablation: which recipes are trained, and which two of them tell what a trick does."""

from dataclasses import dataclass

from zoo.errors import invalid, unknown
from zoo.recipes import Recipe

FULL, PLAIN = "full", "plain"
LEFT_OUT, ADDED, WHOLE = "left out", "added", "whole recipe"
MODES = {"both": (LEFT_OUT, ADDED), "leave_one_out": (LEFT_OUT,), "add_one_in": (ADDED,)}


@dataclass(frozen=True)
class Arm:
    """One recipe that is trained with every seed; `name` is that of its folder."""

    name: str
    recipe: Recipe


@dataclass(frozen=True)
class Comparison:
    """One question: what does `trick` do, seen from the arm that has it to the arm that does not.

    Attributes:
        trick: name of the trick, or "all of them".
        kind: "left out" of the full recipe, "added" to the plain one, or the "whole recipe" against the plain one.
        arm: name of the arm with the trick.
        without: name of the arm without it.
    """

    trick: str
    kind: str
    arm: str
    without: str


def arms_of(recipe, mode="both"):
    """Returns `(arms, comparisons)` of a recipe.

    Of two tricks, leaving out one is adding the other alone: that arm is there once.

    Args:
        recipe: a `Recipe` with at least one trick.
        mode: "both", "leave_one_out" or "add_one_in".

    Raises:
        UnknownName: there is no such mode.
        InvalidArgument: the recipe has no tricks.
    """
    if mode not in MODES:
        raise unknown("mode of an ablation", mode, MODES)
    tricks = recipe.tricks
    if not tricks:
        works = "Give a recipe with at least one trick, such as 'focal+warmup'."
        raise invalid("a plain recipe has nothing to take out or to add", str(recipe), works)
    arms = {}

    def arm(kept):
        """Returns the name of the arm with these tricks, which is made when it is first asked for."""
        if len(kept) in (0, len(tricks)):
            name = FULL if kept else PLAIN
        elif len(kept) == 1:
            name = f"only-{kept[0].name}"
        else:
            name = f"without-{next(t.name for t in tricks if t not in kept)}"
        arms.setdefault(name, Arm(name, Recipe(tuple(kept), recipe.settings)))
        return name

    full, plain = arm(tricks), arm(())
    comparisons = []
    for kind in MODES[mode]:
        for t in tricks:
            if kind == LEFT_OUT:
                pair = full, arm(tuple(other for other in tricks if other != t))
            else:
                pair = arm((t,)), plain
            comparisons.append(Comparison(t.name, kind, *pair))
    if len(tricks) == 1:  # then both questions are one
        comparisons = comparisons[:1]
    else:
        comparisons.append(Comparison("all of them", WHOLE, full, plain))
    return tuple(arms.values()), tuple(comparisons)
