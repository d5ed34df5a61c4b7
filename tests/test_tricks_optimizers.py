"""Optimizer tricks: against Keras, PyTorch and NumPy, rates of each variable's own, two players, saving, resuming."""

import contextlib
import dataclasses
import inspect
import math

import keras
import numpy as np
import pytest
from keras import layers, ops
from nets import image_net, images, linear_net, numpy_weights, text_net, texts

import zoo
from zoo.averages import ValidateAverage
from zoo.data import from_arrays
from zoo.errors import Conflict, InvalidArgument, UnknownName
from zoo.optimizers import scale_rates
from zoo.registry import find_trick
from zoo.tricks.lookahead import LookaheadOptimizer
from zoo.tricks.radam import RAdam, average_length
from zoo.tricks.sgd import CoupledSGD
from zoo.weights import load_state

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
# Defaults that are the paper's or our own and not Keras's, as the cards say; Muon's second decay follows the first.
PAPER_DEFAULTS = {
    ("adadelta", "learning_rate"): 1.0,
    ("adafactor", "epsilon_1"): 1e-16,
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
    policy = keras.config.dtype_policy()  # made of the type of the moment when it is first asked for
    keras.config.set_floatx("float64")
    try:
        with contextlib.ExitStack() as stack:
            if BACKEND == "jax":
                import jax

                stack.enter_context(jax.enable_x64(True))
            yield
    finally:
        keras.config.set_floatx("float32")
        keras.config.set_dtype_policy(policy)


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
    with pytest.raises(UnknownName, match=r"no layer with weights in model 'two'.*'hiden'. Did you mean 'hidden'"):
        zoo.recipe("muon(exclude_layers=('hiden',))").compile(ours, task="image_classification")
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


# RAdam, step by step


def np_radam(w, gradients, lr, beta_1, beta_2, eps=1e-8):
    """Algorithm 2 of Liu et al., with PyTorch's threshold of 5, in float64."""
    w, m, v, path = w.astype("float64"), 0.0, 0.0, []
    rho_inf = 2 / (1 - beta_2) - 1
    for t, g in enumerate(gradients.astype("float64"), start=1):
        m, v = beta_1 * m + (1 - beta_1) * g, beta_2 * v + (1 - beta_2) * g**2
        rho = rho_inf - 2 * t * beta_2**t / (1 - beta_2**t)
        step = m / (1 - beta_1**t)
        if rho > 5:
            r = math.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
            step = r * step * math.sqrt(1 - beta_2**t) / (np.sqrt(v) + eps)
        w = w - lr * step
        path.append(w)
    return np.array(path)


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.8, 0.99), (0.9, 0.9999), (0.0, 0.5), (0.9, 0.7)])
def test_radam_is_algorithm_2(betas):
    start, gradients = gradients_of_a_walk(60)
    found = run_optimizer(RAdam(0.01, *betas), start, gradients)
    np.testing.assert_allclose(found, np_radam(start, gradients, 0.01, *betas), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("beta_2", [0.9, 0.99, 0.999, 0.9999])
def test_the_average_length_of_radam_is_exact(beta_2):
    for t in [*range(1, 30), 100, 990, 1010, 5000]:
        exact = 2 / (1 - beta_2) - 1 - 2 * t * beta_2**t / (1 - beta_2**t)
        found = float(average_length(ops.convert_to_tensor(t, "float32"), beta_2))
        assert abs(found - exact) < 1e-5 + 1e-6 * exact, t


@pytest.mark.torch
def test_three_hundred_steps_of_radam_are_those_of_pytorch():
    import torch

    start, gradients = gradients_of_a_walk(300, dtype="float64")
    with exact():
        found = run_optimizer(RAdam(0.01), start, gradients)
    wanted = torch_path(lambda weights: torch.optim.RAdam(weights, lr=0.01), start, gradients)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


# Against the papers, in NumPy


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


@pytest.mark.torch
def test_adam_with_weight_decay_is_adamw_but_for_vectors():
    import torch

    net = linear_net(3, 2)
    net.get_layer("logits").bias.assign([1.0, -2.0])
    optimizer = zoo.recipe("adam(learning_rate=0.01, weight_decay=0.2)").compile(net).optimizer
    kernel, bias = (to_numpy(v).copy() for v in net.trainable_variables)
    parameters = [torch.nn.Parameter(torch.tensor(v)) for v in (kernel, bias)]
    groups = [{"params": parameters[:1], "weight_decay": 0.2}, {"params": parameters[1:], "weight_decay": 0.0}]
    theirs = torch.optim.AdamW(groups, lr=0.01, eps=1e-7)
    rng = np.random.default_rng(0)
    for _ in range(30):
        gradients = [rng.normal(size=v.shape).astype("float32") for v in (kernel, bias)]
        optimizer.apply([ops.convert_to_tensor(g) for g in gradients], net.trainable_variables)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = torch.tensor(gradient)
        theirs.step()
    for ours, parameter in zip(net.trainable_variables, parameters, strict=True):
        np.testing.assert_allclose(to_numpy(ours), parameter.detach().cpu().numpy(), rtol=1e-4, atol=1e-5)


def test_the_penalty_of_sgd_spares_vectors():
    model, gradients = two_layers()
    start = [to_numpy(v).astype("float64") for v in model.trainable_variables]
    text = "sgd(learning_rate=0.1, momentum=0.0, weight_decay=0.3)"
    optimizer = zoo.recipe(text).compile(model, task="image_classification").optimizer
    wanted = []
    for step in gradients:
        start = [w - 0.1 * (g + 0.3 * (w.ndim > 1) * w) for w, g in zip(start, step, strict=True)]
        wanted.append(start)
    same(walked(model, optimizer, gradients), wanted, rtol=1e-5, atol=1e-5)


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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("accumulate(steps=50)", r"accumulate\(steps=50\): this fit has 6 batches"),
        ("accumulate(steps=2)+lookahead", r"lookahead\(steps=5\): this fit has 3 steps"),
    ],
)
def test_what_takes_longer_than_the_fit_is_told(text, said):
    x = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
    model = zoo.recipe(text).compile(linear_net(), run_eagerly=True)
    with pytest.warns(UserWarning, match=said):
        model.fit(x, np.arange(24) % 2, batch_size=8, epochs=2, verbose=0)


# Lookahead


def np_lookahead(start, steps, k, alpha, move):
    """Algorithm 1 of Zhang et al.: `move(weights, step)` is the inner optimizer. Returns the path of the weights."""
    fast, slow, path = start, start, []
    for t, step in enumerate(steps, start=1):
        fast = [move(w, g) for w, g in zip(fast, step, strict=True)]
        if t % k == 0:
            slow = [s + alpha * (f - s) for s, f in zip(slow, fast, strict=True)]
            fast = slow
        path.append(fast)
    return path


@pytest.mark.parametrize(("k", "alpha"), [(5, 0.5), (1, 0.8), (6, 1.0), (4, 0.1)])
def test_lookahead_is_algorithm_1(k, alpha):
    model, gradients = two_layers()
    start = [to_numpy(v).astype("float64") for v in model.trainable_variables]
    text = f"lookahead(steps={k}, alpha={alpha})+sgd(learning_rate=0.1, momentum=0.0)"
    optimizer = zoo.recipe(text).compile(model, task="image_classification").optimizer
    wanted = np_lookahead(start, gradients, k, alpha, lambda w, g: w - 0.1 * g.astype("float64"))
    same(walked(model, optimizer, gradients), wanted, rtol=1e-5, atol=1e-6)


def test_the_inner_optimizer_of_lookahead_keeps_its_moments():
    """Adam's step depends on gradients alone, so its path under lookahead follows from the steps that it does alone."""
    model, gradients = two_layers()
    start = [to_numpy(v).astype("float64") for v in model.trainable_variables]
    alone = walked(model, keras.optimizers.Adam(0.01), gradients)
    before = [start, *alone[:-1]]
    moves = [[a - b for a, b in zip(after, ago, strict=True)] for after, ago in zip(alone, before, strict=True)]
    wanted = np_lookahead(start, moves, 5, 0.5, lambda w, move: w + move)
    model, _ = two_layers()
    optimizer = zoo.recipe("lookahead+adam(learning_rate=0.01)").compile(model, task="image_classification").optimizer
    same(walked(model, optimizer, gradients), wanted, rtol=1e-5, atol=1e-5)


def test_lookahead_counts_the_steps_that_accumulation_completes():
    model, gradients = two_layers()
    start = [to_numpy(v).astype("float64") for v in model.trainable_variables]
    text = "lookahead(steps=2)+accumulate(steps=3)+sgd(learning_rate=0.1, momentum=0.0)"
    optimizer = zoo.recipe(text).compile(model, task="image_classification").optimizer
    found = walked(model, optimizer, gradients[:24])[2::3]
    means = [[sum(g[i].astype("float64") for g in gradients[t : t + 3]) / 3 for i in range(4)] for t in range(0, 24, 3)]
    same(found, np_lookahead(start, means, 2, 0.5, lambda w, g: w - 0.1 * g), rtol=1e-5, atol=1e-6)
    assert int(optimizer.iterations) == 8


def test_the_average_under_lookahead_is_that_of_the_weights_after_it():
    model, gradients = two_layers()
    text = "lookahead(steps=3)+ema(momentum=0.6)+sgd(learning_rate=0.1)"
    optimizer = zoo.recipe(text).compile(model, task="image_classification").optimizer
    path = walked(model, optimizer, gradients)
    average = path[0]
    for weights in path[1:]:
        average = [0.6 * a + 0.4 * w for a, w in zip(average, weights, strict=True)]
    same([to_numpy(a) for a in optimizer._model_variables_moving_average], average, rtol=1e-5, atol=1e-6)


def test_lookahead_in_fit_follows_the_schedule_and_a_rate_that_is_set():
    x = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
    model = zoo.recipe("lookahead(steps=2)+warmup(epochs=2)+ema").compile(linear_net(), jit_compile=BACKEND != "torch")
    for _ in range(2):
        seen = Rates()
        model.fit(x, np.arange(24) % 2, batch_size=8, epochs=2, verbose=0, callbacks=[seen])
        np.testing.assert_allclose(seen.rates, np.arange(1, 7) / 6000, rtol=1e-5)
        np.testing.assert_allclose(float(model.optimizer.inner.learning_rate), 1e-3, rtol=1e-5)
    net, gradients = two_layers()
    optimizer = LookaheadOptimizer(keras.optimizers.SGD(0.1), steps=100)
    walked(net, optimizer, gradients[:1])
    before = [to_numpy(v).copy() for v in net.trainable_variables]
    optimizer.learning_rate = 0.5
    [after] = walked(net, optimizer, gradients[1:2])
    same(after, [w - 0.5 * g for w, g in zip(before, gradients[1], strict=True)], rtol=1e-5, atol=1e-6)


def stepped(model, optimizer, gradients):
    """Returns the weights after one step as a compiled training does it: on JAX that is without side effects."""
    gradients = [ops.convert_to_tensor(g) for g in gradients]
    if BACKEND != "jax":
        optimizer.apply(gradients, model.trainable_variables)
        return [to_numpy(v).copy() for v in model.trainable_variables]
    held = [model.trainable_variables, optimizer.variables]
    values = [[v.value for v in variables] for variables in held]
    found = optimizer.stateless_apply(values[1], gradients, values[0])
    for variables, news in zip(held, found, strict=True):
        for variable, value in zip(variables, news, strict=True):
            variable.assign(value)
    return [to_numpy(v) for v in found[0]]


def test_lookahead_under_float16_skips_steps_that_overflow():
    net, gradients = two_layers()
    optimizer = keras.optimizers.LossScaleOptimizer(LookaheadOptimizer(keras.optimizers.SGD(0.1), 2), 4.0)
    optimizer.build(net.trainable_variables)
    start = [to_numpy(v).copy() for v in net.trainable_variables]
    same(stepped(net, optimizer, [np.full_like(g, np.inf) for g in gradients[0]]), start, rtol=0, atol=0)
    fast = start
    for step in gradients[:2]:  # the scale is 2 after the overflow
        fast = [w - 0.1 * g for w, g in zip(fast, step, strict=True)]
        found = stepped(net, optimizer, [2.0 * g for g in step])
    same(found, [s + 0.5 * (f - s) for s, f in zip(start, fast, strict=True)], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("optimizer", [
    lambda: RAdam(0.02, 0.8, 0.99),
    lambda: CoupledSGD(0.1, 0.8, True, 0.01),
    lambda: LookaheadOptimizer(keras.optimizers.Adam(0.02, clipnorm=0.5, use_ema=True), 3, 0.6),
    lambda: find_trick("schedule_free_adamw").makes(0.02),
])  # fmt: skip
def test_optimizers_survive_serialisation(optimizer):
    optimizer = optimizer()
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert again.use_ema == optimizer.use_ema
    start, gradients = gradients_of_a_walk(20)
    np.testing.assert_array_equal(run_optimizer(again, start, gradients), run_optimizer(optimizer, start, gradients))


# Rates of each variable's own


def alone(text, factor, place, gradients):
    """Returns the path of one weight under a recipe's optimizer, its rate times a factor, that has no other weight."""
    model, _ = two_layers()
    if len(model.trainable_variables[place].shape) < 2:
        text = text.replace(", weight_decay=0.5", "")  # of which it is spared; Keras on PyTorch wants one that is not
    optimizer = zoo.recipe(text).compile(model, task="image_classification").optimizer
    inner = getattr(optimizer, "inner", optimizer)
    inner.learning_rate = float(inner.learning_rate) * factor
    optimizer.learning_rate = float(inner.learning_rate)
    variable = model.trainable_variables[place]
    path = []
    for step in gradients:
        optimizer.apply([ops.convert_to_tensor(step[place])], [variable])
        path.append(to_numpy(variable).copy())
    return path


SCALED = [
    "sgd(learning_rate=0.1, momentum=0.9)",
    "adam(learning_rate=0.01, weight_decay=0.5)",
    "radam(learning_rate=0.01, weight_decay=0.5, beta_2=0.9)",
    "nadam(learning_rate=0.01)",
    "lion(learning_rate=0.01, weight_decay=0.5)",
    "muon(learning_rate=0.01, weight_decay=0.5)",
    "rmsprop(learning_rate=0.01)",
    "adam(learning_rate=0.01)+lookahead(steps=3)",
]


@pytest.mark.parametrize("text", SCALED)
@pytest.mark.parametrize("kind", ["number", "variable"])
def test_a_factor_scales_the_rate_of_a_variable_and_its_decay(text, kind):
    """Each weight goes as it would alone at its own rate: what the optimizer keeps of gradients is not scaled."""
    factors = [0.5, 1.0, 0.25, 0.0] if kind == "number" else [0.5, 1.0, 0.25, 0.25]
    model, gradients = two_layers()
    paths = [v.path for v in model.trainable_variables]
    optimizer = zoo.recipe(text).compile(model, task="image_classification").optimizer
    kept = {f: f if kind == "number" else keras.Variable(f, trainable=False) for f in factors}
    table = {p: kept[f] for p, f in zip(paths, factors, strict=True) if f != 1.0}  # what is not in it has 1
    scale_rates(getattr(optimizer, "inner", optimizer), [table])
    start = to_numpy(model.trainable_variables[3]).copy()
    found = walked(model, optimizer, gradients)
    for place, factor in enumerate(factors):
        wanted = alone(text, factor, place, gradients) if factor else [start] * len(gradients)
        same([step[place] for step in found], wanted, rtol=1e-5, atol=1e-6)


def test_factors_multiply_and_follow_a_variable_without_a_new_trace():
    x, y = np.random.default_rng(0).normal(size=(8, 4)).astype("float32"), np.arange(8) % 2
    net = linear_net()
    model = zoo.recipe("sgd(learning_rate=0.5, momentum=0.0)").compile(net)
    gate = keras.Variable(0.0, trainable=False)
    kernel = net.trainable_variables[0].path
    scale_rates(model.optimizer, [{kernel: gate}, {kernel: 0.5}])
    for value in (0.0, 1.0, 0.4):
        gate.assign(value)
        before = numpy_weights(model)
        reference = zoo.recipe("sgd(learning_rate=0.5, momentum=0.0)").compile(linear_net())
        reference.set_weights(before)
        for each in (model, reference):
            each.fit(x, y, batch_size=8, verbose=0)
        ours, theirs = (
            [a - b for a, b in zip(numpy_weights(each), before, strict=True)] for each in (model, reference)
        )
        np.testing.assert_allclose(ours[0], 0.5 * value * theirs[0], rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("optimizer", ["ftrl", "schedule_free_adamw"])
def test_a_weight_that_must_stand_still_is_refused_in_the_name_of_who_asks(optimizer):
    asking = {
        "freeze_bn(affine=True)": "freeze_bn",
        "gradual_unfreeze+freeze_bn": "gradual_unfreeze",
        "freeze_bn(affine=True)+gradual_unfreeze+layer_decay": "freeze_bn and gradual_unfreeze",
    }
    for text, names in asking.items():
        with pytest.raises(InvalidArgument, match=f"cannot stand still for {names}[.]"):
            zoo.recipe(f"{optimizer}+{text}").compile(image_net())
    zoo.recipe(f"{optimizer}+freeze_bn+layer_decay").compile(image_net())


@pytest.mark.parametrize("text", ["freeze_bn(affine=True)", "gradual_unfreeze"])
def test_rates_of_their_own_are_refused_for_two_players_in_the_name_of_who_asks(text):
    model = zoo.build("wgan", image_shape=(8, 8, 1), latent_dim=3, widths=(2, 2))
    with pytest.raises(InvalidArgument, match=rf"two players .* Drop {text.partition('(')[0]}\."):
        zoo.recipe(text).compile(model)


# Layer-wise decay

VIT = {"image_shape": (8, 8, 1), "patch_size": 4, "depth": 2, "embed_dim": 8, "num_heads": 2}


def test_layer_decay_of_a_vit():
    model = zoo.build("vit", **VIT)
    factors = find_trick("layer_decay")(rate=0.5).factors(model)
    assert factors["logits/kernel"] == 1.0
    assert {f for p, f in factors.items() if p.startswith("block2_")} == {0.5}
    assert {f for p, f in factors.items() if p.startswith("block1_")} == {0.25}
    assert {f for p, f in factors.items() if p.startswith(("patch", "class", "position"))} == {0.125}
    assert set(factors) == {v.path for v in model.trainable_variables}
    explained = zoo.recipe("layer_decay(rate=0.5)").explain(model)
    assert "4 depths: 'patch_embedding' learns at 0.000125, 0.125 of the rate" in explained
    assert explained.endswith("up to 'logits' at 0.001")


def test_layer_decay_scales_each_step():
    x, y = np.random.default_rng(0).random((6, 8, 8, 1), "float32"), np.arange(6)
    steps = []
    for text in ("", "+layer_decay(rate=0.5)"):
        keras.utils.set_random_seed(0)
        model = zoo.recipe(f"sgd(learning_rate=0.1, momentum=0.0){text}").compile(
            zoo.build("vit", **VIT), run_eagerly=True
        )
        before = [to_numpy(v).copy() for v in model.trainable_variables]
        model.fit(x, y, batch_size=6, verbose=0)
        steps.append([to_numpy(v) - b for v, b in zip(model.trainable_variables, before, strict=True)])
    factors = find_trick("layer_decay")(rate=0.5).factors(model)
    for variable, plain, scaled in zip(model.trainable_variables, *steps, strict=True):
        np.testing.assert_allclose(scaled, factors[variable.path] * plain, rtol=1e-3, atol=1e-7)


def test_what_layer_decay_refuses():
    with pytest.raises(InvalidArgument, match="layer_decay finds no depth in model 'linear_net'"):
        zoo.recipe("layer_decay").compile(linear_net())


# Two players

WGAN = {"image_shape": (8, 8, 1), "widths": (4,), "latent_dim": 3, "critic_steps": 2}


@pytest.mark.parametrize(
    "text", ["clip_norm(norm=0.01)", "weight_decay(rate=10.0)", "lookahead(steps=2)", "lion", "muon"]
)
def test_two_players_take_options_and_wrappers(text):
    paths = []
    for recipe in ("plain", text):
        keras.utils.set_random_seed(0)
        model = zoo.recipe(recipe).compile(zoo.build("wgan", **WGAN))
        rng = np.random.default_rng(0)
        shapes = [v.shape for v in model.trainable_variables]
        steps = [[rng.normal(size=s).astype("float32") for s in shapes] for _ in range(4)]
        paths.append(walked(model, model.optimizer, steps))
    weights = [v.path for v in model.trainable_variables]
    for i, path in enumerate(weights):
        first, second, third = (paths[1][t][i] for t in (0, 1, 2))
        assert np.isfinite(third).all()
        waits = path.startswith("generator")  # it steps at every second step
        assert np.array_equal(second, third) == waits, path
        assert not np.array_equal(first, second), path
    different = [path for i, path in enumerate(weights) if not np.array_equal(paths[0][3][i], paths[1][3][i])]
    for player in ("critic", "generator"):
        assert any(path.startswith(player) for path in different), (player, text)
    if text.startswith("weight_decay"):
        assert not any(path.endswith(("bias", "gamma", "beta")) for path in different)


@pytest.mark.parametrize("text", ["accumulate", "layer_decay"])
def test_what_two_players_refuse(text):
    with pytest.raises(InvalidArgument, match=f"{text} finds no .*two players"):
        zoo.recipe(text).compile(zoo.build("wgan", **WGAN))


# Saved and resumed

STATEFUL = (
    "lookahead(steps=3)+accumulate(steps=2)+weight_decay+clip_norm+layer_decay+ema(momentum=0.9)+warmup(epochs=1)"
)


@pytest.mark.parametrize("name", ["radam", "muon", "nadam"])
def test_a_saved_model_goes_on_as_if_it_had_not_been(name, tmp_path):
    stateful = STATEFUL.replace("+weight_decay", "") if name == "muon" else STATEFUL
    x, y = images(16)
    keras.utils.set_random_seed(0)
    model = zoo.recipe(f"{name}+{stateful}").compile(image_net(drop_rate=0.0))
    model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    for ours, theirs in zip(model.optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(to_numpy(ours), to_numpy(theirs))
    for each in (model, again):
        each.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    same(numpy_weights(model), numpy_weights(again), rtol=0, atol=0)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_an_interrupted_run_ends_as_if_it_had_not_been(name, tmp_path, monkeypatch):
    recipe = f"{name}+{STATEFUL.replace('+weight_decay', '')}+cosine"
    data = from_arrays(*images(60, image_shape=(8, 8, 1)))
    options = {"recipe": recipe, "epochs": 3, "batch_size": 8, "seed": 1, "quiet": True, **VIT, "depth": 1}
    options.pop("image_shape")
    whole = zoo.train("vit", data, out=tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        end = ValidateAverage.on_test_end
        count = []

        def interrupt(self, logs=None):
            end(self, logs)
            count.append(1)
            if len(count) == 2:
                raise KeyboardInterrupt

        patch.setattr(ValidateAverage, "on_test_end", interrupt)
        with pytest.raises(KeyboardInterrupt):
            zoo.train("vit", data, out=tmp_path / "run", **options)
    resumed = zoo.train("vit", data, out=tmp_path / "run", resume=True, **options)
    for file in ("best.safetensors", "last.safetensors"):
        mine, its = (load_state(run.folder / file)[0] for run in (resumed, whole))
        assert mine.keys() == its.keys()
        for key in mine:
            np.testing.assert_array_equal(mine[key], its[key], err_msg=key)
