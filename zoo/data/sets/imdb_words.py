r"""Words of IMDB's 50,000 unlabelled film reviews with their neighbours, for word2vec.

500 reviews are held out for validation and 500 for testing (a tenth of fewer than 5,000); their draw of examples is
fixed. The vocabulary and the noise are counted on the other reviews only.

Read from the folder `ZOO_DATA` (`aclImdb_v1.tar.gz`, or `imdb_unsup.tsv.gz`, whose lines are -1 TAB 0 TAB text), from
the cache, or from Stanford. Reviews are put in one order, that of their text and then a fixed shuffle, so that both
forms give the same data set and fingerprint.
"""

import gzip
import json
import tarfile
import zlib
from collections import Counter

from zoo.cache import locate, remember_arrays
from zoo.data.catalog import dataset
from zoo.data.sets.imdb import REMOTE, SOURCE
from zoo.errors import DataError, invalid, worded
from zoo.files import sha256_of

REVIEWS = 50_000
HELD_OUT = 500  # reviews, in each of validation and test


@dataset("imdb_words", task="word_embedding")
def imdb_words(
    *,
    vocab_size: int = 20000,
    min_count: int = 5,
    subsample: float = 1e-4,
    texts: int = REVIEWS,
    like: dict | None = None,
):
    """Words of 50,000 film reviews (12 million) with their neighbours and sampled noise, for word2vec.

    The model decides the window, the noise words of an example, and whether a word or its neighbours are predicted.

    Args:
        vocab_size: ids in use: 0 is padding, 1 an unknown word (neither is trained), the rest the most frequent words.
        min_count: words that occur less often are left out.
        subsample: share of the text above which a word is thinned out; 0 keeps every occurrence.
        texts: reviews that are read, at most 50,000; those held out are among them.
        like: `declared` and `assets` of a trained model, used instead of a vocabulary of its own.
    """
    import numpy as np

    from zoo.data import word_pairs
    from zoo.data.base import Dataset
    from zoo.data.preprocessing import VOCABULARY, text_declaration, word_ids

    word_pairs.check_options(vocab_size=vocab_size, min_count=min_count, subsample=subsample, texts=texts)
    if texts > REVIEWS:
        raise invalid("`texts` is more than there are", texts, f"IMDB has {REVIEWS:,} unlabelled reviews.")
    path = locate((REMOTE.file, "imdb_unsup.tsv.gz"), REMOTE, "IMDB")
    declared = like["declared"] if like else text_declaration(1, vocab_size, strip="<br />")
    ids = word_ids(declared, like["assets"]) if like else None
    key = f"imdb_words 1 {json.dumps(declared, sort_keys=True)} {word_pairs.digest_of(ids)} {min_count} {texts} "
    found = remember_arrays(key + sha256_of(path), lambda: _encoded(path, declared, ids, min_count, texts))
    if like:
        assets = like["assets"]
    else:
        assets = {VOCABULARY: found["vocabulary"].tobytes()}
        declared |= {"vocab_size": assets[VOCABULARY].count(b"\n") + 1}
    counts = np.bincount(found["ids_train"], minlength=declared["vocab_size"])
    sampling = word_pairs.Sampling.of(counts, subsample)
    splits = {
        part: word_pairs.WordPairs(word_pairs.Corpus(found[f"ids_{part}"], found[f"starts_{part}"]), sampling, declared)
        for part in ("train", "validation", "test")
    }
    return Dataset(
        name="imdb_words",
        task="word_embedding",
        labels=None,
        preprocessing=declared,
        **splits,
        source=SOURCE,
        assets=assets,
        arguments_given={"vocab_size": declared["vocab_size"]},
    )


def _encoded(path, declared, ids, min_count, texts):
    """Returns the ids of each part's words, where its texts start, and the vocabulary; `ids` None: counted here."""
    import numpy as np

    from zoo.data import preprocessing, word_pairs

    reviews = read_unlabelled(path)
    order = np.random.RandomState(0).permutation(len(reviews))[:texts]  # the legacy stream is frozen
    held = min(HELD_OUT, max(1, texts // 10))
    parts = {"validation": order[:held], "test": order[held : 2 * held], "train": order[2 * held :]}

    def words_of(part):
        return (preprocessing.tokens(reviews[i], declared) for i in parts[part])

    vocabulary = ()
    if ids is None:
        counts = Counter()
        for words in words_of("train"):
            counts.update(words)
        vocabulary = word_pairs.vocabulary_of(counts, declared["vocab_size"], min_count)
        ids = {word: i for i, word in enumerate(vocabulary)}
    arrays = {"vocabulary": np.frombuffer(preprocessing.vocabulary_asset(vocabulary), np.uint8)}
    for part in parts:
        corpus = word_pairs.corpus_of(words_of(part), ids)
        arrays |= {f"ids_{part}": corpus.ids, f"starts_{part}": corpus.starts}
    return arrays


def read_unlabelled(path):
    """Returns the texts of the 50,000 unlabelled reviews, sorted, with white space evened out.

    Args:
        path: of the official archive, or of a table of lines -1 TAB 0 TAB text.

    Raises:
        DataError: the file is damaged, or holds something else.
    """
    try:
        texts = _from_tar(path) if path.name == REMOTE.file else _from_table(path)
    except (OSError, EOFError, tarfile.TarError, zlib.error, UnicodeDecodeError) as error:
        works = "Delete it to get it anew."
        raise DataError(worded(f"{path} is not a whole IMDB archive ({error})", works=works)) from error
    if len(texts) != REVIEWS:
        raise DataError(worded(f"{path} is not IMDB", received=len(texts), works=f"It has {REVIEWS:,} such reviews."))
    return sorted(" ".join(text.split()) for text in texts)


def _from_tar(path):
    texts = []
    with tarfile.open(path, "r|gz") as archive:
        for member in archive:
            if member.isfile() and member.name.split("/")[1:-1] == ["train", "unsup"]:
                texts.append(archive.extractfile(member).read().decode("utf-8"))
    return texts


def _from_table(path):
    texts = []
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            label, _, rest = line.partition("\t")
            _, tab, text = rest.partition("\t")
            if label != "-1" or not tab:
                raise DataError(worded(f"{path}, line {number}: not -1 TAB 0 TAB text", received=line[:60]))
            texts.append(text)
    return texts
