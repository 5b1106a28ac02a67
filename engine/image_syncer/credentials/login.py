"""Logins: stored and erased as `docker login` and `docker logout` do, in docker's format or by the helper of the file.

The file is written beside itself and renamed into its place. Logins of image-syncer run one after the other, by a lock
on the folder, which leaves nothing behind; when another program has changed the file meanwhile, it is read again.
Everything else in the file stays, and only its owner may read it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import tempfile
import time
from base64 import b64encode
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from image_syncer.config import RegistryBook, canonical_prefix
from image_syncer.config.file_reading import read_file
from image_syncer.config.findings import shown
from image_syncer.credentials.helper import Helper, server_name
from image_syncer.credentials.login_files import DockerConfig, LoginFiles, login_place, parse_docker_config
from image_syncer.errors import ConfigurationError, Problem
from image_syncer.oci import InvalidReference, Repository, parse_repository
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from image_syncer.registry import Credential


LOCK_TIMEOUT_S = 10.0
"""A login holds the lock for milliseconds."""
_LOCK_PAUSE_S = 0.02
_MOST_TRIES = 50
"""Of writes that find the file changed by another program."""
_OWNER_ONLY = 0o700


def change_logins(path: str, change: Callable[[dict[str, Any]], None]) -> bool:
    """Let `change` edit the logins (`auths`, by key) of the file at `path`; return whether anything changed.

    A link stays a link. The file and missing folders are created for their owner alone. Raises ConfigurationError where
    the file or its folder cannot be used; then nothing has changed.
    """
    real = Path(os.path.realpath(path))
    try:
        real.parent.mkdir(mode=_OWNER_ONLY, parents=True, exist_ok=True)
        with _locked(real.parent, path):
            for _ in range(_MOST_TRIES):
                before = _content(real)
                data = _parsed(before, path)
                unchanged = json.dumps(data)
                change(data["auths"])
                if json.dumps(data) == unchanged:
                    return False
                if _try_put(real, data, before):
                    return True
    except OSError as error:
        raise _unusable(path, error) from None
    what = "another program does not stop changing the file"
    raise ConfigurationError([Problem(path, None, None, what, "try it again when that has ended")])


def check_kind(path: str) -> None:
    """Raise ConfigurationError for a device or a pipe, which the new file would replace (even /dev/null), and for a
    path that cannot be read.
    """
    try:
        mode = Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise _unusable(path, error) from None
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        what = "logins cannot be kept here: it is no file, but a device or a pipe"
        raise ConfigurationError([Problem(path, None, None, what, "name a file with --authfile")])


def _unusable(path: str, error: OSError) -> ConfigurationError:
    what = f"logins cannot be kept here: {error.strerror or error}"
    return ConfigurationError([Problem(shown(path), None, None, what, "name another file with --authfile")])


def _content(real: Path) -> bytes:
    return read_file(str(real)) if real.exists() else b""


def _parsed(content: bytes, path: str) -> dict[str, Any]:
    parse_docker_config(content, path)  # it reports mistakes with their line
    data: dict[str, Any] = json.loads(content or b"{}")
    if data.get("auths") is None:
        data["auths"] = {}
    if not isinstance(data["auths"], dict):
        raise ConfigurationError([Problem(path, None, "auths", "no JSON object", "mend it, or name another file")])
    return data


def _try_put(real: Path, data: dict[str, Any], before: bytes) -> bool:
    """Replace the old content with the new; return False where another program has changed it."""
    descriptor, name = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)  # with mode 600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            # As docker writes it: with tabs, and no end of line.
            file.write(json.dumps(data, indent="\t"))
            file.flush()
            os.fsync(file.fileno())
        with suppress(OSError):  # root may log in for another user, who stays the owner
            owner = real.stat()
            os.chown(temporary, owner.st_uid, owner.st_gid)
        if _content(real) != before:
            return False
        temporary.replace(real)
        return True
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path, path: str) -> Iterator[None]:
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        while not _try_lock(descriptor):
            if time.monotonic() > deadline:
                what = f"another login has held the folder for {LOCK_TIMEOUT_S:g} s"
                raise ConfigurationError([Problem(path, None, None, what, "end it, and try again")])
            time.sleep(_LOCK_PAUSE_S)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        # On a file system without locks, changes by others are still noticed.
        return error.errno not in (errno.EAGAIN, errno.EACCES)
    return True


_SECRET_FIELDS = ("auth", "username", "password", "identitytoken", "registrytoken")
_UNUSABLE = "\0\r\n"
_NO_BOOK = RegistryBook()


class LoginPlace(Value, frozen=True):
    """A registry, or a namespace in it (`prefix` is `registry/namespace`), that a login is for."""

    prefix: str

    @property
    def registry(self) -> str:
        """The registry's name in references."""
        return self.prefix.partition("/")[0]

    @property
    def key(self) -> str:
        """The key in docker's file."""
        return server_name(self.registry) if self.prefix == self.registry else self.prefix

    def spellings(self, auths: Mapping[str, Any]) -> list[str]:
        """Return the keys of a file that name this place."""
        return [key for key in auths if canonical_prefix(key) == self.prefix]


class KeptLogin(Value, frozen=True):
    """Where a login was stored: the file, and its helper, if that has the password. `shadowed_by` is where another
    login for the same place is found first.
    """

    file: str
    helper: str | None
    shadowed_by: str | None


class ErasedLogin(Value, frozen=True):
    """Whether there was a login in `file` or its helper, and where another is still found."""

    file: str
    helper: str | None
    was_there: bool
    left_in: str | None


def parse_login_place(text: str) -> LoginPlace:
    """Parse `quay.io`, `quay.io/team` or `https://index.docker.io/v1/`. Raises ConfigurationError."""
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
    """Store a credential for a place in `authfile`, else in the file that the environment names, else in docker's.

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
        Helper(helper, place.key, environ, path).store(credential)

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
    """Erase what `store_login` stores. Raises ConfigurationError and CredentialError."""
    path = authfile or login_place(environ).path
    check_kind(path)
    helper = _helper(place, path) if place.prefix == place.registry else None
    was_there = helper is not None and Helper(helper, place.key, environ, path).erase()

    def remove(auths: dict[str, Any]) -> None:
        for key in place.spellings(auths):
            del auths[key]

    if Path(path).exists():
        was_there |= change_logins(path, remove)
    return ErasedLogin(path, helper, was_there, _other(place, path, environ) if authfile is None else None)


def _entry(credential: Credential) -> dict[str, str]:
    pair = f"{credential.username}:{credential.password}"
    entry = {"auth": b64encode(pair.encode()).decode("ascii")}
    return entry | ({"identitytoken": credential.identity_token} if credential.identity_token else {})


def _helper(place: LoginPlace, path: str) -> str | None:
    config = parse_docker_config(read_file(path), path) if Path(path).exists() else DockerConfig(path)
    return config.find_helper(_any_repository(place)) or config.store


def _other(place: LoginPlace, path: str, environ: Mapping[str, str]) -> str | None:
    """Return the file other than `path` where a login for the place is found first, if there is one."""
    try:
        described = LoginFiles(environ).describe(_any_repository(place), _NO_BOOK)
    except ConfigurationError:
        return None  # a run reports it
    return described.file if described is not None and described.file != path else None


def _any_repository(place: LoginPlace) -> Repository:
    return parse_repository(f"{place.prefix}/image")
