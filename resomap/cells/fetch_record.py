"""Fetch record of a cell: the files of its run that were fetched from the tracker. Light: planning reads it.

`results/<model>/<resolution>.fetched.json`, strict JSON:

    schema, cell, fingerprint, uid, run_id    whose files these are
    files          {"predictions.npz": path here, or null where it is not available}
    unavailable    {"best.pt": why it is null, in a sentence}
    is_final       false: the tracker did not answer, so the next call asks again
"""

from pathlib import Path

from resomap.cells.cell import Cell
from resomap.cells.marker import Marker
from resomap.core.files import read_json

SCHEMA = 1


def record_path(cell: Cell) -> Path:
    """Return the path `results/vgg11/320.fetched.json`."""
    return cell.beside_marker("fetched.json")


def is_fetched(cell: Cell, marker: Marker) -> bool:
    """Return True if all files of the marker's run have been fetched, or the tracker said that they do not exist."""
    content = read_json(record_path(cell))
    return (
        isinstance(content, dict)
        and content.get("schema") == SCHEMA
        and content.get("run_id") == marker.run_id
        and content.get("is_final") is True
    )
