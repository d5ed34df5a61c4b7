"""What optimizer tricks share: they set the plan's optimizer and, where one is given, its learning rate."""

from zoo.errors import invalid


def with_optimizer(plan, make, learning_rate):
    """Returns the plan with another optimizer; a learning rate of None keeps the plan's.

    Where two players train against each other, the other optimizer is that of both, and they still take turns.

    Args:
        make: function `(learning_rate, **options) -> keras.optimizers.Optimizer`, with a `__name__` for people.
    """
    if hasattr(plan.optimizer, "playing"):  # a `zoo.adversarial.Players`
        make = plan.optimizer.playing(make)
    changed = plan.but(optimizer=make)
    return changed if learning_rate is None else changed.but(learning_rate=learning_rate)


def check_rates(trick, *, learning_rate=None, **betas):
    """Refuses a learning rate that is not positive and decay rates outside [0, 1)."""
    if learning_rate is not None and learning_rate <= 0:
        raise invalid(f"{trick}: `learning_rate` must be positive", learning_rate)
    for name, value in betas.items():
        if not 0 <= value < 1:
            raise invalid(f"{trick}: `{name}` must be in [0, 1)", value)
