"""Writes `docs/tricks`: `python -m zoo.documenting`, and with `--pictures` draws the pictures anew too."""

import sys

from zoo.documenting import pages
from zoo.progress import console, say


def main(words):
    """Writes every page; draws pictures that are missing, or all."""
    from zoo.documenting import pictures

    pages.DOCS.mkdir(parents=True, exist_ok=True)
    drawn = pictures.drawers()
    for name in sorted(drawn):
        path = pages.DOCS / f"{name}.png"
        if "--pictures" in words or not path.exists():
            pictures.draw(name, path)
    written = pages.pages(drawn)
    for name, text in written.items():
        (pages.DOCS / name).write_text(text, "utf-8")
    say(console(False), f"{len(written)} pages and {len(drawn)} pictures in {pages.DOCS}")


if __name__ == "__main__":
    main(sys.argv[1:])
