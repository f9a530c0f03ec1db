"""The labels of the test split choose nothing: permuted in every file of a study, they leave each choice as it was."""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MODEL, small_config
from test_map import finish, measured

from resomap.cells import evaluation_record
from resomap.cells.cell import Cell
from resomap.cells.marker import require_done
from resomap.cells.predictions import EVALUATED, Predictions
from resomap.cells.study import CURRENT, Study
from resomap.compute.metrics import measure
from resomap.evaluation.evaluation_writer import evaluate_cell
from resomap.statistics.simulation import World
from resomap.status import CellStatus, collect, show
from resomap.summary.document import Map
from resomap.summary.summary_writer import make_map

MODELS = (MODEL, "resnet18")
SIZES = (32, 48, 64)
SEEDS = (0, 1)
IMAGES = 2_000
RISING = {32: 0.70, 48: 0.88, 64: 0.88}
METRIC = "accuracy"


@pytest.fixture
def study(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A finished study in a fresh directory, every cell evaluated at every resolution; its test split says otherwise.

    Quality rises from 32 to 48 px; what is trained at 32 px is better when tested at 48 px. On test all falls.
    """
    monkeypatch.chdir(tmp_path)
    report = {"metric": METRIC, "margin": 0.04}
    study = Study.open(
        small_config(images, models=list(MODELS), resolutions=list(SIZES), seeds=list(SEEDS), report=report)
    )
    study.save(CURRENT)
    drawn = {}
    for split in EVALUATED:
        truth = {
            (f"{model}@{trained}", tested): RISING[trained] + (0.08 if (trained, tested) == (32, 48) else 0.0)
            for model in MODELS
            for trained in SIZES
            for tested in SIZES
        }
        if split == "test":
            truth = {cell: 1.6 - quality for cell, quality in truth.items()}
        drawn[split] = World(truth, IMAGES, len(SEEDS), 0.002).draw(np.random.default_rng(len(drawn)))[0]
    for cell in study.cells():
        of = {
            size: {split: drawn[split][f"{cell.model}@{cell.resolution}", size][cell.seed] for split in EVALUATED}
            for size in SIZES
        }
        finish(study, cell, of[cell.resolution])
        own = predictions(cell, cell.resolution)
        for size in SIZES:
            splits = {
                split: replace(own.splits[split], log_probabilities=one.log_probabilities)
                for split, one in of[size].items()
            }
            if size != cell.resolution:
                replace(own, splits=splits).save(evaluation_record.predictions_path(cell, size))
        evaluate_cell(study, cell, 1, lambda _sentence: None)
    for model in MODELS:
        for size in SIZES:
            measured(study, size, model=model)
    return study


def predictions(cell: Cell, size: int) -> Predictions:
    found = Predictions.load(evaluation_record.predictions_path(cell, size))
    assert found is not None
    return found


def permute_test_labels(study: Study) -> None:
    """Permute the test labels in each predictions file; measure markers and evaluation records anew from these."""
    order = np.random.default_rng(7).permutation(IMAGES)
    for cell in study.cells():
        marker = require_done(study, cell)
        for size in SIZES:
            found = predictions(cell, size)
            test = found.splits["test"]
            test = replace(test, labels=test.labels[order])
            replace(found, splits={**found.splits, "test": test}).save(evaluation_record.predictions_path(cell, size))
            if size == cell.resolution:
                figures = measure(test.log_probabilities, test.labels)
                metrics = {**marker.metrics, **{f"test/{name}": value for name, value in figures.items()}}
        replace(marker, metrics=metrics).write(cell.marker)
        evaluate_cell(study, cell, 1, lambda _sentence: None)
        record = evaluation_record.read_record(cell, require_done(study, cell))
        assert record is not None
        entry = record["test_resolutions"][str(cell.resolution)]["test"]
        assert entry["metrics"][METRIC] == metrics[f"test/{METRIC}"] == pytest.approx(0.5, abs=0.1)


def without_test(found: Any) -> Any:
    """The document without the figures of the test split, which have `test` as their key or as the split in it."""
    if isinstance(found, dict):
        return {
            key: without_test(one)
            for key, one in found.items()
            if key not in ("test", "validation_gap") and not key.startswith("test/")
        }
    return [without_test(one) for one in found] if isinstance(found, list) else found


def tables() -> Iterator[list[dict[str, str]]]:
    for name in ("summary", "cells", "matrix"):
        with Path(f"results/{name}.csv").open() as stream:
            yield [{key: row[key] for key in row if not key.startswith("test/")} for row in csv.DictReader(stream)]


def statuses(study: Study) -> list[CellStatus]:
    report, fingerprints = study.config.report, study.fingerprints()
    return collect(fingerprints, fingerprints, report.metric, report.margin)


def status_text(study: Study) -> str:
    stream = io.StringIO()
    show(statuses(study), metric=METRIC, margin=study.config.report.margin, stream=stream)
    return re.sub(r" \(test \S+\)", "", stream.getvalue())


def test_with_all_test_labels_permuted_every_choice_stays_identical(study: Study) -> None:
    before, tables_before = make_map(study), list(tables())
    text, seen = status_text(study), statuses(study)
    assert_it_chooses(before, seen)
    permute_test_labels(study)
    after = make_map(study)
    reported = [[one.test[METRIC] for one in found.squares] for found in (before, after)]
    assert all(one and other and one.value > other.value + 0.1 for one, other in zip(*reported, strict=True))
    assert before.validation_gap != after.validation_gap
    assert without_test(after.content()) == without_test(before.content())
    assert list(tables()) == tables_before
    assert status_text(study) == text
    assert [replace(one, test=None) for one in statuses(study)] == [replace(one, test=None) for one in seen]
    assert [one.test for one in statuses(study)] != [one.test for one in seen]


def assert_it_chooses(found: Map, seen: list[CellStatus]) -> None:
    """Nothing could change in a map without choices: here are some of each kind, and against the test values."""
    assert found.is_complete
    assert not found.missing
    advice = found.recommendation
    assert advice is not None
    assert advice.chosen is not None
    assert advice.chosen.resolution == 48
    assert advice.open or advice.candidates
    assert all(one.deficit is not None for one in found.squares)
    assert all({claim.worse for claim in model.claims} == {32} for model in found.model_resolutions)
    assert {one.best_test_resolution for one in found.squares if one.resolution == 32} == {48}
    assert len(found.fronts) == 4
    assert all(front.places for front in found.fronts)
    assert any(len(front.possible) < len(found.squares) for front in found.fronts)
    assert {one.cell.resolution for one in seen if one.is_near_best} == {48, 64}
    assert sum(one.is_best for one in seen) == 1
    assert max(found.squares, key=lambda one: one.test[METRIC].value if one.test[METRIC] else 0).resolution == 32
