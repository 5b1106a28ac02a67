"""The SDKs of clouds are extras: nobody loads them before a registry of theirs is met, and a worker never does."""

from __future__ import annotations

import subprocess
import sys

import pytest

from architecture.source_tree import ENGINE_ROOT, imports_of, modules_under

SDKS = ("botocore", "google", "azure", "msal", "requests", "urllib3")
DASK = ("dask", "distributed", "tornado")
LOADED = "import sys, importlib; importlib.import_module(sys.argv[1]); print(*sorted(sys.modules))"


@pytest.mark.parametrize(
    "module", ["image_syncer.worker.process", "image_syncer.coordinator.run", "image_syncer.cluster.run"]
)
def test_importing_a_process_loads_no_sdk(module) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, module],
        env={"PYTHONPATH": str(ENGINE_ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    loaded = done.stdout.split()
    assert module in loaded
    assert [name for name in loaded if name.partition(".")[0] in (*SDKS, *DASK)] == []
    if module == "image_syncer.worker.process":
        assert [name for name in loaded if name.startswith("image_syncer.credentials.clouds")] == []


def test_only_the_modules_of_clouds_know_the_sdks() -> None:
    found = {
        module.name
        for module in modules_under(ENGINE_ROOT)
        for each in imports_of(module)
        if each.module.partition(".")[0] in SDKS
    }
    assert found == {f"image_syncer.credentials.clouds.{name}" for name in ("azure", "ecr", "google")}


def test_only_the_metrics_know_prometheus() -> None:
    found = {
        module.name
        for module in modules_under(ENGINE_ROOT)
        for each in imports_of(module)
        if each.module.partition(".")[0] == "prometheus_client"
    }
    assert found == {
        "image_syncer.telemetry.metrics",
        "image_syncer.watch.watcher",
    }


def test_only_two_modules_know_dask() -> None:
    found = {
        module.name
        for module in modules_under(ENGINE_ROOT)
        for each in imports_of(module)
        if each.module.partition(".")[0] in DASK
    }
    assert found == {"image_syncer.cluster.connection", "image_syncer.cluster.engine_actor"}
