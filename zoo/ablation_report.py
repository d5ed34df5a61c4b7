"""What an ablation found, as tables for a terminal, as Markdown and as a picture."""

import io
import math
import statistics

from zoo.arms import ADDED, LEFT_OUT, WHOLE
from zoo.files import write_picture
from zoo.paired import HELPS, HURTS, UNCLEAR
from zoo.tasks import figure

_WIDTH = 80
_SHORT = 0.5  # seconds of an epoch below which its time is mostly that of starting and writing it
_UNSTEADY = 1.5  # times as long as others, from which on epochs were disturbed
_TITLES = {LEFT_OUT: "left out of the full recipe", ADDED: "added to the plain recipe", WHOLE: "full against plain"}
_BRIEF = {LEFT_OUT: "left out", ADDED: "added alone", WHOLE: "together"}  # for a column's width
_COLOURS = {HELPS: "#2a7f3f", HURTS: "#b3352b", UNCLEAR: "#b07a1e"}
_GREY = "#6b7280"


def _value(ablation, number):
    return "-" if math.isnan(number) else figure(ablation.metric, number)


def _scaled(ablation, number):
    """Returns a difference in the unit that is shown: accuracies in percentage points."""
    return 100 * number if ablation.higher_is_better else number


def _signed(ablation, number):
    return f"{_scaled(ablation, number):+.2f}" if ablation.higher_is_better else f"{number:+.3g}"


def _spread(ablation, row):
    if math.isnan(row.std):
        return _value(ablation, row.mean)
    width = f"{100 * row.std:.2f}" if ablation.higher_is_better else f"{row.std:.2g}"
    return f"{_value(ablation, row.mean)} ± {width}"


def _arm_cells(ablation, row):
    if row.impossible:
        return [row.name, "not possible", "", "", ""]
    reach = f"{_value(ablation, row.low)} to {_value(ablation, row.high)}" if len(row.values) > 1 else ""
    if row.diverged:
        reach = f"{len(row.diverged)} of {len(ablation.record['seeds'])} diverged"
    return [row.name, _spread(ablation, row), reach, _number(row.seconds, ".3g"), _times(row.ratio)]


def _effect_cells(ablation, effect):
    found, mark = effect.difference, "*" if effect.below_test_noise else ""
    mean = _signed(ablation, found.mean) if found else "-"
    interval = f"{_signed(ablation, found.low)} to {_signed(ablation, found.high)}" if found else "-"
    if found and math.isnan(found.low):
        interval = "-"
    return [effect.comparison.trick, mean, interval, effect.verdict + mark, _times(effect.ratio)]


def _number(value, form):
    return "-" if math.isnan(value) else format(value, form)


def _times(ratio):
    return "-" if math.isnan(ratio) else f"x{ratio:.2f}"


def _headings(ablation):
    name = ablation.metric.replace("_", " ")
    return ["arm", f"test {name}", "range", "s/epoch", "to plain"], [
        "trick",
        "points" if ablation.higher_is_better else "change",
        "95% interval",
        "verdict",
        "time",
    ]


def remarks(ablation):
    """Returns the sentences that a reader of the tables must know."""
    record, said = ablation.record, []
    seeds, name = len(record["seeds"]), ablation.metric.replace("_", " ")
    better = "more is better" if ablation.higher_is_better else "less is better"
    said.append(
        f"Differences are {name} with the trick minus without it ({better}), paired by seed"
        + (f"; intervals are Student's t over {seeds} seeds." if seeds > 1 else ".")
    )
    if seeds == 1:
        said.append("One seed cannot tell a difference from noise: give more with --seeds and --resume.")
    else:
        several = max(len(e) for e in ablation.comparisons_by_kind.values())
        if several > 1:
            said.append(
                f"Verdicts are corrected for {several} comparisons of a kind (Holm); the intervals are one at a time, "
                f"and `unclear` is one without 0 that the correction does not let pass."
            )
    if ablation.test_error:
        said.append(
            f"{ablation.examples:,} test examples: one is {100 / ablation.examples:.2g} points, and the accuracy's own "
            f"standard error is {100 * ablation.test_error:.2g} points. The intervals are about other seeds, not other "
            f"examples" + ("; * marks what is smaller." if any(e.below_test_noise for e in ablation.effects) else ".")
        )
    crowd = f" {record['jobs']} runs at a time disturb one another's times." if record["jobs"] > 1 else ""
    if any(row.seconds < _SHORT for row in ablation.rows):
        crowd += " Epochs this short are mostly overhead: their ratios say little."
    if (unsteady := _unsteadiness(record)) > _UNSTEADY:
        crowd += (
            f" Epochs of one arm took up to {unsteady:.1f} times as long as others: the machine had other work, and "
        )
        crowd += "the times say little."
    said.append(f"Times are medians over epochs after the first, with validation.{crowd}")
    said += [f"{row.name} is not possible: {row.impossible}" for row in ablation.rows if row.impossible]
    for line in dict.fromkeys(line for row in ablation.rows for line in row.cautions):
        said.append(f"Caution ({', '.join(row.name for row in ablation.rows if line in row.cautions)}): {line}")
    return said


def _unsteadiness(record):
    """Returns how much longer the slow tenth of an arm's epochs took than the fast tenth, in the worst arm."""
    ratios = [1.0]
    for runs in record["runs"].values():
        seconds = sorted(t for run in runs.values() for t in run["seconds"][1:])
        if len(seconds) >= 10:
            tenth = len(seconds) // 10
            ratios.append(seconds[-1 - tenth] / max(seconds[tenth], 1e-9))
    return max(ratios)


# A terminal


def tables(ablation):
    """Returns both tables and the remarks, to be printed by a `rich.console.Console`."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    def made(headings, right):
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
        for number, heading in enumerate(headings):
            table.add_column(heading, justify="right" if number in right else "left", overflow="fold")
        return table

    arms, effects = _headings(ablation)
    first = made(arms, (1, 2, 3, 4))
    for row in ablation.rows:
        first.add_row(*_arm_cells(ablation, row))
    second = made(effects, (1, 2, 4))
    for kind, found in ablation.comparisons_by_kind.items():
        second.add_row(Text(f"{_BRIEF[kind]}:", style="italic"))
        for effect in found:
            style = {HELPS: "green", HURTS: "red", UNCLEAR: "yellow"}.get(effect.verdict)
            cells = _effect_cells(ablation, effect)
            second.add_row(*(Text(c, style=(style or "") if i == 3 else "") for i, c in enumerate(cells)))
        second.add_section()
    notes = [Text(line, style="dim") for line in remarks(ablation)]
    return Group("", first, "", second, "", *notes)


def text(ablation):
    """Returns what `tables` shows as text, at most 80 columns wide."""
    from rich.console import Console

    page = io.StringIO()
    Console(file=page, width=_WIDTH, highlight=False, emoji=False, color_system=None).print(tables(ablation))
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines()) + "\n"


# Markdown


def markdown(ablation):
    """Returns the report as Markdown."""
    record = ablation.record
    arms, effects = _headings(ablation)
    data, question = record["data"], record["question"]
    sizes = ", ".join(f"{n:,} {name}" for name, n in data["sizes"].items())
    lines = [f"# Ablation of {record['recipe']}", ""]
    lines += [f"{question['model']} on {data['name']} ({sizes} examples), {question['epochs']} epochs, batches of "]
    lines[-1] += f"{question['batch_size']}, seeds {', '.join(map(str, record['seeds']))}."
    lines += ["", *([f"    {record['command']}", ""] if record["command"] else [])]
    for kind, found in ablation.comparisons_by_kind.items():
        rows = [_effect_cells(ablation, effect) for effect in found]
        lines += [f"## {_TITLES[kind].capitalize()}", "", *_table(effects, rows), ""]
    lines += ["![differences with their intervals](ablation.png)", "", "## Arms", ""]
    rows = [[*_arm_cells(ablation, row), f"`{row.recipe}`"] for row in ablation.rows]
    lines += [*_table([*arms, "recipe"], rows), "", *(f"- {line}" for line in remarks(ablation)), ""]
    lines += [f"Data {data['fingerprint']}."]
    lines += [", ".join(f"{name} {version}" for name, version in record["versions"].items()) + "."]
    hardware = record["hardware"]
    lines += [
        f"{hardware['processor']}, {hardware['cores']} cores, {', '.join(hardware['devices']) or 'no accelerator'}."
    ]
    return "\n".join(lines) + "\n"


def _table(headings, rows):
    every = [headings, ["---"] * len(headings), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in every]


# A picture


def draw(ablation, path):
    """Draws the differences: an interval, its mean and a point per seed for each trick; right of 0 it helps.

    Returns:
        `Path` of the PNG file.
    """
    import matplotlib

    matplotlib.use("Agg", force=False)
    from matplotlib.figure import Figure

    kinds = {k: found for k, found in ablation.comparisons_by_kind.items() if any(e.difference for e in found)}
    heights = [len(found) for found in kinds.values()]
    figure = Figure(figsize=(8.2, 1.9 + 0.42 * sum(heights) + 0.35 * len(heights)), layout="constrained")
    axes = figure.subplots(len(kinds), 1, sharex=True, squeeze=False, height_ratios=[h + 0.4 for h in heights])[:, 0]
    for axis, (kind, found) in zip(axes, kinds.items(), strict=True):
        _draw_kind(ablation, axis, kind, found)
    last = axes[-1]
    last.tick_params(labelbottom=True)
    if not ablation.higher_is_better:
        last.invert_xaxis()  # so that right is better there too
    _limit(ablation, last, [e for found in kinds.values() for e in found])
    unit = ", percentage points" if ablation.higher_is_better else ""
    name = ablation.metric.replace("_", " ")
    last.set_xlabel(f"← hurts      difference in test {name}{unit}      helps →", fontsize=9.5)
    if ablation.test_error:
        words = f"grey: within the accuracy's own standard error on {ablation.examples:,} test examples"
        figure.supxlabel(words, fontsize=8, color=_GREY)
    record = ablation.record
    title = f"{record['recipe']}\n{record['question']['model']} on {record['data']['name']}, "
    figure.suptitle(f"{title}{len(record['seeds'])} seeds, {record['question']['epochs']} epochs", fontsize=11)
    return write_picture(path, figure, dpi=140)


def _draw_kind(ablation, axis, kind, effects):
    if ablation.test_error:
        band = 100 * ablation.test_error
        axis.axvspan(-band, band, color="#e8eaee", lw=0, zorder=0)
    axis.axvline(0, color="#374151", lw=1, zorder=1)
    for place, effect in enumerate(reversed(effects)):
        found, colour = effect.difference, _COLOURS.get(effect.verdict, _GREY)
        if effect.verdict.startswith("diverges"):
            colour = _COLOURS[HURTS]
        if found:
            each = [_scaled(ablation, d) for d in found.each]
            mean = _scaled(ablation, found.mean)
            if not math.isnan(found.low):
                ends = _scaled(ablation, found.low), _scaled(ablation, found.high)
                axis.plot(ends, (place, place), color=colour, lw=2.2, solid_capstyle="butt", zorder=2)
                axis.plot(ends, (place, place), "|", color=colour, ms=9, mew=2, zorder=2)
            axis.plot(each, [place - 0.2] * len(each), "o", color=colour, alpha=0.45, ms=4, mew=0, zorder=3)
            axis.plot(mean, place, "o", color=colour, ms=7.5, mec="white", mew=1, zorder=4)
        words = effect.verdict + ("*" if effect.below_test_noise else "")
        words += "" if math.isnan(effect.ratio) else f"\ntime {_times(effect.ratio)}"
        axis.annotate(words, (1.015, place), xycoords=("axes fraction", "data"), va="center", fontsize=8, color=colour)
    axis.set_yticks(range(len(effects)), [e.comparison.trick for e in reversed(effects)], fontsize=9.5)
    axis.set_ylim(-0.6, len(effects) - 0.4)
    axis.set_title(_TITLES[kind], fontsize=10, loc="left")
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", alpha=0.25)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def _limit(ablation, axis, effects):
    """Keeps one wide interval, as two seeds give, from squeezing all points together: it then runs off the picture."""
    points = [abs(_scaled(ablation, d)) for e in effects if e.difference for d in e.difference.each]
    known = [e.difference for e in effects if e.difference and not math.isnan(e.difference.low)]
    ends = sorted(abs(_scaled(ablation, end)) for d in known for end in (d.low, d.high))
    far = max([*points, 100 * (ablation.test_error or 0.0), statistics.median(ends) if ends else 0.0, 1e-12])
    reach = 1.08 * min(max([far, *ends]), 3 * far)
    axis.set_xlim(*((-reach, reach) if ablation.higher_is_better else (reach, -reach)))
