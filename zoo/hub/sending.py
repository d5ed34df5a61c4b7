"""A push to the Hugging Face Hub: one commit of what changed, on the commit it was compared with, or nothing.

The client never repeats a commit whose answer was lost, as it may exist. So the branch is looked at: a commit with
exactly our content on exactly our parent is ours. Only where the branch has not moved is the commit sent again, and
because it names its parent a second one could not be made.
"""

import time

from zoo.errors import IntegrityError, invalid
from zoo.hub import manifest
from zoo.hub.answers import NoAnswer, Stale
from zoo.hub.downloading import digest

PAUSES = (0, 1, 2)  # seconds before each look, and between attempts


def changes(store, repo, commit, files):
    """Returns `(names whose content differs from a commit, names that the last push wrote and this one has no more)`.

    Args:
        store: `HubStore`.
        repo: "owner/name".
        commit: 40 digits, or None for a repository that does not exist yet.
        files: dict, name -> path or bytes.
    """
    there = store.hashes(repo, commit) if commit else {}
    sent = [n for n in sorted(files) if n not in there or digest(files[n], there[n][0]) != there[n][1]]
    gone = _left_over(store, repo, commit, files) if manifest.CONFIG in {*sent} & {*there} else []
    return sent, gone


def _left_over(store, repo, commit, files):
    """Returns the files that an earlier push wrote and this one has no more; what others put there stays."""
    config = store.read(repo, commit, manifest.CONFIG, manifest.MAX_CONFIG_BYTES)
    try:
        listed = manifest.parse(config, store.label(repo)).files
    except IntegrityError:
        return []  # another program's
    return sorted(({*listed} - {*files}) & {*store.hashes(repo, commit)})


def publish(store, repo, files, message=None, parent=None, *, private=None, branch=None, tag=None):
    """Makes one commit of the files that changed, in a repository that is created where it is missing.

    Args:
        store: `HubStore`.
        repo: "owner/name".
        files: dict, name -> path or bytes. What else is in the repository stays, but for files of an earlier push.
        message: one line on what changed.
        parent: the commit that the branch must still be at; None takes the one it is at now. Either way somebody
            else's commit in between is never overwritten.
        private: whether a repository that is created now is private; None leaves it to the account.
        branch: to commit to; None is "main". It is created where it is missing, from `main`.
        tag: a name for the commit; it must be new, or be that of the same commit.

    Returns:
        `(commit, created)`; `created` is False when all files were there already, and nothing was sent.

    Raises:
        Stale: the branch has moved on; what was published before is as it was.
        NoAnswer: the Hub does not answer; the message says whether the commit may exist.
        StoreError: the Hub refuses.
        InvalidArgument: the tag is that of another commit, or the repository's visibility is another.
        IntegrityError: a file changed while it was sent.
    """
    base = _prepared(store, repo, private, branch)
    if parent is not None and parent != base:
        raise _moved(store, repo, base)
    tagged = _tagged(store, repo, tag)
    sent, gone = changes(store, repo, base, files)
    if tagged and (tagged != base or sent or gone):
        raise invalid(
            f"{store.label(repo)} has a tag of this name already, of commit {tagged[:12]}",
            tag,
            "Nothing was pushed. Tags do not move: choose another.",
        )
    commit = _committed(store, repo, files, sent, gone, message, base, branch) if sent or gone else base
    if tag and not tagged:
        store.ask(repo, lambda api: api.create_tag(repo, tag=tag, revision=commit, exist_ok=True), "change")
    return commit, commit != base


def _prepared(store, repo, private, branch):
    """Returns the commit to build on, once repository and branch exist."""
    head = store.head(repo)
    if head is None:
        store.ask(repo, lambda api: api.create_repo(repo, private=private, exist_ok=True), "create")
        head = store.head(repo)
    elif private is not None and store.is_private(repo, head) != private:
        raise invalid(
            f"{store.label(repo)} exists and is {'public' if private else 'private'}",
            works="A push does not change who can see it. Change that in its settings on the Hub, or push to another "
            "name.",
        )
    if branch in (None, "main"):
        return head
    if store.head(repo, branch) is None:
        store.ask(repo, lambda api: api.create_branch(repo, branch=branch, exist_ok=True), "change")
    return store.head(repo, branch)


def _tagged(store, repo, tag):
    """Returns the commit that a tag names, or None."""
    if tag is None:
        return None
    refs = store.ask(repo, lambda api: api.list_repo_refs(repo))
    return store.head(repo, tag) if any(ref.name == tag for ref in refs.tags) else None


def _moved(store, repo, head):
    return Stale(
        f"{store.label(repo)} has moved on to {head and head[:12]} meanwhile. Nothing was changed. Pull it, look at "
        "what is new, and push again."
    )


def _committed(store, repo, files, sent, gone, message, base, branch):
    """Returns the new commit."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    wanted = {name: digest(files[name], "sha256") for name in sent}
    for name, (_, measured) in _listed(files).items():
        if wanted.get(name, measured) != measured:
            raise IntegrityError(f"{name} changed while it was being pushed. Nothing was changed. Push again.")
    operations = [CommitOperationAdd(n, f if isinstance(f, bytes) else str(f)) for n in sent for f in [files[n]]]
    operations += [CommitOperationDelete(name) for name in gone]
    options = {"commit_message": message or "Push with zoo", "revision": branch, "parent_commit": base}
    for pause in PAUSES:
        time.sleep(pause)
        try:
            commit = store.ask(repo, lambda api: _sent(api, repo, operations, options), "change", tries=1).oid
        except (NoAnswer, Stale) as error:
            lost = str(error)
            commit = _landed(store, repo, files, base, branch)
        if commit:
            _check_arrived(store, repo, commit, files, wanted)
            return commit
    raise NoAnswer(f"nothing was changed: {lost}")


def _sent(api, repo, operations, options):
    """Returns the client's `CommitInfo` of a commit.

    Large files go first and one by one: several are sent in threads, which the client waits for after Ctrl-C.
    """
    for operation in operations:
        if hasattr(operation, "upload_info"):
            api.preupload_lfs_files(repo, [operation], revision=options["revision"], free_memory=False)
    return api.create_commit(repo, operations, **options)


def _listed(files):
    """Returns what the manifest that is pushed says of the other files; nothing where none is pushed."""
    config = files.get(manifest.CONFIG)
    try:
        return manifest.parse(config, "this push").files if isinstance(config, bytes) else {}
    except IntegrityError:
        return {}  # another library's configuration, as in `format="timm"`


def _landed(store, repo, files, base, branch):
    """Returns the commit that was made although its answer did not come; None when it was not made.

    Raises:
        Stale: the branch has moved on, by somebody else's commit.
        NoAnswer: it cannot be found out.
    """
    head = None
    for pause in PAUSES:
        time.sleep(pause)
        try:
            head = store.head(repo, branch)
        except NoAnswer:
            head = None
        if head not in (None, base):
            break
    if head is None:
        raise NoAnswer(
            f"the answer to the push to {store.label(repo)} was lost, and the Hub cannot be asked now whether it "
            "arrived. Push again: the same content makes no second commit."
        )
    if head == base:
        return None
    commits = [c.commit_id for c in store.ask(repo, lambda api: api.list_repo_commits(repo, revision=branch))]
    after = commits[commits.index(base) - 1] if base in commits[1:] else None  # others may have gone on from ours
    if after and changes(store, repo, after, files) == ([], []):
        return after
    raise _moved(store, repo, head)


def _check_arrived(store, repo, commit, files, wanted):
    """Raises unless the Hub now lists exactly what was measured before it was sent."""
    there = store.hashes(repo, commit)
    for name, sha256 in wanted.items():
        kind, listed = there.get(name, ("sha256", None))
        if listed != (sha256 if kind == "sha256" else digest(files[name], kind)):
            raise IntegrityError(
                f"{name} changed while it was pushed, or on the way: commit {commit[:12]} of {store.label(repo)} holds "
                "other bytes, and a pull of it is refused. Push again."
            )
