"""Published weights by name: the entries of all registries, one over the other, listed, searched and looked up.

Entries stay the dicts that JSON gave; a `WeightsRow` is made of one only when somebody looks at it, and what is
searched is laid out once in columns, so that a hundred thousand entries are searched within milliseconds.
"""

import collections.abc
import fnmatch
import functools
import re

from zoo import registries, registry
from zoo.errors import Conflict, invalid, unknown
from zoo.registry import WeightsRow

_SHARED = ("model", "task", "dataset", "license", "format", "summary")
MANY = 2000  # names that a misspelt one is compared with


class Rows(collections.abc.Sequence):
    """Rows of weights in the order of their registries; each `WeightsRow` is made when it is taken out."""

    def __init__(self, catalogue, names):
        self._catalogue = catalogue
        self._names = names

    @property
    def names(self):
        """The names alone, a list."""
        return list(self._names)

    def __len__(self):
        return len(self._names)

    def __getitem__(self, place):
        if isinstance(place, slice):
            return Rows(self._catalogue, self._names[place])
        return self._catalogue.row(self._names[place])

    def __eq__(self, other):
        return list(self) == list(other) if isinstance(other, (Rows, list, tuple)) else NotImplemented

    def __repr__(self):
        return f"[{', '.join(map(repr, self[:8]))}{', ...' if len(self) > 8 else ''}]"

    __hash__ = None


class Catalogue:
    """The entries of some registries.

    Args:
        layers: `zoo.registries.Layer` each, from the one that counts least to the user's own.

    Attributes:
        entries: dict, variant.tag -> what its registries say together.
        clashes: dict, variant.tag -> what two registries disagree about, a sentence.
    """

    def __init__(self, layers):
        self.layers = layers
        self.entries, self.clashes, self._columns = {}, {}, {}
        for layer in layers:
            shared = self.entries.keys() & layer.entries.keys() if self.entries else ()
            laid = {name: self._over(name, layer) for name in shared}
            self.entries = self.entries | layer.entries | laid if self.entries else dict(layer.entries)

    def _over(self, name, layer):
        """Returns an entry with a later registry's laid over it; notes where they contradict each other."""
        before, after = self.entries[name], layer.entries[name]
        differs = _difference(before, after)
        if layer.own:
            self.clashes.pop(name, None)
        elif differs:
            self.clashes[name] = f"{self.whence(name, layer)} and {layer.label} give different {differs} for it"
            return before
        said = {k: v for k, v in after.items() if v not in (None, "", {})}
        mixed = registries.PINS if differs else ()  # pins of other bytes do not mix
        kept = {k: v for k, v in before.items() if k not in mixed}
        return kept | said

    def whence(self, name, before=None, field="ref"):
        """Returns the label of the last registry, of those before another, whose entry of this name says a field."""
        layers = self.layers[: self.layers.index(before)] if before else self.layers
        return next(layer.label for layer in reversed(layers) if layer.entries.get(name, {}).get(field))

    def row(self, name):
        """Returns the `WeightsRow` of an entry."""
        return WeightsRow(name=name, **self.entries[name])

    @functools.cached_property
    def names(self):
        """The name of every entry."""
        return list(self.entries)

    def _column(self, field):
        """Returns what each entry says in one field; equal texts are one object, so comparing them is fast."""
        if field not in self._columns:
            same = {}
            said = (entry.get(field) for entry in self.entries.values())
            self._columns[field] = [same.setdefault(value, value) for value in said]
        return self._columns[field]

    @functools.cached_property
    def _own_texts(self):
        """What can be searched of each entry and is hardly another's, in lower case."""
        return [f"{name}\n{entry['ref']}".lower() for name, entry in self.entries.items()]

    @functools.cached_property
    def _shared_texts(self):
        """What can be searched of each entry and many have in common, in lower case; equal texts are one object."""
        same = {}
        texts = ("\n".join([e.get(field) or "" for field in _SHARED]).lower() for e in self.entries.values())
        return [same.setdefault(text, text) for text in texts]

    @functools.cached_property
    def _accuracies(self):
        return [entry.get("metrics", {}).get("accuracy", -1.0) for entry in self.entries.values()]

    def find(
        self, pattern="*", *, text="", task=None, license=None, dataset=None, max_parameters=None, min_accuracy=None
    ):
        """Returns the `Rows` that match, see `list_weights`."""
        if min_accuracy is not None and not 0 <= min_accuracy <= 1:
            raise invalid("`min_accuracy` is a share of right answers, from 0 to 1", min_accuracy, "Write 0.8 for 80%.")
        names, places = self.names, range(len(self.names))
        wishes = {
            "task": task is not None and (lambda said: said == task),
            "license": license is not None and (lambda said: said.lower() == license.lower()),
            "dataset": dataset is not None and (lambda said: dataset.lower() in said.lower()),
        }
        for field, fitting in wishes.items():
            if fitting:
                column = self._column(field)
                fits = {said for said in set(column) - {None} if fitting(said)}
                places = [i for i in places if column[i] in fits]
        if max_parameters is not None:
            column = self._column("parameters")
            places = [i for i in places if column[i] is not None and column[i] <= max_parameters]
        if min_accuracy is not None:
            column = self._accuracies
            places = [i for i in places if column[i] >= min_accuracy]
        for word in text.lower().split():
            own, shared = self._own_texts, self._shared_texts
            fits = {said for said in set(shared) if word in said}
            places = [i for i in places if shared[i] in fits or word in own[i]]
        found = names if len(places) == len(names) else [names[i] for i in places]
        return Rows(self, _matching(found, pattern))


def _matching(names, pattern):
    """Returns the names that match a glob pattern; what is literal in it is looked for first, as that is fast."""
    if not isinstance(pattern, str):
        raise invalid("the pattern must be a string such as 'resnet*'", pattern)
    start = re.match(r"[^*?\[]*", pattern)[0]
    if start:
        names = [name for name in names if name.startswith(start)]
    rest, special = pattern[len(start) :], set("*?[") & set(pattern[len(start) :])
    if rest == "*":
        return names
    if rest.startswith("*") and special == {"*"}:
        between = max(rest.split("*"), key=len)
        names = [name for name in names if between in name]
        if rest == f"*{between}*" and not start:
            return names
    match = re.compile(fnmatch.translate(pattern)).match
    return [name for name in names if match(name)]


def _difference(before, after):
    """Returns in one word what two entries of one name contradict each other in, or None."""
    if before["ref"] != after["ref"]:
        return "repositories"
    hashes = [entry.get("sha256") for entry in (before, after)]
    if all(hashes):
        return "hashes" if hashes[0] != hashes[1] else None  # the same bytes, whatever else was committed there
    revisions = [entry.get("revision") for entry in (before, after)]
    return "revisions" if all(revisions) and revisions[0] != revisions[1] else None


_made = None  # (what it was made of, the Catalogue): the registries are read again only when one has changed


def catalogue():
    """Returns the `Catalogue` of all registries, see `zoo.registries`.

    Raises:
        InvalidArgument, UnknownName: a registry is not one; the message names the file and what is wrong in it.
    """
    global _made
    found = registry.index()
    layers = registries.layers(found["weights"])
    key = (found, *layers)
    if _made is None or len(key) != len(_made[0]) or any(a is not b for a, b in zip(key, _made[0], strict=True)):
        _made = key, Catalogue(layers)
    return _made[1]


def list_weights(
    pattern="*", *, task=None, text="", license=None, dataset=None, max_parameters=None, min_accuracy=None
):
    """Returns the `WeightsRow` of every published checkpoint that matches all that is given.

    Args:
        pattern: glob pattern of names, such as "resnet50.*".
        task: such as "image_classification".
        text: words; each must be somewhere in the name, model, task, data set, licence, format, reference or summary.
        license: such as "apache-2.0".
        dataset: what its published figures were measured on, or a part of the name.
        max_parameters: the most weights that it may have.
        min_accuracy: the least published accuracy, from 0 to 1; what publishes none is left out.

    Returns:
        A sequence of rows; the registries are the built-in one, those that `ZOO_REGISTRY` names, and the user's own.

    Raises:
        UnknownName: no entry has that task at all.
        InvalidArgument: a value is of the wrong kind, or a registry is damaged.
    """
    wanted = {"license": license, "dataset": dataset, "max_parameters": max_parameters, "min_accuracy": min_accuracy}
    every = catalogue()
    found = every.find(pattern, text=text, task=task, **wanted)
    if task is not None and not found:
        tasks = {entry["task"] for entry in every.entries.values()}
        if tasks and task not in tasks:
            raise unknown("task", task, tasks)
    return found


def near(name, names):
    """Returns names to look for the nearest in: all, or of very many those that begin alike, as comparing is slow."""
    for length in range(len(str(name)) if len(names) > MANY else 0, 0, -1):
        alike = [known for known in names if known.startswith(str(name)[:length])]
        if alike:
            return alike[:MANY]
    return list(names)[:MANY]


def find_weights(name):
    """Returns the `WeightsRow` named variant.tag.

    Raises:
        UnknownName: there is none; with the nearest name.
        Conflict: two registries mean different bytes by it.
    """
    every = catalogue()
    if name not in every.entries:
        known = near(name, every.entries)
        raise unknown("weights", name, known, see=registry.see("list_weights", name, known))
    if name in every.clashes:
        raise Conflict(
            f"it is not clear what the weights {name!r} are: {every.clashes[name]}. Say which you mean with "
            f"`zoo registry add {name} REF --replace`, which writes it to your own registry, {registries.own_path()}."
        )
    return every.row(name)
