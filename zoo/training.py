"""A plan and data become a fitted model and a run folder, which a killed run continues from exactly."""

import contextlib
import hashlib
import itertools
import json
import math
import shlex
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import keras
import numpy as np

from zoo import runs
from zoo.averages import averaged_weights
from zoo.compiled import plain
from zoo.data import load as load_data
from zoo.data import load_like
from zoo.data.feed import feed, plain_errors, steps_per_epoch
from zoo.errors import IntegrityError, MissingDependency, NonFiniteLoss, StoreError, invalid, unknown
from zoo.factory import build, build_plain, resolve
from zoo.files import check_writable, locked, make_folder, sha256_of, write_atomic
from zoo.inference import assets_of, check_fit, check_task, measure
from zoo.machine import hardware, versions
from zoo.progress import Progress, console, say
from zoo.recipes import recipe as read_recipe
from zoo.runs import BEST, LAST, Run
from zoo.spec import attach, spec_of
from zoo.weights import head_layers, load_state, load_weights, save_state, save_weights

EPOCHS, BATCH_SIZE = 20, 32  # where neither the caller nor the recipe says
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def train(
    model,
    data,
    *,
    recipe=None,
    epochs=None,
    batch_size=None,
    seed=0,
    out=None,
    resume=False,
    keep="best",
    mixed_precision=None,
    jit=None,
    deterministic=True,
    tensorboard=False,
    quiet=False,
    data_options=None,
    weights=None,
    **arguments,
):
    """Trains a model and leaves a run folder.

    Args:
        model: a model's name, or a model that `zoo.build` or `zoo.load` returned, whose weights are the start.
        data: a data set's name, a path, or a `zoo.data.base.Dataset`.
        recipe: such as "focal+warmup"; by default the model's own, else "plain".
        epochs, batch_size: by default the named recipe's, else 20 and 32.
        seed: of initial weights, order, dropout and augmentation.
        out: run folder; by default `runs/<model>.<data>` with a number where that exists.
        resume: continue the run in `out` after it was stopped. The result is the same, bit for bit on one machine, as
            that of a run that was never stopped.
        keep: "best" keeps the weights of the epoch with the best validation accuracy, "last" those of the last.
        mixed_precision: "bfloat16" or "float16", or None for float32.
        jit: True compiles steps with XLA, False does not, None leaves it to Keras.
        deterministic: whether operations that would be faster but not repeatable are avoided.
        tensorboard: whether to write TensorBoard logs into the run folder.
        quiet: whether to print nothing.
        data_options: options of the data set.
        weights: checkpoint that a model given by name starts from.
        **arguments: of the builder, for a model given by name.

    Returns:
        The `Run`.

    Raises:
        InvalidArgument: something cannot work; nothing has been trained yet.
        DataError: the data cannot be trained on; nothing has been trained yet.
        NonFiniteLoss: the loss became NaN or infinite; the run folder holds the last good epoch.
        StoreError: the run folder cannot be written.
    """
    chosen = read_recipe(recipe if recipe is not None else _own_recipe(model))
    settings = _settings(chosen, epochs, batch_size, seed, keep, mixed_precision, jit, deterministic)
    _check_model(model, chosen, weights, arguments)
    out = _checked_folder(out, resume)
    dataset = load_data(data, **(data_options or {}))
    with _policy(settings):
        compiled = _compiled(model, dataset, chosen, settings, weights, arguments)
        folder = make_folder(out if out is not None else _unused(compiled.zoo_spec.name, dataset.name))
        with locked(folder / ".lock", wait_seconds=0):
            session = _Session(compiled, dataset, chosen, settings, folder, quiet=quiet, tensorboard=tensorboard)
            session.command = _command(model, data, chosen, settings, data_options, weights, arguments)
            return session.run(resume)


def planned(
    model,
    data,
    *,
    recipe=None,
    epochs=None,
    batch_size=None,
    seed=0,
    out=None,
    resume=False,
    keep="best",
    mixed_precision=None,
    jit=None,
    deterministic=True,
    data_options=None,
    weights=None,
    **arguments,
):
    """Says in words and numbers what `train` would do, having checked what it checks; trains and writes nothing.

    Args:
        As `train`.

    Returns:
        Several lines of text.

    Raises:
        As `train`, before training.
    """
    chosen = read_recipe(recipe if recipe is not None else _own_recipe(model))
    settings = _settings(chosen, epochs, batch_size, seed, keep, mixed_precision, jit, deterministic)
    _check_model(model, chosen, weights, arguments)
    out = _checked_folder(out, resume)
    dataset = load_data(data, **(data_options or {}))
    with _policy(settings):
        compiled = _compiled(model, dataset, chosen, settings, weights, arguments)
        spec, steps = compiled.zoo_spec, steps_per_epoch(dataset.train, settings["batch_size"])
        sizes = ", ".join(f"{len(split):,} {name}" for name, split in dataset.splits.items())
        trainable = sum(math.prod(v.shape) for v in compiled.trainable_variables)
        explained = chosen.explain(plain(compiled))
    shape = "x".join(map(str, compiled.input_shape[1:]))
    said = ", ".join(f"{k}={v!r}" for k, v in spec.arguments.items())
    return "\n".join(
        [
            f"model: {spec.name}, {compiled.count_params():,} weights ({trainable:,} trainable), input {shape}",
            f"arguments: {said}",
            f"data: {dataset.name}, {sizes} examples, {len(dataset.labels)} classes",
            f"training: {settings['epochs']} epochs of {steps:,} steps, batches of {settings['batch_size']}, "
            f"seed {settings['seed']}, {settings['precision']}",
            f"folder: {out if out is not None else _unused(spec.name, dataset.name)}",
            f"recipe: {chosen}",
            explained,
        ]
    )


def finetune(model, data, *, recipe=None, freeze=False, data_options=None, **options):
    """Trains a pretrained model on other data: a new head for the data's classes, everything else kept.

    Args:
        model: a reference, a `Run`, a run folder, or a model whose weights are the start.
        data: as for `train`; it is read with the model's own preprocessing.
        recipe: as for `train`; by default "plain".
        freeze: whether only the new head trains; batch-norm statistics then stay as they are too.
        **options: the other keyword arguments of `train`.

    Returns:
        The `Run`; its model names the parent's reference and the hash of its weights.

    Raises:
        As `train`, and:
        InvalidArgument, IntegrityError: as `zoo.load`.
    """
    chosen = read_recipe(recipe or "plain")
    precision = _precision(options.get("mixed_precision"))
    with _origin(model) as (spec, assets, weights, ref, parent):
        dataset = load_like(data, spec.preprocessing, assets, **(data_options or {}))
        check_task(spec.task, spec.name, dataset)
        arguments = spec.arguments | {"num_classes": _num_classes(spec, dataset)}
        with _policy({"precision": precision, "deterministic": False}):
            keras.utils.set_random_seed(_whole("seed", options.get("seed", 0)))  # the new head's values come from it
            fresh = build_plain(spec.name, arguments)
        head = [v for layer in head_layers(fresh) for v in layer.weights]
        initial = [keras.ops.convert_to_numpy(v).copy() for v in head]
        load_weights(fresh, weights, ignore_head=True)
    if spec.labels != dataset.labels:
        for variable, value in zip(head, initial, strict=True):
            variable.assign(value)
    attach(fresh, spec_of(fresh).but(parent=parent))
    if freeze:
        heads = head_layers(fresh)
        for layer in fresh.layers:
            layer.trainable = layer in heads
    if ref == parent["ref"] and ref is not None and isinstance(data, (str, Path)):  # it was not shortened
        words = ["zoo", "finetune", ref, str(data), *(["--freeze"] if freeze else [])]
        fresh.zoo_command = shlex.join(words + _repeated("--data-option", data_options))
    return train(fresh, dataset, recipe=chosen, data_options=None, **options)


@contextlib.contextmanager
def _origin(model):
    """Gives `(spec, assets, path of the weights, reference, parent record)` of what is fine-tuned."""
    from zoo.hub import checkpoint, resolve_weights

    if isinstance(model, keras.Model):
        origin = getattr(model, "zoo_origin", None)
        with tempfile.TemporaryDirectory() as folder:
            path = save_weights(model, Path(folder) / "weights.safetensors")
            parent = {"ref": origin.ref if origin else None, "sha256": sha256_of(path)}
            yield spec_of(model), assets_of(model), path, None, parent
    else:
        found = resolve_weights(None, model) if isinstance(model, str) else checkpoint(model)
        yield found.spec, found.assets(), found.weights, found.ref, found.parent()


# One training


class _Session:
    """One call of `train`: the compiled model, its data, and the folder that it keeps up to date."""

    def __init__(self, model, dataset, chosen, settings, folder, *, quiet, tensorboard):
        self.model, self.dataset, self.recipe, self.settings = model, dataset, chosen, settings
        self.folder, self.console, self.tensorboard = folder, console(quiet), tensorboard
        self.command = None
        self.history, self.best, self.seconds = [], None, 0.0
        self.status, self.metrics = "running", {}
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        spec = model.zoo_spec.but(labels=dataset.labels, preprocessing=dataset.preprocessing)
        model.zoo_spec = self.spec = spec
        self.initial = _fingerprint_of(model)

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
        }

    def record(self):
        dataset = self.dataset
        return {
            "format": runs.FORMAT,
            "status": self.status,
            "command": self.command,
            "model": self.spec.to_json(),
            "parameters": self.model.count_params(),
            "recipe": str(self.recipe),
            "recipe_exact": self.recipe.exact,
            "data": {
                "name": dataset.name,
                "fingerprint": dataset.fingerprint,
                "sizes": {name: len(split) for name, split in dataset.splits.items()},
                "source": dataset.source,
                "assets": sorted(dataset.assets),
            },
            **self.settings,
            "versions": versions(),
            "hardware": hardware(),
            "started": self.started,
            "seconds": round(self.seconds, 2),
            "best_epoch": self.best["epoch"] if self.best else None,
            "metrics": self.metrics,
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
        if not done:
            for name, content in self.dataset.assets.items():
                write_atomic(self.folder / name, content)
            write_atomic(self.folder / runs.CONFIG, json.dumps(self.spec.to_json(), indent=1) + "\n")
        self.write()
        if done < epochs:
            self.fit(done)
        return self.finish()

    def fit(self, done):
        settings, dataset = self.settings, self.dataset
        batch_size, epochs = settings["batch_size"], settings["epochs"]
        steps = steps_per_epoch(dataset.train, batch_size)
        progress = Progress(epochs, steps, self.console)
        callbacks = [_StopOnNonFinite(), _Keep(self), progress]
        if self.tensorboard:
            callbacks.append(_tensorboard(self.folder / "tensorboard"))
        plan = self.model.plan
        order = {"seed": settings["seed"], "epochs": epochs, "initial_epoch": done, "augment": plan.augment}
        batches = feed(dataset.train, batch_size, **order)
        words = f"{self.spec.name} ({self.model.count_params():,} weights) on {dataset.name}, {self.recipe}"
        say(self.console, "", words, f", {len(dataset.train):,} examples, seed {settings['seed']}")
        try:
            with plain_errors():
                self.model.fit(
                    batches,
                    epochs=epochs,
                    initial_epoch=done,
                    steps_per_epoch=steps,
                    validation_data=feed(dataset.validation, batch_size),
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
        load_weights(self.model, self.folder / BEST)
        batch_size = self.settings["batch_size"]
        for name in ("validation", "test"):
            self.metrics[name] = measure(self.model, getattr(self.dataset, name), batch_size)
        self.status = "finished"
        self.write(picture=True)
        test = self.metrics["test"]
        say(
            self.console,
            "test accuracy ",
            f"{test['accuracy']:.2%}",
            f", loss {test['loss']:.4f}, on {test['examples']:,} "
            f"examples; weights of epoch {self.best['epoch']}; {self.seconds:.0f} s; {self.folder}",
        )
        return Run(self.folder)

    # Checkpoints

    def keep(self, epoch, logs, seconds):
        """Records an epoch: history, kept weights, and last of all the state that a resumed run starts from."""
        self.seconds += seconds
        row = {"epoch": epoch + 1} | {k: float(v) for k, v in logs.items()}
        row |= {"learning_rate": self.learning_rate(), "seconds": round(seconds, 3)}
        self.history.append(row)
        if self.best is None or self.settings["keep"] == "last" or _better(row, self.best):
            self.best = row
            with averaged_weights(self.model):
                save_weights(self.model, self.folder / BEST)
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
        return named | {f"optimizer/{i:05d}": v for i, v in enumerate(optimizer.variables)}

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


class _StopOnNonFinite(keras.callbacks.Callback):
    """Raises at the first step whose loss is NaN or infinite."""

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = float(logs["loss"])
        if not math.isfinite(loss):
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


# Before training


def _settings(chosen, epochs, batch_size, seed, keep, mixed_precision, jit, deterministic):
    """Returns the checked settings of a training, those of the recipe where nothing was given."""
    if jit and deterministic and keras.backend.backend() == "tensorflow":
        works = "Pass deterministic=False (--no-deterministic) too, or leave out jit."
        raise invalid("jit=True needs deterministic=False: TensorFlow does not repeat compiled steps", jit, works)
    return {
        "epochs": _positive("epochs", chosen.setting("epochs", epochs, EPOCHS)),
        "batch_size": _positive("batch_size", chosen.setting("batch_size", batch_size, BATCH_SIZE)),
        "seed": _whole("seed", seed),
        "keep": _one_of("keep", keep, ("best", "last")),
        "precision": _precision(mixed_precision),
        "jit": jit,
        "deterministic": bool(deterministic),
    }


def _check_model(model, chosen, weights, arguments):
    """Refuses a name or an argument that does not exist, before the data is read."""
    if isinstance(model, str):
        builder, variant, _ = resolve(model, arguments)
        resolve(variant, chosen.builder_arguments(builder, variant, arguments))
    elif arguments or weights:
        raise invalid("builder arguments and weights belong to a model given by name", sorted(arguments) or weights)


def _checked_folder(out, resume):
    """Returns the run folder as a `Path`, or None where nobody gave one."""
    if out is None and resume:
        raise invalid("resume=True needs to know which run", works="Pass out= (--out), the run folder.")
    if out is None:
        return None
    _check_folder(Path(out), resume)
    return Path(out)


def _compiled(model, dataset, chosen, settings, weights, arguments):
    """Returns the compiled model that training starts from."""
    keras.utils.set_random_seed(settings["seed"])
    start = _start_model(model, dataset, chosen, weights, arguments)
    if not isinstance(model, str):
        _check_precision(start, settings["precision"])
    return chosen.compile(start, **({} if settings["jit"] is None else {"jit_compile": settings["jit"]}))


def _check_precision(model, wanted):
    """Refuses a finished model that computes in another precision than the run would record."""
    found = {layer.dtype_policy.name for layer in model.layers if layer.weights}
    if wanted not in found:  # some layers, such as a head, may always compute in 32 bits
        works = "Give the model by name, or build it after keras.config.set_dtype_policy(...) and pass the same here."
        raise invalid(
            f"mixed precision is settled when a model is built; this one computes in {', '.join(found)}", wanted, works
        )


def _own_recipe(model):
    own = None if isinstance(model, str) else getattr(model, "recipe", None)
    return own if own is not None else "plain"


def _start_model(model, dataset, chosen, weights, arguments):
    """Returns the plain model that training starts from, its shape decided by the data where nobody said."""
    if not isinstance(model, str):
        found = plain(model)
        check_fit(spec_of(found), dataset)
        return found
    builder, variant, _ = resolve(model, arguments)
    complete = {k: v for k, v in dataset.arguments.items() if k not in arguments} | arguments
    complete = chosen.builder_arguments(builder, variant, complete)
    check_task(builder.task, variant, dataset)
    built = build(variant, weights=weights, **complete)
    check_fit(spec_of(built), dataset)
    return built


def _check_folder(folder, resume):
    """Refuses a folder that holds something else than what was asked for, before any work."""
    if (folder / runs.RUN).exists():
        if not resume:
            works = "Pass resume=True (--resume) to continue it, or another out=."
            raise invalid(f"{folder} already holds a run", works=works)
    elif folder.exists() and (not folder.is_dir() or any(p.name != ".lock" for p in folder.iterdir())):
        raise invalid(f"{folder} exists and is no run folder", works="Pass another out=.")
    elif resume and not folder.exists():
        raise invalid(
            f"there is no run to resume in {folder}", works="Leave out resume=True (--resume), or check out=."
        )
    check_writable(folder)


def _unused(model, data):
    base = Path("runs") / f"{model}.{data}"
    numbered = (Path(f"{base}-{n}") for n in itertools.count(2))
    return next(p for p in itertools.chain([base], numbered) if not p.exists())


def _num_classes(spec, dataset):
    classes = len(dataset.labels)
    return 1 if classes == 2 and spec.arguments.get("num_classes") == 1 else classes


def _fingerprint_of(model):
    """Returns a hash of a model's weights and seeds, in order."""
    hasher = hashlib.sha256()
    for variable in model.variables:
        hasher.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return hasher.hexdigest()[:32]


def _better(row, best):
    """Says whether an epoch is better: higher validation accuracy, then lower validation loss."""
    return (row["val_accuracy"], -row["val_loss"]) > (best["val_accuracy"], -best["val_loss"])


def _command(model, data, chosen, settings, data_options, weights, arguments):
    """Returns the command that does the same, or None for what has no name.

    Where the run was kept is left out: the record is published, and a user's folders are nobody's business.
    """
    start = getattr(model, "zoo_command", None)  # of `finetune`, which trains a model it has made
    if start is None and isinstance(model, str) and isinstance(data, (str, Path)):
        words = ["zoo", "train", model, str(data), *(["--weights", str(weights)] if weights else [])]
        start = shlex.join(words + _repeated("--set", arguments) + _repeated("--data-option", data_options))
    if start is None:
        return None
    words = ["--recipe", str(chosen)]
    for name in ("epochs", "batch_size", "seed"):
        words += [f"--{name.replace('_', '-')}", str(settings[name])]
    words += ["--keep", settings["keep"]] if settings["keep"] != "best" else []
    if settings["precision"] != "float32":
        words += ["--mixed-precision", settings["precision"].removeprefix("mixed_")]
    if settings["jit"] is not None:
        words.append("--jit" if settings["jit"] else "--no-jit")
    words += [] if settings["deterministic"] else ["--no-deterministic"]
    return f"{start} {shlex.join(words)}"


def _repeated(option, rows):
    """Returns the words that give each of some settings to a command."""
    return [word for name, value in sorted((rows or {}).items()) for word in (option, f"{name}={value!r}")]


def _positive(name, value):
    if type(value) is not int or value < 1:
        raise invalid(f"`{name}` must be a positive whole number", value)
    return value


def _whole(name, value):
    if type(value) is not int or not 0 <= value < 2**32:
        raise invalid(f"`{name}` must be a whole number from 0 to {2**32 - 1}", value)
    return value


def _one_of(name, value, known):
    if value not in known:
        raise unknown(f"value of `{name}`", value, known)
    return value


def _precision(value):
    if value is None:
        return "float32"
    name = str(value)
    return _one_of("mixed_precision", name if name.startswith("mixed_") else f"mixed_{name}", PRECISIONS[1:])


@contextlib.contextmanager
def _policy(settings):
    """Sets precision and determinism for one training, and puts back what was there."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(settings["precision"])
    undo = _be_deterministic() if settings["deterministic"] else None
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
        if undo is not None:
            undo()


def _be_deterministic():
    """Demands repeatable operations of the backend. Returns the function that undoes it, or None."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        from tensorflow.python.framework import config

        if not config.is_op_determinism_enabled():
            config.enable_op_determinism()
            return config.disable_op_determinism
    elif backend == "torch":
        import torch

        if not torch.are_deterministic_algorithms_enabled():
            torch.use_deterministic_algorithms(True, warn_only=True)
            return lambda: torch.use_deterministic_algorithms(False)
    return None
