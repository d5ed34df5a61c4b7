"""How raw input becomes model input, declared as a JSON dict that travels with a model: one code for training,
evaluation and prediction.

An image declaration, where `x` are raw pixels of 0 to `maximum` and the model is fed `(x * scale - mean) / std`:

    {"kind": "image", "image_shape": [H, W, C], "scale": 1/255, "maximum": 255, "mean": [C floats] | null,
     "std": [C floats] | null, "resize": null | "nearest" | "bilinear" | "bicubic" | "lanczos", "crop": null | share,
     "crop_mode": "center" | "squash" | "border", "order": "rgb" | "bgr"}

Image files hold 0 to 255 and are brought to 0 to `maximum` first (null: files cannot be read for this model, because
it was trained on numbers whose range nobody declared). With `crop`, the image is resized to the model's sides / crop,
rounded down, and the middle is cut out: "center", which is meant where `crop_mode` is missing, resizes the shorter
side so and keeps the proportions; "squash" both sides; "border" the longer side, and fills up with the mean colour.
Without `crop` the image is resized to the model's height and width. Without `resize`, an image of another size is an
error. Raw pixels are red, green, blue; "bgr" feeds them the other way round, `mean` and `std` counting as fed.
Sizes are rounded as timm and torchvision round them, whose checkpoints were trained so. What a declaration leaves out
is as in `zoo.data.declarations`; `completed` there fills it in.

A text declaration; ids are positions in the vocabulary, a text file of one word a line that travels as an asset:

    {"kind": "text", "lowercase": true, "strip": "<br />" | null, "token_pattern": ..., "sequence_length": T,
     "keep": "first" | "last", "vocab_size": V, "vocabulary": "vocabulary.txt"}

Id 0 is padding, at the end of a row; 1 is a word outside the vocabulary. A text of more than T words keeps its first
or last T. {"kind": "tokens", "sequence_length": T, "vocab_size": V} takes ready rows of ids.

Several inputs have a declaration each, and raw input is then a dict with the same keys:

    {"kind": "inputs", "inputs": {"first": {...}, "second": {...}}}

`KINDS` names the modules that implement the kinds which are not here.
"""

import functools
import importlib
import os
import re
from collections import Counter

import numpy as np

from zoo.data import checks
from zoo.data.declarations import completed
from zoo.data.images import CROP_MODES, ORDERS, RESIZES, decode_image
from zoo.errors import DataError, InvalidArgument, invalid, nearest, unknown, worded

PADDING, UNKNOWN = 0, 1
RESERVED = ("[PAD]", "[UNK]")
VOCABULARY = "vocabulary.txt"
WORDS = r"\w+(?:'\w+)*"
WORDS_AND_MARKS = WORDS + r"|[^\w\s]"
# A declaration may come from a downloaded file. Patterns are chosen from these, never compiled from what arrives: an
# unlucky pattern takes a regex engine exponential time.
TOKEN_PATTERNS = {pattern: re.compile(pattern) for pattern in (WORDS, WORDS_AND_MARKS, r"\S+")}
KINDS = {  # kind -> module with `check(declared)` and `encode(declared, raw, assets)`; None: here
    "image": None,
    "text": None,
    "tokens": None,
    "inputs": None,
    "table": "zoo.data.tables",
    "passage": "zoo.data.passages",
}


# Declarations


def image_declaration(
    image_shape,
    *,
    maximum=255.0,
    mean=None,
    std=None,
    resize=None,
    crop=None,
    crop_mode="center",
    order="rgb",
    scale=None,
):
    """Returns the declaration of images of shape (H, W, C) with pixels of 0 to `maximum`.

    `maximum=None` declares numbers that are fed as they are. `scale` is 1 / maximum unless given. What is as usual is
    left out, so that the declarations of models from before there was a choice stay the same.
    """
    unusual = {"crop_mode": crop_mode} if crop_mode != "center" else {}
    unusual |= {"order": order} if order != "rgb" else {}
    if scale is None:
        scale = 1.0 if maximum is None else 1.0 / maximum
    return {
        "kind": "image",
        "image_shape": [int(n) for n in image_shape],
        "scale": scale,
        "maximum": maximum,
        "mean": None if mean is None else [float(m) for m in mean],
        "std": None if std is None else [float(s) for s in std],
        "resize": resize,
        "crop": crop,
        **unusual,
    }


def text_declaration(sequence_length, vocab_size, *, keep="first", strip=None):
    """Returns the declaration of texts whose vocabulary is the asset "vocabulary.txt"."""
    return {
        "kind": "text",
        "lowercase": True,
        "strip": strip,
        "token_pattern": WORDS,
        "sequence_length": int(sequence_length),
        "keep": keep,
        "vocab_size": int(vocab_size),
        "vocabulary": VOCABULARY,
    }


# Encoding


def encode(declared, raw, assets=None):
    """Turns raw inputs into a batch for the model.

    Args:
        declared: the preprocessing declaration.
        raw: for images, one or a list of file paths, encoded bytes, `PIL.Image`s or arrays (H, W, C) of raw pixels,
            or one array (n, H, W, C); the channel axis may be left out when C is 1. For texts, one or a list of
            strings. For tokens, one row or an array (n, T) of ids. For several inputs, one or a list of dicts.
        assets: file name -> bytes, as the data set or the model's folder holds them.

    Returns:
        float32 (n, H, W, C), int32 (n, T), or a dict of such arrays.

    Raises:
        DataError: an input is of the wrong kind or size, cannot be read, or is NaN; the message says which.
        InvalidArgument: the declaration is missing, or is not one that this zoo knows.
    """
    if not declared:
        works = 'Pass one, such as {"kind": "image", "image_shape": [224, 224, 3], "scale": 0.00392}.'
        raise invalid("this model declares no preprocessing, so raw input cannot be read", declared, works)
    check(declared)
    kind = declared["kind"]
    if KINDS[kind]:
        return importlib.import_module(KINDS[kind]).encode(declared, raw, assets)
    if kind == "inputs":
        return _encode_inputs(declared["inputs"], raw, assets)
    if kind == "image":
        return encode_array(declared, _pixels(declared, raw))
    if kind == "text":
        return encode_texts(declared, texts(raw), word_ids(declared, assets))
    return _token_rows(declared, raw)


def _encode_inputs(inputs, raw, assets):
    rows = [raw] if isinstance(raw, dict) else list(raw)
    if not rows:
        raise DataError(worded("there is no example to read", received=raw))
    for i, row in enumerate(rows):
        if not isinstance(row, dict):
            works = "Give a dict with " + ", ".join(map(repr, inputs)) + "."
            raise DataError(worded(f"example {i} is not a table of inputs", received=type(row).__name__, works=works))
        for name in {*inputs, *row}:
            if name not in row:
                raise DataError(worded(f"example {i} lacks the input {name!r}", received=sorted(row)))
            if name not in inputs:
                raise unknown(f"input of example {i}", name, inputs)
    encoded = {}
    for name, declared in inputs.items():
        part = encode(declared, [row[name] for row in rows], assets)
        encoded |= part if isinstance(part, dict) else {name: part}  # a table may feed several inputs by their names
    return encoded


def check(declared, depth=0):
    """Checks a declaration, which may come from a downloaded file.

    Raises:
        InvalidArgument: it is not one that this zoo knows; the message names what.
    """
    kind = declared.get("kind") if isinstance(declared, dict) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise unknown("kind of preprocessing", kind, KINDS)
    if KINDS[kind]:
        importlib.import_module(KINDS[kind]).check(declared)
        return
    if kind == "inputs":
        inputs = declared.get("inputs")
        if not isinstance(inputs, dict) or not inputs or depth or not all(isinstance(n, str) for n in inputs):
            raise invalid("the preprocessing of kind 'inputs' has impossible 'inputs'", inputs)
        for inner in inputs.values():
            check(inner, depth + 1)
        return

    def numbers(key, count):
        values = declared.get(key)
        fine = isinstance(values, (list, tuple)) and len(values) == count
        return values is None or (fine and all(isinstance(v, (int, float)) and np.isfinite(v) for v in values))

    def whole(value):
        return type(value) is int and 1 <= value <= 1 << 20

    def positive(key):
        value = declared[key]
        return value is None or (isinstance(value, (int, float)) and 0 < value < np.inf)

    if kind == "image":
        declared = completed(declared)
        shape = declared.get("image_shape")
        wrong = {
            "image_shape": not (isinstance(shape, (list, tuple)) and len(shape) == 3 and all(map(whole, shape))),
            "scale": not positive("scale") or declared["scale"] is None,
            "maximum": not positive("maximum"),
            "resize": declared["resize"] not in (None, *RESIZES),
            "crop": not positive("crop"),
            "crop_mode": declared["crop_mode"] not in CROP_MODES,
            "order": declared["order"] not in ORDERS,
        }
        if not wrong["image_shape"]:
            wrong |= {"mean": not numbers("mean", shape[-1]), "std": not numbers("std", shape[-1])}
            wrong["std"] = wrong["std"] or 0 in (declared.get("std") or ())
    else:
        wrong = {"sequence_length": not whole(declared.get("sequence_length"))}
        if kind == "text":
            wrong |= {key: not isinstance(declared.get(key), str) for key in ("vocabulary", "token_pattern")}
        else:
            wrong["vocab_size"] = type(declared.get("vocab_size")) is not int
    for key, is_wrong in wrong.items():
        if is_wrong:
            raise invalid(f"the preprocessing of kind {kind!r} has an impossible {key!r}", declared.get(key))


def encode_array(declared, raw):
    """Returns a checked array of raw pixels as model input; rows of ids pass unchanged."""
    if declared["kind"] != "image":
        return np.ascontiguousarray(raw, np.int32)
    declared = completed(declared)
    raw = np.asarray(raw)[..., ::-1] if declared["order"] == "bgr" else raw
    x = np.multiply(raw, np.float32(declared["scale"]), dtype=np.float32)
    if declared.get("mean") is not None:
        x -= np.asarray(declared["mean"], np.float32)
    if declared.get("std") is not None:
        x /= np.asarray(declared["std"], np.float32)
    return x


def encode_pixels(declared, images):
    """Returns images of 0 to 255, (n, H, W, C) of the declared shape, as model input; raises as `file_pixels`."""
    return encode_array(declared, _to_range(declared, images))


# Images


def _pixels(declared, raw):
    """Returns raw input of any accepted form as one array (n, H, W, C) of raw pixels."""
    from PIL import Image

    single = (str, os.PathLike, bytes, bytearray, Image.Image)
    if isinstance(raw, np.ndarray):
        return _pixel_array(declared, raw, "the array")
    items = [raw] if isinstance(raw, single) else list(raw)
    if not items:
        raise DataError(worded("there is no image to read", received=raw))
    rows = []
    for i, item in enumerate(items):
        if isinstance(item, single):
            name = None if isinstance(item, (str, os.PathLike)) else f"number {i}"
            rows.append(_to_range(declared, decode_image(item, declared, name)[np.newaxis]))
        elif hasattr(item, "__array__") or isinstance(item, (list, tuple)):
            rows.append(_pixel_array(declared, np.asarray(item), f"image {i}"))
        else:
            works = "Give paths, bytes, PIL images or arrays."
            raise DataError(worded(f"input {i} is not an image", received=type(item).__name__, works=works))
    return np.concatenate(rows)


def file_pixels(declared, path):
    """Returns one image file as raw pixels (H, W, C) of 0 to the model's maximum; raises as `decode_image`."""
    return _to_range(declared, decode_image(path, declared))


def _to_range(declared, pixels):
    """Brings the 0 to 255 of an image file to the range of the raw pixels that the model was trained on."""
    maximum = completed(declared)["maximum"]
    if maximum is None:
        works = "Pass arrays of the same numbers as in training."
        raise DataError(
            worded("this model was trained on numbers of no declared range, not on image files", works=works)
        )
    return pixels if maximum == 255 else pixels * np.float32(maximum / 255)


def _pixel_array(declared, x, name):
    shape = tuple(declared["image_shape"])
    if x.dtype.kind not in "buif":
        raise DataError(worded(f"{name} is of type {x.dtype}", works="Pixels must be integers or floats."))
    if x.shape == shape or (shape[-1] == 1 and x.shape == shape[:2]):
        x = x[np.newaxis]
    if shape[-1] == 1 and x.shape[1:] == shape[:2]:
        x = x[..., np.newaxis]
    if x.shape[1:] != shape or not len(x):
        works = f"The model takes {shape} (height, width, channels), one or several of them."
        raise DataError(worded(f"{name} has shape {x.shape}", works=works))
    if x.dtype.kind == "f":
        checks.finite(x, "images")
    return x


# Texts


def tokens(text, declared):
    """Returns the words of a text, as its declaration splits it."""
    if declared.get("lowercase", True):
        text = text.lower()
    if declared.get("strip"):
        text = text.replace(declared["strip"], " ")
    pattern = TOKEN_PATTERNS.get(declared["token_pattern"])
    if pattern is None:
        wrong = "the preprocessing names a token pattern that this zoo does not know"
        raise invalid(wrong, declared["token_pattern"], "Known: " + ", ".join(TOKEN_PATTERNS) + ".")
    return pattern.findall(text)


def build_vocabulary(token_lists, vocab_size):
    """Returns a vocabulary as a tuple of words, id = position: "[PAD]", "[UNK]", then the most frequent words.

    Args:
        token_lists: lists of words, of the training split only.
        vocab_size: most words to keep, the two reserved ones included. Equally frequent words go by alphabet.
    """
    counts = Counter()
    for words in token_lists:
        counts.update(words)
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return RESERVED + tuple(word for word, _ in ranked[: vocab_size - len(RESERVED)])


def vocabulary_asset(words):
    """Returns a vocabulary as the bytes of a text file, one word a line."""
    return "\n".join(words).encode()


def encode_texts(declared, texts, ids):
    """Returns int32 (n, T) ids of texts; `texts` may also be lists of words. `ids` maps words to ids."""
    length, last = declared["sequence_length"], declared.get("keep", "first") == "last"
    rows = np.zeros((len(texts), length), np.int32)
    find = ids.get
    for row, text in zip(rows, texts, strict=True):
        words = tokens(text, declared) if isinstance(text, str) else text
        words = words[-length:] if last else words[:length]
        # A text without any word is one unknown word: a row of padding alone would mask every step of a model.
        row[: max(1, len(words))] = [find(word, UNKNOWN) for word in words] or [UNKNOWN]
    return rows


def texts(raw):
    """Returns one text or several as a list of strings, checked."""
    found = [raw] if isinstance(raw, str) else list(raw)
    if not found:
        raise DataError(worded("there is no text to read", received=raw))
    for i, text in enumerate(found):
        if not isinstance(text, str):
            raise DataError(worded(f"input {i} is not a string", received=type(text).__name__))
    return found


def word_ids(declared, assets):
    """Returns the ids of the words of a text declaration's vocabulary, word -> id.

    Raises:
        InvalidArgument: the vocabulary is not among the assets.
    """
    name = declared["vocabulary"]
    if name not in (assets or {}):
        close = nearest(name, assets or {})
        works = f"Found {close!r} instead." if close else "It is a file in the model's folder, or `Dataset.assets`."
        raise InvalidArgument(worded(f"the vocabulary {name!r} is missing", works=works))
    return _parsed_vocabulary(bytes(assets[name]))


@functools.lru_cache(maxsize=8)
def _parsed_vocabulary(data):
    try:
        return {word: i for i, word in enumerate(data.decode("utf-8").split("\n"))}
    except UnicodeDecodeError as error:
        raise DataError(worded(f"the vocabulary is not UTF-8 text ({error})")) from error


def _token_rows(declared, raw):
    rows = np.asarray(raw)
    rows = rows[np.newaxis] if rows.ndim == 1 else rows
    return token_array(rows, "input", declared["sequence_length"], declared["vocab_size"])


def token_array(rows, part, length=None, vocab_size=None):
    """Returns rows of token ids as int32 (n, T), checked."""
    rows = np.asarray(rows)
    if rows.dtype.kind not in "ui" or rows.ndim != 2 or not rows.size or length not in (None, rows.shape[1]):
        wanted = "n, T" if length is None else f"n, {length}"
        works = f"Token ids are integers of shape ({wanted}), padded with 0 at the end."
        raise DataError(worded(f"the {part} rows are {rows.dtype} of shape {rows.shape}", works=works))
    limit = np.iinfo(np.int32).max if vocab_size is None else vocab_size
    count, first = checks.first_bad(rows, lambda part: (part < 0) | (part >= limit))
    if count:
        wrong = f"{count:,} of the {part} rows hold ids outside 0 to {limit - 1}, the first at index {first}"
        raise DataError(worded(wrong))
    return rows.astype(np.int32, copy=False)
