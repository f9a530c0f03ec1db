"""Wrong labels are found among images that the trainings did not learn from, and shown with their pictures."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import done_marker
from test_map import finish
from test_report import chapter
from test_report import written as written  # a fixture

from resomap.cells.cell import Cell
from resomap.cells.predictions import Predictions, SplitPredictions
from resomap.cells.study import Study
from resomap.data import DATA_DIRECTORY
from resomap.data.manifest import Manifest
from resomap.report.chapters.label_errors import judged_images
from resomap.report.material import Material
from resomap.report.report_writer import make_report
from resomap.statistics import Sample
from resomap.statistics.label_errors import suspects
from resomap.summary.evidence import Evidence, Trained


def world(images: int, classes: int, flips: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels with flips, probabilities of a classifier that is right nine times in ten, and which were flipped."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, classes, images)
    said = np.where(random.random(images) < 0.9, truth, random.integers(0, classes, images))
    sure = random.uniform(0.5, 0.95, images)
    shares = np.full((images, classes), 1.0) * ((1 - sure) / (classes - 1))[:, None]
    shares[np.arange(images), said] = sure
    flipped = random.choice(images, flips, replace=False)
    labels = truth.copy()
    labels[flipped] = (labels[flipped] + 1 + random.integers(0, classes - 1, flips)) % classes
    return labels, shares, flipped


@pytest.mark.parametrize("classes", [2, 12])
def test_planted_flips_stand_first(classes: int) -> None:
    labels, shares, flipped = world(800, classes, 40)
    found = suspects(labels, shares)
    assert found is not None
    assert np.isin(found.order[:40], flipped).mean() > 3 * 40 / 800
    assert (np.diff(found.quality[found.order]) >= 0).all(), "the worst first"
    again = suspects(labels, shares)
    assert again is not None
    assert (again.order == found.order).all()


def test_clean_labels_give_few_suspects_and_a_class_without_an_image_does_not_matter() -> None:
    labels, shares, _ = world(600, 3, 0)
    shares[np.arange(600), labels] += 2
    shares /= shares.sum(axis=1, keepdims=True)
    found = suspects(labels, np.concatenate([shares, np.zeros((600, 2))], axis=1))
    assert found is not None
    assert len(found.order) == 0
    assert suspects(labels[:10], shares[:10]) is None
    assert suspects(np.zeros(100, dtype=np.int64), np.ones((100, 1))) is None


def test_the_report_shows_images_with_planted_labels(
    written: Callable[..., Study], tmp_path: Path, images: Path
) -> None:
    study = written(data={"split": {"train": 0.34, "val": 0.33, "test": 0.33}})
    manifest = Manifest.load(DATA_DIRECTORY)
    entries = manifest.of("val")
    labels = np.array([entry.label for entry in entries])
    wrong = [3, 7]
    truth = labels.copy()
    truth[wrong] ^= 1
    sample = Sample.of_probabilities(labels, np.eye(2, dtype=np.float32)[truth] * 0.9 + 0.05)
    for cell in study.cells():
        finish(study, cell, {"val": sample, "test": sample}, [entry.name for entry in entries])
    make_report(study)
    text = re.sub(r"\s+", " ", chapter("label-errors"))
    assert f"Of {len(labels)} validation images, 2 have a label that 4 trainings together contradict" in text
    assert sorted(re.findall(r'<span class="file">(.*?)</span>', text)) == sorted(entries[row].name for row in wrong)
    assert text.count('<img src="data:image/') == 2
    first = entries[min(wrong, key=lambda row: entries[row].name)]
    said = manifest.classes[1 - first.label]
    assert f"{first.name},{manifest.classes[first.label]},{said},95%" in text
    assert f"said: {said} 95%, its label 5%" in text


def test_each_image_is_judged_by_those_that_left_it_out() -> None:
    """Two folds of three images each, and two seeds of the first fold: the mean of those that judged an image."""
    cell = Cell("a", 32, 0, "a", "")

    def judged(names: list[str], shares: list[float]) -> Trained:
        right = np.array(shares, dtype=np.float32)
        part = SplitPredictions(names, np.zeros(3, dtype=np.int64), np.log(np.stack([right, 1 - right], axis=1)))
        return Trained(cell, done_marker(cell, "f"), None, Predictions("f", "u", ["x", "y"], {"val": part}))

    trained = [
        judged(["c", "b", "a"], [0.9, 0.8, 0.7]),
        judged(["c", "b", "a"], [0.7, 0.6, 0.1]),
        judged(["d", "e", "f"], [0.5, 0.4, 0.3]),
    ]
    evidence = Evidence(None, trained, {}, None)  # type: ignore[arg-type]
    found = judged_images(Material(None, evidence))  # type: ignore[arg-type]
    assert found is not None
    assert found.names == ["a", "b", "c", "d", "e", "f"]
    assert found.probabilities[:, 0] == pytest.approx([0.4, 0.7, 0.8, 0.5, 0.4, 0.3])
    assert judged_images(Material(None, Evidence(None, [], {}, None))) is None  # type: ignore[arg-type]


def test_without_predictions_the_chapter_says_so(written: Callable[..., Study]) -> None:
    study = written(resolutions=[32])
    for path in Path("results").rglob("*.predictions.npz"):
        path.unlink()
    make_report(study)
    assert "No finished training has its validation predictions here yet." in chapter("label-errors")
