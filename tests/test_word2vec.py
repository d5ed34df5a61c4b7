"""word2vec: pairs, noise and gradients against their formulas, what training finds, and the files others read."""

import gzip
import importlib.util
import io
import json
import re
import struct
import tarfile
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import pytest

import zoo
from zoo.cli import main
from zoo.compiled import ZooModel
from zoo.data import load, word_pairs
from zoo.data.preprocessing import text_declaration
from zoo.data.sets import imdb_words
from zoo.data.word_pairs import Corpus, Noise, Sampling, WordPairs, skip_grams
from zoo.embeddings import WordVectors
from zoo.errors import DataError, InvalidArgument, UnknownName
from zoo.spec import attach, spec_of

JIT = keras.backend.backend() == "jax"
needs_gensim = pytest.mark.skipif(importlib.util.find_spec("gensim") is None, reason="needs gensim: pip install gensim")


# Pairs


def test_the_pairs_of_the_tutorial():
    """Chris McCormick's figure (http://mccormickml.com/2016/04/19/word2vec-tutorial-the-skip-gram-model/)."""
    text = ["the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog"]
    pairs = [tuple(pair) for pair in skip_grams(text, window=2).tolist()]
    assert pairs[:13] == [
        ("the", "quick"),
        ("the", "brown"),
        ("quick", "the"),
        ("quick", "brown"),
        ("quick", "fox"),
        ("brown", "the"),
        ("brown", "quick"),
        ("brown", "fox"),
        ("brown", "jumps"),
        ("fox", "quick"),
        ("fox", "brown"),
        ("fox", "jumps"),
        ("fox", "over"),
    ]
    assert len(pairs) == 9 * 4 - 2 * (2 + 1)


@pytest.mark.parametrize("window", [1, 3, 30])
def test_pairs_are_those_of_keras(window):
    from keras.src.legacy.preprocessing.sequence import skipgrams

    ids = np.random.default_rng(0).integers(1, 9, 20)
    wanted, _ = skipgrams(ids.tolist(), 9, window_size=window, negative_samples=0.0, shuffle=False)
    np.testing.assert_array_equal(skip_grams(ids, window), wanted)


def test_an_empty_text_and_a_word_alone_have_no_pairs():
    assert skip_grams([], 2).shape == skip_grams([7], 2).shape == (0, 2)


def test_keep_probability_is_the_formula_of_the_program():
    counts = np.array([0, 1, 100, 9_899, 90_000])
    kept = word_pairs.keep_probability(counts, 1e-3)
    for count, found in zip(counts[1:], kept[1:], strict=True):
        share = count / 100_000  # in C: ran = (sqrt(cn / (sample * words)) + 1) * (sample * words) / cn
        assert found == pytest.approx(min(1, ((share / 1e-3) ** 0.5 + 1) * 1e-3 / share))
    assert kept[-1] == pytest.approx(31 / 900)
    assert word_pairs.keep_probability(counts, 0).tolist() == [1.0] * 5


def test_noise_is_unigram_to_three_quarters():
    from scipy.stats import chisquare

    counts = np.concatenate([[0, 0], np.random.default_rng(0).zipf(1.5, 60) % 10_000])
    noise = Noise(counts)
    np.testing.assert_allclose(noise.probabilities, counts**0.75 / (counts**0.75).sum(), rtol=1e-12)
    drawn = np.bincount(noise.draw(np.random.default_rng(1), (1000, 300)).ravel(), minlength=len(counts))
    here = counts > 0
    assert not drawn[~here].any()
    assert chisquare(drawn[here], noise.probabilities[here] * drawn.sum()).pvalue > 1e-3
    assert chisquare(drawn[here], counts[here] / counts.sum() * drawn.sum()).pvalue < 1e-12  # the test can tell


# Drawing


@pytest.fixture
def corpus():
    random = np.random.default_rng(0)
    lengths = random.integers(1, 60, 80)
    return Corpus((random.zipf(1.4, lengths.sum()) % 40 + 2).astype(np.int32), np.concatenate([[0], lengths.cumsum()]))


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(word_pairs, "CHUNK", 300)


def split_of(corpus, subsample=0.0, **changes):
    counts = np.bincount(corpus.ids, minlength=42)
    return WordPairs(corpus, Sampling.of(counts, subsample), {}).sampled(**changes)


@pytest.mark.parametrize("architecture", ["skipgram", "cbow"])
@pytest.mark.parametrize("loss", ["negative_sampling", "nce"])
def test_an_epoch_is_drawn_anew_and_repeats_exactly(corpus, small_chunks, architecture, loss):
    split = split_of(corpus, 0.05, architecture=architecture, loss=loss)
    first, again, second = split.at_epoch(3, 0), split.at_epoch(3, 0), split.at_epoch(3, 1)
    assert len(first) == len(second) == len(split)
    x, y = first.arrays()
    shuffled = np.random.default_rng(0).permutation(len(split))
    for name, rows in again.batch(shuffled)[0].items():  # whatever is asked for first
        np.testing.assert_array_equal(rows, x[name][shuffled])
    assert any(np.mean(rows != second.arrays()[0][name]) > 0.5 for name, rows in x.items())
    assert y.shape == (len(split),)
    assert not y.any()
    true, noise = x["candidates"][:, :1], x["candidates"][:, 1:]
    assert noise.shape[1] == 5
    if loss == "negative_sampling":
        assert not (true == noise).any()
        assert "offset" not in x
    else:
        assert (true == noise).any()  # the theory wants noise as it falls
        q = np.bincount(corpus.ids, minlength=42) ** 0.75
        q[:2] = np.nan
        wanted = np.log(5 * (q / np.nansum(q))[x["candidates"]])
        np.testing.assert_allclose(x["offset"], wanted, rtol=1e-5)


def test_an_epoch_sees_every_pair_within_reach_and_none_across_texts(small_chunks):
    texts = [range(2, 30), range(30, 60), range(60, 62)]  # each word once, so that its neighbours are known
    corpus = word_pairs.corpus_of(texts, {i: i for i in range(62)})
    counts = np.bincount(corpus.ids, minlength=62)
    split = WordPairs(corpus, Sampling.of(counts, 0), {}).sampled(window=3)
    seen = Counter()
    for epoch in range(60):
        x, _ = split.at_epoch(0, epoch).arrays()
        seen.update(zip(x["word"][:, 0].tolist(), x["candidates"][:, 0].tolist(), strict=True))
    wanted = {tuple(pair) for text in texts for pair in skip_grams(list(text), 3).tolist()}
    assert set(seen) == wanted
    by_distance = Counter()
    for (word, neighbour), count in seen.items():
        by_distance[abs(word - neighbour)] += count
    shares = [by_distance[d] / sum(abs(a - b) == d for a, b in wanted) / 60 for d in (1, 2, 3)]
    np.testing.assert_allclose(shares, [1, 2 / 3, 1 / 3], atol=0.05)  # reaches 1, 2 and 3 are equally likely


def test_a_bag_holds_the_neighbours_of_the_true_word(small_chunks):
    corpus = word_pairs.corpus_of([range(2, 40), [41]], {i: i for i in range(42)})
    split = split_of(corpus, architecture="cbow", window=2)
    x, _ = split.arrays()
    assert x["context"].shape[1:] == (4,)
    near = np.arange(-2, 3)[[0, 1, 3, 4]] + x["candidates"][:, :1]
    there = x["context"] > 0
    np.testing.assert_array_equal(x["context"][there], near[there])
    assert there.any(axis=1).all()
    assert 41 not in x["candidates"][:, 0]  # a word alone has nothing to be predicted from


def test_subsampling_thins_out_frequent_words(corpus):
    counts = np.bincount(corpus.ids, minlength=42)
    share = {}
    for subsample in (0, 0.01):
        words = np.concatenate([split_of(corpus, subsample).at_epoch(0, e).arrays()[0]["word"] for e in range(10)])
        share[subsample] = np.bincount(words[:, 0], minlength=42) / len(words)
    wanted = counts * word_pairs.keep_probability(counts, 0.01)
    common = counts > 50
    np.testing.assert_allclose(share[0.01][common], (wanted / wanted.sum())[common], rtol=0.2)
    assert share[0].max() > 2 * share[0.01].max()


def test_a_text_of_one_word_leaves_no_noise():
    with pytest.raises(DataError, match="two different words"):
        Sampling.of(np.array([0, 0, 7, 0]), 0)


def test_texts_without_neighbours_are_refused():
    corpus = word_pairs.corpus_of([[2], [3]], {2: 2, 3: 3})
    with pytest.raises(DataError, match=r"no two neighbouring words.*subsample=0"):
        split_of(corpus)


def test_vocabulary():
    counts = Counter({"b": 5, "a": 5, "c": 9, "rare": 1})
    assert word_pairs.vocabulary_of(counts, 10, 2) == ("[PAD]", "[UNK]", "c", "a", "b")
    assert word_pairs.vocabulary_of(counts, 4, 1) == ("[PAD]", "[UNK]", "c", "a")
    with pytest.raises(DataError, match=r"needs two.*Lower `min_count`"):
        word_pairs.vocabulary_of(counts, 10, 6)


# Gradients


@pytest.mark.parametrize("name", ["skipgram", "cbow"])
@pytest.mark.parametrize("loss", ["negative_sampling", "nce"])
def test_a_step_is_the_formula(name, loss):
    """One step of gradient descent: u_c -= (s(u.v) - t) v, v -= sum (s(u.v) - t) u, averaged over the batch."""
    batch, noise, size, width = 7, 3, 9, 4
    random = np.random.default_rng(0)
    model = zoo.build(name, vocab_size=size, embed_dim=width, window=2, negatives=noise, loss=loss)
    for weight in model.weights:
        weight.assign(random.standard_normal(weight.shape))
    before = {w.path: keras.ops.convert_to_numpy(w).astype(np.float64) for w in model.weights}
    x = {"candidates": random.integers(1, size, (batch, 1 + noise)).astype("int32")}
    if name == "skipgram":
        x["word"] = random.integers(1, size, (batch, 1)).astype("int32")
    else:
        x["context"] = random.integers(0, size, (batch, 4)).astype("int32")
        x["context"][0] = [0, 3, 0, 0]
    if loss == "nce":
        x["offset"] = random.standard_normal((batch, 1 + noise)).astype("float32")
    trained = ZooModel.of(model, "sgd(learning_rate=1, momentum=0)", jit_compile=JIT)
    trained.fit(x, np.zeros(batch, "int32"), batch_size=batch, verbose=0)

    steps = {path: np.zeros_like(value) for path, value in before.items()}
    for row in range(batch):
        words = x["word"][row] if name == "skipgram" else [w for w in x["context"][row] if w]
        v = np.mean([before["words/embeddings"][w] for w in words], axis=0)
        for column, c in enumerate(x["candidates"][row]):
            u = before["contexts/embeddings"][c]
            score = u @ v
            if loss == "nce":
                score += before["context_biases/embeddings"][c, 0] - x["offset"][row, column]
            error = 1 / (1 + np.exp(-score)) - (column == 0)
            steps["contexts/embeddings"][c] += error * v
            for w in words:
                steps["words/embeddings"][w] += error * u / len(words)
            if loss == "nce":
                steps["context_biases/embeddings"][c] += error
    for weight in trained.weights:
        after = keras.ops.convert_to_numpy(weight)
        np.testing.assert_allclose(after, before[weight.path] - steps[weight.path] / batch, rtol=1e-4, atol=1e-5)


def test_the_start_is_that_of_word2vec():
    keras.utils.set_random_seed(0)
    model = zoo.build("skipgram", vocab_size=500, embed_dim=20)
    words, contexts = (keras.ops.convert_to_numpy(model.get_layer(n).embeddings) for n in ("words", "contexts"))
    assert 0.024 < np.abs(words).max() <= 0.5 / 20
    assert not contexts.any()


@pytest.mark.parametrize("loss", ["negative_sampling", "nce"])
def test_mixed_precision_keeps_full_precision_logits(loss):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = zoo.build("cbow", vocab_size=9, embed_dim=4, loss=loss)
    finally:
        keras.config.set_dtype_policy(policy)
    assert model.get_layer("words").compute_dtype == "bfloat16"
    assert model.outputs[0].dtype == "float32"


# What training finds


def train_on_pairs(loss, noise=4):
    """Trains a tiny model on pairs of a known distribution. Returns p(c | w), q and the scores that were learned."""
    random = np.random.default_rng(0)
    given = random.dirichlet(np.full(5, 2.0), size=5)  # p(c | w)
    q = np.full(5, 0.1) + 0.5 * np.eye(5)[2]
    pairs = 40_000
    word = random.integers(5, size=pairs)
    true = (given.cumsum(axis=1)[word] < random.random((pairs, 1))).sum(axis=1)
    x = {"word": word[:, np.newaxis], "candidates": np.column_stack([true, random.choice(5, (pairs, noise), p=q)])}
    x = {k: v.astype("int32") for k, v in x.items()}
    if loss == "nce":
        x["offset"] = np.log(noise * q).astype("float32")[x["candidates"]]
    keras.utils.set_random_seed(0)
    model = zoo.build("skipgram", vocab_size=5, embed_dim=8, negatives=noise, loss=loss)
    model = ZooModel.of(model, "adam(learning_rate=0.05)+cosine", jit_compile=JIT)
    model.fit(x, np.zeros(pairs, "int32"), batch_size=1000, epochs=5, verbose=0)
    weights = {w.path: keras.ops.convert_to_numpy(w) for w in model.weights}
    scores = weights["words/embeddings"] @ weights["contexts/embeddings"].T
    return given, q, scores + weights.get("context_biases/embeddings", np.zeros((5, 1))).T


def test_nce_finds_the_conditional_distribution():
    given, _, scores = train_on_pairs("nce")
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1, atol=0.06)  # normalised without ever being told to
    np.testing.assert_allclose(np.exp(scores), given, atol=0.04)


def test_negative_sampling_finds_the_ratio_to_the_noise():
    """Levy and Goldberg, 2014: u . v = log p(c | w) / (K q(c))."""
    given, q, scores = train_on_pairs("negative_sampling")
    np.testing.assert_allclose(np.exp(scores) * 4 * q, given, atol=0.04)


# Nearest words and analogies


@pytest.fixture
def royal():
    """Three meanings, royal, female and young, and a word of none."""
    words = ("man", "woman", "king", "queen", "prince", "princess", "bread")
    meanings = [[0, 0, 0, 1], [0, 1, 0, 1], [1, 0, 0, 1], [1, 1, 0, 1], [1, 0, 1, 1], [1, 1, 1, 1], [-1, 0.2, -1, -1]]
    return WordVectors(words, np.array(meanings) * np.arange(1, 8)[:, np.newaxis])


def test_nearest_is_by_cosine():
    random = np.random.default_rng(0)
    vectors = WordVectors([f"w{i}" for i in range(50)], random.standard_normal((50, 8)))
    v = vectors.vectors.astype(np.float64)
    cosines = v @ v[7] / np.linalg.norm(v, axis=1) / np.linalg.norm(v[7])
    wanted = [i for i in np.argsort(-cosines) if i != 7][:5]
    found = zoo.nearest(vectors, "w7", top=5)
    assert [word for word, _ in found] == [f"w{i}" for i in wanted]
    np.testing.assert_allclose([c for _, c in found], cosines[wanted], atol=1e-6)
    assert len(zoo.nearest(vectors, "w7", top=99)) == 49


def test_analogy(royal):
    assert zoo.analogy(royal, "man", "king", "woman", top=1)[0][0] == "queen"
    assert zoo.analogy(royal, "Man", "king", "WOMAN", top=1)[0][0] == "queen"
    assert {"man", "king", "woman"}.isdisjoint(word for word, _ in zoo.analogy(royal, "man", "king", "woman", top=9))


def test_analogies_by_section(royal, tmp_path):
    path = tmp_path / "questions.txt"
    path.write_text(
        ": family\nman king woman queen\nMan Woman Prince Princess\nman woman king bread\n"
        ": food\nbread butter salt pepper\nman woman king queen\n",
        "utf-8",
    )
    family, food, total = zoo.analogies(royal, path)
    assert (family.name, family.right, family.asked, family.skipped) == ("family", 2, 3, 0)
    assert (food.right, food.asked, food.skipped) == (1, 1, 1)
    assert (total.name, total.right, total.asked, total.skipped) == ("total", 3, 4, 1)
    assert total.accuracy == 0.75
    assert zoo.analogies(royal, path, most_frequent=4)[-1].asked == 2
    path.write_text("man king woman\n", "utf-8")
    with pytest.raises(DataError, match="line 1: a question has four words"):
        zoo.analogies(royal, path)
    with pytest.raises(DataError, match="cannot be read"):
        zoo.analogies(royal, tmp_path / "none.txt")


@pytest.mark.data
def test_every_question_of_google_is_read(zoo_data):
    """Vectors that know every word; the file has 8,869 semantic and 10,675 syntactic questions."""
    path = zoo_data / "questions-words.txt"
    words = sorted({w for line in path.read_text("utf-8").splitlines() if line[0] != ":" for w in line.split()})
    sections = zoo.analogies(WordVectors(words, np.random.default_rng(0).standard_normal((len(words), 4))), path)
    assert len(sections) == 15
    assert (sections[-1].asked, sections[-1].skipped) == (19_544, 0)
    assert sum(s.asked for s in sections[:-1] if s.name.startswith("gram")) == 10_675


@needs_gensim
@pytest.mark.parametrize("name", ["wordsim353.tsv", "simlex999.txt"])
def test_similarity_equals_gensim_on_its_own_files(name):
    from gensim.models import KeyedVectors
    from gensim.test.utils import datapath

    path = Path(datapath(name))
    known = sorted({w for line in path.read_text("utf-8").splitlines() if line[0] != "#" for w in line.split()[:2]})
    known = known[::3] + known[1::3]  # a third of the words is missing
    vectors = np.random.default_rng(0).standard_normal((len(known), 5)).astype(np.float32)
    theirs = KeyedVectors(5)
    theirs.add_vectors(known, vectors)
    _, (wanted, _), missing = theirs.evaluate_word_pairs(path, case_insensitive=False)
    found = zoo.similarity(WordVectors(known, vectors), path)
    assert found.spearman == pytest.approx(wanted, abs=1e-6)
    assert found.skipped / (found.pairs + found.skipped) == pytest.approx(missing / 100)


def test_similarity_ranks_cosines_against_scores(royal, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("word1,word2,score,said\nking,queen,9,x\nMan,king,7,y\nman,bread,1,z\nking,salt,5,w\n", "utf-8")
    found = zoo.similarity(royal, path)
    assert (found.spearman, found.pairs, found.skipped) == (1.0, 3, 1)
    path.write_text("# judged\nking queen 1\nman king 7\nman\tbread\t9\n", "utf-8")
    assert zoo.similarity(royal, path).spearman == -1.0
    for text, message in (("king queen 1\nman king\n", "line 2: a pair"), ("king queen nan\n", "line 1: the score")):
        path.write_text(text, "utf-8")
        with pytest.raises(DataError, match=message):
            zoo.similarity(royal, path)
    path.write_text("king salt 3\nking queen 4\n", "utf-8")
    with pytest.raises(DataError, match="fewer than two of the 2 pairs"):
        zoo.similarity(royal, path)


def test_unknown_word_gives_the_nearest_spelling(royal):
    with pytest.raises(UnknownName, match=r"'princes'.*Did you mean 'princess'"):
        zoo.nearest(royal, "princes")
    with pytest.raises(InvalidArgument, match="`top` must be"):
        zoo.nearest(royal, "king", top=0)


def test_wrong_vectors_are_refused():
    with pytest.raises(InvalidArgument, match="one vector for each word"):
        WordVectors(("a", "b"), np.zeros((3, 2)))
    with pytest.raises(InvalidArgument, match=r"a word comes twice.*'a'"):
        WordVectors(("a", "a"), np.zeros((2, 2)))
    with pytest.raises(InvalidArgument, match="carries no vocabulary"):
        zoo.word_vectors(zoo.build("skipgram", vocab_size=9, embed_dim=2))


# Files


def test_the_text_format(royal, tmp_path):
    lines = zoo.export_word2vec(royal, tmp_path / "v.txt").read_bytes().decode().split("\n")
    assert lines[0] == "7 4"
    assert lines[1] == "man 0.0 0.0 0.0 1.0 "
    assert lines[-1] == ""
    read = np.array([line.split()[1:] for line in lines[1:-1]], np.float64)
    np.testing.assert_array_equal(read.astype(np.float32), royal.vectors)  # every digit that matters


def test_the_binary_format(royal, tmp_path):
    """As the program's own reader does: fscanf("%lld %lld"), then per word its bytes to a space, E floats, a byte."""
    data = zoo.export_word2vec(royal, tmp_path / "v.bin", binary=True).read_bytes()
    head, _, rest = data.partition(b"\n")
    assert head == b"7 4"
    for word, vector in zip(royal.words, royal.vectors, strict=True):
        found, _, rest = rest.partition(b" ")
        assert found.decode() == word
        assert struct.unpack("<4f", rest[:16]) == tuple(vector)
        assert rest[16:17] == b"\n"
        rest = rest[17:]
    assert rest == b""


def test_words_with_white_space_cannot_be_exported(tmp_path):
    with pytest.raises(InvalidArgument, match=r"white space.*'new york'"):
        zoo.export_word2vec(WordVectors(("new york",), np.ones((1, 2))), tmp_path / "v.txt")
    assert not list(tmp_path.glob("v*"))


@needs_gensim
@pytest.mark.parametrize("binary", [False, True])
def test_gensim_reads_the_export(tmp_path, binary):
    from gensim.models import KeyedVectors

    words = ("the", "naïve", "don't", "映画", "film")
    vectors = WordVectors(words, np.random.default_rng(0).standard_normal((5, 7)))
    path = zoo.export_word2vec(vectors, tmp_path / "vectors", binary=binary)
    found = KeyedVectors.load_word2vec_format(str(path), binary=binary)
    assert tuple(found.index_to_key) == words
    np.testing.assert_array_equal(found.vectors, vectors.vectors)
    assert [w for w, _ in found.most_similar("film")] == [w for w, _ in zoo.nearest(vectors, "film")]
    mine, theirs = zoo.nearest(vectors, "film"), found.most_similar("film")
    np.testing.assert_allclose([c for _, c in mine], [c for _, c in theirs], atol=1e-6)


# The command


@pytest.fixture
def pushed(royal, tmp_path):
    """The reference of a published model that holds the royal vectors."""
    words = ["[PAD]", "[UNK]", *royal.words]
    model = zoo.build("skipgram", vocab_size=len(words), embed_dim=4)
    model.get_layer("words").embeddings.assign(np.concatenate([np.ones((2, 4)), royal.vectors]))
    attach(model, spec_of(model).but(preprocessing=text_declaration(1, len(words))))
    target = str(tmp_path / "royal")
    return zoo.push(model, target, assets={"vocabulary.txt": "\n".join(words).encode()}).ref


def test_a_published_model_has_its_words(pushed, royal):
    vectors = zoo.word_vectors(pushed)
    assert vectors.words == royal.words
    np.testing.assert_array_equal(vectors.vectors, royal.vectors)
    with pytest.raises(UnknownName, match=r"no embedding .* named 'contxts'. Did you mean 'contexts'"):
        zoo.word_vectors(pushed, layer="contxts")


def test_the_commands(pushed, tmp_path, capsys):
    assert main(["words", pushed, "king", "queen", "--top", "2", "--json"]) == 0
    king, queen = json.loads(capsys.readouterr().out)
    assert king["word"] == "king"
    assert [row["word"] for row in king["nearest"]] == ["queen", "prince"]
    assert len(queen["nearest"]) == 2
    assert main(["analogy", pushed, "man", "king", "woman"]) == 0
    assert re.search(r"man : king = woman : \? +queen 0\.\d\d, princess", capsys.readouterr().out)
    (tmp_path / "questions.txt").write_text(": family\nman king woman queen\nman king woman sister\n", "utf-8")
    assert main(["analogies", pushed, str(tmp_path / "questions.txt")]) == 0
    assert re.search(r"total +100\.0% +1 +1 +1\n", capsys.readouterr().out)
    (tmp_path / "pairs.txt").write_text("king queen 9\nman king 7\nman bread 1\nman salt 2\n", "utf-8")
    assert main(["similarity", pushed, str(tmp_path / "pairs.txt")]) == 0
    assert re.search(r"pairs.txt +1\.000 +3 +1\n", capsys.readouterr().out)
    assert main(["export-word2vec", pushed, str(tmp_path / "v.bin"), "--binary"]) == 0
    assert capsys.readouterr().out.startswith("7 words of 4 numbers in ")
    assert (tmp_path / "v.bin").read_bytes().startswith(b"7 4\nman ")
    assert main(["words", pushed, "quen"]) == 2
    assert capsys.readouterr().err == "Error: no word in the vocabulary named 'quen'. Did you mean 'queen'?\n"


# The data set


REVIEWS = [
    f"A {a} film about a {b}.<br />The {b} is {a}, and so is the <i>{c}</i>."
    for a, b, c in zip(
        ["good", "bad", "long", "slow", "fine"] * 8,
        ["dog", "cat", "house", "war"] * 10,
        ["end", "cast"] * 20,
        strict=True,
    )
]


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """The two forms of the archive, with forty reviews."""
    monkeypatch.setattr(imdb_words, "REVIEWS", len(REVIEWS))
    table, archive = tmp_path / "table", tmp_path / "archive"
    table.mkdir()
    archive.mkdir()
    with gzip.open(table / "imdb_unsup.tsv.gz", "wt", encoding="utf-8") as file:
        file.writelines(f"-1\t0\t{review}\n" for review in REVIEWS)
    with tarfile.open(archive / "aclImdb_v1.tar.gz", "w:gz") as file:
        for i, review in enumerate(["labelled", *REVIEWS]):
            member = tarfile.TarInfo(f"aclImdb/train/{'unsup' if i else 'pos'}/{i}_0.txt")
            member.size = len(review.encode())
            file.addfile(member, io.BytesIO(review.encode()))
    return table, archive


def test_both_forms_of_the_archive_give_the_same_data(archives, monkeypatch):
    found = []
    for folder in archives:
        monkeypatch.setenv("ZOO_DATA", str(folder))
        found.append(load("imdb_words", min_count=2, texts=len(REVIEWS), subsample=0))
    assert found[0].fingerprint == found[1].fingerprint
    words = found[0].assets["vocabulary.txt"].decode().split("\n")
    assert words[:3] == ["[PAD]", "[UNK]", "a"]
    assert {"good", "house"} <= set(words)
    assert "br" not in words
    assert found[0].arguments == {"vocab_size": len(words)}
    assert load("imdb_words", min_count=2, texts=len(REVIEWS), subsample=0.03).fingerprint != found[0].fingerprint


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_count": 0}, "`min_count` must be a whole number of at least 1"),
        ({"vocab_size": 3}, "`vocab_size` must be a whole number of at least 4"),
        ({"subsample": 1.0}, "`subsample` must be a share.*0.0001 is usual"),
        ({"texts": 41}, "`texts` is more than there are.*has 40"),
        ({"window": 3}, "window"),
    ],
)
def test_wrong_options(archives, monkeypatch, options, message):
    monkeypatch.setenv("ZOO_DATA", str(archives[0]))
    with pytest.raises(InvalidArgument, match=message):
        load("imdb_words", **{"texts": len(REVIEWS), **options})


def test_a_broken_archive_is_refused(archives, monkeypatch):
    monkeypatch.setenv("ZOO_DATA", str(archives[0]))
    path = archives[0] / "imdb_unsup.tsv.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="not a whole IMDB archive"):
        load("imdb_words", texts=len(REVIEWS))
    path.write_bytes(gzip.compress(b"-1\t0\tone\n"))
    with pytest.raises(DataError, match="is not IMDB"):
        load("imdb_words", texts=len(REVIEWS))


@pytest.mark.parametrize(("name", "loss"), [("skipgram", "negative_sampling"), ("cbow", "nce")])
def test_train_then_look_words_up(archives, monkeypatch, tmp_path, name, loss):
    """The whole way; the model's arguments decide how examples are drawn."""
    monkeypatch.setenv("ZOO_DATA", str(archives[0]))
    arguments = {"loss": loss, "window": 2, "negatives": 3, "embed_dim": 8}
    options = {"data_options": {"min_count": 2, "texts": len(REVIEWS), "subsample": 0}, "batch_size": 64, "epochs": 2}
    options |= {"recipe": "adam(learning_rate=0.03)", "out": tmp_path / "run", "quiet": True, "jit": JIT}
    run = zoo.train(name, "imdb_words", **arguments, **options)
    losses = [row["val_loss"] for row in run.history]
    assert losses[1] < losses[0]
    assert run.spec.arguments["window"] == 2
    vectors = zoo.word_vectors(run)
    assert "[PAD]" not in vectors.words
    assert len(vectors) == run.spec.arguments["vocab_size"] - 2
    np.testing.assert_array_equal(vectors.vectors, zoo.word_vectors(zoo.load(run)).vectors)
    found = zoo.evaluate(run, "imdb_words", data_options={"texts": len(REVIEWS), "subsample": 0})
    assert found["loss"] == pytest.approx(run.metrics["test"]["loss"], rel=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"negatives": 0}, "`negatives` must be a whole number of at least 1"),
        ({"window": -1}, "`window` must be a whole number"),
        ({"loss": "softmax"}, "`loss` must be one of 'negative_sampling', 'nce'"),
        ({"embed_dim": 2.5}, "`embed_dim` must be int"),
    ],
)
@pytest.mark.parametrize("name", ["skipgram", "cbow"])
def test_wrong_arguments(name, arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        zoo.build(name, **arguments)
