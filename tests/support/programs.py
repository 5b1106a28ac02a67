"""Programs of the distribution that tests run: found, or a clear reason why not."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PACKAGES = {
    "docker-registry": "docker-registry",
    "skopeo": "skopeo",
    "openssl": "openssl",
    "nginx": "nginx",
    "strace": "strace",
    "tinyproxy": "tinyproxy-bin",
    "caddy": "caddy",
}
"""Debian's packages, by the program that they bring."""

SYSTEM_DIRECTORIES = "/usr/sbin:/usr/local/sbin"
"""Where servers lie, which only the superuser has in PATH."""

TIMEOUT_S = 120
"""How long one run of a program may take before it counts as stuck."""


def locate_program(name: str) -> str | None:
    """The path of a program, None where it is not installed."""
    return shutil.which(name) or shutil.which(name, path=SYSTEM_DIRECTORIES)


def find_program(name: str) -> str:
    """The path of a program; skips the test without it, or fails it where IMAGE_SYNCER_REQUIRE_REAL=1."""
    path = locate_program(name)
    if path is not None:
        return path
    reason = f"{name} is not installed (Debian: apt-get install {PACKAGES.get(name, name)})"
    if os.environ.get("IMAGE_SYNCER_REQUIRE_REAL") == "1":
        pytest.fail(f"{reason}, and IMAGE_SYNCER_REQUIRE_REAL=1 asks for it", pytrace=False)
    pytest.skip(reason)


def run_program(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> bytes:
    """Standard output of a program that has to succeed; what it complained about is in the error."""
    done = subprocess.run(arguments, capture_output=True, timeout=TIMEOUT_S, check=False, env=environment)
    if done.returncode != 0:
        complaint = done.stderr.decode("utf-8", "replace").strip()
        raise AssertionError(f"{arguments[0]} ended with {done.returncode}: {complaint}")
    return done.stdout
