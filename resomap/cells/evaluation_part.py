"""Evaluation part of a cell: its evaluation record, made before its rule asks for it.

`results/<model>/<resolution>.evaluation.part.json`, strict JSON:

    schema            of this file
    content_digest    of the images; null where the marker does not know it
    weights           digest of the evaluated best.pt; null where no weights were here
    predictions       {"<pixels>": SHA-256 of the predictions file}
    record            the record itself, as `resomap.cells.evaluation_record` describes it

The trainer leaves one behind its done marker, at the resolutions whose images are prepared by then, and an evaluation
leaves one for each other cell that the plan wants. No rule lists the file, because Snakemake deletes a job's outputs
before the job starts. The rule `evaluate` takes it over where everything still fits, in milliseconds: no torch, no
statistics. A part that does not fit is removed and the cell evaluated.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from resomap.cells import evaluation_record
from resomap.cells.cell import Cell
from resomap.cells.marker import Marker
from resomap.core.files import file_digest, read_json, strict_json, write_text
from resomap.core.seal import read_seal

SCHEMA = 1


def part_path(cell: Cell) -> Path:
    """Return the path of a cell's evaluation part, beside its marker."""
    return cell.beside_marker("evaluation.part.json")


def write_part(cell: Cell, marker: Marker, record: Mapping[str, Any]) -> None:
    """Keep a record for the rule. Raises OSError."""
    available = [int(resolution) for resolution, entry in record["test_resolutions"].items() if entry is not None]
    content = {
        "schema": SCHEMA,
        "content_digest": marker.content_digest,
        "weights": _weights_digest(cell, marker),
        "predictions": {str(resolution): _predictions_digest(cell, resolution) for resolution in available},
        "record": record,
    }
    write_text(part_path(cell), strict_json(content, indent=None) + "\n")


def fitting_record(cell: Cell, marker: Marker, resolutions: Iterable[int]) -> dict[str, Any] | None:
    """Return the record in a cell's part; None where there is none, or it is not of exactly this.

    It fits where fingerprint, uid, images and weights are those of the marker's training, every one of the resolutions
    is in it, and the predictions files are those that it was made from.
    """
    content = read_json(part_path(cell))
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        return None
    record, digests = content.get("record"), content.get("predictions")
    if not isinstance(record, dict) or not isinstance(digests, dict):
        return None
    entries = record.get("test_resolutions")
    fits = (
        record.get("schema") == evaluation_record.SCHEMA
        and marker.is_of(record.get("fingerprint"), record.get("uid"))
        and content.get("content_digest") == marker.content_digest
        and content.get("weights") == _weights_digest(cell, marker)
        and isinstance(entries, dict)
        and entries.keys() >= set(map(str, resolutions))
        and digests.keys() == {name for name, entry in entries.items() if entry is not None}
        and all(digest == _predictions_digest(cell, int(name)) for name, digest in digests.items())
    )
    return record if fits else None


def take_over(cell: Cell, marker: Marker, resolutions: Iterable[int]) -> bool:
    """Make a fitting part the cell's evaluation record; return False where none fits. The caller holds the lock.

    The part is removed either way: the record is there, or the cell is evaluated now.
    """
    record = fitting_record(cell, marker, resolutions)
    if record is not None:
        evaluation_record.write_record(cell, record)
    part_path(cell).unlink(missing_ok=True)
    return record is not None


def _weights_digest(cell: Cell, marker: Marker) -> str | None:
    paths = evaluation_record.weights_paths(cell, marker.fingerprint)
    return next((digest for path in paths if (digest := read_seal(path))), None)


def _predictions_digest(cell: Cell, resolution: int) -> str | None:
    try:
        return file_digest(evaluation_record.predictions_path(cell, resolution))
    except OSError:
        return None
