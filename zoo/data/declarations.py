"""What a declaration of images may leave out; `zoo.data.preprocessing` says what it holds. Imports no NumPy."""

IMAGE_DEFAULTS = {
    "scale": 1.0,
    "maximum": 255.0,
    "mean": None,
    "std": None,
    "resize": None,
    "crop": None,
    "crop_mode": "center",
    "order": "rgb",
}


def completed(declared):
    """Returns a declaration with what one of images may leave out, so that all who read it take the same for it."""
    return IMAGE_DEFAULTS | declared if declared.get("kind") == "image" else declared
