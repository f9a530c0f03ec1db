"""Evidence of the map, from the files of the steps before: trainings, predictions, evaluations, costs, images.

Whatever is not there is listed in `missing`; nothing here raises for an incomplete grid, only for a damaged list of
images, without which intervals would silently count other groups, and for a device that nobody measured on.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from resomap.cells import evaluation_record
from resomap.cells.cell import Cell
from resomap.cells.marker import Marker
from resomap.cells.predictions import SplitPredictions
from resomap.cells.study import Study
from resomap.data import DATA_DIRECTORY
from resomap.data.changes import MANIFEST
from resomap.data.image_blocks import block_indices
from resomap.data.manifest import Manifest
from resomap.statistics import Position, Sample
from resomap.summary.decisive_costs import decisive_costs
from resomap.summary.pooling import counted_folds, joined, pooled
from resomap.summary.shared_images import with_shared_images
from resomap.summary.trained import Missing as Missing
from resomap.summary.trained import Trained as Trained
from resomap.summary.trained import gap_of


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
        trainings = len(self.positions) * (self.study.config.data.folds or 1)
        return sum(found) * trainings / len(found) if found else None

    @cached_property
    def groups(self) -> Mapping[str, np.ndarray | None]:
        """Group int64 [N] of each image that judges or tests, by split; None where each image stands for itself."""
        parts = {"val": self.first_judged, "test": self._first("test")}
        return {split: None if part is None else self._groups_of(part, split) for split, part in parts.items()}

    def sample(self, part: SplitPredictions, split: str) -> Sample:
        """Return predictions of a split as the statistics take them, with the groups of its images."""
        return Sample(np.asarray(part.labels), part.log_probabilities, self._groups_of(part, split), part.folds)

    @property
    def first_judged(self) -> SplitPredictions | None:
        """Validation predictions of one of the squares, for the images that judge; None without predictions."""
        return next((parts[0] for parts in self.judged.values()), None)

    @cached_property
    def judged(self) -> dict[Position, list[SplitPredictions]]:
        """Validation predictions by square: of each training, or with folds of each seed, all of its folds as one."""
        return {position: [one for one, _ in found.values()] for position, found in self.pooled.items()} or {
            position: parts for position in self.positions if (parts := self._parts(position, "val"))
        }

    @cached_property
    def judged_by_probabilities(self) -> dict[Position, list[SplitPredictions]]:
        """The same for metrics of probabilities, where some cells stored only classes and losses."""
        return {position: [one for _, one in found.values()] for position, found in self.pooled.items()} or self.judged

    @cached_property
    def pooled(self) -> dict[Position, dict[int, tuple[SplitPredictions, SplitPredictions]]]:
        """Pooled validation predictions of each square by seed, as `pooling.pooled` gives them; empty without folds."""
        if self.study.config.data.folds is None:
            return {}
        found = {position: pooled(self.of(position), self.folds) for position in self.positions}
        return {position: by_seed for position, by_seed in found.items() if by_seed}

    @cached_property
    def folds(self) -> frozenset[int]:
        """The folds that squares are compared by; empty without folds."""
        return counted_folds(self.trained)

    def _parts(self, position: Position, split: str) -> list[SplitPredictions]:
        return [one.predictions.splits[split] for one in self.of(position) if one.predictions is not None]

    def _first(self, split: str) -> SplitPredictions | None:
        return next((part for position in self.positions for part in self._parts(position, split)), None)

    def _groups_of(self, part: SplitPredictions, split: str) -> np.ndarray | None:
        """Return the groups of a part's images, as the manifest has them, else as the predictions do.

        A study whose trainings were fetched has no images. Without folds all parts of a split have the same images.
        """
        key = split, hash(tuple(part.names))
        if key not in self._groups:
            self._groups[key] = self._find_groups(part, split)
        return self._groups[key]

    @cached_property
    def _groups(self) -> dict[tuple[str, int], np.ndarray | None]:
        return {}

    def _find_groups(self, part: SplitPredictions, split: str) -> np.ndarray | None:
        if self.manifest is not None:
            entries = {entry.name: entry for entry in self.manifest.of(self.manifest.holding(split))}
            if all(name in entries for name in part.names):
                found = block_indices([entries[name] for name in part.names])
                return found if len(np.unique(found)) < len(found) else None
        if part.groups is not None or self.study.config.data.folds is not None:
            return part.groups
        others = (one.predictions.splits[split] for one in self.trained if one.predictions is not None)
        return next((other.groups for other in others if other.groups is not None), None)

    def tested(self, position: Position, split: str) -> dict[int, list[SplitPredictions]]:
        """Return a square's predictions of a split by test resolution, where each of its trainings has them.

        With folds those of validation are one for each seed, of the best weights, where it has all folds.
        """
        trained = [one for one in self.of(position) if one.predictions is not None]
        is_pooled = split == "val" and self.study.config.data.folds is not None
        if is_pooled:
            seeds = self.pooled.get(position, {})
            trained = [one for one in trained if one.cell.seed in seeds and one.cell.fold in self.folds]
        found: dict[int, list[SplitPredictions]] = {}
        for resolution in self.study.config.resolutions:
            parts = [(one.cell, part) for one in trained if (part := one.tested(resolution, split)) is not None]
            if not parts or len(parts) < len(trained):
                continue
            if is_pooled:
                by_seed: dict[int, dict[int, SplitPredictions]] = defaultdict(dict)
                for cell, part in parts:
                    by_seed[cell.seed][int(cell.fold or 0)] = part
                found[resolution] = [joined(folds) for folds in by_seed.values()]
            else:
                found[resolution] = [part for _, part in parts]
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

    `kind` is the kind of device whose costs count where the configuration names none; None: the one with the most
    measurements. Raises ResomapError where the configuration names a device that nothing was measured on.
    """
    missing: list[Missing] = []
    trained = with_shared_images(list(_trained(study, missing)), missing)
    for one in trained:
        _note_gaps(one, study.config.resolutions, missing)
    costs = decisive_costs(study, kind, missing)
    return Evidence(study, trained, costs, _manifest(study), missing)


def _trained(study: Study, missing: list[Missing]) -> Iterable[Trained]:
    from resomap.status import collect

    waiting: dict[Cell, str] = {}
    for cell, fingerprint in study.fingerprints().items():
        marker = Marker.of_done(cell, fingerprint, study.content_digest)
        if marker is None:
            waiting[cell] = fingerprint
            continue
        found = evaluation_record.kept_predictions(cell, marker, cell.resolution)
        yield Trained(cell, marker, evaluation_record.read_record(cell, marker), found)
    report = study.config.report
    for status in collect(waiting, waiting, report.metric, report.margin, study.content_digest):
        note = f"{status.state}: {status.note}" if status.note else status.state
        cell = status.cell
        missing.append(Missing(cell.model, cell.resolution, cell.seed, cell.fold, "training", note, can_come=True))


def _note_gaps(one: Trained, resolutions: Iterable[int], missing: list[Missing]) -> None:
    noted = {(gap.model, gap.resolution, gap.seed, gap.fold) for gap in missing if gap.what == "predictions"}
    cell = one.cell
    if one.predictions is None and (cell.model, cell.resolution, cell.seed, cell.fold) not in noted:
        where = "the tracker has none of them" if one.marker.is_from_tracker else "their file is gone"
        missing.append(gap_of(one, "predictions", where))
    if one.evaluation is None:
        missing.append(gap_of(one, "evaluation", "not evaluated yet; `snakemake evaluations` does it", can_come=True))
        return
    entries = one.evaluation["test_resolutions"]
    for resolution in resolutions:
        if entries.get(str(resolution)) is None:
            reason = one.evaluation.get("unavailable", {}).get(str(resolution), "not evaluated yet")
            can_come = str(resolution) not in entries
            missing.append(gap_of(one, "evaluation", f"at {resolution} px: {reason}", can_come))


def _manifest(study: Study) -> Manifest | None:
    """Return the list of the images; None where it is not here. Raises ResomapError where it is damaged."""
    if not (DATA_DIRECTORY / MANIFEST).exists():
        return None
    manifest = Manifest.load(DATA_DIRECTORY)
    return manifest if manifest.identity == study.data_identity else None
