"""The objective tricks: each step against NumPy and finite differences in float64, and what they keep."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from nets import image_net, images, linear_net, numpy_weights, text_net, texts

import zoo
from zoo.adversarial import Alternating, GradientPenalty
from zoo.attacks import Attack, pgd, signs
from zoo.data import load
from zoo.errors import Conflict, InvalidArgument, RecipeWarning
from zoo.spec import Spec, attach
from zoo.tricks.ant import KeepGenerator, NoiseGenerator, of_size
from zoo.tricks.free_lb import projected
from zoo.tricks.gradient_penalty import squared_slopes
from zoo.tricks.prior import sum_of_log_probabilities
from zoo.tricks.sam import worst_offsets
from zoo.weights import load_state

BACKEND = keras.backend.backend()
RATE = 0.5
X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
Y = np.array([0, 2, 1, 1, 0, 2])


def to_numpy(x):
    return np.asarray(ops.convert_to_numpy(x))


# A network small enough for finite differences: x (B, 4) -> tanh -> 3 logits


def mlp(regularizer=None):
    features = keras.Input((4,), name="features")
    x = layers.Dense(5, activation="tanh", name="hidden", kernel_regularizer=regularizer)(features)
    model = keras.Model(features, layers.Dense(3, name="logits")(x), name="mlp")
    return attach(model, Spec("mlp", {}, "image_classification"))


def logits_of(weights, x):
    w1, b1, w2, b2 = weights
    return np.tanh(x @ w1 + b1) @ w2 + b2


def loss_of(weights, x, targets):
    """Returns the mean cross-entropy in float64."""
    z = logits_of(weights, x)
    return np.mean(np.logaddexp.reduce(z, axis=1) - np.sum(targets * z, axis=1))


def slope_of(weights, x, by_logits):
    """Returns the gradient by x of a function of the logits whose gradient by them is given."""
    w1, b1, w2, _ = weights
    return (by_logits @ w2.T * (1 - np.tanh(x @ w1 + b1) ** 2)) @ w1.T


def probabilities(weights, x):
    z = logits_of(weights, x)
    return np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))


def input_slope(weights, x, targets):
    """Returns the gradient of the mean loss by x."""
    return slope_of(weights, x, (probabilities(weights, x) - targets) / len(x))


def differences(function, weights, size=1e-5):
    """Returns central differences of a scalar function of a list of float64 arrays, by each number of each."""
    found = []
    for i, w in enumerate(weights):
        gradient = np.zeros_like(w)
        for place in np.ndindex(w.shape):
            ends = []
            for sign in (1, -1):
                moved = [v.copy() for v in weights]
                moved[i][place] += sign * size
                ends.append(function(moved))
            gradient[place] = (ends[0] - ends[1]) / (2 * size)
        found.append(gradient)
    return found


def start_of(net):
    """Returns the weights in float64, the biases moved from zero so that they matter."""
    for layer in net.layers:
        if getattr(layer, "use_bias", False):
            layer.bias.assign(np.linspace(-0.3, 0.4, layer.bias.shape[0]))
    return [w.astype("float64") for w in numpy_weights(net)]


def check_step(text, objective, net=None, x=X, y=Y, **options):
    """Checks one step of gradient descent against differences of `objective(weights, start)` at the start weights."""
    net = net or mlp()
    start = start_of(net)
    model = zoo.recipe(f"{text}+sgd(learning_rate={RATE}, momentum=0.0)").compile(net, **options)
    wanted = objective(model, start) if getattr(objective, "of_model", False) else lambda w: objective(w, start)
    history = model.fit(x, y, batch_size=len(x), shuffle=False, verbose=0)
    gradients = differences(wanted, start)
    for after, before, gradient in zip(numpy_weights(net), start, gradients, strict=True):
        np.testing.assert_allclose(after, before - RATE * gradient, rtol=1e-4, atol=5e-6)
    np.testing.assert_allclose(history.history["loss"][0], wanted(start), rtol=1e-5)
    assert max(np.abs(g).max() for g in gradients) > 1e-3  # or nothing was shown
    return model


def targets(smoothing=0.0):
    return np.eye(3)[Y] * (1 - smoothing) + smoothing / 3


def test_the_slopes_of_these_tests_are_right():
    weights = start_of(mlp())
    by_x = differences(lambda v: loss_of(weights, v[0], targets()), [X.astype("float64")])[0]
    np.testing.assert_allclose(input_slope(weights, X, targets()), by_x, atol=1e-9)


# Attacks on inputs


def attacked(weights, x, targets, *, epsilon, step_size, steps, low=-np.inf, high=np.inf, start=None):
    """Ascends by the sign of float64 gradients, clipped to the ball and to the limits after each step."""
    moved = x.astype("float64") if start is None else start
    for _ in range(steps):
        moved = moved + step_size * np.sign(input_slope(weights, moved, targets))
        moved = np.clip(np.clip(moved, x - epsilon, x + epsilon), low, high)
    return moved


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize(("limits", "low", "high"), [("", -np.inf, np.inf), (", low=-0.7, high=0.6", -0.7, 0.6)])
def test_ifgsm_step(limits, low, high, eager):
    x = np.clip(X, low, high)

    def objective(weights, start):
        moved = attacked(start, x, targets(), epsilon=0.25, step_size=0.1, steps=4, low=low, high=high)
        return 0.3 * loss_of(weights, x, targets()) + 0.7 * loss_of(weights, moved, targets())

    text = f"ifgsm(epsilon=0.25, step_size=0.1, steps=4, alpha=0.3{limits})"
    check_step(text, objective, x=x, run_eagerly=eager)


@pytest.mark.parametrize("alpha", [0.0, 0.4])
def test_pgd_step_without_a_random_start(alpha):
    def objective(weights, start):
        moved = attacked(start, X, targets(), epsilon=0.3, step_size=0.25, steps=3)
        return alpha * loss_of(weights, X, targets()) + (1 - alpha) * loss_of(weights, moved, targets())

    check_step(f"pgd(epsilon=0.3, steps=3, alpha={alpha}, random_start=False)", objective)


@pytest.mark.parametrize("eager", [False, True])
def test_a_ramp_attacks_with_a_share_of_the_ball_and_of_the_step(eager):
    def objective(weights, start):
        moved = attacked(start, X, targets(), epsilon=0.1, step_size=0.05, steps=3)
        return loss_of(weights, moved, targets())

    with pytest.warns(RecipeWarning, match="ramp=2 leaves no epoch at its whole epsilon: this fit has epochs=1"):
        check_step(
            "pgd(epsilon=0.3, steps=3, step_size=0.15, random_start=False, ramp=2)", objective, run_eagerly=eager
        )


def test_a_ramp_climbs_with_the_epochs_and_none_of_its_epochs_is_kept(tmp_path):
    shares = []

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            (layer,) = self.model.plan.extras
            shares.append(float(ops.convert_to_numpy(layer.share.value)))

    settings = {"epochs": 6, "batch_size": 32, "quiet": True}
    run = zoo.train(
        "softmax",
        "digits",
        recipe="adam(learning_rate=0.02)+pgd(steps=2, epsilon=1.0, low=0.0, high=1.0, ramp=3)",
        out=tmp_path / "run",
        callbacks=[Watch],
        **settings,
    )
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.75, 1.0, 1.0, 1.0])
    accuracies = [row["val_accuracy"] for row in run.history]
    assert max(accuracies[:3]) > max(accuracies[3:])  # by the accuracy alone one of the easy epochs would be kept
    assert run.record["best_epoch"] > 3
    for wrong in (-1, 1.5, True):
        with pytest.raises(InvalidArgument, match="`ramp` must be"):
            zoo.recipe(f"pgd(ramp={wrong})")


def drawn_again(seeds):
    """Returns a generator that draws what `seeds` will draw next."""
    again = keras.random.SeedGenerator()
    again.state.assign(to_numpy(seeds.state).copy())  # a copy, as JAX gives buffers away
    return again


def of_model(function):
    """Marks an objective that needs the compiled model before it has drawn anything."""
    function.of_model = True
    return function


def test_pgd_step_from_a_random_point():
    @of_model
    def objective(model, start):
        (trained,) = model.plan.objective
        noise = to_numpy(keras.random.uniform(X.shape, -0.3, 0.3, "float32", seed=drawn_again(trained.seeds)))
        assert np.abs(noise).max() > 0.2
        begin = X.astype("float64") + noise
        moved = attacked(start, X, targets(), epsilon=0.3, step_size=0.1, steps=2, start=begin)
        return lambda weights: loss_of(weights, moved, targets())

    check_step("pgd(epsilon=0.3, steps=2, step_size=0.1)", objective)


def test_pgd_under_label_smoothing_and_flooding_attacks_the_smoothed_loss_and_is_turned_round():
    def objective(weights, start):
        smoothed = targets(0.2)
        moved = attacked(start, X, smoothed, epsilon=0.3, step_size=0.25, steps=3)
        return 2 * 9.0 - loss_of(weights, moved, smoothed)

    check_step(
        "pgd(epsilon=0.3, steps=3, random_start=False)+label_smoothing(amount=0.2)+flooding(level=9.0)", objective
    )


@pytest.mark.parametrize("attack", ["fgsm(alpha=0.25", "pgd(alpha=0.0, steps=1, step_size=0.3, random_start=False"])
def test_regularisers_and_what_other_tricks_add_stay_whole(attack):
    alpha = 0.25 if attack.startswith("fgsm") else 0.0

    def objective(weights, start):
        moved = attacked(start, X, targets(), epsilon=0.3, step_size=0.3, steps=1)
        shared = alpha * loss_of(weights, X, targets()) + (1 - alpha) * loss_of(weights, moved, targets())
        slopes = len(X) * np.sum(input_slope(weights, X, targets()) ** 2)
        return shared + 0.7 * np.sum(weights[0] ** 2) + 2.0 * slopes

    check_step(f"{attack}, epsilon=0.3)+gradient_penalty(weight=2.0)", objective, net=mlp(keras.regularizers.L2(0.7)))


def test_an_attack_stays_in_its_ball_and_its_limits_wherever_it_is_led():
    rng = np.random.default_rng(0)
    x = ops.convert_to_tensor(rng.random((8, 5, 5, 1)).astype("float32"))

    def wild(values):
        return [ops.convert_to_tensor(rng.normal(size=v.shape).astype("float32")) for v in values]

    for start in (False, True):
        attack = Attack(0.3, 6, 0.2, start, 0.1, 0.9)
        (moved,) = attack.run(wild, [x], seed=keras.random.SeedGenerator(1))
        moved, given = to_numpy(moved), to_numpy(x)
        assert moved.min() >= 0.1
        assert moved.max() <= 0.9
        inside = (given >= 0.1) & (given <= 0.9)
        assert np.abs(moved - given)[inside].max() <= 0.3 + 1e-6
        assert np.abs(moved - given)[inside].max() > 0.29


def test_a_gradient_that_is_not_a_number_moves_nothing():
    found = signs(ops.convert_to_tensor(np.array([2.0, -3.0, 0.0, np.nan, np.inf, -1e-30], "float32")), "float32")
    np.testing.assert_array_equal(to_numpy(found), [1, -1, 0, 0, 1, -1])


def test_pgd_on_a_finished_linear_model_finds_the_worst_point_there_is():
    net = linear_net(num_inputs=6)
    rng = np.random.default_rng(1)
    net.set_weights([rng.normal(size=(6, 1)), np.zeros(1)])
    x, y = rng.random((30, 6)).astype("float32"), rng.integers(0, 2, 30)
    before = numpy_weights(net)
    worst = np.clip(x - 0.2 * np.sign(net.get_weights()[0][:, 0]) * (2 * y[:, None] - 1), 0.0, 1.0)
    keras.utils.set_random_seed(3)
    moved = pgd(net, x, y, 0.2, steps=20, batch_size=7)
    np.testing.assert_allclose(moved, worst, atol=1e-6)
    np.testing.assert_allclose(pgd(net, x, y, 0.2, steps=1, step_size=0.2, random_start=False), worst, atol=1e-6)
    free = pgd(net, x, y, 0.2, steps=5, low=None, high=None)
    np.testing.assert_allclose(np.abs(free - x), 0.2, atol=1e-5)
    for w, b in zip(numpy_weights(net), before, strict=True):
        np.testing.assert_array_equal(w, b)
    for arguments, message in (
        ({"epsilon": 0.0}, r"pgd: `epsilon` must be positive"),
        ({"epsilon": 0.1, "steps": 0}, r"`steps` must be 1 or more"),
        ({"epsilon": 0.1, "low": 1.0, "high": 0.0}, r"`low` must be below `high`"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            pgd(net, x, y, **arguments)
    with pytest.raises(InvalidArgument, match="a target for each input"):
        pgd(net, x, y[:5], 0.1)


def test_two_attacks_are_refused():
    for text in ("fgsm+pgd", "ifgsm+fgsm", "ant+pgd"):
        with pytest.raises(Conflict, match=r"both set the inputs that the loss is taken on. Keep one of them"):
            zoo.recipe(text).compile(image_net())


# Perturbed embeddings


def embedding_net():
    tokens = keras.Input((5,), dtype="int32", name="tokens")
    x = layers.GlobalAveragePooling1D(name="pool")(layers.Embedding(7, 4, name="embedding")(tokens))
    x = layers.Dense(5, activation="tanh", name="hidden")(x)
    model = keras.Model(tokens, layers.Dense(3, name="logits")(x), name="embedding_net")
    return attach(model, Spec("embedding_net", {}, "text_classification"))


TOKENS = np.random.default_rng(1).integers(0, 7, (6, 5)).astype("int32")


@pytest.mark.parametrize("eager", [False, True])
def test_free_lb_step(eager):
    @of_model
    def objective(model, start):
        (trained,) = model.plan.objective
        shape = (6, 5, 4)
        offset = to_numpy(keras.random.uniform(shape, -0.8, 0.8, "float32", seed=drawn_again(trained.seeds)))
        offset = offset.astype("float64") / np.sqrt(20)
        offsets = []
        for _ in range(3):
            offsets.append(offset)
            pooled = (start[0][TOKENS] + offset).mean(axis=1)
            slope = np.repeat(input_slope(start[1:], pooled, targets())[:, None, :] / 5, 5, axis=1)
            offset = offset + 0.5 * slope / np.sqrt(np.sum(slope**2, axis=(1, 2), keepdims=True))
            length = np.sqrt(np.sum(offset**2, axis=(1, 2), keepdims=True))
            offset = offset * np.minimum(1, 0.8 / length)
        assert np.isclose(np.sqrt(np.sum(offsets[2] ** 2, axis=(1, 2))), 0.8).any()  # the ball was met

        def total(weights):
            passes = [loss_of(weights[1:], (weights[0][TOKENS] + o).mean(axis=1), targets()) for o in offsets]
            return np.mean(passes)

        return total

    check_step("free_lb(steps=3, epsilon=0.8, step_size=0.5)", objective, embedding_net(), TOKENS, run_eagerly=eager)


def test_projection_shortens_what_is_too_long_and_nothing_else():
    rng = np.random.default_rng(0)
    offset = rng.normal(size=(4, 3, 2)).astype("float32")
    offset[0] = 0
    offset[1] *= 1e-3
    found = to_numpy(projected(ops.convert_to_tensor(offset), 0.7))
    np.testing.assert_array_equal(found[:2], offset[:2])
    np.testing.assert_allclose(np.sqrt(np.sum(found[2:] ** 2, axis=(1, 2))), 0.7, rtol=1e-5)


def test_gradient_penalty_of_embeddings_step():
    def objective(weights, start):
        pooled = weights[0][TOKENS].mean(axis=1)
        slopes = input_slope(weights[1:], pooled, targets()) / 5  # by each of five words
        return loss_of(weights[1:], pooled, targets()) + 3.0 * len(TOKENS) * 5 * np.sum(slopes**2)

    check_step("gradient_penalty(weight=3.0)", objective, embedding_net(), TOKENS)


# Penalties on slopes


@pytest.mark.parametrize("eager", [False, True])
def test_gradient_penalty_step(eager):
    def objective(weights, start):
        each = len(X) * input_slope(weights, X, targets())  # of the loss of each example
        return loss_of(weights, X, targets()) + 1.5 * np.mean(np.sum(each**2, axis=1))

    check_step("gradient_penalty(weight=1.5)", objective, run_eagerly=eager)


def test_squared_slopes_undo_the_mean_and_the_scale():
    gradients = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
    found = squared_slopes([ops.convert_to_tensor(gradients * 8 / 4)], 8.0)
    np.testing.assert_allclose(float(found), np.mean(np.sum(gradients**2, axis=1)), rtol=1e-6)


@pytest.mark.parametrize("kind", ["tuple", "file"])
def test_prior_step(kind, tmp_path):
    mask = np.array([1, 0, 0, 1])
    np.save(tmp_path / "mask.npy", mask.astype(bool))
    given = tuple(mask.tolist()) if kind == "tuple" else str(tmp_path / "mask.npy")

    def objective(weights, start):
        by_logits = 1 - 3 * probabilities(weights, X)  # of the sum over three classes of log p
        slopes = slope_of(weights, X, by_logits) * mask
        return loss_of(weights, X, targets()) + 0.5 * np.mean(np.sum(slopes**2, axis=1))

    check_step(f"prior(mask={given!r}, weight=0.5)", objective)


def test_sums_of_log_probabilities():
    z = np.random.default_rng(0).normal(0, 3, (5, 3))
    found = float(sum_of_log_probabilities("softmax", ops.convert_to_tensor(z.astype("float32"))))
    np.testing.assert_allclose(found, np.sum(z - np.logaddexp.reduce(z, axis=1, keepdims=True)), rtol=1e-5)
    found = float(sum_of_log_probabilities("sigmoid", ops.convert_to_tensor(z.astype("float32"))))
    np.testing.assert_allclose(found, -np.sum(np.logaddexp(0, -z) + np.logaddexp(0, z)), rtol=1e-5)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ("none.npy", r"there is no mask file. Received: '.*none.npy'"),
        ("text.npy", r"the mask file cannot be read"),
        ("objects.npy", r"the mask file cannot be read .*allow_pickle"),
        ("shape.npy", r"prior finds no input of the mask's shape. Received: \(5, 6\). Inputs have shape \(6, 6, 2\)"),
        ("halves.npy", r"a mask holds 0 and 1 alone. Received: \[0.5\]"),
        ("zeros.npy", r"the mask is 0 everywhere"),
    ],
)
def test_a_mask_that_cannot_work_is_refused_before_any_step(mask, message, tmp_path):
    (tmp_path / "text.npy").write_text("0 1")
    np.save(tmp_path / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "shape.npy", np.ones((5, 6)))
    np.save(tmp_path / "halves.npy", np.full((6, 6), 0.5))
    np.save(tmp_path / "zeros.npy", np.zeros((6, 6)))
    net = image_net()
    model = zoo.recipe(f"prior(mask={str(tmp_path / mask)!r})").compile(net)
    before = numpy_weights(net)
    with pytest.raises(InvalidArgument, match=message):
        model.fit(*images(), verbose=0)
    for w, b in zip(numpy_weights(net), before, strict=True):
        np.testing.assert_array_equal(w, b)


@pytest.mark.parametrize(
    ("mask", "message"),
    [("((1, 0), (1,))", "must be one array"), ("(0, 0)", "0 everywhere"), ("(1, 2)", "0 and 1 alone"), ("'a'", "")],
)
def test_a_mask_that_is_written_wrong_is_refused_at_once(mask, message):
    if mask == "'a'":  # a file is looked for when training starts
        assert zoo.recipe("prior(mask='a')").tricks[0].mask == "a"
    else:
        with pytest.raises(InvalidArgument, match=message):
            zoo.recipe(f"prior(mask={mask})")


def test_a_mask_of_pixels_serves_every_channel():
    x, y = images(8)
    pixels = np.zeros((6, 6), int)
    pixels[1:3, 2:5] = 1
    losses = []
    net = image_net(drop_rate=0.0)
    start = net.get_weights()
    for mask in (pixels, np.repeat(pixels[..., None], 2, axis=2)):
        net.set_weights(start)
        written = str(mask.tolist()).replace("[", "(").replace("]", ")")
        model = zoo.recipe(f"prior(mask={written})").compile(net)
        losses.append(model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history["loss"])
    assert losses[0] == losses[1]
    plain = zoo.recipe("plain").compile(image_net(drop_rate=0.0))
    plain.set_weights(start)
    assert losses[0][0] > plain.fit(x, y, batch_size=8, shuffle=False, verbose=0).history["loss"][0]


# Sharpness


@pytest.mark.parametrize("eager", [False, True])
def test_sam_step(eager):
    """The regulariser is in the step, at the weights as they were, and not in the direction."""
    net = mlp(keras.regularizers.L2(0.3))
    start = start_of(net)
    gradients = differences(lambda w: loss_of(w, X, targets()), start)
    length = np.sqrt(sum(np.sum(g**2) for g in gradients))
    moved = [w + 0.2 * g / length for w, g in zip(start, gradients, strict=True)]
    there = differences(lambda w: loss_of(w, X, targets()), moved)
    there[0] = there[0] + 2 * 0.3 * start[0]
    model = zoo.recipe(f"sam(rho=0.2)+sgd(learning_rate={RATE}, momentum=0.0)").compile(net, run_eagerly=eager)
    history = model.fit(X, Y, batch_size=6, verbose=0)
    for after, before, gradient in zip(numpy_weights(net), start, there, strict=True):
        np.testing.assert_allclose(after, before - RATE * gradient, rtol=1e-4, atol=5e-6)
    total = loss_of(moved, X, targets()) + 0.3 * np.sum(start[0] ** 2)
    np.testing.assert_allclose(history.history["loss"][0], total, rtol=1e-5)


def test_the_length_of_the_worst_offset_is_rho_whatever_the_scale():
    rng = np.random.default_rng(0)
    gradients = [rng.normal(size=s) for s in ((3, 2), (4,))]
    norm = np.sqrt(sum(np.sum(g**2) for g in gradients))
    for scale in (1e-30, 1.0, 1e30):
        found = worst_offsets([ops.convert_to_tensor((g * scale).astype("float32")) for g in gradients], 0.05)
        for f, g in zip(found, gradients, strict=True):
            np.testing.assert_allclose(to_numpy(f), 0.05 * g / norm, rtol=1e-5, atol=1e-8)
    gradients[1][0] = np.inf
    for f in worst_offsets([ops.convert_to_tensor(g.astype("float32")) for g in gradients], 0.05):
        np.testing.assert_array_equal(to_numpy(f), 0)


@pytest.mark.parametrize("text", ["sam(rho=0.5)", "pgd(epsilon=0.5)", "gradient_penalty", "ant(epsilon=1.0)"])
def test_batch_statistics_and_dropout_seeds_see_the_plain_pass_alone(text):
    x, y = images(12)
    net = image_net(drop_rate=0.3)
    start, states, seeds = net.get_weights(), [], []
    for recipe in ("plain", text):
        model = zoo.recipe(f"{recipe}+sgd").compile(net)
        net.set_weights(start)
        state = model.get_layer("drop").seed_generator.state
        state.assign([7, 0])
        model.fit(x, y, batch_size=12, verbose=0)
        states.append([to_numpy(v) for v in model.get_layer("norm").non_trainable_variables])
        seeds.append(to_numpy(state).tolist())
    for plain, ours in zip(*states, strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-6)
    assert seeds[0] == seeds[1]


def test_sam_leaves_alone_what_another_trick_trains_beside_the_model():
    x, y = images(12)
    for eager in (False, True):
        model = zoo.recipe("sam+ant+sgd(learning_rate=0.1)").compile(image_net(), run_eagerly=eager)
        history = model.fit(x, y, batch_size=12, verbose=0)
        assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize("other", ["flooding", "accumulate(steps=2)"])
def test_sam_warns_of_what_it_does_not_go_with(other):
    if "accumulate" in other and "accumulate" not in [row.name for row in zoo.list_tricks()]:
        pytest.skip("there is no accumulate")
    with pytest.warns(RecipeWarning, match=r"sam with (flooding|accumulate): .*Foret et al."):
        zoo.recipe(f"sam+{other}").compile(image_net())


# Clipped weights


def test_clip_weights_step_and_average():
    net = mlp()
    start = start_of(net)
    gradients = differences(lambda w: loss_of(w, X, targets()), start)
    text = f"clip_weights(limit=0.25)+ema(momentum=0.5)+sgd(learning_rate={RATE}, momentum=0.0)"
    model = zoo.recipe(text).compile(net)
    model.fit(X, Y, batch_size=6, verbose=0)
    wanted = [np.clip(w - RATE * g, -0.25, 0.25) for w, g in zip(start, gradients, strict=True)]
    for after, clipped in zip(numpy_weights(net), wanted, strict=True):
        np.testing.assert_allclose(after, clipped, rtol=1e-5, atol=1e-6)  # Keras starts the average at the first step
        assert np.abs(after).max() <= 0.25
    assert any(np.abs(w).max() > 0.25 for w in start)
    model.fit(X, Y, batch_size=3, epochs=5, verbose=0)
    assert all(np.abs(w).max() <= 0.25 for w in numpy_weights(net))


def tiny_wgan(name="wgan", **arguments):
    return zoo.build(name, image_shape=(8, 8, 1), latent_dim=3, widths=(2, 2), **arguments)


def test_critics_are_clipped_or_penalised_as_their_papers_do():
    model = zoo.recipe("clip_weights(limit=0.03)+adam").compile(tiny_wgan())
    assert isinstance(model.optimizer, Alternating)
    assert model.optimizer.clip == 0.03
    model = zoo.recipe("gradient_penalty(weight=5.0)").compile(tiny_wgan(critic_norm=None))
    assert model.optimizer.clip is None
    (penalty,) = model.plan.objective
    assert isinstance(penalty, GradientPenalty)
    assert penalty.weight == 5.0
    batch = {"image": np.random.default_rng(0).random((4, 8, 8, 1)), "noise": np.random.default_rng(1).random((4, 3))}
    loss = model.train_on_batch(batch, {"real": np.zeros(4), "fake": np.zeros(4)})
    assert np.isfinite(loss).all()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("wgan_gp", "gradient_penalty", r"the model has a gradient penalty already. Received: 10.0"),
        ("wgan_gp", "clip_weights", r"the critic's slope is bounded by a gradient penalty already"),
        ("wgan", "gradient_penalty", r"which batch norm in the critic is not. Build it with critic_norm=None"),
        ("wgan", "sam", r"sam finds no softmax or sigmoid"),
        ("wgan", "pgd", r"pgd finds no softmax or sigmoid"),
    ],
)
def test_what_does_not_fit_a_critic(name, text, message):
    with pytest.raises(InvalidArgument, match=message):
        zoo.recipe(text).compile(tiny_wgan(name))


def test_clipping_and_penalty_of_one_critic_conflict():
    with pytest.raises(Conflict, match="clip_weights and gradient_penalty both set"):
        zoo.recipe("clip_weights+gradient_penalty").compile(tiny_wgan(critic_norm=None))


# Noise that learns


def noise_net():
    image = keras.Input((2, 2, 1), name="image")
    x = layers.Dense(5, activation="tanh", name="hidden")(layers.Flatten(name="flat")(image))
    model = keras.Model(image, layers.Dense(3, name="logits")(x), name="noise_net")
    return attach(model, Spec("noise_net", {}, "image_classification"))


def np_noise(weights, z, epsilon):
    """Returns the generator's noise (B, 2, 2, 1) in float64."""
    x = z
    for i in range(0, len(weights), 2):
        x = (x if i == 0 else np.maximum(x, 0)) @ weights[i] + weights[i + 1]
    x = x + z
    return epsilon * x / np.sqrt(np.mean(x**2, axis=(1, 2, 3), keepdims=True))


@pytest.mark.parametrize("kind", ["now", "replayed"])
def test_ant_step_descends_for_the_classifier_and_ascends_for_the_generator(kind):
    net = noise_net()
    start = start_of(net)
    text = "ant(epsilon=0.7, replay=0.0, low=-1.0, high=1.2)" if kind == "now" else "ant(epsilon=0.7, replay=0.999999)"
    model = zoo.recipe(f"{text}+sgd(learning_rate={RATE}, momentum=0.0)").compile(net)
    (objective,) = model.plan.objective
    generator = objective.generator
    rng = np.random.default_rng(2)
    for v in generator.current:  # larger than they begin, so that their gradients are worth comparing
        v.assign(rng.normal(0, 0.6, v.shape))
    now = [to_numpy(v).astype("float64") for v in generator.current]
    used = now
    if kind == "replayed":
        generator.keep()
        for v in generator.current:
            v.assign(rng.normal(0, 0.6, v.shape))
        now = [to_numpy(v).astype("float64") for v in generator.current]
    again = drawn_again(objective.seeds)
    keras.random.uniform((2,), seed=again)
    z = to_numpy(keras.random.normal((6, 2, 2, 1), seed=again)).astype("float64")
    x = X.reshape(6, 2, 2, 1)
    limits = (-1.0, 1.2) if kind == "now" else (-np.inf, np.inf)

    def loss(weights, generator_weights):
        mixed = x.astype("float64")
        mixed = np.concatenate([np.clip(x[:3] + np_noise(generator_weights, z, 0.7)[:3], *limits), mixed[3:]])
        return loss_of(weights, mixed.reshape(6, 4), targets())

    history = model.fit(x, Y, batch_size=6, shuffle=False, verbose=0)
    np.testing.assert_allclose(history.history["loss"][0], loss(start, used), rtol=1e-5)
    down = differences(lambda w: loss(w, used), start)
    for v, before, gradient in zip(net.trainable_variables, start, down, strict=True):
        np.testing.assert_allclose(to_numpy(v), before - RATE * gradient, rtol=1e-4, atol=5e-6)
    if kind == "now":
        up = differences(lambda g: loss(start, g), now)
        assert max(np.abs(g).max() for g in up) > 1e-3
    else:
        up = [np.zeros_like(g) for g in now]  # a snapshot learns no more
    for v, before, gradient in zip(generator.current, now, up, strict=True):
        np.testing.assert_allclose(to_numpy(v), before + RATE * gradient, rtol=1e-4, atol=5e-6)


def test_adafactor_takes_units_of_the_generator_that_no_gradient_reaches():
    model = zoo.recipe("ant+adafactor").compile(image_net())
    for bias in model.plan.extras[0].current[3:6:2]:
        bias.assign(np.array([-9.0] * 10 + [1.0] * 10))  # dead behind a ReLU
    x, y = images(12)
    history = model.fit(x, y, batch_size=12, epochs=3, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert all(np.isfinite(to_numpy(v)).all() for v in model.trainable_variables)


def test_noise_has_its_size():
    sizes = np.array([1e-3, 1, 50]).reshape(3, 1, 1, 1)
    noise = sizes * np.random.default_rng(0).normal(size=(3, 4, 4, 2))
    found = to_numpy(of_size(ops.convert_to_tensor(noise.astype("float32")), 0.4))
    np.testing.assert_allclose(np.sqrt(np.mean(found**2, axis=(1, 2, 3))), 0.4, rtol=1e-4)


def test_the_last_snapshots_are_kept_and_drawn_alike():
    generator = NoiseGenerator(1, 3)
    generator.build()
    first = generator.current[0]
    callback = KeepGenerator(generator)
    for epoch in range(5):
        first.assign(np.full(first.shape, epoch))
        callback.on_epoch_end(epoch)
    assert to_numpy(generator.kept[0])[:, 0, 0].tolist() == [3.0, 4.0, 2.0]
    assert int(generator.count) == 5
    first.assign(np.full(first.shape, 9.0))
    drawn = {float(to_numpy(generator.drawn([0.1, which], 0.5)[0])[0, 0]) for which in (0.0, 0.34, 0.67, 0.999)}
    assert drawn == {2.0, 3.0, 4.0}
    assert to_numpy(generator.drawn([0.6, 0.0], 0.5)[0])[0, 0] == 9.0
    empty = NoiseGenerator(1, 3)
    empty.build()
    np.testing.assert_array_equal(to_numpy(empty.drawn([0.0, 0.5], 0.9)[0]), to_numpy(empty.current[0]))


# State, precision, arguments

TRAINED = [
    ("pgd(steps=2)", image_net, images()),
    ("ant(replay=0.9)+sam", image_net, images()),
    ("free_lb(steps=2)", text_net, texts()),
]


@pytest.mark.parametrize(("text", "make", "xy"), TRAINED, ids=["pgd", "ant", "free_lb"])
def test_a_saved_model_goes_on_where_it_was(text, make, xy, tmp_path):
    """A `.keras` file leaves out where random numbers are drawn from, as for dropout; a run's folder does not."""
    model = zoo.recipe(text).compile(make(drop_rate=0.0))
    model.fit(*xy, batch_size=8, shuffle=False, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for ours, theirs in zip(model.plan.objective, again.plan.objective, strict=True):
        theirs.seeds.state.assign(to_numpy(ours.seeds.state).copy())
    for one in (model, again):
        one.fit(*xy, batch_size=8, shuffle=False, verbose=0)
    for ours, theirs in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("text", ["ant(replay=0.9)", "pgd(steps=2)+sam"])
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(text, tmp_path, monkeypatch):
    digits = load("digits")
    few = digits.but(**{part: getattr(digits, part).subset(np.arange(40)) for part in ("train", "validation", "test")})

    def run(out, **options):
        recipe = f"{text}+adam(learning_rate=0.01)+ema"
        return zoo.train("softmax", few, recipe=recipe, epochs=3, batch_size=8, seed=4, out=out, quiet=True, **options)

    whole = run(tmp_path / "whole")
    with monkeypatch.context() as patch:

        def interrupt(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

        patch.setattr(keras.callbacks.History, "on_epoch_begin", interrupt, raising=False)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run")
    resumed = run(tmp_path / "run", resume=True)
    mine, its = (load_state(one.folder / "last.safetensors")[0] for one in (resumed, whole))
    assert mine.keys() == its.keys()
    assert any(v.shape == (10, 1, 20) for v in mine.values()) == text.startswith("ant")  # the generator's snapshots
    for key in mine:
        np.testing.assert_array_equal(mine[key], its[key], err_msg=key)


@pytest.mark.parametrize(
    ("text", "make", "xy"),
    [
        *TRAINED,
        ("gradient_penalty", image_net, images()),
        ("prior(mask='{mask}')", image_net, images()),
        ("ifgsm+sam+flooding(level=0.01)", image_net, images()),
        ("clip_weights(limit=0.2)", image_net, images()),
    ],
)
@pytest.mark.filterwarnings("ignore::zoo.errors.RecipeWarning")
def test_mixed_precision_stays_finite(text, make, xy, tmp_path):
    np.save(tmp_path / "mask.npy", np.eye(6))
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = zoo.recipe(text.replace("{mask}", str(tmp_path / "mask.npy"))).compile(make())
        history = model.fit(*xy, batch_size=8, epochs=2, verbose=0)
    finally:
        keras.config.set_dtype_policy(policy)
    assert np.isfinite(history.history["loss"]).all()
    assert all(np.isfinite(to_numpy(v)).all() for v in model.trainable_variables)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("pgd(epsilon=0.0)", r"pgd: `epsilon` must be positive. Received: 0.0"),
        ("pgd(steps=0)", r"pgd: `steps` must be 1 or more"),
        ("pgd(step_size=-1.0)", r"pgd: `step_size` must be positive"),
        ("pgd(alpha=1.0)", r"pgd: `alpha` must be in \[0, 1\)"),
        ("ifgsm(low=1.0, high=0.0)", r"ifgsm: `low` must be below `high`"),
        ("free_lb(steps=0)", r"free_lb: `steps` must be 1 or more"),
        ("free_lb(epsilon=-1.0)", r"free_lb: `epsilon` must be positive"),
        ("free_lb(step_size=0.0)", r"free_lb: `step_size` must be positive"),
        ("sam(rho=0.0)", r"sam: `rho` must be positive"),
        ("gradient_penalty(weight=0.0)", r"gradient_penalty: `weight` must be positive"),
        ("prior(mask='m', weight=-1.0)", r"prior: `weight` must be positive"),
        ("clip_weights(limit=0.0)", r"clip_weights: `limit` must be positive"),
        ("ant(epsilon=0.0)", r"ant: `epsilon` must be positive"),
        ("ant(share=0.0)", r"ant: `share` must be in \(0, 1\]"),
        ("ant(replay=1.0)", r"ant: `replay` must be in \[0, 1\)"),
        ("ant(snapshots=0)", r"ant: `snapshots` must be 1 or more"),
        ("ant(low=1.0, high=1.0)", r"ant: `low` must be below `high`"),
    ],
)
def test_arguments_that_cannot_work(text, message):
    with pytest.raises(InvalidArgument, match=message):
        zoo.recipe(text)
