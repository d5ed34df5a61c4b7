"""What a converter reads out of a foreign repository, and the checks of files that strangers wrote."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from zoo.errors import IntegrityError, invalid
from zoo.files import disk, open_regular, strict_json

WEIGHTS = "model.safetensors"
MAX_SMALL_BYTES = 16 << 20  # of a JSON file or a card
MAX_WEIGHTS_BYTES = 1 << 40
MAX_FRONT_MATTER = 1 << 16  # characters
MAX_SIDE = 4096  # pixels
MAX_BLOCKS = 256  # of a transformer; each takes time to lay out, however small its tensors are
_LICENSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")


@dataclass
class Foreign:
    """A foreign checkpoint in our words.

    Attributes:
        name: the builder's variant, such as "resnet50".
        arguments: of the builder; what is left out has the variant's value.
        tensors: dict, foreign name -> array; `load` of the converter uses each exactly once.
        weights: `Path` of the file they came from, whose SHA-256 is recorded.
        labels: class names in logit order, or None.
        preprocessing: as `zoo.data.preprocessing` declares it, or None where the checkpoint does not say.
        license: identifier of the weights' licence, or None where the checkpoint does not say.
        options: further arguments of the converter's `load`.
        notes: sentences for the user and the card: what was deliberately left out, and why.
    """

    name: str
    arguments: dict
    tensors: dict
    weights: Path
    labels: tuple | None = None
    preprocessing: dict | None = None
    license: str | None = None
    options: dict = field(default_factory=dict)
    notes: tuple = ()


def limit(name):
    """Returns the most bytes that a foreign file of this name may have."""
    return MAX_WEIGHTS_BYTES if name.endswith((".safetensors", ".h5")) else MAX_SMALL_BYTES


def safe_weights(names):
    """Returns `WEIGHTS`, the file of a PyTorch library's repository that holds the weights and cannot hold code.

    Raises:
        InvalidArgument: it is not there; with what is there instead.
    """
    if WEIGHTS in names:
        return WEIGHTS
    parts = [name for name in names if name.endswith(".safetensors.index.json")]
    pickled = [name for name in names if name.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl"))]
    works = "Look for a revision or a repository that has it."
    if parts:
        raise invalid("the weights are cut into several files, and zoo reads one", parts[0], works)
    if pickled:
        wrong = f"the weights are there only as Python pickles, which can run code when they are read, not as {WEIGHTS}"
        raise invalid(wrong, pickled[0], works)
    raise invalid(f"the repository has no {WEIGHTS}", sorted(names)[:12], works)


def read_json(path):
    """Returns the object in a JSON file that a stranger wrote.

    Raises:
        IntegrityError: it is larger than `MAX_SMALL_BYTES`, not standard JSON, nested too deep, names something
            twice, or is not an object.
        StoreError: it cannot be read.
    """
    path = Path(path)
    with disk(path, "read"), open_regular(path.resolve()) as file:  # other tools keep links into their caches
        text = file.read(MAX_SMALL_BYTES + 1)
    if len(text) > MAX_SMALL_BYTES:
        raise IntegrityError(
            f"{path.name} has more than {MAX_SMALL_BYTES:,} bytes, which no description of a model has."
        )
    return parse_json(text, path.name)


def parse_json(text, name):
    """Returns the object in the bytes of a JSON file, checked as by `read_json`."""
    try:
        found = strict_json(text)
    except (ValueError, RecursionError) as error:
        raise IntegrityError(
            f"{name} is not valid JSON ({error}). Nothing was converted. Ask whoever published it to repair it."
        ) from error
    if not isinstance(found, dict):
        raise IntegrityError(
            f"{name} is a JSON {type(found).__name__}, and an object is needed. Nothing was converted."
        )
    return found


def read_config(folder):
    """Returns the parsed `config.json` of a folder, {} where there is none."""
    path = Path(folder) / "config.json"
    return read_json(path) if path.is_file() else {}


def whole(config, key, default=None, *, most=1 << 31):
    """Returns a whole number of at least 0 out of a parsed file.

    Raises:
        InvalidArgument: it is missing without a `default`, of another type, or larger than `most`.
    """
    value = config.get(key, default)
    if type(value) is not int or not 0 <= value <= most:
        raise invalid(f"the checkpoint's configuration has an impossible {key!r}", value, "A whole number is needed.")
    return value


def numbers(config, key, count, default=None):
    """Returns `count` finite numbers out of a parsed file, as a list of floats.

    Raises:
        InvalidArgument: they are not.
    """
    value = config.get(key)
    value = default if value is None else value
    fits = isinstance(value, (list, tuple)) and len(value) == count
    if not fits or not all(type(v) in (int, float) and abs(v) < 1e9 for v in value):
        raise invalid(f"the checkpoint's configuration has an impossible {key!r}", value, f"It is {count} numbers.")
    return [float(v) for v in value]


def distinct(labels):
    """Returns class names with the class's number behind those that occur twice, as in "crane [134]".

    Raises:
        InvalidArgument: one is not text.
    """
    if not all(isinstance(label, str) and label.strip() for label in labels):
        raise invalid("the checkpoint's class names are not all text", list(labels)[:4])
    twice = {label for label in labels if labels.count(label) > 1} if len(set(labels)) < len(labels) else ()
    return tuple(f"{label} [{i}]" if label in twice else label for i, label in enumerate(labels))


def license_of(text):
    """Returns a licence's identifier in lower case, or None where the text is none."""
    return text.lower() if isinstance(text, str) and _LICENSE.fullmatch(text) else None


def front_matter(text):
    """Returns the table at the head of a model card, {} where there is none that can be read.

    Args:
        text: of a `README.md`.
    """
    import yaml  # comes with huggingface_hub

    lines = text.lstrip("\ufeff").splitlines()
    if not lines or lines[0].strip() != "---":
        return {}
    end = next((i for i, line in enumerate(lines[1:2000], start=1) if line.strip() == "---"), None)
    head = "\n".join(lines[1:end])
    if end is None or len(head) > MAX_FRONT_MATTER:
        return {}
    try:
        found = yaml.load(head, Loader=_plain_loader())
    except (yaml.YAMLError, RecursionError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _plain_loader():
    """Returns a safe YAML loader that refuses references, by which a short text becomes an endless one."""
    import yaml

    class Plain(yaml.SafeLoader):
        def compose_node(self, parent, index):
            if self.check_event(yaml.events.AliasEvent):
                raise yaml.YAMLError("a reference")
            return super().compose_node(parent, index)

    return Plain


def license_in(folder):
    """Returns the licence that the card in a folder names, or None."""
    return license_of(card_head(folder).get("license"))


def card_head(folder):
    """Returns the front matter of the card in a folder, {} where there is none."""
    path = Path(folder) / "README.md"
    if not path.is_file():
        return {}
    with disk(path, "read"), open_regular(path.resolve()) as file:
        return front_matter(file.read(MAX_SMALL_BYTES).decode("utf-8", "replace"))
