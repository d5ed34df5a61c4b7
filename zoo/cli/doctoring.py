"""The command `zoo doctor`, and the choice of a backend for `zoo train` and `zoo reproduce`. Imports no Keras."""

from zoo.cli import names, screen
from zoo.cli.screen import Column
from zoo.errors import invalid


def take_fastest(said, model, run, quiet):
    """Chooses the backend that a recipe was measured fastest on, and says so; see `zoo.speed.take_fastest`."""
    from zoo import speed

    sentence = speed.take_fastest(said, model, run)
    if sentence and not quiet:
        screen.line(sentence)


def doctor(model, data, recipe, option, data_option, *, toml, as_json, quiet, **settings):
    """Prints what is installed here, or which backend is fastest for a model.

    Args:
        model, data, recipe, option, data_option, toml, as_json, quiet, **settings: of the command; `settings` are those
            of `zoo.doctor`, its lists as text.
    """
    import zoo

    if model is None and recipe is None:
        measures = any(settings[name] for name in ("backends", "batch_sizes", "steps_per_execution"))
        if data_option or option or toml or measures:
            raise invalid("`zoo doctor` measures a model", works="Write `zoo doctor MODEL [DATA]`, or --recipe NAME.")
        _environment(zoo.doctor(quiet=quiet or as_json), as_json, quiet)
        return
    arguments, data_options = names.settings("--set", option), names.data_settings(data_option, False)
    names.recipe(recipe)
    for name in ("batch_sizes", "steps_per_execution"):
        settings[name] = _numbers(f"--{name.replace('_', '-')}", settings[name])
    with screen.ctrl_c_explained():
        found = zoo.doctor(
            model, data, recipe=recipe, quiet=quiet or as_json, data_options=data_options, **settings, **arguments
        )
    if as_json:
        screen.as_json(found.to_json())
    elif toml:
        print(found.toml())
    elif quiet:
        print(found.line)
    else:
        _speeds(found)


def _numbers(option, text):
    """Returns the list that an option means, or None.

    Raises:
        InvalidArgument: it is no list of whole numbers.
    """
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise invalid(f"{option} takes whole numbers joined by commas", text, f"For example {option} 1,8.") from error


def _environment(found, as_json, quiet):
    if as_json:
        screen.as_json(found.to_json())
        return
    if not quiet:
        screen.fields(
            [
                ("zoo", found.zoo),
                ("python", found.python),
                ("keras", found.keras or "not installed"),
                *((b.name, _backend(b)) for b in found.backends),
                ("backend", f"{found.backend}, chosen by {found.chosen_by}"),
                ("system", f"{found.system}, {found.processor}"),
                ("cores", found.cores),
                ("memory", _memory(found)),
                *((what, f"{path} ({state})") for what, path, state in found.folders),
                *found.settings.items(),
                ("network", "not used: HF_HUB_OFFLINE" if found.offline else "the Hub may be asked"),
            ]
        )
    for problem in found.problems:
        screen.line(f"problem: {problem}", style="bold red")
    if not found.problems and not quiet:
        screen.line("No problem found. `zoo doctor MODEL [DATA]` measures which backend is fastest for a model.")


def _backend(row):
    if row.version is None:
        return "not installed"
    if row.error:
        return f"{row.version}, does not start: {row.error}"
    return f"{row.version}, {', '.join(row.devices) or 'no accelerator'}"


def _memory(found):
    if found.memory_gib is None:
        return None
    return f"{found.memory_gib} GiB" + (f", {found.free_gib} available" if found.free_gib is not None else "")


def _speeds(found):
    columns = (
        Column("backend"),
        Column("XLA"),
        Column("batch", right=True),
        Column("steps", right=True),
        Column("examples/s", right=True),
        Column("quartiles", right=True),
        Column("ratio", right=True),
        Column("95% interval", right=True),
        Column("", fold=True),
    )
    several = any(row.arm.steps_per_execution > 1 for row in found.rows)
    columns = tuple(c for c in columns if c.title != "steps" or several)
    screen.line(f"{found.model} on {found.data or 'random batches'}, {found.recipe}", style="bold")
    screen.table(columns, [_row(row, found, several) for row in found.rows])
    for note in found.notes:
        screen.line(note)
    screen.line(f"{found.sentence}:")
    print(f"  {found.line}")
    if found.winner.arm.options:
        screen.line("With XLA, TensorFlow does not repeat a training bit for bit.")
    if found.winner.arm.steps_per_execution > 1:
        screen.line("Several steps an execution are for your own `fit`: zoo train looks at every step.")


def _row(row, found, several):
    arm = row.arm
    xla = {"jax": "always", "tensorflow": "yes" if arm.xla else "no"}.get(arm.backend, "-")
    steps = [arm.steps_per_execution] if several else []
    cells = [arm.backend, xla, arm.batch_size or "-", *steps]
    if row.error:
        return [*cells, "failed", "-", "-", "-", row.error]
    role = "default" if row is found.default else _verdict(row)
    role = f"{role}, fastest" if row is found.winner else role
    quartiles, interval = f"{_rate(row.low_quartile)} to {_rate(row.high_quartile)}", f"{row.low:.2f} to {row.high:.2f}"
    return [*cells, _rate(row.median), quartiles, f"{row.ratio:.2f}", "-" if row is found.default else interval, role]


def _verdict(row):
    """Says how a row stands to the default."""
    return "slower" if row.high < 1 else "faster" if row.low > 1 else "within noise"


def _rate(value):
    return screen.count(int(float(f"{value:.3g}"))) if value >= 100 else f"{value:.3g}"
