"""How a model card writes things: text of unknown origin as it is, and numbers for people."""

import re

# Within a word "_" means nothing, nor does "~" at the start of a part of an address, where a backslash would break it.
_MARKDOWN = re.compile(r"([\\`*{}\[\]<>#|]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|(?<!/)~|~(?![A-Za-z0-9]))")


def escaped(text):
    """Returns text of unknown origin so that Markdown shows it as it is, on one line."""
    printable = "".join(c if c.isprintable() else " " for c in str(text))
    return _MARKDOWN.sub(r"\\\1", printable)


def code(text):
    """Returns text of unknown origin as code, on one line."""
    return "`" + "".join(c if c.isprintable() and c != "`" else " " for c in str(text)) + "`"


def figure(value):
    """Returns a measured number in four decimals, less the zeros that say nothing; a tiny one in three digits."""
    if not isinstance(value, float) or abs(value) >= 1e4:
        return str(value)
    return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) >= 1e-3 or value == 0 else f"{value:.3g}"


def scaled(count, whole=10_000):
    """Returns a count in three digits with a letter, below `whole` as it is: 512, 7,850, 25.6 M."""
    if count < whole:
        return f"{count:,}"
    rounded = float(f"{count:.3g}")
    unit, letter = next((u, x) for u, x in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")) if rounded >= u)
    return f"{rounded / unit:.10g} {letter}"


def size(count):
    """Returns a number of bytes in three digits: 512 B, 25.6 MB; a kB has 1,000 of them."""
    return scaled(count, whole=1000) + ("B" if count >= 1000 else " B")


def duration(seconds):
    """Returns a duration in the two units that matter: 1 h 12 min, 1 min 15 s, 4.2 s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
