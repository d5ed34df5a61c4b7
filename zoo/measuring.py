"""What a model's outputs are worth on a split: loss and figures of every kind of head."""

import math

import keras
import numpy as np

from zoo.plan import by_name, heads_of
from zoo.quiet import no_retracing_notice
from zoo.recurrent_state import carrying, reset_states


def measure(model, split, batch_size, labels=None):
    """Returns the loss, the figures and the number of examples of a split; the recipe's own loss plays no part.

    Args:
        model: a `keras.Model` of zoo's.
        split: a `zoo.data.base.Split`.
        batch_size: examples at a time.
        labels: as `Dataset.labels`; a number is measured in its unit.

    Returns:
        dict. For one classification head `loss` (cross-entropy) and `accuracy`, and `perplexity` of a sequence; for
        several yes/no questions `loss` (their cross-entropies, added up), `accuracy` and, with targets (n, C),
        `exact_match`, see `_Answers`; for a number `loss` (squared error, standardised), `mae` and `rmse` (in the
        number's unit); for one against noise `loss` and `accuracy` (how often the true one scores highest); for a
        critic `critic_estimate`, the distance it sees between real and generated. Of several heads `loss` is the
        weighted sum, and each figure is named `<head>_<figure>`. `examples` counts what was averaged over: rows, or
        steps of a sequence.
    """
    heads = heads_of(model)
    meters = {h.name: _meter(h)((labels or {}).get(h.name) if isinstance(labels, dict) else None) for h in heads}
    split, model = split.for_batches(batch_size), carrying(model)
    reset_states(model)
    for start in range(0, len(split), batch_size):
        x, y = split.batch(np.arange(start, min(start + batch_size, len(split))))
        for name, values in outputs_of(model, x).items():
            meters[name].add(values, y[name] if isinstance(y, dict) else y)
    reset_states(model)
    if len(heads) == 1:
        return meters[heads[0].name].figures()
    found = {name: meter.figures() for name, meter in meters.items()}
    joined = {"loss": sum(h.weight * found[h.name]["loss"] for h in heads)}
    if all(h.kind == "critic" for h in heads):
        joined["critic_estimate"] = -joined["loss"]
    else:
        for name, row in found.items():
            joined |= {f"{name}_{k}": v for k, v in row.items() if k != "examples"}
    return joined | {"examples": found[heads[0].name]["examples"]}


def measure_groups(model, split, batch_size, labels=None):
    """Measures each group of a split's examples, such as its tasks, as `measure` does all.

    Returns:
        dict, "by_<what>" -> group as text -> figures, such as {"by_task": {"1": {"loss": 0.01, "accuracy": 0.998,
        "examples": 1000}, ...}}; empty where the examples are of no groups.
    """
    return {
        f"by_{what}": {
            str(group): measure(model, split.subset(np.flatnonzero(of == group)), batch_size, labels)
            for group in np.unique(of)
        }
        for what, of in (split.groups or {}).items()
    }


def outputs_of(model, x):
    """Returns the outputs of a batch, output name -> float64 array."""
    with no_retracing_notice():
        found = by_name(model, model.predict_on_batch(x))
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def log_probabilities(logits):
    """Returns the log-probabilities over the last axis; a single logit is read as that of the second of two classes."""
    if logits.shape[-1] == 1:  # a sigmoid is a softmax over (0, logit)
        logits = np.concatenate([np.zeros_like(logits), logits], axis=-1)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def are_targets(targets, logits):
    """Says whether targets are a share for each class, (N, C), and no class numbers."""
    return targets.ndim == 2 and targets.shape == logits.shape and targets.shape[-1] > 1


class _Classes:
    """Cross-entropy and accuracy of logits (N, C), or of each step of a sequence (N, T, C).

    Of targets (N, C) the right class is the one with the greatest share.
    """

    def __init__(self, labels):
        self.loss, self.right, self.count, self.steps = 0.0, 0, 0, False

    def add(self, logits, targets):
        self.steps = logits.ndim > 2
        log_p = log_probabilities(logits).reshape(-1, max(2, logits.shape[-1]))
        targets = np.asarray(targets)
        if are_targets(targets, logits):
            self.loss -= float((targets * log_p).sum())
            targets = targets.argmax(axis=-1)
        else:
            targets = targets.reshape(-1).astype(np.int64)
            self.loss -= float(log_p[np.arange(len(targets)), targets].sum())
        self.right += int((log_p.argmax(axis=1) == targets).sum())
        self.count += len(targets)

    def figures(self):
        loss = self.loss / self.count
        more = {"perplexity": math.exp(min(loss, 700.0))} if self.steps else {}
        return {"loss": loss, "accuracy": self.right / self.count, **more, "examples": self.count}


class _Answers:
    """Cross-entropies, added up, and accuracy of the logits (N, C) of C independent yes/no questions.

    For class numbers (N,), `accuracy` is how often the right class has the highest logit. For targets (N, C) it is
    the share of the N C answers that are right, yes being a logit above 0, and `exact_match` the share of examples
    whose C answers all are.
    """

    def __init__(self, labels):
        self.loss, self.right, self.exact, self.count, self.asked = 0.0, 0.0, 0, 0, False

    def add(self, logits, targets):
        targets = np.asarray(targets)
        self.asked = are_targets(targets, logits)
        if self.asked:
            right = (logits > 0) == (targets > 0.5)
            self.right += float(right.mean(axis=1).sum())
            self.exact += int(right.all(axis=1).sum())
        else:
            numbers = targets.reshape(-1).astype(np.int64)
            self.right += int((logits.argmax(axis=1) == numbers).sum())
            targets = np.eye(logits.shape[1])[numbers]
        self.loss += float((np.logaddexp(0.0, logits) - targets * logits).sum())
        self.count += len(logits)

    def figures(self):
        more = {"exact_match": self.exact / self.count} if self.asked else {}
        return {"loss": self.loss / self.count, "accuracy": self.right / self.count, **more, "examples": self.count}


class _Numbers:
    """Squared and absolute errors of standardised numbers, the latter in their unit."""

    def __init__(self, labels):
        self.unit = float((labels or {}).get("std", 1.0))
        self.squares, self.absolute, self.values, self.count = 0.0, 0.0, 0, 0

    def add(self, values, targets):
        error = values - np.asarray(targets, np.float64).reshape(values.shape)
        self.squares += float(np.square(error).sum())
        self.absolute += float(np.abs(error).sum())
        self.values += error.size
        self.count += len(values)

    def figures(self):
        loss = self.squares / self.values
        mae = self.unit * self.absolute / self.values
        return {"loss": loss, "mae": mae, "rmse": self.unit * math.sqrt(loss), "examples": self.count}


class _Candidates:
    """Loss of one true candidate, column 0, against noise, and how often it scores highest."""

    def __init__(self, labels):
        self.loss, self.right, self.count = 0.0, 0, 0

    def add(self, logits, targets):
        signed = np.concatenate([-logits[:, :1], logits[:, 1:]], axis=1)
        self.loss += float(np.logaddexp(0.0, signed).sum())
        self.right += int((logits[:, :1] > logits[:, 1:]).all(axis=1).sum())
        self.count += len(logits)

    def figures(self):
        return {"loss": self.loss / self.count, "accuracy": self.right / self.count, "examples": self.count}


class _Scores:
    """The mean score that a critic gives."""

    def __init__(self, labels):
        self.total, self.count = 0.0, 0

    def add(self, scores, targets):
        self.total += float(scores.sum())
        self.count += len(scores)

    def figures(self):
        return {"loss": self.total / self.count, "examples": self.count}


METERS = {
    "softmax": _Classes,
    "sigmoid": _Classes,
    "regression": _Numbers,
    "candidates": _Candidates,
    "critic": _Scores,
}


def _meter(head):
    return _Answers if head.kind == "sigmoid" and head.units > 1 else METERS[head.kind]


class ResetStates(keras.callbacks.Callback):
    """Starts every pass over the data, in training and in validation, from zero state."""

    def on_epoch_begin(self, epoch, logs=None):
        reset_states(self.model)

    def on_test_begin(self, logs=None):
        reset_states(self.model)
