"""The compiled model: a Functional `keras.Model` whose recipe acts in `fit` and survives saving."""

import warnings

import keras

from zoo.errors import DataError, invalid
from zoo.objectives import Recorder, Step
from zoo.recipes import recipe
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

    @classmethod
    def of(cls, model, chosen, *, task=None, **options):
        """Returns a compiled model over the layers of `model`, its weights shared."""
        made = cls(model.inputs, model.outputs, name=model.name)
        if task is None:
            task = spec_of(model).task
        known = spec_of(model, default=Spec(name=model.name, arguments={}, task=task))
        attach(made, known)
        made.compile_recipe(chosen, **options)
        return made

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
        plan = chosen.plan(self, task=self.zoo_spec.task)
        losses = {h.name: _loss(plan, h) for h in plan.heads}
        single = len(losses) == 1
        super().compile(
            optimizer=_optimizer(plan),
            loss=next(iter(losses.values())) if single else losses,
            metrics=[_accuracy(plan.heads[0])] if single else {h.name: [_accuracy(h)] for h in plan.heads},
            **options,
        )
        self._recipe, self._plan, self._recipe_options = chosen, plan, options
        self._recorder = Recorder(plan.watched)
        self.zoo_spec = self.zoo_spec.but(recipe=chosen.exact)

    def compile(self, *args, **kwargs):
        """Compiles as any Keras model; this replaces the recipe, if there is one."""
        self._recipe = self._plan = self._recorder = None
        if getattr(self, "zoo_spec", None):
            self.zoo_spec = self.zoo_spec.but(recipe=None)
        super().compile(*args, **kwargs)

    # Two overrides carry every trick that changes the objective.

    def call(self, inputs, training=None, mask=None):
        if not (training and self._recorder):
            return super().call(inputs, training=training, mask=mask)
        with self._recorder.recording():
            return super().call(inputs, training=training, mask=mask)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        loss = super().compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, training=training)
        if training and self._plan is not None:
            step = Step(self, self._recorder, loss, x, y, sample_weight)
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
        """
        if self._plan is None:
            return super().fit(x, y, batch_size, epochs, verbose, callbacks, **kwargs)
        check_targets(self, y)
        if self._plan.augment and augment:
            from zoo.augmentation import augmented

            x, y, batch_size, kwargs = augmented(self._plan.augment, x, y, batch_size, kwargs)
        added = [make() for make in self._plan.callbacks]
        if self.schedule is not None:
            added.append(_BindSchedule(kwargs.get("initial_epoch", 0)))
        if isinstance(callbacks, keras.callbacks.CallbackList):
            for callback in added:
                callbacks.append(callback)
        else:
            given = callbacks if isinstance(callbacks, (list, tuple)) else [callbacks] if callbacks else []
            callbacks = [*added, *given]
        return super().fit(x, y, batch_size, epochs, verbose, callbacks, **kwargs)

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
            start = int(self.optimizer.iterations) - initial_epoch * steps_per_epoch
            self.schedule.bind(steps_per_epoch=steps_per_epoch, epochs=epochs, start=start)
            for line in self.schedule.complaints(epochs):
                warnings.warn(line, stacklevel=2)

    # Saving: the recipe, not the objects it made.

    def get_config(self):
        return super().get_config() | {"zoo_spec": self.zoo_spec.to_json()}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        spec = config.pop("zoo_spec", None)
        model = super().from_config(config, custom_objects=custom_objects)
        return attach(model, Spec.from_json(spec)) if spec else model

    def get_compile_config(self):
        if self._recipe is None:
            return super().get_compile_config()
        return {"recipe": self._recipe.exact, "options": dict(self._recipe_options)}

    def compile_from_config(self, config):
        if "recipe" in config:
            self.compile_recipe(config["recipe"], **config["options"])
        else:
            self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built and getattr(self, "optimizer", None) is not None:
            self.optimizer.build(self.trainable_variables)


def _loss(plan, head):
    from zoo.losses import CrossEntropy

    make = plan.loss or (lambda head, label_smoothing: CrossEntropy(label_smoothing))
    return make(head, plan.label_smoothing)


def _accuracy(head):
    if head.kind == "sigmoid":
        return keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)  # of logits: a probability of one half
    return "accuracy"


def _optimizer(plan):
    rate = plan.learning_rate if plan.decay is None else plan.decay(plan.learning_rate)
    for wrap in plan.wrappers:
        rate = wrap(rate)
    options = {} if plan.ema is None else {"use_ema": True, "ema_momentum": plan.ema}
    optimizer = (plan.optimizer or keras.optimizers.Adam)(learning_rate=rate, **options)
    if isinstance(rate, BoundSchedule):
        optimizer.horizon = rate.horizon  # an attribute is tracked: saved, restored, and seen by every backend
    return optimizer


class _BindSchedule(keras.callbacks.Callback):
    """Binds the schedule at the start of a `fit`, when Keras knows its epochs and steps."""

    def __init__(self, initial_epoch):
        super().__init__()
        self.initial_epoch = initial_epoch

    def on_train_begin(self, logs=None):
        steps = self.params.get("steps")
        if steps is None:
            raise invalid(
                f"{self.model.recipe} needs to know how many steps an epoch has, and this data does not say",
                works="Pass `steps_per_epoch=` to `fit`, or a data set of known length.",
            )
        self.model.bind_schedule(steps_per_epoch=steps, epochs=self.params["epochs"], initial_epoch=self.initial_epoch)


def check_targets(model, y):
    """Refuses class numbers outside a model's classes, before any step; arrays only, as streams are not read ahead.

    Raises:
        DataError: with the first offending row.
    """
    import numpy as np

    plan = model._plan
    if not isinstance(y, (np.ndarray, list)) or len(plan.heads) != 1:
        return
    labels, head = np.asarray(y), plan.heads[0]
    if labels.dtype == object or labels.size == 0 or (labels.ndim == 2 and labels.shape[1] == head.units > 1):
        return
    top = max(head.units - 1, 1)
    wrong = ~((labels >= 0) & (labels <= top))
    if wrong.any():
        row = int(np.argwhere(wrong.reshape(len(labels), -1).any(axis=1))[0, 0])
        raise DataError(
            f"{int(wrong.sum()):,} labels are outside 0..{top}, the first in row {row}: {labels[row]!r}. "
            f"Model {model.name!r} has {head.units} outputs: number the classes from 0, or build it with another "
            f"`num_classes`."
        )


def plain(model):
    """Returns a stock `keras.Model` over the same layers and weights, which loads anywhere without zoo.

    Args:
        model: any Functional model, such as one that `zoo.build(..., recipe=...)` returned.

    Raises:
        InvalidArgument: the model is not Functional.
    """
    if not getattr(model, "outputs", None):
        raise invalid("only a Functional keras.Model can be made plain", type(model).__name__)
    made = keras.Model(model.inputs, model.outputs, name=model.name)
    spec = getattr(model, "zoo_spec", None)
    return attach(made, spec) if spec else made
