"""Options and arguments that several commands share; names complete in the shell without importing Keras."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def models(incomplete):
    """Returns the names of models that begin so."""
    from zoo.registry import list_models

    return [row.name for row in list_models(f"{incomplete}*")]


def datasets(incomplete):
    """Returns the names of data sets that begin so."""
    from zoo.data import names as rows

    return [row.name for row in rows() if row.name.startswith(incomplete)]


def recipes(incomplete):
    """Returns what could complete the last term of a recipe."""
    from zoo.recipes import list_recipes
    from zoo.registry import list_tricks

    before, plus, last = incomplete.rpartition("+")
    return [before + plus + row.name for row in (*list_recipes(f"{last}*"), *list_tricks(f"{last}*"))]


Pattern = Annotated[str, typer.Argument(help="Glob pattern of names, such as 'resnet*'.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Reference = Annotated[
    str, typer.Argument(metavar="REF", help="[hf://]owner/name[@revision], a folder, a run folder, or variant.tag.")
]
ReferenceOfRecipe = Annotated[
    str | None,
    typer.Argument(
        metavar="REF",
        help="[hf://]owner/name[@revision], a folder, a run folder, or variant.tag.",
        show_default="the recipe's",
    ),
]
Model = Annotated[str, typer.Argument(help="Name of a model (zoo list).", autocompletion=models)]
ModelOfRecipe = Annotated[
    str | None,
    typer.Argument(help="Name of a model (zoo list).", autocompletion=models, show_default="the recipe's"),
]


def _set(of):
    help = f"Argument of {of}; repeatable."
    return Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help=help, show_default=False)]


Settings, SettingsOfModel = _set("the model"), _set("--model")
DataGiven = Annotated[str, typer.Option("--data", "-d", help="Name of a data set, or a path.", autocompletion=datasets)]
Data = Annotated[str, typer.Argument(help="Name of a data set, or a path (zoo datasets).", autocompletion=datasets)]
DataOfRecipe = Annotated[
    str | None,
    typer.Argument(
        help="Name of a data set, or a path (zoo datasets).", autocompletion=datasets, show_default="the recipe's"
    ),
]
DataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--data-option",
        metavar="NAME=VALUE",
        help="Option of the data set, or train_share=0.1 of any; repeatable.",
        show_default=False,
    ),
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Leave out images that cannot be read, with a warning, instead of stopping.")
]
RecipeText = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        "-r",
        metavar="RECIPE",
        help="Tricks and named recipes joined by +, such as 'focal+warmup'.",
        autocompletion=recipes,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option("--epochs", "-e", metavar="N", min=1, help="By default the recipe's, else 20.", show_default=False),
]
BatchSize = Annotated[
    int | None, typer.Option("--batch-size", "-b", metavar="N", min=1, help="By default the recipe's, else 32.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Of weights, order, dropout and augmentation.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="FOLDER", help="Run folder; by default runs/MODEL.DATA.", show_default=False),
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in --out exactly where it stopped.")]
Keep = Annotated[Literal["best", "last"], typer.Option("--keep", help="Weights of the best or the last epoch.")]
MixedPrecision = Annotated[
    Literal["bfloat16", "float16"] | None, typer.Option("--mixed-precision", help="Compute in 16 bits.")
]
Jit = Annotated[
    bool | None, typer.Option("--jit/--no-jit", help="Compile steps with XLA, or not.", show_default="Keras decides")
]
Deterministic = Annotated[
    bool, typer.Option("--deterministic/--no-deterministic", help="Avoid operations that do not repeat exactly.")
]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard logs into the run folder.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing.")]
