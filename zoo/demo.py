"""The main job from end to end, offline, on real handwritten digits: `make demo`, or `python -m zoo.demo`.

Trains a vision transformer with a recipe and without, publishes the run to a folder hub, pulls it back by its pinned
revision, checks that it predicts identically, and fine-tunes it on a second task.
"""

import json
import shutil
import time
from pathlib import Path

import zoo
from zoo.quiet import import_keras, no_retracing_notice

RECIPE, MODEL = "focal+warmup", {"patch_size": 2, "embed_dim": 64, "depth": 4, "num_heads": 4}
EPOCHS, FINETUNE_EPOCHS = 20, 8


def main(folder="demo"):
    """Runs the demo; everything it makes is in `folder`."""
    began = time.perf_counter()
    folder = Path(folder)
    import_keras()
    import numpy as np
    from rich.markup import escape
    from rich.table import Table

    from zoo.data import load as load_data
    from zoo.progress import console
    from zoo.runs import draw_curves

    screen = console()

    def heading(number, text):
        screen.print(f"\n[bold cyan]{number}[/] [bold]{text}[/]", highlight=False, soft_wrap=True)

    def say(text):
        screen.print(escape(text), highlight=False, soft_wrap=True)

    digits = load_data("digits")
    heading(1, f"Train zoo.build('vit', recipe={RECIPE!r}) on {sum(map(len, digits.splits.values())):,} real digits")
    model = zoo.build("vit", **digits.arguments, **MODEL)
    say(zoo.recipe(RECIPE).explain(model))
    run = _trained(folder / "runs" / "recipe", lambda **o: zoo.train("vit", digits, recipe=RECIPE, **o, **MODEL))

    heading(2, "The same model with the plain recipe, to compare")
    plain = _trained(folder / "runs" / "plain", lambda **o: zoo.train("vit", digits, recipe="plain", **o, **MODEL))
    picture = folder / "curves.png"
    draw_curves({RECIPE: run.history, "plain": plain.history}, picture, title="vit on digits")
    accuracy = {
        name: [zoo.evaluate(r, digits, split=split)["accuracy"] for split in ("train", "test")]
        for name, r in ((RECIPE, run), ("plain", plain))
    }
    for name, (train, test) in accuracy.items():
        say(f"{name:>14}: train accuracy {train:.2%}, test accuracy {test:.2%}")
    say(f"learning curves: {picture}")

    heading(3, "Push the run to a folder hub, and pull it back by its pinned revision")
    pushed = zoo.push(run, f"./{folder}/hub/me/vit-digits", license="apache-2.0")
    say(f"pushed {pushed.ref}")
    pulled = zoo.pull(pushed.ref)
    for name, entry in sorted(json.loads((pulled / "config.json").read_text("utf-8"))["files"].items()):
        say(f"  sha256 verified  {entry['sha256'][:16]}...  {entry['size']:>9,} bytes  {name}")
    again = zoo.load(pushed.ref)
    x, _ = digits.test.arrays()
    with no_retracing_notice():
        same = np.array_equal(run.model().predict(x, verbose=0), again.predict(x, verbose=0))
    say(f"the pulled model predicts {'identically' if same else 'DIFFERENTLY'} on {len(x)} test images")
    if not same:
        raise SystemExit("the pulled model is not the trained one")

    heading(4, "Fine-tune it on a second task with a new head: odd or even")
    tuned = _trained(
        folder / "runs" / "parity",
        lambda **o: zoo.finetune(pushed.ref, "digits_parity", recipe="cosine", **{**o, "epochs": FINETUNE_EPOCHS}),
    )

    table = Table(title="\nWhat came out", title_justify="left")
    for column in ("model", "task", "recipe", "epochs", "train", "test"):
        table.add_column(column, justify="right" if column in ("epochs", "train", "test") else "left")
    train, test = (zoo.evaluate(tuned, "digits_parity", split=split)["accuracy"] for split in ("train", "test"))
    for name, (own, held) in accuracy.items():
        table.add_row("vit", "digits", name, str(EPOCHS), f"{own:.2%}", f"{held:.2%}")
    table.add_row("vit, fine-tuned", "odd or even", "cosine", str(FINETUNE_EPOCHS), f"{train:.2%}", f"{test:.2%}")
    screen.print(table)
    say(f"one seed each; {time.perf_counter() - began:.0f} s in all; everything is in {folder}/\n")
    say("Try next:")
    say("  .venv/bin/zoo list 'resnet*'")
    say("  .venv/bin/zoo info 'focal(gamma=2)+warmup+cosine'")
    say("  .venv/bin/zoo train --recipe vit_digits --seed 1")


def _trained(folder, train):
    """Returns the run that `train` makes in a folder: continued if it was stopped, made anew if it was finished."""
    stopped = (folder / "run.json").is_file() and zoo.Run(folder).status != "finished"
    if folder.exists() and not stopped:
        shutil.rmtree(folder)
    return train(out=folder, resume=stopped, epochs=EPOCHS, batch_size=32)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("\nStopped. `make demo` continues from the last finished epoch.") from None
    except zoo.ZooError as error:
        raise SystemExit(f"Error: {error}") from None
