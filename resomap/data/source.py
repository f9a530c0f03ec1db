"""Source of the images with their labels, as it gives them: nothing opened, nothing split yet."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from resomap.config.schema import Data
from resomap.core.errors import ResomapError
from resomap.data import SPLITS
from resomap.data.elpv import CLASSES, LICENCE, elpv_root, labelled_cells
from resomap.data.folder import scan, source_root
from resomap.data.image_formats import SUFFIXES, is_image


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
    ungrouped: int = 0  # images that the groups file does not name
    unused_groups: int = 0  # lines of the groups file that name no image
    licence: str | None = None


def root_of(source: str) -> Path:
    """Return the absolute folder that item names start from. Raises ResomapError where it does not exist."""
    return elpv_root() if source == "elpv" else source_root(source)


def read_source(data: Data) -> Source:
    """Walk the source; return its images. Raises ResomapError: no package, folder, images or fitting groups file."""
    source = _read_elpv() if data.source == "elpv" else _read_folder(data.source)
    return _with_groups(source, Path(data.groups).expanduser().absolute()) if data.groups else source


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


def _read_folder(folder: str) -> Source:
    found = scan(source_root(folder))
    names = {file.name for file in found.files if is_image(found.root / file.name)}
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
    )


def _with_groups(source: Source, path: Path) -> Source:
    group_of = _read_groups(path)
    names = {item.name for item in source.items}
    known = group_of.keys() & names
    if not known:
        raise ResomapError(
            f"the groups file {path} names none of the images; its paths must be relative to {source.root}, "
            f"such as {source.items[0].name}"
        )
    return replace(
        source,
        items=[replace(item, group=group_of.get(item.name)) for item in source.items],
        ungrouped=len(names) - len(known),
        unused_groups=len(group_of) - len(known),
    )


def _read_groups(path: Path) -> dict[str, str]:
    """Return {image name: group} of a CSV file with the columns path and group (others are left alone)."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:  # spreadsheets write the mark at the start
            reader = csv.DictReader(stream)
            missing = {"path", "group"} - set(reader.fieldnames or [])
            if missing:
                raise ResomapError(
                    f"the groups file {path} lacks the column {' and '.join(sorted(missing))}; its first "
                    "line must be `path,group`"
                )
            group_of: dict[str, str] = {}
            for row in reader:
                name, group = (row["path"] or "").strip(), (row["group"] or "").strip()
                if not name or not group:
                    raise ResomapError(f"the groups file {path}, line {reader.line_num} needs a path and a group")
                name = PurePosixPath(name.replace("\\", "/")).as_posix()
                if group_of.setdefault(name, group) != group:
                    raise ResomapError(f"the groups file {path} puts {name} into two groups; keep one line of it")
            return group_of
    except OSError as error:
        raise ResomapError(f"the groups file {path} cannot be read: {error.strerror}; mend `data.groups`") from None
    except (UnicodeDecodeError, csv.Error):
        raise ResomapError(f"the groups file {path} is not CSV text in UTF-8; mend `data.groups`") from None
