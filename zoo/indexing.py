"""Generates what follows from the code: `registry.json` and the tables of the README. Run `python -m zoo.indexing`."""

import dataclasses
import importlib
import json
import re
import tomllib
from pathlib import Path

import keras

import zoo.adversarial
import zoo.compiled  # noqa: F401  registers its classes with Keras, as the one above does
from zoo import entries, factory, leaderboard_markdown, registry
from zoo.blocks import blocks_of, rows_of
from zoo.flops import count_flops
from zoo.shipping import shipped_entries
from zoo.spec import jsonable
from zoo.standings import leaderboard

PACKAGE = Path(__file__).parent
README = PACKAGE.parent / "README.md"
WEIGHTS = PACKAGE / "weights.toml"


def generate():
    """Returns the whole index, all but its `weights` computed anew from the code. Builds every variant once."""
    for folder in ("models", "tricks"):
        for path in sorted((PACKAGE / folder).glob("[!_]*.py")):
            importlib.import_module(f"zoo.{folder}.{path.stem}")
    builders = [b for b in registry.builders() if b.module.startswith("zoo.models.")]
    tricks = sorted((t for t in registry.tricks() if t.__module__.startswith("zoo.tricks.")), key=lambda t: t.name)
    # The classes that Keras may meet in a saved file; see `zoo.announce`.
    classes = {k: v for k, v in keras.saving.get_custom_objects().items() if k.startswith("zoo>")}
    return {
        "format": registry.FORMAT,
        "models": {name: _model(builder, name) for builder in builders for name in builder.variants},
        "tricks": {t.name: _entry(registry.trick_row(t), t.__module__) for t in tricks},
        "objects": {k: getattr(v, "module", None) or v.__module__ for k, v in sorted(classes.items())},
        "weights": weights(),
    }


def _model(builder, name):
    return _entry(registry.model_row(builder, name), builder.module, **jsonable(counted(factory.build_empty(name))))


def counted(model):
    """Returns what only a built model can tell: fields of `zoo.registry.ModelRow` with their values."""
    blocks = blocks_of(model)
    return {
        "input_shape": registry.input_shape_of(model),
        "parameters": model.count_params(),
        "flops": count_flops(model),
        "activations": sum(block.values for block in blocks),
        "blocks": rows_of(blocks),
    }


def _entry(row, module, **changes):
    entry = dataclasses.asdict(row) | changes | {"module": module.rpartition(".")[2]}
    del entry["name"]
    return dict(sorted(entry.items()))


def described_weights():
    """Returns the entries of the published weights that `weights.toml` describes, by name, without their counts."""
    found = {}
    for group in tomllib.loads(WEIGHTS.read_text("utf-8"))["group"]:
        for name, line in group["weights"].items():
            said = group | group.get("tags", {}).get(name.partition(".")[2], {}) | line
            arguments, size = dict(said.get("arguments", {})), said["image_size"]
            if "patch_size" in said:  # a vision transformer's weights have the shape of the grid of patches
                arguments |= {"patch_size": said["patch_size"], "image_shape": [size, size, 3]}
            kept = {field: said[field] for field in entries.FIELDS if field in said}
            kept |= {"ref": said["ref"].format(name=name), "arguments": arguments}
            metrics = {figure: said[figure] for figure in ("accuracy", "top_5_accuracy") if figure in said}
            if metrics:
                kept |= {"metrics": metrics, "dataset": f"{said['dataset']}, {size} x {size} pixels"}
            else:
                kept = {field: value for field, value in kept.items() if field not in ("dataset", "source")}
            if name in found:
                raise ValueError(f"{WEIGHTS} has two entries named {name!r}")
            found[name] = entries.checked_entry(name, dict(sorted(kept.items())), str(WEIGHTS))
    return found


def weights():
    """Returns the entries of the weights in the package and of those elsewhere, with the counts of their parameters.

    Builds each network once.
    """
    found, counts = described_weights(), {}
    for entry in found.values():
        built = json.dumps([entry["model"], entry["arguments"]], sort_keys=True)
        if built not in counts:
            counts[built] = factory.build_empty(entry["model"], **entry["arguments"]).count_params()
        entry["parameters"] = counts[built]
    return shipped_entries() | {name: dict(sorted(entry.items())) for name, entry in found.items()}


# The README


def shape_text(shape):
    """Returns an input's shape, or those of several inputs by name, as text."""
    if isinstance(shape, dict):
        return ", ".join(f"{name} {shape_text(part)}" for name, part in shape.items())
    return " x ".join(map(str, shape)) or "1"


def models_table(entries):
    """Returns the models of an index as a Markdown table."""
    lines = ["| model | parameters | FLOPs | input | task | paper |", "|---|--:|--:|---|---|---|"]
    for name, entry in entries.items():
        paper, shape = entry["paper"], shape_text(entry["input_shape"])
        task = entry["task"].replace("_", " ")
        lines.append(
            f"| `{name}` | {entry['parameters']:,} | {_short(entry['flops'])} | {shape} | {task} "
            f"| [{paper['authors']}, {paper['year']}]({paper['url']}) |"
        )
    return "\n".join(lines)


def tricks_table(entries):
    """Returns the tricks of an index as a Markdown table, in the order in which they apply."""
    lines = ["| trick | stage | what it does | paper |", "|---|---|---|---|"]
    for name, entry in sorted(entries.items(), key=lambda item: (registry.STAGES.index(item[1]["stage"]), item[0])):
        paper = entry["paper"]
        lines.append(
            f"| [{name}](docs/tricks/{name}.md) | {entry['stage']} | {entry['summary']} "
            f"| [{paper['authors']}, {paper['year']}]({paper['url']}) |"
        )
    return "\n".join(lines)


def _short(number):
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def with_tables(text, found):
    """Returns the README's text with its tables made anew from an index.

    Raises:
        ValueError: a table's marks, `<!-- models -->` to `<!-- /models -->`, are missing.
    """
    tables = {
        "models": models_table(found["models"]),
        "tricks": tricks_table(found["tricks"]),
        "results": leaderboard_markdown.table(leaderboard()),
    }
    for name, table in tables.items():
        before, opened, rest = text.partition(f"<!-- {name} -->")
        _, closed, after = rest.partition(f"<!-- /{name} -->")
        if not (opened and closed):
            raise ValueError(f"the README has no <!-- {name} --> ... <!-- /{name} -->")
        text = f"{before}{opened}\n{table}\n{closed}{after}"
    return text


def written(found):
    """Returns an index as JSON, one line for each block of a model and each shape of a weight's image."""

    def on_one_line(block):
        return "{" + re.sub(r"\s*\n\s*", " ", block[1]).replace("[ ", "[").replace(" ]", "]") + "}"

    text = json.dumps(found, indent=1, ensure_ascii=False)
    text = re.sub(r'\{\s+("name": [^{}]*"flops": [^{}]*?)\s+\}', on_one_line, text)
    code, weights, published = text.partition('\n "weights": {')
    return code + weights + re.sub(r"\[\s+(\d+),\s+(\d+),\s+(\d+)\s+\]", r"[\1, \2, \3]", published) + "\n"


def main():
    """Rewrites `registry.json` and the tables of the README."""
    found = generate()
    path = registry.data_file("registry.json")
    path.write_text(written(found), "utf-8")
    README.write_text(with_tables(README.read_text("utf-8"), found), "utf-8")
    counts = ", ".join(f"{len(found[part])} {part}" for part in ("models", "tricks", "weights"))
    print(f"{counts}: {path.name}, {README.name}")


if __name__ == "__main__":
    main()
