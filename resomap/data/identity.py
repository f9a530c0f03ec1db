"""Identity of a data set: one digest that tells in a fraction of a second whether this is still the same data.

Light: no image is opened. The identity goes into every fingerprint, so it holds all that decides the prepared pixels
and their split, and nothing else: not the path of the folder, not the number of workers. Contents are hashed when the
images are prepared.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any

from resomap.config.hashed import hashed_additions
from resomap.config.schema import Data
from resomap.data import SPLITS
from resomap.data.clutter import HIDDEN, kind_of_clutter
from resomap.data.elpv import CLASSES, elpv_identity, elpv_root, labelled_cells
from resomap.data.folder import File, Scan, is_image_file, is_text_name, scan_of
from resomap.data.folds import require_possible
from resomap.data.image_groups import groups_facts
from resomap.data.source_kind import source_files
from resomap.data.tables import TableFacts, is_table, require_fitting, table_facts


def data_identity(data: Data) -> str:
    """Return the identity of the data, `describe(data).identity`: 64 hex digits."""
    return describe(data).identity


@dataclass(frozen=True)
class Description:
    """Facts of a source that are known without opening an image."""

    identity: str
    images: int  # files; some may turn out to be none
    channels: int  # at most
    classes: tuple[str, ...] = ()  # in their order; empty where they are not known


def describe(data: Data, is_to_be_dealt: bool = False) -> Description:
    """Describe a source without opening an image: its identity, number of files, channels, classes.

    The identity is 64 hex digits: SHA-256 over files (path, size), split rule, groups, policy for bad files and fit; of
    shards, in place of files, over their names, sizes and footers.
    Clutter and texts beside the images do not count; with `problems: skip`, where they always have counted, they do.
    Seed and shares of the split count only where the source is split here: with three folders of its own they change
    nothing, and must not retrain anything. A key of `data` later than recipe version 2 counts where it is not at its
    default (`resomap.config.hashed`). Raises ResomapError: no package, no folder, nothing in it; with
    `is_to_be_dealt` also more folds than a class has files.
    """
    found: Scan | None = None
    table: TableFacts | None = None
    files = source_files(data.source)
    require_fitting(files, data)
    facts: dict[str, Any] = {"problems": data.problems, "fit": data.fit}
    if is_table(files):
        table = table_facts(files, data)
        facts |= table.facts
        names, channels, classes, split_here = table.names, 3, table.classes, table.split_here
    elif data.source == "elpv":
        facts["elpv"] = elpv_identity()
        cells = labelled_cells(elpv_root())
        names, labels = [cell.name for cell in cells], [cell.label for cell in cells]
        channels, classes = 1, tuple(CLASSES)
        split_here = SPLITS
    else:
        found = scan_of(data)
        split_here = found.split_here
        names = [file.name for file in found.files]
        labels = [file.label for file in found.files if file.split != "test"]
        channels, classes = 3, classes_of(found)
    facts |= groups_facts(data, names)
    if later := hashed_additions(data, "data"):
        facts["later"] = later
    if data.folds is not None:
        if is_to_be_dealt:
            require_possible(data.folds, labels, data.problems)
        facts["split_seed"] = data.split_seed
    if split_here:
        facts["split"] = {name: getattr(data.split, name) for name in split_here}
        facts["split_seed"] = data.split_seed
        if (
            data.near_duplicates != "report" and data.folds is None
        ):  # the default leaves the identities of earlier versions as they were
            facts["near_duplicates"] = data.near_duplicates
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    if found:
        rows = ((os.fsencode(name), size) for name, size in _counted(found, data.problems))
        digest.update(b"".join(b"\n%d %s" % (size, name) for name, size in rows))
    if table:
        digest.update(b"".join(table.rows))
    images = table.images if table else len(names)
    return Description(digest.hexdigest(), images, data.channels or channels, classes)


def classes_of(found: Scan) -> tuple[str, ...]:
    """Return the classes with an image, in order; a file is looked into only where its suffix does not tell."""
    labels: set[str] = set()
    for file in found.files:
        if file.label not in labels and is_image_file(found.root, file.name, found.arrays):
            labels.add(file.label)
    return tuple(sorted(labels))


def _counted(found: Scan, problems: str) -> list[tuple[str, int]]:
    """Return (name, size) of what decides the list of images, sorted by name.

    With `error` no training ever began beside texts and clutter, so leaving them out changes no finished study; with
    `skip` it may have, and they stay in.
    """
    unreadable = [(name, -1) for name, _ in found.unreadable]
    if problems == "error":
        files = [file for file in found.files if not is_text_name(file.name)]
    else:
        files = found.files + [file for file in found.clutter if _always_counted(file)]
    return sorted([(file.name, file.size) for file in files] + unreadable)


def _always_counted(clutter: File) -> bool:
    name = clutter.name.rpartition("/")[2]
    return bool(name) and kind_of_clutter(name, is_folder=False) != HIDDEN and name not in ("Thumbs.db", "desktop.ini")
