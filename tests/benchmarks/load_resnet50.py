"""How long ResNet-50 takes from a local file to ready, and how much memory, against keras.applications.

    python tests/benchmarks/load_resnet50.py
    python tests/benchmarks/load_resnet50.py --rounds 15 --fresh 5

zoo loads from its cache, hashing every file; theirs is `keras.applications.ResNet50(weights=<local .h5>)`, a file of
the kind that Keras publishes, which nothing hashes. Both hold the same random weights.

Warm: rounds in one process, both contestants in each, in alternating order; a first round, not counted, loads what is
loaded once. Fresh: each load in a process of its own that has imported Keras and zoo and built a small network.
Ratios are medians over rounds of zoo's time to theirs in the same round, with the quartiles; the processor's time,
which other programs disturb less, stands beside the clock's.

Memory: the most that the fresh process held in memory while it loaded (VmHWM, reset before), less what it held before
(VmRSS), divided by the bytes of the weights. The model's own variables are in it, so 1.00 would be no waste at all.
Linux only.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CONTESTANTS = ("zoo", "theirs")
CLOCKS = ("seconds", "processor")


def loaders(folder):
    """Returns dict, contestant -> function that loads the network prepared in a folder."""
    os.environ |= {"ZOO_HUB": str(folder / "hub"), "ZOO_CACHE": str(folder / "cache")}
    import zoo

    zoo.build("resnet20", image_shape=(8, 8, 3))  # what every program loads once
    import keras

    return {
        "zoo": lambda: zoo.load("me/resnet50"),
        "theirs": lambda: keras.applications.ResNet50(weights=str(folder / "resnet50.h5")),
    }


def prepare(folder):
    """Writes the same random weights for both: a published repository, pulled once, and a legacy .h5 file."""
    load = loaders(folder)["zoo"]
    import h5py
    import keras
    from keras.src.legacy.saving import legacy_h5_format

    import zoo
    from zoo.hub.convert import keras_applications

    theirs = keras.applications.ResNet50(weights=None)
    with h5py.File(folder / "resnet50.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, theirs)
    zoo.push(keras_applications.load(zoo.build("resnet50", flavour="keras"), theirs), "me/resnet50")
    load()


def timed(load):
    """Returns dict of the seconds, and the processor's, that one load takes."""
    import keras

    keras.backend.clear_session()
    wall, processor = time.perf_counter(), time.process_time()
    load()
    return {"seconds": time.perf_counter() - wall, "processor": time.process_time() - processor}


def memory(field):
    """Returns a figure of this process in bytes: VmRSS, what it holds now, or VmHWM, the most it held."""
    row = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith(field))
    return int(row.split()[1]) * 1024


def once(folder, contestant):
    """Loads in this process, and prints times and memory as JSON."""
    load = loaders(folder)[contestant]
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again from here
    wall, processor = time.perf_counter(), time.process_time()
    model = load()
    rows = {"seconds": time.perf_counter() - wall, "processor": time.process_time() - processor}
    rows["memory"] = (memory("VmHWM") - before) / sum(4 * math.prod(w.shape) for w in model.weights)
    print(json.dumps(rows))


def fresh(folder, contestant):
    """Returns what `once` prints in a new process."""
    command = [sys.executable, __file__, "--once", contestant, "--folder", str(folder)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def rounds_of(count, measure):
    """Returns `count` rounds, each dict, contestant -> measurement, in alternating order."""
    rounds = []
    for i in range(count):
        order = CONTESTANTS if i % 2 else CONTESTANTS[::-1]
        rounds.append({contestant: measure(contestant) for contestant in order})
    return rounds


def report(title, rounds):
    """Prints medians, ratios with quartiles, and memory where it was measured."""
    for clock in CLOCKS:
        medians = [statistics.median(r[c][clock] for r in rounds) for c in CONTESTANTS]
        ratios = [r["zoo"][clock] / r["theirs"][clock] for r in rounds]
        low, middle, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
        row = f"{title:<7}{clock:<10}zoo {medians[0]:.3f} s   theirs {medians[1]:.3f} s"
        print(f"{row}   ratio {middle:.2f} (quartiles {low:.2f} to {high:.2f}, {len(rounds)} rounds)", flush=True)
    for contestant in CONTESTANTS:
        if found := [r[contestant]["memory"] for r in rounds if "memory" in r[contestant]]:
            print(f"{title:<7}memory    {contestant} {statistics.median(found):.2f} times the weights", flush=True)


def main():
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9, help="in one process")
    parser.add_argument("--fresh", type=int, default=3, help="rounds in fresh processes")
    parser.add_argument("--once", choices=CONTESTANTS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.once:
        return once(options.folder, options.once)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        prepare(folder)
        import keras

        print(f"{platform.machine()}, {keras.backend.backend()}, Keras {keras.__version__}", flush=True)
        loads = loaders(folder)
        rounds = rounds_of(options.rounds + 1, lambda contestant: timed(loads[contestant]))[1:]
        if rounds:
            report("warm", rounds)
        if options.fresh:
            report("fresh", rounds_of(options.fresh, lambda contestant: fresh(folder, contestant)))


if __name__ == "__main__":
    main()
