"""Judging generators by a classifier: the figures against NumPy, and generators of which we know what they are."""

import json
import shlex
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops
from PIL import Image

import zoo
from zoo.cli import main
from zoo.data import load, preprocessing
from zoo.errors import DataError, InvalidArgument, UnknownName
from zoo.generating import drawn, generate_images
from zoo.judging_picture import COLUMNS, Extremes, save_extremes
from zoo.recipes import list_recipes
from zoo.sample_quality import Moments, Tally, entropy, frechet_distance
from zoo.spec import Spec, attach, spec_of

CLASSIFIER = "zoo://vit_tiny.digits"
LATENT = 40

# The figures


class Gaussian:
    def __init__(self, mean, covariance):
        self.mean, self.covariance = np.array(mean, float), np.array(covariance, float)


def test_frechet_distance_of_gaussians_with_a_known_one():
    one = Gaussian([1.0], [[4.0]])
    assert frechet_distance(one, Gaussian([4.0], [[9.0]])) == pytest.approx(3**2 + (3 - 2) ** 2)
    wide, narrow = Gaussian([0, 0, 0], np.diag([1.0, 4, 9])), Gaussian([1, 0, 2], np.diag([4.0, 4, 0]))
    assert frechet_distance(wide, narrow) == pytest.approx(5 + 1 + 0 + 9)  # (s1 - s2)^2 of each axis, and the means
    assert frechet_distance(narrow, wide) == pytest.approx(15)
    assert frechet_distance(wide, wide) == pytest.approx(0, abs=1e-12)


def test_frechet_distance_where_the_covariances_do_not_commute():
    from scipy.linalg import sqrtm

    rng = np.random.default_rng(0)
    first, second = (Gaussian(rng.standard_normal(6), np.cov(rng.standard_normal((6, 30)))) for _ in range(2))
    root = sqrtm(first.covariance @ second.covariance).real
    expected = np.square(first.mean - second.mean).sum() + np.trace(first.covariance + second.covariance - 2 * root)
    assert frechet_distance(first, second) == pytest.approx(expected)
    turn = np.linalg.qr(rng.standard_normal((6, 6)))[0]  # a rotation of space changes no distance
    turned = [Gaussian(turn @ g.mean, turn @ g.covariance @ turn.T) for g in (first, second)]
    assert frechet_distance(*turned) == pytest.approx(expected)


def test_moments_in_parts():
    rows = np.random.default_rng(0).standard_normal((50, 4)) * [1, 2, 3, 0] + 1e4
    found = Moments()
    for part in np.split(rows, [1, 20, 21]):
        found.add(part)
    np.testing.assert_allclose(found.mean, rows.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(found.covariance, np.cov(rows.T), rtol=1e-9, atol=1e-12)


def tallied(p, threshold=0.9, labels=None):
    tally = Tally(threshold)
    with np.errstate(divide="ignore"):
        logits = np.maximum(np.log(p), -1e9)
    for part in np.array_split(np.arange(len(p)), 3):
        tally.add(logits[part], p[part], None if labels is None else labels[part])
    return tally.figures(tally.features)


def test_inception_score_of_known_probabilities():
    assert tallied(np.eye(5).repeat(4, axis=0)).inception_score == pytest.approx(5)  # sure and even
    assert tallied(np.eye(5)[[2] * 12]).inception_score == pytest.approx(1)  # sure, always of the same
    assert tallied(np.full((12, 5), 0.2)).inception_score == pytest.approx(1)  # never sure
    p = np.random.default_rng(0).dirichlet(np.ones(5), 60)
    divergence = (p * np.log(p / p.mean(axis=0))).sum(axis=1)
    assert tallied(p).inception_score == pytest.approx(np.exp(divergence.mean()))


def test_shares_and_what_counts_as_present():
    p = np.full((1000, 4), 0.02)
    answers = np.repeat([0, 1, 2], [600, 375, 25])
    p[np.arange(1000), answers] = 0.94
    p[:300] = [0.7, 0.1, 0.1, 0.1]
    found = tallied(p, labels=np.repeat([0, 3, 2], [600, 375, 25]))
    assert found.images == 1000
    assert found.shares == (0.6, 0.375, 0.025, 0.0)
    assert found.confident_shares == (0.3, 0.375, 0.025, 0.0)
    assert found.confident_share == 0.7
    assert found.classes_present == 3  # a tenth of a quarter is exactly enough
    assert found.entropy == pytest.approx(-sum(s * np.log2(s) for s in (0.6, 0.375, 0.025)))
    assert found.accuracy == 0.625
    assert tallied(p, threshold=0.5).confident_share == 1.0
    fewer = np.concatenate([p[:975], p[:1]])
    assert tallied(np.concatenate([fewer, p[975:999]])).classes_present == 2
    assert (entropy([1.0, 0.0]), entropy([0.25] * 4)) == (0.0, 2.0)


def test_a_single_logit_is_of_two_classes():
    tally = Tally(0.9)
    answers, sure = tally.add(np.array([[3.0], [-3.0], [0.1]]), np.ones((3, 2)))
    np.testing.assert_array_equal(answers, [1, 0, 1])
    np.testing.assert_allclose(sure, 1 / (1 + np.exp(-np.array([3, 3, 0.1]))))
    assert tally.figures(tally.features).confident_shares == pytest.approx((1 / 3, 1 / 3))


# Generators that are known


def painter(pictures, declared):
    """A generator that shows one of these pictures, chosen by the noise alone.

    Args:
        pictures: raw pixels (n, H, W, C), n at most `LATENT`.
        declared: the preprocessing of images that run from -1 to 1.
    """
    shape = pictures.shape[1:]
    noise = keras.Input((LATENT,), name="generator_noise")
    flat = 2 * pictures.reshape(len(pictures), -1).astype(np.float32) / declared["maximum"] - 1
    chosen = ops.one_hot(ops.argmax(noise[:, : len(pictures)], axis=-1), len(pictures))
    image = layers.Reshape(shape)(ops.matmul(chosen, ops.convert_to_tensor(flat)))
    generator = keras.Model(noise, image, name="generator")
    outer = keras.Input((LATENT,), name="noise")
    model = keras.Model(outer, generator(outer))
    return attach(model, Spec("painter", {}, "image_generation", preprocessing=declared))


def centred(declared):
    return declared | {"mean": [0.5], "std": [0.5]}


@pytest.fixture(scope="module")
def digits():
    return load("digits")


@pytest.fixture(scope="module")
def pictures(digits):
    """Raw pixels of real test digits, four of each class."""
    declared, (x, y) = digits.preprocessing, digits.test.arrays()
    rows = np.concatenate([np.flatnonzero(y == c)[:4] for c in range(10)])
    return np.rint(x[rows] / declared["scale"])


def test_a_generator_of_one_digit_is_exposed(digits, pictures):
    found = zoo.judge(painter(pictures[:1], centred(digits.preprocessing)), CLASSIFIER, samples=200, data="digits")
    assert found.made.classes_present == 1
    assert found.made.shares[0] == found.made.confident_share == found.made.confident_shares[0] == 1.0
    assert found.made.entropy == 0
    assert found.made.inception_score == pytest.approx(1)
    assert found.made.frechet_distance > 20 * found.real.frechet_distance
    assert "1 of 10 classes present" in found.sentence


def test_a_generator_of_real_digits_is_as_good_as_they(digits, pictures):
    declared = centred(digits.preprocessing)
    settings = {"samples": 600, "data": "digits", "threshold": 0.5}  # it learned with focal loss, and is seldom sure
    found = zoo.judge(painter(pictures, declared), CLASSIFIER, **settings)
    assert found.made.classes_present == found.real.classes_present == 10
    assert found.made.confident_share > 0.8
    assert found.made.entropy == pytest.approx(np.log2(10), abs=0.1)
    assert found.real.accuracy == pytest.approx(zoo.evaluate(CLASSIFIER, "digits")["accuracy"])
    one = zoo.judge(painter(pictures[:1], declared), CLASSIFIER, **settings)
    noise = zoo.judge(painter(255 * np.random.default_rng(0).random((LATENT, 8, 8, 1)) / 16, declared),
                      CLASSIFIER, **settings)  # fmt: skip
    assert found.made.frechet_distance < noise.made.frechet_distance
    assert found.made.frechet_distance < one.made.frechet_distance
    assert noise.made.confident_share < found.made.confident_share
    assert found.made.inception_score > max(5, noise.made.inception_score, one.made.inception_score)


def test_the_same_for_the_same_seed_whatever_the_batches(digits, pictures):
    model = painter(pictures, centred(digits.preprocessing))
    settings = {"samples": 101, "data": digits, "split": "validation"}
    found = [zoo.judge(model, CLASSIFIER, seed=s, batch_size=b, **settings) for s, b in ((3, 100), (3, 17), (4, 17))]
    assert found[0].made.shares == found[1].made.shares != found[2].made.shares
    assert found[0].made.frechet_distance == pytest.approx(found[1].made.frechet_distance, rel=1e-4)
    assert found[0].beside == "train"
    parts = list(drawn(model, 101, 3, 17))
    np.testing.assert_array_equal(np.concatenate(parts), generate_images(model, 101, 3))
    assert [len(part) for part in parts] == [17] * 5 + [16]


def test_samples_reach_the_classifier_as_real_examples_do(digits, pictures):
    """Of any range and any preprocessing, but for the rounding to 256 levels."""
    (image,) = drawn(painter(pictures[:1], centred(digits.preprocessing)), 1)
    for given in (
        {},
        {"maximum": 255.0, "scale": 1 / 255},
        {"mean": [0.3], "std": [0.2]},
        {"maximum": 1.0, "scale": 2},
    ):
        declared = digits.preprocessing | given
        raw = pictures[:1] / 16 * declared["maximum"]
        expected = preprocessing.encode(declared, raw)
        error = 0.51 / 255 * declared["maximum"] * declared["scale"] / (declared["std"] or [1])[0]
        np.testing.assert_allclose(preprocessing.encode_pixels(declared, image), expected, atol=error)


# The command and its picture


@pytest.fixture(scope="module")
def run(tmp_path_factory, digits):
    """A generator that was hardly trained."""
    few = digits.but(train=digits.train.subset(np.arange(16)))
    out = tmp_path_factory.mktemp("judged") / "run"
    return zoo.train("wgan", few, out=out, epochs=1, batch_size=8, quiet=True, widths=(4,), latent_dim=3).folder


def test_the_command(run, tmp_path, capsys):
    picture = tmp_path / "judged.png"
    words = ["judge", str(run), "--by", CLASSIFIER, "--samples", "50", "--seed", "2", "--split", "validation"]
    assert main([*words, "--json", "--out", str(picture)]) == 0
    found = json.loads(capsys.readouterr().out)
    expected = zoo.judge(run, CLASSIFIER, samples=50, seed=2, split="validation")
    assert found["made"] == json.loads(json.dumps(expected.to_json()["made"]))
    assert found["data"] == "digits"  # from the record of the run
    assert (found["made"]["images"], found["real"]["images"]) == (50, len(load("digits").validation))
    assert found["sentence"] == expected.sentence
    assert "too few for the covariance of 64 features" in found["notes"][0]
    assert Image.open(picture).width > 2 * COLUMNS * 56
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert f"{expected.made.confident_share:.2%}" in shown
    assert "Inception Score, at most 10" in shown
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_the_picture_holds_the_surest_and_the_least_sure(tmp_path):
    images = np.arange(1, 61, dtype=np.uint8)[:, None, None, None] * np.ones((1, 56, 56, 1), np.uint8) * 4
    sure = np.random.default_rng(0).permutation(60) / 60
    answers = np.arange(60) % 2 * 2  # no sample is of class 1
    kept = Extremes()
    for part in np.array_split(np.arange(60), 7):
        kept.add(images[part], answers[part], sure[part])
    for number in (0, 2):
        order = np.flatnonzero(answers == number)[np.argsort(-sure[answers == number])]
        assert [image[0, 0, 0] for _, image in kept.surest[number]] == [4 * (i + 1) for i in order[:COLUMNS]]
        assert [image[0, 0, 0] for _, image in kept.least[number]] == [4 * (i + 1) for i in order[: -COLUMNS - 1 : -1]]
    path = save_extremes(kept, ("a", "b", "c"), (0.5, 0.0, 0.5), tmp_path / "x.png")
    sheet = np.array(Image.open(path).convert("L"))
    first = next(x for x in range(sheet.shape[1]) if len(set(sheet[40:80, x])) == 1 and sheet[40, x] < 255)
    expected = kept.surest[0][0][1][0, 0, 0]
    assert abs(int(sheet[60, first + 10]) - int(expected)) <= 4  # in 64 colours
    last = kept.least[2][0][1][0, 0, 0]
    assert abs(int(sheet[-40, -20]) - int(last)) <= 4


# What cannot be judged


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 1}, "`samples` must be a whole number of at least 2. Received: 1"),
        ({"samples": 2.5}, "`samples` must be a whole number"),
        ({"batch_size": 0}, "`batch_size` must be a whole number of at least 1"),
        ({"seed": -1}, "`seed` must be a whole number that is not negative"),
        ({"threshold": 1.0}, "`threshold` must be a probability between 0 and 1. Received: 1.0"),
        ({"split": "tets"}, "no split named 'tets'. Did you mean 'test'"),
        ({"picture": "x.jpg"}, "the picture is a PNG file"),
        ({"picture": "nowhere/x.png"}, "the folder of the picture does not exist"),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_loaded(settings, message):
    with pytest.raises(InvalidArgument, match=message):
        zoo.judge("no/such", "no/such", **settings)


def test_models_that_do_not_fit(digits, pictures):
    declared = centred(digits.preprocessing)
    model = painter(pictures, declared)
    with pytest.raises(InvalidArgument, match="vit_tiny is for image classification and draws no images to judge"):
        zoo.judge(CLASSIFIER, CLASSIFIER)
    with pytest.raises(InvalidArgument, match="painter does not classify images"):
        zoo.judge(model, model)
    with pytest.raises(InvalidArgument, match="painter draws images of 8 x 8 pixels in 1 channel, and softmax reads "
                                              "images of 28 x 28 pixels in 1 channel"):  # fmt: skip
        zoo.judge(model, "zoo://softmax.mnist")
    untrained = attach(painter(pictures, declared), spec_of(model).but(preprocessing=None))
    with pytest.raises(InvalidArgument, match="painter does not say which numbers are black and white"):
        zoo.judge(untrained, CLASSIFIER)
    built = zoo.load(CLASSIFIER)
    del built.zoo_origin
    with pytest.raises(InvalidArgument, match="neither model says which registered data set"):
        zoo.judge(model, built)
    with pytest.raises(DataError, match="vit_tiny has 10 outputs and digits_parity has 2 classes"):
        zoo.judge(model, CLASSIFIER, data="digits_parity")
    with pytest.raises(UnknownName, match="Did you mean 'digits'"):
        zoo.judge(model, CLASSIFIER, data="digtis")
    others = zoo.load(CLASSIFIER)
    attach(others, spec_of(others).but(labels=tuple("abcdefghij")))
    with pytest.raises(DataError, match="the classes of vit_tiny are not those of digits"):
        zoo.judge(model, others)


def test_a_classifier_of_several_answers_is_no_judge(digits, pictures):
    model = zoo.load(CLASSIFIER)
    attach(model, spec_of(model).but(heads={"logits": {"kind": "sigmoid", "weight": 1.0}}))
    with pytest.raises(
        InvalidArgument, match=r"vit_tiny answers each class by itself\. Received: '10 sigmoid outputs'"
    ):
        zoo.judge(painter(pictures, centred(digits.preprocessing)), model)


def test_the_command_refuses_before_keras_is_imported():
    code = "import sys; from zoo.cli import main; s = main(sys.argv[1:]); print(s, 'keras' in sys.modules)"
    words = ["judge", CLASSIFIER, "--by", "zoo://softmax.mnist"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    assert done.stdout.split()[1] == "False"
    assert done.stdout.split()[0] != "0"
    assert "draws no images to judge" in done.stderr


# What is recorded


JUDGED = [row for row in list_recipes() if "judged" in row.result and "weights" in row.result]


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize("row", JUDGED, ids=lambda row: row.name)
def test_recorded_judgements_hold(row, zoo_data, capsys):
    """The command in the recipe gives the figures in the recipe, but for what other backends round otherwise."""
    program, *words = shlex.split(row.result["judged"])
    assert program == "zoo"
    assert main([*words, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)["made"]
    for name in ("confident_share", "inception_score", "frechet_distance", "entropy"):
        (recorded,) = row.result[name]
        assert made[name] == pytest.approx(recorded, rel=5e-3), name
    assert made["classes_present"] == row.result["classes_present"][0]
