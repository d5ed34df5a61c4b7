"""Checkpoints of timm and transformers as they are published: recognised, read as their libraries do, or refused."""

import hashlib
import io
import json
import sys
import types
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file
from test_golden import golden_tensor, predict

import zoo
from zoo.data import preprocessing
from zoo.errors import IntegrityError, InvalidArgument, UnknownName
from zoo.factory import build_empty
from zoo.hub import convert
from zoo.hub.convert import timm, transformers
from zoo.hub.convert.foreign import MAX_SMALL_BYTES, distinct, front_matter
from zoo.weights import save_state

TINY = {"embed_dim": 8, "depth": 2, "num_heads": 2, "patch_size": 4}


def tiny_vit(num_classes=3, **arguments):
    """A vision transformer of 8 x 8 images whose values follow from the paths of its weights."""
    model = build_empty("vit_tiny", image_shape=(8, 8, 3), num_classes=num_classes, **TINY | arguments)
    for weight in model.weights:
        weight.assign(golden_tensor(weight.path.replace("/", "."), tuple(weight.shape)))
    return model


def timm_folder(folder, model=None, card=None, **changes):
    """Writes a folder as timm does. `changes` replace fields of the configuration, "cfg" some of `pretrained_cfg`."""
    folder.mkdir(exist_ok=True)
    tensors, config = timm.exported(model or tiny_vit())
    cfg = config["pretrained_cfg"] | changes.pop("cfg", {})
    tensors |= changes.pop("tensors", {})
    for name in changes.pop("without", ()):
        del tensors[name]
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config | {"pretrained_cfg": cfg} | changes), "utf-8")
    if card:
        (folder / "README.md").write_text(card, "utf-8")
    return folder


def images(model, n=2):
    return np.random.default_rng(0).standard_normal((n, *model.input_shape[1:])).astype("float32")


# What is recognised


def test_converters_are_found_by_listing_their_folder():
    folder = Path(convert.__file__).parent
    files = {path.stem for path in folder.glob("*.py") if "\ndef recognise(" in path.read_text("utf-8")}
    assert set(convert.formats()) == files - {"__init__"}
    assert {"timm", "transformers"} <= files


@pytest.mark.parametrize(
    ("config", "format"),
    [
        ({"architecture": "resnet18", "num_classes": 1000, "pretrained_cfg": {}}, "timm"),
        ({"architecture": "resnet18", "input_size": [3, 224, 224]}, "timm"),  # before `pretrained_cfg`
        ({"model_type": "vit", "architectures": ["ViTForImageClassification"]}, "transformers"),
        ({"model_type": "timm_wrapper", "architecture": "resnet18"}, "transformers"),  # which then refuses it
        ({"format": 1, "name": "resnet18", "arguments": {}}, None),
        ({"model_type": 3, "architecture": []}, None),
        ({}, None),
        (None, None),
    ],
)
def test_recognised(config, format):
    assert convert.recognise(["config.json", "model.safetensors"], config) == format


def test_only_what_is_needed_is_wanted():
    config = {"architecture": "resnet18"}
    names = ["pytorch_model.bin", "model.safetensors", "config.json", "README.md", "model.py", "logo.png"]
    assert convert.wanted(names, config) == ("config.json", "model.safetensors", "README.md")
    vit = {"model_type": "vit", "architectures": ["ViTModel"]}
    assert "preprocessor_config.json" in convert.wanted([*names, "preprocessor_config.json"], vit)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["pytorch_model.bin"], "only as Python pickles, which can run code when they are read.*'pytorch_model.bin'"),
        (["model.safetensors.index.json", "model-00001-of-00002.safetensors"], "cut into several files"),
        (["config.json"], "the repository has no model.safetensors"),
    ],
)
def test_weights_that_cannot_be_read(names, message):
    with pytest.raises(InvalidArgument, match=message):
        convert.wanted(names, {"architecture": "resnet18"})


@pytest.mark.parametrize(
    ("architecture", "name", "arguments"),
    [
        ("resnet18", "resnet18", {"flavour": "torch"}),
        ("resnet152", "resnet152", {"flavour": "torch"}),
        ("inception_v3", "inception_v3", {"flavour": "torch"}),
        ("legacy_xception", "xception", {"flavour": "torch"}),
        ("xception", "xception", {"flavour": "torch"}),
        ("vit_tiny_patch16_384", "vit_tiny", {"patch_size": 16}),
        ("vit_base_patch32_224", "vit_base", {"patch_size": 32}),
        ("vit_base_patch8_224", "vit_base", {"patch_size": 8}),
        ("vit_large_patch16_224", "vit_large", {"patch_size": 16}),
        ("deit_small_patch16_224", "vit_small", {"patch_size": 16}),
    ],
)
def test_architectures_of_timm(architecture, name, arguments):
    assert timm.builder_of({"architecture": architecture}) == (name, arguments)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architecture": "deit_tiny_distilled_patch16_224"}, "a second class token, for distillation"),
        ({"architecture": "deit3_small_patch16_224"}, "its blocks scale their branches"),
        ({"architecture": "resnet50d"}, "another kind of residual network"),
        ({"architecture": "wide_resnet50_2"}, "another kind of residual network"),
        ({"architecture": "vit_base_patch16_clip_224"}, "another kind of vision transformer"),
        ({"architecture": "vit_base_patch14_dinov2"}, "another kind of vision transformer"),
        ({"architecture": "xception65"}, "shares the name with Xception"),
        ({"architecture": "convnext_tiny"}, "zoo does not build timm's network 'convnext_tiny'. Built here: resnet18"),
        ({"architecture": "vit_base_patch16_224", "global_pool": "avg"}, "pools with 'avg'.*another place"),
        ({"architecture": "resnet50", "global_pool": "catavgmax"}, "pools with 'catavgmax', and zoo .* 'avg'"),
        ({"architecture": "resnet50", "model_args": {"output_stride": 8}}, "that change the network.*output_stride"),
        ({"architecture": "vit_tiny_patch16_224", "model_args": {"init_values": 1e-5}}, "init_values"),
        ({"architecture": "vit_tiny_patch16_224", "model_args": {"embed_dim": 10**9}}, "impossible sizes"),
        ({"architecture": "resnet50", "model_args": [1]}, "impossible `model_args`"),
    ],
)
def test_networks_that_zoo_does_not_build(config, message):
    with pytest.raises(InvalidArgument, match=message):
        convert.wanted(["model.safetensors", "config.json"], config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "deit"}, "does not build this type of model of transformers. Received: 'deit'"),
        ({"architectures": ["ViTForMaskedImageModeling"]}, "does not build this class of transformers"),
        ({"architectures": None}, "does not build this class"),
        ({"problem_type": "multi_label_classification"}, "choose one class"),
    ],
)
def test_transformers_that_zoo_does_not_build(changes, message):
    config = {"model_type": "vit", "architectures": ["ViTForImageClassification"]} | changes
    with pytest.raises(InvalidArgument, match=message):
        convert.wanted(["model.safetensors"], config)


# timm


def test_a_timm_folder_becomes_the_same_model_with_labels_preprocessing_and_licence(tmp_path):
    theirs = tiny_vit()
    cfg = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "crop_pct": 0.9, "interpolation": "bicubic"}
    folder = timm_folder(tmp_path / "net", theirs, cfg=cfg | {"license": "mit"}, label_names=["n1", "n2", "n3"])
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"label_descriptions": {"n1": "cat", "n3": "dog"}}))
    model = zoo.convert(folder)
    np.testing.assert_allclose(predict(model, images(model)), predict(theirs, images(model)), rtol=1e-5, atol=1e-6)
    assert model.zoo_spec.labels == ("cat", "n2", "dog")
    wanted = {"mean": cfg["mean"], "std": cfg["std"], "crop": 0.9, "resize": "bicubic", "image_shape": [8, 8, 3]}
    assert wanted.items() <= model.zoo_spec.preprocessing.items()
    assert model.zoo_origin.license == "mit"
    assert model.zoo_spec.parent["ref"] == "net"
    assert model.zoo_spec.parent["format"] == "timm"
    assert model.zoo_origin.ref == str(folder)
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert model.zoo_origin.parent() == {"ref": "net", "sha256": sha256}  # for what is fine-tuned from it
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 30, 3), np.uint8))
    assert zoo.predict(model, [picture])[0].label in ("cat", "n2", "dog")


def test_a_converted_folder_is_an_ordinary_revision(tmp_path):
    model = zoo.convert(timm_folder(tmp_path / "net"), out="me/net")
    with pytest.warns(UserWarning, match="position_embedding/kernel was resized"):
        again = zoo.load("me/net", num_classes=5, image_shape=(16, 16, 3))
    assert again.output_shape == (None, 5)
    np.testing.assert_array_equal(again.get_layer("norm").get_weights()[0], model.get_layer("norm").get_weights()[0])


def test_headless_and_old_configurations_of_timm(tmp_path):
    headless = zoo.convert(timm_folder(tmp_path / "features", tiny_vit(include_top=False)))
    assert headless.output_shape == (None, 8)
    tensors, config = timm.exported(tiny_vit())
    flat = config.pop("pretrained_cfg") | {"architecture": config["architecture"], "model_args": config["model_args"]}
    folder = timm_folder(tmp_path / "old")
    (folder / "config.json").write_text(json.dumps(flat))
    assert zoo.convert(folder).output_shape == (None, 3)
    assert len(tensors) == len(headless.weights) + 2


def test_the_auxiliary_head_of_inception_comes_along_and_can_be_left_out(tmp_path):
    small = {"stem": "3x3", "pool_filters": (8,), "factorised_filters": (8,), "wide_blocks": 0, "width": 0.05}
    theirs = build_empty("inception_v3", aux=True, num_classes=3, image_shape=(33, 33, 3), **small)
    for weight in theirs.weights:
        weight.assign(golden_tensor(weight.path.replace("/", "."), tuple(weight.shape)))
    theirs.zoo_spec = theirs.zoo_spec.but(labels=dict.fromkeys(theirs.zoo_spec.heads, ("a", "b", "c")))
    zoo.push(theirs, "me/whole")
    alone = zoo.load("me/whole", aux=False)
    wanted = keras.ops.convert_to_numpy(theirs(images(alone), training=False)["logits"])
    np.testing.assert_allclose(predict(alone, images(alone)), wanted, rtol=1e-5, atol=1e-6)
    assert alone.zoo_spec.labels == ("a", "b", "c")
    assert alone.zoo_spec.heads is None


def test_labels_of_timm_that_cannot_be(tmp_path):
    for names in (["a"], {"0": "a", "5": "b", "2": "c"}, [1, 2, 3], {"0": "a", "1": "b"}):
        folder = timm_folder(tmp_path / "net", label_names=names)
        found = timm.read(folder, json.loads((folder / "config.json").read_text()))
        assert found.labels is None
        assert any("class names were left out" in note for note in found.notes)
    found = timm.read(
        timm_folder(tmp_path / "net"), {"label_names": {"0": "a", "1": "b", "2": "c"}} | _config(tmp_path)
    )
    assert found.labels == ("a", "b", "c")


def _config(tmp_path):
    return json.loads((tmp_path / "net" / "config.json").read_text())


def test_names_that_occur_twice_are_told_apart():
    assert distinct(["crane", "cat", "crane"]) == ("crane [0]", "cat", "crane [2]")
    assert distinct(["cat", "dog"]) == ("cat", "dog")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_weights_of_other_precisions_load(tmp_path, dtype):
    theirs = tiny_vit()
    tensors, _ = timm.exported(theirs)
    folder = timm_folder(tmp_path / "net", theirs)
    save_state(folder / "model.safetensors", {k: v.astype(dtype) for k, v in tensors.items()})
    model = zoo.convert(folder)
    assert all(w.dtype == "float32" for w in model.weights)
    tolerance = {"float16": 1e-2, "bfloat16": 1e-1, "float64": 1e-6}[dtype]
    np.testing.assert_allclose(predict(model, images(model)), predict(theirs, images(model)), atol=tolerance)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tensors": {"fc_norm.weight": np.ones(8, "float32")}}, r"left over 'fc_norm\.weight'"),
        ({"without": ["head.bias"]}, r"missing 'head\.bias'"),
        ({"tensors": {"head.bias": np.ones(4, "float32")}}, r"'head\.bias' has shape \(4,\)"),
        ({"tensors": {"head.bias": np.ones(3, "int32")}}, r"'head\.bias' is of type int32"),
        ({"num_classes": 7}, r"'head\.weight' has shape \(8, 3\) where 'logits/kernel' is \(8, 7\)"),
        ({"num_classes": 10**8}, "impossible 'num_classes'"),
        ({"num_classes": "3"}, "impossible 'num_classes'"),
        ({"cfg": {"mean": [0.5]}}, "impossible 'mean'"),
        ({"cfg": {"std": [0.5, 1e300, 0.5]}}, "impossible 'std'"),
        ({"cfg": {"crop_mode": "random"}}, "a resizing that zoo does not do"),
        ({"cfg": {"crop_pct": -1}}, "a resizing that zoo does not do"),
        ({"cfg": {"crop_pct": "x"}}, "impossible 'crop_pct'"),
        ({"model_args": {"img_size": [8, 10**9], **TINY}}, "more than 4096 pixels"),
        ({"model_args": {"img_size": "8", **TINY}}, "impossible size of images"),
        ({"model_args": {"img_size": 8, **TINY, "embed_dim": 1 << 20}}, r"has shape \(1, 1, 8\) where"),
        (
            {"model_args": {"img_size": 8, **TINY, "depth": 1 << 19}},
            "the checkpoint has 2 blocks and its configuration gives 524,288",
        ),
        (
            {
                "model_args": {"img_size": 8, **TINY, "depth": 9999},
                "tensors": {f"blocks.{i}.norm1.weight": np.ones(0, "float32") for i in range(9999)},
            },
            "has 9,999 blocks.*be 256 at most",
        ),
        ({"model_args": {"img_size": 8, **TINY, "patch_size": [4, 4]}}, "impossible sizes"),
    ],
)
def test_hostile_and_broken_repositories_are_refused_before_memory_is_taken(tmp_path, changes, message):
    folder = timm_folder(tmp_path / "net", **changes)
    with pytest.raises(InvalidArgument, match=message):
        zoo.convert(folder)
    assert not list((tmp_path / "zoo-cache" / "models").iterdir())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"architecture": NaN}', "NaN is not standard JSON"),
        (b'{"architecture": "resnet18", "architecture": "vit"}', "a name occurs twice"),
        (b"[" * 100_000, "config.json is not valid JSON"),
        (b"[1]", "is a JSON list, and an object is needed"),
        (b"\xff{}", "config.json is not valid JSON"),
        (b" " * (MAX_SMALL_BYTES + 1), "has more than 16,777,216 bytes"),
    ],
    ids=["nan", "twice", "deep", "list", "bytes", "long"],
)
def test_hostile_configurations(tmp_path, text, message):
    folder = timm_folder(tmp_path / "net")
    (folder / "config.json").write_bytes(text)
    with pytest.raises(IntegrityError, match=message):
        zoo.convert(folder)


def test_a_configuration_of_a_gigabyte_is_not_read(tmp_path):
    folder = timm_folder(tmp_path / "net")
    with open(folder / "config.json", "wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(IntegrityError, match="has more than 16,777,216 bytes"):
        zoo.convert(folder)


def test_damaged_weights(tmp_path):
    folder = timm_folder(tmp_path / "net")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-5])
    with pytest.raises(IntegrityError, match="not a sound weight file"):
        zoo.convert(folder)


# Licences


def test_the_licence_comes_from_the_configuration_else_from_the_card(tmp_path):
    card = "---\nlicense: cc-by-nc-4.0\ntags: [a, b]\n---\n# A net\n"
    for cfg, wanted in (
        ({"license": "Apache-2.0"}, "apache-2.0"),
        ({}, "cc-by-nc-4.0"),
        ({"license": "my\nown"}, None),
    ):
        folder = timm_folder(tmp_path / "net", card=card if wanted else "# no front matter", cfg=cfg)
        model = zoo.convert(folder)
        assert model.zoo_origin.license == wanted


def test_a_licence_of_its_own_keeps_its_name_and_link(tmp_path):
    card = "---\nlicense: other\nlicense_name: 'my: own'\nlicense_link: https://example.com/it\n---\n"
    model = zoo.convert(timm_folder(tmp_path / "net", card=card))
    head = front_matter((model.zoo_origin.folder / "README.md").read_text("utf-8"))
    wanted = {"license": "other", "license_name": "my: own", "license_link": "https://example.com/it"}
    assert wanted.items() <= head.items()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# Card",
        "---\nlicense: mit\n",
        "---\n- a\n---",
        "---\nlicense: [\n---",
        "---\n!!python/object/apply:os.system ['echo']\n---",
        "---\na: &a [x]\nlicense: *a\n---",
        "---\n" + "[" * 5000 + "\n---",
        "---\nlicense: mit\nlong: " + "x" * (1 << 17) + "\n---",
    ],
)
def test_cards_that_say_nothing(text):
    assert front_matter(text) == {}


# transformers


def transformers_folder(folder, *, old=False, bare=False, pooler=False, prefix="vit.", preprocessor=None, **changes):
    """Writes a folder as transformers does; old: with the names of its version 4; bare: a ViTModel."""
    folder.mkdir(exist_ok=True)
    model = tiny_vit(4, epsilon=1e-12, include_top=not bare)
    tensors = {}
    for path, name in transformers.name_map(model).items():
        value = np.asarray(keras.ops.convert_to_numpy(_weight(model, path)))
        value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T if value.ndim == 2 else value
        parts = dict(zip("qkv", np.split(value, 3), strict=True)) if "qkv_proj" in name else {"": value}
        for part, array in parts.items():
            split = name.replace("qkv_proj", f"{part}_proj") if part else name
            tensors[_old(split) if old else split] = np.ascontiguousarray(array)
    tensors = {prefix + k.removeprefix("vit.") if k.startswith("vit.") else k: v for k, v in tensors.items()}
    if pooler:
        tensors |= {
            f"{prefix}pooler.dense.{k}": np.ones((8, 8)[: 2 - i], "float32") for i, k in enumerate(("weight", "bias"))
        }
    save_file(tensors, folder / "model.safetensors")
    config = {
        **{"model_type": "vit", "architectures": ["ViTModel" if bare else "ViTForImageClassification"]},
        **{"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32},
        **{"image_size": 8, "patch_size": 4, "layer_norm_eps": 1e-12, "hidden_act": "gelu", "qkv_bias": True},
        **({} if bare else {"id2label": {"0": "crane", "1": "cat", "2": "crane", "3": "dog"}}),
    }
    (folder / "config.json").write_text(json.dumps(config | changes), "utf-8")
    if preprocessor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor), "utf-8")
    return folder, model


def _weight(model, path):
    return next(w for w in model.weights if w.path == path)


def _old(name):
    """Returns what transformers 4 called a tensor of transformers 5."""
    back = {new: old for old, new in transformers.RENAMED.items()}
    module, _, variable = name.rpartition(".")
    head, layers, rest = module.partition("vit.layers.")
    number, _, part = rest.partition(".")
    return f"vit.encoder.layer.{number}.{back.get(part, part)}.{variable}" if layers and not head else name


@pytest.mark.parametrize(
    "names", [{}, {"old": True}, {"prefix": "", "bare": True}, {"prefix": "", "bare": True, "old": True}]
)
def test_names_of_transformers_old_and_new_with_and_without_prefix(tmp_path, names):
    folder, theirs = transformers_folder(tmp_path / "net", **names)
    written = load_file(folder / "model.safetensors")
    assert any("encoder.layer.0.attention.attention.query" in name for name in written) == bool(names.get("old"))
    assert any(name.startswith("vit.") for name in written) == ("prefix" not in names)
    model = zoo.convert(folder)
    np.testing.assert_allclose(predict(model, images(model)), predict(theirs, images(model)), rtol=1e-5, atol=1e-6)
    assert model.zoo_spec.arguments["epsilon"] == 1e-12
    assert model.zoo_spec.preprocessing is None
    assert model.zoo_spec.labels == (None if names.get("bare") else ("crane [0]", "cat", "crane [2]", "dog"))


def test_a_tensor_that_is_there_twice_is_refused(tmp_path):
    folder, _ = transformers_folder(tmp_path / "net")
    tensors = load_file(folder / "model.safetensors")
    for name, twin in (
        ("vit.embeddings.cls_token", "embeddings.cls_token"),
        ("vit.layers.0.attention.q_proj.bias", "vit.encoder.layer.0.attention.attention.query.bias"),
    ):
        save_file(tensors | {twin: tensors[name]}, folder / "model.safetensors")
        with pytest.raises(InvalidArgument, match=f"a tensor twice, by different names.*{twin}"):
            zoo.convert(folder)
    save_file(tensors | {"vit.layers.0.attention.qkv_proj.bias": np.ones(24, "float32")}, folder / "model.safetensors")
    with pytest.raises(InvalidArgument, match=r"left over 'vit\.layers\.0\.attention\.k_proj\.bias'"):
        zoo.convert(folder)


def test_links_into_the_cache_of_another_program_are_followed(tmp_path):
    folder, _ = transformers_folder(tmp_path / "net", image_size=[8, 8], preprocessor={"size": 8, "resample": None})
    (tmp_path / "snapshot").mkdir()
    for path in folder.iterdir():
        (tmp_path / "snapshot" / path.name).symlink_to(path)
    assert zoo.convert(tmp_path / "snapshot").zoo_spec.preprocessing["resize"] == "bilinear"


def test_a_pooler_is_left_out_and_named(tmp_path):
    folder, theirs = transformers_folder(tmp_path / "net", bare=True, pooler=True, prefix="")
    model = zoo.convert(folder)
    np.testing.assert_allclose(predict(model, images(model)), predict(theirs, images(model)), rtol=1e-5, atol=1e-6)
    card = (model.zoo_origin.folder / "README.md").read_text("utf-8")
    assert "Left out: pooler.dense.bias, pooler.dense.weight" in card.replace("\\", "")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_hidden_layers": 3}, "cannot be those of a checkpoint of 2 blocks"),
        ({"hidden_size": 1 << 20, "num_attention_heads": 2}, r"'.*' has shape .* where"),
        ({"hidden_size": 10**9}, "impossible 'hidden_size'"),
        ({"image_size": 10**5}, "cannot be those of a checkpoint"),
        ({"hidden_act": "gelu_new"}, "do not have this activation"),
        ({"hidden_act": ["gelu"]}, "do not have this activation"),
        ({"layer_norm_eps": 0}, "impossible 'layer_norm_eps'"),
        ({"num_attention_heads": 3}, "`embed_dim` must be a multiple of `num_heads`"),
        ({"id2label": {"0": "a", "1": "b"}}, r"'classifier\.weight' has shape \(8, 4\)"),
        ({"preprocessor": {"size": 16}}, "resizes images to another size than the model takes"),
        ({"preprocessor": {"size": 8, "resample": 5}}, "unknown 'resample'"),
        ({"preprocessor": {"size": 8, "image_mean": [0.5]}}, "impossible 'image_mean'"),
        (
            {"preprocessor": {"size": 8, "image_processor_type": "CLIPImageProcessor"}},
            "does not have this preprocessing",
        ),
    ],
)
def test_transformers_that_cannot_be(tmp_path, changes, message):
    folder, _ = transformers_folder(tmp_path / "net", **changes)
    with pytest.raises(InvalidArgument, match=message):
        zoo.convert(folder)


# Preprocessing


def photographs():
    """Real photographs, lying and standing, one of them small."""
    from sklearn.datasets import load_sample_images

    china, flower = (Image.fromarray(image) for image in load_sample_images().images)
    return [china, flower.rotate(90, expand=True), flower.crop((100, 50, 300, 221)), china.crop((7, 0, 431, 424))]


@pytest.mark.torch
@pytest.mark.peers
@pytest.mark.parametrize(
    "cfg",
    [
        {"input_size": [3, 224, 224], "crop_pct": 0.875, "interpolation": "bilinear"},
        {"input_size": [3, 224, 224], "crop_pct": 0.95},
        {"input_size": [3, 299, 299], "crop_pct": 0.8975, "mean": [0.5] * 3, "std": [0.5] * 3},
        {"input_size": [3, 224, 224], "crop_pct": 0.9, "crop_mode": "squash"},
        {"input_size": [3, 288, 288], "crop_pct": 1.0, "crop_mode": "squash"},
        {"input_size": [3, 224, 224], "crop_pct": 0.9, "crop_mode": "border"},
        {"input_size": [3, 160, 160], "crop_pct": 1.0, "crop_mode": "border", "interpolation": "lanczos"},
        {"input_size": [3, 128, 224], "crop_pct": 0.9},
        {"tag": "without anything else"},
    ],
    ids=lambda cfg: "-".join(str(v) for v in cfg.values()),
)
def test_photographs_are_read_as_timm_reads_them(cfg):
    timms = imported_timm()
    resolved = timms.data.resolve_data_config({}, pretrained_cfg=cfg)
    transform = timms.data.create_transform(**resolved, is_training=False)
    channels, height, width = resolved["input_size"]
    declared = timm._preprocessing(cfg, (height, width, channels))
    for photograph in photographs():
        wanted = transform(photograph).numpy().transpose(1, 2, 0)
        np.testing.assert_allclose(preprocessing.encode(declared, [photograph])[0], wanted, atol=1e-5)


def imported_timm():
    """timm, whose torchvision does not load beside PyTorch for the CPU alone."""
    sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("none"))
    import timm as library

    return library


@pytest.mark.parametrize(
    "written",
    [
        {"do_normalize": True, "do_resize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": 224},
        {
            **{"do_normalize": True, "do_rescale": True, "do_resize": True, "rescale_factor": 1 / 255, "resample": 2},
            **{"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "size": {"height": 224, "width": 224}},
            **{"image_processor_type": "ViTImageProcessor"},
        },
    ],
    ids=["before 2022", "now"],
)
def test_photographs_are_read_as_transformers_documents_it(tmp_path, written):
    """https://huggingface.co/docs/transformers/model_doc/vit#transformers.ViTImageProcessor"""
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(written))
    declared = transformers._preprocessing(tmp_path / "preprocessor_config.json", (224, 224, 3))
    for photograph in photographs():
        resized = np.asarray(photograph.resize((224, 224), Image.Resampling.BILINEAR), "float64")
        wanted = (resized * (1 / 255) - 0.5) / 0.5
        np.testing.assert_allclose(preprocessing.encode(declared, [photograph])[0], wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "declared"),
    [
        ("caffe", {"scale": 1.0, "mean": [103.939, 116.779, 123.68], "order": "bgr"}),
        ("tf", {"scale": 1 / 127.5, "mean": [1.0] * 3}),
        ("torch", {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}),
    ],
)
def test_the_preprocessing_of_keras_applications_can_be_declared(mode, declared):
    from keras.src.applications.imagenet_utils import preprocess_input

    photograph = np.asarray(photographs()[0])
    made = preprocessing.image_declaration(photograph.shape, **declared)
    png = io.BytesIO()
    Image.fromarray(photograph).save(png, "PNG")
    wanted = preprocess_input(photograph.astype("float32"), data_format="channels_last", mode=mode)
    for raw in (photograph, png.getvalue()):
        np.testing.assert_allclose(preprocessing.encode(made, [raw])[0], wanted, atol=2e-5)


def test_a_line_of_pixels_is_not_blown_up():
    declared = preprocessing.image_declaration((224, 224, 3), resize="bicubic", crop=0.9)
    with pytest.raises(InvalidArgument, match="cannot be resized with its proportions, to 248 x 12400000 pixels"):
        preprocessing.encode(declared, [Image.new("RGB", (50_000, 1))])


@pytest.mark.parametrize(("key", "value"), [("crop_mode", "random"), ("crop_mode", ["center"]), ("order", "grb")])
def test_impossible_declarations(key, value):
    declared = preprocessing.image_declaration((6, 5, 3)) | {key: value}
    with pytest.raises(InvalidArgument, match=f"impossible '{key}'"):
        preprocessing.encode(declared, np.zeros((1, 6, 5, 3)))


# Files and references


def test_a_weight_file_alone_needs_its_builder(tmp_path):
    theirs = tiny_vit()
    folder = timm_folder(tmp_path / "net", theirs)
    beside = zoo.convert((folder / "model.safetensors").rename(folder / "best.safetensors"))
    np.testing.assert_allclose(predict(beside, images(beside)), predict(theirs, images(beside)), rtol=1e-5, atol=1e-6)
    (folder / "config.json").unlink()
    with pytest.raises(InvalidArgument, match=r"does not say which network.*Put its config\.json beside it"):
        zoo.convert(folder / "best.safetensors")
    alone = zoo.convert(folder / "best.safetensors", name="vit_tiny", num_classes=3, image_shape=(8, 8, 3), **TINY)
    np.testing.assert_array_equal(predict(alone, images(alone)), predict(beside, images(beside)))
    with pytest.raises(UnknownName, match="argument"):
        zoo.convert(folder / "best.safetensors", name="vit_tiny", num_clases=3)


def test_a_file_of_transformers_is_known_by_its_names(tmp_path):
    folder, theirs = transformers_folder(tmp_path / "net")
    (folder / "config.json").unlink()
    model = zoo.convert(folder / "model.safetensors", name="vit_tiny", num_classes=4, image_shape=(8, 8, 3), **TINY)
    np.testing.assert_allclose(predict(model, images(model)), predict(theirs, images(model)), rtol=1e-5, atol=1e-6)


def test_what_cannot_be_converted_says_why(tmp_path):
    (tmp_path / "weights.bin").write_bytes(b"\x80\x04")
    with pytest.raises(InvalidArgument, match=r"no converter reads such a file.*can run code"):
        zoo.convert(tmp_path / "weights.bin")
    with pytest.raises(InvalidArgument, match="no such file or folder"):
        zoo.convert(tmp_path / "nothing")
    with pytest.raises(InvalidArgument, match=r"is not a checkpoint of any known format.*Known: "):
        zoo.convert(tmp_path)
    with pytest.raises(UnknownName, match=r"no foreign format named 'tim'. Did you mean 'timm'"):
        zoo.convert(tmp_path, "tim")
    folder = timm_folder(tmp_path / "net")
    with pytest.raises(InvalidArgument, match=r"is not a checkpoint of transformers.*of the format 'timm'"):
        zoo.convert(folder, "transformers")
    with pytest.raises(InvalidArgument, match="says which builder"):
        zoo.convert(folder, num_classes=3)
    zoo.convert(folder, out=str(tmp_path / "published"))
    with pytest.raises(InvalidArgument, match="a model of zoo already"):
        zoo.convert(zoo.pull(str(tmp_path / "published")))


def test_the_same_folder_gives_the_same_revision(tmp_path):
    folder = timm_folder(tmp_path / "net")
    first, second = zoo.convert(folder), zoo.convert(folder)
    assert first.zoo_origin.folder == second.zoo_origin.folder
    assert first.zoo_origin.sha256 == second.zoo_origin.sha256
    assert [p.name for p in (tmp_path / "zoo-cache" / "models").iterdir() if p.is_dir()] == [
        first.zoo_origin.folder.name
    ]


# Writing for timm


def test_what_is_written_for_timm_comes_back_as_it_was(tmp_path):
    declared = preprocessing.image_declaration(
        (8, 8, 3), maximum=16.0, mean=[0.1, 0.2, 0.3], resize="bilinear", crop=0.9
    )
    theirs = tiny_vit()
    theirs.zoo_spec = theirs.zoo_spec.but(preprocessing=declared, labels=("a", "b", "c"))
    model = zoo.convert(timm_folder(tmp_path / "net", theirs))
    for mine, other in zip(model.weights, theirs.weights, strict=True):
        np.testing.assert_array_equal(np.asarray(keras.ops.convert_to_numpy(mine)), keras.ops.convert_to_numpy(other))
    assert model.zoo_spec.arguments == theirs.zoo_spec.arguments
    assert model.zoo_spec.labels == ("a", "b", "c")
    photograph = photographs()[2]
    wanted = preprocessing.encode(declared, [photograph])
    np.testing.assert_allclose(preprocessing.encode(model.zoo_spec.preprocessing, [photograph]), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "arguments", "architecture", "made_with"),
    [
        ("resnet18", {"image_shape": (64, 64, 3)}, "resnet18", {}),
        ("vit_tiny", {"image_shape": (384, 384, 3)}, "vit_tiny_patch16_384", {"img_size": [384, 384]}),
        ("vit_base", {"patch_size": 32, "depth": 1}, "vit_base_patch16_224", {"patch_size": 32, "depth": 1}),
    ],
)
def test_architectures_for_timm(name, arguments, architecture, made_with):
    from zoo.hub.convert.filling import outlined
    from zoo.hub.convert.timm_writing import _architecture

    with outlined(name, arguments | {"num_classes": 3}) as model:
        found = _architecture(model.zoo_spec)
    assert found[0] == architecture
    assert made_with.items() <= found[1].items()


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "resnet18",
            {"flavour": "keras", "filters": 4},
            "timm has no resnet18 with these arguments.*'flavour': 'keras'",
        ),
        ("resnet50", {"blocks": (1, 1, 1, 1)}, "timm has no resnet50 with these arguments.*'blocks'"),
        ("resnet20", {}, "does not write this network's weights for timm. Received: 'resnet20'"),
        ("vit_tiny", {"pool": "mean", **TINY}, "timm has no vit_tiny with these arguments.*'pool': 'mean'"),
        ("vit_tiny", {"epsilon": 1e-12, **TINY}, "Those of timm's are {'epsilon': 1e-06}"),
    ],
)
def test_networks_that_timm_does_not_have(name, arguments, message):
    from zoo.hub.convert.filling import outlined
    from zoo.hub.convert.timm_writing import _architecture

    small = {"image_shape": (32, 32, 3), "num_classes": 3}
    with outlined(name, small | arguments) as model, pytest.raises(InvalidArgument, match=message):
        _architecture(model.zoo_spec)


def test_preprocessing_that_timm_does_not_have():
    model = tiny_vit()
    model.zoo_spec = model.zoo_spec.but(preprocessing=preprocessing.image_declaration((8, 8, 3), order="bgr"))
    with pytest.raises(InvalidArgument, match="timm has no preprocessing that does what this model's does"):
        timm.exported(model)


# The Hub and the command line


def test_a_repository_of_the_hub_is_converted_and_its_format_checked(hub_server, tmp_path, capsys):
    from zoo.cli import main

    folder, theirs = transformers_folder(
        tmp_path / "net", preprocessor={"size": 8, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    )
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04")
    commit = hub_server.add_repo("google/vit", files={p.name: p.read_bytes() for p in folder.iterdir()})
    model = zoo.convert("hf://google/vit", "transformers")
    np.testing.assert_allclose(predict(model, images(model)), predict(theirs, images(model)), rtol=1e-5, atol=1e-6)
    sha256 = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    assert model.zoo_origin.parent() == {"ref": f"hf://google/vit@{commit}", "sha256": sha256}
    assert not hub_server.seen(r"pytorch_model\.bin")
    with pytest.raises(InvalidArgument, match="is not of this format but of transformers"):
        zoo.convert("hf://google/vit", "timm")
    with pytest.raises(InvalidArgument, match="says itself which builder"):
        zoo.convert("hf://google/vit", num_classes=3)
    capsys.readouterr()
    assert main(["convert", "hf://google/vit", "--json", "--out", "me/vit"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"] == "vit_base"  # the name for a width that has none
    assert found["license"] == "apache-2.0"
    assert found["labels"] == ["crane [0]", "cat", "crane [2]", "dog"]
    assert found["preprocessing"]["mean"] == [0.5] * 3
    assert found["parameters"] == theirs.count_params()
    published = zoo.load("me/vit")
    assert predict(published, images(model)).shape == (2, 4)
    assert published.zoo_origin.parent()["sha256"] == published.zoo_origin.sha256 != sha256
    assert main(["convert", str(folder)]) == 0
    printed = capsys.readouterr().out
    for words in (
        "format        transformers",
        "licence       apache-2.0",
        "8 x 8 x 3; resized bilinear",
        "4: crane [0], cat",
    ):
        assert words in printed
