"""Evaluating and predicting with a trained model: raw input in, metrics or labelled predictions out."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from zoo.data import load_like
from zoo.data.preprocessing import encode
from zoo.errors import DataError, invalid, unknown
from zoo.quiet import no_retracing_notice
from zoo.spec import spec_of

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Prediction:
    """What a model says about one input.

    Attributes:
        input: the path, text or number of the input.
        label: the most probable class.
        probability: of that class.
        top: (label, probability) pairs, most probable first.
    """

    input: str
    label: str
    probability: float
    top: tuple

    def __str__(self):
        return f"{self.input}: {self.label} ({self.probability:.1%})"


def loaded(model):
    """Returns `model` if it is one, else the plain model that a reference, run or run folder names."""
    from zoo.hub import load

    return model if isinstance(model, keras.Model) else load(model)


def assets_of(model):
    """Returns the files that a loaded model's preprocessing needs, name -> bytes; none for a model built here."""
    origin = getattr(model, "zoo_origin", None)
    return origin.assets() if origin else {}


def evaluate(model, data, *, split="test", batch_size=64, data_options=None):
    """Measures a model on a data set, read with the model's own preprocessing.

    Args:
        model: a model, a reference, a `Run` or a run folder.
        data: a data set's name, a path, or a `zoo.data.base.Dataset`.
        split: "train", "validation" or "test".
        batch_size: examples at a time.
        data_options: options of the data set.

    Returns:
        dict of `loss` (cross-entropy, whatever loss the recipe trained with), `accuracy` and `examples`.

    Raises:
        DataError: the data's task, labels or shapes are not the model's.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    found = loaded(model)
    spec = spec_of(found)
    dataset = load_like(data, spec.preprocessing, assets_of(found), **(data_options or {}))
    check_fit(spec, dataset)
    if spec.labels is not None and tuple(spec.labels) != tuple(dataset.labels):
        raise DataError(
            f"the model's labels {list(spec.labels)} are not those of {dataset.name}, {list(dataset.labels)}. Evaluate "
            f"on data with the same classes in the same order, or fine-tune first."
        )
    return measure(found, getattr(dataset, split), batch_size)


def measure(model, split, batch_size):
    """Returns cross-entropy, accuracy and number of examples of a split; the recipe's own loss plays no part.

    Args:
        model: a `keras.Model` with one output of logits.
        split: a `zoo.data.base.Split`.
        batch_size: examples at a time.
    """
    loss, right = 0.0, 0
    for start in range(0, len(split), batch_size):
        x, y = split.batch(np.arange(start, min(start + batch_size, len(split))))
        log_p = _log_probabilities(model, x)
        loss -= float(log_p[np.arange(len(y)), y].sum())
        right += int((log_p.argmax(axis=1) == y).sum())
    return {"loss": loss / len(split), "accuracy": right / len(split), "examples": len(split)}


def _log_probabilities(model, x):
    """Returns the log-probabilities of each class, float64 (B, C); one logit is read as that of the second of two."""
    with no_retracing_notice():
        logits = np.asarray(model.predict_on_batch(x), np.float64)
    if logits.shape[1] == 1:  # a sigmoid is a softmax over (0, logit)
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def predict(model, inputs, *, top=3, batch_size=64):
    """Predicts labels for raw inputs: image files or arrays, texts.

    Args:
        model: a model, a reference, a `Run` or a run folder; it must say how raw input is read, as a trained one does.
        inputs: one raw input, or a list of them: paths, arrays of raw pixels, strings.
        top: how many classes each prediction lists.
        batch_size: inputs at a time.

    Returns:
        A list of `Prediction`, in the order of the inputs.

    Raises:
        DataError: an input cannot be read, or has the wrong kind or size.
        InvalidArgument: the model declares no preprocessing.
    """
    if type(top) is not int or top < 1:
        raise invalid("`top` must be a positive whole number", top)
    found = loaded(model)
    spec = spec_of(found)
    items = [inputs] if isinstance(inputs, (str, Path)) else list(inputs)
    assets, predictions = assets_of(found), []
    for start in range(0, len(items), batch_size):
        part = items[start : start + batch_size]
        log_p = _log_probabilities(found, encode(spec.preprocessing, part, assets))
        for number, (item, row) in enumerate(zip(part, np.exp(log_p), strict=True), start=start):
            predictions.append(_prediction(item, number, row, spec.labels, top))
    return predictions


def _prediction(item, number, probabilities, labels, top):
    labels = labels or [str(i) for i in range(len(probabilities))]
    order = np.argsort(-probabilities, kind="stable")[:top]
    best = tuple((labels[i], float(probabilities[i])) for i in order)
    name = str(item) if isinstance(item, (str, Path)) else f"input {number}"
    return Prediction(name, best[0][0], best[0][1], best)


def check_task(task, name, dataset):
    """Refuses a model of another task than the data's.

    Raises:
        DataError: naming both.
    """
    if task != dataset.task:
        works = f"For this data see zoo.list_models(task={dataset.task!r})."
        raise invalid(f"{name} is for {task}, and {dataset.name} is for {dataset.task}", works=works, error=DataError)


def check_fit(spec, dataset):
    """Refuses a model whose task, input or classes are not those of the data.

    Raises:
        DataError: naming both.
    """
    check_task(spec.task, spec.name, dataset)
    wanted = dict(dataset.arguments)
    classes, outputs = wanted.pop("num_classes"), spec.arguments.get("num_classes")
    if outputs != classes and not (outputs == 1 and classes == 2):
        raise DataError(
            f"{spec.name} has {outputs} outputs and {dataset.name} has {classes} classes. "
            f"Build it with num_classes={classes}."
        )
    for name, value in wanted.items():
        value = list(value) if isinstance(value, tuple) else value
        if name in spec.arguments and spec.arguments[name] != value:
            raise DataError(
                f"{spec.name} was built with {name}={spec.arguments[name]} and {dataset.name} has {name}={value}. "
                f"Build it with {name}={value}, or read the data so."
            )
