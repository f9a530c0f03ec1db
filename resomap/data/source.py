"""Source of the images with their labels, as it gives them: nothing opened, nothing split yet."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from resomap.config.schema import Data
from resomap.core.errors import ResomapError
from resomap.data import SPLITS
from resomap.data.clutter import count_clutter
from resomap.data.elpv import CLASSES, LICENCE, elpv_root, labelled_cells
from resomap.data.folder import is_image_file, scan, source_root
from resomap.data.image_formats import SUFFIXES
from resomap.data.image_groups import read_groups


@dataclass(frozen=True)
class Item:
    """One image file with its label."""

    path: Path  # absolute
    name: str  # relative to the source's root, with forward slashes: its name everywhere
    label: str  # its class
    split: str | None  # given by the source, else None
    stratum: str  # images of one stratum are spread over the splits by their shares
    group: str | None = None  # images of one group stay together


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


def root_of(source: str) -> Path:
    """Return the absolute folder that item names start from. Raises ResomapError where it does not exist."""
    return elpv_root() if source == "elpv" else source_root(source)


def read_source(data: Data) -> Source:
    """Walk the source; return its images. Raises ResomapError: no package, folder, images or fitting groups file."""
    source = _read_elpv() if data.source == "elpv" else _read_folder(data)
    groups = read_groups(data, source.root, [item.name for item in source.items])
    if data.groups is None:
        return source
    items = [replace(item, group=groups.of.get(item.name)) for item in source.items]
    return replace(source, items=items, ungrouped=groups.ungrouped, unused_groups=groups.unused)


def _read_elpv() -> Source:
    root = elpv_root()
    items = [
        Item(root / cell.name, cell.name, cell.label, None, f"{cell.label}/{cell.material}")
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
    found = scan(source_root(data.source), data.layout)
    names = {file.name for file in found.files if is_image_file(found.root, file.name)}
    images = [file for file in found.files if file.name in names]
    others = [file.name for file in found.files if file.name not in names]
    if not images:
        raise ResomapError(
            f"the class folders of {found.root} hold no images; ResoMap reads {', '.join(sorted(SUFFIXES))}"
        )
    filled = {(file.split, file.label) for file in images}
    return Source(
        root=found.root,
        classes=sorted({label for _, label in found.class_folders}),
        items=[Item(found.root / file.name, file.name, file.label, file.split, file.label) for file in images],
        split_here=found.split_here,
        wrong_type=others,
        empty_folders=["/".join(filter(None, folder)) for folder in found.class_folders if folder not in filled],
        ignored=found.ignored,
        taken_as=found.taken_as,
        unreadable=found.unreadable,
        clutter=count_clutter(found.root, [file.name for file in found.clutter]),
    )
