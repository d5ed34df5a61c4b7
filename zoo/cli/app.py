"""The commands: options in, one call of the API, its result out."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from zoo import __version__
from zoo.cli import caching, doctoring, names, options, registering, screen
from zoo.cli.groups import Commands
from zoo.errors import invalid, unknown

app = typer.Typer(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # its panels leave a terminal of 80 columns a dozen for the text
)


app.add_typer(registering.app, name="registry", cls=Commands)


def reworded(error):
    """Returns the text of a usage error that typer raised, ending in the command that explains more."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "zoo"
    if context and hasattr(error, "possibilities"):
        known = [o for p in context.command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("--")]
        return str(unknown(f"option of `{command}`", error.option_name, known, see=f"{command} --help"))
    text = error.format_message().replace("Value error, ", "").rstrip(".")
    return f"{text}. See {command} --help."


def _version(wanted: bool):
    if wanted:
        print(f"zoo {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def start(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error (also ZOO_DEBUG=1, also after a command).")
    ] = False,
):
    """Name a model and a recipe, train it, push it, pull it back."""
    if context.invoked_subcommand is None:
        print(context.get_help().rstrip())


# Looking


@app.command("list")
def list_models(
    pattern: options.Pattern = "*",
    task: Annotated[str | None, typer.Option(help="Only models for this task.")] = None,
    weights: Annotated[bool, typer.Option("--weights", help="List published weights instead.")] = False,
    as_json: options.AsJson = False,
):
    """List models, or with --weights published weights."""
    from zoo.cli import show

    registering.listed(pattern, task, as_json) if weights else show.models(pattern, task, as_json)


@app.command()
def info(
    name: Annotated[
        str, typer.Argument(help="A model, trick, recipe, data set, weights, a run folder, or an expression.")
    ],
    model: Annotated[
        str | None,
        typer.Option(help="Say in numbers what the recipe does to this model.", autocompletion=options.models),
    ] = None,
    option: options.SettingsOfModel = None,
    as_json: options.AsJson = False,
):
    """Show everything about a name, or explain a recipe.

    A name is a model, trick, recipe, data set, weights or run folder; a recipe is terms such as 'focal+warmup'.
    """
    from zoo.cli import show

    arguments = names.settings("--set", option)
    if model is None and arguments:
        raise invalid("--set gives arguments of a model", option[0], "Pass --model too.")
    if model is None:
        show.info(name, as_json)
        return
    names.recipe(name)
    names.model(model, arguments)
    if as_json:
        raise invalid("--json and --model exclude each other", works="Leave one out.")
    zoo = _with_keras()
    screen.line(_explained(zoo, zoo.recipe(name), model, arguments))


@app.command()
def leaderboard(
    runs: Annotated[
        list[Path] | None, typer.Argument(help="Folders of runs and ablations to stand beside the recorded results.")
    ] = None,
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="Only this data set.", autocompletion=options.datasets)
    ] = None,
    task: Annotated[str | None, typer.Option(help="Only this task.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown, as in the README.")] = False,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write one page with table and pictures.", show_default=False),
    ] = None,
    as_json: options.AsJson = False,
):
    """Compare models on each data set: figure, size, cost, tricks."""
    from zoo.cli import leading

    leading.board(runs or (), data=data, task=task, markdown=markdown, html=html, as_json=as_json)


@app.command()
def recipes(
    pattern: Annotated[
        str, typer.Argument(help="Glob pattern of names; `explain` explains EXPRESSION.", show_default=False)
    ] = "*",
    expression: Annotated[
        str | None, typer.Argument(help="A recipe such as 'focal+warmup', after `explain`.", show_default=False)
    ] = None,
    task: Annotated[str | None, typer.Option(help="Only recipes for this task.")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="Explain in numbers what the recipe does to this model.", autocompletion=options.models),
    ] = None,
    option: options.SettingsOfModel = None,
    as_json: options.AsJson = False,
):
    """List named recipes, or explain one: zoo recipes explain EXPRESSION.

    --model says in numbers what it does to a model.
    """
    from zoo.cli import explaining, show

    if pattern == "explain":
        if expression is None or task is not None:
            works = "Write `zoo recipes explain EXPRESSION`, such as focal+warmup, with or without --model NAME."
            raise invalid("`zoo recipes explain` explains one recipe", works=works)
        explaining.explain(expression, model, option, as_json)
        return
    if expression is not None or model is not None or option:
        works = f"Write `zoo recipes explain {expression or pattern}` to explain a recipe."
        raise invalid("a list of recipes takes one pattern", expression or model or option[0], works)
    show.recipes(pattern, task, as_json)


@app.command()
def tricks(
    pattern: options.Pattern = "*",
    stage: Annotated[str | None, typer.Option(help="Only tricks of this stage, such as 'loss'.")] = None,
    as_json: options.AsJson = False,
):
    """List tricks, the terms of recipes."""
    from zoo.cli import show

    show.tricks(pattern, stage, as_json)


@app.command()
def datasets(
    pattern: options.Pattern = "*",
    task: Annotated[str | None, typer.Option(help="Only data sets for this task.")] = None,
    as_json: options.AsJson = False,
):
    """List data sets."""
    from zoo.cli import show

    show.datasets(pattern, task, as_json)


@app.command()
def weights(
    pattern: options.Pattern = "*",
    task: Annotated[str | None, typer.Option(help="Only weights for this task.")] = None,
    as_json: options.AsJson = False,
):
    """List published weights."""
    registering.listed(pattern, task, as_json)


@app.command()
def plot(
    model: options.Model,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Picture to write: .png, .svg or .pdf.", show_default="MODEL.png")
    ] = None,
    option: options.Settings = None,
):
    """Draw a model's blocks, equal ones once."""
    arguments = names.settings("--set", option)
    row = names.model(model, arguments)
    _with_keras()
    from zoo.factory import build_empty
    from zoo.plotting import plot as draw

    screen.line(str(draw(build_empty(row.name, **arguments), out)))


# Training


@app.command()
def train(
    model: options.ModelOfRecipe = None,
    data: options.DataOfRecipe = None,
    recipe: options.RecipeText = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    seed: options.Seed = 0,
    out: options.Out = None,
    resume: options.Resume = False,
    keep: options.Keep = "best",
    mixed_precision: options.MixedPrecision = None,
    jit: options.Jit = None,
    deterministic: options.Deterministic = True,
    tensorboard: options.TensorBoard = False,
    weights: Annotated[
        str | None, typer.Option(help="Checkpoint to start from: variant.tag, a reference or a folder.")
    ] = None,
    option: options.Settings = None,
    data_option: options.DataOption = None,
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do not train.")] = False,
):
    """Train a model and leave a run folder.

    `zoo train --recipe NAME` alone takes model and data from a named recipe.
    """
    arguments, data_options = names.settings("--set", option), names.data_settings(data_option, skip_bad)
    _, said = names.recipe(recipe)
    model, data, arguments, data_options = _completed(model, data, arguments, data_options, said)
    names.model(model, arguments)
    names.data(data, data_options)
    if weights is not None:
        names.reference(weights)
    doctoring.take_fastest(said, model, out if resume else None, quiet)
    zoo = _with_keras()
    made = zoo.train(
        model,
        data,
        recipe=recipe,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        out=out,
        resume=resume,
        keep=keep,
        mixed_precision=mixed_precision,
        jit=jit,
        deterministic=deterministic,
        tensorboard=tensorboard,
        quiet=quiet,
        dry_run=dry_run,
        data_options=data_options,
        weights=weights,
        **arguments,
    )
    if dry_run:
        screen.line(made)


def _completed(model, data, arguments, data_options, said):
    """Returns model, data and their options, filled in from the settings of the named recipes where not given."""
    from zoo.recipes import Recipe, check_given

    recipes = Recipe((), said)
    model, arguments = recipes.filled("model", model, arguments)
    data, data_options = recipes.filled("data", data, data_options)
    works = "Write `zoo train MODEL DATA`, or `zoo train --recipe NAME` with a recipe that has both (zoo recipes)."
    check_given("`zoo train`", works, {"a model": model, "data": data})
    return model, data, arguments, data_options


@app.command()
def reproduce(
    recipe: Annotated[
        str | None, typer.Argument(help="A recipe with a recorded result (zoo recipes), or a .toml file.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Measure the shipped weights instead; without RECIPE those of all recipes.")
    ] = False,
    seed: Annotated[
        list[int] | None,
        typer.Option("--seed", metavar="N", min=0, help="Seed to train; repeatable.", show_default="those recorded"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FOLDER", help="Folder of run folders.", show_default="runs/reproduce-..."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with runs that are in --out, or refuse them.")
    ] = True,
    other_data: Annotated[
        bool, typer.Option("--other-data", help="Go on where the data is not the recorded, and say so.")
    ] = False,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
):
    """Train a recorded recipe again and compare with its record; exit code 1 where it does not hold.

    With --check the weights that come with zoo are measured, which have to match exactly.
    """
    from zoo.cli import reproducing

    settings = {"seeds": seed, "out": out, "resume": resume, "other_data": other_data, "quiet": quiet}
    reproducing.reproduce(_with_keras, recipe, check=check, as_json=as_json, **settings)


@app.command()
def doctor(
    model: options.ModelOfRecipe = None,
    data: Annotated[
        str | None,
        typer.Argument(
            help="Name of a data set, or a path; random batches where there is none.",
            autocompletion=options.datasets,
            show_default="the recipe's",
        ),
    ] = None,
    recipe: options.RecipeText = None,
    backend: Annotated[
        list[str] | None,
        typer.Option("--backend", metavar="NAME", help="Only this one; repeatable.", show_default="all installed"),
    ] = None,
    batch_sizes: Annotated[
        str | None, typer.Option(metavar="LIST", help="Such as 32,128.", show_default="the recipe's")
    ] = None,
    steps_per_execution: Annotated[
        str | None, typer.Option(metavar="LIST", help="As Keras compiles them: 1,8.", show_default="1")
    ] = None,
    xla: Annotated[bool, typer.Option("--xla/--no-xla", help="Try TensorFlow with XLA too.")] = True,
    rounds: Annotated[int, typer.Option(metavar="N", min=2, help="Turns of each.")] = 5,
    seconds: Annotated[float, typer.Option(metavar="S", min=0.05, help="Of a turn, about.")] = 2.0,
    option: options.Settings = None,
    data_option: options.DataOption = None,
    toml: Annotated[bool, typer.Option("--toml", help="Print the table [speed] for a recipe file.")] = False,
    as_json: options.AsJson = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the fastest command alone.")] = False,
):
    """Say what is installed here, and which backend is fastest for a model, by measuring."""
    settings = {"backends": backend or None, "xla": xla, "rounds": rounds, "seconds": seconds}
    settings |= {"batch_sizes": batch_sizes, "steps_per_execution": steps_per_execution}
    named = model, data, recipe, option, data_option
    doctoring.doctor(*named, toml=toml, as_json=as_json, quiet=quiet, **settings)


@app.command("find-lr")
def find_lr(
    model: options.Model,
    data: options.DataGiven,
    recipe: options.RecipeText = None,
    low: Annotated[float, typer.Option(help="First learning rate.")] = 1e-7,
    high: Annotated[float, typer.Option(help="Last learning rate.")] = 10.0,
    steps: Annotated[int, typer.Option(metavar="N", min=20, help="How many rates, one a step.")] = 200,
    batch_size: options.BatchSize = None,
    seed: options.Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Picture to draw, a PNG.")] = None,
    option: options.Settings = None,
    data_option: options.DataOption = None,
    skip_bad: options.SkipBad = False,
):
    """Suggest a learning rate: train at ever higher rates until the loss diverges; nothing is kept."""
    arguments, data_options = names.settings("--set", option), names.data_settings(data_option, skip_bad)
    names.recipe(recipe)
    names.model(model, arguments)
    names.data(data, data_options)
    numbers = {"low": low, "high": high, "steps": steps, "batch_size": batch_size, "seed": seed}
    zoo = _with_keras()
    found = zoo.find_learning_rate(
        model, data, recipe=recipe, **numbers, out=out, data_options=data_options, **arguments
    )
    screen.line(str(found))
    if out is not None:
        screen.line(str(out))


@app.command()
def finetune(
    ref: options.ReferenceOfRecipe = None,
    data: options.DataOfRecipe = None,
    recipe: options.RecipeText = None,
    freeze: Annotated[
        bool, typer.Option("--freeze", help="Train the new head only: recipe finetune_head, if none is given.")
    ] = False,
    image_size: Annotated[
        str | None,
        typer.Option(
            "--image-size", metavar="N", help="Pixels, 96 or 96x128; resizes position embeddings.", show_default=False
        ),
    ] = None,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    seed: options.Seed = 0,
    out: options.Out = None,
    resume: options.Resume = False,
    keep: options.Keep = "best",
    mixed_precision: options.MixedPrecision = None,
    jit: options.Jit = None,
    deterministic: options.Deterministic = True,
    tensorboard: options.TensorBoard = False,
    data_option: options.DataOption = None,
    skip_bad: options.SkipBad = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and say what would be done.")] = False,
    quiet: options.Quiet = False,
):
    """Train a pretrained model on other data.

    The head is new where the classes are, everything else is kept. Recipes made for this: finetune_full (the
    default), finetune_head, finetune_llrd, finetune_lora, linear_probe. `zoo finetune --recipe NAME` alone takes
    both from a named recipe that has them.
    """
    from zoo.cli import finetuning

    finetuning.finetune(
        _with_keras,
        ref,
        data,
        recipe=recipe,
        freeze=freeze,
        size=image_size,
        data_options=names.data_settings(data_option, skip_bad),
        dry_run=dry_run,
        epochs=epochs,
        batch_size=batch_size,
        seed=seed,
        out=out,
        resume=resume,
        keep=keep,
        mixed_precision=mixed_precision,
        jit=jit,
        deterministic=deterministic,
        tensorboard=tensorboard,
        quiet=quiet,
    )


@app.command()
def ablate(
    model: options.ModelOfRecipe = None,
    recipe: options.RecipeText = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            "-d",
            metavar="DATA",
            help="Name of a data set, or a path (zoo datasets).",
            autocompletion=options.datasets,
            show_default="the recipe's",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", "-s", metavar="N", min=1, help="Runs of each arm.")] = 3,
    mode: Annotated[
        Literal["both", "leave_one_out", "add_one_in"], typer.Option("--mode", help="Which questions to ask.")
    ] = "both",
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FOLDER", help="By default runs/ablation.MODEL.DATA.", show_default=False),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the ablation in --out.")] = False,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", "-j", metavar="N", min=1, help="Runs at a time.", show_default="half the cores"),
    ] = None,
    keep: options.Keep = "best",
    mixed_precision: options.MixedPrecision = None,
    jit: options.Jit = None,
    deterministic: options.Deterministic = True,
    weights: Annotated[
        str | None, typer.Option(help="Checkpoint to start from: variant.tag, a reference or a folder.")
    ] = None,
    option: options.Settings = None,
    data_option: options.DataOption = None,
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
):
    """Measure what each trick of a recipe is worth.

    Trains the recipe without each trick, and each trick alone, with the same seeds.
    """
    from zoo.cli import ablating

    settings = {"seeds": seeds, "mode": mode, "epochs": epochs, "batch_size": batch_size, "out": out, "jobs": jobs}
    settings |= {"resume": resume, "keep": keep, "mixed_precision": mixed_precision, "jit": jit}
    settings |= {"deterministic": deterministic, "weights": weights}
    data_options = names.data_settings(data_option, skip_bad)
    ablating.ablate(model, recipe, data, option, data_options, as_json, quiet, **settings)


# Using


@app.command()
def evaluate(
    ref: options.Reference,
    data: options.Data,
    split: Annotated[Literal["train", "validation", "test"], typer.Option(help="Part of the data.")] = "test",
    batch_size: Annotated[int, typer.Option("--batch-size", "-b", min=1, help="Examples at a time.")] = 64,
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the first examples.", show_default="all")
    ] = None,
    attack: Annotated[
        str | None,
        typer.Option(
            metavar="ATTACK",
            help="Accuracy under it too: 'pgd(epsilon=0.3, steps=100, restarts=20)', pixels being 0 to 1.",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Of an attack's random starts.", show_default="0")
    ] = None,
    data_option: options.DataOption = None,
    skip_bad: options.SkipBad = False,
    as_json: options.AsJson = False,
):
    """Measure a trained model on data.

    The data is read with the model's own preprocessing. With --attack also on the worst images near it.
    """
    from zoo.cli import attacking

    attacking.check(attack, seed)
    data_options = names.data_settings(data_option, skip_bad)
    names.data(data, data_options)
    names.reference(ref)
    zoo = _with_keras()
    chosen = {"split": split, "batch_size": batch_size, "limit": limit, "attack": attack, "seed": seed or 0}
    found, seconds = attacking.timed(
        lambda: zoo.evaluate(ref, data, data_options=data_options, quiet=as_json, **chosen)
    )
    if as_json:
        screen.as_json({"ref": ref, "data": data, "split": split, **found})
    elif attack is not None:
        attacking.attacked(found, seconds, split, data)
    else:
        from zoo.cli import results

        results.evaluated(found, split, data)


@app.command()
def predict(
    ref: options.Reference,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Image files or folders, texts, or JSON objects for several inputs or tables; - reads lines of stdin.",
        ),
    ],
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="How many labels each.")] = 3,
    skip_bad: options.SkipBad = False,
    as_json: options.AsJson = False,
):
    """Predict labels or numbers for image files or folders of them, texts or tables."""
    names.reference(ref)
    items = [item for word in inputs for item in (_lines() if word == "-" else [word])]
    if not items:
        raise invalid("standard input holds no line to predict from")
    items = [_object(item) for item in items]
    from zoo.cli import results

    results.predictions(_with_keras().predict(ref, items, top=top, skip_bad=skip_bad), as_json)


@app.command()
def generate(
    ref: options.Reference,
    prompt: Annotated[str, typer.Option("--prompt", "-p", help="Text that a language model goes on from.")] = "",
    length: Annotated[int, typer.Option("--length", "-l", min=1, help="Most words to add.")] = 50,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="Below 1 likely words become likelier; 0 takes the most probable.")
    ] = 1.0,
    top_k: Annotated[int | None, typer.Option("--top-k", min=1, help="Draw among so many words only.")] = None,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="How many pictures.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the random numbers.", metavar="N")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="PNG file that pictures are written to.")] = Path(
        "generated.png"
    ),
):
    """Make up text, or pictures in one PNG file."""
    names.reference(ref)
    chosen = {"length": length, "temperature": temperature, "top_k": top_k, "count": count, "seed": seed}
    made = _with_keras().generate(ref, prompt, **chosen)
    if isinstance(made, str):
        screen.line(made)
        return
    from zoo.generating import save_grid

    screen.line(f"{len(made)} pictures in {save_grid(made, out)}")


@app.command()
def judge(
    ref: options.Reference,
    by: Annotated[str, typer.Option("--by", metavar="REF", help="Trained classifier of such images, a reference.")],
    samples: Annotated[int, typer.Option("--samples", "-n", metavar="N", min=2, help="How many to draw.")] = 10_000,
    seed: Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of the noise.")] = 0,
    threshold: Annotated[float, typer.Option(help="Probability from which on an answer is confident.")] = 0.9,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            "-d",
            help="Real examples to stand beside.",
            autocompletion=options.datasets,
            show_default="what the generator was trained on",
        ),
    ] = None,
    split: Annotated[Literal["train", "validation", "test"], typer.Option(help="Part of the real examples.")] = "test",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Picture of the best and worst, a PNG.")
    ] = None,
    data_option: options.DataOption = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
):
    """Have a classifier judge the samples of an image generator.

    Confident share, classes, entropy, Inception Score and Frechet distance, beside real examples.
    """
    from zoo.cli import judging

    data_options = names.data_settings(data_option, False)
    if data is not None:
        names.data(data, data_options)
    chosen = {"samples": samples, "seed": seed, "threshold": threshold, "split": split, "picture": out}
    judging.check(ref, by, chosen)
    made = _with_keras().judge(ref, by, data=data, data_options=data_options, quiet=quiet or as_json, **chosen)
    if as_json or not quiet:
        judging.judgement(made, as_json)


@app.command()
def ensemble(
    members: Annotated[
        list[str],
        typer.Argument(
            metavar="MEMBER",
            help="Run folders, references, folders of snapshots; random_forest and gradient_boosting are fitted here.",
        ),
    ],
    data: options.DataGiven,
    weights: Annotated[
        Literal["uniform", "validation", "greedy"],
        typer.Option(help="Equal, of least validation loss, or by greedy selection on validation data."),
    ] = "uniform",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FOLDER", help="Write report and picture.", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, metavar="N", help="Of models that are fitted here.")] = 0,
    data_option: options.DataOption = None,
    skip_bad: options.SkipBad = False,
    as_json: options.AsJson = False,
):
    """Pool trained classifiers and trees, and show how differently they err."""
    data_options = names.data_settings(data_option, skip_bad)
    names.data(data, data_options)
    chosen = {"weights": weights, "seed": seed, "out": out, "data_options": data_options}
    made = _with_keras().ensemble(members, data, **chosen)
    from zoo.cli import ensembling

    ensembling.ensemble(made, out, as_json)


@app.command()
def support_vectors(
    model: options.Model,
    data: options.Data,
    recipe: options.RecipeText = None,
    score: Annotated[Literal["el2n", "margin", "forgetting"], typer.Option(help="What tells hard from easy.")] = "el2n",
    fractions: Annotated[
        str, typer.Option(metavar="LIST", help="Parts of the training examples, joined by commas.")
    ] = "1,0.5,0.25,0.1",
    keep: Annotated[Literal["hardest", "easiest", "moderate"], typer.Option(help="Which examples.")] = "hardest",
    balanced: Annotated[bool, typer.Option("--balanced", help="Each class keeps its share.")] = False,
    score_epochs: Annotated[int, typer.Option(metavar="N", min=1, help="Of the short trainings that score.")] = 2,
    seeds: Annotated[int, typer.Option(metavar="N", min=1, help="How many of each training.")] = 3,
    epochs: options.Epochs = None,
    batch_size: options.BatchSize = None,
    budget: Annotated[
        Literal["epochs", "steps"], typer.Option(help="What every part is trained for the same number of.")
    ] = "epochs",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FOLDER", help="Every run and the report; goes on there.", show_default=False
        ),
    ] = None,
    option: options.Settings = None,
    data_option: options.DataOption = None,
    skip_bad: options.SkipBad = False,
    quiet: options.Quiet = False,
    as_json: options.AsJson = False,
):
    """Find the training examples that matter, and train on them alone."""
    arguments, data_options = names.settings("--set", option), names.data_settings(data_option, skip_bad)
    names.recipe(recipe)
    names.model(model, arguments)
    names.data(data, data_options)
    try:
        parts = [float(part) for part in fractions.split(",")]
    except ValueError as error:
        raise invalid("--fractions takes numbers joined by commas", fractions, "For example 1,0.5,0.1.") from error
    study = _with_keras().support_vectors(
        model,
        data,
        recipe=recipe,
        score=score,
        fractions=parts,
        keep=keep,
        balanced=balanced,
        score_epochs=score_epochs,
        seeds=seeds,
        epochs=epochs,
        batch_size=batch_size,
        budget=budget,
        out=out,
        quiet=quiet or as_json,
        data_options=data_options,
        **arguments,
    )
    from zoo.cli import ensembling

    ensembling.support_vectors(study, as_json)


def _object(item):
    """Returns the dict that an input written as a JSON object holds; any other input as it is."""
    if not item.lstrip().startswith("{"):
        return item
    try:
        return json.loads(item)
    except ValueError as error:
        works = """Write it as '{"story": "...", "question": "..."}'."""
        raise invalid(f"an input begins as a JSON object and is none ({error})", item, works) from error


def _lines():
    """Returns the lines of standard input that are not empty."""
    try:
        return [line for line in sys.stdin.read().splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise invalid(f"standard input is not UTF-8 text ({error.reason} at byte {error.start})") from error


# Word vectors


@app.command()
def words(
    ref: options.Reference,
    words: Annotated[list[str], typer.Argument(metavar="WORD", help="Words of its vocabulary.")],
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="How many nearest words each.")] = 10,
    as_json: options.AsJson = False,
):
    """Show the nearest words of words."""
    import zoo

    vectors = zoo.word_vectors(ref)
    _ranked([(word, zoo.nearest(vectors, word, top=top)) for word in words], "word", "nearest", as_json)


@app.command()
def analogy(
    ref: options.Reference,
    a: Annotated[str, typer.Argument(metavar="A", help="A is to B, such as man ...")],
    b: Annotated[str, typer.Argument(metavar="B", help="... to king, ...")],
    c: Annotated[str, typer.Argument(metavar="C", help="... as C, such as woman, is to the answer.")],
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="How many answers.")] = 5,
    as_json: options.AsJson = False,
):
    """Complete an analogy: A is to B as C is to the answer."""
    import zoo

    _ranked([(f"{a} : {b} = {c} : ?", zoo.analogy(ref, a, b, c, top=top))], "question", "answers", as_json)


def _ranked(rows, title, found, as_json):
    """Prints words with their cosines, a line for each of `rows`, (text, list of (word, cosine))."""
    if as_json:
        screen.as_json([{title: text, found: [{"word": w, "cosine": c} for w, c in pairs]} for text, pairs in rows])
        return
    cells = [(text, ", ".join(f"{word} {cosine:.2f}" for word, cosine in pairs)) for text, pairs in rows]
    screen.table((screen.Column(title), screen.Column(found, fold=True)), cells)


@app.command()
def analogies(
    ref: options.Reference,
    path: Annotated[Path, typer.Argument(help="Questions, such as Google's questions-words.txt.")],
    most_frequent: Annotated[
        int | None, typer.Option(metavar="N", min=4, help="Only the N most frequent words.", show_default="all words")
    ] = None,
    as_json: options.AsJson = False,
):
    """Measure word vectors on a file of analogy questions."""
    import zoo

    sections = zoo.analogies(ref, path, most_frequent=most_frequent)
    if as_json:
        screen.as_json([{k: getattr(s, k) for k in ("name", "right", "asked", "skipped")} for s in sections])
        return
    numbers = [screen.Column(title, right=True) for title in ("accuracy", "right", "asked", "skipped")]
    rows = [(s.name, f"{s.accuracy:.1%}" if s.asked else "-", s.right, s.asked, s.skipped) for s in sections]
    screen.table((screen.Column("section"), *numbers), rows, note="Skipped: a word is not in the vocabulary.")


@app.command()
def similarity(
    ref: options.Reference,
    paths: Annotated[list[Path], typer.Argument(metavar="PATH", help="Lines of two words and a score: WordSim-353.")],
    most_frequent: Annotated[
        int | None, typer.Option(metavar="N", min=2, help="Only the N most frequent words.", show_default="all words")
    ] = None,
    as_json: options.AsJson = False,
):
    """Measure whether word vectors find alike what people do."""
    import zoo

    vectors = zoo.word_vectors(ref)
    found = [(path.name, zoo.similarity(vectors, path, most_frequent=most_frequent)) for path in paths]
    if as_json:
        screen.as_json([{"file": name} | dataclasses.asdict(agreement) for name, agreement in found])
        return
    columns = [screen.Column("file"), *(screen.Column(title, right=True) for title in ("Spearman", "pairs", "skipped"))]
    rows = [(name, f"{a.spearman:.3f}", a.pairs, a.skipped) for name, a in found]
    screen.table(columns, rows, note="Skipped: a word is not in the vocabulary.")


@app.command()
def export_word2vec(
    ref: options.Reference,
    path: Annotated[Path, typer.Argument(help="File to write.")],
    binary: Annotated[bool, typer.Option("--binary", help="The binary format instead of the text one.")] = False,
):
    """Write word vectors for other programs, such as gensim."""
    import zoo

    vectors = zoo.word_vectors(ref)
    made = zoo.export_word2vec(vectors, path, binary=binary)
    screen.line(f"{len(vectors):,} words of {vectors.vectors.shape[1]} numbers in {made}")


# Sharing

app.add_typer(caching.app, name="cache")


@app.command()
def push(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    target: Annotated[
        str, typer.Argument(help="hf://owner/name, owner/name in the hub (ZOO_HUB), or a folder such as ./name.")
    ],
    license: Annotated[
        str | None, typer.Option(help="Of the weights, such as apache-2.0; the Hugging Face Hub needs one.")
    ] = None,
    license_name: Annotated[str | None, typer.Option(help="Of a licence of your own.", show_default=False)] = None,
    license_link: Annotated[str | None, typer.Option(help="Address of its text.", show_default=False)] = None,
    message: Annotated[str | None, typer.Option("--message", "-m", help="One line for the history.")] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--labels", "--label", help="Name of a class, in logit order; repeatable.", show_default="the run's"
        ),
    ] = None,
    private: Annotated[
        bool | None,
        typer.Option("--private/--public", help="Who sees a repository that is made.", show_default="the account's"),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch to push to.", show_default="main")] = None,
    tag: Annotated[str | None, typer.Option(help="Name for this revision, for good.")] = None,
    format: Annotated[str, typer.Option(help="zoo, or timm for timm.create_model to load.")] = "zoo",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be sent.")] = False,
    as_json: options.AsJson = False,
):
    """Publish a run: weights, identity, record, card."""
    from zoo.cli import publishing

    publishing.push(
        run,
        target,
        labels=labels or None,
        license=publishing.license_of(license, license_name, license_link),
        message=message,
        private=private,
        revision=revision,
        tag=tag,
        format=format,
        dry_run=dry_run,
        as_json=as_json,
    )


@app.command()
def pull(
    ref: Annotated[str, typer.Argument(metavar="REF", help="[hf://]owner/name[@revision], a folder, or variant.tag.")],
    as_json: options.AsJson = False,
):
    """Bring a model here and verify every file."""
    from zoo.cli import results

    results.pulled(names.reference(ref), as_json)


@app.command()
def convert(
    source: Annotated[
        str, typer.Argument(help="Folder or weight file of a checkpoint, or a reference: hf://timm/resnet50.a1_in1k.")
    ],
    format: Annotated[
        str | None,
        typer.Option(help="timm, transformers, keras_applications, keras_hub.", show_default="found out"),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="TARGET", help="Where to publish it, as for zoo push.", show_default=False),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="For a weight file alone: the model it is of.", show_default=False)
    ] = None,
    argument: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Argument of that model; repeatable.", show_default=False),
    ] = None,
    license: Annotated[str | None, typer.Option(help="For --out, where the source names none.")] = None,
    as_json: options.AsJson = False,
):
    """Make a model of a checkpoint of timm, transformers, keras.applications or KerasHub."""
    from zoo.cli import converting

    arguments = names.settings("--set", argument)
    if model is not None:
        names.model(model, arguments)
    made_with = {"name": model, "arguments": arguments}
    converting.convert(_with_keras, source, format, out, **made_with, license=license, as_json=as_json)


def _with_keras():
    """Returns the `zoo` package once Keras is imported, its backend's notices held back."""
    from zoo.quiet import import_keras

    import_keras()
    import zoo

    return zoo


def _explained(zoo, chosen, model, arguments):
    from zoo.factory import build_empty, resolve

    builder, variant, _ = resolve(model, arguments)
    return chosen.explain(build_empty(variant, **chosen.builder_arguments(builder, variant, arguments)))
