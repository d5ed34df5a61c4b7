"""The grammar of recipes, their canonical form, named recipes, and every way to write one wrong."""

import pytest
from nets import image_net, text_net
from trick_cases import CASES

import zoo
from zoo import recipes, registry
from zoo.errors import Conflict, InvalidArgument, UnknownName


@pytest.fixture
def named(tmp_path, monkeypatch):
    """Makes named recipes of a temporary folder: `named(small="focal+warmup")`."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    monkeypatch.setattr(recipes, "data_file", lambda name: tmp_path / name)
    recipes._named.cache_clear()

    def write(**files):
        for name, text in files.items():
            (folder / f"{name}.toml").write_text(text if "=" in text and "\n" in text else f"tricks = {text!r}\n")
        recipes._named.cache_clear()
        return folder

    yield write
    recipes._named.cache_clear()


# Canonical form


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("warmup+focal", "focal+warmup"),
        (" focal + warmup ", "focal+warmup"),
        ("focal+(warmup+radam)", "focal+radam+warmup"),
        ("ema+cosine+radam+fgm+flooding+focal+label_smoothing+flip_crop+dropout", None),
        ("warmup(epochs=3)", "warmup(epochs=3.0)"),
        ("warmup(epochs=5)", "warmup"),  # the default
        ("warmup(epochs=2e0)", "warmup(epochs=2.0)"),
        ("radam(learning_rate=1)", "radam(learning_rate=1.0)"),
        ("focal(gamma=1,alpha=[1,2,3])", "focal(alpha=(1, 2, 3), gamma=1.0)"),
        ("fgm(layer='a+b')", "fgm(layer='a+b')"),
        ("fgm(layer=None)", "fgm"),
        ("focal+focal", "focal"),
        ("plain", "plain"),
        ("plain+focal", "focal"),
        ("focal+-(-warmup)", "focal+warmup"),
    ],
)
def test_canonical_form(text, canonical):
    made = zoo.recipe(text)
    if canonical is not None:
        assert str(made) == canonical
    for written in (str(made), made.exact):
        again = zoo.recipe(written)
        assert again == made
        assert hash(again) == hash(made)
        assert again.exact == made.exact
        assert str(again) == str(made)


def test_order_never_matters():
    terms = ["focal(gamma=1.5)", "warmup", "radam", "ema(momentum=.9)", "cosine", "flooding", "label_smoothing"]
    made = {zoo.recipe("+".join(terms[i:] + terms[:i])) for i in range(len(terms))}
    assert len(made) == 1
    stages = [registry.STAGES.index(t.stage) for t in made.pop().tricks]
    assert stages == sorted(stages)


def test_exact_spells_out_every_argument():
    assert zoo.recipe("focal").exact == "focal(alpha=None, gamma=2.0)"
    assert zoo.recipe("plain").exact == "plain"


@pytest.mark.parametrize("row", registry.list_tricks(), ids=lambda r: r.name)
def test_every_trick_round_trips_and_has_a_card(row):
    made = zoo.recipe(CASES[row.name].text)
    assert row.name in str(made)
    assert zoo.recipe(str(made)) == zoo.recipe(made.exact) == made
    assert row.paper is not None
    assert row.paper.url.startswith("https://")
    card = __import__(registry.find_trick(row.name).__module__, fromlist=["x"]).__doc__
    for heading in ("Use when:", "Start with:", "Composes with:", "Conflicts with:"):
        assert heading in card, heading


def test_a_recipe_is_returned_as_it_is():
    made = zoo.recipe("focal")
    assert zoo.recipe(made) is made


# Named recipes


def test_bundle_overrides_and_removal(named):
    named(small="focal(gamma=1)+warmup(epochs=2)+radam")
    assert str(zoo.recipe("small")) == "focal(gamma=1.0)+radam+warmup(epochs=2.0)"
    assert str(zoo.recipe("small-radam")) == "focal(gamma=1.0)+warmup(epochs=2.0)"
    assert str(zoo.recipe("-radam+small")) == "focal(gamma=1.0)+warmup(epochs=2.0)"
    assert str(zoo.recipe("small-(radam+focal)")) == "warmup(epochs=2.0)"
    assert str(zoo.recipe("small+focal(gamma=3)")) == "focal(gamma=3.0)+radam+warmup(epochs=2.0)"
    assert str(zoo.recipe("small+focal")) == "focal+radam+warmup(epochs=2.0)"  # the default, as written outright
    assert str(zoo.recipe("small+ema-radam-focal-warmup")) == "ema"


def test_nested_bundles(named):
    named(inner="focal(gamma=1)+warmup", outer="inner-warmup+ema", outermost="outer+focal(gamma=4)")
    assert str(zoo.recipe("outer")) == "focal(gamma=1.0)+ema"
    assert str(zoo.recipe("outermost")) == "focal(gamma=4.0)+ema"
    assert str(zoo.recipe("outermost-ema")) == "focal(gamma=4.0)"


def test_two_bundles_that_disagree_conflict_until_one_is_overridden(named):
    named(one="focal(gamma=1)+ema", two="focal(gamma=2)")
    with pytest.raises(Conflict, match=r"focal is given twice .*focal\(gamma=1.0\) and focal"):
        zoo.recipe("one+two")
    assert str(zoo.recipe("one+two+focal(gamma=5)")) == "focal(gamma=5.0)+ema"


def test_a_bundle_that_contains_itself(named):
    named(one="two+focal", two="one")
    with pytest.raises(InvalidArgument, match=r"recipe 'one' contains itself.*one -> two -> one"):
        zoo.recipe("one")


def test_settings_come_from_named_recipes(named):
    named(
        one='tricks = "focal"\nepochs = 7\nbatch_size = 16\ndata = "digits"\n',
        two='tricks = "ema"\nepochs = 9\n',
        three='tricks = "one+cosine"\nepochs = 3\n',
    )
    made = zoo.recipe("one+ema")
    assert made.setting("epochs") == 7
    assert made.setting("epochs", given=2) == 2
    assert made.setting("data") == "digits"
    assert zoo.recipe("focal").setting("epochs", default=20) == 20
    with pytest.raises(Conflict, match="disagree on `epochs`: one says 7, two says 9"):
        zoo.recipe("one+two").setting("epochs")
    outer = zoo.recipe("three")
    assert (outer.setting("epochs"), outer.setting("batch_size")) == (3, 16)


def test_a_recipe_file_overrides_what_it_stands_on(tmp_path, named):
    named(one='tricks = "focal"\nepochs = 7\nbatch_size = 16\n', two='tricks = "one+ema"\n')
    path = tmp_path / "one.toml"  # of the same name as the recipe in it, which it does not contain
    path.write_text('tricks = "two+cosine"\nepochs = 3\n', "utf-8")
    made = zoo.recipe(str(path))
    assert str(made) == "focal+cosine+ema"
    for settings in (made.settings, recipes.outline(str(path))[1]):
        assert settings == {"epochs": {"one": 3}, "batch_size": {"one": 16}}
    assert (
        recipes.outline("two+radam")[1]
        == zoo.recipe("two+radam").settings
        == {
            "epochs": {"one": 7},
            "batch_size": {"one": 16},
        }
    )
    named(first="second+focal", second="first")
    with pytest.raises(InvalidArgument, match=r"recipe 'first' contains itself"):
        recipes.outline("first")


def test_a_recipe_file_by_its_path(tmp_path, named):
    named(other="warmup")
    path = tmp_path / "mine.toml"
    path.write_text('summary = "x"\ntricks = "focal+other"\nepochs = 4\n')
    made = zoo.recipe(str(path))
    assert str(made) == "focal+warmup"
    assert made.setting("epochs") == 4


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('trick = "focal"\n', "no key in recipe file broken.toml named 'trick'. Did you mean 'tricks'"),
        ("tricks = 5\n", "`tricks` must be a text. Received: 5"),
        ("summary = 5\n", "`summary` must be a text"),
        ('epochs = "many"\n', "`epochs` must be a whole number. Received: 'many'"),
        ("epochs = true\n", "`epochs` must be a whole number. Received: True"),
        ('model = "resnt20"\n', "no model named 'resnt20'. Did you mean 'resnet20'"),
        ("tricks = \n", "broken.toml cannot be read"),
        ('tricks = ""\n', "must be a text such as|cannot read the recipe"),
    ],
)
def test_bad_recipe_files(tmp_path, content, message):
    path = tmp_path / "broken.toml"
    path.write_text(content)
    with pytest.raises(InvalidArgument, match=message):
        zoo.recipe(str(path))


def test_a_missing_recipe_file(tmp_path):
    with pytest.raises(InvalidArgument, match=r"nowhere.toml cannot be read \(.*No such file"):
        zoo.recipe(str(tmp_path / "nowhere.toml"))


def test_a_recipe_file_named_like_a_trick_is_refused(named):
    named(focal="warmup")
    with pytest.raises(Conflict, match=r"recipes/focal.toml has the name of a trick"):
        zoo.list_recipes()


def test_shipped_recipes_can_be_read():
    for row in zoo.list_recipes():
        assert zoo.recipe(row.name).exact
        assert row.summary


def test_listing(named):
    named(one='summary = "First"\ntricks = "focal"\nmodel = "resnet20"\n', two="ema")
    assert [r.name for r in zoo.list_recipes()] == ["one", "two"]
    assert [r.name for r in zoo.list_recipes("o*")] == ["one"]
    assert [r.name for r in zoo.list_recipes(task="image_classification")] == ["one"]


# What cannot be read


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("focl", UnknownName, "no trick or recipe named 'focl'. Did you mean 'focal'"),
        ("focal(gama=2)", UnknownName, "no argument of trick 'focal' named 'gama'. Did you mean 'gamma'"),
        ("focal-warmup", UnknownName, "no trick to remove named 'warmup'.*takes one out of a named recipe"),
        ("focal-focal", Conflict, "focal is both added and removed"),
        ("-plain", UnknownName, "no trick to remove named 'plain'"),
        ("plain(gamma=2)", InvalidArgument, "'plain' is a named recipe and takes no arguments"),
        ("focal-warmup(epochs=2)", InvalidArgument, "`-warmup` removes a trick and takes no arguments"),
        ("focal(gamma=1)+focal(gamma=2)", Conflict, r"focal is given twice .*focal\(gamma=1.0\) and focal"),
        ("focal(2)", InvalidArgument, r"focal: arguments must be named, as in focal\(key=value\). Received: '2'"),
        ("focal(**{'gamma': 2})", InvalidArgument, r"focal: `\*\*` is not allowed"),
        ("focal(*[2])", InvalidArgument, "focal: arguments must be named"),
        ("focal(gamma=2, gamma=3)", InvalidArgument, r"focal: `gamma` is given twice. Received: \(2, 3\)"),
        ("focal(gamma=open('/etc/passwd'))", InvalidArgument, 'value of `gamma` must be a literal. Received: "open'),
        ("focal(gamma=1+1)", InvalidArgument, "value of `gamma` must be a literal"),
        ("focal.__class__", InvalidArgument, "cannot read a part of the recipe. Received: 'focal.__class__'"),
        ("focal.apply()", InvalidArgument, "cannot read a part of the recipe"),
        ("__import__('os')", InvalidArgument, "__import__: arguments must be named"),
        ("__import__('os').system('id')", InvalidArgument, "cannot read a part of the recipe"),
        ("focal()()", InvalidArgument, "cannot read a part of the recipe"),
        ("(lambda: 0)()", InvalidArgument, "cannot read a part of the recipe"),
        ("focal*2", InvalidArgument, r"cannot read a part of the recipe. Received: 'focal\*2'"),
        ("focal,warmup", InvalidArgument, "A term is a name"),
        ("focal warmup", InvalidArgument, "cannot read the recipe at column"),
        ("focal+", InvalidArgument, "Write terms joined by"),
        ("+", InvalidArgument, "cannot read the recipe"),
        ("not focal", InvalidArgument, "cannot read a part of the recipe"),
        ("5", InvalidArgument, "cannot read a part of the recipe"),
        ("'focal'", InvalidArgument, "cannot read a part of the recipe"),
        ("x := focal", InvalidArgument, "cannot read the recipe"),
        ("focal\0", InvalidArgument, "cannot read the recipe"),
        ("", InvalidArgument, "must be a text such as"),
        ("   ", InvalidArgument, "must be a text such as"),
        ("focal(gamma=1e999)", InvalidArgument, "`gamma` must be a finite number. Received: inf"),
        ("focal(gamma=1e999-1e999)", InvalidArgument, "must be a literal"),
        ("focal(gamma=1e999j)", InvalidArgument, "`gamma` must be a finite number"),
        ("focal(gamma=True)", InvalidArgument, "`gamma` must be a finite number. Received: True"),
        ("focal(gamma='2')", InvalidArgument, "`gamma` must be a finite number. Received: '2'"),
        (f"focal(gamma={10**400})", InvalidArgument, "`gamma` must be a finite number. Received: 1000"),
        ("focal(alpha=[1e999, 1])", InvalidArgument, "`alpha` must be a positive number, or a list of them"),
        ("focal(alpha=[True, 1])", InvalidArgument, "`alpha` must be a positive number"),
        ("focal(alpha=['a'])", InvalidArgument, "`alpha` must be a positive number"),
        ("focal(alpha={1: 2})", InvalidArgument, "`alpha` must be a finite number or tuple or None"),
        ("flip_crop(pad=1.5)", InvalidArgument, "`pad` must be int. Received: 1.5"),
        ("flip_crop(flip=1)", InvalidArgument, "`flip` must be bool. Received: 1"),
        ("fgm(layer=3)", InvalidArgument, "`layer` must be str or None. Received: 3"),
    ],
)
def test_what_cannot_be_read(text, error, message):
    with pytest.raises(error, match=message) as caught:
        zoo.recipe(text)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    "text",
    [
        "focal+" * 700 + "focal",
        "a" * 100_000,
        "(" * 1_900 + "focal" + ")" * 1_900,
        "-" * 3_900 + "focal",
        "focal(" * 600 + ")" * 600,
        "focal" + "*focal" * 600,
        "focal(gamma=" + "[" * 1_900 + "]" * 1_900 + ")",
        "focal(gamma=" + "-" * 3_900 + "1)",
        "focal(layer=" + "9" * 3_900 + ")",
        "focal" + ".a" * 1_900,
    ],
    ids=["long", "huge", "parentheses", "signs", "calls", "product", "lists", "minus", "digits", "attributes"],
)
def test_hostile_texts_end_in_a_clear_error(text):
    with pytest.raises(InvalidArgument) as caught:
        zoo.recipe(text)
    assert len(str(caught.value)) < 600


def test_five_hundred_terms_are_no_problem():
    assert str(zoo.recipe("+".join(["focal"] * 600))) == "focal"


@pytest.mark.parametrize("given", [None, 5, b"focal", ["focal"], {"focal": {}}])
def test_a_recipe_is_a_text(given):
    with pytest.raises(InvalidArgument, match="a recipe must be a text such as"):
        zoo.recipe(given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("warmup(epochs=0)", "warmup: `epochs` must be positive. Received: 0.0"),
        ("warmup(epochs=-1)", "warmup: `epochs` must be positive. Received: -1.0"),
        ("cosine(final=1)", r"cosine: `final` must be in \[0, 1\). Received: 1.0"),
        ("cyclic(epochs=0)", "cyclic: `epochs` must be positive"),
        ("cyclic(growth=.5)", "cyclic: `growth` must be at least 1"),
        ("cyclic(final=-1)", "cyclic: `final` must be in"),
        ("focal(gamma=-1)", "focal: `gamma` must be 0 or more"),
        ("focal(alpha=0)", "focal: `alpha` must be a positive number"),
        ("label_smoothing(amount=0)", "label_smoothing: `amount` must be between 0 and 1"),
        ("label_smoothing(amount=1)", "label_smoothing: `amount` must be between 0 and 1"),
        ("flooding(level=0)", "flooding: `level` must be positive"),
        ("fgm(epsilon=0)", "fgm: `epsilon` must be positive"),
        ("fgm(weight=-1)", "fgm: `weight` must be positive"),
        ("fgsm(epsilon=0)", "fgsm: `epsilon` must be positive"),
        ("fgsm(alpha=1)", r"fgsm: `alpha` must be in \[0, 1\)"),
        ("fgsm(low=1, high=0)", "fgsm: `low` must be below `high`"),
        ("ema(momentum=1)", "ema: `momentum` must be between 0 and 1"),
        ("radam(learning_rate=0)", "radam: `learning_rate` must be positive"),
        ("radam(beta_1=1)", r"radam: `beta_1` must be in \[0, 1\)"),
        ("radam(beta_2=0)", "radam: `beta_2` must be above 0"),
        ("adam(weight_decay=-1)", "adam: `weight_decay` must be 0 or more"),
        ("sgd(momentum=1)", r"sgd: `momentum` must be in \[0, 1\)"),
        ("sgd(weight_decay=-1)", "sgd: `weight_decay` must be 0 or more"),
        ("dropout(rate=1)", r"dropout: `rate` must be in \[0, 1\)"),
        ("flip_crop(pad=-1)", "flip_crop: `pad` must be 0 or more"),
        ("flip_crop(pad=0, flip=False)", "something must change"),
    ],
)
def test_values_out_of_range(text, message):
    with pytest.raises(InvalidArgument, match=message):
        zoo.recipe(text)


# Plans


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("radam+sgd", "radam and sgd both set the optimizer. Keep one of them: write `-sgd` or `-radam`"),
        ("adam+radam", "adam and radam both set the optimizer"),
        ("cosine+cyclic", "cosine and cyclic both set the decay. Keep one of them: write `-cyclic` or `-cosine`"),
    ],
)
def test_conflicts_name_both_and_what_to_write(text, message):
    with pytest.raises(Conflict, match=message):
        zoo.recipe(text).plan(image_net())


@pytest.mark.parametrize(
    ("text", "net", "message"),
    [
        ("fgm", image_net, "fgm finds no embedding in model 'image_net'.*write fgsm instead"),
        ("fgsm", text_net, "fgsm finds no input with gradients in model 'text_net'.*write fgm instead"),
        ("flip_crop", text_net, "flip_crop finds no image input in model 'text_net'"),
        ("dropout", text_net, "dropout finds no dropout in model 'text_net'"),
        ("fgm(layer='embeding')", text_net, "no layer of model 'text_net' named 'embeding'. Did you mean 'embedding'"),
        ("fgm(layer='pool')", text_net, "fgm: layer 'pool' is not an embedding. Received: 'GlobalAv"),
        ("focal(alpha=[1, 2])", image_net, "focal: `alpha` needs 3 weights for head 'logits'"),
        ("focal(alpha=2)", text_net, "focal: `alpha` of a sigmoid head must be below 1"),
        ("dropout(rate=.5)", image_net, "dropout changes how a model is built, and this one is built already"),
    ],
)
def test_a_trick_that_finds_nothing_to_act_on_raises(text, net, message):
    with pytest.raises(InvalidArgument, match=message):
        zoo.recipe(text).compile(net())


def test_a_plan_needs_to_know_the_model():
    import keras

    image = keras.Input((4,))
    loose = keras.Model(image, keras.layers.Dense(3)(image), name="loose")
    with pytest.raises(InvalidArgument, match="'loose' does not say which zoo builder made it"):
        zoo.recipe("focal").plan(loose)
    assert zoo.recipe("focal").plan(loose, task="image_classification").heads[0].units == 3
    with pytest.raises(InvalidArgument, match="no task named 'detection'"):
        zoo.recipe("focal").plan(loose, task="detection")
    with pytest.raises(InvalidArgument, match=r"needs a Functional keras.Model"):
        zoo.recipe("focal").plan(keras.Sequential([keras.layers.Dense(3)]), task="image_classification")
    spatial = keras.Model(image, keras.layers.Reshape((2, 2))(image))
    with pytest.raises(InvalidArgument, match=r"must have shape \(batch, classes\)"):
        zoo.recipe("focal").plan(spatial, task="image_classification")


def test_explain_has_the_numbers():
    text = zoo.recipe("focal(gamma=2)+warmup(epochs=4)+sgd(learning_rate=0.2)+label_smoothing").explain(image_net())
    first, smoothing, focal, sgd, warmup = text.split("\n")
    assert first == "image_net: 3-way softmax cross-entropy on 'logits'; SGD at 0.2"
    assert "asked for 0.933 instead of 1, each of the other 2 for 0.0333" in smoothing
    assert "25.0% at 0.5, 1.0% at 0.9, 0.0% at 0.99" in focal
    assert "peak learning rate 0.2, averaging about 10 gradients" in sgd
    assert "to 0.2 over the first 4 epochs of a fit; after one of them it has reached 0.05" in warmup


@pytest.mark.parametrize(
    ("text", "net", "said"),
    [
        ("cosine(final=.1)", image_net, "falls from 0.001 to 0.0001 along a cosine; half-way it is 0.00055"),
        ("cyclic(epochs=2)", image_net, "restarts after epochs 2, 6, 14, ..."),
        ("radam", image_net, "steps 1 to 5 use momentum alone"),
        ("ema(momentum=.9)", image_net, "over about the last 10 steps"),
        ("flooding(level=.3)", image_net, "below 0.3 its gradient is turned round"),
        ("flip_crop(pad=1)", image_net, "each 6 x 6 training image moves by up to 1 pixels, half of them mirrored: 18"),
        ("fgsm(epsilon=.2)", image_net, r"50% plain loss and 50% loss on inputs 'image' (6, 6, 2) moved by 0.2"),
        ("fgm(epsilon=2)", text_net, "loss on embeddings 'embedding' (6, 4) moved by 2 (L2"),
        ("adam(weight_decay=.1)", image_net, "Adam at a peak learning rate of 0.001"),
        ("dropout(rate=.1)", image_net, "each dropout layer zeroes 10% of its units"),
        (
            "label_smoothing(amount=.2)",
            text_net,
            "asked for 0.9 instead of 1, each of the other 1 for 0.1 instead of 0",
        ),
    ],
)
def test_explain_every_trick(text, net, said):
    assert said in zoo.recipe(text).explain(net())


# Builder arguments


def test_builder_stage_tricks_set_builder_arguments():
    def builder(*, drop_rate: float = 0.1, width: int = 4):
        """Stands for a model; only its arguments are read."""

    found = registry.Builder("net", builder, {"net_tiny": {}}, "image_classification", "Apache-2.0", __name__)
    chosen = zoo.recipe("dropout(rate=0.4)")
    assert chosen.builder_arguments(found, "net_tiny", {"width": 8}) == {"width": 8, "drop_rate": 0.4}
    assert chosen.builder_arguments(found, "net_tiny", {"drop_rate": 0.4}) == {"drop_rate": 0.4}
    with pytest.raises(Conflict, match=r"dropout sets `drop_rate=0.4` of net_tiny, but `drop_rate=0.2` was given too"):
        chosen.builder_arguments(found, "net_tiny", {"drop_rate": 0.2})
