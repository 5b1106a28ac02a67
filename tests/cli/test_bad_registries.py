"""Registries that say no, or nothing, or something else: the image fails, with a message of at most three lines that
says on which side, in which repository, why, and what to do.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from image_syncer.embedded import Behaviour, ContentBuilder, Fault, FaultKind, TokenService, push_to, serve_in_thread
from support.bad_input import NAMES, SECRET, USER, Bench
from support.certificates import make_certificates

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from support.bad_input import Ended

OURS, OTHERS = {USER: SECRET}, {USER: "another"}
READ_ONLY = {USER: ("pull",)}
TOKENS = TokenService()
PAGE = "<html><head><title>Welcome to the intranet</title></head></html>"
ANONYMOUS = {"auth.yaml": '"SOURCE": {insecure: true}\n"DESTINATION": {insecure: true}\n'}
LOG_IN = "correct it in the auth file, or log in again with `image-syncer login`"
SOURCE, DESTINATION = "  source SOURCE/team/app:1: ", "  destination DESTINATION/mirror/app:1"


@dataclass(frozen=True)
class Trouble:
    """How the two registries behave, files that replace good ones, and what the message must hold."""

    name: str
    says: tuple[str, ...]
    source: Behaviour = field(default_factory=Behaviour)
    destination: Behaviour = field(default_factory=Behaviour)
    files: Mapping[str, str | bytes] = field(default_factory=dict)


def page(status: int) -> Behaviour:
    return Behaviour(faults=(Fault("*", times=None, status=status, body=PAGE, content_type="text/html"),))


def images(text: str) -> Mapping[str, str]:
    return {"images.yaml": text}


def docker(text: str) -> Mapping[str, str]:
    return {**ANONYMOUS, "docker/config.json": text}


TROUBLES = [
    Trouble(
        "unknown source",
        (
            "  source name.invalid/team/app:1: ",
            "Could not resolve host: name.invalid",
            "Check the spelling of the host",
        ),
        files=images("name.invalid/team/app:1: DESTINATION/a\n"),
    ),
    Trouble(
        "unknown destination",
        ("  destination name.invalid/a:1: ", "Could not resolve host: name.invalid", "Check the spelling of the host"),
        files=images("SOURCE/team/app:1: name.invalid/a\n"),
    ),
    Trouble(
        "no such repository",
        ("  source SOURCE/team/gone:1: ", "404 NAME_UNKNOWN", "Check the name and the tag."),
        files=images("SOURCE/team/gone:1: DESTINATION/a\n"),
    ),
    Trouble(
        "no such tag",
        ("  source SOURCE/team/app:gone: ", "404 MANIFEST_UNKNOWN", "Check the name and the tag."),
        files=images("SOURCE/team/app:gone: DESTINATION/a\n"),
    ),
    Trouble(
        "no repository to list",
        ("  source SOURCE/team/gone: ", "tags/list answered 404 NAME_UNKNOWN", "Check the name."),
        files=images("SOURCE/team/gone: DESTINATION/a\n"),
    ),
    Trouble(
        "wrong password at the source",
        (
            SOURCE,
            f"does not accept the user '{USER}'",
            "Correct the password",
            "the credentials came from auth file, SOURCE",
        ),
        source=Behaviour(users=OTHERS),
    ),
    Trouble(
        "wrong password at the destination",
        (DESTINATION, f"does not accept the user '{USER}'", "Correct the password", "from auth file, DESTINATION"),
        destination=Behaviour(users=OTHERS),
    ),
    Trouble(
        "wrong password for a token at the source",
        (SOURCE, "/token answered 401", f"password for SOURCE is wrong or has expired: {LOG_IN}"),
        source=Behaviour(users=OTHERS, bearer=TOKENS),
    ),
    Trouble(
        "wrong password for a token at the destination",
        (DESTINATION, "/token answered 401", f"password for DESTINATION is wrong or has expired: {LOG_IN}"),
        destination=Behaviour(users=OTHERS, bearer=TOKENS),
    ),
    Trouble(
        "no password",
        (
            SOURCE,
            "wants credentials, and there are none for it",
            "Add a user name and a password for it to the auth file",
        ),
        source=Behaviour(users=OURS),
        files=ANONYMOUS,
    ),
    Trouble(
        "no password for a token",
        (SOURCE, "/token answered 401", "Without a user name and password SOURCE does not allow this: add them to"),
        source=Behaviour(users=OURS, bearer=TOKENS),
        files=ANONYMOUS,
    ),
    Trouble(
        "may not read",
        (SOURCE, "answered 403 DENIED", "do not allow to pull from SOURCE/team/app"),
        source=Behaviour(users=OURS, permissions={USER: ()}),
    ),
    Trouble(
        "may not write",
        (DESTINATION, "answered 403 DENIED", "do not allow to push to DESTINATION/mirror/app"),
        destination=Behaviour(users=OURS, permissions=READ_ONLY),
    ),
    Trouble(
        "token may not write",
        (
            DESTINATION,
            "insufficient scope",
            "Ask for the right on this repository. The credentials came from auth file",
        ),
        destination=Behaviour(users=OURS, bearer=TOKENS, permissions=READ_ONLY),
    ),
    Trouble(
        "full destination",
        (DESTINATION, "answered 507", "no space left on device", "free space there or raise the quota, then run again"),
        destination=Behaviour(capacity_bytes=1000),
    ),
    Trouble(
        "full destination that answers 500",
        (DESTINATION, "answered 500", "no space left on device", "free space there or raise the quota, then run again"),
        destination=Behaviour(capacity_bytes=1000, full_status=500),
    ),
    Trouble(
        "body too large",
        (DESTINATION, "answered 413", "client_max_body_size"),
        destination=Behaviour(max_content_length=1000),
    ),
    Trouble(
        "repository not created",
        (DESTINATION, "answered 404 NAME_UNKNOWN", "A push does not create the repository there: create it"),
        destination=Behaviour(implicit_repositories=False),
    ),
    Trouble(
        "web server",
        (SOURCE, "answered 404 Welcome to the intranet", "This is not the answer of a registry: check the name"),
        source=page(404),
    ),
    Trouble(
        "web server that likes everything",
        (
            SOURCE,
            "the manifest cannot be used: the manifest is not JSON",
            "This is not the answer of a registry: check",
        ),
        source=page(200),
    ),
    Trouble(
        "out of order",
        (SOURCE, "answered 503", "has trouble of its own: run again later"),
        source=page(503),
    ),
    Trouble(
        "too many requests",
        (SOURCE, "answered 429", "Requests to SOURCE are limited: give a user name and password"),
        source=Behaviour(faults=(Fault("*", times=None, status=429),)),
    ),
    Trouble(
        "wrong bytes",
        ("  source SOURCE/team/app:1 sha256:", "bytes do not have the digest", "The blob is damaged at the source"),
        source=Behaviour(faults=(Fault("get blob", FaultKind.WRONG_BYTES, times=None),)),
    ),
    Trouble(
        "cut connection",
        ("  source SOURCE/team/app:1", "The connection was cut: by the registry, or by a proxy or firewall"),
        source=Behaviour(faults=(Fault("get blob", FaultKind.RESET, times=None, after_bytes=100),)),
    ),
    Trouble(
        "TLS where plain HTTP is spoken",
        (SOURCE, "TLS connect error: wrong version number", "set insecure: true for it in the auth file"),
        files={"auth.yaml": '"SOURCE": {username: robot, password: SECRET}\n"DESTINATION": {insecure: true}\n'},
    ),
    Trouble(
        "docker's file broken",
        (SOURCE, "config.json:2: not JSON", "mend it, or log in again", "or DOCKER_CONFIG its folder"),
        source=Behaviour(users=OURS),
        files=docker('{"auths": {"SOURCE": {"auth": "SECRET"}},\n}'),
    ),
    Trouble(
        "docker's entry broken",
        (SOURCE, "/docker/config.json cannot be decoded", "Log in again: image-syncer login SOURCE"),
        source=Behaviour(users=OURS),
        files=docker('{"auths": {"SOURCE": {"auth": "SECRET"}}}'),
    ),
    Trouble(
        "helper missing",
        (
            SOURCE,
            "/docker/config.json names the credential helper 'docker-credential-nowhere', which is not on the PATH",
            "Install it, or write user name and password",
        ),
        source=Behaviour(users=OURS),
        files=docker('{"credsStore": "nowhere"}'),
    ),
    Trouble(
        "helper failing",
        (
            SOURCE,
            "docker-credential-sad failed for SOURCE (exit code 3)",
            "Try it: echo SOURCE | docker-credential-sad get",
        ),
        source=Behaviour(users=OURS),
        files={
            **docker('{"credsStore": "sad"}'),
            "bin/docker-credential-sad": "#!/bin/sh\necho SECRET >&2\necho SECRET\nexit 3\n",
        },
    ),
    Trouble(
        "helper babbling",
        (SOURCE, "docker-credential-sad gave no answer that can be used for SOURCE", "Try it: echo SOURCE"),
        source=Behaviour(users=OURS),
        files={**docker('{"credHelpers": {"SOURCE": "sad"}}'), "bin/docker-credential-sad": "#!/bin/sh\necho SECRET\n"},
    ),
]


def assert_failed(bench: Bench, ended: Ended, *says: str) -> None:
    """One image failed, and the message about it names its side first and what to do last."""
    assert ended.code == 1
    assert ended.out.startswith("1 image: 1 failed")
    ended.assert_told(*map(bench.fill, says))
    assert ended.lines[0].startswith("failed: ")
    assert ended.lines[1].startswith(bench.fill(says[0]))
    bench.assert_no_secret(ended)
    [image] = json.loads((bench.directory / "report.json").read_text())["images"]
    assert (image["outcome"], image["error"]["side"]) == ("failed", says[0].split()[0])
    assert bench.destination.counters.values().statuses.get("put manifest 201", 0) == 0


@pytest.mark.parametrize("trouble", TROUBLES, ids=lambda trouble: trouble.name)
def test_a_failed_image_says_what_to_do(bench: Bench, trouble: Trouble) -> None:
    bench.source.behaviour, bench.destination.behaviour = trouble.source, trouble.destination
    bench.write(trouble.files)
    assert_failed(bench, bench.sync("--no-progress"), *trouble.says)


def test_a_tag_that_may_not_change(bench: Bench) -> None:
    push_to(bench.destination.storage, "mirror/app", ContentBuilder(2).image(1), ["1"])
    bench.destination.behaviour = Behaviour(immutable_tags=True)
    assert_failed(
        bench, bench.sync("--no-progress"), DESTINATION, "answered 412", "choose another tag, or allow changes there"
    )


def test_nobody_listens(bench: Bench) -> None:
    with contextlib.closing(socket.socket()) as closed:
        closed.bind(("127.0.0.1", 0))  # held, and never listened on: nobody else can take it meanwhile
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        bench.write(images(f"{address}/team/app:1: DESTINATION/a\n"))
        ended = bench.sync("--no-progress")
    assert_failed(
        bench, ended, f"  source {address}/team/app:1: ", "Could not connect", "Check that the registry runs, its port"
    )


def test_a_proxy_that_is_not_there(bench: Bench) -> None:
    bench.environment |= {"HTTPS_PROXY": "http://me:hunter2@127.0.0.1:1", "no_proxy": ""}
    bench.write(images("registry.invalid/team/app:1: DESTINATION/a\n"))
    ended = bench.sync("--no-progress")
    assert_failed(
        bench,
        ended,
        "  source registry.invalid",
        "(proxy http://127.0.0.1:1)",
        "comes from the environment (https_",
    )
    assert "hunter2" not in ended.err


@pytest.mark.parametrize("retries", [1, 2])
def test_tries_are_told(bench: Bench, retries: int) -> None:
    faults = (Fault(f"{method} manifest", times=None, status=503) for method in ("get", "head"))
    bench.source.behaviour = Behaviour(faults=tuple(faults))
    ended = bench.sync("--no-progress", "--retries", str(retries))
    assert_failed(bench, ended, SOURCE, f"(tried {retries + 1} times in ", "run again later")


def test_what_the_users_own_rules_leave_out_is_told_with_its_reason(bench: Bench) -> None:
    ended = bench.sync("--no-progress", "--os", "linx")
    assert (ended.code, len(ended.lines)) == (0, 1)
    assert ended.out.startswith("1 image: 1 skipped")
    ended.assert_told("skipped: ", "its platform linux/amd64 does not fit os linx")
    assert bench.run(*NAMES, "--no-progress", "--quiet", "--os", "linx").err == ""


@dataclass(frozen=True)
class Tls:
    """A source that speaks TLS: for which name its certificate is, what its entry in the auth file says, and more."""

    name: str
    says: tuple[str, ...]
    certified: str = "IP:127.0.0.1"
    entry: str = ""
    wants_certificate: bool = False


TLS = [
    Tls(
        "private authority",
        (SOURCE, "unable to get local issuer certificate", "as ca_file for this registry in the auth"),
    ),
    Tls("no PEM file", (SOURCE, "images.yaml", "cannot be read as PEM certificates"), entry="ca_file: images.yaml"),
    Tls(
        "certificate for another name",
        (SOURCE, "no alternative certificate subject name matches", "The certificate is for another name: write the"),
        certified="DNS:other.example",
        entry="ca_file: tls/ca.crt",
    ),
    Tls(
        "handshake refused",
        (SOURCE, "TLS connect error: ", "TLS could not be agreed on: the registry may want a client's certificate"),
        entry="ca_file: tls/ca.crt",
        wants_certificate=True,
    ),
    Tls(
        "plain HTTP where TLS is spoken",
        (
            SOURCE,
            "http://",
            "It was asked in plain HTTP, as `insecure` allows, and closed the connection",
        ),
        entry="insecure: true",
        wants_certificate=True,
    ),
]


@pytest.mark.parametrize("tls", TLS, ids=lambda tls: tls.name)
def test_tls(tmp_path: Path, tls: Tls) -> None:
    certificates = make_certificates(tmp_path / "tls", [tls.certified])
    context = certificates.server_context()
    if tls.wants_certificate:
        context.verify_mode = ssl.CERT_REQUIRED
        context.maximum_version = ssl.TLSVersion.TLSv1_2  # later versions tell it only after the handshake
    with serve_in_thread(ssl_context=context) as source, serve_in_thread() as destination:
        bench = Bench(tmp_path, source, destination)
        entry = ", ".join(filter(None, ["username: robot", "password: SECRET", tls.entry]))
        bench.write({"auth.yaml": f'"SOURCE": {{{entry}}}\n"DESTINATION": {{insecure: true}}\n'})
        assert_failed(bench, bench.sync("--no-progress"), *tls.says)
