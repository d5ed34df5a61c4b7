"""The Keras model zoo: a name and a recipe give a model that trains, a result that reproduces, weights that verify.

Everything here is loaded on first use, so that `import zoo` is immediate and needs neither Keras nor a backend.
"""

import importlib
import os

from zoo.announce import announce

# TensorFlow prints device and oneDNN notices on import; anyone who wants them sets the variable beforehand.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__version__ = "0.1.0"

_NO_KERAS = {
    "zoo.catalogue",
    "zoo.doctoring",
    "zoo.embeddings",
    "zoo.errors",
    "zoo.hub.fetching",
    "zoo.recipes",
    "zoo.registry",
    "zoo.standings",
}
_PUBLIC = {
    "build": "zoo.factory",
    "plain": "zoo.compiled",
    "recipe": "zoo.recipes",
    "list_recipes": "zoo.recipes",
    "doctor": "zoo.doctoring",
    "leaderboard": "zoo.standings",
    "train": "zoo.training",
    "ablate": "zoo.ablation",
    "finetune": "zoo.finetuning",
    "reproduce": "zoo.reproducing",
    "find_learning_rate": "zoo.rate_finding",
    "Run": "zoo.runs",
    "evaluate": "zoo.inference",
    "predict": "zoo.inference",
    "generate": "zoo.generation",
    "judge": "zoo.judging",
    "ensemble": "zoo.ensembling",
    "support_vectors": "zoo.subsets",
    "features": "zoo.backbones",
    "attention": "zoo.attending",
    "attention_picture": "zoo.attending",
    "plot": "zoo.plotting",
    "word_vectors": "zoo.embeddings",
    "nearest": "zoo.embeddings",
    "analogy": "zoo.embeddings",
    "analogies": "zoo.embeddings",
    "similarity": "zoo.embeddings",
    "export_word2vec": "zoo.embeddings",
    "push": "zoo.hub",
    "pull": "zoo.hub.fetching",
    "load": "zoo.hub",
    "convert": "zoo.hub.convert.running",
    "list_models": "zoo.registry",
    "list_tricks": "zoo.registry",
    "list_weights": "zoo.catalogue",
    "info": "zoo.registry",
    "register": "zoo.registry",
    "trick": "zoo.registry",
    "ZooError": "zoo.errors",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name):
    if name not in _PUBLIC:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    module = _PUBLIC[name]
    if module not in _NO_KERAS:
        from zoo.quiet import import_keras

        import_keras()
    value = getattr(importlib.import_module(module), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_PUBLIC})


announce()
