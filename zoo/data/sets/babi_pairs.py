"""Pairs of sentences of bAbI that say the same of somebody, or do not.

In tasks 1 and 12 every answer follows from one sentence, which the files name: "Mary went back to the office." answers
"Where is Mary?" with "office". Two sentences are a pair of "same" where some question of the files has the same answer
from both: "John and Mary moved to the office." and "Mary journeyed to the office.". The label is thus bAbI's own.

The sentences, not the pairs, are divided into training, validation and test (7 : 1 : 2), so that both sentences of a
test pair are new, though their words are not. Half of the pairs of a part are "same"; of the others, a third has a
person in common, a third a place and a third neither, so that it takes both to tell.
"""

import itertools

from zoo.data.catalog import dataset
from zoo.data.sets.babi import SOURCE
from zoo.errors import invalid

LABELS = ("different", "same")
TASKS = (1, 12)
SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}


@dataset("babi_pairs", task="text_pair_classification")
def babi_pairs(*, pairs: int = 10000, sequence_length: int = 10, like: dict | None = None):
    """Pairs of sentences from bAbI that say the same of somebody, or do not.

    Args:
        pairs: how many to make at most, of all three parts together; small parts hold fewer.
        sequence_length: words of a sentence that are kept.
        like: `declared` and `assets` of a trained model, used instead of these; see `zoo.data.load_like`.
    """
    import numpy as np

    from zoo.data.pairs import pair_dataset

    if not 100 <= pairs <= 1_000_000:
        raise invalid("`pairs` must be 100 to 1,000,000", pairs)
    facts = _facts()
    sentences = sorted(facts)
    random = np.random.RandomState(0)  # the legacy generator's stream is the same in every NumPy
    order = [sentences[i] for i in random.permutation(len(sentences))]
    parts, start = {}, 0
    for part, share in SHARES.items():
        end = start + round(share * len(order))
        parts[part] = _pairs(sorted(order[start:end]), facts, round(pairs * share), random)
        start = end
    source = f"Pairs of sentences from tasks {' and '.join(map(str, TASKS))} of: {SOURCE}"
    return pair_dataset("babi_pairs", LABELS, parts, (20000, sequence_length, "first"), source, like)


def _facts():
    """Returns what each sentence tells: text -> set of (question, answer)."""
    from zoo.data.preprocessing import text_declaration
    from zoo.data.sets.babi import _examples, _lines

    facts, declared = {}, text_declaration(1, 3)
    for task in TASKS:
        for lines in _lines(task, "10k")[task].values():
            for _, story, question, answer in _examples(*lines, declared, supporting_only=True):
                (sentence,) = story
                facts.setdefault(" ".join(sentence), set()).add((" ".join(question), answer))
    return facts


def _pairs(sentences, facts, count, random):
    """Returns `(pairs, labels)` of some sentences, balanced and in random order."""
    same, others = [], {"person": [], "place": [], "neither": []}
    for a, b in itertools.combinations(sentences, 2):
        asked, answered = ({fact[i] for fact in facts[a]} & {fact[i] for fact in facts[b]} for i in (0, 1))
        if facts[a] & facts[b]:
            same.append((a, b))
        else:
            others["person" if asked else "place" if answered else "neither"].append((a, b))
    size = min(count // 6, len(same) // 3, *map(len, others.values()))

    def drawn(candidates, size):
        return [candidates[i] for i in random.permutation(len(candidates))[:size]]

    chosen = [(pair, 1) for pair in drawn(same, 3 * size)]
    chosen += [(pair, 0) for candidates in others.values() for pair in drawn(candidates, size)]
    chosen = [chosen[i] for i in random.permutation(len(chosen))]
    flipped = random.randint(0, 2, len(chosen))
    pairs = [(b, a) if flip else (a, b) for ((a, b), _), flip in zip(chosen, flipped, strict=True)]
    return pairs, [label for _, label in chosen]
