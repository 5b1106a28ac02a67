"""Handles are kept for the next request of their kind, and hold nothing of the last one."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import pycurl
import pytest

from image_syncer.net import Timeouts
from image_syncer.net.transport import HandlePool
from image_syncer.oci import Repository, digest_of
from image_syncer.registry import Endpoint, UploadSession, build_get_blob, build_ping, build_put_upload

if TYPE_CHECKING:
    from image_syncer.registry import Request

HERE = Endpoint("r.example", "https://r.example")
APP, BLOB = Repository("r.example", "app"), digest_of(b"blob")
GET = build_get_blob(HERE, APP, BLOB)
PUT = build_put_upload(HERE, APP, UploadSession("https://r.example/up"), BLOB, 4)


class Copy:
    def take(self, _chunk: object) -> None: ...


@pytest.mark.parametrize(
    ("request_", "callbacks"),
    [
        (GET, (pycurl.HEADERFUNCTION, pycurl.WRITEFUNCTION)),
        (PUT, (pycurl.HEADERFUNCTION, pycurl.WRITEFUNCTION, pycurl.READFUNCTION, pycurl.SEEKFUNCTION)),
    ],
)
def test_an_idle_handle_holds_no_copy(request_: Request, callbacks: tuple[int, ...]) -> None:
    pool, copy = HandlePool(Timeouts()), Copy()
    handle = pool.take(request_, HERE, None, streamed=True)
    for option in callbacks:
        handle.easy.setopt(option, copy.take)
    gone = weakref.ref(copy)
    pool.give_back(handle)
    del copy
    gc.collect()
    assert gone() is None
    assert pool.take(request_, HERE, None, streamed=True) is handle


def test_a_handle_is_used_again_for_its_own_kind_only() -> None:
    pool = HandlePool(Timeouts())
    handle = pool.take(GET, HERE, None, streamed=True)
    pool.give_back(handle)
    assert pool.take(PUT, HERE, None, streamed=True) is not handle
    assert pool.take(GET, HERE, None) is not handle
    assert pool.take(GET, Endpoint("r.example", "https://r.example", verify=False), None, streamed=True) is not handle
    assert pool.take(GET, HERE, "Bearer a", streamed=True) is handle


def test_a_handle_whose_transfer_was_broken_off_is_not_used_again() -> None:
    pool = HandlePool(Timeouts())
    handle = pool.take(GET, HERE, None, streamed=True)
    pool.give_back(handle, spoiled=True)
    assert pool.take(GET, HERE, None, streamed=True) is not handle


def test_header_fields_are_set_where_they_differ() -> None:
    pool = HandlePool(Timeouts())
    handle = pool.take(build_ping(HERE), HERE, "Bearer a")
    assert handle.fields == ((), "Bearer a")
    pool.give_back(handle)
    other = pool.take(build_ping(HERE), HERE, None)
    assert (other is handle, other.fields) == (True, ((), None))
