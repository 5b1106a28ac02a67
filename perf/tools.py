"""The tools that are compared: image-syncer itself, another revision of it, skopeo, curl, and any shell line."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perf.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perf.task import Task

__all__ = [
    "OURS",
    "PLACEHOLDERS",
    "ROOT",
    "Tool",
    "count_streams",
    "curl_pipes",
    "curl_pipes_verified",
    "fill_in",
    "image_syncer",
    "is_installed",
    "parse_peer",
    "shell_tool",
    "skopeo_sync",
]

ROOT = Path(__file__).resolve().parent.parent
OURS = "image-syncer"
"""The tool that all others are compared with: the checkout."""
CURL_PIPE = ROOT / "perf" / "peers" / "curl_pipe.sh"

_DEFAULT_STREAMS = 16
_MOST_WORKERS = 8
_PLACEHOLDER = re.compile(r"(?<!\$)\{(?P<name>[a-z_]+)\}")
_NAME = re.compile(r"[\w.+-]+")

PLACEHOLDERS = {
    "source": "address of the (first) source, host:port",
    "destination": "address of the (first) destination",
    "repository": "the (first) repository, such as bench/r0000",
    "sources": "all of them, with blanks between; so for the next two",
    "destinations": "",
    "repositories": "",
    "auth": "the file that image-syncer gets as --auth",
    "images": "the file that image-syncer gets as --images",
    "blobs": "a file with a line for each blob: source URL of its repository, destination URL, digest, size",
    "streams": "how many blobs image-syncer has in flight at most",
    "folder": "an empty folder for this run",
}


@dataclass(frozen=True)
class Tool:
    """`command` gives the argument list for a task."""

    name: str
    command: Callable[[Task], list[str]]
    pythonpath: str | None = None
    revision: str | None = None
    """The commit, of a baseline."""
    has_report: bool = False
    pushes_manifests: bool = True
    essential: bool = True
    """Where it fails, so does everything; else it is left out, with the reason."""

    def environment(self, task: Task) -> dict[str, str]:
        """What the command gets beside the runner's own environment."""
        if self.pythonpath is None:
            return task.environment
        # A user's Python finds its modules compiled, whatever this one was told.
        cache = str(task.folder.parent.parent / "bytecode")
        python = {"PYTHONPATH": self.pythonpath, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
        return {**task.environment, **python}

    def report(self, task: Task) -> Path:
        """Where the tool leaves its report, if it has one."""
        return task.folder / f"report-{self.name.replace('/', '_')}.json"


def image_syncer(
    name: str = OURS,
    *,
    root: Path = ROOT,
    python: str = sys.executable,
    options: Sequence[str] = (),
    revision: str | None = None,
) -> Tool:
    """The checkout at `root`, run by `python` as a user would run it, with its two files and a report."""

    def command(task: Task) -> list[str]:
        files = ["--auth", str(task.auth), "--images", str(task.images), "--report", str(tool.report(task))]
        return [python, "-m", "image_syncer_cli", "sync", *files, "--quiet", "--no-progress", *options]

    path = os.pathsep.join([str(root / "engine"), str(root / "cli")])
    tool = Tool(name, command, path, revision, has_report=True)
    return tool


def shell_tool(
    name: str, line: Callable[[Task], str], *, pushes_manifests: bool = True, essential: bool = True
) -> Tool:
    """A tool that is a line of shell; bash, because a pipe that breaks has to be seen."""

    def command(task: Task) -> list[str]:
        return ["bash", "-euo", "pipefail", "-c", line(task)]

    return Tool(name, command, pushes_manifests=pushes_manifests, essential=essential)


def skopeo_sync(task: Task) -> str:
    """All tags of each repository, manifests as they are; once for each repository and destination, one by one."""
    lines = []
    for copy in task.copies:
        options = ["--src", "docker", "--dest", "docker", "--all", "--preserve-digests"]
        options += [
            f"--src-tls-verify={'false' if copy.source.ca_file is None else 'true'}",
            f"--dest-tls-verify={'false' if copy.destination.ca_file is None else 'true'}",
        ]
        parent = copy.target.rpartition("/")[0]  # skopeo adds the last part of the source's name
        places = [f"{copy.source.address}/{copy.repository}", f"{copy.destination.address}/{parent}".rstrip("/")]
        lines.append(shlex.join(["skopeo", "sync", *options, *places]))
    return "\n".join(lines)


def curl_pipes(task: Task) -> str:
    """GET | PUT of every blob, as many in flight as image-syncer has; no manifests, no digests, nothing twice.

    The kernel's pipe between two curls is their ring. What it costs to start three processes a blob is part of it.
    """
    return f"xargs -P {task.streams} -n 4 bash {shlex.quote(str(CURL_PIPE))} < {shlex.quote(str(task.blobs))}"


def curl_pipes_verified(task: Task) -> str:
    """The same, with `tee` and `sha256sum` between the two curls: the work that image-syncer does."""
    return f"VERIFY=1 {curl_pipes(task)}"


def count_streams(options: Sequence[str]) -> int:
    """How many blobs image-syncer has in flight at most, with these options: workers × streams, or --proc.

    Raises Mistake where one of them is no number from 1 on.
    """
    given = dict(itertools.pairwise(options))
    given |= dict(option.split("=", 1) for option in options if option.startswith("--") and "=" in option)
    for name in ("--workers", "--streams", "--proc", "-p"):
        if name in given and not (given[name].isdecimal() and int(given[name])):
            raise Mistake(f"--options: {name} {given[name]}: a number from 1 on")
    workers = int(given.get("--workers", min(len(os.sched_getaffinity(0)), _MOST_WORKERS)))
    streams = workers * int(given.get("--streams", _DEFAULT_STREAMS))
    proc = given.get("--proc", given.get("-p"))
    return min(streams, int(proc)) if proc is not None else streams


def parse_peer(text: str) -> Tool:
    """`name=shell line`. Raises Mistake where it is not that, or names a placeholder that is not there."""
    name, equals, line = text.partition("=")
    if not equals or not _NAME.fullmatch(name) or not line.strip():
        raise Mistake(f"--peer {text!r}: write 'name=shell line', with letters, digits, '.', '+' and '-' in the name")
    if name == OURS:
        raise Mistake(f"--peer: {OURS} is the checkout's own name; give the peer another")
    for found in _PLACEHOLDER.finditer(line):
        if found["name"] not in PLACEHOLDERS:
            there = ", ".join(f"{{{known}}}" for known in PLACEHOLDERS)
            raise Mistake(f"--peer {name}: {found.group()} is no placeholder; there are {there}")
    return shell_tool(name, lambda task: fill_in(line, task))


def fill_in(line: str, task: Task) -> str:
    """The line with its placeholders filled in, quoted for the shell; `${name}` is the shell's and stays."""
    sources = [place.address for place in task.sources]
    destinations = [place.address for place in task.destinations]
    repositories = list(dict.fromkeys(copy.repository for copy in task.copies))
    values = {
        "source": sources[0],
        "destination": destinations[0],
        "repository": repositories[0],
        "sources": " ".join(sources),
        "destinations": " ".join(destinations),
        "repositories": " ".join(repositories),
        "auth": shlex.quote(str(task.auth)),
        "images": shlex.quote(str(task.images)),
        "blobs": shlex.quote(str(task.blobs)),
        "streams": str(task.streams),
        "folder": shlex.quote(str(task.folder)),
    }
    return _PLACEHOLDER.sub(lambda found: values[found["name"]], line)


def is_installed(name: str) -> bool:
    """Whether a scenario's peer, which has the name of its program, is there."""
    return shutil.which(name) is not None
