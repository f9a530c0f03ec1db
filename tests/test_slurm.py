"""The grid on a real Slurm of two nodes with a GPU each: placement, time limits, requeues, and kills."""

import contextlib
import itertools
import re
import signal
import subprocess
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import slurm_cluster
import yaml
from conftest import MODEL, ROOT, free_port, make_study, small_config, tool, trainer
from dagshub_stand_in import stand_in
from mlflow import MlflowClient
from slurm_cluster import ACCOUNT, Cluster
from test_workflow import markers
from waiting import wait_for

from resomap.cells.progress import Progress, is_alive
from resomap.core.files import read_json
from resomap.machine.slurm import parse_duration, signal_lead

pytestmark = [
    pytest.mark.xdist_group("slurm"),  # one cluster: its tests follow each other in one process
    pytest.mark.skipif(slurm_cluster.why_not() is not None, reason=str(slurm_cluster.why_not())),
    pytest.mark.timeout(1200),
    pytest.mark.slow,
]
STARTED: "list[subprocess.Popen[str]]" = []


@pytest.fixture(autouse=True)
def _ends_what_it_started() -> Iterator[None]:
    """A test that fails leaves no Snakemake behind that goes on handing in jobs."""
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with slurm_cluster.cluster(tmp_path_factory.mktemp("slurm")) as made:
        yield made


def start(lab: Cluster, directory: Path, config: dict[str, Any], *words: str) -> "subprocess.Popen[str]":
    """`snakemake --profile profiles/slurm` on the lab's login node, with times that fit a test."""
    directory.mkdir(exist_ok=True)
    (directory / "study.yaml").write_text(yaml.safe_dump(config))
    fast = ["--seconds-between-status-checks", "2", "--latency-wait", "20", "--slurm-keep-successful-logs"]
    fast += ["--slurm-status-command", "squeue", "--slurm-init-seconds-before-status-checks", "2"]
    fast += ["--max-jobs-per-timespan", "30/1s"]
    place = ["--directory", str(directory), "--configfile", str(directory / "study.yaml")]
    command = [tool("snakemake"), *words, "--profile", "profiles/slurm", *fast, *place]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=lab.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    STARTED.append(process)
    return process


def finish(process: "subprocess.Popen[str]", seconds: float = 900) -> str:
    """Its output; it must end well."""
    output, _ = process.communicate(timeout=seconds)
    assert process.returncode == 0, output
    return output


def log_of(directory: Path, cell: str) -> str:
    model, _, stem = cell.partition("@")
    path = directory / "results" / model / f"{stem}.log"
    return path.read_text() if path.exists() else ""


until = partial(wait_for, every=0.3)  # Slurm is asked by commands


def spans(directory: Path, cell: str) -> list[tuple[str, str, datetime, datetime]]:
    """(job, node, begin, end) of each attempt, by the times in the cell's log."""
    found: list[tuple[str, str, datetime, datetime]] = []
    for line in log_of(directory, cell).splitlines():
        try:
            at = datetime.fromisoformat(line[:19])
        except ValueError:
            continue
        if begun := re.search(r"Slurm job (\d+) on (\S+)$", line):
            found.append((begun[1], begun[2], at, at))
        elif found:
            found[-1] = (*found[-1][:3], at)
    return found


def progress_of(directory: Path, cell: str) -> Progress:
    """Progress file of a training; `absent` is the state of one that has not begun."""
    model, _, stem = cell.partition("@")
    return Progress.read(directory / "results" / model / f"{stem}.progress.json") or Progress(cell, "absent")


def running_job(directory: Path, cell: str, epoch: int = 1) -> str | None:
    """The job of a cell that has trained so many epochs."""
    progress = progress_of(directory, cell)
    with contextlib.chdir(directory):  # a training lives for those who work where it does
        return progress.job if progress.epoch >= epoch and is_alive(progress) else None


@contextlib.contextmanager
def held(process: psutil.Process) -> Iterator[psutil.Process]:
    """The process does nothing within the block."""
    process.suspend()
    try:
        yield process
    finally:
        process.resume()


def has_pending(process: psutil.Process, number: signal.Signals) -> bool:
    """True if a signal has arrived that a stopped process cannot act on."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    pending = next(int(line.split()[1], 16) for line in lines if line.startswith("ShdPnd:"))
    return bool(pending & 1 << number - 1)


def training(directory: Path, cells: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(cell, job) of those that train and have two epochs behind them."""
    for cell in cells:
        if job := running_job(directory, cell, 2):
            yield cell, job


def test_eight_cells_on_two_nodes_share_no_gpu_and_ask_the_tracker_once(
    lab: Cluster, images: Path, server: str, tmp_path: Path
) -> None:
    MlflowClient(server).create_experiment("on a cluster")  # where there is none, there is nothing to ask
    with stand_in(server) as recorder:
        config = small_config(images, resolutions=[32, 40], seeds=[0, 1, 2, 3], experiment="on a cluster")
        config |= {"tracking": {"uri": recorder.uri, "drain_seconds": 10}, "slurm": {"cpus": 1, "partition": "gpu"}}
        config |= {"priority": [f"{MODEL}@{size}.seed3" for size in (32, 40)]}
        output = finish(start(lab, tmp_path / "study", config, "results/test_resnet/all"))
    directory = tmp_path / "study"
    stems = {f"{MODEL}/{size}{seed}.done" for size in (32, 40) for seed in ("", ".seed1", ".seed2", ".seed3")}
    assert markers(directory) == stems
    cells = [stem.replace("/", "@").removesuffix(".done") for stem in stems]
    attempts = [spans(directory, cell) for cell in cells]
    assert [len(each) for each in attempts] == [1] * 8, output
    assert {node for each in attempts for _, node, _, _ in each} == {"node1", "node2"}
    for node in ("node1", "node2"):
        times = sorted((begin, end) for each in attempts for _, where, begin, end in each if where == node)
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(times)), times
    asked = [body for path, body in recorder.passed_on if "runs/search" in path and b"resomap.complete` = '1'" in body]
    assert len(asked) == 1
    # Cells that are ready together are queued in the order of their priorities; Snakemake's plugin calls sbatch twice
    # at a time, so neighbours may change places.
    for size in (32, 40):
        seeds = [f"{MODEL}@{size}{seed}" for seed in (".seed3", "", ".seed1", ".seed2")]
        jobs = [int(attempts[cells.index(cell)][0][0]) for cell in seeds]
        assert all(abs(sorted(jobs).index(job) - place) <= 1 for place, job in enumerate(jobs)), (seeds, jobs)
    # Where to look: the plugin's log carries the cell.
    assert list(directory.glob(f".snakemake/slurm_logs/rule_train/{MODEL}_32_.seed1/*.log"))


def test_preemption_cancel_and_a_permanent_failure(lab: Cluster, images: Path, tmp_path: Path) -> None:
    long = {"epochs": 100, "early_stopping": {"enabled": False}}
    diverging = {"optimizer": "sgd", "learning_rate": 1e12, "warmup_epochs": 0, "gradient_clip": None}
    config = small_config(images, resolutions=[32, 40, 48], training=long, retries=1)
    config |= {"overrides": {f"{MODEL}@48": diverging}, "slurm": {"cpus": 1}, "checkpoints": {"every_minutes": 5}}
    directory = tmp_path / "study"
    process = start(lab, directory, config, f"results/{MODEL}/all")
    seen: dict[str, str] = {}  # whichever trains first: there is a node for one of them while the third fails
    while len(seen) < 2:
        cell, job = until(lambda: next(training(directory, {f"{MODEL}@32", f"{MODEL}@40"} - set(seen)), None))
        seen[cell] = job
        if cell == f"{MODEL}@40":
            lab.run("scancel", job)
        else:
            node = spans(directory, cell)[0][1]
            urgent = ("--partition", "urgent", "--nodelist", node, "--gpus", "1", "--output", "/dev/null")
            lab.run("sbatch", *urgent, "--wrap", "sleep 2")
    preempted, cancelled = seen[f"{MODEL}@32"], seen[f"{MODEL}@40"]
    output, _ = process.communicate(timeout=900)
    assert process.returncode == 1, output  # the third cell fails, and the others do not
    assert markers(directory) == {f"{MODEL}/32.done", f"{MODEL}/40.done"}
    first, second = spans(directory, f"{MODEL}@32"), spans(directory, f"{MODEL}@40")
    assert [job for job, *_ in first] == [preempted, preempted], "the same job goes on, and no retry was spent"
    assert second[0][0] == cancelled
    assert len(second) == 2
    for cell in seen:
        assert log_of(directory, cell).count("going on at epoch") == 1, log_of(directory, cell)
    # The first attempt trained until it diverged; the second, a job of its own, ends at once.
    (failed, *_), (again, _, begin, end) = spans(directory, f"{MODEL}@48")
    assert again != failed
    assert log_of(directory, f"{MODEL}@48").count("diverged at epoch 1") == 2
    assert (end - begin).total_seconds() < 3
    # Cut off anywhere, the end has the same bits as without it.
    marker = read_json(directory / "results" / MODEL / "32.done")
    assert marker["exact"] is True
    whole = tmp_path / "whole"
    whole.mkdir()
    cell = make_study(whole, {**config, "overrides": {}}).cells()[0]
    alone = trainer(cell.name, whole)  # with one thread, as `slurm.cpus` gave the job
    assert alone.wait(timeout=300) == 0
    assert read_json(whole / cell.marker)["metrics"] == marker["metrics"]


def test_a_training_longer_than_the_limit_goes_on_by_itself(lab: Cluster, images: Path, tmp_path: Path) -> None:
    config = small_config(images, training={"epochs": 150, "early_stopping": {"enabled": False}}, retries=0)
    config |= {"slurm": {"cpus": 1, "max_runtime": 1}}
    directory, cell = tmp_path / "study", f"{MODEL}@32"
    process = start(lab, directory, config, f"results/{MODEL}/32.done")
    job = until(lambda: running_job(directory, cell))
    # It would be done before Slurm's signal, which comes after 20 to 50 s: its process waits for that.
    with contextlib.suppress(psutil.NoSuchProcess), held(psutil.Process(progress_of(directory, cell).pid)) as training:
        shown = subprocess.run([tool("resomap"), "status"], cwd=directory, capture_output=True, text=True).stdout
        assert f"Slurm job {job}" in shown
        until(lambda: has_pending(training, signal.SIGTERM))
    finish(process)
    attempts = spans(directory, cell)
    assert len(attempts) >= 2, log_of(directory, cell)
    assert {job for job, *_ in attempts} == {job}
    assert "it is back in the queue, and goes on from the checkpoint" in log_of(directory, cell)
    assert read_json(directory / "results" / MODEL / "32.done")["epochs"] == 150


def test_a_training_that_ends_as_its_time_does_is_no_failure(lab: Cluster, images: Path, tmp_path: Path) -> None:
    # Its end is long, because it waits for a tracker that is not there. Snakemake in the job gets the signal as well.
    tracking = {"uri": f"http://127.0.0.1:{free_port()}", "drain_seconds": 10}
    config = small_config(images, tracking=tracking, retries=0)
    config |= {"slurm": {"cpus": 1, "max_runtime": 2}}
    directory, cell = tmp_path / "study", f"{MODEL}@32"
    process = start(lab, directory, config, f"results/{MODEL}/32.done")
    job = until(lambda: running_job(directory, cell, 3) if progress_of(directory, cell).state == "sending" else None)
    lab.run("scancel", "--signal=TERM", job)
    finish(process)
    log = log_of(directory, cell)
    assert [seen for seen, *_ in spans(directory, cell)] == [job, job], log
    assert log.count("epoch 3/3") == 1, log
    assert markers(directory) == {f"{MODEL}/32.done"}


def test_a_signal_that_comes_before_or_after_its_training_is_no_failure(
    lab: Cluster, images: Path, tmp_path: Path
) -> None:
    # Slurm's early signal goes to every process of a job. Here it finds all but the training: those around it must
    # neither end nor call the job a failure.
    config = small_config(images, training={"epochs": 30, "early_stopping": {"enabled": False}}, retries=0)
    directory, cell = tmp_path / "study", f"{MODEL}@32"
    process = start(lab, directory, config | {"slurm": {"cpus": 1}}, f"results/{MODEL}/32.done")
    until(lambda: running_job(directory, cell))
    with held(psutil.Process(progress_of(directory, cell).pid)) as training:
        around = list(itertools.takewhile(lambda one: not one.name().startswith("slurm"), training.parents()))
        assert any("snakemake" in one.cmdline() for one in around), around
        for one in around:
            one.send_signal(signal.SIGTERM)
    finish(process)
    log = log_of(directory, cell)
    assert len(spans(directory, cell)) == 1, log
    assert log.count("epoch 30/30") == 1, log


def test_after_kill_9_of_the_main_process_nothing_trains_twice(lab: Cluster, images: Path, tmp_path: Path) -> None:
    config = small_config(images, training={"epochs": 40, "early_stopping": {"enabled": False}})
    config |= {"slurm": {"cpus": 1}}
    directory, target = tmp_path / "study", f"results/{MODEL}/36.done"  # beside the configured grid
    first = start(lab, directory, config, target)
    job = until(lambda: running_job(directory, f"{MODEL}@36", 2))
    first.kill()
    first.wait()
    output = finish(start(lab, directory, config, target))
    assert f"still in the queue, and waited for: {MODEL}@36 (job {job})" in output
    log = log_of(directory, f"{MODEL}@36")
    assert log.count("epoch 40/40") == 1, log
    assert "going on at epoch" not in log
    assert read_json(directory / target)["epochs"] == 40


def test_the_marker_decides_and_not_what_slurm_says_of_a_job(lab: Cluster, images: Path, tmp_path: Path) -> None:
    # Snakemake's plugin takes UNKNOWN for a success; longer than it then waits for the marker (20 s).
    config = small_config(images, training={"epochs": 80, "early_stopping": {"enabled": False}}, retries=1)
    config |= {"slurm": {"cpus": 1}}
    directory = tmp_path / "study"
    process = start(lab, directory, config, f"results/{MODEL}/32.done")
    job = until(lambda: running_job(directory, f"{MODEL}@32", 2))
    # On a quick machine it would be done before the second attempt begins.
    with held(psutil.Process(progress_of(directory, f"{MODEL}@32").pid)):
        with lab.without_states():
            until(lambda: len(lab.jobs()) == 2)
        assert not markers(directory)
        until(lambda: f"{MODEL}@32 is being trained by process" in log_of(directory, f"{MODEL}@32"))
    output = finish(process)
    assert "MissingOutputException" in output
    # The second attempt waited for the first, which nobody had stopped, and found the cell done.
    log = log_of(directory, f"{MODEL}@32")
    assert spans(directory, f"{MODEL}@32")[0][0] == job
    assert log.count("epoch 80/80") == 1, log
    assert "going on at epoch" not in log
    assert markers(directory) == {f"{MODEL}/32.done"}


def test_what_the_configuration_asks_of_the_cluster_reaches_the_job(lab: Cluster, images: Path, tmp_path: Path) -> None:
    asked = {"partition": "urgent", "account": ACCOUNT, "constraint": "fast", "gpu_model": "a100"}
    config = small_config(images, slurm={**asked, "cpus": 2, "max_runtime": 10, "extra": "--nice=7"})
    directory = tmp_path / "study"
    finish(start(lab, directory, config, f"results/{MODEL}/32.done"))
    shown = lab.run("scontrol", "show", "job", spans(directory, f"{MODEL}@32")[0][0])
    for word in ("Partition=urgent", f"Account={ACCOUNT}", "Features=fast", "Nice=7", "Requeue=1", "NumCPUs=2"):
        assert f" {word} " in shown.replace("\n", " "), shown
    assert "gpu:a100:1" in shown
    assert f"{MODEL}_32" in re.findall("Comment=(.*)", shown)[0]
    assert "TimeLimit=00:10:00" in shown


def test_a_node_that_dies_gives_its_job_to_the_other(lab: Cluster, images: Path, tmp_path: Path) -> None:
    config = small_config(images, training={"epochs": 60, "early_stopping": {"enabled": False}}, retries=0)
    config |= {"slurm": {"cpus": 1}, "checkpoints": {"every_minutes": 0.02}}
    directory = tmp_path / "study"
    process = start(lab, directory, config, f"results/{MODEL}/32.done")
    job = until(lambda: running_job(directory, f"{MODEL}@32", 10))
    node = spans(directory, f"{MODEL}@32")[0][1]
    lab.kill_node(node)
    try:
        finish(process)
    finally:
        lab.start_node(node)
        lab.wait_for_idle()
    attempts = spans(directory, f"{MODEL}@32")
    assert [each for each, *_ in attempts] == [job, job]
    assert attempts[1][1] != node
    assert "going on at epoch" in log_of(directory, f"{MODEL}@32")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0:35", 35), ("12:05", 725), ("1:00:00", 3600), ("2-01:00:00", 176400), ("UNLIMITED", None), ("", None)],
)
def test_slurms_durations(text: str, seconds: int | None) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("grace", "limit", "lead"), [(30, 1440, 60), (30, 2, 60), (5, 2, 35), (120, 2, 60), (30, 1, 10)]
)
def test_the_signal_leaves_time_to_save_and_does_not_come_before_the_training(
    grace: float, limit: int, lead: int
) -> None:
    assert signal_lead(grace, limit) == lead
