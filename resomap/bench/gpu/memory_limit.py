"""Check that a training whose memory ends halves its microbatch and goes on to its end."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resomap.bench.gpu.drawn_images import study_on_drawn
from resomap.bench.gpu.exact_resume import last_words
from resomap.bench.gpu.gpu_record import Row
from resomap.bench.gpu.gpu_settings import GpuSettings
from resomap.cells.marker import Marker
from resomap.core.errors import ResomapError

SHARE = 0.6  # of the memory that the training took when it had all


def check_halving(settings: GpuSettings) -> Iterator[Row]:
    """Yield the row: train with all memory, then with a part of what that took."""
    model, resolution = settings.large
    what = f"{model} at {resolution} px with batches of {settings.large_batch}: less memory than it needs"
    place = Path(settings.place, "memory")
    free = _train(settings, place / "free", 1.0, settings.large_batch)
    peak, whole = free.cost.peak_training_memory_bytes, _device_bytes(settings)
    if not peak:
        raise ResomapError("the training does not tell how much memory it took")
    share = SHARE * peak / whole
    limited = _train(settings, place / "limited", min(1.0, share), settings.large_batch // 2)
    reasons = "; ".join(limited.exact_reasons)
    microbatch = limited.microbatch
    passed = microbatch is not None and microbatch < settings.large_batch and "out of memory" in reasons
    figures: dict[str, Any] = {"peak_bytes": peak, "share": share, "microbatch": microbatch, "exact": limited.exact}
    gib = f"{peak / 2**30:.2f} GiB"
    if passed:
        words = f"it ended with {microbatch} images a forward pass, in {SHARE} of the {gib} that it took before"
        yield Row(what, words, not limited.exact, figures)
    else:
        yield Row(what, f"memory did not end at {SHARE} of {gib}", False, figures)


def _train(settings: GpuSettings, directory: Path, share: float, most: int) -> Marker:
    model, resolution = settings.large
    config = {
        "models": [model],
        "resolutions": [resolution],
        "deterministic": True,  # else cuDNN tries algorithms that take more memory than the training needs
        "training": {"epochs": 1, "batch_size": settings.large_batch, "warmup_epochs": 0},
    }
    study = study_on_drawn(settings, directory, config)
    cell = study.cells()[0]
    words = [sys.executable, "-m", "resomap.bench.gpu.limited_trainer", str(share), str(most)]
    words += ["train", cell.name, "--threads", str(settings.threads)]
    quiet = subprocess.DEVNULL
    if subprocess.run(words, cwd=directory, stdin=quiet, stdout=quiet, stderr=quiet).returncode:
        raise ResomapError(f"the training failed: {last_words(study, directory)}")
    marker = Marker.read(directory / cell.marker)
    if marker is None:
        raise ResomapError(f"the training left no marker: {last_words(study, directory)}")
    return marker


def _device_bytes(settings: GpuSettings) -> int:
    from resomap.compute.device import choose_device

    return choose_device(settings.device).memory().whole
