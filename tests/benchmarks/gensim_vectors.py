"""Word vectors of gensim beside a recorded recipe's: same text, vocabulary, width, window, noise words and passes.

    python tests/benchmarks/gensim_vectors.py skipgram_imdb questions-words.txt --run runs/skipgram.imdb_words
    python tests/benchmarks/gensim_vectors.py cbow_imdb questions-words.txt --run runs/cbow.imdb_words

The questions are Google's (Mikolov et al., 2013, https://arxiv.org/abs/1301.3781), 19,544 in 14 sections; the judged
pairs WordSim-353 (Finkelstein et al., 2002) and SimLex-999 (Hill et al., 2015), of which gensim brings copies. The same
code measures gensim's vectors and ours, as `zoo analogies RUN FILE` and `zoo similarity RUN FILE` do. One thread, as
gensim repeats with one only.
"""

import argparse
import inspect
import time
from pathlib import Path

from zoo.data import load
from zoo.embeddings import WordVectors, analogies, similarity, word_vectors
from zoo.factory import resolve
from zoo.recipes import recipe_row


def settings_of(row):
    """Returns the builder's arguments as the recipe leaves them: defaults, variant, recipe."""
    arguments = row.settings.get("arguments", {})
    builder, variant, _ = resolve(row.settings["model"], arguments)
    signature = inspect.signature(builder.function).parameters
    defaults = {n: p.default for n, p in signature.items() if p.default is not inspect.Parameter.empty}
    return defaults | dict(builder.variants[variant]) | arguments


def sentences(dataset):
    """Returns the training text as lists of words, one a review, unknown words left out as in ours."""
    words = dataset.assets["vocabulary.txt"].decode().split("\n")
    corpus = dataset.train._corpus
    spans = zip(corpus.starts[:-1], corpus.starts[1:], strict=True)
    return [[words[i] for i in corpus.ids[start:end]] for start, end in spans]


def measured(name, vectors, questions, pairs):
    """Prints what word vectors know."""
    total = analogies(vectors, questions)[-1]
    print(f"{name}: {total.accuracy:.4f} of {total.asked:,} questions")
    for path in pairs:
        found = similarity(vectors, path)
        print(f"{name}: rank correlation {found.spearman:.4f} on {found.pairs} pairs of {path.name}")


def main():
    """Trains gensim's vectors, and prints what they and ours know."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="of skipgram or cbow")
    parser.add_argument("questions", type=Path)
    parser.add_argument("--run", help="folder of the recipe's run, or a reference")
    parser.add_argument("--seed", type=int, default=1, help="of gensim")
    given = parser.parse_args()
    try:
        from gensim.models import Word2Vec
        from gensim.test.utils import datapath
    except ImportError:
        raise SystemExit("gensim is not installed. Run: pip install 'gensim>=4.4'") from None
    row = recipe_row(given.recipe)
    options, settings = row.settings.get("data_options", {}), settings_of(row)
    texts = sentences(load(row.settings["data"], **options))
    epochs, occurrences = row.settings["epochs"], sum(map(len, texts))
    began = time.process_time()
    model = Word2Vec(
        texts,
        vector_size=settings["embed_dim"],
        window=settings["window"],
        negative=settings["negatives"],
        sample=options["subsample"],
        min_count=1,  # the vocabulary has been chosen
        sg=int(row.settings["model"] == "skipgram"),
        epochs=epochs,
        workers=1,
        seed=given.seed,
    )
    seconds = time.process_time() - began
    print(f"{occurrences:,} words, {epochs} passes, {len(model.wv):,} different, {settings['embed_dim']} numbers each")
    print(f"gensim needed {seconds:.0f} s of processor time")
    pairs = [Path(datapath(name)) for name in ("wordsim353.tsv", "simlex999.txt")]
    measured("gensim", WordVectors(model.wv.index_to_key, model.wv.vectors), given.questions, pairs)
    if given.run:
        measured(given.run, word_vectors(given.run), given.questions, pairs)
    recorded = {k: v for k, v in row.result.items() if k.endswith(("analogy_accuracy", "_correlation"))}
    print(f"{given.recipe} in the record: {recorded}")


if __name__ == "__main__":
    main()
