"""`config.json`: what a published model is, and the size and SHA-256 of every file beside it.

The first 40 digits of its own SHA-256 name the revision in a folder hub, so a revision vouches for every byte of every
file. Nothing in it is ever executed, and nothing in it is believed before it is checked here.
"""

import hashlib
import re
from dataclasses import dataclass

from zoo import __version__
from zoo.errors import IntegrityError, InvalidArgument, invalid
from zoo.files import json_bytes, strict_json
from zoo.spec import Spec
from zoo.tasks import checked_heads

FORMAT = 1
CONFIG, WEIGHTS, CARD, RUN = "config.json", "model.safetensors", "README.md", "run.json"
ASSET_KEYS = ("vocabulary",)  # of the preprocessing, whose values are file names
MAX_CONFIG_BYTES = 16 << 20
MAX_FILES = 256
MAX_SIDE_FILE_BYTES = 256 << 20  # of anything but weights: a vocabulary, a picture
MAX_WEIGHTS_BYTES = 1 << 40
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ASK = "Nothing was kept. Ask whoever published it to push it again, or pull another revision."


@dataclass(frozen=True)
class Manifest:
    """The checked content of a `config.json`.

    Attributes:
        spec: the model's `Spec`.
        parameters: the number of weights, trainable and fixed.
        files: dict, name -> `(size in bytes, sha256)` of every file except `config.json`.
        zoo_version: the zoo that wrote it.
    """

    spec: Spec
    parameters: int
    files: dict
    zoo_version: str = __version__

    def to_bytes(self):
        """Returns the bytes of `config.json`; the same manifest gives the same bytes."""
        rows = {name: {"size": size, "sha256": sha256} for name, (size, sha256) in self.files.items()}
        head = {"format": FORMAT, "zoo_version": self.zoo_version, "parameters": self.parameters, "files": rows}
        return json_bytes({**self.spec.to_json(), **head})

    @property
    def assets(self):
        """The names of the side files that the preprocessing needs."""
        return asset_names(self.spec)


def revision_of(config):
    """Returns the revision, 40 hex digits, that the bytes of a `config.json` give."""
    return hashlib.sha256(config).hexdigest()[:40]


def asset_names(spec):
    """Returns the files that a spec's preprocessing names, such as its vocabularies, whichever input they are for."""
    left, named = [spec.preprocessing or {}], set()
    while left:  # no recursion: what was pulled may nest as deep as it likes
        rows = left.pop()
        for key, value in rows.items():
            if isinstance(value, str) and (key in ASSET_KEYS or value.endswith((".txt", ".json"))):
                named.add(value)
            elif isinstance(value, (dict, list)):
                left += [v for v in (value, *value) if isinstance(v, dict)]
    return tuple(sorted(named))


def check_file_name(name, where):
    """Raises unless a name is that of a plain visible file directly in the repository's folder.

    Raises:
        IntegrityError: the name climbs, is absolute, nested, hidden, too long, or has unusual characters.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or ".." in name or name.endswith("."):
        raise IntegrityError(
            f"{where} names a file {str(name)[:120]!r}, which is refused: a name may have letters, digits, '.', '_' "
            f"and '-', no folder, and no leading dot. {_ASK}"
        )


def parse(config, where):
    """Checks the bytes of a `config.json` and returns its `Manifest`.

    Args:
        config: the bytes.
        where: what it belongs to, for messages: "owner/name@1234abc".

    Raises:
        IntegrityError: it is not JSON, of an unknown format, lists illegal, doubled, oversized or too many files, or
            lacks a field.
    """
    where = f"{CONFIG} of {where}"
    if len(config) > MAX_CONFIG_BYTES:
        raise IntegrityError(f"{where} is larger than {MAX_CONFIG_BYTES:,} bytes. {_ASK}")
    try:
        rows = strict_json(config)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{where} is not valid JSON ({error}). {_ASK}") from error
    if not isinstance(rows, dict):
        raise IntegrityError(f"{where} is not a JSON object. {_ASK}")
    if type(rows.get("format")) is not int or rows["format"] != FORMAT:
        raise IntegrityError(
            f"{where} has format {str(rows.get('format'))[:40]!r}, and this zoo reads format {FORMAT}. Nothing was "
            "kept. Install a newer zoo, or check that this is a repository that `zoo.push` wrote."
        )
    manifest = Manifest(
        spec=_spec(rows, where),
        parameters=_field(rows, "parameters", _natural, where),
        files=_files(rows, where),
        zoo_version=_field(rows, "zoo_version", _text, where),
    )
    for name in (WEIGHTS, *manifest.assets):
        if name not in manifest.files:
            raise IntegrityError(f"{where} does not list {name[:120]!r}, which the model needs. {_ASK}")
    return manifest


def _natural(value):
    return type(value) is int and value >= 0


def _text(value):
    return isinstance(value, str)


def _field(rows, name, fits, where):
    value = rows.get(name)
    if not fits(value):
        raise IntegrityError(f"{where} has the impossible {name} {str(value)[:80]!r}. {_ASK}")
    return value


def _spec(rows, where):
    """Returns the `Spec` in a manifest, each field of the right type."""
    wanted = {
        "name": _text,
        "arguments": lambda v: isinstance(v, dict),
        "task": _text,
        "labels": _labels,
        "preprocessing": lambda v: v is None or isinstance(v, dict),
        "recipe": lambda v: v is None or _text(v),
        "parent": lambda v: v is None or isinstance(v, dict),
        "heads": _heads,
    }
    spec = Spec.from_json({name: _field(rows, name, fits, where) for name, fits in wanted.items()})
    for name in asset_names(spec):
        check_file_name(name, where)
    return spec


def _files(rows, where):
    listed = _field(rows, "files", lambda v: isinstance(v, dict), where)
    if len(listed) > MAX_FILES:
        raise IntegrityError(f"{where} lists {len(listed):,} files, and {MAX_FILES} is the limit. {_ASK}")
    files, lowered = {}, {CONFIG}
    for name, entry in listed.items():
        check_file_name(name, where)
        if name.lower() in lowered:
            raise IntegrityError(f"{where} lists {name!r} twice, or itself. {_ASK}")
        lowered.add(name.lower())
        sound = isinstance(entry, dict) and _natural(entry.get("size")) and _text(entry.get("sha256"))
        if not sound or not _SHA256.fullmatch(entry["sha256"]):
            raise IntegrityError(f"{where} gives no sound size and sha256 for {name!r}. {_ASK}")
        limit = MAX_WEIGHTS_BYTES if name.endswith(".safetensors") else MAX_SIDE_FILE_BYTES
        if entry["size"] > limit:
            raise IntegrityError(
                f"{where} announces {entry['size']:,} bytes for {name!r}; {limit:,} is the limit. {_ASK}"
            )
        files[name] = (entry["size"], entry["sha256"])
    return files


def check_copy(name, size, sha256, expected, where):
    """Raises unless a copied file has the size and SHA-256 that the manifest announces.

    Raises:
        IntegrityError: with what was announced and what came.
    """
    if size != expected[0]:
        found = f"more than {expected[0]:,}" if size > expected[0] else f"{size:,}"
        raise IntegrityError(f"{name} of {where} has {found} bytes, and {CONFIG} announces {expected[0]:,}. {_ASK}")
    if sha256 != expected[1]:
        raise IntegrityError(
            f"{name} of {where} has SHA-256 {sha256[:16]}..., and {CONFIG} announces {expected[1][:16]}...: its "
            f"bytes were changed. {_ASK}"
        )


def _labels(value):
    """Says whether a value is class names, or by output class names or how a number is turned back."""
    if isinstance(value, dict):
        return all(isinstance(v, dict) or _labels(v) for v in value.values())
    return value is None or (isinstance(value, list) and all(map(_text, value)))


def _heads(value):
    try:
        checked_heads(value)
    except (InvalidArgument, AttributeError, TypeError):
        return False
    return True


def check_labels(labels, outputs):
    """Returns labels as a tuple, checked against the number of outputs of the model; one output means two classes.

    Raises:
        InvalidArgument: they are not distinct text, or not as many as the model has classes.
    """
    if labels is None:
        return None
    if isinstance(labels, str) or not all(isinstance(v, str) and v for v in labels):
        raise invalid("`labels` must be a list of class names", labels)
    labels = tuple(labels)
    if len(set(labels)) != len(labels):
        raise invalid("`labels` has a name twice", labels)
    classes = 2 if outputs == 1 else outputs
    if outputs is not None and len(labels) != classes:
        raise invalid(f"`labels` has {len(labels)} names and the model tells {classes} classes apart", labels)
    return labels
