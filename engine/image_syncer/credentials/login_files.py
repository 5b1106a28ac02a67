"""Login files: docker's `config.json` and podman's `auth.json`, the helpers that they name, and the order of all.

https://docs.docker.com/reference/cli/docker/login/, "Credential stores" and "Credential helpers"; podman writes the
same `auths`, with `registry/namespace` as keys too (containers-auth.json(5)). A file that the environment names is the
only one: REGISTRY_AUTH_FILE before DOCKER_CONFIG, as podman and skopeo have it. Before all files comes the content of
DOCKER_AUTH_CONFIG (https://github.com/docker/cli/pull/6008).
"""

from __future__ import annotations

import binascii
import json
import os
import time
from base64 import b64decode
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct, field

from image_syncer.config import canonical_prefix
from image_syncer.config.file_reading import mode_warning, read_file
from image_syncer.credentials.found import NEVER, CredentialError, Described, Found
from image_syncer.credentials.helper import HELPER_TIMEOUT_S, Helper, server_name
from image_syncer.errors import ConfigurationError, Problem, SyncError
from image_syncer.patterns import lazy_pattern
from image_syncer.registry import Credential
from image_syncer.values import Value, repr_without

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable, Mapping

    from image_syncer.config import RegistryBook
    from image_syncer.oci import Repository


_HINT = "It is read where the auth file knows no user. REGISTRY_AUTH_FILE names another, or DOCKER_CONFIG its folder."
_HALF_CHARACTER = lazy_pattern("[\\ud800-\\udfff]")
"""JSON can name half of a surrogate pair, which no encoding has."""
_LINE_ENDS = lazy_pattern("[\\r\\n]")
"""`base64` writes them without -w0, and docker's reader (Go's `encoding/base64`) ignores them."""
_SECRET_FIELDS = ("auth", "password", "identitytoken", "registrytoken")
_PODMAN_FILE = Path("containers", "auth.json")
_DOCKER_FILE = "config.json"
_Value = TypeVar("_Value")

GOOD_FOR_S = 3600.0
"""How long an entry, or an answer of a helper, counts. Helpers of clouds return credentials that expire (ECR's after 12
h, renewed after half of that), and ECR answers an expired password with 403, as others do for missing rights: a run
must not wait for that.
"""


class DockerConfig(Value, frozen=True):
    """The credentials of one file: `auths` and `helpers` by registry or registry/namespace, and the helper of all
    others (`store`). Entries are decoded on use, so that a broken one does no harm to other registries. `path` is for
    messages.
    """

    path: str = "config.json"
    auths: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    helpers: Mapping[str, str] = field(default_factory=dict)
    store: str | None = None

    __repr__ = repr_without("auths")

    @property
    def holds_secrets(self) -> bool:
        """Whether any entry holds a secret."""
        return any(_text(entry, name) for entry in self.auths.values() for name in _SECRET_FIELDS)

    def find_entry(self, repository: Repository) -> tuple[str, Credential] | None:
        """Return the file's own credential for a repository, with its key; None where it has none. Raises
        CredentialError.
        """
        found = _longest(self.auths, repository)
        credential = None if found is None else _decode(*found, self.path)
        return None if found is None or credential is None else (found[0], credential)

    def find_helper(self, repository: Repository) -> str | None:
        """Return the helper that the file names for this registry."""
        found = _longest(self.helpers, repository)
        return None if found is None else found[1]


def parse_docker_config(raw: bytes, path: str) -> DockerConfig:
    """Parse the content of a file. Raises ConfigurationError with the line."""
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
        auths={canonical_prefix(key): entry for key, entry in _items(auths) if isinstance(entry, dict)},
        helpers={canonical_prefix(key): name for key, name in _items(helpers) if isinstance(name, str) and name},
        store=store if isinstance(store, str) and store else None,
    )


def _items(data: object) -> Iterable[tuple[str, object]]:
    return data.items() if isinstance(data, dict) else ()


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
            f"the entry of {prefix} in {path} holds half a character, which cannot be sent",
            hint=f"Log in again: image-syncer login {prefix}",
        )
    # Docker's own reader cuts NUL bytes off, which old logins left.
    return Credential(username, password.strip("\0"), identity_token)


def _text(entry: Mapping[str, object], name: str) -> str:
    value = entry.get(name)
    return value if isinstance(value, str) else ""


class AuthPlace(Value, frozen=True):
    """A file that may hold logins. It must exist where a variable of the environment names it (`named_by`). With
    `content` it is no file: the variable `path` has that content.
    """

    path: str
    named_by: str | None = None
    content: str | None = None

    __repr__ = repr_without("content")


def auth_places(environ: Mapping[str, str]) -> tuple[AuthPlace, ...]:
    """Return the files that are read, in their order. Most of them do not exist, which is no error."""
    content = environ.get("DOCKER_AUTH_CONFIG")
    held = (AuthPlace("DOCKER_AUTH_CONFIG", content=content),) if content else ()
    named = _named_place(environ)
    if named is not None:
        return (*held, named)
    runtime = environ.get("XDG_RUNTIME_DIR")
    # Without XDG_RUNTIME_DIR, as root mostly runs it, podman writes below /run.
    session = Path(runtime) / _PODMAN_FILE if runtime else Path("/run/containers", str(os.getuid()), _PODMAN_FILE.name)
    config = Path(environ.get("XDG_CONFIG_HOME") or _home(environ) / ".config")
    return (*held, *(AuthPlace(str(path)) for path in (session, config / _PODMAN_FILE, _docker_file(environ))))


def login_place(environ: Mapping[str, str]) -> AuthPlace:
    """Return the file for a new login: the one of the environment, else docker's, which outlives the session."""
    return _named_place(environ) or AuthPlace(str(_docker_file(environ)))


def _named_place(environ: Mapping[str, str]) -> AuthPlace | None:
    if path := environ.get("REGISTRY_AUTH_FILE"):
        return AuthPlace(path, "REGISTRY_AUTH_FILE")
    if directory := environ.get("DOCKER_CONFIG"):
        return AuthPlace(str(Path(directory) / _DOCKER_FILE))  # docker accepts a folder without the file
    return None


def _docker_file(environ: Mapping[str, str]) -> Path:
    return _home(environ) / ".docker" / _DOCKER_FILE


def _home(environ: Mapping[str, str]) -> Path:
    home = environ.get("HOME")
    return Path(home) if home else Path("~").expanduser()


class LoginFiles:
    """The `Source` of login files. Each file is read once, and each helper asked once for a server, until the answer no
    longer counts. In a file, the helper of the registry comes before the entry, and the entry before the store.
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
        self._files: dict[AuthPlace, tuple[DockerConfig, float] | None] = dict.fromkeys(auth_places(environ))
        """What each file holds, and when it was read."""
        self._asked: dict[tuple[str, str], _Answer] = {}
        self._helpers: list[subprocess.Popen[bytes]] = []
        self._closed = False
        self._warnings: dict[str, bool] = {}
        """Each with whether it was reported."""

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
        """Return the warnings about the files that were read, each once."""
        with self._lock:
            new = [text for text, is_reported in self._warnings.items() if not is_reported]
            self._warnings = dict.fromkeys(self._warnings, True)
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
            known = self._files[place]
            if known is None or known[1] <= after:
                read_at_s = self._clock()
                known = self._files[place] = self._parse(place), read_at_s
            return known

    def _parse(self, place: AuthPlace) -> DockerConfig:
        if place.content is not None:
            return self._parse_variable(place.path, place.content)
        # A link to a missing file is a mistake; no file, or a home that another user owns, is not.
        if not os.path.lexists(place.path):
            if place.named_by is not None:
                what = f"the file does not exist, and {place.named_by} names it"
                mend = f"unset {place.named_by}, or log in: image-syncer login"
                raise ConfigurationError([Problem(place.path, None, None, what, mend)])
            return DockerConfig(place.path)
        config = parse_docker_config(read_file(place.path), place.path)
        warning = mode_warning(Path(place.path).stat().st_mode, place.path, holds_secret=config.holds_secrets)
        if warning is not None:
            self._warnings.setdefault(str(Problem(place.path, None, None, *warning)), False)
        return config

    def _parse_variable(self, name: str, content: str) -> DockerConfig:
        """Return the logins of a variable and nothing else, as docker does, which ignores invalid content too."""
        place = f"the variable {name}"
        try:
            return DockerConfig(place, parse_docker_config(content.encode("utf-8", "surrogateescape"), place).auths)
        except ConfigurationError:
            self._warnings.setdefault(f"{place} is left out: it holds no JSON object with logins", False)
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
                    one = Helper(helper, server, self._environ, named_in, self._timeout_s)
                    answer.credential = one.get(self._note_helper)
                except SyncError as error:
                    answer.error = error
            if answer.error is not None:
                raise answer.error.changed()
            if answer.credential is None:
                return None
            asked_at_s = answer.asked_at_s
            return Found(answer.credential, f"docker-credential-{helper}", asked_at_s, asked_at_s + GOOD_FOR_S)


class _Answer(Struct):
    """What a helper said about one server, and when it was asked; its lock is held while it is asked."""

    lock: Any = field(default_factory=Lock)
    asked_at_s: float | None = None
    credential: Credential | None = None
    error: SyncError | None = None
