"""Check that a training killed with -9 and resumed ends with the bits of one that nobody disturbed."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from resomap.bench.gpu.drawn_images import study_on_drawn
from resomap.bench.gpu.gpu_record import Row
from resomap.bench.gpu.gpu_settings import GpuSettings, Subject
from resomap.bench.train_process import start_training
from resomap.cells.marker import Marker
from resomap.cells.study import Study
from resomap.compute.checkpoint import load_sealed
from resomap.compute.same_bits import compare
from resomap.core.errors import ResomapError

NEVER, EACH_STEP = 1e6, 0.0  # minutes between two saves
POLL_SECONDS = 0.01
RESUMED = "going on at epoch"  # words of the log


def check_small(settings: GpuSettings) -> Iterator[Row]:
    """Yield the row of a small network in the precision that it trains in by default."""
    yield _check(settings, settings.small, "auto")


def check_pooled(settings: GpuSettings) -> Iterator[Row]:
    """Yield the row of the network whose pooling has no deterministic gradient of torch's on a GPU."""
    yield _check(settings, settings.pooled, "auto")


def check_scaled(settings: GpuSettings) -> Iterator[Row]:
    """Yield the row of a network in float16, whose losses a GradScaler scales."""
    yield _check(settings, settings.small, "fp16")


@dataclass(frozen=True)
class _End:
    """End of a training: its marker, what its last.pt holds, and its history."""

    marker: Marker
    tensors: dict[str, torch.Tensor]
    others: dict[str, Any]  # numbers: the scaler, the position, the best epoch
    history: bytes


def _check(settings: GpuSettings, subject: Subject, amp: str) -> Row:
    model, resolution = subject
    place = Path(settings.place, f"resume-{model}-{amp}")
    whole = _end(_trained(settings, place / "whole", subject, amp, NEVER), place / "whole")
    study = _study(settings, place / "killed", subject, amp, EACH_STEP)
    _kill_after_first_save(study, place / "killed", settings.threads)
    study = _trained(settings, place / "killed", subject, amp, NEVER)
    resumed = _end(study, place / "killed")
    log = (place / "killed" / study.cells()[0].beside_marker("log")).read_text()
    began = next((line.partition(RESUMED)[2] for line in log.splitlines() if RESUMED in line), None)
    compared = compare(whole.tensors, resumed.tensors)
    for name in ("whole", "killed"):  # those of a large network are gigabytes; the rest may still be sent to a tracker
        shutil.rmtree(place / name / "checkpoints", ignore_errors=True)
    differing = [*compared.differing, *(name for name in whole.others if whole.others[name] != resumed.others[name])]
    if whole.history != resumed.history:
        differing.append("history")
    precision = whole.marker.precision or "float32"
    figures: dict[str, Any] = {
        "model": model,
        "resolution": resolution,
        "precision": precision,
        "tensors": len(whole.tensors),
        "differing": len(differing),
        "exact": whole.marker.exact and resumed.marker.exact,
        "scale": whole.others["scaler"].get("scale"),
    }
    what = f"{model} at {resolution} px in {precision}: killed with -9 and resumed"
    if began is None:
        return Row(what, "the second attempt did not go on from a checkpoint", False, figures)
    if not whole.marker.exact:  # said before the start, so no bits were promised
        reasons = "; ".join(whole.marker.exact_reasons)
        return Row(what, f"not exact, as is said before the start: {reasons}; {len(differing)} differ", None, figures)
    words = f"{len(differing)} of {len(whole.tensors)} tensors and {len(whole.others) + 1} other parts differ"
    if differing:
        words += f" ({', '.join(differing[:3])}{' ...' if len(differing) > 3 else ''})"
    if not resumed.marker.exact:
        words += f"; the resumed one says of itself: {'; '.join(resumed.marker.exact_reasons)}"
    if amp == "fp16" and precision != "float16":
        words += f"; float16 was not used: {whole.marker.fallback}"
        return Row(what, words, None if not differing else False, figures)
    return Row(what, f"{words}; it went on at epoch{began}", not differing and resumed.marker.exact, figures)


def _study(settings: GpuSettings, directory: Path, subject: Subject, amp: str, minutes: float) -> Study:
    config = {
        "models": [subject[0]],
        "resolutions": [subject[1]],
        "deterministic": True,
        "training": {"epochs": settings.epochs, "batch_size": settings.batch, "warmup_epochs": 0, "amp": amp},
        "checkpoints": {"every_minutes": minutes, "keep": ["best", "final", "last"]},
    }
    return study_on_drawn(settings, directory, config)


def _trained(settings: GpuSettings, directory: Path, subject: Subject, amp: str, minutes: float) -> Study:
    study = _study(settings, directory, subject, amp, minutes)
    if start_training(study, directory, settings.threads).wait():
        raise ResomapError(f"the training failed: {last_words(study, directory)}")
    return study


def last_words(study: Study, directory: Path) -> str:
    """Return the last line of the log of the study's first training."""
    log = directory / study.cells()[0].beside_marker("log")
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1] if lines else "it wrote no log"


def _kill_after_first_save(study: Study, directory: Path, threads: int) -> None:
    """Start the training, and kill it in the midst, once its first checkpoint is there."""
    process = start_training(study, directory, threads)
    last = directory / study.cells()[0].checkpoints / "last.pt"
    while not last.exists() and process.poll() is None:
        time.sleep(POLL_SECONDS)
    process.kill()
    if process.wait() != -9:
        raise ResomapError(f"the training ended before it was killed: {last_words(study, directory)}")


def _end(study: Study, directory: Path) -> _End:
    cell = study.cells()[0]
    marker = Marker.read(directory / cell.marker)
    if marker is None:
        raise ResomapError(f"the training left no marker: {last_words(study, directory)}")
    last = load_sealed(directory / cell.checkpoints / "last.pt")
    best = load_sealed(directory / cell.checkpoints / "best.pt")
    tensors = {f"weights {name}": values for name, values in last["model"].items()}
    tensors |= {f"best weights {name}": values for name, values in best["model"].items()}
    for number, moments in last["optimizer"]["state"].items():
        tensors |= {f"optimizer {number} {name}": torch.as_tensor(values) for name, values in moments.items()}
    others = {name: last[name] for name in ("scaler", "epoch", "step", "sums", "best", "microbatch")}
    return _End(marker, tensors, others, (directory / cell.history).read_bytes())
