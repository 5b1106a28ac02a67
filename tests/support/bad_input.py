"""The command as a stranger runs it who has made a mistake: real files, real registries, and what must never happen."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from image_syncer.embedded import Behaviour, ContentBuilder, push_to
from support.sync_process import SOURCE_ROOTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from image_syncer.embedded import EmbeddedRegistry

SECRET = "Tr0ub4dor-7Zq9xKw"
OTHER_SECRET = "c0rrect-h0rse-Vy3b"
"""The password in docker's own file."""
USER = "robot"
MOST_LINES = 3
PATIENCE_S = 120

AUTH = '"SOURCE": {username: robot, password: SECRET, insecure: true}\n"DESTINATION": {username: robot, password: SECRET, insecure: true}\n'
IMAGES = "SOURCE/team/app:1: DESTINATION/mirror/app\n"
DOCKER = {"auths": {"elsewhere.example": {"auth": base64.b64encode(f"{USER}:{OTHER_SECRET}".encode()).decode()}}}
NAMES = ("--auth", "auth.yaml", "--images", "images.yaml")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.err.splitlines()


@dataclass
class Bench:
    """A folder with good files, two registries with one image, and the command that copies it.

    In texts, `SOURCE` and `DESTINATION` stand for the addresses of the registries, `SECRET` for the password.
    """

    directory: Path
    source: EmbeddedRegistry
    destination: EmbeddedRegistry
    environment: dict[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for registry in (self.source, self.destination):
            registry.behaviour = Behaviour()
            registry.counters.reset()
        push_to(self.source.storage, "team/app", ContentBuilder(1).image(2), ["1"])
        self.write({"auth.yaml": AUTH, "images.yaml": IMAGES, "docker/config.json": json.dumps(DOCKER)})

    def fill(self, text: str) -> str:
        """`text` with the addresses and the password in it."""
        return (
            text.replace("SOURCE", self.source.address)
            .replace("DESTINATION", self.destination.address)
            .replace("SECRET", SECRET)
        )

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Write files into the folder, over those that are there."""
        for name, content in files.items():
            path = self.directory / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else self.fill(content).encode())

    def run(self, *words: str) -> Ended:
        """`image-syncer WORDS…` in the folder, as a process of its own."""
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(SOURCE_ROOTS),
            "DOCKER_CONFIG": str(self.directory / "docker"),
            "COLUMNS": "80",
        }
        for name, value in self.environment.items():
            environment.pop(name, None)
            if value is not None:
                environment[name] = value
        done = subprocess.run(
            [sys.executable, "-m", "image_syncer_cli", *map(self.fill, words)],
            cwd=self.directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())
