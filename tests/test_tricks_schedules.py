"""Schedules step by step, averages, snapshots, early stopping, freezing and the range test: formulas, fits, resumes."""

import itertools
import math

import keras
import numpy as np
import pytest
from keras import layers, ops
from nets import image_net, images, linear_net, numpy_weights, register_switch_net

import zoo
from zoo.averages import averaged_weights
from zoo.batch_statistics import batch_norms, examples_of, update_batch_norm
from zoo.cli import main
from zoo.compiled import ZooModel
from zoo.data import from_arrays
from zoo.errors import Conflict, InvalidArgument, RecipeWarning, UnknownName
from zoo.rate_finding import RateSearch, draw_rates, found_rates, smooth
from zoo.runs import Run
from zoo.session import Session
from zoo.snapshots import snapshot_models, snapshots_of
from zoo.spec import Spec, attach
from zoo.tricks.cosine import CosineDecay
from zoo.tricks.cyclic import CyclicCosine
from zoo.tricks.early_stopping import StopEarly
from zoo.tricks.gradual_unfreeze import groups_of
from zoo.tricks.lr_finder import ExponentialRise
from zoo.tricks.one_cycle import OneCycle
from zoo.tricks.polynomial import PolynomialDecay
from zoo.tricks.snapshot import EqualCycles, cycle_ends
from zoo.tricks.step import StepDecay
from zoo.tricks.swa import ConstantFrom, averaged_epochs
from zoo.tricks.warmup import LinearWarmup
from zoo.weights import load_state

BACKEND = keras.backend.backend()


def to_numpy(x):
    return np.asarray(ops.convert_to_numpy(x))


def rates(schedule, steps, *, steps_per_epoch, epochs, start=0):
    schedule.bind(steps_per_epoch=steps_per_epoch, epochs=epochs, start=start)
    return to_numpy(schedule(ops.convert_to_tensor(list(steps), "int32")))


# Schedules


def np_one_cycle(step, total, rise, start, final, shape):
    """Straight lines, or half cosines, through the four corners of the card."""
    corners = [(0.0, start), (rise * total - 1, 1.0), (2 * rise * total - 2, start), (total - 1.0, final)]
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        if step <= x1:
            through = (step - x0) / (x1 - x0)
            through = (1 - math.cos(math.pi * through)) / 2 if shape == "cosine" else through
            return y0 + (y1 - y0) * through
    return final


@pytest.mark.parametrize("shape", ["linear", "cosine"])
@pytest.mark.parametrize(("rise", "start", "final"), [(0.45, 0.1, 1e-3), (0.25, 0.04, 0.0), (0.5, 1.0, 0.5)])
def test_one_cycle_rises_falls_and_falls_far(rise, start, final, shape):
    found = rates(OneCycle(0.3, rise, start, final, shape), range(62), steps_per_epoch=12, epochs=5)
    wanted = [0.3 * np_one_cycle(s, 60, rise, start, final, shape) for s in range(62)]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(found[59:], 0.3 * final, atol=1e-7)  # from the last step on


@pytest.mark.torch
def test_the_schedules_are_those_of_pytorch():
    import torch

    def theirs(make, steps=60):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.4)
        schedule, found = make(optimizer), []
        for _ in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        return found

    schedulers = torch.optim.lr_scheduler

    def cycle(optimizer, anneal, start, final, rise):
        numbers = {"pct_start": rise, "div_factor": 1 / start, "final_div_factor": start / final}
        return schedulers.OneCycleLR(
            optimizer, 0.4, 61, anneal_strategy=anneal, cycle_momentum=False, three_phase=True, **numbers
        )

    for schedule, make, steps in (
        (OneCycle(0.4, 0.45, 0.1, 1e-3), lambda o: cycle(o, "linear", 0.1, 1e-3, 0.45), 61),
        (OneCycle(0.4, 0.3, 0.04, 1e-4, "cosine"), lambda o: cycle(o, "cos", 0.04, 1e-4, 0.3), 61),
        (StepDecay(0.4, (2, 5, 9), 0.2), lambda o: schedulers.MultiStepLR(o, [12, 30, 54], 0.2), 60),
        (StepDecay(0.4, (0.5, 0.75)), lambda o: schedulers.MultiStepLR(o, [30, 45], 0.1), 60),
        (PolynomialDecay(0.4), lambda o: schedulers.PolynomialLR(o, 60), 60),
        (PolynomialDecay(0.4, 0.9), lambda o: schedulers.PolynomialLR(o, 60, 0.9), 60),
    ):
        found = rates(schedule, range(60), steps_per_epoch=steps, epochs=1)
        if schedule.spans_warmup:  # milestones in epochs of six steps
            found = rates(schedule, range(60), steps_per_epoch=6, epochs=10)
        np.testing.assert_allclose(found, theirs(make), rtol=1e-4, atol=1e-6, err_msg=str(schedule.get_config()))


@pytest.mark.parametrize(("power", "final"), [(1.0, 0.0), (0.5, 0.1), (3.0, 0.5)])
def test_polynomial_is_keras_and_its_formula(power, final):
    found = rates(PolynomialDecay(0.3, power, final), range(45), steps_per_epoch=10, epochs=4)
    theirs = keras.optimizers.schedules.PolynomialDecay(0.3, 40, 0.3 * final, power)
    np.testing.assert_allclose(found, [float(theirs(s)) for s in range(45)], rtol=1e-5, atol=1e-8)
    wanted = [0.3 * (final + (1 - final) * (1 - min(s, 40) / 40) ** power) for s in range(45)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("share", [1 / 3, 0.1, 0.7, 0.999])
@pytest.mark.parametrize("steps", [7, 30, 1000, 390 * 200])
def test_a_milestone_is_met_at_its_step(share, steps):
    first = math.ceil(share * steps - 1e-6)
    found = rates(StepDecay(1.0, (share,)), [0, first - 1, first, steps - 1], steps_per_epoch=steps, epochs=1)
    np.testing.assert_allclose(found, [0.1 if s >= first else 1.0 for s in (0, first - 1, first, steps - 1)], rtol=1e-6)


def test_milestones_count_from_the_start_and_other_decays_from_the_end_of_a_warmup():
    found = rates(LinearWarmup(StepDecay(1.0, (2, 3)), 1.0), range(20), steps_per_epoch=5, epochs=4)
    wanted = [(s + 1) / 5 for s in range(5)] + [1.0] * 5 + [0.1] * 5 + [0.01] * 5
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    found = rates(LinearWarmup(PolynomialDecay(1.0), 1.0), range(20), steps_per_epoch=5, epochs=4)
    wanted = [(s + 1) / 5 if s < 5 else 1 - (s - 5) / 15 for s in range(20)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    found = rates(LinearWarmup(OneCycle(1.0), 1.0), range(5, 20), steps_per_epoch=5, epochs=4)
    wanted = [np_one_cycle(s, 15, 0.45, 0.1, 1e-3, "linear") for s in range(15)]
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


@pytest.mark.parametrize("cycles", [1, 2, 5])
def test_equal_cycles_are_equation_2(cycles):
    found = rates(EqualCycles(0.2, cycles), range(60), steps_per_epoch=6, epochs=10)
    length = math.ceil(60 / cycles)
    wanted = [0.1 * (math.cos(math.pi * (s % length) / length) + 1) for s in range(60)]  # t counts from 1 in the paper
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_the_range_test_rises_by_one_factor():
    found = rates(ExponentialRise(1e-6, 10.0), range(90), steps_per_epoch=30, epochs=3)
    np.testing.assert_allclose(found, np.geomspace(1e-6, 10.0, 90), rtol=1e-4)


def test_a_constant_rate_follows_from_a_share_of_the_fit_on():
    found = rates(ConstantFrom(CosineDecay(1.0), 0.6, 0.05), range(20), steps_per_epoch=5, epochs=4)
    wanted = [0.5 * (1 + math.cos(math.pi * s / 20)) if s < 12 else 0.05 for s in range(20)]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


ALL = [
    OneCycle(0.3, 0.4, 0.2, 0.01, "cosine"),
    StepDecay(0.3, (1, 2), 0.5),
    PolynomialDecay(0.3, 2.0, 0.1),
    EqualCycles(0.3, 3),
    ExponentialRise(1e-4, 1.0),
    ConstantFrom(LinearWarmup(StepDecay(0.3, (1, 2)), 0.5), 0.5, 0.01),
]


@pytest.mark.parametrize("schedule", ALL, ids=lambda s: type(s).__name__)
def test_schedules_survive_serialisation(schedule):
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    bound = {"steps_per_epoch": 7, "epochs": 3}
    np.testing.assert_array_equal(rates(again, range(22), **bound), rates(schedule, range(22), **bound))


@pytest.mark.parametrize("text", ["one_cycle", "step", "polynomial", "snapshot", "lr_finder", "warmup+one_cycle"])
def test_unknown_steps_per_epoch_are_refused_before_training(text):
    model = zoo.recipe(text).compile(linear_net())
    before = numpy_weights(model)

    def stream():
        while True:
            yield np.ones((8, 4), "float32"), np.ones((8, 1), "float32")

    with pytest.raises(InvalidArgument, match="needs to know how many steps an epoch has"):
        model.fit(stream(), epochs=2, verbose=0)
    for a, b in zip(before, numpy_weights(model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("step(milestones=(1, 30))", r"step\(milestones=\(1, 30\)\): 30 is not within this fit, epochs=2"),
        ("cyclic(epochs=5)", r"cyclic\(epochs=5\) is longer than this fit, epochs=2"),
        ("cyclic(epochs=2)+warmup(epochs=1)", r"cyclic\(epochs=2\) is longer than this fit, epochs=1"),
        ("snapshot(cycles=4)", r"snapshot\(cycles=4\) has cycles of less than an epoch in this fit, epochs=2"),
        ("early_stopping(metric='loss')", r"early_stopping\(patience=5\) cannot stop this fit, epochs=2"),
        ("swa", r"swa\(start=0.75, every=1\) averages one epoch of this fit, epochs=2"),
        ("swa(learning_rate=0.1)+step(milestones=(9,))", r"9 is not within this fit"),
    ],
)
def test_durations_that_do_not_fit_are_said(text, said):
    x, y = images(8)
    with pytest.warns(UserWarning, match=said):
        zoo.recipe(text).compile(linear_net(4, 3)).fit(x[:, 0, :2, :].reshape(8, 4), y, epochs=2, verbose=0)


def test_a_thaw_later_than_the_fit_is_said():
    model = zoo.recipe("gradual_unfreeze(epochs_per_group=3)").compile(image_net())
    with pytest.warns(RecipeWarning, match="trains the whole model from epoch 4 on, and this fit has epochs=1"):
        model.fit(*images(8), epochs=1, verbose=0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("one_cycle(rise=0.6)", "`rise` must be in"),
        ("one_cycle(start=0)", "`start` must be in"),
        ("one_cycle(final=0.5)", "`final` must be from 0 to `start`, 0.1"),
        ("one_cycle(shape='round')", "must be 'linear' or 'cosine'"),
        ("step(milestones=())", "must be positive and increasing"),
        ("step(milestones=(30, 10))", "must be positive and increasing"),
        ("step(milestones=(0.5, 30))", "mix shares of the fit, below 1, with epochs"),
        ("step(gamma=1)", "`gamma` must be between 0 and 1"),
        ("polynomial(power=0)", "`power` must be positive"),
        ("polynomial(final=1)", "`final` must be in"),
        ("swa(start=1)", "`start` must be in"),
        ("swa(every=0)", "`every` must be at least 1"),
        ("swa(learning_rate=0)", "`learning_rate` must be positive"),
        ("snapshot(cycles=0)", "`cycles` must be at least 1"),
        ("early_stopping(patience=0)", "`patience` must be at least 1"),
        ("early_stopping(min_delta=-1)", "`min_delta` must be 0 or more"),
        ("gradual_unfreeze(epochs_per_group=0)", "`epochs_per_group` must be at least 1"),
        ("gradual_unfreeze(groups=1)", "`groups` must be at least 2"),
        ("lr_finder(low=1, high=0.1)", "`low` must be above 0 and below `high`"),
    ],
)
def test_bad_arguments_are_refused(text, said):
    with pytest.raises(InvalidArgument, match=said):
        zoo.recipe(text)


@pytest.mark.parametrize("second", ["cosine", "step", "polynomial", "one_cycle", "lr_finder", "snapshot(cycles=2)"])
def test_one_decay_at_a_time(second):
    with pytest.raises(Conflict, match="both set the decay"):
        zoo.recipe(f"cyclic+{second}").compile(linear_net())


def test_one_average_at_a_time():
    with pytest.raises(Conflict, match="ema and swa both set the average"):
        zoo.recipe("ema+swa").compile(linear_net())


# Stochastic weight averaging


class Watch(keras.callbacks.Callback):
    """Keeps the weights after each step and epoch, and in each validation."""

    def __init__(self):
        super().__init__()
        self.steps, self.epochs, self.validated = [], [], []

    def on_train_batch_end(self, batch, logs=None):
        if BACKEND == "jax":
            self.model.jax_state_sync()
        self.steps.append(numpy_weights(self.model))

    def on_test_batch_begin(self, batch, logs=None):
        self.validated.append(numpy_weights(self.model))

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(numpy_weights(self.model))


def linear_data(n=24, features=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, features)).astype("float32"), rng.integers(0, 2, n).astype("int32")


def test_the_epochs_that_are_averaged():
    assert list(averaged_epochs(0.75, 1, 20)) == [14, 15, 16, 17, 18, 19]  # algorithm 1 begins with the start's weights
    assert list(averaged_epochs(0.5, 1, 4)) == [1, 2, 3]
    assert list(averaged_epochs(0.0, 2, 6)) == [0, 2, 4]
    assert list(averaged_epochs(0.9, 1, 3)) == [2]


@pytest.mark.parametrize("validates", [True, False])
def test_swa_validates_and_ends_with_the_mean(validates):
    x, y = linear_data()
    model = zoo.recipe("swa(start=0.4)+sgd(learning_rate=0.5)").compile(linear_net())
    for _ in range(2):  # the second fit averages anew
        watch = Watch()
        checked = {"validation_data": (x, y), "validation_batch_size": 24} if validates else {}
        history = model.fit(x, y, batch_size=8, epochs=5, verbose=0, callbacks=[watch], **checked)
        for epoch in range(5):
            for found, raw in zip(watch.epochs[epoch], watch.steps[3 * epoch + 2], strict=True):
                np.testing.assert_array_equal(found, raw)  # training goes on from the very weights it had
        means = [[np.mean(w, 0) for w in zip(*watch.epochs[1 : e + 1], strict=True)] for e in range(1, 5)]
        for epoch, weights in enumerate(watch.validated):
            wanted = means[epoch - 1] if epoch else watch.epochs[0]
            for found, mean in zip(weights, wanted, strict=True):
                np.testing.assert_allclose(found, mean, rtol=1e-5, atol=1e-7)
        for found, mean in zip(numpy_weights(model), means[-1], strict=True):
            np.testing.assert_allclose(found, mean, rtol=1e-5, atol=1e-7)
        if validates:
            last = history.history["val_loss"][-1]
            np.testing.assert_allclose(model.evaluate(x, y, verbose=0)[0], last, rtol=1e-5)


def stacked_net():
    """Returns two batch norms one after the other, features (B, 4) -> logits (B, 3), with dropout between."""
    features = x = keras.Input((4,), name="features")
    for i in (1, 2):
        x = layers.Dense(5, name=f"dense{i}")(x)
        x = layers.BatchNormalization(name=f"norm{i}", momentum=0.9)(x)
        x = layers.Activation("tanh", name=f"tanh{i}")(x)
        x = layers.Dropout(0.5, name=f"drop{i}")(x)
    model = keras.Model(features, layers.Dense(3, name="logits")(x), name="stacked")
    return attach(model, Spec("stacked", {}, "image_classification"))


def np_statistics(model, x, batch_size):
    """Walks the batches through `stacked_net` in float64; returns mean and variance of both norms."""
    found = np.zeros((4, 5))
    for start in range(0, len(x), batch_size):
        h = batch = x[start : start + batch_size].astype("float64")
        for i in (1, 2):
            kernel, bias = (np.asarray(w, "float64") for w in model.get_layer(f"dense{i}").get_weights())
            gamma, beta = (np.asarray(w, "float64") for w in model.get_layer(f"norm{i}").get_weights()[:2])
            h = h @ kernel + bias
            mean, variance = h.mean(0), h.var(0)
            found[2 * i - 2] += len(batch) * mean
            found[2 * i - 1] += len(batch) * variance
            h = np.tanh((h - mean) / np.sqrt(variance + 1e-3) * gamma + beta)
    return found / len(x)


def statistics_of(model):
    return np.array([w for i in (1, 2) for w in model.get_layer(f"norm{i}").get_weights()[2:]])


@pytest.mark.parametrize("kind", ["array", "dataset", "pydataset"])
def test_batch_norm_statistics_are_those_of_the_data(kind):
    model, x = stacked_net(), linear_data(22)[0]
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in model.get_weights()])
    before = numpy_weights(model)
    data = x
    if kind == "dataset":
        tf = pytest.importorskip("tensorflow")
        data = tf.data.Dataset.from_tensor_slices((x, np.zeros(22))).batch(8)
    elif kind == "pydataset":

        class Batches(keras.utils.PyDataset):
            num_batches = 3

            def __getitem__(self, i):
                return x[8 * i : 8 * i + 8], np.zeros(len(x[8 * i : 8 * i + 8]))

        data = Batches()
    update_batch_norm(model, data, batch_size=8)
    np.testing.assert_allclose(statistics_of(model), np_statistics(model, x, 8), rtol=2e-5, atol=1e-6)
    update_batch_norm(model, data, batch_size=8)  # not one step of a moving average, and no dropout
    np.testing.assert_allclose(statistics_of(model), np_statistics(model, x, 8), rtol=2e-5, atol=1e-6)
    assert model.get_layer("norm1").momentum == 0.9
    for a, b, v in zip(before, numpy_weights(model), model.weights, strict=True):
        assert "moving" in v.path or (a == b).all(), v.path


def test_statistics_of_what_does_not_train_stay():
    model, x = stacked_net(), linear_data(16)[0]
    model.get_layer("norm1").trainable = False
    before = statistics_of(model)
    update_batch_norm(model, x)
    np.testing.assert_array_equal(statistics_of(model)[:2], before[:2])
    assert (statistics_of(model)[2:] != before[2:]).any()
    update_batch_norm(linear_net(), x)  # nothing to do
    with pytest.raises(InvalidArgument, match="read only once"):
        update_batch_norm(model, iter([x]))
    with pytest.raises(InvalidArgument, match="at least one batch"):
        update_batch_norm(model, x[:0])


def test_swa_has_batch_norm_statistics_of_its_own():
    x = linear_data(40)[0]
    y = np.arange(40) % 3
    model = zoo.recipe("swa(start=0.5)+sgd(learning_rate=0.3)").compile(stacked_net())
    inside = []
    look = keras.callbacks.LambdaCallback(
        on_test_begin=lambda logs: inside.append((statistics_of(model), np_statistics(model, x[:30], 8)))
    )
    model.fit(x, y, batch_size=8, epochs=4, verbose=0, validation_split=0.25, callbacks=[look])
    for epoch in (1, 2, 3):
        np.testing.assert_allclose(*inside[epoch], rtol=1e-4, atol=1e-5)
    assert not np.allclose(*inside[0], rtol=1e-2)  # nothing is averaged yet: the moving averages of training
    np.testing.assert_allclose(statistics_of(model), np_statistics(model, x[:30], 8), rtol=1e-4, atol=1e-5)


def test_swa_says_what_to_call_where_data_is_read_only_once():
    x = linear_data(16)[0]

    def stream():
        while True:
            yield x[:8], np.arange(8) % 3

    model = zoo.recipe("swa(start=0.5)").compile(stacked_net())
    with pytest.warns(RecipeWarning, match=r"zoo\.batch_statistics\.update_batch_norm\(model, x\)"):
        model.fit(stream(), steps_per_epoch=2, epochs=4, verbose=0)
    update_batch_norm(model, x, 8)
    np.testing.assert_allclose(statistics_of(model), np_statistics(model, x, 8), rtol=1e-4, atol=1e-5)


def test_examples_are_those_that_fit_trains_on():
    x = {"a": np.arange(10.0), "b": np.arange(10.0)[:, None]}
    found = list(examples_of(x, 4, held_out=0.25)())
    assert [len(batch["a"]) for batch in found] == [4, 3]
    np.testing.assert_array_equal(np.concatenate([batch["b"] for batch in found])[:, 0], np.arange(7.0))
    assert examples_of(iter([x]), 4) is None


# Snapshots


def np_ends(lengths, total):
    return [e for e in itertools.accumulate(lengths) if e <= total]


def test_cycles_end_before_the_rate_leaps_up():
    def ends(schedule, steps_per_epoch, epochs, start=0):
        schedule.bind(steps_per_epoch=steps_per_epoch, epochs=epochs, start=start)
        return cycle_ends(schedule, steps_per_epoch * epochs)

    assert ends(EqualCycles(0.1, 5), 6, 10) == [12, 24, 36, 48, 60]
    assert ends(EqualCycles(0.1, 3), 5, 4) == [7, 14, 20]  # cycles of 6 2/3 steps
    assert ends(EqualCycles(0.1, 3), 5, 4, start=100) == [7, 14, 20]  # steps of this fit
    assert ends(CyclicCosine(0.1, 2, 2.0), 4, 20) == np_ends([8, 16, 32, 64], 80)
    assert ends(CyclicCosine(0.1, 1, 1.0), 4, 5) == [4, 8, 12, 16, 20]
    assert ends(LinearWarmup(EqualCycles(0.1, 2), 1.0), 6, 5) == [18, 30]  # the rise is no end
    assert ends(CosineDecay(0.1), 6, 5) == []


@pytest.mark.parametrize(
    ("text", "ends"),
    [("snapshot(cycles=2)", (6, 12)), ("snapshot(cycles=3)+ema", (4, 8, 12)), ("cyclic(epochs=1)+snapshot", (3, 9))],
)
def test_snapshots_are_the_weights_at_the_ends_of_the_cycles(text, ends):
    x, y = linear_data()
    model, watch = zoo.recipe(text).compile(linear_net()), Watch()
    model.fit(x, y, batch_size=8, epochs=4, verbose=0, callbacks=[watch])
    assert len(model.snapshots) == len(ends)
    for snapshot, end in zip(model.snapshots, ends, strict=True):
        for found, wanted in zip(snapshot, watch.steps[end - 1], strict=True):
            np.testing.assert_array_equal(found, wanted)
    members = snapshot_models(model)
    for member, snapshot in zip(members, model.snapshots, strict=True):
        wanted = x @ snapshot[0] + snapshot[1]
        np.testing.assert_allclose(member.predict(x, verbose=0), wanted, rtol=1e-4, atol=1e-5)


def test_snapshots_in_a_run_folder_are_models(tmp_path):
    options = {"epochs": 4, "batch_size": 128, "quiet": True}
    run = zoo.train("softmax", "digits", recipe="snapshot(cycles=2)", out=tmp_path / "run", **options)
    folders = snapshots_of(run)
    assert [f.name for f in folders] == ["1", "2"]
    models = [zoo.load(folder) for folder in folders]
    assert all(m.zoo_spec.labels == run.spec.labels for m in models)
    last = load_state(run.folder / "last.safetensors")[0]
    assert (models[0].get_weights()[0] != models[1].get_weights()[0]).any()
    for i, weights in enumerate(models[1].get_weights()):  # the last cycle ends with the run
        np.testing.assert_array_equal(weights, last[f"model/{i:05d}"])


def test_without_the_end_of_a_cycle_there_is_no_snapshot():
    x, y = linear_data()
    model = zoo.recipe("cyclic(epochs=3)+snapshot").compile(linear_net())
    with pytest.warns(RecipeWarning, match="snapshot saves nothing"):
        model.fit(x, y, batch_size=8, epochs=2, verbose=0)
    with pytest.raises(InvalidArgument, match="keeps no snapshots"):
        snapshot_models(model)


# Early stopping


@pytest.mark.parametrize(("metric", "mode"), [("val_loss", "min"), ("val_accuracy", "max")])
@pytest.mark.parametrize("min_delta", [0.0, 0.2])
@pytest.mark.parametrize("patience", [1, 3])
def test_early_stopping_is_that_of_keras(metric, mode, patience, min_delta):
    model = linear_net()
    for seed in range(10):
        values = np.random.default_rng(seed).random(30)
        theirs = keras.callbacks.EarlyStopping(metric, min_delta, patience, mode=mode)
        ours = StopEarly(metric, patience, min_delta)
        for callback in (theirs, ours):
            callback.set_model(model)
            callback.set_params({"verbose": 0, "epochs": 30})
            model.stop_training = False
            callback.on_train_begin()
            for epoch, value in enumerate(values):
                callback.on_epoch_end(epoch, {metric: value})
                if model.stop_training:
                    break
            callback.ended = epoch
        assert ours.ended == theirs.ended
        assert ours.best_epoch == theirs.best_epoch + 1
        assert ours.best == theirs.best
        again = StopEarly(metric, patience, min_delta)
        again.restore([{"epoch": e + 1, metric: v} for e, v in enumerate(values[: ours.ended + 1])])
        assert (again.finished, again.reason, again.waited) == (ours.finished, ours.reason, ours.waited)


@pytest.mark.filterwarnings("ignore::zoo.errors.RecipeWarning")
@pytest.mark.parametrize("average", ["", "+swa(start=0)", "+ema(momentum=0.5)"])
def test_early_stopping_leaves_the_best_weights_averaged_ones_too(average):
    x, y = linear_data()
    keras.utils.set_random_seed(0)  # from some first weights validation improves to the end
    model = zoo.recipe(f"early_stopping(patience=2)+sgd(learning_rate=0.5){average}").compile(linear_net())
    checked = {"validation_data": (x, 1 - y), "validation_batch_size": 24}  # what training learns makes it worse
    history = model.fit(x, y, batch_size=8, epochs=12, verbose=0, **checked).history["val_loss"]
    assert len(history) == 3 + int(np.argmin(history)) < 12
    np.testing.assert_allclose(model.evaluate(x, 1 - y, verbose=0)[0], min(history), rtol=1e-5)


def test_early_stopping_names_a_metric_that_is_not_there():
    x, y = linear_data()
    model = zoo.recipe("early_stopping").compile(linear_net())
    with pytest.raises(UnknownName, match=r"no metric of this fit named 'val_loss'.*validation_data"):
        model.fit(x, y, verbose=0)


def test_early_stopping_waits_for_the_whole_of_what_the_recipe_asks_for():
    callback = StopEarly("val_loss", patience=2, unripe=3)
    rows = [{"epoch": e, "val_loss": v} for e, v in enumerate([0.1, 0.2, 0.3, 0.9, 0.8, 0.85, 0.85], start=1)]
    callback.restore(rows[:6])
    assert (callback.best, callback.best_epoch, callback.finished) == (0.8, 5, False)
    callback.restore(rows[6:])
    assert callback.finished
    x, y = linear_data()
    recipe = "early_stopping(metric='loss', min_delta=10.0, patience=2)+sgd+pgd(steps=1, epsilon=0.5, ramp=3)"
    model = zoo.recipe(recipe).compile(linear_net())
    watch = Watch()
    model.fit(x, y, batch_size=24, epochs=8, verbose=0, callbacks=[watch])
    assert len(watch.epochs) == 6  # epoch 4 is the first that has the whole epsilon, and none is as much better
    for found, kept in zip(numpy_weights(model), watch.epochs[3], strict=True):
        np.testing.assert_array_equal(found, kept)
    (cannot,) = [line for line in model.complaints(24, 1, 5) if "early_stopping" in line]
    assert cannot == "early_stopping(patience=2) cannot stop this fit, epochs=5, before whose epoch 4 it does not look"
    assert not [line for line in model.complaints(24, 1, 6) if "early_stopping" in line]


@pytest.mark.filterwarnings("ignore::zoo.errors.RecipeWarning")
def test_early_stopping_passes_over_epochs_that_do_not_validate():
    x, y = linear_data()
    for checked in ({"validation_data": (x, y)}, {"validation_split": 0.5}):
        model = zoo.recipe("early_stopping(min_delta=10.0, patience=2)").compile(linear_net())
        history = model.fit(x, y, epochs=10, verbose=0, validation_freq=2, **checked).history
        assert len(history["val_loss"]) == 3
        assert len(history["loss"]) == 6
    model = zoo.recipe("early_stopping(metric='val_los')").compile(linear_net())
    with pytest.raises(UnknownName, match="Did you mean 'val_loss'"):
        model.fit(x, y, epochs=2, verbose=0, validation_freq=2, validation_data=(x, y))


def test_a_run_that_stopped_early_is_finished_and_says_why(tmp_path, capfd):
    recipe = "early_stopping(min_delta=10.0, patience=2)"
    options = {"recipe": recipe, "epochs": 6, "batch_size": 128, "out": tmp_path / "run"}
    run = zoo.train("softmax", "digits", **options)
    assert run.status == "finished"
    assert len(run.history) == 3
    assert "early_stopping: stopped after epoch 3, as val_loss was" in capfd.readouterr().out
    again = zoo.train("softmax", "digits", resume=True, **options)
    assert again.history == run.history


# Freezing


def test_groups_thaw_from_the_head_down():
    model = zoo.recipe("gradual_unfreeze(epochs_per_group=2)+adam(weight_decay=0.1)").compile(stacked_net())
    of, count = groups_of(model)
    assert count == 3
    assert [of[f"{name}/kernel"] for name in ("dense1", "dense2", "logits")] == [0, 1, 2]
    assert set(of) == {v.path for v in model.trainable_variables}
    x, y = linear_data(24)[0], np.arange(24) % 3
    for _ in range(2):  # a second fit begins with the head again
        watch, start = Watch(), numpy_weights(model)
        model.fit(x, y, batch_size=8, epochs=6, verbose=0, callbacks=[watch])
        paths = [v.path for v in model.weights]
        seen = [dict(zip(paths, weights, strict=True)) for weights in (start, *watch.epochs)]
        for epoch in range(6):
            frozen = 2 - epoch // 2
            for path, group in of.items():
                same = (seen[epoch][path] == seen[epoch + 1][path]).all()
                assert same == (group < frozen), (epoch, path)


def test_thawing_traces_nothing_anew(monkeypatch):
    if BACKEND == "torch":
        pytest.skip("PyTorch does not trace")
    calls = []
    loss = ZooModel.compute_loss
    monkeypatch.setattr(ZooModel, "compute_loss", lambda self, *a, **k: calls.append(1) or loss(self, *a, **k))
    model = zoo.recipe("gradual_unfreeze").compile(image_net())
    x, y = images(16)
    model.fit(x, y, batch_size=8, epochs=1, verbose=0)
    first = len(calls)
    model.fit(x, y, batch_size=8, epochs=3, verbose=0)
    assert len(calls) == first


def test_depths_join_into_as_many_groups_as_asked():
    of, count = groups_of(stacked_net(), 2)
    assert count == 2
    assert {of["dense1/kernel"], of["dense2/kernel"]} == {0}
    assert of["logits/kernel"] == 1
    with pytest.raises(InvalidArgument, match="has only 3 groups of layers"):
        zoo.recipe("gradual_unfreeze(groups=4)").compile(stacked_net())
    with pytest.raises(InvalidArgument, match="finds no layers below the head"):
        zoo.recipe("gradual_unfreeze").compile(linear_net())


@pytest.mark.parametrize("affine", [False, True])
def test_frozen_batch_norm_keeps_its_statistics_and_uses_them(affine):
    net = image_net(drop_rate=0.0)
    rng = np.random.default_rng(0)
    [norm] = batch_norms(net)
    norm.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in norm.get_weights()])
    x, y = images()
    model = zoo.recipe(f"freeze_bn(affine={affine})+sgd(learning_rate=0.1)").compile(net)
    before, names = [np.array(w) for w in norm.get_weights()], [v.name for v in norm.weights]
    inference = model.evaluate(x, y, verbose=0)[0]
    history = model.fit(x, y, batch_size=len(x), epochs=2, verbose=0)
    np.testing.assert_allclose(history.history["loss"][0], inference, rtol=1e-5)  # no statistics of the batch
    for name, old, new in zip(names, before, norm.get_weights(), strict=True):
        assert (old == new).all() == (affine or name.startswith("moving")), name
    np.testing.assert_array_equal(model.get_layer("logits").trainable, True)
    with pytest.raises(InvalidArgument, match="freeze_bn finds no batch norm"):
        zoo.recipe("freeze_bn").compile(linear_net())


def test_swa_keeps_frozen_statistics():
    net = image_net()
    [norm] = batch_norms(net)
    before = [np.array(w) for w in norm.get_weights()[2:]]
    model = zoo.recipe("freeze_bn+swa(start=0)").compile(net)
    model.fit(*images(16), batch_size=8, epochs=2, verbose=0)
    for old, new in zip(before, norm.get_weights()[2:], strict=True):
        np.testing.assert_array_equal(old, new)


# The range test


def logistic_losses(weights, x, y, rates, batch_size):
    """Steps of SGD without momentum at given rates in float64; returns the loss of each step before it."""
    w, b = (v.astype("float64") for v in weights)
    losses = []
    for i, rate in enumerate(rates):
        at = (i * batch_size) % len(x)
        u, t = x[at : at + batch_size].astype("float64"), y[at : at + batch_size].astype("float64")
        z = (u @ w + b)[:, 0]
        losses.append(np.mean(np.logaddexp(0, z) - t * z))
        slope = (1 / (1 + np.exp(-z)) - t) / len(u)
        w, b = w - rate * (u.T @ slope)[:, None], b - rate * slope.sum()
    return losses


def test_the_range_test_records_the_loss_of_each_step_and_puts_the_weights_back():
    x, y = linear_data()
    net = linear_net()
    model = zoo.recipe("lr_finder(low=1e-4, high=2.0)+sgd(learning_rate=0.5, momentum=0.0)").compile(net)
    before = numpy_weights(model)
    model.fit(x, y, batch_size=8, epochs=10, shuffle=False, verbose=0)
    found, expected = model.rates_found, np.geomspace(1e-4, 2.0, 30)
    assert not found.diverged
    np.testing.assert_allclose(found.rates, expected, rtol=1e-4)
    np.testing.assert_allclose(found.losses, logistic_losses(before, x, y, expected, 8), rtol=2e-4)
    for a, b in zip(before, numpy_weights(model), strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(model.optimizer.iterations) == 0


def test_the_range_test_ends_where_the_loss_diverges():
    x, y = linear_data()
    model = zoo.recipe("lr_finder(high=1e30)+sgd(momentum=0.0)").compile(linear_net())
    before = numpy_weights(model)
    model.fit(x, y, batch_size=8, epochs=20, verbose=0, validation_data=(x, y))
    assert model.rates_found.diverged
    assert len(model.rates_found.rates) < 60
    assert "where the loss diverged" in str(model.rates_found)
    for a, b in zip(before, numpy_weights(model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("other", ["ema", "swa", "early_stopping"])
def test_the_range_test_is_refused_beside_what_would_undo_it(other):
    with pytest.raises(Conflict, match=rf"lr_finder.* and {other} .*Keep one of them: write `-{other}`"):
        zoo.recipe(f"lr_finder+{other}").compile(linear_net())


def valley(steps=200, noise=0.0):
    """Returns rates and a loss that falls fastest at 1e-3 and is lowest at 1e-1."""
    rates = np.geomspace(1e-7, 1.0, steps)
    x = np.log10(rates)
    losses = 2.3 - 2.0 / (1 + np.exp(-3.0 * (x + 3))) + np.where(x > -1, (x + 1) ** 2 * 5, 0.0)
    return rates, losses + noise * np.random.default_rng(0).normal(size=steps)


def searched(rates, losses):
    search = RateSearch()
    for rate, loss in zip(rates, losses, strict=True):
        if search.add(rate, loss):
            break
    return search


def test_smoothing_is_a_least_squares_line_in_each_neighbourhood():
    rates, losses = valley(100, noise=0.1)
    middles, slopes = smooth(rates, losses)
    for i in range(5, 95):
        near = slice(i - 5, i + 6)
        slope, middle = np.polyfit(np.log(rates[near]) - np.log(rates[i]), losses[near], 1)
        np.testing.assert_allclose((slopes[i], middles[i]), (slope, middle), rtol=1e-6, atol=1e-9)
    assert np.isnan(middles[:5]).all() and np.isnan(middles[95:]).all()  # noqa: PT018 - one fact about both ends


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_suggestion_is_where_the_loss_falls_fastest(noise, tmp_path):
    found = found_rates(searched(*valley(noise=noise)))
    assert 0.5e-3 < found.suggested < 2e-3
    assert 0.3e-1 < found.lowest < 2e-1
    assert f"{found.lowest / 10:.2g}" in str(found)
    path = draw_rates(found, tmp_path / "picture.png", title="a valley")
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_no_rate_is_suggested_where_the_loss_never_falls(tmp_path):
    rates = np.geomspace(1e-7, 1.0, 100)
    noise = np.random.default_rng(0).normal(size=100)
    for losses in (2.0 + 0.1 * noise, np.linspace(1.0, 3.0, 100), np.full(100, np.nan)):
        found = found_rates(searched(rates, losses))
        assert found.suggested is None
        assert "no learning rate is suggested" in str(found)
        draw_rates(found, tmp_path / "picture.png", title="nothing")


def test_divergence_is_four_times_the_lowest_running_mean():
    search = RateSearch()
    assert not any(search.add(0.1, loss) for loss in [1.0] * 30)
    assert not search.add(0.1, 29.0)  # the mean of nine tenths of 1 and a tenth of this is below 4
    assert search.add(0.1, 100.0)
    assert RateSearch().add(0.1, math.nan)
    assert RateSearch().add(0.1, math.inf)


def test_finding_a_rate_leaves_a_model_as_it_was(tmp_path):
    register_switch_net()
    data, model = from_arrays(*images(60)), zoo.build("switch_net")
    before = numpy_weights(model)
    recipe = "cosine+warmup+ema+early_stopping+focal+radam"
    found = zoo.find_learning_rate(model, data, recipe=recipe, steps=40, out=tmp_path / "rates.png")
    assert found.picture == tmp_path / "rates.png"
    assert found.picture.stat().st_size > 10_000
    assert len(found.rates) <= 40
    for a, b in zip(before, numpy_weights(model), strict=True):
        np.testing.assert_array_equal(a, b)
    again = zoo.find_learning_rate(model, data, recipe=recipe, steps=40)
    np.testing.assert_array_equal(found.losses, again.losses)  # the seed decides
    with pytest.raises(InvalidArgument, match="`steps` must be at least 20"):
        zoo.find_learning_rate(model, data, steps=3)


def test_the_command_suggests_a_rate(tmp_path, capsys):
    picture = tmp_path / "rates.png"
    words = ["find-lr", "softmax", "--data", "digits", "--recipe", "sgd+cosine", "--steps", "60", "--out", str(picture)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert said.startswith("suggested learning rate ")
    assert str(picture) in said
    assert picture.is_file()
    assert main(["find-lr", "softmax", "--data", "digts"]) != 0
    assert "Did you mean 'digits'" in capsys.readouterr().err


def test_in_a_run_the_range_test_leaves_a_picture(tmp_path, capfd):
    options = {"epochs": 2, "batch_size": 64, "out": tmp_path / "run"}
    run = zoo.train("softmax", "digits", recipe="lr_finder(high=1e20)+sgd", **options)
    assert run.status == "finished"  # although the loss became infinite
    assert (run.folder / "lr_finder.png").is_file()
    assert "suggested" in capfd.readouterr().out


@pytest.mark.parametrize(("high", "epochs"), [(1e20, 1), (1e20, 3), (1e-3, 2)])
def test_a_run_whose_range_test_has_ended_is_resumed_to_its_end(high, epochs, tmp_path, monkeypatch):
    options = {"recipe": f"lr_finder(high={high})+sgd", "epochs": epochs, "batch_size": 64, "quiet": True}

    def interrupted(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Session, "finish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            zoo.train("softmax", "digits", out=tmp_path / "run", **options)
    fitted = Run(tmp_path / "run").history
    for _ in range(2):  # the second time a finished run
        run = zoo.train("softmax", "digits", resume=True, out=tmp_path / "run", **options)
        assert run.status == "finished"
        assert run.history == fitted


# Going on after a stop


RECIPES = [
    "swa(start=0.4, learning_rate=0.01)+warmup(epochs=1)+polynomial+dropout(rate=0.2)",
    "snapshot(cycles=2)+gradual_unfreeze+flip_crop(pad=1)",
    "early_stopping(min_delta=10.0, patience=3)+one_cycle+freeze_bn(affine=True)",
    "step(milestones=(0.3, 0.6))+ema+gradual_unfreeze(groups=2, epochs_per_group=2)",
]


@pytest.mark.filterwarnings("ignore::zoo.errors.RecipeWarning")
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_stopped_run_ends_as_if_it_had_not_been(recipe, tmp_path, monkeypatch):
    register_switch_net()
    data = from_arrays(*images(60))
    options = {"recipe": recipe, "epochs": 5, "batch_size": 12, "seed": 3, "quiet": True}
    whole = zoo.train("switch_net", data, out=tmp_path / "whole", **options)
    keep = Session.keep

    def interrupted(self, epoch, *rest):
        keep(self, epoch, *rest)
        if epoch + 1 in (2, 3) and not (tmp_path / f"stopped{epoch}").exists():
            (tmp_path / f"stopped{epoch}").touch()
            raise KeyboardInterrupt

    monkeypatch.setattr(Session, "keep", interrupted)
    for resume in (False, True):
        with pytest.raises(KeyboardInterrupt):
            zoo.train("switch_net", data, out=tmp_path / "run", resume=resume, **options)
    run = zoo.train("switch_net", data, out=tmp_path / "run", resume=True, **options)
    assert (run.folder / "best.safetensors").read_bytes() == (whole.folder / "best.safetensors").read_bytes()
    mine, theirs = (load_state(r.folder / "last.safetensors")[0] for r in (run, whole))
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)
    timeless = [[{k: v for k, v in row.items() if k != "seconds"} for row in r.history] for r in (run, whole)]
    assert timeless[0] == timeless[1]
    assert len(run.history) == (4 if "early" in recipe else 5)
    for one, other in zip(snapshots_of(run), snapshots_of(whole), strict=True):
        assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    assert len(snapshots_of(run)) == (2 if "snapshot" in recipe else 0)


@pytest.mark.parametrize("text", ["swa(start=0)+polynomial", "snapshot(cycles=1)", "one_cycle+freeze_bn", "step"])
def test_a_saved_model_has_its_recipe_and_weights(text, tmp_path):
    model = zoo.recipe(text).compile(image_net())
    x, y = images()
    model.fit(x, y, epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert str(again.recipe) == str(model.recipe)
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    again.fit(x, y, epochs=1, verbose=0)
    with averaged_weights(again):
        assert all(np.isfinite(w).all() for w in again.get_weights())
