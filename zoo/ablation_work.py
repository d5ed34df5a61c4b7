"""The runs of an ablation: each is trained once, alone or several at a time, and written down when it is done."""

import json
import shlex
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from zoo import ablation_report, runs
from zoo.ablation_results import RECORD, Ablation
from zoo.errors import StoreError
from zoo.files import write_atomic
from zoo.progress import say
from zoo.tasks import sentence
from zoo.watching import Watch
from zoo.workers import FINISHED, Workers, cores, train_one

TEXT, PICTURE = "ablation.md", "ablation.png"


class Pair(NamedTuple):
    """One run: an arm and a seed."""

    arm: str
    seed: int

    def __str__(self):
        return f"{self.arm}, seed {self.seed}"


class Work:
    """One call of `zoo.ablate`: the runs that are still to do, and the record of all.

    Args:
        folder: of the ablation, locked.
        record: what `ablation.json` will hold; the figures of runs that are done are in it.
        options: arguments of `zoo.train` that all runs share.
        jobs: trainings at a time.
        console: where progress is printed.
    """

    def __init__(self, folder, record, options, jobs, console):
        self.folder, self.record, self.options, self.jobs, self.console = folder, record, options, jobs, console

    def run(self):
        """Trains what is not done and writes the reports. Returns the `zoo.ablation_results.Ablation`."""
        record = self.record
        possible = [arm for arm in record["arms"] if arm["impossible"] is None]
        every = [Pair(arm["name"], seed) for seed in record["seeds"] for arm in possible]  # seed by seed: soon compared
        recipes = {arm["name"]: arm["recipe"] for arm in possible}
        self._announce(every)
        for name, seed in every:
            self._collect(name, seed)
        tasks = [
            (pair, {**self.options, "recipe": recipes[pair.arm], "seed": pair.seed, **self._place(*pair)})
            for pair in every
            if not self._known(*pair)
        ]
        self.write()
        watch = Watch(self.console, len(every), len(every) - len(tasks), self.options["epochs"])
        try:
            with watch:
                self._train(tasks, watch)
        except BaseException as error:
            self.record["status"] = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            if not isinstance(error, StoreError):  # a full disk would hide the first error behind a second
                self.write()
            if isinstance(error, KeyboardInterrupt):
                self._say_how_to_go_on(every)
            raise
        return self._finish()

    def _train(self, tasks, watch):
        def started(pair):
            watch.started(str(pair), self.folder / pair.arm / f"seed{pair.seed}")

        def done(pair, answer):
            self._collect(*pair, answer)
            self.write()
            watch.finished(str(pair), self._result(*pair))

        if not tasks:
            return
        if self.jobs == 1:
            for pair, options in tasks:
                started(pair)
                done(pair, train_one(options))
            return
        count = min(self.jobs, len(tasks))
        sent = [(pair, {k: _text(v) for k, v in options.items()}) for pair, options in tasks]
        with Workers(count, max(1, cores() // count)) as workers:
            try:
                workers.run(sent, done, started)
            except KeyboardInterrupt:
                say(self.console, "Stopping: the runs that are under way write down where they are.")
                raise

    def _place(self, name, seed):
        """Returns where a run is kept and whether it goes on; what a run that was killed at birth left is removed."""
        folder = self.folder / name / f"seed{seed}"
        resume = (folder / runs.RUN).is_file()
        if folder.is_dir() and not resume:
            shutil.rmtree(folder)
        return {"out": folder, "resume": resume}

    def _known(self, name, seed):
        return str(seed) in self.record["runs"].get(name, {})

    def _collect(self, name, seed, answer=None):
        """Records what a run came to, if it has come to something."""
        if self._known(name, seed):
            return
        folder = self.folder / name / f"seed{seed}"
        found = runs.Run(folder) if (folder / runs.RUN).is_file() else None
        ended = answer["status"] if answer else FINISHED
        if found is None or (ended == FINISHED and found.status != FINISHED):
            return
        row = {"status": ended, "message": None, "warnings": [], **(answer or {})}
        row |= {"test": found.metrics.get("test"), "validation": found.metrics.get("validation")}
        row |= {"best_epoch": found.record["best_epoch"], "seconds": [epoch["seconds"] for epoch in found.history]}
        self.record["runs"].setdefault(name, {})[str(seed)] = row

    def write(self):
        record = Ablation(self.folder, self.record).to_json()
        write_atomic(self.folder / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")

    def _finish(self):
        self.record["status"] = FINISHED
        self.record["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        found = Ablation(self.folder, self.record)
        self.write()
        write_atomic(self.folder / TEXT, found.to_markdown())
        ablation_report.draw(found, self.folder / PICTURE)
        self.console.print(ablation_report.tables(found))
        say(self.console, f"{self.folder / TEXT}, {self.folder / PICTURE}")
        return found

    # What is said

    def _announce(self, every):
        record, arms = self.record, self.record["arms"]
        parts = (f"{record['recipe']} on {record['data']['name']}: {len(arms)} arms, {len(record['seeds'])} seeds, ",)
        parts += (f"{len(every)} runs of {self.options['epochs']} epochs, {self.jobs} at a time",)
        say(self.console, "", record["question"]["model"], f", {''.join(parts)}")
        for arm in arms:
            if arm["impossible"] is not None:
                say(self.console, f"{arm['name']} is not possible: {arm['impossible']}")
        for line in dict.fromkeys(line for arm in arms for line in arm["cautions"]):
            say(self.console, f"caution ({', '.join(a['name'] for a in arms if line in a['cautions'])}): {line}")

    def _result(self, name, seed):
        row = self.record["runs"][name][str(seed)]
        if row["status"] != FINISHED:
            return row["status"]
        return f"{sentence(row['test'], self.record['task'])}, {sum(row['seconds']):.0f} s"

    def _say_how_to_go_on(self, every):
        done = sum(self._known(*pair) for pair in every)
        start = self.record["command"] or "the same call, with resume=True and out="
        go_on = f"{start} --out {shlex.quote(str(self.folder))} --resume" if self.record["command"] else start
        say(self.console, f"Stopped after {done} of {len(every)} runs; {self.folder} is intact. Continue with: {go_on}")


def _text(value):
    """Returns a path as a text that is still a path, anything else as it is."""
    return value if not isinstance(value, Path) else str(value if value.is_absolute() else f"./{value}")
