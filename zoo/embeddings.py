"""Word vectors of a trained model: nearest words, analogies, agreement with people, and files that others read.

    vectors = zoo.word_vectors("runs/skipgram.imdb_words")
    zoo.nearest(vectors, "film")
    zoo.analogy(vectors, "man", "king", "woman")
    zoo.similarity(vectors, "wordsim353.tsv")
    zoo.export_word2vec(vectors, "vectors.txt")

Every function takes such vectors or whatever leads to a model: a `keras.Model`, a reference, a `Run` or its folder.
"""

import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from zoo.data.preprocessing import RESERVED, VOCABULARY
from zoo.errors import DataError, invalid, unknown, worded
from zoo.files import write_atomic

BATCH = 512  # questions answered in one matrix product
_TABLE = "/embeddings"  # ends the path of an embedding layer's weights


@dataclass(frozen=True)
class WordVectors:
    """Words and their vectors.

    Attributes:
        words: tuple of different words, the most frequent first.
        vectors: float32 (number of words, E).

    Raises:
        InvalidArgument: words and vectors differ in number, or a word comes twice.
    """

    words: tuple
    vectors: np.ndarray

    def __post_init__(self):
        vectors = np.ascontiguousarray(self.vectors, np.float32)
        object.__setattr__(self, "words", tuple(self.words))
        object.__setattr__(self, "vectors", vectors)
        if vectors.ndim != 2 or len(vectors) != len(self.words):
            raise invalid("there must be one vector for each word", (len(self.words), vectors.shape))
        if len(self.ids) != len(self.words):
            raise invalid("a word comes twice", next(w for i, w in enumerate(self.words) if self.ids[w] != i))

    @cached_property
    def ids(self):
        """The position of each word, word -> row."""
        return {word: i for i, word in enumerate(self.words)}

    @cached_property
    def directions(self):
        """The vectors at length 1, float32 (number of words, E); a vector of zeros stays."""
        lengths = np.linalg.norm(self.vectors, axis=1, keepdims=True)
        return self.vectors / np.where(lengths > 0, lengths, 1)

    def find(self, word):
        """Returns the row of a word, as it is written or else in small letters.

        Raises:
            UnknownName: the word is not in the vocabulary; the message gives the nearest spelling.
        """
        found = self.ids.get(word, self.ids.get(word.lower()) if isinstance(word, str) else None)
        if found is None:
            raise unknown("word in the vocabulary", word, self.words)
        return found

    def __getitem__(self, word):
        return self.vectors[self.find(word)]

    def __len__(self):
        return len(self.words)


@dataclass(frozen=True)
class Section:
    """The questions of one section of an analogy file.

    Attributes:
        name: of the section.
        right: questions whose answer is the nearest word.
        asked: questions whose four words are in the vocabulary.
        skipped: the others.
    """

    name: str
    right: int
    asked: int
    skipped: int

    @property
    def accuracy(self):
        """The share of right answers among those asked; NaN where none could be asked."""
        return self.right / self.asked if self.asked else float("nan")


@dataclass(frozen=True)
class Agreement:
    """How word vectors agree with people on how alike pairs of words are.

    Attributes:
        spearman: rank correlation of cosines and scores, -1 to 1, equal values having their mean rank.
        pairs: that were compared.
        skipped: the others, of which a word is not in the vocabulary.
    """

    spearman: float
    pairs: int
    skipped: int


def word_vectors(model, *, layer=None):
    """Returns the `WordVectors` of a model that carries its vocabulary, as one from `zoo.train` or a hub does.

    The reserved ids, padding and the unknown word, have none. Of a reference or a run, only the weights are read.

    Args:
        model: a model, a reference, a `Run`, a run folder, or `WordVectors`, which are returned as they are.
        layer: name of the embedding layer; by default "words", or else the first embedding of as many rows as the
            vocabulary has words.

    Raises:
        InvalidArgument: the model has no vocabulary, or no such embedding.
        And as `zoo.load`.
    """
    if isinstance(model, WordVectors):
        return model
    name, assets, tables = _opened(model)
    if VOCABULARY not in assets:
        works = "Load one that was trained or pushed with its vocabulary, or make WordVectors(words, vectors)."
        raise invalid("this model carries no vocabulary, so nobody knows its words", name, works)
    words = bytes(assets[VOCABULARY]).decode("utf-8").split("\n")
    fitting = [layer for layer, table in tables.items() if len(table) == len(words)]
    layer = layer or ("words" if "words" in fitting else next(iter(fitting), None))
    if layer not in fitting:
        raise unknown(f"embedding in {name!r} of as many rows as its vocabulary has words", layer, fitting)
    reserved = len(RESERVED) if tuple(words[: len(RESERVED)]) == RESERVED else 0
    return WordVectors(words[reserved:], tables[layer][reserved:])


def _opened(model):
    """Returns `(name, assets, tables)` of a model: its side files, and the table of each of its embedding layers."""
    from zoo.hub import load, resolve_weights
    from zoo.weights import load_state

    if isinstance(model, (str, Path)) and str(model).endswith(".keras"):
        model = load(model)
    if hasattr(model, "layers"):
        import keras

        origin = getattr(model, "zoo_origin", None)
        name, assets = model.name, origin.assets() if origin else {}
        tensors = {w.path: keras.ops.convert_to_numpy(w) for w in model.weights}
    else:
        found = resolve_weights(None, model)
        name, assets, (tensors, _) = found.ref, found.assets(), load_state(found.weights)
    tables = {path.removesuffix(_TABLE): t for path, t in tensors.items() if path.endswith(_TABLE)}
    return name, assets, {layer: np.asarray(table, np.float32) for layer, table in tables.items()}


def nearest(model, word, top=10):
    """Returns the words whose vectors point most nearly where a word's does.

    Args:
        model: as for `word_vectors`.
        word: as in the vocabulary, or with capitals.
        top: how many words; fewer where there are no more.

    Returns:
        List of (word, cosine of the angle) pairs, nearest first, without the word itself.

    Raises:
        UnknownName: the word is not in the vocabulary; the message gives the nearest spelling.
    """
    vectors = word_vectors(model)
    row = vectors.find(word)
    return _ranked(vectors, vectors.directions[row], {row}, top)


def analogy(model, a, b, c, top=5):
    """Returns the words that are to `c` what `b` is to `a`; after man, king and woman that should be queen.

    The answer is nearest to b - a + c, of vectors of length 1, and is none of the three (Mikolov et al., 2013,
    https://aclanthology.org/N13-1090, section 4).

    Args:
        model: as for `word_vectors`.
        a, b, c: words.
        top: how many answers.

    Returns:
        List of (word, cosine of the angle) pairs, best first.

    Raises:
        UnknownName: a word is not in the vocabulary; the message gives the nearest spelling.
    """
    vectors = word_vectors(model)
    rows = [vectors.find(word) for word in (a, b, c)]
    wanted = np.array([-1, 1, 1], np.float32) @ vectors.directions[rows]
    return _ranked(vectors, wanted, set(rows), top)


def _ranked(vectors, wanted, leave_out, top):
    """Returns (word, cosine) pairs of the rows that are nearest to a vector."""
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise invalid("`top` must be a whole number of at least 1", top)
    cosines = vectors.directions @ (wanted / max(float(np.linalg.norm(wanted)), 1e-12))
    best = np.argsort(-cosines, kind="stable")[: top + len(leave_out)]
    return [(vectors.words[i], float(cosines[i])) for i in best if i not in leave_out][:top]


def analogies(model, path, *, most_frequent=None):
    """Answers a file of analogy questions, such as Google's questions-words.txt of 19,544 in 14 sections.

    Args:
        model: as for `word_vectors`.
        path: text file of lines "a b c d", where d is to c what b is to a, under lines ": name of the section".
        most_frequent: only so many of the most frequent words count as in the vocabulary; None for all.

    Returns:
        List of `Section`, in the order of the file, then one named "total". Words are looked up as they are written,
        or else in small letters.

    Raises:
        DataError: the file is missing or a line has not four words.
    """
    vectors = word_vectors(model)
    limit = len(vectors) if most_frequent is None else most_frequent
    sections = []
    for name, questions in _questions(path):
        rows = [[vectors.ids.get(w, vectors.ids.get(w.lower(), limit)) for w in words] for words in questions]
        rows = np.array(rows, np.int64).reshape(-1, 4)
        asked = rows[(rows < limit).all(axis=1)]
        right = sum(_right(vectors.directions[:limit], asked[i : i + BATCH]) for i in range(0, len(asked), BATCH))
        sections.append(Section(name, right, len(asked), len(rows) - len(asked)))
    sums = (sum(getattr(s, field) for s in sections) for field in ("right", "asked", "skipped"))
    return [*sections, Section("total", *sums)]


def _right(directions, rows):
    """Returns how many questions, rows (n, 4) of a, b, c and d, have d as the nearest word."""
    a, b, c, d = rows.T
    cosines = (directions[b] - directions[a] + directions[c]) @ directions.T  # (n, words), up to a factor
    cosines[np.arange(len(rows))[:, np.newaxis], rows[:, :3]] = -np.inf
    return int((cosines.argmax(axis=1) == d).sum())


def _questions(path):
    """Returns (section, list of questions) pairs; questions before any section belong to one without a name."""
    sections = [("", [])]
    for number, line in enumerate(_lines(path, "analogy questions"), start=1):
        words = line.split()
        if line.startswith(":"):
            sections.append((line[1:].strip(), []))
        elif len(words) == 4:
            sections[-1][1].append(words)
        elif words:
            raise DataError(worded(f"{path}, line {number}: a question has four words", received=line[:60]))
    return [section for section in sections if section[1]]


def similarity(model, path, *, most_frequent=None):
    """Compares the cosines of pairs of words with what people said, such as WordSim-353 or SimLex-999.

    Args:
        model: as for `word_vectors`.
        path: text file of lines "word word score", parted by tabs, commas or blanks; lines that start with "#" and a
            first line without a score are titles, columns after the third are left alone.
        most_frequent: only so many of the most frequent words count as in the vocabulary; None for all.

    Returns:
        `Agreement`. Words are looked up as they are written, or else in small letters.

    Raises:
        DataError: the file is missing, a line has no score, or fewer than two pairs are in the vocabulary.
    """
    from scipy.stats import spearmanr

    vectors = word_vectors(model)
    limit = len(vectors) if most_frequent is None else most_frequent
    pairs = _scored_pairs(path)
    rows = [[vectors.ids.get(w, vectors.ids.get(w.lower(), limit)) for w in words] for words, _ in pairs]
    known = [i for i, row in enumerate(rows) if max(row) < limit]
    if len(known) < 2:
        works = f"Its words must be among the {limit:,} of the vocabulary."
        raise DataError(worded(f"fewer than two of the {len(pairs):,} pairs of {path} can be compared", works=works))
    first, second = vectors.directions[np.array(rows)[known].T]
    found = spearmanr(np.sum(first * second, axis=1), [pairs[i][1] for i in known]).statistic
    return Agreement(float(found), len(known), len(pairs) - len(known))


def _scored_pairs(path):
    """Returns ((word, word), score) of every line of a file of judged pairs."""
    found = []
    for number, line in enumerate(_lines(path, "pairs of words"), start=1):
        cells = [cell for cell in re.split(r"[\t,; ]+", line.strip()) if cell]
        if not cells or line.startswith("#"):
            continue
        try:
            score = float(cells[2])
        except (IndexError, ValueError):
            if number == 1:
                continue  # titles of columns
            wrong = f"{path}, line {number}: a pair is two words and a score"
            raise DataError(worded(wrong, received=line[:60])) from None
        if not math.isfinite(score):
            raise DataError(worded(f"{path}, line {number}: the score is no number", received=line[:60]))
        found.append((cells[:2], score))
    return found


def _lines(path, what):
    """Returns the lines of a text file of questions or pairs."""
    try:
        return Path(path).expanduser().read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(worded(f"the {what} in {path} cannot be read ({error})")) from error


def export_word2vec(model, path, *, binary=False):
    """Writes word vectors in the format of the original word2vec program, which gensim and others read.

    Text: a line "words E", then a line per word, the word and its numbers with a space after each; numbers have the
    digits that give the same float32 back. Binary: the same first line, then per word the word, a space, E
    little-endian float32 and a line end.

    Args:
        model: as for `word_vectors`.
        path: of the file; its folder must exist.
        binary: which of the two.

    Returns:
        `Path` of the file.

    Raises:
        InvalidArgument: a word holds white space, which the format cannot express.
        StoreError: the file cannot be written.
    """
    vectors = word_vectors(model)
    broken = next((word for word in vectors.words if not word or word.split() != [word]), None)
    if broken is not None:
        raise invalid("the word2vec format cannot hold a word with white space", broken)

    def write(file):
        file.write(f"{len(vectors)} {vectors.vectors.shape[1]}\n".encode())
        for word, vector in zip(vectors.words, vectors.vectors, strict=True):
            if binary:
                file.write(word.encode() + b" " + vector.astype("<f4").tobytes() + b"\n")
            else:
                file.write((word + " " + " ".join(map(str, vector)) + " \n").encode())

    return write_atomic(Path(path).expanduser(), write)
