"""Every trick survives: a resumed run ends as if it had not been stopped, bit for bit, and a saved model comes back.

Tricks that set different things share a recipe, so that a few runs hold them all.
"""

import keras
import numpy as np
import pytest
from nets import forget, heads_net, images, register_switch_net, rows, texts
from trick_cases import CASES

import zoo
from zoo import registry
from zoo.data import from_arrays
from zoo.data.base import Dataset, TreeSplit
from zoo.session import Session
from zoo.weights import load_state

SIZE = {"epochs": 3, "batch_size": 6, "seed": 3, "quiet": True}
SMALL = {"embed_dim": 4, "filters": 4, "kernel_sizes": (3,), "num_classes": 1}
ALONE = {"lr_finder", "support_vectors"}  # what they try out beforehand is its own training


def groups():
    """Returns (kind, names) of recipes that hold every trick once, each on the first net that it acts on.

    Optimizers exclude each other, so each begins a recipe; every other trick joins the shortest that it can.
    """
    made = []
    for name in sorted(CASES, key=lambda n: ("optimizer" not in CASES[n].sets, n)):
        case = CASES[name]
        kind = "text" if case.on[0] == "binary" else case.on[0]  # the text net has one sigmoid unit as well
        fit = [names for where, names in made if where == kind and all(compatible(name, other) for other in names)]
        if fit:
            min(fit, key=len).append(name)
        else:
            made.append((kind, [name]))
    return [(kind, tuple(names)) for kind, names in made]


def compatible(one, other):
    """Says whether two tricks may be in one recipe of these tests."""
    mine, theirs = CASES[one], CASES[other]
    refused = one in theirs.refuses or other in mine.refuses or {one, other} & ALONE
    return not refused and not set(mine.sets) & set(theirs.sets)


def heads_data():
    declared = {"kind": "tabular", "columns": []}
    labels = {"age": {"mean": 0.0, "std": 1.0, "unit": "years"}, "income": ("low", "mid", "high"), "gender": ("f", "m")}
    sizes = {"train": 42, "validation": 12, "test": 12}
    parts = {part: TreeSplit(*rows(n, heads=True, seed=n), declared=declared) for part, n in sizes.items()}
    described = {"labels": labels, "preprocessing": declared, "source": "drawn", "arguments_given": {}}
    return Dataset(name="rows", task="attribute_prediction", **described, **parts)


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """Kind of net -> (model's name, data set, builder arguments), and the folder of a teacher."""
    folder = tmp_path_factory.mktemp("teacher")
    register_switch_net()
    heads = heads_net().zoo_spec.heads
    registry.register("rows_net", task="attribute_prediction", variants={"rows_net": {}}, heads=heads)(
        lambda: heads_net()
    )
    image, text = from_arrays(*images(60)), from_arrays(*texts(60), task="text_classification")
    zoo.train("switch_net", image, epochs=1, out=folder / "teacher", quiet=True)
    found = {
        "image": ("switch_net", image, {}),
        "text": ("conv1d", text, SMALL),
        "heads": ("rows_net", heads_data(), {}),
    }
    yield found, folder
    forget(lambda builder: builder.family in ("switch_net", "rows_net"))


def test_every_trick_is_in_a_group():
    assert sorted(name for _, names in groups() for name in names) == sorted(CASES)


@pytest.mark.filterwarnings("ignore::zoo.errors.RecipeWarning")
@pytest.mark.parametrize(("kind", "names"), groups(), ids=lambda v: v if isinstance(v, str) else "+".join(v))
def test_a_stopped_run_and_a_saved_model_go_on_as_they_were(kind, names, nets, tmp_path, monkeypatch):
    (name, data, arguments), folder = nets[0][kind], nets[1]
    recipe = "+".join(CASES[n].text for n in names).replace("{folder}", str(folder))
    options = {"recipe": recipe, **SIZE, **arguments}
    whole = zoo.train(name, data, out=tmp_path / "whole", **options)
    keep = Session.keep

    def interrupted(self, epoch, *rest):
        keep(self, epoch, *rest)
        if epoch == 0 and self.folder == tmp_path / "run":
            raise KeyboardInterrupt

    monkeypatch.setattr(Session, "keep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        zoo.train(name, data, out=tmp_path / "run", **options)
    run = zoo.train(name, data, out=tmp_path / "run", resume=True, **options)
    for file in ("best.safetensors", "last.safetensors"):
        mine, theirs = (load_state(r.folder / file)[0] for r in (run, whole))
        assert mine.keys() == theirs.keys()
        for key, value in mine.items():
            np.testing.assert_array_equal(value, theirs[key], err_msg=f"{file} {key}")
    assert run.metrics == whole.metrics
    if "support_vectors" in names:
        return  # a part of the training data is no part of a model

    start = zoo.load(whole.folder)
    model = zoo.recipe(recipe).compile(start)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert (again.recipe.exact, again.zoo_spec) == (model.recipe.exact, model.zoo_spec)
    x, _ = data.test.arrays()
    for one, other in zip(
        keras.tree.flatten(model.predict(x, verbose=0)), keras.tree.flatten(again.predict(x, verbose=0)), strict=True
    ):
        np.testing.assert_array_equal(one, other)
