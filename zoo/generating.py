"""Pictures from the generator inside a model: as arrays, as a grid in one file, and one such grid for each epoch."""

import io
import math
from pathlib import Path

import keras
import numpy as np
from PIL import Image

from zoo.averages import averaged_weights
from zoo.errors import invalid
from zoo.files import write_atomic
from zoo.layers.ends import positive

LATEST = "latest.png"
_SHOWN = 56  # pixels to which smaller images are enlarged, by a whole factor
_GAP = 2


def generate_images(model, count=16, seed=0, *, batch_size=64):
    """Draws images from a model whose nested model "generator" makes them of noise.

    Args:
        model: a `keras.Model` for image_generation, such as `zoo.build("wgan")`.
        count: how many.
        seed: of the noise; the first images of a larger count are the same.
        batch_size: images at a time.

    Returns:
        uint8 (count, H, W, C).

    Raises:
        InvalidArgument: the model has no generator, or `count` is not a positive whole number.
    """
    positive(count=count, batch_size=batch_size)
    return np.concatenate(list(drawn(model, count, seed, batch_size)))


def generator_in(model):
    """Returns the nested model "generator".

    Raises:
        InvalidArgument: there is none.
    """
    found = next((layer for layer in model.layers if layer.name == "generator"), None)
    if found is None:
        works = 'zoo.list_models(task="image_generation") names models that do.'
        raise invalid(f"model {model.name!r} does not generate images", works=works)
    return found


def drawn(model, count, seed=0, batch_size=64):
    """Yields what `generate_images` returns in batches, so that no more than one of them is in memory."""
    generator, random = generator_in(model), np.random.default_rng(seed)
    for start in range(0, count, batch_size):
        size = min(batch_size, count - start)
        noise = random.standard_normal((size, generator.input_shape[-1]), np.float32)
        made = keras.ops.convert_to_numpy(generator(keras.ops.convert_to_tensor(noise), training=False))
        yield np.clip(np.rint((made + 1.0) * 127.5), 0, 255).astype(np.uint8)


def save_grid(images, path):
    """Writes images side by side, as square a grid as they fill, to a PNG file. Returns the path.

    Args:
        images: uint8 (n, H, W, C), C of 1 or 3; small ones are enlarged.
        path: of the file.

    Raises:
        InvalidArgument: `images` are not such an array.
        StoreError: the file cannot be written.
    """
    images = np.asarray(images)
    if images.ndim != 4 or images.dtype != np.uint8 or not len(images) or images.shape[-1] not in (1, 3):
        shown = f"{images.dtype} {images.shape}"
        raise invalid("a grid is made of images, uint8 (n, H, W, 1) or (n, H, W, 3)", shown)
    factor = max(1, _SHOWN // max(images.shape[1:3]))
    images = images.repeat(factor, axis=1).repeat(factor, axis=2)
    count, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, channels), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = (_GAP + n * (size + _GAP) for n, size in zip(divmod(i, columns), (height, width), strict=True))
        sheet[top : top + height, left : left + width] = image
    picture = io.BytesIO()
    Image.fromarray(sheet[..., 0] if channels == 1 else sheet).save(picture, format="PNG")
    return write_atomic(Path(path), picture.getvalue())


class SampleGrid(keras.callbacks.Callback):
    """Writes `epoch_001.png`, `epoch_002.png`, ... and `latest.png`: images from the same noise after each epoch.

    The images are those of the weights that the run keeps: the averaged ones where the optimizer averages.

    Args:
        folder: where to; it is made.
        count: images in a grid.
        seed: of the noise.
    """

    def __init__(self, folder, count=64, seed=0):
        super().__init__()
        self.folder, self.count, self.seed = Path(folder), count, seed

    def on_epoch_end(self, epoch, logs=None):
        with averaged_weights(self.model):
            images = generate_images(self.model, self.count, self.seed)
        self.folder.mkdir(parents=True, exist_ok=True)
        save_grid(images, self.folder / f"epoch_{epoch + 1:03d}.png")
        save_grid(images, self.folder / LATEST)
