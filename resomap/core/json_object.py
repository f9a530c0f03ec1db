"""Dataclasses that are kept as JSON objects: types are checked when they are read, unknown keys outlive a rewrite."""

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

NONE: frozenset[str] = frozenset()
_NUMBERS = (int, float)
_MAX = 2**63 - 1
_APART = {"apart": True}  # metadata of a field that is no key of the object


@dataclass(frozen=True, kw_only=True)
class JsonObject:
    """Base of frozen dataclasses whose fields are the keys of a JSON object, in their order.

    Fields are str, int, float, bool, each of them or None, a Mapping[str, ...], tuple[..., ...], or JsonObject.
    """

    # What another version wrote beside the fields.
    extra: Mapping[str, Any] = field(default_factory=dict, metadata=_APART)
    # Fields with a default that the object lacks, as another version left them out: they are not written either.
    absent: frozenset[str] = field(default=NONE, metadata=_APART)

    @classmethod
    def parse(cls, content: Any) -> typing.Self | None:
        """Return the object that decoded JSON holds; None where it is none of this form (see `known_values`)."""
        known = known_values(cls, content)
        if known is None:
            return None
        names = _names(cls)  # type: ignore[arg-type]  # mypy takes the class for its instances, which have no hash
        # A plan reads thousands of objects that have all fields and no other key: these two cost it nothing.
        extra = {} if len(known) == len(content) else {name: content[name] for name in content if name not in names}
        absent = NONE if len(known) == len(names) else names - known.keys()
        return cls(**known, extra=extra, absent=absent)

    def as_json(self) -> dict[str, Any]:
        """Return what `parse` reads: keys in the order of the fields, then those that this version does not know."""
        known = {each.name: _plain(getattr(self, each.name)) for each in _fields(type(self))}  # type: ignore[arg-type]
        return {name: value for name, value in known.items() if name not in self.absent} | dict(self.extra)


def known_values(of: type, content: Any) -> dict[str, Any] | None:
    """Return values for the fields of the dataclass `of` that a decoded JSON object has; further keys are left out.

    None where it is no object, lacks a field without a default, or holds a value of another type. Types are exact:
    `true` is no number, though Python takes it for one; a whole number will do for a float. Numbers beyond 64 bits are
    no count of anything, and nothing can be computed with them. A `default_factory` is no default here: what it makes
    is of the reader, such as the time or the host.
    """
    if not isinstance(content, dict):
        return None
    found = {}
    for name, kinds, parts, convert, is_required in _fields(of):
        if name not in content:
            if is_required:
                return None
            continue
        value = content[name]
        kind = type(value)
        if kind not in kinds or (kind in _NUMBERS and not -_MAX <= value <= _MAX):
            return None
        if value is not None:
            if parts is not None and not parts.issuperset(
                map(type, value.values() if isinstance(value, dict) else value)
            ):
                return None
            if convert is not None and (value := convert(value)) is None:
                return None
        found[name] = value
    return found


class _Field(NamedTuple):
    name: str
    kinds: frozenset[type]  # of the value in JSON
    parts: frozenset[type] | None  # of each of its values or items; None: they are not looked at
    convert: Callable[[Any], Any] | None  # from JSON to the field's own type; None from it: of a wrong form
    is_required: bool


@functools.cache
def _fields(of: Any) -> tuple[_Field, ...]:
    hints = typing.get_type_hints(of)
    return tuple(_field(each, hints[each.name]) for each in dataclasses.fields(of) if "apart" not in each.metadata)


@functools.cache
def _names(of: Any) -> frozenset[str]:
    return frozenset(each.name for each in _fields(of))


def _field(each: "dataclasses.Field[Any]", hint: Any) -> _Field:
    kinds: set[type] = set()
    parts, convert = None, None
    is_union = typing.get_origin(hint) in (types.UnionType, typing.Union)
    for kind in typing.get_args(hint) if is_union else (hint,):
        origin, arguments = typing.get_origin(kind) or kind, typing.get_args(kind)
        if origin is Mapping:
            kinds.add(dict)
            parts = None if arguments[1] is Any else _scalars(arguments[1])
        elif origin is tuple:
            kinds.add(list)
            parts, convert = _scalars(arguments[0]), tuple
        elif issubclass(origin, JsonObject):
            kinds.add(dict)
            convert = origin.parse
        else:
            kinds |= _scalars(kind)
    return _Field(each.name, frozenset(kinds), parts, convert, each.default is dataclasses.MISSING)


def _scalars(hint: Any) -> frozenset[type]:
    """Return the exact types that JSON gives for a scalar type or a union of some."""
    kinds = set(typing.get_args(hint) or (hint,))
    if not kinds <= {str, int, float, bool, types.NoneType}:
        raise TypeError(f"{hint} is no type that is read from JSON")
    return frozenset(kinds | {int} if float in kinds else kinds)


def _plain(value: Any) -> Any:
    if isinstance(value, JsonObject):
        return value.as_json()
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value
