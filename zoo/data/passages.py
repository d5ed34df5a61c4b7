"""Stories with a question: how a text of several sentences and a question about it become arrays of word ids.

    {"kind": "passage", "form": "words" | "sentences", "story_words": S, "story_sentences": N, "sentence_length": W,
     "question_length": Q, "lowercase": true, "token_pattern": ..., "vocab_size": V, "vocabulary": "vocabulary.txt"}

A raw example is {"story": a text or a list of sentences, "question": a text}. Form "words" makes of the story one row
of S ids, "sentences" makes N rows of W: the same words, laid out for a model that reads on, or one that looks
sentences up. Of a story that is too long the latest words or sentences are kept, of a sentence or question the first
W or Q words. Id 0 is padding at the end of a row and of a story, 1 is a word outside the vocabulary.
"""

import re

import numpy as np

from zoo.data import preprocessing
from zoo.data.base import TreeSplit, taken
from zoo.errors import DataError, invalid, unknown, worded

FORMS = ("words", "sentences")
SIZES = ("story_words", "story_sentences", "sentence_length", "question_length", "vocab_size")
_SENTENCE_END = re.compile(r"[.!?]+(?:\s+|$)|\n+")


def declaration(form, **sizes):
    """Returns the declaration of stories of one form; `sizes` are all of `SIZES`."""
    text = preprocessing.text_declaration(1, sizes["vocab_size"])
    shared = {key: text[key] for key in ("lowercase", "token_pattern", "vocabulary")}
    found = {"kind": "passage", "form": form, **{key: int(sizes[key]) for key in SIZES}, **shared}
    check(found)
    return found


def check(declared):
    """Checks a declaration, which may come from a downloaded file.

    Raises:
        InvalidArgument: it is not one; the message names the wrong entry.
    """
    if declared.get("form") not in FORMS:
        raise unknown("form of stories", declared.get("form"), FORMS)
    wrong = {key: not (type(declared.get(key)) is int and 1 <= declared[key] <= 1 << 24) for key in SIZES}
    wrong |= {key: not isinstance(declared.get(key), str) for key in ("vocabulary", "token_pattern")}
    wrong["lowercase"] = type(declared.get("lowercase")) is not bool
    wrong["story_sentences"] = wrong["story_sentences"] or declared["story_sentences"] > 1 << 20
    for key, is_wrong in wrong.items():
        if is_wrong:
            raise invalid(f"the preprocessing of kind 'passage' has an impossible {key!r}", declared.get(key))


def encode(declared, raw, assets):
    """Turns raw stories and questions into a batch for the model.

    Args:
        declared: the declaration.
        raw: one dict with "story" (a text or a list of sentences) and "question", or a list of them; a pair
            `(story, question)` will do for a dict.
        assets: file name -> bytes; holds the vocabulary.

    Returns:
        {"story": int32 (n, S) or (n, N, W), "question": int32 (n, Q)}.

    Raises:
        DataError: an example is not of this kind; the message says which.
    """
    examples = [_example(i, row) for i, row in enumerate(_rows(raw))]
    ids = preprocessing.word_ids(declared, assets)
    stories = [[preprocessing.tokens(s, declared) for s in story] for story, _ in examples]
    questions = [preprocessing.tokens(question, declared) for _, question in examples]
    return {
        "story": arranged(declared, sentence_ids(stories, ids)),
        "question": question_ids(declared, questions, ids),
    }


def _rows(raw):
    is_pair = isinstance(raw, tuple) and len(raw) == 2 and isinstance(raw[1], str)
    rows = [raw] if isinstance(raw, dict) or is_pair else raw
    if not isinstance(rows, (list, tuple)) or not rows:
        works = 'Give {"story": ..., "question": ...}, or a list of such.'
        raise DataError(worded("there is no story with a question to read", received=raw, works=works))
    return rows


def _example(i, row):
    """Returns `(list of sentences, question)` of one raw example."""
    if isinstance(row, (tuple, list)) and len(row) == 2:
        row = {"story": row[0], "question": row[1]}
    if not isinstance(row, dict) or set(row) != {"story", "question"}:
        works = 'It needs "story" and "question".'
        shown = sorted(map(str, row)) if isinstance(row, dict) else row
        raise DataError(worded(f"example {i} is no story with a question", received=shown, works=works))
    story, question = row["story"], row["question"]
    if isinstance(story, str):
        story = _SENTENCE_END.split(story)
    if not isinstance(question, str) or not isinstance(story, (list, tuple)):
        works = "Both are texts; the story may be a list of sentences."
        raise DataError(worded(f"example {i} holds something else than text", received=row, works=works))
    for sentence in story:
        if not isinstance(sentence, str):
            raise DataError(worded(f"example {i}: a sentence is no text", received=sentence))
    return [s for s in story if s.strip()], question


# Ids


def sentence_ids(stories, ids):
    """Returns int32 (n, sentences, words) ids of stories, lists of lists of words, as large as the largest."""
    height = max((len(story) for story in stories), default=0)
    width = max((len(sentence) for story in stories for sentence in story), default=0)
    found = np.zeros((len(stories), max(1, height), max(1, width)), np.int32)
    find = ids.get
    for rows, story in zip(found, stories, strict=True):
        for row, words in zip(rows, story, strict=False):
            row[: len(words)] = [find(word, preprocessing.UNKNOWN) for word in words]
        if not rows.any():
            rows[0, 0] = preprocessing.UNKNOWN  # a story of padding alone would mask every step of a model
    return found


def question_ids(declared, questions, ids):
    """Returns int32 (n, Q) ids of questions, lists of words."""
    return preprocessing.encode_texts({"sequence_length": declared["question_length"]}, questions, ids)


def arranged(declared, sentences):
    """Returns ids (n, sentences, words) in the declared form, int32 (n, S) or (n, N, W)."""
    if declared["form"] == "words":
        size = declared["story_words"]
        return _packed(sentences.reshape(len(sentences), -1), size)
    height, width = declared["story_sentences"], declared["sentence_length"]
    sentences = sentences[:, :, :width]
    present = sentences.any(axis=2)
    order = np.argsort(~present, axis=1, kind="stable")  # a sentence without words leaves no gap
    sentences = np.take_along_axis(sentences, order[:, :, None], axis=1)
    return np.pad(_latest(sentences, present.sum(axis=1), height), ((0, 0), (0, 0), (0, width - sentences.shape[2])))


def _packed(rows, size):
    """Returns rows (n, T) without the gaps between their words, the latest `size` of them."""
    found = np.zeros((len(rows), size), np.int32)
    for start in range(0, len(rows), 8192):  # a part at a time, for the memory's sake
        part = rows[start : start + 8192]
        place = np.cumsum(part != 0, axis=1)  # of each word in its story, from 1
        place -= np.maximum(place[:, -1:] - size, 0)
        row, column = np.nonzero((part != 0) & (place > 0))
        found[start + row, place[row, column] - 1] = part[row, column]
    return found


def _latest(rows, counts, size):
    """Returns the last `size` of the first `counts[i]` entries of each row, padded with zeros at the end."""
    found = np.zeros((len(rows), size, *rows.shape[2:]), np.int32)
    for row, source, count in zip(found, rows, counts, strict=True):
        kept = source[max(0, count - size) : count]
        row[: len(kept)] = kept
    return found


# Data sets


class Passages(TreeSplit):
    """Stories, questions and answers, which can be read in either form.

    Args:
        sentences: int32 (n, sentences, words).
        question: int32 (n, Q).
        answers: class numbers (n,).
        declared: the declaration.
        rows: indices of the examples that belong to this split; all by default.
        story: `sentences` in the declared form, where they have been brought to it already.
        groups: as `Split.groups`, of all examples.
    """

    def __init__(self, sentences, question, answers, declared, rows=None, story=None, groups=None):
        self._sentences, self._groups = sentences, groups and {k: np.asarray(v) for k, v in groups.items()}
        story = arranged(declared, sentences) if story is None else story
        super().__init__({"story": story, "question": question}, np.asarray(answers), rows, declared)

    @property
    def groups(self):
        return self._groups and taken(self._groups, self._rows)

    def subset(self, indices):
        rows = self._rows[np.asarray(indices, np.int64)]
        whole = self._sentences, self._x["question"], self._y, self._declared
        return Passages(*whole, rows, self._x["story"], self._groups)

    def read_as(self, declared):
        ours = self._declared
        if any(ours[key] != declared.get(key) for key in ("kind", "vocab_size", "question_length")):
            return super().read_as(declared)
        whole = self._sentences, self._x["question"], self._y, declared
        return Passages(*whole, self._rows, groups=self._groups)


def arguments_of(declared, num_classes):
    """Returns the builder arguments that stories of a declared form imply."""
    given = {key: declared[key] for key in ("vocab_size", "question_length")}
    if declared["form"] == "words":
        shape = {"story_length": declared["story_words"]}
    else:
        shape = {"story_length": declared["story_sentences"], "sentence_length": declared["sentence_length"]}
    return {**given, **shape, "num_classes": num_classes}


def for_model(dataset, arguments):
    """Returns a data set of passages in the form that a model takes: sentences where it has a `sentence_length`.

    Args:
        dataset: a `zoo.data.base.Dataset` whose preprocessing is of kind "passage".
        arguments: of the model's builder, name -> value.
    """
    form = "sentences" if "sentence_length" in arguments else "words"
    if dataset.preprocessing["form"] == form:
        return dataset
    declared = dataset.preprocessing | {"form": form}
    splits = {part: split.read_as(declared) for part, split in dataset.splits.items()}
    given = arguments_of(declared, len(dataset.labels))
    return dataset.but(preprocessing=declared, arguments_given=given, **splits)
