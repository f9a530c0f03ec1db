"""Images that `data.problems: skip` left out, by kind, as the check of the images wrote them."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from resomap.core.files import read_json
from resomap.data import DATA_DIRECTORY

CHECK = "check.json"
EMPTY_CLASS = "classes without a usable image"
NOT_EVERYWHERE = "classes that the validation or test split lacks"
NOT_IN_EACH_FOLD = "classes with fewer images or groups of them than folds"
_LEAVE_NOTHING_OUT = (EMPTY_CLASS, NOT_EVERYWHERE, NOT_IN_EACH_FOLD)


def count_left_out(policy: str, kinds: Iterable[str]) -> dict[str, int]:
    """Return {kind of problem: how many were left out}, given the kinds of all problems; empty but with `skip`."""
    return dict(Counter(kind for kind in kinds if kind not in _LEAVE_NOTHING_OUT)) if policy == "skip" else {}


def left_out(directory: Path = DATA_DIRECTORY) -> dict[str, int]:
    """Return what the last check of the images left out, by kind; empty where it has not run, or left nothing out."""
    content: Any = read_json(directory / CHECK)
    problems = content.get("problems") if isinstance(content, dict) else None
    if not isinstance(problems, list):
        return {}
    kinds = [str(problem.get("kind")) for problem in problems if isinstance(problem, dict)]
    return count_left_out(str(content.get("policy")), kinds)


def problems_found(directory: Path = DATA_DIRECTORY) -> str:
    """Return the problems that the last check of the images found, `2 zero bytes, 1 unreadable`; empty for none."""
    content: Any = read_json(directory / CHECK)
    problems = content.get("problems") if isinstance(content, dict) else None
    kinds = [str(one.get("kind")) for one in problems if isinstance(one, dict)] if isinstance(problems, list) else []
    return by_kind(Counter(kinds))


def by_kind(counts: Mapping[str, int]) -> str:
    """Return counts in words: `2 zero bytes, 1 unreadable`."""
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items())


def in_words(counts: Mapping[str, int]) -> str:
    """Return `3 left out (2 zero bytes, 1 unreadable)`; empty where nothing is left out."""
    return f"{sum(counts.values()):,} left out ({by_kind(counts)})" if counts else ""
