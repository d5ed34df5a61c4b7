"""What `zoo judge` prints. Nothing here imports Keras or NumPy."""

import math

from zoo.cli import names, screen
from zoo.cli.screen import Column

_LONGEST = 20  # classes shown in a table; of more the most frequent


def check(ref, by, settings):
    """Refuses what cannot work, before Keras is imported: settings, references, models that do not fit each other."""
    from zoo.judgeable import check_models, check_settings

    check_settings(**settings, batch_size=1)
    found = names.reference(ref), names.reference(by)
    if all(found):  # a .keras file says only when Keras reads it what is in it
        check_models(*(checkpoint.spec for checkpoint in found))


def judgement(found, as_json):
    """Prints a `zoo.judging.Judgement`."""
    if as_json:
        screen.as_json(found.to_json() | {"sentence": found.sentence})
        return
    made, real, classes = found.made, found.real, len(found.labels)
    screen.line(f"{found.generator} judged by {found.classifier}", style="bold")
    screen.line(
        f"{made.images:,} samples of seed {found.seed} beside the {real.images:,} of {found.data} {found.split}"
    )
    screen.line()
    columns = (Column("figure"), Column("samples", right=True), Column("real", right=True))
    rows = [
        (f"confident, at least {found.threshold:g}", f"{made.confident_share:.2%}", f"{real.confident_share:.2%}"),
        ("classes present", *(f"{part.classes_present} of {classes}" for part in (made, real))),
        (
            f"entropy of the classes, at most {math.log2(classes):.2f} bits",
            f"{made.entropy:.3f}",
            f"{real.entropy:.3f}",
        ),
        (
            f"Inception Score, at most {classes}",
            f"{made.inception_score:.3f}",
            f"{real.inception_score:.3f}",
        ),
        (
            f"Frechet distance of {found.features}",
            f"{made.frechet_distance:.4g}",
            f"{real.frechet_distance:.4g} ({found.beside})",
        ),
        ("accuracy of the classifier", "-", f"{real.accuracy:.2%}"),
    ]
    screen.table(columns, rows)
    screen.line()
    columns = ("of all", "of all and confident", "real", "real and confident")
    shown = sorted(sorted(range(classes), key=lambda i: -made.shares[i])[:_LONGEST])
    parts = made.shares, made.confident_shares, real.shares, real.confident_shares
    rows = [(found.labels[i], *(f"{part[i]:.2%}" for part in parts)) for i in shown]
    screen.table((Column("class", style="bold"), *(Column(title, right=True) for title in columns)), rows)
    for note in found.notes:
        screen.line(f"note: {note}")
    if found.picture:
        screen.line(f"picture: {found.picture}")
