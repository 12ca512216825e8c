"""labctl's dataclasses are what the standard library's are, but for being changed when they are frozen."""

from __future__ import annotations

import dataclasses
from dataclasses import field

import pytest

from labctl.records import dataclass


def pair(**given):
    """The same class, made by both."""

    def made(maker):
        @maker(**given)
        class Point:
            x: int
            y: list[int] = field(default_factory=list, repr=False, compare=False)
            z: str = "z"

        return Point

    return made(dataclass), made(dataclasses.dataclass)


@pytest.mark.parametrize("given", [{}, {"frozen": True}, {"slots": True}, {"frozen": True, "slots": True}])
def test_they_show_and_compare_as_the_standard_ones(given):
    for point in pair(**given):
        one, same, other = point(1), point(1, y=[2]), point(2)
        assert repr(one).endswith("Point(x=1, z='z')")
        assert one == same
        assert one != other
        assert one != (1, "z")
        if given.get("frozen"):
            assert len({one, same, other}) == 2
        else:
            with pytest.raises(TypeError):
                hash(one)
        assert dataclasses.replace(one, x=2) == other
        assert dataclasses.asdict(one) == {"x": 1, "y": [], "z": "z"}
        assert [each.name for each in dataclasses.fields(one)] == ["x", "y", "z"]


def test_without_eq_they_are_themselves_alone():
    for point in pair(eq=False):
        one = point(1)
        assert one == one
        assert one != point(1)
        assert len({one, point(1)}) == 2


def test_methods_of_their_own_stay():
    @dataclass(frozen=True)
    class Own:
        x: int

        def __repr__(self) -> str:
            return "own"

        def __hash__(self) -> int:
            return 7

    assert repr(Own(1)) == "own"
    assert hash(Own(1)) == 7
    assert Own(1) == Own(1)


def test_those_without_fields_are_equal():
    @dataclass(frozen=True)
    class Nothing:
        pass

    assert Nothing() == Nothing()
    assert hash(Nothing()) == hash(Nothing())


def arguments(maker):
    @maker(kw_only=True)
    class Base:
        a: int
        b: list[int] = field(default_factory=list)

    @maker
    class Whole(Base):
        c: str
        d: str = "d"
        e: list[int] = field(default_factory=list, init=False)
        f: int = field(init=False)

        def __post_init__(self) -> None:
            self.f = self.a + 1

    return Whole


@pytest.mark.parametrize("named", [{"a": 1, "c": "c"}, {"a": 1, "b": [2], "c": "c", "d": "other"}])
def test_they_are_made_of_the_same_arguments(named):
    ours, standard = arguments(dataclass)(**named), arguments(dataclasses.dataclass)(**named)
    assert vars(ours) == vars(standard)
    assert ours.b is not arguments(dataclass)(**named).b or "b" in named


def test_an_argument_by_its_place():
    assert vars(arguments(dataclass)("c", a=1)) == vars(arguments(dataclasses.dataclass)("c", a=1))


@pytest.mark.parametrize("named", [{}, {"a": 1, "c": "c", "x": 2}, {"a": 1, "c": "c", "f": 2}])
def test_wrong_arguments_are_refused_in_the_same_words(named):
    said = []
    for maker in (dataclass, dataclasses.dataclass):
        for _ in range(2):  # the first object and any other
            with pytest.raises(TypeError) as error:
                arguments(maker)(**named)
            said.append(str(error.value))
    assert len(set(said)) == 1


def test_a_class_below_one_is_made_as_it_is():
    class Below(arguments(dataclass)):
        pass

    assert vars(Below(a=1, c="c")) == vars(arguments(dataclass)(a=1, c="c"))
