"""The weights that come with zoo: a small folder hub inside the package, which is only read.

zoo://softmax.mnist            the weights that this zoo brought along under this name
zoo://softmax.mnist@1f0c9a7    the same, pinned

A repository there bears the name that its weights have in the registry. `zoo.shipping` writes it; users never do.
"""

import re
from pathlib import Path

from zoo.errors import invalid, unknown
from zoo.hub.store import FolderStore

PREFIX = "zoo://"
FOLDER = Path(__file__).parent.parent / "_hub"
_NAME = re.compile(r"[A-Za-z0-9_]+\.[A-Za-z0-9_-]+")


class ShippedStore(FolderStore):
    """The hub in the package.

    Args:
        writable: whether a push is taken, as `zoo.shipping` does in a checkout.
    """

    def __init__(self, writable=False):
        super().__init__(FOLDER, prefix=PREFIX)
        self.writable = writable

    def resolve(self, repo, revision=None):
        if not self.exists(repo):
            raise unknown("weights that come with zoo", repo, self.repos(), see="zoo.list_weights()")
        return super().resolve(repo, revision)

    def check_asked(self, repo, private, branch, tag):
        if not self.writable:
            works = "Push to owner/name, to a folder such as ./name, or to hf://owner/name."
            raise invalid("what comes with zoo can only be read", self.label(repo), works)
        super().check_asked(repo, private, branch, tag)


def parts(text):
    """Returns `(name, revision or None)` of a `zoo://` reference.

    Raises:
        InvalidArgument: it is none.
    """
    name, at, revision = text.removeprefix(PREFIX).partition("@")
    if not _NAME.fullmatch(name) or (at and not re.fullmatch("[A-Za-z0-9][A-Za-z0-9._-]*", revision)):
        works = "Write zoo://variant.tag or zoo://variant.tag@revision, as in zoo://softmax.mnist."
        raise invalid("not a legal name of weights that come with zoo", text, works)
    return name, revision or None
