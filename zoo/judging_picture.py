"""The surest and the least sure samples of each class, as a picture: one row a class."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from zoo.files import write_atomic

COLUMNS = 6  # samples on either side
_ROWS = 20  # most classes shown
_SIDE, _GAP, _MIDDLE, _TEXT, _MARGIN = 56, 2, 24, 14, 8


class Extremes:
    """Keeps, of samples that come batch by batch, the surest and the least sure of each class.

    Args:
        count: how many of each kind and class.
    """

    def __init__(self, count=COLUMNS):
        self.count, self.surest, self.least = count, {}, {}

    def add(self, images, answers, probabilities):
        """Looks at a batch: images (n, H, W, C), class numbers (n,), probabilities (n,)."""
        for number in np.unique(answers):
            rows = np.flatnonzero(answers == number)
            for kept, sign in ((self.surest, -1), (self.least, 1)):
                order = rows[np.argsort(sign * probabilities[rows], kind="stable")[: self.count]]
                found = kept.get(number, []) + [(float(probabilities[i]), images[i].copy()) for i in order]
                kept[number] = sorted(found, key=lambda pair: sign * pair[0])[: self.count]


def save_extremes(extremes, labels, shares, path):
    """Draws each class in a row: its surest samples on the left, its least sure on the right, the surest first.

    Args:
        extremes: an `Extremes`.
        labels: the class names.
        shares: of each class among the samples; of more than 20 classes the most frequent are shown.
        path: of the PNG file.

    Returns:
        Its `Path`.

    Raises:
        StoreError: it cannot be written.
    """
    shown = sorted(sorted(range(len(labels)), key=lambda i: -shares[i])[:_ROWS])
    font = ImageFont.load_default(_TEXT)
    size = _shown_size(next(iter(extremes.surest.values()))[0][1])
    width, height = size[0] + _GAP, max(size[1] + _GAP, _TEXT + 4)
    names = [f"{labels[i]}  {shares[i]:.1%}" for i in shown]
    left = _MARGIN + round(max(font.getlength(text) for text in names)) + _MARGIN
    right = left + COLUMNS * width + _MIDDLE
    top = _TEXT + 2 * _MARGIN
    sheet = Image.new("RGB", (right + COLUMNS * width + _MARGIN, top + len(shown) * height + _MARGIN), "white")
    draw = ImageDraw.Draw(sheet)
    for x, text in ((left, "most confident"), (right, "least confident")):
        draw.text((x, _MARGIN - 2), text, fill="black", font=font)
    for row, (number, name) in enumerate(zip(shown, names, strict=True)):
        y = top + row * height
        draw.text((_MARGIN, y + (size[1] - _TEXT) // 2 - 2), name, fill="black", font=font)
        sides = (left, extremes.surest.get(number, [])), (right, extremes.least.get(number, [])[::-1])
        for x, found in sides:
            for column, (_, image) in enumerate(found):
                sheet.paste(_picture(image).resize(size, Image.Resampling.NEAREST), (x + column * width, y))
    buffer = io.BytesIO()
    sheet.quantize(64, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
    return write_atomic(Path(path), buffer.getvalue())


def _picture(image):
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def _shown_size(image):
    """Returns (width, height) in whole multiples where an image is smaller than it is shown, and less where larger."""
    height, width = image.shape[:2]
    factor = max(1, round(_SIDE / max(height, width))) if max(height, width) <= 2 * _SIDE else _SIDE / max(image.shape)
    return max(1, round(width * factor)), max(1, round(height * factor))
