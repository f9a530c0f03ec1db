"""Findings of the doctor on this machine, and on ones that lack something; each trouble comes with its remedy."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import command, draw_images

from resomap.cells.study import Study
from resomap.config import parse_config
from resomap.doctor.data_check import look_at_data
from resomap.doctor.finding import Finding
from resomap.doctor.machine_check import look_at_disk
from resomap.doctor.slurm_check import look_at_slurm
from resomap.doctor.tracker_check import look_at_tracker


def doctor(directory: Path, text: str, **environment: str) -> tuple[int, str]:
    config = directory / "study.yaml"
    config.write_text(text)
    done = command("resomap", "doctor", "--configfile", config, cwd=directory, **environment)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout


def levels(findings: Iterator[Finding]) -> list[tuple[str, str]]:
    return [(one.level, one.words) for one in findings]


def test_a_sound_machine_has_nothing_to_mend(tmp_path: Path) -> None:
    draw_images(tmp_path / "images", 12)
    code, said = doctor(tmp_path, "data: {source: images}\ndevice: cpu\n")
    assert code == 0, said
    assert said.rstrip().endswith("nothing stands in the way")
    for subject in ("data", "disk", "tracker", "Slurm", "device"):
        assert any(line[6:].startswith(subject) for line in said.splitlines()), (subject, said)
    assert "24 images in 2 classes" in said


def test_each_trouble_is_counted_and_has_a_remedy(tmp_path: Path) -> None:
    code, said = doctor(tmp_path, "data: {source: nowhere}\ndevice: cpu\ntracking: {uri: 'http://127.0.0.1:9'}\n")
    assert code == 1
    assert said.rstrip().endswith("2 to mend")
    assert "bad   data" in said
    assert "nowhere" in said
    assert "bad   tracker      http://127.0.0.1:9: nothing listens there; start it" in said


def test_one_class_is_no_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw_images(tmp_path / "images", 3)
    for path in (tmp_path / "images" / "down").iterdir():
        path.unlink()
    (tmp_path / "images" / "down").rmdir()
    ((level, words),) = levels(look_at_data(parse_config({"data": {"source": "images"}})))
    assert (level, "1 classes" in words) == ("bad", True)


def test_a_disk_that_is_too_small_or_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    draw_images(tmp_path / "images", 2)
    config = parse_config({"data": {"source": "images"}, "resolutions": [32]})
    assert {level for level, _ in levels(look_at_disk(config))} == {"ok"}
    huge = parse_config({"data": {"source": "images"}, "resolutions": list(range(8, 4097, 1))})
    monkeypatch.setattr("resomap.doctor.machine_check.CHECKPOINTS", 1e18)
    found = list(look_at_disk(huge))
    assert [one.level for one in found].count("bad") >= 1
    assert "free some space" in found[-1].remedy


def test_a_local_database_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    Path("results", "mlflow.db").write_bytes(b"no database at all" * 100)
    (found,) = look_at_tracker(parse_config({}))
    assert found.level == "note"
    assert "is damaged" in found.words
    assert "`resomap sync`, sets it aside" in found.remedy


def test_a_slurm_that_does_not_answer_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("sbatch", "exit 0"), ("sinfo", "echo 'Unable to contact slurm controller' >&2; exit 1")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    (found,) = look_at_slurm()
    assert found.level == "note"
    assert "Unable to contact slurm controller" in found.words
    (tmp_path / "sinfo").write_text("#!/bin/sh\necho 'gpu* up gpu:2'; echo 'cpu up (null)'\n")
    (found,) = look_at_slurm()
    assert (found.level, found.words) == ("ok", "partitions with GPUs: gpu")
    (tmp_path / "sinfo").write_text("#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr("resomap.doctor.slurm_check.SECONDS", 0.2)
    (found,) = look_at_slurm()
    assert (found.level, "sinfo does not answer within 0.2 s" in found.words) == ("note", True)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    (found,) = look_at_slurm()
    assert (found.level, "no Slurm here" in found.words) == ("note", True)


def test_a_flipped_bit_in_the_prepared_images_is_found(study_in: Callable[..., Study]) -> None:
    config = study_in().config
    assert [found.level for found in look_at_data(config)] == ["ok", "ok"]
    path = Path("results/data/32/val.npy")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    *_, found = look_at_data(config)
    assert found.level == "bad"
    assert "damaged val.npy" in found.words
    assert "remove that folder and run the same snakemake command again" in found.words
    study_in(data={"on_disk": "never"})
    assert [found.level for found in look_at_data(config)] == ["ok"]
