"""A plan and data become a fitted model and a run folder, which a killed run continues from exactly."""

import shlex
import warnings
from pathlib import Path

import keras

from zoo import runs, speed
from zoo.compiled import plain
from zoo.data import load as load_data
from zoo.data.feed import steps_per_epoch
from zoo.errors import RecipeWarning, invalid
from zoo.factory import build, resolve
from zoo.files import check_writable, is_temporary, locked, make_folder, remove_temporary
from zoo.inference import check_fit, check_targets, check_task, for_model
from zoo.plan import count
from zoo.progress import console, say
from zoo.recipes import recipe as read_recipe
from zoo.scoring import FOLDER as SCORING
from zoo.session import Session
from zoo.settings import policy, settings_of
from zoo.spec import Spec, spec_of


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
    dry_run=False,
    data_options=None,
    weights=None,
    callbacks=(),
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
        jit: True compiles steps with XLA, False does not, None leaves it to Keras, or to what the recipe measured.
        deterministic: whether operations that would be faster but not repeatable are avoided.
        tensorboard: whether to write TensorBoard logs into the run folder.
        quiet: whether to print nothing.
        dry_run: whether only to check everything and say what would be done; trains and writes nothing.
        data_options: options of the data set.
        weights: checkpoint that a model given by name starts from.
        callbacks: functions `() -> keras.callbacks.Callback` that run besides those of the recipe; see
            `zoo.session.Session.callbacks` for what they may have. They are not part of the record.
        **arguments: of the builder, for a model given by name.

    Returns:
        The `Run`; of a dry run several lines of text, in words and numbers.

    Raises:
        InvalidArgument: something cannot work; nothing has been trained yet.
        DataError: the data cannot be trained on; nothing has been trained yet.
        NonFiniteLoss: the loss became NaN or infinite; the run folder holds the last good epoch.
        StoreError: the run folder cannot be written.
    """
    chosen = read_recipe(recipe if recipe is not None else _own_recipe(model))
    batch_size = _carried(model, batch_size)
    named = model if isinstance(model, str) else spec_of(model).name
    if jit is None and not deterministic:
        jit = speed.measured_jit(chosen.settings, named)
    settings = settings_of(chosen, epochs, batch_size, seed, keep, mixed_precision, jit, deterministic)
    _check_model(model, chosen, weights, arguments)
    out = _checked_folder(out, resume)
    complete, dataset = _read(model, data, data_options, chosen, settings, arguments)
    with policy(settings):
        compiled = _compiled(model, dataset, chosen, settings, weights, complete)
        compiled.__dict__["zoo_assets"] = dataset.assets  # past Keras's tracking; a teacher compares its vocabulary
        check_targets(compiled.plan.heads, dataset)
        folder = out if out is not None else runs.unused_folder(f"{compiled.zoo_spec.name}.{dataset.name}")
        opening = [words(compiled)] if (words := getattr(model, "zoo_opening", None)) else []  # of `finetune`
        if not quiet and (said := speed.advice(chosen.settings, named)):
            opening.append(said)
        if dry_run:
            return "\n".join([*opening, _said_before(compiled, dataset, chosen, settings, folder)])
        make_folder(folder)
        with locked(folder / ".lock", wait_seconds=0):
            remove_temporary(folder)  # of a run that was killed while it wrote
            for text in opening:
                say(console(quiet), text)
            if compiled.plan.subset is not None:
                part = {"folder": folder / SCORING, "quiet": quiet}
                dataset = compiled.plan.subset.of(compiled, dataset, chosen, settings, **part)
            if compiled.plan.cached is not None:
                compiled, dataset = compiled.plan.cached.of(compiled, dataset, chosen, settings, quiet=quiet)
            for make in callbacks:
                compiled.watch(make)
            session = Session(compiled, dataset, chosen, settings, folder, quiet=quiet, tensorboard=tensorboard)
            session.command = _command(model, data, chosen, settings, data_options, weights, arguments)
            return session.run(resume)


def prepared(model, data, chosen, settings, data_options=None, arguments=None):
    """Returns the compiled model and the data set that `train` would start with, for what runs a few steps of it.

    Args:
        model, data, data_options: as for `train`.
        chosen: a `Recipe`.
        settings: of `zoo.settings.settings_of`, within whose `policy` this is called.
        arguments: dict, of the builder, for a model given by name.

    Raises:
        As `train`.
    """
    arguments = arguments or {}
    _check_model(model, chosen, None, arguments)
    _carried(model, settings["batch_size"])
    arguments, dataset = _read(model, data, data_options, chosen, settings, arguments)
    compiled = _compiled(model, dataset, chosen, settings, None, arguments)
    check_targets(compiled.plan.heads, dataset)
    return compiled, dataset


# Before training


def _check_model(model, chosen, weights, arguments):
    """Refuses a name or an argument that does not exist, before the data is read."""
    if isinstance(model, str):
        builder, variant, _ = resolve(model, arguments)
        resolve(variant, chosen.builder_arguments(builder, variant, arguments))
    elif arguments or weights:
        raise invalid("builder arguments and weights belong to a model given by name", sorted(arguments) or weights)


def _carried(model, batch_size):
    """Returns the batch size, which a model that carries state from batch to batch decides.

    Raises:
        InvalidArgument: another was asked for.
    """
    rows = None if isinstance(model, str) else spec_of(model).arguments.get("batch_size")
    if rows and batch_size not in (None, rows):
        works = f"Pass batch_size={rows}, or use zoo.recurrent_state.twin(model, batch_size={batch_size})."
        raise invalid(f"this model carries the state of batches of {rows} rows", batch_size, works)
    return rows or batch_size


def _read(model, data, data_options, chosen, settings, arguments):
    """Returns `(arguments, data set)` of a training."""
    dataset = load_data(data, **(data_options or {}))
    if isinstance(model, str):
        return _settled(model, chosen, dataset, settings, arguments)
    return arguments, for_model(dataset, spec_of(model))


def _settled(model, chosen, dataset, settings, arguments):
    """Returns `(arguments, data set)`: what the model's kind decides once the data and the batch size are known."""
    builder, variant, complete = resolve(model, arguments)
    if "batch_size" in complete and "batch_size" not in arguments:  # of a model that carries state between batches
        arguments = arguments | {"batch_size": settings["batch_size"]}
    complete |= chosen.builder_arguments(builder, variant, arguments)
    spec = Spec(name=variant, arguments=complete, task=builder.task, heads=builder.heads_for(complete))
    return arguments, for_model(dataset, spec)


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
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RecipeWarning)  # they are said when the training begins, or is explained
        return chosen.compile(start, **({} if settings["jit"] is None else {"jit_compile": settings["jit"]}))


def _check_precision(model, wanted):
    """Refuses a finished model that computes in another precision than the run would record."""
    found = {layer.dtype_policy.name for layer in model.layers if layer.weights}
    if wanted not in found:  # some layers, such as a head, may always compute in 32 bits
        works = "Give the model by name, or build it after keras.config.set_dtype_policy(...) and pass the same here."
        raise invalid(
            f"mixed precision is settled when a model is built; this one computes in {', '.join(found)}", wanted, works
        )


def _said_before(compiled, dataset, chosen, settings, folder):
    """Returns what a training would do, several lines of text."""
    batch_size = settings["batch_size"]
    spec, steps = compiled.zoo_spec, steps_per_epoch(dataset.train.for_batches(batch_size), batch_size)
    sizes = ", ".join(f"{len(split):,} {name}" for name, split in dataset.splits.items())
    trainable = count(compiled.trainable_variables)
    shape = ", ".join(f"{i.name} {'x'.join(map(str, i.shape[1:]))}" for i in compiled.inputs)
    classes = f", {len(dataset.labels)} classes" if isinstance(dataset.labels, tuple) else ""
    arguments = ", ".join(f"{k}={v!r}" for k, v in spec.arguments.items())
    return "\n".join(
        [
            f"model: {spec.name}, {compiled.count_params():,} weights ({trainable:,} trainable), input {shape}",
            f"arguments: {arguments}",
            f"data: {dataset.name}, {sizes} examples{classes}",
            f"training: {settings['epochs']} epochs of {steps:,} steps, batches of {settings['batch_size']}, "
            f"seed {settings['seed']}, {settings['precision']}",
            f"folder: {folder}",
            f"recipe: {chosen}",
            chosen.explain(plain(compiled)),
            *(f"caution: {line}" for line in compiled.complaints(batch_size, steps, settings["epochs"])),
        ]
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
    if builder.fitted is not None and weights is None:
        _, _, whole = resolve(variant, complete)
        complete |= {k: v for k, v in builder.fitted(whole).items() if k not in arguments}
    complete = chosen.builder_arguments(builder, variant, complete)
    check_task(builder.task, variant, dataset)
    built = build(variant, weights=weights, **complete)
    if weights is None:
        chosen.initialise(built)
    check_fit(spec_of(built), dataset)
    return built


def _check_folder(folder, resume):
    """Refuses a folder that holds something else than what was asked for, before any work."""
    if (folder / runs.RUN).exists():
        if not resume:
            works = "Pass resume=True (--resume) to continue it, or another out=."
            raise invalid(f"{folder} already holds a run", works=works)
    elif folder.exists() and (not folder.is_dir() or not all(map(_of_a_start, folder.iterdir()))):
        raise invalid(f"{folder} exists and is no run folder", works="Pass another out=.")
    elif (folder / SCORING).exists() and not resume:
        works = "Pass resume=True (--resume) to continue it, or another out=."
        raise invalid(f"{folder} holds the scoring of a run that was stopped", works=works)
    elif resume and not folder.exists():
        raise invalid(
            f"there is no run to resume in {folder}", works="Leave out resume=True (--resume), or check out=."
        )
    check_writable(folder)


def _of_a_start(path):
    """Says whether a run that was stopped before its first record may have left a path in its folder."""
    return path.name in (".lock", SCORING) or is_temporary(path)


def _command(model, data, chosen, settings, data_options, weights, arguments):
    """Returns the command that does the same, or None for what has no name.

    Where the run was kept is left out: the record is published, and a user's folders are nobody's business.
    """
    start = getattr(model, "zoo_command", None)  # of `finetune`, which trains a model it has made
    if start is None and isinstance(model, str) and isinstance(data, (str, Path)):
        words = ["zoo", "train", model, str(data), *(["--weights", str(weights)] if weights else [])]
        start = shlex.join(words + repeated("--set", arguments) + repeated("--data-option", data_options))
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


def repeated(option, rows):
    """Returns the words that give each of some settings to a command."""
    return [word for name, value in sorted((rows or {}).items()) for word in (option, f"{name}={value!r}")]
