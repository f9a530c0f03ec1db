"""Clutter among the images, known by its name: what file managers, network drives and downloads leave behind.

It is left out and counted, never opened. Names are compared without regard to case: `Thumbs.db` is `thumbs.db` to the
systems that write it.
"""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

HIDDEN = "hidden files and folders"

_FOLDERS = {
    name.lower(): name
    for name in (
        *("@eaDir", "@tmp", "#recycle", "#snapshot"),  # Synology: thumbnails of every image, deleted files
        *("@Recycle", "@Recently-Snapshot", "@__thumb"),  # QNAP
        *("$RECYCLE.BIN", "RECYCLER", "System Volume Information"),  # Windows
        *("__MACOSX", "Network Trash Folder", "Temporary Items"),  # macOS; the first from its archives
        *("lost+found", "__pycache__"),
    )
}
_FILES = frozenset(
    {"thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini", "icon\r", "icon\uf00d"}
)
# Downloads under way, temporary copies, and the mark that Windows puts on downloaded files.
_ENDINGS = (
    *(".part", ".partial", ".filepart", ".crdownload", ".opdownload", ".download", ".aria2", ".!ut", ".!qb"),
    *(".tmp", "~", "zone.identifier"),
)


def kind_of_clutter(name: str, is_folder: bool) -> str | None:
    """Return the kind of clutter that a file's or folder's own name tells, in words; None where it is none."""
    if name.startswith("."):
        return HIDDEN
    lower = name.lower()
    if is_folder:
        if lower.startswith("found.") and lower.removeprefix("found.").isdigit():  # what chkdsk found
            return f"files in {lower}/"
        return f"files in {_FOLDERS[lower]}/" if lower in _FOLDERS else None
    if lower in _FILES or lower.startswith("thumbs.db:"):
        return lower.strip("\r\uf00d").partition(":")[0]
    if name.startswith("~$"):
        return "~$ files"
    if lower.endswith(_ENDINGS):
        return next(f"{ending} files" for ending in _ENDINGS if lower.endswith(ending))
    return None


def count_clutter(root: Path, names: Iterable[str]) -> dict[str, int]:
    """Return {kind: files} of clutter, given by names below `root` (a folder's ends with a slash), most first.

    Folders are walked for it, as far as they can be read: an unreadable one counts as one.
    """
    found: Counter[str] = Counter()
    for name in names:
        is_folder = name.endswith("/")
        kind = kind_of_clutter(PurePosixPath(name).name, is_folder)
        count = sum(len(files) for _, _, files in os.walk(root / name)) if is_folder and kind != HIDDEN else 1
        found[kind or HIDDEN] += max(1, count)
    return dict(found.most_common())
