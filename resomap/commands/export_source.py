"""Weights that `resomap export` exports, and how their answers are read: a cell's, or the winner's."""

import argparse

from resomap.cells.marker import Marker, require_done
from resomap.cells.study import Study
from resomap.cells.winner_cell import REFIT, Winner, winner_of
from resomap.commands.weights_reader import best_weights, one_training, read_by_decision
from resomap.core.errors import ResomapError
from resomap.export.exporter import Export
from resomap.winner.winner_weights import winner_weights


def source_of(given: argparse.Namespace, study: Study) -> Export:
    """Return the export that the command's words ask for. Raises ResomapError where its weights are not here."""
    return _of_winner(given, study) if given.winner else _of_cell(given, study)


def _of_cell(given: argparse.Namespace, study: Study) -> Export:
    cell = one_training(study, given.cell)
    marker = require_done(study, cell)
    reader = read_by_decision(best_weights(study, cell, marker))
    return Export(
        study=study,
        cell=cell,
        marker=marker,
        weights=reader.weights[0],
        temperature=reader.temperature,
        point=reader.point,
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
