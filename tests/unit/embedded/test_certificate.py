"""The certificate that is thrown away: TLS takes it, from its own server and from nobody else."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from image_syncer.bench.loopback import make_certificate
from support.programs import find_program

if TYPE_CHECKING:
    from pathlib import Path


def made_in(folder: Path) -> tuple[str, str]:
    find_program("openssl")
    made = make_certificate(folder)
    assert made is not None
    return made


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str | None:
    """The version of TLS that both agree on, without a socket."""
    ways = [ssl.MemoryBIO() for _ in range(4)]
    ends = (
        client.wrap_bio(ways[0], ways[1], server_hostname=name),
        server.wrap_bio(ways[2], ways[3], server_side=True),
    )
    for _ in range(10):
        done = 0
        for end in ends:
            try:
                end.do_handshake()
                done += 1
            except ssl.SSLWantReadError:
                pass
        ways[2].write(ways[1].read())
        ways[0].write(ways[3].read())
        if done == len(ends):
            break
    return ends[0].version()


def test_it_is_for_its_address_and_only_for_who_trusts_it(tmp_path: Path) -> None:
    certificate, key = made_in(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=certificate)
    assert shake_hands(server, trusting, "127.0.0.1") == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
        shake_hands(server, trusting, "127.0.0.2")
    with pytest.raises(ssl.SSLCertVerificationError, match="self-signed"):
        shake_hands(server, ssl.create_default_context(), "127.0.0.1")


def test_the_key_is_for_nobody_else_to_read(tmp_path: Path) -> None:
    _, key = made_in(tmp_path)
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    assert key == str(tmp_path / "key.pem")


def test_no_two_are_alike(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
        made_in(folder)
    for name in ("certificate.pem", "key.pem"):
        assert (folders[0] / name).read_text() != (folders[1] / name).read_text()


def test_without_the_command_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert make_certificate(tmp_path) is None
    assert not list(tmp_path.iterdir())
