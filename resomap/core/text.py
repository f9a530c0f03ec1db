"""Words in sentences: whole numbers, the nearest valid name, durations, text from outside made printable, writable."""

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

MAX_DIGITS = 18  # of a whole number: more are no count of anything, and Python refuses to read thousands


def is_whole_number(text: str) -> bool:
    """Return True for ASCII digits that `int` reads; `str.isdigit` is true of '3²', too, and `int` of '٣'."""
    return text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """Return the valid name most like the given one, or None where nothing is alike."""
    matches = difflib.get_close_matches(str(name), list(valid), n=1, cutoff=0.5)
    return matches[0] if matches else None


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return the suggestion `; did you mean 'vgg16'?`, or an empty string where nothing is alike."""
    match = nearest(name, valid)
    return f"; did you mean '{match}'?" if match else ""


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: `1 training`, `3 trainings`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def first_few(names: Sequence[str], shown: int) -> str:
    """Return names in words: `a, b, c and 4 more`, of which `shown` are named."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def printable(text: str) -> str:
    """Return text from outside as one line without control characters, which could forge a line of a terminal."""
    return " ".join(without_controls(text).split())


def without_controls(text: str) -> str:
    """Return text from outside with a blank in place of each control character."""
    return text if text.isprintable() else "".join(each if each.isprintable() else " " for each in text)


def duration(seconds: float) -> str:
    """Return a duration in words: `40 s`, `14 min`, `3 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def encodable(text: str) -> str:
    """Return text that UTF-8 can hold: a byte of a file name that is no UTF-8 is spelled out, as in `caf\\xe9.png`."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        # Python has such a byte as a lone surrogate; one that stands for no byte is spelled out as itself.
        try:
            return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        except UnicodeEncodeError:
            return text.encode("utf-8", "backslashreplace").decode()


def all_encodable(value: Any) -> Any:
    """Return a value of JSON with every text in it as `encodable` gives it, the names in objects included."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {encodable(str(name)): all_encodable(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [all_encodable(one) for one in value]
    return value
