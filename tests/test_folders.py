"""A folder of pictures as it comes from a phone: turned, damaged, of mixed sizes and kinds, in uneven classes."""

import json
import os
import re
import shutil
import warnings

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

import zoo
import zoo.data
from zoo import cache
from zoo.cli import main
from zoo.data import image_files
from zoo.data.preprocessing import decode_image, image_declaration
from zoo.data.stratifying import parts_by_content
from zoo.errors import DataError, DataWarning, InvalidArgument

TINY = {"blocks": (1, 1, 1), "filters": 4}
TURNS = {  # EXIF orientation -> what lies in the file, of an upright array
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}
BAD = {
    "cut.jpg": "cut off",
    "letter.jpg": "it is not an image",
    "empty.png": "it is empty",
    "IMG_0007.HEIC": "it is a HEIC photograph: convert it to JPEG",
    "deep.png": "more than 8 bits",
}


def save(path, pixels, turn=1, **options):
    """Writes an upright array as a camera does that was held another way."""
    exif = Image.Exif()
    exif[0x0112] = turn
    options |= {"exif": exif} if turn > 1 else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(TURNS[turn](pixels))).save(path, **options)
    return path


@pytest.fixture(scope="session")
def photographs():
    """Real photographs, (427, 640, 3): a temple and a flower."""
    return load_sample_images().images


@pytest.fixture(scope="session")
def whole_phone(photographs, tmp_path_factory):
    """A folder of 3 pictures of a temple and 500 of a flower, with what else lies on a phone, five of it damaged."""
    root = tmp_path_factory.mktemp("phone") / "pictures"
    random = np.random.default_rng(0)
    for name, photograph, count in (("temple", photographs[0], 3), ("flower", photographs[1], 500)):
        for i in range(count):
            height, width = random.integers(40, 64, 2)
            top, left = random.integers(0, 427 - height), random.integers(0, 640 - width)
            ending = (".jpg", ".jpg", ".JPEG", ".png", ".webp")[i % 5]
            crop = photograph[top : top + height, left : left + width]
            save(root / name / f"IMG_{i:04}{ending}", crop, turn=1 + i % 8)
    flower, clear = root / "flower", (root / "flower" / "IMG_0000.jpg").read_bytes()
    (flower / "cut.jpg").write_bytes(clear[: len(clear) // 2])
    (flower / "letter.jpg").write_text("Dear phone")
    (flower / "empty.png").write_bytes(b"")
    (flower / "IMG_0007.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    Image.fromarray(np.full((8, 8), 40000, np.uint16)).save(flower / "deep.png")
    (flower / "notes.txt").write_text("stray")
    for litter in (".DS_Store", "._IMG_0000.jpg", "Thumbs.db"):
        (flower / litter).write_bytes(b"litter")
    (root / "__MACOSX").mkdir()
    return root


@pytest.fixture
def phone(whole_phone, tmp_path):
    """A copy of the folder that a test may change."""
    return shutil.copytree(whole_phone, tmp_path / "phone")


def files_of(data):
    return {part: [os.path.basename(p) for p in split.paths] for part, split in data.splits.items()}


def loaded(path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return zoo.data.load(path, image_size=(16, 16), skip_bad=True, **options)


# Pictures


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".tif"])
def test_every_orientation_in_every_format(photographs, tmp_path, ending, turn):
    upright = photographs[1][100:148, 200:280]
    options = {".jpg": {"quality": 95, "subsampling": 0}, ".webp": {"lossless": True}}.get(ending, {})
    file = save(tmp_path / f"a{ending}", upright, turn, **options)
    seen = image_files.look(file)
    assert (seen.problem, seen.size) == (None, (48, 80))
    pixels = decode_image(file, image_declaration((48, 80, 3)))
    assert np.abs(pixels.astype(int) - upright).mean() < (4 if ending == ".jpg" else 1e-9)  # 50 when turned wrongly


def test_other_kinds_of_pictures_are_read_as_a_viewer_shows_them(photographs, tmp_path):
    colours = Image.fromarray(photographs[0][:40, :60])
    declared = image_declaration((40, 60, 3))
    colours.convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    np.testing.assert_allclose(decode_image(tmp_path / "print.jpg", declared), np.asarray(colours), atol=40)
    palette = colours.quantize(64)
    palette.save(tmp_path / "palette.png")
    expected = np.asarray(palette.convert("RGB"))
    np.testing.assert_array_equal(decode_image(tmp_path / "palette.png", declared), expected)
    clear = colours.copy()
    clear.putalpha(Image.fromarray(np.repeat(np.uint8([[0, 255]]), 40, 0).repeat(30, 1)))
    clear.save(tmp_path / "logo.png")
    shown = decode_image(tmp_path / "logo.png", declared)
    assert (shown[:, :30] == 255).all()
    np.testing.assert_array_equal(shown[:, 30:], np.asarray(colours)[:, 30:])
    for ending in ("gif", "webp", "png"):
        frames = [colours.quantize(64), Image.new("P", colours.size)]
        frames[0].save(tmp_path / f"moving.{ending}", save_all=True, append_images=frames[1:], lossless=True)
        first = decode_image(tmp_path / f"moving.{ending}", declared).astype(int)
        assert np.abs(first - expected).mean() < 1
    shutil.copy(tmp_path / "palette.png", tmp_path / "wrong.jpg")
    for file in tmp_path.iterdir():
        assert image_files.look(file).problem is None
        assert image_files.look(file).size == (40, 60)


def test_a_cut_is_found_wherever_it_is(photographs, tmp_path):
    for ending in ("jpg", "png", "webp", "gif", "tif"):
        file = tmp_path / f"a.{ending}"
        Image.fromarray(photographs[0][:64, :64]).save(file)
        data = file.read_bytes()
        for share in (0.1, 0.5, 0.9, 0.99):
            file.write_bytes(data[: int(len(data) * share)])
            assert image_files.look(file).problem, (ending, share)
    clear = save(tmp_path / "b.jpg", photographs[0]).read_bytes()
    (tmp_path / "b.jpg").write_bytes(clear[:20000] + bytes(len(clear) - 20000))  # a copy that was broken off
    assert "cut off" in image_files.look(tmp_path / "b.jpg").problem
    (tmp_path / "b.jpg").write_bytes(clear + bytes(range(256)) * 40)  # a phone's film of the moment before
    assert image_files.look(tmp_path / "b.jpg").problem is None
    png = bytearray(save(tmp_path / "b.png", photographs[0][:40, :40]).read_bytes())
    png[len(png) // 2] ^= 1
    (tmp_path / "b.png").write_bytes(png)
    assert image_files.look(tmp_path / "b.png").problem


def test_a_damaged_mark_of_orientation_leaves_the_picture(photographs, tmp_path):
    for exif in (b"Exif\0\0", b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x63\0\0", b"Exif\0\0garbage"):
        Image.fromarray(photographs[0][:20, :30]).save(tmp_path / "a.jpg", exif=exif)
        assert image_files.look(tmp_path / "a.jpg").size == (20, 30)
        assert decode_image(tmp_path / "a.jpg", image_declaration((20, 30, 3))).shape == (20, 30, 3)


# Bad files


def test_all_bad_files_are_named_at_once(phone):
    with pytest.raises(DataError) as caught:
        zoo.data.load(phone, image_size=(16, 16))
    message = str(caught.value)
    assert "5 of 508 images of folder 'phone' cannot be read" in message
    assert "skip_bad=True (--skip-bad)" in message
    for name, reason in BAD.items():
        assert re.search(rf"\n  flower/{re.escape(name)}: .*{reason}", message)
    for i in range(20):
        (phone / "temple" / f"x{i:02}.jpg").write_bytes(b"no")
    with pytest.raises(DataError, match=r"25 of 528(?s:.*)\n  and 5 more$"):
        zoo.data.load(phone, image_size=(16, 16))


def test_bad_files_are_left_out_on_request(phone):
    with pytest.warns(DataWarning, match=r"5 of 508 images of folder 'phone' cannot be read and are left out"):
        data = zoo.data.load(phone, image_size=(16, 16), skip_bad=True)
    assert sum(map(len, data.splits.values())) == 503
    assert data.labels == ("flower", "temple")
    assert "503 images, 1 file of other kinds left out (1 .txt), 5 images that cannot be read left out" in data.source
    assert all(f"flower/{name}: " in data.source for name in BAD)
    for split in data.splits.values():
        x, _ = split.arrays()
        assert x.shape[1:] == (16, 16, 3)
    for name in BAD:
        (phone / "flower" / name).unlink()
    assert files_of(data) == files_of(zoo.data.load(phone, image_size=(16, 16)))


def test_what_no_disk_should_hold_is_refused_by_name(phone):
    os.mkfifo(phone / "temple" / "pipe.jpg")
    (phone / "temple" / "gone.jpg").symlink_to(phone / "nowhere.jpg")
    with pytest.raises(DataError, match=r"temple/gone.jpg: No such file(?s:.*)temple/pipe.jpg: it is not a file"):
        zoo.data.load(phone)


def test_a_second_look_decodes_nothing_that_has_not_changed(phone, monkeypatch):
    old = 1_600_000_000
    for file in phone.rglob("*.*"):
        os.utime(file, (old, old))
    first, seen = loaded(phone), []
    look = image_files.look
    monkeypatch.setattr(image_files, "look", lambda path: seen.append(os.path.basename(path)) or look(path))
    assert files_of(loaded(phone)) == files_of(first)
    assert sorted(seen) == sorted(BAD)  # what was bad may have been repaired
    seen.clear()
    shutil.copy(phone / "temple" / "IMG_0000.jpg", phone / "flower" / "IMG_0010.jpg")
    with pytest.warns(DataWarning, match="1 pictures lie in two classes"):
        zoo.data.load(phone, image_size=(16, 16), skip_bad=True)
    assert sorted(seen) == sorted([*BAD, "IMG_0010.jpg"])
    for notes in cache.cache_folder("images").iterdir():
        notes.write_text('{"version": 1, "files": [')
    assert sum(map(len, loaded(phone).splits.values())) == 503


def test_mixed_sizes_need_a_size(phone):
    wrong = r"images have different sizes: .* Pass image_size=\(height, width\)"
    with pytest.warns(DataWarning), pytest.raises(DataError, match=wrong):
        zoo.data.load(phone, skip_bad=True)


# The split


def test_the_split_is_stratified(phone):
    data = loaded(phone)
    assert {part: np.bincount(split.labels).tolist() for part, split in data.splits.items()} == {
        "train": [350, 1],
        "validation": [50, 1],
        "test": [100, 1],
    }
    shares = loaded(phone, test_share=0.35, validation_share=0.15)
    assert [len(s) for s in shares.splits.values()] == [251, 76, 176]
    with pytest.raises(InvalidArgument, match="leave nothing to train on"):
        loaded(phone, test_share=0.6, validation_share=0.4)


def test_the_split_outlasts_names_dates_order_and_place(phone, tmp_path):
    def contents(data):
        return {part: {open(p, "rb").read() for p in split.paths} for part, split in data.splits.items()}

    first = loaded(phone)
    moved = tmp_path / "elsewhere"
    for name in ("temple", "flower"):
        (moved / name).mkdir(parents=True)
        for i, file in enumerate(sorted((phone / name).iterdir(), reverse=True)):
            if not file.name.startswith(".") and file.name != "Thumbs.db":
                shutil.copyfile(file, moved / name / f"{i:04}{file.suffix}")
    assert contents(loaded(moved)) == contents(first)
    assert contents(loaded(phone)) == contents(first)
    assert contents(loaded(phone, seed=1)) != contents(first)
    assert loaded(phone).fingerprint == first.fingerprint


def test_a_file_added_moves_at_most_one_other_over_each_border():
    random = np.random.RandomState(0)
    hashes = [random.bytes(32).hex() for _ in range(300)]
    shares = {"test": 0.2, "validation": 0.1}

    def part_of(count):
        labels = np.zeros(count + 4, int)
        labels[count:] = 1
        rows = parts_by_content(labels, hashes[:count] + hashes[-4:], shares, 0)
        return {i: part for part, indices in rows.items() for i in indices if i < count}

    before = part_of(20)
    for count in range(21, 200):
        after = part_of(count)
        moves = [tuple(sorted((before[i], after[i]))) for i in before if before[i] != after[i]]
        assert len(moves) == len(set(moves)) <= 2
        before = after


@pytest.mark.parametrize("size", range(1, 12))
def test_small_classes_have_one_in_every_part_that_they_can(size):
    labels = np.repeat([0, 1], [size, 50])
    rows = parts_by_content(labels, [f"{i}" for i in range(size + 50)], {"test": 0.2, "validation": 0.1}, 0)
    counts = {part: int((labels[indices] == 0).sum()) for part, indices in rows.items()}
    assert sum(counts.values()) == size
    expected = {1: (1, 0, 0), 2: (1, 0, 1)}.get(size)
    found = counts["train"], counts["validation"], counts["test"]
    assert found == expected if expected else min(found) >= 1 and counts["test"] == max(1, round(size * 0.2))


def test_copies_stay_together_and_small_classes_are_named(photographs, tmp_path):
    root = tmp_path / "copies"
    for i in range(20):
        save(root / "flower" / f"{i}.png", photographs[1][i : i + 16, :16])
    for i in range(10):
        shutil.copy(root / "flower" / "3.png", root / "flower" / f"copy{i}.png")
    for i in range(2):
        save(root / "temple" / f"{i}.png", photographs[0][i : i + 16, :16])
    with pytest.warns(DataWarning, match=r"too small for every part(?s:.*)\n  temple: 2 pictures, none for validation"):
        data = zoo.data.load(root)
    parts = [part for part, names in files_of(data).items() if "3.png" in names or "copy0.png" in names]
    assert len(parts) == 1
    assert sum(n == "3.png" or n.startswith("copy") for n in files_of(data)[parts[0]]) == 11
    shutil.copy(root / "flower" / "4.png", root / "temple" / "wrong.png")
    with pytest.warns(DataWarning, match=r"1 pictures lie in two classes(?s:.*)\n  flower/4.png = temple/wrong.png"):
        assert "4.png" in files_of(zoo.data.load(root))["train"]


def test_copies_between_given_parts_are_named(photographs, tmp_path):
    for i in range(6):
        save(tmp_path / "train" / ("a", "b")[i % 2] / f"{i}.png", photographs[0][i : i + 16, :16])
    shutil.copytree(tmp_path / "train", tmp_path / "test")
    with pytest.warns(DataWarning, match=r"6 pictures lie in two parts(?s:.*)\n  train/a/0.png = test/a/0.png"):
        zoo.data.load(tmp_path)


def test_a_class_named_on_a_mac_is_the_same_class(photographs, tmp_path):
    for i in range(12):
        name = ("Ba\u0308r", "B\u00e4r", "Hund")[i % 3]
        save(tmp_path / "tiere" / name / f"{i}.png", photographs[0][i : i + 16, :16])
    assert zoo.data.load(tmp_path / "tiere").labels == ("B\u00e4r", "Hund")


# Training, fine-tuning, evaluating, predicting


@pytest.fixture(scope="module")
def run(whole_phone, tmp_path_factory):
    """A small residual network after one epoch on the folder."""
    folder = tmp_path_factory.mktemp("runs")
    options = {"image_size": (16, 16), "skip_bad": True}
    with pytest.warns(DataWarning):
        return zoo.train(
            "resnet20", whole_phone, epochs=1, data_options=options, out=folder / "run", quiet=True, **TINY
        )


def test_train_records_what_was_left_out(run):
    recorded = json.loads((run.folder / "run.json").read_text())["data"]
    assert recorded["sizes"] == {"train": 351, "validation": 51, "test": 101}
    assert all(f"flower/{name}" in recorded["source"] for name in BAD)
    assert "skip_bad=True" in run.record["command"]


def test_evaluate_measures_the_same_split_without_a_size(run, phone):
    with pytest.raises(DataError, match="5 of 508 images"):
        zoo.evaluate(run, phone)
    with pytest.warns(DataWarning):
        found = zoo.evaluate(run, phone, data_options={"skip_bad": True})
    assert found == pytest.approx(run.metrics["test"], rel=1e-5)
    with pytest.raises(DataError, match=r"the model decides `image_size`, which is \(16, 16\)"):
        zoo.evaluate(run, phone, data_options={"skip_bad": True, "image_size": (32, 32)})


def test_finetune_reads_a_phone_as_the_model_does(run, phone, tmp_path):
    for name in BAD:
        (phone / "flower" / name).unlink()
    for i in range(20, 500):
        for file in (phone / "flower").glob(f"IMG_{i:04}.*"):
            file.unlink()
    (phone / "flower").rename(phone / "rose")
    tuned = zoo.finetune(run, phone, epochs=1, freeze=True, out=tmp_path / "tuned", quiet=True)
    assert tuned.spec.labels == ("rose", "temple")
    assert tuned.spec.preprocessing == run.spec.preprocessing
    assert tuned.record["data"]["sizes"] == {"train": 15, "validation": 3, "test": 5}


def test_a_model_that_resizes_nothing_says_so_before_training(photographs, tmp_path):
    declared = image_declaration((8, 8, 3))
    for i in range(6):
        save(tmp_path / "a" / ("x", "y")[i % 2] / f"{i}.png", photographs[0][i : i + 9, :8])
    with pytest.raises(DataError, match=r"is 9 x 8, the model takes 8 x 8(?s:.*)resize='bilinear'"):
        zoo.data.load_like(tmp_path / "a", declared)
    read = zoo.data.load_like(tmp_path / "a", declared, resize="bilinear")
    assert read.preprocessing == {**declared, "resize": "bilinear"}
    assert read.train.arrays()[0].shape == (2, 8, 8, 3)


def test_predict_takes_folders_and_names_all_that_it_cannot_read(run, phone):
    model = zoo.load(run)
    with pytest.raises(DataError, match=r"5 of 505 images of those given(?s:.*)letter.jpg: it is not an image"):
        zoo.predict(model, phone / "flower")
    with pytest.warns(DataWarning, match="5 of 505"):
        found = zoo.predict(model, str(phone / "flower"), skip_bad=True)
    assert len(found) == 500
    assert {p.label for p in found} <= {"flower", "temple"}
    files = [phone / "temple" / f"IMG_{i:04}.jpg" for i in range(2)]
    assert [p.input for p in zoo.predict(model, files)] == [str(f) for f in files]
    with pytest.raises(DataError, match="HEIC photograph"):
        zoo.predict(model, phone / "flower" / "IMG_0007.HEIC")
    (phone / "none").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        zoo.predict(model, phone / "none")


def test_the_command_line_skips_bad_files_on_request(run, whole_phone, tmp_path, capsys):
    folder, phone = str(run.folder), str(whole_phone)
    assert main(["evaluate", folder, phone]) == 2
    assert "--skip-bad" in capsys.readouterr().err
    assert main(["evaluate", folder, phone, "--skip-bad", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["examples"] == 101
    assert "Warning: 5 of 508 images" in said.err
    assert main(["predict", folder, f"{phone}/flower/letter.jpg", f"{phone}/temple", "--skip-bad", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 3
    out = str(tmp_path / "run")
    words = ["finetune", folder, phone, "--skip-bad", "--freeze", "--epochs", "1", "--out", out, "--quiet"]
    assert main(words) == 0
    words = ["train", "resnet20", phone, "--data-option", "image_size=(16, 16)", "--skip-bad", "--dry-run"]
    assert main([*words, "--set", "blocks=(1, 1, 1)", "--set", "filters=4"]) == 0
    assert "351 train, 51 validation, 101 test examples, 2 classes" in capsys.readouterr().out
    assert main(["evaluate", folder, "digits", "--skip-bad"]) == 2
    assert "skip_bad" in capsys.readouterr().err
