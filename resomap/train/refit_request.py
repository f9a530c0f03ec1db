"""Request for a refit: its recipe, the epoch at which it ends, and the figure that people follow. Light."""

from dataclasses import dataclass
from functools import cached_property

from resomap.cells.winner_cell import Choice, Winner
from resomap.config import Training
from resomap.train.request import Request


@dataclass(frozen=True)
class RefitRequest(Request):
    """Request for an attempt at the refit of a choice."""

    choice: Choice

    @property
    def winner(self) -> Winner:
        """The cell, which is a winner."""
        assert isinstance(self.cell, Winner)
        return self.cell

    @cached_property
    def recipe(self) -> Training:
        """Training settings of the cell; nothing can tell that the training had better end early."""
        found = self.study.recipe(self.cell)
        never = found.early_stopping.model_copy(update={"enabled": False})
        return found.model_copy(update={"early_stopping": never})

    @property
    def epochs(self) -> int:
        """Epoch at which it ends."""
        return self.choice.epochs or self.recipe.epochs

    @property
    def shown(self) -> str:
        """Name of the figure by which people follow it: the only one that there is."""
        return "train/loss"
