"""A real MLflow server between two working copies: what is complete there, and why the rest is not."""

import json
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import MODEL, command, done_marker, free_port, small_config, snakemake
from dagshub_stand_in import stand_in
from test_workflow import markers, trainings

from resomap.cells.cell import Cell
from resomap.cells.study import Study
from resomap.core.files import read_json
from resomap.data import DATA_DIRECTORY
from resomap.data.changes import prepared_digest
from resomap.tracking.explain import PAGE, Reasons


@pytest.fixture(scope="module")
def client(server: str) -> Any:
    """MLflow's own client of the server."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=server)


def make_run(client: Any, study: Study, cell: Cell, status: str = "FINISHED", /, **changes: Any) -> str:
    """A run of a cell as a trainer leaves it, but for the changes (None takes a tag away); its id."""
    marker = done_marker(cell, study.fingerprint(cell), base=study.base).as_json() | changes.pop("marker", {})
    tags = {"base": study.base, "fingerprint": study.fingerprint(cell), "cell": cell.name, "host": "b"}
    tags |= {"marker": json.dumps(marker), "complete": "1"}
    params = changes.pop("params", {})
    name = changes.pop("name", cell.name)
    tags |= changes
    experiment = client.get_experiment_by_name(study.config.experiment)
    known = experiment.experiment_id if experiment else client.create_experiment(study.config.experiment)
    sent = {f"resomap.{key}": str(value) for key, value in tags.items() if value is not None}
    run = client.create_run(known, tags=sent, run_name=name).info.run_id
    for key, value in params.items():
        client.log_param(run, key, value)
    if status != "RUNNING":
        client.set_terminated(run, status)
    return run


@pytest.mark.slow
def test_what_one_copy_finished_is_skipped_by_another(server: str, images: Path, tmp_path: Path) -> None:
    tracking = {"uri": server, "drain_seconds": 60}
    config = small_config(images, resolutions=[32, 48], training={"epochs": 1}, tracking=tracking)
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    trained = snakemake(f"results/{MODEL}/32.done", directory=first, config=config)
    assert trained.returncode == 0, trained.stderr
    listed = snakemake("-n", directory=second, config=config)
    assert trainings(listed.stdout + listed.stderr) == 1
    assert f"1 training is complete in the tracker: {MODEL}@32" in listed.stderr
    mine, theirs = (read_json(place / "results" / MODEL / "32.done") for place in (first, second))
    assert (mine["origin"], theirs["origin"]) == ("local", "tracker")
    assert theirs["run_id"] == mine["run_id"]
    assert theirs["metrics"] == mine["metrics"]
    finished = snakemake(directory=second, config=config)
    assert finished.returncode == 0, finished.stderr
    assert markers(second) == {f"{MODEL}/32.done", f"{MODEL}/48.done"}
    assert not (second / "results" / MODEL / "32.log").exists()  # that cell was not trained here
    # Other settings, another fingerprint: nothing is taken over.
    other = tmp_path / "other"
    other.mkdir()
    changed = {**config, "training": {**config["training"], "learning_rate": 0.002}}
    listed = snakemake("-n", directory=other, config=changed)
    assert trainings(listed.stdout + listed.stderr) == 2
    # And by wish the tracker is not asked, or the run no longer counts.
    asked_not = snakemake("-n", "--config", "skip_completed=false", directory=other, config=config)
    assert trainings(asked_not.stdout + asked_not.stderr) == 2


@pytest.mark.slow
def test_a_cell_forgotten_in_the_tracker_is_taken_over_by_nobody(server: str, images: Path, tmp_path: Path) -> None:
    tracking = {"uri": server, "drain_seconds": 60}
    config = small_config(images, experiment="forget", training={"epochs": 1}, tracking=tracking)
    trained = snakemake(directory=tmp_path, config=config)
    assert trained.returncode == 0, trained.stderr
    done = command("resomap", "forget", f"{MODEL}@32", "--tracker", cwd=tmp_path)
    assert "no longer counts as complete" in done.stdout, done.stderr
    listed = snakemake("-n", directory=tmp_path, config=config)
    assert trainings(listed.stdout + listed.stderr) == 1


def test_a_server_that_is_away_costs_one_line(images: Path, tmp_path: Path) -> None:
    config: dict[str, Any] = small_config(images, tracking={"uri": f"http://127.0.0.1:{free_port()}"})
    listed = snakemake("-n", directory=tmp_path, config=config)
    assert listed.returncode == 0
    assert trainings(listed.stdout + listed.stderr) == 1
    assert listed.stderr.count("is not asked: nothing listens there; start it, or check tracking.uri") == 1


@pytest.mark.slow
def test_a_dead_tracker_delays_the_end_by_drain_seconds_at_most(images: Path, tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        tracking = {"uri": f"http://127.0.0.1:{silent.getsockname()[1]}", "drain_seconds": 3}
        config = small_config(images, training={"epochs": 1}, tracking=tracking, skip_completed=False)
        finished = snakemake(directory=tmp_path, config=config)
    assert finished.returncode == 0, finished.stderr
    assert read_json(tmp_path / "results" / MODEL / "32.done")["run_id"] is None
    assert "`resomap sync` sends the rest" in (tmp_path / "results" / MODEL / "32.log").read_text()
    unsent = command("resomap", "sync", cwd=tmp_path)
    assert unsent.returncode == 1
    assert "not sent: results/test_resnet/32.journal.jsonl" in unsent.stderr
    assert "Traceback" not in unsent.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "targets",
    [
        pytest.param([], id="grid"),
        pytest.param([f"results/{MODEL}/48.done"], id="direct"),
        pytest.param([f"results/{MODEL}/48.done", f"results/{MODEL}/72.done"], id="several, one beside the grid"),
        pytest.param([f"results/{MODEL}/all"], id="one model"),
    ],
)
def test_every_target_asks_once_and_nothing_complete_is_trained(
    server: str, client: Any, study_in: Callable[..., Study], tmp_path: Path, targets: list[str]
) -> None:
    with stand_in(server) as proxy:
        # A batch size of its own: a base that no other test has.
        changes = {"resolutions": [32, 48, 64], "training": {"batch_size": 6}, "tracking": {"uri": proxy.uri}}
        study = study_in(**changes)
        for resolution in (32, 48, 64, 72):
            make_run(client, study, study.cell(MODEL, resolution))
        for words in (["-n"], []):
            proxy.requests.clear()
            finished = snakemake(*words, *targets, directory=tmp_path, config=study.config.model_dump())
            assert finished.returncode == 0, finished.stderr
            assert trainings(finished.stdout + finished.stderr) == 0
            # The second call has its markers: it has nothing to ask but for the target beside the grid.
            assert proxy.asked("runs/search") == (1 if words else 0)
        assert not list(tmp_path.glob(f"results/{MODEL}/*.log"))


def test_what_does_not_count_is_told_in_a_dry_run(
    server: str, client: Any, study_in: Callable[..., Study], tmp_path: Path
) -> None:
    resolutions = [32, 40, 48, 56, 64, 72, 80, 88, 96]
    study = study_in(resolutions=resolutions[:1], experiment="reasons", tracking={"uri": server})
    config = {**study.config.model_dump(), "resolutions": resolutions}
    cells = [study.cell(MODEL, resolution) for resolution in resolutions]
    heartbeat = str(round(time.time()) - 130)  # a fresh one would leave the cell out
    runs = [
        make_run(client, study, cells[0], fingerprint="0" * 12, params={"epochs": 25, "batch_size": 8}),
        make_run(client, study, cells[1], complete=None),
        make_run(client, study, cells[2], "RUNNING", complete=None, heartbeat=heartbeat),
        make_run(client, study, cells[3], "FAILED", complete=None, reason="the loss is nan"),
        make_run(client, study, cells[4], complete=0),
        make_run(client, study, cells[5], fingerprint=None, cell=None, base=None, name=f"{MODEL}_72"),
        make_run(client, study, cells[6], marker={"metrics": {"test/accuracy": float("nan")}}),
        make_run(client, study, cells[7], fingerprint="0" * 12, params={"epochs": 3}),
        make_run(client, study, cells[8], "KILLED", complete=None, superseded="another"),
    ]
    listed = snakemake("-n", directory=tmp_path, config=config)
    assert listed.returncode == 0, listed.stderr
    assert trainings(listed.stdout + listed.stderr) == len(cells)
    wanted = [
        "finished with epochs 25, wanted 3",
        "FINISHED without its complete tag",
        r"RUNNING on b, heartbeat [23] min ago",
        "FAILED: the loss is nan",
        "was forgotten with `resomap forget --tracker`",
        f"has this training's name but no fingerprint; `resomap adopt {MODEL}_72` lets it count",
        "is complete, but its marker is not a valid one",
        "finished with other images, split, weights or version of the recipe",
    ]
    for cell, run, words in zip(cells, runs, wanted, strict=False):
        assert re.search(rf"^{cell.name}.*: run {run[:8]} {words}", listed.stderr, re.MULTILINE), (cell, listed.stderr)
    assert f"{cells[8].name}:" not in listed.stderr  # its run gave way to another
    # Only what was asked for is explained.
    listed = snakemake("-n", str(cells[1].marker), directory=tmp_path, config=config)
    assert "without its complete tag" in listed.stderr
    assert "the loss is nan" not in listed.stderr


def test_a_reason_is_found_behind_many_newer_runs(
    server: str, client: Any, study_in: Callable[..., Study], tmp_path: Path
) -> None:
    study = study_in(experiment="many runs", tracking={"uri": server})
    cell = study.cells()[0]
    run = make_run(client, study, cell, complete=None)
    known = client.get_experiment_by_name("many runs").experiment_id
    for number in range(PAGE + 5):
        client.create_run(known, run_name=f"other {number}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resomap.tracking.explain.SECONDS", 30.0)  # this is about pages, not about a busy machine
        lines = Reasons(study).lines([cell])
    assert lines == [f"{cell.name}: run {run[:8]} FINISHED without its complete tag"]


def test_a_run_on_other_image_contents_does_not_count(
    server: str, client: Any, study_in: Callable[..., Study], tmp_path: Path
) -> None:
    study = study_in(experiment="contents", tracking={"uri": server})
    [cell] = study.cells()
    here = read_json(DATA_DIRECTORY / "manifest.json")["content_digest"]
    assert prepared_digest(study.data_identity) == here
    assert prepared_digest("another") is None
    run = make_run(client, study, cell, marker={"content_digest": "f" * 64})
    config = study.config.model_dump()
    listed = snakemake("-n", directory=Path.cwd(), config=config)
    assert trainings(listed.stdout + listed.stderr) == 1
    assert f"{cell.name} is not taken from the tracker: run {run[:8]} saw other image contents" in listed.stderr
    # Where nothing is prepared nobody can tell, and a marker that was believed is doubted once the images are there.
    elsewhere = snakemake("-n", directory=tmp_path, config=config)
    assert trainings(elsewhere.stdout + elsewhere.stderr) == 0
    cell.marker.parent.mkdir(exist_ok=True)
    cell.marker.write_bytes((tmp_path / cell.marker).read_bytes())
    listed = snakemake("-n", directory=Path.cwd(), config=config)
    assert trainings(listed.stdout + listed.stderr) == 1
    assert "its marker came from a run that saw other images" in listed.stderr
    # An older run on these very images counts, although it is not the newest.
    mine = make_run(client, study, cell, marker={"content_digest": here})
    make_run(client, study, cell, marker={"content_digest": "e" * 64})
    listed = snakemake("-n", directory=Path.cwd(), config=config)
    assert trainings(listed.stdout + listed.stderr) == 0
    assert read_json(cell.marker)["run_id"] == mine
    shown = command("resomap", "status", "--json", cwd=Path.cwd())
    assert json.loads(shown.stdout)["cells"][0]["origin"] == "tracker"
