"""Manifest (manifest.json): the list of the images that a study uses, with digest, label and split of each."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from resomap.config.schema import Data
from resomap.core.errors import ResomapError
from resomap.core.files import read_json, write_json
from resomap.core.json_object import known_values
from resomap.core.sealed_json import break_seal, sealed
from resomap.data import SPLITS
from resomap.data.bands import Bands
from resomap.data.changes import MANIFEST as FILE
from resomap.data.changes import FileRecord, records_of, stamp_of, write_records
from resomap.data.check import (
    counts,
    short_sides,
    stop_on_other_channels,
    stop_on_problems,
    straddling_sentence,
    write_report,
)
from resomap.data.identity import data_identity
from resomap.data.inspection import inspect_all, white_level
from resomap.data.location import InFile, InParquet, InTar, Location
from resomap.data.pixels import WhiteLevel
from resomap.data.selection import Chosen, Selection, select
from resomap.data.source import location_of, read_source, root_of

SCHEMA = 1


@dataclass(frozen=True)
class Entry:
    """One image of the study."""

    name: str  # relative to the source's root
    sha256: str  # of the file
    label: int  # index into the manifest's classes
    split: str  # train, val or test
    width: int  # pixels, upright
    height: int
    mode: str  # Pillow's name of how the file stores its pixels
    # Manifests of earlier versions lack what follows.
    group: str | None = None  # the user's (`data.groups`)
    fold: int | None = None  # that it judges, counted from 1; None in the test split and without folds
    block: str | None = None  # name of the first image of its block (see image_blocks.py); None where it stands alone
    weight: float | None = None  # in the loss, where it is trained on
    shard: str | None = None  # that holds it, relative to the root; None: a file of its own
    place: tuple[int, ...] | None = None  # in the shard: offset and bytes in a tar, row group and row in Parquet


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Facts of the source that the later steps need, so that they need not walk it again."""

    identity: str  # as data_identity gave it when the images were checked
    source: str  # `data.source` as configured
    folder: str | None = None  # `data.columns.folder`
    image_column: str | None = None  # of Parquet that holds the images
    fit: str
    white_level: WhiteLevel = "each"  # the scale of files that do not tell theirs: see resomap/data/pixels.py
    classes: list[str]
    channels: int  # 1 where all images are grey, else 3, or what `data.channels` says
    bands: dict[str, Any] | None = None  # `Bands.as_json`, where the study names its channels
    content_digest: str
    native_size: dict[str, int]  # short side in pixels: median, min, max
    counts: dict[str, dict[str, int]]  # {split: {class: images}}
    licence: str | None
    entries: list[Entry]  # sorted by name

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that there are: with folds val is none of its own."""
        return tuple(split for split in SPLITS if split in self.counts)

    def of(self, split: str) -> list[Entry]:
        """Return the images of `train`, `val` or `test`, sorted by name."""
        return [entry for entry in self.entries if entry.split == split]

    def holding(self, split: str) -> str:
        """Return the split that has the images of a split: with folds those of val are in train."""
        return split if split in self.splits else "train"

    def locations(self, entries: Iterable[Entry]) -> dict[str, Location]:
        """Return where the bytes of images lie, by name. Raises ResomapError where the source is not there."""
        root, column = root_of(self.source, self.folder), self.image_column
        return {one.name: location_of(root, one.name, one.shard, one.place, column) for one in entries}

    def _facts(self) -> Iterator[list[str]]:
        """Yield what the content digest is of, for images that are read as versions without seals read them."""
        for entry in self.entries:
            yield [entry.name, entry.sha256, self.classes[entry.label], _place(entry.split, entry.fold)]

    def save(self, directory: Path) -> None:
        """Write manifest.json atomically."""
        write_json(directory / FILE, sealed({"schema": SCHEMA, **asdict(self)}))

    @classmethod
    def load(cls, directory: Path) -> "Manifest":
        """Read manifest.json. Raises ResomapError where there is none, a damaged one, or one of another version."""
        values: Any = read_json(directory / FILE)
        try:
            is_sealed = break_seal(values)
            if values.pop("schema") != SCHEMA:
                raise ValueError
            entries = [_entry(content, len(values["classes"])) for content in values.pop("entries")]
            found = cls(**values, entries=entries)
            if not is_sealed and _digest(found._facts()) != found.content_digest:
                raise ValueError  # written before there were seals, and changed since
            return found
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ResomapError(
                f"{directory / FILE} is missing or damaged; remove it and run the same snakemake command "
                "again, which checks the images anew"
            ) from None


def _entry(content: Any, classes: int) -> Entry:
    known = known_values(Entry, content)
    if known is None or not 0 <= known["label"] < classes:
        raise ValueError
    return Entry(**known)


def make_manifest(data: Data, directory: Path, workers: int) -> Manifest:
    """Check every image and write check.md, check.json and, where nothing stops it, manifest.json.

    Raises ResomapError as `read_source` does; PermanentFailure, after the report is written, for problems
    under `data.problems: error`, fewer than two classes or an empty split.
    """
    (directory / FILE).unlink(missing_ok=True)  # one that is left after a failure would speak of other images
    identity = data_identity(data)
    source = read_source(data)
    print(f"checking {len(source.items):,} images of {data.source}", flush=True)
    stamps = {shard: stamp_of(shard) for shard in source.shards}  # before what is in them
    bands = Bands.of(data)
    seen = inspect_all(source.items, workers, bands)
    selection = select(source, seen, data)
    report = write_report(directory, data.source, data.problems, selection)
    if said := straddling_sentence(data.near_duplicates == "together", source.split_here, selection, report):
        print(said, flush=True)
    stop_on_other_channels(data, seen.values())
    stop_on_problems(data.problems, selection, report)
    manifest = Manifest(
        identity=identity,
        source=data.source,
        folder=source.folder,
        image_column=source.image_column,
        fit=data.fit,
        classes=selection.classes,
        channels=max(image.seen.channels for image in selection.chosen),
        content_digest=_content_digest(selection.chosen),
        white_level=white_level(seen.values()),
        native_size=short_sides(selection.chosen),
        counts=counts(selection),
        licence=source.licence,
        bands=bands.as_json() if bands else None,
        entries=_entries(selection, source.root),
    )
    records = [FileRecord(one.name, one.stamp, one.sha256) for one in seen.values()]
    if source.shards:
        records = records_of(source.root, stamps)
    write_records(directory, identity, manifest.content_digest, records)
    manifest.save(directory)
    return manifest


def _entries(selection: Selection, root: Path) -> list[Entry]:
    index = {label: number for number, label in enumerate(selection.classes)}
    sizes = Counter(image.block for image in selection.chosen)
    return [
        Entry(
            name=image.item.name,
            sha256=image.seen.sha256,
            label=index[image.item.label],
            split=image.split,
            width=image.seen.width,
            height=image.seen.height,
            mode=image.seen.mode,
            group=image.item.group,
            fold=image.fold,
            block=image.block if sizes[image.block] > 1 else None,
            weight=image.item.weight,
            **_shard_and_place(image.item.location, root),
        )
        for image in selection.chosen
    ]


def _shard_and_place(location: Location, root: Path) -> dict[str, Any]:
    if isinstance(location, InFile):
        return {}
    if isinstance(location, InTar):
        shard, place = location.archive, (location.offset, location.size)
    else:
        assert isinstance(location, InParquet)
        shard, place = location.file, (location.row_group, location.row)
    return {"shard": shard.relative_to(root).as_posix(), "place": place}


def _content_digest(chosen: Iterable[Chosen]) -> str:
    """Return 64 hex digits over (name, file digest, class, split or fold) of all images: what "the same data" means.

    Where the same file gives other pixels than earlier versions read from it, the way that it is read counts too.
    """
    facts = []
    for image in chosen:
        known = [image.item.name, image.seen.sha256, image.item.label, _place(image.split, image.fold)]
        facts.append([*known, image.seen.correction] if image.seen.correction else known)
    return _digest(facts)


def _place(split: str, fold: int | None) -> str:
    return split if fold is None else f"fold {fold}"


def _digest(facts: Iterable[Sequence[str]]) -> str:
    rows = sorted("\0".join(one) for one in facts)
    return hashlib.sha256(os.fsencode("\n".join(rows))).hexdigest()
