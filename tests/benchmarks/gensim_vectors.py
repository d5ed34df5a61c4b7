"""Word vectors of gensim beside a recorded recipe's: same text, vocabulary, width, window, noise words and passes.

    python tests/benchmarks/gensim_vectors.py skipgram_imdb questions-words.txt
    python tests/benchmarks/gensim_vectors.py cbow_imdb questions-words.txt

The questions are Google's (Mikolov et al., 2013, https://arxiv.org/abs/1301.3781), 19,544 in 14 sections; the same code
answers them from gensim's vectors as from ours, `zoo analogies RUN FILE`. One thread, as gensim repeats with one only.
"""

import argparse
import inspect
import time
from pathlib import Path

from zoo.data import load
from zoo.embeddings import WordVectors, analogies
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="of skipgram or cbow")
    parser.add_argument("questions", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    try:
        from gensim.models import Word2Vec
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
    total = analogies(WordVectors(model.wv.index_to_key, model.wv.vectors), given.questions)[-1]
    ours = ", ".join(map(str, row.result["analogy_accuracy"]))
    print(f"{occurrences:,} words, {epochs} passes, {len(model.wv):,} different, {settings['embed_dim']} numbers each")
    print(f"gensim: {total.accuracy:.4f} of {total.asked:,} questions, {seconds:.0f} s of processor time")
    print(f"{given.recipe}: {ours} in the record")


if __name__ == "__main__":
    main()
