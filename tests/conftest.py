"""Fixtures: folders of real data, and skips that can be made failures.

`ZOO_DATA` names the folder of real data sets, `ZOO_GOLDEN` (by default `golden` beside
it) that of other people's model outputs. `ZOO_REQUIRE`, a
comma-separated list of markers, turns a skip of a test with that marker into a failure: CI sets it, so that a test
which could not run does not pass for one that did.
"""

import importlib.util
import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["HF_HUB_DISABLE_XET"] = "1"  # read when huggingface_hub is imported; the loopback Hub speaks plain LFS


def _folder(variable):
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"set {variable} to the folder that holds it")
    path = Path(value)
    if not path.is_dir():
        pytest.fail(f"{variable}={value} is not a folder")
    return path


@pytest.fixture(scope="session")
def zoo_data():
    """The folder of real data sets."""
    return _folder("ZOO_DATA")


@pytest.fixture(scope="session")
def zoo_golden():
    """The folder of other people's model outputs."""
    beside = Path(os.environ.get("ZOO_DATA", ".")).parent / "golden"
    if "ZOO_GOLDEN" not in os.environ and "ZOO_DATA" in os.environ and beside.is_dir():
        return beside
    return _folder("ZOO_GOLDEN")


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    """Keeps every test's cache, hub and registry to itself."""
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "zoo-cache"))
    monkeypatch.setenv("ZOO_HUB", str(tmp_path / "zoo-hub"))
    monkeypatch.setenv("ZOO_REGISTRY", str(tmp_path / "zoo-registry.json"))


@pytest.fixture
def warm_cache(tmp_path_factory, monkeypatch):
    """One cache for the whole session and its workers, for tests that read real data without testing how."""
    base = tmp_path_factory.getbasetemp()
    together = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    monkeypatch.setenv("ZOO_CACHE", str(together / "zoo-cache"))


@pytest.fixture(scope="session")
def _loopback_hub():
    from hub_server import HubServer

    server = HubServer()
    yield server
    server.close()


@pytest.fixture
def hub_server(_loopback_hub, tmp_path, monkeypatch):
    """An empty Hugging Face Hub on the loopback interface, see `hub_server.HubServer`; the environment points to it."""
    _loopback_hub.reset()
    _loopback_hub.home = tmp_path / "hf-home"
    for name, value in _loopback_hub.settings().items():
        monkeypatch.setenv(name, value)
    return _loopback_hub


@pytest.fixture(autouse=True)
def _own_builders():
    """Takes back the builders that a test registered, as other tests count the models that there are."""
    from nets import forget

    from zoo import registry

    before = {builder.family for builder in registry.builders()}
    yield
    forget(lambda builder: builder.family not in before and not builder.module.startswith("zoo.models."))


def pytest_runtest_setup(item):
    for backend in ("torch", "jax"):
        if item.get_closest_marker(backend) and importlib.util.find_spec(backend) is None:
            pytest.skip(f"needs {backend}: pip install {backend}")
    if item.get_closest_marker("peers") and not all(map(importlib.util.find_spec, ("keras_hub", "timm"))):
        pytest.skip("needs KerasHub and timm: make backends")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    required = {m for m in os.environ.get("ZOO_REQUIRE", "").split(",") if m}
    if report.skipped and required & {m.name for m in item.iter_markers()}:
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, but ZOO_REQUIRE demands it: {report.longrepr}"
