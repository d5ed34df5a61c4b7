"""Tricks that choose how a model is built and what its head means: each switch on each model, each loss by hand."""

import math
import warnings

import keras
import numpy as np
import pytest
from cases import CASES
from keras import layers, ops
from nets import heads_net, image_net, images, linear_net, numpy_weights, text_net

import zoo
from zoo.builder_switches import layers_of
from zoo.data.base import Dataset, TreeSplit
from zoo.errors import Conflict, DataError, InvalidArgument, RecipeWarning
from zoo.losses import SigmoidCrossEntropy
from zoo.measuring import measure
from zoo.objectives import gradient_of
from zoo.registry import find_model
from zoo.tricks.drop_path import rates_of
from zoo.tricks.focal import FocalLoss

NORMS = {
    "batch_norm": layers.BatchNormalization,
    "group_norm": layers.GroupNormalization,
    "layer_norm": layers.LayerNormalization,
}
RESNET = {"blocks": (2, 2), "filters": 4, "image_shape": (8, 8, 3), "num_classes": 3}


def having(argument):
    """Returns one case for each family whose builder has an argument, without a value for it."""
    found = {}
    for case in CASES:
        row = find_model(case.name)
        if argument in row.arguments:
            found.setdefault(row.family, (case, {k: v for k, v in case.arguments.items() if k != argument}))
    return [pytest.param(case, arguments, id=family) for family, (case, arguments) in sorted(found.items())]


def inputs_of(case):
    rng = np.random.default_rng(0)
    limit = case.arguments.get("vocab_size")

    def one(name, shape):
        limited = case.limits.get(name, limit if name in ("tokens", "description", "first", "second") else None)
        if limited:
            return rng.integers(1, limited, (2, *shape)).astype("int32")
        return rng.random((2, *shape)).astype("float32")

    if isinstance(case.input_shape, dict):
        return {name: one(name, shape) for name, shape in case.input_shape.items()}
    return one("tokens" if len(case.input_shape) == 1 else "image", case.input_shape)


def outputs_of(model, x):
    found = model(x, training=False)
    return np.concatenate([np.ravel(ops.convert_to_numpy(v)) for v in keras.tree.flatten(found)])


# Switches


@pytest.mark.parametrize(("case", "arguments"), having("norm"))
def test_each_norm_on_each_model_that_has_one(case, arguments):
    counts, padded = {}, find_model(case.name).family in ("conv1d", "separable_text")
    for name, kind in NORMS.items():
        if padded and name == "group_norm":
            with pytest.raises(InvalidArgument, match="`norm` must be one of 'batch', 'layer', None"):
                zoo.build(case.name, recipe=name, **arguments)
            continue
        model = zoo.build(case.name, recipe=name, **arguments)
        part = model.get_layer("generator") if case.name == "wgan" else model
        found = layers_of(part, *NORMS.values())
        assert found
        assert {type(layer) for layer in found} == {kind}
        assert np.isfinite(outputs_of(model, inputs_of(case))).all()
        channels = sum(layer.gamma.shape[0] for layer in found)
        counts[name] = model.count_params() - (4 if name == "batch_norm" else 2) * channels
        if part is model:
            assert f"{len(found)} normalisation layer" in model.recipe.explain(model)
    assert len(set(counts.values())) == 1, counts  # but for what they train they are the same network


@pytest.mark.parametrize(("case", "arguments"), having("activation"))
def test_each_activation_on_each_model_that_has_one(case, arguments):
    found, weights = {}, None
    for name in ("relu", "gelu", "silu"):
        model = zoo.build(case.name, recipe=name, **arguments)
        weights = weights or numpy_weights(model)
        model.set_weights(weights)
        found[name] = outputs_of(model, inputs_of(case))
        assert np.isfinite(found[name]).all()
        assert model.zoo_spec.arguments["activation"] == name
    for first, second in (("relu", "gelu"), ("gelu", "silu"), ("relu", "silu")):
        assert not np.allclose(found[first], found[second], rtol=1e-6, atol=0)


@pytest.mark.parametrize(("case", "arguments"), having("separable"))
def test_separable_on_each_model_that_can(case, arguments):
    on, off = (zoo.build(case.name, recipe=f"separable(on={on})", **arguments) for on in (True, False))
    kinds = (layers.SeparableConv1D, layers.SeparableConv2D)
    found = layers_of(on, *kinds)
    assert found
    assert not layers_of(off, *kinds)
    saved = 0
    for layer in found:
        *kernel, channels, _ = layer.depthwise_kernel.shape
        filters = layer.pointwise_kernel.shape[-1]
        saved += math.prod(kernel) * channels * filters - math.prod(kernel) * channels - channels * filters
    assert off.count_params() - on.count_params() == saved
    for model in (on, off):
        assert np.isfinite(outputs_of(model, inputs_of(case))).all()


@pytest.mark.parametrize(("case", "arguments"), having("shortcut"))
def test_skip_on_each_model_that_can(case, arguments):
    on, off = (zoo.build(case.name, recipe=f"skip(on={on})", **arguments) for on in (True, False))

    def sums(model):  # of two paths; a ViT also adds its position embeddings
        return [layer for layer in layers_of(model, layers.Add) if layer.name != "positioned"]

    assert sums(on)
    assert not sums(off)
    for model in (on, off):
        assert np.isfinite(outputs_of(model, inputs_of(case))).all()


def test_skip_keeps_the_kind_of_shortcut_that_is_there():
    assert zoo.build("resnet20", recipe="skip", **RESNET).zoo_spec.arguments["shortcut"] == "pad"
    assert zoo.build("resnet50", recipe="skip", **RESNET).zoo_spec.arguments["shortcut"] == "projection"
    plain = zoo.build("resnet20", recipe="skip(on=False)", **RESNET)
    with pytest.raises(InvalidArgument, match=r"skip changes how a model is built, .* `zoo.build\('resnet20', recipe="):
        zoo.recipe("skip").compile(plain)
    with pytest.raises(Conflict, match=r"skip sets `shortcut='projection'` of resnet20, but `shortcut=None` was given"):
        zoo.build("resnet20", recipe="skip", shortcut=None, **RESNET)


@pytest.mark.parametrize(("case", "arguments"), having("drop_path_rate"))
def test_drop_path_rises_linearly_on_each_model_that_can(case, arguments):
    depth = {"resnet": {"blocks": (2, 1)}, "vit": {"depth": 3}, "xception": {"middle_blocks": 3}}
    family = find_model(case.name).family
    model = zoo.build(case.name, recipe="drop_path(rate=0.4)", **(arguments | depth[family]))
    wanted = [0.2, 0.2, 0.4, 0.4] if family == "vit" else [0.2, 0.4]  # a transformer's block has two branches
    np.testing.assert_allclose(rates_of(model), wanted)
    assert np.isfinite(outputs_of(model, inputs_of(case))).all()
    assert f"on average an image skips {sum(wanted):.2g}" in model.recipe.explain(model)


def test_drop_path_leaves_out_whole_branches_of_single_images():
    model = zoo.build("resnet20", recipe="drop_path(rate=0.25)", **RESNET)
    drop = [x for x in layers_of(model, layers.Dropout) if x.noise_shape is not None][-1]
    kept = ops.convert_to_numpy(drop(ops.ones((4000, 2, 2, 3)), training=True)).reshape(4000, -1)
    np.testing.assert_array_equal(kept, np.repeat(kept[:, :1], 12, axis=1))  # all of an image or none of it
    np.testing.assert_allclose(np.unique(kept), [0, 1 / 0.75], rtol=1e-6)
    assert abs((kept[:, 0] == 0).mean() - 0.25) < 0.035  # five standard deviations
    np.testing.assert_array_equal(ops.convert_to_numpy(drop(ops.ones((3, 2, 2, 3)), training=False)), 1)


def test_drop_path_says_when_there_is_nothing_to_drop():
    shallow = RESNET | {"blocks": (1,)}
    with pytest.warns(RecipeWarning, match="a single branch, and the first is always kept"):
        zoo.build("resnet20", recipe="drop_path", **shallow)
    with pytest.raises(InvalidArgument, match="without shortcuts nothing remains"):
        zoo.build("resnet20", recipe="drop_path+skip(on=False)", **RESNET)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "lstm",
            "drop_path",
            r"drop_path finds no branches .* model 'lstm'.*nearest argument is `drop_rate`.*resnet, vit",
        ),
        ("highway10", "skip", r"skip finds no shortcuts .* Models with `shortcut`: resnet, separable, vit, xception"),
        ("nin", "separable", r"separable finds no separable convolutions .*Models with `separable`: conv1d, resnet"),
        ("gru", "group_norm", r"group_norm finds no normalisation .* Received: .*'units'.*Models with `norm`: conv1d"),
        ("lstm", "silu", r"silu finds no activation .*Models with `activation`"),
    ],
)
def test_a_switch_that_a_model_lacks_is_refused_with_the_models_that_have_it(name, text, said):
    with pytest.raises(InvalidArgument, match=said):
        zoo.build(name, recipe=text)


@pytest.mark.parametrize(
    ("text", "argument"),
    [("batch_norm+group_norm", "norm"), ("gelu+silu", "activation"), ("layer_norm+batch_norm", "norm")],
)
def test_two_values_of_one_argument_conflict_by_name(text, argument):
    first, second = sorted(text.split("+"))
    with pytest.raises(Conflict, match=rf"{first} and {second} both set `{argument}` of resnet20"):
        zoo.build("resnet20", recipe=text, **RESNET)


@pytest.mark.parametrize("bad", [-0.1, 1.0, 1.5])
def test_a_rate_outside_its_range_is_refused(bad):
    with pytest.raises(InvalidArgument, match=r"drop_path: `rate` must be in \[0, 1\)"):
        zoo.recipe(f"drop_path(rate={bad})")


@pytest.mark.parametrize(
    ("text", "size", "warned"),
    [
        ("batch_norm", 2, True),
        ("plain", 7, True),
        ("plain", 8, False),
        ("group_norm", 2, False),
        ("freeze_bn", 2, False),
    ],
)
def test_batch_norm_warns_of_tiny_batches(text, size, warned):
    x, y = images(16, image_shape=(8, 8, 3))
    model = zoo.build("resnet20", recipe=text, **RESNET)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RecipeWarning)
        model.fit(x, y, batch_size=size, verbose=0)
    said = [str(w.message) for w in caught if issubclass(w.category, RecipeWarning)]
    assert bool(said) == warned
    assert all(f"batches of {size}" in text and "Wu and He, 2018" in text and "group_norm" in text for text in said)


def test_the_numbers_that_activations_are_explained_by():
    phi = [x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in (-1, 1)]
    sigmoid = [x / (1 + math.exp(-x)) for x in (-1, 1)]
    grid = np.linspace(-4, 0, 100_001)
    lowest = min(x * (1 + math.erf(x / math.sqrt(2))) / 2 for x in grid), float((grid / (1 + np.exp(-grid))).min())
    for name, (low, high), least in (("gelu", phi, lowest[0]), ("silu", sigmoid, lowest[1])):
        text = zoo.recipe(name).explain(zoo.build("resnet20", recipe=name, **RESNET))
        assert f"f(-1) = {low:.3f}, f(1) = {high:.3f}" in text
        assert f"lowest at {least:.3f}" in text


# Losses of several yes/no questions, in float64


def several(n=40, classes=5, size=3.0, seed=0):
    """Returns logits and several-hot targets, both (n, classes)."""
    rng = np.random.default_rng(seed)
    return rng.normal(0, size, (n, classes)).astype("float32"), rng.integers(0, 2, (n, classes)).astype("float32")


def np_sigmoid_ce(targets, logits):
    logits = np.asarray(logits, "float64")
    return (targets * np.logaddexp(0, -logits) + (1 - targets) * np.logaddexp(0, logits)).sum(axis=1)


def np_sigmoid_focal(targets, logits, gamma, alpha):
    logits = np.asarray(logits, "float64")
    yes, no = -np.logaddexp(0, -logits), -np.logaddexp(0, logits)
    alpha, other = (1.0, 1.0) if alpha is None else (np.asarray(alpha), 1 - np.asarray(alpha))
    return -(alpha * targets * np.exp(gamma * no) * yes + other * (1 - targets) * np.exp(gamma * yes) * no).sum(axis=1)


@pytest.mark.parametrize("size", [1.0, 100.0, 1e4])
def test_sigmoid_cross_entropy_adds_up_the_classes(size):
    logits, targets = several(size=size)
    loss = SigmoidCrossEntropy(reduction=None)
    np.testing.assert_allclose(loss(targets, logits), np_sigmoid_ce(targets, logits), rtol=2e-5, atol=1e-6)
    numbers = np.arange(len(logits)) % logits.shape[1]
    one_hot = np.eye(logits.shape[1])[numbers]
    wanted = np_sigmoid_ce(one_hot, logits)
    for y in (numbers, numbers[:, None], one_hot.astype("float32")):
        np.testing.assert_allclose(loss(y, logits), wanted, rtol=2e-5, atol=1e-6)
    [slope] = gradient_of(lambda v: ops.sum(loss(targets, v[0])), [ops.convert_to_tensor(logits)])
    with np.errstate(over="ignore"):
        probability = 1 / (1 + np.exp(-logits.astype("float64")))
    np.testing.assert_allclose(ops.convert_to_numpy(slope), probability - targets, atol=2e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_sigmoid_cross_entropy_is_keras_times_the_classes(smoothing):
    logits, targets = several()
    theirs = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing)(targets, logits)
    ours = SigmoidCrossEntropy(smoothing)(targets, logits)
    np.testing.assert_allclose(float(ours), 5 * float(theirs), rtol=1e-5)
    spread = SigmoidCrossEntropy(smoothing, spread="classes")(targets, logits)
    wanted = np_sigmoid_ce(targets * (1 - smoothing) + smoothing / 5, logits).mean()
    np.testing.assert_allclose(float(spread), wanted, rtol=1e-5)


@pytest.mark.torch
def test_sigmoid_cross_entropy_is_that_of_pytorch():
    import torch

    logits, targets = several()
    theirs = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.tensor(logits), torch.tensor(targets), reduction="sum"
    )
    np.testing.assert_allclose(float(SigmoidCrossEntropy(reduction="sum")(targets, logits)), float(theirs), rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
@pytest.mark.parametrize("alpha", [None, 0.25, [0.1, 0.3, 0.5, 0.7, 0.9]])
def test_focal_loss_of_several_questions(gamma, alpha):
    for size in (2.0, 50.0):
        logits, targets = several(size=size)
        found = FocalLoss(gamma, alpha, independent=True, reduction=None)(targets, logits)
        wanted = np_sigmoid_focal(targets, logits, gamma, alpha)
        np.testing.assert_allclose(ops.convert_to_numpy(found), wanted, rtol=5e-5, atol=1e-6)
    if alpha == 0.25:
        logits, targets = several(size=1.0)  # theirs clips probabilities
        theirs = keras.losses.BinaryFocalCrossentropy(True, alpha, gamma, from_logits=True)(targets, logits)
        ours = FocalLoss(gamma, alpha, independent=True)(targets, logits)
        np.testing.assert_allclose(float(ours), 5 * float(theirs), rtol=1e-5)


@pytest.mark.parametrize(
    "loss", [SigmoidCrossEntropy(0.1, "classes", 0.2), FocalLoss(1.5, [0.2] * 5, 0.1, independent=True)]
)
def test_losses_survive_serialisation(loss):
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    logits, targets = several()
    assert float(again(targets, logits)) == float(loss(targets, logits)) > 0


def test_a_threshold_makes_both_classes_of_a_mixture_right():
    logits, _ = several(n=3)
    mixed = np.array([[0.7, 0.3, 0, 0, 0], [0.1, 0.9, 0, 0, 0], [0, 0, 1, 0, 0]], "float32")
    full = np.array([[1, 1, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0]], "float64")
    found = SigmoidCrossEntropy(threshold=0.2, reduction=None)(mixed, logits)
    np.testing.assert_allclose(ops.convert_to_numpy(found), np_sigmoid_ce(full, logits), rtol=1e-5)


# One step by hand, on a linear model


def step(recipe, y, gradient, features=4, learning_rate=0.5):
    """Checks one SGD step of `recipe` on a linear model of three classes; `gradient(z)` is by the logits, (n, 3)."""
    x = np.random.default_rng(1).normal(size=(len(y), features)).astype("float32")
    net = linear_net(features, 3)
    w, b = (v.astype("float64") for v in numpy_weights(net))
    model = zoo.recipe(f"{recipe}+sgd(learning_rate={learning_rate}, momentum=0.0)").compile(net)
    model.fit(x, y, batch_size=len(x), verbose=0)
    error = gradient(x @ w + b) / len(x)
    after = numpy_weights(model)
    np.testing.assert_allclose(after[0], w - learning_rate * x.T @ error, rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(after[1], b - learning_rate * error.sum(0), rtol=1e-5, atol=2e-6)
    return model


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


NUMBERS = np.array([0, 1, 2, 2, 1, 0, 1, 2], "int32")
ONE_HOT = np.eye(3, dtype="float32")[NUMBERS]
SEVERAL = np.array([[1, 1, 0], [0, 0, 0], [1, 1, 1], [0, 1, 0]] * 2, "float32")


@pytest.mark.parametrize(("y", "targets"), [(NUMBERS, ONE_HOT), (SEVERAL, SEVERAL), (ONE_HOT, ONE_HOT)])
def test_sigmoid_head_step(y, targets):
    model = step("sigmoid_head", y, lambda z: sigmoid(z) - targets)
    assert model.zoo_spec.heads == {"logits": {"kind": "sigmoid", "weight": 1.0}}


def test_label_smoothing_of_sigmoids_softens_each_answer():
    step("sigmoid_head+label_smoothing(amount=0.2)", SEVERAL, lambda z: sigmoid(z) - (SEVERAL * 0.8 + 0.1))


def test_sigmoid_ce_step_keeps_the_head():
    model = step("sigmoid_ce", NUMBERS, lambda z: sigmoid(z) - ONE_HOT)
    assert model.plan.heads[0].kind == "softmax"
    step("sigmoid_ce+label_smoothing(amount=0.3)", NUMBERS, lambda z: sigmoid(z) - (ONE_HOT * 0.7 + 0.1))
    mixed = (ONE_HOT * 0.75 + ONE_HOT[::-1] * 0.25).astype("float32")
    step("sigmoid_ce", mixed, lambda z: sigmoid(z) - mixed)
    step("sigmoid_ce(threshold=0.2)", mixed, lambda z: sigmoid(z) - (mixed > 0.2))


def test_focal_step_of_several_questions():
    def gradient(z):
        p = np.where(SEVERAL, sigmoid(z), sigmoid(-z))
        sign = np.where(SEVERAL, 1, -1)
        slope = sign * (1 - p) ** 2 * (2 * p * np.log(p) + p - 1)  # appendix B of the paper
        return np.where(SEVERAL, 0.25, 0.75) * slope

    step("sigmoid_head+focal(gamma=2.0, alpha=0.25)", SEVERAL, gradient)


# Heads


def test_the_heads_of_a_model_with_several():
    plan = zoo.recipe("sigmoid_head").plan(heads_net())
    found = {h.name: (h.kind, h.units, h.weight) for h in plan.heads}
    assert found == {"age": ("regression", 1, 0.25), "income": ("sigmoid", 3, 1.0), "gender": ("sigmoid", 1, 10.0)}
    kinds = {h.name: h.kind for h in zoo.recipe("softmax_head").plan(heads_net()).heads}
    assert kinds == {"age": "regression", "income": "softmax", "gender": "sigmoid"}  # one unit stays a yes or no


def test_softmax_head_turns_one_unit_into_two_where_the_model_is_built():
    small = {"vocab_size": 20, "sequence_length": 6, "embed_dim": 4, "units": 3}
    assert zoo.build("lstm", recipe="softmax_head", **small).output_shape == (None, 2)
    with pytest.raises(Conflict, match=r"softmax_head sets `num_classes=2` of lstm, but `num_classes=1` was given"):
        zoo.build("lstm", recipe="softmax_head", num_classes=1, **small)
    with pytest.raises(InvalidArgument, match="softmax_head changes how a model is built"):
        zoo.recipe("softmax_head").compile(zoo.build("lstm", **small))
    with pytest.raises(InvalidArgument, match=r"softmax_head finds no head of several classes in model 'text_net'"):
        zoo.recipe("softmax_head").compile(text_net())


def test_softmax_head_turns_sigmoids_back():
    x, y = images()
    model = zoo.recipe("sigmoid_head").compile(image_net())
    plain = zoo.plain(model)
    assert zoo.recipe("plain").plan(plain).heads[0].kind == "sigmoid"  # what a model means stays with it
    back = zoo.recipe("softmax_head").compile(plain)
    assert back.zoo_spec.heads["logits"]["kind"] == "softmax"
    logits = model.predict(x, verbose=0).astype("float64")
    wanted = np.mean(np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(y)), y])
    np.testing.assert_allclose(back.evaluate(x, y, verbose=0)[0], wanted, rtol=1e-5)
    with pytest.raises(Conflict, match="sigmoid_head and softmax_head both set the head kind"):
        zoo.recipe("sigmoid_head+softmax_head").compile(image_net())


def test_what_the_head_tricks_refuse():
    with pytest.raises(InvalidArgument, match=r"sigmoid_head finds no head of several classes in model 'image_net'"):
        zoo.recipe("sigmoid_head").compile(image_net(1))
    with pytest.raises(InvalidArgument, match=r"sigmoid_head finds no head of several classes"):
        zoo.recipe("sigmoid_head").plan(zoo.build("lstm_lm", vocab_size=9, sequence_length=4, embed_dim=4, units=4))
    with pytest.raises(InvalidArgument, match=r"sigmoid_ce is the loss that sigmoid_head brings already\."):
        zoo.recipe("sigmoid_ce+sigmoid_head").compile(image_net())
    with pytest.raises(InvalidArgument, match=r"sigmoid_ce finds no softmax head"):
        zoo.recipe("sigmoid_ce").compile(image_net(1))
    with pytest.raises(InvalidArgument, match=r"sigmoid_ce: `threshold` must be in \[0, 1\), or None. Received: 1.0"):
        zoo.recipe("sigmoid_ce(threshold=1.0)")
    x, _ = images(8)
    model = zoo.recipe("plain").compile(image_net())
    with pytest.raises(DataError, match=r"4 of the training examples belong to several .* index 0.*sigmoid_head"):
        model.fit(x, np.concatenate([SEVERAL[[0, 1, 2, 2]], ONE_HOT[:4]]), verbose=0)
    with pytest.raises(InvalidArgument, match=r"`alpha` of a sigmoid head must be below 1\..* 0\.25 is the"):
        zoo.recipe("sigmoid_head+focal(alpha=[0.5, 1.0, 2.0])").compile(image_net())


def test_focal_on_many_sigmoids_asks_for_the_prior():
    with pytest.warns(RecipeWarning, match=r"focal on the 12 sigmoids of 'logits' without classifier_bias_prior"):
        zoo.recipe("sigmoid_head+focal").compile(image_net(12))
    for text, classes in (("sigmoid_head+focal+classifier_bias_prior", 12), ("sigmoid_head+focal", 3), ("focal", 12)):
        with warnings.catch_warnings():
            warnings.simplefilter("error", RecipeWarning)
            zoo.recipe(text).compile(image_net(classes))


# The prior


@pytest.mark.parametrize(
    ("name", "arguments", "bias"),
    [
        ("resnet20", RESNET, "logits"),
        (
            "nin",
            {"widths": ((4,), (4,)), "kernel_sizes": (3, 3), "image_shape": (8, 8, 3), "num_classes": 3},
            "class_maps",
        ),
        (
            "wide_deep",
            {"wide_size": 9, "category_size": 9, "embed_dim": 2, "widths": (4,), "num_classes": 3},
            "deep_logits",
        ),
    ],
)
def test_the_prior_is_where_every_sigmoid_starts(name, arguments, bias):
    model = zoo.build(name, recipe="classifier_bias_prior(prior=0.2)+sigmoid_head", **arguments)
    layer = model.get_layer(bias)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.bias), [-math.log(4)] * 3, rtol=1e-6)
    layer.kernel.assign(np.zeros(layer.kernel.shape))
    x = {k.name: np.zeros((2, *k.shape[1:]), k.dtype) for k in model.inputs}
    logits = model(x if len(x) > 1 else next(iter(x.values())), training=False)
    np.testing.assert_allclose(sigmoid(ops.convert_to_numpy(logits)), 0.2, rtol=1e-6)


def test_the_prior_of_a_softmax_is_the_share_of_each_class():
    model = zoo.build("resnet20", recipe="classifier_bias_prior(prior=[0.6, 0.3, 0.1])", **RESNET)
    bias = ops.convert_to_numpy(model.get_layer("logits").bias).astype("float64")
    np.testing.assert_allclose(np.exp(bias) / np.exp(bias).sum(), [0.6, 0.3, 0.1], rtol=1e-6)
    each = zoo.build("resnet20", recipe="classifier_bias_prior(prior=[0.6, 0.3, 0.1])+sigmoid_head", **RESNET)
    np.testing.assert_allclose(sigmoid(ops.convert_to_numpy(each.get_layer("logits").bias)), [0.6, 0.3, 0.1], rtol=1e-5)
    one = zoo.build("resnet20", recipe="classifier_bias_prior+sigmoid_ce", **RESNET)
    np.testing.assert_allclose(ops.convert_to_numpy(one.get_layer("logits").bias), -math.log(99), rtol=1e-6)


def test_what_the_prior_refuses():
    with pytest.raises(InvalidArgument, match=r"finds no sigmoid head .*A softmax takes a list with the share"):
        zoo.build("resnet20", recipe="classifier_bias_prior", **RESNET)
    with pytest.raises(InvalidArgument, match=r"finds no softmax or sigmoid head of 2 in model"):
        zoo.build("resnet20", recipe="classifier_bias_prior(prior=[0.9, 0.1])", **RESNET)
    for bad in ("0.0", "1.0", "-1.0", "[0.5, 1.5, 0.1]"):
        with pytest.raises(InvalidArgument, match="`prior` must be between 0 and 1"):
            zoo.recipe(f"classifier_bias_prior(prior={bad})")
    memory = {"vocab_size": 11, "story_length": 4, "sentence_length": 5, "question_length": 3, "num_classes": 3}
    with pytest.raises(InvalidArgument, match="finds no bias on head 'logits' of model 'qa_memn2n'"):
        zoo.build("qa_memn2n", recipe="classifier_bias_prior+sigmoid_head", **memory)


def test_a_model_built_without_the_prior_says_so_when_it_trains():
    x, y = images()
    model = zoo.recipe("classifier_bias_prior+sigmoid_head").compile(image_net())
    with pytest.warns(RecipeWarning, match="the bias of 'logits' is zero. The trick acts where zoo builds the model"):
        model.fit(x, y, verbose=0)


# Measuring, predicting, saving


def answers(n=12, seed=0):
    """Returns a data set of images that belong to any number of three classes."""
    rng = np.random.default_rng(seed)
    x, y = rng.random((n, 8, 8, 3)).astype("float32"), rng.integers(0, 2, (n, 3)).astype("int32")
    declared = {"kind": "image", "image_shape": [8, 8, 3], "maximum": None, "scale": 1.0, "offset": 0.0}
    parts = [TreeSplit(x, y, np.arange(i, n, 3), declared) for i in range(3)]
    return Dataset("answers", "image_classification", ("red", "green", "blue"), declared, *parts, source="made here")


def test_several_answers_are_measured():
    data, model = answers(), zoo.build("resnet20", recipe="sigmoid_head", **RESNET)
    x, y = data.test.arrays()
    logits = model.predict(x, verbose=0).astype("float64")
    right = (logits > 0) == (y > 0)
    found = measure(model, data.test, 3)
    assert found["examples"] == 4
    np.testing.assert_allclose(found["accuracy"], right.mean())
    np.testing.assert_allclose(found["exact_match"], right.all(axis=1).mean())
    np.testing.assert_allclose(found["loss"], np_sigmoid_ce(y, logits).mean(), rtol=1e-6)
    trained = model.evaluate(x, y, verbose=0, return_dict=True)
    np.testing.assert_allclose([trained["loss"], trained["accuracy"]], [found["loss"], found["accuracy"]], rtol=1e-5)


def test_one_right_class_is_measured_by_the_highest_logit():
    x, y = images(20, image_shape=(8, 8, 3))
    model = zoo.build("resnet20", recipe="sigmoid_head", **RESNET)
    logits = model.predict(x, verbose=0).astype("float64")
    found = measure(model, TreeSplit(x, y), 8)
    np.testing.assert_allclose(found["accuracy"], (logits.argmax(axis=1) == y).mean())
    np.testing.assert_allclose(found["loss"], np_sigmoid_ce(np.eye(3)[y], logits).mean(), rtol=1e-6)
    assert "exact_match" not in found
    shared = measure(zoo.recipe("softmax_head").compile(zoo.plain(model)), TreeSplit(x, np.eye(3)[y]), 8)
    wanted = np.mean(np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(y)), y])  # of soft targets too
    np.testing.assert_allclose([shared["loss"], shared["accuracy"]], [wanted, found["accuracy"]], rtol=1e-6)


def test_a_run_with_several_answers_is_saved_measured_and_predicts(tmp_path):
    data = answers()
    with pytest.raises(DataError, match=r"belong to several classes or to none.* sigmoid_head"):
        zoo.train("resnet20", data, out=tmp_path / "no", quiet=True, blocks=(1,), filters=4)
    recipe = "sigmoid_head+classifier_bias_prior(prior=0.4)"
    run = zoo.train("resnet20", data, recipe=recipe, epochs=1, out=tmp_path / "run", quiet=True, blocks=(1,), filters=4)
    assert set(run.metrics["test"]) == {"loss", "accuracy", "exact_match", "examples"}
    x, _ = data.test.arrays()
    loaded = zoo.load(run)
    said = zoo.predict(loaded, list(x), top=2)
    each = sigmoid(loaded.predict(x, verbose=0).astype("float64"))
    for prediction, row in zip(said, each, strict=True):
        order = np.argsort(-row)
        assert [label for label, _ in prediction.top] == [data.labels[i] for i in order[:2]]
        np.testing.assert_allclose([share for _, share in prediction.top], row[order[:2]], rtol=1e-5)
        assert [label for label, _ in prediction.found] == [data.labels[i] for i in order if row[i] > 0.5]
        assert "none; nearest" in str(prediction) or prediction.found
    tuned = zoo.finetune(run, data, epochs=1, out=tmp_path / "tuned", quiet=True)
    assert set(tuned.metrics["test"]) == set(run.metrics["test"])  # its head still asks three questions


def test_loaded_weights_keep_their_bias(tmp_path):
    data = answers()
    options = {"blocks": (1,), "filters": 4, "quiet": True}
    run = zoo.train("resnet20", data, recipe="sigmoid_head", epochs=1, out=tmp_path / "run", **options)
    bias = ops.convert_to_numpy(zoo.load(run).get_layer("logits").bias)
    recipe = "classifier_bias_prior(prior=0.001)+sigmoid_head"
    again = zoo.build("resnet20", weights=run, recipe=recipe)
    np.testing.assert_array_equal(ops.convert_to_numpy(again.get_layer("logits").bias), bias)


@pytest.mark.parametrize("text", ["sigmoid_head+focal", "sigmoid_ce(threshold=0.3)", "softmax_head", "drop_path+silu"])
def test_a_compiled_model_survives_saving(text, tmp_path):
    x, y = images(16, image_shape=(8, 8, 3))
    model = zoo.build("resnet20", recipe=text, **RESNET)
    model.fit(x, y, batch_size=8, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.recipe == model.recipe
    assert again.zoo_spec.heads == model.zoo_spec.heads
    np.testing.assert_allclose(again.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0), rtol=1e-6)


def test_label_smoothing_explains_what_each_answer_is_asked_for():
    chosen = zoo.recipe("sigmoid_head+label_smoothing(amount=0.2)")
    assert "each yes of 'logits' is asked for 0.9 instead of 1, each no for 0.1" in chosen.explain(image_net())
    assert "is asked for 0.867 instead of 1" in zoo.recipe("label_smoothing(amount=0.2)").explain(image_net())


def test_a_declared_softmax_of_one_unit_is_read_as_yes_or_no():
    net = image_net(1)
    net.zoo_spec = net.zoo_spec.but(heads={"logits": {"kind": "softmax", "weight": 1.0}})
    assert zoo.recipe("plain").plan(net).heads[0].kind == "sigmoid"


@pytest.mark.parametrize(
    ("other", "said"), [("accumulate(steps=2)", "a single one"), ("gradient_penalty", "each example's own")]
)
def test_batch_norm_is_warned_of_beside_what_it_spoils(other, said):
    with pytest.warns(RecipeWarning, match=rf"batch_norm with \w+: .*{said}"):
        zoo.build("resnet20", recipe=f"batch_norm+{other}", **RESNET)
