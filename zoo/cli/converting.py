"""What `zoo convert` prints. Nothing here imports Keras until something is converted."""

from zoo.cli import screen


def convert(with_keras, source, format, out, *, name, license, arguments, as_json):
    """Converts a checkpoint and prints what became of it. `with_keras` gives zoo, once Keras is there."""
    model = with_keras().convert(source, format, out=out, name=name, license=license, **arguments)
    found = report(model)
    if as_json:
        screen.as_json(found | {"out": out})
        return
    screen.line(f"{source} became {found['model']}")
    screen.fields(
        [
            ("format", found["format"]),
            ("arguments", ", ".join(f"{k}={v}" for k, v in found["arguments"].items())),
            ("parameters", f"{found['parameters']:,} in {found['tensors']:,} tensors"),
            ("images", _reading(found["preprocessing"])),
            ("labels", _labels(found["labels"])),
            ("licence", found["license"] or "not named: ask its authors before using the weights"),
            *(("note", note) for note in found["notes"]),
            ("in the cache", found["folder"]),
            ("published", out),
        ]
    )


def report(model):
    """Returns what a converted model is: a dict of JSON values."""
    from zoo.hub.convert.running import notes_of
    from zoo.registry import find_model
    from zoo.spec import jsonable

    spec, usual = model.zoo_spec, find_model(model.zoo_spec.name).arguments
    arguments = {k: v for k, v in spec.arguments.items() if v != jsonable(usual.get(k))}
    parent = spec.parent or {}
    return {
        "model": spec.name,
        "format": parent.get("format", "zoo"),
        "source": parent.get("ref"),
        "sha256": parent.get("sha256"),
        "arguments": arguments,
        "parameters": int(model.count_params()),
        "tensors": len(model.weights),
        "preprocessing": spec.preprocessing,
        "labels": jsonable(spec.labels),
        "license": model.zoo_origin.license,
        "notes": notes_of(model),
        "folder": str(model.zoo_origin.folder),
    }


def _labels(labels):
    if isinstance(labels, dict):
        return _labels(next(iter(labels.values())))
    return f"{len(labels):,}: {', '.join(labels[:4])}{', ...' * (len(labels) > 4)}" if labels else "not named"


def _reading(declared):
    """Returns in words how an image file becomes input."""
    if not declared:
        return "not said: give arrays, or set the preprocessing before predicting from files"
    height, width, channels = declared["image_shape"]
    words = [
        f"{height} x {width} x {channels}",
        f"resized {declared['resize']}" if declared["resize"] else "not resized",
    ]
    if declared["crop"]:
        words.append(f"{declared.get('crop_mode', 'center')} crop {declared['crop']:g}")
    words.append(f"x {declared['scale']:.4g}")
    words += [f"{k} {', '.join(f'{v:.4g}' for v in declared[k])}" for k in ("mean", "std") if declared[k]]
    words += ["blue, green, red"] if declared.get("order") == "bgr" else []
    return "; ".join(words)
