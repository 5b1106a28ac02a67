"""The source of credentials, asked per repository: the auth file first, then docker's, then clouds, then nobody."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from image_syncer.config.loader import read_file
from image_syncer.credentials.clouds import CloudSource
from image_syncer.credentials.docker_config import DockerConfig, parse_docker_config
from image_syncer.credentials.helper import HELPER_TIMEOUT_S, ask_helper
from image_syncer.errors import SyncError
from image_syncer.oci import DOCKER_HUB

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

    from image_syncer.config import RegistryBook
    from image_syncer.oci import Repository
    from image_syncer.registry import Credential

__all__ = ["CredentialSource", "Found", "find_credential"]

_DOCKER_HUB_SERVER = "https://index.docker.io/v1/"
"""The name under which `docker login` gives Docker Hub to helpers."""


@dataclass(frozen=True)
class Found:
    """A credential, None for anonymous access, and where it comes from, for messages.

    After `usable_s` seconds from now it has to be asked for again; None: never.
    """

    credential: Credential | None
    source: str
    usable_s: float | None = None


class CredentialSource:
    """Finds credentials, and remembers docker's configuration and what helpers said, or that they failed.

    `environ` holds DOCKER_CONFIG, HOME and PATH. May be asked from several threads at once.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        helper_timeout_s: float = HELPER_TIMEOUT_S,
        clouds: CloudSource | None = None,
    ) -> None:
        self._environ = environ
        self._timeout_s = helper_timeout_s
        self.clouds = CloudSource(environ) if clouds is None else clouds
        self._lock = Lock()
        self._config: DockerConfig | None = None
        self._asked: dict[tuple[str, str], _Answer] = {}
        self._helpers: list[subprocess.Popen[bytes]] = []
        self._closed = False

    def find_credential(self, repository: Repository, book: RegistryBook) -> Found:
        """The credential for a repository.

        In this order: the auth file's entry, if it has a user name; docker's helper for this registry; docker's own
        entry; docker's store for all registries; the cloud that the registry belongs to; anonymous. Raises
        ConfigurationError where docker's configuration cannot be read, CredentialError where it names a credential that
        cannot be had, or the cloud refuses one.
        """
        entry = book.entry_for(repository)
        if entry is not None and entry.credential is not None:
            return Found(entry.credential, f"auth file, {entry.prefix}")
        config = self._docker_config()
        helper = config.find_helper(repository)
        if helper is not None and (credential := self._ask(helper, repository)):
            return Found(credential, f"docker-credential-{helper}")
        if credential := config.find_entry(repository):
            return Found(credential, "docker config.json")
        if config.store is not None and config.store != helper and (credential := self._ask(config.store, repository)):
            return Found(credential, f"docker-credential-{config.store}")
        return self._ask_cloud(repository, book)

    def describe(self, repository: Repository, book: RegistryBook) -> str:
        """Where `find_credential` would look first, in its words; no helper is asked."""
        entry = book.entry_for(repository)
        if entry is not None and entry.credential is not None:
            return f"auth file, {entry.prefix}"
        config = self._docker_config()
        helper = config.find_helper(repository)
        if helper is None and config.find_entry(repository):
            return "docker config.json"
        helper = helper or config.store
        if helper is not None:
            return f"docker-credential-{helper}, if it knows one"
        place = self.clouds.place_of(repository.registry, book)
        return "anonymous" if place is None else self.clouds.describe(place)

    def close(self) -> None:
        """Nobody wants an answer any more: helpers that have not answered are killed, and whoever waits in a thread for
        one has an error at once.
        """
        with self._lock:
            self._closed = True
            for helper in self._helpers:
                if helper.returncode is None:
                    helper.kill()
        self.clouds.close()

    def _ask_cloud(self, repository: Repository, book: RegistryBook) -> Found:
        place = self.clouds.place_of(repository.registry, book)
        if place is None:
            return Found(None, "anonymous")
        grant, usable_s, reason = self.clouds.find(place)
        if grant is None:
            return Found(None, f"anonymous ({reason})", usable_s)
        return Found(grant.credential, grant.source, usable_s)

    def _note_helper(self, helper: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._helpers.append(helper)
            if self._closed:
                helper.kill()

    def _docker_config(self) -> DockerConfig:
        with self._lock:
            if self._config is None:
                path = self._docker_config_path()
                # A link that leads nowhere is a mistake to tell; no file, or a home of someone else, is not.
                content = read_file(str(path)) if os.path.lexists(path) else b""
                self._config = parse_docker_config(content, str(path))
            return self._config

    def _docker_config_path(self) -> Path:
        directory = self._environ.get("DOCKER_CONFIG")
        if directory:
            return Path(directory) / "config.json"
        home = self._environ.get("HOME")
        return (Path(home) if home else Path("~").expanduser()) / ".docker" / "config.json"

    def _ask(self, helper: str, repository: Repository) -> Credential | None:
        server = _DOCKER_HUB_SERVER if repository.registry == DOCKER_HUB else repository.registry
        with self._lock:
            answer = self._asked.setdefault((helper, server), _Answer())
        with answer.lock:
            if not answer.is_there:
                try:
                    answer.credential = ask_helper(
                        helper,
                        server,
                        environ=self._environ,
                        timeout_s=self._timeout_s,
                        on_start=self._note_helper,
                    )
                except SyncError as error:
                    answer.error = error
                answer.is_there = True
        if answer.error is not None:
            raise answer.error.copy()
        return answer.credential


class _Answer:
    """What a helper said about one server; its lock is held while it is asked."""

    __slots__ = ("credential", "error", "is_there", "lock")

    def __init__(self) -> None:
        self.lock = Lock()
        self.is_there = False
        self.credential: Credential | None = None
        self.error: SyncError | None = None


def find_credential(repository: Repository, book: RegistryBook) -> Found:
    """`CredentialSource.find_credential` for a single question, with this process's environment; remembers nothing."""
    return CredentialSource(os.environ).find_credential(repository, book)
