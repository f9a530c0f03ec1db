"""Files of the images: paths and sizes of the prepared ones, and whether the source's were changed in place."""

import math
import struct
import sys
from pathlib import Path

from resomap.cells.study import Study
from resomap.core.files import open_regular, read_json
from resomap.core.sealed_json import break_seal
from resomap.data import DATA_DIRECTORY
from resomap.data.changes import CheckedFiles, follow_source, named
from resomap.data.source import root_of

MANIFEST = DATA_DIRECTORY / "manifest.json"
HEAD_BYTES = 65536  # of manifest.json, in which the facts of the set stand; its list of images can be long
PREAMBLE = 10  # bytes of a .npy file before its header: magic, version, the header's length


def store_file(resolution: int) -> Path:
    """Return the path of a resolution's store.json, which marks its images as prepared: they lie beside it."""
    return DATA_DIRECTORY / str(resolution) / "store.json"


def ready_file(resolutions: str) -> Path:
    """Return the path of the ready file for several resolutions, `224-320` in one file's name."""
    return DATA_DIRECTORY / f"{resolutions}.ready"


def is_scaled_by_each_image() -> bool:
    """Return True if an earlier version checked the images and scaled each of unknown depth by its own values.

    Such a list of images is made again, so that all of them have one scale.
    """
    try:
        with open_regular(MANIFEST) as stream:
            head = stream.read(HEAD_BYTES)
    except OSError:
        return False
    if b'"white_level"' in head:
        return False
    report = read_json(MANIFEST.with_name("check.json"))
    modes = report.get("modes") if isinstance(report, dict) else None
    return isinstance(modes, dict) and not modes.keys().isdisjoint(("I", "F"))


def broken_file(place: Path, splits: tuple[str, ...]) -> Path | None:
    """Return store.json where it is damaged, else an array that is missing or of another size; None where all fit.

    What is in the arrays is verified by who reads them.
    """
    description = place / "store.json"
    content = read_json(description)
    try:
        break_seal(content)
        is_stored = content.get("is_stored", True)
    except (AttributeError, TypeError, ValueError):
        return description if description.exists() else None
    if is_stored is False:
        return None
    for split in splits:
        path = place / f"{split}.npy"
        try:
            expected = math.prod(content["splits"][split]["shape"])
            with open_regular(path) as stream:
                preamble = stream.read(PREAMBLE)
            header = struct.unpack("<8xH", preamble)[0]
            if path.stat().st_size != PREAMBLE + header + expected:
                return path
        except (OSError, KeyError, TypeError, struct.error):
            return path
    return None


def look_for_changes(study: Study, is_dry_run: bool) -> bool:
    """Return True if files of the source have another content than when they were checked, which is said.

    Only files with another time or inode than then are read, and none in a dry run, which says how many there are.
    Before the plan, not in the job that checks the images: whether a finished training still counts depends on it.
    """
    digest = study.content_digest
    if digest is None:
        return False  # not checked yet, or other files: the step `data` reads them all
    data = study.config.data
    files = CheckedFiles(root_of(data.source, data.columns.folder), study.data_identity, digest)
    again = files.to_read_again()
    if is_dry_run:
        if again:
            print(
                f"{len(again):,} files to re-read, whose times or inodes are others than when they were checked: "
                f"{named([file.name for file in again])}; where contents differ, all is trained anew",
                file=sys.stderr,
            )
        return False
    changed = files.changed(again, lambda words: print(words, file=sys.stderr, flush=True))
    if changed:
        print(
            f"{len(changed):,} files have other contents than when they were checked: {named(changed)}; the images "
            "are checked and prepared anew, and what was trained on the former ones is trained anew",
            file=sys.stderr,
        )
        return True
    follow_source(data.source, folder=data.columns.folder)
    return False
