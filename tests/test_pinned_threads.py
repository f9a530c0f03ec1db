"""Threads of a cost measurement, each held on a core of its own: seen from outside, in /proc, while it measures."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from conftest import MODEL, command, environment_with, small_config
from waiting import wait_for

from resomap.cells.costs_file import CostsFile
from resomap.cells.measurement import Measurement
from resomap.cells.study import CURRENT, Study
from resomap.core.files import read_json
from resomap.cost.session import measure_together
from resomap.cost.target_cores import (
    affinities,
    cores_for,
    cores_in_use,
    cores_in_words,
    held_on,
    here_on,
    in_order,
    quota,
)
from resomap.cost.target_others import Others

TASKS = Path("/proc/self/task")
pytestmark = [
    pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system pins no threads"),
    pytest.mark.skipif(not TASKS.exists(), reason="threads are seen in Linux's /proc"),
]
two_cores = pytest.mark.skipif(
    hasattr(os, "sched_getaffinity") and len(os.sched_getaffinity(0)) < 2, reason="needs two cores"
)
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
QUICK = {"seconds": 0.4, "least_runs": 2, "largest_batch": 2}


@pytest.fixture
def study_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: Path) -> Callable[..., Study]:
    """A study with these keys of `cost`, in a fresh working directory."""

    def make(**cost: Any) -> Study:
        monkeypatch.chdir(tmp_path)
        study = Study.open(small_config(images, cost={**QUICK, **cost}))
        study.save(CURRENT)
        return study

    return make


@contextmanager
def given(cores: list[int]) -> Iterator[None]:
    """Give these cores to what starts here, as `taskset` or a container does."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def watched(words: list[str], cores: list[int], cwd: Path) -> tuple[set[tuple[str, str]], str]:
    """Run a command that was given these cores; return where its threads were allowed to run, and what it printed.

    Each is `caller` (the thread that Python began in) or `other`, with the cores as the system writes them: `0-1`.
    """
    seen: set[tuple[str, str]] = set()
    with given(cores):
        process = subprocess.Popen(
            words, cwd=cwd, env=environment_with(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    tasks = Path(f"/proc/{process.pid}/task")
    reader = threading.Thread(target=lambda: said.append(process.stdout.read() if process.stdout else ""))
    said: list[str] = []
    reader.start()
    while process.poll() is None:
        for status in tasks.glob("*/status"):
            try:
                lines = status.read_text().splitlines()
            except OSError:
                continue
            allowed = next(line.split()[1] for line in lines if line.startswith("Cpus_allowed_list"))
            seen.add(("caller" if status.parent.name == str(process.pid) else "other", allowed))
        time.sleep(0.002)
    reader.join()
    assert process.returncode == 0, said
    return seen, said[0]


def cost_words(threads: int) -> list[str]:
    return [
        *(sys.executable, "-m", "resomap", "cost", f"{MODEL}@32", "--device", "cpu", "--classes", "2"),
        *("--threads", str(threads), "--study", str(CURRENT)),
    ]


def measured(study: Study) -> dict[str, Any]:
    content = Measurement(MODEL, 32, "cpu").kept(study, 2)
    assert content is not None
    return content


# In the grid


@two_cores
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_each_thread_has_a_core_of_its_own(study_of: Callable[..., Study], tmp_path: Path, runtime: str) -> None:
    study, (first, second) = study_of(runtimes=[runtime]), CORES[:2]
    seen, _ = watched(cost_words(2), [first, second], tmp_path)
    assert {("caller", str(first)), ("other", str(second))} <= seen or {
        ("caller", str(second)),
        ("other", str(first)),
    } <= seen
    content = measured(study)
    assert (content["threads"], content["pinned_cores"]) == (2, f"{first},{second}")


PASSES = """
import os, sys, threading, time
from resomap.config.costs import Way
from resomap.cost.exported_pass import Exports
from resomap.cost.forward_pass import ready_network
from resomap.cost.threads import Threads
from resomap.models.build import construct
from resomap.models.survey import entry_of
cores = tuple(map(int, sys.argv[1].split(","))) if len(sys.argv) > 1 else ()
network = ready_network(construct(entry_of("test_resnet"), 96, 2), 96)
run = Exports(network, 96, Threads(2, cores)).workload(Way("openvino", "fp32")).on(8)
run()
ended, seen = threading.Event(), set()
def watch():
    while not ended.is_set():
        for name in os.listdir("/proc/self/task"):
            if int(name) != threading.get_native_id():
                seen.add((int(name) == os.getpid(), *os.sched_getaffinity(int(name))))
        time.sleep(0.002)
watching = threading.Thread(target=watch)
watching.start()
until = time.monotonic() + 3
while time.monotonic() < until:
    run()
ended.set()
watching.join()
print(*sorted(seen))
"""


@two_cores
def test_openvino_pins_where_it_is_told_to_and_nowhere_else() -> None:
    """While it computes alone: it pins its threads for a moment when it compiles a network, whatever it is told."""
    first, second = CORES[:2]
    found = []
    for words in ([], [f"{first},{second}"]):
        with given([first, second]):
            done = subprocess.run(
                [sys.executable, "-c", PASSES, *words], capture_output=True, text=True, env=environment_with()
            )
        assert done.returncode == 0, done.stderr
        found.append(done.stdout)
    assert f"{(True, first)}" not in found[0]
    assert f"{(True, second)}" not in found[0]
    assert f"{(True, first)}" in found[1] or f"{(True, second)}" in found[1]


@two_cores
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino", "torch"])
def test_no_thread_leaves_the_cores_that_were_given(
    study_of: Callable[..., Study], tmp_path: Path, runtime: str
) -> None:
    """The last core alone, and one thread asked for; with two asked for there is none for each."""
    study, last = study_of(runtimes=[runtime]), CORES[-1]
    seen, _ = watched(cost_words(1), [last], tmp_path)
    assert {cores for _, cores in seen} == {str(last)}
    assert (measured(study)["threads"], measured(study)["pinned_cores"]) == (1, str(last))
    seen, _ = watched(cost_words(2), [last], tmp_path)
    assert {cores for _, cores in seen} == {str(last)}
    assert (measured(study)["threads"], measured(study)["pinned_cores"]) == (2, None)


@two_cores
def test_fewer_threads_than_cores_stay_on_as_many(study_of: Callable[..., Study], tmp_path: Path) -> None:
    """Torch's threads are held on them together."""
    study = study_of(runtimes=["torch"])
    seen, _ = watched(cost_words(1), CORES[:2], tmp_path)
    core = measured(study)["pinned_cores"]
    assert core in map(str, CORES[:2])
    assert ("caller", core) in seen


def test_without_the_option_it_computes_with_the_cores_that_were_given(
    study_of: Callable[..., Study], tmp_path: Path
) -> None:
    study, words = study_of(), cost_words(1)
    place = words.index("--threads")
    watched(words[:place] + words[place + 2 :], [CORES[-1]], tmp_path)
    assert measured(study)["threads"] == 1


def affinities_here() -> dict[int, set[int]]:
    return {int(one.name): os.sched_getaffinity(int(one.name)) for one in TASKS.iterdir()}


@two_cores
def test_threads_have_their_cores_back_afterwards(study_of: Callable[..., Study]) -> None:
    study, halt = study_of(runtimes=["onnxruntime", "torch"], seconds=0.05), threading.Event()
    torch.set_num_threads(2)
    torch.ones(2**22).add_(1)  # starts a thread of torch's
    waiting = threading.Thread(target=halt.wait)
    waiting.start()
    before = affinities_here()
    try:
        measurement = Measurement(MODEL, 32, "cpu")
        content = measure_together([measurement], study, 2, 1, 10**10)[measurement]
        after = affinities_here()
    finally:
        halt.set()
        waiting.join()
    assert content["pinned_cores"] in map(str, CORES)
    assert {thread: after[thread] for thread in before if thread in after} == {
        thread: cores for thread, cores in before.items() if thread in after
    }
    assert waiting.native_id in after
    assert [cores for thread, cores in after.items() if thread not in before and cores != set(CORES)] == []


# The cores that are chosen


@two_cores
def test_threads_are_held_and_given_back_whatever_happens() -> None:
    first, halt, native = CORES[0], threading.Event(), []

    def wait() -> None:
        native.append(threading.get_native_id())
        halt.wait()

    with suppress(KeyError), held_on([first]):
        thread = threading.Thread(target=wait)
        thread.start()
        assert set(map(frozenset, affinities_here().values())) == {frozenset({first})}
        with here_on(None):
            assert os.sched_getaffinity(0) == {first}
        raise KeyError
    assert os.sched_getaffinity(native[0]) == set(CORES), "one that began meanwhile"
    halt.set()
    thread.join()
    with suppress(KeyError), here_on(first):
        assert os.sched_getaffinity(0) == {first}
        raise KeyError
    assert os.sched_getaffinity(0) == set(CORES)
    with held_on([]):
        assert os.sched_getaffinity(0) == set(CORES)


def test_more_threads_than_cores_are_not_pinned() -> None:
    with given(CORES[-1:]):
        assert cores_for(1) == CORES[-1:]
        assert cores_for(2) == []


def system(place: Path, cores: dict[int, tuple[str, int]]) -> Path:
    """Linux's description of a processor: of each core its siblings and its highest frequency."""
    for core, (siblings, speed) in cores.items():
        for name, text in (("topology/thread_siblings_list", siblings), ("cpufreq/cpuinfo_max_freq", str(speed))):
            path = place / f"cpu{core}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")
    return place


def test_physical_cores_come_first_then_idle_ones_then_fast_ones(tmp_path: Path) -> None:
    """Two fast cores of two threads each, written in both ways that Linux has, and two slow ones."""
    fast = {0: ("0,4", 5), 4: ("0,4", 5), 1: ("1-2", 5), 2: ("1-2", 5), 6: ("6", 3), 7: ("7", 3)}
    processor = system(tmp_path, fast)
    assert in_order(fast, [], processor) == [0, 1, 6, 7, 2, 4]
    assert in_order(fast, [1, 6], processor) == [0, 7, 1, 6, 2, 4]
    assert in_order([2, 4, 6], [], processor) == [2, 4, 6], "the first threads of these cores were not given"
    assert in_order([5, 3], [], tmp_path / "nothing told") == [3, 5]
    (tmp_path / "cpu7" / "cpu_capacity").write_text("1024\n")
    assert in_order([0, 7], [], processor) == [7, 0]


@two_cores
def test_a_core_that_another_program_computes_on_is_in_use() -> None:
    """The others are judged as by what psutil counts in the same time."""
    with given(CORES[1:2]):
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(0.3)
        found: list[set[int]] = []
        looking = threading.Thread(target=lambda: found.append(cores_in_use(1.0)))
        looking.start()
        shares = psutil.cpu_percent(1.0, percpu=True)
        looking.join()
    finally:
        busy.kill()
        busy.wait()
    assert CORES[1] in found[0]
    for core in CORES:
        if core < len(shares) and not 10 < shares[core] < 50:
            assert (core in found[0]) == (shares[core] >= 50)


def test_cores_are_told_as_each_reader_takes_them() -> None:
    assert (affinities([0, 3, 5]), affinities([2]), affinities([])) == ("4;6", "", "")
    assert (cores_in_words([0, 3]), cores_in_words([])) == ("0,3", None)


def test_a_containers_quota_is_seen(tmp_path: Path) -> None:
    membership, own = tmp_path / "membership", tmp_path / "own"
    membership.write_text("0::/own\n")
    find = partial(quota, tmp_path, membership)
    assert find() is None
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert find() is None
    own.mkdir()
    (own / "cpu.max").write_text("150000 100000\n")
    assert find() == 1.5


# In a kit


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Path:
    """A kit of one model at one resolution."""
    directory = tmp_path_factory.mktemp("study")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        Study.open(small_config(images, cost=QUICK)).save(CURRENT)
    done = command("resomap", "cost-kit", "kit", cwd=directory)
    assert done.returncode == 0, done.stderr
    return directory / "kit"


def measure_words(kit: Path, *words: str) -> list[str]:
    return [sys.executable, "-I", str(kit / "measure.py"), "--device", "board", "--seconds", "1", *words]


@two_cores
def test_a_kit_pins_its_threads_and_says_where(kit: Path, tmp_path: Path) -> None:
    first, second = CORES[:2]
    seen, said = watched(measure_words(kit), [first, second], tmp_path)
    assert {("caller", str(first)), ("other", str(second))} <= seen
    assert f"threads: 2 (on the cores {first},{second})" in said
    costs = read_json(tmp_path / "costs.json")
    assert (costs["threads"], costs["pinned_cores"]) == (2, f"{first},{second}")
    CostsFile.model_validate(costs)


@two_cores
def test_a_kit_keeps_to_the_cores_that_it_was_given(kit: Path, tmp_path: Path) -> None:
    last = CORES[-1]
    seen, _ = watched(measure_words(kit), [last], tmp_path)
    assert {cores for _, cores in seen} == {str(last)}
    costs = read_json(tmp_path / "costs.json")
    assert (costs["threads"], costs["pinned_cores"]) == (1, str(last))
    seen, said = watched(measure_words(kit, "--threads", "2", "--anew"), [last], tmp_path)
    assert {cores for _, cores in seen} == {str(last)}
    assert "threads: 2 (not pinned)" in said
    assert read_json(tmp_path / "costs.json")["pinned_cores"] is None


@two_cores
def test_a_kit_goes_on_where_it_began_or_says_that_it_cannot(kit: Path, tmp_path: Path) -> None:
    words = measure_words(kit, "--threads", "1")
    with given(CORES[1:2]):
        process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL)
    part = tmp_path / "costs.json.part"
    wait_for(lambda: part.exists() and part.read_bytes().count(b"\n") >= 4, process=process)
    process.kill()
    process.wait()
    with given(CORES[:1]):
        refused = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert (refused.returncode, refused.stderr) == (
        1,
        f"measure.py: {part.name} was begun on the processor's cores {CORES[1]}, which this process may not use; give "
        "it those, or add --anew\n",
    )
    watched(words, CORES[:2], tmp_path)
    assert read_json(tmp_path / "costs.json")["pinned_cores"] == str(CORES[1])


def test_a_kit_says_what_other_programs_took(kit: Path, tmp_path: Path) -> None:
    """Beside a program that computes on the same core the whole time, it had half of it."""
    with given(CORES[:1]):
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        watched(measure_words(kit, "--threads", "1"), CORES[:1], tmp_path)
    finally:
        busy.kill()
        busy.wait()
    costs = read_json(tmp_path / "costs.json")
    assert costs["other_programs_cores"] > 0.3


def test_the_load_of_several_processes_is_weighed_by_their_seconds() -> None:
    assert Others([]).mean() is None
    assert Others([{"seconds": 3.0, "cores": 1.0}, {"seconds": 1.0, "cores": 0.0}]).mean() == 0.75
    others = Others([])
    time.sleep(0.2)
    line = others.line()
    assert line is not None
    assert 0.2 <= line["seconds"] < 60
    assert 0 <= line["cores"] <= (os.cpu_count() or 1) * 1.2
