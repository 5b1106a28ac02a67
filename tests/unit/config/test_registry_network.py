"""The keys of the network: what they may be, and what is said where they are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from image_syncer.config.loader import load_registries
from image_syncer.config.registry_book import merge_networks
from image_syncer.errors import ConfigurationError
from image_syncer.registry import DIRECT, NO_PROXY, Network

if TYPE_CHECKING:
    from pathlib import Path

ENVIRON = {"SECRET": "pa$$:w/rd"}


@pytest.fixture(params=["go", "own"])
def read(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Reads an entry in either format."""
    for name in ("c.pem", "k.pem"):
        (tmp_path / name).write_text("")

    def read_entry(entry: dict[str, Any]) -> Network:
        registries = {"a.io": entry}
        document = registries if request.param == "go" else {"version": 2, "registries": registries, "rules": []}
        path = tmp_path / "auth.yaml"
        path.write_text(yaml.safe_dump(document))
        return load_registries(str(path), environ=ENVIRON).registries.host_settings("a.io").network

    return read_entry


def test_all_keys(read: Any, tmp_path: Path) -> None:
    network = read(
        {
            "proxy": "http://me:${SECRET}@proxy:3128",
            "client_cert": "c.pem",
            "client_key": "k.pem",
            "client_key_password": "${SECRET}",
            "resolve": ["Cdn.io:443:192.0.2.1,::1", "127.0.0.1", "::1, 127.0.0.2"],
            "interface": "eth0.5",
            "ip_version": 6,
            "http_version": 2,
            "headers": {"X-Tenant": "a-${SECRET}", "User-Agent": "mine"},
        }
    )
    assert network == Network(
        proxy="http://me:pa%24%24%3Aw%2Frd@proxy:3128",
        client_cert=str(tmp_path / "c.pem"),
        client_key=str(tmp_path / "k.pem"),
        client_key_password="pa$$:w/rd",
        resolve=("cdn.io:443:192.0.2.1,[::1]", "127.0.0.1", "[::1],127.0.0.2"),
        interface="eth0.5",
        ip_version=6,
        http_version="2",
        headers=(("User-Agent", "mine"), ("X-Tenant", "a-pa$$:w/rd")),
    )


def test_without_them_nothing_is_special(read: Any) -> None:
    assert read({"insecure": True}) is DIRECT
    assert read({"resolve": "10.0.0.1"}).resolve == ("10.0.0.1",)
    assert read({"proxy": "None"}).proxy == NO_PROXY
    assert read({"http_version": 1.1}).http_version == "1.1"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"proxy": "ftp://me:hunter2@p"}, "a proxy begins with one of http://"),
        ({"proxy": "http://me:${NOBODY}@p"}, "an environment variable that is not set"),
        ({"client_key": "k.pem"}, "client_key without client_cert"),
        ({"client_cert": "nowhere.pem"}, "cannot be read"),
        ({"resolve": "a.io:192.0.2.1"}, "neither an address nor host:port:address"),
        ({"resolve": "a.io:0:192.0.2.1"}, "neither an address nor host:port:address"),
        ({"resolve": "somewhere.else"}, "neither an address nor host:port:address"),
        ({"interface": "eth0 or so"}, "neither an interface nor an address"),
        ({"ip_version": 5}, "5 is none of 4, 6"),
        ({"http_version": "1.0"}, "1.0 is none of 1.1, 2, 3"),
        ({"http_version": 3, "proxy": "http://p"}, "HTTP/3 goes through no proxy"),
        ({"headers": "X: y"}, "a single value, where keys with values are wanted"),
        ({"headers": {"authorization": "Basic hunter2"}}, "write username and password"),
        ({"headers": {"Proxy-Authorization": "hunter2"}}, "write user:password@ before the host"),
        ({"headers": {"Range": "hunter2"}}, "cannot be set"),
        ({"headers": {"X:": "hunter2"}}, "is no name of a header"),
        ({"headers": {"X": "hunter2\r\nAuthorization: y"}}, "control characters"),
        ({"headers": {"X": "hunter2", "x": "hunter2"}}, "there twice"),
        ({"headers": {"X": ""}}, "the value is empty"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_key_and_no_secret(read: Any, entry: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(entry)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert "a.io" in str(caught.value.problems[0].key)


def test_of_several_entries_of_a_host_the_first_counts_for_each_key() -> None:
    merged = merge_networks(
        [
            DIRECT,
            Network(client_cert="/one", ip_version=4),
            Network(client_cert="/two", client_key="/two.key", proxy="http://p:1", ip_version=6),
        ]
    )
    assert merged == Network(client_cert="/one", proxy="http://p:1", ip_version=4)
    assert merge_networks([DIRECT, DIRECT]) is DIRECT
