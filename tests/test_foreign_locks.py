"""Lock and log files in folders that others may write: a link there has nobody write to a file of its choice."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from resomap.cells.cell import Cell
from resomap.cells.lock import cell_lock, lock_path, step_lock
from resomap.core.errors import ResomapError
from resomap.core.files import open_own
from resomap.core.logging import send_output_to
from resomap.machine import gpu_lock, lock_folder
from resomap.machine.gpus import Gpu

CELL = Cell("vgg11", 320, 0, "vgg")


@pytest.fixture
def victim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "victim"
    path.write_text("of somebody")
    return path


def take_cell_lock() -> None:
    with cell_lock(CELL):
        pass


def take_step_lock() -> None:
    with step_lock("map"):
        pass


PLACES: dict[str, tuple[Callable[[], object], Path]] = {
    "cell": (take_cell_lock, lock_path(CELL)),
    "step": (take_step_lock, lock_path(CELL).with_name("map.step")),
    "log": (lambda: send_output_to(Path("results/vgg11/320.log")), Path("results/vgg11/320.log")),
}


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_link_or_a_pipe_in_its_place_is_refused(name: str, kind: str, victim: Path) -> None:
    act, place = PLACES[name]
    place.parent.mkdir(parents=True)
    if kind == "link":
        place.symlink_to(victim)
    else:
        os.mkfifo(place)
    with pytest.raises(ResomapError, match=rf"{place.name} is a link or no file, and a lock or log belongs there"):
        act()
    assert victim.read_text() == "of somebody"


def test_a_device_is_no_log(victim: Path) -> None:
    with pytest.raises(ResomapError):
        open_own(Path("/dev/zero"), os.O_RDWR)


def foreign(directory: Path) -> None:
    directory.mkdir(mode=0o700)
    os.chown(directory, 12345, 12345)


def writable_by_others(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o777)


def a_link(directory: Path) -> None:
    (directory.parent / "real").mkdir(mode=0o700)
    directory.symlink_to(directory.parent / "real")


@pytest.mark.parametrize("make", [foreign, writable_by_others, a_link])
def test_a_folder_of_gpu_locks_that_is_not_ones_own_is_refused(
    make: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if make is foreign and os.getuid():
        pytest.skip("only root gives a folder to somebody else")
    monkeypatch.setattr(lock_folder.tempfile, "tempdir", str(tmp_path))
    make(lock_folder.lock_directory())
    with pytest.raises(ResomapError, match="for this user's locks of GPUs, is a link, another user's, or one that"):
        gpu_lock.device_locks([Gpu("0", "GPU-1")])


def test_ones_own_is_used_and_a_link_in_it_is_not_followed(
    victim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock_folder.tempfile, "tempdir", str(tmp_path))
    assert len(gpu_lock.device_locks([Gpu("0", "GPU-1")])) == 1
    (lock_folder.lock_directory() / "GPU-2.lock").symlink_to(victim)
    with pytest.raises(ResomapError, match=r"GPU-2\.lock is a link"):
        gpu_lock.device_locks([Gpu("1", "GPU-2")])
