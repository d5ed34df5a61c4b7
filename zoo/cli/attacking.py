"""What `zoo evaluate --attack` checks and prints. Nothing here imports Keras."""

import time

from zoo.cli import screen
from zoo.errors import invalid
from zoo.tasks import figure


def check(attack, seed):
    """Checks the words of an attack before any work.

    Raises:
        As `zoo.robustness.attack_of`.
        InvalidArgument: there is a seed and no attack that would draw with it.
    """
    if attack is not None:
        from zoo.robustness import attack_of

        attack_of(attack)
    elif seed is not None:
        raise invalid("--seed is of the random starts of an attack", seed, "Add --attack, or leave it out.")


def timed(measure):
    """Returns what `measure()` returns, and the seconds that it took."""
    began = time.perf_counter()
    return measure(), time.perf_counter() - began


def attacked(found, seconds, split, data):
    """Prints what `zoo.robustness.robust` measured."""
    figures = [f"{name.replace('_', ' ')} {figure(name, found[name])}" for name in ("accuracy", "robust_accuracy")]
    screen.line(f"{split} {', '.join(figures)}, on {found['examples']:,} examples of {data}")
    passes = f"{found['gradient_passes']:,} of at most {found['most_gradient_passes']:,} gradients"
    screen.line(
        f"{found['attack']}, seed {found['seed']}: {passes}, largest change {found['largest_change']:.4g}, "
        f"{seconds:.0f} s"
    )
