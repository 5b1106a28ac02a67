"""Credential helpers: `docker-credential-NAME get`, a process that is asked for one server and answers in JSON; `store`
and `erase` for logins.

https://github.com/docker/docker-credential-helpers, "Development".
"""

from __future__ import annotations

import json
import os
import re
import selectors
import shutil
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from image_syncer.credentials.failure import CredentialError
from image_syncer.oci import DOCKER_HUB
from image_syncer.registry import Credential

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "DOCKER_HUB_SERVER",
    "HELPER_TIMEOUT_S",
    "MAX_ANSWER_BYTES",
    "ask_helper",
    "erase_in_helper",
    "server_name",
    "store_in_helper",
]

DOCKER_HUB_SERVER = "https://index.docker.io/v1/"
"""The name under which `docker login` gives Docker Hub to helpers, and writes it into its file."""

HELPER_TIMEOUT_S = 30.0
"""A helper may ask a cloud, or a person; one that says nothing for so long will not."""

MAX_ANSWER_BYTES = 1 << 20
"""Tokens of clouds have some kilobytes."""

_CHUNK_BYTES = 1 << 16
_LOOK_S = 0.2
"""So often is looked whether the helper is still there."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOT_FOUND = b"credentials not found"
_TOKEN_USERNAME = "<token>"  # noqa: S105 - the user name that says "the secret is an identity token"


def server_name(registry: str) -> str:
    """What docker calls a registry where it speaks of it to helpers and in its file."""
    return DOCKER_HUB_SERVER if registry == DOCKER_HUB else registry


def ask_helper(
    name: str,
    server: str,
    *,
    environ: Mapping[str, str],
    named_in: str = "docker's config.json",
    timeout_s: float = HELPER_TIMEOUT_S,
    on_start: Callable[[subprocess.Popen[bytes]], None] = lambda _process: None,
) -> Credential | None:
    """What the helper knows of a server; None where it says that it knows nothing. `on_start` is given the process,
    `named_in` is the file that names the helper.

    Raises CredentialError, which never holds what the helper said.
    """
    program = f"docker-credential-{name}"
    path = _find(name, environ, named_in, "Install it, or write user name and password into the auth file.")
    hint = f"Try it: echo {server} | {program} get"
    code, answer = _run([path, "get"], server.encode(), server, hint, environ, timeout_s, on_start)
    if code != 0:
        if _NOT_FOUND in answer:
            return None
        raise CredentialError(f"{program} failed for {server} (exit code {code})", hint=hint)
    try:
        data = json.loads(answer)
        username, secret = data["Username"], data["Secret"]
        f"{username}{secret}".encode()  # half of a surrogate pair, which JSON can name, could not be sent
    except (ValueError, RecursionError, LookupError, TypeError):
        username = secret = None
    if not isinstance(username, str) or not isinstance(secret, str):
        raise CredentialError(f"{program} gave no answer that can be used for {server}", hint=hint)
    if not username and not secret:
        return None
    if username == _TOKEN_USERNAME:
        return Credential(username, "", secret)
    return Credential(username, secret)


def store_in_helper(
    name: str,
    server: str,
    credential: Credential,
    *,
    environ: Mapping[str, str],
    named_in: str,
    timeout_s: float = HELPER_TIMEOUT_S,
) -> None:
    """Give a credential to the helper to keep. Raises CredentialError, which holds nothing of it."""
    hint = f"Nothing was kept. Set the helper up, or remove it from {named_in}."
    path = _find(name, environ, named_in, hint)
    username, secret = credential.username, credential.password
    if credential.identity_token:
        username, secret = _TOKEN_USERNAME, credential.identity_token
    text = json.dumps({"ServerURL": server, "Username": username, "Secret": secret}).encode()
    code, _ = _run([path, "store"], text, server, hint, environ, timeout_s)
    if code != 0:
        raise CredentialError(
            f"docker-credential-{name} did not keep the login of {server} (exit code {code})", hint=hint
        )


def erase_in_helper(
    name: str, server: str, *, environ: Mapping[str, str], named_in: str, timeout_s: float = HELPER_TIMEOUT_S
) -> bool:
    """Have the helper forget what it has for a server; False where it had nothing. Raises CredentialError."""
    known = ask_helper(name, server, environ=environ, named_in=named_in, timeout_s=timeout_s)
    if known is None:
        return False
    hint = f"Try it: echo {server} | docker-credential-{name} erase"
    path = _find(name, environ, named_in, hint)
    code, answer = _run([path, "erase"], server.encode(), server, hint, environ, timeout_s)
    if code != 0 and _NOT_FOUND not in answer:
        raise CredentialError(
            f"docker-credential-{name} did not forget the login of {server} (exit code {code})", hint=hint
        )
    return True


def _find(name: str, environ: Mapping[str, str], named_in: str, hint: str) -> str:
    program = f"docker-credential-{name}"
    path = shutil.which(program, path=environ.get("PATH")) if _NAME.fullmatch(name) else None
    if path is None:
        raise CredentialError(
            f"{named_in} names the credential helper {program!r}, which is not on the PATH", hint=hint
        )
    return path


def _run(
    command: list[str],
    text: bytes,
    server: str,
    hint: str,
    environ: Mapping[str, str],
    timeout_s: float,
    on_start: Callable[[subprocess.Popen[bytes]], None] = lambda _process: None,
) -> tuple[int, bytes]:
    """Exit code and output. The process stays in our session: a helper may ask for a passphrase on the terminal."""
    deadline = time.monotonic() + timeout_s
    program = Path(command[0]).name
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it may hold what must not be logged
            env=dict(environ),
        )
    except OSError as error:
        raise CredentialError(
            f"{program} cannot be started: {error.strerror}", hint=f"See ls -l {command[0]}"
        ) from None
    on_start(process)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        with process.stdout as output:
            with suppress(BrokenPipeError), process.stdin as asked:
                asked.write(text)
            answer = _read(output.fileno(), process, deadline)
        return process.wait(max(deadline - time.monotonic(), 0)), answer
    except (TimeoutError, subprocess.TimeoutExpired):
        raise CredentialError(
            f"{program} did not answer for {server} within {timeout_s:g} s",
            hint=hint,
        ) from None
    except _AnswerTooLargeError:
        raise CredentialError(f"{program} gave no answer that can be used for {server}") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


class _AnswerTooLargeError(Exception):
    """More than MAX_ANSWER_BYTES."""


def _read(descriptor: int, process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """All that comes until the end, or until the helper has ended (or was killed: nobody waits for it any more) and
    nothing is left to be read: what it has started may hold the pipe open for as long as it likes.
    """
    answer = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while True:
            ended = process.poll() is not None  # before looking, so that nothing comes in between
            left_s = 0.0 if ended else max(deadline - time.monotonic(), 0)
            if not selector.select(min(left_s, _LOOK_S)):
                if ended:
                    return bytes(answer)
                if not left_s:
                    raise TimeoutError
                continue
            chunk = os.read(descriptor, _CHUNK_BYTES)
            if not chunk:
                return bytes(answer)
            answer += chunk
            if len(answer) > MAX_ANSWER_BYTES:
                raise _AnswerTooLargeError
