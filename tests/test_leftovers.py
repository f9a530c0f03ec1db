"""Leftovers of killed processes: temporary files go with the next run of their step, those of the living stay."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import done_marker, environment_with

from resomap.cells import archive
from resomap.cells.archive import TRAINING_FILES
from resomap.cells.cell import Cell
from resomap.cells.leftovers import FOREIGN_SECONDS, remove_cell_leftovers, remove_leftovers
from resomap.compute.checkpoint import load_sealed, save_sealed
from resomap.core import temporary
from resomap.core.files import write_json, write_text

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


def in_cell(cell: Cell, fingerprint: str) -> None:
    """A finished training's files, as far as the archive looks at them."""
    for name in TRAINING_FILES:
        write_text(cell.checkpoints / name, f"{name} of {fingerprint}")
    write_json(cell.checkpoints / "cell.json", {"fingerprint": fingerprint, "uid": f"uid of {fingerprint}"})
    done_marker(cell, fingerprint).write(cell.checkpoints / "done.json")
    done_marker(cell, fingerprint).write(cell.marker)
    write_text(cell.history, f"history of {fingerprint}")


def killed_at(number: int, act: Callable[[], object]) -> bool:
    """Do it in a child that is killed at its `number`-th rename; False where it has fewer."""
    if (pid := os.fork()) == 0:
        replace, count = os.replace, 0

        def killing(source: Path, target: Path) -> None:
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(source, target)

        os.replace = killing
        act()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def tree(directory: Path) -> dict[str, str]:
    return {str(path.relative_to(directory)): path.read_text() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("is_back", [False, True])
def test_a_kill_while_files_are_set_aside_or_taken_back_is_made_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_back: bool
) -> None:
    """Settings change from a to b, or back from b to a: killed at any rename, the next call ends as one without."""
    cell = Cell("vgg11", 320, 0, "vgg")

    def change() -> None:
        remove_cell_leftovers(cell)
        wanted = "a" if is_back else "b"
        if not archive.recover_marker(cell, wanted):
            archive.activate(cell, {"fingerprint": wanted, "uid": f"uid of {wanted}", "cell": cell.name})

    ends, number, is_hit = [], 0, True
    while is_hit:
        place = tmp_path / str(number)
        place.mkdir()
        monkeypatch.chdir(place)
        in_cell(cell, "a")
        if is_back:
            archive.activate(cell, {"fingerprint": "b", "uid": "uid of b", "cell": cell.name})
            for name in TRAINING_FILES[1:]:
                (cell.checkpoints / name).unlink(missing_ok=True)
        is_hit = number == 0 or killed_at(number, change)
        change()
        ends.append(tree(place))
        number += 1
    assert number > 5
    assert [end for end in ends if end != ends[0]] == []
