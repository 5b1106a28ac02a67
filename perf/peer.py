"""What `--peer` names: a program that is known here, wherever it lies, or any line for bash."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perf.errors import Mistake
from perf.tools import OURS, Tool, bash, crane_copy, regsync_once, skopeo_sync

if TYPE_CHECKING:
    from collections.abc import Callable

    from perf.task import Task

__all__ = ["KNOWN_PEERS", "PLACEHOLDERS", "parse_peer"]

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
class _Known:
    """A program that needs no line: how it does a task, and what says its version."""

    command: Callable[[Task, str], list[str]]
    version: tuple[str, ...]


KNOWN_PEERS = {
    "regsync": _Known(regsync_once, ("version", "--format", "{{.VCSTag}}")),
    "crane": _Known(crane_copy, ("version",)),
    "skopeo": _Known(skopeo_sync, ("--version",)),
}


def parse_peer(text: str) -> Tool:
    """`name=shell line`; for the programs that are known `name`, `name=program` or `any-name=path/of/name`.

    Raises Mistake where it is none of these, where such a program is not there, or where a placeholder is not there.
    """
    name, equals, line = text.partition("=")
    if not equals and name in KNOWN_PEERS:
        line = name
    if not _NAME.fullmatch(name) or not line.strip():
        raise Mistake(
            f"--peer {text!r}: write 'name=shell line', with letters, digits, '.', '+' and '-' in the name, or one of"
            f" {', '.join(KNOWN_PEERS)}, with or without '=path'"
        )
    if name == OURS:
        raise Mistake(f"--peer: {OURS} is the checkout's own name; give the peer another")
    known = KNOWN_PEERS.get(name, KNOWN_PEERS.get(Path(line.strip()).name))
    if known is not None and len(line.split()) == 1:
        return _known_peer(name, line.strip(), known)
    for found in _PLACEHOLDER.finditer(line):
        if found["name"] not in PLACEHOLDERS:
            there = ", ".join(f"{{{known}}}" for known in PLACEHOLDERS)
            raise Mistake(f"--peer {name}: {found.group()} is no placeholder; there are {there}")
    return Tool(name, lambda task: bash(_fill_in(line, task)))


def _known_peer(name: str, given: str, known: _Known) -> Tool:
    program = shutil.which(str(Path(given).expanduser().absolute()) if "/" in given else given)
    if program is None:
        raise Mistake(f"--peer {name}: there is no program {given}")

    def command(task: Task) -> list[str]:
        return known.command(task, program) if task.copies else [program, "--help"]

    return Tool(name, command, version=[program, *known.version], has_help=True, essential=False)


def _fill_in(line: str, task: Task) -> str:
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
