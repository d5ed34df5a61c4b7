"""Each trick's formula against NumPy, PyTorch or Keras, its effect on one real step, and every pair of tricks."""

import itertools
import math

import keras
import numpy as np
import pytest
from keras import ops
from nets import image_net, images, linear_net, numpy_weights, text_net, texts

import zoo
from zoo.errors import InvalidArgument
from zoo.losses import CrossEntropy
from zoo.objectives import gradient_of
from zoo.tricks.cosine import CosineDecay
from zoo.tricks.cyclic import CyclicCosine
from zoo.tricks.fgm import l2_step
from zoo.tricks.flip_crop import flip_crop
from zoo.tricks.flooding import flood
from zoo.tricks.focal import FocalLoss, focal_loss
from zoo.tricks.warmup import LinearWarmup

BACKEND = keras.backend.backend()


def to_numpy(x):
    return np.asarray(ops.convert_to_numpy(x))


def one_step(recipe, net, x, y, **fit):
    """Returns the weights after one `fit` step on the whole of x, y."""
    model = zoo.recipe(recipe).compile(net)
    model.fit(x, y, batch_size=len(x), epochs=1, shuffle=False, verbose=0, **fit)
    return numpy_weights(model)


# Losses, against NumPy in float64 written from the papers' equations


def np_focal(labels, logits, gamma, alpha, num_classes):
    """Equation 5 of Lin et al., example by example."""
    losses = []
    for label, row in zip(labels, np.asarray(logits, "float64"), strict=True):
        if num_classes == 1:
            p = 1 / (1 + np.exp(-row[0])) if row[0] > -700 else 0.0
            log_p = -np.logaddexp(0, -row[0]) if label else -np.logaddexp(0, row[0])
            wrong = 1 - p if label else p
            weight = 1.0 if alpha is None else alpha if label else 1 - alpha
        else:
            log_p = row[label] - np.logaddexp.reduce(row)
            wrong = np.exp(row[np.arange(len(row)) != label] - np.logaddexp.reduce(row)).sum()
            weight = 1.0 if alpha is None else np.broadcast_to(alpha, num_classes)[label]
        losses.append(-weight * wrong**gamma * log_p)
    return np.array(losses)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize(
    ("num_classes", "alpha"), [(1, None), (1, 0.25), (1, 0.9), (4, None), (4, 0.25), (4, [0.1, 0.5, 1.0, 3.0])]
)
def test_focal_loss_is_equation_5(num_classes, gamma, alpha):
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 4, (64, num_classes)).astype("float32")
    labels = rng.integers(0, max(num_classes, 2), 64)
    wanted = np_focal(labels, logits, gamma, alpha, num_classes)
    loss = FocalLoss(gamma, alpha, reduction=None)
    targets = np.eye(num_classes)[labels] if num_classes > 1 else labels[:, None]
    for y in (labels, labels[:, None], targets.astype("float32")):
        np.testing.assert_allclose(to_numpy(loss(y, logits)), wanted, rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(float(FocalLoss(gamma, alpha)(labels, logits)), wanted.mean(), rtol=2e-5)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("size", [20.0, 100.0, 10_000.0])
@pytest.mark.parametrize("num_classes", [1, 3])
def test_focal_loss_at_extreme_logits_is_finite_and_right(num_classes, gamma, size):
    signs = np.array([[1.0], [-1.0]]) if num_classes == 1 else np.array([[1.0, -1.0, -1.0], [-1.0, 1.0, 1.0]])
    logits = (size * np.repeat(signs, 2, axis=0)).astype("float32")
    labels = np.array([0, 1, 0, 1])
    wanted = np_focal(labels, logits, gamma, None, num_classes)
    loss = FocalLoss(gamma, reduction="sum")
    np.testing.assert_allclose(to_numpy(FocalLoss(gamma, reduction=None)(labels, logits)), wanted, rtol=1e-5, atol=1e-6)
    [gradient] = gradient_of(lambda v: loss(labels, v[0]), [ops.convert_to_tensor(logits)])
    assert np.isfinite(to_numpy(gradient)).all()
    if num_classes == 1 and gamma:  # wrong by 100: the slope is that of -log p; right by 100: flat
        np.testing.assert_allclose(to_numpy(gradient)[:, 0], [1, 0, 0, -1], atol=2e-4)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_focal_loss_agrees_with_keras(smoothing):
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, (32, 5)).astype("float32")
    targets = np.eye(5, dtype="float32")[rng.integers(0, 5, 32)]
    theirs = keras.losses.CategoricalFocalCrossentropy(0.3, 1.5, from_logits=True, label_smoothing=smoothing)
    ours = FocalLoss(1.5, 0.3, label_smoothing=smoothing)
    np.testing.assert_allclose(float(ours(targets, logits)), float(theirs(targets, logits)), rtol=1e-5)
    logits, labels = logits[:, :1], rng.integers(0, 2, (32, 1)).astype("float32")
    theirs = keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True, alpha=0.3, gamma=1.5, from_logits=True)
    np.testing.assert_allclose(float(FocalLoss(1.5, 0.3)(labels, logits)), float(theirs(labels, logits)), rtol=1e-5)


def test_a_sigmoid_is_a_softmax_over_yes_and_no():
    rng = np.random.default_rng(2)
    z = rng.normal(0, 3, (16, 1)).astype("float32")
    t = rng.random((16, 1)).astype("float32")  # soft targets too
    both, targets = np.concatenate([z, 0 * z], 1), np.concatenate([t, 1 - t], 1)
    t, z, targets, both = map(ops.convert_to_tensor, (t, z, targets, both))
    for loss in (lambda t, z: focal_loss(t, z, 1.7), CrossEntropy(0.1, reduction=None)):
        np.testing.assert_allclose(to_numpy(loss(t, z)), to_numpy(loss(targets, both)), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_cross_entropy_agrees_with_keras(smoothing):
    rng = np.random.default_rng(3)
    logits = rng.normal(0, 5, (32, 4)).astype("float32")
    labels = rng.integers(0, 4, 32)
    targets = np.eye(4, dtype="float32")[labels]
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)(targets, logits)
    for y in (labels, labels[:, None], targets):
        np.testing.assert_allclose(float(CrossEntropy(smoothing)(y, logits)), float(theirs), rtol=1e-5)
    labels = labels[:, None] % 2
    theirs = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing)(labels, logits[:, :1])
    for y in (labels, labels[:, 0]):
        np.testing.assert_allclose(float(CrossEntropy(smoothing)(y, logits[:, :1])), float(theirs), rtol=1e-5)


@pytest.mark.parametrize("loss", [CrossEntropy(0.1), FocalLoss(1.5, [1.0, 2.0, 3.0], 0.1)])
def test_losses_survive_serialisation_and_weigh_examples(loss):
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    logits, labels = np.random.default_rng(0).normal(size=(6, 3)).astype("float32"), np.array([0, 1, 2, 0, 1, 2])
    assert float(again(labels, logits)) == float(loss(labels, logits))
    weights = np.array([1, 0, 0, 0, 0, 0], "float32")
    alone = float(loss(labels[:1], logits[:1])) / 6
    np.testing.assert_allclose(float(loss(labels, logits, sample_weight=weights)), alone, rtol=1e-5)


def test_flooding_turns_the_gradient_round_below_the_level():
    for loss, slope in ((0.5, 1.0), (0.1, -1.0)):
        value = ops.convert_to_tensor(np.float32(loss))
        np.testing.assert_allclose(float(flood(value, 0.2)), abs(loss - 0.2) + 0.2, rtol=1e-6)
        [gradient] = gradient_of(lambda v: flood(v[0], 0.2), [value])
        assert float(gradient) == slope


# Hand-computed steps, on a linear model with gradients derived by hand in float64


def data(num_classes=1, n=8, features=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, features)).astype("float32"), rng.integers(0, max(num_classes, 2), n).astype("int32")


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def logistic(w, b, x, y):
    """Returns the mean cross-entropy of a logistic model, and its gradients by w, b and x."""
    z = x @ w + b
    error = (sigmoid(z) - y[:, None]) / len(x)  # (B, 1)
    return np.mean(np.logaddexp(0, z[:, 0]) - y * z[:, 0]), x.T @ error, error.sum(0), error @ w.T


def softmax_regression(w, b, x, targets):
    """Returns the mean cross-entropy of softmax regression on soft targets, and its gradients by w and b."""
    z = x @ w + b
    log_p = z - np.logaddexp.reduce(z, axis=1, keepdims=True)
    error = (np.exp(log_p) - targets) / len(x)
    return -np.mean(np.sum(targets * log_p, axis=1)), x.T @ error, error.sum(0)


def start_of(net):
    return [w.astype("float64") for w in numpy_weights(net)]


def check_step(recipe, gradients, num_classes=1, learning_rate=0.5, net=None, xy=None):
    """Checks one SGD step of a recipe against gradients `(w, b, x, y) -> (dw, db)`."""
    net = net or linear_net(num_classes=num_classes)
    x, y = xy or data(num_classes)
    w, b = start_of(net)
    dw, db = gradients(w, b, x.astype("float64"), y)
    after = one_step(f"sgd(learning_rate={learning_rate}, momentum=0.0)+{recipe}", net, x, y)
    np.testing.assert_allclose(after[0], w - learning_rate * dw, rtol=1e-5, atol=2e-6)
    np.testing.assert_allclose(after[1], b - learning_rate * db, rtol=1e-5, atol=2e-6)


def test_plain_step():
    check_step("plain", lambda w, b, x, y: logistic(w, b, x, y)[1:3])
    check_step("plain", lambda w, b, x, y: softmax_regression(w, b, x, np.eye(3)[y])[1:], num_classes=3)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_step(gamma):
    def gradients(w, b, x, y):
        z = (x @ w + b)[:, 0]
        p = sigmoid(z)
        p_t = np.where(y, p, 1 - p)
        sign = np.where(y, 1, -1)
        # d/dz of -(1 - p_t)^g log p_t, by appendix B of the paper, with alpha 0.25 for the positive class
        slope = sign * (1 - p_t) ** gamma * (gamma * p_t * np.log(p_t) + p_t - 1)
        error = (np.where(y, 0.25, 0.75) * slope / len(x))[:, None]
        return x.T @ error, error.sum(0)

    check_step(f"focal(gamma={gamma}, alpha=0.25)", gradients)


def test_label_smoothing_step():
    def gradients(w, b, x, y):
        return softmax_regression(w, b, x, np.eye(3)[y] * 0.8 + 0.2 / 3)[1:]

    check_step("label_smoothing(amount=0.2)", gradients, num_classes=3)


@pytest.mark.parametrize(("level", "sign"), [(0.01, 1), (9.0, -1)])
def test_flooding_step(level, sign):
    def gradients(w, b, x, y):
        loss, dw, db, _ = logistic(w, b, x, y)
        assert (loss > level) == (sign > 0)
        return sign * dw, sign * db

    check_step(f"flooding(level={level})", gradients)


@pytest.mark.parametrize(("limits", "low", "high"), [("", -9, 9), (", low=-0.5, high=0.5", -0.5, 0.5)])
def test_fgsm_step(limits, low, high):
    def gradients(w, b, x, y):
        _, dw, db, dx = logistic(w, b, x, y)
        moved = np.clip(x + 0.3 * np.sign(dx), low, high)
        _, mw, mb, _ = logistic(w, b, moved, y)  # the perturbation is a constant
        return 0.4 * dw + 0.6 * mw, 0.4 * db + 0.6 * mb

    x, y = data()
    check_step(f"fgsm(epsilon=0.3, alpha=0.4{limits})", gradients, xy=(np.clip(x, low, high), y))


def test_fgsm_under_flooding_turns_the_whole_sum_round():
    def gradients(w, b, x, y):
        _, dw, db, dx = logistic(w, b, x, y)
        _, mw, mb, _ = logistic(w, b, x + 0.3 * np.sign(dx), y)
        return -0.5 * (dw + mw), -0.5 * (db + mb)

    check_step("fgsm(epsilon=0.3)+flooding(level=9.0)", gradients)


def test_regularisers_are_not_counted_twice():
    def gradients(w, b, x, y):
        _, dw, db, dx = logistic(w, b, x, y)
        _, mw, mb, _ = logistic(w, b, x + 0.3 * np.sign(dx), y)
        return 0.5 * (dw + mw) + 2 * 0.7 * w, 0.5 * (db + mb)  # alpha shares out what depends on the batch

    check_step("fgsm(epsilon=0.3)", gradients, net=linear_net(kernel_regularizer=keras.regularizers.L2(0.7)))


def embedding_net(penalty=0.0):
    """Returns mean of embeddings -> one logit, with everything linear, so that gradients are simple."""
    from keras import layers

    from zoo.spec import Spec, attach

    tokens = keras.Input((5,), dtype="int32", name="tokens")
    regularizer = keras.regularizers.L2(penalty) if penalty else None
    x = layers.Embedding(7, 3, name="embedding", embeddings_regularizer=regularizer)(tokens)
    x = layers.GlobalAveragePooling1D(name="pool")(x)
    model = keras.Model(tokens, layers.Dense(1, name="logits")(x), name="embedding_net")
    return attach(model, Spec("embedding_net", {}, "text_classification"))


def embedding_gradients(table, w, b, embedded, tokens, y):
    """Returns the gradients by the table, w, b and the embedded input, of the mean cross-entropy on `embedded`."""
    _, dw, db, dpooled = logistic(w, b, embedded.mean(axis=1), y)
    dembedded = np.repeat(dpooled[:, None, :] / 5, 5, axis=1)
    dtable = np.zeros_like(table)
    np.add.at(dtable, tokens, dembedded)
    return dtable, dw, db, dembedded


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("penalty", [0.0, 0.3])
def test_fgm_step(penalty, eager):
    rng = np.random.default_rng(0)
    tokens, y = rng.integers(0, 7, (6, 5)).astype("int32"), rng.integers(0, 2, 6)
    net = embedding_net(penalty)
    table, w, b = start_of(net)
    embedded = table[tokens]
    plain = embedding_gradients(table, w, b, embedded, tokens, y)
    length = np.sqrt(np.sum(plain[3] ** 2, axis=(1, 2), keepdims=True))  # over the whole example
    moved = embedded + 2.0 * plain[3] / length
    # The perturbation is a constant, so the adversarial loss reaches the table through the embedded words alone.
    harmed = embedding_gradients(table, w, b, moved, tokens, y)
    wanted = [a + 0.7 * h for a, h in zip(plain[:3], harmed[:3], strict=True)]
    wanted[0] += 2 * penalty * table  # once
    model = zoo.recipe("fgm(epsilon=2.0, weight=0.7)+sgd(learning_rate=0.5, momentum=0.0)").compile(
        net, run_eagerly=eager
    )
    history = model.fit(tokens, y, batch_size=6, verbose=0)
    for after, before, gradient in zip(model.get_weights(), (table, w, b), wanted, strict=True):
        np.testing.assert_allclose(after, before - 0.5 * gradient, rtol=1e-5, atol=2e-6)
    losses = [logistic(w, b, e.mean(axis=1), y)[0] for e in (embedded, moved)]
    total = losses[0] + 0.7 * losses[1] + penalty * np.sum(table**2)
    np.testing.assert_allclose(history.history["loss"][0], total, rtol=1e-5)


def test_fgm_of_a_frozen_embedding_still_moves_it():
    tokens, y = np.array([[1, 2, 3, 4, 5], [2, 2, 2, 1, 0]], "int32"), np.array([0, 1])
    net = embedding_net()
    net.get_layer("embedding").trainable = False
    table, w, b = net.get_layer("embedding").get_weights() + net.get_layer("logits").get_weights()
    embedded = table[tokens].astype("float64")
    plain = embedding_gradients(table, w, b, embedded, tokens, y)
    moved = embedded + plain[3] / np.sqrt(np.sum(plain[3] ** 2, axis=(1, 2), keepdims=True))
    harmed = embedding_gradients(table, w, b, moved, tokens, y)
    model = zoo.recipe("fgm+sgd(learning_rate=0.5, momentum=0.0)").compile(net)
    model.fit(tokens, y, batch_size=2, verbose=0)
    np.testing.assert_array_equal(model.get_layer("embedding").get_weights()[0], table)
    np.testing.assert_allclose(model.get_layer("logits").get_weights()[0], w - 0.5 * (plain[1] + harmed[1]), atol=1e-6)


def test_l2_step_has_its_length_whatever_the_scale():
    rng = np.random.default_rng(0)
    gradient = rng.normal(size=(5, 4, 3))
    gradient[4] = 0
    unit = gradient[:4] / np.sqrt(np.sum(gradient[:4] ** 2, axis=(1, 2), keepdims=True))
    for scale in (1e-30, 1.0, 1e30):
        moved = to_numpy(l2_step(ops.convert_to_tensor((gradient * scale).astype("float32")), 2.5))
        np.testing.assert_allclose(moved[:4], 2.5 * unit, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(moved[4], 0)
    gradient[1, 0, 0] = np.inf
    moved = to_numpy(l2_step(ops.convert_to_tensor(gradient.astype("float32")), 2.5))
    np.testing.assert_array_equal(moved[1], 0)


@pytest.mark.parametrize(
    ("recipe", "net", "xy"), [("fgsm", image_net, images()), ("fgm", text_net, texts())], ids=["fgsm", "fgm"]
)
def test_an_extra_pass_draws_no_dropout_seeds(recipe, net, xy):
    states = []
    for text in ("plain", recipe):
        model = zoo.recipe(text).compile(net())
        state = model.get_layer("drop").seed_generator.state
        state.assign([7, 0])
        model.fit(*xy, batch_size=24, epochs=1, verbose=0)
        states.append(to_numpy(state).tolist())
    assert states[0] == states[1]
    assert BACKEND == "torch" or states[0] != [7, 0]  # PyTorch draws from its own generator


def test_batch_norm_statistics_see_the_plain_batch_once():
    x, y = images(12)
    weights = numpy_weights(net := image_net(drop_rate=0.0))
    moved = {}
    for text in ("plain", "fgsm(epsilon=0.5)"):
        model = zoo.recipe(f"{text}+sgd").compile(net)
        model.set_weights(weights)
        model.fit(x, y, batch_size=12, verbose=0)  # one step: the statistics are from before any weight changed
        moved[text] = [to_numpy(v) for v in model.get_layer("norm").non_trainable_variables]
    for plain, adversarial in zip(*moved.values(), strict=True):
        np.testing.assert_allclose(plain, adversarial, rtol=1e-6)


# Schedules, step by step


def rates(schedule, steps, *, steps_per_epoch, epochs, start=0):
    schedule.bind(steps_per_epoch=steps_per_epoch, epochs=epochs, start=start)
    return to_numpy(schedule(ops.convert_to_tensor(list(steps), "int32")))


def test_warmup_rises_in_equal_steps():
    found = rates(LinearWarmup(0.8, 2.0), range(12), steps_per_epoch=4, epochs=3)
    np.testing.assert_allclose(found, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.8, 0.8, 0.8, 0.8], rtol=1e-6)


def test_cosine_is_keras_and_equation_5():
    found = rates(CosineDecay(0.3, 0.1), range(45), steps_per_epoch=10, epochs=4, start=0)
    theirs = keras.optimizers.schedules.CosineDecay(0.3, 40, alpha=0.1)
    np.testing.assert_allclose(found, [float(theirs(s)) for s in range(45)], rtol=1e-5)
    wanted = [0.03 + 0.5 * 0.27 * (1 + math.cos(math.pi * min(s, 40) / 40)) for s in range(45)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_warmup_then_cosine_spans_the_remaining_steps():
    found = rates(LinearWarmup(CosineDecay(1.0), 1.0), range(20), steps_per_epoch=5, epochs=4)
    wanted = [(s + 1) / 5 if s < 5 else 0.5 * (1 + math.cos(math.pi * (s - 5) / 15)) for s in range(20)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-7)


def test_a_schedule_counts_from_where_its_fit_started():
    found = rates(CosineDecay(1.0), range(100, 112), steps_per_epoch=3, epochs=4, start=100)
    np.testing.assert_allclose(found, [0.5 * (1 + math.cos(math.pi * s / 12)) for s in range(12)], rtol=1e-5, atol=1e-7)


def np_cyclic(step, first, growth, final=0.0):
    """Walks through the cycles, as equation 5 with restarts says."""
    start, length = 0.0, first
    while step >= start + length:
        start, length = start + length, length * growth
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * (step - start) / length))


@pytest.mark.parametrize("growth", [1.0, 1.25, 2.0, 3.0])
@pytest.mark.parametrize("epochs", [0.5, 1.0, 2.0])
def test_cyclic_restarts_are_exact(growth, epochs):
    found = rates(CyclicCosine(1.0, epochs, growth, 0.1), range(200), steps_per_epoch=8, epochs=25)
    wanted = [np_cyclic(s, epochs * 8, growth, 0.1) for s in range(200)]
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("growth", [1.0, 2.0])
def test_cyclic_restarts_are_exact_late_in_training(growth):
    first = 390 * 10
    ends = [first * (k if growth == 1 else 2**k - 1) for k in ((1, 2, 77, 250) if growth == 1 else range(1, 9))]
    steps = [e + d for e in ends for d in (-1, 0, 1)]
    found = rates(CyclicCosine(1.0, 10, growth), steps, steps_per_epoch=390, epochs=3000)
    np.testing.assert_allclose(found, [np_cyclic(s, first, growth) for s in steps], atol=1e-4)
    np.testing.assert_allclose(found[1::3], 1.0)  # each restart, to the step


def test_cyclic_is_keras_cosine_decay_restarts():
    steps = [0, 4, 9, 10, 11, 20, 29, 30, 31, 50, 68]
    found = rates(CyclicCosine(0.2, 1, 2.0), steps, steps_per_epoch=10, epochs=7)
    theirs = keras.optimizers.schedules.CosineDecayRestarts(0.2, 10, t_mul=2.0)
    np.testing.assert_allclose(found, [float(theirs(s)) for s in steps], rtol=1e-4, atol=1e-6)


@pytest.mark.torch
def test_schedules_are_those_of_pytorch():
    import torch

    def theirs(make, steps):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
        schedule, found = make(optimizer), []
        for _ in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        return found

    schedulers = torch.optim.lr_scheduler
    for schedule, make in (
        (CyclicCosine(0.4, 1, 2.0), lambda o: schedulers.CosineAnnealingWarmRestarts(o, 6, 2)),
        (CyclicCosine(0.4, 1, 1.0, 0.25), lambda o: schedulers.CosineAnnealingWarmRestarts(o, 6, 1, eta_min=0.1)),
        (CosineDecay(0.4, 0.25), lambda o: schedulers.CosineAnnealingLR(o, 60, eta_min=0.1)),
        (LinearWarmup(0.4, 1), lambda o: schedulers.LambdaLR(o, lambda s: min((s + 1) / 6, 1))),
    ):
        found = rates(schedule, range(60), steps_per_epoch=6, epochs=10)
        np.testing.assert_allclose(found, theirs(make, 60), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "schedule", [CosineDecay(0.3, 0.1), CyclicCosine(0.3, 2, 1.5), LinearWarmup(CyclicCosine(0.1, 1.0), 0.5)]
)
def test_schedules_survive_serialisation(schedule):
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    bound = {"steps_per_epoch": 7, "epochs": 3}
    np.testing.assert_array_equal(rates(again, range(21), **bound), rates(schedule, range(21), **bound))


class Rates(keras.callbacks.Callback):
    """Records the rate that each step of a fit used."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def on_train_batch_begin(self, batch, logs=None):
        if BACKEND == "jax":
            self.model.jax_state_sync()
        self.rates.append(float(self.model.optimizer.learning_rate))


def test_rates_in_a_real_fit_and_in_a_second_one():
    x, y = data(n=24)
    model = zoo.recipe("warmup(epochs=1)+cosine+sgd(learning_rate=0.1)").compile(linear_net())
    for epochs in (3, 2):  # each fit has its own warmup and its own end
        recorded = Rates()
        model.fit(x, y, batch_size=8, epochs=epochs, verbose=0, callbacks=[recorded])
        rest = 3 * (epochs - 1)
        wanted = [0.1 * (s + 1) / 3 for s in range(3)]
        wanted += [0.05 * (1 + math.cos(math.pi * s / rest)) for s in range(rest)]
        np.testing.assert_allclose(recorded.rates, wanted, rtol=1e-5, atol=1e-8)


def test_a_fit_in_two_halves_has_the_rates_of_one():
    x, y = data(n=24)
    whole, halves = Rates(), Rates()
    zoo.recipe("cosine").compile(linear_net()).fit(x, y, batch_size=8, epochs=4, verbose=0, callbacks=[whole])
    model = zoo.recipe("cosine").compile(linear_net())
    for initial, until in ((0, 1), (1, 4)):
        stop = keras.callbacks.LambdaCallback(
            on_epoch_end=lambda epoch, logs, until=until: setattr(model, "stop_training", epoch + 1 == until)
        )
        model.fit(x, y, batch_size=8, epochs=4, initial_epoch=initial, verbose=0, callbacks=[halves, stop])
    np.testing.assert_allclose(halves.rates, whole.rates, rtol=1e-6)


def test_an_endless_warmup_is_pointed_out():
    x, y = data()
    model = zoo.recipe("warmup(epochs=5)").compile(linear_net())
    with pytest.warns(UserWarning, match=r"warmup\(epochs=5\) is longer than this fit, epochs=2"):
        model.fit(x, y, epochs=2, verbose=0)


# Averaged weights


class Watch(keras.callbacks.Callback):
    """Keeps the weights after each step, and around and in each validation."""

    def __init__(self):
        super().__init__()
        self.steps, self.validated, self.after = [], [], []

    def on_train_batch_end(self, batch, logs=None):
        if BACKEND == "jax":
            self.model.jax_state_sync()
        self.steps.append(numpy_weights(self.model))

    def on_test_batch_begin(self, batch, logs=None):
        self.validated.append(numpy_weights(self.model))

    def on_epoch_end(self, epoch, logs=None):
        self.after.append(numpy_weights(self.model))


def test_ema_validates_and_ends_with_the_average():
    x, y = data(n=24)
    net = linear_net()
    model = zoo.recipe("ema(momentum=0.6)+sgd(learning_rate=0.5)").compile(net)
    average = None
    for _ in range(2):  # the second fit goes on from the averaged weights
        watch = Watch()
        history = model.fit(
            x, y, batch_size=8, epochs=3, verbose=0, validation_data=(x, y), validation_batch_size=24, callbacks=[watch]
        )
        averages = []
        for weights in watch.steps:
            # Keras starts the average at the weights after the first step.
            average = weights if average is None else [0.6 * a + 0.4 * w for a, w in zip(average, weights, strict=True)]
            averages.append(average)
        for epoch in range(3):
            for found, wanted in zip(watch.validated[epoch], averages[3 * epoch + 2], strict=True):
                np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
            for found, raw in zip(watch.after[epoch], watch.steps[3 * epoch + 2], strict=True):
                np.testing.assert_array_equal(found, raw)  # training goes on from the very weights it had
        for found, wanted in zip(numpy_weights(model), averages[-1], strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
        w, b = (v.astype("float64") for v in averages[-1])
        np.testing.assert_allclose(history.history["val_loss"][-1], logistic(w, b, x, y)[0], rtol=1e-4)
        np.testing.assert_allclose(model.evaluate(x, y, verbose=0)[0], history.history["val_loss"][-1], rtol=1e-5)


# Augmentation


@pytest.mark.parametrize(("pad", "flip"), [(2, True), (0, True), (3, False)])
def test_flip_crop_takes_a_window_of_the_padded_image(pad, flip):
    tf = pytest.importorskip("tensorflow")
    x = np.random.default_rng(0).random((40, 5, 7, 3)).astype("float32") + 1  # zero is padding alone
    cropped, labels = flip_crop(tf.constant(x), tf.range(40), tf.constant([1, 2]), pad=pad, flip=flip)
    np.testing.assert_array_equal(labels, range(40))
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    seen = set()
    for image, found in zip(padded, np.asarray(cropped), strict=True):
        matches = [
            (top, left, turned)
            for top, left, turned in itertools.product(range(2 * pad + 1), range(2 * pad + 1), {False, flip})
            if np.array_equal(found, image[top : top + 5, left : left + 7][:, :: -1 if turned else 1])
        ]
        assert len(matches) == 1
        seen.add(matches[0])
    assert {turned for *_, turned in seen} == {False, flip}
    if pad:
        assert {top for top, *_ in seen} == set(range(2 * pad + 1))  # every shift occurs, both ends included
        assert {left for _, left, _ in seen} == set(range(2 * pad + 1))


def test_flip_crop_is_the_numpy_slice_at_the_offsets_of_its_seeds():
    tf = pytest.importorskip("tensorflow")
    x = np.random.default_rng(0).random((16, 6, 6, 1)).astype("float32")
    seeds = tf.constant([5, 9])
    rows, columns, mirrored = tf.unstack(tf.random.experimental.stateless_split(seeds, 3))
    top = tf.random.stateless_uniform((16, 1), rows, 0, 5, "int32").numpy()[:, 0]
    left = tf.random.stateless_uniform((16, 1), columns, 0, 5, "int32").numpy()[:, 0]
    turned = tf.random.stateless_uniform((16, 1), mirrored).numpy()[:, 0] < 0.5
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)))
    wanted = [
        p[t : t + 6, i : i + 6][:, :: -1 if f else 1] for p, t, i, f in zip(padded, top, left, turned, strict=True)
    ]
    again = [flip_crop(tf.constant(x), None, seeds, pad=2, flip=True)[0] for _ in range(2)]
    np.testing.assert_array_equal(again[0], wanted)
    np.testing.assert_array_equal(again[1], wanted)
    other = flip_crop(tf.constant(x), None, tf.constant([5, 10]), pad=2, flip=True)[0]
    assert not np.array_equal(other, wanted)


@pytest.mark.parametrize("kind", ["arrays", "dataset"])
def test_every_epoch_sees_other_crops_of_each_image(kind):
    tf = pytest.importorskip("tensorflow")
    from zoo.augmentation import augmented

    x, y = images(8)
    plan = zoo.recipe("flip_crop(pad=2)").plan(image_net())

    def epochs(seed):
        keras.utils.set_random_seed(seed)
        source = (x, y) if kind == "arrays" else (tf.data.Dataset.from_tensor_slices((x, y)).batch(4), None)
        data, _, _, options = augmented(plan.augment, *source, 4, {})
        assert options["steps_per_epoch"] == 2
        batches = list(itertools.islice(data.as_numpy_iterator(), 4))
        parts = [tuple(np.concatenate(p) for p in zip(*batches[i : i + 2], strict=True)) for i in (0, 2)]
        return [(images[np.argsort(labels, kind="stable")], np.sort(labels)) for images, labels in parts]

    one, two = epochs(0)
    np.testing.assert_array_equal(one[1], np.sort(y))  # each image once an epoch
    np.testing.assert_array_equal(two[1], np.sort(y))
    assert not np.array_equal(one[0], two[0])
    again = epochs(0)
    np.testing.assert_array_equal(again[0][0], one[0])
    np.testing.assert_array_equal(again[1][0], two[0])
    assert not np.array_equal(epochs(1)[0][0], one[0])


@pytest.mark.parametrize("kind", ["arrays", "dataset"])
def test_flip_crop_in_fit(kind):
    tf = pytest.importorskip("tensorflow")
    x, y = images(16)
    model = zoo.recipe("flip_crop(pad=1)+warmup(epochs=1)").compile(image_net())
    source = (x, y) if kind == "arrays" else (tf.data.Dataset.from_tensor_slices((x, y)).batch(8),)
    batches = {"batch_size": 8} if kind == "arrays" else {}
    history = model.fit(*source, epochs=2, verbose=0, validation_data=(x, y), **batches)
    assert np.isfinite(history.history["loss"]).all()
    assert int(model.optimizer.iterations) == 4


def test_augmented_arrays_keep_weights_and_hold_out_the_last_examples():
    pytest.importorskip("tensorflow")
    x, y = images(20)
    weights = np.arange(20, dtype="float32")
    plan = zoo.recipe("flip_crop").plan(image_net())
    from zoo.augmentation import augmented

    options = {"sample_weight": weights, "validation_split": 0.25, "shuffle": False}
    data, _, _, left = augmented(plan.augment, x, y, 15, options)
    _, labels, kept = next(data.as_numpy_iterator())
    np.testing.assert_array_equal(labels, y[:15])
    np.testing.assert_array_equal(kept, weights[:15])
    for found, wanted in zip(left["validation_data"], (x, y, weights), strict=True):
        np.testing.assert_array_equal(found, wanted[15:])
    options = {"class_weight": {0: 2.0, 1: 1.0, 2: 1.0}, "validation_split": 0.25}
    history = zoo.recipe("flip_crop").compile(image_net()).fit(x, y, verbose=0, **options)
    assert np.isfinite([*history.history["loss"], *history.history["val_loss"]]).all()


def test_what_augmentation_refuses():
    pytest.importorskip("tensorflow")
    x, y = images(16)
    model = zoo.recipe("flip_crop").compile(image_net())
    with pytest.raises(InvalidArgument, match=r"`validation_split` of 16 examples leaves one part empty"):
        model.fit(x, y, verbose=0, validation_split=0.999)
    with pytest.raises(InvalidArgument, match=r"needs NumPy arrays or a tf.data.Dataset. Received: 'generator'"):
        model.fit(((x, y) for _ in range(3)), verbose=0)


# Dropout


def test_dropout_sets_the_rate_that_a_model_is_built_with():
    model = zoo.build(
        "vit", image_shape=(8, 8, 1), patch_size=4, depth=1, embed_dim=8, num_heads=2, recipe="dropout(rate=0.3)"
    )
    assert model.zoo_spec.arguments["drop_rate"] == 0.3
    assert 0.3 in [layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
