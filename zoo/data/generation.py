"""Any image data as what an image generator learns from: pictures from -1 to 1, and noise to draw others from."""

import numpy as np

from zoo.data.base import Split
from zoo.data.declarations import completed
from zoo.errors import DataError, worded

_FIXED, _EPOCH = 0, 1  # which stream an example's noise comes from


class GenerationSplit(Split):
    """The pictures of a split, each with noise.

    Here the noise of an example is always the same; `at_epoch` gives each training epoch its own. Inputs are
    {"image": float32 (b, H, W, C), "noise": float32 (b, latent_dim)}, targets zeros for "real" and "fake", (b, 1),
    which a critic's loss does not read.

    Args:
        images: a split whose pictures are as the model takes them.
        latent_dim: numbers of noise for one image.
        stream: integers that, with the place of an example, decide its noise.
    """

    def __init__(self, images, latent_dim, stream=(_FIXED,)):
        zeros = np.zeros((len(images), 1), np.float32)
        super().__init__({"real": zeros, "fake": zeros})
        self.images, self.latent_dim, self.stream = images, latent_dim, stream

    def inputs(self, indices):
        return {"image": self.images.inputs(indices), "noise": noise_of(indices, self.latent_dim, self.stream)}

    def at_epoch(self, seed, epoch):
        return GenerationSplit(self.images, self.latent_dim, (_EPOCH, seed, epoch))

    def subset(self, indices):
        return GenerationSplit(self.images.subset(indices), self.latent_dim, self.stream)

    def read_as(self, declared):
        return GenerationSplit(self.images.read_as(declared), self.latent_dim, self.stream)

    def digest(self, update):
        update(f"noise {self.latent_dim} {self.stream}".encode())
        self.images.digest(update)


def noise_of(indices, latent_dim, stream):
    """Returns standard normal noise, float32 (b, latent_dim), a row for each index, whatever the others are."""
    rows = [np.random.default_rng([int(i), *stream]).standard_normal(latent_dim, np.float32) for i in indices]
    return np.stack(rows) if rows else np.zeros((0, latent_dim), np.float32)


def for_generation(dataset, latent_dim):
    """Returns image data for a model that learns to draw its like; classes are left out.

    Args:
        dataset: a `zoo.data.base.Dataset` of pictures, whatever their classes.
        latent_dim: numbers of noise that the model makes an image from.

    Returns:
        A `Dataset` for image_generation whose pictures run from -1 (black) to 1 (white).

    Raises:
        DataError: the data are no pictures, or nobody declared the range of their pixels.
    """
    declared = completed(dataset.preprocessing or {})
    if dataset.task == "image_generation":
        return dataset
    if declared.get("kind") != "image":
        works = "Give pictures, such as the data set 'mnist' or a folder of image files."
        wrong = f"data set {dataset.name!r} holds no pictures to learn from"
        raise DataError(worded(wrong, received=dataset.task, works=works))
    if declared["maximum"] is None:
        works = "Scale them to whole numbers of 0 to 255."
        raise DataError(worded(f"the range of the pixels of {dataset.name!r} is not known", works=works))
    middle = [declared["maximum"] * declared["scale"] / 2] * declared["image_shape"][-1]
    centred = dataset.preprocessing | {"mean": middle, "std": middle}  # no more than was said: records are of that
    splits = {k: GenerationSplit(split.read_as(centred), latent_dim) for k, split in dataset.splits.items()}
    return dataset.but(
        task="image_generation",
        labels=None,
        preprocessing=centred,
        arguments_given={"image_shape": tuple(declared["image_shape"]), "latent_dim": latent_dim},
        **splits,
    )
