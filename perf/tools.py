"""The tools that are compared: image-syncer, another revision of it, regsync, crane, skopeo and curl."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from perf.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from perf.task import Task

__all__ = [
    "OURS",
    "ROOT",
    "Tool",
    "bare_python",
    "bash",
    "count_streams",
    "crane_copy",
    "curl_pipes",
    "curl_pipes_verified",
    "image_syncer",
    "is_installed",
    "python_imports",
    "reference",
    "regsync_once",
    "skopeo_sync",
]

ROOT = Path(__file__).resolve().parent.parent
OURS = "image-syncer"
"""The tool that all others are compared with: the checkout."""
CURL_PIPE = ROOT / "perf" / "peers" / "curl_pipe.sh"

REGSYNC_IMAGES = 4
"""At once. More, or more than three requests a registry, take more CPU and on two cores hardly less time."""
CRANE_IMAGES = 4
"""At once, as without the option (0.21 says otherwise in its help). More take as much of both."""
CRANE_REPOSITORIES = 4
"""At once, each by a process of its own."""

_DEFAULT_STREAMS = 16
_MOST_WORKERS = 8


@dataclass(frozen=True)
class Tool:
    """`command` gives the argument list for a task."""

    name: str
    command: Callable[[Task], list[str]]
    pythonpath: str | None = None
    revision: str | None = None
    """The commit, of a baseline."""
    version: Sequence[str] = ()
    """The command that says it, where there is one."""
    has_report: bool = False
    has_help: bool = False
    """Where nothing is to be copied, its command writes `--help`."""
    delivers: Literal["images", "blobs", "nothing"] = "images"
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
        program = [python, "-m", "image_syncer_cli"]
        if not task.copies:
            return [*program, "--help"]
        files = ["--auth", str(task.auth), "--images", str(task.images), "--report", str(tool.report(task))]
        return [*program, "sync", *files, "--quiet", "--no-progress", *options]

    tool = Tool(name, command, _pythonpath(root), revision, has_report=True, has_help=True)
    return tool


def reference(name: str, command: Callable[[Task], list[str]]) -> Tool:
    """What copies nothing, in the environment of the checkout's Python."""
    return Tool(name, command, _pythonpath(ROOT), delivers="nothing", essential=False)


def _pythonpath(root: Path) -> str:
    return os.pathsep.join([str(root / "engine"), str(root / "cli")])


def bare_python(_: Task) -> list[str]:
    """The interpreter that runs image-syncer, with nothing to do."""
    return [sys.executable, "-c", "pass"]


def python_imports(_: Task) -> list[str]:
    """The same, importing what image-syncer cannot do without."""
    return [sys.executable, "-c", "import asyncio, uvloop, pycurl, orjson, click"]


def bash(line: str) -> list[str]:
    """bash, because a pipe that breaks has to be seen."""
    return ["bash", "-euo", "pipefail", "-c", line]


def _in_turn(commands: list[list[str]]) -> list[str]:
    """One command without a shell, which would be counted."""
    return commands[0] if len(commands) == 1 else bash("\n".join(map(shlex.join, commands)))


def regsync_once(task: Task, program: str = "regsync") -> list[str]:
    """`regsync once`, with an entry for each tag: it does the tags of a repository one by one, and entries at once."""
    places = {place.address: place for copy in task.copies for place in (copy.source, copy.destination)}
    configuration = {
        "version": 1,
        "creds": [
            {"registry": address, "tls": "disabled" if place.ca_file is None else "enabled"}
            for address, place in places.items()
        ],
        "defaults": {"parallel": REGSYNC_IMAGES},
        "sync": [
            {
                "source": f"{copy.source.address}/{copy.repository}:{tag}",
                "target": f"{copy.destination.address}/{copy.target}:{tag}",
                "type": "image",
            }
            for copy in task.copies
            for tag in copy.tags
        ],
    }
    path = task.folder / "regsync.yml"
    path.write_text(json.dumps(configuration))  # which is YAML too
    return [program, "once", "--config", str(path), "--verbosity", "warn"]


def crane_copy(task: Task, program: str = "crane") -> list[str]:
    """`crane copy --all-tags` for each repository and destination, some of them at once."""
    plain = any(place.ca_file is None for copy in task.copies for place in (copy.source, copy.destination))
    command = [program, "copy", "--all-tags", "--jobs", str(CRANE_IMAGES), *(["--insecure"] if plain else [])]
    places = [
        [f"{copy.source.address}/{copy.repository}", f"{copy.destination.address}/{copy.target}"]
        for copy in task.copies
    ]
    if len(places) == 1:
        return [*command, *places[0]]
    path = task.folder / "crane.txt"
    path.write_text("".join(f"{' '.join(pair)}\n" for pair in places))
    return bash(f"xargs -P {CRANE_REPOSITORIES} -n 2 {shlex.join(command)} < {shlex.quote(str(path))}")


def skopeo_sync(task: Task, program: str = "skopeo") -> list[str]:
    """All tags of each repository, manifests as they are; once for each repository and destination, one by one."""
    commands = []
    for copy in task.copies:
        options = ["--src", "docker", "--dest", "docker", "--all", "--preserve-digests"]
        options += [
            f"--src-tls-verify={'false' if copy.source.ca_file is None else 'true'}",
            f"--dest-tls-verify={'false' if copy.destination.ca_file is None else 'true'}",
        ]
        parent = copy.target.rpartition("/")[0]  # skopeo adds the last part of the source's name
        places = [f"{copy.source.address}/{copy.repository}", f"{copy.destination.address}/{parent}".rstrip("/")]
        commands.append([program, "sync", *options, *places])
    return _in_turn(commands)


def curl_pipes(task: Task) -> list[str]:
    """GET | PUT of every blob, as many in flight as image-syncer has; no manifests, no digests, nothing twice.

    The kernel's pipe between two curls is their ring. What it costs to start three processes a blob is part of it.
    """
    return bash(f"xargs -P {task.streams} -n 4 bash {shlex.quote(str(CURL_PIPE))} < {shlex.quote(str(task.blobs))}")


def curl_pipes_verified(task: Task) -> list[str]:
    """The same, with `tee` and `sha256sum` between the two curls: the work that image-syncer does."""
    return ["env", "VERIFY=1", *curl_pipes(task)]


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


def is_installed(name: str) -> bool:
    """Whether a scenario's peer, which has the name of its program, is there."""
    return shutil.which(name) is not None
