"""Ablation: every trick of a recipe left out of it, and added alone to nothing, over seeds.

ablation.json       what was asked, every run's figures, and what they say
ablation.md         the same for people
ablation.png        the differences, with their intervals
<arm>/seed<n>/      one ordinary run each, see `zoo.runs`
"""

import shlex
import warnings
from datetime import UTC, datetime
from pathlib import Path

import keras

from zoo.ablation_results import FORMAT, RECORD, read
from zoo.ablation_work import Work
from zoo.arms import FULL, arms_of
from zoo.data import load as load_data
from zoo.errors import InvalidArgument, invalid
from zoo.factory import resolve
from zoo.files import check_writable, locked, make_folder
from zoo.machine import hardware, versions
from zoo.progress import console
from zoo.recipes import check_given
from zoo.recipes import recipe as read_recipe
from zoo.runs import unused_folder
from zoo.settings import seeds_of, settings_of
from zoo.spec import jsonable
from zoo.training import repeated, train
from zoo.workers import cores

_CAUTION = "caution: "  # begins what a dry run says will not work well


def ablate(
    model=None,
    recipe=None,
    data=None,
    *,
    seeds=3,
    mode="both",
    out=None,
    resume=False,
    epochs=None,
    batch_size=None,
    jobs=None,
    keep="best",
    mixed_precision=None,
    jit=None,
    deterministic=True,
    weights=None,
    quiet=False,
    data_options=None,
    **arguments,
):
    """Measures what each trick of a recipe is worth: the recipe without it, and it alone, each with the same seeds.

    Every arm starts from the same weights and sees the examples in the same order with the same seed, as far as the
    tricks allow, so differences are taken within seeds. Each run is an ordinary one of `zoo.train` in
    `out/<arm>/seed<n>`.

    Args:
        model: a model's name; by default the named recipe's.
        recipe: such as "focal+warmup+radam", with at least one trick.
        data: a data set's name, a path, or a `zoo.data.base.Dataset`; by default the named recipe's.
        seeds: how many, counted from 0, or the seeds themselves. An ablation can be given more of them later.
        mode: "leave_one_out", "add_one_in" or "both".
        out: folder; by default `runs/ablation.<model>.<data>` with a number where that exists.
        resume: go on with the ablation in `out`. Runs that are finished are not repeated, others continue from their
            last epoch.
        epochs, batch_size: by default the named recipe's, else 20 and 32.
        jobs: trainings at a time, in processes of their own; by default half the cores, and one where there is an
            accelerator, or where model or data cannot be named to another process. One trains in this process.
        keep, mixed_precision, jit, deterministic, weights: as for `zoo.train`.
        quiet: whether to print nothing.
        data_options: options of the data set.
        **arguments: of the model's builder.

    Returns:
        The `zoo.ablation_results.Ablation`.

    Raises:
        InvalidArgument: something cannot work; nothing has been trained yet.
        Conflict: two tricks of the recipe exclude each other.
        StoreError: the folder cannot be written, or another process works in it.
    """
    chosen = read_recipe(recipe if recipe is not None else "plain")
    model, data, arguments, data_options = completed(chosen, model, data, arguments, data_options or {})
    if not isinstance(model, str):
        works = "Give its name, and weights= (a run folder or a reference) if it is not to start from nothing."
        raise invalid("every arm of an ablation builds its model anew", type(model).__name__, works)
    seeds = seeds_of(seeds)
    arms, comparisons = arms_of(chosen, mode)
    options = {"keep": keep, "mixed_precision": mixed_precision, "jit": jit, "deterministic": deterministic}
    settings = settings_of(chosen, epochs, batch_size, seeds[0], **options)
    options |= {"epochs": settings["epochs"], "batch_size": settings["batch_size"], "weights": weights, **arguments}
    builder, variant, _ = resolve(model, arguments)
    jobs = _jobs(jobs, data, builder, chosen)
    _check_folder(out, resume)
    dataset = load_data(data, **data_options)
    folder = Path(out) if out is not None else unused_folder(f"ablation.{variant}.{dataset.name}")
    settings.pop("seed")
    question = jsonable(
        {
            "model": variant,
            "arguments": arguments,
            "recipe": chosen.exact,
            "data": dataset.fingerprint,
            "weights": None if weights is None else str(weights),
            **settings,
            "backend": keras.backend.backend(),
        }
    )
    record = _start(folder, question)
    planned = _planned(arms, variant, dataset, options)
    record |= {
        "status": "running",
        "command": _command(model, data, chosen, seeds, mode, options, data_options, arguments),
        "seeds": seeds,
        "mode": mode,
        "task": builder.task,
        "data": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "sizes": {name: len(split) for name, split in dataset.splits.items()},
        },
        "recipe": str(chosen),
        "arms": planned,
        "comparisons": [vars(c) for c in comparisons],
        "versions": versions(),
        "hardware": hardware(),
        "jobs": max(jobs, record.get("jobs", 1)),
    }
    make_folder(folder)
    with locked(folder / ".lock", wait_seconds=0):
        if (folder / RECORD).is_file():
            record["runs"] = read(folder)["runs"]  # another process may have worked here a moment ago
        options = {"model": model, "data": data, "data_options": data_options or None, **options}
        return Work(folder, record, options, jobs, console(quiet)).run()


def completed(chosen, model, data, arguments, data_options):
    """Returns model, data and their options, from the settings of the named recipes where not given.

    Raises:
        InvalidArgument: nobody says which model, or which data.
    """
    model, arguments = chosen.filled("model", model, arguments)
    data, data_options = chosen.filled("data", data, data_options)
    works = "Name them, or a recipe that has both (zoo.list_recipes())."
    check_given("an ablation", works, {"a model": model, "data": data})
    return model, data, arguments, data_options


# Before training


def _jobs(jobs, data, builder, chosen):
    """Returns how many trainings run at a time."""
    if jobs is not None and (type(jobs) is not int or jobs < 1):
        raise invalid("`jobs` must be a positive whole number", jobs)
    own = [f"trick {t.name!r}" for t in chosen.tricks if not type(t).__module__.startswith("zoo.")]
    own += [] if builder.module.startswith("zoo.") else [f"model {builder.family!r}"]
    own += [] if isinstance(data, (str, Path)) else ["data in memory"]
    if jobs is None:
        return 1 if own or hardware()["devices"] else max(1, cores() // 2)
    if jobs > 1 and own:
        raise invalid(f"other processes cannot be given {' and '.join(own)}", f"jobs={jobs}", "Pass jobs=1.")
    return jobs


def _check_folder(folder, resume):
    """Refuses a folder that holds something else than what was asked for, before any work."""
    if folder is None:
        if resume:
            raise invalid("resume=True needs to know which ablation", works="Pass out= (--out), its folder.")
        return
    folder = Path(folder)
    if (folder / RECORD).exists():
        if not resume:
            works = "Pass resume=True (--resume) to go on with it, or another out=."
            raise invalid(f"{folder} already holds an ablation", works=works)
    elif folder.exists() and (not folder.is_dir() or any(p.name != ".lock" for p in folder.iterdir())):
        raise invalid(f"{folder} exists and holds no ablation", works="Pass another out=.")
    elif resume and not folder.exists():
        works = "Leave out resume=True (--resume), or check out=."
        raise invalid(f"there is no ablation to resume in {folder}", works=works)
    check_writable(folder)


def _start(folder, question):
    """Returns the record that a call starts from: that in the folder if it asked the same, else a new one.

    Raises:
        InvalidArgument: the ablation in the folder asked something else; the message says what.
        IntegrityError: its record is damaged.
    """
    if not (folder / RECORD).is_file():
        started = datetime.now(UTC).isoformat(timespec="seconds")
        return {"format": FORMAT, "question": question, "started": started, "runs": {}}
    record = read(folder)
    asked = record["question"]
    keys = dict.fromkeys((*question, *asked))
    other = [f"{k}: {asked.get(k)!r} there, {question.get(k)!r} here" for k in keys if asked.get(k) != question.get(k)]
    if other:
        works = "Resume with what it asked, or start another in a new folder. Only seeds and mode may change."
        raise invalid(f"the ablation in {folder} asked something else: {'; '.join(other)}", works=works)
    return record


def _planned(arms, variant, dataset, options):
    """Returns the record of every arm; each is planned on the real model, so that what cannot work is known now.

    Raises:
        InvalidArgument: the full recipe cannot work.
    """
    rows = []
    for arm in arms:
        row = {"name": arm.name, "recipe": str(arm.recipe), "recipe_exact": arm.recipe.exact, "impossible": None}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # a training says them again, and is recorded
                said = train(variant, dataset, recipe=arm.recipe, dry_run=True, **options).splitlines()
        except InvalidArgument as error:
            if arm.name == FULL:
                raise
            said, row["impossible"] = [], str(error)
        cautions = [line.removeprefix(_CAUTION) for line in said if line.startswith(_CAUTION)]
        rows.append(row | {"cautions": list(dict.fromkeys(cautions))})
    return rows


def _command(model, data, chosen, seeds, mode, options, data_options, arguments):
    """Returns the command that asks the same, or None where data or seeds have no words for it."""
    if not isinstance(data, (str, Path)) or seeds != list(range(len(seeds))):
        return None
    words = ["zoo", "ablate", model, "--recipe", str(chosen), "--data", str(data), "--seeds", str(len(seeds))]
    words += ["--epochs", str(options["epochs"]), "--batch-size", str(options["batch_size"])]
    words += ["--mode", mode] if mode != "both" else []
    words += ["--keep", options["keep"]] if options["keep"] != "best" else []
    words += ["--weights", str(options["weights"])] if options["weights"] else []
    words += ["--mixed-precision", options["mixed_precision"]] if options["mixed_precision"] else []
    words += [] if options["jit"] is None else ["--jit" if options["jit"] else "--no-jit"]
    words += [] if options["deterministic"] else ["--no-deterministic"]
    return shlex.join(words + repeated("--set", arguments) + repeated("--data-option", data_options))
