"""Names: what is listed, found, refused, and what is generated from the code."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

import zoo
from zoo import indexing, registry
from zoo.errors import Conflict, InvalidArgument, UnknownName

README = Path(__file__).parent.parent / "README.md"


def test_listing_filters_by_pattern_and_task():
    assert [r.name for r in zoo.list_models("resnet?0")] == ["resnet20", "resnet50"]
    texts = {r.family for r in zoo.list_models(task="text_classification")}
    assert texts == {"conv1d", "gru", "lstm", "separable_text"}
    assert zoo.list_models("no*") == []
    assert [r.name for r in zoo.list_tricks("f*m")] == ["fgm", "fgsm"]
    assert {r.name for r in zoo.list_tricks(stage="targets")} == {"distill", "label_smoothing"}
    assert [r.name for r in zoo.list_recipes("*cifar10", task="image_classification")] == [
        "nin_cifar10",
        "resnet20_cifar10",
        "separable_cifar10",
        "xception_cifar10",
    ]
    assert all(r.paper and r.year and r.parameters and r.flops and r.license for r in zoo.list_models())


def test_tricks_are_listed_in_the_order_in_which_they_apply():
    stages = [registry.STAGES.index(row.stage) for row in zoo.list_tricks()]
    assert stages == sorted(stages)


def test_info_finds_variants_families_tricks_and_recipes():
    assert zoo.info("vit") == zoo.info("vit_tiny")
    assert zoo.info("resnet50").paper.year == 2015
    assert zoo.info("focal").stage == "loss"
    assert zoo.info("vit_digits").settings["data"] == "digits"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: zoo.build("inceptoin"), "no model named 'inceptoin'"),
        (lambda: zoo.build("vit_tinny"), "Did you mean 'vit_tiny'?"),
        (lambda: zoo.build("resnet2O"), "Did you mean 'resnet20'?"),
        (lambda: zoo.build("resnet50", num_clases=3), "Did you mean 'num_classes'?"),
        (lambda: zoo.build("vit", recipe="focl"), "Did you mean 'focal'?"),
        (lambda: zoo.build("vit", recipe="focal(gama=1)"), "Did you mean 'gamma'?"),
        (lambda: zoo.build("softmax", weights="softmax.mnst"), "no weights named 'softmax.mnst'"),
        (lambda: zoo.info("warmpu"), "Did you mean 'warmup'?"),
        (lambda: zoo.list_models(task="image_clasification"), "Did you mean 'image_classification'?"),
        (lambda: zoo.list_tricks(stage="losses"), "Did you mean 'loss'?"),
    ],
)
def test_a_misspelt_name_gets_the_nearest(call, message):
    with pytest.raises(UnknownName) as caught:
        call()
    assert message in str(caught.value)


def test_a_value_of_the_wrong_type_is_refused_before_building():
    with pytest.raises(InvalidArgument, match=r"`num_classes` must be int. Received: '10'"):
        zoo.build("softmax", num_classes="10")


def test_two_models_or_tricks_of_one_name_are_refused():
    def softmax(*, num_classes: int = 2):
        """Never built."""

    registry.builder_of("softmax")
    with pytest.raises(Conflict, match=r"already registered, by zoo.models.softmax"):
        registry.register("softmax", task="image_classification", variants={"softmax": {}})(softmax)

    @dataclasses.dataclass(frozen=True)
    class Focal:
        def apply(self, plan):
            return plan

        def explain(self, plan):
            return ""

    registry.find_trick("focal")
    with pytest.raises(Conflict, match=r"already registered, by zoo.tricks.focal"):
        registry.trick("focal", stage="loss")(Focal)


def test_builders_that_would_swallow_a_typo_are_refused():
    with pytest.raises(InvalidArgument, match="keyword-only"):
        registry.register("loose", task="image_classification", variants={"loose": {}})(lambda **options: None)

    def loose(*, depth: int = 1):
        """Never built."""

    with pytest.raises(UnknownName, match="argument of builder 'loose'"):
        registry.register("loose", task="image_classification", variants={"loose": {"deph": 2}})(loose)


def test_listing_and_naming_import_neither_keras_nor_numpy():
    code = (
        "import sys, zoo; zoo.list_models('*'); zoo.list_tricks(); zoo.list_recipes(); zoo.info('vit')\n"
        "try: zoo.info('vitt')\n"
        "except zoo.ZooError: pass\n"
        "print([m for m in ('keras', 'tensorflow', 'numpy', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_index_and_the_readme_are_what_the_code_says():
    """`make registry` renews both; the models' counts are held to their builders in test_models.py."""
    found = registry.index()
    text = README.read_text("utf-8")
    assert indexing.with_tables(text, found) == text
    for name, entry in found["tricks"].items():
        row = dataclasses.asdict(registry.trick_row(registry.find_trick(name)))
        assert {k: row[k] for k in row if k != "name"} == {k: entry[k] for k in entry if k != "module"}
    files = {p.stem for p in (Path(zoo.__file__).parent / "tricks").glob("[!_]*.py")}
    assert files == {entry["module"] for entry in found["tricks"].values()}
