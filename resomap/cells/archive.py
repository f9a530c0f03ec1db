"""Archive of trainings: files of other settings, set aside under their fingerprint and restored when those return.

A cell's checkpoint directory holds one training at a time, and so do the files beside its marker;
`set-aside/<fingerprint>/` in both directories holds the earlier ones, `set-aside/<fingerprint>-<digest>/` those of the
same settings that saw images of other content, which were edited in place since. `cell.json` names the training whose
checkpoints lie there; `done.json`, a copy of the marker, says that it is complete.
"""

import os
import shutil
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from resomap.cells.cell import Cell
from resomap.cells.marker import Marker
from resomap.core.files import read_json, write_json

EPOCH_RECORDS = "epochs.bin"
TRAINING_FILES = (
    *("cell.json", "done.json", "last.pt", "previous.pt", "best.pt", "decision.json", "final.pt"),
    EPOCH_RECORDS,  # of a fold's training, until it is finished (see out_of_fold.py)
)
UNKNOWN = "unknown"
SET_ASIDE = "set-aside"
_DIGEST_LENGTH = 12  # hex digits of a content digest in a directory's name
# Beside the marker, but of the cell and not of one training: they are appended to, whatever the settings.
CELL_FILES = ("log", "journal.jsonl", "journal.sent.json", "progress.json", "choice.json")


def identity_path(cell: Cell) -> Path:
    """Return the path of `cell.json`, which names the training (fingerprint, uid) that the cell's directory holds."""
    return cell.checkpoints / "cell.json"


def marker_copy_path(cell: Cell) -> Path:
    """Return the path of `done.json`, a copy of the marker, from which a lost marker is recovered."""
    return cell.checkpoints / "done.json"


def held_fingerprint(cell: Cell) -> str | None:
    """Return the fingerprint of the training in the cell's directory; None where the directory is empty.

    It is `unknown` where files lie there without a readable cell.json.
    """
    identity = read_json(identity_path(cell))
    if isinstance(identity, dict) and all(isinstance(identity.get(name), str) for name in ("fingerprint", "uid")):
        return str(identity["fingerprint"])
    return UNKNOWN if any((cell.checkpoints / name).exists() for name in TRAINING_FILES) else None


def held_uid(cell: Cell) -> str:
    """Return the uid of the training in the cell's directory, which `activate` has made one's own."""
    return str(read_json(identity_path(cell))["uid"])


def activate(cell: Cell, identity: dict[str, Any]) -> list[str]:
    """Make the training with this fingerprint (and `content_digest`) the one whose files lie in the cell's directories.

    Another training's files are set aside, this training's own are restored from there. Returns one sentence
    for each thing that was done. The caller holds the cell's lock.
    """
    fingerprint, content, notes = identity["fingerprint"], identity.get("content_digest"), []
    stored, stored_content = held_fingerprint(cell), _content_of(cell.checkpoints)
    if stored is not None and (stored != fingerprint or differ(stored_content, content)):
        what = "settings" if stored != fingerprint else "images"
        name = stored if stored != fingerprint else name_of(stored, stored_content)
        set_aside_results(cell, name)
        directory = set_aside_checkpoints(cell, name)
        notes.append(f"the {what} changed: the training {stored} is set aside in {directory}")
    if _restore(cell, fingerprint, content):
        notes.append(f"the training {fingerprint} with these settings is taken back from where it was set aside")
    if held_fingerprint(cell) is None:
        write_json(identity_path(cell), identity)
    return notes


def set_aside_checkpoints(cell: Cell, name: str) -> Path:
    """Move the cell's checkpoints below `set-aside/<name>`; return that directory.

    Under a fingerprint as the name they are found again when the settings return.
    """
    # cell.json last: until it has moved, the directory still says whose files these are.
    files = [cell.checkpoints / file for file in reversed(TRAINING_FILES)]
    target = _free_path(cell.checkpoints / SET_ASIDE / name, files)
    _move(files, target)
    return target


def activate_for(cell: Cell, marker: Marker) -> None:
    """Make the cell's directories those of a training that was made elsewhere. The caller holds the cell's lock."""
    # Another uid: a training that begins here one day is not the one that made these files.
    identity = {"fingerprint": marker.fingerprint, "uid": uuid.uuid4().hex, "cell": cell.name}
    activate(cell, {**identity, "content_digest": marker.content_digest})


def set_aside_results(cell: Cell, name: str, with_logs: bool = False) -> tuple[Path, int]:
    """Move the marker and the files beside it below `set-aside/<name>`; return that directory and the number of files.

    Log, journal, its receipt and the progress file stay, unless `with_logs` is true.
    """
    files = [path for path in files_beside_marker(cell) if with_logs or _extension(cell, path) not in CELL_FILES]
    target = _free_path(cell.marker.parent / SET_ASIDE / name, files)
    _move(files, target)
    return target, len(files)


def files_beside_marker(cell: Cell) -> list[Path]:
    """Return all files that share the marker's stem: `320.done`, but not those of another seed or fold."""
    files = sorted(cell.marker.parent.glob(f"{cell.marker.stem}.*")) if cell.marker.parent.is_dir() else []
    return [path for path in files if path.is_file() and not _extension(cell, path).startswith(("seed", "fold"))]


def recover_marker(cell: Cell, fingerprint: str, content_digest: str | None = None) -> bool:
    """Restore the marker, and with it the files, of a training that is complete; return True if there is one.

    It is looked for in the cell's directory and below `set-aside`; a training that saw other images than those of
    `content_digest` is none. The caller holds the cell's lock.
    """
    if not is_recoverable(cell, fingerprint, content_digest):
        return False
    if not _is_complete(marker_copy_path(cell), cell, fingerprint, content_digest):
        activate(cell, {"fingerprint": fingerprint, "content_digest": content_digest, "cell": cell.name})
    _restore(cell, fingerprint, content_digest)
    copy = Marker.read(marker_copy_path(cell))
    if copy is None or not copy.counts_for(cell, fingerprint, content_digest):
        return False  # the one set aside could not be restored: something else is in its way
    copy.write(cell.marker)
    return True


def checkpoint_directories(cell: Cell, fingerprint: str, content_digest: str | None = None) -> tuple[Path, ...]:
    """Return the directories in which checkpoints of a training can lie: the cell's, and those set aside."""
    names = dict.fromkeys((fingerprint, name_of(fingerprint, content_digest)))
    return cell.checkpoints, *(cell.checkpoints / SET_ASIDE / name for name in names)


def name_of(fingerprint: str, content_digest: str | None) -> str:
    """Return the name below `set-aside` of a training whose settings are the wanted ones, but not its images."""
    return f"{fingerprint}-{content_digest[:_DIGEST_LENGTH]}" if content_digest else fingerprint


def differ(content_digest: str | None, other: str | None) -> bool:
    """Return True if two content digests are known and of other images."""
    return bool(content_digest and other and content_digest != other)


def is_recoverable(cell: Cell, fingerprint: str, content_digest: str | None = None) -> bool:
    """Return True if the wanted training is complete but for its marker.

    Cheap (two small files), so that planning can ask for all cells.
    """
    if not cell.checkpoints.is_dir():
        return False
    directories = checkpoint_directories(cell, fingerprint, content_digest)
    return any(_is_complete(directory / "done.json", cell, fingerprint, content_digest) for directory in directories)


def _is_complete(copy: Path, cell: Cell, fingerprint: str, content_digest: str | None) -> bool:
    marker = Marker.read(copy)
    return marker is not None and marker.counts_for(cell, fingerprint, content_digest)


def _content_of(directory: Path) -> str | None:
    """Return the content digest of the images that a directory's training saw; None where it is not known."""
    identity, copy = read_json(directory / "cell.json"), Marker.read(directory / "done.json")
    known = identity.get("content_digest") if isinstance(identity, dict) else None
    return known if isinstance(known, str) else copy.content_digest if copy else None


def _restore(cell: Cell, fingerprint: str, content_digest: str | None) -> bool:
    """Move the files set aside of this training back where nothing is in the way; return True if any were."""
    restored = False
    for archived in checkpoint_directories(cell, fingerprint, content_digest)[1:]:
        is_wanted = archived.is_dir() and not differ(_content_of(archived), content_digest)
        # Its cell.json moves first: where that alone is here, a kill cut the move short.
        is_begun = held_fingerprint(cell) == fingerprint and not (archived / "cell.json").exists()
        if is_wanted and (is_begun or held_fingerprint(cell) is None):
            _move(
                [archived / file for file in TRAINING_FILES if not (cell.checkpoints / file).exists()], cell.checkpoints
            )
            if not any((archived / file).exists() for file in TRAINING_FILES):
                shutil.rmtree(archived, ignore_errors=True)
            restored = True
        results = cell.marker.parent / SET_ASIDE / archived.name
        marker = Marker.read(results / cell.marker.name)
        if marker is not None and marker.is_of_other_images(content_digest):
            continue
        files = sorted(results.glob(f"{cell.marker.stem}.*"))
        own = [path for path in files if not (cell.marker.parent / path.name).exists()]
        if own:
            _move(own, cell.marker.parent)
            restored = True
    return restored


def _extension(cell: Cell, path: Path) -> str:
    return path.name.removeprefix(f"{cell.marker.stem}.")


def _free_path(target: Path, files: Iterable[Path]) -> Path:
    """Return the path of a directory that has none of the files' names yet: the given one, or one beside it.

    The given one too where a kill cut the move short: what is left joins what had moved.
    """
    is_taken = any(path.exists() and (target / path.name).exists() for path in files)
    return target.with_name(f"{target.name}-{time.time_ns()}") if is_taken else target


def _move(files: Iterable[Path], target: Path) -> None:
    present = [path for path in files if path.exists()]
    if present:
        target.mkdir(parents=True, exist_ok=True)
    for path in present:
        os.replace(path, target / path.name)
