"""Which addresses mean something else on every machine, however they are written."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image_syncer.net.addresses import AddressKind, kind_of_address, kind_of_host, parse_literal

ORDINARY, LOOPBACK = AddressKind.ORDINARY, AddressKind.LOOPBACK
LINK_LOCAL, METADATA = AddressKind.LINK_LOCAL, AddressKind.METADATA


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", LOOPBACK),
        ("127.255.255.254", LOOPBACK),
        ("0.0.0.0", LOOPBACK),
        ("::1", LOOPBACK),
        ("::", LOOPBACK),
        ("::ffff:127.0.0.1", LOOPBACK),
        ("::7f00:1", LOOPBACK),
        ("64:ff9b::127.0.0.1", LOOPBACK),
        ("2002:7f00:1::", LOOPBACK),
        ("169.254.1.1", LINK_LOCAL),
        ("fe80::1", LINK_LOCAL),
        ("fe80::1%2", LINK_LOCAL),
        ("169.254.169.254", METADATA),
        ("::ffff:169.254.169.254", METADATA),
        ("::ffff:a9fe:a9fe", METADATA),
        ("64:ff9b::a9fe:a9fe", METADATA),
        ("169.254.170.2", METADATA),
        ("fd00:ec2::254", METADATA),
        ("100.100.100.200", METADATA),
        ("168.63.129.16", METADATA),
        ("10.0.0.1", ORDINARY),
        ("172.16.0.1", ORDINARY),
        ("192.168.1.1", ORDINARY),
        ("100.64.0.1", ORDINARY),
        ("fd12:3456::1", ORDINARY),
        ("8.8.8.8", ORDINARY),
        ("2001:db8::1", ORDINARY),
        ("", ORDINARY),
    ],
)
def test_kinds_of_addresses(address: str, kind: AddressKind) -> None:
    assert kind_of_address(address) is kind


@pytest.mark.parametrize(
    ("host", "kind"),
    [
        ("localhost", LOOPBACK),
        ("LOCALHOST.", LOOPBACK),
        ("a.b.localhost", LOOPBACK),
        ("localhost.example.com", ORDINARY),
        ("notlocalhost", ORDINARY),
        ("metadata.google.internal", METADATA),
        ("Metadata.Google.Internal.", METADATA),
        ("storage.example.com", ORDINARY),
        ("2130706433", LOOPBACK),
        ("0x7f000001", LOOPBACK),
        ("0177.0.0.1", LOOPBACK),
        ("127.1", LOOPBACK),
        ("0", LOOPBACK),
        ("2852039166", METADATA),
        ("0xA9.0xFE.0xA9.0xFE", METADATA),
        ("0251.0376.43518", METADATA),
        ("169.254.169.254.", METADATA),
        ("[::1]", LOOPBACK),
        ("[::ffff:169.254.169.254]", METADATA),
        ("[fe80::1]", LINK_LOCAL),
        ("[nonsense]", ORDINARY),
        ("256.0.0.1", ORDINARY),
        ("08.0.0.1", ORDINARY),
        ("1.2.3.4.5", ORDINARY),
        ("", ORDINARY),
    ],
)
def test_kinds_of_hosts_as_they_are_written(host: str, kind: AddressKind) -> None:
    assert kind_of_host(host) is kind


_PART = st.one_of(
    st.integers(0, 2**33).map(str), st.integers(0, 2**33).map(hex), st.integers(0, 2**33).map(lambda n: f"0{n:o}")
)


@given(st.lists(_PART, min_size=1, max_size=5).map(".".join))
def test_ipv4_literals_are_what_the_c_library_takes_them_for(text: str) -> None:
    try:
        expected = socket.inet_aton(text)
    except OSError:
        assert parse_literal(text) is None
    else:
        found = parse_literal(text)
        assert found is not None
        assert found.packed == expected
