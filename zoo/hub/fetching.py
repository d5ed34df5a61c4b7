"""Pulling: a revision becomes a verified local folder, and that a model. Nothing pulled is ever executed."""

import contextlib
import warnings
from dataclasses import dataclass
from pathlib import Path

from zoo.catalogue import find_weights
from zoo.entries import NAME
from zoo.errors import IntegrityError, InvalidArgument, StoreError, invalid
from zoo.files import disk, sha256_of
from zoo.hub import manifest
from zoo.hub.pinning import checkpoint_of
from zoo.hub.pulling import pulled
from zoo.hub.refs import is_keras_file, looks_like_path
from zoo.hub.sources import BEST, is_run_folder, run_spec
from zoo.image_size import with_image_size
from zoo.registry import find_model


@dataclass(frozen=True)
class Checkpoint:
    """Verified weights on this machine, and what they are.

    Attributes:
        ref: the pinned reference, or the path of a run.
        folder: the local folder with every file.
        weights: path of the weight file.
        spec: the `Spec` of the model they belong to.
        sha256: of the weight file.
    """

    ref: str
    folder: Path
    weights: Path
    spec: object
    sha256: str

    def assets(self):
        """Returns dict, file name -> bytes, of the side files that the preprocessing needs."""
        with disk(self.folder, "read"):
            return {name: (self.folder / name).read_bytes() for name in manifest.asset_names(self.spec)}

    def parent(self):
        """Returns what a model fine-tuned from these weights records as its `Spec.parent`; of a path only the name."""
        ref = Path(self.ref).name if looks_like_path(self.ref) else self.ref
        source = self.spec.parent or {}
        converted = source.get("ref") == ref  # then the hash that counts is that of the weights that are there
        return {"ref": ref, "sha256": source["sha256"] if converted else self.sha256}

    @property
    def license(self):
        """The identifier of the weights' licence that the model card names, or None."""
        from zoo.hub.convert.foreign import license_in

        return license_in(self.folder)


def pull(ref, *, quiet=False):
    """Brings a revision onto this machine and verifies it.

    Every file's size and SHA-256 is compared with `config.json`, and `config.json` with the revision, before anything
    is read further; a copy that is here already is verified again, and fetched again where it was damaged. A repository
    of another library on the Hugging Face Hub is converted, see `zoo.convert`. A transfer that broke off, even by a
    kill, goes on where it stopped. Without network what was pulled before is used, and a warning says so.

    Args:
        ref: "owner/name", "owner/name@revision", "hf://owner/name", or a folder, see `zoo.hub.refs`.
        quiet: show no progress; none is shown either where nobody watches.

    Returns:
        `Path` of the folder, under the cache folder (`ZOO_CACHE`).

    Raises:
        UnknownName: the repository or the revision does not exist; the message gives the nearest.
        InvalidArgument: the repository holds nothing that zoo can read safely.
        IntegrityError: the stored bytes are not what was published; nothing of them is kept.
        StoreError: the store cannot be read or refuses, or the cache cannot be written.
    """
    return pulled(ref, quiet)[0]


def local(ref):
    """Returns the verified local folder of a reference, or the folder of a run; its side files lie in it."""
    return checkpoint(ref).folder


def checkpoint(ref, check=None):
    """Returns the `Checkpoint` of a reference, of a `zoo.Run`, or of the folder of a run.

    Args:
        ref: one of these.
        check: of the published weight file, see `zoo.hub.pulling.pulled`.

    Raises:
        As `pull`, and:
        InvalidArgument: the run has no weights yet.
    """
    folder = getattr(ref, "folder", None) or ref
    if isinstance(folder, (str, Path)) and is_run_folder(Path(folder).expanduser()):
        folder = Path(folder).expanduser()
        return Checkpoint(str(folder), folder, folder / BEST, run_spec(folder), sha256_of(folder / BEST))
    folder, pinned, found = pulled(ref, check=check)
    return Checkpoint(pinned, folder, folder / manifest.WEIGHTS, found.spec, found.files[manifest.WEIGHTS][1])


def load(ref, *, num_classes=None, image_size=None, **arguments):
    """Builds the model of a reference and fills it with its verified weights.

    Args:
        ref: a reference as for `pull`, the name of registered weights ("resnet20.cifar10"), a `zoo.Run` or the folder
            of one, or a `.keras` file (which is read with Keras's safe mode on).
        num_classes: another number of classes than the checkpoint's: the head is new, everything else is loaded, and
            a warning says which weights were not.
        image_size: pixels, one number or (height, width): `image_shape` with the checkpoint's channels.
        **arguments: other arguments of the builder to change, such as `drop_rate`; `include_top=False` leaves the
            head out. What another `image_shape` resizes, such as the position embeddings of a vision transformer, a
            warning names.

    Returns:
        An uncompiled plain `keras.Model` with its `Spec` in `zoo_spec` (labels, preprocessing) and its `Checkpoint` in
        `zoo_origin`; for a `.keras` file, the model that was saved.

    Raises:
        As `pull`, and:
        InvalidArgument: the weights do not fit the model, or this zoo has no such builder.
    """
    if num_classes is not None:
        arguments["num_classes"] = num_classes
    if isinstance(ref, (str, Path)) and is_keras_file(str(ref)):
        return _load_keras(Path(ref).expanduser(), arguments | ({"image_size": image_size} if image_size else {}))
    return _filled(resolve_weights(None, ref), arguments, image_size)


def load_into(name, weights, arguments, image_size=None):
    """Returns a model as `load` does, after checking that the weights are those of variant `name`; for `zoo.build`."""
    return _filled(resolve_weights(name, weights), arguments, image_size)


def resolve_weights(name, weights):
    """Returns the verified `Checkpoint` that `zoo.build(name, weights=weights)` means.

    Args:
        name: of a model; its variant must be the checkpoint's. None accepts any.
        weights: "variant.tag" of the registry, or anything `load` takes.

    Raises:
        UnknownName: no such weights.
        InvalidArgument: they are of another model.
        IntegrityError, StoreError: as `pull`.
    """
    if isinstance(weights, str) and NAME.fullmatch(weights) and not looks_like_path(weights):
        row = find_weights(weights)
        _same_variant(name, row.model, weights)  # before anything is fetched
        return checkpoint_of(row)
    found = checkpoint(weights)
    _same_variant(name, found.spec.name, weights)
    return found


def _same_variant(name, found, weights):
    if name is None:
        return
    variant = find_model(name).name
    if variant != found:
        raise invalid(
            f"the weights are those of model {found!r}, not of {variant!r}",
            str(weights),
            f"Write zoo.build({found!r}, weights=...), or see zoo.list_weights('{variant}*').",
        )


def _filled(found, changes, image_size=None):
    """Builds the model of a checkpoint, some of its arguments changed, and loads its weights."""
    from zoo.factory import build_empty, build_plain
    from zoo.registry import builder_of
    from zoo.spec import attach, jsonable
    from zoo.weights import first_values, head_layers

    spec = found.spec
    changes = with_image_size(spec.name, changes, image_size, spec.arguments)
    arguments = {**spec.arguments, **jsonable(changes)}
    headed = [given.get("include_top", True) for given in (spec.arguments, arguments)]
    headless = headed == [True, False]
    other_head = headed[0] != headed[1] or arguments.get("num_classes") != spec.arguments.get("num_classes")
    with _built_here(found, changes):
        builder, _ = builder_of(spec.name)
    # A recurrent state is made with its value, and a head of somebody else's builder may be.
    later = not arguments.get("batch_size") and not (other_head and not builder.module.startswith("zoo.models."))
    with first_values(found.weights, later=later, verify=found.weights.name == BEST) as fill:
        with _built_here(found, changes):
            model = build_plain(spec.name, arguments)
            fewer = bool(spec.heads) and len(model.zoo_spec.heads or (0,)) < len(spec.heads)
            whole = build_empty(spec.name, **spec.arguments) if headless or fewer else None
            old_head = head_layers(whole) if headless else []
            old_head += _gone(whole, model) if fewer else []
        report = fill(
            model,
            ignore_head=other_head and not headless,
            old_head=[layer.path for layer in old_head],
            adapted=builder.adapted and builder.adapted(spec.arguments, model.zoo_spec.arguments),
        )
    if report.not_loaded or report.adapted:
        warnings.warn(f"{found.ref}: {report.describe()}", stacklevel=3)
    model.zoo_origin = found
    built, declared = model.zoo_spec.arguments, spec.preprocessing
    if built.get("image_shape") != spec.arguments.get("image_shape") and "image_shape" in (declared or {}):
        declared = declared | {"image_shape": built["image_shape"]}
    labels = None if other_head else spec.labels
    if fewer and isinstance(labels, dict):
        names = [name for name in spec.heads if any(layer.name == name for layer in model.layers)]
        labels = labels[names[0]] if len(names) == 1 else {name: labels[name] for name in names}
    changed = {"heads": model.zoo_spec.heads} if fewer else {}
    return attach(model, spec.but(arguments=built, labels=labels, preprocessing=declared, **changed))


def _gone(whole, model):
    """Returns the layers of a whole model that a smaller one, such as one without an auxiliary head, does not have."""
    kept = {layer.path for layer in model.layers}
    return [layer for layer in whole.layers if layer.path not in kept and layer.weights]


@contextlib.contextmanager
def _built_here(found, changes):
    """Words what fails in this block as the checkpoint's fault, where nobody changed its arguments."""
    try:
        yield
    except InvalidArgument as error:
        if changes:
            raise
        raise invalid(
            f"{found.ref} cannot be built here: {error}", works="Install the zoo that wrote it, or a newer one."
        ) from error


def _load_keras(path, arguments):
    if arguments:
        raise invalid("a .keras file is loaded as it was saved", sorted(arguments), "Load it without arguments.")
    if not path.is_file():
        raise StoreError(f"could not read {path}. There is no such file. Check the path.")
    import keras

    import zoo.compiled  # noqa: F401  registers the class that zoo.build compiles

    try:
        return keras.saving.load_model(path, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError) as error:
        raise IntegrityError(
            f"{path} could not be read as a Keras model, or holds code, which is not run: {str(error)[:300]}"
        ) from error
