"""Limits of the group that a process belongs to: of a container, of a batch job inside, and none."""

from pathlib import Path

import pytest

from resomap.machine.cgroups import cpu_limit, memory_limit
from resomap.machine.cpus import available_cores

GIB = 2**30


@pytest.fixture
def mounted(tmp_path: Path) -> Path:
    """A container's view: its own group is the root, with 8 GiB, of which 3 are used, 1 of them by the page cache."""
    place = tmp_path / "cgroup"
    place.mkdir()
    (place / "cpu.max").write_text("250000 100000\n")
    (place / "memory.max").write_text(f"{8 * GIB}\n")
    (place / "memory.current").write_text(f"{3 * GIB}\n")
    (place / "memory.stat").write_text(f"anon {2 * GIB}\nfile {GIB}\n")
    return place


@pytest.fixture
def membership(tmp_path: Path) -> Path:
    path = tmp_path / "self-cgroup"
    path.write_text("0::/\n")
    return path


def test_a_containers_limits(mounted: Path, membership: Path) -> None:
    assert cpu_limit(mounted, membership) == 2.5
    assert memory_limit(mounted, membership) == (6 * GIB, 8 * GIB)


def test_a_jobs_own_limits_count_in_place_of_those_at_the_root(mounted: Path, membership: Path) -> None:
    membership.write_text("1:name=systemd:/other\n0::/slurm/job_7\n")
    job = mounted / "slurm" / "job_7"
    job.mkdir(parents=True)
    assert memory_limit(mounted, membership) == (6 * GIB, 8 * GIB), "a group that limits nothing itself"
    (job / "memory.max").write_text(f"{GIB}\n")
    (job / "memory.current").write_text(f"{2 * GIB}\n")
    (job / "memory.stat").write_text("anon 1\n")
    (job / "cpu.max").write_text("100000 100000\n")
    assert memory_limit(mounted, membership) == (0, GIB)
    assert cpu_limit(mounted, membership) == 1


def test_no_limit(mounted: Path, membership: Path, tmp_path: Path) -> None:
    (mounted / "cpu.max").write_text("max 100000\n")
    (mounted / "memory.max").write_text("max\n")
    assert (cpu_limit(mounted, membership), memory_limit(mounted, membership)) == (None, None)
    nowhere = tmp_path / "nowhere"
    assert (cpu_limit(nowhere, membership), memory_limit(nowhere, membership)) == (None, None)
    assert (cpu_limit(mounted, nowhere), memory_limit(mounted, nowhere)) == (None, None)


@pytest.mark.parametrize(("limit", "cores"), [(None, 16), (2.5, 2), (0.5, 1), (64.0, 16)])
def test_cores_are_the_affinitys_or_the_quotas(
    limit: float | None, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _process: set(range(16)))
    monkeypatch.setattr("resomap.machine.cpus.cpu_limit", lambda: limit)
    assert available_cores() == cores
