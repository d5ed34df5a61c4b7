"""`image_size=96` in place of `image_shape=(96, 96, 3)`: another size of pictures, the channels as they are."""

from zoo.errors import invalid


def with_image_size(name, arguments, image_size, known):
    """Returns builder arguments whose `image_shape` has another height and width; for None, those given.

    Args:
        name: of the model, for messages.
        arguments: dict of the arguments that were given.
        image_size: pixels, one number for a square or (height, width); or None.
        known: dict of all arguments of the model, which say how many channels there are.

    Raises:
        InvalidArgument: the model takes no pictures, `image_shape` is given too, or this is no size.
    """
    if image_size is None:
        return arguments
    if "image_shape" not in known:
        works = f"It has {', '.join(sorted(known)) or 'no arguments'}."
        raise invalid(f"model {name!r} has no `image_shape` that image_size could change", image_size, works)
    if "image_shape" in arguments:
        received = {"image_size": image_size, "image_shape": arguments["image_shape"]}
        raise invalid("`image_size` and `image_shape` say the same", received, "Give one of them.")
    pair = tuple(image_size) if isinstance(image_size, (list, tuple)) else (image_size, image_size)
    if len(pair) != 2 or any(type(n) is not int or n < 1 for n in pair):
        raise invalid("`image_size` must be pixels: one number, or (height, width)", image_size)
    return {**arguments, "image_shape": (*pair, known["image_shape"][2])}
