"""The compiled model as a Keras user meets it: fit, save, load, callbacks, precision, errors before any step."""

import json
import os
import subprocess
import sys
import textwrap

import keras
import numpy as np
import pytest
from keras import ops
from nets import image_net, images, linear_net, numpy_weights, text_net, texts

import zoo
from zoo.compiled import ZooModel, plain
from zoo.errors import DataError, InvalidArgument
from zoo.spec import Spec, attach, spec_of

BACKEND = keras.backend.backend()
tensorflow_only = pytest.mark.skipif(BACKEND != "tensorflow", reason="is about TensorFlow's graphs")


def equal(one, two):
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def fresh_python(code, *arguments, cwd, **env):
    """Runs code in a new Python and returns what it printed."""
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "KERAS_BACKEND": BACKEND, "TF_CPP_MIN_LOG_LEVEL": "3", **env},
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


# An ordinary Keras model


def test_it_is_an_ordinary_keras_model(capsys):
    x, y = images()
    net = image_net()
    model = zoo.recipe("focal+cosine").compile(net)
    assert isinstance(model, keras.Model)
    assert model.count_params() == net.count_params()
    history = model.fit(x, y, batch_size=8, epochs=2, verbose=0, validation_data=(x, y))
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert model.evaluate(x, y, verbose=0, return_dict=True).keys() == {"loss", "accuracy"}
    logits = model.predict(x, verbose=0)
    np.testing.assert_allclose(logits, net.predict(x, verbose=0), rtol=1e-6)  # the weights are shared
    accuracy = np.mean(logits.argmax(1) == y)
    np.testing.assert_allclose(model.evaluate(x, y, verbose=0)[1], accuracy, rtol=1e-6)
    model.summary()
    assert "logits" in capsys.readouterr().out
    assert str(model.recipe) == "focal+cosine"
    assert spec_of(model).recipe == "focal(alpha=None, gamma=2.0)+cosine(final=0.0)"


def test_binary_accuracy_is_of_logits():
    x, y = texts()
    model = zoo.recipe("plain").compile(text_net())
    accuracy = np.mean((model.predict(x, verbose=0)[:, 0] > 0) == y)
    np.testing.assert_allclose(model.evaluate(x, y, verbose=0)[1], accuracy, rtol=1e-6)


def test_a_model_of_ones_own_takes_a_recipe():
    image = keras.Input((4,))
    own = keras.Model(image, keras.layers.Dense(3, name="logits")(image), name="own")
    model = zoo.recipe("focal+warmup(epochs=1)").compile(own, task="image_classification")
    assert np.isfinite(model.fit(np.ones((8, 4), "float32"), np.zeros(8), verbose=0).history["loss"][0])


def test_several_heads_each_get_a_loss():
    image = keras.Input((4,), name="features")
    heads = {"kind": keras.layers.Dense(3, name="kind")(image), "spam": keras.layers.Dense(1, name="spam")(image)}
    model = zoo.recipe("focal").compile(keras.Model(image, heads), task="image_classification")
    rng = np.random.default_rng(0)
    y = {"kind": rng.integers(0, 3, 8), "spam": rng.integers(0, 2, 8)}
    history = model.fit(rng.random((8, 4), "float32"), y, verbose=0)
    assert {"kind_loss", "spam_loss", "kind_accuracy", "spam_accuracy"} <= set(history.history)


def test_own_compile_replaces_the_recipe():
    x, y = images()
    model = zoo.recipe("fgsm+cosine+ema").compile(image_net())
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    assert model.recipe is None
    assert model.schedule is None
    assert spec_of(model).recipe is None
    assert not model.optimizer.use_ema
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"][0])
    model.compile_recipe("radam")
    assert str(model.recipe) == "radam"


def test_clone_and_submodel():
    model = zoo.recipe("focal").compile(image_net())
    clone = keras.models.clone_model(model)
    assert clone.count_params() == model.count_params()
    assert clone.recipe == model.recipe
    assert clone.zoo_spec == model.zoo_spec
    features = keras.Model(model.inputs, model.get_layer("pool").output)
    assert features.predict(images()[0], verbose=0).shape == (24, 4)


@pytest.mark.parametrize("kind", ["none", "one", "list", "tuple", "callback_list"])
def test_callbacks_in_every_form(kind):
    x, y = images()
    epochs = []
    mine = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))
    model = zoo.recipe("cosine+ema").compile(image_net())
    given = {
        "none": None,
        "one": mine,
        "list": [mine],
        "tuple": (mine,),
        "callback_list": keras.callbacks.CallbackList([mine], add_history=True, model=model, steps=3, epochs=2),
    }[kind]
    size = len(given.callbacks) if kind == "callback_list" else None
    history = model.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=given, validation_data=(x, y))
    assert epochs == ([] if kind == "none" else [0, 1])
    assert len(history.history["val_loss"]) == 2
    if kind == "callback_list":
        assert len(given.callbacks) == size  # the caller's own list stays as it is
    if kind == "list":
        assert given == [mine]
    model.fit(x, y, batch_size=8, epochs=2, verbose=0, callbacks=given)


def test_keras_callbacks_work(tmp_path):
    x, y = images()
    model = zoo.recipe("focal").compile(image_net())
    path = tmp_path / "best.keras"
    model.fit(
        x,
        y,
        epochs=3,
        verbose=0,
        validation_data=(x, y),
        callbacks=[
            keras.callbacks.ModelCheckpoint(path, save_best_only=True),
            keras.callbacks.EarlyStopping(patience=2),
            keras.callbacks.ReduceLROnPlateau(patience=1),
            keras.callbacks.CSVLogger(tmp_path / "log.csv"),
            keras.callbacks.TerminateOnNaN(),
        ],
    )
    assert str(keras.saving.load_model(path).recipe) == "focal"


def test_weights_of_examples_and_classes():
    x, y = images(16)
    kernels = {}
    for name, options in {
        "plain": {},
        "class": {"class_weight": {0: 1.0, 1: 2.0, 2: 4.0}},
        "sample": {"sample_weight": np.array([1.0, 2.0, 4.0])[y]},
    }.items():
        keras.utils.set_random_seed(0)
        model = zoo.recipe("sgd+fgsm").compile(image_net(drop_rate=0.0))
        model.fit(x, y, batch_size=16, verbose=0, shuffle=False, **options)
        kernels[name] = model.get_layer("logits").get_weights()[0]
    np.testing.assert_allclose(kernels["class"], kernels["sample"], rtol=1e-5, atol=1e-6)
    assert np.abs(kernels["class"] - kernels["plain"]).max() > 1e-3


def test_validation_split():
    x, y = images()
    history = zoo.recipe("warmup(epochs=1)+ema").compile(image_net()).fit(x, y, verbose=0, validation_split=0.25)
    assert np.isfinite(history.history["val_loss"][0])


@pytest.mark.skipif(BACKEND == "torch", reason="Keras has no steps_per_execution on PyTorch")
@pytest.mark.parametrize("recipe", ["warmup(epochs=1)+cosine", "fgsm+focal+flooding+radam+ema"])
def test_several_steps_per_execution(recipe):
    x, y = images()
    model = zoo.recipe(recipe).compile(image_net(), steps_per_execution=3)
    assert np.isfinite(model.fit(x, y, batch_size=4, epochs=2, verbose=0).history["loss"]).all()
    assert int(model.optimizer.iterations) == 12


# Tracing


class CountTraces(keras.losses.Loss):
    """Counts how often Python runs the loss, which compiled code does once per trace."""

    def __init__(self, inner):
        super().__init__(name="counted")
        self.inner = inner
        self.count = 0

    def call(self, y_true, y_pred):
        self.count += 1
        return self.inner.call(y_true, y_pred)


@pytest.mark.skipif(BACKEND == "torch", reason="PyTorch runs eagerly, it traces nothing")
@pytest.mark.parametrize("recipe", ["focal+warmup(epochs=1)+cosine+ema+flooding", "fgsm+cyclic(epochs=1)", "fgm+radam"])
def test_a_second_fit_traces_nothing_anew(recipe, monkeypatch):
    import zoo.compiled

    made = []
    original = zoo.compiled._loss

    def counted(plan, head):
        made.append(CountTraces(original(plan, head)))
        return made[-1]

    monkeypatch.setattr(zoo.compiled, "_loss", counted)
    net, (x, y) = (text_net(), texts()) if "fgm" in recipe else (image_net(), images())
    model = zoo.recipe(recipe).compile(net)
    model.fit(x, y, batch_size=8, epochs=2, verbose=0, validation_data=(x, y))
    traced = made[0].count
    assert traced > 0
    for epochs in (1, 3):  # another horizon
        model.fit(x, y, batch_size=8, epochs=epochs, verbose=0, validation_data=(x, y))
    assert made[0].count == traced


@tensorflow_only
@pytest.mark.parametrize("recipe", ["fgm+warmup(epochs=1)+sgd", "fgsm+focal+flooding+radam+cosine+ema"])
def test_graphs_xla_and_eager_code_take_the_same_steps(recipe):
    """In a graph the plain loss carries its weights' gradients; eagerly they are Keras's own."""
    if "fgm" in recipe:
        make, (x, y) = (lambda: text_net(lstm=True, drop_rate=0.0)), texts(16)
    else:
        make, (x, y) = (lambda: image_net(drop_rate=0.0)), images(16)
    start, losses = None, []
    for options in ({"jit_compile": False}, {"jit_compile": True}, {"run_eagerly": True}):
        model = zoo.recipe(recipe).compile(make(), **options)
        start = start or numpy_weights(model)
        model.set_weights(start)
        losses.append(model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    np.testing.assert_allclose(losses[2], losses[0], rtol=1e-4)


# Precision


@pytest.fixture
def policy():
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize(
    "recipe", ["focal+warmup(epochs=0.5)+cosine+ema", "label_smoothing+flooding+fgsm+radam", "fgm+sgd+cyclic(epochs=1)"]
)
def test_mixed_precision_trains(policy, precision, recipe, tmp_path):
    policy(precision)
    net, (x, y) = (text_net(), texts()) if "fgm" in recipe else (image_net(), images())
    model = zoo.recipe(recipe).compile(net)
    before = numpy_weights(model)
    history = model.fit(x, y, batch_size=8, epochs=2, verbose=0, validation_data=(x, y))
    for values in history.history.values():
        assert np.isfinite(values).all()
    after = numpy_weights(model)
    assert all(np.isfinite(w).all() for w in after)
    assert any((a != b).any() for a, b in zip(before, after, strict=True))
    if precision == "mixed_float16":
        assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    equal(numpy_weights(again), after)
    if model.schedule is not None:
        equal([to_numpy(again.schedule.horizon)], [to_numpy(model.schedule.horizon)])
    assert np.isfinite(again.fit(x, y, batch_size=8, verbose=0).history["loss"][0])


def to_numpy(x):
    return np.asarray(ops.convert_to_numpy(x))


# Saving


RECIPES = [
    "focal(gamma=1.5)+warmup(epochs=1)+cosine+sgd(learning_rate=0.05)",
    "radam+cyclic(epochs=1)+label_smoothing+ema(momentum=0.7)",
    "adam(weight_decay=0.1)+flooding+fgsm",
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_saved_model_goes_on_exactly_where_it_was(recipe, tmp_path):
    """Training in two halves with a file between them ends as training in two halves without."""
    x, y = images()
    model = zoo.recipe(recipe).compile(image_net(drop_rate=0.0))
    fit = {"batch_size": 8, "epochs": 4, "shuffle": False, "verbose": 0}

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    model.fit(x, y, callbacks=[Stop()], **fit)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(again, ZooModel)
    assert again.recipe == model.recipe
    assert again.zoo_spec == model.zoo_spec
    equal(numpy_weights(again), numpy_weights(model))
    equal([to_numpy(v) for v in again.optimizer.variables], [to_numpy(v) for v in model.optimizer.variables])
    if model.schedule is not None:
        equal([to_numpy(again.schedule.horizon)], [to_numpy(model.schedule.horizon)])
        assert float(again.optimizer.learning_rate) == float(model.optimizer.learning_rate)
    for each in (model, again):
        each.fit(x, y, initial_epoch=2, **fit)
    for ours, theirs in zip(numpy_weights(again), numpy_weights(model), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


def test_halves_are_the_whole(tmp_path):
    """A fit that was saved, loaded and continued by `initial_epoch` is the uninterrupted one."""
    x, y = images()
    start = numpy_weights(net := image_net(drop_rate=0.0))
    fit = {"batch_size": 8, "epochs": 4, "shuffle": False, "verbose": 0}
    recipe = "focal+warmup(epochs=1)+cosine+radam"
    whole = zoo.recipe(recipe).compile(net)
    whole.fit(x, y, **fit)
    half = zoo.recipe(recipe).compile(image_net(drop_rate=0.0))
    half.set_weights(start)
    stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(half, "stop_training", epoch == 1))
    half.fit(x, y, callbacks=[stop], **fit)
    half.save(tmp_path / "half.keras")
    rest = keras.saving.load_model(tmp_path / "half.keras")
    rest.fit(x, y, initial_epoch=2, **fit)
    for ours, theirs in zip(numpy_weights(rest), numpy_weights(whole), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_resumed_fit_under_float16_has_the_rates_of_an_uninterrupted_one(policy, tmp_path):
    """Steps that overflow do not advance the optimizer's count, and a resumed fit must not make up for them."""
    policy("mixed_float16")
    x, y = images()
    fit = {"batch_size": 8, "epochs": 3, "shuffle": False, "verbose": 0}
    start = numpy_weights(net := image_net(drop_rate=0.0))

    def rates_of(model, until=3, **options):
        found = []

        class Rates(keras.callbacks.Callback):
            def on_train_batch_begin(self, batch, logs=None):
                found.append(float(self.model.optimizer.learning_rate))

            def on_epoch_end(self, epoch, logs=None):
                self.model.stop_training = epoch + 1 == until

        model.fit(x, y, callbacks=[Rates()], **options, **fit)
        return found

    def compiled(net):
        net.set_weights(start)
        model = zoo.recipe("cosine").compile(net)
        model.optimizer.build(model.trainable_variables)
        model.optimizer.dynamic_scale.assign(2.0**20)  # the first steps overflow, and each halves it
        return model

    whole = rates_of(model := compiled(net))
    assert 0 < int(model.optimizer.iterations) < len(whole) - 1
    halves = rates_of(model := compiled(image_net(drop_rate=0.0)), until=1)
    model.save(tmp_path / "half.keras")
    halves += rates_of(keras.saving.load_model(tmp_path / "half.keras"), initial_epoch=1)
    assert halves == whole


def test_the_file_holds_the_recipe_and_no_objects(tmp_path):
    import zipfile

    model = zoo.recipe("focal+warmup").compile(image_net(), jit_compile=False)
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        config = json.loads(file.read("config.json"))
    compiled = config["compile_config"]
    assert compiled["recipe"] == "focal(alpha=None, gamma=2.0)+warmup(epochs=5.0)"
    assert compiled["options"] == {"jit_compile": False}
    assert "optimizer" not in compiled
    assert "loss" not in compiled
    assert config["config"]["zoo_spec"]["name"] == "image_net"
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.jit_compile is False


def test_saved_without_a_recipe(tmp_path):
    x, y = images()
    model = zoo.recipe("focal").compile(image_net())
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.recipe is None
    assert isinstance(again.optimizer, keras.optimizers.SGD)
    equal([again.predict(x, verbose=0)], [model.predict(x, verbose=0)])


@pytest.mark.parametrize("first", ["zoo", "keras"])
def test_a_new_process_loads_it_having_imported_no_more_than_zoo(first, tmp_path):
    x, y = images()
    model = zoo.recipe("focal+sgd+warmup").compile(image_net())
    model.fit(x, y, verbose=0, epochs=6)
    model.save(tmp_path / "zoo.keras")
    stock = plain(model)  # with zoo's own loss and optimizer, compiled by hand
    stock.compile(type(model.optimizer)(0.1), type(model.loss)(gamma=1.0))
    stock.fit(x, y, verbose=0)
    stock.save(tmp_path / "stock.keras")
    second = "keras" if first == "zoo" else "zoo"
    printed = fresh_python(
        f"""
        import {first}
        {"assert 'keras' not in __import__('sys').modules" if first == "zoo" else ""}
        import {second}
        model = keras.saving.load_model("zoo.keras")
        print(type(model).__name__, model.recipe, int(model.optimizer.iterations))
        model = keras.saving.load_model("stock.keras")
        print(type(model.optimizer).__name__, type(model.loss).__name__, model.loss.gamma)
        """,
        cwd=tmp_path,
    )
    assert printed.split("\n")[:2] == ["ZooModel focal+sgd+warmup 6", "CoupledSGD FocalLoss 1.0"]


def test_every_class_that_keras_may_meet_is_announced():
    import importlib
    import pkgutil

    import zoo.tricks
    from zoo.registry import index

    for module in pkgutil.iter_modules(zoo.tricks.__path__, "zoo.tricks."):
        importlib.import_module(module.name)
    known = {k: v for k, v in keras.saving.get_custom_objects().items() if k.startswith("zoo>")}
    stale = "run `python -m zoo.indexing`"
    assert {k: v.__module__ for k, v in known.items()} == index()["objects"], stale


def test_import_zoo_imports_nothing_heavy(tmp_path):
    printed = fresh_python(
        "import sys, zoo; print([m for m in ('keras', 'numpy', 'tensorflow') if m in sys.modules])", cwd=tmp_path
    )
    assert printed.strip() == "[]"


def test_the_plain_model_loads_where_zoo_is_not(tmp_path):
    x, y = images()
    model = zoo.recipe("fgsm+ema+cosine").compile(image_net())
    model.fit(x, y, verbose=0)
    stock = plain(model)
    assert type(stock) is type(keras.Model(stock.inputs, stock.outputs))
    assert spec_of(stock).recipe == model.recipe.exact
    stock.save(tmp_path / "stock.keras")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "wanted.npy", model.predict(x, verbose=0))
    printed = fresh_python(
        """
        import sys
        sys.modules["zoo"] = None  # an import of zoo now fails
        import keras, numpy as np
        model = keras.saving.load_model("stock.keras")
        found = model.predict(np.load("x.npy"), verbose=0)
        np.testing.assert_allclose(found, np.load("wanted.npy"), rtol=1e-6)
        try:
            import zoo
        except ImportError:
            print("alone")
        """,
        cwd=tmp_path,
    )
    assert printed.strip() == "alone"


def test_only_a_functional_model_can_be_made_plain():
    with pytest.raises(InvalidArgument, match=r"only a Functional keras.Model can be made plain. .*'Sequential'"):
        plain(keras.Sequential([keras.layers.Dense(3)]))


# Horizons


def generator(x, y):
    while True:
        yield x[:8], y[:8]


def test_unknown_steps_are_an_error_before_any_step():
    x, y = images()
    model = zoo.recipe("cosine").compile(image_net())
    before = numpy_weights(model)
    with pytest.raises(InvalidArgument, match=r"recipe 'cosine' needs to know how many steps.*Pass `steps_per_epoch=`"):
        model.fit(generator(x, y), verbose=0)
    equal(numpy_weights(model), before)
    history = model.fit(generator(x, y), steps_per_epoch=2, verbose=0)
    assert np.isfinite(history.history["loss"][0])


def test_without_a_schedule_steps_may_be_unknown():
    x, y = images()
    model = zoo.recipe("focal").compile(image_net())
    batches = ((x[i : i + 8], y[i : i + 8]) for i in (0, 8))
    assert np.isfinite(model.fit(batches, verbose=0).history["loss"][0])


def test_single_batches_need_a_bound_schedule():
    x, y = images()
    model = zoo.recipe("cosine").compile(image_net())
    with pytest.raises(InvalidArgument, match=r"schedule of cosine does not know how long .*bind_schedule"):
        model.train_on_batch(x, y)
    model.bind_schedule(steps_per_epoch=3, epochs=2)
    rates = []
    for _ in range(4):
        rates.append(float(model.optimizer.learning_rate))
        model.train_on_batch(x, y)
    wanted = [0.0005 * (1 + np.cos(np.pi * s / 6)) for s in range(4)]
    np.testing.assert_allclose(rates, wanted, rtol=1e-5)


@pytest.mark.parametrize(("steps", "epochs"), [(0, 1), (3, 0)])
def test_a_horizon_needs_steps(steps, epochs):
    model = zoo.recipe("cosine").compile(image_net())
    with pytest.raises(InvalidArgument, match="a schedule needs at least one step and one epoch"):
        model.bind_schedule(steps_per_epoch=steps, epochs=epochs)


# Bad input: a clear error before any step


def spoiled(value, rows=(5, 7)):
    x, y = images()
    for row in rows:
        x[row, 2, 3, 1] = value
    return x, y


BAD = {
    "nan": (*spoiled(np.nan), "2 of the training examples hold NaN or infinity, the first at index 5"),
    "infinite": (*spoiled(-np.inf), "2 of the training examples hold NaN or infinity, the first at index 5"),
    "too high": (images()[0], np.full(24, 3), r"24 of the training labels are outside 0..2, the first at index 0.*3"),
    "negative": (images()[0], np.r_[np.zeros(9), -1, np.zeros(14)], "1 of the training labels .* at index 9"),
    "nan label": (images()[0], np.r_[np.zeros(9), np.nan, np.zeros(14)], "1 of the training labels .*at index 9.*nan"),
    "fraction": (images()[0], np.full(24, 0.5), "24 of the training labels are not whole numbers, .*index 0.*0.5"),
    "length": (images()[0], images()[1][:-1], "there are 24 training examples but 23 labels"),
    "width": (images()[0], np.eye(5)[images()[1]], r"shape that does not fit. Received: \(24, 5\).*\(n, 3\)"),
    "rank": (images()[0], np.zeros((24, 3, 1)), r"shape that does not fit. Received: \(24, 3, 1\)"),
    "nan target": (images()[0], np.full((24, 3), np.nan), "24 of the training targets hold NaN or infinity"),
    "words": (images()[0], np.array(["cat"] * 24), "labels must be numbers.*Number the classes 0, 1, 2"),
    "list": (images()[0], [1] * 24, r"the training labels are a list. Pass one array"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arrays_are_refused_before_any_step(case):
    x, y, message = BAD[case]
    model = zoo.recipe("focal").compile(image_net())
    before = numpy_weights(model)
    with pytest.raises(DataError, match=message):
        model.fit(x, y, verbose=0)
    good = images()
    with pytest.raises(DataError, match=message.replace("training", "validation")):
        model.fit(*good, verbose=0, validation_data=(x, y))
    equal(numpy_weights(model), before)


def test_yes_or_no_labels():
    x, y = texts()
    model = zoo.recipe("plain").compile(text_net())
    with pytest.raises(DataError, match=r"labels are outside 0..1, the first at index"):
        model.fit(x, y + 1, verbose=0)
    with pytest.raises(DataError, match=r"Received: \(24, 2\).*has 1 outputs"):
        model.fit(x, np.eye(2)[y], verbose=0)
    for good in (y, y[:, None], y.astype(bool), y.astype("float32"), y * 0.5 + 0.25):
        model = zoo.recipe("plain").compile(linear_net(6))
        assert np.isfinite(model.fit(x.astype("float32"), good, verbose=0).history["loss"][0])


def test_class_numbers_and_targets_train_alike():
    x, y = images()
    losses = []
    for labels in (y, y[:, None], y.astype("float64"), np.eye(3, dtype="float32")[y]):
        keras.utils.set_random_seed(0)
        model = zoo.recipe("focal+label_smoothing").compile(image_net(drop_rate=0.0))
        losses.append(model.fit(x, labels, batch_size=8, shuffle=False, verbose=0).history["loss"][0])
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)


def test_whole_number_inputs_to_fgsm():
    x, y = images()
    model = zoo.recipe("fgsm").compile(image_net())
    with pytest.raises(InvalidArgument, match=r"fgsm needs inputs of a floating type. Received: \['uint8'\].*astype"):
        model.fit((x * 255).astype("uint8"), y, verbose=0)


def test_a_model_without_a_zoo_spec_needs_a_task():
    image = keras.Input((4,))
    own = keras.Model(image, keras.layers.Dense(3, name="logits")(image), name="own")
    with pytest.raises(InvalidArgument, match="'own' does not say which zoo builder made it"):
        zoo.recipe("plain").compile(own)
    attach(own, Spec("own", {}, "regression"))
    with pytest.raises(InvalidArgument, match="no task named 'regression'"):
        zoo.recipe("plain").compile(own)
