"""The vision transformer: its switches, its position embeddings at other sizes, transformers' weights, attention."""

import json
import math
import warnings

import keras
import matplotlib.image
import numpy as np
import pytest
from cases import CASES
from test_golden import golden_tensor, predict

import zoo
from zoo.errors import InvalidArgument
from zoo.factory import build, build_empty
from zoo.hub.convert import transformers
from zoo.layers.resizing import bicubic_matrix, resized_grid, resized_patches
from zoo.weights import save_weights

TINY = next(c for c in CASES if c.name == "vit_tiny").arguments


def saved(tmp_path, **arguments):
    """A checkpoint of a small ViT on disk, as a run folder leaves it, and its model."""
    keras.utils.set_random_seed(3)
    model = build("vit_tiny", **TINY | arguments)
    save_weights(model, tmp_path / "best.safetensors")
    spec = model.zoo_spec.but(labels=("a", "b", "c"))
    (tmp_path / "config.json").write_text(json.dumps(spec.to_json()), "utf-8")
    (tmp_path / "run.json").write_text("{}", "utf-8")
    return model


def images(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


# Position embeddings and patches of another size


@pytest.mark.torch
@pytest.mark.parametrize(("old", "new"), [((4, 4), (6, 9)), ((14, 14), (6, 6)), ((7, 5), (5, 7)), ((3, 3), (3, 3))])
def test_grids_are_resized_as_torch_does(old, new):
    import torch

    table = images(1, 1 + old[0] * old[1], 5)
    grid = torch.from_numpy(table[:, 1:].reshape(1, *old, 5).transpose(0, 3, 1, 2).astype("float64"))
    wanted = torch.nn.functional.interpolate(grid, new, mode="bicubic", antialias=True, align_corners=False)
    wanted = wanted.numpy().transpose(0, 2, 3, 1).reshape(1, -1, 5)
    found = resized_grid(table, old, new)
    np.testing.assert_array_equal(found[:, 0], table[:, 0])
    np.testing.assert_allclose(found[:, 1:], wanted, atol=1e-6)


def test_resized_patches_embed_a_resized_patch_alike():
    kernel, patches = images(4, 4, 2, 3), images(5, 4, 4, 2)
    matrix = bicubic_matrix(4, 8)
    larger = np.einsum("ri,cj,nijk->nrck", matrix, matrix, patches)
    found = np.einsum("nijk,ijkd->nd", larger, resized_patches(kernel, 8))
    np.testing.assert_allclose(found, np.einsum("nijk,ijkd->nd", patches, kernel), atol=1e-5)


def test_weights_load_into_another_image_size(tmp_path):
    model = saved(tmp_path)
    with pytest.warns(UserWarning, match=r"position_embedding/kernel was resized from \(1, 5, 8\) to \(1, 13, 8\)"):
        other = zoo.load(tmp_path, image_shape=(12, 16, 1))
    assert other.input_shape == (None, 12, 16, 1)
    assert other.zoo_spec.labels == ("a", "b", "c")
    for path, value in values(model).items():
        if path == "position_embedding/kernel":
            value = resized_grid(value, (2, 2), (3, 4))
        np.testing.assert_array_equal(values(other)[path], value)
    with pytest.warns(UserWarning, match="was resized"):
        built = zoo.build("vit_tiny", weights=tmp_path, **TINY | {"image_shape": (12, 16, 1)})
    np.testing.assert_array_equal(predict(built, images(2, 12, 16, 1)), predict(other, images(2, 12, 16, 1)))


def test_a_grid_of_as_many_cells_in_other_rows_is_resized_too(tmp_path):
    model = saved(tmp_path, image_shape=(4, 16, 1))
    with pytest.warns(UserWarning, match=r"from \(1, 5, 8\) to \(1, 5, 8\)"):
        other = zoo.load(tmp_path, image_shape=(8, 8, 1))
    found = values(other)["position_embedding/kernel"]
    assert not np.allclose(found, values(model)["position_embedding/kernel"])


def test_weights_load_into_another_patch_size(tmp_path):
    saved(tmp_path, pool="mean")
    with pytest.warns(UserWarning, match=r"patch_embedding/kernel was resized from \(4, 4, 1, 8\) to \(2, 2, 1, 8\)"):
        other = zoo.load(tmp_path, patch_size=2)
    assert values(other)["position_embedding/kernel"].shape == (1, 16, 8)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        zoo.load(tmp_path)  # nothing to resize, nothing to say


def test_what_cannot_be_resized_is_refused(tmp_path):
    saved(tmp_path)
    with pytest.raises(InvalidArgument, match=r"patch_embedding/kernel is \(4, 4, 3, 8\) in the model"):
        zoo.load(tmp_path, image_shape=(8, 8, 3))
    with pytest.raises(InvalidArgument, match=r"class_token/kernel is \(1, 1, 16\)"):
        zoo.load(tmp_path, image_shape=(12, 12, 1), embed_dim=16)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    config["arguments"]["image_shape"] = [16, 16, 1]  # not what the weights are
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(InvalidArgument, match=r"position_embedding/kernel in .* cannot be resized from \(1, 5, 8\)"):
        zoo.load(tmp_path, image_shape=(12, 12, 1))


def test_the_head_can_be_left_out_of_a_checkpoint_and_put_on_again(tmp_path):
    model = saved(tmp_path)
    backbone = zoo.load(tmp_path, include_top=False)
    assert backbone.output_shape == (None, 8)
    assert values(backbone).keys() == values(model).keys() - {"logits/kernel", "logits/bias"}
    x = images(2, 8, 8, 1)
    logits = predict(backbone, x) @ values(model)["logits/kernel"] + values(model)["logits/bias"]
    np.testing.assert_allclose(logits, predict(model, x), atol=1e-6)
    (tmp_path / "headless").mkdir()
    save_weights(backbone, tmp_path / "headless" / "best.safetensors")
    (tmp_path / "headless" / "config.json").write_text(json.dumps(backbone.zoo_spec.to_json()), "utf-8")
    (tmp_path / "headless" / "run.json").write_text("{}", "utf-8")
    with pytest.warns(UserWarning, match="logits/bias, logits/kernel|logits/kernel, logits/bias"):
        again = zoo.load(tmp_path / "headless", include_top=True)
    np.testing.assert_array_equal(predict(zoo.features(again, "pool"), x), predict(backbone, x))


def values(model):
    return {w.path: keras.ops.convert_to_numpy(w) for w in model.weights}


# Switches


def test_switches_change_what_they_say():
    def names(**arguments):
        return {type(layer).__name__ for layer in build_empty("vit_tiny", **TINY | arguments).layers}

    def count(**arguments):
        return build_empty("vit_tiny", **TINY | arguments).count_params()

    assert "LayerNormalization" in names()
    assert not {"LayerNormalization", "BatchNormalization"} & names(norm=None)
    assert "BatchNormalization" in names(norm="batch")
    assert "GroupNormalization" in names(norm="group")
    assert "Add" in {type(x).__name__ for x in build_empty("vit_tiny", **TINY).layers[-8:]}
    assert not any(x.name.startswith("block") for x in adds(build_empty("vit_tiny", **TINY | {"shortcut": False})))
    assert count() - count(qkv_bias=False) == TINY["depth"] * 3 * TINY["embed_dim"]
    assert count() - count(norm=None) == (2 * TINY["depth"] + 1) * 2 * TINY["embed_dim"]
    assert count() - count(include_top=False) == (TINY["embed_dim"] + 1) * TINY["num_classes"]
    relu = build_empty("vit_tiny", **TINY | {"activation": "relu"})
    assert relu.get_layer("block1_mlp_activation").output is relu.get_layer("block1_mlp_drop").input
    assert build_empty("vit_tiny", **TINY | {"epsilon": 1e-12}).get_layer("norm").epsilon == 1e-12


def adds(model):
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epsilon": 0.0}, "`epsilon` must be positive.*timm has 1e-6"),
        ({"norm": "instance"}, "`norm` must be one of"),
        ({"activation": "tanh"}, "`activation` must be one of"),
        ({"shortcut": False, "drop_path_rate": 0.1}, "`drop_path_rate` drops branches beside a shortcut"),
    ],
)
def test_wrong_switches(arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        build_empty("vit_tiny", **TINY | arguments)


# transformers


@pytest.mark.data
def test_transformers_logits(zoo_golden):
    golden = json.loads((zoo_golden / "transformers_vit_tiny.json").read_text("utf-8"))
    model = build_empty("vit_tiny", num_classes=10, epsilon=1e-12)
    assert sum(math.prod(w.shape) for w in model.trainable_variables) == golden["parameters"]
    transformers.load(model, {n: golden_tensor(n, shape) for n, shape in golden["tensors"].items()})
    shape, seed = golden["input"]["shape_nchw"], golden["input"]["seed"]
    x = np.random.default_rng(seed).standard_normal(shape).astype("float32").transpose(0, 2, 3, 1)
    worst = np.abs(predict(model, x) - np.array(golden["logits"])).max()
    print(f"{worst:.2e}, float32_error {golden['float32_error']:.2e}")
    assert worst <= 50 * golden["float32_error"]


def old_names(name):
    """What transformers 4 called a tensor of transformers 5."""
    for new, old in (
        ("vit.layers.", "vit.encoder.layer."),
        ("attention.q_proj", "attention.attention.query"),
        ("attention.k_proj", "attention.attention.key"),
        ("attention.v_proj", "attention.attention.value"),
        ("attention.o_proj", "attention.output.dense"),
        ("mlp.fc1", "intermediate.dense"),
        ("mlp.fc2", "output.dense"),
    ):
        name = name.replace(new, old)
    return name


def transformers_tensors(model):
    back = {4: (3, 2, 0, 1), 2: (1, 0)}
    tensors = {}
    for weight in model.weights:
        name, shape = transformers.name_map(model)[weight.path], tuple(weight.shape)
        tensor = golden_tensor(name, tuple(shape[i] for i in back.get(len(shape), range(len(shape)))))
        if ".qkv_proj." in name:
            parts = np.split(tensor, 3)
            tensors |= {name.replace("qkv", part): value for part, value in zip("qkv", parts, strict=True)}
        else:
            tensors[name] = tensor
    return tensors


def test_both_spellings_of_transformers_load():
    new, old = (build_empty("vit_tiny", **TINY | {"epsilon": 1e-12}) for _ in range(2))
    tensors = transformers_tensors(new)
    transformers.load(new, tensors)
    transformers.load(old, {old_names(n): v for n, v in tensors.items()})
    kernel = values(new)["block2_attention_qkv/kernel"]
    np.testing.assert_array_equal(kernel[:, 8:16], tensors["vit.layers.1.attention.k_proj.weight"].T)
    np.testing.assert_array_equal(predict(new, images(2, 8, 8, 1)), predict(old, images(2, 8, 8, 1)))


def test_transformers_weights_that_do_not_fit_are_refused():
    model = build_empty("vit_tiny", **TINY | {"epsilon": 1e-12})
    tensors = transformers_tensors(model)
    key = "vit.layers.0.attention.k_proj.weight"
    with pytest.raises(InvalidArgument, match=r"missing 'vit\.layers\.0\.attention\.qkv_proj\.weight'.*left over"):
        transformers.load(model, {n: v for n, v in tensors.items() if n != key})
    with pytest.raises(InvalidArgument, match=r"Received: 1e-06.*epsilon=1e-12"):
        transformers.load(build_empty("vit_tiny", **TINY), tensors)
    assert not any(np.any(v) for v in values(model).values())


# Attention


@pytest.mark.parametrize("pool", ["token", "mean"])
def test_maps_are_softmaxes_and_reproduce_what_the_block_computes(pool):
    keras.utils.set_random_seed(1)
    model = build("vit_tiny", **TINY | {"pool": pool})
    for weight in model.weights:  # far from the small initial values, so that attention is not flat
        weight.assign(0.5 * np.random.default_rng(len(weight.path)).standard_normal(weight.shape))
    x = images(5, 8, 8, 1)
    maps = zoo.attention(model, x, batch_size=2)
    length = 5 if pool == "token" else 4
    assert list(maps) == ["block1", "block2"]
    for name, heads in maps.items():
        assert heads.shape == (5, 2, length, length)
        assert heads.min() >= 0
        np.testing.assert_allclose(heads.sum(axis=-1), 1, rtol=1e-5)
        assert heads.std() > 0.05
        inside = zoo.features(model, [f"{name}_attention_heads", f"{name}_attention_join"])(x, training=False)
        value = keras.ops.convert_to_numpy(inside[f"{name}_attention_heads"])[:, :, 2]  # (B, T, heads, D)
        joined = np.einsum("bhqk,bkhd->bqhd", heads, value).reshape(5, length, 8)
        found = keras.ops.convert_to_numpy(inside[f"{name}_attention_join"])
        np.testing.assert_allclose(joined, found, rtol=1e-4, atol=1e-5)


def test_rollout_of_known_maps():
    from zoo.attending import rollout

    first = np.array([[[[1.0, 0.0], [0.5, 0.5]], [[0.0, 1.0], [0.5, 0.5]]]])  # the mean head: [[.5, .5], [.5, .5]]
    second = np.array([[[[0.0, 1.0], [0.0, 1.0]]]])
    below, above = np.array([[0.75, 0.25], [0.25, 0.75]]), np.array([[0.5, 0.5], [0.0, 1.0]])
    np.testing.assert_allclose(rollout([first, second])[0], above @ below)
    np.testing.assert_allclose(rollout({"a": first, "b": second}).sum(axis=-1), 1)


def test_attention_picture(tmp_path):
    model = build("vit_tiny", **TINY)
    path = zoo.attention_picture(model, images(8, 8, 1), tmp_path / "attention.png")
    assert matplotlib.image.imread(path)[..., :3].std() > 0.1  # not an empty page
    declared = {"kind": "image", "image_shape": [8, 8, 1], "scale": 1 / 255, "maximum": 255.0, "mean": [0.5]}
    model.zoo_spec = model.zoo_spec.but(preprocessing=declared | {"std": [0.25], "resize": None, "crop": None})
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 1), "uint8")
    assert matplotlib.image.imread(zoo.attention_picture(model, pixels, path))[..., :3].std() > 0.1


def test_attention_of_what_has_none():
    with pytest.raises(InvalidArgument, match="has no self-attention layers"):
        zoo.attention(build_empty("softmax"), images(1, 28, 28, 1))
    with pytest.raises(InvalidArgument, match=r"Received: \(8, 8, 1\). Give an array \(B, 8, 8, 1\)"):
        zoo.attention(build_empty("vit_tiny", **TINY), images(8, 8, 1))


@pytest.mark.parametrize(("shape", "patch"), [((8, 8, 1), 2), ((28, 28, 1), 7), ((32, 32, 3), 16), ((20, 30, 3), 5)])
def test_a_patch_size_follows_the_data_where_nobody_gave_one(shape, patch):
    from zoo.models.vit import fitted

    assert fitted({"image_shape": shape, "patch_size": 16}).get("patch_size", 16) == patch


def test_vit_trains_on_small_images_as_it_is_named():
    text = zoo.train("vit", "digits", recipe="focal+warmup+radam", depth=1, embed_dim=8, num_heads=2, dry_run=True)
    assert "patch_size=2" in text
    with pytest.raises(zoo.ZooError, match="patch_size"):  # what was asked for stays
        zoo.train("vit", "digits", patch_size=3, depth=1, embed_dim=8, num_heads=2, dry_run=True)
