"""A page of docs/recipes as somebody follows it: its files are written, and its commands run, as they stand there.

The hosts of a page are real to the command: it reaches them through a proxy that knows where the test's registries
are, over TLS, with certificates for those names. So nothing of a page is changed before it is run.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from support.command import MISTAKES_OF_OURS, SOURCE_ROOTS
from support.programs import TIMEOUT_S
from support.shown import blocks_of, commands_of, matches

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.shown import Block, ShownCommand

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
_PROGRESS = re.compile(r"^(?:\d+h )?(?:\d+min )?[\d.]+ ?s · ")
"""A line of progress, which a run tells every five seconds: none on an idle machine, some on a busy one."""
_COMPLAINTS = ("Warning: ", "failed: ", "Traceback")
_EXIT_CODE = "echo $?"


@dataclass(frozen=True)
class Told:
    """A command that has ended: `lines` are those of both outputs, in their order."""

    command: str
    code: int
    lines: list[str]


@dataclass
class Recipe:
    """Follows `page` in `directory`, section by section, in the order of the page."""

    page: Path
    directory: Path
    environment: Mapping[str, str]
    secrets: list[str] = field(default_factory=list)
    _left: list[Block] = field(init=False)
    _code: int = 0

    def __post_init__(self) -> None:
        self._left = list(blocks_of(self.page))
        self.directory.mkdir()
        programs = self.directory.parent / "bin"
        programs.mkdir()
        program = programs / "image-syncer"
        program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m image_syncer_cli "$@"\n')
        program.chmod(0o700)
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
            "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONPATH": os.pathsep.join(map(str, SOURCE_ROOTS)),
            "PYTHONUNBUFFERED": "1",  # what is told comes in the order in which a terminal shows it
            "DOCKER_CONFIG": str(self.directory.parent / "docker"),
            "REGISTRY_AUTH_FILE": "",
            "DOCKER_AUTH_CONFIG": "",
            **self.environment,
        }

    def follow(self, section: str) -> list[Told]:
        """Everything that is shown in a section: files are written, commands run, and what they tell is compared."""
        assert self._left, f"{self.page.name} shows nothing more"
        assert self._left[0].section == section, f"first comes “{self._left[0].section}”"
        told: list[Told] = []
        while self._left and self._left[0].section == section:
            block = self._left.pop(0)
            if block.name is not None:
                self.write(block.name, block.text)
            else:
                assert block.language == "console", f"{self._at(block.line)}: neither a file nor a transcript"
                told += self._run_block(commands_of(block))
        return told

    def write(self, name: str, content: str) -> Path:
        """A file of the page, or one that something else than the page makes."""
        path = self.directory / name
        path.write_text(content, encoding="utf-8")
        return path

    def read(self, name: str) -> str:
        """A file that a command made."""
        return (self.directory / name).read_text("utf-8")

    def run_job(self, pipeline: str, job: str, **variables: str) -> list[Told]:
        """The script of a job in a file of the page for GitLab, line by line, up to the first that fails."""
        described = yaml.safe_load(self.read(pipeline))[job]
        self._environment |= {**described.get("variables", {}), **variables}
        done: list[Told] = []
        for line in described["script"]:
            done.append(self.run(line))
            if done[-1].code != 0:
                break
        return done

    def run(self, command: str) -> Told:
        """A command in the shell of whoever follows the page; `$?` is what the command before ended with."""
        done = subprocess.run(
            ["sh", "-c", f"(exit {self._code}); {command}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.directory,
            env=self._environment,
            timeout=TIMEOUT_S,
            check=False,
        )
        self._code = done.returncode
        for word in (*MISTAKES_OF_OURS, *self.secrets):
            assert word not in done.stdout, f"{word!r} is told by {command}:\n{done.stdout}"
        return Told(command, done.returncode, [line for line in done.stdout.splitlines() if not _PROGRESS.match(line)])

    def assert_all_was_shown_to_work(self) -> None:
        """Nothing is left on the page that was not run."""
        assert [f"{block.section} ({self._at(block.line)})" for block in self._left] == []

    def _run_block(self, commands: list[ShownCommand]) -> list[Told]:
        done: list[Told] = []
        for command, following in zip(commands, [*commands[1:], None], strict=True):
            ran = self.run(command.text)
            done.append(ran)
            all_of_it = "\n".join(ran.lines)
            where = f"{self._at(command.line)}: {command.text}\nended with {ran.code} and told:\n{all_of_it}"
            if following is None or following.text != _EXIT_CODE:
                assert ran.code == 0, where
            if command.told:
                assert matches(command.told, ran.lines), where
            else:
                assert not [line for line in ran.lines if line.startswith(_COMPLAINTS)], where
        return done

    def _at(self, line: int) -> str:
        return f"{self.page.name}:{line}"
