"""The sources of credentials, asked per repository, one after the other: the auth file, what docker and podman have,
clouds, and then nobody.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from image_syncer.credentials.clouds import CloudSource
from image_syncer.credentials.found import NEVER, Described, Found
from image_syncer.credentials.helper import HELPER_TIMEOUT_S
from image_syncer.credentials.login_files import LoginFiles
from image_syncer.errors import keep_out
from image_syncer.registry import basic_authorization

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from image_syncer.config import RegistryBook
    from image_syncer.credentials.found import Source
    from image_syncer.oci import Repository

__all__ = ["CredentialSource"]


class CredentialSource:
    """Finds credentials, and remembers what files and helpers said, or that they failed.

    `environ` holds DOCKER_CONFIG, HOME, PATH and the like. May be asked from several threads at once.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        helper_timeout_s: float = HELPER_TIMEOUT_S,
        clouds: CloudSource | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = LoginFiles(environ, helper_timeout_s=helper_timeout_s, clock=clock)
        # In this order, after the auth file and before access is anonymous.
        self.clouds = CloudSource(environ) if clouds is None else clouds
        self._sources: tuple[Source, ...] = (self._files, self.clouds)

    def find_credential(self, repository: Repository, book: RegistryBook, *, after: float = NEVER) -> Found:
        """The credential for a repository: of the auth file's entry, if it has a user name; of the first other source
        that knows one, docker's and podman's files before the clouds; anonymous. For `after` see `Source.find`.

        Raises ConfigurationError where a file cannot be read, CredentialError where one names a credential that cannot
        be had, or a cloud refuses one.
        """
        found = self._find(repository, book, after)
        if (credential := found.credential) is not None:
            coded = basic_authorization(credential).partition(" ")[2]
            keep_out(credential.password, credential.identity_token, coded)
        return found

    def _find(self, repository: Repository, book: RegistryBook, after: float) -> Found:
        entry = book.entry_for(repository)
        if entry is not None and entry.credential is not None:
            return Found(entry.credential, f"auth file, {entry.prefix}")
        for source in self._sources:
            found = source.find(repository, book, after=after)
            if found is not None:
                return found
        return Found(None, "anonymous")

    def describe(self, repository: Repository, book: RegistryBook) -> Described:
        """Where `find_credential` would look first, in its words; no helper and no cloud is asked."""
        entry = book.entry_for(repository)
        if entry is not None and entry.credential is not None:
            return Described(f"auth file, {entry.prefix}")
        for source in self._sources:
            described = source.describe(repository, book)
            if described is not None:
                return described
        return Described("anonymous")

    def take_warnings(self) -> list[str]:
        """What people should know of the files that were read; each is told once."""
        return self._files.take_warnings()

    def close(self) -> None:
        """Nobody wants an answer any more: helpers that have not answered are killed, and whoever waits in a thread for
        one has an error at once.
        """
        for source in self._sources:
            source.close()
