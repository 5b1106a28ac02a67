"""`image-syncer` as a user runs it: a process of its own, files on disk, and what came out of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

_PROJECT = Path(__file__).parents[2]
SOURCE_ROOTS = (_PROJECT / "engine", _PROJECT / "cli")
"""What PYTHONPATH has to have for the command of this checkout."""
_TIMEOUT_S = 240
MISTAKES_OF_OURS = ("Traceback", "this is an internal error of image-syncer", "worker crashed", "never retrieved")
"""Words that nothing a run tells may have in it."""
_MOST_FAILURE_LINES = 3


@dataclass(frozen=True)
class Ran:
    """A run that has ended; `report` is the document of `--report` (empty where the run did not begin)."""

    code: int
    out: str
    err: str
    report: dict[str, Any]

    @property
    def images(self) -> list[dict[str, Any]]:
        """The images of the report."""
        images: list[dict[str, Any]] = self.report["images"]
        return images

    @property
    def image(self) -> dict[str, Any]:
        """The one image of the report."""
        [image] = self.images
        return image

    @property
    def totals(self) -> dict[str, Any]:
        """The totals of the report."""
        totals: dict[str, Any] = self.report["totals"]
        return totals

    @property
    def outcomes(self) -> dict[str, int]:
        """How many images had each outcome, those that none had left out."""
        return {name: count for name, count in self.totals["outcomes"].items() if count}

    @property
    def failure(self) -> str:
        """What people are told about the one image that failed, but for the command of the doctor."""
        lines = [line for line in self.err.splitlines() if not line.startswith(("Warning: ", "To find out why: "))]
        assert 2 <= len(lines) <= _MOST_FAILURE_LINES, self.err
        assert lines[0].startswith("failed: ")
        return "\n".join(lines)


@dataclass
class Command:
    """Runs in `directory`; `secrets` are the words that must never be seen in anything that a run leaves behind.

    Where nothing is at stake that depends on their number, one worker starts faster than several (`workers`; None: as
    many as the command finds right).
    """

    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)
    workers: int | None = 1
    _runs: int = 0

    def write(self, name: str, content: object) -> Path:
        """A file beside the others: text as it is, everything else as YAML."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
        return path

    def sync(self, auth: object, images: object, *words: object, code: int = 0) -> Ran:
        """`image-syncer --auth … --images …`, the two files with this content."""
        files = ("--auth", self.write("auth.yaml", auth), "--images", self.write("images.yaml", images))
        return self.run(*files, *words, code=code)

    def run(self, *words: object, code: int = 0) -> Ran:
        """`image-syncer WORDS…`, with a report and a log; it has to end with `code`."""
        self._runs += 1
        report, log = self.directory / f"report{self._runs}.json", self.directory / f"run{self._runs}.log"
        common: list[object] = ["--report", report, "--log", log, "--log-format", "console", "--no-progress"]
        if self.workers is not None and "--workers" not in words:
            common += ["--workers", self.workers]
        done = subprocess.run(
            [sys.executable, "-m", "image_syncer_cli", *map(str, [*words, *common])],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.directory,
            env=self._environment(),
            timeout=_TIMEOUT_S,
            check=False,
        )
        assert done.returncode == code, f"{done.returncode}, not {code}:\n{done.stdout}{done.stderr}"
        told = [done.stdout, done.stderr, *(path.read_text() for path in (report, log) if path.exists())]
        for word in (*MISTAKES_OF_OURS, *self.secrets):
            assert not any(word in text for text in told), f"{word!r} is told:\n{done.stderr}"
        return Ran(done.returncode, done.stdout, done.stderr, json.loads(report.read_text()) if report.exists() else {})

    def _environment(self) -> Mapping[str, str]:
        docker = self.directory / "docker"  # whoever runs the tests may be logged in somewhere
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, SOURCE_ROOTS)),
            "DOCKER_CONFIG": str(docker),
            "REGISTRY_AUTH_FILE": "",
            "DOCKER_AUTH_CONFIG": "",
            "no_proxy": "*",
            **self.environment,
        }
