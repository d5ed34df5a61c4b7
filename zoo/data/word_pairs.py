"""What word2vec trains on: words with their neighbours and sampled noise, drawn anew in each epoch.

Source: Mikolov et al., 2013, https://arxiv.org/abs/1310.4546, and the program published with it,
https://code.google.com/archive/p/word2vec. As there: words that are not in the vocabulary leave the text before its
windows are laid, frequent words are left out at random before that too, so that windows reach farther, and each word
draws how far its own window reaches.
"""

import functools
import hashlib
import itertools
import json
import threading
from dataclasses import dataclass, replace

import numpy as np

from zoo.data.base import Split, TreeSplit
from zoo.data.preprocessing import RESERVED
from zoo.errors import DataError, invalid, worded

ARCHITECTURES = ("skipgram", "cbow")
CHUNK = 100_000  # words whose examples are drawn together and shuffled: the memory that training takes
POWER = 0.75  # of the unigram counts, in the noise


# The pieces


def vocabulary_of(counts, vocab_size, min_count):
    """Returns a vocabulary as a tuple of words, id = position: "[PAD]", "[UNK]", then the most frequent words.

    Args:
        counts: `collections.Counter` of the training words.
        vocab_size: most words to keep, the two reserved ones included. Equally frequent words go by alphabet.
        min_count: words that occur less often are left out.

    Raises:
        DataError: fewer than two words are left, too few to tell one from noise.
    """
    ranked = sorted((item for item in counts.items() if item[1] >= min_count), key=lambda item: (-item[1], item[0]))
    words = tuple(word for word, _ in ranked[: max(0, vocab_size - len(RESERVED))])
    if len(words) < 2:
        works = "Lower `min_count`, raise `vocab_size`, or give more text."
        wrong = f"the vocabulary would have {len(words)} words beside {', '.join(RESERVED)}, and training needs two"
        raise DataError(worded(wrong, received={"vocab_size": vocab_size, "min_count": min_count}, works=works))
    return RESERVED + words


def keep_probability(counts, threshold):
    """Returns the probability with which each occurrence of a word is kept, min(1, (sqrt(f / t) + 1) t / f).

    This is the formula of the published program; the paper's own is sqrt(t / f), which keeps a little less.

    Args:
        counts: whole numbers (V,).
        threshold: share t of the text above which a word is thinned out; 0 keeps everything.

    Returns:
        float64 (V,); 1 for a word that does not occur.
    """
    counts = np.asarray(counts, np.float64)
    if not threshold:
        return np.ones(len(counts))
    share = np.where(counts > 0, counts, 1) / max(counts.sum(), 1)
    kept = np.minimum(1.0, (np.sqrt(share / threshold) + 1) * threshold / share)
    return np.where(counts > 0, kept, 1.0)


class Noise:
    """The noise distribution, unigram counts to a power, drawn from by the alias method: one table look-up a word.

    Source: Vose, 1991, https://doi.org/10.1109/32.92917.

    Args:
        counts: whole numbers (V,); a word of count 0 is never drawn.
        power: of the counts.

    Attributes:
        probabilities: float64 (V,).
    """

    def __init__(self, counts, power=POWER):
        counts = np.asarray(counts, np.float64)
        weights = np.where(counts > 0, counts, 1) ** power * (counts > 0)
        self.probabilities = weights / weights.sum()
        self._ids = np.flatnonzero(counts > 0).astype(np.int32)
        self._stay, self._alias = _alias_tables(self.probabilities[self._ids])

    def draw(self, random, shape):
        """Returns int32 ids of some shape; `random` is a `np.random.Generator`."""
        slot = random.integers(len(self._ids), size=shape, dtype=np.int32)
        moved = random.random(shape, dtype=np.float32) >= self._stay[slot]
        slot[moved] = self._alias[slot[moved]]
        return self._ids[slot]


def _alias_tables(probabilities):
    """Returns, for each slot of equal chance, the probability to stay there and the slot to go to otherwise."""
    scaled = (probabilities * len(probabilities)).tolist()
    stay, alias = np.ones(len(scaled)), np.arange(len(scaled), dtype=np.int32)
    small = [i for i, p in enumerate(scaled) if p < 1]
    large = [i for i, p in enumerate(scaled) if p >= 1]
    while small and large:
        poor, rich = small.pop(), large[-1]
        stay[poor], alias[poor] = scaled[poor], rich
        scaled[rich] -= 1 - scaled[poor]
        if scaled[rich] < 1:
            small.append(large.pop())
    return stay, alias


def skip_grams(ids, window):
    """Returns every pair (word, neighbour) of a text, in the order of the words and then of their neighbours.

    >>> skip_grams(["the", "quick", "brown"], window=1).tolist()
    [['the', 'quick'], ['quick', 'the'], ['quick', 'brown'], ['brown', 'quick']]

    Args:
        ids: words or their ids, (n,).
        window: farthest neighbour, in words.

    Returns:
        Array (number of pairs, 2).
    """
    ids = np.asarray(ids)
    at, there = _neighbours(np.zeros(len(ids), np.int64), np.full(len(ids), window), window)
    word, slot = np.nonzero(there)
    return np.stack([ids[word], ids[at[word, slot]]], axis=1)


def _neighbours(text, reach, window):
    """Returns the positions of the neighbours of each word, int (n, 2 * window), and which of them are there.

    Args:
        text: number of the text that each word belongs to, (n,), ascending; a window ends where the text does.
        reach: farthest neighbour of each word, (n,), each 1 to `window`.
        window: the largest reach.
    """
    steps = np.concatenate([np.arange(-window, 0), np.arange(1, window + 1)])
    at = np.arange(len(text))[:, np.newaxis] + steps
    there = (np.abs(steps) <= reach[:, np.newaxis]) & (at >= 0) & (at < len(text))
    at = np.clip(at, 0, max(0, len(text) - 1))
    return at, there & (text[at] == text[:, np.newaxis])


# Drawing examples


@dataclass(frozen=True)
class Corpus:
    """Texts as ids, one after another: `ids` int32 (words,), may be memory-mapped; `starts` int64 (texts + 1,)."""

    ids: np.ndarray
    starts: np.ndarray

    def chunks(self):
        """Returns the numbers of the texts at which chunks of about `CHUNK` words begin, and that after the last."""
        wanted = np.arange(0, self.starts[-1], CHUNK)
        begin = np.unique(np.searchsorted(self.starts[:-1], wanted))
        return np.append(begin[begin < len(self.starts) - 1], len(self.starts) - 1)

    def part(self, first, last):
        """Returns the ids of texts `first` to `last` - 1, and the number of the text of each."""
        starts = self.starts[first : last + 1]
        return np.asarray(self.ids[starts[0] : starts[-1]]), np.repeat(np.arange(last - first), np.diff(starts))


@dataclass(frozen=True)
class Sampling:
    """How examples are drawn from texts.

    Attributes:
        architecture: "skipgram": one example a pair; "cbow": one a word that has a neighbour.
        window: farthest neighbour; each word draws its own reach, 1 to `window`, all equally likely.
        negatives: noise words of an example, K.
        loss: "negative_sampling" draws noise other than the true word; "nce" draws freely, as its theory asks, and
            adds the input "offset", log(K q).
        keep: probability (V,) that an occurrence of a word is kept, see `keep_probability`.
        noise: `Noise`.
    """

    architecture: str
    window: int
    negatives: int
    loss: str
    keep: np.ndarray
    noise: Noise

    @classmethod
    def of(cls, counts, subsample):
        """Returns the sampling of word2vec's usual settings.

        Args:
            counts: how often each word occurs in training, whole numbers (V,).
            subsample: threshold of `keep_probability`.

        Raises:
            DataError: fewer than two words occur, too few to tell one from noise.
        """
        if np.count_nonzero(counts) < 2:
            raise DataError(worded("the training texts hold fewer than two different words of the vocabulary"))
        return cls("skipgram", 5, 5, "negative_sampling", keep_probability(counts, subsample), Noise(counts))

    def expected(self, ids, starts):
        """Returns how many examples some texts give on average; text k is `ids[starts[k] : starts[k + 1]]`."""
        cumulated = np.concatenate([[0.0], np.cumsum(self.keep[ids])])
        kept = np.diff(cumulated[starts])
        if self.architecture == "cbow":
            return kept[kept > 1].sum()
        pairs = 0.0
        for step in range(1, self.window + 1):  # so far reaches a window with probability (window - step + 1) / window
            pairs += 2 * np.maximum(kept - step, 0).sum() * (self.window - step + 1) / self.window
        return pairs

    def draw(self, ids, text, size, random):
        """Returns `size` examples of some texts, input name -> array, in random order.

        A draw that gives more loses some at random, one that gives fewer repeats some, with noise of their own.
        """
        kept = random.random(len(ids), dtype=np.float32) < self.keep[ids]
        examples = self._predicted(ids[kept], text[kept], random)
        if not len(examples["target"]):  # a tiny text of frequent words: all of it rather than none
            examples = self._predicted(ids, text, random)
        count = len(examples["target"])
        chosen = random.permutation(count)[:size]
        if size > count:
            chosen = np.concatenate([chosen, random.integers(count, size=size - count)])
        target = examples.pop("target")[chosen]
        inputs = {name: rows[chosen] for name, rows in examples.items()}
        inputs["candidates"] = candidates = np.empty((size, 1 + self.negatives), np.int32)
        candidates[:, 0] = target
        candidates[:, 1:] = self.noise.draw(random, (size, self.negatives))
        if self.loss == "nce":
            q = np.log(self.negatives * np.maximum(self.noise.probabilities, 1e-30)).astype(np.float32)
            return inputs | {"offset": q[candidates]}
        row, column = np.nonzero(candidates[:, 1:] == target[:, np.newaxis])
        while len(row):
            candidates[row, 1 + column] = self.noise.draw(random, len(row))
            again = candidates[row, 1 + column] == target[row]
            row, column = row[again], column[again]
        return inputs

    def _predicted(self, ids, text, random):
        """Returns inputs and "target" of the examples of some texts, in order."""
        reach = random.integers(1, self.window + 1, size=len(ids))
        if not len(ids):
            return {"target": ids}
        at, there = _neighbours(text, reach, self.window)
        if self.architecture == "cbow":
            some = there.any(axis=1)
            return {"context": np.where(there, ids[at], 0)[some].astype(np.int32), "target": ids[some]}
        word, slot = np.nonzero(there)
        return {"word": ids[word][:, np.newaxis], "target": ids[at[word, slot]]}


class WordPairs(Split):
    """Examples of word2vec, drawn chunk by chunk as they are asked for; see `Sampling` for what one is.

    The texts lie in chunks; a chunk gives the same number of examples in every draw, its average, so that an epoch
    has one length. An epoch visits the chunks in an order of its own and shuffles within each.

    Args:
        corpus: `Corpus`.
        sampling: `Sampling`.
        declared: the data set's preprocessing.
        draw: (seed, epoch); None is the one fixed draw of data that is only measured on, its chunks as they lie.
        sizes: examples of each chunk, where they are known.

    Raises:
        DataError: the texts give no example.
    """

    ordered = True  # shuffled here

    def __init__(self, corpus, sampling, declared, draw=None, sizes=None):
        self._corpus, self._sampling, self._declared = corpus, sampling, declared
        self._chunks = corpus.chunks()
        self._sizes = self._counted() if sizes is None else sizes
        self._seed = (0, *draw) if draw else (1,)
        chunks = len(self._sizes)
        self._order = np.random.default_rng([*self._seed, 0]).permutation(chunks) if draw else np.arange(chunks)
        self._edges = np.concatenate([[0], np.cumsum(self._sizes[self._order])])
        if not self._edges[-1]:
            works = "Give more text, or keep every word (subsample=0)."
            raise DataError(worded("the texts hold, on average, no two neighbouring words to keep", works=works))
        self._lock = threading.Lock()
        self._drawn = functools.lru_cache(maxsize=2)(self._draw_chunk)  # a batch may lie across two
        super().__init__(np.broadcast_to(np.int32(0), (int(self._edges[-1]),)))  # takes no memory

    def at_epoch(self, seed, epoch):
        """Returns the draw of one epoch: other words left out, other windows, other noise, another order."""
        return WordPairs(self._corpus, self._sampling, self._declared, (seed, epoch), self._sizes)

    def sampled(self, **changes):
        """Returns the same texts with some fields of their `Sampling` changed."""
        return WordPairs(self._corpus, replace(self._sampling, **changes), self._declared)

    def _counted(self):
        """Returns how many examples each chunk gives, int (chunks,)."""
        sizes = []
        for first, last in itertools.pairwise(self._chunks):
            starts = self._corpus.starts[first : last + 1]
            part = np.asarray(self._corpus.ids[starts[0] : starts[-1]])
            sizes.append(int(self._sampling.expected(part, starts - starts[0])))
        return np.array(sizes, np.int64)

    def _draw_chunk(self, place):
        chunk = self._order[place]
        ids, text = self._corpus.part(self._chunks[chunk], self._chunks[chunk + 1])
        return self._sampling.draw(ids, text, self._sizes[chunk], np.random.default_rng([*self._seed, 1 + chunk]))

    def inputs(self, indices):
        """Returns "word" int32 (b, 1) or "context" int32 (b, 2 * window), "candidates", and for NCE "offset"."""
        indices = np.asarray(indices, np.int64)
        places = np.searchsorted(self._edges, indices, side="right") - 1
        made = None
        for place in np.unique(places):
            with self._lock:  # threads that prepare batches would each draw the chunk
                rows = self._drawn(int(place))
            here = places == place
            if made is None:
                made = {name: np.empty((len(indices), *part.shape[1:]), part.dtype) for name, part in rows.items()}
            for name, part in rows.items():
                made[name][here] = part[indices[here] - self._edges[place]]
        return made

    def subset(self, indices):
        """Returns some examples of this draw; they stay as they are in every epoch."""
        x, y = self.batch(indices)
        return TreeSplit(x, y, declared=self._declared)

    def read_as(self, declared):
        if declared != self._declared:
            works = "Give the data by name, so that it can be read with the model's vocabulary."
            raise DataError(worded("words that are ids already cannot be read as the model reads", works=works))
        return self

    def digest(self, update):
        sampling = self._sampling
        stated = {name: getattr(sampling, name) for name in ("architecture", "window", "negatives", "loss")}
        update(json.dumps(stated, sort_keys=True).encode())
        update(np.round(sampling.keep, 9).astype("<f8").data)
        update(np.round(sampling.noise.probabilities, 9).astype("<f8").data)
        update(self._corpus.starts.astype("<i8").data)
        for first in range(0, len(self._corpus.ids), CHUNK):
            update(np.ascontiguousarray(self._corpus.ids[first : first + CHUNK], "<i4").data)


def for_word2vec(dataset, spec):
    """Returns a data set of word pairs drawn as a skip-gram or continuous bag of words of this `Spec` takes them."""
    from zoo.registry import builder_of

    family = builder_of(spec.name)[0].family
    if family not in ARCHITECTURES or not all(isinstance(split, WordPairs) for split in dataset.splits.values()):
        return dataset
    wanted = {name: spec.arguments[name] for name in ("window", "negatives", "loss")}
    return dataset.but(**{k: split.sampled(architecture=family, **wanted) for k, split in dataset.splits.items()})


def check_options(**options):
    """Refuses options of a data set of word pairs that cannot work.

    Raises:
        InvalidArgument: naming the first such option.
    """
    for name, least in {"vocab_size": 4, "min_count": 1, "texts": 3}.items():
        value = options.get(name, least)
        if type(value) is not int or value < least:
            raise invalid(f"`{name}` must be a whole number of at least {least}", value)
    if not 0 <= options.get("subsample", 0) < 1:
        works = "For millions of words 0.0001 is usual; 0 keeps every word."
        raise invalid("`subsample` must be a share of the text, at least 0 and below 1", options["subsample"], works)


def corpus_of(token_lists, ids):
    """Returns the `Corpus` of some texts, the words outside the vocabulary left out; `ids` maps words to ids."""
    find, rows, lengths = ids.get, [], [0]
    for words in token_lists:
        known = [i for i in map(find, words) if i is not None and i >= len(RESERVED)]
        rows.append(np.array(known, np.int32))
        lengths.append(len(known))
    return Corpus(np.concatenate([np.zeros(0, np.int32), *rows]), np.cumsum(lengths, dtype=np.int64))


def digest_of(ids):
    """Returns a hash of a given vocabulary, word -> id, or "own" for None."""
    return "own" if ids is None else hashlib.sha256("\n".join(ids).encode()).hexdigest()
