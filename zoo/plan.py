"""The Plan: what training one model will do, as an immutable record that tricks change field by field."""

import dataclasses
import math
from dataclasses import dataclass

from zoo.errors import invalid, unknown
from zoo.spec import spec_of
from zoo.tasks import HEAD_KINDS, task_of


@dataclass(frozen=True)
class Head:
    """One output of a model.

    Attributes:
        name: of the output.
        kind: one of `zoo.tasks.HEAD_KINDS`, such as "softmax" (exclusive classes) or "regression".
        units: size of the last axis.
        weight: of its loss in the training loss.
    """

    name: str
    kind: str
    units: int
    weight: float = 1.0


@dataclass(frozen=True)
class Plan:
    """What training will do.

    A field that holds one thing can be set by one trick; two that set it conflict. A field that holds a tuple is
    appended to, so its tricks compose.

    What a trick keeps from step to step is in Keras variables that the compiled model or its optimizer tracks (those
    of `extras`, of `rate_factors`, of callbacks), so that it is saved, resumed, and seen by every backend.

    Attributes:
        model: the `keras.Model`, read by tricks to see what they can act on, never changed.
        heads: one `Head` per output.
        tricks: the names of all tricks of the recipe, for what one of them asks of another.
        head_kind: "softmax" or "sigmoid", what the class heads are turned into, or None.
        loss_weights: dict, head name -> weight of its loss, for heads whose weight is not the builder's; or None.
        augment: functions `(x, y, seeds) -> (x, y)` run on each training batch in tf.data.
        balance: how classes are balanced, an object of `zoo.balancing`, or None.
        subset: which training examples are used, an object of `zoo.scoring`, or None.
        label_smoothing: share of the target that is spread over all classes.
        loss: function `(Head, label_smoothing) -> keras.losses.Loss`, or None for the head's standard loss.
        loss_wrappers: functions `(Head, Loss) -> Loss`, applied to the finished loss of each head.
        perturb: function `step -> [(variable, offset)]`: the plain loss, and every later pass of the step, are taken
            at weights moved by these; or None.
        objective: functions `(step, loss) -> loss`, run in order in each training step; `step` is a
            `zoo.objectives.Step`.
        watched: layers whose outputs in the plain pass the objectives need.
        bound: function `loss -> loss` that is applied to the finished training loss, or None.
        inference_layers: layers that run as in inference in training steps too.
        frozen: variables of the model that training leaves as they are, see `zoo.freezing`; no gradient is taken by
            them, and the optimizer keeps nothing for them.
        adapters: those `extras` that add to what a layer of the model gives, see `zoo.adapters`.
        cached: what takes the place of the model and its data where only a part of the model is run, an object of
            `zoo.probing`, or None.
        extras: built `keras.Layer`s beside the model whose variables a trick trains or keeps; before each loss their
            `in_training` is set to whether it is that of a training step.
        optimizer: function `(learning_rate, **options) -> keras.optimizers.Optimizer`.
        optimizer_options: pairs (name, value) of options that every Keras optimizer takes, such as `clipnorm`.
        optimizer_wrappers: functions `(optimizer, model) -> optimizer`.
        decay_exempt: whether `weight_decay` leaves out weights of fewer than two dimensions: biases, normalisation.
        rate_factors: functions `model -> {variable path: factor}` of the learning rate; a factor is a number or a
            scalar `keras.Variable`. One whose factors stop a variable has the name of its trick in `trick`.
        learning_rate: the peak rate, which `decay` and `wrappers` shape over the steps.
        decay: function `peak rate -> schedule`, or None for a constant rate.
        wrappers: functions `rate or schedule -> schedule`.
        average: the average of the weights that validation uses and a run keeps, as ("ema", momentum) for one that
            the optimizer keeps; or None.
        callbacks: functions `() -> keras.callbacks.Callback`, called at each `fit`; see `zoo.session.Session`.
        unripe: first epochs in which the recipe asks for less than it will: none of them is kept as the best, once a
            later one is there.
        before_fit: functions `model -> None`, called at the start of each `fit`; what they refuse, nothing was done.
        sources: functions `() -> {name: hash}` of what decides the result and is read from outside the recipe; a run
            records it, and goes on only with the same.
        at_fit: functions `(batch_size, steps_per_epoch, epochs) -> sentences` on what will not work well; the first
            two are None where they are not known.
        cautions: sentences on what will not work well whatever the data.
    """

    model: object
    name: str
    task: str
    heads: tuple
    tricks: tuple = ()
    head_kind: str | None = None
    loss_weights: dict | None = None
    augment: tuple = ()
    balance: object = None
    subset: object = None
    label_smoothing: float = 0.0
    loss: object = None
    loss_wrappers: tuple = ()
    perturb: object = None
    objective: tuple = ()
    watched: tuple = ()
    bound: object = None
    inference_layers: tuple = ()
    frozen: tuple = ()
    adapters: tuple = ()
    cached: object = None
    extras: tuple = ()
    optimizer: object = None
    optimizer_options: tuple = ()
    optimizer_wrappers: tuple = ()
    decay_exempt: bool = True
    rate_factors: tuple = ()
    learning_rate: float = 1e-3
    decay: object = None
    wrappers: tuple = ()
    average: tuple | None = None  # one value for conflicts, though a tuple
    callbacks: tuple = ()
    unripe: int = 0
    before_fit: tuple = ()
    sources: tuple = ()
    at_fit: tuple = ()
    cautions: tuple = ()

    def but(self, **changes):
        """Returns a copy with some fields replaced."""
        return dataclasses.replace(self, **changes)

    def adding(self, field, *items):
        """Returns a copy with `items` appended to a tuple field."""
        return self.but(**{field: (*getattr(self, field), *items)})

    @property
    def trained(self):
        """The variables that training changes: the model's without the frozen, and those of `extras`."""
        old = (layer for layer in getattr(self.model, "_extras", ()) if layer not in self.extras)
        left = {id(v) for v in (*self.frozen, *(v for layer in old for v in layer.weights))}
        own = {id(v): v for v in self.model.trainable_variables if id(v) not in left}
        return list((own | {id(v): v for layer in self.extras for v in layer.trainable_variables}).values())

    def replaced_in(self, other):
        """Returns the names of what one trick alone can set and that differs in `other`: fields, optimizer options."""
        fields = [f.name for f in dataclasses.fields(self) if f.default != ()]
        pairs = ((n, getattr(self, n), getattr(other, n)) for n in fields if n != "heads")
        options = [name for name, _ in other.optimizer_options[len(self.optimizer_options) :]]
        return [n for n, mine, its in pairs if mine is not its] + options

    def settled(self):
        """Returns the plan with its heads as `head_kind` and `loss_weights` say.

        Raises:
            UnknownName: a weight is given for a head that the model does not have.
        """
        heads = self.heads
        if self.head_kind is not None:
            classes = ("softmax", "sigmoid")
            turned = {h for h in heads if h.kind in classes and h.units > 1}  # one unit is a yes or no either way
            heads = [dataclasses.replace(h, kind=self.head_kind) if h in turned else h for h in heads]
        if self.loss_weights is not None:
            names = [h.name for h in heads]
            for name in self.loss_weights:
                if name not in names:
                    raise unknown(f"head of model {self.name!r}", name, names)
            heads = [dataclasses.replace(h, weight=float(self.loss_weights.get(h.name, h.weight))) for h in heads]
        return self.but(heads=tuple(heads))

    def describe(self):
        """Returns one line on what plain training of this model means."""
        weighted = len(self.heads) > 1
        losses = ", ".join(
            (f"{h.weight:g} times " if weighted else "") + f"{h.units}-way {HEAD_KINDS[h.kind]} on {h.name!r}"
            for h in self.heads
        )
        optimizer = "Adam" if self.optimizer is None else getattr(self.optimizer, "__name__", "its own optimizer")
        return f"{losses}; {optimizer} at {self.learning_rate:g}"

    def head_for(self, trick, kinds):
        """Returns the heads of the given kinds.

        Raises:
            InvalidArgument: the model has none; the trick would do nothing.
        """
        found = [h for h in self.heads if h.kind in kinds]
        if not found:
            has = [f"{h.name}: {h.kind}" for h in self.heads]
            raise invalid(f"{trick} finds no {' or '.join(kinds)} head in model {self.name!r}", has, f"Drop {trick}.")
        return found


def start(model, task=None):
    """Returns the Plan of plain training: the task's standard loss, Adam, a constant rate.

    Args:
        model: a Functional `keras.Model` whose outputs are logits.
        task: overrides the task that zoo's builder declared; needed for a model that zoo did not build.

    Raises:
        InvalidArgument: the task is unknown or missing, or an output's shape does not fit it.
    """
    if not getattr(model, "outputs", None):
        raise invalid(
            "a recipe needs a Functional keras.Model, whose inputs and outputs are known", type(model).__name__
        )
    if task is None:
        task = spec_of(model).task
    task_of(task)
    plan = Plan(model, model.name, task, heads_of(model, task))
    if any(head.kind == "critic" for head in plan.heads):
        from zoo.adversarial import game

        plan = game(plan)
    return plan


def count(variables):
    """Returns how many numbers variables hold together."""
    return sum(math.prod(v.shape) for v in variables)


def by_name(model, outputs):
    """Returns what a call of a model gave, or anything of that structure, as a dict, output name -> its part."""
    if isinstance(outputs, dict):
        return outputs
    listed = outputs if isinstance(outputs, (list, tuple)) else [outputs]
    return dict(zip(model.output_names, listed, strict=True))


def heads_of(model, task=None):
    """Returns one `Head` per output of a model, as its builder declared them; undeclared ones are classifiers.

    A language model's classes are those of each step of a sequence; other classifiers have one set for each example.

    Raises:
        InvalidArgument: an output's shape does not fit its kind.
    """
    spec = getattr(model, "zoo_spec", None)
    declared, task = getattr(spec, "heads", None) or {}, task or getattr(spec, "task", None)
    heads = []
    for name, output in zip(model.output_names, model.outputs, strict=True):
        if len(output.shape) < 2 or output.shape[-1] is None:
            raise invalid(f"output {name!r} must have shape (batch, classes)", tuple(output.shape))
        units = output.shape[-1]
        row = declared.get(name, {"kind": "sigmoid" if units == 1 else "softmax", "weight": 1.0})
        by_step = row["kind"] == "regression" or task == "text_generation"
        if len(output.shape) > 2 and not by_step:
            raise invalid(f"output {name!r} must have shape (batch, classes)", tuple(output.shape))
        kind = "sigmoid" if units == 1 and row["kind"] == "softmax" else row["kind"]  # a softmax of one is always 1
        heads.append(Head(name, kind, units, row["weight"]))
    return tuple(heads)
