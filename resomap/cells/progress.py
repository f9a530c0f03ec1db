"""Progress of a running training and failure of one that ended: `<stem>.progress.json` and `<stem>.failed.json`.

The trainer writes them; the status table and the lines of a running sweep read them. Both stand beside the
done marker, so no process has to be asked.
"""

import dataclasses
import os
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

from resomap.cells.cell import Cell
from resomap.cells.liveness import is_fresh
from resomap.cells.resume_command import portable, present
from resomap.core.files import read_json, write_json
from resomap.core.json_object import known_values
from resomap.core.text import duration
from resomap.machine.processes import START_SLACK_SECONDS, process_lives, works_here
from resomap.machine.slurm import job_id

HEARTBEAT_SECONDS = 120.0


@dataclass
class Progress:
    """Progress of one training. Times are Unix times in seconds, `epoch` and `step` count what is completed."""

    cell: str  # vgg11@320
    state: str = "starting"  # starting | training | evaluating | sending
    epoch: int = 0
    epochs: int = 0
    step: int = 0  # within the epoch
    steps_per_epoch: int = 0
    images_per_second: float | None = None
    metric: str = "balanced_accuracy"
    value: float | None = None  # of the metric on the images of `split`, at the last epoch's end
    split: str = "val"  # train, where all images are learned from
    eta_seconds: float | None = None
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    process_start: int | None = None  # of that process, by the kernel's clock (see `process_start`)
    started_at: float = field(default_factory=time.time)
    heartbeat: float = field(default_factory=time.time)
    attempt: int = 1
    device: str = "cpu"
    job: str | None = field(default_factory=job_id)  # of Slurm

    def write(self, path: Path) -> None:
        """Write atomically. Raises OSError (disk full, no permission)."""
        write_json(path, dataclasses.asdict(self))

    @classmethod
    def read(cls, path: Path) -> "Progress | None":
        """Return the progress last written, or None where there is none or the file is damaged."""
        known = known_values(cls, read_json(path))
        return None if known is None else cls(**known)


@dataclass
class Failure:
    """Failure of one training: the reason why it ended without a marker, and the command that resumes it."""

    cell: str
    fingerprint: str
    reason: str
    permanent: bool  # trying again with the same settings and data is pointless
    log: str
    resume: str
    attempt: int = 1
    at: float = field(default_factory=time.time)
    exit_code: int = 1

    def write(self, path: Path) -> None:
        """Write atomically. Raises OSError (disk full, no permission)."""
        write_json(path, dataclasses.asdict(self) | {"resume": portable(self.resume)})

    @classmethod
    def read(cls, path: Path) -> "Failure | None":
        """Return the failure, or None where there is none or the file is damaged."""
        known = known_values(cls, read_json(path))
        return None if known is None else cls(**{**known, "resume": present(known["resume"])})


def progress_path(cell: Cell) -> Path:
    """Return the path `results/vgg11/320.progress.json`."""
    return cell.beside_marker("progress.json")


def failure_path(cell: Cell) -> Path:
    """Return the path `results/vgg11/320.failed.json`."""
    return cell.beside_marker("failed.json")


def is_alive(progress: Progress) -> bool:
    """Return True if the training that wrote this still runs.

    On this host its process must exist, be the one that wrote it and work here, not in a directory that this is a copy
    of; from another host its heartbeat must be fresh.
    """
    if progress.host != socket.gethostname():
        process = f"training of {progress.cell} by process {progress.pid} on {progress.host}"
        return is_fresh(process, progress.heartbeat, HEARTBEAT_SECONDS)
    began_by = progress.started_at + START_SLACK_SECONDS
    return process_lives(progress.pid, began_by, progress.process_start) and works_here(progress.pid)


def reading(progress: Progress) -> str:
    """Return the value at the last epoch's end with its name: `val balanced_accuracy 0.830`, `train loss 0.412`."""
    return "" if progress.value is None else f"{progress.split} {progress.metric} {progress.value:.3f}"


def figures(progress: Progress) -> list[str]:
    """Return the figures that are known, for people: `val 0.830`, `145 images/s`, `ETA 14 min`."""
    found = []
    if progress.value is not None:
        found.append(f"val {progress.value:.3f}" if progress.split == "val" else reading(progress))
    if progress.images_per_second is not None:
        found.append(f"{progress.images_per_second:.0f} images/s")
    if progress.eta_seconds is not None:
        found.append(f"ETA {duration(progress.eta_seconds)}")
    return found
