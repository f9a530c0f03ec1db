"""Sets all that belongs to a training aside under its fingerprint when settings change, and finds it again.

A cell's checkpoint directory holds one training at a time, and so do the files beside its marker;
`set-aside/<fingerprint>/` in both places holds the earlier ones. `cell.json` names the training whose checkpoints
lie there; `done.json`, the marker's twin, says that it is complete.
"""

import os
import shutil
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from resomap.cells.cell import Cell
from resomap.cells.marker import Marker
from resomap.core.files import read_json, write_json

OWNED = ("cell.json", "done.json", "last.pt", "previous.pt", "best.pt", "final.pt")
UNKNOWN = "unknown"
ASIDE = "set-aside"
# Beside the marker, but of the cell and not of one training: they are appended to, whatever the settings.
LASTING = ("log", "journal.jsonl", "journal.sent.json", "progress.json")


def identity_path(cell: Cell) -> Path:
    """`cell.json`: which training (fingerprint, uid) the cell's directory holds."""
    return cell.checkpoints / "cell.json"


def twin_path(cell: Cell) -> Path:
    """`done.json`: the marker's content once more, from which a lost marker comes back."""
    return cell.checkpoints / "done.json"


def held_fingerprint(cell: Cell) -> str | None:
    """Fingerprint of the training in the cell's directory; None where the directory is empty.

    Files without a readable cell.json belong to nobody knows which training: `unknown`.
    """
    stored = read_json(identity_path(cell))
    if isinstance(stored, dict) and isinstance(stored.get("fingerprint"), str):
        return stored["fingerprint"]
    return UNKNOWN if any((cell.checkpoints / name).exists() for name in OWNED) else None


def claim(cell: Cell, identity: dict[str, Any]) -> list[str]:
    """Make the cell's places belong to the training with `identity["fingerprint"]`.

    Another training's files are set aside, this training's own are taken back from there. Returns one sentence
    for each thing that was done. The caller holds the cell's lock.
    """
    fingerprint, notes = identity["fingerprint"], []
    held = held_fingerprint(cell)
    if held is not None and held != fingerprint:
        put_results_aside(cell, held)
        notes.append(f"the settings changed: the training {held} is set aside in {put_aside(cell, held)}")
    if _take_back(cell, fingerprint):
        notes.append(f"the training {fingerprint} with these settings is taken back from where it was set aside")
    if held_fingerprint(cell) is None:
        write_json(identity_path(cell), identity)
    return notes


def put_aside(cell: Cell, name: str) -> Path:
    """Move the cell's checkpoints below `set-aside/<name>`; returns that directory. A fingerprint as the name is
    found again when the settings return.
    """
    target = _free(cell.checkpoints / ASIDE / name)
    # cell.json last: until it has moved, the directory still says whose files these are.
    _move([cell.checkpoints / owned for owned in reversed(OWNED)], target)
    return target


def put_results_aside(cell: Cell, name: str, lasting: bool = False) -> tuple[Path, int]:
    """Move the marker and what lies beside it below `set-aside/<name>`; that directory, and how many files went.

    Log and journal stay, unless `lasting` is true.
    """
    target = _free(cell.marker.parent / ASIDE / name)
    files = [path for path in files_beside_marker(cell) if lasting or _extension(cell, path) not in LASTING]
    _move(files, target)
    return target, len(files)


def files_beside_marker(cell: Cell) -> list[Path]:
    """All files that share the marker's stem: `320.done`, but not `320.seed1.done` for the first seed."""
    files = sorted(cell.marker.parent.glob(f"{cell.marker.stem}.*")) if cell.marker.parent.is_dir() else []
    return [path for path in files if path.is_file() and not _extension(cell, path).startswith("seed")]


def recover_marker(cell: Cell, fingerprint: str) -> bool:
    """Bring back the marker, and with it the files, of a training that is complete; True where there is one.

    Looks in the cell's directory and on the shelf. The caller holds the cell's lock.
    """
    if not is_recoverable(cell, fingerprint):
        return False
    if not _is_complete(twin_path(cell), cell, fingerprint):
        claim(cell, {"fingerprint": fingerprint, "cell": cell.name})
    _take_back(cell, fingerprint)
    twin = Marker.read(twin_path(cell))
    if twin is None or not twin.counts_for(cell, fingerprint):
        return False  # the one on the shelf could not come back: something else is in its way
    twin.write(cell.marker)
    return True


def places(cell: Cell, fingerprint: str) -> tuple[Path, Path]:
    """Where checkpoints of the training with this fingerprint can lie: its cell's directory, and the shelf."""
    return cell.checkpoints, cell.checkpoints / ASIDE / fingerprint


def is_recoverable(cell: Cell, fingerprint: str) -> bool:
    """Whether the wanted training is complete without its marker. Cheap (two small files): planning asks for all."""
    if not cell.checkpoints.is_dir():
        return False
    return any(_is_complete(place / "done.json", cell, fingerprint) for place in places(cell, fingerprint))


def _is_complete(twin: Path, cell: Cell, fingerprint: str) -> bool:
    marker = Marker.read(twin)
    return marker is not None and marker.counts_for(cell, fingerprint)


def _take_back(cell: Cell, fingerprint: str) -> bool:
    """Move what is on the shelf under this fingerprint to its places, where nothing is in the way."""
    taken = False
    shelved = cell.checkpoints / ASIDE / fingerprint
    if shelved.is_dir() and held_fingerprint(cell) is None:
        _move([shelved / owned for owned in OWNED], cell.checkpoints)
        shutil.rmtree(shelved, ignore_errors=True)
        taken = True
    results = cell.marker.parent / ASIDE / fingerprint
    own = [
        path for path in sorted(results.glob(f"{cell.marker.stem}.*")) if not (cell.marker.parent / path.name).exists()
    ]
    if own:
        _move(own, cell.marker.parent)
        taken = True
    return taken


def _extension(cell: Cell, path: Path) -> str:
    return path.name.removeprefix(f"{cell.marker.stem}.")


def _free(target: Path) -> Path:
    """The directory itself, or a neighbour of it where it is taken."""
    return target.with_name(f"{target.name}-{time.time_ns()}") if target.exists() else target


def _move(files: Iterable[Path], target: Path) -> None:
    present = [path for path in files if path.exists()]
    if present:
        target.mkdir(parents=True, exist_ok=True)
    for path in present:
        os.replace(path, target / path.name)
