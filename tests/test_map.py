"""The map as data: intervals, costs and a recommendation from what lies in a directory, and what is missing."""

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from conftest import MODEL, ROOT, command, done_marker, small_config
from PIL import Image

from resomap.cells import evaluation_record
from resomap.cells.cell import Cell
from resomap.cells.marker import TrainingCost
from resomap.cells.measurement import Measurement
from resomap.cells.predictions import EVALUATED, Predictions, SplitPredictions
from resomap.cells.study import CURRENT, Study
from resomap.compute.metrics import measure
from resomap.core.files import read_json, write_json
from resomap.evaluation.evaluation_writer import evaluate_cell
from resomap.evaluation.uncertainty import image_intervals
from resomap.report.chapters import cost_tables
from resomap.report.material import Material
from resomap.statistics import Sample
from resomap.statistics.simulation import World
from resomap.summary.basis import SUMMARY, is_current
from resomap.summary.document import Map, Square
from resomap.summary.evidence import gather
from resomap.summary.summary_writer import make_map, summary_text

SIZES = (32, 48, 64)
QUALITIES = dict(zip(SIZES, (0.70, 0.90, 0.90), strict=True))
SCHEMA = json.loads((ROOT / "workflow" / "schemas" / "summary.schema.json").read_text())
Grid = Callable[..., Study]


@pytest.fixture
def grid(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Grid:
    """A finished grid of known quality in a fresh directory: markers, predictions, evaluations and costs as files."""

    def make(seeds: int = 3, count: int = 6_000, **changes: Any) -> Study:
        monkeypatch.chdir(tmp_path)
        changes = {"resolutions": list(SIZES), "seeds": list(range(seeds)), **changes}
        changes.setdefault("report", {"metric": "accuracy", "margin": 0.03})
        study = Study.open(small_config(images, **changes))
        study.save(CURRENT)
        world = World({(MODEL, size): QUALITIES[size] for size in SIZES}, count, seeds, 0.002)
        drawn = {split: world.draw(np.random.default_rng(seed))[0] for seed, split in enumerate(EVALUATED)}
        for cell in study.cells():
            number = study.config.seeds.index(cell.seed)
            finish(study, cell, {split: drawn[split][cell.model, cell.resolution][number] for split in EVALUATED})
        for size in study.config.resolutions:
            measured(study, size)
        return study

    return make


def finish(
    study: Study,
    cell: Cell,
    samples: dict[str, Sample],
    names: list[str] | None = None,
    classes: tuple[str, ...] = ("across", "down"),
) -> None:
    """Predictions, marker and evaluation of one training; the images are called 0, 1, ... without names."""
    parts = {
        split: SplitPredictions(
            names or [f"{index}" for index in range(len(one.labels))], one.labels, one.log_probabilities
        )
        for split, one in samples.items()
    }
    fingerprint = study.fingerprint(cell)
    found = Predictions(fingerprint, f"uid-{cell.name}", list(classes), parts)
    found.save(evaluation_record.predictions_path(cell, cell.resolution))
    metrics = {
        f"{split}/{name}": value
        for split, part in parts.items()
        for name, value in measure(part.log_probabilities, part.labels).items()
    }
    cost = TrainingCost(train_seconds=1.0, images_per_second=2.0, device="toaster")
    marker = done_marker(cell, fingerprint, uid=found.uid, best_epoch=2, metrics=metrics, cost=cost)
    marker.write(cell.marker)
    evaluate_cell(study, cell, 1, lambda _sentence: None)


def measured(study: Study, size: int, device: str = "toaster", model: str = MODEL, **further: Any) -> None:
    """A measurement of cost that grows with the resolution."""
    measurement = Measurement(model, size, "cpu")
    settings = measurement.settings(study, 2)
    figures = {"params": 5_000_000, "flops": size**2 * 1_000_000, "latency_ms_median": size / 32}
    content = {
        "model": model,
        "resolution": size,
        "device_kind": "cpu",
        "device": device,
        "threads": 1,
        "precision": "float32",
        "peak_memory_bytes_batch_1": size * 1_000_000,
        "settings": settings,
        "reasons": {},
        **figures,
        **further,
    }
    write_json(measurement.path, content)


def square(found: Map, size: int) -> Square:
    return next(one for one in found.squares if one.resolution == size)


def rows(name: str) -> list[dict[str, str]]:
    with Path("results", name).open() as stream:
        return list(csv.DictReader(stream))


def test_groups_in_the_predictions_widen_every_interval_and_are_counted(grid: Grid) -> None:
    study = grid(seeds=1, count=400)
    alone = square(make_map(study), 48).validation["accuracy"]
    assert alone is not None
    assert alone.groups is None
    for cell in study.cells():
        path = evaluation_record.predictions_path(cell)
        found = Predictions.load(path)
        assert found is not None
        part = found.splits["val"]
        # All images that the first cell has wrong are of one group, the others of one to each hundred.
        wrong = part.log_probabilities.argmax(axis=1) != part.labels
        groups = np.where(wrong, 0, 1 + np.arange(400) // 100)
        splits = {"val": SplitPredictions(part.names, part.labels, part.log_probabilities, groups)}
        Predictions(found.fingerprint, found.uid, found.classes, {**found.splits, **splits}).save(path)
    found = make_map(study)
    grouped = square(found, 48).validation["accuracy"]
    assert grouped is not None
    assert (grouped.images, grouped.groups) == (400, 5)
    assert grouped.value == alone.value
    assert grouped.high - grouped.low > 3 * (alone.high - alone.low)  # type: ignore[operator]
    assert found.recommendation is not None
    assert (found.recommendation.images, found.recommendation.groups) == (400, 5)
    assert "400 validation images of 5 groups" in found.recommendation.text
    assert any("across from 5, down from 5" in note for note in found.notes)


def test_document_and_tables_say_what_is_known_of_the_grid(grid: Grid) -> None:
    found = make_map(grid())
    content = read_json(SUMMARY)
    jsonschema.validate(content, SCHEMA)
    assert "NaN" not in SUMMARY.read_text()
    assert found.is_complete
    # No weights lie here, so no other resolution can be tried; nothing that could still come is missing.
    assert {gap.what for gap in found.missing} == {"evaluation"}
    assert found.recommendation is not None
    assert found.recommendation.chosen is not None
    assert found.recommendation.chosen.resolution == 48  # 64 is no better within the margin, 32 is worse
    chosen = square(found, 48)
    accuracy = chosen.validation["accuracy"]
    assert accuracy is not None
    assert accuracy.seeds == 3
    assert accuracy.includes_training_noise
    assert accuracy.low is not None
    assert accuracy.high is not None
    assert accuracy.low < 0.9 < accuracy.high
    assert accuracy.value == pytest.approx(
        np.mean([one.metrics["val/accuracy"] for one in found.trainings if one.resolution == 48])
    )
    assert found.model_resolutions[0].alike == [48, 64]
    assert [(one.better, one.worse) for one in found.model_resolutions[0].claims] == [(48, 32), (64, 32)]
    assert {front.cost for front in found.fronts} == {"latency_ms", "memory_mb", "flops", "params"}
    latency = next(front for front in found.fronts if front.cost == "latency_ms")
    assert [one.resolution for one in latency.places][:2] == [32, 48]
    table = rows("cells.csv")
    assert [row["is_recommended"] for row in table] == ["False", "True", "False"]
    assert [float(row["latency_ms_median"]) for row in table] == [1.0, 1.5, 2.0]
    assert float(table[1]["val/accuracy_low"]) == accuracy.low
    assert len(rows("summary.csv")) == 9
    for row in rows("summary.csv"):
        for metric in ("loss", "accuracy", "auroc", "macro_precision", "calibration_error"):
            low, value, high = (float(row[f"test/{metric}{end}"]) for end in ("_low", "", "_high"))
            # Freed of its bias, the calibration error of every other calibrated model is nil.
            assert low <= value < high if metric == "calibration_error" else low < value < high
    text = summary_text(found)
    assert text.startswith("Use test_resnet at 48 px (latency 1.5 ms on toaster): with a probability of ")
    score = r" It has accuracy 0\.\d\d \(95 %: 0\.\d\d to 0\.\d\d\) on validation; chance is 0\.5\d\. "
    assert re.search(score, text)
    assert text.splitlines()[-1].startswith("next: `resomap run winner` makes the weights to use; ")
    assert "and 3 seeds a cell." in text
    assert found.answer is not None
    assert (found.answer.resolution, found.answer.rule, found.answer.decided) == (48, "probable", True)
    rungs = re.findall(r"^  (?:> )?test_resnet@(\d+) +([\d.]+) ms", text, re.MULTILINE)
    assert rungs == [(str(one.resolution), f"{one.cost:.3g}") for one in found.ladder]
    assert [one.resolution for one in found.ladder][:2] == [32, 48]


def test_choices_are_made_on_validation_and_the_test_split_only_reports(grid: Grid) -> None:
    study = grid(seeds=1)
    for size, quality in zip(SIZES, (0.9, 0.7, 0.7), strict=True):  # the test split says the opposite
        cell = study.cell(MODEL, size)
        kept = Predictions.load(evaluation_record.predictions_path(cell, size))
        assert kept is not None
        other = World({(MODEL, size): quality}, 6_000, 1).draw(np.random.default_rng(9))[0][MODEL, size][0]
        samples = {
            "val": Sample(np.asarray(kept.splits["val"].labels), kept.splits["val"].log_probabilities),
            "test": other,
        }
        finish(study, cell, samples)
    found = make_map(study)
    assert found.recommendation is not None
    assert found.recommendation.chosen is not None
    assert found.recommendation.chosen.resolution == 48
    assert found.model_resolutions[0].best in (48, 64)
    assert [one.test["accuracy"].value > 0.85 for one in found.squares if one.test["accuracy"]] == [True, False, False]


@pytest.mark.parametrize(
    ("budget", "size"),
    [({"latency_ms": 1.2}, 32), ({"memory_mb": 40}, 32), ({"flops": 2e9}, 32), ({"params": 6e6}, 48), ({}, 48)],
)
def test_under_a_budget_the_best_that_it_allows_is_the_measure(grid: Grid, budget: dict[str, float], size: int) -> None:
    found = make_map(grid(budget=budget))
    assert found.recommendation is not None
    assert found.recommendation.chosen is not None
    assert found.recommendation.chosen.resolution == size
    assert found.budget == budget
    over = {one.resolution: one.reason for one in found.recommendation.excluded}
    assert set(over) == ({48, 64} if size == 32 else set())
    assert all("is over the budget of" in reason for reason in over.values())


def test_nothing_within_the_budget_is_said(grid: Grid) -> None:
    found = make_map(grid(budget={"params": 1e6}))
    assert found.recommendation is not None
    assert found.recommendation.chosen is None
    assert "No cell is known to be within the budget" in summary_text(found)


def test_one_seed_makes_no_claim_about_training_again(grid: Grid) -> None:
    found = make_map(grid(seeds=1))
    assert found.model_resolutions[0].claims == []
    assert not found.model_resolutions[0].includes_training_noise
    assert found.answer is not None
    assert not found.answer.decided
    assert "so nothing is decided" in summary_text(found)


def test_what_is_missing_is_named_and_the_rest_is_there(grid: Grid) -> None:
    study = grid(seeds=2)
    first, second, third = (study.cell(MODEL, size, 1) for size in SIZES)
    first.marker.unlink()
    evaluation_record.record_path(second).unlink()
    kept = Predictions.load(evaluation_record.predictions_path(third, 64))
    assert kept is not None
    others = {
        split: SplitPredictions([f"x{name}" for name in part.names], part.labels, part.log_probabilities)
        for split, part in kept.splits.items()
    }
    Predictions(kept.fingerprint, kept.uid, kept.classes, others).save(evaluation_record.predictions_path(third, 64))
    Measurement(MODEL, 48, "cpu").path.unlink()
    found = make_map(study)
    jsonschema.validate(read_json(SUMMARY), SCHEMA)
    assert not found.is_complete
    gaps = {(one.what, one.resolution): one.reason for one in found.missing}
    assert gaps["training", 32] == "waiting"
    assert gaps["evaluation", 48] == "not evaluated yet; `snakemake evaluations` does it"
    assert gaps["predictions", 64] == "they are of other images than those of the other cells"
    assert "snakemake results/costs.csv" in gaps["cost", 48]
    assert square(found, 32).seeds == [0]
    assert square(found, 48).cost is None
    accuracy = square(found, 64).test["accuracy"]
    assert accuracy is not None
    assert (accuracy.seeds, accuracy.low) == (2, None)  # a mean of markers, one of which has no predictions
    assert "1 trainings of the grid are not in this map: test_resnet@32." in summary_text(found)


def test_an_empty_grid_is_a_map_without_recommendation(images: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    study = Study.open(small_config(images))
    study.save(CURRENT)
    found = make_map(study)
    assert (found.squares, found.recommendation, found.is_complete) == ([], None, False)
    assert summary_text(found).startswith("No recommendation yet")
    assert rows("summary.csv") == []
    typed = command("resomap", "map", cwd=tmp_path)
    assert (typed.returncode, typed.stderr) == (0, "")
    assert "No recommendation yet" in typed.stdout


def test_unsteady_latencies_order_nothing_and_the_answer_says_so(grid: Grid) -> None:
    """The largest seems the fastest, by a figure that something else on the machine has made."""
    study = grid()
    path = Measurement(MODEL, 64, "cpu").path
    steady = {**read_json(path), "latency_ms_median": 0.5, "latency_ms_q1": 0.49, "latency_ms_q3": 0.52}
    write_json(path, steady)
    found = make_map(study)
    assert found.recommendation is not None
    assert found.recommendation.chosen is not None
    assert (found.recommendation.cost, found.recommendation.chosen.resolution) == ("latency_ms", 64)
    assert "unsteady" not in summary_text(found)
    write_json(path, {**steady, "latency_ms_q1": 0.3, "latency_ms_q3": 0.9})
    found = make_map(study)
    assert found.recommendation is not None
    assert found.recommendation.chosen is not None
    assert (found.recommendation.cost, found.recommendation.chosen.resolution) == ("flops", 48)
    assert f"that of {MODEL}@64 is unsteady (half of its runs took 0.3 to 0.9 ms)" in summary_text(found)
    assert "latency_ms" not in [front.cost for front in found.fronts]
    table = cost_tables.costs(Material(found, gather(study)))
    assert table is not None
    assert [row[3].endswith("unsteady") for row in table.rows] == [False, False, True]


def test_costs_of_another_device_decide_nothing(grid: Grid) -> None:
    study = grid()
    measured(study, 64, device="mainframe")
    found = make_map(study)
    foreign = square(found, 64).cost
    assert foreign is not None
    assert not foreign.is_comparable
    fronts = {front.cost: [one.resolution for one in front.places] for front in found.fronts}
    assert 64 not in fronts["latency_ms"]
    assert 64 not in fronts["memory_mb"]
    assert {front.device for front in found.fronts} == {"toaster"}


def test_costs_of_another_runtime_decide_nothing_and_each_is_named(grid: Grid) -> None:
    study = grid()
    for size in (32, 48):
        measured(study, size, runtime="onnxruntime", other_programs_cores=0.01)
    measured(study, 64, runtime="torch eager", other_programs_cores=0.02, latency_ms_median=0.01)
    found = make_map(study)
    latency = next(front for front in found.fronts if front.cost == "latency_ms")
    assert (latency.runtime, 64 in [one.resolution for one in latency.places]) == ("ONNX Runtime", False)
    assert found.recommendation is not None
    assert (found.recommendation.cost, found.recommendation.runtime) == ("flops", "ONNX Runtime")
    table = cost_tables.costs(Material(found, gather(study)))
    assert table is not None
    assert ["not compared: eager PyTorch" in row[3] for row in table.rows] == [False, False, True]
    assert "toaster in ONNX Runtime (float32, threads: 1) and on toaster in eager PyTorch" in table.note
    assert table.note.partition(" Trained")[0].endswith(", alone on it.")
    measured(study, 64, runtime="onnxruntime", other_programs_cores=1.5)
    found = make_map(study)
    assert " ms on toaster in ONNX Runtime)" in summary_text(found)
    material = Material(found, gather(study))
    table = cost_tables.costs(material)
    assert table is not None
    assert "(float32, threads: 1), while other programs took up to 1.5 cores." in table.note
    assert cost_tables.runtimes(material) is None
    other = {"runtime": "openvino", "precision": "int8", "threads": 1, "latency_ms_median": 0.5, "file_bytes": 2e6}
    measured(study, 64, runtime="onnxruntime", others=[other])
    table = cost_tables.runtimes(Material(make_map(study), gather(study)))
    assert table is not None
    assert [row[:5] for row in table.rows] == [
        [f"{MODEL} @ 64 px", "ONNX Runtime", "float32", "1", "2"],
        [f"{MODEL} @ 64 px", "OpenVINO", "int8", "1", "0.5"],
    ]


def test_a_latency_that_falls_with_the_resolution_orders_nothing(grid: Grid) -> None:
    study = grid()
    for size, median in ((32, 1.0), (48, 2.0), (64, 0.5)):
        quartiles = {"latency_ms_q1": median * 0.99, "latency_ms_q3": median * 1.01}
        measured(study, size, latency_ms_median=median, **quartiles)
    found = make_map(study)
    assert found.recommendation is not None
    assert found.recommendation.cost == "flops"
    assert "it took 1 ms, and 64 px, which computes more, 0.5" in summary_text(found)


def test_resolutions_above_the_images_own_are_marked(
    study_in: Callable[..., Study], images: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "some are small"
    for label in ("across", "down"):
        (folder / label).mkdir(parents=True)
        for number, path in enumerate(sorted((images / label).iterdir())):
            size = 24 if number % 4 == 0 else 40
            Image.open(path).resize((size, size + 8)).save(folder / label / path.name)
    study = study_in(resolutions=[16, 32, 48], data={"source": str(folder)})
    evidence = gather(study)
    assert [evidence.upsampled(size) for size in (16, 32, 48)] == [0.0, 0.25, 1.0]
    notes = make_map(study).notes
    assert "The images have 40 px (median of the short sides): at 48 px they are enlarged." in notes


def test_another_question_makes_the_map_anew(grid: Grid) -> None:
    study = grid(seeds=1)
    make_map(study)
    assert is_current(study)
    for changes in ({"budget": {"latency_ms": 2.0}}, {"report": {"margin": 0.1}}, {"resolutions": [32, 48]}):
        config = {**study.config.model_dump(), **changes}
        assert not is_current(Study.open(config))


def test_image_intervals_hold_the_truth_of_other_images() -> None:
    """Coverage over drawn image sets."""
    world = World({("m", 1): 0.85}, 300, 1)
    many = World({("m", 1): 0.85}, 200_000, 1).draw(np.random.default_rng(0))[0]["m", 1][0]
    truth = measure(many.log_probabilities, many.labels)
    hits = dict.fromkeys(("loss", "macro_precision", "macro_recall", "accuracy"), 0)
    for seed in range(100):
        one = world.draw(np.random.default_rng(seed + 1))[0]["m", 1][0]
        found = image_intervals(one.log_probabilities, one.labels, measure(one.log_probabilities, one.labels))
        for name in hits:
            low, high = found[name] or (1.0, 0.0)
            hits[name] += low <= (truth[name] or 0.0) <= high
    assert all(89 <= count <= 100 for count in hits.values()), hits
