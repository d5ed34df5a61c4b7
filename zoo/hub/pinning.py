"""Weights by name: what a registry's entry says is what is pulled, the same bytes on every machine and in every year.

An entry that nobody has pinned yet is pinned by its first pull: what came must be of the architecture that the entry
gives, and its commit and hashes are written to the user's own registry, which later pulls obey.
"""

import dataclasses
import re
import warnings

from zoo import registries
from zoo.catalogue import catalogue, find_weights
from zoo.entries import NAME, REVISION
from zoo.errors import IntegrityError, StoreError, ZooError, invalid
from zoo.files import disk
from zoo.hub import manifest
from zoo.hub.pulling import kept, published_hash
from zoo.registry import WeightsRow, find_model
from zoo.spec import jsonable

_LICENSE = re.compile(r"^license: (\S+)$", re.MULTILINE)


def checkpoint_of(row):
    """Returns the verified `Checkpoint` of a `WeightsRow`; pins the entry where it is not pinned yet, and says so.

    Raises:
        IntegrityError: what came is not what the entry says: other bytes, of which nothing is kept, or another
            architecture.
        As `zoo.pull` besides.
    """
    from zoo.hub.fetching import checkpoint

    def check(sha256):
        if row.sha256 and sha256 != row.sha256:
            whence = catalogue().whence(row.name, field="sha256")
            raise IntegrityError(
                f"the weight file of {row.name!r} has the SHA-256 {sha256}, and {whence} says "
                f"{row.sha256}. Nothing of it was kept. Ask whoever keeps that registry which is right; "
                f"`zoo registry add {row.name} REF --replace` writes your own choice."
            )

    found = checkpoint(row.reference, check)
    _check_architecture(row, found)
    if not row.pinned:
        warnings.warn(_pinned(row, pins_of(found)), stacklevel=4)
    return found


def _pinned(row, pins):
    """Writes the pins of a first pull to the user's own registry. Returns the sentence that says so."""
    what = f"commit {pins['revision'][:12]} and SHA-256 {pins['sha256'][:12]}"
    try:
        path = registries.write_own(row.name, said_of(row) | pins, pins=True)
    except StoreError as error:  # what came is sound, and a home that cannot be written is no reason to go without
        return f"{row.name} is not pinned, and {what}, which came, could not be recorded: {error}"
    return f"{row.name} was not pinned yet. Now it is, to {what}, in {path}; later pulls must match."


def said_of(row):
    """Returns the fields of a row that say something, as an entry of a registry."""
    fields = dataclasses.asdict(row)
    return {k: v for k, v in fields.items() if k != "name" and v not in (None, "", {}, ())}


def pins_of(found):
    """Returns what pins a pulled `Checkpoint`: its commit, and the hash of the weight file as it was published.

    A converted checkpoint is pinned by the foreign file, as a later version of the converter may write other bytes.

    Raises:
        InvalidArgument: it comes from the folder of a run, which no commit pins.
    """
    commit = found.ref.rpartition("@")[2]
    if not REVISION.fullmatch(commit):
        raise invalid("only what was published can be pinned", found.ref, "Push it first, then add what push printed.")
    return {"revision": commit, "sha256": published_hash(_manifest(found), found.ref)}


def _manifest(found):
    with disk(found.folder, "read"):
        return manifest.parse((found.folder / manifest.CONFIG).read_bytes(), found.ref)


def format_of(found):
    """Returns the format that a checkpoint was converted from, or "zoo"."""
    converted = (found.spec.parent or {}).get("ref") == found.ref
    return found.folder.name.rpartition("--")[2].rpartition("-")[0] if converted else "zoo"


def _check_architecture(row, found):
    """Raises where a checkpoint is not of the network that its entry describes."""
    spec, differs = found.spec, []
    if find_model(row.model).name != spec.name:
        differs.append(f"model {spec.name!r}, not {row.model!r}")
    for name, value in jsonable(row.arguments).items():
        if spec.arguments.get(name) != value:
            differs.append(f"{name}={spec.arguments.get(name)!r}, not {value!r}")
    parameters = _manifest(found).parameters
    if row.parameters is not None and parameters != row.parameters:
        differs.append(f"{parameters:,} parameters, not {row.parameters:,}")
    if differs:
        raise IntegrityError(
            f"{found.ref} is not what the registry says of {row.name!r}: it has {'; '.join(differs)}. It was not used "
            "and nothing was recorded. The repository may have been replaced: ask whoever keeps the registry, or load "
            f"{found.ref!r} itself if you trust it."
        )


# The user's own entries


def add(name, ref, *, license=None, summary=None, metrics=None, dataset=None, source=None, replace=False):
    """Pulls and verifies a checkpoint and writes it, pinned, into the user's own registry.

    Args:
        name: variant.tag; the variant's name must begin with that of the checkpoint's model.
        ref: as for `zoo.pull`; without a revision the newest.
        license: of the weights; by default what their model card says.
        summary: one line.
        metrics, dataset, source: published figures, name -> number, what they were measured on, where they stand.
        replace: whether another entry of this name may be replaced.

    Returns:
        `(WeightsRow, path of the registry)`.

    Raises:
        InvalidArgument: the name is not variant.tag, or does not fit the model.
        Conflict: there is another entry of this name.
        As `zoo.pull` besides.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise invalid("weights are named variant.tag", name, "For example resnet50.flowers.")
    from zoo.hub.fetching import checkpoint

    found = checkpoint(ref)
    model = found.spec.name
    if not (name.startswith(f"{model}.") or name.startswith(f"{model}_")):
        raise invalid(f"weights of model {model!r} have a name that begins so", name, f"For example {model}.mine.")
    pins = pins_of(found)
    row = WeightsRow(
        name=name,
        model=model,
        task=found.spec.task,
        ref=found.ref.rpartition("@")[0],
        format=format_of(found),
        arguments=telling(found.spec),
        parameters=_manifest(found).parameters,
        license=license or _card_license(found),
        summary=summary or "",
        metrics=dict(metrics or {}),
        dataset=dataset,
        source=source,
        **pins,
    )
    return row, registries.write_own(name, said_of(row), replace=replace)


def telling(spec):
    """Returns the arguments in which a checkpoint differs from its variant's defaults, and its number of classes."""
    usual = find_model(spec.name).arguments
    given = {k: v for k, v in spec.arguments.items() if usual.get(k) != v}
    return given | {k: spec.arguments[k] for k in ("num_classes",) if k in spec.arguments}


def _card_license(found):
    """Returns the licence that a checkpoint's card states in its head, or None."""
    path = found.folder / manifest.CARD
    head = path.read_text("utf-8", "replace").partition("\n---")[0] if path.is_file() else ""
    stated = _LICENSE.search(head)
    return stated[1].strip("\"'") if stated else None


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the check of one entry found.

    Attributes:
        state: "verified", "not here" (pinned, and not in the cache), "not pinned", "pinned" (by this check), or
            "wrong".
        detail: of what is wrong, a sentence.
    """

    name: str
    state: str
    detail: str = ""


def verify(pattern="*", *, pull=False):
    """Checks entries of the registries: that they agree, and that the bytes here are what they say.

    Args:
        pattern: glob pattern of names.
        pull: whether to fetch what is not in the cache; otherwise only what is there is hashed.

    Yields:
        A `Verdict` for each entry, as soon as it is known.
    """
    for name in catalogue().find(pattern).names:
        try:
            yield Verdict(name, _state(find_weights(name), pull))
        except ZooError as error:
            yield Verdict(name, "wrong", str(error))


def _state(row, pull):
    here = kept(row.reference) if row.pinned else None
    if here == "damaged" and not pull:
        raise IntegrityError(f"the copy of {row.reference} in the cache is damaged. Pull it again: it will be fetched.")
    if here or pull:
        with warnings.catch_warnings():
            warnings.simplefilter("default" if row.pinned else "ignore")  # the state says that it was pinned
            checkpoint_of(row)
        return "verified" if row.pinned else "pinned"
    return "not here" if row.pinned else "not pinned"
