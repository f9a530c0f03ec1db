"""Tables and shards as a data source: their listing, and what a plan needs of them without opening an image."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from resomap.config.schema import Columns, Data
from resomap.core.errors import ResomapError
from resomap.data.lines import Listing, split_here, split_of_value, splits_of_shards, with_groups, with_splits
from resomap.data.location import InFile
from resomap.data.parquet_shards import ParquetFiles, footer_digest
from resomap.data.source_kind import SourceFiles
from resomap.data.tar_shards import end_digest, read_tar_shards
from resomap.data.text_table import read_text_tables

_TABLES = ("text", "parquet", "tar")


@dataclass(frozen=True)
class TableFacts:
    """Facts of a table or of shards for a plan."""

    facts: dict[str, object]  # for the identity
    rows: Iterable[bytes]  # for the identity too: one for each image, where images are files of their own
    images: int
    classes: tuple[str, ...]
    split_here: tuple[str, ...]
    names: list[str]  # of the images, where `data.groups` has to know them


def is_table(found: SourceFiles) -> bool:
    """Return True for a source that is a table or shards."""
    return found.kind in _TABLES


def require_fitting(found: SourceFiles, data: Data) -> None:
    """Raise ResomapError for settings of `data` that have no meaning for this kind of source."""
    if not is_table(found):
        if data.columns != Columns():
            raise ResomapError(
                f"`data.columns` is set, and `data.source` {data.source} is no table and no shards; leave it out"
            )
        return
    if data.layout != "auto":
        raise ResomapError("`data.layout` is of folders, and `data.source` is a table; leave it out")
    holds_images = found.kind == "tar"
    if found.kind == "parquet" and (data.on_disk == "never" or data.columns.folder is not None or data.columns.suffix):
        holds_images = ParquetFiles(found, data).holds_images
        if holds_images and data.on_disk == "never":
            raise ResomapError(
                "`data.on_disk: never` decodes single images, and Parquet is read by whole row groups; use `auto`, or "
                "tar shards, a table of paths or a folder"
            )
    if holds_images and (data.columns.folder is not None or data.columns.suffix):
        raise ResomapError(
            f"`data.columns.folder` and `suffix` are of paths, and the shards of {found.root} hold the images; leave "
            "them out"
        )


def read_listing(found: SourceFiles, data: Data) -> tuple[Listing, int]:
    """Return the listing of a table or of shards, its splits and groups checked, and how many images have no group.

    Raises ResomapError for whatever makes all of it unusable.
    """
    if found.kind == "text":
        listing = read_text_tables(found, data)
    elif found.kind == "tar":
        listing = read_tar_shards(found, data)
    else:
        listing = ParquetFiles(found, data).listing()
    return with_groups(with_splits(listing, data, _shard_names(found)), data)


def read_images_alone(found: SourceFiles, data: Data) -> Listing:
    """Return the listing of the images of a table or of shards, with or without labels.

    Raises ResomapError for whatever makes all of it unusable.
    """
    if found.kind == "text":
        return read_text_tables(found, data, is_labelled=False)
    if found.kind == "tar":
        return read_tar_shards(found, data, is_labelled=False)
    return ParquetFiles(found, data, is_labelled=False).listing()


def table_facts(found: SourceFiles, data: Data) -> TableFacts:
    """Return the facts of a table or of shards. Raises ResomapError as `read_listing` does, rows of Parquet apart.

    Of Parquet with images only footers, labels and splits are read.
    """
    if found.kind == "parquet" and (files := ParquetFiles(found, data)).holds_images:
        return _of_parquet(files, found, data)
    listing, _ = read_listing(found, data)
    facts: dict[str, object] = {"table": "tar" if listing.shards else "paths"}
    rows: Iterable[bytes] = ()
    if listing.shards:
        facts |= {"shards": [[found.name(file), file.stat().st_size, end_digest(file)] for file in found.files]}
        facts |= {"columns": listing.chosen.facts(), "named_splits": bool(splits_of_shards(data, _shard_names(found)))}
    else:
        rows = _rows(listing)
    return TableFacts(
        facts=facts,
        rows=rows,
        images=len(listing.lines),
        classes=tuple(sorted({line.label for line in listing.lines if line.label})),
        split_here=listing.split_here,
        names=[line.name for line in listing.lines] if data.groups is not None else [],
    )


def _of_parquet(files: ParquetFiles, found: SourceFiles, data: Data) -> TableFacts:
    chosen = files.chosen
    assert chosen.label is not None  # it was asked for
    labels = {files.label(value) for values in files.distinct(chosen.label) for value in values}
    named = splits_of_shards(data, _shard_names(found)) if chosen.split is None else []
    splits = set(named)
    if chosen.split is not None:
        for file, values in zip(found.files, files.distinct(chosen.split), strict=True):
            splits |= {split_of_value(value and str(value), f"a row of {file}", chosen.split) for value in values}
    return TableFacts(
        facts={
            "table": "parquet",
            "shards": [[found.name(file), file.stat().st_size, footer_digest(file)] for file in found.files],
            "columns": chosen.facts(),
            "named_splits": bool(named),
        },
        rows=(),
        images=sum(files.rows()),
        classes=tuple(sorted(label for label in labels if label is not None)),
        split_here=split_here(splits, str(found.files[0])),
        names=[line.name for line in files.listing().lines] if data.groups is not None else [],
    )


def _rows(listing: Listing) -> Iterator[bytes]:
    """Yield what decides the images of a table of paths, sorted: name, size and what the columns say of each."""
    rows = []
    for line in listing.lines:
        assert isinstance(line.location, InFile)
        values = [line.name, line.label, line.split, line.group, line.weight]
        rows.append(("\0".join("" if value is None else str(value) for value in values), _size(line.location)))
    for text, size in sorted(rows):
        yield b"\n%d %s" % (size, os.fsencode(text))


def _size(location: InFile) -> int:
    try:
        return os.stat(location.path).st_size
    except (OSError, ValueError):
        return -1


def _shard_names(found: SourceFiles) -> list[str]:
    return [found.name(file) for file in found.files] if found.kind in ("parquet", "tar") else []
