"""Judging a generator of images by a trained classifier: how many of its samples are what they should be.

Every figure stands beside the same figure of real examples, which the classifier is not always sure of either.
"""

import contextlib
import dataclasses
import json
from dataclasses import dataclass

import keras
import numpy as np

from zoo.backbones import POOL, features
from zoo.cache import progress
from zoo.data import names as datasets
from zoo.data import preprocessing
from zoo.errors import DataError, UnknownName, invalid
from zoo.generating import drawn, generator_in
from zoo.inference import assets_of, check_fit, data_for, loaded
from zoo.judgeable import check_models, check_settings
from zoo.judging_picture import Extremes, save_extremes
from zoo.plan import by_name, heads_of
from zoo.quiet import no_retracing_notice
from zoo.runs import RUN
from zoo.sample_quality import Figures, Tally
from zoo.spec import jsonable, spec_of

SAMPLES, THRESHOLD = 10_000, 0.9
BESIDE = {"train": "validation", "validation": "train", "test": "validation"}  # what each part is held against itself


@dataclass(frozen=True)
class Judgement:
    """What a classifier says about a generator's samples, and about real examples.

    Attributes:
        generator, classifier: as they were given: references, folders or names.
        seed: of the samples.
        threshold: probability from which on an answer is confident.
        data, split, fingerprint: the real examples.
        labels: the class names.
        features: what the Frechet distance is between, such as "pool (144)".
        made: `zoo.sample_quality.Figures` of the samples.
        real: the same of the real examples; its distance is that of `beside`, another part of the same data.
        beside: name of that part.
        notes: what to bear in mind, sentences.
        picture: the file written, or None.
    """

    generator: str
    classifier: str
    seed: int
    threshold: float
    data: str
    split: str
    fingerprint: str
    labels: tuple
    features: str
    made: Figures
    real: Figures
    beside: str
    notes: tuple = ()
    picture: str | None = None

    @property
    def sentence(self):
        """The main figures in one line."""
        made, real = self.made, self.real
        return (
            f"{made.confident_share:.2%} of {made.images:,} samples are confident (real: {real.confident_share:.2%}), "
            f"{made.classes_present} of {len(self.labels)} classes present, Inception Score {made.inception_score:.2f} "
            f"(real: {real.inception_score:.2f}), Frechet distance {made.frechet_distance:.4g}"
        )

    def to_json(self):
        """Returns everything as a dict that `json.dumps` takes."""
        return jsonable(dataclasses.asdict(self))


def judge(
    generator,
    classifier,
    *,
    samples=SAMPLES,
    seed=0,
    threshold=THRESHOLD,
    data=None,
    split="test",
    data_options=None,
    picture=None,
    batch_size=100,
    quiet=False,
):
    """Draws samples, has a classifier say what they are, and does the same with real examples.

    The samples become whole numbers of 0 to 255, as in the pictures of `zoo.generate`, and then the classifier's input
    by its own preprocessing. docs/judging.md defines every figure.

    Args:
        generator: a model for image_generation, a reference, a `Run` or a run folder.
        classifier: the same, for image_classification, on images of the same height, width and channels.
        samples: how many to draw; the Frechet distance of few is too large, so compare equal numbers only.
        seed: of the noise; `zoo.generate` draws the same images from it.
        threshold: probability of the best class from which on an answer is confident.
        data: real examples: a data set's name, a path or a `Dataset`. None takes the named data set that the
            generator, or else the classifier, was trained on.
        split: "train", "validation" or "test"; choose between generators by "validation".
        data_options: options of the data set.
        picture: PNG file of the most and the least confident samples of each class, or None.
        batch_size: images at a time.
        quiet: whether to show no progress.

    Returns:
        A `Judgement`.

    Raises:
        InvalidArgument: a model is for another task, a number is out of range, or the images are of different sizes.
        DataError: the real examples cannot be read, or have other classes than the classifier.
    """
    check_settings(samples, seed, threshold, split, batch_size, picture)
    makes, judges = loaded(generator), loaded(classifier)
    check_models(spec_of(makes), spec_of(judges))
    generator_in(makes)
    head = _head(judges)
    dataset = _real(data, (makes, judges), data_options)
    labels = _labels(spec_of(judges), head, dataset)
    answers, where = _answering(judges, head)
    declared = spec_of(judges).preprocessing

    made, real, beside, extremes = Tally(threshold), Tally(threshold), Tally(threshold), Extremes()
    parts = [(dataset.splits[name], tally) for name, tally in ((split, real), (BESIDE[split], beside))]
    beside_size = min(len(parts[1][0]), max(samples, len(parts[0][0])))
    total = samples + len(parts[0][0]) + beside_size
    with progress("judging", total, quiet, of_bytes=False) as advance:
        for images in drawn(makes, samples, seed, batch_size):
            found = made.add(*answers(preprocessing.encode_pixels(declared, images)))
            extremes.add(images, *found)
            advance(len(images))
        for (part, tally), size in zip(parts, (len(parts[0][0]), beside_size), strict=True):
            for start in range(0, size, batch_size):
                x, y = part.batch(np.arange(start, min(start + batch_size, size)))
                tally.add(*answers(x), y[head] if isinstance(y, dict) else y)
                advance(len(x))
    figures = made.figures(real.features)
    if picture is not None:
        save_extremes(extremes, labels, figures.shares, picture)
    return Judgement(
        generator=_named(generator),
        classifier=_named(classifier),
        seed=seed,
        threshold=threshold,
        data=dataset.name,
        split=split,
        fingerprint=dataset.fingerprint,
        labels=labels,
        features=where,
        made=figures,
        real=real.figures(beside.features),
        beside=BESIDE[split],
        notes=_notes(made, real, beside),
        picture=None if picture is None else str(picture),
    )


# Before anything is drawn


def _named(source):
    return str(getattr(source, "folder", getattr(source, "name", source)))


def _head(model):
    """Returns the name of the classifier's head.

    Raises:
        InvalidArgument: it does not choose one class of an image.
    """
    heads = {head.name: head for head in heads_of(model)}
    name = "logits" if "logits" in heads else next(iter(heads))  # beside it an Inception has heads for training
    head = heads[name]
    if head.kind != "softmax" and head.units != 1:
        works = "Judge by a model whose classes exclude each other, with a softmax head."
        wrong = f"{spec_of(model).name} answers each class by itself"
        raise invalid(wrong, f"{head.units} {head.kind} outputs", works)
    return name


def _real(data, models, data_options):
    """Returns the real examples as the classifier reads them, the second of the models."""
    options, judges = dict(data_options or {}), models[1]
    if data is None:
        data = next(filter(None, map(_trained_on, models)), None)
        if data is None:
            works = "Name the real data: data='mnist', or a path (--data)."
            raise invalid("neither model says which registered data set it was trained on", works=works)
    spec = spec_of(judges)
    dataset = data_for(data, spec, assets_of(judges), options)
    check_fit(spec, dataset)
    return dataset


def _trained_on(model):
    """Returns the name of the registered data set that the record beside a model's weights tells, or None."""
    origin = getattr(model, "zoo_origin", None)
    try:
        name = json.loads((origin.folder / RUN).read_text("utf-8"))["data"]["name"]
    except (AttributeError, OSError, ValueError, LookupError, TypeError):
        return None  # built here, or published without its record
    return name if name in {row.name for row in datasets()} else None


def _labels(spec, head, dataset):
    """Returns the class names.

    Raises:
        DataError: the classifier's are not those of the data.
    """
    ours, theirs = (found.get(head) if isinstance(found, dict) else found for found in (spec.labels, dataset.labels))
    if ours is not None and ours != theirs:
        works = "Give data with the same classes in the same order, or a classifier of these."
        wrong = f"the classes of {spec.name} are not those of {dataset.name}"
        raise invalid(wrong, (jsonable(ours), jsonable(theirs)), works, DataError)
    return tuple(map(str, theirs))


# Answers


def _answering(model, head):
    """Returns `(function of a batch -> its logits and features, what the features are)`.

    The features are those that the logits are made of; the logits themselves where a model has none.
    """
    logits = by_name(model, model.output)[head]
    found = {}
    with contextlib.suppress(UnknownName):
        found = by_name(stages := features(model), stages.output)
    pooled = found.get(POOL, found.get(f"{POOL}_{head}", logits))
    where = f"{'logits' if pooled is logits else POOL} ({pooled.shape[-1]})"
    both = keras.Model(model.input, {"logits": logits, "features": pooled})

    def answers(x):
        with no_retracing_notice():
            out = both.predict_on_batch(x)
        return out["logits"], out["features"]

    return answers, where


def _notes(made, real, beside):
    width = len(made.features.mean)
    few = [f"{tally.features.count:,} {name}" for name, tally in (("samples", made), ("real examples", real))
           if tally.features.count <= width]  # fmt: skip
    found = []
    if few:
        found.append(
            f"{' and '.join(few)} are too few for the covariance of {width:,} features: the Frechet distance is "
            "larger than it would be of many."
        )
    if beside.features.count < real.features.count:
        counts = f"{beside.features.count:,} examples"
        found.append(f"The real data's own distance is that of {counts}; fewer make it larger.")
    return tuple(found)
