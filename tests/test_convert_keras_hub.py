"""Presets that KerasHub itself writes, of random weights: converted, they compute what KerasHub computes."""

import json
import shutil

import h5py
import keras
import numpy as np
import pytest
from test_convert_keras import predict, randomised

import zoo
from zoo.data.preprocessing import encode_array
from zoo.errors import IntegrityError, InvalidArgument
from zoo.hub import convert
from zoo.hub.convert import keras_hub as ours
from zoo.hub.convert import preset_images, preset_networks

pytestmark = pytest.mark.peers
RESNET = {"input_conv_filters": [64], "input_conv_kernel_sizes": [7], "image_shape": (32, 32, 3)}
STACKS = {"stackwise_num_filters": [64, 128], "stackwise_num_blocks": [2, 1], "stackwise_num_strides": [1, 2]}
XCEPTION_41 = {
    "stackwise_conv_filters": [[32, 64], [128] * 2, [256] * 2, [728] * 2, *[[728] * 3] * 8, [728, 1024], [1536, 2048]],
    "stackwise_pooling": [False, True, True, True, *[False] * 8, True, False],
}


def models():
    return pytest.importorskip("keras_hub").models


def resnet(block="bottleneck_block", version=1, **options):
    m = models()
    network = {**RESNET, **STACKS, "block_type": block, "use_pre_activation": version == 2}
    backbone = m.ResNetBackbone(**network)
    converter = m.ResNetImageClassifierPreprocessor.image_converter_cls(
        image_size=(32, 32), scale=[1 / 58, 1 / 57, 1 / 56], offset=[-2.1, -2.0, -1.8]
    )
    prepare = m.ResNetImageClassifierPreprocessor(converter)
    return m.ResNetImageClassifier(backbone, num_classes=5, preprocessor=prepare, **options)


def xception(**options):
    m = models()
    filters = [[8, 16], [24, 24], [32, 32], [32] * 3, [32] * 3, [32, 48], [48, 64]]
    pooling = [False, True, True, False, False, True, False]
    backbone = m.XceptionBackbone(filters, pooling, image_shape=(96, 96, 3))
    convert_image = m.XceptionImageClassifierPreprocessor.image_converter_cls
    prepare = m.XceptionImageClassifierPreprocessor(convert_image(image_size=(96, 96), scale=1 / 127.5, offset=-1))
    return m.XceptionImageClassifier(backbone, num_classes=5, preprocessor=prepare, **options)


def vit(backbone=None, **options):
    m = models()
    sizes = {"image_shape": (32, 32, 3), "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16}
    made = m.ViTBackbone(mlp_dim=40, **sizes, **(backbone or {}))
    convert_image = m.ViTImageClassifierPreprocessor.image_converter_cls
    prepare = m.ViTImageClassifierPreprocessor(convert_image(image_size=(32, 32), scale=1 / 255, antialias=True))
    return m.ViTImageClassifier(made, num_classes=5, preprocessor=prepare, **options)


CASES = {
    "resnet": (resnet, "resnet50"),
    "basic": (lambda: resnet("basic_block"), "resnet18"),
    "resnet_v2": (lambda: resnet(version=2), "resnet50v2"),
    "basic_v2": (lambda: resnet("basic_block", 2), "resnet18"),
    "xception": (xception, "xception"),
    "vit": (vit, "vit_tiny"),
    "vit_softmax": (lambda: vit(activation="softmax", dropout=0.1), "vit_tiny"),
    "vit_mean": (lambda: vit({"use_class_token": False, "layer_norm_epsilon": 1e-5}, pooling="gap"), "vit_tiny"),
}


def preset(model, folder):
    randomised(model).save_to_preset(folder)
    return folder


@pytest.mark.parametrize("case", CASES)
def test_a_converted_preset_computes_what_keras_hub_computes(tmp_path, case):
    make, name = CASES[case]
    keras.backend.clear_session()
    theirs = make()
    converted = zoo.convert(preset(theirs, tmp_path / "preset"))
    assert converted.zoo_spec.name == name
    assert converted.zoo_spec.parent["format"] == "keras_hub"
    raw = np.random.default_rng(0).integers(0, 256, (2, *converted.input_shape[1:])).astype("float32")
    x = encode_array(converted.zoo_spec.preprocessing, raw)
    prepared = keras.ops.convert_to_numpy(theirs.preprocessor.image_converter(raw))
    assert np.abs(x - prepared).max() < 1e-4
    wanted, found = predict(theirs, x), predict(converted, x)
    if case == "vit_softmax":
        found = keras.ops.convert_to_numpy(keras.ops.softmax(found))
        assert "the softmax at the end" in (converted.zoo_origin.folder / "README.md").read_text("utf-8")
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def test_a_backbone_alone_ends_in_its_features(tmp_path):
    keras.backend.clear_session()
    for made in (resnet().backbone, vit().backbone):
        folder = preset(made, tmp_path / made.name)
        assert not (folder / "task.json").exists()
        converted = zoo.convert(folder)
        x = np.random.default_rng(0).standard_normal((2, 32, 32, 3)).astype("float32")
        wanted = predict(made, x)
        wanted = wanted.mean((1, 2)) if wanted.ndim == 4 else wanted[:, 0]
        np.testing.assert_allclose(predict(converted, x), wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


def test_a_preset_on_the_hub_is_pulled(tmp_path, hub_server):
    keras.backend.clear_session()
    theirs = vit()
    folder = preset(theirs, tmp_path / "preset")
    (folder / "README.md").write_text("---\nlibrary_name: keras-hub\nlicense: apache-2.0\n---\n# Net\n")
    hub_server.add_repo("keras/net", {path.name: path.read_bytes() for path in folder.iterdir()})
    model = zoo.load("hf://keras/net")
    x = np.random.default_rng(0).standard_normal((1, 32, 32, 3)).astype("float32")
    assert np.abs(predict(model, x) - predict(theirs, x)).max() < 1e-4
    assert model.zoo_spec.parent["ref"].startswith("hf://keras/net@")
    assert "license: apache-2.0" in (model.zoo_origin.folder / "README.md").read_text("utf-8")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of a ViT preset, not to be changed."""
    keras.backend.clear_session()
    return preset(vit(), tmp_path_factory.mktemp("hub") / "preset")


@pytest.fixture
def folder(written, tmp_path):
    """A copy of a ViT preset."""
    return shutil.copytree(written, tmp_path / "preset")


def change(folder, file, edit):
    rows = json.loads((folder / file).read_text())
    edit(rows)
    (folder / file).write_text(json.dumps(rows))


def test_files_without_names_of_layers_are_read_by_place(folder, tmp_path):
    """As Keras of 2024 wrote them."""
    wanted = ours.read(folder, json.loads((folder / "config.json").read_text())).tensors
    with h5py.File(folder / "model.weights.h5", "a") as file:
        file.visititems(lambda path, item: item.attrs.pop("name") if "name" in item.attrs else None)
    found = ours.read(folder, json.loads((folder / "config.json").read_text())).tensors
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_layers_in_another_order_than_expected_are_noticed(folder):
    block = "layers/vi_t_encoder/encoder_layers/vi_t_encoder_block"
    with h5py.File(folder / "model.weights.h5", "a") as file:
        file[f"{block}/layer_norm_1/vars"].attrs["name"] = "ln_2"
    with pytest.raises(InvalidArgument, match=r"layer_norm_1 in model.weights.h5 should be layer 'ln_1'.*'ln_2'"):
        zoo.convert(folder)


def test_leftovers_and_missing_tensors_are_named(folder):
    with h5py.File(folder / "model.weights.h5", "a") as file:
        file["layers/adapter/vars/0"] = np.zeros(3, "float32")
    with pytest.raises(InvalidArgument, match=r"left over 'layers/adapter/vars/0'"):
        zoo.convert(folder)
    with h5py.File(folder / "model.weights.h5", "a") as file:
        del file["layers/adapter"], file["layers/vi_t_encoder/layer_norm"]
    with pytest.raises(InvalidArgument, match=r"missing 'ln/gamma', 'ln/beta'"):
        zoo.convert(folder)


def _config(**changes):
    return "config.json", lambda rows: rows["config"].update(changes)


def _task(**changes):
    return "task.json", lambda rows: rows["config"].update(changes)


REFUSED = {
    "another backbone": (("config.json", lambda rows: rows.update(class_name="SAMBackbone")), "no builder for this"),
    "another task": (("task.json", lambda rows: rows.update(class_name="ViTTagger")), "image classifiers of KerasHub"),
    "something new": (_config(use_rope=True), r"does not know.*use_rope"),
    "normalising": (_config(include_rescaling=True), "normalises images itself"),
    "no bias": (_config(use_mha_bias=False), "a bias in each dense layer"),
    "oblong patches": (_config(patch_size=[8, 4]), "square patches"),
    "pre-logits": (_task(intermediate_dim=8), "no dense layer before its logits"),
    "mean with token": (_task(pooling="gap"), "pools patches and class token together"),
    "no depth": (_config(num_layers=0), "impossible"),
    "endless": (_config(num_layers=10**9), "impossible"),
    "no classes": (_task(num_classes=None), "impossible 'num_classes'"),
    "huge image": (_config(image_shape=[10**6, 10**6, 3]), "impossible 'size'"),
    "text": (_config(hidden_dim="16"), "impossible 'hidden_dim'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_our_builders_cannot_express_is_refused_with_the_reason(folder, case):
    (file, edit), expected = REFUSED[case]
    change(folder, file, edit)
    with pytest.raises(InvalidArgument, match=expected):
        zoo.convert(folder)


def network(family, **changes):
    own = {**RESNET, **STACKS, "block_type": "bottleneck_block", "use_pre_activation": False} | changes
    return preset_networks.NETWORKS[family](own if family == "resnet" else changes)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"block_type": "bottleneck_block_vd"}, "vd blocks average before their shortcuts"),
        ({"input_conv_filters": [32, 32, 64], "input_conv_kernel_sizes": [3, 3, 3]}, "one 7 x 7 convolution"),
        ({"stackwise_num_filters": [64, 64]}, "double their filters"),
        ({"stackwise_num_strides": [2, 2]}, "double their filters"),
        ({"stackwise_num_blocks": [2, 10**6]}, "impossible"),
        ({"stackwise_num_blocks": [2, 0]}, "impossible"),
    ],
)
def test_other_residual_networks_are_refused(changes, expected):
    with pytest.raises(InvalidArgument, match=expected):
        network("resnet", **changes)


@pytest.mark.parametrize("blocks", [[[8, 16]] * 3, [[8, 16], [24, 25], [32, 32], [48, 64]], [[8, 16], [24] * 2, 3, 4]])
def test_other_xceptions_are_refused(blocks):
    with pytest.raises(InvalidArgument):
        network("xception", stackwise_conv_filters=blocks, stackwise_pooling=[False, True, True, False])


def test_the_published_presets_are_our_variants():
    """With the configurations that KerasHub gives its networks, all other arguments are those of our variants."""
    blocks = {"18": [2, 2, 2, 2], "34": [3, 4, 6, 3], "50": [3, 4, 6, 3], "101": [3, 4, 23, 3], "152": [3, 8, 36, 3]}
    four = {"stackwise_num_filters": [64, 128, 256, 512], "stackwise_num_strides": [1, 2, 2, 2]}
    made = {}
    for depth, count in blocks.items():
        for version in (1, 2):
            kind = {"block_type": "basic_block" if depth in ("18", "34") else "bottleneck_block"}
            more = {"stackwise_num_blocks": count, "use_pre_activation": version == 2}
            made["resnet", depth, version] = network("resnet", **four, **kind, **more)
    assert made["resnet", "18", 1][0] == "resnet18"
    assert made["resnet", "34", 1][0] == "resnet34"
    assert made["resnet", "152", 1][0] == "resnet152"
    assert made["resnet", "50", 2][0] == "resnet50v2"
    made["xception"] = network("xception", **XCEPTION_41)
    for size, (dim, depth, heads) in {"base": (768, 12, 12), "large": (1024, 24, 16)}.items():
        own = {"hidden_dim": dim, "num_layers": depth, "num_heads": heads, "mlp_dim": 4 * dim, "patch_size": [16, 16]}
        made[size] = network("vit", **own)
        assert made[size][0] == f"vit_{size}"
    for name, arguments, places in made.values():
        with convert.filling.outlined(name, arguments | {"num_classes": 10}) as model:
            names = set(ours.name_map(model).values()) - {"predictions/kernel", "predictions/bias"}
        stored = {f"{layer}/{v}" for layer, variables in places.values() for v in variables}
        if "vit" in name:
            for part in ("query", "key", "value"):
                stored = {n.replace(f"/{part}/", "/qkv/") for n in stored}
        assert names <= stored  # a convolution has no bias
        assert all(n.endswith("/bias") for n in stored - names)


def test_the_published_presets_have_as_many_parameters():
    """As KerasHub lists them for its presets."""
    listed = {}
    for family in (models().ResNetBackbone, models().XceptionBackbone, models().ViTBackbone):
        listed |= {name: row["metadata"]["params"] for name, row in family.presets.items()}
    deep = {"stackwise_num_filters": [64, 128, 256, 512], "stackwise_num_strides": [1, 2, 2, 2]}
    large = {"hidden_dim": 1024, "num_layers": 24, "num_heads": 16, "mlp_dim": 4096, "patch_size": [32, 32]}
    made = {
        "resnet_101_imagenet": network("resnet", **deep, stackwise_num_blocks=[3, 4, 23, 3]),
        "resnet_18_imagenet": network("resnet", **deep, stackwise_num_blocks=[2, 2, 2, 2], block_type="basic_block"),
        "xception_41_imagenet": network("xception", **XCEPTION_41),
        "vit_large_patch32_384_imagenet": network("vit", **large),
    }
    for preset, (name, arguments, _) in made.items():
        size = {"image_shape": (384, 384, 3)} if "384" in preset else {}
        with convert.filling.outlined(name, arguments | size | {"include_top": False}) as model:
            assert model.count_params() == listed[preset], preset


def test_presets_of_2024_say_mean_and_variance():
    old = {"height": 224, "width": 224, "scale": 1 / 255, "mean": [0.485, 0.456, 0.406], "crop_to_aspect_ratio": False}
    variance = [0.229**2, 0.224**2, 0.225**2]
    declared, _ = preset_images.preprocessing_of(old | {"variance": variance}, (224, 224, 3))
    np.testing.assert_allclose(declared["mean"], old["mean"], rtol=1e-6)
    np.testing.assert_allclose(declared["std"], [0.229, 0.224, 0.225], rtol=1e-6)
    assert declared["crop"] is None
    assert preset_images.size_of({}, old) == (224, 224)
    for unsaid in ({}, {"interpolation": "area"}, {"interpolation": ["bilinear"]}, {"pad_to_aspect_ratio": True}):
        assert preset_images.preprocessing_of(unsaid, (8, 8, 3))[0] is None


def test_weights_in_several_files_and_damaged_ones_are_refused(folder):
    whole = (folder / "model.weights.h5").read_bytes()
    (folder / "model.weights.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(IntegrityError, match="is not a sound weight file"):
        zoo.convert(folder)
    (folder / "model.weights.h5").rename(folder / "model.weights.json")
    with pytest.raises(InvalidArgument, match="cut into several files"):
        zoo.convert(folder)
