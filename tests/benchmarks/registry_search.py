"""Times the search of a registry of 100,000 entries: python tests/benchmarks/registry_search.py [ENTRIES]

The entries are the built-in ones under new names. The first load (reading and checking a JSON file, laying out its
columns) happens once a process; each search is the median of nine on a loaded registry, with the row objects of a
screen of 20. Beside it stands the time of the processor alone, which other programs on the machine do not lengthen.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

SEARCHES = {
    "list_weights('*')": {"pattern": "*"},
    "list_weights('resnet50.*')": {"pattern": "resnet50.*"},
    "list_weights('*_384.*')": {"pattern": "*_384.*"},
    "list_weights('vit_[bl]*')": {"pattern": "vit_[bl]*"},
    "text='vit in21k'": {"text": "vit in21k"},
    "text='image_cl' (in every entry)": {"text": "image_cl"},
    "text='someone' (in every reference)": {"text": "someone"},
    "text, licence, parameters, accuracy": {
        "text": "resnet strikes",
        "license": "apache-2.0",
        "max_parameters": 30_000_000,
        "min_accuracy": 0.8,
        "task": "image_classification",
        "dataset": "imagenet",
    },
    "text of nothing": {"text": "no such words"},
}


def entries(count):
    """Returns so many entries, the built-in ones again and again under other names and references."""
    from zoo.registry import index

    real = list(index()["weights"].items())
    found = {}
    for i in range(count):
        name, entry = real[i % len(real)]
        found[f"{name}_{i}"] = entry | {
            "ref": f"hf://someone/{name}_{i}",
            "revision": f"{i:040x}",
            "sha256": f"{i:064x}",
        }
    return found


def main():
    """Prints a line for the load and one for each search: by the clock, and of the processor."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "registry.json"
        path.write_text(json.dumps({"format": 1, "weights": entries(count)}), "utf-8")
        os.environ["ZOO_REGISTRY"] = str(path)
        from zoo.catalogue import catalogue, list_weights

        loaded, *load = timed(catalogue)
        _, *columns = timed(
            lambda: list_weights(text="x", max_parameters=1, min_accuracy=0.5, license="x", dataset="x")
        )
        print(f"{len(loaded.entries):,} entries, {path.stat().st_size / 1e6:.0f} MB of JSON")
        print(f"{'first load':38}{shown(load)}\n{'columns to search':38}{shown(columns)}")
        slowest = (0.0, 0.0)
        for title, wanted in SEARCHES.items():
            runs = [timed(lambda wanted=wanted: looked_at(list_weights(**wanted))) for _ in range(9)]
            medians = [statistics.median(run[i] for run in runs) for i in (1, 2)]
            slowest = tuple(map(max, slowest, medians))
            print(f"{title:38}{shown(medians)}   {len(runs[0][0]):,} found")
        print(f"{'slowest search':38}{shown(slowest)}")


def looked_at(found):
    """Returns what was found, the rows of a first screen made."""
    list(found[:20])
    return found


def timed(call):
    """Returns what a call returns, its seconds, and those of the processor alone."""
    began, worked = time.perf_counter(), time.process_time()
    found = call()
    return found, time.perf_counter() - began, time.process_time() - worked


def shown(seconds):
    """Returns both times as text."""
    return f"{seconds[0] * 1e3:9.1f} ms {seconds[1] * 1e3:9.1f} ms"


if __name__ == "__main__":
    main()
