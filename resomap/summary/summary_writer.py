"""The step `map`: from what is there to results/summary.json and its tables, and the recommendation in words."""

from resomap.cells.study import Study
from resomap.core.files import write_csv, write_json
from resomap.summary import csv_tables
from resomap.summary.basis import DIRECTORY, SUMMARY
from resomap.summary.compose import compose
from resomap.summary.document import Map
from resomap.summary.evidence import Evidence, gather


def make_map(study: Study, kind: str | None = None) -> Map:
    """Write the map's files; `kind` of device whose costs count (`cpu`, `cuda`; None: whichever has more)."""
    return write_map(gather(study, kind))


def write_map(evidence: Evidence) -> Map:
    """The same of evidence that is gathered already."""
    found = compose(evidence)
    write_csv(DIRECTORY / "summary.csv", csv_tables.trainings(found), ("model", "resolution", "seed"))
    write_csv(DIRECTORY / "cells.csv", csv_tables.squares(found), ("model", "resolution", "seeds"))
    write_csv(DIRECTORY / "matrix.csv", csv_tables.matrix(found), ("model", "trained_at", "tested_at"))
    write_json(SUMMARY, found.content())  # last: what reads it may read the tables too
    return found


def words(found: Map) -> str:
    """What a person reads at the end: the recommendation, what to know beside it, and where the figures lie."""
    if found.recommendation is None:
        first = "No recommendation yet: no training of the grid is finished with its predictions here."
    else:
        first = found.recommendation.text
    return "\n".join([first, *found.notes, f"figures: {SUMMARY}, results/cells.csv, results/matrix.csv"])
