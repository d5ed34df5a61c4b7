"""Tasks: what a model is for, what its outputs mean, and which figure a result is named by. Imports no Keras."""

import math
from dataclasses import dataclass

from zoo.errors import invalid, unknown

HEAD_KINDS = {
    "softmax": "softmax cross-entropy",
    "sigmoid": "binary cross-entropy",
    "regression": "squared error",
    "candidates": "one against noise",
    "critic": "critic score",
}


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: such as "image_classification".
        tag: the Hub's nearest pipeline tag, or None.
        metric: the measured figure that a result is named by, as `zoo.evaluate` returns it.
        chooses: whether validation data chooses the epoch whose weights are kept; else the last is kept.
    """

    name: str
    tag: str | None
    metric: str = "accuracy"
    chooses: bool = True


TASKS = {
    task.name: task
    for task in (
        Task("image_classification", "image-classification"),
        Task("text_classification", "text-classification"),
        Task("text_pair_classification", "text-classification"),
        Task("question_answering", "question-answering"),
        Task("tabular_classification", "tabular-classification"),
        Task("attribute_prediction", None, metric="loss"),
        Task("price_estimation", "tabular-regression", metric="mae"),
        Task("depth_estimation", "depth-estimation", metric="mae"),
        Task("text_generation", "text-generation", metric="perplexity"),
        Task("word_embedding", "feature-extraction", metric="loss"),
        Task("image_generation", "unconditional-image-generation", metric="critic_estimate", chooses=False),
    )
}


def task_of(name):
    """Returns the `Task` of a name.

    Raises:
        UnknownName: no task has this name; the message gives the nearest.
    """
    if name not in TASKS:
        raise unknown("task", name, TASKS)
    return TASKS[name]


def checked_heads(heads):
    """Returns heads, output name -> {"kind", "weight"}, checked and complete; None stays None.

    Raises:
        InvalidArgument: they are not such a table.
        UnknownName: a kind is not one of `HEAD_KINDS`.
    """
    if heads is None:
        return None
    complete = {}
    for name, head in heads.items():
        if not isinstance(head, dict) or not {"kind"} <= set(head) <= {"kind", "weight"}:
            raise invalid(f"head {name!r} must be a table of `kind` and `weight`", head)
        if head["kind"] not in HEAD_KINDS:
            raise unknown(f"kind of head {name!r}", head["kind"], HEAD_KINDS)
        weight = head.get("weight", 1.0)
        if isinstance(weight, bool) or not isinstance(weight, (int, float)):
            raise invalid(f"the weight of head {name!r} must be a number", weight)
        complete[name] = {"kind": head["kind"], "weight": float(weight)}
    return complete


def derived(task, row):
    """Returns the figures of an epoch that follow from its losses: perplexities, or a critic's estimates."""
    metric = task_of(task).metric
    losses = {part: row[f"{part}loss"] for part in ("", "val_") if f"{part}loss" in row}
    if metric == "perplexity":
        return {f"{part}{metric}": math.exp(min(loss, 700.0)) for part, loss in losses.items()}
    if metric == "critic_estimate":  # not the loss with its sign changed, which may hold a penalty too
        return {f"{part}{metric}": row[f"{part}real_loss"] - row[f"{part}fake_loss"] for part in losses}
    return {}


def figures(metrics):
    """Returns measured figures as (name, text) pairs, in words that people read: accuracies in percent."""
    return [(name.replace("_", " "), figure(name, value)) for name, value in metrics.items() if name != "examples"]


def figure(name, value):
    """Returns one measured figure as text."""
    if name.endswith(("accuracy", "exact_match")):
        return f"{value:.2%}"
    if name.endswith("perplexity"):
        return f"{value:.2f}"
    return f"{value:.4g}" if name.endswith(("mae", "rmse")) else f"{value:.4f}"


def sentence(metrics, task=None):
    """Returns measured figures in one line, the task's own first: "accuracy 92.61%, loss 0.2713"."""
    first = TASKS[task].metric if task in TASKS else "accuracy"
    order = sorted(metrics, key=lambda name: name != first)
    return ", ".join(f"{name} {text}" for name, text in figures({k: metrics[k] for k in order}))
