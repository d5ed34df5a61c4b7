"""Ships the weights of a finished run inside the package: `python -m zoo.shipping RUN NAME`, for developers of zoo.

They are stored in half the bits where every measured figure stays what the run recorded, pushed into the hub in the
package, and entered in `registry.json`. NAME is variant.tag, such as softmax.mnist. Lines to put into the recipe's
`[result]` are printed; `zoo reproduce RECIPE --check` then holds the weights to it.
"""

import itertools
import json
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from zoo import registry
from zoo.catalogue import list_weights
from zoo.cli import names
from zoo.entries import checked_entry
from zoo.errors import invalid
from zoo.files import sha256_of, write_atomic
from zoo.hub import manifest
from zoo.hub.pinning import telling
from zoo.hub.refs import Reference
from zoo.hub.shipped import ShippedStore
from zoo.quiet import import_keras
from zoo.recipes import list_recipes
from zoo.recorded import matches
from zoo.runs import BEST, RUN, Run

MOST_BYTES = 25_000_000  # of all shipped files together
LICENSE = "apache-2.0"


def shipped_entries():
    """Returns the registry's entries of the weights in the package, by name; each pinned."""
    store = ShippedStore()
    return {repo: _entry(store, repo) for repo in store.repos()}


def _entry(store, repo):
    commit = store.resolve(repo)
    folder = store.place(repo) / "revisions" / commit
    found = manifest.parse((folder / manifest.CONFIG).read_bytes(), store.label(repo))
    record = json.loads((folder / RUN).read_text("utf-8"))
    recipe = next((r for r in list_recipes() if r.result.get("weights") == repo), None)
    measured = {k: v for k, v in record["metrics"]["test"].items() if not k.endswith(("examples", "loss"))}
    said = {
        "model": found.spec.name,
        "task": found.spec.task,
        "ref": store.label(repo),
        "revision": commit,
        "sha256": found.files[manifest.WEIGHTS][1],
        "format": "zoo",
        "arguments": telling(found.spec),
        "parameters": found.parameters,
        "metrics": {name: round(value, 5) for name, value in measured.items()},
        "dataset": recipe.result["data"] if recipe else record["data"]["name"],
        "source": f"zoo reproduce {recipe.name} --check" if recipe else record["command"],
        "license": LICENSE,
        "summary": f"Comes with zoo; {record['recipe']}, {record['epochs']} epochs, seed {record['seed']}",
    }
    return checked_entry(repo, dict(sorted(said.items())), "the hub in the package")


def ship(run, name):
    """Publishes a finished run's weights in the package and enters them in `registry.json`.

    Args:
        run: the folder of a finished run.
        name: variant.tag that they are to have.

    Returns:
        dict of the "ref", "dtype", "bytes" in the repository, and "sha256" of the weights that the run kept.

    Raises:
        InvalidArgument: the run is not finished, the name is not of its model or somebody else's, or there would be
            too many bytes.
    """
    found = Run(run)
    model = found.spec.name
    if found.status != "finished":
        raise invalid(f"{found.folder} is not a finished run", found.status, "Resume it first.")
    if not name.startswith(f"{model}."):
        raise invalid(f"weights of model {model!r} have a name that begins so", name, f"For example {model}.mnist.")
    store = ShippedStore(writable=True)
    if name in list_weights().names and not store.exists(name):
        raise invalid("there are other weights of this name", name, "Choose another tag.")
    with tempfile.TemporaryDirectory() as folder:
        small, dtype = _halved(found, Path(folder) / "run")
        _publish(small, store, name, found)
    commit = store.resolve(name)
    for path in (store.place(name) / "revisions").iterdir():
        if path.name != commit:
            shutil.rmtree(path)  # of each weights one revision, so that the package stays small
    (store.place(name) / ".lock").unlink(missing_ok=True)
    _enter()
    size = sum(p.stat().st_size for p in store.place(name).rglob("*") if p.is_file())
    return {"ref": f"zoo://{name}@{commit}", "dtype": dtype, "bytes": size, "sha256": sha256_of(found.folder / BEST)}


def _publish(small, store, name, found):
    from zoo.hub.publishing import push

    others = (p for p in store.root.rglob("*") if p.is_file() and store.place(name) not in p.parents)
    size = sum(p.stat().st_size for p in others) + sum(p.stat().st_size for p in small.publishable().values())
    if size > MOST_BYTES:
        works = f"At most {MOST_BYTES:,} bytes are shipped in all. Describe larger weights in their recipe."
        raise invalid(f"with {name} the package would hold too many bytes of weights", f"{size:,}", works)
    push(small, Reference(store, name), license=LICENSE, message=found.record["command"], quiet=True)


def _halved(found, folder):
    """Returns `(run to publish, dtype)`: a copy with float16 weights where its figures stay, else the run itself."""
    from zoo.hub import load
    from zoo.inference import evaluate
    from zoo.weights import save_weights

    shutil.copytree(found.folder, folder)
    model = load(found.folder)
    save_weights(model, folder / BEST, dtype="float16")
    data, options = _data_of(found.record["command"])
    for split in ("test", "validation"):
        before, after = found.metrics[split], evaluate(folder, data, split=split, data_options=options)
        for name, value in before.items():
            recorded = not name.endswith(("examples", "loss"))  # a loss moves by some 1e-4, and no recipe records it
            if recorded and not matches(name, after[name], value, before["examples"]):
                print(f"float32: {split} {name} is {after[name]} in float16, and {value} was recorded")
                return found, "float32"
    return Run(folder), "float16"


def _data_of(command):
    """Returns `(data, data options)` of a run's command, `zoo train MODEL DATA ... --data-option NAME=VALUE ...`."""
    words = shlex.split(command)
    given = [value for option, value in itertools.pairwise(words) if option == "--data-option"]
    return words[3], names.settings("--data-option", given)


def _enter():
    """Writes the entries of the hub in the package into `registry.json`, those of other weights as they are."""
    from zoo.indexing import written

    path = registry.data_file("registry.json")
    found = json.loads(path.read_text("utf-8"))
    others = {n: e for n, e in found["weights"].items() if not e["ref"].startswith("zoo://")}
    found["weights"] = shipped_entries() | others
    write_atomic(path, written(found))


def main(words):
    """Ships RUN as NAME and prints what belongs into the recipe."""
    if len(words) != 2:
        raise SystemExit("Write python -m zoo.shipping RUN NAME, such as runs/softmax.mnist softmax.mnist.")
    import_keras()
    made = ship(*words)
    print(f"{made['ref']}: {made['dtype']}, {made['bytes']:,} bytes")
    print(f'weights = "{words[1]}"\nsha256 = "{made["sha256"]}"')


if __name__ == "__main__":
    main(sys.argv[1:])
