"""Operating points from the configuration to map, report, status, decision file and `resomap predict`."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import MODEL, RESOLUTION, small_config
from test_map import finish, measured

from resomap.cells import decision
from resomap.cells.archive import identity_path
from resomap.cells.evaluation_record import predictions_path
from resomap.cells.marker import Marker
from resomap.cells.predictions import Predictions
from resomap.cells.study import CURRENT, Study
from resomap.cli import main
from resomap.compute.thresholds import log_odds
from resomap.config.judging import Report
from resomap.core.errors import ResomapError
from resomap.core.files import read_json, write_json
from resomap.report.report_writer import make_report
from resomap.statistics import Sample
from resomap.statistics.operating_worlds import Scored
from resomap.status import collect
from resomap.summary.basis import SUMMARY
from resomap.summary.document import Map
from resomap.summary.summary_writer import make_map
from resomap.train.attempt import train_cell
from resomap.train.request import Request

AT = {"metric": "sensitivity_at_specificity", "positive": "down", "at": 0.8, "margin": 0.05}
Grid = Callable[..., Study]


@pytest.fixture
def grid(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Grid:
    """A grid at 32 and 48 px with predictions in files; `shuffled` permutes the labels of the test split."""

    def make(report: dict[str, Any], seeds: int = 2, shuffled: bool = False) -> Study:
        monkeypatch.chdir(tmp_path)
        config = small_config(images, resolutions=[32, 48], seeds=list(range(seeds)), report=report)
        study = Study.open(config)
        study.save(CURRENT)
        random = np.random.default_rng(0)
        labels = {split: Scored("binormal", 60, 140).draw(random).labels for split in ("val", "test")}
        for cell in study.cells():
            samples = {}
            for split, truth in labels.items():
                odds = random.normal(size=200) + (1.0 if cell.resolution == 32 else 2.5) * truth
                samples[split] = Sample(truth, -np.logaddexp(0, np.stack([odds, -odds], axis=1)))
            if shuffled:
                test = samples["test"]
                order = np.random.default_rng(9).permutation(len(test.labels))
                samples["test"] = dataclasses.replace(test, labels=test.labels[order])
            finish(study, cell, samples)
        for size in study.config.resolutions:
            measured(study, size)
        return study

    return make


def of_cell(found: Map, resolution: int, seed: int = 0) -> Any:
    return next(one for one in found.operating_points if (one.resolution, one.seed) == (resolution, seed))


def test_the_map_compares_at_the_threshold_and_says_what_it_holds_on_test(grid: Grid) -> None:
    study = grid({**AT, "prevalence": 0.02})
    found = make_map(study)
    name = "sensitivity_at_specificity"
    for square in found.squares:
        for split in (square.validation, square.test):
            one = split[name]
            assert one is not None
            assert one.low is not None
            assert one.high is not None
            assert 0 < one.low < one.value < one.high <= 1
    better = next(one for one in found.squares if one.resolution == 48).validation[name]
    worse = next(one for one in found.squares if one.resolution == 32).validation[name]
    assert better is not None
    assert worse is not None
    assert better.value > worse.value + 0.2
    for cell in study.cells():
        predictions = Predictions.load(predictions_path(cell))
        assert predictions is not None
        validation, test = predictions.splits["val"], predictions.splits["test"]
        point = of_cell(found, cell.resolution, cell.seed)
        odds = [log_odds(part.log_probabilities, 1) for part in (validation, test)]
        assert 0.8 <= np.mean(odds[0][validation.labels == 0] <= point.threshold) < 0.83
        assert point.held.value == pytest.approx(np.mean(odds[1][test.labels == 0] <= point.threshold))
        assert point.test.value == pytest.approx(np.mean(odds[1][test.labels == 1] > point.threshold))
        assert point.test.value == point.sensitivity.value
        assert (point.holds, point.positive, point.at) == ("specificity", "down", 0.8)
        right, wrong = 0.02 * point.sensitivity.value, 0.98 * (1 - point.specificity.value)
        assert point.accuracy.value == pytest.approx(right + 0.98 * point.specificity.value)
        assert point.ppv.value == pytest.approx(right / (right + wrong))
        assert point.ppv.low < point.ppv.value < point.ppv.high < 0.5
    training = found.trainings[0]
    assert training.metrics[f"test/{name}"] == of_cell(found, training.resolution, training.seed).test.value
    assert found.recommendation is not None
    assert "sensitivity at specificity 0.8" in found.recommendation.text
    own = next(one for one in found.matrix if (one.trained_at, one.tested_at) == (48, 48))
    assert own.test == pytest.approx(np.mean([of_cell(found, 48, seed).test.value for seed in (0, 1)]))


def test_another_positive_class_and_another_share_change_the_map(grid: Grid) -> None:
    down = make_map(grid(AT))
    across = make_map(grid({**AT, "positive": "across"}))
    stricter = make_map(grid({**AT, "at": 0.95}))
    assert of_cell(across, 48).threshold != of_cell(down, 48).threshold
    assert of_cell(stricter, 48).threshold > of_cell(down, 48).threshold
    assert of_cell(stricter, 48).test.value < of_cell(down, 48).test.value
    unnamed = make_map(grid({**AT, "positive": None}))
    assert unnamed.operating_points == down.operating_points
    assert "down is taken for the positive class, the second of two; `report.positive` names another." in unnamed.notes
    of_classes = [[one for one in found.notes if "can prove" not in one] for found in (down, across)]
    assert of_classes[0] == of_classes[1], "nothing is to be said of a class that was named"
    few = make_map(grid({**AT, "at": 0.995}, seeds=1)).notes
    assert any("140 validation images cannot hold a specificity of 0.995 on others: it takes 199" in one for one in few)


@pytest.mark.parametrize("metric", ["average_precision", "quadratic_kappa", "precision_at_recall"])
def test_other_metrics_rank_the_cells_too(grid: Grid, metric: str) -> None:
    found = make_map(grid({"metric": metric, "margin": 0.05}))
    values = {one.resolution: one.validation[metric] for one in found.squares}
    assert values[48] is not None
    assert values[32] is not None
    assert values[48].value > values[32].value
    assert bool(found.operating_points) == (metric == "precision_at_recall")
    assert found.recommendation is not None


def test_a_prevalence_alone_judges_the_likeliest_class(grid: Grid) -> None:
    study = grid({"metric": "accuracy", "prevalence": 0.1})
    point = of_cell(make_map(study), 48)
    predictions = Predictions.load(predictions_path(study.cell(MODEL, 48)))
    assert predictions is not None
    test = predictions.splits["test"]
    called = test.log_probabilities.argmax(axis=1) == 1
    assert point.sensitivity.value == pytest.approx(called[test.labels == 1].mean())
    assert (point.threshold, point.metric, point.test) == (None, None, None)
    assert point.accuracy.low < point.accuracy.value < point.accuracy.high


def test_labels_of_the_test_split_choose_nothing(grid: Grid) -> None:
    found, shuffled = make_map(grid(AT)), make_map(grid(AT, shuffled=True))
    assert found.recommendation == shuffled.recommendation
    assert [one.threshold for one in found.operating_points] == [one.threshold for one in shuffled.operating_points]
    assert [one.validation for one in found.squares] == [one.validation for one in shuffled.squares]
    assert of_cell(found, 48).test != of_cell(shuffled, 48).test


def test_report_and_status_show_the_operating_point(grid: Grid) -> None:
    study = grid({**AT, "prevalence": 0.02}, seeds=1)
    make_map(study)
    content = read_json(SUMMARY)
    for square, point in zip(content["squares"], content["operating_points"], strict=True):
        ours = square["test"]["sensitivity_at_specificity"]
        assert [ours[name] for name in ("value", "low", "high")] == [point["test"][name] for name in point["test"]]
    page = make_report(study).read_text()
    for words in (
        "Operating point: sensitivity at specificity 0.8, down against the rest",
        "specificity on test",
        "Where 0.02 of the images are down",
        "PPV",
    ):
        assert words in page
    prints = study.fingerprints()
    found = collect(prints, prints, "sensitivity_at_specificity", 0.05)
    metrics = {one["uid"]: one["metrics"] for one in read_json(SUMMARY)["trainings"]}
    for status in found:
        assert status.value == metrics[f"uid-{status.cell.name}"]["val/sensitivity_at_specificity"]
    assert [status.is_best for status in found] == [False, True]


def test_thresholds_are_kept_beside_the_weights_and_other_keys_of_the_file_stay(grid: Grid) -> None:
    study = grid(AT)
    cell = study.cell(MODEL, 48)
    marker = Marker.read(cell.marker)
    assert marker is not None
    weights = cell.checkpoints / "best.pt"
    weights.parent.mkdir(parents=True)
    weights.touch()
    write_json(identity_path(cell), {"fingerprint": marker.fingerprint, "uid": marker.uid})
    facts = {"schema": 1, "fingerprint": marker.fingerprint, "uid": marker.uid}
    write_json(weights.with_name(decision.NAME), {**facts, "temperature": 1.7, "images": 200, "of_tomorrow": 3})
    found = make_map(study)
    kept = read_json(weights.with_name(decision.NAME))
    expected = {"metric": AT["metric"], "at": 0.8, "positive": "down", "threshold": of_cell(found, 48).threshold}
    assert kept == {**facts, "temperature": 1.7, "images": 200, "of_tomorrow": 3, "basis": None, **expected}
    make_map(
        Study(study.config.model_copy(update={"report": Report(metric="accuracy")}), study.data, {MODEL: "resnet"})
    )
    kept = read_json(weights.with_name(decision.NAME))
    assert (kept["threshold"], kept["temperature"]) == (None, 1.7)
    assert not (study.cell(MODEL, 32).checkpoints / decision.NAME).exists(), "nothing is written where no weights lie"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"report": {"positive": "dwon"}},
            "report.positive is 'dwon', and there is no such class; did you mean 'down'?",
        ),
        ({"report": {"metric": "precision_at_recall", "positive": "zebra"}}, "the classes are across, down"),
    ],
)
def test_a_class_that_is_not_there_is_one_sentence(images: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ResomapError) as caught:
        Study.open(small_config(images, **changes))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"report": {"metric": "average_precision"}},
        {"report": {"prevalence": 0.1}},
        {"training": {"monitor": "sensitivity_at_specificity"}},
        {"overrides": {MODEL: {"monitor": "average_precision"}}},
    ],
    ids=str,
)
def test_several_classes_need_a_named_one(tmp_path: Path, changes: dict[str, Any]) -> None:
    for label in ("a", "b", "c"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.png").write_bytes(b"x")
    with pytest.raises(ResomapError, match=r"report\.positive names no class, and with 3 classes .* one of a, b, c"):
        Study.open(small_config(tmp_path, **changes))
    named = {**changes, "report": {**changes.get("report", {}), "positive": "b"}}
    assert Study.open(small_config(tmp_path, **named)).config.report.positive == "b"
    assert Study.open(small_config(tmp_path, report={"metric": "quadratic_kappa"})).data.classes == ("a", "b", "c")


def test_a_class_may_be_called_none_or_by_a_number(tmp_path: Path) -> None:
    for label in ("none", "7"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.png").write_bytes(b"x")
    for given, wanted in (("none", "none"), (7, "7"), ("null", None), (None, None)):
        assert Study.open(small_config(tmp_path, report={"positive": given})).config.report.positive == wanted


def test_the_report_enters_a_fingerprint_only_where_it_chooses_epochs(images: Path) -> None:
    def prints(**changes: Any) -> tuple[str, str]:
        study = Study.open(small_config(images, **changes))
        return study.base, study.fingerprint(study.cells()[0])

    report = {"metric": "average_precision", "positive": "across", "at": 0.7, "prevalence": 0.2}
    assert prints(report=report) == prints()
    monitor = {"monitor": "sensitivity_at_specificity"}
    chosen = prints(training=monitor)
    assert chosen[1] != prints()[1]
    assert prints(training=monitor, report={"positive": "down", "at": 0.9}) == chosen, "the defaults, written out"
    assert len({prints(training=monitor, report=each)[1] for each in ({"positive": "across"}, {"at": 0.8}, {})}) == 3
    assert len({prints(training=monitor, report=each)[0] for each in ({"positive": "across"}, {"at": 0.8}, {})}) == 1
    ranked = {"monitor": "average_precision"}
    assert prints(training=ranked, report={"at": 0.8}) == prints(training=ranked)
    assert prints(training={"monitor": "quadratic_kappa"}, report={"positive": "across"}) == prints(
        training={"monitor": "quadratic_kappa"}
    )


def test_a_training_chooses_its_epoch_by_an_operating_point_and_predict_uses_its_threshold(
    study_in: Callable[..., Study], capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*further: str) -> tuple[str, str]:
        assert main(["predict", "--cell", cell.name, str(image), "--device", "cpu", *further]) == 0
        found = capsys.readouterr()
        return found.out, found.err

    study = study_in(training={"monitor": "sensitivity_at_specificity"}, report={**AT, "metric": "precision_at_recall"})
    cell = study.cells()[0]
    train_cell(Request(study, cell, threads=1, attempt=1, say=lambda sentence: None))
    rows = cell.history.read_text().splitlines()
    heading = rows[0].split(",")
    monitored = [float(row.split(",")[heading.index("val/sensitivity_at_specificity")]) for row in rows[1:]]
    assert "val/precision_at_recall" in heading
    marker = Marker.read(cell.marker)
    assert marker is not None
    assert marker.best_epoch == 1 + int(np.argmax(monitored))
    found = of_cell(make_map(study), RESOLUTION)
    image = next(Path(study.config.data.source).rglob("*.png"))
    capsys.readouterr()
    answer = json.loads(said("--json")[0])
    assert answer["operating_point"]["threshold"] == pytest.approx(found.threshold)
    (one,) = answer["images"]
    assert one["positive"] == (one["log_odds"] > found.threshold)
    shares = {each["class"]: each["probability"] for each in one["predictions"]}
    odds = answer["temperature"] * np.log(shares["down"] / shares["across"])
    assert one["log_odds"] == pytest.approx(odds, abs=1e-3), "the threshold is of odds at temperature 1"
    assert "down?" in said()[0]
    # Another threshold in the file turns the answer over.
    weights = cell.checkpoints / "best.pt"
    other = decision.OperatingPoint(
        "precision_at_recall", 0.8, "down", one["log_odds"] + (0.1 if one["positive"] else -0.1)
    )
    decision.keep_operating_point(weights, marker.fingerprint, marker.uid, other)
    again = json.loads(said("--json")[0])["images"][0]
    assert again["positive"] is not one["positive"]
    out, err = said("--json", "--resolution", "48")
    assert "the threshold is of 32 px" in err
    assert json.loads(out)["operating_point"] is None
