"""Logger plugin: the lines of a running sweep and its end, from real runs of Snakemake with the trainer's files."""

import contextlib
import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pyte
import pytest
from conftest import ROOT

from resomap.cells.progress import Failure, Progress
from resomap.core.workflow_files import MARKER, PROFILE
from snakemake_logger_plugin_resomap.sweep import Sweep, describe, ending

# Stands in for the trainer: writes its files, so that the lines can be read without waiting for a training.
TRAINER = """
import json, os, sys, time
from pathlib import Path
from resomap.cells.progress import Failure, Progress
name, behaviour, out = sys.argv[1:]
stem = Path(out).with_suffix("")
beside = lambda extension: Path(f"{stem}.{extension}")
if behaviour == "diverges":
    Failure(name, "0" * 12, "diverged at epoch 3, step 12", True, str(beside("log")),
            f"snakemake --rerun-incomplete {out} --configfile q.yaml", exit_code=65).write(beside("failed.json"))
    sys.exit(65)
if behaviour == "dies":
    os.kill(os.getpid(), 9)
if behaviour == "interrupted":
    sys.exit(75)
if behaviour == "odd":
    sys.exit(3)
if behaviour == "slow":
    for epoch in range(1, 4):
        Progress(name, "training", epoch, 3, value=0.5 + epoch / 10, eta_seconds=840.0).write(beside("progress.json"))
        time.sleep(1.2)
Path(out).write_text(json.dumps({"metrics": {"val/balanced_accuracy": 0.875, "test/balanced_accuracy": 0.8}}))
"""

SNAKEFILE = (
    MARKER
    + """: a small one for tests
import sys
CELLS = config.get("cells", {"vgg11": "fine"})
wildcard_constraints:
    model="[^/]+", resolution="[^/.]+", suffix=r"(\\.seed[0-9]+)?"
rule all:
    default_target: True
    input: expand("results/{m}/320.done", m=CELLS), "results/summary.csv" if config.get("summary") else [], \
        "results/summary.json" if config.get("map") else []
rule map:
    input: expand("results/{m}/320.done", m=CELLS)
    output: "results/summary.json"
    log: "results/logs/map.log"
    shell: "sleep 3; echo the answer > {log}; touch {output}"
rule summary:
    output: "results/summary.csv"
    shell: "{config[summary]} > {output}"
rule train:
    output: "results/{model}/{resolution}{suffix}.done"
    log: "results/{model}/{resolution}{suffix}.log"
    params: behaviour=lambda wildcards: CELLS[wildcards.model]
    retries: config.get("retries", 0)
    shell: "{sys.executable} trainer.py {wildcards.model}@{wildcards.resolution}{wildcards.suffix} "
           "{params.behaviour} {output} > {log} 2>&1"
"""
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "Snakefile").write_text(SNAKEFILE)
    (tmp_path / "trainer.py").write_text(TRAINER)
    shutil.copytree(ROOT / PROFILE, tmp_path / PROFILE)
    return tmp_path


def run(directory: Path, *arguments: str, rc: int = 0) -> str:
    """Standard error of a real run that must end with exit status `rc`."""
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == rc, done.stdout + done.stderr
    return done.stderr


def cells(**behaviours: str) -> tuple[str, str]:
    return "--config", f"cells={json.dumps(behaviours)}"


def test_a_sweep_is_told_in_lines(project: Path) -> None:
    shown = run(project, *cells(vgg11="slow", resnet18="fine"))
    lines = shown.splitlines()
    assert lines[:2] == [
        f"Using profile {project / PROFILE} for setting default command line arguments.",
        "Plan: 3 jobs (2 train, 1 all)",
    ]
    assert "\x1b" not in shown
    for number, cell in (("1", "vgg11@320"), ("2", "resnet18@320")):
        assert any(line.startswith("[") and line.endswith(f"/2] {cell} started") for line in lines), number
    progress = [line for line in lines if " epoch " in line]
    assert progress
    assert all("/2] vgg11@320 epoch " in line and line.endswith("ETA 14 min") for line in progress)
    assert "val balanced_accuracy 0." in progress[0]
    (done,) = [line for line in lines if "vgg11@320 done in " in line]
    assert done.endswith("val balanced_accuracy 0.875 (test 0.800)")
    assert lines[-1].startswith("This run's trainings: 2 completed, 0 failed, 0 remaining (")


def on_a_terminal(directory: Path, *arguments: str) -> tuple[list[str], list[str]]:
    """The screens on the way and the last one's lines, of a real run on a pseudo-terminal of 100 columns."""
    screen = pyte.HistoryScreen(100, 40, history=1000)
    stream, screens = pyte.ByteStream(screen), []
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
    words = [sys.executable, "-m", "snakemake", *arguments]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    process = subprocess.Popen(
        words, cwd=directory, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
    )
    os.close(slave)
    with contextlib.suppress(OSError):  # how Linux says that the other end is closed
        while data := os.read(master, 65536):
            stream.feed(data)
            screens.append("\n".join(line.rstrip() for line in screen.display))
    os.close(master)
    assert process.wait() == 0, screens[-1]
    return screens, [line.rstrip() for line in screen.display if line.strip()]


def test_on_a_terminal_there_are_bars_that_leave_nothing_behind(project: Path) -> None:
    screens, last = on_a_terminal(project, *cells(vgg11="slow", resnet18="fine"), "--cores", "1")
    drawn = [text for text in screens if "\u2501" in text]
    assert drawn
    assert any(re.search(r"vgg11@320 \u2501+.* [123]/3 val 0\.[678]00 ETA 14 min", text) for text in drawn), drawn[-1]
    assert any(re.search(r"sweep \s*\u2501+.* [01]/2 trainings", text) for text in drawn)
    assert not any("\u2501" in line for line in last)
    assert any("vgg11@320 done in " in line for line in last)
    assert last[-1].startswith("This run's trainings: 2 completed, 0 failed, 0 remaining (")
    assert not any(" epoch " in line for line in last), "what the bars say is not said in lines too"


def test_the_bar_stays_behind_the_last_training_and_shows_what_a_step_has_logged(project: Path) -> None:
    words = cells(resnet18="fine")
    screens, last = on_a_terminal(project, *words, "map=1", "--cores", "1")
    assert any(re.search(r"sweep \s*\u2501+.* 1/1 trainings, map", text) for text in screens), screens[-1]
    assert not any("\u2501" in line for line in last)
    assert last.index("the answer") < next(
        number for number, line in enumerate(last) if line.startswith("map done in ")
    )


def test_the_end_names_each_failed_cell_its_reason_log_and_resume_command(project: Path) -> None:
    shown = run(project, *cells(a="diverges", b="dies", c="interrupted", d="fine", e="odd"), rc=1)
    assert "a@320 failed: diverged at epoch 3, step 12" in shown
    end = shown[shown.index("This run's trainings: 1 completed, 4 failed, 0 remaining") :].splitlines()
    assert len(end) == 13
    texts = {end[place].split()[1]: end[place : place + 3] for place in range(1, 13, 3)}
    assert texts["a@320"] == [
        "training a@320 failed: diverged at epoch 3, step 12",
        "    log     results/a/320.log",
        "    resume  snakemake --rerun-incomplete results/a/320.done --configfile q.yaml",
    ]
    assert "it was ended by SIGKILL, often for lack of memory" in texts["b@320"][0]
    assert "it was interrupted and saved its checkpoint" in texts["c@320"][0]
    assert "it ended with exit status 3" in texts["e@320"][0]
    # Without a word from the trainer: what the person typed, not what was added to it.
    resume = texts["b@320"][2]
    assert resume.startswith("    resume  snakemake --rerun-incomplete results/b/320.done --config 'cells={")
    assert "--cores" not in resume
    assert "--logger" not in resume


def test_a_retry_that_succeeds_is_no_failure(project: Path) -> None:
    (project / "trainer.py").write_text(
        "import sys, os\nfrom pathlib import Path\n"
        "if not Path('tried').exists():\n    Path('tried').touch()\n    sys.exit(1)\n"
        "Path(sys.argv[3]).write_text('{}')\n"
    )
    shown = run(project, *cells(vgg11="x"), "retries=1")
    assert shown.count("[1/1] vgg11@320 started") == 2
    assert "This run's trainings: 1 completed, 0 failed, 0 remaining" in shown


def test_an_old_failure_is_not_taken_for_this_runs(project: Path) -> None:
    old = Failure("vgg11@320", "0" * 12, "the disk was full", False, "old.log", "old command", at=time.time() - 900)
    old.write(project / "results/vgg11/320.failed.json")
    shown = run(project, *cells(vgg11="dies"), rc=1)
    assert "the disk was full" not in shown
    assert "it was ended by SIGKILL" in shown


def test_the_failure_of_another_rule_is_shown_in_full(project: Path) -> None:
    shown = run(project, *cells(vgg11="fine"), "summary=nonsense-command", rc=1)
    assert "Error in rule summary:" in shown
    assert "nonsense-command" in shown
    assert "job summary failed" in shown
    assert "resume  snakemake --rerun-incomplete results/summary.csv" in shown
    assert "This run's trainings: 1 completed, 0 failed" in shown


def test_a_step_that_fails_says_why_with_its_last_words(project: Path) -> None:
    """Its own sentence, which names the way out, where it could still speak; else how its process ended."""
    (project / ".resomap").mkdir()
    step = f"{sys.executable} -m resomap images {{}} --study none.json"
    (project / "none.json").write_text("{}")
    shown = run(project, *cells(vgg11="fine"), f"summary={step.format('many')}", rc=1)
    assert shown.splitlines()[-1].startswith("job summary failed: 'many' is no resolution; write whole pixels")
    # By the step itself and as the last word; between them where a training went on.
    is_alone = shown.index("vgg11@320 done") < shown.index("summary failed")
    assert shown.count("is no resolution") == (2 if is_alone else 3)
    assert "Error in rule" not in shown
    shown = run(project, *cells(vgg11="fine"), "summary=kill -9 $$; true", rc=1)
    assert "job summary failed: it was ended by SIGKILL, often for lack of memory (rule summary)" in shown
    assert "is no resolution" not in shown, "an earlier run's"
    (project / "none.json").unlink()
    shown = run(project, *cells(vgg11="fine"), f"summary={step.format(224)}", rc=1)
    assert "none.json" in shown.splitlines()[-1]


def test_errors_before_the_run_are_snakemakes_own(project: Path) -> None:
    assert "MissingRuleException" in run(project, "nothing/here", rc=1)
    (project / "Snakefile").write_text(SNAKEFILE + "\nprint('one clear sentence', file=sys.stderr)\nsys.exit(2)\n")
    shown = run(project, rc=2)
    assert "one clear sentence" in shown
    assert "Traceback" not in shown


def test_nothing_to_do_and_a_locked_directory_are_named(project: Path) -> None:
    run(project)
    assert "Nothing to be done" in run(project)
    locks = project / ".snakemake" / "locks"
    locks.mkdir(exist_ok=True)
    (locks / "0.output.lock").write_text(f"{project}/results/vgg11/320.done\nresults/vgg11/320.done\n")
    assert "--unlock" in run(project, "-F", rc=1), "another workflow's lock, of which Snakemake speaks"
    (project / ".resomap" / "running").mkdir(parents=True)
    last = run(project, "-F", rc=1).splitlines()[-1]
    assert "is locked by a snakemake that left no word here" in last
    assert "unlock" not in last


@pytest.mark.slow
def test_quiet_and_verbose_are_heard(project: Path) -> None:
    (said,) = run(project, "-F", "-q", "all").splitlines()
    assert said.startswith("Using profile "), "which Snakemake says before it knows that it is to be quiet"
    shown = run(project, "-F", "-q")
    assert "started" not in shown
    assert "This run's trainings: 1 completed" in shown
    assert "Provided cores" in run(project, "-F", "--verbose")
    shown = run(project, "-F", "-p")
    assert "rule train" not in shown
    assert "trainer.py vgg11@320 fine" in shown


@pytest.mark.parametrize("options", ["-n", "-n --logger resomap", "-F"])
def test_a_reader_that_leaves_stops_nothing(project: Path, options: str) -> None:
    command = f"{sys.executable} -m snakemake {options} 2>&1 | head -1; test ${{PIPESTATUS[0]}} -eq 0"
    done = subprocess.run(["bash", "-c", command], cwd=project, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "Traceback" not in done.stdout + done.stderr
    assert (project / "results/vgg11/320.done").exists() == options.startswith("-F")


def test_the_books_show_each_epoch_once(tmp_path: Path) -> None:
    sweep = Sweep(tmp_path, {"train": 40})
    path = tmp_path / "results/vgg11/320.seed1.progress.json"
    stale = Progress("vgg11@320.seed1", "training", 9, 25, attempt=1)
    stale.write(path)
    info = {
        "jobid": 5,
        "rule_name": "train",
        "wildcards": {"model": "vgg11", "resolution": "320", "suffix": ".seed1"},
        "log": [],
        "output": ["results/vgg11/320.seed1.done"],
    }
    sweep.start(info, 1000.0)
    assert list(sweep.progress_lines(1001.0)) == []  # an earlier attempt's
    now = Progress("vgg11@320.seed1", "training", 12, 25, value=0.83, eta_seconds=840.0)
    now.write(path)
    line = "[1/40] vgg11@320.seed1 epoch 12/25 val balanced_accuracy 0.830 ETA 14 min"
    assert list(sweep.progress_lines(1002.0)) == [line]
    assert list(sweep.progress_lines(1003.0)) == []
    now.step, now.steps_per_epoch = 30, 60
    now.write(path)
    assert list(sweep.progress_lines(1063.0)) == [line.replace("12/25", "12/25 step 30/60")]
    now.epoch, now.step = 13, 0
    now.write(path)
    assert [text.split()[3] for text in sweep.progress_lines(1064.0)] == ["13/25"]
    sweep.finish(5, 1100.0)
    assert list(sweep.progress_lines(1200.0)) == []


def test_an_end_in_words() -> None:
    assert "SIGKILL, often for lack of memory" in ending(137)
    assert ending("SIGTERM") == "it was ended by SIGTERM"
    assert ending(1) == "it ended with exit status 1"
    assert ending(255) == "it ended with exit status 255"
    assert describe(Progress("a@8", "sending", 3, 3)) == "a@8 epoch 3/3 sending to the tracker"


def test_importing_the_plugin_stays_light() -> None:
    heavy = ("numpy", "torch", "PIL", "rich", "mlflow", "yaml", "pydantic", "psutil", "snakemake")
    code = f"import sys, snakemake_logger_plugin_resomap; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert done.stdout.strip() == "[]"


def test_a_training_on_all_images_is_followed_by_its_training_loss() -> None:
    winner = Progress(
        "vgg11@320.winner", "training", 2, 7, metric="loss", value=0.4124, split="train", eta_seconds=600.0
    )
    assert describe(winner) == "vgg11@320.winner epoch 2/7 train loss 0.412 ETA 10 min"
