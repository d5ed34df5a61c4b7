"""Pushing: a model or a run becomes one revision in a store, and everybody can see before what will be sent."""

import contextlib
import re
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import InvalidArgument, StoreError, invalid, unknown
from zoo.files import check_writable, disk
from zoo.hub import manifest
from zoo.hub.card import card
from zoo.hub.changes import changes, measured
from zoo.hub.licenses import binding, chosen
from zoo.hub.refs import Reference, parse
from zoo.hub.sources import CURVES, check_assets, counted, gather, parent_license, record_in
from zoo.hub.store import FlatStore
from zoo.hub.timm_format import check_family, timm_files

FORMATS = ("zoo", "timm")
_REF = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._/+-]{0,190}[A-Za-z0-9_+-])?")


@dataclass(frozen=True)
class Revision:
    """What a push published.

    Attributes:
        ref: the pinned reference, "owner/name@id" or "hf://owner/name@id".
        id: 40 hex digits: in a folder hub made of the content, on the Hugging Face Hub the commit.
        created: False when the same content was there already.
        path: its folder in a folder hub, None elsewhere.
        url: its page on the Hugging Face Hub, None elsewhere.
    """

    ref: str
    id: str
    created: bool
    path: Path | None
    url: str | None = None

    def __str__(self):
        return self.ref


def push(
    model_or_run,
    target,
    *,
    labels=None,
    license=None,
    message=None,
    assets=None,
    private=None,
    revision=None,
    tag=None,
    dry_run=False,
    format="zoo",
    quiet=False,
):
    """Publishes a model, or a run with its record, as one revision: one commit of all files, or none at all.

    Args:
        model_or_run: a `keras.Model` that zoo built, a `zoo.Run`, or the folder of one. Weights are published, never
            code.
        target: "hf://owner/name" on the Hugging Face Hub, "owner/name" in the hub that ZOO_HUB names, or a folder
            such as "./models/name". A repository that does not exist is made.
        labels: class names in logit order; None keeps those the model has.
        license: of the weights: an identifier, such as "apache-2.0", or {"name": ..., "link": ...} for one of your
            own. The Hugging Face Hub needs one; elsewhere the card says where nobody chose.
        message: one line for the history.
        assets: dict, file name -> path or bytes, of the side files that the preprocessing names; a run, and a model
            that `zoo.load` returned, bring their own.
        private: whether a repository that is made is closed to others; None leaves it to the account's settings.
        revision: branch to push to; made where it does not exist. None pushes to the main one.
        tag: name that the new revision gets for good.
        dry_run: only says what would be sent; nothing is written, and no repository made.
        format: "zoo", or "timm" for a residual network or vision transformer that timm then loads.
        quiet: prints nothing; nothing is printed anyway where nobody watches.

    Returns:
        `Revision`. The same content pushed again gives the same one, with `created` False. With `dry_run` the
        `zoo.hub.changes.Changes` that a push would make.

    Raises:
        InvalidArgument: the target, the labels or the license cannot be, the store cannot do what was asked, or the
            model is not what its builder makes.
        UnknownName: the Hub has no such licence, or zoo no such format.
        IntegrityError: the weight file of the run is damaged.
        StoreError: the disk or the Hub does not allow it; what was published before is unchanged.
    """
    reference = _target(target)
    store, repo, public = reference.store, reference.repo, not reference.store.content_addressed
    _check_options(store, repo, public, private=private, revision=revision, tag=tag, format=format)
    license = _license(license, public, model_or_run, assets or {})
    if public:
        _check_account(store, repo, dry_run)
    elif not dry_run:
        check_writable(store.place(repo))
    with contextlib.ExitStack() as stack:
        with disk(tempfile.gettempdir(), kept="Nothing was pushed."):
            own = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zoo-push-")))
        spec, files = gather(model_or_run, own, assets or {})
        if format == "timm":
            check_family(spec)
        files = _complete(spec, files, own, reference, labels=labels, license=license, format=format)
        found = changes(store, repo, revision, files)
        _show(found, quiet)
        if dry_run:
            return found
        with _going_on(found), _bars(public, quiet):
            options = {"private": private, "branch": revision, "tag": tag}
            commit, created = store.publish(
                repo, files, message, **{name: value for name, value in options.items() if value is not None}
            )
    path = None if public else store.place(repo) / "revisions" / commit
    return Revision(reference.pinned(commit), commit, created, path, _page(store, repo, commit) if public else None)


def _target(target):
    """Returns the `Reference` of what is pushed to, which has no revision."""
    reference = target if isinstance(target, Reference) else parse(target)
    if reference.revision:
        works = f"Leave out '@{reference.revision}'; a branch is named by revision= (--revision)."
        raise invalid("a push makes a new revision, so its target has none", str(target), works)
    if isinstance(reference.store, FlatStore):
        reference.store.publish(reference.repo, {})  # words why not
    return reference


def _check_options(store, repo, public, *, private, revision, tag, format):
    """Refuses, before any work, what the store cannot do."""
    if format not in FORMATS:
        raise unknown("format to push in", format, FORMATS)
    if private not in (None, True, False):
        raise invalid("`private` must be True, False or None", private)
    if public:
        for name, value in (("revision", revision), ("tag", tag)):
            if value is not None and not _legal_ref(value):
                works = "Write letters, digits, '.', '_', '-' and '/', as in v1.0 or trials/small."
                raise invalid(f"`{name}` is not a legal name of a {'tag' if name == 'tag' else 'branch'}", value, works)
        return
    store.check_asked(repo, private, revision, tag)
    if format == "timm":
        works = "Push to hf://owner/name."
        raise invalid("timm loads from the Hugging Face Hub, and a folder hub holds zoo's format alone", format, works)


def _check_account(store, repo, dry_run):
    """Refuses, before any work, a push that the Hugging Face Hub would refuse, as far as reading tells."""
    from huggingface_hub import get_token

    if not dry_run and get_token() is None:
        raise StoreError(
            f"nobody is logged in to the Hugging Face Hub, so {store.label(repo)} cannot be pushed to. Set HF_TOKEN to "
            "a token with write access, or log in with `hf auth login`. Nothing was pushed."
        )
    store.head(repo)


def _page(store, repo, commit):
    """Returns the address of a commit's page on the Hub, or on the mirror that HF_ENDPOINT names."""
    from huggingface_hub import constants

    return f"{store.endpoint or constants.ENDPOINT}/{repo}/tree/{commit}"


def _legal_ref(name):
    """Says whether git and the Hub take a name for a branch or tag, and nobody takes it for a commit."""
    return (
        isinstance(name, str)
        and _REF.fullmatch(name) is not None
        and not re.search(r"\.\.|//|/\.|\.lock(/|$)", name)
        and not re.fullmatch(r"[0-9a-f]{7,40}", name)
    )


def _license(license, public, model_or_run, assets):
    """Returns the `License` that was chosen; where the parent's is known, it is named if none or another was."""
    parent, theirs = parent_license(model_or_run) if public else (None, None)
    found = chosen(license, public=public, files=assets, hint=binding(parent, theirs))
    if theirs and found.id != theirs:
        warnings.warn(f"You chose the licence {str(found)!r}. {binding(parent, theirs)}", stacklevel=3)
    return found


def _complete(spec, files, own, reference, *, labels, license, format):
    """Returns all files of a revision, name -> path or bytes: those gathered, card and `config.json`."""
    weights = files[manifest.WEIGHTS]
    parameters, outputs = counted(spec, weights)
    labels = manifest.check_labels(labels, outputs)
    spec = spec.but(labels=labels) if labels else spec
    check_assets(spec, files)
    record = record_in(files)
    repo, store = reference.repo, reference.store
    named = not store.content_addressed or not store.prefix or "://" in store.prefix
    text = {
        "title": repo,
        "reference": store.label(repo) if named else f"./{repo}",
        "parameters": parameters,
        "flops": _flops(spec),
        "license": license,
        "record": record,
        "picture": CURVES if record and CURVES in files else None,
    }
    if format == "timm":
        return timm_files(spec, files, own, text)
    files = {**files, manifest.CARD: card(spec, **text).encode("utf-8")}
    listed = {name: measured(source) for name, source in sorted(files.items())}
    config = manifest.Manifest(spec, parameters, listed).to_bytes()
    manifest.parse(config, str(reference))  # what is pushed can be pulled
    return {manifest.CONFIG: config, **files}


def _show(found, quiet):
    """Prints what will be sent, where somebody watches; text from a card or a file name is never markup."""
    from zoo.progress import console, say

    screen = console(quiet)
    if screen.is_terminal:
        for line in found.lines():
            say(screen, line)


@contextlib.contextmanager
def _going_on(found):
    """Says on Ctrl-C how things are and how to go on."""
    try:
        yield
    except KeyboardInterrupt as stop:
        stop.add_note(
            f"{found.target} holds what it held before, or the whole new revision; never a part of it. Run the same "
            "command again: if the revision is there it says so, and files that have arrived are not sent again."
        )
        raise


@contextlib.contextmanager
def _bars(public, quiet):
    """Keeps the Hub's client from drawing its bars of an upload, terminal or not, where nobody wants or sees any."""
    if not public or (sys.stderr.isatty() and not quiet):
        yield
        return
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _flops(spec):
    """Returns the FLOPs of one example, or None where they cannot be counted, as of a builder that is not here."""
    from zoo.quiet import import_keras

    import_keras()
    from zoo.factory import build_empty
    from zoo.flops import count_flops

    try:
        return count_flops(build_empty(spec.name, **spec.arguments))
    except InvalidArgument:
        return None
