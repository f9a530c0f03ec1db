"""Weights that `resomap export` exports, and how their answers are read: a cell's, or the winner's."""

import argparse

from resomap.cells.decision import Decision, OperatingPoint, operating_point
from resomap.cells.marker import Marker, require_done
from resomap.cells.study import Study
from resomap.cells.winner_cell import REFIT, Winner, winner_of
from resomap.core.errors import ResomapError
from resomap.evaluation.evaluator import find_weights
from resomap.export.exporter import Export
from resomap.winner.winner_weights import winner_weights


def source_of(given: argparse.Namespace, study: Study) -> Export:
    """Return the export that the command's words ask for. Raises ResomapError where its weights are not here."""
    return _of_winner(given, study) if given.winner else _of_cell(given, study)


def _of_cell(given: argparse.Namespace, study: Study) -> Export:
    cell = study.find(given.cell)
    marker = require_done(study, cell)
    weights = find_weights(cell, marker)
    if weights is None:
        raise ResomapError(
            f"{cell.name} has no best.pt in {cell.checkpoints}; train it with `{study.resume_command(cell)}` and "
            "`best` in `checkpoints.keep`"
        )
    found = Decision.beside(weights.path, weights.fingerprint, weights.uid)
    return Export(
        study=study,
        cell=cell,
        marker=marker,
        weights=weights,
        temperature=found.temperature if found else 1.0,
        point=_known(operating_point(found), weights.classes),
        basis="validation",
        file_format=given.file_format,
        precision=given.precision,
        threads=given.threads,
    )


def _of_winner(given: argparse.Namespace, study: Study) -> Export:
    found, marker = winner_weights(study), Marker.read(Winner.of_any_cell().marker)
    if found is None or marker is None:
        raise ResomapError("there is no winner here; train it with `snakemake winner`, or name a cell with --cell")
    if found.choice.kind != REFIT:
        names = ", ".join(found.choice.trainings)
        raise ResomapError(
            f"the winner is an ensemble, and a file holds one network; export a member with --cell ({names}), or train "
            "one network on all images (--config 'winner={kind: refit}')"
        )
    return Export(
        study=study,
        cell=winner_of(study, found.choice),
        marker=marker,
        weights=found.members[0],
        temperature=found.choice.temperature,
        point=found.operating_point,
        basis="train",  # a refit has seen its validation images
        file_format=given.file_format,
        precision=given.precision,
        threads=given.threads,
    )


def _known(point: OperatingPoint | None, classes: list[str]) -> OperatingPoint | None:
    return point if point is not None and point.positive in classes else None
