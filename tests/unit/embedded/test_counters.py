from __future__ import annotations

import threading

from image_syncer.embedded import Counters, ExtraOperation, Seen
from image_syncer.registry import Operation


def answer(counters: Counters, kind: Operation | ExtraOperation, status: int = 200) -> None:
    counters.begin(kind)
    counters.end(Seen(kind.value, "GET", "a", "v1", status))


def test_requests_are_counted_by_the_words_of_the_report() -> None:
    counters = Counters()
    answer(counters, Operation.GET_BLOB)
    answer(counters, Operation.GET_BLOB, 404)
    answer(counters, ExtraOperation.PATCH_UPLOAD, 202)
    values = counters.values()
    assert values.requests == {"get blob": 2, "patch upload": 1}
    assert values.statuses == {"get blob 200": 1, "get blob 404": 1, "patch upload 202": 1}
    assert (values.total_requests, values.count(Operation.GET_BLOB), values.count("ping")) == (3, 2, 0)


def test_refusals_tokens_and_bytes() -> None:
    counters = Counters()
    for status in (200, 401, 403, 404, 429):
        answer(counters, Operation.PING, status)
    counters.add_token()
    counters.add_bytes_in(10)
    counters.add_bytes_out(20)
    counters.add_connection()
    counters.add_authorization_on_companion()
    assert (counters.refused, counters.tokens, counters.bytes_in, counters.bytes_out) == (3, 1, 10, 20)
    assert counters.authorization_on_companion == 1
    assert counters.values().connections == 1


def test_how_many_were_under_way_at_once() -> None:
    counters = Counters()
    counters.begin(Operation.GET_BLOB)
    counters.begin(Operation.GET_BLOB)
    counters.end(Seen("get blob", "GET", "a", "", 200))
    counters.begin(Operation.GET_BLOB)
    assert counters.values().most_at_once == {"get blob": 2}


def test_what_was_counted_since() -> None:
    counters = Counters()
    answer(counters, Operation.PING)
    before = counters.values()
    answer(counters, Operation.GET_BLOB)
    counters.add_bytes_out(7)
    since = counters.values().minus(before)
    assert (since.requests, since.statuses, since.bytes_out) == ({"get blob": 1}, {"get blob 200": 1}, 7)


def test_history_keeps_the_order() -> None:
    counters = Counters()
    answer(counters, Operation.PUT_UPLOAD, 201)
    answer(counters, Operation.PUT_MANIFEST, 201)
    assert [seen.kind for seen in counters.history()] == ["put upload", "put manifest"]
    assert [seen.status for seen in counters.history("put upload")] == [201]


def test_a_reset_forgets_all_but_what_is_under_way() -> None:
    counters = Counters()
    counters.begin(Operation.GET_BLOB)
    counters.reset()
    assert counters.values().requests == {}
    counters.end(Seen("get blob", "GET", "a", "", 200))
    assert counters.values().statuses == {"get blob 200": 1}


def test_no_count_is_lost_between_threads() -> None:
    counters = Counters()
    threads = [
        threading.Thread(target=lambda: [answer(counters, Operation.PING) for _ in range(500)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters.requests == {"ping": 2000}


def test_waiting_for_a_count() -> None:
    counters = Counters()
    thread = threading.Thread(target=counters.add_bytes_in, args=(5,))
    thread.start()
    assert counters.wait_until(lambda values: values.bytes_in == 5, timeout_s=30)
    assert not counters.wait_until(lambda values: values.bytes_in == 6, timeout_s=0)
    thread.join()
