"""What `zoo push` prints. Nothing here imports Keras until something is pushed."""

from zoo.cli import screen
from zoo.cli.screen import Column, size
from zoo.errors import invalid


def license_of(license, name, link):
    """Returns the `license=` of `zoo.push` that three options say."""
    if name is None and link is None:
        return license
    if license not in (None, "other"):
        works = "Leave out --license, or --license-name and --license-link."
        raise invalid("a licence is either an identifier or one of your own, with name and link", license, works)
    return {"name": name, "link": link}


def push(run, target, *, as_json, dry_run, **options):
    """Pushes a run and prints what was sent, or what would be."""
    from zoo.hub import push as publish

    quiet = as_json or not screen.in_terminal()
    with screen.ctrl_c_explained():
        made = publish(run, target, dry_run=dry_run, quiet=quiet or dry_run, **options)
    if dry_run:
        _changes(made, as_json)
    elif as_json:
        path = made.path and str(made.path)
        screen.as_json({"ref": made.ref, "id": made.id, "created": made.created, "path": path, "url": made.url})
    else:
        screen.line("pushed" if made.created else "already there: the same content, so no new revision")
        screen.fields([("ref", made.ref), ("folder", made.path), ("page", made.url)])


def _changes(found, as_json):
    """Prints `zoo.hub.changes.Changes`: one row per file, and the sum."""
    if as_json:
        files = [{"name": f.name, "size": f.size, "state": f.state} for f in found.files]
        screen.as_json({"target": found.target, "base": found.base, "files": files, "upload": found.upload})
        return
    columns = (Column("file", fold=True), Column("size", right=True), Column("state"))
    screen.table(columns, [(f.name, size(f.size), f.state) for f in found.files])
    where = found.target if found.base else f"{found.target}, which would be made"
    sent = "nothing would be sent" if found.nothing else f"{size(found.upload)} would be sent"
    screen.line(f"{sent} to {where}; a dry run, so nothing was")
