"""timm pushes with its own code to a Hub, zoo pulls: the same logits, and the same answers about a photograph."""

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hub_server import HubServer

import zoo

pytestmark = [pytest.mark.torch, pytest.mark.peers, pytest.mark.slow]
CLASSES = ["china", "flower", "cat", "dog", "crane"]
MODELS = {  # architecture -> arguments of timm.create_model, side of the images that are compared
    "resnet18": ({}, 64),
    "resnet50": ({}, 64),
    "vit_tiny_patch16_224": ({"img_size": 64}, 64),
    "vit_small_patch16_224": ({"img_size": 48}, 48),
    "inception_v3": ({}, 107),
    "legacy_xception": ({}, 71),
}
BUILT = {"vit_tiny_patch16_224": "vit_tiny", "vit_small_patch16_224": "vit_small", "legacy_xception": "xception"}
PUSH = """
    import json, sys, types
    sys.modules["torchvision._meta_registrations"] = types.ModuleType("none")
    import numpy, timm, torch
    from sklearn.datasets import load_sample_images
    from PIL import Image
    from timm.models import push_to_hf_hub

    out, models, classes = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
    photograph = Image.fromarray(load_sample_images().images[0])
    for name, (arguments, side) in models.items():
        torch.manual_seed(0)
        model = timm.create_model(name, num_classes=len(classes), **arguments).eval()
        images = numpy.random.default_rng(0).standard_normal((4, 3, side, side)).astype("float32")
        for value in model.state_dict().values():  # timm's first values leave biases at 0 and scales at 1
            if value.is_floating_point() and value.ndim == 1:
                value.add_(0.1 * torch.randn_like(value))
        for module in model.modules():  # nor do untrained statistics let the image through to the logits
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        with torch.no_grad():
            model.train()(torch.from_numpy(images))
        model.eval()
        cfg = timm.data.resolve_data_config(arguments, model=model)
        ready = timm.data.create_transform(**cfg, is_training=False)(photograph)[None]
        with torch.no_grad():
            logits = model(torch.from_numpy(images)).numpy()
            answer = model(ready).softmax(-1)[0].numpy()
        numpy.savez(f"{out}/{name}.npz", images=images.transpose(0, 2, 3, 1), logits=logits, answer=answer)
        config = {"label_names": classes}
        safe = "both" if name == "resnet18" else True
        push_to_hf_hub(model, f"me/{name}", model_config=config, safe_serialization=safe)
        del model
"""


@pytest.fixture(scope="module")
def timms_hub(tmp_path_factory):
    """A Hub that timm pushed every one of `MODELS` to, and a folder with what timm computed."""
    out = tmp_path_factory.mktemp("timm")
    server = HubServer()
    server.home = out / "home"
    words = (str(out), json.dumps(MODELS), json.dumps(CLASSES))
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PUSH), *words],
        env=server.environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    yield server, out
    server.close()


@pytest.mark.parametrize("name", MODELS)
def test_what_timm_pushed_is_the_same_network_here(timms_hub, tmp_path, monkeypatch, name):
    server, out = timms_hub
    server.home = tmp_path / "hf-home"
    for variable, value in server.settings().items():
        monkeypatch.setenv(variable, value)
    before = len(server.log)
    side = MODELS[name][1]
    theirs = np.load(out / f"{name}.npz")
    small = {} if name.startswith("vit") else {"image_shape": (side, side, 3)}
    model = zoo.load(f"hf://me/{name}", **small)
    assert model.zoo_spec.name == BUILT.get(name, name)
    assert model.zoo_spec.labels == tuple(CLASSES)
    logits = model.predict(theirs["images"], verbose=0)
    worst = np.abs(logits - theirs["logits"]).max() / np.abs(theirs["logits"]).max()
    print(f"{name}: {worst:.1e}")
    assert worst < 1e-3
    assert np.ptp(theirs["logits"], axis=0).max() > 1e-2  # the images do tell
    fetched = {seen.path.rpartition("/")[2] for seen in server.log[before:] if "/resolve/" in seen.path}
    assert "model.safetensors" in fetched
    assert not {"pytorch_model.bin", "model.bin"} & fetched
    assert model.zoo_spec.parent["ref"].startswith(f"hf://me/{name}@")


@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224", "legacy_xception"])
def test_a_photograph_gets_the_answer_that_timm_gives(timms_hub, tmp_path, monkeypatch, name):
    from PIL import Image
    from sklearn.datasets import load_sample_images

    server, out = timms_hub
    server.home = tmp_path / "hf-home"
    for variable, value in server.settings().items():
        monkeypatch.setenv(variable, value)
    Image.fromarray(load_sample_images().images[0]).save(tmp_path / "photo.png")
    wanted = dict(zip(CLASSES, np.load(out / f"{name}.npz")["answer"], strict=True))
    found = dict(zoo.predict(f"hf://me/{name}", [tmp_path / "photo.png"], top=5)[0].top)
    assert found == pytest.approx(wanted, rel=1e-3, abs=1e-5)
