"""Evaluating and predicting with a trained model: raw input in, metrics or labelled predictions out."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from zoo.data import load_like
from zoo.data.checks import exclusive
from zoo.data.image_files import named_images
from zoo.data.preprocessing import encode, texts, word_ids
from zoo.errors import DataError, invalid, unknown
from zoo.measuring import log_probabilities, measure, measure_groups, outputs_of
from zoo.plan import heads_of
from zoo.robustness import attack_of, check_model, robust
from zoo.settings import whole
from zoo.spec import jsonable, spec_of

SPLITS = ("train", "validation", "test")
ELSEWHERE = {  # tasks whose models answer no question about an input
    "image_generation": "zoo.generate(model, count=16) draws from it (zoo generate).",
    "word_embedding": "zoo.nearest(model, word) finds related words (zoo words).",
}


@dataclass(frozen=True)
class Classes:
    """The classes that one output finds, most probable first: `top` holds (label, probability) pairs."""

    top: tuple

    @property
    def label(self):
        return self.top[0][0]

    @property
    def probability(self):
        return self.top[0][1]

    def __str__(self):
        return f"{self.label} ({self.probability:.1%})"


@dataclass(frozen=True)
class Answers(Classes):
    """The answers of one output to a yes/no question for each class: `top` as for `Classes`, each with a probability
    of its own; `found` holds the pairs of all classes answered by yes, which may be none.
    """

    found: tuple = ()

    def __str__(self):
        if not self.found:
            return f"none; nearest {super().__str__()}"
        return ", ".join(f"{label} ({share:.1%})" for label, share in self.found)


@dataclass(frozen=True)
class Number:
    """The number that one output estimates, in its unit; of several numbers, an array."""

    value: object
    unit: str = ""

    def __str__(self):
        if np.ndim(self.value):
            spread = f"{np.min(self.value):.4g} to {np.max(self.value):.4g}"
            return f"{'x'.join(map(str, np.shape(self.value)))} numbers, {spread} {self.unit}".strip()
        return f"{self.value:.4g} {self.unit}".strip()


@dataclass(frozen=True)
class Prediction:
    """What a model says about one input.

    Attributes:
        input: the path, text or number of the input.
        outputs: output name -> `Classes`, `Answers` or `Number`.
        label, probability, top: those of a model with one output of classes.
        found: that of a model with one output of several yes/no questions.
        value: that of a model with one output of numbers.
    """

    input: str
    outputs: dict

    def __getattr__(self, name):
        if name in ("label", "probability", "top", "found", "value") and len(self.outputs) == 1:
            return getattr(next(iter(self.outputs.values())), name)
        raise AttributeError(f"this prediction has no {name!r}; its outputs are {', '.join(self.outputs)}")

    def __str__(self):
        if len(self.outputs) == 1:
            return f"{self.input}: {next(iter(self.outputs.values()))}"
        return f"{self.input}: " + ", ".join(f"{name} {answer}" for name, answer in self.outputs.items())


def loaded(model):
    """Returns `model` if it is one, else the plain model that a reference, run or run folder names."""
    from zoo.hub import load

    return model if isinstance(model, keras.Model) else load(model)


def assets_of(model):
    """Returns the files that a loaded model's preprocessing needs, name -> bytes; none for a model built here."""
    origin = getattr(model, "zoo_origin", None)
    return origin.assets() if origin else {}


def evaluate(
    model, data, *, split="test", batch_size=64, limit=None, attack=None, seed=0, data_options=None, quiet=False
):
    """Measures a model on a data set, read with the model's own preprocessing.

    Args:
        model: a model, a reference, a `Run` or a run folder.
        data: a data set's name, a path, or a `zoo.data.base.Dataset`.
        split: "train", "validation" or "test".
        batch_size: examples at a time.
        limit: how many examples are used, the first of the split; None means all.
        attack: such as "pgd(steps=100, restarts=20, epsilon=0.3)", in the unit of pixels from 0 to 1: the accuracy
            under it is measured too, see `zoo.robustness`.
        seed: of an attack's random starts.
        data_options: options of the data set.
        quiet: whether an attack prints nothing.

    Returns:
        dict of `loss` (cross-entropy, whatever loss the recipe trained with), `accuracy` and `examples`; for other
        tasks see `zoo.measuring.measure`. Where the data's examples are of groups, such as `babi` of all tasks, also
        those of each, {"by_task": {"1": {"accuracy": 0.998, ...}, ...}}.

        Under an attack what `zoo.robustness.robust` returns.

    Raises:
        DataError: the data's task, labels or shapes are not the model's.
        InvalidArgument: the attack cannot be read or does not suit the model, or the limit is not positive.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if limit is not None and (type(limit) is not int or limit < 1):
        raise invalid("`limit` must be a positive whole number, or None", limit)
    seed, chosen = whole("seed", seed), attack_of(attack) if attack is not None else None
    found = loaded(model)
    spec = spec_of(found)
    if chosen is not None:
        check_model(found, chosen)  # before the data is read
    dataset = data_for(data, spec, assets_of(found), data_options)
    check_fit(spec, dataset)
    batch_size = spec.arguments.get("batch_size") or batch_size  # a state is carried for so many rows
    dataset = dataset.standardised_as(spec.labels)
    if spec.labels is not None and spec.labels != dataset.labels:
        raise DataError(
            f"the model's labels {jsonable(spec.labels)} are not those of {dataset.name}, {jsonable(dataset.labels)}. "
            f"Evaluate on data with the same classes in the same order, or fine-tune first."
        )
    examples = getattr(dataset, split)
    if limit is not None:
        examples = examples.subset(np.arange(min(limit, len(examples))))
    if chosen is not None:
        options = {"batch_size": batch_size, "seed": seed, "quiet": quiet}
        return robust(found, examples, dataset.preprocessing, chosen, **options)
    measured = measure(found, examples, batch_size, dataset.labels)
    return measured | measure_groups(found, examples, batch_size, dataset.labels)


def predict(model, inputs, *, top=3, batch_size=64, skip_bad=False):
    """Predicts labels or numbers for raw inputs: image files or arrays, texts, tables.

    Args:
        model: a model, a reference, a `Run` or a run folder; it must say how raw input is read, as a trained one does.
        inputs: one raw input, or a list of them: paths, arrays of raw pixels, strings; dicts for a model with several
            inputs, or of tables. A folder stands for the images in it. A language model says which words come next.
        top: how many classes each prediction lists.
        batch_size: inputs at a time.
        skip_bad: whether image files that cannot be read are left out with a warning, instead of refused together.

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
    if spec.task in ELSEWHERE:
        raise invalid(f"{spec.name} is for {spec.task.replace('_', ' ')}", works=ELSEWHERE[spec.task])
    items = [inputs] if isinstance(inputs, (str, Path, dict)) else list(inputs)
    if (spec.preprocessing or {}).get("kind") == "image":
        items = named_images(items, skip_bad)
    assets, predictions = assets_of(found), []
    heads = heads_of(found)
    labels = _labels_of(spec, heads, assets)
    if spec.task == "text_generation":
        from zoo.generation import Reader

        reader = Reader(found)
    for start in range(0, len(items), batch_size):
        part = items[start : start + batch_size]
        if spec.task == "text_generation":  # which reads texts word by word, from their beginning
            outputs = {heads[0].name: [reader.begin(text) for text in texts(part)]}
        else:
            outputs = outputs_of(found, encode(spec.preprocessing, part, assets))
        for row, item in enumerate(part):
            answers = {h.name: _answer(h.kind, outputs[h.name][row], labels.get(h.name), top) for h in heads}
            predictions.append(Prediction(_named(item, start + row), answers))
    return predictions


def _labels_of(spec, heads, assets):
    """Returns what each output's values mean, output name -> class names, or `Dataset.labels` of a number."""
    if isinstance(spec.labels, dict):
        return spec.labels
    if spec.task == "text_generation":
        return {heads[0].name: tuple(word_ids(spec.preprocessing, assets))}
    return {heads[0].name: spec.labels}


def _answer(kind, values, labels, top):
    if kind == "regression":
        scale = labels or {}
        numbers = values * scale.get("std", 1.0) + scale.get("mean", 0.0)
        return Number(float(numbers[0]) if numbers.shape == (1,) else numbers, scale.get("unit", ""))
    asked = kind == "sigmoid" and len(values) > 1
    probabilities = np.exp(-np.logaddexp(0.0, -values)) if asked else np.exp(log_probabilities(values))
    labels = labels or [str(i) for i in range(len(probabilities))]
    order = np.argsort(-probabilities, kind="stable")
    pairs = tuple((labels[i], float(probabilities[i])) for i in order)
    return Answers(pairs[:top], tuple(p for p in pairs if p[1] > 0.5)) if asked else Classes(pairs[:top])


def _named(item, number):
    if isinstance(item, dict):
        return ", ".join(f"{k}={v}" for k, v in item.items() if isinstance(v, (str, int, float, Path)))
    return str(item) if isinstance(item, (str, Path)) else f"input {number}"


def data_for(data, spec, assets, options=None):
    """Returns data, read with the preprocessing of a model of this spec and its assets, as that model takes it.

    Args:
        data, assets: as for `zoo.data.load_like`.
        spec: `Spec` of the model.
        options: dict, of the data set.

    Raises:
        As `zoo.data.load_like`.
    """
    return for_model(load_like(data, spec.preprocessing, assets, **(options or {})), spec)


def for_model(dataset, spec):
    """Returns the data as a model of this spec takes it.

    Pictures alone can also be what a generator learns to draw; words come with the neighbours and noise asked for;
    stories come in words or in sentences; several outputs of the same classes share the targets of one.
    """
    kinds = {head["kind"] for head in (spec.heads or {}).values()}
    alike = kinds in ({"softmax"}, {"sigmoid"})
    if len(spec.heads or ()) > 1 and alike and isinstance(dataset.labels, tuple):
        return dataset.shared_by(tuple(spec.heads))
    if spec.task == "image_generation" and dataset.task == "image_classification":
        from zoo.data.generation import for_generation

        return for_generation(dataset, spec.arguments["latent_dim"])
    if spec.task == dataset.task == "word_embedding":
        from zoo.data.word_pairs import for_word2vec

        return for_word2vec(dataset, spec)
    if dataset.preprocessing["kind"] == "passage":
        from zoo.data import passages

        return passages.for_model(dataset, spec.arguments)
    return dataset


def check_task(task, name, dataset):
    """Refuses a model of another task than the data's.

    Raises:
        DataError: naming both.
    """
    if task != dataset.task:
        works = f"For this data see zoo.list_models(task={dataset.task!r})."
        raise invalid(f"{name} is for {task}, and {dataset.name} is for {dataset.task}", works=works, error=DataError)


def check_targets(heads, dataset):
    """Refuses examples of several classes at once for a head that chooses one.

    Args:
        heads: the `zoo.plan.Head` of each output.
        dataset: as trained on.

    Raises:
        DataError: naming the trick that asks for each class.
    """
    for head in heads:
        labels = dataset.train.labels
        labels = labels.get(head.name) if isinstance(labels, dict) else labels
        if head.kind != "softmax" or labels is None or labels.ndim != 2 or labels.shape[1] != head.units:
            continue
        exclusive(labels, "train", head.name)


def check_fit(spec, dataset):
    """Refuses a model whose task, input or classes are not those of the data.

    Raises:
        DataError: naming both.
    """
    check_task(spec.task, spec.name, dataset)
    if len(spec.heads or ()) > 1 and isinstance(dataset.labels, tuple):
        raise DataError(
            f"{spec.name} has the outputs {', '.join(spec.heads)} and {dataset.name} has targets for one. "
            "Build it with one output, or give a Dataset whose targets and labels name each output."
        )
    wanted = dict(dataset.arguments)
    classes, outputs = wanted.pop("num_classes", None), spec.arguments.get("num_classes")
    if classes is not None and outputs != classes and not (outputs == 1 and classes == 2):
        raise DataError(
            f"{spec.name} has {outputs} outputs and {dataset.name} has {classes} classes. "
            f"Build it with num_classes={classes}."
        )
    for name, value in wanted.items():
        value = jsonable(value)
        if name in spec.arguments and spec.arguments[name] != value:
            raise DataError(
                f"{spec.name} was built with {name}={spec.arguments[name]} and {dataset.name} has {name}={value}. "
                f"Build it with {name}={value}, or read the data so."
            )
