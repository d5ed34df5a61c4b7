"""What optimizer tricks share, and the optimizer that a plan comes to."""

import dataclasses

import keras
from keras import ops

from zoo.errors import invalid
from zoo.plan import count
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


def decaying(plan, weight_decay):
    """Returns the plan with the decoupled weight decay of an optimizer, where that is not 0."""
    return plan.adding("optimizer_options", ("weight_decay", weight_decay)) if weight_decay else plan


def check_rates(trick, *, learning_rate=None, **betas):
    """Refuses a learning rate that is not positive and decay rates outside [0, 1)."""
    if learning_rate is not None and learning_rate <= 0:
        raise invalid(f"{trick}: `learning_rate` must be positive", learning_rate)
    for name, value in betas.items():
        if not 0 <= value < 1:
            raise invalid(f"{trick}: `{name}` must be in [0, 1)", value)


RULES = {  # what an option must be, in words -> names of such options, and the check
    "be positive": (
        ("learning_rate", "epsilon", "epsilon_1", "epsilon_2", "clip_threshold", "adam_lr_ratio", "rms_rate"),
        lambda value: value > 0,
    ),
    "be in [0, 1)": (
        ("beta_1", "beta_2", "rho", "momentum", "adam_beta_1", "adam_beta_2"),
        lambda value: 0 <= value < 1,
    ),
    "be 0 or more": (
        (
            "weight_decay",
            "adam_weight_decay",
            "initial_accumulator_value",
            "l1_regularization_strength",
            "l2_regularization_strength",
            "l2_shrinkage_regularization_strength",
            "beta",
            "warmup_steps",
        ),
        lambda value: value >= 0,
    ),
    "be 0 or less": (("learning_rate_power", "beta_2_decay"), lambda value: value <= 0),
    "be at least 1": (("ns_steps",), lambda value: value >= 1),
}


def check_options(trick, options):
    """Refuses options of an optimizer that are out of range; None is what an optimizer finds out by itself."""
    for words, (names, allows) in RULES.items():
        for name in names:
            if options.get(name) is not None and not allows(options[name]):
                raise invalid(f"{trick}: `{name}` must {words}", options[name])


class KerasOptimizer:
    """What the tricks share that are one Keras optimizer each, with its arguments for fields.

    Attributes:
        makes: the Keras class.
        slots: how many numbers it keeps for each weight.
    """

    makes = None
    slots = 0

    def __post_init__(self):
        check_options(self.name, self.options())

    def options(self):
        """Returns the fields, name -> value."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}

    def arguments(self, plan):
        """Returns what `makes` is called with, but for the learning rate and weight decay."""
        return {k: v for k, v in self.options().items() if k not in ("learning_rate", "weight_decay")}

    def apply(self, plan):
        arguments = self.arguments(plan)

        def make(learning_rate, **options):
            return self.makes(learning_rate, **arguments, **({"weight_decay": None} | options))

        make.__name__, make.trick = self.makes.__name__, self.name
        return with_optimizer(decaying(plan, self.weight_decay), make, self.learning_rate)

    def state(self, plan):
        """Returns how many numbers the optimizer keeps beside the weights of this model."""
        return self.slots * count(plan.trained)

    def explain(self, plan):
        shown = {
            k: v for k, v in self.options().items() if k not in ("learning_rate", "weight_decay") and v is not None
        }
        settings = ", ".join(f"{k} {v:g}" if type(v) is float else f"{k} {v}" for k, v in shown.items())
        decay = f"; every matrix shrinks by {self.weight_decay:g} times the rate" if self.weight_decay else ""
        return (
            f"{self.makes.__name__} at a peak learning rate of {plan.learning_rate:g} ({settings}){decay}; it keeps "
            f"{self.state(plan):,} numbers beside the weights"
        )


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
        asking = [getattr(factors, "trick", None) for factors in plan.rate_factors]
        scale_rates(optimizer, [factors(model) for factors in plan.rate_factors], asking)
    for wrap in plan.optimizer_wrappers:
        optimizer = wrap(optimizer, model)
    if isinstance(rate, BoundSchedule):
        optimizer.horizon = rate.horizon  # an attribute is tracked: saved, restored, and seen by every backend
    return optimizer


def scale_rates(optimizer, tables, asking=()):
    """Makes an optimizer multiply its learning rate by factors of each variable's own, in updates and weight decay.

    What the optimizer keeps, such as moments, is as without factors. Variables whose factor is 0 stand still.

    Args:
        optimizer: a `keras.optimizers.Optimizer`, changed in place.
        tables: dicts, path of a trainable variable -> factor, a number or a scalar `keras.Variable`; several multiply,
            and a variable in none has 1.
        asking: name of the trick that asks for each table, or None, for messages.

    Raises:
        InvalidArgument: the optimizer cannot work at rates of each variable's own.
    """
    if hasattr(optimizer, "generator"):  # a `zoo.adversarial.Alternating`
        works = f"Drop {_names(asking)}." if any(asking) else None
        raise invalid("two players take turns, at no learning rates of each variable's own", works=works)
    stopping = [any(not isinstance(f, (int, float)) or f == 0 for f in table.values()) for table in tables]
    if any(stopping) and isinstance(optimizer, (keras.optimizers.Ftrl, keras.optimizers.ScheduleFreeAdamW)):
        names = _names(name for name, stops in zip(asking, stopping, strict=False) if stops)
        raise invalid(
            f"ftrl and schedule_free_adamw make a weight out of sums over all steps, so it cannot stand still"
            f"{names and ' for '}{names}",
            type(optimizer).__name__,
            "Take another optimizer, such as adamw.",
        )
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
            if number:
                found.setdefault((number, *map(id, own)), (number, own, []))[2].append(i)
        return found.values()

    def scaled(rate, number, own):
        for factor in own:
            number = number * ops.cast(factor.value, rate.dtype)
        return rate * number

    def update_step(grads, trainable_variables, learning_rate):
        product = getattr(optimizer, "_u_product", None)  # of Nadam: each update multiplies it, and they are one step
        before = None if product is None else ops.copy(product)
        for number, own, places in groups(trainable_variables):
            if before is not None:
                product.assign(before)
            ours = [trainable_variables[i] for i in places]
            update([grads[i] for i in places], ours, scaled(learning_rate, number, own))

    def apply_weight_decay(variables):
        variables = [v for v in variables if optimizer._use_weight_decay(v)]
        for number, own, places in groups(variables):
            optimizer.__dict__["_get_current_learning_rate"] = lambda n=number, o=own: scaled(current(), n, o)
            try:
                decay([variables[i] for i in places])
            finally:
                del optimizer.__dict__["_get_current_learning_rate"]

    optimizer.__dict__.update(_backend_update_step=update_step, _apply_weight_decay=apply_weight_decay)


def _names(asking):
    return " and ".join(sorted({name for name in asking if name}))
