"""The command as somebody runs it who has made a mistake: real files, real registries, and what must never come out.

In texts, `SOURCE` and `DESTINATION` stand for the addresses of two registries, `SECRET` for the password of the files.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from image_syncer.embedded import ContentBuilder, push_to
from support.sync_process import SOURCE_ROOTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from image_syncer.embedded import EmbeddedRegistry

USER = "robot"
SECRET = "Tr0ub4dor-7Zq9xKw"
DOCKER_SECRET = "c0rrect-h0rse-Vy3b"
"""The password in docker's own file."""
MOST_LINES = 3
"""Of a message, so that it is read."""
LONGEST_LINE = 420
PATIENCE_S = 120

AUTH = """\
"SOURCE": {username: robot, password: SECRET, insecure: true}
"DESTINATION": {username: robot, password: SECRET, insecure: true}
"""
IMAGES = "SOURCE/team/app:1: DESTINATION/mirror/app\n"
NAMES = ("--auth", "auth.yaml", "--images", "images.yaml")
"""The words that name the files of every bench."""

_WITHOUT_PRIVILEGES = """
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: with them, permissions say nothing to root
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_OF_OURS = ("Traceback", "internal error of image-syncer", "worker crashed", "never retrieved")


def basic(password: str) -> str:
    """The form in which docker's file and HTTP carry user name and password."""
    return base64.b64encode(f"{USER}:{password}".encode()).decode()


_SECRETS = re.compile(
    "|".join([SECRET, DOCKER_SECRET, *map(re.escape, map(basic, (SECRET, DOCKER_SECRET))), r"Bearer [\w.-]{8,}"])
)


@dataclass(frozen=True)
class Ended:
    """How a command ended; `cpu_s` are the seconds of processor that it took."""

    code: int
    out: str
    err: str
    cpu_s: float

    @property
    def lines(self) -> list[str]:
        """What it said on standard error, but for the last word on a failure, which names the doctor."""
        return [line for line in self.err.splitlines() if not line.startswith("To find out why: image-syncer doctor ")]

    def assert_told(self, *says: str, problems: int = 1) -> None:
        """The message is short, holds all of `says`, and is neither a traceback nor a riddle."""
        for part in says:
            assert part in self.err, self.err
        assert 1 <= len(self.lines) <= MOST_LINES * problems + (problems > 1), self.err
        assert max(map(len, self.lines)) <= LONGEST_LINE
        for part in _OF_OURS:
            assert part not in self.err


@dataclass
class Bench:
    """A folder with good files, two registries of which the source has one image, and the command that copies it."""

    directory: Path
    source: EmbeddedRegistry
    destination: EmbeddedRegistry
    environment: dict[str, str] = field(default_factory=dict)
    unprivileged: bool = False

    def __post_init__(self) -> None:
        push_to(self.source.storage, "team/app", ContentBuilder(1).image(2), ["1"])
        docker = {"auths": {"elsewhere.example": {"auth": basic(DOCKER_SECRET)}}}
        self.write({"auth.yaml": AUTH, "images.yaml": IMAGES, "docker/config.json": json.dumps(docker)})

    def fill(self, text: str) -> str:
        """`text` with the addresses and the password in it."""
        places = {"SOURCE": self.source.address, "DESTINATION": self.destination.address, "SECRET": SECRET}
        return re.sub("|".join(places), lambda match: places[match.group()], text)

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Writes files into the folder, over those that are there; those in `bin` are programs that are found."""
        for name, content in files.items():
            path = self.directory / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else self.fill(content).encode())
            if path.parent.name == "bin":
                path.chmod(0o755)

    def run(self, *words: str, options: Sequence[str] = (), redirected: str = "") -> Ended:
        """`image-syncer WORDS…` in the folder, as a process of its own; `options` are the interpreter's, and
        `redirected` is what a shell is told about the streams.
        """
        command = [sys.executable, *options, "-m", "image_syncer_cli", *map(self.fill, words)]
        if self.unprivileged:
            command[1:1] = ["-c", _WITHOUT_PRIVILEGES]
        if redirected:
            command = ["/bin/sh", "-c", f"exec {shlex.join(command)} {redirected}"]
        with subprocess.Popen(
            command,
            cwd=self.directory,
            env=self.variables(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as child:
            before = os.times()
            out, err = child.communicate(timeout=PATIENCE_S)
            after = os.times()
        cpu_s = after.children_user + after.children_system - before.children_user - before.children_system
        return Ended(child.returncode, out.decode(), err.decode(), cpu_s)

    def sync(self, *words: str) -> Ended:
        """The copy that the files ask for, with a log and a report, tried once; one worker starts fastest."""
        return self.run(
            *NAMES,
            "--workers",
            "1",
            "--log",
            "run.log",
            "--report",
            "report.json",
            "--retries",
            "0",
            "--retry-for",
            "2s",
            "--give-up-after",
            "2s",
            *words,
        )

    def variables(self) -> dict[str, str]:
        """The environment of the command."""
        inherited = {name: value for name, value in os.environ.items() if name not in _PROXIES}
        return {
            **inherited,
            "PYTHONPATH": os.pathsep.join(SOURCE_ROOTS),
            "DOCKER_CONFIG": str(self.directory / "docker"),
            "PATH": os.pathsep.join([str(self.directory / "bin"), os.environ.get("PATH", os.defpath)]),
            **self.environment,
        }

    def assert_nothing_asked(self) -> None:
        """No registry has heard of the mistake."""
        for registry in (self.source, self.destination):
            counted = registry.counters.values()
            assert (counted.connections, counted.total_requests) == (0, 0)

    def assert_no_secret(self, ended: Ended) -> None:
        """No password, and nothing made of one, came out; neither by the terminal nor in a file."""
        texts = {"standard output": ended.out, "standard error": ended.err}
        for path in (*self.directory.glob("*.log"), *self.directory.glob("report*")):
            texts[path.name] = path.read_text()
        assert [name for name, text in texts.items() if _SECRETS.search(text)] == []
