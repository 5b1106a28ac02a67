"""The files of docs/deploy: what they run are command lines that exist, and they keep what they promise."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest
import yaml

from image_syncer_cli.main import cli

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy"
UNIT = DEPLOY / "image-syncer-watch.service"


def parse(words: list[str]) -> dict[str, object]:
    """The parameters of a command line, as click reads them. Raises UsageError."""
    assert words[0] == "image-syncer"
    command = cli.commands[words[1]]
    return command.make_context(words[1], list(words[2:])).params


def unit_value(key: str) -> str:
    found = re.findall(rf"^{key}=(.*)$", UNIT.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(found) == 1, key
    return found[0]


def test_the_unit_runs_a_command_that_exists() -> None:
    program, *words = shlex.split(unit_value("ExecStart"))
    given = parse([Path(program).name, *words])
    assert given["every"] == "10m"
    assert given["auth"] == "%d/auth.yaml"
    assert unit_value("LoadCredential") == "auth.yaml:/etc/image-syncer/auth.yaml"
    assert str(given["state_path"]).startswith(f"/var/lib/{unit_value('StateDirectory')}/")
    assert unit_value("ExecReload").endswith("-HUP $MAINPID")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not there (package systemd)")
def test_systemd_has_nothing_to_say_about_the_unit(tmp_path) -> None:
    unit = tmp_path / UNIT.name
    program = shlex.split(unit_value("ExecStart"))[0]
    unit.write_text(UNIT.read_text(encoding="utf-8").replace(program, "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=120, check=False
    )
    ours = [line for line in (done.stdout + done.stderr).splitlines() if UNIT.stem in line]
    assert ours == []
    lost = tmp_path / "lost.service"
    lost.write_text(unit.read_text().replace("ProtectHome=yes", "ProtectHomes=yes"))
    told = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(lost)], capture_output=True, text=True, timeout=120, check=False
    )
    assert "ProtectHomes" in told.stderr + told.stdout, "it does not look at what it is given"


@pytest.fixture
def job() -> dict:
    documents = list(yaml.safe_load_all((DEPLOY / "cronjob.yaml").read_text(encoding="utf-8")))
    assert [document["kind"] for document in documents] == ["CronJob"]
    return documents[0]["spec"]


def test_the_cron_job_runs_a_command_that_exists(job) -> None:
    pod = job["jobTemplate"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    given = parse([*container["command"], *container["args"]])
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    for option, kind in (("auth", "secret"), ("images", "configMap")):
        mount = mounts[str(Path(str(given[option])).parent)]
        assert mount["readOnly"] is True
        assert kind in volumes[mount["name"]]
    assert mounts.keys() >= {variable["value"] for variable in container["env"]}


def test_the_cron_job_has_no_rights_that_it_does_not_need(job) -> None:
    assert job["concurrencyPolicy"] == "Forbid"
    pod = job["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    rights = container["securityContext"]
    assert (rights["readOnlyRootFilesystem"], rights["allowPrivilegeEscalation"]) == (True, False)
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert "memory" in container["resources"]["limits"]


def test_a_command_line_that_does_not_exist_is_found() -> None:
    with pytest.raises(click.UsageError):
        parse(["image-syncer", "watch", "--evry", "10m"])
