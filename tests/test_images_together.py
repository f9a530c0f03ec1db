"""One process prepares all sizes that a run wants, with the bytes that each alone has."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import MODEL, draw_images, environment_with, make_study, small_config, snakemake
from waiting import wait_for

from resomap.cells import images_part
from resomap.cells.study import CURRENT, Study
from resomap.cells.wanted import WantedList, plan_id
from resomap.cli import main
from resomap.config.schema import Data
from resomap.data import DATA_DIRECTORY, prepare
from resomap.data.manifest import make_manifest
from resomap.data.prepare import prepare_images
from resomap.data.store import Store

SIZES = [16, 32, 48]


def files_of(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in place.iterdir()}


@pytest.fixture
def listed(study_in: Callable[..., Study]) -> Study:
    """A study whose images are listed and not prepared, with a list of what a run wants."""
    study = study_in(resolutions=SIZES)
    for size in SIZES:
        shutil.rmtree(DATA_DIRECTORY / str(size))
    return study


def want(*sizes: int) -> str:
    """Begin a run that wants images of these sizes; returns what tells it from others."""
    wanted = WantedList(CURRENT)
    wanted.begin()
    for size in sizes:
        wanted.note("images", str(size))
    found = plan_id(CURRENT)
    assert found is not None
    return found


@pytest.mark.parametrize("folds", [None, 3])
@pytest.mark.parametrize("on_disk", ["always", "never"])
def test_sizes_prepared_together_have_the_bytes_of_each_alone(
    images: Path, tmp_path: Path, on_disk: Any, folds: int | None
) -> None:
    places = {}
    for name in ("alone", "together"):
        make_manifest(Data(source=str(images), folds=folds), tmp_path / name, 1)
        places[name] = tmp_path / name
    for size in SIZES:
        prepare_images(places["alone"], size, 1, on_disk)
    further = {size: places["together"] / str(size) for size in SIZES[1:]}
    assert prepare_images(places["together"], SIZES[0], 2, on_disk, further) == SIZES
    for size in SIZES:
        assert files_of(places["together"] / str(size)) == files_of(places["alone"] / str(size))
    assert Store.open(places["together"], SIZES[2]).resolution == SIZES[2]


def test_the_first_job_prepares_what_the_run_wants_and_the_others_take_it_over(
    listed: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    want(*SIZES)
    assert main(["images", "32", "--workers", "1"]) == 0
    inodes = {path.name: path.stat().st_ino for path in images_part.part_place(48).glob("*.npy")}
    monkeypatch.setattr("resomap.data.prepare.prepare_images", lambda *_: pytest.fail("prepared anew"))
    for size in (16, 48):
        assert main(["images", str(size)]) == 0
    # Renamed, not copied.
    assert inodes == {path.name: path.stat().st_ino for path in (DATA_DIRECTORY / "48").glob("*.npy")}
    for size in SIZES:
        Store.open(DATA_DIRECTORY, size)
    assert not list(DATA_DIRECTORY.glob("*.part"))


def test_sizes_that_nobody_wants_or_that_are_there_are_not_prepared(listed: Study) -> None:
    assert main(["images", "16"]) == 0
    want(16, 32)
    assert main(["images", "32"]) == 0
    assert sorted(path.name for path in DATA_DIRECTORY.iterdir() if path.is_dir()) == ["16", "32"]


def test_a_part_of_an_earlier_run_is_not_believed(listed: Study, capfd: pytest.CaptureFixture[str]) -> None:
    want(*SIZES)
    assert main(["images", "16"]) == 0
    want(48)
    capfd.readouterr()
    assert main(["images", "48"]) == 0
    assert "preparing 120 images at 48 pixels" in capfd.readouterr().out
    assert not list(DATA_DIRECTORY.glob("*.part"))


def test_a_damaged_part_is_prepared_anew(listed: Study) -> None:
    for damage in ("{", "[]", json.dumps({"plan": None})):
        plan = want(*SIZES)
        for size in SIZES:
            shutil.rmtree(DATA_DIRECTORY / str(size), ignore_errors=True)
        assert main(["images", "16"]) == 0
        (images_part.part_place(32) / "plan.json").write_text(damage)
        assert main(["images", "32"]) == 0
        assert plan == plan_id(CURRENT)
        Store.open(DATA_DIRECTORY, 32)


def test_a_disk_that_holds_one_size_gets_that_one(
    listed: Study, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    want(*SIZES)
    room = 120 * 16 * 16 * prepare.ROOM + 1000

    def usage(_path: object) -> Any:
        return shutil._ntuple_diskusage(10**9, 10**9 - int(room), int(room))  # type: ignore[attr-defined]

    monkeypatch.setattr("resomap.data.prepare.shutil.disk_usage", usage)
    assert main(["images", "16"]) == 0
    assert Store.open(DATA_DIRECTORY, 16).is_stored
    assert not list(DATA_DIRECTORY.glob("*.part"))
    assert main(["images", "48"]) == 0
    assert not Store.open(DATA_DIRECTORY, 48).is_stored
    assert "so images of 48 pixels are decoded anew" in capfd.readouterr().out


@pytest.mark.slow
def test_a_kill_among_all_sizes_leaves_nothing(tmp_path: Path) -> None:
    draw_images(tmp_path / "many", 1500, size=64)
    study = tmp_path / "study"
    study.mkdir()
    make_study(study, small_config(tmp_path / "many", resolutions=[16]))
    shutil.rmtree(study / DATA_DIRECTORY / "16")
    words = [sys.executable, "-m", "resomap", "images", "16", "--workers", "1"]
    with contextlib.chdir(study):
        want(16, 256)
        process = subprocess.Popen(words, env=environment_with(), stdin=subprocess.DEVNULL)
        wait_for(lambda: bool(list(images_part.part_place(256).glob(".*.tmp"))))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert images_part.part_place(256).exists()
        want(16, 256)
        assert main(["images", "16"]) == 0
        assert main(["images", "256"]) == 0
        found = sorted(str(path.relative_to(DATA_DIRECTORY)) for path in DATA_DIRECTORY.rglob("*"))
    expected = [f"{size}/{name}" for size in (16, 256) for name in ("store.json", "test.npy", "train.npy", "val.npy")]
    assert [path for path in found if "/" in path] == expected
    assert not [path for path in found if path.endswith(".part")]


@pytest.mark.slow
def test_a_run_of_snakemake_decodes_once(images: Path, tmp_path: Path) -> None:
    config = small_config(images, resolutions=SIZES, data={"keep_train": False})
    targets = [f"results/{MODEL}/{size}.done" for size in SIZES]
    done = snakemake(*targets, directory=tmp_path, config=config)
    assert done.returncode == 0, done.stderr
    logs = {size: (tmp_path / "results" / "logs" / "images" / f"{size}.log").read_text() for size in SIZES}
    assert sorted("preparing" in text for text in logs.values()) == [False, False, True]
    assert not list((tmp_path / DATA_DIRECTORY).rglob("train.npy"))
    assert yaml.safe_load((tmp_path / "study.yaml").read_text())["resolutions"] == SIZES
