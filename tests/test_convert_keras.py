"""Weight files of keras.applications: converted, they compute what Keras computes; nothing else is read from them."""

import dataclasses
import functools
import http.server
import inspect
import json
import os
import re
import shutil
import threading
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.applications import imagenet_utils, inception_v3, resnet, xception
from keras.src.backend import config
from keras.src.legacy.saving import legacy_h5_format

import zoo
from zoo.data.preprocessing import encode_array
from zoo.errors import IntegrityError, InvalidArgument, StoreError, UnknownName
from zoo.hub import convert, keeping, keras_store, pinning
from zoo.hub.convert import hdf5, keras_applications
from zoo.hub.convert.keras_applications import APPLICATIONS

SIZES = {"InceptionV3": 75, "Xception": 71}


def randomised(model, seed=0):
    """Gives every weight another value, batch-norm statistics and biases included, of a size that keeps outputs so."""
    random = np.random.default_rng(seed)
    for weight in model.weights:
        shape, name = tuple(weight.shape), weight.path.rpartition("/")[2]
        if name in ("gamma", "moving_variance"):
            value = random.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            value = 0.1 * random.standard_normal(shape)
        else:
            fan = shape[0] * shape[1] if name == "depthwise_kernel" else np.prod(shape[:-1])
            value = random.standard_normal(shape) / np.sqrt(fan)
        weight.assign(value.astype("float32"))
    return model


def application(key, classes=10, **options):
    keras.backend.clear_session()
    shape = (SIZES.get(key, 64),) * 2 + (3,)
    options |= {"classes": classes, "classifier_activation": None} if classes else {"include_top": False}
    return randomised(getattr(keras.applications, key)(weights=None, input_shape=shape, **options))


def saved(model, path, layout="old"):
    """Writes the weights as Keras does: `.weights.h5`, or the old layout, which the published files have."""
    if layout == "new":
        model.save_weights(path)
    else:
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return path


def images(model, count=2):
    return np.random.default_rng(1).standard_normal((count, *model.input_shape[1:])).astype("float32")


def predict(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False))


def assert_equal_outputs(ours, theirs):
    x = images(theirs)
    wanted = predict(theirs, x)
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(predict(ours, x), wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("key", ["ResNet50", "ResNet50V2", "InceptionV3", "Xception"])
def test_a_converted_file_computes_what_keras_computes(tmp_path, key):
    """In the layout of the published files, and in that of today's `save_weights`."""
    theirs = application(key)
    ours = zoo.convert(saved(theirs, tmp_path / "old.h5"), image_shape=theirs.input_shape[1:])
    assert ours.zoo_spec.name == APPLICATIONS[key].model
    assert ours.zoo_spec.arguments["num_classes"] == 10
    assert ours.zoo_spec.arguments["flavour"] == "keras"
    assert_equal_outputs(ours, theirs)
    new = keras_applications.read_file(saved(theirs, tmp_path / "new.weights.h5", "new"), None, {})
    for weight, tensor in zip(theirs.weights, new.tensors.values(), strict=True):
        assert np.array_equal(value_of(weight), tensor), weight.path


def value_of(weight):
    return keras.ops.convert_to_numpy(weight)


@pytest.mark.slow
@pytest.mark.parametrize("key", ["ResNet101", "ResNet152", "ResNet101V2", "ResNet152V2"])
def test_deep_networks_are_told_apart_and_computed(tmp_path, key):
    theirs = application(key)
    ours = zoo.convert(saved(theirs, tmp_path / "my.h5"), image_shape=theirs.input_shape[1:])
    assert ours.zoo_spec.name == APPLICATIONS[key].model
    assert_equal_outputs(ours, theirs)


def test_a_file_without_top_gives_the_features(tmp_path):
    theirs = application("ResNet50V2", classes=None, pooling="avg")
    ours = zoo.convert(saved(theirs, tmp_path / "my.h5"), image_shape=theirs.input_shape[1:])
    assert ours.output_shape == (None, 2048)
    assert_equal_outputs(ours, theirs)


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A file of Keras's own name with 1,000 classes; the network is small of file, and random."""
    path = tmp_path_factory.mktemp("keras") / APPLICATIONS["Xception"].files[0]
    return saved(application("Xception", classes=1000), path)


def test_a_published_file_brings_preprocessing_labels_and_licence(tmp_path, published, monkeypatch):
    path = tmp_path / published.name
    path.symlink_to(published)
    found = keras_applications.read_file(path, None, {})
    assert (found.labels, found.license) == (None, None)
    assert "not the file that Keras publishes" in found.notes[0]
    assert "imagenet_class_index.json, which is not beside" in found.notes[-1]
    index = {str(i): [f"n{i:08}", "crane" if i in (134, 517) else f"class {i}"] for i in range(1000)}
    (tmp_path / "imagenet_class_index.json").write_text(json.dumps(index))
    application = dataclasses.replace(APPLICATIONS["Xception"], md5=(keras_applications.md5_of(path), ""))
    monkeypatch.setitem(APPLICATIONS, "Xception", application)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert convert.recognise(names, {}) == "keras_applications"
    assert set(convert.wanted(names, {})) == set(names)
    found = keras_applications.read(tmp_path, {})
    assert found.license == "mit"
    assert found.labels[0] == "class 0"
    assert found.labels[134] == "crane [134]"
    assert found.arguments["image_shape"] == (299, 299, 3)


@pytest.mark.parametrize("key", APPLICATIONS)
def test_preprocessing_is_that_of_keras(key):
    module = {"caffe": keras.applications.resnet50, "tf": keras.applications.xception}
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype("float32")
    own = {"InceptionV3": keras.applications.inception_v3, "ResNet50V2": keras.applications.resnet_v2}
    theirs = own.get(key, module["caffe" if key in ("ResNet50", "ResNet101", "ResNet152") else "tf"])
    declared = keras_applications.preprocessing_of(key, (4, 4, 3))
    assert np.abs(encode_array(declared, pixels) - theirs.preprocess_input(pixels.copy())).max() < 1e-4


def test_hashes_are_those_of_the_installed_keras():
    for key, module in (("InceptionV3", inception_v3), ("Xception", xception)):
        found = re.findall(r'file_hash="(\w+)"', inspect.getsource(getattr(module, key)))
        assert tuple(found) == APPLICATIONS[key].hashes
    for key, one in APPLICATIONS.items():
        if not one.md5:
            assert one.hashes == resnet.WEIGHTS_HASHES[one.stem], key
        assert all(re.fullmatch("[0-9a-f]{32}", md5) for md5 in one.hashes)


def test_another_network_is_refused(tmp_path):
    other = keras.applications.MobileNet(weights=None, input_shape=(32, 32, 3), classes=3, alpha=0.25)
    path = saved(other, tmp_path / "mobilenet.h5")
    with pytest.raises(InvalidArgument, match=r"not of a network of keras.applications that zoo has.*137 arrays"):
        zoo.convert(path)
    with pytest.raises(InvalidArgument, match=r"not of model 'resnet50'"):
        zoo.convert(path, name="resnet50")


def test_old_files_have_names_of_their_own(tmp_path, published):
    """As the files of 2017: text as bytes, in pieces, other names of layers and weights; only the order is as today."""
    path, names = tmp_path / "old.h5", []
    with h5py.File(published) as file, h5py.File(path, "w") as old:
        for number, layer in enumerate(file.attrs["layer_names"]):
            group, weights = old.create_group(f"layer_{number}"), []
            for place, weight in enumerate(file[layer].attrs["weight_names"]):
                weights.append(f"layer_{number}_W{place}:0")
                group[weights[-1]] = file[layer][weight][()]
            group.attrs["weight_names"] = np.array([w.encode() for w in weights], "S40")
            names.append(f"layer_{number}".encode())
        old.attrs["layer_names0"], old.attrs["layer_names1"] = np.array(names[:50]), np.array(names[50:])
    found, wanted = (keras_applications.read_file(p, None, {}).tensors for p in (path, published))
    for mine, theirs in zip(found.values(), wanted.values(), strict=True):
        assert np.array_equal(mine, theirs)


def test_a_saved_model_is_read_for_its_weights_alone(tmp_path, published):
    """A whole `.h5` model has its configuration beside, which may hold code, and is not looked at."""
    path = tmp_path / "model.h5"
    with h5py.File(published) as file, h5py.File(path, "w") as whole:
        group = whole.create_group("model_weights")
        for name, value in file.attrs.items():
            group.attrs[name] = value
        for name in file:
            file.copy(name, group)
        whole.attrs["model_config"] = '{"class_name": "Lambda", "config": {"function": "import os"}}'
        whole["optimizer_weights/iteration"] = np.int64(3)
    found, wanted = (keras_applications.read_file(p, None, {}).tensors for p in (path, published))
    assert len(found) == len(wanted)


def test_an_array_too_many_and_a_wrong_shape_are_named(tmp_path, published):
    path = tmp_path / "changed.h5"
    shutil.copyfile(published, path)
    with h5py.File(path, "a") as file:
        del file["block1_conv1/block1_conv1/kernel"]
        file["block1_conv1/block1_conv1/kernel"] = np.zeros((3, 3, 3, 31), "float32")
    with pytest.raises(InvalidArgument, match=r"block1_conv1/kernel .*\(3, 3, 3, 32\).*\(3, 3, 3, 31\)"):
        zoo.convert(path)
    shutil.copyfile(published, path)
    with h5py.File(path, "a") as file:
        file["predictions/predictions/spare"] = np.zeros(3, "float32")
        file["predictions/predictions/more"] = np.zeros(3, "float32")
        del file["block1_conv2"]
    with pytest.raises(IntegrityError, match="names a layer 'block1_conv2' and has none"):
        zoo.convert(path)


# Keras's own downloads


@pytest.fixture
def keras_server(tmp_path, published, monkeypatch):
    """A web server in the place of Keras's, with other addresses and hashes. Gives its folder and what it was asked."""
    folder, asked = tmp_path / "served", []
    folder.mkdir()
    (folder / published.name).symlink_to(published)
    rows = {str(i): [f"n{i:08}", f"class {i}"] for i in range(1000)}
    (folder / keras_applications.CLASS_INDEX).write_text(json.dumps(rows))

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            super().do_GET()

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(xception, "WEIGHTS_PATH", f"http://127.0.0.1:{server.server_port}/{published.name}")
    index = f"http://127.0.0.1:{server.server_port}/{keras_applications.CLASS_INDEX}"
    monkeypatch.setattr(imagenet_utils, "CLASS_INDEX_PATH", index)
    monkeypatch.setattr(config, "_KERAS_DIR", str(tmp_path / "keras-home"))
    monkeypatch.setattr(keras_store, "CLASS_INDEX_MD5", keras_applications.md5_of(folder / "imagenet_class_index.json"))
    one = dataclasses.replace(APPLICATIONS["Xception"], md5=(keras_applications.md5_of(published), ""))
    monkeypatch.setitem(APPLICATIONS, "Xception", one)
    yield folder, asked
    server.shutdown()
    server.server_close()


def test_keras_own_download_becomes_a_model_once(keras_server, published, monkeypatch):
    folder, asked = keras_server
    model = zoo.build("xception", weights="keras.applications/Xception")
    assert sorted(asked) == sorted(f"/{path.name}" for path in folder.iterdir())
    assert model.zoo_spec.labels[7] == "class 7"
    assert model.zoo_origin.ref.startswith("keras.applications/Xception@")
    with h5py.File(published) as file:
        assert np.array_equal(value_of(model.get_layer("logits").kernel), file["predictions/predictions/kernel"])
    card = (model.zoo_origin.folder / "README.md").read_text("utf-8")
    assert "license: mit" in card
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    again = zoo.load(model.zoo_origin.ref)
    assert again.zoo_origin.sha256 == model.zoo_origin.sha256
    assert len(asked) == 2
    with pytest.raises(InvalidArgument, match=r"only Keras publishes keras.applications"):
        zoo.push(model, "keras.applications/Xception", license="mit")


@pytest.mark.filterwarnings("ignore:xception.keras_in1k was not pinned yet")
def test_a_registered_name_pins_what_keras_published(keras_server, monkeypatch):
    model = zoo.build("xception", weights="xception.keras_in1k")
    rows = json.loads(Path(os.environ["ZOO_REGISTRY"]).read_text("utf-8"))["weights"]
    entry = rows["xception.keras_in1k"]
    assert model.zoo_origin.ref == f"keras.applications/Xception@{entry['revision']}"
    one = dataclasses.replace(APPLICATIONS["Xception"], md5=("0" * 32, ""))  # as another version of Keras may
    monkeypatch.setitem(APPLICATIONS, "Xception", one)
    again = zoo.build("xception", weights="xception.keras_in1k")
    assert again.zoo_origin == model.zoo_origin
    (kept,) = keeping.entries(thorough=True)
    assert (kept.name, kept.state) == (model.zoo_origin.ref, keeping.WHOLE)
    (row,) = pinning.verify("xception.keras_in1k")
    assert row.state == "verified"
    shutil.rmtree(os.environ["ZOO_CACHE"])
    with pytest.raises(UnknownName, match="Another version of Keras"):
        zoo.build("xception", weights="xception.keras_in1k")


def test_what_keras_has_already_is_not_downloaded(keras_server, published):
    _, asked = keras_server
    home = Path(config.keras_home()) / "models"
    home.mkdir(parents=True)
    shutil.copyfile(published, home / published.name)
    assert zoo.pull("keras.applications/Xception").is_dir()
    assert asked == [f"/{keras_applications.CLASS_INDEX}"]


def test_other_bytes_than_keras_publishes_are_refused(keras_server):
    folder, _ = keras_server
    name = APPLICATIONS["Xception"].files[0]
    (folder / name).unlink()
    (folder / name).write_bytes(b"something else")
    with pytest.raises(IntegrityError, match=r"is not the xception_weights.*MD5 is not the one that Keras publishes"):
        zoo.pull("keras.applications/Xception")
    (folder / name).unlink()
    with pytest.raises(StoreError, match=rf"cannot be downloaded \(.*404.*Get {name} from http.*by hand"):
        zoo.pull("keras.applications/Xception")
    assert not list(Path(os.environ["ZOO_CACHE"]).rglob("*.h5"))


def test_offline_the_sentence_says_how_to_get_the_file(keras_server, monkeypatch):
    _, asked = keras_server
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(StoreError, match=r"keras.applications/Xception is not on this machine, and HF_HUB_OFFLINE"):
        zoo.build("xception", weights="keras.applications/Xception")
    assert asked == []


def test_names_and_revisions_that_keras_does_not_have():
    with pytest.raises(UnknownName, match="Did you mean 'ResNet50'"):
        zoo.pull("keras.applications/Resnet50")
    with pytest.raises(UnknownName, match="Another version of Keras published it"):
        zoo.pull("keras.applications/ResNet50@" + "0" * 40)
    with pytest.raises(InvalidArgument, match="resnet101"):
        zoo.build("resnet101", weights="resnet50.keras_in1k")


# What else an HDF5 file can hold


def plain(path, **more):
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.arange(6, dtype="float32").reshape(2, 3)
        for name, make in more.items():
            make(file, name)
    return path


def test_plain_arrays_are_read(tmp_path):
    def states(file, name):
        file["layers/dropout/seed_generator/vars/0"] = np.zeros(2, "uint32")
        file["optimizer/vars/0"] = np.int64(7)
        file.create_dataset(
            "packed", data=np.ones((50, 4), "float16"), compression="gzip", shuffle=True, fletcher32=True
        )

    with hdf5.opened(plain(tmp_path / "a.h5", more=states)) as stored:
        assert stored.shapes == {"layers/dense/vars/0": (2, 3), "packed": (50, 4)}
        assert stored.array("layers/dense/vars/0")[1, 2] == 5
        assert stored.array("packed").dtype == "float32"
        with pytest.raises(InvalidArgument, match="no place: packed"):
            hdf5.left_over(stored, ["layers/dense/vars/0"])


def _external(file, name):
    file.create_dataset(name, shape=(4,), dtype="float32", external=[("/etc/hostname", 0, 16)])


def _virtual(file, name):
    layout = h5py.VirtualLayout(shape=(4,), dtype="float32")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", shape=(4,))
    file.create_virtual_dataset(name, layout)


def _cycle(file, name):
    file[name] = file["layers"]


def _deep(file, name):
    file["/".join([name] * 40) + "/x"] = np.zeros(1, "float32")


HOSTILE = {
    "soft": (lambda f, n: f.__setitem__(n, h5py.SoftLink("/layers/dense/vars/0")), "soft is a link to somewhere else"),
    "link": (lambda f, n: f.__setitem__(n, h5py.ExternalLink("/etc/hostname", "/")), "link is a link to somewhere"),
    "dangling": (lambda f, n: f.__setitem__(n, h5py.SoftLink("/nowhere")), "dangling is a link to somewhere else"),
    "twice": (lambda f, n: f.__setitem__(n, f["layers/dense/vars/0"]), "is in it twice"),
    "cycle": (_cycle, "is in it twice"),
    "deep": (_deep, "more than 32 deep"),
    "external": (_external, "external lie in another file or nowhere"),
    "virtual": (_virtual, "virtual lie in another file or nowhere"),
    "empty": (lambda f, n: f.create_dataset(n, dtype="float32", data=h5py.Empty("float32")), "another file or nowhere"),
    "huge": (lambda f, n: f.create_dataset(n, shape=(1 << 40,), dtype="float32"), "announces 4,398,046,511,104 bytes"),
    "bomb": (
        lambda f, n: f.create_dataset(n, shape=(1 << 30,), dtype="float32", chunks=(1 << 20,), compression="gzip"),
        "and 0 are there",
    ),
    "lzf": (
        lambda f, n: f.create_dataset(n, data=np.zeros((50, 4), "float32"), compression="lzf"),
        "packed by filter 32000, which may need a plug-in",
    ),
    "integers": (lambda f, n: f.__setitem__(n, np.arange(3)), "of type int64, not of 16, 32 or 64 bit"),
    "text": (lambda f, n: f.__setitem__(n, "text"), "of type object"),
    "reference": (lambda f, n: f.create_dataset(n, data=f.ref, dtype=h5py.ref_dtype), "of type object"),
    "rows": (lambda f, n: f.create_dataset(n, shape=(2,), dtype=h5py.vlen_dtype("float32")), "of type object"),
    "table": (lambda f, n: f.__setitem__(n, np.zeros(2, [("a", "f4")])), "not of 16, 32 or 64 bit"),
    "opaque": (lambda f, n: f.__setitem__(n, np.dtype("float32")), "neither a group nor an array"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_anything_but_plain_numbers_is_refused(tmp_path, kind):
    make, expected = HOSTILE[kind]
    path = plain(tmp_path / "a.h5", **{kind: make})
    with pytest.raises(IntegrityError, match=r"a.h5 is not a sound weight file.*" + re.escape(expected)):
        zoo.convert(path)


def test_a_link_in_the_place_of_the_weights_is_not_followed(tmp_path):
    target = plain(tmp_path / "target.h5")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["model_weights"] = h5py.ExternalLink(str(target), "/")
    with pytest.raises(IntegrityError, match="model_weights is a link to somewhere else"):
        zoo.convert(tmp_path / "a.h5")


def test_damaged_files_are_refused_or_read_as_they_are(tmp_path):
    """Cut anywhere a file is refused; where single bytes change, reading ends in an array or in our error."""
    whole = plain(tmp_path / "a.h5").read_bytes()
    path, random = tmp_path / "damaged.h5", np.random.default_rng(0)
    for cut in random.integers(0, len(whole), 40):
        path.write_bytes(whole[:cut])
        with pytest.raises(IntegrityError), hdf5.opened(path):
            pass
    for place in random.integers(0, len(whole), 300):
        changed = bytearray(whole)
        changed[place] ^= 1 << int(random.integers(8))
        path.write_bytes(changed)
        try:
            with hdf5.opened(path) as stored:
                assert all(np.prod(stored.array(name).shape) < 100 for name in stored.shapes)
        except IntegrityError:
            pass


def test_attributes_of_objects_are_refused(tmp_path):
    path = plain(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        file.attrs["layer_names"] = np.array([file.ref], h5py.ref_dtype)
    with pytest.raises(IntegrityError, match="attribute layer_names is not text"):
        zoo.convert(path)
