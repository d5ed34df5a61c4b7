"""Distillation, weights of heads and sampled losses: formulas against NumPy, one step by hand, saving and resuming."""

import keras
import numpy as np
import pytest
from keras import ops
from nets import forget, heads_net, image_net, images, linear_net, numpy_weights, rows, text_net, texts

import zoo
from zoo import data, sampled, teaching
from zoo.errors import InvalidArgument, RecipeWarning, UnknownName
from zoo.plan import Head
from zoo.registry import register
from zoo.sampled import NoiseClasses, log_probability, sampled_loss
from zoo.spec import Spec, attach
from zoo.tricks.loss_weights import Uncertainty


def to_numpy(x):
    return np.asarray(ops.convert_to_numpy(x), "float64")


def softmax(z):
    p = np.exp(z - z.max(axis=-1, keepdims=True))
    return p / p.sum(axis=-1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def features(n=12, classes=3, seed=0, width=4):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, width)).astype("float32"), rng.integers(0, classes, n).astype("int32")


def one_step(recipe, net, x, y, rate=0.5, **fit):
    """Returns the weights before and after one SGD step of a recipe on all of x, y, float64."""
    before = [w.astype("float64") for w in numpy_weights(net)]
    model = zoo.recipe(f"sgd(learning_rate={rate}, momentum=0.0)+{recipe}").compile(net)
    model.fit(x, y, batch_size=len(x), epochs=1, shuffle=False, verbose=0, **fit)
    return before, [w.astype("float64") for w in numpy_weights(net)], model


# Distillation


@pytest.mark.parametrize("temperature", [1.0, 2.0, 20.0])
def test_soft_target_loss_is_hintons_cross_entropy_less_the_teachers_entropy(temperature):
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(0, 4, (2, 20, 5))
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    wanted = temperature**2 * (-(p * np.log(q)).sum(-1) + (p * np.log(p)).sum(-1))
    found = teaching.soft_target_loss(student.astype("float32"), teacher.astype("float32"), temperature)
    np.testing.assert_allclose(to_numpy(found), wanted, rtol=2e-4, atol=1e-5)
    same = teaching.soft_target_loss(student.astype("float32"), student.astype("float32"), temperature)
    np.testing.assert_allclose(to_numpy(same), 0, atol=1e-4)
    extreme = np.array([[1e4, -1e4], [-1e4, 1e4]], "float32")
    assert np.isfinite(to_numpy(teaching.soft_target_loss(extreme, extreme[::-1].copy(), temperature))).all()


def test_soft_targets_of_one_unit_and_of_independent_ones():
    rng = np.random.default_rng(1)
    student, teacher = rng.normal(0, 2, (2, 9, 3))

    def bernoulli(p, q):
        return p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))

    each = 4.0 * bernoulli(sigmoid(teacher / 2), sigmoid(student / 2))
    found = teaching.soft_target_loss(student.astype("float32"), teacher.astype("float32"), 2.0, independent=True)
    np.testing.assert_allclose(to_numpy(found), each.sum(-1), rtol=1e-4, atol=1e-5)
    one = teaching.soft_target_loss(student[:, :1].astype("float32"), teacher[:, :1].astype("float32"), 2.0)
    np.testing.assert_allclose(to_numpy(one), each[:, 0], rtol=1e-4, atol=1e-5)


def test_answers_of_one_kind_of_head_become_those_of_the_other():
    z = np.random.default_rng(2).normal(0, 3, (7, 4)).astype("float32")
    p = softmax(z.astype("float64"))
    np.testing.assert_allclose(sigmoid(to_numpy(teaching.as_answers(z, False, True))), p, rtol=1e-3, atol=1e-6)
    yes = sigmoid(z.astype("float64"))
    found = softmax(to_numpy(teaching.as_answers(z, True, False)))
    np.testing.assert_allclose(found, yes / yes.sum(-1, keepdims=True), rtol=1e-4)
    assert teaching.as_answers(z, True, True) is z


@pytest.fixture
def linear():
    """Registers `linear`, features (B, 4) -> logits, so that runs and references of it load."""

    @register("linear", task="tabular_classification", variants={"linear": {}})
    def build(*, num_classes: int = 3, num_features: int = 4):
        net = linear_net(num_features, num_classes)
        return keras.Model(net.input, net.output, name="linear")

    yield "linear"
    forget(lambda builder: builder.family == "linear")


@pytest.fixture
def teacher(linear, tmp_path):
    """A saved linear teacher: `(path, kernel, bias)`."""
    model = zoo.build(linear)
    rng = np.random.default_rng(9)
    model.set_weights([rng.normal(0, 2, w.shape) for w in model.get_weights()])
    model.save(tmp_path / "teacher.keras")
    return (str(tmp_path / "teacher.keras"), *[w.astype("float64") for w in numpy_weights(model)])


@pytest.mark.parametrize(("weight", "temperature"), [(0.5, 2.0), (1.0, 5.0), (0.2, 1.0)])
def test_distill_step(weight, temperature, teacher):
    path, kernel, bias = teacher
    x, y = features()
    recipe = f"distill(teacher={path!r}, weight={weight}, temperature={temperature})"
    (w, b), after, model = one_step(recipe, linear_net(num_classes=3), x, y)
    z, t = x @ w + b, x @ kernel + bias
    hard = softmax(z) - np.eye(3)[y]
    soft = temperature * (softmax(z / temperature) - softmax(t / temperature))  # T^2 times 1/T
    error = ((1 - weight) * hard + weight * soft) / len(x)
    np.testing.assert_allclose(after[0], w - 0.5 * x.T @ error, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(after[1], b - 0.5 * error.sum(0), rtol=1e-4, atol=1e-5)
    assert len(model.variables) == 2  # the teacher's weights are none of the student's


def test_distillation_weighs_examples_as_the_labels_loss_does(teacher):
    path, kernel, bias = teacher
    x, y = features()
    weights = np.random.default_rng(4).random(len(x)).astype("float32")
    recipe = f"distill(teacher={path!r}, weight=1.0, temperature=1.0)"
    (w, b), after, _ = one_step(recipe, linear_net(num_classes=3), x, y, sample_weight=weights)
    error = weights[:, None] * (softmax(x @ w + b) - softmax(x @ kernel + bias)) / len(x)
    np.testing.assert_allclose(after[0], w - 0.5 * x.T @ error, rtol=1e-4, atol=1e-5)


def test_a_student_saves_and_loads_without_its_teacher_and_does_not_train_it(teacher, tmp_path):
    path, kernel, _ = teacher
    x, y = features()
    model = zoo.recipe(f"distill(teacher={path!r})").compile(linear_net(num_classes=3))
    model.fit(x, y, epochs=2, verbose=0)
    step = next(f for f in model.plan.before_fit)
    np.testing.assert_array_equal(numpy_weights(step.__self__.model)[0], kernel.astype("float32"))
    traced = model.train_function
    model.fit(x, y, verbose=0)
    assert model.train_function is traced
    model.save(tmp_path / "student.keras")
    (tmp_path / "teacher.keras").unlink()
    again = keras.saving.load_model(tmp_path / "student.keras")
    assert again.recipe == model.recipe
    for ours, theirs in zip(numpy_weights(again), numpy_weights(model), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(OSError, match=r"teacher\.keras"):
        again.fit(x, y, verbose=0)


def test_the_teachers_classes_are_matched_by_name(teacher, linear):
    path, kernel, bias = teacher
    x, y = features()
    student, saved = linear_net(num_classes=3), keras.saving.load_model(path)
    attach(saved, Spec(linear, {}, "tabular_classification", labels=("owl", "cat", "dog")))
    attach(student, student.zoo_spec.but(labels=("cat", "dog", "owl")))
    order = [1, 2, 0]  # where the teacher has the student's classes
    w, b = (v.astype("float64") for v in numpy_weights(student))
    model = zoo.recipe(f"sgd(learning_rate=0.5, momentum=0.0)+distill(teacher={path!r}, weight=1.0, temperature=1.0)")
    model = model.compile(student)
    held = model.plan.before_fit[0].__self__
    held.model, held._spec = saved, saved.zoo_spec
    model.fit(x, y, batch_size=len(x), shuffle=False, verbose=0)
    error = (softmax(x @ w + b) - softmax((x @ kernel + bias)[:, order])) / len(x)
    np.testing.assert_allclose(numpy_weights(student)[0], w - 0.5 * x.T @ error, rtol=1e-4, atol=1e-5)


def test_the_teacher_sees_images_as_it_was_trained_on(tmp_path):
    rng = np.random.default_rng(0)
    raw, y = rng.integers(0, 256, (60, 2, 2, 1)).astype("uint8"), rng.integers(0, 3, 60)
    plain = data.from_arrays(raw, y)
    other = plain.read_as({**plain.preprocessing, "scale": 1 / 127.5, "mean": [1.0], "std": [0.5]})
    run = zoo.train("softmax", other, epochs=1, out=tmp_path / "teacher", quiet=True)
    held = teaching.Teacher(str(run.folder))
    student = zoo.recipe(f"distill(teacher={str(run.folder)!r})").compile(
        zoo.build("softmax", image_shape=(2, 2, 1), num_classes=3)
    )
    attach(student, student.zoo_spec.but(preprocessing=plain.preprocessing, labels=plain.labels))
    held.prepare(student)
    factor, offset = held._affine
    mine, theirs = plain.train.arrays()[0], other.train.arrays()[0]
    np.testing.assert_allclose(mine * factor + offset, theirs, atol=1e-5)
    small = zoo.train(
        "softmax",
        plain,
        recipe=f"distill(teacher={str(run.folder)!r}, weight=1.0)+adam(learning_rate=0.2)",
        epochs=20,
        keep="last",
        out=tmp_path / "student",
        quiet=True,
    )
    ours = to_numpy(small.model()(mine))
    wanted = softmax(to_numpy(run.model()(theirs)))
    assert np.abs(softmax(ours) - wanted).mean() < 0.03  # it says what the teacher says, and the labels are noise


@pytest.fixture(scope="module")
def image_teacher(tmp_path_factory):
    """The run folder of a classifier of the small images, as text."""
    folder = tmp_path_factory.mktemp("teacher") / "run"
    return str(zoo.train("softmax", data.from_arrays(*images()), epochs=1, out=folder, quiet=True).folder)


@pytest.mark.parametrize("more", ["fgsm", "sam", "label_smoothing", "flooding(level=0.1)", "nce(samples=2)"])
def test_distillation_composes(more, image_teacher):
    text = f"distill(teacher={image_teacher!r})+{more}"
    if more == "label_smoothing":
        with pytest.warns(RecipeWarning, match="distill with label_smoothing: both soften"):
            model = zoo.recipe(text).compile(image_net(), run_eagerly=True)
    else:
        model = zoo.recipe(text).compile(image_net(), run_eagerly=True)
    assert np.isfinite(model.fit(*images(), verbose=0).history["loss"]).all()


ATTACKS = [
    "fgsm(epsilon=0.3, alpha=0.25)",
    "ifgsm(epsilon=0.3, alpha=0.25, steps=1, step_size=0.3)",
    "pgd(epsilon=0.3, alpha=0.0, steps=1, step_size=0.3, random_start=False)",
]


@pytest.mark.parametrize("weight", [0.5, 0.8])
@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_takes_the_place_of_the_share_that_distill_leaves_the_labels(attack, weight, teacher):
    path, kernel, bias = teacher
    x, y = features()
    alpha = 0.0 if attack.startswith("pgd") else 0.25
    net = linear_net(num_classes=3, kernel_regularizer=keras.regularizers.L2(0.3))
    (w, b), after, model = one_step(f"distill(teacher={path!r}, weight={weight}, temperature=1.0)+{attack}", net, x, y)
    clean = softmax(x @ w + b) - np.eye(3)[y]
    moved = x + 0.3 * np.sign(clean @ w.T)
    hard = (clean, softmax(moved @ w + b) - np.eye(3)[y])
    soft = softmax(x @ w + b) - softmax(x @ kernel + bias)
    shares = ((1 - weight) * alpha, (1 - weight) * (1 - alpha))
    by_kernel = x.T @ (shares[0] * hard[0] + weight * soft) + moved.T @ (shares[1] * hard[1])
    by_kernel = by_kernel / len(x) + (1 - weight) * 2 * 0.3 * w
    by_bias = (shares[0] * hard[0] + shares[1] * hard[1] + weight * soft).mean(0)
    np.testing.assert_allclose(after[0], w - 0.5 * by_kernel, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(after[1], b - 0.5 * by_bias, rtol=1e-4, atol=1e-5)
    losses = [-np.log(softmax(v @ w + b)[np.arange(len(x)), y]).mean() for v in (x, moved)]
    answers, theirs = softmax(x @ w + b), softmax(x @ kernel + bias)
    divergence = (theirs * np.log(theirs / answers)).sum(-1).mean()
    wanted = np.dot(shares, losses) + (1 - weight) * 0.3 * np.sum(w**2) + weight * divergence
    np.testing.assert_allclose(model.history.history["loss"][0], wanted, rtol=1e-4)


def test_an_attack_where_distill_leaves_the_labels_nothing_is_refused(teacher):
    with pytest.raises(
        InvalidArgument, match="pgd finds no plain loss to take the place of: distill leaves it nothing"
    ):
        zoo.recipe(f"distill(teacher={teacher[0]!r}, weight=1.0)+pgd").compile(linear_net(num_classes=3))


def test_teachers_that_do_not_fit_are_refused_before_any_step(teacher, linear, image_teacher, tmp_path):
    path = teacher[0]
    x, y = features()
    five = linear_net(num_classes=5)
    with pytest.raises(
        InvalidArgument, match="finds no common classes: head 'logits' has 5 softmax units, the teacher 3"
    ):
        zoo.recipe(f"distill(teacher={path!r})").compile(five).fit(x, y, verbose=0)
    wide = linear_net(6, num_classes=3)
    with pytest.raises(InvalidArgument, match=r"finds no input in common: .* takes 4 and the student 6"):
        zoo.recipe(f"distill(teacher={path!r})").compile(wide).fit(features(width=6)[0], y, verbose=0)
    student = attach(image_net(), image_net().zoo_spec.but(labels=("a", "b", "c")))
    with pytest.raises(
        InvalidArgument, match=r"finds no common classes in the same order: .* knows 0, 1, 2; .* a, b, c"
    ):
        zoo.recipe(f"distill(teacher={image_teacher!r})").compile(student).fit(*images(), verbose=0)
    declared = {"kind": "image", "image_shape": [6, 6, 2], "scale": 1.0, "maximum": None}
    student = attach(image_net(), image_net().zoo_spec.but(preprocessing=declared))
    with pytest.raises(InvalidArgument, match="reads its inputs differently, and not by a scale"):
        zoo.recipe(f"distill(teacher={image_teacher!r})").compile(student).fit(*images(), verbose=0)
    model = zoo.recipe(f"distill(teacher={str(tmp_path / 'none')!r})").compile(linear_net(num_classes=3))
    before = numpy_weights(model)
    with pytest.raises((InvalidArgument, OSError), match="none"):
        model.fit(x, y, verbose=0)
    for ours, theirs in zip(before, numpy_weights(model), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for text, wanted in (
        ("distill", "distill needs a teacher"),
        ("distill(teacher='a', weight=0)", "above 0 and at most 1"),
        ("distill(teacher='a', temperature=0)", "must be positive"),
    ):
        with pytest.raises(InvalidArgument, match=wanted):
            zoo.recipe(text)


def test_a_teacher_of_texts_needs_the_students_vocabulary(tmp_path):
    def table(name, words):
        rows = [f"{words[i % 2]} {words[2 + i % 3]}\t{i % 2}" for i in range(40)]
        (tmp_path / name).write_text("text\tlabel\n" + "\n".join(rows))
        return tmp_path / name

    first = table("a.tsv", ["good", "bad", "film", "book", "play"])
    other = table("b.tsv", ["warm", "cold", "soup", "bread", "tea"])
    options = {"epochs": 1, "quiet": True, "embed_dim": 4, "units": 4}
    teacher = zoo.train("lstm", first, out=tmp_path / "teacher", **options)
    recipe = f"distill(teacher={str(teacher.folder)!r})"
    zoo.train("gru", first, recipe=recipe, out=tmp_path / "student", **options)
    with pytest.raises(InvalidArgument, match="has another vocabulary"):
        zoo.train("gru", other, recipe=recipe, out=tmp_path / "stranger", **options)


# Weights of heads


def head_losses(net, x, y):
    """Returns the mean loss of each head of `heads_net`, float64."""
    found = {name: to_numpy(value) for name, value in net(x).items()}
    p = sigmoid(found["gender"][:, 0])
    gender = -np.where(y["gender"], np.log(p), np.log(1 - p)).mean()
    income = -np.log(softmax(found["income"])[np.arange(len(x)), y["income"]]).mean()
    return {"age": np.square(found["age"] - y["age"]).mean(), "income": income, "gender": gender}


def test_given_weights_weigh_the_losses():
    x, y = rows(heads=True)
    for text, weights in (
        ("loss_weights(weights={'age': 3})", {"age": 3, "income": 1, "gender": 10}),
        ("loss_weights(weights={'income': 0.5, 'gender': 0})", {"age": 0.25, "income": 0.5, "gender": 0}),
    ):
        model = zoo.recipe(text).compile(heads_net())
        wanted = sum(weights[name] * loss for name, loss in head_losses(model, x, y).items())
        found = model.evaluate(x, y, batch_size=len(x), verbose=0, return_dict=True)
        np.testing.assert_allclose(found["loss"], wanted, rtol=1e-5)


def test_weights_are_written_in_one_way_and_read_again():
    text = "loss_weights(weights={'income': 1, 'age': 0.5})"
    made = zoo.recipe(text)
    assert str(made) == "loss_weights(weights={'age': 0.5, 'income': 1.0})"
    assert zoo.recipe(made.exact) == made == zoo.recipe("loss_weights(weights={'age': 0.5, 'income': 1.0})")
    assert hash(made) == hash(zoo.recipe(made.exact))


def test_learned_weights_are_kendalls_equation():
    start = {"age": 0.25, "income": 1.0, "gender": 10.0}
    factors = {"age": 0.5, "income": 1.0, "gender": 1.0}
    layer = Uncertainty(factors, start)
    s = to_numpy(layer.log_variances)
    for place, name in enumerate(factors):
        np.testing.assert_allclose(factors[name] * np.exp(-s[place]), start[name], rtol=1e-6)
        sigma = np.exp(s[place] / 2)
        wanted = factors[name] / sigma**2 * 0.7 + np.log(sigma)
        found = layer.weighed(name, ops.convert_to_tensor(np.float32(0.7)))
        np.testing.assert_allclose(to_numpy(found), wanted, rtol=1e-5)


def test_learned_weights_step_and_follow_the_losses(tmp_path):
    x, y = rows(heads=True)
    net = heads_net()
    losses = head_losses(net, x, y)
    rate = 0.01
    _, _, model = one_step("loss_weights(learned=True)", net, x, y, rate=rate)
    factors, start = {"age": 0.5, "income": 1.0, "gender": 1.0}, {"age": 0.25, "income": 1.0, "gender": 10.0}
    order = list(model.plan.extras[0].heads)
    s = np.array([-np.log(start[name] / factors[name]) for name in order])
    slope = np.array([-start[name] * losses[name] + 0.5 for name in order])  # -f exp(-s) L + 1/2
    found = to_numpy(model.plan.extras[0].log_variances)
    np.testing.assert_allclose(found, s - rate * slope, rtol=1e-4, atol=1e-5)
    total = sum(start[n] * losses[n] for n in order) + 0.5 * s.sum()
    np.testing.assert_allclose(model.history.history["loss"][0], total, rtol=1e-4)
    model.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(to_numpy(again.plan.extras[0].log_variances), found)
    assert len(zoo.plain(again).trainable_variables) == len(again.trainable_variables) - 1
    # Where the weights stay put and only the variances learn, sigma^2 becomes the loss (twice its half for a number).
    for layer in net.layers:
        layer.trainable = False
    model = zoo.recipe("sgd(learning_rate=0.1, momentum=0.0)+loss_weights(learned=True)").compile(net)
    losses = head_losses(net, x, y)
    many = {name: np.concatenate([part] * 400) for name, part in y.items()}
    model.fit(np.tile(x, (400, 1)), many, batch_size=len(x), shuffle=False, verbose=0)
    variances = np.exp(to_numpy(model.plan.extras[0].log_variances))
    for place, name in enumerate(model.plan.extras[0].heads):
        np.testing.assert_allclose(variances[place], 2 * factors[name] * losses[name], rtol=1e-2)


def test_loss_weights_that_cannot_work_are_refused():
    for text, wanted in (
        ("loss_weights", "give `weights`, or learned=True"),
        ("loss_weights(weights={'age': -1})", "numbers that are 0 or more"),
        ("loss_weights(weights={'age': 'much'})", "numbers that are 0 or more"),
        ("loss_weights(weights={1: 1.0})", "numbers that are 0 or more"),
        ("loss_weights(weights={'age': 0}, learned=True)", "numbers that are positive"),
        ("loss_weights(weights=[1, 2])", "must be dict or None"),
    ):
        with pytest.raises(InvalidArgument, match=wanted):
            zoo.recipe(text)
    with pytest.raises(InvalidArgument, match="finds no second head in model 'image_net'"):
        zoo.recipe("loss_weights(learned=True)").compile(image_net())
    with pytest.raises(UnknownName, match=r"no head of model 'heads_net' named 'incom'. Did you mean 'income'"):
        zoo.recipe("loss_weights(weights={'incom': 1.0})").compile(heads_net())
    with pytest.raises(InvalidArgument, match="not every weight can be 0"):
        zoo.recipe("loss_weights(weights={'age': 0, 'income': 0, 'gender': 0})").compile(heads_net())
    said = zoo.recipe("loss_weights(weights={'age': 2})").explain(heads_net())
    assert "weighs the losses of the heads: 'age' 2, 'gender' 10, 'income' 1" in said


# One against noise


def np_sampled(y, z, noise_ids, nce, kind):
    """The objective of Mnih and Teh (section 3), and equation 4 of Mikolov et al., class by class."""
    classes, samples = z.shape[-1], len(noise_ids)
    q = np.full(classes, 1 / classes)
    if kind == "log_uniform":
        q = np.array([np.log((k + 2) / (k + 1)) for k in range(classes)]) / np.log(classes + 1)
    np.testing.assert_allclose(q.sum(), 1)
    losses = []
    for label, row in zip(y, np.asarray(z, "float64"), strict=True):
        s = row - np.log(classes) - np.log(samples * q) if nce else row
        loss = np.logaddexp(0, -s[label])
        for k in noise_ids:
            if nce or k != label:
                loss += np.logaddexp(0, s[k])
        losses.append(loss)
    return np.array(losses)


@pytest.mark.parametrize("kind", ["log_uniform", "uniform"])
@pytest.mark.parametrize("nce", [True, False])
def test_sampled_losses_are_the_papers(nce, kind):
    rng = np.random.default_rng(0)
    z, y, ids = rng.normal(0, 3, (30, 11)).astype("float32"), rng.integers(0, 11, 30), np.array([0, 4, 4, 9, 1])
    wanted = np_sampled(y, z, ids, nce, kind)

    def found(targets, logits=z):
        targets, logits, noise = map(ops.convert_to_tensor, (targets, logits, ids))
        return to_numpy(sampled_loss(targets, logits, noise, nce=nce, noise=kind))

    for targets in (y, y[:, None], np.eye(11, dtype="float32")[y]):
        np.testing.assert_allclose(found(targets), wanted, rtol=1e-4, atol=1e-5)
    steps = found(y.reshape(6, 5), z.reshape(6, 5, 11))
    np.testing.assert_allclose(steps, wanted.reshape(6, 5), rtol=1e-4, atol=1e-5)
    turned = y[::-1].copy()
    mixed = 0.3 * np.eye(11, dtype="float32")[y] + 0.7 * np.eye(11, dtype="float32")[turned]
    both = 0.3 * wanted + 0.7 * np_sampled(turned, z, ids, nce, kind)
    np.testing.assert_allclose(found(mixed), both, rtol=1e-4, atol=1e-4)  # linear in the targets


@pytest.mark.parametrize("kind", ["log_uniform", "uniform"])
def test_noise_classes_are_drawn_as_often_as_their_probability_says(kind):
    layer = NoiseClasses(7, 70_000, kind)
    shares = np.bincount(np.asarray(ops.convert_to_numpy(layer.draw())), minlength=7) / 70_000
    q = np.exp(to_numpy(log_probability(np.arange(7), 7, kind)))
    np.testing.assert_allclose(q.sum(), 1, rtol=1e-6)
    np.testing.assert_allclose(shares, q, atol=4 * np.sqrt(0.25 / 70_000))
    assert (to_numpy(layer.draw()) != to_numpy(layer.draw())).any()


@pytest.mark.parametrize("kind", ["log_uniform", "uniform"])
def test_nce_finds_log_probabilities_and_negative_sampling_those_over_the_noise(kind):
    """A constant input and four classes with known shares: z - log V tends to log p, or z to log(p / (K q))."""
    p = np.array([0.5, 0.25, 0.15, 0.1])
    y = np.repeat(np.arange(4), (p * 100).astype(int)).astype("int32")
    x = np.ones((100, 1), "float32")
    q = np.exp(to_numpy(log_probability(np.arange(4), 4, kind)))
    for name, wanted, samples in (("nce", np.log(p) + np.log(4), 3), ("negative_sampling", None, 3)):
        net = linear_net(1, num_classes=4)
        text = f"{name}(samples={samples}, noise={kind!r})+adam(learning_rate=0.05)+cosine"
        model = zoo.recipe(text).compile(net)
        model.fit(np.tile(x, (1500, 1)), np.tile(y, 1500), batch_size=100, shuffle=False, verbose=0)
        z = to_numpy(net(x[:1]))[0]
        if wanted is None:  # noise that is the example's own class counts for nothing: K q_c (1 - p_c) falls on c
            wanted = np.log(p / (samples * q * (1 - p)))
        np.testing.assert_allclose(z, wanted, atol=0.15)


def test_nce_step_by_the_noise_that_was_drawn():
    x, y = features(classes=5)
    net = linear_net(num_classes=5)
    w, b = (v.astype("float64") for v in numpy_weights(net))
    model = zoo.recipe("sgd(learning_rate=0.5, momentum=0.0)+nce(samples=3)").compile(net)
    drawn = model.plan.extras[0]
    seeds = np.array(ops.convert_to_numpy(drawn.seeds.state))
    ids = np.asarray(ops.convert_to_numpy(drawn.draw())).astype(int)
    drawn.seeds.state.assign(seeds)  # the step draws the same
    model.fit(x, y, batch_size=len(x), shuffle=False, verbose=0)
    q = np.array([np.log((k + 2) / (k + 1)) for k in range(5)]) / np.log(6)
    s = x @ w + b - np.log(5) - np.log(3 * q)
    slope = (sigmoid(s) - 1) * np.eye(5)[y]
    for k in ids:
        slope[:, k] += sigmoid(s[:, k])
    slope /= len(x)
    np.testing.assert_allclose(numpy_weights(net)[0], w - 0.5 * x.T @ slope, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(numpy_weights(net)[1], b - 0.5 * slope.sum(0), rtol=1e-4, atol=1e-5)
    assert not np.array_equal(np.array(ops.convert_to_numpy(drawn.seeds.state)), seeds)


@pytest.mark.parametrize("name", ["nce", "negative_sampling"])
def test_validation_uses_the_whole_softmax(name, tmp_path):
    x, y = images(40)
    model = zoo.recipe(f"{name}(samples=2)+label_smoothing").compile(image_net())
    found = model.evaluate(x, y, verbose=0, return_dict=True)
    plain = zoo.recipe("label_smoothing").compile(zoo.plain(model))
    np.testing.assert_allclose(found["loss"], plain.evaluate(x, y, verbose=0, return_dict=True)["loss"], rtol=1e-6)
    history = model.fit(x, y, epochs=2, validation_data=(x, y), verbose=0).history
    again = model.evaluate(x, y, verbose=0, return_dict=True)
    np.testing.assert_allclose(history["val_loss"][-1], again["loss"], rtol=1e-5)
    assert history["loss"][-1] != pytest.approx(history["val_loss"][-1], rel=1e-2)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert loaded.recipe == model.recipe
    assert loaded.evaluate(x, y, verbose=0, return_dict=True)["loss"] == pytest.approx(again["loss"], rel=1e-6)


def test_sampled_losses_say_where_they_do_not_belong():
    for name in ("nce", "negative_sampling"):
        for text, net, wanted in (
            (f"{name}(samples=3)", image_net(), f"{name} finds no softmax head with more than 3 classes"),
            (name, text_net(), f"{name} finds no softmax head in model 'text_net'"),
            (name, zoo.build("skipgram", vocab_size=50), f"tells one word from noise already.*loss='{name}'"),
        ):
            with pytest.raises(InvalidArgument, match=wanted):
                zoo.recipe(text).compile(net)
        with pytest.raises(InvalidArgument, match=r"`samples` must be 1 or more. Received: 0"):
            zoo.recipe(f"{name}(samples=0)")
        with pytest.raises(InvalidArgument, match=r"'log_uniform', 'uniform'. Received: 'unigram'"):
            zoo.recipe(f"{name}(noise='unigram')")
    said = zoo.recipe("nce(samples=50)").explain(zoo.build("lstm_lm", vocab_size=1000, units=4, embed_dim=4))
    often = 1 - (1 - np.log(2) / np.log(1001)) ** 50
    assert f"tells a class from 50 of 1,000 (class 0 is drawn in {often:.1%} of steps)" in said


def test_a_language_model_learns_by_nce_and_resumes(tmp_path):
    words = " ".join(np.random.default_rng(0).choice(["a", "b", "c", "d", "e"], 4000, p=[0.5, 0.2, 0.1, 0.1, 0.1]))
    (tmp_path / "text.txt").write_text(words)
    options = {"recipe": "nce(samples=2)+adam(learning_rate=0.05)", "batch_size": 4, "quiet": True, "units": 4}
    options |= {"embed_dim": 4, "num_layers": 1}
    path = tmp_path / "text.txt"
    whole = zoo.train("lstm_lm", path, epochs=3, out=tmp_path / "whole", **options)
    assert whole.metrics["test"]["perplexity"] < 6.5

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        zoo.train("lstm_lm", path, epochs=3, out=tmp_path / "part", callbacks=(Stop,), **options)
    part = zoo.train("lstm_lm", path, epochs=3, out=tmp_path / "part", resume=True, **options)
    for ours, theirs in zip(numpy_weights(whole.model()), numpy_weights(part.model()), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_head_that_the_sampled_loss_does_not_fit_keeps_its_own():
    found = zoo.recipe("nce(samples=2)").plan(heads_net())
    assert [type(found.loss(Head(n, k, u), 0.0)).__name__ for n, k, u in (("gender", "sigmoid", 1),)] == [
        "SigmoidCrossEntropy"
    ]
    assert sampled.heads_with("nce", found, 2)[0].name == "income"
    x, y = texts(num_classes=3)
    model = zoo.recipe("nce(samples=2)").compile(text_net(3))
    assert np.isfinite(model.fit(x, y, verbose=0).history["loss"]).all()
