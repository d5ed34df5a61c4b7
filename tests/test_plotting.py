"""Blocks of a model, their table and their picture."""

import functools
import itertools

import keras
import pytest
from cases import CASES

import zoo
from zoo.blocks import blocks_of, rows_of
from zoo.errors import InvalidArgument, UnknownName
from zoo.factory import build_empty
from zoo.flops import count_flops
from zoo.plotting import placed, ranks_of

EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=str)


@functools.cache
def built(case_id):
    case = next(c for c in CASES if str(c) == case_id)
    return build_empty(case.name, **case.arguments)


@EVERY_CASE
def test_blocks_add_up_to_the_model(case):
    model = built(str(case))
    for collapsed in (True, False):
        blocks = blocks_of(model, collapsed=collapsed)
        assert sum(b.times * b.parameters for b in blocks) == model.count_params()
        assert sum(b.times * b.flops for b in blocks) == count_flops(model)
        assert all(j < i for i, b in enumerate(blocks) for j in b.inputs)
        inputs = {b.name: b.shape for b in blocks if b.layers == (("Input", 1),)}
        assert inputs == {x.name: tuple(x.shape[1:]) for x in model.inputs}
    assert len(rows_of(blocks_of(model))) <= len(blocks_of(model, collapsed=False))
    assert rows_of(blocks_of(model)) == rows_of(blocks_of(build_empty(case.name, **case.arguments)))


@EVERY_CASE
def test_arrows_go_down_and_boxes_do_not_overlap(case):
    blocks = blocks_of(built(str(case)))
    rank, (rows, x, edges) = ranks_of(blocks), placed(blocks)
    assert all(rank[j] < rank[i] for i, b in enumerate(blocks) for j in b.inputs)
    assert {n for row in rows for n in row if isinstance(n, int)} == set(range(len(blocks)))
    assert len(edges) == sum(len(b.inputs) for b in blocks)
    for row in rows:
        places = [x[n] for n in row if isinstance(n, int)]
        assert all(b - a >= 3 for a, b in itertools.pairwise(places))


def test_blocks_of_resnet50():
    blocks = {b.name: b for b in blocks_of(build_empty("resnet50"))}
    repeated = {name: b.times for name, b in blocks.items() if b.times > 1}
    assert repeated == {"stage1_block2-3": 2, "stage2_block2-4": 3, "stage3_block2-6": 5, "stage4_block2-3": 2}
    assert blocks["stage4_block2-3"].shape == (7, 7, 2048)
    assert blocks["stem"].parameters == 7 * 7 * 3 * 64 + 4 * 64
    assert blocks["logits"].flops == 2 * 2048 * 1000


def test_blocks_of_vit_are_one_row():
    blocks = {b.name: b for b in blocks_of(build_empty("vit_tiny"))}
    block = blocks["block1-12"]
    assert block.times == 12
    assert block.shape == (197, 192)
    assert block.parameters == 12 * 192**2 + 13 * 192  # of the two branches, their biases and norms
    tokens = 197 * 192  # two norms, qkv (3), attention, projection, add; MLP hidden and its activation (8), 2nd, add
    assert block.values == 12 * tokens * (1 + 3 + 1 + 1 + 1 + 1 + 4 + 4 + 1 + 1)


def test_a_shared_model_is_one_block_that_counts_once():
    encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="dense")], name="encoder")
    left, right = keras.Input((4,), name="left"), keras.Input((4,), name="right")
    both = keras.layers.Subtract(name="difference")([encoder(left), encoder(right)])
    model = keras.Model([left, right], keras.layers.Dense(1, name="logits")(both))
    blocks = {b.name: b for b in blocks_of(model)}
    assert blocks["encoder"].calls == 2
    assert blocks["encoder"].layers == (("Model", 1),)
    assert blocks["difference"].inputs == (2,)
    assert blocks["encoder"].parameters == 15
    assert blocks["encoder"].flops == 2 * 2 * 12
    assert len(blocks["encoder"].inputs) == 2


def test_an_auxiliary_head_is_a_block_beside_the_trunk():
    model = build_empty("inception_small", aux=True)
    blocks = blocks_of(model)
    names = [b.name for b in blocks]
    assert blocks[names.index("aux")].inputs == (names.index("b2"),)
    assert blocks[names.index("reduction_b")].inputs == (names.index("b2"),)
    assert [b.name for i, b in enumerate(blocks) if not any(i in c.inputs for c in blocks)] == ["aux", "logits"]


def test_blocks_never_read_each_other_in_a_circle():
    x = keras.Input((4,), name="x")
    shared = keras.layers.Dense(4, name="shared")
    model = keras.Model(x, shared(keras.layers.Dense(4, name="between")(shared(x))))
    blocks = blocks_of(model)
    assert [b.name for b in blocks] == ["x", "shared", "between", "shared"]
    assert [b.parameters for b in blocks] == [0, 20, 20, 0]


def test_pictures(tmp_path):
    model = built("vit_tiny")
    for ending, start in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        path = zoo.plot(model, tmp_path / f"picture{ending}")
        assert path.read_bytes().startswith(start)
    svg = (tmp_path / "picture.svg").read_text("utf-8")
    assert "<!-- block1-2  \N{MULTIPLICATION SIGN}2 -->" in svg
    assert "<!-- vit_tiny: 1,971 parameters -->" in svg


def test_a_picture_of_a_name_goes_to_a_file_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert zoo.plot("softmax").resolve() == tmp_path / "softmax.png"
    with pytest.raises(UnknownName, match="Did you mean 'softmax'"):
        zoo.plot("sofmax")
    with pytest.raises(InvalidArgument, match=r"must end in .png, .svg or .pdf. Received: 'a.jpg'. Write a.png."):
        zoo.plot("softmax", "a.jpg")


def test_the_command_plots(tmp_path, monkeypatch, capsys):
    from zoo.cli import main

    monkeypatch.chdir(tmp_path)
    assert main(["plot", "softmax", "--out", "s.svg", "--set", "num_classes=3"]) == 0
    assert capsys.readouterr().out.strip() == "s.svg"
    assert "logits" in (tmp_path / "s.svg").read_text("utf-8")
    assert main(["plot", "sofmax"]) != 0
    assert "Did you mean 'softmax'" in capsys.readouterr().err
