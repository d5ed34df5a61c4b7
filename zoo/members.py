"""What an ensemble pools: networks that read data with their own preprocessing, and scikit-learn classifiers."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from zoo.data.preprocessing import encode
from zoo.errors import DataError, InvalidArgument, invalid, nearest
from zoo.inference import assets_of, check_fit, data_for, loaded
from zoo.measuring import log_probabilities, outputs_of
from zoo.plan import heads_of
from zoo.recurrent_state import states_of
from zoo.snapshots import FOLDER, snapshots_of
from zoo.spec import jsonable, spec_of

TREES = ("random_forest", "gradient_boosting")


@dataclass(frozen=True)
class Member:
    """One classifier of an ensemble, and how it reads the ensemble's data.

    Attributes:
        name: what tables call it.
        kind: "network" or "trees".
        of_split: function of "validation" or "test" -> probabilities float64 (n, C), columns in the data's order.
        of_inputs: the same of raw inputs, as `zoo.predict` takes them.
        alike: what it was made from besides its seed, as text; None where that is not known.
    """

    name: str
    kind: str
    of_split: object
    of_inputs: object
    alike: str | None


class Data:
    """The data of an ensemble: read once for each preprocessing that its members ask for.

    Args:
        source: as for `zoo.data.load`; options: of the data set.
        dataset: the same as it would be read for no model in particular.
    """

    def __init__(self, source, options, dataset):
        self.source, self.options, self.dataset = source, options, dataset
        self._read = {}

    def read_by(self, spec, assets):
        """Returns the data set as a model of this spec reads it.

        Raises:
            DataError: it cannot be read so, or its examples would not be the same ones in the same order.
        """
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(assets.items())}
        key = json.dumps([spec.preprocessing, digests, spec.name, spec.arguments], sort_keys=True)
        if key not in self._read:
            found = data_for(self.source, spec, assets, self.options)
            for part in ("validation", "test"):
                own, theirs = (getattr(d, part).labels for d in (self.dataset, found))
                if isinstance(theirs, dict) or not np.array_equal(own, theirs):
                    works = "Pool models that take the data in the same form."
                    wrong = f"{spec.name} does not read the same {part} examples in the same order as the others"
                    raise invalid(wrong, works=works, error=DataError)
            self._read[key] = found
        return self._read[key]


def members_of(sources, data, *, batch_size, seed):
    """Returns a `Member` for each source, see `zoo.ensemble`; a folder of snapshots gives several.

    Raises:
        InvalidArgument, DataError: a source is no classifier, or not of this data.
    """
    found = []
    for number, source in enumerate(sources):
        if isinstance(source, str) and source in TREES:
            found.append(_trees(source, _fitted(source, data.dataset, seed + number), data))
        elif isinstance(source, keras.Model) or not hasattr(source, "predict_proba"):
            found += [_network(*row, data, batch_size) for row in _models(source)]
        else:
            found.append(_trees(type(source).__name__, source, data))
    return [_renamed(member, found[:i]) for i, member in enumerate(found)]


def _renamed(member, before):
    """Returns the member under a name that no member before it has."""
    count = sum(other.name == member.name for other in before)
    return Member(f"{member.name} ({count + 1})", *list(vars(member).values())[1:]) if count else member


# Networks


def _models(source):
    """Returns rows of (name, model, what it was made from) of a model, a reference, a run or a folder of snapshots."""
    if isinstance(source, keras.Model):
        spec = getattr(source, "zoo_spec", None)
        made = None if spec is None else _made_from(spec, spec.recipe, None)
        return [(spec.name if spec else source.name, source, made)]
    folder = getattr(source, "folder", source)
    if not isinstance(folder, (str, Path)):
        works = "Give references, run folders, keras models, or fitted scikit-learn classifiers."
        raise invalid("an ensemble cannot have this as a member", type(source).__name__, works)
    path = Path(folder).expanduser()
    if path.name == FOLDER and snapshots_of(path.parent):
        return [(f"{path.parent.name}/{p.name}", loaded(p), None) for p in snapshots_of(path.parent)]
    try:
        model = loaded(source)
    except InvalidArgument as error:
        close = nearest(source, TREES)
        if isinstance(source, str) and close:
            raise invalid(f"no member named {source!r}", works=f"Did you mean {close!r}?") from error
        raise
    spec, origin = spec_of(model), getattr(model, "zoo_origin", None)
    name = path.name if path.exists() else str(source)
    if path.parent.name == FOLDER and path.exists():
        return [(f"{path.parent.parent.name}/{name}", model, None)]  # snapshots of one run have one seed
    return [(name, model, _record_of(origin.folder if origin else None, spec))]


def _record_of(folder, spec):
    """Returns what a run or a published run was made from."""
    try:
        record = json.loads((folder / "run.json").read_text("utf-8"))
        return _made_from(spec, record["recipe_exact"], record["data"]["fingerprint"])
    except (TypeError, OSError, ValueError, KeyError):
        return _made_from(spec, spec.recipe, None)


def _made_from(spec, recipe, fingerprint):
    return json.dumps([spec.name, jsonable(spec.arguments), recipe, fingerprint], sort_keys=True)


def _network(name, model, made_from, data, batch_size):
    spec = getattr(model, "zoo_spec", None)
    assets = assets_of(model)
    dataset = data.dataset if spec is None or not spec.preprocessing else data.read_by(spec, assets)
    heads = heads_of(model)
    classes = len(data.dataset.labels)
    if len(heads) != 1:
        has = [head.name for head in heads]
        raise invalid(f"{name} has several outputs, and an ensemble pools models of one", has, "Build it without them.")
    if heads[0].kind not in ("softmax", "sigmoid") or len(model.outputs[0].shape) != 2:
        raise invalid(f"{name} is no classifier of whole examples", heads[0].kind, "Leave it out.")
    if states_of(model):
        raise invalid(f"{name} carries state from batch to batch", works="Build it with batch_size=None.")
    if spec is not None:
        check_fit(spec, dataset)
        _check_labels(name, spec.labels, data.dataset)
    if max(heads[0].units, 2) != classes:
        raise invalid(f"{name} has {heads[0].units} outputs", f"{classes} classes in the data", error=DataError)

    def of_batch(x):
        logits = next(iter(outputs_of(model, x).values()))
        if heads[0].kind == "sigmoid" and heads[0].units > 1:  # a yes or no for each class
            yes = np.exp(-np.logaddexp(0.0, -logits))
            return yes / yes.sum(axis=1, keepdims=True)
        return np.exp(log_probabilities(logits))

    def of_split(part):
        split = getattr(dataset, part)
        starts = range(0, len(split), batch_size)
        return np.concatenate([of_batch(split.inputs(np.arange(s, min(s + batch_size, len(split))))) for s in starts])

    def of_inputs(raw):
        return of_batch(encode(dataset.preprocessing, raw, dataset.assets))

    return Member(name, "network", of_split, of_inputs, made_from)


def _check_labels(name, labels, dataset):
    """Refuses a model whose classes are not those of the data, in the same order."""
    if labels is None or tuple(labels) == tuple(dataset.labels):
        return
    same = sorted(map(str, labels)) == sorted(map(str, dataset.labels))
    wrong = f"{name} has the classes {', '.join(map(str, labels))}, and {dataset.name} has "
    wrong += "the same in another order: " if same else ""
    works = "Pool models that were trained on data with the same classes in the same order."
    raise invalid(wrong + ", ".join(map(str, dataset.labels)), works=works, error=DataError)


# Trees


def features_of(dataset, x):
    """Returns inputs as a scikit-learn classifier reads them: float32 (n, F), or for texts counts of words, sparse.

    Raises:
        DataError: the inputs are neither numbers nor one text.
    """
    if dataset.preprocessing["kind"] in ("text", "tokens"):
        from scipy.sparse import csr_matrix

        rows, steps = np.nonzero(x)  # 0 is padding
        shape = len(x), dataset.preprocessing["vocab_size"]
        return csr_matrix((np.ones(len(rows), np.float32), (rows, x[rows, steps])), shape=shape)
    parts = [x[k] for k in sorted(x)] if isinstance(x, dict) else [x]
    if dataset.preprocessing["kind"] != "table" and any(part.dtype.kind != "f" for part in parts):
        works = "Leave scikit-learn members out for this data."
        kind = dataset.preprocessing["kind"]
        raise invalid("trees read numbers, or the words of one text", f"inputs of kind {kind!r}", works, DataError)
    return np.concatenate([part.reshape(len(part), -1).astype(np.float32) for part in parts], axis=1)


def _fitted(name, dataset, seed):
    """Returns a scikit-learn classifier with its usual settings, fitted on the training split."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier

    x, y = dataset.train.arrays()
    x = features_of(dataset, x)
    if name == "random_forest":
        return RandomForestClassifier(random_state=seed, n_jobs=-1).fit(x, y)
    if not isinstance(x, np.ndarray):
        works = "Write 'random_forest', or fit another classifier on counts of words and pass it."
        raise invalid("gradient_boosting does not read counts of words", works=works)
    return HistGradientBoostingClassifier(random_state=seed).fit(x, y)


def _trees(name, model, data):
    dataset = data.dataset
    classes = getattr(model, "classes_", None)
    if classes is None:
        raise invalid(f"{name} is not fitted", works="Fit it first, or give one of the names " + ", ".join(TREES) + ".")
    columns = [_column(name, c, dataset) for c in np.asarray(classes).tolist()]

    def of_batch(x):
        x = features_of(dataset, x)
        wanted = getattr(model, "n_features_in_", x.shape[1])
        if wanted != x.shape[1]:
            works = "Fit it on the flattened training inputs: dataset.train.arrays()[0].reshape(n, -1)."
            raise invalid(f"{name} was fitted on {wanted} numbers an example", x.shape[1], works, DataError)
        found = np.zeros((x.shape[0], len(dataset.labels)))
        found[:, columns] = model.predict_proba(x)
        return found

    def of_inputs(raw):
        return of_batch(encode(dataset.preprocessing, raw, dataset.assets))

    settings = {k: repr(v) for k, v in model.get_params().items()} if hasattr(model, "get_params") else {}
    settings = {k: v for k, v in settings.items() if not k.endswith("random_state")}
    alike = json.dumps([type(model).__name__, settings], sort_keys=True)
    return Member(name, "trees", lambda part: of_batch(getattr(dataset, part).arrays()[0]), of_inputs, alike)


def _column(name, known, dataset):
    """Returns the place among the data's classes of one that a classifier knows, by name or else by number."""
    if known in dataset.labels:
        return dataset.labels.index(known)
    if isinstance(known, (int, float)) and not isinstance(known, bool) and 0 <= known < len(dataset.labels):
        return int(known)
    works = "Fit it on the data's class numbers (dataset.train.labels), or on its class names."
    raise invalid(f"{name} knows a class that {dataset.name} has not", known, works, DataError)
