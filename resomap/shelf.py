"""Sets a cell's checkpoints aside under their fingerprint when its settings change, and finds them again.

A cell's directory holds one training at a time; `set-aside/<fingerprint>/` below it holds the earlier ones.
`cell.json` names the training that lies there; `done.json`, the marker's twin, says that it is complete.
"""

import os
import shutil
import time
from pathlib import Path
from typing import Any

from resomap.cell import Cell
from resomap.files import read_json, write_json
from resomap.marker import is_valid, read_marker, write_marker

OWNED = ("cell.json", "done.json", "last.pt", "previous.pt", "best.pt", "final.pt")
UNKNOWN = "unknown"


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
    """Make the cell's directory belong to the training with `identity["fingerprint"]`.

    Another training's files are set aside, this training's own are taken back from there. Returns one sentence
    for each thing that was done. The caller holds the cell's lock.
    """
    fingerprint, notes = identity["fingerprint"], []
    held = held_fingerprint(cell)
    if held is not None and held != fingerprint:
        notes.append(f"the settings changed: the training {held} is set aside in {put_aside(cell, held)}")
    if held != fingerprint and _shelf(cell, fingerprint).is_dir():
        _move(_shelf(cell, fingerprint), cell.checkpoints)
        notes.append(f"the training {fingerprint} with these settings is taken back from where it was set aside")
    if held_fingerprint(cell) is None:
        write_json(identity_path(cell), identity)
    return notes


def put_aside(cell: Cell, name: str) -> Path:
    """Move the cell's files below `set-aside/<name>`; returns that directory. A fingerprint as the name is found
    again when the settings return.
    """
    target = _shelf(cell, name)
    if target.exists():
        target = target.with_name(f"{target.name}-{time.time_ns()}")
    _move(cell.checkpoints, target)
    return target


def recover_marker(cell: Cell, fingerprint: str) -> bool:
    """Write the marker of a complete training whose marker is gone; True where that was possible.

    Looks in the cell's directory and on the shelf. Cheap (two small files), so that planning can ask for all cells.
    """
    for directory in (cell.checkpoints, _shelf(cell, fingerprint)):
        content = read_marker(directory / "done.json")
        if content is not None and is_valid(content, cell, fingerprint):
            write_marker(cell.marker, content)
            return True
    return False


def _shelf(cell: Cell, name: str) -> Path:
    return cell.checkpoints / "set-aside" / name


def _move(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    # cell.json last: until it has moved, the directory still says whose files these are.
    for name in reversed(OWNED):
        if (source / name).exists():
            os.replace(source / name, target / name)
    if source.parent.name == "set-aside":
        shutil.rmtree(source, ignore_errors=True)
