"""Optimizer tricks: against Keras, PyTorch and NumPy, rates of each variable's own, two players, saving, resuming."""

import contextlib
import dataclasses
import inspect
import itertools

import keras
import numpy as np
import pytest
from keras import layers, ops
from nets import image_net, images, linear_net, numpy_weights, text_net, texts

import zoo
from zoo.data import from_arrays
from zoo.errors import Conflict, InvalidArgument, UnknownName
from zoo.optimizers import scale_rates
from zoo.registry import find_trick
from zoo.tricks.lookahead import LookaheadOptimizer
from zoo.tricks.radam import RAdam, average_length
from zoo.tricks.sgd import CoupledSGD

BACKEND = keras.backend.backend()
WRAPPERS = {"Optimizer", "LossScaleOptimizer", "MultiOptimizer"}  # no rule for a step of their own
COMMON = set(inspect.signature(keras.optimizers.SGD).parameters) - {"momentum", "nesterov"} - {"weight_decay"}
COMMON |= {"args", "kwargs"}


def keras_classes():
    """Returns every optimizer of Keras, a dict, name of the trick that makes it -> class."""
    found = [v for v in vars(keras.optimizers).values() if inspect.isclass(v)]
    found = [v for v in found if issubclass(v, keras.optimizers.Optimizer) and v.__name__ not in WRAPPERS]
    tricks = {row.name.replace("_", ""): row.name for row in zoo.list_tricks()}
    return {tricks.get(v.__name__.lower(), v.__name__): v for v in found}


KERAS = keras_classes()

# The options of each trick, other than its defaults.
OPTIONS = {
    "adadelta": {"learning_rate": 0.5, "rho": 0.9, "epsilon": 1e-4},
    "adafactor": {
        "learning_rate": 0.02, "beta_2_decay": -0.7, "epsilon_1": 1e-20, "epsilon_2": 0.01, "clip_threshold": 0.5,
    },
    "adagrad": {"learning_rate": 0.1, "initial_accumulator_value": 0.3, "epsilon": 1e-3},
    "adam": {"learning_rate": 0.02, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "amsgrad": True},
    "adamax": {"learning_rate": 0.02, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
    "adamw": {
        "learning_rate": 0.02, "weight_decay": 0.3, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "amsgrad": True,
    },
    "ftrl": {
        "learning_rate": 0.1, "learning_rate_power": -0.4, "initial_accumulator_value": 0.2, "beta": 0.1,
        "l1_regularization_strength": 0.1, "l2_regularization_strength": 0.2,
        "l2_shrinkage_regularization_strength": 0.3,
    },
    "lamb": {"learning_rate": 0.02, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
    "lion": {"learning_rate": 0.02, "beta_1": 0.8, "beta_2": 0.95, "weight_decay": 0.3},
    "muon": {
        "learning_rate": 0.02, "momentum": 0.9, "ns_steps": 4, "nesterov": False, "rms_rate": 0.3, "muon_a": 3.0,
        "muon_b": -4.0, "muon_c": 2.0, "adam_lr_ratio": 0.5, "adam_beta_1": 0.8, "adam_beta_2": 0.95, "epsilon": 1e-3,
        "weight_decay": 0.3, "adam_weight_decay": 0.2, "exclude_layers": (), "exclude_embeddings": False,
    },
    "nadam": {"learning_rate": 0.02, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3},
    "rmsprop": {"learning_rate": 0.02, "rho": 0.8, "momentum": 0.5, "epsilon": 1e-3, "centered": True},
    "schedule_free_adamw": {"learning_rate": 0.02, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-3, "warmup_steps": 5},
    "sgd": {"learning_rate": 0.02, "momentum": 0.8, "nesterov": True},
}  # fmt: skip
# Defaults that are the paper's and not Keras's, as the cards say; Muon's second decay follows the first.
PAPER_DEFAULTS = {
    ("adadelta", "learning_rate"): 1.0,
    ("adafactor", "learning_rate"): 0.01,
    ("adamax", "learning_rate"): 0.002,
    ("lion", "learning_rate"): 1e-4,
    ("muon", "adam_weight_decay"): None,
    ("sgd", "learning_rate"): 0.1,
    ("sgd", "momentum"): 0.9,
}


def written(name, options):
    return f"{name}({', '.join(f'{k}={v!r}' for k, v in options.items())})"


def to_numpy(x):
    return np.asarray(ops.convert_to_numpy(x))


@contextlib.contextmanager
def exact():
    """Computes in float64 within the block."""
    keras.config.set_floatx("float64")
    try:
        with contextlib.ExitStack() as stack:
            if BACKEND == "jax":
                import jax

                stack.enter_context(jax.enable_x64(True))
            yield
    finally:
        keras.config.set_floatx("float32")


def run_optimizer(optimizer, start, gradients):
    """Returns the path of one variable, (steps, ...), in the type of `start`."""
    variable = keras.Variable(start, dtype=start.dtype.name)
    optimizer.build([variable])
    path = []
    for gradient in gradients:
        optimizer.apply([ops.convert_to_tensor(gradient)], [variable])
        path.append(to_numpy(variable).copy())
    return np.array(path)


def gradients_of_a_walk(steps, shape=(3, 2), seed=0, dtype="float32"):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape).astype(dtype), rng.normal(0, 1, (steps, *shape)).astype(dtype)


def two_layers(dtype="float32", seed=0):
    """Returns a net of matrices and vectors, 3 -> 4 -> 2, and gradients of 25 steps for its four weights."""
    keras.utils.set_random_seed(seed)
    features = keras.Input((3,), name="features")
    x = layers.Dense(4, name="hidden", bias_initializer="normal")(features)
    model = keras.Model(features, layers.Dense(2, name="logits", bias_initializer="normal")(x), name="two")
    rng = np.random.default_rng(seed)
    return model, [[rng.normal(size=v.shape).astype(dtype) for v in model.trainable_variables] for _ in range(25)]


def walked(model, optimizer, gradients):
    """Returns the weights after each of some steps of an optimizer, a list of lists."""
    path = []
    for step in gradients:
        optimizer.apply([ops.convert_to_tensor(g) for g in step], model.trainable_variables)
        path.append([to_numpy(v).copy() for v in model.trainable_variables])
    return path


def same(found, wanted, **tolerance):
    for ours, theirs in zip(keras.tree.flatten(found), keras.tree.flatten(wanted), strict=True):
        np.testing.assert_allclose(ours, theirs, **tolerance)


# Every optimizer of Keras


@pytest.mark.parametrize("name", sorted(KERAS))
def test_every_keras_optimizer_is_a_trick_with_its_arguments(name):
    fields = {f.name: f.default for f in dataclasses.fields(find_trick(name))}
    own = {
        k: p.default
        for k, p in inspect.signature(KERAS[name]).parameters.items()
        if k not in COMMON - {"learning_rate"}
    }
    assert set(fields) == set(own)
    for option, default in own.items():
        wanted = PAPER_DEFAULTS.get((name, option), default)
        assert fields[option] == (0.0 if option == "weight_decay" and wanted is None else wanted), option
    shown = zoo.info(name)
    for (trick, option), default in PAPER_DEFAULTS.items():
        if trick == name and default is not None:
            assert f"{default:g}" in str(shown), f"the card of {name} does not say why {option} is {default}"


@pytest.mark.parametrize("name", sorted(KERAS))
def test_every_keras_optimizer_steps_as_keras_does_with_the_same_options(name):
    options = OPTIONS[name]
    missing = {f.name for f in dataclasses.fields(find_trick(name))} - set(options) - {"weight_decay", "relative_step"}
    assert not missing, f"say what {missing} of {name} are"
    ours, gradients = two_layers()
    optimizer = zoo.recipe(written(name, options)).compile(ours, task="image_classification").optimizer
    found = walked(ours, optimizer, gradients)
    if name == "schedule_free_adamw" and BACKEND != "jax":
        pytest.skip("Keras 3.15 reads a variable after it has changed it; checked against NumPy below")
    theirs, _ = two_layers()
    keras_options = {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}
    reference = KERAS[name](**keras_options)
    if options.get("weight_decay"):
        reference.exclude_from_weight_decay(var_list=[v for v in theirs.trainable_variables if len(v.shape) < 2])
    same(found, walked(theirs, reference, gradients), rtol=1e-6, atol=1e-7)


def test_muon_leaves_the_heads_and_embeddings_to_adamw():
    ours, gradients = two_layers()
    model = zoo.recipe("muon(learning_rate=0.01)").compile(ours, task="image_classification")
    theirs, _ = two_layers()
    reference = keras.optimizers.Muon(0.01, exclude_layers=["logits"])
    reference.exclude_from_weight_decay(var_list=[v for v in theirs.trainable_variables if len(v.shape) < 2])
    same(walked(ours, model.optimizer, gradients), walked(theirs, reference, gradients), rtol=1e-6, atol=1e-7)
    explained = zoo.recipe("muon").explain(ours, task="image_classification")
    assert "Muon at 0.001" in explained
    assert "1 matrices, 46% of the weights" in explained


# Against PyTorch, in float64


def torch_path(make, start, gradients):
    import torch

    weight = torch.nn.Parameter(torch.tensor(start))
    theirs, path = make([weight]), []
    for gradient in gradients:
        weight.grad = torch.tensor(gradient)
        theirs.step()
        path.append(weight.detach().cpu().numpy().copy())
    return np.array(path)


# Recipe -> PyTorch's. Epsilons are so small that where they stand does not matter; decays are numbers that float32
# holds, to which Keras rounds them.
PEERS = {
    "adam(learning_rate=0.01, epsilon=1e-15, beta_1=0.875, beta_2=0.9990234375)": (
        "Adam", {"lr": 0.01, "eps": 1e-15, "betas": (0.875, 0.9990234375)},
    ),
    "adam(learning_rate=0.01, epsilon=1e-15, amsgrad=True, beta_2=0.9)": (
        "Adam", {"lr": 0.01, "eps": 1e-15, "amsgrad": True, "betas": (0.9, 0.9)},
    ),
    "adamw(learning_rate=0.01, epsilon=1e-15, weight_decay=0.25, beta_1=0.875, beta_2=0.9990234375)": (
        "AdamW", {"lr": 0.01, "eps": 1e-15, "weight_decay": 0.25, "betas": (0.875, 0.9990234375)},
    ),
    "adamax(learning_rate=0.01, epsilon=1e-15)": ("Adamax", {"lr": 0.01, "eps": 1e-15}),
    "nadam(learning_rate=0.01, epsilon=1e-15)": ("NAdam", {"lr": 0.01, "eps": 1e-15, "momentum_decay": 1.0}),
    "radam(learning_rate=0.01)": ("RAdam", {"lr": 0.01}),
    "radam(learning_rate=0.01, beta_1=0.8, beta_2=0.9)": ("RAdam", {"lr": 0.01, "betas": (0.8, 0.9)}),
    "rmsprop(learning_rate=0.01, rho=0.8, epsilon=1e-30)": ("RMSprop", {"lr": 0.01, "alpha": 0.8, "eps": 1e-15}),
    "rmsprop(learning_rate=0.01, momentum=0.5, centered=True, epsilon=1e-30)": (
        "RMSprop", {"lr": 0.01, "alpha": 0.9, "eps": 1e-15, "momentum": 0.5, "centered": True},
    ),
    "adagrad(learning_rate=0.05, epsilon=1e-30)": (
        "Adagrad", {"lr": 0.05, "eps": 1e-15, "initial_accumulator_value": 0.1},
    ),
    "adadelta(epsilon=1e-6)": ("Adadelta", {"lr": 1.0, "rho": 0.95, "eps": 1e-6}),
    "adafactor": ("Adafactor", {"lr": 0.01, "eps": (1e-30, 1e-3)}),
    "sgd(learning_rate=0.05, momentum=0.875, weight_decay=0.1)": (
        "SGD", {"lr": 0.05, "momentum": 0.875, "weight_decay": 0.1},
    ),
    "sgd(learning_rate=0.05, momentum=0.875, nesterov=True, weight_decay=0.1)": (
        "SGD", {"lr": 0.05, "momentum": 0.875, "nesterov": True, "weight_decay": 0.1},
    ),
}  # fmt: skip


@pytest.mark.torch
@pytest.mark.parametrize("text", PEERS)
def test_fifty_steps_are_those_of_pytorch_to_a_millionth(text):
    import torch

    name, options = PEERS[text]
    start, gradients = gradients_of_a_walk(50, dtype="float64")
    wanted = torch_path(lambda weights: getattr(torch.optim, name)(weights, **options), start, gradients)
    with exact():
        optimizer = zoo.recipe(text).compile(linear_net(3, 2)).optimizer
        found = run_optimizer(optimizer, start, gradients)
    assert np.abs(wanted[-1] - start).max() > 0.03  # it went somewhere
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)


def np_lion(w, g, state, t, lr=0.02, b1=0.8, b2=0.95):
    m = state.get("m", 0.0)
    state["m"] = b2 * m + (1 - b2) * g
    return w - lr * np.sign(b1 * m + (1 - b1) * g)


def np_lamb(w, g, state, t, lr=0.02, b1=0.8, b2=0.95, eps=1e-3):
    m = state["m"] = b1 * state.get("m", 0.0) + (1 - b1) * g
    v = state["v"] = b2 * state.get("v", 0.0) + (1 - b2) * g**2
    u = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
    return w - lr * np.linalg.norm(w) / np.linalg.norm(u) * u


def np_ftrl(w, g, state, t, lr=0.1, l1=0.1, l2=0.2, beta=0.3):
    z, n = state.get("z", 0.0), state.get("n", 0.1)
    state["z"] = z = z + g - (np.sqrt(n + g**2) - np.sqrt(n)) / lr * w
    state["n"] = n = n + g**2
    return np.where(np.abs(z) <= l1, 0.0, -(z - np.sign(z) * l1) / ((beta + np.sqrt(n)) / lr + 2 * l2))


def np_schedule_free(w, g, state, t, lr=0.02, b1=0.8, b2=0.95, eps=1e-3):
    z, x = state.get("z", w), state.get("x", w)
    v = state["v"] = b2 * state.get("v", 0.0) + (1 - b2) * g**2
    state["z"] = z = z - lr * g / (np.sqrt(v / (1 - b2**t)) + eps)
    state["x"] = x = (1 - 1 / t) * x + z / t
    return (1 - b1) * z + b1 * x


PAPERS = {  # recipe -> a step by the paper's equations, of optimizers that PyTorch lacks
    "lion(learning_rate=0.02, beta_1=0.8, beta_2=0.95)": np_lion,
    "lamb(learning_rate=0.02, beta_1=0.8, beta_2=0.95, epsilon=1e-3)": np_lamb,
    "ftrl(learning_rate=0.1, l1_regularization_strength=0.1, l2_regularization_strength=0.2, beta=0.3)": np_ftrl,
    "schedule_free_adamw(learning_rate=0.02, beta_1=0.8, beta_2=0.95, epsilon=1e-3)": np_schedule_free,
}


@pytest.mark.parametrize("text", PAPERS)
def test_thirty_steps_are_those_of_the_paper(text):
    start, gradients = gradients_of_a_walk(30, dtype="float64")
    w, state, wanted = start, {}, []
    for t, gradient in enumerate(gradients, start=1):
        w = PAPERS[text](w, gradient, state, t)
        wanted.append(w)
    optimizer = zoo.recipe(text).compile(linear_net(3, 2)).optimizer
    found = run_optimizer(optimizer, start.astype("float32"), gradients.astype("float32"))
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)


def test_a_muon_step_is_an_orthogonal_one():
    """Five steps of the iteration bring the singular values near 1, so that a matrix moves by rate and shape alone."""
    start, gradients = gradients_of_a_walk(1, (16, 8))
    optimizer = zoo.recipe("muon(learning_rate=0.1, weight_decay=0.0)").compile(linear_net(3, 2)).optimizer
    [after] = run_optimizer(optimizer, start, gradients)
    values = np.linalg.svd((start - after) / (0.1 * 0.2 * np.sqrt(16)), compute_uv=False)
    assert values.min() > 0.6
    assert values.max() < 1.3


@pytest.mark.parametrize("name", [*OPTIONS, "radam"])
def test_every_optimizer_takes_sparse_gradients_clipped_and_accumulated(name):
    model = zoo.recipe(f"{name}+clip_norm+accumulate(steps=2)").compile(text_net(), run_eagerly=True)
    before = numpy_weights(model)
    history = model.fit(*texts(), batch_size=8, epochs=2, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert all((a != b).any() for a, b in zip(before, numpy_weights(model), strict=True))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("adam(learning_rate=0.0)", "adam: `learning_rate` must be positive"),
        ("adamax(beta_1=1.0)", r"adamax: `beta_1` must be in \[0, 1\)"),
        ("adamw(weight_decay=-0.1)", "adamw: `weight_decay` must be 0 or more"),
        ("adamw(weight_decay=0.0)", "adamw: `weight_decay` must be positive.*write adam"),
        ("rmsprop(epsilon=0.0)", "rmsprop: `epsilon` must be positive"),
        ("ftrl(learning_rate_power=0.5)", "ftrl: `learning_rate_power` must be 0 or less"),
        ("muon(ns_steps=0)", "muon: `ns_steps` must be at least 1"),
        ("muon(rms_rate=0.0)", "muon: `rms_rate` must be positive"),
        ("muon(exclude_layers=('(',))", "muon: `exclude_layers`"),
        ("radam(beta_2=0.0)", "radam: `beta_2` must be above 0"),
        ("sgd(momentum=1.0)", r"sgd: `momentum` must be in \[0, 1\)"),
        ("schedule_free_adamw(beta_1=0.0)", "schedule_free_adamw: `beta_1` must be above 0"),
        ("lookahead(steps=0)", "lookahead: `steps` must be at least 1"),
        ("lookahead(alpha=0.0)", "lookahead: `alpha` must be above 0 and at most 1"),
        ("clip_norm(norm=0.0)", "clip_norm: `norm` must be positive"),
        ("clip_norm(by='globl')", "no way to clip by named 'globl'. Did you mean 'global'"),
        ("weight_decay(rate=0.0)", "weight_decay: `rate` must be positive"),
        ("accumulate(steps=1)", "accumulate: `steps` must be at least 2"),
        ("layer_decay(rate=1.0)", "layer_decay: `rate` must be between 0 and 1"),
    ],
)
def test_arguments_out_of_range(text, wrong):
    with pytest.raises((InvalidArgument, UnknownName), match=wrong):
        zoo.recipe(text)


# Clipping


@pytest.mark.parametrize("by", ["global", "variable"])
@pytest.mark.parametrize("norm", [0.5, 100.0])
def test_clipped_gradients_are_those_of_numpy(by, norm):
    model, gradients = two_layers()
    start = [to_numpy(v).astype("float64") for v in model.trainable_variables]
    text = f"sgd(learning_rate=0.1, momentum=0.0)+clip_norm(norm={norm}, by={by!r})"
    optimizer = zoo.recipe(text).compile(model, task="image_classification").optimizer
    wanted = []
    for step in gradients:
        together = np.sqrt(sum(np.sum(g.astype("float64") ** 2) for g in step))
        lengths = [together if by == "global" else np.linalg.norm(g.astype("float64")) for g in step]
        start = [w - 0.1 * g * min(1, norm / n) for w, g, n in zip(start, step, lengths, strict=True)]
        wanted.append(start)
    same(walked(model, optimizer, gradients), wanted, rtol=1e-5, atol=1e-5)


# Weight decay


@pytest.mark.parametrize("every", [False, True])
def test_weight_decay_shrinks_matrices_and_all_where_asked(every):
    model, gradients = two_layers()
    start = [to_numpy(v).astype("float64") for v in model.trainable_variables]
    text = f"sgd(learning_rate=0.1, momentum=0.0)+weight_decay(rate=0.5, all={every})"
    optimizer = zoo.recipe(text).compile(model, task="image_classification").optimizer
    wanted = []
    for step in gradients:
        start = [
            w * (1 - 0.05 * (every or w.ndim > 1)) - 0.1 * g.astype("float64") for w, g in zip(start, step, strict=True)
        ]
        wanted.append(start)
    same(walked(model, optimizer, gradients), wanted, rtol=1e-5, atol=1e-5)


def test_weight_decay_spares_normalisation():
    net = image_net()
    model = zoo.recipe("adam+weight_decay").compile(net)
    decaying = [v.path for v in net.trainable_variables if model.optimizer._use_weight_decay(v)]
    assert decaying == ["conv/kernel", "logits/kernel"]
    assert "84 weights shrink by a share of 1e-05" in zoo.recipe("weight_decay").explain(net)


@pytest.mark.parametrize("name", ["adam", "adamw", "radam", "lion", "sgd", "muon"])
def test_two_weight_decays_conflict(name):
    with pytest.raises(
        Conflict, match=rf"{name} and weight_decay both set the weight decay.*write {name}\(weight_decay=0.02"
    ):
        zoo.recipe(f"{name}(weight_decay=0.1)+weight_decay(rate=0.02)").compile(linear_net())


def test_an_own_weight_decay_is_that_of_the_trick():
    paths = []
    for text in ("radam(weight_decay=0.3)", "radam+weight_decay(rate=0.3)"):
        model, gradients = two_layers()
        optimizer = zoo.recipe(text).compile(model, task="image_classification").optimizer
        paths.append(walked(model, optimizer, gradients))
    same(*paths, rtol=0, atol=0)


# Accumulation


@pytest.mark.parametrize("name", ["sgd(learning_rate=0.1)", "adam", "radam", "lion", "nadam", "muon"])
@pytest.mark.parametrize("more", ["", "+weight_decay(rate=0.1)"])
def test_accumulated_batches_are_one_large_batch(name, more):
    if name == "muon" and more:
        name = "muon(weight_decay=0.0)"
    x = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
    y = np.arange(24) % 2
    found = []
    for text, batch_size in ((f"{name}{more}+accumulate(steps=3)", 4), (f"{name}{more}", 12)):
        keras.utils.set_random_seed(0)
        model = zoo.recipe(text).compile(linear_net(4, 3), run_eagerly=BACKEND != "jax")
        model.fit(x, y, batch_size=batch_size, epochs=3, shuffle=False, verbose=0)
        found.append(numpy_weights(model))
        assert int(model.optimizer.iterations) == 6
    same(*found, rtol=1e-5, atol=1e-6)


class Rates(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.rates = []

    def on_train_batch_begin(self, batch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))


def test_a_warmup_counts_batches_under_accumulation():
    x = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
    model = zoo.recipe("warmup(epochs=2)+accumulate(steps=2)+sgd(learning_rate=0.6)").compile(linear_net())
    for _ in range(2):  # in a second fit too
        seen = Rates()
        before = model.get_weights()
        model.fit(x, np.arange(24) % 2, batch_size=8, epochs=3, verbose=0, callbacks=[seen])
        np.testing.assert_allclose(seen.rates, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.6, 0.6, 0.6], rtol=1e-5)
        assert all((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))


def test_accumulation_longer_than_the_fit_is_told():
    x = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
    model = zoo.recipe("accumulate(steps=50)").compile(linear_net())
    with pytest.warns(UserWarning, match=r"accumulate\(steps=50\): this fit has 6 batches"):
        model.fit(x, np.arange(24) % 2, batch_size=8, epochs=2, verbose=0)
