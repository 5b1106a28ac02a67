"""Where docker, podman and skopeo keep what a login leaves: which files are read, in their order, and which is written.

containers-auth.json(5) for podman's; https://docs.docker.com/reference/cli/docker/login/ for docker's. A file that the
environment names is the only one: REGISTRY_AUTH_FILE before DOCKER_CONFIG, as podman and skopeo have it. Before all
files comes what the environment holds itself, in DOCKER_AUTH_CONFIG (https://github.com/docker/cli/pull/6008).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from image_syncer.values import Value, repr_without

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AuthPlace", "auth_places", "login_place"]

_PODMAN_FILE = Path("containers", "auth.json")
_DOCKER_FILE = "config.json"


class AuthPlace(Value, frozen=True):
    """A file that may hold logins. Where `named_by` is a variable of the environment, it has to be there. With
    `content` it is no file: the variable `path` has that content.
    """

    path: str
    named_by: str | None = None
    content: str | None = None

    __repr__ = repr_without("content")


def auth_places(environ: Mapping[str, str]) -> tuple[AuthPlace, ...]:
    """The files that are read, the first that knows a registry first. Most of them are not there, which is no error."""
    content = environ.get("DOCKER_AUTH_CONFIG")
    held = (AuthPlace("DOCKER_AUTH_CONFIG", content=content),) if content else ()
    named = _named_place(environ)
    if named is not None:
        return (*held, named)
    home = _home(environ)
    runtime = environ.get("XDG_RUNTIME_DIR")
    return (
        *held,
        AuthPlace(str(Path(runtime) / _PODMAN_FILE if runtime else _podman_file_without_session())),
        AuthPlace(str(Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / _PODMAN_FILE)),
        AuthPlace(str(home / ".docker" / _DOCKER_FILE)),
    )


def login_place(environ: Mapping[str, str]) -> AuthPlace:
    """The file that a login is written to where no other is named: the one of the environment, else docker's, which
    outlives the session.
    """
    named = _named_place(environ)
    return AuthPlace(str(_home(environ) / ".docker" / _DOCKER_FILE)) if named is None else named


def _named_place(environ: Mapping[str, str]) -> AuthPlace | None:
    if path := environ.get("REGISTRY_AUTH_FILE"):
        return AuthPlace(path, "REGISTRY_AUTH_FILE")
    if directory := environ.get("DOCKER_CONFIG"):
        return AuthPlace(str(Path(directory) / _DOCKER_FILE))  # docker takes a folder without the file for nobody
    return None


def _podman_file_without_session() -> Path:
    """Where podman writes without XDG_RUNTIME_DIR, which is how root mostly runs it."""
    return Path("/run/containers", str(os.getuid()), _PODMAN_FILE.name)


def _home(environ: Mapping[str, str]) -> Path:
    home = environ.get("HOME")
    return Path(home) if home else Path("~").expanduser()
