"""Networks of `keras.applications`, and the weight files that Keras publishes for them, into ours of flavour "keras".

Source: https://keras.io/api/applications. An `.h5` file says only in which order its arrays come, so Keras's own
function makes the layers, without values, that give them their names.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from zoo.data.preprocessing import image_declaration
from zoo.errors import invalid
from zoo.files import disk, open_regular
from zoo.hub.convert import hdf5
from zoo.hub.convert.filling import fill, translated, valueless
from zoo.hub.convert.foreign import Foreign, distinct, read_json
from zoo.registry import find_model
from zoo.spec import spec_of

VERSION = 1
FILES = (".h5",)
CLASS_INDEX = "imagenet_class_index.json"
_FILE = re.compile(r"(\w+)_weights_tf_dim_ordering_tf_kernels(_notop)?\.h5")


@dataclass(frozen=True)
class Application:
    """A function of `keras.applications`.

    Attributes:
        model: our variant.
        stem: what the names of its published files begin with.
        tensors: how many it has, with its top, whose two come last.
        image_size: of the published weights, pixels.
        license: of the published weights, as the documentation of Keras 2 states it, in docs/templates/applications.md.
        md5: of the published files with and without top, where Keras keeps it inside a function.
    """

    model: str
    stem: str
    tensors: int
    license: str
    image_size: int = 224
    md5: tuple = ()

    @property
    def files(self):
        """The names of the published files, with and without top."""
        return tuple(f"{self.stem}_weights_tf_dim_ordering_tf_kernels{top}.h5" for top in ("", "_notop"))

    @property
    def hashes(self):
        """MD5 of the published files with and without top, as the installed Keras has them."""
        from keras.src.applications import resnet

        return self.md5 or resnet.WEIGHTS_HASHES[self.stem]


APPLICATIONS = {
    "ResNet50": Application("resnet50", "resnet50", 320, "mit"),
    "ResNet101": Application("resnet101", "resnet101", 626, "mit"),
    "ResNet152": Application("resnet152", "resnet152", 932, "mit"),
    "ResNet50V2": Application("resnet50v2", "resnet50v2", 272, "bsd-3-clause"),
    "ResNet101V2": Application("resnet101v2", "resnet101v2", 544, "bsd-3-clause"),
    "ResNet152V2": Application("resnet152v2", "resnet152v2", 816, "bsd-3-clause"),
    "InceptionV3": Application(
        "inception_v3",
        "inception_v3",
        378,
        "apache-2.0",
        299,
        ("9a0d58056eeedaa3f26cb7ebd46da564", "bcbd6486424b2319ff4ef7d526e38f63"),
    ),
    "Xception": Application(
        "xception",
        "xception",
        236,
        "mit",
        299,
        ("0a58e3b7378bc2990ea3b43d5981f1f6", "b0042744bf5b25fce3cb969f33bebb97"),
    ),
}
MODES = {  # how `preprocess_input` treats raw pixels: ResNet of version 1 the one way, all others the other
    "caffe": {"scale": 1.0, "mean": (103.939, 116.779, 123.68), "order": "bgr"},
    "tf": {"scale": 1 / 127.5, "mean": (1.0, 1.0, 1.0)},
}


def resnet_rules(block, first):
    """Returns `(rules of version 1, rules of version 2)`, our layer -> theirs, where a shortcut is convolution 0.

    Args:
        block: function of a match, whose groups 1 and 2 are stage and block from 1, that gives their name of the block.
        first: what they call the normalisation before a block of version 2.
    """
    rules = {
        r"stem_conv": lambda m: "conv1_conv",
        r"stem_norm": lambda m: "conv1_bn",
        r"stage(\d+)_block(\d+)_(\d)_conv": lambda m: f"{block(m)}_{m[3]}_conv",
        r"stage(\d+)_block(\d+)_(\d)_norm": lambda m: f"{block(m)}_{m[3]}_bn",
        r"stage(\d+)_block(\d+)_shortcut_conv": lambda m: f"{block(m)}_0_conv",
        r"stage(\d+)_block(\d+)_shortcut_norm": lambda m: f"{block(m)}_0_bn",
        r"logits": lambda m: "predictions",
    }
    norms = {  # normalisation i precedes convolution i here; theirs bears the name of the convolution before it
        r"stage(\d+)_block(\d+)_1_norm": lambda m: f"{block(m)}_{first}_bn",
        r"stage(\d+)_block(\d+)_(\d)_norm": lambda m: f"{block(m)}_{int(m[3]) - 1}_bn",
        r"head_norm": lambda m: "post_bn",
    }
    return rules, norms | {pattern: name for pattern, name in rules.items() if pattern not in norms}


RESNET, RESNET_V2 = resnet_rules(lambda m: f"conv{int(m[1]) + 1}_block{m[2]}", "preact")  # stages count from 2
XCEPTION_BLOCKS = {"entry": 2, "middle": 5, "exit": 13}  # theirs count through all flows


def _xception(m):
    """Their name of a part of one of our blocks, as `_renamed` gives it."""
    block = XCEPTION_BLOCKS[m[1]] + int(m[2]) - 1
    return f"block{block}_shortcut" if m[3] == "shortcut" else f"block{block}_sepconv{m[3]}"


XCEPTION = {
    r"stem(\d)_conv": lambda m: f"block1_conv{m[1]}",
    r"stem(\d)_norm": lambda m: f"block1_conv{m[1]}_bn",
    r"exit(2|3)_norm": lambda m: f"block14_sepconv{int(m[1]) - 1}_bn",
    r"exit(2|3)_conv": lambda m: f"block14_sepconv{int(m[1]) - 1}",
    r"(entry|middle|exit)(\d)_(\w+)_norm": lambda m: f"{_xception(m)}_bn",
    r"(entry|middle|exit)(\d)_(shortcut)_conv": lambda m: f"{_xception(m)}_conv",
    r"(entry|middle|exit)(\d)_(\d)_conv": _xception,
    r"logits": lambda m: "predictions",
}
INCEPTION_V3 = {  # their layers have our names, once `_renamed` has given them any
    r"(\w+)_conv": lambda m: f"{m[1]}_conv",
    r"(\w+)_norm": lambda m: f"{m[1]}_bn",
    r"logits": lambda m: "predictions",
}
INCEPTION_BLOCKS = {  # the branches of each block, in the order in which theirs makes them
    "stem": ("1", "2", "3", "4", "5"),
    "a": ("1x1", "5x5_1", "5x5_2", "3x3dbl_1", "3x3dbl_2", "3x3dbl_3", "pool"),
    "reduction_a": ("3x3", "3x3dbl_1", "3x3dbl_2", "3x3dbl_3"),
    "b": ("1x1", "7x7_1", "7x7_2", "7x7_3", *(f"7x7dbl_{i}" for i in range(1, 6)), "pool"),
    "reduction_b": ("3x3_1", "3x3_2", "7x7x3_1", "7x7x3_2", "7x7x3_3", "7x7x3_4"),
    "c": ("1x1", "3x3_1", "3x3_2a", "3x3_2b", "3x3dbl_1", "3x3dbl_2", "3x3dbl_3a", "3x3dbl_3b", "pool"),
}
INCEPTION_ORDER = ("stem", "a1", "a2", "a3", "reduction_a", "b1", "b2", "b3", "b4", "reduction_b", "c1", "c2")
NAMELESS = {  # names for the layers that theirs only numbers, in the order of the numbers
    "xception": tuple(f"block{block}_shortcut" for block in (2, 3, 4, 13)),
    "inception_v3": tuple(
        f"{block}_{branch}" for block in INCEPTION_ORDER for branch in INCEPTION_BLOCKS[block.rstrip("0123456789")]
    ),
}
RULES = {  # by family and version
    ("resnet", 1): RESNET,
    ("resnet", 2): RESNET_V2,
    ("xception", 1): XCEPTION,
    ("inception_v3", 1): INCEPTION_V3,
}
VARIABLES = (
    "kernel",
    "depthwise_kernel",
    "pointwise_kernel",
    "bias",
    "gamma",
    "beta",
    "moving_mean",
    "moving_variance",
)
VARIABLES = {v: f"/{v}" for v in VARIABLES}


def name_map(model):
    """Returns a dict, path of each weight of a model that zoo built -> path of the weight in `keras.applications`.

    Raises:
        InvalidArgument: the model's family is not one of `RULES`, or it holds a weight that theirs does not have.
    """
    family = find_model(spec_of(model).name).family
    version = spec_of(model).arguments.get("version", 1)
    if (family, version) not in RULES:
        known = ", ".join(dict.fromkeys(name for name, _ in RULES))
        raise invalid("keras.applications' names are not known for this family", family, f"They are for {known}.")
    return {w.path: translated(w.path, RULES[family, version], VARIABLES) for w in model.weights}


def load(model, tensors):
    """Fills a zoo model (flavour "keras") with the weights of the same network of `keras.applications`.

    Many of their convolutions carry a bias before batch normalisation, ours do not: normalising x + b around the mean
    m is normalising x around m - b, so the bias goes into the moving mean.

    Args:
        model: `keras.Model` that zoo built, of the same depth and number of classes.
        tensors: the `keras.applications` model, ResNet50, ResNet50V2, Xception, InceptionV3 or their kin; or dict,
            path of its weight -> array.

    Returns:
        The model; its outputs are the logits of theirs.

    Raises:
        InvalidArgument: a weight is missing, left over or of another shape, or the model's flavour is not "keras".
    """
    import keras

    flavour = spec_of(model).arguments.get("flavour")
    if flavour != "keras":
        raise invalid("only a model of flavour 'keras' fits keras.applications", flavour, 'Build with flavour="keras".')
    if not isinstance(tensors, dict):
        tensors = {w.path: keras.ops.convert_to_numpy(w) for w in tensors.weights}
    names = name_map(model)
    nameless = NAMELESS.get(find_model(spec_of(model).name).family, ())
    tensors = _renamed(tensors, nameless)
    kept = set(names.values())
    for path in [p for p in tensors if p.endswith("_conv/bias") and p not in kept]:
        mean = path.replace("_conv/bias", "_bn/moving_mean")
        if mean in tensors:
            tensors[mean] = tensors[mean] - tensors.pop(path)
    return fill(model, "keras.applications", names, tensors, lambda tensor: tensor)


def _renamed(tensors, nameless):
    """Gives layers that are only numbered names like the others'.

    The numbers count what the process has made, so only their order tells which layer it is.

    Raises:
        InvalidArgument: there are more or fewer such layers than `nameless` has names.
    """
    places = {}
    for kind in ("conv2d", "batch_normalization"):
        found = {layer for path in tensors if re.fullmatch(rf"{kind}(_\d+)?", layer := path.rpartition("/")[0])}
        if len(found) not in (0, len(nameless)):
            works = "Give the network that the model was built after, whole and unchanged."
            raise invalid(f"{len(nameless)} layers named {kind!r} and a number were expected", len(found), works)
        ordered = sorted(found, key=lambda layer: int(layer.removeprefix(kind).lstrip("_") or 0))
        ending = "conv" if kind == "conv2d" else "bn"
        places |= {layer: f"{name}_{ending}" for layer, name in zip(ordered, nameless, strict=False)}
    renamed = {}
    for path, tensor in tensors.items():
        layer, _, variable = path.rpartition("/")
        renamed[f"{places.get(layer, layer)}/{variable}"] = tensor
    return renamed


# Files


def recognise(names, config):
    """Says whether a repository holds one of the weight files that Keras publishes, under its name."""
    return not config and len(_published(names)) == 1


def wanted(names, config):
    """Returns the weight file and, if it is there, the list of the classes."""
    return (*_published(names), *(name for name in names if name == CLASS_INDEX))


def _published(names):
    stems = {application.stem for application in APPLICATIONS.values()}
    return [name for name in names if (match := _FILE.fullmatch(name)) and match[1] in stems]


def read(folder, config):
    """Returns the `Foreign` of a folder with a published weight file."""
    (file,) = _published(sorted(path.name for path in Path(folder).iterdir()))
    return read_file(Path(folder) / file, None, {})


def read_file(path, name, arguments):
    """Reads a weight file of one of `APPLICATIONS`, published or trained further, as legacy `.h5` or `.weights.h5`.

    The class names come from Keras's `imagenet_class_index.json`, if it lies beside the file.

    Args:
        path: of the file.
        name: our variant, or None: the number of arrays tells.
        arguments: of our builder, such as another `image_shape` than that of the published weights.

    Returns:
        `Foreign`.

    Raises:
        IntegrityError: the file is damaged or holds something else than plain numbers.
        InvalidArgument: it is of another network.
    """
    path = Path(path)
    with hdf5.opened(path) as stored:
        key = _which(stored, name)
        application = APPLICATIONS[key]
        include_top = len(stored.shapes) == application.tensors
        classes = [shape[1] for shape in stored.shapes.values() if len(shape) == 2]
        if len(classes) != include_top:
            raise invalid(f"{path.name} should hold {int(include_top)} dense layers", len(classes))
        with valueless() as scope:
            with scope:
                theirs = _outline(key, application, *classes)
            places = hdf5.places(stored, theirs.layers)
            hdf5.left_over(stored, places.values())
            tensors = {weight: stored.array(place) for weight, place in places.items()}
    found = {"flavour": "keras", "image_shape": (application.image_size,) * 2 + (3,), "include_top": include_top}
    found |= {"num_classes": classes[0]} if classes else {}
    found |= arguments
    labels = _labels(path.with_name(CLASS_INDEX), found.get("num_classes"))
    published = md5_of(path) == application.hashes[0 if include_top else 1]
    notes = [f"From keras.applications.{key}." if published else f"A {key}, not the file that Keras publishes."]
    notes += ["Keras says nothing of how to resize a picture; here it is resized as a whole, bilinearly."]
    if classes and labels is None:
        notes.append(f"Keras keeps the class names in {CLASS_INDEX}, which is not beside the file.")
    return Foreign(
        application.model,
        found,
        tensors,
        path,
        labels=labels,
        preprocessing=preprocessing_of(key, found["image_shape"]),
        license=application.license if published else None,
        notes=tuple(notes),
    )


def owns(path):
    """Says whether an `.h5` file has as many arrays as one of `APPLICATIONS`."""
    with hdf5.opened(path) as stored:
        return any(_fits(application, stored) for application in APPLICATIONS.values())


def _fits(application, stored):
    return application.tensors - len(stored.shapes) in (0, 2)


def _which(stored, name):
    """Returns the key of the application that a file holds."""
    wanted = None if name is None else find_model(name).name
    for key, application in APPLICATIONS.items():
        if _fits(application, stored) and wanted in (None, application.model):
            return key
    known = ", ".join(f"{key} {application.tensors}" for key, application in APPLICATIONS.items())
    raise invalid(
        f"{stored.name} is not of {f'model {wanted!r}' if wanted else 'a network of keras.applications that zoo has'}",
        f"{len(stored.shapes)} arrays",
        f"With their tops have: {known}.",
    )


def _outline(key, application, classes=None):
    """Returns the model of a `keras.applications` function, for the names and the order of its layers."""
    import keras

    options = {"classes": classes} if classes else {"include_top": False, "pooling": "avg"}
    shape = (application.image_size,) * 2 + (3,)
    return getattr(keras.applications, key)(weights=None, input_shape=shape, **options)


def preprocessing_of(key, image_shape):
    """Returns the declaration of what `preprocess_input` of an application does to raw pixels, and of the resizing."""
    mode = "caffe" if key.startswith("ResNet") and not key.endswith("V2") else "tf"
    return image_declaration(image_shape, resize="bilinear", **MODES[mode])


def _labels(path, num_classes):
    """Returns the names in an `imagenet_class_index.json` in the order of their numbers, None where they do not fit."""
    if not path.is_file() or num_classes is None:
        return None
    rows = read_json(path)
    if set(rows) != {str(i) for i in range(num_classes)}:
        return None
    rows = [rows[str(i)] for i in range(num_classes)]
    if not all(isinstance(row, list) and len(row) == 2 for row in rows):
        raise invalid(f"{path.name} should give two words for each class", rows[:2])
    return distinct([row[1] for row in rows])


def md5_of(path):
    """Returns the MD5 of a file, which is what Keras publishes; it tells files apart and proves nothing."""
    with disk(path, "read"), open_regular(path.resolve()) as file:
        return hashlib.file_digest(file, "md5").hexdigest()
