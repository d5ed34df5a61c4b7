"""Fine-tuning: what each recipe trains and freezes, what it says before, what comes out, how a stopped one goes on."""

import keras
import numpy as np
import pytest
from nets import heads_net, image_net, images, numpy_weights, rows

import zoo
from zoo.adapters import adapters_of, merged_weights
from zoo.cli import main
from zoo.compiled import plain
from zoo.data import from_arrays, load
from zoo.depths import variable_depths
from zoo.errors import InvalidArgument, UnknownName
from zoo.finetuning import finetune
from zoo.hub.convert.foreign import license_in
from zoo.weights import load_state

RECIPES = ("finetune_head", "finetune_full", "finetune_llrd", "finetune_lora", "linear_probe")
FROZEN = ("finetune_head", "linear_probe")
VIT = {"patch_size": 4, "embed_dim": 8, "depth": 2, "num_heads": 2}
RESNET = {"blocks": (1, 1), "filters": 4}


def to_numpy(x):
    return np.array(keras.ops.convert_to_numpy(x))


def some(name):
    """Returns a data set with few examples."""
    data = load(name)
    return data.but(**{part: split.subset(np.arange(96)) for part, split in data.splits.items()})


def trained(name, out, **arguments):
    options = {"recipe": "adam(learning_rate=0.01)", "epochs": 2, "batch_size": 32, "quiet": True}
    return zoo.train(name, some("digits"), out=out, **options, **arguments)


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    """A run of a small vision transformer."""
    return trained("vit", tmp_path_factory.mktemp("parents") / "vit", **VIT)


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    """A run of a small residual network, with batch norm."""
    return trained("resnet20", tmp_path_factory.mktemp("parents") / "resnet", **RESNET)


@pytest.fixture
def parents(vit, resnet):
    return {"vit": vit, "resnet": resnet}


def tune(parent, out, recipe, **options):
    return finetune(parent, some("digits_parity"), recipe=recipe, out=out, **{"epochs": 1, "quiet": True, **options})


def weights_in(run):
    return load_state(run.folder / "best.safetensors")[0]


# What each recipe changes


@pytest.mark.parametrize("recipe", FROZEN)
@pytest.mark.parametrize("family", ["vit", "resnet"])
def test_the_backbone_and_its_statistics_stay_bit_for_bit(parents, family, recipe, tmp_path):
    parent = parents[family]
    run = tune(parent, tmp_path / "run", recipe, epochs=2)
    before, after = weights_in(parent), weights_in(run)
    assert before.keys() == after.keys()
    assert any("moving_mean" in name for name in before) == (family == "resnet")
    for name in before:
        if name.startswith("logits"):
            assert before[name].shape != after[name].shape
        else:
            np.testing.assert_array_equal(before[name], after[name], err_msg=name)
    assert run.spec.recipe == zoo.recipe(recipe).exact


@pytest.mark.parametrize("family", ["vit", "resnet"])
def test_full_fine_tuning_changes_everything(parents, family, tmp_path):
    before, after = weights_in(parents[family]), weights_in(tune(parents[family], tmp_path / "run", "finetune_full"))
    same = [name for name in before if before[name].shape == after[name].shape and (before[name] == after[name]).all()]
    assert same == []


def test_a_probe_is_what_training_the_head_alone_gives(vit, tmp_path):
    same = {"epochs": 3, "batch_size": 16}
    probe = tune(vit, tmp_path / "probe", "features_once+adam(learning_rate=0.01)", **same)
    head = tune(vit, tmp_path / "head", "freeze_backbone+adam(learning_rate=0.01)", **same)
    mine, theirs = weights_in(probe), weights_in(head)
    for name in mine:
        np.testing.assert_allclose(mine[name], theirs[name], rtol=1e-4, atol=1e-5, err_msg=name)
    assert probe.record["data"]["fingerprint"] == head.record["data"]["fingerprint"]
    assert probe.record["parameters"] == head.record["parameters"]
    measured = zoo.evaluate(probe, some("digits_parity"))
    assert measured["accuracy"] == probe.metrics["test"]["accuracy"]
    assert measured["loss"] == pytest.approx(probe.metrics["test"]["loss"], rel=1e-5)


def test_a_probe_sees_every_example_once(vit, tmp_path, monkeypatch):
    data = some("digits_parity")
    seen, batch = [], type(data.train).inputs
    monkeypatch.setattr(type(data.train), "inputs", lambda self, i: seen.extend(i) or batch(self, i))
    finetune(vit, data, recipe="linear_probe", epochs=5, batch_size=32, out=tmp_path / "run", quiet=True)
    assert len(seen) == sum(map(len, data.splits.values()))


def test_a_probe_measures_groups_of_examples_as_other_runs_do(vit, tmp_path):
    data = some("digits_parity")
    for split in data.splits.values():
        split.groups = {"half": np.arange(len(split)) % 2}
    runs = [
        finetune(vit, data, recipe=recipe, epochs=1, batch_size=32, out=tmp_path / recipe, quiet=True)
        for recipe in ("features_once", "freeze_backbone")
    ]
    probe, head = (run.record["by_group"]["test"]["by_half"] for run in runs)
    assert {half: row["examples"] for half, row in probe.items()} == {h: row["examples"] for h, row in head.items()}
    assert list(probe) == ["0", "1"]


def test_rates_fall_by_the_formula(vit):
    model = zoo.recipe("finetune_llrd").compile(vit.model())
    depths, count = variable_depths(model)
    [factors] = [make(model) for make in model.plan.rate_factors]
    assert count == VIT["depth"] + 2
    for path, depth in depths.items():
        assert factors[path] == pytest.approx(0.75 ** (count - 1 - depth))
    text = finetune(vit, some("digits_parity"), recipe="finetune_llrd", dry_run=True)
    rows = {line.split()[0]: line.split()[-1] for line in text.splitlines() if line.startswith("  ")}
    assert float(rows["norm"]) == pytest.approx(1e-3)
    assert float(rows["block2"]) == pytest.approx(1e-3 * 0.75)
    assert float(rows["block1"]) == pytest.approx(1e-3 * 0.75**2, rel=1e-3)
    assert float(rows["patch_embedding"]) == pytest.approx(1e-3 * 0.75**3, rel=1e-3)


def test_a_decay_that_all_but_freezes_a_deep_model_is_cautioned():
    deep = zoo.build("resnet110", filters=2, image_shape=(8, 8, 1))
    [said] = zoo.recipe("layer_decay(rate=0.75)").plan(deep).cautions
    assert "the first of 56 depths 1e-07 of the learning rate" in said
    assert not zoo.recipe(said.rpartition("write ")[2]).plan(deep).cautions


# Low rank


def test_lora_starts_as_the_parent_and_trains_adapters_and_head_alone(vit):
    parent = vit.model()
    x = some("digits").test.arrays()[0]
    wanted, before = parent.predict(x, verbose=0), numpy_weights(parent)
    model = zoo.recipe("lora(rank=4)+adam(learning_rate=0.01)").compile(parent)
    np.testing.assert_allclose(model.predict(x, verbose=0), wanted, rtol=0, atol=1e-6)
    adapters = adapters_of(model)
    assert [a.dense.name for a in adapters][:4] == [f"block1_{n}" for n in ("attention_qkv", "attention_projection",
                                                                             "mlp_1", "mlp_2")]  # fmt: skip
    names = {v.path for v in model.trainable_variables}
    assert names == {"logits/kernel", "logits/bias", *(v.path for a in adapters for v in a.weights)}
    model.train_on_batch(x, np.arange(len(x)) % 10)
    moments = sum(np.prod(v.shape) for v in model.optimizer.variables if v.path.endswith("momentum"))
    assert moments == sum(np.prod(v.shape) for v in model.trainable_variables)
    for old, variable in zip(before, parent.weights, strict=True):
        if not variable.path.startswith("logits"):
            np.testing.assert_array_equal(to_numpy(variable), old)
    assert model.count_params() == parent.count_params()


def test_lora_merges_into_the_weights(vit):
    parent = vit.model()
    x = some("digits").test.arrays()[0]
    model = zoo.recipe("lora(rank=4, alpha=8.0)+adam(learning_rate=0.01)").compile(parent)
    for _ in range(3):
        model.train_on_batch(x, np.arange(len(x)) % 10)
    beside = model.predict_on_batch(x)
    wanted = {}
    for a in adapters_of(model):
        down, up = to_numpy(a.down), to_numpy(a.up)
        assert down.shape[1] == up.shape[0] == 4
        assert np.abs(up).max() > 0
        wanted[a.dense.name] = to_numpy(a.dense.kernel) + 8 / 4 * down @ up
    before = numpy_weights(model)
    with merged_weights(model):
        for name, kernel in wanted.items():
            np.testing.assert_allclose(to_numpy(parent.get_layer(name).kernel), kernel, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(plain(model).predict_on_batch(x), beside, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(model.predict_on_batch(x), beside, rtol=1e-4, atol=1e-5)
    for old, new in zip(before, numpy_weights(model), strict=True):
        np.testing.assert_array_equal(old, new)
    assert np.abs(plain(model).predict_on_batch(x) - beside).max() > 1e-3


def test_a_fit_with_lora_leaves_an_ordinary_model(vit):
    parent = vit.model()
    x, y = some("digits").test.arrays()
    before = {w.path: to_numpy(w) for w in parent.weights}
    model = zoo.recipe("lora(rank=2, layers='*attention*')+adam(learning_rate=0.01)").compile(parent)
    model.fit(x, y, batch_size=32, verbose=0)
    np.testing.assert_allclose(plain(model).predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-5)
    moved = {w.path for w in parent.weights if (to_numpy(w) != before[w.path]).any()}
    attention = {f"block{i}_attention_{n}/kernel" for i in (1, 2) for n in ("qkv", "projection")}
    assert moved == attention | {"logits/kernel", "logits/bias"}


def test_a_run_with_lora_can_be_pushed_and_predicts_as_measured(vit, tmp_path):
    run = tune(vit, tmp_path / "run", "finetune_lora", epochs=2)
    assert weights_in(run).keys() == weights_in(vit).keys()
    assert run.record["parameters"] == run.model().count_params()
    pushed = zoo.push(run, "me/lora")
    again = zoo.load(pushed.ref)
    assert zoo.evaluate(again, some("digits_parity")) == pytest.approx(run.metrics["test"])
    validation = zoo.evaluate(run, some("digits_parity"), split="validation")
    best = max(row["val_accuracy"] for row in run.history)
    assert validation["accuracy"] == pytest.approx(best)


def test_lora_refuses_what_it_cannot_adapt(resnet, vit, tmp_path):
    with pytest.raises(InvalidArgument, match="lora finds no dense layer below the head"):
        tune(resnet, tmp_path / "run", "finetune_lora")
    with pytest.raises(InvalidArgument, match=r"lora finds no such layer .*Received: 'conv\*'.*block1_mlp_1"):
        tune(vit, tmp_path / "run", "lora(layers='conv*')")
    for wrong in ("lora(rank=0)", "lora(alpha=0.0)"):
        with pytest.raises(InvalidArgument, match="must be"):
            zoo.recipe(wrong)
    with pytest.raises(InvalidArgument, match="lora and layer_decay do not go together"):
        tune(vit, tmp_path / "run", "finetune_lora+layer_decay")
    assert not (tmp_path / "run").exists()


# Freezing


def test_another_recipe_trains_again_what_one_has_frozen():
    model = zoo.recipe("freeze_backbone").compile(image_net())
    assert [v.path for v in model.trainable_variables] == ["logits/kernel", "logits/bias"]
    model.compile_recipe("plain")
    assert len(model.trainable_variables) == 6
    again = zoo.recipe("freeze_backbone").compile(plain(model))
    assert len(zoo.recipe("plain").compile(plain(again)).trainable_variables) == 6
    net = image_net()
    net.get_layer("conv").trainable = False  # a user's own choice stays
    model = zoo.recipe("freeze_backbone").compile(net)
    model.compile(loss="mse")
    assert [v.path for v in model.trainable_variables] == ["norm/gamma", "norm/beta", "logits/kernel", "logits/bias"]


def test_a_recipe_that_is_refused_leaves_the_one_before():
    model = zoo.recipe("freeze_backbone").compile(image_net())
    with pytest.raises(InvalidArgument):
        model.compile_recipe("lora")
    assert len(model.trainable_variables) == 2
    assert str(model.recipe) == "freeze_backbone"


def test_frozen_models_come_back_from_a_keras_file(tmp_path):
    x, y = rows(heads=True)
    for text, count in (("freeze_backbone", 6), ("lora(rank=2)", 8)):
        model = zoo.recipe(text).compile(heads_net())
        model.fit(x, y, verbose=0)
        model.save(tmp_path / "model.keras")
        again = keras.saving.load_model(tmp_path / "model.keras")
        assert len(again.trainable_variables) == count
        for name, values in model.predict(x, verbose=0).items():
            np.testing.assert_allclose(again.predict(x, verbose=0)[name], values, rtol=1e-5, atol=1e-6)
        again.fit(x, y, verbose=0)
        again.compile_recipe("plain")
        assert len(again.trainable_variables) == 8


def test_freeze_is_the_recipe_of_the_head_or_its_trick(vit):
    parity = some("digits_parity")
    assert "recipe: adamw(learning_rate=0.003" in (text := finetune(vit, parity, freeze=True, dry_run=True))
    assert "+freeze_backbone+" in text
    assert "adam+freeze_backbone" in finetune(vit, parity, recipe="adam", freeze=True, dry_run=True)
    assert "freeze_backbone" not in finetune(vit, parity, recipe="linear_probe", freeze=True, dry_run=True)


def test_weights_that_a_recipe_learns_beside_the_model_are_not_published(tmp_path):
    model = zoo.recipe("loss_weights(learned=True)").compile(heads_net())
    path = zoo.weights.save_weights(model, tmp_path / "w.safetensors")
    assert load_state(path)[0].keys() == {w.path for w in heads_net().weights}


# Going on


@pytest.fixture
def eagerly(request):
    """Steps that are not traced, on TensorFlow, where a trace takes longer than all steps; one recipe is traced."""
    if keras.backend.backend() != "tensorflow" or request.node.callspec.params["recipe"] == "finetune_lora":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


class Stop(keras.callbacks.Callback):
    """Stops a training as Ctrl-C does, in its second epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


@pytest.mark.parametrize("recipe", [*RECIPES, "finetune_lora+ema(momentum=0.5)"])
@pytest.mark.usefixtures("eagerly")
def test_a_stopped_fine_tuning_goes_on_bit_for_bit(vit, recipe, tmp_path):
    options = {"epochs": 2, "batch_size": 32, "keep": "last"}
    whole = tune(vit, tmp_path / "whole", recipe, **options)
    with pytest.raises(KeyboardInterrupt):
        tune(vit, tmp_path / "part", recipe, callbacks=(Stop,), **options)
    again = tune(vit, tmp_path / "part", recipe, resume=True, **options)
    assert len(again.history) == 2
    for name, value in weights_in(whole).items():
        np.testing.assert_array_equal(value, weights_in(again)[name], err_msg=name)
    assert tune(vit, tmp_path / "part", recipe, resume=True, **options).metrics == whole.metrics


# What is said, and what comes out


def test_it_says_what_trains_and_what_was_left_out(resnet, tmp_path, capsys):
    run = tune(resnet, tmp_path / "run", "finetune_head", quiet=False)
    shown = capsys.readouterr().out
    total = run.model().count_params()
    assert f"fine-tuning resnet20 from resnet (sha256 {run.spec.parent['sha256'][:12]})" in shown
    assert (
        "head: new, 2 classes in place of 10 (even, odd); left out of the parent: logits/bias, logits/kernel" in shown
    )
    assert "batch-norm statistics: of 5 layers 5 stay as they are" in shown
    line = next(line.split() for line in shown.splitlines() if line.startswith("  in all"))
    assert [int(n.replace(",", "")) for n in line[2:]] == [18, total - 18]
    tune(resnet, tmp_path / "quiet", "finetune_full")
    assert capsys.readouterr().out == ""


def test_a_dry_run_is_text_and_trains_nothing(resnet, tmp_path):
    text = tune(resnet, tmp_path / "run", "finetune_full+freeze_bn", dry_run=True)
    assert "batch-norm statistics: of 5 layers 5 stay as they are" in text
    assert "training: 1 epochs" in text
    assert "5 follow the new data" in tune(resnet, tmp_path / "run", "finetune_full", dry_run=True)
    assert not (tmp_path / "run").exists()
    assert "from its thaw on" in tune(
        resnet, tmp_path / "run", "finetune_full+gradual_unfreeze(groups=2)", dry_run=True
    )


def test_the_same_classes_keep_the_head(vit):
    assert "head: the parent's, as the classes are the same" in finetune(vit, some("digits"), dry_run=True)


def test_the_result_names_its_parent_and_its_licence(vit, tmp_path):
    pushed = zoo.push(vit, "me/parent", license="cc-by-4.0")
    assert license_in(zoo.pull(pushed.ref)) == "cc-by-4.0"
    run = tune(pushed.ref, tmp_path / "first", "finetune_lora")
    parent = run.spec.parent
    assert parent == {"ref": pushed.ref, "sha256": parent["sha256"], "license": "cc-by-4.0"}
    assert len(parent["sha256"]) == 64
    child = tune(run, tmp_path / "second", "linear_probe")  # whose parent is a run without a card
    assert child.spec.parent["ref"] == "first"
    assert child.spec.parent["license"] == "cc-by-4.0"
    model = zoo.load(pushed.ref)
    assert tune(model, tmp_path / "third", "linear_probe").spec.parent["license"] == "cc-by-4.0"


def test_a_misspelt_recipe_names_the_nearest(vit):
    with pytest.raises(UnknownName, match="Did you mean 'finetune_llrd'"):
        finetune(vit, "digits_parity", recipe="finetune_lrd")


def test_what_a_probe_cannot_do_is_refused_before_any_work(vit, tmp_path):
    for text in ("linear_probe+mixup", "linear_probe+lora", "linear_probe+snapshot"):
        with pytest.raises(InvalidArgument, match=r"features_once and \w+ do not go together"):
            tune(vit, tmp_path / "run", text)
    nin = zoo.build("nin", widths=((8, 6), (8, 6), (6,)), image_shape=(8, 8, 1), num_classes=10)
    with pytest.raises(InvalidArgument, match="features_once finds no dense head"):
        zoo.recipe("linear_probe").compile(nin)
    assert not (tmp_path / "run").exists()


def test_the_command_prints_a_dry_run_and_refuses_a_wrong_size(vit, tmp_path, capsys):
    words = ["finetune", str(vit.folder), "digits_parity", "--recipe", "linear_probe+label_smoothing"]
    assert main([*words, "--dry-run"]) == 0
    assert "the head is trained on 8 features of each example" in capsys.readouterr().out
    assert main([*words, "--image-size", "large"]) == 2
    assert "Write --image-size 96, or 96x128" in capsys.readouterr().err


# Another size of pictures


def bicubic(row, size):
    """Resizes a row of samples by Keys's kernel with a = -0.5, one by one; cut off at the ends, as Pillow does."""

    def kernel(x):
        x = abs(x)
        return 1.5 * x**3 - 2.5 * x**2 + 1 if x < 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0

    stretch = max(len(row) / size, 1.0)
    resized = []
    for i in range(size):
        centre = (i + 0.5) * len(row) / size
        weights = [kernel((j + 0.5 - centre) / stretch) for j in range(len(row))]
        resized.append(sum(w * v for w, v in zip(weights, row, strict=True)) / sum(weights))
    return resized


def test_an_image_size_resizes_position_embeddings_and_says_so(vit):
    pushed = zoo.push(vit, "me/parent")
    with pytest.warns(UserWarning, match="position_embedding") as caught:
        model = zoo.build("vit_tiny", weights=pushed.ref, num_classes=7, image_size=(16, 12))
    said = str(caught[0].message)
    assert "position_embedding/kernel was resized from (1, 5, 8) to (1, 13, 8)" in said
    assert "logits/kernel, logits/bias of the new head keep their initial values" in said
    assert model.input_shape == (None, 16, 12, 1)
    assert model.output_shape == (None, 7)
    old = weights_in(vit)["position_embedding/kernel"][0].astype("float64")
    new = to_numpy(model.get_layer("position_embedding").kernel)[0]
    np.testing.assert_array_equal(new[0], old[0].astype("float32"))
    grid, wanted = old[1:].reshape(2, 2, 8), np.zeros((4, 3, 8))
    for channel in range(8):
        wide = np.array([bicubic(list(row), 3) for row in grid[..., channel]])
        wanted[..., channel] = np.array([bicubic(list(column), 4) for column in wide.T]).T
    np.testing.assert_allclose(new[1:], wanted.reshape(12, 8), rtol=1e-5, atol=1e-6)
    assert model.zoo_spec.preprocessing["image_shape"] == [16, 12, 1]


def test_fine_tuning_at_another_size(vit, tmp_path):
    x, y = images(48, 3, (16, 16, 1))
    data = from_arrays((x * 255).astype("uint8"), y)
    run = finetune(vit, data, image_size=16, recipe="finetune_head", epochs=1, out=tmp_path / "run", quiet=True)
    assert run.spec.arguments["image_shape"] == [16, 16, 1]
    assert run.spec.parent["ref"] == "vit"
    assert weights_in(run)["position_embedding/kernel"].shape == (1, 17, 8)
    assert "resized: position_embedding/kernel from 1x5x8 to 1x17x8" in finetune(vit, data, image_size=16, dry_run=True)
    assert len(zoo.predict(run, [x[0] * 255])[0].top) == 3


def test_an_image_size_is_refused_where_it_means_nothing(vit, tmp_path):
    with pytest.raises(InvalidArgument, match="model 'lstm' has no `image_shape` that image_size could change"):
        zoo.build("lstm", image_size=96)
    with pytest.raises(InvalidArgument, match="say the same"):
        zoo.build("vit_tiny", weights=str(vit.folder), image_shape=(16, 16, 1), image_size=16)
    for wrong in (0, "96", (1, 2, 3), 9.5):
        with pytest.raises(InvalidArgument, match="one number, or"):
            zoo.load(str(vit.folder), image_size=wrong)
    with pytest.raises(InvalidArgument, match="does not divide"):
        zoo.load(str(vit.folder), image_size=18)
    assert zoo.build("resnet20", image_size=24).input_shape == (None, 24, 24, 3)
