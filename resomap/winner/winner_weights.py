"""Weights for `resomap predict` where no cell is named: the winner's, else those of the recommended cell."""

from dataclasses import dataclass

from resomap.cells.decision import OperatingPoint, operating_point
from resomap.cells.marker import Marker
from resomap.cells.study import Study
from resomap.cells.winner_cell import ENSEMBLE, Choice, Winner, winner_of
from resomap.core.errors import ResomapError
from resomap.evaluation.evaluator import find_weights
from resomap.evaluation.trained_weights import Weights
from resomap.winner.recommended import recommended


@dataclass(frozen=True)
class WinnerWeights:
    """Weights of the winner: one file, or one for each member of an ensemble, and how their answers are read."""

    members: list[Weights]
    choice: Choice

    @property
    def operating_point(self) -> OperatingPoint | None:
        """Operating point that came with the choice; None where none was asked for."""
        return operating_point(self.choice.decision("", ""), self.members[0].classes)


def winner_weights(study: Study) -> WinnerWeights | None:
    """Load the weights of the finished winner, whatever the settings are now; None where there is no winner.

    Raises ResomapError where there is one whose weights are not here.
    """
    marker = Marker.read(Winner.of_any_cell().marker)
    choice = Choice.parse(marker.winner) if marker else None
    if marker is None or choice is None:
        return None
    if choice.kind == ENSEMBLE:
        return WinnerWeights([_member(study, name, told) for name, told in choice.trainings.items()], choice)
    cell = winner_of(study, choice)
    weights = find_weights(cell, marker)
    if weights is None:
        where = "it was trained elsewhere, and its run has no weights" if marker.is_from_tracker else "they are gone"
        raise ResomapError(
            f"the winner {cell.name} has no best.pt in {cell.checkpoints}: {where}; copy that file here, train it here "
            "(`resomap forget winner`, then `snakemake winner`), or name a cell with --cell"
        )
    return WinnerWeights([weights], choice)


def recommended_cell(study: Study) -> str:
    """Return the name of the cell that stands in for a winner. Raises ResomapError where there is no map either."""
    if (name := recommended(study)) is None:
        raise ResomapError(
            "there is no winner here and no map of these settings that recommends a cell; run `snakemake winner`, or "
            "name a cell with --cell or a file with --weights"
        )
    return name


def _member(study: Study, name: str, told: dict[str, str]) -> Weights:
    cell = study.find(name)
    marker = Marker.read(cell.marker)
    weights = find_weights(cell, marker)
    if weights is None or (weights.fingerprint, weights.uid) != (told["fingerprint"], told["uid"]):
        raise ResomapError(
            f"the winner is an ensemble, and the weights of its member {name} are no longer in {cell.checkpoints}; "
            "`resomap forget winner` and then `snakemake winner` make one of what is there"
        )
    return weights
