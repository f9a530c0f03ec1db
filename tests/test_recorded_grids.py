"""Recorded grids: one recorder after the other goes on where the first was killed, and the reader gives it all back."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT

from benchmarks.record.compact import pack, unpack
from benchmarks.record.grids import GRIDS, TINY
from benchmarks.record.recorded_grid import RECORDED, load, names, read_arrays
from benchmarks.record.recorder import only_recorder
from resomap.core.errors import ResomapError

pytestmark = pytest.mark.xdist_group("recorded grids")  # what its fixture trains is trained once

MEASURED = ("seconds",)  # arrays of a seed that no second recording repeats


def recorder(directory: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks.record", "tiny", "--to", str(directory), *words]


def run(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(recorder(directory, *words), cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("undisturbed")
    done = run(place)
    assert done.returncode == 0, done.stderr
    return place


@pytest.mark.slow
def test_a_killed_recorder_goes_on_at_the_next_cell_to_the_same_bits(undisturbed: Path, tmp_path: Path) -> None:
    unfinished = tmp_path / "tiny" / "unfinished"
    with subprocess.Popen(recorder(tmp_path), cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()  # printed once the cell's file is there
        process.send_signal(signal.SIGKILL)
    kept = {path: path.stat().st_mtime_ns for path in unfinished.glob("*.npz")}
    assert kept, first
    assert not list((tmp_path / "tiny").glob("seed*.npz"))

    after = run(tmp_path)
    assert after.returncode == 0, after.stderr
    trained = [line for line in after.stdout.splitlines() if "validation accuracy" in line]
    assert len(trained) == 2 * len(TINY.squares) - len(kept)
    assert not unfinished.exists()
    for name in ("images", "seed0", "seed1"):
        one, other = (read_arrays(place / "tiny" / f"{name}.npz") for place in (undisturbed, tmp_path))
        assert list(one) == list(other)
        different = [key for key in one if key not in MEASURED and one[key].tobytes() != other[key].tobytes()]
        assert different == []

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "tiny").iterdir()}
    again = run(tmp_path)
    assert (again.returncode, again.stdout) == (0, "")
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "tiny").iterdir()}


@pytest.mark.slow
def test_the_reader_gives_back_what_was_recorded(undisturbed: Path) -> None:
    grid = load("tiny", undisturbed)
    images = TINY.draw()
    assert (grid.name, grid.kind, grid.squares, grid.seeds) == ("tiny", "textures", tuple(TINY.squares), (0, 1))
    assert np.array_equal(grid.val_labels, images.val.labels)
    assert np.array_equal(grid.pool_labels, images.pool.labels)
    assert grid.val_groups is not None
    assert np.array_equal(grid.val_groups, images.val.groups)
    assert grid.val.shape == (2, 4, 30, 2)
    assert grid.pool.shape == (2, 4, 60, 2)
    seeds, squares = np.indices(grid.best_epoch.shape)
    assert np.array_equal(grid.val.argmax(-1), grid.predicted[seeds, squares, grid.best_epoch - 1])
    assert np.array_equal(grid.log_probabilities("val", "last").argmax(-1), grid.predicted[:, :, -1])
    # The history is the loop's own, so predictions and log-probabilities are held against another computation.
    hits = (grid.predicted == grid.val_labels).mean(axis=-1)
    assert np.allclose(hits, grid.history["val/accuracy"])
    losses = -np.take_along_axis(grid.val, grid.val_labels[None, None, :, None], axis=-1)[..., 0].mean(axis=-1)
    assert np.allclose(losses, grid.history["val/loss"].min(axis=-1), rtol=0.01)
    assert (grid.seconds > 0).all()
    assert (grid.flops[1::2] > grid.flops[::2]).all()  # more pixels


@pytest.mark.slow
def test_rules_are_replayed_on_what_was_recorded(undisturbed: Path) -> None:
    words = ("--recorded", str(undisturbed), "--replays", "6", "--seeds", "2")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.replay", *words], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| tiny | 2 |")]
    assert [(row[2], row[3]) for row in rows[:3]] == [("proven", "6"), ("highest estimate", "6"), ("posterior", "6")]
    assert rows[1][4] == "6"  # whoever takes the highest estimate has always decided
    none = subprocess.run(
        [sys.executable, "-m", "benchmarks.replay", *words, "--without", "textures"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert none.returncode == 1
    assert none.stderr.splitlines()[-1].startswith("error: no recorded grid")


@pytest.mark.slow
def test_what_was_recorded_otherwise_is_not_mixed_in(undisturbed: Path, tmp_path: Path) -> None:
    place = tmp_path / "tiny"
    place.mkdir()
    for path in (undisturbed / "tiny").iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    arrays = read_arrays(place / "seed1.npz")
    np.savez_compressed(place / "seed0.npz", **arrays | {"definition": np.array("another")})
    (place / "seed1.npz").unlink()
    done = run(tmp_path)
    assert done.returncode == 1
    assert "another definition of the grid" in done.stderr.splitlines()[-1]
    with pytest.raises(ResomapError, match="another definition"):
        load("tiny", tmp_path)


@pytest.mark.slow
def test_two_recorders_do_not_share_a_folder(tmp_path: Path) -> None:
    with only_recorder(tmp_path):
        done = run(tmp_path)
    assert done.returncode == 1
    assert "another recorder is at work" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
    unknown = subprocess.run(
        [sys.executable, "-m", "benchmarks.record", "digit"], cwd=ROOT, capture_output=True, text=True
    )
    assert unknown.returncode == 1
    assert unknown.stderr.splitlines()[-1].startswith("error: there is no grid 'digit'; there are digits, ")


def test_log_probabilities_survive_in_few_bytes() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(0, 4, (5, 200, 3))
    exact = scores - np.log(np.exp(scores).sum(axis=-1, keepdims=True))
    found = unpack(pack(exact))
    assert found.dtype == np.float32
    assert np.allclose(np.exp(found).sum(axis=-1), 1)
    ratio, kept = (one[..., :-1] - one[..., -1:] for one in (exact, found))
    assert np.allclose(kept, ratio, rtol=2**-7 + 2**-11, atol=1e-6)  # of six bits, and of the ten before
    certain = np.array([[0.0, np.finfo(np.float32).min]])  # a network that diverges
    assert np.isfinite(unpack(pack(certain))).all()


def test_the_grids_are_what_was_asked_for() -> None:
    assert len(GRIDS) == 12
    assert {grid.kind for grid in GRIDS} == {"elpv", "digits", "textures", "shapes"}
    assert sorted(grid.seeds for grid in GRIDS) == [3] * 8 + [8] * 4
    assert {grid.kind for grid in GRIDS if grid.seeds == 8} == {"elpv", "digits", "textures", "shapes"}
    assert all((len(grid.models), len(grid.resolutions)) == (4, 4) for grid in GRIDS)


@pytest.mark.parametrize("name", names() or [None])
def test_recorded_grids_are_whole(name: str | None) -> None:
    """Committed grids can be read, are those that the code defines, and are small."""
    assert sum(path.stat().st_size for path in RECORDED.rglob("*") if path.is_file()) < 30e6
    if name is None:
        return
    grid, definition = load(name), {grid.name: grid for grid in GRIDS}[name]
    assert grid.squares == tuple(definition.squares)
    assert grid.epochs == definition.training.epochs
    assert grid.seeds == tuple(range(len(grid.seeds)))
    assert len(grid.seeds) in (3, definition.seeds)
    agreeing = (
        grid.val.argmax(-1)
        == np.take_along_axis(grid.predicted, grid.best_epoch[:, :, None, None] - 1, axis=2)[:, :, 0]
    )
    assert agreeing.mean() > 0.999
