"""Folds in real trainings: from Snakemake to the map, and a fold that is killed and goes on to the same bits."""

import contextlib
import csv
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import MODEL, command, make_study, small_config, snakemake, trainer
from endings import End, assert_same_bits
from waiting import wait_for

from resomap.cells import archive
from resomap.cells.marker import Marker
from resomap.cells.out_of_fold import LARGEST, EpochRecords, OutOfFold, is_whole, out_of_fold_path
from resomap.cells.predictions import Predictions
from resomap.cells.study import CURRENT, Study
from resomap.compute.temperature import fit_temperature
from resomap.core.files import read_json
from resomap.data import DATA_DIRECTORY
from resomap.data.manifest import Manifest
from resomap.statistics import quality
from resomap.statistics.chosen_epochs import epochs_by_others
from resomap.summary.evidence import gather

EPOCHS = 3


@pytest.fixture(scope="module")
def grid(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a study of two resolutions in three folds, trained by Snakemake up to its report."""
    directory = tmp_path_factory.mktemp("folds")
    config = small_config(images, resolutions=[32, 48], data={"folds": 3})
    listed = snakemake("-n", directory=directory, config=config)
    assert listed.stdout.count("rule train:") == 6, listed.stdout + listed.stderr
    done = snakemake("--cores", "1", directory=directory, config=config, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


@pytest.mark.xdist_group("folds")  # which are trained once
class TestGrid:
    def test_each_fold_is_complete_and_nothing_is_left_to_do(self, grid: Path, images: Path) -> None:
        names = sorted(path.name for path in (grid / "results" / MODEL).glob("*.done"))
        assert names == sorted(f"{size}{fold}.done" for size in (32, 48) for fold in ("", ".fold2", ".fold3"))
        config = small_config(images, resolutions=[32, 48], data={"folds": 3})
        again = snakemake("-n", directory=grid, config=config)
        assert "Nothing to be done" in again.stdout + again.stderr
        for place in ("", "fold2", "fold3"):
            files = {
                path.name for path in (grid / "checkpoints/resnet" / MODEL / "32" / place).iterdir() if path.is_file()
            }
            assert {"best.pt", "final.pt", "done.json"} <= files
            assert archive.EPOCH_RECORDS not in files

    def test_status_and_forget_know_folds(self, grid: Path) -> None:
        cells = json.loads(command("resomap", "status", "--json", cwd=grid).stdout)["cells"]
        assert [(cell["resolution"], cell["fold"], cell["state"]) for cell in cells] == [
            (size, fold, "done") for fold in (1, 2, 3) for size in (32, 48)
        ]

    def test_out_of_fold_predictions_are_those_of_each_epoch(self, grid: Path) -> None:
        with contextlib.chdir(grid):
            study = Study.load(CURRENT)
            folds = {entry.name: entry.fold for entry in Manifest.load(DATA_DIRECTORY).entries}
            for cell in study.cells():
                found, marker = OutOfFold.load(out_of_fold_path(cell)), Marker.read(cell.marker)
                predictions = Predictions.load(cell.beside_marker("predictions.npz"))
                assert found is not None
                assert marker is not None
                assert predictions is not None
                assert marker.is_of(found.fingerprint, found.uid)
                assert marker.fold == found.fold == cell.fold
                assert {folds[name] for name in found.names} == {cell.fold}
                assert found.epochs.tolist() == list(range(1, EPOCHS + 1))
                assert found.log_probabilities is not None
                with cell.history.open(newline="") as stream:
                    rows = list(csv.DictReader(stream))
                assert found.monitored.tolist() == [float(row["val/loss"]) for row in rows]
                own = found.log_probabilities[:, np.arange(len(found.labels)), found.labels]
                assert (-own.mean(axis=1)).tolist() == pytest.approx(found.monitored.tolist(), rel=1e-5)
                best = found.after(int(marker.best_epoch or 0))
                assert best is not None
                assert np.allclose(best, predictions.splits["val"].log_probabilities, atol=1e-5)

    def test_the_map_takes_the_epoch_of_the_other_folds_and_judges_every_image(self, grid: Path) -> None:
        with contextlib.chdir(grid):
            study = Study.load(CURRENT)
            evidence = gather(study)
            outside = Manifest.load(DATA_DIRECTORY).of("train")
            for size in (32, 48):
                archives = {}
                for fold in (1, 2, 3):
                    found = OutOfFold.load(out_of_fold_path(study.cell(MODEL, size, fold=fold)))
                    assert found is not None
                    archives[fold] = found
                (part,) = evidence.judged[MODEL, size]
                assert sorted(part.names) == [entry.name for entry in outside]
                place = {name: row for row, name in enumerate(part.names)}
                for fold, own in archives.items():
                    others = np.mean([archives[other].monitored for other in archives if other != fold], axis=0)
                    expected = own.after(int(np.argmin(others)) + 1)
                    rows = [place[name] for name in own.names]
                    assert np.allclose(part.log_probabilities[rows], expected, atol=1e-5)
                    assert part.folds is not None
                    assert set(part.folds[rows]) == {fold}
        found = read_json(grid / "results" / "summary.json")
        assert found["folds"] == 3
        assert found["is_complete"] is True
        assert found["answer"] is not None
        advice = found["recommendation"]
        assert (advice["images"], advice["folds"], advice["estimand"]) == (102, 3, "training on 2/3 of such data")
        assert advice["includes_training_noise"] is True
        assert (
            "each judged by a training that did not see it (3 folds), and is said of training on 2/3 of"
            in advice["text"]
        )
        for square in found["squares"]:
            (part,) = evidence.judged[MODEL, square["resolution"]]
            judged = quality("balanced_accuracy", evidence.sample(part, "val"))
            assert judged is not None
            estimate = square["validation"]["balanced_accuracy"]
            assert estimate["value"] == pytest.approx(judged.value)
            assert estimate["images"] == 102
            assert estimate["includes_training_noise"] is True
            assert square["test"]["balanced_accuracy"]["seeds"] == 3
            assert square["calibration"]["as_trained"] is not None
        assert {(one["fold"], one["resolution"]) for one in found["trainings"]} == {
            (fold, size) for fold in (1, 2, 3) for size in (32, 48)
        }

    def test_the_report_shows_the_images_that_the_folds_judge(self, grid: Path) -> None:
        page = (grid / "results" / "report.html").read_text()
        assert "images outside the test split, each judged by a training that did not see it" in page
        assert "fold 2, seed 0" in page
        with (grid / "results" / "summary.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert {(row["resolution"], row["fold"]) for row in rows} == {
            (size, fold) for size in ("32", "48") for fold in ("1", "2", "3")
        }

    def test_a_folds_weights_predict_and_older_runs_are_not_taken_for_folds(self, grid: Path, images: Path) -> None:
        image = next(images.rglob("*.png"))
        done = command("resomap", "predict", "--cell", f"{MODEL}@32.fold2", image, cwd=grid)
        assert done.returncode == 0, done.stderr
        refused = command("resomap", "adopt", cwd=grid)
        assert "this study has folds, and runs of older scripts were judged on one split" in refused.stderr
        assert refused.returncode != 0

    def test_a_fold_that_is_killed_goes_on_to_the_same_bits(self, grid: Path, images: Path, tmp_path: Path) -> None:
        make_study(tmp_path, small_config(images, data={"folds": 3}, checkpoints={"every_minutes": 0}))
        records = tmp_path / "checkpoints" / "resnet" / MODEL / "32" / "fold2" / archive.EPOCH_RECORDS
        process = trainer(f"{MODEL}@32.fold2", tmp_path)
        wait_for(records.exists, seconds=300)  # it has one epoch of three
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert trainer(f"{MODEL}@32.fold2", tmp_path).wait(timeout=600) == 0
        assert not records.exists()
        ends = [End.of(directory, suffix=".fold2") for directory in (grid, tmp_path)]
        assert_same_bits(*ends)
        assert ends[1].marker["exact"] is True
        name = f"results/{MODEL}/32.fold2.out-of-fold.npz"
        first, second = (OutOfFold.load(directory / name) for directory in (grid, tmp_path))
        assert first is not None
        assert second is not None
        assert first.epochs.tolist() == second.epochs.tolist() == [1, 2, 3]
        assert np.array_equal(first.log_probabilities, second.log_probabilities)
        assert np.array_equal(first.monitored, second.monitored)

    def test_the_winner_learns_from_every_image_outside_test(self, grid: Path) -> None:
        done = command("resomap", "winner", "--cell", f"{MODEL}@32", cwd=grid)
        assert done.returncode == 0, done.stderr
        with contextlib.chdir(grid):
            study, outside = Study.load(CURRENT), Manifest.load(DATA_DIRECTORY).of("train")
            (part,) = gather(study).judged[MODEL, 32]
            marker = Marker.read(Path("results/winner.done"))
        assert marker is not None
        assert marker.winner is not None
        assert marker.winner["images"] == len(outside)
        # Of the images, each judged at the epoch that the other folds choose.
        expected = fit_temperature(part.log_probabilities, part.labels)
        assert marker.winner["temperature"] == pytest.approx(expected, rel=1e-5)
        chosen = sorted(one["best_epoch"] for one in marker.winner["trainings"].values())
        assert len(chosen) == 3
        assert marker.epochs == chosen[1]

    def test_squares_without_all_folds_wait_and_a_single_fold_still_answers(self, grid: Path) -> None:
        done = command("resomap", "forget", f"{MODEL}@48.fold3", cwd=grid)
        assert done.returncode == 0, done.stderr
        assert not (grid / "results" / MODEL / "48.fold3.out-of-fold.npz").exists()
        with contextlib.chdir(grid):
            evidence = gather(Study.load(CURRENT))
            assert evidence.folds == {1, 2, 3}
            assert set(evidence.judged) == {(MODEL, 32)}
            assert [(gap.resolution, gap.fold) for gap in evidence.missing if gap.what == "training"] == [(48, 3)]
        for name in ("48.fold2", "32.fold3", "32.fold2"):
            command("resomap", "forget", f"{MODEL}@{name}", cwd=grid)
        assert command("resomap", "map", cwd=grid).returncode == 0
        found = read_json(grid / "results" / "summary.json")
        assert found["answer"]["decided"] is False
        assert found["recommendation"]["folds"] == 1
        assert "34 images of one fold" in found["recommendation"]["text"]


def test_another_copy_fetches_the_folds_and_its_map_says_the_same(
    images: Path, server: str, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    grid, tracking = tmp_path_factory.mktemp("tracked"), {"uri": server, "drain_seconds": 60}
    config = small_config(images, experiment="folds", resolutions=[32, 48], data={"folds": 3}, tracking=tracking)
    trained = snakemake("--cores", "1", directory=grid, config=config, timeout=900)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    listed = snakemake("-n", directory=tmp_path, config=config)
    assert (listed.stdout.count("rule train:"), listed.stdout.count("rule fetch:")) == (0, 6)
    done = snakemake("--cores", "1", directory=tmp_path, config=config, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not list(tmp_path.glob("checkpoints/**/*.pt")), "neither trained here nor with weights in the tracker"
    names = [f"{size}{fold}.out-of-fold.npz" for size in (32, 48) for fold in ("", ".fold2", ".fold3")]
    for name in names:
        there, here = (place / "results" / MODEL / name for place in (grid, tmp_path))
        assert there.read_bytes() == here.read_bytes()
    # Latencies are measured anew in each place: with the same ones the map has to say the same.
    shutil.copytree(grid / "results" / "cost", tmp_path / "results" / "cost", dirs_exist_ok=True)
    assert command("resomap", "map", cwd=tmp_path).returncode == 0
    made, fetched = (read_json(place / "results" / "summary.json") for place in (grid, tmp_path))
    assert {one["origin"] for one in fetched["trainings"]} == {"tracker"}
    for one, other in zip(made["squares"], fetched["squares"], strict=True):
        for part in ("validation", "test", "deficit", "calibration"):
            assert one[part] == other[part]
    for part in ("answer", "ladder", "recommendation", "model_resolutions", "validation_gap"):
        assert fetched[part] == made[part]


class TestEpochsByOthers:
    def test_a_folds_own_curve_has_no_say(self) -> None:
        curves = {1: np.array([3.0, 1.0, 2.0]), 2: np.array([2.0, 3.0, 1.0]), 3: np.array([2.0, 2.5, 1.5])}
        chosen = epochs_by_others(curves, is_loss=True)
        assert chosen == {1: 3, 2: 2, 3: 3}
        assert epochs_by_others({**curves, 1: np.array([0.0, 9.0, 9.0])}, is_loss=True)[1] == chosen[1]

    def test_higher_is_better_for_other_metrics_and_the_first_of_equals_counts(self) -> None:
        curves = {1: np.array([0.1, 0.9, 0.2]), 2: np.array([0.5, 0.5, 0.4]), 3: np.array([0.3, 0.8, 0.8])}
        assert epochs_by_others(curves, is_loss=False) == {1: 2, 2: 2, 3: 2}

    def test_a_curve_that_ended_early_stays_at_its_last_value(self) -> None:
        curves = {1: np.zeros(5), 2: np.array([2.0, 1.0]), 3: np.array([5.0, 4.0, 3.0, 2.0, 1.0])}
        assert epochs_by_others(curves, is_loss=True)[1] == 5
        assert epochs_by_others(curves, is_loss=True)[2] in (1, 2), "no later epoch than its own last"

    def test_undefined_values_and_a_single_fold(self) -> None:
        nan = float("nan")
        assert epochs_by_others({1: np.array([3.0, 1.0, 2.0])}, is_loss=True) == {1: 2}
        curves = {1: np.array([nan, 1.0, 2.0]), 2: np.array([0.0, 1.0, nan]), 3: np.array([0.0, nan, 0.5])}
        assert epochs_by_others(curves, is_loss=True)[1] == 3, "the first was lost, the mean of the others is .5 there"
        assert epochs_by_others({1: np.full(2, nan), 2: np.full(3, nan)}, is_loss=True) == {1: 2, 2: 3}


class TestRecords:
    @pytest.mark.parametrize(("count", "classes", "is_small"), [(5, 3, True), (40, 40_000, False)])
    def test_records_come_back_and_a_damaged_one_is_left_out(
        self, study_in: Callable[..., Study], count: int, classes: int, is_small: bool
    ) -> None:
        cell = study_in(data={"folds": 3}).cells()[0]
        cell.checkpoints.mkdir(parents=True)
        random = np.random.default_rng(0)
        labels = random.integers(classes, size=count)
        epochs = [random.dirichlet(np.full(classes, 0.5), size=count) for _ in range(3)]
        logs = [np.log(np.maximum(one, 1e-30)).astype(np.float32) for one in epochs]
        records = EpochRecords(cell, labels, classes, 10)
        assert is_whole(10, count, classes) is is_small
        assert (40 * count * classes <= LARGEST) is is_small
        for epoch in (1, 3, 2):  # a resumed training writes over
            records.write(epoch, logs[epoch - 1])
        found, arrays = EpochRecords(cell, labels, classes, 10).read(4)
        assert found.tolist() == [1, 2, 3]
        path = cell.checkpoints / archive.EPOCH_RECORDS
        archived = OutOfFold(
            fingerprint="f",
            uid="u",
            fold=1,
            classes=[str(number) for number in range(classes)],
            names=[str(number) for number in range(count)],
            labels=labels,
            epochs=found,
            monitor="loss",
            monitored=np.zeros(3),
            **arrays,
        )
        archived.save(out_of_fold_path(cell))
        read = OutOfFold.load(out_of_fold_path(cell))
        assert read is not None
        for epoch in (1, 2, 3):
            after = read.after(epoch)
            assert after is not None
            true = np.arange(count), labels
            assert np.array_equal(after.argmax(axis=1), logs[epoch - 1].argmax(axis=1))
            assert np.allclose(after[true], logs[epoch - 1][true], atol=1e-4)
            if is_small:
                assert np.array_equal(after, logs[epoch - 1])
        assert read.after(4) is None
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(bytes(content))
        assert records.read(3)[0].tolist() == [1, 3]
