"""The pages of the tricks say what the cards say, link to what exists, and have pictures that show something."""

import re

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import zoo
from zoo.cards import card_of, parts_of
from zoo.documenting import pages, pictures

ROWS = zoo.list_tricks()


def test_the_pages_are_those_of_the_cards():
    found = {path.name: path.read_text("utf-8") for path in pages.DOCS.glob("*.md")}
    made = pages.pages(pictures.drawers())
    stale = [name for name in made if found.get(name) != made[name]]
    assert not stale, "run `python -m zoo.documenting`"
    assert found.keys() == made.keys()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_card_is_complete(row):
    name = row.name
    parts = card_of("tricks", name)
    headings = [heading for heading, _ in parts]
    for needed in ("paper", "use when", "start with", "formula", "composes with", "conflicts with"):
        assert needed in headings, f"{name} has no `{needed.capitalize()}:`"
    assert all(text for _, text in parts)
    assert set(pages.meanings_of(name)) == set(row.arguments), f"{name}: say in its docstring what each argument means"


def test_links_lead_somewhere():
    for path in pages.DOCS.glob("*.md"):
        for target in re.findall(r"\]\(([^)#]+?)(?:#\w+)?\)", path.read_text("utf-8")):
            assert "://" in target or (path.parent / target).is_file(), f"{path.name} links to {target}"


def test_every_trick_has_a_picture_that_is_not_blank():
    assert set(pictures.drawers()) == {row.name for row in ROWS}
    for name in pictures.drawers():
        pixels = np.asarray(Image.open(pages.DOCS / f"{name}.png").convert("L"))
        assert pixels.shape[0] >= 150
        assert (pixels < 128).mean() > 0.002, name


@pytest.mark.parametrize("name", ["cosine", "focal", "pgd", "radam", "batch_norm", "softmax_head", "word_dropout"])
def test_pictures_can_be_drawn(name, tmp_path):
    pictures.draw(name, tmp_path / "drawn.png")
    assert Image.open(tmp_path / "drawn.png").size == (480, 270)


def test_what_pictures_show_is_what_the_tricks_do():
    """Some lines of them, read back."""

    def lines(name):
        figure = Figure()
        pictures.drawers()[name](figure)
        return {line.get_label(): np.asarray(line.get_ydata(), float) for line in figure.axes[0].lines}

    waited = lines("accumulate")["accumulate(steps=4)+sgd(learning_rate=0.1)"]
    assert (np.flatnonzero(np.diff(waited)) % 4 == 3).all()
    assert len(np.unique(waited)) == 7
    frozen = lines("freeze_bn")
    assert np.ptp(frozen["freeze_bn"]) == 0 < np.ptp(frozen["without"])
    low_rank = lines("lora")
    assert [(low_rank[name] > 0).sum() for name in ("lora(rank=4)", "lora(rank=2)")] == [4, 2]


def test_a_card_in_parts():
    text = "Summary.\n\nPaper: A, 2020, u\nUse when: one\n    and two.\nFormula: a = b\n    c = d\nCost: twice"
    assert parts_of(text) == [
        ("paper", "A, 2020, u"),
        ("use when", "one and two."),
        ("formula", "a = b\nc = d"),
        ("cost", "twice"),
    ]
    assert card_of("tricks", "no_such_trick") == []


def test_a_measured_effect_becomes_a_table():
    rows = [{"recipe": "plain", "accuracy": [0.9, 0.92]}, {"recipe": "ema", "accuracy": [0.95, 0.95]}]
    effect = {"summary": "It helps.", "command": "python x.py", "data": "digits", "fingerprint": "abc", "seeds": [0, 1]}
    effect |= {"seconds": 12.0, "hardware": "2 cores", "versions": "Keras 3", "rows": rows}
    text = "\n".join(pages.measured(effect))
    assert "| `plain` | 91.00% (90.00% to 92.00%) |" in text
    assert "| `ema` | 95.00% |" in text
    assert "`python x.py`; data digits (abc), seeds [0, 1], 12 s on 2 cores; Keras 3." in text
