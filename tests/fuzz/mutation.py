"""Bytes that are nearly right: an example with some of it gone, doubled, flipped, or strange things put in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

__all__ = ["mutated"]

_STRANGE = (
    *(
        b"\x00",
        b"\n",
        b"\r\n",
        b"\x1b[31m",
        b"\xff",
        b"\xc3\x28",
        b"\xed\xa0\x80",
        b"\\ud800",
        b"\\u0000",
        b"%00",
        b"%",
    ),
    *(
        b'"',
        b"'",
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b"(",
        b")",
        b"*",
        b"+",
        b"?",
        b"|",
        b":",
        b"/",
        b"//",
        b"@",
        b"#",
        b"&",
    ),
    *(b"null", b"true", b"-1", b"0", b"1e999", b"NaN", b"9" * 400, b"0." + b"0" * 40 + b"1", b"1" * 20),
    *(b"{}", b"[]", b"[" * 3000, b'{"a":' * 600, b"(" * 300, b"a" * 5000, b" " * 3000, b"\t" * 50, b"..", b"/../" * 50),
    *(b"&a [*a]", b"<<: *a", b"!!python/object:os.system", b"? ", b"- " * 200, b"${", b"${A}", b"$A"),
    *(b"sha256:", b"sha512:" + b"a" * 128, b"sha256:" + b"A" * 64, b"md5:" + b"0" * 32),
    *(b"file:///etc/passwd", b"http://169.254.169.254/", b"https://", b"[::1]", b"xn--", b"\xe2\x80\xae"),
)


def mutated(seed: bytes, random: Random, *, most_bytes: int = 65536) -> bytes:
    """`seed` after some few changes."""
    data = bytearray(seed)
    for _ in range(random.randint(1, 6)):
        begin = random.randint(0, len(data))
        end = min(len(data), begin + random.choice((0, 1, 1, 2, 8, 40, 400)))
        way = random.randint(0, 5)
        if way == 0:
            del data[begin:end]
        elif way == 1:
            data[begin:begin] = data[begin:end] * random.choice((1, 2, 20, 500))
        elif way == 2 and data:
            data[begin - 1] ^= 1 << random.randint(0, 7)
        elif way == 3:
            data[begin:end] = random.choice(_STRANGE)
        elif way == 4:
            data[begin:begin] = random.choice(_STRANGE)
        else:
            data[begin:end] = random.randbytes(end - begin)
    return bytes(data[:most_bytes])
