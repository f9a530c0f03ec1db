"""Weights that `resomap predict` uses, and how their answers are read: a file's, a cell's, or the winner's."""

import argparse
import sys
from dataclasses import dataclass

from resomap.cells.cell import Cell
from resomap.cells.decision import Decision, OperatingPoint, operating_point, temperature_of
from resomap.cells.marker import Marker
from resomap.cells.study import Study
from resomap.cells.winner_cell import NAME
from resomap.core.errors import ResomapError
from resomap.evaluation.evaluator import find_weights
from resomap.evaluation.trained_weights import Weights
from resomap.winner.winner_weights import recommended_cell, winner_weights


@dataclass(frozen=True)
class Reader:
    """Weights, several of an ensemble; the temperature of their logits; the operating point, and what chose these."""

    weights: list[Weights]
    temperature: float
    point: OperatingPoint | None
    basis: str | None = None


def reader_of(given: argparse.Namespace) -> Reader:
    """Return the weights that the command's words name; without any those of the winner.

    Where there is no winner, those of the cell that the map recommends, which one line says. Raises ResomapError where
    the weights are not here.
    """
    if given.weights:
        return read_by_decision(Weights.load(given.weights))
    study = Study.load(given.study)
    if given.cell not in (None, NAME):
        return read_by_decision(_cell_weights(study, given.cell))
    if (winner := winner_weights(study)) is None:
        name = recommended_cell(study)
        print(
            f"resomap: there is no winner yet (`snakemake winner` trains it): {name} answers, which the map recommends",
            file=sys.stderr,
        )
        return read_by_decision(_cell_weights(study, name))
    if len(winner.members) == 1:
        return read_by_decision(winner.members[0])
    return Reader(winner.members, winner.choice.temperature, winner.operating_point, winner.choice.basis)


def read_by_decision(weights: Weights) -> Reader:
    """Return the weights with the decision file beside them; at temperature 1 where there is none of these weights."""
    found = Decision.beside(weights.path, weights.fingerprint, weights.uid)
    point = operating_point(found, weights.classes)
    return Reader([weights], temperature_of(found), point, found.basis if found else None)


def best_weights(study: Study, cell: Cell, marker: Marker | None, or_else: str = "") -> Weights:
    """Return a cell's best weights. Raises ResomapError where they are not here; `or_else` ends its way out."""
    weights = find_weights(cell, marker)
    if weights is None:
        raise ResomapError(
            f"{cell.name} has no best.pt in {cell.checkpoints}; train it with `{study.resume_command(cell)}` and "
            f"`best` in `checkpoints.keep`{or_else}"
        )
    return weights


def one_training(study: Study, name: str) -> Cell:
    """Return the training that a name stands for: of a cell with several the first one, which one line says."""
    first, *others = study.named(name)
    if others:
        print(
            f"resomap: of the {len(others) + 1} trainings of {name} the first is taken, {study.title(first)}; "
            f"{study.title(others[0])} names another, and the winner stands for all (`snakemake winner`)",
            file=sys.stderr,
        )
    return first


def _cell_weights(study: Study, name: str) -> Weights:
    cell = one_training(study, name)
    return best_weights(study, cell, Marker.read(cell.marker), ", or name a file with --weights")
