from __future__ import annotations

from image_syncer.embedded import Behaviour, Fault, FaultKind, RateLimit
from image_syncer.embedded.call import Mischief

GET, PUT = "get blob", "put upload"


def struck(mischief: Mischief, kind: str, path: str = "/v2/a/blobs/x") -> bool:
    return mischief.take_fault(kind, path) is not None


def refused(mischief: Mischief, kind: str, times_s: list[float]) -> list[bool]:
    return [mischief.refusing_limit(kind, now_s) is not None for now_s in times_s]


def test_a_fault_passes_some_and_strikes_some() -> None:
    mischief = Mischief(Behaviour(faults=(Fault(GET, skip=1, times=2),)), 0)
    assert [struck(mischief, GET) for _ in range(5)] == [False, True, True, False, False]


def test_a_fault_without_an_end() -> None:
    mischief = Mischief(Behaviour(faults=(Fault("*", times=None),)), 0)
    assert all(struck(mischief, kind) for kind in (GET, PUT) * 10)


def test_a_fault_looks_at_kind_and_path() -> None:
    mischief = Mischief(Behaviour(faults=(Fault(GET, match="/b/"),)), 0)
    assert not struck(mischief, PUT, "/v2/b/blobs/x")
    assert not struck(mischief, GET, "/v2/a/blobs/x")
    assert struck(mischief, GET, "/v2/b/blobs/x")


def test_the_first_fault_that_fits_is_taken() -> None:
    faults = (Fault(GET, FaultKind.RESET), Fault(GET, FaultKind.STALL))
    mischief = Mischief(Behaviour(faults=faults), 0)
    assert [mischief.take_fault(GET, "") for _ in range(3)] == [*faults, None]


def test_a_limit_without_a_rate_ends_after_its_burst() -> None:
    mischief = Mischief(Behaviour(rate_limits=(RateLimit(burst=2),)), 0)
    assert refused(mischief, GET, [0, 0, 0, 1000]) == [False, False, True, True]


def test_a_limit_with_a_rate_fills_up_again() -> None:
    mischief = Mischief(Behaviour(rate_limits=(RateLimit((GET,), burst=2, per_s=1),)), 0)
    assert refused(mischief, PUT, [0] * 5) == [False] * 5
    assert refused(mischief, GET, [0, 0, 0, 0.5, 1, 1.5, 100, 100, 100]) == [
        *(False, False, True),
        *(True, False, True),
        *(False, False, True),
    ]


def test_a_limit_that_refuses_so_many_only() -> None:
    mischief = Mischief(Behaviour(rate_limits=(RateLimit(times=1),)), 0)
    assert refused(mischief, GET, [0, 0, 0]) == [True, False, False]


def test_a_rate_without_a_burst_still_lets_one_pass_at_a_time() -> None:
    mischief = Mischief(Behaviour(rate_limits=(RateLimit(per_s=2),)), 0)
    assert refused(mischief, GET, [0, 0.5, 0.6, 1.0, 9, 9]) == [True, False, True, False, False, True]
