from __future__ import annotations

from ehlo.net.back_off import DELAYS, STABLE, BackOff


def test_the_first_restart_is_immediate_and_the_others_wait_longer_and_longer() -> None:
    back_off = BackOff()
    assert [back_off.delay_after(0.1) for _ in range(9)] == [0, 1, 2, 4, 8, 16, 30, 30, 30]


def test_who_has_lived_long_begins_anew() -> None:
    back_off = BackOff()
    for _ in DELAYS:
        back_off.delay_after(0)
    assert back_off.delay_after(STABLE) == 0
    assert back_off.delay_after(STABLE - 0.1) == 1


def test_each_worker_has_delays_of_its_own() -> None:
    BackOff().delay_after(0)
    assert BackOff().delay_after(0) == 0
