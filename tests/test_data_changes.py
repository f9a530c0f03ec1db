"""Files that are changed in place, at the same size, are noticed; copies with the same content retrain nothing."""

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import MODEL, command, draw_images, make_study, small_config, snakemake, trainer
from endings import last
from PIL import Image, ImageOps
from test_workflow import trainings
from waiting import wait_for

from resomap.cells import archive
from resomap.cells.marker import Marker
from resomap.compute.checkpoint import load_sealed
from resomap.core.files import file_digest, read_json, write_json
from resomap.data.changes import (
    CheckedFiles,
    FileRecord,
    checked_digest,
    prepared_digest,
    stamp_of,
    write_records,
)

CELL = f"results/{MODEL}/32.done"
DATA = Path("results/data")


@pytest.fixture
def bitmaps(tmp_path: Path) -> Path:
    """40 uncompressed images in two class folders."""
    draw_images(tmp_path / "drawn", 20)
    for path in sorted((tmp_path / "drawn").rglob("*.png")):
        target = tmp_path / "images" / path.relative_to(tmp_path / "drawn").with_suffix(".bmp")
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).save(target)
    return tmp_path / "images"


def invert(path: Path) -> None:
    """Rewrite an image in place, at the same size."""
    size = path.stat().st_size
    ImageOps.invert(Image.open(path)).save(path)
    assert path.stat().st_size == size


def checked(root: Path, directory: Path) -> CheckedFiles:
    """Records of all files below the root, written at the first call as a check writes them."""
    if not (directory / "files.jsonl").exists():
        names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.bmp"))
        records = [FileRecord(name, stamp_of(root / name), file_digest(root / name)) for name in names]
        write_records(directory, "1", "2", records)
    return CheckedFiles(root, "1", "2", directory)


def with_old_time(path: Path) -> None:
    """Change the content, and put the old modification time back."""
    before = path.stat()
    invert(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def by_another_file(path: Path) -> None:
    """Put another file in the place, of the same size and time, as a copy with `cp -p` and `mv` does."""
    before = path.stat()
    other = path.with_name("other")
    shutil.copy2(path, other)
    ImageOps.invert(Image.open(other)).save(other, format="BMP")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(other, path)


@pytest.mark.parametrize("change", [invert, with_old_time, by_another_file])
def test_a_change_at_the_same_size_is_noticed(bitmaps: Path, tmp_path: Path, change: Callable[[Path], None]) -> None:
    files = checked(bitmaps, tmp_path)
    assert files.to_read_again() == []
    assert files.changed(files.all()) == []
    change(bitmaps / "down/003.bmp")
    again = checked(bitmaps, tmp_path).to_read_again()
    assert [file.name for file in again] == ["down/003.bmp"]
    assert checked(bitmaps, tmp_path).changed(again) == ["down/003.bmp"]
    assert checked(bitmaps, tmp_path).to_read_again() == again, "until the images are checked anew"


def test_fresh_copies_are_read_once(bitmaps: Path, tmp_path: Path) -> None:
    checked(bitmaps, tmp_path)
    shutil.copytree(bitmaps, tmp_path / "copy")
    (tmp_path / "copy/down/003.bmp").chmod(0o600)
    files = checked(tmp_path / "copy", tmp_path)
    said: list[str] = []
    assert len(files.to_read_again()) == 40
    assert files.changed(files.to_read_again(), said.append) == []
    assert said == ["reading 40 files again"]
    assert checked(tmp_path / "copy", tmp_path).to_read_again() == []


def test_a_file_that_is_gone_or_cannot_be_read_has_changed(bitmaps: Path, tmp_path: Path) -> None:
    files = checked(bitmaps, tmp_path)
    (bitmaps / "down/003.bmp").unlink()
    (bitmaps / "down/004.bmp").unlink()
    (bitmaps / "down/004.bmp").mkdir()
    assert files.changed(files.to_read_again()) == ["down/003.bmp", "down/004.bmp"]


@pytest.mark.slow
def test_images_changed_in_place_train_anew_and_copies_do_not(bitmaps: Path, tmp_path: Path) -> None:
    run, config = tmp_path / "run", small_config(bitmaps)
    run.mkdir()
    words = ("--cores", "1", CELL)
    snakemake(*words, directory=run, config=config)
    first = Marker.read(run / CELL)
    assert first is not None
    pixels = np.load(run / DATA / "32/train.npy").sum()

    # Fresh copies at another place: other times and inodes, the same content.
    shutil.copytree(bitmaps, tmp_path / "copy")
    shutil.rmtree(bitmaps)
    bitmaps = tmp_path / "copy"
    config = small_config(bitmaps)
    planned = snakemake("-n", CELL, directory=run, config=config)
    assert "40 files to re-read" in planned.stderr
    done = snakemake(*words, directory=run, config=config)
    assert "Nothing to be done" in done.stdout + done.stderr
    assert Marker.read(run / CELL) == first
    done = snakemake("--cores", "1", "results/data/24/store.json", directory=run, config=config)
    assert done.returncode == 0, "the images of another resolution come from there"
    assert "checking 40 images" not in done.stdout + done.stderr
    assert "to re-read" not in snakemake("-n", CELL, directory=run, config=config).stderr

    # Two files edited in place.
    for name in ("down/003.bmp", "across/007.bmp"):
        invert(bitmaps / name)
    doctor = command("resomap", "doctor", "--configfile", "study.yaml", cwd=run)
    assert "2 files have other contents than when they were checked: across/007.bmp, down/003.bmp" in doctor.stdout
    planned = snakemake("-n", CELL, directory=run, config=config)
    assert "2 files to re-read" in planned.stderr
    assert Marker.read(run / CELL) == first, "a dry run moves nothing"
    done = snakemake(*words, directory=run, config=config)
    assert "2 files have other contents" in done.stderr
    second = Marker.read(run / CELL)
    assert second is not None
    assert second.fingerprint == first.fingerprint
    assert (second.uid, second.content_digest) != (first.uid, first.content_digest)
    assert np.load(run / DATA / "32/train.npy").sum() != pixels
    kept = archive.name_of(first.fingerprint, first.content_digest)
    assert Marker.read(run / f"results/{MODEL}/set-aside/{kept}/32.done") == first
    assert trainings(snakemake("-n", CELL, directory=run, config=config).stdout) == 0

    # Back again: the first training is found where it was set aside.
    for name in ("down/003.bmp", "across/007.bmp"):
        invert(bitmaps / name)
    snakemake(*words, directory=run, config=config)
    third = Marker.read(run / CELL)
    assert third is not None
    assert (third.uid, third.content_digest) == (first.uid, first.content_digest)

    # A file that is damaged in place stops the grid each time: no training of former contents counts for it.
    size = (bitmaps / "down/003.bmp").stat().st_size
    (bitmaps / "down/003.bmp").write_bytes(b"BM" + bytes(size - 2))
    for _ in range(2):
        failed = snakemake(*words, directory=run, config=config)
        assert failed.returncode != 0
        assert "down/003.bmp" in failed.stderr


@pytest.mark.slow
@pytest.mark.parametrize("is_named", [True, False], ids=["by its directory", "by last.pt alone"])
def test_an_interrupted_training_of_other_contents_is_not_gone_on_with(
    bitmaps: Path, tmp_path: Path, is_named: bool
) -> None:
    config = small_config(bitmaps, checkpoints={"every_minutes": 0}, training={"epochs": 50})
    run = tmp_path / "run"
    run.mkdir()
    study = make_study(run, config)
    cell = study.cells()[0]
    before = read_json(run / DATA / "manifest.json")["content_digest"]
    process = trainer(cell.name, run)
    wait_for(lambda: last(run).exists())
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert load_sealed(last(run))["content_digest"] == before
    identity = run / archive.identity_path(cell)
    uid = read_json(identity)["uid"]
    if not is_named:  # as an earlier version began it
        write_json(identity, {"fingerprint": study.fingerprint(cell), "uid": uid, "cell": cell.name})

    for path in bitmaps.rglob("*.bmp"):
        invert(path)
    make_study(run, small_config(bitmaps, checkpoints={"every_minutes": 0}, training={"epochs": 50}))
    process = trainer(cell.name, run)
    kept = run / cell.checkpoints / archive.SET_ASIDE / archive.name_of(study.fingerprint(cell), before)
    moved = kept / "last.pt" if is_named else last(run).with_name("foreign-last.pt")
    wait_for(lambda: moved.exists() and last(run).exists())
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert load_sealed(moved)["content_digest"] == before
    assert load_sealed(last(run))["content_digest"] != before
    log = run.joinpath(cell.marker).with_suffix(".log").read_text()
    assert "going on at epoch" not in log
    if is_named:
        assert f"the images changed: the training {study.fingerprint(cell)} is set aside in " in log
        assert read_json(identity)["uid"] != uid


def test_a_manifest_of_an_earlier_version_has_younger_files_read_again(bitmaps: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    make_study(run, small_config(bitmaps))
    directory = run / DATA
    content = read_json(directory / "manifest.json")
    (directory / "files.jsonl").unlink()
    digests = content["identity"], content["content_digest"]
    assert CheckedFiles(bitmaps, *digests, directory).to_read_again() == []
    later = time.time_ns() + 10**9
    os.utime(bitmaps / "down/003.bmp", ns=(later, later))
    files = CheckedFiles(bitmaps, *digests, directory)
    assert [file.name for file in files.to_read_again()] == ["down/003.bmp"]
    assert files.changed(files.to_read_again()) == []
    assert (directory / "files.jsonl").exists(), "from now on by times and inodes"
    assert CheckedFiles(bitmaps, *digests, directory).to_read_again() == []
    (directory / "files.jsonl").write_text("torn")
    (directory / "torn.json").write_bytes((directory / "manifest.json").read_bytes()[:-9])
    os.replace(directory / "torn.json", directory / "manifest.json")
    assert CheckedFiles(bitmaps, *digests, directory).all() == [], "damaged files are no obstacle here"
    write_records(directory, *digests, [])
    # A check that fails takes the manifest away; what was checked before it is still known.
    (directory / "manifest.json").unlink()
    assert prepared_digest(digests[0], directory) is None
    assert checked_digest(digests[0], directory) == digests[1]
    assert checked_digest("another", directory) is None
