"""Questions about stories: the book's model, the memory network against its formulas, and bAbI."""

import io
import tarfile
from collections import Counter

import keras
import numpy as np
import pytest

from zoo import data, recorded
from zoo.cli import main
from zoo.data import passages, preprocessing
from zoo.data.sets import babi
from zoo.errors import DataError, DataWarning, InvalidArgument, UnknownName
from zoo.factory import build, build_empty
from zoo.inference import evaluate, predict
from zoo.models.qa_memn2n import sentence_vectors, word_weights
from zoo.training import train

SIZES = {"vocab_size": 11, "story_length": 4, "sentence_length": 5, "question_length": 3, "num_classes": 3}


def outputs(model, x):
    tensors = {name: keras.ops.convert_to_tensor(part) for name, part in x.items()}
    return keras.ops.convert_to_numpy(model(tensors, training=False))


def filled(model, seed=0, scale=0.5):
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        weight.assign(rng.normal(0, scale, weight.shape))
    return {w.path: keras.ops.convert_to_numpy(w) for w in model.weights}


# The book's model


def test_the_book_has_a_million_weights():
    """Section 7.1.2: vocabularies of 10,000 words, 500 answers."""
    model = build_empty("qa")
    lstms = 4 * 32 * (64 + 32 + 1) + 4 * 16 * (32 + 16 + 1)
    assert model.count_params() == 10_000 * 64 + 10_000 * 32 + lstms + (32 + 16 + 1) * 500 == 1_000_052
    assert {i.name: i.shape for i in model.inputs} == {"story": (None, 128), "question": (None, 16)}
    assert build_empty("qa", question_vocab_size=100).count_params() == 1_000_052 - 9_900 * 32


def lstm_states(kernel, recurrent, bias, x):
    """The LSTM's last state by its equations, in float64: gates in the order input, forget, cell, output."""
    units = recurrent.shape[0]
    h = c = np.zeros(units)

    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    for word in x:
        i, f, g, o = np.split(word @ kernel + h @ recurrent + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    return h


def test_it_is_two_lstms_and_a_dense_layer():
    model = build("qa", vocab_size=9, question_vocab_size=7, story_length=6, question_length=4, num_classes=3)
    w = {path: values.astype("float64") for path, values in filled(model).items()}
    story, question = np.array([[3, 1, 8, 2, 0, 0]]), np.array([[6, 1, 0, 0]])

    def encode(name, ids):
        cell = [w[f"{name}_lstm/lstm_cell/{part}"] for part in ("kernel", "recurrent_kernel", "bias")]
        return lstm_states(*cell, w[f"{name}_embedding/embeddings"][ids[ids > 0]])

    told_and_asked = np.concatenate([encode("story", story[0]), encode("question", question[0])])
    wanted = told_and_asked @ w["logits/kernel"] + w["logits/bias"]
    found = outputs(model, {"story": story.astype("int32"), "question": question.astype("int32")})
    np.testing.assert_allclose(found[0], wanted, rtol=1e-4, atol=1e-5)


def test_a_hidden_layer_lets_story_and_question_meet():
    """The book's answers are a sum of what story and question say; a hidden layer's are not."""
    stories = np.array([[3, 1, 0], [2, 5, 4]], "int32")
    questions = np.array([[6, 0], [1, 7]], "int32")

    def interaction(**arguments):
        model = build("qa", vocab_size=9, story_length=3, question_length=2, num_classes=2, **arguments)
        filled(model)
        x = {"story": np.repeat(stories, 2, axis=0), "question": np.tile(questions, (2, 1))}
        found = outputs(model, x).reshape(2, 2, 2)
        return np.abs(found[0, 0] + found[1, 1] - found[0, 1] - found[1, 0]).max()

    assert interaction() < 1e-5
    assert interaction(hidden_units=8) > 0.1


# The memory network


def position_encoding(words, embed_dim):
    """Section 4.1: l_kj = (1 - j/J) - (k/d)(1 - 2j/J), counting from 1."""
    j, k = np.arange(1, words + 1)[:, None], np.arange(1, embed_dim + 1)[None, :]
    return (1 - j / words) - (k / embed_dim) * (1 - 2 * j / words)  # (J, d)


def test_position_encoding_is_the_papers():
    tokens = np.array([[3, 5, 2, 7], [4, 1, 0, 0], [0, 0, 0, 0]], "int32")
    vectors = np.random.default_rng(0).standard_normal((3, 4, 6)).astype("float32")
    weights = word_weights(keras.ops.convert_to_tensor(tokens), 6, True)
    found = keras.ops.convert_to_numpy(sentence_vectors(keras.ops.convert_to_tensor(vectors), weights))
    for row, words in enumerate((4, 2, 0)):
        wanted = (position_encoding(words, 6) * vectors[row, :words]).sum(axis=0) if words else np.zeros(6)
        np.testing.assert_allclose(found[row], wanted, rtol=1e-5, atol=1e-6)
    bag = word_weights(keras.ops.convert_to_tensor(tokens), 6, False)
    found = keras.ops.convert_to_numpy(sentence_vectors(keras.ops.convert_to_tensor(vectors), bag))
    np.testing.assert_allclose(found[1], vectors[1, :2].sum(axis=0), rtol=1e-5, atol=1e-6)


def memn2n(w, story, question, *, hops, tying, positions, times, linear, num_classes, embed_dim):
    """The paper's equations, one example at a time, in float64; returns the logits."""

    def sentence(table, ids):
        ids = ids[ids > 0]
        weights = position_encoding(len(ids), embed_dim) if positions else 1.0
        return (weights * table[ids]).sum(axis=0)

    def of_hop(name, k, out):
        if tying == "layer_wise":
            return w[f"{name}_{'out' if out else 'in'}/embeddings"]
        return w[f"{name}{k + out}/embeddings"]  # A of hop k + 1 is C of hop k

    told = [row for row in story if row.any()]
    u = sentence(w["words1/embeddings" if tying == "adjacent" else "words_question/embeddings"], question)
    for k in range(1, hops + 1):
        memories = []
        for out in (0, 1):
            rows = np.array([sentence(of_hop("words", k, out), row) for row in told])
            if times:
                rows = rows + of_hop("times", k, out)[: len(told)][::-1]  # the sentence told last is number 0
            memories.append(rows)
        match = memories[0] @ u
        p = match if linear else np.exp(match - match.max()) / np.exp(match - match.max()).sum()
        u = (u @ w["onward/kernel"] if tying == "layer_wise" else u) + p @ memories[1]
    if tying == "layer_wise":
        return u @ w["logits/kernel"]
    return w[f"words{hops + 1}/embeddings"][2 : 2 + num_classes] @ u


@pytest.mark.parametrize("tying", ["adjacent", "layer_wise"])
@pytest.mark.parametrize(
    ("positions", "times", "linear"), [(True, True, False), (False, False, False), (True, True, True)]
)
def test_memory_network_is_the_papers(tying, positions, times, linear):
    switches = {"position_encoding": positions, "temporal_encoding": times, "linear": linear}
    model = build("qa_memn2n", **SIZES, embed_dim=6, hops=3, tying=tying, **switches)
    w = {path: values.astype("float64") for path, values in filled(model, scale=0.3).items()}
    rng = np.random.default_rng(1)
    story, question = rng.integers(1, 11, (4, 4, 5)).astype("int32"), rng.integers(1, 11, (4, 3)).astype("int32")
    story[1, 2:] = story[2, 1:] = story[3, 3:] = 0
    story[0, 1, 3:] = story[1, 0, 2:] = question[2, 1:] = 0
    found = outputs(model, {"story": story, "question": question})
    settings = {"positions": positions, "times": times, "linear": linear, "num_classes": 3, "embed_dim": 6}
    wanted = [memn2n(w, s, q, hops=3, tying=tying, **settings) for s, q in zip(story, question, strict=True)]
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_memory_network_shares_what_the_paper_shares():
    adjacent, layer_wise = (build_empty("qa_memn2n", **SIZES, embed_dim=6, tying=t) for t in ("adjacent", "layer_wise"))
    assert adjacent.count_params() == 4 * (11 + 4) * 6  # three hops: A1 = B, C1 = A2, C2 = A3, C3 = W
    assert layer_wise.count_params() == 3 * 11 * 6 + 2 * 4 * 6 + 6 * 6 + 6 * 3  # B, A, C, their times, H, W
    again = build_empty("qa_memn2n", **SIZES, embed_dim=6, linear=True)
    assert [v.path for v in again.weights] == [v.path for v in adjacent.weights]  # a linear start can go on


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("qa", {"vocab_size": 0}, "`vocab_size` must be a whole number of at least 1"),
        ("qa", {"question_vocab_size": -3}, "`question_vocab_size` must be"),
        ("qa", {"story_units": 0}, "`story_units` must be"),
        ("qa", {"hidden_units": 0}, "`hidden_units` must be a whole number of at least 1"),
        ("qa", {"drop_rate": 1.0}, "`drop_rate` must be at least 0 and below 1"),
        ("qa_memn2n", {"hops": 0}, "`hops` must be a whole number of at least 1"),
        ("qa_memn2n", {"tying": "adjacant"}, "`tying` must be one of 'adjacent', 'layer_wise'"),
        ("qa_memn2n", {"vocab_size": 20, "num_classes": 19}, "no room for the answers.*at least 21, or tying="),
    ],
)
def test_wrong_arguments(name, arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        build(name, **arguments)


# Stories as arrays


WORDS = ("[PAD]", "[UNK]", "garden", "office", "mary", "is", "in", "the", "where", "went", "to")
ASSETS = {"vocabulary.txt": "\n".join(WORDS).encode()}
SHAPE = {"story_words": 7, "story_sentences": 2, "sentence_length": 6, "question_length": 4, "vocab_size": 11}
FLAT, SENTENCES = (passages.declaration(form, **SHAPE) for form in passages.FORMS)
STORY = "Mary went to the garden. Mary went to the office!"


def test_a_story_in_words_or_in_sentences():
    question = "Where is Mary?"
    flat = preprocessing.encode(FLAT, {"story": STORY, "question": question}, ASSETS)
    assert flat["story"].tolist() == [[7, 2, 4, 9, 10, 7, 3]]  # the latest seven words
    assert flat["question"].tolist() == [[8, 5, 4, 0]]
    assert flat["story"].dtype == flat["question"].dtype == np.int32
    listed = preprocessing.encode(SENTENCES, [(STORY.split("."), question), ("Mary!", "Who?")], ASSETS)
    first, second = [4, 9, 10, 7, 2, 0], [4, 9, 10, 7, 3, 0]
    assert listed["story"].tolist() == [[first, second], [[4, 0, 0, 0, 0, 0], [0] * 6]]
    assert listed["question"].tolist() == [[8, 5, 4, 0], [1, 0, 0, 0]]
    three = preprocessing.encode(SENTENCES, {"story": ["Mary", *STORY.split(".")], "question": question}, ASSETS)
    assert three["story"].tolist() == [[first, second]]  # the latest two sentences
    empty = preprocessing.encode(SENTENCES, {"story": "", "question": ""}, ASSETS)
    assert empty["story"].tolist() == [[[1, 0, 0, 0, 0, 0], [0] * 6]]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("Where is Mary?", "no story with a question"),
        ([], "no story with a question"),
        ({"story": STORY}, "example 0 is no story with a question"),
        ([{"story": STORY, "question": 3}], "example 0 holds something else than text"),
        ([{"story": [STORY, 3], "question": "?"}], "example 0: a sentence is no text"),
    ],
)
def test_what_is_no_story(raw, message):
    with pytest.raises(DataError, match=message):
        preprocessing.encode(FLAT, raw, ASSETS)


@pytest.mark.parametrize(
    ("key", "value"), [("story_words", 0), ("question_length", "4"), ("vocabulary", None), ("lowercase", 1)]
)
def test_impossible_declarations_are_refused(key, value):
    with pytest.raises(InvalidArgument, match=f"impossible {key!r}"):
        preprocessing.encode(FLAT | {key: value}, {"story": STORY, "question": "?"}, ASSETS)
    with pytest.raises(UnknownName, match="no form of stories named 'sentence'"):
        preprocessing.check(FLAT | {"form": "sentence"})


# bAbI


TRAIN = """1 Mary moved to the bathroom.
2 John went to the hallway.
3 Where is Mary? \tbathroom\t1
4 Mary went to the office.
5 Where is Mary? \toffice,hall\t2 4
1 John went to the office.
2 Where is John?\toffice\t1
"""


def packed(folder, files, name="tasks_1-20_v1-2.tar.gz"):
    with tarfile.open(folder / name, "w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(f"tasks_1-20_v1-2/{path}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return folder / name


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The official archive's layout, with a story or two."""
    test = "1 John went to the moon.\n2 Where is John? \tmoon\t1\n"
    stories = TRAIN + "".join(f"1 John went to the hall{i}.\n2 Where is John?\toffice\t1\n" for i in range(8))
    files = {f"{folder}/qa{k}_a-b_{part}.txt": text for folder in ("en", "en-10k") for k in (1, 2)
             for part, text in (("train", stories), ("test", test))}  # fmt: skip
    packed(tmp_path, files | {"en/qa4_x_test.txt": test, "hn/qa1_a_train.txt": "x"})
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    return tmp_path


def spelt(split, row, words):
    x, _ = split.batch(np.array([row]))
    return {name: " ".join(words[i] for i in part.ravel() if i) for name, part in x.items()}


@pytest.mark.parametrize("size", ["10k", "1k"])
def test_babi_reads_the_official_archive(small, size):
    found = data.load("babi", task=2, size=size)
    words = found.assets["vocabulary.txt"].decode().split("\n")
    assert found.labels == ("bathroom", "moon", "office", "office,hall")
    assert tuple(words[2:6]) == found.labels
    assert len(found.train) + len(found.validation) == 11
    assert len(found.validation) == 1  # a story of the ten, with its one question
    assert spelt(found.train, 1, words) == {
        "story": "mary moved to the bathroom john went to the hallway mary went to the office",
        "question": "where is mary",
    }
    assert found.train.labels[:2].tolist() == [0, 3]
    assert spelt(found.test, 0, words)["story"] == "john went to the moon"
    kept = data.load("babi", task=2, size=size, supporting_only=True)
    words = kept.assets["vocabulary.txt"].decode().split("\n")
    assert spelt(kept.train, 1, words)["story"] == "john went to the hallway mary went to the office"


def test_babi_is_read_in_sentences_for_a_model_that_takes_them(small):
    flat = data.load("babi")
    listed = passages.for_model(flat, {"sentence_length": 3})
    assert flat.arguments == {"vocab_size": 22, "question_length": 3, "story_length": 15, "num_classes": 4}
    assert listed.arguments == {**flat.arguments, "story_length": 3, "sentence_length": 5}
    x, _ = listed.train.batch(np.array([0, 1]))
    assert x["story"].shape == (2, 3, 5)
    np.testing.assert_array_equal(x["story"][0, :2], x["story"][1, :2])
    assert not x["story"][0, 2].any()
    assert x["story"][1, 2].any()
    np.testing.assert_array_equal(listed.train.labels, flat.train.labels)
    assert passages.for_model(listed, {}).fingerprint == flat.fingerprint != listed.fingerprint


def test_babi_errors(small, monkeypatch):
    for options, message in (({"task": 0}, "`task` must be 1 to 20"), ({"size": "2k"}, "'10k' or '1k'")):
        with pytest.raises(InvalidArgument, match=message):
            data.load("babi", **options)
    with pytest.raises(DataError, match=r"tasks_1-20_v1-2.tar.gz lacks the train file of task 4"):
        data.load("babi", task=4, size="1k")
    (small / "tasks_1-20_v1-2.tar.gz").unlink()
    packed(small, {"en-10k/qa3_x_test.txt": TRAIN}, "babi_en-10k.tar.gz")
    with pytest.raises(DataError, match=r"lacks the train file of task 3\. .*put tasks_1-20_v1-2.tar.gz from http"):
        data.load("babi", task=3)
    for text, line in (("1 a.\nx y\n", 2), ("2 a.\n", 1), ("1 a.\n2 b?\tc\n", 2)):
        files = {"en-10k/qa1_x_train.txt": text, "en-10k/qa1_x_test.txt": TRAIN}
        packed(small, files, "babi_en-10k.tar.gz")
        with pytest.raises(DataError, match=f"qa1_x_train.txt, line {line}: neither a sentence nor a question"):
            data.load("babi")
    whole = (small / "babi_en-10k.tar.gz").read_bytes()
    (small / "babi_en-10k.tar.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="not a whole bAbI archive"):
        data.load("babi")


@pytest.mark.data
@pytest.mark.parametrize(("task", "classes", "words"), [(1, 6, 58), (8, 16, 128), (19, 12, 35)])
def test_babi_here(zoo_data, task, classes, words):
    found = data.load("babi", task=task)
    assert [len(s) for s in found.splits.values()] == [9000, 1000, 1000]
    assert len(found.labels) == classes
    assert found.arguments["story_length"] == words
    x, _ = found.test.arrays()
    assert not (x["story"] == preprocessing.UNKNOWN).any()  # the test part uses no other words


@pytest.mark.parametrize("name", ["qa", "qa_memn2n"])
def test_trained_and_asked(small, name, tmp_path):
    """Every step of the way by name, on a story that is answered by its last word."""
    run = train(
        name, "babi", epochs=30, batch_size=4, out=tmp_path / "run", recipe="adam(learning_rate=0.02)", quiet=True
    )
    assert run.record["data"]["name"] == "babi1"
    found = predict(run, {"story": "Mary moved to the bathroom.", "question": "Where is Mary?"})
    assert found[0].label == "bathroom"
    assert evaluate(run, "babi")["accuracy"] == run.metrics["test"]["accuracy"]


# All tasks at once


JOINT = {
    1: ("1 Mary went to the office.\n2 Where is Mary?\toffice\t1\n", "office"),
    4: ("1 The hall is north of the garden.\n2 What is north of the garden?\thall\t1\n", "hall"),
    20: ("1 Sumit is bored.\n2 Why did Sumit go?\tbored\t1\n3 Where is he?\thall\t1\n", "bored"),
}


@pytest.fixture
def joint(tmp_path, monkeypatch):
    """Three whole tasks of ten stories and a test part of three, and task 3, whose training file is missing."""
    files = {"en-10k/qa3_x_test.txt": JOINT[1][0]}
    for task, (story, _) in JOINT.items():
        files |= {f"en-10k/qa{task}_a_train.txt": story * 10, f"en-10k/qa{task}_a_test.txt": story * (2 + task % 2)}
    packed(tmp_path, files, "babi_en-10k.tar.gz")
    monkeypatch.setenv("ZOO_DATA", str(tmp_path))
    return tmp_path


def load_all(**options):
    with pytest.warns(DataWarning, match=r"lacks a file of task 2 \(train\), 3 .*; the other 3 are read"):
        return data.load("babi", task="all", **options)


def test_all_tasks_share_words_and_answers_and_keep_their_parts(joint):
    found = load_all()
    words = found.assets["vocabulary.txt"].decode().split("\n")
    assert found.name == "babi_all"
    assert found.labels == tuple(words[2:5]) == ("bored", "hall", "office")
    assert "Task 1, 4, 20, 10k training questions" in found.source
    counts = {part: dict(Counter(split.groups["task"].tolist())) for part, split in found.splits.items()}
    assert counts == {"train": {1: 9, 4: 9, 20: 18}, "validation": {1: 1, 4: 1, 20: 2}, "test": {1: 3, 4: 2, 20: 4}}
    for part, split in found.splits.items():
        for row, task in enumerate(split.groups["task"]):
            told = spelt(split, row, words)["story"]
            assert told == " ".join(preprocessing.tokens(JOINT[task][0].split("\n")[0][2:], found.preprocessing)), part
    alone = data.load("babi", task=20)
    rows = np.flatnonzero(found.validation.groups["task"] == 20)
    old = alone.assets["vocabulary.txt"].decode().split("\n")
    for row, place in enumerate(rows):
        assert spelt(alone.validation, row, old) == spelt(found.validation, place, words)
        assert alone.labels[alone.validation.labels[row]] == found.labels[found.validation.labels[place]]


def test_groups_follow_their_examples(joint):
    found = passages.for_model(load_all(), {"sentence_length": 3})
    chosen = [8, 2, 0]
    assert found.test.subset(chosen).groups["task"].tolist() == [20, 1, 1]
    assert found.test.subset(chosen).subset([0]).groups["task"].tolist() == [20]
    assert data.load("babi", task=20).test.groups is None
    assert load_all().fingerprint == load_all().fingerprint != load_all(story_words=3).fingerprint


def test_an_archive_without_any_whole_task(joint):
    packed(joint, {"en-10k/qa3_x_test.txt": JOINT[1][0]}, "babi_en-10k.tar.gz")
    with pytest.raises(DataError, match=r"babi_en-10k.tar.gz lacks every task\. Choose another size, or put"):
        data.load("babi", task="all")
    for task in ("one", 21, "ALL"):
        with pytest.raises(InvalidArgument, match="`task` must be 1 to 20, or 'all'"):
            data.load("babi", task=task)


@pytest.mark.parametrize(("words", "sentences"), [(1, 1), (4, 1), (5, 2), (7, 3), (100, 100)])
def test_a_long_story_is_cut_to_what_either_form_reads(words, sentences):
    """Cut before or after it is laid out, a story gives the same ids."""
    random = np.random.RandomState(0)
    vocabulary = {str(i): i + 2 for i in range(9)}
    stories = [[list(map(str, random.randint(0, 9, random.randint(1, 5)))) for _ in range(n)] for n in (1, 2, 5, 9)]
    sizes = {"story_words": words, "story_sentences": sentences, "sentence_length": 4, "question_length": 2}
    whole = passages.sentence_ids(stories, vocabulary)
    cut = passages.sentence_ids([babi._read(story, words, sentences) for story in stories], vocabulary)
    for form in passages.FORMS:
        declared = passages.declaration(form, vocab_size=11, **sizes)
        np.testing.assert_array_equal(passages.arranged(declared, cut), passages.arranged(declared, whole))


@pytest.mark.parametrize("name", ["qa", "qa_memn2n"])
def test_results_are_told_by_task(joint, name, tmp_path, capsys):
    """The figures of the tasks are those of each alone, and add up to those of all."""
    found = load_all()
    out = tmp_path / "run"
    run = train(name, found, epochs=1, batch_size=4, out=out, recipe="adam(learning_rate=0.02)", quiet=True)
    for part in ("validation", "test"):
        whole, rows = run.metrics[part], run.record["by_group"][part]["by_task"]
        assert list(rows) == ["1", "4", "20"]
        assert sum(r["examples"] for r in rows.values()) == whole["examples"] == len(getattr(found, part))
        for figure in ("accuracy", "loss"):
            total = sum(r[figure] * r["examples"] for r in rows.values())
            assert total / whole["examples"] == pytest.approx(whole[figure], rel=1e-5)
    laid_out = passages.for_model(found, run.spec.arguments)
    measured = evaluate(run, laid_out)
    assert measured["by_task"] == run.record["by_group"]["test"]["by_task"]
    x, y = laid_out.test.arrays()
    right = np.asarray(run.model().predict(x, verbose=0)).argmax(axis=1) == y
    of = found.test.groups["task"]
    assert {k: v["accuracy"] for k, v in measured["by_task"].items()} == {str(t): right[of == t].mean() for t in JOINT}
    words = ["evaluate", str(out), "babi", "--data-option", "task=all"]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "lacks a file of task 2" in printed.err
    lines = [line.split() for line in printed.out.splitlines()]
    assert lines[0][:2] == ["test", "accuracy"]
    assert ["task", "loss", "accuracy", "examples"] in lines
    assert [line[0] for line in lines[-3:]] == ["1", "4", "20"]
    assert lines[-1][2:] == [f"{measured['by_task']['20']['accuracy']:.2%}", "4"]


def test_recorded_tasks_have_to_be_those_of_the_weights():
    result = {"test_accuracy": [0.75], "accuracy_by_task": {"1": 1.0, "2": 0.5}, "accuracy_by_epoch": [0.1]}
    rows = {"1": {"accuracy": 1.0, "examples": 8}, "2": {"accuracy": 0.5, "examples": 8}}
    measured = {"accuracy": 0.75, "examples": 16, "by_task": rows}
    same = recorded.evaluated(result, 0, measured, "test")
    assert [(c.name, c.examples, c.verdict) for c in same] == [
        ("accuracy", 16, "the same"),
        ("task 1 accuracy", 8, "the same"),
        ("task 2 accuracy", 8, "the same"),
    ]
    rows["1"]["accuracy"], rows["2"]["accuracy"] = 0.875, 0.625
    assert [c.verdict for c in recorded.evaluated(result, 0, measured, "test")] == ["the same", *["different"] * 2]
    assert len(recorded.evaluated(result | {"test_accuracy": [0.1, 0.75]}, 1, measured, "test")) == 1
