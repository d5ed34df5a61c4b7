"""Every model, through its row in `tests/cases.py`, and what single families promise."""

import dataclasses
import functools
import json
import math
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from cases import CASES

from zoo import indexing, registry
from zoo.compiled import ZooModel
from zoo.errors import InvalidArgument, UnknownName
from zoo.factory import build, build_empty
from zoo.plan import heads_of

EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=str)
BATCH = 6
JIT = keras.backend.backend() == "jax"  # which would otherwise compile each operation by itself


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Tiny products on PyTorch: its threads wait for each other far longer than they compute."""
    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@functools.cache
def built(case_id):
    """The model of a row, built once and not trained: building is what takes JAX the time."""
    keras.utils.set_random_seed(1)
    case = next(c for c in CASES if str(c) == case_id)
    return build(case.name, **case.arguments)


def batch_of(case, size=BATCH):
    """Inputs as the model takes them, and targets as its heads do; rows of tokens end in padding."""
    rng = np.random.default_rng(0)
    model = built(str(case))
    x = {i.name: _inputs(rng, case, i, size) for i in model.inputs}
    x = x if isinstance(case.input_shape, dict) else next(iter(x.values()))
    shapes = {name: tuple(o.shape[1:]) for name, o in zip(model.output_names, model.outputs, strict=True)}
    y = {h.name: _targets(rng, h, (size, *shapes[h.name])) for h in heads_of(model)}
    return x, y if isinstance(case.output_shape, dict) else next(iter(y.values()))


def _inputs(rng, case, tensor, size):
    shape = (size, *tensor.shape[1:])
    if "int" not in tensor.dtype:
        return rng.standard_normal(shape).astype("float32")
    limit = case.limits.get(tensor.name, case.arguments.get("vocab_size"))
    x = rng.integers(1, limit, shape).astype("int32")
    if x.ndim > 1 and tensor.name not in case.limits:
        x[1, -3:] = x[2, 1:] = 0
    return x


def _targets(rng, head, shape):
    if head.kind == "regression":
        return rng.standard_normal(shape).astype("float32")
    return (np.arange(np.prod(shape[:-1])) % max(2, head.units)).reshape(shape[:-1]).astype("int32")


def predict(model, x):
    """A model's outputs as arrays: one, or a dict of several."""
    outputs = model(keras.tree.map_structure(keras.ops.convert_to_tensor, x), training=False)
    return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)


def by_name(value):
    return value if isinstance(value, dict) else {None: value}


def starts_at_zero(model):
    """Says whether a model's outputs are zero until it has learned: word vectors begin so."""
    return any(head.kind == "candidates" for head in heads_of(model))


def values(model):
    return {w.path: keras.ops.convert_to_numpy(w) for w in model.weights}


def repeated(x, y, times):
    """The same batch many times over: `fit` is quicker on one long epoch than on many short ones."""
    return keras.tree.map_structure(lambda rows: np.concatenate([rows] * times), (x, y))


@EVERY_CASE
def test_forward(case):
    model = built(str(case))
    x, _ = batch_of(case)
    outputs = predict(model, x)
    assert type(model).__name__ == "Functional"
    assert registry.input_shape_of(model) == case.input_shape
    assert by_name(outputs).keys() == by_name(case.output_shape).keys()
    for name, values in by_name(outputs).items():
        assert values.shape == (BATCH, *by_name(case.output_shape)[name])
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        if not starts_at_zero(model):
            assert np.ptp(values, axis=0).min() > 0, "the outputs do not depend on the input"
    assert model.count_params() == case.parameters


@EVERY_CASE
def test_names_are_the_same_in_every_build(case):
    first, second = built(str(case)), build_empty(case.name, **case.arguments)
    assert [w.path for w in first.weights] == [w.path for w in second.weights]
    assert [layer.name for layer in first.layers] == [layer.name for layer in second.layers]
    if not isinstance(case.input_shape, dict):
        assert first.layers[0].name in ("image", "tokens", "features")
    if first.zoo_spec.heads is None:
        assert first.layers[-1].name == "logits"
    else:
        assert set(first.output_names) == set(first.zoo_spec.heads)


@EVERY_CASE
def test_every_weight_learns_and_one_batch_can_be_overfitted(case):
    keras.utils.set_random_seed(1)
    plain = build(case.name, **case.arguments)
    if any(head.kind == "critic" for head in heads_of(plain)):
        pytest.skip("two players do not overfit a batch; tests/test_wgan.py checks their steps")
    x, y = batch_of(case)
    model = ZooModel.of(plain, "adam(learning_rate=0.02)", jit_compile=JIT)
    before = values(model)
    model.fit(*repeated(x, y, 2), batch_size=BATCH, shuffle=False, verbose=0)  # zero output vectors have to move first
    after = values(model)
    still = [path for path in before if np.array_equal(before[path], after[path])]
    assert not still, f"no gradient reached {still}"
    model.fit(*repeated(x, y, 100), batch_size=BATCH, shuffle=False, verbose=0)
    loss = model.fit(*repeated(x, y, 4), batch_size=BATCH, shuffle=False, verbose=0).history["loss"][0]
    assert loss < 0.3 * sum(
        head.weight for head in heads_of(plain)
    )  # one that ignores its input stays at ln 2, at ln 3, or at the targets' variance


@EVERY_CASE
def test_saved_and_reloaded(case, tmp_path):
    model = built(str(case))
    x, _ = batch_of(case)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    keras.tree.map_structure(np.testing.assert_array_equal, predict(again, x), predict(model, x))
    assert {p: v.shape for p, v in values(again).items()} == {p: v.shape for p, v in values(model).items()}


LOADER = """
import json, pathlib, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "zoo":
            raise ImportError("zoo is not installed here")
sys.meta_path.insert(0, Blocker())
import keras, numpy as np
worst = {}
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.keras")):
    stored = np.load(path.with_suffix(".npz"), allow_pickle=False)
    inputs = {k[2:]: keras.ops.convert_to_tensor(v) for k, v in stored.items() if k.startswith("x ")}
    outputs = keras.saving.load_model(path)(inputs.get("", inputs), training=False)
    outputs = outputs if isinstance(outputs, dict) else {"": outputs}
    differences = [keras.ops.convert_to_numpy(outputs[k]) - stored["y " + k] for k in outputs]
    worst[path.stem] = float(max(np.abs(d).max() for d in differences))
print(json.dumps(worst))
"""


def test_saved_models_load_where_zoo_is_not_installed(tmp_path):
    for case in CASES:
        model = built(str(case))
        x, _ = batch_of(case)
        keras.Model(model.input, model.output).save(tmp_path / f"{case}.keras")
        arrays = {f"x {name or ''}": rows for name, rows in by_name(x).items()}
        np.savez(
            tmp_path / f"{case}.npz", **arrays, **{f"y {k or ''}": v for k, v in by_name(predict(model, x)).items()}
        )
    environment = os.environ | {"KERAS_BACKEND": keras.backend.backend(), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LOADER, str(tmp_path)], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    worst = json.loads(done.stdout.splitlines()[-1])
    assert worst.keys() == {str(case) for case in CASES}
    assert max(worst.values()) < 1e-6


# The registry


def test_every_model_has_a_case():
    assert {row.name for row in registry.list_models()} == {case.name for case in CASES}
    assert len({str(case) for case in CASES}) == len(CASES)


@pytest.mark.parametrize("name", sorted(registry.index()["models"]))
def test_published_counts_and_the_index(name):
    """The index says what the builders build; `python -m zoo.indexing` renews it."""
    model = build_empty(name)
    row = registry.find_model(name)
    published = {case.name: case.published for case in CASES if case.published}
    assert published.get(name) in (None, sum(math.prod(w.shape) for w in model.trainable_variables))
    builder, _ = registry.builder_of(name)
    expected = dataclasses.asdict(registry.model_row(builder, name))
    expected |= indexing.counted(model)
    assert dataclasses.asdict(row) == expected
    assert row.paper is not None


# Wrong arguments


@EVERY_CASE
def test_a_misspelt_argument_names_the_nearest(case):
    argument = next(iter(case.arguments))
    with pytest.raises(UnknownName, match=rf"{argument}x.*Did you mean '{argument}'"):
        build(case.name, **{f"{argument}x": 3})


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("vit_tinny", {}, "Did you mean 'vit_tiny'"),
        ("softmax", {"num_classes": 2.5}, "`num_classes` must be int"),
        ("softmax", {"num_classes": True}, "`num_classes` must be int"),
        ("softmax", {"num_classes": 0}, "`num_classes` must be a whole number of at least 1"),
        ("softmax", {"image_shape": "28x28"}, "`image_shape` must be tuple"),
        ("softmax", {"image_shape": (28, 28)}, r"Grey images have one channel: \(28, 28, 1\)"),
        ("resnet20", {"image_shape": (32, 32, -3)}, "three positive whole numbers"),
        ("resnet20", {"stem": "5x5"}, "`stem` must be one of '3x3', '7x7'"),
        ("resnet20", {"shortcut": "none"}, "`shortcut` must be one of"),
        ("resnet50", {"flavour": "jax"}, "`flavour` must be one of 'torch', 'keras'"),
        ("resnet50", {"blocks": (3, 0)}, r"`blocks\[1\]` must be a whole number"),
        ("resnet50", {"blocks": ()}, "`blocks` needs at least one stage"),
        ("vit", {"patch_size": 15}, r"does not divide.*224, 224, 3.*A patch size that does: 14"),
        ("vit", {"num_heads": 5}, r"`embed_dim` must be a multiple of `num_heads`.*\(192, 5\)"),
        ("vit", {"pool": "max"}, "`pool` must be one of 'token', 'mean'"),
        ("vit", {"drop_rate": 1.0}, "`drop_rate` must be at least 0 and below 1"),
        ("vit", {"mlp_ratio": -1}, "`mlp_ratio` must be positive"),
        ("vit", {"depth": 0}, "`depth` must be a whole number of at least 1"),
        ("lstm", {"vocab_size": 0}, "`vocab_size` must be"),
        ("lstm", {"bidirectional": 1}, "`bidirectional` must be bool"),
        ("gru", {"pool": "max"}, "`pool` must be one of 'mean', 'last'"),
        ("gru", {"sequence_length": -5}, "`sequence_length` must be"),
    ],
)
def test_wrong_arguments(name, arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        build(name, **arguments)


# Empty models


def test_an_empty_model_is_zero_and_can_be_filled():
    case = next(c for c in CASES if c.name == "vit_base")
    full, empty = built(str(case)), build_empty(case.name, **case.arguments)
    assert not any(np.any(v) for v in values(empty).values())
    assert empty.zoo_spec == full.zoo_spec
    for source, target in zip(full.weights, empty.weights, strict=True):
        target.assign(source)
    x, y = batch_of(case)
    np.testing.assert_array_equal(predict(empty, x), predict(full, x))
    empty.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=JIT)
    assert np.isfinite(empty.fit(x, y, verbose=0).history["loss"]).all()


# What single families promise


@pytest.mark.parametrize("case", [c for c in CASES if c.name in ("lstm", "gru")], ids=str)
def test_padding_changes_nothing(case):
    short = built(str(case))
    long = build_empty(case.name, **case.arguments | {"sequence_length": 12})
    for source, target in zip(short.weights, long.weights, strict=True):
        target.assign(source)
    x, _ = batch_of(case)
    padded = np.pad(x, ((0, 0), (0, 12 - x.shape[1])))
    np.testing.assert_allclose(predict(long, padded), predict(short, x), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "changes"),
    [("lstm", {}), ("gru", {"bidirectional": True}), ("siamese", {"pool": "mean"}), ("price", {})],
)
def test_a_row_of_padding_alone_is_no_division_by_zero(name, changes):
    case = next(c for c in CASES if str(c) == name)
    model = build(name, **case.arguments | changes)
    x, _ = batch_of(case)
    ids = [rows for rows in by_name(x).values() if rows.dtype.kind == "i"]
    others = predict(model, x)[1:]
    for rows in ids:
        rows[0] = 0
    outputs = predict(model, x)
    np.testing.assert_allclose(outputs[1:], others, rtol=1e-5, atol=1e-6)
    assert np.isfinite(outputs).all()
    model.compile("sgd", "mse", jit_compile=JIT)
    model.fit(x, np.ones_like(outputs), verbose=0)
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_drop_path_skips_a_branch_for_whole_images():
    case = next(c for c in CASES if c.name == "vit_tiny")
    model = build(case.name, **case.arguments | {"drop_path_rate": 0.5})
    layer = model.get_layer("block2_mlp_out_drop_path")
    inside = keras.Model(model.inputs, [layer.input, layer.output])
    x, _ = batch_of(case, 64)
    before, after = (keras.ops.convert_to_numpy(t) for t in inside(keras.ops.convert_to_tensor(x), training=True))
    dropped = ~np.any(after, axis=(1, 2))
    assert 16 < dropped.sum() < 48
    np.testing.assert_allclose(after[~dropped], before[~dropped] / 0.5, rtol=1e-6)
    assert model.get_layer("block1_mlp_out_drop_path").rate == 0


def test_padded_shortcut_subsamples_and_adds_zeros():
    from zoo.models.resnet import shortcut_pad

    inputs = keras.Input((5, 6, 2))
    model = keras.Model(inputs, shortcut_pad(inputs, 5, 2, name="shortcut"))
    x = np.random.default_rng(0).standard_normal((2, 5, 6, 2)).astype("float32")
    wanted = np.concatenate([x[:, ::2, ::2], np.zeros((2, 3, 3, 3), "float32")], axis=-1)
    np.testing.assert_array_equal(predict(model, x), wanted)


@pytest.mark.parametrize("name", ["vit_tiny", "resnet20", "lstm"])
def test_mixed_precision_keeps_full_precision_logits(name):
    case = next(c for c in CASES if c.name == name)
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = build(case.name, **case.arguments)
        logits = predict(model, batch_of(case)[0])
    finally:
        keras.config.set_dtype_policy(policy)
    assert model.layers[1].compute_dtype == "bfloat16"
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
