"""Reproducing a recorded result: by training the recipe again, or by measuring the weights that were shipped."""

import contextlib
import dataclasses
import shlex
import warnings
from dataclasses import dataclass

from zoo.errors import DataError, RecipeWarning, invalid, worded
from zoo.files import sha256_of
from zoo.machine import hardware, versions
from zoo.recipes import list_recipes
from zoo.recipes import recipe as read_recipe
from zoo.recorded import differences, evaluated, figures_of, folder_of, not_compared, recorded_recipe, trained
from zoo.runs import BEST, RUN, Run
from zoo.settings import policy, seeds_of, settings_of


@dataclass(frozen=True)
class Reproduction:
    """What came of a recorded result.

    Attributes:
        recipe: its name.
        kind: "training", or "weights" for the check of shipped ones.
        figures: `zoo.recorded.Compared` each.
        differs: what is here otherwise than in the record, sentences.
        recorded_on, hardware: the machines, there and here, in words.
        seeds: that were trained, or that of the weights.
        places: the run folders, or the reference of the weights.
        notes: what else there is to say, sentences.
    """

    recipe: str
    kind: str
    figures: tuple
    differs: tuple
    recorded_on: str
    hardware: str
    seeds: tuple
    places: tuple
    notes: tuple = ()

    @property
    def ok(self):
        """Whether the result holds."""
        return not any(row.verdict in ("worse", "different") for row in self.figures)

    @property
    def verdict(self):
        """One of "reproduced", "better" and "not reproduced"."""
        better = any(row.verdict == "better" for row in self.figures)
        return ("better" if better else "reproduced") if self.ok else "not reproduced"

    @property
    def sentence(self):
        """The verdict in one line: "not reproduced: test accuracy 90.12% against 92.59% (92.56% to 92.61%)"."""
        if self.ok and self.kind == "weights":
            return f"{self.verdict}: all {len(self.figures)} figures of the shipped weights are the recorded ones"
        decisive = {"better": ("better",), "not reproduced": ("worse", "different")}.get(self.verdict)
        rows = [row for row in self.figures if not decisive or row.verdict in decisive]
        said = (f"{r.split} {r.name.replace('_', ' ')} {r.measured_text()} against {r.recorded_text()}" for r in rows)
        return f"{self.verdict}: {'; '.join(said)}"

    def to_json(self):
        """Returns everything as a dict that `json.dumps` takes."""
        return {"verdict": self.verdict, "sentence": self.sentence, **dataclasses.asdict(self)}


def reproduce(recipe, *, seeds=None, check=False, out=None, resume=True, other_data=False, quiet=False):
    """Trains a recorded recipe again and compares, or compares the weights that were shipped with it.

    Training again, on whatever backend and machine, has to come out in the interval that `zoo.recorded.interval`
    derives from the recorded seeds and the size of the test part; the mean over the seeds is compared. Shipped weights
    have to give the recorded figures themselves, see `zoo.recorded.matches`.

    Args:
        recipe: the name of a recipe, or the path of a `.toml` file, whose `[result]` holds figures of the test part.
        seeds: to train; a list, or a number of them from 0 on. None trains those recorded.
        check: measure the shipped weights instead of training.
        out: folder for one run folder per seed; by default `runs/reproduce-<recipe>`.
        resume: whether runs that are there already go on where they stopped, and finished ones are used; otherwise
            such a folder is refused.
        other_data: whether data with another fingerprint than the recorded is used all the same.
        quiet: whether to print nothing.

    Returns:
        `Reproduction`.

    Raises:
        UnknownName: no recipe has this name.
        InvalidArgument: nothing was recorded or shipped, or the arguments do not go together.
        DataError: the data cannot be read, or is not the recorded; nothing has been trained yet.
    """
    row = recorded_recipe(recipe)
    if check:
        given = [name for name, value in (("seeds", seeds), ("out", out)) if value is not None]
        if given:
            raise invalid("a check measures shipped weights and trains nothing", given, "Leave it out, or check.")
        return _checked(row, other_data)
    chosen, arguments, options = read_recipe(recipe), row.settings.get("arguments", {}), {}
    wanted = list(row.seeds or (0,)) if seeds is None else seeds_of(seeds)
    folder = folder_of(row.name, out)
    model, data = row.settings["model"], row.settings["data"]
    if "data_options" in row.settings:
        options["data_options"] = row.settings["data_options"]
    start = row.settings.get("start")
    if start is None:
        found = _fingerprint(model, data, chosen, wanted[0], options, arguments)
    else:
        found = _fingerprint_read_by(start, data, options)
    notes = _same_data(row, found, other_data)
    from zoo.finetuning import finetune
    from zoo.training import train

    runs = []
    for seed in wanted:
        place = folder / f"seed-{seed}"
        going_on = resume and (place / RUN).is_file()
        settings = {"recipe": recipe, "seed": seed, "out": place, "resume": going_on, "quiet": quiet, **options}
        with _how_to_go_on(recipe, wanted, out, other_data):
            if start is None:
                runs.append(train(model, data, **settings, **arguments))
            else:
                runs.append(finetune(start, data, **settings))
    notes += _same_weights(row, wanted, runs) + _left_out(row)
    figures = trained(row.result, [run.metrics["test"] for run in runs])
    return _result(row, "training", figures, wanted, [str(run.folder) for run in runs], notes)


@contextlib.contextmanager
def _how_to_go_on(recipe, seeds, out, other_data):
    """Says on Ctrl-C which command goes on."""
    try:
        yield
    except KeyboardInterrupt as stop:
        words = ["zoo", "reproduce", str(recipe), *(word for seed in seeds for word in ("--seed", str(seed)))]
        words += ["--out", str(out)] if out is not None else []
        words += ["--other-data"] if other_data else []
        stop.add_note(f"What was trained is kept. Continue with: {shlex.join(words)}")
        raise


def _fingerprint(model, data, chosen, seed, options, arguments):
    """Returns the fingerprint of the data that a training of this recipe would read, once it is known that it can."""
    from zoo.training import prepared

    settings = settings_of(chosen, None, None, seed, "best", None, None, True)
    with policy(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore", RecipeWarning)
        _, dataset = prepared(model, data, chosen, settings, options.get("data_options"), arguments)
    return dataset.fingerprint


def _fingerprint_read_by(start, data, options):
    """Returns the fingerprint of the data that fine-tuning a checkpoint would read."""
    from zoo.hub import resolve_weights
    from zoo.inference import data_for

    found = resolve_weights(None, start)
    return data_for(data, found.spec, found.assets(), options.get("data_options")).fingerprint


def _same_data(row, found, other_data):
    """Returns a note where the data is not the recorded and was asked for all the same.

    Raises:
        DataError: it is not the recorded.
    """
    recorded = row.result.get("fingerprint")
    if recorded is None:
        return ["The record has no fingerprint of its data, so nobody can tell whether this is the same."]
    if found == recorded:
        return []
    if not other_data:
        works = (
            f"Get {row.result.get('data', row.settings['data'])} as it was, or pass other_data=True (--other-data) to "
            "compare all the same."
        )
        wrong = f"the data here is not what recipe {row.name!r} was recorded on: its fingerprint is not {recorded}"
        raise DataError(worded(wrong, received=found, works=works))
    return [f"The data is another than the recorded: fingerprint {found}, recorded {recorded}."]


def _same_weights(row, seeds, runs):
    """Returns a note on whether the first seed's weights are those recorded, bit for bit."""
    recorded, first = row.result.get("sha256"), (row.seeds or (0,))[0]
    if recorded is None or first not in seeds:
        return []
    same = sha256_of(runs[seeds.index(first)].folder / BEST) == recorded
    words = "are the recorded ones, bit for bit" if same else "are not the recorded ones bit for bit, as elsewhere"
    return [f"The weights of seed {first} {words}."]


def _left_out(row):
    names = not_compared(row.result)
    return [f"Recorded and not compared: {', '.join(names)}."] if names else []


def shipped_recipes():
    """Returns the `RecipeRow` of every named recipe whose weights come with zoo."""
    return [row for row in list_recipes() if "weights" in row.result]


def _checked(row, other_data):
    """Returns the `Reproduction` of a recipe's shipped weights."""
    from zoo.hub import load
    from zoo.inference import assets_of, data_for, evaluate
    from zoo.spec import spec_of

    if "weights" not in row.result:
        names = ", ".join(r.name for r in shipped_recipes())
        works = f"Train it again with `zoo reproduce {row.name}`. Recipes whose weights are shipped: {names}."
        raise invalid(f"no weights of recipe {row.name!r} are shipped", works=works)
    model = load(row.result["weights"])
    spec, origin = spec_of(model), model.zoo_origin
    record = Run(origin.folder).record
    if record["seed"] not in row.seeds:
        works = "Ship the weights of a recorded seed."
        raise invalid(f"{origin.ref} is of a seed that recipe {row.name!r} did not record", record["seed"], works)
    options = row.settings.get("data_options", {})
    dataset = data_for(row.settings["data"], spec, assets_of(model), options)
    notes, figures = _same_data(row, dataset.fingerprint, other_data), ()
    for split in ("test", "validation"):
        if figures_of(row.result, split):
            metrics = evaluate(model, dataset, split=split)
            figures += evaluated(row.result, row.seeds.index(record["seed"]), metrics, split)
    return _result(row, "weights", figures, [record["seed"]], [origin.ref], notes + _left_out(row))


def _result(row, kind, figures, seeds, places, notes):
    here = hardware()
    devices = f", {', '.join(here['devices'])}" if here["devices"] else ", no accelerator"
    words = f"{here['cores']} core{'s' * (here['cores'] != 1)} of {here['processor']}{devices}"
    differs = tuple(differences(row, versions()))
    machines = row.hardware or "not said", words
    return Reproduction(row.name, kind, figures, differs, *machines, tuple(seeds), tuple(places), tuple(notes))
