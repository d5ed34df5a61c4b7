"""Fine-tuning: a pretrained model becomes one for other data, and says before it trains what of it will change."""

import contextlib
import shlex
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import keras

from zoo.averages import put_back, values_of
from zoo.batch_statistics import batch_norms
from zoo.blocks import block_of
from zoo.depths import layer_groups
from zoo.factory import build_plain
from zoo.files import sha256_of
from zoo.hub.convert.foreign import license_in
from zoo.image_size import with_image_size
from zoo.inference import assets_of, check_task, data_for
from zoo.plan import count
from zoo.recipes import make_trick
from zoo.recipes import recipe as read_recipe
from zoo.registry import STAGES, builder_of
from zoo.settings import policy, precision_of, whole
from zoo.spec import attach, jsonable, spec_of
from zoo.training import repeated, train
from zoo.weights import head_layers, load_weights, save_weights

DEFAULT, FROZEN = "finetune_full", "finetune_head"  # recipes where none was given; the latter with freeze=True
FREEZING = ("freeze_backbone", "features_once", "lora")  # tricks that freeze everything below the head
_ROWS = 16  # of the table; of more groups of layers the middle ones are left out


def finetune(model, data, *, recipe=None, freeze=False, image_size=None, data_options=None, **options):
    """Trains a pretrained model on other data: a new head for the data's classes, everything else kept.

    Before it trains it says what trains and what is frozen, with counts and learning rates, and what of the parent
    was left out.

    Args:
        model: a reference, a `Run`, a run folder, or a model whose weights are the start.
        data: as for `train`; it is read with the model's own preprocessing.
        recipe: as for `train`; by default "finetune_full". Others made for this are "finetune_head", "finetune_llrd",
            "finetune_lora" and "linear_probe"; tricks are added as ever: "finetune_llrd+mixup".
        freeze: whether only the new head trains; batch-norm statistics then stay as they are too. Without a recipe
            this is "finetune_head", else it adds the trick "freeze_backbone".
        image_size: pixels, one number or (height, width), that the model and its data are to have from now on; position
            embeddings are resized.
        data_options: options of the data set.
        **options: the other keyword arguments of `train`; `dry_run=True` returns what would be done, as text.

    Returns:
        The `Run`; its model names the parent's reference, the hash of its weights and, where it is known, its licence.

    Raises:
        As `train`, and:
        InvalidArgument, IntegrityError: as `zoo.load`.
    """
    chosen = _chosen(recipe, freeze)
    precision = precision_of(options.get("mixed_precision"))
    with _origin(model) as origin:
        spec = _resized(origin.spec, image_size)
        dataset = data_for(data, spec, origin.assets, data_options)
        check_task(spec.task, spec.name, dataset)
        arguments, classes = dict(spec.arguments), isinstance(dataset.labels, tuple)
        if "num_classes" in arguments and classes:
            arguments["num_classes"] = _num_classes(spec, dataset)
        if arguments.get("batch_size"):
            arguments["batch_size"] = chosen.setting("batch_size", options.get("batch_size"), arguments["batch_size"])
        with policy({"precision": precision, "deterministic": False}):
            keras.utils.set_random_seed(whole("seed", options.get("seed", 0)))  # the new head's values come from it
            fresh = build_plain(spec.name, arguments)
            chosen.initialise(fresh)
        initial = values_of(v for layer in head_layers(fresh) for v in layer.weights)
        adapted = builder_of(spec.name)[0].adapted
        adapted = adapted and adapted(origin.spec.arguments, spec_of(fresh).arguments)
        report = load_weights(fresh, origin.weights, ignore_head=classes, adapted=adapted)
    renewed = classes and spec.labels != dataset.labels
    if renewed:
        put_back(initial)
    attach(fresh, spec_of(fresh).but(parent=origin.parent))
    if 1 not in (spec.arguments.get("num_classes"), arguments.get("num_classes")):
        attach(fresh, spec_of(fresh).but(heads=spec.heads))  # several sigmoids, or a softmax, that a recipe chose
    if origin.ref is not None and origin.ref == origin.parent["ref"] and isinstance(data, (str, Path)):
        words = ["zoo", "finetune", origin.ref, str(data)]  # the reference was not shortened
        words += [] if image_size is None else ["--image-size", _written(image_size)]
        fresh.zoo_command = shlex.join(words + repeated("--data-option", data_options))
    opening = Opening(origin, report, renewed, tuple(spec.labels or ()) if classes else (), dataset.labels)
    fresh.__dict__["zoo_opening"] = opening.said  # past Keras's own tracking; `train` says it
    return train(fresh, dataset, recipe=chosen, data_options=None, **options)


def _chosen(recipe, freeze):
    """Returns the recipe, which freezes everything below the head if that was asked for."""
    chosen = read_recipe(recipe or (FROZEN if freeze else DEFAULT))
    if not freeze or any(t.name in FREEZING for t in chosen.tricks):
        return chosen
    tricks = (*chosen.tricks, make_trick("freeze_backbone", {}))
    return replace(chosen, tricks=tuple(sorted(tricks, key=lambda t: (STAGES.index(t.stage), t.name))))


def _resized(spec, image_size):
    """Returns a spec, and the preprocessing in it, for pictures of another size."""
    if image_size is None:
        return spec
    arguments = jsonable(with_image_size(spec.name, {}, image_size, spec.arguments))
    declared = spec.preprocessing
    if declared and "image_shape" in declared:
        declared = declared | arguments | {"resize": declared.get("resize") or "bilinear"}
    return spec.but(arguments=spec.arguments | arguments, preprocessing=declared)


def _num_classes(spec, dataset):
    classes = len(dataset.labels)
    return 1 if classes == 2 and spec.arguments.get("num_classes") == 1 else classes


def _written(image_size):
    return "x".join(map(str, image_size)) if isinstance(image_size, (list, tuple)) else str(image_size)


# Where it starts


@dataclass(frozen=True)
class Origin:
    """What is fine-tuned.

    Attributes:
        spec: its `Spec`.
        assets: file name -> bytes, of the files that its preprocessing needs.
        weights: path of its weights.
        ref: its reference, or None for a model in memory.
        parent: what the result records: {"ref", "sha256"}, and "license" where it is known.
    """

    spec: object
    assets: dict
    weights: Path
    ref: str | None
    parent: dict


@contextlib.contextmanager
def _origin(model):
    """Gives the `Origin` of a model, reference or run; its weights are there as long as the block lasts."""
    from zoo.hub import checkpoint, resolve_weights

    if isinstance(model, keras.Model):
        origin = getattr(model, "zoo_origin", None)
        with tempfile.TemporaryDirectory() as folder:
            path = save_weights(model, Path(folder) / "weights.safetensors")
            parent = {"ref": origin.parent()["ref"] if origin else None, "sha256": sha256_of(path)}
            yield Origin(spec_of(model), assets_of(model), path, None, parent | _license(spec_of(model), origin))
    else:
        found = resolve_weights(None, model) if isinstance(model, str) else checkpoint(model)
        parent = found.parent() | _license(found.spec, found)
        yield Origin(found.spec, found.assets(), found.weights, found.ref, parent)


def _license(spec, found):
    """Returns the licence of the parent's weights as its card names it, else that of what the parent began from."""
    known = license_in(found.folder) if found is not None else None
    known = known or (spec.parent or {}).get("license")
    return {"license": known} if known else {}


# What will happen


@dataclass(frozen=True)
class Opening:
    """What a fine-tuning says before it trains.

    Attributes:
        origin: the `Origin`.
        report: the `zoo.weights.LoadReport` of the parent's weights.
        renewed: whether the head begins anew.
        before, after: class names of the parent and of the data; of other targets () and whatever the data declares.
    """

    origin: Origin
    report: object
    renewed: bool
    before: tuple
    after: object

    def said(self, model):
        """Returns it as text, several lines.

        Args:
            model: the compiled `ZooModel` that is about to train.
        """
        parent, frozen = self.origin.parent, {id(v) for v in model.plan.frozen}
        license = f", licence {parent['license']}" if "license" in parent else ""
        name = parent["ref"] or "a model in memory"
        start = f"fine-tuning {spec_of(model).name} from {name} (sha256 {parent['sha256'][:12]}{license})"
        lines = [start, self._head()]
        lines += [f"resized: {path} from {_shape(old)} to {_shape(new)}" for path, old, new in self.report.adapted]
        lines += _table(model, frozen)
        norms = batch_norms(model)
        still = sum(layer in model.plan.inference_layers for layer in norms)
        if norms:
            follow = f"{len(norms) - still} follow the new data" if still < len(norms) else ""
            stay = f"{still} stay as they are" if still else ""
            lines.append(f"batch-norm statistics: of {len(norms)} layers " + ", ".join(filter(None, (stay, follow))))
        return "\n".join(lines)

    def _head(self):
        """Returns the line on the head: new or kept, and what of the parent was left out."""
        if not self.renewed:
            return "head: the parent's" + (", as the classes are the same" if self.before else "")
        shown = ", ".join(map(str, self.after[:6])) + (", ..." if len(self.after) > 6 else "")
        before = f" in place of {len(self.before)}" if self.before else ""
        left = sorted({*self.report.not_loaded, *self.report.unused}) or ["the values of the old one"]
        return f"head: new, {len(self.after)} classes{before} ({shown}); left out of the parent: {', '.join(left)}"


def _shape(shape):
    return "x".join(map(str, shape))


def _table(model, frozen):
    """Returns the lines on groups of layers: how many weights train and stay, and at what learning rate."""
    rates, beside = _rates(model), {a.dense: a.trainable_variables for a in model.plan.adapters}
    rows = []
    for group in layer_groups(model):
        layers = [layer for layer in group if layer.weights]
        weights = list({id(v): v for layer in layers for v in layer.weights}.values())
        trained = [v for v in weights if v.trainable and id(v) not in frozen]
        frozen_here = count(weights) - count(trained)
        trained += [v for layer in layers for v in beside.get(layer, ())]
        said = sorted({rates.get(v.path, (model.plan.learning_rate, False)) for v in trained})
        rows.append((_name(layers), count(trained), frozen_here, _rate(said)))
    total = ("in all", sum(r[1] for r in rows), sum(r[2] for r in rows), "")
    if len(rows) > _ROWS:
        half = _ROWS // 2
        middle = rows[half:-half]
        rest = (f"({len(middle)} more)", sum(r[1] for r in middle), sum(r[2] for r in middle), "")
        rows = [*rows[:half], rest, *rows[-half:]]
    cells = [("layers", "train", "frozen", "learning rate")]
    cells += [(n, f"{a:,}", f"{b:,}", r) for n, a, b, r in (*rows, total)]
    first, *others = (max(len(row[i]) for row in cells) for i in range(3))
    return [f"  {n:<{first}}  {a:>{others[0]}}  {b:>{others[1]}}  {r}".rstrip() for n, a, b, r in cells]


def _name(layers):
    """Returns what a group of layers is called: its block, or its first and last layer."""
    names = [layer.name for layer in layers]
    blocks = {block_of(name) for name in names}
    if len(names) == 1 or len(blocks) == 1:
        return names[0] if len(names) == 1 else blocks.pop()
    return f"{names[0]} to {names[-1]}"


def _rates(model):
    """Returns dict, path of a variable -> (peak learning rate, whether it stands still at first), from the factors."""
    found = {}
    for factors in model.plan.rate_factors:
        for path, factor in factors(model).items():
            rate, thaws = found.get(path, (model.plan.learning_rate, False))
            number = isinstance(factor, (int, float))
            found[path] = (rate * factor, thaws) if number else (rate, True)
    return found


def _rate(said):
    """Returns the learning rates of a group as text."""
    if not said:
        return ""
    low, high = said[0][0], said[-1][0]
    shown = f"{high:.3g}" if low == high else f"{low:.3g} to {high:.3g}"
    return f"{shown}, from its thaw on" if any(thaws for _, thaws in said) else shown
