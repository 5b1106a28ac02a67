"""A machine that knows of no cloud: what the one that runs the tests has is out of reach."""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest

from image_syncer.telemetry import logs
from support.sync_runs import SyncLab

OURS = ("AWS_", "GOOGLE_", "GCE_", "NO_GCE", "CLOUDSDK_", "AZURE_", "ALIBABA_", "IDENTITY_", "MSI_", "REQUESTS_CA")


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """Its home is empty, its network has no metadata, and no cloud's program is on its PATH."""
    for name in list(os.environ):
        if name.startswith(OURS):
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("ALIBABA_CLOUD_ECS_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return monkeypatch


@pytest.fixture
def lab(tmp_path, machine):
    """Registries of our own, and runs between them in which the pauses before another try are as short as can be."""
    machine.setattr("random.random", lambda: 0.0)
    with ExitStack() as stack:
        yield SyncLab(stack, tmp_path)
    for sink in logs._sinks:
        sink.close()
    logs._sinks.clear()
