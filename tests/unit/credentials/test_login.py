"""What a login writes, and what it leaves alone."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from image_syncer.config import RegistryBook
from image_syncer.credentials import CredentialError, CredentialSource, login
from image_syncer.credentials.login import erase_login, parse_login_place, store_login
from image_syncer.errors import ConfigurationError
from image_syncer.oci import parse_repository
from image_syncer.registry import Credential

ME = Credential("me", "hunter2:ü")
KEEPER = """
case "$1" in
store) cat > "$HOME/kept"; exit $FAIL ;;
get) [ -f "$HOME/kept" ] || { echo credentials not found in native keychain; exit 1; }; cat "$HOME/kept" ;;
erase) cat > "$HOME/erased"; rm "$HOME/kept" ;;
esac
"""


class Home:
    def __init__(self, path):
        self.path = path
        self.environ = {"HOME": str(path), "PATH": f"{path}/bin:/usr/bin:/bin", "XDG_RUNTIME_DIR": f"{path}/run"}
        self.file = path / ".docker" / "config.json"

    def write(self, text, mode=0o600):
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(text if isinstance(text, str) else json.dumps(text))
        self.file.chmod(mode)

    def read(self):
        return json.loads(self.file.read_text())

    def helper(self, script=KEEPER, name="keeper", fail=0):
        path = self.path / "bin" / f"docker-credential-{name}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script.replace('$FAIL', str(fail))}")
        path.chmod(0o755)

    def log_in(self, host="quay.io", credential=ME, authfile=None):
        return store_login(parse_login_place(host), credential, environ=self.environ, authfile=authfile)

    def log_out(self, host="quay.io", authfile=None):
        return erase_login(parse_login_place(host), environ=self.environ, authfile=authfile)

    def found(self, name="quay.io/team/app"):
        return CredentialSource(self.environ).find_credential(parse_repository(name), RegistryBook())


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


@pytest.mark.parametrize(
    ("text", "prefix", "key"),
    [
        ("docker.io", "docker.io", "https://index.docker.io/v1/"),
        ("https://index.docker.io/v1/", "docker.io", "https://index.docker.io/v1/"),
        ("docker.io/team", "docker.io/team", "docker.io/team"),
        ("QUAY.io", "quay.io", "quay.io"),
        ("https://quay.io/v2/", "quay.io", "quay.io"),
        ("quay.io/team/app", "quay.io/team/app", "quay.io/team/app"),
        ("localhost:5000", "localhost:5000", "localhost:5000"),
        ("localhost", "localhost", "localhost"),
    ],
)
def test_places(text, prefix, key):
    place = parse_login_place(text)
    assert (place.prefix, place.key) == (prefix, key)


@pytest.mark.parametrize("text", ["", "team", "me:hunter2@quay.io", "quay.io/UPPER", "quay.io/a:1", "quay io", "-x"])
def test_what_is_no_place(text):
    with pytest.raises(ConfigurationError) as caught:
        parse_login_place(text)
    assert "hunter2" not in str(caught.value)


def test_a_login_is_found_again_and_nobody_else_may_read_it(home):
    kept = home.log_in()
    assert (kept.file, kept.helper, kept.shadowed_by) == (str(home.file), None, None)
    assert home.found().credential == ME
    assert home.file.stat().st_mode & 0o777 == 0o600
    assert home.file.parent.stat().st_mode & 0o777 == 0o700
    assert home.read() == {"auths": {"quay.io": {"auth": "bWU6aHVudGVyMjrDvA=="}}}
    assert list(home.file.parent.iterdir()) == [home.file]


def test_what_else_is_in_the_file_stays_in_its_order(home):
    before = {
        "HttpHeaders": {"X-Meta": "é \ud800"},
        "auths": {"ghcr.io": {"auth": "eDp5"}, "quay.io": {"email": "a@b", "auth": "old", "identitytoken": "old"}},
        "detachKeys": "ctrl-e,e",
        "plugins": {"x": {"big": 12345678901234567890, "half": 0.5, "no": None}},
    }
    home.write(before, mode=0o644)
    home.log_in()
    after = home.read()
    assert after.pop("auths") == {
        "ghcr.io": {"auth": "eDp5"},
        "quay.io": {"auth": "bWU6aHVudGVyMjrDvA==", "email": "a@b"},
    }
    assert list(home.read()) == list(before)
    assert after == {name: value for name, value in before.items() if name != "auths"}
    assert home.file.stat().st_mode & 0o777 == 0o600


def test_other_spellings_of_the_registry_make_room(home):
    home.write(
        {"auths": {"docker.io": {"auth": "eDp5"}, "registry-1.docker.io": {}, "docker.io/team": {"auth": "eDp5"}}}
    )
    home.log_in("docker.io")
    assert set(home.read()["auths"]) == {"https://index.docker.io/v1/", "docker.io/team"}
    assert home.found("nginx").credential == ME
    assert home.log_out("index.docker.io").was_there
    assert set(home.read()["auths"]) == {"docker.io/team"}


def test_a_link_stays_a_link(home):
    home.file.parent.mkdir()
    real = home.path / "elsewhere" / "logins.json"
    home.file.symlink_to(real)
    home.log_in()
    assert home.file.is_symlink()
    assert json.loads(real.read_text())["auths"].keys() == {"quay.io"}
    home.log_in("ghcr.io")
    assert home.file.is_symlink()
    assert json.loads(real.read_text())["auths"].keys() == {"quay.io", "ghcr.io"}


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": []}', "\0"])
def test_a_broken_file_is_left_as_it_is(home, text):
    home.write(text)
    for act in (home.log_in, home.log_out):
        with pytest.raises(ConfigurationError) as caught:
            act()
        assert str(home.file) in str(caught.value)
    assert home.file.read_text() == text


@pytest.mark.parametrize("text", ["", "{}", '{"auths": null}'])
def test_an_empty_file_is_filled(home, text):
    home.write(text)
    home.log_in()
    assert home.found().credential == ME


def test_logins_at_once_lose_none(home):
    hosts = [f"registry{number}.example" for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(home.log_in, hosts))
    assert set(home.read()["auths"]) == set(hosts)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(home.log_out, hosts[1:]))
    assert set(home.read()["auths"]) == {hosts[0]}


def test_what_a_program_without_our_lock_writes_meanwhile_is_not_lost(home, monkeypatch):
    home.write({"auths": {}})
    written = []

    def fsync(_descriptor):
        if not written:
            written.append(True)
            home.write({"auths": {"ghcr.io": {"auth": "eDp5"}}})

    monkeypatch.setattr(login.os, "fsync", fsync)
    home.log_in()
    assert set(home.read()["auths"]) == {"ghcr.io", "quay.io"}


def test_another_login_is_waited_for_and_not_for_ever(home, monkeypatch):
    monkeypatch.setattr(login, "LOCK_TIMEOUT_S", 0.1)
    home.file.parent.mkdir()
    folder = os.open(home.file.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    with pytest.raises(ConfigurationError, match="another login has held the folder"):
        home.log_in()
    monkeypatch.setattr(login, "LOCK_TIMEOUT_S", 60)
    threading.Timer(0.1, os.close, (folder,)).start()
    home.log_in()
    assert home.found().credential == ME


def test_a_folder_that_cannot_be_one(home):
    (home.path / ".docker").write_text("a file")
    with pytest.raises(ConfigurationError, match="logins cannot be kept here"):
        home.log_in()


def test_a_path_that_is_too_long_is_told_and_not_at_length(home):
    for change in (home.log_in, home.log_out):
        with pytest.raises(ConfigurationError, match="File name too long") as caught:
            change(authfile=str(home.path / ("a" * 5000)))
        assert len(str(caught.value)) < 1000


def test_what_is_no_file_is_not_replaced_by_one(home):
    os.mkfifo(home.path / "pipe")  # as /dev/null would be
    for change in (home.log_in, home.log_out):
        with pytest.raises(ConfigurationError, match="device or a pipe"):
            change(authfile=str(home.path / "pipe"))
        assert (home.path / "pipe").is_fifo()


@pytest.mark.parametrize("credential", [Credential("a:b", "p"), Credential("me", "p\n"), Credential("m\0e", "p")])
def test_what_the_format_cannot_say(home, credential):
    with pytest.raises(ConfigurationError, match="cannot be kept"):
        home.log_in(credential=credential)
    assert not home.file.exists()


def test_the_file_of_the_environment_and_the_one_that_is_named(home):
    home.environ["REGISTRY_AUTH_FILE"] = str(home.path / "named.json")
    assert home.log_in().file == str(home.path / "named.json")
    assert home.found().credential == ME
    assert home.log_in("ghcr.io", authfile=str(home.path / "other.json")).file == str(home.path / "other.json")
    assert home.found("ghcr.io/a").credential is None
    assert not home.log_out("ghcr.io").was_there
    assert home.log_out("ghcr.io", authfile=str(home.path / "other.json")).was_there


def test_another_file_that_is_looked_at_first_is_told(home):
    podman = home.path / "run" / "containers" / "auth.json"
    podman.parent.mkdir(parents=True)
    podman.write_text('{"auths": {"quay.io": {"auth": "eDp5"}}}')
    assert home.log_in().shadowed_by == str(podman)
    erased = home.log_out()
    assert (erased.was_there, erased.left_in) == (True, str(podman))
    assert home.log_out().was_there is False


def test_logging_out_makes_no_file(home):
    assert not home.log_out().was_there
    assert not home.file.parent.exists()


@pytest.mark.parametrize(
    "names", [{"credsStore": "keeper"}, {"credHelpers": {"quay.io": "keeper"}, "credsStore": "no"}]
)
def test_the_helper_that_the_file_names_keeps_the_password(home, names):
    home.helper()
    home.write({**names, "auths": {"quay.io": {"auth": "old"}}})
    kept = home.log_in()
    assert kept.helper == "keeper"
    told = json.loads((home.path / "kept").read_text())
    assert told == {"ServerURL": "quay.io", "Username": "me", "Secret": "hunter2:ü"}
    assert home.read() == {**names, "auths": {"quay.io": {}}}
    assert home.found().credential == ME
    erased = home.log_out()
    assert (erased.helper, erased.was_there) == ("keeper", True)
    assert (home.path / "erased").read_text() == "quay.io"
    assert home.read() == {**names, "auths": {}}
    assert home.log_out().was_there is False


def test_docker_hub_has_its_old_name_and_an_identity_token_its_user(home):
    home.helper()
    home.write({"credsStore": "keeper"})
    home.log_in("docker.io", Credential("", "", "token"))
    told = json.loads((home.path / "kept").read_text())
    assert told == {"ServerURL": "https://index.docker.io/v1/", "Username": "<token>", "Secret": "token"}


@pytest.mark.parametrize(("name", "message"), [("keeper", "did not keep the login"), ("gone", "not on the PATH")])
def test_a_helper_that_fails_leaves_everything_as_it_was(home, name, message):
    home.helper(fail=3)
    home.write(before := json.dumps({"credsStore": name, "auths": {"quay.io": {}}}))
    with pytest.raises(CredentialError, match=message) as caught:
        home.log_in()
    assert "hunter2" not in str(caught.value)
    assert home.file.read_text() == before


def test_helpers_know_no_namespaces(home):
    home.helper()
    home.write({"credsStore": "keeper"})
    with pytest.raises(ConfigurationError, match="helpers know no namespaces"):
        home.log_in("quay.io/team")
    assert not (home.path / "kept").exists()
