"""Evidence of the map, from the files of the steps before: trainings, predictions, evaluations, costs, images.

Whatever is not there is listed in `missing`; nothing here raises for an incomplete grid, only for a damaged list of
images, without which intervals would silently count other groups.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from resomap.cells import evaluation_record
from resomap.cells.cell import Cell
from resomap.cells.marker import Marker
from resomap.cells.measurement import KINDS, class_count, measurements
from resomap.cells.predictions import EVALUATED, Predictions, SplitPredictions
from resomap.cells.study import Study
from resomap.core.errors import ResomapError
from resomap.data import DATA_DIRECTORY
from resomap.data.changes import MANIFEST
from resomap.data.image_blocks import block_indices
from resomap.data.manifest import Manifest
from resomap.statistics import Position, Sample


@dataclass(frozen=True)
class Trained:
    """One finished training: its marker, its evaluation at all resolutions and its predictions, each None if absent."""

    cell: Cell
    marker: Marker
    evaluation: Mapping[str, Any] | None
    predictions: Predictions | None

    @property
    def position(self) -> Position:
        """The training's square of the map."""
        return self.cell.model, self.cell.resolution

    def tested(self, resolution: int, split: str) -> SplitPredictions | None:
        """Return the training's predictions of a split at a test resolution; None where they are not here."""
        if self.predictions is None:
            return None
        if resolution == self.cell.resolution:
            return self.predictions.splits[split]
        found = Predictions.load(evaluation_record.predictions_path(self.cell, resolution))
        if found is None or not self.marker.is_of(found.fingerprint, found.uid):
            return None
        own, part = self.predictions.splits[split], found.splits[split]
        same = list(part.names) == list(own.names) and np.array_equal(part.labels, own.labels)
        return part if same and found.classes == self.predictions.classes else None


@dataclass(frozen=True)
class Missing:
    """A part that is missing from the map: `what` is training, predictions, evaluation or cost.

    `can_come`: True if running the workflow again may bring it; False for what does not exist.
    """

    model: str
    resolution: int
    seed: int | None  # None: the same for all seeds
    fold: int | None  # None: the same for all folds, or a study without folds
    what: str
    reason: str
    can_come: bool = False


@dataclass(frozen=True)
class Evidence:
    """Evidence of one study. `costs` are measurements as docs/cost.md describes them, of one kind of device."""

    study: Study
    trained: list[Trained]
    costs: dict[Position, Mapping[str, Any]]
    manifest: Manifest | None
    missing: list[Missing] = field(default_factory=list)

    @property
    def positions(self) -> list[Position]:
        """The squares of the map that have a finished training, in the grid's order."""
        config = self.study.config
        done = {one.position for one in self.trained}
        return [(model, size) for model in config.models for size in config.resolutions if (model, size) in done]

    def of(self, position: Position) -> list[Trained]:
        """Return the finished trainings of one square, one for each fold and seed."""
        return [one for one in self.trained if one.position == position]

    @cached_property
    def seconds_per_seed(self) -> float | None:
        """Seconds of training each square once more, by the trainings so far; None where none says how long it took."""
        found = []
        for position in self.positions:
            taken = [one.marker.cost.train_seconds for one in self.of(position)]
            known = [one for one in taken if one is not None]
            found += [sum(known) / len(known)] if known else []
        return sum(found) * len(self.positions) / len(found) if found else None

    @cached_property
    def groups(self) -> Mapping[str, np.ndarray | None]:
        """Group int64 [N] of each image that is predicted, by split; None where each image stands for itself.

        As the manifest has them, else as the predictions do: a study whose trainings were fetched has no images.
        """
        return {split: self._groups_of(split) for split in EVALUATED}

    def sample(self, part: SplitPredictions, split: str) -> Sample:
        """Return predictions of a split as the statistics take them, with the groups of its images."""
        return Sample(np.asarray(part.labels), part.log_probabilities, self.groups[split])

    def _groups_of(self, split: str) -> np.ndarray | None:
        parts = [one.predictions.splits[split] for one in self.trained if one.predictions is not None]
        if not parts:
            return None
        if self.manifest is not None:
            entries = {entry.name: entry for entry in self.manifest.of(split)}
            if all(name in entries for name in parts[0].names):
                found = block_indices([entries[name] for name in parts[0].names])
                return found if len(np.unique(found)) < len(found) else None
        return next((part.groups for part in parts if part.groups is not None), None)

    def tested(self, position: Position, split: str) -> dict[int, list[SplitPredictions]]:
        """Return a square's predictions of a split by test resolution, where each of its trainings has them."""
        trained = [one for one in self.of(position) if one.predictions is not None]
        found: dict[int, list[SplitPredictions]] = {}
        for resolution in self.study.config.resolutions:
            parts = [one.tested(resolution, split) for one in trained]
            known = [part for part in parts if part is not None]
            if known and len(known) == len(parts):
                found[resolution] = known
        return found

    def upsampled(self, resolution: int) -> float | None:
        """Return the share of the images (0..1) that this resolution enlarges: they have fewer pixels than it.

        It goes by the side that `data.fit` scales to the resolution; None where the images are not listed here.
        """
        if self.manifest is None:
            return None
        side = max if self.manifest.fit == "border" else min
        smaller = sum(side(entry.width, entry.height) < resolution for entry in self.manifest.entries)
        return smaller / len(self.manifest.entries)


def gather(study: Study, kind: str | None = None) -> Evidence:
    """Read the evidence of a study, as far as it is there.

    `kind` is the kind of device whose costs count; None: the one with the most measurements.
    """
    missing: list[Missing] = []
    trained = _with_shared_images(list(_trained(study, missing)), missing)
    for one in trained:
        _note_gaps(one, study.config.resolutions, missing)
    costs = _costs(study, kind, missing)
    return Evidence(study, trained, costs, _manifest(study), missing)


def _trained(study: Study, missing: list[Missing]) -> Iterable[Trained]:
    from resomap.status import collect

    waiting: dict[Cell, str] = {}
    for cell, fingerprint in study.fingerprints().items():
        marker = Marker.of_done(cell, fingerprint, study.content_digest)
        if marker is None:
            waiting[cell] = fingerprint
            continue
        found = Predictions.load(evaluation_record.predictions_path(cell))
        if found is not None and not marker.is_of(found.fingerprint, found.uid):
            found = None
        yield Trained(cell, marker, evaluation_record.read_record(cell, marker), found)
    report = study.config.report
    for status in collect(waiting, waiting, report.metric, report.margin, study.content_digest):
        note = f"{status.state}: {status.note}" if status.note else status.state
        cell = status.cell
        missing.append(Missing(cell.model, cell.resolution, cell.seed, cell.fold, "training", note, can_come=True))


def _with_shared_images(trained: list[Trained], missing: list[Missing]) -> list[Trained]:
    """Drop predictions of other images than those of most trainings: only shared images can be compared in pairs."""
    seen = Counter(_images(one.predictions) for one in trained if one.predictions is not None)
    if len(seen) < 2:
        return trained
    shared, _ = seen.most_common(1)[0]
    kept = []
    for one in trained:
        if one.predictions is not None and _images(one.predictions) != shared:
            reason = "they are of other images than those of the other cells"
            missing.append(_gap(one, "predictions", reason))
            one = Trained(one.cell, one.marker, one.evaluation, None)
        kept.append(one)
    return kept


def _images(predictions: Predictions) -> tuple[Any, ...]:
    """Return a key that is equal for predictions of the same images: classes, and names and labels of both splits."""
    splits = (predictions.splits[split] for split in EVALUATED)
    return (*predictions.classes, *((hash(tuple(part.names)), part.labels.tobytes()) for part in splits))


def _note_gaps(one: Trained, resolutions: Iterable[int], missing: list[Missing]) -> None:
    noted = {(gap.model, gap.resolution, gap.seed, gap.fold) for gap in missing if gap.what == "predictions"}
    cell = one.cell
    if one.predictions is None and (cell.model, cell.resolution, cell.seed, cell.fold) not in noted:
        where = "the tracker has none of them" if one.marker.is_from_tracker else "their file is gone"
        missing.append(_gap(one, "predictions", where))
    if one.evaluation is None:
        missing.append(_gap(one, "evaluation", "not evaluated yet; `snakemake evaluations` does it", can_come=True))
        return
    entries = one.evaluation["test_resolutions"]
    for resolution in resolutions:
        if entries.get(str(resolution)) is None:
            reason = one.evaluation.get("unavailable", {}).get(str(resolution), "not evaluated yet")
            can_come = str(resolution) not in entries
            missing.append(_gap(one, "evaluation", f"at {resolution} px: {reason}", can_come))


def _gap(one: Trained, what: str, reason: str, can_come: bool = False) -> Missing:
    return Missing(one.cell.model, one.cell.resolution, one.cell.seed, one.cell.fold, what, reason, can_come)


def _costs(study: Study, kind: str | None, missing: list[Missing]) -> dict[Position, Mapping[str, Any]]:
    """Return the measurements of one kind of device under the present settings, by square."""
    try:
        classes = class_count(study.config.data)
    except ResomapError as error:
        classes, reason = 0, str(error)
    else:
        reason = "not measured yet; `snakemake results/costs.csv` does it"
    found = {one: _measured(study, one, classes) for one in ([kind] if kind else KINDS)}
    best = max(found, key=lambda one: len(found[one]))
    for measurement in measurements(study, best):
        position = (measurement.model, measurement.resolution)
        is_measured = position in found[best]
        why = "; ".join(found[best][position]["reasons"].values()) if is_measured else reason
        if why:
            missing.append(Missing(*position, None, None, "cost", why, can_come=not is_measured))
    return found[best]


def _measured(study: Study, kind: str, classes: int) -> dict[Position, Mapping[str, Any]]:
    read = {
        (measurement.model, measurement.resolution): measurement.read(measurement.settings(study, classes))
        for measurement in measurements(study, kind)
    }
    return {position: content for position, content in read.items() if content is not None}


def _manifest(study: Study) -> Manifest | None:
    """Return the list of the images; None where it is not here. Raises ResomapError where it is damaged."""
    if not (DATA_DIRECTORY / MANIFEST).exists():
        return None
    manifest = Manifest.load(DATA_DIRECTORY)
    return manifest if manifest.identity == study.data_identity else None
