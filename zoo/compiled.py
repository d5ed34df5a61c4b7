"""The compiled model: a Functional `keras.Model` whose recipe acts in `fit` and survives saving."""

import warnings

import keras
import numpy as np

from zoo.adapters import merge
from zoo.averages import own_buffers
from zoo.batch_statistics import tiny_batches
from zoo.data.checks import exclusive, finite, first_bad
from zoo.errors import DataError, RecipeWarning, ZooError, invalid
from zoo.freezing import freeze, thaw
from zoo.metrics import ClassAccuracy
from zoo.objectives import Recorder, Step, called_as, running
from zoo.optimizers import optimizer_of
from zoo.plan import count
from zoo.recipes import recipe
from zoo.recurrent_state import states_of
from zoo.schedules import BoundSchedule
from zoo.spec import Spec, attach, spec_of


@keras.saving.register_keras_serializable("zoo")
class ZooModel(keras.Model):
    """A `keras.Model` compiled from a recipe; made by `zoo.build(..., recipe=...)`.

    It behaves as any compiled model. `compile()` with arguments of your own replaces the recipe.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._recipe = None
        self._plan = None
        self._recorder = None
        self._recipe_options = {}
        self._made = None  # the recipe's callbacks for the next `fit`, where somebody asked for them before
        # Of the plan; tracked, and so saved and restored:
        self._seeds = []  # of objectives that draw random numbers
        self._extras = []  # layers that are trained or kept beside the model's own

    @classmethod
    def of(cls, model, chosen, *, task=None, **options):
        """Returns a compiled model over the layers of `model`, its weights shared."""
        made = cls(model.input, _outputs(model), name=model.name)
        if task is None:
            task = spec_of(model).task
        known = spec_of(model, default=Spec(name=model.name, arguments={}, task=task))
        _carry_origin(model, attach(made, known))
        made.compile_recipe(chosen, **options)
        return made

    @property
    def variables(self):
        return [*super().variables, *states_of(self)]  # which a compiled step on JAX would not hand on otherwise

    def count_params(self):
        """Returns the number of the model's own weights, without those that a recipe keeps beside it."""
        beside = {id(w) for layer in self._extras for w in layer.weights}
        return count(w for w in self.weights if id(w) not in beside)

    @property
    def recipe(self):
        """The `Recipe` the model is compiled with, or None."""
        return self._recipe

    @property
    def plan(self):
        """The `Plan` that the recipe made for this model, or None."""
        return self._plan

    def compile_recipe(self, chosen, **options):
        """Compiles with a recipe; `options` are those of `keras.Model.compile`, such as `jit_compile`."""
        chosen = recipe(chosen)
        thaw(self)  # what the recipe before froze
        try:
            plan = chosen.plan(self, task=self.zoo_spec.task)
        except ZooError:
            freeze(self._plan.frozen if self._plan else ())  # which is still the one
            raise
        freeze(plan.frozen)
        for line in plan.cautions:
            warnings.warn(line, RecipeWarning, stacklevel=3)
        losses = {h.name: _loss(plan, h) for h in plan.heads}
        metrics = {h.name: _metrics(h) for h in plan.heads}
        single = len(losses) == 1
        super().compile(
            optimizer=optimizer_of(plan, self),
            loss=next(iter(losses.values())) if single else losses,
            loss_weights=None if single else {h.name: h.weight for h in plan.heads},
            metrics=next(iter(metrics.values())) if single else metrics,
            **options,
        )
        self._recipe, self._plan, self._recipe_options = chosen, plan, options
        self._recorder = Recorder(plan.watched)
        for kept in (self._seeds, self._extras):
            kept.clear()  # of the recipe before, if there was one
        acting = [a for a in (plan.perturb, *plan.objective, plan.bound) if hasattr(a, "seeds")]
        self._seeds.extend(a.seeds for a in acting)
        self._extras.extend(plan.extras)
        self.zoo_spec = self.zoo_spec.but(recipe=chosen.exact)
        if plan.head_kind is not None:
            heads = {h.name: {"kind": h.kind, "weight": h.weight} for h in plan.heads}
            self.zoo_spec = self.zoo_spec.but(heads=heads)

    def compile(self, *args, **kwargs):
        """Compiles as any Keras model; this replaces the recipe, if there is one."""
        self._recipe = self._plan = self._recorder = self._made = None
        self._seeds.clear()
        self._extras.clear()
        thaw(self)
        if getattr(self, "zoo_spec", None):
            self.zoo_spec = self.zoo_spec.but(recipe=None)
        super().compile(*args, **kwargs)

    # Two overrides carry every trick that changes the objective.

    def call(self, inputs, training=None, mask=None):
        adapted = {a.dense: a.adapted for a in self._plan.adapters} if self._plan else {}
        if not (training and self._recorder):
            with called_as(adapted):
                return super().call(inputs, training=training, mask=mask)
        still = {layer: running(layer.call, training=False) for layer in self._plan.inference_layers}
        with called_as(adapted | still), self._recorder.recording():
            return super().call(inputs, training=training, mask=mask)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        for layer in self._extras:
            layer.in_training = training  # the one place that knows, for losses that differ in validation
        loss = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        if training and self._plan is not None:
            step = Step(self, self._recorder, loss, x, y, sample_weight, y_pred)
            if self._plan.perturb is not None:
                loss = step.move_weights(self._plan.perturb(step))
            for objective in self._plan.objective:
                loss = objective(step, loss)
            self._recorder.outputs = {}
            if self._plan.bound is not None:
                loss = self._plan.bound(loss)
        return loss

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, *, augment=True, **kwargs):
        """Trains as `keras.Model.fit` does, with the recipe's schedule, callbacks and augmentation.

        Args:
            augment: whether the recipe's augmentation is applied to `x` here; False for data that has it already.
            **kwargs: and the arguments above: as for `keras.Model.fit`.

        Raises:
            DataError: arrays hold NaN or infinity, or labels that the model has no class for; nothing was trained.
            InvalidArgument: the recipe cannot work with this data; nothing was trained.
        """
        if self._plan is None:
            return super().fit(x, y, batch_size, epochs, verbose, callbacks, **kwargs)
        check_arrays(self, x, y, "training")
        if isinstance(kwargs.get("validation_data"), (tuple, list)):
            check_arrays(self, *kwargs["validation_data"][:2], "validation")
        for check in self._plan.before_fit:
            check(self)
        if isinstance(x, np.ndarray):
            size = batch_size or 32
            for line in self.complaints(size, -(-len(x) // size), epochs):
                warnings.warn(line, RecipeWarning, stacklevel=2)
        ours, self._made = self.recipe_callbacks(), None
        for callback in ours:
            if getattr(callback, "examples", self) is None:  # it reads the data anew, unaugmented
                from zoo.batch_statistics import examples_of

                steps, held_out = kwargs.get("steps_per_epoch"), kwargs.get("validation_split", 0.0)
                callback.examples = examples_of(x, batch_size, steps, held_out)
            if hasattr(callback, "validates"):
                callback.validates = kwargs.get("validation_data") is not None or bool(kwargs.get("validation_split"))
        if self._plan.balance is not None and augment:
            from zoo.balancing import balanced

            x, y, batch_size, kwargs = balanced(self._plan.balance, x, y, batch_size, epochs, kwargs)
        if self._plan.augment and augment:
            from zoo.augmentation import augmented

            x, y, batch_size, kwargs = augmented(self._plan.augment, x, y, batch_size, kwargs)
        if self.schedule is not None:
            ours.append(_BindSchedule(epochs, kwargs.get("initial_epoch", 0)))
        try:
            return super().fit(x, y, batch_size, epochs, verbose, self._joined(ours, callbacks), **kwargs)
        finally:
            merge(self)  # what was learned beside the weights is in them from now on
            own_buffers(self)

    def complaints(self, batch_size, steps_per_epoch, epochs):
        """Returns sentences on what of the recipe will not work well in such a `fit`; None is for what is not known."""
        said = [line for at_fit in self._plan.at_fit for line in at_fit(batch_size, steps_per_epoch, epochs)]
        return [*said, *tiny_batches(self, batch_size, self._plan.inference_layers)]

    def watch(self, make):
        """Adds a callback, which `make()` returns, to those of the recipe, until the model is compiled anew."""
        self._plan, self._made = self._plan.adding("callbacks", make), None

    def recipe_callbacks(self):
        """Returns the recipe's callbacks of the next `fit`, for those who have to restore what they keep."""
        if self._made is None:
            self._made = [make() for make in self._plan.callbacks]
        return self._made

    def _joined(self, ours, theirs):
        """Returns the recipe's callbacks before the caller's, whose own list stays as it is."""
        if not isinstance(theirs, keras.callbacks.CallbackList):
            return [*ours, *keras.tree.flatten(theirs)] if theirs else ours
        return keras.callbacks.CallbackList([*ours, *theirs.callbacks], model=self, **(theirs.params or {}))

    def train_on_batch(self, *args, **kwargs):
        if self.schedule is not None and not self.schedule.bound:
            raise invalid(
                f"the schedule of {self._recipe} does not know how long training takes",
                works="Call `model.bind_schedule(steps_per_epoch=..., epochs=...)` before the first batch.",
            )
        return super().train_on_batch(*args, **kwargs)

    @property
    def schedule(self):
        """The `BoundSchedule` of the recipe's optimizer, or None for a constant rate."""
        if getattr(self, "optimizer", None) is None:
            return None
        inner = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        found = getattr(inner, "_learning_rate", None)
        return found if isinstance(found, BoundSchedule) else None

    def bind_schedule(self, *, steps_per_epoch, epochs, initial_epoch=0):
        """Tells the schedule its horizon. `fit` does this by itself; a training loop of your own must."""
        if self.schedule is not None:
            # Its own count, as schedules follow it: `iterations` counts only steps that accumulation completes.
            inner = getattr(self.optimizer, "inner_optimizer", self.optimizer)
            start = int(inner._iterations) - initial_epoch * steps_per_epoch
            if inner is not self.optimizer and initial_epoch and self.schedule.bound:
                # Steps that overflow under float16 are not in that count, and no fit begins before the one it resumes.
                bound_start, _, bound_steps = keras.ops.convert_to_numpy(self.schedule.horizon)
                start = max(start, int(bound_start)) if bound_steps == steps_per_epoch else start
            self.schedule.bind(steps_per_epoch=steps_per_epoch, epochs=epochs, start=start)
            for line in self.schedule.complaints(epochs):
                warnings.warn(line, stacklevel=2)

    # Saving: the recipe, not the objects it made.

    def get_config(self):
        spec = getattr(self, "zoo_spec", None)
        return super().get_config() | ({"zoo_spec": spec.to_json()} if spec else {})

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        spec = config.pop("zoo_spec", None)
        model = super().from_config(config, custom_objects=custom_objects)
        return attach(model, Spec.from_json(spec)) if spec else model

    def get_compile_config(self):
        if self._recipe is None:
            return super().get_compile_config()
        return {
            "recipe": self._recipe.exact,
            "options": dict(self._recipe_options),
            "optimizer_built": self.optimizer.built,
            "zoo_spec": self.zoo_spec.to_json(),  # `clone_model` hands on this and not `get_config`
        }

    def compile_from_config(self, config):
        if "recipe" in config:
            if not hasattr(self, "zoo_spec"):
                attach(self, Spec.from_json(config["zoo_spec"]))
            self.compile_recipe(config["recipe"], **config["options"])
        else:
            self.compile(**keras.saving.deserialize_keras_object(config))
        # An optimizer that was saved before its first step has fewer variables than one that is built.
        if self.built and getattr(self, "optimizer", None) is not None and config.get("optimizer_built", True):
            self.optimizer.build(self.trainable_variables)


def _outputs(model):
    """Returns a model's outputs as it gives them: one tensor in a list, or several by name."""
    return model.output if isinstance(model.output, dict) else model.outputs


def _loss(plan, head):
    from zoo.losses import CandidateLoss, MeanScore, standard_loss

    own = {"regression": keras.losses.MeanSquaredError, "candidates": CandidateLoss, "critic": MeanScore}
    loss = own[head.kind]() if head.kind in own else (plan.loss or standard_loss)(head, plan.label_smoothing)
    for wrap in plan.loss_wrappers:
        loss = wrap(head, loss)
    return loss


def _metrics(head):
    """Returns the metrics that training shows of a head."""
    if head.kind in ("softmax", "sigmoid"):
        return [ClassAccuracy(head.kind)]
    return [keras.metrics.MeanAbsoluteError(name="mae")] if head.kind == "regression" else []


class _BindSchedule(keras.callbacks.Callback):
    """Binds the schedule at the start of a `fit`, when Keras knows its steps."""

    def __init__(self, epochs, initial_epoch):
        super().__init__()
        self.epochs = epochs
        self.initial_epoch = initial_epoch

    def on_train_begin(self, logs=None):
        steps = (self.params or {}).get("steps")
        if steps is None:
            raise invalid(
                f"recipe {str(self.model.recipe)!r} needs to know how many steps an epoch has, and this data does not "
                f"say",
                works="Pass `steps_per_epoch=` to `fit`, or a data set of known length.",
            )
        self.model.bind_schedule(steps_per_epoch=steps, epochs=self.epochs, initial_epoch=self.initial_epoch)


def check_arrays(model, x, y, part):
    """Refuses arrays that cannot be trained on, before any step. Streams are not read ahead, so they are not checked.

    Args:
        model: a compiled `ZooModel`.
        x, y: as given to `fit`.
        part: "training" or "validation", for messages.

    Raises:
        DataError: inputs are NaN or infinite, labels are not classes of the model, or their numbers differ.
    """
    inputs = [leaf for leaf in keras.tree.flatten(x) if isinstance(leaf, np.ndarray)]
    for values in inputs:
        if values.dtype.kind == "f":
            finite(values, f"{part} examples")
    if len(model._plan.heads) != 1 or model._plan.heads[0].kind not in ("softmax", "sigmoid"):
        return
    if len(model.outputs[0].shape) != 2:
        return  # a class for each step of a sequence
    if isinstance(y, list) and len(y) != 1:
        raise invalid(f"the {part} labels are a list", works="Pass one array: np.array(labels).", error=DataError)
    if not isinstance(y, np.ndarray):
        return
    labels = y
    if inputs and len(inputs[0]) != len(labels):
        raise DataError(f"there are {len(inputs[0]):,} {part} examples but {len(labels):,} labels.")
    if labels.dtype.kind not in "buif":
        works = "Number the classes 0, 1, 2, ..."
        raise invalid(f"the {part} labels must be numbers", labels.dtype.name, works, error=DataError)
    units = model._plan.heads[0].units
    if labels.ndim != 1 and not (labels.ndim == 2 and labels.shape[1] in (1, units)):
        works = f"Model {model.name!r} has {units} outputs: labels are (n,), or targets of shape (n, {units})."
        raise invalid(f"the {part} labels have a shape that does not fit", labels.shape, works, error=DataError)
    if labels.ndim == 2 and labels.shape[1] == units > 1:
        finite(labels, f"{part} targets")
        if model._plan.heads[0].kind == "softmax":
            exclusive(labels, part, model._plan.heads[0].name)
        return
    top = max(units - 1, 1)
    count, first = first_bad(labels, lambda rows: ~((rows >= 0) & (rows <= top)))  # NaN is not in the range
    if count:
        works = f"Model {model.name!r} has {units} outputs: number the classes from 0, or build it with another"
        wrong = f"{count:,} of the {part} labels are outside 0..{top}, the first at index {first}"
        raise invalid(wrong, labels[first].item(), f"{works} `num_classes`.", error=DataError)
    if units > 1 and labels.dtype.kind == "f":
        count, first = first_bad(labels, lambda rows: rows != np.floor(rows))
        if count:
            wrong = f"{count:,} of the {part} labels are not whole numbers, the first at index {first}"
            raise invalid(wrong, labels[first].item(), "Class numbers are 0, 1, 2, ...", error=DataError)


def _carry_origin(source, made):
    """Lets a model made over the layers of a loaded one name the same checkpoint, whose side files it needs."""
    if getattr(source, "zoo_origin", None) is not None:
        made.zoo_origin = source.zoo_origin
    return made


def plain(model):
    """Returns a stock `keras.Model` over the same layers and weights, which loads anywhere without zoo.

    Args:
        model: any Functional model, such as one that `zoo.build(..., recipe=...)` returned.

    Raises:
        InvalidArgument: the model is not Functional.
    """
    if not getattr(model, "outputs", None):
        raise invalid("only a Functional keras.Model can be made plain", type(model).__name__)
    made = _carry_origin(model, keras.Model(model.input, _outputs(model), name=model.name))
    spec = getattr(model, "zoo_spec", None)
    return attach(made, spec) if spec else made
