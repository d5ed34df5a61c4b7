"""Small networks and data that tests of recipes and tricks share; built in milliseconds, without the registry."""

import keras
import numpy as np
from keras import layers

from zoo import registry
from zoo.layers.norms import norm_layer
from zoo.spec import Spec, attach


def image_net(num_classes=3, *, drop_rate=0.1, image_shape=(6, 6, 2), norm=True):
    """Returns a small CNN with batch norm and dropout, image (B, H, W, C) -> logits."""
    image = x = keras.Input(image_shape, name="image")
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(x)
    if norm:
        x = layers.BatchNormalization(name="norm")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(drop_rate, name="drop")(x)
    model = keras.Model(image, layers.Dense(num_classes, name="logits")(x), name="image_net")
    return attach(model, Spec("image_net", {"drop_rate": drop_rate}, "image_classification"))


def text_net(num_classes=1, *, vocab_size=20, sequence_length=6, lstm=False, drop_rate=0.1):
    """Returns a small text classifier that masks padding, tokens (B, T) -> logits."""
    tokens = keras.Input((sequence_length,), dtype="int32", name="tokens")
    x = layers.Embedding(vocab_size, 4, mask_zero=True, name="embedding")(tokens)
    x = layers.LSTM(4, name="lstm")(x) if lstm else layers.GlobalAveragePooling1D(name="pool")(x)
    x = layers.Dropout(drop_rate, name="drop")(x)
    model = keras.Model(tokens, layers.Dense(num_classes, name="logits")(x), name="text_net")
    return attach(model, Spec("text_net", {}, "text_classification"))


def linear_net(num_inputs=4, num_classes=1, **dense):
    """Returns one linear layer, features (B, F) -> logits (B, C)."""
    features = keras.Input((num_inputs,), name="features")
    logits = layers.Dense(num_classes, name="logits", **dense)(features)
    model = keras.Model(features, logits, name="linear_net")
    return attach(model, Spec("linear_net", {}, "image_classification"))


def images(n=24, num_classes=3, image_shape=(6, 6, 2), seed=0):
    """Returns float32 images in [0, 1] and class numbers."""
    rng = np.random.default_rng(seed)
    return rng.random((n, *image_shape), "float32"), rng.integers(0, num_classes, n).astype("int32")


def texts(n=24, num_classes=2, vocab_size=20, sequence_length=6, seed=0):
    """Returns int32 token ids, padded with zeros at the end, and class numbers."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(1, vocab_size, (n, sequence_length)).astype("int32")
    lengths = rng.integers(2, sequence_length + 1, n)
    tokens[np.arange(sequence_length) >= lengths[:, None]] = 0
    return tokens, rng.integers(0, num_classes, n).astype("int32")


def numpy_weights(model):
    """Returns copies of a model's weights."""
    return [np.array(w) for w in model.get_weights()]


def forget(unwanted):
    """Takes builders that tests registered out of the registry again.

    Args:
        unwanted: function of a `zoo.registry.Builder` that says which.
    """
    for builder in [b for b in registry.builders() if unwanted(b)]:
        del registry._builders[builder.family]
        for name in {builder.family, *builder.variants}:
            del registry._variants[name]


def switch_net(
    *,
    image_shape: tuple = (6, 6, 2),
    num_classes: int = 3,
    norm: str | None = "batch",
    activation: str = "relu",
    drop_rate: float = 0.1,
    drop_path_rate: float = 0.0,
    shortcut: bool = True,
    separable: bool = False,
):
    """Returns a small CNN with every switch that builder-stage tricks know, image (B, H, W, C) -> logits."""
    image = keras.Input(image_shape, name="image")
    x = layers.Conv2D(4, 3, padding="same", name="stem")(image)
    branch = norm_layer(x, norm, name="norm")
    branch = layers.Activation(activation, name="activation")(branch)
    conv = layers.SeparableConv2D if separable else layers.Conv2D
    branch = conv(4, 3, padding="same", name="conv")(branch)
    if drop_path_rate:
        branch = layers.Dropout(drop_path_rate, noise_shape=(None, 1, 1, 1), name="drop_path")(branch)
    x = layers.Add(name="add")([x, branch]) if shortcut else branch
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(drop_rate, name="drop")(x)
    return keras.Model(image, layers.Dense(num_classes, name="logits")(x), name="switch_net")


def heads_net():
    """Returns a small network with three heads, features (B, 4) -> age (B, 1), income (B, 3), gender (B, 1)."""
    features = keras.Input((4,), name="features")
    x = layers.Dense(5, activation="tanh", name="trunk")(features)
    units = {"age": 1, "income": 3, "gender": 1}
    outputs = {name: layers.Dense(n, name=name)(x) for name, n in units.items()}
    model = keras.Model(features, outputs, name="heads_net")
    kinds = {"age": ("regression", 0.25), "income": ("softmax", 1.0), "gender": ("sigmoid", 10.0)}
    heads = {name: {"kind": kind, "weight": weight} for name, (kind, weight) in kinds.items()}
    return attach(model, Spec("heads_net", {}, "attribute_prediction", heads=heads))


def number_net():
    """Returns a small network that estimates one number, features (B, 4) -> price (B, 1)."""
    features = keras.Input((4,), name="features")
    x = layers.Dense(5, activation="tanh", name="trunk")(features)
    model = keras.Model(features, layers.Dense(1, name="price")(x), name="number_net")
    heads = {"price": {"kind": "regression", "weight": 1.0}}
    return attach(model, Spec("number_net", {}, "price_estimation", heads=heads))


def rows(n=24, *, heads=False, seed=0):
    """Returns features (n, 4), and targets of `number_net`, or of `heads_net`."""
    rng = np.random.default_rng(seed)
    x, number = rng.normal(size=(n, 4)).astype("float32"), rng.normal(size=(n, 1)).astype("float32")
    if not heads:
        return x, number
    return x, {
        "age": number,
        "income": (np.arange(n) % 3).astype("int32"),
        "gender": (np.arange(n) % 2).astype("int32"),
    }


def register_switch_net():
    """Registers `switch_net` as a model of zoo's, so that `zoo.build` makes it; tests take it back by themselves."""
    registry.register("switch_net", task="image_classification", variants={"switch_net": {}})(switch_net)


def switched(text, num_classes=3, **options):
    """Returns `switch_net` built with a recipe's builder-stage tricks and compiled with all of them."""
    import zoo

    register_switch_net()
    chosen = zoo.recipe(text)
    builder, variant = registry.builder_of("switch_net")
    arguments = chosen.builder_arguments(builder, variant, {"num_classes": num_classes})
    model = zoo.build("switch_net", **arguments)
    chosen.initialise(model)
    return chosen.compile(model, **options)


def _compiling(make):
    def compiled(text, **options):
        import zoo

        return zoo.recipe(text).compile(make(), **options)

    return compiled


# What tests of all tricks run on: function `(recipe, **compile options) -> compiled model`, and its data.
NETS = {
    "image": (switched, lambda: images()),
    "binary": (lambda text, **options: switched(text, 1, **options), lambda: images(num_classes=2)),
    "text": (_compiling(text_net), texts),
    "heads": (_compiling(heads_net), lambda: rows(heads=True)),
    "number": (_compiling(number_net), rows),
}
