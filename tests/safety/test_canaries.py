"""Secrets are planted in every place that has some, everything is made to fail, and then they are looked for in all
that a run leaves behind: standard output and error at the highest level, logs, reports, journals, the arguments of its
processes.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import signal
import stat
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from image_syncer.embedded import ContentBuilder
from support.canaries import Canaries, files_below
from support.leaky_registry import LeakyRegistry, serve_leaky
from support.processes import workers_of

if TYPE_CHECKING:
    from collections.abc import Iterator

PROJECT = Path(__file__).parents[2]
TAG = "v1"
TIMEOUT_S = 240


def rarely(*modes: str) -> list[object]:
    """For the slow tests: much the same as the others."""
    return [pytest.param(mode, marks=pytest.mark.slow) for mode in modes]


MODES_OF_A_SOURCE = (
    *("basic refused", "403", "storage refuses", "cut"),
    *rarely("fine", "token refused", "token broken", "500", "userinfo", "wrong bytes"),
)
MODES_OF_A_DESTINATION = (
    *("manifest refused", "upload refused"),
    *rarely("empty", "basic refused", "500", "403", "upload cut"),
)
CRASH = """
import sys
from image_syncer.net import TokenBroker
from image_syncer_cli.main import main

fetch = TokenBroker._fetch

async def crash(self, key, endpoint, challenge, repository):
    found = await fetch(self, key, endpoint, challenge, repository)
    _registry, credential, _scopes = key
    raise ZeroDivisionError(f"{found!r} {key!r} {credential!r} {vars(self)!r} Authorization: {found.value}")

TokenBroker._fetch = crash
sys.exit(main())
"""


@dataclass
class Nest:
    """A source and a destination that tell back what they are told, and a command that knows many secrets."""

    directory: Path
    source: LeakyRegistry
    destination: LeakyRegistry
    canaries: Canaries
    environment: dict[str, str] = field(default_factory=dict)
    planted: set[Path] = field(default_factory=set)
    runs: int = 0

    def plant(self, name: str, content: object, mode: int = 0o600) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        path.chmod(mode)
        self.planted.add(path)
        return path

    def plant_all(self, kind: str = "auth file") -> None:
        """Credentials of the source in a place of `kind`, those of the destination in the environment."""
        canaries = self.canaries
        source: dict[str, object] = {"insecure": True, "headers": {"X-Api-Key": canaries["header"]}}
        docker: dict[str, object] = {}
        if kind == "auth file":
            source |= {"username": "robot", "password": canaries["authfile"]}
        elif kind == "identity token":
            source |= {"username": "robot", "identityToken": canaries["identity"]}
        elif kind == "docker":
            secret = base64.b64encode(f"robot:{canaries['docker']}".encode()).decode()
            docker = {"auths": {self.source.address: {"auth": secret}}}
        else:
            docker = {"credHelpers": {self.source.address: "canary"}}
            answer = json.dumps({"Username": "robot", "Secret": canaries["helper"]})
            words = f"#!/bin/sh\necho {canaries['helperwords']} >&2\n"
            good = f"{words}cat > /dev/null\ncat <<'END'\n{answer}\nEND\n"
            bad = f"{words}echo the password {canaries['helper']} is wrong\nexit 1\n"
            self.plant("bin/docker-credential-canary", bad if kind == "broken helper" else good, 0o700)
        self.plant("docker/config.json", json.dumps(docker))
        destination = {"insecure": True, "username": "robot", "password": "${DESTINATION_PASSWORD}"}
        entries = {self.source.address: source, self.destination.address: destination}
        self.plant("auth.yaml", entries)
        (self.directory / "images.yaml").write_text(
            yaml.safe_dump({f"{self.source.address}/team/app:{TAG}": f"{self.destination.address}/team/app"})
        )
        self.environment = {
            "DESTINATION_PASSWORD": canaries["environment"],
            "DOCKER_CONFIG": str(self.directory / "docker"),
            "PATH": f"{self.directory / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(str(PROJECT / name) for name in ("engine", "cli")),
            "http_proxy": "",
            "no_proxy": "*",
        }

    def start(
        self, *words: object, script: str | None = None, given: bytes | None = None, err: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Standard error goes to the file `err`, if there is one."""
        program = [sys.executable, "-c", script] if script else [sys.executable, "-m", "image_syncer_cli"]
        with ExitStack() as stack:
            return subprocess.Popen(
                [*program, *map(str, words)],
                cwd=self.directory,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL if given is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE if err is None else stack.enter_context(err.open("wb")),
            )

    def run(self, *words: object, script: str | None = None, given: bytes | None = None) -> tuple[int, str]:
        """Exit code and standard error; no secret is in anything that the run left behind."""
        process = self.start(*words, script=script, given=given)
        try:
            out, err = process.communicate(given, timeout=TIMEOUT_S)
        finally:
            process.kill()
        self.search(out=out, err=err)
        return process.returncode, err.decode()

    def search(self, **told: bytes) -> None:
        texts = {**told, **files_below(self.directory, but=self.planted)}
        journals = [name for name in texts if ".state" in name]
        assert self.canaries.found_in({name: text for name, text in texts.items() if name not in journals}) == []
        # The journal has the addresses of uploads that are open, since the next run goes on with them.
        state = self.canaries.pop("state")
        assert self.canaries.found_in({name: texts[name] for name in journals}) == []
        self.canaries["state"] = state

    def sync_words(self, *more: object) -> list[object]:
        self.runs += 1
        number = self.runs
        files = ["--auth", "auth.yaml", "--images", "images.yaml", "--retries", 0, "--workers", 1]
        written = ["--report", f"report{number}.json", "--log", f"run{number}.log", "--state", f"run{number}.state"]
        return [*files, *written, "--debug", "--stall-timeout", "30s", *more]


@pytest.fixture
def nest(tmp_path: Path) -> Iterator[Nest]:
    canaries = Canaries()
    names = ("token", "refresh", "signature", "state", "cookie", "userinfo")
    secrets = {name: canaries[name] for name in names}
    image = ContentBuilder(seed=7).image(1, layer_bytes=3_000_000)
    with ExitStack() as stack:
        source = stack.enter_context(serve_leaky(LeakyRegistry(image, TAG, secrets)))
        destination = stack.enter_context(serve_leaky(LeakyRegistry(image, TAG, secrets, mode="empty")))
        nest = Nest(tmp_path, source, destination, canaries)
        nest.plant_all()
        yield nest


def test_what_is_looked_for_is_found() -> None:
    canaries = Canaries()
    secret = canaries["one"]
    spelt = {
        "plain": f"password {secret} is wrong".encode(),
        "basic 0": base64.b64encode(f"{secret}:x".encode()),
        "basic 1": base64.b64encode(f"r:::{secret}".encode()),
        "basic 2": base64.b64encode(f"robot:{secret}".encode()),
        "twice": base64.b64encode(base64.b64encode(secret.encode())),
        "hex": secret.encode().hex().encode(),
        "upper": secret.upper().encode(),
    }
    assert {line.split(":")[0] for line in canaries.found_in(spelt)} == {f"one in {name}" for name in spelt}
    assert canaries.found_in({"other": b"Zk7wQ9 and nothing else"}) == []


@pytest.mark.parametrize("mode", MODES_OF_A_SOURCE)
def test_a_source_that_fails(nest: Nest, mode: str) -> None:
    nest.source.mode = mode
    code, _ = nest.run("sync", *nest.sync_words())
    assert code == (0 if mode == "fine" else 1)
    assert any("Basic" in told for told in nest.source.heard), "the password was not even used"


@pytest.mark.parametrize("mode", MODES_OF_A_DESTINATION)
def test_a_destination_that_fails(nest: Nest, mode: str) -> None:
    nest.destination.mode = mode
    code, _ = nest.run("sync", *nest.sync_words())
    assert code == (0 if mode == "empty" else 1)


@pytest.mark.parametrize("kind", ["identity token", "docker", "helper", "broken helper"])
def test_every_place_that_credentials_come_from(nest: Nest, kind: str) -> None:
    nest.plant_all(kind)
    nest.source.mode = "fine" if kind == "broken helper" else "token refused"
    code, _ = nest.run("sync", *nest.sync_words("--log-format", "json"))
    assert code == 1
    used = {"identity token": "identity", "docker": "docker", "helper": "helper"}.get(kind)
    heard = "\n".join(nest.source.heard)
    assert used is None or nest.canaries.found_in({"heard": heard.encode()})


@pytest.mark.extended
@pytest.mark.parametrize("where", ["entry", "environment"])
def test_a_proxy_with_a_password(nest: Nest, where: str) -> None:
    """The source is its own proxy, which refuses."""
    nest.source.mode = "403"
    proxy = f"http://robot:{nest.canaries['proxy']}@{nest.source.address}"
    if where == "entry":
        entries = yaml.safe_load((nest.directory / "auth.yaml").read_text())
        entries[nest.source.address]["proxy"] = proxy
        nest.plant("auth.yaml", entries)
    else:
        # No proxy is asked for what is on this machine.
        nest.environment |= {"http_proxy": proxy, "https_proxy": proxy, "no_proxy": "", "NO_PROXY": ""}
        nest.plant("auth.yaml", {"registry.example": {"insecure": True, "username": "robot", "password": "x" * 8}})
        images = {f"registry.example/team/app:{TAG}": f"{nest.destination.address}/team/app"}
        (nest.directory / "images.yaml").write_text(yaml.safe_dump(images))
    code, _ = nest.run("sync", *nest.sync_words())
    assert code == 1
    secret = base64.b64encode(f"robot:{nest.canaries['proxy']}".encode()).decode()
    assert any(secret in told for told in nest.source.heard), "the proxy was not asked"


@pytest.mark.extended
def test_a_client_key_with_a_password_that_is_wrong(nest: Nest) -> None:
    key = nest.directory / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-keyout", key, "-out", nest.directory / "cert.pem"]
    subprocess.run(
        [*made, "-passout", f"pass:{nest.canaries['rightkey']}", "-subj", "/CN=x", "-days", "2"],
        check=True,
        capture_output=True,
    )
    nest.planted.add(key)
    entries = yaml.safe_load((nest.directory / "auth.yaml").read_text())
    entries[nest.source.address] |= {
        "client_cert": "cert.pem",
        "client_key": "key.pem",
        "client_key_password": nest.canaries["wrongkey"],
        "insecure": False,
        "skip_tls_verify": True,
    }
    nest.plant("auth.yaml", entries)
    code, _ = nest.run("sync", *nest.sync_words())
    assert code == 1


@pytest.mark.extended
@pytest.mark.parametrize(
    "words",
    [
        ("sync", "--dry-run"),
        ("verify",),
        ("verify", "--deep"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("mode", ["storage refuses", *rarely("403")])
def test_verbs_that_write_nothing(nest: Nest, words: tuple[str, ...], mode: str) -> None:
    nest.source.mode = nest.destination.mode = mode
    verb, *more = words
    files = ["--auth", "auth.yaml", "--images", "images.yaml", "--retries", 0]
    nest.run(verb, *files, "--report", "report.json", "--log", "run.log", "--debug", *more)


@pytest.mark.extended
def test_verbs_that_look_at_files(nest: Nest) -> None:
    """After a run that failed: what was written is shown, and what would be in force."""
    nest.source.mode = "storage refuses"
    nest.run("sync", *nest.sync_words())
    both = ["--auth", "auth.yaml", "--images", "images.yaml"]
    assert nest.run("config", "check", *both)[0] == 0
    assert nest.run("config", "show", *both)[0] == 0
    assert nest.run("config", "show", "--json", *both)[0] == 0
    assert nest.run("report", "report1.json")[0] == 0
    assert nest.run("report", "report1.json", "--timeline", "timeline.html")[0] == 0
    nest.run("status", "run1.state")
    nest.run("retry", "--report", "report1.json", "--auth", "auth.yaml", "--debug")
    nest.run("doctor", "--auth", "auth.yaml", nest.source.address)


@pytest.mark.parametrize("mode", ["basic refused", "token refused", "500", "fine"])
def test_logging_in(nest: Nest, mode: str) -> None:
    """The one file with the password is the login itself, which is for its owner alone."""
    nest.source.mode = mode
    kept = nest.directory / "logins" / "config.json"
    nest.planted.add(kept)
    given = f"{nest.canaries['login']}\n".encode()
    words = ["-u", "robot", "--password-stdin", "--authfile", kept, "--auth", "auth.yaml", "--debug"]
    code, _ = nest.run("login", *words, nest.source.address, given=given)
    assert code == (0 if mode == "fine" else 1)
    assert kept.exists() is (mode == "fine")
    if mode == "fine":
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert nest.run("logout", "--authfile", kept, nest.source.address)[0] == 0
        assert nest.canaries.found_in({"kept": kept.read_bytes()}) == []


@pytest.mark.parametrize("image", ["https://robot:{0}@{1}/team/app:v1", "robot:{0}@{1}/team/app:v1", "{1}/x?token={0}"])
def test_secrets_on_the_command_line_are_not_told_back(nest: Nest, image: str) -> None:
    image = image.format(nest.canaries["argument"], nest.source.address)
    code, _ = nest.run("copy", image, f"{nest.destination.address}/team/app", "--auth", "auth.yaml", "--debug")
    assert code == 2


@pytest.mark.parametrize(
    "words",
    [
        "login {1} {0}",
        "logout {1} {0}",
        "copy {1}/team/app:v1 {1}/x --insecure u:{0}@{1}",
        "doctor {1} --insecure u:{0}@{1}",
    ],
)
def test_secrets_in_the_wrong_place_are_not_told_back(nest: Nest, words: str) -> None:
    code, _ = nest.run(*words.format(nest.canaries["argument"], nest.source.address).split())
    assert code == 2


@pytest.mark.parametrize(
    "text",
    [
        "{0}: {{username: robot, password: {1}, no_such_key: {1}}}\n{1}\n",
        "{0}: {{username: robot, password: [{1}]}}\n",
        "{0}:\n  username: robot\n  password: {1}: {1}\n",
        "version: 2\nregistries:\n  {0}: {{username: robot, password: '{1}', proxy: 'http://a:{1}@[/'}}\n",
        '{{"{0}": {{"username": "robot", "password": "{1}" "{1}"}}}}',
        "https://robot:{1}@{0}: {{insecure: true}}\n",
    ],
)
def test_secrets_in_files_that_are_wrong_are_not_told_back(nest: Nest, text: str) -> None:
    nest.plant("auth.yaml", text.format(nest.source.address, nest.canaries["mistake"]))
    code, _ = nest.run("sync", "--auth", "auth.yaml", "--images", "images.yaml", "--debug", "--log", "run.log")
    assert code in (1, 2)


def test_a_crash_of_ours_full_of_secrets(nest: Nest) -> None:
    code, err = nest.run("sync", *nest.sync_words(), script=CRASH)
    assert code == 70
    assert "ZeroDivisionError" in err


@pytest.mark.parametrize("how", ["interrupted", "worker killed", "killed"])
def test_ends_in_the_middle(nest: Nest, how: str) -> None:
    """While it stands: no secret in the arguments of any process, and no core file when one dies."""
    nest.source.mode = "stall"
    process = nest.start("sync", *nest.sync_words())
    try:
        assert nest.source.stalled.wait(60)
        workers = workers_of(process.pid)
        assert workers
        for pid in (process.pid, *(worker.pid for worker in workers)):
            proc = Path(f"/proc/{pid}")
            assert nest.canaries.found_in({"arguments": (proc / "cmdline").read_bytes()}) == []
            limits = (proc / "limits").read_text()
            assert next(line for line in limits.splitlines() if "core file" in line).split()[4] == "0"
            # Only what the user put into the environment is there.
            known = Canaries({name: it for name, it in nest.canaries.items() if name != "environment"})
            assert known.found_in({"environment": (proc / "environ").read_bytes()}) == []
        if how == "worker killed":
            nest.source.mode = "storage refuses"
            os.kill(workers[0].pid, signal.SIGABRT)
        else:
            process.send_signal(signal.SIGINT if how == "interrupted" else signal.SIGABRT)
        nest.source.over.set()
        out, err = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
    nest.search(out=out, err=err)
    assert process.returncode == {"interrupted": 130, "worker killed": 1, "killed": -signal.SIGABRT}[how]
    assert list(nest.directory.glob("core*")) == []


@pytest.mark.extended
def test_files_with_secrets_are_for_their_owner_alone(nest: Nest) -> None:
    nest.source.mode = "storage refuses"
    nest.run("sync", *nest.sync_words())
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in nest.directory.glob("run1.state*")}
    assert modes
    assert {name: oct(mode) for name, mode in modes.items() if mode & 0o077} == {}


def test_core_files_can_be_had_here() -> None:
    """The limit that is looked at above is not 0 already."""
    assert resource.getrlimit(resource.RLIMIT_CORE)[1] != 0
