"""Licences of weights: chosen by whoever publishes, never assumed, and named as the Hugging Face Hub names them.

Source of the list: https://huggingface.co/docs/hub/repositories-licenses.
"""

import re
from dataclasses import dataclass

from zoo.errors import UnknownName, invalid, nearest, worded

_IDS = """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
    afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0
    lgpl lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl
    openmdw-1.0 openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license
    fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 grok2-community gemma
    unknown other
"""
HUB_LICENSES = frozenset(_IDS.split())
COMMON = ("apache-2.0", "mit", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "openrail", "other", "unknown")
_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}")
_LINK = re.compile(r"https://[A-Za-z0-9.-]+(/[A-Za-z0-9._~/%?=&#+-]*)?")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_OF_OTHER = 'license={"name": "my-license", "link": "https://..."}, the link being an address or a file among `assets`'


@dataclass(frozen=True)
class License:
    """The licence of weights.

    Attributes:
        id: identifier, such as "apache-2.0"; "other" for a licence that has none.
        name: of a licence without identifier.
        link: its text: an address, or the name of a file that is pushed along.
    """

    id: str
    name: str | None = None
    link: str | None = None

    def __str__(self):
        return f"{self.name} ({self.link})" if self.name else self.id


def chosen(license, *, public, files=(), hint=None):
    """Returns the `License` that somebody chose, or None where none is needed.

    Args:
        license: an identifier, `{"name": ..., "link": ...}` for a licence of one's own, or None.
        public: whether the weights go to the Hugging Face Hub, which needs a choice, by one of its own identifiers.
        files: names of the files that are pushed along.
        hint: what is known of licences that bind, a sentence, or None.

    Raises:
        InvalidArgument: nothing was chosen, or not what a licence looks like.
        UnknownName: the Hub has no such identifier; the message gives the nearest.
    """
    if license is None:
        if public:
            raise invalid(
                "a model on the Hugging Face Hub needs a licence, and nobody chose one",
                works=f"Pass license= (--license): {', '.join(COMMON)}. {hint or BINDS}",
            )
        return None
    if isinstance(license, dict):
        return _of_its_own(license, files)
    if not isinstance(license, str) or not _IDENTIFIER.fullmatch(license):
        raise invalid(
            "`license` must be a licence identifier",
            license,
            "Write one of https://spdx.org/licenses, such as 'apache-2.0' or 'cc-by-4.0'.",
        )
    if license == "other":
        raise invalid("licence 'other' needs the name and the text of the licence", works=f"Pass {_OF_OTHER}.")
    if public and license not in HUB_LICENSES:
        close = nearest(license, HUB_LICENSES)
        works = "" if close else f"Common are {', '.join(COMMON)}. "
        works += f"A licence that is not on the Hub's list: {_OF_OTHER}."
        raise UnknownName(
            worded(f"the Hub knows no licence {license!r}", name=license, known=HUB_LICENSES, works=works)
        )
    return License(license)


BINDS = (
    "The licence of the data and of the weights that training started from may bind yours; 'unknown' says that you do "
    "not know."
)


def binding(parent, license):
    """Returns the sentence about licences that bind, where the parent's is known.

    Args:
        parent: reference of the weights that training started from, or None.
        license: identifier of their licence, or None.
    """
    if not parent or not license:
        return BINDS
    return f"It was made from {parent}, whose licence is {license!r} and may bind yours, as may that of the data."


def _of_its_own(license, files):
    """Returns the `License` of a dict, its name and link checked, as both go into a card."""
    if not set(license) <= {"name", "link"}:
        raise invalid("a licence of your own has a name and a link", sorted(license), f"Pass {_OF_OTHER}.")
    name, link = license.get("name"), license.get("link")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise invalid("the name of a licence has letters, digits, '.', '_' and '-'", name, f"Pass {_OF_OTHER}.")
    address = isinstance(link, str) and _LINK.fullmatch(link)
    if not address and not (isinstance(link, str) and _FILE.fullmatch(link) and link in files):
        raise invalid("the text of a licence must be an https address or a file among `assets`", link,
                      f"Pass {_OF_OTHER}.")  # fmt: skip
    return License("other", name, link)
