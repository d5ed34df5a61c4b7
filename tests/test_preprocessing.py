"""Raw input becomes the same model input in training and in prediction, and what cannot be read says why."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import zoo.data
from zoo.data import declarations, preprocessing
from zoo.data.base import ArraySplit
from zoo.errors import DataError, InvalidArgument, UnknownName
from zoo.hub.card import _input
from zoo.pixels import PixelRange
from zoo.robustness import Pixels


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (3, 6, 5, 3), np.uint8)


# Images


def test_formula(pixels):
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
    declared = preprocessing.image_declaration((6, 5, 3), mean=mean, std=std)
    expected = (pixels.astype(np.float64) / 255 - mean) / std
    encoded = preprocessing.encode(declared, pixels)
    assert encoded.dtype == np.float32
    np.testing.assert_allclose(encoded, expected, atol=1e-6)


def test_every_form_of_an_image_gives_the_same_input(pixels, tmp_path):
    declared = preprocessing.image_declaration((6, 5, 3))
    expected = preprocessing.encode(declared, pixels)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path, one in zip(paths, pixels, strict=True):
        path.write_bytes(png(one))
    forms = [
        paths,
        [str(p) for p in paths],
        [png(p) for p in pixels],
        [Image.fromarray(p) for p in pixels],
        list(pixels),
    ]
    for raw in forms:
        np.testing.assert_array_equal(preprocessing.encode(declared, raw), expected)
    np.testing.assert_array_equal(preprocessing.encode(declared, paths[1]), expected[1:2])
    np.testing.assert_array_equal(preprocessing.encode(declared, pixels[1]), expected[1:2])


def test_training_and_prediction_agree_on_digits():
    digits = zoo.data.load("digits")
    from sklearn.datasets import load_digits

    raw = load_digits().images[..., np.newaxis]
    everything = preprocessing.encode(digits.preprocessing, raw)
    for split in digits.splits.values():
        for row in split.arrays()[0][:5]:
            assert (everything == row).all(axis=(1, 2, 3)).any()


def test_image_files_are_brought_to_the_range_of_the_raw_pixels():
    declared = preprocessing.image_declaration((2, 2, 1), maximum=16.0)
    from_file = preprocessing.encode(declared, png(np.array([[0, 255], [51, 255]], np.uint8)))
    from_array = preprocessing.encode(declared, np.array([[0, 16], [3.2, 16]]))
    np.testing.assert_allclose(from_file, from_array, atol=1e-6)
    np.testing.assert_allclose(from_file[0, :, :, 0], [[0, 1], [0.2, 1]], atol=1e-6)


def test_grey_and_colour_follow_the_model():
    grey = np.array([[10, 200]], np.uint8)
    colours = preprocessing.decode_image(png(grey), preprocessing.image_declaration((1, 2, 3)))
    np.testing.assert_array_equal(colours, np.repeat(grey[..., None], 3, axis=-1))
    back = preprocessing.decode_image(png(colours), preprocessing.image_declaration((1, 2, 1)))
    np.testing.assert_array_equal(back[..., 0], grey)


def test_camera_orientation_is_obeyed():
    image, file = Image.new("RGB", (16, 8), "red"), io.BytesIO()
    image.paste("blue", (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise
    image.save(file, "JPEG", exif=exif, quality=95)
    upright = preprocessing.decode_image(file.getvalue(), preprocessing.image_declaration((16, 8, 3)))
    assert upright[2, 4, 2] > 200
    assert upright[13, 4, 0] > 200


def test_resize_only_when_declared(pixels):
    declared = preprocessing.image_declaration((4, 4, 3))
    with pytest.raises(DataError, match=r"'number 0' is 6 x 5 pixels .* but the model takes 4 x 4 pixels.*\"resize\""):
        preprocessing.encode(declared, [png(pixels[0])])
    resized = preprocessing.decode_image(png(pixels[0]), declared | {"resize": "bicubic"})
    expected = np.asarray(Image.fromarray(pixels[0]).resize((4, 4), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(resized, expected)


def test_crop_takes_the_middle():
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, 10:30] = 255
    declared = preprocessing.image_declaration((8, 8, 3), resize="nearest", crop=0.8)
    assert preprocessing.decode_image(png(wide), declared).min() == 255
    assert preprocessing.decode_image(png(wide[:8, :8]), declared).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"not an image", "image 'number 0' cannot be read"),
        ("/nowhere/cat.png", r"image 'cat.png' cannot be read \(it is not there\)"),
        ([], "there is no image to read"),
        ([3], "input 0 is not an image. Received: 'int'"),
        (np.zeros((2, 5, 6, 3), np.uint8), r"the array has shape \(2, 5, 6, 3\). The model takes \(6, 5, 3\)"),
        (np.full((1, 6, 5, 3), np.nan), "1 of the images hold NaN or infinity, the first at index 0"),
        (np.full((1, 6, 5, 3), "a"), "the array is of type <U1"),
    ],
)
def test_bad_images(raw, message):
    with pytest.raises(DataError, match=message):
        preprocessing.encode(preprocessing.image_declaration((6, 5, 3)), raw)


def test_cut_off_image(pixels):
    with pytest.raises(DataError, match="image 'number 0' cannot be read"):
        preprocessing.encode(preprocessing.image_declaration((6, 5, 3)), png(pixels[0])[:-40])


def test_sixteen_bits_are_not_cut_down():
    deep = png(np.full((2, 2), 40000, np.uint16))
    with pytest.raises(DataError, match="more than 8 bits a channel"):
        preprocessing.encode(preprocessing.image_declaration((2, 2, 1)), deep)


def test_range_that_nobody_declared():
    declared = preprocessing.image_declaration((1, 1, 1), maximum=None)
    assert preprocessing.encode(declared, np.array([[[-3.5]]])).item() == -3.5
    with pytest.raises(DataError, match="no declared range"):
        preprocessing.encode(declared, png(np.zeros((1, 1), np.uint8)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image_shape", [2, 2]),
        ("image_shape", [2, 2, 10**9]),
        ("image_shape", None),
        ("scale", float("nan")),
        ("scale", None),
        ("mean", [0.5]),
        ("std", [1.0, 0, 1.0]),
        ("maximum", -1),
        ("crop", "half"),
    ],
)
def test_impossible_declarations(key, value):
    declared = preprocessing.image_declaration((6, 5, 3), std=[1, 1, 1]) | {key: value}
    with pytest.raises(InvalidArgument, match=f"of kind 'image' has an impossible '{key}'"):
        preprocessing.encode(declared, np.zeros((1, 6, 5, 3)))


# Texts


def text_parts(words=("[PAD]", "[UNK]", "good", "bad"), **changes):
    declared = preprocessing.text_declaration(3, len(words), strip="<br />") | changes
    return declared, {"vocabulary.txt": preprocessing.vocabulary_asset(words)}


def test_texts_become_padded_ids():
    declared, assets = text_parts()
    rows = preprocessing.encode(declared, ["Good!", "bad<br />film, good", "", "a b c good"], assets)
    assert rows.dtype == np.int32
    assert rows.tolist() == [[2, 0, 0], [3, 1, 2], [1, 0, 0], [1, 1, 1]]
    assert preprocessing.encode(declared | {"keep": "last"}, "a b c good", assets).tolist() == [[1, 1, 2]]


def test_vocabulary_is_by_frequency_then_alphabet():
    words = preprocessing.build_vocabulary([["b", "a", "c"], ["c", "d"]], 5)
    assert words == ("[PAD]", "[UNK]", "c", "a", "b")


def test_words_keep_their_apostrophes():
    declared, _ = text_parts()
    assert preprocessing.tokens("It's 10 o'clock -- 'really'!", declared) == ["it's", "10", "o'clock", "really"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ([], "there is no text"),
        (["a", 3], "input 1 is not a string. Received: 'int'"),
        ([b"a"], "input 0 is not a string"),
    ],
)
def test_bad_texts(raw, message):
    declared, assets = text_parts()
    with pytest.raises(DataError, match=message):
        preprocessing.encode(declared, raw, assets)


def test_missing_vocabulary():
    declared, assets = text_parts()
    with pytest.raises(InvalidArgument, match=r"the vocabulary 'vocabulary.txt' is missing. Found 'vocabulari.txt'"):
        preprocessing.encode(declared, "good", {"vocabulari.txt": assets["vocabulary.txt"]})


def test_patterns_from_a_download_are_not_compiled():
    declared, assets = text_parts(token_pattern=r"(a+)+$")
    with pytest.raises(InvalidArgument, match="token pattern that this zoo does not know"):
        preprocessing.encode(declared, "a" * 40 + "b", assets)


def test_token_rows():
    declared = {"kind": "tokens", "sequence_length": 2, "vocab_size": 9}
    assert preprocessing.encode(declared, [8, 0]).tolist() == [[8, 0]]
    with pytest.raises(DataError, match=r"1 of the input rows hold ids outside 0 to 8, the first at index 1"):
        preprocessing.encode(declared, [[1, 1], [9, 0]])
    with pytest.raises(DataError, match=r"shape \(n, 2\)"):
        preprocessing.encode(declared, [[1, 1, 1]])


def test_no_or_unknown_declaration():
    with pytest.raises(InvalidArgument, match="declares no preprocessing"):
        preprocessing.encode(None, ["x"])
    with pytest.raises(UnknownName, match="Did you mean 'image'"):
        preprocessing.encode({"kind": "imagee"}, ["x"])


def test_what_an_image_declaration_leaves_out_is_the_same_to_all_readers():
    short = {"kind": "image", "image_shape": [2, 2, 1], "scale": 1 / 255, "mean": [0.5], "std": [0.25]}
    whole = short | {"maximum": 255.0, "resize": None, "crop": None, "crop_mode": "center", "order": "rgb"}
    assert declarations.completed(short) == whole
    for declared in (short, whole):
        preprocessing.check(declared)
        model = SimpleNamespace(zoo_spec=SimpleNamespace(preprocessing=declared))
        np.testing.assert_allclose(PixelRange("cutout", model).limits(), [[-2.0], [2.0]])
        assert Pixels(declared).factor == 1.0
        assert _input(declared).startswith("images of 2 x 2 x 1: pixels of 0 to 255, multiplied by 0.00392")
    pixels = np.arange(0, 256, 17, dtype=np.uint8).reshape(4, 2, 2, 1)
    split = ArraySplit(pixels, np.arange(4), short)
    tenths = whole | {"scale": 0.1, "maximum": 10.0}
    np.testing.assert_allclose(split.read_as(tenths).arrays()[0], split.arrays()[0], rtol=1e-5)
    back = ArraySplit(pixels / 25.5, np.arange(4), tenths).read_as({k: v for k, v in short.items() if k != "scale"})
    np.testing.assert_allclose(back.arrays()[0], (pixels.astype("float32") - 0.5) / 0.25, rtol=1e-5)
