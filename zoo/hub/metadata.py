"""The front matter of a model card: what the Hugging Face Hub reads of a model.

It follows https://huggingface.co/docs/hub/model-cards and the `model-index` of
https://github.com/huggingface/hub-docs/blob/main/modelcard.md. Text of unknown origin stands in double quotes and on
one line, so nothing that a label or a data set is called can add a field.
"""

import json
import math
import re

from zoo.hub.licenses import HUB_LICENSES
from zoo.tasks import TASKS

DATASETS = {  # name in zoo -> (id on the Hub, words of the source that only zoo's own loader writes)
    "cifar10": ("uoft-cs/cifar10", "A. Krizhevsky, Learning multiple layers"),
    "mnist": ("ylecun/mnist", "MNIST. Y. LeCun"),
    "imdb": ("stanfordnlp/imdb", "Large Movie Review Dataset"),
    "imdb_text": ("stanfordnlp/imdb", "Large Movie Review Dataset"),
    "imdb_words": ("stanfordnlp/imdb", "Large Movie Review Dataset"),
    "babi": ("facebook/babi_qa", "The bAbI tasks"),
    "babi_pairs": ("facebook/babi_qa", "The bAbI tasks"),
}
_METRICS = ("accuracy", "exact_match", "perplexity", "mae", "rmse")  # the Hub's names, which ours end in
_HUB_REF = re.compile(r"hf://(?P<repo>[\w.-]+/[\w.-]+?)(@[\w./-]+)?")
_PLAIN = {"keras", "timm", *HUB_LICENSES}


def metadata(spec, *, name, library="keras", family=None, license=None, record=None):
    """Returns the fields of the front matter, as plain data.

    Args:
        spec: the model's `Spec`.
        name: of the repository.
        library: which library loads it: "keras" or "timm".
        family: of the model, or None.
        license: a `License` or None.
        record: the parsed `run.json` or None; the only source of results.
    """
    task = TASKS.get(spec.task)
    parent = _HUB_REF.fullmatch(str((spec.parent or {}).get("ref") or ""))
    results = model_index(spec, name, record) if record else []
    types = [m["type"] for index in results for r in index["results"] for m in r["metrics"]]
    data = dataset_id((record or {}).get("data") or {})
    fields = {
        "library_name": library,
        "license": license and license.id,
        "license_name": license and license.name,
        "license_link": license and license.link,
        "pipeline_tag": task and task.tag,
        "tags": list(dict.fromkeys(t for t in (library, "keras", "zoo", family, spec.name) if t)),
        "datasets": [data] if data else None,
        "base_model": parent and parent["repo"],
        "base_model_relation": "finetune" if parent and record else None,  # without a run they may be its very weights
        "metrics": list(dict.fromkeys(types)),
        "model-index": results,
    }
    return {key: value for key, value in fields.items() if value}


def dataset_id(data):
    """Returns the Hub's id of the data set of a run, or None; a folder that bears its name is another one."""
    known, words = DATASETS.get(data.get("name"), (None, None))
    return known if known and words in str(data.get("source")) else None


def numbers(metrics):
    """Returns the measured numbers of a run: split -> name -> finite number; empty splits are left out."""
    found = {}
    for split, row in metrics.items() if isinstance(metrics, dict) else ():
        row = {name: value for name, value in row.items() if is_number(value)} if isinstance(row, dict) else {}
        found |= {split: row} if row else {}
    return found


def is_number(value):
    """Says whether a value is a finite number, as JSON and YAML both write it."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def model_index(spec, name, record):
    """Returns the `model-index`: the figures that a run measured, by split, or an empty list.

    A loss is listed only where the task's results are named by it: recipes have losses of their own.
    """
    task, data = TASKS.get(spec.task), record.get("data") or {}
    named = str(data.get("name") or "")
    first = task.metric if task else "accuracy"
    results = []
    for split, row in numbers(record.get("metrics")).items():
        kept = [n for n in row if n == first or not (n == "examples" or n.endswith("loss"))]
        if not kept or not named:
            continue
        title = spec.task.replace("_", " ").capitalize()
        results.append(
            {
                "task": {"type": (task and task.tag) or "other", "name": title},
                "dataset": {"name": named, "type": dataset_id(data) or slug(named), "split": split},
                "metrics": [{"type": metric_id(n), "value": row[n], "name": n.replace("_", " ")} for n in kept],
            }
        )
    return [{"name": name, "results": results}] if results else []


def metric_id(name):
    """Returns the Hub's name of a metric: "accuracy" for "gender_accuracy"."""
    return next((known for known in _METRICS if name.endswith(known)), slug(name))


def slug(name):
    """Returns a name as an identifier."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:96] or "unnamed"


def front_matter(fields):
    """Returns the lines of the front matter, YAML between two rules; the same fields give the same lines."""
    return ["---", *_block(fields), "---"]


def _block(value, indent=""):
    """Yields the lines of a dict or list in YAML's block style."""
    items = value.items() if isinstance(value, dict) else ((None, v) for v in value)
    for key, inner in items:
        head = f"{indent}-" if key is None else f"{indent}{key}:"
        if not isinstance(inner, (dict, list)):
            yield f"{head} {_scalar(inner)}"
        elif key is None:
            first, *rest = _block(inner, indent + "  ")
            yield f"{head} {first.strip()}"
            yield from rest
        else:
            yield head
            yield from _block(inner, indent if isinstance(inner, list) else indent + "  ")


def _scalar(value):
    if isinstance(value, float):
        digits = repr(value)
        return digits if "." in digits else digits.replace("e", ".0e")  # YAML takes 1e-05 for a word
    if isinstance(value, int):
        return str(value)
    if value in _PLAIN:
        return value
    return json.dumps("".join(c if c.isprintable() else " " for c in value), ensure_ascii=False)
