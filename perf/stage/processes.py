"""Processes of the stage: started, awaited, and ended by their id; none outlives the one that started it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["ROOT", "StageError", "end", "start", "started_module", "tied_to_parent"]

ROOT = Path(__file__).resolve().parent.parent.parent
"""The checkout: what `python -m perf.…` needs on its path."""

END_S = 10.0
"""How long a server may take to end before it is killed."""

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that the kernel sends to a process when the thread that started it ends."""

READY = "ready "
"""How the line begins by which a server of ours says where it listens."""

_libc = ctypes.CDLL(None, use_errno=True)


class StageError(RuntimeError):
    """A server did not start, or ended by itself."""


def tied_to_parent() -> None:
    """Runs between fork and exec: the kernel ends this process when its starter is gone, however that happened.

    The starter is a thread: start servers from the main one, or from one that lives as long as they shall.
    """
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _apart_and_tied() -> None:
    os.setpgid(0, 0)  # Popen has process_group from Python 3.11 on
    tied_to_parent()


def start(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    hands_over: Sequence[int] = (),
    stdout: int = subprocess.PIPE,
    stderr: int | None = None,
) -> subprocess.Popen[str]:
    """Start a server; `hands_over` are file descriptors that it inherits under the same numbers.

    It is a process group of its own, so that Ctrl-C reaches its starter only, who ends it.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        text=True,
        pass_fds=tuple(hands_over),
        env={**os.environ, **(environment or {})},
        preexec_fn=_apart_and_tied,  # noqa: PLW1509 - two calls of libc, nothing that a thread of ours could hold
    )


def end(process: subprocess.Popen[str]) -> None:
    """End this process and nobody else's: politely, and if that does not help, at once."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout is not None:
        process.stdout.close()


@contextmanager
def started_module(module: str, arguments: Sequence[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`python -m perf.stage.MODULE ARGUMENTS`, with what it said after `ready `; ended when the context is left."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-m", f"perf.stage.{module}", *arguments]
    process = start(command, environment={"PYTHONPATH": path})
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith(READY):
            end(process)
            raise StageError(f"perf.stage.{module} did not start: exit code {process.returncode}")
        yield process, line.removeprefix(READY).strip()
    finally:
        end(process)
