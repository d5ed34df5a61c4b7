"""Data sets: the real ones' figures, fingerprints, and every bad input with its message, before any training."""

import gzip
import hashlib
import http.server
import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import zoo.data
from zoo import cache
from zoo.data import base, catalog, preprocessing
from zoo.data.sets import cifar10, imdb, mnist
from zoo.errors import Conflict, DataError, IntegrityError, InvalidArgument, StoreError, UnknownName


def images(n=60, shape=(4, 4, 1)):
    return np.random.default_rng(n).integers(0, 256, (n, *shape), np.uint8)


def labels(n=60, num_classes=3):
    return np.arange(n) % num_classes


def picture(path, size=(8, 8), mode="RGB", value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(value).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


@pytest.fixture
def pictures(tmp_path):
    """A folder of 40 pictures of 8 x 8 pixels in two classes."""
    for i in range(40):
        picture(tmp_path / "pets" / ("cat", "dog")[i % 2] / f"{i:02}.png", value=i)
    return tmp_path / "pets"


@pytest.fixture
def table(tmp_path):
    """A table of 40 reviews in two classes."""
    path = tmp_path / "reviews.csv"
    rows = [f'"a {("good", "bad")[i % 2]} film, number {i}",{("yes", "no")[i % 2]}' for i in range(40)]
    path.write_text("text,label\n" + "\n".join(rows), "utf-8")
    return path


def contents(split):
    x, _ = split.arrays()
    return {row.tobytes() for row in x}


# Names


def test_names_and_their_tasks():
    rows = {row.name: row for row in zoo.data.names()}
    assert {"digits", "digits_parity", "mnist", "cifar10", "imdb"} <= set(rows)
    assert rows["imdb"].task == "text_classification"
    assert rows["imdb"].arguments["sequence_length"] == 256
    assert all(row.summary for row in rows.values())


def test_listing_names_imports_nothing_heavy():
    code = (
        "import sys, zoo.data; zoo.data.names(); "
        "print([m for m in ('numpy', 'sklearn', 'keras', 'tensorflow', 'PIL') if m in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("mnits", {}, "no data set named 'mnits'. Did you mean 'mnist'"),
        (
            "imdb",
            {"sequence_lenght": 9},
            "no argument of data set 'imdb' named 'sequence_lenght'. Did you mean 'sequence_length'",
        ),
        ("imdb", {"sequence_length": "9"}, "data set 'imdb': `sequence_length` must be int. Received: '9'"),
        ("imdb", {"sequence_length": 0}, "`sequence_length` must be 1 to"),
        ("imdb", {"keep": "middle"}, "`keep` must be 'first' or 'last'. Received: 'middle'"),
        ("imdb", {"vocab_size": 2}, "`vocab_size` must be 3 to"),
        ("digits", {"seed": 1}, "no argument of data set 'digits' named 'seed'"),
        (3, {}, "this is not a data set. Received: 'int'"),
    ],
)
def test_bad_names_and_options(source, options, message):
    with pytest.raises(InvalidArgument, match=message):
        zoo.data.load(source, **options)


def test_a_name_wins_over_a_folder_unless_it_is_written_as_a_path(pictures, monkeypatch):
    monkeypatch.chdir(pictures.parent)
    pictures.rename("digits")
    assert len(zoo.data.load("digits").labels) == 10
    assert zoo.data.load("./digits").labels == ("cat", "dog")
    (pictures.parent / "digits").rename("pets")
    with pytest.raises(UnknownName, match=r"needs its path: './pets'"):
        zoo.data.load("pets")


def test_missing_path(pictures):
    with pytest.raises(DataError, match=r"no such file or folder. Received: '.*pest'. Did you mean '.*pets'"):
        zoo.data.load(pictures.with_name("pest"))
    with pytest.raises(DataError, match="no such file or folder"):
        zoo.data.load("/nowhere/at/all.csv")


def test_registering_a_name_twice():
    @catalog.dataset("test_only", task="image_classification")
    def mine(*, n: int = 60):
        """Arrays for a test."""
        return zoo.data.from_arrays(images(n), labels(n))

    try:
        assert len(zoo.data.load("test_only", n=30).labels) == 3
        with pytest.raises(Conflict, match="a data set named 'test_only' is already registered"):
            exec(
                "def other(): pass\nregister('test_only', task='image_classification')(other)",
                {"register": catalog.dataset},
            )
    finally:
        del catalog._functions["test_only"]


# The real data sets


def check_splits(data, lengths, counts=None):
    assert {part: len(split) for part, split in data.splits.items()} == lengths
    for split in data.splits.values():
        assert split.labels.dtype == np.int32
        assert set(np.unique(split.labels)) == set(range(len(data.labels)))
    if counts:
        assert {part: np.bincount(split.labels).tolist() for part, split in data.splits.items()} == counts


def test_digits():
    from sklearn.datasets import load_digits

    data = zoo.data.load("digits")
    check_splits(data, {"train": 1258, "validation": 180, "test": 359})
    assert data.arguments == {"image_shape": (8, 8, 1), "num_classes": 10}
    found = np.concatenate([split.arrays()[0] for split in data.splits.values()])
    np.testing.assert_array_equal(
        np.sort(found.reshape(1797, 64), axis=0), np.sort(load_digits().data / 16, axis=0).astype(np.float32)
    )
    whole = np.bincount(load_digits().target)
    for split in data.splits.values():
        assert abs(np.bincount(split.labels) - whole * len(split) / 1797).max() < 1.01


def test_digits_parity_shares_the_split():
    digits, parity = zoo.data.load("digits"), zoo.data.load("digits_parity")
    assert parity.labels == ("even", "odd")
    for part in base.PARTS:
        x, y = digits.splits[part].arrays()
        other_x, other_y = parity.splits[part].arrays()
        np.testing.assert_array_equal(x, other_x)
        np.testing.assert_array_equal(y % 2, other_y)
    assert digits.fingerprint != parity.fingerprint


@pytest.mark.data
def test_mnist(zoo_data):
    data = zoo.data.load("mnist")
    check_splits(data, {"train": 55000, "validation": 5000, "test": 10000})
    # The class counts of the official 60,000 and 10,000.
    training = np.bincount(data.train.labels) + np.bincount(data.validation.labels)
    assert training.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(data.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert data.arguments == {"image_shape": (28, 28, 1), "num_classes": 10}
    x, y = data.test.batch([0, 1, 2])
    assert y.tolist() == [7, 2, 1]
    assert (x.min(), x.max()) == (0, 1)
    pixels, _ = data.train.subset(np.arange(55000)).arrays()
    assert abs(float(pixels.mean(dtype=np.float64)) - 0.1307) < 2e-4  # the mean that everybody uses
    more = zoo.data.load("mnist", validation=600)
    assert [len(part) for part in (more.train, more.validation, more.test)] == [59400, 600, 10000]
    assert more.fingerprint != data.fingerprint
    with pytest.raises(DataError, match="cannot hold out that much of 60,000 examples"):
        zoo.data.load("mnist", validation=0)
    with pytest.raises(InvalidArgument, match="'mnist' is resized for a pretrained model, which says to what size"):
        zoo.data.load("mnist", resize="bilinear")


@pytest.mark.data
def test_cifar10(zoo_data):
    data = zoo.data.load("cifar10")
    expected = {"train": [4500] * 10, "validation": [500] * 10, "test": [1000] * 10}
    check_splits(data, {"train": 45000, "validation": 5000, "test": 10000}, expected)
    assert data.labels[3] == "cat"
    if data.name == "cifar10_jpeg":
        assert data.source.startswith("CIFAR-10 (JPEG copy)")
    x, _ = data.train.arrays()
    np.testing.assert_allclose(x.mean(axis=(0, 1, 2), dtype=np.float64), 0, atol=1e-3)
    np.testing.assert_allclose(x.std(axis=(0, 1, 2), dtype=np.float64), 1, atol=1e-3)
    again = zoo.data.load("cifar10")  # from the cache, memory-mapped
    np.testing.assert_array_equal(again.test.batch([5])[0], data.test.batch([5])[0])
    assert again.fingerprint == data.fingerprint
    more = zoo.data.load("cifar10", validation=500)
    assert np.bincount(more.train.labels).tolist() == [4950] * 10
    assert more.preprocessing == data.preprocessing
    for file in cache.cache_folder("arrays").rglob("x.npy"):
        with open(file, "r+b") as opened:
            opened.truncate(1000)
    assert zoo.data.load("cifar10").fingerprint == data.fingerprint


@pytest.mark.data
def test_imdb(zoo_data):
    data = zoo.data.load("imdb", sequence_length=64)
    counts = {"train": [11250] * 2, "validation": [1250] * 2, "test": [12500] * 2}
    check_splits(data, {"train": 22500, "validation": 2500, "test": 25000}, counts)
    assert data.arguments == {"vocab_size": 20000, "sequence_length": 64, "num_classes": 2}
    words = data.assets["vocabulary.txt"].decode().split("\n")
    assert words[:5] == ["[PAD]", "[UNK]", "the", "and", "a"]
    assert "br" not in words[:100]
    x, y = data.train.batch([0, 22499])
    assert x.dtype == np.int32
    assert x.shape == (2, 64)
    assert y.tolist() == [0, 1]
    again = zoo.data.load("imdb", sequence_length=64)
    assert again.fingerprint == data.fingerprint
    assert zoo.data.load("imdb", sequence_length=64, keep="first").fingerprint != data.fingerprint


def test_imdb_reads_its_official_form_and_the_tables_alike(tmp_path, monkeypatch):
    rng, vocabulary = np.random.default_rng(0), [f"w{i}" for i in range(50)]
    monkeypatch.setattr(imdb, "PER_LABEL", 20)
    monkeypatch.setattr(imdb, "HELD_OUT", 4)
    official, tables = tmp_path / "official", tmp_path / "tables"
    official.mkdir(), tables.mkdir()
    with tarfile.open(official / "aclImdb_v1.tar.gz", "w:gz") as archive:
        for part in ("train", "test"):
            lines = []
            for label in ("pos", "neg"):
                for i in range(20):
                    words = " ".join(rng.choice(vocabulary, 9))
                    path = tmp_path / "review"
                    path.write_text(f"{words}<br />\tétait  fin", "utf-8")
                    archive.add(path, f"aclImdb/{part}/{label}/{i}_7.txt")
                    lines.append(f"{int(label == 'pos')}\t7\t{words}<br /> était fin\n")
            with gzip.open(tables / f"imdb_{part}.tsv.gz", "wt", encoding="utf-8") as file:
                file.writelines(reversed(lines))
    monkeypatch.setenv("ZOO_DATA", str(official))
    first = zoo.data.load("imdb")
    monkeypatch.setenv("ZOO_DATA", str(tables))
    assert zoo.data.load("imdb").fingerprint == first.fingerprint
    assert len(first.train) == 36


def test_cifar10_reads_its_binary_form_in_place(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz", compresslevel=1) as archive:
        for name in cifar10.BATCHES:
            record = np.zeros((10000, cifar10.RECORD), np.uint8)
            record[:, 0] = np.arange(10000) % 10
            record[:, 1:1025] = 255  # the red plane
            record[:, 1025:2049] = np.arange(10000)[:, None] % 256
            (tmp_path / name).write_bytes(record.tobytes())
            archive.add(tmp_path / name, f"cifar-10-batches-bin/{name}")
        archive.add(tmp_path / cifar10.BATCHES[0], "../../escaped.bin")
    data = zoo.data.load("cifar10")
    assert data.name == "cifar10"
    assert not (tmp_path.parent.parent / "escaped.bin").exists()
    assert data.preprocessing["mean"][0] == 1.0
    assert data.preprocessing["mean"][2] == 0.0


# Getting them


def test_no_network_says_how_to_get_it_by_hand(monkeypatch, tmp_path):
    monkeypatch.delenv("ZOO_DATA", raising=False)
    for module in (mnist, cifar10, imdb):
        monkeypatch.setattr(module, "REMOTE", replace(module.REMOTE, url=f"http://127.0.0.1:9/{module.REMOTE.file}"))
        name = module.__name__.rpartition(".")[2]
        with pytest.raises(DataError) as raised:
            zoo.data.load(name)
        message = str(raised.value)
        assert "cannot be downloaded" in message
        assert module.REMOTE.url in message
        assert str(cache.cache_folder("data")) in message
        assert "ZOO_DATA" in message
    assert not list(cache.cache_folder("data").iterdir())


def test_zoo_data_that_does_not_exist(monkeypatch):
    monkeypatch.setenv("ZOO_DATA", "/nowhere")
    with pytest.raises(DataError, match=r"ZOO_DATA names a folder that does not exist. Received: '/nowhere'"):
        zoo.data.load("mnist")


@pytest.fixture
def server(tmp_path):
    """A loopback server of `tmp_path/served`; gives its address and folder."""
    folder = tmp_path / "served"
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args):
            super().__init__(*args, directory=str(folder))

        def log_message(self, *args):
            pass

        def do_GET(self):
            if "broken" in self.path:  # announces more than it sends
                self.send_response(200)
                self.send_header("Content-Length", "3000000")
                self.end_headers()
                self.wfile.write(bytes(1000))
            else:
                super().do_GET()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}", folder
        running.shutdown()
        thread.join()


def test_download_is_checked_before_it_is_kept(server, tmp_path, monkeypatch):
    monkeypatch.delenv("ZOO_DATA", raising=False)
    address, folder = server
    content = np.random.default_rng(0).bytes(3_000_000)
    (folder / "file.bin").write_bytes(content)
    good = cache.Remote("file.bin", f"{address}/file.bin", len(content), hashlib.sha256(content).hexdigest())
    kept = cache.cache_folder("data", "file.bin")

    with pytest.raises(IntegrityError, match=r"sent something else than X. Received: 'sha256 .* Nothing was kept"):
        cache.locate(("file.bin",), replace(good, sha256="0" * 64), "X")
    with pytest.raises(IntegrityError, match="over 1,000 bytes"):
        cache.locate(("file.bin",), replace(good, size=1000), "X")
    with pytest.raises(DataError, match="broke off after 1,000 bytes"):
        cache.locate(("file.bin",), replace(good, url=f"{address}/broken.bin"), "X")
    with pytest.raises(DataError, match=r"(?i)not found"):
        cache.locate(("file.bin",), replace(good, url=f"{address}/other.bin"), "X")
    assert list(kept.parent.iterdir()) == []

    assert cache.locate(("file.bin",), good, "X").read_bytes() == content
    os.remove(folder / "file.bin")
    assert cache.locate(("file.bin",), good, "X") == kept
    kept.write_bytes(content[:-1])  # a damaged copy is not used
    with pytest.raises(DataError, match=r"(?i)not found"):
        cache.locate(("file.bin",), good, "X")


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, so nothing can be written below it")
    monkeypatch.setenv("ZOO_CACHE", str(blocked))
    made = cache.remember_arrays("key", lambda: {"a": np.arange(3)})
    assert made["a"].tolist() == [0, 1, 2]
    remote = cache.Remote("f", "http://127.0.0.1:9/f", 1, "0" * 64)
    with pytest.raises(StoreError, match=r"could not write .*blocked"):
        cache.download(remote, cache.cache_folder("data", "f"), "X")


def test_remembered_arrays_are_mapped_not_read():
    first = cache.remember_arrays("key", lambda: {"a": np.arange(3)})
    again = cache.remember_arrays("key", lambda: pytest.fail("made twice"))
    assert isinstance(again["a"], np.memmap)
    np.testing.assert_array_equal(first["a"], again["a"])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"hello"])
def test_damaged_archives(content, tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    for name in ("mnist.npz", "cifar10.zip", "aclImdb_v1.tar.gz"):
        (tmp_path / name).write_bytes(content)
    for name in ("mnist", "cifar10", "imdb"):
        with pytest.raises(DataError, match=r"cannot be read|is not a whole"):
            zoo.data.load(name)


def test_archives_of_something_else(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    np.savez(tmp_path / "mnist.npz", x_train=np.zeros((3, 28, 28), np.uint8))
    with pytest.raises(DataError, match=r"is not MNIST. Received: 'uint8 \(3, 28, 28\)'"):
        zoo.data.load("mnist")
    with zipfile.ZipFile(tmp_path / "cifar10.zip", "w") as archive:
        archive.writestr("train/cat/0.jpg", b"")
    with pytest.raises(DataError, match=r"is not the JPEG copy of CIFAR-10. Received: 1"):
        zoo.data.load("cifar10")
    (tmp_path / "imdb_train.tsv.gz").write_bytes(gzip.compress(b"1\t7\tgood\n5\t7\tbad\n"))
    with pytest.raises(DataError, match=r"imdb_test.tsv.gz is missing"):
        zoo.data.load("imdb")
    (tmp_path / "imdb_test.tsv.gz").write_bytes(gzip.compress(b"1\t7\tgood\n"))
    with pytest.raises(DataError, match="line 2: not label TAB rating TAB text"):
        zoo.data.load("imdb")


# Splits


def test_held_out_is_stratified_and_fixed():
    y = np.repeat([0, 1, 2], [60, 30, 10])
    rest, held = base.held_out(y, 0.2)
    assert np.bincount(y[held]).tolist() == [12, 6, 2]
    assert sorted([*rest, *held]) == list(range(100))
    np.testing.assert_array_equal(held, base.held_out(y, 20)[1])
    assert (held != base.held_out(y, 20, seed=1)[1]).any()
    # Known from the frozen stream of numpy.random.RandomState(0), so the same on every machine.
    random = np.random.RandomState(0)
    expected = [np.sort(random.permutation(np.flatnonzero(y == c))[:n]) for c, n in enumerate((12, 6, 2))]
    np.testing.assert_array_equal(held, np.concatenate(expected))


@pytest.mark.parametrize("counts", [(1, 1, 8), (2, 2, 2), (5, 1, 1), (3, 50, 7)])
def test_every_class_keeps_a_training_example(counts):
    y = np.repeat(np.arange(len(counts)), counts)
    for amount in range(1, len(y) - len(counts) + 1):
        rest, held = base.held_out(y, amount)
        assert len(held) == amount
        assert len(np.unique(y[rest])) == len(counts)


def test_too_much_to_hold_out():
    with pytest.raises(DataError, match=r"cannot hold out that much of 6 examples in 2 classes. Received: 5"):
        base.held_out([0, 0, 0, 1, 1, 1], 5)
    with pytest.raises(InvalidArgument, match="`test_share` must be strictly between 0 and 1"):
        zoo.data.from_arrays(images(), labels(), test_share=1.5)


# Fingerprints


def test_fingerprint_is_of_the_content():
    def fingerprint(x=None, y=None, **options):
        return zoo.data.from_arrays(images() if x is None else x, labels() if y is None else y, **options).fingerprint

    first = fingerprint()
    assert first.startswith("sha256:")
    assert len(first) == 7 + 64
    assert fingerprint(name="other") == first
    pixel, label = images(), labels()
    pixel[17, 2, 3, 0] ^= 1
    label[17] = (label[17] + 1) % 3
    different = [fingerprint(x=pixel), fingerprint(y=label), fingerprint(labels=("a", "b", "c")), fingerprint(seed=1)]
    different += [fingerprint(test_share=0.3), fingerprint(maximum=300), fingerprint(x=images().reshape(60, 2, 8, 1))]
    assert len({first, *different}) == 8
    assert fingerprint(x=np.asfortranarray(images())) == first


def test_fingerprint_is_the_same_in_every_process_and_folder(pictures, tmp_path):
    code = "import sys, zoo.data; print(zoo.data.load(sys.argv[1]).fingerprint)"
    first = zoo.data.load(pictures).fingerprint
    moved = pictures.rename(tmp_path / "elsewhere")
    for file in moved.rglob("*.png"):
        os.utime(file, (0, 0))
    environment = {**os.environ, "PYTHONHASHSEED": "3"}
    printed = subprocess.run(
        [sys.executable, "-c", code, moved], capture_output=True, text=True, env=environment, check=True
    )
    assert printed.stdout.strip() == first
    picture(moved / "cat" / "00.png", value=99)
    assert zoo.data.load(moved).fingerprint != first


def test_fingerprint_of_digits_is_computed_from_its_arrays():
    data = zoo.data.load("digits")
    hasher = hashlib.sha256()

    def update(content):
        hasher.update(len(content).to_bytes(8, "little") + content)

    stated = {"task": data.task, "labels": list(data.labels), "preprocessing": data.preprocessing}
    update(json.dumps(stated, sort_keys=True).encode())
    for part, split in data.splits.items():
        x, y = split.arrays()
        update(part.encode())
        update(y.astype("<i4").tobytes())
        update(f"u1 {x.shape}".encode())
        update((x * 16).astype(np.uint8).tobytes())
    assert data.fingerprint == f"sha256:{hasher.hexdigest()}"


# Arrays


def test_arrays_of_every_kind():
    whole = zoo.data.from_arrays(images(), labels())
    assert {part: len(s) for part, s in whole.splits.items()} == {"train": 42, "validation": 6, "test": 12}
    assert whole.labels == ("0", "1", "2")
    assert not contents(whole.train) & (contents(whole.test) | contents(whole.validation))
    assert not contents(whole.test) & contents(whole.validation)
    floats = zoo.data.from_arrays(images()[..., 0] / 255.0, labels().astype(float)[:, None])
    np.testing.assert_allclose(floats.train.arrays()[0], whole.train.arrays()[0], atol=1e-6)
    assert floats.preprocessing["maximum"] == 1.0
    free = zoo.data.from_arrays(images() - 9.5, labels())
    assert free.preprocessing["maximum"] is None
    assert free.train.arrays()[0].min() == -9.5
    bits = zoo.data.from_arrays(images() > 99, labels())
    assert set(np.unique(bits.train.arrays()[0])) == {0, 1}
    wide = zoo.data.from_arrays(images().astype(np.int64), labels())
    np.testing.assert_array_equal(wide.train.arrays()[0], whole.train.arrays()[0])


def test_given_parts_are_kept():
    data = zoo.data.from_arrays(images(), labels(), x_test=images(9), y_test=labels(9), validation_share=0.5)
    assert [len(s) for s in data.splits.values()] == [30, 30, 9]
    np.testing.assert_allclose(data.test.arrays()[0], images(9) / 255, atol=1e-6)


def test_texts_and_token_ids():
    texts = [f"word{i % 3} and more {i}" for i in range(60)]
    data = zoo.data.from_arrays(texts, labels(), task="text_classification", sequence_length=4, vocab_size=6)
    assert data.arguments == {"vocab_size": 6, "sequence_length": 4, "num_classes": 3}
    words = data.assets["vocabulary.txt"].decode().split("\n")
    assert words[:4] == ["[PAD]", "[UNK]", "and", "more"]
    assert (
        zoo.data.from_arrays(np.array(texts), labels(), task="text_classification").arguments["sequence_length"] == 256
    )
    ids = zoo.data.from_arrays(images()[:, 0, :, 0].astype(int), labels(), task="text_classification")
    assert ids.preprocessing["kind"] == "tokens"
    assert ids.arguments["sequence_length"] == 4


def test_batches_are_small_and_fixed():
    split = zoo.data.from_arrays(images(), labels()).train
    x, y = split.batch([3, 0, 3])
    np.testing.assert_array_equal(x[0], x[2])
    np.testing.assert_array_equal(split.subset([5, 3]).batch([1])[0], x[:1])
    assert (x.dtype, y.dtype) == (np.float32, np.int32)
    with pytest.raises(ValueError, match="read-only"):
        split.labels[0] = 1


BAD = [
    (
        {"y_train": np.where(labels() == 2, np.nan, labels())},
        "20 of the train labels are NaN or infinite, the first at index 2",
    ),
    ({"y_train": labels() + 0.5}, "60 of the train labels are not whole numbers, the first at index 0"),
    ({"y_train": labels() - 1}, "20 of the train labels are out of range, the first at index 0. Received: -1"),
    ({"y_train": labels() + 1}, "labels go up to 3 but only 3 classes occur, and class 0 never does"),
    ({"y_train": labels() * 10**12}, "class 1 never does"),
    ({"labels": ("a", "b")}, "20 of the train labels are out of range, the first at index 2. Received: 2"),
    ({"labels": ("a", "b", "a")}, "a class name appears twice. Received: 'a'"),
    ({"y_train": np.zeros(60, int)}, "all 60 training examples have one class. Received: 0"),
    ({"y_train": np.eye(3)[labels()]}, r"labels have shape \(60, 3\).*argmax"),
    ({"y_train": labels()[:50]}, "the train split has 60 examples but 50 labels"),
    ({"y_train": np.array(["a"] * 60)}, "the train labels are of type <U1"),
    ({"x_train": images(0), "y_train": []}, "the train split is empty"),
    ({"x_train": np.full((60, 4, 4, 1), np.nan)}, "60 of the train images hold NaN or infinity, the first at index 0"),
    ({"x_train": images()[:, 0, 0]}, r"the train images have shape \(60, 1\)"),
    ({"x_train": images(60, (3, 32, 32))}, r"Channels come last here"),
    ({"x_train": images(60, (0, 4, 1))}, r"height and width are positive"),
    ({"x_train": images().astype(object)}, "the train images are of type object"),
    ({"x_train": images().astype(int) * 9}, "integer pixels must be 0 to 255, but these are 0 to"),
    ({"x_train": images().astype(int) - 9}, "integer pixels must be 0 to 255, but these are -9 to"),
    ({"x_test": images(9)}, "y_test is missing"),
    (
        {"x_test": images(9), "y_test": labels(9) + 1},
        "3 of the test labels are out of range, the first at index 2. Received: 3",
    ),
    ({"x_test": images(9, (5, 5, 1)), "y_test": labels(9)}, "splits hold images of different shapes"),
    ({"x_test": images(9) / 255, "y_test": labels(9)}, "some splits hold floats and some integers"),
    ({"maximum": 0}, "these are 0 to|must be positive"),
    ({"task": "text_classification"}, "shape"),
    ({"task": "text_clasification"}, "Did you mean 'text_classification'"),
    ({"tset_share": 0.1}, "no argument of zoo.data.from_arrays named 'tset_share'. Did you mean 'test_share'"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_bad_arrays(changes, message):
    with pytest.raises(InvalidArgument, match=message):
        zoo.data.from_arrays(**{"x_train": images(), "y_train": labels(), **changes})


def test_bad_texts():
    texts = ["a word"] * 59 + [float("nan")]
    with pytest.raises(DataError, match=r"train text 59 is not a string. Received: nan"):
        zoo.data.from_arrays(texts, labels(), task="text_classification")
    with pytest.raises(DataError, match="the training texts hold no word"):
        zoo.data.from_arrays(["!"] * 60, labels(), task="text_classification")


# .npz


def test_npz(tmp_path):
    path = tmp_path / "shapes.npz"
    np.savez(path, x=images(), y=labels())
    data = zoo.data.load(path)
    assert data.name == "shapes"
    assert data.fingerprint == zoo.data.from_arrays(images(), labels()).fingerprint
    np.savez(path, x_train=images(), y_train=np.array(["b", "a", "c"])[labels()], x_test=images(9), y_test=["a"] * 9)
    named = zoo.data.load(str(path))
    assert named.labels == ("a", "b", "c")
    assert named.test.labels.tolist() == [0] * 9


def test_bad_npz(tmp_path):
    path = tmp_path / "shapes.npz"
    np.savez(path, x=images())
    with pytest.raises(DataError, match=r"shapes.npz lacks y_train. .*It holds: x"):
        zoo.data.load(path)
    np.savez(path, x=np.array([{}, None], object), y=[0, 1])
    with pytest.raises(DataError, match=r"it holds Python objects.*they could run code"):
        zoo.data.load(path)
    np.savez(path, x_train=images(), y_train=labels(), x_tset=images())
    with pytest.raises(DataError, match=r"unknown array 'x_tset'. Did you mean 'x_test'"):
        zoo.data.load(path)
    np.savez(path, x_train=images(), y_train=labels())
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"shapes.npz cannot be read"):
        zoo.data.load(path)
    path.rename(tmp_path / "shapes.xyz")
    with pytest.raises(DataError, match=r"no data set can be read from this kind of file. Received: 'shapes.xyz'"):
        zoo.data.load(tmp_path / "shapes.xyz")


# Tables


def test_tables_in_every_form(table):
    data = zoo.data.load(table)
    assert data.labels == ("no", "yes")
    assert [len(s) for s in data.splits.values()] == [28, 4, 8]
    zipped = table.with_name("zipped.csv.gz")
    zipped.write_bytes(gzip.compress(table.read_bytes()))
    tabs = table.with_name("tabs.tsv")
    tabs.write_text(table.read_text().replace('",', "\t").replace('"', "").replace("text,label", "text\tlabel"))
    bare = table.with_name("bare.csv")
    bare.write_text(table.read_text().partition("\n")[2].replace("\n", "\r\n"))
    for path, options in ((zipped, {}), (tabs, {}), (bare, {"text": 0, "label": 1})):
        assert zoo.data.load(path, **options).fingerprint == data.fingerprint
    tested = zoo.data.load(table, test=str(zipped))
    assert [len(s) for s in tested.splits.values()] == [36, 4, 40]


def test_whole_numbers_are_sorted_as_numbers(tmp_path):
    path = tmp_path / "stars.tsv"
    path.write_text("text\tlabel\n" + "".join(f"film\t{i % 11}\n" for i in range(110)))
    assert zoo.data.load(path).labels == tuple(map(str, range(11)))


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (lambda t: t, {"label": "lable"}, "has no column 'lable'. Did you mean 'label'.*Columns: text, label"),
        (lambda t: t, {"text": 0}, "must both be column names or both be numbers"),
        (lambda t: t, {"text": 0, "label": 2}, r"has columns 0 to 1. Received: \(0, 2\)"),
        (lambda t: t.replace(b'7",no', b'7",no,3'), {}, "line 9: 3 fields where there should be 2"),
        (
            lambda t: t.replace(b'"a good film, number 2"', b""),
            {},
            r"1 rows lack text or label, the first \(text\) at line 4",
        ),
        (lambda t: t.replace(b'7",no', b'7",NaN'), {}, r"4 rows lack text or label, the first \(label\) at line 9"),
        (lambda t: t.replace(b"number 5", b"number \xff"), {}, "line 7: not UTF-8"),
        (lambda t: t[:10], {}, "holds no rows"),
        (lambda t: b"", {}, "holds no rows"),
        (lambda t: t.replace(b",no", b",yes"), {}, "have one class. Received: 'yes'"),
        (lambda t: t, {"label": "text"}, "has 40 different labels in 40 rows"),
        (lambda t: t.replace(b'39"', b"39"), {}, "the file cannot be read"),
        (lambda t: t, {"test": "nowhere.csv"}, "no such file. Received: 'nowhere.csv'"),
    ],
)
def test_bad_tables(table, change, options, message):
    table.write_bytes(change(table.read_bytes()))
    with pytest.raises(InvalidArgument, match=message):
        zoo.data.load(table, **options)


def test_a_class_that_train_lacks(table):
    other = table.with_name("other.csv")
    other.write_text("text,label\na film,maybe\n")
    with pytest.raises(
        DataError, match=r"other.csv holds a class that train lacks, first at index 0. Received: 'maybe'"
    ):
        zoo.data.load(table, test=str(other))


def test_cut_off_gzip(table):
    path = table.with_name("cut.csv.gz")
    path.write_bytes(gzip.compress(table.read_bytes())[:-20])
    with pytest.raises(DataError, match=r"cut.csv.gz, line .*: the file cannot be read"):
        zoo.data.load(path)


# Folders of images


def test_folder(pictures):
    data = zoo.data.load(pictures)
    assert data.name == "pets"
    assert data.labels == ("cat", "dog")
    assert data.arguments == {"image_shape": (8, 8, 3), "num_classes": 2}
    assert [len(s) for s in data.splits.values()] == [28, 4, 8]
    files = {part: set(split.paths) for part, split in data.splits.items()}
    assert len(set.union(*files.values())) == 40
    first = data.train.paths[0]
    x, y = data.train.batch([0])
    np.testing.assert_allclose(x[0], np.asarray(Image.open(first)) / 255, atol=1e-6)
    assert y.item() == 0


def test_folder_with_parts(pictures, tmp_path):
    root = tmp_path / "split"
    root.mkdir()
    pictures.rename(root / "train")
    for i in range(6):
        picture(root / "test" / ("cat", "dog")[i % 2] / f"{i}.png", value=100 + i)
        picture(root / "val" / ("cat", "dog")[i % 2] / f"{i}.png", value=200 + i)
    data = zoo.data.load(root)
    assert [len(s) for s in data.splits.values()] == [40, 6, 6]
    picture(root / "test" / "cta" / "x.png")
    with pytest.raises(DataError, match=r"class 'cta' is in the test part but not in train. Did you mean 'cat'"):
        zoo.data.load(root)


def test_mixed_sizes(pictures):
    picture(pictures / "dog" / "wide.png", size=(20, 10))
    message = r"'cat/00.png' is 8 x 8, 'dog/wide.png' is 10 x 20. Pass image_size=\(height, width\)"
    with pytest.raises(DataError, match=message.replace("/", "[/\\\\]")):
        zoo.data.load(pictures)
    data = zoo.data.load(pictures, image_size=(6, 5))
    assert data.train.arrays()[0].shape == (29, 6, 5, 3)
    assert data.preprocessing["resize"] == "bilinear"


def test_grey_only_if_all_are_grey(pictures):
    for file in pictures.rglob("*.png"):
        Image.open(file).convert("L").save(file)
    assert zoo.data.load(pictures).arguments["image_shape"] == (8, 8, 1)
    picture(pictures / "dog" / "colour.png")
    assert zoo.data.load(pictures).arguments["image_shape"] == (8, 8, 3)
    assert zoo.data.load(pictures, channels=1).train.arrays()[0].shape[-1] == 1


def test_a_photograph_on_its_side_has_its_upright_size(pictures):
    exif = Image.Exif()
    exif[0x0112] = 6
    for i, file in enumerate(list(pictures.rglob("*.png"))):
        Image.new("RGB", (12, 8), (6 * i, 0, 0)).save(file.with_suffix(".jpg"), exif=exif)
        file.unlink()
    data = zoo.data.load(pictures)
    assert data.arguments["image_shape"] == (12, 8, 3)
    assert data.train.arrays()[0].shape[1:] == (12, 8, 3)


def test_files_of_other_kinds_are_counted(pictures):
    (pictures / "cat" / "notes.txt").write_text("hello")
    (pictures / "cat" / ".hidden.png").write_text("hello")
    (pictures / ".thumbnails").mkdir()
    data = zoo.data.load(pictures)
    assert "40 images, 1 file of other kinds left out (1 .txt)" in data.source


def test_bad_folders(pictures, tmp_path):
    def fails(message, path=pictures, **options):
        with pytest.raises(InvalidArgument, match=message):
            zoo.data.load(path, **options)

    fails("`image_size` must be", image_size=(0, 4))
    fails("`channels` must be 1", channels=2)
    fails("`resize` is not a filter", resize="cubic")
    fails("no argument of data set .* named 'imagesize'. Did you mean 'image_size'", imagesize=(4, 4))
    empty = tmp_path / "empty"
    empty.mkdir()
    fails("holds no folder of images", path=empty)
    picture(empty / "loose.png")
    fails("Found 'loose.png' outside any class", path=empty)
    picture(empty / "cat" / "1.png")
    fails("holds one class only. Received: .'cat'", path=empty)
    (empty / "dog").mkdir()
    fails("class folder '.*dog' holds no image", path=empty)

    whole = (pictures / "cat" / "00.png").read_bytes()
    for content, reason in (
        (b"", "it is empty"),
        (b"hello", "not an image"),
        (whole[:60], "cut off"),
        (whole[:-9], "cut off"),
    ):
        (pictures / "cat" / "00.png").write_bytes(content)
        fails(rf"1 of 40 images of folder 'pets' cannot be read.*skip_bad=True.*\n  cat/00.png: .*{reason}")
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(pictures / "cat" / "00.png")
    fails("cat/00.png: it has more than 8 bits a channel")


def test_a_tiny_folder_cannot_be_split(tmp_path):
    for name in ("cat", "dog"):
        picture(tmp_path / "two" / name / "1.png")
    with pytest.raises(DataError, match="cannot hold out that much of 2 examples in 2 classes"):
        zoo.data.load(tmp_path / "two")


# Read as a trained model reads


def test_load_like_reads_a_table_with_another_vocabulary(tmp_path):
    def table(name, rows):
        path = tmp_path / name
        path.write_text("text,label\n" + "".join(f"{t},{c}\n" for t, c in rows), "utf-8")
        return path

    first = zoo.data.load(table("a.csv", [("red fox", "a"), ("blue cat", "b")] * 20), sequence_length=4)
    path = table("b.csv", [("blue dog", "a"), ("dog cat red", "b")] * 20)
    read = zoo.data.load_like(path, first.preprocessing, first.assets)
    ids = {w: i for i, w in enumerate(first.assets["vocabulary.txt"].decode().split("\n"))}
    x, y = read.train.arrays()
    expected = {0: [ids["blue"], 1, 0, 0], 1: [1, ids["cat"], ids["red"], 0]}
    assert read.preprocessing == first.preprocessing
    assert read.assets == first.assets
    assert all(row.tolist() == expected[int(label)] for row, label in zip(x, y, strict=True))
    with pytest.raises(DataError, match="by name or path"):
        zoo.data.load_like(zoo.data.load(path), first.preprocessing, first.assets)


def test_load_like_brings_pixels_to_the_range_and_statistics_of_the_model():
    digits = zoo.data.load("digits")
    declared = {**digits.preprocessing, "maximum": 255.0, "scale": 1 / 255, "mean": [0.5], "std": [0.25]}
    x, _ = zoo.data.load_like("digits", declared).test.arrays()
    np.testing.assert_allclose(x, (digits.test.arrays()[0] - 0.5) / 0.25, atol=1e-6)
    with pytest.raises(DataError, match=r"shape \(8, 8, 1\) and the model takes \(28, 28, 1\)"):
        zoo.data.load_like("digits", {**declared, "image_shape": [28, 28, 1]})
    assert zoo.data.load_like("digits", digits.preprocessing).fingerprint == digits.fingerprint


def test_load_like_resizes_the_images_of_an_array_as_image_files_are_resized():
    declared = preprocessing.image_declaration((12, 16, 3), mean=[0.5] * 3, std=[0.25] * 3)
    read = zoo.data.load_like("digits", declared, resize="bilinear")
    assert read.preprocessing == {**declared, "resize": "bilinear"}
    assert read.arguments == {"image_shape": (12, 16, 3), "num_classes": 10}
    raw, (x, y) = zoo.data.load("digits").test.arrays(), read.test.arrays()
    assert y.tolist() == raw[1].tolist()
    for index in (0, 17):
        picture = Image.fromarray(np.rint(raw[0][index, ..., 0] * 255).astype(np.uint8))
        resized = np.asarray(picture.convert("RGB").resize((16, 12), Image.Resampling.BILINEAR)) / 255
        np.testing.assert_allclose(x[index], (resized - 0.5) / 0.25, atol=1e-5)
    assert read.test.subset([5, 3]).batch([1])[0].tolist() == x[[3]].tolist()
    again = zoo.data.load_like("digits", read.preprocessing)  # what a model so trained declares
    assert again.fingerprint == read.fingerprint
    assert read.fingerprint != zoo.data.load_like("digits", declared, resize="nearest").fingerprint
    assert read.read_as(zoo.data.load("digits").preprocessing).test.arrays()[0].tolist() == raw[0].tolist()
    with pytest.raises(DataError, match="resize=bilinear"):
        zoo.data.load_like("digits", declared)
    with pytest.raises(UnknownName, match="Did you mean 'bilinear'"):
        zoo.data.load_like("digits", declared, resize="bilinar")
    numbers = zoo.data.from_arrays(images().astype(np.float32) - 128, labels())
    with pytest.raises(DataError, match="cannot be resized"):
        numbers.read_as({**declared, "maximum": None, "resize": "bilinear"})


def test_train_share_keeps_a_share_of_each_class_and_leaves_the_other_parts_whole():
    whole, part = zoo.data.load("digits"), zoo.data.load("digits", train_share=0.1)
    counts = [np.bincount(d.train.labels, minlength=10) for d in (whole, part)]
    assert counts[1].sum() == round(0.1 * counts[0].sum())
    assert np.abs(counts[1] - 0.1 * counts[0]).max() <= 1
    for name in ("validation", "test"):
        assert part.splits[name].arrays()[0].tolist() == whole.splits[name].arrays()[0].tolist()
    known = {image.tobytes() for image in whole.train.arrays()[0]}
    assert all(image.tobytes() in known for image in part.train.arrays()[0])
    assert part.fingerprint == zoo.data.load("digits", train_share=0.1).fingerprint != whole.fingerprint
    assert zoo.data.load("digits", train_share=1).fingerprint == whole.fingerprint
    assert len(zoo.data.load("clothes", train_share=0.05).train) == 210
    assert len(zoo.data.load(whole, train_share=0.5).train) == round(0.5 * len(whole.train))


@pytest.mark.parametrize("share", [0, -0.1, 1.5, float("nan"), "0.1", True, 0.001])
def test_an_impossible_train_share_is_refused(share):
    with pytest.raises(DataError, match="train_share"):
        zoo.data.load("digits", train_share=share)


def test_running_text_cannot_be_thinned_out(tmp_path):
    (tmp_path / "a.txt").write_text("the quick brown fox jumps over the lazy dog . " * 200, "utf-8")
    with pytest.raises(DataError, match="follow one another"):
        zoo.data.load(tmp_path / "a.txt", train_share=0.5)
