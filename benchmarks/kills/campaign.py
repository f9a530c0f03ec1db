"""Campaign of kills: a step of a small study is killed at a file operation, called once more, and compared."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.images import draw_images
from benchmarks.kills.operations import Kill, Kind, draw, listed
from benchmarks.kills.snapshot import differences, snapshot
from resomap.bench.test_images import prepare_study
from resomap.core.files import write_json
from resomap.tracking.local_database import connect_local
from resomap.tracking.rest import LOCAL_DATABASE

HOOK, ROOT = Path(__file__).with_name("hook"), Path(__file__).parents[2]
MODEL, RESOLUTIONS, IMAGES = "test_resnet", [32, 40], 60
CELL = f"{MODEL}@{RESOLUTIONS[0]}"
THREADS = ["--threads", "1"]
# In the order of a study: each step begins where the undisturbed one before it ended.
STEPS = {
    "train": ["train", CELL, *THREADS],
    "evaluate": ["evaluate", CELL, *THREADS],
    "map": ["map"],
    "report": ["report"],
}
SHARES = {"train": 0.55, "evaluate": 0.2, "map": 0.15, "report": 0.1}  # of the kills
SECONDS = 600  # that a step may take before it counts as hanging
LOST = ["an end within the time"]  # in place of differences


@dataclass(frozen=True)
class Outcome:
    """Outcome of one kill. `is_hit` is false where the process ended before it came to the operation."""

    index: int
    step: str
    operation: str
    file: str
    number: int
    is_hit: bool
    differences: list[str]


class Campaign:
    """Campaign in a folder of its own, which keeps the undisturbed study and the outcomes; it goes on after any end."""

    def __init__(self, folder: Path, seed: int, steps: Sequence[str] = tuple(STEPS)) -> None:
        """Make the undisturbed study, unless it is there. `steps` are those to be killed."""
        self._folder, self._seed = folder.absolute(), seed
        self._shares = {step: SHARES[step] for step in steps}
        self._outcomes = self._folder / f"outcomes-{seed}.jsonl"
        self._make_undisturbed()
        self._counts = {
            kind: count for step in steps for kind, count in listed(step, self._folder / f"{step}.operations").items()
        }
        self._snapshots = {step: snapshot(self._folder / step) for step in steps}

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
            outcome = self.kill(index, draw(self._seed, index, self._counts, self._shares))
            with self._outcomes.open("a") as stream:
                stream.write(json.dumps(asdict(outcome)) + "\n")
            hits, index = hits + outcome.is_hit, index + 1
            yield outcome

    def kill(self, index: int, kill: Kill) -> Outcome:
        """Kill a step at an operation, call it once more, compare; a folder that differs is kept."""
        step, place = kill.kind.step, self._folder / f"killed-{self._seed}"
        shutil.rmtree(place, ignore_errors=True)
        _copy(self._folder / _before(step), place)
        code = _call(STEPS[step], place, kill.asked())
        _kill_all_in(place)
        found = LOST if code is None else self._after_one_more_command(step, place)
        if found:
            place.rename(self._folder / f"differs-{self._seed}-{index}")
        return Outcome(index, step, kill.kind.operation, kill.kind.file, kill.number, code == -signal.SIGKILL, found)

    def _after_one_more_command(self, step: str, place: Path) -> list[str]:
        if (code := _finish(step, place)) != 0:
            return [f"one more command ended with {code}"]
        return differences(self._snapshots[step], snapshot(place))

    def _make_undisturbed(self) -> None:
        """Run all steps once, each in a copy of the folder before it; list their operations in one more run."""
        if (self._folder / "complete.json").exists():
            return
        shutil.rmtree(self._folder, ignore_errors=True)
        draw_images(self._folder / "images", IMAGES, RESOLUTIONS[0])
        prepare_study(self._folder / "prepared", _configuration(self._folder / "images"))
        with contextlib.chdir(self._folder / "prepared"):
            connect_local(f"sqlite:///{LOCAL_DATABASE.absolute()}")  # which takes longer than all else of a training
        for step in STEPS:
            _copy(self._folder / _before(step), self._folder / step)
            _require(_finish(step, self._folder / step) == 0, f"`resomap {step}` does not work")
            again = self._folder / "again"
            _copy(self._folder / _before(step), again)
            _call(STEPS[step], again, {"list": str(self._folder / f"{step}.operations")})
            _require(_finish(step, again) == 0, f"`resomap {step}` does not work a second time")
            found = differences(snapshot(self._folder / step), snapshot(again))
            _require(not found, f"two undisturbed runs of `resomap {step}` differ: {'; '.join(found)}")
            shutil.rmtree(again)
        write_json(self._folder / "complete.json", {"steps": list(STEPS)})


def _configuration(images: Path) -> dict[str, object]:
    return {
        "models": [MODEL],
        "resolutions": RESOLUTIONS,
        "device": "cpu",
        "data": {"source": str(images)},
        "training": {"epochs": 2, "batch_size": 8, "warmup_epochs": 0, "amp": "off"},
        "checkpoints": {"every_minutes": 0},  # after each step
        "tracking": {"drain_seconds": 60},
    }


def _before(step: str) -> str:
    return ["prepared", *STEPS][list(STEPS).index(step)]


def _finish(step: str, place: Path) -> int | None:
    """Run a step to its end, and send what the tracker lacks; return the first exit code that is not 0."""
    code = _call(STEPS[step], place)
    if code == 0 and step == "train":
        code = _call(["sync"], place)
    deadline = time.monotonic() + SECONDS
    while _processes_in(place) and time.monotonic() < deadline:
        time.sleep(0.1)
    return code


def _call(words: Sequence[str], place: Path, asked: dict[str, object] | None = None) -> int | None:
    """Run `resomap` in a study's folder; return its exit code, None where it does not end."""
    paths = [str(HOOK)] * bool(asked) + [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1"}
    if asked:
        environment["RESOMAP_KILLS"] = json.dumps(asked)
    with (place.parent / "said.log").open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "resomap", *words],
            cwd=place,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        try:
            return process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            _kill_all_in(place)
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
    lines = ["| step | kills | kinds of operations hit | with a difference |", "|---|---|---|---|"]
    hits = [one for one in outcomes if one.is_hit]
    for step, count in Counter(one.step for one in hits).items():
        of_step = [one for one in hits if one.step == step]
        kinds = len({(one.operation, one.file) for one in of_step})
        lines.append(f"| {step} | {count} | {kinds} | {sum(bool(one.differences) for one in of_step)} |")
    return "\n".join([*lines, f"| all | {len(hits)} | | {sum(bool(one.differences) for one in outcomes)} |"])
