"""Logins, kept and forgotten as `docker login` and `docker logout` do: in docker's format, or by the helper that the
file names.
"""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image_syncer.config import RegistryBook, canonical_prefix
from image_syncer.config.file_reading import read_file
from image_syncer.credentials.auth_places import login_place
from image_syncer.credentials.docker_config import DockerConfig, parse_docker_config
from image_syncer.credentials.helper import erase_in_helper, server_name, store_in_helper
from image_syncer.credentials.login_file import change_logins, check_kind
from image_syncer.credentials.login_files import LoginFiles
from image_syncer.errors import ConfigurationError, Problem
from image_syncer.oci import InvalidReference, Repository, parse_repository
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.registry import Credential

__all__ = ["ErasedLogin", "KeptLogin", "LoginPlace", "erase_login", "parse_login_place", "store_login"]

_SECRET_FIELDS = ("auth", "username", "password", "identitytoken", "registrytoken")
_UNUSABLE = "\0\r\n"
_NO_BOOK = RegistryBook()


class LoginPlace(Value, frozen=True):
    """What a login is for: a registry, or a namespace in it (`prefix` is `registry/namespace`)."""

    prefix: str

    @property
    def registry(self) -> str:
        """The registry, as references name it."""
        return self.prefix.partition("/")[0]

    @property
    def key(self) -> str:
        """The key in docker's file."""
        return server_name(self.registry) if self.prefix == self.registry else self.prefix

    def spellings(self, auths: Mapping[str, Any]) -> list[str]:
        """The keys of a file that stand for this place."""
        return [key for key in auths if canonical_prefix(key) == self.prefix]


class KeptLogin(Value, frozen=True):
    """Where a login was put: the file, and the helper that the file names, if it has the password. `shadowed_by` says
    where another login for the same place is found first.
    """

    file: str
    helper: str | None
    shadowed_by: str | None


class ErasedLogin(Value, frozen=True):
    """Whether there was a login in `file` (or at the helper that it names), and where another is still found."""

    file: str
    helper: str | None
    was_there: bool
    left_in: str | None


def parse_login_place(text: str) -> LoginPlace:
    """The place that people write as `quay.io`, `quay.io/team` or `https://index.docker.io/v1/`. Raises
    ConfigurationError.
    """
    prefix = canonical_prefix(text)
    try:
        fits = "@" not in text and parse_repository(f"{prefix}/image").registry == prefix.partition("/")[0]
    except InvalidReference:
        fits = False
    if not fits:
        raise ConfigurationError(
            f"{text.rpartition('@')[2][:100]!r} is neither a registry nor a registry with a namespace",
            hint="Write quay.io, localhost:5000 or quay.io/team: a registry has a dot or a port.",
        )
    return LoginPlace(prefix)


def store_login(
    place: LoginPlace, credential: Credential, *, environ: Mapping[str, str], authfile: str | None = None
) -> KeptLogin:
    """Keep a credential for a place in `authfile`, else in the file that the environment names, else in docker's.

    Raises ConfigurationError where the file or the credential cannot be used, CredentialError where the helper fails.
    """
    path = authfile or login_place(environ).path
    check_kind(path)
    if any(character in f"{credential.username}{credential.password}" for character in _UNUSABLE):
        raise ConfigurationError("a user name or password with a NUL or an end of line in it cannot be kept")
    if ":" in credential.username:
        raise ConfigurationError(
            "a user name with a colon in it cannot be kept: docker's format and Basic end it there (RFC 7617)"
        )
    helper = _helper(place, path)
    if helper is not None:
        if place.prefix != place.registry:
            what = f"docker-credential-{helper} would keep the login, and helpers know no namespaces"
            mend = f"log in to {place.registry}, or name another file with --authfile"
            raise ConfigurationError([Problem(path, None, None, what, mend)])
        store_in_helper(helper, place.key, credential, environ=environ, named_in=path)

    def put(auths: dict[str, Any]) -> None:
        spellings = place.spellings(auths)
        fields: dict[str, Any] = {}
        for key in spellings:
            if isinstance(old := auths[key], dict):
                fields |= {name: value for name, value in old.items() if name not in _SECRET_FIELDS}
            if key != place.key:
                del auths[key]
        auths[place.key] = (_entry(credential) if helper is None else {}) | fields

    change_logins(path, put)
    return KeptLogin(path, helper, _other(place, path, environ) if authfile is None else None)


def erase_login(place: LoginPlace, *, environ: Mapping[str, str], authfile: str | None = None) -> ErasedLogin:
    """Forget what `store_login` keeps. Raises ConfigurationError and CredentialError."""
    path = authfile or login_place(environ).path
    check_kind(path)
    helper = _helper(place, path) if place.prefix == place.registry else None
    was_there = helper is not None and erase_in_helper(helper, place.key, environ=environ, named_in=path)

    def remove(auths: dict[str, Any]) -> None:
        for key in place.spellings(auths):
            del auths[key]

    if _exists(path):
        was_there |= change_logins(path, remove)
    return ErasedLogin(path, helper, was_there, _other(place, path, environ) if authfile is None else None)


def _entry(credential: Credential) -> dict[str, str]:
    pair = f"{credential.username}:{credential.password}"
    entry = {"auth": b64encode(pair.encode()).decode("ascii")}
    return entry | ({"identitytoken": credential.identity_token} if credential.identity_token else {})


def _helper(place: LoginPlace, path: str) -> str | None:
    config = parse_docker_config(read_file(path), path) if _exists(path) else DockerConfig(path)
    return config.find_helper(_any_repository(place)) or config.store


def _other(place: LoginPlace, path: str, environ: Mapping[str, str]) -> str | None:
    """The file other than `path` where a login for the place is found first, if one is."""
    try:
        described = LoginFiles(environ).describe(_any_repository(place), _NO_BOOK)
    except ConfigurationError:
        return None  # a run will tell
    return described.file if described is not None and described.file != path else None


def _exists(path: str) -> bool:
    return Path(path).exists()


def _any_repository(place: LoginPlace) -> Repository:
    return parse_repository(f"{place.prefix}/image")
