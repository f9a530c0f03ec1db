"""A disk without a free byte, and a quota that is used up: at each step one sentence; after making room all goes on."""

import contextlib
import errno
import subprocess
from pathlib import Path
from typing import IO

import pytest
import yaml
from conftest import MODEL, ROOT, command, environment_with, small_config, snakemake, tool
from waiting import wait_for

from resomap.cells.study import CURRENT, Study
from resomap.core.errors import refusal
from resomap.core.temporary import is_temporary

CELL = f"{MODEL}@32"
IN_ORDER = ["data", "images 32", f"train {CELL} --threads 1", f"evaluate {CELL} --threads 1", "map", "report"]
SENTENCE = "is full; make room, and the same command goes on from what is there"


def fill(disk: Path) -> Path:
    """Take all of the disk, to the last byte."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as stream:
        for size in (1 << 20, 1 << 12, 1):
            while takes(stream, size):
                pass
    return filler


def takes(stream: IO[bytes], size: int) -> bool:
    """Write so many bytes; False where nothing of them has room."""
    try:
        return bool(stream.write(b"0" * size))
    except OSError:
        return False


def said_in_one_sentence(done: "subprocess.CompletedProcess[str]", sentence: str) -> None:
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.returncode != 0
    assert sentence in done.stderr.strip().splitlines()[-1], done.stderr


def temporary_files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if is_temporary(path.name)]


@pytest.mark.slow
def test_without_a_free_byte_each_step_says_so_and_goes_on_later(small_disk: Path, images: Path) -> None:
    with contextlib.chdir(small_disk):
        Study.open(small_config(images)).save(CURRENT)
    for step in IN_ORDER:
        filler = fill(small_disk)
        said_in_one_sentence(command("resomap", *step.split(), cwd=small_disk), SENTENCE)
        shown = command("resomap", "status", cwd=small_disk)
        assert (shown.returncode, shown.stderr) == (0, "")
        filler.unlink()
        assert temporary_files(small_disk) == []
        done = command("resomap", *step.split(), cwd=small_disk)
        assert done.returncode == 0, (step, done.stderr)


def test_snakemake_says_so_before_it_begins(small_disk: Path, tmp_path: Path, images: Path) -> None:
    (tmp_path / "study.yaml").write_text(f"data: {{source: {images}}}\nmodels: {MODEL}\n")
    fill(small_disk)
    for option in ("-n", "--cores=1"):
        done = snakemake(option, "--configfile", str(tmp_path / "study.yaml"), directory=small_disk)
        said_in_one_sentence(done, f"the disk of {small_disk} {SENTENCE}")


@pytest.mark.slow
def test_a_disk_that_fills_up_under_a_run_of_snakemake(small_disk: Path, tmp_path: Path, images: Path) -> None:
    """A step does not fit, or a file of Snakemake's own: one sentence and no traceback, whichever it is."""
    subprocess.run(["mount", "-o", "remount,size=40m", str(small_disk)], check=True)
    config = small_config(images, training={"epochs": 20, "early_stopping": {"enabled": False}})
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config))
    with (tmp_path / "said").open("w") as said:
        words = [tool("snakemake"), "--cores", "1", "--configfile", str(tmp_path / "study.yaml")]
        process = subprocess.Popen(
            [*words, "--directory", str(small_disk)], cwd=ROOT, env=environment_with(), stdout=said, stderr=said
        )
    wait_for(lambda: (small_disk / "results" / MODEL / "32.progress.json").exists() or process.poll() is not None)
    filler = fill(small_disk)
    assert process.wait(timeout=120) != 0
    words = (tmp_path / "said").read_text()
    assert "Traceback" not in words
    assert "Logging error" not in words
    assert SENTENCE in words, words
    filler.unlink()
    assert temporary_files(small_disk / "checkpoints") == []


def test_a_quota_is_said_as_such() -> None:
    said = refusal(OSError(errno.EDQUOT, "no", "/a/.b.json.x.tmp"))
    assert said == (
        "the disk of /a takes no more of yours (your quota is used up); make room, and the same command goes on from "
        "what is there"
    )
