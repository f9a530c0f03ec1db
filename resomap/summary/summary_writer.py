"""Writer of the map: results/summary.json and its tables, and the recommendation as text."""

from pathlib import Path

from resomap.cells.leftovers import remove_leftovers
from resomap.cells.resume_command import run_command
from resomap.cells.study import Study
from resomap.core.files import write_csv, write_json
from resomap.core.place import for_reader
from resomap.statistics.wording import COST_UNITS
from resomap.summary import csv_tables
from resomap.summary.basis import DIRECTORY, SUMMARY
from resomap.summary.compose import compose
from resomap.summary.document import Map
from resomap.summary.evidence import Evidence, gather
from resomap.summary.operating import write_decisions


def make_map(study: Study, kind: str | None = None) -> Map:
    """Write the map of a study and return it.

    `kind` is the kind of device whose costs count: `cpu`, `cuda`, or None for the one with more measurements.
    """
    return write_map(gather(study, kind))


def write_map(evidence: Evidence) -> Map:
    """Write the map of evidence that is gathered already: results/summary.json, the CSV files, thresholds. Return it.

    The threshold of an operating point goes into decision.json beside the best.pt that it is of.
    """
    remove_leftovers(DIRECTORY, *(one.cell.checkpoints for one in evidence.trained))
    found = compose(evidence)
    write_csv(DIRECTORY / "summary.csv", csv_tables.trainings(found), ("model", "resolution", "seed"))
    write_csv(DIRECTORY / "cells.csv", csv_tables.squares(found), ("model", "resolution", "seeds"))
    write_csv(DIRECTORY / "matrix.csv", csv_tables.matrix(found), ("model", "trained_at", "tested_at"))
    write_decisions(evidence, found.operating_points)
    write_json(SUMMARY, found.content())  # last: what reads it may read the tables too
    return found


def summary_text(found: Map) -> str:
    """Return the text for the terminal: the recommendation, its notes, and the files with the figures."""
    if found.recommendation is None:
        first = "No recommendation yet: no training of the grid is finished with its predictions here."
    else:
        first = found.recommendation.text
    figures = ", ".join(for_reader(DIRECTORY / name) for name in ("summary.json", "cells.csv", "matrix.csv"))
    return "\n".join([first, *_ladder(found), *found.notes, f"figures: {figures}", *_next(found)])


def _next(found: Map) -> list[str]:
    """Return the line with the next command: what uses the answer, for the reader of this process's output."""
    if found.answer is None:
        return []
    cell = f"{found.answer.model}@{found.answer.resolution}"
    use = run_command(Path.cwd(), ["--cell", cell, "IMAGES"], subcommand="predict")
    return [
        f"next: `{run_command(Path.cwd(), ['winner'])}` makes the weights to use; `{use}` classifies with this cell's"
    ]


def _ladder(found: Map) -> list[str]:
    """Return the lines of the ladder, aligned; none where it has one rung."""
    if len(found.ladder) < 2 or found.recommendation is None or found.recommendation.cost is None:
        return []
    unit = next(unit for name, unit in COST_UNITS.items() if name == found.recommendation.cost)
    rows = [
        (
            f"{'> ' if found.recommends(one.model, one.resolution) else ''}{one.model}@{one.resolution}",
            "–" if one.cost is None else f"{one.cost:.3g} {unit}",
            f"{one.expected_deficit * 100:.1f}",
            f"{one.probable_deficit * 100:.1f}",
            f"{one.proven_deficit * 100:.1f}",
        )
        for one in found.ladder
    ]
    head = ("", "", "expected", "probable", "proven")
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = ["What a cheaper cell may lose, in points (expected; at most: probable, proven):"]
    for row in [head, *rows]:
        cells = [row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return lines
