"""What an ablation found: figures of each arm, and what each trick is worth, read from its record."""

import dataclasses
import json
import math
import statistics
from dataclasses import dataclass
from pathlib import Path

from zoo import ablation_report
from zoo.arms import PLAIN, WHOLE, Comparison
from zoo.errors import IntegrityError, invalid
from zoo.files import disk
from zoo.paired import HELPS, HURTS, Difference, binomial_error, holm, paired, verdict
from zoo.tasks import task_of

RECORD, FORMAT = "ablation.json", 1
NOT_POSSIBLE, UNFINISHED = "not possible", "not finished"


@dataclass(frozen=True)
class Row:
    """One arm.

    Attributes:
        name: of the arm and its folder.
        recipe: what it trains.
        impossible: why it cannot work, or None.
        values: seed -> the task's figure on the test split; seeds that diverged are not in it.
        validation: the same on the validation split.
        diverged: seeds whose loss became NaN or infinite.
        mean, std, low, high: of `values`; low and high are the least and the greatest. NaN where there are too few.
        seconds: of an epoch with its validation, the median over seeds and over the epochs after the first, which
            compiles; NaN where nothing finished.
        ratio: `seconds` against the plain recipe's.
        cautions: what its plan and its training warned of.
    """

    name: str
    recipe: str
    impossible: str | None
    values: dict
    validation: dict
    diverged: tuple
    mean: float
    std: float
    low: float
    high: float
    seconds: float
    ratio: float
    cautions: tuple


@dataclass(frozen=True)
class Effect:
    """What one trick does, seen one way.

    Attributes:
        comparison: `zoo.arms.Comparison`: which arms were compared.
        difference: `zoo.paired.Difference` of the figure, with the trick minus without it, over the seeds that
            finished in both arms; None where there is none.
        p: of the difference, corrected for the comparisons of its kind (Holm); NaN without one.
        verdict: "helps", "hurts", "within noise", "unclear", "too few seeds", "not possible", "not finished", or that
            training diverges with the trick, or without it.
        below_test_noise: whether a verdict of "helps" or "hurts" rests on a difference that is smaller than the
            standard error of the accuracy itself on so few test examples.
        ratio: seconds of an epoch with the trick against without it.
        reason: why it is not possible, or None.
    """

    comparison: Comparison
    difference: Difference | None
    p: float
    verdict: str
    below_test_noise: bool
    ratio: float
    reason: str | None = None


class Ablation:
    """The result of `zoo.ablate`.

    Args:
        folder: of the ablation.
        record: what its `ablation.json` holds; by default it is read.

    Attributes:
        metric: the figure that arms are compared by, such as "accuracy", measured on the test split.
        higher_is_better: whether more of it is.
        examples: that the test figure is of.
        test_error: standard error of the plain arm's accuracy from the number of test examples alone, else None.
        rows: tuple of `Row`, one per arm.
        effects: tuple of `Effect`, one per comparison.

    Raises:
        InvalidArgument: the folder holds no ablation.
        IntegrityError: its record is damaged.
    """

    def __init__(self, folder, record=None):
        self.folder = Path(folder)
        self.record = read(self.folder) if record is None else record
        self.metric, self.examples = self._metric()
        self.higher_is_better = self.metric.endswith("accuracy")
        rows = [self._row(arm) for arm in self.record["arms"]]
        plain = next(row for row in rows if row.name == PLAIN)
        self.rows = tuple(dataclasses.replace(row, ratio=row.seconds / plain.seconds) for row in rows)
        self._by_name = {row.name: row for row in self.rows}
        known = [row.mean for row in self.rows if row.values]
        is_share = self.higher_is_better and self.examples
        self.test_error = binomial_error(statistics.median(known), self.examples) if is_share and known else None
        self.effects = self._effects()

    def __repr__(self):
        return f"<Ablation {self.folder} {self.record['status']}: {self.record['recipe']}>"

    def __getitem__(self, name):
        """Returns the `Row` of an arm, such as "full", "plain", "without-focal" or "only-focal"."""
        if name not in self._by_name:
            from zoo.errors import unknown

            raise unknown("arm", name, self._by_name)
        return self._by_name[name]

    @property
    def best(self):
        """The `Row` with the best mean on the validation split, which leaves the test figure an honest one."""
        rows = [row for row in self.rows if row.validation and not row.diverged]
        if not rows:
            raise invalid("no arm of this ablation has finished", str(self.folder))
        mean = {row.name: statistics.fmean(row.validation.values()) for row in rows}
        return (max if self.higher_is_better else min)(rows, key=lambda row: mean[row.name])

    def table(self):
        """Returns the tables and remarks as text, at most 80 columns wide."""
        return ablation_report.text(self)

    def to_markdown(self):
        """Returns the report: command, tables, remarks, versions and data fingerprint."""
        return ablation_report.markdown(self)

    def to_json(self):
        """Returns the record with what it says: "metric", "rows" and "effects"; what is not known is null."""
        rows = [dataclasses.asdict(row) for row in self.rows]
        effects = [dataclasses.asdict(effect) for effect in self.effects]
        found = {"metric": self.metric, "test_error": self.test_error, "rows": rows, "effects": effects}
        return self.record | _without_nan(found)

    # From the record

    def _metric(self):
        """Returns the figure's name, and how many test examples it is of."""
        name = task_of(self.record["task"]).metric
        measured = [run["test"] for arm in self.record["runs"].values() for run in arm.values() if run["test"]]
        if not measured:
            return name, None
        named = (name, f"logits_{name}", "loss")  # the second where a classifier has side heads
        return next(n for n in named if n in measured[0]), measured[0]["examples"]

    def _row(self, arm):
        seeds = {str(seed) for seed in self.record["seeds"]}
        found = {int(s): run for s, run in self.record["runs"].get(arm["name"], {}).items() if s in seeds}
        ended = {s: run for s, run in sorted(found.items()) if run["test"]}
        values = {s: run["test"][self.metric] for s, run in ended.items()}
        each = list(values.values())
        seconds = [t for run in found.values() for t in (run["seconds"][1:] or run["seconds"])]
        return Row(
            name=arm["name"],
            recipe=arm["recipe"],
            impossible=arm["impossible"],
            values=values,
            validation={s: run["validation"][self.metric] for s, run in ended.items()},
            diverged=tuple(s for s, run in sorted(found.items()) if not run["test"]),
            mean=statistics.fmean(each) if each else math.nan,
            std=statistics.stdev(each) if len(each) > 1 else math.nan,
            low=min(each, default=math.nan),
            high=max(each, default=math.nan),
            seconds=statistics.median(seconds) if seconds else math.nan,
            ratio=math.nan,
            cautions=tuple(dict.fromkeys([*arm["cautions"], *(w for run in found.values() for w in run["warnings"])])),
        )

    def _effects(self):
        comparisons = [Comparison(**row) for row in self.record["comparisons"]]
        differences = {c: self._difference(c) for c in comparisons}
        effects = []
        for kind in dict.fromkeys(c.kind for c in comparisons):
            own = [c for c in comparisons if c.kind == kind]
            # An arm that diverged has lost its worst seeds: what is left proves nothing, and is not counted.
            ps = [differences[c].p if differences[c] and not self._diverged(c) else math.nan for c in own]
            effects += [self._effect(c, differences[c], p) for c, p in zip(own, holm(ps), strict=True)]
        return tuple(effects)

    def _pair(self, comparison):
        return self._by_name[comparison.arm], self._by_name[comparison.without]

    def _diverged(self, comparison):
        return any(row.diverged for row in self._pair(comparison))

    def _difference(self, comparison):
        arm, without = self._pair(comparison)
        both = [seed for seed in arm.values if seed in without.values]
        if not both:
            return None
        resolution = 1 / self.examples if self.higher_is_better else 0.0
        return paired([arm.values[s] for s in both], [without.values[s] for s in both], resolution=resolution)

    def _effect(self, comparison, difference, p):
        arm, without = self._pair(comparison)
        reason = arm.impossible or without.impossible
        if reason:
            said = NOT_POSSIBLE
        elif arm.diverged or without.diverged:
            where = {(True, False): " with it", (False, True): " without it"}
            said = f"diverges{where.get((bool(arm.diverged), bool(without.diverged)), '')}"
        elif difference is None or len(difference.each) < len(self.record["seeds"]):
            said = UNFINISHED
        else:
            said = verdict(difference, p, higher_is_better=self.higher_is_better)
        small = bool(said in (HELPS, HURTS) and self.test_error and abs(difference.mean) < self.test_error)
        return Effect(comparison, difference, p, said, small, arm.seconds / without.seconds, reason)

    @property
    def comparisons_by_kind(self):
        """dict: kind -> its effects, those of single tricks sorted from the most helpful to the most harmful."""
        sign = 1 if self.higher_is_better else -1

        def worth(effect):
            return sign * effect.difference.mean if effect.difference else -math.inf

        kinds = sorted({e.comparison.kind for e in self.effects}, key=[e.comparison.kind for e in self.effects].index)
        kinds = [k for k in kinds if k != WHOLE] + [k for k in kinds if k == WHOLE]
        return {k: sorted((e for e in self.effects if e.comparison.kind == k), key=worth, reverse=True) for k in kinds}


def _without_nan(value):
    if isinstance(value, dict):
        return {str(k): _without_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read(folder):
    """Returns the record of an ablation.

    Raises:
        InvalidArgument: the folder holds none.
        IntegrityError: it is damaged.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        raise invalid(f"{folder} holds no ablation: it has no {path.name}")
    with disk(path, "read"):
        text = path.read_text("utf-8")
    try:
        record = json.loads(text)
        whole = record["format"] == FORMAT and isinstance(record["question"], dict) and isinstance(record["runs"], dict)
    except (ValueError, KeyError, TypeError):
        whole = False
    if not whole:
        raise IntegrityError(f"{path} is damaged. Restore it, or start in another folder: its runs stay as they are.")
    return record
