"""A study that may only be read: what writes says so in one sentence, what reads works."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import MODEL, command, make_study, small_config, snakemake

from resomap.core.errors import refusal

CELL = f"{MODEL}@32"
SENTENCE = "cannot be used (Read-only file system), and this command writes there; get leave to write, or copy"


@pytest.fixture
def study(small_disk: Path, images: Path) -> Iterator[Path]:
    """A study whose disk is mounted for reading only: root, too, may not write there."""
    make_study(small_disk, small_config(images))
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    return small_disk


def last_words(said: "subprocess.CompletedProcess[str]") -> str:
    assert "Traceback" not in said.stdout + said.stderr
    assert said.returncode == 2, said.stderr
    return said.stderr.strip().splitlines()[-1]


def test_what_writes_says_so_and_what_reads_works(study: Path, images: Path) -> None:
    for words in ("map", "report", "data", "images 32", f"train {CELL}", f"forget {CELL}"):
        said = last_words(command("resomap", *words.split(), cwd=study))
        assert said.startswith("resomap: /"), words
        assert SENTENCE in said, words
    assert "0 completed" in command("resomap", "status", cwd=study).stdout
    assert command("resomap", "doctor", cwd=study).stderr == ""


@pytest.mark.parametrize("option", ["-n", f"results/{MODEL}/32.done", "--summary", "--touch"])
def test_snakemake_says_so_before_it_begins(study: Path, tmp_path: Path, images: Path, option: str) -> None:
    config = tmp_path / "config"
    config.mkdir()
    (config / "study.yaml").write_text(f"data: {{source: {images}}}\nmodels: {MODEL}\n")
    said = snakemake(option, "--configfile", str(config / "study.yaml"), directory=study)
    assert SENTENCE in last_words(said)
    elsewhere = snakemake(option, "--configfile", str(config / "study.yaml"), directory=study / "another")
    assert SENTENCE in last_words(elsewhere)


def test_other_errors_of_the_system_are_no_refusal() -> None:
    assert refusal(FileNotFoundError(2, "no such file", "x")) is None
    assert "the disk of /a is full; make room" in str(refusal(OSError(28, "no space", "/a/.b.json.x.tmp")))
    assert "/a/b cannot be used (Permission denied)" in str(refusal(PermissionError(13, "no", "/a/b")))
