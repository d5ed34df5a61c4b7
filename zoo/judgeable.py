"""Which models `zoo.judge` can judge and judge by, found out before anything is loaded. Imports no Keras."""

from pathlib import Path

from zoo.data.declarations import completed
from zoo.errors import invalid, unknown

SPLITS = ("train", "validation", "test")


def check_settings(samples, seed, threshold, split, batch_size, picture):
    """Refuses numbers, words and paths that cannot work.

    Raises:
        InvalidArgument: naming the one.
    """
    for name, value, least in (("samples", samples, 2), ("batch_size", batch_size, 1)):
        if type(value) is not int or value < least:
            raise invalid(f"`{name}` must be a whole number of at least {least}", value)
    if type(seed) is not int or seed < 0:
        raise invalid("`seed` must be a whole number that is not negative", seed)
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 < threshold < 1:
        raise invalid("`threshold` must be a probability between 0 and 1", threshold, "0.9 is usual.")
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if picture is None:
        return
    if Path(picture).suffix.lower() != ".png":
        raise invalid("the picture is a PNG file", str(picture), "Write samples.png, for example.")
    if not Path(picture).absolute().parent.is_dir():
        raise invalid("the folder of the picture does not exist", str(picture), "Make it first.")


def check_models(generator, classifier):
    """Refuses models that make no images, classify none, or do so of images of different sizes.

    Args:
        generator, classifier: a `zoo.spec.Spec` each.

    Raises:
        InvalidArgument: naming what does not fit.
    """
    if generator.task != "image_generation":
        task = generator.task.replace("_", " ")
        works = "zoo.list_models(task='image_generation') names generators; what they are judged by comes second."
        raise invalid(f"{generator.name} is for {task} and draws no images to judge", works=works)
    if classifier.task != "image_classification" or classifier.arguments.get("include_top") is False:
        works = "zoo.list_weights(task='image_classification') names trained classifiers."
        raise invalid(f"{classifier.name} does not classify images and cannot judge any", classifier.task, works)
    for spec in (generator, classifier):
        declared = completed(spec.preprocessing or {})
        if declared.get("kind") != "image" or declared["maximum"] is None:
            works = "Give a trained one: a run folder, a reference, or what zoo.load returned."
            raise invalid(f"{spec.name} does not say which numbers are black and white", spec.preprocessing, works)
    ours, theirs = (tuple(spec.preprocessing["image_shape"]) for spec in (generator, classifier))
    if ours != theirs:
        wrong = f"{generator.name} draws images of {_size(ours)}, and {classifier.name} reads images of {_size(theirs)}"
        raise invalid(wrong, works="Judge by a classifier of such images: train one on the generator's data.")


def _size(shape):
    height, width, channels = shape
    return f"{height} x {width} pixels in {channels} channel{'s' if channels > 1 else ''}"
