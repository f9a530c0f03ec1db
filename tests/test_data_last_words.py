"""The check of the images speaks where a person looks: last on the terminal, in the plan, the doctor and the report."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT, command, draw_images, environment_with, small_config, snakemake, tool

from resomap.cells.study import CURRENT, Study
from resomap.data import DATA_DIRECTORY
from resomap.data.left_out import in_words, left_out
from resomap.report.report_writer import REPORT

SKIPPED = "3 left out (1 not an image, 2 zero bytes)"


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    """Images of which three are none."""
    draw_images(tmp_path / "images", 12)
    for name in ("across/empty.png", "down/empty.png"):
        (tmp_path / "images" / name).touch()
    (tmp_path / "images/across/a.png").write_bytes(b"\0 no image")
    return small_config(tmp_path / "images", resolutions=[32])


def on_one_stream(directory: Path, config: dict[str, Any], *words: str) -> tuple[int, list[str]]:
    """Exit code and lines of a run whose output and errors go to one place, as on a terminal."""
    (directory / "study.yaml").write_text(yaml.safe_dump(config))
    options = ["--cores", "1", "--directory", str(directory), "--configfile", str(directory / "study.yaml")]
    done = subprocess.run(
        [tool("snakemake"), *words, *options],
        cwd=ROOT,
        env=environment_with(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    return done.returncode, [line for line in done.stdout.splitlines() if line.strip()]


@pytest.mark.slow
def test_a_failed_check_has_the_last_word_and_skip_says_what_it_left_out(
    tmp_path: Path, config: dict[str, Any]
) -> None:
    code, lines = on_one_stream(tmp_path, config)
    assert code == 1
    assert lines[-1].startswith("job data failed: the images have problems (1 not an image, 2 zero bytes): ")
    assert lines[-1].endswith("or leave them out with --config 'data={problems: skip}'")
    assert not any("without giving a reason" in line or "Traceback" in line for line in lines)
    doctor = command("resomap", "doctor", cwd=tmp_path)
    assert "the check found problems: 1 not an image, 2 zero bytes" in doctor.stdout

    config["data"]["problems"] = "skip"
    code, lines = on_one_stream(tmp_path, config, "results/data/manifest.json")
    assert code == 0, lines
    assert any(line.startswith("data done in ") and line.endswith(SKIPPED) for line in lines)
    assert any(line.startswith(f"{SKIPPED}, as `data.problems: skip` says; results/data/check.md") for line in lines)
    plan = snakemake("-n", directory=tmp_path, config=config)
    assert f"of the images {SKIPPED}; results/data/check.md names them" in plan.stderr
    assert f"checked: {SKIPPED}, named in results/data/check.md" in command("resomap", "doctor", cwd=tmp_path).stdout


def test_the_report_says_what_is_left_out(
    tmp_path: Path, config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from resomap.data.manifest import make_manifest
    from resomap.report.report_writer import make_report

    config["data"]["problems"] = "skip"
    monkeypatch.chdir(tmp_path)
    study = Study.open(config)
    study.save(CURRENT)
    make_manifest(study.config.data, DATA_DIRECTORY, 1)
    make_report(study)
    assert f"Of the images {SKIPPED}" in REPORT.read_text()


def test_what_leaves_nothing_out_is_not_counted(tmp_path: Path) -> None:
    """A check.json of commit 5fbc41f: a class that a split lacks is a problem, and all its images are used."""
    kinds = ("zero bytes", "classes that the validation or test split lacks", "classes without a usable image")
    rows = [f'{{"kind": "{kind}", "name": "a", "detail": "b"}}' for kind in kinds]
    for policy, words in (("skip", "1 left out (1 zero bytes)"), ("error", "")):
        text = f'{{"source": "images", "policy": "{policy}", "problems": [{", ".join(rows)}], "notes": []}}'
        (tmp_path / "check.json").write_text(text)
        assert in_words(left_out(tmp_path)) == words
    assert left_out(tmp_path / os.devnull) == {}
