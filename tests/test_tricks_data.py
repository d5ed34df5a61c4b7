"""The data stage: each augmentation against PIL, SciPy, NumPy or its own definition, soft labels, and class balance."""

import itertools

import keras
import numpy as np
import pytest
from nets import image_net, images, linear_net, numpy_weights, text_net, texts

import zoo
from zoo.augmentation import COVERS, MIXES, PIXELS, applied, augmented
from zoo.balancing import Balance, balanced, class_weights
from zoo.data.base import ArraySplit, TreeSplit
from zoo.data.feed import feed
from zoo.data.preprocessing import image_declaration
from zoo.errors import DataError, InvalidArgument, UnknownName
from zoo.losses import CrossEntropy

tf = pytest.importorskip("tensorflow")

from zoo import pixels  # noqa: E402
from zoo.mixing import beta, mixed, partners_of, soft_targets  # noqa: E402
from zoo.pixels import PixelRange  # noqa: E402
from zoo.tricks.cutmix import boxes, cutmix  # noqa: E402
from zoo.tricks.gridmask import grid  # noqa: E402
from zoo.tricks.mixup import mixup  # noqa: E402
from zoo.tricks.randaugment import OPERATIONS, operations, randaugment  # noqa: E402
from zoo.tricks.random_erasing import rectangles  # noqa: E402
from zoo.tricks.word_dropout import word_dropout  # noqa: E402

AUGMENTS = ["mixup", "cutmix", "randaugment", "gridmask", "random_erasing", "flip_crop", "word_dropout"]
SEEDS = [(0, 0), (1, 5), (7, 11)]


def augment_of(text, model=None):
    """Returns the one augment function of a recipe."""
    [function] = zoo.recipe(text).plan(model or image_net()).augment
    return function


def bytes_images(n=6, shape=(17, 23, 3), seed=0):
    """Returns images of 0 to 255, half of them smooth, as PIL takes them, and the same from 0 to 1."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (n, *shape))
    ramp = np.linspace(40, 180, shape[0])[:, None, None] + np.linspace(0, 30, shape[1])[None, :, None]
    x[::2] = ramp + rng.integers(0, 9, shape)
    x = x.astype("uint8")
    return x, x.astype("float32") / 255


# Operations on pixels


def of_pil(function, x):
    """Returns what a function of a PIL image makes of each image, as float64 (B, H, W, C) of 0 to 255."""
    from PIL import Image

    opened = [Image.fromarray(row if row.shape[-1] == 3 else row[..., 0]) for row in x]
    return np.stack([np.asarray(function(image), "float64").reshape(x.shape[1:]) for image in opened])


def pil_operations():
    from PIL import ImageEnhance, ImageOps

    rows = {
        "posterize": (lambda f: lambda i: ImageOps.posterize(i, f), (7, 6, 4)),
        "solarize": (lambda f: lambda i: ImageOps.solarize(i, round(f * 255)), (178 / 255, 0.4)),
        "autocontrast": (lambda f: ImageOps.autocontrast, (0.0,)),
        "equalize": (lambda f: ImageOps.equalize, (0.0,)),
    }
    for name, kind in (("brightness", "Brightness"), ("color", "Color"), ("contrast", "Contrast")):
        rows[name] = (lambda f, kind=kind: lambda i: getattr(ImageEnhance, kind)(i).enhance(f), (0.1, 0.73, 1.27, 1.9))
    rows["sharpness"] = (lambda f: lambda i: ImageEnhance.Sharpness(i).enhance(f), (0.1, 0.73, 1.27, 1.9))
    return rows


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", sorted(pil_operations()))
def test_an_operation_is_that_of_pil(name, channels):
    if name == "color" and channels == 1:
        pytest.skip("grey has no colour")
    x, x01 = bytes_images(shape=(17, 23, channels))
    make, factors = pil_operations()[name]
    for factor in factors:
        found = getattr(pixels, name)(tf.constant(x01), tf.fill((len(x),), np.float32(factor))).numpy() * 255
        wanted = of_pil(make(factor), x)
        exact = name in ("posterize", "solarize", "equalize")
        # PIL rounds to whole numbers after each step: the mean grey, the smoothed image, the table
        assert np.abs(found - wanted).max() <= (0.01 if exact else 2.01), factor
        assert np.abs(found - wanted).mean() <= (0.01 if exact else 0.7), factor


def test_tones_of_flat_and_tiny_images_stay():
    flat = np.full((2, 5, 5, 1), 0.3, "float32")
    np.testing.assert_array_equal(pixels.autocontrast(flat), flat)
    np.testing.assert_allclose(pixels.equalize(flat), np.round(flat * 255) / 255, atol=1e-6)
    tiny = np.random.default_rng(0).random((3, 2, 2, 3)).astype("float32")
    np.testing.assert_array_equal(pixels.sharpness(tf.constant(tiny), tf.ones(3) * 1.5), tiny)
    np.testing.assert_allclose(pixels.equalize(tiny), np.round(tiny * 255) / 255, atol=1e-6)


MOVES = {  # output (y, x) from the centre -> input (y, x), written from what each move is said to do
    "rotate": lambda v, h, w: np.array([[np.cos(r := np.deg2rad(v)), -np.sin(r), 0], [np.sin(r), np.cos(r), 0]]),
    "shear_x": lambda v, h, w: np.array([[1, 0, 0], [v, 1, 0]]),
    "shear_y": lambda v, h, w: np.array([[1, v, 0], [0, 1, 0]]),
    "translate_x": lambda v, h, w: np.array([[1, 0, 0], [0, 1, -v * w]]),
    "translate_y": lambda v, h, w: np.array([[1, 0, -v * h], [0, 1, 0]]),
}


@pytest.mark.parametrize("name", MOVES)
def test_a_move_is_that_of_scipy(name):
    from scipy.ndimage import affine_transform

    _, x = bytes_images()
    values = {"rotate": [-30, -9, 0, 9, 30, 90]}.get(name, [-0.3, -0.1, 0, 0.05, 0.2, 0.45])
    found = getattr(pixels, name)(tf.constant(x), tf.constant(values, "float32")).numpy()
    centre = (np.array(x.shape[1:3]) - 1) / 2
    for image, value, moved in zip(x, values, found, strict=True):
        matrix = MOVES[name](value, *x.shape[1:3])
        offset = centre + matrix[:, 2] - matrix[:, :2] @ centre
        for channel in range(3):
            wanted = affine_transform(image[..., channel], matrix[:, :2], offset, order=1, mode="grid-constant")
            np.testing.assert_allclose(moved[..., channel], wanted, atol=2e-4)


def test_turning_is_clockwise_and_shifting_is_to_the_right_and_down():
    square = np.random.default_rng(0).random((1, 6, 6, 1)).astype("float32")
    turned = pixels.rotate(tf.constant(square), tf.constant([90.0]))
    np.testing.assert_allclose(turned[0], np.rot90(square[0], -1), atol=1e-5)
    right = pixels.translate_x(tf.constant(square), tf.constant([1 / 6]))
    np.testing.assert_allclose(right[0, :, 1:], square[0, :, :-1], atol=1e-5)
    assert not np.any(right[0, :, 0])
    down = pixels.translate_y(tf.constant(square), tf.constant([1 / 6]))
    np.testing.assert_allclose(down[0, 1:], square[0, :-1], atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_each_image_gets_operations_of_its_own(channels):
    """One operation on many copies of one image gives as many results as there are operations and signs."""
    _, x = bytes_images(1, (16, 16, channels))
    names = operations(channels)
    assert len(names) == (14 if channels == 3 else 13)
    copies = tf.repeat(tf.constant(x), 400, axis=0)
    found = randaugment(copies, tf.constant([3, 4]), num_ops=1, magnitude=15.0).numpy()
    results = np.unique(found.reshape(400, -1), axis=0)
    wanted = []
    for name in names:
        for sign in (-1.0, 1.0):
            argument = OPERATIONS[name] and OPERATIONS[name](0.5, tf.constant([sign]))
            wanted.append(x[0] if name == "identity" else getattr(pixels, name)(tf.constant(x), argument).numpy()[0])
    wanted = np.unique(np.stack(wanted).reshape(len(wanted), -1), axis=0)
    assert results.shape == wanted.shape
    np.testing.assert_allclose(results, wanted, atol=1e-6)
    two = randaugment(copies, tf.constant([3, 4]), num_ops=2, magnitude=15.0).numpy()
    assert len(np.unique(two.reshape(400, -1), axis=0)) > 2 * len(wanted)
    assert np.all((two >= -1e-6) & (two <= 1 + 1e-6))


def test_randaugment_without_strength_only_spreads_tones():
    _, x = bytes_images(64)
    found = randaugment(tf.constant(x), tf.constant([0, 1]), num_ops=1, magnitude=0.0).numpy()
    kept = np.abs(found - x).reshape(64, -1).max(axis=1) < 1e-5
    spread = [np.abs(found - f(x)).reshape(64, -1).max(axis=1) < 1e-5 for f in (pixels.autocontrast, pixels.equalize)]
    assert np.all(kept | spread[0] | spread[1])
    assert kept.mean() > 0.6


@pytest.mark.parametrize(
    ("mean", "std", "maximum"),
    [(None, None, 255.0), ([0.5, 0.4, 0.3], [0.2, 0.25, 0.3], 255.0), ([0.5] * 3, [0.5] * 3, 1.0)],
)
@pytest.mark.parametrize("text", ["randaugment(magnitude=19)", "random_erasing(probability=1.0)"])
def test_the_range_of_pixels_is_that_of_the_preprocessing(text, mean, std, maximum):
    """The same pictures give the same pictures, whatever numbers the model reads them as."""
    _x, x01 = bytes_images(20, (8, 8, 3))
    net = image_net(image_shape=(8, 8, 3))
    declared = image_declaration((8, 8, 3), maximum=maximum, mean=mean, std=std)
    augment, seeds = augment_of(text, net), tf.constant([2, 3])
    plain = augment(tf.constant(x01), None, seeds)[0].numpy()
    net.zoo_spec = net.zoo_spec.but(preprocessing=declared)  # as zoo.train does, after the recipe is compiled
    mean, std = np.array(mean or [0.0] * 3), np.array(std or [1.0] * 3)
    read = ((x01 - mean) / std).astype("float32")
    found = augment(tf.constant(read), None, seeds)[0].numpy() * std + mean
    np.testing.assert_allclose(found, plain, atol=0.6 / 255)
    given = augment_of(f"{text[:-1]}, low=0.0, high=255.0)", net)(tf.constant(x01 * 255), None, seeds)[0]
    np.testing.assert_allclose(given.numpy() / 255, plain, atol=0.6 / 255)


def test_pixels_outside_the_range_are_refused():
    x, y = images(12)
    wrong = r"randaugment takes pixels of 0 to 1, and these are .* to 2\d\d.* randaugment\(low=0, high=255\)"
    model = zoo.recipe("randaugment").compile(image_net())
    with pytest.raises(InvalidArgument, match=wrong):
        model.fit(x * 255, y, verbose=0)
    with pytest.raises(InvalidArgument, match=wrong):
        model.fit(tf.data.Dataset.from_tensor_slices((x * 255, y)).batch(4), verbose=0)
    split = ArraySplit((x * 255).astype("uint8"), y, image_declaration((6, 6, 2), maximum=None))
    with pytest.raises(InvalidArgument, match=wrong):
        feed(split, 4, seed=0, augment=model.plan.augment)
    assert augment_of("random_erasing(fill='mean')").check is None  # which needs no range
    model = zoo.recipe("randaugment(low=0, high=255)").compile(image_net(), run_eagerly=True)
    assert np.isfinite(model.fit((x * 255).astype("uint8"), y, verbose=0).history["loss"]).all()


# Covering


@pytest.mark.parametrize("seeds", SEEDS)
def test_gridmask_is_a_grid(seeds):
    keep = 0.6
    masks = grid(tf.constant(seeds), 50, 20, 30, keep=keep, smallest=4, largest=12).numpy()
    units = set()
    for mask in masks:
        holes = ~mask
        rows, columns = holes.any(axis=1), holes.any(axis=0)
        np.testing.assert_array_equal(holes, rows[:, None] & columns[None])  # rows cross columns
        matches = [
            unit
            for unit, top, left in itertools.product(range(4, 13), range(13), range(13))
            if top < unit > left
            and np.array_equal(rows, (np.arange(20) + top) % unit < unit - round(keep * unit))
            and np.array_equal(columns, (np.arange(30) + left) % unit < unit - round(keep * unit))
        ]
        assert matches
        units.add(matches[0])
    assert len(units) > 4
    assert 0.08 < (~masks).mean() < 0.25  # (1 - keep)^2, rounded to pixels


def test_gridmask_covers_with_zero_and_only_some():
    x = np.random.default_rng(0).random((500, 12, 12, 2)).astype("float32") + 1
    found = augment_of("gridmask(probability=0.3)", image_net(image_shape=(12, 12, 2)))(
        tf.constant(x), None, tf.constant([1, 2])
    )[0].numpy()
    assert np.all((found == x) | (found == 0))
    assert np.all((found[..., 0] == 0) == (found[..., 1] == 0))
    assert 0.24 < (found == 0).any(axis=(1, 2, 3)).mean() < 0.36


@pytest.mark.parametrize("seeds", SEEDS)
def test_random_erasing_draws_rectangles_of_the_area_asked_for(seeds):
    masks = rectangles(tf.constant(seeds), 2000, 32, 40, smallest=0.1, largest=0.3).numpy()
    tall, wide = masks.any(axis=2).sum(axis=1), masks.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(masks.sum(axis=(1, 2)), tall * wide)  # each is one full rectangle
    for lines in (masks.any(axis=1), masks.any(axis=2)):  # in one piece
        assert np.all(np.abs(np.diff(lines.astype(int), axis=1)).sum(axis=1) <= 2)
    share = tall * wide / (32 * 40)
    whole = (tall < 32) & (wide < 40)  # none is cut by the image's sides
    assert share[whole].min() > 0.09
    assert share.max() < 0.32
    assert abs(share[whole].mean() - 0.2) < 0.01
    aspect = (tall / wide)[whole]
    assert aspect.min() > 0.25
    assert aspect.max() < 1 / 0.25
    assert abs(np.log(aspect).mean()) < 0.06  # tall ones and wide ones alike
    assert np.all(masks.any(axis=0))  # every place is reached


@pytest.mark.parametrize("fill", ["noise", "mean"])
def test_random_erasing_fills(fill):
    x = np.random.default_rng(0).random((400, 8, 8, 2)).astype("float32") * 0.5
    text = f"random_erasing(probability=0.5, smallest=0.2, fill={fill!r})"
    augment = augment_of(text, image_net(image_shape=(8, 8, 2)))
    found = augment(tf.constant(x), None, tf.constant([1, 2]))[0].numpy()
    changed = (found != x).any(axis=-1)
    assert 0.42 < changed.any(axis=(1, 2)).mean() < 0.58
    if fill == "mean":
        means = np.broadcast_to(x.mean(axis=(1, 2), keepdims=True), x.shape)
        np.testing.assert_allclose(found[changed], means[changed], atol=1e-6)
    else:
        assert 0.45 < found[changed].mean() < 0.55
        assert found[changed].max() > 0.95


# Mixing


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0, 5.0])
def test_shares_are_drawn_from_a_beta_distribution(alpha):
    from scipy import stats

    drawn = beta(tf.constant([3, 1]), alpha, 5000).numpy().astype("float64")
    assert np.isfinite(drawn).all()
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    # ties at 0 and 1, where float32 ends, carry no information on the shape
    grid_of = np.linspace(0.001, 0.999, 400)
    empirical = np.searchsorted(np.sort(drawn), grid_of) / len(drawn)
    assert np.abs(empirical - stats.beta(alpha, alpha).cdf(grid_of)).max() < 1.63 / np.sqrt(5000)  # KS, 1%


@pytest.mark.parametrize("seeds", SEEDS)
def test_mixup_blends_images(seeds):
    x = np.random.default_rng(0).random((40, 4, 5, 2)).astype("float32")
    found, shares, partners = (np.asarray(p) for p in mixup(tf.constant(x), tf.constant(seeds), alpha=0.4))
    assert sorted(partners) == list(range(40))
    s = shares[:, None, None, None].astype("float64")
    np.testing.assert_allclose(found, s * x + (1 - s) * x[partners], atol=1e-6)


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("shape", [(8, 8), (5, 13)])
def test_cutmix_shares_are_the_exact_area(seeds, shape):
    count = 300
    x = np.broadcast_to(np.arange(count, dtype="float32")[:, None, None, None], (count, *shape, 2))
    found, shares, partners = (np.asarray(p) for p in cutmix(tf.constant(x), tf.constant(seeds), alpha=1.0))
    own = np.mean(found == x, axis=(1, 2, 3))
    alone = partners == np.arange(count)
    np.testing.assert_allclose(shares[~alone], own[~alone], atol=1e-6)
    theirs = np.broadcast_to(partners[:, None, None, None], x.shape)
    assert np.all((found == x) | (found == theirs))
    assert shares.min() < 0.3
    assert shares.max() > 0.8


def test_cutmix_boxes_are_equation_1():
    """The paper's rectangle, computed again in NumPy from the same draws."""
    seeds = tf.constant([4, 2])
    size, rows, columns = tf.unstack(tf.random.experimental.stateless_split(seeds, 3))
    share = beta(size, 1.0, 200).numpy()
    found = [e.numpy() for e in boxes(seeds, 1.0, 200, 10, 30)]
    for (low, high), seed, length in ((found[:2], rows, 10), (found[2:], columns, 30)):
        centre = tf.random.stateless_uniform((200,), seed, 0, length, "int32").numpy()
        cut = np.round(length * np.sqrt(np.float32(1) - share)).astype("int32")
        first = centre - cut // 2
        np.testing.assert_array_equal(low, np.maximum(first, 0))
        np.testing.assert_array_equal(high, np.minimum(first + cut, length))


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
@pytest.mark.parametrize("units", [1, 3])
@pytest.mark.parametrize("form", ["numbers", "column", "targets"])
def test_mixed_labels_are_the_shares_of_both(name, units, form):
    x, y = images(20, max(units, 2))
    one_hot = y[:, None].astype("float32") if units == 1 else np.eye(units, dtype="float32")[y]
    given = {"numbers": y, "column": y[:, None], "targets": one_hot}[form]
    augment = augment_of(name, image_net(units))
    found, targets = applied([augment], tf.constant(x), tf.constant(given), [tf.constant([5, 6])])
    _, inner = tf.unstack(tf.random.experimental.stateless_split(tf.constant([5, 6]), 2))
    alpha = {"mixup": 0.2, "cutmix": 1.0}[name]
    images_, shares, partners = {"mixup": mixup, "cutmix": cutmix}[name](tf.constant(x), inner, alpha=alpha)
    np.testing.assert_array_equal(found, images_)
    s = np.asarray(shares, "float64")[:, None]
    assert targets.dtype == "float32"
    assert targets.shape == (20, units)
    np.testing.assert_allclose(targets, s * one_hot + (1 - s) * one_hot[partners.numpy()], atol=1e-6)


def test_weights_of_mixed_examples_give_the_sum_of_weighted_losses():
    rng = np.random.default_rng(0)
    for units in (1, 4):
        targets = rng.random((30, 1)) if units == 1 else np.eye(4)[rng.integers(0, 4, 30)]
        targets, logits = targets.astype("float32"), rng.normal(0, 3, (30, units)).astype("float32")
        weights, shares = rng.exponential(size=30).astype("float32"), rng.random(30).astype("float32")
        weights[:9] = 0  # some pairs weigh nothing at all
        partners = rng.permutation(30)
        t, w = mixed(tf.constant(targets), tf.constant(weights), tf.constant(shares), tf.constant(partners))

        def loss(t, logits=logits):
            return keras.ops.convert_to_numpy(CrossEntropy(reduction=None)(np.asarray(t), logits)).astype("float64")

        theirs = (1 - shares) * weights[partners] * loss(targets[partners])
        np.testing.assert_allclose(w * loss(t), shares * weights * loss(targets) + theirs, rtol=1e-4, atol=1e-5)
        assert np.isfinite(t).all()
        assert np.isfinite(w).all()
        if units > 1:
            np.testing.assert_allclose(np.sum(t, axis=1), 1, atol=1e-6)


def test_mixing_both_ways_takes_one_of_them_for_each_batch():
    x, y = images(12)
    augment, seen = augment_of("mixup(alpha=1.0)+cutmix"), []
    batch = tf.function(lambda seeds: applied([augment], tf.constant(x), tf.constant(y), [seeds])[0])
    for k in range(60):
        found = batch(tf.constant([9, k])).numpy()
        pasted = np.isin(found, x).all()  # every pixel is one of an image
        blended = not np.isin(found, x).any(axis=(1, 2, 3)).all()
        assert pasted != blended
        seen.append(pasted)
    assert 18 <= sum(seen) <= 42
    assert str(zoo.recipe("mixup+cutmix")) == str(zoo.recipe("cutmix+mixup"))


def test_mixing_several_heads_and_their_weights():
    x, y = images(10)
    image = keras.Input((6, 6, 2), name="image")
    flat = keras.layers.Flatten()(image)
    outputs = {n: keras.layers.Dense(u, name=n)(flat) for n, u in (("kind", 3), ("odd", 1))}
    net = keras.Model(image, outputs, name="two")
    recipe = zoo.recipe("mixup")
    labels = {"kind": y, "odd": y % 2}
    plan = recipe.plan(net, task="image_classification")
    weights = {"kind": np.arange(10, dtype="float32"), "odd": np.ones(10, "float32")}
    seeds = [tf.constant([1, 1])]
    tensors = [tf.nest.map_structure(tf.constant, part) for part in (x, labels)]
    _, targets = applied(plan.augment, *tensors, seeds)
    assert {k: v.shape.as_list() for k, v in targets.items()} == {"kind": [10, 3], "odd": [10, 1]}
    again, kept = applied(plan.augment, *tensors, seeds, tf.nest.map_structure(tf.constant, weights))[1:]
    np.testing.assert_allclose(again["odd"], targets["odd"], atol=1e-6)  # equal weights change nothing
    np.testing.assert_allclose(kept["odd"], 1, atol=1e-6)
    assert not np.allclose(again["kind"], targets["kind"])


def test_mixup_step_by_hand():
    """One SGD step of softmax regression on blended images, its gradient derived by hand in float64."""
    image = keras.Input((2, 2, 1), name="image")
    logits = keras.layers.Dense(3, name="logits")(keras.layers.Flatten()(image))
    net = zoo.spec.attach(keras.Model(image, logits), zoo.spec.Spec("flat", {}, "image_classification"))
    w, b = (v.astype("float64") for v in numpy_weights(net))
    x, y = images(8, image_shape=(2, 2, 1))
    model = zoo.recipe("mixup(alpha=0.7)+sgd(learning_rate=0.5, momentum=0.0)").compile(net)
    keras.utils.set_random_seed(3)
    data, *_ = augmented(model.plan.augment, x, y, 8, {"shuffle": False})
    blended, targets = (np.asarray(p, "float64") for p in next(data.as_numpy_iterator()))
    assert np.any((targets > 0.01) & (targets < 0.99))
    keras.utils.set_random_seed(3)
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    z = blended.reshape(8, 4) @ w + b
    error = (np.exp(z) / np.exp(z).sum(axis=1, keepdims=True) - targets) / 8
    np.testing.assert_allclose(model.get_weights()[0], w - 0.5 * blended.reshape(8, 4).T @ error, atol=2e-6)
    np.testing.assert_allclose(model.get_weights()[1], b - 0.5 * error.sum(axis=0), atol=2e-6)


@pytest.mark.parametrize("units", [1, 3])
def test_validation_accuracy_is_that_of_true_labels(units):
    """Soft training labels must not change how class numbers are read."""
    x, y = images(30, max(units, 2))
    model = zoo.recipe("mixup(alpha=5.0)").compile(image_net(units), run_eagerly=True)
    history = model.fit(x, y, batch_size=15, verbose=0, validation_data=(x, y)).history
    logits = model.predict(x, verbose=0)
    predicted = logits.argmax(axis=1) if units > 1 else logits[:, 0] > 0
    np.testing.assert_allclose(history["val_accuracy"], [np.mean(predicted == y)], atol=1e-6)


# Words


def test_word_dropout_replaces_words_alone():
    tokens = np.tile(np.r_[np.arange(1, 60), np.zeros(20)].astype("int32"), (500, 1))
    found = word_dropout(tf.constant(tokens), tf.constant([1, 2]), rate=0.2, replacement=1).numpy()
    assert np.all(found[:, 59:] == 0)
    words = found[:, 1:59]
    assert np.all((words == tokens[:, 1:59]) | (words == 1))
    assert abs(np.mean(words == 1) - 0.2) < 0.01
    assert found.dtype == np.int32


def test_word_dropout_in_a_recipe():
    tokens, _ = texts()
    found = augment_of("word_dropout(rate=0.5)", text_net())(tf.constant(tokens), None, tf.constant([1, 2]))[0]
    assert set(np.asarray(found)[tokens != found]) == {1}  # the id that data sets give to unknown words
    found = augment_of("word_dropout(rate=0.5, replace=7)", text_net())(tf.constant(tokens), None, tf.constant([1, 2]))
    assert set(np.asarray(found[0])[tokens != found[0]]) == {7}
    first, second = (keras.Input((4,), dtype="int32", name=n) for n in ("first", "second"))
    both = keras.layers.Concatenate()([first, second])
    both = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(9, 2, name="embedding")(both))
    net = keras.Model([first, second], keras.layers.Dense(1, name="logits")(both))
    pair = {"first": tf.fill((50, 4), 5), "second": tf.fill((50, 4), 6)}
    plan = zoo.recipe("word_dropout(rate=0.5)").plan(net, task="text_pair_classification")
    found = plan.augment[0](pair, None, tf.constant([1, 2]))[0]
    assert {k: set(np.unique(v)) for k, v in found.items()} == {"first": {1, 5}, "second": {1, 6}}
    assert not np.array_equal(found["first"] == 1, found["second"] == 1)


# Order and repetition


@pytest.mark.parametrize("name", AUGMENTS)
def test_the_same_seeds_give_the_same_batch(name):
    """Eagerly, compiled, and alone or in a pipeline; other seeds give another."""
    net, (x, y) = (text_net(), texts()) if name == "word_dropout" else (image_net(), images())
    augment = augment_of({"random_erasing": "random_erasing(probability=1.0)"}.get(name, name), net)

    def run(seeds):
        return applied([augment], tf.constant(x), tf.constant(y), [seeds])

    def flat(result):
        return np.concatenate([np.ravel(np.asarray(part, "float64")) for part in result])

    first = flat(run(tf.constant([4, 2])))
    np.testing.assert_array_equal(flat(run(tf.constant([4, 2]))), first)
    compiled = tf.data.Dataset.from_tensors(tf.constant([4, 2])).map(run)
    np.testing.assert_allclose(flat(next(iter(compiled))), first, atol=1e-6)
    assert not np.array_equal(flat(run(tf.constant([4, 3]))), first)


def test_a_resumed_run_repeats_every_augmentation():
    x, y = images(22, image_shape=(8, 8, 3))
    split = TreeSplit(x, y)
    text = "flip_crop(pad=1)+randaugment+gridmask+random_erasing+mixup+cutmix+class_balance"
    plan = zoo.recipe(text).plan(image_net(image_shape=(8, 8, 3)))

    def batches(**options):
        made = feed(split, 8, seed=3, augment=plan.augment, balance=plan.balance, **options)
        return [[np.asarray(part) for part in batch] for batch in made]

    whole, later = batches(epochs=4), batches(epochs=4, initial_epoch=2)
    assert [len(batch) for batch in whole] == [3] * 12
    for one, two in zip(whole[6:], later, strict=True):
        for a, b in zip(one, two, strict=True):
            np.testing.assert_array_equal(a, b)
    assert not np.array_equal(whole[0][0], whole[3][0])


def test_augmentation_runs_in_the_order_of_its_kinds():
    plan = zoo.recipe("mixup+cutmix+gridmask+randaugment+flip_crop+random_erasing").plan(image_net())
    assert sorted(f.order for f in plan.augment) == [PIXELS, PIXELS, COVERS, COVERS, MIXES]
    ran = []

    def recorder(order, name):
        def function(x, y, seeds, *weights):
            ran.append((name, int(seeds)))
            return x, y, *(weights or ())

        function.order = order
        return function

    functions = [recorder(MIXES, "mix"), recorder(COVERS, "cover"), recorder(PIXELS, "move"), recorder(PIXELS, "turn")]
    applied(functions, 0, 0, [0, 1, 2, 3])
    assert ran == [("move", 2), ("turn", 3), ("cover", 1), ("mix", 0)]  # each with the seed of its own place


# Class balance


def test_class_weights_are_the_papers():
    counts = np.array([5000, 500, 50, 3])
    plain = class_weights(counts)
    np.testing.assert_allclose(plain, counts.sum() / (4 * counts))
    for b in (0.9, 0.999, 0.9999):
        papers = (1 - b) / (1 - b ** counts.astype("float64"))
        found = class_weights(counts, b)
        np.testing.assert_allclose(found / found[0], papers / papers[0], rtol=1e-9)
        np.testing.assert_allclose(np.sum(found * counts), counts.sum())
    np.testing.assert_allclose(class_weights(counts, 1 - 1e-12), plain, rtol=1e-4)
    np.testing.assert_allclose(class_weights(counts, 0.0), 1)


def test_class_weights_agree_with_scikit_learn():
    utils = pytest.importorskip("sklearn.utils.class_weight")
    y = np.repeat([0, 1, 2], [70, 20, 3])
    found = Balance(None, 3, "weights").weights(y)
    np.testing.assert_allclose(found, utils.compute_sample_weight("balanced", y), rtol=1e-6)


@pytest.mark.parametrize("form", ["numbers", "column", "one-hot"])
def test_resampling_draws_classes_equally(form):
    y = np.repeat([0, 1, 2], [80, 15, 4])
    given = {"numbers": y, "column": y[:, None], "one-hot": np.eye(3)[y]}[form]
    balance = Balance(None, 3, "resampling")
    order = balance.order(given, 5, 1)
    assert np.bincount(y[order]).tolist() == [33, 33, 33]
    times = np.bincount(order, minlength=99)
    assert times[:80].max() == 1  # nothing frequent is drawn twice while others wait
    assert set(times[80:95]) == {2, 3}
    assert set(times[95:]) == {8, 9}
    np.testing.assert_array_equal(order, balance.order(given, 5, 1))
    assert not np.array_equal(order, balance.order(given, 5, 2))
    milder = np.bincount(y[Balance(None, 3, "resampling", 0.9).order(given, 5, 1)])
    exact = np.array([80, 15, 4]) * class_weights([80, 15, 4], 0.9)
    assert milder.sum() == 99
    assert np.abs(milder - exact).max() < 1


@pytest.mark.parametrize("by", ["weights", "resampling"])
@pytest.mark.parametrize("engine", ["tf.data", "PyDataset"])
def test_balanced_feed(by, engine, monkeypatch):
    from zoo.data import feed as feeding

    if engine == "PyDataset":
        monkeypatch.setattr(feeding, "_has_tensorflow", lambda: False)
    y = np.repeat([0, 1], [18, 5])
    split = TreeSplit(np.arange(23, dtype="float32")[:, None], y)
    balance = Balance(None, 2, by)
    batches = [[np.asarray(p) for p in b] for b in feed(split, 5, seed=1, epochs=2, balance=balance)]
    for epoch in range(2):
        parts = [np.concatenate(p) for p in zip(*batches[epoch * 5 : epoch * 5 + 5], strict=True)]
        if by == "weights":
            x, labels, weights = parts
            np.testing.assert_array_equal(x[:, 0], np.random.default_rng([1, epoch]).permutation(23))
            np.testing.assert_allclose(weights, np.where(labels == 1, 23 / 10, 23 / 36), rtol=1e-6)
        else:
            x, labels = parts
            np.testing.assert_array_equal(x[:, 0], balance.order(y, 1, epoch))
            assert sorted(np.bincount(labels)) == [11, 12]
        np.testing.assert_array_equal(labels, y[x[:, 0].astype(int)])
    np.testing.assert_array_equal(np.concatenate([b[1] for b in feed(split, 5)]), y)  # validation stays as it is


def test_balanced_step_by_hand():
    x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
    y = np.array([1, 0, 0, 0, 0, 0, 1, 0])
    net = linear_net()
    w, b = (v.astype("float64") for v in numpy_weights(net))
    model = zoo.recipe("class_balance+sgd(learning_rate=0.5, momentum=0.0)").compile(net)
    model.fit(x, y, batch_size=8, shuffle=False, verbose=0)
    weights = np.where(y == 1, 8 / (2 * 2), 8 / (2 * 6))
    error = (weights * (1 / (1 + np.exp(-(x @ w + b)[:, 0])) - y) / 8)[:, None]
    np.testing.assert_allclose(model.get_weights()[0], w - 0.5 * x.T @ error, atol=2e-6)
    np.testing.assert_allclose(model.get_weights()[1], b - 0.5 * error.sum(axis=0), atol=2e-6)


def test_balance_in_fit_keeps_validation_and_the_callers_weights():
    x, y = np.arange(20, dtype="float32")[:, None], np.r_[np.zeros(14), np.ones(6)].astype("int32")[np.arange(20) % 20]
    given = np.linspace(1, 2, 20)
    options = {"sample_weight": given, "validation_split": 0.2}
    _, labels, size, left = balanced(Balance(None, 2, "weights"), x, y, 4, 1, options)
    by_class = class_weights(np.bincount(y[:16]))
    assert (len(labels), size) == (16, 4)
    np.testing.assert_allclose(left["sample_weight"], by_class[y[:16]] * given[:16], rtol=1e-6)
    np.testing.assert_array_equal(left["validation_data"][2], given[16:])
    data, nothing, size, left = balanced(Balance(None, 2, "resampling"), x, y, 5, 3, {"validation_data": (x, y)})
    assert (nothing, size, left["steps_per_epoch"], left["shuffle"]) == (None, None, 4, False)
    labels = np.concatenate([np.asarray(b[1]) for b in data])
    assert np.bincount(labels).tolist() == [30, 30]
    assert left["validation_data"][1] is y


def test_resampling_in_fit_runs_every_epoch_with_augmentation():
    x, y = images(18)
    model = zoo.recipe("class_balance(by='resampling')+mixup+flip_crop(pad=1)").compile(image_net(), run_eagerly=True)
    history = model.fit(x, y, batch_size=5, epochs=3, verbose=0, validation_data=(x, y))
    assert int(model.optimizer.iterations) == 12
    assert np.isfinite([*history.history["loss"], *history.history["val_loss"]]).all()


def test_balance_of_one_head_of_several():
    y = {"kind": np.repeat([0, 1, 2], [6, 3, 1]), "price": np.arange(10.0)}
    weights = Balance("kind", 3, "weights").weights(y)
    assert weights["price"].tolist() == [1] * 10
    np.testing.assert_allclose(weights["kind"], np.repeat([10 / 18, 10 / 9, 10 / 3], [6, 3, 1]), rtol=1e-6)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0, 0, 2]), r"class_balance: 1 of 3 classes have no training example: 1\. Add some"),
        (np.array([[1, 1, 0], [1, 0, 0]]), "class_balance needs one class per example"),
        (np.array([[0.5, 0.5, 0], [1, 0, 0]]), "class_balance needs one class per example"),
        (np.array([0.5, 1, 2]), "class_balance needs one class per example"),
    ],
)
def test_labels_that_cannot_be_balanced(labels, message):
    for by in ("weights", "resampling"):
        balance = Balance(None, 3, by)
        with pytest.raises(DataError, match=message):
            feed(TreeSplit(np.zeros((len(labels), 2), "float32"), labels), 2, seed=0, balance=balance)


def test_what_class_balance_refuses_in_fit():
    x, y = images(16)
    model = zoo.recipe("class_balance").compile(image_net())
    with pytest.raises(InvalidArgument, match=r"needs NumPy arrays. Received: .*Dataset"):
        model.fit(tf.data.Dataset.from_tensor_slices((x, y)).batch(4), verbose=0)
    with pytest.raises(InvalidArgument, match="class_balance and `class_weight` both weigh the classes"):
        model.fit(x, y, class_weight={0: 1.0, 1: 1.0, 2: 1.0}, verbose=0)
    with pytest.raises(InvalidArgument, match="balanced classes need a seed"):
        feed(TreeSplit(x, y), 4, balance=model.plan.balance)
    model = zoo.recipe("class_balance(by='resampling')").compile(image_net())
    with pytest.raises(InvalidArgument, match="takes no `sample_weight`"):
        model.fit(x, y, sample_weight=np.ones(16), verbose=0)


# Arguments


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mixup(alpha=0.0)", "mixup: `alpha` must be positive. Received: 0.0"),
        ("cutmix(alpha=-1.0)", "cutmix: `alpha` must be positive. Received: -1.0"),
        ("randaugment(num_ops=0)", "randaugment: `num_ops` must be 1 or more. Received: 0"),
        ("randaugment(magnitude=31)", r"randaugment: `magnitude` must be in \[0, 30\]. Received: 31"),
        ("randaugment(low=0.0)", r"`low` and `high` must be given together, low below high. Received: \(0.0, None\)"),
        ("random_erasing(low=1.0, high=0.0)", "`low` and `high` must be given together, low below high"),
        ("random_erasing(probability=0.0)", r"random_erasing: `probability` must be in \(0, 1\]"),
        ("random_erasing(smallest=0.5)", r"random_erasing: areas run from `smallest` to `largest`, in \(0, 1\]"),
        ("random_erasing(fill='black')", "random_erasing: `fill` must be one of 'noise', 'mean'. Received: 'black'"),
        ("gridmask(keep=1.0)", "gridmask: `keep` must be between 0 and 1. Received: 1.0"),
        ("gridmask(smallest=0.9, largest=0.5)", "gridmask: units run from `smallest` to `largest`"),
        ("gridmask(probability=1.5)", r"gridmask: `probability` must be in \(0, 1\]. Received: 1.5"),
        ("word_dropout(rate=1.0)", "word_dropout: `rate` must be between 0 and 1. Received: 1.0"),
        ("word_dropout(replace='mask')", "word_dropout: `replace` must be 'unknown' or the id of a word"),
        ("word_dropout(replace=0)", "word_dropout: `replace` must be 1 or more, as id 0 is padding"),
        ("class_balance(by='weight')", "class_balance: `by` must be 'weights' or 'resampling'. Received: 'weight'"),
        ("class_balance(beta=1.0)", "class_balance: `beta` must be between 0 and 1. Received: 1.0"),
    ],
)
def test_bad_arguments(text, message):
    with pytest.raises(InvalidArgument, match=message):
        zoo.recipe(text)


def test_what_fits_no_model():
    with pytest.raises(InvalidArgument, match="gridmask cuts nothing out of 6 pixels"):
        zoo.recipe("gridmask(keep=0.95)").plan(image_net())
    with pytest.raises(UnknownName, match=r"no head with classes named 'logit'\. Did you mean 'logits'"):
        zoo.recipe("class_balance(head='logit')").plan(image_net())
    net = text_net()
    net.zoo_spec = net.zoo_spec.but(arguments={"vocab_size": 20})
    with pytest.raises(InvalidArgument, match=r"word_dropout: the model knows the ids 0 to 19\. Received: 20"):
        zoo.recipe("word_dropout(replace=20)").plan(net)
    image = keras.Input((4, 4, 1), name="image")
    flat = keras.layers.Flatten()(image)
    net = keras.Model(image, {n: keras.layers.Dense(2, name=n)(flat) for n in ("kind", "size")}, name="two")
    with pytest.raises(InvalidArgument, match=r"no single head .*\['kind', 'size'\].*class_balance\(head='kind'\)"):
        zoo.recipe("class_balance").plan(net, task="image_classification")
    assert zoo.recipe("class_balance(head='size')").plan(net, task="image_classification").balance.head == "size"


def test_soft_targets_and_partners():
    np.testing.assert_array_equal(soft_targets(tf.constant([2, 0]), 3), [[0, 0, 1], [1, 0, 0]])
    np.testing.assert_array_equal(soft_targets(tf.constant([1, 0]), 1), [[1], [0]])
    assert sorted(partners_of(tf.constant([1, 2]), 50).numpy()) == list(range(50))
    low, high = PixelRange("x", image_net()).limits()
    assert (low, high) == (0, 1)
