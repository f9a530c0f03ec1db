"""Evaluation record of a cell: its content, its path, and the test resolutions that are missing from it.

`results/<model>/<resolution>.evaluation.json`, strict JSON:

    schema, model, resolution, seed, fold, fingerprint, uid    whose evaluation this is; fold: null without folds
    epoch              of the weights, counted from 1; null where the marker does not know it
    device             where predictions were computed by the step that wrote this; null where all were kept
    classes            names, in the order of rows and columns
    test_resolutions   {"<pixels>": {"val": SPLIT, "test": SPLIT}, or null where that is not available}
    unavailable        {"<pixels>": why it is null, in a sentence}

    SPLIT: {"metrics": as `metrics.measure` gives them,
            "intervals": {metric: [low, high], or null}, 95 %, of other images; training noise is not in them
            "per_class": {class: {precision, recall, f1, support}},
            "confusion": [[images]], rows: true class, columns: predicted class; of more than 64 classes
                         {"true": [class], "predicted": [class], "images": [count]}, entries that are not 0,
            "calibration": {"temperature": fitted on the validation images,
                            "as_trained", "tempered": as `statistics.Calibration` has them, or null}}

    Records of earlier versions have no `calibration`.

All figures are shares (0..1) but for losses (nats) and counts.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resomap.cells import archive
from resomap.cells.cell import Cell
from resomap.cells.marker import Marker
from resomap.cells.study import Study
from resomap.core.files import read_json, strict_json, write_text
from resomap.core.text import is_whole_number

if TYPE_CHECKING:
    from resomap.cells.predictions import Predictions

SCHEMA = 2
_READ_BY_PEOPLE = 64  # classes


def record_path(cell: Cell) -> Path:
    """Return the path of a cell's evaluation record, beside its marker."""
    return cell.beside_marker("evaluation.json")


def write_record(cell: Cell, content: Mapping[str, Any]) -> None:
    """Write a record atomically: one number a line for people, without blanks where there are many classes."""
    indent = 2 if len(content.get("classes") or ()) <= _READ_BY_PEOPLE else None
    write_text(record_path(cell), strict_json(content, indent) + "\n")


def predictions_path(cell: Cell, resolution: int | None = None) -> Path:
    """Return the path of the best weights' predictions at a test resolution: the cell's own (None), or another one."""
    return cell.beside_marker(f"at{resolution}.npz" if resolution not in (None, cell.resolution) else "predictions.npz")


def resolutions(study: Study, cell: Cell, marker: Marker) -> list[int]:
    """Return the test resolutions that a record must have: the configuration's, the cell's own, those kept before.

    What a sub-grid does not name stays in the record: the next whole grid need not ask for it again.
    """
    wanted = {cell.resolution, *study.config.resolutions}
    others = set(other_test_resolutions(cell)) - wanted
    return sorted(wanted | {other for other in others if kept_predictions(cell, marker, other)})


def kept_predictions(
    cell: Cell, marker: Marker, resolution: int, splits: Sequence[str] | None = None
) -> "Predictions | None":
    """Return predictions that an earlier call of the step, or the training, kept of the same training; else None.

    `splits` are those that they must have; None: all that cells are evaluated on.
    """
    from resomap.cells.predictions import EVALUATED, Predictions  # here: plans import this module, and need no NumPy

    found = Predictions.load(predictions_path(cell, resolution), splits or EVALUATED)
    return found if found is not None and marker.is_of(found.fingerprint, found.uid) else None


def other_test_resolutions(cell: Cell) -> list[int]:
    """Return the test resolutions other than the cell's own for which a predictions file exists."""
    stem = f"{cell.marker.stem}.at"
    found = (path.name.removeprefix(stem).removesuffix(".npz") for path in cell.marker.parent.glob(f"{stem}*.npz"))
    return [int(text) for text in found if is_whole_number(text)]


def read_record(cell: Cell, marker: Marker) -> dict[str, Any] | None:
    """Return the record of the very training that the marker is of; None where there is none."""
    content = read_json(record_path(cell))
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        return None
    same = marker.is_of(content.get("fingerprint"), content.get("uid"))
    return content if same and isinstance(content.get("test_resolutions"), dict) else None


def missing(cell: Cell, marker: Marker, resolutions: Iterable[int]) -> list[int]:
    """Return the test resolutions at which a done cell is still to be evaluated.

    They are those without an entry; those whose predictions are gone; and those that were not available, once files
    that may change that have arrived. Cheap (one small file), so that planning can ask for all cells.
    """
    record = read_record(cell, marker)
    if record is None:
        return list(resolutions)
    entries, weights = record["test_resolutions"], weights_paths(cell, marker.fingerprint)
    found = []
    for resolution in resolutions:
        kept = predictions_path(cell, resolution)
        if entries.get(str(resolution)) is not None:
            is_missing = not kept.exists()
        else:
            is_missing = str(resolution) not in entries or _arrived(record_path(cell), [kept, *weights])
        if is_missing:
            found.append(resolution)
    return found


def weights_paths(cell: Cell, fingerprint: str) -> list[Path]:
    """Return the paths at which best.pt of this training can lie; a file there may be another training's."""
    return [directory / "best.pt" for directory in archive.checkpoint_directories(cell, fingerprint)]


def _arrived(record: Path, files: Iterable[Path]) -> bool:
    """Return True if one of the files came here after the record was written.

    It is told by the time of the inode's change: a copy that keeps the modification time has a new one all the same.
    """
    written = record.stat().st_mtime_ns
    return any(file.stat().st_ctime_ns > written for file in files if file.exists())
