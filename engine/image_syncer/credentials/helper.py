"""Credential helpers: the processes `docker-credential-NAME get`, `store` and `erase`, called for one server.

https://github.com/docker/docker-credential-helpers, "Development".
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from image_syncer.credentials.found import CredentialError
from image_syncer.oci import DOCKER_HUB
from image_syncer.patterns import lazy_pattern
from image_syncer.registry import Credential
from image_syncer.values import Value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


DOCKER_HUB_SERVER = "https://index.docker.io/v1/"
"""Docker Hub's name for helpers, and in docker's file."""

HELPER_TIMEOUT_S = 30.0
"""A helper may ask a cloud, or the user for a passphrase."""

MAX_ANSWER_BYTES = 1 << 20
"""Tokens of clouds have some kilobytes."""

_CHUNK_BYTES = 1 << 16
_POLL_S = 0.2
"""How often to check whether the helper has ended."""
_NAME = lazy_pattern(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOT_FOUND = b"credentials not found"
_TOKEN_USERNAME = "<token>"  # noqa: S105 - the user name that says "the secret is an identity token"


def server_name(registry: str) -> str:
    """Return docker's name of a registry, for helpers and in its file."""
    return DOCKER_HUB_SERVER if registry == DOCKER_HUB else registry


class Helper(Value, frozen=True):
    """A helper, the server that it is called for, and the file that names it (`named_in`).

    All methods raise CredentialError, which never holds a secret or what the helper said.
    """

    name: str
    server: str
    environ: Mapping[str, str]
    named_in: str = "docker's config.json"
    timeout_s: float = HELPER_TIMEOUT_S

    @property
    def _program(self) -> str:
        return f"docker-credential-{self.name}"

    def get(self, on_start: Callable[[subprocess.Popen[bytes]], None] | None = None) -> Credential | None:
        """Return the credential, None where the helper has none. `on_start` receives the process."""
        missing_hint = "Install it, or write user name and password into the auth file."
        hint = f"Try it: echo {self.server} | {self._program} get"
        code, answer = self._run("get", self.server.encode(), hint, missing_hint, on_start)
        if code != 0:
            if _NOT_FOUND in answer:
                return None
            raise CredentialError(f"{self._program} failed for {self.server} (exit code {code})", hint=hint)
        try:
            data = json.loads(answer)
            username, secret = data["Username"], data["Secret"]
            f"{username}{secret}".encode()  # half of a surrogate pair, which JSON can name, cannot be sent
        except (ValueError, RecursionError, LookupError, TypeError):
            username = secret = None
        if not isinstance(username, str) or not isinstance(secret, str):
            raise CredentialError(f"{self._program} gave no answer that can be used for {self.server}", hint=hint)
        if not username and not secret:
            return None
        if username == _TOKEN_USERNAME:
            return Credential(username, "", secret)
        return Credential(username, secret)

    def store(self, credential: Credential) -> None:
        """Store a credential."""
        hint = f"Nothing was kept. Set the helper up, or remove it from {self.named_in}."
        username, secret = credential.username, credential.password
        if credential.identity_token:
            username, secret = _TOKEN_USERNAME, credential.identity_token
        text = json.dumps({"ServerURL": self.server, "Username": username, "Secret": secret}).encode()
        code, _ = self._run("store", text, hint)
        if code != 0:
            what = f"{self._program} did not keep the login of {self.server} (exit code {code})"
            raise CredentialError(what, hint=hint)

    def erase(self) -> bool:
        """Erase the credential; return False where the helper had none."""
        if self.get() is None:
            return False
        hint = f"Try it: echo {self.server} | {self._program} erase"
        code, answer = self._run("erase", self.server.encode(), hint)
        if code != 0 and _NOT_FOUND not in answer:
            what = f"{self._program} did not forget the login of {self.server} (exit code {code})"
            raise CredentialError(what, hint=hint)
        return True

    def _run(
        self,
        verb: str,
        sent: bytes,
        hint: str,
        missing_hint: str | None = None,
        on_start: Callable[[subprocess.Popen[bytes]], None] | None = None,
    ) -> tuple[int, bytes]:
        """Return exit code and output. The process stays in our session, since it may ask for a passphrase on the
        terminal.
        """
        import shutil  # loads the modules of all archives, and most runs have no helper

        path = shutil.which(self._program, path=self.environ.get("PATH")) if _NAME.fullmatch(self.name) else None
        if path is None:
            what = f"{self.named_in} names the credential helper {self._program!r}, which is not on the PATH"
            raise CredentialError(what, hint=missing_hint or hint)
        deadline = time.monotonic() + self.timeout_s
        try:
            process = subprocess.Popen(
                [path, verb],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # it may hold what must not be logged
                env=dict(self.environ),
            )
        except OSError as error:
            what = f"{self._program} cannot be started: {error.strerror}"
            raise CredentialError(what, hint=f"See ls -l {path}") from None
        if on_start is not None:
            on_start(process)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with process.stdout as output:
                with suppress(BrokenPipeError), process.stdin as asked:
                    asked.write(sent)
                answer = _read(output.fileno(), process, deadline)
            if len(answer) > MAX_ANSWER_BYTES:
                raise CredentialError(f"{self._program} gave no answer that can be used for {self.server}")
            return process.wait(max(deadline - time.monotonic(), 0)), answer
        except (TimeoutError, subprocess.TimeoutExpired):
            what = f"{self._program} did not answer for {self.server} within {self.timeout_s:g} s"
            raise CredentialError(what, hint=hint) from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _read(descriptor: int, process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """Read until the end, or past MAX_ANSWER_BYTES, or until the helper has ended and nothing is left: its children may
    keep the pipe open. Raises TimeoutError.
    """
    answer = bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while len(answer) <= MAX_ANSWER_BYTES:
            ended = process.poll() is not None  # before the select, so that no output is missed
            left_s = 0.0 if ended else max(deadline - time.monotonic(), 0)
            if selector.select(min(left_s, _POLL_S)):
                chunk = os.read(descriptor, _CHUNK_BYTES)
                if not chunk:
                    break
                answer += chunk
            elif ended:
                break
            elif not left_s:
                raise TimeoutError
    return bytes(answer)
