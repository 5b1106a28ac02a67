"""What the host of a bench is: its processors, and how fast one of them hashes, below which no blob can be."""

from __future__ import annotations

import hashlib
import platform
import time
from pathlib import Path

from image_syncer.coordinator.machine import inspect_machine

__all__ = ["describe_host"]

_PIECE = bytes(2**20)
_HASHED_FOR_S = 0.2
_CPUINFO = Path("/proc/cpuinfo")


def describe_host() -> dict[str, str | int | float]:
    """Name and number of the processors, the interpreter, and bytes a second of SHA-256 on one of them."""
    return {
        "processor": _processor(),
        "cpus": inspect_machine().cpus,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "sha256_bytes_per_s": round(_hash_rate()),
    }


def _processor() -> str:
    try:
        lines = _CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _hash_rate() -> float:
    digester, began, hashed = hashlib.sha256(), time.process_time(), 0
    while (took := time.process_time() - began) < _HASHED_FOR_S:
        digester.update(_PIECE)
        hashed += len(_PIECE)
    return hashed / took
