"""The leaderboard as one HTML page: table, pictures and recipes in a file that loads nothing from anywhere.

Every text of a run is escaped, and the page's own policy (`Content-Security-Policy`) lets only the style and the
script run that are in it, by their hashes.
"""

import base64
import hashlib
import math
from html import escape
from pathlib import Path

from zoo import __version__
from zoo.cli.screen import count
from zoo.errors import ZooError
from zoo.leaderboard_markdown import terms
from zoo.leaderboard_svg import cost_plot, curves, interval
from zoo.registry import list_tricks
from zoo.standings import NOTES, duration, groups, printable, spread

_PACKAGE = Path(__file__).parent
_ABLATION = "ablation.json"
_COSTS = (
    ("flops", "FLOPs of one example", count),
    ("parameters", "weights", count),
    ("seconds", "training time", duration),
)
# key of a column, what it is called, whether it is a number; the command's column is not sorted
_COLUMNS = (
    ("data", "Data set", False),
    ("model", "Model", False),
    ("result", "Result", True),
    ("parameters", "Weights", True),
    ("flops", "FLOPs", True),
    ("seconds", "Time", True),
    ("tricks", "Tricks", False),
    (None, "Command", False),
)


def page(rows, runs=(), *, cards=None):
    """Returns the page as text; the same rows give the same text.

    Args:
        rows: of `zoo.leaderboard`.
        runs: folders; those that hold an ablation are shown as one.
        cards: address of the folder of the tricks' cards, relative to the page; None links to the papers alone.
    """
    css, script = ((_PACKAGE / name).read_text("utf-8") for name in ("leaderboard.css", "leaderboard.js"))
    policy = (
        f"default-src 'none'; style-src '{_hash(css)}'; script-src '{_hash(script)}'; base-uri 'none'; "
        "form-action 'none'"
    )
    found = groups(rows)
    parts = [
        ("results", "Results", _table(rows, found)),
        ("cost", "Figure against cost", _plots(found)),
        ("curves", "Learning curves", _curves(rows)),
        ("ablations", "Ablations", _ablations(runs)),
        ("tricks", "Tricks", _tricks(rows, cards)),
    ]
    parts = [part for part in parts if part[2]]
    links = "".join(f'<li><a href="#{name}">{title}</a></li>' for name, title, _ in parts)
    body = "".join(
        f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>{made}</section>\n'
        for name, title, made in parts
    )
    datasets = len({row.data for row in rows})
    own = sum(not row.recorded for row in rows)
    said = f"{len(rows)} results on {datasets} data set{'s' if datasets != 1 else ''}"
    said += f", {own} of them of runs beside the recorded ones (◆)." if own else ", as the recipes recorded them."
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<meta name="referrer" content="no-referrer">\n'
        f"<title>zoo leaderboard</title>\n<style>{css}</style>\n</head>\n<body>\n"
        f"<header><h1>Leaderboard</h1>\n<p>{said}</p>\n"
        f'<nav aria-label="Parts of this page"><ul>{links}</ul></nav></header>\n<main>\n{body}</main>\n'
        f'<footer class="quiet">Made by <code>zoo leaderboard --html</code>, zoo {escape(__version__)}.</footer>\n'
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


def _hash(text):
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()


def _words(name):
    return escape(name.replace("_", " "))


# The table


def _places(values):
    """Returns the place of each text in alphabetical order, so that a column of texts is sorted by numbers too."""
    order = sorted(set(values), key=lambda v: (v.casefold(), v))
    return [order.index(v) for v in values]


def _table(rows, found):
    numbers = list(found)
    datasets = list(dict.fromkeys(row.data for row in rows))
    by_text = {name: _places([getattr(row, name) for row in rows]) for name in ("data", "model", "tricks")}
    made = []
    for i, row in enumerate(rows):
        group = numbers.index(row.group)
        keys = {name: places[i] for name, places in by_text.items()}
        keys |= {"parameters": row.parameters, "flops": row.flops, "seconds": row.seconds}
        keys["result"] = found[row.group].index(row)
        made.append(_row(row, group, datasets.index(row.data), keys))
    heads = "".join(
        f'<th scope="col" role="columnheader" data-key="{key}"{" class=number" if number else ""}>'
        f'<button type="button">{title}</button></th>'
        if key
        else f'<th scope="col" role="columnheader">{title}</th>'
        for key, title, number in _COLUMNS
    )
    ways = "".join(
        f'<option value="{key}{way}">{title}{words}</option>'
        for key, title, number in _COLUMNS
        if key
        for way, words in (("", ""), (",down", ", reversed" if not number else ", largest first"))
        if key != "result" or not way
    )
    options = "".join(f'<option value="{i}">{escape(name)}</option>' for i, name in enumerate(datasets))
    caption = (
        "Best first on each data set: ↑ more is better, ↓ less. ± is the standard deviation over the seeds, of an "
        "accuracy in points. FLOPs are of one forward pass of one example, a multiply-add being two; the time is that "
        "of one training, on the hardware that the command's details name."
    )
    return (
        '<div class="controls" role="search">'
        f'<label>Data set<select id="data"><option value="">all</option>{options}</select></label>'
        '<label>Search<input id="find" type="search" autocomplete="off" spellcheck="false"></label>'
        f'<label class="phone">Sort by<select id="order"><option value="">data set, best first</option>{ways}</select>'
        '</label><output id="shown" aria-live="polite"></output></div>\n'
        f'<table id="board" role="table"><caption>{caption}</caption>\n'
        f'<thead role="rowgroup"><tr role="row">{heads}</tr></thead>\n'
        f'<tbody role="rowgroup">\n{"".join(made)}</tbody></table>\n'
    )


def _row(row, group, data, keys):
    seeds = f", {len(row.values)}&nbsp;seeds" if len(row.values) > 1 else ", 1&nbsp;seed"
    better = (
        '<abbr title="more is better">↑</abbr>' if row.higher_is_better else '<abbr title="less is better">↓</abbr>'
    )
    mark = "" if row.recorded else '<abbr class="mine" title="a run beside the recorded results">◆</abbr> '
    cells = [
        ("data", f"<div>{escape(row.data)}<small>{_words(row.task or '')}</small></div>", "data"),
        ("model", f"<div>{mark}{escape(row.network)}<small>{escape(row.name)}</small></div>", None),
        (
            "result",
            f"<div>{escape(row.result())}<small>{_words(row.metric)} {better}{seeds}</small></div>",
            "number",
        ),
        ("parameters", _exact(row.parameters), "number"),
        ("flops", _exact(row.flops), "number"),
        ("seconds", escape(duration(row.seconds)), "number"),
        ("tricks", f"<div>{_linked(row.tricks)}</div>", "tricks"),
    ]
    titles = {key: title for key, title, _ in _COLUMNS}
    made = []
    for key, content, kind in cells:
        value = "" if keys[key] is None else f"{keys[key]:.12g}" if isinstance(keys[key], float) else keys[key]
        attributes = f'data-label="{titles[key]}" data-sort="{value}"' + (f' class="{kind}"' if kind else "")
        tag = 'th scope="row" role="rowheader"' if key == "model" else 'td role="cell"'
        made.append(f"<{tag} {attributes}>{content}</{tag[:2]}>")
    made.append(f'<td role="cell" class="how" data-label="Command"><div>{_how(row)}</div></td>')
    text = " ".join([row.data, row.task or "", row.network, row.name, row.tricks, row.metric, row.hardware]).lower()
    text = escape(f"{text} {text.replace('_', ' ')}")
    return f'<tr role="row" data-group="{group}" data-data="{data}" data-text="{text}">{"".join(made)}</tr>\n'


def _exact(number):
    return "-" if number is None else f'<span title="{number:,}">{count(number)}</span>'


def _linked(text):
    """Returns a recipe, each trick linked to what the page says of it."""
    known = {row.name for row in list_tricks()}
    return " + ".join(
        f'<a href="#trick-{escape(name)}">{escape(name)}</a>{escape(arguments).replace("(", "(<wbr>", 1)}'
        if name in known
        else escape(name + arguments)
        for name, arguments in terms(text)
    )


def _how(row):
    again = f"zoo reproduce {row.name}" if row.recorded else row.command
    code = escape(again or "not recorded: the model or the data had no name")
    copy = '<button type="button" class="copy">Copy</button>' if again else ""
    figures = "; ".join(f"{_words(name)} {spread(name, values)}" for name, values in row.figures.items())
    facts = [
        ("on the test part", figures),
        ("recorded with", row.command if row.recorded else None),
        ("seeds", ", ".join(map(str, row.seeds))),
        ("epochs", row.epochs),
        ("hardware", row.hardware),
        ("versions", row.versions),
        ("data fingerprint", row.fingerprint),
        ("folders" if len(row.folders) > 1 else "folder", printable(", ".join(row.folders))),
    ]
    # `figures` is escaped as it is made.
    made = "".join(
        f"<dt>{name}</dt><dd>{value if name == 'on the test part' else escape(str(value))}</dd>"
        for name, value in facts
        if value not in (None, "")
    )
    return f"<details><summary>show</summary><code>{code}</code>{copy}<dl>{made}</dl></details>"


# Pictures


def _plots(found):
    """Returns a picture of each data set and cost, and the sentences about what is not in one."""
    datasets = list(dict.fromkeys(group[0] for group in found))
    made, alone = [], [rows[0] for rows in found.values() if len(rows) == 1]
    for (data, task, metric), rows in found.items():
        for cost, unit, shown in _COSTS if len(rows) > 1 else ():
            known = [row for row in rows if (getattr(row, cost) or 0) > 0]
            if not known:
                continue
            better = "" if rows[0].higher_is_better else ", less is better: the axis is turned over"
            title = f"{metric.replace('_', ' ')} on {data} against {unit}"
            missing = [row.model for row in rows if row not in known]
            rest = f" Not known of {escape(', '.join(missing))}." if missing else ""
            note = f" {NOTES[metric]}" if metric in NOTES else ""
            made.append(
                f'<figure class="cost {cost}" data-data="{datasets.index(data)}"><h3>{escape(data)}</h3>'
                f'<p class="quiet">{_words(task)}: {_words(metric)}{better}. {note}{rest}</p>'
                f"{cost_plot(known, cost, unit, shown, title)}"
                "<figcaption><output>Touch or focus a point for its numbers.</output></figcaption></figure>\n"
            )
    if not made:
        return ""
    choices = "".join(
        f'<label><input type="radio" name="by" id="by-{cost}"{" checked" if cost == "flops" else ""}>{unit}</label>'
        for cost, unit, _ in _COSTS
    )
    rest = ", ".join(f"{escape(row.data)} ({escape(row.model)})" for row in alone)
    return (
        "<p>Better is up, cheaper is left; the axis of the cost is logarithmic. The dashed steps are what no cheaper "
        "model reaches.</p>"
        f"<fieldset><legend>Cost</legend>{choices}</fieldset>"
        f'<div class="plots">\n{"".join(made)}</div>'
        + (f'<p class="quiet">A single result, so no picture: {rest}.</p>' if rest else "")
    )


def _curves(rows):
    datasets = list(dict.fromkeys(row.data for row in rows))
    made, without = [], []
    for row in rows:
        names = [row.metric, *(n for n in ("loss",) if n != row.metric)]
        title = f"{row.network} on {row.data}"
        pictures = [curves(row.histories, name, f"{name.replace('_', ' ')} of {title}") for name in names]
        pictures = [picture for picture in pictures if picture]
        if not pictures:
            without.append(row.name)
            continue
        single = len(row.histories) == 1
        seeds = "" if single else " One colour for each seed."
        faint = "Faint: training." if any("faint" in picture for picture in pictures) else ""
        made.append(
            f'<figure data-data="{datasets.index(row.data)}"><h3>{escape(title)}</h3>'
            f'<p class="quiet">{escape(row.name if row.recorded else row.tricks)}</p>'
            f'<div class="panels">{"".join(pictures)}</div><figcaption>{faint}{seeds}</figcaption></figure>\n'
        )
    rest = f'<p class="quiet">Not recorded: {escape(", ".join(without))}.</p>' if without else ""
    return (f'<div class="plots">\n{"".join(made)}</div>' if made else "") + rest


def _ablations(runs):
    """Returns the effects of every ablation among some folders; what cannot be read is said."""
    runs = [runs] if isinstance(runs, (str, Path)) else runs
    made = []
    for folder in (Path(run).expanduser() for run in runs):
        if not (folder / _ABLATION).is_file():
            continue
        try:
            made.append(_ablation(folder))
        except (ZooError, KeyError, TypeError, ValueError, AttributeError, IndexError, StopIteration, ArithmeticError):
            made.append(f"<p>{escape(printable(str(folder)))} holds an ablation that cannot be read.</p>")
    return "".join(made)


def _ablation(folder):
    from zoo.ablation_report import remarks
    from zoo.ablation_results import Ablation

    found = Ablation(folder)
    record, sign = found.record, 1 if found.higher_is_better else -1
    scale, unit = (100, "points") if found.higher_is_better else (1, "change")
    known = [e.difference for e in found.effects if e.difference]
    points = [abs(d) for e in known for d in e.each]
    ends = [abs(x) for e in known for x in (e.low, e.high) if not math.isnan(x)]
    # One wide interval, as two seeds give, must not squeeze all points together: it then runs off the picture.
    reach = min(max([*points, *ends, 1e-12]), 3 * max([*points, 1e-12]))
    rows = []
    for kind, effects in found.comparisons_by_kind.items():
        rows.append(f'<tr><th scope="rowgroup" colspan="5">{escape(kind)}</th></tr>')
        for effect in effects:
            verdict = effect.verdict if effect.verdict in ("helps", "hurts", "unclear") else "effect"
            there = effect.difference
            mean = f"{scale * there.mean:+.3g}" if there else "-"
            ends = "-"
            if there and not math.isnan(there.low):
                ends = f"{scale * there.low:+.3g} to {scale * there.high:+.3g}"
            ratio = "-" if math.isnan(effect.ratio) else f"x{effect.ratio:.2f}"
            picture = interval(there, reach, sign, verdict) if there else ""
            rows.append(
                f'<tr><th scope="row">{escape(effect.comparison.trick)}</th><td class="forest">{picture}</td>'
                f'<td class="number">{mean}<small>{ends}</small></td><td class="{verdict}">'
                f'{escape(effect.verdict)}</td><td class="number">{ratio}</td></tr>'
            )
    question = record["question"]
    seeds, epochs = len(record["seeds"]), question["epochs"]
    title = f"{record['recipe']} of {question['model']} on {record['data']['name']}"
    said = "".join(f"<li>{escape(line)}</li>" for line in remarks(found))
    return (
        f"<h3>{escape(printable(title))}</h3>"
        f'<p class="quiet">{escape(printable(f"{folder}: {seeds} seeds, {epochs} epochs"))}</p>'
        f'<p class="quiet">Difference in test {_words(found.metric)} with its 95% interval; right of the line it '
        "helps, a small point for each seed.</p>"
        '<div class="wide" tabindex="0" role="region" aria-label="Effects of tricks"><table>'
        "<caption>What each trick changes</caption>"
        '<thead><tr><th scope="col">Trick</th><th scope="col">hurts | helps</th>'
        f'<th scope="col" class="number">{unit}</th><th scope="col">Verdict</th>'
        f'<th scope="col" class="number">Time</th></tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
        f"<details><summary>How to read it</summary><ul>{said}</ul></details>"
    )


# Tricks


def _tricks(rows, cards):
    used = {name for row in rows for name, _ in terms(row.tricks)}
    made = []
    for trick in list_tricks():
        if trick.name not in used:
            continue
        links = []
        if cards is not None:
            links.append(f'<a href="{escape(cards)}/{trick.name}.md">card</a>')
        if trick.paper:
            paper = f"{trick.paper.authors}, {trick.paper.year}"
            links.append(f'<a href="{escape(trick.paper.url)}" rel="noreferrer">{escape(paper)}</a>')
        made.append(
            f'<li id="trick-{trick.name}"><strong>{trick.name}</strong> {escape(trick.summary)}. '
            f"<small>{', '.join(links)}</small></li>\n"
        )
    return f'<ul class="list">\n{"".join(made)}</ul>' if made else ""
