from __future__ import annotations

from image_syncer.scheduling.connections import CALM_S, GROWTH_S, LEAST_PACED, ConnectionHost


def test_a_paced_registry_has_as_many_connections_as_its_rate_keeps_busy() -> None:
    host = ConnectionHost(None)
    host.pace(50.0)
    assert host.allowed == 100
    host.pace(10.0)
    assert host.allowed == 20
    host.pace(30.0)
    assert host.allowed == 60
    host.pace(0.1)
    assert host.allowed == LEAST_PACED
    host.pace(None)
    assert host.allowed is None


def test_the_users_word_bounds_it_all_the_same() -> None:
    host = ConnectionHost(8)
    host.pace(50.0)
    assert host.allowed == 8
    host.pace(1.0)
    assert host.allowed == LEAST_PACED
    host.pace(None)
    assert host.allowed == 8


def test_refusals_cut_connections_but_not_below_what_the_rate_needs() -> None:
    host = ConnectionHost(None)
    host.held = [63, 0]
    host.pace(50.0)
    for round_ in range(5):
        host.refused(round_ * CALM_S)
    assert host.allowed == 25
    host.pace(2.0)
    assert host.allowed == LEAST_PACED
    host.refused(100.0)
    assert host.allowed == LEAST_PACED // 2


def test_what_a_refusal_took_comes_back_bit_by_bit_up_to_what_the_rate_keeps_busy() -> None:
    host = ConnectionHost(None)
    host.held = [63, 0]
    host.pace(20.0)
    host.refused(0.0)
    assert host.allowed == 20
    host.pace(30.0)
    assert host.allowed == 20
    assert not host.recover(GROWTH_S)
    assert host.allowed == 25
    assert host.recover(100.0)
    assert host.allowed == 60
