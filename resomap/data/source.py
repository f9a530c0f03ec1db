"""Source of the images with their labels, as it gives them: nothing opened, nothing split yet."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from resomap.config.schema import Data
from resomap.core.errors import ResomapError
from resomap.data import SPLITS
from resomap.data.clutter import count_clutter
from resomap.data.elpv import CLASSES, LICENCE, elpv_root, labelled_cells
from resomap.data.folder import is_image_file, scan_of, source_root
from resomap.data.image_formats import SUFFIXES
from resomap.data.image_groups import read_groups
from resomap.data.lines import Line, Listing
from resomap.data.location import InFile, InParquet, InTar, Location
from resomap.data.source_kind import SourceFiles, source_files
from resomap.data.tables import is_table, read_listing, require_fitting
from resomap.data.text_table import paths_root

CONTRADICTING = "lines that contradict another line of the image"
UNLABELLED = "images without a label"
NOT_LISTED = "shards and samples that cannot be read"


@dataclass(frozen=True)
class Item:
    """One image with its label."""

    location: Location  # of its bytes, absolute
    name: str  # relative to the source's root, with forward slashes: its name everywhere
    label: str  # its class
    split: str | None  # given by the source, else None
    stratum: str  # images of one stratum are spread over the splits by their shares
    group: str | None = None  # images of one group stay together
    weight: float | None = None  # in the loss, where it is trained on


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set before it is checked."""

    root: Path
    classes: list[str]  # sorted; folders without an image too
    items: list[Item]  # sorted by name
    split_here: tuple[str, ...]  # the splits that are made here: all three, train and val, or none
    wrong_type: list[str]  # names of files in class folders that are no images by suffix and content
    empty_folders: list[str]  # class folders without a file
    ignored: list[str]  # what lies beside the class folders
    taken_as: dict[str, str] = field(default_factory=dict)  # {folder: split} where its name is only like the split's
    unreadable: list[tuple[str, str]] = field(default_factory=list)  # (folder, reason)
    clutter: dict[str, int] = field(default_factory=dict)  # {kind: files} left out by their names
    ungrouped: int = 0  # images that the groups file does not name
    unused_groups: int = 0  # lines of the groups file that name no image
    licence: str | None = None
    # Of a table or of shards:
    shards: tuple[Path, ...] = ()  # that hold the images
    folder: str | None = None  # `data.columns.folder`
    image_column: str | None = None  # of Parquet that holds the images
    problems: list[tuple[str, str, str]] = field(default_factory=list)  # (kind, name, detail)
    remarks: list[str] = field(default_factory=list)


def root_of(source: str, folder: str | None = None) -> Path:
    """Return the absolute folder that item names start from; `folder` is `data.columns.folder`.

    Raises ResomapError where it does not exist.
    """
    if source == "elpv":
        return elpv_root()
    found = source_files(source)
    return paths_root(found.root, folder) if is_table(found) else source_root(source)


def location_of(root: Path, name: str, shard: str | None, place: Sequence[int] | None, column: str | None) -> Location:
    """Return the location of an image as a manifest keeps it: in `shard` below the root, or a file of its own name."""
    if shard is None or place is None:
        return InFile(root / name)
    first, second = place
    return InParquet(root / shard, column, first, second) if column else InTar(root / shard, first, second)


def read_source(data: Data) -> Source:
    """Walk the source; return its images. Raises ResomapError: no package, folder, images or fitting groups file."""
    found = source_files(data.source)
    require_fitting(found, data)
    if is_table(found):
        source = _read_table(found, data)
    else:
        source = _read_elpv() if found.kind == "elpv" else _read_folder(data)
    groups = read_groups(data, source.root, [item.name for item in source.items])
    if data.groups is None:
        return source
    items = [replace(item, group=groups.of.get(item.name)) for item in source.items]
    return replace(source, items=items, ungrouped=groups.ungrouped, unused_groups=groups.unused)


def _read_elpv() -> Source:
    root = elpv_root()
    items = [
        Item(InFile(root / cell.name), cell.name, cell.label, None, f"{cell.label}/{cell.material}")
        for cell in labelled_cells(root)
    ]
    return Source(
        root=root,
        classes=list(CLASSES),
        items=items,
        split_here=SPLITS,
        wrong_type=[],
        empty_folders=[],
        ignored=[],
        licence=LICENCE,
    )


def _read_folder(data: Data) -> Source:
    found = scan_of(data)
    names = {file.name for file in found.files if is_image_file(found.root, file.name, found.arrays)}
    images = [file for file in found.files if file.name in names]
    others = [file.name for file in found.files if file.name not in names]
    if not images:
        raise ResomapError(
            f"the class folders of {found.root} hold no images; ResoMap reads {', '.join(sorted(SUFFIXES))}, "
            "and .npy where data.channels says how many channels they have"
        )
    filled = {(file.split, file.label) for file in images}
    return Source(
        root=found.root,
        classes=sorted({label for _, label in found.class_folders}),
        items=[Item(InFile(found.root / file.name), file.name, file.label, file.split, file.label) for file in images],
        split_here=found.split_here,
        wrong_type=others,
        empty_folders=["/".join(filter(None, folder)) for folder in found.class_folders if folder not in filled],
        ignored=found.ignored,
        taken_as=found.taken_as,
        unreadable=found.unreadable,
        clutter=count_clutter(found.root, [file.name for file in found.clutter]),
    )


def _read_table(found: SourceFiles, data: Data) -> Source:
    listing, alone = read_listing(found, data)
    lines, problems, repeated = _one_each(listing)
    problems += [(NOT_LISTED, name, reason) for name, reason in listing.problems]
    labelled = [line for line in lines if line.label is not None]
    problems += [(UNLABELLED, line.name, listing.where(line)) for line in lines if line.label is None]
    if not labelled:
        raise ResomapError(f"no image of {listing.tables[0]} has a label in the column {listing.chosen.label!r}")
    columns = ", ".join(f"{use} from `{column}`" for use, column in listing.chosen.facts().items())
    remarks = [f"Columns: {columns}."]
    remarks += [f"{repeated:,} lines repeat another line."] if repeated else []
    remarks += [f"{alone:,} images have no group; each stands alone."] if alone else []
    labels = {str(line.label) for line in labelled}
    return Source(
        root=listing.root,
        classes=sorted(labels),
        items=[_item(line) for line in sorted(labelled, key=lambda line: line.name)],
        split_here=listing.split_here,
        wrong_type=[],
        empty_folders=[],
        ignored=[],
        clutter=listing.clutter,
        shards=listing.shards,
        folder=data.columns.folder,
        image_column=listing.image_column,
        problems=problems,
        remarks=remarks,
    )


def _item(line: Line) -> Item:
    label = str(line.label)
    return Item(line.location, line.name, label, line.split, label, line.group, line.weight)


def _one_each(listing: Listing) -> tuple[list[Line], list[tuple[str, str, str]], int]:
    """Return one line for each image, the problems of images whose lines contradict each other, and repeated lines.

    Of contradicting lines none is taken: nothing tells which is right.
    """
    first: dict[str, Line] = {}
    against: dict[str, Line] = {}
    repeated = 0
    for line in listing.lines:
        other = first.setdefault(line.name, line)
        if other is line:
            continue
        if (other.label, other.split, other.group, other.weight) != (line.label, line.split, line.group, line.weight):
            against.setdefault(line.name, line)
        else:
            repeated += 1
    problems = [
        (CONTRADICTING, name, f"{listing.where(first[name])} and {listing.where(line)}")
        for name, line in against.items()
    ]
    return [line for name, line in first.items() if name not in against], problems, repeated
