"""What `zoo ensemble` and `zoo support-vectors` print. Nothing here imports Keras or NumPy until it is called."""

from zoo.cli import screen
from zoo.cli.screen import Column


def ensemble(made, out, as_json):
    """Prints the report of a `zoo.ensembling.Ensemble`."""
    from zoo.ensembling import REPORT, summary_of, table_of

    report = made.report()
    if as_json:
        screen.as_json(report)
        return
    titles = ("weight", "validation loss", "test accuracy", "test loss", "test ECE")
    screen.table((Column("member"), *(Column(title, right=True) for title in titles)), table_of(report))
    for line in summary_of(report):
        screen.line(line)
    _matrix("disagreement", report, "{:.1%}")
    _matrix("error_correlation", report, "{:.2f}")
    if out is not None:
        screen.line()
        screen.line(f"written: {out / REPORT} and the picture beside it")


def _matrix(name, report, text):
    """Prints one table of each two members."""
    names = [row["name"] for row in report["members"]]
    screen.line()
    columns = (Column(name.replace("_", " ")), *(Column(str(i), right=True) for i in range(1, len(names) + 1)))
    values = report["diversity"][name]
    cells = [["-" if v is None else text.format(v) for v in row] for row in values]
    screen.table(columns, [(f"{i} {n}", *row) for i, (n, row) in enumerate(zip(names, cells, strict=True), start=1)])


def support_vectors(study, as_json):
    """Prints what a `zoo.subsets.Study` found."""
    from zoo.subsets import REPORT, table_of

    report = study.report
    if as_json:
        screen.as_json(report)
        return
    numbers = ("examples", f"{report['keep']}", "random", "difference", "95% interval", "seconds")
    screen.table((Column("fraction"), *(Column(title, right=True) for title in numbers)), table_of(report))
    words = f"{report['score']} in {report['score_epochs']} epochs, seeds {', '.join(map(str, report['seeds']))}"
    screen.line(f"test accuracy; differences in percentage points; {words}")
    screen.line(f"written: {study.folder / REPORT}, the picture beside it, and a folder for each run")
