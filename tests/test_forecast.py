"""Forecasts of a run's time to go: replayed on recorded runs, and the same on the bar and in the status."""

import json
import os
import time
from pathlib import Path

import pytest
from conftest import small_config, snakemake

from benchmarks.forecasts import median_error, recordings
from benchmarks.forecasts import replay as replayed
from resomap.cells import timeline
from resomap.cells.cell import Cell
from resomap.cells.presence import RUN_VARIABLE, announce_run
from resomap.cells.progress import Progress, progress_path
from resomap.cells.timeline import Event, read
from resomap.estimates.outlook import Outlook
from resomap.status import CellStatus, of_running_run
from snakemake_logger_plugin_resomap.sweep import Sweep


def test_forecasts_of_recorded_runs_hold_from_the_second_cell_on() -> None:
    found = {path.stem: replayed(read(path)) for path in recordings()}
    assert len(found) >= 5
    assert "slow-first" in found
    for name, forecasts in found.items():
        assert forecasts[0].trained == 2, name
        assert len(forecasts) >= 8, name
        assert median_error(forecasts) <= 0.35, (name, [(round(one.said), round(one.took)) for one in forecasts])
    assert sum(median_error(forecasts) <= 0.25 for forecasts in found.values()) >= 5
    assert median_error([forecast for forecasts in found.values() for forecast in forecasts]) <= 0.25


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["progress", "all"])
def test_a_quiet_run_is_learned_from_too(images: Path, tmp_path: Path, kind: str) -> None:
    config = small_config(images)
    done = snakemake("results/data/32/store.json", "--quiet", kind, directory=tmp_path, config=config)
    assert done.returncode == 0, done.stderr
    found = read(tmp_path / ".resomap" / "timeline.jsonl")
    assert [event.rule for event in found if event.kind == "done"] == ["data", "images"]
    assert "Plan:" not in done.stderr
    assert " done" not in done.stderr


def events(*entries: tuple[float, str, str, str], trained: float = 5.0) -> list[Event]:
    """Events of a run of one model: (time, kind, rule, name)."""
    cells = {f"net@{size}": ["net", size, 10.0] for size in (32, 48, 64)}
    planned = {"train": 3, "evaluate": 3, "map": 1, "report": 1, "all": 1}
    begun = [Event("r", "begin", 0.0, cells=cells), Event("r", "plan", 0.0, planned=planned)]
    for at, kind, rule, name in entries:
        is_trained = rule == "train" and kind == "done"
        begun.append(Event("r", kind, at, rule, name, training=trained if is_trained else None))
    return begun


def test_what_is_kept_between_events_is_that_of_a_new_look() -> None:
    for path in recordings():
        known = read(path)
        kept = Outlook([])
        for number, event in enumerate(known):
            kept.take(event)
            if number % 7 == 0:
                for later in (event.at, event.at + 3):
                    assert kept.seconds_to_go(later) == Outlook(known[: number + 1]).seconds_to_go(later)


def test_a_large_grid_is_counted_once_after_each_event() -> None:
    """Each look at 4,000 trainings took 1.5 s of the main process, every two seconds."""
    outlook = Outlook(events((0, "start", "train", "net@64"), (9, "done", "train", "net@64")))
    assert outlook.seconds_to_go(9) is not None
    corrections = outlook._corrections
    outlook._corrections = lambda: pytest.fail("counted anew without an event")  # type: ignore[method-assign]
    assert outlook.seconds_to_go(10) is not None
    outlook._corrections = corrections  # type: ignore[method-assign]
    outlook.take(Event("r", "start", 11.0, "train", "net@48"))
    assert outlook.seconds_to_go(11) is not None


def test_every_phase_counts() -> None:
    outlook = Outlook(events((0, "start", "train", "net@64")))
    assert outlook.seconds_to_go(1) is None
    outlook.take(Event("r", "done", 9.0, "train", "net@64", training=5.0))
    first = outlook.seconds_to_go(9)
    assert first is not None
    assert first > 2 * 9  # two trainings like this one, and what follows
    outlook.take(Event("r", "start", 9.0, "train", "net@48"))
    outlook.take(Event("r", "done", 18.0, "train", "net@48", training=5.0))
    outlook.take(Event("r", "start", 18.0, "train", "net@32"))
    running = outlook.seconds_to_go(20, {"net@32": 3.0})
    without = outlook.seconds_to_go(20)
    assert running is not None
    assert without is not None
    assert abs(running - without) < 3
    outlook.take(Event("r", "done", 27.0, "train", "net@32", training=5.0))
    for number, size in enumerate((64, 48, 32)):
        outlook.take(Event("r", "start", 27.0 + number, "evaluate", f"evaluate net {size}"))
        left = outlook.seconds_to_go(27.0 + number)
        assert left is not None
        assert left > 3  # map and report, when nothing trains any more
        outlook.take(Event("r", "done", 28.0 + number, "evaluate", f"evaluate net {size}"))
    outlook.take(Event("r", "start", 30.0, "map", "map"))
    outlook.take(Event("r", "done", 33.0, "map", "map"))
    outlook.take(Event("r", "start", 33.0, "report", "report"))
    last = outlook.seconds_to_go(33.0)
    assert last is not None
    assert 1 < last < 20
    outlook.take(Event("r", "end", 36.0))
    assert outlook.seconds_to_go(36.0) is None


def test_an_earlier_run_of_the_study_tells_the_next_one() -> None:
    run = events((0, "start", "train", "net@64"), (9, "done", "train", "net@64"), (10, "end", "", ""))
    outlook = Outlook(
        [*run, *(Event("s", event.kind, 20.0, planned=event.planned, cells=event.cells) for event in run[:2])]
    )
    assert outlook.run == "s"
    assert (outlook.seconds_to_go(20.0) or 0) > 27


def test_the_bar_and_the_status_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(RUN_VARIABLE, "")
    announce_run()
    run = os.environ[RUN_VARIABLE]
    timeline.append(run, "begin", cells={f"net@{size}": ["net", size, 10.0] for size in (32, 48)})
    sweep = Sweep(tmp_path, {"train": 2, "evaluate": 2, "map": 1})
    sweep.plan()
    for number, size in enumerate((48, 32)):
        wildcards = {"model": "net", "resolution": str(size), "suffix": ""}
        info = {"jobid": number, "rule_name": "train", "wildcards": wildcards, "log": [], "output": []}
        sweep.start(info, time.monotonic())
        cell = Cell("net", size, 0, "", "")
        if size == 48:
            cell.marker.parent.mkdir(parents=True)
            cell.marker.write_text(json.dumps({"cost": {"train_seconds": 4.0}}))
            sweep.finish(number, time.monotonic())
    progress = Progress(cell.name, "training", 1, 4, eta_seconds=30.0)
    progress.write(progress_path(cell))
    bar = sweep.seconds_to_go()
    status = of_running_run([CellStatus(cell, "running", progress=progress)])
    assert bar is not None
    assert status == pytest.approx(bar, abs=1)
    assert bar > 30
    sweep.end()
    assert of_running_run([]) is None
