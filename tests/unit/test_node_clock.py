"""How far a node's clock is from the controller's."""

from __future__ import annotations

import pytest

from labctl.node.clock import CLOSE, Clock


class Far:
    """A node whose round trips take these seconds, in turn."""

    def __init__(self, *took: float) -> None:
        self.took = list(took)
        self.asked = 0

    def __call__(self) -> tuple[float, float]:
        took = self.took[self.asked]
        self.asked += 1
        return took, 100 + took


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
    assert far.asked == 5


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
