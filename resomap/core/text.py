"""Words in sentences: whole numbers, the nearest valid name, durations, text from outside made printable."""

import difflib
from collections.abc import Iterable

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
