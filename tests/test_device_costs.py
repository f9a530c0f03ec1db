"""Costs of other machines decide: recommendation, budget and fronts by the device that the report names."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import MODEL, command, small_config, snakemake
from test_map import SIZES, Grid, grid, measured

from resomap.cells.costs_file import CostsFile
from resomap.cells.device_costs import keep_costs
from resomap.cells.study import CURRENT, Study
from resomap.cli import main
from resomap.config import parse_config
from resomap.core.errors import ResomapError
from resomap.core.files import read_json, write_json
from resomap.report.report_writer import make_report
from resomap.statistics.device_order import order_agreement
from resomap.summary.basis import SUMMARY, basis, is_current
from resomap.summary.summary_writer import make_map, summary_text

__all__ = ["grid"]


def costs_of(device: str, latencies: Mapping[int, float], threads: int = 1, **changes: Any) -> dict[str, Any]:
    """A costs.json of the grid's model, with these latencies in ms by resolution."""
    cells = [
        {
            "model": MODEL,
            "resolution": size,
            "params": 5_000_000,
            "flops": size**2 * 1_000_000,
            "latency_ms_median": float(value),
            "latency_ms_q1": value * 0.99,
            "latency_ms_q3": value * 1.01,
            "latency_runs": 50,
            "peak_memory_bytes_batch_1": size * 2_000_000,
            "memory_method": "resident",
        }
        for size, value in latencies.items()
    ]
    return {
        "format": "resomap costs",
        "schema": 1,
        "kit": "0" * 12,
        "device": device,
        "cpu": "a board",
        "system": "Linux aarch64",
        "python": "3.9.2",
        "runtime": "onnxruntime",
        "runtime_version": "1.19.2",
        "provider": "CPUExecutionProvider",
        "threads": threads,
        "precision": "float32",
        "classes": 2,
        "channels": 3,
        "seconds": 3.0,
        "least_runs": 5,
        "largest_batch": 8,
        "measured_at": 1.0,
        "cells": cells,
        **changes,
    }


def take_in(content: dict[str, Any]) -> None:
    keep_costs(CostsFile.model_validate(content))


def with_report(study: Study, **keys: Any) -> Study:
    """The same grid with further keys of `report` or `budget`."""
    values = study.config.model_dump()
    for name, value in keys.items():
        section, _, key = name.partition("_")
        values[section][key] = value
    other = Study.open(values)
    other.save(CURRENT)
    return other


@pytest.fixture
def bare(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """A study of which nothing is trained and one resolution is measured here, in a fresh directory."""
    monkeypatch.chdir(tmp_path)
    study = Study.open(small_config(images, resolutions=list(SIZES)))
    study.save(CURRENT)
    measured(study, SIZES[0])
    return study


def test_a_budget_recommends_another_cell_on_another_device(
    grid: Grid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two machines' files are taken in; 48 px are within 10 ms on the server, and only 32 px on the board."""
    study = grid(seeds=1, count=1_200, budget={"latency_ms": 10})
    for device, latencies in (("server", (1, 2, 3)), ("board", (8, 20, 50))):
        content = costs_of(device, dict(zip(SIZES, latencies, strict=True)), other_programs_cores=latencies[0] / 10)
        write_json(tmp_path / "costs.json", content)
        assert main(["cost-import", str(tmp_path / "costs.json")]) == 0
    found = {}
    for device in ("server", "board"):
        with_report(study, report_device=device)
        assert main(["map", "--device", "cpu"]) == 0
        content = read_json(SUMMARY)
        found[device] = (content["answer"]["model"], content["answer"]["resolution"])
        assert content["recommendation"]["device"] == device
        assert content["recommendation"]["cost"] == "latency_ms"
        assert {front["device"] for front in content["fronts"]} == {device}
        assert {square["cost"]["device"] for square in content["squares"]} == {device}
        assert content["is_complete"]
        assert f"{found[device][0]}@{found[device][1]}" in capsys.readouterr().out
    assert found == {"server": (MODEL, 48), "board": (MODEL, 32)}
    assert {one["resolution"] for one in content["ladder"]} == {32}
    excluded = content["recommendation"]["excluded"]
    assert [one["resolution"] for one in excluded] == [48, 64]
    assert "20" in excluded[0]["reason"]
    told = make_report(Study.load(CURRENT)).read_text()
    assert (
        "Inference measured on board in ONNX Runtime (float32, threads: 1), while other programs took up to 0.8" in told
    )
    alone = make_report(with_report(study, report_device="server")).read_text()
    assert "Inference measured on server in ONNX Runtime (float32, threads: 1), alone on it." in alone


def test_devices_stand_side_by_side(grid: Grid) -> None:
    """Their order and their answers; a note names the device on which it would be another cell."""
    study = with_report(grid(seeds=1, count=1_200), report_device="server", budget_latency_ms=10)
    assert make_map(with_report(study, report_device="cpu")).devices == []
    for device, latencies in (("server", (1, 2, 3)), ("board", (8, 20, 50)), ("odd", (9, 7, 11))):
        take_in(costs_of(device, dict(zip(SIZES, latencies, strict=True))))
    found = make_map(study)
    assert [(one.device, one.decides, one.cells) for one in found.devices] == [
        ("server", True, 3),
        ("toaster", False, 3),
        ("board", False, 3),
        ("odd", False, 3),
    ]
    assert [one.answer.resolution if one.answer else None for one in found.devices] == [48, 48, 32, 48]
    assert [one.latency_ms for one in found.devices] == [2.0, 1.5, 8.0, 7.0]
    pairs = {(one.first, one.second): one for one in found.device_pairs}
    assert len(pairs) == 6
    assert (pairs[0, 2].spearman, pairs[0, 2].kendall, pairs[0, 2].same_answer) == (1.0, 1.0, False)
    assert (pairs[0, 3].spearman, pairs[0, 3].same_answer) == (pytest.approx(0.5), True)
    assert pairs[0, 3].kendall == pytest.approx(1 / 3)
    (note,) = [one for one in found.notes if one.startswith("The answer goes by the costs of server")]
    assert note.endswith(f"it would be {MODEL}@32 on board (ONNX Runtime, float32, threads: 1).")
    page = make_report(study).read_text()
    assert "Devices side by side" in page
    assert "The recommendation changes on 1 of them." in page
    assert "Order of the latencies on two devices" in page


def test_of_two_cells_no_order_is_told() -> None:
    assert order_agreement([1, 2], [1, 2]).spearman is None
    assert order_agreement([1, 2, 3], [5, 5, 5]).kendall is None
    assert order_agreement([1, 2, 3], [9, 8, 7]).spearman == pytest.approx(-1)


def test_two_ways_of_one_device_are_never_mixed(grid: Grid) -> None:
    """The one with the most threads decides, or the one that is named."""
    study = grid(seeds=1, count=600)
    take_in(costs_of("board", dict.fromkeys(SIZES, 5.0), threads=1))
    take_in(costs_of("board", {32: 1.0, 48: 2.0}, threads=4))
    for keys, threads, latencies in (
        ({}, 4, [1.0, 2.0, None]),
        ({"report_threads": 1}, 1, [5.0, 5.0, 5.0]),
        ({"report_runtime": "onnxruntime"}, 4, [1.0, 2.0, None]),
    ):
        found = make_map(with_report(study, report_device="board", **keys))
        costs = [square.cost for square in found.squares]
        assert [one.latency_ms_median if one else None for one in costs] == latencies
        assert {one.threads for one in costs if one} == {threads}
        missing = [(one.resolution, one.reason) for one in found.missing if one.what == "cost"]
        why = "not measured on board; write a kit that has it (`resomap cost-kit`)"
        assert missing == ([] if threads == 1 else [(64, why)])


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"report_device": "nano"}, r"no costs of it are here \(there are: board\); take its costs.json in"),
        ({"report_device": "board", "report_threads": 2}, r"report.threads is 2, and board was measured in other ways"),
        ({"report_device": "board", "report_runtime": "openvino"}, r"other ways \(onnxruntime float32, threads: 1\)"),
        ({"report_runtime": "openvino"}, r"costs were measured in others \(torch eager\); name one of them"),
    ],
)
def test_a_device_that_nothing_was_measured_on_is_one_sentence(
    bare: Study, keys: dict[str, Any], words: str, tmp_path: Path
) -> None:
    study = with_report(bare, **keys)
    take_in(costs_of("board", {32: 1.0}))
    with pytest.raises(ResomapError, match=words):
        make_map(study)
    done = command("resomap", "map", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_run_ends_before_it_trains_where_the_device_is_unknown(images: Path, tmp_path: Path) -> None:
    done = snakemake("--cores", "1", directory=tmp_path, config=small_config(images, report={"device": "nano"}))
    assert done.returncode != 0
    assert "no costs of it are here (there are: of no other machine than this one)" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob("results/*/*.done"))


def test_costs_of_other_networks_decide_nothing(bare: Study) -> None:
    study = with_report(bare, report_device="board")
    take_in(costs_of("board", {32: 1.0}, classes=7))
    with pytest.raises(ResomapError, match="are of other networks than this study's"):
        make_map(study)


def test_a_damaged_file_is_named(bare: Study) -> None:
    study = with_report(bare, report_device="board")
    take_in(costs_of("board", {32: 1.0}))
    path = Path("results/cost/board/onnxruntime-float32-1.json")
    text = path.read_text()
    for content, words in (
        (text[:100], "is no JSON"),
        (text.replace('"board"', '"nano"'), "than its name says"),
    ):
        path.write_text(content)
        with pytest.raises(ResomapError, match=words):
            make_map(study)


def test_fingerprints_stay_and_the_map_is_made_anew(grid: Grid) -> None:
    study = grid(seeds=1, count=600)
    make_map(study)
    other = with_report(study, report_device="cpu")
    assert other.fingerprints() == study.fingerprints()
    assert (basis(other) != basis(study), is_current(study), is_current(other)) == (True, True, False)
    assert summary_text(make_map(other)) == summary_text(make_map(study))


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ({"device": "../evil"}, "must have 1 to 64 letters"),
        ({"device": ".."}, "must have 1 to 64 letters"),
        ({"device": "x" * 65}, "must have 1 to 64 letters"),
        ({"device": "board", "threads": 0}, "report.threads"),
        ({"threads": 2}, "set device too, or cost.threads"),
    ],
)
def test_keys_that_make_no_sense_are_refused(report: dict[str, Any], words: str) -> None:
    with pytest.raises(ResomapError, match=words):
        parse_config({"report": report})
