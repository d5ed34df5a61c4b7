"""The model card: the Hub's own client reads it, it says what was measured and no more, and no name writes into it."""

import copy
import json

import pytest
import yaml
from huggingface_hub import ModelCard, ModelCardData
from markdown_it import MarkdownIt

from zoo.errors import InvalidArgument, UnknownName
from zoo.hub import licenses
from zoo.hub.card import card
from zoo.hub.licenses import License, binding, chosen
from zoo.hub.metadata import DATASETS, dataset_id, metadata
from zoo.hub.wording import scaled, size
from zoo.spec import Spec

SPEC = Spec(
    "resnet18",
    {"image_shape": [32, 32, 3], "num_classes": 2},
    "image_classification",
    labels=("cat", "dog"),
    preprocessing={
        "kind": "image",
        "image_shape": [32, 32, 3],
        "scale": 0.25,
        "maximum": 4.0,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.25, 0.25, 0.25],
        "resize": "bilinear",
        "crop": 0.875,
    },
    recipe="focal(alpha=None, gamma=2.0)+warmup(epochs=5.0)",
)
RECORD = {
    "command": "zoo train resnet18 ./pets --seed 3",
    "recipe": "focal+warmup",
    "data": {"name": "pets", "fingerprint": "sha256:0123", "sizes": {"train": 80, "test": 100}, "source": "Folder."},
    "seed": 3,
    "epochs": 5,
    "keep": "best",
    "deterministic": True,
    "precision": "float32",
    "versions": {"keras": "3.15.1"},
    "hardware": {"processor": "Example 9000", "devices": []},
    "seconds": 3725.0,
    "status": "finished",
    "metrics": {
        "validation": {"loss": 0.5, "accuracy": 0.81, "examples": 40},
        "test": {"loss": 0.75, "accuracy": 0.8, "ece": 1e-05, "examples": 100},
    },
}
TEXTS = {"title": "me/pets", "reference": "hf://me/pets", "parameters": 11_180_226}


def written(spec=SPEC, record=RECORD, **texts):
    return card(spec, record=record, **{**TEXTS, **texts})


def parsed(text):
    """Returns the card as the Hub's client reads it, its front matter compared with a plain YAML parser's."""
    found = ModelCard(text)
    plain = yaml.safe_load(text.split("\n---\n")[0].removeprefix("---\n"))
    shown = found.data.to_dict()
    assert {k: v for k, v in shown.items() if k != "model-index"} == {
        k: v for k, v in plain.items() if k != "model-index"
    }
    assert ("model-index" in shown) == ("model-index" in plain)
    return found, plain


def kinds(markdown):
    """Returns what Markdown makes of a text besides words: links, pictures, raw HTML, rules, headings."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    found = {t.type for token in tokens for t in (token, *(token.children or ()))}
    return found & {"link_open", "image", "html_block", "html_inline", "hr", "heading_open", "table_open", "fence"}


def section(text, name):
    return text.partition(f"\n## {name}\n\n")[2].partition("\n## ")[0]


def test_the_hubs_client_reads_the_front_matter():
    found, plain = parsed(written(license=License("apache-2.0"), flops=37_000_000))
    assert list(plain) == ["library_name", "license", "pipeline_tag", "tags", "metrics", "model-index"]
    data = found.data
    assert (data.library_name, data.license, data.pipeline_tag) == ("keras", "apache-2.0", "image-classification")
    assert data.tags == ["keras", "zoo", "resnet", "resnet18"]
    assert data.metrics == ["accuracy", "ece"]
    assert data.model_name == "me/pets"
    rows = [(r.dataset_split, r.metric_type, r.metric_value) for r in data.eval_results]
    assert rows == [("validation", "accuracy", 0.81), ("test", "accuracy", 0.8), ("test", "ece", 1e-05)]
    for result in data.eval_results:
        assert (result.task_type, result.task_name) == ("image-classification", "Image classification")
        assert (result.dataset_name, result.dataset_type) == ("pets", "pets")
        assert result.verified is None
        assert result.verify_token is None
    again = ModelCardData(**data.to_dict(), ignore_metadata_errors=False)
    assert again.eval_results == data.eval_results


def test_the_same_facts_give_the_same_card():
    shuffled = copy.deepcopy(RECORD)
    assert written() == written(record=json.loads(json.dumps(shuffled)))


def test_every_section_is_there_and_says_the_facts():
    text = written(license=License("mit"), flops=37_123_456, picture="curves.png")
    assert [line for line in text.split("\n") if line.startswith("#")] == [
        "# me/pets", "## Recipe", "## Results", "## Use", "## Limitations", "## License",
    ]  # fmt: skip
    for part in (
        "- Paper: He et al., 2015",
        "- Weights: 11,180,226 parameters",
        "- FLOPs: 37.1 M for one example",
        "- Input: images of 32 x 32 x 3: pixels of 0 to 4, multiplied by 0.25; less the mean 0.5, 0.5, 0.5, divided "
        "by 0.25, 0.25, 0.25; files resized (bilinear), of which the middle 0.875 is cut out",
        "- Labels (2): cat, dog",
    ):
        assert part in text
    assert "- `focal`: Focal loss" in section(text, "Recipe")
    assert "- `warmup`: Linear learning-rate warmup (Goyal et al., 2017" in section(text, "Recipe")
    results = section(text, "Results")
    for part in (
        "| split | loss | accuracy | examples | ece |\n|---|---|---|---|---|\n",
        "| validation | 0.5 | 0.81 | 40 |  |",
        "| test | 0.75 | 0.8 | 100 | 1e-05 |",
        "- Data: pets (train 80, test 100)",
        "- Data fingerprint: `sha256:0123`",
        "- Command: `zoo train resnet18 ./pets --seed 3`",
        "- Seed: 3",
        "- Epochs: 5",
        "- Versions: keras 3.15.1",
        "- Hardware: processor Example 9000",
        "- Duration: 1 h 2 min",
        "![Learning curves](curves.png)",
    ):
        assert part in results
    use = section(text, "Use")
    assert 'model = zoo.load("hf://me/pets")\nprint(zoo.predict(model, ["picture.png"]))\n' in use
    assert "add `@` and the revision" in use
    assert section(text, "License").startswith("mit, chosen by whoever pushed")


def test_limitations_follow_from_the_record():
    lines = section(written(), "Limitations")
    assert "One training, with seed 3" in lines
    assert "Measured on the validation and test part of pets alone" in lines
    assert "validation part chose the epoch" in lines
    assert "a share of 100 examples, so its standard error is 4 percentage points" in lines  # sqrt(.8 * .2 / 100)
    assert "not deterministic" not in lines
    assert "standard error" not in section(written(SPEC.but(labels=None, task="text_generation")), "Limitations")
    changed = {**RECORD, "deterministic": False, "keep": "last", "metrics": {"validation": {"accuracy": 0.5}}}
    lines = section(written(record={**changed, "status": "interrupted"}), "Limitations")
    assert "its status is `interrupted`" in lines
    assert "No test part was measured" in lines
    assert "not deterministic" in lines
    assert "standard error" not in lines
    assert "chose the epoch" not in lines


def test_what_was_not_measured_is_not_claimed():
    text = written(record=None)
    found, plain = parsed(text)
    assert found.data.eval_results is None
    assert not {"metrics", "model-index", "datasets"} & set(plain)
    for word in ("accuracy", "0.81", "pets alone", "Seed", "Duration", "curves"):
        assert word not in text.replace("me/pets", "")
    assert "None were measured" in section(text, "Results")
    assert "Nothing about these weights was measured" in section(text, "Limitations")
    assert "how they were trained with it is not known" in section(text, "Recipe")
    running = {**RECORD, "status": "running", "metrics": {}}
    text = written(record=running)
    assert "model-index" not in parsed(text)[1]
    assert "The run has no final results." in section(text, "Results")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, None, "0.99", [1]])
def test_a_metric_that_is_no_number_is_left_out(value):
    record = {**RECORD, "metrics": {"test": {"accuracy": 0.5, "odd": value}}}
    text = written(record=record)
    assert "odd" not in text
    assert [r.metric_value for r in parsed(text)[0].data.eval_results] == [0.5]


@pytest.mark.parametrize("value", [0.1, 1.0, 1e-05, 1.5e-07, 1e16, 3, 0.0, 123456.789])
def test_numbers_come_back_as_numbers(value):
    record = {**RECORD, "metrics": {"test": {"accuracy": value}}}
    back = parsed(written(record=record))[0].data.eval_results[0].metric_value
    assert back == value
    assert type(back) is type(value)


def test_only_results_that_compare_go_into_the_index():
    """A loss names the results of some tasks; of others it depends on the recipe."""
    language = SPEC.but(task="text_generation", labels=None, preprocessing=None)
    record = {**RECORD, "metrics": {"test": {"loss": 4.6, "perplexity": 99.5, "examples": 7}}}
    data = parsed(written(language, record))[0].data
    assert [(r.task_type, r.metric_type) for r in data.eval_results] == [("text-generation", "perplexity")]
    words = SPEC.but(task="word_embedding", labels=None)
    data = parsed(written(words, {**RECORD, "metrics": {"test": {"loss": 0.5}}}))[0].data
    assert [(r.metric_type, r.metric_value) for r in data.eval_results] == [("loss", 0.5)]
    people = SPEC.but(task="attribute_prediction", labels={"gender": ("f", "m"), "age": {"unit": "years"}})
    record = {**RECORD, "metrics": {"test": {"loss": 1.0, "gender_loss": 0.5, "gender_accuracy": 0.9, "age_mae": 7.5}}}
    text = written(people, record)
    rows = [(r.task_type, r.metric_type, r.metric_name) for r in parsed(text)[0].data.eval_results]
    assert rows == [("other", "loss", "loss"), ("other", "accuracy", "gender accuracy"), ("other", "mae", "age mae")]
    assert "pipeline_tag" not in parsed(text)[1]
    assert "- Output `age`: a number in years" in text
    assert "- Output `gender`: f, m" in text


def test_a_data_set_is_named_only_where_it_is_that_of_the_hub():
    from zoo.data.sets import cifar10, imdb, mnist

    assert dataset_id({"name": "cifar10", "source": cifar10.CITATION}) == "uoft-cs/cifar10"
    assert dataset_id({"name": "mnist", "source": mnist.SOURCE}) == "ylecun/mnist"
    assert dataset_id({"name": "imdb_words", "source": imdb.SOURCE}) == "stanfordnlp/imdb"
    assert dataset_id({"name": "mnist", "source": "Folder 'mnist' with 12 images."}) is None
    assert dataset_id({"name": "pets"}) is None
    from zoo import data

    assert set(DATASETS) <= {row.name for row in data.names()}
    record = {**RECORD, "data": {"name": "mnist", "source": mnist.SOURCE}}
    found, plain = parsed(written(record=record))
    assert plain["datasets"] == ["ylecun/mnist"]
    assert {r.dataset_type for r in found.data.eval_results} == {"ylecun/mnist"}


def test_a_parent_on_the_hub_is_the_base_model():
    parent = {"ref": "hf://timm/resnet18.a1_in1k@" + "a" * 40, "sha256": "b" * 64}
    tuned = written(SPEC.but(parent=parent))
    assert parsed(tuned)[0].data.base_model == "timm/resnet18.a1_in1k"
    assert parsed(tuned)[1]["base_model_relation"] == "finetune"
    assert "- Started from: `hf://timm/resnet18.a1_in1k@aaaa" in tuned
    assert "the data, faults and licence of those weights matter here too" in section(tuned, "Limitations")
    licensed = written(SPEC.but(parent=parent | {"license": "cc-by-nc-4.0"}))
    assert "`, licence cc-by-nc-4.0\n" in licensed
    nameless = written(SPEC.but(parent={"ref": None, "sha256": "b" * 64}))
    assert "- Started from: weights without a name, of SHA-256 `bbbbbbbbbbbbbbbb`\n" in nameless
    converted = parsed(written(SPEC.but(parent=parent), None))[1]
    assert converted["base_model"] == "timm/resnet18.a1_in1k"
    assert "base_model_relation" not in converted  # nothing says that anything was trained
    for ref in ("me/local@" + "a" * 40, "vit_tiny.digits", "/home/me/run", None):
        assert "base_model" not in parsed(written(SPEC.but(parent={"ref": ref})))[1]


HOSTILE = [
    "x\n---\nlicense: mit\n---\n",
    'a"\nlicense: mit',
    "'; base_model: evil/x",
    "](http://evil) <script>alert(1)</script> ![x](y)",
    "| cell | ` code ` # heading",
    "&anchor *alias !!python/object:os.system {a: b}",
    "\u2028license: mit\u2029\x85license: mit\x7f\u202e",
    "\\u000alicense: mit\\n",
    "\U0001f600 \ud83d",
    "{{7*7}} %{x} ${x}",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_name_writes_into_the_card(text):
    """Labels, names of data sets, splits, metrics, parents, tasks and commands come from files of strangers."""
    plain = parsed(written())[1]
    spec = SPEC.but(
        labels=(text, "dog"),
        task=SPEC.task,
        parent={"ref": text},
        arguments={"x": text},
        recipe=text,
        preprocessing={"kind": text, "columns": text, "image_shape": text},
    )
    record = copy.deepcopy(RECORD)
    record |= {"command": text, "status": text, "hardware": {text: text}, "versions": {text: text}, "precision": text}
    record["data"] = {"name": text, "source": text, "fingerprint": text, "sizes": {text: 3}}
    record["metrics"] = {text: {text: 0.5, "accuracy": 0.8}}
    made = written(spec, record)
    found, hostile = parsed(made)
    assert [k for k in hostile if k in plain] == list(plain)
    assert set(hostile) == set(plain)
    assert {k: hostile[k] for k in ("library_name", "pipeline_tag", "tags")} == {
        k: plain[k] for k in ("library_name", "pipeline_tag", "tags")
    }
    assert len(found.data.eval_results) == 2
    body = made.split("\n---\n", 1)[1]
    lines = body.split("\n")
    assert [line for line in lines if line.startswith("#")] == [
        "# me/pets", "## Recipe", "## Results", "## Use", "## Limitations", "## License",
    ]  # fmt: skip
    assert not [line for line in lines if line.strip() == "---" or line.startswith("license")]
    assert kinds(body) == kinds(written(SPEC.but(parent={"ref": "x"})).split("\n---\n", 1)[1])
    for table_row in [line for line in lines if line.startswith("|")]:
        assert table_row.replace("\\|", "").count("|") == 4  # split and two metrics
    made.encode("utf-8")


def test_hostile_declarations_of_any_type_are_shown_not_raised():
    for value in (5, None, "x", [], [{}], {"a": 1}, [None, 3], {"kind": "inputs", "inputs": 5}):
        for kind in ("image", "passage", "text", "tokens", "table", "inputs"):
            declared = {"kind": kind, "image_shape": value, "mean": value, "std": value, "columns": value,
                        "vocab_size": value, "inputs": value, "maximum": value, "crop": value}  # fmt: skip
            parsed(written(SPEC.but(preprocessing=declared)))


def test_a_licence_is_chosen_not_assumed():
    assert chosen(None, public=False) is None
    assert chosen("apache-2.0", public=True) == License("apache-2.0")
    assert chosen("unknown", public=True).id == "unknown"
    assert chosen("EUPL-1.2", public=False).id == "EUPL-1.2"
    with pytest.raises(InvalidArgument, match=r"needs a licence.*nobody chose.*apache-2.0, mit, cc-by-4.0.*may bind"):
        chosen(None, public=True)
    for close, wanted in (("Apache-2.0", "apache-2.0"), ("apache2", "apache-2.0"), ("gpl3.0", "gpl-3.0")):
        with pytest.raises(UnknownName, match=rf"knows no licence '{close}'. Did you mean '{wanted}'\?"):
            chosen(close, public=True)
    with pytest.raises(UnknownName, match=r"Common are apache-2.0, .*not on the Hub's list"):
        chosen("zzzzzzz", public=True)
    for odd in ("a b", "x\ny", "", 5, ["mit"], "-x", "a" * 70):
        with pytest.raises(InvalidArgument, match="must be a licence identifier"):
            chosen(odd, public=True)
    assert len(licenses.HUB_LICENSES) > 70
    assert set(licenses.COMMON) <= licenses.HUB_LICENSES


def test_a_licence_of_ones_own_needs_name_and_text():
    own = chosen({"name": "acme-1", "link": "https://example.com/acme.txt"}, public=True)
    plain = parsed(written(license=own))[1]
    assert plain["license"] == "other"
    assert (plain["license_name"], plain["license_link"]) == ("acme-1", "https://example.com/acme.txt")
    assert section(written(license=own), "License").strip() == "[acme-1](https://example.com/acme.txt)."
    assert chosen({"name": "acme-1", "link": "LICENSE.md"}, public=True, files=["LICENSE.md"]).link == "LICENSE.md"
    with pytest.raises(InvalidArgument, match="'other' needs the name and the text"):
        chosen("other", public=True)
    for odd in (
        {"name": "acme"},
        {"name": "a b", "link": "https://example.com"},
        {"name": "acme", "link": "http://example.com"},
        {"name": "acme", "link": "https://example.com/a) [x](javascript:alert(1"},
        {"name": "acme", "link": "LICENSE.md"},
        {"name": "acme", "link": "../LICENSE.md"},
        {"name": "acme", "link": "https://example.com", "id": "mit"},
    ):
        with pytest.raises(InvalidArgument, match=r'Pass license=\{"name"'):
            chosen(odd, public=True)


def test_a_binding_licence_is_named_where_it_is_known():
    assert "'cc-by-nc-4.0' and may bind yours" in binding("hf://timm/x@" + "a" * 40, "cc-by-nc-4.0")
    assert "may bind yours" in binding(None, None)
    with pytest.raises(InvalidArgument, match=r"made from hf://timm/x, whose licence is 'cc-by-nc-4.0'"):
        chosen(None, public=True, hint=binding("hf://timm/x", "cc-by-nc-4.0"))


def test_a_card_for_timm():
    text = written(library="timm", uses=("import timm", 'timm.create_model("hf_hub:me/pets", pretrained=True)'))
    plain = parsed(text)[1]
    assert plain["library_name"] == "timm"
    assert plain["tags"][:3] == ["timm", "keras", "zoo"]
    use = section(text, "Use")
    assert use.index("timm.create_model") < use.index('zoo.load("hf://me/pets")')
    assert "run.json" not in text


def test_a_model_without_preprocessing_is_not_said_to_read_files():
    use = section(written(SPEC.but(preprocessing=None)), "Use")
    assert "outputs = model.predict(x)" in use
    assert "zoo.predict" not in use
    assert "- `plain`: The task's standard loss" in section(written(SPEC.but(recipe="plain")), "Recipe")


def test_addresses_stay_whole():
    source = "See https://ai.stanford.edu/~amaas/a_b_c/x_y.html. ~~No~~ _italics_ *here*, __init__"
    text = written(record={**RECORD, "data": {"name": "a_b", "source": source}})
    assert "- Data: a_b\n" in text
    assert r"See https://ai.stanford.edu/~amaas/a_b_c/x_y.html. \~\~No\~\~ \_italics\_ \*here\*, \_\_init\_\_" in text


def test_the_builder_need_not_be_around():
    text = written(SPEC.but(name="of_a_program", recipe="unheard_of(x=1)"))
    assert parsed(text)[1]["tags"] == ["keras", "zoo", "of_a_program"]
    assert "A newer or another zoo wrote it" in text


def test_counts_in_words():
    assert [scaled(n) for n in (0, 512, 9999, 25_640_000, 999_999, 4_089_000_000)] == [
        "0", "512", "9,999", "25.6 M", "1 M", "4.09 G",
    ]  # fmt: skip
    assert [size(n) for n in (0, 512, 3864, 10_000, 102_500_000)] == ["0 B", "512 B", "3.86 kB", "10 kB", "102 MB"]


def test_metadata_is_plain_data():
    fields = metadata(SPEC, name="me/pets", record=RECORD)
    assert json.loads(json.dumps(fields)) == fields
