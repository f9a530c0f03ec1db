"""Rates of the real training loop in images a second, beside the same steps on the device, and timm's loader."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from resomap.bench.gpu.drawn_images import drawn, study_on_drawn
from resomap.bench.gpu.gpu_load import GpuLoad
from resomap.bench.gpu.gpu_record import Row
from resomap.bench.gpu.gpu_settings import GpuSettings
from resomap.bench.ratios import Paired
from resomap.bench.step_rate import Steps
from resomap.core.errors import ResomapError
from resomap.machine.gpu_lock import bind_gpu

GOAL = 0.95  # of the rate of the same steps on one batch that lies on the device
Measure = Callable[[Steps], Paired]


def rates_at_lowest(settings: GpuSettings) -> Iterator[Row]:
    """Yield a row a model at the lowest resolution: the loop beside the same steps on the device."""
    return _rates(settings, settings.models, settings.resolutions[:1])


def rates_above(settings: GpuSettings) -> Iterator[Row]:
    """Yield the same rows at the other resolutions."""
    return _rates(settings, settings.models, settings.resolutions[1:])


def _rates(settings: GpuSettings, models: Sequence[str], resolutions: Sequence[int]) -> Iterator[Row]:
    def measure(steps: Steps) -> Paired:
        return steps.beside_synthetic(settings.repeats)

    def words(ours: float, other: float, ratio: float) -> str:
        return f"{ours:,.0f} images/s, {ratio:.2f} of {other:,.0f} on the device (goal {GOAL})"

    for resolution in resolutions:
        for model in models:
            yield _row(settings, model, resolution, measure, words, "on_device_per_second")


def beside_loader(settings: GpuSettings) -> Iterator[Row]:
    """Yield a row a model of timm: the loop beside a plain loop on timm's loader, with the same network."""

    def measure(steps: Steps) -> Paired:
        return steps.beside_timm(settings.workers, settings.repeats)

    def words(ours: float, other: float, ratio: float) -> str:
        workers = f"{settings.workers} worker{'s' if settings.workers > 1 else ''}"
        return f"{ours:,.0f} images/s, {ratio:.2f} times the {other:,.0f} of a loop on timm's loader, {workers}"

    for model in settings.timm_models:
        yield _row(settings, model, settings.resolutions[0], measure, words, "timm_loader_per_second")


def _row(
    settings: GpuSettings,
    model: str,
    resolution: int,
    measure: Measure,
    words: Callable[[float, float, float], str],
    other: str,
) -> Row:
    """Measure one model; one that cannot be trained here says why, and the others go on."""
    identity = _identity(settings)
    what = f"{model} at {resolution} px"
    figures: dict[str, Any] = {"model": model, "resolution": resolution, "batch": settings.batch}
    try:
        steps = _steps(settings, model, resolution)
        with GpuLoad(identity) as load:
            found = measure(steps)
    except (RuntimeError, ResomapError) as error:  # memory, or a network that does not take this resolution
        return Row(what, f"not measured: {str(error).splitlines()[0]}", None, figures)
    finally:
        if settings.is_gpu:
            torch.cuda.empty_cache()
    ours, others = statistics.median(found.ours), statistics.median(found.other)
    figures |= {"images_per_second": ours, other: others, "ratio": found.ratio, **load.figures}
    return Row(what, "; ".join(filter(None, (words(ours, others, found.ratio), load.words))), None, figures)


def _steps(settings: GpuSettings, model: str, resolution: int) -> Steps:
    directory = Path(settings.place, f"rate-{model}-{resolution}")
    config = {"models": [model], "resolutions": [resolution], "training": {"batch_size": settings.batch}}
    study = study_on_drawn(settings, directory, config)
    return Steps(study, directory, drawn(settings).folder, settings.threads, settings.epoch_seconds)


def _identity(settings: GpuSettings) -> str | None:
    """Take the GPU that is computed on, as a training does; return its UUID."""
    if not settings.is_gpu:
        return None
    gpu = bind_gpu(lambda _sentence: None)
    return gpu.identity if gpu is not None else None
