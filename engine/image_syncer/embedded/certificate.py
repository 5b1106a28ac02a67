"""A certificate to be thrown away, for a registry of our own on loopback: X.509 (RFC 5280), P-256, signed by itself.

Made of whole numbers, so that a bench of TLS needs neither the `openssl` command nor another package. It is slow, and
not safe against somebody who can time it, which matters for no key that lives for a minute on one machine.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["make_certificate"]

_P = 2**256 - 2**224 + 2**192 + 2**96 - 1
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
"""NIST P-256 (SEC 2, section 2.4.2): the field, the order of the group, and its generator."""
_BYTES = 32
_GOOD_FOR = timedelta(days=2)
_SLACK = timedelta(days=1)
"""Clocks of one machine do not differ, but they are set."""
_INTEGER, _BITS, _OCTETS, _OID, _UTF8, _SEQUENCE, _SET, _TIME = 0x02, 0x03, 0x04, 0x06, 0x0C, 0x30, 0x31, 0x17
_LONG_LENGTH = 0x80
_ECDSA_SHA256 = bytes.fromhex("2a8648ce3d040302")
_EC_KEY = bytes.fromhex("2a8648ce3d0201")
_CURVE = bytes.fromhex("2a8648ce3d030107")
_COMMON_NAME = bytes.fromhex("550403")
_ALTERNATIVE_NAMES = bytes.fromhex("551d11")
_CONSTRAINTS = bytes.fromhex("551d13")
_TRUE = bytes.fromhex("0101ff")
_IP_ADDRESS = 0x87

_Point = tuple[int, int]


def make_certificate(folder: Path, address: bytes = bytes((127, 0, 0, 1))) -> tuple[str, str]:
    """Write a certificate for an IP `address` and its key (mode 600) into `folder`, and give both paths. Raises OSError
    where they cannot be written.
    """
    key = secrets.randbelow(_N - 1) + 1
    public = _times(key, _G)
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_text(_pem("CERTIFICATE", _certificate(key, public, address)), encoding="ascii")
    files[1].touch(mode=0o600)
    files[1].write_text(_pem("EC PRIVATE KEY", _private_key(key, public)), encoding="ascii")
    return str(files[0]), str(files[1])


def _certificate(key: int, public: _Point, address: bytes) -> bytes:
    algorithm = _tagged(_SEQUENCE, _tagged(_OID, _ECDSA_SHA256))
    text = _tagged(_UTF8, b"image-syncer bench")
    name = _tagged(_SEQUENCE, _tagged(_SET, _tagged(_SEQUENCE, _tagged(_OID, _COMMON_NAME) + text)))
    now = datetime.now(timezone.utc)
    times = b"".join(_tagged(_TIME, f"{at:%y%m%d%H%M%SZ}".encode()) for at in (now - _SLACK, now + _GOOD_FOR))
    kind = _tagged(_SEQUENCE, _tagged(_OID, _EC_KEY) + _tagged(_OID, _CURVE))
    extensions = _extension(_CONSTRAINTS, _TRUE + _tagged(_OCTETS, _tagged(_SEQUENCE, _TRUE)))
    names = _tagged(_SEQUENCE, _tagged(_IP_ADDRESS, address))
    extensions += _extension(_ALTERNATIVE_NAMES, _tagged(_OCTETS, names))
    content = _tagged(
        _SEQUENCE,
        _tagged(0xA0, _integer(2))  # version 3
        + _integer(secrets.randbits(63) + 1)
        + algorithm
        + name
        + _tagged(_SEQUENCE, times)
        + name
        + _tagged(_SEQUENCE, kind + _bits(_point_bytes(public)))
        + _tagged(0xA3, _tagged(_SEQUENCE, extensions)),
    )
    return _tagged(_SEQUENCE, content + algorithm + _bits(_sign(key, content)))


def _private_key(key: int, public: _Point) -> bytes:
    """RFC 5915."""
    number = _tagged(_OCTETS, key.to_bytes(_BYTES, "big"))
    curve, point = _tagged(0xA0, _tagged(_OID, _CURVE)), _tagged(0xA1, _bits(_point_bytes(public)))
    return _tagged(_SEQUENCE, _integer(1) + number + curve + point)


def _sign(key: int, content: bytes) -> bytes:
    """ECDSA with SHA-256 (FIPS 186-5, section 6.4.1)."""
    hashed = int.from_bytes(hashlib.sha256(content).digest(), "big")
    while True:
        nonce = secrets.randbelow(_N - 1) + 1
        first = _times(nonce, _G)[0] % _N
        second = pow(nonce, -1, _N) * (hashed + first * key) % _N
        if first and second:
            return _tagged(_SEQUENCE, _integer(first) + _integer(second))


def _times(factor: int, point: _Point) -> _Point:
    """`factor`, which is not 0 modulo the order, times a point: double and add."""
    total: _Point | None = None
    while factor:
        if factor & 1:
            total = point if total is None else _plus(total, point)
        point = _plus(point, point)
        factor >>= 1
    assert total is not None
    return total


def _plus(one: _Point, other: _Point) -> _Point:
    """Both are multiples of the generator below its order, and not each other's negatives."""
    if one == other:
        slope = 3 * (one[0] * one[0] - 1) * pow(2 * one[1], -1, _P) % _P
    else:
        slope = (other[1] - one[1]) * pow(other[0] - one[0], -1, _P) % _P
    x = (slope * slope - one[0] - other[0]) % _P
    return x, (slope * (one[0] - x) - one[1]) % _P


def _point_bytes(point: _Point) -> bytes:
    return b"\x04" + point[0].to_bytes(_BYTES, "big") + point[1].to_bytes(_BYTES, "big")


def _tagged(tag: int, content: bytes) -> bytes:
    """DER: tag, length, content (X.690)."""
    size = len(content)
    if size < _LONG_LENGTH:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG_LENGTH | len(length))) + length + content


def _integer(value: int) -> bytes:
    return _tagged(_INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _bits(content: bytes) -> bytes:
    return _tagged(_BITS, b"\x00" + content)


def _extension(identifier: bytes, rest: bytes) -> bytes:
    return _tagged(_SEQUENCE, _tagged(_OID, identifier) + rest)


def _pem(kind: str, content: bytes) -> str:
    text = base64.b64encode(content).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN {kind}-----\n{lines}\n-----END {kind}-----\n"
