"""One training: a compiled model, its data, and the run folder that it keeps up to date and can continue from."""

import hashlib
import json
import math
import shlex
import time
from datetime import UTC, datetime

import keras
import numpy as np

from zoo import runs
from zoo.adapters import adapters_of, merged_weights
from zoo.averages import averaged_weights
from zoo.batch_statistics import examples_of
from zoo.data.feed import feed, plain_errors, steps_per_epoch
from zoo.errors import IntegrityError, MissingDependency, NonFiniteLoss, StoreError, invalid
from zoo.files import write_atomic
from zoo.machine import hardware, versions
from zoo.measuring import ResetStates, measure, measure_groups
from zoo.progress import Progress, console, say
from zoo.runs import BEST, LAST, Run
from zoo.tasks import derived, sentence, task_of
from zoo.weights import load_state, load_weights, save_state, save_weights


class Session:
    """One call of `train`: the compiled model, its data, and the folder that it keeps up to date."""

    def __init__(self, model, dataset, chosen, settings, folder, *, quiet, tensorboard):
        self.model, self.dataset, self.recipe, self.settings = model, dataset, chosen, settings
        self.folder, self.console, self.tensorboard = folder, console(quiet), tensorboard
        self.command = None
        self.history, self.best, self.seconds = [], None, 0.0
        self._callbacks = None
        self.status, self.metrics, self.by_group = "running", {}, {}
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        spec = model.zoo_spec.but(labels=dataset.labels, preprocessing=dataset.preprocessing)
        model.zoo_spec = self.spec = spec
        # Where only the head is run, on features that were computed before, the model that is kept is still whole.
        self.whole = model.__dict__.get("zoo_whole", model)
        self.initial = fingerprint_of(self.whole)
        self.sources = {name: found for read in model.plan.sources for name, found in read().items()}
        self.made_with = {"versions": versions(), "hardware": hardware()}

    # What decides the result; two runs that agree on it end with the same weights.

    def identity(self):
        spec = self.spec.to_json()
        return self.settings | {
            "model": {k: spec[k] for k in ("name", "arguments")},
            "recipe": self.recipe.exact,
            "data": self.dataset.fingerprint,
            "initial_weights": self.initial,
            "trainable": len(self.model.trainable_variables),
            "backend": keras.backend.backend(),
            **self.sources,
        }

    def record(self):
        dataset = self.dataset
        return {
            "format": runs.FORMAT,
            "status": self.status,
            "command": self.command,
            "model": self.spec.to_json(),
            "parameters": self.whole.count_params(),
            "recipe": str(self.recipe),
            "recipe_exact": self.recipe.exact,
            "data": {
                "name": dataset.name,
                "fingerprint": dataset.fingerprint,
                "sizes": {name: len(split) for name, split in dataset.splits.items()},
                "source": dataset.source,
                "assets": sorted(dataset.assets),
            },
            **self.sources,
            **self.settings,
            **self.made_with,
            "started": self.started,
            "seconds": round(self.seconds, 3),
            "best_epoch": self.best["epoch"] if self.best else None,
            "metrics": self.metrics,
            **({"by_group": self.by_group} if self.by_group else {}),
            "history": self.history,
        }

    def write(self, *, picture=False):
        runs.write_record(self.folder, self.record())
        if picture and self.history:
            title = f"{self.spec.name} on {self.dataset.name}, {self.recipe}"
            runs.draw_curves({str(self.recipe): self.history}, self.folder / runs.CURVES, title=title)

    def run(self, resume):
        done = self.restore() if resume and (self.folder / LAST).is_file() else 0
        epochs = self.settings["epochs"]
        self.write()  # before all other files: a folder without it is no run's, and could not be resumed
        if not done:
            for name, content in self.dataset.assets.items():
                write_atomic(self.folder / name, content)
            write_atomic(self.folder / runs.CONFIG, json.dumps(self.spec.to_json(), indent=1) + "\n")
        if done < epochs and not self.stopped_early():
            self.fit(done)
        return self.finish()

    def fit(self, done):
        settings, dataset = self.settings, self.dataset
        batch_size, epochs = settings["batch_size"], settings["epochs"]
        training, validation = (s.for_batches(batch_size) for s in (dataset.train, dataset.validation))
        steps = steps_per_epoch(training, batch_size)
        progress = Progress(epochs, steps, self.console)
        for line in (*self.model.plan.cautions, *self.model.complaints(batch_size, steps, epochs)):
            say(self.console, "caution: ", line)
        callbacks = [_StopOnNonFinite(), ResetStates()]
        if self.spec.task == "image_generation":
            from zoo.generating import SampleGrid

            callbacks.append(SampleGrid(self.folder / "samples"))
        callbacks += [_Keep(self), progress]  # what precedes an epoch's checkpoint is there once that is
        if keras.backend.backend() == "torch":
            callbacks.append(_SeedEpochs(settings["seed"]))
        if self.tensorboard:
            callbacks.append(_tensorboard(self.folder / "tensorboard"))
        plan = self.model.plan
        order = {"seed": settings["seed"], "epochs": epochs, "initial_epoch": done}
        order |= {"augment": plan.augment, "balance": plan.balance}
        batches = feed(training, batch_size, **order)
        words = f"{self.spec.name} ({self.whole.count_params():,} weights) on {dataset.name}, {self.recipe}"
        say(self.console, "", words, f", {len(dataset.train):,} examples, seed {settings['seed']}")
        try:
            with plain_errors():
                self.model.fit(
                    batches,
                    epochs=epochs,
                    initial_epoch=done,
                    steps_per_epoch=steps,
                    validation_data=feed(validation, batch_size),
                    callbacks=callbacks,
                    verbose=0,
                    shuffle=False,  # the feed has an order of its own
                    augment=False,  # the feed has done it, with seeds that a resumed run repeats
                )
        except BaseException as error:
            progress.close()
            self.status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            if not isinstance(error, StoreError):  # a full disk would hide the first error behind a second
                self.write(picture=True)
            if isinstance(error, KeyboardInterrupt):
                start = self.command or "the same command"
                go_on = f"{start} --out {shlex.quote(str(self.folder))} --resume"
                done = f"Stopped after {len(self.history)} of {epochs} epochs; {self.folder} is intact."
                say(self.console, f"{done} Continue with: {go_on}")
            raise
        progress.close()

    def finish(self):
        """Puts the kept weights into the model, reads the test split, once, and completes the record."""
        load_weights(self.whole, self.folder / BEST)
        for adapter in adapters_of(self.model):
            adapter.reset()  # the weights that were kept hold it
        batch_size = self.settings["batch_size"]
        for name in ("validation", "test"):
            split = getattr(self.dataset, name)
            self.metrics[name] = measure(self.model, split, batch_size, self.dataset.labels)
            if split.groups:
                self.by_group[name] = measure_groups(self.model, split, batch_size, self.dataset.labels)
        self.status = "finished"
        self.write(picture=True)
        test = self.metrics["test"]
        first, _, rest = sentence(test, self.spec.task).partition(", ")
        say(
            self.console,
            "test ",
            first,
            f"{', ' if rest else ''}{rest}, on {test['examples']:,} "
            f"examples; weights of epoch {self.best['epoch']}; {self.seconds:.0f} s; {self.folder}",
        )
        return Run(self.folder)

    # Checkpoints

    def keep(self, epoch, logs, seconds):
        """Records an epoch: history, kept weights, and last of all the state that a resumed run starts from."""
        self.seconds += seconds
        row = {"epoch": epoch + 1} | {k: float(v) for k, v in logs.items()}
        row |= derived(self.spec.task, row)
        row |= {"learning_rate": self.learning_rate(), "seconds": round(seconds, 3)}
        self.history.append(row)
        task = task_of(self.spec.task)
        ripe = len(self.history) > self.model.plan.unripe + 1  # so that two epochs that ask the same are compared
        chooses = task.chooses and self.settings["keep"] != "last" and ripe
        if self.best is None or not chooses or _worth(row, task) > _worth(self.best, task):
            self.best = row
            with averaged_weights(self.model), merged_weights(self.model):
                save_weights(self.whole, self.folder / BEST)
        state = {"identity": self.identity(), "history": self.history, "best": self.best, "seconds": self.seconds}
        state["started"] = self.started
        tensors = {k: keras.ops.convert_to_numpy(v) for k, v in self.variables().items()}
        save_state(self.folder / LAST, tensors, {"state": json.dumps(state)})
        self.write()

    def learning_rate(self):
        optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
        return float(keras.ops.convert_to_numpy(optimizer.learning_rate))

    def variables(self):
        """Returns everything that training changes, by a name that is the same when the model is built again."""
        model, optimizer = self.model, self.model.optimizer
        named = {f"model/{i:05d}": v for i, v in enumerate(model.variables)}
        named |= {f"optimizer/{i:05d}": v for i, v in enumerate(optimizer.variables)}
        for k, callback in enumerate(self.callbacks()):
            named |= {f"callback{k}/{i:05d}": v for i, v in enumerate(getattr(callback, "variables", ()))}
        return named

    def callbacks(self):
        """Returns the recipe's callbacks of the `fit` to come, or of the one that runs.

        A callback may have `variables`, a list of Keras variables that a checkpoint keeps, there once `set_model` was
        called; `restore(history)`, called before a resumed `fit` with the rows of the epochs so far; `folder`, which
        is set to the run's; `say`, which is set to a function that prints a text unless the run is quiet; `examples`,
        which is set to one that gives the inputs of the training data batch by batch, unaugmented, in their own order;
        `validates`, which `fit` sets to whether it has validation data;
        and `finished`, which says that it wants no more epochs.
        """
        if self._callbacks is None:
            self._callbacks = self.model.recipe_callbacks()
            for callback in self._callbacks:
                callback.set_model(self.model)
                callback.folder, callback.say = self.folder, lambda text: say(self.console, text)
                if hasattr(callback, "examples"):
                    callback.examples = self.examples
        return self._callbacks

    def examples(self):
        """Gives the inputs of the training data, batch by batch, in an order that no epoch changes."""
        batch_size = self.settings["batch_size"]
        return examples_of(feed(self.dataset.train.for_batches(batch_size), batch_size))()

    def stopped_early(self):
        """Says whether a callback of the recipe, after what the history says, wants no more epochs."""
        return any(getattr(callback, "finished", False) for callback in self.callbacks())

    def restore(self):
        """Puts back the state of the last finished epoch. Returns how many epochs are done.

        Raises:
            InvalidArgument: the run in the folder is another one; the message says in what.
            IntegrityError: the checkpoint is damaged.
        """
        tensors, metadata = load_state(self.folder / LAST)
        try:
            state = json.loads(metadata["state"])
            saved = state["identity"]
        except (KeyError, ValueError) as error:
            raise IntegrityError(
                f"{self.folder / LAST} is not a checkpoint of zoo.train. Start in another folder."
            ) from error
        mine = json.loads(json.dumps(self.identity()))
        other = [f"{k}: {saved.get(k)!r} there, {mine[k]!r} here" for k in mine if saved.get(k) != mine[k]]
        if other:
            works = "Resume with the settings of that run, or start another in a new folder."
            raise invalid(f"the run in {self.folder} is not this one: {'; '.join(other)}", works=works)
        self.model.optimizer.build(self.model.trainable_variables)
        variables = self.variables()
        if set(variables) != set(tensors) or any(tuple(v.shape) != tensors[k].shape for k, v in variables.items()):
            raise IntegrityError(f"{self.folder / LAST} does not fit this model. Start in another folder.")
        for name, variable in variables.items():
            variable.assign(tensors[name])
        self.history, self.best, self.seconds = state["history"], state["best"], state["seconds"]
        self.started = state["started"]
        for callback in self.callbacks():
            if hasattr(callback, "restore"):
                callback.restore(self.history)
        say(self.console, f"continuing after epoch {len(self.history)} of {self.settings['epochs']}")
        return len(self.history)


class _Keep(keras.callbacks.Callback):
    """Tells the session of each epoch's end."""

    def __init__(self, session):
        super().__init__()
        self.session = session

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.session.keep(epoch, logs, time.perf_counter() - self._began)


class _SeedEpochs(keras.callbacks.Callback):
    """Sets PyTorch's global generator by seed and epoch, because Keras's dropout draws from it there, not from the
    layer's own seed, and a resumed epoch must draw what it would have drawn.
    """

    def __init__(self, seed):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 0:  # and no earlier: reading the data draws once in the first epoch of each `fit`
            import torch

            torch.manual_seed(int(np.random.SeedSequence([self.seed, self._epoch]).generate_state(1)[0]))


class _StopOnNonFinite(keras.callbacks.Callback):
    """Raises at the first step whose loss is NaN or infinite."""

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = float(logs["loss"])
        if not math.isfinite(loss) and not self.model.stop_training:  # lr_finder expects it, and stops
            optimizer = getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)
            rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
            raise NonFiniteLoss(
                f"the loss became {loss} in step {batch + 1} of epoch {self._epoch + 1}, at a learning rate of "
                f"{rate:.3g}. Try a tenth of it (adam(learning_rate={rate / 10:.2g})), add warmup, or drop mixed "
                f"precision. The run folder holds the last good epoch."
            )


def _tensorboard(folder):
    try:
        import tensorboard  # noqa: F401
    except ImportError as error:
        raise MissingDependency("TensorBoard logs need tensorboard: pip install tensorboard.") from error
    return keras.callbacks.TensorBoard(str(folder), write_graph=False)


def fingerprint_of(model):
    """Returns a hash of a model's weights and seeds, in order."""
    hasher = hashlib.sha256()
    for variable in model.variables:
        hasher.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return hasher.hexdigest()[:32]


def _worth(row, task):
    """Returns what epochs are compared by: validation accuracy where it names the result, then validation loss."""
    accuracy = row.get("val_accuracy", row.get("val_logits_accuracy", 0.0))  # the latter where there are side heads
    return accuracy if task.metric == "accuracy" else 0.0, -row["val_loss"]
