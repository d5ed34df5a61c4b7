"""A revision becomes a verified local folder. Nothing that is pulled is ever executed, and no byte goes unchecked.

What pins the bytes of a folder hub is the revision itself, which is made of the content. In the Hugging Face Hub it is
the commit: the Hub lists a hash for each file of it, and `config.json` one for each file that `zoo.push` wrote.
"""

import contextlib
import shutil
import warnings

from zoo.cache import working
from zoo.errors import IntegrityError, InvalidArgument, StoreError, UnknownName
from zoo.files import locked, make_folder, replace_folder, staged_folder
from zoo.hub import manifest, shelf
from zoo.hub.answers import NoAnswer
from zoo.hub.refs import parse

_SHOWN = 8  # file names in a message


def pulled(ref, quiet=False, check=None):
    """Returns `(folder, pinned reference, Manifest)` of a verified revision; two processes do the work once.

    Args:
        ref, quiet: as for `zoo.pull`.
        check: function of the SHA-256 of the published weight file that raises where it must not be used; called
            before the file is fetched wherever the store lists its hash, and always before anything is kept.

    Raises:
        As `zoo.pull`, and what `check` raises.
    """
    check = check or (lambda sha256: None)
    reference = parse(ref, reading=True)
    store, repo = reference.store, reference.repo
    store.quiet = quiet
    commit = _resolved(store, repo, reference.revision)
    models = make_folder(shelf.models())
    key = f"{store.key(repo)}{commit}"
    found = _kept(store, repo, commit)  # without the lock, so that a cache that cannot be written serves what it has
    if found is None:
        with locked(models / f".{key}.lock"):
            found = _kept(store, repo, commit) or _fetched_or_older(store, repo, commit, models / key, check)
    check(published_hash(found[1], reference.pinned(commit)))
    if store.content_addressed:
        shelf.record_name(store, repo, commit)
    else:
        shelf.remember(store, repo, reference.revision, commit)
    folder, listed = found
    shelf.used(folder)
    return folder, reference.pinned(commit), listed


def published_hash(found, pinned):
    """Returns the SHA-256 of the weight file of a `Manifest` as it was published: of a converted one, the foreign file.

    Args:
        found: the `Manifest`.
        pinned: its pinned reference.
    """
    parent = found.spec.parent or {}
    return parent["sha256"] if parent.get("ref") == pinned else found.files[manifest.WEIGHTS][1]


def kept(ref):
    """Says whether the revision of a pinned reference is here: "verified" once its bytes are, "damaged", or None."""
    reference = parse(ref, reading=True)
    store, repo, commit = reference.store, reference.repo, reference.revision
    if _kept(store, repo, commit):
        return "verified"
    here = shelf.models().glob(f"{store.key(repo)}{commit}*")
    return "damaged" if any(path.is_dir() for path in here) else None


def _resolved(store, repo, revision):
    """Returns the commit that a revision means; without network the one that it meant last, and a warning says so."""
    try:
        return store.resolve(repo, revision)
    except (InvalidArgument, StoreError) as error:
        last = None if store.content_addressed else shelf.remembered(store, repo, revision)
        if last is None:
            raise
        commit, day = last
        here = f"{store.label(repo)}@{commit}"
        if not isinstance(error, NoAnswer):
            raise type(error)(f"{error} What was pulled on {day} is still here, as {here}.") from None
        why = "HF_HUB_OFFLINE is set" if store.offline else "the Hub does not answer"
    warnings.warn(f"{why}: using {here}, pulled on {day}", stacklevel=5)
    return commit


def _fetched_or_older(store, repo, commit, folder, check):
    """Returns what `_fetched` does; without network what an earlier converter made of the commit, and says so."""
    try:
        return _fetched(store, repo, commit, folder, check)
    except NoAnswer:
        older = None if store.content_addressed else _kept(store, repo, commit, outdated=True)
        if older is None:
            raise
    here = f"{store.label(repo)}@{commit[:12]}"
    warnings.warn(f"the Hub does not answer: {here} stays as an earlier zoo converted it", stacklevel=5)
    return older


def _kept(store, repo, commit, outdated=False):
    """Returns `(folder, Manifest)` of a commit that is here, whole and made by the present converter, or None.

    Args:
        outdated: an earlier converter will do.
    """
    pin, card, folder = commit, None, shelf.models() / commit
    if not store.content_addressed:
        record = shelf.recorded(store, repo, commit)
        if record is None or not (outdated or _current(record.get("version"))):
            return None
        pin, card, folder = record["config"], record.get("card"), shelf.models() / record["folder"]
    listed = shelf.verified(folder, pin, card)
    return listed and (folder, listed)


def _current(version):
    """Says whether a converted copy would come out the same today."""
    if version is None:
        return True
    from zoo.hub import convert

    format = version.rpartition("-")[0]
    return format in convert.formats() and convert.version(format) == version


def _fetched(store, repo, commit, folder, check):
    """Fills the cache with a commit; the lock is held. Returns `(folder, Manifest)`."""
    for path in folder.parent.glob(f".{folder.name}*.zoo-tmp"):  # of killed pulls of this commit; others go on
        shutil.rmtree(path, ignore_errors=True)
    where = f"{store.label(repo)}@{commit[:12]}"
    sizes = store.files(repo, commit)
    if store.content_addressed:
        return folder, _from_folder(store, repo, commit, where, sizes, folder, check)
    incoming = make_folder(folder.with_name(f".{folder.name}.incoming"))
    try:
        return _from_hub(store, repo, commit, where, sizes, folder, incoming, check)
    except (IntegrityError, InvalidArgument, StoreError) as error:
        refused = isinstance(error, UnknownName) or (isinstance(error, StoreError) and error.errno is None)
        if not refused:  # by the Hub or the network: what came is kept, and the next pull goes on there
            shutil.rmtree(incoming, ignore_errors=True)
        raise


def _from_folder(store, repo, commit, where, sizes, folder, check):
    """Fills a folder with the files of a folder hub's revision; a damaged folder is replaced as a whole."""
    with staged_folder(folder) as stage:
        target = stage / manifest.CONFIG
        store.fetch(repo, commit, manifest.CONFIG, target, manifest.MAX_CONFIG_BYTES)
        config = target.read_bytes()
        if manifest.revision_of(config) != commit:
            raise IntegrityError(
                f"{manifest.CONFIG} of {where} was changed: its SHA-256 begins {manifest.revision_of(config)[:12]}, "
                "and the revision is made of it. Nothing was kept. Ask whoever published it to push it again, or pull "
                "another revision."
            )
        found = manifest.parse(config, where)
        check(found.files[manifest.WEIGHTS][1])
        extra = sorted(set(sizes) - {manifest.CONFIG, *found.files})
        if extra:
            raise IntegrityError(
                f"{where} holds files that its {manifest.CONFIG} does not list: {', '.join(extra[:6])}. Nothing was "
                "kept. Remove them there if you put them there; otherwise ask whoever published it."
            )
        for name, expected in found.files.items():
            if name in sizes and sizes[name] != expected[0]:
                manifest.check_copy(name, sizes[name], "", expected, where)  # before fetching gigabytes in vain
        for name, expected in found.files.items():
            size, sha256 = store.fetch(repo, commit, name, stage / name, expected[0])
            manifest.check_copy(name, size, sha256, expected, where)
    return found


def _from_hub(store, repo, commit, where, sizes, folder, incoming, check):
    """Fills the cache with a commit of the Hugging Face Hub: one that `zoo.push` wrote, or a foreign checkpoint.

    Args:
        incoming: a folder that may hold a part of it already, and keeps what comes if this breaks off.

    Returns:
        `(folder, Manifest)`.
    """
    from zoo.hub.convert.foreign import parse_json

    config, rows = b"", {}
    if manifest.CONFIG in sizes:
        store.fetch(repo, commit, manifest.CONFIG, incoming / manifest.CONFIG, manifest.MAX_CONFIG_BYTES)
        config = (incoming / manifest.CONFIG).read_bytes()
        rows = parse_json(config, f"{manifest.CONFIG} of {where}")
    if "zoo_version" not in rows:
        return _converted(store, repo, commit, where, sizes, rows, folder, incoming, check)
    found = manifest.parse(config, where)
    check(found.files[manifest.WEIGHTS][1])
    card = _receive(store, repo, commit, where, sizes, found.files, incoming)
    for path in incoming.iterdir():
        if path.name not in (manifest.CONFIG, *found.files):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    shelf.record(store, repo, commit, folder, config, card)
    replace_folder(incoming, folder)
    return folder, found


def _receive(store, repo, commit, where, sizes, listed, incoming):
    """Fetches the files that a manifest lists and compares each. Returns the `(size, sha256)` of an edited card.

    The model card is text for people, which authors go on editing on the Hub's page: it may differ from what was
    pushed, and then the Hub's own hash of it counts. Other files of the repository are nobody's business here.
    """
    missing = [name for name in listed if name not in sizes]
    if missing:
        raise IntegrityError(
            f"{missing[0]} is missing from {where}. Nothing was kept. Pull another revision, or push the model again."
        )
    for name, expected in listed.items():
        if name != manifest.CARD and sizes[name] != expected[0]:
            manifest.check_copy(name, sizes[name], "", expected, where)  # before fetching gigabytes in vain
    edited = None
    for name, expected in sorted(listed.items(), key=lambda item: item[1][0]):
        limit = manifest.MAX_CONFIG_BYTES if name == manifest.CARD else expected[0]
        size, sha256 = store.fetch(repo, commit, name, incoming / name, limit)
        if name == manifest.CARD and (size, sha256) != expected:
            edited = (size, sha256)
        else:
            manifest.check_copy(name, size, sha256, expected, where)
    return edited


def _converted(store, repo, commit, where, sizes, rows, folder, incoming, check):
    """Fetches what a foreign format needs of a commit, and keeps the zoo revision that it becomes."""
    from zoo.hub import convert
    from zoo.hub.convert.foreign import limit
    from zoo.quiet import import_keras

    names = tuple(sizes)
    format = convert.recognise(names, rows)
    if format is None:
        raise _unrecognised(where, names, convert)
    wanted, hashes = convert.wanted(names, rows), store.hashes(repo, commit)
    weights = [hashes[name] for name in wanted if name.endswith((".safetensors", ".h5"))]
    sha256 = weights[0][1] if len(weights) == 1 and weights[0][0] == "sha256" else None
    if sha256:
        check(sha256)
    for name in wanted:
        manifest.check_file_name(name, where)
        store.fetch(repo, commit, name, incoming / name, limit(name))
    version = convert.version(format)
    folder = folder.with_name(f"{folder.name}--{version}")
    import_keras()  # its notices held back: this may be the first that needs it
    with staged_folder(folder) as stage, working(f"converting {where} from {format}", store.quiet):
        convert.converted(format, incoming, stage, source=f"{store.label(repo)}@{commit}", sha256=sha256)
        config = (stage / manifest.CONFIG).read_bytes()
        found = manifest.parse(config, where)
        check(found.spec.parent["sha256"])
    shelf.record(store, repo, commit, folder, config, version=version)
    with contextlib.suppress(OSError):
        shutil.rmtree(incoming)
    return folder, found


def _unrecognised(where, names, convert):
    """Returns the refusal of a repository that is neither zoo's nor in a format that is converted."""
    pickled = sorted(name for name in names if name.endswith(convert.UNSAFE))
    shown = ", ".join(sorted(names)[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    formats = ", ".join(convert.formats())
    unsafe = f" {pickled[0]} can hold code, which is never run, so it is never read." if pickled else ""
    return InvalidArgument(
        f"{where} was not written by `zoo.push` and is in no foreign format that zoo knows ({formats}). It holds: "
        f"{shown or 'nothing'}.{unsafe} Nothing was kept. Of a supported family, pull a repository with "
        "model.safetensors and its config.json."
    )
