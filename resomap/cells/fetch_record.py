"""Which cells have files to fetch from the tracker, and the record of what was fetched. Light: planning reads it.

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
    """`results/vgg11/320.fetched.json`."""
    return cell.beside_marker("fetched.json")


def is_fetched(cell: Cell, marker: Marker) -> bool:
    """Whether all that the marker's run has is here, as far as the tracker could be asked."""
    content = read_json(record_path(cell))
    return (
        isinstance(content, dict)
        and content.get("schema") == SCHEMA
        and content.get("run_id") == marker.run_id
        and content.get("is_final") is True
    )
