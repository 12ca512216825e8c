"""How far a node's clock is from the controller's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from labctl.errors import ConnectionLost, Interrupted
from labctl.node.clock import CLOSE, Clock


class Far:
    """A node whose round trips take these seconds, in turn. `flights`: how many exchanges began before one was waited for."""

    def __init__(self, *took: float) -> None:
        self.took = list(took)
        self.asked = 0
        self.flights: list[int] = []
        self._waited = True

    def __call__(self) -> Callable[[], tuple[float, float]]:
        took = self.took[self.asked]
        self.asked += 1
        self.flights = [*self.flights, 1] if self._waited else [*self.flights[:-1], self.flights[-1] + 1]
        self._waited = False

        def told() -> tuple[float, float]:
            self._waited = True
            return took, 100 + took

        return told


def test_one_short_round_trip_is_enough() -> None:
    far = Far(0.0009)
    assert Clock(far).offset(CLOSE) == 100.0009
    assert far.asked == 1


def test_it_asks_until_a_round_trip_is_short() -> None:
    far = Far(0.1, 0.02, 0.0009, 0.5)
    assert Clock(far).offset(CLOSE) == 100.0009
    assert far.asked == 3


def test_a_far_node_is_asked_until_three_take_as_long() -> None:
    far = Far(0.031, 0.090, 0.030, 0.070, 0.0305, 0.02)
    assert Clock(far).offset(CLOSE) == 100.03
    assert (far.asked, far.flights) == (5, [1, 2, 1, 1])


def test_the_fastest_of_ten_counts_where_none_is_short() -> None:
    far = Far(*(0.1 * 2**number for number in (3, 4, 0, 5, 6, 7, 8, 9, 10, 11, 12)))
    assert Clock(far).offset(CLOSE) == 100.1
    assert far.asked == 10


@pytest.mark.parametrize("again", [0.005, 1.0])
def test_what_is_known_is_not_asked_for_again(again: float) -> None:
    far = Far(0.008, 0.0001)
    clock = Clock(far)
    assert clock.offset(0.005) == clock.offset(again) == 100.008
    assert far.asked == 1


def test_who_wants_it_closer_is_told_closer() -> None:
    far = Far(0.008, 0.003, 0.0007)
    clock = Clock(far)
    assert clock.offset(0.005) == 100.008
    assert clock.offset(CLOSE) == clock.offset(0.005) == 100.0007
    assert far.asked == 3


def test_what_cannot_be_had_closer_is_tried_for_once() -> None:
    far = Far(0.03, 0.03, 0.03)
    clock = Clock(far)
    assert clock.offset(CLOSE) == clock.offset(CLOSE) == clock.offset(0.005) == 100.03
    assert far.asked == 3


def test_what_is_done_meanwhile_is_done_once_behind_the_first() -> None:
    far, done = Far(0.03, 0.03, 0.03), []
    clock = Clock(far)
    for _ in range(2):
        assert clock.offset(0.005, lambda: done.append(far.asked)) == 100.03
    assert (done, far.flights) == ([1, 3], [1, 2])


def test_what_fails_meanwhile_fails_and_the_exchange_counts() -> None:
    far = Far(0.03, 0.001)
    clock = Clock(far)
    for error in (Interrupted("enough"), OSError()):

        def fail(error: Exception = error) -> None:
            raise error

        with pytest.raises(type(error)):
            clock.offset(0.005, fail)
    assert clock.offset(0.005) == 100.001
    assert far.asked == 2


def test_a_lost_connection_does_not_hide_what_failed_meanwhile() -> None:
    def lost() -> tuple[float, float]:
        raise ConnectionLost("gone")

    def fail() -> None:
        raise Interrupted("enough")

    with pytest.raises(Interrupted):
        Clock(lambda: lost).offset(0.005, fail)
