"""Winner: the model to use, made of one cell of the map once that is chosen; its choice, its paths and its marker.

Of kind `refit` it is the cell trained once more on train + validation images, for as many epochs as its trainings chose
(their median), under the whole schedule. Of kind `ensemble` it is all trainings of the cell together, whose
probabilities are averaged. Validation images judge neither: what is known of it outside the test split is what is
known of the cell.

`results/winner.choice.json` is written when a winner is begun, and decides from then on: another map makes no other
winner of it. `results/winner.done` is a marker as each cell has, with that choice under the key `winner`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from resomap.cells.archive import differ
from resomap.cells.cell import Cell
from resomap.cells.decision import SCHEMA as DECISION_SCHEMA
from resomap.cells.decision import TRANSFERRED, Decision
from resomap.cells.marker import Marker
from resomap.cells.study import Study
from resomap.core.errors import ResomapError
from resomap.core.files import read_json, write_json
from resomap.core.json_object import JsonObject

NAME = "winner"
REFIT, ENSEMBLE = "refit", "ensemble"
SCHEMA = 1
JUDGED_BY = ("test",)  # splits that its weights are evaluated on
SUFFIX = ".winner"
TOLD = 30  # trainings that the marker of a refit names


@dataclass(frozen=True, order=True)
class Winner(Cell):
    """Winner as a cell: it is locked, trained, archived, tracked and marked as each cell is, under paths of its own.

    `epochs`: of a refit. `members`: fingerprints of the trainings of an ensemble.
    """

    epochs: int | None = None
    members: tuple[str, ...] = field(default=())

    def beside_marker(self, extension: str) -> Path:
        """Return the path `results/winner.<extension>`: a study has one winner."""
        return Path("results", f"{NAME}.{extension}")

    @property
    def name(self) -> str:
        """Name that people read: `vgg11@320.winner`, or `winner` where its cell is not known."""
        return f"{self.map_position}{SUFFIX}" if self.model else NAME

    @property
    def lock_name(self) -> str:
        """Name of its lock: whatever its cell, its files beside the marker are the same."""
        return NAME

    @property
    def further_identity(self) -> Mapping[str, Any]:
        """Images and epochs of a refit, or the members of an ensemble."""
        if self.members:
            return {NAME: {"kind": ENSEMBLE, "members": sorted(self.members)}}
        return {NAME: {"kind": REFIT, "epochs": self.epochs, "images": ["train", "val"]}}

    @property
    def always_kept(self) -> tuple[str, ...]:
        """Its weights: they are what it is for."""
        return ("best",)

    @classmethod
    def of_any_cell(cls) -> "Winner":
        """Return the winner where only the paths beside its marker are asked for."""
        return cls("", 0, 0, "")


@dataclass(frozen=True, kw_only=True)
class Choice(JsonObject):
    """Choice of a winner: its cell, and what its trainings tell, pooled. Content of `results/winner.choice.json`."""

    schema: int
    kind: str  # REFIT or ENSEMBLE
    model: str
    resolution: int  # pixels
    seed: int
    chosen_by: str  # map | person
    cell_fingerprint: str  # of the cell with this seed: with other settings the choice does not stand
    content_digest: str | None  # of the images
    epochs: int | None  # of a refit: the median of the epochs that the trainings chose
    trainings: Mapping[str, Any]  # by name of the cell: fingerprint, uid and best_epoch of each training
    images: int  # pooled predictions that temperature and threshold were chosen on, an image as often as predicted
    basis: str  # TRANSFERRED: those are of the trainings, not of the winner
    temperature: float
    metric: str | None = None  # operating point, as in decision.json
    at: float | None = None
    positive: str | None = None
    threshold: float | None = None
    test_split: str | None = None  # 12 hex digits over names and classes of the test images

    @property
    def position(self) -> str:
        """Name of its cell without a seed: `vgg11@320`."""
        return f"{self.model}@{self.resolution}"

    def write(self) -> None:
        """Write the file atomically. Raises OSError."""
        write_json(choice_path(), self.as_json())

    def for_marker(self) -> dict[str, Any]:
        """Return the choice as a marker has it, which must fit into a tag of a tracker.

        Of the trainings of a refit only their epochs are in it, of more than TOLD of them not all.
        """
        if self.kind == ENSEMBLE:  # no tracker gets it
            return self.as_json()
        told = {name: {"best_epoch": one["best_epoch"]} for name, one in islice(self.trainings.items(), TOLD)}
        return {**self.as_json(), "trainings": told}

    def decision(self, fingerprint: str, uid: str) -> Decision:
        """Return how answers of the winner's weights are read."""
        return Decision(
            schema=DECISION_SCHEMA,
            fingerprint=fingerprint,
            uid=uid,
            temperature=self.temperature,
            images=self.images,
            metric=self.metric,
            at=self.at,
            positive=self.positive,
            threshold=self.threshold,
            basis=TRANSFERRED,
        )


@dataclass(frozen=True)
class Begun:
    """A winner that was begun: its choice, its cell, and its marker once it is finished."""

    choice: Choice
    cell: Winner
    marker: Marker | None


def choice_path() -> Path:
    """Return the path of the choice."""
    return Winner.of_any_cell().beside_marker("choice.json")


def held_choice() -> Choice | None:
    """Return the choice of the winner that was begun last, under whatever settings; None where none was."""
    found = Choice.parse(read_json(choice_path()))
    if found is None:  # lost, or of an ensemble or a refit that came with its marker alone
        marker = Marker.read(Winner.of_any_cell().marker)
        found = Choice.parse(marker.winner) if marker else None
    return found if found is not None and found.schema == SCHEMA else None


def winner_of(study: Study, choice: Choice) -> Winner:
    """Return the winner of a choice. Raises ResomapError where its model is unknown."""
    members = tuple(one["fingerprint"] for one in choice.trainings.values()) if choice.kind == ENSEMBLE else ()
    family = study.family(choice.model)
    return Winner(choice.model, choice.resolution, choice.seed, family, SUFFIX, epochs=choice.epochs, members=members)


def begun(study: Study, named: str | None = None) -> Begun | None:
    """Return the winner that was begun under the present settings and images; None where one is still to be chosen.

    `named` is the cell that a person wants (`vgg11@320`): a winner of another one does not stand then.
    """
    choice = held_choice()
    if choice is None or choice.kind != study.config.winner.kind:
        return None
    if (named is not None and named != choice.position) or differ(choice.content_digest, study.content_digest):
        return None
    try:
        cell, trained = winner_of(study, choice), study.cell(choice.model, choice.resolution, choice.seed)
    except ResomapError:  # of other libraries, which know no such model
        return None
    if study.fingerprint(trained) != choice.cell_fingerprint:
        return None
    return Begun(choice, cell, Marker.of_done(cell, study.fingerprint(cell), study.content_digest))
