"""What optimizer tricks share, and the optimizer that a plan comes to."""

import keras
from keras import ops

from zoo.errors import invalid
from zoo.schedules import BoundSchedule


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


def optimizer_of(plan, model):
    """Returns the Keras optimizer of a plan for its compiled model: schedule, options, rate factors, wrappers."""
    rate = plan.learning_rate if plan.decay is None else plan.decay(plan.learning_rate)
    for wrap in plan.wrappers:
        rate = wrap(rate)
    options = dict(plan.optimizer_options)
    if plan.average is not None and plan.average[0] == "ema":
        options |= {"use_ema": True, "ema_momentum": plan.average[1]}
    optimizer = (plan.optimizer or keras.optimizers.Adam)(learning_rate=rate, **options)
    if options.get("weight_decay") and plan.decay_exempt:
        optimizer.exclude_from_weight_decay(var_list=[v for v in model.trainable_variables if len(v.shape) < 2])
    if plan.rate_factors:
        scale_rates(optimizer, [factors(model) for factors in plan.rate_factors])
    for wrap in plan.optimizer_wrappers:
        optimizer = wrap(optimizer, model)
    if isinstance(rate, BoundSchedule):
        optimizer.horizon = rate.horizon  # an attribute is tracked: saved, restored, and seen by every backend
    return optimizer


def scale_rates(optimizer, tables):
    """Makes an optimizer multiply its learning rate by factors of each variable's own, in updates and weight decay.

    Args:
        optimizer: a `keras.optimizers.Optimizer`, changed in place.
        tables: dicts, path of a trainable variable -> factor, a number or a scalar `keras.Variable`; several multiply,
            and a variable in none has 1.
    """
    update, decay = optimizer._backend_update_step, optimizer._apply_weight_decay
    current = optimizer._get_current_learning_rate
    held = {id(f): f for table in tables for f in table.values() if not isinstance(f, (int, float))}
    optimizer.held_factors = list(held.values())  # an attribute is tracked, as the horizon is

    def groups(variables):
        found = {}
        for i, variable in enumerate(variables):
            factors = [table[variable.path] for table in tables if variable.path in table]
            number = 1.0
            for factor in factors:
                number *= factor if isinstance(factor, (int, float)) else 1.0
            own = [f for f in factors if not isinstance(f, (int, float))]
            found.setdefault((number, *map(id, own)), (number, own, []))[2].append(i)
        return found.values()

    def scaled(rate, number, own):
        for factor in own:
            number = number * ops.cast(factor.value, rate.dtype)
        return rate * number

    def update_step(grads, trainable_variables, learning_rate):
        for number, own, places in groups(trainable_variables):
            ours = [trainable_variables[i] for i in places]
            update([grads[i] for i in places], ours, scaled(learning_rate, number, own))

    def apply_weight_decay(variables):
        for number, own, places in groups(variables):
            optimizer.__dict__["_get_current_learning_rate"] = lambda n=number, o=own: scaled(current(), n, o)
            try:
                decay([variables[i] for i in places])
            finally:
                del optimizer.__dict__["_get_current_learning_rate"]

    optimizer.__dict__.update(_backend_update_step=update_step, _apply_weight_decay=apply_weight_decay)
