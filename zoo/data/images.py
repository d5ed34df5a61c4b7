"""Image files become pixels of the size that a model takes: decoding, turning upright, resizing, cropping.

What an image declaration asks for is described in `zoo.data.preprocessing`.
"""

import contextlib
import io
import math
import os
import struct
import zlib

import numpy as np

from zoo.errors import DataError, unknown, worded

RESIZES = ("nearest", "bilinear", "bicubic", "lanczos")
CROP_MODES = ("center", "squash", "border")
ORDERS = ("rgb", "bgr")
MAX_PIXELS = 1 << 27  # of an image after resizing: a line of pixels would otherwise become gigabytes
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_TURNS = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM"}  # EXIF orientation -> transposition
_TURNS |= {5: "TRANSPOSE", 6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90"}
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
# What Pillow's decoders raise on damaged files. EOFError and MemoryError come of headers that promise too much.
UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, ArithmeticError, LookupError, EOFError, RuntimeError)
UNREADABLE += (AttributeError, MemoryError, struct.error, zlib.error)


def decode_image(image, declared, name=None):
    """Returns one encoded image as raw pixels of the shape that the model takes.

    Args:
        image: path, bytes of an image file, or `PIL.Image`.
        declared: image declaration.
        name: what to call it in messages; the path by default.

    Returns:
        uint8 (H, W, C). Cameras' orientation marks are obeyed, colours become grey or grey becomes colours as C says,
        what is transparent becomes white, and of several frames the first is taken.

    Raises:
        DataError: it cannot be read, has more than 8 bits a channel, or has another size and `resize` is null.
    """
    from PIL import Image

    name = name or (os.path.basename(image) if isinstance(image, (str, os.PathLike)) else "the image")
    height, width, channels = declared["image_shape"]
    if channels not in _MODES:
        raise DataError(worded(f"image files cannot be read for a model of {channels} channels", received=str(name)))
    try:
        opened = image if isinstance(image, Image.Image) else Image.open(_openable(image))
        if opened.mode[:1] in "IF":
            works = "Convert it to 8 bits first; cutting the values off would change the picture."
            raise DataError(
                worded(f"image {str(name)!r} has more than 8 bits a channel", received=opened.mode, works=works)
            )
        opened = in_mode(upright(opened), _MODES[channels])
        if opened.size != (width, height) or (declared.get("resize") and declared.get("crop")):
            opened = _resized(opened, declared, name)
        return np.asarray(opened, np.uint8).reshape(height, width, channels)
    except DataError:
        raise
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        reason = "it is not there" if isinstance(error, FileNotFoundError) else error
        if isinstance(error, Image.UnidentifiedImageError):
            reason = no_image(_openable(image))
        raise DataError(worded(f"image {str(name)!r} cannot be read ({reason})")) from error


def no_image(data):
    """Returns why Pillow knows no image in this file, a path or open."""
    with contextlib.ExitStack() as stack:
        file = data if hasattr(data, "read") else stack.enter_context(open(data, "rb"))
        start = file.read(12)
    heic = start[4:8] == b"ftyp" and start[8:12] in _HEIC
    return "it is a HEIC photograph: convert it to JPEG" if heic else "it is not an image"


def orientation(image):
    """Returns a loaded PIL image's EXIF orientation, 1 to 8; 1 where there is none or it cannot be made out."""
    try:
        found = image.getexif().get(0x0112, 1)
    except UNREADABLE:  # the picture itself may well be whole
        return 1
    return found if found in range(1, 9) else 1


def upright(image):
    """Returns a PIL image turned and mirrored as its EXIF orientation says, loaded."""
    from PIL import Image

    image.load()  # Pillow turns a TIFF itself here, and takes the mark off
    turn = _TURNS.get(orientation(image))
    return image if turn is None else image.transpose(Image.Transpose[turn])


def in_mode(image, mode):
    """Returns a PIL image in mode "L", "RGB" or "RGBA"; without alpha, what is transparent becomes white.

    The colour that a file keeps under its transparent pixels is whatever the program left that wrote it.
    """
    from PIL import Image

    if mode != "RGBA" and image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)


def _openable(image):
    if isinstance(image, (bytes, bytearray, memoryview)):
        return io.BytesIO(image)
    return os.path.expanduser(image)


def _resized(image, declared, name):
    from PIL import Image

    height, width, _ = declared["image_shape"]
    method = declared.get("resize")
    if method is None:
        wrong = f"image {str(name)!r} is {_size(image.height, image.width)} but the model takes {_size(height, width)}"
        works = 'Resize it first, or set "resize" to "bilinear" in the preprocessing.'
        raise DataError(worded(wrong, works=works))
    if method not in RESIZES:
        raise unknown("resize method", method, RESIZES)
    method = Image.Resampling[method.upper()]
    crop, mode = declared.get("crop"), declared.get("crop_mode", "center")
    if crop is None:
        return image.resize((width, height), method)
    size = _scaled(image.size, (math.floor(width / crop), math.floor(height / crop)), mode)
    if not 0 < size[0] * size[1] <= MAX_PIXELS:
        wrong = f"image {str(name)!r} cannot be resized with its proportions, to {_size(*size[::-1])}"
        raise DataError(worded(wrong, received=_size(image.height, image.width), works="Cut the middle out first."))
    image = image if image.size == size else image.resize(size, method)
    return _middle(image, width, height, _mean_colour(declared) if mode == "border" else None)


def _scaled(size, target, mode):
    """Returns the (width, height) that an image is resized to before the middle is cut out of it."""
    if mode == "squash":
        return target
    if mode == "center" and target[0] == target[1]:  # as torchvision rounds; otherwise as timm does
        short = min(size)
        return tuple(target[0] if side == short else int(target[0] * side / short) for side in size)
    ratios = [side / wanted if wanted else math.inf for side, wanted in zip(size, target, strict=True)]
    ratio = max(ratios) if mode == "border" else min(ratios)
    return tuple(round(side / ratio) for side in size)


def _middle(image, width, height, colour):
    """Returns the middle of an image, filled up with a colour (by default black) where it is too small."""
    from PIL import Image

    if image.width < width or image.height < height:
        whole = Image.new(image.mode, (max(width, image.width), max(height, image.height)), colour or 0)
        whole.paste(image, (max(0, width - image.width) // 2, max(0, height - image.height) // 2))
        image = whole
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def _mean_colour(declared):
    """Returns the colour of a file that becomes 0 at the model."""
    mean = declared.get("mean") or [0.0] * declared["image_shape"][-1]
    factor = 255 / (declared.get("maximum") or 255) / declared.get("scale", 1.0)
    colour = tuple(min(255, max(0, round(m * factor))) for m in mean)
    colour = colour[::-1] if declared.get("order") == "bgr" else colour
    return colour if len(colour) > 1 else colour[0]


def _size(height, width):
    return f"{height} x {width} pixels (height x width)"
