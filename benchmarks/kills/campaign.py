"""Campaign of kills: a step of a small study is killed at a file operation, called once more, and compared.

Steps run as processes that a zygote forks, and every 20th kill as whole processes, the honest reference: what stands
undisturbed was made by whole ones (unless `is_reference_whole` is false), and both must give the same bytes.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO

from benchmarks.images import draw_images
from benchmarks.kills.operations import Kill, Kind, draw, listed
from benchmarks.kills.snapshot import differences, snapshot
from benchmarks.kills.zygote import HOOK, ROOT, Zygote
from resomap.bench.test_images import prepare_study
from resomap.core.files import write_json
from resomap.tracking.local_database import connect_local
from resomap.tracking.rest import LOCAL_DATABASE

MODEL, IMAGES = "test_resnet", 60
# In the order of a study: each step begins where the undisturbed one before it ended.
STEPS = ("train", "evaluate", "map", "report")
SHARES = {"train": 0.55, "evaluate": 0.2, "map": 0.15, "report": 0.1}  # of the kills
WHOLE_EVERY = 20  # kills
SECONDS = 600  # that a step may take before it counts as hanging
LOST = ["an end within the time"]  # in place of differences


@dataclass(frozen=True)
class Variant:
    """Threads, precision and resolutions of a campaign. The second resolution is one more to evaluate at."""

    name: str
    threads: int
    amp: str
    resolutions: tuple[int, int]

    @property
    def cell(self) -> str:
        """Name of the training."""
        return f"{MODEL}@{self.resolutions[0]}"

    def words(self, step: str) -> list[str]:
        """Return the words of a step's command."""
        return [step, self.cell, "--threads", str(self.threads)] if step in ("train", "evaluate") else [step]


VARIANTS = (
    Variant("float32-1-thread", threads=1, amp="off", resolutions=(32, 40)),
    Variant("bf16-2-threads", threads=2, amp="bf16", resolutions=(64, 72)),
)


@dataclass(frozen=True)
class Outcome:
    """Outcome of one kill. `is_hit` is false where the process ended before it came to the operation."""

    index: int
    step: str
    operation: str
    file: str
    number: int
    is_hit: bool
    is_whole: bool  # its processes were whole ones, not forked
    differences: list[str]


class Campaign:
    """Campaign in a folder of its own, which keeps the undisturbed study and the outcomes; it goes on after any end."""

    def __init__(
        self,
        folder: Path,
        seed: int,
        steps: Sequence[str] = STEPS,
        variant: Variant = VARIANTS[0],
        is_reference_whole: bool = True,
    ) -> None:
        """Make the undisturbed study, unless it is there. `steps` are those to be killed."""
        self._folder, self._seed, self._variant = folder.absolute(), seed, variant
        self._shares = {step: SHARES[step] for step in steps}
        self._outcomes = self._folder / f"outcomes-{seed}.jsonl"
        self._zygote = Zygote(self._environment())
        self._make_undisturbed(is_reference_whole)
        self._counts = {
            kind: count for step in steps for kind, count in listed(step, self._folder / f"{step}.operations").items()
        }
        self._snapshots = {step: snapshot(self._folder / step) for step in steps}

    def __enter__(self) -> "Campaign":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._zygote.close()

    @property
    def counts(self) -> dict[Kind, int]:
        """Number of operations of each kind in an undisturbed run of the steps."""
        return dict(self._counts)

    def outcomes(self) -> list[Outcome]:
        """Return the outcomes so far."""
        lines = self._outcomes.read_text().splitlines() if self._outcomes.exists() else []
        return [Outcome(**json.loads(line)) for line in lines if line.endswith("}")]

    def run(self, kills: int) -> Iterator[Outcome]:
        """Go on until so many kills have hit; yield each new outcome."""
        known = self.outcomes()
        hits, index = sum(one.is_hit for one in known), len(known)
        while hits < kills:
            is_whole = index % WHOLE_EVERY == WHOLE_EVERY - 1
            outcome = self.kill(index, draw(self._seed, index, self._counts, self._shares), is_whole)
            with self._outcomes.open("a") as stream:
                stream.write(json.dumps(asdict(outcome)) + "\n")
            hits, index = hits + outcome.is_hit, index + 1
            yield outcome

    def kill(self, index: int, kill: Kill, is_whole: bool = False) -> Outcome:
        """Kill a step at an operation, call it once more, compare; a folder that differs is kept."""
        step, place = kill.kind.step, self._folder / f"killed-{self._seed}"
        shutil.rmtree(place, ignore_errors=True)
        _copy(self._folder / _before(step), place)
        code = self._call(self._variant.words(step), place, is_whole, kill.asked())
        _kill_all_in(place)
        found = LOST if code is None else self._after_one_more_command(step, place, is_whole)
        if found:
            place.rename(self._folder / f"differs-{self._seed}-{index}")
        is_hit = code == -signal.SIGKILL
        return Outcome(index, step, kill.kind.operation, kill.kind.file, kill.number, is_hit, is_whole, found)

    def _after_one_more_command(self, step: str, place: Path, is_whole: bool) -> list[str]:
        if (code := self._finish(step, place, is_whole)) != 0:
            return [f"one more command ended with {code}"]
        return differences(self._snapshots[step], snapshot(place))

    def _make_undisturbed(self, is_whole: bool) -> None:
        """Run all steps once, each in a copy of the folder before it; list their operations in one more, forked, run.

        Where the first run is of whole processes, both must do the same kinds of operations.
        """
        if (self._folder / "complete.json").exists():
            return
        shutil.rmtree(self._folder, ignore_errors=True)
        draw_images(self._folder / "images", IMAGES, self._variant.resolutions[0])
        prepare_study(self._folder / "prepared", _configuration(self._variant, self._folder / "images"))
        with contextlib.chdir(self._folder / "prepared"):
            connect_local(f"sqlite:///{LOCAL_DATABASE.absolute()}")  # which takes longer than all else of a training
        for step in STEPS:
            lists = {True: self._folder / f"{step}.whole", False: self._folder / f"{step}.operations"}
            for place, whole in ((self._folder / step, is_whole), (self._folder / "again", False)):
                _copy(self._folder / _before(step), place)
                self._call(self._variant.words(step), place, whole, {"list": str(lists[place.name == step])})
                _require(self._finish(step, place, whole) == 0, f"`resomap {step}` does not work in {place.name}")
            found = differences(snapshot(self._folder / step), snapshot(self._folder / "again"))
            _require(not found, f"two undisturbed runs of `resomap {step}` differ: {'; '.join(found)}")
            kinds = [set(listed(step, path)) for path in lists.values()]
            _require(kinds[0] == kinds[1], f"two undisturbed runs of `resomap {step}` do other operations")
            shutil.rmtree(self._folder / "again")
        write_json(self._folder / "complete.json", {"steps": list(STEPS)})

    def _finish(self, step: str, place: Path, is_whole: bool) -> int | None:
        """Run a step to its end, and send what the tracker lacks; return the first exit code that is not 0."""
        code = self._call(self._variant.words(step), place, is_whole)
        if code == 0 and step == "train":
            code = self._call(["sync"], place, is_whole)
        deadline = time.monotonic() + SECONDS
        while _processes_in(place) and time.monotonic() < deadline:
            time.sleep(0.1)
        return code

    def _call(
        self, words: Sequence[str], place: Path, is_whole: bool, asked: Mapping[str, object] | None = None
    ) -> int | None:
        """Run `resomap` in a study's folder; return its exit code, None where it does not end."""
        environment = self._environment()
        if asked:
            environment["RESOMAP_KILLS"] = json.dumps(asked)
        with (place.parent / "said.log").open("w") as said:
            if not is_whole:
                code = self._zygote.call(words, place, environment, said, SECONDS)
            else:
                code = _run(words, place, environment, said)
        if code is None:
            _kill_all_in(place)
        return code

    def _environment(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
        threads = {"OMP_NUM_THREADS": str(self._variant.threads), "OMP_WAIT_POLICY": "PASSIVE"}  # the cores are shared
        return {**os.environ, "PYTHONPATH": path, **threads}


def _configuration(variant: Variant, images: Path) -> dict[str, object]:
    return {
        "models": [MODEL],
        "resolutions": list(variant.resolutions),
        "device": "cpu",
        "data": {"source": str(images)},
        "training": {"epochs": 2, "batch_size": 8, "warmup_epochs": 0, "amp": variant.amp},
        "checkpoints": {"every_minutes": 0},  # after each step
        "tracking": {"drain_seconds": 60},
    }


def _before(step: str) -> str:
    return ["prepared", *STEPS][STEPS.index(step)]


def _run(words: Sequence[str], place: Path, environment: Mapping[str, str], said: IO[str]) -> int | None:
    """Run `resomap` as a whole process; its hook is imported at Python's start."""
    hooked = {**environment, "PYTHONPATH": os.pathsep.join([str(HOOK), environment["PYTHONPATH"]])}
    process = subprocess.Popen(
        [sys.executable, "-m", "resomap", *words],
        cwd=place,
        env=hooked if "RESOMAP_KILLS" in environment else dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=said,
    )
    try:
        return process.wait(SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def _processes_in(place: Path) -> list[int]:
    """Return the processes that work in a folder: those of a step, which outlive it."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if os.readlink(entry / "cwd") == str(place):
                found.append(int(entry.name))
    return found


def _kill_all_in(place: Path) -> None:
    """Kill what a killed step has left running, as a power loss does."""
    while left := _processes_in(place):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def _copy(source: Path, target: Path) -> None:
    """Copy a folder, times included, by which a report tells that its map is up to date."""
    shutil.copytree(source, target, copy_function=shutil.copy2, symlinks=True)


def _require(is_so: bool, sentence: str) -> None:
    if not is_so:
        sys.exit(f"benchmarks.kills: {sentence}; see said.log there")


def table(outcomes: Sequence[Outcome]) -> str:
    """Return a Markdown table: kills, kinds of operations and differences of each step."""
    lines = ["| step | kills | of these with whole processes | kinds of operations hit | with a difference |"]
    lines += [f"|{'---|' * 5}"]
    for step in (*STEPS, "all"):
        of_step = [one for one in outcomes if one.is_hit and step in (one.step, "all")]
        kinds = len({(one.step, one.operation, one.file) for one in of_step})
        whole, differing = sum(one.is_whole for one in of_step), sum(bool(one.differences) for one in of_step)
        lines.append(f"| {step} | {len(of_step)} | {whole} | {kinds} | {differing} |")
    return "\n".join(lines)
