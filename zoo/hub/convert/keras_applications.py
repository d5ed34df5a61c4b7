"""The residual networks of `keras.applications` into ours of flavour "keras"."""

import re

from zoo.errors import invalid
from zoo.hub.convert.filling import fill, translated
from zoo.spec import spec_of

RESNET = {  # our layer -> theirs, where stages count from 2 and a shortcut is convolution 0
    r"stem_conv": lambda m: "conv1_conv",
    r"stem_norm": lambda m: "conv1_bn",
    r"stage(\d+)_block(\d+)_(\d)_conv": lambda m: f"conv{int(m[1]) + 1}_block{m[2]}_{m[3]}_conv",
    r"stage(\d+)_block(\d+)_(\d)_norm": lambda m: f"conv{int(m[1]) + 1}_block{m[2]}_{m[3]}_bn",
    r"stage(\d+)_block(\d+)_shortcut_conv": lambda m: f"conv{int(m[1]) + 1}_block{m[2]}_0_conv",
    r"stage(\d+)_block(\d+)_shortcut_norm": lambda m: f"conv{int(m[1]) + 1}_block{m[2]}_0_bn",
    r"logits": lambda m: "predictions",
}
VARIABLES = {v: f"/{v}" for v in ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")}


def name_map(model):
    """Returns a dict, path of each weight of a zoo resnet -> path of the weight in `keras.applications`.

    Raises:
        InvalidArgument: the model holds a weight that a `keras.applications` ResNet does not have.
    """
    rules = [(re.compile(pattern), name) for pattern, name in RESNET.items()]
    return {w.path: translated(w.path, rules, VARIABLES) for w in model.weights}


def load(model, application):
    """Fills a zoo resnet (flavour "keras") with the weights of a `keras.applications` ResNet50, 101 or 152.

    Their convolutions carry a bias before batch normalisation, ours do not: normalising x + b around the mean m is
    normalising x around m - b, so the bias goes into the moving mean.

    Args:
        model: `keras.Model` that zoo built, of the same depth and number of classes.
        application: the `keras.applications` model, with its top.

    Returns:
        The model; its outputs are the logits of theirs.

    Raises:
        InvalidArgument: a weight is missing, left over or of another shape, or the model's flavour is not "keras".
    """
    flavour = spec_of(model).arguments.get("flavour")
    if flavour != "keras":
        raise invalid(
            "only a resnet of flavour 'keras' fits keras.applications", flavour, 'Build with flavour="keras".'
        )
    tensors = {w.path: w.numpy() for w in application.weights}
    for path in [p for p in tensors if p.endswith("_conv/bias")]:
        mean = path.replace("_conv/bias", "_bn/moving_mean")
        tensors[mean] = tensors[mean] - tensors.pop(path)
    return fill(model, "keras.applications", name_map(model), tensors, lambda tensor: tensor)
