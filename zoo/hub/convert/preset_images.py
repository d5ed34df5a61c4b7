"""How a KerasHub preset prepares images, in the words of `zoo.data.preprocessing`."""

import numpy as np

from zoo.data.preprocessing import image_declaration
from zoo.errors import invalid
from zoo.hub.convert.foreign import MAX_SIDE, read_json, whole

RESIZES = {"bilinear": "bilinear", "nearest": "nearest", "bicubic": "bicubic", "lanczos3": "lanczos"}


def converter_in(folder):
    """Returns the configuration of the image converter, {} where a preset has none."""
    if (folder / "image_converter.json").is_file():
        found = read_json(folder / "image_converter.json")
    elif (folder / "preprocessor.json").is_file():
        found = read_json(folder / "preprocessor.json").get("config")
        found = found.get("image_converter") if isinstance(found, dict) else None
    else:
        return {}
    config = found.get("config") if isinstance(found, dict) else None
    return config if isinstance(config, dict) else {}


def channels_of(own):
    """Returns the channels of a backbone's images; 3 where it does not say."""
    shape = own.get("image_shape")
    channels = shape[-1] if isinstance(shape, list) and len(shape) == 3 else 3
    return whole({"channels": channels}, "channels", most=16)


def size_of(own, converter):
    """Returns (H, W): what the backbone fixes, or what images are resized to; 224 where neither says."""
    shape = own.get("image_shape")
    shape = shape[:2] if isinstance(shape, list) and len(shape) == 3 and None not in shape else None
    size = shape or converter.get("image_size") or [converter.get("height", 224), converter.get("width", 224)]
    if not isinstance(size, list) or len(size) != 2 or 0 in size:
        raise invalid("the size of the images should be two numbers", str(size)[:80])
    return tuple(whole({"size": n}, "size", most=MAX_SIDE) for n in size)


def preprocessing_of(converter, image_shape):
    """Returns the declaration of an image converter's work, None where it says nothing, and sentences about it."""
    if not converter:
        return None, ("The preset does not say how images are prepared.",)
    channels = image_shape[-1]
    scale, offset = (_each(converter, key, channels, empty) for key, empty in (("scale", 1.0), ("offset", 0.0)))
    if "variance" in converter:  # as presets of 2024 say it
        std = np.sqrt(_each(converter, "variance", channels, 1.0))
        scale, offset = scale / std, -_each(converter, "mean", channels, 0.0) / std
    if not np.all(scale > 0):
        raise invalid("the scale of the images should be positive", scale.tolist())
    method = RESIZES.get(str(converter.get("interpolation", "bilinear")))
    if method is None:
        return None, (f"zoo does not resize by {str(converter.get('interpolation'))[:40]!r}.",)
    crop = {"crop": 1.0} if converter.get("crop_to_aspect_ratio", True) else {}
    if converter.get("pad_to_aspect_ratio"):
        return None, ("zoo does not fill images up with black.",)
    # x * scale + offset is (x / 255 - mean) / std
    mean, std = -offset / scale / 255, 1 / scale / 255
    plain = np.all(scale == scale[0]) and not offset.any()
    fixed = {"scale": float(scale[0])} if plain else {"mean": mean.tolist(), "std": std.tolist()}
    declared = image_declaration(image_shape, resize=method, **crop, **fixed)
    rough = ("Images are made smaller with smoothing, which KerasHub leaves out.",)
    return declared, () if converter.get("antialias") else rough


def _each(converter, key, channels, empty):
    """Returns a number for each channel."""
    value = converter.get(key)
    values = [value] * channels if not isinstance(value, list) else value
    values = [empty if v is None else v for v in values]
    if len(values) != channels or not all(type(v) in (int, float) and abs(v) < 1e9 for v in values):
        raise invalid(f"the image converter has an impossible {key!r}", str(value)[:80])
    return np.array(values, np.float64)
