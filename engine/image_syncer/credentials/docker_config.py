"""Docker's `config.json` and podman's `auth.json`: what a login leaves, and which helper knows the rest.

https://docs.docker.com/reference/cli/docker/login/, "Credential stores" and "Credential helpers"; podman writes the
same `auths`, with `registry/namespace` as keys too (containers-auth.json(5)).
"""

from __future__ import annotations

import binascii
import json
import re
from base64 import b64decode
from typing import TYPE_CHECKING, TypeVar

from msgspec import field

from image_syncer.config import canonical_prefix
from image_syncer.credentials.failure import CredentialError
from image_syncer.errors import ConfigurationError, Problem
from image_syncer.registry import Credential
from image_syncer.values import Value, repr_without

if TYPE_CHECKING:
    from collections.abc import Mapping

    from image_syncer.oci import Repository

__all__ = ["DockerConfig", "parse_docker_config"]

_HINT = "It is read where the auth file knows no user. REGISTRY_AUTH_FILE names another, or DOCKER_CONFIG its folder."
_HALF_CHARACTER = re.compile("[\\ud800-\\udfff]")
"""JSON can name half of a surrogate pair, which no encoding can send."""
_LINE_ENDS = re.compile("[\\r\\n]")
"""`base64` writes them where nobody says -w0, and docker's reader (Go's `encoding/base64`) passes over them."""
_SECRET_FIELDS = ("auth", "password", "identitytoken", "registrytoken")
_Value = TypeVar("_Value")


class DockerConfig(Value, frozen=True):
    """The parts that are about credentials: `auths` and `helpers` by registry or registry/namespace, and the helper
    of all others. Entries are decoded when they are asked for, so that a broken one does no harm to other registries.
    `path` is the file, for messages.
    """

    path: str = "config.json"
    auths: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    helpers: Mapping[str, str] = field(default_factory=dict)
    store: str | None = None

    __repr__ = repr_without("auths")

    @property
    def holds_secrets(self) -> bool:
        """Whether any entry holds more than a mark that a helper knows."""
        return any(_text(entry, name) for entry in self.auths.values() for name in _SECRET_FIELDS)

    def find_entry(self, repository: Repository) -> tuple[str, Credential] | None:
        """What the file itself holds for a repository, with its key; None where there is nothing, or only a mark that
        a helper knows.

        Raises CredentialError.
        """
        found = _longest(self.auths, repository)
        credential = None if found is None else _decode(*found, self.path)
        return None if found is None or credential is None else (found[0], credential)

    def find_helper(self, repository: Repository) -> str | None:
        """The helper that is named for this registry."""
        found = _longest(self.helpers, repository)
        return None if found is None else found[1]


def parse_docker_config(raw: bytes, path: str) -> DockerConfig:
    """The configuration in a file's content. Raises ConfigurationError with the line."""
    try:
        data = json.loads(raw or b"{}")
    except json.JSONDecodeError as error:
        raise _broken(path, error.lineno, f"not JSON: {error.msg}") from None
    except (ValueError, RecursionError):  # not UTF-8, a number of thousands of digits, or a thousand levels
        raise _broken(path, None, "not JSON") from None
    if not isinstance(data, dict):
        raise _broken(path, None, "no JSON object")
    auths, helpers, store = data.get("auths"), data.get("credHelpers"), data.get("credsStore")
    return DockerConfig(
        path,
        auths={
            canonical_prefix(key): entry
            for key, entry in (auths.items() if isinstance(auths, dict) else ())
            if isinstance(entry, dict)
        },
        helpers={
            canonical_prefix(key): name
            for key, name in (helpers.items() if isinstance(helpers, dict) else ())
            if isinstance(name, str) and name
        },
        store=store if isinstance(store, str) and store else None,
    )


def _broken(path: str, line: int | None, what: str) -> ConfigurationError:
    return ConfigurationError([Problem(path, line, None, what, "mend it, or log in again")], hint=_HINT)


def _longest(values: Mapping[str, _Value], repository: Repository) -> tuple[str, _Value] | None:
    prefix = str(repository)
    while prefix:
        if prefix in values:
            return prefix, values[prefix]
        prefix = prefix.rpartition("/")[0]
    return None


def _decode(prefix: str, entry: Mapping[str, object], path: str) -> Credential | None:
    username, password, auth = (_text(entry, name) for name in ("username", "password", "auth"))
    identity_token = _text(entry, "identitytoken") or None
    if auth:
        auth = _LINE_ENDS.sub("", auth)
        try:
            decoded = b64decode(auth + "=" * (-len(auth) % 4), validate=True).decode("utf-8")
        except (binascii.Error, ValueError):
            decoded = ""
        username, colon, password = decoded.partition(":")
        if not colon:
            raise CredentialError(
                f"the `auth` of {prefix} in {path} cannot be decoded",
                hint=f"Log in again: image-syncer login {prefix}",
            )
    if not username and identity_token is None:
        return None
    if any(_HALF_CHARACTER.search(text) for text in (username, password, identity_token or "")):
        raise CredentialError(
            f"the entry of {prefix} in {path} holds half a character, which nobody can send",
            hint=f"Log in again: image-syncer login {prefix}",
        )
    # Docker's own reader cuts NUL bytes off, which old logins left.
    return Credential(username, password.strip("\0"), identity_token)


def _text(entry: Mapping[str, object], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else ""
