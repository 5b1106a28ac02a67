"""ByteBudgets between a driver that only notes what is resumed, and callbacks that are called by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pycurl

from image_syncer.net import ByteBudgets, Metered
from image_syncer.net.byte_budget import TURN_BYTES
from image_syncer.scheduling import EVERYWHERE

if TYPE_CHECKING:
    from collections.abc import Callable

    from image_syncer.net import CurlDriver

HERE = "registry.example"


class Lab:
    def __init__(self, *metered: str) -> None:
        self.resumed: list[object] = []
        self.on_resume: dict[object, Callable[[], object]] = {}
        self.asked: list[tuple[str, bool]] = []
        self.returned: list[tuple[str, bool, int]] = []
        self.budgets = ByteBudgets(
            cast("CurlDriver", self),
            metered=metered or (HERE,),
            want=lambda registry, sending: self.asked.append((registry, sending)),
            give_back=lambda registry, sending, size: self.returned.append((registry, sending, size)),
        )

    def resume(self, easy: object) -> None:
        self.resumed.append(easy)
        self.on_resume.get(easy, lambda: None)()

    def settle(self) -> None:
        pass

    def metered(self, *, sending: bool = False, small: bool = False) -> Metered:
        metered = self.budgets.meter(pycurl.Curl(), HERE, sending=sending, small=small)
        assert metered is not None
        return metered


def chunk(size: int) -> memoryview:
    return memoryview(bytes(size))


def test_a_registry_without_a_limit_has_no_purse() -> None:
    lab = Lab()
    assert lab.budgets.meter(pycurl.Curl(), "other.example", sending=True) is None
    assert Lab(EVERYWHERE).budgets.meter(pycurl.Curl(), "other.example", sending=True) is not None


def test_a_download_with_an_empty_purse_pauses_and_goes_on_when_something_comes() -> None:
    lab, got = Lab(), bytearray()
    metered = lab.metered()
    receive = metered.receiving(got.extend)
    assert receive(chunk(100)) == pycurl.WRITEFUNC_PAUSE
    assert receive(chunk(100)) == pycurl.WRITEFUNC_PAUSE
    assert metered.held_back
    assert (lab.asked, len(got)) == ([(HERE, False)], 0)
    lab.on_resume[metered.easy] = lambda: receive(chunk(100))
    lab.budgets.put(HERE, 60, sending=False)
    assert len(got) == 100  # a chunk is not split: 40 are owed
    assert not metered.held_back
    assert receive(chunk(1)) == pycurl.WRITEFUNC_PAUSE
    lab.budgets.put(HERE, 30, sending=False)
    assert len(lab.resumed) == 1  # the debt is not paid yet
    assert lab.asked == [(HERE, False)] * 3


def test_more_is_asked_for_before_the_purse_is_empty_and_only_once() -> None:
    lab = Lab()
    receive = lab.metered().receiving(lambda _part: None)
    receive(chunk(10))
    lab.budgets.put(HERE, 100, sending=False)
    for _ in range(4):
        receive(chunk(10))
    assert len(lab.asked) == 1
    receive(chunk(10))
    receive(chunk(10))
    assert len(lab.asked) == 2


def test_what_the_stream_does_not_take_is_not_spent() -> None:
    lab = Lab()
    lab.budgets.put(HERE, 100, sending=False)
    receive = lab.metered().receiving(lambda _part: pycurl.WRITEFUNC_PAUSE)
    assert receive(chunk(50)) == pycurl.WRITEFUNC_PAUSE
    lab.budgets.tidy()
    assert lab.budgets._of(HERE, False).level == 100


def test_an_upload_sends_no_more_than_there_is() -> None:
    lab = Lab()
    metered = lab.metered(sending=True)
    send = metered.sending(bytes)
    assert send(1000) == pycurl.READFUNC_PAUSE
    lab.budgets.put(HERE, 10_000, sending=True)
    assert len(cast("bytes", send(8_000))) == 8_000
    assert len(cast("bytes", send(8_000))) == 4096  # the least, which leaves a debt
    assert send(8_000) == pycurl.READFUNC_PAUSE
    assert metered.held_back


def test_an_upload_that_waits_for_its_stream_spends_nothing() -> None:
    lab = Lab()
    lab.budgets.put(HERE, 100, sending=True)
    send = lab.metered(sending=True).sending(lambda _most: pycurl.READFUNC_PAUSE)
    assert send(50) == pycurl.READFUNC_PAUSE
    assert lab.budgets._of(HERE, True).level == 100


def test_transfers_go_on_in_the_order_in_which_they_paused_while_something_is_left() -> None:
    lab = Lab()
    waiting = [lab.metered() for _ in range(3)]
    for metered in waiting:
        receive = metered.receiving(lambda _part: None)
        receive(chunk(TURN_BYTES))
        lab.on_resume[metered.easy] = lambda receive=receive: receive(chunk(TURN_BYTES))
    lab.budgets.put(HERE, TURN_BYTES + 1, sending=False)
    assert lab.resumed == [waiting[0].easy, waiting[1].easy]
    assert [metered.held_back for metered in waiting] == [False, False, True]
    assert len(lab.asked) == 2


def test_a_transfer_that_ended_is_not_resumed() -> None:
    lab = Lab()
    metered = lab.metered()
    metered.receiving(lambda _part: None)(chunk(1))
    metered.close()
    lab.budgets.put(HERE, 80, sending=False)
    assert lab.resumed == []


def test_what_nobody_uses_is_given_back_and_what_somebody_uses_is_not() -> None:
    lab = Lab()
    metered = lab.metered()
    lab.budgets.put(HERE, 80, sending=False)
    lab.budgets.tidy()
    assert lab.returned == []
    metered.close()
    lab.budgets.tidy()
    lab.budgets.tidy()
    assert lab.returned == [(HERE, False, 80)]


def held_back(lab: Lab, metered: Metered, size: int = 50) -> object:
    """`metered` pauses for a chunk of that size, takes it when it is resumed, and pauses again for the next one."""
    receive = metered.receiving(lambda _part: None)
    receive(chunk(size))

    def go_on() -> None:
        receive(chunk(size))
        lab.budgets._of(HERE, False).wait(metered)
        metered.held_back = True

    lab.on_resume[metered.easy] = go_on
    return metered.easy


def test_streamed_blobs_take_turns_and_of_small_ones_the_first_goes_first() -> None:
    for small in (False, True):
        lab = Lab()
        first, second = (held_back(lab, lab.metered(small=small)) for _ in range(2))
        for _ in range(4):
            lab.budgets.put(HERE, 50, sending=False)
        assert lab.resumed == ([first] * 4 if small else [first, second] * 2)


def test_where_both_kinds_wait_each_gets_every_other_turn() -> None:
    lab = Lab()
    streamed = [held_back(lab, lab.metered()) for _ in range(2)]
    small = [held_back(lab, lab.metered(small=True)) for _ in range(2)]
    for _ in range(4):
        lab.budgets.put(HERE, 50, sending=False)
    assert lab.resumed == [small[0], streamed[0], small[0], streamed[1]]
