"""Pictures of tricks that change what a network is made of, or what its head is asked: shortcuts, priors, noise."""

import keras
import numpy as np
from keras import layers, ops

from zoo import recipes
from zoo.documenting.drawing import digits, fitted, legend, tidy
from zoo.losses import standard_loss
from zoo.objectives import value_and_gradients
from zoo.spec import Spec, attach

CLASSES = 100  # of the words that nce and negative_sampling learn the frequencies of


def probabilities(figure, kind):
    """What a head of three classes says while the logit of one rises and the others stay at 0 and 1."""
    axes = figure.subplots()
    swept = np.linspace(-4, 6, 101)
    logits = ops.convert_to_tensor(np.stack([swept, 0 * swept, 0 * swept + 1], 1), "float32")
    plan = recipes.recipe(f"{kind}_head").plan(_bare(3)).settled()
    activation = {"softmax": ops.softmax, "sigmoid": ops.sigmoid}[plan.heads[0].kind]
    shares = ops.convert_to_numpy(activation(logits))
    for place, name in enumerate(("cat, its logit rising", "dog, logit 0", "fox, logit 1")):
        axes.plot(swept, shares[:, place], label=name)
    axes.plot(swept, shares.sum(1), color="grey", linestyle=":", label="sum")
    tidy(axes, "logit of cat", "probability")
    legend(axes)


def _bare(num_classes):
    """Returns a network that is nothing but a head, features (B, 1) -> logits."""
    features = keras.Input((1,), name="features")
    model = keras.Model(features, layers.Dense(num_classes, name="logits")(features), name="bare")
    return attach(model, Spec("bare", {}, "image_classification"))


def first_loss(figure):
    """The loss before the first step of a sigmoid head, one class of many being right, by the prior of its bias."""
    axes = figure.subplots()
    priors = np.logspace(-4, -0.31, 24)
    features, label = ops.zeros((1, 1)), np.zeros((1,), "int32")
    for count in (10, 100, 1000):
        losses = []
        for prior in priors:
            model, recipe = _bare(count), recipes.recipe(f"sigmoid_head+classifier_bias_prior(prior={prior:.6f})")
            recipe.initialise(model)
            head = recipe.plan(model).settled().heads[0]
            losses.append(float(ops.mean(standard_loss(head, 0.0)(label, model(features)))))
        (line,) = axes.plot(priors, losses, label=f"{count:,} classes")
        axes.plot(1 / count, np.interp(1 / count, priors, losses), "o", color=line.get_color())
    axes.set(xscale="log", yscale="log")
    tidy(axes, "prior; a bias of zero is at 0.5, dots at one in C", "first loss")
    legend(axes)


def frequencies(figure, name):
    """What logits of a hundred words tend to, learned from sampled noise alone, against what they should."""
    axes = figure.subplots()
    share = 1 / np.arange(1, CLASSES + 1)
    share /= share.sum()
    words = np.repeat(np.arange(CLASSES), np.round(share * 20000).astype(int)).astype("int32")
    p, samples = np.bincount(words) / len(words), 20
    words = np.random.RandomState(0).permutation(words)
    recipe = f"{name}(samples={samples},noise='uniform')+adam(learning_rate=0.05)+cosine"
    ones = np.ones((len(words), 1), "float32")
    model = fitted(lambda: _bare(CLASSES), recipe, ones, words, epochs=20, batch_size=256)
    logits = ops.convert_to_numpy(model(ones[:1]))[0]
    if name == "nce":
        expected, found = np.log(p), logits - np.log(CLASSES)
        x, y = "log p of a word", "logit - log V, learned"
    else:
        expected, found = np.log(p / (1 - p) / (samples / CLASSES)), logits
        x, y = "log(p / (1 - p) / (K q)) of a word", "logit, learned"
    ends = [expected.min(), expected.max()]
    axes.plot(ends, ends, color="grey", linewidth=1, label="exact")
    axes.plot(expected, found, ".", label=f"{name}(samples={samples}), {CLASSES} words")
    tidy(axes, x, y)
    legend(axes)


def slopes_by_depth(figure):
    """How long the loss's gradient by the weights of each block is at the start, from the input side."""
    axes = figure.subplots()
    x, y = digits(64)
    x = ops.convert_to_tensor(np.repeat(x.repeat(2, 1).repeat(2, 2), 3, 3))
    from zoo.factory import build

    for on in (True, False):
        keras.utils.set_random_seed(0)
        model = build("resnet56", recipe=f"skip(on={on})", image_shape=(16, 16, 3))
        axes.plot(_slopes(model, x, y), marker=".", markersize=4, label=f"skip(on={on})")
    axes.set_yscale("log")
    tidy(axes, "convolution of a resnet56, from the image on", "length of the gradient")
    legend(axes)


def _slopes(model, x, y):
    kernels = [v for v in model.trainable_variables if v.path.endswith("kernel") and len(v.shape) == 4]
    values = [ops.convert_to_tensor(v.value) for v in kernels]

    def loss(values):
        mapping = list(zip(kernels, values, strict=True))
        with keras.StatelessScope(state_mapping=mapping, initialize_variables=False):
            return ops.mean(keras.losses.sparse_categorical_crossentropy(y, model(x, training=True), from_logits=True))

    _, gradients = value_and_gradients(loss, values)
    return [float(ops.norm(ops.reshape(g, (-1,)))) for g in gradients]


def sizes(figure):
    """The weights of whole networks with ordinary convolutions and with separable ones."""
    from zoo.factory import build

    axes = figure.subplots()
    names = ("separable", "resnet20", "resnet56", "xception_small")
    for place, on in enumerate((False, True)):
        counts = [build(name, recipe=f"separable(on={on})").count_params() for name in names]
        bars = axes.bar(np.arange(len(names)) + 0.38 * place, counts, 0.36, label=f"separable(on={on})")
        axes.bar_label(bars, [f"{count / 1000:,.0f}k" for count in counts], fontsize=7)
    axes.set(yscale="log", xticks=np.arange(len(names)) + 0.19, xticklabels=names)
    tidy(axes, "", "weights")
    legend(axes)


DRAWERS = {
    "sigmoid_head": lambda figure: probabilities(figure, "sigmoid"),
    "softmax_head": lambda figure: probabilities(figure, "softmax"),
    "classifier_bias_prior": first_loss,
    "nce": lambda figure: frequencies(figure, "nce"),
    "negative_sampling": lambda figure: frequencies(figure, "negative_sampling"),
    "skip": slopes_by_depth,
    "separable": sizes,
}
