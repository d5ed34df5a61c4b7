"""What a model card says that a model is not known to do: sentences that follow from facts of its record alone."""

import math

from zoo.hub.metadata import numbers
from zoo.hub.wording import code, escaped


def limitations(spec, record):
    """Returns sentences on what was not measured, or only in a way that flatters.

    Args:
        spec: the model's `Spec`.
        record: the parsed `run.json`, or None.
    """
    found = list(_of_run(spec, record)) if record else [_UNMEASURED]
    if isinstance(spec.labels, (tuple, list)):
        found.append(f"Whatever it is shown, it answers with one of its {len(spec.labels):,} labels.")
    if spec.parent:
        found.append(
            f"It was made from {parent_name(spec)}: the data, faults and licence of those weights matter here too."
        )
    if spec.preprocessing is None:
        found.append("How raw input is prepared is not declared, so `zoo.predict` cannot read files with it.")
    return found


def parent_name(spec):
    """Returns in Markdown what a model started from: its reference, or the hash of weights that have none."""
    ref, sha256 = spec.parent.get("ref"), str(spec.parent.get("sha256"))
    return code(ref) if ref else f"weights without a name, of SHA-256 {code(sha256[:16])}"


_UNMEASURED = "Nothing about these weights was measured with zoo: evaluate them before you rely on them."


def _of_run(spec, record):
    metrics, data = numbers(record.get("metrics")), record.get("data") or {}
    name = escaped(data.get("name") or "its data")
    if record.get("status") not in (None, "finished"):
        yield f"The run is not complete: its status is {code(record['status'])}."
    if not metrics:
        yield f"{_UNMEASURED[:-1]}; the run has no final results."
        return
    if record.get("seed") is not None:
        seed = escaped(record["seed"])
        yield f"One training, with seed {seed}: how far results vary between seeds was not measured here."
    splits = " and ".join(map(escaped, metrics))
    yield f"Measured on the {splits} part of {name} alone. Other data was not tried, and results there will differ."
    if "test" not in metrics:
        yield "No test part was measured; what is shown was also used for choices in training, so it flatters."
    elif record.get("keep") == "best" and "validation" in metrics:
        yield "The validation part chose the epoch that was kept, so its results flatter; the test part's do not."
    if isinstance(spec.labels, (tuple, list)):  # words of a running text are no independent examples
        yield from _uncertainty(metrics)
    if record.get("deterministic") is False:
        yield "The run was not deterministic: the same command gives results that differ a little."


def _uncertainty(metrics):
    """Yields how far a share of few examples is off by chance: the standard error of a proportion."""
    row = metrics.get("test", {})
    share, count = row.get("accuracy"), row.get("examples")
    if share is not None and count and 0 <= share <= 1:
        error = 100 * math.sqrt(share * (1 - share) / count)
        points = f"{error:.2g} percentage points"
        yield f"The test accuracy is a share of {count:,} examples, so its standard error is {points}."
