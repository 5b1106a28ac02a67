"""`login` and `logout`: what is asked, what is told, what is kept; a terminal is one of the kernel's."""

from __future__ import annotations

import io
import json
import os
import pty
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import Behaviour, TokenService, serve_in_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cli.conftest import Command
    from image_syncer.embedded import EmbeddedRegistry

PASSWORD = "hunter2 hunter2"
BASIC = Behaviour(users={"me": PASSWORD})
BEARER = replace(BASIC, bearer=TokenService())
PROJECT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def logins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Docker's file of this test."""
    monkeypatch.delenv("REGISTRY_AUTH_FILE", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    return tmp_path / "docker" / "config.json"


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> io.BytesIO:
    """Standard input, to be filled."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(raw))
    return raw


@pytest.fixture(params=[BASIC, BEARER], ids=["basic", "bearer"])
def registry(request: pytest.FixtureRequest) -> Iterator[EmbeddedRegistry]:
    with serve_in_thread(behaviour=request.param) as running:
        yield running


def give(stdin: io.BytesIO, text: str | bytes) -> None:
    stdin.write(text.encode() if isinstance(text, str) else text)
    stdin.seek(0)


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_login_that_the_registry_takes_is_kept_and_a_logout_forgets_it(
    command: Command, registry: EmbeddedRegistry, stdin: io.BytesIO, logins: Path, end: str
) -> None:
    give(stdin, PASSWORD + end)
    ran = command("login", registry.address, "-u", "me", "--password-stdin", "--insecure")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"logged in to {registry.address} as me; kept in {logins}, for you alone to read (mode 600)\n"
    assert json.loads(logins.read_text())["auths"].keys() == {registry.address}
    assert logins.stat().st_mode & 0o777 == 0o600
    ran = command("logout", registry.address)
    assert (ran.code, ran.out, ran.err) == (0, f"logged out of {registry.address} ({logins})\n", "")
    ran = command("logout", registry.address)
    assert (ran.code, ran.out) == (0, f"there was no login for {registry.address} ({logins})\n")


def test_a_login_that_the_registry_refuses_is_not_kept(
    command: Command, registry: EmbeddedRegistry, stdin: io.BytesIO, logins: Path
) -> None:
    give(stdin, "wrong horse")
    ran = command("login", registry.address, "-u", "me", "--password-stdin", "--insecure")
    assert (ran.code, ran.out) == (1, "")
    assert "401" in ran.err or "does not accept the user 'me'" in ran.err
    assert f"Nothing was kept. Check the user name and the password for {registry.address}." in ran.err
    assert "wrong horse" not in ran.err
    assert not logins.exists()


def test_a_registry_that_cannot_be_asked(command: Command, stdin: io.BytesIO, logins: Path) -> None:
    with serve_in_thread() as gone:
        address = gone.address
    words = ("login", address, "-u", "me", "--password-stdin", "--insecure")
    give(stdin, PASSWORD)
    ran = command(*words)
    assert ran.code == 1
    assert address in ran.err
    assert not logins.exists()
    give(stdin, PASSWORD)
    assert command(*words, "--no-check").code == 0
    assert logins.exists()


def test_a_registry_that_lets_everybody_in_is_said_to_have_checked_nothing(
    command: Command, stdin: io.BytesIO, logins: Path
) -> None:
    give(stdin, PASSWORD)
    with serve_in_thread() as registry:
        ran = command("login", registry.address, "-u", "me", "--password-stdin", "--insecure")
    assert ran.code == 0
    assert "lets everybody in at /v2/, so the password was not checked" in ran.err
    assert logins.exists()


def test_a_file_of_one_s_own(command: Command, stdin: io.BytesIO, logins: Path, tmp_path: Path) -> None:
    give(stdin, PASSWORD)
    own = tmp_path / "own.json"
    ran = command("login", "quay.io/team", "-u", "me", "--password-stdin", "--no-check", "--authfile", own)
    assert ran.code == 0
    assert ran.out.splitlines()[1] == f"image-syncer finds it with REGISTRY_AUTH_FILE={own}"
    assert json.loads(own.read_text())["auths"].keys() == {"quay.io/team"}
    assert not logins.exists()
    assert command("logout", "quay.io/team", "--authfile", own).code == 0
    assert json.loads(own.read_text()) == {"auths": {}}


@pytest.mark.parametrize(
    ("words", "given", "says"),
    [
        (("-u", "me", "-p", PASSWORD), "", "can be read by everybody on this machine"),
        (("-u", "me", f"-p={PASSWORD}"), "", "can be read by everybody on this machine"),
        (("-u", "me", f"--password={PASSWORD}"), "", "can be read by everybody on this machine"),
        (("--password-stdin",), PASSWORD, "give the user name with -u NAME"),
        (("-u", "me"), PASSWORD, "there is no terminal to type a password at"),
        (("-u", "me", "--password-stdin"), "", "standard input is empty"),
        (("-u", "me", "--password-stdin"), "\n", "standard input is empty"),
        (("-u", "me", "--password-stdin"), b"\xff", "not UTF-8"),
        (("-u", "me", "--password-stdin"), "x" * 70_000, "that is no password"),
        (("-u", "me", "--password-stdin"), f"{PASSWORD}\n{PASSWORD}", "cannot be kept"),
        (("-u", "m:e", "--password-stdin"), PASSWORD, "cannot be kept"),
        (("-u", "me", "--password-stdin", "--auth", "gone.yaml"), PASSWORD, "gone.yaml: the file does not exist"),
    ],
)
def test_bad_input(
    command: Command, stdin: io.BytesIO, logins: Path, words: tuple[str, ...], given: str | bytes, says: str
) -> None:
    give(stdin, given)
    ran = command("login", "localhost:1", "--no-check", *words)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert PASSWORD not in ran.err
    assert not logins.exists()


@pytest.mark.parametrize("verb", ["login", "logout"])
def test_a_host_that_is_none(command: Command, stdin: io.BytesIO, verb: str) -> None:
    give(stdin, PASSWORD)
    ran = command(verb, "me:hunter2@team", *(("-u", "me", "--password-stdin") if verb == "login" else ()))
    assert ran.code == 2
    assert "'team' is neither a registry nor a registry with a namespace" in ran.err
    assert "hunter2" not in ran.err


class Terminal:
    """`image-syncer WORDS…` with a terminal of its own; everything that the terminal shows is in `shown`."""

    def __init__(self, *words: str) -> None:
        self.shown = b""
        self.pid, self._terminal = pty.fork()
        if self.pid == 0:
            path = os.pathsep.join(str(PROJECT / root) for root in ("engine", "cli"))
            command = [sys.executable, "-m", "image_syncer_cli", *words]
            os.execve(sys.executable, command, {**os.environ, "PYTHONPATH": path, "no_proxy": "*"})

    def wait_for(self, text: str) -> None:
        """Wait until the terminal shows `text`."""
        while text.encode() not in self.shown:
            chunk = self._read()
            assert chunk, self.shown
            self.shown += chunk

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self._terminal, text.encode())

    def end(self) -> int:
        """The exit code, after all that is still shown."""
        while chunk := self._read():
            self.shown += chunk
        os.close(self._terminal)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self) -> bytes:
        try:
            return os.read(self._terminal, 4096)
        except OSError:  # the other end is closed
            return b""


def test_the_password_is_typed_and_not_shown(registry: EmbeddedRegistry, logins: Path) -> None:
    terminal = Terminal("login", registry.address, "--insecure")
    terminal.wait_for("User name: ")
    terminal.type("me\n")
    terminal.wait_for("Password: ")
    terminal.type(f"{PASSWORD}\n")
    assert terminal.end() == 0, terminal.shown
    assert PASSWORD.encode() not in terminal.shown
    assert b"logged in to" in terminal.shown
    assert json.loads(logins.read_text())["auths"].keys() == {registry.address}


@pytest.mark.parametrize("typed", ["\n", "\x04"])
def test_nothing_typed_is_no_password(logins: Path, typed: str) -> None:
    terminal = Terminal("login", "localhost:1", "-u", "me", "--no-check")
    terminal.wait_for("Password: ")
    terminal.type(typed)
    assert terminal.end() == 2, terminal.shown
    assert not logins.exists()


def test_ctrl_c_at_the_prompt_keeps_nothing(logins: Path) -> None:
    terminal = Terminal("login", "localhost:1", "-u", "me", "--no-check")
    terminal.wait_for("Password: ")
    terminal.type("\x03")
    assert terminal.end() == 130, terminal.shown
    assert not logins.exists()
