"""The Wasserstein GAN: its graph, its two players' steps, its penalty, its data, its pictures, and that it resumes."""

import keras
import numpy as np
import pytest
from graphs import collected, unordered
from keras import layers, ops
from nets import forget
from PIL import Image

import zoo
from zoo.adversarial import Alternating, game, gradient_penalty
from zoo.compiled import ZooModel
from zoo.data import load
from zoo.data.feed import feed
from zoo.data.generation import GenerationSplit, for_generation
from zoo.errors import DataError, InvalidArgument
from zoo.factory import build
from zoo.generating import SampleGrid, generate_images, save_grid
from zoo.measuring import measure
from zoo.models.wgan import HEADS, reverse, wgan
from zoo.objectives import differentiable_gradients
from zoo.plan import start
from zoo.registry import register
from zoo.weights import load_state

BACKEND = keras.backend.backend()
JIT = {"jit_compile": BACKEND == "jax"}
SMALL = {"widths": (4, 6), "latent_dim": 3, "critic_steps": 2}


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def tiny_game(*, units: int = 0, critic_steps: int = 2, clip: float | None = None, penalty: float = 0.0):
    """Builds a linear generator of points (B, 2) and a critic, linear or with one hidden layer of tanh."""
    noise, point = keras.Input((3,), name="noise"), keras.Input((2,), name="image")
    hidden = keras.Input((3,), name="generator_noise")
    generator = keras.Model(hidden, layers.Dense(2, use_bias=False, name="generator_a")(hidden), name="generator")
    x = seen = keras.Input((2,), name="critic_point")
    if units:
        x = layers.Dense(units, "tanh", use_bias=False, name="critic_hidden")(x)
    critic = keras.Model(seen, layers.Dense(1, use_bias=False, name="critic_w")(x), name="critic")
    outputs = {
        "real": layers.Identity(name="real")(critic(point)),
        "fake": layers.Identity(name="fake")(critic(reverse(generator(noise)))),
    }
    return keras.Model({"image": point, "noise": noise}, outputs, name="test_game")


@pytest.fixture(scope="module", autouse=True)
def _registered():
    """Registers the game while these tests run, as other tests count the models that there are."""
    register("test_game", task="image_generation", variants={"test_game": {}}, heads=HEADS)(tiny_game)
    yield
    forget(lambda builder: builder.family == "test_game")


def points(steps, size=4, seed=0):
    """Batches of points and noise, (steps, size, ...), and the targets that nobody reads."""
    rng = np.random.default_rng(seed)
    image = (rng.standard_normal((steps, size, 2)) + 1.0).astype("float32")
    noise = rng.standard_normal((steps, size, 3)).astype("float32")
    return image, noise, {"real": np.zeros((size, 1), "float32"), "fake": np.zeros((size, 1), "float32")}


def compiled(arguments, recipe="plain"):
    keras.utils.set_random_seed(3)
    return ZooModel.of(build("test_game", **arguments), recipe, **JIT)


def weight(model, path):
    return array(next(w for w in model.weights if w.path == path)).astype(np.float64)


# The graph


@pytest.mark.parametrize(("name", "shape"), [("wgan", (28, 28, 1)), ("wgan_gp", (32, 32, 3)), ("wgan_gp", (13, 9, 2))])
def test_shapes_and_sizes(name, shape):
    """Any image of at least eight pixels a side; counts by hand from the layers."""
    model = build(name, image_shape=shape)
    generator, critic = (model.get_layer(n) for n in ("generator", "critic"))
    assert generator.output_shape == critic.input_shape == (None, *shape)
    assert critic.output_shape == (None, 1)
    assert set(model.output_names) == {"real", "fake"}
    cells, channels = int(np.prod([-(-side // 8) for side in shape[:2]])), shape[2]
    kernels = 25 * (256 * 128 + 128 * 64 + 64 * channels)
    assert generator.count_params() == 128 * 256 * cells + kernels + 4 * (256 + 128 + 64) + channels
    after = 64 + (4 * (128 + 256) if name == "wgan" else 128 + 256)  # biases, or batch normalisation in their place
    assert critic.count_params() == kernels + after + 256 * cells
    assert model.count_params() == generator.count_params() + critic.count_params()  # used twice, counted once


def test_scores_are_those_of_the_nested_models():
    model = build("wgan_gp", image_shape=(10, 10, 1), **SMALL)
    rng = np.random.default_rng(0)
    image = rng.uniform(-1, 1, (5, 10, 10, 1)).astype("float32")
    noise = rng.standard_normal((5, 3)).astype("float32")
    found = model.predict_on_batch({"image": image, "noise": noise})
    made = model.get_layer("generator").predict_on_batch(noise)
    assert np.abs(made).max() <= 1
    for name, x in (("real", image), ("fake", made)):
        np.testing.assert_allclose(found[name], model.get_layer("critic").predict_on_batch(x), rtol=1e-5, atol=1e-6)


def test_reversal_keeps_the_value_and_turns_the_gradient():
    x = np.random.default_rng(0).standard_normal((4, 3)).astype("float32") * 1e3
    slope = np.array([1.0, -2.0, 0.5], "float32")
    np.testing.assert_array_equal(array(reverse(ops.convert_to_tensor(x))), x)
    start = [ops.convert_to_tensor(x)]
    (found,) = differentiable_gradients(lambda v: ops.sum(ops.multiply(reverse(v[0]), slope)), start)
    np.testing.assert_array_equal(array(found), np.tile(-slope, (4, 1)))


# The players' steps, by hand


class ByHand:
    """The linear game in float64: D(x) = x w, G(z) = z A, and the optimizers of both papers."""

    def __init__(self, a, w, clip, penalty, critic_steps):
        self.a, self.w, self.clip, self.penalty, self.critic_steps = a, w, clip, penalty, critic_steps
        self.state = {name: [0, 0.0, 0.0] for name in "aw"}
        self.steps = 0

    def step(self, image, noise):
        made = noise @ self.a
        norm = np.sqrt((self.w**2).sum())
        loss = (made @ self.w).mean() - (image @ self.w).mean() + self.penalty * (norm - 1) ** 2
        down = made.mean(0)[:, None] - image.mean(0)[:, None] + 2 * self.penalty * (norm - 1) * self.w / norm
        up = -np.outer(noise.mean(0), self.w)  # the generator climbs what the critic descends
        self.steps += 1
        self.w = self.moved("w", self.w, down)
        if self.clip:
            self.w = np.clip(self.w, -self.clip, self.clip)
        if self.steps % self.critic_steps == 0:
            self.a = self.moved("a", self.a, up)
        return loss

    def moved(self, name, value, gradient):
        count, first, second = self.state[name]
        count += 1
        if self.penalty:  # Adam, betas 0 and 0.9, bias-corrected as in its paper; the first moment is the gradient
            first, second = gradient, 0.9 * second + 0.1 * gradient**2
            value = value - 1e-4 * first / (np.sqrt(second / (1 - 0.9**count)) + 1e-7)
        else:  # RMSprop
            second = 0.99 * second + 0.01 * gradient**2
            value = value - 5e-5 * gradient / np.sqrt(second)
        self.state[name] = [count, first, second]
        return value


@pytest.mark.parametrize(("clip", "penalty"), [(0.01, 0.0), (None, 10.0)])
def test_steps_are_those_of_the_papers(clip, penalty):
    model = compiled({"clip": clip, "penalty": penalty})
    image, noise, y = points(6)
    weight_of = {"w": "critic_w/kernel", "a": "generator_a/kernel"}
    before = {name: weight(model, path) for name, path in weight_of.items()}
    hand = ByHand(before["a"], before["w"], clip, penalty, critic_steps=2)
    for step in range(6):
        logs = model.train_on_batch({"image": image[step], "noise": noise[step]}, y, return_dict=True)
        expected = hand.step(image[step].astype(float), noise[step].astype(float))
        after = {name: weight(model, path) for name, path in weight_of.items()}
        if step == 0:
            assert logs["loss"] == pytest.approx(expected, rel=1e-4, abs=1e-6)
        for name, value in (("w", hand.w), ("a", hand.a)):
            np.testing.assert_allclose(after[name] - before[name], value - before[name], rtol=2e-3, atol=2e-8)
        if clip:
            assert np.abs(after["w"]).max() <= np.float32(clip)
        moved = not np.array_equal(after["a"], before["a"])
        assert moved == (step % 2 == 1), "the generator moves at every second step alone"
        before = after
        hand.a, hand.w = after["a"], after["w"]  # so that float32 does not drift from float64
    optimizer = model.optimizer
    assert [int(o.iterations) for o in (optimizer, optimizer.critic, optimizer.generator)] == [6, 6, 3]


def test_each_optimizer_keeps_state_for_its_own_weights_alone():
    model = build("wgan_gp", image_shape=(8, 8, 1), **SMALL)
    optimizer = ZooModel.of(model, "plain").optimizer
    optimizer.build(model.trainable_variables)
    critic, generator = (model.get_layer(n).trainable_variables for n in ("critic", "generator"))
    for player, weights in ((optimizer.critic, critic), (optimizer.generator, generator)):
        shapes = sorted(tuple(w.shape) for w in weights for _ in range(2))  # Adam's two moments
        assert sorted(tuple(v.shape) for v in player.variables[2:]) == shapes
    assert len(optimizer.variables) == 2 + 2 + 2 * len(critic) + 2 + 2 * len(generator)


def test_the_optimizer_round_trips():
    rate = keras.optimizers.schedules.CosineDecay(0.1, 100)
    made = Alternating(keras.optimizers.Adam(0.2), keras.optimizers.SGD(0.3, 0.9), rate, 3, 0.5, use_ema=True)
    config = keras.saving.serialize_keras_object(made)
    assert config["registered_name"] == "zoo>Alternating"
    again = keras.saving.deserialize_keras_object(config)
    assert keras.saving.serialize_keras_object(again) == config
    assert (again.critic_steps, again.clip, again.generator.momentum) == (3, 0.5, 0.9)
    assert isinstance(again._learning_rate, keras.optimizers.schedules.CosineDecay)


def test_the_saved_model_goes_on_alike(tmp_path):
    model = compiled({"clip": 0.01}, "ema(momentum=0.9)")
    image, noise, y = points(6)
    for step in range(3):
        model.train_on_batch({"image": image[step], "noise": noise[step]}, y)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    for step in range(3, 6):
        for one in (model, again):
            one.train_on_batch({"image": image[step], "noise": noise[step]}, y)
    for mine, its in zip(
        (*model.weights, *model.optimizer.variables), (*again.weights, *again.optimizer.variables), strict=True
    ):
        np.testing.assert_array_equal(array(mine), array(its), err_msg=mine.path)


def test_tricks_reach_both_players():
    """Another optimizer is that of both, a schedule shapes the rate of both, and averages are of both."""
    model = compiled({"clip": 0.01}, "sgd(learning_rate=0.1, momentum=0.5)+cosine+ema(momentum=0.5)")
    assert "2 critic steps to one, whose weights stay within 0.01" in start(model).optimizer.__name__
    assert model.plan.describe().endswith("SGD for critic and generator, 2 critic steps to one, whose weights stay "
                                          "within 0.01 at 0.1")  # fmt: skip
    image, noise, y = points(4)
    x = {"image": image.reshape(16, 2), "noise": noise.reshape(16, 3)}
    targets = {name: np.tile(rows, (4, 1)) for name, rows in y.items()}
    model.fit(x, targets, batch_size=4, epochs=1, shuffle=False, verbose=0)
    optimizer = model.optimizer
    assert type(optimizer.critic).__name__ == type(optimizer.generator).__name__ == "CoupledSGD"
    rates = [float(array(o.learning_rate)) for o in (optimizer.critic, optimizer.generator)]
    assert rates == pytest.approx([0.1 * (1 + np.cos(0.75 * np.pi)) / 2] * 2, rel=1e-5)  # of the fourth step of four
    kinds = {v.path.split("/")[-1] for v in optimizer.variables}
    assert {"critic_w_kernel_average", "generator_a_kernel_average"} <= kinds
    with pytest.raises(zoo.errors.Conflict, match="both set the optimizer"):
        compiled({"clip": 0.01}, "adam+sgd")


# The penalty


def test_penalty_of_a_linear_critic():
    w = np.array([[0.5], [-1.5], [2.0]], "float32")
    x = np.random.default_rng(0).standard_normal((4, 3)).astype("float32")
    found = array(gradient_penalty(lambda v: ops.matmul(v, w), ops.convert_to_tensor(x)))
    np.testing.assert_allclose(found, (np.linalg.norm(w) - 1) ** 2 * np.ones(4), rtol=1e-5)


def test_penalty_where_the_critic_is_flat():
    found = array(gradient_penalty(lambda v: 0.0 * v, ops.zeros((2, 3))))
    np.testing.assert_allclose(found, [1, 1], rtol=1e-5)


def penalty_by_hand(hidden, w, x):
    """The mean penalty of D(x) = tanh(x H) w at rows x, in float64."""
    slopes = ((1 - np.tanh(x @ hidden) ** 2) * w[:, 0]) @ hidden.T  # (B, 2)
    return np.mean((np.sqrt((slopes**2).sum(axis=1)) - 1) ** 2)


def test_penalty_trains_the_critic_by_its_gradient_and_the_generator_not_at_all():
    """One step of gradient descent at real points equal to the made ones, so that every point between is the same."""
    _, noise, y = points(1, size=6)
    moved = {}
    for penalty in (0.0, 10.0):
        model = compiled({"units": 5, "penalty": penalty, "critic_steps": 1}, "sgd(learning_rate=0.01, momentum=0.0)")
        made = model.get_layer("generator").predict_on_batch(noise[0])
        names = ("critic_hidden/kernel", "critic_w/kernel", "generator_a/kernel")
        before = [weight(model, name) for name in names]
        logs = model.train_on_batch({"image": made, "noise": noise[0]}, y, return_dict=True)
        moved[penalty] = [(weight(model, name) - old) / -0.01 for name, old in zip(names, before, strict=True)]
    hidden, w, _ = before
    x = made.astype(np.float64)
    assert logs["loss"] == pytest.approx(10 * penalty_by_hand(hidden, w, x), rel=1e-4)
    np.testing.assert_allclose(moved[0.0][0], 0, atol=2e-4)  # real and made agree: the scores cancel
    np.testing.assert_array_equal(moved[0.0][2], moved[10.0][2])
    assert np.abs(moved[10.0][2]).max() > 1e-3
    for k, name in enumerate(("hidden", "w")):
        expected = np.zeros_like(before[k])
        for at in np.ndindex(expected.shape):
            pair = []
            for way in (1e-5, -1e-5):
                values = {"hidden": hidden.copy(), "w": w.copy()}
                values[name][at] += way
                pair.append(penalty_by_hand(values["hidden"], values["w"], x))
            expected[at] = 10 * (pair[0] - pair[1]) / 2e-5
        np.testing.assert_allclose(moved[10.0][k], expected, rtol=1e-2, atol=2e-3)
        assert np.abs(expected).max() > 0.05


def test_points_between_are_drawn_anew_each_step():
    model = compiled({"units": 5, "penalty": 10.0})
    image, noise, y = points(1)
    (seed,) = model._seeds
    states, losses = [array(seed.state).copy()], []
    model.optimizer.learning_rate = 0.0
    for _ in range(3):
        x = {"image": image[0], "noise": noise[0]}
        losses.append(model.train_on_batch(x, y, return_dict=True)["loss"])
        model.reset_metrics()
        states.append(array(seed.state).copy())
    assert any(seed.state is v for v in model.variables)  # what a run folder saves and restores
    assert len({tuple(state) for state in states}) == 4
    assert len(set(map(float, losses))) == 3


# Data


def test_data_for_generation():
    digits = load("digits")
    data = for_generation(digits, 5)
    assert (data.task, data.labels, data.arguments) == (
        "image_generation", None, {"image_shape": (8, 8, 1), "latent_dim": 5},
    )  # fmt: skip
    x, y = data.train.batch([3, 9, 4])
    before, _ = digits.train.batch([3, 9, 4])
    np.testing.assert_allclose(x["image"], 2 * before - 1, atol=1e-6)
    assert (x["image"].min(), x["image"].max()) == (-1, 1)
    assert x["noise"].shape == (3, 5)
    assert {k: v.shape for k, v in y.items()} == {"real": (3, 1), "fake": (3, 1)}
    np.testing.assert_array_equal(data.train.batch([9])[0]["noise"][0], x["noise"][1])  # whatever else is in the batch
    assert for_generation(data, 5) is data
    assert for_generation(digits, 5).fingerprint == data.fingerprint
    assert for_generation(digits, 6).fingerprint != data.fingerprint != digits.fingerprint


def test_noise_is_new_in_each_epoch_and_standard_normal():
    split = GenerationSplit(load("digits").train, 40)
    rows = np.arange(500)
    drawn = {key: split.at_epoch(*key).inputs(rows)["noise"] for key in ((0, 0), (0, 1), (1, 0))}
    drawn["fixed"] = split.inputs(rows)["noise"]
    for key, values in drawn.items():
        assert abs(values.mean()) < 0.03
        assert abs(values.std() - 1) < 0.03
        for other in drawn:
            assert (key == other) == np.array_equal(values, drawn[other])
    np.testing.assert_array_equal(split.at_epoch(0, 1).subset(rows[:3]).inputs([2])["noise"][0], drawn[0, 1][2])
    first = next(iter(feed(split, 7, seed=0, epochs=2, initial_epoch=1)))[0]["noise"]
    order = np.random.default_rng([0, 1]).permutation(len(split))[:7]
    np.testing.assert_array_equal(array(first), split.at_epoch(0, 1).inputs(order)["noise"])


def test_data_that_holds_no_pictures():
    digits = load("digits")
    texts = digits.but(task="text_classification", preprocessing={"kind": "tokens"})
    with pytest.raises(DataError, match="holds no pictures to learn from"):
        for_generation(texts, 5)
    unknown = digits.but(preprocessing=digits.preprocessing | {"maximum": None})
    with pytest.raises(DataError, match="the range of the pixels of 'digits' is not known"):
        for_generation(unknown, 5)


# Training


@pytest.fixture(scope="module")
def few():
    digits = load("digits")
    parts = {name: getattr(digits, name).subset(np.arange(40)) for name in ("train", "validation", "test")}
    return digits.but(**parts)


def trained(name, few, out, **options):
    return zoo.train(
        name, few, out=out, quiet=True, batch_size=8, epochs=3, seed=2, **SMALL | {"widths": (4,)}, **options
    )


@pytest.mark.skipif(BACKEND != "tensorflow", reason="other backends run a step in the order it is written in")
@pytest.mark.parametrize("name", ["wgan", "wgan_gp"])
def test_no_weight_is_stepped_before_every_gradient_has_read_it(name):
    """In the graph as TensorFlow optimized it; the wgan's gradients otherwise now and then were of stepped weights."""
    keras.utils.set_random_seed(0)
    x = {"image": np.zeros((8, 8, 8, 1), "float32"), "noise": np.ones((8, 3), "float32")}
    model = zoo.build(name, recipe="plain", image_shape=(8, 8, 1), **SMALL)
    with collected() as found:
        model.fit(x, {"real": np.zeros((8, 1)), "fake": np.zeros((8, 1))}, batch_size=4, verbose=0)
    writes = [node for graph in found for node in graph.node if node.op == "AssignSubVariableOp"]
    assert len(writes) >= len(model.trainable_variables)
    assert [pair for graph in found for pair in unordered(graph)] == []


@pytest.mark.parametrize("name", ["wgan", "wgan_gp"])
def test_an_interrupted_run_ends_as_if_it_had_not_been(name, few, tmp_path, monkeypatch):
    """Weights, optimizers, the penalty's seed and all, bit for bit; five steps an epoch, so that turns do not align."""
    whole = trained(name, few, tmp_path / "whole")
    with monkeypatch.context() as patch:

        def interrupt(self, epoch, logs=None):
            if epoch == 0:
                raise KeyboardInterrupt

        patch.setattr(SampleGrid, "on_epoch_end", interrupt)
        with pytest.raises(KeyboardInterrupt):
            trained(name, few, tmp_path / "run")
    resumed = trained(name, few, tmp_path / "run", resume=True)
    for file in ("best.safetensors", "last.safetensors"):
        mine, its = (load_state(run.folder / file)[0] for run in (resumed, whole))
        assert mine.keys() == its.keys()
        assert any("optimizer" in key for key in mine) == (file == "last.safetensors")
        for key in mine:
            np.testing.assert_array_equal(mine[key], its[key], err_msg=key)
    losses = [[{k: v for k, v in row.items() if k != "seconds"} for row in run.history] for run in (resumed, whole)]
    assert losses[0] == losses[1]
    for row in whole.history:
        assert row["critic_estimate"] == pytest.approx(row["real_loss"] - row["fake_loss"])
    assert {p.name for p in (whole.folder / "samples").iterdir()} == {
        *(f"epoch_{n:03d}.png" for n in range(1, 4)), "latest.png",
    }  # fmt: skip
    latest = (whole.folder / "samples" / "latest.png").read_bytes()
    assert latest == (resumed.folder / "samples" / "epoch_003.png").read_bytes()
    model = whole.model()
    assert np.array(Image.open(whole.folder / "samples" / "latest.png")).shape == (8 * 58 + 2, 8 * 58 + 2)
    assert generate_images(model, 3).shape == (3, 8, 8, 1)


def test_the_critics_estimate():
    digits = load("digits")
    model = build("wgan_gp", image_shape=(8, 8, 1), **SMALL)
    split = for_generation(digits, 3).test.subset(np.arange(50))
    scores = model.predict_on_batch(split.arrays()[0])
    found = measure(model, split, 16)
    assert found["critic_estimate"] == pytest.approx(float(scores["real"].mean() - scores["fake"].mean()), abs=1e-6)
    assert found["examples"] == 50


def test_the_generator_finds_what_is_real():
    """Real points lie at (1, -1), where a generator that starts elsewhere ends."""
    model = compiled({"units": 16, "penalty": 1.0, "critic_steps": 2}, "adam(learning_rate=0.01, beta_1=0.0)")
    rng = np.random.default_rng(0)
    count = 32 * 500
    image = (np.array([1, -1]) + 0.1 * rng.standard_normal((count, 2))).astype("float32")
    noise = np.concatenate([np.ones((count, 1)), 0.1 * rng.standard_normal((count, 2))], axis=1).astype("float32")
    y = {name: np.zeros((count, 1), "float32") for name in ("real", "fake")}
    generator = model.get_layer("generator")
    before = np.linalg.norm(generator.predict_on_batch(noise[:500]).mean(axis=0) - [1, -1])
    model.fit({"image": image, "noise": noise}, y, batch_size=32, shuffle=False, verbose=0)
    after = np.linalg.norm(generator.predict_on_batch(noise[:500]).mean(axis=0) - [1, -1])
    assert after < before / 3


# Pictures


def test_images_follow_the_seed():
    model = build("wgan", image_shape=(9, 8, 3), **SMALL)
    images = generate_images(model, 5, seed=1, batch_size=2)
    assert (images.shape, images.dtype) == ((5, 9, 8, 3), np.uint8)
    np.testing.assert_array_equal(images[:3], generate_images(model, 3, seed=1))
    assert not np.array_equal(images, generate_images(model, 5, seed=2))
    noise = np.random.default_rng(1).standard_normal((5, 3), np.float32)
    values = array(model.get_layer("generator")(noise, training=False))
    np.testing.assert_allclose(images, (values + 1) * 127.5, atol=0.51)
    with pytest.raises(InvalidArgument, match="does not generate images"):
        generate_images(build("softmax"))
    with pytest.raises(InvalidArgument, match="`count` must be a whole number"):
        generate_images(model, 0)


def test_a_grid_shows_each_image_in_its_place(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 20, 30, 3), dtype=np.uint8)
    shown = np.array(Image.open(save_grid(images, tmp_path / "grid.png")))
    assert shown.shape == (2 * 22 + 2, 3 * 32 + 2, 3)
    for i, image in enumerate(images):
        top, left = 2 + 22 * (i // 3), 2 + 32 * (i % 3)
        np.testing.assert_array_equal(shown[top : top + 20, left : left + 30], image)
    assert (shown[24:, 66:] == 255).all()  # no sixth
    grey = np.array(Image.open(save_grid(images[:1, :14, :28, :1], tmp_path / "grey.png")))
    np.testing.assert_array_equal(grey[2:-2, 2:-2], images[0, :14, :28, 0].repeat(2, 0).repeat(2, 1))
    for wrong in (images[0], images / 255, images[:0], images[..., :2]):
        with pytest.raises(InvalidArgument, match="a grid is made of images"):
            save_grid(wrong, tmp_path / "wrong.png")


# Wrong arguments


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"latent_dim": 0}, "`latent_dim` must be a whole number of at least 1"),
        ({"critic_steps": 0}, "`critic_steps` must be a whole number of at least 1"),
        ({"widths": ()}, "`widths` needs at least one stage"),
        ({"widths": (4, 0)}, r"`widths\[1\]` must be a whole number"),
        ({"image_shape": (28, 7, 1)}, "smaller than the downsampling.*3 stages need 8 pixels on each side"),
        ({"image_shape": (28, 28)}, "three positive whole numbers"),
        ({"norm": "instance"}, "`norm` must be one of"),
        ({"clip": -0.01}, "`clip` must be positive.*0.01"),
        ({"clip": 0.01}, "by `clip` or by `penalty`, and not by both.*clip=None with penalty=10"),
        ({"penalty": 0.0}, "by `clip` or by `penalty`, and not by both"),
        ({"penalty": -1.0}, "`penalty` must be 0 or more"),
        ({"critic_norm": "batch"}, '`penalty` is for each by itself.*critic_norm="layer"'),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        build("wgan_gp", **arguments)


def test_wrong_optimizers():
    adam = keras.optimizers.Adam()
    with pytest.raises(InvalidArgument, match="need an optimizer each"):
        Alternating(adam, adam)
    for wrong in ({"critic_steps": 0}, {"clip": 0.0}):
        with pytest.raises(InvalidArgument, match=next(iter(wrong))):
            Alternating(adam, keras.optimizers.Adam(), **wrong)
    model = build("wgan", image_shape=(8, 8, 1), **SMALL)
    with pytest.raises(InvalidArgument, match="the generator has no trainable weights"):
        Alternating(adam, keras.optimizers.Adam()).build(model.get_layer("critic").trainable_variables)


def test_a_game_needs_a_model_of_both():
    @register("test_alone", task="image_generation", variants={"test_alone": {}}, heads={"real": HEADS["real"]})
    def alone(*, units: int = 1):
        point = keras.Input((2,), name="image")
        return keras.Model(point, layers.Dense(units, name="real")(point))

    with pytest.raises(InvalidArgument, match=r"lacks what the game needs.*critic_steps.*generator"):
        start(build("test_alone"))
    assert game(start(build("test_game"))).learning_rate == 5e-5
    assert wgan(critic_norm=None, clip=None, penalty=1.0).name == "wgan"
