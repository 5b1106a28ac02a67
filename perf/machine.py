"""What machine the figures are of: without it they say nothing."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["describe_machine", "sha256_s_per_gb", "version_of"]

_PIECE_BYTES = 256 * 1024
_PIECES = 1024
_TRIES = 3
_VERSION = re.compile(r"\d+\.[\w.+-]+")


def describe_machine() -> dict[str, Any]:
    """Processor, kernel, memory, programs, and what sha256 alone costs; takes about a second."""
    import pycurl

    return {
        "cpu": _cpu_model(),
        "cpus": len(os.sched_getaffinity(0)),
        "sha_instructions": _has_flag("sha_ni") or _has_flag("sha2"),
        "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "kernel": platform.release(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "pycurl": pycurl.version,
        "congestion_control": _read("/proc/sys/net/ipv4/tcp_congestion_control"),
        "sha256_cpu_s_per_gb": round(sha256_s_per_gb(), 3),
        "programs": {
            name: version
            for name, command in {
                "skopeo": ["skopeo", "--version"],
                "curl": ["curl", "--version"],
                "nginx": ["nginx", "-v"],
                "docker-registry": ["docker-registry", "--version"],
            }.items()
            if (version := version_of(command))
        },
    }


def sha256_s_per_gb() -> float:
    """CPU seconds of sha256 for 10⁹ bytes, the best of a few tries."""
    piece, best = os.urandom(_PIECE_BYTES), float("inf")
    for _ in range(_TRIES):
        digest, began = hashlib.sha256(), time.process_time()
        for _ in range(_PIECES):
            digest.update(piece)
        best = min(best, time.process_time() - began)
    return best / (_PIECE_BYTES * _PIECES / 1e9)


def _cpu_model() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("model name", "Model"):
            return value.strip()
    return platform.processor() or platform.machine()


def _has_flag(flag: str) -> bool:
    return any(
        flag in line.split() for line in _read("/proc/cpuinfo").splitlines() if line.startswith(("flags", "Features"))
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def version_of(command: Sequence[str]) -> str:
    """The first version that a command writes; empty where it writes none, or is not installed."""
    program = shutil.which(command[0]) or shutil.which(command[0], path="/usr/sbin:/usr/local/sbin")
    if program is None:
        return ""
    done = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)
    found = _VERSION.search(done.stdout or done.stderr)
    return found.group() if found else ""
