r"""IMDB: 50,000 film reviews, half of them negative, half positive.

The test part is the official one; 2,500 of the 25,000 training reviews, stratified by label, are held out for
validation. The vocabulary is counted on the other 22,500 only.

Read from the folder `ZOO_DATA` (`aclImdb_v1.tar.gz`, or `imdb_train.tsv.gz` and `imdb_test.tsv.gz`, whose lines are
label TAB rating TAB text), from the cache, or from Stanford. Reviews are put in one order, by label and text with
white space evened out, so that both forms give the same data set and fingerprint.
"""

import gzip
import hashlib
import json
import tarfile
import zlib

from zoo.cache import Remote, locate, remember_arrays
from zoo.data.catalog import dataset
from zoo.errors import DataError, worded
from zoo.files import sha256_of

REMOTE = Remote(
    file="aclImdb_v1.tar.gz",
    url="https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    size=84_125_825,
    sha256="c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
)
SOURCE = (
    "Large Movie Review Dataset v1.0. A. L. Maas et al., Learning word vectors for sentiment analysis, 2011, "
    "https://aclanthology.org/P11-1015, https://ai.stanford.edu/~amaas/data/sentiment/. No licence is stated."
)
LABELS = ("negative", "positive")
PER_LABEL = 12500  # reviews of each label in each part
HELD_OUT = 2500


@dataset("imdb", task="text_classification")
def imdb(*, vocab_size: int = 20000, sequence_length: int = 256, keep: str = "last", like: dict | None = None):
    """50,000 film reviews, negative or positive.

    Args:
        vocab_size: ids in use: 0 is padding, 1 an unknown word, the rest the most frequent training words.
        sequence_length: words of a review that are kept.
        keep: which words of a longer review are kept, "first" or "last"; a review ends with its verdict.
        like: `declared` and `assets` of a trained model, used instead of these; see `zoo.data.load_like`.
    """
    from zoo.data.base import ArraySplit, Dataset
    from zoo.data.files import check_text_options
    from zoo.data.preprocessing import VOCABULARY, text_declaration, word_ids

    check_text_options(vocab_size, sequence_length, keep)
    paths = locate_reviews()
    declared = like["declared"] if like else text_declaration(sequence_length, vocab_size, keep=keep, strip="<br />")
    ids = word_ids(declared, like["assets"]) if like else None
    key = f"imdb 2 {json.dumps(declared, sort_keys=True)} {_digest(ids)} " + " ".join(sha256_of(p) for p in paths)
    found = remember_arrays(key, lambda: _encoded(paths, declared, ids))
    if like:
        assets = like["assets"]
    else:
        assets = {VOCABULARY: found["vocabulary"].tobytes()}
        declared |= {"vocab_size": assets[VOCABULARY].count(b"\n") + 1}
    splits = {
        part: ArraySplit(found[f"x_{part}"], found[f"y_{part}"], declared) for part in ("train", "validation", "test")
    }
    return Dataset(
        name="imdb",
        task="text_classification",
        labels=LABELS,
        preprocessing=declared,
        **splits,
        source=SOURCE,
        assets=assets,
    )


def locate_reviews():
    """Returns the one official archive, or the two tables."""
    first = locate(("aclImdb_v1.tar.gz", "imdb_train.tsv.gz"), REMOTE, "IMDB")
    if first.name == REMOTE.file:
        return (first,)
    second = first.with_name("imdb_test.tsv.gz")
    if not second.is_file():
        raise DataError(worded(f"{second} is missing", works=f"{first.name} is there; both are needed."))
    return first, second


def _digest(ids):
    """Returns a hash of a given vocabulary, or "own"."""
    return "own" if ids is None else hashlib.sha256("\n".join(ids).encode()).hexdigest()


def _encoded(paths, declared, ids):
    """Returns the token ids and labels of each part, and the vocabulary; `ids` of words, or None to count them."""
    import numpy as np

    from zoo.data import preprocessing
    from zoo.data.base import held_out

    words, y = {}, {}
    for part, reviews in read_reviews(paths).items():
        y[part] = np.array([label for label, _ in reviews], np.int32)
        words[part] = [preprocessing.tokens(text, declared) for _, text in reviews]
    train, validation = held_out(y["train"], HELD_OUT)
    vocabulary = ()
    if ids is None:
        counted = (words["train"][i] for i in train)
        vocabulary = preprocessing.build_vocabulary(counted, declared["vocab_size"])
        ids = {word: i for i, word in enumerate(vocabulary)}
    x = {part: preprocessing.encode_texts(declared, rows, ids) for part, rows in words.items()}
    return {
        "vocabulary": np.frombuffer(preprocessing.vocabulary_asset(vocabulary), np.uint8),
        "x_train": x["train"][train],
        "y_train": y["train"][train],
        "x_validation": x["train"][validation],
        "y_validation": y["train"][validation],
        "x_test": x["test"],
        "y_test": y["test"],
    }


def read_reviews(paths):
    """Returns the reviews of each part, "train" and "test", as sorted `(label, text)` rows.

    Args:
        paths: what `locate_reviews` found.

    Raises:
        DataError: a file is damaged, or holds something else.
    """
    try:
        parts = _read_tar(*paths) if len(paths) == 1 else {"train": _read_tsv(paths[0]), "test": _read_tsv(paths[1])}
    except (OSError, EOFError, tarfile.TarError, zlib.error, UnicodeDecodeError) as error:
        works = "Delete it to get it anew."
        raise DataError(worded(f"{paths[0]} is not a whole IMDB archive ({error})", works=works)) from error
    for reviews in parts.values():
        positive = sum(label for label, _ in reviews)
        if (positive, len(reviews)) != (PER_LABEL, 2 * PER_LABEL):
            works = f"IMDB has {PER_LABEL:,} reviews of each label in each part."
            raise DataError(
                worded(f"{paths[0]} is not IMDB", received=[len(reviews) - positive, positive], works=works)
            )
    return parts


def _in_order(reviews):
    return sorted((label, " ".join(text.split())) for label, text in reviews)


def _read_tsv(path):
    """Returns sorted `(label, text)` rows of a table without header."""
    reviews = []
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            label, _, rest = line.partition("\t")
            _, tab, text = rest.partition("\t")
            if label not in ("0", "1") or not tab:
                raise DataError(worded(f"{path}, line {number}: not label TAB rating TAB text", received=line[:60]))
            reviews.append((int(label), text))
    return _in_order(reviews)


def _read_tar(path):
    """Returns sorted `(label, text)` rows of the official archive, by part."""
    parts = {"train": [], "test": []}
    with tarfile.open(path, "r|gz") as archive:
        for member in archive:
            at = member.name.split("/")
            if member.isfile() and len(at) == 4 and at[1] in parts and at[2] in ("neg", "pos"):
                text = archive.extractfile(member).read().decode("utf-8")
                parts[at[1]].append((int(at[2] == "pos"), text))
    return {part: _in_order(reviews) for part, reviews in parts.items()}
