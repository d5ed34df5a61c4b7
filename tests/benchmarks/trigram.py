"""Perplexity of a trigram model with interpolated modified Kneser-Ney smoothing, what a language model has to beat.

Paper: Chen and Goodman, 1999, https://doi.org/10.1006/csla.1999.0128, section 3

    python tests/benchmarks/trigram.py --tokens 1000000 --vocab-size 10000

counts trigrams on the training text of `imdb_text` and prints the perplexity of the validation and test text, over the
same tokens that `zoo evaluate` measures with batches of `--batch-size`.
"""

import argparse
import math
import time

import numpy as np

from zoo.data import load
from zoo.data.streams import layout

UNUSED, END = 0, 2  # ids: no text holds the first; the second stands before the first word


class Order:
    """The n-grams of one length: what is left of each one's count after discounting, and what each context gives away.

    A key is an n-gram written as one number in base V; divided by V it is the key of its context.

    Args:
        keys: sorted distinct keys, int64 (m,).
        counts: of each, how often it occurs, or, below the highest order, how many different words precede it.
        vocab_size: V.
    """

    def __init__(self, keys, counts, vocab_size):
        number = [int((counts == n).sum()) for n in range(1, 5)]
        if 0 in number:  # too few n-grams to estimate from
            self.discounts = np.full(3, 0.5)
        else:
            share = number[0] / (number[0] + 2 * number[1])
            estimated = [n - (n + 1) * share * number[n] / number[n - 1] for n in (1, 2, 3)]
            self.discounts = np.clip(estimated, 0, (1, 2, 3))
        taken = self.discounts[np.minimum(counts, 3) - 1]
        self.contexts, group = np.unique(keys // vocab_size, return_inverse=True)
        totals = np.bincount(group, counts)
        self.keys, self.shares = keys, (counts - taken) / totals[group]
        self.left_over = np.bincount(group, taken) / totals  # by context: the weight of the next lower order

    def share(self, keys):
        """Returns the discounted relative frequency of n-grams, 0 of those never seen."""
        return _found(self.keys, self.shares, keys, 0.0)

    def weight(self, contexts):
        """Returns the weight of the lower order after contexts, 1 after those never seen."""
        return _found(self.contexts, self.left_over, contexts, 1.0)


def _found(keys, values, wanted, default):
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], default)


class Trigram:
    """A trigram model of a stream of ids 1 to V - 1."""

    def __init__(self, stream, vocab_size):
        self.vocab_size, stream = vocab_size, np.asarray(stream, np.int64)
        triples, counts = np.unique(self._key(stream[:-2], stream[1:-1], stream[2:]), return_counts=True)
        pairs, pair_counts = np.unique(triples % vocab_size**2, return_counts=True)
        words, word_counts = np.unique(pairs % vocab_size, return_counts=True)
        kinds = ((triples, counts), (pairs, pair_counts), (words, word_counts))
        self.orders = [Order(*kind, vocab_size) for kind in kinds]

    def _key(self, *words):
        key = np.zeros_like(words[0], np.int64)
        for word in words:
            key = key * self.vocab_size + word
        return key

    def probabilities(self, before, last, word):
        """Returns the probability of each `word` after the two words `before` and `last`, ids of equal shape."""
        found = np.full(np.shape(word), 1 / (self.vocab_size - 1))
        for order, context in zip(reversed(self.orders), ((), (last,), (before, last)), strict=True):
            key = self._key(*context) if context else np.zeros_like(word, np.int64)
            found = order.share(key * self.vocab_size + word) + order.weight(key) * found
        return found

    def log_probabilities(self, stream):
        """Returns the log-probability of each token of a stream after its first, (n - 1,)."""
        stream = np.asarray(stream, np.int64)
        before = np.concatenate([[END], stream[:-2]])
        return np.log(self.probabilities(before, stream[:-1], stream[1:]))


def perplexity(model, stream, length, batch_size):
    """Returns the perplexity of the tokens that a language model is measured on, batches of (batch_size, length)."""
    windows, _ = layout(np.arange(len(stream)), length, batch_size)
    return math.exp(-model.log_probabilities(stream)[windows].mean())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--vocab-size", type=int, default=10000)
    parser.add_argument("--sequence-length", type=int, default=35)
    parser.add_argument("--batch-size", type=int, default=32)
    chosen = parser.parse_args()
    options = {k: getattr(chosen, k) for k in ("tokens", "vocab_size", "sequence_length")}
    dataset = load("imdb_text", **options)
    began = time.perf_counter()
    model = Trigram(dataset.train.stream, dataset.arguments["vocab_size"])
    for part in ("validation", "test"):
        found = perplexity(model, getattr(dataset, part).stream, chosen.sequence_length, chosen.batch_size)
        print(f"{part} perplexity {found:.2f}")
    discounts = [order.discounts.round(3).tolist() for order in model.orders]
    print(f"{time.perf_counter() - began:.1f} s, discounts {discounts}")
    print(f"data {dataset.fingerprint}")


if __name__ == "__main__":
    main()
