"""A small picture of each trick that has something to see: a rate over time, a loss, augmented photographs, a path."""

import functools

import keras
import numpy as np
from keras import ops

from zoo import recipes
from zoo.augmentation import applied
from zoo.documenting import pictures_of_heads, pictures_of_inputs, pictures_of_training, pictures_of_tuning
from zoo.documenting.drawing import legend, tidy
from zoo.losses import standard_loss
from zoo.plan import Head
from zoo.schedules import BoundSchedule, rate_of
from zoo.spec import Spec, attach

EPOCHS, STEPS = 10, 50  # of the schedules that are drawn
PHOTO = 96  # pixels
SCHEDULES = {
    "cosine": ["cosine", "warmup(epochs=2)+cosine"],
    "cyclic": ["cyclic(epochs=2)", "cyclic(epochs=2,growth=1)"],
    "one_cycle": ["one_cycle"],
    "polynomial": ["polynomial", "polynomial(power=2)"],
    "step": ["step"],
    "warmup": ["warmup(epochs=2)", "warmup(epochs=2)+cosine"],
    "lr_finder": ["lr_finder"],
    "snapshot": ["snapshot+cyclic(epochs=2,growth=1)"],
}
LOSSES = {
    "focal": ["plain", "focal(gamma=1)", "focal", "focal(gamma=5)"],
    "label_smoothing": ["plain", "label_smoothing", "label_smoothing(amount=0.3)"],
    "sigmoid_ce": ["plain", "sigmoid_ce"],
    "flooding": ["plain", "flooding(level=0.3)"],
}
AUGMENTATIONS = ("flip_crop", "mixup", "cutmix", "randaugment", "gridmask", "random_erasing")
ACTIVATIONS = ("relu", "gelu", "silu")
NORMS = {"batch_norm": "batch", "group_norm": "group", "layer_norm": "layer"}
ATTACKS = ("fgsm", "ifgsm", "pgd")


def drawers():
    """Returns trick name -> function of a matplotlib `Axes` (or figure) that draws its picture."""
    from zoo.registry import list_tricks

    found = {name: functools.partial(schedule, recipe=texts) for name, texts in SCHEDULES.items()}
    found |= {name: functools.partial(loss_by_probability, recipe=texts) for name, texts in LOSSES.items()}
    found |= {name: functools.partial(photographs, name=name) for name in AUGMENTATIONS}
    found |= {name: functools.partial(activation, name=name) for name in ACTIVATIONS}
    found |= {name: functools.partial(shared_statistics, norm=norm) for name, norm in NORMS.items()}
    found |= {name: functools.partial(attack, name=name) for name in ATTACKS}
    found |= {row.name: functools.partial(valley, name=row.name) for row in list_tricks(stage="optimizer")}
    found |= {"ema": averages, "swa": averages, "sam": sharpness, "drop_path": survival, "layer_decay": decays}
    found |= {"dropout": zeroed, "class_balance": balance, "distill": softened, "gradual_unfreeze": thaw}
    for drawn in (pictures_of_training, pictures_of_inputs, pictures_of_heads, pictures_of_tuning):
        found |= drawn.DRAWERS
    return found


def draw(name, path):
    """Draws a trick's picture into a PNG file."""
    from matplotlib.figure import Figure

    size = (7.2, 1.5) if name in AUGMENTATIONS else pictures_of_inputs.WIDE.get(name, (4.8, 2.7))
    figure = Figure(figsize=size, layout="constrained", dpi=100)
    drawers()[name](figure)
    figure.savefig(path, metadata={"Software": None})


# Nets to plan on


def _net(num_classes=3):
    features = keras.Input((2,), name="features")
    model = keras.Model(features, keras.layers.Dense(num_classes, name="logits")(features), name="net")
    return attach(model, Spec("net", {}, "image_classification"))


def _image_net():
    image = keras.Input((PHOTO, PHOTO, 3), name="image")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(image)
    model = keras.Model(image, keras.layers.Dense(2, name="logits")(x), name="net")
    return attach(model, Spec("net", {}, "image_classification"))


# What is drawn


def schedule(figure, recipe):
    """The learning rate over a fit of ten epochs."""
    axes = figure.subplots()
    total = EPOCHS * STEPS
    for text in recipe:
        plan = recipes.recipe(text).plan(_net())
        rate = plan.learning_rate if plan.decay is None else plan.decay(plan.learning_rate)
        for wrap in plan.wrappers:
            rate = wrap(rate)
        if isinstance(rate, BoundSchedule):
            rate.bind(steps_per_epoch=STEPS, epochs=EPOCHS)
        step = np.arange(total, dtype="float32")
        values = [float(rate_of(rate, s, float(total), float(STEPS))) for s in step]
        axes.plot(step / STEPS, values, label=text)
    if recipe == ["lr_finder"]:
        axes.set_yscale("log")
    tidy(axes, "epoch", "learning rate")
    legend(axes)


def loss_by_probability(figure, recipe):
    """The loss of one example against the probability that the model gives its class."""
    axes = figure.subplots()
    p = np.linspace(0.01, 0.99, 99)
    logits = ops.convert_to_tensor(np.stack([np.log(p), np.log((1 - p) / 2), np.log((1 - p) / 2)], 1), "float32")
    for text in recipe:
        plan = recipes.recipe(text).plan(_net())
        loss = (plan.loss or standard_loss)(Head("logits", "softmax", 3), plan.label_smoothing)
        loss.reduction = None
        values = loss(np.zeros(99, "int32"), logits)
        values = values if plan.bound is None else plan.bound(values)
        axes.plot(p, ops.convert_to_numpy(values), label="cross-entropy" if text == "plain" else text)
    axes.set_ylim(0, 4)
    tidy(axes, "probability of the right class, one of three", "loss")
    legend(axes)


def photographs(figure, name):
    """Two photographs of scikit-learn's, and what a batch of them becomes."""
    import tensorflow as tf
    from sklearn.datasets import load_sample_images

    found = [tf.image.resize(i[:, 100:527] / 255.0, (PHOTO, PHOTO)).numpy() for i in load_sample_images().images]
    batch = np.stack([*found, *found, *found]).astype("float32")
    labels = tf.constant([0, 1] * 3)
    text = "mixup(alpha=1.0)" if name == "mixup" else name  # at 0.2 most pairs are hardly mixed
    functions = recipes.recipe(text).plan(_image_net()).augment
    images, targets = applied(functions, tf.constant(batch), labels, tf.constant([[3, 6]] * len(functions)))
    shown = [*found, *np.clip(images, 0, 1)[2:]]
    axes = figure.subplots(1, 6)
    for i, (image, place) in enumerate(zip(shown, axes, strict=True)):
        place.imshow(image)
        place.axis("off")
        title = ("temple", "flower")[i] if i < 2 else ""
        if i > 1 and len(targets.shape) > 1:
            title = f"{float(targets[i, 0]):.0%} temple"
        place.set_title(title, fontsize=7)


def activation(figure, name):
    """The three activations, one of them drawn out."""
    axes = figure.subplots()
    x = np.linspace(-4, 4, 201)
    for other in ACTIVATIONS:
        y = ops.convert_to_numpy(getattr(keras.activations, other)(ops.convert_to_tensor(x, "float32")))
        axes.plot(x, y, label=other, alpha=1.0 if other == name else 0.35, linewidth=2.5 if other == name else 1)
    tidy(axes, "x", "activation")
    legend(axes)


def shared_statistics(figure, norm):
    """Which values of a batch share one mean and variance: examples downwards, channels across."""
    axes = figure.subplots()
    examples, channels = 4, 8
    example, channel = np.mgrid[:examples, :channels]
    groups = {"batch": channel, "group": example * 4 + channel // 2, "layer": np.zeros_like(example)}
    groups["layer"] = example
    axes.imshow(groups[norm] % 20, cmap="tab20", aspect="auto")
    axes.set(xlabel="channel", ylabel="example", xticks=range(channels), yticks=range(examples))
    axes.set_title("one colour: one mean and variance" + (", at each place" if norm == "layer" else ""), fontsize=8)


def valley(figure, name):
    """The path of an optimizer along a narrow valley, beside that of plain gradient descent."""
    axes = figure.subplots()
    x, y = np.meshgrid(np.linspace(-2.3, 1.0, 80), np.linspace(-1.0, 1.0, 60))
    axes.contour(x, y, 0.5 * (x**2 + 25 * y**2), levels=14, cmap="Greys", linewidths=0.6)
    for text in dict.fromkeys(["sgd(learning_rate=0.03,momentum=0.0)", _paced(name)]):
        path = _path(text)
        axes.plot(*path.T, marker=".", markersize=3, linewidth=1, label=text)
    axes.set(xlim=(-2.3, 1.0), ylim=(-1.0, 1.0))
    tidy(axes, "", "")
    legend(axes)


def _paced(name):
    """Returns a trick at a rate at which forty steps say something."""
    wrapped = {
        "lookahead": "lookahead+sgd(learning_rate=0.06,momentum=0.0)",
        "clip_norm": "clip_norm(norm=1.0)+sgd(learning_rate=0.07,momentum=0.0)",
    }
    rates = {
        "sgd": 0.03,
        "adadelta": 20.0,
        "adagrad": 0.5,
        "ftrl": 0.5,
        "lamb": 0.1,
        "adafactor": 0.1,
        "lion": 0.05,
        "radam": 0.03,
    }
    return wrapped.get(name) or f"{name}(learning_rate={rates.get(name, 0.15)})"


def _path(text, steps=40):
    net = _net(1)
    plan = recipes.recipe(text).plan(net)
    from zoo.optimizers import optimizer_of

    place = keras.Variable(np.array([[-2.0], [0.8]], "float32"), name="place")
    optimizer = optimizer_of(plan, net)
    optimizer.build([place])
    path = [place.numpy().ravel().copy()]
    for _ in range(steps):
        gradient = ops.convert_to_tensor(np.array([[1.0], [25.0]], "float32") * place.numpy())
        optimizer.apply([gradient], [place])
        path.append(place.numpy().ravel().copy())
    return np.array(path)


def attack(figure, name):
    """Where an attack moves some points of two classes, and the ball it stays in."""
    from zoo.attacks import Attack

    axes = figure.subplots()
    rng = np.random.default_rng(2)

    def slope(points):  # of the loss of class +1 under the boundary y = 0.6 sin(2 x)
        x, y = np.asarray(points).T
        margin = y - 0.6 * np.sin(2 * x)
        pull = -1 / (1 + np.exp(margin))
        return np.stack([pull * -1.2 * np.cos(2 * x), pull], 1)

    x = np.linspace(-2.2, 2.2, 200)
    axes.plot(x, 0.6 * np.sin(2 * x), color="grey", linewidth=1, label="decision boundary")
    starts = np.stack([np.linspace(-1.7, 1.7, 4), 0.6 * np.sin(2 * np.linspace(-1.7, 1.7, 4)) + 0.35], 1)
    chosen = recipes.recipe(name).tricks[0]
    steps = getattr(chosen, "steps", 1)
    epsilon = 0.45
    size = epsilon if steps == 1 else 2.5 * epsilon / steps
    made = Attack(epsilon, steps, size, name == "pgd")
    for origin in starts:
        first = origin[None] + (rng.uniform(-epsilon, epsilon, (1, 2)) if name == "pgd" else 0)
        path, value = [first[0]], ops.convert_to_tensor(first, "float32")
        for _ in range(steps):
            gradient = ops.convert_to_tensor(slope(ops.convert_to_numpy(value)), "float32")
            value = made.step(value, gradient, ops.convert_to_tensor(origin[None], "float32"))
            path.append(ops.convert_to_numpy(value)[0])
        path = np.array(path)
        axes.plot(*path.T, marker=".", color="C3", linewidth=1)
        axes.plot(*origin, marker="o", color="C0")
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) * epsilon + origin
        axes.plot(*corners.T, color="C0", linewidth=0.7, linestyle=":")
    axes.set_aspect("equal")
    tidy(axes, "", "")


def averages(figure):
    """Weights that a constant rate keeps moving, their exponential average, and the mean of the last quarter."""
    axes = figure.subplots()
    rng = np.random.default_rng(0)
    steps = 400
    raw = np.exp(-np.arange(steps) / 60) + np.convolve(rng.normal(0, 0.12, steps + 4), np.ones(5) / 5, "valid")
    ema = [raw[0]]
    for value in raw[1:]:
        ema.append(0.99 * ema[-1] + 0.01 * value)
    ends = np.arange(319, steps, 20)
    swa = np.cumsum(raw[ends]) / np.arange(1, len(ends) + 1)
    axes.plot(raw, color="grey", linewidth=0.7, label="weight")
    axes.plot(ema, label="ema(momentum=0.99)")
    axes.plot(ends, swa, marker=".", label="swa(start=0.75), at epoch ends")
    tidy(axes, "step", "one weight")
    legend(axes)


def sharpness(figure):
    """One weight with a sharp minimum and a flat one: its loss, and the worst one nearby, which sam descends."""
    axes = figure.subplots()
    w = np.linspace(-2, 3, 1001)
    loss = 1.2 - 1.1 * np.exp(-((w + 0.8) ** 2) / 0.02) - 1.0 * np.exp(-((w - 1.4) ** 2) / 0.8)
    reach = 50  # of 1001 points over 5: a rho of 0.25
    worst = np.array([loss[max(i - reach, 0) : i + reach + 1].max() for i in range(len(w))])
    axes.plot(w, loss, label="L(w)")
    axes.plot(w, worst, label="max of L(w + e), |e| <= 0.25")
    tidy(axes, "one weight", "loss")
    legend(axes)


def survival(figure):
    """The share of examples that each of twelve blocks keeps, linearly falling with depth."""
    axes = figure.subplots()
    blocks = np.arange(1, 13)
    for rate in (0.1, 0.2, 0.5):
        axes.plot(blocks, 1 - rate * (blocks - 1) / 11, marker=".", label=f"drop_path(rate={rate:g})")
    axes.set_ylim(0, 1.05)
    tidy(axes, "block", "share of examples that pass it")
    legend(axes)


def decays(figure):
    """The factor of the learning rate in each of twelve blocks, from the input side."""
    axes = figure.subplots()
    groups = np.arange(14)
    for rate in (0.65, 0.75, 0.9):
        axes.plot(groups, rate ** (13 - groups), marker=".", label=f"layer_decay(rate={rate:g})")
    tidy(axes, "group of layers: stem, twelve blocks, head", "factor of the learning rate")
    legend(axes)


def zeroed(figure):
    """Which units of a layer three examples keep in one training step."""
    axes = figure.subplots()
    kept = np.random.default_rng(1).random((3, 24)) >= 0.3
    axes.imshow(kept, cmap="Greys", aspect="auto", vmin=-0.4)
    axes.set(xlabel="unit", ylabel="example", yticks=range(3))
    axes.set_title("dropout(rate=0.3): pale is zero, the rest is divided by 0.7", fontsize=8)


def balance(figure):
    """The weight of a class against its number of examples, the mean weight of all examples being 1."""
    from zoo.balancing import class_weights

    axes = figure.subplots()
    counts = np.array([10, 30, 100, 300, 1000, 3000, 10000])
    for beta in (None, 0.9999, 0.999, 0.99):
        axes.plot(counts, class_weights(counts, beta), marker=".", label="1 / n" if beta is None else f"beta={beta:g}")
    axes.set(xscale="log", yscale="log")
    tidy(axes, "examples of the class", "weight")
    legend(axes)


def softened(figure):
    """What a teacher with logits 4, 2, 1, 0 says of four classes at three temperatures."""
    axes = figure.subplots()
    logits = np.array([4.0, 2.0, 1.0, 0.0])
    for i, temperature in enumerate((1, 2, 5)):
        p = np.exp(logits / temperature)
        axes.bar(np.arange(4) + 0.25 * (i - 1), p / p.sum(), 0.23, label=f"temperature={temperature}")
    axes.set_xticks(range(4))
    tidy(axes, "class", "probability")
    legend(axes)


def thaw(figure):
    """Which of five groups of layers train in each epoch, the head first."""
    axes = figure.subplots()
    epoch, group = np.mgrid[:8, :5]
    axes.imshow((epoch >= group).T, cmap="Blues", aspect="auto", vmin=-0.5, vmax=1.5)
    axes.set(
        xlabel="epoch", xticks=range(8), yticks=range(5), yticklabels=["head", "block 3", "block 2", "block 1", "stem"]
    )
    axes.set_title("dark trains, pale is frozen: epochs_per_group=1", fontsize=8)
