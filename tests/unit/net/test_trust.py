"""Whom to believe, on the systems that there are: their paths are made up here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from image_syncer.net.network_options import BUNDLES, DIRECTORIES, find_trust

if TYPE_CHECKING:
    from pathlib import Path

DEBIAN = ("/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/002c0b4f.0")
RHEL = (
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/certs/ca-bundle.crt",
)
NEW_RHEL = (*RHEL[1:], "/etc/pki/ca-trust/extracted/pem/directory-hash/002c0b4f.0")
ALPINE = ("/etc/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/certs/ca-cert-A.pem")
SUSE = ("/etc/ssl/ca-bundle.pem", "/etc/ssl/certs/002c0b4f.0")


def found(root: Path, files: tuple[str, ...], environ: dict[str, str]) -> tuple[str | None, str | None, bool]:
    """What is found on a system with `files`, as seen from its root: bundle, directory, whether they are the same."""
    for name in files:
        path = root / name[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    trust = find_trust(
        {name: ":".join(f"{root}{part}" for part in value.split(":")) for name, value in environ.items()},
        [f"{root}{name}" for name in BUNDLES],
        [f"{root}{name}" for name in DIRECTORIES],
    )
    bundle, directory = (text and text.replace(str(root), "") for text in (trust.bundle, trust.directory))
    return bundle, directory, trust.same


@pytest.mark.parametrize(
    ("files", "bundle", "directory"),
    [
        (DEBIAN, DEBIAN[0], "/etc/ssl/certs"),
        (RHEL, RHEL[0], None),  # its directory is not hashed, so OpenSSL finds nothing in it
        (NEW_RHEL, NEW_RHEL[0], "/etc/pki/ca-trust/extracted/pem/directory-hash"),
        (ALPINE, ALPINE[1], None),
        (ALPINE[:1], ALPINE[0], None),
        (SUSE, SUSE[0], "/etc/ssl/certs"),
        ((), None, None),
    ],
    ids=["Debian", "RHEL", "new RHEL", "Alpine", "small Alpine", "SUSE", "nothing"],
)
def test_systems(tmp_path: Path, files: tuple[str, ...], bundle: str | None, directory: str | None) -> None:
    assert found(tmp_path, files, {}) == (bundle, directory, directory is not None)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"SSL_CERT_FILE": "/own.pem"}, ("/own.pem", None, False)),
        ({"CURL_CA_BUNDLE": "/own.pem"}, ("/own.pem", None, False)),
        ({"SSL_CERT_FILE": "/own.pem", "CURL_CA_BUNDLE": DEBIAN[0]}, ("/own.pem", None, False)),
        ({"SSL_CERT_FILE": DEBIAN[0]}, (DEBIAN[0], "/etc/ssl/certs", True)),
        ({"SSL_CERT_DIR": "/own"}, (DEBIAN[0], "/own", False)),
        ({"SSL_CERT_DIR": "/nowhere:/own:/etc/ssl/certs"}, (DEBIAN[0], "/own:/etc/ssl/certs", False)),
        ({"SSL_CERT_FILE": "/own.pem", "SSL_CERT_DIR": "/own"}, ("/own.pem", "/own", False)),
        ({"SSL_CERT_FILE": "/own.pem", "SSL_CERT_DIR": "/etc/ssl/certs"}, ("/own.pem", "/etc/ssl/certs", False)),
        ({"SSL_CERT_FILE": DEBIAN[0], "SSL_CERT_DIR": "/etc/ssl/certs"}, (DEBIAN[0], "/etc/ssl/certs", True)),
        ({"SSL_CERT_DIR": "/nowhere"}, (DEBIAN[0], "/etc/ssl/certs", True)),
    ],
)
def test_the_environment_goes_first(
    tmp_path: Path, environ: dict[str, str], expected: tuple[str, str | None, bool]
) -> None:
    assert found(tmp_path, (*DEBIAN, "/own.pem", "/own/one.pem"), environ) == expected
