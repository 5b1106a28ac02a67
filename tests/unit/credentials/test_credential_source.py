"""Where a credential comes from, with helpers that are small scripts."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from image_syncer.config import RegistryBook, RegistryEntry
from image_syncer.credentials import CredentialError, CredentialSource, find_credential
from image_syncer.credentials.helper import MAX_ANSWER_BYTES, ask_helper
from image_syncer.errors import ConfigurationError, SyncError
from image_syncer.oci import parse_repository
from image_syncer.registry import Credential

QUAY = parse_repository("quay.io/a/b")
BOOK = RegistryBook()
ANSWER = """read server; printf '{"ServerURL":"%s","Username":"%s","Secret":"hunter2"}' "$server" "me@$server" """


@pytest.fixture
def home(tmp_path):
    """A home directory with a docker configuration and helpers, made on demand."""
    return Home(tmp_path)


class Home:
    def __init__(self, path):
        self.path = path
        self.environ = {"HOME": str(path), "PATH": f"{path}/bin:/usr/bin:/bin"}

    def docker_config(self, text=None, directory=".docker", **data):
        (self.path / directory).mkdir(exist_ok=True)
        (self.path / directory / "config.json").write_text(json.dumps(data) if text is None else text)

    def helper(self, name, script):
        (self.path / "bin").mkdir(exist_ok=True)
        path = self.path / "bin" / f"docker-credential-{name}"
        path.write_text(f"#!/bin/sh\n[ \"$1\" = get ] || exit 9\necho called >> '{self.path}/calls'\n{script}\n")
        path.chmod(0o755)

    @property
    def calls(self):
        path = self.path / "calls"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def source(self, **options):
        return CredentialSource(self.environ, **options)


def test_nobody_knows(home):
    found = home.source().find_credential(QUAY, BOOK)
    assert (found.credential, found.source) == (None, "anonymous")


def test_the_auth_file_comes_first_and_docker_is_not_even_read(home):
    home.docker_config(text="broken")
    book = RegistryBook([RegistryEntry("quay.io", Credential("me", "p"))])
    found = home.source().find_credential(QUAY, book)
    assert (found.credential, found.source) == (Credential("me", "p"), "auth file, quay.io")


def test_an_entry_without_a_user_name_leaves_the_question_to_docker(home):
    home.docker_config(auths={"quay.io": {"username": "me", "password": "p"}})
    book = RegistryBook([RegistryEntry("quay.io", insecure=True)])
    found = home.source().find_credential(QUAY, book)
    assert (found.credential, found.source) == (Credential("me", "p"), "docker config.json")


def test_docker_config_names_the_directory(home):
    home.docker_config(auths={"quay.io": {"username": "home", "password": "p"}})
    home.docker_config(directory="other", auths={"quay.io": {"username": "other", "password": "p"}})
    home.environ["DOCKER_CONFIG"] = str(home.path / "other")
    assert home.source().find_credential(QUAY, BOOK).credential.username == "other"
    home.environ["DOCKER_CONFIG"] = str(home.path / "nowhere")
    assert home.source().find_credential(QUAY, BOOK).credential is None


def test_a_helper_of_one_registry(home):
    home.helper("fake", ANSWER)
    home.docker_config(credHelpers={"quay.io": "fake"})
    source = home.source()
    found = source.find_credential(QUAY, BOOK)
    assert (found.credential, found.source) == (Credential("me@quay.io", "hunter2"), "docker-credential-fake")
    assert source.find_credential(parse_repository("ghcr.io/a"), BOOK).credential is None


def test_the_store_knows_all_others_and_docker_hub_by_its_old_name(home):
    home.helper("store", ANSWER)
    home.docker_config(credsStore="store", auths={"quay.io": {}, "ghcr.io": {"username": "own", "password": "p"}})
    source = home.source()
    assert source.find_credential(QUAY, BOOK).credential == Credential("me@quay.io", "hunter2")
    assert source.find_credential(parse_repository("ghcr.io/a"), BOOK).credential == Credential("own", "p")
    assert source.find_credential(parse_repository("nginx"), BOOK).credential.username == (
        "me@https://index.docker.io/v1/"
    )


def test_a_helper_that_knows_nothing_means_anonymous(home):
    home.helper("empty", "echo credentials not found in native keychain; exit 1")
    home.docker_config(credsStore="empty", credHelpers={"quay.io": "empty"})
    found = home.source().find_credential(QUAY, BOOK)
    assert (found.credential, found.source) == (None, "anonymous")
    assert home.calls == 1


def test_an_identity_token(home):
    home.helper("cloud", """echo '{"Username":"<token>","Secret":"token"}'""")
    home.docker_config(credHelpers={"quay.io": "cloud"})
    assert home.source().find_credential(QUAY, BOOK).credential == Credential("<token>", "", "token")


def test_a_helper_is_asked_once_for_each_server_however_many_threads_ask(home):
    home.helper("fake", ANSWER)
    home.docker_config(credsStore="fake")
    source = home.source()
    repositories = [parse_repository(f"quay.io/a/{number}") for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda repository: source.find_credential(repository, BOOK), repositories))
    assert {answer.credential for answer in found} == {Credential("me@quay.io", "hunter2")}
    assert home.calls == 1


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo hunter2; echo hunter2 >&2; exit 3", "docker-credential-fake failed for quay.io (exit code 3)"),
        ("echo hunter2", "gave no answer that can be used"),
        ('echo \'{"Username": "me"}\'', "gave no answer that can be used"),
        ("echo '[\"hunter2\"]'", "gave no answer that can be used"),
        ("exit 0", "gave no answer that can be used"),
        (f"head -c {MAX_ANSWER_BYTES + 1} /dev/zero; cat", "gave no answer that can be used"),
        ("kill -9 $$", "failed for quay.io"),
    ],
)
def test_a_helper_that_fails(home, script, message):
    home.helper("fake", script)
    with pytest.raises(CredentialError) as caught:
        ask_helper("fake", "quay.io", environ=home.environ)
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_helper_that_does_not_answer_is_ended(home):
    # `read` waits for what never comes: its input is a pipe that it holds open itself.
    home.helper("slow", 'mkfifo "$HOME/fifo"; read forever <> "$HOME/fifo"')
    with pytest.raises(CredentialError) as caught:
        ask_helper("slow", "quay.io", environ=home.environ, timeout_s=0.2)
    assert "did not answer for quay.io within 0.2 s" in str(caught.value)


def test_a_failure_is_remembered_and_is_data(home):
    home.helper("fake", "exit 3")
    home.docker_config(credsStore="fake")
    source = home.source()
    for _ in range(2):
        with pytest.raises(CredentialError) as caught:
            source.find_credential(QUAY, BOOK)
        assert caught.value.hint == "Try it: echo quay.io | docker-credential-fake get"
    assert home.calls == 1
    assert isinstance(SyncError.from_data(caught.value.to_data()), CredentialError)


@pytest.mark.parametrize("name", ["missing", "../evil", "a b", ""])
def test_a_helper_that_is_not_there(home, name):
    home.docker_config(credHelpers={"quay.io": name or "-"})
    with pytest.raises(CredentialError) as caught:
        home.source().find_credential(QUAY, BOOK)
    assert "is not on the PATH" in str(caught.value)
    assert caught.value.hint


def test_a_helper_that_cannot_be_started(home):
    home.helper("fake", "")
    (home.path / "bin" / "docker-credential-fake").write_bytes(b"\0not a program")
    with pytest.raises(CredentialError) as caught:
        ask_helper("fake", "quay.io", environ=home.environ)
    assert "cannot be started" in str(caught.value)


def test_a_configuration_that_cannot_be_read(home):
    (home.path / ".docker").mkdir()
    (home.path / ".docker" / "config.json").symlink_to("gone")
    with pytest.raises(ConfigurationError) as caught:
        home.source().find_credential(QUAY, BOOK)
    assert "does not exist" in str(caught.value)


def test_a_single_question_uses_the_environment_of_the_process(home, monkeypatch):
    home.docker_config(auths={"quay.io": {"username": "me", "password": "p"}})
    monkeypatch.setenv("DOCKER_CONFIG", str(home.path / ".docker"))
    assert find_credential(QUAY, BOOK).credential == Credential("me", "p")


def test_no_secret_in_the_repr(home):
    home.docker_config(auths={"quay.io": {"username": "me", "password": "hunter2"}})
    source = home.source()
    assert "hunter2" not in f"{source.find_credential(QUAY, BOOK)} {source!r}"


def test_helpers_that_are_still_asked_end_when_nobody_wants_their_answer(home):
    home.docker_config(credsStore="slow")
    home.helper("slow", "exec sleep 60")
    source = home.source()
    with ThreadPoolExecutor() as threads:
        began = time.monotonic()
        asked = threads.submit(source.find_credential, QUAY, BOOK)
        while not home.calls:
            time.sleep(0.01)
        source.close()
        with pytest.raises(CredentialError, match=r"failed for quay\.io"):
            asked.result()
        # One that is asked only now is not waited for either.
        with pytest.raises(CredentialError):
            source.find_credential(parse_repository("ghcr.io/a/b"), BOOK)
    assert time.monotonic() - began < 10
