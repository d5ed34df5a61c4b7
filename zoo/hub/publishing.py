"""Pushing: a model or a run becomes one revision in a store."""

import contextlib
import hashlib
import json
import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import IntegrityError, invalid
from zoo.files import check_writable, disk, sha256_of
from zoo.hub import manifest
from zoo.hub.card import card, check_license
from zoo.hub.refs import parse
from zoo.hub.sources import is_run_folder, run_files
from zoo.hub.store import FlatStore
from zoo.spec import spec_of


@dataclass(frozen=True)
class Revision:
    """What a push published.

    Attributes:
        ref: the pinned reference, "owner/name@id".
        id: 40 hex digits, made of the content.
        created: False when the same content was there already.
        path: its folder in a folder hub.
    """

    ref: str
    id: str
    created: bool
    path: Path

    def __str__(self):
        return self.ref


def push(model_or_run, target, *, labels=None, license=None, message=None, assets=None):
    """Publishes a model, or a run with its record, as one revision.

    Args:
        model_or_run: a `keras.Model` that zoo built, a `zoo.Run`, or the folder of one. Weights are published, never
            code.
        target: "owner/name" in the hub that ZOO_HUB names, or a folder such as "./models/name".
        labels: class names in logit order; None keeps those the model has.
        license: identifier of the weights' licence, such as "apache-2.0"; without one the card says so.
        message: one line for the history.
        assets: dict, file name -> path or bytes, of the side files that the preprocessing names; a run, and a model
            that `zoo.load` returned, bring their own.

    Returns:
        `Revision`. The same content pushed again gives the same one, with `created` False.

    Raises:
        InvalidArgument: the target, the labels or the license cannot be, or the model is not what its builder makes.
        IntegrityError: the weight file of the run is damaged.
        StoreError: the disk does not allow it; what was published before is unchanged.
    """
    reference = parse(target)
    if reference.revision:
        raise invalid("a push makes a new revision, so its target has none", str(target), "Leave out '@...'.")
    if isinstance(reference.store, FlatStore):
        reference.store.publish(reference.repo, {})
    license = check_license(license)
    check_writable(reference.store.place(reference.repo))
    with contextlib.ExitStack() as stack:
        with disk(tempfile.gettempdir(), kept="Nothing was pushed."):
            own = stack.enter_context(tempfile.TemporaryDirectory(prefix="zoo-push-"))
        spec, files = _gather(model_or_run, Path(own), assets or {})
        parameters, outputs = _counted(spec, files[manifest.WEIGHTS])
        labels = manifest.check_labels(labels, outputs)
        spec = spec.but(labels=labels) if labels else spec
        _check_assets(spec, files)
        record = _record(files)
        named = not reference.store.prefix
        text = card(
            spec,
            title=reference.repo,
            reference=reference.repo if named else f"./{reference.repo}",
            parameters=parameters,
            license=license,
            record=record,
            picture=next((name for name in files if name.endswith(".png")), None),
        )
        files[manifest.CARD] = text.encode("utf-8")
        listed = {name: _measured(source) for name, source in sorted(files.items())}
        config = manifest.Manifest(spec, parameters, listed).to_bytes()
        manifest.parse(config, str(reference))  # what is pushed can be pulled
        commit, created = reference.store.publish(reference.repo, {manifest.CONFIG: config, **files}, message)
    path = reference.store.place(reference.repo) / "revisions" / commit
    return Revision(reference.pinned(commit), commit, created, path)


def _gather(model_or_run, own, assets):
    """Returns `(spec, files)` of what is pushed; files: name -> path or bytes. `own` is an empty folder to write in."""
    if hasattr(model_or_run, "publishable"):
        files = dict(model_or_run.publishable())
        spec = model_or_run.spec
    elif isinstance(model_or_run, (str, Path)):
        folder = Path(model_or_run).expanduser()
        if not is_run_folder(folder):
            raise invalid("only a model or the folder of a run can be pushed", str(folder), _PUSHABLE)
        spec, files = run_files(folder)
    elif getattr(model_or_run, "outputs", None):
        spec, files = spec_of(model_or_run), {manifest.WEIGHTS: own / manifest.WEIGHTS}
        _save(model_or_run, spec, files[manifest.WEIGHTS])
        origin = getattr(model_or_run, "zoo_origin", None)
        files |= {name: origin.folder / name for name in manifest.asset_names(spec) if origin}
    else:
        raise invalid("only a model or a run can be pushed", type(model_or_run).__name__, _PUSHABLE)
    for name in assets:
        manifest.check_file_name(name, "`assets`")
    return spec, {**files, **assets}


_PUSHABLE = "Pass a model from `zoo.build` or `zoo.load`, a `zoo.Run`, or the folder that `zoo.train` wrote."


def _save(model, spec, path):
    """Saves a model's weights once they are known to fit what its builder makes, so that they can be loaded again."""
    from zoo.compiled import plain
    from zoo.factory import build_empty
    from zoo.weights import save_weights

    model = plain(model)
    mine = {w.path: tuple(w.shape) for w in model.weights}
    built = {w.path: tuple(w.shape) for w in build_empty(spec.name, **spec.arguments).weights}
    if mine != built:
        odd = sorted(name for name in {*mine, *built} if mine.get(name) != built.get(name))
        raise invalid(
            f"model {model.name!r} is not what builder {spec.name!r} makes with its arguments: {', '.join(odd[:6])} "
            f"differ{'s' if len(odd) == 1 else ''}",
            works="It could not be loaded again. Change the model through arguments of `zoo.build`, or register a "
            "builder of your own with `zoo.register`.",
        )
    save_weights(model, path)


def _counted(spec, weights):
    """Returns `(number of weights, number of outputs or None)`, from the header of the weight file."""
    from zoo.weights import header

    outputs = None if spec.heads else spec.arguments.get("num_classes")
    return sum(math.prod(shape) for _, shape in header(weights).values()), outputs


def _check_assets(spec, files):
    for name in manifest.asset_names(spec):
        if name not in files:
            raise invalid(
                f"the preprocessing of model {spec.name!r} needs the file {name!r}, and it is not there",
                works=f"Pass assets={{{name!r}: path}}.",
            )


def _record(files):
    if manifest.RUN not in files:
        return None
    source = files[manifest.RUN]
    try:
        with disk(source, "read"):
            record = json.loads(source if isinstance(source, bytes) else Path(source).read_bytes())
    except ValueError as error:
        raise IntegrityError(
            f"{source} is not valid JSON ({error}). Nothing was pushed. Train again, or push the model alone."
        ) from error
    return record if isinstance(record, dict) else None


def _measured(source):
    """Returns `(size, sha256)` of a file to publish."""
    if isinstance(source, bytes):
        return len(source), hashlib.sha256(source).hexdigest()
    with disk(source, "read"):
        return Path(source).stat().st_size, sha256_of(source)
