"""A checkpoint file is whole or not used; nothing in it can run."""

import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from resomap.compute.checkpoint import DamagedCheckpoint, load_last, load_sealed, save_sealed


def content(step: int = 0) -> dict[str, object]:
    return {"format": 1, "fingerprint": "f", "uid": "u", "step": step, "model": {"weight": torch.arange(50.0)}}


def fits(found: object) -> bool:
    return isinstance(found, dict) and found["fingerprint"] == "f"


def test_what_is_saved_is_loaded_and_other_tools_read_it_too(tmp_path: Path) -> None:
    save_sealed(tmp_path / "last.pt", content(3))
    for loaded in (load_sealed(tmp_path / "last.pt"), torch.load(tmp_path / "last.pt", weights_only=True)):
        assert loaded["step"] == 3
        assert torch.equal(loaded["model"]["weight"], torch.arange(50.0))
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]


def test_truncated_at_any_byte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_sealed(path, content())
    whole = path.read_bytes()
    for length in {0, 1, 80, 81, len(whole) // 2, len(whole) - 80, len(whole) - 1, *range(0, len(whole), 97)}:
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedCheckpoint):
            load_sealed(path)


def test_any_flipped_bit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    save_sealed(path, content())
    whole, chance = path.read_bytes(), random.Random(0)
    for _ in range(200):
        altered = bytearray(whole)
        altered[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        path.write_bytes(altered)
        with pytest.raises(DamagedCheckpoint):
            load_sealed(path)


def test_damaged_last_falls_back_to_the_previous_and_says_so(tmp_path: Path) -> None:
    path, said = tmp_path / "last.pt", []
    save_sealed(path, content(1), keep_previous=True)
    save_sealed(path, content(2), keep_previous=True)
    path.write_bytes(path.read_bytes()[:-7])
    assert load_last(tmp_path, fits, said.append)["step"] == 1
    assert len(said) == 2
    assert "torn or altered" in said[0]
    assert (tmp_path / "damaged-last.pt").exists()


def test_checkpoint_of_another_training_is_set_aside(tmp_path: Path) -> None:
    said: list[str] = []
    save_sealed(tmp_path / "last.pt", {**content(), "fingerprint": "other"})
    assert load_last(tmp_path, fits, said.append) is None
    assert (tmp_path / "foreign-last.pt").exists()
    assert "another training" in said[0]


def test_pickle_bomb_is_refused_and_does_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    path = tmp_path / "last.pt"
    save_sealed(path, {"format": 1, "bomb": Bomb()})
    with pytest.raises(DamagedCheckpoint, match="cannot be loaded"):
        load_sealed(path)
    path.write_bytes(pickle.dumps(Bomb()) + b"0" * 100)
    with pytest.raises(DamagedCheckpoint):
        load_sealed(path)
    assert not (tmp_path / "ran").exists()


def test_disk_full_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    """A real limit of the kernel on the size of files that the process may write."""
    save_sealed(tmp_path / "last.pt", content(1))
    script = f"""
import resource, signal, torch
from pathlib import Path
from resomap.compute.checkpoint import BackgroundSaver
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
saver = BackgroundSaver(Path({str(tmp_path)!r}) / "last.pt", print)
saver.save({{"format": 1, "step": 2, "model": torch.zeros(100_000)}})
saver.wait()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "could not be saved" in done.stdout
    assert load_sealed(tmp_path / "last.pt")["step"] == 1
    assert not list(tmp_path.glob(".*.tmp"))
