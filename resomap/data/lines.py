"""Listing: the images that a table or shards list, one a line, with the values of its columns as text.

Reading a listing opens no image. What makes all of it unusable is one sentence; a line without a label, or one that
contradicts another, is a problem of that image, which `data.problems` decides about.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from resomap.config.schema import Data
from resomap.core.errors import ResomapError
from resomap.data import SPLITS
from resomap.data.columns import AUTO, Chosen
from resomap.data.image_groups import ALONE, is_missing, refuse_two_spellings
from resomap.data.layout import split_of_name, split_within
from resomap.data.location import Location

_NO_LABEL = frozenset({"", "nan", "<na>", "#n/a"})  # what pandas and spreadsheets write; `none` may be a class
_SPLIT_HERE = "--config 'data={columns: {split: null}}'"


@dataclass(slots=True)
class Line:
    """One image of a listing."""

    table: int  # index of the table or shard
    number: int  # of its line or row there, for people
    name: str
    location: Location
    label: str | None
    split: str | None = None
    group: str | None = None
    weight: float | None = None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The lines of a source's tables or shards."""

    root: Path
    tables: tuple[str, ...]  # names of the tables or shards, for people
    unit: str  # `line` or `row`
    chosen: Chosen
    lines: list[Line]
    split_here: tuple[str, ...] = SPLITS
    classes: tuple[str, ...] = ()  # where the listing names them itself; else those of the lines
    shards: tuple[Path, ...] = ()  # that hold the images themselves
    image_column: str | None = None  # of Parquet that holds them
    clutter: dict[str, int] = field(default_factory=dict)
    problems: list[tuple[str, str]] = field(default_factory=list)  # (name, reason) of what could not be read
    notes: list[str] = field(default_factory=list)

    def where(self, line: Line) -> str:
        """Return the place of a line for people: `line 7 of labels.csv`."""
        return f"{self.unit} {line.number:,} of {self.tables[line.table]}"


def text_of(value: Any) -> str | None:
    """Return a value of a table as text; None where it is missing. Whole numbers in a column of floats stay whole."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = (value.decode(errors="replace") if isinstance(value, bytes) else str(value)).strip()
    return text or None


def label_of(value: Any) -> str | None:
    """Return a label as text; None where there is none."""
    text = text_of(value)
    return None if text is None or text.casefold() in _NO_LABEL else text


def weight_of(value: Any, where: str, column: str) -> float:
    """Return the weight of an image. Raises ResomapError where it is no number above 0."""
    try:
        weight = float(value)
    except (TypeError, ValueError):
        weight = math.nan
    if not (0 < weight < math.inf):
        raise ResomapError(f"{where} has {value!r} in the column {column!r}, and a weight is a number more than 0")
    return weight


def with_splits(listing: Listing, data: Data, shard_names: Sequence[str] = ()) -> Listing:
    """Return the listing with the splits of its lines as `train`, `val` and `test`, and which of them are made here.

    Without a column of splits those in the names of the shards count, if each has one. Raises ResomapError for another
    word than a split's, a line without, splits without train or test.
    """
    if listing.chosen.split is None:
        named = splits_of_shards(data, shard_names)
        for line in listing.lines if named else ():
            line.split = named[line.table]
    else:
        known: dict[str | None, str] = {}
        for line in listing.lines:
            if line.split not in known:
                known[line.split] = split_of_value(line.split, listing.where(line), listing.chosen.split)
            line.split = known[line.split]
    found = {line.split for line in listing.lines if line.split}
    return replace(listing, split_here=split_here(found, listing.tables[0]))


def splits_of_shards(data: Data, shard_names: Sequence[str]) -> list[str]:
    """Return the split in the name of each shard; empty where any has none, or all are of one, or they do not count."""
    if data.columns.split != AUTO:
        return []
    named = [split_within(name) for name in shard_names]
    return [split for split in named if split] if all(named) and len(set(named)) > 1 else []


def split_of_value(value: str | None, where: str, column: str) -> str:
    """Return the split that a value of the column stands for. Raises ResomapError where it stands for none."""
    split = split_of_name(value) if value else None
    if split is None:
        raise ResomapError(
            f"{where} has {repr(value) if value else 'nothing'} in the column {column!r}, and a split is train, val or "
            f"test; mend it, or split here with {_SPLIT_HERE}"
        )
    return split


def split_here(found: Iterable[str], table: str) -> tuple[str, ...]:
    """Return the splits that are made here, given those that are there. Raises ResomapError without train or test."""
    given = set(found)
    if not given:
        return SPLITS
    missing = {"train", "test"} - given
    if missing:
        raise ResomapError(
            f"{table} has images of {' and '.join(sorted(given))} and none of {' and '.join(sorted(missing))}; add "
            f"them, or split all of them here with {_SPLIT_HERE}"
        )
    return () if "val" in given else ("train", "val")


def with_groups(listing: Listing, data: Data) -> tuple[Listing, int]:
    """Return the listing with its groups checked, and how many images have none, where they may stand alone.

    Raises ResomapError for a line without a group, one that stands for none, a group in two spellings, two sources.
    """
    if listing.chosen.group is None:
        return listing, 0
    table, column = listing.tables[0], listing.chosen.group
    if data.groups is not None:
        raise ResomapError(
            f"both `data.groups` and the column {column!r} of {table} give groups; leave out `data.groups`, or the "
            "column with --config 'data={columns: {group: null}}'"
        )
    alone = 0
    for line in listing.lines:
        if line.group is None or is_missing(line.group):
            if data.ungrouped != "alone":
                raise ResomapError(
                    f"{listing.where(line)} has no group in the column {column!r}; give {line.name} its group, let "
                    f"such images stand alone with {ALONE}, or use no groups with --config "
                    "'data={columns: {group: null}}'"
                )
            line.group = None
            alone += 1
    refuse_two_spellings(f"the column {column!r} of {table}", ((line.number, line.group) for line in listing.lines))
    return listing, alone
