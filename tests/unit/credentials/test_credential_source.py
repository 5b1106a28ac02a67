"""Where a credential comes from, with helpers that are small scripts."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from image_syncer.config import RegistryBook, RegistryEntry
from image_syncer.credentials import CredentialError, CredentialSource, Described, Found
from image_syncer.credentials.helper import MAX_ANSWER_BYTES, Helper
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
        self.environ = {
            "HOME": str(path),
            "PATH": f"{path}/bin:/usr/bin:/bin",
            "XDG_RUNTIME_DIR": str(path / "runtime"),
        }

    def docker_config(self, text=None, directory=".docker", **data):
        (self.path / directory).mkdir(exist_ok=True)
        self.write(f"{directory}/config.json", text, **data)

    def write(self, name, text=None, mode=0o600, **data):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data) if text is None else text)
        path.chmod(mode)
        return path

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
    assert (found.credential, found.source) == (Credential("me", "p"), f"{home.path}/.docker/config.json, quay.io")


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
        Helper("fake", "quay.io", home.environ).get()
    assert message in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_helper_that_does_not_answer_is_ended(home):
    # `read` waits for what never comes: its input is a pipe that it holds open itself.
    home.helper("slow", 'mkfifo "$HOME/fifo"; read forever <> "$HOME/fifo"')
    with pytest.raises(CredentialError) as caught:
        Helper("slow", "quay.io", home.environ, timeout_s=0.2).get()
    assert "did not answer for quay.io within 0.2 s" in str(caught.value)


@pytest.mark.parametrize(
    ("script", "username"),
    [('sleep 60 & echo \'{"Username": "me", "Secret": "p"}\'', "me"), ("sleep 60 & exit 0", None)],
)
def test_what_a_helper_leaves_behind_with_its_pipe_is_not_waited_for(home, script, username):
    home.helper("fake", script)
    began = time.monotonic()
    try:
        found = Helper("fake", "quay.io", home.environ).get().username
    except CredentialError:
        found = None
    assert found == username
    assert time.monotonic() - began < 20


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
        Helper("fake", "quay.io", home.environ).get()
    assert "cannot be started" in str(caught.value)


def test_a_configuration_that_cannot_be_read(home):
    (home.path / ".docker").mkdir()
    (home.path / ".docker" / "config.json").symlink_to("gone")
    with pytest.raises(ConfigurationError) as caught:
        home.source().find_credential(QUAY, BOOK)
    assert "does not exist" in str(caught.value)


def test_no_secret_in_the_repr(home):
    home.docker_config(auths={"quay.io": {"username": "me", "password": "hunter2"}})
    source = home.source()
    assert "hunter2" not in f"{source.find_credential(QUAY, BOOK)} {source!r}"


@pytest.mark.parametrize("script", ["exec sleep 60", "sleep 60; exit 0"])
def test_helpers_that_are_still_asked_end_when_nobody_wants_their_answer(home, script):
    home.docker_config(credsStore="slow")
    home.helper("slow", script)
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


def entry(username):
    return {"username": username, "password": "p"}


PODMAN = ("runtime/containers/auth.json", ".config/containers/auth.json")
DOCKER = ".docker/config.json"


def user(home):
    credential = home.source().find_credential(QUAY, BOOK).credential
    return credential and credential.username


@pytest.mark.parametrize("gone", range(3))
def test_the_files_of_podman_come_before_docker_s(home, gone):
    names = [*PODMAN, DOCKER]
    for name in names[gone:]:
        home.write(name, auths={"quay.io": entry(name)})
    assert user(home) == names[gone]


def test_xdg_config_home(home):
    home.environ["XDG_CONFIG_HOME"] = str(home.path / "xdg")
    home.write("xdg/containers/auth.json", auths={"quay.io": entry("xdg")})
    home.write(PODMAN[1], auths={"quay.io": entry("config")})
    assert user(home) == "xdg"


def test_the_first_file_that_knows_a_registry_counts_also_where_another_knows_more_of_its_path(home):
    home.write(PODMAN[0], auths={"ghcr.io": entry("other"), "quay.io": {}})
    home.write(PODMAN[1], auths={"quay.io": entry("short")})
    home.write(DOCKER, auths={"quay.io/a/b": entry("long")})
    assert user(home) == "short"


def test_in_a_file_the_longest_key_counts(home):
    home.write(PODMAN[0], auths={"quay.io": entry("host"), "quay.io/a/b": entry("repository"), "quay.io/a": entry("a")})
    assert user(home) == "repository"


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"REGISTRY_AUTH_FILE": "named.json", "DOCKER_CONFIG": "docker"}, "named"),
        ({"DOCKER_CONFIG": "docker"}, "docker"),
        ({"REGISTRY_AUTH_FILE": "", "DOCKER_CONFIG": ""}, "podman"),
    ],
)
def test_a_file_that_the_environment_names_is_the_only_one(home, variables, expected):
    home.write("named.json", auths={"quay.io": entry("named")})
    home.write("docker/config.json", auths={"quay.io": entry("docker")})
    home.write(PODMAN[0], auths={"quay.io": entry("podman"), "ghcr.io": entry("podman")})
    home.environ |= {name: value and str(home.path / value) for name, value in variables.items()}
    assert user(home) == expected
    other = home.source().find_credential(parse_repository("ghcr.io/a"), BOOK).credential
    assert (other is None) is (expected != "podman")


def test_a_file_that_the_environment_names_has_to_be_there(home):
    home.environ["REGISTRY_AUTH_FILE"] = str(home.path / "gone.json")
    with pytest.raises(ConfigurationError) as caught:
        user(home)
    assert str(caught.value).startswith(
        f"{home.path}/gone.json: the file does not exist, and REGISTRY_AUTH_FILE names it"
    )


def test_of_two_files_the_broken_one_is_named_and_only_where_it_is_needed(home):
    home.write(PODMAN[0], auths={"quay.io": entry("me")})
    broken = home.write(DOCKER, text="{\n]")
    assert user(home) == "me"
    with pytest.raises(ConfigurationError) as caught:
        home.source().find_credential(parse_repository("ghcr.io/a"), BOOK)
    [problem] = caught.value.problems
    assert (problem.file, problem.line) == (str(broken), 2)


def test_an_entry_that_cannot_be_decoded_names_its_file(home):
    home.write(PODMAN[1], auths={"quay.io": {"auth": "hunter2"}})
    with pytest.raises(CredentialError, match=rf"of quay\.io in {home.path}/\.config/containers/auth\.json cannot"):
        user(home)


def test_logins_in_the_environment_itself_come_before_all_files(home):
    home.write("named.json", auths={"quay.io": entry("file"), "ghcr.io": entry("file")})
    home.environ["REGISTRY_AUTH_FILE"] = str(home.path / "named.json")
    logins = {"auths": {"https://quay.io/v2/": entry("variable")}, "credsStore": "nowhere"}
    home.environ["DOCKER_AUTH_CONFIG"] = json.dumps(logins)
    source = home.source()
    found = source.find_credential(QUAY, BOOK)
    assert (found.credential.username, found.source) == ("variable", "the variable DOCKER_AUTH_CONFIG, quay.io")
    assert source.describe(QUAY, BOOK) == Described("the variable DOCKER_AUTH_CONFIG, quay.io", None)
    assert source.find_credential(parse_repository("ghcr.io/a"), BOOK).credential.username == "file"


@pytest.mark.parametrize("value", ["/builds/secret-path", "{hunter2", "[]", "\udcff"])
def test_a_variable_that_makes_no_sense_is_left_out_and_told(home, value):
    home.docker_config(auths={"quay.io": entry("me")})
    home.environ["DOCKER_AUTH_CONFIG"] = value
    source = home.source()
    assert source.find_credential(QUAY, BOOK).credential.username == "me"
    [warning] = source.take_warnings()
    assert warning == "the variable DOCKER_AUTH_CONFIG is left out: it holds no JSON object with logins"


class Cloud:
    """A source after docker's, which knows one registry."""

    def __init__(self, registry):
        self.registry, self.asked, self.closed = registry, [], False

    def find(self, repository, _book, *, after):
        self.asked.append(after)
        return Found(Credential("cloud", "p"), "the cloud") if repository.registry == self.registry else None

    def describe(self, repository, _book):
        return Described("the cloud") if repository.registry == self.registry else None

    def close(self):
        self.closed = True


def test_clouds_come_after_docker_and_before_nobody(home):
    home.docker_config(auths={"quay.io": entry("docker")})
    cloud = Cloud("ghcr.io")
    source = CredentialSource(home.environ, clouds=cloud)
    assert source.find_credential(QUAY, BOOK).credential.username == "docker"
    assert cloud.asked == []
    ghcr, other = (parse_repository(f"{host}/a") for host in ("ghcr.io", "registry.example"))
    assert source.find_credential(ghcr, BOOK, after=7.0).source == "the cloud"
    assert cloud.asked == [7.0]
    assert source.find_credential(other, BOOK).source == "anonymous"
    assert [source.describe(place, BOOK).source for place in (ghcr, other)] == ["the cloud", "anonymous"]
    source.close()
    assert cloud.closed


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def test_what_was_learnt_too_early_is_asked_for_anew_and_once(home):
    home.docker_config(credsStore="fake", auths={"ghcr.io": entry("before")})
    home.helper("fake", ANSWER)
    clock = Clock()
    source = CredentialSource(home.environ, clock=clock)
    found = source.find_credential(QUAY, BOOK)
    assert (found.learnt_at_s, found.good_until_s) == (1000.0, 4600.0)
    clock.now = 2000.0
    others = [parse_repository(f"quay.io/a/{number}") for number in range(3)]
    again = [source.find_credential(each, BOOK, after=found.learnt_at_s) for each in others]
    assert {each.learnt_at_s for each in again} == {2000.0}
    assert home.calls == 2
    ghcr = parse_repository("ghcr.io/a")
    first = source.find_credential(ghcr, BOOK)
    home.docker_config(auths={"ghcr.io": entry("after")})
    again = source.find_credential(ghcr, BOOK)
    assert (again.credential.username, again.good_until_s) == ("before", first.learnt_at_s + 3600)
    clock.now = 3000.0
    assert source.find_credential(ghcr, BOOK, after=first.learnt_at_s).credential.username == "after"


@pytest.mark.parametrize(
    ("mode", "data", "warned"),
    [
        (0o600, {"auths": {"quay.io": entry("me")}}, False),
        (0o640, {"auths": {"quay.io": entry("me")}}, True),
        (0o644, {"auths": {"quay.io": {"identitytoken": "t"}}}, True),
        (0o644, {"auths": {"quay.io": {}}, "credsStore": "none"}, False),
        (0o646, {"auths": {}}, True),
    ],
)
def test_a_file_for_everybody_is_warned_of_once(home, mode, data, warned):
    home.helper("none", "echo credentials not found in native keychain; exit 1")
    path = home.write(DOCKER, mode=mode, **data)
    source = home.source()
    for _ in range(2):
        source.find_credential(QUAY, BOOK)
    warnings = source.take_warnings()
    assert len(warnings) == warned
    assert all(str(path) in text and "→ chmod" in text for text in warnings)
    source.find_credential(parse_repository("ghcr.io/a"), BOOK, after=float("inf"))
    assert source.take_warnings() == []
