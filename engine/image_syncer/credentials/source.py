"""The source of credentials: the auth file, docker's and podman's files, clouds, then anonymous access."""

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


class CredentialSource:
    """Finds credentials, and remembers what files and helpers said, and that they failed.

    `environ` holds DOCKER_CONFIG, HOME, PATH and the like. Several threads may ask at once.
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
        self.clouds = CloudSource(environ) if clouds is None else clouds
        self._sources: tuple[Source, ...] = (self._files, self.clouds)
        self.take_warnings = self._files.take_warnings

    def find_credential(self, repository: Repository, book: RegistryBook, *, after: float = NEVER) -> Found:
        """Return the credential for a repository: of the auth file's entry, if it has a user name; of the first other
        source that has one; anonymous. For `after` see `Source.find`.

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
        found = (source.find(repository, book, after=after) for source in self._sources)
        return next((each for each in found if each is not None), Found(None, "anonymous"))

    def describe(self, repository: Repository, book: RegistryBook) -> Described:
        """Return where `find_credential` would look first; asks no helper and no cloud."""
        entry = book.entry_for(repository)
        if entry is not None and entry.credential is not None:
            return Described(f"auth file, {entry.prefix}")
        described = (source.describe(repository, book) for source in self._sources)
        return next((each for each in described if each is not None), Described("anonymous"))

    def close(self) -> None:
        """End all questions: helpers that have not answered are killed, and callers that wait get an error at once."""
        for source in self._sources:
            source.close()
