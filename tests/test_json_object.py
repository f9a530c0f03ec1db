"""Dataclasses kept as JSON objects: exact types, what may be missing, and nothing lost on the way back."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from resomap.core.json_object import JsonObject, known_values


@dataclass
class Note:
    name: str
    at: float = field(default_factory=time.time)
    count: int = 0
    share: float | None = None


@dataclass(frozen=True, kw_only=True)
class Part(JsonObject):
    size: int = 0


@dataclass(frozen=True, kw_only=True)
class Whole(JsonObject):
    name: str
    part: Part | None = None
    words: tuple[str, ...] = ()
    values: Mapping[str, float | None]
    anything: Mapping[str, Any] | None = None


def test_values_are_known_by_exact_types() -> None:
    content = {"name": "a", "at": 1, "share": None, "of a later version": 3}
    assert known_values(Note, content) == {"name": "a", "at": 1, "share": None}
    wrong: list[dict[str, Any]] = [{"name": None}, {"count": True}, {"count": 1.0}, {"share": "0.5"}, {"at": False}]
    for change in wrong:
        assert known_values(Note, {**content, **change}) is None
    for no_object in (None, [], "name", 3):
        assert known_values(Note, no_object) is None


def test_a_default_may_be_missing_and_what_is_of_the_reader_may_not() -> None:
    assert known_values(Note, {"name": "a", "at": 1.5}) == {"name": "a", "at": 1.5}
    assert known_values(Note, {"at": 1.5}) is None
    assert known_values(Note, {"name": "a"}) is None, "the time at which it is read is not the time of the note"


def test_parts_inside_are_objects_too() -> None:
    content = {"name": "a", "part": {"size": 3, "new": [1]}, "words": ["b"], "values": {"c": None, "d": 1}, "x": {}}
    whole = Whole.parse(content)
    assert whole == Whole(
        name="a", part=Part(size=3, extra={"new": [1]}), words=("b",), values={"c": None, "d": 1},
        extra={"x": {}}, absent=frozenset({"anything"}),
    )  # fmt: skip
    assert whole.as_json() == content
    assert list(whole.as_json()) == ["name", "part", "words", "values", "x"]
    assert Whole(name="a", values={}).as_json() == {
        "name": "a",
        "part": None,
        "words": [],
        "values": {},
        "anything": None,
    }
    for change in ({"part": {"size": "3"}}, {"part": []}, {"words": [1]}, {"values": {"c": True}}, {"anything": [1]}):
        assert Whole.parse({**content, **change}) is None


def test_a_type_that_json_does_not_have_is_a_mistake_in_the_code() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Strange(JsonObject):
        value: complex

    with pytest.raises(TypeError, match="complex"):
        Strange.parse({"value": 1})
