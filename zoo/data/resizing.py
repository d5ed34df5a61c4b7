"""Images in one array of another size than a model takes: resized as image files are, batch by batch."""

import numpy as np

from zoo.data import base, preprocessing


class ResizedSplit(base.Split):
    """Raw images of any size in one array, brought to the shape that a declaration names, as they are read.

    Each image goes the way of an image file (`zoo.data.images.decode_image`): grey becomes colours or colours become
    grey, then it is resized and cropped as declared. So its pixels are rounded to 8 bits.

    Args:
        x: array (n, H, W, C) of pixels of 0 to `maximum`, C 1, 3 or 4; may be memory-mapped.
        labels: integers (n,).
        maximum: of the pixels.
        declared: image declaration with a `resize`.
        rows: indices into `x` and `labels` of the examples that belong to this split; all by default.
    """

    def __init__(self, x, labels, maximum, declared, rows=None):
        self._x, self._all_labels, self._maximum, self._declared = x, np.asarray(labels), maximum, declared
        self._rows = np.arange(len(x)) if rows is None else np.asarray(rows, np.int64)
        super().__init__(self._all_labels[self._rows])

    def inputs(self, indices):
        from PIL import Image

        raw = self._x[self._rows[indices]]
        if self._maximum != 255 or raw.dtype != np.uint8:
            raw = np.clip(np.rint(raw * (255 / self._maximum)), 0, 255).astype(np.uint8)
        grey = raw.shape[-1] == 1
        images = [Image.fromarray(image[..., 0] if grey else image) for image in raw]
        return preprocessing.encode(self._declared, images)

    def subset(self, indices):
        rows = self._rows[np.asarray(indices, np.int64)]
        return ResizedSplit(self._x, self._all_labels, self._maximum, self._declared, rows)

    def digest(self, update):
        base.digest_rows("", self._x, self._rows, update)

    def read_as(self, declared):
        raw = {"image_shape": self._x.shape[1:], "maximum": self._maximum, "scale": 1.0}
        return base.ArraySplit(self._x, self._all_labels, raw, self._rows).read_as(declared)
