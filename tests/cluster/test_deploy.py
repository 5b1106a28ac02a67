"""docs/deploy/cluster.yaml: its commands have the options that they name, and its parts fit together."""

from __future__ import annotations

from typing import Any

import yaml
from distributed.cli import dask_scheduler, dask_worker

from architecture.source_tree import PROJECT
from image_syncer_cli.verbs.sync import sync

COMMANDS = {
    ("dask", "scheduler"): dask_scheduler.main,
    ("dask", "worker"): dask_worker.main,
    ("image-syncer", "sync"): sync,
}


def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((PROJECT / "docs" / "deploy" / "cluster.yaml").read_text(encoding="utf-8")))


def pods() -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in documents() if one["kind"] != "Service"}


def test_every_option_is_one_of_its_command() -> None:
    seen = set()
    for pod in pods().values():
        (container,) = pod["containers"]
        program, verb, *words = container["command"]
        command = COMMANDS[program, verb]
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        options = [word.partition("=")[0] for word in words if word.startswith("--")]
        assert set(options) <= known, container["name"]
        assert "--protocol=tls" in words or program == "image-syncer"
        seen.add((program, verb))
    assert seen == COMMANDS.keys()


def test_all_run_without_root_and_write_nowhere_but_in_their_scratch() -> None:
    for pod in pods().values():
        (container,) = pod["containers"]
        security = container["securityContext"]
        assert security["runAsNonRoot"]
        assert security["readOnlyRootFilesystem"]
        assert not security["allowPrivilegeEscalation"]
        assert pod["automountServiceAccountToken"] is False
        mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
        assert {volume["name"] for volume in pod["volumes"]} == mounts.keys()
        assert [name for name, mount in mounts.items() if not mount.get("readOnly")] == ["scratch"]


def test_the_sync_waits_for_all_workers_at_the_scheduler_that_there_is() -> None:
    (service,) = [one for one in documents() if one["kind"] == "Service"]
    address = f"tls://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    found = pods()
    assert address in found["image-syncer-worker"]["containers"][0]["command"]
    words = found["image-syncer-sync"]["containers"][0]["command"]
    assert f"--cluster={address}" in words
    (workers,) = [one for one in documents() if one["metadata"]["name"] == "image-syncer-worker"]
    assert f"--workers={workers['spec']['replicas']}" in words
