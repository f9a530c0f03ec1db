"""Groups of images (a patient, a module), from a CSV file with the columns `path,group`.

An image whose line does not fit its name would stand alone, and its patient on both sides of the split, without a word.
So whatever fits only in part is one sentence here: paths that name no image while images have no group, a group spelled
in two ways, a group that means "none".
"""

import csv
import hashlib
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from resomap.config.schema import Data
from resomap.core.errors import ResomapError
from resomap.core.files import regular_bytes

ALONE = "--config 'data={ungrouped: alone}'"  # the way out where images are to stand alone
_NAMED = 3  # names in a sentence
# How pandas and spreadsheets write that there is no value.
_MISSING = frozenset(
    {
        *("nan", "-nan", "null", "none", "nat", "na", "n/a", "<na>", "-1.#ind", "1.#ind"),
        *("#n/a", "#na", "#null!", "#ref!", "#value!", "#name?", "#div/0!", "#num!"),
    }
)


@dataclass(frozen=True)
class Groups:
    """Groups of a data set's images."""

    of: Mapping[str, str]  # {image: group}
    ungrouped: int = 0  # images without a group: each stands alone
    unused: int = 0  # lines that name no image


@dataclass(frozen=True)
class _Line:
    number: int
    name: str
    group: str | None  # None where it is empty or means that there is none


def read_groups(data: Data, root: Path, names: Sequence[str]) -> Groups:
    """Return the groups of the images `names` below `root`; none without `data.groups`.

    Raises ResomapError: a file that cannot be read or is no such CSV, or that fits the images only in part.
    """
    if data.groups is None:
        return Groups({})
    path = _path(data)
    lines = _read(path, data.ungrouped == "alone")
    refuse_two_spellings(f"the groups file {path}", ((line.number, line.group) for line in lines))
    image_of = _images(lines, names)
    group_of: dict[str, str] = {}
    for line in lines:
        image = image_of.get(line.name, line.name)
        if line.group is not None and group_of.setdefault(image, line.group) != line.group:
            raise ResomapError(f"the groups file {path} puts {image} into two groups; keep one line of it")
    if not image_of:
        raise ResomapError(
            f"the groups file {path} names none of the images; its paths must be relative to {root}, such as {names[0]}"
        )
    alone = [name for name in names if name not in group_of]
    unused = list({line.name: line for line in lines if line.name not in image_of}.values())
    if alone and unused and data.ungrouped != "alone":
        raise ResomapError(
            f"the groups file {path} fits only in part: {len(unused):,} of its lines name no image "
            f"({_hints(unused, names)}) and {len(alone):,} images have no group ({_listed(alone)}); write the paths as "
            f"the files are named, below {root}, or let those images stand alone with {ALONE}"
        )
    return Groups({name: group_of[name] for name in names if name in group_of}, len(alone), len(unused))


def groups_facts(data: Data, names: Iterable[str]) -> dict[str, Any]:
    """Return the facts of the groups that decide the split, for the data's identity: the file's digest above all.

    What earlier versions read otherwise is a fact of its own, only where it occurs. Raises ResomapError as
    `read_groups` does where the file cannot be read.
    """
    if data.groups is None:
        return {"groups": None}
    path = _path(data)
    content = _content(path)
    facts: dict[str, Any] = {"groups": hashlib.sha256(content).hexdigest()}
    may_be_alone = data.ungrouped == "alone"
    if may_be_alone or not content.isascii():
        lines = _read(path, may_be_alone)
        if any(line.group is None for line in lines):
            facts["groups_missing"] = "alone"
        if any(name != image for name, image in _images(lines, list(names)).items()):
            facts["groups_names"] = "NFC"
    return facts


def _path(data: Data) -> Path:
    return Path(data.groups or "").expanduser().absolute()


def _content(path: Path) -> bytes:
    try:
        return regular_bytes(path)
    except OSError as error:
        raise ResomapError(f"the groups file {path} cannot be read: {error.strerror}; mend `data.groups`") from None


def _read(path: Path, may_be_alone: bool) -> list[_Line]:
    try:
        text = _content(path).decode("utf-8-sig")  # spreadsheets write the mark at the start
        reader = csv.DictReader(io.StringIO(text, newline=""))
        missing = {"path", "group"} - set(reader.fieldnames or [])
        if missing:
            raise ResomapError(
                f"the groups file {path} lacks the column {' and '.join(sorted(missing))}; its first "
                "line must be `path,group`"
            )
        return [_line(path, reader.line_num, row, may_be_alone) for row in reader]
    except (UnicodeDecodeError, csv.Error):
        raise ResomapError(f"the groups file {path} is not CSV text in UTF-8; mend `data.groups`") from None


def _line(path: Path, number: int, row: Mapping[str, str | None], may_be_alone: bool) -> _Line:
    name, group = (row["path"] or "").strip(), (row["group"] or "").strip()
    if not name or (not group and not may_be_alone):
        raise ResomapError(f"the groups file {path}, line {number} needs a path and a group")
    stands_for_none = is_missing(group)
    if stands_for_none and not may_be_alone:
        raise ResomapError(
            f"the groups file {path}, line {number} has the group {group!r}, which stands for none; give {name} its "
            f"group, or leave it empty and let such images stand alone with {ALONE}"
        )
    posix = PurePosixPath(name.replace("\\", "/")).as_posix()
    return _Line(number, posix, None if stands_for_none or not group else group)


def is_missing(group: str) -> bool:
    """Return True for a group that stands for none, as pandas and spreadsheets write it."""
    return group.lower() in _MISSING


def refuse_two_spellings(what: str, groups: Iterable[tuple[int, str | None]]) -> None:
    """Raise ResomapError where two groups are most likely one: `1` and `1.0`, `P7` and `p7`, `é` in two forms.

    `groups` are (line, group); `what` is the file or column that has them.
    """
    known: set[str] = set()
    first: dict[str, tuple[int, str]] = {}
    for number, group in groups:
        if group is None or group in known:
            continue
        known.add(group)
        line, other = first.setdefault(_spelling(group), (number, group))
        if other != group:
            raise ResomapError(
                f"{what} spells one group in two ways, {other!a} (line {line}) and "
                f"{group!a} (line {number}): its images would not stay together; write one of them, or, "
                "where they are two groups, names that differ in more than case, zeros and accents' encoding"
            )


def _spelling(group: str) -> str:
    """Return what two spellings of one group have in common."""
    text = " ".join(unicodedata.normalize("NFKC", group).casefold().split())
    text = re.sub(r"^([+-]?\d+)\.0*$", r"\1", text)  # whole numbers after a trip through a column of floats
    return re.sub(r"(?<![\d.])0+(?=\d)", "", text)


def _images(lines: Iterable[_Line], names: Sequence[str]) -> dict[str, str]:
    """Return {name in a line: image}, by the same bytes, else by the same characters (NFC) where one image has them."""
    known = set(names)
    wanted = {line.name for line in lines}
    found = {name: name for name in wanted & known}
    others = [name for name in wanted - known if not name.isascii()]
    if others:
        by_text = _unique((_nfc(name), name) for name in names if not name.isascii())
        found |= {name: by_text[_nfc(name)] for name in others if _nfc(name) in by_text}
    return found


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _unique(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return a mapping of the keys that stand for one value only."""
    found: dict[str, str] = {}
    twice = set()
    for key, value in pairs:
        if found.setdefault(key, value) != value:
            twice.add(key)
    return {key: value for key, value in found.items() if key not in twice}


def _hints(unused: Sequence[_Line], names: Sequence[str]) -> str:
    """Return the first lines that name no image, with the image that each may mean."""
    by_case = _unique((_nfc(name).casefold(), name) for name in names)
    by_stem = _unique((str(PurePosixPath(name).with_suffix("")), name) for name in names)
    known = set(names)
    by_file = _unique((name.rpartition("/")[2], name) for name in names)
    found = []
    for line in unused[:_NAMED]:
        meant = (
            by_case.get(_nfc(line.name).casefold())
            or by_stem.get(str(PurePosixPath(line.name).with_suffix("")))
            or by_stem.get(line.name)
            or next((tail for tail in _tails(line.name) if tail in known), None)
            or by_file.get(line.name.rpartition("/")[2])
        )
        found.append(f"line {line.number}: {line.name}" + (f", where the image is {meant}" if meant else ""))
    return "; ".join(found) + ("; ..." if len(unused) > _NAMED else "")


def _tails(name: str) -> Iterator[str]:
    """Yield a path without its first folder, its first two, and so on."""
    while "/" in name:
        name = name.partition("/")[2]
        yield name


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
