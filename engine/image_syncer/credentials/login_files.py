"""The source that is docker's and podman's files: entries, helpers of one registry, and stores of all registries."""

from __future__ import annotations

import os
import time
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from msgspec import Struct

from image_syncer.config.file_modes import mode_warning
from image_syncer.config.file_reading import read_file
from image_syncer.credentials.auth_places import auth_places
from image_syncer.credentials.docker_config import DockerConfig, parse_docker_config
from image_syncer.credentials.found import NEVER, Described, Found
from image_syncer.credentials.helper import HELPER_TIMEOUT_S, ask_helper, server_name
from image_syncer.errors import ConfigurationError, Problem, SyncError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping

    from image_syncer.config import RegistryBook
    from image_syncer.credentials.auth_places import AuthPlace
    from image_syncer.oci import Repository
    from image_syncer.registry import Credential

__all__ = ["GOOD_FOR_S", "LoginFiles"]

GOOD_FOR_S = 3600.0
"""For so long an entry, or what a helper said, is taken without looking again. Helpers of clouds hand out what ends
(ECR's after 12 h, renewed when half of that is over), and so do logins that something renews now and then; and ECR says
of a password that has ended what others say of missing rights (403), so nobody should wait to be refused.
"""


class LoginFiles:
    """See `image_syncer.credentials.found.Source`. Each file is read once, and each helper asked once for a server,
    until an answer of it no longer counts. In a file counts: the helper of the registry, the entry, the store of all.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        helper_timeout_s: float = HELPER_TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._environ = environ
        self._timeout_s = helper_timeout_s
        self._clock = clock
        self._lock = Lock()
        self._files = {place: _File() for place in auth_places(environ)}
        self._asked: dict[tuple[str, str], _Answer] = {}
        self._helpers: list[subprocess.Popen[bytes]] = []
        self._closed = False
        self._warnings: dict[str, None] = {}
        self._told: set[str] = set()

    def find(self, repository: Repository, _book: RegistryBook, *, after: float) -> Found | None:
        """See `Source`."""
        for place in self._files:
            config, read_at = self._read(place, after)
            helper = config.find_helper(repository)
            if helper is not None and (found := self._ask(helper, config.path, repository, after)):
                return found
            if entry := config.find_entry(repository):
                key, credential = entry
                return Found(credential, f"{config.path}, {key}", read_at, read_at + GOOD_FOR_S)
            store = config.store
            if store is not None and store != helper and (found := self._ask(store, config.path, repository, after)):
                return found
        return None

    def describe(self, repository: Repository, _book: RegistryBook) -> Described | None:
        """See `Source`."""
        for place in self._files:
            config, _ = self._read(place, NEVER)
            helper = config.find_helper(repository)
            if helper is None and (entry := config.find_entry(repository)):
                return Described(f"{config.path}, {entry[0]}", None if place.content is not None else config.path)
            if helper := helper or config.store:
                return Described(f"docker-credential-{helper}, if it knows one", config.path)
        return None

    def take_warnings(self) -> list[str]:
        """What people should know of the files that were read; each is told once."""
        with self._lock:
            new = [text for text in self._warnings if text not in self._told]
            self._told.update(new)
        return new

    def close(self) -> None:
        """See `Source`: helpers that have not answered are killed."""
        with self._lock:
            self._closed = True
            for helper in self._helpers:
                if helper.returncode is None:
                    helper.kill()

    def _note_helper(self, helper: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._helpers = [each for each in self._helpers if each.returncode is None]
            self._helpers.append(helper)
            if self._closed:
                helper.kill()

    def _read(self, place: AuthPlace, after: float) -> tuple[DockerConfig, float]:
        with self._lock:
            file = self._files[place]
            if file.config is None or file.read_at_s <= after:
                read_at_s = self._clock()
                file.config = self._parse(place)
                file.read_at_s = read_at_s
            return file.config, file.read_at_s

    def _parse(self, place: AuthPlace) -> DockerConfig:
        if place.content is not None:
            return self._parse_variable(place.path, place.content)
        # A link that leads nowhere is a mistake to tell; no file, or a home of someone else, is not.
        if not os.path.lexists(place.path):
            if place.named_by is not None:
                what = f"the file does not exist, and {place.named_by} names it"
                mend = f"unset {place.named_by}, or log in: image-syncer login"
                raise ConfigurationError([Problem(place.path, None, None, what, mend)])
            return DockerConfig(place.path)
        config = parse_docker_config(read_file(place.path), place.path)
        warning = mode_warning(Path(place.path).stat().st_mode, place.path, holds_secret=config.holds_secrets)
        if warning is not None:
            self._warnings[str(Problem(place.path, None, None, *warning))] = None
        return config

    def _parse_variable(self, name: str, content: str) -> DockerConfig:
        """The logins in a variable, and nothing else of it, as docker has it; it too passes over nonsense."""
        place = f"the variable {name}"
        try:
            return DockerConfig(place, parse_docker_config(content.encode("utf-8", "surrogateescape"), place).auths)
        except ConfigurationError:
            self._warnings[f"{place} is left out: it holds no JSON object with logins"] = None
            return DockerConfig(place)

    def _ask(self, helper: str, named_in: str, repository: Repository, after: float) -> Found | None:
        server = server_name(repository.registry)
        with self._lock:
            answer = self._asked.setdefault((helper, server), _Answer())
        with answer.lock:
            if answer.asked_at_s is None or answer.asked_at_s <= after:
                answer.asked_at_s = self._clock()
                answer.credential = answer.error = None
                try:
                    answer.credential = ask_helper(
                        helper,
                        server,
                        environ=self._environ,
                        named_in=named_in,
                        timeout_s=self._timeout_s,
                        on_start=self._note_helper,
                    )
                except SyncError as error:
                    answer.error = error
            if answer.error is not None:
                raise answer.error.copy()
            if answer.credential is None:
                return None
            asked_at_s = answer.asked_at_s
            return Found(answer.credential, f"docker-credential-{helper}", asked_at_s, asked_at_s + GOOD_FOR_S)


class _File(Struct):
    config: DockerConfig | None = None
    read_at_s: float = 0.0


class _Answer:
    """What a helper said about one server, and when it was asked; its lock is held while it is asked."""

    __slots__ = ("asked_at_s", "credential", "error", "lock")

    def __init__(self) -> None:
        self.lock = Lock()
        self.asked_at_s: float | None = None
        self.credential: Credential | None = None
        self.error: SyncError | None = None
