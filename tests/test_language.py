"""Language models: state that carries, running text, perplexity against a trigram's, and text that goes on."""

import gzip
import importlib.util
import math
import tomllib
from pathlib import Path

import keras
import numpy as np
import pytest

import zoo
from zoo.compiled import ZooModel
from zoo.data import load
from zoo.data.feed import feed, steps_per_epoch
from zoo.data.preprocessing import tokens
from zoo.data.sets.imdb_text import _taken
from zoo.data.streams import END, StreamSplit, build_vocabulary, layout, stream_declaration
from zoo.errors import DataError, InvalidArgument, UnknownName
from zoo.factory import build
from zoo.generation import draw, joined
from zoo.measuring import ResetStates, measure
from zoo.recurrent_state import carrying, reset_states, states_of, twin
from zoo.registry import data_file

TINY = {"vocab_size": 20, "sequence_length": 8, "embed_dim": 6, "units": 7, "initial_range": 0.5}
FAMILIES = pytest.mark.parametrize("family", ["lstm_lm", "gru_lm"])
TRIGRAM = Path(__file__).parent / "benchmarks" / "trigram.py"


def tiny(family="lstm_lm", **changed):
    keras.utils.set_random_seed(3)
    return build(family, **TINY | changed)


def trigram():
    described = importlib.util.spec_from_file_location("trigram", TRIGRAM)
    module = importlib.util.module_from_spec(described)
    described.loader.exec_module(module)
    return module


def outputs(model, x):
    return np.asarray(model.predict_on_batch(np.asarray(x, "int32")))


def weights(model):
    return {w.path: keras.ops.convert_to_numpy(w).copy() for w in model.weights}


def words(rows, length, seed=0):
    return np.random.default_rng(seed).integers(1, TINY["vocab_size"], (rows, length)).astype("int32")


# The model


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_hand(model, x):
    """The equations of Zaremba et al., section 3, in NumPy; Keras orders the gates input, forget, new, out."""
    w = {path: value.astype(np.float64) for path, value in weights(model).items()}
    sequence = w["embedding/embeddings"][x]
    for i in (1, 2):
        kernel, recurrent, bias = (w[f"lstm_lm{i}/lstm_cell/{n}"] for n in ("kernel", "recurrent_kernel", "bias"))
        h = c = np.zeros((len(x), len(recurrent)))
        steps = []
        for t in range(x.shape[1]):
            i_, f, g, o = np.split(sequence[:, t] @ kernel + h @ recurrent + bias, 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i_) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            steps.append(h)
        sequence = np.stack(steps, axis=1)
    return sequence @ w["logits/kernel"] + w["logits/bias"]


def test_logits_are_those_of_the_paper():
    model, x = tiny(), words(3, 8)
    np.testing.assert_allclose(outputs(model, x), by_hand(model, x), atol=1e-5)


def test_initial_weights_and_dropout_are_the_papers():
    small = build("lstm_lm_small", vocab_size=50)
    for path, value in weights(small).items():
        assert np.abs(value).max() <= 0.1, path
        assert np.abs(value).max() > 0.09, path  # a bias too: no forget gate starts at one
    medium = build("lstm_lm_medium", vocab_size=50, units=8, embed_dim=8)
    rates = [layer.rate for layer in medium.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.5, 0.5, 0.5]  # after the embedding and after each recurrent layer
    recurrent = [medium.get_layer(f"lstm_lm{i}") for i in (1, 2)]
    assert [(layer.dropout, layer.recurrent_dropout) for layer in recurrent] == [(0, 0), (0, 0)]


def test_tied_weights_are_one_matrix():
    model = tiny(embed_dim=7, tie_weights=True, num_layers=1)
    x = words(2, 8)
    inside = keras.Model(model.input, model.get_layer("lstm_lm1").output)
    wanted = outputs(inside, x) @ weights(model)["embedding/embeddings"].T
    np.testing.assert_allclose(outputs(model, x), wanted, atol=1e-5)


# The state


@FAMILIES
def test_state_carries_from_batch_to_batch(family):
    whole, x = tiny(family), words(3, 16)
    parts = carrying(twin(whole, batch_size=3))
    assert [w.path for w in parts.weights] == [w.path for w in whole.weights]
    assert parts.count_params() == whole.count_params()
    at_once = outputs(twin(whole, batch_size=None, sequence_length=16), x)
    first, second = outputs(parts, x[:, :8]), outputs(parts, x[:, 8:])
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), at_once, atol=1e-5)
    reset_states(parts)
    forgetful = outputs(parts, x[:, 8:])
    assert np.abs(forgetful - second).max() > 1e-3
    np.testing.assert_allclose(forgetful, outputs(whole, x[:, 8:]), atol=1e-5)


@pytest.mark.parametrize(("family", "ends_in"), [("lstm_lm", "training"), ("gru_lm", "validation")])
def test_state_carries_in_training_and_each_pass_begins_without(family, ends_in):
    whole, x = tiny(family), words(3, 24)
    model = ZooModel.of(twin(whole, batch_size=3), "sgd(learning_rate=1e-12)", jit_compile=False)
    batches = np.concatenate([x[:, :8], x[:, 8:16]])
    fit = {"batch_size": 3, "epochs": 2, "shuffle": False, "verbose": 0, "callbacks": [ResetStates()]}
    if ends_in == "validation":
        fit |= {"validation_data": (batches, batches), "validation_batch_size": 3}
    model.fit(batches, batches, **fit)  # its last pass has read 16 words of each row
    after = outputs(carrying(model), x[:, 16:])
    at_once = outputs(twin(whole, batch_size=None, sequence_length=24), x)[:, 16:]
    np.testing.assert_allclose(after, at_once, atol=1e-5)


def test_gradients_stop_at_the_start_of_a_batch():
    """The words of the first batch are not those of the second: only a gradient through time could reach them."""
    early, late = np.arange(1, 9)[None], np.arange(11, 19)[None]
    whole = twin(tiny(), batch_size=None, sequence_length=16)
    parts = carrying(twin(whole, batch_size=1, sequence_length=8))
    before = weights(whole)["embedding/embeddings"]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    for model in (whole, parts):
        model.compile(keras.optimizers.SGD(1.0), loss, jit_compile=False)
    only_late = np.repeat([[0.0, 1.0]], 8, axis=1).astype("float32")
    both = np.concatenate([early, late], axis=1)
    whole.train_on_batch(both, both, sample_weight=only_late)
    outputs(parts, early)
    state = [keras.ops.convert_to_numpy(s).copy() for s in states_of(parts)]
    parts.train_on_batch(late, late)
    assert all(np.any(s) for s in state)
    changed = {
        name: np.any(weights(m)["embedding/embeddings"] != before, axis=1)
        for name, m in (("whole", whole), ("parts", parts))
    }
    assert changed["whole"][early].all()
    assert changed["whole"][late].all()
    assert not changed["parts"][early].any()
    assert changed["parts"][late].all()


def test_another_batch_size_needs_another_model():
    with pytest.raises(InvalidArgument, match=r"softmax does not carry state.*text_generation"):
        twin(build("softmax"), batch_size=2)


# Running text


def test_a_stream_is_read_side_by_side():
    x, y = layout(np.arange(27), 3, batch_size=2)
    assert x.tolist() == [
        [0, 1, 2], [12, 13, 14], [3, 4, 5], [15, 16, 17], [6, 7, 8], [18, 19, 20], [9, 10, 11], [21, 22, 23]
    ]  # fmt: skip
    assert (y == x + 1).all()
    assert layout(np.arange(25), 3, 2)[0].shape == (8, 3)  # every token but the last is read
    assert layout(np.arange(24), 3, 2)[0].shape == (6, 3)
    with pytest.raises(DataError, match="6 tokens are too few for a batch of 2 windows of 3"):
        layout(np.arange(6), 3, 2)


def test_training_reads_a_stream_in_order_in_every_epoch():
    split = StreamSplit(np.arange(27), stream_declaration(3, 30)).for_batches(2)
    assert (len(split), steps_per_epoch(split, 2)) == (8, 4)
    batches = feed(split, 2, seed=5, epochs=2)
    read = [
        (np.asarray(x), np.asarray(y))
        for x, y in (batches if hasattr(batches, "take") else map(batches.__getitem__, range(8)))
    ]
    for row, start in ((0, 0), (1, 12)):
        x = np.concatenate([x[row] for x, _ in read])
        assert x.tolist() == 2 * list(range(start, start + 12))
    assert all((y == x + 1).all() for x, y in read)


def test_perplexity_is_that_of_one_pass_over_each_part():
    model = tiny()
    stream = words(1, 100)[0]
    split = StreamSplit(stream, stream_declaration(8, 20))
    found = measure(twin(model, batch_size=4), split, 4)
    rows, targets = (a.reshape(3, 4, 8).swapaxes(0, 1).reshape(4, 24) for a in layout(stream, 8, 4))
    logits = outputs(twin(model, batch_size=None, sequence_length=24), rows).astype(np.float64)
    shares = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    given = np.take_along_axis(shares, targets[:, :, None], axis=2)
    assert found["perplexity"] == pytest.approx(given.prod() ** (-1 / given.size), rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(found["loss"]))
    assert found["examples"] == 96
    without = measure(model, split, 4)
    assert abs(without["loss"] - found["loss"]) > 1e-4  # state matters
    assert without["examples"] == 96


def test_the_vocabulary_has_the_end_of_a_text():
    assert build_vocabulary([*"abcab", END, END, END], 5) == ("[PAD]", "[UNK]", END, "a", "b")


# The trigram model


def counted(stream, vocab_size, before, last, word, discounts):
    """Interpolated Kneser-Ney as its paper writes it, by counting in Python."""
    grams = list(zip(stream[:-2], stream[1:-1], stream[2:], strict=True))
    found = 1 / (vocab_size - 1)
    kinds = (
        [(c,) for _, c in {(b, c) for _, b, c in set(grams)}],
        [(b, c) for _, b, c in set(grams)],
        grams,
    )
    for n, kind, discount in zip((0, 1, 2), kinds, discounts, strict=True):
        context = (before, last)[2 - n :]
        follows = [g[-1] for g in kind if g[:-1] == context]
        if not follows:
            continue
        counts = {w: follows.count(w) for w in set(follows)}
        given = sum(discount[min(c, 3) - 1] for c in counts.values())
        own = counts.get(word, 0)
        found = (own - discount[min(own, 3) - 1] if own else 0) / len(follows) + given / len(follows) * found
    return found


@pytest.mark.parametrize("length", [300, 4000])
def test_the_trigram_model_is_kneser_neys_and_sums_to_one(length):
    module, size = trigram(), 12
    stream = np.minimum(np.random.default_rng(0).zipf(1.3, length), size - 1)
    model = module.Trigram(stream, size)
    every = np.meshgrid(*3 * [np.arange(1, size)], indexing="ij")
    shares = model.probabilities(*every)
    np.testing.assert_allclose(shares.sum(axis=2), 1, atol=1e-12)
    assert shares.min() > 0
    discounts = [order.discounts for order in reversed(model.orders)]
    for before, last, word in ((1, 1, 1), (2, 1, 3), (9, 10, 11), (11, 11, 11), (1, 5, 2)):
        wanted = counted(stream.tolist(), size, before, last, word, discounts)
        assert shares[before - 1, last - 1, word - 1] == pytest.approx(wanted, rel=1e-9)
    spread = np.log(model.probabilities(*(np.r_[2, 2, stream][i : i + length] for i in range(3))))[1:]
    assert module.perplexity(model, stream, 4, 2) == pytest.approx(
        math.exp(-spread[layout(np.arange(length), 4, 2)[0]].mean())
    )


# From a text file to text


HOMES = {"anna": "paris", "bela": "vienna", "cora": "oslo", "dora": "rome"}


def travels(sentences, seed=0):
    """Paragraphs whose fifth word follows from the first: further back than a trigram sees."""
    names = np.random.default_rng(seed).choice(list(HOMES), sentences)
    return "\n\n".join(f"{name.title()} went\nhome to {HOMES[name].title()}." for name in names)


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    path = tmp_path_factory.mktemp("book") / "travels.txt"
    path.write_text(travels(500), "utf-8")
    return path


@pytest.fixture(scope="module")
def trained(book):
    """A run of a small model on the book."""
    small = {"units": 32, "embed_dim": 16, "num_layers": 1, "initial_range": 0.3}
    how = {"recipe": "adam(learning_rate=0.01)", "epochs": 20, "batch_size": 8, "quiet": True}
    return zoo.train("lstm_lm", book, out=book.parent / "run", data_options={"sequence_length": 20}, **how, **small)


def test_a_text_file_is_running_text(book):
    data = load(str(book), sequence_length=20)
    found = data.assets["vocabulary.txt"].decode().split("\n")
    assert (data.task, data.labels, data.name) == ("text_generation", None, "travels")
    assert found[:3] == ["[PAD]", "[UNK]", END]
    assert data.arguments == {"vocab_size": len(found), "sequence_length": 20}
    streams = [split.stream for split in data.splits.values()]
    assert [len(s) for s in streams] == [2800, 350, 350]
    read = " ".join(found[i] for i in np.concatenate(streams))
    assert (
        read
        == " ".join(tokens(travels(500).replace("\n\n", " ENDED "), data.preprocessing)).replace("ended", END)
        + f" {END}"
    )
    whole = load(book, sequence_length=20, paragraphs=False)
    assert sum((split.stream == 2).sum() for split in whole.splits.values()) == 1
    assert whole.fingerprint != data.fingerprint
    packed = book.with_name("travels.txt.gz")
    packed.write_bytes(gzip.compress(book.read_bytes()))
    assert load(packed, sequence_length=20).fingerprint == data.fingerprint


def test_a_trained_model_knows_what_a_trigram_cannot(trained, book):
    data = load(book, sequence_length=20)
    model = trigram().Trigram(data.train.stream, data.arguments["vocab_size"])
    by_trigram = trigram().perplexity(model, data.test.stream, 20, 8)
    measured = trained.metrics["test"]
    choice = math.log(4) / 7  # of the name, once in seven tokens; a trigram guesses the home as well
    assert math.exp(choice) < measured["perplexity"] < math.exp(1.4 * choice)
    assert by_trigram > math.exp(1.9 * choice)
    again = zoo.evaluate(trained, book, data_options={"sequence_length": 20})
    assert again["perplexity"] == pytest.approx(measured["perplexity"], rel=1e-6)


def test_text_goes_on_from_a_prompt(trained):
    model = zoo.load(trained)
    for name, home in HOMES.items():
        wanted = f"{name} went home to {home}."
        assert zoo.generate(model, f"{name} went", temperature=0) == wanted
    assert zoo.generate(model, "Dora", top_k=1, seed=5) == "Dora went home to rome."
    assert zoo.generate(model, "Anna", length=2, temperature=0) == "Anna went home"
    drawn = [zoo.generate(model, seed=seed) for seed in range(3)]
    assert drawn == [zoo.generate(model, seed=seed) for seed in range(3)]
    assert len({text.split()[0] for text in drawn}) > 1
    found = zoo.predict(model, ["Cora went home to", "Dora"], top=2)
    assert found[0].label == "oslo"
    assert found[0].probability > 0.9
    assert found[1].label == "went"


def test_a_pushed_model_writes_the_same(trained, tmp_path):
    zoo.push(trained, str(tmp_path / "pushed"))
    assert zoo.generate(str(tmp_path / "pushed"), "bela", seed=4) == zoo.generate(trained, "bela", seed=4)


def test_finetuning_goes_on_with_the_models_words_and_any_batch_size(trained, book, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text(travels(300, seed=1).replace("Rome", "Oslo"), "utf-8")
    how = {"recipe": "adam(learning_rate=0.01)", "epochs": 4, "quiet": True}
    run = zoo.finetune(trained, other, out=tmp_path / "run", batch_size=4, **how)
    model = zoo.load(run)
    assert model.zoo_spec.arguments["batch_size"] == 4
    assert model.zoo_spec.preprocessing == zoo.load(trained).zoo_spec.preprocessing
    assert zoo.generate(model, "Dora", temperature=0) == "Dora went home to oslo."
    with pytest.raises(InvalidArgument, match=r"carries the state of batches of 4 rows.*Received: 16"):
        zoo.train(model, other, batch_size=16)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": 3}, "`prompt` must be a text"),
        ({"length": 0}, "`length` must be a whole number of at least 1"),
        ({"top_k": 0}, "`top_k` must be a whole number of at least 1"),
        ({"temperature": -1}, "`temperature` must be a number of at least 0"),
        ({"seed": -1}, "`seed` must be a whole number that is not negative"),
        ({"count": 2}, "`count` is for models that draw pictures"),
    ],
)
def test_wrong_wishes_for_text(arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        zoo.generate(tiny(), **arguments)


def test_models_that_write_nothing():
    with pytest.raises(InvalidArgument, match=r"lstm_lm_small has no vocabulary.*Give a trained one"):
        zoo.generate(tiny())
    with pytest.raises(InvalidArgument, match="softmax is for image classification and makes nothing up"):
        zoo.generate(build("softmax"))


def test_drawing_a_word():
    log_p = np.log([0.3, 0.2, 0.1, 0.25, 0.15])

    def shares(**options):
        random = np.random.default_rng(0)
        given = {"temperature": 1.0, "top_k": None} | options
        return np.bincount([draw(log_p, random=random, **given) for _ in range(4000)], minlength=5) / 4000

    np.testing.assert_allclose(shares(), [0, 0, 0.2, 0.5, 0.3], atol=0.03)
    np.testing.assert_allclose(shares(temperature=0.5), np.array([0, 0, 1, 6.25, 2.25]) / 9.5, atol=0.03)
    np.testing.assert_allclose(shares(top_k=2), [0, 0, 0, 0.625, 0.375], atol=0.03)
    assert shares(temperature=0)[3] == 1


def test_spaces_between_words():
    words = ["he", "said", ":", '"', "it's", "(", "very", ")", "good", ".", '"', "and", ":", '"', "ok", '"']
    assert joined(words) == 'he said: "it\'s (very) good." and: "ok"'
    assert joined(["there", '"', "."], 'She said "hi') == 'She said "hi there".'
    assert joined([",", "then"], "Well ") == "Well , then"


# What cannot work


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"units": 0}, InvalidArgument, "`units` must be a whole number of at least 1"),
        ({"drop_rate": 1.0}, InvalidArgument, "`drop_rate` must be at least 0 and below 1"),
        ({"batch_size": 0}, InvalidArgument, "`batch_size` must be a whole number of at least 1"),
        ({"initial_range": 0.0}, InvalidArgument, "`initial_range` must be positive"),
        ({"tie_weights": True}, InvalidArgument, r"same size.*\(6, 7\).*embed_dim=7"),
        ({"statefull": True}, UnknownName, "statefull"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        tiny(**arguments)


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (b"a b c", {}, "tokens are too few for a batch of 1 windows of 35"),
        (b"caf\xe9 " * 900, {}, "not UTF-8 text, first at byte 3"),
        (b"a b c", {"vocab_size": 3}, "`vocab_size` must be at least 4"),
        (b"a b c", {"sequence_length": 0}, "`sequence_length` must be 1 to"),
        (b"a b c", {"test_share": 0.95}, "together below 1"),
    ],
)
def test_text_files_that_cannot_be_read(tmp_path, content, options, message):
    path = tmp_path / "book.txt"
    path.write_bytes(content)
    with pytest.raises((DataError, InvalidArgument), match=message):
        load(path, **options)


# Film reviews


@pytest.mark.data
def test_film_reviews_as_running_text(zoo_data):
    data = load("imdb_text", tokens=20_000, vocab_size=500)
    found = data.assets["vocabulary.txt"].decode().split("\n")
    assert [len(split.stream) for split in data.splits.values()] == [20_000, 2_000, 2_000]
    counts = np.bincount(data.train.stream, minlength=500)
    assert counts[0] == 0
    assert (np.diff(counts[3:]) <= 0).all()  # the most frequent training words first
    assert 0.02 < counts[1] / 20_000 < 0.3
    assert 40 < counts[2] < 200  # a review has some 270 words and marks
    first = [found[i] for i in data.test.stream[: list(data.test.stream).index(2)]]
    with gzip.open(zoo_data / "imdb_test.tsv.gz", "rt", encoding="utf-8") as file:
        texts = [line.split("\t")[2].lower() for line in file]
    begins = [text for text in texts if all(w in text[:99] for w in first[:8] if w != "[UNK]")]
    split = [tokens(text, data.preprocessing) for text in begins]
    assert sum([w if w in found else "[UNK]" for w in words] == first for words in split) == 1
    like = {"declared": data.preprocessing, "assets": data.assets}
    assert load("imdb_text", tokens=20_000, like=like).fingerprint == data.fingerprint


def test_more_film_reviews_than_there_are():
    texts = iter(["A good film.", "A bad one."])
    assert _taken(texts, 3, stream_declaration(8, 20)) == ["a", "good", "film"]
    with pytest.raises(DataError, match=r"5 tokens are left for this part.*Received: 6"):
        _taken(texts, 6, stream_declaration(8, 20))


@pytest.mark.data
def test_the_recorded_model_beats_the_trigram_model(zoo_data):
    recorded = tomllib.loads(data_file("recipes").joinpath("lstm_lm_imdb.toml").read_text("utf-8"))
    data = load(recorded["data"])
    assert recorded["result"]["fingerprint"] == data.fingerprint
    model = trigram().Trigram(data.train.stream, data.arguments["vocab_size"])
    for part in ("validation", "test"):
        stream = getattr(data, part).stream
        by_trigram = trigram().perplexity(model, stream, data.arguments["sequence_length"], recorded["batch_size"])
        assert recorded["result"][f"{part}_perplexity"][0] < by_trigram
