"""The commands of the README, as a person types them, on small real images."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from browser import look_at
from conftest import MODEL, ROOT, command, draw_images, environment_with, small_config, snakemake, tool
from test_marker import COST_KEYS, KEYS, LATER
from waiting import wait_for

from resomap.cells.resume_command import PLACE
from resomap.compute.device import cpu_name
from resomap.core.files import read_json

OTHER = "test_efficientnet"
of_one_grid = pytest.mark.xdist_group("grid")  # which is trained once: its tests run in one process


@pytest.fixture(scope="module")
def done_grid(images: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A grid of 2 x 2 cells and two seeds, trained once by the plain command."""
    directory = tmp_path_factory.mktemp("grid")
    config = small_config(images, models=[MODEL, OTHER], resolutions=[32, 48], seeds=[0, 1], training={"epochs": 1})
    config |= {"tracking": {"drain_seconds": 60}, "experiment": "A study"}
    finished = snakemake(directory=directory, config=config)
    assert finished.returncode == 0, finished.stderr
    assert re.search(r"^Use .* at (32|48) px", finished.stdout, re.MULTILINE), finished.stdout
    return directory, config


@of_one_grid
def test_groups_of_tests_hold_together(request: pytest.FixtureRequest) -> None:
    """A pytest-xdist that does not fit its pytest spreads them, which costs time and a second Slurm cluster."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@grid")


@pytest.mark.slow
def test_a_cpu_is_said_once_where_a_gpu_was_possible(images: Path, tmp_path: Path) -> None:
    config = small_config(images, device="auto", seeds=[0, 1], training={"epochs": 1})
    finished = snakemake(directory=tmp_path, config=config, CUDA_VISIBLE_DEVICES="")
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr.count("no GPU is visible: trainings run on the CPU") == 1
    assert read_json(tmp_path / "results" / MODEL / "32.done")["cost"]["device"] == cpu_name()


def trainings(output: str) -> int:
    return len(re.findall(r"^rule train:", output, re.MULTILINE))


def markers(directory: Path) -> set[str]:
    return {str(path.relative_to(directory / "results")) for path in directory.glob("results/*/*.done")}


def test_default_grid_lists_exactly_40_trainings(tmp_path: Path) -> None:
    listed = snakemake("-n", "--cores", "2", "--config", "device=cpu", directory=tmp_path)
    assert listed.returncode == 0, listed.stderr
    output = listed.stdout + listed.stderr
    assert trainings(output) == 40
    assert not (tmp_path / "results").exists()
    # On a CPU a training takes all cores, so no two of them fight for the same ones.
    details = [job.split("\n\n")[0] for job in output.split("rule train:")[1:]]
    assert all("threads: 2" in job and "gpu=1" in job for job in details)


@pytest.mark.slow
def test_the_line_on_which_snakemakes_own_parser_crashes(images: Path, tmp_path: Path) -> None:
    config = small_config(images, training={"epochs": 1})
    words = ("--cores", "1", "--resources", "gpu=1", f"results/{MODEL}/32.done")
    finished = snakemake(*words, directory=tmp_path, config=config)
    assert finished.returncode == 0, finished.stderr
    marker = read_json(tmp_path / "results" / MODEL / "32.done")
    assert (list(marker), list(marker["cost"])) == (
        [*KEYS, *LATER],
        [*COST_KEYS, "reasons"],
    )
    assert marker["origin"] == "local"
    assert 0 <= marker["metrics"]["test/accuracy"] <= 1
    assert marker["cost"]["params"] > 0
    assert markers(tmp_path) == {f"{MODEL}/32.done"}
    # A valid model and resolution outside the configuration's lists is a target too.
    beside = snakemake(f"results/{OTHER}/40.done", directory=tmp_path, config=config)
    assert beside.returncode == 0, beside.stderr
    assert markers(tmp_path) == {f"{MODEL}/32.done", f"{OTHER}/40.done"}


@of_one_grid
@pytest.mark.slow
def test_whole_grid_has_markers_summary_and_status(done_grid: tuple[Path, dict[str, Any]]) -> None:
    directory, config = done_grid
    stems = {f"{model}/{res}{seed}.done" for model in (MODEL, OTHER) for res in (32, 48) for seed in ("", ".seed1")}
    assert markers(directory) == stems
    with (directory / "results" / "summary.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 8
    assert {row["model"] for row in rows} == {MODEL, OTHER}
    assert "True" in {row["within_margin"] for row in rows}
    content = read_json(directory / "results" / "summary.json")
    jsonschema.validate(content, read_json(ROOT / "workflow" / "schemas" / "summary.schema.json"))
    assert content["is_complete"]
    assert content["missing"] == []
    assert len(content["matrix"]) == 8  # two models, trained at two resolutions, tested at two
    marker = read_json(directory / "results" / MODEL / "48.seed1.done")
    of_marker = next(one for one in content["trainings"] if one["uid"] == marker["uid"])
    # In the map the calibration error is without the bias of bins, in the marker as Guo et al. have it.
    biased = {"val/calibration_error", "test/calibration_error"}
    assert {name: one for name, one in of_marker["metrics"].items() if name not in biased} == {
        name: one for name, one in marker["metrics"].items() if name not in biased
    }
    square = next(one for one in content["squares"] if (one["model"], one["resolution"]) == (MODEL, 48))
    assert (square["seeds"], square["upsampled"]) == ([0, 1], 1.0)
    assert square["cost"]["flops"] == marker["cost"]["flops"]
    assert square["cost"]["latency_ms_median"] > 0
    again = snakemake("-n", directory=directory, config=config)
    assert trainings(again.stdout + again.stderr) == 0
    status = command("resomap", "status", "--json", cwd=directory)
    assert status.returncode == 0, status.stderr
    assert json.dumps(json.loads(status.stdout)).count('"done"') >= 8


@of_one_grid
@pytest.mark.slow
def test_the_report_of_the_grid_is_drawn_and_snakemakes_own_report_has_its_figures(
    done_grid: tuple[Path, dict[str, Any]],
) -> None:
    directory, config = done_grid
    own = directory / "own.html"
    made = snakemake("--report", str(own), directory=directory, config=config)
    assert made.returncode == 0, made.stderr
    for word in ("curves.svg", "line is the Pareto", "Classes"):
        assert word in own.read_text()
    with look_at(directory / "results" / "report.html", 390) as look:
        assert look.complaints == []
        assert look.requests == []
        assert look.width() <= 390
        assert all(chart["marks"] for chart in look.charts())
        assert look.silent_points() == []
        assert "latency" in look.tooltip_at("#figure-pareto .mark-symbol path")
        assert look.page.locator("#disagreements img, #data img").count() > 0


@of_one_grid
@pytest.mark.slow
def test_runs_are_in_the_local_tracker(done_grid: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    directory, _ = done_grid
    monkeypatch.chdir(directory)  # its artifacts lie where the study is, wherever that may be moved
    client = MlflowClient(tracking_uri=f"sqlite:///{directory / 'results' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("A study")
    runs = client.search_runs([experiment.experiment_id], "tags.`resomap.complete` = '1'")
    assert len(runs) == 8
    assert {run.info.status for run in runs} == {"FINISHED"}
    marker = read_json(directory / "results" / MODEL / "32.done")
    run = next(run for run in runs if run.info.run_id == marker["run_id"])
    assert run.data.tags["resomap.uid"] == marker["uid"]
    assert run.data.tags["resomap.fingerprint"] == marker["fingerprint"]
    assert run.data.params["model"] == MODEL
    assert run.data.params["early_stopping.patience"] == "8"
    assert run.data.metrics["test/accuracy"] == pytest.approx(marker["metrics"]["test/accuracy"])
    assert len(client.get_metric_history(run.info.run_id, "val/loss")) == 1
    stored = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert stored == {"config.yaml", "environment.json", "figures", "history.csv", "predictions.npz"}


@of_one_grid
@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "shown"),
    [
        ("--lint", "your workflow is in a good condition"),
        ("--dag", "digraph snakemake_dag"),
        ("--rulegraph", "digraph snakemake_dag"),
        ("--summary", "results/summary.json"),
        ("--touch", ""),
    ],
)
def test_snakemakes_own_commands_are_clean(option: str, shown: str, done_grid: tuple[Path, dict[str, Any]]) -> None:
    directory, config = done_grid
    before = markers(directory)
    done = snakemake(option, directory=directory, config=config)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert "error" not in done.stderr.lower()
    assert markers(directory) == before
    again = snakemake("-n", directory=directory, config=config)
    assert "Nothing to be done" in again.stdout + again.stderr


@of_one_grid
@pytest.mark.slow
def test_sync_sends_what_is_unsent_once(done_grid: tuple[Path, dict[str, Any]]) -> None:
    from mlflow import MlflowClient

    directory, _ = done_grid
    receipt = directory / "results" / MODEL / "32.journal.sent.json"
    receipt.unlink()
    first = command("resomap", "sync", cwd=directory)
    assert (first.returncode, first.stdout.count("sent ")) == (0, 1), first.stderr
    assert "nothing to send" in command("resomap", "sync", cwd=directory).stdout
    client = MlflowClient(tracking_uri=f"sqlite:///{directory / 'results' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("A study")
    assert len(client.search_runs([experiment.experiment_id], "tags.`resomap.cell` != ''")) == 8
    run_id = read_json(receipt)["run_id"]
    assert len(client.get_metric_history(run_id, "val/loss")) == 1


@of_one_grid
@pytest.mark.slow
def test_changed_settings_train_anew_and_going_back_trains_nothing(
    done_grid: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    directory, config = done_grid
    changed = {**config, "overrides": {f"{OTHER}@48": {"learning_rate": 0.002}}}
    listed = snakemake("-n", directory=directory, config=changed)
    assert trainings(listed.stdout + listed.stderr) == 2  # both seeds of that map position
    both = f"{OTHER}@48, {OTHER}@48.seed1"
    assert f"trains again: {both}: training.learning_rate was 0.001 and is 0.002" in listed.stdout
    assert read_json(directory / "results" / OTHER / "48.done") is not None
    back = snakemake("-n", directory=directory, config=config)
    assert trainings(back.stdout + back.stderr) == 0


@of_one_grid
@pytest.mark.slow
def test_lost_images_do_not_retrain_what_is_done(done_grid: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """The hard case for Snakemake: the store has to be made anew for one cell, its neighbours are done."""
    directory, config = done_grid
    store, aside = directory / "results" / "data", tmp_path / "data"
    marker, kept = directory / "results" / MODEL / "32.done", tmp_path / "32.done"
    checkpoints = directory / "checkpoints" / "resnet" / MODEL / "32"
    store.rename(aside)
    marker.rename(kept)
    checkpoints.rename(tmp_path / "checkpoints")
    try:
        listed = snakemake("-n", directory=directory, config=config)
        assert trainings(listed.stdout + listed.stderr) == 1
    finally:
        aside.rename(store)
        kept.rename(marker)
        (tmp_path / "checkpoints").rename(checkpoints)


@of_one_grid
@pytest.mark.slow
def test_an_evaluation_that_is_gone_is_missed_behind_a_map_that_is_there(
    done_grid: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    directory, config = done_grid
    record, kept = directory / "results" / MODEL / "48.seed1.evaluation.json", tmp_path / "evaluation.json"
    record.rename(kept)
    try:
        listed = snakemake("-n", directory=directory, config=config)
        names = re.findall(r"^(?:local)?rule (\w+):", listed.stdout + listed.stderr, re.MULTILINE)
        assert sorted(names) == ["all", "evaluate", "map", "report", "stores"]
    finally:
        kept.rename(record)
    assert "Nothing to be done" in snakemake("-n", directory=directory, config=config).stdout


@pytest.mark.slow
def test_another_image_trains_anew_by_one_command(images: Path, tmp_path: Path) -> None:
    own = tmp_path / "images"
    shutil.copytree(images, own)
    config = small_config(own, resolutions=[32, 40])
    assert snakemake(f"results/{MODEL}/all", directory=tmp_path, config=config).returncode == 0
    before = {path: read_json(path) for path in sorted(tmp_path.glob(f"results/{MODEL}/*.done"))}
    shutil.copy(next(own.glob("*/*.png")), next(own.iterdir()) / "another.png")
    with next(own.glob("*/another.png")).open("ab") as stream:
        stream.write(b" ")  # another file, and the same picture
    for words in (["-n"], []):
        finished = snakemake(*words, f"results/{MODEL}/all", directory=tmp_path, config=config)
        assert finished.returncode == 0, finished.stderr
        if words:
            listed = finished.stdout + finished.stderr
            assert trainings(listed) == 2
            assert {"data", "images"} <= set(re.findall(r"^rule (\w+):", listed, re.MULTILINE))
    for path, content in before.items():
        after = read_json(path)
        assert after["fingerprint"] != content["fingerprint"]
        assert after["content_digest"] != content["content_digest"]


@pytest.mark.slow
def test_stored_images_that_are_not_whole_are_made_again(images: Path, tmp_path: Path) -> None:
    config = small_config(images)
    array = tmp_path / "results" / "data" / "32" / "train.npy"
    assert snakemake("results/data/32/store.json", directory=tmp_path, config=config).returncode == 0
    whole = array.read_bytes()
    for damage in (whole[:-1], b""):
        array.write_bytes(damage)
        finished = snakemake(f"results/{MODEL}/32.done", directory=tmp_path, config=config)
        assert finished.returncode == 0, finished.stderr
        assert "results/data/32/train.npy is not whole" in finished.stderr
        assert array.read_bytes() == whole
        (tmp_path / "results" / MODEL / "32.done").unlink()
        shutil.rmtree(tmp_path / "checkpoints")


@pytest.mark.slow
def test_training_images_that_need_not_be_kept(images: Path, tmp_path: Path) -> None:
    config = small_config(images, resolutions=[32, 40], data={"keep_train": False})
    finished = snakemake("--cores", "2", directory=tmp_path, config=config)
    assert finished.returncode == 0, finished.stderr
    stores = tmp_path / "results" / "data"
    assert sorted(path.name for path in (stores / "32").iterdir()) == ["store.json", "test.npy", "val.npy"]
    written = {path: path.stat().st_mtime_ns for path in tmp_path.glob("results/*/*.done")}
    # One more cell: its images come back for it, and nobody else trains.
    config["seeds"] = [0, 1]
    config["resolutions"] = [32]
    finished = snakemake("--cores", "2", directory=tmp_path, config=config)
    assert finished.returncode == 0, finished.stderr
    assert markers(tmp_path) == {f"{MODEL}/32.done", f"{MODEL}/40.done", f"{MODEL}/32.seed1.done"}
    assert all(path.stat().st_mtime_ns == time for path, time in written.items())
    assert not (stores / "32" / "train.npy").exists()
    assert trainings(snakemake("-n", directory=tmp_path, config=config).stdout) == 0
    # With nothing on the disk there is nothing to delete either.
    config |= {"seeds": [0, 1, 2], "data": {**config["data"], "on_disk": "never"}}
    finished = snakemake("--cores", "2", directory=tmp_path, config=config)
    assert finished.returncode == 0, finished.stderr
    assert [path.name for path in (stores / "32").iterdir()] == ["store.json"]
    assert len(markers(tmp_path)) == 4


def test_images_alone_are_prepared_without_any_cell(images: Path, tmp_path: Path) -> None:
    finished = snakemake("results/data/32/store.json", directory=tmp_path, config=small_config(images))
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "results" / "data" / "32" / "train.npy").exists()
    assert not markers(tmp_path)


def test_sub_grid_and_one_model_from_the_command_line(images: Path, tmp_path: Path) -> None:
    config = small_config(images)
    listed = snakemake("-n", "--config", "models=vgg11,resnet18", "resolutions=224,320", directory=tmp_path)
    assert trainings(listed.stdout + listed.stderr) == 4
    listed = snakemake("-n", "results/vgg11/all", directory=tmp_path)
    assert trainings(listed.stdout + listed.stderr) == 5
    listed = snakemake("-n", "--config", "skip_completed=false", "training={epochs: 2}", directory=tmp_path)
    assert trainings(listed.stdout + listed.stderr) == 40
    listed = snakemake("-n", "results/resnet18/all", "results/vgg11/64.done", directory=tmp_path, config=config)
    assert trainings(listed.stdout + listed.stderr) == 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["results/vgg99/320.done"], r"unknown model 'vgg99'; did you mean 'vgg\d\d'\?"),
        (["results/vgg99/all"], "unknown model 'vgg99'"),
        (["results/vgg11/huge.done"], "'huge' in results/vgg11/huge.done is no resolution"),
        (["results/vgg11/320.seed0.done"], "0 is the first seed, whose marker has no suffix: results/vgg11/320.done"),
        (["results/vgg11/0320.done"], "'0320' in results/vgg11/0320.done is no resolution"),
        (["results/vgg11/320.first.done"], "'.first' in results/vgg11/320.first.done is no seed"),
        (["results/data/032/store.json"], "'032' in results/data/032/store.json is no resolution"),
        (["results/data/32-032.ready"], "'032' in results/data/32-032.ready is no resolution"),
        (["--config", "priority=vgg11@224.seed7"], "has 'vgg11@224.seed7', and seeds has no 7; add it there"),
        (["results/vit_tiny_patch16_224/250.done"], "vit_tiny_patch16_224 cannot take 250 px"),
        (["--config", "modles=vgg11"], "unknown key 'modles'; did you mean 'models'?"),
        (["--config", "models=vgg16,vgg61"], "unknown model 'vgg61'"),
        (["--config", "resolutions=224,x"], "resolutions has 'x'"),
        (["--config", "training={epoch: 2}"], "did you mean 'training.epochs'?"),
        (["--config", "data={source: nowhere}"], "there is no data folder"),
        (["--config", "overrides={vgg111: {epochs: 2}}"], "unknown model 'vgg111'"),
    ],
)
def test_a_mistake_is_one_sentence(words: list[str], sentence: str, tmp_path: Path) -> None:
    refused = snakemake("-n", *words, directory=tmp_path)
    assert refused.returncode not in (0, 1)
    said = [line for line in refused.stderr.splitlines() if line.startswith("resomap:")]
    assert len(said) == 1
    assert re.search(sentence.replace("?", r"\?") if "\\" not in sentence else sentence, said[0])
    assert "Traceback" not in refused.stdout + refused.stderr


def test_required_tracker_that_is_away_stops_the_grid(images: Path, tmp_path: Path) -> None:
    config = small_config(images, tracking={"uri": "http://127.0.0.1:9", "required": True})
    refused = snakemake(directory=tmp_path, config=config)
    assert refused.returncode == 2
    assert "is required and cannot be used: nothing listens there; start it, or check tracking.uri" in refused.stderr
    assert not markers(tmp_path)


@pytest.mark.slow
def test_a_failed_cell_leaves_the_others_running(images: Path, tmp_path: Path) -> None:
    diverging = {"optimizer": "sgd", "learning_rate": 1e12, "warmup_epochs": 0, "gradient_clip": None}
    config = small_config(
        images, models=[OTHER, MODEL], overrides={OTHER: diverging}, training={"epochs": 2}, retries=2
    )
    finished = snakemake("--cores", "1", "--resources", "gpu=1", directory=tmp_path, config=config)
    assert finished.returncode == 1
    assert markers(tmp_path) == {f"{MODEL}/32.done"}
    failure = read_json(tmp_path / "results" / OTHER / "32.failed.json")
    assert failure["permanent"] is True
    assert (tmp_path / "results" / OTHER / "32.log").read_text().count("epoch 1/2") == 0
    tail = "\n".join((finished.stdout + finished.stderr).splitlines()[-12:])
    assert "diverged at epoch 1, step" in tail
    assert f"results/{OTHER}/32.log" in tail
    assert f"snakemake --rerun-incomplete results/{OTHER}/32.done" in tail
    # The map of what is there is made all the same, and names what is not.
    assert "1 trainings of the grid are not in this map: test_efficientnet@32." in finished.stdout
    content = read_json(tmp_path / "results" / "summary.json")
    assert not content["is_complete"]
    assert "test_efficientnet @ 32 px, seed 0" in (tmp_path / "results" / "report.html").read_text()
    assert "diverged" in next(gap["reason"] for gap in content["missing"] if gap["what"] == "training")
    # A failure that cannot get better is tried again by nobody: the later attempts end before they train.
    log = (tmp_path / "results" / OTHER / "32.log").read_text()
    assert log.count("attempt 1") == 1
    assert log.count("no GPU") <= 1
    # The command it names goes on, once the settings are mended.
    config["overrides"] = {}
    (tmp_path / "study.yaml").write_text(json.dumps(config))
    assert str(tmp_path) not in failure["resume"], "a study that moves takes its commands along"
    words = failure["resume"].replace(PLACE, str(tmp_path)).split()
    mended = command(*words, cwd=ROOT)
    assert mended.returncode == 0, mended.stderr
    assert markers(tmp_path) == {f"{MODEL}/32.done", f"{OTHER}/32.done"}


@pytest.mark.slow
def test_bad_images_fail_once_with_a_report(images: Path, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    draw_images(folder, 12)
    (folder / "down" / "torn.png").write_bytes((folder / "down" / "000.png").read_bytes()[:200])
    (folder / "down" / "empty.jpg").touch()
    study = tmp_path / "study"
    study.mkdir()
    finished = snakemake(directory=study, config=small_config(folder, training={"epochs": 1}))
    assert finished.returncode == 1
    report = (study / "results" / "data" / "check.md").read_text()
    assert "torn.png" in report
    assert "empty.jpg" in report
    assert "check.md" in finished.stdout + finished.stderr
    config = small_config(folder, training={"epochs": 1}, data={"problems": "skip"})
    skipped = snakemake(directory=study, config=config)
    assert skipped.returncode == 0, skipped.stderr
    assert markers(study) == {f"{MODEL}/32.done"}


@pytest.fixture
def in_training(images: Path, tmp_path: Path) -> Iterator[tuple["subprocess.Popen[bytes]", Path, dict[str, Any]]]:
    """A real `snakemake` whose only cell is being trained."""
    config = small_config(images, training={"epochs": 40, "early_stopping": {"enabled": False}})
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps(config))
    words = [tool("snakemake"), "--cores", "1", "--configfile", str(path), "--directory", str(tmp_path)]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(words, cwd=ROOT, env=environment_with(), stdin=quiet, stdout=quiet, stderr=quiet)
    progress, deadline = tmp_path / "results" / MODEL / "32.progress.json", time.monotonic() + 60
    while not progress.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield process, tmp_path, config
    process.wait(timeout=120)


@pytest.mark.slow
def test_after_kill_9_of_snakemake_one_command_goes_on(in_training: Any) -> None:
    """The training survives as an orphan; the second call removes the stale locks, waits for it and is done."""
    first, directory, config = in_training
    first.kill()
    first.wait()
    assert list((directory / ".snakemake" / "locks").iterdir())
    second = snakemake("--rerun-incomplete", directory=directory, config=config)
    assert second.returncode == 0, second.stderr
    assert "lock files of a killed snakemake are removed" in second.stderr
    assert markers(directory) == {f"{MODEL}/32.done"}
    assert (directory / "results" / MODEL / "32.log").read_text().count("epoch 40/40") == 1


@pytest.mark.slow
def test_a_failure_that_may_pass_is_tried_again_and_goes_on(in_training: Any) -> None:
    """The trainer is killed from outside, as by a full memory; `retries` is 1 by default."""
    first, directory, _ = in_training
    results = directory / "results" / MODEL
    wait_for(lambda: (read_json(results / "32.progress.json") or {}).get("epoch"))
    os.kill(read_json(results / "32.progress.json")["pid"], signal.SIGKILL)
    assert first.wait(timeout=120) == 0
    assert markers(directory) == {f"{MODEL}/32.done"}
    log = (results / "32.log").read_text()
    assert "attempt 1" in log
    assert "attempt 2" in log
    said = "".join(path.read_text() for path in (directory / ".snakemake" / "log").iterdir())
    first_asked, second_asked = (int(number) for number in re.findall(r"rule train:[^[]*? mem_mb=(\d+)", said))
    assert second_asked > 1.4 * first_asked


@pytest.mark.slow
def test_a_living_neighbours_lock_is_not_removed(in_training: Any) -> None:
    first, directory, config = in_training
    second = snakemake(directory=directory, config=config)
    assert second.returncode == 1
    assert f"runs in {directory} already and makes these files" in " ".join(second.stderr.split())
    assert first.wait(timeout=120) == 0
    assert markers(directory) == {f"{MODEL}/32.done"}
