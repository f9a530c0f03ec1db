"""What killed processes leave behind: temporary files go with the next run of their step, those of the living stay."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import environment_with

from resomap.cells.leftovers import FOREIGN_SECONDS, remove_leftovers
from resomap.compute.checkpoint import load_sealed, save_sealed
from resomap.core import temporary
from resomap.core.files import write_text

KILLED_BETWEEN_RENAMES = """
import os, signal, sys
from pathlib import Path
import torch
from resomap.compute.checkpoint import save_sealed
replace = os.replace
def killing(source, target):
    if Path(target).name == "last.pt":
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
os.replace = killing
save_sealed(Path("last.pt"), {"step": 2, "model": torch.zeros(1000)}, keep_previous=True)
"""


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_a_kill_between_the_two_renames_of_a_save_leaves_no_link_behind(tmp_path: Path) -> None:
    """Both names are of one file then: the next save's rename of a third one to the second does nothing."""
    for step in (0, 1):
        save_sealed(tmp_path / "last.pt", {"step": step, "model": torch.zeros(1000)}, keep_previous=True)
    words = [sys.executable, "-c", KILLED_BETWEEN_RENAMES]
    assert subprocess.run(words, cwd=tmp_path, env=environment_with()).returncode == -9
    assert (tmp_path / "last.pt").samefile(tmp_path / "previous.pt")
    remove_leftovers(tmp_path, is_locked=True)
    assert names(tmp_path) == {"last.pt", "previous.pt"}
    save_sealed(tmp_path / "last.pt", {"step": 2, "model": torch.zeros(1000)}, keep_previous=True)
    assert names(tmp_path) == {"last.pt", "previous.pt"}
    assert [load_sealed(tmp_path / name)["step"] for name in ("last.pt", "previous.pt")] == [2, 1]


def of(machine: str, pid: int) -> str:
    return f".a.json.{machine}-{pid}.0a1b2c3d.tmp"


@pytest.fixture
def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.mark.parametrize("is_locked", [False, True])
def test_what_a_dead_process_wrote_goes_and_what_a_living_one_writes_stays(
    tmp_path: Path, dead_pid: int, is_locked: bool
) -> None:
    here = temporary.machine()
    dead, own, parents = of(here, dead_pid), of(here, os.getpid()), of(here, os.getppid())
    abroad, older_version, dead_folder = of("00000000", os.getpid()), ".a.json.k3xr.tmp", f".b{of(here, dead_pid)}"
    kept = {"a.json", "a.tmp", ".a", own, parents}
    for name in (*kept, dead, abroad, older_version):
        (tmp_path / name).touch()
    (tmp_path / dead_folder).mkdir()
    (tmp_path / dead_folder / "part").touch()
    remove_leftovers(tmp_path, tmp_path / "missing", is_locked=is_locked)
    assert names(tmp_path) == (kept if is_locked else {*kept, abroad, older_version})
    for name in (abroad, older_version):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - FOREIGN_SECONDS - 1,) * 2)
    remove_leftovers(tmp_path)
    assert names(tmp_path) == kept


def test_a_process_with_a_number_given_anew_did_not_write_it(tmp_path: Path) -> None:
    """This test's own process began long after the file was written last."""
    left = tmp_path / of(temporary.machine(), os.getpid())
    left.touch()
    os.utime(left, (1e9, 1e9))
    remove_leftovers(tmp_path)
    assert names(tmp_path) == set()


def test_files_are_written_under_such_names(tmp_path: Path) -> None:
    seen = temporary.temporary_beside(tmp_path / "a.b.json")
    assert temporary.writer_of(seen) == (temporary.machine(), os.getpid())
    assert temporary.is_temporary(seen.name)
    assert temporary.writer_of(Path(".a.json.k3xr.tmp")) is None
    os.umask(previous := os.umask(0o027))
    write_text(tmp_path / "a", "text")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o666 & ~previous
    assert names(tmp_path) == {"a"}
