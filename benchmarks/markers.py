"""Markers as if cells had been trained, for benchmarks of what reads them."""

from dataclasses import replace
from typing import Any

from resomap.cells.cell import Cell
from resomap.cells.marker import LOCAL, SCHEMA, Marker, TrainingCost
from resomap.cells.study import Study


def as_if_trained(study: Study, cell: Cell, **changes: Any) -> Marker:
    """Return a marker that counts for the cell under the study's settings; `changes` are fields of it."""
    marker = Marker(
        schema=SCHEMA,
        model=cell.model,
        resolution=cell.resolution,
        seed=cell.seed,
        fingerprint=study.fingerprint(cell),
        base=study.base,
        uid="0" * 32,
        run_id=None,
        origin=LOCAL,
        finished_at=0.0,
        epochs=25,
        metrics={"test/accuracy": 0.5},
        cost=TrainingCost(),
        exact=True,
    )
    return replace(marker, **changes)
