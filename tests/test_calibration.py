"""Calibration errors whose truth is known, and temperatures: fitted on validation, kept beside best.pt, used."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import command
from scipy import special

from resomap.cells.decision import NAME, Decision, OperatingPoint, keep_operating_point, operating_point
from resomap.cells.evaluation_record import predictions_path
from resomap.cells.marker import Marker
from resomap.cells.predictions import EVALUATED, Predictions, SplitPredictions
from resomap.cells.study import Study
from resomap.compute.temperature import COLDEST, HOTTEST, cross_fitted, decide, fit_temperature, tempered
from resomap.core.files import read_json, write_json
from resomap.evaluation.calibration_figures import calibration_figures
from resomap.evaluation.evaluation_writer import evaluate_cell
from resomap.statistics import calibration
from resomap.statistics.calibration_promises import calibrated_inside, error_covered, uncalibrated_called
from resomap.train.attempt import train_cell
from resomap.train.request import Request


def answers(images: int, factor: float, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Log-probabilities whose logits are `factor` times those by which the labels were drawn, and the labels."""
    random = np.random.default_rng(seed)
    logits = 2 * random.normal(size=(images, classes))
    drawn = special.softmax(logits, axis=1).cumsum(axis=1) > random.random((images, 1))
    return special.log_softmax(logits * factor, axis=1).astype(np.float32), drawn.argmax(axis=1)


@pytest.mark.parametrize("accuracy", [0.75, 0.9])
def test_calibrated_models_are_inside_their_interval(accuracy: float) -> None:
    found = calibrated_inside(accuracy, 400, 200)
    assert found.measured + 2 * found.error >= 0.93
    assert found.measured - 2 * found.error <= 0.985


@pytest.mark.parametrize("factor", [1.5, 1 / 1.5])
def test_a_temperature_of_one_and_a_half_is_seen_on_400_images(factor: float) -> None:
    assert uncalibrated_called(0.85, 400, factor, 80).measured >= 0.8
    covered = error_covered(0.85, 400, factor, 100)
    assert covered.measured + 2 * covered.error >= 0.93


def test_groups_count_as_groups() -> None:
    grouped = calibrated_inside(0.85, 400, 150, groups=40)
    assert grouped.measured + 2 * grouped.error >= 0.93


def test_the_error_over_bins_is_shown_beside_what_calibrated_models_show() -> None:
    found = [calibration(*answers(400, 1.0, seed=seed)) for seed in range(40)]
    exceeding = [one is not None and one.binned > one.binned_if_calibrated for one in found]
    assert sum(exceeding) <= 6
    assert np.mean([one.error for one in found if one]) < 0.5 * np.mean([one.binned for one in found if one])
    many = calibration(*answers(20_000, 1.6))
    assert many is not None
    assert many.low < many.error < many.high
    assert many.error == pytest.approx(many.binned, abs=0.01)
    assert many.is_uncalibrated


@pytest.mark.parametrize(("images", "wrong"), [(1, 0), (1, 1), (30, 0), (100, 3)])
@pytest.mark.parametrize("sure", [1e-30, 1e-3, 0.3])
def test_few_or_saturated_answers_have_an_interval(images: int, wrong: int, sure: float) -> None:
    labels = (np.arange(images) < wrong).astype(int)
    found = calibration(np.log(np.tile([1 - sure, sure], (images, 1))), labels)
    assert found is not None
    assert 0 <= found.low <= found.error <= found.high <= 1
    if wrong == 0 and sure < 0.01 and images == 30:
        assert 0.02 < found.high < 0.12  # no error in thirty


def test_what_cannot_be_told_is_none() -> None:
    shares, labels = answers(30, 1.0)
    assert calibration(np.full_like(shares, np.nan), labels) is None
    assert calibration(shares[:0], labels[:0]) is None
    assert calibration(shares, labels, groups=np.arange(30) % 2) is None


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_temperature_undoes_a_factor_of_the_logits(factor: float) -> None:
    stated, labels = answers(20_000, factor)
    assert fit_temperature(stated, labels) == pytest.approx(factor, rel=0.03)
    again = tempered(stated, fit_temperature(stated, labels))
    assert np.exp(again.astype(float)).sum(axis=1) == pytest.approx(np.ones(len(again)), abs=1e-5)
    assert (again.argmax(axis=1) == stated.argmax(axis=1)).all()
    found = calibration(again, labels)
    assert found is not None
    assert not found.is_uncalibrated


def test_few_images_give_no_extreme_temperature() -> None:
    stated, _ = answers(20, 1.0)
    always_right = stated.argmax(axis=1)
    assert 2 * COLDEST < fit_temperature(stated, always_right) < 1
    assert 1 < fit_temperature(stated, (always_right + 1) % 3) <= HOTTEST
    assert fit_temperature(stated[:0], always_right[:0]) == 1.0


def test_cross_fitting_leaves_the_image_and_its_group_out() -> None:
    stated, labels = answers(60, 2.0)
    before = cross_fitted(stated, labels)
    flipped = labels.copy()
    flipped[7] = (labels[7] + 1) % 3
    after = cross_fitted(stated, flipped)
    assert (after[7] == before[7]).all(), "an image's own label has no part in its temperature"
    assert (after != before).any(), "but in that of others"
    groups = np.arange(60) // 6
    before, after = cross_fitted(stated, labels, groups), cross_fitted(stated, flipped, groups)
    assert (after[6:12] == before[6:12]).all()


def test_no_test_label_has_a_part_in_the_temperature() -> None:
    parts = {}
    for seed, split in enumerate(EVALUATED):
        stated, labels = answers(120, 2.0, seed=seed)
        parts[split] = SplitPredictions([str(index) for index in range(120)], labels, stated)
    shuffled = SplitPredictions(parts["test"].names, parts["test"].labels[::-1], parts["test"].log_probabilities)
    found, other = calibration_figures(parts), calibration_figures({**parts, "test": shuffled})
    assert found["val"] == other["val"]
    assert found["test"]["temperature"] == other["test"]["temperature"] > 1.2
    assert found["test"]["as_trained"] != other["test"]["as_trained"]
    one = decide(Predictions("f", "u", ["a", "b", "c"], parts))
    assert one == decide(Predictions("f", "u", ["a", "b", "c"], {**parts, "test": shuffled}))


def test_the_decision_file_is_of_its_weights_and_keeps_what_others_wrote(tmp_path: Path) -> None:
    best = tmp_path / "best.pt"
    one = Decision(schema=1, fingerprint="f", uid="u", temperature=1.5, images=40)
    one.write(best)
    assert Decision.beside(best, "f", "u") == one
    assert Decision.beside(best, "f", "v") is None
    write_json(tmp_path / NAME, {**read_json(tmp_path / NAME), "of_another_version": 0.3})
    keep_operating_point(best, "f", "u", OperatingPoint("sensitivity_at_specificity", 0.9, "cat", 0.7))
    one.write(best)
    kept = read_json(tmp_path / NAME)
    assert (kept["of_another_version"], kept["threshold"], kept["temperature"]) == (0.3, 0.7, 1.5)
    keep_operating_point(best, "f", "u", None)
    assert operating_point(Decision.beside(best, "f", "u")) is None
    assert read_json(tmp_path / NAME)["of_another_version"] == 0.3
    for damage in ('{"schema": 1', '{"schema": 1, "fingerprint": "f", "uid": "u", "temperature": 0.0, "images": 3}'):
        (tmp_path / NAME).write_text(damage)
        assert Decision.beside(best, "f", "u") is None


def test_a_training_keeps_its_temperature_and_predict_uses_it(study_in: Callable[..., Study]) -> None:
    study = study_in(training={"epochs": 2})
    cell = study.cells()[0]
    train_cell(Request(study, cell, threads=1, attempt=1, say=lambda _sentence: None))
    marker, kept = Marker.read(cell.marker), Predictions.load(predictions_path(cell))
    assert marker is not None
    assert kept is not None
    best = cell.checkpoints / "best.pt"
    written = Decision.beside(best, marker.fingerprint, marker.uid)
    val = kept.splits["val"]
    assert written is not None
    assert written.temperature == pytest.approx(fit_temperature(val.log_probabilities, np.asarray(val.labels)))
    # Weights of an earlier version, or from a tracker: the step beside the predictions writes the file.
    (best.with_name(NAME)).unlink()
    evaluate_cell(study, cell, 1, lambda _sentence: None)
    assert Decision.beside(best, marker.fingerprint, marker.uid) == written
    record = read_json(cell.beside_marker("evaluation.json"))["test_resolutions"][str(cell.resolution)]
    assert record["test"]["calibration"] == calibration_figures(kept.splits)["test"]

    sure = 0.25  # so that a test sees whether it is used
    Decision(schema=1, fingerprint=marker.fingerprint, uid=marker.uid, temperature=sure, images=9).write(best)
    image = next(Path(study.config.data.source).rglob(val.names[0].rpartition("/")[2]))

    def said() -> tuple[float, dict[str, float]]:
        done = command("resomap", "predict", "--weights", best, image, "--json", "--device", "cpu", cwd=Path.cwd())
        assert done.returncode == 0, done.stderr
        content = json.loads(done.stdout)
        (one,) = content["images"]
        return content["temperature"], {each["class"]: each["probability"] for each in one["predictions"]}

    temperature, shares = said()
    assert temperature == sure
    best.with_name(NAME).unlink()
    temperature, plain = said()
    assert temperature == 1.0
    logits = np.log([plain[name] for name in kept.classes])
    assert [shares[name] for name in kept.classes] == pytest.approx(special.softmax(logits / sure), abs=1e-5)
