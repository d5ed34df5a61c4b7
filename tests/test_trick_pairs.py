"""Every trick has a row in `trick_cases`, trains on what it acts on, and meets every other trick: none is undefined."""

import functools
import warnings

import keras
import numpy as np
import pytest
from nets import NETS, forget, images, numpy_weights, register_switch_net
from trick_cases import CASES, KINDS

import zoo
from zoo.data import from_arrays
from zoo.errors import Conflict, InvalidArgument, RecipeWarning

TRICKS = [row.name for row in zoo.list_tricks()]
EVERYTHING = keras.backend.backend() == "tensorflow"  # elsewhere eager steps and first traces take far longer
NEIGHBOURS = len(TRICKS) if EVERYTHING else 3


def met(name, kind):
    """Says whether a trick meets a kind of net here: every one on TensorFlow, and elsewhere the first it acts on."""
    on = CASES[name].on if name in CASES else KINDS
    return EVERYTHING or kind not in on[1:]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A folder with `teacher`, a run of the image net, and `mask.npy`."""
    made = tmp_path_factory.mktemp("tricks")
    np.save(made / "mask.npy", np.eye(6, dtype="float32"))
    register_switch_net()
    data = from_arrays(*images(60))
    zoo.train("switch_net", data, epochs=1, out=made / "teacher", quiet=True)
    forget(lambda builder: builder.family == "switch_net")  # this fixture outlives what `_own_builders` takes back
    return made


@pytest.fixture(autouse=True)
def _switch_net():
    """The teacher's builder."""
    register_switch_net()


def text_of(name, folder):
    return CASES[name].text.replace("{folder}", str(folder))


@functools.cache
def stream(kind, steps):
    """Returns the data of a kind of net in so many batches; the same one each time, as Keras traces one per array."""
    import tensorflow as tf

    x, y = NETS[kind][1]()
    return tf.data.Dataset.from_tensor_slices((x, y)).batch(len(x) // steps)


def fitted(kind, text, *, streams=0, **options):
    """Returns a model after one epoch with a recipe, having checked that all stayed finite and something moved.

    The epoch has two steps, or as many as `streams` says: then the data are a `tf.data.Dataset`.
    """
    make, data = NETS[kind]
    x, y = data()
    model = make(text, **options)
    before = numpy_weights(model)
    if streams:
        history = model.fit(stream(kind, streams), verbose=0, validation_data=stream(kind, 1))
    else:
        history = model.fit(x, y, batch_size=len(x) // 2, verbose=0, validation_data=(x, y))
    assert np.isfinite(history.history["loss"]).all(), text
    assert any((a != b).any() for a, b in zip(before, numpy_weights(model), strict=True)), text
    assert all(np.isfinite(w).all() for w in model.get_weights()), text
    return model, history


def test_every_trick_has_a_row():
    assert sorted(CASES) == sorted(TRICKS)


@pytest.mark.filterwarnings("ignore::zoo.errors.RecipeWarning")
@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name in TRICKS for kind in KINDS if met(name, kind)])
def test_every_trick_trains_what_it_claims_and_refuses_the_rest(name, kind, folder):
    case, text = CASES[name], text_of(name, folder)
    if kind not in case.on:
        with pytest.raises(InvalidArgument, match=rf"{name}\b.* finds no |{name}\b.*no |{name} sets "):
            fitted(kind, text)  # at the latest there, where a teacher is compared with its student
    elif case.refused_in_fit:
        with pytest.raises(InvalidArgument, match=case.refused_in_fit):
            fitted(kind, text)
    else:
        model, _ = fitted(kind, text)
        traced = model.train_function
        x, y = NETS[kind][1]()
        model.fit(x, y, batch_size=len(x) // 2, verbose=0)
        assert model.train_function is traced


@pytest.mark.filterwarnings("ignore::zoo.errors.RecipeWarning")
@pytest.mark.parametrize("first", TRICKS)
def test_every_pair_trains_or_says_why_not(first, folder):
    place = TRICKS.index(first)
    for second in TRICKS[place + 1 : place + 1 + NEIGHBOURS]:
        check_pair(first, second, folder)


def check_pair(first, second, folder):
    ours, theirs = CASES[first], CASES[second]
    text = f"{text_of(first, folder)}+{text_of(second, folder)}"
    shared = [kind for kind in ours.on if kind in theirs.on]
    kind = shared[0] if shared else ours.on[0]
    if not shared:
        with pytest.raises(InvalidArgument):
            fitted(kind, text, run_eagerly=True)
    elif set(ours.sets) & set(theirs.sets):
        with pytest.raises(Conflict) as caught:
            NETS[kind][0](text)
        said = str(caught.value)
        assert "Keep one of them" in said or "given twice" in said or "Drop one" in said, said
    elif second in ours.refuses or first in theirs.refuses:
        with pytest.raises(InvalidArgument) as caught:
            fitted(kind, text, run_eagerly=True)
        assert first in str(caught.value)
        assert second in str(caught.value)
    elif ours.refused_in_fit or theirs.refused_in_fit:
        with pytest.raises(InvalidArgument, match=ours.refused_in_fit or theirs.refused_in_fit):
            fitted(kind, text, run_eagerly=True)
    else:
        # Eager steps on streams spare the tracing, which each alone goes through above; only one trick needs arrays,
        # and only one a second step.
        pair = {first, second}
        streams = 0 if not EVERYTHING or "class_balance" in pair else 2 if "accumulate" in pair else 1
        fitted(kind, text, streams=streams, run_eagerly=True)


def test_known_bad_pairs_warn_with_a_reason():
    found = 0
    for row in zoo.list_tricks():
        trick = zoo.registry.find_trick(row.name)
        for other, reason in getattr(trick, "clashes", {}).items():
            assert other in TRICKS, f"{row.name} clashes with {other}, which is no trick"
            assert len(reason) > 20, (row.name, other)
            found += 1
    assert found


def test_a_warning_names_both_and_the_plan_explains_it():
    pairs = [(n, o) for n in TRICKS for o in getattr(zoo.registry.find_trick(n), "clashes", {})]
    name, other = pairs[0]
    kind = next(k for k in CASES[name].on if k in CASES[other].on)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        NETS[kind][0](f"{CASES[name].text}+{CASES[other].text}")
    said = [str(w.message) for w in caught if issubclass(w.category, RecipeWarning)]
    assert any(text.startswith(f"{name} with {other}: ") for text in said)
